"""Records of any source, streamed in batches, each with the place where it stands."""

from __future__ import annotations

import hashlib
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from itertools import chain, islice
from typing import Any

import numpy as np

from ..errors import SettingsError, require
from ..options import Data
from .files import (
    AUTO,
    BATCH_BYTES,
    STDIN,
    TABLE_FORMATS,
    Form,
    MissingColumnError,
    decoded,
    expand,
    no_string,
    no_text,
    opened,
    place_of,
)
from .lines import Record, read_lines
from .tables import (
    STRING_TYPES,
    as_names,
    class_names,
    large_strings,
    plain_type,
    read_tables,
    rows_of,
    strings,
)

MOST_OPEN = 64  # files that are open at a time


@dataclass(frozen=True)
class Batch:
    """Consecutive records of one file.

    Attributes:
        source: The file as the user knows it, ``hf:...`` or ``stdin``.
        rows: The 1-based number of each record as its format counts: the line (CSV: the one the record starts on), the
            row of a columnar file, or the element of a list of JSON.
        texts: A list of str or an Arrow array; either may hold nulls, unless a :class:`Reader` gave it.
        records: The columns asked for as they came: a list of dicts (JSON, where each has its own), a dict of lists,
            or an Arrow record batch.
        columns: What the file brings: a list of names, an Arrow schema, or None where each record has names of its own.
        errors: What becomes of bytes that are no UTF-8: "strict" or "replace".
    """

    source: str
    rows: Sequence[int]
    texts: Any
    records: Any
    columns: Any
    errors: str = "strict"

    @property
    def first_row(self) -> int:
        """1-based number of the first record."""
        return self.rows[0]

    @property
    def in_arrow(self) -> bool:
        """Whether ``records`` is an Arrow record batch."""
        return not isinstance(self.records, list | dict)

    def place(self, i: int) -> str:
        """Where record ``i`` stands: file and row."""
        return place_of(self.source, self.rows[i])

    def values(self, column: str, flat: bool = False) -> list[Any]:
        """One column as it is written: Python values, None where a record does not have it.

        Of an Arrow column, bytes are decoded as UTF-8, times and decimals become strings; all do that are ``flat``.
        Several labels of a fastText file are separated by commas.
        """
        if isinstance(self.records, list):
            return [record.get(column) for record in self.records]
        if isinstance(self.records, dict):
            values = self.records[column]
            return [",".join(one) for one in values] if values and isinstance(values[0], list) else values
        types, array = require("pyarrow", "arrow").types, self.records.column(column)
        held = plain_type(array.type)
        if str(held) not in STRING_TYPES and (flat or types.is_temporal(held) or types.is_decimal(held)):
            array = array.cast("string")
        return strings(array, self.source, self.rows[0] if self.rows else 0, column, self.errors)

    def named(self, column: str) -> list[Any]:
        """One column as what it means: class indices of Hugging Face datasets as names, fastText's labels as lists."""
        if not self.in_arrow:
            return self.records[column] if isinstance(self.records, dict) else self.values(column)
        array = self.records.column(column)
        values = strings(array, self.source, self.rows[0] if self.rows else 0, column, self.errors, raw=True)
        names = class_names(self.columns).get(column)
        return values if names is None else as_names(values, names)

    def take(self, which: list[int]) -> Batch:
        """The records at ``which``."""
        rows, texts = [self.rows[i] for i in which], self.texts
        texts = [texts[i] for i in which] if isinstance(texts, list) else texts.take(which)
        if isinstance(self.records, list):
            records: Any = [self.records[i] for i in which]
        elif isinstance(self.records, dict):
            records = {name: [values[i] for i in which] for name, values in self.records.items()}
        else:
            records = self.records.take(require("pyarrow", "arrow").array(which, "int64"))
        return replace(self, rows=rows, texts=texts, records=records)


class Skipped:
    """Leaves out records without a text (null or blank), or with nothing in a column that is ``needed``; counts them.

    ``blank``: whether a blank string there is nothing, too, and ``lists``: an empty list; else they are no names.
    Attributes: ``count``, and ``first``: where the first stands.
    """

    def __init__(self, needed: Sequence[str], blank: bool, lists: bool):
        self.count, self.first = 0, ""
        self._needed, self._blank, self._lists = needed, blank, lists

    def out_of(self, batch: Batch) -> Batch:
        """The batch, whose texts are a list, without those records."""
        out = [text is None or not text.strip() for text in batch.texts]
        for name in self._needed:
            out = [gone or self._nothing(value) for gone, value in zip(out, batch.named(name), strict=True)]
        if not any(out):
            return batch
        self.first = self.first or batch.place(out.index(True))
        self.count += sum(out)
        return batch.take([i for i, gone in enumerate(out) if not gone])

    def _nothing(self, value: Any) -> bool:
        if value is None or value != value:
            return True
        if isinstance(value, list) and len(value) == 1:
            return self._nothing(value[0])
        return self._blank and not value.strip() if isinstance(value, str) else self._lists and value == []


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

    def columns(self) -> tuple[Any, Any]:
        """Sources and rows as Arrow arrays."""
        pa = require("pyarrow", "arrow")
        return pa.array(self._sources, pa.string()).take(pa.array(self._of)), pa.array(self._rows)

    def take(self, which: np.ndarray | slice) -> Places:
        """Those of the texts at ``which``."""
        places = Places([])
        places._sources, places._of, places._rows = self._sources, self._of[which], self._rows[which]
        return places


class Reader:
    """The records of ``sources`` in order, batch by batch; an empty text is a text, unless ``skipped`` leaves such out.

    Each source is opened once. The first :data:`MOST_OPEN` of them are open from the start: that a column is missing in
    the last of ten files is known before the first is read.

    ``text`` names the column of the text and ``columns`` others to bring along; plain lines and fastText files have
    no named columns and ignore ``text``; fastText's labels answer to ``label``. Invalid UTF-8 is refused, or with
    ``encoding_errors="replace"`` becomes U+FFFD. Memory is a batch, not a file (but a list of JSON is read whole).
    Blank lines of CSV, TSV, JSON lines and fastText are no records, nor are headers that stand once more inside a CSV
    or TSV file: that is logged. Texts come as a list; with ``in_arrow`` those of columnar files as Arrow arrays of
    large_string, where that can be. Columns among ``optional`` may be missing in a file, whose batches then lack them.

    Attributes: ``sources``: as :func:`expand` has them. ``skipped``: what was given.

    Errors: :class:`DataError`, with file and row, for what cannot be read, a column that is missing, or a text that
    is null or no string.
    """

    def __init__(
        self,
        sources: Sequence[str],
        text: str = "text",
        columns: Sequence[str] = (),
        *,
        encoding_errors: str = "strict",
        batch_size: int = 8192,
        label: str = "label",
        form: Form = AUTO,
        skipped: Skipped | None = None,
        in_arrow: bool = False,
        optional: Sequence[str] = (),
    ):
        if encoding_errors not in ("strict", "replace"):
            raise SettingsError(f"encoding errors {encoding_errors!r} is not known (known: strict, replace)")
        if batch_size < 1:
            raise SettingsError(f"a batch of {batch_size} texts is too small; 1 is the least")
        self.sources, self.skipped = expand(sources, form), skipped
        self._text, self._in_arrow = text, in_arrow
        self._keep, self._optional = list(dict.fromkeys(columns)), optional
        strict = skipped is None and not optional
        self._stream = partial(
            stream, text=text, encoding_errors=encoding_errors, most=batch_size, form=form, label=label,
            absent="error" if strict else "null", blank_lines=False,
        )  # fmt: skip
        self._open: list[Iterator[Batch]] = []
        if not self.sources:
            raise no_text(())
        for source in self.sources[:MOST_OPEN]:
            # Of columnar files the schema tells what they have, of lines the first record; stdin may not have one yet.
            of_lines = source != "-" and form.kind(source) not in TABLE_FORMATS
            batches = self._begun(source, peek=of_lines)
            first = [*islice(self._strict(batches), 1)] if of_lines else ()
            self._open.append(chain(first, self._strict(batches)))

    def __iter__(self) -> Iterator[Batch]:
        begun, self._open = self._open, []
        if not begun:
            raise RuntimeError("these sources have been read: open them anew")
        begun.reverse()  # what has been read is let go
        while begun:
            yield from begun.pop()
        for source in self.sources[MOST_OPEN:]:
            yield from self._strict(self._begun(source))

    def _begun(self, source: str, peek: bool = False) -> Iterator[Batch]:
        """The batches of a source that has the columns which are not optional, less the first, empty one."""
        keep = self._keep
        while True:
            batches = self._stream(source, keep=keep, peek=peek)
            try:
                next(batches)
                first = [*islice(batches, 1)] if self._optional else ()  # what CSV lacks, its first record tells
                return chain(first, batches)
            except MissingColumnError as error:
                if error.name not in self._optional:
                    raise
                keep = [name for name in keep if name != error.name]

    def _strict(self, batches: Iterator[Batch]) -> Iterator[Batch]:
        """The batches that have records, their texts without nulls."""
        for batch in batches:
            if not batch.rows:
                continue
            if not isinstance(batch.texts, list):
                texts = None
                if self._in_arrow and self.skipped is None and not batch.texts.null_count:
                    texts = large_strings(batch.texts, batch.errors)
                if texts is None:
                    texts = strings(batch.texts, batch.source, batch.first_row, self._text, batch.errors)
                batch = replace(batch, texts=texts)
            if self.skipped is not None:
                batch = self.skipped.out_of(batch)
            elif isinstance(batch.texts, list) and None in batch.texts:
                raise no_string(None, self._text, batch.place(batch.texts.index(None)))
            if batch.rows:
                yield batch


def stream(
    source: str,
    text: str = "text",
    keep: Sequence[str] | None = None,
    *,
    encoding_errors: str = "strict",
    most: int = 1 << 14,
    form: Form = AUTO,
    label: str = "label",
    absent: str = "own",
    blank_lines: bool = True,
    peek: bool = False,
) -> Iterator[Batch]:
    """Stream the records of one source as they came, with the columns ``keep`` (None: all), up to ``most`` a batch.

    The first batch is empty: it tells the columns of a file that has no record, too. Plain lines have one column,
    ``text``; fastText files have ``text`` and ``label`` (which answers to the name given as ``label``, too), and their
    ``blank_lines`` are texts, or no records. Invalid UTF-8 in an Arrow array of texts is refused, or with
    ``encoding_errors="replace"`` stays as it is: the classifier reads it as U+FFFD. A record of JSON that lacks a
    column is an ``absent`` "error", has a "null" there, or has columns of its "own", as all then do. ``peek``: the
    first record of a file of lines comes as a batch of its own.

    Errors: :class:`DataError` as of a :class:`Reader`, except that a text may be null.
    """
    kind, name = form.kind(source), STDIN if source == "-" else source
    try:
        if kind in TABLE_FORMATS:
            schema = None
            for row, texts, records in read_tables(source, kind, text, keep, encoding_errors, most):
                schema = schema or records.schema
                yield Batch(name, range(row, row + records.num_rows), texts, records, schema, encoding_errors)
            return
        if source == "-" and sys.stdin.isatty():
            most = 1  # who types a line wants its answer
        full = 1 if peek else most

        with opened(source) as file:
            size = [0]
            lines = decoded(file, name, encoding_errors, size)
            columns, records = read_lines(
                lines, name, kind, text, keep, encoding_errors, form, label, absent, blank_lines
            )
            yield _batch(name, [], columns, encoding_errors)
            part: list[Record] = []
            for record in records:
                part.append(record)
                if size[0] >= BATCH_BYTES or len(part) == full:
                    yield _batch(name, part, columns, encoding_errors)
                    part, size[0], full = [], 0, most
            if part:
                yield _batch(name, part, columns, encoding_errors)
    except MissingColumnError as error:
        raise error.with_option({label: "--label", text: "--text"}.get(error.name, "")) from None


def count(sources: Sequence[str], form: Form = AUTO) -> int | None:
    """Number of records a :class:`Reader` will give; None where not all is columnar, and only reading would tell.

    Errors: :class:`DataError` for a file that cannot be read.
    """
    kinds = {source: form.kind(source) for source in expand(sources, form)}
    if not all(kind in TABLE_FORMATS and source != "-" for source, kind in kinds.items()):
        return None
    return sum(rows_of(source, form.kind(source) or "") for source in expand(sources, form))


def reader_of(sources: Sequence[str], data: Data, columns: Sequence[str] = (), option: str = "", **more: Any) -> Reader:
    """A :class:`Reader` that reads as ``data`` says; ``option`` is named in the error where one of ``columns`` is not
    there.
    """
    try:
        return Reader(
            sources, data.text, columns, encoding_errors=data.encoding_errors, form=Form.of(data),
            skipped=skipping(data), **more,
        )  # fmt: skip
    except MissingColumnError as error:
        raise error.with_option(option if error.name in columns else "--text") from None


def skipping(data: Data, labels: Sequence[str] = (), blank: bool = False) -> Skipped | None:
    """What leaves out records without a text or one of the ``labels``, where the settings ask for it.

    ``blank``: a blank label of multi is none, too, as it is of others.
    """
    pair = [data.pair] if data.pair else []
    lists = data.task != "multi" or len(labels) > 1
    return Skipped([*labels, *pair], blank or lists, lists) if data.skip_missing else None


def _batch(name: str, part: list[Record], columns: list[str] | None, errors: str) -> Batch:
    rows, texts, values = zip(*part, strict=True) if part else ((), (), ())
    if columns is None:
        return Batch(name, rows, list(texts), list(values), None, errors)
    by_column = map(list, zip(*values, strict=True)) if part else ([] for _ in columns)
    return Batch(name, rows, list(texts), dict(zip(columns, by_column, strict=True)), columns, errors)


def fingerprint(texts: Sequence[str]) -> str:
    """16 bytes of BLAKE2b, in hex, over the texts and their boundaries."""
    state = hashlib.blake2b(digest_size=16)
    for text in texts:
        raw = text.encode("utf-8", "surrogatepass")
        state.update(len(raw).to_bytes(8, "little"))
        state.update(raw)
    return state.hexdigest()
