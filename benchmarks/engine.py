"""What concerns this package alone: latency, loading, threads, and what folding and int8 rows cost."""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
import tempfile
import time
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from tasks import Task, web_documents
from timing import Others, alternate, paired, seconds

from sparsedistill import Classifier

_LOADS = 7
_CALLS = 20_000
_LOAD = """
import json, sys, time
from sparsedistill import Classifier
start = time.perf_counter()
classifier = Classifier.load(sys.argv[1])
milliseconds = 1e3 * (time.perf_counter() - start)
status = dict(line.split(":", 1) for line in open("/proc/self/status"))
print(json.dumps([milliseconds, int(status["VmRSS"].split()[0]) * 1024 / 1e6]))
"""


def single_us(path: Path, texts: list[str]) -> float:
    """Median microseconds from one str to its label, the clock's own time included; every call a new str."""
    predict, clock, taken = Classifier.load(path).predict, time.perf_counter_ns, []
    raw = [text.encode() for text in texts]
    for i in range(_CALLS + 1000):
        text = raw[i % len(raw)].decode()
        start = clock()
        predict(text)
        taken.append(clock() - start)
    return statistics.median(taken[1000:]) / 1e3


def load(folder: Path) -> tuple[float, float]:
    """Milliseconds to load a classifier of 1M rows x 1000 int8, and megabytes resident right after: medians.

    Each time in a new process that imported this package only, with the file in the page cache.
    """
    with tempfile.TemporaryDirectory(dir=folder) as temporary:
        path = Path(temporary) / "classifier"
        wide_classifier().save(path)
        for file in path.iterdir():
            with open(file, "rb") as stream:
                while stream.read(1 << 24):
                    pass
        command = [sys.executable, "-c", _LOAD, path.name]  # from there, so that no checkout is imported
        found = [
            json.loads(subprocess.run(command, cwd=temporary, check=True, stdout=subprocess.PIPE).stdout)
            for _ in range(_LOADS)
        ]
    return statistics.median(ms for ms, _ in found), statistics.median(mb for _, mb in found)


def wide_classifier(rows: int = 1_000_000, width: int = 1000) -> Classifier:
    """A classifier of the paper's default size, random but for its shape."""
    from sparsedistill.student.compress import compress
    from sparsedistill.student.model import Student
    from sparsedistill.student.vocabulary import Vocabulary
    from sparsedistill.text import TextRules

    words = [b"w%d" % i for i in range(rows)]
    offsets = np.concatenate([[0], np.cumsum([len(word) for word in words])]).astype(np.uint64)
    counts = np.arange(rows, 0, -1).astype(np.uint64)
    vocabulary = Vocabulary(TextRules(), np.frombuffer(b"".join(words), np.uint8), offsets, counts)
    student = Student(1, 2, (width,), embedding=0, dropout=0.0, seed=0)
    # Small integers stand in for the float table, which would take four times the memory.
    student.table = np.random.default_rng(0).integers(-127, 127, (rows, width), np.int8, endpoint=True)
    return compress(student, vocabulary, ("no", "yes"), "single", rows="int8")


def thread_scaling(path: Path, texts: list[str], threads: int, repeats: int) -> tuple[float, float]:
    """How many times faster ``threads`` are than one, and the processors that others kept busy meanwhile."""
    classifier = Classifier.load(path)

    def turn(count: int) -> float:
        return seconds(lambda: classifier.predict(texts, threads=count))

    turn(threads)
    with Others() as others:
        one, many = alternate([lambda: turn(1), lambda: turn(threads)], repeats)
    return paired(one, many), others.cores


def web_docs_per_s(path: Path, texts: list[str], repeats: int) -> tuple[float, float]:
    """Documents of 3.6 KB a second on one thread, and their average size in bytes."""
    documents = web_documents(texts)
    classifier, taken = Classifier.load(path), []
    for _ in range(repeats + 1):
        fresh = [document.encode().decode() for document in documents]
        taken.append(seconds(partial(classifier.predict, fresh, threads=1)))
    size = sum(len(document.encode()) for document in documents) / len(documents)
    return len(documents) / statistics.median(taken[1:]), size


def limit_share(path: Path, texts: list[str], out: Path, repeats: int) -> tuple[float, float, float]:
    """(share of the memory's limit that `predict` reaches on one thread, limit.cpp's rows a second, a bare gather's).

    The share is the time of a reader that touches the same bytes of text, lines of the table and rows, all known in
    advance, over the time of `predict`. Over random rows the reader should be about as fast as a bare loop.
    """
    from limit import Limit

    classifier = Classifier.load(path)
    reader = Limit(classifier, texts, out / "limit")

    turns = [reader, lambda: classifier.predict(texts, threads=1)]
    for turn in turns:
        turn()
    reading, predicting = alternate([partial(seconds, turn) for turn in turns], repeats)
    share = statistics.median(a / b for a, b in zip(reading, predicting, strict=True))
    rates = (0.0, 0.0)
    if reader.stride:
        found = alternate([partial(seconds, turn) for turn in reader.scattered()], repeats)
        rates = tuple(reader.rows_touched / statistics.median(taken) for taken in found)
    reader.close()
    return share, *rates


def trained(run: Path) -> tuple[Any, Any, Classifier]:
    """(student, vocabulary, classifier) of the student that a run directory chose."""
    from sparsedistill.student.model import Student
    from sparsedistill.student.vocabulary import Vocabulary

    classifier = Classifier.load(run / "classifier")
    name = classifier.config["provenance"]["student"]
    asked = classifier.config["provenance"]["settings"]["distill"]
    counted = {"scratch": ("train",), "kd_private": ("corpus",)}.get(name, ("all", "corpus", "train"))
    folder = next(run / "vocabulary" / part for part in counted if (run / "vocabulary" / part).is_dir())
    vocabulary, shape = Vocabulary.load(folder), (asked["hidden"], asked["embedding"])
    student = Student(len(vocabulary), len(classifier.labels), *shape, 0.0, 0, pooling=asked["pooling"])
    return student.load(run / "students" / name / "student.safetensors"), vocabulary, classifier


def fold_max_diff(run: Path, texts: list[str]) -> tuple[float, str]:
    """Largest difference of a logit between the torch student with W1 and the folded float32 classifier.

    The student is the run's, if it was trained with W1 (``distill.embedding`` above 0); else one with random weights
    over the run's n-grams, and the second value says so.
    """
    from sparsedistill.student.compress import compress
    from sparsedistill.student.model import Student

    student, vocabulary, classifier = trained(run)
    what = f"the student of {run.name}"
    if student.factor is None:
        student = Student(len(vocabulary), len(classifier.labels), (256,), embedding=512, dropout=0.0, seed=0)
        what = "a student 512 -> 256 with random weights"
    exact = student.logits(*vocabulary.bags(texts), threads=1)
    folded = compress(student, vocabulary, classifier.labels, classifier.task, rows="float32")
    return float(np.abs(folded.decision_function(texts) - exact).max()), what


def int8_against_float(run: Path, task: Task) -> tuple[float, int]:
    """(accuracy points lost, decisions changed) on test by int8 rows, against the same student's float32 rows."""
    from sparsedistill.student.compress import compress

    student, vocabulary, shipped = trained(run)
    rows = {
        kind: compress(student, vocabulary, shipped.labels, shipped.task, rows=kind) for kind in ("float32", "int8")
    }
    if shipped.config["rows"]["type"] == "int8":
        rows["int8"] = shipped
    texts, gold = task.test
    ids = np.array([task.labels.index(label) for label in shipped.labels])
    predicted = {kind: ids[one.decision_function(texts).argmax(axis=1)] for kind, one in rows.items()}
    right = {kind: 100 * float((answers == gold).mean()) for kind, answers in predicted.items()}
    return right["float32"] - right["int8"], int((predicted["float32"] != predicted["int8"]).sum())
