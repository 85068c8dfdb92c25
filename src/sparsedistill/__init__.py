"""Distil a slow text classifier into a sparse n-gram student that labels raw text on a plain CPU."""

from .classifier import Classifier, Explanation
from .errors import DataError, FormatError, MissingExtraError, SettingsError, SparsedistillError

__version__ = "0.1.0"

__all__ = [
    "Classifier",
    "DataError",
    "Explanation",
    "FormatError",
    "MissingExtraError",
    "SettingsError",
    "SparsedistillError",
    "__version__",
]
