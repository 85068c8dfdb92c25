"""The served width, from no hidden layer to 1000, against accuracy and speed."""

from __future__ import annotations

import shutil
from functools import partial
from typing import Any

from ..study import System, kept, main, student, timed
from ..systems import SEEDS
from ..task import Task

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
        runs.append(kept(task, f"width-{width}-{SEEDS[0]}", **changes, distill__student_seed=SEEDS[0]))
        systems[str(width)] = task.run.for_classifier, partial(runs[-1].classifier("kd").predict, threads=1)
    for name, rates in timed(task, systems).items():
        found[name] |= rates
    for run in runs:
        shutil.rmtree(run.directory)
    return found


def _settings(task: Task) -> dict[int, dict[str, Any]]:
    """What is set by width."""
    if task.run.are_pairs:  # the table serves as it was trained, and W1 has to bring both halves together
        return {width: {"distill__embedding": width} for width in WIDTHS if width}
    settings: dict[int, dict[str, Any]] = {width: {"distill__hidden": [width]} for width in WIDTHS}
    # A row is no wider than the logits, so the teacher's vectors cannot begin it, and wants the rate of its own kind.
    settings[0] = {"distill__hidden": [], "distill__init": "random", "distill__learning_rate": 0.0}
    return settings


if __name__ == "__main__":
    main(__doc__, ("trec6", "trec50", "sst2", "agnews", "tweets", "imdb", "wikitoxic", "mrpc"), measure)
