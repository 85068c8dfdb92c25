"""Smaller students of a trained one: of the n-grams that change its logits most, narrower, and trained on its logits.

Pruning and narrowing take seconds and lose some accuracy; a few epochs on the logits of the large student over texts
that it has learnt from (Hinton et al. 2015) win nearly all of it back, and with a small table they take seconds, too.
"""

from __future__ import annotations

import math
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from ..tasks import Single
from .dataset import Batch, InMemory
from .model import Student
from .prune import closed, effects, folded, is_plain, kept, narrowed, parents
from .schedule import Schedule
from .train import train
from .vocabulary import Vocabulary

_POOLED, _DERIVED = 8192, 2048  # texts to take principal components of, and derivatives of the logits at
_EPOCHS, _BATCH, _RATE, _DROP = 4, 512, 1e-2, 0.1
_LEAST_STEPS = 400


class Shrinker:
    """Makes smaller students of ``student``, by number of n-grams and width of rows.

    ``texts``: that it has learnt from, or others like them (of pairs the halves, one after the other).
    ``score(student, vocabulary)``: the figure on dev that is shown while one is trained.

    Attributes: ``vocabulary``, and ``student`` folded, both as they were given; ``order``: int64 (V,), the rows, those
    that change the logits most first, and prefixes before their extensions.
    """

    def __init__(
        self,
        student: Student,
        vocabulary: Vocabulary,
        texts: Sequence[str],
        task: Single,
        score: Callable[[Student, Vocabulary], float],
        threads: int,
    ):
        self._task, self._texts, self._score, self._threads = task, texts, score, threads
        self.vocabulary, self.student = vocabulary, folded(student)
        bags = vocabulary.bags(texts, threads)
        logits = self.student.logits(*bags, threads)
        self._targets = task.soft_targets(logits)
        some = Batch(*bags, self._targets).take(np.arange(min(_POOLED, len(self._targets))))
        self._pooled = self.student.pool((some.ids, some.offsets), threads)
        changes = effects(self.student, vocabulary, self._pooled[:_DERIVED])
        self.order = closed(changes, parents(vocabulary))

    @property
    def width(self) -> int:
        """Numbers of a row."""
        return int(self.student.table.shape[1])

    @property
    def narrows(self) -> bool:
        """Whether rows can become narrower: where they are simply summed."""
        return is_plain(self.student)

    def smaller(self, rows: int, width: int, recover: bool = True) -> tuple[Student, Vocabulary]:
        """A student of so many n-grams and numbers a row, and its vocabulary; of all n-grams without training."""
        student = self.student if width >= self.width else narrowed(self.student, self._pooled.numpy(), width)
        vocabulary = self.vocabulary
        if rows < len(vocabulary):
            student, vocabulary = kept(student, vocabulary, self.order[:rows])
            if recover:
                self._recover(student, vocabulary)
        return student, vocabulary

    def _recover(self, student: Student, vocabulary: Vocabulary) -> None:
        """Train it, in place, on the logits of the full one."""
        batch = Batch(*vocabulary.bags(self._texts, self._threads), self._targets)
        size = min(_BATCH, max(1, len(batch) // 64))
        steps = max(round(_EPOCHS * len(batch) / size), _LEAST_STEPS)
        schedule = Schedule(
            steps=steps, batch_size=size, learning_rate=_RATE, warmup=0.05, ngram_dropout=_DROP, evaluate_every=steps,
            checkpoint_seconds=math.inf, threads=self._threads, seed=0,
        )  # fmt: skip
        what = f"recover {len(vocabulary):,} x {student.table.shape[1]}"
        with tempfile.TemporaryDirectory() as directory:
            train(
                student, InMemory(batch), schedule, self._task, Path(directory),
                lambda student: self._score(student, vocabulary), what, what, resume=False,
            )  # fmt: skip
        student.eval()
