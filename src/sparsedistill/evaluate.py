"""Metrics of decisions and scores, thresholds, and speed."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Sequence

import numpy as np


def f1(predicted: np.ndarray, gold: np.ndarray) -> dict[str, float]:
    """``micro_f1`` and ``macro_f1`` of bool (n, C); the latter over the classes that occur, in gold or prediction."""
    true, positive, real = (predicted & gold).sum(axis=0), predicted.sum(axis=0), gold.sum(axis=0)
    occurs = positive + real > 0
    each = 2 * true[occurs] / (positive + real)[occurs]
    total = int((positive + real).sum())
    return {
        "micro_f1": float(2 * true.sum() / total) if total else 0.0,
        "macro_f1": float(each.mean()) if len(each) else 0.0,
    }


def of_scores(guess: np.ndarray, targets: np.ndarray) -> dict[str, float]:
    """``r2`` (:func:`r2`), ``rmse``, ``mae``, ``pearson``, ``spearman`` of scores (n,)."""
    error = guess.astype(np.float64) - targets
    return {
        "r2": r2(guess, targets),
        "rmse": float(np.sqrt((error**2).mean())),
        "mae": float(np.abs(error).mean()),
        "pearson": pearson(guess, targets),
        "spearman": pearson(ranks(guess), ranks(targets)),
    }


def pearson(a: np.ndarray, b: np.ndarray) -> float:
    """Pearson's correlation; 0 where one side is constant."""
    a, b = a.astype(np.float64), b.astype(np.float64)
    a, b = a - a.mean(), b - b.mean()
    norm = float(np.sqrt((a * a).sum() * (b * b).sum()))
    return float((a * b).sum()) / norm if norm else 0.0


def r2(guess: np.ndarray, targets: np.ndarray) -> float:
    """Share of the targets' variance that (n,) guesses explain, 1 at best: their mean has 0, what is worse less.

    It orders guesses as their RMSE does, also where all targets are equal: their variance is then put as what float32
    can tell apart.
    """
    guess, targets = guess.astype(np.float64), targets.astype(np.float64)
    apart = targets - targets[0]
    least = max(1e-6 * float(np.abs(targets).max()), 1e-30)
    variance = max(float(np.square(apart - apart.mean()).mean()), least**2)
    return 1.0 - float(np.square(guess - targets).mean()) / variance


def ranks(values: np.ndarray) -> np.ndarray:
    """Ranks (n,) from 0, float64; equal values share the mean of theirs."""
    _, place, counts = np.unique(values, return_inverse=True, return_counts=True)
    return (np.cumsum(counts) - (counts + 1) / 2)[place]


def fit_thresholds(probabilities: np.ndarray, targets: np.ndarray) -> list[float]:
    """The probability from which on each label of a multi-label task is given: best F1 here, 0.5 where it never occurs.

    Shapes (n, C). A threshold is put half-way between the two probabilities it separates.
    """
    gold = targets > 0.5
    thresholds = []
    for p, y in zip(probabilities.T, gold.T, strict=True):
        if not y.any():
            thresholds.append(0.5)
            continue
        order = np.argsort(-p, kind="stable")
        ranked, right = p[order], np.cumsum(y[order])
        f1 = 2 * right / (np.arange(1, len(p) + 1) + y.sum())
        f1[:-1][ranked[:-1] == ranked[1:]] = -1  # equal probabilities cannot be separated
        last = int(f1.argmax())
        below = ranked[last + 1] if last + 1 < len(p) else 0.0
        thresholds.append(float((ranked[last] + below) / 2))
    return thresholds


def alternate(workers: Sequence[tuple[Callable[[], object], int]], repeats: int) -> list[float]:
    """Texts a second of each (function, texts it handles), timed in turn ``repeats`` times; the medians.

    Taking turns spreads whatever else the machine does over all of them alike.
    """
    seconds: list[list[float]] = [[] for _ in workers]
    for work, _ in workers:
        work()  # once uncounted: caches, threads, lazy loading
    for _ in range(repeats):
        for taken, (work, _) in zip(seconds, workers, strict=True):
            start = time.perf_counter()
            work()
            taken.append(time.perf_counter() - start)
    return [texts / statistics.median(taken) for taken, (_, texts) in zip(seconds, workers, strict=True)]
