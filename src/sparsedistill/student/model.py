"""The student being trained: a deep averaging network over n-grams (Iyyer et al. 2015; Ye et al. 2022).

The table is not a torch parameter: its rows are updated in place by the core's lazy Adam, so that a step costs what
the batch touches and no second copy of the table is ever made.
"""

from __future__ import annotations

import copy
import os
from collections.abc import Callable, Iterator, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from torch import nn

from .. import _core
from ..format import Pieces, read_into
from ..pooling import POOLINGS
from ..standard import undone
from .parallel import ALONE, Group
from .table import initial_rows, random_table, widened

SPREAD = 0.3  # standard deviation of the table's first numbers


class Student(nn.Module):
    """``pooled table rows -> [W1] -> hidden layers -> logits``.

    ``embedding`` is the table's width before the factor W1 (the paper's d_e); 0 leaves W1 out and trains the table at
    the width of the first hidden layer (or of the classes, without hidden layers): the same function, since nothing
    non-linear stands between the table and W1 (but for the poolings with max).

    ``pairs``: two bags make one vector ``[a, b, a * b, |a - b|]`` for W1 (concatenate and compare).

    ``pooling``: mean, sum, sqrtn (the sum over the root of their number), max, mean+max (side by side, which needs W1),
    or attentive: the rows' sum, each with a weight that is the softmax over the bag of its product with a query that is
    learnt.

    In a ``group`` of processes the table has this one's columns, and every process has to call the same methods.

    ``device``: where table and layers are, and are trained by :mod:`sparsedistill.student.cuda`; None: in the memory of
    the host, where the core works on the table.

    ``scores``: the outputs that are scores (regression): they are of targets less a mean, by a scale, which
    :meth:`logits` and all that scores puts back. Such outputs begin with 0, the mean.

    Attributes: ``table`` (V, d), float32, or uint16 that holds the bits of bfloat16 (on a device a tensor, as
    :mod:`sparsedistill.student.cuda` has it); ``query`` (d,) of attentive pooling, or None; ``kind``
    (:class:`sparsedistill.pooling.Pooling`) of the pooling; ``pooled_width``: d, or 2 d; ``factor`` W1 and its bias, or
    None; ``bias`` (``first_width``,) where there is no W1; ``dense`` the layers after the first; ``classes`` C;
    ``standard`` that mean and scale, float64 (2,), or (2, C) where there are more outputs; None without scores.

    Errors: ValueError for mean+max or pairs without W1; :class:`SettingsError` for what a device cannot train.
    """

    def __init__(
        self,
        rows: int,
        classes: int,
        hidden: Sequence[int],
        embedding: int,
        dropout: float,
        seed: int,
        table: str = "float32",
        pooling: str = "mean",
        group: Group = ALONE,
        device: torch.device | None = None,
        pairs: bool = False,
        scores: Sequence[int] = (),
    ):
        super().__init__()
        kind = POOLINGS[pooling]
        if kind.needs_embedding and not embedding:
            raise ValueError(f"{pooling} pools to twice the table's width, which W1 has to bring together")
        if pairs and not embedding:
            raise ValueError("a pair is compared in four times the table's width, which W1 has to bring together")
        generator = torch.Generator().manual_seed(seed)
        widths = [*hidden, classes]
        self.embedding, self.first_width, self.classes = embedding, widths[0], classes
        width = embedding or widths[0]
        self.pooling, self.kind, self.pooled_width = pooling, kind, kind.width(width)
        # Bags average tens of rows: this scale makes pooled vectors of about unit size in training's first steps.
        scale = 0.0 if not hidden and not embedding else SPREAD
        self.width, self._group, self._columns = width, group, group.columns(width)
        self.device = device
        self.table = self._new_table(rows, scale, seed, table)
        self.dropout = nn.Dropout(dropout)
        self.query = nn.Parameter(torch.zeros(width)) if kind.weighted else None
        self.pairs = pairs
        self.factor = _linear(self.pooled_width * (4 if pairs else 1), widths[0], generator) if embedding else None
        self.bias = nn.Parameter(torch.zeros(widths[0])) if not embedding else None
        self.dense = nn.ModuleList(_linear(a, b, generator) for a, b in pairwise(widths))
        self.standard: np.ndarray | None = None
        if scores:
            self.standard = np.array([0.0, 1.0]) if classes == 1 else np.repeat([[0.0], [1.0]], classes, axis=1)
            self.forget(scores)
        if device is not None:
            self.to(device)

    @torch.no_grad()
    def forget(self, outputs: Sequence[int] = (0,)) -> None:
        """Set the last layer to zero where it makes these outputs, and so them."""
        last: Any = self.dense[-1] if len(self.dense) else self.factor
        for output in outputs:
            if last is not None:
                last.weight[output] = last.bias[output] = 0
                continue
            columns = range(self.width)[self._columns]
            self.table[:, [place for place, column in enumerate(columns) if column == output]] = 0
            cast(nn.Parameter, self.bias)[output] = 0

    def _new_table(self, rows: int, scale: float, seed: int, kind: str) -> Any:
        if self.device is None:
            return random_table(rows, self.width, scale, seed, kind, self._columns)
        from . import cuda  # Triton is loaded where it is wanted

        cuda.refuse(self.pooling, self._group.size)
        return cuda.random_table(rows, self.width, scale, seed, kind, self.device)

    def forward(self, pooled: torch.Tensor) -> torch.Tensor:
        """Logits (n, C) of pooled bags (n, d), or of pairs of them (2 n, d), one after the other."""
        if self.pairs:
            a, b = pooled[::2], pooled[1::2]
            pooled = torch.cat([a, b, a * b, (a - b).abs()], dim=1)
        x: torch.Tensor
        if self.factor is not None:
            x = self.factor(self.dropout(pooled))
        else:
            assert self.bias is not None
            x = pooled + self.bias
        for layer in self.dense:
            x = layer(self.dropout(torch.relu(x)))
        return x

    def initialise(self, embeddings: Callable[[], Iterator[tuple[int, np.ndarray]]], seed: int) -> None:
        """Fill the table from embeddings of its n-grams (:func:`sparsedistill.student.table.initial_rows`)."""
        kind = "float32" if self.table.dtype in (np.float32, torch.float32) else "bfloat16"
        for place, numbers in initial_rows(embeddings, self.width, SPREAD, seed, kind):
            if isinstance(whole := self.whole(self.table), Pieces):
                whole.put(place, numbers)
            else:
                whole[place] = numbers

    def new_pool(self) -> _core.Pool:
        """What :meth:`pool` leaves for the step to know."""
        return _core.Pool(self.pooling, None if self.query is None else self.query.detach().numpy())

    def bags(self, ids: np.ndarray, offsets: np.ndarray) -> Any:
        """Bags as of :meth:`Vocabulary.bags`, where the table is."""
        if self.device is None:
            return ids, offsets
        from . import cuda

        return cuda.Bags.on(self.device, ids, offsets, self.pooling, len(self.table))

    def pool(self, bags: Any, threads: int, pool: _core.Pool | None = None) -> torch.Tensor:
        """Pooled rows float32 (n, ``pooled_width``) of what :meth:`bags` gave."""
        if self.device is not None:
            from . import cuda

            return cuda.pool(self.table, bags)
        ids, offsets = bags
        parts = len(self.kind.parts)
        out = np.empty((len(offsets) - 1, parts * self.table.shape[1]), np.float32)
        _core.bag_pool(self.table, ids, offsets, pool or self.new_pool(), out, threads)
        if self._group.size > 1:
            wholes = [self._group.gather(np.ascontiguousarray(p), self.width) for p in np.hsplit(out, parts)]
            out = np.hstack(wholes)
        return torch.from_numpy(out)

    def own(self, gradient: torch.Tensor) -> Any:
        """Of a gradient (n, ``pooled_width``), what the table's optimiser takes: that of this process's columns."""
        if self.device is not None:
            return gradient
        if self._group.size == 1:
            return gradient.numpy()
        parts = len(self.kind.parts)
        return np.hstack([part[:, self._columns] for part in np.hsplit(gradient.numpy(), parts)])

    def weigher(self) -> Callable[[np.ndarray], np.ndarray]:
        """Attentive: a function from rows (n, d) to their weights (n, 1), the greatest of the table's being 1."""
        assert self.query is not None
        query = self.query.detach().numpy()
        starts = range(0, len(self.table), 65536)
        top = max((float((widened(self.table[i : i + 65536]) @ query).max()) for i in starts), default=0.0)
        return lambda rows: np.exp(rows @ query - np.float32(top))[:, None]

    @torch.no_grad()
    def logits(self, ids: np.ndarray, offsets: np.ndarray, threads: int, batch: int = 8192) -> np.ndarray:
        """Logits float32 (n, C) without dropout."""
        training = self.training
        self.eval()
        logits = self._in_batches(
            ids, offsets, batch, lambda some, starts: self(self.pool(self.bags(some, starts), threads))
        )
        self.train(training)
        return logits

    def _in_batches(
        self, ids: np.ndarray, offsets: np.ndarray, batch: int, score: Callable[[np.ndarray, np.ndarray], torch.Tensor]
    ) -> np.ndarray:
        """What ``score`` gives for bags (or pairs of them) in batches, put together."""
        parts = []
        batch *= 2 if self.pairs else 1
        for begin in range(0, len(offsets) - 1, batch):
            some = offsets[begin : begin + batch + 1]
            parts.append(score(ids[int(some[0]) : int(some[-1])], some - some[0]).cpu().numpy())
        logits = np.concatenate(parts) if parts else np.zeros((0, self.classes), np.float32)
        return logits if self.standard is None else undone(logits, *self.standard)

    def scorer(self, device: str) -> Callable[[np.ndarray, np.ndarray], np.ndarray]:
        """A function from bags to logits (as :meth:`logits`) that computes on ``device``, "cuda" for example.

        It holds a copy of all weights there. Bags are made by the core, on the CPU; 8,192 texts go over at a time.
        """
        if self.device is None:
            table = torch.from_numpy(widened(self.table)).to(device)
        else:
            from . import cuda

            table = cuda.widened(self.table).to(device, copy=True)
        network = copy.deepcopy(self, {id(self.table): self.table}).to(device).eval()  # without a copy of the table

        def pooled(ids: np.ndarray, starts: np.ndarray) -> torch.Tensor:
            bags = torch.from_numpy(ids.view(np.int32)).to(device)
            begins = torch.from_numpy(starts[:-1].astype(np.int32)).to(device)
            if network.query is None:
                modes = [m.replace("sqrtn", "sum") for m in self.kind.parts]
                pooled = torch.cat([nn.functional.embedding_bag(bags, table, begins, mode=m) for m in modes], dim=1)
                if self.pooling != "sqrtn":
                    return pooled
                lengths = torch.from_numpy(np.diff(starts).astype(np.float32)).to(device)
                return pooled / lengths.clamp(min=1).sqrt()[:, None]
            products = table[bags.long()] @ network.query
            of = torch.repeat_interleave(torch.from_numpy(np.diff(starts).astype(np.int64)).to(device))
            top = torch.full((len(starts) - 1,), -torch.inf, device=device).scatter_reduce(0, of, products, "amax")
            weights = torch.exp(products - top[of])
            weights /= torch.zeros(len(starts) - 1, device=device).index_add(0, of, weights)[of]
            return nn.functional.embedding_bag(bags, table, begins, mode="sum", per_sample_weights=weights)

        @torch.inference_mode()
        def score(ids: np.ndarray, offsets: np.ndarray, batch: int = 8192) -> np.ndarray:
            return self._in_batches(ids, offsets, batch, lambda some, starts: network(pooled(some, starts)))

        return score

    def whole(self, array: np.ndarray | torch.Tensor) -> np.ndarray | Pieces:
        """What a file has of an array of this process: one as wide as the table is but a part of it.

        What is not an array of the host, or not all of it, is read and written in pieces.
        """
        if isinstance(array, np.ndarray):
            return self._group.whole(array, self.width) if array.ndim == 2 else array
        if self.device is None:
            return array.detach().numpy()
        from . import cuda

        return cuda.OnDevice(array)

    def arrays(self) -> dict[str, np.ndarray | Pieces]:
        """All weights by name, as arrays that share memory with the student."""
        standard = {} if self.standard is None else {"standard": self.standard.view(np.uint64)}  # files lack float64
        return {"table": self.whole(self.table)} | {n: self.whole(p) for n, p in self.named_parameters()} | standard

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write all weights in the safetensors layout."""
        self._group.write(Path(path), self.arrays())

    def load(self, path: str | os.PathLike[str]) -> Student:
        """Read weights written by :meth:`save` for a student of the same shape."""
        read_into(path, self.arrays())
        return self


def _linear(inputs: int, outputs: int, generator: torch.Generator) -> nn.Linear:
    layer = nn.Linear(inputs, outputs)
    bound = (6 / (inputs + outputs)) ** 0.5  # Glorot and Bengio 2010
    with torch.no_grad():
        layer.weight.uniform_(-bound, bound, generator=generator)
        layer.bias.zero_()
    return layer
