"""``drift``: how new texts differ from a reference."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any

from ..classifier import Classifier
from ..drift import LEVEL, drift, drifted
from ..drifted import plot_drift, tables
from ..errors import SettingsError
from ..format import write_json
from ..progress import say
from ..settings import build
from .common import add_command, add_reading, given

_TEXT = (
    "Compare two sets of texts as a classifier sees them: how many tokens they have and which share of these it knows, "
    "how confident it is, which labels or scores it gives; with a test of each, how far apart they are, and the "
    "n-grams that are more frequent in either. With many texts any difference is significant: go by the distances, "
    "which are from 0 to 1."
)

_EXAMPLES = """
  sparsedistill drift model train.csv 'crawl/*.parquet'
  sparsedistill drift model train.csv test.csv --fail-above 0.1 --json drift.json --plot drift.png
"""


def add(commands: Any) -> None:
    """Add the command."""
    command = add_command(commands, "drift", "compare new texts with a reference", _TEXT, _EXAMPLES)
    command.add_argument("classifier", metavar="CLASSIFIER", help="directory of the classifier")
    command.add_argument("reference", metavar="REFERENCE", help="texts: a file, glob, folder or hf:NAME")
    command.add_argument("new", metavar="NEW", nargs="+", help="texts to compare with these")
    command.add_argument("--head", metavar="NAME", help="compare this head alone, of a classifier of several")
    command.add_argument("--top", type=int, default=20, metavar="N", help="n-grams of each kind (default: 20)")
    command.add_argument(
        "--fail-above", type=float, metavar="X",
        help=f"exit with status 1 where a distance is above X, and its adjusted p-value below {LEVEL:g}",
    )  # fmt: skip
    command.add_argument("--json", metavar="FILE", help="write all of it there")
    command.add_argument("--plot", metavar="FILE", help="draw the distributions there, as a PNG")
    command.add_argument("--threads", type=int, default=0, metavar="N", help="CPU threads (default: all)")
    add_reading(command)
    command.set_defaults(work=_drift, parser=command, resumes=False)


def _drift(arguments: argparse.Namespace) -> int:
    above = arguments.fail_above
    if above is not None and not 0 <= above <= 1:
        raise SettingsError(f"--fail-above is {above:g}: distances are from 0 to 1")
    if arguments.top < 0:
        raise SettingsError(f"--top is {arguments.top}: give 0 or more")
    data = build(given(arguments), "drift").data
    result = drift(
        Classifier.load(arguments.classifier), [arguments.reference], arguments.new, data, head=arguments.head,
        top=arguments.top, threads=arguments.threads,
    )  # fmt: skip
    sys.stdout.write(f"\n{tables(result)}\n\n")
    sys.stdout.flush()
    if arguments.json:
        write_json(Path(arguments.json), {"classifier": arguments.classifier, **result})
    if arguments.plot:
        plot_drift(result, Path(arguments.plot))
    found = [] if above is None else drifted(result, above)
    if found:
        say(f"drift above {above:g}: {', '.join(found)}")
    return 1 if found else 0
