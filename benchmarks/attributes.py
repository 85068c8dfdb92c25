"""Five attributes of one corpus of reviews and news: files with a column for each, empty where a text has none."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from bench import UNMEASURED, package
from labelled import Learnt

from sparsedistill import Classifier, distill
from sparsedistill.figures import spearman
from sparsedistill.format import read_tensors, replacing
from sparsedistill.progress import say

#: attribute -> task of its head
ATTRIBUTES = {"sentiment": "single", "domain": "single", "rating": "regression", "topic": "single", "style": "single"}
PARTS = ("train", "dev", "test")
# Texts of each source to learn and to choose by, at most; dev is a tenth of them.
MOST = {"imdb": 12_500, "fdu_mtl_reviews": 20_500, "agnews": 25_000, "news": 20_000}
# Texts to test on, of those with a style or a rating; of more films, other domains would hardly count.
STYLE_TEST, FILMS_TEST = 5_000, 5_000


class Corpus:
    """Files of train, dev and test, made in ``folder`` of the data sets below ``data``; their texts are apart."""

    def __init__(self, data: Path, folder: Path):
        self._data, self._folder = data, folder

    @cached_property
    def parts(self) -> dict[str, Path]:
        files = {part: self._folder / f"{part}.parquet" for part in PARTS}
        if not all(file.exists() for file in files.values()):
            self._folder.mkdir(parents=True, exist_ok=True)
            for part, rows in self._rows().items():
                columns: dict[str, Any] = {name: [row.get(name) for row in rows] for name in ("text", *ATTRIBUTES)}
                types = [(name, pa.float64() if name == "rating" else pa.string()) for name in columns]
                with replacing(files[part]) as temporary:
                    pq.write_table(pa.table(columns, schema=pa.schema(types)), temporary)
        return files

    def _rows(self) -> dict[str, list[dict[str, Any]]]:
        """Rows of each part, shuffled; what is in a later part is in no earlier one."""
        random = np.random.default_rng(0)
        rows: dict[str, list[dict[str, Any]]] = {part: [] for part in PARTS}
        for name, most in MOST.items():
            learnt, tested = self._source(name, random)
            learnt = [learnt[i] for i in random.permutation(len(learnt))[:most]]
            cut = len(learnt) // 10
            rows["dev"] += learnt[:cut]
            rows["train"] += learnt[cut:]
            rows["test"] += tested
        seen: set[str] = set()
        for part in reversed(PARTS):
            kept = [row for row in rows[part] if _plain(row["text"]) not in seen]
            seen |= {_plain(row["text"]) for row in kept}
            rows[part] = [kept[i] for i in random.permutation(len(kept))]
        films = [row for row in rows["test"] if "rating" in row]
        left_out = {row["text"] for row in films[FILMS_TEST:]}
        return rows | {"test": [row for row in rows["test"] if row["text"] not in left_out]}

    def _source(self, name: str, random: np.random.Generator) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
        """Rows to learn, and to test on."""
        if name != "news":
            return self._read(name, "train"), self._read(name, "test")
        table = pq.read_table(self._data / "news" / "unlabeled.parquet")
        texts, styles = table["text"].to_pylist(), np.array(table["source"].to_pylist())
        each = (MOST[name] + STYLE_TEST) // len(set(styles))  # of each style as many
        drawn = [random.permutation(np.flatnonzero(styles == style))[:each] for style in sorted(set(styles))]
        rows = [{"text": texts[i], "style": str(styles[i])} for i in random.permutation(np.concatenate(drawn))]
        return rows[STYLE_TEST:], rows[:STYLE_TEST]

    def _read(self, name: str, part: str) -> list[dict[str, Any]]:
        rows = pq.read_table(self._data / name / f"{part}.parquet").to_pylist()
        if name == "agnews":
            return [{"text": row["text"], "topic": row["label_name"]} for row in rows]
        if name == "imdb":
            return [
                {"text": row["text"], "sentiment": _SENTIMENT[row["label_name"]], "domain": "films",
                 "rating": float(row["rating"])} for row in rows
            ]  # fmt: skip
        return [{"text": row["text"], "sentiment": row["label_name"], "domain": row["domain"]} for row in rows]


_SENTIMENT = {"neg": "negative", "pos": "positive"}


def _plain(text: str) -> str:
    return "".join(filter(str.isalnum, text.lower()))


class Attribute(Learnt):
    """The texts of a corpus that have an attribute, as baselines want them: labels are int64 indices into ``labels``.

    Ratings are labels, too: ``values`` are their numbers.
    """

    def __init__(self, corpus: Corpus, name: str):
        self.name, self._parts = name, corpus.parts

    def _read(self, part: str) -> tuple[list[str], list[str]]:
        table = pq.read_table(self._parts[part], columns=["text", self.name]).to_pydict()
        pairs = [(t, a) for t, a in zip(table["text"], table[self.name], strict=True) if a is not None]
        return [text for text, _ in pairs], [f"{a:g}" if isinstance(a, float) else a for _, a in pairs]

    def read(self, part: str) -> tuple[list[str], np.ndarray]:
        texts, labels = self._read(part)
        return texts, np.array([self.labels.index(label) for label in labels])

    @cached_property
    def labels(self) -> tuple[str, ...]:
        return tuple(sorted(set(self._read("train")[1])))

    @property
    def values(self) -> np.ndarray:
        return np.array(self.labels, float)


# ---- students --------------------------------------------------------------------------------------------------------

SETTINGS: dict[str, Any] = {"student": "network", "hidden": [64], "max_n": 2, "keep": "last", "distill": {"epochs": 15}}


class Students:
    """Classifiers of all attributes or of one, below ``folder``, each trained once for a state of the package."""

    def __init__(self, corpus: Corpus, folder: Path, threads: int):
        self._corpus, self._folder, self._threads = corpus, folder / package(), threads

    def path(self, name: str, seed: int) -> Path:
        """The directory of the classifier of the attribute ``name``, or of "all"."""
        path = self._folder / f"{name}-{seed}"
        if not path.exists():
            say(f"heads: {path.name}")
            run = path.with_name(f"{path.name}.run")
            files = {part: [file] for part, file in self._corpus.parts.items() if part != "test"}
            what: dict[str, Any] = {"heads": {one: {"task": task, "label": one} for one, task in ATTRIBUTES.items()}}
            if name != "all":
                what = {"task": ATTRIBUTES[name], "label": name, "skip_missing": True}
            distill(directory=run, student_seed=seed, evaluate=UNMEASURED, **files, **what, **SETTINGS)
            (run / "classifier").rename(path)
            shutil.rmtree(run)
        return path

    def points(self, name: str, attribute: str, seed: int) -> float:
        """Of the classifier ``name`` on the attribute's test texts: percent right, of ratings 100 times Spearman."""
        classifier, task = Classifier.load(self.path(name, seed)), Attribute(self._corpus, attribute)
        texts, gold = task.read("test")
        head = attribute if name == "all" else None
        return points(task, classifier.predict(texts, threads=self._threads, head=head), gold)


def alone(classifier: Classifier, name: str) -> Classifier:
    """One head of a classifier with hidden layers, with the same table and no name."""
    config = classifier.config
    head = next(head for head in classifier.heads if head.name == name)
    of_head = next(one for one in config.pop("heads") if one["name"] == name)
    tensors = dict(read_tensors(classifier.path / "model.safetensors"))
    last = f"layers.{config['layers'] - 1}"
    for tensor in (f"{last}.weight", f"{last}.bias"):
        tensors[tensor] = np.ascontiguousarray(tensors[tensor][..., head.outputs])
    return Classifier(config | {key: value for key, value in of_head.items() if key != "name"}, tensors)


def points(task: Attribute, found: Sequence[Any], gold: np.ndarray) -> float:
    """Percent right of labels, of scores 100 times Spearman's correlation with the ratings."""
    if ATTRIBUTES[task.name] == "regression":
        return 100 * float(spearman(np.array(found, float), task.values[gold])(np.ones((len(gold), 1)))[0])
    return 100 * float(np.mean([task.labels[i] == label for i, label in zip(gold, found, strict=True)]))


def points_of(task: Attribute, probabilities: np.ndarray, gold: np.ndarray) -> float:
    """The same of probabilities (n, C): the likeliest label, or the expected rating."""
    if ATTRIBUTES[task.name] == "regression":
        return points(task, probabilities @ task.values, gold)
    return points(task, [task.labels[i] for i in probabilities.argmax(axis=1)], gold)
