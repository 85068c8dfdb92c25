"""The labelled texts of a run: train, dev and test, apart from each other."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import cached_property
from typing import Any

import numpy as np

from .. import _core
from ..errors import DataError, SettingsError
from ..machine import default_threads
from ..settings import Settings
from ..several import Several
from . import checks, files, heads, labelled, pairs, split
from .decontaminate import fingerprints_of, select, without
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
        sources, of_heads = getattr(data, name), self.settings.heads
        if of_heads:
            optional = (*heads.label_columns_of(data, of_heads), *self._score_columns(name))
            return heads.opened(sources, data, [*(self._weight if name == "train" else ()), *self._pair], optional)
        return labelled.opened(sources, data, self._columns(name))

    def _columns(self, name: str) -> tuple[str, ...]:
        """Columns of train, dev or test beside text and labels."""
        return (*self._score_columns(name), *(self._weight if name == "train" else ()), *self._pair)

    def _score_columns(self, name: str) -> tuple[str, ...]:
        """The columns of teachers' scores that are read of a part; heads without gold labels are chosen by them."""
        wanted = (name == "train" and self.uses_train_logits) or (self.settings.heads and self.settings.needs_teacher)
        return self.score_columns if wanted else ()

    @contextmanager
    def _needs_column(self, name: str) -> Iterator[None]:
        """Errors: of a part that lacks the teacher's column, say so."""
        try:
            yield
        except files.MissingColumnError as error:
            if error.name not in self.score_columns:
                raise
            train = "; without scores for train, take --modes kd_private" if name == "train" else ""
            raise DataError(f"the teacher's column is needed in {name}: {error}{train}") from None

    @property
    def score_columns(self) -> tuple[str, ...]:
        """The columns that hold the scores of the teacher, or of heads' teachers, where these are columns."""
        return tuple(dict.fromkeys(self.kind.columns.values())) if self.kind else ()

    @property
    def uses_train_logits(self) -> bool:
        """Whether a student learns the teacher's soft labels of train."""
        return any("train" in self.settings.labelled_parts(mode) for mode in self.settings.distill.modes)

    @cached_property
    def labels(self) -> tuple[str, ...]:
        """Label names in the order of the classes: the settings', else train's, else the teacher's own."""
        data = self.settings.data
        if self.several:
            return self.several.labels
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
    def several(self) -> Several | None:
        """The heads as one task, where there are several: their labels are the settings', else train's."""
        settings = self.settings
        if not settings.heads:
            return None
        if settings.data.train:
            return self._train_all.several
        labels: dict[str, tuple[str, ...]] = {}
        for name, head in settings.heads.items():
            own = ("score",) if head.task == "regression" else self._own_labels(name)
            if not own:
                raise SettingsError(
                    f"head {name!r}: the label names are not known without train: give labels in [heads.{name}], in "
                    "the order of the teacher's classes"
                )
            labels[name] = own
        return Several.of(settings.heads, labels)

    def _own_labels(self, head: str) -> tuple[str, ...] | None:
        """Label names that a head's options tell, also as columns of a 0 or 1 each."""
        options = self.settings.heads[head]
        return options.labels or (options.label if len(options.label) > 1 else None)

    @cached_property
    def _train_all(self) -> Labelled:
        return self._labelled("train")

    def _labelled(self, name: str) -> Labelled:
        data = self.settings.data
        reader = self._opened(name)
        if self.settings.heads:
            columns = self._columns(name)
            known = None if name == "train" else self.several
            lists: Mapping[str, bool | None] = self._train_all.multi_hot if known and data.train else {}
            of_heads = self.settings.heads
            return self._paired(heads.labelled(reader, data, of_heads, columns, name, self._own_labels, known, lists))
        # Labels are those of train, and lists of 0 and 1 mean in dev and test what they mean there.
        labels = None if name == "train" else self.labels
        multi_hot = self._train_all.multi_hot if labels is not None and data.train and data.task == "multi" else None
        with self._needs_column(name):
            part = labelled.labelled(reader, data, labels, self._columns(name), multi_hot)
        return self._paired(part)

    def _paired(self, part: Labelled) -> Labelled:
        """A part whose texts are pairs, if they are."""
        data = self.settings.data
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
                train = without(train, dev, "train", "dev")
                checks.refuse_one_class(train, self._train_all, self.settings)
        elif train is not None:
            checks.refuse_one_class(train, self._train_all, self.settings)
            fingerprints = _core.fingerprints(train.texts, default_threads())
            held, both = split.hold_out(fingerprints, data.dev_fraction, data.seed, heads.strata(train))
            shared = np.unique(fingerprints[both])
            copied = [train.texts[i] for i in np.flatnonzero(both)]
            train, dev = select(train, ~held), select(train, held | both)
            checks.say_what_dev_lacks(train, dev, copied, self.settings)
        else:
            dev = None
        if dev is not None:
            checks.warn_of_one_class(dev, self.settings)
        return train, dev, shared

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
