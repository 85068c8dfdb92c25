"""Teachers: the slow, accurate classifiers that a student learns from."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any


def name_of(function: Callable[[list], Any]) -> str:
    """``module:function`` of a function, or of the type of an object that can be called."""
    named = function if hasattr(function, "__qualname__") else type(function)
    return f"{getattr(named, '__module__', '') or ''}:{named.__qualname__}"
