"""Figures within slices of the texts (their source, language, year), and what is left when the slice is known."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from . import figures
from .intervals import Figure

LEAST, MOST = 30, 50  # texts of a slice that is shown, and slices
OTHERS, NONE = "(others)", "(none)"
_HARDLY, _NEARLY_ALL = 0.1, 0.98


@dataclass(frozen=True)
class Slices:
    """The slices of n texts.

    ``names``: those that have figures, the largest first, at the end "(others)" if there are rare ones. ``place``: int
    (n,), the one of each text. ``own``: int (n,), its slice before the rare ones were put together. ``rare``: how many.
    """

    names: tuple[str, ...]
    place: np.ndarray
    own: np.ndarray
    rare: int


def slices_of(values: Sequence[Any], least: int = LEAST, most: int = MOST) -> Slices:
    """Slices by the values of a column; no value is the slice "(none)", however that is written.

    Slices of fewer than ``least`` texts, and all but the ``most`` largest, are "(others)".
    """
    names, own, counts = np.unique([name_of(value) for value in values], return_inverse=True, return_counts=True)
    order = np.argsort(-counts, kind="stable")
    shown = [i for i in order.tolist() if counts[i] >= least][:most]
    place_of = np.full(len(names), len(shown))
    place_of[shown] = np.arange(len(shown))
    rare = len(names) - len(shown)
    return Slices((*(str(names[i]) for i in shown), *([OTHERS] if rare else [])), place_of[own], own, rare)


def name_of(value: Any) -> str:
    """The slice of a value of a column."""
    if value is None or value != value or value == "":
        return NONE
    if isinstance(value, float) and value.is_integer():
        return str(int(value))  # integers beside a missing value
    return ", ".join(map(str, value)) if isinstance(value, list) else str(value)


def of_scores_within(
    predicted: np.ndarray, gold: np.ndarray, cuts: Sequence[float], slices: Slices
) -> dict[str, Figure]:
    """What scores (n,) tell within slices, of all slices together: what knowing the slice alone could not tell.

    ``pearson_centred``: Pearson's correlation of predicted and gold scores, each less its mean in the slice.
    ``kendall_within`` (tau-b) and ``auc_within_at_CUT``: of pairs of texts of the same slice alone. Rare slices count
    as they are. Beside these ``slice_r2``: the share of the variance of gold that the slices explain, which is what
    the best score would have that knew nothing but the slice (rare ones as one).
    """
    own = slices.own
    alike = "no two texts of a slice differ in {} scores"
    result = {
        "pearson_centred": Figure(figures.pearson(predicted, gold, own), alike.format("predicted, or none in gold,")),
        "kendall_within": Figure(
            figures.kendall(predicted, gold, own),
            alike.format("predicted, or none in gold,"),
            len(gold) <= figures.DEAR,
        ),
    }
    for cut in cuts:
        one_side = f"no slice has gold scores on both sides of {cut:g}"
        result[f"auc_within_at_{cut:g}"] = Figure(figures.auc(predicted, gold >= cut, own), one_side)
    result["slice_r2"] = Figure(_explained(gold, slices), "all gold scores are equal")
    return result


def _explained(gold: np.ndarray, slices: Slices) -> figures.Of:
    """The correlation ratio: 1 less the share of variance within slices."""
    order = figures.Order(np.zeros(len(gold)), slices.place)
    gold = gold - gold.mean()
    least = 1e-12 * (gold**2).sum()

    def of(weights: np.ndarray) -> np.ndarray:
        total, sums = order.sums(weights), order.sums(weights * gold[:, None])
        between = (sums**2 / np.where(total > 0, total, 1)).sum(axis=0)
        middle = (gold @ weights) ** 2 / weights.sum(axis=0)
        variance = (gold**2) @ weights - middle
        result: np.ndarray = (between - middle) / np.where(variance > least, variance, np.nan)
        return result

    return of


def of_labels_within(
    probabilities: np.ndarray, gold: np.ndarray, labels: Sequence[str], single: bool, slices: Slices
) -> dict[str, Figure]:
    """What probabilities (n, C) of labels tell within slices, against gold labels bool (n, C).

    ``auc_within:LABEL``: the AUC of pairs of texts of the same slice, one with the label and one without;
    ``macro_auc_within``: their mean over the labels that have such pairs. Of ``single`` labels also ``slice_accuracy``,
    that of giving each text the most frequent label of its slice (rare slices as one).
    """
    areas = {
        label: figures.kept(figures.auc(probabilities[:, c], gold[:, c], slices.own)) for c, label in enumerate(labels)
    }
    cheap = len(labels) <= figures.DEAR_LABELS
    result = {
        "macro_auc_within": Figure(
            figures.mean_of(list(areas.values())), "no slice has texts with and without a label", cheap
        )
    }
    if single:
        counts = np.zeros((len(slices.names), gold.shape[1]))
        np.add.at(counts, slices.place, gold)
        right = gold[np.arange(len(gold)), counts.argmax(axis=1)[slices.place]]
        result["slice_accuracy"] = Figure(lambda weights: right.astype(np.float64) @ weights / weights.sum(axis=0))
    for label, area in areas.items():
        result[f"auc_within:{label}"] = Figure(area, "no slice has texts with and without it", cheap)
    return result


def hardly_vary(gold: np.ndarray, slices: Slices) -> list[str]:
    """Names of the slices where a correlation, or an accuracy, says little, for there is hardly anything to tell apart.

    Gold scores (n,): their standard deviation in the slice is less than a tenth of that of all; gold labels bool
    (n, C): each label has less than 2 % or more than 98 % of the slice's texts.
    """
    found = []
    for i, name in enumerate(slices.names):
        inside = gold[slices.place == i].astype(np.float64)
        if gold.ndim == 1:
            flat = bool(inside.std() < _HARDLY * gold.std())
        else:
            share = inside.mean(axis=0)
            flat = bool((np.maximum(share, 1 - share) >= _NEARLY_ALL).all())
        if flat:
            found.append(name)
    return found
