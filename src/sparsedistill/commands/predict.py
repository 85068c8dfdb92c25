"""``predict``: label texts with a classifier."""

from __future__ import annotations

import argparse
import dataclasses
from typing import Any

from ..classifier import Classifier
from ..options import INPUT_FORMATS, QUOTING
from ..parts import OFFSETS
from ..predict import FILES, STREAMS, predict
from ..scorer import Spans
from .common import add_command

_TEXT = (
    "Label texts, in their order. To the terminal goes a line for each: label, tab, probability (multi-label: labels "
    "with commas between; regression: the score). To a file, and in other formats, go the columns of the input as they "
    "were, then `predicted`, `probability` (where a text has one label), and what --proba and --top-k add; of "
    "a classifier of several heads these of each, as `NAME.predicted` and so on, and so in a line. Piped input "
    "is a text a line, or JSON with a text column, as its first line tells; --input-format says what else it is."
)

_EXAMPLES = """
  echo "what a lovely day" | sparsedistill predict model
  sparsedistill predict model reviews.csv --text body -o labelled.csv
  sparsedistill predict model 'crawl/*.parquet' --keep id url --proba -o labelled.parquet
  sparsedistill predict model 'crawl/*.parquet' --keep id --parts sentence -o sentences.parquet
  sparsedistill predict model reviews.csv --text body --min-confidence 0.8 -o sure.csv
"""


def add(commands: Any) -> None:
    """Add the command."""
    command = add_command(commands, "predict", "label texts with a classifier", _TEXT, _EXAMPLES)
    command.add_argument("classifier", metavar="CLASSIFIER", help="directory of the classifier")
    command.add_argument("input", metavar="INPUT", nargs="*", help="files, globs, folders or hf:NAME; default: stdin")
    command.add_argument("--text", default="text", metavar="COLUMN", help="column of the text (default: text)")
    command.add_argument(
        "--pair", default="", metavar="COLUMN", help="column of the second text, for a classifier of pairs"
    )
    command.add_argument("--output", "-o", metavar="FILE", help=f"file to write: {', '.join(FILES)}; default: stdout")
    command.add_argument(
        "--format", choices=STREAMS, default="",
        help="format of stdout (default: lines; arrow is a stream), or dolma, also of a .jsonl: attributes of Dolma",
    )  # fmt: skip
    command.add_argument(
        "--keep",
        nargs="*",
        metavar="COLUMN",
        help="columns of the input to write, too (default: all; none with nothing after it)",
    )
    command.add_argument("--proba", action="store_true", help="add the probability of every label, as p(LABEL)")
    command.add_argument(
        "--top-k", type=int, metavar="K", help="add top_labels and top_probabilities: the K most probable labels"
    )
    command.add_argument(
        "--cut", metavar="NAME", default="", help="add cut: keep or drop, by this cut of the classifier"
    )
    command.add_argument("--prefix", default="", help="put this before the names of the columns that are added")
    command.add_argument(
        "--nulls",
        choices=("error", "empty"),
        default="error",
        help="null texts: refuse them (default), or take them for empty ones",
    )
    command.add_argument(
        "--input-format", choices=INPUT_FORMATS, default="auto",
        help="format of all input (default: told by the suffixes of files, and by the first line of stdin)",
    )  # fmt: skip
    command.add_argument(
        "--delimiter",
        metavar="SIGN",
        default="",
        help="what separates the fields of CSV and TSV input (default: comma in CSV, tab in TSV)",
    )
    command.add_argument(
        "--quoting", choices=QUOTING, default="auto",
        help='whether fields of CSV and TSV may stand in "..." (default: those of CSV); double also writes TSV so',
    )  # fmt: skip
    command.add_argument(
        "--no-header", dest="header", action="store_false",
        help="the first line of CSV and TSV input is no line of names: columns are called 1, 2, 3 ...",
    )  # fmt: skip
    command.add_argument(
        "--encoding-errors", choices=("strict", "replace"), default="strict",
        help="bytes that are not UTF-8: refuse them (default), or read them as U+FFFD",
    )  # fmt: skip
    command.add_argument("--threads", type=int, default=0, metavar="N", help="CPU threads (default: all)")
    _add_abstention(command)
    _add_spans(command)
    command.set_defaults(work=_predict, parser=command, resumes=False)


def _add_abstention(command: argparse.ArgumentParser) -> None:
    """What `predict` leaves undecided."""
    command.add_argument(
        "--min-confidence", metavar="X", type=_confidence,
        help="abstain from what is less sure: no predicted, and abstained says so; a probability, or the name of a "
        "threshold that `sparsedistill cascade` has stored",
    )  # fmt: skip
    command.add_argument("--none", metavar="LABEL", help="with --min-confidence: predicted is then this label")


def _add_spans(command: argparse.ArgumentParser) -> None:
    """What of a text `predict` scores: the fields of Spans."""
    command.add_argument(
        "--max-bytes", default="", metavar="N",
        help="read only so much of a text's UTF-8: 4096 (its first bytes), head+tail:4096 (as many from either end), "
        "spread:4096 (eight slices from start to end); default: all",
    )  # fmt: skip
    group = command.add_argument_group("parts of texts")
    group.add_argument(
        "--parts", default="", metavar="PARTS",
        help="predict each sentence, paragraph or window:200/100 (words, step) by itself: the column parts has "
        "a list of start, end and results for each text; in lines, CSV and TSV a row is a part",
    )  # fmt: skip
    group.add_argument(
        "--pool", default="", metavar="POOL",
        help="one result a text, of its parts' probabilities or scores: mean, max, top3 (the mean of the three "
        "largest), share:0.5 (of parts that have 0.5 or more)",
    )  # fmt: skip
    group.add_argument(
        "--offsets", choices=OFFSETS, default=OFFSETS[0],
        help="what start and end count, bytes being those of the UTF-8 (default: characters)",
    )  # fmt: skip
    group.add_argument(
        "--flat", action="store_true",
        help="a row is a part in Parquet, Arrow and JSONL, too: the number of its text (document, from 0 on), start, "
        "end, results, and of the input what --keep names (default: nothing)",
    )  # fmt: skip
    group.add_argument(
        "--id", default="id", metavar="COLUMN", help="column of a document's id, for --format dolma (default: id)"
    )


def _confidence(given: str) -> float | str:
    """A probability, or a name."""
    try:
        return float(given)
    except ValueError:
        return given


def _predict(arguments: argparse.Namespace) -> None:
    options = ("format", "text", "pair", "keep", "proba", "top_k", "prefix", "nulls", "encoding_errors", "threads",
               "input_format", "delimiter", "quoting", "header", "cut", "min_confidence", "none")  # fmt: skip
    predict(
        Classifier.load(arguments.classifier),
        arguments.input or ["-"],
        arguments.output,
        spans=Spans(**{field.name: getattr(arguments, field.name) for field in dataclasses.fields(Spans)}),
        **{name: getattr(arguments, name) for name in options},
    )
