"""Scores that are given, as logits."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..errors import DataError, RowError, SettingsError

_FLOOR = 1e-6  # of a probability, so that its logarithm stays finite


def as_numbers(values: Any) -> np.ndarray:
    """An array of numbers. Errors: TypeError, ValueError."""
    array = np.asarray(values)
    if array.dtype.kind not in "fiu":
        array = array.astype(np.float64)  # numbers in an object array; ragged rows and words fail here
    return array


def to_logits(values: Any, scores: str, task: str, where: str) -> np.ndarray:
    """Logits of a teacher's ``scores``: float32 ``(n, C)``; for regression float64, finite in float32 too.

    ``values``: ``(n, C)`` numbers, or ``(n,)`` for regression, which is left as it is whatever ``scores`` says.
    Probabilities become their logarithms for ``task`` "single" (a row must sum to 1 within 0.01) and their log-odds
    for "multi", kept finite by a floor of 1e-6.

    Errors: :class:`DataError` naming ``where``, :class:`RowError` where a row is at fault; :class:`SettingsError` for
    an unknown ``scores``.
    """
    if scores not in ("logits", "probabilities"):
        raise SettingsError(f"scores is {scores!r}, it should be logits or probabilities")
    try:
        values = as_numbers(values)
    except (TypeError, ValueError):
        raise DataError(f"{where} holds scores that are not numbers in equal rows, give (n, classes) numbers") from None
    if task == "regression" and values.ndim == 1:
        values = values[:, None]
    if values.ndim != 2 or (task == "regression" and values.shape[1] != 1):
        raise DataError(f"{where} holds scores of shape {values.shape}, {task} needs {wanted_shape(task)}")
    values = values.astype(np.float64)
    refuse(~np.isfinite(values).all(1), where, "a score that is not finite, leave the text out or mend the teacher")
    if scores == "probabilities" and task != "regression":
        outside = ((values < -_FLOOR) | (values > 1 + 1e-2)).any(1)
        refuse(outside, where, 'a probability outside 0 to 1, set scores to "logits" if these are logits')
        if task == "single":
            total = values.sum(1)
            wrong = np.abs(total - 1) > 1e-2
            row = int(wrong.argmax())
            refuse(
                wrong,
                where,
                f"probabilities that do not sum to 1 but to {total[row] if len(total) else 0:.4g}, normalise them, "
                'or set scores to "logits" or task to "multi"',
            )
            values = np.log(np.maximum(values, _FLOOR))
        else:
            values = np.clip(values, _FLOOR, 1 - _FLOOR)
            values = np.log(values) - np.log1p(-values)
    elif task == "single" and len(values) >= 8 and (values >= 0).all() and np.allclose(values.sum(1), 1, atol=1e-3):
        raise DataError(f"{where} holds rows that sum to 1, as probabilities do, set scores to probabilities")
    with np.errstate(over="ignore"):
        narrow = values.astype(np.float32)
    refuse(~np.isfinite(narrow).all(1), where, "a score too large for float32, scale the scores down")
    result: np.ndarray = values if task == "regression" else narrow
    return result


def wanted_shape(task: str) -> str:
    """The shape that a task's scores have, in words."""
    return {"regression": "one number a text", "multi": "(n, classes)"}.get(task, "one row of classes a text")


def refuse(bad: np.ndarray, where: str, what: str) -> None:
    """Errors: :class:`RowError` at the first row that is ``bad``, bool (n,)."""
    if bad.any():
        raise RowError(where, int(np.flatnonzero(bad)[0]), what)
