"""How long a training lasts, and how fast it goes at each step."""

from __future__ import annotations

import math
from dataclasses import dataclass


@dataclass(frozen=True)
class Schedule:
    """See :class:`sparsedistill.settings.Distill` for the fields."""

    steps: int
    batch_size: int
    learning_rate: float
    warmup: float
    ngram_dropout: float
    evaluate_every: int
    checkpoint_seconds: float
    threads: int
    seed: int
    optimizer: str = "adam"  # of the table; the dense layers' is Adam
    schedule: str = "polynomial"
    power: float = 1.0
    keep_best: bool = False
    patience: int = 0
    max_seconds: float = math.inf

    def rate(self, step: int) -> float:
        """Learning rate of step 1..steps: linear warm-up, then what ``schedule`` says.

        polynomial falls to zero, as a straight line where ``power`` is 1; cosine too (Loshchilov and Hutter 2017).
        """
        warm = max(1, math.ceil(self.warmup * self.steps))
        if step <= warm:
            return self.learning_rate * step / warm
        left = (self.steps - step + 1) / max(1, self.steps - warm + 1)
        if self.schedule == "cosine":
            return self.learning_rate * (1 - math.cos(math.pi * left)) / 2
        return self.learning_rate * (1.0 if self.schedule == "constant" else left**self.power)

    def at(self, step: int, seconds: float) -> int:
        """The step that a training is at: where time runs out before the steps do, time says."""
        return max(step, min(self.steps, math.ceil(self.steps * seconds / self.max_seconds)))
