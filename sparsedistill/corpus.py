"""Texts and gold labels, from the files people have: streamed, counted, and refused at the door when broken."""

from __future__ import annotations

import csv
import glob
import gzip
import io
import itertools
import json
import math
import os
import re
import sys
import zlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, BinaryIO

import numpy as np

from .errors import DataError, SettingsError, require
from .settings import TASKS, Data

_LINES = {
    ".jsonl": "jsonl", ".ndjson": "jsonl", ".json": "jsonl", ".csv": "csv", ".tsv": "tsv",
    ".txt": "plain", ".ft": "fasttext", ".fasttext": "fasttext",
}  # fmt: skip
_COLUMNAR = {".parquet": "parquet", ".arrow": "ipc", ".feather": "ipc"}
_COMPRESSED = (".gz", ".zst")
_KNOWN = f"{', '.join([*_COLUMNAR, *_LINES])}; the text formats also with .gz or .zst"
_STRINGS = {"string", "large_string", "string_view", "binary", "large_binary", "binary_view"}
_STDIN = "stdin"
_JSON_SPACE = " \t\r\n"
_READ = 1 << 20  # bytes read at a time
_PIECE_BYTES = 1 << 24  # that one Piece holds, about: long records must not fill the memory
_HALF_PAIR = re.compile(r"\\u[dD][89a-fA-F]")  # escapes of JSON, two of which make a character

# fastText's own idea of a space; Python's is wider and would cut labels and texts at U+00A0
_SPACE = r"[ \t\v\f\r\0]"
_FASTTEXT_HEAD = re.compile(rf"{_SPACE}*__label__([^ \t\v\f\r\0]*){_SPACE}?")
_FASTTEXT_LATER = re.compile(rf"{_SPACE}+__label__([^ \t\v\f\r\0]*)")


@dataclass(frozen=True)
class Batch:
    """Up to ``batch_size`` consecutive records of one file.

    ``source`` is the file as the user knows it, ``hf:...`` or ``stdin``. ``rows`` holds the 1-based number of each
    record as its format counts: the line (CSV: the one the record starts on), or the row of a columnar file.
    ``columns`` holds the other columns asked for, Python values, as long as ``texts``; class indices of Hugging Face
    datasets are already names there, and fastText's ``label`` is a list of names a text.
    """

    source: str
    rows: Sequence[int]
    texts: list[str]
    columns: dict[str, list]

    @property
    def first_row(self) -> int:
        """1-based number of the first record."""
        return self.rows[0]


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
        return _at(self.source, self.rows[i])

    def values(self, column: str, errors: str = "strict", flat: bool = False) -> list:
        """One column as Python values, None where a record does not have it.

        Of an Arrow column, bytes are decoded as UTF-8, times and decimals become strings; all do that are ``flat``.
        """
        if isinstance(self.records, list):
            return [record.get(column) for record in self.records]
        types, array = require("pyarrow", "arrow").types, self.records.column(column)
        held = plain_type(array.type)
        if str(held) not in _STRINGS and (flat or types.is_temporal(held) or types.is_decimal(held)):
            array = array.cast("string")
        return _strings(array, self.source, self.rows[0] if self.rows else 0, column, errors, nulls=True)


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
        return _at(self._sources[self._of[i]], int(self._rows[i]))

    def take(self, which: np.ndarray | slice) -> Places:
        """Those of the texts at ``which``."""
        found = Places([])
        found._sources, found._of, found._rows = self._sources, self._of[which], self._rows[which]
        return found


@dataclass(frozen=True)
class Labelled:
    """Texts with their gold labels.

    ``targets`` is int64 (n,) of class indices for single, float32 (n, C) of 0 and 1 for multi, float32 (n,) for
    regression; ``labels`` names the C classes in their order (``("score",)`` for regression); ``extra`` holds the
    further columns asked for; ``places`` says where each text stands.
    """

    texts: list[str]
    targets: np.ndarray
    labels: tuple[str, ...]
    extra: dict[str, list]
    places: Places


def expand(sources: Sequence[str]) -> list[str]:
    """Turn files, globs, folders, ``hf:...`` and ``-`` (stdin) into single sources, in order.

    A folder stands for every file below it that has a known suffix and no dot before its name, sorted by path. An
    ``hf:`` source, ``hf:owner/name[/config][:split]`` or ``hf:folder[:split]``, stays as it is; without a split it
    is the one called train, or the only one.

    Errors: :class:`DataError` for a source that matches nothing, or a file whose format is not known.
    """
    found: list[str] = []
    for source in [sources] if isinstance(sources, (str, os.PathLike)) else sources:
        source = os.fspath(source)
        if source == "-" and "-" in found:
            raise DataError("stdin (-) is named twice, but it can be read only once")
        if source == "-" or source.startswith("hf:"):
            found.append(source)
            continue
        path = os.path.expanduser(source)
        matches = [path] if os.path.exists(path) else sorted(glob.glob(path, recursive=True))
        if not matches:
            what = "no file matches" if glob.has_magic(source) else "no such file or folder:"
            raise DataError(f"{what} {source!r}; correct the path, or write hf:{source} for a dataset of the Hub")
        for match in matches:
            if not os.path.isdir(match):
                if _kind(match) is None:
                    raise DataError(f"{match} has a suffix that is not known (known: {_KNOWN}); rename or convert it")
                found.append(match)
            elif inside := _files_below(match):
                found.extend(inside)
            elif len(matches) == 1:
                raise DataError(f"folder {match} holds no file that can be read (known suffixes: {_KNOWN})")
    return found


def read(
    sources: Sequence[str],
    text: str = "text",
    columns: Sequence[str] = (),
    *,
    encoding_errors: str = "strict",
    batch_size: int = 8192,
    label: str = "label",
) -> Iterator[Batch]:
    """Stream the records of ``sources`` in order; an empty text is a text.

    ``text`` names the column of the text and ``columns`` others to bring along; plain lines and fastText files have
    no named columns and ignore ``text``; fastText's labels answer to ``label``. Invalid UTF-8 is refused, or with
    ``encoding_errors="replace"`` becomes U+FFFD. Memory is a batch, not a file. Blank lines of CSV, TSV and JSON
    lines are no records.

    Errors: :class:`DataError`, with file and row, for what cannot be read, a column that is missing, or a text that
    is null or no string.
    """
    return _read(expand(sources), text, columns, encoding_errors, batch_size, label)


def whole(
    source: str,
    text: str = "text",
    keep: Sequence[str] | None = None,
    *,
    encoding_errors: str = "strict",
    most: int = 1 << 14,
) -> Iterator[Piece]:
    """Stream the records of one source with the columns ``keep`` (None: all), up to ``most`` in a piece.

    The first piece is empty: it tells the columns of a file that has no record, too. Plain lines have one column,
    ``text``; fastText files have ``label``, names joined by commas, and ``text``. Invalid UTF-8 in an Arrow array of
    texts is refused, or with ``encoding_errors="replace"`` stays as it is: the classifier reads it as U+FFFD.

    Errors: :class:`DataError` as of :func:`read`, except that a text may be null.
    """
    kind = _kind(source)
    if kind in ("hf", "parquet", "ipc"):
        yield from _whole_tables(source, kind, text, keep, encoding_errors, most)
        return
    name, size = _STDIN if source == "-" else source, 0
    if source == "-" and sys.stdin.isatty():
        most = 1  # who types a line wants its answer

    def measured(lines: Iterator[str]) -> Iterator[str]:
        nonlocal size
        for line in lines:
            size += len(line)
            yield line

    with _opened(source) as file:
        lines = measured(_decoded(file, name, encoding_errors))
        columns, records = _whole_records(lines, name, kind, text, keep, encoding_errors)
        yield Piece(name, [], [], [], columns)
        part: list[tuple[int, str | None, dict]] = []
        for record in records:
            part.append(record)
            if len(part) == most or size >= _PIECE_BYTES:
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
) -> None:
    """Look at the start of every source, so that hours of work do not end at a file that was never going to do.

    Stdin is not touched: it can be read only once.

    Errors: :class:`DataError` as of :func:`read`, or when there is no text in all of ``sources``.
    """
    empty = True
    for source in (found := expand(sources)):
        if source == "-" or next(_read([source], text, columns, encoding_errors, 1, label), None):
            empty = False
    if empty:
        raise _no_text(found)


def count(sources: Sequence[str]) -> int | None:
    """Number of records :func:`read` will give, or None where only reading everything would tell: not all is columnar.

    Errors: :class:`DataError` for a file that cannot be read.
    """
    found = expand(sources)
    return sum(map(_count, found)) if all(_kind(source) in ("hf", "parquet", "ipc") for source in found) else None


def labelled(
    sources: Sequence[str], data: Data, labels: Sequence[str] | None = None, columns: Sequence[str] = ()
) -> Labelled:
    """Read texts and gold labels into memory.

    The classes are ``labels`` (those of train, say), else ``data.labels``, else the distinct names found, sorted
    (integers as numbers). A label that is no string stands for its ``str``. Where ``data.labels`` are given and none
    of them is an integer, integers 0..C-1 in the data are class indices.

    Errors: :class:`DataError`, with file and row, for a missing label, one that is not among ``labels``, or a score
    that is no finite number; :class:`SettingsError` for labels that cannot work.
    """
    if data.task not in TASKS:
        raise SettingsError(f"task {data.task!r} is not known (known: {', '.join(TASKS)})")
    parse: Callable[[Any], Any] = {"single": _one_name, "multi": _names, "regression": _score}[data.task]
    found = expand(sources)
    texts: list[str] = []
    values: list = []
    extra: dict[str, list] = {name: [] for name in columns}
    places: list[tuple[str, Sequence[int]]] = []
    wanted = [data.label, *columns]
    for batch in _read(found, data.text, wanted, data.encoding_errors, label=data.label):
        for row, value in zip(batch.rows, batch.columns[data.label], strict=True):
            try:
                values.append(parse(value))
            except ValueError as error:
                raise DataError(f"the label (column {data.label!r}) at {_at(batch.source, row)} {error}") from None
        texts += batch.texts
        places.append((batch.source, batch.rows))
        for name, rest in extra.items():
            rest += batch.columns[name]
    if not texts:
        raise _no_text(found)

    if data.task == "regression":
        return Labelled(texts, np.array(values, np.float32), ("score",), extra, Places(places))

    sets = values if data.task == "multi" else [(value,) for value in values]
    given = tuple(data.labels if labels is None else labels) or None
    classes = given or _sorted_names({name for names in sets for name in names})
    if len(set(classes)) < len(classes):
        raise SettingsError(f"a label is named twice in {', '.join(classes)}; name each class once")
    if len(classes) < (2 if data.task == "single" else 1):
        what = f"only one label, {classes[0]!r}," if classes else "no label at all"
        raise DataError(
            f"there is {what} in {_several(found)} (column {data.label!r}), and nothing to learn from it; "
            "add texts of another class, or name the right column with --label"
        )
    index = {name: i for i, name in enumerate(classes)}
    # Whether an integer is an index or a name must not depend on the rows at hand: train and dev have to agree.
    if data.labels and not any(_is_integer(name) for name in classes):
        index.update({str(i): i for i in range(len(classes))})
    try:
        ids = [[index[name] for name in names] for names in sets]
    except KeyError:
        stranger, where = _first_stranger(sets, index, places)
        known = f"those of train ({_several(classes)})" if labels is not None else f"--labels ({_several(classes)})"
        raise DataError(
            f"label {stranger!r} at {where} is not among {known}; correct it, drop the row, or add it to "
            f"{'train or --labels' if labels is not None else '--labels'}"
        ) from None
    if data.task == "single":
        return Labelled(texts, np.array(ids, np.int64).reshape(len(ids)), tuple(classes), extra, Places(places))
    targets = np.zeros((len(ids), len(classes)), np.float32)
    for row, positives in enumerate(ids):
        targets[row, positives] = 1
    return Labelled(texts, targets, tuple(classes), extra, Places(places))


def hold_out(n: int, fraction: float, seed: int, targets: np.ndarray | None = None) -> np.ndarray:
    """Choose the texts to hold out: sorted int64 indices, ``fraction`` of ``n``, at least 1 and at most ``n - 1``.

    Integer ``targets`` (n,) are class indices: every class then gives its share, to rounding.

    Errors: :class:`SettingsError` for a fraction outside (0, 1); :class:`DataError` for fewer than two texts.
    """
    if not 0 < fraction < 1:
        raise SettingsError(f"the share to hold out is {fraction}, but must lie between 0 and 1")
    if n < 2:
        raise DataError(f"{n} labelled text{'' if n == 1 else 's'} cannot be split into train and dev; give more")
    size = min(max(round(n * fraction), 1), n - 1)
    order = np.random.default_rng(seed).permutation(n)
    if targets is not None and np.asarray(targets).ndim == 1 and np.asarray(targets).dtype.kind in "iu":
        # Spread each class's texts evenly over (0, 1); the lowest `size` of all are then each class's share, and a
        # class of one text stays in train unless more than half is held out.
        _, group, members = np.unique(np.asarray(targets)[order], return_inverse=True, return_counts=True)
        by_class = np.argsort(group, kind="stable")
        rank = np.empty(n)
        rank[by_class] = np.arange(n) - np.repeat(np.cumsum(members) - members, members)
        order = order[np.argsort((rank + 0.5) / members[group], kind="stable")]
    return np.sort(order[:size]).astype(np.int64)


# -- one source ---------------------------------------------------------------------------------------------------


def _read(
    found: Iterable[str], text: str, columns: Sequence[str], errors: str, batch_size: int = 8192, label: str = "label"
) -> Iterator[Batch]:
    """:func:`read` of expanded sources; ``label`` is what the caller calls the labels of a fastText file."""
    if errors not in ("strict", "replace"):
        raise SettingsError(f"encoding errors {errors!r} is not known (known: strict, replace)")
    if batch_size < 1:
        raise SettingsError(f"a batch of {batch_size} texts is too small; 1 is the least")
    columns = list(dict.fromkeys(columns))
    for source in found:
        kind = _kind(source)
        if kind in ("hf", "parquet", "ipc"):
            yield from _columnar(source, kind, text, columns, errors, batch_size)
        else:
            name = _STDIN if source == "-" else source
            with _opened(source) as file:
                records = _records(file, name, kind, text, columns, errors, label)
                yield from _batches(records, name, columns, batch_size)


def _kind(source: str) -> str | None:
    if source == "-":
        return _STDIN
    if source.startswith("hf:"):
        return "hf"
    stem, suffix = os.path.splitext(source.lower())
    if suffix in _COMPRESSED:
        return _LINES.get(os.path.splitext(stem)[1])
    return _LINES.get(suffix) or _COLUMNAR.get(suffix)


def _files_below(folder: str) -> list[str]:
    files = []
    for parent, folders, names in os.walk(folder):
        folders[:] = [name for name in folders if not name.startswith(".")]
        paths = [os.path.join(parent, name) for name in names if not name.startswith(".")]
        files += [path for path in paths if _kind(path)]
    return sorted(files)


def _at(source: str, row: int) -> str:
    return f"{source} row {row}" if _kind(source) in ("hf", "parquet", "ipc") else f"{source}:{row}"


def _several(names: Sequence[str], most: int = 12) -> str:
    more = f", ... {len(names) - most} more" if len(names) > most else ""
    return ", ".join(str(name) for name in names[:most]) + more


def _no_text(found: Sequence[str]) -> DataError:
    return DataError(f"there is no text in {_several(found)}" if found else "no file is named; name at least one")


def _missing(name: str, source: str, there: Sequence[str]) -> DataError:
    return DataError(
        f"{source} has no column {name!r}; it has {_several([repr(n) for n in there]) or 'none'}: "
        "name the right one (--text, --label, --keep)"
    )


def _no_string(value: Any, name: str, where: str) -> DataError:
    if value is None:
        return DataError(f"the text (column {name!r}) at {where} is null; drop the row, or make it an empty string")
    kind = type(value).__name__
    return DataError(f"the text (column {name!r}) at {where} is of type {kind}, not a string; correct it, or name "
                     "another column with --text")  # fmt: skip


def _not_utf8(where: str) -> DataError:
    return DataError(f"{where} is not valid UTF-8; convert the file, or take U+FFFD for what is invalid with "
                     "--encoding-errors replace")  # fmt: skip


# -- formats of lines ---------------------------------------------------------------------------------------------

Record = tuple[int, str, Sequence]  # row, text, values of the columns asked for


@contextmanager
def _opened(source: str) -> Iterator[BinaryIO]:
    """The decompressed bytes of a file, or stdin; what goes wrong while reading them becomes a DataError."""
    if source == "-":
        yield sys.stdin.buffer
        return
    broken: tuple[type[Exception], ...] = (OSError, EOFError, zlib.error)
    with _open(source) as raw:
        try:
            if source.lower().endswith(".gz"):
                # GzipFile finds lines in Python; a buffer over it finds them in C.
                yield io.BufferedReader(gzip.GzipFile(fileobj=raw), _READ)  # type: ignore[arg-type]
            elif source.lower().endswith(".zst"):
                yield io.BufferedReader(_zstd(raw), _READ)
            else:
                yield raw
        except broken as error:
            raise DataError(f"{source} cannot be read to its end, it is damaged or cut short: {error}") from None


def _open(path: str) -> BinaryIO:
    try:
        return open(path, "rb", buffering=_READ)
    except OSError as error:
        raise DataError(f"{path} cannot be opened: {error.strerror}") from None


def _zstd(raw: BinaryIO) -> Any:
    try:
        import zstandard
    except ModuleNotFoundError:
        return require("pyarrow", "arrow").CompressedInputStream(raw, "zstd")
    return _Zstd(raw, zstandard)


class _Zstd(io.RawIOBase):
    """The bytes of all frames of a .zst file: zstandard's own reader takes a file that is cut short for a whole one."""

    def __init__(self, raw: BinaryIO, zstandard: Any):
        self._raw, self._error = raw, zstandard.ZstdError
        self._new = zstandard.ZstdDecompressor(max_window_size=1 << 31).decompressobj
        self._frame: Any = None
        self._rest, self._ready = b"", memoryview(b"")

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        while not self._ready:
            piece = self._rest or self._raw.read(1 << 16)
            if not piece:
                if self._frame is not None:
                    raise EOFError("the last zstd frame has no end")
                return 0
            self._frame = self._frame or self._new()
            try:
                self._ready = memoryview(self._frame.decompress(piece))
            except self._error as error:
                raise OSError(str(error)) from None
            self._rest = self._frame.unused_data
            if self._frame.eof:
                self._frame = None
        n = min(len(buffer), len(self._ready))
        buffer[:n] = self._ready[:n]
        self._ready = self._ready[n:]
        return n


def _without_mark(file: Iterable[bytes], name: str) -> Iterator[bytes]:
    """The lines of ``file`` without a byte order mark before the first."""
    lines = iter(file)
    first = next(lines, b"")
    if first[:2] in (b"\xff\xfe", b"\xfe\xff"):
        raise DataError(f"{name} is UTF-16; convert it: iconv -f utf-16 -t utf-8")
    first = first.removeprefix(b"\xef\xbb\xbf")
    return itertools.chain([first] if first else [], lines)


def _decoded(file: Iterable[bytes], name: str, errors: str) -> Iterator[str]:
    """Lines with their ends, cut at line feeds: no part of another character is that byte, so each decodes alone."""
    for number, line in enumerate(_without_mark(file, name), 1):
        try:
            yield line.decode("utf-8", errors)
        except UnicodeDecodeError:
            raise _not_utf8(f"{name}:{number}") from None


def _bare(line: str) -> str:
    return line[: -2 if line.endswith("\r\n") else -1] if line.endswith("\n") else line


def _records(
    file: BinaryIO, name: str, kind: str | None, text: str, columns: list[str], errors: str, label: str
) -> Iterator[Record]:
    lines = _decoded(file, name, errors)
    if kind in ("plain", _STDIN):
        kind, lines = _sniffed(kind, lines)
    if kind == "jsonl":
        return _jsonl(lines, name, text, columns, errors)
    if kind in ("csv", "tsv"):
        return _table(*_headed(lines, name, kind), name, kind, text, columns)
    if kind == "fasttext":
        return _fasttext(lines, name, columns, label)
    return _plain(lines, name, columns)


def _piece(name: str, part: list[tuple[int, str | None, dict]], columns: list[str] | None) -> Piece:
    rows, texts, records = zip(*part, strict=True)
    return Piece(name, rows, list(texts), list(records), columns)


def _whole_records(
    lines: Iterator[str], name: str, kind: str | None, text: str, keep: Sequence[str] | None, errors: str
) -> tuple[list[str] | None, Iterator[tuple[int, str | None, dict]]]:
    """Names of the columns to keep (None: each record has its own), and row, text and those columns of each record."""
    if kind in ("plain", _STDIN):
        kind, lines = _sniffed(kind, lines)
    if kind == "jsonl":
        return None, _whole_jsonl(lines, name, text, keep, errors)
    records: Iterator[Record]
    if kind in ("csv", "tsv"):
        header, rows = _headed(lines, name, kind)
        kept = _kept(header, keep, name) if header else []
        records = _table(header, rows, name, kind, text, kept)
    elif kind == "fasttext":
        kept = _kept(["label", text], keep, name)
        records = (
            (row, value, [",".join(names) if column == "label" else value for column in kept])
            for row, value, (names,) in _fasttext(lines, name, ["label"], "label")
        )
    else:
        kept = _kept([text], keep, name)
        records = ((row, value, [value] * len(kept)) for row, value, _ in _plain(lines, name, []))
    return kept, ((row, value, dict(zip(kept, values, strict=True))) for row, value, values in records)


def _kept(there: list[str], keep: Sequence[str] | None, name: str) -> list[str]:
    for column in keep or ():
        if column not in there:
            raise _missing(column, name, there)
    return [column for column in there if keep is None or column in keep]


def _sniffed(kind: str, lines: Iterator[str]) -> tuple[str, Iterator[str]]:
    """What plain lines are at a second look, by the first that is not blank, and the same lines again."""
    head = []
    for line in lines:
        head.append(line)
        if start := line.lstrip():
            if start.startswith("__label__"):
                kind = "fasttext"
            elif kind == _STDIN and start.startswith("{"):
                kind = "jsonl"
            break
    return kind, itertools.chain(head, lines)


def _plain(lines: Iterator[str], name: str, columns: list[str]) -> Iterator[Record]:
    if columns:
        raise DataError(
            f"{name} holds plain lines and has no column {columns[0]!r}; "
            "begin each line with __label__NAME, or use CSV, JSON lines or Parquet"
        )
    for row, line in enumerate(lines, 1):
        yield row, _bare(line), ()


def _fasttext(lines: Iterator[str], name: str, columns: list[str], label: str) -> Iterator[Record]:
    for column in columns:
        if column not in ("label", "text", label):
            raise _missing(column, f"{name} (fastText)", ["label", "text"])
    for row, line in enumerate(lines, 1):
        line, names, start = _bare(line), [], 0
        while head := _FASTTEXT_HEAD.match(line, start):
            names.append(head[1])
            start = head.end()
        text = line[start:]
        if "__label__" in text:  # fastText takes labels anywhere; left in the text they would give the answer away
            names += _FASTTEXT_LATER.findall(text)
            text = _FASTTEXT_LATER.sub("", text)
        yield row, text, [text if column == "text" else names for column in columns]


def _jsonl(lines: Iterator[str], name: str, text: str, columns: list[str], errors: str) -> Iterator[Record]:
    for row, line, record in _objects(lines, name):
        try:
            value = record[text]
            rest = [record[column] for column in columns]
        except KeyError as error:
            raise _missing(error.args[0], f"{name}:{row}", list(record)) from None
        if not isinstance(value, str):
            raise _no_string(value, text, f"{name}:{row}")
        if _HALF_PAIR.search(line):
            value = _paired(value, f"{name}:{row}", errors)
        yield row, value, rest


def _whole_jsonl(
    lines: Iterator[str], name: str, text: str, keep: Sequence[str] | None, errors: str
) -> Iterator[tuple[int, str | None, dict]]:
    for row, line, record in _objects(lines, name):
        if text not in record:
            raise _missing(text, f"{name}:{row}", list(record))
        if not isinstance(record[text], str | None):
            raise _no_string(record[text], text, f"{name}:{row}")
        if keep is not None:
            record = {column: value for column, value in record.items() if column in keep or column == text}
        if _HALF_PAIR.search(line):
            record = _paired(record, f"{name}:{row}", errors)
        value = record[text] if keep is None or text in keep else record.pop(text)
        yield row, value, record


def _objects(lines: Iterator[str], name: str) -> Iterator[tuple[int, str, dict]]:
    for row, line in enumerate(lines, 1):
        if not line.strip(_JSON_SPACE):
            continue
        try:
            record = json.loads(line)
        except (ValueError, RecursionError) as error:
            why = getattr(error, "msg", error)
            raise DataError(f"{name}:{row} is not valid JSON ({why}); one object a line is expected") from None
        if not isinstance(record, dict):
            hint = "; jq -c '.[]' turns a list into lines" if isinstance(record, list) else ""
            raise DataError(f"{name}:{row} is JSON, but of type {type(record).__name__}, not an object{hint}")
        yield row, line, record


def _paired(value: Any, where: str, errors: str) -> Any:
    """``value`` without halves of surrogate pairs, which no UTF-8 can hold."""
    said = json.dumps(value, ensure_ascii=False)
    try:
        said.encode()
    except UnicodeEncodeError:
        if errors == "strict":
            raise _not_utf8(f"{where} has half a surrogate pair and") from None
        return json.loads(re.sub("[\ud800-\udfff]", "\ufffd", said))
    return value


def _rows(lines: Iterator[str], name: str, delimiter: str) -> Iterator[tuple[int, list[str]]]:
    """The records of a CSV file with the line each starts on; blank lines are none."""
    if csv.field_size_limit() < (1 << 31) - 1:
        csv.field_size_limit((1 << 31) - 1)  # the module refuses texts over 128 KiB otherwise
    # strict: a quote left open would otherwise swallow the rest of the file into one text
    reader = csv.reader(lines, delimiter=delimiter, strict=True)
    while True:
        start = reader.line_num + 1
        try:
            row = next(reader)
        except StopIteration:
            return
        except csv.Error as error:
            raise DataError(
                f"{name}:{start} is not valid {'CSV' if delimiter == ',' else 'TSV'} ({error}); "
                'put texts with quotes or line ends in "..." and double the quotes inside'
            ) from None
        if row:
            yield start, row


def _headed(lines: Iterator[str], name: str, kind: str) -> tuple[list[str], Iterator[tuple[int, list[str]]]]:
    """The header of a CSV or TSV file, empty if the file is, and the rows below it."""
    rows = _rows(lines, name, "," if kind == "csv" else "\t")
    _, header = next(rows, (1, []))
    return header, rows


def _table(
    header: list[str], rows: Iterator[tuple[int, list[str]]], name: str, kind: str, text: str, columns: list[str]
) -> Iterator[Record]:
    if not header:
        return
    for column in (text, *columns):
        if header.count(column) != 1:
            if column in header:
                raise DataError(f"{name} has {header.count(column)} columns {column!r}; rename all but one")
            raise _missing(column, name, header)
    at, others, width = header.index(text), [header.index(column) for column in columns], len(header)
    for start, row in rows:
        if len(row) != width:
            raise DataError(
                f"{name}:{start} has {len(row)} field{'s' * (len(row) != 1)}, but the header has {width}; "
                f'put texts that hold a {"comma" if kind == "csv" else "tab"} in "..."'
            )
        yield start, row[at], [row[i] for i in others]


def _batches(records: Iterator[Record], name: str, columns: list[str], size: int) -> Iterator[Batch]:
    while part := list(itertools.islice(records, size)):
        rows, texts, values = zip(*part, strict=True)
        by_column = list(zip(*values, strict=True)) if columns else []
        yield Batch(name, rows, list(texts), {c: list(v) for c, v in zip(columns, by_column, strict=False)})


# -- formats of columns -------------------------------------------------------------------------------------------


def _columnar(source: str, kind: str, text: str, columns: list[str], errors: str, size: int) -> Iterator[Batch]:
    """Parquet, Arrow files and streams, and Hugging Face datasets: all are tables of Arrow arrays."""
    wanted = list(dict.fromkeys([text, *columns]))
    row = 1
    with _tables(source, kind, wanted, size) as (schema, tables):
        _check_schema(schema, source, text, wanted)
        classes = _class_names(schema)
        for table in tables:
            for start in range(0, table.num_rows, size):
                part = table.slice(start, size)
                texts = _strings(part.column(part.schema.names.index(text)), source, row, text, errors)
                rest = {}
                for column in columns:
                    values = part.column(part.schema.names.index(column))
                    values = _strings(values, source, row, column, errors, nulls=True, raw=True)
                    rest[column] = _as_names(values, classes[column]) if column in classes else values
                yield Batch(source, range(row, row + len(texts)), texts, rest)
                row += len(texts)


def _whole_tables(
    source: str, kind: str, text: str, keep: Sequence[str] | None, errors: str, most: int
) -> Iterator[Piece]:
    """:func:`whole` of tables of Arrow arrays: nothing becomes a Python object."""
    pa = require("pyarrow", "arrow")
    wanted = None if keep is None else list(dict.fromkeys([text, *keep]))
    row = 1
    with _tables(source, kind, wanted, most) as (schema, tables):
        kept = _kept(schema.names, keep, source)
        _check_schema(schema, source, text, [text, *kept])
        columns = pa.schema([schema.field(name) for name in kept], schema.metadata)
        yield Piece(source, [], [], pa.RecordBatch.from_pylist([], columns), columns)
        for table in tables:
            for batch in table.to_batches() if isinstance(table, pa.Table) else [table]:
                size = max(1, min(most, batch.num_rows * _PIECE_BYTES // max(batch.nbytes, 1)))
                for start in range(0, batch.num_rows, size):
                    part = batch.slice(start, size)
                    texts = _in_place(part, text, source, row, errors)
                    yield Piece(source, range(row, row + len(texts)), texts, part.select(kept), columns)
                    row += len(texts)


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
            _strings(texts, source, row, name, errors, nulls=True)  # names the row
            raise
    return texts


def _check_schema(schema: Any, source: str, text: str, wanted: list[str]) -> None:
    for column in wanted:
        if schema.names.count(column) > 1:
            raise DataError(f"{source} has {schema.names.count(column)} columns {column!r}; rename all but one")
        if column not in schema.names:
            raise _missing(column, source, schema.names)
    held = schema.field(text).type
    if str(plain_type(held)) not in _STRINGS | {"null"}:
        raise DataError(
            f"column {text!r} of {source} holds {held}, not strings; convert it, or name another with --text"
        )


@contextmanager
def _tables(source: str, kind: str, columns: list[str] | None, size: int) -> Iterator[tuple[Any, Iterator]]:
    """Schema of a source, and its tables or record batches with at least those ``columns`` (None: all) that it has."""
    if kind == "hf":
        dataset = _hub(source)
        schema = dataset.features.arrow_schema
        there = [name for name in schema.names if columns is None or name in columns]
        tables = dataset.select_columns(there).with_format("arrow").iter(size) if there else iter(())
        yield schema, tables
        return
    pa = require("pyarrow", "arrow")
    with _open(source) as file:
        magic = file.read(8)
        try:
            if not magic:
                raise pa.ArrowInvalid("it is empty")
            if kind == "parquet":
                parquet = require("pyarrow.parquet", "arrow")
                # Buffered: pages of a row group as they are needed, not a whole column of it. pre_buffer would keep all
                # that was read.
                with parquet.ParquetFile(source, buffer_size=_READ, pre_buffer=False) as reader:
                    schema, size = reader.schema_arrow, min(size, _affordable(reader.metadata))
                    there = [name for name in schema.names if columns is None or name in columns]
                    yield schema, reader.iter_batches(size, columns=there) if there else iter(())
            elif magic.startswith(b"FEA1"):
                raise pa.ArrowInvalid("feather version 1 is not supported, write it again as version 2")
            else:
                with pa.memory_map(source) as mapped:
                    if magic.startswith(b"ARROW1"):
                        reader = pa.ipc.open_file(mapped)
                        yield reader.schema, (reader.get_batch(i) for i in range(reader.num_record_batches))
                    else:
                        reader = pa.ipc.open_stream(mapped)
                        yield reader.schema, reader
        except (pa.ArrowException, OSError) as error:
            # ArrowInvalid is a ValueError and so is DataError, but no DataError is an ArrowException
            what = "Parquet" if kind == "parquet" else "Arrow"
            raise DataError(f"{source} cannot be read as {what}, it is damaged or cut short: {error}") from None


def _affordable(metadata: Any) -> int:
    """Rows of a Parquet file that stay below ``_PIECE_BYTES``, judged by the row group with the longest."""
    groups = [metadata.row_group(i) for i in range(metadata.num_row_groups)]
    longest = max((group.total_byte_size / max(group.num_rows, 1) for group in groups), default=0)
    return max(1, int(_PIECE_BYTES / max(longest, 1)))


def plain_type(held: Any) -> Any:
    """Arrow's type of the values of a dictionary, or the type itself."""
    return held.value_type if hasattr(held, "index_type") else held


def _strings(
    column: Any, source: str, row: int, name: str, errors: str, nulls: bool = False, raw: bool = False
) -> list:
    """Python values of an Arrow array that starts at ``row``; bytes are decoded, unless ``raw`` lets them be."""
    try:
        values = column.to_pylist()
    except UnicodeDecodeError:  # Parquet's strings are not checked when they are read
        pa = require("pyarrow", "arrow")
        plain = plain_type(column.type)
        if str(plain) not in _STRINGS:  # a list of strings, say: its own column, and not the text
            raise _not_utf8(f"column {name!r} of {source} (rows {row} to {row + len(column) - 1})") from None
        values, raw = column.cast(plain).cast(pa.large_binary()).to_pylist(), False
    if raw:
        return values
    for i, value in enumerate(values):
        if isinstance(value, bytes):
            try:
                values[i] = value.decode("utf-8", errors)
            except UnicodeDecodeError:
                raise _not_utf8(f"column {name!r} at {_at(source, row + i)}") from None
        elif value is None and not nulls:
            raise _no_string(None, name, _at(source, row + i))
    return values


def _class_names(schema: Any) -> dict[str, list[str]]:
    """Names of the columns that hold class indices, as Hugging Face datasets note them in a schema."""
    try:
        features = json.loads(schema.metadata[b"huggingface"])["info"]["features"]
    except (KeyError, TypeError, ValueError):
        return {}
    found = {}
    for column, feature in features.items() if isinstance(features, dict) else ():
        while isinstance(feature, list) or (isinstance(feature, dict) and "feature" in feature):
            feature = (feature[0] if feature else None) if isinstance(feature, list) else feature["feature"]
        if isinstance(feature, dict) and feature.get("_type") == "ClassLabel" and feature.get("names"):
            found[column] = feature["names"]
    return found


def _as_names(values: list, names: list[str]) -> list:
    """Class indices, or lists of them, as names; -1 is what datasets write where there is no label."""
    return [
        _as_names(value, names) if isinstance(value, list)
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
        raise DataError(f"{source} has no split {split!r}; name one of {_several(list(loaded))}, as in hf:name:split")
    return loaded[split]


def _count(source: str) -> int:
    kind = _kind(source) or ""
    if kind == "hf":
        return len(_hub(source))
    with _tables(source, kind, None, 1) as (_, tables):
        if kind == "parquet":
            return require("pyarrow.parquet", "arrow").read_metadata(source).num_rows
        return sum(table.num_rows for table in tables)


# -- labels -------------------------------------------------------------------------------------------------------


def _name(value: Any) -> str:
    """The name of one label; raises ValueError with the end of a sentence."""
    if isinstance(value, float) and value.is_integer():
        value = int(value)  # pandas turns integers into floats beside a missing value
    if value is None or value == "" or (isinstance(value, float) and math.isnan(value)):
        raise ValueError("is missing; add it, or drop the row")
    if not isinstance(value, (str, int, float)):
        raise ValueError(f"is of type {type(value).__name__}, not a name or a number; convert it")
    return str(value)


def _one_name(value: Any) -> str:
    if isinstance(value, list):
        if len(value) > 1:
            raise ValueError(f"has {len(value)} names ({_several(value)}), not one; use --task multi")
        value = value[0] if value else None
    return _name(value)


def _names(value: Any) -> tuple[str, ...]:
    if isinstance(value, str):
        value = [name for part in value.split(",") if (name := part.strip())]
    return tuple(_name(one) for one in (value if isinstance(value, list) else [value]))


def _score(value: Any) -> np.float32:
    if isinstance(value, list) and len(value) == 1:
        value = value[0]
    if value is None or value == "":
        raise ValueError("is missing; add it, or drop the row")
    try:
        with np.errstate(over="ignore"):
            score = np.float32(float(value))
    except (TypeError, ValueError, OverflowError):
        raise ValueError(f"is {value!r}, but --task regression wants a number") from None
    if not np.isfinite(score):
        raise ValueError(f"is {value}, but --task regression wants a finite number (in 32 bits); drop the row")
    return score


def _is_integer(name: str) -> bool:
    return re.fullmatch(r"[+-]?[0-9]+", name) is not None


def _sorted_names(names: set[str]) -> tuple[str, ...]:
    if all(_is_integer(name) for name in names):
        return tuple(sorted(names, key=lambda name: (int(name), name)))
    return tuple(sorted(names))


def _first_stranger(sets: list, index: dict[str, int], places: list[tuple[str, Sequence[int]]]) -> tuple[str, str]:
    """The first name that is not in ``index``, and where it stands."""
    everywhere = ((source, row) for source, rows in places for row in rows)
    for names, (source, row) in zip(sets, everywhere, strict=True):
        for name in names:
            if name not in index:
                return name, _at(source, row)
    raise AssertionError("every label is known")
