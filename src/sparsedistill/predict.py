"""Labels for texts in files of any size: read, scored and written batch by batch, beside what came with the texts."""

from __future__ import annotations

import itertools
import os
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from .classifier import Classifier
from .cuts import cut_of, keeps
from .data import files, records
from .data.records import Batch
from .data.tables import plain_type
from .data.write import Write, array_of, arrow_writer, cells, refuse_clash, text_writer
from .errors import DataError, SettingsError, require
from .format import replacing
from .heads import Head
from .progress import Progress, say

FILES = {".parquet": "parquet", ".arrow": "arrow", ".jsonl": "jsonl", ".csv": "csv", ".tsv": "tsv"}
STREAMS = ("lines", "jsonl", "csv", "tsv", "arrow")


# long: what it takes needs as many words
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
    cut: str = "",
) -> None:
    """Write a record for each text of ``sources`` (files, globs, folders, ``-`` for stdin), in order.

    ``output`` is a file that is there whole or not at all, its format told by its suffix (one of ``FILES``); None is
    stdout in ``format`` (one of ``STREAMS``). A record has the columns ``keep`` of the input (None: all) as they were,
    then those of :func:`results` with ``prefix`` before their names; "lines" are the results alone. ``pair`` is the
    column of the second text for a classifier of pairs, and is among the columns kept. ``input_format``, ``delimiter``,
    ``quoting`` and ``header`` are those of :class:`files.Form`; with quoting "double" TSV is written in quotes, too.
    ``cut`` names one of the classifier's cuts, whose "keep" or "drop" is in the column ``cut``. Memory is a few batches
    of the input, whatever its size.

    Errors: :class:`SettingsError` and :class:`DataError`, before the first text is scored wherever that is possible.
    """
    kind = FILES.get(Path(output).suffix, "") if output else format
    form = files.Form(input_format, delimiter, quoting, header)
    expanded = files.expand(sources, form)
    _refuse_options(classifier, expanded, output, kind, keep, pair, proba, top_k, threads)
    if kind == "lines":
        keep = ()
    chosen = cut_of(classifier, cut) if cut else None
    slices = chosen[1]["column"] if chosen else ""
    if (pair or slices) and keep is not None:
        keep = tuple(dict.fromkeys([*keep, *filter(None, (pair, slices))]))

    def scored(logits: np.ndarray, batch: Batch | None = None) -> dict[str, Any]:
        columns = results(classifier, logits, proba, top_k)
        if chosen:
            values = batch.named(slices) if batch and slices else None
            kept = keeps(chosen[1], chosen[0].scores(logits[:, chosen[0].outputs]), values)
            columns["cut"] = np.where(kept, "keep", "drop").tolist()
        return {prefix + name: values for name, values in columns.items()}

    labels = classifier.heads[-1].outputs.stop  # of all heads
    names = list(scored(np.zeros((0, labels), np.float32)))
    if expanded == ["-"] and sys.stdin.isatty():
        say("reading lines of text from the terminal: end with Ctrl-D")
    most = max(1, min(1 << 14, (1 << 22) // labels))  # texts in a batch: their probabilities are in memory, too
    read = partial(records.stream, text=text, keep=keep, encoding_errors=encoding_errors, most=most, form=form)
    try:
        columns, metadata, stdin = _agreed(expanded, read, keep, kind, names)
    except files.MissingColumnError as error:
        if slices and error.name == slices:
            raise DataError(f"the cut {cut} has slices by column {slices!r}: {error}") from None
        raise error.with_option({pair: "--pair", text: "--text"}.get(error.name, "--keep")) from None
    unknown = _Unknown(classifier)
    with ExitStack() as stack:
        write = _writer(
            stack,
            output,
            kind,
            columns,
            names,
            form,
            partial(arrow_writer, types=_types(classifier, prefix), metadata=metadata),
        )
        bar = stack.enter_context(Progress("predict", records.count(expanded, form) if sys.stderr.isatty() else None))
        for source in expanded:
            for batch in stdin if source == "-" else read(source):
                if nulls == "error":
                    _refuse_null(batch, text)
                texts = _paired(batch, pair, nulls) if pair else batch.texts
                logits = classifier._logits(texts, threads, "empty")
                write(batch, scored(logits, batch))
                unknown.add(batch, texts, logits)
                if output or not sys.stdout.isatty():  # else the results themselves show how far it is
                    bar.add(len(batch.rows))
    if unknown.count:
        say(
            f"{unknown.count:,} of {unknown.texts:,} texts had no known n-gram (the first: {unknown.first}): they got "
            "the result of an empty text"
        )


class _Unknown:
    """Counts texts without a known n-gram, and has the place of the first.

    Only texts with the logits of the empty one are looked up once more: no other can be without n-grams.
    """

    def __init__(self, classifier: Classifier):
        self._lookup, self._pairs = classifier._lookup, classifier.pairs
        self._empty = classifier._logits(("", "") if classifier.pairs else "", 1, "error")
        self.count, self.texts, self.first = 0, 0, ""

    def add(self, batch: Batch, texts: Any, logits: np.ndarray) -> None:
        self.texts += len(logits)
        alike = np.flatnonzero(logits[:, 0] == self._empty[0])
        if not len(alike):
            return
        if isinstance(texts, list):
            some = [texts[i] for i in alike.tolist()]
        else:
            some = texts.take(require("pyarrow", "arrow").array(alike)).to_pylist()
        halves = itertools.chain.from_iterable(some) if self._pairs else some
        _, offsets = self._lookup.bags([half or "" for half in halves], 1)
        sizes = np.diff(offsets).reshape(len(some), -1).sum(axis=1)
        unknown = alike[sizes == 0]
        self.count += len(unknown)
        if len(unknown) and not self.first:
            self.first = batch.place(int(unknown[0]))


def _writer(
    stack: ExitStack, output: str | None, kind: str, columns: dict[str, Any], names: list[str], form: files.Form,
    arrow: Callable[..., Any],
) -> Write:  # fmt: skip
    """What writes to ``output`` (None: stdout), until the stack is left."""
    file = stack.enter_context(replacing(output)) if output else None
    if kind in ("parquet", "arrow"):
        result: Callable[[Batch, dict[str, Any]], None] = stack.enter_context(arrow(file, kind, columns, names))
        return result
    sink = stack.enter_context(open(file, "wb")) if file else sys.stdout.buffer  # noqa: SIM115
    return text_writer(sink, kind, list(columns), names, form.quoted(kind))


def results(
    classifier: Classifier, logits: np.ndarray, proba: bool = False, top_k: int | None = None
) -> dict[str, Any]:
    """Columns of n values for the logits (n, outputs) of all heads: those of each, with NAME. before a head's name.

    They are ``predicted``, which is what :meth:`Classifier.predict` gives, for the task "single" also its
    ``probability``; ``proba`` adds ``p(LABEL)`` of every label, ``top_k`` the lists ``top_labels`` and
    ``top_probabilities`` of the K likeliest. A regression has the first of these alone.
    """
    return {
        _before(head) + name: values
        for head in classifier.heads
        for name, values in _results(head, logits[:, head.outputs], proba, top_k).items()
    }


def _before(head: Head) -> str:
    """What stands before the names of a head's columns."""
    return f"{head.name}." if head.name else ""


def _results(head: Head, logits: np.ndarray, proba: bool, top_k: int | None) -> dict[str, Any]:
    columns: dict[str, Any] = {"predicted": head.decide(logits)}
    if head.task == "regression" or not (head.task == "single" or proba or top_k):
        return columns
    shares = head.probabilities(logits)
    if head.task == "single":
        columns["probability"] = shares.max(axis=1)
    if proba:
        columns |= {f"p({label})": shares[:, i] for i, label in enumerate(head.labels)}
    if top_k:
        best = head.ranked(logits)[:, :top_k]
        columns["top_labels"] = np.array(head.labels, object)[best].tolist()
        columns["top_probabilities"] = np.take_along_axis(shares, best, axis=1).tolist()
    return columns


def _types(classifier: Classifier, prefix: str) -> dict[str, str]:
    """What is in the columns of :func:`results` that are no probabilities, as :func:`arrow_writer` calls it."""
    kinds = {"single": "name", "multi": "names", "regression": "score"}
    return {prefix + "cut": "name"} | {
        prefix + _before(head) + name: kind
        for head in classifier.heads
        for name, kind in (
            ("predicted", kinds[head.task]),
            ("top_labels", "names"),
            ("top_probabilities", "probabilities"),
        )
    }


# -- before the first text is scored ------------------------------------------------------------------------------


def _refuse_options(
    classifier: Classifier, sources: list[str], output: str | None, kind: str, keep: Sequence[str] | None, pair: str,
    proba: bool, top_k: int | None, threads: int,
) -> None:  # fmt: skip
    if output and not kind:
        raise SettingsError(f"--output {output}: the name must end in one of {', '.join(FILES)}")
    if output and os.path.isdir(output):
        raise SettingsError(f"--output {output} is a folder: name a file")
    if output and any(os.path.exists(s) and os.path.exists(output) and os.path.samefile(s, output) for s in sources):
        raise SettingsError(f"--output {output} is also an input: give it another name")
    if kind == "lines" and keep:
        raise SettingsError("lines are the results alone: to --keep columns beside them, add --output or --format")
    labelled = [head for head in classifier.heads if head.task != "regression"]
    if not labelled and (proba or top_k is not None):
        raise SettingsError(f"a regression classifier has no labels: leave out {'--proba' if proba else '--top-k'}")
    if top_k is not None and top_k < 1:
        raise SettingsError(f"--top-k is {top_k}: give 1 or more")
    if classifier.pairs != bool(pair):
        raise SettingsError(
            "the classifier labels pairs of texts: name the second's column with --pair"
            if classifier.pairs
            else "the classifier labels single texts: leave out --pair"
        )
    if threads < 0:
        raise SettingsError(f"--threads is {threads}: give 0 for all processors, or a number")
    for head in labelled:
        joined = kind in ("lines", "csv", "tsv") and (head.task == "multi" or top_k)
        for sign in ("," if joined else "") + ("\t\r\n" if kind == "lines" else ""):
            for label in head.labels:
                if sign in label:
                    raise SettingsError(
                        f"label {label!r} has a {sign!r}, which parts the results in {kind}: write jsonl"
                    )


def _agreed(
    sources: list[str], read: Callable[..., Iterator[Batch]], keep: Sequence[str] | None, kind: str, names: list[str]
) -> tuple[dict[str, Any], Any, Iterator[Batch]]:
    """What all sources bring: columns, metadata of an Arrow schema; and stdin, of which the start had to be read.

    Columns are name -> Arrow field, or None where the output has no types. Records of JSON need not agree.
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
                raise DataError(f"{here} has no column {name!r} in its first records: name the right one with --keep")
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
    """The columns of one source, as :func:`_agreed` returns them."""
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


def _paired(batch: Batch, pair: str, nulls: str) -> list[tuple[Any, Any]]:
    """The pairs of a batch. Errors: :class:`DataError` for a second text that is null, where that is one."""
    first = batch.texts if isinstance(batch.texts, list) else batch.texts.to_pylist()
    if not first:
        return []
    second = batch.values(pair)
    for i, value in enumerate(second):
        if not (isinstance(value, str) or (value is None and nulls == "empty")):
            raise DataError(f"the second text (column {pair!r}) at {batch.place(i)} is {value!r:.60}, not a text")
    return list(zip(first, second, strict=True))


def _refuse_null(batch: Batch, text: str) -> None:
    if isinstance(batch.texts, list):
        i = batch.texts.index(None) if None in batch.texts else -1
    else:
        i = batch.texts.is_null().index(True).as_py() if batch.texts.null_count else -1
    if i >= 0:
        raise DataError(
            f"the text (column {text!r}) at {batch.place(i)} is null; drop the row, or score it as an empty text with "
            "--nulls empty"
        )
