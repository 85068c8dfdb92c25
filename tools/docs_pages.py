"""Pages of the documentation that are written from the package (a hook of MkDocs)."""

from __future__ import annotations

import argparse
import dataclasses
import enum
import inspect
import re
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parent.parent
MEMBERS = {  # of classes that have others for the package itself
    "Run": ("execute", "check", "teacher_logits", "classifier"),
    "Settings": ("of", "from_toml", "check"),
}
COMMANDS = (
    "fit",
    "run",
    "predict",
    "cut",
    "cascade",
    "drift",
    "inspect",
    "evaluate",
)  # in full; stages have the options of their tables


def settings_page() -> str:
    """Every setting: a table a stage."""
    from sparsedistill.options import Head
    from sparsedistill.settings import SECTIONS, sections_with

    lines = [
        "# Settings",
        "",
        "A setting has one name everywhere. `hidden` of the table `[distill]`, for example, is",
        "",
        "| where | how it is written |",
        "| --- | --- |",
        "| Python | `distill(..., hidden=[256])` or `Settings.of(hidden=[256])` |",
        "| TOML file | `[distill]`, below it `hidden = [256]` |",
        "| command line | `--hidden 256`; in a file that is run: `--set distill.hidden=256` |",
        "",
        "Settings that several stages have (marked *) are given by stage: `distill={'epochs': 5}` in Python, "
        "`--distill-epochs 5` for `sparsedistill fit`, and `--epochs 5` for the stage alone. `device`, `threads` and "
        "`checkpoint_seconds` by themselves are those of every stage. A flag is switched off by `--no-NAME`.",
        "",
    ]
    for section, kind in {**SECTIONS, "heads.NAME": Head}.items():
        lines += [f"## [{section}]", "", _markdown(kind.__doc__), "", "| setting | default | |", "| --- | --- | --- |"]
        for field in dataclasses.fields(kind):
            shared = " *" if len(sections_with(field.name)) > 1 else ""
            choices = field.metadata["choices"]
            text = _cell(field.metadata["help"]) + (f"<br>One of {_codes(choices)}." if choices else "")
            lines.append(f"| `{field.name}`{shared} | {_default(field.default)} | {text} |")
        lines.append("")
    return "\n".join(lines)


def cli_page() -> str:
    """Every command, from the parser of the command line."""
    from sparsedistill.cli import parser

    top = parser()
    commands = next(a for a in top._actions if isinstance(a, argparse._SubParsersAction))
    lines = ["# Command line", "", "`sparsedistill COMMAND --help` prints the same in a terminal.", ""]
    lines += ["| command | |", "| --- | --- |"]
    lines += [f"| [`{action.dest}`](#{action.dest}) | {_cell(action.help)} |" for action in commands._choices_actions]
    for name, command in commands.choices.items():
        lines += ["", f"## {name}", "", "```text", _usage(name, command), "```", ""]
        lines += [_cell(command.description or ""), ""] if command.description else []
        for group in command._action_groups:
            lines += _group(name, group)
        if command.epilog:
            examples = [line.strip() for line in command.epilog.splitlines()[1:]]
            lines += ["**Examples**", "", "```sh", *examples, "```", ""]
    lines += [
        "",
        "The exit status is 0, 1 for drift that `--fail-above` is to find, 2 for settings or data that cannot be used, "
        "130 when interrupted.",
    ]
    return "\n".join(lines)


def _usage(name: str, command: argparse.ArgumentParser) -> str:
    words = [f"sparsedistill {name}"]
    for action in command._actions:
        if not action.option_strings:
            metavar = str(action.metavar)
            words.append({"*": f"[{metavar} ...]", "?": f"[{metavar}]"}.get(str(action.nargs), metavar))
        elif action.required:
            words.append(f"{action.option_strings[-1]} {action.metavar}")
    return " ".join([*words, "[options]"])


def _group(command: str, group: Any) -> list[str]:
    actions = [a for a in group._group_actions if a.dest != "help"]
    table = re.fullmatch(r"\[(.*)\]", group.title or "")
    if not actions:
        return []
    if table:  # what they mean stands with the settings
        names = ", ".join(f"`{action.option_strings[0]}`" for action in actions)
        return [f"Options of [[{table[1]}]](settings.md#{table[1]}): {names}", ""]
    title = [f"**{group.title[0].upper()}{group.title[1:]}**", ""] if command in COMMANDS else []
    lines = [*title, "| | |", "| --- | --- |"]
    for action in actions:
        value = f" {action.metavar}" if action.metavar and action.option_strings and action.nargs != 0 else ""
        names = ", ".join(f"`{name}{value}`" for name in action.option_strings) or f"`{action.metavar}`"
        if action.choices:
            text = f"{_cell(action.help)}<br>One of {_codes(tuple(action.choices))}."
        else:
            text = _cell(action.help)
        lines.append(f"| {names} | {text} |")
    return [*lines, ""]


def api_page() -> str:
    """Every public name, from its docstring."""
    import sparsedistill

    names = [name for name in sparsedistill.__all__ if not name.startswith("__")]
    things = {name: getattr(sparsedistill, name) for name in names}
    errors = [name for name in names if inspect.isclass(things[name]) and issubclass(things[name], Exception)]
    first = [
        name
        for name in ("distill", "Classifier", "Cascade", "Explanation", "Report", "Run", "Settings")
        if name in names
    ]
    rest = [name for name in names if name not in first and name not in errors]
    lines = [
        "# Python API",
        "",
        "All are imported from `sparsedistill`. Using a classifier needs numpy alone.",
        "",
    ]
    for name in first + rest:
        lines += _thing(name, things[name])
    lines += ["## Errors", "", "Each message names the file, row or field, and the way out.", ""]
    lines += ["| | derived from | |", "| --- | --- | --- |"]
    for name in sorted(errors, key=lambda name: name != "SparsedistillError"):
        bases = ", ".join(f"`{base.__name__}`" for base in things[name].__bases__)
        lines.append(f"| `{name}` | {bases} | {_cell(_markdown(inspect.getdoc(things[name]) or ''))} |")
    return "\n".join([*lines, ""])


def _thing(name: str, thing: Any) -> list[str]:
    lines = [f"## {name}", ""]
    if not inspect.isclass(thing):
        return [*lines, *_signature(name, thing), _markdown(inspect.getdoc(thing) or ""), ""]
    constructor = vars(thing).get("__init__")
    if constructor is not None and not dataclasses.is_dataclass(thing):
        lines += _signature(name, thing)
    lines += [_markdown(inspect.getdoc(thing) or ""), ""]
    if constructor is not None and constructor.__doc__ and not dataclasses.is_dataclass(thing):
        lines += [_markdown(inspect.getdoc(constructor) or ""), ""]
    for member, value in vars(thing).items():
        doc = inspect.getdoc(getattr(thing, member, None) if isinstance(value, classmethod) else value)
        is_member = isinstance(value, classmethod | staticmethod | property) or inspect.isfunction(value)
        if member.startswith("_") or not doc or not is_member or member not in MEMBERS.get(name, (member,)):
            continue
        lines += [f"### {name}.{member}", ""]
        if not isinstance(value, property):
            lines += _signature(
                f"{name}.{member}" if isinstance(value, classmethod) else member, getattr(thing, member)
            )
        lines += [_markdown(doc), ""]
    return lines


def _signature(name: str, function: Any) -> list[str]:
    """The call, a parameter a line where it is long; types are in the text."""
    parameters = [
        p.replace(annotation=inspect.Parameter.empty)
        for p in inspect.signature(function).parameters.values()
        if p.name != "self"
    ]
    written = [str(p) for p in parameters]
    star = next((i for i, p in enumerate(parameters) if p.kind is inspect.Parameter.KEYWORD_ONLY), None)
    if star is not None:
        written.insert(star, "*")
    call = f"{name}({', '.join(written)})"
    if len(call) > 88:
        call = f"{name}(\n    " + ",\n    ".join(written) + ",\n)"
    return ["```python", call, "```", ""]


def _markdown(doc: str | None) -> str:
    """A docstring as Markdown: roles of Sphinx and sections of Google's style."""
    lines: list[str] = []
    section = ""
    blocks = inspect.cleandoc(doc or "").splitlines()
    for line in blocks:
        heading = re.fullmatch(r"(Args|Returns|Raises|Yields|Attributes|Examples?|Note):", line)
        if heading:
            section = heading[1]
            lines += ["", f"**{'Parameters' if section == 'Args' else section}**", ""]
            lines += ["```pycon"] if section.startswith("Example") else []
            continue
        if section and line and not line.startswith("    "):
            lines += ["```", ""] if section.startswith("Example") else [""]
            section = ""
        if not section:
            lines.append(re.sub(r"^(Errors|Attributes): ", r"**\1:** ", line))
        elif section.startswith("Example"):
            lines.append(line[4:])
        else:
            entry = re.match(r"    (\*{0,2}\w+)(?: \(.*?\))?: (.*)", line)
            if entry and section != "Returns":
                lines.append(f"- `{entry[1]}`: {entry[2]}")
            else:
                lines.append(("  " if section != "Returns" else "") + line.strip())
    if section.startswith("Example"):
        lines.append("```")
    text = "\n".join(lines)
    text = re.sub(r":\w+:`~?(?:[\w.]*\.)?(\w+)`", r"`\1`", text)
    text = re.sub(r"``(.+?)``", r"`\1`", text)
    return re.sub(r"::\n", ":\n", text)


def _default(default: Any) -> str:
    if isinstance(default, bool):
        return "on" if default else "off"
    if isinstance(default, tuple):
        return _codes(default) if default else "none"
    return f"`{default}`" if default != "" else "none"


def _codes(values: tuple[Any, ...]) -> str:
    return ", ".join(f"`{value.value if isinstance(value, enum.Enum) else value}`" for value in values)


def _cell(text: str | None) -> str:
    """A help text as a cell of a table, or a paragraph: one line, its options as code."""
    text = " ".join((text or "").replace("%%", "%").split()).replace("|", "\\|")
    return re.sub(r"(?<![`\w-])(--[a-z][a-z-]*)", r"`\1`", text.replace("<", "&lt;"))


def _included(markdown: str) -> str:
    """``<!-- include FILE -->``: the file without its first heading, its headings a level lower."""

    def read(match: re.Match) -> str:
        _, text = (ROOT / match[1]).read_text(encoding="utf-8").split("\n", 1)
        return re.sub(r"^(#+ )", r"#\1", text, flags=re.MULTILINE)

    return re.sub(r"<!-- include (\S+) -->", read, markdown)


PAGES = {"settings.md": settings_page, "api.md": api_page, "cli.md": cli_page}


def on_files(files: Any, config: Any) -> Any:
    """Add the generated pages."""
    from mkdocs.structure.files import File

    for name, page in PAGES.items():
        files.append(File.generated(config, name, content=page()))
    return files


def on_page_markdown(markdown: str, **_: Any) -> str:
    """Put included files in place."""
    return _included(markdown)
