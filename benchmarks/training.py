"""Speed and memory of making a student, beside scikit-learn's and torch's ways; see README.md.

    python benchmarks/training.py --data ../shared/data

Every ratio is taken in one run, and says how far the two results agree.
"""

from __future__ import annotations

import argparse
import json
import random
import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from tasks import Task, sample
from timing import Others, alternate, load_average, paired

from sparsedistill import _core
from sparsedistill.machine import default_threads
from sparsedistill.progress import Progress, say
from sparsedistill.vocabulary import Vocabulary

VOCABULARY = 1_000_000


class Bench:
    """The parts; each is a method that ``--only`` can name."""

    PARTS = ("count", "spill", "featurise", "table")

    def __init__(self, args: argparse.Namespace):
        self.args, self.measures, self.lines = args, {}, []
        self.tasks = {name: Task(name, args.data) for name in ("imdb", "sst2")}

    def hold(self) -> None:
        for part in self.PARTS:
            if not self.args.only or part in self.args.only:
                try:
                    with Others() as others:
                        getattr(self, part)()
                    say(f"{part}: load {load_average()}, others kept {others.cores:.1f} cores busy")
                except Exception as error:  # the other figures must not be lost for it
                    self.note(f"{part}: did not run: {type(error).__name__}: {error}")

    def note(self, line: str) -> None:
        self.lines.append(line)
        say(line)

    def count(self) -> None:
        """Top 1M 1- to 4-grams of IMDB's train set, against CountVectorizer.fit on one core."""
        from sklearn.feature_extraction.text import CountVectorizer

        self.measures["count_vs_sklearn"] = None
        texts = self.tasks["imdb"].train[0]

        def ours() -> Vocabulary:
            return Vocabulary.count([texts], tokenizer="sklearn", size=VOCABULARY, threads=self.args.threads)

        ours()
        taken = [seconds_of(ours)[0] for _ in range(self.args.repeats)]
        vectorizer = CountVectorizer(ngram_range=(1, 4), max_features=VOCABULARY)
        theirs, counts = seconds_of(lambda: vectorizer.fit_transform(texts))
        more, vocabulary = seconds_of(ours)
        totals = np.asarray(counts.sum(axis=0)).ravel()
        mine = {vocabulary[i]: int(n) for i, n in enumerate(vocabulary.counts)}
        boundary = int(vocabulary.counts[-1])
        above = {ngram: int(totals[i]) for ngram, i in vectorizer.vocabulary_.items() if totals[i] > boundary}
        right = above == {ngram: n for ngram, n in mine.items() if n > boundary}
        seconds = statistics.median([*taken, more])
        if right:
            self.measures["count_vs_sklearn"] = theirs / seconds
        self.note(
            f"Counting the top 1M of IMDB's train set: {seconds:.2f} s on {self.args.threads} threads, "
            f"CountVectorizer.fit {theirs:.0f} s on one: {theirs / seconds:.0f}x. The {len(above):,} n-grams seen more "
            f"than {boundary} times, and their counts, are {'the same' if right else 'NOT the same'}."
        )

    def spill(self) -> None:
        """10M short texts within 2 GB, against the same count in memory."""
        self.measures |= {"count_peak_gb": None, "count_recall": None}
        path = many_short_texts(self.tasks["sst2"], self.args.out / f"short-{self.args.short}.parquet", self.args.short)
        found = {}
        for memory in ("2GB", "40GB"):
            result = self.args.out / f"counted-{memory}"
            peak, seconds = run_apart("count_file", path, memory, result, self.args.threads)
            vocabulary = Vocabulary.load(result)
            found[memory] = {(vocabulary[i], int(n)) for i, n in enumerate(vocabulary.counts)}
            self.note(
                f"Counting {self.args.short:,} short texts with --memory {memory}: peak {peak:.2f} GB, {seconds:.0f} s."
            )
            if memory == "2GB":
                self.measures["count_peak_gb"] = peak
        true = found["40GB"]
        self.measures["count_recall"] = len(true & found["2GB"]) / len(true)
        self.note(f"{self.measures['count_recall']:.2%} of the true top {len(true):,} are there with right counts.")

    def featurise(self) -> None:
        """Text to row ids on IMDB's test set, one thread, against CountVectorizer.transform."""
        from sklearn.feature_extraction.text import CountVectorizer

        self.measures["featurise_vs_sklearn"] = None
        vocabulary = Vocabulary.count([self.tasks["imdb"].train[0]], tokenizer="sklearn", size=VOCABULARY)
        vectorizer = CountVectorizer(ngram_range=(1, 4), vocabulary={vocabulary[i]: i for i in range(len(vocabulary))})
        texts = self.tasks["imdb"].test[0]
        few = [texts[i] for i in sample(texts, 2500)]
        ids, offsets = vocabulary.bags(few, 1)
        rows = vectorizer.transform(few)
        right = all(
            sorted(ids[a:b]) == sorted(np.repeat(row.indices, row.data))
            for a, b, row in zip(offsets, offsets[1:], rows, strict=False)
        )
        turns = [lambda: vocabulary.bags(fresh(texts), 1), lambda: vectorizer.transform(fresh(few))]
        ours, theirs = alternate([lambda turn=turn: seconds_of(turn)[0] for turn in turns], self.args.repeats)
        rates = [len(texts) / s for s in ours], [len(few) / s for s in theirs]
        if right:
            self.measures["featurise_vs_sklearn"] = paired(*rates)
        self.note(
            f"Featurising: {statistics.median(rates[0]):,.0f} reviews/s, CountVectorizer.transform "
            f"{statistics.median(rates[1]):,.0f}: {paired(*rates):.0f}x; "
            f"row ids are {'the same' if right else 'NOT the same'}."
        )

    def table(self) -> None:
        """Pooled forward, backward and lazy Adam on the table, against EmbeddingBag(sparse=True) and SparseAdam."""
        for name, width in (("sst2", 1000), ("imdb", 250)):
            key = f"table_{name}_vs_torch"
            self.measures[key] = None
            (ratio, ours, theirs, worst, ids), peak = run_apart(
                "table_against_torch", self.args.data, name, width, self.args.threads, self.args.repeats
            )
            self.measures[key] = ratio
            self.note(
                f"Table work of a step, {name} bags of {ids:.0f} ids, 1M x {width}, batch 2048: {1e3 * ours:.0f} ms, "
                f"torch {1e3 * theirs:.0f} ms: {ratio:.1f}x; weights differ by {worst:.0e} at most; {peak:.1f} GB."
            )


# ---- in a process of its own -----------------------------------------------------------------------------------------


def count_file(path: str, memory: str, result: str, threads: int) -> tuple[float, float]:
    """Count a Parquet file of texts as a stream; (peak GB, seconds)."""

    class Batches:
        def __iter__(self) -> Iterator[Any]:
            for batch in pq.ParquetFile(path).iter_batches(batch_size=20_000, columns=["text"]):
                yield batch["text"]

    seconds, vocabulary = seconds_of(
        lambda: Vocabulary.count(Batches(), size=VOCABULARY, memory=memory, threads=threads)
    )
    peak = peak_gb()
    vocabulary.save(result)
    return peak, seconds


def table_against_torch(data: str, name: str, width: int, threads: int, repeats: int) -> tuple[tuple, float]:
    """((times faster, our seconds, torch's, largest difference of a weight after a step, ids a bag), peak GB)."""
    import torch

    torch.set_num_threads(threads)
    task = Task(name, Path(data))
    texts = task.train[0]
    vocabulary = Vocabulary.count([texts, task.unlabelled], size=VOCABULARY)
    draw = np.random.default_rng(0)
    batches = []
    for _ in range(4):
        ids, offsets = vocabulary.bags([texts[i] for i in draw.choice(len(texts), 2048, replace=False)], threads)
        batches.append((ids, offsets, draw.standard_normal((2048, width), np.float32) / 2048))
    # Both train the same table, which saves 4 GB; their moments are their own.
    table = np.empty((VOCABULARY, width), np.float32)
    for rows in np.array_split(table, 100):
        draw.standard_normal(out=rows, dtype=np.float32)
    moments = np.zeros_like(table), np.zeros_like(table)
    layer = torch.nn.EmbeddingBag(VOCABULARY, width, mode="mean", sparse=True, _weight=torch.from_numpy(table))
    optimizer = torch.optim.SparseAdam(layer.parameters(), lr=1e-3, betas=(0.9, 0.98), eps=1e-6)
    done = [0]

    def ours(ids: np.ndarray, offsets: np.ndarray, gradient: np.ndarray) -> np.ndarray:
        done[0] += 1
        out = np.empty((len(offsets) - 1, width), np.float32)
        _core.bag_mean(table, ids, offsets, out, threads)
        _core.bag_adam(table, *moments, ids, offsets, gradient, 1e-3, 0.9, 0.98, 1e-6, done[0], threads)
        return out

    def theirs(ids: np.ndarray, offsets: np.ndarray, gradient: np.ndarray) -> np.ndarray:
        out = layer(torch.from_numpy(ids.astype(np.int32)), torch.from_numpy(offsets[:-1].astype(np.int32)))
        optimizer.zero_grad(set_to_none=True)
        out.backward(torch.from_numpy(gradient))
        optimizer.step()
        return out.detach().numpy()

    worst = 0.0
    touched = np.unique(batches[0][0])
    before = table[touched]
    pooled, after = [], []
    for step in (ours, theirs):
        table[touched] = before
        pooled.append(step(*batches[0]))
        after.append(table[touched])
    worst = max(float(np.abs(a - b).max()) for a, b in (pooled, after))
    turn = iter(range(1, 1 << 30))

    def timed(step: Any) -> float:
        batch = batches[next(turn) // 2 % len(batches)]  # the two of a pair get the same
        return seconds_of(lambda: step(*batch))[0]

    mine, torchs = alternate([lambda: timed(ours), lambda: timed(theirs)], repeats + 1)
    mine, torchs = mine[1:], torchs[1:]
    ratio = statistics.median(b / a for a, b in zip(mine, torchs, strict=True))
    size = statistics.mean(len(ids) / 2048 for ids, _, _ in batches)
    return (ratio, statistics.median(mine), statistics.median(torchs), worst, size), peak_gb()


def run_apart(function: str, *arguments: Any) -> Any:
    """``function(*arguments)`` of this file in a process of its own."""
    command = [
        sys.executable,
        __file__,
        "--apart",
        function,
        json.dumps([str(a) if isinstance(a, Path) else a for a in arguments]),
    ]
    return json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE).stdout)


def peak_gb() -> float:
    """Peak resident memory of this process, in units of 10^9 bytes."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e9


def seconds_of(work: Any) -> tuple[float, Any]:
    start = time.perf_counter()
    result = work()
    return time.perf_counter() - start, result


def fresh(texts: list[str]) -> list[str]:
    """Copies on which nothing is cached."""
    return [text.encode().decode() for text in texts]


def many_short_texts(task: Task, path: Path, count: int) -> Path:
    """A Parquet file of sentences drawn again and again, each with a fifth of its words changed.

    A changed word is another of the corpus, or (one in four) a new one, so that distinct n-grams keep growing.
    """
    if path.exists():
        return path
    sentences = [text.split() for text in [*task.train[0], *task.unlabelled]]
    words = sorted({word for sentence in sentences for word in sentence})
    draw = random.Random(0)
    temporary = path.with_suffix(".part")
    with (
        pq.ParquetWriter(temporary, pa.schema([("text", pa.string())])) as writer,
        Progress("short texts", count) as bar,
    ):
        for begin in range(0, count, 100_000):
            texts = []
            for _ in range(min(100_000, count - begin)):
                sentence = list(draw.choice(sentences))
                for _ in range(1 + len(sentence) // 5):
                    new = draw.choice(words) if draw.random() < 0.75 else f"{draw.choice(words)}{draw.randrange(1000)}"
                    sentence[draw.randrange(len(sentence))] = new
                texts.append(" ".join(sentence))
            writer.write_table(pa.table({"text": texts}))
            bar.add(len(texts))
    temporary.rename(path)
    return path


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="folder of the data sets")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the measures here")
    parser.add_argument("--only", nargs="+", choices=Bench.PARTS, help="parts to run")
    parser.add_argument("--repeats", type=int, default=5, help="turns of each contender; medians count")
    parser.add_argument("--threads", type=int, default=min(2, default_threads()))
    parser.add_argument("--short", type=int, default=10_000_000, metavar="N", help="texts of the part `spill`")
    parser.add_argument("--out", type=Path, default=Path.home() / ".cache" / "sparsedistill-benchmarks",
                        help="folder for what is made once")  # fmt: skip
    return parser.parse_args()


def main() -> None:
    if sys.argv[1:2] == ["--apart"]:
        print(json.dumps(globals()[sys.argv[2]](*json.loads(sys.argv[3]))))
        return
    args = arguments()
    args.out.mkdir(parents=True, exist_ok=True)
    bench = Bench(args)
    bench.hold()
    print("\n".join(f"- {line}" for line in bench.lines))
    if args.json:
        args.json.write_text(json.dumps({"measures": bench.measures}, indent=1) + "\n")


if __name__ == "__main__":
    main()
