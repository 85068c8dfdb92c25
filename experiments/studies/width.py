"""The served width, from no hidden layer to 1000, against accuracy and speed."""

from __future__ import annotations

from functools import partial
from typing import Any

from ..cells import TASKS as TITLES
from ..cells import Table, over_seeds, rate
from ..records import Recorded
from ..study import System, forget, kd_run, student, timed
from ..systems import SEEDS
from ..task import Task

TITLE = "Served width"
NOTE = (
    "The KD student. 0 is no hidden layer: a row is one number a class, is initialised at random and takes the "
    "learning rate of its kind; the others take the task's settings. Of pairs it is the width of the table, in which "
    "they are compared, before a hidden layer of 64. Accuracy, and texts a second on one thread; where the accuracy is "
    "without ±, it is of seed 0, and the rate of the test texts alone, over and over: up to a fifth too high. Wiki "
    "Toxic's and MRPC's were timed in turns, but beside other work: too low."
)
TASKS = ("trec6", "trec50", "sst2", "agnews", "tweets", "imdb", "wikitoxic", "mrpc")
WIDTHS = (0, 16, 64, 256, 1000)


def measure(task: Task) -> dict[str, Any]:
    """By width: figures of the KD student by seed, and what :func:`..study.timed` finds of it, raw text to label."""
    found: dict[str, Any] = {}
    systems: dict[str, System] = {}
    runs = []
    for width, changes in _settings(task).items():
        seeds = {}
        for seed in SEEDS:
            given = {"distill__student_seed": seed, **changes}
            seeds[str(seed)] = student(task, f"width-{width}-{seed}", keep=seed == SEEDS[0], **given)
        found[str(width)] = {"seeds": seeds}
        runs.append(kd_run(task, f"width-{width}-{SEEDS[0]}", **changes, distill__student_seed=SEEDS[0]))
        systems[str(width)] = task.run.for_classifier, partial(runs[-1].classifier("kd").predict, threads=1)
    for name, rates in timed(task, systems).items():
        found[name] |= rates
    for run in runs:
        forget(run)
    return found


def _settings(task: Task) -> dict[int, dict[str, Any]]:
    """What is set by width."""
    if task.run.are_pairs:  # the table serves as it was trained, and W1 has to bring both halves together
        return {width: {"distill__embedding": width} for width in WIDTHS if width}
    settings: dict[int, dict[str, Any]] = {width: {"distill__hidden": [width]} for width in WIDTHS}
    # Rows no wider than the logits cannot be initialised with the teacher's embeddings, and want their own rate.
    settings[0] = {"distill__hidden": [], "distill__init": "random", "distill__learning_rate": 0.0}
    return settings


def tables(study: dict[str, Any], results: dict[str, Recorded]) -> list[Table]:
    """A task a row, a width a column."""
    widths = sorted({width for one in study.values() for width in one}, key=int)

    def cell(figures: dict[str, Any]) -> str:
        return f"{over_seeds(figures)} <small>{rate(figures)}</small>"

    rows = [
        [TITLES[key], *(cell(one[width]) if width in one else "" for width in widths)] for key, one in study.items()
    ]
    return [[["", *widths], *rows]]
