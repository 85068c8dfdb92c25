"""The table's columns split over two processes: the same student, to rounding."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import numpy as np

from ..cells import TASKS as TITLES
from ..cells import Table, percent
from ..package import SettingsError
from ..records import Recorded
from ..study import forget, kd_run
from ..task import Task, decided, dev_figure

TITLE = "The table split over two processes"
NOTE = (
    "The same settings and seed, the table's columns over two processes. (The paper's student of 2 billion parameters "
    "on two GPUs has 93.1 on IMDB, that of 1 billion on one 93.2.)"
)
TASKS = ("trec6",)


def measure(task: Task) -> dict[str, Any]:
    """By the number of processes: accuracy and seconds; and the share of test texts on which both agree."""
    found: dict[str, Any] = {}
    decisions = {}
    for processes in (1, 2):
        run = kd_run(task, f"columns-{processes}")
        run.execute(("count",))
        if processes == 1:
            run.execute(("distill",))
        else:
            words = ["--standalone", "--nproc-per-node", str(processes), "-m", "--", "sparsedistill", "distill"]
            command = [sys.executable, "-m", "torch.distributed.run", *words, "--run", str(run.directory)]
            if subprocess.run(command, cwd=run.directory, check=False).returncode:
                raise SettingsError("torchrun failed: its own message stands above")
        run.execute(("compress",))
        decisions[processes] = decided(task, run, "kd")
        found[str(processes)] = {
            "accuracy": task.accuracies(decisions[processes]),
            "dev": dev_figure(run, "kd"),
            "seconds": run.result_of("distill.kd")["seconds"],
        }
        forget(run)
    return {**found, "agreement": float(np.mean(decisions[1] == decisions[2]))}


def tables(study: dict[str, Any], results: dict[str, Recorded]) -> list[Table]:
    """A task a row."""
    rows = [["", "one process", "two processes", "decisions in common"]]
    for key, one in study.items():
        cells = [f"{percent(one[n]['accuracy']):.2f} <small>{one[n]['seconds']:.0f} s</small>" for n in ("1", "2")]
        rows.append([TITLES[key], *cells, f"{one['agreement']:.2%}"])
    return [rows]
