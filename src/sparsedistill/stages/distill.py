"""Train a student on the teacher's distribution, for each mode."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from . import train
from .keys import keyed

if TYPE_CHECKING:
    from ..run import Run

HELP = "train the student on the teacher's soft labels"


def inputs(run: Run, name: str) -> dict[str, Any]:
    """What the student of a mode depends on."""
    settings, vocabulary = run.settings, run.settings.vocabulary_of(name)
    labelled = {part: run.key(f"label.{part}") for part in settings.labelled_parts(name)}
    return {
        "distill": keyed(run.student(name), "modes"),
        "vocabulary": run.key(f"count.{vocabulary}"),
        "logits": labelled or None,
        "embedded": run.key(f"embed.{vocabulary}") if train.is_initialised(run, name) else None,
        "train": run.texts_of("train") if name == "scratch" else None,
        "dev": run.texts_of("dev"),
        **(run.weighted(gold=name == "scratch") if name != "kd_private" else {}),
        **run.common,
    }


def execute(run: Run) -> None:
    """Train a student for each mode."""
    for mode in run.settings.distill.modes:
        train.once(run, f"distill.{mode}")
