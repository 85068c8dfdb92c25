"""The table in training on a GPU: pooling, and the optimisers that touch only the rows of a batch, as Triton kernels.

What they compute is what ``core/bag.h`` says of the core: sums in the order of the bags, one program for a row, the
same rounding of bfloat16 as a function of (seed, step, row, column). So the numbers are the core's: of row-wise
Adagrad, whose mean over a row is taken in another order, to rounding. Triton: Tillet, Kung and Cox 2019.

A table is a tensor (V, d), float32, or int16 that holds the bits of bfloat16. Row numbers are int32 that holds the bits
of uint32: torch does little with unsigned numbers.
"""

from __future__ import annotations

import gc
import os
import shutil
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
import torch

from ..errors import SettingsError
from ..format import Pieces
from ..pooling import POOLINGS
from . import kernels as compiled
from .table import BETAS, EPSILON, TYPES, random_rows

_INTERPRETED = os.environ.get("TRITON_INTERPRET") == "1"  # Triton looks when kernels are defined
_BLOCK = 1024  # columns a program, at most
_AHEAD = 4  # loads that do not wait for one another
_K = 0x9E3779B97F4A7C15, 0xD1B54A32D192ED03, 0x8CB92BA72F3D8DD7, 0xABC98388FB8FAC03  # of core/hash.h
_K3_SIGNED = _K[3] - (1 << 64)
_COLUMN, _MIX1, _MIX2 = 0x9E3779B9, 0x7FEB352D, 0x846CA68B  # of core/kernels.h and to_bfloat16()
_LOW, _WHOLE = (1 << 32) - 1, (1 << 64) - 1
Tensors = tuple[torch.Tensor, torch.Tensor]
Floats = tuple[float, ...]


# ---- What the host does --------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Bags:
    """Bags on a device.

    Attributes: ``ids`` int32 (n,); ``offsets`` int64 (bags + 1,); ``scales`` float32 (bags,): what the sum of a bag's
    rows is multiplied by.
    """

    ids: torch.Tensor
    offsets: torch.Tensor
    scales: torch.Tensor

    @staticmethod
    def on(device: torch.device, ids: np.ndarray, offsets: np.ndarray, pooling: str, rows: int) -> Bags:
        """Bags as of :meth:`Vocabulary.bags`, for a table of ``rows`` rows.

        Errors: IndexError for an id past its end, ValueError for offsets that are none.
        """
        lengths = np.diff(offsets.astype(np.int64))
        if not len(offsets) or offsets[0] != 0 or offsets[-1] != len(ids) or (lengths < 0).any():
            raise ValueError("offsets must begin at 0, not fall, and end at the number of ids")
        if len(ids) and int(ids.max()) >= rows:
            raise IndexError(f"an id is past the end of the table, which has {rows} rows")
        scales = np.ones(len(lengths), np.float32)
        if pooling != "sum":
            counts = np.maximum(lengths, 1).astype(np.float32)
            scales /= counts if pooling == "mean" else np.sqrt(counts)
        return Bags(*(_sent(a, device) for a in (ids.view(np.int32), offsets.view(np.int64), scales)))

    def of_ids(self) -> torch.Tensor:
        """The bag of each id, int32 (n,)."""
        numbers = torch.arange(len(self.scales), dtype=torch.int32, device=self.ids.device)
        return torch.repeat_interleave(numbers, self.offsets.diff(), output_size=len(self.ids))


def _sent(array: np.ndarray, device: torch.device) -> torch.Tensor:
    tensor = torch.from_numpy(np.ascontiguousarray(array))
    # From pinned memory it goes over while the host goes on.
    return (tensor.pin_memory() if device.type == "cuda" else tensor).to(device, non_blocking=True)


@dataclass(frozen=True)
class OnDevice(Pieces):
    """A tensor on a device as a file has it; it goes through host memory some rows at a time."""

    tensor: torch.Tensor

    @property
    def dtype(self) -> np.dtype:
        """Type of a number."""
        return np.dtype(np.uint16 if self.tensor.dtype == torch.int16 else np.float32)

    @property
    def shape(self) -> tuple[int, ...]:
        """Of the tensor."""
        return tuple(self.tensor.shape)

    def get(self, rows: slice) -> np.ndarray:
        """A copy of some rows."""
        return self.tensor[rows].detach().cpu().numpy().view(self.dtype)

    def put(self, rows: slice, values: np.ndarray) -> None:
        """Set some rows."""
        signed = values.view(np.int16) if values.dtype == np.uint16 else values
        self.tensor.detach()[rows] = torch.from_numpy(signed).to(self.tensor.device)


def random_table(rows: int, width: int, scale: float, seed: int, kind: str, device: torch.device) -> torch.Tensor:
    """The numbers of :func:`sparsedistill.student.table.random_table`, on a device; the host never holds them all."""
    dtype = torch.float32 if TYPES[kind] == np.float32 else torch.int16
    table = torch.empty((rows, width), dtype=dtype, device=device)
    for place, numbers in random_rows(rows, width, scale, seed, kind):
        OnDevice(table).put(place, numbers)
    return table


def widened(table: torch.Tensor) -> torch.Tensor:
    """A table, or part of it, as float32."""
    return (table.to(torch.int32) << 16).view(torch.float32) if table.dtype == torch.int16 else table


def refuse(pooling: str, processes: int) -> None:
    """Errors: :class:`SettingsError` for what only the core does."""
    if not POOLINGS[pooling].on_gpu:  # others give the rows of a bag gradients of their own
        raise SettingsError(
            f"{pooling} pooling is trained on the CPU alone: --device cpu, or --pooling mean, sum or sqrtn"
        )
    if processes > 1:
        raise SettingsError("several processes train on the CPU alone: --device cpu, or one process without torchrun")


def free_memory(device: torch.device) -> int:
    """Bytes that can be had on a GPU, with what torch keeps of students that are gone."""
    gc.collect()
    torch.cuda.empty_cache()
    return torch.cuda.mem_get_info(device)[0]


def kernels(device: torch.device) -> type[Torch] | type[Triton]:
    """Who works on a device: Triton, or plain torch where that is not installed or lacks the C compiler it needs."""
    if not compiled.AVAILABLE:
        return Torch
    return Triton if _INTERPRETED or (device.type == "cuda" and _has_compiler()) else Torch


@lru_cache(maxsize=1)
def _has_compiler() -> bool:
    return any(map(shutil.which, (os.environ.get("CC", "cc"), "gcc", "clang")))


def pool(table: torch.Tensor, bags: Bags) -> torch.Tensor:
    """Pooled rows float32 (bags, d): zero for an empty bag."""
    return kernels(table.device).pool(table, bags)


class LazyAdam:
    """:class:`sparsedistill.student.table.LazyAdam` of a table on a device; ``arrays`` are tensors beside it."""

    def __init__(self, table: torch.Tensor):
        self.table = table
        self.arrays = {name: torch.zeros_like(table, dtype=torch.float32) for name in ("moment1", "moment2")}

    def step(
        self, bags: Bags, gradient: torch.Tensor, rate: float, step: int, threads: int = 1, seed: int = 0, *_: object
    ) -> None:
        """Update the rows of the bags in place from the gradient (bags, d) of what :func:`pool` made of them.

        ``threads`` and what comes after ``seed`` are the core's alone.
        """
        # In the types of the core, every bit of which this has to have.
        one, beta1, beta2 = np.float32(1), *map(np.float32, BETAS)
        correction1, correction2 = 1 - float(beta1) ** step, 1 - float(beta2) ** step
        size = np.float32(float(np.float32(rate)) * correction2**0.5 / correction1)
        numbers = float(size), float(one - beta1), float(one - beta2), float(np.float32(EPSILON))
        moments = self.arrays["moment1"], self.arrays["moment2"]
        by = kernels(self.table.device)
        by.adam(self.table, moments, bags, gradient.contiguous(), numbers, _start(seed, step))


class RowwiseAdagrad:
    """:class:`sparsedistill.student.table.RowwiseAdagrad` of a table on a device; ``arrays`` are tensors beside it."""

    def __init__(self, table: torch.Tensor):
        self.table = table
        self.arrays = {"squares": torch.zeros(len(table), device=table.device)}

    def step(
        self, bags: Bags, gradient: torch.Tensor, rate: float, step: int, threads: int = 1, seed: int = 0, *_: object
    ) -> None:
        """As :meth:`LazyAdam.step`."""
        numbers = float(np.float32(rate)), float(np.float32(EPSILON))
        by = kernels(self.table.device)
        by.adagrad(self.table, self.arrays["squares"], bags, gradient.contiguous(), numbers, _start(seed, step))


OPTIMIZERS: dict[str, type[LazyAdam] | type[RowwiseAdagrad]] = {"adam": LazyAdam, "adagrad": RowwiseAdagrad}


def _start(seed: int, step: int) -> int:
    """What the rounding of a step begins with: noise() of the core as far as it does not depend on the row."""
    product = ((seed & _WHOLE) ^ _K[0]) * (step ^ _K[1])
    return (product ^ product >> 64) & _WHOLE ^ _K[2]


def _segments(bags: Bags) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """All occurrences by row, and within one in the order of the bags: rows (n,), bags (n,), the rows' starts.

    The starts, int64, are as many as rows that occur, and the end.
    """
    ids, order = torch.sort(bags.ids, stable=True)
    new = torch.ones_like(ids, dtype=torch.bool)
    new[1:] = ids[1:] != ids[:-1]
    return ids, bags.of_ids()[order], torch.nn.functional.pad(new.nonzero().squeeze(1), (0, 1), value=len(ids))


# ---- Plain torch: what the kernels have to agree with --------------------------------------------------------------


class Torch:
    """The same in plain torch, at the price of a copy of a row for each of its occurrences in the batch.

    On a GPU its sums are taken in any order.
    """

    @staticmethod
    def pool(table: torch.Tensor, bags: Bags) -> torch.Tensor:
        """As :func:`pool`."""
        out = torch.zeros((len(bags.scales), table.shape[1]), device=table.device)
        return out.index_add_(0, bags.of_ids(), widened(table[_unsigned(bags.ids)])) * bags.scales[:, None]

    @staticmethod
    def _gradients(bags: Bags, gradient: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """The rows that occur, int64, and the gradient of each."""
        ids, of, starts = _segments(bags)
        row = torch.repeat_interleave(starts.diff(), output_size=len(ids))
        out = torch.zeros((len(starts) - 1, gradient.shape[1]), device=gradient.device)
        return _unsigned(ids[starts[:-1]]), out.index_add_(0, row, gradient[of] * bags.scales[of][:, None])

    @staticmethod
    def adam(
        table: torch.Tensor, moments: Tensors, bags: Bags, gradient: torch.Tensor, numbers: Floats, start: int
    ) -> None:
        """``numbers``: the size of the step, what each beta leaves to 1, epsilon; ``start``: of :func:`_start`."""
        size, rest1, rest2, epsilon = numbers
        rows, g = Torch._gradients(bags, gradient)
        m, v = moments[0][rows], moments[1][rows]
        m += (g - m) * rest1
        v += (g * g - v) * rest2
        moments[0][rows], moments[1][rows] = m, v
        Torch._put(table, rows, widened(table[rows]) - m * size / (v.sqrt() + epsilon), start)

    @staticmethod
    def adagrad(
        table: torch.Tensor, squares: torch.Tensor, bags: Bags, gradient: torch.Tensor, numbers: Floats, start: int
    ) -> None:
        """``numbers``: learning rate and epsilon."""
        rate, epsilon = numbers
        rows, g = Torch._gradients(bags, gradient)
        squares[rows] += (g * g).mean(1)
        sizes = rate / (squares[rows].sqrt() + epsilon)
        Torch._put(table, rows, widened(table[rows]) - sizes[:, None] * g, start)

    @staticmethod
    def _put(table: torch.Tensor, rows: torch.Tensor, values: torch.Tensor, start: int) -> None:
        if table.dtype == torch.int16:
            columns = torch.arange(table.shape[1], device=table.device)
            random = (_noise(start, rows)[:, None] + columns * _COLUMN) & _LOW
            random = ((random ^ random >> 16) * _MIX1) & _LOW
            random = ((random ^ random >> 15) * _MIX2) & _LOW
            bits = values.view(torch.int32).long() & _LOW
            finite = (bits & 0x7F800000) != 0x7F800000
            table[rows] = ((bits + (random >> 16) * finite) >> 16).to(torch.int16)
        else:
            table[rows] = values


def _unsigned(ids: torch.Tensor) -> torch.Tensor:
    return ids.long() & _LOW


def _noise(start: int, rows: torch.Tensor) -> torch.Tensor:
    """noise() of the core for each row: of a product of 128 bits the first and third 32, by parts of 32 bits."""
    mixed = rows ^ _K3_SIGNED
    a0, a1, b0, b1 = start & _LOW, start >> 32, mixed & _LOW, mixed >> 32 & _LOW
    low, high = b0 * a0, b1 * a1  # int64 goes round at 2^64, which leaves the bits right
    middle1, middle2 = b0 * a1, b1 * a0
    carry = ((low >> 32 & _LOW) + (middle1 & _LOW) + (middle2 & _LOW)) >> 32
    return (low ^ (high + (middle1 >> 32 & _LOW) + (middle2 >> 32 & _LOW) + carry)) & _LOW


# ---- Triton --------------------------------------------------------------------------------------------------------


class Triton:
    """The same by kernels, which write nothing but the result."""

    @staticmethod
    def pool(table: torch.Tensor, bags: Bags) -> torch.Tensor:
        """As :func:`pool`; a program for each bag and block of columns."""
        width, block = table.shape[1], min(_power_of_2(table.shape[1]), _BLOCK)
        out = torch.empty((len(bags.scales), width), device=table.device)
        grid = len(out), -(-width // block)
        Triton._launch(
            compiled.pool, grid, block, table, bags.ids, bags.offsets, bags.scales, out, width, _is_half(table)
        )
        return out

    @staticmethod
    def adam(
        table: torch.Tensor, moments: Tensors, bags: Bags, gradient: torch.Tensor, numbers: Floats, start: int
    ) -> None:
        """As :meth:`Torch.adam`; a program for each row that occurs and block of columns."""
        width, block = table.shape[1], min(_power_of_2(table.shape[1]), _BLOCK)
        ids, of, starts = _segments(bags)
        given = *moments, ids, of, starts, bags.scales, gradient, *numbers, *_halves(start)
        Triton._launch(
            compiled.adam, (len(starts) - 1, -(-width // block)), block, table, *given, width, _is_half(table)
        )

    @staticmethod
    def adagrad(
        table: torch.Tensor, squares: torch.Tensor, bags: Bags, gradient: torch.Tensor, numbers: Floats, start: int
    ) -> None:
        """As :meth:`Torch.adagrad`; a program for each row that occurs, since it needs all columns at once."""
        width = table.shape[1]
        ids, of, starts = _segments(bags)
        given = squares, ids, of, starts, bags.scales, gradient, *numbers, *_halves(start)
        Triton._launch(compiled.adagrad, (len(starts) - 1,), _power_of_2(width), table, *given, width, _is_half(table))

    @staticmethod
    def _launch(kernel: Any, grid: tuple[int, ...], block: int, table: torch.Tensor, *arguments: Any) -> None:
        if not all(grid):
            return
        # Four numbers a thread. A product and a sum are never fused: the core does not either.
        warps = min(max(block // 128, 1), 8)
        on_device: Any = torch.cuda.device_of  # which lets the host be, where Triton's interpreter runs
        with on_device(table):
            kernel[grid](table, *arguments, block, _AHEAD, num_warps=warps, enable_fp_fusion=False)


def _is_half(table: torch.Tensor) -> bool:
    return table.dtype == torch.int16


def _power_of_2(width: int) -> int:
    return 1 << max(width - 1, 0).bit_length()


def _halves(number: int) -> tuple[int, int]:
    """64 bits as two int32: a kernel is compiled for the type of an argument, which depends on its value."""
    low, high = (half - ((half & 1 << 31) << 1) for half in (number & _LOW, number >> 32))
    return low, high
