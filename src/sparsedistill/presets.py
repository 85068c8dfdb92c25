"""What settings that are left to the program become, once it is known what is learnt from."""

from __future__ import annotations

import dataclasses
import math
from typing import Any

from .options import Distill

PAIRS_EMBEDDING = 128
_DEFAULT = Distill()


def linear_rate(steps: int) -> float:
    """Peak learning rate of a linear student that is trained for so many steps.

    The more steps, the lower: what they do together is what a linear model's regularisation decides. On the dev sets of
    four to ninety thousand texts, 0.02 to 0.0025 were best.
    """
    return min(0.02, 0.01 * math.sqrt(1000 / steps))


def student_settings(distill: Distill, mode: str, are_pairs: bool) -> Distill:
    """The settings of the student of a mode, nothing in them left to the program.

    From labels alone a linear student is more accurate than one with a hidden layer, and it is smaller; with a teacher
    it is the other way round. Who asks for a layer, W1 or a pooling asks for a student with one.
    """
    untouched = all(getattr(distill, name) == getattr(_DEFAULT, name) for name in ("hidden", "embedding", "pooling"))
    linear = distill.student == "linear"
    if distill.student == "auto":
        linear = mode == "scratch" and untouched and not are_pairs
    if linear:
        shape: dict[str, Any] = {"hidden": (), "embedding": 0, "pooling": "sqrtn", "optimizer": "sgd", "init": "random"}
    else:  # pairs are compared in four times the table's width, which W1 brings together
        shape = {"embedding": distill.embedding or PAIRS_EMBEDDING * are_pairs}
    return dataclasses.replace(
        distill,
        **shape,
        student="linear" if linear else "network",
        batch_size=distill.batch_size or (64 if linear else 512),
        # Without a hidden layer a row has to become a logit, not a part of one; linear: see below.
        learning_rate=distill.learning_rate or (0.0 if linear else 0.01 if distill.hidden else 0.1),
        ngram_dropout=distill.ngram_dropout if distill.ngram_dropout >= 0 else (0.0 if linear else 0.1),
    )
