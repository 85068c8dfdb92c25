"""Accuracy against the size of the corpus: 1, 3, 10, 30 and 100 percent of it, drawn at random."""

from __future__ import annotations

import statistics
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from ..cells import COLOURS, SYSTEMS, Table, mean, percent
from ..cells import TASKS as TITLES
from ..package import Run, Settings, replacing
from ..records import Recorded
from ..study import measured
from ..task import Task

TITLE = "Size of the corpus"
NOTE = "Three draws of each size; all tables are initialised at random, and there are no random crops of train."
TASKS = ("sst2", "trec50", "agnews")
AXES = "texts of the corpus", "accuracy, %"
SHARES = (0.01, 0.03, 0.1, 0.3, 1.0)
SEEDS = (0, 1, 2)
STUDENTS = ("kd_private", "kd", "kd_ft")


def measure(task: Task) -> dict[str, Any]:
    """By share and seed: texts of the corpus, and the figures of the students."""
    return {f"{share:g}": {str(seed): _one(task, share, seed) for seed in SEEDS} for share in SHARES}


def _one(task: Task, share: float, seed: int) -> dict[str, Any]:
    """The students of a part of the corpus; the teacher's logits stand beside the texts."""
    directory = task.directory / "corpus_size" / f"{share:g}-{seed}"
    run = Run(directory, _settings(task, share, seed, directory / "texts"))
    run.check()
    texts = run.data["corpus"]["texts"]
    return {"texts": texts, **measured(task, run, ("label", "count", "distill", "finetune", "compress"))}


def _settings(task: Task, share: float, seed: int, folder: Path) -> Settings:
    # The teacher's logits are all that there is of it here: of neither n-grams nor random crops.
    settings = task.settings(
        distill__modes=["kd_private", "kd"], distill__student_seed=seed, distill__init="random", label__random_crops=0,
        compress__max_loss=1.0,
    )  # fmt: skip
    files = {}
    for part in ("corpus", "train", "dev"):
        path = folder / f"{part}.parquet"
        texts, scores = task.texts(part), task.run.teacher_logits(part)
        chosen = np.arange(len(texts))
        if part == "corpus":
            draw = np.random.default_rng([seed, 7]).permutation(len(texts))
            chosen = np.sort(draw[: max(1, round(share * len(texts)))])
        table = {"text": [texts[i] for i in chosen], "scores": list(scores[chosen])}
        if part != "corpus":
            labels = task.inputs.labels
            table[task.inputs.settings.data.label[0]] = [labels[i] for i in task.inputs.part(part).targets]
        with replacing(path) as temporary:
            pq.write_table(pa.table(table), temporary)
        files[part] = (str(path),)
    data = replace(settings.data, text="text", labels=task.inputs.labels, **files)
    return replace(settings, data=data, teach=replace(settings.teach, teacher="column:scores"))


def _accuracies(seeds: dict[str, Any], name: str) -> list[float]:
    return [percent(one[name]["accuracy"]) for one in seeds.values()]


def tables(study: dict[str, Any], results: dict[str, Recorded]) -> list[Table]:
    """A task and student a row, a share a column."""
    head = ["of the corpus", *(f"{100 * float(share):g} %" for share in next(iter(study.values())))]
    rows = [
        [f"{TITLES[key]}, {SYSTEMS[name]}", *(mean(_accuracies(seeds, name)) for seeds in one.values())]
        for key, one in study.items() for name in STUDENTS
    ]  # fmt: skip
    return [[head, *rows]]


def draw(axes: Any, figures: dict[str, Any], record: Recorded) -> None:
    """A line a student."""
    axes.set_xscale("log")
    sizes = [next(iter(seeds.values()))["texts"] for seeds in figures.values()]
    for colour, name in zip(COLOURS, STUDENTS, strict=True):
        means = [statistics.fmean(_accuracies(seeds, name)) for seeds in figures.values()]
        axes.plot(sizes, means, "o-", ms=3, color=colour, label=SYSTEMS[name])
