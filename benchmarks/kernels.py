"""Scoring under every instruction set that this machine has: the same bits, and a wider one never slower.

Classifiers with random rows over the n-grams of IMDB's train set label its test set on one thread. The instruction sets
take turns; a ratio is the median of the ratios of neighbouring runs. The exit status is 1 where bits differ, or where a
wider set is slower than a narrower one beyond noise: by more than ``--noise`` in the median, and in most of the runs.

    python benchmarks/kernels.py --data ../shared/data
"""

from __future__ import annotations

import argparse
import statistics
import sys
import time
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
from timing import alternate, paired

from sparsedistill import _core
from sparsedistill.rows import packed, stride_of
from sparsedistill.student.vocabulary import Vocabulary

# (type of the rows, columns, pooling); in the lookup table's own slots where the type is "slots".
KINDS = [
    *((rows, width, "mean") for rows in ("int4", "int8", "int16", "float16", "float32") for width in (16, 64, 256)),
    *(
        (rows, 64, pooling)
        for rows in ("int4", "int8", "int16", "float16", "float32")
        for pooling in ("sum", "sqrtn", "max", "mean+max")
    ),
    *((rows, 65, "attentive") for rows in ("float16", "float32")),
    *(("slots", width, "mean") for width in (1, 2, 4)),
]


def models(vocabulary: Vocabulary) -> Iterator[tuple[str, _core.Model]]:
    """(name, model) of each kind, with random numbers and one dense layer, made when it is asked for."""
    random = np.random.default_rng(0)
    rules = vocabulary.rules.config()
    for rows, width, pooling in KINDS:
        kind = "int16" if rows == "slots" else rows
        if kind == "int4":
            table = packed(random.integers(-7, 7, (len(vocabulary), width), np.int8, endpoint=True))
        elif kind.startswith("int"):
            most = np.iinfo(kind).max
            stride = width if rows == "slots" else stride_of(width, kind)
            table = random.integers(-most, most, (len(vocabulary), stride), kind, endpoint=True)
        else:
            table = random.standard_normal((len(vocabulary), stride_of(width, kind)), np.float32).astype(kind)
        if pooling == "attentive":
            table[:, width - 1] = np.abs(table[:, width - 1]) + table.dtype.type(0.01)
        scale = random.uniform(0.5, 1, width).astype(np.float32) if kind.startswith("int") else None
        pooled = {"mean+max": 2 * width, "attentive": width - 1}.get(pooling, width)
        bias = np.zeros(pooled, np.float32)
        if rows == "slots":
            slots, seed = vocabulary.slots_holding(table)
            lookup = _core.Lookup(slots, 0, width, seed, **rules)
            yield f"{width} in slots", _core.Model(lookup, None, scale, bias, False, [])
        else:
            layer = random.standard_normal((pooled, 2)).astype(np.float32), np.zeros(2, np.float32)
            yield (
                f"{width} {rows} {pooling}",
                _core.Model(vocabulary.lookup, table, scale, bias, True, [layer], pooling),
            )


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--data", type=Path, required=True, help="folder that has imdb/train.parquet and imdb/test.parquet"
    )
    parser.add_argument("--rows", type=int, default=1_000_000, help="n-grams that have a row (default: %(default)s)")
    parser.add_argument("--texts", type=int, default=5000, help="texts of each run (default: %(default)s)")
    parser.add_argument("--repeats", type=int, default=15, help="runs of each instruction set (default: %(default)s)")
    parser.add_argument("--noise", type=float, default=0.03, help="share that is no difference (default: %(default)s)")
    parser.add_argument("--only", default="", help="kinds whose name has this in it: 'int8 mean'")
    asked = parser.parse_args()
    train, test = (
        pq.read_table(asked.data / "imdb" / f"{part}.parquet")["text"].to_pylist() for part in ("train", "test")
    )
    texts = test[:: max(1, len(test) // asked.texts)][: asked.texts]
    names = _core.kernels()
    failed = False
    print(f"{len(texts):,} reviews, {asked.rows:,} 1- and 2-grams, one thread; texts a second, and over the set before")
    for kind, model in models(Vocabulary.count([train], max_n=2, size=asked.rows)):
        if asked.only not in kind:
            continue
        logits: dict[str, bytes] = {}

        def turn(name: str, model: _core.Model = model, logits: dict[str, bytes] = logits) -> float:
            _core.use_kernels(name)
            start = time.process_time()
            scores = model.score(texts, 1)
            taken = time.process_time() - start
            logits[name] = scores.tobytes()
            return taken

        taken = alternate([lambda name=name: turn(name) for name in names], asked.repeats + 1)  # the first warms up
        seconds = {name: mine[1:] for name, mine in zip(names, taken, strict=True)}
        line = [f"{names[0]} {len(texts) / statistics.median(seconds[names[0]]):,.0f}"]
        for narrow, wide in pairwise(names):
            ratio = paired(seconds[narrow], seconds[wide])
            lost = sum(a < b for a, b in zip(seconds[narrow], seconds[wide], strict=True))
            slower = ratio < 1 - asked.noise and 4 * lost >= 3 * asked.repeats
            line.append(
                f"{wide} {len(texts) / statistics.median(seconds[wide]):,.0f} ({ratio:.2f}{' SLOWER' * slower})"
            )
            failed |= slower
        if len(set(logits.values())) > 1:
            line.append("BITS DIFFER")
            failed = True
        print(f"{kind:20} {'  '.join(line)}", flush=True)
    _core.use_kernels(names[-1])
    return int(failed)


if __name__ == "__main__":
    sys.exit(main())
