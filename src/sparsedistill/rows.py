"""Rows of numbers as a classifier stores them: types, strides, scales of integers, and int4's packing.

numpy alone. Float rows (n, W) become the array (n, stride) of ``model.safetensors`` by :func:`scales`, which sees all
of them, and :func:`quantised`, some at a time; :func:`numbers` unpacks int4. docs/FORMAT.md states the layout.
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from .errors import DataError

#: of each type of rows, that of the array's elements; an element of int4 holds two numbers
ROW_TYPES = {"int4": np.uint8, "int8": np.int8, "int16": np.int16, "float16": np.float16, "float32": np.float32}
ROW_BYTES = 16  # a row takes a multiple of this
_MOST = {"int4": 7, "int8": 127, "int16": 32767}
_BLOCK = 16  # bytes of int4: the numbers of 16 columns in the low halves, those of the next 16 in the high ones
_OFFSET = 8  # that is added to a number of int4, so that its four bits have no sign
_SAMPLE = 1 << 23  # numbers that int4's scales are chosen by
_CLIPS = np.float32(2) ** (-np.arange(33, dtype=np.float32) / 8)  # of a column's largest magnitude: where int4 may clip


def is_integer(rows: str) -> bool:
    """Whether rows of this type have a scale a column."""
    return rows in _MOST


def stride_of(width: int, rows: str) -> int:
    """Elements from one row to the next, so that no row touches more cache lines of 64 bytes than it must."""
    size: int = np.dtype(ROW_TYPES[rows]).itemsize
    needed = -(-width // (2 * _BLOCK)) * _BLOCK if rows == "int4" else max(width * size, ROW_BYTES)
    whole: int = 1 << (needed - 1).bit_length() if needed <= 64 else (needed + 63) // 64 * 64
    return whole // size


def scales(chunks: Iterable[np.ndarray], rows: str) -> np.ndarray | None:
    """One scale a column, float32 (W,), of float rows given as chunks (n, W) once; None for a type that has none.

    int8 and int16: the largest magnitude of a column becomes the largest integer. int4, whose 15 values are too few for
    outliers, clips at the largest magnitude times 2^(-i / 8), i = 0 to 32, where the errors' fourth powers have the
    smallest sum, over at most 2^23 numbers of rows evenly spread. Not their squares: what rounding does to the rows of
    a text mostly cancels, what clipping does points to zero in each, so that logits shrink. (SST-2, 130,000 rows of 64:
    the logits' error is a third smaller than by squares, and than without clipping.) The same for the same rows,
    however they are cut into chunks.

    Errors: ValueError without chunks.
    """
    if not is_integer(rows):
        return None
    largest: np.ndarray | None = None
    sample: list[np.ndarray] = []
    seen = 0
    step = 1  # of each so many rows one is in the sample
    for chunk in chunks:
        top = np.abs(chunk).max(axis=0, initial=0)
        largest = top if largest is None else np.maximum(largest, top)
        if rows == "int4":
            sample.append(chunk[-seen % step :: step].copy())
            seen += len(chunk)
            while -(-seen // step) * chunk.shape[1] > _SAMPLE:
                sample, step = [np.concatenate(sample)[::2]], 2 * step
    if largest is None:
        raise ValueError("there are no rows to choose scales by")
    scale = np.where(largest > 0, largest / _MOST[rows], 1.0).astype(np.float32)
    return scale if rows != "int4" else _clipping(np.abs(np.concatenate(sample)), scale)


def quantised(chunk: np.ndarray, scale: np.ndarray | None, rows: str) -> np.ndarray:
    """Float rows (n, W) as they are stored: (n, ``stride_of(W, rows)``), filler zeros.

    Errors: :class:`DataError` for numbers that a type of floats lacks.
    """
    width = chunk.shape[1]
    if scale is None:
        stored = np.zeros((len(chunk), stride_of(width, rows)), ROW_TYPES[rows])
        with np.errstate(over="ignore"):
            stored[:, :width] = chunk
        if not np.isfinite(stored).all():
            raise DataError(f"the student has numbers that {rows} cannot hold: take float32, int16 or int8 rows")
        return stored
    most = _MOST[rows]
    integers = np.clip(np.rint(chunk / scale), -most, most)
    if rows == "int4":
        return packed(integers.astype(np.int8))
    stored = np.zeros((len(chunk), stride_of(width, rows)), ROW_TYPES[rows])
    stored[:, :width] = integers
    return stored


def packed(integers: np.ndarray) -> np.ndarray:
    """int8 (n, W) of -8 to 7, as int4 stores them: uint8 (n, ``stride_of(W, "int4")``)."""
    whole = np.full((len(integers), 2 * stride_of(integers.shape[1], "int4")), _OFFSET, np.uint8)
    whole[:, : integers.shape[1]] += integers.view(np.uint8)  # modulo 256
    halves = whole.reshape(len(whole), whole.shape[1] // (2 * _BLOCK), 2, _BLOCK)
    result: np.ndarray = halves[:, :, 0] | halves[:, :, 1] << 4
    return result.reshape(len(whole), whole.shape[1] // 2)


def numbers(stored: np.ndarray) -> np.ndarray:
    """The numbers of int4 rows, uint8 (n, stride): int8 (n, 2 stride), the filler's among them."""
    blocks = stored.reshape(len(stored), stored.shape[1] // _BLOCK, 1, _BLOCK)
    halves: np.ndarray = np.concatenate([blocks & 15, blocks >> 4], axis=2).view(np.int8) - np.int8(_OFFSET)
    return halves.reshape(len(stored), 2 * stored.shape[1])


def _clipping(magnitudes: np.ndarray, scale: np.ndarray) -> np.ndarray:
    """The scale of int4, float32 (W,), that columns of these magnitudes (n, W) lose least by. ``scale``: clips none."""
    totals = np.zeros((len(_CLIPS), len(scale)))
    for begin in range(0, len(magnitudes), 4096):  # what stays in cache
        part = magnitudes[begin : begin + 4096] / scale
        for i, clip in enumerate(_CLIPS):
            errors = part - clip * np.minimum(np.rint(part / clip), np.float32(_MOST["int4"]))
            totals[i] += np.square(np.square(errors)).sum(axis=0, dtype=np.float64)
    result: np.ndarray = scale * _CLIPS[totals.argmin(axis=0)]
    return result
