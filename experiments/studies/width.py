"""The served width, from no hidden layer to 1000, against accuracy and speed."""

from __future__ import annotations

import shutil
from functools import partial
from typing import Any

from sparsedistill import Classifier
from sparsedistill.evaluate import alternate

from ..study import main, student
from ..task import Task

WIDTHS = (0, 16, 64, 256, 1000)
TEXTS = 5000  # of the timing


def measure(task: Task) -> dict[str, Any]:
    """By width: figures, and texts a second from raw text on one thread, timed in turns."""
    made = {
        width: student(task, f"width-{width}", keep=True, distill__hidden=[width] if width else []) for width in WIDTHS
    }
    texts = task.run.asked(task.inputs.part("test").texts[:TEXTS])
    folders = {width: task.directory / "variants" / f"width-{width}" for width in WIDTHS}
    loaded = {width: Classifier.load(folder / "classifiers" / "kd") for width, folder in folders.items()}
    rates = alternate([(partial(c.predict, texts, threads=1), len(texts)) for c in loaded.values()], 7)
    for folder in folders.values():
        shutil.rmtree(folder)
    return {
        str(width): {**figures, "texts_per_second": rate}
        for (width, figures), rate in zip(made.items(), rates, strict=True)
    }


if __name__ == "__main__":
    main(__doc__, ("trec6", "trec50", "sst2", "agnews", "tweets", "imdb"), measure)
