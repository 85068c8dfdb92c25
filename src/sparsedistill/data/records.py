"""Records of any source, streamed in batches, each with the place where it stands."""

from __future__ import annotations

import itertools
import sys
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..errors import SettingsError, require
from ..options import Data
from .files import AUTO, BATCH_BYTES, STDIN, TABLE_FORMATS, Form, decoded, expand, no_text, opened, place_of
from .lines import Record, kept_columns, records_of, whole_records
from .tables import (
    STRING_TYPES,
    as_names,
    check_schema,
    class_names,
    in_place,
    plain_type,
    rows_of,
    strings,
    tables_of,
)


@dataclass(frozen=True)
class Batch:
    """Up to ``batch_size`` consecutive records of one file.

    ``source`` is the file as the user knows it, ``hf:...`` or ``stdin``. ``rows`` holds the 1-based number of each
    record as its format counts: the line (CSV: the one the record starts on), the row of a columnar file, or the
    element of a list of JSON. ``columns`` holds the other columns asked for, Python values, as long as ``texts``; class
    indices of Hugging Face datasets are already names there, and fastText's ``label`` is a list of names a text.
    """

    source: str
    rows: Sequence[int]
    texts: list[str]
    columns: dict[str, list]

    @property
    def first_row(self) -> int:
        """1-based number of the first record."""
        return self.rows[0]


class Skipped:
    """Leaves out records without a text (null or blank), or with nothing in a column that is ``needed``; counts them.

    ``blank``: whether a blank string or an empty list there is nothing, too; else it is a label of no names.
    Attributes: ``count``, and ``first``: where the first stands.
    """

    def __init__(self, needed: Sequence[str], blank: bool):
        self.count, self.first = 0, ""
        self._needed, self._blank = needed, blank

    def out_of(self, batches: Iterator[Batch]) -> Iterator[Batch]:
        """The batches without those records; none is empty."""
        for batch in batches:
            out = [text is None or not text.strip() for text in batch.texts]
            for name in self._needed:
                out = [gone or self._nothing(value) for gone, value in zip(out, batch.columns[name], strict=True)]
            keep = [i for i, gone in enumerate(out) if not gone]
            if len(keep) < len(out):
                self.first = self.first or place_of(batch.source, batch.rows[out.index(True)])
                self.count += len(out) - len(keep)
                columns = {name: [values[i] for i in keep] for name, values in batch.columns.items()}
                batch = Batch(batch.source, [batch.rows[i] for i in keep], [batch.texts[i] for i in keep], columns)
            if batch.texts:
                yield batch

    def _nothing(self, value: Any) -> bool:
        if value is None or value != value:
            return True
        if isinstance(value, list) and len(value) == 1:
            return self._nothing(value[0])
        return self._blank and (not value.strip() if isinstance(value, str) else value == [])


@dataclass(frozen=True)
class Piece:
    """Consecutive records of one file with all columns asked for, as they came: for those who hand them on.

    ``source`` and ``rows`` are as in :class:`Batch`. ``texts`` is a list or an Arrow array, and may hold nulls.
    ``records`` is a list of dicts or an Arrow record batch. ``columns`` says what the file brings: a list of names
    (every value is a str), an Arrow schema, or None where each record has names of its own (JSON lines).
    """

    source: str
    rows: Sequence[int]
    texts: Any
    records: Any
    columns: Any

    def place(self, i: int) -> str:
        """Where record ``i`` stands: file and row."""
        return place_of(self.source, self.rows[i])

    def values(self, column: str, errors: str = "strict", flat: bool = False) -> list:
        """One column as Python values, None where a record does not have it.

        Of an Arrow column, bytes are decoded as UTF-8, times and decimals become strings; all do that are ``flat``.
        """
        if isinstance(self.records, list):
            return [record.get(column) for record in self.records]
        types, array = require("pyarrow", "arrow").types, self.records.column(column)
        held = plain_type(array.type)
        if str(held) not in STRING_TYPES and (flat or types.is_temporal(held) or types.is_decimal(held)):
            array = array.cast("string")
        return strings(array, self.source, self.rows[0] if self.rows else 0, column, errors, nulls=True)


class Places:
    """Where texts stand: the file and the row of each, which an index gives as a string.

    ``parts``: sources and the rows of theirs, one after the other, as :class:`Batch` has them.
    """

    def __init__(self, parts: Sequence[tuple[str, Sequence[int]]]):
        self._sources = [source for source, _ in parts]
        self._of = np.repeat(np.arange(len(parts), dtype=np.int32), [len(rows) for _, rows in parts])
        self._rows = np.concatenate([np.zeros(0, np.int64), *(np.asarray(rows, np.int64) for _, rows in parts)])

    def __len__(self) -> int:
        return len(self._rows)

    def __getitem__(self, i: int) -> str:
        return place_of(*self.where(i))

    def where(self, i: int) -> tuple[str, int]:
        """Source and row of text ``i``."""
        return self._sources[self._of[i]], int(self._rows[i])

    def take(self, which: np.ndarray | slice) -> Places:
        """Those of the texts at ``which``."""
        found = Places([])
        found._sources, found._of, found._rows = self._sources, self._of[which], self._rows[which]
        return found


def read(
    sources: Sequence[str],
    text: str = "text",
    columns: Sequence[str] = (),
    *,
    encoding_errors: str = "strict",
    batch_size: int = 8192,
    label: str = "label",
    form: Form = AUTO,
    skipped: Skipped | None = None,
) -> Iterator[Batch]:
    """Stream the records of ``sources`` in order; an empty text is a text, unless ``skipped`` leaves such records out.

    ``text`` names the column of the text and ``columns`` others to bring along; plain lines and fastText files have
    no named columns and ignore ``text``; fastText's labels answer to ``label``. Invalid UTF-8 is refused, or with
    ``encoding_errors="replace"`` becomes U+FFFD. Memory is a batch, not a file (but a list of JSON is read whole).
    Blank lines of CSV, TSV, JSON lines and fastText are no records, nor are headers that stand once more inside a CSV
    or TSV file: that is said.

    Errors: :class:`DataError`, with file and row, for what cannot be read, a column that is missing, or a text that
    is null or no string.
    """
    return read_expanded(expand(sources, form), text, columns, encoding_errors, batch_size, label, form, skipped)


def whole(
    source: str,
    text: str = "text",
    keep: Sequence[str] | None = None,
    *,
    encoding_errors: str = "strict",
    most: int = 1 << 14,
    form: Form = AUTO,
) -> Iterator[Piece]:
    """Stream the records of one source with the columns ``keep`` (None: all), up to ``most`` in a piece.

    The first piece is empty: it tells the columns of a file that has no record, too. Plain lines have one column,
    ``text``; fastText files have ``label``, names joined by commas, and ``text``, and their blank lines are texts.
    Invalid UTF-8 in an Arrow array of texts is refused, or with ``encoding_errors="replace"`` stays as it is: the
    classifier reads it as U+FFFD.

    Errors: :class:`DataError` as of :func:`read`, except that a text may be null.
    """
    kind = form.kind(source)
    if kind in TABLE_FORMATS:
        yield from whole_tables(source, kind, text, keep, encoding_errors, most)
        return
    name, size = STDIN if source == "-" else source, 0
    if source == "-" and sys.stdin.isatty():
        most = 1  # who types a line wants its answer

    def measured(lines: Iterator[str]) -> Iterator[str]:
        nonlocal size
        for line in lines:
            size += len(line)
            yield line

    with opened(source) as file:
        lines = measured(decoded(file, name, encoding_errors))
        columns, records = whole_records(lines, name, kind, text, keep, encoding_errors, form)
        yield Piece(name, [], [], [], columns)
        part: list[tuple[int, str | None, dict]] = []
        for record in records:
            part.append(record)
            if len(part) == most or size >= BATCH_BYTES:
                yield _piece(name, part, columns)
                part, size = [], 0
        if part:
            yield _piece(name, part, columns)


def check(
    sources: Sequence[str],
    text: str = "text",
    columns: Sequence[str] = (),
    *,
    encoding_errors: str = "strict",
    label: str = "label",
    form: Form = AUTO,
    skipped: Skipped | None = None,
) -> None:
    """Look at the start of every source, so that hours of work do not end at a file that was never going to do.

    Stdin is not touched: it can be read only once.

    Errors: :class:`DataError` as of :func:`read`, or when there is no text in all of ``sources``.
    """
    empty = True
    for source in (found := expand(sources, form)):
        if source == "-" or next(
            read_expanded([source], text, columns, encoding_errors, 1, label, form, skipped), None
        ):
            empty = False
    if empty:
        raise no_text(found)


def count(sources: Sequence[str], form: Form = AUTO) -> int | None:
    """Number of records :func:`read` will give, or None where only reading everything would tell: not all is columnar.

    Errors: :class:`DataError` for a file that cannot be read.
    """
    kinds = {source: form.kind(source) for source in expand(sources, form)}
    if not all(kind in TABLE_FORMATS and source != "-" for source, kind in kinds.items()):
        return None
    return sum(rows_of(source, form.kind(source) or "") for source in expand(sources, form))


def skipping(data: Data, labels: Sequence[str] = ()) -> Skipped | None:
    """What leaves out records without a text or one of the ``labels``, where the settings ask for it."""
    pair = [data.pair] if data.pair else []
    return Skipped([*labels, *pair], data.task != "multi" or len(labels) > 1) if data.skip_missing else None


def read_expanded(
    found: Iterable[str],
    text: str,
    columns: Sequence[str],
    errors: str,
    batch_size: int = 8192,
    label: str = "label",
    form: Form = AUTO,
    skipped: Skipped | None = None,
) -> Iterator[Batch]:
    """:func:`read` of expanded sources; ``label`` is what the caller calls the labels of a fastText file."""
    if errors not in ("strict", "replace"):
        raise SettingsError(f"encoding errors {errors!r} is not known (known: strict, replace)")
    if batch_size < 1:
        raise SettingsError(f"a batch of {batch_size} texts is too small; 1 is the least")
    columns = list(dict.fromkeys(columns))
    for source in found:
        kind = form.kind(source)
        if kind in TABLE_FORMATS:
            batches = columnar(source, kind, text, columns, errors, batch_size, skipped is not None)
            yield from batches if skipped is None else skipped.out_of(batches)
        else:
            name = STDIN if source == "-" else source
            with opened(source) as file:
                records = records_of(file, name, kind, text, columns, errors, label, form, skipped is not None)
                batches = _batches(records, name, columns, batch_size)
                yield from batches if skipped is None else skipped.out_of(batches)


def _piece(name: str, part: list[tuple[int, str | None, dict]], columns: list[str] | None) -> Piece:
    rows, texts, records = zip(*part, strict=True)
    return Piece(name, rows, list(texts), list(records), columns)


def _batches(records: Iterator[Record], name: str, columns: list[str], size: int) -> Iterator[Batch]:
    while part := list(itertools.islice(records, size)):
        rows, texts, values = zip(*part, strict=True)
        by_column = list(zip(*values, strict=True)) if columns else []
        yield Batch(name, rows, list(texts), {c: list(v) for c, v in zip(columns, by_column, strict=False)})


def columnar(
    source: str, kind: str, text: str, columns: list[str], errors: str, size: int, nulls: bool
) -> Iterator[Batch]:
    """Parquet, Arrow files and streams, and Hugging Face datasets: all are tables of Arrow arrays."""
    wanted = list(dict.fromkeys([text, *columns]))
    row = 1
    with tables_of(source, kind, wanted, size) as (schema, tables):
        source = STDIN if source == "-" else source
        check_schema(schema, source, text, wanted)
        classes = class_names(schema)
        for table in tables:
            for start in range(0, table.num_rows, size):
                part = table.slice(start, size)
                texts = strings(part.column(part.schema.names.index(text)), source, row, text, errors, nulls)
                rest = {}
                for column in columns:
                    values = part.column(part.schema.names.index(column))
                    values = strings(values, source, row, column, errors, nulls=True, raw=True)
                    rest[column] = as_names(values, classes[column]) if column in classes else values
                yield Batch(source, range(row, row + len(texts)), texts, rest)
                row += len(texts)


def whole_tables(
    source: str, kind: str, text: str, keep: Sequence[str] | None, errors: str, most: int
) -> Iterator[Piece]:
    """:func:`whole` of tables of Arrow arrays: nothing becomes a Python object."""
    pa = require("pyarrow", "arrow")
    wanted = None if keep is None else list(dict.fromkeys([text, *keep]))
    row = 1
    with tables_of(source, kind, wanted, most) as (schema, tables):
        source = STDIN if source == "-" else source
        kept = kept_columns(schema.names, keep, source)
        check_schema(schema, source, text, [text, *kept])
        columns = pa.schema([schema.field(name) for name in kept], schema.metadata)
        yield Piece(source, [], [], pa.RecordBatch.from_pylist([], columns), columns)
        for table in tables:
            for batch in table.to_batches() if isinstance(table, pa.Table) else [table]:
                size = max(1, min(most, batch.num_rows * BATCH_BYTES // max(batch.nbytes, 1)))
                for start in range(0, batch.num_rows, size):
                    part = batch.slice(start, size)
                    texts = in_place(part, text, source, row, errors)
                    yield Piece(source, range(row, row + len(texts)), texts, part.select(kept), columns)
                    row += len(texts)
