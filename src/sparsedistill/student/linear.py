"""How fast each row of a linear student learns: what its n-gram tells of the label, and how rare it is."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import product

import numpy as np

from ..presets import linear_rate
from ..several import Several
from ..tasks import TaskHead
from .dataset import Batch, Blocks

SPEED = 200.0  # of the table, above that of the biases
PSEUDO_COUNTS = 4.0
LEAST_INFORMATION = 1e-5  # nats: below is rounding
UNIFORM = 0.3  # what every squared weight has more, in units of their mean: they are estimates, of few texts poor ones


def row_rates(blocks: Blocks, rows: int, classes: int, multi: bool, batch_size: int) -> np.ndarray:
    """Factors of the learning rate, float32 (``rows``,), for :class:`sparsedistill.student.table.Sgd`.

    Gradient descent on rows with these factors is gradient descent on a linear model of n-gram counts that are
    multiplied by the factors' roots: by the inverse document frequency (Spärck Jones 1972), as in TF-IDF, and by the
    root of the n-gram's information on the label, the Kullback-Leibler divergence of its class distribution, with
    :data:`PSEUDO_COUNTS` of the prior, from that prior; Wang and Manning (2012) multiply by log-count ratios alike. The
    weights are thereby in the rows, and cost nothing at prediction. Of several labels a text (``multi``) each is a
    class distribution of two. The mean over the n-grams of the texts is the same whatever the data, for a
    ``batch_size`` whose gradients are averaged.
    """
    counts, met, by_class = np.zeros(rows), np.zeros(rows), np.zeros((classes, rows), np.float32)
    texts, priors = sum(blocks.sizes), np.zeros(classes)
    # Rows of characters are counted as if all words were unknown, though they are met as rarely as training has it.
    ways = [(0.0, 1 - blocks.forget), (1.0, blocks.forget)] if blocks.forget else [(0.0, 1.0)]
    for index, (forget, share) in product(range(len(blocks.sizes)), ways):
        batch = blocks.load(index, forget=forget)
        occurrences = np.bincount(batch.ids, minlength=rows)
        counts += occurrences
        met += share * occurrences
        lengths = np.diff(batch.offsets).astype(np.int64)
        for label in range(classes):
            targets = batch.targets[:, label]
            by_class[label] += np.bincount(batch.ids, np.repeat(targets, lengths), minlength=rows).astype(np.float32)
            priors[label] += targets.sum() / len(ways)
    weights = np.log((1 + texts) / (1 + np.minimum(counts, texts))) + 1
    weights *= np.sqrt(_information(counts, by_class, priors / texts, multi))
    squares = np.square(weights)
    mean = float((squares * met).sum() / max(float(met.sum()), 1e-9)) or 1.0
    outputs = classes if multi else 1  # whose losses are averaged, too
    speed = SPEED * batch_size * outputs / (1 + UNIFORM)
    result: np.ndarray = (speed * (squares / mean + UNIFORM)).astype(np.float32)
    return result


def rates_of_heads(blocks: Blocks, rows: int, task: Several, batch_size: int, steps: int) -> np.ndarray:
    """The same for each head of a ``task``, float32 (``rows``, heads): what it would have alone.

    Its own texts are those that have a target of it. Where these are few, the peak learning rate is that of the steps
    they would make, not of all ``steps``; 0 steps: that rate is given, and the same for all heads.
    """
    texts, columns = sum(blocks.sizes), []
    for head in task.heads:
        own = _Own(blocks, head)
        multi = head.task.name == "multi"
        rates = row_rates(own, rows, len(head.labels), multi, batch_size)
        share = max(sum(own.sizes), 1) / max(texts, 1)
        columns.append(rates * np.float32(linear_rate(share * steps) / linear_rate(steps) if steps else 1.0))
    return np.stack(columns, axis=1)


class _Own:
    """Those of the texts of ``blocks`` that have a target of a head, with that alone."""

    def __init__(self, blocks: Blocks, head: TaskHead):
        self._blocks, self._head, self.forget = blocks, head, blocks.forget
        self.sizes = [int(head.there(targets).sum()) for targets in blocks.targets()]

    def load(self, index: int, epoch: int = 0, forget: float | None = None) -> Batch:
        batch = self._blocks.load(index, epoch, forget)
        own = batch.take(np.flatnonzero(self._head.there(batch.targets)))
        return Batch(own.ids, own.offsets, np.ascontiguousarray(own.targets[:, self._head.outputs]))

    def targets(self) -> Iterator[np.ndarray]:
        return (batch[self._head.there(batch), self._head.outputs] for batch in self._blocks.targets())


def _information(counts: np.ndarray, by_class: np.ndarray, priors: np.ndarray, multi: bool) -> np.ndarray:
    """Divergence (V,) of each n-gram's class distribution from the prior, in nats; of several labels, their sum."""
    total = np.zeros(len(counts))
    for ours, prior in zip(by_class, priors, strict=True):
        for number, share in ((ours, prior), (counts - ours, 1 - prior)) if multi else ((ours, prior),):
            if share > 0:
                posterior = (number + PSEUDO_COUNTS * share) / (counts + PSEUDO_COUNTS)
                total += posterior * np.log(np.maximum(posterior, 1e-300) / share)
    return np.maximum(total, LEAST_INFORMATION)
