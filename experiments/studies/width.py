"""The served width, from no hidden layer to 1000, against accuracy and speed."""

from __future__ import annotations

import shutil
from functools import partial
from typing import Any

from ..study import System, kept, main, student, timed
from ..task import Task

WIDTHS = (0, 16, 64, 256, 1000)


def measure(task: Task) -> dict[str, Any]:
    """By width: figures of the KD student, and what :func:`..study.timed` finds of it, raw text to label."""
    settings: dict[int, dict[str, Any]] = {width: {"distill__hidden": [width]} for width in WIDTHS}
    # A row is no wider than the logits, so the teacher's vectors cannot begin it, and wants the rate of its own kind.
    settings[0] = {"distill__hidden": [], "distill__init": "random", "distill__learning_rate": 0.0}
    made = {width: student(task, f"width-{width}", keep=True, **changes) for width, changes in settings.items()}
    runs = {width: kept(task, f"width-{width}", **changes) for width, changes in settings.items()}
    systems: dict[str, System] = {
        str(width): (task.run.asked, partial(run.classifier("kd").predict, threads=1)) for width, run in runs.items()
    }
    rates = timed(systems, task.inputs.part("test").texts)
    for run in runs.values():
        shutil.rmtree(run.directory)
    return {str(width): {**figures, **rates[str(width)]} for width, figures in made.items()}


if __name__ == "__main__":
    main(__doc__, ("trec6", "trec50", "sst2", "agnews", "tweets", "imdb"), measure)
