"""The finished artefact: a directory that maps into memory and turns raw text into labels, with numpy alone."""

from __future__ import annotations

import copy
import os
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from . import _core
from .errors import FormatError
from .format import read_json, read_start, read_tensors, replacing_directory, tensor, write_json, write_tensors
from .machine import asked_threads
from .pooling import POOLINGS

FORMAT_VERSION = 4
CONFIG, TENSORS, CARD = "config.json", "model.safetensors", "README.md"
ROW_TYPES = {"int8": np.int8, "int16": np.int16, "float16": np.float16, "float32": np.float32}
ROW_BYTES = 16  # a row takes a multiple of this
SLOT_COLUMNS = 4  # most values that stand in a slot
MAX_LAYERS = 16
MAX_CARD = 1 << 20  # bytes


@dataclass(frozen=True)
class Explanation:
    """Why a text got its label: ``logit`` = ``bias`` + the sum of all contributions, to rounding.

    ``contributions`` are (n-gram, number) of the n-grams found, repeated ones summed, largest magnitude first. With a
    hidden layer the rule is gradient times input: each n-gram counts with the weights that the ReLUs let through *for
    this text*, and where the largest number of a column is taken, the first n-gram that has it counts. With several
    labels, one of which applies, logits are taken relative to their mean over the labels, since only differences
    between logits matter there.
    """

    label: str
    logit: float
    bias: float
    contributions: list[tuple[str, float]]


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
        path: str | os.PathLike | None = None,
        card: str = "",
    ):
        """From the parsed ``config.json`` and the arrays of ``model.safetensors``; both are checked.

        Errors: :class:`FormatError` naming the field or tensor.
        """
        where = path or "the classifier"
        self._config, self._tensors, self._card = config, tensors, card
        self.path = Path(path).resolve() if path else None
        self._in_memory = False
        if config.get("format") != "sparsedistill":
            raise FormatError(f"{where}: config.json is not that of a sparsedistill classifier")
        version = config.get("format_version")
        if version != FORMAT_VERSION or not isinstance(version, int):  # 4.0 is none
            older = isinstance(version, int) and version < FORMAT_VERSION
            remedy = "train the classifier again" if older else "take the version of sparsedistill that wrote it"
            raise FormatError(f"{where} has format version {version!r}, this program reads {FORMAT_VERSION}: {remedy}")
        self.task: str = _field(config, "task", str, where)
        if self.task not in ("single", "multi", "regression"):
            raise FormatError(f"{where}: config.json: task is {self.task!r}, not single, multi or regression")
        labels = _field(config, "labels", list, where)
        if not labels or not all(isinstance(label, str) for label in labels):
            raise FormatError(f"{where}: config.json: labels is not a list of names")
        self.labels: tuple[str, ...] = tuple(labels)
        if len(set(labels)) < len(labels):
            twice = next(label for i, label in enumerate(labels) if label in labels[:i])
            raise FormatError(f"{where}: config.json: labels has {twice!r} twice")
        if "".join(labels) != "".join(labels).encode("utf-8", "replace").decode():
            raise FormatError(f"{where}: config.json: labels has a name that is no valid Unicode")
        if self.task == "regression" and len(labels) > 1:
            raise FormatError(f"{where}: config.json: labels has {len(labels)} names, a regression has one output")
        text = _field(config, "text", dict, where)
        if text.get("unicode") != _core.unicode_version:
            raise FormatError(
                f"{where} follows Unicode {text.get('unicode')!r}, this program {_core.unicode_version}: "
                "take the version of sparsedistill that wrote it"
            )
        max_n, tokenizer = _field(text, "max_n", int, where), _field(text, "tokenizer", str, where)
        normalize = _field(text, "normalize", bool, where)
        if normalize and tokenizer == "sklearn":
            raise FormatError(f"{where}: config.json: normalize is true, which the sklearn tokenizer never does")
        if not 1 <= max_n <= 8:
            raise FormatError(f"{where}: config.json: max_n is {max_n}, not 1 to 8")
        self._pooling: str = _field(config, "pooling", str, where)
        if self._pooling not in POOLINGS:
            raise FormatError(f"{where}: config.json: pooling is {self._pooling!r}, not {' or '.join(POOLINGS)}")
        pooling = POOLINGS[self._pooling]
        #: whether it labels pairs of texts
        self.pairs: bool = _field({"pairs": False, **config}, "pairs", bool, where)
        rows = _field(config, "rows", dict, where)
        width, row_type = _field(rows, "width", int, where), _field(rows, "type", str, where)
        if row_type not in ROW_TYPES:
            raise FormatError(f"{where}: config.json: rows.type is {row_type!r}, not one of {', '.join(ROW_TYPES)}")
        depth = _field(config, "layers", int, where)
        if not 0 <= depth <= MAX_LAYERS:
            raise FormatError(f"{where}: config.json: layers is {depth}, not 0 to {MAX_LAYERS}")
        name = Path(where) / TENSORS if path else where
        self._hashed = _field({"hashed": False, **rows}, "hashed", bool, where)
        slots = np.zeros((0, 16), np.uint32)
        if not self._hashed:
            slots = tensor(tensors, "slots", (np.uint32,), (None, 16), name)
            if not len(slots):
                raise FormatError(f"{name}: tensor 'slots' is empty")
        in_slots = _field(rows, "in_slots", bool, where)
        self._count = _field(rows, "count", int, where)
        self._rows: np.ndarray | None = None
        if in_slots:
            if row_type != "int16" or not 1 <= width <= SLOT_COLUMNS:
                raise FormatError(f"{where}: config.json: rows.in_slots is for 1 to {SLOT_COLUMNS} int16 numbers a row")
            if self._hashed:
                raise FormatError(f"{where}: config.json: rows are in slots and hashed, which have none")
            if self.pairs or not pooling.fits_slots:
                raise FormatError(f"{where}: config.json: rows.in_slots is for mean and sum of single texts")
            if self._count > len(slots) * (64 // (4 + 2 * width)):
                raise FormatError(f"{where}: config.json: rows.count is {self._count}, more than 'slots' can hold")
        else:
            self._rows = tensor(tensors, "rows", (ROW_TYPES[row_type],), (None, None), name)
            count, stride = self._rows.shape
            if count != self._count or not 0 < width <= stride or stride * self._rows.itemsize % ROW_BYTES:
                raise FormatError(
                    f"{name}: tensor 'rows' has the shape {self._rows.shape}: not {self._count} rows of {width} "
                    f"numbers, padded to a multiple of {ROW_BYTES} bytes"
                )
        if pooling.needs_floats and not (row_type.startswith("float") and width > 1):
            raise FormatError(
                f"{where}: config.json: {self._pooling} pooling is of float rows, the last number their weight"
            )
        f32 = (np.float32,)
        self._scale = tensor(tensors, "scale", f32, (width,), name) if row_type.startswith("int") else None
        outputs = pooling.pooled(width) * (4 if self.pairs else 1)
        self._bias = tensor(tensors, "bias", f32, (outputs,), name)
        self._relu_first = _field(config, "relu_first", bool, where)
        self._layers = []
        for i in range(depth):
            weight = tensor(tensors, f"layers.{i}.weight", f32, (outputs, None), name)
            outputs = weight.shape[1]
            self._layers.append((weight, tensor(tensors, f"layers.{i}.bias", f32, (outputs,), name)))
        if outputs != len(self.labels):
            raise FormatError(f"{where}: {outputs} outputs for {len(self.labels)} labels")
        belong = {"bias", *(f"layers.{i}.{what}" for i in range(depth) for what in ("weight", "bias"))}
        belong |= {name for name, there in (("slots", not self._hashed), ("rows", not in_slots)) if there}
        belong |= {"scale"} if self._scale is not None else set()
        if strange := sorted(set(tensors) - belong):
            raise FormatError(f"{name}: tensor {strange[0]!r} does not belong to what config.json describes")
        self._width = width
        small = [self._bias, *(a for layer in self._layers for a in layer)] + (
            [] if self._scale is None else [self._scale]
        )
        if not all(np.isfinite(a).all() for a in small):
            raise FormatError(f"{name}: a scale, bias or dense weight is not finite")
        if self._scale is not None and pooling.takes_largest and not (self._scale > 0).all():
            raise FormatError(f"{name}: a scale is not positive, and the largest number of a column would not stay so")
        self._thresholds = self._read_thresholds(where)
        try:
            self._lookup = _core.Lookup(
                slots, self._count if self._rows is not None else 0, width if in_slots else 0,
                _field(text, "seed", int, where), tokenizer, _field(text, "lowercase", bool, where), max_n, normalize,
            )  # fmt: skip
            self._model = _core.Model(
                self._lookup,
                self._rows,
                self._scale,
                self._bias,
                self._relu_first,
                self._layers,
                self._pooling,
                self.pairs,
            )
        except (TypeError, ValueError) as error:
            raise FormatError(f"{where} is damaged: {error}") from None

    def _read_thresholds(self, where: Any) -> np.ndarray | None:
        if self.task != "multi":
            return None
        thresholds = self._config.get("thresholds")
        numbers = isinstance(thresholds, list) and all(type(t) in (int, float) and 0 <= t <= 1 for t in thresholds)
        if not isinstance(thresholds, list) or not numbers or len(thresholds) != len(self.labels):
            raise FormatError(f"{where}: config.json: thresholds is not a list of one number between 0 and 1 a label")
        return np.array(thresholds)

    @classmethod
    def load(cls, path: str | os.PathLike, copy: bool = False) -> Classifier:
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

    def save(self, path: str | os.PathLike) -> None:
        """Write the classifier as a directory, whole or not at all; a directory already there is replaced."""
        with replacing_directory(path) as temporary:
            write_json(temporary / CONFIG, self._config)
            write_tensors(temporary / TENSORS, self._tensors)
            if self._card:
                (temporary / CARD).write_text(self._card, encoding="utf-8")

    def __reduce__(self):
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
                return self._model.score(self._asked((texts,), 1, nulls)[0], 1)[0]
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
        return logits[:, 0].tolist()

    def _values(self, ids: np.ndarray) -> np.ndarray:
        """The numbers (n, width) of rows, as they are stored. With values in the slots an id counts slots."""
        if self._rows is not None:
            rows = self._rows[ids, : self._width]
            if rows.dtype != np.float16:
                return rows
            # float16's largest exponent is one like the others here, not infinity and NaN.
            bits = rows.view(np.uint16).astype(np.uint32)
            return ((bits & 0x8000) << 16 | (bits & 0x7FFF) << 13).view(np.float32).astype(np.float64) * 2.0**112
        slots = 64 // (4 + 2 * self._width)  # a line
        columns = ids[:, None] % slots * self._width + np.arange(self._width)
        return self._tensors["slots"].view(np.int16)[ids[:, None] // slots, columns]

    def _found(self, text: str) -> tuple[list[str], np.ndarray]:
        """The n-grams of a text that have a row, and what each adds to the pooled vector."""
        try:
            found = self._lookup.ngrams(text)
        except _core.Damaged as error:
            raise self._damaged(error) from None
        rows = self._values(np.array([row for _, row in found], np.int64)).astype(np.float64)
        return [ngram for ngram, _ in found], self._shares(rows if self._scale is None else rows * self._scale)

    def _shares(self, rows: np.ndarray) -> np.ndarray:
        """What each of a text's rows (n, W) adds to the pooled vector."""
        with np.errstate(invalid="ignore", over="ignore"):
            rows = np.where(np.isfinite(rows.sum(axis=0)), rows, 0.0)  # a column without a finite sum explains nothing
        if self._pooling == "sum":
            return rows
        if self._pooling == "attentive":
            weights = rows[:, -1].sum()
            return rows[:, :-1] / weights if weights else np.zeros_like(rows[:, :-1])
        mean = rows / max(len(rows), 1)
        if self._pooling == "mean":
            return mean
        largest = np.zeros_like(rows)
        if len(rows):
            columns = np.arange(rows.shape[1])
            largest[rows.argmax(axis=0), columns] = rows.max(axis=0)
        return largest if self._pooling == "max" else np.hstack([mean, largest])

    def explain(self, text: str | tuple[str, str], label: str | None = None, top: int | None = 10) -> Explanation:
        """The ``top`` n-grams (None: all) that speak for or against ``label`` (default: the likeliest) in one text.

        Of a pair they are named ``first: n-gram`` and ``second: n-gram``; of a product each half counts as much.

        Errors: ValueError when there is no such label.
        """
        if not self._is_one(text) or isinstance(text, bytes):
            raise TypeError(f"explain takes one {'pair of ' * self.pairs}str, not {type(text).__name__}")
        if label is not None and label not in self.labels:
            raise ValueError(f"no label {label!r}: {', '.join(self.labels)}")
        if isinstance(text, str):
            ngrams, rows = self._found(text)
        else:
            (ngrams, a), (others, b) = map(self._found, text)
            ngrams = [f"first: {ngram}" for ngram in ngrams] + [f"second: {ngram}" for ngram in others]
            rows = _compared(a, b)
        # The ReLUs leave a linear map for this text: x = rows.sum(axis=0) @ through + constant, layer by layer.
        x = rows.sum(axis=0) + self._bias
        through, constant = np.eye(len(x)), self._bias.astype(np.float64)
        relu = self._relu_first
        for weight, bias in self._layers:
            if relu:
                active = x > 0
                x, through, constant = x * active, through * active, constant * active
            x, through, constant = x @ weight + bias, through @ weight, constant @ weight + bias
            relu = True
        which = int(self.decision_function(text).argmax()) if label is None else self.labels.index(label)
        column, shift, offset = through[:, which], x[which], constant[which]
        if self.task == "single":
            column, shift, offset = column - through.mean(axis=1), shift - x.mean(), offset - constant.mean()
        sums: dict[str, float] = {}
        for ngram, contribution in zip(ngrams, (rows @ column).tolist(), strict=True):
            sums[ngram] = sums.get(ngram, 0.0) + contribution
        ranked = sorted(sums.items(), key=lambda item: (-abs(item[1]), item[0]))
        return Explanation(self.labels[which], float(shift), float(offset), ranked[:top])


def probabilities(logits: np.ndarray, task: str) -> np.ndarray:
    """Softmax (single) or sigmoid (multi) over the last axis, float64; the same bits on any machine."""
    rows = np.ascontiguousarray(np.atleast_2d(logits), np.float32)
    return _core.probabilities(rows, task == "multi").reshape(logits.shape)


def _finite(logits: np.ndarray) -> np.ndarray:
    """The core's rule for numbers beyond float32: NaN counts as 0, an infinite one as the largest of its sign."""
    most = np.finfo(np.float32).max
    return np.nan_to_num(logits, nan=0.0, posinf=most, neginf=-most)


def _compared(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """What rows (n, P) and (m, P) of two texts add to the vector that compares these: (n + m, 4 P)."""
    first, second = a.sum(axis=0), b.sum(axis=0)
    sign = np.sign(first - second)
    return np.vstack(
        [
            np.hstack([a, np.zeros_like(a), a * second / 2, a * sign]),
            np.hstack([np.zeros_like(b), b, b * first / 2, -b * sign]),
        ]
    )


def _halves(pairs: Any) -> list[Any]:
    """The texts of pairs, one after the other."""
    if isinstance(pairs, str | bytes | dict) or not isinstance(pairs, Iterable):
        raise TypeError(
            f"this classifier labels pairs of texts: give (first, second), or many, not {type(pairs).__name__}"
        )
    if getattr(pairs, "ndim", 1) == 2:  # of numpy, or a frame of pandas, which would give the names of its columns
        pairs = np.asarray(pairs, object)
    found: list[Any] = []
    for i, pair in enumerate(pairs):
        if not isinstance(pair, tuple | list | np.ndarray) or len(pair) != 2:
            raise TypeError(f"pairs[{i}] is {pair!r:.60}, not two texts")
        found.extend(pair)
    return found


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


def _field(config: dict[str, Any], name: str, kind: type, where: Any) -> Any:
    value = config.get(name)
    wrong = isinstance(value, bool) or not isinstance(value, int) or not 0 <= value < 1 << 64
    if wrong if kind is int else not isinstance(value, kind):
        raise FormatError(f"{where}: config.json: {name} is {value!r}, not {kind.__name__}")
    return value
