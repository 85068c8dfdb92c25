"""Selective prediction: what it brings to leave doubtful texts undecided, or to send them on to a teacher.

Curves of accuracy against the share of texts sent on and what it costs, of risk against coverage (the share of texts
that are decided; El-Yaniv and Wiener 2010), and thresholds of confidence chosen on labelled texts.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from . import intervals
from .errors import SettingsError
from .intervals import Figure

ALL = 1.01  # a threshold that no confidence reaches
POINTS = 21  # of a curve
ERRORS = 1.0  # standard errors that a figure has to be on the safe side by


@dataclass(frozen=True)
class Outcomes:
    """What came of n labelled texts. ``confidence``: float64 (n,). ``right``: bool (n,), whether the classifier was.

    ``teacher``: bool (n,), whether the teacher was; None where there is none, and doubtful texts stay undecided. Of
    several labels a text all have to be right.
    """

    confidence: np.ndarray
    right: np.ndarray
    teacher: np.ndarray | None = None

    def sent(self, threshold: float) -> np.ndarray:
        """Which texts are below the threshold, bool (n,)."""
        result: np.ndarray = self.confidence < threshold
        return result

    def accuracy(self, threshold: float) -> Figure:
        """Accuracy of the cascade; without a teacher that of what is decided."""
        sent = self.sent(threshold)
        if self.teacher is not None:
            return _mean(np.where(sent, self.teacher, self.right))
        return _mean(self.right, ~sent)

    def candidates(self) -> tuple[np.ndarray, np.ndarray]:
        """(thresholds, sent): all that tell texts apart, ascending, and how many texts are below each.

        A threshold lies half-way between two confidences; the first is 0, with which none is sent on, the last is
        ``ALL``.
        """
        ranked = np.sort(self.confidence)
        sent = np.append(np.flatnonzero(np.append(True, np.diff(ranked) > 0)[: len(ranked)]), len(ranked))
        middle = (ranked[sent[1:-1] - 1] + ranked[sent[1:-1]]) / 2
        return np.concatenate([[0.0], np.maximum(middle, np.nextafter(ranked[sent[1:-1] - 1], 2)), [ALL]]), sent


# ---- thresholds ------------------------------------------------------------------------------------------------------


def threshold_at_share(outcomes: Outcomes, share: float) -> float:
    """The largest threshold below which a ``share`` of the texts is, or less: equal confidences stay together.

    Errors: :class:`SettingsError` for a share that is not from 0 to 1.
    """
    if not 0 <= share <= 1:
        raise SettingsError(f"the share is {share:g}: give a number from 0 to 1")
    thresholds, sent = outcomes.candidates()
    return float(thresholds[np.flatnonzero(sent <= share * len(outcomes.right) + 1e-9)[-1]])


def threshold_within(outcomes: Outcomes, points: float, errors: float = ERRORS) -> float:
    """The smallest threshold with which the cascade is as accurate as its teacher, less ``points`` (0.003: 0.3 %).

    The smallest share of a few hundred labelled texts flatters: of all thresholds the one is found that is lucky on
    them. So the difference has to hold with ``errors`` standard errors to spare, as in the one-standard-error rule of
    Breiman et al. (1984), and to hold at every larger threshold, too. Where none does, all texts are sent on.

    Errors: :class:`SettingsError` without a teacher.
    """
    if outcomes.teacher is None:
        raise SettingsError("a cascade equals its teacher, and none is given: name a run, or a teacher")
    return _smallest_that_stays(outcomes, outcomes.teacher.astype(float) - outcomes.right, points, errors)


def threshold_at_accuracy(outcomes: Outcomes, accuracy: float, errors: float = ERRORS) -> float:
    """The smallest threshold with this accuracy, with ``errors`` standard errors to spare (Wilson 1927).

    With a teacher it is that of the cascade, which has to keep it at every larger threshold; without one that of what
    is decided (Geifman and El-Yaniv 2017 give a bound of it), where that is a text at least.

    Errors: :class:`SettingsError` where none reaches it.
    """
    if not 0 < accuracy <= 1:
        raise SettingsError(f"the accuracy is {accuracy:g}: give a number above 0, and 1 at most")
    thresholds, sent = outcomes.candidates()
    order = np.argsort(outcomes.confidence, kind="stable")
    right = outcomes.right[order].astype(float)
    upto = np.append(0, np.cumsum(right))
    if outcomes.teacher is not None:
        n = np.full(len(sent), len(right))
        mean = (upto[-1] - upto[sent] + np.append(0, np.cumsum(outcomes.teacher[order]))[sent]) / len(right)
    else:
        thresholds, sent = thresholds[:-1], sent[:-1]
        n = len(right) - sent
        mean = (upto[-1] - upto[sent]) / n
    good = intervals.wilson(mean, n, errors)[0] >= accuracy
    if outcomes.teacher is not None:
        good = np.logical_and.accumulate(good[::-1])[::-1]
    if not good.any():
        raise SettingsError(
            f"no threshold has an accuracy of {accuracy:.2%} with {errors:g} standard error to spare on these "
            f"{len(right):,} texts, the best has {mean.max():.2%}: ask for less, or give more texts"
        )
    return float(thresholds[good.argmax()])


def threshold_of_none(outcomes: Outcomes, none: np.ndarray) -> float:
    """The threshold that best tells texts of ``none`` of the labels, bool (n,), from the others.

    It has the largest mean of two shares: of the others, those that are decided and right; of none, those that are not
    decided. So it does not matter how many texts of none there are.

    Errors: :class:`SettingsError` where there are none of either.
    """
    if none.all() or not none.any():
        raise SettingsError(
            f"{'all' if none.all() else 'no'} texts have none of the labels: give both kinds, or choose by a share"
        )
    thresholds, sent = outcomes.candidates()
    order = np.argsort(outcomes.confidence, kind="stable")
    rejected = np.append(0, np.cumsum(none[order]))[sent] / none.sum()
    lost = np.append(0, np.cumsum((outcomes.right & ~none)[order]))[sent] / (~none).sum()
    return float(thresholds[(rejected - lost).argmax()])


def _smallest_that_stays(outcomes: Outcomes, loss: np.ndarray, most: float, errors: float) -> float:
    """Smallest threshold from which on the mean loss of what is not sent on, over all texts, is at most ``most``."""
    thresholds, sent = outcomes.candidates()
    order = np.argsort(outcomes.confidence, kind="stable")
    first, second = ((total := np.append(0, np.cumsum(loss[order] ** power)))[-1] - total for power in (1, 2))
    mean = first[sent] / len(loss)
    error = np.sqrt(np.maximum(second[sent] / len(loss) - mean**2, 0) / len(loss))
    above = np.flatnonzero(mean + errors * error > most + 1e-12)
    return float(thresholds[above[-1] + 1 if len(above) else 0])


# ---- curves ----------------------------------------------------------------------------------------------------------


def curves(
    outcomes: Outcomes, costs: tuple[float, float] | None = None, resamples: int = intervals.RESAMPLES, seed: int = 0
) -> dict[str, Any]:
    """The curves as values that JSON can hold; figures have ``value``, ``low`` and ``high`` (a bootstrap interval).

    ``classifier`` and ``teacher``: accuracies. ``risk``: of some coverages, ``threshold``, ``coverage`` and the
    ``risk``, which is the share of errors among what is decided; ``area``: that below the curve of all coverages.
    With a teacher ``cascade``: of some shares ``threshold``, ``share``, ``accuracy`` and, with the ``costs`` of a text
    to classifier and teacher, the mean ``cost`` of a text.
    """
    thresholds, sent = outcomes.candidates()
    n = len(outcomes.right)
    wanted = np.searchsorted(sent, np.linspace(0, n, POINTS).astype(int))
    shown = [(float(thresholds[i]), int(sent[i]) / n) for i in dict.fromkeys(wanted.tolist())]
    decided = Outcomes(outcomes.confidence, outcomes.right)
    found = {"classifier": _mean(outcomes.right), "area": Figure(area_below_risk(outcomes))}
    found |= {f"risk {at}": _mean(~outcomes.right, ~decided.sent(at)) for at, share in shown if share < 1}
    if outcomes.teacher is not None:
        found |= {"teacher": _mean(outcomes.teacher), **{f"accuracy {at}": outcomes.accuracy(at) for at, _ in shown}}
    figures = intervals.measured(found, n, resamples, seed)
    result: dict[str, Any] = {name: figures[name] for name in ("classifier", "teacher", "area") if name in figures}
    result["risk"] = [
        {"threshold": at, "coverage": 1 - share, "risk": figures[f"risk {at}"]} for at, share in shown if share < 1
    ]
    if outcomes.teacher is not None:
        result["cascade"] = [
            {"threshold": at, "share": share, "accuracy": figures[f"accuracy {at}"], **_cost(share, costs)}
            for at, share in shown
        ]
    return result


def at_threshold(
    outcomes: Outcomes, threshold: float, costs: tuple[float, float] | None = None,
    resamples: int = intervals.RESAMPLES, seed: int = 0,
) -> dict[str, Any]:  # fmt: skip
    """What a threshold gives: ``share`` of the texts below it and, as figures, the ``accuracy`` of :class:`Outcomes`.

    With a teacher also the ``difference`` to its accuracy, and with ``costs`` the mean ``cost`` of a text.
    """
    figures = {"accuracy": outcomes.accuracy(threshold)}
    if outcomes.teacher is not None:
        figures["difference"] = _mean(
            np.where(outcomes.sent(threshold), 0.0, outcomes.right.astype(float) - outcomes.teacher)
        )
    share = float(outcomes.sent(threshold).mean())
    measured = intervals.measured(figures, len(outcomes.right), resamples, seed)
    return {"threshold": threshold, "share": share, **_cost(share, costs), **measured}


def area_below_risk(outcomes: Outcomes) -> Any:
    """The area below the curve of risk against coverage (Geifman and El-Yaniv 2017), as a function of weights.

    It is the mean, over the texts, of the share of errors among those at least as confident.
    """
    order = np.argsort(-outcomes.confidence, kind="stable")
    ranked, wrong = outcomes.confidence[order], (~outcomes.right[order]).astype(float)[:, None]
    ends = np.append(np.flatnonzero(np.diff(ranked)), len(ranked) - 1)  # equal confidences have one place

    def of(weights: np.ndarray) -> np.ndarray:
        weights = weights[order]
        total, errors = np.cumsum(weights, axis=0)[ends], np.cumsum(weights * wrong, axis=0)[ends]
        own = np.diff(total, axis=0, prepend=0.0)
        result: np.ndarray = (own * errors / np.maximum(total, 1e-12)).sum(axis=0) / total[-1]
        return result

    return of


def _mean(values: np.ndarray, of: np.ndarray | None = None) -> Figure:
    """The mean of (n,), or of some of them, bool (n,)."""
    numbers = values.astype(np.float64)
    some = np.ones(len(numbers)) if of is None else of.astype(np.float64)
    return Figure(lambda weights: (numbers * some) @ weights / (some @ weights), "no text is decided")


def _cost(share: float, costs: tuple[float, float] | None) -> dict[str, float]:
    return {} if costs is None else {"cost": costs[0] + share * costs[1]}
