"""What is held out to choose on: of labelled texts, and of a corpus where there is no labelled text.

Equal texts (:func:`sparsedistill._core.fingerprints`) are one group and go together, so that nothing is learnt from a
text that figures are measured on. A text that is a large share of its class is worth more in train than in dev: it
stays. What is chosen depends on the texts and the seed, not on their order.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from ..errors import DataError, SettingsError

SHARE, MOST = 0.05, 2000  # of a corpus: lines held out, and texts of the dev part
_CANDIDATES = 4096  # distinct texts of a corpus whose copies are counted; a corpus has at most 400 frequent ones
_BINS = 10  # of the scores of a regression
_SELDOM = 3  # copies of a text which nobody would call frequent, where no text has fewer


def mixed(fingerprints: np.ndarray, seed: int) -> np.ndarray:
    """A seeded permutation of 64-bit fingerprints: their random order, uint64 (n,)."""
    keys = fingerprints ^ np.random.default_rng(seed).integers(0, 1 << 63, 1, np.uint64)
    for shift, factor in ((30, 0xBF58476D1CE4E5B9), (27, 0x94D049BB133111EB)):  # splitmix64's finaliser
        keys = (keys ^ (keys >> np.uint64(shift))) * np.uint64(factor)
    result: np.ndarray = keys ^ (keys >> np.uint64(31))
    return result


def hold_out(
    fingerprints: np.ndarray, fraction: float, seed: int, targets: np.ndarray | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """Choose which labelled texts leave train for dev: bool (n,), and which stand on both sides: bool (n,).

    ``targets``: class indices int (n,), 0/1 float (n, C) of a multi-label task, or scores float (n,), as in
    :class:`sparsedistill.data.labelled.Labelled`. Groups of equal texts leave together, about ``fraction`` of each
    class's texts (of each label's; of each tenth of the scores), and of every class with two or more distinct texts at
    least one, as far as ``fraction`` of all texts allows. Never does a class lose a group that is larger than its
    share, nor more than the larger of ``fraction`` and a half of its distinct texts.

    Where dev would so be empty, or have one class alone, copies of texts that stay in train stand for the classes that
    dev lacks, in the proportions of train: they are on both sides.

    Errors: :class:`SettingsError` for a fraction outside (0, 1); :class:`DataError` for fewer than two texts.
    """
    n = len(fingerprints)
    if not 0 < fraction < 1:
        raise SettingsError(f"the share to hold out is {fraction}, but must lie between 0 and 1")
    if n < 2:
        raise DataError(f"{n} labelled text{'' if n == 1 else 's'} cannot be split into train and dev; give more")
    size = min(max(round(n * fraction), 1), n - 1)
    keys, group, copies = np.unique(mixed(fingerprints, seed), return_inverse=True, return_counts=True)
    rows, strata = _strata(group, targets, size)
    # One entry for each group in each of its strata; groups are in random order, for keys are.
    entries, counts = np.unique(group[rows] * (strata.max() + 1) + strata, return_counts=True)
    of_group, of_stratum = np.divmod(entries, strata.max() + 1)
    texts, distinct = (np.bincount(of_stratum, weights=w).astype(np.int64) for w in (counts, None))
    single = len(rows) == n
    classes = targets is not None and targets.dtype.kind in "iu" and len(texts) > 1
    if classes:  # a dev set of one class tells nothing: of very few texts two are held out
        size = max(size, min(2, int((distinct > 1).sum())))
    quota = _quotas(texts, distinct, fraction, size if single else None, seed)
    unit = min(int(copies.min()), _SELDOM)  # a file that was written twice is one whose texts are all there twice
    share = np.rint(fraction * distinct).astype(np.int64)
    least = distinct - np.minimum(np.maximum(distinct // 2, share), distinct - 1)
    room_for = np.maximum(quota, unit) * (1 if single else 2)  # labels come together: not every share can be exact
    held, taken, left = np.zeros(len(keys), bool), np.zeros(len(texts), np.int64), distinct.copy()
    begins = np.searchsorted(of_group, np.arange(len(keys) + 1))
    by_stratum, ends, total = np.argsort(of_stratum, kind="stable"), np.cumsum(distinct), 0
    for stratum in np.argsort(texts, kind="stable"):  # the rarest first: those of a common label come by themselves
        for entry in by_stratum[ends[stratum] - distinct[stratum] : ends[stratum]]:
            room = quota[stratum] - taken[stratum]
            if room <= 0 or total >= size:
                break
            one = of_group[entry]
            if held[one] or counts[entry] > (room if taken[stratum] else max(room, unit)):
                continue
            its, theirs = of_stratum[begins[one] : begins[one + 1]], counts[begins[one] : begins[one + 1]]
            if (left[its] > least[its]).all() and (taken[its] + theirs <= room_for[its]).all():
                held[one] = True
                taken[its] += theirs
                left[its] -= 1
                total += int(copies[one])

    lacking: list[np.ndarray] = []
    if (taken > 0).sum() < (2 if classes else 1):
        none = np.flatnonzero((taken == 0) & (texts > 0))
        lacking = [rows[strata == stratum] for stratum in none] if classes else [np.arange(n)]
    return held[group], _copied(lacking, group, fraction)


def _copied(lacking: list[np.ndarray], group: np.ndarray, fraction: float) -> np.ndarray:
    """Which texts stand in dev and in train, too, bool (n,): of the rows of each class that dev lacks, its share."""
    both = np.zeros(len(group), bool)
    for rows in lacking:
        rows = rows[np.argsort(group[rows], kind="stable")]
        number = max(1, round(fraction * len(rows)))
        both[rows[((np.arange(number) + 0.5) * len(rows) / number).astype(np.int64)]] = True
    return both


def _strata(group: np.ndarray, targets: np.ndarray | None, size: int) -> tuple[np.ndarray, np.ndarray]:
    """(rows, strata): row ``rows[i]`` belongs to stratum ``strata[i]``; of a multi-label task a row may to several."""
    rows = np.arange(len(group))
    if targets is None:
        return rows, np.zeros(len(group), np.int64)
    if targets.ndim == 2:
        labels = targets > 0.5
        labels = np.hstack([labels, ~labels.any(axis=1, keepdims=True)])  # texts without a label are a class, too
        rows, strata = np.nonzero(labels)
        return rows, np.unique(strata, return_inverse=True)[1]
    if targets.dtype.kind in "iu":
        return rows, np.unique(targets, return_inverse=True)[1]
    copies = np.bincount(group)
    means = np.bincount(group, weights=targets.astype(np.float64)) / copies
    order = np.argsort(means, kind="stable")
    place = np.empty(len(copies))
    place[order] = (np.cumsum(copies[order]) - copies[order] / 2) / len(group)  # of a group, among the scores: 0 to 1
    bins = np.minimum((place * min(size, _BINS)).astype(np.int64), _BINS - 1)
    return rows, np.unique(bins[group], return_inverse=True)[1]


def _quotas(texts: np.ndarray, distinct: np.ndarray, fraction: float, size: int | None, seed: int) -> np.ndarray:
    """How many texts of each stratum are wanted in dev; in all ``size``, where a text is in one stratum alone."""
    share = fraction * texts
    quota = np.where(distinct > 1, np.maximum(1, np.floor(share + 1e-9)), 0).astype(np.int64)
    if size is None:
        return np.where(distinct > 1, np.maximum(1, np.rint(share)), 0).astype(np.int64)
    chance = np.random.default_rng(seed).permutation(len(texts))
    missing = size - int(quota.sum())
    if missing > 0:
        more = np.lexsort((chance, quota - share))
        quota[more[(distinct > 1)[more] & (share > quota)[more]][:missing]] += 1
    while missing < 0 and quota.max() > 1:
        quota[quota.argmax()] -= 1
        missing += 1
    if missing < 0:
        wanted = np.flatnonzero(quota)
        quota[wanted[np.lexsort((chance[wanted], share[wanted]))[:-missing]]] = 0
    return quota


@dataclass(frozen=True)
class HeldOut:
    """The part of a corpus that is the dev part: its ``texts``, their ``scores`` where a column has the teacher's, and
    their ``places`` (source, row).

    ``keys``: :func:`mixed` fingerprints, sorted uint64, of the texts that leave the corpus. ``shared``: none does, for
    the corpus has nothing but frequent texts.
    """

    keys: np.ndarray
    texts: list[str]
    scores: list[list[float]] | None
    places: list[tuple[str, int]]
    shared: bool


@dataclass
class CorpusSample:
    """Reads a corpus once and holds out a twentieth of its lines, ``MOST`` texts at most, in bounded memory.

    Kept are the distinct texts whose key is among the ``_CANDIDATES`` smallest, and how often each has come: whichever
    is among them at the end was so from its first line on, so its count is exact.
    """

    seed: int
    lines: int = 0
    keys: np.ndarray = field(default_factory=lambda: np.zeros(0, np.uint64))
    counts: np.ndarray = field(default_factory=lambda: np.zeros(0, np.int64))
    copies: dict[int, list[tuple[Any, ...]]] = field(default_factory=dict)  # by key: number, text, scores, place
    whole: bool = True  # whether all distinct texts are here

    def add(
        self,
        texts: Any,
        fingerprints: np.ndarray,
        scores: np.ndarray | None,
        place: Callable[[int], tuple[str, int]],
    ) -> None:
        """The next texts of the corpus, a list or an Arrow array, with their scores (n, C) where a column has them, and
        where each stands.
        """
        keys = mixed(fingerprints, self.seed)
        near = np.arange(len(keys)) if self.whole else np.flatnonzero(keys <= self.keys[-1])
        together, index = np.unique(np.concatenate([self.keys, keys[near]]), return_inverse=True)
        counts = np.bincount(index, weights=np.concatenate([self.counts, np.ones(len(near))])).astype(np.int64)
        self.whole = self.whole and len(together) <= _CANDIDATES
        self.keys, self.counts = together[:_CANDIDATES], counts[:_CANDIDATES]
        last = int(self.keys[-1]) if len(self.keys) else 0
        for i in near.tolist():
            if (key := int(keys[i])) <= last:
                kept = self.copies.setdefault(key, [])
                if len(kept) < _most_copies(MOST):
                    score = None if scores is None else scores[i].tolist()
                    kept.append((self.lines + i, str(texts[i]), score, place(i)))
        if len(self.copies) > 2 * _CANDIDATES:
            self.copies = {key: kept for key, kept in self.copies.items() if key <= last}
        self.lines += len(keys)

    def choose(self) -> HeldOut:
        """The held-out part of all that was added."""
        if not self.lines:
            return HeldOut(self.keys, [], None, [], False)
        target = min(MOST, max(1, round(self.lines * SHARE)))
        unit = min(int(self.counts.min(initial=1)), _SELDOM)
        budget = max(unit, self.lines * SHARE)
        each = np.minimum(self.counts, _most_copies(target))
        # Texts that come often stay where there are enough others, and what is a hundredth of the corpus does always.
        limit, top = max(unit, min(8, self.lines / 400)), max(unit, self.lines / 100)
        while True:
            chosen = np.flatnonzero(self.counts <= limit)
            if self.whole:
                chosen = chosen[: len(chosen) // 2]
            fits = (np.cumsum(self.counts[chosen]) <= budget) & (np.cumsum(each[chosen]) <= max(target, each.min()))
            chosen = chosen[fits]
            if each[chosen].sum() >= target / 2 or limit >= top:
                break
            limit = min(2 * limit, top)
        if shared := not len(chosen):
            chosen = np.arange(len(self.keys))
            share = min(SHARE, MOST / max(self.lines, 1))
            each = np.minimum(np.maximum(1, np.floor(self.counts * share).astype(np.int64)), _most_copies(MOST))
            chosen = chosen[np.cumsum(each) <= MOST]
        entries = sorted(
            (entry for i in chosen for entry in self.copies[int(self.keys[i])][: each[i]]), key=lambda entry: entry[0]
        )
        scores = [entry[2] for entry in entries]
        return HeldOut(
            np.zeros(0, np.uint64) if shared else self.keys[chosen],
            [entry[1] for entry in entries],
            None if not scores or scores[0] is None else scores,
            [entry[3] for entry in entries],
            shared,
        )


def _most_copies(target: int) -> int:
    """Copies of one text in a dev part of ``target`` texts, at most."""
    return max(8, target // 100)
