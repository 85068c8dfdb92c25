"""What a teacher gives that cannot be used: named by file and line of its text, or by what a function returned."""

from __future__ import annotations

import json
import math
from pathlib import Path

import numpy as np
import pytest

from sparsedistill import DataError
from sparsedistill.data.records import Places
from sparsedistill.run import Run
from sparsedistill.settings import build
from sparsedistill.teacher.function import FunctionTeacher

WORDS = ("good", "film", "room", "food", "bad", "very", "nice", "cold", "old", "new")


def texts_of(n: int, start: int = 0) -> list[str]:
    """Distinct, and none a copy of another but for its case."""
    return [f"{WORDS[i % 10]} {WORDS[i // 10 % 10]} number {i}" for i in range(start, start + n)]


def write(path: Path, texts: list[str]) -> str:
    path.write_text("".join(text + "\n" for text in texts), encoding="utf-8")
    return str(path)


def write_jsonl(path: Path, rows: list[dict]) -> str:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return str(path)


def run_of(tmp_path: Path, data: dict, teach: dict, **over) -> Run:
    values = {
        "data": data,
        "teach": teach,
        "distill": {"threads": 1, "device": "cpu", **over.pop("distill", {})},
        **over,
    }
    return Run(tmp_path / "run", build(values, "test"))


POISON: list[str] = []  # what the judges are unable to judge


def judge(texts):
    return [[math.nan if text in POISON else 3.0, 0.0] for text in texts]


def judge_pairs(pairs):
    return [[math.inf if second in POISON else 3.0, 0.0] for _, second in pairs]


def judge_chances(texts):
    return [[0.25, 0.5 if text in POISON else 0.75] for text in texts]


def boom(texts):
    raise RuntimeError("API rate limit")


@pytest.fixture(autouse=True)
def importable(monkeypatch):
    monkeypatch.syspath_prepend(str(Path(__file__).parent))


def test_places_are_files_and_rows():
    places = Places([("a.txt", range(3, 5)), ("hf:some/data", (7,)), ("b.jsonl", [1, 9])])
    assert list(places) == ["a.txt:3", "a.txt:4", "hf:some/data row 7", "b.jsonl:1", "b.jsonl:9"]
    assert list(places.take(np.array([4, 0]))) == ["b.jsonl:9", "a.txt:3"]
    assert list(places.take(slice(1, 3))) == ["a.txt:4", "hf:some/data row 7"]
    assert len(places.take(np.zeros(5, bool))) == len(Places([])) == 0


@pytest.mark.parametrize(
    ("dev", "shard", "at"), [(1, 7, 4000), (0, 7, 9000), (1, 1000, 8191), (0, 20000, 8192), (1, 999, -1)]
)
def test_a_score_of_a_corpus_is_named_by_file_and_line(tmp_path, monkeypatch, dev, shard, at):
    """Of two files, from which texts of dev, or a part that is held out, are missing."""
    texts = texts_of(13000)
    data = {"labels": ["a", "b"]}
    data["corpus"] = [write(tmp_path / "a.txt", texts[:9000]), write(tmp_path / "b.txt", texts[9000:])]
    if dev:
        rows = [{"text": text.upper(), "label": "ab"[i % 2]} for i, text in enumerate(texts[1:8000:3])]
        data["dev"] = write_jsonl(tmp_path / "dev.jsonl", rows)
    run = run_of(tmp_path, data, {"teacher": "test_places:judge"}, label={"shard_size": shard})
    run.check(["label"])
    kept = [text for batch in run.inputs.texts("corpus") for text in batch]
    assert 9000 < len(kept) < 13000
    monkeypatch.setattr("test_places.POISON", [kept[at]])
    number = texts.index(kept[at])
    with pytest.raises(DataError) as caught:
        run.execute(["label"])
    place = tmp_path / (f"a.txt:{number + 1}" if number < 9000 else f"b.txt:{number - 9000 + 1}")
    assert str(caught.value) == (
        f"{place} ({kept[at]!r}): the teacher test_places:judge gives a score that is not finite, "
        "leave the text out or mend the teacher; finished shards are kept"
    )
    done = len(list((tmp_path / "run" / "logits" / "corpus").glob("*.npy")))
    assert done == kept.index(kept[at]) // shard


def test_probabilities_and_pairs_are_named_too(tmp_path, monkeypatch):
    texts = texts_of(300)
    corpus = write(tmp_path / "a.txt", texts)
    dev = write_jsonl(tmp_path / "dev.jsonl", [{"text": f"dev {i}", "label": "ab"[i % 2]} for i in range(9)])
    monkeypatch.setattr("test_places.POISON", [texts[77]])
    data = {"corpus": [corpus], "dev": dev, "labels": ["a", "b"]}
    run = run_of(tmp_path, data, {"teacher": "test_places:judge_chances"}, label={"scores": "probabilities"})
    with pytest.raises(
        DataError, match=r"a\.txt:78 \('cold cold number 77.*judge_chances gives probabilities .* sum to 1 but to 0\.75"
    ):
        run.execute(["label"])
    rows = [{"text": text, "second": texts[-i], "label": "ab"[i % 2]} for i, text in enumerate(texts)]
    data = {"train": write_jsonl(tmp_path / "train.jsonl", rows), "dev": dev, "pair": "second", "labels": ["a", "b"]}
    write_jsonl(tmp_path / "dev.jsonl", [{"text": f"dev {i}", "second": "", "label": "ab"[i % 2]} for i in range(9)])
    shape = {"embedding": 4}
    run = run_of(tmp_path, data, {"teacher": "test_places:judge_pairs"}, distill=shape)
    with pytest.raises(DataError) as caught:
        run.execute(["label"])
    line = next(i for i, row in enumerate(rows) if row["second"] == texts[77])
    assert f"train.jsonl:{line + 1} ('{texts[line]} | {texts[77]}'): " in str(caught.value)
    for part in ("train", "corpus"):
        broken = write_jsonl(tmp_path / "broken.jsonl", [*rows[:5], {**rows[5], "second": None}, *rows[6:]])
        run = run_of(tmp_path, {**data, part: [broken]}, {"teacher": "test_places:judge_pairs"}, distill=shape)
        with pytest.raises(DataError, match=r"broken\.jsonl:6: column 'second' holds None, not a text: .*drop the row"):
            run.execute(["label"])


@pytest.mark.parametrize(
    ("score", "scores", "message"),
    [
        ([0.5, 0.75], "probabilities", "sum to 1 but to 1.25"),
        ([1.5, -0.5], "probabilities", "outside 0 to 1"),
        ([1.0], "logits", "holds [1.0], not 2 finite numbers (labels: a, b)"),
        ([1.0, None], "logits", "holds [1.0, None], not 2 finite numbers"),
        ([1.0, math.inf], "logits", "holds [1.0, inf], not 2 finite numbers"),
        ([1.0, 1e300], "logits", "too large for float32"),
        ("high", "logits", "holds 'high', not 2 finite numbers"),
    ],
)
@pytest.mark.parametrize("part", ["train", "corpus"])
def test_a_column_is_named_by_file_and_line(tmp_path, part, score, scores, message):
    texts = texts_of(3000)
    rows = [
        {"text": text, "label": "ab"[i % 2], "scores": [0.25, 0.75] if scores == "probabilities" else [1, 2]}
        for i, text in enumerate(texts)
    ]
    data = {"dev": write_jsonl(tmp_path / "dev.jsonl", [{k: row[k] for k in ("text", "label")} for row in rows[:500]])}
    bad = [*rows[:2000], {**rows[2000], "scores": score}, *rows[2001:]]
    data[part] = write_jsonl(tmp_path / "some.jsonl", bad)
    data["labels"] = ["a", "b"]
    run = run_of(tmp_path, data, {"teacher": "column:scores"}, label={"scores": scores})
    with pytest.raises(DataError) as caught:
        run.execute(["label"])
    assert "some.jsonl:2001" in str(caught.value)
    assert message in str(caught.value)


@pytest.mark.parametrize(
    ("given", "task", "message"),
    [
        (None, "single", "gave None"),
        ("good", "single", "gave a str"),
        ({"a": 1}, "single", "gave a dict"),
        (3.5, "regression", "gave a float"),
        ([{"label": "a", "score": 0.9}] * 2, "single", "dictionaries as a Hugging Face pipeline does"),
        ([[{"label": "a", "score": 0.9}] * 2] * 2, "single", "dictionaries as a Hugging Face pipeline does"),
        (["a", "b"], "single", "gave names ('a')"),
        ([["a"], []], "multi", "gave names ('a')"),
        (np.array(["a", "b"]), "single", "gave names ('a')"),
        ([0, 1], "single", "numpy.eye(classes)[indices]"),
        (np.array([0, 1]), "single", "numpy.eye(classes)[indices]"),
        ([0.1, 0.9], "single", "[1 - p, p]"),
        (np.array([[0.1], [0.9]]), "single", "[1 - p, p]"),
        ([[1, 2]], "single", "shape (1, 2) for 2 texts"),
        ([[1, 2, 3]] * 2, "single", "shape (2, 3) for 2 texts"),
        (np.zeros((2, 2, 1)), "multi", "shape (2, 2, 1) for 2 texts"),
        ([[1, 2]] * 2, "regression", "shape (2, 2) for 2 texts"),
        (["1.5 stars", "2"], "regression", "gave names ('1.5 stars')"),
        ([1.0, 2.0, 3.0], "regression", "shape (3,) for 2 texts"),
        ([], "single", "shape (0,) for 2 texts"),
        ([[1, 2], [1]], "single", "row 2, has [1] for it, not 2 numbers"),
        ([[1, 2], None], "multi", "row 2, has None for it, not 2 numbers"),
        ([1.0, "x"], "regression", "row 2, has 'x' for it, not a number"),
        (object(), "single", "what are not numbers"),
    ],
)
def test_a_function_that_returns_something_else_is_told_what_is_wanted(given, task, message):
    teacher = FunctionTeacher(
        lambda texts: given, classes=1 if task == "regression" else 2, task=task, labels=("a", "b")
    )
    with pytest.raises(DataError) as caught:
        teacher.logits(["x", "y"])
    assert message in str(caught.value)
    assert "test_places:" in str(caught.value)
    assert "row 2" in message or ("it should return" in str(caught.value) and "(2," in str(caught.value))


def test_what_else_a_function_may_return():
    pandas = pytest.importorskip("pandas")
    rows = [[1.0, 2.0], [3.0, 4.0]]
    for given in (rows, np.array(rows), (row for row in rows), pandas.DataFrame(rows), tuple(map(tuple, rows)),
                  pandas.DataFrame(rows, columns=["a", "b"])[["b", "a"]]):  # fmt: skip
        teacher = FunctionTeacher(lambda texts, given=given: given, classes=2, task="single", labels=("a", "b"))
        assert teacher.logits(["x", "y"]).tolist() == rows


def test_a_teacher_that_fails_says_where(tmp_path, capsys):
    corpus = write(tmp_path / "a.txt", texts_of(100))
    dev = write_jsonl(tmp_path / "dev.jsonl", [{"text": f"dev {i}", "label": "ab"[i % 2]} for i in range(9)])
    run = run_of(tmp_path, {"corpus": corpus, "dev": dev, "labels": ["a", "b"]}, {"teacher": "test_places:boom"})
    with pytest.raises(RuntimeError, match="API rate limit"):
        run.execute(["label"])
    assert f"failed on the shard that begins at {corpus}:1; finished shards are kept" in capsys.readouterr().err
