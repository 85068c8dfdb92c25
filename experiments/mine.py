"""Pairs of like sentences from unlabelled texts, for a teacher of paraphrases to judge.

Random pairs are never paraphrases, so each text is paired with one of its nearest neighbours in the space of an encoder
(mean of the last layer's tokens, cosine), near ones and less near ones alike.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from sparsedistill.format import replacing
from sparsedistill.progress import Progress, say
from sparsedistill.settings import Teach
from sparsedistill.teacher import TransformerTeacher

from .neural import with_head

NEIGHBOURS = (1, 2, 4, 8)  # the ranks that a text's partner is drawn from


def mine(texts: Sequence[str], encoder: str, path: Path) -> None:
    """Write a Parquet file of pairs, ``text_a`` and ``text_b``, one for each of the (distinct) ``texts``."""
    with_head(encoder, path.parent / "encoder")  # what it is does not matter: it is asked for representations alone
    model = TransformerTeacher(path.parent / "encoder", settings=Teach(max_length=64))
    parts = []
    with Progress("encode", len(texts)) as bar:
        for begin in range(0, len(texts), 4096):
            some = model.represent(texts[begin : begin + 4096])
            parts.append(some / np.linalg.norm(some, axis=1, keepdims=True))
            bar.add(len(some))
    vectors = np.concatenate(parts)
    partners = np.empty(len(texts), np.int64)
    ranks = np.random.default_rng(0).choice(NEIGHBOURS, len(texts))
    with Progress("pair", len(texts)) as bar:
        for begin in range(0, len(texts), 1024):
            near = vectors[begin : begin + 1024] @ vectors.T
            rows = np.arange(len(near))
            near[rows, begin + rows] = -np.inf  # not with itself
            first = np.argpartition(-near, max(NEIGHBOURS), axis=1)[:, : max(NEIGHBOURS)]
            ranked = np.take_along_axis(first, np.argsort(-np.take_along_axis(near, first, 1), axis=1), 1)
            partners[begin : begin + len(near)] = ranked[rows, ranks[begin : begin + len(near)] - 1]
            bar.add(len(near))
    with replacing(path) as temporary:
        pq.write_table(pa.table({"text_a": list(texts), "text_b": [texts[i] for i in partners]}), temporary)
    say(f"{path}: {len(texts):,} pairs")
