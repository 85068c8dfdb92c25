"""Formats of lines: CSV, TSV, lines or a list of JSON, fastText, plain text."""

from __future__ import annotations

import csv
import io
import itertools
import json
import re
import sys
from collections.abc import Iterator, Sequence
from typing import Any

from ..errors import DataError
from .files import BYTE_ORDER_MARK, STDIN, Form, decoded, missing_column, no_string, not_utf8, place_of, say_once

_JSON_SPACE = " \t\r\n"
# What begins an object or a list of JSON (or Python, to be refused), and hardly a text in braces or brackets.
_OBJECT, _LIST = re.compile(r"""\{\s*(["']|\}?\s*$)"""), re.compile(r"""\[\s*([{"']|\]?\s*$)""")
_COLUMN_NAME = re.compile(r"\w[\w .#-]*")
_HALF_PAIR = re.compile(r"\\u[dD][89a-fA-F]")  # escapes of JSON, two of which make a character
# fastText's own idea of a space; Python's is wider and would cut labels and texts at U+00A0
_SPACE = r"[ \t\v\f\r\0]"
_FASTTEXT_HEAD = re.compile(rf"{_SPACE}*__label__([^ \t\v\f\r\0]*){_SPACE}?")
_FASTTEXT_LATER = re.compile(rf"{_SPACE}+__label__([^ \t\v\f\r\0]*)")
Record = tuple[int, str, Sequence]  # row, text, values of the columns asked for


def _bare(line: str) -> str:
    return line[: -2 if line.endswith("\r\n") else -1] if line.endswith("\n") else line


def records_of(
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
    """Row, text and the columns asked for of each record."""
    kind, lines = _sniffed(kind, decoded(file, name, errors), name, text)
    if kind in ("jsonl", "list"):
        return _jsonl(_objects(lines, name, kind), name, text, columns, errors, nulls)
    if kind in ("csv", "tsv"):
        return _table(*_headed(lines, name, kind, form), name, kind, text, columns, form)
    if kind == "fasttext":
        return _fasttext(lines, name, columns, label)
    return _plain(lines, name, columns)


def whole_records(
    lines: Iterator[str], name: str, kind: str | None, text: str, keep: Sequence[str] | None, errors: str, form: Form
) -> tuple[list[str] | None, Iterator[tuple[int, str | None, dict]]]:
    """Names of the columns to keep (None: each record has its own), and row, text and those columns of each record."""
    kind, lines = _sniffed(kind, lines, name, text)
    if kind in ("jsonl", "list"):
        return None, _whole_jsonl(_objects(lines, name, kind), name, text, keep, errors)
    records: Iterator[Record]
    if kind in ("csv", "tsv"):
        header, spare, rows = _headed(lines, name, kind, form)
        kept = kept_columns(header, keep, name) if header else []
        records = _table(header, spare, rows, name, kind, text, kept, form)
    elif kind == "fasttext":
        kept = kept_columns(["label", text], keep, name)
        records = (
            (row, value, [",".join(names) if column == "label" else value for column in kept])
            for row, value, (names,) in _fasttext(lines, name, ["label"], "label", blank=True)
        )
    else:
        kept = kept_columns([text], keep, name, "; say what stdin is with --input-format" if name == STDIN else "")
        records = ((row, value, [value] * len(kept)) for row, value, _ in _plain(lines, name, []))
    return kept, ((row, value, dict(zip(kept, values, strict=True))) for row, value, values in records)


def kept_columns(there: list[str], keep: Sequence[str] | None, name: str, hint: str = "") -> list[str]:
    """Those columns of a file that are to be kept (``keep`` None: all)."""
    for column in keep or ():
        if column not in there:
            raise missing_column(column, name, there, hint)
    return [column for column in there if keep is None or column in keep]


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


def _plain(lines: Iterator[str], name: str, columns: list[str]) -> Iterator[Record]:
    if columns:
        raise DataError(
            f"{name} holds plain lines and has no column {columns[0]!r}; "
            "begin each line with __label__NAME, or use CSV, JSON lines or Parquet"
        )
    for row, line in enumerate(lines, 1):
        yield row, _bare(line).removeprefix(BYTE_ORDER_MARK), ()


def _fasttext(lines: Iterator[str], name: str, columns: list[str], label: str, blank: bool = False) -> Iterator[Record]:
    """``blank`` lines are texts, or as in fastText's own training no records."""
    for column in columns:
        if column not in ("label", "text", label):
            raise missing_column(column, f"{name} (fastText)", ["label", "text"])
    for row, line in enumerate(lines, 1):
        line, names, start = _bare(line).removeprefix(BYTE_ORDER_MARK), [], 0
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
            raise missing_column(error.args[0], place_of(name, row), list(record)) from None
        if not isinstance(value, str) and not (nulls and value is None):
            raise no_string(value, text, place_of(name, row))
        if broken:
            value = _paired(value, place_of(name, row), errors)
        yield row, value, rest


def _whole_jsonl(
    objects: Iterator[Object], name: str, text: str, keep: Sequence[str] | None, errors: str
) -> Iterator[tuple[int, str | None, dict]]:
    for row, broken, record in objects:
        if text not in record:
            raise missing_column(text, place_of(name, row), list(record))
        if record[text] != record[text]:  # NaN: what pandas has for a null
            record[text] = None
        if not isinstance(record[text], str | None):
            raise no_string(record[text], text, place_of(name, row))
        if keep is not None:
            record = {column: value for column, value in record.items() if column in keep or column == text}
        if broken:
            record = _paired(record, place_of(name, row), errors)
        value = record[text] if keep is None or text in keep else record.pop(text)
        yield row, value, record


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
    said = json.dumps(value, ensure_ascii=False)
    try:
        said.encode()
    except UnicodeEncodeError:
        if errors == "strict":
            raise not_utf8(f"{where} has half a surrogate pair and") from None
        return json.loads(re.sub("[\ud800-\udfff]", "\ufffd", said))
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
            raise missing_column(column, name, header, _hint(header, column, kind, form))
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
