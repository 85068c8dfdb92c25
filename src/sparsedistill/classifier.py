"""The finished artefact: a directory that maps into memory and turns raw text into labels, with numpy alone."""

from __future__ import annotations

import copy
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from . import _core
from .abstain import predict_confident
from .artefact import read_parts
from .errors import FormatError, SettingsError
from .explain import Explanation, explain
from .format import read_json, read_start, read_tensors, replacing_directory, write_json, write_tensors
from .heads import Head, asked_heads, each
from .heads import probabilities as probabilities
from .inputs import asked_of_core, excerpt_of, is_one
from .merge import NgramSource, merged
from .parts import predict_parts

CONFIG, TENSORS, CARD = "config.json", "model.safetensors", "README.md"
MAX_CARD = 1 << 20  # bytes


class Classifier:
    """A distilled classifier. Get one with :meth:`load`; it is immutable and safe to share between threads.

    ``heads``: what it answers, a tuple of :class:`Head`. Most classifiers have one, without a name, and results are
    those of its ``task`` and ``labels``. Where heads have names, a text is read once for all of them, results are dicts
    with a value for each name, and ``head=NAME`` asks for that of one alone, without a dict. Probabilities, decisions
    of multi-label heads and scores are calibrated where a head has a calibration; logits never are.

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
        self.heads = parts.heads
        self._only = None if parts.heads[0].name else parts.heads[0]  # where results are no dicts
        # What predict() asks the core for by itself: the labels of a single head.
        self._names = self._only.labels if self._only and self._only.task == "single" else ()
        #: whether it labels pairs of texts
        self.pairs = parts.pairs
        self._pooling = parts.pooling
        text, rows, dense = parts.text, parts.rows, parts.dense
        self._rows, self._count, self._width, self._hashed = rows.numbers, rows.count, rows.width, rows.hashed
        self._scale, self._bias, self._relu_first = dense.scale, dense.bias, dense.relu_first
        self._layers = dense.layers
        in_slots = rows.numbers is None
        try:
            self._lookup = _core.Lookup(
                rows.slots, 0 if in_slots else rows.count, rows.width if in_slots else 0, parts.seed, **text.config()
            )
            self._model = _core.Model(
                self._lookup, rows.numbers, dense.scale, dense.bias, dense.relu_first, dense.layers, parts.pooling,
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

    @classmethod
    def merge(cls, classifiers: Mapping[str, Classifier], ngrams: NgramSource | None = None) -> Classifier:
        """One classifier of the heads of several, which reads a text once for all of them.

        The head of a classifier gets its key as name; heads that have names keep them. The classifiers must have the
        same rules of text (but ``max_n``), ``pooling``, ``pairs`` and number of dense layers, and rows all of integers
        or all of floats; attentive pooling cannot be merged. Classifiers of one vocabulary, as those of one run, have
        one lookup table, and need no more. The files of others hold hashes alone: give ``ngrams``, all n-grams of their
        vocabularies, as str or as paths (:class:`pathlib.Path`) of vocabularies in run directories, the most frequent
        first. Where one knows an n-gram that another does not, only ``sum`` pooling gives what each gave before.

        Each head gives the bits it gave before; only where pooling has two parts or texts are pairs, and the rows of
        the classifiers are not alike in width modulo 16, may dense layers round otherwise (about 1e-7 of the terms).

        Errors: :class:`SettingsError` for what cannot be merged.
        """
        return cls(*merged(classifiers, ngrams))

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
        heads = [f"{h.name}: " * bool(h.name) + f"{h.task}, labels {_some(h.labels, 4)}" for h in self.heads]
        ngrams = f"{self._count:,} {'hashed ' * self._hashed}{'' if longest == 1 else '1- to '}{longest}-grams"
        return f"Classifier({'; '.join(heads)}; {ngrams} x {self._width} {rows}, {self.nbytes / 1e6:.1f} MB)"

    @property
    def task(self) -> str:
        """single, multi or regression. Errors: AttributeError where heads have names, each with its task."""
        return self._sole("task").task

    @property
    def labels(self) -> tuple[str, ...]:
        """A name an output. Errors: AttributeError where heads have names, each with its labels."""
        return self._sole("labels").labels

    def _sole(self, what: str) -> Head:
        if self._only is None:
            names = ", ".join(head.name for head in self.heads)
            raise AttributeError(f"each head of the classifier ({names}) has its own {what}: see Classifier.heads")
        return self._only

    @property
    def config(self) -> dict[str, Any]:
        """A copy of ``config.json``."""
        return copy.deepcopy(self._config)

    @property
    def nbytes(self) -> int:
        """Bytes of all arrays, as mapped."""
        return sum(array.nbytes for array in self._tensors.values())

    def decision_function(
        self, texts: Any, threads: int = 0, nulls: str = "error", head: str | None = None,
        max_bytes: int | str | None = None,
    ) -> Any:  # fmt: skip
        """Logits (regression: the score) before any calibration, float32 (n, C); for one str, (C,).

        Where heads have names: a dict of those, by name; with ``head`` those of one.

        ``texts`` is a str, or n of them: a list, a tuple, any iterable, a numpy or pandas column, or anything with the
        Arrow PyCapsule protocol. Where the classifier labels ``pairs`` it is a tuple of two str, n of those, or an
        array or frame (n, 2). A text without a known n-gram, the empty one among them, pools to zero and gets the score
        of the biases alone. The same bits for any ``threads`` (0: all processors granted) and any batch. ``nulls`` says
        what a null of a column, or None, NaN, NaT or pandas' NA in a list is: an "error", or an "empty" text.

        Errors: TypeError or ValueError naming the position of what is no text; ValueError for a head that is not there.
        """
        asked = asked_heads(self.heads, head)
        logits = self._logits(texts, threads, nulls, max_bytes)
        return each(asked, head, lambda one: logits[..., one.outputs])

    def _logits(self, texts: Any, threads: int, nulls: str, max_bytes: int | str | None = None) -> np.ndarray:
        """Those of all heads, one after the other."""
        read, one = excerpt_of(max_bytes), is_one(texts, self.pairs)
        try:
            asked = asked_of_core((texts,) if one else texts, self.pairs, 1 if one else threads, nulls)
            logits: np.ndarray = self._model.score(*asked, *read)
            return logits[0] if one else logits
        except _core.Damaged as error:
            raise self._damaged(error) from None

    # The core checks slots and rows where it uses them. (A context manager would cost as much as scoring a short text.)
    def _damaged(self, error: Exception) -> FormatError:
        return FormatError(f"{self.path or 'the classifier'} is damaged: {error}")

    def predict_proba(
        self, texts: Any, threads: int = 0, nulls: str = "error", head: str | None = None,
        max_bytes: int | str | None = None,
    ) -> Any:  # fmt: skip
        """Probabilities, calibrated, float64 (n, C); for one str, (C,). Single-label rows sum to one.

        Where heads have names: a dict of those by name, without the regressions.

        Errors: those of :meth:`decision_function`; ValueError for a regression classifier, or for a regression that
        ``head`` asks for.
        """
        asked = asked_heads(self.heads, head)
        labelled = tuple(one for one in asked if one.task != "regression")
        if not labelled:
            asked[0].refuse_probabilities()
        logits = self._logits(texts, threads, nulls, max_bytes)
        return each(labelled, head, lambda one: one.probabilities(logits[..., one.outputs]))

    def predict(
        self, texts: Any, threads: int = 0, nulls: str = "error", head: str | None = None, parts: str | None = None,
        pool: str | None = None, offsets: str = "characters", max_bytes: int | str | None = None,
        min_confidence: float | str | None = None,
    ) -> Any:  # fmt: skip
        """Labels of n texts, as a list: a name each (single), a list of names each (multi), a float each (regression).

        For one str the one label, list or float. Where heads have names: a dict of these, by name. Multi-label
        decisions compare calibrated probabilities with the thresholds, and scores are calibrated. The arguments and
        errors are those of :meth:`decision_function`.

        ``parts`` ("sentence", "paragraph", "window:200/100": words, step): each part of a text as a text of its own, a
        list of :class:`sparsedistill.parts.Part` (start, end, prediction) a text, in ``offsets`` of "characters" or
        "bytes". ``pool`` ("mean", "max", "top3", "share:0.5"): one result a text, of its parts' pooled probabilities.

        ``min_confidence``: None instead of what a head is less sure of (:meth:`Head.confidence`); a probability, or the
        name of a stored threshold. Regressions never abstain. Errors: :class:`SettingsError`.
        """
        try:
            if parts is not None or pool is not None:
                return predict_parts(self, texts, threads, nulls, parts, pool, offsets, head, max_bytes, min_confidence)
            if min_confidence is not None:
                return predict_confident(self, texts, threads, nulls, head, max_bytes, min_confidence)
            if self._names and head is None and max_bytes is None:
                if not is_one(texts, self.pairs):
                    return self._model.choose(self._names, *asked_of_core(texts, self.pairs, threads, nulls))
                if not self.pairs:
                    return self._model.choose_one(texts, self._names)
                return self._model.choose(self._names, *asked_of_core([texts], True, 1, nulls))[0]
        except _core.Damaged as error:
            raise self._damaged(error) from None
        asked = asked_heads(self.heads, head)
        logits = self._logits(texts, threads, nulls, max_bytes)
        rows, single = np.atleast_2d(logits), logits.ndim == 1
        return each(asked, head, lambda one: one.decide(rows[:, one.outputs])[0 if single else slice(None)])

    def decide(self, logits: Any) -> Any:
        """What :meth:`predict` says for logits (n, C) that :meth:`decision_function` gave; of a dict, a dict."""
        if self._only is None:
            return {name: asked_heads(self.heads, name)[0].decide(one) for name, one in logits.items()}
        return self._only.decide(logits)

    def explain(
        self, text: str | tuple[str, str], label: str | None = None, top: int | None = 10, head: str | None = None,
        grouped: bool = False,
    ) -> Explanation:  # fmt: skip
        """The ``top`` n-grams (None: all) that speak for or against ``label`` (default: the likeliest) in one text.

        ``head``: whose label it is, where heads have names. The logit is the one before any calibration. Of a pair
        n-grams are named ``first: n-gram`` and ``second: n-gram``. ``grouped``: near-duplicates as one
        (:class:`sparsedistill.explain.Evidence`).

        Errors: ValueError when there is no such label or head, or several heads and none is named.
        """
        if not is_one(text, self.pairs) or isinstance(text, bytes):
            raise TypeError(f"explain takes one {'pair of ' * self.pairs}str, not {type(text).__name__}")
        return explain(self, text, label, top, head, grouped)


def _some(names: tuple[str, ...], most: int) -> str:
    """The first of these names."""
    return ", ".join(names[:most]) + (" ..." if len(names) > most else "")


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
