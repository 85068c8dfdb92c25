"""Speed and memory of making a student, beside scikit-learn's and torch's ways; see README.md.

    python benchmarks/training.py --data ../shared/data

Every ratio is taken in one run, and says how far the two results agree.
"""

from __future__ import annotations

import argparse
import json
import random
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import timing
from tasks import Task, sample
from timing import Others, alternate, load_average, paired

from sparsedistill import _core
from sparsedistill.machine import default_threads
from sparsedistill.progress import Progress, say
from sparsedistill.student.vocabulary import Vocabulary

VOCABULARY = 1_000_000


class Bench:
    """The parts; each is a method that ``--only`` can name."""

    PARTS = ("count", "spill", "featurise", "table", "step", "peak", "wait")

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
        taken = [timing.seconds(ours) for _ in range(self.args.repeats)]
        vectorizer = CountVectorizer(ngram_range=(1, 4), max_features=VOCABULARY)
        theirs, counts = timing.timed(lambda: vectorizer.fit_transform(texts))
        more, vocabulary = timing.timed(ours)
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
        ours, theirs = alternate([lambda turn=turn: timing.seconds(turn) for turn in turns], self.args.repeats)
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
        (_, ours, *_, ids), peak = run_apart(
            "table_against_torch", self.args.data, "imdb", 1000, self.args.threads, self.args.repeats, False
        )
        self.note(
            f"The same, imdb bags of {ids:.0f} ids, 1M x 1000, where torch's gradients do not fit: {ours:.3f} seconds "
            f"a step; {peak:.1f} GB."
        )

    def step(self) -> None:
        """A whole step of the paper's student on SST-2 bags, against the same layers in torch."""
        self.measures["step_sst2_vs_torch"] = None
        ratio, ours, theirs, losses = run_apart(
            "step_against_torch", self.args.data, self.args.threads, self.args.repeats
        )
        self.measures["step_sst2_vs_torch"] = ratio
        self.note(
            f"A whole step, sst2 bags, 1M x 1000 -> 1000 -> 2, batch 2048: {1e3 * ours:.0f} ms, torch "
            f"{1e3 * theirs:.0f} ms: {ratio:.1f}x; the loss after one step is {losses[0]:.5f}, torch's {losses[1]:.5f}."
        )

    def peak(self) -> None:
        """Peak memory of training a billion numbers with lazy Adam, and two with row-wise Adagrad."""
        for rows, optimizer in ((1_000_000, "adam"), (2_000_000, "adagrad")):
            key = f"peak_gb_{rows // 1_000_000}b_{optimizer}"
            self.measures[key] = None
            gb, seconds = run_apart("train_wide", rows, optimizer, self.args.threads, self.args.out)
            self.measures[key] = gb
            self.note(
                f"Training {rows:,} x 1000 with {optimizer}, every row touched: peak {gb:.2f} GB, {seconds:.0f} s."
            )

    def wait(self) -> None:
        """Share of a training's time spent waiting for batches, from files, at the default width."""
        found = {}
        self.measures["wait_share"] = None
        for name in self.tasks:
            found[name], seconds, steps = run_apart(
                "train_from_files", self.args.data, name, self.args.threads, self.args.out
            )
            self.note(
                f"Training on {name} from files: {steps:,} steps in {seconds:.0f} s, {found[name]:.2%} spent waiting."
            )
        self.measures["wait_share"] = max(found.values())


# ---- in a process of its own -----------------------------------------------------------------------------------------


def count_file(path: str, memory: str, result: str, threads: int) -> tuple[float, float]:
    """Count a Parquet file of texts as a stream; (peak GB, seconds)."""

    class Batches:
        def __iter__(self) -> Iterator[Any]:
            for batch in pq.ParquetFile(path, pre_buffer=False).iter_batches(batch_size=20_000, columns=["text"]):
                yield batch["text"]

    seconds, vocabulary = timing.timed(
        lambda: Vocabulary.count(Batches(), size=VOCABULARY, memory=memory, threads=threads)
    )
    peak = peak_gb()
    vocabulary.save(result)
    return peak, seconds


def table_against_torch(
    data: str, name: str, width: int, threads: int, repeats: int, against: bool = True
) -> tuple[tuple, float]:
    """((times faster, our seconds, torch's, largest difference of a weight after a step, ids a bag), peak GB).

    Not ``against`` torch: what is said of it is of ours.
    """
    import torch

    torch.set_num_threads(threads)
    task = Task(name, Path(data))
    texts = task.train[0]
    vocabulary = Vocabulary.count([texts, task.unlabelled], tokenizer="sklearn", size=VOCABULARY)
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
    steps = (ours, theirs) if against else (ours,)
    for step in steps:
        table[touched] = before
        pooled.append(step(*batches[0]))
        after.append(table[touched])
    worst = max(float(np.abs(both[0] - both[-1]).max()) for both in (pooled, after))
    turn = iter(range(1, 1 << 30))

    def timed(step: Any) -> float:
        batch = batches[next(turn) // len(steps) % len(batches)]  # the two of a pair get the same
        return timing.seconds(lambda: step(*batch))

    taken = alternate([lambda step=step: timed(step) for step in steps], repeats + 1)
    mine, last = taken[0][1:], taken[-1][1:]
    ratio = statistics.median(b / a for a, b in zip(mine, last, strict=True))
    size = statistics.mean(len(ids) / 2048 for ids, _, _ in batches)
    return (ratio, statistics.median(mine), statistics.median(last), worst, size), peak_gb()


def step_against_torch(data: str, threads: int, repeats: int) -> tuple[float, float, float, list[float]]:
    """(times faster, our seconds, torch's, each's loss after a step): SST-2 bags, 1M x 1000 -> 1000 -> 2."""
    import torch
    from torch import nn

    from sparsedistill.student.dataset import Batch
    from sparsedistill.student.model import Student
    from sparsedistill.student.table import BETAS, EPSILON, LazyAdam
    from sparsedistill.student.train import learn
    from sparsedistill.tasks import TASKS, Single

    torch.set_num_threads(threads)
    task, width = Task("sst2", Path(data)), 1000
    texts, gold = task.train
    vocabulary = Vocabulary.count([texts, task.unlabelled], tokenizer="sklearn", size=VOCABULARY)
    draw = np.random.default_rng(0)
    batches = []
    for _ in range(4):
        which = draw.choice(len(texts), 2048, replace=False)
        bags = vocabulary.bags([texts[i] for i in which], threads)
        batches.append(Batch(*bags, np.eye(2, dtype=np.float32)[gold[which]]))
    student = Student(VOCABULARY, 2, (width,), width, 0.1, 0)
    student.train()
    lazy, dense = LazyAdam(student.table), torch.optim.Adam(student.parameters(), betas=BETAS, eps=EPSILON)
    # Both train the same table, which saves 4 GB; their moments are their own.
    weight = torch.from_numpy(student.table)
    layer = nn.EmbeddingBag(VOCABULARY, width, mode="mean", sparse=True, _weight=weight)
    twin = Student(1, 2, (width,), width, 0.1, 0)
    twin.load_state_dict(student.state_dict())
    twin.train()
    sparse = torch.optim.SparseAdam(layer.parameters(), betas=BETAS, eps=EPSILON)
    other = torch.optim.Adam(twin.parameters(), betas=BETAS, eps=EPSILON)
    done, losses = [0, 0], [0.0, 0.0]

    def ours(batch: Batch) -> None:
        done[0] += 1
        losses[0] = learn(student, lazy, dense, batch, Single(), 5e-4, done[0], threads, 0)

    def theirs(batch: Batch) -> None:
        done[1] += 1
        torch.manual_seed(int(np.random.default_rng([0, 3, done[1]]).integers(1 << 62)))
        for optimizer in (sparse, other):
            optimizer.zero_grad(set_to_none=True)
            optimizer.param_groups[0]["lr"] = 5e-4
        ids, starts = torch.from_numpy(batch.ids.view(np.int32)), torch.from_numpy(batch.offsets[:-1].astype(np.int32))
        loss = TASKS["single"].loss(twin(layer(ids, starts)), torch.from_numpy(batch.targets))
        loss.backward()
        for optimizer in (sparse, other):
            optimizer.step()
        losses[1] = loss.item()

    touched = np.unique(batches[0].ids)
    before, first = student.table[touched], []
    for step in (ours, theirs):  # two steps on one batch: the second loss tells whether the first has learnt the same
        student.table[touched] = before
        step(batches[0])
        step(batches[0])
        first.append(losses[len(first)])
    turns = [
        lambda: timing.seconds(lambda: ours(batches[done[0] % 4])),
        lambda: timing.seconds(lambda: theirs(batches[done[1] % 4])),
    ]
    mine, torchs = (seconds[1:] for seconds in alternate(turns, 4 * repeats + 1))
    ratio = statistics.median(b / a for a, b in zip(mine, torchs, strict=True))
    return ratio, statistics.median(mine), statistics.median(torchs), first


def train_wide(rows: int, optimizer: str, threads: int, out: str) -> tuple[float, float]:
    """Train rows x 1000 -> 2 until every row was touched, checkpoint and all; (peak GB, seconds)."""
    import torch

    from sparsedistill.student.dataset import Batch, InMemory
    from sparsedistill.student.model import Student
    from sparsedistill.student.train import Schedule, train

    torch.set_num_threads(threads)
    steps, texts, length = 8, 2048, 500
    ids = np.concatenate(
        [np.random.default_rng(0).permutation(rows) for _ in range(-(-texts * length * steps // rows))]
    )
    ids = ids[: texts * length * steps].astype(np.uint32)
    offsets = np.arange(0, len(ids) + 1, length, dtype=np.uint64)
    targets = np.tile(np.eye(2, dtype=np.float32), (len(offsets) // 2, 1))
    student = Student(rows, 2, (1000,), 0, 0.1, 0)
    schedule = Schedule(
        steps=steps, batch_size=texts, learning_rate=0.01, warmup=0.1, ngram_dropout=0.0, evaluate_every=steps,
        checkpoint_seconds=1.0, threads=threads, seed=0, optimizer=optimizer,
    )  # fmt: skip
    with tempfile.TemporaryDirectory(dir=out) as directory:
        seconds, _ = timing.timed(
            lambda: train(
                student, InMemory(Batch(ids, offsets, targets)), schedule, "single", Path(directory), lambda _: 0.0,
                "wide", "",
            )
        )  # fmt: skip
    return peak_gb(), seconds


def train_from_files(data: str, name: str, threads: int, out: str) -> tuple[float, float, int]:
    """As many epochs as by default, of more texts than are held: (share of the time spent waiting, seconds, steps)."""
    import torch

    from sparsedistill.data.records import Places
    from sparsedistill.data.texts import Writer
    from sparsedistill.options import Distill
    from sparsedistill.student.dataset import WINDOW, OnDisk, Part
    from sparsedistill.student.model import Student
    from sparsedistill.student.train import Schedule, train

    torch.set_num_threads(threads)
    task = Task(name, Path(data))
    texts, gold = task.train
    vocabulary = Vocabulary.count([texts], size=VOCABULARY)
    with tempfile.TemporaryDirectory(dir=out) as directory:
        path = Path(directory) / "train.parquet"
        with Writer(path, {}) as writer:
            writer.add(texts, Places([(name, range(1, len(texts) + 1))]))
        targets = np.eye(2, dtype=np.float32)[gold]
        parts = [Part(path, lambda begin, end: targets[begin:end])] * (WINDOW // len(texts) + 1)
        steps = round(Distill.epochs * len(texts) * len(parts) / Distill.batch_size)
        schedule = Schedule(
            steps=steps, batch_size=512, learning_rate=0.01, warmup=0.06, ngram_dropout=0.1, evaluate_every=steps,
            checkpoint_seconds=1e9, threads=threads, seed=0,
        )  # fmt: skip
        result = train(
            Student(len(vocabulary), 2, (64,), 0, 0.1, 0), OnDisk(parts, vocabulary, threads), schedule, "single",
            Path(directory) / "student", lambda _: 0.0, name, "",
        )  # fmt: skip
    return result["waited"], result["seconds"], steps


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
    # Not ru_maxrss, which begins with that of the process this one was forked from.
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM")) * 1024 / 1e9


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
    timing.options(parser, 5, min(2, default_threads()))
    parser.add_argument("--only", nargs="+", choices=Bench.PARTS, help="parts to run")
    parser.add_argument("--short", type=int, default=10_000_000, metavar="N", help="texts of the part `spill`")
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
