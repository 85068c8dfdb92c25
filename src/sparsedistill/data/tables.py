"""Formats of columns: Parquet, Arrow, and Hugging Face datasets, all tables of Arrow arrays."""

from __future__ import annotations

import json
import os
import re
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from ..errors import DataError, require
from .files import (
    BATCH_BYTES,
    READ_BYTES,
    STDIN,
    MissingColumnError,
    foreign_format,
    not_utf8,
    place_of,
    raw_bytes,
    several,
)

STRING_TYPES = {"string", "large_string", "string_view", "binary", "large_binary", "binary_view"}


def read_tables(
    source: str, kind: str, text: str, keep: Sequence[str] | None, errors: str, most: int
) -> Iterator[tuple[int, Any, Any]]:
    """Row of the first record, texts and record batch with the columns ``keep`` (None: all), up to ``most`` at a time.

    Nothing becomes a Python object. The first batch is empty: its schema is that of the columns.
    """
    pa = require("pyarrow", "arrow")
    wanted = None if keep is None else list(dict.fromkeys([text, *keep]))
    row = 1
    with _tables(source, kind, wanted, most) as (schema, tables):
        source = STDIN if source == "-" else source
        _check_schema(schema, source, text, [text, *(schema.names if keep is None else keep)])
        kept = [name for name in schema.names if keep is None or name in keep]
        columns = pa.schema([schema.field(name) for name in kept], schema.metadata)
        yield row, [], pa.RecordBatch.from_pylist([], columns)
        for table in tables:
            for batch in table.to_batches() if isinstance(table, pa.Table) else [table]:
                size = max(1, min(most, batch.num_rows * BATCH_BYTES // max(batch.nbytes, 1)))
                for start in range(0, batch.num_rows, size):
                    part = batch.slice(start, size)
                    yield row, _in_place(part, text, source, row, errors), part.select(kept)
                    row += part.num_rows


def _in_place(batch: Any, name: str, source: str, row: int, errors: str) -> Any:
    """The texts of a batch that starts at ``row``, as the classifier takes them: no dictionary, UTF-8 checked."""
    pa = require("pyarrow", "arrow")
    texts = batch.column(name)
    if isinstance(texts, pa.DictionaryArray):
        texts = texts.dictionary_decode()
    if errors == "strict":
        try:
            if "binary" in str(texts.type):
                texts.cast(pa.large_string())
            else:  # nobody has checked strings either, least of all when they come from Parquet
                texts.validate(full=True)
        except pa.ArrowInvalid:
            strings(texts, source, row, name, errors)  # names the row
            raise
    return texts


def large_strings(texts: Any, errors: str) -> Any:
    """The texts of a batch as an Arrow array of large_string, or None where some are no UTF-8."""
    pa = require("pyarrow", "arrow")
    try:
        converted = texts.cast(pa.large_string())
        if errors != "strict":  # else they have been checked
            converted.validate(full=True)
    except pa.ArrowException:
        return None
    return converted


def _check_schema(schema: Any, source: str, text: str, wanted: list[str]) -> None:
    """Errors: :class:`DataError` for a column that is missing or there twice, and for texts that are no strings."""
    for column in wanted:
        if schema.names.count(column) > 1:
            raise DataError(f"{source} has {schema.names.count(column)} columns {column!r}; rename all but one")
        if column not in schema.names:
            raise MissingColumnError(column, source, schema.names)
    held = schema.field(text).type
    if str(plain_type(held)) not in STRING_TYPES | {"null"}:
        raise DataError(
            f"column {text!r} of {source} holds {held}, not strings; convert it, or name another with --text"
        )


@contextmanager
def _tables(source: str, kind: str, columns: list[str] | None, size: int) -> Iterator[tuple[Any, Iterator[Any]]]:
    """Schema of a source, and its tables or record batches with at least those ``columns`` (None: all) that it has."""
    if kind == "hf":
        dataset = _hub(source)
        schema = dataset.features.arrow_schema
        there = [name for name in schema.names if columns is None or name in columns]
        tables = dataset.select_columns(there).with_format("arrow").iter(size) if there else iter(())
        yield schema, tables
        return
    pa = require("pyarrow", "arrow")
    name, what = STDIN if source == "-" else source, "Parquet" if kind == "parquet" else "Arrow"
    with _opened(pa, source, kind) as (file, magic):
        own = b"PAR1" if kind == "parquet" else (b"ARROW1", b"\xff\xff\xff\xff")
        if not magic.startswith(own) and (foreign := foreign_format(magic)):
            raise DataError(f"{name} is no {what}, but {foreign.removeprefix('is ')}")
        try:
            if not magic:
                raise pa.ArrowInvalid("it is empty")
            if kind == "parquet":
                parquet = require("pyarrow.parquet", "arrow")
                # Buffered: pages of a row group as they are needed, not a whole column of it. pre_buffer would keep all
                # that was read.
                with parquet.ParquetFile(file, buffer_size=READ_BYTES, pre_buffer=False) as reader:
                    schema, size = reader.schema_arrow, min(size, _affordable(reader.metadata))
                    there = [name for name in schema.names if columns is None or name in columns]
                    yield schema, reader.iter_batches(size, columns=there) if there else iter(())
            elif magic.startswith(b"FEA1"):
                raise pa.ArrowInvalid("feather version 1 is not supported, write it again as version 2")
            elif magic.startswith(b"ARROW1"):
                reader = pa.ipc.open_file(file)
                yield reader.schema, (reader.get_batch(i) for i in range(reader.num_record_batches))
            else:
                reader = pa.ipc.open_stream(file)
                yield reader.schema, reader
        except (pa.ArrowException, OSError) as error:
            # ArrowInvalid is a ValueError and so is DataError, but no DataError is an ArrowException
            raise DataError(f"{name} cannot be read as {what}, it is damaged or cut short: {error}") from None


@contextmanager
def _opened(pa: Any, source: str, kind: str) -> Iterator[tuple[Any, bytes]]:
    """A file of columns, opened for Arrow to read, and its first bytes."""
    if source == "-":
        with raw_bytes(source) as file:
            magic = file.peek(8)[:8]
            # A file is looked into anywhere: from stdin it has to be in memory for that.
            whole = kind == "parquet" or magic.startswith(b"ARROW1")
            yield pa.BufferReader(file.read()) if whole else file, magic
        return
    try:
        mapped = kind != "parquet" and os.path.getsize(source)  # nothing cannot be mapped
        opened = pa.memory_map(source) if mapped else pa.OSFile(source)
    except OSError as error:
        raise DataError(f"{source} cannot be opened: {os.strerror(error.errno) if error.errno else error}") from None
    with opened as file:
        magic = file.read(8)
        file.seek(0)
        yield file, magic


def _affordable(metadata: Any) -> int:
    """Rows of a Parquet file that stay below ``BATCH_BYTES``, judged by the row group with the longest."""
    groups = [metadata.row_group(i) for i in range(metadata.num_row_groups)]
    longest = max((group.total_byte_size / max(group.num_rows, 1) for group in groups), default=0)
    return max(1, int(BATCH_BYTES / max(longest, 1)))


def plain_type(held: Any) -> Any:
    """Arrow's type of the values of a dictionary, or the type itself."""
    return held.value_type if hasattr(held, "index_type") else held


def strings(column: Any, source: str, row: int, name: str, errors: str, raw: bool = False) -> list[Any]:
    """Python values of an Arrow array that starts at ``row``; bytes are decoded, unless ``raw`` lets them be."""
    try:
        values: list[Any] = column.to_pylist()
    except UnicodeDecodeError:  # Parquet's strings are not checked when they are read
        pa = require("pyarrow", "arrow")
        plain = plain_type(column.type)
        if str(plain) not in STRING_TYPES:  # a list of strings, say: its own column, and not the text
            raise not_utf8(f"column {name!r} of {source} (rows {row} to {row + len(column) - 1})") from None
        values, raw = column.cast(plain).cast(pa.large_binary()).to_pylist(), False
    if raw:
        return values
    for i, value in enumerate(values):
        if isinstance(value, bytes):
            try:
                values[i] = value.decode("utf-8", errors)
            except UnicodeDecodeError:
                raise not_utf8(f"column {name!r} at {place_of(source, row + i)}") from None
    return values


def class_names(schema: Any) -> dict[str, list[str]]:
    """Names of the columns that hold class indices, as Hugging Face datasets note them in a schema."""
    try:
        features = json.loads(schema.metadata[b"huggingface"])["info"]["features"]
    except (KeyError, TypeError, ValueError):
        return {}
    columns = {}
    for column, feature in features.items() if isinstance(features, dict) else ():
        while isinstance(feature, list) or (isinstance(feature, dict) and "feature" in feature):
            feature = (feature[0] if feature else None) if isinstance(feature, list) else feature["feature"]
        if isinstance(feature, dict) and feature.get("_type") == "ClassLabel" and feature.get("names"):
            columns[column] = feature["names"]
    return columns


def as_names(values: list[Any], names: list[str]) -> list[Any]:
    """Class indices, or lists of them, as names; -1 is what datasets write where there is no label."""
    return [
        as_names(value, names) if isinstance(value, list)
        else names[value] if isinstance(value, int) and 0 <= value < len(names)
        else None
        for value in values
    ]  # fmt: skip


def _hub(source: str) -> Any:
    """The dataset of ``hf:owner/name[/config][:split]`` or ``hf:folder[:split]``."""
    datasets = require("datasets", "hub")
    path, split = re.fullmatch(r"hf:(.*?)(?::([^:/\\\[]+(?:\[.*\])?))?", source, re.DOTALL).groups()  # type: ignore
    config = None
    if not os.path.isdir(path) and path.count("/") >= 2 and not path.startswith((".", "/", "~")):
        owner, name, config = path.split("/", 2)
        path = f"{owner}/{name}"
    elif path.startswith("~"):
        path = os.path.expanduser(path)
    quiet = not sys.stderr.isatty() and not datasets.are_progress_bars_disabled()
    if quiet:
        datasets.disable_progress_bars()
    try:
        if os.path.exists(os.path.join(path, "dataset_dict.json")) or os.path.exists(os.path.join(path, "state.json")):
            loaded = datasets.load_from_disk(path)
            return _split_of(loaded, split, source)
        try:
            return datasets.load_dataset(path, config, split=split or "train")
        except ValueError:
            if split:
                raise
            return _split_of(datasets.load_dataset(path, config), None, source)
    except DataError:
        raise
    except Exception as error:  # the Hub, the network and the dataset's own files each fail in their own way
        why = " ".join(str(error).split())[:400] or type(error).__name__
        raise DataError(f"{source} cannot be loaded: {why}; the form is hf:owner/name[/config][:split]") from None
    finally:
        if quiet:
            datasets.enable_progress_bars()


def _split_of(loaded: Any, split: str | None, source: str) -> Any:
    if not isinstance(loaded, dict):
        if split in (None, str(loaded.split)):
            return loaded
        raise DataError(f"{source} has no splits; leave out :{split}")
    if split is None:
        split = "train" if "train" in loaded or len(loaded) != 1 else next(iter(loaded))
    if split not in loaded:
        raise DataError(f"{source} has no split {split!r}; name one of {several(list(loaded))}, as in hf:name:split")
    return loaded[split]


def rows_of(source: str, kind: str) -> int:
    """Number of rows of a source."""
    if kind == "hf":
        return len(_hub(source))
    with _tables(source, kind, None, 1) as (_, tables):
        if kind == "parquet":
            result: int = require("pyarrow.parquet", "arrow").read_metadata(source).num_rows
            return result
        return sum(table.num_rows for table in tables)
