"""From the student to the classifier: fold W1 into the table, then store the rows as small integers."""

from __future__ import annotations

from typing import Any, cast

import numpy as np
from torch import nn

from .. import _core
from ..classifier import FORMAT_VERSION, ROW_BYTES, ROW_TYPES, SLOT_COLUMNS, Classifier
from ..errors import DataError, SettingsError
from .model import Student
from .table import widened
from .vocabulary import Vocabulary

_CHUNK = 65536  # rows folded at a time, so that no second float table is held


def compress(
    student: Student,
    vocabulary: Vocabulary,
    labels: tuple[str, ...],
    task: str,
    rows: str = "auto",
    thresholds: list[float] | None = None,
    extra: dict[str, Any] | None = None,
    card: str = "",
) -> Classifier:
    """The classifier that says what ``student`` says.

    Folding: mean and sum are linear, so ``W1 mean(E) + b1 = mean(W1 E) + b1``, and W1 goes into the table once; done
    where it does not widen the rows. So is an attentive mean, whose rows are multiplied by their weights, which stand
    beside them. ``rows`` is a type of ``ROW_TYPES`` or "auto": int8; int16 without a hidden layer, whose few numbers a
    row carry all there is; float32 for attentive pooling, whose weights differ by magnitudes. Integer rows have one
    scale a column. Rows of up to four int16 that are the logits' own go into the lookup table. ``extra`` goes into
    config.json. A ``student`` of standardised targets becomes a classifier that gives them in their unit.

    Errors: :class:`SettingsError` for integer rows with weights, :class:`DataError` for numbers that float16 lacks.
    """
    layers = [cast(nn.Linear, layer) for layer in student.dense]
    fold: np.ndarray | None = None
    bias: nn.Parameter | None
    linear, attentive = "max" not in student.pooling and not student.pairs, student.query is not None
    if student.factor is not None:
        if linear and student.first_width <= student.embedding:
            fold, bias = student.factor.weight.detach().numpy().T, student.factor.bias
        else:
            layers.insert(0, student.factor)
            bias = None
    else:
        bias = student.bias
    folded = bias is not None
    mean, unit = (0.0, 1.0) if student.standard is None else map(float, student.standard)
    width = (fold.shape[1] if fold is not None else student.table.shape[1]) + attentive
    if rows == "auto":
        rows = "float32" if attentive else "int8" if layers else "int16"
    if attentive and rows.startswith("int"):
        raise SettingsError(f"{rows} rows are too coarse for the weights of attentive pooling: take float32 or float16")
    weigh = student.weigher() if attentive else None

    def chunk(begin: int) -> np.ndarray:
        part = widened(student.table[begin : begin + _CHUNK])
        weights = weigh(part) if weigh else None
        if fold is not None:
            part = part @ fold
        if not layers and unit != 1:
            part = part * np.float32(unit)
        return part if weights is None else np.hstack([part * weights, weights])

    in_slots = rows == "int16" and linear and not layers and width <= SLOT_COLUMNS and not vocabulary.hashed
    starts = range(0, len(student.table), _CHUNK)
    out = np.zeros((len(student.table), width if in_slots else stride_of(width, rows)), ROW_TYPES[rows])
    scale = None
    if rows.startswith("float"):
        for begin in starts:
            part = out[begin : begin + _CHUNK, :width]
            with np.errstate(over="ignore"):
                part[...] = chunk(begin)
            if not np.isfinite(part).all():
                raise DataError(f"the student has numbers that {rows} cannot hold: take float32, int16 or int8 rows")
    else:
        most = np.iinfo(out.dtype).max
        largest = np.max([np.abs(chunk(begin)).max(axis=0) for begin in starts], axis=0)
        scale = np.where(largest > 0, largest / most, 1.0).astype(np.float32)
        for begin in starts:
            out[begin : begin + _CHUNK, :width] = np.clip(np.rint(chunk(begin) / scale), -most, most)

    tensors: dict[str, np.ndarray] = {}
    seed = vocabulary.seed
    if in_slots:
        tensors["slots"], seed = vocabulary.slots_holding(out)
    else:
        tensors |= {"rows": out} if vocabulary.hashed else {"slots": vocabulary.slots, "rows": out}
    if scale is not None:
        tensors["scale"] = scale
    pooled = student.pooled_width * (4 if student.pairs else 1) if fold is None else fold.shape[1]
    tensors["bias"] = bias.detach().numpy().copy() if bias is not None else np.zeros(pooled, np.float32)
    for i, layer in enumerate(layers):
        tensors[f"layers.{i}.weight"] = np.ascontiguousarray(layer.weight.detach().numpy().T)
        tensors[f"layers.{i}.bias"] = layer.bias.detach().numpy().copy()
    if student.standard is not None:
        # Into the last layer, which without any is the rows (see above) and their bias.
        last = f"layers.{len(layers) - 1}." if layers else ""
        if layers:
            tensors[last + "weight"] = tensors[last + "weight"] * np.float32(unit)  # a copy: those are the student's
        tensors[last + "bias"] = (tensors[last + "bias"].astype(np.float64) * unit + mean).astype(np.float32)
    config = {
        "format": "sparsedistill",
        "format_version": FORMAT_VERSION,
        "task": task,
        "labels": list(labels),
        "text": {
            "tokenizer": vocabulary.tokenizer,
            "lowercase": vocabulary.lowercase,
            "normalize": vocabulary.normalize,
            "max_n": vocabulary.max_n,
            "seed": seed,
            "unicode": _core.unicode_version,
        },
        "pooling": student.pooling,
        **({"pairs": True} if student.pairs else {}),
        "rows": {"count": len(out), "width": width, "type": rows, "in_slots": in_slots}
        | ({"hashed": True} if vocabulary.hashed else {}),
        "relu_first": folded and bool(layers),
        "layers": len(layers),
        **({"thresholds": thresholds} if task == "multi" else {}),
        **(extra or {}),
    }
    return Classifier(config, tensors, card=card)


def stride_of(width: int, rows: str) -> int:
    """Numbers from one row to the next, so that no row touches more cache lines of 64 bytes than it must."""
    size = np.dtype(ROW_TYPES[rows]).itemsize
    needed = max(width * size, ROW_BYTES)
    return (1 << (needed - 1).bit_length() if needed <= 64 else (needed + 63) // 64 * 64) // size
