"""Accuracy against the size of the corpus: 1, 3, 10, 30 and 100 percent of it, drawn at random."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from sparsedistill.format import read_json, replacing, write_json
from sparsedistill.progress import say
from sparsedistill.run import Run

from .. import records
from ..study import main
from ..task import Task, decided, dev_figure

SHARES = (0.01, 0.03, 0.1, 0.3, 1.0)
SEEDS = (0, 1, 2)


def measure(task: Task) -> dict[str, Any]:
    """By share: texts of the corpus, and accuracies of the students by seed."""
    found: dict[str, Any] = {}
    for share in SHARES:
        found[f"{share:g}"] = {str(seed): _one(task, share, seed) for seed in SEEDS}
    return found


def _one(task: Task, share: float, seed: int) -> dict[str, Any]:
    """The students of a part of the corpus; what the teacher said already stands beside the texts."""
    directory = task.directory / "corpus_size" / f"{share:g}-{seed}"
    known = directory.with_name(f"{directory.name}.json")
    run = Run(directory, _settings(task, share, seed, directory))
    run.check()
    key = records.measured(task, run.key("compress.kd_ft"))
    if known.exists() and read_json(known)["key"] == key:
        shutil.rmtree(directory)
        return dict(read_json(known)["figures"])
    run.execute(("label", "count", "distill", "finetune", "compress"))
    figures: dict[str, Any] = {"texts": run.data["corpus"]["texts"]}
    for name in run.students:
        figures[name] = {"accuracy": task.accuracies(decided(task, run, name)), "dev": dev_figure(run, name)}
    write_json(known, {"key": key, "figures": figures})
    shown = ", ".join(f"{name} {next(iter(figures[name]['accuracy'].values())):.2%}" for name in run.students)
    say(f"{task.key} with {share:.0%} of the corpus (seed {seed}): {shown}")
    shutil.rmtree(directory)
    return figures


def _settings(task: Task, share: float, seed: int, directory: Path) -> Any:
    # What the teacher said is all that there is of it here: it can be asked neither about n-grams nor about pieces.
    settings = task.settings(
        distill__modes=["kd_private", "kd"], distill__student_seed=seed, distill__init="random", label__random_crops=0,
        compress__max_loss=1.0,
    )  # fmt: skip
    files = {}
    for part in ("corpus", "train", "dev"):
        path = files[part] = directory / "told" / f"{part}.parquet"
        texts = [text for batch, _ in task.inputs.batches(part) for text in batch]
        scores = task.run.teacher_logits(part)
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
    data = replace(
        settings.data, text="text", labels=task.inputs.labels, **{part: (str(path),) for part, path in files.items()}
    )
    return replace(settings, data=data, teach=replace(settings.teach, teacher="column:scores"))


if __name__ == "__main__":
    main(__doc__, ("sst2", "trec50", "agnews"), measure)
