"""The stages over a run directory, on real tweets; with the real encoder once, else with columns of scores."""

from __future__ import annotations

import csv
import dataclasses
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from processes import Forked

from sparsedistill import Classifier, DataError, SettingsError, cli
from sparsedistill.format import read_json, read_metadata, read_tensors
from sparsedistill.locks import locked
from sparsedistill.run import Run
from sparsedistill.settings import build
from sparsedistill.stages.keys import digest
from sparsedistill.stages.train import unknown_warning
from sparsedistill.student.schedule import Schedule
from sparsedistill.student.vocabulary import Vocabulary

LABELS = ("negative", "neutral", "positive")


def write_csv(path: Path, rows: list[dict]) -> str:
    with open(path, "w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    return str(path)


def write_jsonl(path: Path, rows: list[dict]) -> str:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return str(path)


def scores(text: str, classes: int = 3) -> list[float]:
    """A stand-in for an LLM's judgement: a function of some words, so that a student can learn it."""
    low = text.lower()
    good = sum(word in low for word in ("good", "love", "great", "thank", "happy", "best", "!"))
    bad = sum(word in low for word in ("not", "bad", "worst", "delay", "cancel", "hate", "no "))
    return [bad - good + 0.5, 1.0 - good - bad, good - bad + 0.25][:classes]


def learnable(tweets: list[tuple[str, str]]) -> list[dict]:
    return [{"text": text, "label": LABELS[int(np.argmax(scores(text)))], "scores": scores(text)} for text, _ in tweets]


@pytest.fixture
def files(tmp_path: Path, tweets) -> dict[str, str]:
    rows = learnable(tweets[:1400])
    return {
        "train": write_jsonl(tmp_path / "train.jsonl", rows[:300]),
        "dev": write_jsonl(tmp_path / "dev.jsonl", [{k: r[k] for k in ("text", "label")} for r in rows[300:400]]),
        "test": write_jsonl(tmp_path / "test.jsonl", [{k: r[k] for k in ("text", "label")} for r in rows[400:600]]),
        "corpus": write_jsonl(tmp_path / "corpus.jsonl", [{k: r[k] for k in ("text", "scores")} for r in rows[600:]]),
    }


def settings(files: dict[str, str], **over):
    values: dict = {
        "data": {**files},
        "teach": {"teacher": "column:scores"},
        # A GPU has other random numbers for dropout, and several processes train on the CPU.
        "distill": {"hidden": [16], "epochs": 3, "batch_size": 64, "threads": 1, "device": "cpu"},
        "finetune": {"epochs": 1},
        "compress": {"max_loss": 0.05},
        "evaluate": {"repeats": 1, "threads": 1},
    }
    for section, fields in over.items():
        values.setdefault(section, {}).update(fields)
    return build(values, "test")


def weights(path: Path) -> dict[str, np.ndarray]:
    return {name: np.array(array) for name, array in read_tensors(path).items()}


def same(a: dict[str, np.ndarray], b: dict[str, np.ndarray]) -> bool:
    return set(a) == set(b) and all(np.array_equal(a[name], b[name]) for name in a)


def in_group(run: Path, *stage: str, processes: int = 2) -> Forked:
    """A stage as torchrun starts it, in processes that need not load torch."""
    return Forked(run.parent, cli.main, [*stage, "--run", str(run)], processes=processes)


def torchrun(run: Path, *stage: str) -> int:
    # Without the two hyphens torchrun takes --run for the beginning of an option of its own.
    command = ["torch.distributed.run", "--standalone", "--nproc-per-node", "2", "-m", "--", "sparsedistill"]
    return subprocess.run([sys.executable, "-m", *command, *stage, "--run", str(run)], cwd=run.parent).returncode


def slowly(work: Callable, *arguments) -> int | None:
    """``work(*arguments)``, with training steps that take long enough for a kill to hit their midst."""
    rate = Schedule.rate
    Schedule.rate = lambda self, step: (time.sleep(0.01), rate(self, step))[1]
    return work(*arguments)


@pytest.mark.parametrize(
    "shape",
    [{"hidden": [7], "embedding": 5, "table": "bfloat16"}, {"hidden": [9, 4]}, {"embedding": 6, "pooling": "mean+max"}],
)
def test_columns_over_processes(tmp_path, files, shape):
    asked = settings(files, distill={"threads": 0, "epochs": 1, **shape})
    for name in ("one", "two"):
        run = Run(tmp_path / name, asked)
        run.execute(["label", "count", *(["distill", "finetune"] if name == "one" else [])])
    if "table" in shape:  # once as people start it
        assert torchrun(tmp_path / "two", "distill") == 0
    for stage in ("distill", "finetune"):
        assert in_group(tmp_path / "two", stage).wait() == 0
    for student in ("kd", "kd_ft"):
        one, two = (weights(tmp_path / name / "students" / student / "student.safetensors") for name in ("one", "two"))
        assert set(one) == set(two)
        for name, array in one.items():
            if array.dtype == np.uint16:  # bfloat16: rounding must fall the same way nearly always
                assert (array == two[name]).mean() > 0.98
                continue
            np.testing.assert_allclose(array, two[name], atol=2e-3)
    shown = (tmp_path / "two" / "students" / "kd" / "curve.csv").read_text(encoding="utf-8").splitlines()
    assert [row.split(",")[0] for row in shown] == [
        row.split(",")[0]
        for row in (tmp_path / "one" / "students" / "kd" / "curve.csv").read_text(encoding="utf-8").splitlines()
    ]
    for name in ("one", "two"):  # what comes after knows nothing of it
        Run(tmp_path / name, asked).execute()
    figures = [read_json(tmp_path / name / "metrics.json")["systems"]["kd"]["accuracy"] for name in ("one", "two")]
    assert figures[0] == pytest.approx(figures[1], abs=0.02)


@pytest.mark.parametrize(("first", "then"), [(1, 2), (2, 1), (2, 3)])
def test_a_checkpoint_goes_on_with_any_number_of_processes(tmp_path, files, first, then):
    asked = settings(files, distill={"threads": 1, "steps": 150, "checkpoint_seconds": 0.1, "hidden": [10]})
    for name in ("whole", "cut"):
        Run(tmp_path / name, asked).execute(["label", "count"])
    Run(tmp_path / "whole", asked).execute(["distill"])
    checkpoint = tmp_path / "cut" / "students" / "kd" / "checkpoint.safetensors"
    stage = ["distill", "--run", str(tmp_path / "cut")]
    child = Forked(tmp_path, slowly, cli.main, stage, processes=first)
    while not checkpoint.is_file():
        assert child.poll() is None, child.said
        time.sleep(0.01)
    child.kill()
    step = json.loads(read_metadata(checkpoint)["state"])["step"]
    assert 0 < step < 150
    again = in_group(tmp_path / "cut", "distill", processes=then)
    assert again.wait() == 0, again.said
    assert again.said.count(f"going on from step {step}") == 1
    one, two = (weights(tmp_path / name / "students" / "kd" / "student.safetensors") for name in ("whole", "cut"))
    for name, array in one.items():
        np.testing.assert_allclose(array, two[name], atol=5e-3)


def test_a_table_that_begins_with_the_teachers_embeddings(tmp_path, tweets, encoder):
    rows = [{"text": text, "label": label} for text, label in tweets[:120]]
    files = {"train": write_csv(tmp_path / "train.csv", rows[:80]), "dev": write_csv(tmp_path / "dev.csv", rows[80:])}
    asked = settings(
        files,
        teach={"teacher": str(encoder), "epochs": 1, "max_length": 32, "precision": "fp32"},
        label={"shard_size": 256},
        count={"size": 600},
        distill={"init": "teacher", "steps": 1, "learning_rate": 1e-9, "hidden": [384], "modes": ["scratch", "kd"]},
    )
    run = Run(tmp_path / "run", asked)
    run.execute(["teach", "label", "count", "distill"])
    vocabulary = Vocabulary.load(tmp_path / "run" / "vocabulary" / "train")
    teacher = run.teacher
    expected = teacher.embed([vocabulary[i] for i in range(len(vocabulary))])
    expected -= expected.mean(axis=0)
    table = weights(tmp_path / "run" / "students" / "kd" / "student.safetensors")["table"]
    np.testing.assert_allclose(table, expected * (0.3 / expected.std()), atol=2e-3)
    scratch = weights(tmp_path / "run" / "students" / "scratch" / "student.safetensors")["table"]
    assert abs(np.corrcoef(scratch.ravel(), table.ravel())[0, 1]) < 0.01  # it knows no teacher
    # The mean over the tokens of the encoder, by hand.
    torch = pytest.importorskip("torch")
    transformers = pytest.importorskip("transformers")
    tokenizer = transformers.AutoTokenizer.from_pretrained(tmp_path / "run" / "teacher")
    model = transformers.AutoModel.from_pretrained(tmp_path / "run" / "teacher").eval()
    with torch.inference_mode():
        states = model(**tokenizer("not bad at all", return_tensors="pt")).last_hidden_state[0]
    np.testing.assert_allclose(teacher.embed(["not bad at all", "x"])[0], states.mean(0).numpy(), atol=1e-4)
    for wrong, message in (({"hidden": []}, "wider than the logits"), ({"modes": ["scratch"]}, "transformer")):
        with pytest.raises(SettingsError, match=message):
            other = {"teach": {"teacher": str(encoder)}, "distill": {"init": "teacher", **wrong}}
            Run(tmp_path / "wrong", settings(files, **other)).execute(["distill"])


def test_a_hashed_vocabulary_all_the_way(tmp_path, files):
    hashed = {"hashed": True, "size": 65_536, "max_n": 4}
    Run(tmp_path / "run", settings(files, count=hashed, distill={"epochs": 6})).execute()
    metrics = read_json(tmp_path / "run" / "metrics.json")
    assert metrics["systems"][metrics["selected"]]["accuracy"] > 0.6
    classifier = Classifier.load(tmp_path / "run" / "classifier")
    assert classifier.config["rows"]["hashed"]
    assert classifier.config["rows"]["count"] == 65_536


def test_what_columns_cannot_be_split_for(tmp_path, files):
    Run(tmp_path / "run", settings(files, distill={"optimizer": "adagrad"})).execute(["label", "count"])
    child = in_group(tmp_path / "run", "distill")
    assert child.wait() == 2
    assert "row-wise adagrad needs whole rows" in child.said


def test_real_teacher_from_text_to_classifier(tmp_path, tweets, encoder, drawn):
    rows = [{"text": text, "label": label} for text, label in tweets[:400]]
    files = {
        "train": write_csv(tmp_path / "train.csv", rows[:80]),
        "dev": write_csv(tmp_path / "dev.csv", rows[80:120]),
        "test": write_csv(tmp_path / "test.csv", rows[120:180]),
        "corpus": write_csv(tmp_path / "corpus.csv", [{"text": row["text"]} for row in rows[180:]]),
    }
    asked = settings(
        files,
        teach={"teacher": str(encoder), "epochs": 1, "max_length": 32, "precision": "fp32", "batch_size": 16},
        label={"shard_size": 64},
        distill={"modes": ["scratch", "kd_private", "kd"]},
    )
    run = Run(tmp_path / "run", asked)
    run.execute()
    metrics = read_json(tmp_path / "run" / "metrics.json")
    assert set(metrics["systems"]) == {"teacher", "scratch", "kd_private", "kd", "kd_ft"}
    assert metrics["selected"] in ("kd", "kd_ft")
    assert metrics["texts"] == 60
    for figures in metrics["systems"].values():
        assert 0 <= figures["accuracy"] <= 1
        assert figures["texts_per_second"] > 0
    assert metrics["speedup"] > 100
    # The figures are those of the directory that ships.
    shipped = Classifier.load(tmp_path / "run" / "classifier")
    gold = [row["label"] for row in rows[120:180]]
    right = np.mean([a == b for a, b in zip(shipped.predict([r["text"] for r in rows[120:180]]), gold, strict=True)])
    assert right == pytest.approx(metrics["systems"][metrics["selected"]]["accuracy"])
    # The student's teacher is the fine-tuned encoder: its logits are those in the shards.
    from sparsedistill.teacher.logits import Logits

    logits = Logits.load(tmp_path / "run" / "logits" / "corpus").array()
    assert logits.shape == (220, 3)
    texts = [text for batch in run.inputs.texts("corpus") for text in batch]
    np.testing.assert_allclose(run.teacher.logits(texts[:40]), logits[:40], atol=1e-4)
    for name in ("report.png", "report.md", "settings.json", "texts/data.json", "classifier/README.md"):
        assert (tmp_path / "run" / name).stat().st_size > 100
    # A second run does nothing again.
    records = {path: path.stat().st_mtime_ns for path in (tmp_path / "run" / "stages").glob("*.json")}
    Run(tmp_path / "run", asked).execute()
    assert records == {path: path.stat().st_mtime_ns for path in (tmp_path / "run" / "stages").glob("*.json")}
    # Another learning rate trains students again, but asks the teacher nothing.
    other = dataclasses.replace(asked, distill=dataclasses.replace(asked.distill, learning_rate=0.004))
    Run(tmp_path / "run", other).execute()
    changed = {path.name for path, when in records.items() if path.stat().st_mtime_ns != when}
    assert not {name for name in changed if name.startswith(("teach", "label", "count"))}
    assert {"distill.kd.json", "finetune.json", "compress.kd.json", "evaluate.json"} <= changed


def test_student_learns_what_the_column_says(tmp_path, files):
    run = Run(tmp_path / "run", settings(files, distill={"modes": ["scratch", "kd"], "epochs": 15}))
    run.execute()
    systems = read_json(tmp_path / "run" / "metrics.json")["systems"]
    assert systems["kd"]["macro_f1"] > systems["scratch"]["macro_f1"] + 0.1
    assert "teacher" not in systems


def execute(directory: Path, values: dict) -> None:
    Run(directory, build(values, "test")).execute()


@pytest.mark.parametrize(
    ("kill", "more"),
    [(signal.SIGKILL, {}), (signal.SIGINT, {}), (signal.SIGKILL, {"optimizer": "adagrad", "table": "bfloat16"})],
)
def test_interrupted_training_ends_in_the_same_weights(tmp_path, files, kill, more):
    values = {
        "data": files,
        "teach": {"teacher": "column:scores"},
        "distill": {"hidden": [16], "steps": 150, "batch_size": 64, "threads": 1, "checkpoint_seconds": 0.1, **more},
        "finetune": {"finetune_student": False},
        "compress": {"max_loss": 1.0},
        "evaluate": {"repeats": 1, "threads": 1},
    }
    Run(tmp_path / "whole", build(values, "test")).execute()

    process = Forked(tmp_path, slowly, execute, tmp_path / "cut", values)
    state = tmp_path / "cut" / "students" / "kd" / "checkpoint.safetensors"
    deadline = time.monotonic() + 120
    while not state.is_file() and time.monotonic() < deadline and process.poll() is None:
        time.sleep(0.02)
    process.send(kill)
    assert process.wait(60) != 0
    assert state.is_file(), process.said
    assert not (tmp_path / "cut" / "students" / "kd" / "student.safetensors").exists()
    step = json.loads(read_metadata(state)["state"])["step"]
    assert 0 < step < 150

    Run(tmp_path / "cut", build(values, "test")).execute()
    name = Path("students") / "kd" / "student.safetensors"
    assert same(weights(tmp_path / "whole" / name), weights(tmp_path / "cut" / name))
    assert not state.exists()


def test_the_students_seed_is_its_own(tmp_path, files):
    runs = {}
    for name, seed in (("unset", -1), ("same", 0), ("other", 1)):
        runs[name] = Run(tmp_path / name, settings(files, distill={"student_seed": seed, "epochs": 1}))
        runs[name].execute(["label", "count", "distill", "finetune"])
    for student in ("kd", "kd_ft"):
        unset, same_seed, other = (
            weights(tmp_path / name / "students" / student / "student.safetensors") for name in runs
        )
        assert same(unset, same_seed)
        assert not any(np.array_equal(other[name], array) for name, array in unset.items() if array.any())
    # What comes before the student knows nothing of it.
    for unit in ("label.corpus", "count.all"):
        assert len({run.key(unit) for run in runs.values()}) == 1


def test_private_student_knows_nothing_of_train(tmp_path, files, tweets):
    modes = {"distill": {"modes": ["kd_private"]}, "finetune": {"finetune_student": False}}
    Run(tmp_path / "a", settings(files, **modes)).execute()
    other = learnable(tweets[1400:1700])
    changed = {**files, "train": write_jsonl(tmp_path / "other.jsonl", other)}
    Run(tmp_path / "b", settings(changed, **modes)).execute()
    name = Path("students") / "kd_private" / "student.safetensors"
    assert same(weights(tmp_path / "a" / name), weights(tmp_path / "b" / name))
    vocabulary = Vocabulary.load(tmp_path / "a" / "vocabulary" / "corpus")
    corpus = [json.loads(line)["text"] for line in Path(files["corpus"]).read_text(encoding="utf-8").splitlines()]
    assert list(vocabulary) == list(Vocabulary.count([corpus], max_n=2))


def test_texts_of_dev_and_test_never_enter_corpus_or_counts(tmp_path, files):
    marked = [{"text": f"zyzzyva {i} quixotic", "label": "neutral"} for i in range(5)]
    for name in ("dev", "test"):
        with open(files[name], "a", encoding="utf-8") as file:
            file.writelines(json.dumps(row) + "\n" for row in marked)
    with open(files["corpus"], "a", encoding="utf-8") as file:
        # Case and punctuation do not hide a text.
        file.writelines(json.dumps({"text": f"Zyzzyva {i}, QUIXOTIC!", "scores": [0, 0, 0]}) + "\n" for i in range(5))
    with open(files["train"], "a", encoding="utf-8") as file:
        file.write(json.dumps({"text": "ZYZZYVA 0 quixotic.", "label": "neutral", "scores": [0, 0, 0]}) + "\n")
    run = Run(tmp_path / "run", settings(files, distill={"modes": ["scratch", "kd_private", "kd"]}))
    run.execute(["label", "count"])
    data = read_json(tmp_path / "run" / "texts" / "data.json")
    assert data["corpus"]["dropped"] == 5
    assert data["train"]["texts"] == 300
    for name in ("all", "corpus", "train"):
        vocabulary = Vocabulary.load(tmp_path / "run" / "vocabulary" / name)
        assert not [ngram for ngram in vocabulary if "zyzzyva" in ngram]
    assert sum(len(batch) for batch in run.inputs.texts("corpus")) == data["corpus"]["texts"] == 800


def opinion_teacher(texts: list[str]) -> list[list[float]]:
    return [scores(text) for text in texts]


def test_random_crops_of_train_are_labelled_and_learnt(tmp_path, files, monkeypatch):
    monkeypatch.syspath_prepend(str(Path(__file__).parent))

    def execute(name: str, crops: int, without: str = "", stages=("label", "count", "distill"), **more) -> Run:
        run = Run(
            tmp_path / name,
            settings(
                {part: file for part, file in files.items() if part != without},
                teach={"teacher": "test_run:opinion_teacher"},
                label={"random_crops": crops, "shard_size": 64},
                distill={"modes": ["kd"] if without else ["kd_private", "kd"], **more},
            ),
        )
        run.execute(stages)
        return run

    none, three = execute("none", 0), execute("three", 3)
    made = [crop for batch in three.inputs.texts("crops") for crop in batch]
    train = three.inputs.part("train").texts
    assert len(made) == 3 * len(train)
    for i, crop in enumerate(made):
        text = train[i % len(train)]
        assert crop in (" ".join(text.split()), text) or f" {crop} " in f" {' '.join(text.split())} "
    sizes = np.array([len(crop.split()) / len(train[i % len(train)].split()) for i, crop in enumerate(made)])
    assert 0.4 < sizes.mean() < 0.7
    np.testing.assert_array_equal(three.teacher_logits("crops"), np.float32(opinion_teacher(made)))
    # The student that is to know nothing of train knows nothing of its crops, and nobody counts them.
    for unit in ("distill.kd_private", "count.all", "label.corpus", "label.train"):
        assert none.key(unit) == three.key(unit)
    learnt = {run: run.result_of("distill.kd")["texts"] for run in (none, three)}
    assert learnt[three] == learnt[none] + len(made)
    # Texts that are gone are prepared anew, and crops with them.
    shutil.rmtree(tmp_path / "three" / "texts")
    execute("three", 3, stages=["distill"], ngram_dropout=0.3)
    assert [crop for batch in three.inputs.texts("crops") for crop in batch] == made
    # Others are asked for: these alone are made.
    labelled = (tmp_path / "three" / "logits" / "train" / "manifest.json").stat().st_mtime_ns
    fewer = execute("three", 1)
    assert [crop for batch in fewer.inputs.texts("crops") for crop in batch] == made[: len(train)]
    assert len(fewer.teacher_logits("crops")) == len(train)
    assert (tmp_path / "three" / "logits" / "train" / "manifest.json").stat().st_mtime_ns == labelled
    # Without a corpus they are all there is besides train.
    assert execute("alone", 2, without="corpus").result_of("distill.kd")["texts"] == 3 * len(train)


def test_held_out_dev_is_taken_before_counting(tmp_path, files):
    del files["dev"]
    run = Run(tmp_path / "run", settings(files, distill={"modes": ["scratch"]}))
    run.execute(["count"])
    assert len(run.inputs.dev.texts) == 30
    assert len(run.inputs.train.texts) <= 270
    assert not set(run.inputs.dev.texts) & set(run.inputs.train.texts)
    vocabulary = Vocabulary.load(tmp_path / "run" / "vocabulary" / "train")
    assert list(vocabulary) == list(Vocabulary.count([run.inputs.train.texts], max_n=2))
    again = Run(tmp_path / "again", settings(files, distill={"modes": ["scratch"]}))
    again.check()
    assert again.inputs.dev.texts == run.inputs.dev.texts


def multi_teacher(texts: list[str]) -> np.ndarray:
    """Probabilities of two independent labels."""
    return np.array([[0.9 if "@" in t else 0.1, 0.8 if "http" in t else 0.05] for t in texts])


def quality_teacher(texts: list[str]) -> np.ndarray:
    """A quality from 0 to 5: here, how long the text is."""
    return np.array([min(len(t) / 28, 5.0) for t in texts])


def test_multi_label_with_a_callable(tmp_path, tweets, monkeypatch):
    monkeypatch.syspath_prepend(str(Path(__file__).parent))
    rows = [
        {"text": t, "label": [n for n, yes in (("mention", "@" in t), ("link", "http" in t)) if yes]}
        for t, _ in tweets[:900]
    ]
    files = {
        "train": write_jsonl(tmp_path / "train.jsonl", rows[:200]),
        "dev": write_jsonl(tmp_path / "dev.jsonl", rows[200:300]),
        "test": write_jsonl(tmp_path / "test.jsonl", rows[300:500]),
        "corpus": write_jsonl(tmp_path / "corpus.jsonl", [{"text": r["text"]} for r in rows[500:]]),
    }
    asked = settings(
        files,
        data={"task": "multi", "labels": ["mention", "link"]},
        teach={"teacher": "test_run:multi_teacher"},
        label={"scores": "probabilities"},
        distill={"epochs": 20},
    )
    Run(tmp_path / "run", asked).execute()
    systems = read_json(tmp_path / "run" / "metrics.json")["systems"]
    assert systems["teacher"]["micro_f1"] == 1.0
    assert systems["kd"]["micro_f1"] > 0.9
    classifier = Classifier.load(tmp_path / "run" / "classifier")
    assert sorted(classifier.predict("@bob see http://t.co/x")) == ["link", "mention"]
    chances = classifier.predict_proba("@bob see http://t.co/x")
    assert chances.min() > 0.5  # they are apart: their sum is no 1


def test_regression_on_a_score(tmp_path, tweets, monkeypatch):
    monkeypatch.syspath_prepend(str(Path(__file__).parent))
    rows = [{"text": t, "label": float(quality_teacher([t])[0])} for t, _ in tweets[:900]]
    files = {
        "train": write_jsonl(tmp_path / "train.jsonl", rows[:200]),
        "test": write_jsonl(tmp_path / "test.jsonl", rows[300:500]),
        "corpus": write_jsonl(tmp_path / "corpus.jsonl", [{"text": r["text"]} for r in rows[500:]]),
    }
    asked = settings(
        files, data={"task": "regression"}, teach={"teacher": "test_run:quality_teacher"}, distill={"epochs": 40}
    )
    Run(tmp_path / "run", asked).execute()
    metrics = read_json(tmp_path / "run" / "metrics.json")
    assert metrics["systems"]["teacher"]["mae"] < 1e-6
    assert metrics["systems"]["kd"]["pearson"] > 0.3
    classifier = Classifier.load(tmp_path / "run" / "classifier")
    assert isinstance(classifier.predict("some text"), float)
    with pytest.raises(ValueError, match="no probabilities"):
        classifier.predict_proba("some text")


def test_without_any_labelled_text(tmp_path, files):
    asked = settings(
        {"corpus": files["corpus"]},
        data={"labels": list(LABELS)},
        distill={"modes": ["kd"], "epochs": 15},
    )
    Run(tmp_path / "run", asked).execute()
    metrics = read_json(tmp_path / "run" / "metrics.json")
    assert metrics["part"] == "dev"
    assert metrics["systems"]["kd"]["accuracy"] > 0.5
    assert Classifier.load(tmp_path / "run" / "classifier").labels == LABELS


def test_refusals_come_first(tmp_path, files, tweets):
    def refused(kind, match, over=None, **sections):
        with pytest.raises(kind, match=match):
            Run(tmp_path / "refused", settings({**files, **(over or {})}, **sections)).execute()
        assert not (tmp_path / "refused" / "logits").exists()

    refused(DataError, r"train\.jsonl.*nonsense", teach={"teacher": "column:nonsense"})
    refused(SettingsError, "no teacher", teach={"teacher": ""})
    refused(SettingsError, "nothing to learn from", over={"train": (), "corpus": ()})
    refused(SettingsError, "kd_private", over={"corpus": ()}, distill={"modes": ["kd_private"]})
    refused(DataError, "headline", data={"text": "headline"})
    refused(SettingsError, "random crops are new texts", label={"random_crops": 1})
    told = {"teach": {"teacher": "test_run:opinion_teacher"}, "label": {"random_crops": 1}}
    refused(SettingsError, "random crops are of train", over={"train": ()}, data={"labels": list(LABELS)}, **told)
    refused(SettingsError, "random crops are of train", distill={"modes": ["kd_private"]}, **told)
    refused(SettingsError, "no pair", data={"pair": "text"}, distill={"embedding": 4}, **told)
    refused(SettingsError, "'plenty' is not a size of memory", count={"memory": "plenty"})
    strange = write_jsonl(tmp_path / "strange.jsonl", [{"text": "a", "label": "meh"}])
    refused(DataError, r"meh.*strange\.jsonl", over={"dev": strange})
    refused(
        DataError,
        r"all of them \(200\) are texts of dev or test",
        over={"corpus": files["test"]},
        teach={"teacher": "judge:unused"},
        distill={"modes": ["scratch"]},
    )
    bad = write_jsonl(tmp_path / "nan.jsonl", [{"text": "a", "scores": [0, float("nan"), 0]}])
    with pytest.raises(DataError, match=r"nan\.jsonl:1: column 'scores'"):
        Run(tmp_path / "nan", settings({**files, "corpus": bad})).execute()
    two = write_jsonl(tmp_path / "two.jsonl", [{"text": f"text {i}", "scores": [0, 1]} for i in range(3)])
    with pytest.raises(DataError, match=r"two\.jsonl:1: .*not 3 finite numbers"):
        Run(tmp_path / "two", settings({**files, "corpus": two})).execute()


@pytest.mark.parametrize(
    ("optimizer", "table", "gigabytes"), [("adam", "float32", "108.0"), ("adagrad", "bfloat16", "18.0")]
)
def test_what_memory_cannot_hold_is_refused(tmp_path, files, monkeypatch, optimizer, table, gigabytes):
    kinds = {"optimizer": optimizer, "table": table}
    run = Run(tmp_path / "run", settings(files, distill={"hidden": [9_000_000], **kinds}, count={"size": 1000}))
    run.execute(["label", "count"])
    message = rf"training 1,000 n-grams x 9,000,000 .* takes {gigabytes} GB of memory .*--optimizer adagrad"
    monkeypatch.setattr("sparsedistill.stages.train.free_memory", lambda: 10 * 10**9)
    with pytest.raises(SettingsError, match=message):
        run.execute(["distill"])
    monkeypatch.setattr("sparsedistill.stages.train.free_memory", lambda: None)
    monkeypatch.setattr("shutil.disk_usage", lambda _: type("Usage", (), {"free": 10**9}))
    with pytest.raises(SettingsError, match=r"GB of disk .*, 1\.0 GB are free"):
        run.execute(["distill"])


def test_lossy_rows_are_refused(tmp_path, files, monkeypatch):
    run = Run(tmp_path / "run", settings(files, distill={"epochs": 15}, compress={"max_loss": 0.0}))
    run.execute(["label", "count", "distill", "finetune"])
    from sparsedistill.student import compress

    def ruin(*args, **kwargs):
        classifier = original(*args, **kwargs)
        return Classifier(classifier.config, {**classifier._tensors, "rows": np.zeros_like(classifier._rows)})

    original = compress.compress
    monkeypatch.setattr(compress, "compress", ruin)
    with pytest.raises(SettingsError, match="--rows float32"):
        run.execute(["compress"])
    assert not (tmp_path / "run" / "classifiers" / "kd").exists()


def test_test_texts_choose_nothing(tmp_path, files):
    test = [json.loads(line) for line in Path(files["test"]).read_text(encoding="utf-8").splitlines()]
    with open(files["dev"], "a", encoding="utf-8") as file:
        file.writelines(json.dumps(row) + "\n" for row in test[:20])
    given = Run(tmp_path / "given", settings(files, distill={"modes": ["scratch"]}))
    given.check()
    assert len(given.inputs.part("dev").texts) == 100
    with open(files["train"], "a", encoding="utf-8") as file:
        file.writelines(json.dumps({**row, "scores": [0, 0, 0]}) + "\n" for row in test[:100])
    del files["dev"]
    held = Run(tmp_path / "held", settings(files, distill={"modes": ["scratch"]}))
    held.check()
    texts = {row["text"] for row in test}
    assert not texts & set(held.inputs.part("dev").texts)
    assert not texts & set(held.inputs.part("train").texts)
    assert len(held.inputs.part("dev").texts) == 30


def test_figures_are_refused_where_test_texts_were_learnt(tmp_path, files):
    test = files.pop("test")
    asked = settings(files, distill={"modes": ["kd"], "epochs": 1})
    Run(tmp_path / "run", asked).execute(["label", "count", "distill", "finetune", "compress"])
    later = settings({**files, "test": files["train"]}, distill={"modes": ["kd"], "epochs": 1})
    with pytest.raises(DataError, match=r"all of them \(300\) are texts of test"):
        Run(tmp_path / "run", later).execute(["evaluate"])
    with open(test, "a", encoding="utf-8") as file:
        row = json.loads(Path(files["corpus"]).read_text(encoding="utf-8").splitlines()[0])
        file.write(json.dumps({"text": row["text"], "label": "neutral"}) + "\n")
    later = settings({**files, "test": test}, distill={"modes": ["kd"], "epochs": 1})
    with pytest.raises(SettingsError, match="is stale"):
        Run(tmp_path / "run", later).execute(["evaluate"])


@pytest.mark.parametrize("change", ["column", "labels", "scores"])
def test_another_teacher_under_the_same_name_is_noticed(tmp_path, files, change):
    rows = [json.loads(line) for line in Path(files["corpus"]).read_text(encoding="utf-8").splitlines()]
    rows = [{**row, "other": row["scores"][::-1]} for row in rows]
    files = {"corpus": write_jsonl(tmp_path / "c.jsonl", rows)}
    before = settings(files, data={"labels": list(LABELS)}, distill={"epochs": 1})
    Run(tmp_path / "run", before).execute(["label"])

    def said() -> np.ndarray:
        return np.load(tmp_path / "run" / "logits" / "corpus" / "00000.npy")

    first = said()
    if change == "scores":
        write_jsonl(tmp_path / "c.jsonl", [{**row, "scores": row["other"]} for row in rows])
    column = "other" if change == "column" else "scores"
    labels = list(LABELS)[::-1] if change == "labels" else list(LABELS)
    after = settings(files, data={"labels": labels}, teach={"teacher": f"column:{column}"}, distill={"epochs": 1})
    stamp = (tmp_path / "run" / "stages" / "label.corpus.json").stat().st_mtime_ns
    Run(tmp_path / "run", after).execute(["label"])
    assert (tmp_path / "run" / "stages" / "label.corpus.json").stat().st_mtime_ns != stamp
    assert np.array_equal(said(), first if change == "labels" else first[:, ::-1])


def test_a_teacher_that_has_moved_is_the_same_until_its_files_change(tmp_path, files, encoder):
    def key(folder: Path) -> str:
        run = Run(tmp_path / "run", settings(files, teach={"teacher": str(folder)}))
        run.check()
        return run.key("teach")

    moved = tmp_path / "moved"
    shutil.copytree(encoder, moved)
    before = key(encoder)
    assert key(moved) == before
    with open(moved / "config.json", "a", encoding="utf-8") as file:
        file.write("\n")
    assert key(moved) != before


def test_probabilities_are_not_taken_for_logits(tmp_path, files):
    rows = [json.loads(line) for line in Path(files["corpus"]).read_text(encoding="utf-8").splitlines()]
    powers = [np.exp(row["scores"]) for row in rows]
    likely = [{"text": row["text"], "scores": list(p / p.sum())} for row, p in zip(rows, powers, strict=True)]
    files = {"corpus": write_jsonl(tmp_path / "p.jsonl", likely)}
    asked = {"data": {"labels": list(LABELS)}, "distill": {"epochs": 1}}
    with pytest.raises(DataError, match="set scores to probabilities"):
        Run(tmp_path / "a", settings(files, **asked)).execute(["label"])
    Run(tmp_path / "b", settings(files, label={"scores": "probabilities"}, **asked)).execute(["label"])


def test_one_process_a_run_directory(tmp_path, files):
    run = Run(tmp_path / "run", settings(files, distill={"modes": ["scratch"]}))
    with locked(run.directory), pytest.raises(SettingsError, match="another process works in"):
        Run(tmp_path / "run", settings(files, distill={"modes": ["scratch"]})).execute(["count"])


def test_digest_is_of_values():
    assert digest({"a": 1, "b": (1, 2)}) == digest({"b": [1, 2], "a": 1})
    assert digest({"a": 1}) != digest({"a": 2})
    assert os.path.exists(__file__)


# Texts without a known n-gram


@pytest.mark.parametrize(
    ("dev", "min_count", "said"),
    [
        (["good film", "bad film", "a film", "ดี"], 1, "1 of 4 texts (25.0%)"),
        (["good film", "das Kino", "le cinéma", "кино"], 1, "another language or script"),
        (["good film", "das Kino", "le cinéma", "кино"], 3, "--min-count 3 may be too high"),
        (["good", "", "  ", "кино"], 1, "2 of them have no token: are they empty"),
        (["", "\u200b"], 1, "2 of 2 texts (100.0%)"),
        (["good film", "bad film", "a film", "film", "ดี"], 1, ""),
        ([], 1, ""),
    ],
)
def test_dev_without_known_ngrams_is_said(dev, min_count, said):
    vocabulary = Vocabulary.count([["good film", "bad film", "a film"]], max_n=2)
    _, offsets = vocabulary.bags(dev)
    warning = unknown_warning(vocabulary, dev, offsets, min_count)
    assert said in warning
    assert bool(warning) == bool(said)


def test_a_run_says_that_dev_is_in_another_script(tmp_path, capsys):
    train = [{"text": f"{word} film {i}", "label": word} for word in ("good", "bad") for i in range(20)]
    dev = [
        {"text": f"{word} {i}", "label": label}
        for word, label in (("कखग", "good"), ("घङच", "bad"))
        for i in range(20, 25)
    ]
    data = {"train": write_csv(tmp_path / "train.csv", train), "dev": write_csv(tmp_path / "dev.csv", dev)}
    distill = {"modes": ["scratch"], "hidden": [4], "steps": 2, "threads": 1, "device": "cpu"}
    Run(tmp_path / "run", build({"data": data, "distill": distill}, "here")).execute(["count", "distill"])
    said = capsys.readouterr().err
    assert "warning: dev: 10 of 10 texts (100.0%) have no known n-gram" in said
    assert said.count("no known n-gram") == 1
