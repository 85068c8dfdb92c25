"""Texts that are given as Python objects: written to a Parquet file, which a run reads as any other."""

from __future__ import annotations

import itertools
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import DataError, require
from ..format import replacing

_BATCH = 1 << 16  # texts of a generator that are written at a time


@dataclass(frozen=True)
class Columns:
    """Names of the columns of text, labels (one, or one a class), second text of a pair, and weight ("": none).

    ``optional``: columns that records may lack.
    """

    text: str
    label: tuple[str, ...]
    pair: str
    weight: str
    optional: tuple[str, ...] = ()


def sources(value: Any, path: Path, columns: Columns, part: str, beside: Mapping[str, Any]) -> list[str]:
    """The files of a part: those that ``value`` names, or ``path``, to which it is written.

    ``beside``: further columns by name, as long as the texts. What is the same as in ``path`` already is not written
    again, so that a run does not take it for new.

    Errors: :class:`DataError` for what is neither texts nor files, and for columns of unequal length.
    """
    if isinstance(value, str | os.PathLike):
        value = [Path(value)]
    if isinstance(value, list | tuple) and value and all(isinstance(one, os.PathLike) for one in value):
        if beside:
            raise DataError(
                f"scores were given for {part}, whose texts are files: give texts, or teacher='column:NAME'"
            )
        return [os.fspath(one) for one in value]
    if isinstance(value, list) and 0 < len(value) <= 1000 and all(_is_file(one) for one in value):
        raise DataError(
            f"{part} is a list of str, which are texts, but each is the name of a file ({value[0]!r}): give "
            "pathlib.Path objects for files"
        )
    pa, parquet = require("pyarrow", "train"), require("pyarrow.parquet", "train")
    tables = _tables(pa, value, columns, part)
    if beside:
        tables = iter([_widened(pa, pa.concat_tables(tables), beside, part)])
    with replacing(path) as temporary:
        writer = None
        for table in tables:
            writer = writer or parquet.ParquetWriter(temporary, table.schema, compression="zstd", compression_level=1)
            writer.write_table(table.cast(writer.schema), row_group_size=_BATCH)
        if writer is None:
            raise DataError(f"there is no text in {part}: give at least one")
        writer.close()
        if path.is_file() and path.read_bytes() == temporary.read_bytes():
            status = path.stat()
            os.utime(temporary, ns=(status.st_atime_ns, status.st_mtime_ns))
    return [str(path)]


def _is_file(value: Any) -> bool:
    return isinstance(value, str) and 0 < len(value) < 4096 and "\0" not in value and os.path.isfile(value)


def _tables(pa: Any, value: Any, columns: Columns, part: str) -> Iterator[Any]:
    """Arrow tables of what was given, all of one schema."""
    if isinstance(value, tuple) and len(value) == 2 and part != "corpus" and not isinstance(value[0], str):
        texts, labels = (_listed(one) for one in value)
        if len(texts) != len(labels):
            raise DataError(f"{part} has {len(texts):,} texts and {len(labels):,} labels: give a label a text")
        yield _of_columns(pa, {**_texts(texts, columns, part), **_labels(labels, columns)}, part)
    elif isinstance(value, pa.Table):
        yield value
    elif isinstance(value, pa.RecordBatch):
        yield pa.table(value)
    elif hasattr(value, "with_format") and hasattr(value, "features"):  # a dataset of Hugging Face
        schema = value.features.arrow_schema
        for table in value.with_format("arrow").iter(_BATCH):
            yield pa.table(table.columns, schema=schema.with_metadata(schema.metadata))
    elif isinstance(value, Mapping):
        yield _of_columns(pa, {str(name): _listed(column) for name, column in value.items()}, part)
    elif hasattr(value, "columns") and hasattr(value, "__dataframe__") and not hasattr(value, "__arrow_c_stream__"):
        yield pa.Table.from_pandas(value, preserve_index=False)
    elif hasattr(value, "__arrow_c_stream__") and hasattr(value, "columns"):  # pandas, polars
        yield pa.table(value)
    elif (
        hasattr(value, "__arrow_c_stream__")
        or hasattr(value, "__arrow_c_array__")
        or isinstance(value, pa.ChunkedArray)
    ):
        array = value if isinstance(value, pa.Array | pa.ChunkedArray) else pa.chunked_array(value)
        yield pa.table({columns.text: array})
    elif isinstance(value, Iterable):
        left = iter(value)
        names: list[str] = []  # of records, as the first one has them
        while some := list(itertools.islice(left, _BATCH)):
            if names or isinstance(some[0], Mapping):
                names = names or list(dict.fromkeys([*some[0], *columns.optional]))
                yield _of_records(pa, some, names, columns.optional, part)
                continue
            if part == "corpus":
                yield _of_columns(pa, _texts(some, columns, part), part)
                continue
            some, named = _split(some, part)
            yield _of_columns(pa, {**_texts(some, columns, part), **_labels(named, columns)}, part)
    else:
        raise DataError(f"{part} is of type {type(value).__name__}: give texts, a table, or files")


def _listed(column: Any) -> Sequence[Any]:
    """A column whose length is known."""
    if isinstance(column, str | bytes):
        raise DataError(f"{column!r:.60} stands for a column: give a list, an array or a Series")
    return column if hasattr(column, "__len__") else list(column)


def _of_records(pa: Any, records: list[Any], names: list[str], optional: tuple[str, ...], part: str) -> Any:
    for i, record in enumerate(records):
        if not isinstance(record, Mapping) or not set(names) - set(optional) <= set(record):
            raise DataError(
                f"{part}[{i}] is {record!r:.60}, not a dict with {', '.join(map(repr, names))} as the first"
            )
    return _of_columns(pa, {str(name): [record.get(name) for record in records] for name in names}, part)


def _split(records: list[Any], part: str) -> tuple[list[Any], list[Any]]:
    """Texts and labels of records that have one of each."""
    for i, record in enumerate(records):
        if not isinstance(record, tuple | list) or len(record) != 2:
            raise DataError(
                f"{part}[{i}] is {record!r:.60}, not a text and its label: give (texts, labels), a list of "
                "(text, label) or of dicts, or a table"
            )
    return [record[0] for record in records], [record[1] for record in records]


def _texts(texts: Sequence[Any], columns: Columns, part: str) -> dict[str, Any]:
    """The column of texts, or both of pairs."""
    if not columns.pair:
        return {columns.text: texts}
    for i, pair in enumerate(texts):
        if isinstance(pair, str) or not isinstance(pair, Sequence | np.ndarray) or len(pair) != 2:
            raise DataError(f"{part}[{i}] is {pair!r:.60}, not a pair of texts")
    return {columns.text: [pair[0] for pair in texts], columns.pair: [pair[1] for pair in texts]}


def _labels(labels: Any, columns: Columns) -> dict[str, Any]:
    """The column of labels: arrays of several dimensions as lists."""
    if hasattr(labels, "tolist") and not hasattr(labels, "dtype"):
        labels = labels.tolist()
    if isinstance(labels, np.ndarray) and labels.ndim > 1:
        labels = labels.tolist()
    return {columns.label[0]: labels}


def _of_columns(pa: Any, columns: Mapping[str, Any], part: str) -> Any:
    arrays = {}
    for name, values in columns.items():
        if isinstance(values, np.ndarray) and values.ndim > 1:
            values = values.tolist()
        if isinstance(values, np.ndarray) and values.dtype.kind == "U":
            values = values.tolist()
        try:
            arrays[name] = (
                values if isinstance(values, pa.Array | pa.ChunkedArray) else pa.array(values, from_pandas=True)
            )
        except (pa.ArrowException, TypeError, ValueError) as error:
            where = next((i for i, one in enumerate(values) if not isinstance(one, str)), None)
            place = f"{part}[{where}] is {values[where]!r:.60}" if where is not None else str(error)
            raise DataError(f"column {name!r} of {part} cannot be stored: {place}; give values of one type") from None
    lengths = {name: len(array) for name, array in arrays.items()}
    if len(set(lengths.values())) > 1:
        raise DataError(f"the columns of {part} differ in length: {lengths}")
    return pa.table(arrays)


def _widened(pa: Any, table: Any, beside: Mapping[str, Any], part: str) -> Any:
    for name, values in beside.items():
        if hasattr(values, "detach"):  # a tensor of torch
            values = values.detach().cpu().float().numpy()
        array = np.asarray(values)
        if len(array) != len(table):
            raise DataError(f"{part} has {len(table):,} texts and {len(array):,} scores: give a row of scores a text")
        if name in table.column_names:
            raise DataError(f"{part} has a column {name!r} already: rename it, or give teacher='column:{name}'")
        table = table.append_column(name, pa.array(array.tolist()))
    return table
