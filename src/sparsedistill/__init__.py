"""Distil a slow text classifier into a sparse n-gram student that labels raw text on a plain CPU."""

from typing import TYPE_CHECKING, Any

from .classifier import Classifier
from .errors import DataError, FormatError, MissingExtraError, SettingsError, SparsedistillError
from .explain import Explanation
from .heads import Head

if TYPE_CHECKING:
    from .api import distill
    from .cascade import Cascade
    from .report import Report
    from .run import Run
    from .settings import Settings

__version__ = "0.1.0"

__all__ = [
    "Cascade",
    "Classifier",
    "DataError",
    "Explanation",
    "FormatError",
    "Head",
    "MissingExtraError",
    "Report",
    "Run",
    "Settings",
    "SettingsError",
    "SparsedistillError",
    "__version__",
    "distill",
]

# What trains is loaded when it is touched: predicting needs numpy alone, and milliseconds.
_LATER = {"Cascade": "cascade", "distill": "api", "Report": "report", "Run": "run", "Settings": "settings"}


def __getattr__(name: str) -> Any:
    if name not in _LATER:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(f".{_LATER[name]}", __name__), name)


def __dir__() -> list[str]:
    return sorted(__all__)
