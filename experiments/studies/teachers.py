"""The teacher fine-tuned for an epoch more, its learning rate falling as much later: whether dev would gain."""

from __future__ import annotations

import shutil
from typing import Any

from sparsedistill.format import read_json

from ..study import main
from ..task import Task


def measure(task: Task) -> dict[str, Any]:
    """Accuracy on dev after each epoch of the task's teacher, and of one with an epoch more."""
    run = task.variant("longer", teach__epochs=task.run.settings.teach.epochs + 1)
    run.execute(("teach",))
    usual, longer = (read_json(one / "teacher" / "training.json") for one in (task.directory, run.directory))
    shutil.rmtree(run.directory)
    return {"usual": usual["dev"], "longer": longer["dev"], "seconds": longer["seconds"]}


if __name__ == "__main__":
    main(__doc__, ("tweets", "sst2", "agnews", "imdb"), measure)
