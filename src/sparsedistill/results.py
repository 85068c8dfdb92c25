"""Results as columns: of texts, and of the parts of texts, as lists of structs or as a flat table."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

from .abstain import Abstention
from .classifier import Classifier
from .errors import require
from .heads import Head
from .parts import Decided, Parts, decided, parts_of


def columns_of(
    answers: Iterable[Decided], proba: bool = False, top_k: int | None = None,
    limits: Mapping[str, Abstention] | None = None, known: np.ndarray | None = None,
) -> dict[str, Any]:  # fmt: skip
    """Columns of n values of what heads have decided for n texts or parts, with NAME. before a head's name.

    They are ``predicted``, which is what :meth:`Classifier.predict` gives, for the task "single" also its
    ``probability``; ``proba`` adds ``p(LABEL)`` of every label, ``top_k`` the lists ``top_labels`` and
    ``top_probabilities`` of the K likeliest. A regression has the first of these alone. Where a head may abstain, by
    ``limits``, ``abstained`` says whether it does, for "multi" behind its ``confidence``; where that goes by the shares
    of ``known`` n-grams, they are in ``known``.
    """
    columns: dict[str, Any] = {}
    for one in answers:
        own = _columns_of(one, proba, top_k)
        if limit := (limits or {}).get(one.head.name):
            confidence = one.head.confidence(one.values)
            own |= {"confidence": confidence} if one.head.task == "multi" else {}
            own |= {"known": known} if limit.known else {}
            own["abstained"] = limit.doubtful(confidence, known)
        columns |= {_before(one.head) + name: values for name, values in own.items()}
    return columns


def _before(head: Head) -> str:
    """What stands before the names of a head's columns."""
    return f"{head.name}." if head.name else ""


def _columns_of(answer: Decided, proba: bool, top_k: int | None) -> dict[str, Any]:
    columns: dict[str, Any] = {"predicted": answer.predicted}
    head, values = answer.head, answer.values
    if head.task == "regression":
        return columns
    if head.task == "single":
        columns["probability"] = values.max(axis=1)
    if proba:
        columns |= {f"p({label})": values[:, i] for i, label in enumerate(head.labels)}
    if top_k:
        best = answer.ranked()[:, :top_k]
        columns["top_labels"] = np.array(head.labels, object)[best].tolist()
        columns["top_probabilities"] = np.take_along_axis(values, best, axis=1).tolist()
    return columns


def kinds_of(heads: Iterable[Head]) -> dict[str, str]:
    """What is in the columns that are no probabilities, as :func:`arrow_type` calls it."""
    kinds = {"single": "name", "multi": "names", "regression": "score"}
    return dict.fromkeys(("document", "start", "end"), "index") | {"cut": "name"} | {
        _before(head) + name: kind
        for head in heads
        for name, kind in (
            ("predicted", kinds[head.task]),
            ("top_labels", "names"),
            ("abstained", "flag"),
            ("top_probabilities", "probabilities"),
        )
    }  # fmt: skip


def arrow_type(kind: Any) -> Any:
    """The Arrow type of results: one name, names, a score, an index, a flag, probabilities, or "", one probability.

    Of parts, where it is a dict of the kinds of their columns, by name: a list of structs.
    """
    pa = require("pyarrow", "arrow")
    if isinstance(kind, dict):
        return pa.list_(pa.struct([pa.field(name, arrow_type(one)) for name, one in kind.items()]))
    return {
        "name": pa.string(),
        "names": pa.list_(pa.string()),
        "score": pa.float32(),
        "index": pa.int64(),
        "flag": pa.bool_(),
        "probabilities": pa.list_(pa.float64()),
        "": pa.float64(),
    }[kind]


def offset_columns(parts: Parts) -> dict[str, Any]:
    """``start`` and ``end`` of each part."""
    return {"start": parts.offsets[:, 0], "end": parts.offsets[:, 1]}


def nested(parts: Parts, columns: dict[str, Any]) -> list[list[dict[str, Any]]]:
    """For each text its parts, each a dict of what ``columns`` have for it."""
    rows = zip(*(v.tolist() if isinstance(v, np.ndarray) else v for v in columns.values()), strict=True)
    return list(parts.split([dict(zip(columns, row, strict=True)) for row in rows]))


def nested_arrow(parts: Parts, columns: dict[str, Any], kinds: dict[str, str]) -> Any:
    """The same as an Arrow array, ``list<struct<...>>``; ``kinds`` as of :func:`kinds_of`."""
    pa = require("pyarrow", "arrow")
    held = arrow_type({name: kinds.get(name, "") for name in columns})
    fields = list(held.value_type)
    arrays = [pa.array(columns[field.name], field.type) for field in fields]
    offsets = np.concatenate([[0], np.cumsum(parts.counts)]).astype(np.int32)
    return pa.ListArray.from_arrays(pa.array(offsets), pa.StructArray.from_arrays(arrays, fields=fields), type=held)


def parts_array(
    classifier: Classifier, texts: Any, parts: str, offsets: str = "characters", threads: int = 0, nulls: str = "error"
) -> Any:
    """Results of the parts of n texts as a pyarrow array of n ``list<struct<start, end, predicted, probability>>``.

    The fields of a struct after ``start`` and ``end`` (int64) are the columns that ``sparsedistill predict`` writes:
    ``probability`` is there for single-label heads, and where heads have names all but the offsets begin with them, as
    ``topic.predicted``. The arguments and errors are those of :meth:`Classifier.predict`.
    """
    found = parts_of(classifier, texts, parts, offsets, threads, nulls)
    columns = offset_columns(found) | columns_of(decided(classifier.heads, found.logits))
    return nested_arrow(found, columns, kinds_of(classifier.heads))


def parts_table(
    classifier: Classifier, texts: Any, parts: str, offsets: str = "characters", threads: int = 0, nulls: str = "error"
) -> Any:
    """The same as a pyarrow table with a row a part, whose column ``document`` is the number of its text, from 0 on."""
    pa, kinds = require("pyarrow", "arrow"), kinds_of(classifier.heads)
    found = parts_of(classifier, texts, parts, offsets, threads, nulls)
    columns = {"document": found.text_of} | offset_columns(found)
    columns |= columns_of(decided(classifier.heads, found.logits))
    return pa.table({name: pa.array(values, arrow_type(kinds.get(name, ""))) for name, values in columns.items()})
