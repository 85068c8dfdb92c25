"""Texts with gold labels, read into memory."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np

from ..errors import DataError, SettingsError
from ..options import TASKS, Data
from ..several import Several
from .files import Form, no_text, say_once, several
from .labels import are_multi_hot, is_integer, is_number, names_of, one_name, score, sorted_names, zero_or_one
from .records import Places, Reader, skipping


@dataclass(frozen=True)
class Labelled:
    """Texts with their gold labels.

    ``targets`` is int64 (n,) of class indices for single, float32 (n, C) of 0 and 1 for multi, float64 (n,) for
    regression; ``labels`` names the C classes in their order (``("score",)`` for regression); ``extra`` holds the
    further columns asked for; ``places`` says where each text stands. ``multi_hot`` says whether lists of numbers were
    read as a 0 or 1 for each class, or as indices and names; None where there was nothing to tell.

    Of ``several`` heads the targets are those of :class:`sparsedistill.several.Several`, ``labels`` its, and
    ``multi_hot`` is a dict with that of each.
    """

    texts: list[str]
    targets: np.ndarray
    labels: tuple[str, ...]
    extra: dict[str, list[Any]]
    places: Places
    multi_hot: Any = None
    several: Several | None = None


def opened(sources: Sequence[str], data: Data, columns: Sequence[str] = (), blank: bool = False) -> Reader:
    """Files of labelled texts, and of further ``columns``, for :func:`labelled` to read; ``blank``: as of
    :func:`sparsedistill.data.records.skipping`.
    """
    named = label_columns(data)
    return Reader(
        sources, data.text, [*named, *columns], encoding_errors=data.encoding_errors, label=named[0],
        form=Form.of(data), skipped=skipping(data, named, blank),
    )  # fmt: skip


def labelled(
    sources: Sequence[str] | Reader,
    data: Data,
    labels: Sequence[str] | None = None,
    columns: Sequence[str] = (),
    multi_hot: bool | None = None,
) -> Labelled:
    """Read texts and gold labels into memory, from files or what :func:`opened` has opened with the same ``columns``.

    The classes are ``labels`` (those of train, say), else ``data.labels``, else the distinct names found, sorted
    (integers as numbers). A label that is no string stands for its ``str``; spaces around a name are not part of it.
    Where ``data.labels`` are given and none of them is an integer, integers 0..C-1 in the data are class indices.

    For the task multi a label is a list of names or indices, a list of C numbers 0 or 1 (multi-hot), or a string:
    names separated by ``data.label_separator``, or a list in brackets as Python, JSON or numpy writes it. The whole
    column says whether lists of 0 and 1 are indices or multi-hot, and ``multi_hot`` what those of train were. Several
    columns in ``data.label`` hold a 0 or 1 each; the classes are then called as ``data.labels``, else as the columns.

    Errors: :class:`DataError`, with file and row, for a missing label, one that is not among ``labels``, a score that
    is no finite number, or lists that can be read in two ways; :class:`SettingsError` for labels that cannot work.
    """
    if data.task not in TASKS:
        raise SettingsError(f"task {data.task!r} is not known (known: {', '.join(TASKS)})")
    named = label_columns(data)
    reader = sources if isinstance(sources, Reader) else opened(sources, data, columns)
    texts, values, extra, where = _read(reader, data, named, columns)
    targets, classes, multi_hot = assigned(values, data, labels, where, several(reader.sources), multi_hot)
    return Labelled(texts, targets, classes, extra, where, multi_hot)


def assigned(
    values: list[Any], data: Data, labels: Sequence[str] | None, where: Places, files: str, multi_hot: bool | None
) -> tuple[np.ndarray, tuple[str, ...], bool | None]:
    """Targets, labels and whether lists are multi-hot, of what :func:`parser_of` made of the cells of ``files``; see
    :func:`labelled`.
    """
    named = label_columns(data)
    if data.task == "regression":
        return np.array(values, np.float64), ("score",), None
    if len(named) > 1:
        order, classes = _order_of(named, data, labels), tuple(labels or data.labels or named)
        return np.array(values, np.float32)[:, order], classes, None

    column = repr(named[0])
    sets = values if data.task == "multi" else [(value,) for value in values]
    given = tuple(name.strip() for name in (data.labels if labels is None else labels)) or None
    if data.task == "multi":
        classes_known = given if labels is None or data.labels or multi_hot is not None else None
        multi_hot = are_multi_hot(sets, where, classes_known, multi_hot, column)
    classes = given or sorted_names({name for names in sets for name in names})
    if len(set(classes)) < len(classes):
        raise SettingsError(f"a label is named twice in {', '.join(classes)}; name each class once")
    if len(classes) < (2 if data.task == "single" else 1):
        what = f"only one label, {classes[0]!r}," if classes else "no label at all"
        raise DataError(
            f"there is {what} in {files} (column {column}), and nothing to learn from it; "
            "add texts of another class, or name the right column with --label"
        )
    if given is None:
        _doubt(sets, classes, files, column, data)
    # With the spaces that count for nothing, as the caller has them.
    shown = tuple(data.labels if labels is None else labels) or classes
    if multi_hot:
        hot = [[name in ("1", "True") for name in names] for names in sets]
        return np.array(hot, np.float32), shown, True
    targets = _targets(sets, classes, data, labels is not None, where)
    return targets, shown, multi_hot if data.task == "multi" else None


def parser_of(data: Data) -> Callable[[Any], Any]:
    """What makes of a cell of a label column what :func:`assigned` takes. It raises ValueError for what is no label."""
    if data.task == "multi":
        return zero_or_one if len(label_columns(data)) > 1 else partial(names_of, separator=data.label_separator)
    return one_name if data.task == "single" else score


def _read(
    reader: Reader, data: Data, named: tuple[str, ...], columns: Sequence[str]
) -> tuple[list[str], list[Any], dict[str, list[Any]], Places]:
    """Texts, labels as :mod:`labels` parses them, further columns, and places."""
    parse = parser_of(data)
    texts: list[str] = []
    values: list[Any] = []
    extra: dict[str, list[Any]] = {name: [] for name in columns}
    places: list[tuple[str, Sequence[int]]] = []
    for batch in reader:
        parsed: list[list[Any]] = []
        for name in named:
            parsed.append(parsed_cells(batch.named(name), parse, name, Places([(batch.source, batch.rows)])))
        values += parsed[0] if len(named) == 1 else zip(*parsed, strict=True)
        texts += batch.texts
        places.append((batch.source, batch.rows))
        for name, rest in extra.items():
            theirs = batch.named(name)
            rest += weights_of(theirs, name, Places(places[-1:])) if name == data.weight else theirs
    where = Places(places)
    say_what_was_read(reader, texts, where)
    return texts, values, extra, where


def say_what_was_read(reader: Reader, texts: list[str], where: Places) -> None:
    """Say what was left out, and which texts are blank. Errors: :class:`DataError` where no text is left."""
    if (skipped := reader.skipped) and skipped.count:
        what = (
            f"{skipped.count:,} rows of {several(reader.sources)} have no text or no label (the first: {skipped.first})"
        )
        if not texts:
            raise DataError(f"all {what}: name the right columns with --text and --label")
        say_once(f"{what} and were left out")
    if not texts:
        raise no_text(reader.sources)
    if blank := [i for i, one in enumerate(texts) if not one or one.isspace()]:
        say_once(
            f"warning: {len(blank):,} of {len(texts):,} texts of {several(reader.sources)} are blank (the first: "
            f"{where[blank[0]]}), and count as texts: --skip-missing leaves them out"
        )


def parsed_cells(cells: Sequence[Any], parse: Callable[[Any], Any], column: str, places: Places) -> list[Any]:
    """What ``parse`` makes of the cells. Errors: :class:`DataError` with the place of the one that is no label."""
    result = []
    for i, value in enumerate(cells):
        try:
            result.append(parse(value))
        except ValueError as error:
            raise DataError(f"the label (column {column!r}) at {places[i]} {error}") from None
    return result


def _targets(
    sets: list[tuple[str, ...]], classes: tuple[str, ...], data: Data, of_train: bool, where: Places
) -> np.ndarray:
    """The targets of sets of names or indices; ``of_train``: the classes are those of train."""
    index = {name: i for i, name in enumerate(classes)}
    # Whether an integer is an index or a name must not depend on the rows at hand: train and dev have to agree.
    if data.labels and not any(is_integer(name) for name in classes):
        index.update({str(i): i for i in range(len(classes))})
    try:
        ids = [[index[name] for name in names] for names in sets]
    except KeyError:
        stranger, at = next((name, where[i]) for i, names in enumerate(sets) for name in names if name not in index)
        known = f"those of train ({several(classes)})" if of_train else f"--labels ({several(classes)})"
        raise DataError(
            f"label {stranger!r} at {at} is not among {known}; correct it, drop the row, or add it to "
            f"{'train or --labels' if of_train else '--labels'}"
        ) from None
    if data.task == "single":
        return np.array(ids, np.int64).reshape(len(ids))
    targets = np.zeros((len(ids), len(classes)), np.float32)
    for row, positives in enumerate(ids):
        targets[row, positives] = 1
    return targets


def weights_of(values: list[Any], column: str, places: Places) -> list[float]:
    """A column of weights as numbers, each checked."""
    numbers = []
    for i, value in enumerate(values):
        try:
            number = float(value)
        except (TypeError, ValueError):
            number = math.nan
        if isinstance(value, bool) or not 0 <= number < math.inf:
            raise DataError(
                f"the weight (column {column!r}) at {places[i]} is {value!r:.60}, not a number of at least 0: correct "
                "it, or drop the row"
            )
        numbers.append(number)
    return numbers


def label_columns(data: Data) -> tuple[str, ...]:
    """The columns of the labels: one, or for the task multi one a class.

    Errors: :class:`SettingsError` for none, for one named twice, and for several where one label is all there is.
    """
    named = (data.label,) if isinstance(data.label, str) else tuple(data.label)
    if not named:
        raise SettingsError("no column of labels is named: give --label")
    if len(set(named)) < len(named):
        raise SettingsError(f"a column is named twice in --label {' '.join(named)}; name each once")
    if len(named) > 1 and data.task != "multi":
        raise SettingsError(f"--label names {len(named)} columns, one a class, which is for --task multi")
    if len(named) > 1 and data.labels and len(data.labels) != len(named):
        raise SettingsError(
            f"--labels names {len(data.labels)} classes, but --label {len(named)} columns; name as many, or leave out "
            "--labels: the classes are then called as the columns"
        )
    if not data.label_separator.strip(" "):
        raise SettingsError("--label-separator is empty; give the character that parts labels, such as '|'")
    return named


def _order_of(named: tuple[str, ...], data: Data, labels: Sequence[str] | None) -> list[int]:
    """The place of each class's column."""
    own = list(data.labels or named)
    if labels is None:
        return list(range(len(own)))
    if sorted(labels) != sorted(own):
        raise SettingsError(
            f"the columns of --label are {several(own)}, but the labels {several(labels)}; name the columns' classes "
            "with --labels, in their order"
        )
    return [own.index(name) for name in labels]


def _doubt(sets: list[Any], classes: tuple[str, ...], where: str, column: str, data: Data) -> None:
    """Say what is odd about the labels that were found; refuse names that hold several."""
    for sign in ";|":
        parts = {name: [part.strip() for part in name.split(sign)] for name in classes if sign in name}
        if data.task == "multi" and sign not in data.label_separator:
            for name, inside in parts.items():
                if not set(classes).isdisjoint(inside):
                    raise DataError(
                        f"label {name!r} in {where} (column {column}) seems to be several: give --label-separator "
                        f"'{sign}', or name all labels with --labels"
                    )
    alike: dict[str, list[str]] = {}
    for name in classes:
        alike.setdefault(" ".join(name.casefold().split()), []).append(name)
    for names in alike.values():
        if len(names) > 1:
            counts = Counter(name for labels in sets for name in labels)
            shown = ", ".join(f"{name!r} ({counts[name]:,})" for name in names)
            say_once(f"labels {shown} in {where} differ in case or spaces alone, and count as different")
    fraction = next((name for name in classes if not is_integer(name)), "")
    if data.task == "single" and fraction and all(map(is_number, classes)):
        say_once(
            f"the labels in {where} (column {column}) are numbers such as {fraction}: are they scores (--task "
            "regression), or is it the wrong column (--label)?"
        )
    elif len(classes) >= max(3, len(sets)) or (len(sets) >= 100 and len(classes) > len(sets) / 2):
        say_once(
            f"there are {len(classes):,} labels for {len(sets):,} texts in {where} (column {column}): is it the wrong "
            "column (--label), or are they scores (--task regression)?"
        )
