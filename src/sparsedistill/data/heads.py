"""Texts with targets of several heads, read into memory: each head has columns of its own, and may lack targets."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from ..errors import DataError, SettingsError
from ..options import Data, Head
from ..several import Several
from .files import Form, say_once, several
from .labelled import Labelled, assigned, label_columns, parsed_cells, parser_of, say_what_was_read, weights_of
from .records import Batch, Places, Reader, skipping


def data_of(data: Data, head: Head) -> Data:
    """The options of reading with what the head has of its own."""
    return dataclasses.replace(data, **read_by(head))


def read_by(head: Head) -> dict[str, Any]:
    """What of a head's options says how its targets are read."""
    return {name: getattr(head, name) for name in ("task", "label", "labels", "label_separator")}


def opened(sources: Sequence[str], data: Data, needed: Sequence[str], optional: Sequence[str]) -> Reader:
    """Files of texts with these columns, of which the ``optional`` ones need not be in all files."""
    return Reader(
        sources, data.text, [*needed, *optional], encoding_errors=data.encoding_errors, form=Form.of(data),
        skipped=skipping(data), optional=optional,
    )  # fmt: skip


def cells(batch: Batch, column: str) -> list[Any]:
    """A column as what it means; nothing but None where the file lacks it."""
    try:
        return batch.named(column)
    except KeyError:
        return [None] * len(batch.rows)


def label_columns_of(data: Data, heads: Mapping[str, Head]) -> tuple[str, ...]:
    """The columns of all heads' labels, each once."""
    named = [name for head in heads.values() for name in label_columns(data_of(data, head))]
    return tuple(dict.fromkeys(named))


def labelled(
    reader: Reader,
    data: Data,
    heads: Mapping[str, Head],
    columns: Sequence[str],
    name: str,
    labels: Callable[[str], tuple[str, ...] | None],
    known: Several | None,
    multi_hot_of: Mapping[str, bool | None],
) -> Labelled:
    """Read the part ``name`` as :func:`sparsedistill.data.labelled.labelled` does, for each of the heads.

    A cell with nothing in it (null, blank, an empty list of a head that has one label) is no target; of several columns
    one such cell is enough. No label at all is an empty list, or the separator alone. ``labels`` gives those of a head
    where no text has a target of it. ``known``: the heads of train, whose labels are those of all parts, and
    ``multi_hot_of`` them whether lists are so.

    Errors: those of one task, naming the head; :class:`SettingsError` for labels that nothing tells.
    """
    texts, found, where = _read(reader, data, [*label_columns_of(data, heads), *columns])
    targets: dict[str, tuple[np.ndarray, np.ndarray]] = {}
    classes: dict[str, tuple[str, ...]] = {}
    multi_hot: dict[str, bool | None] = {}
    for head_name, head in heads.items():
        given = None if known is None else _labels_of(known, head_name)
        try:
            rows, own, classes[head_name], multi_hot[head_name] = _of_head(
                found, data_of(data, head), given, where, several(reader.sources),
                multi_hot_of.get(head_name),
            )  # fmt: skip
        except (DataError, SettingsError) as error:
            raise type(error)(f"head {head_name!r}: {error}") from None
        classes[head_name] = classes[head_name] or labels(head_name) or ()
        if not classes[head_name]:
            raise _without_labels(head_name, head, name)
        targets[head_name] = rows, own
    task = Several.of(heads, classes)
    values = np.full((len(texts), task.outputs(())), np.nan, task.scores_type)
    for one in task.heads:
        rows, own = targets[one.name]
        if len(rows):
            values[rows, one.outputs] = one.spread(own)
    lacking = [f"{one.name} {int(one.there(values).sum()):,}" for one in task.heads]
    say_once(f"{name}: {len(texts):,} texts, with a target of {', '.join(lacking)}")
    extra = {column: found[column] for column in columns}
    return Labelled(texts, values, task.labels, extra, where, multi_hot, task)


def _read(reader: Reader, data: Data, columns: Sequence[str]) -> tuple[list[str], dict[str, list[Any]], Places]:
    """Texts, the cells of the columns, and places."""
    texts: list[str] = []
    found: dict[str, list[Any]] = {column: [] for column in dict.fromkeys(columns)}
    places: list[tuple[str, Sequence[int]]] = []
    for batch in reader:
        texts += batch.texts
        places.append((batch.source, batch.rows))
        for column, rest in found.items():
            theirs = cells(batch, column)
            rest += weights_of(theirs, column, Places(places[-1:])) if column == data.weight else theirs
    where = Places(places)
    say_what_was_read(reader, texts, where)
    return texts, found, where


def _without_labels(name: str, head: Head, part: str) -> DataError | SettingsError:
    if not head.teacher:
        return without_targets(name, head, part)
    return SettingsError(
        f"head {name!r}: no text of {part} has a label of it, so their names are not known: give labels in "
        f"[heads.{name}], in the order of the teacher's classes"
    )


def without_targets(name: str, head: Head, part: str) -> DataError:
    """The error for a head that nothing can be learnt of."""
    return DataError(
        f"no text of {part} has a target of head {name!r} (column {', '.join(head.label)}), and it has no teacher to "
        "learn from: name the right column with label, give files that have it, or leave the head out"
    )


def _labels_of(task: Several, name: str) -> tuple[str, ...]:
    return next(head.labels for head in task.heads if head.name == name)


def _of_head(
    found: Mapping[str, list[Any]],
    data: Data,
    labels: tuple[str, ...] | None,
    where: Places,
    files: str,
    multi_hot: bool | None,
) -> tuple[np.ndarray, np.ndarray, tuple[str, ...], bool | None]:
    """(rows that have a target, targets as the task has them, labels, of which () are not known, multi-hot)."""
    named = label_columns(data)
    lists = data.task == "multi" and len(named) == 1
    missing = np.any([[nothing(value, lists) for value in found[column]] for column in named], axis=0)
    rows = np.flatnonzero(~missing)
    if not len(rows):
        own = ("score",) if data.task == "regression" else tuple(labels or data.labels or (named[1:] and named))
        return rows, np.zeros(0), own, multi_hot
    of_rows, parse = where.take(rows), parser_of(data)
    parsed = [parsed_cells([found[column][i] for i in rows], parse, column, of_rows) for column in named]
    values = parsed[0] if len(named) == 1 else list(zip(*parsed, strict=True))
    return rows, *assigned(values, data, labels, of_rows, files, multi_hot)


def nothing(value: Any, lists: bool = False) -> bool:
    """Whether a cell holds no target; ``lists``: an empty list is one of no labels."""
    if value is None or (isinstance(value, float) and value != value):
        return True
    return not value.strip() if isinstance(value, str) else not lists and isinstance(value, list) and not value


def strata(part: Labelled) -> np.ndarray:
    """Targets by which dev is held out: of several heads 0 and 1, of scores whether they are above the median."""
    if part.several is None:
        return part.targets
    values: np.ndarray = part.targets.copy()
    for i in part.several.scores:
        there = ~np.isnan(values[:, i])
        if there.any():
            values[there, i] = values[there, i] > np.median(values[there, i])
    return values


def own_parts(part: Labelled) -> list[tuple[str, Labelled]]:
    """Of each head the texts that have a target of it, as a part of its task alone; of one task the part itself."""
    if part.several is None:
        return [("", part)]
    parts = []
    for head in part.several.heads:
        rows = np.flatnonzero(head.there(part.targets))
        own = Labelled(
            [part.texts[i] for i in rows], head.own(part.targets[rows]), head.labels, {}, part.places.take(rows)
        )
        parts.append((head.name, own))
    return parts
