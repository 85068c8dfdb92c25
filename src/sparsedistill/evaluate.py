"""Figures: how right, how like the teacher, how fast."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Sequence

import numpy as np

from .classifier import probabilities
from .errors import SettingsError

# The figure that choices on dev are made by, per task; higher is better.
PRIMARY = {"single": "accuracy", "multi": "micro_f1", "regression": "r2"}


def chosen_by(metric: str, task: str, balanced: bool = False) -> str:
    """The figure that choices on dev are made by; ``balanced``: there are class weights, against which "auto" must not
    choose. Errors: :class:`SettingsError` for a figure that the task has not.
    """
    if metric == "auto":
        return "macro_f1" if balanced and task != "regression" else PRIMARY[task]
    known = {"single": ("accuracy", "macro_f1"), "multi": ("micro_f1", "macro_f1")}.get(task, ())
    if metric not in known:
        raise SettingsError(f"metric {metric} is none of task {task}: --metric {' or '.join(('auto', *known))}")
    return metric


def decisions(logits: np.ndarray, task: str, thresholds: np.ndarray | None = None) -> np.ndarray:
    """Class indices int64 (n,) (single), chosen labels bool (n, C) (multi), or scores (n,) (regression)."""
    if task == "single":
        return logits.argmax(axis=1)
    if task == "multi":
        return probabilities(logits, task) >= (0.5 if thresholds is None else thresholds)
    return logits[:, 0]


def metrics(
    logits: np.ndarray, targets: np.ndarray, task: str, thresholds: np.ndarray | None = None
) -> dict[str, float]:
    """Figures of float32 (n, C) logits against gold targets (shapes as in ``data.labelled.Labelled``).

    single: ``accuracy``, ``macro_f1`` (over the classes that occur, in gold or prediction); multi: ``micro_f1``,
    ``macro_f1``, ``exact_match`` (share of texts with all labels right); regression: ``r2`` (:func:`r2`), ``rmse``,
    ``mae``, ``pearson``, ``spearman``.
    """
    guess = decisions(logits, task, thresholds)
    if task == "regression":
        error = guess.astype(np.float64) - targets
        return {
            "r2": r2(guess, targets),
            "rmse": float(np.sqrt((error**2).mean())),
            "mae": float(np.abs(error).mean()),
            "pearson": pearson(guess, targets),
            "spearman": pearson(ranks(guess), ranks(targets)),
        }
    if task == "single":
        classes = np.arange(logits.shape[1])
        yes, gold = guess[:, None] == classes, targets[:, None] == classes
    else:
        yes, gold = guess, targets > 0.5
    true, said, real = (yes & gold).sum(axis=0), yes.sum(axis=0), gold.sum(axis=0)
    occurs = said + real > 0
    f1 = 2 * true[occurs] / (said + real)[occurs]
    macro = float(f1.mean()) if len(f1) else 0.0
    if task == "single":
        return {"accuracy": float((guess == targets).mean()), "macro_f1": macro}
    total = int((said + real).sum())
    micro = float(2 * true.sum() / total) if total else 0.0
    return {"micro_f1": micro, "macro_f1": macro, "exact_match": float((yes == gold).all(axis=1).mean())}


def one_decision(targets: np.ndarray, task: str, metric: str) -> float:
    """How much of the figure one text's decision can be, about: of macro-F1 what it is of its class's share."""
    if metric != "macro_f1":
        return 1 / len(targets)
    counts = targets.sum(axis=0) if task == "multi" else np.bincount(targets)
    occurs = counts[counts > 0]
    return 1 / float(len(occurs) * occurs.min()) if len(occurs) else 1.0


def never_predicted(
    logits: np.ndarray, targets: np.ndarray, task: str, thresholds: np.ndarray | None = None
) -> list[tuple[int, int]]:
    """(class, its texts among the targets) of the classes that occur there and are never predicted."""
    if task == "regression":
        return []
    guess, classes = decisions(logits, task, thresholds), np.arange(logits.shape[1])
    yes, gold = (guess, targets > 0.5) if task == "multi" else (guess[:, None] == classes, targets[:, None] == classes)
    return [(int(i), int(gold[:, i].sum())) for i in np.flatnonzero(gold.any(axis=0) & ~yes.any(axis=0))]


def fidelity(
    logits: np.ndarray,
    teacher: np.ndarray,
    task: str,
    thresholds: np.ndarray | None = None,
    teachers: np.ndarray | None = None,
) -> float:
    """Share of equal decisions (multi: over all labels of all texts; regression: Pearson's correlation).

    ``thresholds`` are the student's, of multi, and ``teachers`` those of what it is compared with.
    """
    if task == "regression":
        same = np.array_equal(logits[:, 0], teacher[:, 0])
        return 1.0 if same else pearson(logits[:, 0], teacher[:, 0])
    return float((decisions(logits, task, thresholds) == decisions(teacher, task, teachers)).mean())


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


def fit_thresholds(logits: np.ndarray, targets: np.ndarray) -> list[float]:
    """The probability from which on each label of a multi-label task is given: best F1 here, 0.5 where it never occurs.

    Shapes (n, C). A threshold is put half-way between the two probabilities it separates.
    """
    chances, gold = probabilities(logits, "multi"), targets > 0.5
    thresholds = []
    for p, y in zip(chances.T, gold.T, strict=True):
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
