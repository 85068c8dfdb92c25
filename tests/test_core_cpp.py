"""The tests of the core that need no Python: programs of tests/core, built by CMake and run."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest
from conftest import ROOT

from sparsedistill.locks import lock

PROGRAMS = sorted(path.stem for path in (ROOT / "tests" / "core").glob("*.cpp"))


@pytest.fixture(scope="module")
def programs() -> Path:
    """The folder of the programs; those of a build that is there already where SPARSEDISTILL_CORE_TESTS names it."""
    if given := os.environ.get("SPARSEDISTILL_CORE_TESTS"):
        return Path(given)
    cmake = shutil.which("cmake", path=os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]]))
    if not cmake or not shutil.which(os.environ.get("CXX", "c++")):
        pytest.skip("there is no CMake, or no C++ compiler")
    build = ROOT / "build" / "core-tests"
    build.mkdir(parents=True, exist_ok=True)
    options = "-DSPARSEDISTILL_PYTHON=OFF", "-DSPARSEDISTILL_TESTS=ON"
    with open(build / "lock", "w") as file:
        while True:  # other processes of pytest build the same
            try:
                lock(file)
                break
            except BlockingIOError:
                time.sleep(0.1)
        for command in ([cmake, "-S", ROOT, "-B", build, *options], [cmake, "--build", build, "--parallel", "2"]):
            done = subprocess.run(command, capture_output=True, text=True)
            assert done.returncode == 0, (done.stdout + done.stderr)[-4000:]
    return build / "tests" / "core"


@pytest.mark.timeout(1200)  # seconds; with sanitizers, on a machine that is busy
@pytest.mark.parametrize("program", PROGRAMS)
def test_a_program_finds_all_right(program, programs):
    done = subprocess.run([programs / f"test_{program}"], capture_output=True, text=True)
    assert (done.returncode, done.stdout.splitlines()[-1:]) == (0, ["all right"]), (
        done.stdout[-4000:] + done.stderr[-4000:]
    )
