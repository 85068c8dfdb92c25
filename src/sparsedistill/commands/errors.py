"""``errors``: gold labels that are likely wrong."""

from __future__ import annotations

import argparse
import csv
import json
import sys
from pathlib import Path
from typing import Any

from ..errors import SettingsError, require
from ..format import replacing
from ..quality import PARTS, label_errors
from ..report import aligned
from ..stages.folds import FOLDS, REPEATS
from .common import add_command

FILES = (".parquet", ".jsonl", ".csv")

_TEXT = (
    "Find gold labels of a run that are likely wrong. Of train, students of the gold labels predict texts that they "
    "were not trained on; of dev and test, the run's classifier does. Where the run has the teacher's logits of these "
    "texts, what student and teacher both doubt comes first. Nothing in the run directory changes."
)

_EXAMPLES = """
  sparsedistill errors model.run
  sparsedistill errors model.run --folds 10 --output errors.csv
"""


def add(commands: Any) -> None:
    """Add the command."""
    command = add_command(commands, "errors", "find gold labels that are likely wrong", _TEXT, _EXAMPLES)
    command.add_argument("run", metavar="RUN", help="run directory")
    command.add_argument(
        "--part", choices=PARTS, default="train", help="texts whose labels to look at (default: train)"
    )
    command.add_argument(
        "--folds",
        type=int,
        default=FOLDS,
        metavar="N",
        help=f"parts of train that are held out in turn (default: {FOLDS})",
    )
    command.add_argument(
        "--repeats", type=int, default=REPEATS, metavar="N",
        help=f"times that this is done with other folds, and the mean taken (default: {REPEATS})",
    )  # fmt: skip
    command.add_argument("--top", type=int, default=20, metavar="N", help="rows to show (default: 20)")
    command.add_argument("--output", "-o", metavar="FILE", help=f"write all of them there: {', '.join(FILES)}")
    command.add_argument("--threads", type=int, default=0, metavar="N", help="CPU threads (default: all)")
    command.set_defaults(work=_errors, parser=command, config=None, resumes=False)


def _errors(arguments: argparse.Namespace) -> None:
    from ..run import opened

    output = Path(arguments.output) if arguments.output else None
    if output and output.suffix not in FILES:
        raise SettingsError(f"--output {output}: the name must end in one of {', '.join(FILES)}")
    if arguments.folds < 2:
        raise SettingsError(f"--folds is {arguments.folds}: give 2 or more")
    if arguments.repeats < 1:
        raise SettingsError(f"--repeats is {arguments.repeats}: give 1 or more")
    result = label_errors(opened(arguments.run), arguments.part, arguments.folds, arguments.repeats, arguments.threads)
    sys.stdout.write(f"\n{table(result, arguments.top)}\n\n")
    if output:
        write(result["errors"], output)


def table(result: dict[str, Any], top: int) -> str:
    """The likeliest errors, for a terminal."""
    errors, heads = result["errors"], any("head" in row for row in result["errors"])
    rows = [["text", *["head"] * heads, "gold", "suggested", "score", *result["estimates"], "place"]]
    for row in errors[:top]:
        cells = [_short(row["text"], 60), *[row.get("head", "")] * heads, _cell(row["gold"]), _cell(row["suggested"])]
        cells += [f"{row['score']:.2f}", *(_cell(row.get(name)) for name in result["estimates"])]
        rows.append([*cells, f"{Path(row['source']).name}:{row['row']}"])
    agreed = sum(row["agreed"] for row in errors)
    both = f", {agreed:,} of them by student and teacher alike" if len(result["estimates"]) > 1 else ""
    lines = [*(aligned(rows) if errors else []), ""]
    lines.append(f"{len(errors):,} gold labels of {result['texts']:,} texts of {result['part']} are doubted{both}")
    if errors:
        named = " and ".join(result["estimates"])
        lines.append(f"below {named}: the probability of the gold label, or the score that is predicted")
    for head, count in result["estimated"].items():
        whose = f" of head {head}" if head else ""
        lines.append(f"confident learning puts the number of label errors{whose} at {count:,}")
    return "\n".join(lines)


def _short(text: str, most: int) -> str:
    line = " ".join(text.split())
    return line if len(line) <= most else line[: most - 3] + "..."


def _cell(value: Any) -> str:
    if value is None:
        return "-"
    return f"{value:.3g}" if isinstance(value, float) else str(value)[:24]


def write(rows: list[dict[str, Any]], path: Path) -> None:
    """Rows to a file, whole or not at all."""
    names = list(dict.fromkeys(name for row in rows for name in row)) or ["rank", "text", "gold", "suggested", "score"]
    with replacing(path) as temporary:
        if path.suffix == ".parquet":
            pa, parquet = require("pyarrow", "arrow"), require("pyarrow.parquet", "arrow")
            parquet.write_table(pa.table({name: [row.get(name) for row in rows] for name in names}), temporary)
            return
        with open(temporary, "w", encoding="utf-8", newline="") as file:
            if path.suffix == ".jsonl":
                file.writelines(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
                return
            writer = csv.DictWriter(file, names)
            writer.writeheader()
            writer.writerows(rows)
