"""Formats of lines: CSV, TSV, lines or a list of JSON, fastText, plain text."""

from __future__ import annotations

import csv
import itertools
import json
import re
import sys
from collections.abc import Iterator, Sequence
from typing import Any

from ..errors import DataError
from .files import BYTE_ORDER_MARK, STDIN, Form, MissingColumnError, no_string, not_utf8, place_of, say_once

_JSON_SPACE = " \t\r\n"
# What begins an object or a list of JSON (or Python, to be refused), and hardly a text in braces or brackets.
_OBJECT, _LIST = re.compile(r"""\{\s*(["']|\}?\s*$)"""), re.compile(r"""\[\s*([{"']|\]?\s*$)""")
_COLUMN_NAME = re.compile(r"\w[\w .#-]*")
_HALF_PAIR = re.compile(r"\\u[dD][89a-fA-F]")  # escapes of JSON, two of which make a character
# fastText's own idea of a space; Python's is wider and would cut labels and texts at U+00A0
_SPACE = r"[ \t\v\f\r\0]"
_FASTTEXT_HEAD = re.compile(rf"{_SPACE}*__label__([^ \t\v\f\r\0]*){_SPACE}?")
_FASTTEXT_LATER = re.compile(rf"{_SPACE}+__label__([^ \t\v\f\r\0]*)")
Record = tuple[int, str | None, Any]  # row, text, values of its columns: a list, or a dict of JSON


def _bare(line: str) -> str:
    return line[: -2 if line.endswith("\r\n") else -1] if line.endswith("\n") else line


def read_lines(
    lines: Iterator[str], name: str, kind: str | None, text: str, keep: Sequence[str] | None, errors: str, form: Form,
    label: str, absent: str, blank_lines: bool,
) -> tuple[list[str] | None, Iterator[Record]]:  # fmt: skip
    """Names of the columns (None: each record has its own), and each record: its row, its text, and the values of those
    columns in their order, or what it has of them as a dict.

    ``keep``: the columns asked for (None: all). ``label`` is another name for fastText's labels, ``blank_lines``:
    whether those of fastText are records. ``absent`` says what a record of JSON is that lacks a column: an "error", one
    with a "null" there, or one that has columns of its "own", as all then do.
    """
    kind, lines = _sniffed(kind, lines, name, text)
    if kind in ("jsonl", "list"):
        columns = None if absent == "own" else list(dict.fromkeys(keep or ()))
        return columns, _json(_objects(lines, name, kind), name, text, keep, errors, absent)
    if kind in ("csv", "tsv"):
        header, spare, rows = _headed(lines, name, kind, form)
        columns = _ordered(header, keep) if header else []
        return columns, _table(header, spare, rows, name, kind, text, columns, form)
    if kind == "fasttext":
        columns = _ordered(["label", text], keep)
        return columns, _fasttext(lines, name, columns, text, label, blank_lines)
    columns = _ordered([text], keep)
    return columns, _plain(lines, name, columns, text)


def _ordered(there: list[str], keep: Sequence[str] | None) -> list[str]:
    """The columns asked for in the order of the file, those that it lacks at the end."""
    if keep is None:
        return there
    return [*(name for name in there if name in keep), *dict.fromkeys(name for name in keep if name not in there)]


def _sniffed(kind: str | None, lines: Iterator[str], name: str, text: str) -> tuple[str | None, Iterator[str]]:
    """What files are whose suffix leaves it open, and stdin, by the first line that is not blank; and all lines again.

    Only that line is looked at: who writes to a pipe may wait for the answer.
    """
    if kind not in ("plain", "json", STDIN):
        return kind, lines
    head, start = [], ""
    for line in lines:
        head.append(line)
        if start := line.removeprefix(BYTE_ORDER_MARK).lstrip():
            break
    lines = itertools.chain(head, lines)
    if kind == "json":
        return "list" if start.startswith("[") else "jsonl", lines
    if start.startswith("__label__"):
        return "fasttext", lines
    if kind == STDIN:
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
        like = all(map(_COLUMN_NAME.fullmatch, cells)) if len(cells) > 1 else kind == STDIN and not sys.stdin.isatty()
        if like and text.casefold() in map(str.casefold, cells):
            how = "tsv" if sign == "\t" and len(cells) > 1 else "csv"
            how += f" --delimiter '{sign}'" if sign in ";|" else ""
            raise DataError(
                f"the first line of {name} is {line!r:.60}, a table's header as it seems; give --input-format {how}, "
                "or --input-format lines where each line is a text"
            )
    if kind == STDIN and any(
        len(cells) > 1 and " " not in line and all(map(_COLUMN_NAME.fullmatch, cells)) for _, cells in rows
    ):
        say_once(
            f"stdin is read as lines of text; where {line!r:.60} is a table's header, give --input-format csv "
            "and --text"
        )


def _plain(lines: Iterator[str], name: str, columns: list[str], text: str) -> Iterator[Record]:
    for column in columns:
        if column != text:
            hint = "; say what stdin is with --input-format" if name == STDIN else ""
            raise DataError(
                f"{name} holds plain lines and has no column {column!r}; begin each line with __label__NAME, or use "
                f"CSV, JSON lines or Parquet{hint}"
            )
    for row, line in enumerate(lines, 1):
        value = _bare(line).removeprefix(BYTE_ORDER_MARK)
        yield row, value, [value] * len(columns)


def _fasttext(
    lines: Iterator[str], name: str, columns: list[str], text: str, label: str, blank_lines: bool
) -> Iterator[Record]:
    """Labels are lists of names. ``blank_lines`` are empty texts, or as in fastText's own training no records."""
    for column in columns:
        if column not in ("label", "text", label, text):
            raise MissingColumnError(column, f"{name} (fastText)", ["label", "text"])
    for row, line in enumerate(lines, 1):
        line, names, start = _bare(line).removeprefix(BYTE_ORDER_MARK), [], 0
        if not blank_lines and not line.strip(" \t\v\f\r\0"):
            continue
        while head := _FASTTEXT_HEAD.match(line, start):
            names.append(head[1])
            start = head.end()
        value = line[start:]
        if "__label__" in value:  # fastText takes labels anywhere; left in the text they would give the answer away
            names += _FASTTEXT_LATER.findall(value)
            value = _FASTTEXT_LATER.sub("", value)
        yield row, value, [value if column in ("text", text) else names for column in columns]


Object = tuple[int, bool, dict[str, Any]]  # row, whether there may be half a surrogate pair, the object


def _json(
    objects: Iterator[Object], name: str, text: str, keep: Sequence[str] | None, errors: str, absent: str
) -> Iterator[Record]:
    for row, broken, record in objects:
        values: Any
        try:
            value = record[text]
            if absent == "own":
                values = record if keep is None else {key: record[key] for key in record if key in keep}
            else:
                values = [record[column] for column in keep or ()]
        except KeyError as error:
            if absent != "null":
                raise MissingColumnError(error.args[0], place_of(name, row), list(record)) from None
            value, values = record.get(text), [record.get(column) for column in keep or ()]
        if type(value) is not str and value is not None:
            if value == value:
                raise no_string(value, text, place_of(name, row))
            value = None  # NaN: what pandas has for a null
            if text in values and isinstance(values, dict):
                values[text] = None
        if broken:
            value, values = _paired([value, values], place_of(name, row), errors)
        yield row, value, values


def _objects(lines: Iterator[str], name: str, kind: str) -> Iterator[Object]:
    """The objects of JSON lines, or of one list."""
    rest = f", or --input-format lines where {name} is text" if name == STDIN else ""
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
                raise DataError(
                    f"{place_of(name, row)} is of type {type(record).__name__}, not an object of JSON{rest}"
                )
            yield row, broken, record
        return
    for row, line in enumerate(lines, 1):
        line = line.removeprefix(BYTE_ORDER_MARK)
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
    written = json.dumps(value, ensure_ascii=False)
    try:
        written.encode()
    except UnicodeEncodeError:
        if errors == "strict":
            raise not_utf8(f"{where} has half a surrogate pair and") from None
        return json.loads(re.sub("[\ud800-\udfff]", "\ufffd", written))
    return value


def _rows(lines: Iterator[str], name: str, kind: str, form: Form) -> Iterator[tuple[int, list[str]]]:
    """The records of a CSV or TSV file with the line each starts on; a blank line is none, or one empty field."""
    delimiter = form.comma(kind)
    if not form.quoted(kind):
        for start, line in enumerate(lines, 1):
            yield start, _bare(line).removeprefix(BYTE_ORDER_MARK).split(delimiter)
        return
    if csv.field_size_limit() < (1 << 31) - 1:
        csv.field_size_limit((1 << 31) - 1)  # the module refuses texts over 128 KiB otherwise
    begins = True

    def without_marks() -> Iterator[str]:
        nonlocal begins
        for line in lines:  # inside a field in quotes the mark is a character as any
            first, begins = begins, False
            yield line.removeprefix(BYTE_ORDER_MARK) if first else line

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
            raise MissingColumnError(column, name, header, _hint(header, column, kind, form))
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
                return f"; its fields are separated by {sign!r}: give --delimiter '{'tab' if sign == chr(9) else sign}'"
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
