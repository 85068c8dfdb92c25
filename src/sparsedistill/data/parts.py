"""The labelled texts of a run: train, dev and test, apart from each other."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cached_property
from typing import Any

import numpy as np

from .. import _core
from ..errors import DataError, SettingsError
from ..machine import default_threads
from ..progress import say
from ..settings import Settings
from . import files, labelled, pairs, split
from .decontaminate import examples, fingerprints_of, label_counts, select, without
from .labelled import Labelled
from .records import Places, Reader


class Parts:
    """What has the parts ``train``, ``dev`` and ``test`` of a run, or None for those that there are not."""

    settings: Settings

    @property
    def has_dev(self) -> bool:
        """Whether there are gold labels to choose on."""
        return bool(self.settings.data.dev or self.settings.data.train)

    def part(self, name: str) -> Labelled:
        """``train``, ``dev`` or ``test``. Errors: :class:`SettingsError` when there is none."""
        part: Labelled | None = getattr(self, name)
        if part is None:
            raise SettingsError(f"there is no {name} set: give --{name}")
        return part


class LabelledParts(Parts):
    """Train, dev and test of a run, read when they are first asked for, and kept apart from each other.

    ``kind``: of the teacher (:mod:`sparsedistill.teacher`), which may be a column beside the texts.
    """

    def __init__(self, settings: Settings, kind: Any = None):
        self.settings, self.kind = settings, kind
        self._open: dict[str, Reader] = {}

    def open(self, name: str) -> Reader:
        """Open the files of a part; it is read once.

        Errors: :class:`DataError` naming file and remedy for what is not there, or lacks a column.
        """
        if "-" in getattr(self.settings.data, name):
            raise DataError(f"{name} is stdin, which can be read only once: write it to a file")
        if name not in self._open:
            with self._needs_column(name):
                self._open[name] = self._reader(name)
        return self._open[name]

    def _opened(self, name: str) -> Reader:
        """The files of a part, for who reads them."""
        self.open(name)
        return self._open.pop(name)

    def _reader(self, name: str) -> Reader:
        data = self.settings.data
        return labelled.opened(getattr(data, name), data, self._columns(name))

    def _columns(self, name: str) -> tuple[str, ...]:
        """Columns of train, dev or test beside text and labels."""
        of_train = (*([self.column] if self.column and self.uses_train_logits else []), *self._weight)
        return (*(of_train if name == "train" else ()), *self._pair)

    @contextmanager
    def _needs_column(self, name: str) -> Iterator[None]:
        """Errors: of a part that lacks the teacher's column, say so."""
        try:
            yield
        except files.MissingColumnError as error:
            if error.name != self.column:
                raise
            train = "; without scores for train, take --modes kd_private" if name == "train" else ""
            raise DataError(f"the teacher's column is needed in {name}: {error}{train}") from None

    @property
    def column(self) -> str | None:
        """The column that holds the teacher's scores, where that is the teacher."""
        return self.kind.column or None if self.kind else None

    @property
    def uses_train_logits(self) -> bool:
        """Whether a student learns the teacher's soft labels of train."""
        return any("train" in self.settings.labelled_parts(mode) for mode in self.settings.distill.modes)

    @cached_property
    def labels(self) -> tuple[str, ...]:
        """Label names in the order of the classes: the settings', else train's, else the teacher's own."""
        data = self.settings.data
        if data.task == "regression":
            return ("score",)
        if data.labels:
            return data.labels
        if len(gold := labelled.label_columns(data)) > 1:
            return gold
        if data.train:
            return self._train_all.labels
        own: tuple[str, ...] | None = self.kind.labels() if self.kind else None
        if own:
            return own
        raise SettingsError("the label names are not known: give --labels in the order of the teacher's classes")

    @cached_property
    def _train_all(self) -> Labelled:
        return self._labelled("train")

    def _labelled(self, name: str) -> Labelled:
        data = self.settings.data
        reader = self._opened(name)
        # Labels are those of train, and lists of 0 and 1 mean in dev and test what they mean there.
        labels = None if name == "train" else self.labels
        multi_hot = self._train_all.multi_hot if labels is not None and data.train and data.task == "multi" else None
        with self._needs_column(name):
            part = labelled.labelled(reader, data, labels, self._columns(name), multi_hot)
        if not self._pair:
            return part
        second = self._second(part.extra.pop(data.pair), part.places)
        return dataclasses.replace(part, texts=pairs.joined(part.texts, second))

    @property
    def _form(self) -> files.Form:
        return files.Form.of(self.settings.data)

    @property
    def _weight(self) -> list[str]:
        return [self.settings.data.weight] if self.settings.data.weight else []

    @property
    def _pair(self) -> list[str]:
        return [self.settings.data.pair] if self.settings.data.pair else []

    @cached_property
    def _split(self) -> tuple[Labelled | None, Labelled | None, np.ndarray]:
        """(train, dev, fingerprints of texts that had to stay in both), apart from each other and from test."""
        data = self.settings.data
        test, shared = self.test, np.zeros(0, np.uint64)
        train = without(self._train_all, test, "train", "test") if data.train else None
        if data.dev:
            dev: Labelled | None = without(self._labelled("dev"), test, "dev", "test")
            if train is not None:
                train = self._of_several_classes(without(train, dev, "train", "dev"))
        elif train is not None:
            train = self._of_several_classes(train)
            fingerprints = _core.fingerprints(train.texts, default_threads())
            held, both = split.hold_out(fingerprints, data.dev_fraction, data.seed, train.targets)
            shared = np.unique(fingerprints[both])
            copied = [train.texts[i] for i in np.flatnonzero(both)]
            train, dev = select(train, ~held), select(train, held | both)
            self._say_what_dev_lacks(train, dev, copied)
        else:
            dev = None
        if dev is not None and data.task == "single" and np.count_nonzero(counts := label_counts(dev)) == 1:
            say(
                f"warning: dev has texts of one class only, {dev.labels[counts.argmax()]!r} ({counts.max():,}): it "
                "tells nothing of the others, give --dev texts of every class"
            )
        return train, dev, shared

    def _of_several_classes(self, train: Labelled) -> Labelled:
        """``train``. Errors: :class:`DataError` where all its texts are of one class."""
        if self.settings.data.task == "single" and np.count_nonzero(counts := label_counts(train)) < 2:
            before = zip(train.labels, label_counts(self._train_all), strict=True)
            raise DataError(
                f"train has texts of one class only, {train.labels[counts.argmax()]!r} ({counts.max():,}), and nothing "
                "can be learnt from it: add texts of another class that are not in dev or test (with these: "
                f"{', '.join(f'{label!r} {count:,}' for label, count in before):.300})"
            )
        return train

    def _say_what_dev_lacks(self, train: Labelled, dev: Labelled, copied: list[str]) -> None:
        """Warn of texts of dev that are in train, too, and of classes that an automatic dev set has no text of."""
        if copied:
            say(
                f"warning: dev: {len(copied):,} of the {len(dev.texts):,} texts held out stay in train, too, for "
                f"nothing else could be held out of their class ({examples(copied)}): figures on "
                "them are those of texts that were learnt, give --dev"
            )
        if self.settings.data.task != "regression":
            counts, there = label_counts(train), label_counts(dev)
            lacks = [f"{train.labels[i]!r} ({counts[i]:,})" for i in np.flatnonzero((counts > 0) & (there == 0))]
            if lacks:
                say(
                    f"warning: dev: no text could be held out of {files.several(lacks)}, which "
                    f"{'have' if len(lacks) > 1 else 'has'} too few different texts for a share of "
                    f"{self.settings.data.dev_fraction:g}: figures on dev tell nothing of "
                    f"{'them' if len(lacks) > 1 else 'it'}, give --dev or a larger --dev-fraction"
                )

    @property
    def train(self) -> Labelled | None:
        """Labelled training texts, without held-out ones and without texts of dev or test."""
        return self._split[0]

    @property
    def dev(self) -> Labelled | None:
        """Labelled texts to choose on: those given, else the held-out part of train; without texts of test."""
        return self._split[1]

    @cached_property
    def test(self) -> Labelled | None:
        """Labelled texts to report on."""
        data = self.settings.data
        return self._labelled("test") if data.test else None

    @cached_property
    def _blocked(self) -> np.ndarray:
        """Sorted fingerprints of all texts that nothing may be learnt from."""
        dev = np.setdiff1d(fingerprints_of(self.dev), self._split[2])
        return np.union1d(dev, fingerprints_of(self.test))

    def _second(self, values: list[Any], places: Places) -> list[str]:
        """Second texts of pairs. Errors: :class:`DataError` for what is none."""
        column = self.settings.data.pair
        for i, value in enumerate(values):
            if not isinstance(value, str):
                raise DataError(
                    f"{places[i]}: column {column!r} holds {value!r:.60}, not a text: correct it, or drop the row"
                )
        return values
