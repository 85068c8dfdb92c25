"""Abstention: what a classifier leaves undecided, because it is not sure enough or knows too little of the text.

The confidence of a prediction is :meth:`Head.confidence`, a calibrated probability where there is a calibration. A
threshold of it may stand in ``config.json`` under a name: an object in ``abstentions`` of a head, with ``name``,
``threshold``, and ``known``, whether the confidence is first multiplied with the share of a text's n-grams that the
classifier knows (:func:`sparsedistill.coverage.known_shares`). That tells texts of none of the labels ("out of scope")
better than the probability alone, which is high wherever the one known word of a text is that of a label.
"""

from __future__ import annotations

import copy
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from .coverage import known_shares
from .errors import FormatError, SettingsError
from .heads import Head, asked_heads, each
from .inputs import is_one

if TYPE_CHECKING:
    from .classifier import Classifier

FIELD = "abstentions"  # of a head in config.json


@dataclass(frozen=True)
class Abstention:
    """Where a head abstains: below ``threshold``, of the confidence or, with ``known``, of its product with the share
    of known n-grams.
    """

    threshold: float
    known: bool = False

    def doubtful(self, confidence: np.ndarray, known: np.ndarray | None) -> np.ndarray:
        """Which of n predictions are left undecided, bool (n,): confidences (n,), shares of known n-grams (n,)."""
        result: np.ndarray = (confidence * known if known is not None and self.known else confidence) < self.threshold
        return result


def abstentions_of(
    classifier: Classifier, heads: tuple[Head, ...], min_confidence: float | str
) -> dict[str, Abstention]:
    """Where each of ``heads`` abstains, by name, but regressions: below a number, or the threshold of this name.

    Errors: :class:`SettingsError` for a name that none has, for what is no number, and for regressions alone.
    """
    labelled = [head for head in heads if head.task != "regression"]
    if not labelled:
        raise SettingsError("a regression has no confidence: leave out min_confidence, or store a cut of its scores")
    if not isinstance(min_confidence, str):
        if isinstance(min_confidence, bool) or not _is_number(min_confidence):
            raise SettingsError(f"min_confidence is {min_confidence!r}: give a probability, such as 0.8, or a name")
        return {head.name: Abstention(float(min_confidence)) for head in labelled}
    stored = [(head, one) for head, one in stored_abstentions(classifier) if head in labelled]
    if found := {head.name: one for head, (name, one) in stored if name == min_confidence}:
        return found
    names = ", ".join(dict.fromkeys(name for _, (name, _) in stored))
    known = f"it has {names}" if names else "it has none; sparsedistill cascade fits and stores one"
    raise SettingsError(f"the classifier has no threshold {min_confidence!r} of confidence: {known}")


def stored_abstentions(classifier: Classifier) -> list[tuple[Head, tuple[str, Abstention]]]:
    """Each head with the name of a threshold that is stored for it, and that. Errors: :class:`FormatError`."""
    config, found = classifier._config, []
    for head, described in zip(classifier.heads, config.get("heads", [config]), strict=True):
        for one in described.get(FIELD, []):
            if not _is_stored(one):
                place = f"{classifier.path or 'the classifier'}: config.json: {FIELD}"
                raise FormatError(f"{place} has {one!r:.80}, which is no threshold with a name")
            found.append((head, (one["name"], Abstention(float(one["threshold"]), one["known"]))))
    return found


def with_abstention(config: dict[str, Any], head: Head, name: str, one: Abstention) -> dict[str, Any]:
    """The ``config.json`` of a classifier with a threshold of one of its heads, in place of one that has its name."""
    config = copy.deepcopy(config)
    for described in config.get("heads", [config]):
        if "heads" not in config or described["name"] == head.name:
            others = [old for old in described.get(FIELD, []) if old.get("name") != name]
            described[FIELD] = [*others, {"name": name, "threshold": one.threshold, "known": one.known}]
    return config


def abstained(predicted: list[Any], doubtful: np.ndarray, instead: Any = None) -> list[Any]:
    """Decisions of n texts, with ``instead`` where they are ``doubtful``, bool (n,)."""
    return [instead if no else one for one, no in zip(predicted, doubtful.tolist(), strict=True)]


def predict_confident(
    classifier: Classifier, texts: Any, threads: int, nulls: str, head: str | None, max_bytes: int | str | None,
    min_confidence: float | str,
) -> Any:  # fmt: skip
    """:meth:`Classifier.predict` of whole texts with ``min_confidence``: None where a head abstains."""
    asked, one = asked_heads(classifier.heads, head), is_one(texts, classifier.pairs)
    limits = abstentions_of(classifier, asked, min_confidence)
    many = [texts] if one else list(texts) if hasattr(texts, "__next__") else texts  # what can be read only once
    known = known_of(classifier, limits, many, threads, nulls, max_bytes)
    logits = classifier._logits(many, threads, nulls, max_bytes)

    def answer(head: Head) -> Any:
        own = logits[:, head.outputs]
        predicted = head.decide(own)
        if limit := limits.get(head.name):
            predicted = abstained(predicted, limit.doubtful(head.confidence(head.probabilities(own)), known))
        return predicted[0] if one else predicted

    return each(asked, head, answer)


def known_of(
    classifier: Classifier, limits: dict[str, Abstention], texts: Any, threads: int, nulls: str,
    max_bytes: int | str | None,
) -> np.ndarray | None:  # fmt: skip
    """:func:`known_shares`, where a threshold needs them. Errors: :class:`SettingsError` with ``max_bytes``."""
    if not any(limit.known for limit in limits.values()):
        return None
    if max_bytes is not None:
        raise SettingsError("this threshold goes by the n-grams of whole texts: leave out max_bytes")
    return known_shares(classifier, texts, threads, nulls)


def _is_number(value: Any) -> bool:
    try:
        return math.isfinite(value)
    except TypeError:
        return False


def _is_stored(one: Any) -> bool:
    return (
        isinstance(one, dict)
        and isinstance(one.get("name"), str)
        and type(one.get("threshold")) in (int, float)
        and math.isfinite(one["threshold"])
        and isinstance(one.get("known"), bool)
    )
