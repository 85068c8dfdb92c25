"""The most frequent n-grams alone, by their counts on corpus and train together or on train: from 100 to 1 percent."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..cells import COLOURS, SYSTEMS, Table, percent, small
from ..cells import TASKS as TITLES
from ..claims import Claim, points, share
from ..records import Recorded
from ..study import first_seed, without
from ..task import Task

TITLE = "Pruning"
NOTE = (
    "The most frequent n-grams alone, by their counts on corpus and train or on train alone; seed 0 of the student "
    "that dev chose; in small print the share of the whole's accuracy."
)
TASKS = ("imdb", "sst2", "trec6", "trec50", "agnews", "tweets")
AXES = "% of the n-grams kept", "accuracy, %"
SHARES = (1.0, 0.5, 0.3, 0.2, 0.1, 0.05, 0.03, 0.02, 0.01)
COUNTED = ("corpus and train", "train")
KEPT = 0.03  # the paper's share that keeps most of the accuracy
KEEPS = 0.963  # of it: the paper's student of IMDB, above 90 of 93.5


def measure(task: Task) -> dict[str, Any]:
    """By what was counted, [share kept, accuracy by test set] of the selected student, float32 as trained.

    And on the first test set: by how many ``points`` counts of train are ``better``, on average over the shares, and
    which share of the accuracy is ``kept`` by 3 percent of the n-grams, with their standard errors over the texts.
    """
    run, name = first_seed(task)
    vocabulary, student = run.trained(name)
    ids, offsets = run.bags(vocabulary, task.inputs.part("test").texts, 0)
    orders = {
        "corpus and train": np.arange(len(vocabulary)),  # what they stand in
        "train": np.argsort(-vocabulary.train_counts.astype(np.int64), kind="stable"),
    }
    found: dict[str, Any] = {"student": name, "ngrams": len(vocabulary)}
    gold = task.first_test()[1]
    right: dict[tuple[str, float], np.ndarray] = {}
    for counted, order in orders.items():
        found[counted] = []
        for kept in SHARES:
            keep = np.zeros(len(vocabulary), bool)
            keep[order[: max(1, round(kept * len(order)))]] = True
            decisions = student.logits(*without(keep, ids, offsets), 2).argmax(axis=1)
            right[counted, kept] = (decisions[: len(gold)] == gold).astype(float)
            found[counted].append([kept, task.accuracies(decisions)])
    better = np.mean([right["train", kept] - right["corpus and train", kept] for kept in SHARES[1:]], axis=0)
    found["better"] = {"points": float(better.mean()), "error": _error(better)}
    some, whole = right["train", KEPT], right["train", 1.0]
    ratio = some.mean() / whole.mean()
    found["kept"] = {"share": float(ratio), "error": _error(some - ratio * whole) / float(whole.mean())}
    return found


def _error(values: np.ndarray) -> float:
    """Standard error of the mean of ``values``, one a text."""
    return float(values.std() / np.sqrt(len(values)))


def tables(study: dict[str, Any], results: dict[str, Recorded]) -> list[Table]:
    """A task and what was counted a row, a share a column."""
    head = ["", *(f"{100 * kept:g} %" for kept, _ in next(iter(study.values()))["train"])]
    rows = [head]
    for key, one in study.items():
        for counted in COUNTED:
            figures = [percent(accuracy) for _, accuracy in one[counted]]
            cells = [f"{figure:.1f} <small>{figure / figures[0]:.1%}</small>" for figure in figures]
            rows.append([f"{TITLES[key]}, {SYSTEMS[one['student']]}, counts of {counted}", *cells])
    theirs = small("the paper, IMDB", *("above 90, 96.3%" if kept == "3 %" else "" for kept in head[1:]))
    return [[*rows, theirs]]


def claims(study: dict[str, Any]) -> list[Claim]:
    """Of counts of train, and of 3 percent of the n-grams."""
    found = []
    for key, one in study.items():
        what = f"{TITLES[key]}: pruning by counts of train is better, on average over the shares"
        found.append(points(what, one["better"]["points"], 1.96 * one["better"]["error"]))
        what = f"{TITLES[key]}: 3 % of the n-grams keep {KEEPS:.1%} of the accuracy"
        found.append(share(what, one["kept"]["share"], 1.96 * one["kept"]["error"], KEEPS))
    return found


def draw(axes: Any, figures: dict[str, Any], record: Recorded) -> None:
    """Both ways to count."""
    axes.set_xscale("log")
    for colour, counted in zip(COLOURS, COUNTED, strict=False):
        shares = [100 * kept for kept, _ in figures[counted]]
        accuracies = [percent(accuracy) for _, accuracy in figures[counted]]
        axes.plot(shares, accuracies, "o-", ms=3, color=colour, label=f"counts of {counted}")
