"""Labels for texts in files of any size: read, scored and written batch by batch, beside what came with the texts."""

from __future__ import annotations

import itertools
import os
import sys
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from . import _core
from .abstain import Abstention, abstentions_of
from .classifier import Classifier
from .cuts import cut_of
from .data import files, records
from .data.agreed import agreed_columns
from .data.records import Batch
from .data.tables import strings
from .data.write import Write, arrow_writer, text_writer
from .errors import DataError, SettingsError, require
from .format import replacing
from .inputs import excerpt_of
from .parts import OFFSETS, cutting_of, limits_of_parts, pooling_of
from .progress import Progress, say
from .scorer import WHOLE, Scorer, Spans

FILES = {".parquet": "parquet", ".arrow": "arrow", ".jsonl": "jsonl", ".csv": "csv", ".tsv": "tsv"}
STREAMS = ("lines", "jsonl", "csv", "tsv", "arrow", "dolma")


# long: what it takes needs as many words
def predict(
    classifier: Classifier,
    sources: Sequence[str],
    output: str | None = None,
    *,
    format: str = "",
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
    min_confidence: float | str | None = None,
    none: str | None = None,
    spans: Spans = WHOLE,
) -> None:
    """Write a record for each text of ``sources`` (files, globs, folders, ``-`` for stdin), in order.

    ``output`` is a file that is there whole or not at all, its format told by its suffix (one of ``FILES``); None is
    stdout in ``format`` (one of ``STREAMS``; "": lines). A record has the columns ``keep`` of the input (None: all) as
    they were, then those of :func:`columns_of` with ``prefix`` before their names; "lines" are the results alone.
    ``pair`` is the column of the second text for a classifier of pairs, and is among the columns kept.
    ``input_format``, ``delimiter``, ``quoting`` and ``header`` are those of :class:`files.Form`; with quoting "double"
    TSV is written in quotes, too. ``cut`` names one of the classifier's cuts, whose "keep" or "drop" is in the column
    ``cut``. ``min_confidence`` is that of :meth:`Classifier.predict`: what is less sure has no ``predicted``, or the
    label ``none``, and ``abstained`` says so. Memory is a few batches of the input, whatever its size.

    ``spans`` say what of the texts is scored, and how parts are written. Without pooling, the column ``parts`` is the
    list of a text's parts, each with start, end and the columns above. Where they are flat, as they are in CSV, TSV and
    lines, a record is a part: it has the number of its text (``document``, from 0 on), start, end and those columns,
    and of the input what ``keep`` names (None: nothing). The format "dolma" has for each text its id, what ``keep``
    names, and :func:`attributes_of` its spans; ``output`` then ends in .jsonl.

    Errors: :class:`SettingsError` and :class:`DataError`, before the first text is scored wherever that is possible.
    """
    kind = format or "lines" if not output else FILES.get(Path(output).suffix, "")
    if format == "dolma" and kind in ("dolma", "jsonl"):
        kind = "dolma"
    elif output and format:
        raise SettingsError(
            f"--output {output} with --format dolma: the name must end in .jsonl"
            if format == "dolma"
            else "--format is of stdout; that of --output is told by its name: leave out one of them"
        )
    form = files.Form(input_format, delimiter, quoting, header)
    expanded = files.expand(sources, form)
    _refuse_options(classifier, expanded, output, kind, keep, pair, proba, top_k, threads)
    _refuse_spans(classifier, spans, kind, proba, cut, prefix)
    chosen = cut_of(classifier, cut) if cut else None
    limits = _limits(classifier, spans, kind, min_confidence, none)
    scorer = Scorer(
        classifier, kind, spans, threads=threads, proba=proba, top_k=top_k, prefix=prefix, cut=chosen, limits=limits,
        none=none,
    )  # fmt: skip
    if kind == "lines" or (keep is None and (scorer.flat or kind == "dolma")):
        keep = ()
    slices = chosen[1]["column"] if chosen else ""
    options = {pair: "--pair", text: "--text"} | ({spans.id: "--id"} if kind == "dolma" else {})
    if keep is not None:
        needed = (spans.id if kind == "dolma" else "", *keep, pair, slices)
        keep = tuple(dict.fromkeys(filter(None, needed)))
    if expanded == ["-"] and sys.stdin.isatty():
        say("reading lines of text from the terminal: end with Ctrl-D")
    labels = classifier.heads[-1].outputs.stop  # of all heads
    most = max(1, min(1 << 14, (1 << 22) // labels))  # texts in a batch: their probabilities are in memory, too
    if spans.parts:
        most = max(1, most >> 4)  # and those of their parts
    read = partial(records.stream, text=text, keep=keep, encoding_errors=encoding_errors, most=most, form=form)
    written_as = "jsonl" if kind == "dolma" else kind
    try:
        columns, metadata, stdin = agreed_columns(expanded, read, keep, written_as, scorer.names, options)
    except files.MissingColumnError as error:
        if slices and error.name == slices:
            raise DataError(f"the cut {cut} has slices by column {slices!r}: {error}") from None
        raise error.with_option(options.get(error.name, "--keep")) from None
    # Offsets are those of the str: what is no UTF-8 may be another number of its characters.
    of_str = kind == "dolma" or (spans.parts and spans.offsets == "characters")
    decodes = bool(of_str) and encoding_errors == "replace"
    unknown = _Unknown(classifier, spans.max_bytes)
    with ExitStack() as stack:
        arrow = partial(arrow_writer, types=scorer.kinds, metadata=metadata)
        write = _writer(stack, output, written_as, columns, scorer.names, form, arrow)
        bar = stack.enter_context(Progress("predict", records.count(expanded, form) if sys.stderr.isatty() else None))
        for source in expanded:
            for batch in stdin if source == "-" else read(source):
                if nulls == "error":
                    _refuse_null(batch, text)
                texts = _paired(batch, pair, nulls) if pair else batch.texts
                if decodes and not isinstance(texts, list):
                    texts = strings(texts, batch.source, 0, text, "replace")
                scored, results, logits = scorer(batch, texts)
                write(scored, results)
                unknown.add(batch, texts, logits)
                if output or not sys.stdout.isatty():  # else the results themselves show how far it is
                    bar.add(len(batch.rows))
    if unknown.count:
        whose = "their parts" if spans.parts and not spans.pool else "they"
        say(
            f"{unknown.count:,} of {unknown.texts:,} texts had no known n-gram (the first: {unknown.first}): {whose} "
            "got the result of an empty text"
        )


class _Unknown:
    """Counts texts without a known n-gram, and has the place of the first.

    Only texts with the logits of the empty one are looked up once more: no other can be without n-grams.
    """

    def __init__(self, classifier: Classifier, max_bytes: str = ""):
        self._excerpt = excerpt_of(max_bytes or None)
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
        read: Any = [text or "" for text in (itertools.chain.from_iterable(some) if self._pairs else some)]
        if self._excerpt[1]:
            read = list(itertools.chain.from_iterable(_core.excerpts(read, *self._excerpt)))
        _, offsets = self._lookup.bags(read, 1)
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


def _refuse_spans(classifier: Classifier, spans: Spans, kind: str, proba: bool, cut: str, prefix: str) -> None:
    parts, pool = spans.parts, spans.pool
    given = {"--flat": spans.flat, "--offsets": spans.offsets != "characters", "--pool": bool(pool)}
    option = next((name for name, value in given.items() if value), "")
    if option and not parts:
        raise SettingsError(f"{option} is of parts: add --parts, such as --parts sentence, or leave out {option}")
    if pool and option != "--pool":
        raise SettingsError(f"{option} is of the parts themselves, and --pool has none of them: leave out one of them")
    if spans.offsets not in OFFSETS:
        raise SettingsError(f"--offsets is {spans.offsets!r}: give {' or '.join(OFFSETS)}")
    try:
        cutting_of(parts or "sentence")
        how, _ = pooling_of(pool or "mean")
        excerpt_of(spans.max_bytes or None)
    except ValueError as error:
        raise SettingsError(f"--{str(error).replace('_', '-')}") from None
    if spans.max_bytes and (parts or classifier.pairs):
        what = "parts are all of a text" if parts else "the classifier labels pairs of texts, which are read whole"
        raise SettingsError(f"{what}: leave out --max-bytes{' or --parts' if parts else ''}")
    if classifier.pairs and parts:
        raise SettingsError("the classifier labels pairs of texts, which have no parts: leave out --parts")
    if how == "share" and cut:
        raise SettingsError(
            f"--cut compares scores, but --pool {pool} gives shares of parts: pool by mean, max or top3"
        )
    if kind != "dolma":
        if spans.id != "id":
            raise SettingsError("--id is of --format dolma: leave out one of them; columns are written with --keep")
        return
    if classifier.pairs:
        raise SettingsError("the classifier labels pairs of texts: Dolma's attributes are of one; write .jsonl")
    given = {"--flat": spans.flat, "--proba": proba, "--cut": bool(cut), "--offsets": spans.offsets != "characters"}
    for name, value in given.items():
        if value:
            raise SettingsError(f"{name} is not of --format dolma: leave out one of them")
    if "__" in prefix:
        raise SettingsError(f"--prefix {prefix}: in Dolma's names two underscores end it; give one without")


def _limits(
    classifier: Classifier, spans: Spans, kind: str, min_confidence: float | str | None, none: str | None
) -> dict[str, Abstention]:
    """Where heads abstain, by name."""
    if min_confidence is None:
        if none is not None:
            raise SettingsError("--none is of texts below --min-confidence: give that, too")
        return {}
    if kind == "dolma":
        raise SettingsError("--min-confidence is not of --format dolma, whose readers go by scores: leave it out")
    limits = (limits_of_parts if spans.parts else abstentions_of)(classifier, classifier.heads, min_confidence)
    if spans.max_bytes and any(limit.known for limit in limits.values()):
        raise SettingsError("this threshold goes by the n-grams of whole texts: leave out --max-bytes")
    if none is not None:
        heads = [head for head in classifier.heads if head.name in limits and head.task == "single"]
        if not heads:
            raise SettingsError("--none is of heads with one label a text, of which none abstains: leave it out")
        if any(none in head.labels for head in heads):
            raise SettingsError(f"--none {none} is a label of the classifier: give another name")
        if kind == "lines" and set(none) & set("\t\r\n"):
            raise SettingsError(f"--none {none!r} has a sign that parts the results in lines: write jsonl")
    return limits


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
