"""``fit``: a classifier of one's texts."""

from __future__ import annotations

import argparse
import dataclasses
import shlex
from pathlib import Path
from typing import Any

from ..classifier import is_replaced
from ..errors import SettingsError
from ..format import copy_directory
from ..progress import say
from ..settings import SECTIONS, SHARED, build, sections_with
from .common import add_command, add_heads, add_options, given, group_of, metavar
from .run import execute

_TEXT = (
    "Make a classifier from a file of labelled texts. With a teacher, the student also learns its predictions on your "
    "unlabelled texts; without one, it learns your labels alone. What is finished is not done again, and the same "
    "command goes on where it was interrupted. Options whose names several stages share begin with the stage: "
    "--distill-epochs, --teach-epochs."
)

_EXAMPLES = """
  sparsedistill fit train.csv -o model
  sparsedistill fit requests.csv --label team --class-weights balanced --max-n 2 -o router
  sparsedistill fit train.csv --teacher FacebookAI/roberta-large --corpus 'crawl/*.parquet' -o taught
"""

_SHARED_HELP = {  # of the options that are those of every stage
    "device": "cpu, cuda, cuda:1 ...; auto: a GPU, if there is one that will do",
    "threads": "CPU threads; 0: all",
    "checkpoint_seconds": "seconds between checkpoints",
}

# The options that most people need, in this order.
_COMMON = {
    "data": ("dev", "test", "corpus", "text", "label", "task", "labels"),
    "teach": ("teacher",),
    "distill": ("modes", "hidden"),
    "count": ("size", "max_n"),
}


def add(commands: Any) -> None:
    """Add the command."""
    usage = "sparsedistill fit [TRAIN ...] -o DIR [--teacher TEACHER] [--corpus FILE ...] [options]"
    command = add_command(commands, "fit", "make a classifier of your texts", _TEXT, _EXAMPLES, usage)
    command.add_argument("train", metavar="TRAIN", nargs="*", help="labelled texts: files, globs, folders or hf:NAME")
    command.add_argument("--output", "-o", metavar="DIR", required=True, help="where to put the classifier")
    command.add_argument("--run", metavar="DIR", help="run directory: what is done is kept there (default: DIR.run)")
    common = command.add_argument_group("common options")
    for section, names in _COMMON.items():
        add_options(common, section, names)
    add_heads(common)
    for name in SHARED:
        section = sections_with(name)[0]
        (field,) = (field for field in dataclasses.fields(SECTIONS[section]) if field.name == name)
        common.add_argument(
            f"--{name.replace('_', '-')}", dest=f"*.{name}", default=argparse.SUPPRESS, type=type(field.default),
            metavar=metavar(field), help=f"{_SHARED_HELP[name]} (all stages; default: {field.default})",
        )  # fmt: skip
    for section, kind in SECTIONS.items():
        names = tuple(f.name for f in dataclasses.fields(kind) if f.name not in _COMMON.get(section, ()))
        group = group_of(command, section)
        add_options(group, section, [name for name in names if (section, name) != ("data", "train")], prefixed=True)
    command.set_defaults(work=_fit, parser=command)


def _fit(arguments: argparse.Namespace) -> None:
    from ..run import Run

    output = Path(arguments.output)
    directory = Path(arguments.run or f"{output}.run")
    replaces = is_replaced(output, " to --output")
    if output.resolve() == directory.resolve():
        raise SettingsError(f"--output and --run are both {output}: give another name to one of them")
    values = given(arguments)
    if arguments.train:
        values.setdefault("data", {})["train"] = tuple(arguments.train)
    if not values.get("teach", {}).get("teacher"):
        values.setdefault("distill", {}).setdefault("modes", ("scratch",))
    run = Run(directory, build(values, "fit"))
    execute(run)
    if not run.group.leads:
        return
    copy_directory(directory / "classifier", output)
    say(f"{output}: the classifier{', in place of the one that was there' if replaces else ''}")
    say(f"{directory}: the run that made it; unless you delete it, the next such command skips what is unchanged")
    columns = "".join(
        f" --{name} {shlex.quote(value)}"
        for name, value, default in (("text", run.settings.data.text, "text"), ("pair", run.settings.data.pair, ""))
        if value != default
    )
    place = shlex.quote(str(output))
    if run.are_pairs:
        say(f"to label pairs of texts: sparsedistill predict {place} FILE{columns}")
    else:
        say(f'try it: echo "some text" | sparsedistill predict {place}')
