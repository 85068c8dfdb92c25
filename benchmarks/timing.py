"""Timing on a machine that others use too: contenders take turns, medians count, and the noise is reported."""

from __future__ import annotations

import argparse
import os
import statistics
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any


def alternate(turns: Sequence[Callable[[], float]], repeats: int) -> list[list[float]]:
    """Seconds of each turn, taken A, B, A, B ..., so that whatever else the machine does hits all alike."""
    taken: list[list[float]] = [[] for _ in turns]
    for _ in range(repeats):
        for mine, turn in zip(taken, turns, strict=True):
            mine.append(turn())
    return taken


def timed(work: Callable[[], Any]) -> tuple[float, Any]:
    """Seconds that ``work()`` takes, and what it gives."""
    start = time.perf_counter()
    result = work()
    return time.perf_counter() - start, result


def seconds(work: Callable[[], Any]) -> float:
    """Seconds that ``work()`` takes."""
    return timed(work)[0]


def options(parser: argparse.ArgumentParser, repeats: int, threads: int) -> None:
    """What all benchmarks ask: data, repetitions, threads, and where files go."""
    parser.add_argument("--data", type=Path, required=True, help="folder of the data sets")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the measures here")
    parser.add_argument("--repeats", type=int, default=repeats, help="turns of each contender; medians count")
    parser.add_argument("--threads", type=int, default=threads, help=f"default: {threads}")
    parser.add_argument("--out", type=Path, default=Path.home() / ".cache" / "sparsedistill-benchmarks",
                        help="folder for what is made: models, texts, table and picture")  # fmt: skip


def paired(ours: list[float], theirs: list[float]) -> float:
    """Median, over the repetitions, of how many times faster ours was; both in units of work a second."""
    return statistics.median(a / b for a, b in zip(ours, theirs, strict=True))


def rates(texts: int, seconds: list[float]) -> list[float]:
    return [texts / s for s in seconds]


class Others:
    """How many processors other programs kept busy while a ``with`` block ran: ``cores``.

    What the whole machine did (a hypervisor's theft counted in) less what this process and its children did.
    """

    def __enter__(self) -> Others:
        self._start, self._all, self._mine = time.monotonic(), self._machine(), self._family()
        return self

    def __exit__(self, *_) -> None:
        busy = (self._machine() - self._all) - (self._family() - self._mine)
        self.cores = max(0.0, busy / max(time.monotonic() - self._start, 1e-9))

    @staticmethod
    def _machine() -> float:
        import psutil  # of benchmarks/requirements.txt, which the experiments and their tests do without

        times = psutil.cpu_times()
        idle = times.idle + getattr(times, "iowait", 0.0)
        counted_twice = getattr(times, "guest", 0.0) + getattr(times, "guest_nice", 0.0)
        return sum(times) - idle - counted_twice

    @staticmethod
    def _family() -> float:
        import psutil

        this = psutil.Process()
        total = 0.0
        for process in [this, *this.children(recursive=True)]:
            try:
                times = process.cpu_times()
            except psutil.NoSuchProcess:
                continue
            total += times.user + times.system + times.children_user + times.children_system
        return total


def load_average() -> str:
    return " ".join(f"{load:.2f}" for load in os.getloadavg())
