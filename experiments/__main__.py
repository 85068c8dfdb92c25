"""``python -m experiments TASK ...``: train and measure the systems, or the studies, of tasks."""

import argparse
import sys
from functools import partial
from pathlib import Path

from sparsedistill import SparsedistillError

from . import records
from .cells import TASKS
from .package import say
from .studies import STUDIES
from .systems import ONCE, SEEDS, SYSTEMS
from .task import PAIRS, Place, Task


def main() -> int:
    """Train what is asked for, one after the other; what is finished is not done again."""
    parser = argparse.ArgumentParser(prog="python -m experiments", description=__doc__)
    parser.add_argument("tasks", nargs="*", metavar="TASK", help=", ".join(TASKS))
    place_arguments(parser)
    names = {"systems": ", ".join(SYSTEMS), "studies": ", ".join(STUDIES)}
    parser.add_argument("--systems", nargs="*", choices=SYSTEMS, metavar="SYSTEM", default=list(SYSTEMS),
                        help=f"default: all of {names['systems']}")  # fmt: skip
    parser.add_argument("--seeds", nargs="*", type=int, default=list(SEEDS), help="default: 0 1 2")
    parser.add_argument("--studies", nargs="*", choices=STUDIES, metavar="STUDY", default=[],
                        help=f"instead of systems; each has TASKs of its own: {names['studies']}")  # fmt: skip
    given = parser.parse_args()
    if unknown := set(given.tasks) - set(TASKS):
        parser.error(f"no task {', '.join(sorted(unknown))}: {', '.join(TASKS)}")
    if not given.tasks and not given.studies:
        parser.error(f"say which tasks: {', '.join(TASKS)}")
    work = [(key, name, partial(study, name=name)) for name in given.studies
            for key in given.tasks or STUDIES[name].tasks]  # fmt: skip
    if unfit := [f"{name} of {key}" for key, name, _ in work if key in PAIRS and key not in STUDIES[name].tasks]:
        parser.error(f"not for pairs: {', '.join(unfit)}")
    if not given.studies:
        work = [(key, name, partial(SYSTEMS[name], seed=seed)) for key in given.tasks for name in given.systems
                for seed in (given.seeds[:1] if name in ONCE else given.seeds)]  # fmt: skip
    tasks = {key: Task(key, place_of(given)) for key, _, _ in work}
    wrong, status = set(), 0
    for key, name, measure in work:
        if key in wrong:
            continue
        wrong.add(key)  # what is wrong with its files is said once
        try:
            tasks[key].run  # noqa: B018
            wrong.remove(key)
            measure(tasks[key])
        except SparsedistillError as error:
            say(f"{key} {name}: {error}")
            status = 2
    return status


def study(task: Task, name: str) -> None:
    """Measure a study on a task and record it."""
    teacher = STUDIES[name].teacher(task)
    records.keep_study(name, task, STUDIES[name].measure(task), teacher)


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


def place_of(given: argparse.Namespace) -> Place:
    """What these options say."""
    return Place(given.data and given.data.resolve(), given.runs.resolve(), given.teacher)


if __name__ == "__main__":
    sys.exit(main())
