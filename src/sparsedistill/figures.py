"""Figures of scores and of labels, each for many weightings of the texts at once (:mod:`sparsedistill.intervals`).

With ``groups``, int (n,), pairs of texts count within their group alone, and means are taken a group.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial

import numpy as np

from .intervals import Figure

Of = Callable[[np.ndarray], np.ndarray]  # weights (n, B) -> values (B,)

TOP = 0.1  # share of the texts that are "the top"
MOST_LEVELS = 11  # of graded scores
DEAR = 100_000  # texts from which on what sorts again in every resample has no interval
DEAR_LABELS = 20  # and labels
_CONSTANT = "all {} are equal"


class Order:
    """The distinct values of (n,) within each of ``groups``, ascending."""

    def __init__(self, values: np.ndarray, groups: np.ndarray | None = None):
        groups = np.zeros(len(values), np.int64) if groups is None else groups
        self.order = np.lexsort((values, groups))
        new_group, new_value = np.diff(groups[self.order]) != 0, np.diff(values[self.order]) != 0
        new = np.concatenate([[True], new_group | new_value])[: len(values)]
        self.starts = np.flatnonzero(new)
        #: of each distinct value the first one of its group
        self.first = np.maximum.accumulate(
            np.where(np.concatenate([[True], new_group])[self.starts], np.arange(len(self.starts)), 0)
        )
        #: of each text the place of its value among the distinct ones
        self.place = np.empty(len(values), np.int64)
        self.place[self.order] = np.cumsum(new) - 1

    def sums(self, weights: np.ndarray) -> np.ndarray:
        """Weight of each distinct value, (values, B)."""
        if len(self.starts) == len(self.order):
            return weights[self.order]
        return np.add.reduceat(weights[self.order], self.starts, axis=0)

    def before(self, sums: np.ndarray) -> np.ndarray:
        """Of ``sums`` (values, B), the sum over the smaller values of the same group."""
        upto = np.cumsum(sums, axis=0) - sums
        result: np.ndarray = upto - upto[self.first]
        return result


# ---- scores ----------------------------------------------------------------------------------------------------------


def of_scores(
    predicted: np.ndarray, gold: np.ndarray, cuts: Sequence[float] | None = None, top: float = TOP
) -> dict[str, Figure]:
    """Figures of predicted scores (n,) against gold ones (n,), or a teacher's.

    ``spearman``, ``kendall`` (tau-b), ``pearson``, ``r2``, ``rmse``, ``mae``; ``recall_at_top``: see :func:`top_recall`
    with the share ``top``; for each of ``cuts`` (None: :func:`levels_of` gold but the lowest) ``auc_at_CUT``, the area
    under the ROC curve of the scores where ``gold >= cut`` is the class, and ``f1_at_CUT``, that class's F1 where
    ``predicted >= cut`` decides. Where gold is graded also ``kappa``, the quadratic weighted kappa (Cohen 1968), and
    ``f1_of_LEVEL``, the F1 of each level, of scores rounded to the nearest level (halves up).
    """
    predicted, gold = predicted.astype(np.float64), gold.astype(np.float64)
    levels = levels_of(gold)
    cuts = levels[1:] if cuts is None else cuts
    figures = {
        "spearman": Figure(spearman(predicted, gold), _why(predicted, gold)),
        "kendall": Figure(kendall(predicted, gold), _why(predicted, gold), len(gold) <= DEAR),
        "pearson": Figure(pearson(predicted, gold), _why(predicted, gold)),
        "r2": Figure(r2(predicted, gold), _CONSTANT.format("gold scores")),
        "rmse": Figure(lambda weights: np.sqrt(_mean((predicted - gold) ** 2, weights))),
        "mae": Figure(lambda weights: _mean(np.abs(predicted - gold), weights)),
        "recall_at_top": Figure(top_recall(predicted, gold, top), _CONSTANT.format("gold scores")),
    }
    order = Order(predicted)
    for cut in cuts:
        positive = gold >= cut
        one_side = f"gold scores are all {'at least' if positive.all() else 'below'} {cut:g}"
        figures[f"auc_at_{cut:g}"] = Figure(partial(_auc, order, positive), one_side)
    for cut in cuts:
        nothing = f"no score, gold or predicted, is {cut:g} or more"
        figures[f"f1_at_{cut:g}"] = Figure(f1(predicted >= cut, gold >= cut), nothing)
    if levels:
        guess = np.clip(np.floor(predicted + 0.5), levels[0], levels[-1])
        rounded = np.floor(gold + 0.5)
        figures["kappa"] = Figure(quadratic_kappa(guess, rounded), "all scores, gold and predicted, have one level")
        for level in levels:
            neither = f"no score, gold or predicted, is {level:g}"
            figures[f"f1_of_{level:g}"] = Figure(f1(guess == level, rounded == level), neither)
    return figures


def levels_of(gold: np.ndarray) -> list[float]:
    """The levels of graded scores (n,), ascending; none where they are not graded.

    They are graded where nine of ten are whole numbers, of which there are 2 to 11, such as 0 to 5.
    """
    whole = gold == np.floor(gold)
    if not len(gold) or whole.mean() < 0.9:
        return []
    levels = np.unique(np.floor(gold + 0.5)).tolist()
    return levels if 2 <= len(levels) <= MOST_LEVELS else []


def pearson(a: np.ndarray, b: np.ndarray, groups: np.ndarray | None = None) -> Of:
    """Pearson's correlation of (n,) and (n,); with ``groups`` of what is left of each less its group's mean."""
    a, b, places = _centred(a, groups), _centred(b, groups), _places(groups, len(a))
    least = 1e-12 * np.array([(a * a).sum(), (b * b).sum()])

    def of(weights: np.ndarray) -> np.ndarray:
        ab, aa, bb = (_scatter(x, y, weights, places) for x, y in ((a, b), (a, a), (b, b)))
        aa, bb = (np.where(x > limit, x, np.nan) for x, limit in zip((aa, bb), least, strict=True))
        result: np.ndarray = np.clip(ab / np.sqrt(aa * bb), -1, 1)
        return result

    return of


def r2(predicted: np.ndarray, gold: np.ndarray) -> Of:
    """Share of the variance of gold (n,) that ``predicted`` (n,) explains: 1 at best, of its mean 0, of worse less."""
    centred = _centred(gold, None)
    least = 1e-12 * (centred**2).sum()

    def of(weights: np.ndarray) -> np.ndarray:
        variance = _scatter(centred, centred, weights, None)
        result: np.ndarray = 1 - ((predicted - gold) ** 2) @ weights / np.where(variance > least, variance, np.nan)
        return result

    return of


def spearman(a: np.ndarray, b: np.ndarray) -> Of:
    """Spearman's correlation of (n,) and (n,): Pearson's of the ranks, where equal values share the mean of theirs."""
    orders = (Order(a), Order(b))

    def of(weights: np.ndarray) -> np.ndarray:
        half, spreads, ranks = weights.sum(axis=0) / 2, [], []
        for order in orders:
            sums = order.sums(weights)
            rank = np.cumsum(sums, axis=0) - sums / 2 - half
            spreads.append((sums * rank * rank).sum(axis=0))
            ranks.append(rank[order.place])
        product = np.where(spreads[0] * spreads[1] > 0, spreads[0] * spreads[1], np.nan)
        result: np.ndarray = np.einsum("ij,ij,ij->j", weights, *ranks) / np.sqrt(product)
        return result

    return of


def kendall(a: np.ndarray, b: np.ndarray, groups: np.ndarray | None = None) -> Of:
    """Kendall's tau-b (1945) of (n,) and (n,): concordant less discordant pairs, over the roots of those not tied in
    the one and in the other. O(n log n), as Knight's (1966); a text and its own copy in a resample are a tied pair.
    """
    groups = np.zeros(len(a), np.int64) if groups is None else groups
    difference = _Concordance(a, b, groups)
    orders = [Order(values, groups) for values in (a, b, np.zeros(len(a)))]

    def of(weights: np.ndarray) -> np.ndarray:
        tied_a, tied_b, pairs = ((order.sums(weights) ** 2).sum(axis=0) for order in orders)
        apart = (pairs - tied_a) * (pairs - tied_b) / 4
        return difference(weights) / np.sqrt(np.where(apart > 0, apart, np.nan))

    return of


class _Concordance:
    """Concordant less discordant pairs of texts of the same group, summed with the product of their weights.

    Texts are split by the ranks of ``a`` as a merge sort would, bit by bit: each pair that is apart in ``a`` is apart
    for the first time at one level, in the two halves of one node. What weights change are sums over ``b``'s order
    within the node, which are the same places in every sample.
    """

    def __init__(self, a: np.ndarray, b: np.ndarray, groups: np.ndarray):
        order = Order(a, groups)
        ranks = order.place - order.first[order.place]
        self._levels = []
        for bit in range(int(ranks.max(initial=0)).bit_length()):
            node, right = ranks >> (bit + 1), (ranks >> bit & 1).astype(bool)
            sort = np.lexsort((b, node, groups))
            ends = [_runs(groups[sort], node[sort]), _runs(groups[sort], node[sort], b[sort])]
            at = np.flatnonzero(right[sort])
            (node_start, node_end), (tie_start, tie_end) = ((start[at], end[at]) for start, end in ends)
            self._levels.append((sort, ~right[sort][:, None], sort[at], (tie_start, tie_end, node_start, node_end)))

    def __call__(self, weights: np.ndarray) -> np.ndarray:
        total = np.zeros(weights.shape[1])
        upto = np.zeros((len(weights) + 1, weights.shape[1]))
        for sort, left, right, (tie_start, tie_end, node_start, node_end) in self._levels:
            np.cumsum(weights[sort] * left, axis=0, out=upto[1:])
            total += np.einsum(
                "ij,ij->j", weights[right], upto[tie_start] + upto[tie_end] - upto[node_start] - upto[node_end]
            )
        return total


def auc(scores: np.ndarray, positive: np.ndarray, groups: np.ndarray | None = None) -> Of:
    """Area under the ROC curve: the share of pairs of a positive text and another whose scores are in that order, a
    tie counting one half (Mann and Whitney 1947). Scores (n,), ``positive`` bool (n,).
    """
    return partial(_auc, Order(scores, groups), positive)


def _auc(order: Order, positive: np.ndarray, weights: np.ndarray) -> np.ndarray:
    every, yes = order.sums(weights), order.sums(weights * positive[:, None])
    no = every - yes
    below = order.before(no)
    # Of each group all positives and all negatives: what is below its end.
    last = np.concatenate([np.flatnonzero(np.diff(order.first)), [len(order.first) - 1]])
    pairs = ((order.before(yes) + yes)[last] * (below + no)[last]).sum(axis=0)
    result: np.ndarray = (yes * (below + no / 2)).sum(axis=0) / np.where(pairs > 0, pairs, np.nan)
    return result


def top_recall(predicted: np.ndarray, gold: np.ndarray, share: float = TOP) -> Of:
    """Recall of the top ``share`` of gold (n,) where as many texts are kept by ``predicted`` (n,).

    The top are the texts from :func:`least_of_top` on. As many are kept, the highest predicted first; which of those
    with equal predictions at the end of them is left to chance, and the expectation is taken. At an equal number recall
    is precision. NaN where the top is every text.
    """
    top = gold >= least_of_top(gold, share)
    order = Order(-predicted)

    def of(weights: np.ndarray) -> np.ndarray:
        size, sums = top @ weights, order.sums(weights)
        kept = np.clip((size - order.before(sums)) / np.where(sums > 0, sums, 1), 0, 1)
        hits = (order.sums(weights * top[:, None]) * kept).sum(axis=0)
        return np.where((size > 0) & (size < weights.sum(axis=0)), hits / size, np.nan)

    return of


def least_of_top(gold: np.ndarray, share: float = TOP) -> float:
    """The lowest score of the top ``share`` of gold (n,), rounded and of one text at least. All texts that have it are
    in the top, so that of graded scores it is whole levels, and can be more.
    """
    size = max(1, int(np.floor(share * len(gold) + 0.5)))
    return float(np.partition(gold, len(gold) - size)[len(gold) - size])


def quadratic_kappa(a: np.ndarray, b: np.ndarray) -> Of:
    """Cohen's kappa (1968) of two ratings (n,) with weights of the squared difference; ratings are numbers, so that
    levels that nobody gave still count in the distance. NaN where both have one level alone, the same.
    """
    middle = a.mean() if len(a) else 0.0
    a, b = a - middle, b - middle

    def of(weights: np.ndarray) -> np.ndarray:
        mean_a, mean_b, squares, apart = (_mean(values, weights) for values in (a, b, a**2 + b**2, (a - b) ** 2))
        chance = squares - 2 * mean_a * mean_b
        return 1 - apart / np.where(chance > 1e-12, chance, np.nan)

    return of


# ---- labels ----------------------------------------------------------------------------------------------------------


def of_labels(
    probabilities: np.ndarray, decided: np.ndarray, gold: np.ndarray, labels: Sequence[str], single: bool
) -> dict[str, Figure]:
    """Figures of probabilities (n, C) and decisions bool (n, C) against gold labels bool (n, C).

    ``accuracy`` and ``macro_f1`` where a text has a ``single`` label, else ``micro_f1``, ``macro_f1`` and
    ``exact_match``, as :meth:`sparsedistill.tasks.Single.metrics` defines them; ``macro_auc``: the mean of the
    ``auc:LABEL`` of all labels that some texts have and others have not, each against all others; ``f1:LABEL``.
    AUCs of more than 20 labels have no intervals.
    """
    right = (decided == gold).all(axis=1)
    figures = {"accuracy" if single else "exact_match": Figure(partial(_mean, right))}
    if not single:
        every = Figure(f1(decided.ravel(), gold.ravel(), len(labels)), "no label, gold or predicted")
        figures = {"micro_f1": every, **figures}
    figures["macro_f1"] = Figure(macro_f1(decided, gold), "no label, gold or predicted")
    known = np.flatnonzero(gold.any(axis=0) & ~gold.all(axis=0))
    areas = {c: kept(auc(probabilities[:, c], gold[:, c])) for c in known.tolist()}
    cheap = len(labels) <= DEAR_LABELS

    figures["macro_auc"] = Figure(mean_of(list(areas.values())), "no label has texts with and without it", cheap)
    for c, label in enumerate(labels):
        figures[f"f1:{label}"] = Figure(f1(decided[:, c], gold[:, c]), "never a label, gold or predicted")
    for c, label in enumerate(labels):
        one = f"{'every' if len(gold) and gold[:, c].all() else 'no'} text has this label"
        figures[f"auc:{label}"] = Figure(areas.get(c, _nothing), one, cheap)
    return figures


def mean_of(each: Sequence[Of]) -> Of:
    """The mean of several figures, of those that are defined in a sample."""

    def of(weights: np.ndarray) -> np.ndarray:
        values = np.stack([one(weights) for one in (*each, _nothing)])
        there = np.isfinite(values)
        result: np.ndarray = np.where(there, values, 0).sum(axis=0) / there.sum(axis=0)
        return result

    return of


def kept(of: Of) -> Of:
    """The same, computed once for the samples that several figures are asked for in turn."""
    last: list[np.ndarray] = []  # weights, and their values

    def again(weights: np.ndarray) -> np.ndarray:
        if not last or last[0] is not weights:
            last[:] = weights, of(weights)
        return last[1]

    return again


def f1(decided: np.ndarray, gold: np.ndarray, each: int = 1) -> Of:
    """F1 of bool decisions (n,) against bool gold (n,); NaN where neither has any. ``each``: decisions a text."""
    hits, counts = (
        values.reshape(-1, each).sum(axis=1).astype(np.float64) for values in (2 * (decided & gold), 1 * decided + gold)
    )

    def of(weights: np.ndarray) -> np.ndarray:
        total = counts @ weights
        result: np.ndarray = hits @ weights / np.where(total > 0, total, np.nan)
        return result

    return of


def macro_f1(decided: np.ndarray, gold: np.ndarray) -> Of:
    """Mean F1 of the labels that occur, in gold or decisions: bool (n, C) each."""
    hits, total = 2.0 * (decided & gold).T, decided.T.astype(np.float64) + gold.T

    def of(weights: np.ndarray) -> np.ndarray:
        each = total @ weights
        values = (hits @ weights) / np.where(each > 0, each, 1)
        result: np.ndarray = values.sum(axis=0) / (each > 0).sum(axis=0)
        return result

    return of


# ---- what they share -------------------------------------------------------------------------------------------------


def _nothing(weights: np.ndarray) -> np.ndarray:
    return np.full(weights.shape[1], np.nan)


def _mean(values: np.ndarray, weights: np.ndarray) -> np.ndarray:
    result: np.ndarray = values.astype(np.float64) @ weights / weights.sum(axis=0)
    return result


def _why(predicted: np.ndarray, gold: np.ndarray) -> str:
    """Why a correlation is not defined."""
    return _CONSTANT.format("gold scores" if len(gold) and (gold == gold[0]).all() else "predicted scores")


def _places(groups: np.ndarray | None, texts: int) -> Order | None:
    return None if groups is None else Order(np.zeros(texts), groups)


def _centred(values: np.ndarray, groups: np.ndarray | None) -> np.ndarray:
    """Float64 values less their mean, or their group's: what is summed later cancels less."""
    values = values.astype(np.float64)
    if groups is None:
        centred = values - values.mean() if len(values) else values
        return centred if not len(values) or np.ptp(values) else np.zeros(len(values))
    _, place, counts = np.unique(groups, return_inverse=True, return_counts=True)
    centred = values - (np.bincount(place, weights=values) / counts)[place]
    result: np.ndarray = np.where(np.abs(centred) > 1e-12 * np.abs(values).max(initial=0), centred, 0)  # rounding
    return result


def _scatter(a: np.ndarray, b: np.ndarray, weights: np.ndarray, groups: Order | None) -> np.ndarray:
    """Sum of the products of a and b less their (groups') means, of each sample (B,)."""
    if groups is None:
        result: np.ndarray = (a * b) @ weights - (a @ weights) * (b @ weights) / weights.sum(axis=0)
        return result
    total, of_a, of_b = (groups.sums(weights * x[:, None]) for x in (np.ones(len(a)), a, b))
    result = (a * b) @ weights - (of_a * of_b / np.where(total > 0, total, 1)).sum(axis=0)
    return result


def _runs(*keys: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Of each place in sorted keys where its run of equal ones starts and ends."""
    n = len(keys[0])
    new = np.any([np.diff(key) != 0 for key in keys], axis=0)
    starts = np.concatenate([[0], np.flatnonzero(new) + 1])
    run = np.concatenate([[0], np.cumsum(new)])
    return starts[run], np.append(starts[1:], n)[run]
