"""``diff``: where two classifiers part on the same texts."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any

import numpy as np

from ..classifier import Classifier
from ..compare import compare
from ..data import pairs
from ..errors import SettingsError
from ..format import write_json
from ..measure import LabelledFile
from ..report import aligned
from ..settings import build
from .common import add_command, add_reading, given
from .explain import read_texts

_TEXT = (
    "Compare two classifiers of the same labels on texts: how often they agree, which texts change most and which "
    "decisions flip (with --label, whose is right), and the n-grams that pull from A's decisions to B's."
)

_EXAMPLES = """
  sparsedistill diff model taught train.csv
  sparsedistill diff model taught test.csv --label label --json diff.json
"""


def add(commands: Any) -> None:
    """Add the command."""
    command = add_command(commands, "diff", "compare two classifiers on texts", _TEXT, _EXAMPLES)
    command.add_argument("a", metavar="A", help="directory of a classifier")
    command.add_argument("b", metavar="B", help="directory of another one")
    command.add_argument("input", metavar="FILE", nargs="+", help="texts: files, globs, folders or hf:NAME")
    command.add_argument("--head", metavar="NAME", help="compare this head alone, of classifiers of several")
    command.add_argument("--top", type=int, default=10, metavar="N", help="texts and n-grams of each (default: 10)")
    command.add_argument("--json", metavar="FILE", help="write all of it there")
    command.add_argument("--threads", type=int, default=0, metavar="N", help="CPU threads (default: all)")
    add_reading(command, "label")
    command.set_defaults(work=_diff, parser=command, resumes=False)


def _diff(arguments: argparse.Namespace) -> None:
    if arguments.top < 0:
        raise SettingsError(f"--top is {arguments.top}: give 0 or more")
    values = given(arguments)
    data = build(values, "diff").data
    a, b = (Classifier.load(path) for path in (arguments.a, arguments.b))
    gold: dict[str, np.ndarray] | None = None
    if "label" in values.get("data", {}):
        heads = [one for one in a.heads if arguments.head in (None, one.name)]
        if len(heads) != 1:
            raise SettingsError("--label is of one head: name it with --head")
        part = LabelledFile(heads[0], a.pairs, arguments.input, data, ()).read()
        texts: Any = pairs.split(part.texts) if a.pairs else part.texts
        gold, head = {heads[0].name: part.targets}, heads[0].name or None
    else:
        texts, head = list(read_texts(a, arguments.input, data)), arguments.head
    result = compare(a, b, texts, head=head, gold=gold, top=arguments.top, threads=arguments.threads)
    sys.stdout.write(tables(result))
    sys.stdout.flush()
    if arguments.json:
        write_json(Path(arguments.json), {"a": arguments.a, "b": arguments.b, **result})


def tables(result: dict[str, Any]) -> str:
    """What :func:`sparsedistill.compare.compare` found, for a terminal."""
    lines = []
    for name, head in result["heads"].items():
        begin = f"{name}: " if name else ""
        if head["agreement"] is None:
            lines.append(f"{begin}scores of {result['texts']:,} texts differ by {head['change']:.4g} on average")
        else:
            lines.append(
                f"{begin}{head['agreement']:.2%} of {result['texts']:,} texts get the same decision ({head['flips']:,} "
                f"flip); probabilities change by {head['change']:.4g} on average"
            )
        if right := head.get("right"):
            lines.append(f"against gold: A alone is right (nearer) {right['a']:,} times, B alone {right['b']:,} times")
        if head["texts"]:
            gold = "gold" in head["texts"][0]
            rows = [["text", "A", "B", "change", *["gold", "right"] * gold]]
            for row in head["texts"]:
                cells = [_short(row["text"]), _cell(row["a"]), _cell(row["b"]), f"{row['change']:.3f}"]
                rows.append([*cells, *([_cell(row["gold"]), row["right"]] if gold else [])])
            lines += ["", *aligned(rows)]
        if head["ngrams"]:
            rows = [["n-gram that pulls to B", "pull", "count", "known to"]]
            rows += [[one["ngram"], f"{one['pull']:+.3f}", f"{one['count']:,}", one["known"]] for one in head["ngrams"]]
            lines += ["", *aligned(rows)]
        lines.append("")
    return "\n".join(lines) + "\n"


def _short(text: Any, most: int = 60) -> str:
    line = " ".join((text if isinstance(text, str) else " | ".join(text)).split())
    return line if len(line) <= most else line[: most - 3] + "..."


def _cell(value: Any) -> str:
    if isinstance(value, list):
        return ", ".join(value) or "-"
    return f"{value:.4g}" if isinstance(value, float) else str(value)
