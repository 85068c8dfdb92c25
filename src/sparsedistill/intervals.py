"""Bootstrap intervals of figures: each is a function of how often every text counts.

A figure takes ``weights``, float64 (n, B): how often each of n texts occurs in each of B samples, and gives its B
values, float64 (B,), NaN where a sample has none. All ones in one column give the value itself, and the counts of texts
drawn with replacement those of B resamples at once, so that nothing is computed text by text.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

RESAMPLES, LEVEL = 1000, 0.95
_NUMBERS = 1 << 21  # weights at a time


@dataclass(frozen=True)
class Figure:
    """A figure as a function ``of`` weights.

    ``undefined``: why it may be NaN. ``cheap``: enough for resamples. ``biased``: it is larger in resamples, as
    distances are, so these are moved until their mean is the value (not below 0).
    """

    of: Callable[[np.ndarray], np.ndarray]
    undefined: str = "there is no text"
    cheap: bool = True
    biased: bool = False


def measured(
    figures: Mapping[str, Figure], texts: int, resamples: int = RESAMPLES, seed: int = 0, level: float = LEVEL
) -> dict[str, dict[str, Any]]:
    """``value``, ``low`` and ``high`` of each figure of ``texts`` texts; ``value`` None has a ``reason``.

    The interval is the percentile bootstrap's (Efron 1979; Efron and Tibshirani 1993, chapter 13): ``resamples`` times
    as many texts are drawn with replacement, all figures of the same ones, and ``low`` and ``high`` are the quantiles
    (1 - ``level``) / 2 and (1 + ``level``) / 2 of the values. The same ``seed`` gives the same intervals. It says how
    much other texts would change a figure, not how much another training would. Resamples without a value (those of one
    class, say) are left out; ``low`` and ``high`` are None where that is every second of them, with 0 ``resamples``,
    and of figures that are too dear (:attr:`Figure.cheap`).
    """
    ones = np.ones((texts, 1))
    with np.errstate(divide="ignore", invalid="ignore"):
        values = {name: float(figure.of(ones)[0]) if texts else np.nan for name, figure in figures.items()}
        wanted = {name: figure for name, figure in figures.items() if figure.cheap and np.isfinite(values[name])}
        drawn: dict[str, list[np.ndarray]] = {name: [] for name in wanted}
        for weights in _resampled(texts, resamples, seed) if wanted else ():
            for name, figure in wanted.items():
                drawn[name].append(figure.of(weights))
    result: dict[str, dict[str, Any]] = {}
    for name, value in values.items():
        if not np.isfinite(value):
            result[name] = {"value": None, "low": None, "high": None, "reason": figures[name].undefined}
            continue
        of_resamples = np.concatenate([np.zeros(0), *drawn.get(name, ())])
        of_resamples = of_resamples[np.isfinite(of_resamples)]
        if figures[name].biased and len(of_resamples):
            of_resamples = np.maximum(0, of_resamples + value - of_resamples.mean())
        low, high = _quantiles(of_resamples, resamples, level)
        result[name] = {"value": value, "low": low, "high": high}
    return result


def wilson(share: Any, n: Any, errors: float) -> tuple[Any, Any]:
    """The ends of Wilson's (1927) interval of shares of n texts, ``errors`` standard errors to either side; numbers or
    arrays.
    """
    middle, scale = share + errors**2 / (2 * n), 1 + errors**2 / n
    half = errors * np.sqrt(share * (1 - share) / n + errors**2 / (4 * n * n))
    return (middle - half) / scale, (middle + half) / scale


def _resampled(texts: int, resamples: int, seed: int) -> Iterator[np.ndarray]:
    """How often each text is drawn, float64 (texts, B), until ``resamples`` samples have been given."""
    random = np.random.default_rng(seed)
    most = min(128, max(8, _NUMBERS // texts))
    for start in range(0, resamples, most):
        size = min(most, resamples - start)
        places = random.integers(0, texts, (texts, size)) * size + np.arange(size)
        counts = np.bincount(places.ravel(), minlength=texts * size)
        yield counts.reshape(texts, size).astype(np.float64)


def _quantiles(values: np.ndarray, resamples: int, level: float) -> tuple[float | None, float | None]:
    if 2 * len(values) <= resamples or not len(values):
        return None, None
    low, high = np.quantile(values, [(1 - level) / 2, (1 + level) / 2])
    return float(low), float(high)
