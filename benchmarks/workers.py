"""A contender in a process of its own, which stays alive so that contenders can take turns.

Its memory, its thread pools and its libraries cannot get in another's way. Messages are pickled tuples over pipes:
``texts`` hands over the texts, ``prepare`` makes fresh copies of them, ``run`` labels these and times it.
"""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import pickle
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np


class BaselineError(Exception):
    """Why a contender cannot take part, in one line."""


class Worker:
    """``baselines.NAME(**options)``, loaded. Errors: BaselineError."""

    def __init__(self, name: str, threads: int = 1, processes: int = 1, **options: Any):
        pools = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "RAYON_NUM_THREADS")
        env = os.environ | dict.fromkeys(pools, str(threads))
        env |= {"TOKENIZERS_PARALLELISM": "true" if threads > 1 else "false", "HF_HUB_OFFLINE": "1"}
        self.name, self.threads, self.texts = name, max(threads, processes), 0
        self._process = subprocess.Popen(
            [sys.executable, str(Path(__file__))], stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=env
        )
        try:
            self.note: str = self._ask(name, {**options, "threads": threads}, processes)
        except BaseException:
            self.close()
            raise

    def give(self, texts: list[str], gold: np.ndarray) -> str:
        """Hand over the texts it will be timed on; returns what it has to say of how it goes about them."""
        self.texts, self._gold = len(texts), gold
        self.accuracy = float("nan")
        return self._ask("texts", texts, gold)

    def run(self) -> float:
        """Seconds from texts to labels; sets ``predictions`` (ids, int64) and ``accuracy`` of this very call."""
        self._ask("prepare")
        seconds, self.predictions = self._ask("run")
        self.accuracy = float((self.predictions == self._gold).mean())
        return seconds

    def close(self) -> None:
        with contextlib.suppress(BrokenPipeError):  # it may be dead already
            self._process.stdin.close()
        self._process.stdout.close()
        self._process.wait()

    def __enter__(self) -> Worker:
        return self

    def __exit__(self, *_) -> None:
        self.close()

    def _ask(self, *message: Any) -> Any:
        try:
            pickle.dump(message, self._process.stdin)
            self._process.stdin.flush()
            kind, answer = pickle.load(self._process.stdout)
        except (EOFError, BrokenPipeError):
            raise BaselineError(f"its process ended with status {self._process.wait()}") from None
        if kind == "error":
            raise BaselineError(answer)
        return answer


class _Share:
    """A baseline and the part of the texts it labels in this process."""

    def __init__(self, baseline: Any):
        self._rival, self._raw, self._texts = baseline, [], None

    def texts(self, texts: list[str], gold: np.ndarray) -> str:
        self._raw = [text.encode() for text in texts]
        return self._rival.warm(texts, gold) or ""

    def prepare(self) -> None:
        # New str objects each time: nothing an earlier run may have cached on them counts.
        self._texts = self._rival.prepare([raw.decode() for raw in self._raw])

    def run(self) -> tuple[float, float, np.ndarray]:
        texts, self._texts = self._texts, None
        start = time.perf_counter()
        answers = self._rival.label(texts)
        end = time.perf_counter()
        return start, end, self._rival.ids(answers)


def _child(share: _Share, pipe: Any) -> None:
    while message := pipe.recv():
        try:
            pipe.send((None, getattr(share, message[0])(*message[1:])))
        except Exception as error:
            pipe.send((_line(error), None))


class _Shares:
    """A baseline forked into ``processes``, for one that cannot use threads: text i goes to the i-th, modulo."""

    def __init__(self, baseline: Any, processes: int):
        fork = multiprocessing.get_context("fork")
        self._pipes, self._total = [], 0
        for _ in range(processes):
            pipe, end = fork.Pipe()
            fork.Process(target=_child, args=(_Share(baseline), end), daemon=True).start()
            self._pipes.append(pipe)

    def texts(self, texts: list[str], gold: np.ndarray) -> str:
        self._total, n = len(texts), len(self._pipes)
        return self._all(*(("texts", texts[i::n], gold[i::n]) for i in range(n)))[0]

    def prepare(self) -> None:
        self._all(*[("prepare",)] * len(self._pipes))

    def run(self) -> tuple[float, float, np.ndarray]:
        done = self._all(*[("run",)] * len(self._pipes))
        ids = np.empty(self._total, np.int64)
        for i, (_, _, some) in enumerate(done):
            ids[i :: len(done)] = some
        return min(start for start, _, _ in done), max(end for _, end, _ in done), ids

    def _all(self, *messages: tuple) -> list[Any]:
        for pipe, message in zip(self._pipes, messages, strict=True):
            pipe.send(message)
        answers = [pipe.recv() for pipe in self._pipes]
        for error, _ in answers:
            if error:
                raise BaselineError(error)
        return [answer for _, answer in answers]


def _serve() -> None:
    replies = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # what libraries print must not get among the replies

    def reply(kind: str, answer: Any) -> None:
        pickle.dump((kind, answer), replies)
        replies.flush()

    import baselines

    name, options, processes = pickle.load(sys.stdin.buffer)
    try:
        baseline = getattr(baselines, name)(**options)
        note = baseline.load()
        share = _Share(baseline) if processes == 1 else _Shares(baseline, processes)
    except Exception as error:
        reply("error", _line(error))
        return
    reply("ok", note or "")
    while True:
        try:
            kind, *rest = pickle.load(sys.stdin.buffer)
        except EOFError:
            return
        try:
            answer = getattr(share, kind)(*rest)
            if kind == "run":
                answer = (answer[1] - answer[0], answer[2])
        except Exception as error:
            reply("error", _line(error))
        else:
            reply("ok", answer)


def _line(error: Exception) -> str:
    return " ".join(f"{type(error).__name__}: {error}".split())[:300]


if __name__ == "__main__":
    _serve()
