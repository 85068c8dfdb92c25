"""Each rule of docs/FORMAT.md is broken once and named by an error; numbers that are none have a meaning."""

from __future__ import annotations

import copy
import itertools
import json
import os
from pathlib import Path

import numpy as np
import pytest
import reference as ref
from conftest import padded

from sparsedistill import Classifier, FormatError, _core
from sparsedistill.classifier import MAX_CARD, probabilities

TEXTS = ["film", "not bad at all", "", "the film was good good good"]
kernels = pytest.mark.parametrize("kernels", _core.kernels())


def put(*path_and_value):
    """A change of config.json: the value at a path."""
    *path, last, value = path_and_value

    def change(config, tensors):
        inner = config
        for key in path:
            inner = inner[key]
        inner[last] = value

    return change


def array(name, value):
    """A change of the arrays: one put in, or made of the one there."""

    def change(config, tensors):
        tensors[name] = value(tensors[name]) if callable(value) else value

    return change


def without(name):
    return lambda config, tensors: tensors.pop(name)


def both(*changes):
    return lambda config, tensors: [change(config, tensors) for change in changes]


def filled(number):
    return lambda a: np.full_like(a, number)


def characters(of, least, most):
    names = ("characters", "characters_min", "characters_max")
    return both(*(put("text", name, value) for name, value in zip(names, (of, least, most), strict=True)))


hashed = both(put("rows", "hashed", True), without("slots"))
max_pooling = put("pooling", "max")
attentive = put("pooling", "attentive")
FLOATS, SLOTS, MULTI = {"row_type": "float32", "depth": 2}, {"row_type": "slots", "depth": 0}, {"task": "multi"}
REGRESSION, NARROW = {"task": "regression", "labels": 1}, {"row_type": "float32", "depth": 0, "labels": 1}
ONE = np.ones(1, np.float32)
# Classifiers of version 6.
NAMED = {
    "heads": {"a": ("single", 2), "b": ("multi", 3), "c": ("regression", 1), "d": ("multi", 2)},
    "calibrated": True,
}
INT4 = {"row_type": "int4"}
TWO = {"labels": 2, "calibrated": True}
TEMPERATURE, PLATT = {"calibrated": True}, {"task": "multi", "calibrated": True}
ISOTONIC = {"task": "multi", "labels": 2, "calibrated": True}
SCORES = {"task": "regression", "labels": 1, "calibrated": True}


def calibration(name, value):
    """A change of a calibration's field."""
    return put("calibration", name, value)


def head(number, *path_and_value):
    return put("heads", number, *path_and_value)


def twice(config, tensors):
    config["heads"][1]["name"] = config["heads"][0]["name"]


BROKEN = [
    # config.json
    ("format", {}, put("format", "safetensors"), "not that of a sparsedistill classifier"),
    ("version", {}, put("format_version", 2), "format version 2"),
    ("version 3", {}, put("format_version", 3), "format version 3"),
    ("version after this", {}, put("format_version", 8), "format version 8"),
    ("version 4.0", {}, put("format_version", 4.0), r"format version 4\.0"),
    ("version true", {}, put("format_version", True), "format version True"),
    ("task", {}, put("task", "ranking"), "task is 'ranking'"),
    ("labels none", {}, put("labels", []), "labels is not a list of names"),
    ("labels numbers", {}, put("labels", [0, 1, 2]), "labels is not a list of names"),
    ("labels more", {}, put("labels", ["a", "b", "c", "d"]), "3 outputs for 4 labels"),
    ("labels twice", {}, put("labels", ["a", "b", "a"]), "labels has 'a' twice"),
    ("labels surrogate", {}, put("labels", ["a", "b\ud800", "c"]), "no valid Unicode"),
    ("labels surrogates", {}, put("labels", ["a\ud83d", "\ude00b", "c"]), "no valid Unicode"),
    ("labels of regression", {}, put("task", "regression"), "labels has 3 names, a regression has one output"),
    ("tokenizer", {}, put("text", "tokenizer", "nltk"), "tokenizer"),
    ("lowercase", {}, put("text", "lowercase", 1), "lowercase is 1, not bool"),
    ("max_n", {}, put("text", "max_n", 9), "max_n is 9, not 1 to 8"),
    ("max_n zero", {}, put("text", "max_n", 0), "max_n is 0, not 1 to 8"),
    ("max_n float", {}, put("text", "max_n", 3.0), r"max_n is 3\.0, not int"),
    ("seed", {}, put("text", "seed", 1 << 64), "seed is"),
    ("seed float", {}, put("text", "seed", 0.0), "seed is"),
    ("seed true", {}, put("text", "seed", True), "seed is True"),
    ("characters", {}, put("text", "characters", "some"), "characters is 'some', not none, unknown or all"),
    ("characters true", {}, put("text", "characters", True), "characters is True, not str"),
    ("characters without lengths", {}, put("text", "characters", "all"), "characters_min is None"),
    ("characters of no length", {}, characters("all", 0, 6), "characters_min is 0 and characters_max 6: not 1 to 16"),
    ("characters too long", {}, characters("all", 3, 17), "characters_max 17: not 1 to 16"),
    ("characters turned", {}, characters("unknown", 4, 3), "the second not below the first"),
    ("characters float", {}, characters("unknown", 3, 6.0), r"characters_max is 6\.0, not int"),
    ("characters of no unknown word", {}, both(hashed, characters("unknown", 3, 6)), "hashed and all known"),
    ("deobfuscate", {}, put("text", "deobfuscate", 1), "deobfuscate is 1, not bool"),
    ("deobfuscate null", {}, put("text", "deobfuscate", None), "deobfuscate is None, not bool"),
    ("deobfuscate without NFC", {}, both(put("text", "normalize", False), put("text", "deobfuscate", True)),
     "deobfuscate is true, but normalize is false"),
    ("unicode", {}, put("text", "unicode", "3.2.0"), r"follows Unicode '3\.2\.0'"),
    ("pooling", {}, put("pooling", "median"), "pooling is 'median'"),
    ("pairs", {}, put("pairs", 1), "pairs is 1, not bool"),
    ("pairs in slots", SLOTS, put("pairs", True), "in_slots is for mean, sum and sqrtn of single texts"),
    ("max in slots", SLOTS, max_pooling, "in_slots is for mean, sum and sqrtn"),
    ("slots wide", SLOTS, put("rows", "width", 5), "in_slots is for 1 to 4 int16"),
    ("slots int8", SLOTS, put("rows", "type", "int8"), "in_slots is for 1 to 4 int16"),
    ("slots hashed", SLOTS, hashed, "in slots and hashed"),
    ("count in slots", SLOTS, put("rows", "count", 1 << 20), "rows.count is 1048576, more than 'slots' can hold"),
    ("width", {}, put("rows", "width", 0), "not .* rows of 0 numbers"),
    ("width past the stride", {}, put("rows", "width", 99), "not .* rows of 99 numbers"),
    ("row type", {}, put("rows", "type", "int2"), "rows.type is 'int2'"),
    ("int4 of version 6", INT4, put("format_version", 6), "rows.type int4 is of format version 7, not 6"),
    ("int4 of signed bytes", INT4, array("rows", np.zeros((4, 16), np.int8)), "tensor 'rows' is int8, not uint8"),
    ("int4 past the stride", INT4, put("rows", "width", 33), "not .* rows of 33 numbers"),
    ("int4 of half a row", INT4, array("rows", lambda a: a[:, :8].copy()), "not .* rows of 8 numbers, padded"),
    ("int8 of bytes without sign", {}, array("rows", lambda a: a.view(np.uint8)), "tensor 'rows' is uint8, not int8"),
    ("row type of others", {}, put("rows", "type", "int16"), "tensor 'rows' is int8, not int16"),
    ("count", {}, put("rows", "count", 3), "not 3 rows"),
    ("in_slots", {}, put("rows", "in_slots", 0), "in_slots is 0, not bool"),
    ("hashed", {}, put("rows", "hashed", "yes"), "hashed is 'yes', not bool"),
    ("layers", {}, put("layers", 17), "layers is 17, not 0 to 16"),
    ("layers true", {}, put("layers", True), "layers is True, not int"),
    ("layers more", {}, put("layers", 2), "tensor 'layers.1.weight' is missing"),
    ("relu_first", {}, put("relu_first", 1), "relu_first is 1, not bool"),
    ("thresholds missing", {}, put("task", "multi"), "thresholds is not a list"),
    ("thresholds fewer", MULTI, put("thresholds", [0.5, 0.5]), "thresholds is not a list"),
    ("thresholds true", MULTI, put("thresholds", [0.5, True, 0.5]), "thresholds is not a list"),
    ("thresholds text", MULTI, put("thresholds", [0.5, "0.5", 0.5]), "thresholds is not a list"),
    ("thresholds outside", MULTI, put("thresholds", [0.5, 1.5, 0.5]), "thresholds is not a list"),
    ("attentive integers", {}, attentive, "attentive pooling is of float rows"),
    ("attentive narrow", NARROW, attentive, "attentive pooling is of float rows"),
    # heads
    ("heads of version 5", NAMED, put("format_version", 5), "heads is of format version 6, not 5"),
    ("heads none", NAMED, put("heads", []), "heads is not a list of objects"),
    ("heads null", NAMED, put("heads", None), "heads is None, not list"),
    ("heads an object", NAMED, put("heads", {}), "heads is {}, not list"),
    ("heads names", NAMED, put("heads", ["a", "b"]), "heads is not a list of objects"),
    ("heads and task", NAMED, put("task", "single"), "task stands beside heads"),
    ("heads and labels", NAMED, put("labels", ["x"]), "labels stands beside heads"),
    ("heads and thresholds", NAMED, put("thresholds", None), "thresholds stands beside heads"),
    ("heads and calibration", NAMED, put("calibration", {}), "calibration stands beside heads"),
    ("heads fewer", NAMED, lambda config, tensors: config["heads"].pop(), "8 outputs for 6 labels"),
    ("heads twice", NAMED, twice, "heads has 'a' twice"),
    ("head without a name", NAMED, head(1, "name", None), "name is None, not str"),
    ("head of an empty name", NAMED, head(1, "name", ""), "heads has the name ''"),
    ("head with a dot", NAMED, head(1, "name", "a.b"), r"heads has the name 'a\.b'"),
    ("head surrogate", NAMED, head(1, "name", "\ud800"), "heads has the name"),
    ("head without a task", NAMED, head(2, "task", None), "head 'c': config.json: task is None"),
    ("head of another task", NAMED, head(2, "task", "score"), "head 'c': config.json: task is 'score'"),
    ("head labels twice", NAMED, head(0, "labels", ["x", "x"]), "head 'a': config.json: labels has 'x' twice"),
    ("head labels more", NAMED, head(0, "labels", ["x", "y", "z"]), "8 outputs for 9 labels"),
    ("head of regression", NAMED, head(2, "labels", ["x", "y"]), "head 'c': .* a regression has one output"),
    ("head thresholds", NAMED, head(1, "thresholds", [0.5]), "head 'b': config.json: thresholds is not a list"),
    ("head calibration", NAMED, head(0, "calibration", "temperature", 0), "head 'a': calibration: .* positive number"),
    # calibration
    ("calibration of version 5", TEMPERATURE, put("format_version", 5), "calibration is of format version 6, not 5"),
    ("calibration null", TEMPERATURE, put("calibration", None), "calibration is None, not dict"),
    ("calibration a number", TEMPERATURE, put("calibration", 2), "calibration is 2, not dict"),
    ("kind none", TEMPERATURE, calibration("kind", None), "kind is None, not str"),
    ("kind unknown", TEMPERATURE, calibration("kind", "beta"), "kind is 'beta', which is none of task single"),
    ("kind of multi", TEMPERATURE, calibration("kind", "platt"), "kind is 'platt', which is none of task single"),
    ("kind of single", PLATT, calibration("kind", "temperature"), "kind is 'temperature', which is none of task multi"),
    ("kind of regression", SCORES, calibration("kind", "platt"), "kind is 'platt', which is none of task regression"),
    *((f"temperature {value}", TEMPERATURE, calibration("temperature", value), "temperature is not a positive number")
      for value in (None, 0, -0.0, -1.5, True, "1", [1], 1e39)),
    *((f"second {value}", TWO, calibration("second", value), "second is not a positive number")
      for value in (None, 0, "1")),
    *((f"share {value}", TWO, calibration("share", value), "share is not a number from 0 to 1")
      for value in (None, -0.1, 1.1, True, "1", [0.5])),
    ("kind of two", PLATT, calibration("kind", "temperatures"), "kind is 'temperatures', which is none of task multi"),
    *((f"slope {value}", PLATT, calibration("slope", value), "slope is not a list of one positive number a label")
      for value in (None, 1, [], [1, 1], [1, 0, 1], [1, -1, 1], [1, "1", 1], [1, True, 1], [1, 1e39, 1], [1, 1, 1, 1])),
    *((f"intercept {value}", PLATT, calibration("intercept", value), "intercept is not a list of one number a label")
      for value in (None, 0, [0, 0], [0, None, 0], [0, -1e39, 0], [0, 0, 0, 0])),
    *((f"x {value}", ISOTONIC, calibration("x", value), "x and y are not lists of one list a label")
      for value in ([], [[0, 1, 2, 3]], [[0, 1, 2, 3]] * 3)),
    *((f"x of one {value}", ISOTONIC, calibration("x", [[0, 1, 2, 3], value]), "x is not ascending numbers")
      for value in (None, 0, [], [0, 1, 1, 2], [0, 2, 1, 3], [0, 1, 2, 1e39], [0, 1, 2, "3"],
                    [0, 1, (1 << 60) + 1, (1 << 60) + 2])),
    ("x null", ISOTONIC, calibration("x", None), "x is None, not list"),
    ("y null", ISOTONIC, calibration("y", None), "y is None, not list"),
    *((f"y of one {value}", ISOTONIC, calibration("y", [[0, 0, 0, 0], value]), "y is not a number between 0 and 1 for")
      for value in (None, 0, [], [0, 0, 1], [0, 0, 1, 1, 1], [0, 1, 0.5, 1], [-0.1, 0, 0, 0], [0, 0, 0, 1.1])),
    *((f"y of scores {value}", SCORES, calibration("y", value), "y is not a number for each of x, none below")
      for value in ([], [0, 1], [3, 2, 2, 2], [0, 1, 2, 1e39])),
    *((f"x of scores {value}", SCORES, calibration("x", value), "x is not ascending numbers")
      for value in ([], [[0, 1, 2, 3]], [0, 1, 2, 2])),
    # model.safetensors
    ("slots missing", {}, without("slots"), "tensor 'slots' is missing"),
    ("slots empty", {}, array("slots", lambda a: a[:0]), "tensor 'slots' is empty"),
    ("slots narrow", {}, array("slots", lambda a: a[:, :15]), "tensor 'slots' has the shape"),
    ("slots of hashed rows", {}, put("rows", "hashed", True), "tensor 'slots' does not belong"),
    ("rows missing", {}, without("rows"), "tensor 'rows' is missing"),
    ("rows beside slots", SLOTS, array("rows", np.zeros((4, 16), np.int16)), "tensor 'rows' does not belong"),
    ("rows not of sixteen bytes", {}, array("rows", lambda a: a[:, :9]), "multiple of 16 bytes"),
    ("scale missing", {}, without("scale"), "tensor 'scale' is missing"),
    ("scale of floats", FLOATS, array("scale", np.ones(8, np.float32)), "tensor 'scale' does not belong"),
    ("scale of another width", {}, array("scale", ONE), "tensor 'scale' has the shape"),
    ("scale infinite", {}, array("scale", filled(np.inf)), "a scale, bias or dense weight is not finite"),
    ("scale negative under max", {}, both(max_pooling, array("scale", np.negative)), "a scale is not positive"),
    ("scale zero under max", {}, both(max_pooling, array("scale", filled(0))), "a scale is not positive"),
    ("bias missing", {}, without("bias"), "tensor 'bias' is missing"),
    ("bias of another width", {}, array("bias", ONE), "tensor 'bias' has the shape"),
    ("bias of mean+max", {}, put("pooling", "mean+max"), "tensor 'bias' has the shape"),
    ("bias of pairs", {}, put("pairs", True), "tensor 'bias' has the shape"),
    ("bias NaN", {}, array("bias", filled(np.nan)), "is not finite"),
    ("weight float64", {}, array("layers.0.weight", np.float64), "tensor 'layers.0.weight' is float64"),
    ("weight infinite", {}, array("layers.0.weight", filled(-np.inf)), "is not finite"),
    ("weight turned", {}, array("layers.0.weight", lambda a: a.T.copy()), "tensor 'layers.0.weight' has the shape"),
    ("layer bias", {}, array("layers.0.bias", ONE), "tensor 'layers.0.bias' has the shape"),
    ("layer past the last", {}, array("layers.1.bias", ONE), "tensor 'layers.1.bias' does not belong"),
    ("layers of a student without", {}, put("layers", 0), "8 outputs for 3 labels"),
    ("unknown tensor", {}, array("ngrams", np.zeros(3, np.uint8)), "tensor 'ngrams' does not belong"),
    ("unknown surrogate", {}, array("\ud800", np.zeros(3, np.uint8)), r"tensor '\\ud800' does not belong"),
    ("thresholds of regression", REGRESSION, put("labels", ["a", "b"]), "a regression has one output"),
]  # fmt: skip


@pytest.mark.parametrize(("shape", "change", "message"), [b[1:] for b in BROKEN], ids=[b[0] for b in BROKEN])
def test_a_broken_rule_is_named(shape, change, message, parts):
    config, tensors = parts(**shape)
    config, tensors = copy.deepcopy(config), dict(tensors)
    Classifier(config, tensors).predict(TEXTS)
    change(config, tensors)
    with pytest.raises(FormatError, match=message) as caught:
        Classifier(config, tensors)
    assert "\n" not in str(caught.value)
    str(caught.value).encode()  # can be printed


def test_unknown_fields_are_ignored(parts):
    config, tensors = parts()
    known = Classifier(config, tensors).predict(TEXTS)
    changed = {**config, "more": [1], "text": {**config["text"], "stems": True}, "thresholds": "none"}
    assert Classifier(changed, tensors).predict(TEXTS) == known


# Files


@pytest.fixture
def saved(parts, tmp_path) -> Path:
    Classifier(*parts(), card="# a card").save(tmp_path / "c")
    return tmp_path / "c"


def header_of(saved):
    """The header of a model's arrays, and a function that puts another in its place."""
    path = saved / "model.safetensors"
    content = path.read_bytes()
    size = int.from_bytes(content[:8], "little")
    header = content[8 : 8 + size].decode().rstrip()
    return header, lambda other: path.write_bytes(len(other).to_bytes(8, "little") + other + content[8 + size :])


def test_a_header_is_utf8(saved):
    header, put = header_of(saved)
    for encoding in ("utf-16", "utf-16-le", "utf-32", "utf-8-sig"):
        put(header.encode(encoding))
        with pytest.raises(FormatError, match="the header is not JSON"):
            Classifier.load(saved)


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ('"rows":{', '"rows":{"dtype":"U8","shape":[0],"data_offsets":[0,0]},"rows":{', "'rows' is there twice"),
        ('"dtype":"I8"', '"dtype":"I16","dtype":"I8"', "'dtype' is there twice"),
        ('"shape":[8]', '"shape":[NaN]', "NaN is no number"),
    ],
)
def test_a_header_is_json(old, new, message, saved):
    header, put = header_of(saved)
    assert old in header
    put(header.replace(old, new, 1).encode())
    with pytest.raises(FormatError, match=f"the header is not JSON: .*{message}"):
        Classifier.load(saved)


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ('"task": "single"', '"task": "multi", "task": "single"', "'task' is there twice"),
        ('"max_n": 3', '"max_n": 2, "max_n": 3', "'max_n' is there twice"),
        ('"layers": 1', '"layers": Infinity', "Infinity is no number"),
        ('"layers": 1', '"layers": 1, "metrics": {"accuracy": NaN}', "NaN is no number"),
    ],
)
def test_a_config_is_json(old, new, message, saved):
    text = (saved / "config.json").read_text()
    assert old in text
    (saved / "config.json").write_text(text.replace(old, new, 1))
    with pytest.raises(FormatError, match=f"config.json is not JSON: .*{message}"):
        Classifier.load(saved)


def test_a_config_is_utf8(saved):
    text = (saved / "config.json").read_text()
    for encoding in ("utf-16", "utf-8-sig"):
        (saved / "config.json").write_bytes(text.encode(encoding))
        with pytest.raises(FormatError, match=r"config\.json is not JSON"):
            Classifier.load(saved)


def test_long_files_cost_nothing(saved):
    # Sparse files of four terabytes: whoever reads them whole is out of memory.
    expected = Classifier.load(saved).predict(TEXTS)
    os.truncate(saved / "README.md", 1 << 42)
    loaded = Classifier.load(saved)
    assert loaded.predict(TEXTS) == expected
    assert len(loaded._card) == MAX_CARD
    assert loaded._card.startswith("# a card")
    os.truncate(saved / "config.json", 1 << 42)
    with pytest.raises(FormatError, match=r"config.json is longer than 64 MiB"):
        Classifier.load(saved)


def test_a_card_is_kept_to_its_most_bytes(parts, tmp_path):
    card = "é" * (MAX_CARD // 2)
    Classifier(*parts(), card=card).save(tmp_path / "c")
    assert Classifier.load(tmp_path / "c")._card == card
    (tmp_path / "c" / "README.md").write_bytes(b"\xff" + card.encode())  # a broken character at each end
    assert Classifier.load(tmp_path / "c")._card == f"�{'é' * (MAX_CARD // 2 - 1)}�"


# Numbers that are none


SPECIAL = [0.0, -0.0, 1.0, -2.5, 3e38, -3e38, np.inf, -np.inf, np.nan, 1e-45]
HALVES = [0x0000, 0x8000, 0x3C00, 0xC100, 0x7BFF, 0xFBFF, 0x7C00, 0xFC00, 0x7E00, 0xFE01, 0x7FFF, 0x0001]


def odd_rows(row_type: str, seed: int, width: int) -> np.ndarray:
    rng = np.random.default_rng(seed)
    if row_type == "float16":
        return rng.choice(np.array(HALVES, np.uint16), (40, width)).view(np.float16)
    rows = rng.choice(np.array(SPECIAL, np.float32), (40, width))
    rows[::3] = rng.standard_normal((14, width))
    return rows


@pytest.mark.parametrize("row_type", ["float16", "float32"])
@pytest.mark.parametrize("pooling", ["mean", "sum", "sqrtn", "max", "mean+max", "attentive"])
@kernels
def test_rows_that_are_no_numbers_give_the_same_finite_logits_everywhere(kernels, pooling, row_type):
    ngrams = [f"t{i}" for i in range(40)]
    slots, seed = _core.build_slots(*ref.packed(ngrams), 0)
    lookup = _core.Lookup(slots, 40, 0, seed, "whitespace", False, 1)
    rng = np.random.default_rng(7)
    bags = [[], [0], [1], [39], [0, 0], *(rng.integers(0, 40, n).tolist() for n in (2, 3, 5, 9, 30))]
    texts = [" ".join(ngrams[row] for row in bag) for bag in bags]
    with np.errstate(all="ignore"):
        for seed, width in itertools.product(range(4), (2, 17, 70)):
            rows = odd_rows(row_type, seed, width)
            pooled = {"mean+max": 2 * width, "attentive": width - 1}.get(pooling, width)
            bias = rng.standard_normal(pooled).astype(np.float32)
            layers = [(rng.standard_normal((pooled, 3)).astype(np.float32), np.float32([1, -2, 3e38]))]
            _core.use_kernels(kernels)
            try:
                got = [
                    _core.Model(lookup, padded(rows), None, bias, False, some, pooling).score(texts, 2)
                    for some in ([], layers)
                ]
            finally:
                _core.use_kernels(_core.kernels()[-1])
            for logits, some in zip(got, ([], layers), strict=True):
                expected = [
                    ref.score(ref.pool(bag, rows, None, pooling), bias, [(w.T, b) for w, b in some], False)
                    for bag in bags
                ]
                assert np.isfinite(logits).all()
                assert logits.tobytes() == np.array(expected, np.float32).tobytes()


def odd_classifier(parts, task: str, seed: int) -> Classifier:
    config, tensors = parts(task, "float32", 0, 3)
    rng = np.random.default_rng(seed)
    tensors["rows"] = rng.choice(np.array(SPECIAL, np.float32), tensors["rows"].shape)
    return Classifier(config, tensors)


@pytest.mark.parametrize("task", ["single", "multi"])
def test_predict_decide_and_explain_agree_on_numbers_that_are_none(task, parts):
    for seed in range(20):
        classifier = odd_classifier(parts, task, seed)
        logits, chances = classifier.decision_function(TEXTS), classifier.predict_proba(TEXTS)
        assert np.isfinite(logits).all()
        assert ((chances >= 0) & (chances <= 1)).all()
        assert classifier.decide(logits) == classifier.predict(TEXTS) == [classifier.predict(text) for text in TEXTS]
        if task == "single":
            np.testing.assert_allclose(chances.sum(axis=1), 1)
            assert [classifier.explain(text).label for text in TEXTS] == classifier.predict(TEXTS)
        for text in TEXTS:
            why = classifier.explain(text, top=None)
            assert np.isfinite([why.logit, why.bias, *(number for _, number in why.contributions)]).all()


def test_a_tie_of_what_is_no_number_goes_to_the_first_label(parts):
    config, tensors = parts("single", "float32", 0, 3)
    tensors["rows"], tensors["bias"] = np.full_like(tensors["rows"], np.nan), np.zeros(3, np.float32)
    classifier = Classifier(config, tensors)
    assert classifier.decision_function("film").tolist() == [0, 0, 0]
    assert classifier.predict("film") == classifier.decide(np.full((1, 3), np.nan, np.float32))[0] == "label 0"
    assert classifier.decide(np.array([[-1, np.nan, -np.inf], [np.nan, 2, np.inf]], np.float32)) == [
        "label 1",
        "label 2",
    ]
    np.testing.assert_allclose(classifier.predict_proba("film"), 1 / 3)


def test_layers_that_overflow_have_probabilities(parts):
    config, tensors = parts("single", "int8", 1, 3, relu_first=False)
    for weights in ([3e38, 3e38, 3e38], [3e38, -3e38, 3e38], [-3e38, -3e38, -3e38]):
        tensors["layers.0.weight"] = np.tile(np.float32(weights), (8, 1))
        classifier = Classifier(config, tensors)
        chances = classifier.predict_proba(TEXTS)
        assert np.isfinite(classifier.decision_function(TEXTS)).all()
        np.testing.assert_allclose(chances.sum(axis=1), 1)
        assert [classifier.labels[i] for i in chances.argmax(axis=1)] == classifier.predict(TEXTS)


def test_probabilities_of_logits_that_are_no_numbers():
    most = np.finfo(np.float32).max
    odd = np.array([[np.nan, np.nan], [np.inf, np.inf], [-np.inf, np.nan], [np.inf, -np.inf]], np.float32)
    tame = np.array([[0, 0], [most, most], [-most, 0], [most, -most]], np.float32)
    for task in ("single", "multi"):
        assert probabilities(odd, task).tolist() == probabilities(tame, task).tolist()
        assert np.isfinite(probabilities(odd, task)).all()
    assert probabilities(odd, "single").tolist() == [[0.5, 0.5], [0.5, 0.5], [0, 1], [1, 0]]


def test_attentive_weights_that_sum_to_zero_give_the_bias(parts):
    config, tensors = parts(row_type="float32", depth=0, labels=3)
    config = {**config, "pooling": "attentive", "rows": {**config["rows"], "width": 4}}
    rows = np.random.default_rng(1).standard_normal((len(tensors["rows"]), 4)).astype(np.float32)
    rows[:, 3] = 0
    classifier = Classifier(config, {**tensors, "rows": padded(rows)})
    for text in ("film", "not bad at all", ""):
        assert classifier.decision_function(text).tolist() == tensors["bias"].tolist()
        assert all(number == 0 for _, number in classifier.explain(text).contributions)


def test_float16_has_no_infinity_here(parts):
    config, tensors = parts(row_type="float16", depth=0, labels=3)
    config["pooling"] = "sum"
    tensors["rows"] = np.full(tensors["rows"].shape, 0x7C00, np.uint16).view(np.float16)
    tensors["bias"] = np.zeros(3, np.float32)
    classifier = Classifier(config, tensors)
    assert classifier.decision_function("film").tolist() == [65536.0] * 3
    assert dict(
        Classifier({**config, "task": "multi", "thresholds": [0, 0, 0]}, tensors).explain("film").contributions
    ) == {"film": 65536.0}


def test_json_numbers_past_all_bounds_are_format_errors(saved):
    text = (saved / "config.json").read_text()
    for number in ("1" + "0" * 5000, "1e999", "-1"):
        (saved / "config.json").write_text(text.replace('"layers": 1', f'"layers": {number}', 1))
        with pytest.raises(FormatError, match=r"config\.json"):
            Classifier.load(saved)
    assert json.loads(text)["layers"] == 1
