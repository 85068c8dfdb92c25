"""A cascade: the classifier decides what it is sure of, and its teacher the rest."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from .abstain import Abstention, abstentions_of, known_of
from .classifier import Classifier
from .data import pairs
from .errors import SettingsError
from .heads import Head, asked_heads, probabilities
from .inputs import is_one
from .options import Label, Teach
from .tasks import TASKS
from .teacher import Job
from .teacher.kinds import kind_of

if TYPE_CHECKING:
    from .run import Run

NAME = "cascade"  # of the threshold that `sparsedistill cascade` stores


class Cascade:
    """A classifier and its teacher, which is asked about those texts alone that the classifier is not sure of.

    ``texts``: how many have been labelled so far, ``sent``: how many of them were sent on, ``share``: their share.
    """

    def __init__(
        self,
        classifier: Classifier,
        teacher: str | os.PathLike[str] | Callable[[list[Any]], Any] | Run,
        threshold: float | str = NAME,
        *,
        head: str | None = None,
        scores: str = "logits",
        batch_size: int = 256,
    ):
        """
        Args:
            classifier: A classifier of labels.
            teacher: A function from a list of str (of pairs of str, where ``classifier.pairs``) to scores (n, C),
                itself or as "module:function"; a fine-tuned transformer, by its directory, as ``RUN/teacher``, or its
                id; a :class:`Run` or a run directory, for the teacher of that.
            threshold: What is decided with less confidence (:meth:`Head.confidence`) is sent on: at 0 nothing, above 1
                everything. A name: the threshold of this name that ``sparsedistill cascade`` has stored.
            head: Whose labels, where the classifier has heads with names.
            scores: What a function gives: "logits" or "probabilities".
            batch_size: Most texts that the teacher gets at a time.

        Errors: :class:`SettingsError` for a regression, for heads of which none is named, and for a teacher or a
        threshold that is not there or does not fit the classifier.
        """
        if head is None and classifier.heads[0].name:
            names = ", ".join(one.name for one in classifier.heads)
            raise SettingsError(f"the classifier has heads with names, a cascade is of one: give head ({names})")
        if batch_size < 1:
            raise SettingsError(f"batch_size is {batch_size}: give 1 or more")
        self.classifier = classifier
        self.head: Head = one_head(classifier, head)
        self.limit: Abstention = abstentions_of(classifier, (self.head,), threshold)[self.head.name]
        self._teacher = teacher_of(teacher, classifier, self.head, scores)
        self._batch_size = batch_size
        self.texts, self.sent = 0, 0

    @property
    def share(self) -> float:
        """Share of the texts labelled so far that were sent on; 0 before the first."""
        return self.sent / self.texts if self.texts else 0.0

    def predict(self, texts: Any, threads: int = 0, nulls: str = "error") -> Any:
        """Labels of n texts, as :meth:`Classifier.predict` gives them; for one str the one label, or list of labels.

        Those of doubtful texts are the teacher's: the label with its largest logit, or of "multi" the labels to which
        it gives one half or more. Errors: those of :meth:`Classifier.decision_function`; :class:`DataError` for scores
        of the teacher that are none.
        """
        own, doubtful, theirs, one = self._scored(texts, threads, nulls)
        predicted = self.head.decide(own)
        if len(doubtful):
            chosen = TASKS[self.head.task].decisions(theirs)
            labels = self.head.labels
            for i, row in zip(doubtful.tolist(), chosen, strict=True):
                predicted[i] = labels[row] if self.head.task == "single" else [labels[j] for j in np.flatnonzero(row)]
        return predicted[0] if one else predicted

    def predict_proba(self, texts: Any, threads: int = 0, nulls: str = "error") -> np.ndarray:
        """Probabilities, float64 (n, C); for one str, (C,). The classifier's are calibrated, the teacher's as it gives
        them. Errors: those of :meth:`predict`.
        """
        own, doubtful, theirs, one = self._scored(texts, threads, nulls)
        result = self.head.probabilities(own)
        if len(doubtful):
            result[doubtful] = probabilities(theirs, self.head.task)
        return result[0] if one else result

    def _scored(self, texts: Any, threads: int, nulls: str) -> tuple[np.ndarray, np.ndarray, np.ndarray, bool]:
        """Logits (n, C) of the classifier, places of doubtful texts (k,), the teacher's logits (k, C), if one text."""
        one = is_one(texts, self.classifier.pairs)
        many = [texts] if one else listed(texts)
        own = self.classifier._logits(many, threads, nulls)[:, self.head.outputs]
        known = known_of(self.classifier, {"": self.limit}, many, threads, nulls, None)
        confidence = self.head.confidence(self.head.probabilities(own))
        doubtful = np.flatnonzero(self.limit.doubtful(confidence, known))
        theirs = np.empty((len(doubtful), own.shape[1]), np.float32)
        waiting = [plain(many[i]) for i in doubtful.tolist()]
        for start in range(0, len(waiting), self._batch_size):
            theirs[start : start + self._batch_size] = self._teacher(waiting[start : start + self._batch_size])
        self.texts += len(many)
        self.sent += len(doubtful)
        return own, doubtful, theirs, one


def one_head(classifier: Classifier, name: str | None) -> Head:
    """The head of this name, or the only one. Errors: :class:`SettingsError`."""
    try:
        heads = asked_heads(classifier.heads, name)
    except ValueError as error:
        raise SettingsError(str(error)) from None
    if len(heads) > 1:
        raise SettingsError(f"the classifier has several heads: name one ({', '.join(head.name for head in heads)})")
    return heads[0]


def teacher_of(
    teacher: Any, classifier: Classifier, head: Head, scores: str = "logits"
) -> Callable[[list[Any]], np.ndarray]:
    """A function that gives the teacher's logits float32 (n, C) of n texts, or pairs of texts.

    Arguments are those of :class:`Cascade`. Errors: :class:`SettingsError`.
    """
    outputs = slice(None)
    if (run := run_of(teacher)) is not None:
        outputs, opened = outputs_of(run, head), run.teacher
    else:
        kind = kind_of(os.fspath(teacher) if isinstance(teacher, os.PathLike) else teacher)
        if kind is None or not kind.answers:
            raise SettingsError(f"the teacher {teacher!r} cannot be asked about a text: give a function or a model")
        job = Job(Teach(), Label(scores=scores), head.labels, head.task, classifier.pairs)
        opened = kind.open(job)

    def logits(texts: list[Any]) -> np.ndarray:
        given: Sequence[str] = pairs.joined(*zip(*texts, strict=True)) if classifier.pairs and texts else texts
        result: np.ndarray = np.asarray(opened.logits(given)[:, outputs], np.float32)
        if np.isnan(result).any():
            raise SettingsError(f"the head {head.name!r} has no teacher in this run")
        return result

    return logits


def run_of(teacher: Any) -> Run | None:
    """The run that is given, or whose directory is; None for anything else."""
    from .run import Run, opened

    if isinstance(teacher, Run):
        return teacher
    if isinstance(teacher, str | os.PathLike) and (Path(teacher) / "stages").is_dir():
        return opened(teacher)
    return None


def outputs_of(run: Run, head: Head) -> slice:
    """The places of a head's labels among the logits of a run's teacher. Errors: :class:`SettingsError`."""
    if run.kind is None:
        raise SettingsError(f"the run {run.directory} has no teacher: give another one")
    several = run.several
    if several is None:
        labels, outputs = tuple(run.inputs.labels), slice(None)
    else:
        found = [one for one in several.heads if one.name == head.name]
        labels, outputs = (tuple(found[0].labels), found[0].outputs) if found else ((), slice(None))
    if labels != head.labels:
        raise SettingsError(
            f"the labels of the run {run.directory} ({', '.join(labels[:4])} ...) are not those of the classifier "
            f"({', '.join(head.labels[:4])} ...): give the run that made it"
        )
    return outputs


def listed(texts: Any) -> Any:
    """Many texts as a sequence whose members can be had by their places."""
    if isinstance(texts, list | tuple):
        return texts
    if getattr(texts, "ndim", 1) == 2:  # pairs; a frame of pandas would give the names of its columns
        texts = np.asarray(texts, object)
    for name in ("to_pylist", "to_list", "tolist"):  # of Arrow; pandas and polars; numpy
        if hasattr(texts, name):
            return getattr(texts, name)()
    return list(texts)


def plain(text: Any) -> Any:
    """A text, or a pair of texts, as a teacher gets it: what is null was asked to be empty, bytes are UTF-8."""
    if isinstance(text, tuple | list | np.ndarray):
        return tuple(plain(half) for half in text)
    if isinstance(text, bytes):
        return text.decode("utf-8", "replace")
    return text if isinstance(text, str) else ""
