"""What the columns of several sources have in common: what a table of all their records has."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from ..errors import DataError, require
from ..progress import Progress
from .records import Batch
from .tables import plain_type
from .write import array_of, cells, refuse_clash


def agreed_columns(
    sources: list[str], read: Callable[..., Iterator[Batch]], keep: Sequence[str] | None, kind: str, names: list[str],
    options: dict[str, str],
) -> tuple[dict[str, Any], Any, Iterator[Batch]]:  # fmt: skip
    """What all sources bring: columns, metadata of an Arrow schema; and stdin, of which the start had to be read.

    Columns are name -> Arrow field, or None where the output has no types. Records of JSON need not agree. ``names``:
    those of the results, which must be none of the columns. ``options``: what names a column, where it is not --keep.
    """
    agreed: dict[str, Any] = {}
    first, metadata = "", None
    stdin: Iterator[Batch] = iter(())
    for source in sources:
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
                option = options.get(name, "--keep")
                raise DataError(f"{here} has no column {name!r} in its first records: name the right one with {option}")
        refuse_clash(names, columns, here)
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


def _columns(batches: Iterator[Batch], kind: str) -> dict[str, Any]:
    """The columns of one source, as :func:`agreed_columns` returns them."""
    pa = require("pyarrow", "arrow") if kind in ("parquet", "arrow") else None
    head = next(batches)
    if isinstance(head.columns, list):
        return {name: pa.field(name, pa.string()) if pa else None for name in head.columns}
    if head.columns is not None:
        if kind in ("csv", "tsv"):
            for name in head.columns.names:
                cells(head, name, kind)  # refuses what no cell can hold
        return {field.name: field if pa else None for field in head.columns}
    columns: dict[str, Any] = {}
    with Progress("columns") as bar:
        for batch in batches:
            for name in dict.fromkeys(itertools.chain.from_iterable(batch.records)):
                field = pa.field(name, array_of(batch, name, None).type) if pa else None
                columns[name] = _unified(columns.get(name, field), field, batch.source, batch)
                if kind in ("csv", "tsv"):
                    cells(batch, name, kind)
            bar.add(len(batch.rows))
    return columns


def _unified(one: Any, other: Any, first: str, batch: Batch) -> Any:
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
    promote = "permissive" if batch.columns is None or same_kind else "default"
    try:
        return pa.unify_schemas(fields, promote_options=promote).field(0)
    except (pa.ArrowInvalid, pa.ArrowTypeError):
        raise DataError(
            f"column {one.name!r} is {other.type} in {batch.source}, but {one.type} in {first}: convert one of them, "
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
