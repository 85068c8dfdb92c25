"""Allocations that fail: the core's own program, built with one plain set of kernels and run."""

from __future__ import annotations

import os
import shutil
import subprocess
import sysconfig
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
SOURCES = ("text", "lookup", "count", "bag", "score", "dispatch", "kernels")  # all that knows no Python


def compiler() -> str:
    found = os.environ.get("CXX") or (sysconfig.get_config_var("CXX") or "c++").split()[0]
    return found if shutil.which(found) else "c++"


def build(program: str, directory: Path, *flags: str) -> Path:
    """A program of tests/core with the whole core in it."""
    if not shutil.which(compiler()):
        pytest.skip("there is no C++ compiler")
    made = directory / program
    sources = [ROOT / "core" / f"{name}.cpp" for name in SOURCES] + [ROOT / "tests" / "core" / f"{program}.cpp"]
    subprocess.run(
        [compiler(), "-std=c++20", "-O1", "-ffp-contract=off", "-DSPARSEDISTILL_KERNELS=plain", f"-I{ROOT / 'core'}",
         "-w", *flags, *map(str, sources), "-pthread", "-o", str(made)],
        check=True,
    )  # fmt: skip
    return made


def test_an_allocation_that_fails_leaves_nothing_behind(tmp_path):
    flags = os.environ.get("SPARSEDISTILL_TEST_FLAGS", "").split()
    done = subprocess.run([build("inject", tmp_path, *flags)], capture_output=True, text=True)
    assert (done.returncode, done.stdout.splitlines()[-1:]) == (0, ["all right"]), (
        done.stdout[-500:] + done.stderr[-4000:]
    )
