"""Whether two samples come from one distribution, how far apart they are, and which n-grams tell them apart."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

LEAST_EXPECTED = 5.0  # texts of a category: of fewer the chi-squared distribution is a poor approximation
BINS = 10  # of the population stability index
_TINY = 1e-300


def ks_distance(a: np.ndarray, b: np.ndarray) -> float:
    """Kolmogorov-Smirnov distance of samples (n,) and (m,): the largest difference of their distributions, 0 to 1."""
    a, b = np.sort(a), np.sort(b)
    if a[-1] < b[0] or b[-1] < a[0]:
        return 1.0
    both = np.concatenate([a, b])
    shares = [np.searchsorted(one, both, side="right") / len(one) for one in (a, b)]
    return float(np.abs(shares[0] - shares[1]).max())


def ks_p_value(distance: float, n: int, m: int) -> float:
    """Probability of such a distance or a larger one, of samples of n and m from one continuous distribution.

    By Kolmogorov's limit distribution, with Stephens's correction for samples that are small (1970): within 0.05 of the
    exact probability from five texts on, within 0.02 from twenty on. Where values repeat, the exact one is smaller.
    """
    root = math.sqrt(n * m / (n + m))
    x = distance * (root + 0.12 + 0.11 / root)
    if x < 0.2:
        return 1.0
    if x < 1.18:  # where the other series is slow
        terms = (math.exp(-((2 * k - 1) ** 2) * math.pi**2 / (8 * x * x)) for k in range(1, 6))
        return min(1.0, max(0.0, 1 - math.sqrt(2 * math.pi) / x * sum(terms)))
    return min(1.0, 2 * math.fsum((-1.0) ** (k - 1) * math.exp(-2 * k * k * x * x) for k in range(1, 6)))


def chi_squared_p_value(statistic: float, degrees: int) -> float:
    """Probability that a chi-squared variable with these degrees of freedom is ``statistic`` or more; of none, 1.

    The regularised upper incomplete gamma function: its series below the mean, above it Lentz's continued fraction.
    """
    if degrees < 1 or statistic <= 0:
        return 1.0
    s, x = degrees / 2, statistic / 2
    log_scale = s * math.log(x) - x - math.lgamma(s)
    if x < s + 1:
        term = total = 1 / s
        k = s
        while term > 1e-17 * total:
            k += 1
            term *= x / k
            total += term
        return max(0.0, 1 - total * math.exp(log_scale))
    b = x + 1 - s
    c, d = 1 / _TINY, 1 / b
    fraction = d
    for i in range(1, 100_000):
        a = -i * (i - s)
        b += 2
        d = 1 / (a * d + b or _TINY)
        c = b + a / c or _TINY
        fraction *= c * d
        if abs(c * d - 1) < 1e-15:
            break
    return math.exp(log_scale) * fraction


def homogeneity(a: np.ndarray, b: np.ndarray) -> tuple[float, int]:
    """Pearson's chi-squared statistic of two rows of counts (C,), and its degrees of freedom.

    Categories of which fewer than :data:`LEAST_EXPECTED` texts are expected in either sample count as one.
    """
    table = np.stack([a, b]).astype(np.float64)
    share = table.sum(axis=1, keepdims=True) / table.sum()
    rare = (table.sum(axis=0) * share.min()) < LEAST_EXPECTED
    table = np.column_stack([table[:, ~rare], table[:, rare].sum(axis=1)])
    table = table[:, table.sum(axis=0) > 0]
    expected = table.sum(axis=0) * share
    return float(((table - expected) ** 2 / expected).sum()), table.shape[1] - 1


def holm(p_values: Sequence[float]) -> list[float]:
    """p-values adjusted for how many they are (Holm 1979): those below a level have errors below it, all together."""
    order = np.argsort(p_values, kind="stable")
    steps = np.asarray(p_values, np.float64)[order] * np.arange(len(p_values), 0, -1)
    adjusted = np.empty(len(p_values))
    adjusted[order] = np.minimum(np.maximum.accumulate(steps), 1.0) if len(p_values) else 0.0
    result: list[float] = adjusted.tolist()
    return result


def total_variation(a: np.ndarray, b: np.ndarray) -> float:
    """Half the sum of the absolute differences of the shares of counts (C,): the share of texts that moved, 0 to 1."""
    return float(np.abs(a / max(a.sum(), 1) - b / max(b.sum(), 1)).sum() / 2)


def stability_index(a: np.ndarray, b: np.ndarray) -> float:
    """Population stability index of counts (C,), half a text added to each: the symmetric Kullback-Leibler divergence.

    Customary readings are: below 0.1 hardly a change, from 0.25 on a large one.
    """
    p, q = ((one + 0.5) / (one.sum() + 0.5 * len(one)) for one in (a, b))
    return float(((p - q) * np.log(p / q)).sum())


def binned(a: np.ndarray, b: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Counts of two samples in :data:`BINS` bins that have about as many of the first each."""
    edges = np.unique(np.quantile(a, np.arange(1, BINS) / BINS))
    counts = [np.bincount(np.searchsorted(edges, one, side="right"), minlength=len(edges) + 1) for one in (a, b)]
    return counts[0], counts[1]


def log_odds(a: np.ndarray, b: np.ndarray, total_a: float, total_b: float) -> np.ndarray:
    """z-scores (V,) of n-grams that occur a (V,) and b (V,) times among ``total_a`` and ``total_b``: how sure it is
    that they are more frequent in b (above 0), or in a.

    The difference of their log-odds over its standard deviation, both with an informative Dirichlet prior, what is
    found in both together, scaled to as many occurrences as the smaller sample has (Monroe, Colaresi and Quinn 2008).
    """
    a, b = a.astype(np.float64), b.astype(np.float64)
    weight = min(total_a, total_b)
    prior = (a + b) / (total_a + total_b) * weight
    prior = np.maximum(prior, 1e-9)
    rest_a, rest_b = (np.maximum(total + weight - n - prior, 1e-9) for n, total in ((a, total_a), (b, total_b)))
    difference = np.log((b + prior) / rest_b) - np.log((a + prior) / rest_a)
    result: np.ndarray = difference / np.sqrt(1 / (a + prior) + 1 / (b + prior))
    return result
