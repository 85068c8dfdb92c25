"""Calibration: maps from logits to probabilities that are as often right as they say, and how far from it they are.

What the fits return is what ``config.json`` holds as ``calibration``. None of the maps is decreasing.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np

from .figures import DEAR_LABELS
from .heads import Calibration
from .intervals import Figure

BINS = 15
_FOLDS = 5
_LEAST_SLOPE = 1e-3
_TEMPERATURES = (0.01, 100.0)
_SECOND = 3.0  # how many times the first the second temperature is


def fit(logits: np.ndarray, targets: np.ndarray, task: str) -> dict[str, Any] | None:
    """The calibration of logits (n, C) against targets of the ``task``: of single one temperature or two, of multi
    Platt's for each label, of regression isotonic, or None where that would only learn the noise of few texts.

    It would where, of five folds, the maps of four have the larger squared error on the fifth than the scores
    themselves. There are two temperatures where they have the smaller cross-entropy on the fifth than one.
    """
    if task == "single":
        return _of_single(logits, targets)
    if task == "multi":
        return fit_platt(logits, targets)
    scores, found = logits[:, 0], np.zeros((len(logits), 1))
    fold = _folds(len(scores))
    if len(scores) < 2 * _FOLDS:
        return None
    for i in range(_FOLDS):
        found[fold == i] = as_logits(fit_isotonic(scores[fold != i], targets[fold != i]), logits[fold == i])
    before, after = (float(((guess - targets) ** 2).sum()) for guess in (scores, found[:, 0]))
    return fit_isotonic(scores, targets) if after < before else None


def _folds(texts: int) -> np.ndarray:
    """The fold of each text, at random."""
    return np.random.default_rng(0).permutation(texts) % _FOLDS


def _of_single(logits: np.ndarray, targets: np.ndarray) -> dict[str, Any]:
    """One temperature, or two where five folds are for it."""
    fold, gained = _folds(len(targets)), 0.0
    if len(targets) >= 2 * _FOLDS:
        for i in range(_FOLDS):
            rest, here = fold != i, fold == i
            one, two = (
                _cross_entropy(as_logits(fit(logits[rest], targets[rest]), logits[here]), targets[here])
                for fit in (fit_temperature, fit_temperatures)
            )
            gained += one - two
    return fit_temperatures(logits, targets) if gained > 0 else fit_temperature(logits, targets)


def fit_temperature(logits: np.ndarray, targets: np.ndarray) -> dict[str, Any]:
    """``{"kind": "temperature", "temperature": T}``: softmax(logits / T) has the least cross-entropy (Guo et al. 2017).

    Logits (n, C), targets int (n,). It is convex in 1/T: Newton's method, kept within a bracket. T lies between 0.01
    and 100: where all is right on dev, or nothing better than chance, there is no optimum this side of it.
    """
    logits = logits.astype(np.float64)
    logits -= logits.max(axis=1, keepdims=True)
    wanted = float(np.take_along_axis(logits, targets.reshape(-1, 1), axis=1).mean())
    low, high = 1 / _TEMPERATURES[1], 1 / _TEMPERATURES[0]
    inverse = 1.0
    for _ in range(100):
        shares = np.exp(inverse * logits)
        shares /= shares.sum(axis=1, keepdims=True)
        mean = (shares * logits).sum(axis=1)
        slope = float(mean.mean()) - wanted
        low, high = (low, inverse) if slope > 0 else (inverse, high)
        curvature = float(((shares * logits**2).sum(axis=1) - mean**2).mean())
        step = inverse - slope / curvature if curvature > 0 else np.inf
        if not low < step < high:
            step = np.sqrt(low * high)
        done, inverse = abs(step - inverse) <= 1e-10 * inverse, step
        if done:
            break
    return {"kind": "temperature", "temperature": float(1 / inverse)}


def fit_temperatures(logits: np.ndarray, targets: np.ndarray) -> dict[str, Any]:
    """``{"kind": "temperatures", "temperature": T, "second": 3 T, "share": S}``: (1 - S) softmax(logits / T) + S
    softmax(logits / (3 T)) has the least cross-entropy, as in ensemble temperature scaling (Zhang et al. 2020).

    Where the sure are wrong now and then, one temperature that allows for it makes all others too unsure. Logits
    (n, C), targets int (n,). For each T the loss is convex in S; T is found on a grid, and then by golden section.
    """
    scaled = logits.astype(np.float64)
    scaled -= scaled.max(axis=1, keepdims=True)

    def gold(temperature: float) -> np.ndarray:
        powers = np.exp(scaled / temperature)
        result: np.ndarray = np.take_along_axis(powers, targets.reshape(-1, 1), axis=1)[:, 0] / powers.sum(axis=1)
        np.maximum(result, np.finfo(np.float64).tiny, out=result)
        return result

    def at(place: float) -> tuple[float, float]:
        """(Loss, share) for the logarithm of a temperature."""
        first, second = gold(float(np.exp(place))), gold(_SECOND * float(np.exp(place)))
        share = _share(first, second)
        return -float(np.log((1 - share) * first + share * second).sum()), share

    only = np.log(fit_temperature(logits, targets)["temperature"])
    low, high = np.log(_TEMPERATURES[0]), np.log(_TEMPERATURES[1] / _SECOND)
    places = np.clip(only + np.linspace(-np.log(2 * _SECOND), np.log(1.5), 17), low, high).tolist()
    best = min(range(len(places)), key=lambda i: at(places[i])[0])
    left, right = places[max(best - 1, 0)], places[min(best + 1, len(places) - 1)]
    while right - left > 1e-6:
        third = (right - left) * (3 - 5**0.5) / 2
        left, right = (left, right - third) if at(left + third)[0] <= at(right - third)[0] else (left + third, right)
    place = (left + right) / 2
    first = float(np.exp(place))
    return {"kind": "temperatures", "temperature": first, "second": _SECOND * first, "share": at(place)[1]}


def _share(first: np.ndarray, second: np.ndarray) -> float:
    """The share of ``second`` in the mean with ``first``, probabilities (n,), whose logarithm is the largest."""
    low, high = 0.0, 1.0
    for _ in range(50):
        middle = (low + high) / 2
        rises = float(((second - first) / ((1 - middle) * first + middle * second)).sum()) > 0
        low, high = (middle, high) if rises else (low, middle)
    return (low + high) / 2


def _cross_entropy(logits: np.ndarray, targets: np.ndarray) -> float:
    """Of logits (n, C) against int (n,), summed."""
    scaled = logits.astype(np.float64)
    scaled -= scaled.max(axis=1, keepdims=True)
    gold = np.take_along_axis(scaled, targets.reshape(-1, 1), axis=1)[:, 0]
    return float((np.log(np.exp(scaled).sum(axis=1)) - gold).sum())


def fit_platt(logits: np.ndarray, targets: np.ndarray) -> dict[str, Any]:
    """``{"kind": "platt", "slope": [...], "intercept": [...]}``: sigmoid(slope * logit + intercept) of each label.

    Logits (n, C), targets (n, C) of 0 and 1. Cross-entropy against Platt's (1999) targets, (N+ + 1) / (N+ + 2) for a
    label's N+ texts and 1 / (N- + 2) for the others, so that there is an optimum where the two are apart; Newton's
    method with halved steps (Lin, Lin and Weng 2007). A label that all texts have, or none, keeps slope 1, for nothing
    tells the slope; one whose logits run against it gets the slope 0.001: it must not turn them round.
    """
    fitted = [_platt(z, y) for z, y in zip(logits.astype(np.float64).T, targets.T > 0.5, strict=True)]
    return {"kind": "platt", "slope": [a for a, _ in fitted], "intercept": [b for _, b in fitted]}


def _platt(logits: np.ndarray, gold: np.ndarray) -> tuple[float, float]:
    """Slope and intercept of one label: logits and bool (n,)."""
    positives = int(gold.sum())
    aims = np.where(gold, (positives + 1) / (positives + 2), 1 / (len(gold) - positives + 2))
    if 0 < positives < len(gold) and np.ptp(logits) > 0:
        middle, spread = logits.mean(), logits.std()  # Newton's steps are the better for it
        slope, intercept = _logistic(np.stack([(logits - middle) / spread, np.ones(len(logits))], axis=1), aims)
        if slope / spread > _LEAST_SLOPE:
            return float(slope / spread), float(intercept - slope * middle / spread)
        kept = _LEAST_SLOPE
    else:
        kept = 1.0
    (intercept,) = _logistic(np.ones((len(logits), 1)), aims, kept * logits)
    return kept, float(intercept)


def _logistic(x: np.ndarray, aims: np.ndarray, offset: np.ndarray | float = 0.0) -> np.ndarray:
    """Weights (k,) of sigmoid(x @ weights + offset) with the least cross-entropy against ``aims`` (n,); x (n, k)."""

    def loss(weights: np.ndarray) -> float:
        z = x @ weights + offset
        return float((np.logaddexp(0, z) - aims * z).sum())

    weights = np.zeros(x.shape[1])
    best = loss(weights)
    for _ in range(100):
        z = x @ weights + offset
        shares = np.exp(-np.logaddexp(0, -z))
        gradient = x.T @ (shares - aims)
        curvature = (x * (shares * (1 - shares))[:, None]).T @ x + 1e-12 * np.eye(len(weights))
        step = np.linalg.solve(curvature, gradient)
        size = 1.0
        while size > 1e-10 and not (value := loss(weights - size * step)) <= best:
            size /= 2
        if size <= 1e-10:
            break
        weights, gained, best = weights - size * step, best - value, value
        if gained <= 1e-12 * (1 + abs(best)) and size * np.abs(step).max() < 1e-8:
            break
    return weights


def fit_isotonic(scores: np.ndarray, targets: np.ndarray) -> dict[str, Any]:
    """``{"kind": "isotonic", "x": [...], "y": [...]}``: the non-decreasing map with the least squared error (Zadrozny
    and Elkan 2002), by pooling adjacent violators.

    Scores (n,) and targets (n,); of both (n, C) x and y are lists of one list a label. x is strictly ascending, y not
    decreasing: a line from point to point, constant beyond the first and the last. Of a run of equal values its two
    ends are the points.
    """
    if scores.ndim == 1:
        x, y = _isotonic(scores.astype(np.float64), targets.astype(np.float64))
        return {"kind": "isotonic", "x": x, "y": y}
    fitted = [_isotonic(s.astype(np.float64), t.astype(np.float64)) for s, t in zip(scores.T, targets.T, strict=True)]
    return {"kind": "isotonic", "x": [x for x, _ in fitted], "y": [y for _, y in fitted]}


def _isotonic(scores: np.ndarray, targets: np.ndarray) -> tuple[list[float], list[float]]:
    x, place, counts = np.unique(scores, return_inverse=True, return_counts=True)
    means = np.bincount(place, weights=targets) / counts
    blocks: list[tuple[float, int, int]] = []  # mean, texts, distinct scores
    for mean, count in zip(means.tolist(), counts.tolist(), strict=True):
        size = 1
        while blocks and blocks[-1][0] >= mean:
            before, texts, distinct = blocks.pop()
            mean, count, size = (before * texts + mean * count) / (texts + count), texts + count, size + distinct
        blocks.append((mean, count, size))
    ends = np.cumsum([size for *_, size in blocks])
    points: list[tuple[float, float]] = []
    for (mean, _, size), end in zip(blocks, ends.tolist(), strict=True):
        points += [(float(x[i]), mean) for i in dict.fromkeys((end - size, end - 1))]
    return [a for a, _ in points], [b for _, b in points]


def as_logits(calibration: dict[str, Any] | None, logits: np.ndarray) -> np.ndarray:
    """Logits (n, C) that need no calibration any more: softmax, sigmoid or the score itself gives what the calibrated
    ones of ``logits`` would; None changes nothing. ``calibration``: what a :func:`fit` returned.
    """
    if calibration is None:
        return logits
    given: dict[str, Any] = {name: np.array(value) for name, value in calibration.items() if name != "kind"}
    knots = ((given.pop("x"), given.pop("y")),) if "x" in given else ()
    return Calibration(calibration["kind"], knots=knots, **given).mapped(logits.astype(np.float64)).astype(logits.dtype)


def heads_as_logits(calibrations: Iterable[tuple[slice, dict[str, Any] | None]], logits: np.ndarray) -> np.ndarray:
    """:func:`as_logits` of several heads: their places among the logits (n, outputs), and the calibration of each."""
    result: np.ndarray = logits.copy()
    for outputs, calibration in calibrations:
        result[:, outputs] = as_logits(calibration, logits[:, outputs])
    return result


def reliability(predicted: np.ndarray, observed: np.ndarray, bins: int = BINS, equal: str = "mass") -> dict[str, Any]:
    """The data of a reliability diagram: ``count``, mean ``predicted`` and mean ``observed`` of each bin, as lists.

    ``predicted`` (n,): probabilities or scores; ``observed`` (n,): whether it was so, 0 or 1, or the gold score. Bins
    of ``equal`` "mass" have as many texts each, as far as equal predictions, which stay together, allow; those of equal
    "width" are as wide, from 0 to 1, for scores from the least to the largest. Empty ones are left out.
    """
    places = bins_of(predicted, bins, equal)
    counts = np.bincount(places, minlength=bins)
    there = counts > 0
    result: dict[str, Any] = {"count": counts[there].tolist()}
    for name, values in (("predicted", predicted), ("observed", observed)):
        result[name] = (np.bincount(places, weights=values, minlength=bins)[there] / counts[there]).tolist()
    return result


def bins_of(predicted: np.ndarray, bins: int = BINS, equal: str = "mass") -> np.ndarray:
    """The bin, from 0, of each of ``predicted`` (n,); see :func:`reliability`."""
    if equal not in ("mass", "width"):
        raise ValueError(f"equal is {equal!r}: give 'mass' or 'width'")
    if equal == "mass":
        ranked = np.sort(predicted)
        starts = ranked[np.arange(1, bins) * len(ranked) // bins] if len(ranked) else ranked
        return np.searchsorted(np.unique(starts), predicted, side="right")
    low, high = (float(predicted.min()), float(predicted.max())) if len(predicted) else (0.0, 1.0)
    if low >= 0 and high <= 1:
        low, high = 0.0, 1.0
    width = (high - low) / bins or 1.0
    result: np.ndarray = np.clip(((predicted - low) / width).astype(np.int64), 0, bins - 1)
    return result


def expected_calibration_error(
    probabilities: np.ndarray, targets: np.ndarray, bins: int = BINS, equal: str = "mass"
) -> float:
    """Mean distance of predicted and observed over the bins, each as heavy as its texts (Naeini et al. 2015).

    Probabilities (n, C) and targets int (n,): of the most probable label against its being right (Guo et al. 2017).
    Probabilities and targets of 0 and 1 (n, C): the mean over the labels of each one's own. Both (n,): of these as they
    are; scores so give an error in their unit. Bins of equal mass, which is what is reported, say more where most
    probabilities are near 0 or 1 than those of equal ``width`` of the first papers (Nixon et al. 2019). On few texts
    it is above 0 by chance alone, by about a third of sqrt(bins / n).
    """
    each = []
    for predicted, observed in confidences(probabilities, targets):
        data = reliability(predicted, observed, bins, equal)
        apart = np.abs(np.array(data["predicted"]) - np.array(data["observed"]))
        each.append(float(apart @ np.array(data["count"])) / len(predicted))
    return float(np.mean(each))


def confidences(probabilities: np.ndarray, targets: np.ndarray) -> list[tuple[np.ndarray, np.ndarray]]:
    """(predicted, observed), float64 (n,) each, whose distance is the calibration error: one, or for multi one a label;
    the shapes are those of :func:`expected_calibration_error`.
    """
    probabilities = probabilities.astype(np.float64)
    if probabilities.ndim == 1:
        return [(probabilities, targets.astype(np.float64))]
    if targets.ndim == 1:
        return [(probabilities.max(axis=1), (probabilities.argmax(axis=1) == targets).astype(np.float64))]
    return [(p, t.astype(np.float64)) for p, t in zip(probabilities.T, targets.T, strict=True)]


def error_figure(probabilities: np.ndarray, targets: np.ndarray, bins: int = BINS) -> Figure:
    """:func:`expected_calibration_error` with bins of equal mass as a figure; the bins are those of all texts."""
    columns = confidences(probabilities, targets)
    apart = [np.eye(bins)[:, bins_of(p, bins)] * (p - y) for p, y in columns]

    def of(weights: np.ndarray) -> np.ndarray:
        each = np.stack([np.abs(one @ weights).sum(axis=0) for one in apart])
        result: np.ndarray = each.mean(axis=0) / weights.sum(axis=0)
        return result

    return Figure(of, cheap=len(columns) <= DEAR_LABELS, biased=True)
