"""Figures of a finished classifier on a file of labelled texts, overall and within slices of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np

from . import calibrate, figures, intervals
from .classifier import Classifier, probabilities
from .data import pairs
from .data.files import MissingColumnError
from .data.labelled import Labelled, label_columns
from .data.parts import LabelledParts
from .errors import SettingsError
from .options import Data
from .settings import Settings
from .slices import Slices, hardly_vary, of_labels_within, of_scores_within, slices_of
from .tasks import TASKS


@dataclass(frozen=True)
class Answers:
    """What a classifier gives of n texts, beside what is right.

    ``gold``: scores float64 (n,), or bool (n, C). ``predicted``: scores float64 (n,), or probabilities float64 (n, C).
    ``decided``: of labels bool (n, C). ``cuts``: of scores; None: the levels of gold.
    """

    task: str
    labels: tuple[str, ...]
    gold: np.ndarray
    predicted: np.ndarray
    decided: np.ndarray | None = None
    cuts: tuple[float, ...] | None = None
    top: float = figures.TOP

    def take(self, rows: np.ndarray) -> Answers:
        """Those of some texts, at the same cuts."""
        decided = None if self.decided is None else self.decided[rows]
        return replace(self, gold=self.gold[rows], predicted=self.predicted[rows], decided=decided, cuts=self.all_cuts)

    @property
    def all_cuts(self) -> tuple[float, ...]:
        """Cuts of scores, those of the levels where none are given."""
        return (
            tuple(figures.levels_of(self.gold)[1:])
            if self.cuts is None and self.task == "regression"
            else self.cuts or ()
        )

    @property
    def error_targets(self) -> np.ndarray:
        """What probabilities or scores are calibrated against."""
        return self.gold.argmax(axis=1) if self.task == "single" else self.gold

    def figures(self) -> dict[str, intervals.Figure]:
        """All there are; see :mod:`sparsedistill.figures`. ``ece``: of scores in their unit."""
        if self.decided is None:
            found = figures.of_scores(self.predicted, self.gold, self.all_cuts, self.top)
        else:
            single = self.task == "single"
            found = figures.of_labels(self.predicted, self.decided, self.gold, self.labels, single)
        return {**found, "ece": calibrate.error_figure(self.predicted, self.error_targets)}

    def within(self, slices: Slices) -> dict[str, intervals.Figure]:
        """What is left when the slice is known; see :mod:`sparsedistill.slices`."""
        if self.task == "regression":
            return of_scores_within(self.predicted, self.gold, self.all_cuts, slices)
        return of_labels_within(self.predicted, self.gold, self.labels, self.task == "single", slices)


# long: what it takes needs as many words
def measure(
    classifier: Classifier,
    sources: Sequence[str],
    data: Data | None = None,
    *,
    slices: Sequence[str] = (),
    cuts: Sequence[float] | None = None,
    top: float = figures.TOP,
    resamples: int = intervals.RESAMPLES,
    seed: int = 0,
    threads: int = 0,
) -> dict[str, Any]:
    """Figures of ``classifier`` on labelled texts, or on a teacher's scores, as values that JSON can hold.

    ``sources`` are files, globs, folders or ``hf:NAME``; ``data`` says how to read them (its columns ``text``,
    ``label``, ``pair``, formats). ``slices`` names columns. ``cuts`` and ``top`` are of scores, see
    :func:`sparsedistill.figures.of_scores`; ``resamples`` and ``seed`` of the intervals,
    :func:`sparsedistill.intervals.measured`.

    The result has ``figures`` by name, each with ``value``, ``low`` and ``high`` (or ``reason``); ``reliability``, of
    each label (single: of the most probable one; scores: of the score) the data of the diagram; and by column
    ``slices``: ``slices`` by name with ``texts`` and ``figures``, ``within`` (see :func:`Answers.within`), ``rare``
    (slices that "(others)" puts together) and ``hardly_vary`` (names of slices).

    Errors: :class:`DataError` and :class:`SettingsError`, before a text is scored, for what cannot be read or measured.
    """
    part = _LabelledFile(classifier, sources, data or Data(), tuple(slices)).read()
    if cuts and classifier.task != "regression":
        raise SettingsError("cuts are of scores, and this classifier gives labels: leave out --cuts")
    texts: Any = pairs.split(part.texts) if classifier.pairs else part.texts
    logits = classifier.decision_function(texts, threads)
    answers = answers_of(classifier, logits, part.targets, cuts, top)

    def measured(found: dict[str, intervals.Figure], n: int) -> dict[str, Any]:
        return intervals.measured(found, n, resamples, seed)

    result: dict[str, Any] = {
        "sources": list(sources),
        "task": classifier.task,
        "labels": list(classifier.labels),
        "texts": len(part.texts),
        "resamples": resamples,
        "level": intervals.LEVEL,
        "seed": seed,
        "figures": measured(answers.figures(), len(part.texts)),
        "reliability": reliability_of(answers),
        "slices": {},
    }
    if classifier.task == "regression":
        least = figures.least_of_top(answers.gold, top)
        result["top"] = {"share": top, "from": least, "texts": int((answers.gold >= least).sum())}
        result["cuts"] = list(answers.all_cuts)
    for column in slices:
        known = slices_of(part.extra[column])
        each = {}
        for i, name in enumerate(known.names):
            rows = np.flatnonzero(known.place == i)
            each[name] = {"texts": len(rows), "figures": measured(answers.take(rows).figures(), len(rows))}
        result["slices"][column] = {
            "slices": each,
            "within": measured(answers.within(known), len(part.texts)),
            "rare": known.rare,
            "hardly_vary": hardly_vary(answers.gold, known),
        }
    return result


def answers_of(
    classifier: Classifier, logits: np.ndarray, targets: np.ndarray, cuts: Sequence[float] | None = None,
    top: float = figures.TOP,
) -> Answers:  # fmt: skip
    """Logits (n, C) of a classifier and gold targets as the task has them, side by side."""
    task = TASKS[classifier.task]
    if task.name == "regression":
        scores, asked = logits[:, 0].astype(np.float64), None if cuts is None else tuple(sorted(cuts))
        return Answers(task.name, classifier.labels, targets.astype(np.float64), scores, None, asked, top)
    limits = classifier.config.get("thresholds")
    decided = task.chosen(task.decisions(logits, np.array(limits) if limits else None), logits.shape[1])
    gold = task.chosen(targets, logits.shape[1])
    return Answers(task.name, classifier.labels, gold, probabilities(logits, task.name), decided)


def reliability_of(answers: Answers) -> dict[str, dict[str, Any]]:
    """The data of the reliability diagrams (:func:`sparsedistill.calibrate.reliability`), by what is predicted.

    With each the error in bins of equal mass and of equal width.
    """
    named = {"single": ("most probable label",), "regression": ("score",)}.get(answers.task, answers.labels)
    result = {}
    columns = calibrate.confidences(answers.predicted, answers.error_targets)
    for name, (predicted, observed) in zip(named, columns, strict=True):
        result[name] = {
            **calibrate.reliability(predicted, observed),
            "ece": calibrate.expected_calibration_error(predicted, observed),
            "ece_equal_width": calibrate.expected_calibration_error(predicted, observed, equal="width"),
        }
    return result


class _LabelledFile(LabelledParts):
    """The labelled texts that a classifier is measured on, as a part of a run is read."""

    def __init__(self, classifier: Classifier, sources: Sequence[str], data: Data, slices: tuple[str, ...]):
        self._classifier, self._slices = classifier, slices
        if classifier.pairs != bool(data.pair):
            raise SettingsError(
                "the classifier labels pairs of texts: name the second's column with --pair"
                if classifier.pairs
                else "the classifier labels single texts: leave out --pair"
            )
        data = replace(data, train=(), dev=(), corpus=(), test=tuple(sources), task=classifier.task)
        # Columns of labels are in their own order, integers and lists of 0 and 1 in that of the classifier's labels.
        if not data.labels and classifier.task != "regression" and len(label_columns(data)) == 1:
            data = replace(data, labels=classifier.labels)
        super().__init__(Settings(data=data))

    @cached_property
    def labels(self) -> tuple[str, ...]:
        return self._classifier.labels

    def _columns(self, name: str) -> tuple[str, ...]:
        return (*self._pair, *self._slices)

    def read(self) -> Labelled:
        """Texts, targets and the columns of the slices."""
        try:
            return self._labelled("test")
        except MissingColumnError as error:
            option = "--slice" if error.name in self._slices else "--pair" if error.name in self._pair else ""
            raise error.with_option(option) if option else error from None
