"""What ``config.json`` and ``model.safetensors`` of a classifier must be, as docs/FORMAT.md says: read and checked.

``core/model.cpp`` has the same checks for what reads models without Python: a change here is one there, which
``tests/test_core_cpp.py`` sees to.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from . import _core
from .errors import FormatError
from .format import tensor
from .heads import MOST, Calibration, Head
from .pooling import POOLINGS, Pooling
from .rows import ROW_BYTES, ROW_TYPES
from .text import CHARACTERS, MOST_CHARACTERS, TextRules

FORMAT_VERSION, OLDEST_VERSION = 7, 4  # the version that has all there is, and the oldest that is read
SLOT_COLUMNS = 4  # most values that stand in a slot
MAX_LAYERS = 16
_F32 = (np.float32,)
_OF_HEADS = ("task", "labels", "thresholds", "calibration")  # what each head has, or a classifier of one


@dataclass(frozen=True)
class Rows:
    """The table: ``slots`` uint32 (L, 16), and unless they hold the values, too, ``numbers`` (count, stride)."""

    slots: np.ndarray
    numbers: np.ndarray | None
    count: int
    width: int
    type: str
    hashed: bool


@dataclass(frozen=True)
class Dense:
    """What comes after the pooling: ``scale`` of integer rows, ``bias``, and ``layers`` of (weight, bias)."""

    scale: np.ndarray | None
    bias: np.ndarray
    relu_first: bool
    layers: list[tuple[np.ndarray, np.ndarray]]


@dataclass(frozen=True)
class Parts:
    """A classifier's parts, checked. ``seed``: of the hash."""

    heads: tuple[Head, ...]
    pairs: bool
    pooling: str
    text: TextRules
    seed: int
    rows: Rows
    dense: Dense


def read_parts(config: dict[str, Any], tensors: dict[str, np.ndarray], where: Any, name: Any) -> Parts:
    """The parts of a classifier in ``where``, whose tensors are in ``name``.

    Errors: :class:`FormatError` naming the field or tensor.
    """
    heads = _heads(config, where)
    text, seed = _text(config, where)
    pooling: str = field(config, "pooling", str, where)
    if pooling not in POOLINGS:
        raise FormatError(f"{where}: config.json: pooling is {pooling!r}, not {' or '.join(POOLINGS)}")
    pairs: bool = field({"pairs": False, **config}, "pairs", bool, where)
    rows = _rows(config, tensors, POOLINGS[pooling], pairs, where, name)
    if rows.hashed and text.characters == "unknown":
        raise FormatError(f"{where}: config.json: characters are of unknown words, but rows are hashed and all known")
    dense = _dense(config, tensors, POOLINGS[pooling].pooled(rows.width) * (4 if pairs else 1), rows, where, name)
    outputs = dense.layers[-1][1].shape[0] if dense.layers else len(dense.bias)
    if outputs != heads[-1].outputs.stop:
        raise FormatError(f"{where}: {outputs} outputs for {heads[-1].outputs.stop} labels")
    _refuse_strange(tensors, rows, dense, name)
    _refuse_infinite(dense, POOLINGS[pooling], name)
    return Parts(heads, pairs, pooling, text, seed, rows, dense)


def version_of(config: dict[str, Any]) -> int:
    """The format version of a classifier that is written: the oldest that has all that its ``config.json`` uses."""
    text = config["text"]
    if config["rows"]["type"] == "int4":
        return 7
    if "heads" in config or "calibration" in config or "cuts" in config:
        return 6
    plain = text.get("characters", "none") == "none" and not text.get("deobfuscate") and config["pooling"] != "sqrtn"
    return OLDEST_VERSION if plain else 5


def field(config: dict[str, Any], name: str, kind: type, where: Any) -> Any:
    """A field of ``config.json``. Errors: :class:`FormatError` for one of another type."""
    value = config.get(name)
    wrong = isinstance(value, bool) or not isinstance(value, int) or not 0 <= value < 1 << 64
    if wrong if kind is int else not isinstance(value, kind):
        raise FormatError(f"{where}: config.json: {name} is {value!r}, not {kind.__name__}")
    return value


def _heads(config: dict[str, Any], where: Any) -> tuple[Head, ...]:
    """The heads: one without a name, or those of ``heads``."""
    if config.get("format") != "sparsedistill":
        raise FormatError(f"{where}: config.json is not that of a sparsedistill classifier")
    version = config.get("format_version")
    if version not in range(OLDEST_VERSION, FORMAT_VERSION + 1) or not isinstance(version, int):  # 4.0 is none
        older = isinstance(version, int) and version < OLDEST_VERSION
        remedy = "train the classifier again" if older else "take the version of sparsedistill that wrote it"
        raise FormatError(
            f"{where} has format version {version!r}, this program reads {OLDEST_VERSION} to {FORMAT_VERSION}: {remedy}"
        )
    if later := [name for name in ("heads", "calibration") if name in config and version < 6]:
        raise FormatError(f"{where}: config.json: {later[0]} is of format version 6, not {version}")
    if "heads" not in config:
        return (_head(config, "", 0, where),)
    if beside := [name for name in _OF_HEADS if name in config]:
        raise FormatError(f"{where}: config.json: {beside[0]} stands beside heads, each of which has its own")
    described = field(config, "heads", list, where)
    if not described or not all(isinstance(one, dict) for one in described):
        raise FormatError(f"{where}: config.json: heads is not a list of objects")
    heads: list[Head] = []
    for one in described:
        name: str = field(one, "name", str, f"{where}: heads")
        if not name or "." in name or not _is_unicode(name):
            raise FormatError(
                f"{where}: config.json: heads has the name {name!r}, which is empty, has a dot or is no valid Unicode"
            )
        if name in [head.name for head in heads]:
            raise FormatError(f"{where}: config.json: heads has {name!r} twice")
        heads.append(_head(one, name, heads[-1].outputs.stop if heads else 0, f"{where}: head {name!r}"))
    return tuple(heads)


def _head(config: dict[str, Any], name: str, first: int, where: Any) -> Head:
    """What a head answers, from its object or that of a classifier of one; ``first``: of its outputs."""
    task: str = field(config, "task", str, where)
    if task not in ("single", "multi", "regression"):
        raise FormatError(f"{where}: config.json: task is {task!r}, not single, multi or regression")
    labels = field(config, "labels", list, where)
    if not labels or not all(isinstance(label, str) for label in labels):
        raise FormatError(f"{where}: config.json: labels is not a list of names")
    if len(set(labels)) < len(labels):
        twice = next(label for i, label in enumerate(labels) if label in labels[:i])
        raise FormatError(f"{where}: config.json: labels has {twice!r} twice")
    if not _is_unicode("".join(labels)):
        raise FormatError(f"{where}: config.json: labels has a name that is no valid Unicode")
    if task == "regression" and len(labels) > 1:
        raise FormatError(f"{where}: config.json: labels has {len(labels)} names, a regression has one output")
    thresholds = None
    if task == "multi":
        thresholds = _numbers(config.get("thresholds"), 0, 1)
        if thresholds is None or len(thresholds) != len(labels):
            raise FormatError(f"{where}: config.json: thresholds is not a list of one number between 0 and 1 a label")
    outputs = slice(first, first + len(labels))
    return Head(name, task, tuple(labels), thresholds, _calibration(config, task, len(labels), where), outputs)


def _is_unicode(text: str) -> bool:
    return text == text.encode("utf-8", "replace").decode()


_OF_SINGLE = ("temperature", "temperatures")


def _calibration(config: dict[str, Any], task: str, labels: int, where: Any) -> Calibration | None:
    if "calibration" not in config:
        return None
    given = field(config, "calibration", dict, where)
    where = f"{where}: calibration"
    kind: str = field(given, "kind", str, where)
    if kind not in {"single": _OF_SINGLE, "multi": ("platt", "isotonic"), "regression": ("isotonic",)}[task]:
        raise FormatError(f"{where}: config.json: kind is {kind!r}, which is none of task {task}")
    if task == "single":
        two, temperatures = kind == "temperatures", []
        for name in ("temperature", "second")[: 1 + two]:
            value = _numbers([given.get(name)], 0, MOST)
            if value is None or not value[0]:
                raise FormatError(f"{where}: config.json: {name} is not a positive number")
            temperatures.append(float(value[0]))
        share = _numbers([given.get("share") if two else 0], 0, 1)
        if share is None:
            raise FormatError(f"{where}: config.json: share is not a number from 0 to 1")
        return Calibration(kind, temperatures[0], temperatures[-1], float(share[0]))
    if kind == "platt":
        slope, intercept = _numbers(given.get("slope"), 0, MOST), _numbers(given.get("intercept"), -MOST, MOST)
        if slope is None or len(slope) != labels or not slope.all():
            raise FormatError(f"{where}: config.json: slope is not a list of one positive number a label")
        if intercept is None or len(intercept) != labels:
            raise FormatError(f"{where}: config.json: intercept is not a list of one number a label")
        return Calibration(kind, slope=slope, intercept=intercept)
    x, y = field(given, "x", list, where), field(given, "y", list, where)
    if task == "regression":
        x, y = [x], [y]
    if not len(x) == len(y) == labels:
        raise FormatError(f"{where}: config.json: x and y are not lists of one list a label")
    return Calibration(kind, knots=tuple(_knots(*one, task, where) for one in zip(x, y, strict=True)))


def _knots(x: Any, y: Any, task: str, where: Any) -> tuple[np.ndarray, np.ndarray]:
    """The points of an isotonic map."""
    at, to = _numbers(x, -MOST, MOST), _numbers(y, *((0, 1) if task == "multi" else (-MOST, MOST)))
    if at is None or not len(at) or not (np.diff(at) > 0).all():
        raise FormatError(f"{where}: config.json: x is not ascending numbers")
    if to is None or len(to) != len(at) or not (np.diff(to) >= 0).all():
        what = " between 0 and 1" if task == "multi" else ""
        raise FormatError(f"{where}: config.json: y is not a number{what} for each of x, none below the one before")
    return at, to


def _numbers(value: Any, least: float, most: float) -> np.ndarray | None:
    """A list of numbers of a range, float64; None for anything else."""
    if not isinstance(value, list) or not all(type(n) in (int, float) and least <= n <= most for n in value):
        return None
    return np.array(value, np.float64)


def _text(config: dict[str, Any], where: Any) -> tuple[TextRules, int]:
    text = field(config, "text", dict, where)
    if text.get("unicode") != _core.unicode_version:
        raise FormatError(
            f"{where} follows Unicode {text.get('unicode')!r}, this program {_core.unicode_version}: "
            "take the version of sparsedistill that wrote it"
        )
    max_n, tokenizer = field(text, "max_n", int, where), field(text, "tokenizer", str, where)
    normalize = field(text, "normalize", bool, where)
    if normalize and tokenizer == "sklearn":
        raise FormatError(f"{where}: config.json: normalize is true, which the sklearn tokenizer never does")
    deobfuscate = field({"deobfuscate": False, **text}, "deobfuscate", bool, where)
    if deobfuscate and not normalize:
        raise FormatError(f"{where}: config.json: deobfuscate is true, but normalize is false")
    if not 1 <= max_n <= 8:
        raise FormatError(f"{where}: config.json: max_n is {max_n}, not 1 to 8")
    more = {**_characters(text, where), "deobfuscate": deobfuscate}
    rules = TextRules(tokenizer, field(text, "lowercase", bool, where), normalize, max_n, **more)
    return rules, field(text, "seed", int, where)


def _characters(text: dict[str, Any], where: Any) -> dict[str, Any]:
    """The rules of character n-grams, as far as there are any."""
    of: str = field({"characters": "none", **text}, "characters", str, where)
    if of not in CHARACTERS:
        raise FormatError(f"{where}: config.json: characters is {of!r}, not {', '.join(CHARACTERS[:-1])} or all")
    if of == "none":
        return {}
    least, most = field(text, "characters_min", int, where), field(text, "characters_max", int, where)
    if not 1 <= least <= most <= MOST_CHARACTERS:
        raise FormatError(
            f"{where}: config.json: characters_min is {least} and characters_max {most}: not 1 to {MOST_CHARACTERS}, "
            "the second not below the first"
        )
    return {"characters": of, "characters_min": least, "characters_max": most}


def _rows(
    config: dict[str, Any], tensors: dict[str, np.ndarray], pooling: Pooling, pairs: bool, where: Any, name: Any
) -> Rows:
    rows = field(config, "rows", dict, where)
    width, row_type = field(rows, "width", int, where), field(rows, "type", str, where)
    if row_type not in ROW_TYPES:
        raise FormatError(f"{where}: config.json: rows.type is {row_type!r}, not one of {', '.join(ROW_TYPES)}")
    if row_type == "int4" and config["format_version"] < 7:
        raise FormatError(
            f"{where}: config.json: rows.type int4 is of format version 7, not {config['format_version']}"
        )
    hashed = field({"hashed": False, **rows}, "hashed", bool, where)
    slots = np.zeros((0, 16), np.uint32)
    if not hashed:
        slots = tensor(tensors, "slots", (np.uint32,), (None, 16), name)
        if not len(slots):
            raise FormatError(f"{name}: tensor 'slots' is empty")
    in_slots = field(rows, "in_slots", bool, where)
    count = field(rows, "count", int, where)
    numbers: np.ndarray | None = None
    if in_slots:
        if row_type != "int16" or not 1 <= width <= SLOT_COLUMNS:
            raise FormatError(f"{where}: config.json: rows.in_slots is for 1 to {SLOT_COLUMNS} int16 numbers a row")
        if hashed:
            raise FormatError(f"{where}: config.json: rows are in slots and hashed, which have none")
        if pairs or not pooling.fits_slots:
            raise FormatError(f"{where}: config.json: rows.in_slots is for mean, sum and sqrtn of single texts")
        if count > len(slots) * (64 // (4 + 2 * width)):
            raise FormatError(f"{where}: config.json: rows.count is {count}, more than 'slots' can hold")
    else:
        numbers = tensor(tensors, "rows", (ROW_TYPES[row_type],), (None, None), name)
        rows, stride = numbers.shape
        most = 2 * stride if row_type == "int4" else stride
        if rows != count or not 0 < width <= most or stride * numbers.itemsize % ROW_BYTES:
            raise FormatError(
                f"{name}: tensor 'rows' has the shape {numbers.shape}: not {count} rows of {width} "
                f"numbers, padded to a multiple of {ROW_BYTES} bytes"
            )
    if pooling.needs_floats and not (row_type.startswith("float") and width > 1):
        raise FormatError(f"{where}: config.json: attentive pooling is of float rows, the last number their weight")
    return Rows(slots, numbers, count, width, row_type, hashed)


def _dense(
    config: dict[str, Any], tensors: dict[str, np.ndarray], outputs: int, rows: Rows, where: Any, name: Any
) -> Dense:
    depth = field(config, "layers", int, where)
    if not 0 <= depth <= MAX_LAYERS:
        raise FormatError(f"{where}: config.json: layers is {depth}, not 0 to {MAX_LAYERS}")
    scale = tensor(tensors, "scale", _F32, (rows.width,), name) if rows.type.startswith("int") else None
    bias = tensor(tensors, "bias", _F32, (outputs,), name)
    relu_first = field(config, "relu_first", bool, where)
    layers = []
    for i in range(depth):
        weight = tensor(tensors, f"layers.{i}.weight", _F32, (outputs, None), name)
        outputs = weight.shape[1]
        layers.append((weight, tensor(tensors, f"layers.{i}.bias", _F32, (outputs,), name)))
    return Dense(scale, bias, relu_first, layers)


def _refuse_strange(tensors: dict[str, np.ndarray], rows: Rows, dense: Dense, name: Any) -> None:
    """Errors: :class:`FormatError` for a tensor that no part wants."""
    belong = {"bias", *(f"layers.{i}.{what}" for i in range(len(dense.layers)) for what in ("weight", "bias"))}
    belong |= {name for name, there in (("slots", not rows.hashed), ("rows", rows.numbers is not None)) if there}
    belong |= {"scale"} if dense.scale is not None else set()
    if strange := sorted(set(tensors) - belong):
        raise FormatError(f"{name}: tensor {strange[0]!r} does not belong to what config.json describes")


def _refuse_infinite(dense: Dense, pooling: Pooling, name: Any) -> None:
    """Errors: :class:`FormatError` for numbers that no classifier can have."""
    small = [dense.bias, *(array for layer in dense.layers for array in layer)]
    small += [] if dense.scale is None else [dense.scale]
    if not all(np.isfinite(array).all() for array in small):
        raise FormatError(f"{name}: a scale, bias or dense weight is not finite")
    if dense.scale is not None and pooling.takes_largest and not (dense.scale > 0).all():
        raise FormatError(f"{name}: a scale is not positive, and the largest number of a column would not stay so")
