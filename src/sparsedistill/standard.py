"""Mean and deviation of regression's targets: they are standardised in training, so that any unit is learnt alike.

Both are folded into the last layer (of a fine-tuned teacher, of a classifier), which then gives scores in their unit.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np

from .errors import DataError

_LEAST_SHARE = 1e-6  # of the deviation in the mean: float32, which classifiers answer in, has 1.2e-7
_LEAST, _MOST = 1e-30, 1e30  # of deviation and of scores, so that nothing under- or overflows in float32
_OTHER_UNIT = 10.0  # times: deviations that differ by more are of other units


@dataclass(frozen=True)
class Standard:
    """``mean`` and ``deviation`` of scores; the deviation of equal scores is put as 0."""

    mean: float = 0.0
    deviation: float = 1.0

    @classmethod
    def of(cls, batches: Iterable[np.ndarray]) -> Standard:
        """Of scores that come in batches, in float64, in one pass; exact where all are equal."""
        count, first, mean, squares = 0, 0.0, 0.0, 0.0
        for batch in batches:
            values = np.asarray(batch, np.float64).reshape(-1)
            if not len(values):
                continue
            first = first if count else float(values[0])
            values = values - first  # a large offset would take the deviation's digits
            here = float(values.mean())
            # Chan et al. 1983
            total, apart = count + len(values), here - mean
            squares += float(np.square(values - here).sum()) + apart * apart * count * len(values) / total
            mean += apart * len(values) / total
            count = total
        return cls(first + mean, math.sqrt(squares / max(count, 1)))

    def check(self, what: str) -> None:
        """Errors: :class:`DataError` naming ``what`` has scores that float32 cannot tell apart, or hardly hold."""
        figures = f"the scores of {what} have mean {self.mean:.10g} and deviation {self.deviation:.3g}"
        if abs(self.mean) > _MOST or self.deviation > _MOST or 0 < self.deviation < _LEAST:
            raise DataError(f"{figures}, which float32 can hardly hold: scale them")
        if 0 < self.deviation < _LEAST_SHARE * abs(self.mean):
            raise DataError(f"{figures}, which float32 cannot tell apart: subtract an offset from them")

    @property
    def scale(self) -> float:
        """What scores are divided by: the deviation, or 1 where they are all equal."""
        return self.deviation or 1.0

    def apply(self, values: np.ndarray) -> np.ndarray:
        """Scores as training wants them, float32."""
        return applied(values, self.mean, self.scale)

    def undo(self, values: np.ndarray) -> np.ndarray:
        """What training made of them, in their unit, float32."""
        return undone(values, self.mean, self.scale)

    def comparable(self, other: Standard) -> bool:
        """Whether scores with these figures can be of one unit."""
        small, large = sorted((self.deviation, other.deviation))
        if abs(self.mean - other.mean) > 3 * (small + large):
            return False
        return not small or large <= _OTHER_UNIT * small


def applied(values: np.ndarray, mean: Any, scale: Any) -> np.ndarray:
    """Scores less a mean, by a scale: numbers, or one a column; float32."""
    result: np.ndarray = ((values.astype(np.float64) - mean) / scale).astype(np.float32)
    return result


def undone(values: np.ndarray, mean: Any, scale: Any) -> np.ndarray:
    """The opposite, float32."""
    result: np.ndarray = (values.astype(np.float64) * scale + mean).astype(np.float32)
    return result
