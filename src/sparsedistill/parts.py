"""What a classifier answers for the parts of texts: sentences, paragraphs or windows of words."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from .heads import Head, asked_heads, each
from .inputs import asked_of_core, is_one


class Part(NamedTuple):
    """One part of a text: where it starts and ends (``text[start:end]``), and its prediction."""

    start: int
    end: int
    prediction: Any


@dataclass(frozen=True, eq=False)
class Parts:
    """The parts of n texts, end to end, in order.

    ``logits``: float32 (P, outputs), of all heads. ``offsets``: int64 (P, 2), start and end of each part in its text.
    ``counts``: int64 (n,), number of parts of each text.
    """

    logits: np.ndarray
    offsets: np.ndarray
    counts: np.ndarray

    def split(self, values: Any) -> Iterator[Any]:
        """The slice of ``values``, one a part, of each text."""
        end = 0
        for count in self.counts.tolist():
            begin, end = end, end + count
            yield values[begin:end]

    def predictions(self, head: Head) -> list[list[Part]]:
        """The parts of each text, with the decisions of one head."""
        decided = head.decide(self.logits[:, head.outputs])
        parts = [Part(start, end, one) for (start, end), one in zip(self.offsets.tolist(), decided, strict=True)]
        return list(self.split(parts))

    def pooled(self, head: Head, pool: str, empty: np.ndarray) -> list[Any]:
        """One decision a text, from its parts' calibrated probabilities or scores (C of them), pooled a label each.

        ``empty``: the logits (outputs,) of the empty text, which decide where a text has no part.
        """
        logits, score = self.logits[:, head.outputs], head.task == "regression"
        values = head.scores(logits)[:, None] if score else head.probabilities(logits)
        pooling, of_none = pooling_of(pool), head.decide(empty[None, head.outputs])[0]
        return [_decide(head, pooling(of_text)) if len(of_text) else of_none for of_text in self.split(values)]


def _decide(head: Head, pooled: np.ndarray) -> Any:
    """The decision for pooled probabilities (C,), or a pooled score (1,)."""
    if head.task == "regression":
        return float(pooled[0])
    if head.task == "single":
        return head.labels[int(pooled.argmax())]
    return [label for label, yes in zip(head.labels, pooled >= head.thresholds, strict=True) if yes]


def pooling_of(pool: str) -> Callable[[np.ndarray], np.ndarray]:
    """From (P, C) to (C,): "mean", "max", "topK" (mean of the K largest) or "share:T" (share of those of T or more).

    Errors: ValueError for any other name.
    """
    if pool == "mean":
        return lambda values: np.asarray(values.mean(axis=0, dtype=np.float64))
    if pool == "max":
        return lambda values: np.asarray(values.max(axis=0))
    if found := re.fullmatch(r"top([1-9][0-9]{0,8})", pool):
        most = int(found[1])
        return lambda values: np.asarray(np.sort(values, axis=0)[-most:].mean(axis=0, dtype=np.float64))
    if found := re.fullmatch(r"share:([-+]?[0-9]*\.?[0-9]+)", pool):
        least = float(found[1])
        return lambda values: np.asarray((values >= least).mean(axis=0))
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
    model: Any,
    heads: tuple[Head, ...],
    texts: Any,
    threads: int,
    nulls: str,
    parts: str | None,
    pool: str | None,
    offsets: str,
    head: str | None,
) -> Any:
    """A result a text, of the core's ``model``; of one str that of it alone.

    The other arguments are those of :meth:`Classifier.predict`. Errors: ValueError for one of them that cannot be.
    """
    if parts is None:
        raise ValueError("pool is of parts: give parts too, such as parts='sentence'")
    if offsets not in ("characters", "bytes"):
        raise ValueError(f"offsets is {offsets!r}: give 'characters' or 'bytes'")
    if pool is not None:
        pooling_of(pool)  # refused before any work
    wanted, how, one = asked_heads(heads, head), cutting_of(parts), is_one(texts, False)
    given, granted, empty_nulls = asked_of_core([texts] if one else texts, False, threads, nulls)
    result = Parts(*model.score_parts(given, *how, offsets == "characters", granted, empty_nulls))
    of_empty = model.score([""] * (pool is not None), 1)

    def answer(head: Head) -> Any:
        answers = result.predictions(head) if pool is None else result.pooled(head, pool, of_empty[0])
        return answers[0] if one else answers

    return each(wanted, head, answer)
