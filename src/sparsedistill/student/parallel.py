"""Training in several processes, each with some of the table's columns: ``torchrun --nproc-per-node K``.

Pooling works on each column by itself, so a process pools its own columns of every text, all pooled vectors are
gathered, the dense layers are computed everywhere, and each process updates its columns (Ye et al. 2022 split their
table so). Files always hold the whole table: a checkpoint goes on with any number of processes.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from .. import progress
from ..errors import require
from ..format import Columns, write_tensors


class Group:
    """The processes that train together. Alone, every method gives back what it is given."""

    def __init__(self, rank: int = 0, size: int = 1):
        self.rank, self.size = rank, size

    @property
    def leads(self) -> bool:
        """Whether this process speaks and writes for all."""
        return self.rank == 0

    def columns(self, width: int) -> slice:
        """This process's columns of a table."""
        return slice(width * self.rank // self.size, width * (self.rank + 1) // self.size)

    def gather(self, part: np.ndarray, width: int) -> np.ndarray:
        """All ``width`` columns of rows of which each process has its own, (n, own)."""
        if self.size == 1:
            return part
        torch = require("torch", "train")
        widths = [width * (r + 1) // self.size - width * r // self.size for r in range(self.size)]
        padded = np.zeros((len(part), max(widths)), part.dtype)
        padded[:, : part.shape[1]] = part
        mine = torch.from_numpy(padded.view(np.uint8))
        parts = [torch.empty_like(mine) for _ in widths]
        torch.distributed.all_gather(parts, mine)
        return np.hstack([f.numpy().view(part.dtype)[:, :w] for f, w in zip(parts, widths, strict=True)])

    def whole(self, part: np.ndarray, width: int) -> np.ndarray | Columns:
        """A table for :mod:`sparsedistill.format`, of which each process has its columns."""
        if self.size == 1:
            return part
        return Columns(part, self.columns(width).start, width, lambda rows: self.gather(rows, width))

    def tell(self, *numbers: float) -> tuple[float, ...]:
        """The numbers that the leading process has given."""
        if self.size == 1:
            return numbers
        torch = require("torch", "train")
        tensor = torch.tensor(numbers, dtype=torch.float64)
        torch.distributed.broadcast(tensor, 0)
        return tuple(tensor.tolist())

    def announce(self, message: str) -> str:
        """The message that the leading process has given."""
        if self.size == 1:
            return message
        torch = require("torch", "train")
        size = int(self.tell(len(message.encode()))[0])
        tensor = torch.zeros(size, dtype=torch.uint8)
        if self.leads:
            tensor.numpy()[:] = list(message.encode())
        if size:
            torch.distributed.broadcast(tensor, 0)
        result: str = tensor.numpy().tobytes().decode()
        return result

    def share(self, tensors: list[Any]) -> None:
        """Give the leading process's numbers to all, in place."""
        if self.size > 1:
            torch = require("torch", "train")
            for tensor in tensors:
                torch.distributed.broadcast(tensor, 0)

    def write(self, path: Path, tensors: Mapping[str, Any], metadata: Mapping[str, str] | None = None) -> None:
        """:func:`write_tensors`, by the leading process, of what all have."""
        if self.leads:
            write_tensors(path, tensors, metadata)
        else:
            for array in tensors.values():
                if isinstance(array, Columns):
                    for _ in array.pieces():
                        pass
        self.tell(0.0)  # nobody reads, or goes on, before it is there


ALONE = Group()


@contextlib.contextmanager
def joined() -> Iterator[Group]:
    """The group that torchrun has started this process for, or :data:`ALONE`. Only its leading process speaks."""
    if int(os.environ.get("WORLD_SIZE", "1")) < 2:
        yield ALONE
        return
    distributed = require("torch.distributed", "train")
    distributed.init_process_group("gloo")
    group = Group(distributed.get_rank(), distributed.get_world_size())
    progress.silent = not group.leads
    try:
        yield group
    finally:
        progress.silent = False
        distributed.destroy_process_group()
