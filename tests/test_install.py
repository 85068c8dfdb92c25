"""What a plain ``pip install`` gives: prediction with numpy alone, in an environment of its own."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from conftest import ROOT

from sparsedistill import Classifier
from sparsedistill.student.compress import compress
from sparsedistill.student.model import Student
from sparsedistill.student.vocabulary import Vocabulary

TEXTS = ["good film", "bad film, not good", "", "caf\u00e9 \u4e2d\u6587 \U0001f600"]


@pytest.fixture(scope="module")
def bare(tmp_path_factory) -> Path:
    """A virtual environment with the wheel and numpy."""
    wheels = sorted((ROOT / "build" / "dist").glob("sparsedistill-*.whl"))
    assert wheels, "no wheel in build/dist: run `make test`"
    home = tmp_path_factory.mktemp("bare")
    subprocess.run([sys.executable, "-m", "venv", home], check=True)
    pip = [home / "bin" / "python", "-m", "pip", "install", "-q", "--disable-pip-version-check"]
    subprocess.run([*pip, "-c", ROOT / "constraints.txt", wheels[-1]], check=True)
    return home


@pytest.fixture(scope="module")
def classifier(tmp_path_factory) -> Path:
    vocabulary = Vocabulary.count([TEXTS])
    student = Student(len(vocabulary), 2, (8,), 0, 0.0, 1)
    path = tmp_path_factory.mktemp("classifier") / "classifier"
    compress(student, vocabulary, ("neg", "pos"), "single", extra={"provenance": {}}).save(path)
    return path


def clean(home: Path, *command: str, stdin: str = "") -> subprocess.CompletedProcess:
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
    return subprocess.run(
        [home / "bin" / command[0], *command[1:]],
        input=stdin,
        capture_output=True,
        text=True,
        env=environment,
        cwd=home,
    )


def test_only_numpy_is_installed(bare):
    done = clean(bare, "python", "-m", "pip", "list", "--format=freeze", "--disable-pip-version-check")
    names = {line.split("==")[0].lower() for line in done.stdout.splitlines()} - {"pip", "setuptools"}
    assert names == {"numpy", "sparsedistill"}


def test_import_loads_no_more_than_numpy(bare):
    code = "import sys, sparsedistill; print(*{m.split('.')[0] for m in sys.modules} - set(sys.stdlib_module_names))"
    done = clean(bare, "python", "-c", code)
    assert done.returncode == 0, done.stderr
    assert {name for name in done.stdout.split() if not name.startswith("_")} <= {"numpy", "sparsedistill"}


def test_predict_in_the_bare_environment(bare, classifier):
    done = clean(bare, "sparsedistill", "predict", str(classifier), stdin="\n".join(TEXTS) + "\n")
    assert done.returncode == 0, done.stderr
    expected = Classifier.load(classifier)
    assert [line.split("\t")[0] for line in done.stdout.splitlines()] == expected.predict(TEXTS)
    code = (
        "import sys, sparsedistill, json; c = sparsedistill.Classifier.load(sys.argv[1]);"
        "print(json.dumps(c.decision_function(json.loads(sys.argv[2])).tolist()))"
    )
    done = clean(bare, "python", "-c", code, str(classifier), json.dumps(TEXTS))
    assert np.array_equal(np.array(json.loads(done.stdout), np.float32), expected.decision_function(TEXTS))


def test_what_is_missing_is_named(bare, classifier, tmp_path):
    (tmp_path / "x.parquet").write_bytes(b"PAR1")
    done = clean(bare, "sparsedistill", "predict", str(classifier), str(tmp_path / "x.parquet"))
    assert done.returncode == 2
    assert "sparsedistill[arrow]" in done.stderr
    (tmp_path / "train.csv").write_text("text,label\na,x\nb,y\nc,x\nd,y\n")
    (tmp_path / "run.toml").write_text(f'[data]\ntrain = "{tmp_path}/train.csv"\n[distill]\nmodes = ["scratch"]\n')
    done = clean(bare, "sparsedistill", "run", str(tmp_path / "run.toml"))
    assert done.returncode == 2
    assert "sparsedistill[train]" in done.stderr  # torch, or on Python 3.10 already tomli
