"""Tasks of gold labels alone: train, dev and test apart from each other, the same for students and baselines."""

from __future__ import annotations

import hashlib
import sys
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from splits import tweets, whole_sentences

from sparsedistill import Classifier, Settings
from sparsedistill.data import pairs
from sparsedistill.data.parts import LabelledParts
from sparsedistill.format import replacing

sys.path.append(str(Path(__file__).parents[1]))  # the tweets are those of examples/


@dataclass(frozen=True)
class Source:
    """Where a task's texts come from: files below the folder of data sets; without files they are made."""

    title: str
    train: tuple[str, ...] = ()
    test: tuple[str, ...] = ()
    label: str = "label_name"
    are_pairs: bool = False


SOURCES = {
    "sst2": Source("SST-2", test=("sst2/dev", "sst2/test")),  # both have whole sentences alone
    "trec6": Source("TREC-6", ("trec/train",), ("trec/test",)),
    "trec50": Source("TREC-50", ("trec/train",), ("trec/test",), label="label_fine_name"),
    "agnews": Source("AG News", ("agnews/train", "agnews/train_description_only"), ("agnews/test",)),
    "imdb": Source("IMDB", ("imdb/train",), ("imdb/test",)),
    "tweets": Source("tweets", label="label"),
    "wikitoxic": Source("Wiki Toxic", ("wikitoxic_balanced/train",), ("wikitoxic_balanced/test",)),
    "mrpc": Source("MRPC", ("mrpc/train",), ("mrpc/test",), are_pairs=True),
    "nsmc": Source("NSMC (Korean)", ("nsmc/train",), ("nsmc/test",)),
    "chnsenticorp": Source("hotels (Chinese)", ("chnsenticorp_hotel/train",), ("chnsenticorp_hotel/test",)),
    "fdu": Source("product reviews", ("fdu_mtl_reviews/train",), ("fdu_mtl_reviews/test",)),
    "sms_spam": Source("SMS spam", ("sms_spam/train",), ("sms_spam/test",)),
}  # fmt: skip


class Learnt:
    """Texts and labels, int64 indices into ``labels``, as the baselines want them; ``name`` tells them apart."""

    name: str
    labels: tuple[str, ...]

    def read(self, part: str) -> tuple[list[str], np.ndarray]:
        """Those of ``train``, ``dev`` or ``test``."""
        raise NotImplementedError

    @cached_property
    def train(self) -> tuple[list[str], np.ndarray]:
        return self.read("train")

    @cached_property
    def split(self) -> tuple[tuple[list[str], np.ndarray], tuple[list[str], np.ndarray]]:
        return self.train, self.read("dev")

    @cached_property
    def key(self) -> str:
        """The name, and a fingerprint of the very texts: models trained on them are kept under it."""
        found = hashlib.blake2b(digest_size=6)
        for part in ("train", "dev"):
            texts, gold = self.read(part)
            found.update(repr((texts, gold.tolist())).encode("utf-8", "surrogatepass"))
        return f"{self.name}-{found.hexdigest()}"


class Task(Learnt):
    """One of :data:`SOURCES`. ``parts`` are its files, made in ``folder`` of those below ``data``.

    Dev is a seeded tenth of train, of SST-2 a tenth of train's whole sentences; texts of test are in neither, texts of
    dev not in train. For baselines a pair is one string, and labels are int64 indices into ``labels``.
    """

    PARTS = ("train", "dev", "test")

    def __init__(self, name: str, data: Path, folder: Path):
        self.name, self.source = name, SOURCES[name]
        self._data, self._folder = data, folder / name

    @cached_property
    def parts(self) -> dict[str, Path]:
        files = {part: self._folder / f"{part}.parquet" for part in self.PARTS}
        if not all(file.exists() for file in files.values()):
            self._folder.mkdir(parents=True, exist_ok=True)
            found = LabelledParts(self._settings())
            for name, file in files.items():
                part = found.part(name)
                columns = dict(zip(("text", "second"), zip(*pairs.split(part.texts), strict=True), strict=True))
                if not self.source.are_pairs:
                    columns = {"text": part.texts}
                with replacing(file) as temporary:
                    pq.write_table(pa.table(columns | {"label": [found.labels[i] for i in part.targets]}), temporary)
        return files

    def _settings(self) -> Settings:
        """Of the files that train, dev and test are taken from."""
        source = self.source
        named = {"train": self._files(source.train), "test": self._files(source.test), "label": source.label}
        if source.are_pairs:
            named |= {"text": "text_a", "pair": "text_b"}
        raw = self._folder / "raw"
        if self.name == "tweets":
            tweets(raw)
            named |= {part: [str(raw / f"{part}.parquet")] for part in self.PARTS}
        if self.name == "sst2":
            table = pq.read_table(self._data / "sst2" / "train.parquet", columns=["text", "label_name"])
            raw.mkdir(exist_ok=True)
            for part, rows in zip(("train", "dev"), whole_sentences(table["text"].to_pylist(), 0.1), strict=True):
                pq.write_table(table.take(rows), raw / f"{part}.parquet")
                named[part] = [str(raw / f"{part}.parquet")]
        return Settings.of(**named)

    def _files(self, names: Sequence[str]) -> list[str]:
        return [str(self._data / f"{name}.parquet") for name in names]

    def read(self, part: str) -> tuple[list[str], np.ndarray]:
        """Texts of ``train``, ``dev`` or ``test``, and their labels."""
        table = pq.read_table(self.parts[part])
        texts = table["text"].to_pylist()
        if self.source.are_pairs:
            texts = pairs.joined(texts, table["second"].to_pylist())
        ids = {name: i for i, name in enumerate(self.labels)}
        return texts, np.array([ids[name] for name in table["label"].to_pylist()])

    @cached_property
    def labels(self) -> tuple[str, ...]:
        columns = (pq.read_table(file)["label"].to_pylist() for file in self.parts.values())
        return tuple(sorted({label for column in columns for label in column}))


class RunTask(Learnt):
    """The texts of a run, as its students have them."""

    def __init__(self, name: str, directory: Path):
        self.name, self.directory = name, directory

    def read(self, part: str) -> tuple[list[str], np.ndarray]:
        """Texts of ``train``, ``dev`` or ``test``, and their labels."""
        table = pq.read_table(self.directory / "texts" / f"{part}.parquet", columns=["text", "target"])
        return table["text"].to_pylist(), table["target"].to_numpy()

    @cached_property
    def labels(self) -> tuple[str, ...]:
        return Classifier.load(self.directory / "classifier").labels

    def raced(self, most: int) -> list[str]:
        """At most so many test texts, and where these are few texts of the corpus with as many words, at random."""
        texts, _ = self.read("test")
        if len(texts) >= most:
            return texts[:most]
        by_length = defaultdict(list)
        for text in pq.read_table(self.directory / "texts" / "corpus.parquet", columns=["text"])["text"].to_pylist():
            by_length[len(text.split())].append(text)
        random = np.random.default_rng(0)
        lengths = [len(text.split()) for text in texts]
        found = list(texts)
        for length in random.permutation(lengths * (most // len(lengths) + 1)).tolist():
            if some := by_length.get(length):
                found.append(some[random.integers(len(some))])
        return found[:most]
