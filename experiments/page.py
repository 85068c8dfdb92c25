"""``docs/results.html``: all results as one page, its pictures inside, so that it opens without a network."""

from __future__ import annotations

import io
import re
from collections.abc import Callable, Sequence
from html import escape
from typing import Any

from . import paper
from .names import SYSTEMS, TITLES

_STYLE = """
body { font: 15px/1.5 system-ui, sans-serif; max-width: 62rem; margin: 2rem auto; padding: 0 1rem; color: #222 }
h1, h2, h3 { line-height: 1.2 } h2 { margin-top: 2.5rem; border-top: 1px solid #ddd; padding-top: 1.5rem }
table { border-collapse: collapse; margin: 1rem 0; font-variant-numeric: tabular-nums }
table { display: block; overflow-x: auto }
th, td { padding: .2rem .6rem; border-bottom: 1px solid #e5e5e5; text-align: right; white-space: nowrap }
th:first-child, td:first-child { text-align: left } td p { white-space: normal; text-align: left; margin: 0 }
small { color: #777 } .no { color: #b00020; font-weight: 600 } .chosen { font-weight: 600 }
svg { max-width: 100%; height: auto } details { margin: .5rem 0 } code { font-size: 90% }
"""
_COLOURS = ("#2a6f97", "#c44e00", "#3a7d44", "#7b4b94", "#8a6d00", "#b0305c", "#444444", "#1f9e9e")


def page(found: dict[str, Any], verdicts: Sequence[tuple[str, str, bool]]) -> str:
    """The whole page, HTML."""
    parts = [
        "<!doctype html><html lang=en><meta charset=utf-8><meta name=viewport content='width=device-width'>",
        f"<title>sparsedistill: results</title><style>{_STYLE}</style>",
        "<h1>Results</h1>",
        "<p>Every system and every study of <a href='https://arxiv.org/abs/2110.08536'>Sparse Distillation</a> "
        "(Ye et al., NAACL 2022), made anew with smaller teachers and smaller corpora (the paper's: RoBERTa-Large, 37 "
        "to 418 million texts): what carries over are shares, gaps and ratios, not the figures themselves.</p>",
        "<h2>Accuracy</h2>",
        "<p>On test texts, percent, mean over the seeds &plusmn; standard deviation; <small>the paper's figure on its "
        "own data</small>; bold: chosen on dev.</p>",
        _systems(found),
        "<h2>What was asked of the figures</h2>",
        _table(
            ["", "", ""],
            [[escape(w), escape(f), "yes" if ok else "<span class=no>no</span>"] for w, f, ok in verdicts],
        ),
    ]
    for name, (title, text, show) in _STUDIES.items():
        if name in found["studies"]:
            parts += [f"<h2 id={name}>{title}</h2>", f"<p>{text}</p>", show(found["studies"][name], found)]
            parts.append(_origin(found["studies"][name]))
    parts += ["<h2>Where the figures come from</h2>", _runs(found)]
    return "\n".join(parts) + "\n"


def _systems(found: dict[str, Any]) -> str:
    keys = list(found["tasks"])
    rows = []
    for name, title in SYSTEMS.items():
        cells = []
        for key in keys:
            entry, theirs = found["tasks"][key], paper.SYSTEMS.get(key, {}).get(name)
            if name not in entry:
                cells.append("")
                continue
            deviation = found["more"][key]["spread"][name]
            cell = f"{100 * entry[name]:.1f}" + (f" &plusmn;{100 * deviation:.1f}" if deviation else "")
            cell = f"<span class=chosen>{cell}</span>" if entry.get("selected") == name else cell
            cells.append(cell + (f" <small>{100 * theirs:.1f}</small>" if theirs else ""))
        if any(cells):
            rows.append([escape(title), *cells])
    return _table(["", *(TITLES[key] for key in keys)], rows)


def _runs(found: dict[str, Any]) -> str:
    parts = []
    for key, more in found["more"].items():
        rows = [
            [escape(SYSTEMS[name]), seed, f"{100 * one['accuracy'][more['test_set']]:.2f}", f"{100 * one['dev']:.2f}",
             f"{one.get('seconds', 0):,.0f}", f"<code>{escape(one['commit'])}</code>",
             f"<code>{escape(one['command'])}</code>"]
            for name, record in more["runs"].items() for seed, one in record.items()
        ]  # fmt: skip
        table = _table(["system", "seed", "test", "dev", "seconds", "commit", "command"], rows)
        parts.append(f"<details><summary>{TITLES[key]}</summary>{table}</details>")
    return "\n".join(parts)


def _origin(study: dict[str, Any]) -> str:
    lines = [
        f"{TITLES[key]}: <code>{escape(one['command'])}</code> at {escape(one['commit'])}" for key, one in study.items()
    ]
    return f"<details><summary>commands</summary><p>{'<br>'.join(lines)}</p></details>"


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    top = "".join(f"<th>{cell}</th>" for cell in head)
    body = "".join("<tr>" + "".join(f"<td>{cell}</td>" for cell in row) + "</tr>" for row in rows)
    return f"<table><tr>{top}</tr>{body}</table>"


def _percent(accuracy: dict[str, float]) -> float:
    return 100 * next(iter(accuracy.values()))


# ---- pictures --------------------------------------------------------------------------------------------------------


def _picture(keys: Sequence[str], draw: Callable[[Any, str], None], below: str, beside: str) -> str:
    """One small plot a task, as SVG."""
    from matplotlib.backends.backend_svg import FigureCanvasSVG
    from matplotlib.figure import Figure

    columns = min(3, len(keys))
    rows = -(-len(keys) // columns)
    figure = Figure(figsize=(4.0 * columns, 3.1 * rows), layout="constrained")
    FigureCanvasSVG(figure)
    for place, key in enumerate(keys):
        axes = figure.add_subplot(rows, columns, place + 1)
        draw(axes, key)
        axes.set_title(TITLES[key], loc="left", fontsize=10)
        axes.set_xlabel(below, fontsize=8)
        axes.set_ylabel(beside, fontsize=8)
        axes.tick_params(labelsize=7)
        axes.grid(True, color="#e8e8e8")
        axes.spines[["top", "right"]].set_visible(False)
        if axes.get_legend_handles_labels()[0]:
            axes.legend(fontsize=7, frameon=False)
    import matplotlib

    with matplotlib.rc_context({"svg.hashsalt": "sparsedistill"}):  # the same picture, the same file
        out = io.StringIO()
        figure.savefig(out, format="svg", metadata={"Date": None})
    return re.sub(r"^.*?(?=<svg)", "", out.getvalue(), flags=re.DOTALL)


def _speed(study: dict[str, Any], found: dict[str, Any]) -> str:
    def draw(axes: Any, key: str) -> None:
        axes.set_xscale("log")
        for name, one in study[key]["found"].items():
            if name in found["tasks"].get(key, {}):
                x, y = one["texts_per_second"], 100 * found["tasks"][key][name]
                ours = name in ("scratch", "kd", "kd_ft")
                axes.scatter(
                    x, y, s=22, color=_COLOURS[1] if ours else _COLOURS[6] if name == "teacher" else _COLOURS[0]
                )
                axes.annotate(name, (x, y), xytext=(3, 3), textcoords="offset points", fontsize=6)

    names = [name for name in SYSTEMS if any(name in one["found"] for one in study.values())]
    rows = [
        [
            SYSTEMS[name],
            *(
                f"{one['found'][name]['texts_per_second']:,.0f}" if name in one["found"] else ""
                for one in study.values()
            ),
        ]
        for name in names
    ]
    table = _table(["texts a second, one thread", *(TITLES[key] for key in study)], rows)
    return _picture(list(study), draw, "texts a second, one CPU thread", "accuracy, %") + table


def _pruning(study: dict[str, Any], found: dict[str, Any]) -> str:
    def draw(axes: Any, key: str) -> None:
        axes.set_xscale("log")
        for colour, counted in zip(_COLOURS, ("corpus and train", "train"), strict=False):
            points = study[key]["found"][counted]
            axes.plot(
                [100 * s for s, _ in points], [_percent(a) for _, a in points], "o-", ms=3, color=colour, label=counted
            )

    rows = []
    for key, one in study.items():
        for counted in ("corpus and train", "train"):
            points = one["found"][counted]
            whole = _percent(points[0][1])
            kept = {f"{s:g}": f"{_percent(a):.1f} <small>{_percent(a) / whole:.1%}</small>" for s, a in points}
            rows.append([f"{TITLES[key]}, counts of {counted}", *kept.values()])
    head = ["", *(f"{100 * s:g} %" for s, _ in next(iter(study.values()))["found"]["train"])]
    return _picture(list(study), draw, "% of the n-grams kept", "accuracy, %") + _table(head, rows)


def _ngrams(study: dict[str, Any], found: dict[str, Any]) -> str:
    rows = [
        [TITLES[key], *(f"{_percent(n['accuracy']):.1f} <small>{n['ngrams']:,}</small>" for n in one["found"].values())]
        for key, one in study.items()
    ]
    rows += [
        ["<small>IMDB, the paper</small>", "74.9", "92.1", "93.3", "93.5"],
        ["<small>AG News, the paper</small>", "91.3", "92.9", "93.0", "93.0"],
    ]
    return _table(["", "n = 1", "n &le; 2", "n &le; 3", "n &le; 4"], rows)


def _width(study: dict[str, Any], found: dict[str, Any]) -> str:
    rows = [
        [
            TITLES[key],
            *(
                f"{_percent(w['accuracy']):.1f} <small>{w['texts_per_second']:,.0f}/s</small>"
                for w in one["found"].values()
            ),
        ]
        for key, one in study.items()
    ]
    return _table(["", *(next(iter(study.values()))["found"])], rows)


def _corpus_size(study: dict[str, Any], found: dict[str, Any]) -> str:
    def draw(axes: Any, key: str) -> None:
        axes.set_xscale("log")
        for colour, name in zip(_COLOURS, ("kd_private", "kd", "kd_ft"), strict=False):
            points = [
                (next(iter(seeds.values()))["texts"], [_percent(one[name]["accuracy"]) for one in seeds.values()])
                for seeds in study[key]["found"].values()
            ]
            means = [sum(values) / len(values) for _, values in points]
            axes.plot([x for x, _ in points], means, "o-", ms=3, color=colour, label=SYSTEMS[name])

    return _picture(list(study), draw, "texts of the corpus", "accuracy, %")


def _coverage(study: dict[str, Any], found: dict[str, Any]) -> str:
    def draw(axes: Any, key: str) -> None:
        tenths = study[key]["found"]["tenths"]
        axes.plot([100 * t["coverage"] for t in tenths], [t["loss"] for t in tenths], "o-", ms=3, color=_COLOURS[0])

    return _picture(
        list(study), draw, "% of a text's n-grams that are known, tenths of the texts", "KL(teacher || student)"
    )


def _budget(study: dict[str, Any], found: dict[str, Any]) -> str:
    rows = [
        [
            f"{TITLES[key]}, {budget}",
            ", ".join(
                f"{p['rows']:,} x {p['width']}: <b>{_percent(p['accuracy']):.1f}</b> "
                f"<small>dev {100 * p['dev']:.1f}</small>"
                for p in pairs
            ),
        ]
        for key, one in study.items()
        for budget, pairs in one["found"].items()
    ]
    return _table(["", "n-grams x width: accuracy"], rows)


def _architecture(study: dict[str, Any], found: dict[str, Any]) -> str:
    rows = []
    for key, one in study.items():
        for name, variant in one["found"].items():
            values = [_percent(seed["accuracy"]) for seed in variant["seeds"].values()]
            dev = [100 * seed["dev"] for seed in variant["seeds"].values()]
            spread = (max(values) - min(values)) / 2
            rows.append([f"{TITLES[key]}: {name}", f"{sum(values) / len(values):.1f} &plusmn;{spread:.1f}",
                         f"{sum(dev) / len(dev):.2f}", f"{variant['learning_rate']:g}"])  # fmt: skip
    return _table(["", "accuracy", "dev", "learning rate"], rows)


def _adaptation(study: dict[str, Any], found: dict[str, Any]) -> str:
    rows = [
        [f"{TITLES[key]} &rarr; {TITLES[one['found']['target']]}",
         *(f"{100 * one['found'][n]:.1f}" for n in ("teacher", "kd", "kd_ft", "kd_ft_new_head"))]
        for key, one in study.items()
    ]  # fmt: skip
    rows += [
        ["<small>IMDB &rarr; SST-2, the paper</small>", "90.0", "81.9", "88.4", "86.7"],
        ["<small>SST-2 &rarr; IMDB, the paper</small>", "94.1", "92.0", "93.0", "92.8"],
    ]
    return _table(["", "teacher of the source", "KD", "KD+FT", "KD+FT, new head"], rows)


def _privacy(study: dict[str, Any], found: dict[str, Any]) -> str:
    names = [name for name in SYSTEMS if any(name in one["found"] for one in study.values())]
    rows = [
        [TITLES[key], *(f"{one['found'][n]['auc']:.3f}" if n in one["found"] else "" for n in names)]
        for key, one in study.items()
    ]
    return _table(["AUC", *(escape(SYSTEMS[name]) for name in names)], rows)


def _columns(study: dict[str, Any], found: dict[str, Any]) -> str:
    rows = []
    for key, one in study.items():
        facts = one["found"]
        runs = [f"{_percent(facts[n]['accuracy']):.2f} <small>{facts[n]['seconds']:.0f} s</small>" for n in ("1", "2")]
        rows.append([TITLES[key], *runs, f"{facts['agreement']:.2%}"])
    return _table(["", "one process", "two processes", "decisions in common"], rows)


def _cases(study: dict[str, Any], found: dict[str, Any]) -> str:
    parts = []
    for key, one in study.items():
        facts, rows = one["found"], []
        for text in facts["texts"]:
            ngrams = ", ".join(f"{ngram} {contribution:+.2f}" for ngram, contribution in text["ngrams"])
            says = [f"{escape(label)} {chance:.2f}" for label, chance in (text["teacher"], text["student"])]
            rows.append(
                [escape(text["gold"]), *says, f"<p>{escape(text['text'])}<br><small>{escape(ngrams)}</small></p>"]
            )
        parts.append(
            f"<details><summary>{TITLES[key]}: they agree on {facts['agree']:.1%}; the teacher alone is right on "
            f"{facts['teacher_alone_right']:.1%}, the student alone on {facts['student_alone_right']:.1%}</summary>"
            + _table(["gold", "teacher", "student", "text, and the n-grams that decided"], rows)
            + "</details>"
        )
    return "\n".join(parts)


_STUDIES: dict[str, tuple[str, str, Callable[[dict[str, Any], dict[str, Any]], str]]] = {
    "speed": (
        "Accuracy against speed",
        "From raw text to label, tokenisation and all, for everybody; one CPU thread, taken in turns.",
        _speed,
    ),
    "architecture": (
        "Pooling, depth, factor, beginning",
        "The KD student at the width of 64 unless it says else; learning rates chosen on dev; half the range over "
        "three seeds.",
        _architecture,
    ),
    "budget": (
        "A budget of parameters",
        "The same number of parameters as many narrow rows or few wide ones.",
        _budget,
    ),
    "width": (
        "Served width",
        "0 is no hidden layer: a row is one number a class. Texts a second on one thread.",
        _width,
    ),
    "pruning": (
        "Pruning",
        "The most frequent n-grams alone, by their counts on corpus and train or on train alone; in small the share of "
        "the whole's accuracy.",
        _pruning,
    ),
    "ngrams": (
        "Longer n-grams switched off",
        "In a student trained with one to four words; in small how many n-grams are left.",
        _ngrams,
    ),
    "corpus_size": ("Size of the corpus", "Mean over three draws.", _corpus_size),
    "coverage": (
        "Coverage",
        "How much a student departs from its teacher where its n-grams are unknown.",
        _coverage,
    ),
    "adaptation": (
        "Domain adaptation",
        "A teacher of the source labels the source's corpus; its student goes to the target as it is, or is fine-tuned "
        "on the target's labels.",
        _adaptation,
    ),
    "privacy": (
        "What a student tells of its training texts",
        "How well the loss on a text's label tells texts of train from texts of dev, as the area under the curve: 0.5 "
        "is a guess. KD† was trained on the corpus alone.",
        _privacy,
    ),
    "columns": (
        "The table split over two processes",
        "The same settings and seed, the table's columns over two processes.",
        _columns,
    ),
    "cases": ("Where student and teacher part", "The surest disagreements.", _cases),
}
