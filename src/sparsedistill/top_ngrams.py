"""Which n-grams argue most for each label, over texts or a vocabulary."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from .errors import SettingsError
from .explain import attribution, pooled_alone, shown
from .heads import Head, asked_heads
from .merge import rows_of

if TYPE_CHECKING:
    from .classifier import Classifier

_CHUNK = 1 << 14  # n-grams whose logits are computed at a time
_RANKED = 50  # times as many n-grams as are wanted may become members of groups


def top_ngrams(
    classifier: Classifier, texts: Iterable[Any], *, head: str | None = None, top: int = 20, min_count: int = 1
) -> dict[str, Any]:
    """Of each head and label the ``top`` n-grams that argue most for and against it in ``texts``.

    They are ranked by ``total``, the sum of their contributions (:class:`sparsedistill.Explanation`) over all texts:
    ``count``, how often they stand there, times ``mean``, their mean contribution. Those of fewer than ``min_count``
    are left out. Near-duplicates are grouped: an n-gram that contains one ranked above it, or is contained there, is
    among that one's ``members``, which count for no total but their own.

    The result is ``{head: {label: {"for": rows, "against": rows}}}``, a row a dict of ``ngram``, ``count``, ``mean``,
    ``total`` and ``members`` (n-gram, total). A head without a name has the name "".

    Errors: ValueError for a head that is not there; TypeError for what is no text.
    """
    heads = asked_heads(classifier.heads, head)
    numbers: dict[str, int] = {}
    sums = [np.zeros((1024, len(one.labels))) for one in heads]
    counts = np.zeros(1024, np.int64)
    for text in texts:
        found = attribution(classifier, text)
        ids = np.array([numbers.setdefault(ngram, len(numbers)) for _, ngram in found.ngrams], np.int64)
        if len(numbers) > len(counts):
            more = len(numbers)
            counts = np.concatenate([counts, np.zeros(more, np.int64)])
            sums = [np.concatenate([one, np.zeros((more, one.shape[1]))]) for one in sums]
        np.add.at(counts, ids, 1)
        for one, total in zip(heads, sums, strict=True):
            np.add.at(total, ids, found.of(one)[0])
    names, counts = list(numbers), counts[: len(numbers)]
    means = [total[: len(names)] / np.maximum(counts, 1)[:, None] for total in sums]
    return {
        one.name: _of_head(one, names, counts, mean, top, min_count) for one, mean in zip(heads, means, strict=True)
    }


def top_of_vocabulary(
    classifier: Classifier,
    ngrams: Sequence[str],
    counts: Sequence[int],
    *,
    head: str | None = None,
    top: int = 20,
    min_count: int = 1,
) -> dict[str, Any]:
    """The same of the n-grams of a vocabulary with their ``counts``, those that the classifier knows, without texts.

    ``mean`` is then how the n-gram alone changes the logit: that of a text of it and nothing else, less that of a text
    without any. For students without hidden layers this is its exact weight; with hidden layers what it adds depends on
    the other n-grams of a text, and :func:`top_ngrams` over texts says more.

    Errors: :class:`SettingsError` for a classifier of pairs or with hashed rows, whose n-grams are not its own.
    """
    if classifier.pairs or classifier._hashed:
        what = "of pairs compares n-grams" if classifier.pairs else "with hashed rows knows every n-gram"
        raise SettingsError(f"a classifier {what}: give texts instead of a vocabulary")
    heads = asked_heads(classifier.heads, head)
    ids = rows_of(classifier, list(ngrams))
    known = np.flatnonzero(ids >= 0)
    names, tally = [shown(ngrams[i]) for i in known.tolist()], np.asarray(counts, np.int64)[known]
    alone = [_logits(classifier, ids[known[i : i + _CHUNK]]) for i in range(0, len(known), _CHUNK)]
    logits = np.concatenate([np.empty((0, classifier.heads[-1].outputs.stop)), *alone])
    return {one.name: _of_head(one, names, tally, _relative(one, logits), top, min_count) for one in heads}


def _relative(head: Head, logits: np.ndarray) -> np.ndarray:
    part = logits[:, head.outputs]
    return part - part.mean(axis=1, keepdims=True) if head.task == "single" else part


def _logits(classifier: Classifier, ids: np.ndarray) -> np.ndarray:
    """Changes of the logits (n, outputs) by each row alone."""
    rows = pooled_alone(classifier, ids)
    x = np.vstack([rows, np.zeros((1, rows.shape[1]))]) + classifier._bias
    relu = classifier._relu_first
    for weight, bias in classifier._layers:
        x = (np.maximum(x, 0) if relu else x) @ weight + bias
        relu = True
    result: np.ndarray = x[:-1] - x[-1]
    return result


def _of_head(
    head: Head, names: list[str], counts: np.ndarray, means: np.ndarray, top: int, min_count: int
) -> dict[str, Any]:
    result = {}
    often = np.flatnonzero(counts >= min_count)
    for i, label in enumerate(head.labels):
        totals = means[:, i] * counts
        result[label] = {
            side: _grouped(
                often[np.argsort(-sign * totals[often], kind="stable")], names, counts, sign * totals, top, sign
            )
            for side, sign in (("for", 1.0), ("against", -1.0))
        }
    return result


def _grouped(
    order: np.ndarray, names: list[str], counts: np.ndarray, totals: np.ndarray, top: int, sign: float
) -> list[dict[str, Any]]:
    """The first ``top`` of the n-grams in this order, with those that contain them or are contained."""
    rows: list[dict[str, Any]] = []
    for i in order[: max(top * _RANKED, 1)].tolist():
        if totals[i] <= 0:
            break
        total = sign * float(totals[i])
        leader = next((row for row in rows if _overlap(row["ngram"], names[i])), None)
        if leader:
            leader["members"].append((names[i], total))
        elif len(rows) < top:
            count = int(counts[i])
            rows.append({"ngram": names[i], "count": count, "mean": total / count, "total": total, "members": []})
    return rows


def _overlap(one: str, other: str) -> bool:
    """Whether the tokens of one are a part of the other's."""
    return f" {one} " in f" {other} " or f" {other} " in f" {one} "
