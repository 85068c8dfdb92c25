"""Fold and quantise each student into a classifier."""

from __future__ import annotations

import dataclasses
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from .. import calibrate, evaluate, report
from ..errors import SettingsError
from ..progress import say
from ..settings import mode_of
from ..tasks import TaskHead
from . import train
from .keys import versions

if TYPE_CHECKING:
    from ..run import Run

HELP = "fold and quantise the student: the classifier"


def inputs(run: Run, name: str) -> dict[str, Any]:
    """What a student's classifier depends on."""
    return {
        "compress": dataclasses.asdict(run.settings.compress),
        "student": run.key(train.unit_of(name)),
        **run.common,
    }


def execute(run: Run) -> None:
    """Turn each student into a classifier; refuse one that loses more than ``max_loss`` on dev."""
    threads = run.threads(run.settings.distill.threads)
    for name in run.students:
        directory = run.directory / "classifiers" / name

        def work(name: str = name) -> dict[str, Any]:
            return _compress(run, name, threads)

        run.once(f"compress.{name}", [directory / "config.json"], work)


def _compress(run: Run, name: str, threads: int) -> dict[str, Any]:
    from ..student.compress import compress

    settings, task, primary = run.settings.compress, run.task, run.primary
    vocabulary, student = run.trained(name)
    texts, targets = run.selection_set()
    heads = run.several.heads if run.several else ()
    regression = "regression" in (task.name, *(head.task.name for head in heads))
    exact = student.logits(*run.bags(vocabulary, texts, threads), threads)
    calibrations = _calibrations(run, name, exact, targets)
    calibrated = partial(calibrate.heads_as_logits, [(head.outputs, found) for head, found in calibrations])
    thresholds = task.thresholds(calibrated(exact), targets)
    cut = np.array(thresholds) if thresholds else None
    extra = {"provenance": provenance(run, name), **_answers(run, calibrations, thresholds)}
    before = task.metrics(calibrated(exact), targets, cut)[primary]
    # Scores are finer than decisions: where bytes are too coarse for them, auto takes more.
    finer = ("int16", "float32") if regression and settings.rows == "auto" else ()
    for rows in (settings.rows, *finer):
        classifier = compress(student, vocabulary, run.inputs.labels, task.name, rows, thresholds, extra)
        compressed = classifier._logits(run.for_classifier(texts), threads, "error")
        after = task.metrics(calibrated(compressed), targets, cut)[primary]
        same = task.fidelity(calibrated(compressed), calibrated(exact), cut, cut)
        too_much = _too_much(run, calibrated(exact), calibrated(compressed), targets, cut)
        if not too_much:
            break
    kept = f"correlation {same:.4f}" if task.name == "regression" else f"{same:.2%} of the decisions kept"
    say(f"compress {name}: {classifier!r}; dev {primary} {before:.4f} -> {after:.4f}, {kept}")
    if too_much:
        raise SettingsError(
            f"{name}: {classifier.config['rows']['type']} rows cost {too_much} on dev, more than {settings.max_loss}: "
            "take --rows float32, or allow it with --max-loss"
        )
    _warn_never_predicted(run, name, task.never_predicted(calibrated(compressed), targets, cut))
    classifier.save(run.directory / "classifiers" / name)
    return {"before": before, "after": after, "fidelity": same, "bytes": classifier.nbytes}


def _too_much(run: Run, exact: np.ndarray, compressed: np.ndarray, targets: np.ndarray, cut: np.ndarray | None) -> str:
    """What compression costs the head that loses too much by it, in words; "" where none does."""
    pairs = zip(run.task.each(exact, targets, cut), run.task.each(compressed, targets, cut), strict=True)
    for (head, before, wanted, own), (_, after, *_) in pairs:
        primary, regression = head.task.metric if run.several else run.primary, head.task.name == "regression"
        lost = head.task.metrics(before, wanted, own)[primary] - head.task.metrics(after, wanted, own)[primary]
        if regression:  # of what the student itself varies by, where dev has another unit
            lost = min(lost, 1 - evaluate.r2(after[:, 0], before[:, 0]))
        # On few texts a single flipped decision is more than the bound.
        few = 0.0 if regression else 1.5 * head.task.one_decision(wanted, primary)
        if lost > max(run.settings.compress.max_loss, few):
            return f"{lost:.4f} {primary}" + f" of head {head.name!r}" * bool(head.name)
    return ""


_Calibrations = list[tuple[TaskHead, dict[str, Any]]]


def _calibrations(run: Run, name: str, exact: np.ndarray, targets: np.ndarray) -> _Calibrations:
    """Of each head that has one, its calibration."""
    found = []
    if run.settings.compress.calibrate:
        for head, logits, wanted, _ in run.task.each(exact, targets):
            calibration = calibrate.fit(logits, wanted, head.task.name)
            if calibration:
                found.append((head, calibration))
                continue
            say(
                f"compress {name}: no calibration{f' of head {head.name!r}' * bool(head.name)}: dev has too few texts "
                "for one that is better than the scores themselves"
            )
    return found


def _answers(run: Run, calibrations: _Calibrations, thresholds: list[float] | None) -> dict[str, Any]:
    """What config.json has of the heads, beyond task and labels of the only one."""
    fitted = {head.name: {"calibration": calibration} for head, calibration in calibrations}
    if run.several is None:
        return fitted.get("", {})
    assert thresholds is not None
    heads = [
        {
            "name": head.name,
            "task": head.task.name,
            "labels": list(head.labels),
            **({"thresholds": thresholds[head.outputs]} if head.task.name == "multi" else {}),
            **fitted.get(head.name, {}),
        }
        for head in run.several.heads
    ]
    return {"heads": heads}


def _warn_never_predicted(run: Run, name: str, missed: list[tuple[int, int]]) -> None:
    """Warn of classes of dev that a classifier never predicts there: (class, texts of dev)."""
    if not missed:
        return
    train = run.facts("train").get("labels", {})
    shown = [
        f"{label!r} ({f'{train[label]:,} texts of train, ' if label in train else ''}{count:,} of dev)"
        for label, count in ((run.inputs.labels[i], count) for i, count in missed)
    ]
    more = f" and {len(shown) - 8} more" if len(shown) > 8 else ""
    weighable = name in ("scratch", "kd_ft") or run.fine_tunes_teacher
    remedy = ", or --class-weights balanced," if weighable and not run.settings.data.class_weights else ""
    say(
        f"warning: {report.NAMES[name]} never predicts {', '.join(shown[:8])}{more} on dev: more such "
        f"texts{remedy} may help"
    )


def provenance(run: Run, student: str) -> dict[str, Any]:
    """Where a classifier comes from, for its config."""
    mode = mode_of(student)
    parts = {
        n: {k: run.data[n][k] for k in ("texts", "fingerprint")} for n in ("train", "dev", "corpus") if n in run.data
    }
    return {
        "student": student,
        "teacher": run.kind.name if run.kind else "",
        "data": parts,
        "seed": run.settings.data.seed,
        "versions": versions(),
        "settings": {
            **{n: dataclasses.asdict(getattr(run.settings, n)) for n in ("teach", "finetune", "compress")},
            "count": dataclasses.asdict(run.counting(run.settings.vocabulary_of(mode))[0]),
            "distill": dataclasses.asdict(run.student(mode)),
        },
    }
