"""The command line's commands and options; those of the stages are the fields of :mod:`sparsedistill.options`."""

from __future__ import annotations

import argparse
import dataclasses
from collections.abc import Sequence
from typing import Any

from . import __version__
from .options import INPUT_FORMATS, QUOTING
from .predict import FILES, STREAMS
from .settings import SECTIONS, SHARED, sections_with
from .stages import STAGES

_STAGE_TEXT = (
    "What is finished is not done again; an interrupted stage goes on where it stopped. "
    "Settings come from the file, or without one from the run directory; those on the command line go over both, and "
    "the run directory remembers them."
)
_FIT_TEXT = (
    "Labelled texts (and, with --teacher, a teacher and a corpus) in, a classifier out. An interrupted call goes on "
    "where it stopped. Settings that several stages have begin with the stage's name here: --distill-epochs."
)
_PREDICT_TEXT = (
    "One record a text, in order. On stdout a line: label, tab, probability (multi-label: labels joined by commas; "
    "regression: the score). Files and the other formats have the columns of the input, then `predicted` (label, "
    "labels or score), single-label also `probability`, and what --proba and --top-k add. stdin is read as lines of "
    "text, or as JSON with the text column, told by its first line; --input-format says what it is."
)
# The options of `fit` that most people need, in this order.
_COMMON = {
    "data": ("dev", "test", "corpus", "text", "label", "task", "labels"),
    "teach": ("teacher",),
    "distill": ("modes", "hidden"),
    "count": ("size", "max_n"),
}


def parser() -> argparse.ArgumentParser:
    """The whole command line."""
    top = argparse.ArgumentParser(
        prog="sparsedistill",
        description="Distil a slow text classifier into a sparse n-gram student that labels raw text on a plain CPU.",
        epilog="`sparsedistill COMMAND --help` lists a command's options.",
    )
    top.add_argument("--version", action="version", version=f"sparsedistill {__version__}")
    commands = top.add_subparsers(metavar="COMMAND", required=True)
    usage = "sparsedistill fit [TRAIN ...] -o DIR [--corpus FILE ...] [--teacher TEACHER] [options]"
    _add_fit(commands.add_parser("fit", help="make a classifier of your texts", description=_FIT_TEXT, usage=usage))
    _add_run(commands.add_parser("run", help="all stages, from a TOML file", description=_STAGE_TEXT))
    for stage, module in STAGES.items():
        text = module.HELP
        description = f"{text[0].upper()}{text[1:]}. {_STAGE_TEXT}"
        usage = f"sparsedistill {stage} [CONFIG] [--run DIR] [options]"
        _add_stage(commands.add_parser(stage, help=text, description=description, usage=usage), stage)
    _add_predict(commands.add_parser("predict", help="label texts with a classifier", description=_PREDICT_TEXT))
    _add_inspect(commands.add_parser("inspect", help="look into a classifier or a run directory"))
    return top


def _add_fit(command: argparse.ArgumentParser) -> None:
    command.add_argument("train", metavar="TRAIN", nargs="*", help="labelled texts: files, globs or folders")
    command.add_argument("--output", "-o", metavar="DIR", required=True, help="the classifier's directory")
    command.add_argument("--run", metavar="DIR", help="run directory (default: OUTPUT.run)")
    common = command.add_argument_group("common options")
    for section, names in _COMMON.items():
        _add_options(common, section, names)
    for name in SHARED:
        section = sections_with(name)[0]
        (field,) = (field for field in dataclasses.fields(SECTIONS[section]) if field.name == name)
        common.add_argument(
            f"--{name.replace('_', '-')}", dest=f"*.{name}", default=argparse.SUPPRESS, type=type(field.default),
            metavar=_metavar(field), help=f"{field.metadata['help']} (all stages; default: {field.default})",
        )  # fmt: skip
    for section, kind in SECTIONS.items():
        names = tuple(f.name for f in dataclasses.fields(kind) if f.name not in _COMMON.get(section, ()))
        group = _group(command, section)
        _add_options(group, section, [name for name in names if (section, name) != ("data", "train")], prefixed=True)
    command.set_defaults(work="fit", parser=command)


def _add_run(command: argparse.ArgumentParser) -> None:
    command.add_argument(
        "config", metavar="CONFIG", help="TOML file with a table a stage: [data], [teach], [label] ..."
    )
    command.add_argument(
        "--run", metavar="DIR", help="run directory; default: `run` in the file, else runs/NAME_OF_THE_FILE"
    )
    command.add_argument("--set", metavar="STAGE.FIELD=VALUE", action="append", default=[], help="override one setting")
    command.set_defaults(work="run", parser=command)


def _add_stage(command: argparse.ArgumentParser, stage: str) -> None:
    command.add_argument("config", metavar="CONFIG", nargs="?", help="TOML file with the settings")
    command.add_argument("--run", metavar="DIR", help="run directory, which remembers the settings of earlier stages")

    def add(section: str, only: Sequence[str] = ()) -> None:
        _add_options(_group(command, section), section, only)

    add("data")
    if stage in SECTIONS:
        add(stage)
    # What a stage alone may have to be told, because no earlier one was.
    trains = stage in ("distill", "finetune")  # a student: --device is where
    if stage != "teach":
        add("teach", ("teacher", "finetune_teacher", "max_length", *(() if trains else ("device",)), "precision"))
    if stage != "distill":
        add("distill", ("modes", "resume", "max_time", "device") if trains else ("modes",))
    command.set_defaults(work="stage", stage=stage, parser=command)


def _add_predict(command: argparse.ArgumentParser) -> None:
    command.add_argument("classifier", metavar="CLASSIFIER", help="directory of the classifier")
    command.add_argument("input", metavar="INPUT", nargs="*", help="files, globs or folders; default: stdin")
    command.add_argument("--text", default="text", metavar="COLUMN", help="column of the text (default: text)")
    command.add_argument("--pair", default="", metavar="COLUMN", help="column of the second text, to label pairs")
    command.add_argument("--output", "-o", metavar="FILE", help=f"ends in {', '.join(FILES)}; default: stdout")
    command.add_argument("--format", choices=STREAMS, help="of stdout (default: lines; arrow is a stream)")
    command.add_argument(
        "--keep", nargs="*", metavar="COLUMN", help="input columns to write (default: all; with nothing after it: none)"
    )
    command.add_argument("--proba", action="store_true", help="add every label's probability, as p(LABEL)")
    command.add_argument("--top-k", type=int, metavar="K", help="add top_labels and top_probabilities, the K likeliest")
    command.add_argument("--prefix", default="", help="what the names of result columns begin with (default: nothing)")
    command.add_argument(
        "--nulls", choices=("error", "empty"), default="error", help="null texts: refused (default), or empty texts"
    )
    command.add_argument(
        "--input-format", choices=INPUT_FORMATS, default="auto",
        help="of all input; default: by the files' suffixes, and of stdin lines of text or JSON, told by the first",
    )  # fmt: skip
    command.add_argument("--delimiter", default="", help="of CSV and TSV input; default: comma in CSV, tab in TSV")
    command.add_argument(
        "--quoting", choices=QUOTING, default="auto",
        help='fields of CSV and TSV in "...": default in CSV, not in TSV; double also writes TSV so',
    )  # fmt: skip
    command.add_argument(
        "--no-header", dest="header", action="store_false",
        help="CSV and TSV input has no names of columns: they are called 1, 2, 3 ...",
    )  # fmt: skip
    command.add_argument(
        "--encoding-errors", choices=("strict", "replace"), default="strict",
        help="invalid UTF-8: refused (default), or read as U+FFFD",
    )  # fmt: skip
    command.add_argument("--threads", type=int, default=0, metavar="N", help="default: all processors granted")
    command.set_defaults(work="predict", parser=command)


def _add_inspect(command: argparse.ArgumentParser) -> None:
    command.add_argument("path", metavar="PATH", help="directory of a classifier or of a run")
    command.add_argument("--text", metavar="TEXT", help="explain the classifier's label for this text")
    command.add_argument("--label", metavar="LABEL", help="explain this label instead of the likeliest")
    command.set_defaults(work="inspect", parser=command)


def _group(command: argparse.ArgumentParser, section: str) -> Any:
    return command.add_argument_group(f"[{section}]", SECTIONS[section].__doc__)


def _metavar(field: dataclasses.Field) -> str:
    """What stands for the value of an option in the help."""
    if field.name in ("train", "dev", "test", "corpus"):
        return "FILE"
    value = field.default
    if isinstance(value, tuple):
        value = value[0] if value else ""
    return {int: "N", float: "X"}.get(type(value), field.name.removesuffix("s").upper())


def _add_options(group: Any, section: str, only: Sequence[str] = (), prefixed: bool = False) -> None:
    """Options of a section's fields (or of ``only`` some); ``prefixed``: those of several sections by the section."""
    known = {field.name: field for field in dataclasses.fields(SECTIONS[section])}
    for field in (known[name] for name in only or known):
        default = field.default
        shown = ",".join(map(str, default)) if isinstance(default, tuple) else default
        prefix = f"{section}-" if prefixed and len(sections_with(field.name)) > 1 else ""
        name = f"--{prefix}{field.name.replace('_', '-')}"
        many = isinstance(default, tuple)
        choices = field.metadata["choices"]
        if isinstance(default, bool):
            group.add_argument(
                name, dest=f"{section}.{field.name}", action=argparse.BooleanOptionalAction, default=argparse.SUPPRESS,
                help=f"{field.metadata['help']} (default: {'on' if default else 'off'})",
            )  # fmt: skip
            continue
        group.add_argument(
            name, dest=f"{section}.{field.name}", default=argparse.SUPPRESS,
            type=str if many else type(default),
            nargs="*" if many else None,
            choices=choices or None,
            metavar=None if choices else _metavar(field),
            help=(field.metadata["help"] + (f" (default: {shown})" if shown != "" else "")).replace("%", "%%"),
        )  # fmt: skip
