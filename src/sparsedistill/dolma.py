"""Predictions as attributes of Dolma: for each document, spans of its text with a score of each label."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np

from .parts import Decided


def attributes_of(
    answers: Iterable[Decided], offsets: np.ndarray, counts: np.ndarray, experiment: str, top_k: int | None = None
) -> list[dict[str, list[list[Any]]]]:
    """For each of n documents ``{"EXPERIMENT__HEAD__LABEL": [[start, end, score], ...], ...}``.

    ``answers``: what heads have decided for P spans, whose ``offsets`` are int64 (P, 2), in characters; ``counts``:
    int64 (n,), number of spans of each document. HEAD is "predicted" where the head has no name. A score is the
    calibrated probability of the label, or a regression's score; with ``top_k`` a span has those of its K likeliest
    labels alone. A document without spans has the same names, with empty lists.

    Soldaini et al. 2024, "Dolma: an open corpus of three trillion tokens for language model pretraining research".
    """
    ends = np.cumsum(counts).tolist()
    result: list[dict[str, list[list[Any]]]] = [{} for _ in ends]
    given = offsets.tolist()
    for head, values, _, ranked in answers:
        shown = np.ones(values.shape, bool)
        if top_k and head.task != "regression":
            shown[:] = False
            np.put_along_axis(shown, ranked()[:, :top_k], True, axis=1)
        for i, label in enumerate(head.labels):
            name = f"{experiment}__{head.name or 'predicted'}__{label}"
            spans = [
                [*span, score] if yes else None
                for span, score, yes in zip(given, values[:, i].tolist(), shown[:, i].tolist(), strict=True)
            ]
            for document, begin, end in zip(result, [0, *ends], ends, strict=False):
                document[name] = [span for span in spans[begin:end] if span]
    return result
