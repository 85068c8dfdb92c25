"""What the benchmarks make of texts, and how their figures are put together."""

from __future__ import annotations

import string
import sys
import unicodedata
from collections import Counter
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from conftest import ROOT
from hypothesis import given
from hypothesis import strategies as st

pytest.importorskip("pyarrow")
pytest.importorskip("torch")

sys.path.append(str(ROOT / "benchmarks"))
import baselines
import labelled
import perturb
import pyarrow as pa
import pyarrow.parquet as pq
import words

TOKENS = st.one_of(
    st.text(st.sampled_from("aeiostlnrdkgmXYZéß"), min_size=1, max_size=9),
    st.sampled_from(["", " ", "12", "...", "it's", "\n", "ok", "aaa"]),
)
TEXTS = st.lists(TOKENS, max_size=20).map("|".join)  # no change makes a bar: what became of which token is plain


def edits(one: str, other: str) -> int:
    """Damerau's distance: letters deleted, inserted, substituted, neighbours swapped."""
    rows = [[*range(len(other) + 1)]]
    for i, a in enumerate(one, 1):
        rows.append([i])
        for j, b in enumerate(other, 1):
            ways = [rows[i - 1][j] + 1, rows[i][j - 1] + 1, rows[i - 1][j - 1] + (a != b)]
            if i > 1 and j > 1 and (a, one[i - 2]) == (other[j - 2], b):
                ways.append(rows[i - 2][j - 2] + 1)
            rows[i].append(min(ways))
    return rows[-1][-1]


def changed(before: str, after: str) -> list[tuple[str, str]]:
    """The third, sixth ... words of three letters or more, and what became of them; nothing else may have changed."""
    pairs = [*zip(before.split("|"), after.split("|"), strict=True)]
    words = [i for i, (token, _) in enumerate(pairs) if len(token) > 2 and token.isalpha()]
    thirds = words[2::3]
    assert all(one == other for i, (one, other) in enumerate(pairs) if i not in thirds)
    return [pairs[i] for i in thirds]


@given(TEXTS, st.integers(0, 5))
def test_a_typo_is_one_edit_in_each_third_word(text, seed):
    (found,) = perturb.typos([text], seed)
    for word, mistyped in changed(text, found):
        assert edits(word, mistyped) == 1
        new = Counter(mistyped) - Counter(word)
        assert all(letter in string.ascii_lowercase for letter in new)
    assert perturb.typos(["", text], seed)[1] == found


def test_typos_are_of_four_kinds():
    found = Counter()
    for seed in range(1000):
        (text,) = perturb.typos(["yes yes planet"], seed)
        word = text.split()[2]
        found["swap" if sorted(word) == sorted("planet") else len(word)] += 1
    assert set(found) == {"swap", 5, 6, 7}
    assert min(found.values()) > 200


@given(TEXTS, st.integers(0, 5))
def test_each_third_word_is_disguised(text, seed):
    (found,) = perturb.obfuscated([text], seed)
    for word, disguised in changed(text, found):
        if len(disguised) > len(word):
            assert disguised in (" ".join(word), ".".join(word))
            continue
        new = [(one, other) for one, other in zip(word, disguised, strict=True) if one != other]
        assert new
        if any(other.isdecimal() for _, other in new):
            assert all(one.lower() + other in ("o0", "i1", "l1", "e3", "a4", "s5", "t7") for one, other in new)
        else:
            assert len(new) <= 2
            assert all(script(other) in ("CYRILLIC", "GREEK", "FULLWIDTH") for _, other in new)
            assert all(one.isupper() == other.isupper() for one, other in new)
    assert perturb.obfuscated(["", text], seed)[1] == found


def script(letter: str) -> str:
    return unicodedata.name(letter).split()[0]


def test_disguises_are_drawn_evenly():
    found, scripts = Counter(), Counter()
    for seed in range(900):
        text = perturb.obfuscated(["so silly, silly actors|"], seed)[0]
        word = text[len("so silly, silly ") : -1]
        found["apart" if len(word) > 6 else "digits" if any(map(str.isdecimal, word)) else "alike"] += 1
        scripts.update(set(map(script, filter(str.isalpha, word))))
    assert set(found) == {"apart", "digits", "alike"}
    assert min(found.values()) > 240
    assert min(scripts[name] for name in ("CYRILLIC", "GREEK", "FULLWIDTH")) > 60


# ---- labels alone ----------------------------------------------------------------------------------------------------


@pytest.fixture
def data(tmp_path) -> Path:
    """A folder of data sets with a few questions, one of them in train and in test, and a few pairs."""
    questions = {part: [f"{word} is {part} {i}" for i in range(40) for word in ("who", "where")] for part in PARTS}
    questions["train"].append(questions["test"][0])
    for part, texts in questions.items():
        labels = ["HUM" if text.startswith("who") else "LOC" for text in texts]
        columns = {"text": texts, "label_name": labels, "label_fine_name": labels}
        write(tmp_path / "trec" / f"{part}.parquet", columns)
        second = [text.replace("is", "was") for text in texts]
        write(tmp_path / "mrpc" / f"{part}.parquet", {"text_a": texts, "text_b": second, "label_name": labels})
    return tmp_path


PARTS = ("train", "test")


def write(path: Path, columns: dict[str, list[str]]) -> None:
    path.parent.mkdir(exist_ok=True)
    pq.write_table(pa.table(columns), path)


def test_a_task_has_its_parts_apart(data):
    task = labelled.Task("trec6", data, data / "out")
    texts = {part: task.read(part)[0] for part in task.PARTS}
    assert [len(some) for some in texts.values()] == [72, 8, 80]
    assert not set(texts["train"]) & set(texts["dev"]) and not set(texts["train"]) & set(texts["test"])
    for part in task.PARTS:
        gold = task.read(part)[1]
        assert [task.labels[i] for i in gold] == ["HUM" if t.startswith("who") else "LOC" for t in texts[part]]
    assert task.train[0] == task.split[0][0] == texts["train"]
    assert task.split[1][0] == texts["dev"]
    assert task.key == labelled.Task("trec6", data / "nowhere", data / "out").key  # made once
    pair = labelled.Task("mrpc", data, data / "out").read("test")[0][0]
    assert pair.split("\x1f") == [texts["test"][0], texts["test"][0].replace("is", "was")]


def test_students_are_made_once(data, capsys):
    students, task = words.Students(data / "students", 1), labelled.Task("trec6", data, data / "out")
    settings = {"hidden": [4], "max_n": 1}
    for _ in range(2):
        assert students.right(task, settings, 0, *task.read("test")) == 1.0
        assert students.right(task, settings, 0, ["who", "who"], np.array([0, 1])) == 0.5
    assert capsys.readouterr().err.count("evaluate: done") == 1
    assert [path.name for path in students.path(task, settings, 0).parent.iterdir()] == ["hidden=[4]-max_n=1-0"]


@pytest.fixture
def bench(data, monkeypatch) -> words.Bench:
    monkeypatch.setattr(words.Bench, "baseline", lambda self, name: {"tfidf": 80.0, "fasttext": 81.0})
    monkeypatch.setattr(sys, "argv", ["words.py", "--data", str(data), "--out", str(data / "out")])
    return words.Bench(words.arguments())


def test_dev_chooses_and_test_counts(bench, monkeypatch):
    on_dev, on_test = {"": 0.7, "unknown": 0.9, "all": 0.8}, {"": 0.95, "unknown": 0.83, "all": 0.99}

    def right(self, task, settings, seed, texts, gold):
        return (on_dev if texts == "dev" else on_test)[settings.get("characters", "")] + seed / 100

    monkeypatch.setattr(words.Students, "right", right)
    monkeypatch.setattr(bench, "_texts", lambda name, part, change, seed: (part, None))
    bench.asian()
    assert bench.measures == pytest.approx({"chnsenticorp_margin": 3.0, "nsmc_margin": 3.0})
    bench.gold()
    assert bench.measures["gold_margin"] == pytest.approx(15.0)
    assert bench.figures["gold"]["trec6"]["test"] == pytest.approx([95, 96, 97])


def test_what_is_won_back_is_a_share_of_what_all_tasks_lose(bench, monkeypatch):
    robust = {"sst2": (0.9, 0.8), "imdb": (0.94, 0.95)}
    plain = {"sst2": (0.9, 0.7), "imdb": (0.95, 0.9)}

    def right(self, task, settings, seed, texts, gold):
        return (robust if settings == words.UNKNOWN else plain)[task.name][texts == "changed"]

    monkeypatch.setattr(words.Students, "right", right)
    monkeypatch.setattr(
        bench, "_texts", lambda name, part, change, seed: ("changed" if change is perturb.typos else "", None)
    )
    monkeypatch.setattr(words, "MISTYPED", tuple(plain))
    bench.typos()
    assert bench.measures == pytest.approx({"typo_won_back": 0.15 / 0.25, "typo_clean_loss": 0.5})


def test_a_part_that_fails_leaves_the_others_their_figures(bench, monkeypatch):
    monkeypatch.setattr(words.Students, "right", lambda self, task, settings, *_: 1 / (task.name != "mrpc"))
    monkeypatch.setattr(words.Students, "path", lambda *_, **__: 1 / 0)
    monkeypatch.setattr(bench, "_texts", lambda *_: ([], None))
    bench.args.only = ["gold", "asian", "speed"]
    bench.hold()
    assert bench.measures == pytest.approx({
        "gold_margin": None, "chnsenticorp_margin": 19.0, "nsmc_margin": 19.0, "characters_speed": None,
        "defaults_speed": None,
    })  # fmt: skip
    assert bench.figures["gold"]["imdb"]["margin"] == pytest.approx(19.0)
    assert sum("ZeroDivisionError" in line for line in bench.lines) == 2


# ---- baselines of characters -----------------------------------------------------------------------------------------


def test_fasttexts_grid_tells_lengths_of_subwords_by_short_training(tmp_path, monkeypatch):
    asked = []

    def score(self, settings, *_):
        asked.append(settings)
        return -abs(settings["maxn"] - 5) - abs(settings["epoch"] - 25) / 100 - settings["dim"] / 1000

    monkeypatch.setattr(baselines.FastText, "_score", score)
    task = SimpleNamespace(name="any", key="any", split=(([], []), ([], [])))
    chosen = baselines.FastText(task, tmp_path, None, 1, subwords=words.SUBWORDS).choose()
    assert (chosen["minn"], chosen["maxn"], chosen["epoch"], chosen["dim"]) == (2, 5, 25, 16)
    assert {(s["minn"], s["maxn"]) for s in asked} == set(words.SUBWORDS)
    assert {(s["minn"], s["maxn"]) for s in asked if s["epoch"] > 5} == {(2, 5)}
    assert {s["dim"] for s in asked} == {16, 100}
    asked.clear()
    baselines.FastText(task, tmp_path / "narrow", None, 1, subwords=words.SUBWORDS, narrow=True).choose()
    assert {s["dim"] for s in asked} == {16} and any(s.get("spaced") for s in asked)


def test_dev_chooses_the_lengths_of_character_ngrams(tmp_path):
    pytest.importorskip("sklearn")
    random = np.random.default_rng(0)
    # Classes differ in a character alone, or in four in a row.
    letter = [("xyz"[random.integers(3)] + "ab"[i % 2]) * 3 for i in range(80)]
    order = ["".join(random.permutation([*"ppqqrr"])) + ("abcd", "cdab")[i % 2] for i in range(80)]
    gold = np.arange(80) % 2
    for key, texts, lengths in (("letter", letter, (1, 1)), ("order", order, (3, 4))):
        task = SimpleNamespace(
            name=key, key=key, train=(texts[:40], gold[:40]), split=((texts[:40], gold[:40]), (texts[40:], gold[40:]))
        )
        made = baselines.TfIdf(task, tmp_path, "LogisticRegression", 1, [(1, 1), (3, 4)])
        assert made.load().endswith("-characters{}-{}".format(*lengths))
        assert made.load().startswith("C=")  # kept
        assert (made.label(texts[40:]) == gold[40:]).all()
