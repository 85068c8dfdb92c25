"""Texts with the teacher's soft labels, in a file that can be read from anywhere."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ..progress import Progress
from ..student import dataset
from ..teacher.logits import Logits
from .label import score_type

if TYPE_CHECKING:
    from ..run import Run


def inputs(run: Run, name: str) -> dict[str, Any]:
    """What a part with its soft labels depends on."""
    weighted = run.weighted(gold=False) if name != "corpus" else {}
    return {"logits": run.key(f"label.{name}"), "task": run.settings.data.task, **weighted}


def joined(run: Run, part: str) -> Path:
    """The file of a part, written once."""
    path = run.directory / "examples" / f"{part}.parquet"

    def work() -> dict[str, Any]:
        run.result_of(f"label.{part}")
        logits = Logits.load(run.directory / "logits" / part)
        with Progress(f"join {part}", len(logits)) as bar:

            def batches() -> Iterator[tuple[list[str], np.ndarray]]:
                for texts, found in logits.joined(texts for texts, _ in run.inputs.batches(part)):
                    yield texts, run.task.soft_targets(found)
                    bar.add(len(texts))

            weights, kind = _weights_of(run, part), score_type(run)
            return {"texts": dataset.write(path, batches(), len(run.inputs.labels), weights, kind)}

    run.once(f"examples.{part}", [path], work)
    return path


def _weights_of(run: Run, part: str) -> np.ndarray | None:
    """Weights of the texts of a part in distillation, float32 (n, 1): those of train's, and of its random crops.

    Class weights are not among them: what is learnt there is the teacher's distribution, on which they have had their
    effect where it was fine-tuned.
    """
    found = run.inputs.sample_weights if part != "corpus" else None
    return np.tile(found, (run.settings.label.random_crops, 1)) if found is not None and part == "crops" else found
