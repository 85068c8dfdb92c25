"""The kinds of teacher, and which one a setting names."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from ..options import Head
from . import Kind
from .column import Column
from .function import Function
from .several import OfHeads
from .transformer import Transformer

Score = Callable[[list[Any]], Any]

# The first that knows a name has it; a transformer may have any.
_KINDS: tuple[Any, ...] = (Column, Function, Transformer)


def kind_of(teacher: str | Score | Mapping[str, Score], heads: Mapping[str, Head] | None = None) -> Kind | None:
    """The kind of a teacher, named as in the settings or a function itself; None where none is named. With ``heads``,
    of theirs; ``teacher`` may then be functions by head.
    """
    if heads:
        return OfHeads.of(heads, teacher if isinstance(teacher, Mapping) else {})
    if callable(teacher):
        return Function(teacher)
    assert isinstance(teacher, str)
    return next((one for kind in _KINDS if teacher and (one := kind.named(teacher))), None)
