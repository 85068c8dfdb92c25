"""Write records with further columns: lines, CSV, TSV, JSON lines, Arrow, Parquet."""

from __future__ import annotations

import csv
import json
import math
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any, BinaryIO

import numpy as np

from ..errors import DataError, require
from ..results import arrow_type
from .records import Batch
from .tables import plain_type

_GROUP_ROWS, _GROUP_BYTES = 1 << 17, 1 << 25  # at which a row group of Parquet is full

Write = Callable[[Batch, dict[str, Any]], None]


def refuse_clash(names: Iterable[str], columns: Iterable[str], where: str) -> None:
    """Errors: :class:`DataError` for names of results that are among the ``columns`` of the input."""
    for name in names:
        if name in columns:
            raise DataError(
                f"{where} has a column {name!r} already: begin the names of the results otherwise with --prefix, or "
                "name other columns with --keep"
            )


def _refuse_new(batch: Batch, columns: Iterable[str]) -> None:
    """JSON lines of stdin cannot be looked through before."""
    if batch.columns is None:
        for i, record in enumerate(batch.records):
            for name in record.keys() - columns:
                raise DataError(
                    f"{batch.place(i)} has a column {name!r}, which the first records had not: put the lines into a "
                    "file, write .jsonl, or name the columns to write with --keep"
                )


# -- formats of text ----------------------------------------------------------------------------------------------


def text_writer(sink: BinaryIO, kind: str, columns: list[str], names: list[str], quoted: bool) -> Write:
    """What writes batches and their results to ``sink`` as ``kind``, one of lines, csv, tsv and jsonl."""
    if kind in ("csv", "tsv"):
        sink.write(_table([[*columns, *names]], kind, quoted, None, [*columns, *names]).encode())

    def write(batch: Batch, results: dict[str, Any]) -> None:
        if kind == "jsonl":
            data = _objects(batch, results)
        else:
            shown = [list(map(_shown, _listed(values))) for values in results.values()]
            if kind == "lines":
                data = "".join("\t".join(line) + "\n" for line in zip(*shown, strict=True))
            else:
                _refuse_new(batch, columns)
                given = [cells(batch, name, kind) for name in columns]
                data = _table(zip(*given, *shown, strict=True), kind, quoted, batch, [*columns, *results])
        sink.write(data.encode())
        sink.flush()

    return write


def _listed(values: Any) -> list[Any]:
    result: list[Any] = values.tolist() if isinstance(values, np.ndarray) else values
    return result


def _shown(value: Any) -> str:
    """A result as text."""
    if isinstance(value, list):
        return ",".join(map(_shown, value))
    if value is None or isinstance(value, bool):
        return "" if value is None else str(value).lower()
    return f"{value:.6g}" if isinstance(value, float) else str(value)


def _rounded(value: Any) -> Any:
    """A result for JSON, with as many digits as it has elsewhere."""
    if isinstance(value, list):
        return [_rounded(one) for one in value]
    if isinstance(value, dict):
        return {name: _rounded(one) for name, one in value.items()}
    return float(f"{value:.6g}") if isinstance(value, float) else value


def _table(rows: Iterable[Sequence[str]], kind: str, quoted: bool, batch: Batch | None, names: list[str]) -> str:
    """Lines of CSV or TSV; ``batch`` is where they come from (None: this is the header), ``names`` their columns."""
    lines: list[str] = []
    if not quoted:
        for i, row in enumerate(rows):
            line = "\t".join(row)
            if line.count("\t") >= len(row) or "\n" in line or "\r" in line:
                name = next(name for name, cell in zip(names, row, strict=True) if set(cell) & set("\t\n\r"))
                where = "the header" if batch is None else batch.place(i)
                raise DataError(
                    f"column {name!r} at {where} has a tab or a line end, which TSV cannot hold: write .csv or .jsonl, "
                    "leave it out with --keep, or give --quoting double"
                )
            lines.append(line + "\n")
        return "".join(lines)
    # The writer does not quote a lone \r unless its own lines end in one: so they do, until they are here.
    sink = SimpleNamespace(write=lambda line: lines.append(line[:-2] + "\n"))
    csv.writer(sink, delimiter="," if kind == "csv" else "\t").writerows(rows)
    return "".join(lines)


def cells(batch: Batch, name: str, kind: str) -> list[str]:
    """A column as CSV has it: a null is an empty cell."""
    values = _values(batch, name, kind)
    if isinstance(batch.columns, list):
        return values  # strings, verbatim
    shown = []
    for i, value in enumerate(values):
        if isinstance(value, (list, dict)):
            raise _nested(name, batch.place(i), type(value).__name__, kind)
        shown.append("" if value is None else str(value).lower() if isinstance(value, bool) else str(value))
    return shown


def _values(batch: Batch, name: str, kind: str) -> list[Any]:
    """A column as Python values that ``kind`` can hold."""
    if not batch.in_arrow:
        return batch.values(name)
    pa = require("pyarrow", "arrow")
    try:
        return batch.values(name, flat=kind != "jsonl")
    except pa.ArrowNotImplementedError:
        raise _nested(name, batch.source, batch.columns.field(name).type, kind) from None
    except pa.ArrowInvalid as error:
        raise _unfit(batch, name, kind, error) from None


def _nested(name: str, where: str, held: Any, kind: str) -> DataError:
    return DataError(
        f"column {name!r} of {where} is {held}, which {kind} cannot hold: name other columns with --keep, or write "
        ".jsonl or .parquet"
    )


def _unfit(batch: Batch, name: str, kind: Any, error: Exception) -> DataError:
    return DataError(
        f"column {name!r} of {batch.source} (rows {batch.rows[0]} to {batch.rows[-1]}) cannot be written as {kind}: "
        f"{error}; name other columns with --keep, or write .jsonl"
    )


def _objects(batch: Batch, results: dict[str, Any]) -> str:
    if isinstance(batch.records, list):
        records = batch.records
        for i, record in enumerate(records):
            if not results.keys().isdisjoint(record):
                refuse_clash(results, record, batch.place(i))
    else:
        names = batch.columns.names if batch.in_arrow else batch.columns
        rows = zip(*(_values(batch, name, "jsonl") for name in names), strict=True)
        records = [dict(zip(names, row, strict=True)) for row in rows] if names else [{}] * len(batch.rows)
    rounded = zip(*(map(_rounded, _listed(values)) for values in results.values()), strict=True)
    return "".join(
        _json(record | dict(zip(results, row, strict=True))) + "\n"
        for record, row in zip(records, rounded, strict=True)
    )


def _json(record: dict[str, Any]) -> str:
    try:
        return _encode(record)
    except ValueError:
        return _encode(_finite(record))


def _finite(value: Any) -> Any:
    """``value`` with null for what JSON has no word for: NaN and infinity."""
    if isinstance(value, dict):
        return {name: _finite(one) for name, one in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(one) for one in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _spelled(value: Any) -> str:
    """Times, decimals and bytes inside nested columns."""
    return value.decode("utf-8", "backslashreplace") if isinstance(value, bytes) else str(value)


_encode = json.JSONEncoder(ensure_ascii=False, allow_nan=False, default=_spelled).encode


# -- formats of Arrow ---------------------------------------------------------------------------------------------


@contextmanager
def arrow_writer(
    file: Path | None, kind: str, columns: dict[str, Any], names: list[str], types: dict[str, Any], metadata: Any
) -> Iterator[Write]:
    """What writes batches and their results to an Arrow or Parquet file (None: an Arrow stream on stdout).

    ``types``: of results that are no probability, as :func:`sparsedistill.results.arrow_type` takes them.
    """
    pa = require("pyarrow", "arrow")
    if kind == "arrow":  # such a file has one dictionary a column, but batches come each with their own
        columns = {name: field.with_type(plain_type(field.type)) for name, field in columns.items()}
    results = [pa.field(name, arrow_type(types.get(name, ""))) for name in names]
    schema = pa.schema([*columns.values(), *results], metadata)

    def widened(batch: Batch, new: dict[str, Any]) -> Any:
        _refuse_new(batch, columns)
        arrays = [array_of(batch, name, field.type) for name, field in columns.items()]
        arrays += [pa.array(new[field.name], field.type) for field in results]
        return pa.RecordBatch.from_arrays(arrays, schema=schema)

    try:
        if kind == "arrow":
            with pa.ipc.new_file(file, schema) if file else pa.ipc.new_stream(sys.stdout.buffer, schema) as writer:
                yield lambda batch, new: writer.write_batch(widened(batch, new))
            return
        with require("pyarrow.parquet", "arrow").ParquetWriter(file, schema, compression="zstd") as writer:
            group: list[Any] = []

            def write(batch: Batch, new: dict[str, Any]) -> None:
                group.append(widened(batch, new))
                if sum(b.num_rows for b in group) >= _GROUP_ROWS or sum(b.nbytes for b in group) >= _GROUP_BYTES:
                    writer.write_table(pa.Table.from_batches(group))
                    group.clear()

            yield write
            writer.write_table(pa.Table.from_batches(group, schema))
    except pa.ArrowException as error:
        raise DataError(f"cannot write the columns as {kind}: {error}; name others with --keep") from None


def array_of(batch: Batch, name: str, held: Any) -> Any:
    """A column as an Arrow array of type ``held`` (None: what its values call for)."""
    pa = require("pyarrow", "arrow")
    try:
        if not batch.in_arrow:
            return pa.array(batch.values(name), held)
        column = batch.records.column(name)
        return column if column.type == held else column.cast(held)
    except (pa.ArrowException, OverflowError) as error:
        raise _unfit(batch, name, held or "one type", error) from None
