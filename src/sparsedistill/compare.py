"""Where two classifiers part on the same texts: decisions, probabilities, and the n-grams behind them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from .errors import SettingsError
from .explain import attribution
from .heads import Head, asked_heads

if TYPE_CHECKING:
    from .classifier import Classifier

EXPLAINED = 2_000  # texts whose n-grams are compared, at most


def compare(
    a: Classifier,
    b: Classifier,
    texts: Sequence[Any],
    *,
    head: str | None = None,
    gold: Mapping[str, np.ndarray] | None = None,
    top: int = 20,
    threads: int = 0,
) -> dict[str, Any]:
    """Where ``a`` and ``b`` differ on ``texts``, by head, as values that JSON can hold.

    ``gold``: targets by the name of the head ("" where it has none), as :class:`sparsedistill.data.labelled.Labelled`
    has them. The result has by head:

    - ``agreement``: share of texts with the same decision (several labels a text: with all the same; scores: None);
      ``change``: mean over the texts of the largest change of a probability (scores: of the score's change);
    - with gold ``right``: of single and several labels, how many decisions are right in ``a`` alone and ``b`` alone;
      of scores, in how many texts each is nearer;
    - ``flips``: number of texts with another decision; ``texts``: the ``top`` of these with the largest change, then
      others, a dict each of ``number``, ``text``, ``a`` and ``b`` (decisions), ``change``, and with gold ``gold`` and
      ``right`` (a, b, both or neither);
    - ``ngrams``: the ``top`` n-grams that pull most from the decisions of ``a`` to those of ``b`` over the texts that
      flip (scores: over those that change most; 2,000 at most): ``pull`` is the sum over these texts of what the
      n-gram adds to b's logit of b's label less that of a's label, less the same in a (several labels: over those that
      flip, by sign); ``count``; ``known``: to a, b or both.

    Errors: :class:`SettingsError` where a head is in one of them alone, or its task or labels differ.
    """
    if a.pairs != b.pairs:
        raise SettingsError("one classifier labels pairs of texts, and the other single texts: they cannot be compared")
    both = _same_heads(a, b, head)
    logits = [one._logits(texts, threads, "error") for one in (a, b)]
    result = {}
    for ours, theirs in both:
        found = _Head(ours, theirs, logits[0][:, ours.outputs], logits[1][:, theirs.outputs])
        result[ours.name] = found.result((a, b), texts, (gold or {}).get(ours.name), top)
    return {"texts": len(texts), "heads": result}


def _same_heads(a: Classifier, b: Classifier, head: str | None) -> list[tuple[Head, Head]]:
    try:
        heads = asked_heads(a.heads, head)
    except ValueError as error:
        raise SettingsError(f"--head: {error}") from None
    named = {one.name: one for one in b.heads}
    result = []
    for one in heads:
        other = named.get(one.name)
        what = f"head {one.name}" if one.name else "the classifiers"
        if other is None:
            raise SettingsError(
                f"{what}: B has no such head ({', '.join(named) or 'none with a name'}): name one of both"
            )
        if one.task != other.task or set(one.labels) != set(other.labels):
            raise SettingsError(
                f"{what}: A is {_said(one)}, B {_said(other)}: classifiers are compared that give the same labels"
            )
        result.append((one, other))
    return result


def _said(head: Head) -> str:
    labels = f" of {', '.join(head.labels[:8])}{' ...' if len(head.labels) > 8 else ''}"
    return head.task + labels * (head.task != "regression")


class _Head:
    """A head of both classifiers, from the logits (n, C) of each; ``values`` and ``decided`` of b in a's order."""

    def __init__(self, ours: Head, theirs: Head, a: np.ndarray, b: np.ndarray):
        self.head, self.theirs = ours, theirs
        order = np.array([theirs.labels.index(label) for label in ours.labels])
        self.back = np.argsort(order)  # where a's order has the labels of b
        if ours.task == "regression":
            self.values = self.decided = [ours.scores(a), theirs.scores(b)]
            self.change = np.abs(self.values[1] - self.values[0])
            self.flipped = np.zeros(len(self.change), bool)
            return
        self.values = [ours.probabilities(a), theirs.probabilities(b)[:, order]]
        self.change = np.abs(self.values[1] - self.values[0]).max(axis=1)
        if ours.task == "single":
            self.decided = [ours.ranked(a)[:, 0], self.back[theirs.ranked(b)[:, 0]]]
            self.flipped = self.decided[0] != self.decided[1]
        else:
            thresholds = [np.asarray(ours.thresholds), np.asarray(theirs.thresholds)[order]]
            self.decided = [one >= least for one, least in zip(self.values, thresholds, strict=True)]
            self.flipped = (self.decided[0] != self.decided[1]).any(axis=1)

    def result(self, both: tuple[Classifier, Classifier], texts: Sequence[Any], gold: Any, top: int) -> dict[str, Any]:
        order = np.lexsort((-self.change, ~self.flipped))
        scores = self.head.task == "regression"
        right = None if gold is None else self._right(gold)
        found: dict[str, Any] = {
            "task": self.head.task,
            "agreement": None if scores else float(1 - self.flipped.mean()) if len(self.flipped) else 1.0,
            "change": float(self.change.mean()) if len(self.change) else 0.0,
            "flips": int(self.flipped.sum()),
        }
        if right is not None:
            found["right"] = {"a": int((right[0] & ~right[1]).sum()), "b": int((right[1] & ~right[0]).sum())}
        found["texts"] = [self._row(i, texts[i], gold, right) for i in order[:top].tolist() if self.change[i] > 0]
        moved = order if scores else order[: int(self.flipped.sum())]
        found["ngrams"] = self._ngrams(both, texts, moved[:EXPLAINED].tolist(), top)
        return found

    def _right(self, gold: np.ndarray) -> list[np.ndarray]:
        if self.head.task == "regression":
            off = [np.abs(one - gold) for one in self.values]
            return [off[0] < off[1], off[1] < off[0]]
        if self.head.task == "single":
            return [one == gold for one in self.decided]
        return [(one == (gold > 0.5)).all(axis=1) for one in self.decided]

    def _row(self, i: int, text: Any, gold: Any, right: Any) -> dict[str, Any]:
        row: dict[str, Any] = {"number": i, "text": text if isinstance(text, str) else list(text)}
        row |= {name: self._name(one[i]) for name, one in zip("ab", self.decided, strict=True)}
        row["change"] = float(self.change[i])
        if right is not None:
            who = {(True, True): "both", (True, False): "a", (False, True): "b", (False, False): "neither"}
            row["gold"] = self._name(gold[i] > 0.5 if self.head.task == "multi" else gold[i])
            row["right"] = who[bool(right[0][i]), bool(right[1][i])]
        return row

    def _name(self, decided: Any) -> Any:
        if self.head.task == "regression":
            return float(decided)
        if self.head.task == "single":
            return self.head.labels[int(decided)]
        return [label for label, yes in zip(self.head.labels, decided.tolist(), strict=True) if yes]

    def _ngrams(
        self, both: tuple[Classifier, Classifier], texts: Sequence[Any], moved: Sequence[int], top: int
    ) -> list[dict[str, Any]]:
        pulls: dict[str, float] = {}
        counts: dict[str, list[int]] = {}
        for i in moved:
            direction = self._direction(i)
            for which, (classifier, sign) in enumerate(zip(both, (-1.0, 1.0), strict=True)):
                found = attribution(classifier, texts[i])
                head = self.theirs if which else self.head
                weights = direction[self.back] if which else direction
                added = (found.of(head)[0] @ weights * sign).tolist()
                for (_, ngram), number in zip(found.ngrams, added, strict=True):
                    pulls[ngram] = pulls.get(ngram, 0.0) + number
                    counts.setdefault(ngram, [0, 0])[which] += 1
        ranked = sorted(pulls.items(), key=lambda item: (-item[1], item[0]))[:top]
        known = {(True, True): "both", (True, False): "a", (False, True): "b"}
        return [
            {
                "ngram": ngram,
                "pull": pull,
                "count": max(counts[ngram]),
                "known": known[counts[ngram][0] > 0, counts[ngram][1] > 0],
            }
            for ngram, pull in ranked
            if pull > 0
        ]

    def _direction(self, i: int) -> np.ndarray:
        """Of the logits, from the decision of a to that of b."""
        if self.head.task == "regression":
            return np.array([np.sign(self.values[1][i] - self.values[0][i])])
        if self.head.task == "single":
            result = np.zeros(len(self.head.labels))
            result[self.decided[1][i]] += 1
            result[self.decided[0][i]] -= 1
            return result
        now, before = (one[i].astype(np.float64) for one in reversed(self.decided))
        return np.asarray(now - before)
