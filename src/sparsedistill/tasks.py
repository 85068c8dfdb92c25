"""The three tasks, a class each: targets, loss, decisions, metrics, and the figure that choices are made by.

single: one of C labels a text. multi: any number of C labels. regression: one score.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from . import evaluate
from .classifier import probabilities
from .errors import SettingsError


@dataclass(frozen=True)
class TaskHead:
    """A head in training: its task and labels, and which outputs are its own; ``name`` is "" where it is the only one.

    ``weight``: of its loss against those of the others.
    """

    name: str
    task: Single
    labels: tuple[str, ...]
    outputs: slice
    weight: float = 1.0

    def there(self, targets: np.ndarray) -> np.ndarray:
        """Which texts have a target of this head: bool (n,), of those of :class:`sparsedistill.several.Several`."""
        result: np.ndarray = ~np.isnan(targets[:, self.outputs.start])
        return result

    def own(self, targets: np.ndarray) -> np.ndarray:
        """Targets as the head's task has them, of texts that have one."""
        mine: np.ndarray = targets[:, self.outputs]
        if self.task.name == "single":
            classes: np.ndarray = mine.argmax(axis=1)
            return classes
        return mine[:, 0].astype(np.float64) if self.task.name == "regression" else mine.astype(np.float32)

    def spread(self, targets: np.ndarray) -> np.ndarray:
        """Targets as the head's task has them, as columns (n, outputs of the head)."""
        return self.task.gold_targets(targets, len(self.labels))


class Single:
    """One label a text. Targets int64 (n,), class indices; soft ones float32 (n, C), whose rows sum to 1."""

    name = "single"
    problem_type = "single_label_classification"  # as transformers calls it
    torch_loss = "cross_entropy"  # as torch.nn.functional calls it
    metric = "accuracy"  # that choices on dev are made by
    metrics_to_choose: tuple[str, ...] = ("accuracy", "macro_f1")
    scores_type: Any = np.float32  # of the teacher's outputs as they are stored

    def outputs(self, labels: tuple[str, ...]) -> int:
        """Numbers that a teacher or a student gives a text."""
        return len(labels)

    def chosen_by(self, metric: str, balanced: bool = False) -> str:
        """The figure that choices on dev are made by, ``metric`` unless that is "auto"; ``balanced``: there are class
        weights, against which "auto" must not choose.

        Errors: :class:`SettingsError` for a figure that the task has not.
        """
        if metric == "auto":
            return "macro_f1" if balanced and "macro_f1" in self.metrics_to_choose else self.metric
        if metric not in self.metrics_to_choose:
            known = " or ".join(("auto", *self.metrics_to_choose))
            raise SettingsError(f"metric {metric} is none of task {self.name}: --metric {known}")
        return metric

    def each(
        self, logits: np.ndarray, targets: np.ndarray, thresholds: np.ndarray | None = None
    ) -> Iterator[tuple[TaskHead, np.ndarray, np.ndarray, np.ndarray | None]]:
        """Of each head itself, its logits, targets and thresholds: here of the only one."""
        yield TaskHead("", self, (), slice(0, logits.shape[1])), logits, targets, thresholds

    def decisions(self, logits: np.ndarray, thresholds: np.ndarray | None = None) -> np.ndarray:
        """What is decided of logits (n, C): class indices int64 (n,); multi: bool (n, C); regression: scores (n,)."""
        result: np.ndarray = logits.argmax(axis=1)
        return result

    def selection_targets(self, logits: np.ndarray) -> np.ndarray:
        """The teacher's decisions as targets, where there are no gold labels to choose on."""
        return self.decisions(logits)

    def chosen(self, decided: np.ndarray, classes: int) -> np.ndarray:
        """Decisions or targets as bool (n, C): which labels apply."""
        result: np.ndarray = decided[:, None] == np.arange(classes)
        return result

    def metrics(
        self, logits: np.ndarray, targets: np.ndarray, thresholds: np.ndarray | None = None
    ) -> dict[str, float]:
        """Metrics of logits float32 (n, C) against gold targets: see :mod:`sparsedistill.evaluate`."""
        guess = self.decisions(logits, thresholds)
        macro = evaluate.f1(self.chosen(guess, logits.shape[1]), self.chosen(targets, logits.shape[1]))["macro_f1"]
        return {"accuracy": float((guess == targets).mean()), "macro_f1": macro}

    def never_predicted(
        self, logits: np.ndarray, targets: np.ndarray, thresholds: np.ndarray | None = None
    ) -> list[tuple[int, int]]:
        """(class, its texts among the targets) of the classes that occur there and are never predicted."""
        classes = logits.shape[1]
        yes, gold = self.chosen(self.decisions(logits, thresholds), classes), self.chosen(targets, classes)
        return [(int(i), int(gold[:, i].sum())) for i in np.flatnonzero(gold.any(axis=0) & ~yes.any(axis=0))]

    def fidelity(
        self,
        logits: np.ndarray,
        teacher: np.ndarray,
        thresholds: np.ndarray | None = None,
        teacher_thresholds: np.ndarray | None = None,
    ) -> float:
        """Share of equal decisions (multi: over all labels of all texts; regression: Pearson's correlation).

        ``thresholds`` are the student's, of multi, and ``teacher_thresholds`` those of what it is compared with.
        """
        return float((self.decisions(logits, thresholds) == self.decisions(teacher, teacher_thresholds)).mean())

    def one_decision(self, targets: np.ndarray, metric: str) -> float:
        """How much of the figure one text's decision can be, about: of macro-F1 what it is of its class's share."""
        if metric != "macro_f1":
            return 1 / len(targets)
        counts = self._counts(targets)
        occurs = counts[counts > 0]
        return 1 / float(len(occurs) * occurs.min()) if len(occurs) else 1.0

    def _counts(self, targets: np.ndarray) -> np.ndarray:
        return np.bincount(targets)

    def thresholds(self, logits: np.ndarray, targets: np.ndarray) -> list[float] | None:
        """Of multi: see :func:`sparsedistill.evaluate.fit_thresholds`; else None."""
        return None

    def soft_targets(self, logits: np.ndarray) -> np.ndarray:
        """What a student learns of the teacher's logits (n, C): probabilities float32; of regression the scores."""
        return probabilities(logits, self.name).astype(np.float32)

    def gold_targets(self, targets: np.ndarray, classes: int) -> np.ndarray:
        """What a student learns of gold labels, (n, C): probabilities float32; of regression scores float64."""
        result: np.ndarray = np.eye(classes, dtype=np.float32)[targets]
        return result

    def loss(self, logits: Any, targets: Any, weights: Any = None) -> Any:
        """Mean over the batch of the loss of tensors ``logits`` (n, C), a scalar tensor.

        single: KL(target || student) up to the target's own entropy, which has no gradient; multi: of each label the
        binary KL; regression: the squared error (of standardised targets). ``weights`` (n, 1), or (n, C) for multi,
        multiply the losses before the mean is taken: they average to 1 over all texts, not over the batch.
        """
        from torch.nn import functional

        loss_of = getattr(functional, self.torch_loss)
        if weights is None:
            return loss_of(logits, targets)
        losses = loss_of(logits, targets, reduction="none")
        return (losses * (weights if losses.ndim == 2 else weights[:, 0])).mean()


class Multi(Single):
    """Any number of labels a text. Targets float32 (n, C) of 0 and 1; soft ones each a probability."""

    name = "multi"
    problem_type = "multi_label_classification"
    torch_loss = "binary_cross_entropy_with_logits"
    metric = "micro_f1"
    metrics_to_choose = ("micro_f1", "macro_f1")

    def decisions(self, logits: np.ndarray, thresholds: np.ndarray | None = None) -> np.ndarray:
        """Labels whose probability reaches their threshold (None: one half), bool (n, C)."""
        return probabilities(logits, self.name) >= (0.5 if thresholds is None else thresholds)

    def selection_targets(self, logits: np.ndarray) -> np.ndarray:
        """The teacher's decisions, float32 (n, C)."""
        return self.decisions(logits).astype(np.float32)

    def chosen(self, decided: np.ndarray, classes: int) -> np.ndarray:
        """Which labels apply, bool (n, C)."""
        return decided > 0.5

    def metrics(
        self, logits: np.ndarray, targets: np.ndarray, thresholds: np.ndarray | None = None
    ) -> dict[str, float]:
        """``micro_f1``, ``macro_f1``, ``exact_match`` (share of texts with all labels right)."""
        guess, gold = self.decisions(logits, thresholds), targets > 0.5
        return {**evaluate.f1(guess, gold), "exact_match": float((guess == gold).all(axis=1).mean())}

    def _counts(self, targets: np.ndarray) -> np.ndarray:
        result: np.ndarray = targets.sum(axis=0)
        return result

    def thresholds(self, logits: np.ndarray, targets: np.ndarray) -> list[float] | None:
        """The probability from which on each label is given."""
        return evaluate.fit_thresholds(probabilities(logits, self.name), targets)

    def gold_targets(self, targets: np.ndarray, classes: int) -> np.ndarray:
        """The targets themselves."""
        return targets.reshape(len(targets), -1).astype(np.float32)


class Regression(Single):
    """A score a text. Targets float64 (n,)."""

    name = "regression"
    problem_type = "regression"
    torch_loss = "mse_loss"
    metric = "r2"
    metrics_to_choose = ()
    scores_type = np.float64  # float32 may lose what scores differ by

    def outputs(self, labels: tuple[str, ...]) -> int:
        """One."""
        return 1

    def decisions(self, logits: np.ndarray, thresholds: np.ndarray | None = None) -> np.ndarray:
        """The scores (n,)."""
        return logits[:, 0]

    def metrics(
        self, logits: np.ndarray, targets: np.ndarray, thresholds: np.ndarray | None = None
    ) -> dict[str, float]:
        """``r2``, ``rmse``, ``mae``, ``pearson``, ``spearman``."""
        return evaluate.of_scores(logits[:, 0], targets)

    def never_predicted(
        self, logits: np.ndarray, targets: np.ndarray, thresholds: np.ndarray | None = None
    ) -> list[tuple[int, int]]:
        """Nothing: there are no classes."""
        return []

    def fidelity(
        self,
        logits: np.ndarray,
        teacher: np.ndarray,
        thresholds: np.ndarray | None = None,
        teacher_thresholds: np.ndarray | None = None,
    ) -> float:
        """Pearson's correlation."""
        same = np.array_equal(logits[:, 0], teacher[:, 0])
        return 1.0 if same else evaluate.pearson(logits[:, 0], teacher[:, 0])

    def soft_targets(self, logits: np.ndarray) -> np.ndarray:
        """The scores."""
        return logits

    def gold_targets(self, targets: np.ndarray, classes: int) -> np.ndarray:
        """The scores, float64 (n, 1)."""
        return targets.reshape(len(targets), -1).astype(np.float64)


TASKS: dict[str, Single] = {task.name: task for task in (Single(), Multi(), Regression())}
