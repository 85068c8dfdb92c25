"""Which labels are likely errors: predictions that did not see them disagree, and by how much."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from .heads import probabilities

FAR = 3.0  # deviations of a score from its prediction
_NORMAL = 1.4826  # a normal variable's standard deviation in units of its median absolute one


@dataclass(frozen=True)
class Suspects:
    """Targets that are likelier wrong than right, the likeliest errors first; arrays (k,).

    ``text``: its number. ``output``: of several labels a text, which label this is of, else 0. ``score``: how strong
    the evidence is: the log-odds of the suggested label against the gold one, of scores the deviation in standard
    deviations; the mean over the estimates. ``suggested``: the label that is suggested (of several labels a text 1:
    add it, 0: remove it), of scores the predicted one. ``agreed``: whether all estimates suggest it, also those that
    have ``seen`` the labels.
    """

    text: np.ndarray
    output: np.ndarray
    score: np.ndarray
    suggested: np.ndarray
    agreed: np.ndarray


def suspects(task: str, gold: np.ndarray, estimates: Sequence[np.ndarray], seen: Sequence[np.ndarray] = ()) -> Suspects:
    """The likely errors among gold targets, from the logits (n, C) of one or more ``estimates``: out-of-fold students,
    a teacher.

    ``gold``: int64 (n,) of single labels, 0 and 1 (n, C) of several, float (n,) of scores. Estimates are by what was
    not trained on these targets. What was, as ``seen`` were, has learnt errors by heart: that it agrees with a target
    says little, but where it does not, the target is a likelier error than any other.

    Single labels are ranked by log p(suggested) - log p(gold). Of the measures of Northcutt, Jiang and Chuang (2021),
    self-confidence, p(gold), finds random errors best, and the margin, p(suggested) - p(gold), confused ones; this
    measure is between them on either.
    """
    return {"single": _of_single, "multi": _of_multi}.get(task, _of_scores)(gold, estimates, seen)


def odds(logits: np.ndarray, gold: np.ndarray) -> np.ndarray:
    """What is to be ranked by: log p(most probable other label) - log p(gold), float64 (n,) of single labels.

    ``logits`` (n, C), ``gold`` int64 (n,).
    """
    others = _logs(logits)
    own = others[np.arange(len(gold)), gold]
    others[np.arange(len(gold)), gold] = -np.inf
    result: np.ndarray = others.max(axis=1) - own
    return result


def _logs(logits: np.ndarray) -> np.ndarray:
    """Logarithms of the softmax."""
    logits = logits.astype(np.float64)
    logits = logits - logits.max(axis=1, keepdims=True)
    result: np.ndarray = logits - np.log(np.exp(logits).sum(axis=1, keepdims=True))
    return result


def _of_single(gold: np.ndarray, estimates: Sequence[np.ndarray], seen: Sequence[np.ndarray]) -> Suspects:
    each = [_logs(logits) for logits in estimates]
    mean, rows = np.mean(each, axis=0), np.arange(len(gold))
    best: np.ndarray = mean.argmax(axis=1)
    score = mean[rows, best] - mean[rows, gold]
    agreed = np.all([one.argmax(axis=1) == best for one in (*each, *seen)], axis=0)
    return _ranked(np.flatnonzero(score > 0), np.zeros(len(gold), np.int64), score, best, agreed)


def _of_multi(gold: np.ndarray, estimates: Sequence[np.ndarray], seen: Sequence[np.ndarray]) -> Suspects:
    there = gold > 0.5
    against = [np.where(there, -logits, logits).astype(np.float64) for logits in (*estimates, *seen)]
    score = np.mean(against[: len(estimates)], axis=0)
    agreed = np.all([one > 0 for one in against], axis=0)
    flat = _ranked(
        np.flatnonzero(score > 0), np.tile(np.arange(gold.shape[1]), len(gold)), score.reshape(-1),
        (~there).astype(np.int64).reshape(-1), agreed.reshape(-1),
    )  # fmt: skip
    return Suspects(flat.text // gold.shape[1], flat.output, flat.score, flat.suggested, flat.agreed)


def _of_scores(gold: np.ndarray, estimates: Sequence[np.ndarray], seen: Sequence[np.ndarray]) -> Suspects:
    each = []
    for logits in (*estimates, *seen):
        residual = logits[:, 0].astype(np.float64) - gold
        residual -= np.median(residual)
        spread = _NORMAL * float(np.median(np.abs(residual))) or float(residual.std()) or 1.0
        each.append(residual / spread)
    score = np.mean(each[: len(estimates)], axis=0)
    predicted = np.mean([logits[:, 0] for logits in estimates], axis=0)
    agreed = np.all([one * np.sign(score) > FAR for one in each], axis=0)
    which = np.flatnonzero(np.abs(score) > FAR)
    return _ranked(which, np.zeros(len(gold), np.int64), np.abs(score), predicted, agreed)


def _ranked(
    which: np.ndarray, output: np.ndarray, score: np.ndarray, suggested: np.ndarray, agreed: np.ndarray
) -> Suspects:
    """Those at ``which``: what all estimates suggest first, then by score."""
    order = which[np.lexsort((-score[which], ~agreed[which]))]
    return Suspects(order, output[order], score[order], suggested[order], agreed[order])


def confident_errors(gold: np.ndarray, logits: np.ndarray) -> int:
    """How many of n single labels are wrong, by confident learning (Northcutt, Jiang and Chuang 2021).

    A text counts where a label other than its gold one, int64 (n,), has a probability of at least that label's mean
    over the texts that have it as gold label; ``logits`` (n, C) are out of fold.
    """
    shares = probabilities(logits, "single")
    classes = range(shares.shape[1])
    means = [shares[gold == c, c].mean() if (gold == c).any() else np.inf for c in classes]
    confident = np.where(shares >= np.array(means), shares, 0.0)
    best = confident.argmax(axis=1)
    return int(((best != gold) & confident.any(axis=1)).sum())
