"""The table's columns split over two processes: the same student, to rounding."""

from __future__ import annotations

import shutil
import subprocess
import sys
from typing import Any

import numpy as np

from sparsedistill.errors import SettingsError

from ..study import kept, main
from ..task import Task, decided, dev_figure


def measure(task: Task) -> dict[str, Any]:
    """By the number of processes: accuracy and seconds; and the share of test texts on which both agree."""
    task.taught()
    found: dict[str, Any] = {}
    said = {}
    for processes in (1, 2):
        run = kept(task, f"columns-{processes}")
        run.execute(("count",))
        if processes == 1:
            run.execute(("distill",))
        else:
            words = ["--standalone", "--nproc-per-node", str(processes), "-m", "--", "sparsedistill", "distill"]
            command = [sys.executable, "-m", "torch.distributed.run", *words, "--run", str(run.directory)]
            # In the checkout its folder `sparsedistill`, which has no compiled core, would be in the way.
            if subprocess.run(command, cwd=run.directory, check=False).returncode:
                raise SettingsError("torchrun failed: what it said stands above")
        run.execute(("compress",))
        said[processes] = decided(task, run, "kd")
        found[str(processes)] = {
            "accuracy": task.accuracies(said[processes]),
            "dev": dev_figure(run, "kd"),
            "seconds": run.result_of("distill.kd")["seconds"],
        }
        shutil.rmtree(run.directory)
    return {**found, "agreement": float(np.mean(said[1] == said[2]))}


if __name__ == "__main__":
    main(__doc__, ("trec6",), measure)
