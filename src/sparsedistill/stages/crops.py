"""Random crops of train: more texts of the same kind, as a part of their own."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ..data.crops import crop
from ..data.texts import BATCH, Writer

if TYPE_CHECKING:
    from ..run import Run


def inputs(run: Run, name: str) -> dict[str, Any]:
    """What the crops depend on."""
    settings = run.settings
    return {"train": run.texts_of("train"), "crops": settings.label.random_crops, "seed": settings.data.seed}


def write(run: Run) -> Path:
    """Cut ``label.random_crops`` runs of words from each text of train: all texts once, then all of them again."""
    path = run.inputs.path("crops")

    def work() -> dict[str, Any]:
        train = run.inputs.part("train")
        with Writer(path, {}) as writer:
            for turn in range(run.settings.label.random_crops):
                random = np.random.default_rng([run.settings.data.seed, turn])
                for begin in range(0, len(train.texts), BATCH):
                    some = slice(begin, begin + BATCH)
                    writer.add([crop(text, random) for text in train.texts[some]], train.places.take(some))
        return {"texts": writer.texts}

    run.once("crops", [path], work)
    return path
