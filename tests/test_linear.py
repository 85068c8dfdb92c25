"""The linear student: its rates against a plain twin, its training, what becomes of it, and when it is chosen."""

from __future__ import annotations

import dataclasses
import json
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sparsedistill import Classifier, Settings, SettingsError, distill
from sparsedistill.options import Count, Distill
from sparsedistill.presets import TextFacts, count_settings, student_settings
from sparsedistill.student.dataset import Batch, InMemory
from sparsedistill.student.linear import row_rates

GOOD, BAD = ("good film", "a fine good plot", "lovely acting"), ("bad film", "a dull bad plot", "awful acting")


def twin(bags: list[list[int]], targets: list[list[float]], rows: int, multi: bool, batch_size: int) -> list[float]:
    """The rates as :func:`row_rates` describes them, a row at a time."""
    weights = []
    for row in range(rows):
        times = [bag.count(row) for bag in bags]
        count = sum(times)
        weight = math.log((1 + len(bags)) / (1 + min(count, len(bags)))) + 1
        information = 0.0
        for label in range(len(targets[0])):
            seen = sum(n * target[label] for n, target in zip(times, targets, strict=True))
            prior = sum(target[label] for target in targets) / len(bags)
            sides = [(seen, prior)] + ([(count - seen, 1 - prior)] if multi else [])
            for number, share in sides:
                if share > 0:
                    posterior = (number + 4 * share) / (count + 4)
                    information += posterior * math.log(posterior / share)
        weight *= math.sqrt(max(information, 1e-5))
        weights.append(weight)
    squares = [weight**2 for weight in weights]
    every = [squares[i] for bag in bags for i in bag]
    mean = (sum(every) / len(every) if every else 0.0) or 1.0
    speed = 200 * (len(targets[0]) if multi else 1)
    return [(square / mean + 0.3) / 1.3 * speed * batch_size for square in squares]


@settings(max_examples=60)
@given(st.data(), st.booleans(), st.integers(1, 6), st.integers(1, 12))
def test_rates_are_those_of_their_twin(data, multi, rows, texts):
    classes = data.draw(st.integers(1, 4))
    bags = data.draw(st.lists(st.lists(st.integers(0, rows - 1), max_size=6), min_size=texts, max_size=texts))
    rng = np.random.default_rng(data.draw(st.integers(0, 999)))
    targets = rng.random((texts, classes))
    if not multi:
        targets = np.eye(classes)[rng.integers(0, classes, texts)]
    offsets = np.cumsum([0, *map(len, bags)]).astype(np.uint64)
    batch = Batch(np.array([i for bag in bags for i in bag], np.uint32), offsets, targets.astype(np.float32))
    found = row_rates(InMemory(batch), rows, classes, multi, 32)
    np.testing.assert_allclose(found, twin(bags, batch.targets.tolist(), rows, multi, 32), rtol=2e-2)


def trained(directory, texts, labels, **changes):
    return distill(train=(list(texts), list(labels)), directory=directory, max_n=2, **changes)


def test_labels_alone_make_a_linear_student_whose_rows_stand_in_the_slots(tmp_path):
    texts, labels = [*GOOD, *BAD] * 20, [*["good"] * 3, *["bad"] * 3] * 20
    classifier = trained(tmp_path / "run", [f"{text} {i}" for i, text in enumerate(texts)], labels)
    config = classifier.config
    assert (config["pooling"], config["layers"], config["format_version"]) == ("sqrtn", 0, 5)
    assert config["rows"] == {"count": config["rows"]["count"], "width": 2, "type": "int16", "in_slots": True}
    assert classifier.predict(["a good plot", "bad acting", "awful"]) == ["good", "bad", "bad"]
    why = classifier.explain("a good bad plot", "good", None)
    assert abs(sum(number for _, number in why.contributions) + why.bias - why.logit) < 1e-5
    assert Classifier.load(tmp_path / "run" / "classifier").predict(texts) == classifier.predict(texts)


def test_a_linear_student_of_several_labels(tmp_path):
    texts = [f"{a} {b} {i}" for i in range(40) for a in ("good", "bad") for b in ("film", "plot")]
    labels = [[word for word in ("good", "film") if word in text.split()] for text in texts]
    classifier = trained(tmp_path, texts, labels, task="multi")
    assert classifier.predict(["good film", "bad plot", "bad film"]) == [["film", "good"], [], ["film"]]


def test_an_interrupted_training_goes_on_to_the_same_weights(tmp_path, monkeypatch):
    texts, labels = [f"{text} {i}" for i, text in enumerate([*GOOD, *BAD] * 40)], [*["good"] * 3, *["bad"] * 3] * 40
    whole = trained(tmp_path / "whole", texts, labels)
    from sparsedistill.student import train

    learn, steps = train.learn, []

    def stopped(*given):
        steps.append(1)
        if len(steps) == 25:
            raise KeyboardInterrupt
        return learn(*given)

    monkeypatch.setattr(train, "learn", stopped)
    often = {"distill": {"checkpoint_seconds": 0.0}}
    with pytest.raises(KeyboardInterrupt):
        trained(tmp_path / "halves", texts, labels, **often)
    halves = trained(tmp_path / "halves", texts, labels, **often)
    assert len(steps) == 720 + 1  # the one that was cut off is taken again
    assert all(np.array_equal(a, halves._tensors[name]) for name, a in whole._tensors.items())


def test_who_gets_a_linear_student():
    def chosen(mode="scratch", pairs=False, task="single", **changes):
        return student_settings(dataclasses.replace(Distill(), **changes), mode, {task}, pairs)

    alone = chosen()
    assert (alone.student, alone.hidden, alone.pooling, alone.optimizer) == ("linear", (), "sqrtn", "sgd")
    assert (alone.batch_size, alone.ngram_dropout) == (64, 0.0)
    asked = ({"hidden": (32,)}, {"hidden": (64,)}, {"hidden": ()}, {"embedding": 8}, {"pooling": "mean"})
    for changes in (*asked, {"mode": "kd"}, {"task": "regression"}, {"student": "network"}):
        other = chosen(**changes)
        assert (other.student, other.batch_size, other.ngram_dropout) == ("network", 512, 0.1)
        assert (other.hidden, other.pooling) == (changes.get("hidden", (64,)), "mean")
    beside = chosen(modes=("scratch", "kd"), batch_size=256, learning_rate=0.02, ngram_dropout=0.3)
    assert (beside.student, beside.batch_size, beside.learning_rate, beside.ngram_dropout) == ("linear", 64, 0.0, 0.0)
    assert chosen(modes=("scratch",), ngram_dropout=0.3).ngram_dropout == 0.3
    assert chosen(mode="kd", student="linear").student == "linear"
    pair = chosen(pairs=True)
    assert (pair.student, pair.embedding, pair.pooling) == ("network", 128, "sqrtn")
    assert chosen(mode="kd", pairs=True).pooling == "mean"


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"pair": "b"}, "which a linear student lacks"),
        ({"task": "regression"}, "and a network scores"),
        ({"hidden": [64]}, "no hidden layer and no W1"),
        ({"pooling": "mean"}, "pools by sqrtn"),
    ],
)
def test_what_does_not_go_with_a_linear_student(changes, message):
    with pytest.raises(SettingsError, match=message):
        Settings.of(train="x.csv", modes=["scratch"], student="linear", **changes).check()


def test_a_hidden_layer_is_not_of_no_width():
    with pytest.raises(SettingsError, match="1 wide or more"):
        Settings.of(train="x.csv", modes=["scratch"], hidden=[64, 0]).check()


def test_settings_say_what_was_asked(tmp_path):
    texts = [f"{text} {i}" for i, text in enumerate([*GOOD, *BAD] * 10)]
    trained(tmp_path, texts, [*["good"] * 3, *["bad"] * 3] * 10)
    kept = json.loads((tmp_path / "settings.json").read_text(encoding="utf-8"))
    assert kept["distill"]["student"] == "auto"


def test_counting_is_chosen_by_a_sample():
    def chosen(tokens, **changes):
        return count_settings(dataclasses.replace(Count(), **changes), TextFacts.of(tokens), False)

    english = [["the", "film", "is", "good", "!"], ["the", "film", "is", "bad", "."]] * 20
    settings_, why = chosen(english)
    assert (settings_.max_n, settings_.characters, settings_.characters_min, settings_.characters_max) == (
        2,
        "none",
        3,
        5,
    )
    assert "up to 2 tokens" in why
    chinese = [list("这部电影很好"), list("这部电影不好")] * 20
    settings_, why = chosen(chinese)
    assert (settings_.max_n, settings_.characters_min) == (4, 1)
    assert "100% of the tokens are single characters" in why
    korean = [[f"영화{i}는", "정말", f"재미{i}있다"] for i in range(20_000)]
    settings_, why = chosen(korean)
    assert (settings_.characters, settings_.characters_min, settings_.characters_size) == ("all", 1, 1_000_000)
    assert "67% of the words of a new text are unseen" in why
    assert chosen(korean[:1000])[0].characters == "none"  # too few to tell
    assert chosen(korean, characters="none", max_n=3)[1] == ""
    assert chosen(korean, hashed=True)[0].characters == "none"
    assert count_settings(Count(), TextFacts.of(english), True)[0].max_n == 1
    assert chosen(english, characters="unknown", characters_min=7)[0].characters_max == 7


def test_the_choice_is_written_down_and_can_be_fixed(tmp_path):
    texts = [f"{text} {i}" for i, text in enumerate([*GOOD, *BAD] * 10)]
    labels = [*["good"] * 3, *["bad"] * 3] * 10
    classifier = distill(train=(texts, labels), directory=tmp_path)
    record = json.loads((tmp_path / "stages" / "count.train.json").read_text(encoding="utf-8"))
    assert "n-grams of up to 2 tokens" in record["result"]["chosen"]
    kept = classifier.config["provenance"]["settings"]
    assert (kept["count"]["max_n"], kept["distill"]["student"], kept["distill"]["pooling"]) == (2, "linear", "sqrtn")
    fixed = distill(train=(texts, labels), directory=tmp_path, max_n=3, characters="none")
    assert fixed.config["text"]["max_n"] == 3
