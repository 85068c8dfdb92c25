"""The teacher fine-tuned for an epoch more, its learning rate falling as much later: whether dev would gain.

It stands beside the teacher that is written down, so that this one need not be here.
"""

from __future__ import annotations

import shutil
from typing import Any

from sparsedistill.format import read_json

from .. import records
from ..study import main
from ..task import Task


def measure(task: Task) -> dict[str, Any]:
    """Accuracy on dev after each epoch of a teacher with an epoch more than the task's."""
    run = task.variant("longer", teach__epochs=task.run.settings.teach.epochs + 1)
    run.execute(("teach",))
    longer = read_json(run.directory / "teacher" / "training.json")
    shutil.rmtree(run.directory)
    return {"longer": longer["dev"], "seconds": longer["seconds"]}


if __name__ == "__main__":
    main(__doc__, ("tweets", "sst2", "agnews", "imdb"), measure, records.known_teacher)
