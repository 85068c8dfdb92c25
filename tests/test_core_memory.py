"""Memory: what long texts take, in other processes."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

MEASURE = """
import gc, os, sys, tempfile
from concurrent.futures import ThreadPoolExecutor
import numpy as np
from sparsedistill import _core

what, tokenizer, megabytes, threads = sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4])
ngrams = ["a", "  ", "  a", " a", " a ", ".", "w1", "w2", "漢", "😀", "é", "\ufffd", "a a", "a .", "漢 漢", "w1 w2"]
encoded = [ngram.encode() for ngram in ngrams]
offsets = np.cumsum([0, *map(len, encoded)], dtype=np.uint64)
slots, seed = _core.build_slots(np.frombuffer(b"".join(encoded), np.uint8), offsets, 0)
of_characters = "characters" in what
rules = {"characters": "all" if of_characters else "none", "characters_min": 1, "characters_max": 8}
lookup = _core.Lookup(slots, len(ngrams), 0, seed, tokenizer, True, 4, **rules)
scale = {"int8": np.ones(16, np.float32)}.get(what)
rows = np.ones((len(ngrams), 16), what if what in ("int8", "float32") else np.float32)
model = _core.Model(lookup, rows, scale, np.zeros(16, np.float32), False, [])
counter = _core.Counter(tokenizer, True, 4, 1 << 22, tempfile.gettempdir(), of_characters=of_characters, **rules)
call = {
    "bags": lambda text: lookup.bags([text], 1),
    "add": lambda text: counter.add([text], 1, 1),
    "add characters": lambda text: counter.add([text], 1, 1),
    "fingerprints": lambda text: _core.fingerprints([text], 1),
}.get(what, lambda text: model.score([text], 1))

def status(field):
    return next(int(line.split()[1]) << 10 for line in open("/proc/self/status") if line.startswith(field))

for name, piece in {PIECES}.items():
    child = os.fork()
    if child:
        assert os.waitpid(child, 0)[1] == 0, name
        continue
    text = piece * ((megabytes << 20) // len(piece))
    with ThreadPoolExecutor(threads) as pool:
        list(pool.map(call, [b"a w1 w2"] * threads))
        open("/proc/self/clear_refs", "w").write("5")
        before = status("VmRSS")
        results = list(pool.map(call, [text] * threads))
        peak = status("VmHWM") - before
        if what == "bags":
            peak -= sum(array.nbytes for result in results for array in result)
        del results
        gc.collect()
        print(peak / threads, (status("VmRSS") - before) / threads, len(text), name, sep="\\t", flush=True)
    os._exit(0)
"""

PIECES = {
    name: piece.encode() if isinstance(piece, str) else piece
    for name, piece in {
        "letters": "a ", "dots": "a.", "prose": "w1 w2 unknown ", "cjk": "漢", "thai": "กำ", "emoji": "😀",
        "joined emoji": "😀\u200d", "accents": "é", "marks": "\u0301", "dotted capitals": "İ", "sigmas": "Σ'",
        "bytes": b"\xff", "spaced bytes": b"\xff ", "one word": "x", "long words": "y" * 100_000 + " ", "spaces": " ",
        "control": "\0", "hangul": "\u1100\u1161",
    }.items()
}  # fmt: skip


def measured(what: str, tokenizer: str, megabytes: int, threads: int) -> list[tuple[float, float, int, str]]:
    if not Path("/proc/self/clear_refs").exists():
        pytest.skip("the most memory a process had can be set back on Linux alone")
    code = MEASURE.replace("{PIECES}", repr(PIECES))
    done = subprocess.run(
        [sys.executable, "-c", code, what, tokenizer, str(megabytes), str(threads)],
        cwd=Path(__file__).parent,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    rows = [line.split("\t") for line in done.stdout.splitlines()]
    assert len(rows) == len(PIECES)
    return [(float(peak), float(kept), int(size), name) for peak, kept, size, name in rows]


FIXED = 8 << 20


@pytest.mark.parametrize("tokenizer", ["words", "sklearn", "whitespace"])
@pytest.mark.parametrize("what", ["int8", "float32", "characters", "bags", "add", "add characters", "fingerprints"])
def test_a_long_text_takes_a_few_times_its_memory(what, tokenizer):
    for peak, kept, size, name in measured(what, tokenizer, 8, 1):
        assert peak < 8 * size + FIXED, name
        assert kept < FIXED, name


def test_threads_keep_a_fixed_amount():
    for _, kept, _, name in measured("int8", "words", 2, 4):
        assert kept < FIXED, name
