"""What commands share: options that are the fields of :mod:`sparsedistill.options`, and their values."""

from __future__ import annotations

import argparse
import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ..errors import SettingsError
from ..format import read_json
from ..settings import SECTIONS, Settings, build, default_of, parse_value, read_toml, sections_with

_METAVARS = {
    **dict.fromkeys(("train", "dev", "test", "corpus"), "FILE"),
    **dict.fromkeys(("text", "pair", "label", "weight"), "COLUMN"),
    "labels": "NAME", "class_weights": "WEIGHT", "label_separator": "SIGN", "delimiter": "SIGN", "memory": "SIZE",
    "max_time": "TIME",
}  # fmt: skip


class Help(argparse.HelpFormatter):
    """Leaves the lines of examples as they are."""

    def _fill_text(self, text: str, width: int, indent: str) -> str:
        return text if text.startswith("examples:") else super()._fill_text(text, width, indent)


def add_command(
    commands: Any, name: str, help: str, description: str, examples: str, usage: str | None = None
) -> argparse.ArgumentParser:
    """A command of the command line; each of the ``examples`` runs in a test."""
    command: argparse.ArgumentParser = commands.add_parser(
        name, help=help, description=description, usage=usage, epilog=f"examples:{examples}", formatter_class=Help
    )
    return command


def group_of(command: argparse.ArgumentParser, section: str) -> Any:
    """A group for the options of a section of the settings."""
    return command.add_argument_group(f"[{section}]", SECTIONS[section].__doc__)


def add_reading(command: argparse.ArgumentParser, *more: str) -> None:
    """The options of [data] that say how to read texts, and ``more`` of them."""
    names = ("text", "pair", *more, "input_format", "delimiter", "quoting", "header", "encoding_errors", "skip_missing")
    add_options(group_of(command, "data"), "data", names)


def add_heads(group: Any) -> None:
    """The option that names several heads."""
    group.add_argument(
        "--heads", nargs="+", metavar="NAME[=TASK]", default=argparse.SUPPRESS,
        help="train several heads on columns of these names, whose cells may be empty (default task: single; what "
        "else a head may have goes into a TOML file, as [heads.NAME])",
    )  # fmt: skip


def metavar(field: dataclasses.Field[Any]) -> str:
    """What stands for the value of an option in the help."""
    if field.name in _METAVARS:
        return _METAVARS[field.name]
    value = field.default
    if isinstance(value, tuple):
        value = value[0] if value else ""
    return {int: "N", float: "X"}.get(type(value), field.name.removesuffix("s").upper())


def add_options(group: Any, section: str, only: Sequence[str] = (), prefixed: bool = False) -> None:
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
            metavar=None if choices else metavar(field),
            help=(field.metadata["help"] + (f" (default: {shown})" if shown != "" else "")).replace("%", "%%"),
        )  # fmt: skip


def settings_of(arguments: argparse.Namespace) -> tuple[Settings, Path]:
    """Settings and run directory of a stage command or of ``run``."""
    values: dict[str, Any] = {}
    directory = Path(arguments.run) if arguments.run else None
    file: dict[str, Any] = {}
    if arguments.config:
        file = read_toml(Path(arguments.config))
        if directory is None:
            directory = Path(file.pop("run", f"runs/{Path(arguments.config).stem}"))
        file.pop("run", None)
    if directory is None:
        raise SettingsError("no run directory: give --run DIR or a TOML file")
    layers = [file]
    # A complete TOML file stands for itself; without one, the run directory remembers.
    if not arguments.config and (directory / "settings.json").is_file():
        layers.insert(0, read_json(directory / "settings.json"))
    for layer in layers:
        for section, fields in layer.items():
            if section == "heads" and isinstance(fields, list):
                values[section] = fields  # of names alone
                continue
            if not isinstance(fields, dict):
                raise SettingsError(
                    f"{arguments.config or directory}: {section} stands outside the tables {', '.join(SECTIONS)}"
                )
            values.setdefault(section, {}).update(fields)
    asked = given(arguments)
    if "heads" in asked:
        values["heads"] = asked.pop("heads")
    for section, fields in asked.items():
        values.setdefault(section, {}).update(fields)
    for assignment in getattr(arguments, "set", []):
        name, equals, text = assignment.partition("=")
        section, dot, field = name.partition(".")
        if not equals or not dot:
            raise SettingsError(f"--set {assignment}: not of the form STAGE.FIELD=VALUE")
        if section not in SECTIONS or field not in {f.name for f in dataclasses.fields(SECTIONS[section])}:
            raise SettingsError(f"--set {assignment}: there is no setting {name}")
        values.setdefault(section, {})[field] = parse_value(text, default_of(section, field))
    return build(values, str(arguments.config or directory)), directory


def given(arguments: argparse.Namespace) -> dict[str, dict[str, Any]]:
    """The settings among the arguments: values by section and field."""
    values: dict[str, dict[str, Any]] = {}
    for name, value in vars(arguments).items():
        section, dot, field = name.partition(".")
        if name == "heads":
            values["heads"] = value
        elif section == "*":
            for owner in sections_with(field):
                values.setdefault(owner, {}).setdefault(field, value)
        elif dot:
            kind = default_of(section, field)
            values.setdefault(section, {})[field] = parse_value(value, kind) if isinstance(kind, tuple) else value
    return values
