"""Texts and gold labels, from the files people have: streamed, counted, and refused at the door when broken."""

from __future__ import annotations

import ast
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
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from functools import partial
from typing import Any, BinaryIO

import numpy as np

from ..encoding import encoding_of
from ..errors import DataError, SettingsError, require
from ..options import INPUT_FORMATS, QUOTING, TASKS, Data
from ..progress import say

_LINES = {
    ".jsonl": "jsonl", ".ndjson": "jsonl", ".json": "json", ".csv": "csv", ".tsv": "tsv",
    ".txt": "plain", ".ft": "fasttext", ".fasttext": "fasttext",
}  # fmt: skip
_COLUMNAR = {".parquet": "parquet", ".arrow": "ipc", ".feather": "ipc"}
_COMPRESSED = (".gz", ".zst")
_TABLES = ("hf", "parquet", "ipc")
_KNOWN = f"{', '.join([*_COLUMNAR, *_LINES])}; the text formats also with .gz or .zst; --input-format reads any other"
_STRINGS = {"string", "large_string", "string_view", "binary", "large_binary", "binary_view"}
_STDIN = "stdin"
_JSON_SPACE = " \t\r\n"
_READ = 1 << 20  # bytes read at a time
_PIECE_BYTES = 1 << 24  # that one Piece holds, about: long records must not fill the memory
_MARK = "\ufeff"  # the byte order mark; files that were put together have some inside
# What begins an object or a list of JSON (or Python, to be refused), and hardly a text in braces or brackets.
_OBJECT, _LIST = re.compile(r"""\{\s*(["']|\}?\s*$)"""), re.compile(r"""\[\s*([{"']|\]?\s*$)""")
_COLUMN_NAME = re.compile(r"\w[\w .#-]*")
_ABOUT = re.compile(r"(readme|licen[cs]e|notice|copying|changelog|citation)\b", re.IGNORECASE)
_HALF_PAIR = re.compile(r"\\u[dD][89a-fA-F]")  # escapes of JSON, two of which make a character

# fastText's own idea of a space; Python's is wider and would cut labels and texts at U+00A0
_SPACE = r"[ \t\v\f\r\0]"
_FASTTEXT_HEAD = re.compile(rf"{_SPACE}*__label__([^ \t\v\f\r\0]*){_SPACE}?")
_FASTTEXT_LATER = re.compile(rf"{_SPACE}+__label__([^ \t\v\f\r\0]*)")


@dataclass(frozen=True)
class Form:
    """How to read the files whose names do not tell.

    ``format`` is one of ``INPUT_FORMATS``; "auto" goes by suffix, and takes stdin for lines of text or of JSON.
    ``delimiter`` (none: a comma in CSV, a tab in TSV), ``quoting`` (one of ``QUOTING``) and ``header`` are those of CSV
    and TSV files; without a header the columns are called 1, 2, 3 ...

    Errors: :class:`SettingsError` for what cannot be.
    """

    format: str = "auto"
    delimiter: str = ""
    quoting: str = "auto"
    header: bool = True

    def __post_init__(self) -> None:
        if self.format not in INPUT_FORMATS:
            raise SettingsError(f"input format {self.format!r} is not known (known: {', '.join(INPUT_FORMATS)})")
        if self.quoting not in QUOTING:
            raise SettingsError(f"quoting {self.quoting!r} is not known (known: {', '.join(QUOTING)})")
        if self.delimiter in ("\\t", "tab"):  # what a shell can say
            object.__setattr__(self, "delimiter", "\t")
        if len(self.delimiter) > 1 or self.delimiter in ('"', "\r", "\n", "\0", _MARK):
            raise SettingsError(f"--delimiter {self.delimiter!r} is not one character (or 'tab') that can part fields")

    @classmethod
    def of(cls, data: Data) -> Form:
        """That of the settings."""
        return cls(data.input_format, data.delimiter, data.quoting, data.header)

    def kind(self, source: str) -> str | None:
        """The format of a source, None where its name tells none."""
        if source.startswith("hf:"):
            return "hf"
        if self.format != "auto":
            return "ipc" if self.format == "arrow" else self.format
        if source == "-":
            return _STDIN
        stem, suffix = os.path.splitext(source.lower())
        if suffix in _COMPRESSED:
            return _LINES.get(os.path.splitext(stem)[1])
        return _LINES.get(suffix) or _COLUMNAR.get(suffix)

    def comma(self, kind: str) -> str:
        """What parts the fields of a CSV or TSV file."""
        return self.delimiter or ("," if kind == "csv" else "\t")

    def quoted(self, kind: str) -> bool:
        """Whether fields of a CSV or TSV file may stand in quotes."""
        return self.quoting == "double" or (self.quoting == "auto" and kind == "csv")


AUTO = Form()


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
                self.first = self.first or _at(batch.source, batch.rows[out.index(True)])
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
        return _at(*self.where(i))

    def where(self, i: int) -> tuple[str, int]:
        """Source and row of text ``i``."""
        return self._sources[self._of[i]], int(self._rows[i])

    def take(self, which: np.ndarray | slice) -> Places:
        """Those of the texts at ``which``."""
        found = Places([])
        found._sources, found._of, found._rows = self._sources, self._of[which], self._rows[which]
        return found


@dataclass(frozen=True)
class Labelled:
    """Texts with their gold labels.

    ``targets`` is int64 (n,) of class indices for single, float32 (n, C) of 0 and 1 for multi, float64 (n,) for
    regression; ``labels`` names the C classes in their order (``("score",)`` for regression); ``extra`` holds the
    further columns asked for; ``places`` says where each text stands. ``multi_hot`` says whether lists of numbers were
    read as a 0 or 1 for each class, or as indices and names; None where there was nothing to tell.
    """

    texts: list[str]
    targets: np.ndarray
    labels: tuple[str, ...]
    extra: dict[str, list]
    places: Places
    multi_hot: bool | None = None


def expand(sources: Sequence[str], form: Form = AUTO) -> list[str]:
    """Turn files, globs, folders, ``hf:...`` and ``-`` (stdin) into single sources, in order.

    A folder stands for every file below it that has a known suffix and no dot before its name, sorted by path; plain
    text beside files of records, and what is called README or LICENSE, is left out, and that is said. With a format in
    ``form`` a folder stands for every file that has no dot or underscore before its name. An ``hf:`` source,
    ``hf:owner/name[/config][:split]`` or ``hf:folder[:split]``, stays as it is; without a split it is the one called
    train, or the only one.

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
                if form.kind(match) is None:
                    raise DataError(f"{match} has a suffix that is not known (known: {_KNOWN}); rename or convert it")
                found.append(match)
            elif inside := _files_below(match, form):
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
    return _read(expand(sources, form), text, columns, encoding_errors, batch_size, label, form, skipped)


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
    if kind in _TABLES:
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
        columns, records = _whole_records(lines, name, kind, text, keep, encoding_errors, form)
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
    form: Form = AUTO,
    skipped: Skipped | None = None,
) -> None:
    """Look at the start of every source, so that hours of work do not end at a file that was never going to do.

    Stdin is not touched: it can be read only once.

    Errors: :class:`DataError` as of :func:`read`, or when there is no text in all of ``sources``.
    """
    empty = True
    for source in (found := expand(sources, form)):
        if source == "-" or next(_read([source], text, columns, encoding_errors, 1, label, form, skipped), None):
            empty = False
    if empty:
        raise _no_text(found)


def count(sources: Sequence[str], form: Form = AUTO) -> int | None:
    """Number of records :func:`read` will give, or None where only reading everything would tell: not all is columnar.

    Errors: :class:`DataError` for a file that cannot be read.
    """
    kinds = {source: form.kind(source) for source in expand(sources, form)}
    if not all(kind in _TABLES and source != "-" for source, kind in kinds.items()):
        return None
    return sum(_count(source, form.kind(source) or "") for source in expand(sources, form))


def labelled(
    sources: Sequence[str],
    data: Data,
    labels: Sequence[str] | None = None,
    columns: Sequence[str] = (),
    multi_hot: bool | None = None,
) -> Labelled:
    """Read texts and gold labels into memory.

    The classes are ``labels`` (those of train, say), else ``data.labels``, else the distinct names found, sorted
    (integers as numbers). A label that is no string stands for its ``str``; spaces around a name are not part of it.
    Where ``data.labels`` are given and none of them is an integer, integers 0..C-1 in the data are class indices.

    For the task multi a label is a list of names or indices, a list of C numbers 0 or 1 (multi-hot), or a string: names
    parted by ``data.label_separator``, or a list in brackets as Python, JSON or numpy writes it. The whole column says
    whether lists of 0 and 1 are indices or multi-hot, and ``multi_hot`` what those of train were. Several columns in
    ``data.label`` hold a 0 or 1 each; the classes are then called as ``data.labels``, else as the columns.

    Errors: :class:`DataError`, with file and row, for a missing label, one that is not among ``labels``, a score that
    is no finite number, or lists that can be read in two ways; :class:`SettingsError` for labels that cannot work.
    """
    if data.task not in TASKS:
        raise SettingsError(f"task {data.task!r} is not known (known: {', '.join(TASKS)})")
    named = label_columns(data)
    parse: Callable[[Any], Any] = _one_name if data.task == "single" else _score
    if data.task == "multi":
        parse = _zero_or_one if len(named) > 1 else partial(_names, separator=data.label_separator)
    form = Form.of(data)
    found = expand(sources, form)
    texts: list[str] = []
    values: list = []
    extra: dict[str, list] = {name: [] for name in columns}
    places: list[tuple[str, Sequence[int]]] = []
    skipped = skipping(data, named)
    for batch in _read(
        found, data.text, [*named, *columns], data.encoding_errors, label=named[0], form=form, skipped=skipped
    ):
        parsed: list[list] = []
        for name in named:
            parsed.append([])
            for row, value in zip(batch.rows, batch.columns[name], strict=True):
                try:
                    parsed[-1].append(parse(value))
                except ValueError as error:
                    raise DataError(f"the label (column {name!r}) at {_at(batch.source, row)} {error}") from None
        values += parsed[0] if len(named) == 1 else zip(*parsed, strict=True)
        texts += batch.texts
        places.append((batch.source, batch.rows))
        for name, rest in extra.items():
            theirs = batch.columns[name]
            rest += _weights(theirs, name, Places(places[-1:])) if name == data.weight else theirs
    if skipped and skipped.count:
        what = f"{skipped.count:,} rows of {_several(found)} have no text or no label (the first: {skipped.first})"
        if not texts:
            raise DataError(f"all {what}: name the right columns with --text and --label")
        say_once(f"{what} and were left out")
    if not texts:
        raise _no_text(found)

    where = Places(places)
    if data.task == "regression":
        return Labelled(texts, np.array(values, np.float64), ("score",), extra, where)
    if len(named) > 1:
        order, classes = _order_of(named, data, labels), tuple(labels or data.labels or named)
        return Labelled(texts, np.array(values, np.float32)[:, order], classes, extra, where)

    column = repr(named[0])
    sets = values if data.task == "multi" else [(value,) for value in values]
    given = tuple(name.strip() for name in (data.labels if labels is None else labels)) or None
    if data.task == "multi":
        classes_known = given if labels is None or data.labels or multi_hot is not None else None
        multi_hot = _are_multi_hot(sets, where, classes_known, multi_hot, column)
    classes = given or _sorted_names({name for names in sets for name in names})
    if len(set(classes)) < len(classes):
        raise SettingsError(f"a label is named twice in {', '.join(classes)}; name each class once")
    if len(classes) < (2 if data.task == "single" else 1):
        what = f"only one label, {classes[0]!r}," if classes else "no label at all"
        raise DataError(
            f"there is {what} in {_several(found)} (column {column}), and nothing to learn from it; "
            "add texts of another class, or name the right column with --label"
        )
    if given is None:
        _doubt(sets, classes, _several(found), column, data)
    if multi_hot:
        hot = [[name in ("1", "True") for name in names] for names in sets]
        return Labelled(texts, np.array(hot, np.float32), _as_given(classes, data, labels), extra, where, True)
    index = {name: i for i, name in enumerate(classes)}
    # Whether an integer is an index or a name must not depend on the rows at hand: train and dev have to agree.
    if data.labels and not any(_is_integer(name) for name in classes):
        index.update({str(i): i for i in range(len(classes))})
    try:
        ids = [[index[name] for name in names] for names in sets]
    except KeyError:
        stranger, at = next((name, where[i]) for i, names in enumerate(sets) for name in names if name not in index)
        known = f"those of train ({_several(classes)})" if labels is not None else f"--labels ({_several(classes)})"
        raise DataError(
            f"label {stranger!r} at {at} is not among {known}; correct it, drop the row, or add it to "
            f"{'train or --labels' if labels is not None else '--labels'}"
        ) from None
    classes = _as_given(classes, data, labels)
    if data.task == "single":
        return Labelled(texts, np.array(ids, np.int64).reshape(len(ids)), classes, extra, where)
    targets = np.zeros((len(ids), len(classes)), np.float32)
    for row, positives in enumerate(ids):
        targets[row, positives] = 1
    return Labelled(texts, targets, classes, extra, where, multi_hot)


def skipping(data: Data, labels: Sequence[str] = ()) -> Skipped | None:
    """What leaves out records without a text or one of the ``labels``, where the settings ask for it."""
    pair = [data.pair] if data.pair else []
    return Skipped([*labels, *pair], data.task != "multi" or len(labels) > 1) if data.skip_missing else None


def _weights(values: list, column: str, places: Places) -> list[float]:
    """A column of weights as numbers, each checked."""
    numbers = []
    for i, value in enumerate(values):
        try:
            number = float(value)
        except (TypeError, ValueError):
            number = math.nan
        if isinstance(value, bool) or not 0 <= number < math.inf:
            raise DataError(
                f"the weight (column {column!r}) at {places[i]} is {value!r:.60}, not a number of at least 0: correct "
                "it, or drop the row"
            )
        numbers.append(number)
    return numbers


def label_columns(data: Data) -> tuple[str, ...]:
    """The columns of the labels: one, or for the task multi one a class.

    Errors: :class:`SettingsError` for none, for one named twice, and for several where one label is all there is.
    """
    named = (data.label,) if isinstance(data.label, str) else tuple(data.label)
    if not named:
        raise SettingsError("no column of labels is named: give --label")
    if len(set(named)) < len(named):
        raise SettingsError(f"a column is named twice in --label {' '.join(named)}; name each once")
    if len(named) > 1 and data.task != "multi":
        raise SettingsError(f"--label names {len(named)} columns, one a class, which is for --task multi")
    if len(named) > 1 and data.labels and len(data.labels) != len(named):
        raise SettingsError(
            f"--labels names {len(data.labels)} classes, but --label {len(named)} columns; name as many, or leave out "
            "--labels: the classes are then called as the columns"
        )
    if not data.label_separator.strip(" "):
        raise SettingsError("--label-separator is empty; give the character that parts labels, such as '|'")
    return named


# -- one source ---------------------------------------------------------------------------------------------------


def _read(
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
        if kind in _TABLES:
            batches = _columnar(source, kind, text, columns, errors, batch_size, skipped is not None)
            yield from batches if skipped is None else skipped.out_of(batches)
        else:
            name = _STDIN if source == "-" else source
            with _opened(source) as file:
                records = _records(file, name, kind, text, columns, errors, label, form, skipped is not None)
                batches = _batches(records, name, columns, batch_size)
                yield from batches if skipped is None else skipped.out_of(batches)


def _files_below(folder: str, form: Form) -> list[str]:
    files = []
    for parent, folders, names in os.walk(folder):
        folders[:] = [name for name in folders if not name.startswith(".")]
        if form.format == "auto" and not {"state.json", "dataset_dict.json"}.isdisjoint(names):
            raise DataError(f"{parent} is a Hugging Face dataset saved to disk; write hf:{parent}")
        hidden = "." if form.format == "auto" else (".", "_")
        paths = [os.path.join(parent, name) for name in names if not name.startswith(hidden)]
        files += [path for path in paths if form.kind(path)]
    files.sort()
    if form.format != "auto":
        return files
    # What lies about in folders of data would be learnt from, a line a text.
    if any(form.kind(path) != "plain" for path in files):
        kept = [path for path in files if form.kind(path) != "plain"]
    else:
        kept = [path for path in files if not _ABOUT.match(os.path.basename(path))] or files
    if left := [path for path in files if path not in set(kept)]:
        say_once(f"{folder}: {_several(left, 3)} left out, beside {_several(kept, 3)}; name the file itself to read it")
    return kept


def _at(source: str, row: int) -> str:
    counts_rows = AUTO.kind(source) in (*_TABLES, "json")
    return f"{source} row {row}" if counts_rows else f"{source}:{row}"


def _several(names: Sequence[str], most: int = 12) -> str:
    more = f", ... {len(names) - most} more" if len(names) > most else ""
    return ", ".join(str(name) for name in names[:most]) + more


def _no_text(found: Sequence[str]) -> DataError:
    return DataError(f"there is no text in {_several(found)}" if found else "no file is named; name at least one")


_said: set[str] = set()


def say_once(message: str) -> None:
    """:func:`say`, but not again each time that a file is read."""
    if message not in _said:
        _said.add(message)
        say(message)


def _missing(name: str, source: str, there: Sequence[str], hint: str = "") -> DataError:
    return DataError(
        f"{source} has no column {name!r}; it has {_several([repr(n)[:80] for n in there]) or 'none'}: "
        f"name the right one (--text, --label, --keep){hint}"
    )


def _no_string(value: Any, name: str, where: str) -> DataError:
    if value is None:
        return DataError(
            f"the text (column {name!r}) at {where} is null; drop the row, make it an empty string, "
            "or leave such rows out with --skip-missing"
        )
    kind = type(value).__name__
    return DataError(f"the text (column {name!r}) at {where} is of type {kind}, not a string; correct it, or name "
                     "another column with --text")  # fmt: skip


def _not_utf8(where: str) -> DataError:
    return DataError(f"{where} is not valid UTF-8; convert the file, or take U+FFFD for what is invalid with "
                     "--encoding-errors replace")  # fmt: skip


# -- formats of lines ---------------------------------------------------------------------------------------------

Record = tuple[int, str, Sequence]  # row, text, values of the columns asked for


@contextmanager
def _opened(source: str) -> Iterator[io.BufferedReader]:
    """The decompressed bytes of a file, or stdin; what goes wrong while reading them becomes a DataError."""
    name = _STDIN if source == "-" else source
    with _open(source) as raw:
        try:
            # Compressed files without the suffix are known by their first bytes.
            if source.lower().endswith(".gz") or raw.peek(2).startswith(b"\x1f\x8b"):
                # GzipFile finds lines in Python; a buffer over it finds them in C.
                yield io.BufferedReader(gzip.GzipFile(fileobj=raw), _READ)  # type: ignore[type-var]
            elif source.lower().endswith(".zst") or raw.peek(4).startswith(b"\x28\xb5\x2f\xfd"):
                yield io.BufferedReader(_zstd(raw), _READ)
            else:
                yield raw
        except (OSError, EOFError, zlib.error) as error:
            raise DataError(f"{name} cannot be read to its end, it is damaged or cut short: {error}") from None


def _open(source: str) -> Any:
    """A context with the bytes of a file, or stdin, that can be looked at before they are read."""
    if source == "-":
        stdin: Any = sys.stdin.buffer
        return nullcontext(stdin if hasattr(stdin, "peek") else io.BufferedReader(stdin))
    try:
        return open(source, "rb", buffering=_READ)
    except OSError as error:
        raise DataError(f"{source} cannot be opened: {error.strerror}") from None


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


def _foreign(head: bytes) -> str:
    """What a file is that begins so, and the way out; "" for what may be text."""
    if head.startswith(b"PAR1\x15"):
        return "is Parquet; rename it to .parquet, or give --input-format parquet"
    if head.startswith((b"ARROW1", b"\xff\xff\xff\xff")):
        return "is Arrow; rename it to .arrow, or give --input-format arrow"
    if head.startswith(b"\x1f\x8b"):
        return "is compressed by gzip; unpack it: gunzip"
    if head.startswith(b"\x28\xb5\x2f\xfd"):
        return "is compressed by zstd; unpack it: unzstd"
    if head.startswith((b"PK\3\4", b"PK\5\6")):
        return "is a ZIP archive or a spreadsheet; unpack it, or save it as CSV"
    if head.startswith((b"BZh91AY&SY", b"\xfd7zXZ\0")):
        return "is compressed by bzip2 or xz; unpack it, or compress it by gzip or zstd"
    return ""


def _checked_start(file: io.BufferedReader, name: str) -> None:
    """Refuse what is no text in UTF-8 that has lines, by the first bytes."""
    head = file.peek(1)
    if foreign := _foreign(head):
        raise DataError(f"{name} {foreign}")
    if encoding := encoding_of(head):
        raise DataError(f"{name} is {encoding.upper()}; convert it: iconv -f {encoding} -t utf-8")
    if b"\r" in head[:-1] and b"\n" not in head:
        raise DataError(
            f"{name} ends lines with carriage returns alone, as old Macs did; convert it: tr '\\r' '\\n' < OLD > NEW"
        )


def _decoded(file: io.BufferedReader, name: str, errors: str) -> Iterator[str]:
    """Lines with their ends, cut at line feeds: no part of another character is that byte, so each decodes alone.

    The byte order mark before the first is taken away.
    """
    _checked_start(file, name)
    for number, line in enumerate(file, 1):
        if number == 1 and not (line := line.removeprefix(b"\xef\xbb\xbf")):
            return  # a file of nothing but the mark has no line
        try:
            yield line.decode("utf-8", errors)
        except UnicodeDecodeError:
            raise _not_utf8(f"{name}:{number}") from None


def _bare(line: str) -> str:
    return line[: -2 if line.endswith("\r\n") else -1] if line.endswith("\n") else line


def _records(
    file: io.BufferedReader,
    name: str,
    kind: str | None,
    text: str,
    columns: list[str],
    errors: str,
    label: str,
    form: Form,
    nulls: bool,
) -> Iterator[Record]:
    kind, lines = _sniffed(kind, _decoded(file, name, errors), name, text)
    if kind in ("jsonl", "list"):
        return _jsonl(_objects(lines, name, kind), name, text, columns, errors, nulls)
    if kind in ("csv", "tsv"):
        return _table(*_headed(lines, name, kind, form), name, kind, text, columns, form)
    if kind == "fasttext":
        return _fasttext(lines, name, columns, label)
    return _plain(lines, name, columns)


def _piece(name: str, part: list[tuple[int, str | None, dict]], columns: list[str] | None) -> Piece:
    rows, texts, records = zip(*part, strict=True)
    return Piece(name, rows, list(texts), list(records), columns)


def _whole_records(
    lines: Iterator[str], name: str, kind: str | None, text: str, keep: Sequence[str] | None, errors: str, form: Form
) -> tuple[list[str] | None, Iterator[tuple[int, str | None, dict]]]:
    """Names of the columns to keep (None: each record has its own), and row, text and those columns of each record."""
    kind, lines = _sniffed(kind, lines, name, text)
    if kind in ("jsonl", "list"):
        return None, _whole_jsonl(_objects(lines, name, kind), name, text, keep, errors)
    records: Iterator[Record]
    if kind in ("csv", "tsv"):
        header, spare, rows = _headed(lines, name, kind, form)
        kept = _kept(header, keep, name) if header else []
        records = _table(header, spare, rows, name, kind, text, kept, form)
    elif kind == "fasttext":
        kept = _kept(["label", text], keep, name)
        records = (
            (row, value, [",".join(names) if column == "label" else value for column in kept])
            for row, value, (names,) in _fasttext(lines, name, ["label"], "label", blank=True)
        )
    else:
        kept = _kept([text], keep, name, "; say what stdin is with --input-format" if name == _STDIN else "")
        records = ((row, value, [value] * len(kept)) for row, value, _ in _plain(lines, name, []))
    return kept, ((row, value, dict(zip(kept, values, strict=True))) for row, value, values in records)


def _kept(there: list[str], keep: Sequence[str] | None, name: str, hint: str = "") -> list[str]:
    for column in keep or ():
        if column not in there:
            raise _missing(column, name, there, hint)
    return [column for column in there if keep is None or column in keep]


def _sniffed(kind: str | None, lines: Iterator[str], name: str, text: str) -> tuple[str | None, Iterator[str]]:
    """What files are whose suffix leaves it open, and stdin, by the first line that is not blank; and all lines again.

    Only that line is looked at: who writes to a pipe may wait for the answer.
    """
    if kind not in ("plain", "json", _STDIN):
        return kind, lines
    head, start = [], ""
    for line in lines:
        head.append(line)
        if start := line.removeprefix(_MARK).lstrip():
            break
    lines = itertools.chain(head, lines)
    if kind == "json":
        return "list" if start.startswith("[") else "jsonl", lines
    if start.startswith("__label__"):
        return "fasttext", lines
    if kind == _STDIN:
        if _OBJECT.match(start):
            return "jsonl", lines
        if _LIST.match(start):
            return "list", lines
        if text != "text":
            raise DataError(
                f"stdin is lines of text, which have no column {text!r}: say what it is with --input-format csv, tsv "
                "or jsonl, or leave out --text"
            )
    _refuse_table(_bare(start), kind, name, text)
    return "plain", lines


def _refuse_table(line: str, kind: str, name: str, text: str) -> None:
    """Refuse lines that are a table: each would be a text with all its columns, and the header, too."""
    rows = [(sign, [cell.strip('"') for cell in line.split(sign)]) for sign in "\t,;|"]
    for sign, cells in rows:
        like = all(map(_COLUMN_NAME.fullmatch, cells)) if len(cells) > 1 else kind == _STDIN and not sys.stdin.isatty()
        if like and text.casefold() in map(str.casefold, cells):
            how = "tsv" if sign == "\t" and len(cells) > 1 else "csv"
            how += f" --delimiter '{sign}'" if sign in ";|" else ""
            raise DataError(
                f"the first line of {name} is {line!r:.60}, a table's header as it seems; give --input-format {how}, "
                "or --input-format lines where each line is a text"
            )
    if kind == _STDIN and any(
        len(cells) > 1 and " " not in line and all(map(_COLUMN_NAME.fullmatch, cells)) for _, cells in rows
    ):
        say_once(
            f"stdin is read as lines of text; where {line!r:.60} is a table's header, give --input-format csv "
            "and --text"
        )


def _plain(lines: Iterator[str], name: str, columns: list[str]) -> Iterator[Record]:
    if columns:
        raise DataError(
            f"{name} holds plain lines and has no column {columns[0]!r}; "
            "begin each line with __label__NAME, or use CSV, JSON lines or Parquet"
        )
    for row, line in enumerate(lines, 1):
        yield row, _bare(line).removeprefix(_MARK), ()


def _fasttext(lines: Iterator[str], name: str, columns: list[str], label: str, blank: bool = False) -> Iterator[Record]:
    """``blank`` lines are texts, or as in fastText's own training no records."""
    for column in columns:
        if column not in ("label", "text", label):
            raise _missing(column, f"{name} (fastText)", ["label", "text"])
    for row, line in enumerate(lines, 1):
        line, names, start = _bare(line).removeprefix(_MARK), [], 0
        if not blank and not line.strip(" \t\v\f\r\0"):
            continue
        while head := _FASTTEXT_HEAD.match(line, start):
            names.append(head[1])
            start = head.end()
        text = line[start:]
        if "__label__" in text:  # fastText takes labels anywhere; left in the text they would give the answer away
            names += _FASTTEXT_LATER.findall(text)
            text = _FASTTEXT_LATER.sub("", text)
        yield row, text, [text if column == "text" else names for column in columns]


Object = tuple[int, bool, dict]  # row, whether there may be half a surrogate pair, the object


def _jsonl(
    objects: Iterator[Object], name: str, text: str, columns: list[str], errors: str, nulls: bool
) -> Iterator[Record]:
    for row, broken, record in objects:
        if nulls:
            record = dict.fromkeys((text, *columns)) | record
        try:
            value = record[text]
            rest = [record[column] for column in columns]
        except KeyError as error:
            raise _missing(error.args[0], _at(name, row), list(record)) from None
        if not isinstance(value, str) and not (nulls and value is None):
            raise _no_string(value, text, _at(name, row))
        if broken:
            value = _paired(value, _at(name, row), errors)
        yield row, value, rest


def _whole_jsonl(
    objects: Iterator[Object], name: str, text: str, keep: Sequence[str] | None, errors: str
) -> Iterator[tuple[int, str | None, dict]]:
    for row, broken, record in objects:
        if text not in record:
            raise _missing(text, _at(name, row), list(record))
        if record[text] != record[text]:  # NaN: what pandas has for a null
            record[text] = None
        if not isinstance(record[text], str | None):
            raise _no_string(record[text], text, _at(name, row))
        if keep is not None:
            record = {column: value for column, value in record.items() if column in keep or column == text}
        if broken:
            record = _paired(record, _at(name, row), errors)
        value = record[text] if keep is None or text in keep else record.pop(text)
        yield row, value, record


def _objects(lines: Iterator[str], name: str, kind: str) -> Iterator[Object]:
    """The objects of JSON lines, or of one list."""
    rest = f", or --input-format lines where {name} is text" if name == _STDIN else ""
    if kind == "list":
        whole = "".join(lines)
        try:
            records = json.loads(whole)
        except (ValueError, RecursionError) as error:
            raise DataError(
                f"{name} begins like a list of JSON, but is none ({error}); one list of objects is expected{rest}"
            ) from None
        broken = bool(_HALF_PAIR.search(whole))
        del whole
        for row, record in enumerate(records, 1):
            if not isinstance(record, dict):
                raise DataError(f"{_at(name, row)} is of type {type(record).__name__}, not an object of JSON{rest}")
            yield row, broken, record
        return
    for row, line in enumerate(lines, 1):
        line = line.removeprefix(_MARK)
        if not line.strip(_JSON_SPACE):
            continue
        try:
            record = json.loads(line)
        except (ValueError, RecursionError) as error:
            why = getattr(error, "msg", error)
            raise DataError(f"{name}:{row} is not valid JSON ({why}); one object a line is expected{rest}") from None
        if not isinstance(record, dict):
            hint = "; name a file of one list .json, or give --input-format json" if isinstance(record, list) else ""
            raise DataError(f"{name}:{row} is JSON, but of type {type(record).__name__}, not an object{hint}{rest}")
        yield row, bool(_HALF_PAIR.search(line)), record


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


def _rows(lines: Iterator[str], name: str, kind: str, form: Form) -> Iterator[tuple[int, list[str]]]:
    """The records of a CSV or TSV file with the line each starts on; a blank line is none, or one empty field."""
    delimiter = form.comma(kind)
    if not form.quoted(kind):
        for start, line in enumerate(lines, 1):
            yield start, _bare(line).removeprefix(_MARK).split(delimiter)
        return
    if csv.field_size_limit() < (1 << 31) - 1:
        csv.field_size_limit((1 << 31) - 1)  # the module refuses texts over 128 KiB otherwise
    begins = True

    def without_marks() -> Iterator[str]:
        nonlocal begins
        for line in lines:  # inside a field in quotes the mark is a character as any
            first, begins = begins, False
            yield line.removeprefix(_MARK) if first else line

    # strict: a quote left open would otherwise swallow the rest of the file into one text
    reader = csv.reader(without_marks(), delimiter=delimiter, strict=True)
    while True:
        start, begins = reader.line_num + 1, True
        try:
            row = next(reader)
        except StopIteration:
            return
        except csv.Error as error:
            raise DataError(
                f"{name}:{start} is not valid {kind.upper()} ({error}); "
                'put texts with quotes or line ends in "..." and double the quotes inside, or give --quoting none '
                "where quotes are part of the texts"
            ) from None
        if row:
            yield start, row


def _headed(
    lines: Iterator[str], name: str, kind: str, form: Form
) -> tuple[list[str], int, Iterator[tuple[int, list[str]]]]:
    """The names of a CSV or TSV file's columns (none if it is empty), how many more have none, and the rows below."""
    rows = _rows(lines, name, kind, form)
    first, header = next(((start, row) for start, row in rows if row != [""]), (1, []))
    if not form.header:
        return [str(i + 1) for i in range(len(header))], 0, itertools.chain([(first, header)] if header else [], rows)
    named = len(header)
    if header.count("") > 1:  # spreadsheets leave such columns behind; a single one may be meant
        while named > 1 and not header[named - 1]:
            named -= 1
    return header[:named], len(header) - named, rows


def _table(
    header: list[str],
    spare: int,
    rows: Iterator[tuple[int, list[str]]],
    name: str,
    kind: str,
    text: str,
    columns: list[str],
    form: Form,
) -> Iterator[Record]:
    if not header:
        return
    for column in (text, *columns):
        if header.count(column) != 1:
            if column in header:
                raise DataError(f"{name} has {header.count(column)} columns {column!r}; rename all but one")
            raise _missing(column, name, header, _hint(header, column, kind, form))
    at, others, width = header.index(text), [header.index(column) for column in columns], len(header)
    doubtful = form.quoting == "auto" and not form.quoted(kind)
    names = set(header) if form.header else set()
    again = first = 0
    for start, row in rows:
        if len(row) != width:
            if row == [""]:
                continue  # a blank line of a file without quotes
            if not width < len(row) <= width + spare or any(row[width:]):
                raise _uneven(row, width, spare, f"{name}:{start}", kind, form)
            row = row[:width]
        if row[0] in names:
            if width == 1:
                say_once(f"{name}:{start} is the header once more, or a text: it is taken for a text")
            elif row == header:
                again, first = again + 1, first or start
                continue
            elif sorted(row) == sorted(header):
                raise DataError(f"{name}:{start} is a header with the columns in another order; split the file there")
        if doubtful and len(row[at]) > 1 and row[at][0] == row[at][-1] == '"':
            say_once(
                f"{name}: texts stand in quotes (the first at line {start}), which are taken for part of them; give "
                "--quoting double where they are not"
            )
            doubtful = False
        yield start, row[at], [row[i] for i in others]
    if again:
        what = "1 repeated header was" if again == 1 else f"{again:,} repeated headers were"
        say_once(f"{name}: {what} left out (the first at line {first})")


def _hint(header: list[str], column: str, kind: str, form: Form) -> str:
    """What else may be wrong where a CSV or TSV file lacks a column."""
    if not form.header:
        return "; without a header the columns are called by their numbers"
    if f'"{column}"' in header:
        return "; its names are in quotes: give --quoting double"
    if header[0].lower().startswith("sep="):
        return f"; take its first line away, and give --delimiter '{header[0][4:]}'"
    if len(header) == 1:
        for sign in ";\t,|":
            if column in [cell.strip().strip('"') for cell in header[0].split(sign)] and sign != form.comma(kind):
                return f"; its fields are parted by {sign!r}: give --delimiter '{'tab' if sign == chr(9) else sign}'"
    if column in map(str.strip, header):
        return "; names with spaces around them count as they are"
    return ", or give --no-header where its first line is a record"


def _uneven(row: list[str], width: int, spare: int, where: str, kind: str, form: Form) -> DataError:
    comma = {",": "comma", "\t": "tab"}.get(form.comma(kind), repr(form.comma(kind)))
    if len(row) > width and not any(row[width:]):
        hint = "take away the empty ones at its end, or give the header as many"
    elif width < len(row) <= width + spare:
        hint = "name the columns at its end that have no name"
    elif form.quoted(kind):
        hint = f'put texts that hold a {comma} in "..."'
    else:
        hint = f'a text may hold no {comma} and no line end, unless it is in "..." and --quoting double is given'
    return DataError(f"{where} has {len(row)} field{'s' * (len(row) != 1)}, but the header has {width}; {hint}")


def _batches(records: Iterator[Record], name: str, columns: list[str], size: int) -> Iterator[Batch]:
    while part := list(itertools.islice(records, size)):
        rows, texts, values = zip(*part, strict=True)
        by_column = list(zip(*values, strict=True)) if columns else []
        yield Batch(name, rows, list(texts), {c: list(v) for c, v in zip(columns, by_column, strict=False)})


# -- formats of columns -------------------------------------------------------------------------------------------


def _columnar(
    source: str, kind: str, text: str, columns: list[str], errors: str, size: int, nulls: bool
) -> Iterator[Batch]:
    """Parquet, Arrow files and streams, and Hugging Face datasets: all are tables of Arrow arrays."""
    wanted = list(dict.fromkeys([text, *columns]))
    row = 1
    with _tables(source, kind, wanted, size) as (schema, tables):
        source = _STDIN if source == "-" else source
        _check_schema(schema, source, text, wanted)
        classes = _class_names(schema)
        for table in tables:
            for start in range(0, table.num_rows, size):
                part = table.slice(start, size)
                texts = _strings(part.column(part.schema.names.index(text)), source, row, text, errors, nulls)
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
        source = _STDIN if source == "-" else source
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
    name, what = _STDIN if source == "-" else source, "Parquet" if kind == "parquet" else "Arrow"
    with _open(source) as file:
        magic = file.peek(8)[:8]
        own = b"PAR1" if kind == "parquet" else (b"ARROW1", b"\xff\xff\xff\xff")
        if not magic.startswith(own) and (foreign := _foreign(magic)):
            raise DataError(f"{name} is no {what}, but {foreign.removeprefix('is ')}")
        # A file is looked into anywhere; stdin has to be in memory for that.
        whole = source == "-" and (kind == "parquet" or magic.startswith(b"ARROW1"))
        at: Any = pa.BufferReader(file.read()) if whole else source
        try:
            if not magic:
                raise pa.ArrowInvalid("it is empty")
            if kind == "parquet":
                parquet = require("pyarrow.parquet", "arrow")
                # Buffered: pages of a row group as they are needed, not a whole column of it. pre_buffer would keep all
                # that was read.
                with parquet.ParquetFile(at, buffer_size=_READ, pre_buffer=False) as reader:
                    schema, size = reader.schema_arrow, min(size, _affordable(reader.metadata))
                    there = [name for name in schema.names if columns is None or name in columns]
                    yield schema, reader.iter_batches(size, columns=there) if there else iter(())
            elif magic.startswith(b"FEA1"):
                raise pa.ArrowInvalid("feather version 1 is not supported, write it again as version 2")
            else:
                with nullcontext(at if whole else file) if source == "-" else pa.memory_map(source) as mapped:
                    if magic.startswith(b"ARROW1"):
                        reader = pa.ipc.open_file(mapped)
                        yield reader.schema, (reader.get_batch(i) for i in range(reader.num_record_batches))
                    else:
                        reader = pa.ipc.open_stream(mapped)
                        yield reader.schema, reader
        except (pa.ArrowException, OSError) as error:
            # ArrowInvalid is a ValueError and so is DataError, but no DataError is an ArrowException
            raise DataError(f"{name} cannot be read as {what}, it is damaged or cut short: {error}") from None


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


def _count(source: str, kind: str) -> int:
    if kind == "hf":
        return len(_hub(source))
    with _tables(source, kind, None, 1) as (_, tables):
        if kind == "parquet":
            return require("pyarrow.parquet", "arrow").read_metadata(source).num_rows
        return sum(table.num_rows for table in tables)


# -- labels -------------------------------------------------------------------------------------------------------


def _name(value: Any) -> str:
    """The name of one label; raises ValueError with the end of a sentence."""
    value = value.strip() if isinstance(value, str) else value
    if isinstance(value, float) and value.is_integer():
        value = int(value)  # pandas turns integers into floats beside a missing value
    if value is None or value == "" or (isinstance(value, float) and math.isnan(value)):
        raise ValueError("is missing; add it, drop the row, or leave such rows out with --skip-missing")
    if not isinstance(value, (str, int, float)):
        raise ValueError(f"is of type {type(value).__name__}, not a name or a number; convert it")
    return str(value)


def _one_name(value: Any) -> str:
    if isinstance(value, str) and re.match(r"""\s*\[\s*["']""", value):
        value = _bracketed(value)
    if isinstance(value, list):
        if len(value) > 1:
            raise ValueError(f"has {len(value)} names ({_several(value)}), not one; use --task multi")
        value = value[0] if value else None
    return _name(value)


def _names(value: Any, separator: str) -> tuple[str, ...]:
    """The names of a label of the task multi; raises ValueError."""
    items = value if isinstance(value, list | tuple) else [value]
    if isinstance(value, str):
        listed = _bracketed(value)
        items = [part for part in value.split(separator) if part.strip()] if listed is None else listed
    for one in items:
        if isinstance(one, float) and math.isfinite(one) and not one.is_integer():
            raise ValueError(f"holds {one}, which is neither a name nor 0 or 1; write 1 where the label applies")
    return tuple(map(_name, items))


def _zero_or_one(value: Any) -> float:
    """What one of several columns of labels holds; raises ValueError."""
    if value is None or value == "" or value != value:
        raise ValueError("is missing; give 0 or 1, drop the row, or leave such rows out with --skip-missing")
    plain = {"true": 1, "false": 0}.get(value.strip().lower(), value) if isinstance(value, str) else value
    try:
        number = float(plain)
    except (TypeError, ValueError):
        number = math.nan
    if number not in (0, 1):
        raise ValueError(f"is {value!r:.60}, not 0 or 1: each of several columns says whether its label applies")
    return number


_ITEM = re.compile(r"""("(?:[^"\\]|\\.)*"|'(?:[^'\\]|\\.)*'|[^\s,'"\[\](){}:]+)(\s*,\s*|\s+|$)""", re.DOTALL)


def _bracketed(text: str) -> list | None:
    """The items of a list that was written into a cell: by Python, JSON or numpy; None where it is no such list.

    Also a set and a tuple of Python, if its items are in quotes or numbers. Raises ValueError for brackets that hold no
    such list.
    """
    text = text.strip()
    if text in ("set()", "{}", "()"):
        return []
    ends = text[:1] + text[-1:]
    if not text.startswith("[") and (ends not in ("()", "{}") or not re.match(r"""["'\d]""", text[1:].lstrip())):
        return None
    inside, items, marks, at = text[1:-1].strip(), [], set(), 0
    while ends in ("[]", "()", "{}") and (item := _ITEM.match(inside, at)):
        word, mark = item[1], item[2].strip()
        at = item.end()
        if at < len(inside):
            marks.add(mark)
        items.append(_literal(word))
    if ends not in ("[]", "()", "{}") or at < len(inside) or len(marks) > 1 or "..." in items:
        raise ValueError(
            f"is {text!r:.60}, no list as Python, JSON or numpy writes it; write ['name', 'other'], or names parted by "
            "--label-separator"
        )
    return items


def _literal(word: str) -> Any:
    """The value of an item of a list in a cell."""
    if word[0] in "'\"":
        for read in (json.loads, ast.literal_eval):  # JSON first: its \\u escapes come in pairs
            try:
                return read(word)
            except (ValueError, SyntaxError):
                pass
        raise ValueError(f"holds {word!r:.60}, which no string of Python or JSON is; correct it")
    if word.lower() in ("true", "false"):
        return word.lower() == "true"
    if word.lower() in ("none", "null", "nan"):
        return None
    for number in (int, float):
        try:
            return number(word)
        except ValueError:
            pass
    return word


def _are_multi_hot(
    sets: list[tuple[str, ...]],
    places: Places,
    classes: tuple[str, ...] | None,
    before: bool | None,
    column: str,
) -> bool | None:
    """Whether all labels are a 0 or 1 for each of ``classes``; None where they hold no number.

    ``before`` is what those of train are. Names and indices come without repetition and in lists of any length, so that
    a 0 or 1 that stands twice in a list, or true and false, tell multi-hot.

    Errors: :class:`DataError` where it cannot be told, and where the labels are not as those of train.
    """
    digits = {name for names in sets for name in names if _is_integer(name) or name in ("True", "False")}
    if not digits:
        return None

    def where(fits: Callable[[tuple[str, ...]], bool]) -> str:
        return places[next((i for i, names in enumerate(sets) if fits(names)), 0)]

    def tells(names: tuple[str, ...]) -> bool:
        return len(set(names)) < len(names) or "True" in names or "False" in names

    remedy = "write names, or give a column to each label (--label NAME NAME ...)"
    numbers = all(name in ("0", "1", "True", "False") for names in sets for name in names)
    sure = numbers and any(map(tells, sets))
    lengths = {len(names) for names in sets}
    if not numbers:
        if before and classes and not digits <= set(classes):
            place = where(lambda names: not digits.isdisjoint(names))
            raise DataError(
                f"the labels (column {column}) are a 0 or 1 for each label in train, but not at {place}; {remedy}"
            )
        for i, names in enumerate(sets):
            if len(given := [name for name in names if name in digits]) > len(set(given)):
                raise DataError(
                    f"the label (column {column}) at {places[i]} has a number twice, as lists of 0 and 1 do, but "
                    f"others are no 0 and 1; {remedy}"
                )
        return False
    if classes is None:
        if sure or (lengths == {2}):
            raise DataError(
                f"the lists of 0 and 1 at {where(tells)} (column {column}) seem to say of each label whether it "
                "applies: name the labels in their order with --labels"
            )
        return False
    if lengths != {len(classes)}:
        if sure or before:
            place = where(lambda names: len(names) != len(classes))
            names = next(names for names in sets if len(names) != len(classes))
            raise DataError(
                f"the labels (column {column}) seem to be a 0 or 1 for each of {len(classes)} labels "
                f"({_several(classes)}), but at {place} there are {len(names)}; correct it, or {remedy}"
            )
        return False
    named_so = len(classes) < 3 and not digits.isdisjoint(classes)
    if sure and not named_so:
        told: bool | None = True
    elif len(classes) == 1 and digits == {"0", "1"} and not named_so:
        told = True  # there is no label 1 to be named
    elif len(classes) == 2 and before is None and not named_so:
        told = True  # as indices, they would give every text both labels
    else:
        told = before
    if told is None:
        raise DataError(
            f"the lists of 0 and 1 at {where(bool)} (column {column}) may name labels, or say of each whether it "
            f"applies (labels: {_several(classes)}); {remedy}"
        )
    if before is False and told:
        raise DataError(
            f"the lists at {where(tells)} (column {column}) are a 0 or 1 for each label, but those of train name "
            f"labels; {remedy}"
        )
    return told


def _order_of(named: tuple[str, ...], data: Data, labels: Sequence[str] | None) -> list[int]:
    """The place of each class's column."""
    own = list(data.labels or named)
    if labels is None:
        return list(range(len(own)))
    if sorted(labels) != sorted(own):
        raise SettingsError(
            f"the columns of --label are {_several(own)}, but the labels {_several(labels)}; name the columns' classes "
            "with --labels, in their order"
        )
    return [own.index(name) for name in labels]


def _as_given(classes: tuple[str, ...], data: Data, labels: Sequence[str] | None) -> tuple[str, ...]:
    """The classes as the caller has them, with the spaces that count for nothing."""
    return tuple(data.labels if labels is None else labels) or classes


def _doubt(sets: list, classes: tuple[str, ...], where: str, column: str, data: Data) -> None:
    """Say what is odd about the labels that were found; refuse names that hold several."""
    for sign in ";|":
        parts = {name: [part.strip() for part in name.split(sign)] for name in classes if sign in name}
        if data.task == "multi" and sign not in data.label_separator:
            for name, inside in parts.items():
                if not set(classes).isdisjoint(inside):
                    raise DataError(
                        f"label {name!r} in {where} (column {column}) seems to be several: give --label-separator "
                        f"'{sign}', or name all labels with --labels"
                    )
    alike: dict[str, list[str]] = {}
    for name in classes:
        alike.setdefault(" ".join(name.casefold().split()), []).append(name)
    for names in alike.values():
        if len(names) > 1:
            counts = Counter(name for found in sets for name in found)
            shown = ", ".join(f"{name!r} ({counts[name]:,})" for name in names)
            say_once(f"labels {shown} in {where} differ in case or spaces alone, and count as different")
    fraction = next((name for name in classes if not _is_integer(name)), "")
    if data.task == "single" and fraction and all(map(_is_number, classes)):
        say_once(
            f"the labels in {where} (column {column}) are numbers such as {fraction}: are they scores (--task "
            "regression), or is it the wrong column (--label)?"
        )
    elif len(classes) >= max(3, len(sets)) or (len(sets) >= 100 and len(classes) > len(sets) / 2):
        say_once(
            f"there are {len(classes):,} labels for {len(sets):,} texts in {where} (column {column}): is it the wrong "
            "column (--label), or are they scores (--task regression)?"
        )


def _is_number(name: str) -> bool:
    try:
        return math.isfinite(float(name))
    except ValueError:
        return False


def _score(value: Any) -> float:
    if isinstance(value, list) and len(value) == 1:
        value = value[0]
    if value is None or value == "":
        raise ValueError("is missing; add it, drop the row, or leave such rows out with --skip-missing")
    try:
        score = float(value)
    except (TypeError, ValueError, OverflowError):
        raise ValueError(f"is {value!r}, but --task regression wants a number") from None
    if not abs(score) <= float(np.finfo(np.float32).max):
        raise ValueError(f"is {value}, but --task regression wants a finite number (in 32 bits); drop the row")
    return score


def _is_integer(name: str) -> bool:
    return re.fullmatch(r"[+-]?[0-9]+", name) is not None


def _sorted_names(names: set[str]) -> tuple[str, ...]:
    if all(_is_integer(name) for name in names):
        return tuple(sorted(names, key=lambda name: (int(name), name)))
    return tuple(sorted(names))
