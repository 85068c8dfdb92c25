"""Labelled texts on which a threshold of confidence is chosen: those of files, or a part of a run."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from . import figures, selective
from .cascade import outputs_of, teacher_of
from .classifier import Classifier
from .coverage import known_shares
from .data import pairs
from .errors import SettingsError
from .format import read_json
from .heads import Head
from .intervals import RESAMPLES
from .measure import LabelledFile
from .options import Data
from .selective import Outcomes
from .tasks import TASKS

if TYPE_CHECKING:
    from .run import Run


WITHIN = 0.003  # of a teacher's accuracy, unless anything else is wanted


@dataclass(frozen=True)
class Scored:
    """``outcomes`` of n texts; ``none``: bool (n,), which have none of the labels; ``costs``: seconds that a text costs
    the classifier and the teacher, None where there is no teacher or its cost is not known.
    """

    outcomes: Outcomes
    none: np.ndarray
    costs: tuple[float, float] | None = None


def of_run(
    run: Run, classifier: Classifier, head: Head, part: str = "dev", *, known: bool = False,
    teacher_cost: float | None = None,
) -> Scored:  # fmt: skip
    """The texts of a part of a run, with the teacher's logits that are stored there: no teacher is asked.

    The cost of the teacher is the one that the run has measured, unless ``teacher_cost`` gives another. Errors:
    :class:`SettingsError` for a part that is not labelled.
    """
    outputs = outputs_of(run, head)
    if part == "dev":
        texts, targets = run.selection_set()
    else:
        labelled = run.inputs.part(part)
        texts, targets = labelled.texts, labelled.targets
    logits = run.teacher_logits(part)[:, outputs]
    asked: Sequence[Any] = run.for_classifier(texts)
    if run.several:
        (own,) = (one for one in run.several.heads if one.name == head.name)
        there = np.flatnonzero(own.there(targets) & ~np.isnan(logits[:, 0]))
        asked, targets, logits = [asked[i] for i in there.tolist()], own.own(targets[there]), logits[there]
    if teacher_cost is None and (run.directory / "metrics.json").is_file():
        figures = read_json(run.directory / "metrics.json")["systems"].get("teacher", {})
        teacher_cost = 1 / figures["texts_per_second"] if figures.get("texts_per_second") else None
    return _scored(classifier, head, asked, targets, logits, known, teacher_cost)


def of_files(
    classifier: Classifier, head: Head, sources: Sequence[str], data: Data, *, teacher: Any = None,
    scores: str = "logits", none: str | None = None, known: bool = False, teacher_cost: float | None = None,
) -> Scored:  # fmt: skip
    """Labelled texts of files, all of which the ``teacher`` (see :class:`sparsedistill.Cascade`) is asked about.

    ``none``: the label of texts that have none of the classifier's. Errors: :class:`DataError` and
    :class:`SettingsError` for what cannot be read.
    """
    if none is not None:
        if head.task != "single" or none in head.labels:
            why = "is one of its labels" if none in head.labels else "is for heads with one label a text"
            raise SettingsError(f"--none {none} {why}: give the label of texts that have none of them")
        head_read = replace(head, labels=(*head.labels, none))
    else:
        head_read = head
    part = LabelledFile(head_read, classifier.pairs, sources, data, ()).read()
    texts: Sequence[Any] = pairs.split(part.texts) if classifier.pairs else part.texts
    logits = None
    if teacher is not None:
        ask = teacher_of(teacher, classifier, head, scores)
        started = time.perf_counter()
        logits = np.concatenate([ask(list(texts[i : i + 256])) for i in range(0, len(texts), 256)])
        if teacher_cost is None:
            teacher_cost = (time.perf_counter() - started) / len(texts)
    return _scored(classifier, head, texts, part.targets, logits, known, teacher_cost)


def _scored(
    classifier: Classifier, head: Head, texts: Sequence[Any], targets: np.ndarray, teacher: np.ndarray | None,
    known: bool, teacher_cost: float | None,
) -> Scored:  # fmt: skip
    classifier._logits(texts[:64], 1, "error")  # the first texts fetch the table
    started = time.perf_counter()
    logits = classifier._logits(texts, 1, "error")[:, head.outputs]
    cost = (time.perf_counter() - started) / max(len(texts), 1)
    shares = head.probabilities(logits)
    confidence = head.confidence(shares)
    if known:
        confidence = confidence * known_shares(classifier, texts)
    task = TASKS[head.task]
    decided = shares >= head.thresholds if head.task == "multi" else task.decisions(logits)
    outcomes = Outcomes(
        confidence, _right(decided, targets), None if teacher is None else _right(task.decisions(teacher), targets)
    )
    none = targets == len(head.labels) if head.task == "single" else np.zeros(len(texts), bool)
    has_cost = teacher is not None and teacher_cost is not None
    return Scored(outcomes, none, (cost, float(teacher_cost)) if has_cost and teacher_cost is not None else None)


def _right(decided: np.ndarray, targets: np.ndarray) -> np.ndarray:
    """Which of n decisions are right, bool (n,): of several labels all of them."""
    right = decided == targets
    result: np.ndarray = right if right.ndim == 1 else right.all(axis=1)
    return result


def fitted(
    scored: Scored, *, within: float | None = None, accuracy: float | None = None, share: float | None = None,
    none: bool = False, errors: float = selective.ERRORS, resamples: int = RESAMPLES,
) -> dict[str, Any]:  # fmt: skip
    """The threshold that is wanted, what it gives (``at``), and the curves, as values that JSON can hold."""
    outcomes = scored.outcomes
    if none:
        threshold = selective.threshold_of_none(outcomes, scored.none)
    elif accuracy is not None:
        threshold = selective.threshold_at_accuracy(outcomes, accuracy, errors)
    elif share is not None:
        threshold = selective.threshold_at_share(outcomes, share)
    elif within is not None or outcomes.teacher is not None:
        threshold = selective.threshold_within(outcomes, WITHIN if within is None else within, errors)
    else:
        raise SettingsError("say what is wanted: --accuracy, --share or --none; --within is for a teacher")
    at = selective.at_threshold(outcomes, threshold, scored.costs, resamples)
    if none:
        at |= of_none(scored, threshold)
    return {"texts": len(outcomes.right), "at": at, **selective.curves(outcomes, scored.costs, resamples)}


def of_none(scored: Scored, threshold: float) -> dict[str, float]:
    """How well texts of none of the labels are told from the others.

    ``right``: of the others, the share that is decided and right; ``rejected``: of those of none, the share that is
    not decided; ``auc``: the area under the ROC curve of the confidence.
    """
    outcomes, none = scored.outcomes, scored.none
    sent = outcomes.sent(threshold)
    area = figures.auc(outcomes.confidence, ~none)(np.ones((len(none), 1)))
    return {
        "right": float((outcomes.right & ~sent)[~none].mean()),
        "rejected": float(sent[none].mean()),
        "auc": float(area[0]),
    }
