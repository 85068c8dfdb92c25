"""Several heads as one task: their outputs end to end, the sum of their losses, and targets that may be missing."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from .options import Head
from .standard import Standard
from .tasks import TASKS, Single, TaskHead

_LEAST_SQUARE = 0.01  # of a gradient: what is nearly always the same must not weigh a hundred times as much


class Several(Single):
    """All heads of a classifier, learnt together.

    Targets are float (n, outputs): of a single-label head a 1 among 0s, or probabilities; of a multi-label head a 0 or
    1 each, or probabilities; of a regression its score; NaN in all outputs of a head that a text has no target of.

    The loss is the sum of the heads' own, each the mean over the texts of the batch that have its target, multiplied by
    its weight. In training the weights are divided by the size of the loss's gradient (:meth:`balanced`), so that every
    head moves the weights they share alike, whatever its task, its number of labels or its unit.
    """

    name = "heads"
    metric = "mean"
    metrics_to_choose = ()

    def __init__(self, heads: Sequence[TaskHead], apart: bool = False):
        """``apart``: the heads share no weights, and each is to learn as if it were alone: a text counts as much
        whether others have a target or not, and nothing is balanced.
        """
        self.heads, self._apart = tuple(heads), apart
        self.scores_type = np.float64 if self.scores else np.float32

    @classmethod
    def of(cls, options: Mapping[str, Head], labels: Mapping[str, Sequence[str]]) -> Several:
        """The heads by name, in the order of ``labels``."""
        heads: list[TaskHead] = []
        for name, own in labels.items():
            first = heads[-1].outputs.stop if heads else 0
            outputs = slice(first, first + len(own))
            heads.append(TaskHead(name, TASKS[options[name].task], tuple(own), outputs, options[name].weight))
        return cls(heads)

    @property
    def labels(self) -> tuple[str, ...]:
        """A name for every output: ``HEAD.LABEL``."""
        return tuple(f"{head.name}.{label}" for head in self.heads for label in head.labels)

    @property
    def scores(self) -> tuple[int, ...]:
        """The outputs that are scores."""
        return tuple(head.outputs.start for head in self.heads if head.task.name == "regression")

    def outputs(self, labels: tuple[str, ...]) -> int:
        """Of all heads together."""
        return len(self.labels)

    def balanced(self, targets: Iterable[np.ndarray]) -> Several:
        """The same with the weights of the losses divided by the size of their gradient where training begins to tell
        texts apart: at the best constant output for ``targets``, which come in batches.

        That is the root of its mean square, of standardised scores 2, of labels the root of the sum of the variances of
        their targets (of gold ones with frequencies p: 1 - sum of p^2), divided by C where there are C a text. The
        losses themselves differ by more (a label of many has a large entropy, and hardly a larger gradient), and it is
        gradients that heads share weights by.
        """
        totals, squares, counts = np.zeros(self.outputs(())), np.zeros(self.outputs(())), np.zeros(len(self.heads))
        for batch in targets:
            totals += np.nansum(batch, axis=0, dtype=np.float64)
            squares += np.nansum(np.square(batch, dtype=np.float64), axis=0)
            counts += [head.there(batch).sum() for head in self.heads]
        heads = []
        for head, count in zip(self.heads, np.maximum(counts, 1), strict=True):
            spread = float((squares[head.outputs] / count - np.square(totals[head.outputs] / count)).sum())
            size = {"single": spread, "multi": spread / len(head.labels) ** 2}.get(head.task.name, 4.0)
            heads.append(replace(head, weight=head.weight / max(size, _LEAST_SQUARE) ** 0.5))
        return Several(heads)

    def apart(self) -> Several:
        """The same for heads that share no weights."""
        return Several(self.heads, apart=True)

    def standards(self, batches: Iterable[np.ndarray]) -> dict[int, Standard]:
        """Mean and deviation of each output that is a score, of targets in batches."""
        kept = [[batch[:, i][~np.isnan(batch[:, i])] for i in self.scores] for batch in batches]
        return {i: Standard.of(batch[k] for batch in kept) for k, i in enumerate(self.scores)}

    def decisions(self, logits: np.ndarray, thresholds: np.ndarray | None = None) -> np.ndarray:
        """What each head decides, as targets (n, outputs)."""
        parts = []
        for head in self.heads:
            own = head.task.decisions(logits[:, head.outputs], None if thresholds is None else thresholds[head.outputs])
            parts.append(head.spread(own).astype(self.scores_type))
        return self._masked(np.hstack(parts), logits)

    def selection_targets(self, logits: np.ndarray) -> np.ndarray:
        """The teachers' decisions as targets."""
        return self.decisions(logits)

    def soft_targets(self, logits: np.ndarray) -> np.ndarray:
        """Probabilities and scores (n, outputs) of the teachers' logits, NaN where these are."""
        parts = [head.task.soft_targets(logits[:, head.outputs]).astype(self.scores_type) for head in self.heads]
        return self._masked(np.hstack(parts), logits)

    def gold_targets(self, targets: np.ndarray, classes: int) -> np.ndarray:
        """The targets themselves."""
        return targets.astype(self.scores_type)

    def _masked(self, values: np.ndarray, logits: np.ndarray) -> np.ndarray:
        values[np.isnan(logits)] = np.nan
        return values

    def of_heads(
        self, logits: np.ndarray, targets: np.ndarray, thresholds: np.ndarray | None = None
    ) -> dict[str, dict[str, float]]:
        """The metrics of each head on the texts that have its target; none of a head without any."""
        return {
            head.name: head.task.metrics(own, wanted, cut)
            for head, own, wanted, cut in self.each(logits, targets, thresholds)
        }

    def metrics(
        self, logits: np.ndarray, targets: np.ndarray, thresholds: np.ndarray | None = None
    ) -> dict[str, float]:
        """``mean`` over the heads of the figure that each one's task is chosen by; R2 below 0 counts as 0."""
        found = self.of_heads(logits, targets, thresholds)
        each = [max(found[head.name][head.task.metric], 0.0) for head in self.heads if head.name in found]
        return {"mean": float(np.mean(each)) if each else 0.0}

    def never_predicted(
        self, logits: np.ndarray, targets: np.ndarray, thresholds: np.ndarray | None = None
    ) -> list[tuple[int, int]]:
        """(output, its texts among the targets) of labels that occur there and are never predicted."""
        return [
            (head.outputs.start + label, count)
            for head, own, wanted, cut in self.each(logits, targets, thresholds)
            for label, count in head.task.never_predicted(own, wanted, cut)
        ]

    def fidelity(
        self,
        logits: np.ndarray,
        teacher: np.ndarray,
        thresholds: np.ndarray | None = None,
        teacher_thresholds: np.ndarray | None = None,
    ) -> float:
        """Mean over the heads of theirs, on the texts that the teacher has scored."""
        each = []
        for head in self.heads:
            rows = head.there(teacher)
            if rows.any():
                cuts = [None if t is None else t[head.outputs] for t in (thresholds, teacher_thresholds)]
                each.append(head.task.fidelity(logits[rows, head.outputs], teacher[rows, head.outputs], *cuts))
        return float(np.mean(each)) if each else 0.0

    def one_decision(self, targets: np.ndarray, metric: str) -> float:
        """The most that one text's decision can be of the mean."""
        each = [
            head.task.one_decision(head.own(targets[rows]), head.task.metric)
            for head in self.heads
            if (rows := head.there(targets)).any() and head.task.name != "regression"
        ]
        return max(each, default=0.0) / len(self.heads)

    def filled(self, targets: np.ndarray, others: np.ndarray) -> np.ndarray:
        """Targets in which a head that no text has a target of has those of ``others``: what its teacher gives."""
        result: np.ndarray = targets.copy()
        for head in self.heads:
            if not head.there(targets).any():
                result[:, head.outputs] = others[:, head.outputs]
        return result

    def thresholds(self, logits: np.ndarray, targets: np.ndarray) -> list[float] | None:
        """A number for each output: of multi-label heads the fitted thresholds, one half elsewhere."""
        result = np.full(logits.shape[1], 0.5)
        for head, own, wanted, _ in self.each(logits, targets, None):
            fitted = head.task.thresholds(own, wanted)
            if fitted is not None:
                result[head.outputs] = fitted
        found: list[float] = result.tolist()
        return found

    def each(
        self, logits: np.ndarray, targets: np.ndarray, thresholds: np.ndarray | None = None
    ) -> Iterator[tuple[TaskHead, np.ndarray, np.ndarray, np.ndarray | None]]:
        """Of each head that any text has a target of: the same of those texts."""
        for head in self.heads:
            rows = head.there(targets)
            if rows.any():
                cut = None if thresholds is None else thresholds[head.outputs]
                yield head, logits[rows, head.outputs], head.own(targets[rows]), cut

    def loss(self, logits: Any, targets: Any, weights: Any = None) -> Any:
        """See the class; ``weights`` (n, 1) as of every task."""
        total = logits.sum() * 0  # where no text has any target, nothing is learnt
        for head in self.heads:
            out, wanted, own = logits[:, head.outputs], targets[:, head.outputs], weights
            rows = ~wanted[:, 0].isnan()
            count = int(rows.sum())
            if not count:
                continue
            if count < len(targets):
                out, wanted, own = out[rows], wanted[rows], None if weights is None else weights[rows]
            total = total + head.task.loss(out, wanted, own) * (count / len(targets) if self._apart else head.weight)
        return total
