"""What a run learns from: labelled texts and the corpus, without texts of dev and test."""

from __future__ import annotations

import dataclasses
import hashlib
import os
from collections.abc import Iterator
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from .. import _core
from ..errors import DataError
from ..format import file_fingerprint, read_json, write_json
from ..machine import default_threads
from ..progress import Progress, say
from ..settings import Settings
from ..standard import Standard
from . import files, labelled, pairs, records, split
from .crops import crop
from .decontaminate import ASIDE, among, example, examples, label_counts, say_dropped
from .parts import LabelledParts
from .records import Places, fingerprint

PARTS = ("train", "dev", "test", "corpus")
BATCH = 8192


class Inputs(LabelledParts):
    """The texts that the settings name, read when they are first asked for.

    Texts of dev and test are taken out of train and corpus by their letters and digits, so that neither case nor
    punctuation hides one. ``held_out_file`` keeps the part of the corpus that is held out where there is no labelled
    text, so that the corpus need not be read once more to find it. ``kind``: of the teacher
    (:mod:`sparsedistill.teacher`), which may be a column beside the texts.
    """

    def __init__(self, settings: Settings, held_out_file: Path | None = None, kind: Any = None):
        super().__init__(settings, kind)
        self.held_out_file = held_out_file
        # By fingerprint of `_blocked`: texts of the corpus left out by the last pass over it; and rows without a text.
        self._dropped = np.zeros(0, np.int64)
        self._skipped: records.Skipped | None = None

    def check(self) -> None:
        """Look at the start of every file: is it there, does it have the columns, is there a text?

        Errors: :class:`DataError` naming file and remedy.
        """
        data = self.settings.data
        for name in PARTS:
            if sources := getattr(data, name):
                if "-" in sources:
                    raise DataError(f"{name} is stdin, which can be read only once: write it to a file")
                gold = labelled.label_columns(data)
                labels = () if name == "corpus" else gold
                columns = [*self._pair, *labels, *(self._weight if name == "train" else [])]
                records.check(
                    sources, data.text, columns, encoding_errors=data.encoding_errors, label=gold[0], form=self._form,
                    skipped=records.skipping(data, labels),
                )  # fmt: skip
                if self.column and (name == "corpus" or (name == "train" and self.uses_train_logits)):
                    self._check_column(name)
        if data.task == "single" and len(self.labels) < 2:
            raise DataError(f"only one label, {self.labels[0]!r}: a classifier needs two")

    def _check_column(self, name: str) -> None:
        data, column = self.settings.data, str(self.column)
        try:
            records.check(
                getattr(data, name), data.text, [column], encoding_errors=data.encoding_errors, form=self._form,
                skipped=records.skipping(dataclasses.replace(data, pair="")),
            )  # fmt: skip
        except DataError as error:
            train = "; without scores for train, take --modes kd_private" if name == "train" else ""
            raise DataError(f"the teacher's column is needed in {name}: {error}{train}") from None

    @property
    def dropped(self) -> int:
        """Texts of the corpus that the last pass over it left out, for they are in dev or test."""
        return int(self._dropped.sum())

    @cached_property
    def _held_out(self) -> split.HeldOut:
        """What of the corpus is the dev part, where there is no labelled text to choose on."""
        if self.held_out_file is not None and self.held_out_file.is_file():
            return split.HeldOut.from_json(read_json(self.held_out_file))
        sample = split.CorpusSample(self.settings.data.seed)
        with Progress("hold out") as bar:
            for texts, found, scores, places in self._corpus():
                sample.add(texts, found, scores, places.where)
                bar.add(len(texts))
        if sample.lines < 2:
            raise DataError(
                f"the corpus has {sample.lines} text{'s' * (sample.lines != 1)}, too few to hold out a part to choose "
                "on: give --dev"
            )
        held = sample.choose()
        if held.shared:
            say(
                f"warning: dev: its {len(held.texts):,} texts stay in the corpus, too, which has hardly any other "
                f"({examples(held.texts)}): figures on them are those of texts that were learnt, give --dev"
            )
        if self.held_out_file is not None:
            write_json(self.held_out_file, held.to_json())
        return held

    def batches(self, part: str) -> Iterator[tuple[list[str], np.ndarray | None]]:
        """A part's texts and their scores, as of :meth:`placed`."""
        return ((texts, scores) for texts, scores, _ in self.placed(part))

    def placed(self, part: str) -> Iterator[tuple[list[str], np.ndarray | None, Places]]:
        """A part's texts, batch by batch, what the teacher's column says of them (n, C), where it is a column, and
        where they stand.

        corpus: in the order of its files, without texts of dev and test. dev: where there is no labelled text at all,
        what is held out of the corpus (:class:`~sparsedistill.data.split.CorpusSample`). crops:
        ``label.random_crops`` runs of words from each text of train (:func:`_crop`), all texts once, then all of them
        again.

        Errors: :class:`DataError` naming file and row of a score that is none.
        """
        if part == "corpus":
            held = None if self.has_dev else self._held_out.keys
            for texts, prints, scores, places in self._corpus():
                if held is not None and len(held):
                    keep = ~among(split.mixed(prints, self.settings.data.seed), held)
                    texts, places = [texts[i] for i in np.flatnonzero(keep)], places.take(keep)
                    scores = scores if scores is None else scores[keep]
                if texts:
                    yield texts, scores, places
        elif part == "dev" and not self.has_dev:
            one = self._held_out
            places = Places([(source, [row]) for source, row in one.places])
            yield one.texts, None if one.scores is None else np.array(one.scores, np.float64), places
        elif part == "crops":
            texts, places = self.part("train").texts, self.part("train").places
            for turn in range(self.settings.label.random_crops):
                random = np.random.default_rng([self.settings.data.seed, turn])
                for i in range(0, len(texts), BATCH):
                    crops = [crop(text, random) for text in texts[i : i + BATCH]]
                    yield crops, None, places.take(slice(i, i + BATCH))
        else:
            found = self.part(part)
            values = found.extra.get(self.column) if self.column else None
            scores = None if values is None else self._scores(values, found.places)
            for i in range(0, len(found.texts), BATCH):
                some = slice(i, i + BATCH)
                yield found.texts[some], scores if scores is None else scores[some], found.places.take(some)

    def _corpus(self) -> Iterator[tuple[list[str], np.ndarray, np.ndarray | None, Places]]:
        """The corpus without texts of dev and test: texts, their fingerprints, the scores of the column, and places."""
        data = self.settings.data
        columns = [self.column] if self.column else []
        self._dropped, self._skipped = np.zeros(len(self._blocked), np.int64), records.skipping(data)
        for batch in records.read(
            data.corpus, data.text, columns + self._pair, encoding_errors=data.encoding_errors, form=self._form,
            skipped=self._skipped,
        ):  # fmt: skip
            texts, places = batch.texts, Places([(batch.source, batch.rows)])
            if self._pair:
                texts = pairs.joined(texts, self._second(batch.named(data.pair), places))
            found = _core.fingerprints(texts, default_threads())
            blocked = among(found, self._blocked)
            if blocked.any():
                self._dropped += np.bincount(
                    np.searchsorted(self._blocked, found[blocked]), minlength=len(self._blocked)
                )
            keep = ~blocked
            scores = None
            if columns:
                scores = self._scores(batch.named(columns[0]), places)[keep]
            if keep.any():
                yield [texts[i] for i in np.flatnonzero(keep)], found[keep], scores, places.take(keep)

    def _scores(self, values: list[Any], places: Places) -> np.ndarray:
        """A column of scores as float64 (n, C), each row checked."""
        classes, regression = len(self.labels), self.settings.data.task == "regression"
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
                    f"{places[i]}: column {self.column!r} holds {value!r:.60}, not {classes} finite "
                    f"number{'s' if classes > 1 else ''} (labels: {', '.join(self.labels)}): correct it or drop the row"
                )
        raise AssertionError("unreachable: one of the rows is at fault")

    def describe(self) -> dict[str, Any]:
        """Read every text once: sizes, label counts and fingerprints of all parts.

        Errors: :class:`DataError` for whatever cannot be used, wherever in the files it stands.
        """
        data = self.settings.data
        result: dict[str, Any] = {"task": data.task, "labels": list(self.labels)}
        for name in ("train", "dev", "test", "corpus"):
            gold = getattr(self, name) if name != "corpus" else None
            if gold is None and not (data.corpus and (name == "corpus" or (name == "dev" and not self.has_dev))):
                continue
            count, texts_state, scores_state = 0, hashlib.blake2b(digest_size=16), None
            with Progress(f"read {name}") as bar:
                for texts, scores in self.batches(name):
                    count += len(texts)
                    texts_state.update(fingerprint(texts).encode())
                    if scores is not None:
                        scores_state = scores_state or hashlib.blake2b(digest_size=16)
                        scores_state.update(scores.tobytes())
                    bar.add(len(texts))
            if not count:
                raise DataError(
                    f"no text of {name} is left: all of them ({self.dropped:,}) are texts of dev or test ({ASIDE}), "
                    f"such as {self._frequent_dropped()}; give other texts, or take these out of dev and test"
                )
            if gold is not None:
                if data.task == "regression" and name == "train":
                    Standard.of([gold.targets]).check("train")
                texts_state.update(gold.targets.tobytes())
            result[name] = {"texts": count, "fingerprint": texts_state.hexdigest()}
            if scores_state is not None:
                result[name]["scores"] = scores_state.hexdigest()
            if name == "train" and data.weight:
                found = np.array(self.part("train").extra[data.weight], np.float64)
                result[name]["weights"] = hashlib.blake2b(found.tobytes(), digest_size=16).hexdigest()
            if gold is not None and data.task != "regression":
                result[name]["labels"] = dict(zip(self.labels, label_counts(gold).tolist(), strict=True))
        if data.corpus:
            if self._skipped and self._skipped.count:
                say(
                    f"{self._skipped.count:,} rows of the corpus have no text (the first: {self._skipped.first}) and "
                    "were left out"
                )
            result["corpus"]["dropped"] = self.dropped
            if self.dropped:
                total = self.dropped + result["corpus"]["texts"]
                say_dropped("corpus", self.dropped, total, "dev or test", self._frequent_dropped())
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

    def files(self, known: dict[str, Any]) -> dict[str, list[dict[str, Any]]]:
        """Name, size, time and content hash of every input file, by part; ``known`` is an earlier answer."""
        before = {entry["source"]: entry for entries in known.values() for entry in entries}
        return {name: _describe_files(getattr(self.settings.data, name), self._form, before) for name in PARTS}


def _describe_files(sources: tuple[str, ...], form: files.Form, known: dict[str, Any]) -> list[dict[str, Any]]:
    result: list[dict[str, Any]] = []
    for source in files.expand(sources, form) if sources else []:
        entry: dict[str, Any] = {"source": source}
        if os.path.isfile(source):
            status = os.stat(source)
            entry |= {"bytes": status.st_size, "modified": status.st_mtime_ns}
            before = known.get(source, {})
            same = all(before.get(name) == value for name, value in entry.items())
            entry["fingerprint"] = before["fingerprint"] if same else file_fingerprint(source)
        result.append(entry)
    return result
