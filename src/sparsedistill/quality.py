"""Likely label errors among the texts of a run."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from .classifier import Classifier
from .data import pairs
from .errors import DataError, SettingsError
from .label_errors import Suspects, confident_errors, suspects
from .stages.folds import FOLDS, REPEATS, out_of_fold
from .teacher.logits import Logits

if TYPE_CHECKING:
    from .run import Run
    from .tasks import TaskHead

PARTS = ("train", "dev", "test")


def label_errors(
    run: Run, part: str = "train", folds: int = FOLDS, repeats: int = REPEATS, threads: int = 0
) -> dict[str, Any]:
    """Gold labels of ``train``, ``dev`` or ``test`` that are likely wrong, the likeliest first.

    Train is judged by students of gold labels that were trained on other folds of it (``folds`` and ``repeats`` are
    those of :func:`sparsedistill.stages.folds.out_of_fold`), dev and test by the classifier of the run; either together
    with the teacher, where its logits of the part are in the run directory: where both suggest another label, it comes
    first. A teacher that was fine-tuned on train has seen its labels, and adds nothing to the score (``seen`` of
    :func:`sparsedistill.label_errors.suspects`).

    The result has the number of ``texts``; ``estimates``: "student" and, where there are logits, "teacher";
    ``estimated``: of each head with single labels, how many errors there are by
    :func:`sparsedistill.label_errors.confident_errors`; and ``errors``, a dict each: ``rank`` (from 1), ``text`` (and
    ``second`` of a pair), ``head`` where heads have names, ``gold`` and ``suggested``, ``score`` (see
    :class:`sparsedistill.label_errors.Suspects`), ``student`` and ``teacher`` (their probability of the gold label; of
    scores what they predict), ``agreed``, ``source`` and ``row``. Of several labels a text, ``gold`` is "-LABEL" where
    the text has not got a label that is suggested, and so is ``suggested`` the other way round.

    Errors: :class:`SettingsError` for a part that has no gold labels.
    """
    if part not in PARTS:
        raise SettingsError(f"no part {part!r}: {', '.join(PARTS)}")
    settings = run.settings
    there = run.inputs.has_dev if part == "dev" else bool(getattr(settings.data, part))
    if not there:
        raise SettingsError(f"{run.directory} has no gold labels of {part}")
    labelled = run.inputs.part(part)
    if part == "train":
        student = out_of_fold(run, folds, repeats, threads)
    else:
        classifier = Classifier.load(run.directory / "classifier")
        student = classifier._logits(run.for_classifier(labelled.texts), threads, "error")
    estimates = {"student": student}
    if (logits := teacher_logits(run, part)) is not None:
        estimates["teacher"] = logits
    rows: list[dict[str, Any]] = []
    estimated = {}
    for head, own, gold, texts in _heads(run, labelled.targets, estimates):
        seen = [
            logits for name, logits in own.items() if name == "teacher" and part == "train" and run.fine_tunes_teacher
        ]
        found = suspects(head.task.name, gold, list(own.values())[: len(own) - len(seen)], seen)
        if head.task.name == "single":
            estimated[head.name] = confident_errors(gold, own["student"])
        labels = head.labels or labelled.labels
        rows += _rows(run, labelled, head, labels, gold, own, texts, found)
    rows.sort(key=lambda row: (not row["agreed"], -row["score"]))
    ranked = [{"rank": i + 1, **row} for i, row in enumerate(rows)]
    result = {"part": part, "texts": len(labelled.texts), "estimates": list(estimates), "estimated": estimated}
    return {**result, "errors": ranked}


def teacher_logits(run: Run, part: str) -> np.ndarray | None:
    """The teacher's logits (n, outputs) of a part as they are in the run directory; None where there are none."""
    directory = run.directory / "logits" / part
    if not (directory / "manifest.json").is_file():
        return None
    found = Logits.load(directory)
    if len(found) != run.facts(part)["texts"]:
        raise DataError(f"{directory} is of other texts: sparsedistill label --run {run.directory}")
    return found.array()


def _heads(
    run: Run, targets: np.ndarray, estimates: dict[str, np.ndarray]
) -> Iterator[tuple[TaskHead, dict[str, np.ndarray], np.ndarray, np.ndarray]]:
    """Each head, its logits by estimate, its gold targets, and the numbers of the texts these are of: those with a
    target, and with a prediction of the teacher where it has any.
    """
    if run.several is None:
        every = np.arange(len(targets))
        for head, *_ in run.task.each(estimates["student"], targets):
            yield head, estimates, targets, every
        return
    for head in run.several.heads:
        own = {name: logits[:, head.outputs] for name, logits in estimates.items()}
        own = {name: logits for name, logits in own.items() if not np.isnan(logits).all()}
        rows = head.there(targets)
        for logits in own.values():
            rows &= ~np.isnan(logits).any(axis=1)
        if rows.any():
            yield head, {name: one[rows] for name, one in own.items()}, head.own(targets[rows]), np.flatnonzero(rows)


def _rows(
    run: Run, labelled: Any, head: TaskHead, labels: Sequence[str], gold: np.ndarray, own: dict[str, np.ndarray],
    texts: np.ndarray, found: Suspects,
) -> list[dict[str, Any]]:  # fmt: skip
    """The likely errors of a head, as :func:`label_errors` has them."""
    task = head.task.name
    predicted = {
        name: (logits[:, 0].astype(np.float64) if task == "regression" else head.task.soft_targets(logits))
        for name, logits in own.items()
    }
    rows = []
    for at, output, score, suggested, agreed in zip(
        found.text.tolist(), found.output.tolist(), found.score.tolist(), found.suggested.tolist(),
        found.agreed.tolist(), strict=True,
    ):  # fmt: skip
        text = int(texts[at])
        row: dict[str, Any] = {"text": labelled.texts[text]}
        if run.are_pairs:
            ((row["text"], row["second"]),) = pairs.split([labelled.texts[text]])
        if head.name:
            row["head"] = head.name
        if task == "single":
            row |= {"gold": labels[int(gold[at])], "suggested": labels[suggested]}
            shares = {name: float(one[at, int(gold[at])]) for name, one in predicted.items()}
        elif task == "multi":
            with_it, without = labels[output], f"-{labels[output]}"
            row |= {"gold": without if suggested else with_it, "suggested": with_it if suggested else without}
            shares = {
                n: float(one[at, output] if not suggested else 1 - one[at, output]) for n, one in predicted.items()
            }
        else:
            row |= {"gold": float(gold[at]), "suggested": suggested}
            shares = {name: float(one[at]) for name, one in predicted.items()}
        source, line = labelled.places.where(text)
        rows.append({**row, "score": score, **shares, "agreed": agreed, "source": source, "row": line})
    return rows
