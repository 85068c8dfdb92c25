"""The texts: what baselines are trained on, what everyone is timed on."""

from __future__ import annotations

import hashlib
import random
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq

from sparsedistill.format import read_json

# task -> (labels in the order of their ids, files of train, of test, of texts without labels)
_FILES = {
    "imdb": (("neg", "pos"), ("imdb/train",), "imdb/test", ("imdb/unsup",)),
    "agnews": (
        ("World", "Sports", "Business", "Sci/Tech"),
        ("agnews/train", "agnews/train_description_only"),
        "agnews/test",
        ("news/unlabeled",),
    ),
    "sst2": (("negative", "positive"), ("sst2/train",), "sst2/dev", ("review_sentences/unlabeled",)),
}
NAMES = {"imdb": "IMDB", "agnews": "AG News", "sst2": "SST-2"}
_DEV_SHARE = 0.1


@dataclass(frozen=True)
class Task:
    """One data set below ``data``: texts as lists of str, gold labels as int64 ids into ``labels``."""

    name: str
    data: Path

    @property
    def labels(self) -> tuple[str, ...]:
        return _FILES[self.name][0]

    @cached_property
    def key(self) -> str:
        """Name of the task and of the very files: models trained on them are kept under it."""
        sizes = [self._path(file).stat().st_size for file in (*_FILES[self.name][1], *_FILES[self.name][3])]
        return f"{self.name}-{hashlib.blake2b(repr(sizes).encode(), digest_size=3).hexdigest()}"

    @cached_property
    def train(self) -> tuple[list[str], np.ndarray]:
        parts = [self._read(file) for file in _FILES[self.name][1]]
        return [text for texts, _ in parts for text in texts], np.concatenate([gold for _, gold in parts])

    @cached_property
    def test(self) -> tuple[list[str], np.ndarray]:
        return self._read(_FILES[self.name][2])

    @cached_property
    def unlabelled(self) -> list[str]:
        files = _FILES[self.name][3]
        return [text for file in files for text in pq.read_table(self._path(file))["text"].to_pylist()]

    @cached_property
    def split(self) -> tuple[tuple[list[str], np.ndarray], tuple[list[str], np.ndarray]]:
        """Train without, and as, a seeded tenth: baselines choose their settings on it, never on test."""
        texts, gold = self.train
        order = np.random.default_rng(0).permutation(len(texts))
        cut = int(len(texts) * _DEV_SHARE)

        def take(ids: np.ndarray) -> tuple[list[str], np.ndarray]:
            return [texts[i] for i in ids], gold[ids]

        return take(order[cut:]), take(order[:cut])

    def _read(self, file: str) -> tuple[list[str], np.ndarray]:
        table = pq.read_table(self._path(file))
        ids = {name: i for i, name in enumerate(self.labels)}
        return table["text"].to_pylist(), np.array([ids[name] for name in table["label_name"].to_pylist()])

    def _path(self, file: str) -> Path:
        return self.data / f"{file}.parquet"


def sample(texts: list[str], count: int, seed: int = 0) -> list[int]:
    """Positions of ``count`` random texts, one from each of as many equal classes of length.

    A plain draw of thirty reviews can be a quarter longer than the average; this one is not.
    """
    if count >= len(texts):
        return list(range(len(texts)))
    by_length = sorted(range(len(texts)), key=lambda i: len(texts[i]))
    edges = np.linspace(0, len(texts), count + 1).astype(int)
    draw = random.Random(seed)
    return [by_length[draw.randrange(a, b)] for a, b in pairwise(edges)]


def web_documents(texts: list[str], size: int = 3600, seed: int = 0) -> list[str]:
    """Documents of about ``size`` bytes, as long as the average web page's text, from shuffled reviews."""
    texts = random.Random(seed).sample(texts, len(texts))
    documents, parts, length = [], [], 0
    for text in texts:
        parts.append(text)
        length += len(text.encode()) + 2
        if length >= size:
            whole = "\n\n".join(parts)
            documents.append(whole.encode()[:size].decode(errors="ignore"))
            parts, length = [], 0
    return documents


def run_figures(run: Path) -> dict:
    """``metrics.json`` of a run directory."""
    return read_json(run / "metrics.json")
