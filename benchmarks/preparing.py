"""Preparing a corpus: texts a second and peak memory, of few and of many texts, from Parquet.

Short texts of drawn words are written to a Parquet file once. A process of its own then prepares them as a run does
(read, fingerprinted, those of dev left out, written), and another copies the file with pyarrow (read and written alike,
nothing looked at); they take turns. Printed are the rates, their ratio, and the peak memory of both sizes, which should
be the same. With ``--alone`` nothing is labelled, so that a part of the corpus is held out, which writes it twice.

    python benchmarks/preparing.py --texts 10000000 --folder ~/.cache/sparsedistill-benchmarks
"""

from __future__ import annotations

import argparse
import statistics
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from sparsedistill import Settings
from sparsedistill.data.prepare import Sources

DEV = 1000  # texts, every tenth of which is in the corpus


def write(path: Path, number: int) -> None:
    """``number`` texts of 5 to 15 words, whose frequencies are those of Zipf's law."""
    random, step = np.random.default_rng(0), 100_000
    words = np.array([f"word{i}" if i > 99 else f"w{i}" for i in range(20_000)])
    chances = np.cumsum(1 / np.arange(1, len(words) + 1))
    with pq.ParquetWriter(path, pa.schema([("text", pa.string())])) as writer:
        for begin in range(0, number, step):
            lengths = random.integers(5, 16, min(step, number - begin))
            drawn = words[np.searchsorted(chances, random.random(lengths.sum()) * chances[-1])].tolist()
            ends = np.cumsum(lengths).tolist()
            texts = [" ".join(drawn[a:b]) for a, b in zip([0, *ends[:-1]], ends, strict=True)]
            writer.write_table(pa.table({"text": texts}))


def prepare(path: Path, alone: bool) -> int:
    """How many texts are left of the corpus, prepared beside ``path``."""
    given: dict = {"corpus": [str(path)], "labels": ["a", "b"]}
    if not alone:
        texts = next(pq.ParquetFile(path).iter_batches(DEV // 10)).column(0).to_pylist()
        texts += [f"text {i} of dev" for i in range(DEV - len(texts))]
        dev = path.with_suffix(".dev.parquet")
        pq.write_table(pa.table({"text": texts, "label": ["a", "b"] * (DEV // 2)}), dev)
        given["dev"] = [str(dev)]
    found = Sources(Settings.of(**given)).prepare(path.with_suffix(".texts"))
    return int(found["corpus"]["texts"])


def copy(path: Path, alone: bool) -> int:
    """The least that preparing could be: read, and written as the prepared texts are."""
    source = pq.ParquetFile(path)
    to = path.with_suffix(".copy.parquet")
    with pq.ParquetWriter(
        to, source.schema_arrow, compression="zstd", compression_level=1, use_dictionary=False
    ) as sink:
        for batch in source.iter_batches(1 << 14):
            sink.write_batch(batch, row_group_size=4096)
    return source.metadata.num_rows


def measured(work: str, path: Path, alone: bool) -> tuple[float, float]:
    """Texts a second and peak megabytes of a process of its own."""
    words = [sys.executable, __file__, "--folder", str(path), "--work", work, *(["--alone"] if alone else [])]
    rate, peak = subprocess.run(words, check=True, stdout=subprocess.PIPE, text=True).stdout.split()
    return float(rate), float(peak)


def main() -> None:
    """Measure both sizes in turns, and print the figures."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--texts", type=int, default=10_000_000)
    parser.add_argument("--folder", type=Path, default=Path("~/.cache/sparsedistill-benchmarks").expanduser())
    parser.add_argument("--turns", type=int, default=3)
    parser.add_argument("--alone", action="store_true", help="without labelled texts: a part is held out")
    parser.add_argument("--work", choices=("prepare", "copy"), help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.work:
        start = time.perf_counter()
        number = {"prepare": prepare, "copy": copy}[given.work](given.folder, given.alone)
        rate = number / (time.perf_counter() - start)
        # Not ru_maxrss, which begins with that of the process this one was forked from.
        status = Path("/proc/self/status").read_text(encoding="utf-8").splitlines()
        sys.stdout.write(f"{rate} {next(int(line.split()[1]) for line in status if line.startswith('VmHWM')) / 1e3}\n")
        return
    given.folder.mkdir(parents=True, exist_ok=True)
    for number in (given.texts // 10, given.texts):
        path = given.folder / f"short-{number}.parquet"
        if not path.is_file():
            write(path, number)
        turns = [(measured("prepare", path, given.alone), measured("copy", path, False)) for _ in range(given.turns)]
        rate, peak = (statistics.median(ours[i] for ours, _ in turns) for i in range(2))
        share = statistics.median(ours[0] / theirs[0] for ours, theirs in turns)
        sys.stdout.write(
            f"{number:,} texts: {rate:,.0f} texts/s, {share:.2f} of the rate of a copy, {peak:,.0f} MB at most\n"
        )


if __name__ == "__main__":
    main()
