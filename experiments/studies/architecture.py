"""Pooling, depth, W1, the table's first numbers, their type and optimiser: what the paper tried on IMDB, and more."""

from __future__ import annotations

import statistics
from typing import Any

from ..cells import TASKS as TITLES
from ..cells import Table, percent, small
from ..cells import tuned as tuned_cells
from ..claims import Claim, difference
from ..records import Recorded
from ..study import tuned
from ..task import Task

TITLE = "Pooling, depth, factorisation, initialisation"
NOTE = (
    "The KD student at the width of 64, its table random at first, unless stated otherwise; learning rates chosen on "
    "dev with seed 0; three seeds."
)
TASKS = ("tweets", "trec6")
VARIANTS: dict[str, dict[str, Any]] = {
    "mean": {},
    "sum": {"distill__pooling": "sum"},
    "max": {"distill__pooling": "max"},
    "mean+max": {"distill__pooling": "mean+max", "distill__embedding": 64},
    "attentive": {"distill__pooling": "attentive"},
    "factored": {"distill__embedding": 128},
    "no hidden layer": {"distill__hidden": []},
    "hidden 64, 64": {"distill__hidden": [64, 64]},
    "hidden 256": {"distill__hidden": [256]},
    "hidden 256, 64": {"distill__hidden": [256, 64]},
    "teacher embeddings": {"distill__init": "teacher"},
    "bfloat16": {"distill__table": "bfloat16"},
    "row-wise Adagrad": {"distill__optimizer": "adagrad"},
}
RATES = (1e-3, 3e-3, 1e-2, 3e-2)  # peak learning rates; one suits not all
SEEDS = 3
THEIRS = {"mean": 93.2, "sum": 92.9, "max": 91.8, "attentive": 93.0, "hidden 256": 93.1, "hidden 256, 64": 93.0,
          "teacher embeddings": 93.2}  # fmt: skip


def measure(task: Task) -> dict[str, Any]:
    """By variant: the learning rate that dev chooses, and figures by seed."""
    found, plain = {}, {"distill__hidden": [64], "distill__init": "random"}
    for number, (name, changes) in enumerate(VARIANTS.items()):
        rates = [10 * rate for rate in RATES] if changes.get("distill__hidden") == [] else RATES
        found[name] = tuned(task, f"architecture-{number}", rates, SEEDS, {**plain, **changes})
    return found


def tables(study: dict[str, Any], results: dict[str, Recorded]) -> list[Table]:
    """A variant a row."""
    rows = [
        [f"{TITLES[key]}: {name}", *tuned_cells(made), *small(THEIRS.get(name, ""))]
        for key, one in study.items() for name, made in one.items()
    ]  # fmt: skip
    return [[["", "accuracy", "dev", "learning rate", "<small>the paper, IMDB</small>"], *rows]]


def claims(study: dict[str, Any]) -> list[Claim]:
    """Of mean pooling and of a table that is initialised with the teacher's embeddings."""
    found = []
    for key, one in study.items():
        poolings = {name: one[name] for name in ("mean", "sum", "max", "attentive") if name in one}
        means = {
            name: statistics.fmean(percent(seed["accuracy"]) for seed in made["seeds"].values())
            for name, made in poolings.items()
        }
        other = max((name for name in means if name != "mean"), key=lambda name: means[name])
        better, half = difference(one["mean"], one[other])
        shown = ", ".join(f"{name} {figure:.2f}" for name, figure in means.items())
        what = f"{TITLES[key]}: mean pooling is best"
        found.append(Claim(what, f"{shown} (±{100 * half:.2f} apart)", better >= 0, abs(better) < half))
    for key, one in study.items():
        if "teacher embeddings" in one:
            better, half = difference(one["teacher embeddings"], one["mean"])
            what = f"{TITLES[key]}: a table initialised with the teacher's embeddings is no better"
            figure = f"{100 * better:+.2f} ±{100 * half:.2f} points"
            found.append(Claim(what, figure, better <= 0, abs(better) < half))
    return found
