"""The classifier: decisions, probabilities and explanations against arithmetic of the test's own; files and pickles."""

from __future__ import annotations

import copy
import json
import os
import pickle
import shutil
import threading

import numpy as np
import pytest
import reference as ref
from hypothesis import given, settings
from hypothesis import strategies as st

from sparsedistill import Classifier, FormatError, SettingsError, _core
from sparsedistill.classifier import probabilities

TEXTS = ["not bad at all", "", "The film was good good good", "nothing-known-here zzz", "映画 film 😀 schlecht", "bad"]

SHAPES = [
    {"task": task, "row_type": row_type, "depth": depth, "relu_first": relu_first, "labels": labels}
    for task, labels in (("single", 2), ("single", 4), ("multi", 3), ("regression", 1))
    for row_type, depth, relu_first in (
        ("int8", 1, True),
        ("int16", 0, False),
        ("float32", 2, False),
        ("int8", 3, True),
        ("float16", 1, True),
        ("slots", 0, False),
    )
]


def name(shape) -> str:
    return "-".join(map(str, shape.values()))


@pytest.fixture(params=SHAPES, ids=name)
def shaped(request, parts) -> Classifier:
    return Classifier(*parts(**request.param))


class Arithmetic:
    """The classifier in float64, from its files' contents."""

    def __init__(self, config, tensors):
        self.config = config
        width, self.columns = config["rows"]["width"], 0
        if config["rows"]["in_slots"]:
            self.columns = width
            all_slots = range(len(tensors["slots"]) * ref.slots_of(width))
            rows = np.array([ref.slot_values(tensors["slots"], i, width) for i in all_slots])
        else:
            rows = tensors["rows"][:, :width]
        self.rows = rows.astype(np.float64) * tensors.get("scale", np.float32(1)).astype(np.float64)
        self.bias = tensors["bias"].astype(np.float64)
        self.layers = [
            (tensors[f"layers.{i}.weight"].astype(np.float64), tensors[f"layers.{i}.bias"].astype(np.float64))
            for i in range(config["layers"])
        ]
        self.slots = tensors["slots"]

    def bag(self, text: str) -> list[int]:
        rules = {key: self.config["text"][key] for key in ("seed", "tokenizer", "lowercase", "normalize", "max_n")}
        return ref.bag(text, self.slots, rules.pop("seed"), **rules, columns=self.columns)

    def pooled(self, text: str) -> np.ndarray:
        bag = self.bag(text)
        return self.rows[bag].sum(axis=0) / max(len(bag), 1)

    def logits_of(self, pooled: np.ndarray) -> np.ndarray:
        x = pooled + self.bias
        for i, (weight, bias) in enumerate(self.layers):
            x = (np.maximum(x, 0) if i or self.config["relu_first"] else x) @ weight + bias
        return x

    def logits(self, text: str) -> np.ndarray:
        return self.logits_of(self.pooled(text))


def arithmetic(classifier: Classifier) -> Arithmetic:
    return Arithmetic(classifier.config, classifier._tensors)


# Decisions


def test_logits(shaped):
    got = shaped.decision_function(TEXTS)
    assert got.dtype == np.float32
    assert got.shape == (len(TEXTS), len(shaped.labels))
    np.testing.assert_allclose(got, [arithmetic(shaped).logits(text) for text in TEXTS], rtol=1e-4, atol=1e-4)


def test_one_text_is_as_one_of_many(shaped):
    many = shaped.decision_function(TEXTS, threads=2)
    labels = shaped.predict(TEXTS)
    assert len(labels) == len(TEXTS)
    for i, text in enumerate(TEXTS):
        one = shaped.decision_function(text)
        assert one.shape == (len(shaped.labels),)
        assert np.array_equal(one, many[i])
        assert shaped.predict(text) == labels[i] == shaped.predict([text])[0]
        if shaped.task != "regression":
            assert np.array_equal(shaped.predict_proba(text), shaped.predict_proba(TEXTS)[i])


def test_no_texts(shaped):
    assert shaped.decision_function([]).shape == (0, len(shaped.labels))
    assert shaped.predict([]) == []
    if shaped.task != "regression":
        assert shaped.predict_proba([]).shape == (0, len(shaped.labels))


def test_a_text_without_a_known_ngram_gets_the_biases(shaped):
    expected = arithmetic(shaped).logits_of(0)
    for text in ("", "zzz", "🚀🚀", b"\xff"):
        np.testing.assert_allclose(shaped.decision_function(text), expected, rtol=1e-5, atol=1e-5)
        assert shaped.predict(text) == shaped.predict("")


def test_predictions(shaped):
    logits = [arithmetic(shaped).logits(text) for text in TEXTS]
    got = shaped.predict(TEXTS)
    if shaped.task == "single":
        assert got == [shaped.labels[int(np.argmax(row))] for row in logits]
        assert all(type(label) is str for label in got)
    elif shaped.task == "multi":
        chosen = [1 / (1 + np.exp(-row)) >= shaped.config["thresholds"] for row in logits]
        assert got == [[label for label, yes in zip(shaped.labels, row, strict=True) if yes] for row in chosen]
        assert 0 < sum(map(len, got)) < len(TEXTS) * len(shaped.labels)
    else:
        assert all(type(number) is float for number in got)
        np.testing.assert_allclose(got, np.ravel(logits), rtol=1e-4, atol=1e-4)


def test_probabilities(shaped):
    if shaped.task == "regression":
        with pytest.raises(ValueError, match="no probabilities"):
            shaped.predict_proba(TEXTS)
        return
    got = shaped.predict_proba(TEXTS)
    assert got.dtype == np.float64
    assert got.shape == (len(TEXTS), len(shaped.labels))
    logits = shaped.decision_function(TEXTS).astype(np.float64)
    if shaped.task == "single":
        powers = np.exp(logits)
        np.testing.assert_allclose(got, powers / powers.sum(axis=1, keepdims=True), rtol=1e-12)
        np.testing.assert_allclose(got.sum(axis=1), 1, rtol=1e-12)
        assert [shaped.labels[i] for i in got.argmax(axis=1)] == shaped.predict(TEXTS)
    else:
        np.testing.assert_allclose(got, 1 / (1 + np.exp(-logits)), rtol=1e-9)


def test_probabilities_of_large_logits():
    for size in (1e2, 1e4, 3e38):
        logits = np.array([[size, -size], [size, size], [-size, -size]], np.float32)
        with np.errstate(over="raise", invalid="raise"):
            np.testing.assert_allclose(probabilities(logits, "single"), [[1, 0], [0.5, 0.5], [0.5, 0.5]], atol=1e-40)
            np.testing.assert_allclose(probabilities(logits, "multi"), [[1, 0], [1, 1], [0, 0]], atol=1e-40)


@pytest.mark.parametrize("threshold", [0, 0.5, 1])
def test_thresholds_are_reached_not_passed(threshold, parts):
    config, tensors = parts("multi", "float32", 0, 2)
    tensors["rows"][:] = 0
    tensors["bias"][:] = [0, 100]  # probabilities of a half and of one
    config["thresholds"] = [threshold] * 2
    expected = ["label 0", "label 1"] if threshold <= 0.5 else ["label 1"]
    assert Classifier(config, tensors).predict(["film", ""]) == [expected, expected]


def test_a_tie_goes_to_the_first_label(parts):
    config, tensors = parts("single", "float32", 0, 3)
    tensors["bias"][:] = [1, 2, 2]
    assert Classifier(config, tensors).predict("") == "label 1"


# Explanations


@settings(max_examples=150)
@given(
    st.sampled_from(SHAPES),
    st.integers(0, 1000),
    st.lists(st.sampled_from(("film", "not", "bad", "good", "was", "zzz", "映画", "all", ",")), max_size=12).map(
        " ".join
    ),
    st.integers(0, 3),
)
def test_explanations_add_up(shape, seed, text, which):
    from conftest import make_parts

    config, tensors = make_parts(**shape, seed=seed)
    classifier = Classifier(config, tensors)
    own = Arithmetic(config, tensors)
    label = classifier.labels[which % len(classifier.labels)]
    explanation = classifier.explain(text, label, top=None)
    logits = own.logits(text)
    centre = logits.mean() if shape["task"] == "single" else 0
    assert explanation.label == label
    assert explanation.logit == pytest.approx(logits[classifier.labels.index(label)] - centre, rel=1e-5, abs=1e-4)
    total = explanation.bias + sum(number for _, number in explanation.contributions)
    assert total == pytest.approx(explanation.logit, rel=1e-5, abs=1e-4)
    # Against the classifier's own score, too.
    scored = classifier.decision_function(text).astype(np.float64)
    shift = scored.mean() if shape["task"] == "single" else 0
    assert total == pytest.approx(scored[classifier.labels.index(label)] - shift, rel=1e-4, abs=1e-4)


@pytest.mark.parametrize("shape", SHAPES, ids=name)
@pytest.mark.parametrize("text", TEXTS)
def test_contributions_are_slopes(shape, text, parts):
    # Gradient times input, the gradient by finite differences: exact while no ReLU changes sides.
    config, tensors = parts(**shape)
    classifier, own = Classifier(config, tensors), Arithmetic(config, tensors)
    pooled, bag, step = own.pooled(text), own.bag(text), 1e-7
    known = classifier._lookup.ngrams(text)
    assert [row for _, row in known] == bag

    def score(x: np.ndarray, which: int) -> float:
        logits = own.logits_of(x)
        return logits[which] - (logits.mean() if shape["task"] == "single" else 0)

    for which, label in enumerate(classifier.labels):
        expected: dict[str, float] = {}
        for ngram, row in known:
            along = own.rows[row] / len(bag)
            slope = (score(pooled + step * along, which) - score(pooled - step * along, which)) / (2 * step)
            expected[ngram] = expected.get(ngram, 0) + slope
        got = classifier.explain(text, label, top=None)
        assert dict(got.contributions) == pytest.approx(expected, rel=1e-4, abs=1e-5)
        assert len(got.contributions) == len(expected)
        sizes = [abs(number) for _, number in got.contributions]
        assert sizes == sorted(sizes, reverse=True)


def test_explain_takes_the_likeliest_label_and_the_top(shaped):
    text = "the film was not bad at all, not good"
    everything = shaped.explain(text, top=None)
    assert len(everything.contributions) > 12
    if shaped.task == "single":
        assert everything.label == shaped.predict(text)
    assert everything.label == shaped.labels[int(shaped.decision_function(text).argmax())]
    assert shaped.explain(text).contributions == everything.contributions[:10]
    assert shaped.explain(text, everything.label, 3).contributions == everything.contributions[:3]
    assert shaped.explain(text, top=0).contributions == []


def test_explain_text_without_known_ngrams(shaped):
    for text in ("", "zzz"):
        explanation = shaped.explain(text)
        assert explanation.contributions == []
        assert explanation.bias == pytest.approx(explanation.logit, abs=1e-9)


def test_explain_refuses(classifier):
    with pytest.raises(ValueError, match="no label 'x': label 0, label 1, label 2"):
        classifier.explain("film", "x")
    for wrong in (["film"], b"film", None, 3):
        with pytest.raises(TypeError, match="explain takes one str"):
            classifier.explain(wrong)


def damaged(parts) -> Classifier:
    config, tensors = parts()
    slots = tensors["slots"].copy()
    slots[:, :8] = 0xFFFFFFFE
    return Classifier(config, {**tensors, "slots": slots})


def test_a_damaged_row_number_is_a_format_error(parts):
    with pytest.raises(FormatError, match="names a row that does not exist"):
        damaged(parts).predict(["film"])


def test_a_damaged_row_number_is_a_format_error_in_explain(parts):
    with pytest.raises(FormatError, match="names a row that does not exist"):
        damaged(parts).explain("film")


# Files


def test_nothing_but_a_classifier_is_replaced(classifier, tmp_path):
    (tmp_path / "empty").mkdir()
    classifier.save(tmp_path / "empty")
    classifier.save(tmp_path / "empty")
    (tmp_path / "project").mkdir()
    (tmp_path / "project" / "thesis.txt").write_text("years of work")
    (tmp_path / "file").write_text("also")
    for name in ("project", "file"):
        with pytest.raises(SettingsError, match=f"{name} is there, and no classifier: give another name"):
            classifier.save(tmp_path / name)
    (tmp_path / "empty" / "notes.md").write_text("mine")
    with pytest.raises(SettingsError, match=r"is a classifier, but also holds notes\.md: take that away"):
        classifier.save(tmp_path / "empty")
    assert (tmp_path / "project" / "thesis.txt").read_text() == "years of work"
    assert (tmp_path / "file").read_text() == "also" and (tmp_path / "empty" / "notes.md").read_text() == "mine"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["empty", "file", "project"]


def test_save_and_load(shaped, tmp_path):
    shaped.save(tmp_path / "a")
    loaded = Classifier.load(tmp_path / "a")
    assert loaded.config == shaped.config
    assert loaded.labels == shaped.labels
    assert loaded.nbytes == shaped.nbytes == sum(array.nbytes for array in shaped._tensors.values())
    assert loaded.path == (tmp_path / "a").resolve()
    assert shaped.path is None
    assert np.array_equal(loaded.decision_function(TEXTS), shaped.decision_function(TEXTS))
    assert loaded.predict(TEXTS) == shaped.predict(TEXTS)
    assert loaded.explain(TEXTS[0]) == shaped.explain(TEXTS[0])
    loaded.save(tmp_path / "b")
    for file in ("config.json", "model.safetensors"):
        assert (tmp_path / "a" / file).read_bytes() == (tmp_path / "b" / file).read_bytes()
    assert sorted(os.listdir(tmp_path / "a")) == ["config.json", "model.safetensors"]
    assert sorted(os.listdir(tmp_path)) == ["a", "b"]


def test_loading_maps_the_file(classifier, tmp_path):
    classifier.save(tmp_path / "c")
    loaded = Classifier.load(str(tmp_path / "c"))
    for array in loaded._tensors.values():
        assert not array.flags.writeable
        assert array.ctypes.data % 64 == 0
        base = array
        while not isinstance(base, np.memmap):
            base = base.base
        assert base.filename == tmp_path / "c" / "model.safetensors"


def test_the_card_is_kept(parts, tmp_path):
    card = "# Ein Kärtchen 😀\n"
    Classifier(*parts(), card=card).save(tmp_path / "c")
    assert (tmp_path / "c" / "README.md").read_text(encoding="utf-8") == card
    Classifier.load(tmp_path / "c").save(tmp_path / "d")
    assert (tmp_path / "d" / "README.md").read_text(encoding="utf-8") == card


def test_saving_over_a_directory_replaces_all_of_it(parts, tmp_path):
    first, second = Classifier(*parts(seed=1), card="first"), Classifier(*parts("multi", "int16", 0, seed=2))
    first.save(tmp_path / "c")
    assert (tmp_path / "c" / "README.md").is_file()
    loaded = Classifier.load(tmp_path / "c")
    second.save(tmp_path / "c")
    assert sorted(os.listdir(tmp_path / "c")) == ["config.json", "model.safetensors"]
    assert os.listdir(tmp_path) == ["c"]
    assert np.array_equal(Classifier.load(tmp_path / "c").decision_function(TEXTS), second.decision_function(TEXTS))
    # What was mapped from the old files is still theirs; and a classifier may be saved over itself.
    assert np.array_equal(loaded.decision_function(TEXTS), first.decision_function(TEXTS))
    again = Classifier.load(tmp_path / "c")
    again.save(tmp_path / "c")
    assert np.array_equal(Classifier.load(tmp_path / "c").decision_function(TEXTS), second.decision_function(TEXTS))


def test_saving_makes_the_folders_above(classifier, tmp_path):
    classifier.save(tmp_path / "x" / "y" / "z")
    assert Classifier.load(tmp_path / "x" / "y" / "z").labels == classifier.labels


def test_loading_nothing(tmp_path, classifier):
    with pytest.raises(FileNotFoundError, match=r"has no config\.json"):
        Classifier.load(tmp_path / "absent")
    classifier.save(tmp_path / "c")
    os.remove(tmp_path / "c" / "model.safetensors")
    with pytest.raises(FileNotFoundError, match=r"has no model\.safetensors"):
        Classifier.load(tmp_path / "c")


def test_pickles(shaped, tmp_path):
    copied = pickle.loads(pickle.dumps(shaped))
    assert np.array_equal(copied.decision_function(TEXTS), shaped.decision_function(TEXTS))
    assert copied.config == shaped.config
    shaped.save(tmp_path / "c")
    loaded = Classifier.load(tmp_path / "c")
    data = pickle.dumps(loaded)
    assert len(data) < 1000  # the path, not the arrays
    assert np.array_equal(pickle.loads(data).decision_function(TEXTS), shaped.decision_function(TEXTS))
    assert np.array_equal(copy.deepcopy(loaded).decision_function(TEXTS), shaped.decision_function(TEXTS))
    shutil.rmtree(tmp_path / "c")
    with pytest.raises(FileNotFoundError):
        pickle.loads(data)
    assert loaded.predict(TEXTS) == shaped.predict(TEXTS)  # still mapped


def test_pickles_do_not_depend_on_the_working_directory(classifier, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    classifier.save("c")
    data = pickle.dumps(Classifier.load("c"))
    monkeypatch.chdir("/")
    assert pickle.loads(data).predict(TEXTS) == classifier.predict(TEXTS)


def test_the_config_is_a_copy(classifier):
    config = classifier.config
    config["labels"].append("x")
    config["text"]["seed"] = 99
    assert classifier.config != config
    assert len(classifier.labels) == len(classifier.config["labels"]) == 3
    json.dumps(config)


def test_repr(classifier):
    assert repr(classifier).startswith("Classifier(single, labels label 0, label 1, label 2; ")


def test_threads_share_one(classifier):
    expected = classifier.predict(TEXTS * 100)
    results = []
    threads = [
        threading.Thread(target=lambda: results.append(classifier.predict(TEXTS * 100, threads=2))) for _ in range(6)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert results == [expected] * 6


# What a config may say


def nested(config, path, value):
    config = copy.deepcopy(config)
    *above, last = path
    inner = config
    for key in above:
        inner = inner[key]
    if value is KeyError:
        del inner[last]
    else:
        inner[last] = value
    return config


@pytest.mark.parametrize(
    ("path", "values"),
    [
        (("format",), [KeyError, None, "safetensors", 1]),
        (("format_version",), [KeyError, 0, 1, 2, 3, 8, 4.0, True, "4", None]),
        (("task",), [KeyError, "", "ranking", None, ["single"], "Single"]),
        (("labels",), [KeyError, [], ["a"], ["a", "b", 3], "abc", None, {"a": 1}, ["a", "b", "c", "d"]]),
        (("text",), [KeyError, None, [], "words"]),
        (("text", "tokenizer"), [KeyError, "nltk", "", None, 1]),
        (("text", "lowercase"), [KeyError, 1, "true", None]),
        (("text", "normalize"), [KeyError, 1, "true", None]),
        (("text", "max_n"), [KeyError, 0, 9, -1, True, 1.0, "3", 1 << 32, 1 << 63, 1 << 64]),
        (("text", "seed"), [KeyError, -1, 1 << 64, 0.0, "0", None, True]),
        (("text", "unicode"), [KeyError, "3.2.0", 15.1, None]),
        (("rows",), [KeyError, None, []]),
        (("rows", "width"), [KeyError, 0, 7, 9, -8, 1 << 62, 8.0, "8"]),
        (("rows", "count"), [KeyError, 0, 1, -1, 1 << 62, None]),
        (("rows", "in_slots"), [KeyError, True, 0, "false", None]),
        (("rows", "type"), [KeyError, "int16", "float32", "float64", "int4", "int2", None]),
        (("relu_first",), [KeyError, 0, 1, "false", None]),
        (("layers",), [KeyError, 0, 2, -1, 17, 1 << 62, 1.0, "1"]),
    ],
    ids=lambda value: ".".join(value) if isinstance(value, tuple) else "",
)
def test_a_wrong_config_is_a_format_error(path, values, parts):
    config, tensors = parts()
    for value in values:
        with pytest.raises(FormatError):
            Classifier(nested(config, path, value), tensors)


@pytest.mark.parametrize(
    "thresholds", [KeyError, None, [], [0.5], [0.5] * 4, [0.5, 0.5, 2], [0.5, 0.5, -0.1], [0.5, 0.5, "0.5"],
                   [0.5, 0.5, float("nan")], [0.5, 0.5, None], 0.5, {"label 0": 0.5}],
)  # fmt: skip
def test_wrong_thresholds_are_a_format_error(thresholds, parts):
    config, tensors = parts("multi")
    with pytest.raises(FormatError, match="thresholds"):
        Classifier(nested(config, ("thresholds",), thresholds), tensors)


@pytest.mark.parametrize("row_type", ["int8", "float32"])
def test_wrong_tensors_are_format_errors(row_type, parts):
    config, tensors = parts(row_type=row_type, depth=2)
    Classifier(config, tensors)
    for key, array in tensors.items():
        others = [array.astype(np.float64), array[:-1], array[None], array.reshape(-1, 1, 1), array[:0]]
        if array.ndim == 2:
            others += [array[:, :-1], array.T, array.ravel()]
        if array.dtype == np.float32 and key != "rows":
            others += [np.full_like(array, bad) for bad in (np.nan, np.inf, -np.inf)]
        for other in others:
            if key == "slots" and other.shape[1:] == array.shape[1:] and len(other) and other.dtype == array.dtype:
                continue  # a table of another size is a table
            with pytest.raises(FormatError):
                Classifier(config, {**tensors, key: other})
        with pytest.raises(FormatError, match=f"tensor '{key}' is missing"):
            Classifier(config, {other: tensors[other] for other in tensors if other != key})


@pytest.mark.parametrize("kind", [IndexError, KeyError, ValueError, OSError])
@pytest.mark.parametrize("method", ["predict", "predict_proba", "decision_function"])
def test_an_error_of_the_callers_iterator_is_passed_on_as_it_is(classifier, method, kind):
    def texts():
        yield "film"
        raise kind("of the caller")

    with pytest.raises(kind, match="of the caller"):
        getattr(classifier, method)(texts())


def test_a_copy_in_memory_does_not_need_its_file(shaped, tmp_path):
    shaped.save(tmp_path / "a")
    copied, mapped = Classifier.load(tmp_path / "a", copy=True), Classifier.load(tmp_path / "a")
    expected = shaped.decision_function(TEXTS)
    assert np.array_equal(copied.decision_function(TEXTS), mapped.decision_function(TEXTS))
    for name, array in copied._tensors.items():
        assert np.array_equal(array, mapped._tensors[name])
        assert not array.flags.writeable
        assert array.ctypes.data % min(64, array.itemsize * 16) == 0 or not array.size
    again = pickle.dumps(copied)
    del mapped
    assert pickle.loads(again)._in_memory
    os.truncate(tmp_path / "a" / "model.safetensors", 0)
    assert np.array_equal(copied.decision_function(TEXTS), expected)
    with pytest.raises(FormatError, match="cut short"):
        Classifier.load(tmp_path / "a", copy=True)


def test_a_file_that_is_cut_while_it_is_copied(shaped, tmp_path, monkeypatch):
    shaped.save(tmp_path / "a")
    whole = _core.large_bytes

    def cut(size):
        os.truncate(tmp_path / "a" / "model.safetensors", size // 2)
        return whole(size)

    monkeypatch.setattr(_core, "large_bytes", cut)
    with pytest.raises(FormatError, match="was cut short while it was read"):
        Classifier.load(tmp_path / "a", copy=True)
