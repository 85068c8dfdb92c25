"""Teachers: the slow, accurate classifiers that a student learns from.

What a setting names is of one :class:`Kind`; opened, it is a :class:`Teacher`. :mod:`sparsedistill.teacher.kinds` lists
the kinds.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from ..options import Label, Teach
from ..several import Several
from ..tasks import TASKS


class Teacher(Protocol):
    """What the stages need of a teacher; ``precision``: what it computes in, or "given"."""

    name: str
    precision: str

    def logits(self, texts: Sequence[str]) -> np.ndarray:
        """float32 ``(len(texts), classes)``, in the order of the texts; scores of regression may be float64."""
        ...


@dataclass(frozen=True)
class Job:
    """What a teacher is opened for: classes ``labels`` of a ``task``, by the settings of both stages that use it.

    ``are_pairs``: texts are pairs. ``directory``: where the fine-tuned teacher is, if it is. ``several``: the heads,
    where there are several.
    """

    settings: Teach
    label: Label
    labels: Sequence[str]
    task: str
    are_pairs: bool = False
    directory: str | os.PathLike[str] | None = None
    several: Several | None = None

    @property
    def classes(self) -> int:
        """Scores that the teacher gives a text."""
        return TASKS[self.task].outputs(tuple(self.labels))


class Kind(Protocol):
    """What a setting names as teacher, before it is opened.

    ``name``: as in the settings. ``answers``: whether it scores any text, or only those it has scores of.
    ``trainable``: whether it can be fine-tuned, and embeds texts. ``columns``: those that hold its scores, by head (""
    of a classifier of one).
    """

    name: str
    answers: bool
    trainable: bool
    columns: Mapping[str, str]

    def identity(self) -> Any:
        """What the teacher is, as values that JSON can hold, so that another one under the same name is noticed."""
        ...

    def labels(self) -> tuple[str, ...] | None:
        """Its own class names, None where it has none."""
        ...

    def open(self, job: Job) -> Teacher:
        """The teacher. Errors: :class:`SettingsError`."""
        ...
