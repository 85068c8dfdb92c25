"""The served width, from no hidden layer to 1000, against accuracy and speed."""

from __future__ import annotations

import shutil
from functools import partial
from typing import Any

from sparsedistill.evaluate import alternate

from ..study import kept, main, student
from ..task import Task

WIDTHS = (0, 16, 64, 256, 1000)
TEXTS = 5000  # of the timing


def measure(task: Task) -> dict[str, Any]:
    """By width: figures, and texts a second from raw text on one thread, timed in turns."""
    settings: dict[int, dict[str, Any]] = {width: {"distill__hidden": [width]} for width in WIDTHS}
    settings[0] = {"distill__hidden": [], "distill__init": "random"}  # a row is no wider than the logits
    made = {width: student(task, f"width-{width}", keep=True, **changes) for width, changes in settings.items()}
    texts = task.run.asked(task.inputs.part("test").texts[:TEXTS])
    runs = {width: kept(task, f"width-{width}", **changes) for width, changes in settings.items()}
    loaded = [run.classifier("kd") for run in runs.values()]
    rates = alternate([(partial(c.predict, texts, threads=1), len(texts)) for c in loaded], 7)
    for run in runs.values():
        shutil.rmtree(run.directory)
    return {
        str(width): {**figures, "texts_per_second": rate}
        for (width, figures), rate in zip(made.items(), rates, strict=True)
    }


if __name__ == "__main__":
    main(__doc__, ("trec6", "trec50", "sst2", "agnews", "tweets", "imdb"), measure)
