"""``evaluate CLASSIFIER FILE``: a classifier measured on files of labelled texts."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from ..classifier import Classifier
from ..errors import SettingsError
from ..figures import TOP
from ..format import write_json
from ..measure import measure
from ..measured import plot_reliability, tables
from ..settings import build
from .common import given

TEXT = (
    " With a CLASSIFIER and FILEs instead, measure that classifier on these labelled texts: all figures of its task "
    "with bootstrap intervals, and with --slice also within slices. Of the options only those of [data] that say how "
    "to read, those of measuring, --threads and --resamples are then used."
)

USAGE = "sparsedistill evaluate CLASSIFIER FILE ... [options]"

EXAMPLES = """  sparsedistill evaluate model test.csv
  sparsedistill evaluate model pages.csv --slice site --json figures.json --plot reliability.png
"""


def add_measure(command: argparse.ArgumentParser) -> None:
    """What `evaluate` takes beside a stage's options, to measure a classifier on a file."""
    command.add_argument("input", metavar="FILE", nargs="*", help="labelled texts, where CONFIG is a CLASSIFIER")
    group = command.add_argument_group("measuring a CLASSIFIER on FILEs")
    group.add_argument(
        "--head", metavar="NAME",
        help="measure this head alone, of a classifier of several; else all, by columns of their names",
    )  # fmt: skip
    group.add_argument(
        "--slice", metavar="COLUMN", action="append", default=[],
        help="figures within each slice of the texts by this column, too, and pooled within slices; may be repeated",
    )  # fmt: skip
    group.add_argument(
        "--cuts", metavar="X", nargs="+", type=float,
        help="of scores: cuts for AUC and F1 (default: the levels of graded scores, from the second on)",
    )  # fmt: skip
    group.add_argument(
        "--top", metavar="X", type=float, default=TOP, help=f"of scores: the share that is the top (default: {TOP})"
    )
    group.add_argument("--json", metavar="FILE", help="write all figures there, and the reliability diagram's data")
    group.add_argument("--plot", metavar="FILE", help="draw the reliability diagram there, as a PNG")


def measured(arguments: argparse.Namespace) -> bool:
    """Measure a classifier on files of texts; False where none are named, and the stage is meant."""
    options = {name: getattr(arguments, name) for name in ("head", "slice", "cuts", "json", "plot")}
    if not arguments.input:
        if asked := [name for name, value in options.items() if value]:
            raise SettingsError(
                f"--{asked[0]} is for a classifier and files: sparsedistill evaluate CLASSIFIER FILE ..."
            )
        if arguments.config and Path(arguments.config).is_dir():
            raise SettingsError(f"{arguments.config} is a folder: name files of labelled texts to measure it on, too")
        return False
    values = given(arguments)
    settings = build({name: values.pop(name, {}) for name in ("data", "evaluate")}, "evaluate")
    data = settings.data
    of_stage = [name for name in ("train", "dev", "test", "corpus") if getattr(data, name)]
    of_stage += ["run"] * bool(arguments.run) + [name for fields in values.values() for name in fields]
    if of_stage:
        raise SettingsError(
            f"--{of_stage[0].replace('_', '-')} is of the stage, which takes no CLASSIFIER and FILE: leave it out"
        )
    if not 0 < arguments.top < 1:
        raise SettingsError(f"--top is {arguments.top:g}: give a share between 0 and 1")
    result = measure(
        Classifier.load(arguments.config), arguments.input, data, head=arguments.head, slices=arguments.slice,
        cuts=arguments.cuts, top=arguments.top, resamples=settings.evaluate.resamples, seed=data.seed,
        threads=settings.evaluate.threads,
    )  # fmt: skip
    sys.stdout.write(f"\n{tables(result)}\n\n")
    sys.stdout.flush()
    if arguments.json:
        write_json(Path(arguments.json), {"classifier": arguments.config, **result})
    if arguments.plot:
        plot_reliability(result, Path(arguments.plot))
    return True
