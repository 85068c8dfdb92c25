"""The kernels of :mod:`sparsedistill.student.cuda`, in Triton."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

try:
    import triton
    from triton import language as tl
except ImportError:  # torch's builds for CUDA bring it
    triton = None

AVAILABLE = triton is not None


def _kernel(**options: Any) -> Callable[[Any], Any]:
    return triton.jit(**options) if triton is not None else lambda function: function


@_kernel()
def _numbers(stored, HALF: tl.constexpr):
    """Numbers of a table as float32."""
    return (stored.to(tl.int32) << 16).to(tl.float32, bitcast=True) if HALF else stored


@_kernel()
def _row_number(id):
    return id.to(tl.uint32, bitcast=True).to(tl.int64)


@_kernel()
def _put(place, values, columns, inside, row, low, high, HALF: tl.constexpr):
    """Store a row's numbers: those of bfloat16 up with a chance of what is cut off, as noise() and to_bfloat16() do."""
    if HALF:
        start = (high.to(tl.uint32, bitcast=True).to(tl.uint64) << 32) | low.to(tl.uint32, bitcast=True).to(tl.uint64)
        mixed = row.to(tl.uint64) ^ 0xABC98388FB8FAC03
        noise = ((start * mixed) ^ tl.umulhi(start, mixed)).to(tl.uint32)
        random = noise + columns.to(tl.uint32) * 0x9E3779B9
        random = (random ^ (random >> 16)) * 0x7FEB352D
        random = (random ^ (random >> 15)) * 0x846CA68B
        bits = values.to(tl.uint32, bitcast=True)
        finite = (bits & 0x7F800000) != 0x7F800000
        bits = (bits + tl.where(finite, random >> 16, 0).to(tl.uint32)) >> 16
        tl.store(place, bits.to(tl.uint16).to(tl.int16, bitcast=True), mask=inside)
    else:
        tl.store(place, values, mask=inside)


@_kernel()
def _gradient(
    of, scales, gradients, begin, end, columns, WIDTH: tl.constexpr, BLOCK: tl.constexpr, AHEAD: tl.constexpr
):
    """The shares of a row's occurrences, summed in the order of the bags."""
    total = tl.zeros((BLOCK,), tl.float32)
    for at in range(begin, end, AHEAD):
        for i in tl.static_range(AHEAD):
            there = at + i < end
            bag = tl.load(of + at + i, mask=there, other=0).to(tl.int64)
            share = tl.load(gradients + bag * WIDTH + columns, mask=columns < tl.where(there, WIDTH, 0), other=0.0)
            total += share * tl.load(scales + bag)
    return total


@_kernel()
def pool(
    table, ids, offsets, scales, out,
    WIDTH: tl.constexpr, HALF: tl.constexpr, BLOCK: tl.constexpr, AHEAD: tl.constexpr,
):  # fmt: skip
    """Sums of a bag's rows, each column times the bag's scale: float32 (n, WIDTH) to ``out``."""
    bag = tl.program_id(0).to(tl.int64)
    columns = tl.program_id(1) * BLOCK + tl.arange(0, BLOCK)
    inside = columns < WIDTH
    begin, end = tl.load(offsets + bag), tl.load(offsets + bag + 1)
    total = tl.zeros((BLOCK,), tl.float32)
    for at in range(begin, end, AHEAD):
        for i in tl.static_range(AHEAD):
            there = at + i < end
            row = _row_number(tl.load(ids + at + i, mask=there, other=0))
            total += _numbers(
                tl.load(table + row * WIDTH + columns, mask=columns < tl.where(there, WIDTH, 0), other=0), HALF
            )
    tl.store(out + bag * WIDTH + columns, total * tl.load(scales + bag), mask=inside)


@_kernel(do_not_specialize=["low", "high"])
def adam(
    table, moment1, moment2, ids, of, starts, scales, gradients, size, rest1, rest2, epsilon, low, high,
    WIDTH: tl.constexpr, HALF: tl.constexpr, BLOCK: tl.constexpr, AHEAD: tl.constexpr,
):  # fmt: skip
    """Adam on a row that occurs (Kingma and Ba 2015), with the sum of its bags' gradients."""
    columns = tl.program_id(1) * BLOCK + tl.arange(0, BLOCK)
    inside = columns < WIDTH
    begin, end = tl.load(starts + tl.program_id(0)), tl.load(starts + tl.program_id(0) + 1)
    g = _gradient(of, scales, gradients, begin, end, columns, WIDTH, BLOCK, AHEAD)
    row = _row_number(tl.load(ids + begin))
    at = row * WIDTH + columns
    m, v = tl.load(moment1 + at, mask=inside, other=0.0), tl.load(moment2 + at, mask=inside, other=0.0)
    m += (g - m) * rest1
    v += (g * g - v) * rest2
    tl.store(moment1 + at, m, mask=inside)
    tl.store(moment2 + at, v, mask=inside)
    old = _numbers(tl.load(table + at, mask=inside, other=0), HALF)
    new = old - tl.div_rn(size * m, tl.sqrt_rn(v) + epsilon)
    _put(table + at, new, columns, inside, row, low, high, HALF)


@_kernel(do_not_specialize=["low", "high"])
def adagrad(
    table, squares, ids, of, starts, scales, gradients, rate, epsilon, low, high,
    WIDTH: tl.constexpr, HALF: tl.constexpr, BLOCK: tl.constexpr, AHEAD: tl.constexpr,
):  # fmt: skip
    """Row-wise Adagrad on a row that occurs (Mudigere et al. 2022), with the sum of its bags' gradients."""
    columns = tl.arange(0, BLOCK)
    inside = columns < WIDTH
    begin, end = tl.load(starts + tl.program_id(0)), tl.load(starts + tl.program_id(0) + 1)
    g = _gradient(of, scales, gradients, begin, end, columns, WIDTH, BLOCK, AHEAD)
    row = _row_number(tl.load(ids + begin))
    square = tl.load(squares + row) + tl.div_rn(tl.sum(g * g, 0), WIDTH * 1.0)
    tl.debug_barrier()  # every thread has read the old one before it is written over
    tl.store(squares + row, square)
    at = row * WIDTH + columns
    old = _numbers(tl.load(table + at, mask=inside, other=0), HALF)
    new = old - tl.div_rn(rate, tl.sqrt_rn(square) + epsilon) * g
    _put(table + at, new, columns, inside, row, low, high, HALF)
