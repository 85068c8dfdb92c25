"""The command line as a person meets it: real processes, real files."""

from __future__ import annotations

import csv
import json
import re
import subprocess
import sys
import tempfile
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from processes import Forked
from test_run import LABELS, learnable, write_csv, write_jsonl

import sparsedistill
from sparsedistill import Classifier, cli
from sparsedistill.errors import SettingsError
from sparsedistill.settings import SECTIONS, Settings, build, parse_bytes, parse_value, read_toml
from sparsedistill.stages import STAGES


def run(*arguments: str, stdin: str | bytes = b"", cwd: Path | None = None) -> subprocess.CompletedProcess:
    data = stdin.encode() if isinstance(stdin, str) else stdin
    return subprocess.run(
        [sys.executable, "-m", "sparsedistill", *map(str, arguments)],
        input=data,
        capture_output=True,
        cwd=cwd or tempfile.gettempdir(),  # not here, where the sources would hide the installed package
        timeout=200,
    )


def stage(*arguments: str | Path, cwd: Path) -> SimpleNamespace:
    """The same of a stage, in a process that need not load torch for seconds."""
    child = Forked(cwd, cli.main, list(map(str, arguments)))
    return SimpleNamespace(returncode=child.wait(), stderr=child.said.encode())


@pytest.fixture(scope="module")
def made(tmp_path_factory, tweets) -> Path:
    """A run made stage by stage from the command line."""
    home = tmp_path_factory.mktemp("cli")
    rows = learnable(tweets[:900])
    write_jsonl(home / "train.jsonl", rows[:200])
    write_csv(home / "test.csv", [{"text": r["text"], "label": r["label"]} for r in rows[200:300]])
    write_jsonl(home / "corpus.jsonl", [{"text": r["text"], "scores": r["scores"]} for r in rows[300:]])
    first = ("--train", "train.jsonl", "--corpus", "corpus.jsonl", "--test", "test.csv")
    steps = (
        ("teach", *first, "--teacher", "column:scores"),
        ("label",),
        ("count", "--max-n", "3"),
        ("distill", "--hidden", "8", "--epochs", "10", "--threads", "1"),
        ("finetune", "--epochs", "1"),
        ("compress", "--max-loss", "1"),
        ("evaluate", "--repeats", "1"),
    )
    for name, *options in steps:
        done = stage(name, "--run", "run", *options, cwd=home)
        assert done.returncode == 0, done.stderr.decode()
    return home


def test_stages_alone_make_a_classifier(made):
    settings = json.loads((made / "run" / "settings.json").read_text())
    assert settings["count"]["max_n"] == 3  # remembered from its own stage
    assert settings["distill"]["hidden"] == [8]
    classifier = Classifier.load(made / "run" / "classifier")
    assert classifier.labels == LABELS
    assert (made / "run" / "report.md").read_text().count("|") > 20


def test_stage_without_what_it_needs_says_so(made, tmp_path):
    done = stage("distill", "--run", tmp_path / "new", "--train", "train.jsonl", "--modes", "scratch", cwd=made)
    assert done.returncode == 2
    assert b"sparsedistill count --run" in done.stderr
    # Counting alone needs no teacher, and remembers what it was told.
    assert stage("count", "--run", tmp_path / "new", cwd=made).returncode == 0
    assert stage("distill", "--run", tmp_path / "new", "--epochs", "1", cwd=made).returncode == 0
    # Another vocabulary makes the student stale; nothing is built on it.
    assert stage("count", "--run", tmp_path / "new", "--size", "50", cwd=made).returncode == 0
    done = stage("compress", "--run", tmp_path / "new", cwd=made)
    assert done.returncode == 2
    assert b"is stale" in done.stderr
    assert b"sparsedistill distill --run" in done.stderr


def test_run_takes_a_file_and_overrides(made, tmp_path):
    (made / "small.toml").write_text(
        '[data]\ntrain = "train.jsonl"\ncorpus = ["corpus.jsonl"]\ntest = "test.csv"\n'
        '[teach]\nteacher = "column:scores"\n[distill]\nhidden = [4]\nepochs = 2\nthreads = 1\n'
        "[finetune]\nfinetune_student = false\n[compress]\nmax_loss = 1\n[evaluate]\nrepeats = 1\n"
    )
    done = run(
        "run", "small.toml", "--run", tmp_path / "run", "--set", "distill.hidden=", "--set", "count.max_n=2", cwd=made
    )
    assert done.returncode == 0, done.stderr.decode()
    classifier = Classifier.load(tmp_path / "run" / "classifier")
    assert classifier.config["layers"] == 0
    assert classifier.config["rows"] == {
        "count": classifier.config["rows"]["count"],
        "width": 3,
        "type": "int16",
        "in_slots": True,
    }
    assert classifier.config["text"]["max_n"] == 2


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("run", "absent.toml"), "absent.toml is not there"),
        (("label",), "no run directory"),
        (("predict", "absent"), "absent is not a classifier"),
        (("run", "bad.toml"), "bad.toml is not TOML"),
        (("run", "unknown.toml"), r"[distill] has no field widht"),
        (("run", "type.toml"), r"[distill] epochs is 'many', not a number"),
        (("run", "choice.toml"), "not one of sklearn, words, whitespace"),
        (("run", "choice.toml", "--set", "count.nothing=1"), "there is no setting count.nothing"),
        (("run", "bound.toml"), "[distill] dropout is 1.5: give at most 0.9"),
        (("count", "--run", "new", "--tokeniser", "words"), "usage: sparsedistill count"),
        (("count", "--run", "new", "--tokeniser", "words"), "(do you mean --tokenizer?)"),
        (("fit", "a.csv", "-o", "m", "--epochs=3"), "--teach-epochs or --distill-epochs or --finetune-epochs?"),
        (("fit", "a.csv", "-o", "m", "--max_n", "3"), "(do you mean --max-n?)"),
        (("fit", "a.csv", "-o", "m", "--corpus", "b.txt"), "a corpus, but no teacher"),
        (("run", "idle.toml"), "a corpus, but no teacher"),
        (("fit", "absent.csv", "-o", "m"), "no such file or folder: 'absent.csv'; correct the path\n"),
        (("fit", "owner/name", "-o", "m"), "or write hf:owner/name"),
        (("fit", "verdicts.csv", "-o", "m"), "it has 'text', 'verdict': name the right one with --label"),
        (
            ("fit", "verdicts.csv", "--text", "body", "-o", "m"),
            "it has 'text', 'verdict': name the right one with --text",
        ),
    ],
)
def test_mistakes_are_named(tmp_path, arguments, message):
    (tmp_path / "bad.toml").write_text("[data\n")
    (tmp_path / "unknown.toml").write_text("[distill]\nwidht = 3\n")
    (tmp_path / "type.toml").write_text('[distill]\nepochs = "many"\n')
    (tmp_path / "choice.toml").write_text('[count]\ntokenizer = "bpe"\n')
    (tmp_path / "idle.toml").write_text('[data]\ntrain = "a"\ncorpus = "b"\n[distill]\nmodes = ["scratch"]\n')
    (tmp_path / "verdicts.csv").write_text("text,verdict\nfine,good\n")
    (tmp_path / "bound.toml").write_text("[distill]\ndropout = 1.5\n")
    done = run(*arguments, cwd=tmp_path)
    assert done.returncode == 2
    assert message in done.stderr.decode()
    assert b"Traceback" not in done.stderr


def test_predict_reads_stdin_and_keeps_order(made):
    texts = ["good good good", "", "worst delay, not good", "\u00e9\u4e2d\U0001f600", "  "]
    done = run("predict", made / "run" / "classifier", stdin="\n".join(texts) + "\n")
    assert done.returncode == 0, done.stderr.decode()
    lines = [line.split("\t") for line in done.stdout.decode().splitlines()]
    classifier = Classifier.load(made / "run" / "classifier")
    assert [line[0] for line in lines] == classifier.predict(texts)
    chances = classifier.predict_proba(texts).max(axis=1)
    np.testing.assert_allclose([float(line[1]) for line in lines], chances, rtol=1e-5)
    assert lines[1][0] == classifier.predict("")
    assert done.stderr.decode() == (
        "3 of 5 texts had no known n-gram (the first: stdin:2): they got the result of an empty text\n"
    )
    assert run("predict", made / "run" / "classifier", stdin="good\n").stderr == b""


def test_predict_keeps_gold_labels_beside_its_own(made, tmp_path):
    options = ("--proba", "--top-k", "2", "--prefix", "my ", "--threads", "1", "--keep", "label", "-o")
    done = run("predict", made / "run" / "classifier", *options, tmp_path / "out.csv", made / "test.csv")
    assert done.returncode == 0 and done.stdout == done.stderr == b""
    with open(tmp_path / "out.csv", newline="") as out, open(made / "test.csv", newline="") as test:
        found, gold = list(csv.DictReader(out)), list(csv.DictReader(test))
    names = ["predicted", "probability", *(f"p({label})" for label in LABELS), "top_labels", "top_probabilities"]
    assert list(found[0]) == ["label", *(f"my {name}" for name in names)]
    assert [row["label"] for row in found] == [row["label"] for row in gold]
    expected = Classifier.load(made / "run" / "classifier").predict([row["text"] for row in gold])
    assert [row["my predicted"] for row in found] == expected


def test_predict_refuses_before_writing(made, tmp_path):
    broken = tmp_path / "broken.txt"
    broken.write_bytes(b"fine\nnot \xff fine\n")
    done = run("predict", made / "run" / "classifier", broken, "-o", tmp_path / "out.jsonl")
    assert done.returncode == 2
    assert b"broken.txt" in done.stderr
    assert not (tmp_path / "out.jsonl").exists()
    assert run("predict", made / "run" / "classifier", broken, "--encoding-errors", "replace").stdout.count(b"\n") == 2
    assert b"must end in" in run("predict", made / "run" / "classifier", "-o", tmp_path / "out.xlsx").stderr
    done = run("predict", made / "run" / "classifier", broken, "-o", tmp_path / "out.csv", "--format", "csv")
    assert b"--format is of stdout" in done.stderr and done.returncode == 2
    (tmp_path / "null.jsonl").write_text('{"text": null}\n')
    done = run("predict", made / "run" / "classifier", tmp_path / "null.jsonl")
    assert b"null.jsonl:1 is null; drop the row, or score it as an empty text with --nulls empty" in done.stderr
    assert run("predict", made / "run" / "classifier", tmp_path / "null.jsonl", "--nulls", "empty").returncode == 0


def test_inspect_shows_run_and_reasons(made):
    done = run("inspect", made / "run", "--text", "good good good")
    assert done.returncode == 0, done.stderr.decode()
    shown = done.stdout.decode()
    assert "-> " in shown
    *terms, total = re.findall(r"^ +([+-]\d+\.\d+)  (.+)$", shown, re.MULTILINE)
    assert (terms[0][1].split()[0], total[1]) == ("good", "in all")
    assert abs(sum(float(number) for number, _ in terms) - float(total[0])) < 0.01
    shown = run("inspect", made / "run", "--text", "qqqq").stdout.decode()
    assert "no n-gram of it is known" in shown
    shown = run("inspect", made / "run").stdout.decode()
    for part in (
        "distill.kd",
        "KD",
        "of up to 3 tokens",
        "8 x int8",
        "one of negative, neutral, positive",
        "provenance",
    ):
        assert part in shown
    stages = [line.split()[2].partition(".")[0] for line in shown.splitlines() if line[:2] == "20"]
    assert list(dict.fromkeys(stages))[-4:] == ["distill", "finetune", "compress", "evaluate"]
    assert "{" not in shown
    done = run("inspect", made / "run", "--text", "good", "--label", "meh")
    assert done.returncode == 2
    assert b"no label 'meh': negative, neutral, positive" in done.stderr


def test_version_and_help():
    assert run("--version").stdout.decode().strip() == f"sparsedistill {sparsedistill.__version__}"
    for command in ([], *([name] for name in (*STAGES, "fit", "run", "predict", "inspect"))):
        done = run(*command, "--help")
        assert done.returncode == 0
        assert b"usage: sparsedistill" in done.stdout


def test_every_setting_is_an_option_with_help():
    text = {name: run(name, "--help").stdout.decode() for name in (*STAGES, "fit")}
    for section, kind in SECTIONS.items():
        for name, field in kind.__dataclass_fields__.items():
            where = text["teach" if section == "data" else section]
            assert f"--{name.replace('_', '-')}" in where or f"--no-{name}" in where
            assert field.metadata["help"]
            assert name == "train" or f"-{name.replace('_', '-')}" in text["fit"]


def test_settings_survive_json_and_the_command_line():
    import dataclasses

    asked = build({"distill": {"hidden": [3, 4], "learning_rate": 1}, "data": {"train": "a.csv"}}, "here")
    assert asked.distill.hidden == (3, 4)
    assert asked.distill.learning_rate == 1.0
    assert asked.data.train == ("a.csv",)
    again = build(json.loads(json.dumps(dataclasses.asdict(asked))), "here")
    assert again == asked
    for text in ("3,4", "[3, 4]", "3 4"):
        assert parse_value(text, Settings().distill.hidden) == [3, 4]
    assert parse_value(["3", "4"], Settings().distill.hidden) == [3, 4]
    assert parse_value(["a,b.csv", "c"], ()) == ["a,b.csv", "c"]


@pytest.mark.parametrize(
    ("text", "default", "value"),
    [
        ('["neg","pos"]', (), ["neg", "pos"]),
        ("['very good', 'a, b']", (), ["very good", "a, b"]),
        ('"neg","pos"', (), ["neg", "pos"]),
        ("neg,pos", (), ["neg", "pos"]),
        ("[neg, pos]", (), ["neg", "pos"]),
        ("my file.csv", (), ["my file.csv"]),
        ('"a,b.csv"', (), ["a,b.csv"]),
        ("[1].csv", (), ["[1].csv"]),
        ("0,1", (), ["0", "1"]),
        ("[0, 1]", (), ["0", "1"]),
        ("2024-01-01", (), ["2024-01-01"]),
        ("a = 1\nb = 2", (), ["a = 1\nb = 2"]),
        ("", (), []),
        ("256", (64,), [256]),
        ("256 64", (64,), [256, 64]),
        ("", (64,), []),
        ('"judge:good"', "", "judge:good"),
        ("2", "text", "2"),
        ("true", "text", "true"),
        ("it's", "", "it's"),
        ("off", True, False),
        ("0.5", 1.0, 0.5),
        ("1_000", 1, 1000),
    ],
)
def test_values_of_set(text, default, value):
    assert parse_value(text, default) == value


@pytest.mark.parametrize("text", ['["neg","pos"', "['a' 'b']", '"neg,pos'])
def test_values_of_set_that_are_no_toml(text):
    with pytest.raises(SettingsError, match="is no list of TOML: write it like"):
        parse_value(text, ())


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be"])
@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
def test_toml_as_editors_save_it(tmp_path, encoding, end):
    text = '[data]\ntrain = "größe 日本.csv"\n\n[count]\nmax_n = 2\n'
    (tmp_path / "a.toml").write_bytes(text.replace("\n", end).encode(encoding))
    assert read_toml(tmp_path / "a.toml") == {"data": {"train": "größe 日本.csv"}, "count": {"max_n": 2}}
    (tmp_path / "b.toml").write_bytes(text.encode("latin-1", "replace"))
    with pytest.raises(SettingsError, match=r"b\.toml is not TOML: .*save it as UTF-8"):
        read_toml(tmp_path / "b.toml")


def test_how_texts_are_read_is_a_setting(tmp_path):
    (tmp_path / "my file.dat").write_text("".join(f"{i % 2};1;good, fine {i}\n" for i in range(20)))
    options = ("--input-format", "csv", "--delimiter", ";", "--no-header", "--text", "3", "--task", "multi")
    names = ("--label", "1", "2", "--labels", "very good", "a, b")
    done = stage(
        "count", "--run", "run", "--train", "my file.dat", "--modes", "scratch", *options, *names, cwd=tmp_path
    )
    assert done.returncode == 0, done.stderr.decode()
    data = json.loads((tmp_path / "run" / "settings.json").read_text())["data"]
    assert data["labels"] == ["very good", "a, b"] and data["label"] == ["1", "2"] and data["train"] == ["my file.dat"]
    assert json.loads((tmp_path / "run" / "texts" / "data.json").read_text())["labels"] == ["very good", "a, b"]


def test_sizes_of_memory():
    for text, size in (("0", 0), ("12", 12), ("500MB", 500_000_000), (" 1.5 gb", 1_500_000_000), ("2T", 2 * 10**12)):
        assert parse_bytes(text) == size
    for text in ("", "GB", "1GiB", "-1MB", "1 2"):
        with pytest.raises(SettingsError, match="is not a size of memory"):
            parse_bytes(text)
