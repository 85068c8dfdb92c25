"""The errors a user can do something about."""

from typing import Any


class SparsedistillError(Exception):
    """Base of every error this package raises on purpose."""


class DataError(SparsedistillError, ValueError):
    """Input that cannot be used: the message names file, row and field, and the way out."""


class RowError(DataError):
    """Scores or targets of one text among several that cannot be used: ``where`` they come from, the ``row`` (from 0),
    and ``what`` is wrong, for who knows the text's file and line to say it.
    """

    def __init__(self, where: str, row: int, what: str):
        super().__init__(f"{where}, row {row + 1}, has {what}")
        self.where, self.row, self.what = where, row, what


class FormatError(SparsedistillError, ValueError):
    """A classifier, vocabulary or run directory that is damaged, foreign or of another version."""


class SettingsError(SparsedistillError, ValueError):
    """Settings that cannot work, alone or together."""


class MissingExtraError(SparsedistillError, ImportError):
    """An optional dependency is not installed; the message names the extra that brings it."""


def require(module: str, extra: str) -> Any:
    """Import ``module`` or say which extra brings it.

    Errors: :class:`MissingExtraError` when the top-level package is absent.
    """
    import importlib

    try:
        return importlib.import_module(module)
    except ModuleNotFoundError as error:
        if error.name is None or error.name.split(".")[0] != module.split(".")[0]:
            raise
        raise MissingExtraError(
            f"{module.split('.')[0]} is not installed: pip install 'sparsedistill[{extra}]'"
        ) from None
