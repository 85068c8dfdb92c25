"""What a classifier answers: its heads, each with a task, labels, thresholds and calibration of its own."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from . import _core

_LEAST = float(np.finfo(np.float64).tiny)  # probability that has a logarithm
MOST = float(np.finfo(np.float32).max)  # largest number of a calibration, as of a logit


@dataclass(frozen=True, eq=False)
class Calibration:
    """A map from logits to calibrated probabilities, or from scores to scores; docs/FORMAT.md, "Calibration".

    ``kind``: "temperature" (single; Guo et al. 2017), "temperatures" (single; of two, as in Zhang et al. 2020), "platt"
    (multi; Platt 1999) or "isotonic" (multi and regression; Zadrozny and Elkan 2002). ``temperature`` is what logits
    are divided by; with two the probabilities of ``second`` have this ``share`` in the mean. ``slope`` and
    ``intercept``, float64 (C,), make a logit another; ``knots`` are (x, y), float64 (k,) each, of a label or of the
    score: a line from point to point, constant beyond the first and the last. No map is decreasing.
    """

    kind: str
    temperature: float = 1.0
    second: float = 1.0
    share: float = 0.0
    slope: np.ndarray | float = 1.0
    intercept: np.ndarray | float = 0.0
    knots: tuple[tuple[np.ndarray, np.ndarray], ...] = ()

    def apply(self, logits: np.ndarray) -> np.ndarray:
        """Calibrated probabilities of logits (..., C) of labels, or scores of scores (..., 1); float64."""
        numbers = finite(logits).astype(np.float64)
        if self.kind == "temperatures":
            return self._mean_of_two(numbers)
        mapped = self.mapped(numbers)
        if self.kind == "isotonic":
            return mapped
        return probabilities(_rounded(mapped), "single" if self.kind == "temperature" else "multi")

    def mapped(self, numbers: np.ndarray) -> np.ndarray:
        """What the map makes of logits (..., C), float64: other logits; an isotonic one what :meth:`apply` gives."""
        if self.kind == "isotonic":
            columns = [interpolated(numbers[..., i], x, y) for i, (x, y) in enumerate(self.knots)]
            return np.stack(columns, axis=-1)
        if self.kind == "temperatures":
            result: np.ndarray = np.log(np.maximum(self._mean_of_two(numbers), _LEAST))
            return result
        result = numbers / self.temperature if self.kind == "temperature" else numbers * self.slope + self.intercept
        return result

    def _mean_of_two(self, numbers: np.ndarray) -> np.ndarray:
        """Probabilities of logits (..., C) at both temperatures, in their shares."""
        first, second = (probabilities(_rounded(numbers / t), "single") for t in (self.temperature, self.second))
        result: np.ndarray = (1 - self.share) * first + self.share * second
        return result


@dataclass(frozen=True, eq=False)
class Head:
    """One of the answers of a classifier.

    ``name``: "" where the classifier has one head without a name. ``task``: single, multi or regression. ``labels``: a
    name an output. ``thresholds``: of multi, float64 (C,), the probabilities from which on labels are given; else None.
    ``calibration``: a :class:`sparsedistill.heads.Calibration`, or None. ``outputs``: the head's places, a slice,
    among the outputs of all heads.
    """

    name: str
    task: str
    labels: tuple[str, ...]
    thresholds: np.ndarray | None
    calibration: Calibration | None
    outputs: slice

    def probabilities(self, logits: np.ndarray) -> np.ndarray:
        """Probabilities of logits (..., C), calibrated where there is a calibration; float64.

        Errors: ValueError for a regression.
        """
        self.refuse_probabilities()
        return self.calibration.apply(logits) if self.calibration else probabilities(logits, self.task)

    def refuse_probabilities(self) -> None:
        """Errors: ValueError for a regression."""
        if self.task == "regression":
            whose = f"head {self.name!r} is a regression and" if self.name else "a regression classifier"
            raise ValueError(f"{whose} has no probabilities: use predict")

    def scores(self, logits: np.ndarray) -> np.ndarray:
        """Of a regression: scores (...,) of its outputs (..., 1), calibrated where there is a calibration."""
        result: np.ndarray = (self.calibration.apply(logits) if self.calibration else logits)[..., 0]
        return result

    def decide(self, logits: np.ndarray) -> list[Any]:
        """Decisions for logits (n, C): a name each (single), a list of names each (multi), a float each (regression).

        single: of the labels with the largest logit the first, which no temperature changes; multi: the labels whose
        calibrated probability reaches their threshold; regression: the calibrated score.
        """
        if self.task == "single":
            return [self.labels[i] for i in finite(logits).argmax(axis=1).tolist()]
        if self.task == "multi":
            return self.chosen(self.probabilities(logits))
        result: list[Any] = self.scores(logits).tolist()
        return result

    def chosen(self, probabilities: np.ndarray) -> list[Any]:
        """Of multi: the names of those labels whose probabilities (n, C) reach their thresholds, a list each."""
        rows = (probabilities >= self.thresholds).tolist()
        return [[label for label, yes in zip(self.labels, row, strict=True) if yes] for row in rows]

    def confidence(self, probabilities: np.ndarray) -> np.ndarray:
        """How sure the head is of what it decides: float64 (n,) of its calibrated probabilities (n, C).

        single: the probability of the label; multi: that of the least certain of its decisions, each the probability
        of the label where it is given, and 1 less that where it is not.

        Errors: ValueError for a regression.
        """
        self.refuse_probabilities()
        if self.task == "multi":
            probabilities = np.where(probabilities >= self.thresholds, probabilities, 1 - probabilities)
        result: np.ndarray = probabilities.min(axis=1) if self.task == "multi" else probabilities.max(axis=1)
        return result

    def ranked(self, logits: np.ndarray) -> np.ndarray:
        """Label numbers (n, C) of logits (n, C), the likeliest first; of equals that of the first label."""
        calibrated = self.calibration is not None and self.task == "multi"  # each label by a map of its own
        result: np.ndarray = np.argsort(-(self.probabilities(logits) if calibrated else logits), axis=1, kind="stable")
        return result


def asked_heads(heads: tuple[Head, ...], name: str | None) -> tuple[Head, ...]:
    """All of them, or the one of this name. Errors: ValueError for a name that none has."""
    if name is None:
        return heads
    if found := tuple(head for head in heads if head.name == name and name):
        return found
    known = ", ".join(head.name for head in heads) or "its only one has no name"
    raise ValueError(f"the classifier has no head {name!r}: {known}")


def each(heads: tuple[Head, ...], name: str | None, of: Callable[[Head], Any]) -> Any:
    """What ``of`` gives of each head, by name; of the one that was asked for, or has no name, that alone."""
    return of(heads[0]) if name is not None or not heads[0].name else {head.name: of(head) for head in heads}


def probabilities(logits: np.ndarray, task: str) -> np.ndarray:
    """Softmax (single) or sigmoid (multi) over the last axis, float64; the same bits on any machine."""
    rows = np.ascontiguousarray(np.atleast_2d(logits), np.float32)
    return _core.probabilities(rows, task == "multi").reshape(logits.shape)


def finite(logits: np.ndarray) -> np.ndarray:
    """The core's rule for numbers beyond float32: NaN counts as 0, an infinite one as the largest of its sign."""
    if np.isfinite(logits).all():  # as those of the core are
        return logits
    result: np.ndarray = np.nan_to_num(logits, nan=0.0, posinf=MOST, neginf=-MOST)
    return result


def interpolated(values: np.ndarray, x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Where ``values`` lie on the line through (x, y). Each operation rounds by itself, which np.interp's need not."""
    if len(x) == 1:
        return np.full(values.shape, y[0])
    at = np.clip(np.searchsorted(x, values, side="right") - 1, 0, len(x) - 2)
    share = np.clip((values - x[at]) / (x[at + 1] - x[at]), 0, 1)
    between = np.minimum(y[at] + share * (y[at + 1] - y[at]), y[at + 1])
    result: np.ndarray = np.where(values >= x[-1], y[-1], between)
    return result


def _rounded(numbers: np.ndarray) -> np.ndarray:
    """To float32; what is beyond it becomes infinite, for which the core has a rule."""
    with np.errstate(over="ignore"):
        return numbers.astype(np.float32)
