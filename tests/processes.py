"""Work in processes of its own, which need not load torch again: a server that has loaded it forks them."""

from __future__ import annotations

import multiprocessing
import os
import socket
import sys
import time
from collections.abc import Callable
from multiprocessing import forkserver
from pathlib import Path
from typing import Any

import pytest

# What takes seconds to load: of torch also what its first optimizer loads.
LOADED = [
    "torch.distributed", "torch._dynamo", "pyarrow.parquet", "sparsedistill.run", "sparsedistill.student.train",
    "matplotlib.figure", "matplotlib.backends.backend_agg",
]  # fmt: skip
_FORK = multiprocessing.get_context("forkserver")


class Forked:
    """``work(*arguments)`` in ``folder``, in several ``processes`` of a group as torchrun starts it.

    Like torchrun it ends all of them where one fails. ``said`` is what they have written to stderr.
    """

    def __init__(self, folder: Path, work: Callable[..., int | None], *arguments: Any, processes: int = 1):
        _FORK.set_forkserver_preload(LOADED)
        with pytest.MonkeyPatch.context() as patch:  # of the server, at its start: a thread each, as torchrun has it
            patch.setenv("OMP_NUM_THREADS", "1")
            forkserver.ensure_running()
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        self._stderr = folder / f"stderr-{port}"
        group = {"WORLD_SIZE": str(processes), "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
        self._processes = []
        for rank in range(processes):
            environment = group | {"RANK": str(rank), "LOCAL_RANK": str(rank)} if processes > 1 else {}
            given = (folder, environment, self._stderr, work, arguments)
            self._processes.append(_FORK.Process(target=_begin, args=given, daemon=True))
            self._processes[-1].start()

    def poll(self) -> int | None:
        """Exit status of one that failed, 0 when all have ended; None until then."""
        found = [process.exitcode for process in self._processes]
        if failed := [status for status in found if status]:
            self.kill()
            return failed[0]
        return None if None in found else 0

    def wait(self, seconds: float = 300.0) -> int:
        """The same at the end."""
        deadline = time.monotonic() + seconds
        while (status := self.poll()) is None:
            if time.monotonic() > deadline:
                self.kill()
                raise TimeoutError(self.said)
            time.sleep(0.02)
        return status

    def kill(self) -> None:
        """``kill -9`` to all of them."""
        for process in self._processes:
            process.kill()
            process.join()

    def send(self, number: int) -> None:
        """A signal to the first."""
        os.kill(self._processes[0].pid, number)

    @property
    def said(self) -> str:
        return self._stderr.read_text(encoding="utf-8") if self._stderr.is_file() else ""


def _begin(folder: Path, environment: dict[str, str], stderr: Path, work: Callable[..., Any], arguments: Any) -> None:
    os.chdir(folder)
    os.environ.update(environment)
    os.dup2(os.open(stderr, os.O_WRONLY | os.O_CREAT | os.O_APPEND), 2)
    sys.exit(work(*arguments))
