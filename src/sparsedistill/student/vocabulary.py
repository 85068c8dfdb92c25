"""The vocabulary: the n-grams that have a row, and how text becomes them."""

from __future__ import annotations

import itertools
import operator
import os
import tempfile
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from .. import _core
from ..errors import DataError, FormatError
from ..format import digest, read_json, read_tensors, replacing_directory, tensor, write_json, write_tensors
from ..machine import asked_threads
from ..settings import parse_bytes
from ..text import TextRules

VERSION = 3


class Vocabulary:
    """The V most frequent n-grams, by count descending and then by their UTF-8 bytes; those of characters come last.

    In this order a prefix always precedes its extensions, so the list is prefix-closed wherever it is cut.

    Attributes: ``rules`` (:class:`sparsedistill.text.TextRules`): how text becomes n-grams; ``words``: how many of the
    rows are n-grams of words, the others being of characters; ``counts``: uint64 (V,) occurrences in corpus and train
    together; ``train_counts``: uint64 (V,) those in train; ``slots``: uint32 (L, 16) the lookup table; ``seed``: of the
    hash; ``hashed``: whether it is one of :meth:`hash`, in which the arrays are empty and a row may be of both.
    """

    def __init__(
        self,
        rules: TextRules,
        ngram_bytes: np.ndarray,
        offsets: np.ndarray,
        counts: np.ndarray,
        train_counts: np.ndarray,
        seed: int | None = None,
        hashed: int = 0,
        words: int | None = None,
    ):
        self.hashed, self._size = hashed > 0, hashed or len(counts)
        self.rules, self.words = rules, self._size if words is None else words
        self._bytes, self._offsets, self.counts, self.train_counts = ngram_bytes, offsets, counts, train_counts
        # Equal vocabularies give equal tables, and nobody who wrote a part of the texts can know the seed beforehand:
        # under a known one it would be easy to make n-grams that no table tells apart.
        seed = digest(ngram_bytes, offsets) if seed is None else seed
        self.slots, self.seed = np.zeros((0, 16), np.uint32), seed
        if not hashed:
            self.slots, self.seed = _core.build_slots(ngram_bytes, offsets, seed)
        #: the core's view: n-gram hash to row
        self.lookup = _core.Lookup(self.slots, len(self), 0, self.seed, **rules.config())

    @classmethod
    def hash(cls, size: int, **rules: Any) -> Vocabulary:
        """Every n-gram there may be, each in the one of ``size`` rows that its hash names (Weinberger et al. 2009).

        Nothing has to be counted and no n-gram is unknown, but several share a row, which cannot say what they are.
        ``rules``: fields of :class:`TextRules`.
        """
        none = np.zeros(0, np.uint64)
        ngrams = np.zeros(0, np.uint8), np.zeros(1, np.uint64)
        return cls(TextRules(**rules), *ngrams, none, none, 0, size)

    def __len__(self) -> int:
        return self._size

    def __getitem__(self, row: int) -> str:
        if self.hashed:
            raise TypeError("the rows of a hashed vocabulary have no n-gram of their own")
        if not 0 <= row < len(self):
            raise IndexError(f"row {row} of {len(self)}")
        return bytes(self._bytes[self._offsets[row] : self._offsets[row + 1]]).decode()

    def __repr__(self) -> str:
        what = "rows for all n-grams" if self.hashed else "n-grams"
        more = f", {len(self) - self.words:,} of characters" if self.words < len(self) else ""
        return f"Vocabulary({len(self):,} {what} up to {self.rules.max_n}{more}, tokenizer {self.rules.tokenizer!r})"

    def bags(
        self, texts: Sequence[str], threads: int = 0, forget: float = 0.0, seed: int = 0, mistype: bool = False
    ) -> tuple[np.ndarray, np.ndarray]:
        """Row ids of each text's known n-grams.

        Returns ``ids`` uint32 (total,) and ``offsets`` uint64 (n + 1,): text i has ``ids[offsets[i]:offsets[i+1]]``,
        unigrams from left to right, then bigrams, and so on, then those of characters.

        ``forget``: share of tokens that are taken for unknown, for training with ``characters`` "unknown" (Errors:
        ValueError with others), as they are or, with ``mistype``, with a typo each (two neighbouring code points
        swapped, or one gone, new, or another); which, is a function of ``seed`` and the numbers of text and token.
        """
        return self.lookup.bags(texts, asked_threads(threads), forget, seed, mistype)

    def ngrams(self) -> list[str]:
        """All of them, in the order of their rows."""
        ends, text = self._offsets.tolist(), self._bytes.tobytes()
        return [text[begin:end].decode() for begin, end in itertools.pairwise(ends)]

    def of_rows(self, rows: np.ndarray) -> Vocabulary:
        """The vocabulary of these rows alone, int64 (n,), ascending, among which are the prefixes of each."""
        lengths = np.diff(self._offsets.astype(np.int64))[rows]
        offsets = np.concatenate([[0], np.cumsum(lengths)])
        starts = np.repeat(self._offsets[rows].astype(np.int64) - offsets[:-1], lengths)
        text = np.ascontiguousarray(self._bytes[starts + np.arange(offsets[-1])])
        words = int(np.searchsorted(rows, self.words))
        return Vocabulary(
            self.rules, text, offsets.astype(np.uint64), self.counts[rows], self.train_counts[rows], words=words
        )

    def slots_holding(self, values: np.ndarray) -> tuple[np.ndarray, int]:
        """A lookup table with ``values``, int16 (V, 1 to 4), in its slots instead of row ids, and its seed."""
        return _core.build_slots(self._bytes, self._offsets, self.seed, values)

    @classmethod
    def count(
        cls,
        corpus: Iterable[Sequence[str]],
        train: Iterable[Sequence[str]] = (),
        *,
        size: int = 1_000_000,
        min_count: int = 1,
        train_weight: int = 1,
        memory: str = "4GB",
        directory: str | os.PathLike[str] | None = None,
        threads: int = 0,
        characters_size: int = 200_000,
        **rules: Any,
    ) -> Vocabulary:
        """Count every n-gram of the texts, exactly, and keep the ``size`` most frequent seen ``min_count`` times.

        With ``characters`` the same of the character n-grams of all tokens, of which ``characters_size`` are kept more;
        the rows of the others stay the same.

        ``corpus`` and ``train`` give batches of texts, and are gone through twice: the second time finds the strings of
        what was chosen. An occurrence in train counts ``train_weight`` times. Past ``memory`` counts go to an unnamed
        file in ``directory`` (default: the system's for temporary files), 16 bytes a distinct n-gram or less.
        ``rules``: fields of :class:`TextRules`.

        Errors: :class:`DataError` when the texts hold no n-gram at all, TypeError for an iterator, OSError for a full
        disk.
        """
        for name, batches in (("corpus", corpus), ("train", train)):
            if iter(batches) is batches:
                raise TypeError(
                    f"{name} is an iterator, but is gone through twice: give a list, or what can begin anew"
                )
        threads, how = asked_threads(threads), TextRules(**rules)
        sizes = (size,) if how.characters == "none" else (size, characters_size)
        shared: dict[str, Any] = how.config() | {"memory": parse_bytes(memory) // len(sizes)}
        shared["directory"] = os.fspath(directory or tempfile.gettempdir())
        counters = [_core.Counter(**shared, of_characters=i > 0) for i in range(len(sizes))]
        _count(counters, corpus, train, sizes, min_count, train_weight, threads)
        found = [counter.top(threads) for counter in counters]
        words = len(found[0][2])
        if not words:
            raise DataError(
                f"the {how.tokenizer} tokenizer finds no n-gram seen {min_count} times or more in these texts: "
                "lower min_count, or take another tokenizer"
            )
        ngrams, offsets, weighted, train_counts = found[0] if len(found) == 1 else _joined(found)
        counts = weighted - np.uint64(train_weight - 1) * train_counts
        return cls(how, ngrams, offsets, counts, train_counts, words=words)

    def save(self, directory: str | os.PathLike[str]) -> None:
        """Write ``vocabulary.json`` and ``vocabulary.safetensors`` into a directory of its own."""
        with replacing_directory(directory) as temporary:
            write_tensors(
                temporary / "vocabulary.safetensors",
                {
                    "ngrams": self._bytes,
                    "offsets": self._offsets,
                    "counts": self.counts,
                    "train_counts": self.train_counts,
                },
            )
            write_json(
                temporary / "vocabulary.json",
                {
                    "version": VERSION,
                    **self.rules.config(),
                    "unicode": _core.unicode_version,
                    "seed": self.seed,
                    "size": len(self),
                    "hashed": self.hashed,
                    **({"words": self.words} if self.words < len(self) else {}),
                },
            )

    @classmethod
    def load(cls, directory: str | os.PathLike[str]) -> Vocabulary:
        """Errors: :class:`FormatError` naming what is wrong; OSError when there is none."""
        path = Path(directory) / "vocabulary.safetensors"
        config = read_json(Path(directory) / "vocabulary.json")
        if config.get("version") != VERSION:
            raise FormatError(
                f"{directory} has vocabulary version {config.get('version')!r}, this program reads {VERSION}: "
                "count again"
            )
        if config.get("unicode") != _core.unicode_version:
            raise FormatError(
                f"{directory} follows Unicode {config.get('unicode')!r}, this program {_core.unicode_version}: "
                "count again"
            )
        tensors = read_tensors(path)
        offsets = tensor(tensors, "offsets", (np.uint64,), (None,), path)
        counts = tensor(tensors, "counts", (np.uint64,), (len(offsets) - 1,), path)
        train_counts = tensor(tensors, "train_counts", (np.uint64,), (len(counts),), path)
        ngrams = tensor(tensors, "ngrams", (np.uint8,), (None,), path)
        try:
            rules = TextRules.of(config)
            hashed = config["size"] if config["hashed"] else 0
            seed, words = operator.index(config["seed"]), operator.index(config.get("words", config["size"]))
            return cls(rules, ngrams, offsets, counts, train_counts, seed, hashed, words)
        except (KeyError, TypeError, ValueError) as error:
            raise FormatError(f"{directory} is damaged: {error}") from None


def _count(
    counters: Sequence[_core.Counter],
    corpus: Iterable[Sequence[str]],
    train: Iterable[Sequence[str]],
    sizes: Sequence[int],
    min_count: int,
    train_weight: int,
    threads: int,
) -> None:
    """Both readings of the texts, by each counter."""
    for batches, weight in ((corpus, 1), (train, train_weight)):
        for texts in batches:
            for counter in counters:
                counter.add(texts, weight, threads)
    for counter, size in zip(counters, sizes, strict=True):
        counter.choose(size, min_count, threads)
    for batches, tally in ((corpus, False), (train, True)):
        for texts in batches:
            for counter in counters:
                counter.spell(texts, tally, threads)


def _joined(found: Sequence[tuple[np.ndarray, ...]]) -> list[np.ndarray]:
    """n-grams, offsets, counts and counts in train of several counters, one after the other."""
    ngrams, offsets, *counts = zip(*found, strict=True)
    starts = [np.zeros(1, np.uint64), *(np.diff(one) for one in offsets)]
    return [np.concatenate(ngrams), np.cumsum(np.concatenate(starts), dtype=np.uint64), *map(np.concatenate, counts)]
