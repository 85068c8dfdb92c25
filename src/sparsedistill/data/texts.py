"""The texts of a run, as they are prepared once and read by every stage: ``texts/PART.parquet``.

Each is without texts of dev and test, where it is learnt from. Its columns::

    text, second       the text, or both texts of a pair
    target             its gold label: a class index, a 0 or 1 for each class, or a score
    scores             what the teacher's column says of it: a number for each class
    weight             of train, where there are weights
    source, row        where it stands: the file, and the line or row in it

Row groups have :data:`BLOCK` texts: they are the blocks that training reads in a seeded order.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import require
from ..format import read_json, replacing
from ..settings import Settings
from ..several import Several
from . import pairs, weights
from .labelled import Labelled
from .parts import Parts
from .records import Places

BLOCK = 4096  # texts a row group
BATCH = 8192  # texts that are read at a time
FACTS = "data.json"


class Writer:
    """Writes a part, in a ``with`` block: the file is there when all of it is.

    ``path``: its name. ``numbers``: the columns beside text and place, by name: their dtype, and their width (0: one
    number a text).
    """

    def __init__(self, path: Path, numbers: dict[str, tuple[Any, int]], are_pairs: bool = False):
        self.path, self.texts = path, 0
        self._pa, self._parquet = require("pyarrow", "train"), require("pyarrow.parquet", "train")
        self._are_pairs = are_pairs
        pa = self._pa
        held = {name: pa.from_numpy_dtype(np.dtype(dtype)) for name, (dtype, _) in numbers.items()}
        fields = [("text", pa.large_string()), *([("second", pa.large_string())] if are_pairs else [])]
        fields += [(name, pa.list_(held[name], width) if width else held[name]) for name, (_, width) in numbers.items()]
        self._schema = pa.schema([*fields, ("source", pa.string()), ("row", pa.int64())])
        self._numbers = numbers
        # Of each column a state that does not depend on how the texts came in batches.
        strings = ("text", "second")[: 1 + are_pairs]
        hashed = [*strings, *(f"{name} lengths" for name in strings), *numbers]
        self._states = {name: hashlib.blake2b(digest_size=16) for name in hashed}
        self._waiting: list[Any] = []
        self._replacing = replacing(path)

    def __enter__(self) -> Writer:
        self._sink = self._parquet.ParquetWriter(
            self._replacing.__enter__(), self._schema, compression="zstd", compression_level=1,
            use_dictionary=["source"], column_encoding={"row": "DELTA_BINARY_PACKED"}, write_statistics=False,
        )  # fmt: skip
        return self

    def __exit__(self, *error: Any) -> None:
        try:
            if error[0] is None:
                self._write(self._rows)
        finally:
            self._sink.close()
        self._replacing.__exit__(*error)

    def add(self, texts: Any, places: Places, **numbers: np.ndarray | None) -> None:
        """Write texts, a list or an Arrow array of large_string (pairs as of :mod:`pairs`), where they stand, and their
        numbers: (n,) or (n, width) a column; None for those that it has not.
        """
        if not len(places):
            return
        pa = self._pa
        halves = zip(*pairs.split(texts), strict=True) if self._are_pairs else [texts]
        strings = [half if isinstance(half, pa.Array) else pa.array(half, pa.large_string()) for half in halves]
        for name, half in zip(("text", "second"), strings, strict=False):
            self._count(name, half)
        columns = strings
        for name, (dtype, width) in self._numbers.items():
            values = np.ascontiguousarray(numbers[name], dtype)
            self._states[name].update(values.data)
            flat = pa.array(values.reshape(-1))
            columns.append(pa.FixedSizeListArray.from_arrays(flat, width) if width else flat)
        self._waiting.append(pa.record_batch([*columns, *places.columns()], schema=self._schema))
        self.texts += len(places)
        if self._rows >= 4 * BLOCK:
            self._write(self._rows - self._rows % BLOCK)

    @property
    def _rows(self) -> int:
        """Texts that wait to be written."""
        return sum(batch.num_rows for batch in self._waiting)

    def _count(self, name: str, strings: Any) -> None:
        """Add strings to the fingerprint."""
        offsets = np.frombuffer(strings.buffers()[1], np.int64)[strings.offset : strings.offset + len(strings) + 1]
        self._states[f"{name} lengths"].update(np.diff(offsets).data)
        if (data := strings.buffers()[2]) is not None:
            self._states[name].update(memoryview(data)[offsets[0] : offsets[-1]])

    def _write(self, rows: int) -> None:
        if rows:
            table = self._pa.Table.from_batches(self._waiting, self._schema)
            self._sink.write_table(table.slice(0, rows), row_group_size=BLOCK)
            self._waiting = table.slice(rows).to_batches()

    def facts(self) -> dict[str, Any]:
        """How many texts were written, and fingerprints: of them with their targets, of scores, and of weights."""
        digests = {name: state.hexdigest() for name, state in self._states.items()}
        beside: dict[str, Any] = {name: digests.pop(name) for name in ("scores", "weight") if name in digests}
        whole = hashlib.blake2b(repr(sorted(digests.items())).encode(), digest_size=16).hexdigest()
        return {"texts": self.texts, "fingerprint": whole, **beside}


class Texts(Parts):
    """The prepared texts of a run, in the folder ``directory``; train, dev and test stay in memory once read.

    ``facts``: their sizes and fingerprints, as :meth:`~sparsedistill.data.prepare.Sources.prepare` wrote them.
    """

    def __init__(self, directory: Path, settings: Settings):
        self.directory, self.settings = directory, settings
        self.facts: dict[str, Any] = read_json(directory / FACTS)

    @property
    def labels(self) -> tuple[str, ...]:
        """Label names in the order of the classes."""
        return tuple(self.facts["labels"])

    @cached_property
    def several(self) -> Several | None:
        """The heads as one task, where there are several."""
        asked = self.settings.heads
        return Several.of(asked, self.facts["heads"]) if asked else None

    def path(self, part: str) -> Path:
        """The file of ``train``, ``dev``, ``test``, ``corpus`` or ``crops``."""
        return self.directory / f"{part}.parquet"

    def texts(self, part: str) -> Iterator[list[str]]:
        """The texts of a part in their order, batch by batch; pairs as of :mod:`pairs`."""
        return (texts_of(batch) for batch in self._batches(part, "text", "second"))

    def arrays(self, part: str) -> Iterator[Any]:
        """The texts of a part as Arrow arrays; of pairs the first ones of a batch, then the second ones."""
        for batch in self._batches(part, "text", "second"):
            yield from batch.columns

    def placed(self, part: str) -> Iterator[tuple[list[str], np.ndarray | None, Places]]:
        """The texts of a part, the scores (n, C) that stand beside them, if any, and where they stand."""
        for batch in self._batches(part, "text", "second", "scores", "source", "row"):
            yield texts_of(batch), numbers_of(batch, "scores"), places_of([batch])

    @cached_property
    def train(self) -> Labelled | None:
        """Labelled training texts, without held-out ones and without texts of dev or test."""
        return self._labelled("train") if self.settings.data.train else None

    @cached_property
    def dev(self) -> Labelled | None:
        """Labelled texts to choose on: those given, else the held-out part of train; without texts of test."""
        return self._labelled("dev") if self.has_dev else None

    @cached_property
    def test(self) -> Labelled | None:
        """Labelled texts to report on."""
        return self._labelled("test") if self.settings.data.test else None

    def _labelled(self, part: str) -> Labelled:
        batches = [*self._batches(part, "text", "second", "target", "weight", "source", "row")]
        texts = [text for batch in batches for text in texts_of(batch)]
        targets, given = ([numbers_of(batch, name) for batch in batches] for name in ("target", "weight"))
        extra = {} if given[0] is None else {self.settings.data.weight: np.concatenate(given).tolist()}
        return Labelled(texts, np.concatenate(targets), self.labels, extra, places_of(batches), several=self.several)

    @cached_property
    def sample_weights(self) -> np.ndarray | None:
        """Weights of the texts of train, float32 (n, 1), averaging to 1, where a column has them."""
        column = self.settings.data.weight
        return weights.sample_weights(self.part("train").extra[column], column) if column else None

    @cached_property
    def gold_weights(self) -> np.ndarray | None:
        """Weights of what the gold labels of train teach, float32 (n, 1) or (n, C), where there are any."""
        data, train = self.settings.data, self.part("train")
        classes = weights.class_weights(data.class_weights, train.labels, self.settings.task)
        return weights.gold_weights(train.targets, train.labels, classes, self.sample_weights)

    def _batches(self, part: str, *wanted: str) -> Iterator[Any]:
        return batches(self.path(part), *wanted)


def opened(path: Path) -> Any:
    """The Parquet file of a part, open."""
    return require("pyarrow.parquet", "train").ParquetFile(path, pre_buffer=False, read_dictionary=["source"])


def batches(path: Path, *wanted: str) -> Iterator[Any]:
    """Arrow record batches of the file of a part, with those of the ``wanted`` columns that it has."""
    with opened(path) as file:
        there = [name for name in file.schema_arrow.names if name in wanted]
        yield from file.iter_batches(BATCH, columns=there)


def texts_of(batch: Any) -> list[str]:
    """The texts of a record batch; pairs as of :mod:`pairs`."""
    texts: list[str] = batch.column("text").to_pylist()
    return pairs.joined(texts, batch.column("second").to_pylist()) if "second" in batch.schema.names else texts


def numbers_of(batch: Any, name: str) -> Any:
    """A column of numbers, (n,) or (n, width), or None where there is no such column."""
    if name not in batch.schema.names:
        return None
    column = batch.column(name)
    if not hasattr(column.type, "list_size"):
        return np.asarray(column.to_numpy())
    return np.asarray(column.flatten()).reshape(len(column), column.type.list_size)


def places_of(batches: Sequence[Any]) -> Places:
    """Where the texts of record batches stand."""
    parts: list[tuple[str, Sequence[int]]] = []
    for batch in batches:
        source, rows = batch.column("source"), batch.column("row").to_numpy()
        named, of = source.dictionary.to_pylist(), source.indices.to_numpy()
        ends = [*(np.flatnonzero(np.diff(of)) + 1), len(of)] if len(of) else []
        begin = 0
        for end in ends:  # texts of one file stand together
            parts.append((named[of[begin]], rows[begin:end]))
            begin = end
    return Places(parts)
