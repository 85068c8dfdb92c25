"""Small runs give the weights, logits and predictions that they always gave (:mod:`golden`), also when interrupted."""

from __future__ import annotations

import json
import platform
import subprocess
import sys
from pathlib import Path

import pytest
import torch

HERE = Path(__file__).parent


@pytest.mark.skipif(
    platform.machine() != "x86_64" or not torch.__version__.startswith("2.13."),
    reason="other processors and other versions of torch round otherwise",
)
def test_runs_give_what_they_gave(tmp_path):
    made = subprocess.run(
        [sys.executable, str(HERE / "golden.py"), str(tmp_path / "runs")], capture_output=True, text=True
    )
    assert made.returncode == 0, made.stderr[-4000:]
    found, right = json.loads(made.stdout), json.loads((HERE / "golden.json").read_text(encoding="utf-8"))
    differ = [f"{run}/{name}" for run in right for name in right[run] if found[run].get(name) != right[run][name]]
    assert not differ
    assert found == right
