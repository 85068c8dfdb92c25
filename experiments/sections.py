"""What the results say, section by section: tables and pictures that :mod:`.report` writes as Markdown and as a page.

Cells are HTML of the kind that Markdown takes too.
"""

from __future__ import annotations

import itertools
import math
import statistics
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from html import escape as _escape
from typing import Any

from . import paper, verdicts
from .names import SYSTEMS, TITLES
from .verdicts import first_test

escape = partial(_escape, quote=False)
_COLOURS = ("#2a6f97", "#c44e00", "#3a7d44", "#7b4b94", "#8a6d00", "#b0305c", "#444444", "#1f9e9e")
COMMANDS = "commands"  # the summary that a study's are folded under
Results = dict[str, Any]


@dataclass(frozen=True)
class Table:
    """Rows of cells under a head. ``folded``: a summary to fold it under; such a table is on the page alone."""

    head: Sequence[str]
    rows: Sequence[Sequence[str]]
    folded: str = ""


@dataclass(frozen=True)
class Picture:
    """A small plot a task: ``draw(axes, task)``, the axes named ``below`` and ``beside``."""

    tasks: Sequence[str]
    draw: Callable[[Any, str], None]
    below: str
    beside: str


@dataclass(frozen=True)
class Section:
    """A heading, a sentence or two, and what is shown."""

    title: str
    text: str
    blocks: Sequence[Table | Picture]


def sections(found: Results) -> list[Section]:
    """All of them, those without figures left out."""
    parts = [
        Section(
            "Accuracy",
            "On test texts, percent, mean over the seeds ± standard deviation; <small>the paper's figure, with its "
            "own teacher and data</small>. Bold: the student that dev chose, fine-tuned nearly always, since "
            "fine-tuning keeps the KD student as it was where dev gains nothing. The networks are the paper's other "
            "students: they learn the teacher's word on 50,000 texts and 2 million words of corpus and train at most, "
            "the sparse students on all of them; their settings are not tuned, and figures without ± are of one "
            "seed. “Half the teacher's layers” stands where the paper has DistilRoBERTa distilled, “half the "
            "encoder's layers” where it has DistilBERT; neither was pre-trained anew. Wiki Toxic, a balanced part of "
            "it, and MRPC have no corpus of their own, and nothing was asked of their students. Letters to newsgroups "
            "and pieces of train stand in for the one's; who learns from the letters alone takes their share of "
            "classes for the task's. For MRPC's stand pairs of neighbours, some words of which gave way to the other "
            "half's own. Of pairs the networks learn 25,000.",
            [_accuracy(found)],
        ),
        Section(
            "What was asked of the figures",
            "Of the student that dev chose. The shares asked for are those of the paper's student of the same task "
            "(TREC-6 has TREC-50's; the tweets' and the average are this project's own); the gap from scratch to "
            "teacher counts where it is above 2 points. ± spans 95 % over the texts of the test set, at most: of "
            "paired differences between decisions, seeds together; “within chance” where that spans what was asked.",
            [_verdicts(verdicts.targets(found))],
        ),
        Section(
            "What the paper found",
            "Confirmed or contradicted by the studies below. ± is 95 % over three seeds alone, not over the texts, "
            "and over the texts of the test set for pruning, of one seed.",
            [_verdicts(verdicts.orderings(found))],
        ),
    ]
    for name, (title, text, show) in _STUDIES.items():
        if study := found["studies"].get(name):
            at = 0 if name == "sizes" else len(parts)
            earlier = [TITLES[key] for key, one in study.items() if one.get("taught_by") != _teacher(found, key)]
            more = f" <b>Of an earlier teacher than the one kept: {', '.join(earlier)}.</b>" if earlier else ""
            parts.insert(at, Section(title, text + more, [*show(study, found), _origin(study)]))
    parts.append(Section("Where the figures come from", "", list(_runs(found))))
    return [part for part in parts if any(not isinstance(block, Table) or block.rows for block in part.blocks)]


def _teacher(found: Results, key: str) -> str | None:
    """The teacher that the students of a task learnt from."""
    runs = found["more"].get(key, {}).get("runs", {}).get("kd", {})
    return next((one.get("taught_by") for one in runs.values()), None)


# ---- accuracy --------------------------------------------------------------------------------------------------------


def _accuracy(found: Results) -> Table:
    columns = {}
    for key, more in found["more"].items():
        others = more["other_test_sets"]
        for test in (more["test_set"], *others):
            shown = "published dev" if test == "dev" else test  # not the dev that anything was chosen on
            columns[f"{TITLES[key]}, {shown}" if others else TITLES[key]] = key, test if test in others else ""

    def cell(name: str, column: str) -> str:
        key, test = columns[column]
        more, entry, theirs = found["more"][key], found["tasks"][key], paper.SYSTEMS.get(key, {}).get(name)
        figures = more["other_test_sets"][test] if test else entry
        if name not in figures:
            return ""
        deviation = None if test else more["spread"][name]
        shown = f"{100 * figures[name]:.1f}" + (f" ±{100 * deviation:.1f}" if deviation else "")
        shown = f"<b>{shown}</b>" if entry.get("selected") == name else shown
        return shown + (f" <small>{100 * theirs:.1f}</small>" if theirs and not test else "")

    return _by_system(columns, cell)


def _by_system(columns: Iterable[str], cell: Callable[[str, str], str], corner: str = "") -> Table:
    """Systems below each other, tasks beside each other; systems without a figure left out."""
    rows = [[escape(title), *(cell(name, column) for column in columns)] for name, title in SYSTEMS.items()]
    return Table([corner, *(TITLES.get(column, column) for column in columns)], [row for row in rows if any(row[1:])])


def _verdicts(some: Iterable[verdicts.Verdict]) -> Table:
    def answer(verdict: verdicts.Verdict) -> str:
        return ("yes" if verdict.holds else "<b>no</b>") + (", within chance" if verdict.is_open else "")

    return Table(["", "figure", "holds"], [[escape(one.what), escape(one.figure), answer(one)] for one in some])


def _runs(found: Results) -> Iterable[Table]:
    for key, more in found["more"].items():
        rows = [
            [escape(SYSTEMS[name]), seed, f"{100 * one['accuracy'][more['test_set']]:.2f}", f"{100 * one['dev']:.2f}",
             f"{one.get('seconds', 0):,.0f}", *_source(one)]
            for name, record in more["runs"].items() for seed, one in record.items()
        ]  # fmt: skip
        yield Table(["system", "seed", "test", "dev", "seconds", *_SOURCE], rows, TITLES[key])


def _origin(study: Results) -> Table:
    return Table(["", *_SOURCE], [[TITLES[key], *_source(one)] for key, one in study.items()], COMMANDS)


_SOURCE = ("taught by", "data", "commit", "command")


def _source(one: Results) -> list[str]:
    """Where a figure comes from; a teacher trained anew by the same recipe may say other things."""
    data = " ".join(f"{part} {fingerprint[:8]}" for part, fingerprint in one["data"].items())
    cells = one.get("taught_by", "")[:8], data, one["commit"], one["command"]
    return [f"<code>{escape(cell)}</code>" if cell else "" for cell in cells]


# ---- studies ---------------------------------------------------------------------------------------------------------


def _percent(accuracy: dict[str, float]) -> float:
    return 100 * first_test(accuracy)


def _mean(values: Sequence[float], digits: int = 1) -> str:
    """The mean, and the standard deviation where there are several."""
    deviation = f" ±{statistics.stdev(values):.{digits}f}" if len(values) > 1 else ""
    return f"{statistics.fmean(values):.{digits}f}{deviation}"


def _small(*cells: object) -> list[str]:
    """Cells of a row that is the paper's."""
    return [f"<small>{escape(str(cell))}</small>" if cell else "" for cell in cells]


def _theirs(rows: dict[str, tuple[float, ...]]) -> list[list[str]]:
    return [_small(f"the paper, {what}", *figures) for what, figures in rows.items()]


def _sizes(study: Results, found: Results) -> list[Table | Picture]:
    rows = []
    for key, one in study.items():
        facts = one["found"]
        texts = {part: f"{facts['texts'][part]:,}" for part in ("train", "dev", "corpus")}
        test = ", ".join(f"{size:,}" for size in facts["tests"].values())
        theirs = dict(zip(("train", "test", "corpus"), paper.TEXTS.get(key, ()), strict=False))
        cells = {"train": texts["train"], "dev": texts["dev"], "test": test, "corpus": texts["corpus"]}
        shown = [f"{cell} {_small(theirs.get(part, ''))[0]}".strip() for part, cell in cells.items()]
        layers = ", ".join(map(str, facts["width"])) or "none"
        rows.append(
            [TITLES[key], f"{facts['classes']}", *shown, f"{facts['tokens']}", f"{facts['ngrams']:,}",
             f"1 to {facts['max_n']}", layers, f"{facts['parameters'] / 1e6:.0f}M", f"{facts['megabytes']:.0f} MB"]
        )  # fmt: skip
    head = ["", "classes", "train", "dev", "test", "corpus", "tokens", "n-grams", "words", "hidden",
            "parameters", "served"]  # fmt: skip
    return [Table(head, rows)]


def _teachers(study: Results, found: Results) -> list[Table | Picture]:
    def shown(dev: Sequence[float]) -> str:
        return ", ".join(f"<b>{100 * one:.1f}</b>" if one == max(dev) else f"{100 * one:.1f}" for one in dev)

    rows = []
    for key, more in found["more"].items():
        if usual := more["runs"].get("teacher", {}).get("0", {}).get("dev_by_epoch"):
            rows.append([TITLES[key], shown(usual), shown(study[key]["found"]["longer"]) if key in study else ""])
    return [Table(["accuracy on dev", "after each epoch", "of one more"], rows)]


def _speed(study: Results, found: Results) -> list[Table | Picture]:
    def draw(axes: Any, key: str) -> None:
        axes.set_xscale("log")
        points = {}
        for name, one in study[key]["found"].items():
            if name in found["tasks"].get(key, {}):
                x, y = one["texts_per_second"], 100 * found["tasks"][key][name]
                ours = name in ("scratch", "kd", "kd_ft")
                colour = _COLOURS[1] if ours else _COLOURS[6] if name == "teacher" else _COLOURS[0]
                axes.scatter(x, y, s=22, color=colour)
                points[SYSTEMS[name].split(",")[0].split(" + ")[0]] = x, y
        axes.margins(y=0.12)  # for the names above the first
        axes.autoscale_view()  # now: the names are placed by it
        _label(axes, points)

    def cell(name: str, key: str) -> str:
        if key.startswith("the paper, "):
            return _small(paper.SPEED[key.removeprefix("the paper, ")].get(name, ""))[0]
        figures = study[key]["found"]
        if name not in figures or name not in found["tasks"].get(key, {}):  # speed says nothing without accuracy
            return ""
        times = figures[name]["texts_per_second"] / figures["teacher"]["texts_per_second"]
        return _rate(figures[name]) + (f" <small>{_digits(times, 2)} x</small>" if name != "teacher" else "")

    table = _by_system([*study, *(f"the paper, {title}" for title in paper.SPEED)], cell, "texts a second")
    return [Picture(list(study), draw, "texts a second, one CPU thread", "accuracy, %"), table]


def _rate(one: Results) -> str:
    """Texts a second as precisely as they were measured."""
    spread = f" ±{one['spread']:.0%}" if one.get("spread", 0) > 0.1 else ""
    return _digits(one["texts_per_second"], 3) + spread


def _digits(value: float, digits: int) -> str:
    """So many of them that are not naught to begin with."""
    return f"{float(f'{value:.{digits}g}'):,g}" if value < 1e5 else f"{float(f'{value:.{digits}g}'):,.0f}"


def _label(axes: Any, points: dict[str, tuple[float, float]]) -> None:
    """Write names beside points: each at the nearest place that is free, with a line to its point where that is far."""
    size, tall, dot = (240.0, 170.0), 7.0, 3.0  # in points: of the axes, about; of a line of text; of a dot's half
    where = dict(
        zip(points, axes.transAxes.inverted().transform(axes.transData.transform([*points.values()])), strict=True)
    )
    taken = [(x * size[0] - dot, y * size[1] - dot, x * size[0] + dot, y * size[1] + dot) for x, y in where.values()]
    places = sorted(itertools.product((4, -4), range(-81, 82, 3)), key=lambda place: (abs(place[1]), place[0] < 0))
    for name, (x, y) in where.items():
        for beside, up in places:
            wide = 3.2 * len(name)
            left = x * size[0] + (beside if beside > 0 else beside - wide)
            box = left, y * size[1] + up - tall / 2, left + wide, y * size[1] + up + tall / 2
            apart = all(box[0] > b[2] or box[2] < b[0] or box[1] > b[3] or box[3] < b[1] for b in taken)
            if apart and left > 0 and box[2] < size[0] + 10 and box[3] < size[1] + 3:
                break
        taken.append(box)
        style = {"fontsize": 6, "ha": "left" if beside > 0 else "right", "va": "center"}
        if abs(up) > tall:
            style["arrowprops"] = {"arrowstyle": "-", "lw": 0.4, "color": "#999999", "shrinkA": 0, "shrinkB": 2}
        axes.annotate(name, points[name], (beside, up), textcoords="offset points", **style)


def _pruning(study: Results, found: Results) -> list[Table | Picture]:
    def draw(axes: Any, key: str) -> None:
        axes.set_xscale("log")
        for colour, counted in zip(_COLOURS, ("corpus and train", "train"), strict=False):
            points = study[key]["found"][counted]
            shares, accuracies = [100 * s for s, _ in points], [_percent(a) for _, a in points]
            axes.plot(shares, accuracies, "o-", ms=3, color=colour, label=counted)

    rows = []
    for key, one in study.items():
        for counted in ("corpus and train", "train"):
            points = one["found"][counted]
            whole = _percent(points[0][1])
            kept = [f"{_percent(a):.1f} <small>{_percent(a) / whole:.1%}</small>" for _, a in points]
            rows.append([f"{TITLES[key]}, {SYSTEMS[one['found']['student']]}, counts of {counted}", *kept])
    head = ["", *(f"{100 * share:g} %" for share, _ in next(iter(study.values()))["found"]["train"])]
    rows.append(_small("the paper, IMDB", *("above 90, 96.3%" if share == "3 %" else "" for share in head[1:])))
    return [Picture(list(study), draw, "% of the n-grams kept", "accuracy, %"), Table(head, rows)]


def _ngrams(study: Results, found: Results) -> list[Table | Picture]:
    rows = [
        [TITLES[key], *(f"{_over_seeds(left)} <small>{left['ngrams']:,}</small>" for left in one["found"].values())]
        for key, one in study.items()
    ]
    return [Table(["", "n = 1", "n ≤ 2", "n ≤ 3", "n ≤ 4"], rows + _theirs(paper.NGRAMS))]


def _width(study: Results, found: Results) -> list[Table | Picture]:
    def cell(figures: Results) -> str:
        return f"{_over_seeds(figures)} <small>{_rate(figures)}</small>"

    widths = sorted({width for one in study.values() for width in one["found"]}, key=int)
    rows = [
        [TITLES[key], *(cell(one["found"][width]) if width in one["found"] else "" for width in widths)]
        for key, one in study.items()
    ]
    return [Table(["", *widths], rows)]


def _corpus_size(study: Results, found: Results) -> list[Table | Picture]:
    students = ("kd_private", "kd", "kd_ft")

    def values(seeds: Results, name: str) -> list[float]:
        return [_percent(one[name]["accuracy"]) for one in seeds.values()]

    def draw(axes: Any, key: str) -> None:
        axes.set_xscale("log")
        for colour, name in zip(_COLOURS, students, strict=False):
            by_share = list(study[key]["found"].values())
            sizes = [next(iter(seeds.values()))["texts"] for seeds in by_share]
            means = [statistics.fmean(values(seeds, name)) for seeds in by_share]
            axes.plot(sizes, means, "o-", ms=3, color=colour, label=SYSTEMS[name])

    rows = [
        [f"{TITLES[key]}, {SYSTEMS[name]}", *(_mean(values(seeds, name)) for seeds in one["found"].values())]
        for key, one in study.items()
        for name in students
    ]
    head = ["of the corpus", *(f"{100 * float(share):g} %" for share in next(iter(study.values()))["found"])]
    return [Picture(list(study), draw, "texts of the corpus", "accuracy, %"), Table(head, rows)]


def _coverage(study: Results, found: Results) -> list[Table | Picture]:
    def draw(axes: Any, key: str) -> None:
        tenths = study[key]["found"]["tenths"]
        axes.plot([100 * t["coverage"] for t in tenths], [t["loss"] for t in tenths], "o-", ms=3, color=_COLOURS[0])

    rows = []
    for key, one in study.items():
        tenths = one["found"]["tenths"]
        cells = [f"{t['loss']:.3f} <small>{t['coverage']:.0%}</small>" for t in tenths]
        title = f"{TITLES[key]}, {SYSTEMS[one['found']['student']]}"
        rows.append([title, *cells, f"{one['found']['correlation']:+.2f}"])
    head = ["KL <small>known</small>", *map(str, range(1, len(tenths) + 1)), "correlation"]
    below = "% of a text's n-grams that are known, tenths of the texts"
    return [Picture(list(study), draw, below, "KL(teacher || student)"), Table(head, rows)]


def _budget(study: Results, found: Results) -> list[Table | Picture]:
    rows = [
        [f"{TITLES[key]}, {budget}", f"{pair['rows']:,} x {pair['width']}", *_tuned(pair)]
        for key, one in study.items() for budget, pairs in one["found"].items() for pair in pairs
    ]  # fmt: skip
    rows += [
        _small(f"the paper, IMDB, {budget}", f"{count} x {width}", figure, "", "")
        for budget, pairs in paper.BUDGETS.items() for count, width, figure in pairs
    ]  # fmt: skip
    return [Table(["parameters", "n-grams x width", "accuracy", "dev", "learning rate"], rows)]


def _architecture(study: Results, found: Results) -> list[Table | Picture]:
    rows = [
        [f"{TITLES[key]}: {name}", *_tuned(made), *_small(paper.ARCHITECTURE.get(name, ""))]
        for key, one in study.items() for name, made in one["found"].items()
    ]  # fmt: skip
    return [Table(["", "accuracy", "dev", "learning rate", "<small>the paper, IMDB</small>"], rows)]


def _over_seeds(made: Results) -> str:
    return _mean([_percent(seed["accuracy"]) for seed in made["seeds"].values()])


def _tuned(made: Results) -> list[str]:
    dev = _mean([100 * seed["dev"] for seed in made["seeds"].values()], 2)
    return [_over_seeds(made), dev, f"{made['learning_rate']:.2g}"]


def _adaptation(study: Results, found: Results) -> list[Table | Picture]:
    rows = [
        [f"{TITLES[key]} → {TITLES[one['found']['target']]}",
         *(f"{100 * one['found'][n]:.1f}" for n in ("teacher", "kd", "kd_ft", "kd_ft_new_head"))]
        for key, one in study.items()
    ]  # fmt: skip
    head = ["", "teacher of the source", "KD", "KD+FT", "KD+FT, new head"]
    return [Table(head, rows + _theirs(paper.ADAPTATION))]


def _privacy(study: Results, found: Results) -> list[Table | Picture]:
    def cell(name: str, key: str) -> str:
        if name not in study[key]["found"]:
            return ""
        auc, sizes = study[key]["found"][name]["auc"], found["studies"].get("sizes", {}).get(key)
        # Its variance is auc (1 - auc) / the smaller number of texts at most: dev's (Birnbaum and Klose 1957).
        half = f" ±{1.96 * math.sqrt(auc * (1 - auc) / sizes['found']['texts']['dev']):.2f}" if sizes else ""
        return f"{auc:.2f}{half}"

    return [_by_system(study, cell, "AUC")]


def _columns(study: Results, found: Results) -> list[Table | Picture]:
    rows = []
    for key, one in study.items():
        facts = one["found"]
        runs = [f"{_percent(facts[n]['accuracy']):.2f} <small>{facts[n]['seconds']:.0f} s</small>" for n in ("1", "2")]
        rows.append([TITLES[key], *runs, f"{facts['agreement']:.2%}"])
    return [Table(["", "one process", "two processes", "decisions in common"], rows)]


def _cases(study: Results, found: Results) -> list[Table | Picture]:
    parts, shares = [], ("agree", "both_right", "teacher_alone_right", "student_alone_right")
    head = ["", "agree", "both right", "teacher alone right", "student alone right"]
    rows = [
        [f"{TITLES[key]}, {SYSTEMS[one['found']['student']]}", *(f"{one['found'][share]:.1%}" for share in shares)]
        for key, one in study.items()
    ]
    for key, one in study.items():
        texts = []
        for text in one["found"]["texts"]:
            ngrams = ", ".join(f"{ngram} {contribution:+.2f}" for ngram, contribution in text["ngrams"])
            says = [f"{escape(label)} {chance:.2f}" for label, chance in (text["teacher"], text["student"])]
            shown = f"<p>{escape(text['text'])}<br><small>{escape(ngrams)}</small></p>"
            texts.append([escape(text["gold"]), *says, shown])
        title = f"{TITLES[key]}: the surest disagreements"
        parts.append(Table(["gold", "teacher", "student", "text, and the n-grams that decided"], texts, title))
    return [Table(head, rows), *parts]


_STUDIES: dict[str, tuple[str, str, Callable[[Results, Results], list[Table | Picture]]]] = {
    "sizes": (
        "Tasks",
        "Distinct texts of each part, the tokens of a text that the teacher reads at most, and the student that was "
        "chosen: its n-grams and their words, its layers, its size; <small>the paper's, whose test texts are its "
        "dev sets</small>. The paper's student has 1 million n-grams of 1 to 4 words, 1000 wide, 1001 million "
        "parameters.",
        _sizes,
    ),
    "teachers": (
        "Teachers",
        "Accuracy on dev after each epoch, the best kept; the learning rate falls to nothing at the end of the last. "
        "Beside it a teacher that was given an epoch more, where the last was the best and there was time. SST-2's is "
        "right on 3 more of 689 texts; it was not put in the place of the one that was used.",
        _teachers,
    ),
    "speed": (
        "Accuracy against speed",
        "From raw text to label, tokenisation included, for all systems (fastText's texts are lower-cased beforehand, "
        "in its favour); one CPU thread, in turns of some seconds over the test texts and texts of the "
        "corpus with the lengths of these; ± half of what lies between slowest and fastest "
        "turn, where that is above 10 %; in small print the multiple of the teacher's speed. The paper's: on 56 cores, "
        "without tokenisation, where the student is 663 times as fast as its teacher on IMDB, 741 times on SST-2.",
        _speed,
    ),
    "architecture": (
        "Pooling, depth, factorisation, initialisation",
        "The KD student at the width of 64, its table random at first, unless stated otherwise; learning rates chosen "
        "on dev with seed 0; three seeds.",
        _architecture,
    ),
    "budget": (
        "A budget of parameters",
        "The same number of parameters as many narrow rows or few wide ones, under the same dense layers; learning "
        "rates chosen on dev with seed 0; three seeds.",
        _budget,
    ),
    "width": (
        "Served width",
        "The KD student. 0 is no hidden layer: a row is one number a class, begins at random and takes the learning "
        "rate of its kind; the others take the task's settings. Of pairs it is the width of the table, in "
        "which they are compared, before a hidden layer of 64. Accuracy, and texts a second on one thread; where the "
        "accuracy is without ±, it is of seed 0, and the rate of the test texts alone, over and over: up to a fifth "
        "too high. Wiki Toxic's and MRPC's were timed in turns, but beside other work: too low.",
        _width,
    ),
    "pruning": (
        "Pruning",
        "The most frequent n-grams alone, by their counts on corpus and train or on train alone; seed 0 of the student "
        "that dev chose; in small print the share of the whole's accuracy.",
        _pruning,
    ),
    "ngrams": (
        "Longer n-grams switched off",
        "In the KD student, trained with one to four words; in small print how many n-grams are left.",
        _ngrams,
    ),
    "corpus_size": (
        "Size of the corpus",
        "Three draws of each size; all tables begin at random, and no pieces of train are asked about.",
        _corpus_size,
    ),
    "coverage": (
        "Coverage",
        "How much a student departs from its teacher where its n-grams are unknown: test texts in tenths by the share "
        "of their n-grams that are known; seed 0 of the student that dev chose.",
        _coverage,
    ),
    "adaptation": (
        "Domain adaptation",
        "A teacher of the source labels the source's corpus; its student goes to the target as it is, or is fine-tuned "
        "on the target's labels. One seed.",
        _adaptation,
    ),
    "privacy": (
        "What a student tells of its training texts",
        "How well the loss on a text's label tells texts of train, those in the corpus left out, from texts of dev, as "
        "the area under the curve: 0.5 is a guess; ± is 95 % over the texts of dev, at most. KD† was trained on the "
        "corpus alone. Seed 0.",
        _privacy,
    ),
    "columns": (
        "The table split over two processes",
        "The same settings and seed, the table's columns over two processes. (The paper's student of 2 billion "
        "parameters on two GPUs has 93.1 on IMDB, that of 1 billion on one 93.2.)",
        _columns,
    ),
    "cases": (
        "Where student and teacher part",
        "Shares of the test texts; seed 0 of the student that dev chose. results.html lists the texts, the surest "
        "first.",
        _cases,
    ),
}
