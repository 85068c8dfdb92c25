"""Prepare the texts of a run: every source is read once, and what is learnt from has no text of dev and test."""

from __future__ import annotations

import dataclasses
import json
import os
import shutil
from collections.abc import Callable, Iterator
from functools import cached_property, partial
from pathlib import Path
from typing import Any

import numpy as np

from .. import _core
from ..errors import DataError
from ..format import read_json, replacing_directory, write_json
from ..machine import default_threads
from ..progress import Progress, say
from ..settings import Settings
from ..standard import Standard
from . import files, heads, pairs, records, split, weights
from .decontaminate import ASIDE, among, example, examples, label_counts, say_dropped
from .labelled import Labelled
from .parts import LabelledParts
from .records import Places, Reader
from .texts import FACTS, Writer, batches, numbers_of, places_of, texts_of

PARTS = ("train", "dev", "test", "corpus")


class Sources(LabelledParts):
    """The files that the settings name, each of which is opened and read once.

    Texts of dev and test are taken out of train and corpus by their letters and digits, so that neither case nor
    punctuation hides one.
    """

    def __init__(self, settings: Settings, kind: Any = None):
        super().__init__(settings, kind)
        # By fingerprint of `_blocked`: how many texts of the corpus were left out.
        self._dropped = np.zeros(0, np.int64)
        self._scored: set[str] = set()  # heads that any text has scores of

    @cached_property
    def asked(self) -> dict[str, Any]:
        """All that the prepared texts depend on, as values that JSON can hold; no file is opened.

        Errors: :class:`DataError` for a file that is not there.
        """
        data = self.settings.data
        own = None if data.train or data.labels or not self.kind else self.kind.labels()
        form = files.Form.of(data)
        asked = {
            "data": dataclasses.asdict(data),
            "heads": {name: heads.read_by(head) for name, head in self.settings.heads.items()},
            "files": {name: _described(getattr(data, name), form) for name in PARTS},
            "columns": [self.score_columns, self.uses_train_logits],
            "labels": own,
            # Of this version.
            "fingerprints": _core.fingerprints(["Is A\u0301 B++, too?"], 1).tolist(),
        }
        values: dict[str, Any] = json.loads(json.dumps(asked))  # as it will be read back
        return values

    def check(self) -> None:
        """Open every file: is it there, and does it have the columns? Read train, for its labels.

        Errors: :class:`DataError` naming file and remedy.
        """
        for name in PARTS:
            if getattr(self.settings.data, name):
                self.open(name)
        data = self.settings.data
        if self.settings.task == "single" and len(self.labels) < 2:
            raise DataError(f"only one label, {self.labels[0]!r}: a classifier needs two")
        weights.class_weights(data.class_weights, self.labels, self.settings.task)

    def _reader(self, name: str) -> Reader:
        if name != "corpus":
            return super()._reader(name)
        data = self.settings.data
        return Reader(
            data.corpus, data.text, [*self.score_columns, *self._pair],
            encoding_errors=data.encoding_errors, form=files.Form.of(data), skipped=records.skipping(data),
            in_arrow=True, optional=self.score_columns if self.settings.heads else (),
        )  # fmt: skip

    def are_prepared(self, directory: Path) -> bool:
        """Whether the texts in ``directory`` are whole, and of the same files and settings."""
        if not (directory / FACTS).is_file():
            return False
        facts = read_json(directory / FACTS)
        whole = all((directory / f"{part}.parquet").is_file() for part in PARTS if part in facts)
        return whole and facts["asked"] == self.asked

    def prepare(self, directory: Path) -> dict[str, Any]:
        """Read everything and write it to ``directory``, whose earlier texts stay until all of these are there.

        Returns the sizes, fingerprints and label counts of all parts, which are written to ``directory/data.json``.

        Errors: :class:`DataError` for whatever cannot be used, wherever in the files it stands.
        """
        for left in directory.parent.glob(f".{directory.name}.*"):  # by a process that was killed
            shutil.rmtree(left, ignore_errors=True)
        asked = self.asked  # before anything is read: a file that changes meanwhile is read again next time
        self.check()
        data = self.settings.data
        facts: dict[str, Any] = {"asked": asked, "task": self.settings.task, "labels": list(self.labels)}
        if self.several:
            facts["heads"] = {head.name: list(head.labels) for head in self.several.heads}
        with replacing_directory(directory) as temporary:
            for name in ("train", "dev", "test"):
                if (part := getattr(self, name)) is not None:
                    facts[name] = self._write_labelled(temporary, name, part)
            if data.corpus:
                if self.has_dev:
                    facts["corpus"] = self._write_corpus(temporary, "corpus")
                else:
                    facts |= self._write_held_out(temporary)
                facts["corpus"]["dropped"] = int(self._dropped.sum())
                if self._dropped.any():
                    total = facts["corpus"]["dropped"] + facts["corpus"]["texts"]
                    say_dropped("corpus", facts["corpus"]["dropped"], total, "dev or test", self._frequent_dropped())
            facts["scored"] = sorted(self._scored)
            write_json(temporary / FACTS, facts)
        return facts

    # ---- labelled texts ----------------------------------------------------------------------------------------------

    def _write_labelled(self, directory: Path, name: str, part: Labelled) -> dict[str, Any]:
        data = self.settings.data
        width = part.targets.shape[1] if part.targets.ndim == 2 else 0
        numbers: dict[str, tuple[Any, int]] = {"target": (part.targets.dtype, width)}
        values: dict[str, np.ndarray] = {"target": part.targets}
        if name == "train":
            for head, own in heads.own_parts(part):
                if self.settings.task_of(head) == "regression" and own.texts:
                    Standard.of([own.targets]).check("train")
        if self._score_columns(name):
            numbers["scores"] = (np.float64, len(self.labels))
            values["scores"] = self._scores(part.extra.__getitem__, part.places, learnt=name == "train")
        if name == "train" and data.weight:
            numbers["weight"] = (np.float64, 0)
            values["weight"] = np.array(part.extra[data.weight], np.float64)
        with Writer(directory / f"{name}.parquet", numbers, bool(data.pair)) as writer:
            writer.add(part.texts, part.places, **values)
        facts = writer.facts()
        if part.several:
            facts["targets"] = {one.name: int(one.there(part.targets).sum()) for one in part.several.heads}
        if self.settings.task != "regression":
            facts["labels"] = dict(zip(self.labels, label_counts(part).tolist(), strict=True))
        return facts

    # ---- the corpus --------------------------------------------------------------------------------------------------

    def _write_corpus(self, directory: Path, name: str, sample: split.CorpusSample | None = None) -> dict[str, Any]:
        """Write the corpus as it is read; ``sample`` is shown each text."""
        data = self.settings.data
        with self._writer(directory, name) as writer, Progress("read corpus") as bar:
            for texts, fingerprints, scores, places in self._corpus():
                if sample is not None:
                    sample.add(texts, fingerprints, scores, places.where)
                writer.add(texts, places, scores=scores)
                bar.add(len(places))
            if not writer.texts and not self._dropped.any():
                raise files.no_text(data.corpus)
            if not writer.texts:
                raise DataError(
                    f"no text of corpus is left: all of them ({self._dropped.sum():,}) are texts of dev or test "
                    f"({ASIDE}), such as {self._frequent_dropped()}; give other texts, or take these out of dev and "
                    "test"
                )
        return writer.facts()

    def _writer(self, directory: Path, name: str) -> Writer:
        numbers: dict[str, tuple[Any, int]] = {"scores": (np.float64, len(self.labels))} if self.score_columns else {}
        return Writer(directory / f"{name}.parquet", numbers, bool(self.settings.data.pair))

    def _corpus(self) -> Iterator[tuple[Any, np.ndarray, np.ndarray | None, Places]]:
        """The corpus without texts of dev and test: texts as a list or an Arrow array, their fingerprints, the scores
        of the column, and places.
        """
        reader = self._opened("corpus")
        self._dropped = np.zeros(len(self._blocked), np.int64)
        with self._needs_column("corpus"):
            for batch in reader:
                texts, places = batch.texts, Places([(batch.source, batch.rows)])
                if self._pair:
                    firsts = texts if isinstance(texts, list) else texts.to_pylist()
                    texts = pairs.joined(firsts, self._second(batch.named(self._pair[0]), places))
                fingerprints = _core.fingerprints(texts, default_threads())
                scores = self._scores(partial(heads.cells, batch), places) if self.score_columns else None
                blocked = among(fingerprints, self._blocked)
                if blocked.any():
                    at = np.searchsorted(self._blocked, fingerprints[blocked])
                    self._dropped += np.bincount(at, minlength=len(self._blocked))
                    texts, fingerprints, scores, places = _take(~blocked, texts, fingerprints, scores, places)
                if len(places):
                    yield texts, fingerprints, scores, places
        if reader.skipped and reader.skipped.count:
            what = f"{reader.skipped.count:,} rows of the corpus have no text (the first: {reader.skipped.first})"
            say(f"{what} and were left out")

    def _write_held_out(self, directory: Path) -> dict[str, Any]:
        """Write the corpus and, taken out of it, the texts to choose on where no text is labelled.

        Which those are is known when all is read: so the whole corpus is written, and then without them.
        """
        sample = split.CorpusSample(self.settings.data.seed)
        facts = {"corpus": self._write_corpus(directory, "whole", sample)}
        if sample.lines < 2:
            raise DataError(
                f"the corpus has {sample.lines} text{'s' * (sample.lines != 1)}, too few to hold out a part to choose "
                "on: give --dev"
            )
        held = sample.choose()
        scores = None if held.scores is None else np.array(held.scores, np.float64)
        with self._writer(directory, "dev") as dev:
            dev.add(held.texts, Places([(source, [row]) for source, row in held.places]), scores=scores)
        facts["dev"] = dev.facts()
        whole = directory / "whole.parquet"
        if held.shared:
            say(
                f"warning: dev: its {len(held.texts):,} texts stay in the corpus, too, which has hardly any other "
                f"({examples(held.texts)}): figures on them are those of texts that were learnt, give --dev"
            )
            whole.rename(directory / "corpus.parquet")
            return facts
        with self._writer(directory, "corpus") as writer, Progress("hold out", sample.lines) as bar:
            for batch in batches(whole, "text", "second", "scores", "source", "row"):
                texts = texts_of(batch) if self._pair else batch.column("text")
                prints = _core.fingerprints(texts, default_threads())
                keep = ~among(split.mixed(prints, sample.seed), held.keys)
                kept, _, scores, places = _take(keep, texts, prints, numbers_of(batch, "scores"), places_of([batch]))
                writer.add(kept, places, scores=scores)
                bar.add(len(keep))
        whole.unlink()
        return {**facts, "corpus": writer.facts()}

    def _scores(self, column: Callable[[str], list[Any]], places: Places, learnt: bool = True) -> np.ndarray:
        """The columns of scores as float64 (n, outputs), NaN where a head has none; ``learnt``: from these texts.

        Errors: :class:`DataError` naming file and row.
        """
        if self.several is None:
            (name,) = self.score_columns
            return _checked_scores(column(name), name, self.labels, self.settings.data.task, places)
        assert self.kind is not None
        result = np.full((len(places), len(self.labels)), np.nan)
        for head in self.several.heads:
            if name := self.kind.columns.get(head.name, ""):
                values = column(name)
                rows = np.flatnonzero([not heads.nothing(value) for value in values])
                given, where = [values[i] for i in rows], places.take(rows)
                if given:
                    self._scored |= {head.name} if learnt else set()
                    result[rows, head.outputs] = _checked_scores(given, name, head.labels, head.task.name, where)
        return result

    def _frequent_dropped(self) -> str:
        """The texts of dev and test that come most often in the corpus."""
        most = np.argsort(-self._dropped, kind="stable")[:3]
        wanted = {int(self._blocked[i]): int(self._dropped[i]) for i in most if self._dropped[i]}
        shown: dict[int, str] = {}
        for part in (self.dev, self.test):
            texts = [] if part is None else part.texts
            for text, one in zip(texts, _core.fingerprints(texts, default_threads()).tolist(), strict=True):
                if one in wanted:
                    shown.setdefault(one, text)
        return ", ".join(example(shown[one], count) for one, count in wanted.items())


def _checked_scores(values: list[Any], column: str, labels: tuple[str, ...], task: str, places: Places) -> np.ndarray:
    """A column of scores as float64 (n, C), each row checked. Errors: :class:`DataError` naming file and row."""
    classes, regression = len(labels), task == "regression"
    try:
        array = np.array(values, dtype=np.float64)
        if regression and array.ndim == 1:
            array = array[:, None]
        if array.shape == (len(values), classes) and np.isfinite(array).all():
            return array
    except (TypeError, ValueError):
        pass
    for i, value in enumerate(values):
        numbers = [value] if regression and not isinstance(value, list | tuple) else value
        try:
            row = np.array(numbers, dtype=np.float64)
        except (TypeError, ValueError):
            row = np.array(np.nan)
        if row.shape != (classes,) or not np.isfinite(row).all():
            raise DataError(
                f"{places[i]}: column {column!r} holds {value!r:.60}, not {classes} finite "
                f"number{'s' if classes > 1 else ''} (labels: {', '.join(labels)}): correct it or drop the row"
            )
    raise AssertionError("unreachable: one of the rows is at fault")


def _take(
    keep: np.ndarray, texts: Any, fingerprints: np.ndarray, scores: np.ndarray | None, places: Places
) -> tuple[Any, ...]:
    """Of each what is at ``keep``, bool (n,)."""
    where = np.flatnonzero(keep)
    texts = [texts[i] for i in where] if isinstance(texts, list) else texts.take(where)
    return texts, fingerprints[keep], scores if scores is None else scores[keep], places.take(keep)


def _described(sources: tuple[str, ...], form: files.Form) -> list[dict[str, Any]]:
    """Name, size and time of every file."""
    result: list[dict[str, Any]] = []
    for source in files.expand(sources, form) if sources else []:
        entry: dict[str, Any] = {"source": source}
        if os.path.isfile(source):
            status = os.stat(source)
            entry |= {"bytes": status.st_size, "modified": status.st_mtime_ns}
        result.append(entry)
    return result
