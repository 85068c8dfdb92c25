"""``fidelity``: where student and teacher part."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any

from ..fidelity import PARTS, fidelity
from ..format import write_json
from ..report import aligned
from .common import add_command

_TEXT = (
    "Compare the classifier of a run with its teacher, within slices of the texts: by length, by coverage (the share "
    "of the tokens that have a row), by file, by predicted label, and by columns of the files. More texts for the "
    "corpus help most where fidelity is low. The texts are those of a part that the teacher has labelled."
)

_EXAMPLES = """
  sparsedistill fidelity taught.run
  sparsedistill fidelity taught.run --part corpus --slice url --json fidelity.json
"""
_MOST_ROWS = 20


def add(commands: Any) -> None:
    """Add the command."""
    command = add_command(commands, "fidelity", "show where student and teacher part", _TEXT, _EXAMPLES)
    command.add_argument("run", metavar="RUN", help="run directory")
    command.add_argument(
        "--part", choices=PARTS, default="", help=f"the texts (default: the first that is there of {', '.join(PARTS)})"
    )
    command.add_argument(
        "--slice", metavar="COLUMN", action="append", default=[],
        help="fidelity within each slice by this column of the files, too; may be repeated",
    )  # fmt: skip
    command.add_argument("--json", metavar="FILE", help="write all figures there")
    command.add_argument("--threads", type=int, default=0, metavar="N", help="CPU threads (default: all)")
    command.set_defaults(work=_fidelity, parser=command, resumes=False)


def _fidelity(arguments: argparse.Namespace) -> None:
    from ..run import opened

    result = fidelity(opened(arguments.run), arguments.part, arguments.slice, arguments.threads)
    sys.stdout.write(f"\n{tables(result)}\n\n")
    sys.stdout.flush()
    if arguments.json:
        write_json(Path(arguments.json), {"run": arguments.run, **result})


def tables(result: dict[str, Any]) -> str:
    """The slices of each head, for a terminal."""
    parts = []
    for name, head in result["heads"].items():
        figure = "fidelity" if "fidelity" in head else "distance"
        form = "{:.1%}" if figure == "fidelity" else "{:.3g}"
        for by, slices in head["slices"].items():
            rows = [[f"by {by}", "texts", figure, *["95 % interval"] * (figure == "fidelity"), "of all that differ"]]
            for one in slices[:_MOST_ROWS]:
                cells = [one["slice"][:40], f"{one['texts']:,}", form.format(one[figure])]
                cells += [f"{one['low']:.1%} to {one['high']:.1%}"] * (figure == "fidelity")
                rows.append([*cells, f"{one['share']:.1%}"])
            left = [f"... and {len(slices) - _MOST_ROWS} more"] if len(slices) > _MOST_ROWS else []
            parts.append([*aligned(rows), *left])
        whose = f"head {name}: " if name else ""
        parts.append([f"{whose}{figure} {form.format(head[figure])} on {head['texts']:,} texts of {result['part']}"])
    return "\n\n".join("\n".join(part) for part in parts)
