"""The kinds of teacher, and which one a setting names."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from . import Kind
from .column import Column
from .function import Function
from .transformer import Transformer

# The first that knows a name has it; a transformer may have any.
_KINDS: tuple[Any, ...] = (Column, Function, Transformer)


def kind_of(teacher: str | Callable[[list[Any]], Any]) -> Kind | None:
    """The kind of a teacher, named as in the settings or a function itself; None where none is named."""
    if callable(teacher):
        return Function(teacher)
    return next((one for kind in _KINDS if teacher and (one := kind.named(teacher))), None)
