"""Rows as they are stored: int4's packing and its scales."""

from __future__ import annotations

import numpy as np
import pytest

from sparsedistill import rows
from sparsedistill.errors import DataError


def floats(seed: int, shape: tuple[int, int], tail: float = 1.0) -> np.ndarray:
    """float32, with outliers where ``tail`` is above 0."""
    rng = np.random.default_rng(seed)
    return (rng.standard_normal(shape) * np.exp(rng.normal(0, tail, shape))).astype(np.float32)


@pytest.mark.parametrize(
    ("width", "stride"), [(1, 16), (32, 16), (33, 32), (64, 32), (65, 64), (128, 64), (129, 128), (1000, 512)]
)
def test_int4_strides(width, stride):
    assert rows.stride_of(width, "int4") == stride
    packed = rows.packed(np.zeros((3, width), np.int8))
    assert (packed.shape, packed.dtype) == ((3, stride), np.uint8)
    assert (packed == 0x88).all()  # filler is zeros, too


def test_packing_by_hand():
    row = np.zeros((1, 64), np.int8)
    row[0, [0, 1, 16, 31, 32, 48]] = [-7, 7, 3, -8, 1, -1]
    packed = rows.packed(row)[0]
    expected = [0x88] * 32
    expected[0] = 11 << 4 | 1  # columns 16 and 0
    expected[1] = 8 << 4 | 15
    expected[15] = 0 << 4 | 8  # columns 31 and 15
    expected[16] = 7 << 4 | 9  # columns 48 and 32
    assert packed.tolist() == expected


def test_the_row_of_the_format():
    row = np.zeros((1, 17), np.int8)
    row[0, [0, 1, 16]] = [1, -7, 7]
    assert rows.packed(row).tobytes().hex(" ").startswith("f9 81 88")


@pytest.mark.parametrize("width", [1, 5, 16, 31, 32, 40, 64, 100, 200])
def test_packing_keeps_each_number(width):
    integers = np.random.default_rng(width).integers(-8, 8, (50, width), np.int8)
    assert np.array_equal(rows.numbers(rows.packed(integers))[:, :width], integers)
    assert rows.numbers(rows.packed(integers[:0])).shape == (0, 2 * rows.stride_of(width, "int4"))


def test_int4_scales_are_the_best_of_a_fine_grid():
    table = floats(0, (3000, 7))
    table[:, 5] = 0
    scale = rows.scales([table], "int4")
    assert scale.dtype == np.float32 and scale[5] == 1

    whole = np.abs(table).max(axis=0) / np.float32(7)
    whole[5] = 1

    def error(scale):
        integers = np.clip(np.rint(table / scale), -7, 7)
        return (((table - integers * scale) / whole) ** 4).sum(axis=0, dtype=np.float64)

    best = np.min([error(whole * np.float32(f)) for f in np.linspace(0.05, 1, 400)], axis=0)
    assert (error(scale) <= best * 1.1).all()
    assert (error(scale)[:5] < 0.85 * error(whole)[:5]).all()  # outliers are clipped
    stored = rows.numbers(rows.quantised(table, scale, "int4"))[:, :7]
    np.testing.assert_array_equal(stored, np.clip(np.rint(table / scale), -7, 7))


@pytest.mark.parametrize("kind", ["int4", "int8", "int16"])
def test_scales_do_not_depend_on_the_chunks(kind, monkeypatch):
    monkeypatch.setattr(rows, "_SAMPLE", 1000)
    table = floats(1, (2003, 3))
    scale = rows.scales([table], kind)
    for size in (1, 7, 500, 1999):
        chunks = (table[begin : begin + size] for begin in range(0, len(table), size))
        assert rows.scales(chunks, kind).tobytes() == scale.tobytes()
    if kind == "int4":  # the sample is every eighth row; the largest magnitude is that of all
        assert not np.array_equal(scale, rows.scales([table[::7]], kind))


@pytest.mark.parametrize(("kind", "most"), [("int8", 127), ("int16", 32767)])
def test_wider_integers_keep_the_largest_magnitude(kind, most):
    table = floats(2, (100, 5))
    scale = rows.scales([table[:50], table[50:]], kind)
    assert scale.tobytes() == (np.abs(table).max(axis=0) / most).astype(np.float32).tobytes()
    stored = rows.quantised(table, scale, kind)
    assert np.abs(stored).max() == most and not stored[:, 5:].any()
    assert np.abs(stored[:, :5] * scale - table).max() <= scale.max() * 0.51


def test_floats_have_no_scale_and_are_refused_beyond_their_type():
    table = floats(3, (10, 3))
    assert rows.scales([table], "float16") is None
    stored = rows.quantised(table, None, "float32")
    assert np.array_equal(stored[:, :3], table) and stored.shape == (10, 4)
    with pytest.raises(DataError, match="float16 cannot hold"):
        rows.quantised(table * 1e6, None, "float16")
    with pytest.raises(ValueError, match="no rows"):
        rows.scales([], "int8")
