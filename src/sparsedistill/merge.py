"""Existing classifiers become one with several heads."""

from __future__ import annotations

import dataclasses
import itertools
import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from . import _core
from .artefact import version_of
from .errors import FormatError, SettingsError
from .explain import stored
from .format import digest, read_tensors, tensor
from .pooling import POOLINGS
from .rows import ROW_TYPES, packed, stride_of
from .text import TextRules

if TYPE_CHECKING:
    from .classifier import Classifier

_LANES = 16  # a dense layer adds numbers that stand this far apart before others
_CHUNK = 1 << 16  # rows or n-grams at a time
_VISITED = 64  # lines, after which a table is damaged
NgramSource = Iterable[str | os.PathLike[str]]


def merged(
    classifiers: Mapping[str, Classifier], ngrams: NgramSource | None
) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    """``config.json`` and arrays; see :meth:`sparsedistill.Classifier.merge`."""
    if not isinstance(classifiers, Mapping):
        raise TypeError(f"merge takes a dict of classifiers by name, not {type(classifiers).__name__}")
    names, parts = list(classifiers), list(classifiers.values())
    if not parts:
        raise SettingsError("there is no classifier to merge")
    _refuse_different(names, parts)
    heads = _heads(classifiers)
    rules = [_rules(one) for one in parts]
    tensors: dict[str, np.ndarray] = {}
    config = parts[0].config
    if _same_tables(parts):
        rows: list[np.ndarray | None] = [None] * len(parts)
        tensors |= {} if parts[0]._hashed else {"slots": parts[0]._tensors["slots"]}
        count, seed = parts[0]._count, config["text"]["seed"]
    else:
        rows, (tensors["slots"], seed) = _joined(names, parts, rules, ngrams)
        count = len(rows[0]) if rows[0] is not None else 0
    layout = _Layout(parts)
    tensors |= layout.rows(rows, count) | layout.dense()
    longest = dataclasses.replace(rules[0], max_n=max(one.max_n for one in rules))
    config = {
        "format": "sparsedistill",
        "format_version": 0,
        "heads": heads,
        "text": {**longest.config(), "seed": seed, "unicode": _core.unicode_version},
        "pooling": parts[0]._pooling,
        **({"pairs": True} if parts[0].pairs else {}),
        "rows": {"count": count, "width": layout.width, "type": layout.type, "in_slots": False}
        | ({"hashed": True} if parts[0]._hashed else {}),
        "relu_first": parts[0]._relu_first,
        "layers": len(parts[0]._layers),
    }
    config["format_version"] = version_of(config)
    return config, tensors


def _rules(classifier: Classifier) -> TextRules:
    return TextRules.of(classifier.config["text"])


def _refuse_different(names: list[str], parts: list[Classifier]) -> None:
    """Errors: :class:`SettingsError` for classifiers that no single one can be made of."""
    pooling = POOLINGS[parts[0]._pooling]
    if pooling.weighted:
        raise SettingsError("attentive pooling has one weight a row, which several classifiers cannot share")
    if (len(pooling.parts) > 1 or parts[0].pairs) and not parts[0]._layers:
        what = "pairs" if parts[0].pairs else f"{parts[0]._pooling} pooling"
        raise SettingsError(f"classifiers of {what} without a dense layer cannot be merged: outputs would interleave")
    facts: dict[str, list[Any]] = {
        "pooling": [one._pooling for one in parts],
        "pairs": [one.pairs for one in parts],
        "number of dense layers": [len(one._layers) for one in parts],
        "relu_first": [one._relu_first and bool(one._layers) for one in parts],
        "rows.hashed": [one._hashed for one in parts],
        "kind of rows (integers, or floats)": [one._scale is not None for one in parts],
        "text rules (max_n aside)": [dataclasses.replace(_rules(one), max_n=1).config() for one in parts],
    }
    for what, values in facts.items():
        for name, value in zip(names, values, strict=True):
            if value != values[0]:
                raise SettingsError(
                    f"{names[0]!r} and {name!r} cannot be merged: their {what} differ, {values[0]} and {value}"
                )


def _heads(classifiers: Mapping[str, Classifier]) -> list[dict[str, Any]]:
    """The objects of the heads, as ``config.json`` has them: what is of each classifier alone goes with its head."""
    heads: list[dict[str, Any]] = []
    for name, classifier in classifiers.items():
        config = classifier.config
        of_one = ("task", "labels", "thresholds", "calibration", "cuts", "abstentions", "provenance", "metrics")
        heads += config.get("heads") or [{"name": name, **{key: config[key] for key in of_one if key in config}}]
    names = [head["name"] for head in heads]
    for name in names:
        if not isinstance(name, str) or not name or "." in name or name != name.encode("utf-8", "replace").decode():
            raise SettingsError(f"{name!r} is no name of a head: give one without dots that is not empty")
        if names.count(name) > 1:
            raise SettingsError(f"two heads are called {name!r}: give another name to one")
    return heads


# -- the n-grams --------------------------------------------------------------------------------------------------


def _same_tables(parts: list[Classifier]) -> bool:
    """Whether all classifiers look n-grams up in one table, as those of one vocabulary do, with ids in it."""
    first, *others = parts
    if len({(one._count, one.config["text"]["seed"], one.config["text"]["max_n"]) for one in parts}) > 1:
        return False
    if first._hashed:
        return True
    table = first._tensors["slots"]
    return all(one._rows is not None for one in parts) and all(
        np.array_equal(one._tensors["slots"], table) for one in others
    )


def _joined(
    names: list[str], parts: list[Classifier], rules: list[TextRules], ngrams: NgramSource | None
) -> tuple[list[np.ndarray | None], tuple[np.ndarray, int]]:
    """For each classifier the row (or slot) of each n-gram, -1 where it has none; and (slots, seed) of a table of all.

    Errors: :class:`SettingsError` where the n-grams are needed and not given, or where results would not stay.
    """
    if parts[0]._hashed:
        raise SettingsError("classifiers of hashed rows can be merged where seed, rows.count and max_n are the same")
    if ngrams is None:
        raise SettingsError(
            "the classifiers have no lookup table in common, and none holds n-grams, only hashes of them: give "
            "ngrams=[...], all n-grams of their vocabularies, or Paths of these (RUN/vocabulary/all ...)"
        )
    known = _spelled(ngrams)
    tokens = np.array([1 if one.startswith(" ") else one.count(" ") + 1 for one in known])
    rows: list[np.ndarray] = []
    for name, one, rule in zip(names, parts, rules, strict=True):
        found = rows_of(one, known)
        distinct = len(np.unique(found[found >= 0]))
        if distinct < one._count:
            raise SettingsError(
                f"{one._count - distinct:,} of the {one._count:,} n-grams of {name!r} are not among those given: "
                "ngrams= must have all n-grams of its vocabulary"
            )
        rows.append(np.where(tokens <= rule.max_n, found, -1))
    used = np.any([one >= 0 for one in rows], axis=0)
    rows = [one[used] for one in rows]
    if any((one < 0).any() for one in rows):
        if parts[0]._pooling != "sum":
            raise SettingsError(
                f"the classifiers know different n-grams, and {parts[0]._pooling} pooling of all of them would give "
                "other results than that of each one's own: only sum pooling does not"
            )
        if rules[0].characters == "unknown":
            raise SettingsError(
                "the classifiers know different words, and with characters of unknown words their results would change"
            )
    encoded = [ngram.encode("utf-8", "surrogatepass") for ngram, use in zip(known, used.tolist(), strict=True) if use]
    offsets = np.cumsum([0, *map(len, encoded)], dtype=np.uint64)
    together = np.frombuffer(b"".join(encoded), np.uint8)
    return [*rows], _core.build_slots(together, offsets, digest(together, offsets))


def _spelled(ngrams: NgramSource) -> list[str]:
    """Each n-gram once; a Path is the directory of a vocabulary."""
    found: dict[str, None] = {}
    for one in [ngrams] if isinstance(ngrams, os.PathLike) else ngrams:
        if isinstance(one, str):
            found[one] = None
            continue
        path = Path(one) / "vocabulary.safetensors"
        tensors = read_tensors(path)
        offsets = tensor(tensors, "offsets", (np.uint64,), (None,), path).tolist()
        text = tensor(tensors, "ngrams", (np.uint8,), (None,), path).tobytes()
        try:
            found |= dict.fromkeys(text[a:b].decode() for a, b in itertools.pairwise(offsets))
        except UnicodeDecodeError as error:
            raise FormatError(f"{path} is damaged: {error}") from None
    return list(found)


def rows_of(classifier: Classifier, ngrams: list[str]) -> np.ndarray:
    """The row of each n-gram, int64 (n,); with values in the slots, the slot; -1 of those that are not known.

    What the core does with texts (docs/FORMAT.md, "Lookup"), here without a tokenizer, which might cut an n-gram anew.
    """
    lines, in_slots = classifier._tensors["slots"], classifier._rows is None
    slots = 64 // (4 + 2 * classifier._width) if in_slots else 8
    seed = classifier.config["text"]["seed"]
    result = np.full(len(ngrams), -1)
    for begin in range(0, len(ngrams), _CHUNK):
        part = [
            _core.ngram_hash(ngram.encode("utf-8", "surrogatepass"), seed) for ngram in ngrams[begin : begin + _CHUNK]
        ]
        hashes = np.array(part, np.uint64)
        tag = np.maximum(hashes >> np.uint64(32), 1)
        line = ((hashes & np.uint64(0xFFFFFFFF)) * np.uint64(len(lines)) >> np.uint64(32)).astype(np.int64)
        left = np.arange(len(part))
        for _ in range(min(len(lines), _VISITED)):
            tags = lines[line[left], 16 - slots :]
            agrees = tags == tag[left, None]
            hits, place = agrees.any(axis=1), agrees.argmax(axis=1)
            at = line[left]
            ids = at * slots + place if in_slots else lines[at, place].astype(np.int64)
            if not in_slots and (ids[hits] >= classifier._count).any():
                raise FormatError(f"{classifier.path or 'the classifier'} is damaged: it names a row that is not there")
            result[begin + left[hits]] = ids[hits]
            left = left[~hits & (tags != 0).all(axis=1)]
            line[left] = (line[left] + 1) % len(lines)
    return result


# -- the arrays ---------------------------------------------------------------------------------------------------


class _Layout:
    """Where the numbers of each classifier stand among those of all, side by side.

    A dense layer adds the numbers of its input in an order that goes by their distances modulo 16 alone, and those of
    the others, which its weights make zeros, change no sum. So a run of them may begin anywhere. Parts of a pooling and
    halves of pairs are runs that begin as far apart as all rows are wide: that width is made like each one's own.
    """

    def __init__(self, parts: list[Classifier]):
        self._parts = parts
        self.type = max((one.config["rows"]["type"] for one in parts), key=list(ROW_TYPES).index)
        self._blocks = len(parts[0]._bias) // parts[0]._width  # one a part of the pooling; of pairs four times as many
        widths = [[one._width for one in parts]]
        widths += [[len(layer[1]) for layer in layers] for layers in zip(*(one._layers for one in parts), strict=True)]
        #: of each layer's inputs, and at the end of the outputs: where each classifier's begin
        self._begins = [np.cumsum([0, *one[:-1]]).tolist() for one in widths]
        self._totals = [sum(one) for one in widths]
        if self._blocks > 1:
            self._totals[0] += (widths[0][0] - self._totals[0]) % _LANES
        self.width = self._totals[0]

    def rows(self, ids: list[np.ndarray | None], count: int) -> dict[str, np.ndarray]:
        """``rows``, and ``scale`` of integers. ``ids``: the row of each n-gram in each classifier, None for all."""
        kind = "int8" if self.type == "int4" else self.type  # until all numbers of a row stand side by side
        table = np.zeros((count, stride_of(self.width, kind)), ROW_TYPES[kind])
        scale = np.ones(self.width, np.float32)
        for one, which, first in zip(self._parts, ids, self._begins[0], strict=True):
            columns = slice(first, first + one._width)
            for begin in range(0, count, _CHUNK):
                rows = np.arange(begin, min(begin + _CHUNK, count)) if which is None else which[begin : begin + _CHUNK]
                known = np.flatnonzero(rows >= 0)
                own = one._rows
                if own is not None and own.dtype == table.dtype:  # float16's, too, whose largest numpy reads otherwise
                    table[begin + known, columns] = own[rows[known], : one._width]
                else:
                    table[begin + known, columns] = stored(one, rows[known])
            if one._scale is not None:
                scale[columns] = one._scale
        if self.type == "int4":
            table = packed(table[:, : self.width])
        return {"rows": table} | ({"scale": scale} if self.type.startswith("int") else {})

    def dense(self) -> dict[str, np.ndarray]:
        """``bias`` and the dense layers, which are block-diagonal."""
        pooled = np.zeros((self._blocks, self.width), np.float32)
        for one, first in zip(self._parts, self._begins[0], strict=True):
            pooled[:, first : first + one._width] = one._bias.reshape(self._blocks, -1)
        tensors: dict[str, np.ndarray] = {"bias": pooled.ravel()}
        for i in range(len(self._parts[0]._layers)):
            n_in, n_out = self._totals[i : i + 2]
            repeated = 1 if i else self._blocks
            weight: np.ndarray = np.zeros((repeated, n_in, n_out), np.float32)
            bias: np.ndarray = np.zeros(n_out, np.float32)
            for one, row, column in zip(self._parts, *self._begins[i : i + 2], strict=True):
                own, own_bias = one._layers[i]
                own = own.reshape(repeated, -1, own.shape[1])
                weight[:, row : row + own.shape[1], column : column + own.shape[2]] = own
                bias[column : column + own.shape[2]] = own_bias
            tensors |= {f"layers.{i}.weight": weight.reshape(-1, n_out), f"layers.{i}.bias": bias}
        return tensors
