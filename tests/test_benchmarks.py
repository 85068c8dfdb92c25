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
import answers
import attributes
import baselines
import cascade
import documents
import labelled
import legal
import perturb
import pyarrow as pa
import pyarrow.parquet as pq
import quality
import words

from sparsedistill import Classifier
from sparsedistill.calibrate import expected_calibration_error

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


# ---- scores of pages -------------------------------------------------------------------------------------------------


@pytest.fixture
def pages(data) -> legal.Pages:
    texts = [f"page {i}" for i in range(100)]
    write(data / "fineweb_legal" / "scored.parquet", {"text": texts, "score": [i % 6 + i % 2 / 4 for i in range(100)]})
    return legal.Pages(data)


def test_folds_are_apart_and_without_test_pages(pages):
    test, learnt = (set(texts) for texts, _ in (pages.test, pages.learnt))
    assert len(test) == 20 and len(learnt) == 80 and not test & learnt
    folds = [*pages.folds()]
    assert sorted(text for _, (texts, _) in folds for text in texts) == sorted(learnt)
    for (texts, scores), (held_out, gold) in folds:
        assert len(held_out) == 16 and not set(texts) & set(held_out) and set(texts) | set(held_out) == learnt
        for text, score in zip([*texts, *held_out], [*scores, *gold], strict=True):
            i = int(text.split()[1])
            assert score == i % 6 + i % 2 / 4


@given(st.lists(st.tuples(st.integers(0, 5), st.integers(0, 8)), min_size=1, max_size=30))
def test_no_cut_has_more_f1(rows):
    gold, predicted = (np.array(column, float) for column in zip(*rows))
    if not (gold >= legal.LEAST).any():
        return

    def f1(cut):
        hits = ((predicted >= cut) & (gold >= legal.LEAST)).sum()
        return 2 * hits / ((predicted >= cut).sum() + (gold >= legal.LEAST).sum())

    cut = legal.best_cut(predicted, gold)
    assert f1(cut) == max(map(f1, predicted))
    assert legal.figures(predicted, gold, cut)["f1"] == pytest.approx(f1(cut))


def test_folds_choose_settings_and_cut_and_test_pages_only_count(pages, monkeypatch):
    learnt, asked = set(pages.learnt[0]), []

    def fit(texts, scores, settings, seed):
        assert set(texts) <= learnt
        asked.append((len(texts), settings["noise"], seed))
        noise = np.random.default_rng(seed).standard_normal
        return lambda some: np.array([int(text.split()[1]) % 6 for text in some]) + settings["noise"] * noise(len(some))

    grid = [{"noise": 1.0}, {"noise": 0.1}, {"noise": 3.0}]
    monkeypatch.setattr(legal, "SYSTEMS", {"any": (fit, grid)})
    for _ in range(2):
        found = legal.best_on_test(pages, "any", (0, 1), pages._path.parent)
    assert asked == [(64, one["noise"], 0) for one in grid for _ in range(5)] + [(80, 0.1, 0), (80, 0.1, 1)]
    assert found["settings"] == {"noise": 0.1} and 2 < found["cut"] <= 3
    assert len(found["test"]) == 2 and all(one["rho"] > 0.95 and one["f1"] > 0.9 for one in found["test"])


def test_baselines_of_scores_learn_them(tmp_path):
    pytest.importorskip("sklearn")
    texts = [" ".join(["law"] * (i % 6) + ["cat"] * (5 - i % 6) + ["and"] * 5) for i in range(120)]
    scores = np.arange(120) % 6.0
    settings = {"alpha": 0.1, "sublinear": False, "min_df": 1}
    predicted = legal.ridge(texts[:60], scores[:60], settings, 0)(texts[60:])
    assert predicted == pytest.approx(scores[60:], abs=0.5)


# ---- calibration and parts of documents ------------------------------------------------------------------------------


def test_the_calibration_error_by_chance_is_that_of_labels_drawn_from_the_probabilities():
    random = np.random.default_rng(1)
    high = random.uniform(0.5, 1, 2000)
    probabilities = np.stack([high, 1 - high], axis=1)
    expected = answers.by_chance(probabilities, 50)
    seen = [
        expected_calibration_error(probabilities, (random.random(2000) > high).astype(int)) for _ in range(50)
    ]  # fmt: skip
    assert expected == pytest.approx(np.mean(seen), rel=0.1)
    assert answers.by_chance(probabilities[:500], 50) > 1.5 * expected
    assert answers.by_chance(np.eye(2)) == 0


@pytest.mark.parametrize("one", [False, True])
def test_documents_are_positive_by_their_texts(one):
    texts = [f"{'yes' if i % 3 else 'no'} {i}" for i in range(60)]
    has = np.array([text.startswith("yes") for text in texts])
    kind = documents.Kind("any", "any", "yes", 7, one)
    made, truth = documents.documents(kind, texts, has, 200, 0)
    hits = [sum(part.startswith("yes") for part in text.split("\n\n")) for text in made]
    assert all(len(set(text.split("\n\n"))) == 7 for text in made)
    assert truth.mean() == 0.5 and truth.tolist() == [n > (0 if one else 3) for n in hits]
    assert set(hits) == ({0, 1} if one else set(range(8)))


def test_rules_read_4096_bytes_from_where_they_say():
    text = "".join(chr(0x4E00 + i) for i in range(5000))
    assert documents.whole(text) == text
    for name, parts in (("head", 1), ("head+tail", 2), ("spread", 8)):
        read = documents.RULES[name](text).split("\n\n")
        assert len(read) == parts and 4096 - 4 * parts <= len("".join(read).encode()) <= 4096
        assert text.startswith(read[0]) and (text.endswith(read[-1]) or parts == 1) and all(r in text for r in read)
        assert documents.RULES[name]("short") == "short"


@given(st.lists(st.tuples(st.integers(0, 6), st.booleans()), min_size=1, max_size=30))
def test_no_cut_is_more_often_right(rows):
    scores, truth = np.array([score for score, _ in rows], float), np.array([is_so for _, is_so in rows])
    cut, right = documents.best_cut(scores, truth)
    assert ((scores >= cut) == truth).mean() == pytest.approx(right)
    assert right == pytest.approx(max(((scores >= one) == truth).mean() for one in [*scores, np.inf]))


# ---- attributes ------------------------------------------------------------------------------------------------------


def test_the_parts_of_a_corpus_of_attributes_are_apart(tmp_path, monkeypatch):
    monkeypatch.setattr(attributes, "MOST", dict.fromkeys(attributes.MOST, 30))
    monkeypatch.setattr(attributes, "STYLE_TEST", 10)
    monkeypatch.setattr(attributes, "FILMS_TEST", 20)
    for part in PARTS:
        texts = [f"{part} {i}" for i in range(50)] + ["the Same!"]
        films, things = ([f"{what} {text}" for text in texts] for what in ("film", "thing"))
        names = ["neg", "pos", "neg"] * 17
        write(tmp_path / "agnews" / f"{part}.parquet", {"text": texts, "label_name": names})
        write(tmp_path / "imdb" / f"{part}.parquet", {"text": films, "label_name": names, "rating": [7] * 51})
        reviews = {"text": things, "label_name": ["positive"] * 51, "domain": ["dvd"] * 51}
        write(tmp_path / "fdu_mtl_reviews" / f"{part}.parquet", reviews)
    news = {"text": [f"n{i}" for i in range(90)], "source": ["lead", "body"] * 45}
    write(tmp_path / "news" / "unlabeled.parquet", news)
    corpus = attributes.Corpus(tmp_path, tmp_path / "corpus")
    tables = {part: pq.read_table(path).to_pylist() for part, path in corpus.parts.items()}
    texts = {part: {row["text"] for row in rows} for part, rows in tables.items()}
    assert not texts["train"] & texts["dev"] and not (texts["train"] | texts["dev"]) & texts["test"]
    assert len(tables["test"]) == 2 * 51 + 20 + 10 and len(tables["dev"]) <= 12 and 100 < len(tables["train"]) <= 108
    for row in (row for rows in tables.values() for row in rows):
        there = {name for name in attributes.ATTRIBUTES if row[name] is not None}
        first = row["text"].split()[0]
        assert there == {"film": {"sentiment", "domain", "rating"}, "thing": {"sentiment", "domain"}}.get(
            first, {"style"} if first.startswith("n") else {"topic"}
        )
    rating = attributes.Attribute(corpus, "rating")
    assert rating.labels == ("7",) and rating.values.tolist() == [7.0]
    assert rating.read("test")[0] == [row["text"] for row in tables["test"] if row["rating"]]
    sentiment = attributes.Attribute(corpus, "sentiment")
    assert attributes.points(sentiment, ["negative", "positive"], np.array([0, 0])) == 50.0
    rating.labels = ("1", "10", "9")
    assert attributes.points(rating, [0.2, 0.9, 0.7], np.array([0, 1, 2])) == pytest.approx(100)


def test_fasttexts_probabilities_of_all_labels():
    def predict(text, k, threshold, errors):
        assert text.endswith("\n") and (k, threshold) == (3, 0.0)
        return [(0.9, "__label__2"), (0.09, "__label__0"), (0.02, "__label__1")]

    model = SimpleNamespace(f=SimpleNamespace(predict=predict))
    found = baselines.fasttext_probabilities(model, ["one", "two"], 3)
    assert found == pytest.approx(np.array([[0.09, 0.02, 0.9]] * 2) / 1.01)


def test_fasttext_chooses_of_the_settings_given(tmp_path, monkeypatch):
    monkeypatch.setattr(baselines.FastText, "_score", lambda self, settings, *_: -abs(settings["lr"] - 1.0))
    task = SimpleNamespace(name="any", key="any", split=(([], []), ([], [])))
    assert baselines.FastText(task, tmp_path, None, 1, grid=answers.FASTTEXT).choose() == answers.FASTTEXT[1]


@pytest.fixture
def several(data, monkeypatch) -> answers.Bench:
    monkeypatch.setattr(sys, "argv", ["answers.py", "--data", str(data), "--out", str(data / "out")])
    return answers.Bench(answers.arguments())


def test_the_worst_head_counts(several, monkeypatch):
    alone = {"sentiment": 90.0, "domain": 80.0, "rating": 70.0, "topic": 60.0, "style": 50.0}
    lost = {"domain": 0.75, "topic": -1.0}

    def points(self, of, name, seed):
        return alone[name] + seed - (lost.get(name, 0.0) if of == "all" else 0.0)

    attribute = SimpleNamespace(read=lambda part: (["text"], np.zeros(1, int)))
    model = SimpleNamespace(prepare=lambda texts: texts, probabilities=lambda texts: np.eye(1))
    monkeypatch.setattr(attributes.Students, "points", points)
    monkeypatch.setattr(attributes, "Attribute", lambda corpus, name: attribute)
    monkeypatch.setattr(attributes, "points_of", lambda *_: 33.0)
    monkeypatch.setattr(several, "fasttext", lambda name: model)
    several.heads()
    assert several.measures == {"head_loss": pytest.approx(0.75)}
    assert several.figures["heads"]["topic"]["five"] == [61.0, 62.0, 63.0]
    assert several.figures["heads"]["topic"]["lost"] == pytest.approx(-1)


def test_a_head_alone_predicts_what_it_does_among_others(parts, tmp_path):
    config, tensors = parts("single", "int8", 2, heads={"a": ("single", 2), "b": ("regression", 1), "c": ("multi", 3)})
    Classifier(config, tensors).save(tmp_path / "several")
    classifier = Classifier.load(tmp_path / "several")
    texts = ["a b c", "", "b b a d"]
    for name, found in classifier.predict(texts).items():
        one = attributes.alone(classifier, name)
        assert one.predict(texts) == found
        assert (one.decision_function(texts) == classifier.decision_function(texts, head=name)).all()


def test_the_worst_calibration_counts(several, monkeypatch):
    after = {"imdb": 0.01, "nsmc": 0.02, "agnews": 0.03, "fdu": 0.01}

    def errors(name, seed):
        return {"before": 0.05, "after": after[name] + seed / 1000, "chance": 0.005, "accuracy": 0.9}

    monkeypatch.setattr(several, "_errors", errors)
    monkeypatch.setattr(several, "task", lambda name: SimpleNamespace(read=lambda part: ([name] * 9, None)))
    several.ece()
    assert several.measures == {"ece_worst": pytest.approx(0.031)}
    assert several.tables[0][3][:4] == ["AG News", "9", "0.9000", "0.0500 ±0.0000"]


def test_the_least_margin_of_documents_counts(several, monkeypatch):
    asked = []

    def measured(kind, task, classifier, threads):
        asked.append(kind.task)
        found = {name: {"dev": 0.5, "test": 0.5} for name in documents.RULES}
        parts = {"imdb": 0.75, "wikitoxic": 0.55, "agnews": 0.9}[kind.task]
        return found | {"parts": {"test": parts, "how": "max"}, "documents": documents.DOCUMENTS}

    monkeypatch.setattr(documents, "measured", measured)
    monkeypatch.setattr(answers.Students, "path", lambda *_: None)
    monkeypatch.setattr(answers.Classifier, "load", lambda path: None)
    for _ in range(2):
        several.documents()
    assert several.measures == {"parts_vs_head4k": pytest.approx(5.0)}
    assert asked == ["imdb", "wikitoxic", "agnews"]


def test_cascades_share_is_the_worst_of_the_tasks():
    found = {"trec6": {"share": 0.1}, "tweets": {"share": 0.3}, "sst2": {"share": 0.2}, "imdb": {"share": 0.9}}
    assert cascade.worst_share(found) == 0.3
    assert cascade.worst_share({"trec6": {"share": 0.1}}) is None


def test_thresholds_hold_more_often_with_standard_errors_to_spare():
    rng = np.random.default_rng(0)
    confidence = rng.uniform(0.3, 1, 20_000)
    outcomes = cascade.Outcomes(confidence, rng.random(20_000) < confidence, rng.random(20_000) < 0.95)
    none, one = (cascade.rule(outcomes, errors, 500, times=40) for errors in (0.0, 1.0))
    assert none["share"] < one["share"] and none["holds"] < one["holds"]


def test_texts_of_none_and_what_baselines_know(tmp_path):
    (tmp_path / "clinc150").mkdir()
    rows = [("play a song", "music"), ("play it", "music"), ("wake me up", "alarm"), ("who is he", "oos")]
    for part in ("train", "dev", "test"):
        table = {"text": [text for text, _ in rows], "label_name": [label for _, label in rows]}
        pq.write_table(pa.table(table), tmp_path / "clinc150" / f"{part}.parquet")
    task = cascade.Intents(tmp_path)
    assert task.labels == ("alarm", "music") and task.train[1].tolist() == [1, 1, 0]
    probabilities = np.array([[0.1, 0.9], [0.3, 0.7], [0.8, 0.2], [0.4, 0.6]])
    known = cascade._Bigrams(task.train[0]).shares(["play a tune", "who", ""])
    assert known.tolist() == [0.6, 0, 0]
    plain, product = (cascade.scored(task, "test", probabilities, k) for k in (None, np.array([1, 1, 1, 0.0])))
    assert plain.none.tolist() == [False, False, False, True]
    assert plain.outcomes.right.tolist() == [True, True, True, False] and product.outcomes.confidence[3] == 0
    found = cascade.none_figures(product, product)
    assert found["with"] == {"right": 1, "rejected": 1, "auc": 1}
    assert found["without"]["right"] == 1 and found["without"]["auc"] == 1


@pytest.mark.parametrize("kind", ["random", "confusion"])
def test_labels_are_flipped_to_others(kind):
    rng = np.random.default_rng(0)
    gold, shares = rng.integers(0, 3, 2000), rng.dirichlet([1, 1, 1], 2000)
    shares[:, 2] = np.where(gold == 0, 0.0, shares[:, 2])
    shares /= shares.sum(axis=1, keepdims=True)
    labels, wrong = quality.flipped(gold, shares, kind, 0.1, 1)
    assert wrong.sum() == 200 and (labels[~wrong] == gold[~wrong]).all() and (labels[wrong] != gold[wrong]).all()
    doubt = 1 - shares[np.arange(2000), gold]
    to_two = (labels[wrong & (gold == 0)] == 2).mean()
    if kind == "confusion":  # what is never confused is never flipped to, and texts in doubt are flipped more often
        assert to_two == 0 and doubt[wrong].mean() > doubt.mean() + 0.05
    else:
        assert 0.3 < to_two < 0.7 and abs(doubt[wrong].mean() - doubt.mean()) < 0.05


def test_precision_of_what_is_found():
    wrong = np.array([True, False, True, False])
    found = quality.figures(wrong, np.array([4.0, 3.0, 2.0, 1.0]))
    assert found == {"precision": 0.5, "average": pytest.approx((1 + 2 / 3) / 2)}
