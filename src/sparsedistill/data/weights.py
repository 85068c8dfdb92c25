"""How much each text of train weighs in a loss: class weights and a column of sample weights."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from ..errors import DataError, SettingsError

BALANCED = "balanced"


def class_weights(given: Sequence[str], labels: Sequence[str], task: str) -> dict[str, float] | str | None:
    """What ``--class-weights`` says: "balanced", or the weight of each named class; None without it.

    Errors: :class:`SettingsError` for what is no class or no weight, and for regression, which has no classes.
    """
    if not given:
        return None
    if task == "regression":
        raise SettingsError("--class-weights are of classes, which regression has none of: give --weight COLUMN")
    if list(given) == [BALANCED]:
        return BALANCED
    weights: dict[str, float] = {}
    for item in given:
        name, equals, number = item.rpartition("=")
        try:
            weight = float(number) if equals else math.nan
        except ValueError:
            weight = math.nan
        if not 0 < weight < math.inf:
            raise SettingsError(f"--class-weights {item!r}: give {BALANCED}, or NAME=NUMBER with a number above 0")
        if name not in labels:
            raise SettingsError(f"--class-weights {item!r}: there is no class {name!r}: {', '.join(labels):.300}")
        if name in weights:
            raise SettingsError(f"--class-weights names {name!r} twice")
        weights[name] = weight
    return weights


def sample_weights(values: Sequence[float] | None, column: str) -> np.ndarray | None:
    """Weights of texts, float32 (n, 1), that average to 1. Errors: :class:`DataError` where all are 0."""
    if values is None:
        return None
    weights = np.array(values, np.float64)[:, None]
    if not weights.any():
        raise DataError(f"every weight in column {column!r} is 0, and nothing would be learnt")
    result: np.ndarray = (weights / weights.mean()).astype(np.float32)
    return result


def gold_weights(
    targets: np.ndarray, labels: Sequence[str], classes: dict[str, float] | str | None, samples: np.ndarray | None
) -> np.ndarray | None:
    """Weights of what gold labels teach, float32 (n, 1), or (n, C) for a multi-label task; None where all are 1.

    ``targets`` as in ``data.labelled.Labelled``; ``samples`` as of :func:`sample_weights`. Balanced is
    scikit-learn's: n / (classes * texts of the class), over the classes that occur; of a multi-label task each label is
    balanced against its absence. A named weight is that of the class's texts, of a multi-label task that of the texts
    that have the label. Each column averages to 1, so that the learning rate keeps its meaning.
    """
    if classes is None:
        return samples
    multi = targets.ndim == 2
    n = len(targets)
    have = (targets > 0.5).sum(axis=0) if multi else np.bincount(targets, minlength=len(labels))
    if classes == BALANCED:
        with np.errstate(divide="ignore"):  # a class without a text weighs nothing
            weight = n / ((2 if multi else (have > 0).sum()) * have)
            absent = n / (2 * (n - have))
    else:
        assert isinstance(classes, dict)
        weight, absent = np.array([classes.get(label, 1.0) for label in labels]), np.ones(len(labels))
    weights: np.ndarray = np.where(targets > 0.5, weight, absent) if multi else weight[targets][:, None]
    if samples is not None:
        weights = weights * samples
    mean = weights.mean(axis=0)
    return (weights / np.where(mean > 0, mean, 1.0)).astype(np.float32)
