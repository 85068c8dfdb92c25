"""What a student learns from: texts with targets, in blocks on disk or in memory, in an order that a number names.

The order is a pure function of (seed, epoch, position): blocks are shuffled, and the texts of some blocks at a time (a
window) are shuffled among themselves. So memory holds two windows and never the corpus, a checkpoint holds a step and
no buffer, and a set that fits one window is shuffled as a whole. The next window is read while one is learnt from.
"""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from .. import _core
from ..data import texts
from .vocabulary import Vocabulary

WINDOW = 1 << 16  # texts shuffled among themselves: of long ones, two windows take half a gigabyte


@dataclass(frozen=True)
class Batch:
    """Bags and the targets they are trained on: ``ids``, ``offsets`` as in :meth:`Vocabulary.bags`.

    A pair of texts is two bags, one after the other, with one target.
    ``targets`` (n, C): float32 probabilities (single: rows sum to one; multi: each its own) or float64 scores
    (regression). ``weights`` float32 (n, 1), or (n, C) for multi: of the losses; None: all are 1.
    """

    ids: np.ndarray
    offsets: np.ndarray
    targets: np.ndarray
    weights: np.ndarray | None = None

    def __len__(self) -> int:
        return len(self.targets)

    def bags_at(self, which: np.ndarray) -> np.ndarray:
        """Numbers of the bags of the texts at ``which``."""
        each = (len(self.offsets) - 1) // max(len(self.targets), 1)
        return which if each == 1 else (which[:, None] * each + np.arange(each)).reshape(-1)

    def take(self, which: np.ndarray, drop: float = 0.0, seed: int = 0, step: int = 0, place: int = 0) -> Batch:
        """Those at ``which``, each n-gram left out with the chance ``drop``.

        What is left out is a function of (seed, step, number of the n-gram in the batch); ``place`` is the first's.
        """
        bags = self.bags_at(np.asarray(which, np.int64))
        taken = _core.take_bags(self.ids, self.offsets, bags, drop, seed, step, place)
        return Batch(*taken, self.targets[which], None if self.weights is None else self.weights[which])

    @staticmethod
    def joined(parts: Sequence[Batch]) -> Batch:
        """All of them, one after the other."""
        if len(parts) == 1:
            return parts[0]
        lengths = np.concatenate([np.zeros(1, np.uint64), *[np.diff(part.offsets) for part in parts]])
        return Batch(
            np.concatenate([part.ids for part in parts]),
            np.cumsum(lengths, dtype=np.uint64),
            np.concatenate([part.targets for part in parts]),
            _joined_weights(parts),
        )


def _joined_weights(parts: Sequence[Batch]) -> np.ndarray | None:
    if all(part.weights is None for part in parts):
        return None
    return np.concatenate(
        [np.ones((len(part), 1), np.float32) if part.weights is None else part.weights for part in parts]
    )


@dataclass(frozen=True)
class Featuriser:
    """How the texts of a block become bags in training.

    ``forget``: share of the words that are taken for unknown, so that their characters learn (the vocabulary's are then
    of unknown words); each has a typo, for most unknown words are known ones with one. Which, is a function of
    (``seed``, epoch, block).
    """

    vocabulary: Vocabulary
    threads: int
    forget: float = 0.0
    seed: int = 0

    def __call__(
        self, given: Any, epoch: int, block: int, forget: float | None = None
    ) -> tuple[np.ndarray, np.ndarray]:
        """``ids``, ``offsets`` as in :meth:`Vocabulary.bags`; ``forget``: another share of the words, without typos."""
        share = self.forget if forget is None else forget
        if not share:
            return self.vocabulary.bags(given, self.threads)
        seed = int(np.random.default_rng([self.seed, 4, epoch, block]).integers(1 << 62))
        return self.vocabulary.bags(given, self.threads, share, seed, mistype=forget is None)


class Blocks(Protocol):
    """Texts with targets in blocks that can be had in any order; ``sizes``: texts of each.

    ``forget``: share of the words that are taken for unknown, others in each epoch; 0: bags stay the same.
    """

    sizes: list[int]
    forget: float

    def load(self, index: int, epoch: int = 0, forget: float | None = None) -> Batch:
        """A block; ``forget``: another share of the words, where any are taken for unknown; then without typos."""
        ...

    def targets(self) -> Iterator[np.ndarray]:
        """Those of all blocks, one after the other."""
        ...


class InMemory:
    """One block that is at hand."""

    forget = 0.0

    def __init__(self, batch: Batch):
        self._batch, self.sizes = batch, [len(batch)]

    def load(self, index: int, epoch: int = 0, forget: float | None = None) -> Batch:
        """All there is."""
        return self._batch

    def targets(self) -> Iterator[np.ndarray]:
        """All there are."""
        yield self._batch.targets


class TextsInMemory:
    """One block of texts that are at hand, featurised anew in each epoch. A pair of texts is two texts."""

    def __init__(self, given: Sequence[str], targets: np.ndarray, weights: np.ndarray | None, featurise: Featuriser):
        self._texts, self._targets, self._weights, self._featurise = given, targets, weights, featurise
        self.sizes, self.forget = [len(targets)], featurise.forget

    def load(self, index: int, epoch: int = 0, forget: float | None = None) -> Batch:
        """All there is."""
        return Batch(*self._featurise(self._texts, epoch, index, forget), self._targets, self._weights)

    def targets(self) -> Iterator[np.ndarray]:
        """All there are."""
        yield self._targets


@dataclass(frozen=True)
class Part:
    """Prepared texts with targets: ``targets`` gives those of the texts ``begin`` to ``end``, (end - begin, C), as
    :class:`Batch` has them; ``weights`` float32 (n, 1) of the losses of all texts, if any.
    """

    path: Path
    targets: Callable[[int, int], np.ndarray]
    weights: np.ndarray | None = None


class OnDisk:
    """Row groups of prepared texts (:mod:`sparsedistill.data.texts`), featurised as they are read.

    ``parts``: one may be named several times; its texts then are there as often. ``forget``, ``seed``: those of
    :class:`Featuriser`.
    """

    def __init__(
        self,
        parts: Sequence[Part],
        vocabulary: Vocabulary,
        threads: int,
        are_pairs: bool = False,
        forget: float = 0.0,
        seed: int = 0,
    ):
        self._featurise, self._are_pairs = Featuriser(vocabulary, threads, forget, seed), are_pairs
        self.forget = forget
        self._blocks: list[tuple[Part, Any, int, int, int]] = []  # part, its file, row group, its texts
        files = {part.path: texts.opened(part.path) for part in parts}
        for part in parts:
            metadata, begin = files[part.path].metadata, 0
            for group in range(metadata.num_row_groups):
                end = begin + metadata.row_group(group).num_rows
                self._blocks.append((part, files[part.path], group, begin, end))
                begin = end
        self.sizes = [end - begin for *_, begin, end in self._blocks]

    def load(self, index: int, epoch: int = 0, forget: float | None = None) -> Batch:
        """A row group, featurised."""
        part, file, group, begin, end = self._blocks[index]
        columns = ["text", "second"] if self._are_pairs else ["text"]
        table = file.read_row_group(group, columns)
        given = table["text"]
        if self._are_pairs:
            halves = zip(given.to_pylist(), table["second"].to_pylist(), strict=True)
            given = [half for pair in halves for half in pair]
        weights = None if part.weights is None else part.weights[begin:end]
        return Batch(*self._featurise(given, epoch, index, forget), part.targets(begin, end), weights)

    def targets(self) -> Iterator[np.ndarray]:
        """Those of all row groups, read without the texts."""
        return (part.targets(begin, end) for part, _, _, begin, end in self._blocks)


class Order:
    """Which texts are learnt from at which position, ``sizes`` being those of the blocks."""

    def __init__(self, sizes: Sequence[int], seed: int, window: int = WINDOW):
        self.sizes, self.seed, self.window = np.asarray(sizes, np.int64), seed, window
        self.texts = int(self.sizes.sum())

    def windows(self, epoch: int) -> list[np.ndarray]:
        """The blocks of each window of an epoch, windows in the order in which they come, blocks by their numbers."""
        blocks = np.random.default_rng([self.seed, 1, epoch]).permutation(len(self.sizes))
        before = np.cumsum(self.sizes[blocks]) - self.sizes[blocks]
        begins = [0]
        if not epoch and self.texts > self.window:
            # Training begins when one block is read, and each window gives the time to read one twice as large.
            size = int(self.sizes.max())
            while size < self.window and begins[-1] + size < self.texts:
                begins.append(begins[-1] + size)
                size *= 2
        # The others are equally large: behind a small one training would wait.
        left = self.texts - begins[-1]
        several = -(-left // self.window)
        begins += [begins[-1] + left * i // several for i in range(1, several)]
        number = np.searchsorted(begins, before, side="right")
        return [np.sort(part) for part in np.split(blocks, np.flatnonzero(np.diff(number)) + 1)]

    def within(self, epoch: int, window: int, texts: int) -> np.ndarray:
        """The order of a window's texts, counted from its first block's first."""
        return np.random.default_rng([self.seed, 2, epoch, window]).permutation(texts)


class Loader:
    """Steps ``first`` to ``last`` of training, made by threads ahead of the one that trains.

    ``waited``: seconds that the training thread has waited for them. To be used in a ``with`` block.
    """

    def __init__(
        self, blocks: Blocks, order: Order, batch_size: int, drop: float, first: int, last: int, ahead: int = 3
    ):
        self._blocks, self._order, self._size, self._drop = blocks, order, batch_size, drop
        self._first, self._last = first, last
        self.waited = 0.0
        self._windows = _Ahead(self._read(), 1)
        self._batches = _Ahead(self._make(), ahead)

    def __enter__(self) -> Loader:
        return self

    def __exit__(self, *_: object) -> None:
        self._batches.close()
        self._windows.close()

    def __iter__(self) -> Iterator[Batch]:
        batches = iter(self._batches)
        while True:
            start = time.perf_counter()
            batch = next(batches, None)
            self.waited += time.perf_counter() - start
            if batch is None:
                return
            yield batch

    def _read(self) -> Iterator[tuple[Batch, np.ndarray]]:
        """Windows with the order of their texts, less what lies before the first step."""
        epoch, skip = divmod((self._first - 1) * self._size, self._order.texts)
        read: list[int] = []
        window: Batch | None = None
        while True:
            for number, blocks in enumerate(self._order.windows(epoch)):
                size = int(self._order.sizes[blocks].sum())
                if skip < size:
                    again = read != blocks.tolist() or self._blocks.forget
                    if window is None or again:  # a small set is one window, epoch after epoch
                        window = None  # not to hold three
                        read = blocks.tolist()
                        window = Batch.joined([self._blocks.load(i, epoch) for i in read])
                    yield window, self._order.within(epoch, number, size)[skip:]
                skip = max(0, skip - size)
            epoch += 1

    def _make(self) -> Iterator[Batch]:
        windows, places = iter(self._windows), np.zeros(0, np.int64)
        window: Batch | None = None
        for step in range(self._first, self._last + 1):
            parts: list[Batch] = []
            missing, place = self._size, 0
            while missing:
                if not len(places):
                    window, places = next(windows)
                assert window is not None
                which, places = places[:missing], places[missing:]
                parts.append(window.take(which, self._drop, self._order.seed, step, place))
                missing -= len(which)
                place += int(np.diff(window.offsets)[window.bags_at(which)].sum())
            yield Batch.joined(parts)


class _Ahead:
    """The items of an iterator, made by a thread of its own, ``most`` of them ahead of who reads them.

    No item is begun before there is room for it. An error of the iterator is raised where it is read.
    """

    def __init__(self, items: Iterator[Any], most: int):
        self._items, self._room = items, threading.Semaphore(most)
        self._made: queue.SimpleQueue[Any] = queue.SimpleQueue()
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _run(self) -> None:
        error: BaseException | None = None
        try:
            while True:
                while not self._room.acquire(timeout=0.1):
                    if self._stop.is_set():
                        return
                if self._stop.is_set():
                    return
                self._made.put((True, next(self._items)))
        except StopIteration:
            pass
        except BaseException as raised:
            error = raised
        self._made.put((False, error))

    def __iter__(self) -> Iterator[Any]:
        while True:
            try:
                more, item = self._made.get(timeout=0.1)
            except queue.Empty:
                if self._stop.is_set() and not self._thread.is_alive():
                    return
                continue
            if not more:
                if item is not None:
                    raise item
                return
            self._room.release()
            yield item

    def close(self) -> None:
        """Let the thread end, and wait until it has."""
        self._stop.set()
        self._thread.join()
