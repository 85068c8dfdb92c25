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
    from ..classifier import Classifier
    from ..run import Run
    from ..student.vocabulary import Vocabulary

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
    settings, made = run.settings.compress, Maker(run, name, threads)
    vocabulary, student = run.trained(name)
    exact = student.logits(*run.bags(vocabulary, made.texts, threads), threads)
    # Scores are finer than decisions: where bytes are too coarse for them, auto takes more.
    finer = ("int16", "float32") if made.regression and settings.rows == "auto" else ()
    for rows in (settings.rows, *finer):
        classifier, found = made.classifier(vocabulary, student, exact, rows)
        if not found.too_much:
            break
    kept = (
        f"correlation {found.same:.4f}" if run.task.name == "regression" else f"{found.same:.2%} of the decisions kept"
    )
    say(f"compress {name}: {classifier!r}; dev {run.primary} {found.before:.4f} -> {found.after:.4f}, {kept}")
    if found.too_much:
        raise SettingsError(
            f"{name}: {classifier.config['rows']['type']} rows cost {found.too_much} on dev, more than "
            f"{settings.max_loss}: take --rows float32, or allow it with --max-loss"
        )
    _warn_never_predicted(run, name, run.task.never_predicted(found.calibrated, made.targets, found.thresholds))
    classifier.save(run.directory / "classifiers" / name)
    return {"before": found.before, "after": found.after, "fidelity": found.same, "bytes": classifier.nbytes}


@dataclasses.dataclass(frozen=True)
class OnDev:
    """What a classifier is on dev: the figure of the student ``before`` and ``after`` it was quantised, the share of
    the ``same`` decisions, its ``logits``, the ``calibrated`` ones and ``thresholds``, and what of a head is lost
    ``too_much``.
    """

    before: float
    after: float
    same: float
    logits: np.ndarray
    calibrated: np.ndarray
    thresholds: np.ndarray | None
    too_much: str


class Maker:
    """Makes classifiers of students of the kind ``name`` of a run, with thresholds and calibrations fitted on dev.

    Attributes: ``texts`` and ``targets`` of dev; ``regression``: whether there are scores among the outputs.
    """

    def __init__(self, run: Run, name: str, threads: int):
        self._run, self._name, self._threads = run, name, threads
        self.texts, self.targets = run.selection_set()
        heads = run.several.heads if run.several else ()
        self.regression = "regression" in (run.task.name, *(head.task.name for head in heads))

    def classifier(
        self, vocabulary: Vocabulary, student: Any, exact: np.ndarray, rows: str, more: dict[str, Any] | None = None
    ) -> tuple[Classifier, OnDev]:
        """The classifier of a student that gives dev the logits ``exact``, and what it is there; ``more``: for its
        provenance.
        """
        from ..student.compress import compress

        run, task, primary = self._run, self._run.task, self._run.primary
        calibrations = _calibrations(run, self._name, exact, self.targets)
        calibrated = partial(calibrate.heads_as_logits, [(head.outputs, found) for head, found in calibrations])
        before = calibrated(exact)
        thresholds = task.thresholds(before, self.targets)
        cut = np.array(thresholds) if thresholds else None
        extra = {
            "provenance": provenance(run, self._name) | (more or {}),
            **_answers(run, calibrations, thresholds),
        }
        classifier = compress(student, vocabulary, run.inputs.labels, task.name, rows, thresholds, extra)
        logits = classifier._logits(run.for_classifier(self.texts), self._threads, "error")
        after = calibrated(logits)
        return classifier, OnDev(
            task.metrics(before, self.targets, cut)[primary],
            task.metrics(after, self.targets, cut)[primary],
            task.fidelity(after, before, cut, cut),
            logits,
            after,
            cut,
            _too_much(run, before, after, self.targets, cut),
        )


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
