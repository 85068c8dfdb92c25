"""Train the distilled student on gold labels (stage 3 of Ye et al. 2022)."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any

from . import train

if TYPE_CHECKING:
    from ..run import Run

HELP = "fine-tune the student on the gold labels"


def inputs(run: Run, name: str) -> dict[str, Any]:
    """What the fine-tuned student depends on."""
    return {
        "finetune": dataclasses.asdict(run.settings.finetune),
        "student": run.key("distill.kd"),
        "train": run.texts_of("train"),
        **run.weighted(gold=True),
    }


def execute(run: Run) -> None:
    """Train the kd student on train's gold labels."""
    if "kd_ft" in run.students:
        train.once(run, "finetune")
