"""What a run learns from: labelled texts, the corpus, and the wall between them and dev and test."""

from __future__ import annotations

import dataclasses
import hashlib
import os
from collections.abc import Iterator, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from .. import _core
from ..errors import DataError, SettingsError
from ..format import file_fingerprint, read_json, write_json
from ..machine import default_threads
from ..progress import Progress, say
from ..settings import Settings
from ..standard import Standard
from ..teacher.logits import fingerprint
from . import files, labelled, pairs, records, split, weights
from .labelled import Labelled
from .records import Places

PARTS = ("train", "dev", "test", "corpus")
BATCH = 8192
MANY = 0.1  # of a part or the corpus: more than that is not left out without a warning
ASIDE = "case and punctuation aside"  # what the fingerprints of texts leave out


class Inputs:
    """The texts that the settings name, read when they are first asked for.

    Texts of dev and test are taken out of train and corpus by their letters and digits, so that neither case nor
    punctuation hides one. ``held_out_file`` keeps the part of the corpus that is held out where there is no labelled
    text, so that the corpus need not be read once more to find it. ``kind``: of the teacher
    (:mod:`sparsedistill.teacher`), which may be a column beside the texts.
    """

    def __init__(self, settings: Settings, held_out_file: Path | None = None, kind: Any = None):
        self.settings, self.held_out_file, self.kind = settings, held_out_file, kind
        # By fingerprint of `_blocked`: texts of the corpus left out by the last pass over it; and rows without a text.
        self._dropped = np.zeros(0, np.int64)
        self._skipped: records.Skipped | None = None

    @property
    def column(self) -> str | None:
        """The column that holds the teacher's scores, where that is the teacher."""
        return self.kind.column or None if self.kind else None

    @property
    def needs_teacher(self) -> bool:
        """Whether any student learns from a teacher."""
        return bool(set(self.settings.distill.modes) - {"scratch"})

    @property
    def uses_train_logits(self) -> bool:
        """Whether a student learns the teacher's word on train."""
        return bool(self.settings.data.train) and "kd" in self.settings.distill.modes

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
        if self.kind and (own := self.kind.labels()):
            return own
        raise SettingsError("the label names are not known: give --labels in the order of the teacher's classes")

    @cached_property
    def _train_all(self) -> Labelled:
        data = self.settings.data
        extra = (self.column,) if self.column and self.uses_train_logits else ()
        return self._labelled(data.train, None, (*extra, *self._weight))

    def _labelled(self, sources: tuple[str, ...], labels: tuple[str, ...] | None, columns: tuple = ()) -> Labelled:
        data = self.settings.data
        # Lists of 0 and 1 mean in dev and test what they mean in train.
        multi_hot = self._train_all.multi_hot if labels is not None and data.train and data.task == "multi" else None
        found = labelled.labelled(sources, data, labels, columns=(*columns, *self._pair), multi_hot=multi_hot)
        if not self._pair:
            return found
        second = self._second(found.extra.pop(data.pair), found.places)
        return dataclasses.replace(found, texts=pairs.joined(found.texts, second))

    @property
    def _form(self) -> files.Form:
        return files.Form.of(self.settings.data)

    @property
    def _weight(self) -> list[str]:
        return [self.settings.data.weight] if self.settings.data.weight else []

    @cached_property
    def sample_weights(self) -> np.ndarray | None:
        """Weights of the texts of train, float32 (n, 1), averaging to 1, where a column has them."""
        column = self.settings.data.weight
        return weights.sample_weights(self.part("train").extra[column], column) if column else None

    @cached_property
    def gold_weights(self) -> np.ndarray | None:
        """Weights of what the gold labels of train teach, float32 (n, 1) or (n, C), where there are any."""
        data, train = self.settings.data, self.part("train")
        classes = weights.class_weights(data.class_weights, train.labels, data.task)
        return weights.gold_weights(train.targets, train.labels, classes, self.sample_weights)

    @property
    def _pair(self) -> list[str]:
        return [self.settings.data.pair] if self.settings.data.pair else []

    @cached_property
    def _split(self) -> tuple[Labelled | None, Labelled | None, np.ndarray]:
        """(train, dev, fingerprints of texts that had to stay in both), apart from each other and from test."""
        data = self.settings.data
        test, shared = self.test, np.zeros(0, np.uint64)
        train = _without(self._train_all, test, "train", "test") if data.train else None
        if data.dev:
            dev: Labelled | None = _without(self._labelled(data.dev, self.labels), test, "dev", "test")
            if train is not None:
                train = self._of_several_classes(_without(train, dev, "train", "dev"))
        elif train is not None:
            train = self._of_several_classes(train)
            found = _core.fingerprints(train.texts, default_threads())
            held, both = split.hold_out(found, data.dev_fraction, data.seed, train.targets)
            shared = np.unique(found[both])
            copied = [train.texts[i] for i in np.flatnonzero(both)]
            train, dev = _select(train, ~held), _select(train, held | both)
            self._say_what_dev_lacks(train, dev, copied)
        else:
            dev = None
        if dev is not None and data.task == "single" and np.count_nonzero(counts := _label_counts(dev)) == 1:
            say(
                f"warning: dev has texts of one class only, {dev.labels[counts.argmax()]!r} ({counts.max():,}): it "
                "tells nothing of the others, give --dev texts of every class"
            )
        return train, dev, shared

    def _of_several_classes(self, train: Labelled) -> Labelled:
        """``train``. Errors: :class:`DataError` where all its texts are of one class."""
        if self.settings.data.task == "single" and np.count_nonzero(counts := _label_counts(train)) < 2:
            before = zip(train.labels, _label_counts(self._train_all), strict=True)
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
                f"nothing else could be held out of their class ({_examples(copied)}): figures on "
                "them are those of texts that were learnt, give --dev"
            )
        if self.settings.data.task != "regression":
            counts, there = _label_counts(train), _label_counts(dev)
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

    @property
    def has_dev(self) -> bool:
        """Whether there are gold labels to choose on."""
        return bool(self.settings.data.dev or self.settings.data.train)

    @cached_property
    def test(self) -> Labelled | None:
        """Labelled texts to report on."""
        data = self.settings.data
        return self._labelled(data.test, self.labels) if data.test else None

    def part(self, name: str) -> Labelled:
        """``train``, ``dev`` or ``test``. Errors: :class:`SettingsError` when there is none."""
        found = getattr(self, name)
        if found is None:
            raise SettingsError(f"there is no {name} set: give --{name}")
        return found

    @cached_property
    def _blocked(self) -> np.ndarray:
        """Sorted fingerprints of all texts that nothing may be learnt from."""
        dev = np.setdiff1d(_fingerprints(self.dev), self._split[2])
        return np.union1d(dev, _fingerprints(self.test))

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
                f"({_examples(held.texts)}): figures on them are those of texts that were learnt, give --dev"
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
                    keep = ~_among(split.mixed(prints, self.settings.data.seed), held)
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
                    crops = [_crop(text, random) for text in texts[i : i + BATCH]]
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
            blocked = _among(found, self._blocked)
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

    def _second(self, values: list[Any], places: Places) -> list[str]:
        """Second texts of pairs. Errors: :class:`DataError` for what is none."""
        column = self.settings.data.pair
        for i, value in enumerate(values):
            if not isinstance(value, str):
                raise DataError(
                    f"{places[i]}: column {column!r} holds {value!r:.60}, not a text: correct it, or drop the row"
                )
        return values

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
                result[name]["labels"] = dict(zip(self.labels, _label_counts(gold).tolist(), strict=True))
        if data.corpus:
            if self._skipped and self._skipped.count:
                say(
                    f"{self._skipped.count:,} rows of the corpus have no text (the first: {self._skipped.first}) and "
                    "were left out"
                )
            result["corpus"]["dropped"] = self.dropped
            if self.dropped:
                total = self.dropped + result["corpus"]["texts"]
                _say_dropped("corpus", self.dropped, total, "dev or test", self._frequent_dropped())
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
        return ", ".join(_example(shown[one], count) for one, count in wanted.items())

    def files(self, known: dict[str, Any]) -> dict[str, list[dict[str, Any]]]:
        """Name, size, time and content hash of every input file, by part; ``known`` is an earlier answer."""
        before = {entry["source"]: entry for entries in known.values() for entry in entries}
        return {name: _describe_files(getattr(self.settings.data, name), self._form, before) for name in PARTS}


def _crop(text: str, random: np.random.Generator) -> str:
    """A run of a text's words (what white space parts), of any length with equal chance, from any place."""
    words = text.split()
    if len(words) < 2:
        return text
    return run_of_words(words, int(random.integers(1, len(words) + 1)), random)


def run_of_words(words: Sequence[str], size: int, random: np.random.Generator) -> str:
    """``size`` neighbouring words from any place."""
    begin = int(random.integers(0, len(words) - size + 1))
    return " ".join(words[begin : begin + size])


def _fingerprints(part: Labelled | None) -> np.ndarray:
    """Sorted, of the letters and digits of a part's texts."""
    if part is None:
        return np.zeros(0, np.uint64)
    return np.unique(_core.fingerprints(part.texts, default_threads()))


def _among(found: np.ndarray, blocked: np.ndarray) -> np.ndarray:
    if not len(blocked):
        return np.zeros(len(found), bool)
    return blocked[np.minimum(np.searchsorted(blocked, found), len(blocked) - 1)] == found


def _without(part: Labelled, other: Labelled | None, name: str, others: str) -> Labelled:
    """``part`` without the texts of ``other``; says how many those are.

    Errors: :class:`DataError` where no text is left, or none of a class that had some.
    """
    found = _core.fingerprints(part.texts, default_threads())
    out = _among(found, _fingerprints(other))
    if not out.any():
        return part
    keep = _select(part, ~out)
    gone = [part.texts[i] for i in np.flatnonzero(out)]
    remedy = f"take them out of {others}" + (f", or give {name} others of {{}}" if name == "train" else "")
    if out.all():
        raise DataError(
            f"no text of {name} is left: all of them ({len(gone):,}) are texts of {others} ({ASIDE}), such as "
            f"{_examples(gone, found[out])}; {remedy.format('its own')}"
        )
    if name == "train" and (part.targets.ndim == 2 or part.targets.dtype.kind == "i"):
        before, after = _label_counts(part), _label_counts(keep)
        if len(lost := np.flatnonzero((before > 0) & (after == 0))):
            of = part.targets == lost[0] if part.targets.ndim == 1 else part.targets[:, lost[0]] > 0.5
            names = [f"{part.labels[i]!r} ({before[i]:,})" for i in lost]
            raise DataError(
                f"no text of {files.several(names)} is left in {name}: all of them are texts of {others} ({ASIDE}), "
                f"such as {_examples([part.texts[i] for i in np.flatnonzero(of)], found[of])}; "
                f"{remedy.format('the class')}"
            )
    _say_dropped(name, len(gone), len(part.texts), others, _examples(gone, found[out]))
    return keep


def _say_dropped(name: str, dropped: int, total: int, others: str, examples: str) -> None:
    message = f"{name}: {dropped:,} texts are in {others} ({ASIDE}) and were left out"
    if dropped > MANY * total:
        message = (
            f"warning: {name}: {dropped:,} of {total:,} texts ({dropped / total:.1%}) are in {others} ({ASIDE}) and "
            f"were left out, such as {examples}: nothing is learnt from them, take what is to be learnt out of {others}"
        )
    say(message)


def _examples(texts: Sequence[str], found: np.ndarray | None = None) -> str:
    """The three most frequent texts, cut short, with how often each is there (by fingerprint, where that is known)."""
    found = _core.fingerprints(texts, default_threads()) if found is None else found
    _, first, counts = np.unique(found, return_index=True, return_counts=True)
    return ", ".join(_example(texts[first[i]], int(counts[i])) for i in np.argsort(-counts, kind="stable")[:3])


def _example(text: str, count: int) -> str:
    text = text.replace(pairs.SEPARATOR, " | ")
    text = text if len(text) <= 40 else text[:39] + "\u2026"
    return f"{text!r}" + (f" ({count:,} times)" if count > 1 else "")


def _label_counts(part: Labelled) -> np.ndarray:
    """Texts of each class, or that have each label."""
    if part.targets.ndim == 2:
        return (part.targets > 0.5).sum(axis=0)
    return np.bincount(part.targets, minlength=len(part.labels))


def _select(part: Labelled, keep: np.ndarray) -> Labelled:
    where = np.flatnonzero(keep)
    return Labelled(
        [part.texts[i] for i in where],
        part.targets[keep],
        part.labels,
        {name: [values[i] for i in where] for name, values in part.extra.items()},
        part.places.take(where),
    )


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
