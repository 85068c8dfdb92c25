"""What a run learns from: labelled texts, the corpus, and the wall between them and dev and test."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from . import _core, corpus
from .corpus import Labelled
from .errors import DataError, SettingsError
from .progress import say
from .settings import Settings
from .threads import default_threads

PARTS = ("train", "dev", "test", "corpus")
HELD_OUT_SHARE, HELD_OUT_MOST = 0.05, 2000  # of the corpus, where there is no labelled text to choose on


class Inputs:
    """The texts that the settings name, read when they are first asked for.

    Texts of dev and test are taken out of train and corpus by their letters and digits, so that neither case nor
    punctuation hides one.
    """

    def __init__(self, settings: Settings):
        self.settings = settings
        self.dropped = 0  # texts of the corpus left out by the last pass over it

    @property
    def column(self) -> str | None:
        """The column that holds the teacher's scores, where that is the teacher."""
        kind, _, name = self.settings.teach.teacher.partition(":")
        return name if kind == "column" else None

    @property
    def teacher_is_model(self) -> bool:
        """Whether the teacher is a Hugging Face model, not a function or a column."""
        teacher = self.settings.teach.teacher
        return bool(teacher) and (":" not in teacher or Path(teacher).exists())

    @property
    def needs_teacher(self) -> bool:
        """Whether any student learns from a teacher."""
        return bool(set(self.settings.distill.modes) - {"scratch"})

    @property
    def uses_train_logits(self) -> bool:
        """Whether a student learns the teacher's word on train."""
        return bool(self.settings.data.train) and "kd" in self.settings.distill.modes

    @property
    def fine_tunes_teacher(self) -> bool:
        """Whether the teacher is fine-tuned here."""
        return self.teacher_is_model and self.settings.teach.finetune and bool(self.settings.data.train)

    def check(self) -> None:
        """Look at the start of every file: is it there, does it have the columns, is there a text?

        Errors: :class:`DataError` naming file and remedy.
        """
        data = self.settings.data
        for name in PARTS:
            if sources := getattr(data, name):
                columns = [] if name == "corpus" else [data.label]
                if self.column and (name == "corpus" or (name == "train" and self.uses_train_logits)):
                    columns.append(self.column)
                corpus.check(sources, data.text, columns, encoding_errors=data.encoding_errors, label=data.label)
        if data.task == "single" and len(self.labels) < 2:
            raise DataError(f"only one label, {self.labels[0]!r}: a classifier needs two")

    @cached_property
    def labels(self) -> tuple[str, ...]:
        """Label names in the order of the classes: the settings', else train's, else the teacher's own."""
        data = self.settings.data
        if data.task == "regression":
            return ("score",)
        if data.labels:
            return data.labels
        if data.train:
            return self._train_all.labels
        if self.teacher_is_model:
            from .teacher import model_labels

            return model_labels(self.settings.teach.teacher)
        raise SettingsError("the label names are not known: give --labels in the order of the teacher's classes")

    @cached_property
    def _train_all(self) -> Labelled:
        data = self.settings.data
        extra = (self.column,) if self.column and self.uses_train_logits else ()
        return corpus.labelled(data.train, data, columns=extra)

    @cached_property
    def _held_out(self) -> np.ndarray:
        data, every = self.settings.data, self._train_all
        held = np.zeros(len(every.texts), bool)
        if not data.dev:
            targets = every.targets if data.task == "single" else None
            held[corpus.hold_out(len(every.texts), data.dev_fraction, data.seed, targets)] = True
        return held

    @cached_property
    def train(self) -> Labelled | None:
        """Labelled training texts, without held-out ones and without texts of dev or test."""
        if not self.settings.data.train:
            return None
        every = self._train_all
        blocked = self._is_blocked(every.texts) & ~self._held_out
        if blocked.any():
            say(f"train: {blocked.sum():,} texts are in dev or test (case and punctuation aside) and were left out")
        keep = ~self._held_out & ~blocked
        if not keep.any():
            raise DataError("no text of train is left: all of them are texts of dev or test")
        return _select(every, keep)

    @cached_property
    def dev(self) -> Labelled | None:
        """Labelled texts to choose on: those given, else the held-out part of train."""
        data = self.settings.data
        if data.dev:
            return corpus.labelled(data.dev, data, self.labels)
        return _select(self._train_all, self._held_out) if data.train else None

    @cached_property
    def test(self) -> Labelled | None:
        """Labelled texts to report on."""
        data = self.settings.data
        return corpus.labelled(data.test, data, self.labels) if data.test else None

    def part(self, name: str) -> Labelled:
        """``train``, ``dev`` or ``test``. Errors: :class:`SettingsError` when there is none."""
        found = getattr(self, name)
        if found is None:
            raise SettingsError(f"there is no {name} set: give --{name}")
        return found

    @cached_property
    def _blocked(self) -> np.ndarray:
        """Sorted fingerprints of all texts that nothing may be learnt from."""
        parts = [part.texts for part in (self.dev, self.test) if part is not None]
        found = [_core.fingerprints(texts, default_threads()) for texts in parts]
        return np.unique(np.concatenate([*found, np.zeros(0, np.uint64)]))

    def _is_blocked(self, texts: list[str]) -> np.ndarray:
        if not len(self._blocked):
            return np.zeros(len(texts), bool)
        found = _core.fingerprints(texts, default_threads())
        at = np.minimum(np.searchsorted(self._blocked, found), len(self._blocked) - 1)
        return self._blocked[at] == found

    def corpus(self, held_out: bool = False) -> Iterator[tuple[list[str], list[Any]]]:
        """The corpus in batches, in the order of its files: (texts, what the teacher's column says of each).

        Without texts of dev and test. Where there is no labelled text at all, a seeded twentieth is held out to choose
        on: ``held_out`` gives that part instead.
        """
        data = self.settings.data
        columns = (self.column,) if self.column else ()
        self.dropped = 0
        for batch in corpus.read(data.corpus, data.text, columns, encoding_errors=data.encoding_errors):
            blocked = self._is_blocked(batch.texts)
            self.dropped += int(blocked.sum())
            keep = ~blocked
            if self.dev is None:
                # By fingerprint, so that equal texts fall on the same side wherever they stand.
                share = _core.fingerprints(batch.texts, default_threads()) % np.uint64(1000)
                keep &= (share < np.uint64(1000 * HELD_OUT_SHARE)) == held_out
            which = np.flatnonzero(keep)
            if len(which):
                values = batch.columns[columns[0]] if columns else [None] * len(batch.texts)
                yield [batch.texts[i] for i in which], [values[i] for i in which]

    def corpus_texts(self) -> Iterator[list[str]]:
        """The texts of :meth:`corpus`; nothing when there is none."""
        if self.settings.data.corpus:
            for texts, _ in self.corpus():
                yield texts

    def held_out(self) -> tuple[list[str], list[Any]]:
        """At most 2,000 texts of the corpus to choose on, and the teacher's column for them.

        Errors: :class:`DataError` when the corpus is too small.
        """
        texts: list[str] = []
        values: list[Any] = []
        for some, scores in self.corpus(held_out=True):
            texts += some
            values += scores
            if len(texts) >= HELD_OUT_MOST:
                break
        if not texts:
            raise DataError("the corpus is too small to hold out a part to choose on: give --dev")
        return texts[:HELD_OUT_MOST], values[:HELD_OUT_MOST]

    def describe(self) -> dict[str, Any]:
        """Read every text once: sizes, label counts and fingerprints of all parts.

        Errors: :class:`DataError` for whatever cannot be used, wherever in the files it stands.
        """
        result: dict[str, Any] = {"task": self.settings.data.task, "labels": list(self.labels)}
        for name in ("train", "dev", "test"):
            part = getattr(self, name)
            if part is not None:
                state = _digest(part.texts)
                state.update(part.targets.tobytes())
                result[name] = {"texts": len(part.texts), "fingerprint": state.hexdigest()}
                if self.settings.data.task == "single":
                    counts = np.bincount(part.targets, minlength=len(self.labels))
                    result[name]["labels"] = dict(zip(self.labels, counts.tolist(), strict=True))
        if self.settings.data.corpus:
            count, state = 0, _digest(())
            for texts, _ in self.corpus():
                count += len(texts)
                state.update(_digest(texts).digest())
            if not count:
                raise DataError("no text of the corpus is left: all of them are texts of dev or test")
            result["corpus"] = {"texts": count, "dropped": self.dropped, "fingerprint": state.hexdigest()}
            if self.dropped:
                say(f"corpus: {self.dropped:,} texts are in dev or test (case and punctuation aside) and were left out")
        return result

    def files(self) -> dict[str, list[dict[str, Any]]]:
        """Name, size and content hash of every input file, by part."""
        return {name: _describe_files(getattr(self.settings.data, name)) for name in PARTS}


def _select(part: Labelled, keep: np.ndarray) -> Labelled:
    where = np.flatnonzero(keep)
    return Labelled(
        [part.texts[i] for i in where],
        part.targets[keep],
        part.labels,
        {name: [values[i] for i in where] for name, values in part.extra.items()},
    )


def _digest(texts: Sequence[str]) -> Any:
    state = hashlib.blake2b(digest_size=16)
    for text in texts:
        data = text.encode("utf-8", "surrogatepass")
        state.update(len(data).to_bytes(8, "little") + data)
    return state


def _describe_files(sources: tuple[str, ...]) -> list[dict[str, Any]]:
    result: list[dict[str, Any]] = []
    for source in corpus.expand(sources) if sources else []:
        entry: dict[str, Any] = {"source": source}
        if os.path.isfile(source):
            state = hashlib.blake2b(digest_size=16)
            with open(source, "rb") as file:
                while block := file.read(1 << 22):
                    state.update(block)
            entry |= {"bytes": os.path.getsize(source), "fingerprint": state.hexdigest()}
        result.append(entry)
    return result
