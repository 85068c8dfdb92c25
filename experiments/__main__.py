"""``python -m experiments TASK ...``: train and measure the systems of tasks."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from sparsedistill.errors import SparsedistillError
from sparsedistill.progress import say

from .systems import ONCE, SEEDS, SYSTEMS
from .task import TASKS, Place, Task


def main() -> int:
    """Train what is asked for, a system after the other; what is finished is not done again."""
    parser = argparse.ArgumentParser(prog="python -m experiments", description=__doc__)
    parser.add_argument("tasks", nargs="+", choices=TASKS, metavar="TASK", help=", ".join(TASKS))
    place_arguments(parser)
    parser.add_argument("--systems", nargs="*", choices=SYSTEMS, default=list(SYSTEMS), help="default: all")
    parser.add_argument("--seeds", nargs="*", type=int, default=list(SEEDS), help="default: 0 1 2")
    arguments = parser.parse_args()
    status = 0
    for key in arguments.tasks:
        task = Task(key, place_of(arguments))
        try:
            task.run  # noqa: B018 (what is wrong with its files is said once)
        except SparsedistillError as error:
            say(f"{key}: {error}")
            status = 2
            continue
        for name in arguments.systems:
            for seed in arguments.seeds[:1] if name in ONCE else arguments.seeds:
                try:
                    SYSTEMS[name](task, seed)
                except SparsedistillError as error:
                    say(f"{key} {name}: {error}")
                    status = 2
    return status


def place_arguments(parser: argparse.ArgumentParser) -> None:
    """Options that say where things are."""
    parser.add_argument("--data", type=_folder, metavar="DIR", help="folder of the data sets; default: from the hub")
    parser.add_argument(
        "--runs", type=Path, metavar="DIR", default=Path("runs"), help="run directories (default: runs)"
    )
    parser.add_argument("--teacher", default="", metavar="MODEL", help="folder or hub id of the teacher's encoder")


def _folder(path: str) -> Path:
    if not Path(path).is_dir():
        raise argparse.ArgumentTypeError(f"there is no folder {path}")
    return Path(path)


def place_of(arguments: argparse.Namespace) -> Place:
    """What these options say."""
    return Place(arguments.data and arguments.data.resolve(), arguments.runs.resolve(), arguments.teacher)


if __name__ == "__main__":
    sys.exit(main())
