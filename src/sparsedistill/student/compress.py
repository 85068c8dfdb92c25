"""From the student to the classifier: fold W1 into the table, then store the rows as small integers."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, cast

import numpy as np
from torch import nn

from .. import _core
from ..artefact import SLOT_COLUMNS, version_of
from ..classifier import Classifier
from ..errors import SettingsError
from ..rows import ROW_TYPES, is_integer, quantised, scales, stride_of
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
    """The classifier that computes what ``student`` does.

    Folding: mean and sum are linear, so ``W1 mean(E) + b1 = mean(W1 E) + b1``, and W1 goes into the table once; done
    where it does not widen the rows. So is an attentive mean, whose rows are multiplied by their weights, which stand
    beside them. ``rows`` is a type of ``ROW_TYPES`` or "auto": int8; int16 without a hidden layer, whose few numbers a
    row carry all there is; float32 for attentive pooling, whose weights differ by magnitudes. Integer rows have one
    scale a column (:func:`sparsedistill.rows.scales`). Rows of up to four int16 go into the lookup table where pooling
    is linear. ``extra`` goes into config.json; ``heads`` in it stand there for task and labels. A ``student`` of
    standardised targets becomes a classifier that gives them in their unit.

    Errors: :class:`SettingsError` for integer rows with weights, :class:`DataError` for numbers that float16 lacks.
    """
    folded = _Folded(student)
    kind, width = student.kind, folded.width
    if rows == "auto":
        rows = "float32" if kind.needs_floats else "int8" if folded.layers else "int16"
    if kind.needs_floats and is_integer(rows):
        raise SettingsError(
            f"{rows} rows are too coarse for the weights of {student.pooling} pooling: take float32 or float16"
        )
    in_slots = rows == "int16" and folded.linear and width <= SLOT_COLUMNS and not vocabulary.hashed
    stored = np.zeros((len(student.table), width if in_slots else stride_of(width, rows)), ROW_TYPES[rows])
    scale = scales((chunk for _, chunk in folded.chunks()), rows)
    for place, chunk in folded.chunks():
        stored[place] = quantised(chunk, scale, rows)[:, : stored.shape[1]]
    tensors, seed = {}, vocabulary.seed
    if in_slots:
        tensors["slots"], seed = vocabulary.slots_holding(stored)
    else:
        tensors |= {"rows": stored} if vocabulary.hashed else {"slots": vocabulary.slots, "rows": stored}
    tensors |= ({} if scale is None else {"scale": scale}) | folded.dense_tensors()
    config = {
        "format": "sparsedistill",
        "format_version": 0,
        **({} if extra and "heads" in extra else {"task": task, "labels": list(labels)}),
        "text": _text_rules(vocabulary, seed),
        "pooling": student.pooling,
        **({"pairs": True} if student.pairs else {}),
        "rows": {"count": len(stored), "width": width, "type": rows, "in_slots": in_slots}
        | ({"hashed": True} if vocabulary.hashed else {}),
        "relu_first": folded.bias is not None and bool(folded.layers),
        "layers": len(folded.layers),
        **({"thresholds": thresholds} if task == "multi" else {}),
        **(extra or {}),
    }
    config["format_version"] = version_of(config)
    return Classifier(config, tensors, card=card)


class _Folded:
    """A student whose W1 is in its table where that pays, and whose mean and scale are in its last layer.

    ``layers``: the dense layers that are left; ``bias``: what is added to the pooled vector, or None; ``linear``:
    whether the pooled vector is a weighted sum of the rows; ``width``: numbers of a row, with its weight.
    """

    def __init__(self, student: Student):
        self._student = student
        self.linear = student.kind.linear and not student.pairs
        self.layers = [cast(nn.Linear, layer) for layer in student.dense]
        self.bias: nn.Parameter | None = student.bias
        self._matrix: np.ndarray | None = None  # that rows are multiplied by
        if student.factor is not None:
            if self.linear and student.first_width <= student.embedding:
                self._matrix, self.bias = student.factor.weight.detach().numpy().T, student.factor.bias
            else:
                self.layers.insert(0, student.factor)
        weighted = student.kind.weighted
        self._weigh = student.weigher() if weighted else None
        self.width = (student.table.shape[1] if self._matrix is None else self._matrix.shape[1]) + weighted
        # Of each output that is a score; others have 0 and 1.
        self._mean, self._unit = np.array([0.0, 1.0]) if student.standard is None else student.standard

    def chunks(self) -> Iterator[tuple[slice, np.ndarray]]:
        """The rows float32 (n, ``width``), some at a time, and where they are."""
        table = self._student.table
        for begin in range(0, len(table), _CHUNK):
            part = widened(table[begin : begin + _CHUNK])
            weights = self._weigh(part) if self._weigh else None
            if self._matrix is not None:
                part = part @ self._matrix
            if not self.layers and np.any(self._unit != 1):
                part = part * self._unit.astype(np.float32)
            place = slice(begin, begin + len(part))
            yield place, part if weights is None else np.hstack([part * weights, weights])

    def dense_tensors(self) -> dict[str, np.ndarray]:
        """Bias and dense layers by their names in the file."""
        student, tensors = self._student, {}
        if self.bias is not None:
            tensors["bias"] = self.bias.detach().numpy().copy()
        else:
            pooled = student.pooled_width * (4 if student.pairs else 1)
            tensors["bias"] = np.zeros(pooled, np.float32)
        for i, layer in enumerate(self.layers):
            tensors[f"layers.{i}.weight"] = np.ascontiguousarray(layer.weight.detach().numpy().T)
            tensors[f"layers.{i}.bias"] = layer.bias.detach().numpy().copy()
        if student.standard is not None:
            # Into the last layer, which without any is the rows (see chunks) and their bias.
            last = f"layers.{len(self.layers) - 1}." if self.layers else ""
            if self.layers:
                weight = tensors[last + "weight"]
                tensors[last + "weight"] = weight * self._unit.astype(np.float32)  # a copy: those are the student's
            bias = tensors[last + "bias"].astype(np.float64)
            tensors[last + "bias"] = (bias * self._unit + self._mean).astype(np.float32)
        return tensors


def _text_rules(vocabulary: Vocabulary, seed: int) -> dict[str, Any]:
    """How texts become rows, for config.json; ``seed`` is the lookup table's."""
    return {
        **vocabulary.rules.config(),
        "seed": seed,
        "unicode": _core.unicode_version,
    }
