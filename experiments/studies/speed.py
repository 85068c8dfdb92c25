"""Accuracy against speed, the paper's first figure: all systems of a task from raw text to label, one CPU thread."""

from __future__ import annotations

import os
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from ..cells import COLOURS, SYSTEMS, Table, by_system, digits, rate, small
from ..package import TransformerTeacher
from ..records import Recorded
from ..study import System, first_seed, timed
from ..systems import BASELINES, NETWORKS, baseline_of
from ..task import Task

TITLE = "Accuracy against speed"
NOTE = (
    "From raw text to label, tokenisation included, for all systems (fastText's texts are lower-cased beforehand, in "
    "its favour); one CPU thread, in turns of some seconds over the test texts and texts of the corpus with the "
    "lengths of these; ± half of what lies between slowest and fastest turn, where that is above 10 %; in small print "
    "the multiple of the teacher's speed. The paper's: on 56 cores, without tokenisation, where the student is 663 "
    "times as fast as its teacher on IMDB, 741 times on SST-2."
)
TASKS = ("imdb", "sst2", "trec6", "trec50", "agnews", "tweets", "mrpc")
AXES = "texts a second, one CPU thread", "accuracy, %"
# The paper's texts a second on 56 cores, batches of 32, tokenisation left out.
THEIRS = {
    "the paper, IMDB": {
        "teacher": 1.4, "kd_ft": 923, "transformer_student": 7.8, "transformer_finetuned": 10.7, "bilstm": 31,
        "bilstm_256": 52, "bilstm_64": 101, "bilstm_4": 146, "cnn": 251,
    },
    "the paper, SST-2": {
        "teacher": 22, "kd_ft": 16479, "transformer_student": 186, "transformer_finetuned": 61, "bilstm": 394,
        "bilstm_256": 679, "bilstm_64": 1379, "bilstm_4": 2015, "cnn": 3820,
    },
}  # fmt: skip


def measure(task: Task) -> dict[str, Any]:
    """What :func:`..study.timed` finds of the task's systems, tokenisation and all."""
    import torch

    os.environ["TOKENIZERS_PARALLELISM"] = "false"  # no threads of theirs
    systems = _systems(task)
    torch.set_num_threads(1)  # last: loading the others sets it too
    return timed(task, systems)


def _systems(task: Task) -> dict[str, System]:
    """Every system that is trained.

    fastText's texts are lower-cased and their line breaks removed beforehand, in its favour; the others take them raw.
    """
    run, chosen = first_seed(task)
    settings = task.run.settings.teach
    found: dict[str, System] = {}

    def transformer(path: Path) -> System:
        return list, TransformerTeacher(
            path, settings=settings, labels=task.inputs.labels, are_pairs=task.run.are_pairs
        ).logits

    found["teacher"] = transformer(task.directory / "teacher")
    for name in dict.fromkeys(("scratch", chosen)):
        found[name] = run.for_classifier, partial(run.classifier(name).predict, threads=1)
    from .. import neural  # noqa: F401 (makes its networks known)

    for name in NETWORKS:
        trained = task.directory / "networks" / f"{name}-0" / "trained"
        if (trained / "training.json").exists():
            found[name] = transformer(trained)
    test = task.inputs.part("test")
    truth = dict(zip(test.texts, test.targets, strict=True))
    for name in BASELINES:
        baseline = baseline_of(task, name, 0)
        baseline.load()

        def prepare(texts: list[str], baseline: Any = baseline) -> list[str]:
            gold = np.array([truth.get(text, 0) for text in texts])
            baseline.warm(texts, gold)  # fastText looks for its fastest way
            return baseline.prepare(texts)

        found[name] = prepare, baseline.label
    return found


def tables(study: dict[str, Any], results: dict[str, Recorded]) -> list[Table]:
    """A system a row, a task a column."""

    def cell(name: str, key: str) -> str:
        if key in THEIRS:
            return small(THEIRS[key].get(name, ""))[0]
        figures = study[key]
        if name not in figures or name not in results[key].systems:  # speed says nothing without accuracy
            return ""
        times = figures[name]["texts_per_second"] / figures["teacher"]["texts_per_second"]
        return rate(figures[name]) + (f" <small>{digits(times, 2)} x</small>" if name != "teacher" else "")

    return [by_system([*study, *THEIRS], cell, "texts a second")]


def draw(axes: Any, figures: dict[str, Any], record: Recorded) -> None:
    """A mark a system: the sparse students orange, other students blue, baselines green."""
    axes.set_xscale("log")
    blue, orange, green = COLOURS
    colours = dict.fromkeys(NETWORKS, blue) | dict.fromkeys(BASELINES, green) | {"teacher": "#444444"}
    for mark, name in zip("*vosoDo^v<>Ps^X", SYSTEMS, strict=True):
        if name in figures and name in record.systems:
            x, y, colour = figures[name]["texts_per_second"], 100 * record.mean(name), colours.get(name, orange)
            axes.scatter(x, y, s=26, marker=mark, color=colour, label=SYSTEMS[name])
