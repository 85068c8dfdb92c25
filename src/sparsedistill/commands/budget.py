"""``budget``: sizes of a run's classifier, and the one that keeps to limits."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any

from ..classifier import is_replaced
from ..errors import SettingsError
from ..format import copy_directory, write_json
from ..locks import locked
from ..progress import say
from ..sizes import front, picked, plot, smallest, table
from .common import add_command

_TEXT = (
    "Search for sizes of the classifier of a run: fewer n-grams, narrower rows and smaller numbers, trained for some "
    "seconds on the logits of the full one, and measured on dev and on this machine. Shows those that no other "
    "beats in all three. With limits the best size within them is chosen (with --min-accuracy the smallest), "
    "without them the smallest within --loss. An interrupted search goes on from where it stopped, and a finished one "
    "is not done again; the classifiers of all sizes are in RUN/sizes."
)
_EXAMPLES = """
  sparsedistill budget model.run
  sparsedistill budget model.run --max-mb 5 --output small
"""


def add(commands: Any) -> None:
    """Add the command."""
    command = add_command(commands, "budget", "find the classifier of a size or speed", _TEXT, _EXAMPLES)
    command.add_argument("run", metavar="RUN", help="run directory")
    command.add_argument(
        "--by", choices=("dev", "fidelity"), default="dev",
        help="what is to be high: the figure on dev, or the share of the full classifier's decisions (default: dev)",
    )  # fmt: skip
    command.add_argument(
        "--min-accuracy", type=float, metavar="X", help="the figure of --by that is needed, as a share"
    )
    command.add_argument("--max-mb", type=float, metavar="X", help="megabytes at most")
    command.add_argument("--min-speed", type=float, metavar="X", help="texts/s on one thread at least")
    command.add_argument(
        "--loss", type=float, default=None, metavar="X",
        help="without limits: what may be lost on dev, as a share (default: --sizing-loss of the run)",
    )  # fmt: skip
    command.add_argument("--all", action="store_true", help="show all sizes that were measured")
    command.add_argument("--json", metavar="FILE", help="write all sizes there")
    command.add_argument("--plot", metavar="FILE", help="draw the figure against megabytes and speed there, as a PNG")
    command.add_argument("--output", "-o", metavar="DIR", help="put the chosen classifier there")
    command.set_defaults(work=_budget, parser=command, config=None)


def _budget(arguments: argparse.Namespace) -> None:
    from ..run import opened
    from ..stages import size

    limits = {name: getattr(arguments, name) for name in ("min_accuracy", "max_mb", "min_speed")}
    if arguments.loss is not None and any(limit is not None for limit in limits.values()):
        raise SettingsError("--loss is for a choice without limits: leave it out, or --min-accuracy and the others")
    output = Path(arguments.output) if arguments.output else None
    if output:
        is_replaced(output, " to --output")
    run = opened(arguments.run)
    loss = run.settings.size.sizing_loss if arguments.loss is None else arguments.loss
    with locked(run.directory):
        name = size.best(run)
        sizes, full = size.searched(run, name, loss)
    everything = [*sizes, full]
    if any(limit is not None for limit in limits.values()):
        chosen = picked(everything, arguments.by, **limits)
    else:
        chosen = smallest(sizes, full, loss)
    best = front(everything, arguments.by)
    shown = [one for one in everything if arguments.all or one in best or one in (chosen, full)]
    shown.sort(key=lambda one: one["megabytes"])
    sys.stdout.write(f"\n{table(shown, run.primary, full, chosen)}\n\n")
    sys.stdout.flush()
    if arguments.json:
        facts = {"student": name, "primary": run.primary, "full": full, "chosen": chosen["name"], "sizes": sizes}
        write_json(Path(arguments.json), facts)
    if arguments.plot:
        plot(everything, run.primary, full, chosen, Path(arguments.plot), arguments.by)
    if output:
        copy_directory(Path(chosen["directory"]), output)
        say(f"{output}: the classifier {chosen['name']}")
    else:
        say(f"* {chosen['directory']}")
