"""Likely label errors of every kind of label, and fidelity within slices, against errors put there and plain counts."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from test_run import LABELS, learnable, write_jsonl

from sparsedistill import Run, Settings, SettingsError
from sparsedistill.cli import main
from sparsedistill.coverage import coverage
from sparsedistill.fidelity import fidelity
from sparsedistill.label_errors import confident_errors, suspects
from sparsedistill.quality import label_errors
from sparsedistill.stages.folds import fold_of, out_of_fold

KINDS = {"good": ("good", "fine", "lovely"), "bad": ("bad", "awful", "late"), "so": ("noon", "gate", "ticket")}
FILLING = ["the", "a", "of", "and", "we", "they", "it", "was", "is", "at", "on", "in", "by", "to", "with", "for"]


def text_of(kinds, rng) -> str:
    """Words of each of the kinds among others."""
    words = [*rng.choice(FILLING, 5), *(word for kind in kinds for word in rng.choice(KINDS[kind], 2))]
    return " ".join(rng.permutation(words))


def prepared(directory, rows, **values) -> Run:
    """A run whose texts are there, and nothing else."""
    write_jsonl(directory / "train.jsonl", rows)
    run = Run(
        directory / "run", Settings.of(train=str(directory / "train.jsonl"), modes=["scratch"], threads=1, **values)
    )
    run.check()
    return run


# ---- the ranking -----------------------------------------------------------------------------------------------------


def test_single_labels_are_ranked_by_the_odds_of_another():
    shares = np.array([[0.9, 0.1], [0.3, 0.7], [0.01, 0.99], [0.5, 0.5]])
    found = suspects("single", np.array([0, 0, 0, 1]), [np.log(shares).astype(np.float32)])
    assert (found.text.tolist(), found.suggested.tolist()) == ([2, 1], [1, 1])
    np.testing.assert_allclose(found.score, [np.log(99), np.log(7 / 3)], rtol=1e-5)
    assert found.agreed.all() and not found.output.any()


def test_what_all_agree_on_comes_first_and_what_has_seen_the_labels_adds_no_score():
    gold = np.array([0, 0, 0])
    student = np.log([[0.01, 0.99], [0.2, 0.8], [0.9, 0.1]])
    teacher = np.log([[0.9, 0.1], [0.4, 0.6], [0.05, 0.95]])
    found = suspects("single", gold, [student], [teacher])
    assert found.text.tolist() == [1, 0] and found.agreed.tolist() == [True, False]
    np.testing.assert_allclose(found.score, [np.log(4), np.log(99)], rtol=1e-5)
    both = suspects("single", gold, [student, teacher])
    expected = (np.log(99) - np.log(9)) / 2
    assert both.text.tolist() == [1, 0, 2]
    assert both.score[1] == pytest.approx(expected)


def test_each_of_several_labels_is_suspected_by_itself():
    gold = np.array([[1, 0, 1], [0, 1, 0]], np.float32)
    logits = np.array([[3.0, 2.0, -1.0], [-4.0, -0.5, -3.0]])
    found = suspects("multi", gold, [logits])
    assert list(zip(found.text, found.output, found.suggested, found.score, strict=True)) == [
        (0, 1, 1, 2.0), (0, 2, 0, 1.0), (1, 1, 0, 0.5)
    ]  # fmt: skip


def test_scores_that_are_far_from_what_is_predicted():
    rng = np.random.default_rng(0)
    gold = rng.normal(size=300)
    predicted = gold + rng.normal(size=300) * 0.1 + 5  # another unit is no error
    predicted[7] += 2
    predicted[11] -= 1
    found = suspects("regression", gold, [predicted[:, None]])
    assert found.text.tolist()[:2] == [7, 11] and len(found.text) < 6
    assert found.suggested[0] == pytest.approx(predicted[7])
    assert found.score[0] == pytest.approx(20, rel=0.25)
    opposed = suspects("regression", gold, [predicted[:, None]], [gold[:, None]])
    assert not opposed.agreed.any()


def test_confident_learning_counts_what_is_surer_than_usual():
    gold = np.repeat([0, 1], 50)
    shares = np.where(gold[:, None] == [0, 1], 0.8, 0.2)
    shares[:5] = [0.1, 0.9]  # surer of 1 than texts of 1 usually are
    shares[5:9] = [0.4, 0.6]  # not as sure
    assert confident_errors(gold, np.log(shares).astype(np.float32)) == 5


# ---- folds -----------------------------------------------------------------------------------------------------------


def test_folds_are_even_and_equal_texts_stay_together():
    rng = np.random.default_rng(0)
    targets = rng.choice(4, 400, p=[0.6, 0.3, 0.08, 0.02]).astype(np.int64)
    texts = [f"text {i % 380}" for i in range(400)]
    fold = fold_of(texts, targets, 5, 0)
    assert set(fold.tolist()) == set(range(5))
    assert (fold[380:] == fold[:20]).all()
    for label in range(4):
        own = np.bincount(fold[:380][targets[:380] == label], minlength=5)
        assert own.max() - own.min() <= 1
    assert (fold_of(texts, targets, 5, 0) == fold).all() and (fold_of(texts, targets, 5, 1) != fold).any()


def test_no_text_is_predicted_by_a_student_that_has_seen_it(tmp_path):
    """Each text has a word of its own with its label: who has seen it knows the label, who has not cannot."""
    rng = np.random.default_rng(0)
    gold = rng.integers(0, 2, 300)
    run = prepared(tmp_path, [{"text": f"word{i} " * 3, "label": "ab"[label]} for i, label in enumerate(gold)])
    logits = out_of_fold(run, 4, 1, 1)
    part = run.inputs.part("train")
    assert logits.shape == (len(part.texts), 2)
    assert abs((logits.argmax(axis=1) == part.targets).mean() - 0.5) < 0.15
    assert sorted(path.name for path in run.directory.iterdir()) == ["texts"]  # nothing is left there
    assert (out_of_fold(run, 4, 1, 1) == logits).all()
    twice = out_of_fold(run, 4, 2, 1)
    assert (twice != logits).any() and abs((twice.argmax(axis=1) == part.targets).mean() - 0.5) < 0.15


# ---- label errors of runs --------------------------------------------------------------------------------------------


def test_flipped_labels_are_found(tmp_path, capsys):
    rng = np.random.default_rng(0)
    kinds = rng.choice(list(KINDS), 500)
    rows = [{"text": text_of([kind], rng), "label": kind} for kind in kinds]
    flipped = set(rng.choice(500, 25, replace=False).tolist())
    for i in flipped:
        rows[i]["label"] = next(kind for kind in KINDS if kind != kinds[i])
    run = prepared(tmp_path, rows)
    run.execute([])  # which writes the settings
    result = label_errors(run, repeats=1, threads=1)
    first = result["errors"][:15]
    assert all(row["row"] - 1 in flipped for row in first)
    for rank, row in enumerate(first):
        assert row["rank"] == rank + 1
        assert row["gold"] == rows[row["row"] - 1]["label"] and row["suggested"] == kinds[row["row"] - 1]
        assert row["text"] == rows[row["row"] - 1]["text"] and row["source"].endswith("train.jsonl")
        assert row["student"] < 0.5
    assert 15 <= result["estimated"][""] <= 45
    for suffix in ("csv", "jsonl", "parquet"):
        path = tmp_path / f"errors.{suffix}"
        assert (
            main(
                ["errors", str(run.directory), "--top", "3", "--repeats", "1", "--threads", "1", "--output", str(path)]
            )
            == 0
        )
        if suffix == "csv":
            found = list(csv.DictReader(path.read_text(encoding="utf-8").splitlines()))
        elif suffix == "jsonl":
            found = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
        else:
            found = pq.read_table(path).to_pylist()
        assert [int(row["row"]) for row in found] == [row["row"] for row in result["errors"]]
        assert list(found[0]) == list(result["errors"][0])
    assert "confident learning puts the number of label errors at" in capsys.readouterr().out
    assert main(["errors", str(run.directory), "--output", "errors.txt"]) == 2
    assert main(["errors", str(tmp_path)]) == 2
    assert main(["errors", str(run.directory), "--folds", "1"]) == 2
    assert main(["errors", str(run.directory), "--repeats", "0"]) == 2


def test_labels_of_several_kinds(tmp_path):
    rng = np.random.default_rng(0)
    rows = []
    for i in range(400):
        own = [kind for kind in KINDS if rng.random() < 0.5]
        score = 2.0 * ("good" in own) - 1.5 * ("bad" in own) + rng.normal() * 0.05
        rows.append({"text": text_of(own, rng), "topics": own, "grade": score if i % 3 else None})
    rows[10]["topics"] = [kind for kind in KINDS if (kind in rows[10]["topics"]) != (kind == "good")]
    rows[20]["grade"] = rows[20]["grade"] + 9
    run = prepared(tmp_path, rows, heads={"topics": {"task": "multi"}, "grade": {"task": "regression"}})
    result = label_errors(run, threads=1)
    topics = [row for row in result["errors"] if row["head"] == "topics"]
    assert topics[0]["row"] == 11
    had = "good" in rows[10]["topics"]
    assert (topics[0]["gold"], topics[0]["suggested"]) == (("good", "-good") if had else ("-good", "good"))
    grades = [row for row in result["errors"] if row["head"] == "grade"]
    assert grades[0]["row"] == 21 and grades[0]["gold"] == pytest.approx(rows[20]["grade"])
    assert grades[0]["suggested"] < rows[20]["grade"] - 4
    assert not any((row["row"] - 1) % 3 == 0 for row in grades)  # which have no target
    assert result["estimated"] == {}


def test_pairs_have_both_texts(tmp_path):
    rng = np.random.default_rng(0)
    rows = []
    for _ in range(300):
        same = rng.random() < 0.5
        first, other = rng.choice(list(KINDS), 2, replace=False)
        rows.append(
            {"text": text_of([first], rng), "other": text_of([first if same else other], rng), "label": "ny"[same]}
        )
    result = label_errors(prepared(tmp_path, rows, pair="other"), threads=1)
    for row in result["errors"]:
        assert (row["text"], row["second"]) == (rows[row["row"] - 1]["text"], rows[row["row"] - 1]["other"])


# ---- with a teacher --------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def taught(tmp_path_factory, tweets) -> Run:
    folder = tmp_path_factory.mktemp("taught")
    rows = [{**row, "site": f"site {i // 9 % 2}"} for i, row in enumerate(learnable(tweets[:900]))]
    for row in rows[:20]:
        row["label"] = LABELS[(LABELS.index(row["label"]) + 1) % 3]
    parts = {"train": rows[:200], "test": rows[200:400], "corpus": rows[400:]}
    files = {name: write_jsonl(folder / f"{name}.jsonl", part) for name, part in parts.items()}
    run = Run(
        folder / "run",
        Settings.of(
            **files, teacher="column:scores", hidden=[8], threads=1, max_loss=1, repeats=1, resamples=0, modes=["kd"],
            distill={"epochs": 10}, finetune_student=False,
        ),
    )  # fmt: skip
    run.execute()
    return run


def test_student_and_teacher_against_gold(taught):
    result = label_errors(taught, threads=1)
    assert result["estimates"] == ["student", "teacher"]
    agreed = [row for row in result["errors"] if row["agreed"]]
    assert agreed == result["errors"][: len(agreed)] and agreed
    assert all(row["row"] <= 20 and row["teacher"] < 0.5 for row in agreed)
    # A column has not been trained on the labels, and counts as much as the student.
    part, logits = taught.inputs.part("train"), [out_of_fold(taught, threads=1), taught.teacher_logits("train")]
    expected = suspects("single", part.targets, logits)
    assert [row["score"] for row in result["errors"]] == expected.score.tolist()
    assert [row["row"] for row in result["errors"]] == [part.places.where(i)[1] for i in expected.text.tolist()]
    test = label_errors(taught, "test", threads=1)
    assert test["part"] == "test" and test["estimates"] == ["student"]  # a column is of train and corpus alone
    with pytest.raises(SettingsError, match="no part"):
        label_errors(taught, "corpus")


def test_fidelity_within_slices(taught, tmp_path, capsys):
    result = fidelity(taught, "corpus", ["site"], threads=1)
    texts = [text for batch in taught.inputs.texts("corpus") for text in batch]
    classifier = taught.classifier("kd")
    same = np.array(classifier.predict(texts)) == np.array(LABELS)[taught.teacher_logits("corpus").argmax(axis=1)]
    head = result["heads"][""]
    assert head["texts"] == len(texts) and head["fidelity"] == pytest.approx(same.mean())
    for rows in head["slices"].values():
        assert sum(row["texts"] for row in rows) == len(texts)
        assert sum(row["texts"] * row["fidelity"] for row in rows) == pytest.approx(same.sum())
        assert sum(row["share"] for row in rows) == pytest.approx(1.0)
        assert all(row["low"] < row["fidelity"] + 1e-9 and row["fidelity"] - 1e-9 < row["high"] for row in rows)
    by_label = {row["slice"]: row for row in head["slices"]["predicted"]}
    assert by_label["positive"]["texts"] == classifier.predict(texts).count("positive")
    covered = coverage(classifier, texts)
    bands = {row["slice"]: row["texts"] for row in head["slices"]["coverage"]}
    assert bands["over 0.95"] == (covered > 0.95).sum()
    places = [row["slice"] for row in head["slices"]["column site"]]
    assert sorted(places) == ["site 0", "site 1"] and "file" not in head["slices"]
    lines = Path(taught.settings.data.corpus[0]).read_text(encoding="utf-8").splitlines()
    site = {row["text"]: row["site"] for row in map(json.loads, lines)}
    row = next(row for row in head["slices"]["column site"] if row["slice"] == "site 0")
    assert row["fidelity"] == pytest.approx(same[[site[text] == "site 0" for text in texts]].mean())
    report = tmp_path / "fidelity.json"
    assert main(["fidelity", str(taught.directory), "--slice", "site", "--json", str(report)]) == 0
    assert (
        json.loads(report.read_text(encoding="utf-8"))["heads"][""]["fidelity"]
        == fidelity(taught)["heads"][""]["fidelity"]
    )
    assert "by predicted" in capsys.readouterr().out
    assert main(["fidelity", str(taught.directory), "--slice", "nothing"]) == 2


def test_fidelity_of_heads(tmp_path, tweets):
    """Of those that have a teacher."""
    rows = [{**row, "site": f"site {i % 2}"} for i, row in enumerate(learnable(tweets[:500]))]
    files = {
        name: write_jsonl(tmp_path / f"{name}.jsonl", part)
        for name, part in (
            ("train", rows[:200]),
            ("corpus", [{k: r[k] for k in ("text", "scores")} for r in rows[200:]]),
        )
    }
    heads = {"label": {"teacher": "column:scores"}, "site": {}}
    run = Run(
        tmp_path / "run",
        Settings.of(**files, heads=heads, hidden=[8], threads=1, max_loss=1, repeats=1, resamples=0, modes=["kd"],
                    distill={"epochs": 3}, finetune_student=False),
    )  # fmt: skip
    run.execute()
    found = fidelity(run, "corpus", threads=1)["heads"]
    texts = [text for batch in run.inputs.texts("corpus") for text in batch]
    taught = np.array(LABELS)[run.teacher_logits("corpus")[:, :3].argmax(axis=1)]
    same = np.array(run.classifier("kd").predict(texts, head="label")) == taught
    assert found["label"]["texts"] == len(texts) and found["label"]["fidelity"] == pytest.approx(same.mean())
    assert set(found) == {"label"}
    errors = label_errors(run, repeats=1, threads=1)["errors"]
    assert {row["head"] for row in errors} <= {"label", "site"}
    assert all("teacher" not in row for row in errors if row["head"] == "site")


def test_fidelity_needs_a_teacher(tmp_path):
    run = prepared(tmp_path, [{"text": f"{kind} {i}", "label": kind} for i in range(20) for kind in KINDS])
    with pytest.raises(SettingsError, match="no teacher's logits"):
        fidelity(run)
