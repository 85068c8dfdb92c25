"""Why a text got its label."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from . import _core, explained
from .heads import Head, asked_heads
from .rows import numbers

if TYPE_CHECKING:
    from .classifier import Classifier


class Span(NamedTuple):
    """An occurrence of an n-gram in the text as it was given, and what it adds to the logit.

    ``start`` and ``end`` are indices of the str, ``byte_start`` and ``byte_end`` of its UTF-8; ``second``: whether it
    is in the second text of a pair. The text between them, put through the classifier's rules of text (lower-casing,
    NFC, disguises), gives the n-gram, but where what stands around it decides how it is written (the two small sigmas,
    letters of other alphabets in a disguise); of a letter with accents it has all.
    """

    start: int
    end: int
    byte_start: int
    byte_end: int
    contribution: float
    second: bool = False


@dataclass(frozen=True)
class Evidence:
    """An n-gram of a text, what it adds to the logit at all its occurrences, and these, from left to right.

    Where near-duplicates ("not good", "good at") are grouped, it is a group. The rule: n-grams are taken by magnitude,
    and each of their occurrences takes all occurrences that overlap it and are not taken yet. ``ngram`` is the one that
    leads, ``members`` are all of the group with what each adds, ``contribution`` is their sum, so that the total stays,
    and ``spans`` reach over all that overlap there.
    """

    ngram: str
    contribution: float
    spans: tuple[Span, ...]
    members: tuple[tuple[str, float], ...] = ()


@dataclass(frozen=True)
class Explanation:
    """Why a text got its label: ``logit`` = ``bias`` + the sum of all contributions, to rounding.

    ``contributions`` are (n-gram, number) of the n-grams found, repeated ones summed, largest magnitude first, as many
    as were asked for; one of characters is written like a pattern: "ca*" begins a word, "*at" ends one, "*rri*" is
    inside. ``evidence`` are all of these, with where they stand in ``texts``, the text or the two of a pair. With
    several labels, one of which applies, logits are taken relative to their mean over the labels, since only
    differences between logits matter there.

    **The rule.** Contributions are gradient times input with the activations of this text held fixed (Simonyan et al.
    2014; Shrikumar et al. 2017): each row counts with the weights that the ReLUs let through *for this text*, which
    without the shares of the biases is LRP-0 (Bach et al. 2015). Where the largest number of a column is taken, the
    first n-gram that has it counts; where rows have weights (attentive pooling), these are held fixed, too; of two
    texts that are compared, a product is halved between them, and a difference goes to each by its sign.

    It has these properties: *completeness*, contributions and bias sum to the logit; *dummy*, an n-gram without a row
    adds 0; *linearity*, for students without hidden layers whose pooling is linear the contributions are the exact
    weights, over the number of n-grams where pooling is a mean, and those of a sum of two such students are the sums;
    *implementation invariance*, classifiers that are one function of the rows almost everywhere have one gradient, and
    get the same. It has not: *sensitivity*, what a ReLU holds back at 0 counts nothing though it may matter once
    another n-gram is gone (saturation), and so a contribution is in general not the change of the logit without the
    n-gram, which with a mean also changes the divisor. The ``bias`` is of this text: it holds what the open ReLUs let
    through of the layers' biases, and is the same for any text only without hidden layers.
    """

    label: str
    logit: float
    bias: float
    contributions: list[tuple[str, float]]
    evidence: tuple[Evidence, ...] = field(default=(), repr=False)
    texts: tuple[str, ...] = field(default=(), repr=False)

    def html(self) -> str:
        """A page that shows the texts, shaded by what the n-grams over each character add, and a table. Self-contained.

        What argues for the label is underlined, what argues against it has a dotted line, so that it does not
        take colour to see; light and dark as the reader's system.
        """
        return explained.page([self])

    def ansi(self, colour: bool | None = None) -> str:
        """The same for a terminal: ``colour`` None is colour where stdout is a terminal and ``NO_COLOR`` is not set.

        Without colour, what argues for the label stands in [+ +], what argues against it in [- -].
        """
        return explained.terminal(self, colour)


@dataclass(frozen=True)
class Attribution:
    """What the n-grams of a text add to the logits of all heads: ``rows`` (n, P) @ ``through`` (P, outputs)."""

    ngrams: list[tuple[bool, str]]  # whether it is of the second text; as it is shown
    rows: np.ndarray
    through: np.ndarray
    constant: np.ndarray
    logits: np.ndarray

    def of(self, head: Head) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Contributions (n, labels), and of each label bias and logit; of a single-label head less their mean."""
        through, bias, logits = (part[..., head.outputs] for part in (self.through, self.constant, self.logits))
        if head.task == "single":
            through, bias, logits = (part - part.mean(axis=-1, keepdims=True) for part in (through, bias, logits))
        return self.rows @ through, bias, logits


def attribution(classifier: Classifier, text: str | tuple[str, str]) -> Attribution:
    """By the rule of :class:`Explanation`, whose docstring has its properties."""
    if isinstance(text, str):
        found, rows = _found(classifier, text)
        ngrams = [(False, shown(ngram)) for ngram in found]
    else:
        (found, a), (others, b) = (_found(classifier, half) for half in text)
        ngrams = [(False, shown(ngram)) for ngram in found] + [(True, shown(ngram)) for ngram in others]
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
    return Attribution(ngrams, rows, through, constant, x)


def explain(
    classifier: Classifier, text: str | tuple[str, str], label: str | None, top: int | None, name: str | None,
    grouped: bool = False,
) -> Explanation:  # fmt: skip
    """See :meth:`sparsedistill.Classifier.explain`; ``name``: of the head."""
    head = one_head(classifier, name)
    if label is not None and label not in head.labels:
        raise ValueError(f"no label {label!r}: {', '.join(head.labels)}")
    found = attribution(classifier, text)
    if label is None:
        which = int(head.ranked(classifier._logits(text, 1, "error")[None, head.outputs])[0, 0])
    else:
        which = head.labels.index(label)
    added, biases, logits = found.of(head)
    texts = (text,) if isinstance(text, str) else tuple(text)
    spans = [one for second, half in enumerate(texts) for one in _spans(classifier, half, bool(second))]
    occurrences: dict[str, list[Span]] = {}
    for (second, ngram), place, number in zip(found.ngrams, spans, added[:, which].tolist(), strict=True):
        shown = f"{'second' if second else 'first'}: {ngram}" if classifier.pairs else ngram
        occurrences.setdefault(shown, []).append(place._replace(contribution=number))
    evidence = _ranked(Evidence(ngram, _sum(places), tuple(sorted(places))) for ngram, places in occurrences.items())
    if grouped:
        evidence = _grouped(evidence)
    named = [(one.ngram, one.contribution) for one in evidence[:top]]
    return Explanation(head.labels[which], float(logits[which]), float(biases[which]), named, tuple(evidence), texts)


def one_head(classifier: Classifier, name: str | None) -> Head:
    """The head of this name, or the only one. Errors: ValueError where there is none, or are several."""
    heads = asked_heads(classifier.heads, name)
    if len(heads) > 1:
        known = ", ".join(one.name for one in classifier.heads)
        raise ValueError(f"the classifier has several heads, of which one is explained: name it ({known})")
    return heads[0]


def _sum(places: Sequence[Span]) -> float:
    return sum((place.contribution for place in places), 0.0)


def _ranked(evidence: Iterable[Evidence]) -> list[Evidence]:
    return sorted(evidence, key=lambda one: (-abs(one.contribution), one.ngram))


def _spans(classifier: Classifier, text: str, second: bool) -> list[Span]:
    """Where the n-grams found stand, in the order in which the core finds them; contributions are yet to come."""
    spans = classifier._lookup.spans(text)
    data = np.frombuffer(text.encode("utf-8", "surrogatepass"), np.uint8)
    begins = np.append((data & 0xC0) != 0x80, True)  # a code point
    before = np.concatenate([[0], np.cumsum(begins)])
    # The bytes of a lone surrogate read as three code points: the whole of it is meant.
    starts, ends = before[spans[:, 0]] - ~begins[spans[:, 0]], before[spans[:, 1]]
    columns = zip(starts.tolist(), ends.tolist(), spans[:, 0].tolist(), spans[:, 1].tolist(), strict=True)
    return [Span(start, end, first, last, 0.0, second) for start, end, first, last in columns]


def _grouped(evidence: list[Evidence]) -> list[Evidence]:
    """Near-duplicates as one, by the rule of :class:`Evidence`."""
    groups: dict[int, list[list[tuple[Span, int]]]] = {}
    for second in (False, True):
        places = sorted((place, i) for i, one in enumerate(evidence) for place in one.spans if place.second == second)
        starts = np.array([place.start for place, _ in places], np.int64)
        widest = max((place.end - place.start for place, _ in places), default=0)
        free = set(range(len(places)))
        for at in sorted(free, key=lambda at: (places[at][1], at)):  # those of the largest n-gram first
            if at not in free:
                continue
            place, leader = places[at]
            near = range(*np.searchsorted(starts, [place.start - widest + 1, place.end]).tolist())
            members = [k for k in near if k in free and places[k][0].end > place.start]
            free.difference_update(members)
            groups.setdefault(leader, []).append([places[k] for k in members])
    return _ranked(_merged(evidence, leader, parts) for leader, parts in groups.items())


def _merged(evidence: list[Evidence], leader: int, parts: list[list[tuple[Span, int]]]) -> Evidence:
    """A group, from what overlaps each occurrence of its leader."""
    sums: dict[str, float] = {}
    spans = []
    for part in parts:
        places = [place for place, _ in part]
        first, last = min(places), max(places, key=lambda place: place.end)
        spans.append(first._replace(end=last.end, byte_end=last.byte_end, contribution=_sum(places)))
        for place, i in part:
            sums[evidence[i].ngram] = sums.get(evidence[i].ngram, 0.0) + place.contribution
    members = sorted(sums.items(), key=lambda item: (-abs(item[1]), item[0]))
    return Evidence(evidence[leader].ngram, _sum(spans), tuple(sorted(spans)), tuple(members))


def shown(ngram: str) -> str:
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
    scaled = _scaled(classifier, np.array([row for _, row in ngrams], np.int64))
    return [ngram for ngram, _ in ngrams], _shares(classifier._pooling, scaled)


def _scaled(classifier: Classifier, ids: np.ndarray) -> np.ndarray:
    rows = stored(classifier, ids).astype(np.float64)
    return rows if classifier._scale is None else rows * classifier._scale


def pooled_alone(classifier: Classifier, ids: np.ndarray) -> np.ndarray:
    """The pooled vector (n, P) of a text of each of these rows alone."""
    rows = _scaled(classifier, ids)
    if classifier._pooling == "attentive":
        return rows[:, :-1] / np.where(rows[:, -1:] == 0, 1, rows[:, -1:])
    return np.hstack([rows, rows]) if classifier._pooling == "mean+max" else rows


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
