"""Character n-grams of words, from counting to the classifier: vocabularies, training, explanations, settings."""

from __future__ import annotations

import dataclasses
import random
import signal
from pathlib import Path

import numpy as np
import pytest
import reference as ref

from sparsedistill import Classifier, FormatError, SettingsError, cli, distill
from sparsedistill.format import read_json, write_json
from sparsedistill.settings import Settings
from sparsedistill.student.dataset import Featuriser, TextsInMemory
from sparsedistill.student.model import Student
from sparsedistill.student.schedule import Schedule
from sparsedistill.student.train import train
from sparsedistill.student.vocabulary import Vocabulary
from sparsedistill.tasks import TASKS

GOOD, BAD = ("wonderful", "excellent", "delightful", "charming"), ("terrible", "dreadful", "boring", "horrible")


def reviews(n: int, seed: int = 0) -> tuple[list[str], list[str]]:
    """Texts of ten words, of which three say their label."""
    generator = random.Random(seed)
    texts, labels = [], []
    for i in range(n):
        telling = generator.choices((BAD, GOOD)[i % 2], k=3)
        words = [*telling, *generator.choices(("the", "film", "plot", "of", "actor", "scene", "music"), k=7)]
        generator.shuffle(words)
        texts.append(" ".join(words))
        labels.append(("bad", "good")[i % 2])
    return texts, labels


def mistyped(text: str, seed: int) -> str:
    """Every long word with one letter left out."""
    generator = random.Random(seed)
    words = []
    for word in text.split():
        at = generator.randrange(1, len(word))
        words.append(word[:at] + word[at + 1 :] if len(word) > 5 else word)
    return " ".join(words)


@pytest.fixture(scope="module")
def trained(tmp_path_factory) -> tuple[Classifier, Path]:
    """A classifier with characters of unknown words, and its run directory."""
    directory = tmp_path_factory.mktemp("characters") / "run"
    classifier = distill(
        train=reviews(400), characters="unknown", hidden=[8], directory=directory, repeats=1, speed_texts=50,
        compress={"max_loss": 0.5}, distill={"epochs": 30, "unknown_words": 0.3},
    )  # fmt: skip
    return classifier, directory


# Vocabularies


@pytest.mark.parametrize("of", ["unknown", "all"])
def test_a_vocabulary_with_characters(of, tmp_path):
    texts, train_texts = reviews(60)[0], reviews(20, 1)[0]
    plain = Vocabulary.count([texts], [train_texts], size=300, max_n=2, train_weight=3)
    rules = {"characters": of, "characters_min": 2, "characters_max": 4}
    both = Vocabulary.count(
        [texts], [train_texts], size=300, max_n=2, train_weight=3, characters_size=150, memory="1KB",
        directory=tmp_path, **rules,
    )  # fmt: skip
    assert (both.words, len(both)) == (len(plain), len(plain) + 150)
    assert [both[i] for i in range(both.words)] == [plain[i] for i in range(len(plain))]
    expected = ref.count([*texts, *train_texts * 3], max_n=2, size=150, of_characters=True, **rules)
    assert [both[i] for i in range(both.words, len(both))] == [ngram for ngram, _ in expected]
    alone = dict(ref.count(train_texts, of_characters=True, **rules))
    weighted = dict(expected)
    for row in range(both.words, len(both)):
        assert both.train_counts[row] == alone.get(both[row], 0)
        assert both.counts[row] == weighted[both[row]] - 2 * both.train_counts[row]
    both.save(tmp_path / "v")
    again = Vocabulary.load(tmp_path / "v")
    assert (again.rules, again.words, again.seed) == (both.rules, both.words, both.seed)
    unseen = ["wonderfully boringly filmed", "xyz"]
    for a, b in zip(again.bags(unseen), both.bags(unseen), strict=True):
        assert np.array_equal(a, b)
    assert len(both.bags(unseen)[0]) > len(plain.bags(unseen)[0]) == 0


def test_without_characters_nothing_is_written_of_them(tmp_path):
    Vocabulary.count([["a b"]]).save(tmp_path / "v")
    config = read_json(tmp_path / "v" / "vocabulary.json")
    assert not [name for name in config if name.startswith("characters") or name == "words"]
    for name in ("tokenizer", "max_n"):
        write_json(tmp_path / "v" / "vocabulary.json", {key: value for key, value in config.items() if key != name})
        with pytest.raises(FormatError, match=f"damaged: '{name}'"):
            Vocabulary.load(tmp_path / "v")


def test_a_hashed_vocabulary_has_a_row_for_all_characters():
    vocabulary = Vocabulary.hash(1000, characters="all", max_n=2)
    texts = ["a cat's fur", "", "漢字 whiskers"]
    ids, offsets = vocabulary.bags(texts)
    for text, begin, end in zip(texts, offsets[:-1], offsets[1:], strict=True):
        tokens = ref.tokenize(text)
        found = ref.ngrams(tokens, 2)
        found += [ngram for n in range(3, 7) for token in tokens for ngram in ref.character_ngrams(token, n, n)]
        assert ids[int(begin) : int(end)].tolist() == [(ref.ngram_hash(ngram) >> 32) * 1000 >> 32 for ngram in found]


# Training


def test_words_never_seen_are_told_by_their_characters(trained):
    classifier, directory = trained
    texts, labels = reviews(200, 9)
    typed = [mistyped(text, i) for i, text in enumerate(texts)]
    assert classifier.config["format_version"] == 5
    assert classifier.config["text"]["characters"] == "unknown"
    assert np.mean(np.array(classifier.predict(texts)) == labels) > 0.95
    assert np.mean(np.array(classifier.predict(typed)) == labels) > 0.9
    config, tensors = classifier.config, classifier._tensors
    config["text"]["characters"] = "none"
    assert np.mean(np.array(Classifier(config, tensors).predict(typed)) == labels) < 0.8
    # What is loaded scores as the student does.
    vocabulary = Vocabulary.load(directory / "vocabulary" / "train")
    student = Student(len(vocabulary), 2, (8,), 0, 0.1, 0).load(
        directory / "students" / "scratch" / "student.safetensors"
    )
    exact = student.logits(*vocabulary.bags(typed), 1)
    assert np.mean(exact.argmax(axis=1) == classifier.decision_function(typed).argmax(axis=1)) > 0.98


def test_rows_of_characters_learn_only_where_words_are_forgotten(tmp_path):
    texts, labels = reviews(200)
    vocabulary = Vocabulary.count([texts], characters="unknown")
    targets = np.eye(2, dtype=np.float32)[[int(label == "good") for label in labels]]
    changed = []
    for forget in (0.0, 0.2):
        student = Student(len(vocabulary), 2, (4,), 0, 0.0, 1)
        before = student.table.copy()
        featurise = Featuriser(vocabulary, 1, forget, 3)
        train_student(student, TextsInMemory(texts, targets, None, featurise), tmp_path / str(forget), 20)
        changed.append((student.table != before).any(axis=1))
    assert changed[0][: vocabulary.words].any()
    assert not changed[0][vocabulary.words :].any()
    assert changed[1][vocabulary.words :].mean() > 0.9


def plan(steps: int) -> Schedule:
    return Schedule(
        steps=steps, batch_size=32, learning_rate=0.02, warmup=0.1, ngram_dropout=0.1, evaluate_every=5,
        checkpoint_seconds=1e9, threads=1, seed=3,
    )  # fmt: skip


def train_student(student, blocks, directory, steps, score=lambda student: 0.5):
    train(student, blocks, plan(steps), TASKS["single"], directory, score, "test", "key")
    return student


def test_training_goes_on_to_the_same_weights(tmp_path):
    texts, labels = reviews(100)
    vocabulary = Vocabulary.count([texts], characters="unknown")
    targets = np.eye(2, dtype=np.float32)[[int(label == "good") for label in labels]]

    def trained(directory: Path, seed: int = 3, stop_at: int = 0) -> np.ndarray:
        evaluations = []

        def score(student: Student) -> float:
            evaluations.append(1)
            if len(evaluations) == stop_at:
                signal.raise_signal(signal.SIGINT)
            return 0.5

        blocks = TextsInMemory(texts, targets, None, Featuriser(vocabulary, 1, 0.2, seed))
        student = Student(len(vocabulary), 2, (4,), 0, 0.1, 1)
        return train_student(student, blocks, directory, 20, score).table

    whole = trained(tmp_path / "whole")
    for _ in range(2):  # in the second of the epochs, and in the last
        with pytest.raises(KeyboardInterrupt):
            trained(tmp_path / "cut", stop_at=2)
    assert np.array_equal(trained(tmp_path / "cut"), whole)
    assert not np.array_equal(trained(tmp_path / "other", seed=4), whole)


# Explanations


def test_characters_are_explained_like_patterns(trained):
    classifier, _ = trained
    why = classifier.explain("wonderfull", top=None)
    named = dict(why.contributions)
    assert why.label == "good"
    assert {"won*", "*onder*", "*erful*"} <= set(named)
    assert not [name for name in named if " " in name]
    assert why.bias + sum(named.values()) == pytest.approx(why.logit, abs=1e-4)
    assert [name for name, _ in classifier.explain("the").contributions] == ["the"]


def test_explanations_add_up_also_where_a_pattern_is_a_word(parts):
    config, tensors = parts(row_type="float32", characters="all", characters_min=2, characters_max=5)
    config["text"]["tokenizer"], config["text"]["normalize"] = "whitespace", False
    classifier = Classifier(config, tensors)
    for text in ("film *ilm* fi*", "not bad at all", "goodness filmed badly"):
        for label in classifier.labels:
            why = classifier.explain(text, label, top=None)
            logits = classifier.decision_function(text)
            assert why.logit == pytest.approx(logits[classifier.labels.index(label)] - logits.mean(), abs=1e-4)
            assert why.bias + sum(number for _, number in why.contributions) == pytest.approx(why.logit, abs=1e-4)


def test_inspect_shows_characters(trained, capsys):
    assert cli.main(["inspect", str(trained[1] / "classifier")]) == 0
    shown = capsys.readouterr().out
    assert "of up to 2 tokens, or 3 to 5 characters of unknown words" in shown


# Settings


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"characters": "some"}, "characters is 'some', not one of auto, none, unknown, all"),
        ({"characters_min": 17}, "characters_min is 17: give at most 16"),
        ({"characters_max": 17}, "characters_max is 17: give at most 16"),
        ({"characters_min": 5, "characters_max": 4}, "5 code points or more and at most 4"),
        ({"characters": "unknown", "hashed": True}, "--characters all or none"),
        ({"unknown_words": 1.5}, "unknown_words is 1.5: give at most 1"),
    ],
)
def test_settings_of_characters(given, message):
    with pytest.raises(SettingsError, match=message):
        Settings.of(train="train.csv", modes=["scratch"], **given).check()


def test_rules_of_text_are_options():
    options = {field.name for field in dataclasses.fields(Settings().count)}
    assert {field.name for field in dataclasses.fields(Vocabulary.count([["a"]]).rules)} <= options
