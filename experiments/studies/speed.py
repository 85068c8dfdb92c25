"""Accuracy against speed, the paper's first figure: all systems of a task from raw text to label, one CPU thread."""

from __future__ import annotations

import os
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from sparsedistill.teacher.transformer import TransformerTeacher

from ..study import System, first, main, selected, timed
from ..systems import NETWORKS, RIVALS, rival_of
from ..task import Task


def measure(task: Task) -> dict[str, Any]:
    """What :func:`..study.timed` finds of the task's systems, tokenisation and all."""
    import torch

    os.environ["TOKENIZERS_PARALLELISM"] = "false"  # no threads of theirs
    systems = _systems(task)
    torch.set_num_threads(1)  # last: loading the others sets it too
    return timed(task, systems)


def _systems(task: Task) -> dict[str, System]:
    """Every system that is trained.

    fastText's texts are lower-cased and their line breaks removed beforehand, in its favour; the others take them raw.
    """
    run, settings = first(task), task.run.settings.teach
    found: dict[str, System] = {}

    def transformer(path: Path) -> System:
        return list, TransformerTeacher(
            path, settings=settings, labels=task.inputs.labels, are_pairs=task.run.are_pairs
        ).logits

    found["teacher"] = transformer(task.directory / "teacher")
    for name in dict.fromkeys(("scratch", selected(task, run))):
        found[name] = run.for_classifier, partial(run.classifier(name).predict, threads=1)
    from .. import neural  # noqa: F401 (makes its networks known)

    for name in NETWORKS:
        trained = task.directory / "networks" / f"{name}-0" / "trained"
        if (trained / "training.json").exists():
            found[name] = transformer(trained)
    test = task.inputs.part("test")
    truth = dict(zip(test.texts, test.targets, strict=True))
    for name in RIVALS:
        rival = rival_of(task, name, 0)
        rival.load()

        def prepare(texts: list[str], rival: Any = rival) -> list[str]:
            gold = np.array([truth.get(text, 0) for text in texts])
            rival.warm(texts, gold)  # fastText looks for its fastest way
            return rival.prepare(texts)

        found[name] = prepare, rival.label
    return found


if __name__ == "__main__":
    main(__doc__, ("imdb", "sst2", "trec6", "trec50", "agnews", "tweets", "mrpc"), measure)
