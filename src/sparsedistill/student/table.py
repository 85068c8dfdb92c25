"""The table in training: its number types, and the optimisers that touch only the rows of a batch."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from .. import _core

BETAS, EPSILON = (0.9, 0.98), 1e-6  # the paper's
# numpy has no bfloat16: its bits stand for it.
TYPES: dict[str, np.dtype] = {"float32": np.dtype(np.float32), "bfloat16": np.dtype(np.uint16)}

Bags = tuple[np.ndarray, np.ndarray]  # ids, offsets, as of Vocabulary.bags


class _InPlace:
    """An optimiser of the core: ``arrays``, what a checkpoint keeps of it, is what a subclass makes of it."""

    table: np.ndarray
    arrays: dict[str, np.ndarray]
    _kernel: Callable[..., None]
    _constants: tuple[float, ...]

    def _state(self) -> tuple[np.ndarray, ...]:
        """What the kernel takes after the table."""
        return tuple(self.arrays.values())

    def step(
        self,
        bags: Bags,
        gradient: np.ndarray,
        rate: float,
        step: int,
        threads: int = 1,
        seed: int = 0,
        pool: _core.Pool | None = None,
        first: int = 0,
    ) -> None:
        """Update the rows of the bags (ids, offsets) in place from the gradient (n, width) of what ``pool`` made of
        them, their means where it is None.

        ``step`` begins at 1; with ``seed`` it decides how bfloat16 is rounded. ``first``: the number of the first
        column, in a table of which others have the rest.
        """
        given = *self._state(), *bags, gradient, rate, *self._constants
        self._kernel(self.table, *given, step, threads, seed, pool, first)


class LazyAdam(_InPlace):
    """Adam whose moments move only where there is a gradient, as torch's SparseAdam: the paper's.

    Attributes: ``arrays``: the moments, float32 (V, d) each.
    """

    _kernel, _constants = staticmethod(_core.bag_adam), (*BETAS, EPSILON)

    def __init__(self, table: np.ndarray):
        self.table = table
        self.arrays = {name: np.zeros(table.shape, np.float32) for name in ("moment1", "moment2")}

    @staticmethod
    def bytes(rows: int, width: int) -> int:
        """Memory of the state."""
        return 8 * rows * width


class RowwiseAdagrad(_InPlace):
    """Adagrad with one number of state a row: the sum of its gradients' mean squares (Mudigere et al. 2022).

    Its tables have all their columns. Attributes: ``arrays``: that number, float32 (V,).
    """

    _kernel, _constants = staticmethod(_core.bag_adagrad), (EPSILON,)

    def __init__(self, table: np.ndarray):
        self.table = table
        self.arrays = {"squares": np.zeros(len(table), np.float32)}

    @staticmethod
    def bytes(rows: int, width: int) -> int:
        """Memory of the state."""
        return 4 * rows


class Sgd(_InPlace):
    """Plain gradient descent; a linear student's, which needs no state.

    ``rates``: float32 (V, k), factors of the learning rate: of each row one for the columns up to each of ``ends``,
    uint32 (k,).
    """

    _kernel, _constants = staticmethod(_core.bag_sgd), ()

    def __init__(self, table: np.ndarray, rates: np.ndarray, ends: np.ndarray):
        self.table, self.rates, self.ends, self.arrays = table, rates, ends, {}

    def _state(self) -> tuple[np.ndarray, ...]:
        return self.rates, self.ends

    @staticmethod
    def bytes(rows: int, width: int) -> int:
        """Memory of the rates of one head."""
        return 4 * rows


# Made of a table; sgd of one, its rates and their ends.
OPTIMIZERS: dict[str, Any] = {"adam": LazyAdam, "adagrad": RowwiseAdagrad, "sgd": Sgd}


def random_table(
    rows: int, width: int, scale: float, seed: int, kind: str = "float32", columns: slice = slice(None)
) -> np.ndarray:
    """Normal numbers of this standard deviation, (rows, width), or ``columns`` of them.

    Made in pieces, so that nothing but it takes memory.
    """
    table = np.empty((rows, len(range(width)[columns])), TYPES[kind])
    for place, part in random_rows(rows, width, scale, seed, kind, columns):
        table[place] = part
    return table


def random_rows(
    rows: int, width: int, scale: float, seed: int, kind: str = "float32", columns: slice = slice(None)
) -> Iterator[tuple[slice, np.ndarray]]:
    """The same in pieces: which rows, and their numbers."""
    generator = np.random.default_rng(seed)
    piece = max(1, (1 << 20) // max(width, 1))
    for begin in range(0, rows, piece):
        place = slice(begin, min(begin + piece, rows))
        numbers = generator.standard_normal((place.stop - begin, width), np.float32)[:, columns] * np.float32(scale)
        yield place, numbers if kind == "float32" else narrowed(numbers)


def initial_rows(
    embeddings: Callable[[], Iterator[tuple[int, np.ndarray]]],
    width: int,
    scale: float,
    seed: int,
    kind: str = "float32",
) -> Iterator[tuple[slice, np.ndarray]]:
    """A table (V, ``width``) made from other vectors of its rows, centred and of this deviation: as
    :func:`random_rows`.

    ``embeddings()`` gives (first row, float32 (n, h)) and is gone through twice. Where h is not the width, they
    are projected at random, which keeps their distances (Johnson and Lindenstrauss 1984).
    """
    count, total, squares = 0, np.zeros(()), np.zeros(())
    for _, part in embeddings():
        count, total = count + len(part), total + part.sum(axis=0, dtype=np.float64)
        squares = squares + np.square(part, dtype=np.float64).sum(axis=0)
    mean = total / max(count, 1)
    size = np.sqrt(np.mean(squares / max(count, 1) - mean**2))
    factor = np.float32(scale / size if size > 0 else 0.0)
    projection: np.ndarray | None = None
    for begin, part in embeddings():
        if projection is None:
            wide = part.shape[1]
            projection = np.eye(wide, dtype=np.float32)
            if wide != width:
                projection = np.random.default_rng(seed).standard_normal((wide, width), np.float32) / np.sqrt(wide)
            projection = projection.astype(np.float32) * factor
        numbers = (part - mean.astype(np.float32)) @ projection
        yield slice(begin, begin + len(part)), numbers if kind == "float32" else narrowed(numbers)


def narrowed(numbers: np.ndarray) -> np.ndarray:
    """float32 as the bits of bfloat16, to the nearest, of two as near the even one."""
    bits = np.ascontiguousarray(numbers, np.float32).view(np.uint32)
    return ((bits + 0x7FFF + (bits >> 16 & 1)) >> 16).astype(np.uint16)


def widened(table: np.ndarray) -> np.ndarray:
    """A table, or part of it, as float32."""
    return (table.astype(np.uint32) << 16).view(np.float32) if table.dtype == np.uint16 else table
