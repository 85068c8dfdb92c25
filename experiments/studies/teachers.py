"""The teacher fine-tuned for an epoch more, its learning rate falling as much later: whether dev would gain.

It stands beside the teacher that is recorded, so that this one need not be here.
"""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from typing import Any

from .. import records
from ..cells import TASKS as TITLES
from ..cells import Table
from ..package import read_json
from ..task import Task

TITLE = "Teachers"
NOTE = (
    "Accuracy on dev after each epoch, the best kept; the learning rate falls to nothing at the end of the last. "
    "Beside it a teacher that was given an epoch more, where the last was the best and there was time. SST-2's is "
    "right on 3 more of 689 texts; it was not put in the place of the one that was used."
)
TASKS = ("tweets", "sst2", "agnews", "imdb")
teacher = records.recorded_teacher


def measure(task: Task) -> dict[str, Any]:
    """Accuracy on dev after each epoch of a teacher with an epoch more than the task's."""
    run = task.variant("longer", teach__epochs=task.run.settings.teach.epochs + 1)
    run.execute(("teach",))
    longer = read_json(run.directory / "teacher" / "training.json")
    shutil.rmtree(run.directory)
    return {"longer": longer["dev"], "seconds": longer["seconds"]}


def tables(study: dict[str, Any], results: dict[str, records.Recorded]) -> list[Table]:
    """A task a row, also of those that were given no epoch more."""

    def shown(dev: Sequence[float]) -> str:
        return ", ".join(f"<b>{100 * one:.1f}</b>" if one == max(dev) else f"{100 * one:.1f}" for one in dev)

    rows = [["accuracy on dev", "after each epoch", "of one more"]]
    for key, task in results.items():
        if usual := task.systems.get("teacher", {}).get("0", {}).get("dev_by_epoch"):
            rows.append([TITLES[key], shown(usual), shown(study[key]["longer"]) if key in study else ""])
    return [rows]
