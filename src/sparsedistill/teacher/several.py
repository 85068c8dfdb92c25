"""Teachers of several heads: a function or a column each."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from ..errors import SettingsError
from ..options import Head, scores_of
from ..several import Several
from . import Job, Kind, Teacher
from .column import Column
from .function import Function


class OfHeads:
    """What the heads that have a teacher name: the kind of each."""

    trainable = False
    columns: Mapping[str, str]

    def __init__(self, kinds: Mapping[str, Kind], heads: Mapping[str, Head]):
        self._kinds, self._heads = kinds, heads
        self.name = ", ".join(f"{head} of {kind.name}" for head, kind in kinds.items())
        self.columns = {head: kind.columns[""] for head, kind in kinds.items() if kind.columns}
        self.answers = not self.columns

    @classmethod
    def of(cls, heads: Mapping[str, Head], functions: Mapping[str, Callable[[list[Any]], Any]]) -> OfHeads | None:
        """Of the heads' options, and ``functions`` that are given themselves; None where no head has a teacher.

        Errors: :class:`SettingsError` for what is neither a function nor a column.
        """
        kinds: dict[str, Kind] = {}
        for name, head in heads.items():
            if name in functions:
                kinds[name] = Function(functions[name])
            elif head.teacher:
                kind: Column | Function | None = Column.named(head.teacher) or Function.named(head.teacher)
                if kind is None:
                    raise SettingsError(
                        f"head {name!r}: the teacher {head.teacher} is neither module:function nor column:NAME, which "
                        "those of heads have to be: let a function ask it, or score the texts with it first and name "
                        "the column"
                    )
                kinds[name] = kind
        return cls(kinds, heads) if kinds else None

    def identity(self) -> Any:
        """Those of each, and what they give."""
        return {head: [kind.identity(), self._heads[head].scores] for head, kind in self._kinds.items()}

    def labels(self) -> tuple[str, ...] | None:
        """None: functions and columns have no names."""
        return None

    def open(self, job: Job) -> Teacher:
        """The functions. Errors: :class:`SettingsError` for one that cannot be imported."""
        assert job.several is not None
        opened = {}
        for head in job.several.heads:
            kind = self._kinds.get(head.name)
            if kind is not None and kind.answers:
                label = dataclasses.replace(job.label, scores=scores_of(self._heads[head.name], job.label))
                own = dataclasses.replace(job, label=label, labels=head.labels, task=head.task.name, several=None)
                opened[head.name] = kind.open(own)
        return _Functions(self.name, job.several, opened)


class _Functions:
    """The functions of heads as one teacher, whose logits are NaN where a head has none."""

    precision = "given"

    def __init__(self, name: str, several: Several, opened: Mapping[str, Teacher]):
        self.name, self._several, self._opened = name, several, opened

    def logits(self, texts: Sequence[str]) -> np.ndarray:
        """``(len(texts), outputs)``."""
        result = np.full((len(texts), self._several.outputs(())), np.nan, self._several.scores_type)
        for head in self._several.heads:
            if head.name in self._opened:
                result[:, head.outputs] = self._opened[head.name].logits(texts)
        return result
