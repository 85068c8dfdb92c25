"""One read, many answers: scores of pages, calibration, parts of documents, beside baselines; see README.md.

    python benchmarks/answers.py --data ../shared/data --json answers.json

What is made is kept in --out, so that an interrupted call goes on.
"""

from __future__ import annotations

import argparse
import statistics
from collections.abc import Callable
from functools import cache, partial
from itertools import product
from pathlib import Path
from typing import Any

import attributes
import bench
import documents
import legal
import numpy as np
from baselines import FastText
from bench import spread
from labelled import SOURCES, Task
from timing import Others, alternate, load_average, options, paired, seconds
from words import DEFAULTS, Settings, Students

from sparsedistill import Classifier
from sparsedistill.calibrate import expected_calibration_error
from sparsedistill.classifier import probabilities
from sparsedistill.format import read_json, write_json
from sparsedistill.machine import default_threads
from sparsedistill.parts import parts_of
from sparsedistill.results import parts_array

SEEDS = (0, 1, 2)
CALIBRATED: Settings = {"calibrate": True}
# The four largest test sets: on fewer texts the error is above 0.02 by chance alone.
CALIBRATION = ("imdb", "nsmc", "agnews", "fdu")
FASTTEXT = [
    {"wordNgrams": 2, "epoch": epochs, "lr": rate, "dim": 16, "spaced": True}
    for epochs, rate in product((5, 15), (0.5, 1.0, 2.0))
]
PAGE = 3600  # bytes, of an average web page


class Bench(bench.Bench):
    PARTS = ("legal", "ece", "sentences", "documents", "heads", "heads_speed")

    def __init__(self, args: argparse.Namespace):
        super().__init__(args)
        self.students = Students(args.out / "students", args.threads)
        self.task = cache(lambda name: Task(name, args.data, args.out / "tasks"))
        self.corpus = attributes.Corpus(args.data, args.out / "attributes")
        self.several = attributes.Students(self.corpus, args.out / "heads", args.threads)
        self.fasttext = cache(self._fasttext)

    # ---- scores ------------------------------------------------------------------------------------------------------

    def legal(self) -> None:
        """Pages with scores: settings, and the cut from which on a page is kept, are chosen by folds."""
        keys = ("legal_rho", "legal_f1", "legal_auc")
        self.measures |= dict.fromkeys((*keys, "legal_best_rival_rho"))
        pages = legal.Pages(self.args.data)
        known = self.figures["legal"] = {
            name: legal.best_on_test(pages, name, SEEDS, self.out / "legal") for name in legal.SYSTEMS
        }
        table = [["pages on law", "rho", "F1 at 3", "AUC at 3", "rho in folds", "settings"]]
        for name, found in known.items():
            on_test = [f"{spread([one[key] for one in found['test']])}" for key in legal.FIGURES]
            table.append([name, *on_test, f"{found['folds']['rho']:.4f}", legal.shown(found["settings"])])
        self.tables.append(table)
        mean = {
            name: {key: statistics.fmean(one[key] for one in found["test"]) for key in legal.FIGURES}
            for name, found in known.items()
        }
        self.measures |= {key: mean["ours"][key.removeprefix("legal_")] for key in keys}
        best = max((name for name in mean if name != "ours"), key=lambda name: mean[name]["rho"])
        self.measures["legal_best_rival_rho"] = mean[best]["rho"]
        self.note(f"pages on law: the best baseline is {best}, of {len(pages.test[0])} test pages")

    # ---- calibration -------------------------------------------------------------------------------------------------

    def ece(self) -> None:
        """Classifiers of labels alone, by default but for their calibration, on test texts."""
        self.measures["ece_worst"] = None
        table = [["calibration error", "texts", "accuracy", "before", "after", "by chance"]]
        known = self.figures["ece"] = {}
        for name in CALIBRATION:
            known[name] = [self._errors(name, seed) for seed in SEEDS]
            before, after, chance, accuracy = (
                [one[key] for one in known[name]] for key in ("before", "after", "chance", "accuracy")
            )
            table.append([
                SOURCES[name].title, f"{len(self.task(name).read('test')[0]):,}", f"{statistics.fmean(accuracy):.4f}",
                spread(before), spread(after), f"{statistics.fmean(chance):.4f}",
            ])  # fmt: skip
        self.tables.append(table)
        self.measures["ece_worst"] = max(statistics.fmean(one["after"] for one in found) for found in known.values())

    def _errors(self, name: str, seed: int) -> dict[str, float]:
        """Calibration errors on test before and after, and the one a perfect calibration would show by chance."""
        task = self.task(name)
        classifier = Classifier.load(self.students.path(task, CALIBRATED, seed))
        texts, gold = task.read("test")
        targets = np.array([classifier.labels.index(task.labels[i]) for i in gold])
        raw = probabilities(classifier.decision_function(texts, threads=self.args.threads), "single")
        after = classifier.heads[0].probabilities(classifier.decision_function(texts, threads=self.args.threads))
        return {
            "before": expected_calibration_error(raw, targets),
            "after": expected_calibration_error(after, targets),
            "chance": by_chance(after),
            "accuracy": float((raw.argmax(axis=1) == targets).mean()),
        }

    # ---- parts -------------------------------------------------------------------------------------------------------

    def sentences(self) -> None:
        """Sentences of web pages with offsets over whole pages, MB/s: logits, the worst of two students and of threads.

        The students: a linear one of labels, by default on IMDB, and a network of scores, by default on these pages.
        Beside it Arrow arrays of predictions and Python objects, which take their time for each sentence.
        """
        self.measures["sentences_vs_document"] = None
        pages = legal.Pages(self.args.data)
        raw = [text.encode() for part in (pages.test, pages.learnt) for text in part[0]]
        raw = [page for page in raw if len(page) >= PAGE]
        paths = [self.students.path(self.task("imdb"), DEFAULTS, 0), legal.student(pages, self.out / "legal")]
        table = [["sentences of pages", "threads", "MB/s whole", "MB/s by sentence", "logits", "Arrow", "Python"]]
        found = []
        for name, path in zip(("linear", "network"), paths, strict=True):
            classifier = Classifier.load(path)
            for threads in sorted({1, self.args.threads}):
                rates, ratios = self._sentences(f"{name} {threads}", classifier, raw, threads)
                speeds = [f"{statistics.median(some):.0f}" for some in rates[1::-1]]
                table.append([name, str(threads), *speeds, *(f"{ratio:.3f}" for ratio in ratios)])
                found.append(ratios[0])
        self.tables.append(table)
        self.measures["sentences_vs_document"] = min(found)

    def _sentences(
        self, title: str, classifier: Classifier, raw: list[bytes], threads: int
    ) -> tuple[list[list[float]], list[float]]:
        """MB/s of parts and whole pages as logits, as Arrow, as Python; and the three ratios."""
        how: dict[str, Any] = {"parts": "sentence", "offsets": "bytes", "threads": threads}
        ways: list[Callable[[list[str]], Any]] = [
            lambda texts: parts_of(classifier, texts, **how),
            lambda texts: classifier.decision_function(texts, threads=threads),
            lambda texts: parts_array(classifier, texts, **how),
            lambda texts: classifier.predict(texts, threads=threads),
            lambda texts: classifier.predict(texts, **how),
            lambda texts: classifier.predict(texts, threads=threads),
        ]

        def timed(way: Callable[[list[str]], Any]) -> float:
            texts = [page.decode() for page in raw]  # new each time: nothing an earlier run cached on them counts
            return seconds(lambda: way(texts))

        with Others() as others:
            taken = alternate([partial(timed, way) for way in ways], self.args.repeats + 1)
        megabytes = sum(map(len, raw)) / 1e6
        rates = [[megabytes / one for one in some[1:]] for some in taken]
        self.figures.setdefault("sentences", {})[title] = {"mb_per_second": rates, "others": others.cores}
        self.note(
            f"sentences, {title}: {len(raw):,} pages of {megabytes:.1f} MB; load {load_average()}, others keep "
            f"{others.cores:.1f} cores busy; {classifier!r}"
        )
        return rates, [paired(*rates[i : i + 2]) for i in (0, 2, 4)]

    def documents(self) -> None:
        """Long documents of parts with known labels: by parts against the first 4 KB, the least margin."""
        self.measures["parts_vs_head4k"] = None
        table = [["long documents", *documents.RULES, "by parts", "points above the head"]]
        margins = []
        known = self.figures["documents"] = {}
        for kind in documents.KINDS:
            path = self.out / "documents" / f"{kind}-{self.figures['package']}.json"
            if not path.exists():
                path.parent.mkdir(parents=True, exist_ok=True)
                task = self.task(documents.KINDS[kind].task)
                student = Classifier.load(self.students.path(task, DEFAULTS, 0))
                write_json(path, documents.measured(documents.KINDS[kind], task, student, self.args.threads))
            known[kind] = found = read_json(path)
            margins.append(100 * (found["parts"]["test"] - found["head"]["test"]))
            accuracies = [f"{100 * found[rule]['test']:.2f}" for rule in (*documents.RULES, "parts")]
            table.append([documents.KINDS[kind].title, *accuracies, f"{margins[-1]:+.2f}"])
            self.note(
                f"{kind}: parts are {found['parts']['how']}, chosen on {found['documents']['dev']} documents of dev"
            )
        self.tables.append(table)
        self.measures["parts_vs_head4k"] = min(margins)

    # ---- several heads -----------------------------------------------------------------------------------------------

    def heads(self) -> None:
        """What each of five heads loses against a classifier of its own, in points, the worst; fastText beside."""
        self.measures["head_loss"] = None
        table = [["attributes", "one of five heads", "alone", "lost", "fastText"]]
        known = self.figures["heads"] = {}
        for name in attributes.ATTRIBUTES:
            five, alone = ([self.several.points(of, name, seed) for seed in SEEDS] for of in ("all", name))
            baseline = self.fasttext(name)
            attribute = attributes.Attribute(self.corpus, name)
            texts, gold = attribute.read("test")
            theirs = attributes.points_of(attribute, baseline.probabilities(baseline.prepare(texts)), gold)
            lost = statistics.fmean(alone) - statistics.fmean(five)
            known[name] = {"five": five, "alone": alone, "lost": lost, "fasttext": theirs}
            table.append([name, spread(five, 2), spread(alone, 2), f"{lost:+.2f}", f"{theirs:.2f}"])
        self.tables.append(table)
        self.measures["head_loss"] = max(found["lost"] for found in known.values())

    def heads_speed(self) -> None:
        """Documents a second on IMDB's test texts, one thread: five heads, one of them alone, five fastText models."""
        self.measures |= {"heads5_vs_1": None, "heads5_vs_fasttext5": None}
        five = Classifier.load(self.several.path("all", 0))
        one = attributes.alone(five, "sentiment")
        models = [self.fasttext(name) for name in attributes.ATTRIBUTES]
        texts, gold = self.task("imdb").read("test")
        raw, cleaned = [text.encode() for text in texts], []
        for model in models:
            model.warm(texts, np.zeros_like(gold))  # which of its calls is the faster
            cleaned.append(model.prepare(texts))

        def ours(classifier: Classifier) -> float:
            texts = [text.decode() for text in raw]  # new each time: nothing an earlier run cached on them counts
            return seconds(lambda: classifier.predict(texts, threads=1))

        def theirs() -> float:
            return seconds(lambda: [model.label(some) for model, some in zip(models, cleaned, strict=True)])

        ours(five), ours(one)
        with Others() as others:
            taken = alternate([lambda: ours(five), lambda: ours(one)], self.args.repeats)
            beside = alternate([lambda: ours(five), theirs], 3)
        found = {
            name: [len(raw) / s for s in some]
            for name, some in zip(("five", "one", "again", "fasttext"), [*taken, *beside], strict=True)
        }
        self.measures["heads5_vs_1"] = paired(found["five"], found["one"])
        self.measures["heads5_vs_fasttext5"] = paired(found["again"], found["fasttext"])
        sizes = {"five": five.nbytes, "fasttext": sum(model.size for model in models)}
        self.figures["heads_speed"] = {"documents_per_second": found, "bytes": sizes, "others": others.cores}
        speeds = {name: f"{statistics.median(some):,.0f}" for name, some in found.items()}
        self.note(
            f"heads: five {speeds['five']}, one {speeds['one']}, five fastText models {speeds['fasttext']} "
            f"documents/s, {sizes['five'] / 1e6:,.0f} against {sizes['fasttext'] / 1e6:,.0f} MB; load "
            f"{load_average()}, others keep {others.cores:.1f} cores busy; {five!r}"
        )

    def _fasttext(self, name: str) -> FastText:
        """The best on dev of a grid of dimension 16, loaded."""
        model = FastText(attributes.Attribute(self.corpus, name), self.out, None, 1, seed=1, grid=FASTTEXT)
        model.load()
        return model


def by_chance(predicted: np.ndarray, times: int = 200) -> float:
    """Mean calibration error, over ``times`` draws, where labels are drawn from the very probabilities (n, C)."""
    random, confidence = np.random.default_rng(0), predicted.max(axis=1)
    drawn = (random.random(len(confidence)) < confidence for _ in range(times))
    return statistics.fmean(expected_calibration_error(confidence, right.astype(float)) for right in drawn)


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options(parser, 9, default_threads())
    parser.set_defaults(out=Path.home() / ".cache" / "sparsedistill-answers")
    parser.add_argument("--only", nargs="+", choices=Bench.PARTS, help="parts to run")
    return parser.parse_args()


if __name__ == "__main__":
    Bench(arguments()).run("answers", "on test")
