"""What a study is, and what studies share: students with other settings, measured and forgotten; systems, timed."""

import itertools
import shutil
import statistics
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import numpy as np

from benchmarks import timing
from benchmarks.tasks import sample
from sparsedistill import Run

from .cells import TASKS, Table
from .claims import Claim
from .package import Vocabulary, read_json, say, write_json
from .records import Recorded, recipe_of, teacher_of
from .task import Task, decided, dev_figure, share

SECONDS, TURNS = 2.0, 5  # of a turn, about; of each system
# What gets texts ready, uncounted, and what labels them.
System = tuple[Callable[[list[str]], Any], Callable[[Any], Any]]


class Study:
    """A study owns its ``title``, the ``note`` below it, and what it measures and shows."""

    title = note = ""
    tasks: tuple[str, ...] = ()  # that it is run on where none are named
    head: tuple[str, ...] = ()  # of the table
    paper: Sequence[list[str]] = ()  # rows of the paper's figures
    axes: tuple[str, ...] = ()  # names of those of the plot that some have
    teacher = staticmethod(teacher_of)  # fingerprint of the one that it is of

    def measure(self, task: Task) -> dict[str, Any]:
        """The figures of a task, as JSON can hold them."""
        raise NotImplementedError

    def rows(self, title: str, figures: dict[str, Any], record: Recorded) -> Table:
        """The figures of a task, called ``title``, in the table."""
        return []

    def tables(self, study: dict[str, Any], results: dict[str, Recorded]) -> list[Table]:
        """The figures of all tasks, by task; ``results`` are the records of all tasks."""
        rows = [row for key, figures in study.items() for row in self.rows(TASKS[key], figures, results[key])]
        return [[[*self.head], *rows, *self.paper]]

    def claims(self, title: str, figures: dict[str, Any]) -> list[Claim]:
        """What the paper found, held against the figures of a task."""
        return []

    def draw(self, axes: Any, figures: dict[str, Any], record: Recorded) -> None:
        """The figures of a task as a plot, on matplotlib's ``axes``."""


def measured(task: Task, run: Run, stages: Sequence[str], keep: bool = False) -> dict[str, Any]:
    """Run ``stages`` and give the figures of each student, which stay in the run's directory as ``figures.json``.

    What was measured once with the same settings is not measured again. All else of the run is deleted unless ``keep``.
    """
    last = run.students[-1]
    key = recipe_of(task, [run.key(f"compress.{last}"), teacher_of(task)])
    path = run.directory / "figures.json"
    known = read_json(path) if path.exists() else {}
    if known.get("key") != key or (keep and not (run.directory / "classifiers" / last / "config.json").exists()):
        run.execute(stages)
        share(run, task.run)
        known = {"key": key, "figures": {name: _figures(task, run, name) for name in run.students}}
        write_json(path, known)
    if not keep:
        forget(run)
    return dict(known["figures"])


def _figures(task: Task, run: Run, name: str) -> dict[str, Any]:
    trained = run.result_of("finetune" if name == "kd_ft" else f"distill.{name}")
    compressed = run.result_of(f"compress.{name}")
    figures = {
        "accuracy": task.accuracies(decided(task, run, name)),
        "dev": compressed["after"],
        "uncompressed_dev": compressed["before"],
        "parameters": trained["parameters"],
        "megabytes": compressed["bytes"] / 1e6,
        "seconds": trained["seconds"],
    }
    shown = ", ".join(f"{test} {value:.2%}" for test, value in figures["accuracy"].items())
    say(f"{task.key} {run.directory.name} {name}: {shown}; dev {figures['dev']:.2%}; {figures['seconds']:.0f} s")
    return figures


def forget(run: Run) -> None:
    """Delete all of a run but its figures; what it inherited stays where it came from."""
    for path in run.directory.iterdir():
        if path.is_dir():
            shutil.rmtree(path)
        elif path.name != "figures.json":
            path.unlink()


def kd_run(task: Task, name: str, **changes: Any) -> Run:
    """A run of the task that trains the KD student alone, with other settings (``stage__field``)."""
    task.taught()
    # What integer rows cost is recorded, and refuses nothing.
    given = {"distill__modes": ["kd"], "finetune__finetune_student": False, "compress__max_loss": 1.0, **changes}
    return task.variant(name, **given)


def student(task: Task, run: Run, keep: bool = False) -> dict[str, Any]:
    """The figures of the KD student of such a run."""
    return dict(measured(task, run, ("count", "distill", "compress"), keep)["kd"])


def tuned(task: Task, name: str, rates: Sequence[float], seeds: int, changes: dict[str, Any]) -> dict[str, Any]:
    """The learning rate that dev chooses for such a student, first among ``rates``, and figures by seed."""

    def made(rate: float, seed: int) -> dict[str, Any]:
        given = {"distill__learning_rate": rate, "distill__student_seed": seed, **changes}
        return student(task, kd_run(task, f"{name}-{rate:g}-{seed}", **given))

    tried, most = sorted(rates), len(rates) + 3
    while True:
        best = max(tried, key=lambda rate: made(rate, 0)["dev"])
        if best not in (tried[0], tried[-1]) or len(tried) in (1, most):
            break
        # At an edge the best may lie behind it.
        further = best * best / (tried[1] if best == tried[0] else tried[-2])
        tried = sorted([*tried, further])
    return {"learning_rate": best, "seeds": {str(seed): made(best, seed) for seed in range(seeds)}}


def first_seed(task: Task) -> tuple[Run, str]:
    """The run of the first seed, its students trained, and the one that dev chooses, over the recorded seeds if any."""
    task.taught()
    run = task.variant("seed0", distill__student_seed=0)
    run.execute(("count", "distill", "finetune", "compress"))
    names = [name for name in ("kd", "kd_ft") if name in run.students]
    return run, Recorded(task.key).selected or max(names, key=lambda name: dev_figure(run, name))


def timed(task: Task, systems: dict[str, System]) -> dict[str, dict[str, float]]:
    """By system: ``texts_per_second``, the median of turns that all take in order, and their ``spread``.

    The slow label a sample of the test texts stratified by length, the fast all of them and texts of the corpus
    :func:`alike`: a turn takes some seconds, or it would time the clock and the caches. ``spread`` is half of what lies
    between slowest and fastest turn, as a share of the median.
    """
    texts = task.inputs.part("test").texts
    more = task.texts("corpus")
    turns, sizes = [], []
    for prepare, label in systems.values():
        chosen = [texts[i] for i in sample(texts, 16)]
        while True:
            ready = prepare(chosen)
            label(ready)  # once uncounted: caches, threads, lazy loading
            turn = partial(label, ready)
            if (seconds := timing.seconds(turn)) > SECONDS / 2:
                break
            size = round(len(chosen) * min(SECONDS / seconds, 30.0))
            chosen = alike(texts, more, size) if size > len(texts) else [texts[i] for i in sample(texts, size)]
        turns.append(turn)
        sizes.append(len(chosen))
    taken_by = timing.alternate([partial(timing.seconds, turn) for turn in turns], TURNS)
    found = {}
    for name, size, taken in zip(systems, sizes, taken_by, strict=True):
        middle, between = statistics.median(taken), max(taken) - min(taken)
        found[name] = {"texts_per_second": size / middle, "spread": between / 2 / middle, "texts": size}
    return found


def alike(texts: list[str], more: list[str], size: int) -> list[str]:
    """So many texts with the lengths of ``texts``, over and over: these, then ``more``, before any comes again.

    The same few hundred texts would find all that they need of a table in the processor's cache.
    """
    by_length: dict[int, list[str]] = {len(text): [] for text in texts}
    for text in (*texts, *more):
        if len(text) in by_length:
            by_length[len(text)].append(text)
    turns = {length: itertools.cycle(some) for length, some in by_length.items()}
    return [next(turns[len(text)]) for text in itertools.islice(itertools.cycle(texts), size)]


def without(keep: np.ndarray, ids: np.ndarray, offsets: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Bags without the rows that ``keep``, bool (V,), does not name."""
    there = keep[ids]
    sums = np.concatenate([[0], np.cumsum(there)]).astype(np.uint64)
    return ids[there], sums[offsets.astype(np.int64)]


def lengths(vocabulary: Vocabulary) -> np.ndarray:
    """Tokens of each n-gram, int64 (V,)."""
    return np.array([vocabulary[i].count(" ") + 1 for i in range(len(vocabulary))])
