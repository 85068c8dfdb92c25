"""Sources of texts: files, globs, folders, datasets, stdin; compression, encodings, and what formats there are."""

from __future__ import annotations

import glob
import gzip
import io
import os
import re
import sys
import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from typing import Any, BinaryIO

from ..encoding import encoding_of
from ..errors import DataError, SettingsError, require
from ..options import INPUT_FORMATS, QUOTING, Data
from ..progress import say

_LINES = {
    ".jsonl": "jsonl", ".ndjson": "jsonl", ".json": "json", ".csv": "csv", ".tsv": "tsv",
    ".txt": "plain", ".ft": "fasttext", ".fasttext": "fasttext",
}  # fmt: skip
_COLUMNAR = {".parquet": "parquet", ".arrow": "ipc", ".feather": "ipc"}
_COMPRESSED = (".gz", ".zst")
TABLE_FORMATS = ("hf", "parquet", "ipc")
_KNOWN = f"{', '.join([*_COLUMNAR, *_LINES])}; the text formats also with .gz or .zst; --input-format reads any other"
STDIN = "stdin"
READ_BYTES = 1 << 20  # bytes read at a time
BATCH_BYTES = 1 << 24  # that one Piece holds, about: long records must not fill the memory
BYTE_ORDER_MARK = "\ufeff"  # the byte order mark; files that were put together have some inside
_HUB_ID = re.compile(r"[\w.-]+/[\w.-]+")
_ABOUT = re.compile(r"(readme|licen[cs]e|notice|copying|changelog|citation)\b", re.IGNORECASE)


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
        if len(self.delimiter) > 1 or self.delimiter in ('"', "\r", "\n", "\0", BYTE_ORDER_MARK):
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
            return STDIN
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


def expand(sources: Sequence[str], form: Form = AUTO) -> list[str]:
    """Turn files, globs, folders, ``hf:...`` and ``-`` (stdin) into single sources, in order.

    A folder stands for every file below it that has a known suffix and no dot before its name, sorted by path; plain
    text beside files of records, and what is called README or LICENSE, is left out, and that is logged. With a format
    in ``form`` a folder stands for every file that has no dot or underscore before its name. An ``hf:`` source,
    ``hf:owner/name[/config][:split]`` or ``hf:folder[:split]``, stays as it is; without a split it is the one called
    train, or the only one.

    Errors: :class:`DataError` for a source that matches nothing, or a file whose format is not known.
    """
    expanded: list[str] = []
    for source in [sources] if isinstance(sources, (str, os.PathLike)) else sources:
        source = os.fspath(source)
        if source == "-" and "-" in expanded:
            raise DataError("stdin (-) is named twice, but it can be read only once")
        if source == "-" or source.startswith("hf:"):
            expanded.append(source)
            continue
        path = os.path.expanduser(source)
        matches = [path] if os.path.exists(path) else sorted(glob.glob(path, recursive=True))
        if not matches:
            what = "no file matches" if glob.has_magic(source) else "no such file or folder:"
            hub = (
                f", or write hf:{source} for a data set of the hub"
                if _HUB_ID.fullmatch(source) and not form.kind(source)
                else ""
            )
            raise DataError(f"{what} {source!r}; correct the path{hub}")
        for match in matches:
            if not os.path.isdir(match):
                if form.kind(match) is None:
                    raise DataError(f"{match} has a suffix that is not known (known: {_KNOWN}); rename or convert it")
                expanded.append(match)
            elif inside := _files_below(match, form):
                expanded.extend(inside)
            elif len(matches) == 1:
                raise DataError(f"folder {match} holds no file that can be read (known suffixes: {_KNOWN})")
    return expanded


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
        say_once(f"{folder}: {several(left, 3)} left out, beside {several(kept, 3)}; name the file itself to read it")
    return kept


def place_of(source: str, row: int) -> str:
    """Where a record stands: file and line, or file and row."""
    counts_rows = AUTO.kind(source) in (*TABLE_FORMATS, "json")
    return f"{source} row {row}" if counts_rows else f"{source}:{row}"


def several(names: Sequence[str], most: int = 12) -> str:
    """Names with commas between them, the first ``most`` of them."""
    more = f", ... {len(names) - most} more" if len(names) > most else ""
    return ", ".join(str(name) for name in names[:most]) + more


def no_text(sources: Sequence[str]) -> DataError:
    """The error for sources without a text."""
    return DataError(f"there is no text in {several(sources)}" if sources else "no file is named; name at least one")


_said: set[str] = set()


def say_once(message: str) -> None:
    """:func:`say`, but not again each time that a file is read."""
    if message not in _said:
        _said.add(message)
        say(message)


class MissingColumnError(DataError):
    """A column ``name`` that a source does not have; :meth:`with_option` for who knows which option names it."""

    def __init__(self, name: str, source: str, there: Sequence[str], hint: str = "", option: str = ""):
        has = several([repr(n)[:80] for n in there]) or "none"
        way = f" with {option}" if option else ""
        super().__init__(f"{source} has no column {name!r}; it has {has}: name the right one{way}{hint}")
        self.name, self._rest = name, (source, there, hint)

    def with_option(self, option: str) -> MissingColumnError:
        """The same error with an option in its remedy."""
        return MissingColumnError(self.name, *self._rest, option)


def no_string(value: Any, name: str, where: str) -> DataError:
    """The error for a text that is null or no string."""
    if value is None:
        return DataError(
            f"the text (column {name!r}) at {where} is null; drop the row, make it an empty string, "
            "or leave such rows out with --skip-missing"
        )
    kind = type(value).__name__
    return DataError(f"the text (column {name!r}) at {where} is of type {kind}, not a string; correct it, or name "
                     "another column with --text")  # fmt: skip


def not_utf8(where: str) -> DataError:
    """The error for bytes that are no UTF-8."""
    return DataError(f"{where} is not valid UTF-8; convert the file, or take U+FFFD for what is invalid with "
                     "--encoding-errors replace")  # fmt: skip


@contextmanager
def opened(source: str) -> Iterator[io.BufferedReader]:
    """The decompressed bytes of a file, or stdin; what goes wrong while reading them becomes a DataError."""
    name = STDIN if source == "-" else source
    with raw_bytes(source) as raw:
        try:
            # Compressed files without the suffix are known by their first bytes.
            if source.lower().endswith(".gz") or raw.peek(2).startswith(b"\x1f\x8b"):
                # GzipFile finds lines in Python; a buffer over it finds them in C.
                yield io.BufferedReader(gzip.GzipFile(fileobj=raw), READ_BYTES)
            elif source.lower().endswith(".zst") or raw.peek(4).startswith(b"\x28\xb5\x2f\xfd"):
                yield io.BufferedReader(_zstd(raw), READ_BYTES)
            else:
                yield raw
        except (OSError, EOFError, zlib.error) as error:
            raise DataError(f"{name} cannot be read to its end, it is damaged or cut short: {error}") from None


def raw_bytes(source: str) -> Any:
    """A context with the bytes of a file, or stdin, that can be looked at before they are read."""
    if source == "-":
        stdin: Any = sys.stdin.buffer
        return nullcontext(stdin if hasattr(stdin, "peek") else io.BufferedReader(stdin))
    try:
        return open(source, "rb", buffering=READ_BYTES)
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


def foreign_format(head: bytes) -> str:
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
    if foreign := foreign_format(head):
        raise DataError(f"{name} {foreign}")
    if encoding := encoding_of(head):
        raise DataError(f"{name} is {encoding.upper()}; convert it: iconv -f {encoding} -t utf-8")
    if b"\r" in head[:-1] and b"\n" not in head:
        raise DataError(
            f"{name} ends lines with carriage returns alone, as old Macs did; convert it: tr '\\r' '\\n' < OLD > NEW"
        )


def decoded(file: io.BufferedReader, name: str, errors: str, size: list[int]) -> Iterator[str]:
    """Lines with their ends, cut at line feeds: no part of another character is that byte, so each decodes alone.

    The byte order mark before the first is taken away. To ``size[0]`` the bytes of each line are added.
    """
    _checked_start(file, name)
    for number, line in enumerate(file, 1):
        size[0] += len(line)
        if number == 1 and not (line := line.removeprefix(b"\xef\xbb\xbf")):
            return  # a file of nothing but the mark has no line
        try:
            yield line.decode("utf-8", errors)
        except UnicodeDecodeError:
            raise not_utf8(f"{name}:{number}") from None
