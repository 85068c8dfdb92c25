"""Speed and accuracy of a trained classifier beside the ways people label text today; see README.md.

    python benchmarks/inference.py --imdb runs/imdb --agnews runs/agnews --sst2 runs/sst2 --data ../shared/data

Everything is timed from raw text to label on the same texts, with the same number of threads on both sides.
"""

from __future__ import annotations

import argparse
import math
import statistics
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import engine
import tasks
from baselines import FASTTEXT_DEFAULT
from tasks import Task
from timing import Others, alternate, load_average, options, paired, rates
from workers import BaselineError, Worker

from sparsedistill.format import read_json, write_json
from sparsedistill.machine import default_threads
from sparsedistill.progress import say

SLOW_REPEATS = 3  # of a contender whose one run takes many seconds


@dataclass(frozen=True)
class Contender:
    """One row: which baseline, with which options, on how many texts (0: all) and which numbers of threads."""

    key: str
    title: str
    baseline: str
    options: dict[str, Any]
    threads: tuple[int, ...]
    forks: bool = False  # it cannot use threads: as many processes take their place
    texts: int = 0
    trained: bool = True  # random weights are never right
    measure: str = ""
    linear_measure: str = ""  # of the student without hidden layer
    kind: str = "baseline"


@dataclass
class Row:
    title: str
    accuracy: float | None = None  # percent
    scored: int = 0  # texts it was scored on
    rates: dict[int, float] = field(default_factory=dict)  # threads -> documents a second
    ratio: float | None = None
    note: str = ""
    kind: str = "baseline"

    def add(self, threads: int, found: list[list[float]]) -> None:
        """The speeds of a race: its own, and how much faster ours was with the fewest threads raced."""
        self.rates[threads] = statistics.median(found[-1])
        if self.ratio is None:
            self.ratio = paired(found[0], found[-1])


@dataclass
class Bench:
    """The arguments, and what has been found so far."""

    args: argparse.Namespace
    measures: dict[str, float | None] = field(default_factory=dict)
    tables: dict[str, list[Row]] = field(default_factory=dict)
    lines: list[str] = field(default_factory=list)  # what stands below the tables
    disturbed: list[str] = field(default_factory=list)

    def wants(self, key: str) -> bool:
        """Whether ``--only`` names it, or its family: minilm for minilm-int8."""
        return not self.args.only or any(key == only or key.startswith(only + "-") for only in self.args.only)

    def note(self, line: str) -> None:
        self.lines.append(line)
        say(line)


def contenders(task: Task, run: Path, bench: Bench) -> list[Contender]:
    cache, many = bench.args.out, bench.args.threads
    both = tuple(sorted({1, many}))
    teacher, name = run / "teacher", task.name
    encoder = read_json(run / "settings.json")["teach"]["teacher"]
    fasttext, four = {"cache": cache, "settings": FASTTEXT_DEFAULT}, {**FASTTEXT_DEFAULT, "wordNgrams": 4}
    few = 256 if name == "imdb" else 1024  # for transformers
    found = [
        Contender("fasttext-default", "fastText, bigrams", "FastText", fasttext, both, True,
                  measure=f"{name}_vs_fasttext", linear_measure=f"{name}_linear_vs_fasttext"),
        Contender("fasttext-4grams", "fastText, 4-grams", "FastText", {**fasttext, "settings": four}, both, True,
                  measure=f"{name}_vs_fasttext4"),
        Contender("fasttext-best", "fastText, best of a grid", "FastText", {**fasttext, "settings": None}, both, True,
                  kind="best"),
        Contender("sklearn-lr", "TF-IDF + logistic regression", "TfIdf", {"cache": cache, "head": "LogisticRegression"},
                  both, True, texts=2000),
        Contender("sklearn-svc", "TF-IDF + linear SVM", "TfIdf", {"cache": cache, "head": "LinearSVC"}, both, True,
                  texts=2000),
        Contender("model2vec", "model2vec", "Model2Vec", {"cache": cache, "encoder": encoder}, both, True, texts=5000),
        Contender("paper", "the paper's way", "PaperWay", {"cache": cache}, both, True, trained=False,
                  measure=f"{name}_vs_paper"),
        Contender("minilm-int8", "MiniLM, ONNX Runtime int8", "MiniLMInt8", {"cache": cache, "path": teacher}, (many,),
                  texts=few, measure=f"{name}_vs_minilm_int8"),
        Contender("minilm-bf16", "MiniLM, torch bf16", "MiniLM", {"path": teacher, "precision": "bf16"}, (many,),
                  texts=few),
        Contender("minilm-fp32", "MiniLM, torch fp32", "MiniLM", {"path": teacher, "precision": "fp32"}, (many,),
                  texts=few),
        Contender("roberta-bf16", "RoBERTa-Large, torch bf16", "RobertaLarge", {"precision": "bf16"}, (many,), texts=16,
                  trained=False),
        Contender("roberta-fp32", "RoBERTa-Large, torch fp32", "RobertaLarge", {"precision": "fp32"}, (many,), texts=16,
                  trained=False, measure=f"{name}_vs_roberta_large"),
    ]  # fmt: skip
    if name != "imdb":
        # Their ratios are claimed for long texts; on short ones the other rows say enough.
        found = [
            one for one in found if one.key not in ("fasttext-4grams", "paper") and not one.key.startswith("roberta")
        ]
    return [one for one in found if bench.wants(one.key)]


def classifier_of(path: Path) -> Path:
    return path / "classifier" if (path / "classifier").is_dir() else path


class Contest:
    """One data set: ours, other students, and every baseline, row by row."""

    def __init__(self, bench: Bench, name: str, run: Path):
        self.bench, self.run, self.args = bench, run, bench.args
        self.task = Task(name, bench.args.data)
        self.ours = Row("**this classifier**", kind="ours")
        self.table = [self.ours]
        self.counts = sorted({1, bench.args.threads})
        self.mine: dict[int, Worker] = {}  # ours, by threads
        self.linear: Worker | None = None  # the student without hidden layer, on one thread
        self._rates: dict[int, list[float]] = {}
        self._open = ExitStack()

    def hold(self) -> None:
        bench, name = self.bench, self.task.name
        chosen = contenders(self.task, self.run, bench)
        others = self.args.imdb_others if name == "imdb" and bench.wants("others") else []
        if not chosen and not others:
            return
        texts = self.task.test[0]
        length = sum(map(len, texts)) / len(texts)
        say(f"\n{tasks.NAMES[name]}: {len(texts):,} test texts of {length:,.0f} characters on average")
        bench.tables[name] = self.table
        with self._open:
            self.mine = {threads: self._start(self.run, threads) for threads in self.counts}
            self.ours.note = self.mine[1].note
            for path in others:
                self._enter_other(path)
            for contender in chosen:
                self._enter(contender)
            for threads in self.counts:
                if threads not in self._rates:  # nobody raced it
                    self._race([self.mine[threads]], self.args.repeats, "this classifier alone")
            self.ours.rates = {threads: statistics.median(found) for threads, found in self._rates.items()}
            score(self.ours, self.mine[min(self._rates, default=1)])
        self._conclude()

    def _start(self, path: Path, threads: int) -> Worker:
        worker = self._open.enter_context(Worker("Ours", threads=threads, task=self._bare, path=classifier_of(path)))
        worker.give(*self.task.test)
        worker.run()
        return worker

    @property
    def _bare(self) -> Task:
        """The task without the texts it has read: a worker reads those it needs itself."""
        return Task(self.task.name, self.task.data)

    def _race(self, workers: list[Worker], repeats: int, what: str) -> list[list[float]]:
        """Documents a second of each, in turns; ours is the first."""
        workers[0].run()  # awake again
        with Others() as others:
            seconds = alternate([worker.run for worker in workers], repeats)
        found = [rates(worker.texts, taken) for worker, taken in zip(workers, seconds, strict=True)]
        threads, theirs = workers[0].threads, statistics.median(found[-1])
        self._rates.setdefault(threads, []).extend(found[0])
        what = f"{tasks.NAMES[self.task.name]}, {what}, {plural(threads)}"
        say(
            f"{what}: {theirs:,.1f} documents/s, ours {statistics.median(found[0]):,.0f} "
            f"({paired(found[0], found[-1]):,.1f}x); load {load_average()}, others keep {others.cores:.1f} cores busy"
        )
        if others.cores > 0.2:
            self.bench.disturbed.append(f"{what} ({others.cores:.1f})")
        return found

    def _enter_other(self, path: Path) -> None:
        config = read_json(classifier_of(path) / "config.json")
        width, longest = config["rows"]["width"] if config["layers"] else 0, config["text"]["max_n"]
        title = f"{f'width {width}' if width else 'no hidden layer'}, n ≤ {longest}"
        self.table.append(row := Row(title, kind="other"))
        for threads in self.counts:
            try:
                worker = self._start(path, threads)
            except BaselineError as error:
                row.note = f"did not run: {error}"
                return
            found = self._race([self.mine[threads], worker], self.args.repeats, row.title)
            row.note = worker.note
            row.add(threads, found)
            score(row, worker)
            if width == 0 and threads == 1:
                self.linear = worker
            else:
                worker.close()

    def _enter(self, contender: Contender) -> None:
        self.table.append(row := Row(contender.title, kind=contender.kind))
        texts, gold = self.task.test
        picked = tasks.sample(texts, contender.texts or len(texts))
        if contender.measure:
            self.bench.measures[contender.measure] = None
        for threads in contender.threads:
            split = {"processes": threads} if contender.forks else {"threads": threads}
            try:
                with Worker(contender.baseline, task=self._bare, **split, **contender.options) as baseline:
                    way = baseline.give([texts[i] for i in picked], gold[picked])
                    row.note = "; ".join(filter(None, (baseline.note, way)))
                    repeats = self.args.repeats if baseline.run() < 5 else min(self.args.repeats, SLOW_REPEATS)
                    also = [self.linear] if self.linear and contender.linear_measure and threads == 1 else []
                    found = self._race([self.mine[threads], *also, baseline], repeats, contender.title)
                    if contender.trained:
                        score(row, baseline)
            except BaselineError as error:
                row.note = f"did not run: {error}"
                say(f"{tasks.NAMES[self.task.name]}, {contender.title}: {row.note}")
                return
            row.add(threads, found)
            if also:
                self.bench.measures[contender.linear_measure] = paired(found[1], found[-1])
        if contender.measure:
            self.bench.measures[contender.measure] = row.ratio

    def _conclude(self) -> None:
        name, ours = self.task.name, self.ours
        for row in self.table:
            if row.kind == "best" and row.accuracy is not None:
                self.bench.measures[f"{name}_accuracy_margin"] = ours.accuracy - row.accuracy
        figures = tasks.run_figures(self.run)
        if not (teacher := figures["systems"].get("teacher")):
            return
        accuracy = 100 * teacher["accuracy"]
        row = Row("teacher, by its run's report", accuracy, figures["texts"], kind="teacher")
        row.rates = {figures["threads"]: teacher["texts_per_second"]}
        row.note = f"{teacher['precision']}; timed then, not now"
        self.table.append(row)
        self.bench.note(
            f"{tasks.NAMES[name]}: the classifier's {ours.accuracy:.2f} % are {ours.accuracy - accuracy:+.2f} points "
            f"from the teacher's {accuracy:.2f} %, {100 * ours.accuracy / accuracy:.1f} % of it."
        )


def score(row: Row, worker: Worker) -> None:
    row.accuracy, row.scored = 100 * worker.accuracy, worker.texts


# ---- what concerns this package alone --------------------------------------------------------------------------------


class Engine:
    """Measures of the classifiers themselves; each method is a part that ``--only`` can name."""

    PARTS = ("single", "load", "threads", "web", "fold", "int8", "limit")

    def __init__(self, bench: Bench):
        self.bench, self.args, self.measures = bench, bench.args, bench.measures
        self.runs = {name: getattr(bench.args, name) for name in tasks.NAMES if getattr(bench.args, name)}
        self.tests = {name: Task(name, bench.args.data) for name in tasks.NAMES}

    def hold(self) -> None:
        for part in self.PARTS:
            if self.bench.wants(part):
                try:
                    getattr(self, part)()
                except Exception as error:  # an hour of other figures must not be lost for it
                    self.bench.note(f"{part}: did not run: {type(error).__name__}: {error}")

    def single(self) -> None:
        found = {}
        for name in ("agnews", "sst2"):
            if name in self.runs:
                found[name] = engine.single_us(classifier_of(self.runs[name]), self.tests[name].test[0])
        if found:
            self.measures["single_us"] = max(found.values())
            told = ", ".join(f"{tasks.NAMES[name]} {us:.1f} µs" for name, us in found.items())
            self.bench.note(f"One short text, str to label: {told} (median of 20,000 calls; the slower counts).")

    def load(self) -> None:
        self.measures |= {"load_ms": None, "load_rss_mb": None}
        ms, mb = engine.load(self.args.out)
        self.measures |= {"load_ms": ms, "load_rss_mb": mb}
        self.bench.note(f"Loading 1M rows x 1000 int8, in the page cache: {ms:.1f} ms, then {mb:.0f} MB resident.")

    def threads(self) -> None:
        if "imdb" not in self.runs:
            return
        texts = self.tests["imdb"].test[0]
        scaling, others = engine.thread_scaling(classifier_of(self.runs["imdb"]), texts, 2, self.args.repeats)
        void = others > 1 or default_threads() < 2
        self.measures["thread_scaling"] = None if void else scaling
        told = "void: fewer than two are free" if void else "valid"
        self.bench.note(f"Two threads over one: {scaling:.2f}x; others kept {others:.1f} processors busy ({told}).")

    def web(self) -> None:
        if "imdb" not in self.runs:
            return
        texts = self.tests["imdb"].test[0]
        rate, size = engine.web_docs_per_s(classifier_of(self.runs["imdb"]), texts, self.args.repeats)
        self.measures["web_docs_per_s"] = rate
        self.bench.note(f"Web-like documents of {size:,.0f} bytes on one thread: {rate:,.0f} a second.")

    def fold(self) -> None:
        there = [*self.runs.values(), *self.args.imdb_others]
        if not self.args.fold and not there:
            return
        self.measures["fold_max_diff"] = None
        run = self.args.fold or next((run for run in there if embedding_of(run)), there[0])
        texts = self.tests["imdb"].test[0][:2000]
        worst, what = engine.fold_max_diff(run, texts)
        self.measures["fold_max_diff"] = worst
        self.bench.note(f"Folding W1 moves no logit by more than {worst:.1e} ({what}, {len(texts):,} reviews).")

    def int8(self) -> None:
        losses = {}
        for name, run in self.runs.items():
            self.measures["int8_flips_sst2" if name == "sst2" else "int8_loss"] = None
            lost, flips = engine.int8_against_float(run, self.tests[name])
            total = len(self.tests[name].test[0])
            self.bench.note(
                f"{tasks.NAMES[name]}: int8 rows lose {lost:+.2f} points and change {flips} of {total:,} decisions."
            )
            if name == "sst2":
                self.measures["int8_flips_sst2"] = flips
            else:
                losses[name] = lost
        if losses:
            self.measures["int8_loss"] = max(losses.values())

    def limit(self) -> None:
        if "imdb" not in self.runs:
            return
        self.measures["limit_share"] = None
        path, texts = classifier_of(self.runs["imdb"]), self.tests["imdb"].test[0]
        share, rows, bare = engine.limit_share(path, texts, self.args.out, self.args.repeats)
        self.measures["limit_share"] = share
        told = (
            f"; over random rows it reads {rows / 1e6:,.0f}M a second, a bare loop {bare / 1e6:,.0f}M" if bare else ""
        )
        self.bench.note(f"A reader that only touches the same memory takes {share:.0%} of the time of predict{told}.")


def embedding_of(run: Path) -> int:
    settings = run / "settings.json"
    return read_json(settings)["distill"]["embedding"] if settings.exists() else 0


# ---- table and picture ------------------------------------------------------------------------------------------


def markdown(rows: list[Row], counts: list[int]) -> str:
    head = ["", "accuracy", *(f"documents/s, {plural(n)}" for n in counts), "ours is faster", "how"]
    total = max(row.scored for row in rows)
    lines = []
    for row in rows:
        accuracy = "-" if row.accuracy is None else f"{row.accuracy:.2f}%"
        if row.accuracy is not None and row.scored < total:
            accuracy = f"({row.accuracy:.1f}%)"
        speed = [f"{row.rates[n]:,.{0 if row.rates[n] >= 100 else 1}f}" if n in row.rates else "-" for n in counts]
        ratio = "" if row.ratio is None else f"{row.ratio:,.{1 if row.ratio < 100 else 0}f}x"
        scored = f"{row.scored:,} texts" if 0 < row.scored < total else ""
        lines.append([row.title, accuracy, *speed, ratio, "; ".join(filter(None, (row.note, scored)))])
    size = [max(len(line[i]) for line in [head, *lines]) for i in range(len(head))]

    def formed(cells: list[str]) -> str:
        padded = [
            c.ljust(w) if i in (0, len(head) - 1) else c.rjust(w)
            for i, (c, w) in enumerate(zip(cells, size, strict=True))
        ]
        return "| " + " | ".join(padded) + " |"

    rule = "|".join("-" * (w + 2) if i in (0, len(head) - 1) else "-" * (w + 1) + ":" for i, w in enumerate(size))
    return "\n".join([formed(head), f"|{rule}|", *map(formed, lines)])


def plot(bench: Bench, path: Path) -> None:
    """Accuracy against documents a second (log axis), a panel a data set; speed alone is a line."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure
    from matplotlib.ticker import FuncFormatter, NullFormatter

    threads = bench.args.threads
    shown = {name: rows for name, rows in bench.tables.items() if any(threads in row.rates for row in rows)}
    if not shown:
        return
    figure = Figure(figsize=(7.6 * len(shown), 6.0), layout="constrained", dpi=150)
    FigureCanvasAgg(figure)
    colours = {"ours": "#c44e00", "other": "#2a6f97", "teacher": "#444444", "baseline": "#777777", "best": "#777777"}
    for axes, (name, rows) in zip(figure.subplots(1, len(shown), squeeze=False)[0], shown.items(), strict=True):
        axes.set_xscale("log")
        rows = [row for row in rows if threads in row.rates]
        total = max(row.scored for row in rows)
        scored = [row for row in rows if row.accuracy is not None]
        # One far below the others would press these into a line: it is named at the bottom.
        floor = max((row.accuracy for row in scored if row.kind == "ours"), default=0) - 10
        points = [row for row in scored if row.accuracy >= floor]
        for row in scored:
            if row.accuracy < floor:
                axes.annotate(
                    f"{row.title}: {row.accuracy:.1f}%", (row.rates[threads], 0), xycoords=("data", "axes fraction"),
                    xytext=(0, 14), textcoords="offset points", ha="center", fontsize=8, color=colours[row.kind],
                    arrowprops={"arrowstyle": "->", "color": "#999999"},
                )  # fmt: skip
        for row in points:
            error = 100 * math.sqrt(row.accuracy / 100 * (1 - row.accuracy / 100) / row.scored)
            axes.errorbar(
                row.rates[threads], row.accuracy, yerr=error if row.scored < total else None, fmt="o",
                ms=9 if row.kind == "ours" else 6, color=colours[row.kind], ecolor="#bbbbbb", zorder=3,
                mfc=colours[row.kind] if row.scored == total else "white",
            )  # fmt: skip
        names = list(spread(points, threads))
        for row, height in names:
            axes.annotate(
                row.title.strip("*"), (row.rates[threads], row.accuracy), xytext=(row.rates[threads] * 1.35, height),
                va="center", fontsize=8, color=colours[row.kind], fontweight="bold" if row.kind == "ours" else "normal",
                arrowprops={"arrowstyle": "-", "color": "#dddddd", "lw": 0.6},
            )  # fmt: skip
        for row in rows:
            if row.accuracy is None:
                axes.axvline(row.rates[threads], color="#aaaaaa", lw=0.8, ls=":", zorder=1)
                axes.annotate(
                    row.title + " (speed only)", (row.rates[threads], 0.02), xycoords=("data", "axes fraction"),
                    rotation=90, ha="right", va="bottom", fontsize=7, color="#777777",
                )  # fmt: skip
        if names:
            low, high = axes.get_ylim()
            low -= 0.1 * (high - low) if len(points) < len(scored) else 0
            axes.set_ylim(low, max(high, max(height for _, height in names) + 0.03 * (high - low)))
        slow, fast = min(row.rates[threads] for row in rows), max(row.rates[threads] for row in rows)
        axes.set_xlim(slow / 2, fast * 40)  # room for the names
        axes.xaxis.set_minor_formatter(NullFormatter())
        axes.xaxis.set_major_formatter(FuncFormatter(lambda x, _: f"{x:,.0f}" if x >= 1 else f"{x:g}"))
        axes.set_xlabel(f"raw documents per second, {plural(threads)} (log scale)")
        axes.set_ylabel("accuracy on test (%)")
        axes.set_title(f"{tasks.NAMES[name]}, {total:,} texts (hollow: a sample)", loc="left")
        axes.grid(True, which="major", color="#e5e5e5", zorder=0)
        axes.spines[["top", "right"]].set_visible(False)
    figure.savefig(path)


def spread(points: list[Row], threads: int) -> Iterator[tuple[Row, float]]:
    """Heights for the names, lowest point first: none closer than a line of text to one that it could run into."""
    heights = [row.accuracy for row in points]
    gap = 0.035 * max(max(heights, default=0) - min(heights, default=0), 2.0)
    placed: list[tuple[float, float]] = []
    for row in sorted(points, key=lambda row: row.accuracy):
        height, decade = row.accuracy, math.log10(row.rates[threads])
        while any(abs(decade - x) < 1.8 and abs(height - y) < gap for x, y in placed):
            height += gap / 10
        placed.append((decade, height))
        yield row, height


def plural(threads: int) -> str:
    return f"{threads} thread{'s' if threads != 1 else ''}"


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name in tasks.NAMES:
        parser.add_argument(f"--{name}", type=Path, metavar="RUN", help=f"run directory of {tasks.NAMES[name]}")
    parser.add_argument("--imdb-others", type=Path, nargs="+", default=[], metavar="RUN",
                        help="students of other widths or n-grams, beside the one that is compared")  # fmt: skip
    parser.add_argument("--fold", type=Path, metavar="RUN", help="run trained with W1 (default: one of the above)")
    options(parser, 7, default_threads())
    parser.add_argument(
        "--only",
        nargs="+",
        metavar="NAME",
        help="contenders (fasttext, minilm-int8, ...), others, " + ", ".join(Engine.PARTS),
    )
    args = parser.parse_args()
    given = [getattr(args, name) for name in tasks.NAMES if getattr(args, name)]
    for path in [*given, *args.imdb_others]:
        if not (classifier_of(path) / "config.json").is_file():
            parser.error(f"{path} holds no finished classifier: sparsedistill evaluate --run {path}")
    return args


def main() -> None:
    args = arguments()
    bench = Bench(args)
    args.out.mkdir(parents=True, exist_ok=True)
    start = load_average()
    for name in ("imdb", "agnews"):
        if getattr(args, name):
            Contest(bench, name, getattr(args, name)).hold()
    Engine(bench).hold()
    counts = sorted({1, args.threads})
    report = []
    for name, rows in bench.tables.items():
        report += [f"## {tasks.NAMES[name]}", "", markdown(rows, counts), ""]
    report += [f"- {line}" for line in bench.lines]
    if bench.disturbed:
        report.append(f"- Others kept processors busy (how many) during: {'; '.join(bench.disturbed)}.")
    report += ["", f"Load average {start} at the start, {load_average()} at the end."]
    text = "\n".join(report) + "\n"
    print(text)
    (args.out / "inference.md").write_text(text)
    plot(bench, args.out / "inference.png")
    if args.json:
        write_json(args.json, {"measures": bench.measures})
    say(f"written: {args.out / 'inference.md'}, {args.out / 'inference.png'}" + (f", {args.json}" if args.json else ""))


if __name__ == "__main__":
    main()
