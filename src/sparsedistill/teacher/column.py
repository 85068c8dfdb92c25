"""Scores that stand in a column beside the texts, as teacher."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ..errors import SettingsError
from . import Job, Teacher


class Column:
    """``column:NAME``: knows the texts it stands beside, and no other."""

    answers = trainable = False

    def __init__(self, column: str):
        self.name = f"column:{column}"
        self.columns: Mapping[str, str] = {"": column}

    @classmethod
    def named(cls, name: str) -> Column | None:
        """The kind, where it has this name."""
        kind, _, column = name.partition(":")
        return cls(column) if kind == "column" else None

    def identity(self) -> Any:
        """Its name: the scores themselves are fingerprinted with the texts."""
        return self.name

    def labels(self) -> tuple[str, ...] | None:
        """None: scores have no names."""
        return None

    def open(self, job: Job) -> Teacher:
        """Errors: :class:`SettingsError`, for nobody is there to be asked."""
        raise SettingsError(f"the teacher {self.name} is a column of scores, which can score no other text")
