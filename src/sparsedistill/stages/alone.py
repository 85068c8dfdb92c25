"""Classifiers of one head each, which those of several are compared with: the same texts and scores, learnt alone."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ..data import pairs
from ..errors import require
from ..format import read_json, replacing
from ..options import Head
from ..tasks import TaskHead

if TYPE_CHECKING:
    from ..run import Run

_BATCH = 1 << 15


def figures(run: Run) -> dict[str, dict[str, Any]]:
    """Of each head the figures of a classifier of its own, which is made below ``alone/`` of the run directory.

    It has the run's train, dev and test, and the scores of its teacher, which is not asked again.
    """
    assert run.several is not None
    directory = run.directory / "alone"
    directory.mkdir(exist_ok=True)
    files: dict[str, Path] = {
        part: directory / f"{part}.parquet" for part in ("train", "dev", "test", "corpus") if part in run.data
    }
    for part, path in files.items():
        _write(run, part, path)
    return {head.name: _figures(run, head, directory / str(i), files) for i, head in enumerate(run.several.heads)}


def _figures(run: Run, head: TaskHead, directory: Path, files: dict[str, Path]) -> dict[str, Any]:
    settings, taught = run.settings, bool(run.settings.heads[head.name].teacher)
    given: dict[str, Any] = {part: (str(path),) for part, path in files.items() if part != "corpus" or taught}
    given |= {"text": "text", "pair": "second" * run.are_pairs, "weight": "weight" * bool(settings.data.weight)}
    data = dataclasses.replace(
        settings.data, train=(), dev=(), test=(), corpus=(), input_format="auto", skip_missing=False
    )
    gold = "train" in files and run.data["train"]["targets"][head.name] > 0
    modes = [mode for mode in settings.distill.modes if mode != "scratch" or gold] if taught else ["scratch"]
    own = Head(
        task=head.task.name, label=(head.name,), labels=() if head.task.name == "regression" else head.labels,
        teacher=f"column:{_scores_of(head)}" if taught else "",
    )  # fmt: skip
    alone = type(run)(
        directory,
        dataclasses.replace(
            settings,
            data=dataclasses.replace(data, **given),
            teach=dataclasses.replace(settings.teach, teacher=""),
            label=dataclasses.replace(settings.label, scores="logits", random_crops=0),
            distill=dataclasses.replace(settings.distill, modes=tuple(modes)),
            evaluate=dataclasses.replace(settings.evaluate, compare_heads=False, resamples=0),
            heads={head.name: own},
        ),
    )
    alone.execute()
    result = read_json(directory / "metrics.json")
    found: dict[str, Any] = result["systems"][result["selected"]]["heads"].get(head.name, {})
    return found


def _scores_of(head: TaskHead) -> str:
    return f"scores of {head.name}"


def _write(run: Run, part: str, path: Path) -> None:
    """A part as a file: texts, weights, and of each head a column of targets and one of its teacher's scores."""
    assert run.several is not None
    pa, parquet = require("pyarrow", "train"), require("pyarrow.parquet", "train")
    targets, weights = None, None
    batches: Iterable[list[str]]
    if part == "corpus":
        batches = run.inputs.texts("corpus")
    else:
        texts, targets = (
            run.selection_set() if part == "dev" else (run.inputs.part(part).texts, run.inputs.part(part).targets)
        )
        batches = [texts]
        if part == "train" and run.settings.data.weight:
            weights = run.inputs.part("train").extra[run.settings.data.weight]
    logits = run.teacher_logits(part) if part in ("train", "corpus") and run.settings.needs_teacher else None
    with replacing(path) as temporary:
        writer = None
        for begin, some in _cut(batches):
            rows = slice(begin, begin + len(some))
            halves = zip(*pairs.split(some), strict=True) if run.are_pairs else [some]
            columns = dict(zip(("text", "second"), map(list, halves), strict=False))
            types = {name: pa.large_string() for name in columns}
            if weights is not None:
                columns["weight"], types["weight"] = weights[rows], pa.float64()
            for head in run.several.heads:
                if targets is not None:
                    columns[head.name] = _cells(head, targets[rows])
                    named = pa.list_(pa.string()) if head.task.name == "multi" else pa.string()
                    types[head.name] = pa.float64() if head.task.name == "regression" else named
                if logits is not None:
                    there = head.there(logits[rows])
                    values = logits[rows, head.outputs].tolist()
                    columns[_scores_of(head)] = [v if yes else None for v, yes in zip(values, there, strict=True)]
                    types[_scores_of(head)] = pa.list_(pa.float64())
            table = pa.table(columns, schema=pa.schema(list(types.items())))
            writer = writer or parquet.ParquetWriter(temporary, table.schema, compression="zstd", compression_level=1)
            writer.write_table(table)
        assert writer is not None
        writer.close()


def _cells(head: TaskHead, targets: np.ndarray) -> list[Any]:
    """Targets as a file has them: a name, a list of names or a score; None where there is none."""
    cells: list[Any] = []
    for there, row in zip(head.there(targets).tolist(), targets[:, head.outputs].tolist(), strict=True):
        names = [label for label, target in zip(head.labels, row, strict=True) if target > 0.5]
        cell = {"single": names[0] if names else None, "multi": names}.get(head.task.name, row[0])
        cells.append(cell if there else None)
    return cells


def _cut(batches: Iterable[list[str]]) -> Iterator[tuple[int, list[str]]]:
    """Pieces of the texts, with the number of the first."""
    begin = 0
    for texts in batches:
        for first in range(0, len(texts), _BATCH):
            some = texts[first : first + _BATCH]
            yield begin, some
            begin += len(some)
