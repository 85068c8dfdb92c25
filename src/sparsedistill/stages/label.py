"""Have the teacher score the texts: its logits, in shards."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterable, Iterator
from typing import TYPE_CHECKING, Any

import numpy as np

from ..data.records import Places
from ..errors import RowError
from ..options import scores_of
from ..teacher.logits import Logits
from ..teacher.logits import label as write_shards
from . import crops
from .keys import digest
from .teach import teacher_inputs

if TYPE_CHECKING:
    from ..run import Run

HELP = "score the texts with the teacher: its logits"


def inputs(run: Run, name: str) -> dict[str, Any]:
    """What the logits of a part depend on."""
    return {
        "teacher": teacher_inputs(run),
        "texts": run.texts_of(name),
        "scores": run.facts(name).get("scores"),
    }


def execute(run: Run) -> None:
    """Score corpus, train and dev, as far as a student or a choice needs them."""
    if not run.settings.needs_teacher:
        return
    settings = run.settings
    parts = {part for mode in settings.distill.modes for part in settings.labelled_parts(mode)}
    if run.teacher_answers or not run.inputs.has_dev or run.several:
        parts.add("dev")
    for part in sorted(parts):
        label_part(run, part)


def label_part(run: Run, part: str) -> None:
    """Score ``corpus``, ``train``, ``crops``, ``dev`` or ``test``."""
    if part == "crops":
        crops.write(run)
    directory = run.directory / "logits" / part
    settings, total = run.settings.label, run.facts(part)["texts"]

    def work() -> dict[str, Any]:
        trail, waiting = _Trail(settings.shard_size), list[np.ndarray]()
        assert run.kind is not None
        # A shard is good for the teacher, labels and task it was made with, and no other; nor for other scores.
        made_of: Any = teacher_inputs(run)
        if run.kind.columns:
            if not run.several:
                shutil.rmtree(directory, ignore_errors=True)
            score, batches = _column_scores(run, part, trail, waiting)
            name, precision = run.kind.name, "given"
            made_of = [made_of, run.facts(part).get("scores")] if run.several else made_of
        else:
            score, precision = run.teacher.logits, run.teacher.precision
            batches = (texts for texts, _ in trail.along(run.inputs.placed(part)))
            name = f"{run.teacher.name} {precision}"
        logits = write_shards(
            score, batches, directory, teacher=f"{name} {digest(made_of)[:12]}", classes=len(run.inputs.labels),
            shard_size=settings.shard_size, total=total, what=f"label {part}", place=trail.place,
            dtype=score_type(run), partial=run.several is not None,
            skipped=lambda texts: waiting.__delitem__(slice(texts)),
        )  # fmt: skip
        return {"texts": len(logits), "teacher": name, "precision": precision}

    run.once(f"label.{part}", [directory / "manifest.json"], work)


def score_type(run: Run) -> str:
    """Of the teacher's outputs: scores in float64, for float32 may lose what they differ by."""
    result: str = np.dtype(run.task.scores_type).name
    return result


def stored(run: Run, part: str) -> np.ndarray:
    """The logits (n, C) of a part that has been labelled."""
    run.result_of(f"label.{part}")
    return np.asarray(Logits.load(run.directory / "logits" / part).array())


def _column_scores(
    run: Run, part: str, trail: _Trail, waiting: list[np.ndarray]
) -> tuple[Callable[[list[str]], np.ndarray], Iterator[list[str]]]:
    """(score, batches) of the scores that stand beside the texts: they wait in ``waiting`` until these are scored."""
    from ..teacher.scores import to_logits

    def batches() -> Iterator[list[str]]:
        for texts, scores in trail.along(run.inputs.placed(part)):
            waiting.extend(() if scores is None else scores)
            yield texts

    assert run.kind is not None
    columns, several, scores = run.kind.columns, run.several, run.settings.label.scores

    def taken(texts: list[str]) -> np.ndarray:
        values = np.stack(waiting[: len(texts)])
        del waiting[: len(texts)]
        return values

    def score(texts: list[str]) -> np.ndarray:
        return to_logits(taken(texts), scores, run.settings.data.task, f"column {columns['']!r} of {part}")

    def of_heads(texts: list[str]) -> np.ndarray:
        """Those of the heads whose teachers are columns, and of the functions that are the others'."""
        assert several is not None
        values: np.ndarray = taken(texts)
        result: np.ndarray = run.teacher.logits(texts)
        for head in several.heads:
            rows = np.flatnonzero(head.there(values))
            if head.name in columns and len(rows):
                where = f"column {columns[head.name]!r} of {part}"
                own = scores_of(run.settings.heads[head.name], run.settings.label)
                try:
                    result[rows, head.outputs] = to_logits(values[rows, head.outputs], own, head.task.name, where)
                except RowError as error:
                    raise RowError(error.where, int(rows[error.row]), error.what) from None
        return result

    return of_heads if several else score, batches()


class _Trail:
    """Where the texts that went by last stand: at least ``most`` of them before the last batch, and that."""

    def __init__(self, most: int):
        self._most, self._seen = most, 0
        self._parts: list[tuple[int, Places]] = []  # number of the first text, places

    def along(self, placed: Iterable[tuple[list[str], Any, Places]]) -> Iterator[tuple[list[str], Any]]:
        """What goes by, less the places."""
        for texts, scores, places in placed:
            while self._parts and self._parts[0][0] + len(self._parts[0][1]) <= self._seen - self._most:
                self._parts.pop(0)
            self._parts.append((self._seen, places))
            self._seen += len(texts)
            yield texts, scores

    def place(self, i: int) -> str:
        """File and row of text ``i``, counted from 0."""
        return next(places[i - first] for first, places in reversed(self._parts) if i >= first)
