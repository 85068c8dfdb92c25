"""Why a text got its label."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from . import _core
from .heads import asked_heads
from .rows import numbers

if TYPE_CHECKING:
    from .classifier import Classifier


@dataclass(frozen=True)
class Explanation:
    """Why a text got its label: ``logit`` = ``bias`` + the sum of all contributions, to rounding.

    ``contributions`` are (n-gram, number) of the n-grams found, repeated ones summed, largest magnitude first; one of
    characters is written like a pattern: "ca*" begins a word, "*at" ends one, "*rri*" is inside. With a
    hidden layer the rule is gradient times input: each n-gram counts with the weights that the ReLUs let through *for
    this text*, and where the largest number of a column is taken, the first n-gram that has it counts. With several
    labels, one of which applies, logits are taken relative to their mean over the labels, since only differences
    between logits matter there.
    """

    label: str
    logit: float
    bias: float
    contributions: list[tuple[str, float]]


def explain(
    classifier: Classifier, text: str | tuple[str, str], label: str | None, top: int | None, name: str | None
) -> Explanation:
    """See :meth:`sparsedistill.Classifier.explain`; ``name``: of the head."""
    heads = asked_heads(classifier.heads, name)
    if len(heads) > 1:
        known = ", ".join(one.name for one in classifier.heads)
        raise ValueError(f"the classifier has several heads, of which one is explained: name it ({known})")
    head = heads[0]
    if label is not None and label not in head.labels:
        raise ValueError(f"no label {label!r}: {', '.join(head.labels)}")
    if isinstance(text, str):
        found, rows = _found(classifier, text)
        ngrams = [("", ngram) for ngram in found]
    else:
        (found, a), (others, b) = (_found(classifier, half) for half in text)
        ngrams = [("first: ", ngram) for ngram in found] + [("second: ", ngram) for ngram in others]
        rows = _compared(a, b)
    # The ReLUs leave a linear map for this text: x = rows.sum(axis=0) @ through + constant, layer by layer.
    x = rows.sum(axis=0) + classifier._bias
    through, constant = np.eye(len(x)), classifier._bias.astype(np.float64)
    relu = classifier._relu_first
    for weight, bias in classifier._layers:
        if relu:
            active = x > 0
            x, through, constant = x * active, through * active, constant * active
        x, through, constant = x @ weight + bias, through @ weight, constant @ weight + bias
        relu = True
    x, through, constant = x[head.outputs], through[:, head.outputs], constant[head.outputs]
    if label is None:
        which = int(head.ranked(classifier._logits(text, 1, "error")[None, head.outputs])[0, 0])
    else:
        which = head.labels.index(label)
    column, shift, offset = through[:, which], x[which], constant[which]
    if head.task == "single":
        column, shift, offset = column - through.mean(axis=1), shift - x.mean(), offset - constant.mean()
    sums: dict[tuple[str, str], float] = {}
    for ngram, contribution in zip(ngrams, (rows @ column).tolist(), strict=True):
        sums[ngram] = sums.get(ngram, 0.0) + contribution
    named = [(half + _shown(ngram), number) for (half, ngram), number in sums.items()]
    ranked = sorted(named, key=lambda item: (-abs(item[1]), item[0]))
    return Explanation(head.labels[which], float(shift), float(offset), ranked[:top])


def _shown(ngram: str) -> str:
    """An n-gram as it is shown: one of characters is a run behind a space, in which a space is a border of the word."""
    if not ngram.startswith(" "):
        return ngram
    run = ngram[1:]
    return f"{'' if run[0] == ' ' else '*'}{run.strip(' ')}{'' if run[-1] == ' ' else '*'}"


def _found(classifier: Classifier, text: str) -> tuple[list[str], np.ndarray]:
    """The n-grams of a text that have a row, and what each adds to the pooled vector."""
    try:
        ngrams = classifier._lookup.ngrams(text)
    except _core.Damaged as error:
        raise classifier._damaged(error) from None
    rows = stored(classifier, np.array([row for _, row in ngrams], np.int64)).astype(np.float64)
    scaled = rows if classifier._scale is None else rows * classifier._scale
    return [ngram for ngram, _ in ngrams], _shares(classifier._pooling, scaled)


def stored(classifier: Classifier, ids: np.ndarray) -> np.ndarray:
    """The numbers (n, width) of rows, as they are stored. With values in the slots an id counts slots."""
    if classifier._rows is not None:
        if classifier._rows.dtype == np.uint8:  # int4
            return numbers(classifier._rows[ids])[:, : classifier._width]
        rows = classifier._rows[ids, : classifier._width]
        if rows.dtype != np.float16:
            return rows
        # float16's largest exponent is one like the others here, not infinity and NaN.
        bits = rows.view(np.uint16).astype(np.uint32)
        return ((bits & 0x8000) << 16 | (bits & 0x7FFF) << 13).view(np.float32).astype(np.float64) * 2.0**112
    slots = 64 // (4 + 2 * classifier._width)  # a line
    columns = ids[:, None] % slots * classifier._width + np.arange(classifier._width)
    result: np.ndarray = classifier._tensors["slots"].view(np.int16)[ids[:, None] // slots, columns]
    return result


def _shares(pooling: str, rows: np.ndarray) -> np.ndarray:
    """What each of a text's rows (n, W) adds to the pooled vector."""
    with np.errstate(invalid="ignore", over="ignore"):
        rows = np.where(np.isfinite(rows.sum(axis=0)), rows, 0.0)  # a column without a finite sum explains nothing
    if pooling == "sum":
        return rows
    if pooling == "attentive":
        weights = rows[:, -1].sum()
        return rows[:, :-1] / weights if weights else np.zeros_like(rows[:, :-1])
    mean: np.ndarray = rows / max(len(rows), 1) ** (0.5 if pooling == "sqrtn" else 1.0)
    if pooling in ("mean", "sqrtn"):
        return mean
    largest = np.zeros_like(rows)
    if len(rows):
        columns = np.arange(rows.shape[1])
        largest[rows.argmax(axis=0), columns] = rows.max(axis=0)
    return largest if pooling == "max" else np.hstack([mean, largest])


def _compared(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """What rows (n, P) and (m, P) of two texts add to the vector that compares these: (n + m, 4 P)."""
    first, second = a.sum(axis=0), b.sum(axis=0)
    sign = np.sign(first - second)
    return np.vstack(
        [
            np.hstack([a, np.zeros_like(a), a * second / 2, a * sign]),
            np.hstack([np.zeros_like(b), b, b * first / 2, -b * sign]),
        ]
    )
