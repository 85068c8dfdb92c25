"""Cut points of a score: from which score on a text is kept, overall and in each slice.

A cut is an object as JSON holds it: its ``name``; ``threshold``, the score from which on a text is kept; ``column``,
that of the slices, or ""; and ``slice``, value -> threshold, of those that have one of their own. It stands in the
``cuts`` of a head in ``config.json``.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from .artefact import version_of
from .classifier import Classifier
from .errors import FormatError, SettingsError
from .heads import Head
from .slices import LEAST, name_of, slices_of

_MOST_SLICES = 10_000


def cut_at_level(
    predicted: np.ndarray, gold: np.ndarray, level: float, slices: Sequence[Any] | None = None, *, name: str,
    column: str = "",
) -> dict[str, Any]:  # fmt: skip
    """The cut whose F1 is best where ``gold >= level`` is what to keep; gold may be a teacher's.

    Predicted and gold scores (n,); ``slices``: the n values of ``column``. A threshold lies half-way between two
    scores. A slice has one of its own where 30 texts or more are in it, with gold scores on both sides of the level.

    Errors: ValueError where gold is all on one side of the level.
    """
    wanted = np.asarray(gold) >= level
    if wanted.all() or not wanted.any():
        side = "at least" if wanted.any() else "below"
        raise ValueError(
            f"cut {name}: gold scores are all {side} {level:g}: give a level that some reach and some do not"
        )

    def best(rows: np.ndarray) -> float | None:
        keep = wanted[rows]
        if keep.all() or not keep.any():
            return None
        scores, kept, hits = _kept(predicted[rows], keep)
        return _threshold(scores, int((2 * hits / (kept + keep.sum())).argmax()))

    return _cut(predicted, slices, best, name, column)


def cut_at_share(
    predicted: np.ndarray, share: float, slices: Sequence[Any] | None = None, *, name: str, column: str = ""
) -> dict[str, Any]:
    """The cut that keeps a ``share`` of the texts, those with the highest scores, as nearly as equal scores allow.

    Arguments and result are those of :func:`cut_at_level`; with ``slices`` that share of each slice.

    Errors: ValueError for a share that does not lie between 0 and 1.
    """
    if not 0 < share < 1:
        raise ValueError(f"cut {name}: the share to keep is {share:g}: give a number between 0 and 1")

    def best(rows: np.ndarray) -> float | None:
        scores, kept, _ = _kept(predicted[rows], np.ones(len(rows), bool))
        return _threshold(scores, int(np.abs(kept - share * len(rows)).argmin()))

    return _cut(predicted, slices, best, name, column)


def keeps(cut: dict[str, Any], scores: np.ndarray, slices: Sequence[Any] | None = None) -> np.ndarray:
    """Whether each text is kept, bool (n,): scores (n,) and the n values of the column that the cut has slices of."""
    thresholds: Any = cut["threshold"]
    if slices is not None:
        thresholds = np.array([cut["slice"].get(name_of(value), thresholds) for value in slices])
    result: np.ndarray = np.asarray(scores, np.float64) >= thresholds
    return result


def with_cut(config: dict[str, Any], head: Head, cut: dict[str, Any]) -> dict[str, Any]:
    """The ``config.json`` of a classifier with a cut of one of its heads, in place of one that has its name."""
    config = copy.deepcopy(config)
    for one in config.get("heads", [config]):
        others = [old for old in one.pop("cuts", []) if old["name"] != cut["name"]]
        if others := others + [cut] * (one.get("name", "") == head.name or "heads" not in config):
            one["cuts"] = others
    return {**config, "format_version": version_of(config)}


def cut_of(classifier: Classifier, name: str) -> tuple[Head, dict[str, Any]]:
    """The cut of this name, and the head whose scores it is of.

    Errors: :class:`SettingsError` for a name that none has, or two; :class:`FormatError` for a cut that is none.
    """
    config, found, names = classifier.config, [], []
    for head, described in zip(classifier.heads, config.get("heads", [config]), strict=True):
        for cut in described.get("cuts", []):
            if not _is_cut(cut) or head.task != "regression":
                raise FormatError(f"{classifier.path or 'the classifier'}: config.json: cuts has {cut!r:.80}, no cut")
            names.append(cut["name"])
            found += [(head, cut)] * (cut["name"] == name)
    if len(found) != 1:
        known = f"it has {', '.join(names)}" if names else "it has none; sparsedistill cut makes one"
        raise SettingsError(f"the classifier has {'no' if not found else 'more than one'} cut {name!r}: {known}")
    return found[0]


def _is_cut(cut: Any) -> bool:
    def number(value: Any) -> bool:
        return type(value) in (int, float) and math.isfinite(value)

    return (
        isinstance(cut, dict)
        and isinstance(cut.get("name"), str)
        and isinstance(cut.get("column"), str)
        and number(cut.get("threshold"))
        and isinstance(cut.get("slice"), dict)
        and all(map(number, cut["slice"].values()))
    )


def _cut(predicted: np.ndarray, slices: Sequence[Any] | None, best: Any, name: str, column: str) -> dict[str, Any]:
    own: dict[str, float] = {}
    if slices is not None:
        if len(slices) != len(predicted):
            raise ValueError(f"cut {name}: {len(slices)} values of slices for {len(predicted)} scores")
        known = slices_of(slices, LEAST, _MOST_SLICES)
        for i, value in enumerate(known.names[: len(known.names) - bool(known.rare)]):
            if (threshold := best(np.flatnonzero(known.place == i))) is not None:
                own[value] = threshold
    return {"name": name, "threshold": best(np.arange(len(predicted))), "column": column, "slice": own}


def _kept(scores: np.ndarray, wanted: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Distinct scores, the highest first; how many texts have each or more, and how many of them are wanted."""
    order = np.argsort(-scores, kind="stable")
    ranked = scores[order].astype(np.float64)
    last = np.flatnonzero(np.append(np.diff(ranked) != 0, True))
    return ranked[last], last + 1, np.cumsum(wanted[order])[last]


def _threshold(scores: np.ndarray, last: int) -> float:
    """Half-way below the score at ``last``; below the lowest it is that itself."""
    below = scores[last + 1] if last + 1 < len(scores) else scores[last]
    middle = (scores[last] + below) / 2
    return float(middle if middle > below else scores[last])
