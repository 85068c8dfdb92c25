"""What a person looks at: the table, the picture, the model card."""

from __future__ import annotations

import base64
import html
import io
import os
from pathlib import Path
from typing import Any

from .errors import MissingExtraError, require
from .format import replacing
from .progress import say

NAMES = {
    "teacher": "teacher",
    "scratch": "student from scratch",
    "kd_private": "KD† (no task data)",
    "kd": "KD",
    "kd_ft": "KD+FT",
    "sized": "sized",
}
# name in metrics.json -> (heading, how to write it)
FIGURES = {
    "mean": ("mean of the heads", "{:.4f}"),
    "accuracy": ("accuracy", "{:.2%}"),
    "exact_match": ("exact match", "{:.2%}"),
    "micro_f1": ("micro-F1", "{:.4f}"),
    "macro_f1": ("macro-F1", "{:.4f}"),
    "r2": ("R2", "{:.4f}"),
    "rmse": ("RMSE", "{:.4g}"),
    "mae": ("MAE", "{:.4g}"),
    "pearson": ("Pearson", "{:.4f}"),
    "spearman": ("Spearman", "{:.4f}"),
    "ece": ("calibration error", "{:.4f}"),
    "ece_before": ("before calibration", "{:.4f}"),
    "uncompressed": ("unquantised", ""),
    "fidelity": ("fidelity", "{:.2%}"),
    "texts_per_second": ("texts/s", "{:,.0f}"),
    "megabytes": ("MB", "{:,.1f}"),
}


class Report:
    """What a run measured: a table, its figures, a plot.

    ``str()`` is the table, for a terminal; in a notebook it shows itself with the plot.
    """

    def __init__(self, result: dict[str, Any]):
        self.result = result

    @property
    def figures(self) -> dict[str, dict[str, Any]]:
        """Figures by system: teacher, scratch, kd_private, kd, kd_ft, as far as they were made.

        Each has the metrics of its task on the part that is reported (``accuracy``, ``macro_f1`` ...), ``dev`` (the
        figure that it was chosen by), ``fidelity`` (share of the teacher's decisions), ``texts_per_second``,
        ``megabytes``.
        """
        result: dict[str, dict[str, Any]] = self.result["systems"]
        return result

    @property
    def selected(self) -> str:
        """The system that was chosen on dev."""
        result: str = self.result["selected"]
        return result

    def plot(self, path: str | os.PathLike[str] | None = None) -> Any:
        """Accuracy against speed, as a matplotlib Figure; with ``path`` also written there as a PNG.

        Errors: :class:`MissingExtraError` without matplotlib.
        """
        require("matplotlib", "report")
        figure = _plotted(self.result)
        if path is not None:
            save_figure(figure, Path(path))
        return figure

    def __str__(self) -> str:
        return table(self.result, markdown=False)

    def __repr__(self) -> str:
        return f"<Report of {', '.join(self.figures)}; chosen: {self.selected}>"

    def _repr_html_(self) -> str:
        shown = _html(_rows(self.result))
        for name, rows in _of_heads(self.result).items():
            shown += f"<p>head {html.escape(name)}</p>{_html(rows)}"
        shown += f"<p>{html.escape(_note(self.result))}</p>"
        try:
            figure = self.plot()
        except MissingExtraError:
            return shown
        picture = io.BytesIO()
        figure.savefig(picture, format="png")
        data = base64.b64encode(picture.getvalue()).decode()
        return f'{shown}<img alt="accuracy against speed" width="640" src="data:image/png;base64,{data}">'


def _html(rows: list[list[str]]) -> str:
    """A table whose first row is its head."""
    head, *rest = rows
    cells = "".join(f"<th>{html.escape(cell)}</th>" for cell in head)
    body = "".join(f"<tr>{''.join(f'<td>{html.escape(cell)}</td>' for cell in row)}</tr>" for row in rest)
    return f"<table><thead><tr>{cells}</tr></thead><tbody>{body}</tbody></table>"


def table(result: dict[str, Any], markdown: bool = True) -> str:
    """The table of a run's ``metrics.json``, in Markdown or for a terminal."""
    lines = [*aligned(_rows(result), markdown), ""]
    for name, rows in _of_heads(result).items():
        lines += [f"head {name}", "", *aligned(rows, markdown), ""]
    return "\n".join([*lines, _note(result)])


def aligned(rows: list[list[str]], markdown: bool = False) -> list[str]:
    """Lines of a table whose first row is its head, in Markdown or for a terminal; all columns but the first to the
    right.
    """
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]

    def line(cells: list[str]) -> str:
        first = cells[0].ljust(widths[0])
        padded = [first, *(c.rjust(w) for c, w in zip(cells[1:], widths[1:], strict=True))]
        return f"| {' | '.join(padded)} |" if markdown else "  ".join(padded)

    rule = ["-" * width for width in widths]
    if markdown:
        rule = [rule[0], *(dashes[1:] + ":" for dashes in rule[1:])]
    return [line(rows[0]), line(rule), *map(line, rows[1:])]


def written(figures: dict[str, Any]) -> list[tuple[str, str]]:
    """Names and values of figures as a person reads them; of those alone that say by themselves what they are."""
    return [(FIGURES[name][0], FIGURES[name][1].format(value)) for name, value in figures.items()
            if value is not None and FIGURES.get(name, ("", ""))[1]]  # fmt: skip


def _rows(result: dict[str, Any]) -> list[list[str]]:
    """The cells of the table, headings first."""
    systems = result["systems"]
    there = [name for name in FIGURES if any(figures.get(name) is not None for figures in systems.values())]
    teacher_rate = systems.get("teacher", {}).get("texts_per_second")

    def form(name: str) -> str:
        return FIGURES[name][1] or FIGURES[result["primary"]][1]

    def heading(name: str) -> str:
        what = FIGURES[name][0]
        return what if FIGURES[name][1] else f"{what} {FIGURES[result['primary']][0]}"

    rows = [["", *map(heading, there), *(["speed-up"] if teacher_rate else [])]]
    for system, figures in systems.items():
        mark = " *" if system == result["selected"] else ""
        row = [NAMES.get(system, system) + mark]
        row += ["-" if figures.get(name) is None else form(name).format(figures[name]) for name in there]
        if teacher_rate:
            times = figures["texts_per_second"] / teacher_rate
            row.append(f"{times:,.0f}x" if times >= 10 else f"{times:.2g}x")
        rows.append(row)
    return rows


def _of_heads(result: dict[str, Any]) -> dict[str, list[list[str]]]:
    """Of each head the cells of its table: its figures in every system, and in a classifier of its own."""
    tables: dict[str, list[list[str]]] = {}
    systems = {NAMES.get(name, name) + " *" * (name == result["selected"]): one.get("heads", {})
               for name, one in result["systems"].items()}  # fmt: skip
    for head in dict.fromkeys(head for heads in systems.values() for head in heads):
        by_system = {name: heads[head] for name, heads in systems.items() if head in heads}
        if own := result.get("alone", {}).get(head):
            by_system["a classifier of its own"] = own
        there = [name for name in FIGURES if any(name in figures for figures in by_system.values())]
        rows = [["", *(FIGURES[name][0] for name in there)]]
        for system, figures in by_system.items():
            rows.append([system, *(FIGURES[n][1].format(figures[n]) if n in figures else "-" for n in there)])
        tables[head] = rows
    return tables


def _note(result: dict[str, Any]) -> str:
    precision = result["systems"].get("teacher", {}).get("precision", "given")
    device = result.get("teacher_device", "cpu")
    calibrated = " and calibrated" * any("ece" in figures for figures in result["systems"].values())
    return (
        f"{result['texts']:,} {result['part']} text{'s' if result['texts'] != 1 else ''}"
        + (f", on which the student was chosen{calibrated} too" if result["part"] == "dev" else "")
        + f"; speed from raw text to label on {_threads(result)}"
        + (f", the teacher in {precision}" if precision != "given" else "")
        + (f" on {device}" if device != "cpu" else "")
        + f"; * chosen on dev: {NAMES[result['selected']]}"
        + _interval(result)
    )


def _interval(result: dict[str, Any]) -> str:
    """The interval of the figure that choices are made by."""
    selected = result.get("selected_figures", {})
    found = selected.get("figures", {}).get(result["primary"], {})
    if found.get("low") is None:
        return ""
    (name, form), level = FIGURES[result["primary"]], selected["level"]
    return f", whose {name} has the {level:.0%} interval {form.format(found['low'])} to {form.format(found['high'])}"


def _threads(result: dict[str, Any]) -> str:
    return f"{result['threads']} CPU thread{'s' if result['threads'] != 1 else ''}"


def new_figure() -> Any:
    """An empty picture, of the size of all of them; without matplotlib None, and one line that says so."""
    try:
        require("matplotlib", "report")
    except MissingExtraError as error:
        say(f"no picture: {error}")
        return None
    return _empty_figure()


def _empty_figure() -> Any:
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7.2, 4.4), layout="constrained", dpi=150)
    FigureCanvasAgg(figure)
    return figure


def save_figure(figure: Any, path: Path) -> None:
    """Write a picture as a PNG, whole or not at all."""
    with replacing(path) as temporary:
        figure.savefig(temporary, format="png")


def plot(result: dict[str, Any], path: Path) -> None:
    """Accuracy against speed (log axis) as a PNG; without matplotlib, one line that says so."""
    if new_figure() is not None:
        save_figure(_plotted(result), path)


def _plotted(result: dict[str, Any]) -> Any:
    """The picture of :func:`plot`, as a Figure of matplotlib."""
    from matplotlib.ticker import FuncFormatter, NullFormatter

    figure = _empty_figure()
    primary = result["primary"]
    percent = primary == "accuracy"
    points = [
        (name, figures["texts_per_second"], figures[primary] * (100 if percent else 1))
        for name, figures in result["systems"].items()
        if figures.get(primary) is not None
    ]
    axes = figure.add_subplot()
    axes.set_xscale("log")
    low, high = min(y for *_, y in points), max(y for *_, y in points)
    room = max(high - low, 2.0 if percent else 0.02)  # a difference too small to matter should look small
    near: list[float] = []  # heights of labels already placed at the students' side
    for name, x, y in sorted(points, key=lambda p: p[2]):
        teacher, chosen = name == "teacher", name == result["selected"]
        colour = "#444444" if teacher else ("#c44e00" if chosen else "#2a6f97")
        axes.scatter(x, y, s=70 if chosen or teacher else 45, color=colour, marker="s" if teacher else "o", zorder=3)
        height = y
        if not teacher:
            # Students are about equally fast: labels go to the left, pushed apart where points are close.
            while near and height - near[-1] < 0.09 * room:
                height += 0.01 * room
            near.append(height)
        axes.annotate(
            NAMES.get(name, name), (x, y), xytext=(x * (1.5 if teacher else 1 / 1.5), height), textcoords="data",
            ha="left" if teacher else "right", va="center", color=colour, fontweight="bold" if chosen else "normal",
            arrowprops=None if abs(height - y) < 0.02 * room else {"arrowstyle": "-", "color": "#bbbbbb", "lw": 0.7},
        )  # fmt: skip
    slow, fast = min(x for _, x, _ in points), max(x for _, x, _ in points)
    axes.set_xlim(min(slow / 3, fast / 1000), fast * 3)
    axes.set_ylim(low - 0.15 * room, max(high, max(near, default=high)) + 0.15 * room)
    axes.xaxis.set_minor_formatter(NullFormatter())
    axes.xaxis.set_major_formatter(FuncFormatter(lambda x, _: f"{x:,.0f}" if x >= 1 else f"{x:g}"))
    axes.set_xlabel(f"raw texts per second, {_threads(result)} (log scale)")
    axes.set_ylabel(f"{FIGURES[primary][0]} on {result['part']}" + (" (%)" if percent else ""))
    if result.get("speedup", 0) >= 10:
        axes.set_title(f"{NAMES[result['selected']]}: {result['speedup']:,.0f} times the teacher's speed", loc="left")
    axes.grid(True, which="major", color="#e5e5e5", zorder=0)
    axes.spines[["top", "right"]].set_visible(False)
    return figure


def _answered(head: dict[str, Any]) -> str:
    """What a head, or a classifier of one, gives a text; ``head``: its object in config.json."""
    labels = ", ".join(f"`{label}`" for label in head["labels"][:20]) + (" ..." if len(head["labels"]) > 20 else "")
    kinds = {
        "single": f"Gives a text one of {labels}",
        "multi": f"Gives a text any number of {labels}",
        "regression": "Gives a text a score",
    }
    named = f"`{head['name']}`: " if "name" in head else ""
    return named + kinds[head["task"]]


def card(name: str, result: dict[str, Any], config: dict[str, Any]) -> str:
    """The model card of a shipped classifier."""
    source, text, rows = config["provenance"], config["text"], config["rows"]
    settings = source["settings"]
    data = source["data"]
    sizes = ", ".join(f"{part} {data[part]['texts']:,} texts" for part in ("train", "corpus", "dev") if part in data)
    hidden = " -> ".join(map(str, settings["distill"]["hidden"])) or "none"
    of, teacher = source.get("sized"), "none" if source["student"] == "scratch" else source["teacher"]
    smaller = f", made smaller: {of['ngrams']:,} n-grams x {of['width']} were trained on its logits" if of else ""
    lines = [
        "---",
        "library_name: sparsedistill",
        "pipeline_tag: text-classification",
        "tags:",
        "- sparsedistill",
        "---",
        "",
        "# Sparse n-gram text classifier",
        "",
        "; ".join(map(_answered, config.get("heads", [config])))
        + (
            ", trained on gold labels alone."
            if source["student"] == "scratch"
            else f", distilled with [Sparse Distillation](https://arxiv.org/abs/2110.08536) "
            f"({NAMES[source['student']]})."
        ),
        "",
        "```python",
        "from sparsedistill import Classifier",
        "",
        'classifier = Classifier.load("path/to/this/directory")',
        'classifier.predict(["some text", "another"])',
        "```",
        "",
        f"## Figures on {result['part']}",
        "",
        table(result),
        "",
        "## How it was made",
        "",
        f"- teacher: {teacher}",
        f"- data: {sizes}; seed {source['seed']}",
        f"- text: tokeniser `{text['tokenizer']}`, {'lower-cased' if text['lowercase'] else 'case kept'}, "
        f"n-grams of 1 to {text['max_n']} tokens, {rows['count']:,} of them"
        + (f", with those of characters of {text['characters']} words" if "characters" in text else ""),
        f"- student: {config['pooling']} pooling, hidden layers {hidden}; rows of {rows['width']} x {rows['type']}"
        + smaller,
        f"- versions: {', '.join(f'{k} {v}' for k, v in source['versions'].items())}",
        "",
        "## Limits",
        "",
        f"It sees n-grams of at most {text['max_n']} tokens and averages them: irony, conditionals and whatever hangs "
        "on more words than that are beyond it. A text without a known n-gram gets the score of the biases alone.",
        "",
    ]
    return "\n".join(lines)
