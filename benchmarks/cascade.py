"""Cascades of a student and its teacher, and texts of none of the labels: what a threshold of confidence is worth.

    python benchmarks/cascade.py --runs runs --data ../shared/data --json cascade.json

``--runs`` holds the run directories of ``python -m experiments``, ``--data`` the data sets. Thresholds are chosen on
dev.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import replace
from functools import cached_property
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
from baselines import FastText, TfIdf
from bench import Bench, package
from labelled import Learnt

from sparsedistill import Classifier, SettingsError, distill, selective
from sparsedistill.cascade import run_of
from sparsedistill.coverage import known_shares
from sparsedistill.outcomes import WITHIN, Scored, of_none, of_run
from sparsedistill.selective import Outcomes
from sparsedistill.stages.label import label_part

TASKS = ("trec6", "tweets", "sst2")  # that the measure is of; others are shown where there is a run
OTHERS = ("trec50", "agnews", "imdb")
NONE = "oos"
SHARES = (0.1, 0.2)  # for which the difference to the teacher is shown, too
KEPT = 0.95  # share of the texts in scope that the rule without any others decides
GRID = [
    {"wordNgrams": n, "epoch": epoch, "lr": rate, "dim": 100}
    for n in (1, 2)
    for epoch in (50, 100, 200)
    for rate in (0.5, 1.0)
]


# ---- cascades --------------------------------------------------------------------------------------------------------


def outcomes_of(directory: Path) -> tuple[Outcomes, Outcomes]:
    """Outcomes on dev and on test of the classifier of a run and its teacher."""
    run, classifier = run_of(directory), Classifier.load(directory / "classifier")
    if run is None:
        raise SettingsError(f"{directory} is no run directory: make it with python -m experiments")
    try:
        run.teacher_logits("test")
    except SettingsError:
        label_part(run, "test")
    dev, test = (of_run(run, classifier, classifier.heads[0], part).outcomes for part in ("dev", "test"))
    return dev, test


def cascade(directory: Path, within: float = WITHIN, errors: float = selective.ERRORS) -> dict[str, Any]:
    """What a run's cascade sends on and gives up on test, with the threshold of ``selective.threshold_within`` on dev.

    ``share`` and ``difference`` (in accuracy, with its interval) are those on test. Beside them, the same with the
    smallest share on dev (``flattering``), the difference with a tenth and a fifth sent on (``at``), and ``least``: the
    smallest share that test itself would have allowed.
    """
    dev, test = outcomes_of(directory)
    found = selective.at_threshold(test, selective.threshold_within(dev, within, errors))
    flattering = selective.at_threshold(test, selective.threshold_within(dev, within, 0.0))
    least = selective.threshold_within(test, within, 0.0)
    return {
        **found,
        "holds": found["difference"]["value"] >= -within - 1e-9,
        "classifier": float(test.right.mean()),
        "teacher": float(test.teacher.mean()) if test.teacher is not None else None,
        "dev_texts": len(dev.right),
        "texts": len(test.right),
        "flattering": {name: flattering[name] for name in ("share", "difference")},
        "at": {
            f"{share:g}": selective.at_threshold(test, selective.threshold_at_share(dev, share))["difference"]
            for share in SHARES
        },
        "least": float(test.sent(least).mean()),
    }


def cascades(runs: Path, keys: Sequence[str] = (*TASKS, *OTHERS)) -> dict[str, dict[str, Any]]:
    """:func:`cascade` of those tasks that have a finished run below ``runs``, by their keys."""
    return {key: cascade(runs / key) for key in keys if (runs / key / "metrics.json").is_file()}


def worst_share(found: dict[str, dict[str, Any]], keys: Sequence[str] = TASKS) -> float | None:
    """The largest share that the cascades of ``keys`` send on; None where one is missing."""
    return max(found[key]["share"] for key in keys) if all(key in found for key in keys) else None


# ---- how doubt is ordered, and how far a threshold holds -------------------------------------------------------------


def orders(directory: Path) -> dict[str, dict[str, float]]:
    """Of some measures of confidence, on dev of a run, the areas below the curves of risk against coverage.

    Risk is what is not right (``gold``), or what the teacher decides otherwise (``teacher``).
    """
    run, classifier = run_of(directory), Classifier.load(directory / "classifier")
    assert run is not None
    texts, targets = run.selection_set()
    logits, probabilities = classifier.decision_function(texts), classifier.predict_proba(texts)
    known, (second, first) = known_shares(classifier, texts), np.sort(logits, axis=1).T[-2:]
    close, sure = np.sort(probabilities, axis=1).T[-2:]
    measures = {
        "probability": sure,
        "margin of probabilities": sure - close,
        "margin of logits": first - second,
        "entropy": (probabilities * np.log(np.maximum(probabilities, 1e-300))).sum(axis=1),
        "known n-grams": known,
        "probability x known": sure * known,
    }
    decided = logits.argmax(axis=1)
    events = {"gold": decided == targets, "teacher": decided == run.teacher_logits("dev").argmax(axis=1)}
    ones = np.ones((len(texts), 1))
    return {
        name: {
            event: float(selective.area_below_risk(Outcomes(measure.astype(float), right))(ones)[0])
            for event, right in events.items()
        }
        for name, measure in measures.items()
    }


#: task -> share of train that the lesser student learns; the better one learns all, and stands for a teacher
PAIRS = {
    "banking77": 0.25, "sarcasm_headlines": 0.2, "agnews": 0.05, "clickbait": 0.03, "newsgroups20": 0.25,
    "fdu_mtl_reviews": 0.15,
}  # fmt: skip


def pair(task: str, data: Path, out: Path) -> Outcomes:
    """Outcomes on the test part of a data set of two students of labels, one of little and one of all of train."""
    rng, tables = np.random.default_rng(0), {p: pq.read_table(data / task / f"{p}.parquet") for p in ("train", "test")}
    texts, labels = ({p: t[name].to_pylist() for p, t in tables.items()} for name in ("text", "label_name"))
    order = rng.permutation(len(texts["train"]))
    found = []
    for share in (PAIRS[task], 1.0):
        folder = out / f"{task}-{share}-{package()}"
        if not (folder / "config.json").exists():
            rows = order[: int(share * len(order))]
            train = [texts["train"][i] for i in rows], [labels["train"][i] for i in rows]
            distill(train=train, threads=1).save(folder)
        classifier = Classifier.load(folder)
        right = np.array(classifier.predict(texts["test"])) == np.array(labels["test"])
        found.append((classifier.predict_proba(texts["test"]).max(axis=1), right))
    return Outcomes(*found[0], teacher=found[1][1])


def rule(outcomes: Outcomes, errors: float, texts: int, times: int = 100, within: float = WITHIN) -> dict[str, float]:
    """What becomes of a threshold that is chosen on some ``texts``, on all others: the mean ``share`` sent on, and how
    often the cascade ``holds``, which is within its teacher's accuracy there.
    """
    rng, shares, holds = np.random.default_rng(0), [], []
    assert outcomes.teacher is not None
    for _ in range(times):
        order = rng.permutation(len(outcomes.right))
        parts = [
            Outcomes(outcomes.confidence[rows], outcomes.right[rows], outcomes.teacher[rows])
            for rows in (order[:texts], order[texts:])
        ]
        found = selective.at_threshold(parts[1], selective.threshold_within(parts[0], within, errors), resamples=0)
        shares.append(found["share"])
        holds.append(found["difference"]["value"] >= -within)
    return {"share": float(np.mean(shares)), "holds": float(np.mean(holds))}


# ---- none of the labels ----------------------------------------------------------------------------------------------


class Intents(Learnt):
    """clinc150: 150 intents to learn, and texts of none of them in dev and test."""

    name = "clinc150"

    def __init__(self, data: Path):
        self._data = data

    def rows(self, part: str) -> tuple[list[str], list[str]]:
        """All texts, and names of their labels."""
        table = pq.read_table(self._data / "clinc150" / f"{part}.parquet")
        return table["text"].to_pylist(), table["label_name"].to_pylist()

    @cached_property
    def labels(self) -> tuple[str, ...]:  # type: ignore[override]
        return tuple(sorted({name for name in self.rows("train")[1] if name != NONE}))

    def read(self, part: str) -> tuple[list[str], np.ndarray]:
        """Texts in scope, and their labels."""
        ids = {name: i for i, name in enumerate(self.labels)}
        rows = [(text, ids[name]) for text, name in zip(*self.rows(part), strict=True) if name != NONE]
        return [text for text, _ in rows], np.array([label for _, label in rows])


def scored(task: Intents, part: str, probabilities: np.ndarray, known: np.ndarray | None) -> Scored:
    """Outcomes of probabilities (n, C) of the texts of a part, and of their product with shares of known n-grams."""
    names = np.array(task.rows(part)[1])
    confidence = probabilities.max(axis=1) * (1 if known is None else known)
    right = np.array(task.labels)[probabilities.argmax(axis=1)] == names
    return Scored(Outcomes(confidence, right), names == NONE)


def none_figures(dev: Scored, test: Scored) -> dict[str, Any]:
    """Of test, by thresholds chosen on dev, with its texts of none (``with``) and without any (``without``)."""
    rows = ~dev.none
    inside = replace(dev.outcomes, confidence=dev.outcomes.confidence[rows], right=dev.outcomes.right[rows])
    with_some = selective.threshold_of_none(dev.outcomes, dev.none)
    without = selective.threshold_at_share(inside, 1 - KEPT)
    return {"with": of_none(test, with_some), "without": of_none(test, without)}


class _Bigrams:
    """Words and pairs of words of train, lower-cased: what the baselines know."""

    def __init__(self, texts: Sequence[str]):
        self._known = {ngram for text in texts for ngram in self._of(text)}

    @staticmethod
    def _of(text: str) -> list[str]:
        words = text.lower().split()
        return words + [f"{a} {b}" for a, b in pairwise(words)]

    def shares(self, texts: Sequence[str]) -> np.ndarray:
        found = [self._of(text) for text in texts]
        return np.array([sum(ngram in self._known for ngram in one) / max(len(one), 1) for one in found])


def none_of_these(data: Path, out: Path, baselines: bool = True) -> dict[str, dict[str, Any]]:
    """:func:`none_figures` of each system, of its probability alone and times the share of n-grams that is known."""
    task = Intents(data)
    folder = out / f"clinc150-{package()}"
    if not (folder / "config.json").exists():
        names = np.array(task.labels)
        parts = {part: (texts, names[gold].tolist()) for part in ("train", "dev") for texts, gold in [task.read(part)]}
        distill(**parts, threads=1).save(folder)
    student = Classifier.load(folder)
    order = [student.labels.index(label) for label in task.labels]
    bigrams = _Bigrams(task.train[0])
    systems: dict[str, tuple[Any, Any]] = {
        "student": (lambda texts: student.predict_proba(texts)[:, order], lambda texts: known_shares(student, texts))
    }
    if baselines:
        fasttext, tfidf = FastText(task, out, None, 1, grid=GRID), TfIdf(task, out, "LogisticRegression", 1)
        fasttext.load()
        tfidf.load()
        systems["fastText"] = (lambda texts: fasttext.probabilities(fasttext.prepare(texts)), bigrams.shares)
        systems["TF-IDF"] = (lambda texts: tfidf._model.predict_proba(texts), bigrams.shares)
    result = {}
    for name, (probabilities, shares) in systems.items():
        texts = {part: task.rows(part)[0] for part in ("dev", "test")}
        given = {part: probabilities(some) for part, some in texts.items()}
        known = {part: shares(some) for part, some in texts.items()}
        inside = scored(task, "test", given["test"], None)
        result[name] = {
            "accuracy": float(inside.outcomes.right[~inside.none].mean()),
            "probability": none_figures(*(scored(task, part, given[part], None) for part in texts)),
            "known": none_figures(*(scored(task, part, given[part], known[part]) for part in texts)),
        }
    return result


# ---- the program -----------------------------------------------------------------------------------------------------


class Cascades(Bench):
    """Both parts, for a person and as JSON."""

    PARTS = ("tasks", "order", "none", "rule")

    def tasks(self) -> None:
        """``cascade_share``: the largest share sent on, of :data:`TASKS`."""
        found = cascades(self.args.runs)
        self.figures["cascades"] = found
        self.measures["cascade_share"] = worst_share(found)
        head = ["", "student", "teacher", "sent on", "points", "sent on, no spare", "points"]
        head += [*(f"points at {share:.0%}" for share in SHARES), "least"]
        rows = [
            [
                key, f"{one['classifier']:.2%}", f"{one['teacher']:.2%}", f"{one['share']:.1%}",
                _points(one["difference"]), f"{one['flattering']['share']:.1%}",
                _points(one["flattering"]["difference"]), *map(_points, one["at"].values()), f"{one['least']:.1%}",
            ]
            for key, one in found.items()
        ]  # fmt: skip
        self.tables.append([head, *rows])
        self.note(
            f"sent on: share of test with the threshold that dev needs to be within {100 * WITHIN:g} points of the "
            "teacher, one standard error to spare, and without; points: of accuracy above the teacher's; at: with so "
            "many sent on; least: the smallest share on test itself"
        )

    def order(self) -> None:
        """How measures of confidence order the texts of dev."""
        found = {key: orders(self.args.runs / key) for key in self.figures.get("cascades") or cascades(self.args.runs)}
        self.figures["orders"] = found
        if found:
            names = list(next(iter(found.values())))
            head = ["area below risk: gold / teacher", *found]
            rows = [
                [name, *("{gold:.4f} / {teacher:.4f}".format(**one[name]) for one in found.values())] for name in names
            ]
            self.tables.append([head, *rows])

    def rule(self) -> None:
        """How often a threshold holds on other texts, by the standard errors to spare."""
        pairs = {task: pair(task, self.args.data, self.out) for task in PAIRS}
        found = {
            f"{errors:g}": {texts: [rule(one, errors, texts) for one in pairs.values()] for texts in (500, 1000)}
            for errors in (0.0, 0.5, 1.0, 2.0)
        }
        self.figures["rule"] = {"tasks": list(pairs), "by": found}
        head = [
            "standard errors to spare",
            *(f"{n} texts: {what}" for n in (500, 1000) for what in ("sent on", "holds")),
        ]
        rows = [
            [name, *(f"{np.mean([one[what] for one in by[n]]):.1%}" for n in by for what in ("share", "holds"))]
            for name, by in found.items()
        ]
        self.tables.append([head, *rows])

    def none(self) -> None:
        """``clinc150_auc``, ``clinc150_recall``, ``clinc150_accuracy``: of the student, by the rule of the package."""
        found = none_of_these(self.args.data, self.out, not self.args.no_baselines)
        self.figures["none"] = found
        ours = found["student"]["known"]["with"]
        self.measures |= {f"clinc150_{name}": ours[key] for name, key in _NAMES.items()}
        rows = [
            ["", "accuracy", "by", "AUC", "in scope and right", "rejected", "without oos in dev: right", "rejected"]
        ]
        for name, one in found.items():
            for by, words in (("probability", "probability"), ("known", "probability x known")):
                some, without = one[by]["with"], one[by]["without"]
                shares = [some["right"], some["rejected"], without["right"], without["rejected"]]
                rows.append(
                    [name, f"{one['accuracy']:.2%}", words, f"{some['auc']:.4f}", *(f"{x:.1%}" for x in shares)]
                )
        self.tables.append(rows)


_NAMES = {"auc": "auc", "recall": "rejected", "accuracy": "right"}


def _points(figure: dict[str, Any]) -> str:
    return f"{100 * figure['value']:+.2f} ({100 * figure['low']:+.2f} to {100 * figure['high']:+.2f})"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=Path, default=Path("runs"), help="folder of the run directories")
    parser.add_argument("--data", type=Path, default=Path("../shared/data"), help="folder of the data sets")
    parser.add_argument("--out", type=Path, default=Path.home() / ".cache" / "sparsedistill-cascade")
    parser.add_argument("--only", nargs="+", choices=Cascades.PARTS)
    parser.add_argument("--no-baselines", action="store_true", help="leave fastText and TF-IDF out")
    parser.add_argument("--json", type=Path)
    args = parser.parse_args()
    Cascades(args).run("cascade", "value")


if __name__ == "__main__":
    main()
