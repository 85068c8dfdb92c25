"""Fine-tune the teacher on gold labels, and open it."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any

from ..format import read_json, write_json
from ..teacher import Job
from .keys import digest, keyed

if TYPE_CHECKING:
    from ..run import Run

HELP = "fine-tune the teacher on the labelled texts"


def inputs(run: Run, name: str) -> dict[str, Any]:
    """What a fine-tuned teacher depends on."""
    return {
        "teach": keyed(run.settings.teach, "teacher"),
        "model": run.teacher_identity,
        "train": run.texts_of("train"),
        "dev": run.texts_of("dev"),
        **run.weighted(gold=True),
        **run.common,
    }


def execute(run: Run) -> None:
    """Fine-tune the teacher on train, where it is a model that wants it."""
    if not run.settings.needs_teacher or not run.fine_tunes_teacher:
        return
    from ..teacher.finetune import finetune

    directory, data = run.directory / "teacher", run.settings.data
    train, dev = run.inputs.part("train"), run.inputs.part("dev")
    run.once(
        "teach", [directory / "config.json"],
        lambda: finetune(
            run.settings.teach, directory, train.texts, train.targets, dev.texts, dev.targets,
            labels=run.inputs.labels, task=data.task, seed=data.seed,
            are_pairs=run.are_pairs, weights=run.inputs.gold_weights, metric=run.common.get("metric", "auto"),
        ),
    )  # fmt: skip


def teacher_inputs(run: Run) -> dict[str, Any]:
    """What the teacher's logits of any text depend on."""
    teach = run.settings.teach
    return {
        "teacher": run.key("teach") if run.fine_tunes_teacher else run.teacher_identity,
        "max_length": teach.max_length,
        "precision": teach.precision,
        "scores": run.settings.label.scores,
        "labels": run.inputs.labels,
        "task": run.settings.task,
        **({"heads": {name: head.task for name, head in run.settings.heads.items()}} if run.settings.heads else {}),
    }


def open_teacher(run: Run) -> Any:
    """The teacher, at the precision that the run has settled on."""
    assert run.kind is not None  # or check() has refused
    fitted = None
    if run.fine_tunes_teacher:
        run.result_of("teach")
        fitted = run.directory / "teacher"
    # Half a corpus must not be labelled at one precision and half at another.
    chosen = run.directory / "logits" / "precision.json"
    settings, whose = run.settings.teach, digest([teacher_inputs(run), run.settings.teach.device])
    if settings.precision == "auto" and chosen.is_file() and (settled := read_json(chosen))["teacher"] == whose:
        settings = dataclasses.replace(settings, precision=settled["precision"])
    job = Job(
        settings, run.settings.label, run.inputs.labels, run.settings.data.task, run.are_pairs, fitted, run.several
    )
    opened = run.kind.open(job)
    write_json(chosen, {"teacher": whose, "precision": opened.precision})
    return opened
