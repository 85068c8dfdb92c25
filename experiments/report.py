"""``python -m experiments.report``: the records as ``docs/results.md``, with pictures in ``docs/results/``.

``--check --data DIR`` recomputes every accuracy from the predictions that are recorded, and the labels; ``--json FILE``
writes all figures as JSON.
"""

import argparse
import io
import re
import statistics
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from sparsedistill import SparsedistillError

from . import paper
from .__main__ import place_arguments, place_of
from .cells import SYSTEMS, TASKS, Table, by_system, mean
from .claims import Claim, criteria
from .package import replacing, say, write_json
from .records import Recorded, every_task
from .studies import STUDIES
from .task import HERE, Place, Task

DOCS = HERE.parent / "docs"
Results = dict[str, Recorded]
_INTRO = (
    "The systems and the studies of [Sparse Distillation](https://arxiv.org/abs/2110.08536) (Ye et al., NAACL 2022), "
    "reproduced with smaller teachers and smaller corpora (the paper's: RoBERTa-Large, 10 to 418 million texts): what "
    "carries over are shares, gaps and ratios, not the figures themselves. A study without a row for a task was not "
    "run on it; an empty cell is a system that was not. `experiments/results/` has the predictions and every run."
)
_ACCURACY = (
    "On test texts, percent, mean over the seeds ± standard deviation; <small>the paper's figure, with its own teacher "
    "and data</small>. Bold: the student that dev chose, fine-tuned nearly always, since fine-tuning keeps the KD "
    "student as it was where dev gains nothing. The networks are the paper's other students: they learn soft labels of "
    "50,000 texts and 2 million words of corpus and train at most, the sparse students those of all texts; their "
    "settings are not tuned, and figures without ± are of one seed. “Half the teacher's layers” stands where the paper "
    "has DistilRoBERTa distilled, “half the encoder's layers” where it has DistilBERT; neither was pre-trained again. "
    "Wiki Toxic, a balanced part of it, and MRPC have no corpus of their own, and there are no acceptance criteria for "
    "their students. Letters to newsgroups and random crops of train stand in for the one's; who learns from the "
    "letters alone takes their share of classes for the task's. For MRPC's stand pairs of neighbours, some words of "
    "which gave way to the other half's own. Of pairs the networks learn 25,000."
)
_CRITERIA = (
    "Of the student that dev chose. The shares asked for are those of the paper's student of the same task (TREC-6 has "
    "TREC-50's; the tweets' and the average are this project's own); the gap from scratch to teacher counts where it "
    "is above 2 points. ± spans 95 % over the texts of the test set, at most: of paired differences between decisions, "
    "seeds together; “within chance” where that spans the criterion."
)
_CLAIMS = (
    "Confirmed or contradicted by the studies below. ± is 95 % over three seeds alone, not over the texts, and over "
    "the texts of the test set for pruning, of one seed."
)


def accuracy(results: Results) -> Table:
    """Systems below each other, test sets beside each other."""
    columns = {}
    for key, task in results.items():
        for test in task.tests:
            shown = "published dev" if test == "dev" else test  # not the dev that anything was chosen on
            columns[f"{TASKS[key]}, {shown}" if len(task.tests) > 1 else TASKS[key]] = task, test

    def cell(name: str, column: str) -> str:
        task, test = columns[column]
        if not (values := [100 * value for value in task.accuracies(name, test)]):
            return ""
        is_first = test == task.tests[0]  # of further test sets the mean alone
        shown = mean(values if is_first else [statistics.fmean(values)])
        shown = f"<b>{shown}</b>" if task.selected == name else shown
        theirs = paper.SYSTEMS.get(task.key, {}).get(name) if is_first else None
        return shown + (f" <small>{100 * theirs:.1f}</small>" if theirs else "")

    return by_system(columns, cell)


def figures_of(results: Results, name: str) -> dict[str, Any]:
    """What a study measured, by task."""
    return {key: task.studies[name]["figures"] for key, task in results.items() if name in task.studies}


def markdown(results: Results) -> str:
    """``docs/results.md``."""
    studies = {name: figures_of(results, name) for name in STUDIES if figures_of(results, name)}
    parts = {name: _study(results, name, study) for name, study in studies.items()}
    found = [
        claim for name, study in studies.items() for key, figures in study.items()
        for claim in STUDIES[name].claims(TASKS[key], figures)
    ]  # fmt: skip
    lines = ["# Results", "", _INTRO, "", *parts.pop("sizes", [])]
    lines += _section("Accuracy", _ACCURACY, [accuracy(results)])
    lines += _section("Acceptance criteria", _CRITERIA, [_claims(criteria(results))])
    lines += _section("The paper's findings", _CLAIMS, [_claims(found)])
    return "\n".join([*lines, *(line for part in parts.values() for line in part)])


def _study(results: Results, name: str, figures: dict[str, Any]) -> list[str]:
    study, records = STUDIES[name], {key: results[key].studies[name] for key in figures}
    trained = {key: {one.get("teacher") for one in results[key].systems.get("kd", {}).values()} for key in figures}
    earlier = ", ".join(TASKS[key] for key, record in records.items() if trained[key] - {record.get("teacher")})
    note = study.note + (f" <b>Of an earlier teacher than the one recorded: {earlier}.</b>" if earlier else "")
    sources: dict[str, list[str]] = {}
    for key, record in records.items():
        source = f"<code>{record['command']}</code> at <code>{record['commit']}</code>"
        sources.setdefault(source, []).append(TASKS[key])
    shown = "; ".join(f"{', '.join(titles)}: {source}" for source, titles in sources.items())
    picture = [f"![{study.title}](results/{name}.svg)", ""] if study.axes else []
    return [*_section(study.title, note, study.tables(figures, results), picture), f"<small>{shown}</small>", ""]


def _section(title: str, note: str, tables: Sequence[Table], picture: Sequence[str] = ()) -> list[str]:
    lines = [f"## {title}", "", note, "", *picture]
    for table in tables:
        head, *rows = ["| " + " | ".join(cell.replace("|", "&#124;") for cell in row) + " |" for row in table]
        lines += [head, "|---" + "|---:" * (len(table[0]) - 1) + "|", *rows, ""]
    return lines


def _claims(claims: Sequence[Claim]) -> Table:
    answers = (("yes" if one.holds else "<b>no</b>") + (", within chance" if one.is_open else "") for one in claims)
    rows = [[one.what, one.figure, answer] for one, answer in zip(claims, answers, strict=True)]
    return [["", "figure", "holds"], *rows]


def picture(results: Results, name: str) -> str:
    """A plot a task, as SVG: the same records, the same file."""
    from matplotlib import rc_context
    from matplotlib.backends.backend_svg import FigureCanvasSVG
    from matplotlib.figure import Figure

    study, figures, out = STUDIES[name], figures_of(results, name), io.StringIO()
    columns = min(3, len(figures))
    font = {"svg.fonttype": "none", "font.sans-serif": ["DejaVu Sans"], "font.size": 8}
    with rc_context({"svg.hashsalt": "sparsedistill", **font}):
        figure = Figure(figsize=(3.6 * columns, 2.7 * -(-len(figures) // columns) + 0.6), layout="constrained")
        FigureCanvasSVG(figure)
        marks: dict[str, Any] = {}
        for place, (key, one) in enumerate(figures.items(), 1):
            axes = figure.add_subplot(-(-len(figures) // columns), columns, place)
            study.draw(axes, one, results[key])
            axes.set_title(TASKS[key], loc="left")
            axes.set(xlabel=study.axes[0], ylabel=study.axes[1], axisbelow=True)
            axes.grid(True, color="#e8e8e8")
            axes.minorticks_off()
            axes.spines[["top", "right"]].set_visible(False)
            marks |= {label: mark for mark, label in zip(*axes.get_legend_handles_labels(), strict=True)}
        order = [title for title in SYSTEMS.values() if title in marks] or list(marks)
        if marks:
            figure.legend([marks[n] for n in order], order, loc="outside lower center", ncols=columns, frameon=False)
        figure.savefig(out, format="svg", metadata={"Date": None})
    svg = re.sub(r"<metadata>.*</metadata>", "", out.getvalue(), flags=re.DOTALL)
    svg = re.sub(r" transform=\"rotate\(-0 [^\"]*\"| font-family: [^;\"]*;|(?<=\.\d\d)\d{3,}", "", svg)  # a third of it
    return " ".join(svg.replace("<svg", "<svg font-family='DejaVu Sans, sans-serif'", 1).split()) + "\n"


def check(place: Place) -> int:
    """Recompute every accuracy from the predictions; returns how many are not what the records say."""
    results, differences, total = every_task(), [], 0
    for key, recorded in results.items():
        task = Task(key, place)
        try:
            task.inputs.part("test")
        except SparsedistillError as error:
            differences.append(f"{key}: {error}")
            continue
        for part, made in _texts(recorded).items():
            if len(made) > 1:
                apart = " - ".join(", ".join(names) for names in made.values())
                differences.append(f"{key}: not of the same texts of {part}: {apart}: run some of them again")
        for name, seed, one in ((n, s, one) for n, seeds in recorded.systems.items() for s, one in seeds.items()):
            total, right = total + 1, task.accuracies(recorded.predictions[f"{name}/{seed}"])
            if recorded.teacher not in (None, one.get("teacher", recorded.teacher)):
                differences.append(f"{key} {name} seed {seed}: of another teacher than the one recorded: run it again")
            if right != one["accuracy"]:
                differences.append(f"{key} {name} seed {seed}: {right} by predictions, {one['accuracy']} by record")
        for name, study in recorded.studies.items():
            if recorded.teacher not in (None, study.get("teacher")):
                say(f"{key} {name}: a study of an earlier teacher than the one recorded, trained by the same recipe")
    page = DOCS / "results.md"
    if page.exists() and page.read_text(encoding="utf-8") != markdown(results):
        differences.append(f"{page} is not what the records give: run python -m experiments.report")
    for difference in differences:
        say(difference)
    say(f"{total} accuracies computed from predictions; {len(differences)} differences")
    return len(differences)


def _texts(recorded: Recorded) -> dict[str, dict[str, list[str]]]:
    """By part and fingerprint, the systems made of it; the corpus counts where a teacher labelled it."""
    made: dict[str, dict[str, list[str]]] = {}
    for name, record in recorded.systems.items():
        for part, found in {item for one in record.values() for item in one["data"].items()}:
            if part != "corpus" or any("teacher" in one for one in record.values()):
                made.setdefault(part, {}).setdefault(found, []).append(name)
    return made


def write(results: Results) -> None:
    """The page and its pictures."""
    files = {"results.md": markdown(results)}
    for name, study in STUDIES.items():
        if study.axes and figures_of(results, name):
            files[f"results/{name}.svg"] = picture(results, name)
    for name, text in files.items():
        with replacing(DOCS / name) as temporary:
            Path(temporary).write_text(text, encoding="utf-8")


def main() -> int:
    """Write the report, or check it."""
    parser = argparse.ArgumentParser(prog="python -m experiments.report", description=__doc__)
    place_arguments(parser)
    parser.add_argument("--check", action="store_true", help="recompute every accuracy from the predictions")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write all figures there, and no page")
    arguments = parser.parse_args()
    if arguments.check:
        return 1 if check(place_of(arguments)) else 0
    if arguments.json:
        write_json(arguments.json, {key: task.as_json() for key, task in every_task().items()})
    else:
        write(every_task())
    return 0


if __name__ == "__main__":
    sys.exit(main())
