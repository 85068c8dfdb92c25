"""Pairs of texts: compared by the student, the classifier, a teacher; from files to labels."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import reference as ref
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from sparsedistill import Classifier, DataError, SettingsError
from sparsedistill.data import pairs
from sparsedistill.data.records import Places
from sparsedistill.data.texts import Writer
from sparsedistill.format import read_json
from sparsedistill.predict import predict
from sparsedistill.run import Run
from sparsedistill.settings import build
from sparsedistill.student.compress import compress
from sparsedistill.student.dataset import Batch, InMemory, OnDisk, Part
from sparsedistill.student.model import Student
from sparsedistill.student.schedule import Schedule
from sparsedistill.student.train import train
from sparsedistill.student.vocabulary import Vocabulary
from sparsedistill.tasks import TASKS
from sparsedistill.teacher.batching import Padding, tokenise

WORDS = ("good", "bad", "film", "plot", "odd", "very")


def some_pairs(n: int = 200, seed: int = 0) -> list[tuple[str, str]]:
    rng = np.random.default_rng(seed)
    return [(" ".join(rng.choice(WORDS, 3)), " ".join(rng.choice(WORDS, 3))) for _ in range(n)]


PAIRS = some_pairs()
VOCABULARY = Vocabulary.count([[text for pair in PAIRS for text in pair]], max_n=2)


def bags_of(found: list[tuple[str, str]]) -> tuple[np.ndarray, np.ndarray]:
    return VOCABULARY.bags([text for pair in found for text in pair])


def random_student(pooling: str = "mean", hidden: tuple[int, ...] = (6,)) -> Student:
    student = Student(len(VOCABULARY), 3, hidden, 7, 0.0, 1, "float32", pooling, pairs=True)
    rng = np.random.default_rng(5)
    for array in student.arrays().values():
        array[...] = rng.standard_normal(array.shape) * 0.5
    return student


@settings(max_examples=200)
@given(st.lists(st.tuples(st.text(), st.text())))
def test_pairs_as_strings(given_pairs):
    first, second = [a for a, _ in given_pairs], [b for _, b in given_pairs]
    made = pairs.joined(first, second)
    assert len(made) == len(given_pairs)
    for (a, b), (left, right) in zip(given_pairs, pairs.split(made), strict=True):
        for text, half in ((a, left), (b, right)):
            assert half == text.replace(pairs.SEPARATOR, " ")
            for tokenizer in ("words", "sklearn", "whitespace"):
                assert ref.tokenize(half, tokenizer) == ref.tokenize(text, tokenizer)
    assert pairs.halves(made) == [half for pair in pairs.split(made) for half in pair]


@pytest.mark.parametrize("pooling", ["mean", "sum", "sqrtn", "max", "mean+max", "attentive"])
def test_a_pair_is_compared_as_the_paper_says(pooling):
    student = random_student(pooling)
    a, b = (torch.from_numpy(student.pool(VOCABULARY.bags(list(side)), 1).numpy()) for side in zip(*PAIRS, strict=True))
    expected = torch.cat([a, b, a * b, (a - b).abs()], dim=1) @ student.factor.weight.T + student.factor.bias
    for layer in student.dense:
        expected = layer(torch.relu(expected))
    found = student.logits(*bags_of(PAIRS), 1, batch=17)
    np.testing.assert_allclose(found, expected.detach().numpy(), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("pooling", ["mean", "sum", "sqrtn", "max", "mean+max", "attentive"])
@pytest.mark.parametrize("rows", ["auto", "int8", "float32"])
@pytest.mark.parametrize("hidden", [(6,), (6, 4), ()])
def test_classifiers_of_pairs(tmp_path, pooling, rows, hidden):
    student = random_student(pooling, hidden)
    if pooling == "attentive" and rows == "int8":
        return
    compress(student, VOCABULARY, ("a", "b", "c"), "single", rows).save(tmp_path / "c")
    classifier = Classifier.load(tmp_path / "c")
    assert classifier.pairs
    found = [*PAIRS, ("", ""), ("good", ""), ("unknown", "words"), ("film " * 40_000, "good plot " * 20_000)]
    expected = student.logits(*bags_of(found), 1)
    logits = classifier.decision_function(found)
    bound = np.full(len(found), 1e-4 if classifier.config["rows"]["type"] == "float32" else 0.05)
    bound[-1] = max(bound[-1], 2e-3)  # floats, one after the other, for 80,000 n-grams
    assert (np.abs(logits - expected).max(axis=1) < bound * max(1, np.abs(expected).max())).all()
    for threads in (2, 3):
        assert np.array_equal(classifier.decision_function(found, threads), logits)
    assert np.array_equal(np.vstack([classifier.decision_function(pair) for pair in found[:20]]), logits[:20])
    assert classifier.predict(found) == [("a", "b", "c")[i] for i in logits.argmax(axis=1)]
    assert classifier.predict(found[3]) == classifier.predict(found)[3]
    for pair, scores in zip(found[:5], logits, strict=False):
        why = classifier.explain(pair, "b", top=None)
        assert why.logit == pytest.approx(scores[1] - scores.mean(), abs=1e-3)
        assert why.bias + sum(n for _, n in why.contributions) == pytest.approx(why.logit, abs=1e-9)
        assert all(ngram.startswith(("first: ", "second: ")) for ngram, _ in why.contributions)


def test_pairs_in_arrays_and_frames():
    classifier, found = compress(random_student(), VOCABULARY, ("a", "b", "c"), "single"), some_pairs(9)
    expected = classifier.predict(found)
    pandas = pytest.importorskip("pandas")
    array = np.array(found)
    for many in (array, array.astype(object), list(array), pandas.DataFrame(found, columns=["q", "a"])):
        assert classifier.predict(many) == expected
    array = np.array([*found, (found[0][0], None)], object)
    assert classifier.predict(array, nulls="empty") == [*expected, classifier.predict((found[0][0], ""))]
    for wrong in (array[:, :1], array[:, 0], np.array(["a", "b"])):
        with pytest.raises(TypeError, match=r"pairs\[0\] is .*, not two texts"):
            classifier.predict(wrong)


def test_what_is_no_pair_is_refused():
    classifier = compress(random_student(), VOCABULARY, ("a", "b", "c"), "single")
    assert classifier.predict([]) == []
    for wrong in ("a text", ["a text"], [("a", "b", "c")], [("a", "b"), "ab"], 3):
        with pytest.raises(TypeError, match=r"pairs"):
            classifier.predict(wrong)
    with pytest.raises(ValueError, match="W1"):
        Student(10, 3, (6,), 0, 0.1, 1, pairs=True)


@pytest.mark.parametrize("on_disk", [False, True])
def test_training_learns_to_compare(tmp_path, on_disk):
    def same(pair: tuple[str, str]) -> int:
        return int(pair[0].split()[0] == pair[1].split()[0])

    found = some_pairs(3000, 3)
    targets = np.eye(2, dtype=np.float32)[[same(pair) for pair in found]]
    vocabulary = Vocabulary.count([[text for pair in found for text in pair]], max_n=3)
    if on_disk:
        strings = pairs.joined(*zip(*found, strict=True))
        with Writer(tmp_path / "pairs.parquet", {}, are_pairs=True) as writer:
            writer.add(strings, Places([("a.csv", range(1, 3001))]))
        blocks = OnDisk([Part(writer.path, lambda begin, end: targets[begin:end])], vocabulary, 1, are_pairs=True)
    else:
        blocks = InMemory(Batch(*vocabulary.bags([text for pair in found for text in pair]), targets))
    assert sum(blocks.sizes) == 3000
    student = Student(len(vocabulary), 2, (16,), 16, 0.0, 1, pairs=True)
    plan = Schedule(
        steps=600, batch_size=64, learning_rate=0.01, warmup=0.1, ngram_dropout=0.1, evaluate_every=1000,
        checkpoint_seconds=1e9, threads=1, seed=0,
    )  # fmt: skip
    train(student, blocks, plan, TASKS["single"], tmp_path / "s", lambda _: 0.0, "test", "key")
    logits = student.logits(*vocabulary.bags([text for pair in found for text in pair]), 1)
    assert (logits.argmax(axis=1) == targets.argmax(axis=1)).mean() > 0.95


def test_a_teacher_reads_both(encoder):
    transformers = pytest.importorskip("transformers")
    tokenizer = transformers.AutoTokenizer.from_pretrained(encoder)
    model = transformers.AutoModel.from_pretrained(encoder)
    strings = pairs.joined(["not bad at all", "x"], ["a good film", ""])
    rows = tokenise(tokenizer, strings, 32, are_pairs=True)
    made = Padding.of(tokenizer, model, are_pairs=True)(torch, rows, "cpu")
    theirs = tokenizer(["not bad at all", "x"], ["a good film", ""], padding=True, return_tensors="pt")
    for name in ("input_ids", "attention_mask", "token_type_ids"):
        assert torch.equal(made[name] * made["attention_mask"], theirs[name] * theirs["attention_mask"]), name


def judged(pair: tuple[str, str]) -> list[float]:
    """A stand-in for an LLM's judgement of a pair."""
    shared = len(set(pair[0].split()) & set(pair[1].split()))
    return [1.5 - shared, shared - 1.5]


def written(path: Path, found: list[tuple[str, str]], **columns) -> str:
    rows = [{"a": a, "b": b, **{name: value((a, b)) for name, value in columns.items()}} for a, b in found]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return str(path)


def test_from_files_to_labels(tmp_path):
    def label(pair: tuple[str, str]) -> str:
        return "same" if judged(pair)[1] > 0 else "other"

    found = list(dict.fromkeys(some_pairs(2500, 9)))
    data = {
        "train": written(tmp_path / "train.jsonl", found[:300], label=label, scores=judged),
        "dev": written(tmp_path / "dev.jsonl", found[300:400], label=label),
        "test": written(tmp_path / "test.jsonl", found[400:700], label=label),
        "corpus": written(tmp_path / "corpus.jsonl", found[700:], scores=judged),
        "text": "a",
        "pair": "b",
    }
    asked = {
        "data": data,
        "teach": {"teacher": "column:scores"},
        "count": {"max_n": 1},
        "distill": {"hidden": [16], "embedding": 16, "epochs": 20, "batch_size": 64, "threads": 1, "device": "cpu"},
        "finetune": {"epochs": 1},
        "compress": {"max_loss": 0.05},
        "evaluate": {"repeats": 1, "threads": 1},
    }
    Run(tmp_path / "run", build(asked, "test")).execute()
    metrics = read_json(tmp_path / "run" / "metrics.json")
    assert metrics["systems"]["kd"]["accuracy"] > 0.8
    classifier = Classifier.load(tmp_path / "run" / "classifier")
    expected = classifier.predict(found[400:700])
    for name, keep in (("out.jsonl", None), ("out.parquet", ["b"])):
        predict(classifier, [data["test"]], str(tmp_path / name), text="a", pair="b", keep=keep)
    rows = [json.loads(line) for line in (tmp_path / "out.jsonl").read_text(encoding="utf-8").splitlines()]
    assert [row["predicted"] for row in rows] == expected
    assert [(row["a"], row["b"]) for row in rows] == found[400:700]
    command = [sys.executable, "-m", "sparsedistill", "predict", str(tmp_path / "run" / "classifier"), data["test"]]
    done = subprocess.run(
        [*command, "--text", "a", "--pair", "b"], check=True, capture_output=True, text=True, cwd=tmp_path
    )
    assert [line.split("\t")[0] for line in done.stdout.splitlines()] == expected
    with pytest.raises(SettingsError, match="--pair"):
        predict(classifier, [data["test"]], str(tmp_path / "x.jsonl"), text="a")
    (tmp_path / "null.jsonl").write_text('{"a": "x", "b": "y"}\n{"a": "x", "b": null}\n', encoding="utf-8")
    with pytest.raises(DataError, match=r"second text \(column 'b'\) at .*null.jsonl:2 is None"):
        predict(classifier, [str(tmp_path / "null.jsonl")], str(tmp_path / "x.jsonl"), text="a", pair="b")
    linear = {**asked, "distill": {"student": "linear"}}
    with pytest.raises(SettingsError, match="a linear student lacks"):
        Run(tmp_path / "other", build(linear, "test")).execute()
    broken = {**data, "train": str(tmp_path / "null.jsonl")}
    with pytest.raises(DataError, match=r"label|text"):
        Run(tmp_path / "third", build({**asked, "data": broken}, "test")).execute()
