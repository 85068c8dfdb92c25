"""What the parts of a benchmark have in common: measures, figures, tables and notes, printed, and written as JSON."""

from __future__ import annotations

import argparse
import hashlib
import os
import statistics
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any

import sparsedistill
from sparsedistill.format import write_json
from sparsedistill.progress import say

#: settings of the evaluation of a run whose figures are measured here
UNMEASURED = {"resamples": 0, "speed_texts": 1, "repeats": 1}


@cache
def package() -> str:
    """Fingerprint of the installed package: what it makes is made again where another state of it is installed.

    The variable SPARSEDISTILL_STUDENTS names that of another state, whose students are then used.
    """
    if named := os.environ.get("SPARSEDISTILL_STUDENTS"):
        return named
    home = Path(sparsedistill.__file__).parent
    found = hashlib.blake2b(digest_size=6)
    for file in sorted(file for suffix in ("*.py", "*.so") for file in home.rglob(suffix)):
        found.update(file.relative_to(home).as_posix().encode() + b"\0" + file.read_bytes())
    return found.hexdigest()


class Bench:
    """``PARTS`` are methods that ``--only`` can name. ``figures``: what the measures are made of."""

    PARTS: tuple[str, ...] = ()

    def __init__(self, args: argparse.Namespace):
        self.args, self.out = args, args.out
        self.measures: dict[str, float | None] = {}
        self.figures: dict[str, Any] = {"package": package()}
        self.tables: list[list[list[str]]] = []
        self.lines: list[str] = []

    def hold(self) -> None:
        for part in self.PARTS:
            if not self.args.only or part in self.args.only:
                try:
                    getattr(self, part)()
                except Exception as error:  # the other figures must not be lost for it
                    self.note(f"{part}: did not run: {type(error).__name__}: {error}")

    def note(self, line: str) -> None:
        self.lines.append(line)
        say(line)

    def run(self, name: str, column: str) -> None:
        """All that is asked for, and :meth:`publish`."""
        self.out.mkdir(parents=True, exist_ok=True)
        self.hold()
        self.publish(name, column)

    def publish(self, name: str, column: str) -> None:
        """Print all, and write it to ``NAME.md`` in ``--out`` and as JSON."""
        goals = [[name, "-" if value is None else f"{value:.3f}"] for name, value in self.measures.items()]
        report = [*map(markdown, self.tables), "\n".join(f"- {line}" for line in self.lines)]
        text = "\n\n".join([*report, markdown([["measure", column], *goals])]) + "\n"
        print(text)
        (self.out / f"{name}.md").write_text(text, encoding="utf-8")
        if self.args.json:
            write_json(self.args.json, {"measures": self.measures, "figures": self.figures})


def spread(values: Sequence[float], digits: int = 4) -> str:
    """Mean and standard deviation; of one value that alone."""
    deviation = f" ±{statistics.stdev(values):.{digits}f}" if len(values) > 1 else ""
    return f"{statistics.fmean(values):.{digits}f}{deviation}"


def markdown(table: list[list[str]]) -> str:
    widths = [max(map(len, column)) for column in zip(*table, strict=True)]
    rows = [" | ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)) for row in table]
    return "\n".join(f"| {row} |" for row in [rows[0], " | ".join("-" * width for width in widths), *rows[1:]])
