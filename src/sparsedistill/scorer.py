"""What is written for texts: they are scored, whole or in parts, and their results put into columns."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from .abstain import Abstention, known_of
from .classifier import Classifier
from .cuts import keeps
from .dolma import attributes_of
from .errors import DataError
from .heads import Head
from .parts import Decided, Parts, decided, parts_of, sure
from .results import columns_of, kinds_of, nested, nested_arrow, offset_columns

if TYPE_CHECKING:
    from .data.records import Batch


@dataclass(frozen=True)
class Spans:
    """What of a text is scored, and how its parts are written: options of ``sparsedistill predict``.

    ``parts`` and ``pool``: those of :meth:`Classifier.predict`; "" where whole texts are scored, and where the parts
    themselves are asked for. ``offsets``: "characters" or "bytes". ``flat``: a record is a part, not a text. ``id``:
    the column that identifies a document in Dolma's format. ``max_bytes``: that of :meth:`Classifier.predict`, or "".
    """

    parts: str = ""
    pool: str = ""
    offsets: str = "characters"
    flat: bool = False
    id: str = "id"
    max_bytes: str = ""


WHOLE = Spans()  # texts


class Scorer:
    """Scores the texts of batches, and makes of that the columns to write as ``kind``.

    ``names``: those of the columns; ``kinds``: what is in them, as :func:`arrow_type` calls it; ``flat``: whether a
    record is a part. ``cut``: a head and one of its cuts, or None. ``limits``: where heads abstain, by name; ``none``:
    what they then give instead of a label (None: nothing).
    """

    def __init__(
        self, classifier: Classifier, kind: str, spans: Spans = WHOLE, *, threads: int = 0, proba: bool = False,
        top_k: int | None = None, prefix: str = "", cut: tuple[Head, dict[str, Any]] | None = None,
        limits: Mapping[str, Abstention] | None = None, none: str | None = None,
    ):  # fmt: skip
        self._classifier, self._kind, self._spans, self._threads = classifier, kind, spans, threads
        self._proba, self._top_k, self._prefix, self._cut = proba, top_k, prefix, cut
        self._limits, self._none = dict(limits or {}), none
        self._known: np.ndarray | None = None  # shares of known n-grams of the texts scored last
        self._empty = classifier._logits([("", "") if classifier.pairs else ""], 1, "error")
        self._documents = 0  # that have been scored
        of_parts = bool(spans.parts) and not spans.pool and kind != "dolma"
        self.flat = of_parts and (spans.flat or kind in ("lines", "csv", "tsv"))
        self._nested = of_parts and not self.flat
        self._of_column = kinds_of(classifier.heads)
        answers, parts, _ = self._answers([])
        kinds: dict[str, Any] = self._of_column
        if self._nested and parts:
            kinds = {"parts": {name: kinds.get(name, "") for name in self._of_parts(answers, parts, None)}}
        self.kinds = {prefix + name: kind for name, kind in kinds.items()}
        self.names = list(self._columns(answers, parts, None, []))

    def __call__(self, batch: Batch, texts: Any) -> tuple[Batch, dict[str, Any], np.ndarray]:
        """Records and columns to write; and the logits of each text, or of a part that tells it from the empty one.

        Errors: :class:`DataError` for a document without an id, in Dolma's format.
        """
        answers, parts, logits = self._answers(texts)
        columns = self._columns(answers, parts, batch, texts)
        self._documents += len(batch.rows)
        if self.flat and parts:  # a text is not there once more for each of its parts, unless it is a column to keep
            batch = replace(batch, texts=[None] * len(batch.rows)).take(parts.text_of.tolist())
        return batch, columns, logits

    def _answers(self, texts: Any) -> tuple[list[Decided], Parts | None, np.ndarray]:
        """What is decided, of which parts (None: of texts), and logits of each text."""
        classifier, spans = self._classifier, self._spans
        if not spans.parts:
            logits = classifier._logits(texts, self._threads, "empty", spans.max_bytes or None)
            self._known = known_of(classifier, self._limits, texts, self._threads, "empty", spans.max_bytes or None)
            return self._sure(decided(classifier.heads, logits)), None, logits
        parts = parts_of(classifier, texts, spans.parts, spans.offsets, self._threads, "empty")
        logits = np.repeat(self._empty, len(parts.counts), axis=0)
        telling = parts.logits[:, 0] != self._empty[0, 0]
        logits[parts.text_of[telling]] = parts.logits[telling]
        if spans.pool:
            return self._sure([parts.pooled(head, spans.pool, self._empty) for head in classifier.heads]), None, logits
        return self._sure(decided(classifier.heads, parts.logits)), parts, logits

    def _sure(self, answers: list[Decided]) -> list[Decided]:
        none = {head.name: self._none for head in self._classifier.heads if head.task == "single"}
        return [sure(one, self._limits, self._known, none.get(one.head.name)) for one in answers]

    def _columns(self, answers: list[Decided], parts: Parts | None, batch: Batch | None, texts: Any) -> dict[str, Any]:
        if self._kind == "dolma":
            return self._attributes(answers, parts, batch, texts)
        columns = self._of_parts(answers, parts, batch)
        if self._nested and parts:
            in_arrow = self._kind in ("parquet", "arrow")
            columns = {"parts": nested_arrow(parts, columns, self._of_column) if in_arrow else nested(parts, columns)}
        elif parts:
            columns = {"document": parts.text_of + self._documents} | columns
        return {self._prefix + name: values for name, values in columns.items()}

    def _of_parts(self, answers: list[Decided], parts: Parts | None, batch: Batch | None) -> dict[str, Any]:
        """The columns of texts or of parts."""
        columns = columns_of(answers, self._proba, self._top_k, self._limits, self._known)
        if self._cut:
            head, cut = self._cut
            values = batch.named(cut["column"]) if batch and cut["column"] else None
            if values is not None and parts:
                values = [values[i] for i in parts.text_of.tolist()]
            scores = next(answer.values[:, 0] for answer in answers if answer.head is head)
            columns["cut"] = np.where(keeps(cut, scores, values), "keep", "drop").tolist()
        return offset_columns(parts) | columns if parts else columns

    def _attributes(
        self, answers: list[Decided], parts: Parts | None, batch: Batch | None, texts: Any
    ) -> dict[str, Any]:
        column = self._spans.id
        ids = batch.values(column) if batch else []
        if batch and None in ids:
            raise DataError(
                f"the id (column {column!r}) at {batch.place(ids.index(None))} is null: give the document one, or name "
                "another column with --id"
            )
        if parts:
            offsets, counts = parts.offsets, parts.counts
        else:
            listed = texts if isinstance(texts, list) else texts.to_pylist()
            offsets = np.array([(0, len(text or "")) for text in listed], np.int64).reshape(-1, 2)
            counts = np.ones(len(listed), np.int64)
        folder = self._classifier.path.name if self._classifier.path else "sparsedistill"
        columns: dict[str, Any] = {} if column == "id" else {"id": ids}
        return columns | {"attributes": attributes_of(answers, offsets, counts, self._prefix or folder, self._top_k)}
