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
from .pooling import POOLINGS, Pooling
from .text import CHARACTERS, MOST_CHARACTERS, TextRules

FORMAT_VERSION, OLDEST_VERSION = 5, 4  # the version that has all there is, and the oldest that is read
ROW_TYPES = {"int8": np.int8, "int16": np.int16, "float16": np.float16, "float32": np.float32}
ROW_BYTES = 16  # a row takes a multiple of this
SLOT_COLUMNS = 4  # most values that stand in a slot
MAX_LAYERS = 16
_F32 = (np.float32,)


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
class Head:
    """What comes after the pooling: ``scale`` of integer rows, ``bias``, and ``layers`` of (weight, bias)."""

    scale: np.ndarray | None
    bias: np.ndarray
    relu_first: bool
    layers: list[tuple[np.ndarray, np.ndarray]]


@dataclass(frozen=True)
class Parts:
    """A classifier's parts, checked. ``seed``: of the hash."""

    task: str
    labels: tuple[str, ...]
    pairs: bool
    pooling: str
    thresholds: np.ndarray | None
    text: TextRules
    seed: int
    rows: Rows
    head: Head


def read_parts(config: dict[str, Any], tensors: dict[str, np.ndarray], where: Any, name: Any) -> Parts:
    """The parts of a classifier in ``where``, whose tensors are in ``name``.

    Errors: :class:`FormatError` naming the field or tensor.
    """
    task, labels = _task(config, where)
    text, seed = _text(config, where)
    pooling: str = field(config, "pooling", str, where)
    if pooling not in POOLINGS:
        raise FormatError(f"{where}: config.json: pooling is {pooling!r}, not {' or '.join(POOLINGS)}")
    pairs: bool = field({"pairs": False, **config}, "pairs", bool, where)
    rows = _rows(config, tensors, POOLINGS[pooling], pairs, where, name)
    if rows.hashed and text.characters == "unknown":
        raise FormatError(f"{where}: config.json: characters are of unknown words, but rows are hashed and all known")
    head = _head(config, tensors, POOLINGS[pooling].pooled(rows.width) * (4 if pairs else 1), rows, where, name)
    outputs = head.layers[-1][1].shape[0] if head.layers else len(head.bias)
    if outputs != len(labels):
        raise FormatError(f"{where}: {outputs} outputs for {len(labels)} labels")
    _refuse_strange(tensors, rows, head, name)
    _refuse_infinite(head, POOLINGS[pooling], name)
    return Parts(task, labels, pairs, pooling, _thresholds(config, task, labels, where), text, seed, rows, head)


def version_of(text: TextRules, pooling: str) -> int:
    """The format version of a classifier: the oldest that has all it uses."""
    return (
        OLDEST_VERSION if text.characters == "none" and not text.deobfuscate and pooling != "sqrtn" else FORMAT_VERSION
    )


def field(config: dict[str, Any], name: str, kind: type, where: Any) -> Any:
    """A field of ``config.json``. Errors: :class:`FormatError` for one of another type."""
    value = config.get(name)
    wrong = isinstance(value, bool) or not isinstance(value, int) or not 0 <= value < 1 << 64
    if wrong if kind is int else not isinstance(value, kind):
        raise FormatError(f"{where}: config.json: {name} is {value!r}, not {kind.__name__}")
    return value


def _task(config: dict[str, Any], where: Any) -> tuple[str, tuple[str, ...]]:
    if config.get("format") != "sparsedistill":
        raise FormatError(f"{where}: config.json is not that of a sparsedistill classifier")
    version = config.get("format_version")
    if version not in range(OLDEST_VERSION, FORMAT_VERSION + 1) or not isinstance(version, int):  # 4.0 is none
        older = isinstance(version, int) and version < OLDEST_VERSION
        remedy = "train the classifier again" if older else "take the version of sparsedistill that wrote it"
        raise FormatError(
            f"{where} has format version {version!r}, this program reads {OLDEST_VERSION} to {FORMAT_VERSION}: {remedy}"
        )
    task: str = field(config, "task", str, where)
    if task not in ("single", "multi", "regression"):
        raise FormatError(f"{where}: config.json: task is {task!r}, not single, multi or regression")
    labels = field(config, "labels", list, where)
    if not labels or not all(isinstance(label, str) for label in labels):
        raise FormatError(f"{where}: config.json: labels is not a list of names")
    if len(set(labels)) < len(labels):
        twice = next(label for i, label in enumerate(labels) if label in labels[:i])
        raise FormatError(f"{where}: config.json: labels has {twice!r} twice")
    if "".join(labels) != "".join(labels).encode("utf-8", "replace").decode():
        raise FormatError(f"{where}: config.json: labels has a name that is no valid Unicode")
    if task == "regression" and len(labels) > 1:
        raise FormatError(f"{where}: config.json: labels has {len(labels)} names, a regression has one output")
    return task, tuple(labels)


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
        if rows != count or not 0 < width <= stride or stride * numbers.itemsize % ROW_BYTES:
            raise FormatError(
                f"{name}: tensor 'rows' has the shape {numbers.shape}: not {count} rows of {width} "
                f"numbers, padded to a multiple of {ROW_BYTES} bytes"
            )
    if pooling.needs_floats and not (row_type.startswith("float") and width > 1):
        raise FormatError(f"{where}: config.json: attentive pooling is of float rows, the last number their weight")
    return Rows(slots, numbers, count, width, row_type, hashed)


def _head(
    config: dict[str, Any], tensors: dict[str, np.ndarray], outputs: int, rows: Rows, where: Any, name: Any
) -> Head:
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
    return Head(scale, bias, relu_first, layers)


def _refuse_strange(tensors: dict[str, np.ndarray], rows: Rows, head: Head, name: Any) -> None:
    """Errors: :class:`FormatError` for a tensor that no part wants."""
    belong = {"bias", *(f"layers.{i}.{what}" for i in range(len(head.layers)) for what in ("weight", "bias"))}
    belong |= {name for name, there in (("slots", not rows.hashed), ("rows", rows.numbers is not None)) if there}
    belong |= {"scale"} if head.scale is not None else set()
    if strange := sorted(set(tensors) - belong):
        raise FormatError(f"{name}: tensor {strange[0]!r} does not belong to what config.json describes")


def _refuse_infinite(head: Head, pooling: Pooling, name: Any) -> None:
    """Errors: :class:`FormatError` for numbers that no classifier can have."""
    small = [head.bias, *(array for layer in head.layers for array in layer)]
    small += [] if head.scale is None else [head.scale]
    if not all(np.isfinite(array).all() for array in small):
        raise FormatError(f"{name}: a scale, bias or dense weight is not finite")
    if head.scale is not None and pooling.takes_largest and not (head.scale > 0).all():
        raise FormatError(f"{name}: a scale is not positive, and the largest number of a column would not stay so")


def _thresholds(config: dict[str, Any], task: str, labels: tuple[str, ...], where: Any) -> np.ndarray | None:
    if task != "multi":
        return None
    thresholds = config.get("thresholds")
    numbers = isinstance(thresholds, list) and all(type(t) in (int, float) and 0 <= t <= 1 for t in thresholds)
    if not isinstance(thresholds, list) or not numbers or len(thresholds) != len(labels):
        raise FormatError(f"{where}: config.json: thresholds is not a list of one number between 0 and 1 a label")
    return np.array(thresholds)
