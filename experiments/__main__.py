"""``python -m experiments TASK ...``: train and measure the systems, or the studies, of tasks."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path

from . import cells, records, studies
from .package import SparsedistillError, say
from .systems import ONCE, SEEDS, SYSTEMS
from .task import PAIRS, Place, Task


def main() -> int:
    """Train what is asked for, one after the other; what is finished is not done again."""
    parser = argparse.ArgumentParser(prog="python -m experiments", description=__doc__)
    parser.add_argument("tasks", nargs="*", choices=[*cells.TASKS, []], metavar="TASK", help=", ".join(cells.TASKS))
    place_arguments(parser)
    parser.add_argument("--systems", nargs="*", choices=SYSTEMS, metavar="SYSTEM", default=list(SYSTEMS),
                        help=f"default: all of {', '.join(SYSTEMS)}")  # fmt: skip
    parser.add_argument("--seeds", nargs="*", type=int, default=list(SEEDS), help="default: 0 1 2")
    parser.add_argument("--studies", nargs="*", choices=studies.NAMES, metavar="STUDY", default=[],
                        help=f"instead of systems; without TASK on its own: {', '.join(studies.NAMES)}")  # fmt: skip
    arguments = parser.parse_args()
    if not (arguments.tasks or arguments.studies):
        parser.error("say which tasks")
    work: list[tuple[str, str, Callable[[Task], None]]] = []
    for name in arguments.studies:
        meant = studies.module_of(name).TASKS
        if unknown := [key for key in arguments.tasks if key in PAIRS and key not in meant]:
            parser.error(f"{name} is not for {', '.join(unknown)}")
        work += [(key, name, partial(study, name=name)) for key in arguments.tasks or meant]
    for key in [] if arguments.studies else arguments.tasks:
        for name in arguments.systems:
            seeds = arguments.seeds[:1] if name in ONCE else arguments.seeds
            work += [(key, name, partial(SYSTEMS[name], seed=seed)) for seed in seeds]
    tasks = {key: Task(key, place_of(arguments)) for key, _, _ in work}
    failed: set[str] = set()
    status = 0
    for key, name, measure in work:
        try:
            if key not in failed:
                failed.add(key)  # what is wrong with its files is said once
                tasks[key].run  # noqa: B018
                failed.remove(key)
                measure(tasks[key])
        except SparsedistillError as error:
            say(f"{key} {name}: {error}")
            status = 2
    return status


def study(task: Task, name: str) -> None:
    """Measure a study on a task and record it."""
    module = studies.module_of(name)
    teacher = getattr(module, "teacher", records.teacher_of)(task)
    records.keep_study(name, task, module.measure(task), teacher)


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
