"""Smaller students of trained ones, in seconds: fewer n-grams, and narrower rows."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any, cast

import numpy as np
import torch
from torch import nn

from .model import Student
from .table import widened
from .vocabulary import Vocabulary

_CHUNK = 65536  # rows at a time


def folded(student: Student) -> Student:
    """The same function, without dropout, with W1 in the table where that does not widen its rows.

    Its table is float32, and may be the student's own. Pooling that is not linear, and pairs, keep W1 apart.
    """
    result = _shell(student).eval()
    result.dropout.p = 0.0
    factor = student.factor if is_plain(student) and student.first_width <= student.embedding else None
    if factor is None:
        result.table = widened(student.table)
        return result
    result.table = np.empty((len(student.table), student.first_width), np.float32)
    matrix = factor.weight.detach().numpy().T
    for begin in range(0, len(student.table), _CHUNK):
        result.table[begin : begin + _CHUNK] = widened(student.table[begin : begin + _CHUNK]) @ matrix
    result.factor, result.bias, result.embedding = None, nn.Parameter(factor.bias.detach().clone()), 0
    result.width = result.pooled_width = student.first_width
    return result


def is_plain(student: Student) -> bool:
    """Whether its pooled vector is a sum of rows with weights that the rows have no part in."""
    return student.kind.linear and not student.pairs and not student.kind.weighted


def parents(vocabulary: Vocabulary) -> np.ndarray:
    """Of each n-gram the row of its prefix, one token or code point shorter, int64 (V,); -1 where that is none."""
    least = vocabulary.rules.characters_min
    ngrams = vocabulary.ngrams()
    rows = {ngram: row for row, ngram in enumerate(ngrams)}
    found = np.full(len(ngrams), -1)
    for row, ngram in enumerate(ngrams):
        if not ngram.startswith(" "):
            if " " in ngram:
                found[row] = rows.get(ngram.rpartition(" ")[0], -1)
        elif len(ngram) - 1 > least:
            found[row] = rows.get(ngram[:-1], -1)
    return found


def closed(scores: np.ndarray, prefixes: np.ndarray) -> np.ndarray:
    """The rows in descending order of their scores, in which a prefix comes before its extensions, int64 (V,).

    A prefix counts as much as the best of its extensions, so that whole chains are kept wherever the order is cut.
    ``prefixes``: of :func:`parents`.
    """
    best = scores.astype(np.float64)
    depth = np.zeros(len(best), np.int64)
    at = prefixes.copy()
    while (going := at >= 0).any():
        depth[going] += 1
        at[going] = prefixes[at[going]]
    for level in range(int(depth.max(initial=0)), 0, -1):
        rows = np.flatnonzero(depth == level)
        np.maximum.at(best, prefixes[rows], best[rows])
    return np.lexsort((np.arange(len(best)), depth, -best))


def kept(student: Student, vocabulary: Vocabulary, rows: np.ndarray) -> tuple[Student, Vocabulary]:
    """Student and vocabulary of these rows alone (with each its prefixes), in the order that they had."""
    rows = np.sort(rows)
    result = _shell(student)
    result.table = widened(student.table[rows])
    return result, vocabulary.of_rows(rows)


def effects(student: Student, vocabulary: Vocabulary, pooled: torch.Tensor) -> np.ndarray:
    """How much each n-gram changes the logits of the texts in all, float64 (V,): the square of the change of the logits
    by one occurrence, times the occurrences in corpus and train.

    Of a folded student. What an n-gram changes is its row less the mean of rows, by the mean derivative of the logits
    at the ``pooled`` vectors (n, W) of some texts; where rows are not simply summed, the row itself.
    """
    metric = _metric(student, pooled) if is_plain(student) else np.eye(student.table.shape[1], dtype=np.float32)
    counts = vocabulary.counts.astype(np.float64)
    table, mean = student.table, np.average(student.table, axis=0, weights=counts)
    changes = np.concatenate(
        [((part := table[i : i + _CHUNK] - mean) @ metric * part).sum(axis=1) for i in range(0, len(table), _CHUNK)]
    )
    result: np.ndarray = np.maximum(changes, 0) * counts
    return result


def _metric(student: Student, pooled: torch.Tensor) -> np.ndarray:
    """The mean of J J' over texts, float64 (W, W), where J (W, C) is the derivative of the logits, less their mean."""
    derivative: Callable[[torch.Tensor], torch.Tensor] = torch.func.vmap(torch.func.jacrev(student.forward))
    total: Any = 0.0
    with torch.no_grad():
        for begin in range(0, len(pooled), 256):
            jacobian = derivative(pooled[begin : begin + 256])
            if student.classes > 1:
                jacobian = jacobian - jacobian.mean(dim=1, keepdim=True)
            total = total + torch.einsum("ncw,ncv->wv", jacobian, jacobian).double()
    return cast(np.ndarray, (total / max(len(pooled), 1)).numpy())


def narrowed(student: Student, pooled: np.ndarray, width: int) -> Student:
    """A student of rows of ``width`` numbers: those that tell most of what is pooled of some texts, float32 (n, W).

    The principal components (a singular value decomposition of what is pooled, less its mean); a dense layer puts the
    W numbers together again, and what the components lack has its mean.
    """
    mean = pooled.mean(axis=0, dtype=np.float64)
    apart = pooled - mean
    _, vectors = np.linalg.eigh(apart.T @ apart)
    basis = np.ascontiguousarray(vectors[:, ::-1][:, :width])  # (W, width)
    result = _shell(student)
    result.table = (student.table @ basis).astype(np.float32)
    rest = torch.from_numpy((mean - mean @ basis @ basis.T).astype(np.float32))
    into = torch.from_numpy(basis.astype(np.float32))
    old = student.factor
    factor = nn.Linear(width, student.first_width)
    with torch.no_grad():
        if old is None:
            factor.weight.copy_(into)
            factor.bias.copy_(cast(nn.Parameter, student.bias) + rest)
        else:
            factor.weight.copy_(old.weight @ into)
            factor.bias.copy_(old.bias + old.weight @ rest)
    result.factor, result.bias = factor, None
    result.embedding = result.width = result.pooled_width = width
    return result


def _shell(student: Student) -> Student:
    """A copy without the table."""
    return copy.deepcopy(student, {id(student.table): None})
