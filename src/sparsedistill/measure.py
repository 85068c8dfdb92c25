"""Figures of a finished classifier on a file of labelled texts, overall and within slices of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np

from . import calibrate, figures, intervals
from .classifier import Classifier
from .cuts import cut_at_level, cut_at_share
from .data import labelled, pairs
from .data.files import MissingColumnError
from .data.labelled import Labelled, label_columns
from .data.parts import LabelledParts
from .data.records import Reader, reader_of
from .errors import SettingsError
from .heads import Head, asked_heads, probabilities
from .options import Data
from .settings import Settings
from .slices import Slices, hardly_vary, of_labels_within, of_scores_within, slices_of
from .tasks import TASKS


@dataclass(frozen=True)
class Answers:
    """What a head gives of n texts, beside what is right.

    ``gold``: scores float64 (n,), or bool (n, C). ``predicted``: scores float64 (n,), or probabilities float64 (n, C);
    ``uncalibrated``: the same without the head's calibration, None where it has none. ``decided``: of labels bool
    (n, C). ``cuts``: of scores.
    """

    task: str
    labels: tuple[str, ...]
    gold: np.ndarray
    predicted: np.ndarray
    uncalibrated: np.ndarray | None = None
    decided: np.ndarray | None = None
    cuts: tuple[float, ...] = ()
    top: float = figures.TOP

    def take(self, rows: np.ndarray) -> Answers:
        """Those of some texts, at the same cuts."""
        names = ("gold", "predicted", "uncalibrated", "decided")
        some = {name: value[rows] for name in names if (value := getattr(self, name)) is not None}
        return replace(self, **some)

    @property
    def error_targets(self) -> np.ndarray:
        """What probabilities or scores are calibrated against."""
        return self.gold.argmax(axis=1) if self.task == "single" else self.gold

    def figures(self) -> dict[str, intervals.Figure]:
        """All there are; see :mod:`sparsedistill.figures`. ``ece``: the calibration error, of scores in their unit;
        ``ece_before``: without the calibration that the head has.
        """
        if self.decided is None:
            found = figures.of_scores(self.predicted, self.gold, self.cuts, self.top)
        else:
            single = self.task == "single"
            found = figures.of_labels(self.predicted, self.decided, self.gold, self.labels, single)
        found["ece"] = calibrate.error_figure(self.predicted, self.error_targets)
        if self.uncalibrated is not None:
            found["ece_before"] = calibrate.error_figure(self.uncalibrated, self.error_targets)
        return found

    def within(self, slices: Slices) -> dict[str, intervals.Figure]:
        """What is left when the slice is known; see :mod:`sparsedistill.slices`."""
        if self.task == "regression":
            return of_scores_within(self.predicted, self.gold, self.cuts, slices)
        return of_labels_within(self.predicted, self.gold, self.labels, self.task == "single", slices)


# long: what it takes needs as many words
def measure(
    classifier: Classifier,
    sources: Sequence[str],
    data: Data | None = None,
    *,
    head: str | None = None,
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
    each label (single: of the most probable one; scores: of the score) the data of the diagram, and
    ``reliability_before`` where there is a calibration, without it; and by column ``slices``: ``slices`` by name with
    ``texts`` and ``figures``, ``within`` (see :meth:`Answers.within`), ``rare`` (slices that "(others)" puts together)
    and ``hardly_vary`` (names of slices).

    Where heads have names, it is ``{"heads": {name: such a result}}``, of all of them or ``head`` alone; the labels of
    each are in a column of its name, unless ``data`` names another for the one ``head``.

    Errors: :class:`DataError` and :class:`SettingsError`, before a text is scored, for what cannot be read or measured.
    """
    data, heads = data or Data(), _asked(classifier, head)
    if data.label != Data.label and len(heads) > 1:
        raise SettingsError("--label is of one head: name it with --head, or name columns of the file as the heads")
    scores = any(one.task == "regression" for one in heads)
    if cuts and not scores:
        raise SettingsError("cuts are of scores, and this classifier gives labels: leave out --cuts")
    parts = [LabelledFile(one, classifier.pairs, sources, data, tuple(slices)).read() for one in heads]
    results = {}
    logits: Any = None
    scored: list[str] = []
    for one, part in zip(heads, parts, strict=True):
        if logits is None or part.texts != scored:  # those without a label of one head can be left out
            scored = part.texts
            texts: Any = pairs.split(scored) if classifier.pairs else scored
            logits = classifier._logits(texts, threads, "error")
        answers = answers_of(one, logits[:, one.outputs], part.targets, cuts, top)
        result = {"sources": list(sources), **figures_of(answers, part.extra, slices, resamples, seed)}
        results[one.name] = result
    return {"heads": results} if heads[0].name else results[""]


# long: what it takes needs as many words
def choose_cut(
    classifier: Classifier,
    sources: Sequence[str],
    data: Data | None = None,
    *,
    name: str,
    level: float | None = None,
    share: float | None = None,
    column: str = "",
    head: str | None = None,
    threads: int = 0,
) -> tuple[Head, dict[str, Any]]:
    """A cut of a head's scores, from the texts of ``sources``: by a ``level`` of the scores that stand there, or by the
    ``share`` to keep, for which texts need no score; see :mod:`sparsedistill.cuts`. With ``column`` also within slices.

    Errors: :class:`DataError` and :class:`SettingsError` for what cannot be read or chosen.
    """
    data = data or Data()
    scores = [one for one in _asked(classifier, head) if one.task == "regression"]
    if len(scores) != 1:
        raise SettingsError(
            "a cut is of scores: " + ("name one head with --head" if scores else "the classifier has none")
        )
    if (level is None) == (share is None):
        raise SettingsError("a cut is chosen by a level or by a share: give one of --level and --share")
    if not name:
        raise SettingsError("a cut has a name: give --name")
    (one,) = scores
    columns = (column,) if column else ()
    if share is not None and not data.pair:
        reader = reader_of(sources, data, columns, "--slice")
        texts, slices = [], []
        for batch in reader:
            texts += batch.texts
            slices += batch.named(column) if column else []
        targets: Any = None
    else:
        part = LabelledFile(one, classifier.pairs, sources, data, columns).read()
        texts = pairs.split(part.texts) if classifier.pairs else part.texts
        slices, targets = part.extra.get(column, []), part.targets
    predicted = one.scores(classifier._logits(texts, threads, "error")[:, one.outputs])
    values = slices if column else None
    try:
        if share is not None:
            return one, cut_at_share(predicted, share, values, name=name, column=column)
        return one, cut_at_level(predicted, targets, float(level or 0), values, name=name, column=column)
    except ValueError as error:
        raise SettingsError(str(error)) from None


def _asked(classifier: Classifier, head: str | None) -> tuple[Head, ...]:
    try:
        return asked_heads(classifier.heads, head)
    except ValueError as error:
        raise SettingsError(f"--head: {error}") from None


def figures_of(
    answers: Answers, columns: Mapping[str, Sequence[Any]], slices: Sequence[str], resamples: int, seed: int = 0
) -> dict[str, Any]:
    """What :func:`measure` gives of one head; ``columns``: the values of those that ``slices`` names."""
    texts = len(answers.gold)

    def measured(found: dict[str, intervals.Figure], n: int) -> dict[str, Any]:
        return intervals.measured(found, n, resamples, seed)

    result: dict[str, Any] = {
        "task": answers.task,
        "labels": list(answers.labels),
        "texts": texts,
        "resamples": resamples,
        "level": intervals.LEVEL,
        "seed": seed,
        "figures": measured(answers.figures(), texts),
        "reliability": reliability_of(answers, answers.predicted),
    }
    if answers.uncalibrated is not None:
        result["reliability_before"] = reliability_of(answers, answers.uncalibrated)
    if answers.task == "regression":
        least = figures.least_of_top(answers.gold, answers.top)
        result["top"] = {"share": answers.top, "from": least, "texts": int((answers.gold >= least).sum())}
        result["cuts"] = list(answers.cuts)
    result["slices"] = {}
    for column in slices:
        known = slices_of(columns[column])
        each = {}
        for i, name in enumerate(known.names):
            rows = np.flatnonzero(known.place == i)
            each[name] = {"texts": len(rows), "figures": measured(answers.take(rows).figures(), len(rows))}
        result["slices"][column] = {
            "slices": each,
            "within": measured(answers.within(known), texts),
            "rare": known.rare,
            "hardly_vary": hardly_vary(answers.gold, known),
        }
    return result


def answers_of(
    head: Head, logits: np.ndarray, targets: np.ndarray, cuts: Sequence[float] | None = None, top: float = figures.TOP
) -> Answers:
    """Logits (n, C) of a head and gold targets as its task has them, side by side; ``cuts``: None: gold's levels."""
    task = TASKS[head.task]
    calibrated = head.calibration is not None
    if task.name == "regression":
        gold, scores = targets.astype(np.float64), head.scores(logits).astype(np.float64)
        before = logits[:, 0].astype(np.float64) if calibrated else None
        asked = tuple(sorted(cuts)) if cuts is not None else tuple(figures.levels_of(gold)[1:])
        return Answers(task.name, head.labels, gold, scores, before, None, asked, top)
    shares, gold = head.probabilities(logits), task.chosen(targets, logits.shape[1])
    if task.name == "single":
        decided = task.chosen(task.decisions(logits), logits.shape[1])
    else:
        decided = shares >= (0.5 if head.thresholds is None else head.thresholds)
    return Answers(
        task.name, head.labels, gold, shares, probabilities(logits, task.name) if calibrated else None, decided
    )


def reliability_of(answers: Answers, predicted: np.ndarray) -> dict[str, dict[str, Any]]:
    """The data of the reliability diagrams (:func:`sparsedistill.calibrate.reliability`), by what is ``predicted``.

    With each the error in bins of equal mass and of equal width.
    """
    named = {"single": ("most probable label",), "regression": ("score",)}.get(answers.task, answers.labels)
    result = {}
    columns = calibrate.confidences(predicted, answers.error_targets)
    for name, (guess, observed) in zip(named, columns, strict=True):
        result[name] = {
            **calibrate.reliability(guess, observed),
            "ece": calibrate.expected_calibration_error(guess, observed),
            "ece_equal_width": calibrate.expected_calibration_error(guess, observed, equal="width"),
        }
    return result


class LabelledFile(LabelledParts):
    """The labelled texts that a head is measured on, as a part of a run is read."""

    def __init__(self, head: Head, are_pairs: bool, sources: Sequence[str], data: Data, slices: tuple[str, ...]):
        self._head, self._slices = head, slices
        if are_pairs != bool(data.pair):
            raise SettingsError(
                "the classifier labels pairs of texts: name the second's column with --pair"
                if are_pairs
                else "the classifier labels single texts: leave out --pair"
            )
        if head.name:  # as in training, a cell with nothing in it is no target
            data = replace(data, skip_missing=True)
            data = replace(data, label=(head.name,)) if data.label == Data.label else data
        data = replace(data, train=(), dev=(), corpus=(), test=tuple(sources), task=head.task)
        # Columns of labels are in their own order, integers and lists of 0 and 1 in that of the classifier's labels.
        if not data.labels and head.task != "regression" and len(label_columns(data)) == 1:
            data = replace(data, labels=head.labels)
        super().__init__(Settings(data=data))

    @cached_property
    def labels(self) -> tuple[str, ...]:
        """Those of the head."""
        return self._head.labels

    def _reader(self, name: str) -> Reader:
        # Of heads a blank cell is no target, as in training.
        data = self.settings.data
        return labelled.opened(data.test, data, self._columns(name), blank=bool(self._head.name))

    def _columns(self, name: str) -> tuple[str, ...]:
        return (*self._pair, *self._slices)

    def read(self) -> Labelled:
        """Texts, targets and the columns of the slices."""
        try:
            return self._labelled("test")
        except MissingColumnError as error:
            option = "--slice" if error.name in self._slices else "--pair" if error.name in self._pair else ""
            raise error.with_option(option) if option else error from None
