"""Labels for texts in files of any size: read, scored and written piece by piece, beside what came with the texts."""

from __future__ import annotations

import csv
import itertools
import json
import math
import os
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any, BinaryIO

import numpy as np

from .classifier import Classifier, probabilities
from .data import files, records
from .data.records import Piece
from .data.tables import plain_type
from .errors import DataError, SettingsError, require
from .format import replacing
from .progress import Progress, say

FILES = {".parquet": "parquet", ".arrow": "arrow", ".jsonl": "jsonl", ".csv": "csv", ".tsv": "tsv"}
STREAMS = ("lines", "jsonl", "csv", "tsv", "arrow")
_GROUP_ROWS, _GROUP_BYTES = 1 << 17, 1 << 25  # at which a row group of Parquet is full

Write = Callable[[Piece, dict[str, Any]], None]


def predict(
    classifier: Classifier,
    sources: Sequence[str],
    output: str | None = None,
    *,
    format: str = "lines",
    text: str = "text",
    pair: str = "",
    keep: Sequence[str] | None = None,
    proba: bool = False,
    top_k: int | None = None,
    prefix: str = "",
    nulls: str = "error",
    encoding_errors: str = "strict",
    threads: int = 0,
    input_format: str = "auto",
    delimiter: str = "",
    quoting: str = "auto",
    header: bool = True,
) -> None:
    """Write a record for each text of ``sources`` (files, globs, folders, ``-`` for stdin), in order.

    ``output`` is a file that is there whole or not at all, its format told by its suffix (one of ``FILES``); None is
    stdout in ``format`` (one of ``STREAMS``). A record has the columns ``keep`` of the input (None: all) as they were,
    then those of :func:`results` with ``prefix`` before their names; "lines" are the results alone. ``pair`` is the
    column of the second text for a classifier of pairs, and is among the columns kept. ``input_format``, ``delimiter``,
    ``quoting`` and ``header`` are those of :class:`files.Form`; with quoting "double" TSV is written in quotes, too.
    Memory is a few pieces of the input, whatever its size.

    Errors: :class:`SettingsError` and :class:`DataError`, before the first text is scored wherever that is possible.
    """
    kind = FILES.get(Path(output).suffix, "") if output else format
    form = files.Form(input_format, delimiter, quoting, header)
    found = files.expand(sources, form)
    _refuse_options(classifier, found, output, kind, keep, proba, top_k, threads)
    if classifier.pairs != bool(pair):
        raise SettingsError(
            "the classifier labels pairs of texts: name the second's column with --pair"
            if classifier.pairs
            else "the classifier labels single texts: leave out --pair"
        )
    if kind == "lines":
        keep = ()
    if pair and keep is not None:
        keep = tuple(dict.fromkeys([*keep, pair]))

    def scored(logits: np.ndarray) -> dict[str, Any]:
        return {prefix + name: values for name, values in results(classifier, logits, proba, top_k).items()}

    labels = len(classifier.labels)
    names = list(scored(np.zeros((0, labels), np.float32)))
    if found == ["-"] and sys.stdin.isatty():
        say("reading lines of text from the terminal: end with Ctrl-D")
    most = max(1, min(1 << 14, (1 << 22) // labels))  # texts in a piece: their probabilities are in memory, too
    read = partial(records.whole, text=text, keep=keep, encoding_errors=encoding_errors, most=most, form=form)
    columns, metadata, stdin = _agreed(found, read, keep, kind, names)
    with ExitStack() as stack:
        file = stack.enter_context(replacing(output)) if output else None
        if kind in ("parquet", "arrow"):
            write = stack.enter_context(_arrow(file, kind, columns, names, prefix, classifier.task, metadata))
        else:
            sink = stack.enter_context(open(file, "wb")) if file else sys.stdout.buffer
            write = _text(sink, kind, list(columns), names, encoding_errors, form.quoted(kind))
        bar = stack.enter_context(Progress("predict", records.count(found, form) if sys.stderr.isatty() else None))
        for source in found:
            for piece in stdin if source == "-" else read(source):
                if nulls == "error":
                    _refuse_null(piece, text)
                texts = _paired(piece, pair, encoding_errors, nulls) if pair else piece.texts
                write(piece, scored(classifier.decision_function(texts, threads, "empty")))
                if output or not sys.stdout.isatty():  # else the results themselves show how far it is
                    bar.add(len(piece.rows))


def results(
    classifier: Classifier, logits: np.ndarray, proba: bool = False, top_k: int | None = None
) -> dict[str, Any]:
    """Columns of n values for logits (n, C): ``predicted``, which is what :meth:`Classifier.predict` gives.

    For the task "single" also its ``probability``; ``proba`` adds ``p(NAME)`` of every label, ``top_k`` the lists
    ``top_labels`` and ``top_probabilities`` of the K likeliest.
    """
    columns: dict[str, Any] = {"predicted": classifier.decide(logits)}
    if classifier.task == "regression":
        return columns
    chances = probabilities(logits, classifier.task)
    if classifier.task == "single":
        columns["probability"] = chances.max(axis=1)
    if proba:
        columns |= {f"p({label})": chances[:, i] for i, label in enumerate(classifier.labels)}
    if top_k:
        best = np.argsort(-logits, axis=1, kind="stable")[:, :top_k]  # a tie goes to the first, as in predict
        columns["top_labels"] = np.array(classifier.labels, object)[best].tolist()
        columns["top_probabilities"] = np.take_along_axis(chances, best, axis=1).tolist()
    return columns


# -- before the first text is scored ------------------------------------------------------------------------------


def _refuse_options(
    classifier: Classifier, found: list[str], output: str | None, kind: str, keep: Sequence[str] | None,
    proba: bool, top_k: int | None, threads: int,
) -> None:  # fmt: skip
    if output and not kind:
        raise SettingsError(f"--output {output}: the name must end in one of {', '.join(FILES)}")
    if output and os.path.isdir(output):
        raise SettingsError(f"--output {output} is a folder: name a file")
    if output and any(os.path.exists(s) and os.path.exists(output) and os.path.samefile(s, output) for s in found):
        raise SettingsError(f"--output {output} is also an input: give it another name")
    if kind == "lines" and keep:
        raise SettingsError("lines are the results alone: to --keep columns beside them, add --output or --format")
    if classifier.task == "regression" and (proba or top_k is not None):
        raise SettingsError(f"a regression classifier has no labels: leave out {'--proba' if proba else '--top-k'}")
    if top_k is not None and top_k < 1:
        raise SettingsError(f"--top-k is {top_k}: give 1 or more")
    if threads < 0:
        raise SettingsError(f"--threads is {threads}: give 0 for all processors, or a number")
    joined = kind in ("lines", "csv", "tsv") and (classifier.task == "multi" or top_k)
    for sign in ("," if joined else "") + ("\t\r\n" if kind == "lines" else ""):
        for label in classifier.labels:
            if sign in label:
                raise SettingsError(f"label {label!r} has a {sign!r}, which parts the results in {kind}: write jsonl")


def _agreed(
    found: list[str], read: Callable[..., Iterator[Piece]], keep: Sequence[str] | None, kind: str, names: list[str]
) -> tuple[dict[str, Any], Any, Iterator[Piece]]:
    """What all sources bring: columns, metadata of an Arrow schema; and stdin, of which the start had to be read.

    Columns are name -> Arrow field, or None where the output has no types. Records of JSON need not agree.
    """
    agreed: dict[str, Any] = {}
    first, metadata = "", None
    stdin: Iterator[Piece] = iter(())
    for source in found:
        stream = read(source) if source == "-" else read(source, most=1)
        head = list(itertools.islice(stream, 2))  # the columns, and records to see that they can be read
        here, looked = head[0].source, iter(head)
        if source == "-":
            stdin = itertools.chain(head, stream)
        elif head[0].columns is None and kind in ("parquet", "arrow", "csv", "tsv"):
            looked = read(source)  # JSON: every record has a say in the columns of a table
        elif head[0].columns is None and keep:
            looked = itertools.islice(read(source), 2)
        columns = _columns(looked, kind)
        for name in keep or ():
            if name not in columns and len(head) > 1:
                raise DataError(f"{here} has no column {name!r} in its first records: name the right one with --keep")
        _refuse_clash(names, columns, here)
        if kind == "jsonl" or not columns:
            continue
        if not agreed:
            agreed, first, metadata = columns, here, getattr(head[0].columns, "metadata", None)
        for name in (*agreed, *columns):
            if name not in columns or name not in agreed:
                has, lacks = (first, here) if name in agreed else (here, first)
                raise DataError(
                    f"{lacks} has no column {name!r}, which {has} has: name those of all files with --keep, or write "
                    ".jsonl"
                )
            agreed[name] = _unified(agreed[name], columns[name], first, head[0])
    return agreed, metadata, stdin


def _columns(pieces: Iterator[Piece], kind: str) -> dict[str, Any]:
    """The columns of one source, as :func:`_agreed` returns them."""
    pa = require("pyarrow", "arrow") if kind in ("parquet", "arrow") else None
    head = next(pieces)
    if isinstance(head.columns, list):
        return {name: pa.field(name, pa.string()) if pa else None for name in head.columns}
    if head.columns is not None:
        if kind in ("csv", "tsv"):
            for name in head.columns.names:
                _cells(head, name, kind, "strict")  # refuses what no cell can hold
        return {field.name: field if pa else None for field in head.columns}
    columns: dict[str, Any] = {}
    with Progress("columns") as bar:
        for piece in pieces:
            for name in dict.fromkeys(itertools.chain.from_iterable(piece.records)):
                field = pa.field(name, _array(piece, name, None).type) if pa else None
                columns[name] = _unified(columns.get(name, field), field, piece.source, piece)
                if kind in ("csv", "tsv"):
                    _cells(piece, name, kind, "strict")
            bar.add(len(piece.rows))
    return columns


def _unified(one: Any, other: Any, first: str, piece: Piece) -> Any:
    """The Arrow field for both: nulls fit any type, and what differs in width alone is of the wider.

    In JSON, where 1 may stand for 1.0, integers fit floats.
    """
    if one is None or one.equals(other):
        return one
    pa = require("pyarrow", "arrow")
    fields = [pa.schema([one]), pa.schema([other])]
    widened = [field.with_type(_wide(field.type)) for field in (one, other)]
    same_kind = _family(widened[0].type) == _family(widened[1].type) != ""
    if same_kind and not one.type.equals(other.type):
        fields = [pa.schema([field]) for field in widened]
    promote = "permissive" if piece.columns is None or same_kind else "default"
    try:
        return pa.unify_schemas(fields, promote_options=promote).field(0)
    except (pa.ArrowInvalid, pa.ArrowTypeError):
        raise DataError(
            f"column {one.name!r} is {other.type} in {piece.source}, but {one.type} in {first}: convert one of them, "
            "name other columns with --keep, or write .jsonl"
        ) from None


def _wide(held: Any) -> Any:
    """The type of a dictionary's values; and views, of which Parquet has none, are plain strings."""
    pa = require("pyarrow", "arrow")
    held = plain_type(held)
    return {"string_view": pa.large_string(), "binary_view": pa.large_binary()}.get(str(held), held)


def _family(held: Any) -> str:
    """What types may differ in width alone; "" where that is not so."""
    types = require("pyarrow", "arrow").types
    if types.is_string(held) or types.is_large_string(held):
        return "string"
    if types.is_binary(held) or types.is_large_binary(held):
        return "binary"
    if types.is_integer(held):
        return "signed" if types.is_signed_integer(held) else "unsigned"
    return "float" if types.is_floating(held) else ""


def _refuse_clash(names: Iterable[str], columns: Iterable[str], where: str) -> None:
    for name in names:
        if name in columns:
            raise DataError(
                f"{where} has a column {name!r} already: begin the names of the results otherwise with --prefix, or "
                "name other columns with --keep"
            )


def _paired(piece: Piece, pair: str, errors: str, nulls: str) -> list[tuple[Any, Any]]:
    """The pairs of a piece. Errors: :class:`DataError` for a second text that is null, where that is one."""
    first = piece.texts if isinstance(piece.texts, list) else piece.texts.to_pylist()
    if not first:
        return []
    second = piece.values(pair, errors)
    for i, value in enumerate(second):
        if not (isinstance(value, str) or (value is None and nulls == "empty")):
            raise DataError(f"the second text (column {pair!r}) at {piece.place(i)} is {value!r:.60}, not a text")
    return list(zip(first, second, strict=True))


def _refuse_null(piece: Piece, text: str) -> None:
    if isinstance(piece.texts, list):
        i = piece.texts.index(None) if None in piece.texts else -1
    else:
        i = piece.texts.is_null().index(True).as_py() if piece.texts.null_count else -1
    if i >= 0:
        raise DataError(
            f"the text (column {text!r}) at {piece.place(i)} is null; drop the row, or score it as an empty text with "
            "--nulls empty"
        )


def _refuse_new(piece: Piece, columns: Iterable[str]) -> None:
    """JSON lines of stdin cannot be looked through before."""
    if piece.columns is None:
        for i, record in enumerate(piece.records):
            for name in record.keys() - columns:
                raise DataError(
                    f"{piece.place(i)} has a column {name!r}, which the first records had not: put the lines into a "
                    "file, write .jsonl, or name the columns to write with --keep"
                )


# -- formats of text ----------------------------------------------------------------------------------------------


def _text(sink: BinaryIO, kind: str, columns: list[str], names: list[str], errors: str, quoted: bool) -> Write:
    if kind in ("csv", "tsv"):
        sink.write(_table([[*columns, *names]], kind, quoted, None, [*columns, *names]).encode())

    def write(piece: Piece, found: dict[str, Any]) -> None:
        if kind == "jsonl":
            data = _objects(piece, found, errors)
        else:
            shown = [list(map(_shown, _listed(values))) for values in found.values()]
            if kind == "lines":
                data = "".join("\t".join(line) + "\n" for line in zip(*shown, strict=True))
            else:
                _refuse_new(piece, columns)
                cells = [_cells(piece, name, kind, errors) for name in columns]
                data = _table(zip(*cells, *shown, strict=True), kind, quoted, piece, [*columns, *found])
        sink.write(data.encode())
        sink.flush()

    return write


def _listed(values: Any) -> list:
    return values.tolist() if isinstance(values, np.ndarray) else values


def _shown(value: Any) -> str:
    """A result as text."""
    if isinstance(value, list):
        return ",".join(map(_shown, value))
    return f"{value:.6g}" if isinstance(value, float) else value


def _rounded(value: Any) -> Any:
    """A result for JSON, with as many digits as it has elsewhere."""
    if isinstance(value, list):
        return [_rounded(one) for one in value]
    return float(f"{value:.6g}") if isinstance(value, float) else value


def _table(rows: Iterable[Sequence[str]], kind: str, quoted: bool, piece: Piece | None, names: list[str]) -> str:
    """Lines of CSV or TSV; ``piece`` is where they come from (None: this is the header), ``names`` their columns."""
    lines: list[str] = []
    if not quoted:
        for i, row in enumerate(rows):
            line = "\t".join(row)
            if line.count("\t") >= len(row) or "\n" in line or "\r" in line:
                name = next(name for name, cell in zip(names, row, strict=True) if set(cell) & set("\t\n\r"))
                where = "the header" if piece is None else piece.place(i)
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


def _cells(piece: Piece, name: str, kind: str, errors: str) -> list[str]:
    """A column as CSV has it: a null is an empty cell."""
    values = _values(piece, name, kind, errors)
    if isinstance(piece.columns, list):
        return values  # strings, verbatim
    cells = []
    for i, value in enumerate(values):
        if isinstance(value, (list, dict)):
            raise _nested(name, piece.place(i), type(value).__name__, kind)
        cells.append("" if value is None else str(value).lower() if isinstance(value, bool) else str(value))
    return cells


def _values(piece: Piece, name: str, kind: str, errors: str) -> list:
    """A column as Python values that ``kind`` can hold."""
    if isinstance(piece.records, list):
        return piece.values(name)
    pa = require("pyarrow", "arrow")
    try:
        return piece.values(name, errors, flat=kind != "jsonl")
    except pa.ArrowNotImplementedError:
        raise _nested(name, piece.source, piece.columns.field(name).type, kind) from None
    except pa.ArrowInvalid as error:
        raise _unfit(piece, name, kind, error) from None


def _nested(name: str, where: str, held: Any, kind: str) -> DataError:
    return DataError(
        f"column {name!r} of {where} is {held}, which {kind} cannot hold: name other columns with --keep, or write "
        ".jsonl or .parquet"
    )


def _unfit(piece: Piece, name: str, kind: Any, error: Exception) -> DataError:
    return DataError(
        f"column {name!r} of {piece.source} (rows {piece.rows[0]} to {piece.rows[-1]}) cannot be written as {kind}: "
        f"{error}; name other columns with --keep, or write .jsonl"
    )


def _objects(piece: Piece, found: dict[str, Any], errors: str) -> str:
    if isinstance(piece.records, list):
        records = piece.records
        if piece.columns is None:
            for i, record in enumerate(records):
                if not found.keys().isdisjoint(record):
                    _refuse_clash(found, record, piece.place(i))
    else:
        names = piece.columns.names
        rows = zip(*(_values(piece, name, "jsonl", errors) for name in names), strict=True)
        records = [dict(zip(names, row, strict=True)) for row in rows] if names else [{}] * len(piece.rows)
    rounded = zip(*(map(_rounded, _listed(values)) for values in found.values()), strict=True)
    return "".join(
        _json(record | dict(zip(found, row, strict=True))) + "\n" for record, row in zip(records, rounded, strict=True)
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
def _arrow(
    file: Path | None, kind: str, columns: dict[str, Any], names: list[str], prefix: str, task: str, metadata: Any
) -> Iterator[Write]:
    pa = require("pyarrow", "arrow")
    if kind == "arrow":  # such a file has one dictionary a column, but pieces come each with their own
        columns = {name: field.with_type(plain_type(field.type)) for name, field in columns.items()}
    special = {
        "predicted": {"single": pa.string(), "multi": pa.list_(pa.string()), "regression": pa.float32()}[task],
        "top_labels": pa.list_(pa.string()),
        "top_probabilities": pa.list_(pa.float64()),
    }
    results = [pa.field(name, special.get(name.removeprefix(prefix), pa.float64())) for name in names]
    schema = pa.schema([*columns.values(), *results], metadata)

    def batch(piece: Piece, found: dict[str, Any]) -> Any:
        _refuse_new(piece, columns)
        arrays = [_array(piece, name, field.type) for name, field in columns.items()]
        arrays += [pa.array(found[field.name], field.type) for field in results]
        return pa.RecordBatch.from_arrays(arrays, schema=schema)

    try:
        if kind == "arrow":
            with pa.ipc.new_file(file, schema) if file else pa.ipc.new_stream(sys.stdout.buffer, schema) as writer:
                yield lambda piece, found: writer.write_batch(batch(piece, found))
            return
        with require("pyarrow.parquet", "arrow").ParquetWriter(file, schema, compression="zstd") as writer:
            group: list[Any] = []

            def write(piece: Piece, found: dict[str, Any]) -> None:
                group.append(batch(piece, found))
                if sum(b.num_rows for b in group) >= _GROUP_ROWS or sum(b.nbytes for b in group) >= _GROUP_BYTES:
                    writer.write_table(pa.Table.from_batches(group))
                    group.clear()

            yield write
            writer.write_table(pa.Table.from_batches(group, schema))
    except pa.ArrowException as error:
        raise DataError(f"cannot write the columns as {kind}: {error}; name others with --keep") from None


def _array(piece: Piece, name: str, held: Any) -> Any:
    """A column as an Arrow array of type ``held`` (None: what its values call for)."""
    pa = require("pyarrow", "arrow")
    try:
        if isinstance(piece.records, list):
            return pa.array(piece.values(name), held)
        column = piece.records.column(name)
        return column if column.type == held else column.cast(held)
    except (pa.ArrowException, OverflowError) as error:
        raise _unfit(piece, name, held or "one type", error) from None
