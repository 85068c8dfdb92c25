"""``run``: all stages with the settings of a file, and a command for each stage."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from typing import Any

from ..format import read_json
from ..report import table
from ..settings import SECTIONS
from ..stages import STAGES
from . import evaluate
from .common import add_command, add_heads, add_options, group_of, settings_of

_STAGE_TEXT = (
    "What is finished is not done again, and an interrupted stage goes on where it stopped. Settings come from the "
    "TOML file, or without one from the run directory, which remembers those of earlier calls; options go over both."
)

_EXAMPLES = """
  sparsedistill run reviews.toml
  sparsedistill run reviews.toml --set distill.hidden=128
"""

_STAGE_EXAMPLE = """
  sparsedistill {stage} reviews.toml
  sparsedistill {stage} --run runs/reviews
"""


def add(commands: Any) -> None:
    """Add the commands."""
    what = "all stages, with the settings of a TOML file"
    command = add_command(commands, "run", what, f"Run {what}. {_STAGE_TEXT}", _EXAMPLES)
    command.add_argument(
        "config", metavar="CONFIG", help="TOML file with a table for each stage: [data], [teach], [label] ..."
    )
    command.add_argument(
        "--run", metavar="DIR", help="run directory (default: `run` in the file, else runs/NAME_OF_THE_FILE)"
    )
    command.add_argument(
        "--set",
        metavar="STAGE.FIELD=VALUE",
        action="append",
        default=[],
        help="override one setting of the file; may be repeated",
    )
    command.set_defaults(work=_run, parser=command)
    for stage, module in STAGES.items():
        text = module.HELP
        description = f"{text[0].upper()}{text[1:]}. {_STAGE_TEXT}"
        usage = f"sparsedistill {stage} [CONFIG] [--run DIR] [options]"
        examples = _STAGE_EXAMPLE.format(stage=stage)
        if stage == "evaluate":
            usage += f"\n       {evaluate.USAGE}"
            description, examples = description + evaluate.TEXT, examples + evaluate.EXAMPLES
        command = add_command(commands, stage, f"stage: {text}", description, examples, usage)
        _add_stage(command, stage)
        if stage == "evaluate":
            evaluate.add_measure(command)


def _add_stage(command: argparse.ArgumentParser, stage: str) -> None:
    command.add_argument("config", metavar="CONFIG", nargs="?", help="TOML file with the settings")
    command.add_argument("--run", metavar="DIR", help="run directory, which remembers the settings of earlier stages")

    def add(section: str, only: Sequence[str] = ()) -> None:
        add_options(group_of(command, section), section, only)

    add("data")
    add_heads(command)
    if stage in SECTIONS:
        add(stage)
    # What a stage alone may have to be told, because no earlier one was.
    trains = stage in ("distill", "finetune")  # a student: --device is where
    if stage != "teach":
        add("teach", ("teacher", "finetune_teacher", "max_length", *(() if trains else ("device",)), "precision"))
    if stage != "distill":
        add("distill", ("modes", "resume", "max_time", "device") if trains else ("modes",))
    command.set_defaults(work=_stage, stage=stage, parser=command)


def _run(arguments: argparse.Namespace) -> None:
    from ..run import Run

    settings, directory = settings_of(arguments)
    execute(Run(directory, settings))


def execute(run: Any, stages: Sequence[str] = tuple(STAGES)) -> None:
    """Execute the stages, and show what they have measured."""
    run.execute(stages)
    if "evaluate" in stages and run.group.leads:
        sys.stdout.write(f"\n{table(read_json(run.directory / 'metrics.json'), markdown=False)}\n\n")
        sys.stdout.flush()


def _stage(arguments: argparse.Namespace) -> None:
    if arguments.stage == "evaluate" and evaluate.measured(arguments):
        return
    from ..run import Run

    settings, directory = settings_of(arguments)
    execute(Run(directory, settings), [arguments.stage])
