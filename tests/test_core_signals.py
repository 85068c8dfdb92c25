"""Ctrl-C in the long calls of the core, with real signals, in processes of their own."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

# What would take many seconds or minutes; `call` is what is interrupted. Whatever it is, one short call comes first.
PREPARE = """
import os, signal, sys, threading, time
import numpy as np
from sparsedistill import _core
from sparsedistill.progress import deferred_interrupt

signal.signal(signal.SIGINT, signal.default_int_handler)  # ignored where the tests run in the background

threads = int(sys.argv[1])
words = [f"w{i}" for i in range(5000)]
rng = np.random.default_rng(0)
def text(n): return " ".join(words[i] for i in rng.integers(0, 5000, n))
some = [text(200) for _ in range(2000)]
many = some * 60
def packed(ngrams):
    encoded = [ngram.encode() for ngram in ngrams]
    return np.frombuffer(b"".join(encoded), np.uint8), np.cumsum([0, *map(len, encoded)], dtype=np.uint64)
slots, seed = _core.build_slots(*packed(words), 0)
lookup = _core.Lookup(slots, 5000, 0, seed, "words", True, 2)
rows = rng.integers(-100, 100, (5000, 512), np.int8)
model = _core.Model(lookup, rows, np.ones(512, np.float32), np.zeros(512, np.float32), False,
                    [(np.ones((512, 3), np.float32), np.ones(3, np.float32))])
counter = _core.Counter("words", True, 4, 1 << 24, "/tmp")
def again(call, *given):
    while True: call(*given)
"""

CALLS = {
    "score": ("", "model.score(many * 20, threads)"),
    "names": ("", "model.choose(('a', 'b', 'c'), many * 20, threads)"),
    "bags": ("", "lookup.bags(many * 20, threads)"),
    "fingerprints": ("", "_core.fingerprints(many * 60, threads)"),
    "tokenize": ("", "again(_core.tokenize, some, 'words', True)"),
    "probabilities": ("logits = np.ones((3_000_000, 40), np.float32)", "_core.probabilities(logits, False)"),
    "build_slots": (
        "data = np.frombuffer(np.arange(10**8, 10**8 + 20_000_000).astype('S9').tobytes(), np.uint8);"
        "offsets = np.arange(20_000_001, dtype=np.uint64) * np.uint64(9)",
        "_core.build_slots(data, offsets, 0)",
    ),
    "add": ("", "counter.add(many * 5, 1, threads)"),
    "choose": (
        "for k in range(10, 20): counter.add([' '.join(map(str, range(k * 10**6, k * 10**6 + 10**6)))], 1, 2)",
        "counter.choose(1 << 40, 1, threads)",
    ),
    "spell": (
        "counter.add(some, 1, threads); counter.choose(1 << 40, 1, threads)",
        "counter.spell(many * 5, False, threads)",
    ),
    "add in another thread": (
        "threading.Thread(target=counter.add, args=(many * 2, 1, 1), daemon=True).start(); time.sleep(0.3)",
        "counter.add(some[:1], 1, threads)",
    ),
}

RUN = """
{prepare}
def later():
    time.sleep(0.4)
    os.kill(os.getpid(), signal.SIGINT)
    at.append(time.monotonic())
at = []
{setup}
threading.Thread(target=later, daemon=True).start()
try:
    {call}
    print("ended by itself")
except KeyboardInterrupt:
    print("interrupted after", time.monotonic() - at[0] if at else 0.0)
"""


def run(code: str, threads: int) -> list[str]:
    code += "\nsys.stdout.flush(); os._exit(0)  # without waiting for a thread that is still at work"
    done = subprocess.run(
        [sys.executable, "-c", code, str(threads)],
        cwd=Path(__file__).parent,
        capture_output=True,
        text=True,
        timeout=250,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


def seconds(lines: list[str]) -> float:
    assert lines[-1].startswith("interrupted after"), lines
    return float(lines[-1].split()[-1])


@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize("name", CALLS)
def test_an_interrupt_ends_a_long_call(name, threads):
    setup, call = CALLS[name]
    took = seconds(run(RUN.format(prepare=PREPARE, setup=setup, call=call), threads))
    assert took < 5  # 0.2 s on a quiet machine; tests are not timed, and each of these calls would take longer


def test_an_interrupt_that_a_handler_only_notes_ends_nothing():
    code = RUN.format(
        prepare=PREPARE,
        setup="",
        call="""
    with deferred_interrupt() as came:
        found = model.score(some * 20, threads)
        while not came():
            found = model.score(some * 20, threads)
        print("whole:", np.array_equal(found[:2000], model.score(some, 1)), len(found))
        """,
    )
    lines = run(code, 2)
    assert lines[-2] == "whole: True 40000"
    seconds(lines)  # raised when the block ends


def test_after_an_interrupt():
    code = RUN.format(
        prepare=PREPARE + "before = model.score(some, 1)", setup="", call="model.score(many * 20, threads)"
    )
    code += """
print("same", np.array_equal(before, model.score(some, threads)))
threading.Thread(target=later, daemon=True).start()
try:
    counter.add(many * 5, 1, threads)
except KeyboardInterrupt:
    pass
for call in (
    lambda: counter.add(some, 1, 1), lambda: counter.choose(5, 1, 1),
    lambda: counter.spell(some, True, 1), lambda: counter.top(1),
):
    try:
        call()
    except RuntimeError as error:
        print(error)
"""
    lines = run(code, 2)
    assert "same True" in lines
    assert sum("count again with a new one" in line or "once they are chosen" in line for line in lines) == 4
