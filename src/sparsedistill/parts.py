"""What a classifier answers for the parts of texts: sentences, paragraphs or windows of words."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from . import _core
from .abstain import Abstention, abstained, abstentions_of
from .errors import SettingsError
from .heads import Head, asked_heads, each
from .inputs import asked_of_core, is_one

if TYPE_CHECKING:
    from .classifier import Classifier

OFFSETS = ("characters", "bytes")


class Part(NamedTuple):
    """One part of a text: where it starts and ends (``text[start:end]``), and its prediction."""

    start: int
    end: int
    prediction: Any


_part = partial(tuple.__new__, Part)


class Decided(NamedTuple):
    """What a head decides for n texts or parts.

    ``values``: float64 (n, C), calibrated probabilities, pooled where they are of parts; of a regression its scores
    (n, 1). ``predicted``: as :meth:`Head.decide` gives it. ``ranked`` gives the numbers of the labels (n, C), the
    likeliest first.
    """

    head: Head
    values: np.ndarray
    predicted: list[Any]
    ranked: Callable[[], np.ndarray]


def decided(heads: tuple[Head, ...], logits: np.ndarray) -> list[Decided]:
    """What each head decides for logits (n, outputs), those of all heads."""
    return [_decided(head, logits[:, head.outputs]) for head in heads]


def _decided(head: Head, logits: np.ndarray) -> Decided:
    if head.task == "regression":
        return Decided(head, head.scores(logits)[:, None], head.decide(logits), lambda: np.zeros(logits.shape, int))
    values = head.probabilities(logits)
    predicted = head.chosen(values) if head.task == "multi" else head.decide(logits)
    return Decided(head, values, predicted, lambda: head.ranked(logits))


def sure(
    answer: Decided, limits: Mapping[str, Abstention], known: np.ndarray | None = None, none: Any = None
) -> Decided:
    """With ``none`` for what the head abstains from, by the limit of its name and the shares of ``known`` n-grams."""
    if limit := limits.get(answer.head.name):
        doubtful = limit.doubtful(answer.head.confidence(answer.values), known)
        return answer._replace(predicted=abstained(answer.predicted, doubtful, none))
    return answer


@dataclass(frozen=True, eq=False)
class Parts:
    """The parts of n texts, end to end, in order.

    ``logits``: float32 (P, outputs), of all heads. ``offsets``: int64 (P, 2), start and end of each part in its text.
    ``counts``: int64 (n,), number of parts of each text.
    """

    logits: np.ndarray
    offsets: np.ndarray
    counts: np.ndarray

    @property
    def text_of(self) -> np.ndarray:
        """Number of the text of each part, int64 (P,)."""
        return np.repeat(np.arange(len(self.counts)), self.counts)

    def split(self, values: Any) -> Iterator[Any]:
        """The slice of ``values``, one a part, of each text."""
        end = 0
        for count in self.counts.tolist():
            begin, end = end, end + count
            yield values[begin:end]

    def predictions(self, head: Head, limits: Mapping[str, Abstention]) -> list[list[Part]]:
        """The parts of each text, with the decisions of one head; None below its limit."""
        starts, ends = self.offsets.T.tolist()
        logits = self.logits[:, head.outputs]
        predicted = sure(_decided(head, logits), limits).predicted if head.name in limits else head.decide(logits)
        # Part(...) is a function in Python, whose calls cost more than all else: parts are many.
        return list(self.split(list(map(_part, zip(starts, ends, predicted, strict=True)))))

    def pooled(self, head: Head, pool: str, empty: np.ndarray) -> Decided:
        """One decision a text, from its parts' calibrated probabilities or scores, pooled a label each.

        Where labels have the same share of parts, their means decide. ``empty``: the logits (1, outputs) of the empty
        text, whose result is that of a text without parts.
        """
        how, number = pooling_of(pool)
        logits, none = self.logits[:, head.outputs], np.flatnonzero(self.counts == 0)
        parts = np.ascontiguousarray(_decided(head, logits).values, np.float64)
        of_empty = _decided(head, empty[:, head.outputs])
        values = _core.pool_parts(parts, self.counts, how, number)
        order = (-values,) if how != "share" else (-_core.pool_parts(parts, self.counts, "mean"), -values)
        values[none] = of_empty.values
        ranked = np.lexsort(order, axis=1)
        ranked[none] = of_empty.ranked()
        if head.task == "regression":
            predicted: list[Any] = values[:, 0].tolist()
        elif head.task == "multi":
            predicted = head.chosen(values)
        else:
            predicted = [head.labels[i] for i in ranked[:, 0].tolist()]
        for i in none.tolist():
            predicted[i] = of_empty.predicted[0]
        return Decided(head, values, predicted, lambda: ranked)


def pooling_of(pool: str) -> tuple[str, float]:
    """(pooling, number) of "mean", "max", "topK" (mean of the K largest) or "share:T" (share of those of T or more).

    Errors: ValueError for any other name.
    """
    if pool in ("mean", "max"):
        return pool, 0.0
    if found := re.fullmatch(r"top([1-9][0-9]{0,8})", pool):
        return "top", float(found[1])
    if found := re.fullmatch(r"share:([-+]?[0-9]*\.?[0-9]+)", pool):
        return "share", float(found[1])
    raise ValueError(f"pool is {pool!r}: give 'mean', 'max', 'top3' or 'share:0.5', with any numbers")


def cutting_of(parts: str) -> tuple[str, int, int]:
    """(kind, size, step) of "sentence", "paragraph" or "window:SIZE/STEP", in words. Errors: ValueError."""
    if parts in ("sentence", "paragraph"):
        return parts, 0, 0
    if found := re.fullmatch(r"window:([0-9]{1,9})/([0-9]{1,9})", parts):
        size, step = int(found[1]), int(found[2])
        if 1 <= step <= size:
            return "window", size, step
        raise ValueError(f"parts is {parts!r}: a step is of 1 word at least and {size}, the size, at most")
    raise ValueError(f"parts is {parts!r}: give 'sentence', 'paragraph' or 'window:200/100' (words, and step in words)")


def predict_parts(
    classifier: Classifier,
    texts: Any,
    threads: int,
    nulls: str,
    parts: str | None,
    pool: str | None,
    offsets: str,
    head: str | None,
    max_bytes: int | str | None = None,
    min_confidence: float | str | None = None,
) -> Any:
    """A result a text; of one str that of it alone.

    The arguments are those of :meth:`Classifier.predict`. Errors: ValueError for one of them that cannot be.
    """
    if parts is None:
        raise ValueError("pool is of parts: give parts too, such as parts='sentence'")
    if max_bytes is not None:
        raise ValueError("max_bytes is of whole texts, and parts are all of a text: leave out one of them")
    if pool is not None:
        pooling_of(pool)  # refused before any work
    wanted, one = asked_heads(classifier.heads, head), is_one(texts, False)
    limits = {} if min_confidence is None else limits_of_parts(classifier, wanted, min_confidence)
    result = parts_of(classifier, [texts] if one else texts, parts, offsets, threads, nulls)
    of_empty = classifier._logits([""] * (pool is not None), 1, "error")

    def answer(head: Head) -> Any:
        if pool is None:
            answers = result.predictions(head, limits)
        else:
            answers = sure(result.pooled(head, pool, of_empty), limits).predicted
        return answers[0] if one else answers

    return each(wanted, head, answer)


def limits_of_parts(
    classifier: Classifier, heads: tuple[Head, ...], min_confidence: float | str
) -> dict[str, Abstention]:
    """:func:`abstentions_of`. Errors: :class:`SettingsError` also for a threshold that goes by known n-grams."""
    limits = abstentions_of(classifier, heads, min_confidence)
    if any(limit.known for limit in limits.values()):
        raise SettingsError(f"the threshold {min_confidence!r} goes by the n-grams of whole texts: leave out parts")
    return limits


def parts_of(
    classifier: Classifier, texts: Any, parts: str, offsets: str = "characters", threads: int = 0, nulls: str = "error"
) -> Parts:
    """Many texts cut into ``parts``, and each scored as a text of its own.

    The arguments are those of :meth:`Classifier.predict`. Errors: ValueError for one of them that cannot be.
    """
    if offsets not in OFFSETS:
        raise ValueError(f"offsets is {offsets!r}: give 'characters' or 'bytes'")
    how = cutting_of(parts)
    given, granted, empty_nulls = asked_of_core(texts, False, threads, nulls)
    try:
        return Parts(*classifier._model.score_parts(given, *how, offsets == "characters", granted, empty_nulls))
    except _core.Damaged as error:
        raise classifier._damaged(error) from None
