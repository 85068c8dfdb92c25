"""What the studies share: their command line, and students with other settings, trained, measured and forgotten."""

from __future__ import annotations

import argparse
import itertools
import shutil
import statistics
import sys
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.tasks import sample
from sparsedistill.errors import SparsedistillError
from sparsedistill.format import read_json, write_json
from sparsedistill.progress import say
from sparsedistill.run import Run
from sparsedistill.student.vocabulary import Vocabulary

from . import records
from .__main__ import place_arguments, place_of
from .task import PAIRS, TASKS, Task, adopt, decided, dev_figure

SECONDS, TURNS = 2.0, 5  # of a turn, about; of each system
# What gets texts ready, uncounted, and what labels them.
System = tuple[Callable[[list[str]], Any], Callable[[Any], Any]]


def main(
    description: str,
    tasks: Sequence[str],
    measure: Callable[[Task], Any],
    teacher: Callable[[Task], dict[str, str]] = records.taught_by,
) -> None:
    """``python -m experiments.studies.NAME [TASK ...]``: ``measure`` each task, and write down what it gives.

    ``teacher`` says which teacher that is of; the usual one trains it first, if need be.
    """
    name = Path(sys.argv[0]).stem
    parser = argparse.ArgumentParser(prog=f"python -m experiments.studies.{name}", description=description)
    parser.add_argument("tasks", nargs="*", metavar="TASK", help=f"default: {' '.join(tasks)}")
    place_arguments(parser)
    arguments = parser.parse_args()
    possible = [key for key in TASKS if key in tasks or key not in PAIRS]
    if unknown := set(arguments.tasks) - set(possible):
        parser.error(f"not for {', '.join(sorted(unknown))}: {', '.join(possible)}")
    status = 0
    for key in arguments.tasks or tasks:
        task = Task(key, place_of(arguments))
        try:
            said = teacher(task)
            records.keep_study(name, task, measure(task), said)
        except SparsedistillError as error:
            say(f"{key}: {error}")
            status = 2
    sys.exit(status)


def student(task: Task, name: str, keep: bool = False, **changes: Any) -> dict[str, Any]:
    """Train the KD student of the task with other settings (``stage__field``) and say how right it is.

    What was measured once with the same settings is not measured again. The student is deleted unless ``keep``: its
    run is then ``runs/KEY/variants/NAME``.
    """
    run = kept(task, name, **changes)
    known = task.directory / "measured" / f"{name}.json"
    key = records.measured(task, [run.key("compress.kd"), records.taught_by(task)])
    if known.exists() and (found := read_json(known))["key"] == key and not (keep and not _there(run)):
        if not keep:
            shutil.rmtree(run.directory)
        return dict(found["figures"])
    run.execute(("count", "distill", "compress"))
    adopt(task.run, run)
    result = run.result_of("distill.kd")
    figures = {
        "accuracy": task.accuracies(decided(task, run, "kd")),
        "dev": dev_figure(run, "kd"),
        "uncompressed_dev": run.result_of("compress.kd")["before"],
        "parameters": result["parameters"],
        "megabytes": run.result_of("compress.kd")["bytes"] / 1e6,
        "seconds": result["seconds"],
    }
    write_json(known, {"key": key, "figures": figures})
    shown = ", ".join(f"{test} {value:.2%}" for test, value in figures["accuracy"].items())
    say(f"{task.key} {name}: {shown}; dev {figures['dev']:.2%}; {figures['seconds']:.0f} s")
    if not keep:
        shutil.rmtree(run.directory)
    return figures


def tuned(task: Task, name: str, rates: Sequence[float], seeds: int, changes: dict[str, Any]) -> dict[str, Any]:
    """The learning rate that dev chooses for such a student, first among ``rates``, and figures by seed."""

    def made(rate: float, seed: int) -> dict[str, Any]:
        given = {"distill__learning_rate": rate, "distill__student_seed": seed, **changes}
        return student(task, f"{name}-{rate:g}-{seed}", **given)

    tried, most = sorted(rates), len(rates) + 3
    while True:
        best = max(tried, key=lambda rate: made(rate, 0)["dev"])
        if best not in (tried[0], tried[-1]) or len(tried) in (1, most):
            break
        # At an edge the best may lie behind it.
        further = best * best / (tried[1] if best == tried[0] else tried[-2])
        tried = sorted([*tried, further])
    return {"learning_rate": best, "seeds": {str(seed): made(best, seed) for seed in range(seeds)}}


def kept(task: Task, name: str, **changes: Any) -> Run:
    """The run of such a student."""
    task.taught()
    # What integer rows cost is written down, and refuses nothing.
    given = {"distill__modes": ["kd"], "finetune__finetune_student": False, "compress__max_loss": 1.0, **changes}
    return task.variant(name, **given)


def _there(run: Run) -> bool:
    return (run.directory / "classifiers" / "kd" / "config.json").exists()


def first(task: Task) -> Run:
    """The run of the first seed, its students trained."""
    task.taught()
    run = task.variant("seed0", distill__student_seed=0)
    run.execute(("count", "distill", "finetune", "compress"))
    return run


def selected(task: Task, run: Run) -> str:
    """The student that dev chooses: over the seeds that are written down, else of this run."""
    known = records.selected(records.systems_of(task.key))
    return known or max((name for name in ("kd", "kd_ft") if name in run.students), key=lambda n: dev_figure(run, n))


def timed(task: Task, systems: dict[str, System]) -> dict[str, dict[str, float]]:
    """By system: ``texts_per_second``, the median of turns that all take in order, and their ``spread``.

    The slow label a sample of the test texts stratified by length, the fast all of them and texts of the corpus
    :func:`alike`: a turn takes some seconds, or it would time the clock and the caches. ``spread`` is half of what lies
    between slowest and fastest turn, as a share of the median.
    """
    texts = task.inputs.part("test").texts
    more = [text for batch, _ in task.inputs.batches("corpus") for text in batch]
    turns, sizes = [], []
    for prepare, label in systems.values():
        chosen = [texts[i] for i in sample(texts, 16)]
        while True:
            ready = prepare(chosen)
            label(ready)  # once uncounted: caches, threads, lazy loading
            turn = partial(label, ready)
            if (seconds := _seconds(turn)) > SECONDS / 2:
                break
            size = round(len(chosen) * min(SECONDS / seconds, 30.0))
            chosen = alike(texts, more, size) if size > len(texts) else [texts[i] for i in sample(texts, size)]
        turns.append(turn)
        sizes.append(len(chosen))
    rounds = [[_seconds(turn) for turn in turns] for _ in range(TURNS)]
    found = {}
    for name, size, taken in zip(systems, sizes, zip(*rounds, strict=True), strict=True):
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


def _seconds(work: Callable[[], Any]) -> float:
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def without(keep: np.ndarray, ids: np.ndarray, offsets: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Bags without the rows that ``keep``, bool (V,), does not name."""
    there = keep[ids]
    sums = np.concatenate([[0], np.cumsum(there)]).astype(np.uint64)
    return ids[there], sums[offsets.astype(np.int64)]


def lengths(vocabulary: Vocabulary) -> np.ndarray:
    """Tokens of each n-gram, int64 (V,)."""
    return np.array([vocabulary[i].count(" ") + 1 for i in range(len(vocabulary))])
