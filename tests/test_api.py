"""The whole job from Python, and that Python, ``fit``, a TOML file and the stages alone make the same classifier."""

from __future__ import annotations

import doctest
import json
import subprocess
import sys
from pathlib import Path

import datasets
import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest

import sparsedistill
from sparsedistill import Classifier, DataError, Report, Run, Settings, SettingsError, cli, distill
from sparsedistill.report import table

LABELS = ["neg", "neu", "pos"]
WORDS = ["film", "plot", "very", "good", "bad", "fine", "actor", "slow", "lovely", "poor", "scene", "music"]
ASKED: list[int] = []


def texts_of(number: int, seed: int = 0) -> list[str]:
    random = np.random.default_rng(seed)
    return [" ".join(random.choice(WORDS, size)) + f" {i}" for i, size in enumerate(random.integers(3, 12, number))]


def judge(texts: list[str]) -> np.ndarray:
    """Logits (n, 3): a function of some words."""
    ASKED.append(len(texts))
    good = np.array([sum(text.count(word) for word in ("good", "fine", "lovely")) for text in texts], float)
    bad = np.array([sum(text.count(word) for word in ("bad", "poor", "slow")) for text in texts], float)
    return np.stack([bad - good, 0.5 - np.abs(good - bad), good - bad], axis=1)


def named(texts: list[str]) -> list[str]:
    return [LABELS[i] for i in judge(texts).argmax(axis=1)]


CORPUS, TRAIN, TEST = texts_of(600, 1), texts_of(200, 2), texts_of(80, 3)
ASK = {"hidden": [8], "size": 2000, "device": "cpu", "max_loss": 0.5, "repeats": 1}
FEW = {"distill": {"epochs": 2}}


@pytest.fixture(autouse=True)
def one_thread(monkeypatch, tmp_path):
    """Where temporary runs lie, and no more threads than another test takes."""
    (tmp_path / "tmp").mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "tmp"))
    monkeypatch.syspath_prepend(str(Path(__file__).parent))


def weights(classifier: Classifier) -> dict[str, bytes]:
    return {name: np.asarray(array).tobytes() for name, array in classifier._tensors.items()}


@pytest.fixture(scope="module")
def by_lists() -> Classifier:
    return distill(judge, CORPUS, (TRAIN, named(TRAIN)), test=(TEST, named(TEST)), **ASK, distill={"epochs": 3})


@pytest.fixture(scope="module")
def of_labels() -> Classifier:
    return distill(train=(TRAIN, named(TRAIN)), **ASK, **FEW)


def test_four_ways_make_the_same_classifier(by_lists, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    pd.DataFrame({"text": TRAIN, "label": named(TRAIN)}).to_csv("train.csv", index=False)
    pd.DataFrame({"text": TEST, "label": named(TEST)}).to_json("test.jsonl", orient="records", lines=True)
    Path("corpus.txt").write_text("\n".join(CORPUS) + "\n", encoding="utf-8")
    asked = ["--teacher", "test_api:judge", "--corpus", "corpus.txt", "--test", "test.jsonl", "--hidden", "8"]
    asked += ["--size", "2000", "--max-loss", "0.5", "--repeats", "1"]
    assert cli.main(["fit", "train.csv", *asked, "--device", "cpu", "--distill-epochs", "3", "-o", "fit"]) == 0
    Path("job.toml").write_text(
        """
        run = "toml"
        [data]
        train = "train.csv"
        test = "test.jsonl"
        corpus = "corpus.txt"
        [teach]
        teacher = "test_api:judge"
        [distill]
        hidden = [8]
        epochs = 3
        device = "cpu"
        [count]
        size = 2000
        [compress]
        max_loss = 0.5
        [evaluate]
        repeats = 1
        """,
        encoding="utf-8",
    )
    assert cli.main(["run", "job.toml"]) == 0
    for stage in ("teach", "label", "count", "distill", "finetune", "compress", "evaluate"):
        Run(tmp_path / "stages", Settings.from_toml("job.toml")).execute([stage])
    found = {"fit": "fit", "toml": "toml/classifier", "stages": "stages/classifier"}
    expected = by_lists.predict_proba(TEST).tobytes()
    for way, place in found.items():
        classifier = Classifier.load(place)
        assert weights(classifier) == weights(by_lists), way
        assert classifier.predict_proba(TEST).tobytes() == expected
        assert classifier.labels == by_lists.labels


@pytest.mark.parametrize(
    "container",
    [
        iter,
        np.array,
        pd.Series,
        pl.Series,
        pa.array,
        lambda texts: pa.chunked_array([texts[:7], texts[7:]]),
        lambda texts: pd.DataFrame({"text": texts, "n": range(len(texts))}),
        lambda texts: pl.DataFrame({"text": texts}),
        lambda texts: pa.table({"text": texts}),
        lambda texts: datasets.Dataset.from_dict({"text": texts}),
        lambda texts: {"text": texts},
        lambda texts: [{"text": text, "n": i} for i, text in enumerate(texts)],
        lambda texts: (text for text in texts),
    ],
)
def test_a_corpus_of_any_kind(by_lists, container):
    classifier = distill(
        judge, container(CORPUS), (TRAIN, named(TRAIN)), test=(TEST, named(TEST)), **ASK, distill={"epochs": 3}
    )
    assert weights(classifier) == weights(by_lists)


@pytest.mark.parametrize(
    "table",
    [
        pd.DataFrame,
        pl.DataFrame,
        pa.table,
        datasets.Dataset.from_dict,
        dict,
        lambda columns: list(zip(columns["text"], columns["label"], strict=True)),
        lambda columns: [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)],
        lambda columns: (np.array(columns["text"]), pd.Series(columns["label"])),
        lambda columns: (pa.array(columns["text"]), pl.Series(columns["label"])),
    ],
)
def test_labelled_texts_of_any_kind(of_labels, table):
    other = distill(train=table({"text": TRAIN, "label": named(TRAIN)}), **ASK, **FEW)
    assert weights(of_labels) == weights(other)
    assert of_labels.labels == other.labels


def test_given_scores_are_a_teacher():
    scores = judge(CORPUS)
    for given in (scores, scores.tolist(), pd.DataFrame(scores).to_numpy(), {"corpus": scores}):
        classifier = distill(given, CORPUS, labels=LABELS, **ASK, distill={"epochs": 10})
        assert np.mean(np.array(classifier.predict(TEST)) == named(TEST)) > 0.7
    both = distill({"corpus": scores, "train": judge(TRAIN)}, CORPUS, (TRAIN, named(TRAIN)), **ASK, **FEW)
    assert set(both.report.figures) == {"kd", "kd_ft"}
    shares = np.exp(scores) / np.exp(scores).sum(axis=1, keepdims=True)
    distill(shares, CORPUS, labels=LABELS, scores="probabilities", **ASK, **FEW)


def test_other_tasks():
    several = [[label for label, score in zip(LABELS, row, strict=True) if score > 0] for row in judge(TRAIN)]
    assert distill(train=(TRAIN, several), task="multi", **ASK, **FEW).task == "multi"
    hot = [[int(score > 0) for score in row] for row in judge(TRAIN)]
    found = distill(train=(TRAIN, np.array(hot)), task="multi", labels=LABELS, **ASK, **FEW)
    assert found.labels == tuple(LABELS)
    assert isinstance(
        distill(train=(TRAIN, judge(TRAIN)[:, 2]), task="regression", **ASK, **FEW).predict("good"), float
    )
    pairs = list(zip(TRAIN, reversed(TRAIN), strict=True))
    labels = ["same" if i % 3 else "other" for i in range(len(pairs))]
    classifier = distill(train=(pairs, labels), pair="second", embedding=6, **ASK, **FEW)
    assert classifier.predict([pairs[0]])[0] in ("same", "other")


def test_a_directory_resumes_and_does_nothing_twice(tmp_path):
    stopped = []

    def interrupted(texts: list[str]) -> np.ndarray:
        if len(stopped) == 1 and sum(ASKED) > 300:
            stopped.append(True)
            raise KeyboardInterrupt
        return judge(texts)

    ask = {**ASK, **FEW, "label": {"shard_size": 100}, "directory": tmp_path / "run"}
    job = {"corpus": CORPUS, "train": (TRAIN, named(TRAIN))}
    ASKED.clear()
    stopped.append(True)
    with pytest.raises(KeyboardInterrupt):
        distill(interrupted, **job, **ask)
    distill(judge, **job, **ask)
    before = sum(ASKED)
    again = distill(judge, **job, **ask)
    assert sum(ASKED) == before  # the same function has nothing new to say
    other = distill(judge, **job, **{**ask, "hidden": [4]})
    assert sum(ASKED) < before + 2000
    assert weights(again) != weights(other)
    distill(lambda texts: judge(texts), **job, **ask)  # another function is asked anew
    assert sum(ASKED) >= before + len(CORPUS)


def test_a_temporary_run_goes_when_it_is_done_and_stays_when_it_fails(tmp_path, capsys):
    classifier = distill(train=(TRAIN, named(TRAIN)), **ASK, **FEW)
    assert list((tmp_path / "tmp").glob("sparsedistill-*")) == []
    assert classifier.predict("good good")  # and needs none of its files
    classifier.save(tmp_path / "kept")
    assert Classifier.load(tmp_path / "kept").report is None

    def broken(texts: list[str]) -> list[float]:
        raise RuntimeError("no more quota")

    with pytest.raises(RuntimeError):
        distill(broken, CORPUS, (TRAIN, named(TRAIN)), **ASK)
    for wrong in ({"hiden": [3]}, {"pooling": "best"}):
        with pytest.raises(SettingsError):
            distill(train=(TRAIN, named(TRAIN)), **wrong)
    assert list((tmp_path / "tmp").glob("sparsedistill-*")) == []


def test_settings_by_name():
    settings = Settings.of(hidden=64, teach={"epochs": 2}, labels=np.array(["a", "b"]).tolist(), label="gold")
    assert (settings.distill.hidden, settings.teach.epochs, settings.data.label) == ((64,), 2, ("gold",))
    with pytest.raises(SettingsError, match=r"no setting 'hiden': do you mean 'hidden'\?"):
        Settings.of(hiden=[3])
    with pytest.raises(SettingsError, match=r"epochs is a setting of teach, distill, finetune: give it in a dict"):
        Settings.of(epochs=3)


@pytest.mark.parametrize(
    ("job", "message"),
    [
        ({"train": (["a", 3], ["x", "y"])}, r"train\[1\] is 3"),
        ({"train": (["a"], ["x", "y"])}, "1 texts and 2 labels"),
        ({"train": "nowhere.csv"}, "no such file"),
        ({"train": [__file__]}, "each is the name of a file"),
        ({"teacher": judge, "corpus": 7}, "of type int"),
        ({"teacher": judge, "corpus": iter(())}, "no text in corpus"),
        ({"teacher": judge(CORPUS[:5]), "corpus": CORPUS[:6], "labels": LABELS}, "6 texts and 5 scores"),
        ({"train": {"text": ["a", "b"], "label": ["x"]}}, "differ in length"),
        ({"train": ("text", "label")}, r"train\[0\] is 'text', not a text and its label"),
        ({"train": TRAIN}, "not a text and its label"),
        ({"train": [{"text": "a", "label": "x"}, {"text": "b"}]}, r"train\[1\] is .* not a dict with 'text', 'label'"),
        ({"train": (["a", "b"], ["x", "y"]), "corpus": iter(["c"])}, "a corpus, but no teacher"),
        ({"teacher": {"test": [[1]]}, "corpus": ["a"]}, "scores of test"),
    ],
)
def test_what_cannot_be_used_is_named(job, message):
    with pytest.raises((DataError, SettingsError), match=message):
        distill(**job)


def test_the_report_shows_itself(by_lists, tmp_path, drawn):
    report = by_lists.report
    assert set(report.figures) == {"teacher", "kd", "kd_ft"}
    assert report.selected in ("kd", "kd_ft")
    assert "80 test texts" in str(report)
    assert "|" not in str(report)  # a terminal's; a file's is Markdown
    assert table(report.result).splitlines()[1].replace("-", "") == "|  | " + " | ".join([":"] * 7) + " |"
    assert "unquantised accuracy" in str(report)
    weighed = Report({**report.result, "primary": "macro_f1"})  # as with class weights: the figure has another unit
    assert "unquantised macro-F1" in str(weighed)
    quick = {name: {**figures, "texts_per_second": 40.0} for name, figures in report.figures.items()}
    quick["teacher"]["texts_per_second"] = 100.0  # a function may be faster than any student
    assert str(Report({**report.result, "systems": quick})).count(" 0.4x\n") == 2
    shown = report._repr_html_()
    assert "<table>" in shown
    assert "data:image/png;base64," in shown
    report.plot(tmp_path / "report.png")
    assert (tmp_path / "report.png").read_bytes().startswith(b"\x89PNG")


def test_the_examples_in_docstrings():
    from sparsedistill import api

    assert doctest.testmod(api).failed == 0
    assert doctest.testmod(api).attempted > 3


def test_the_package_alone_loads_nothing_that_trains():
    code = "import sys, sparsedistill; print({'torch', 'pyarrow', 'sparsedistill.run'} & set(sys.modules))"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout.strip() == "set()"
    assert set(sparsedistill.__all__) <= set(dir(sparsedistill))
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        sparsedistill.nothing  # noqa: B018


def test_fit_alone_and_over_what_is_there(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    pd.DataFrame({"text": TRAIN, "label": named(TRAIN)}).to_csv("train.csv", index=False)
    assert cli.main(["fit", "train.csv", "-o", "model", "--hidden", "4", "--distill-epochs", "2"]) == 0
    assert json.loads((tmp_path / "model" / "config.json").read_text())["labels"] == LABELS
    assert cli.main(["fit", "train.csv", "-o", "model", "--hidden", "8", "--distill-epochs", "2"]) == 0
    shown = capsys.readouterr()
    assert "count.train: done already" in shown.err
    assert "model: the classifier, in place of the one that was there" in shown.err
    assert "| sparsedistill predict model\n" in shown.err
    assert shown.out.count("student from scratch *") == 2 and "student from scratch *" not in shown.err  # once a call
    (tmp_path / "home").mkdir()
    (tmp_path / "home" / "letter.txt").write_text("dear")
    assert cli.main(["fit", "train.csv", "-o", "home"]) == 2
    assert "is there, and no classifier" in capsys.readouterr().err
    assert (tmp_path / "home" / "letter.txt").is_file()
    (tmp_path / "home" / "config.json").write_text('{"architectures": ["Roberta"]}')
    assert cli.main(["fit", "train.csv", "-o", "home"]) == 2
    assert "is there, and no classifier" in capsys.readouterr().err
    (tmp_path / "model" / "letter.txt").write_text("dear")
    assert cli.main(["fit", "train.csv", "-o", "model"]) == 2
    assert "also holds letter.txt" in capsys.readouterr().err
    assert cli.main(["fit", "train.csv", "-o", "one", "--run", "./one"]) == 2
    assert "--output and --run are both one" in capsys.readouterr().err
