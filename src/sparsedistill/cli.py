"""The command line: parser, exit status, messages; what each command does is in :mod:`sparsedistill.commands`."""

from __future__ import annotations

import argparse
import difflib
import logging
import os
import sys
from collections.abc import Sequence

from . import __version__
from .commands import budget, cascade, cut, diff, drift, errors, explain, fidelity, fit, inspect, predict, run
from .commands.common import Help
from .errors import SparsedistillError

_EXAMPLES = """
  sparsedistill fit train.csv -o model
  echo "what a lovely day" | sparsedistill predict model
"""


def parser() -> argparse.ArgumentParser:
    """The whole command line."""
    top = argparse.ArgumentParser(
        prog="sparsedistill",
        description="Distil a slow text classifier into a sparse n-gram student that labels raw text on a plain CPU.",
        epilog=f"examples:{_EXAMPLES}\n`sparsedistill COMMAND --help` has more, and all options.",
        formatter_class=Help,
    )
    top.add_argument("--version", action="version", version=f"sparsedistill {__version__}")
    commands = top.add_subparsers(metavar="COMMAND", title="commands", required=True)
    for command in (fit, predict, budget, cut, cascade, errors, fidelity, drift, diff, explain, inspect, run):
        command.add(commands)
    return top


def main(argv: Sequence[str] | None = None) -> int:
    """Entry point of ``sparsedistill``; returns the exit status (1: drift, 2: settings or data, 130: interrupted)."""
    status = _main(argv)
    if int(os.environ.get("WORLD_SIZE", "1")) > 1:
        # Threads of torch.distributed may still let go of Python's objects when the interpreter ends, which now and
        # then aborts a process that has done its work, and torchrun then kills the others.
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(status)
    return status


def _main(argv: Sequence[str] | None) -> int:
    arguments, rest = parser().parse_known_args(argv)
    # argparse takes a `nargs="*"` positional for finished at the first option; people write inputs behind options.
    if rest and (not hasattr(arguments, "input") or any(word.startswith("-") for word in rest)):
        unknown = next((word for word in rest if word.startswith("-")), "")
        arguments.parser.error(f"unrecognized arguments: {' '.join(rest)}{_meant(arguments.parser, unknown)}")
    if rest:
        arguments.input += rest
    logging.getLogger("sparsedistill").propagate = False  # only our own handler prints: bare, to stderr
    try:
        status: int = arguments.work(arguments) or 0
    except SparsedistillError as error:
        sys.stderr.write(f"sparsedistill: {error}\n")
        return 2
    except FileNotFoundError as error:
        sys.stderr.write(f"sparsedistill: {error if error.strerror is None else f'{error.filename} is not there'}\n")
        return 2
    except KeyboardInterrupt:
        goes_on = "; the same command goes on from where it stopped" if getattr(arguments, "resumes", True) else ""
        sys.stderr.write(f"\nsparsedistill: interrupted{goes_on}\n")
        return 130
    except OSError as error:
        try:
            sys.stdout.flush()
        except OSError:  # keep the interpreter from writing once more what cannot be written
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        if isinstance(error, BrokenPipeError):  # the reader of our output has seen enough
            return 0
        sys.stderr.write(f"sparsedistill: {f'{error.filename}: ' if error.filename else ''}{error.strerror or error}\n")
        return 2
    return status


def _meant(command: argparse.ArgumentParser, unknown: str) -> str:
    """What an unknown option of a command may mean: one that ends like it (``--distill-epochs``), or is spelt alike."""
    name = unknown.partition("=")[0].replace("_", "-")
    if not name.startswith("--"):
        return ""
    known = [option for option in command._option_string_actions if option.startswith("--")]
    close = [option for option in known if option.endswith(name[1:])] or difflib.get_close_matches(name, known, 2, 0.7)
    return f" (do you mean {' or '.join(close)}?)" if close else ""


if __name__ == "__main__":
    sys.exit(main())
