"""The finished artefact: a directory that maps into memory and turns raw text into labels, with numpy alone."""

from __future__ import annotations

import copy
import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np

from . import _core
from .artefact import read_parts
from .errors import FormatError, SettingsError
from .explain import Explanation, explain
from .format import read_json, read_start, read_tensors, replacing_directory, write_json, write_tensors
from .machine import asked_threads

CONFIG, TENSORS, CARD = "config.json", "model.safetensors", "README.md"
MAX_CARD = 1 << 20  # bytes


class Classifier:
    """A distilled classifier. Get one with :meth:`load`; it is immutable and safe to share between threads.

    ``report``: of a classifier that :func:`sparsedistill.distill` has made, what was measured
    (:class:`sparsedistill.report.Report`); else None.
    """

    report: Any = None

    def __init__(
        self,
        config: dict[str, Any],
        tensors: dict[str, np.ndarray],
        path: str | os.PathLike[str] | None = None,
        card: str = "",
    ):
        """From the parsed ``config.json`` and the arrays of ``model.safetensors``; both are checked.

        Errors: :class:`FormatError` naming the field or tensor.
        """
        where = path or "the classifier"
        self._config, self._tensors, self._card = config, tensors, card
        self.path = Path(path).resolve() if path else None
        self._in_memory = False
        parts = read_parts(config, tensors, where, Path(where) / TENSORS if path else where)
        self.task, self.labels = parts.task, parts.labels
        #: whether it labels pairs of texts
        self.pairs = parts.pairs
        self._pooling, self._thresholds = parts.pooling, parts.thresholds
        text, rows, head = parts.text, parts.rows, parts.head
        self._rows, self._count, self._width, self._hashed = rows.numbers, rows.count, rows.width, rows.hashed
        self._scale, self._bias, self._relu_first, self._layers = head.scale, head.bias, head.relu_first, head.layers
        in_slots = rows.numbers is None
        try:
            self._lookup = _core.Lookup(
                rows.slots, 0 if in_slots else rows.count, rows.width if in_slots else 0, parts.seed, **text.config()
            )
            self._model = _core.Model(
                self._lookup, rows.numbers, head.scale, head.bias, head.relu_first, head.layers, parts.pooling,
                parts.pairs,
            )  # fmt: skip
        except (TypeError, ValueError) as error:
            raise FormatError(f"{where} is damaged: {error}") from None

    @classmethod
    def load(cls, path: str | os.PathLike[str], copy: bool = False) -> Classifier:
        """Map the classifier in directory ``path``: milliseconds, whatever its size, and shared between processes.

        The file must stay as it is while it is mapped: where it is cut short in place, the system ends the process (to
        save another classifier under the same path is safe, for that is another file). ``copy`` reads it into memory of
        this process's own instead, in huge pages where the system gives them, which also makes scoring faster.

        Errors: :class:`FormatError` when the directory is damaged or foreign; FileNotFoundError when it is not there.
        """
        path = Path(path)
        for name in (CONFIG, TENSORS):
            if not (path / name).is_file():
                raise FileNotFoundError(f"{path} is not a classifier: it has no {name}")
        card = read_start(path / CARD, MAX_CARD).decode("utf-8", "replace") if (path / CARD).is_file() else ""
        classifier = cls(read_json(path / CONFIG), read_tensors(path / TENSORS, copy), path, card)
        classifier._in_memory = copy
        return classifier

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the classifier as a directory, whole or not at all; a classifier already there is replaced.

        Errors: :class:`SettingsError` for a file or a directory that is anything else.
        """
        is_replaced(Path(path))
        with replacing_directory(path) as temporary:
            write_json(temporary / CONFIG, self._config)
            write_tensors(temporary / TENSORS, self._tensors)
            if self._card:
                (temporary / CARD).write_text(self._card, encoding="utf-8")

    def __reduce__(self) -> tuple[Any, ...]:
        # Workers map the file again instead of receiving its contents.
        if self.path is not None:
            return Classifier.load, (self.path, self._in_memory)
        return Classifier, (self._config, {name: np.array(a) for name, a in self._tensors.items()}, None, self._card)

    def __repr__(self) -> str:
        longest, rows = self._config["text"]["max_n"], self._config["rows"]["type"]
        labels = ", ".join(self.labels[:4]) + (" ..." if len(self.labels) > 4 else "")
        ngrams = f"{self._count:,} {'hashed ' * self._hashed}{'' if longest == 1 else '1- to '}{longest}-grams"
        return f"Classifier({self.task}, labels {labels}; {ngrams} x {self._width} {rows}, {self.nbytes / 1e6:.1f} MB)"

    @property
    def config(self) -> dict[str, Any]:
        """A copy of ``config.json``."""
        return copy.deepcopy(self._config)

    @property
    def nbytes(self) -> int:
        """Bytes of all arrays, as mapped."""
        return sum(array.nbytes for array in self._tensors.values())

    def decision_function(self, texts: Any, threads: int = 0, nulls: str = "error") -> np.ndarray:
        """Logits (regression: the score), float32 (n, C); for one str, (C,).

        ``texts`` is a str, or n of them: a list, a tuple, any iterable, a numpy or pandas column, or anything with the
        Arrow PyCapsule protocol. Where the classifier labels ``pairs`` it is a tuple of two str, n of those,
        or an array or frame (n, 2). A text
        without a known n-gram, the empty one among them, pools to zero and gets the score of the biases alone. The same
        bits for any ``threads`` (0: all processors granted) and any batch. ``nulls`` says what a null of a column, or
        None, NaN, NaT or pandas' NA in a list is: an "error", or an "empty" text.

        Errors: TypeError or ValueError naming the position of what is no text.
        """
        try:
            if self._is_one(texts):
                result: np.ndarray = self._model.score(self._asked((texts,), 1, nulls)[0], 1)[0]
                return result
            return self._model.score(*self._asked(texts, threads, nulls))
        except _core.Damaged as error:
            raise self._damaged(error) from None

    def _is_one(self, texts: Any) -> bool:
        """Whether this is one text, or one pair."""
        if self.pairs:
            return isinstance(texts, tuple) and len(texts) == 2 and all(isinstance(t, str | bytes) for t in texts)
        return isinstance(texts, str | bytes)

    def _asked(self, texts: Any, threads: int, nulls: str) -> tuple[Any, int, bool]:
        """What the core takes of many texts: the texts, how many threads, whether nulls are empty texts."""
        if nulls not in ("error", "empty"):
            raise ValueError(f"nulls is {nulls!r}: give 'error' or 'empty'")
        return _halves(texts) if self.pairs else _as_texts(texts), asked_threads(threads), nulls == "empty"

    # The core checks slots and rows where it uses them. (A context manager would cost as much as scoring a short text.)
    def _damaged(self, error: Exception) -> FormatError:
        return FormatError(f"{self.path or 'the classifier'} is damaged: {error}")

    def predict_proba(self, texts: Any, threads: int = 0, nulls: str = "error") -> np.ndarray:
        """Probabilities, float64 (n, C); for one str, (C,). Single-label rows sum to one.

        Errors: those of :meth:`decision_function`; ValueError for a regression classifier.
        """
        if self.task == "regression":
            raise ValueError("a regression classifier has no probabilities: use predict")
        return probabilities(self.decision_function(texts, threads, nulls), self.task)

    def predict(self, texts: Any, threads: int = 0, nulls: str = "error") -> Any:
        """Labels of n texts, as a list: a name each (single), a list of names each (multi), a float each (regression).

        For one str the one label, list or float. The arguments and errors are those of :meth:`decision_function`.
        """
        if self.task == "single":
            try:
                if self._is_one(texts):
                    if not self.pairs:
                        return self._model.choose_one(texts, self.labels)
                    return self._model.choose(self.labels, *self._asked([texts], 1, nulls))[0]
                return self._model.choose(self.labels, *self._asked(texts, threads, nulls))
            except _core.Damaged as error:
                raise self._damaged(error) from None
        logits = self.decision_function(texts, threads, nulls)
        decided = self.decide(np.atleast_2d(logits))
        return decided[0] if logits.ndim == 1 else decided

    def decide(self, logits: np.ndarray) -> list[Any]:
        """What :meth:`predict` says for logits (n, C) that :meth:`decision_function` gave."""
        if self.task == "single":
            return [self.labels[i] for i in _finite(logits).argmax(axis=1).tolist()]
        if self.task == "multi":
            chosen = probabilities(logits, "multi") >= self._thresholds
            return [[label for label, yes in zip(self.labels, row, strict=True) if yes] for row in chosen.tolist()]
        result: list[Any] = logits[:, 0].tolist()
        return result

    def explain(self, text: str | tuple[str, str], label: str | None = None, top: int | None = 10) -> Explanation:
        """The ``top`` n-grams (None: all) that speak for or against ``label`` (default: the likeliest) in one text.

        Of a pair they are named ``first: n-gram`` and ``second: n-gram``; of a product each half counts as much.

        Errors: ValueError when there is no such label.
        """
        if not self._is_one(text) or isinstance(text, bytes):
            raise TypeError(f"explain takes one {'pair of ' * self.pairs}str, not {type(text).__name__}")
        if label is not None and label not in self.labels:
            raise ValueError(f"no label {label!r}: {', '.join(self.labels)}")
        return explain(self, text, label, top)

    def _ngrams(self, text: str) -> list[tuple[str, int]]:
        """The n-grams of a text that have a row, and the row of each (with values in the slots, the slot)."""
        try:
            return self._lookup.ngrams(text)
        except _core.Damaged as error:
            raise self._damaged(error) from None


def probabilities(logits: np.ndarray, task: str) -> np.ndarray:
    """Softmax (single) or sigmoid (multi) over the last axis, float64; the same bits on any machine."""
    rows = np.ascontiguousarray(np.atleast_2d(logits), np.float32)
    return _core.probabilities(rows, task == "multi").reshape(logits.shape)


def _finite(logits: np.ndarray) -> np.ndarray:
    """The core's rule for numbers beyond float32: NaN counts as 0, an infinite one as the largest of its sign."""
    most = np.finfo(np.float32).max
    result: np.ndarray = np.nan_to_num(logits, nan=0.0, posinf=most, neginf=-most)
    return result


def _halves(pairs: Any) -> list[Any]:
    """The texts of pairs, one after the other."""
    if isinstance(pairs, str | bytes | dict) or not isinstance(pairs, Iterable):
        raise TypeError(
            f"this classifier labels pairs of texts: give (first, second), or many, not {type(pairs).__name__}"
        )
    if getattr(pairs, "ndim", 1) == 2:  # of numpy, or a frame of pandas, which would give the names of its columns
        pairs = np.asarray(pairs, object)
    halves: list[Any] = []
    for i, pair in enumerate(pairs):
        if not isinstance(pair, tuple | list | np.ndarray) or len(pair) != 2:
            raise TypeError(f"pairs[{i}] is {pair!r:.60}, not two texts")
        halves.extend(pair)
    return halves


def _as_texts(texts: Any) -> Any:
    dtype = getattr(texts, "dtype", None)
    if type(texts).__module__.split(".")[0] == "pandas" and (
        str(dtype) == "object"
        or getattr(dtype, "storage", "") == "python"
        or getattr(dtype, "kind", "") in ("f", "M", "m")  # a column of nothing but nulls is one of NaN or NaT
    ):
        # Over the Arrow protocol pandas would have to convert, which needs pyarrow.
        return texts.tolist()
    if isinstance(texts, list | tuple) or hasattr(texts, "__arrow_c_stream__") or hasattr(texts, "__arrow_c_array__"):
        return texts
    if isinstance(texts, np.ndarray):
        if texts.ndim != 1:
            raise ValueError(f"texts must be one-dimensional, not of shape {texts.shape}")
        return texts.tolist()
    if isinstance(texts, dict) or not isinstance(texts, Iterable):
        raise TypeError(f"texts must be a str or many of them, not {type(texts).__name__}")
    return list(texts)


def is_replaced(directory: Path, option: str = "") -> bool:
    """Whether a classifier is where another is to go; ``option``: that names the place, for the error.

    Errors: :class:`SettingsError` for a file or a directory of anything else, which would be lost.
    """
    if not directory.exists() or (directory.is_dir() and not any(directory.iterdir())):
        return False
    config = directory / CONFIG
    if not config.is_file() or read_json(config).get("format") != "sparsedistill":
        raise SettingsError(f"{directory} is there, and no classifier: give another name{option}")
    if others := sorted({file.name for file in directory.iterdir()} - {CONFIG, TENSORS, CARD}):
        raise SettingsError(
            f"{directory} is a classifier, but also holds {', '.join(others)}: take that away, or give another name"
            f"{option}"
        )
    return True
