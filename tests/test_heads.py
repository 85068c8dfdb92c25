"""Classifiers of several heads, and calibrations: against classifiers of one, and arithmetic of the test's own."""

from __future__ import annotations

import copy
import json
import math
import pickle
import threading

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import reference as ref
from conftest import TEXTS as KNOWN
from conftest import make_parts, padded
from hypothesis import given, settings
from hypothesis import strategies as st
from test_core_cpp import with_pooling

from sparsedistill import Classifier, SettingsError, _core, cli
from sparsedistill.heads import interpolated
from sparsedistill.pooling import POOLINGS
from sparsedistill.predict import predict
from sparsedistill.student.vocabulary import Vocabulary

TEXTS = ["not bad at all", "", "The film was good good good", "nothing-known-here zzz", "映画 film 😀 schlecht", "bad"]
HEADS = {
    "topic": ("single", 3),
    "flags": ("multi", 3),
    "score": ("regression", 1),
    "more": ("multi", 2),
    "é": ("single", 2),
}
SHAPES = [
    {"row_type": row_type, "depth": depth, "calibrated": calibrated}
    for row_type, depth in (("int8", 1), ("int16", 0), ("float32", 2), ("float16", 0))
    for calibrated in (False, True)
]
shapes = pytest.mark.parametrize("shape", SHAPES, ids=lambda shape: "-".join(map(str, shape.values())))


def alone(config: dict, tensors: dict, number: int) -> Classifier:
    """The classifier that has this head of another, and no other: its columns of the last layer or of the rows."""
    config, tensors = copy.deepcopy(config), dict(tensors)
    heads = config.pop("heads")
    first = sum(len(head["labels"]) for head in heads[:number])
    columns = slice(first, first + len(heads[number]["labels"]))
    config |= {name: value for name, value in heads[number].items() if name != "name"}
    if config["layers"]:
        last = f"layers.{config['layers'] - 1}."
        tensors |= {
            last + "weight": tensors[last + "weight"][:, columns].copy(),
            last + "bias": tensors[last + "bias"][columns],
        }
    else:
        stride = 16 // tensors["rows"].itemsize
        rows = np.zeros((len(tensors["rows"]), stride), tensors["rows"].dtype)
        rows[:, : columns.stop - first] = tensors["rows"][:, columns]
        config["rows"]["width"] = columns.stop - first
        tensors |= {"rows": rows, "bias": tensors["bias"][columns]}
        tensors |= {"scale": tensors["scale"][columns]} if "scale" in tensors else {}
    return Classifier(config, tensors)


@pytest.fixture(params=SHAPES, ids=lambda shape: "-".join(map(str, shape.values())))
def several(request) -> tuple[Classifier, dict[str, Classifier]]:
    """A classifier of HEADS, and one of each head."""
    config, tensors = make_parts(heads=HEADS, **request.param)
    return Classifier(config, tensors), {name: alone(config, tensors, i) for i, name in enumerate(HEADS)}


def same(a, b) -> bool:
    return a.dtype == b.dtype and a.shape == b.shape and a.tobytes() == b.tobytes()


def alike(a, b) -> None:
    """Explanations, whose sums numpy may round in another order."""
    assert (a.label, dict(a.contributions)) == (b.label, pytest.approx(dict(b.contributions), rel=1e-9, abs=1e-12))
    assert (a.logit, a.bias) == pytest.approx((b.logit, b.bias), rel=1e-9, abs=1e-12)


def test_each_head_is_as_a_classifier_of_its_own(several):
    whole, ones = several
    logits, shares, decided = (f(TEXTS) for f in (whole.decision_function, whole.predict_proba, whole.predict))
    assert list(logits) == list(decided) == list(HEADS)
    assert list(shares) == [name for name, (task, _) in HEADS.items() if task != "regression"]
    for name, one in ones.items():
        assert same(logits[name], one.decision_function(TEXTS))
        assert same(whole.decision_function(TEXTS, head=name), logits[name])
        assert decided[name] == one.predict(TEXTS) == whole.predict(TEXTS, head=name)
        if name in shares:
            assert same(shares[name], one.predict_proba(TEXTS))
            assert same(whole.predict_proba(TEXTS, head=name), shares[name])
        for label in (None, *one.labels):
            alike(whole.explain(TEXTS[0], label, head=name), one.explain(TEXTS[0], label))
    assert len({logits[name].tobytes() for name in HEADS}) == len(HEADS)
    assert whole.decide(logits) == decided
    assert whole.decide({"more": logits["more"]}) == {"more": decided["more"]}


def test_one_text_no_text_and_any_number_of_threads(several):
    whole, _ = several
    logits, shares, decided = (f(TEXTS) for f in (whole.decision_function, whole.predict_proba, whole.predict))
    for i, text in enumerate(TEXTS):
        assert whole.predict(text) == {name: values[i] for name, values in decided.items()}
        assert all(same(one, logits[name][i]) for name, one in whole.decision_function(text).items())
        assert all(same(one, shares[name][i]) for name, one in whole.predict_proba(text).items())
    assert type(whole.predict(TEXTS[0])["topic"]) is str and type(whole.predict(TEXTS[0])["score"]) is float
    assert whole.predict([]) == {name: [] for name in HEADS}
    assert {name: one.shape for name, one in whole.predict_proba([]).items()} == {
        name: (0, labels) for name, (task, labels) in HEADS.items() if task != "regression"
    }
    assert whole.predict(pa.array(TEXTS * 50), threads=3) == {name: values * 50 for name, values in decided.items()}
    assert whole.predict([None], nulls="empty") == {name: [one] for name, one in whole.predict("").items()}


def test_threads_share_a_classifier(several):
    whole, _ = several
    expected, wrong = whole.predict(TEXTS), []

    def work():
        wrong.extend(1 for _ in range(30) if whole.predict(TEXTS) != expected)

    workers = [threading.Thread(target=work) for _ in range(4)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert not wrong


def test_files_and_pickles(several, tmp_path):
    whole, _ = several
    whole.save(tmp_path / "a")
    loaded = Classifier.load(tmp_path / "a")
    assert loaded.config == whole.config and loaded.config["format_version"] == 6
    for other in (loaded, pickle.loads(pickle.dumps(whole)), pickle.loads(pickle.dumps(loaded))):
        assert other.predict(TEXTS) == whole.predict(TEXTS)
        assert all(same(a, b) for a, b in zip(other.predict_proba(TEXTS).values(), whole.predict_proba(TEXTS).values()))


def test_the_heads_are_described(several):
    whole, ones = several
    first = 0
    for head, (name, (task, labels)) in zip(whole.heads, HEADS.items(), strict=True):
        assert (head.name, head.task, head.labels) == (name, task, ones[name].labels)
        assert head.outputs == slice(first, first + labels)
        assert (head.thresholds is None) == (task != "multi")
        first += labels
    assert "topic: single, labels label 0, label 1, label 2; flags: multi" in repr(whole)
    for what in ("task", "labels"):
        with pytest.raises(AttributeError, match=rf"each head .* \(topic, flags, .* its own {what}: see Classifier"):
            getattr(whole, what)


def test_a_classifier_of_one_head_has_one_without_a_name(classifier):
    (head,) = classifier.heads
    assert (head.name, head.task, head.labels) == ("", classifier.task, classifier.labels)
    assert (head.outputs, head.thresholds, head.calibration) == (slice(0, 3), None, None)
    for name in ("", "x"):
        with pytest.raises(ValueError, match=f"no head '{name}': its only one has no name"):
            classifier.predict(TEXTS, head=name)


def test_one_named_head_gives_dicts():
    config, tensors = make_parts(heads={"only": ("single", 3)})
    named = Classifier(config, tensors)
    assert named.predict(TEXTS) == {"only": alone(config, tensors, 0).predict(TEXTS)}
    alike(named.explain("film"), alone(config, tensors, 0).explain("film"))


def test_heads_that_are_not_there_or_cannot_answer(several):
    whole, _ = several
    for ask in (
        whole.predict,
        whole.predict_proba,
        whole.decision_function,
        lambda t, head: whole.explain(t[0], head=head),
    ):
        for name in ("x", ""):
            with pytest.raises(ValueError, match=f"no head '{name}': topic, flags, score, more, é"):
                ask(TEXTS, head=name)
    with pytest.raises(ValueError, match="head 'score' is a regression and has no probabilities"):
        whole.predict_proba(TEXTS, head="score")
    with pytest.raises(ValueError, match=r"several heads, of which one is explained: name it \(topic, flags"):
        whole.explain("film")
    with pytest.raises(ValueError, match="no label 'x': label 0, label 1, label 2"):
        whole.explain("film", "x", head="topic")
    with pytest.raises(ValueError, match="no head 'x'"):
        whole.decide({"x": np.zeros((1, 3), np.float32)})
    scores = Classifier(*make_parts(heads={"a": ("regression", 1), "b": ("regression", 1)}))
    with pytest.raises(ValueError, match="no probabilities"):
        scores.predict_proba(TEXTS)


def test_pairs_have_heads_too():
    config, tensors = make_parts("single", "float32", 1, heads=HEADS)
    rng = np.random.default_rng(0)
    config["pairs"] = True
    tensors |= {"bias": rng.standard_normal(32).astype(np.float32)}
    tensors |= {"layers.0.weight": rng.standard_normal((32, 11)).astype(np.float32)}
    whole = Classifier(config, tensors)
    pairs = list(zip(TEXTS[::2], TEXTS[1::2], strict=True))
    decided = whole.predict(pairs)
    for i, name in enumerate(HEADS):
        one = alone(config, tensors, i)
        assert decided[name] == one.predict(pairs)
        assert whole.predict(pairs[0])[name] == one.predict(pairs[0])
        alike(whole.explain(pairs[0], head=name), one.explain(pairs[0]))


# Calibration


def slowly(logits: np.ndarray, task: str, calibration: dict) -> np.ndarray:
    """Calibrated probabilities of logits (n, C), or scores (n, 1), by the definitions, a number at a time."""
    result = np.zeros(logits.shape)
    for i, row in enumerate(logits.tolist()):
        for c, z in enumerate(row):
            if calibration["kind"] == "isotonic":
                multi = task == "multi"
                x, y = (calibration[name][c] if multi else calibration[name] for name in "xy")
                k = sum(1 for one in x if one <= z)
                if k == 0 or k == len(x):
                    result[i, c] = y[min(k, len(x) - 1)]
                else:
                    result[i, c] = y[k - 1] + (z - x[k - 1]) / (x[k] - x[k - 1]) * (y[k] - y[k - 1])
            elif calibration["kind"] == "platt":
                result[i, c] = 1 / (1 + math.exp(-z * calibration["slope"][c] - calibration["intercept"][c]))
            else:
                share = calibration.get("share", 0)
                for name, weight in (("temperature", 1 - share), ("second", share)):
                    powers = [math.exp(other / calibration.get(name, 1)) for other in row]
                    result[i, c] += weight * powers[c] / sum(powers)
    return result


@settings(max_examples=200)
@given(
    st.integers(0, 1 << 30),
    st.sampled_from([("single", 3), ("single", 2), ("multi", 3), ("multi", 2), ("regression", 1)]),
)
def test_calibrations(seed, kind):
    task, labels = kind
    config, tensors = make_parts(task, "float32", 0, labels, seed=seed, calibrated=True)
    given = config["calibration"]
    classifier = Classifier(config, tensors)
    plain = Classifier({name: value for name, value in config.items() if name != "calibration"}, tensors)
    logits = classifier.decision_function(TEXTS)
    assert same(logits, plain.decision_function(TEXTS))  # which no calibration changes
    expected = slowly(logits, task, given)
    if task == "regression":
        np.testing.assert_allclose(classifier.predict(TEXTS), expected[:, 0], rtol=1e-12)
        return
    got = classifier.predict_proba(TEXTS)
    assert got.dtype == np.float64
    np.testing.assert_allclose(got, expected, rtol=1e-5)
    if task == "single":
        assert classifier.predict(TEXTS) == plain.predict(TEXTS) == classifier.decide(logits)
    else:
        chosen = [
            [label for label, p, t in zip(classifier.labels, row, config["thresholds"], strict=True) if p >= t]
            for row in got
        ]
        assert classifier.predict(TEXTS) == classifier.decide(logits) == chosen
        likeliest = classifier.labels[int(got[0].argmax())]
        assert classifier.explain(TEXTS[0]).label == likeliest


@settings(max_examples=200)
@given(st.integers(0, 1 << 30))
def test_maps_of_scores_rise_and_meet_their_points(seed):
    rng = np.random.default_rng(seed)
    x, y = np.unique(rng.standard_normal(rng.integers(1, 9)) * 10.0 ** rng.integers(-3, 9)), None
    y = np.sort(rng.standard_normal(len(x)) * 10.0 ** rng.integers(-3, 9))
    assert interpolated(x, x, y).tolist() == y.tolist()
    values = np.sort(
        np.concatenate([rng.uniform(x[0] - 1, x[-1] + 1, 200), x, np.nextafter(x, -np.inf), np.nextafter(x, np.inf)])
    )
    got = interpolated(values, x, y)
    assert (np.diff(got) >= 0).all()
    assert got.min() == y[0] and got.max() == y[-1]
    np.testing.assert_allclose(got, np.interp(values, x, y), rtol=1e-9, atol=1e-9 * np.abs(y).max())


def test_logits_beyond_all_numbers():
    logits = np.array([[3e38, -3e38, 0], [np.inf, -np.inf, np.nan]], np.float32)
    for task, calibration in (
        ("single", {"kind": "temperature", "temperature": 1e-38}),
        ("single", {"kind": "temperature", "temperature": 3e38}),
        ("single", {"kind": "temperatures", "temperature": 1e-38, "second": 3e38, "share": 0.5}),
        ("multi", {"kind": "platt", "slope": [3e38] * 3, "intercept": [-3e38] * 3}),
        ("multi", {"kind": "isotonic", "x": [[-3.4e38, 3.4e38]] * 3, "y": [[0, 1]] * 3}),
    ):
        (head,) = Classifier(*changed(task, calibration)).heads
        with np.errstate(all="raise"):
            got = head.probabilities(logits)
        assert np.isfinite(got).all() and (got >= 0).all() and (got <= 1).all()
        assert (got[:, 0] >= got[:, 2]).all() and (got[:, 2] >= got[:, 1]).all()
    classifier = Classifier(*make_parts("single", "float32", 0, 3))
    assert classifier.decide(np.array([[np.nan, -1, 1], [np.nan, -1, -2]], np.float32)) == ["label 2", "label 0"]


def changed(task: str, calibration: dict, labels: int = 3) -> tuple[dict, dict]:
    config, tensors = make_parts(task, "float32", 0, labels, calibrated=True)
    return {**config, "calibration": calibration}, tensors


def test_a_temperature_too_large_changes_no_decision():
    config, tensors = changed("single", {"kind": "temperature", "temperature": 1e38})
    tensors["bias"] = np.array([1e-20, 3e-20, 2e-20], np.float32)
    tensors["rows"] = np.zeros_like(tensors["rows"])
    classifier = Classifier(config, tensors)
    assert np.ptp(classifier.predict_proba("film")) == 0
    assert classifier.predict("film") == "label 1"
    assert classifier.heads[0].ranked(classifier.decision_function(["film"])).tolist() == [[1, 2, 0]]


def test_no_label_is_likelier_by_another_labels_map():
    # The raw logit of the first is larger, its calibrated probability is not.
    config, tensors = changed("multi", {"kind": "platt", "slope": [1, 1, 1], "intercept": [-9, 0, 0]})
    tensors["rows"] = np.zeros_like(tensors["rows"])
    tensors["bias"] = np.array([3, 2, 1], np.float32)
    classifier = Classifier(config, tensors)
    assert classifier.explain("film").label == "label 1"
    assert classifier.heads[0].ranked(classifier.decision_function(["film"])).tolist() == [[1, 2, 0]]


# Files and the command line


def test_files_have_columns_of_each_head(several, tmp_path, capsysbinary):
    whole, ones = several
    pq.write_table(pa.table({"text": TEXTS, "id": range(len(TEXTS))}), tmp_path / "in.parquet")
    predict(whole, [str(tmp_path / "in.parquet")], str(tmp_path / "out.parquet"), proba=True, top_k=2, prefix="x-")
    got = pq.read_table(tmp_path / "out.parquet")
    names = ["text", "id"]
    for name, one in ones.items():
        more = {} if one.task == "regression" else {"proba": True, "top_k": 2}
        predict(one, [str(tmp_path / "in.parquet")], str(tmp_path / "one.parquet"), keep=[], **more)
        alone = pq.read_table(tmp_path / "one.parquet")
        for column in alone.column_names:
            names.append(f"x-{name}.{column}")
            assert got[names[-1]].type == alone[column].type
            assert got[names[-1]].to_pylist() == alone[column].to_pylist()
    assert got.column_names == names
    (tmp_path / "in.txt").write_text("\n".join(TEXTS[:1] + TEXTS[2:]) + "\n")
    predict(whole, [str(tmp_path / "in.txt")])
    lines = capsysbinary.readouterr().out.decode().splitlines()
    decided, shares = whole.predict(TEXTS[0]), whole.predict_proba(TEXTS[0])
    assert lines[0].split("\t") == [
        decided["topic"], f"{shares['topic'].max():.6g}", ",".join(decided["flags"]), f"{decided['score']:.6g}",
        ",".join(decided["more"]), decided["é"], f"{shares['é'].max():.6g}",
    ]  # fmt: skip
    predict(whole, [str(tmp_path / "in.txt")], str(tmp_path / "out.jsonl"))
    record = json.loads((tmp_path / "out.jsonl").read_text().splitlines()[0])
    assert (record["topic.predicted"], record["flags.predicted"]) == (decided["topic"], decided["flags"])


def test_files_follow_the_calibration(tmp_path):
    classifier = Classifier(*make_parts("multi", "int8", 1, 3, calibrated=True))
    (tmp_path / "in.txt").write_text("\n".join(TEXTS[2:]) + "\n")
    predict(classifier, [str(tmp_path / "in.txt")], str(tmp_path / "out.jsonl"), proba=True, top_k=3)
    shares = classifier.predict_proba(TEXTS[2:])
    for line, row in zip((tmp_path / "out.jsonl").read_text().splitlines(), shares.tolist(), strict=True):
        record = json.loads(line)
        assert [record[f"p(label {i})"] for i in range(3)] == [float(f"{p:.6g}") for p in row]
        assert record["top_labels"] == [f"label {i}" for i in np.argsort([-p for p in row], kind="stable")]


def test_options_of_labels_need_a_head_that_has_some(tmp_path):
    scores = Classifier(*make_parts(heads={"a": ("regression", 1), "b": ("regression", 1)}))
    (tmp_path / "in.txt").write_text("film\n")
    with pytest.raises(SettingsError, match="no labels: leave out --proba"):
        predict(scores, [str(tmp_path / "in.txt")], proba=True)
    config, tensors = make_parts(heads=HEADS)
    config["heads"][1]["labels"][0] = "a,b"
    with pytest.raises(SettingsError, match="label 'a,b' has a ','"):
        predict(Classifier(config, tensors), [str(tmp_path / "in.txt")])


def run(*arguments: str) -> int:
    return cli.main(list(arguments))


def test_inspect_shows_the_heads(several, tmp_path, capsys):
    whole, _ = several
    config = whole.config
    config["heads"][0]["metrics"] = {"dev": {"accuracy": 0.75}}
    Classifier(config, whole._tensors).save(tmp_path / "c")
    assert run("inspect", str(tmp_path / "c")) == 0
    out = capsys.readouterr().out
    assert "answers     topic: one of label 0, label 1, label 2\n" in out
    assert "answers     score: a score\n" in out
    assert "on dev      topic: accuracy 75.0" in out
    assert ("calibration more: isotonic" in out) == ("calibration" in config["heads"][0])
    assert run("inspect", str(tmp_path / "c"), "--text", TEXTS[0]) == 0
    every = capsys.readouterr().out
    assert run("inspect", str(tmp_path / "c"), "--text", TEXTS[0], "--head", "flags", "--label", "label 2") == 0
    one = capsys.readouterr().out
    for head in whole.heads:
        assert (f"  -> {head.name}: " in every, f"  -> {head.name}: " in one) == (True, head.name == "flags")
    share = whole.predict_proba(TEXTS[0])["flags"][2]
    assert f"{share:.0%}" in one and "the logit of label 2" in one
    for options, message in (
        (("--head", "x"), "--head x: the classifier has no such head: topic, flags, score, more, é"),
        (("--label", "label 2"), "--label is of one head: add --head (topic, flags"),
        (("--head", "topic", "--label", "x"), "no label 'x': label 0, label 1, label 2"),
    ):
        assert run("inspect", str(tmp_path / "c"), "--text", "film", *options) == 2
        assert message in capsys.readouterr().err


# Merging


TASKS = {"topic": ("single", 3), "flags": ("multi", 5), "score": ("regression", 1)}
OTHERS = ["The plot was thin, the film long", "not the film", "schlecht und gut", "a plot a plot 😀"]


def parts_of(name: str, *, texts: list[str] | None = None, pooling: str = "mean", width: int = 8, pairs: bool = False,
             **shape) -> tuple[dict, dict]:  # fmt: skip
    """Config and arrays of a classifier of one of TASKS, with the n-grams of ``texts`` where those are given."""
    task, labels = TASKS[name]
    config, tensors = make_parts(task, labels=labels, seed=len(name), calibrated=name != "topic", **shape)
    if texts is None and pooling == "mean" and not pairs and width == 8:
        return config, tensors
    rng = np.random.default_rng(len(name))
    vocabulary = vocabulary_of(texts or KNOWN, shape)
    depth, pooled = config["layers"], width if config["layers"] else labels
    rows = rng.standard_normal((len(vocabulary), pooled)) * 3
    if "scale" in tensors:
        rows = rng.integers(-90, 90, (len(vocabulary), pooled))
        tensors["scale"] = rng.uniform(0.01, 0.02, pooled).astype(np.float32)
    tensors |= {"rows": padded(rows.astype(tensors["rows"].dtype)), "slots": vocabulary.slots}
    combined = POOLINGS[pooling].pooled(pooled) * (4 if pairs else 1)
    tensors["bias"] = rng.standard_normal(combined).astype(np.float32)
    if depth:
        out = tensors["layers.0.weight"].shape[1]
        tensors["layers.0.weight"] = rng.standard_normal((combined, out)).astype(np.float32)
    config["text"] |= {**vocabulary.rules.config(), "seed": vocabulary.seed}
    config["rows"] |= {"count": len(vocabulary), "width": pooled}
    return config | {"pooling": pooling, "pairs": pairs}, tensors


def vocabulary_of(texts: list[str], rules: dict | None = None) -> Vocabulary:
    rules = {name: value for name, value in (rules or {}).items() if name in ("characters", "tokenizer", "max_n")}
    return Vocabulary.count([texts], **{"tokenizer": "words", "max_n": 3, **rules})


def agrees(whole: Classifier, ones: dict[str, Classifier], texts=(*TEXTS, *OTHERS), exact: bool = True) -> None:
    """Each head gives what its classifier gave."""
    texts = list(texts)
    assert [head.name for head in whole.heads] == list(ones)
    for name, one in ones.items():
        got, expected = whole.decision_function(texts, head=name), one.decision_function(texts)
        if not exact:
            np.testing.assert_allclose(got, expected, rtol=1e-4, atol=1e-4)
            continue
        assert np.array_equal(got, expected)
        assert whole.predict(texts, head=name) == one.predict(texts)
        if one.task != "regression":
            assert np.array_equal(whole.predict_proba(texts, head=name), one.predict_proba(texts))


@pytest.mark.parametrize("depth", [0, 1, 3])
@pytest.mark.parametrize(
    "types",
    [
        "int4",
        "int8",
        "int16",
        "float16",
        "float32",
        ("int8", "int16", "int8"),
        ("int4", "int8", "int4"),
        ("float16", "float32", "float16"),
    ],
)
def test_classifiers_of_one_vocabulary_become_one(types, depth, tmp_path):
    types = [types] * 3 if isinstance(types, str) else types
    ones = {
        name: Classifier(*parts_of(name, row_type=one, depth=depth)) for name, one in zip(TASKS, types, strict=True)
    }
    whole = Classifier.merge(ones)
    agrees(whole, ones)
    assert whole.config["rows"]["type"] == max(types, key=["int4", "int8", "int16", "float16", "float32"].index)
    whole.save(tmp_path / "c")
    agrees(Classifier.load(tmp_path / "c"), ones)
    for name, one in ones.items():
        alike(whole.explain(TEXTS[0], head=name), one.explain(TEXTS[0]))
    more = Classifier(*parts_of("topic", row_type=types[0], depth=depth))
    again = Classifier.merge({"any": whole, "more": more})  # heads that have names keep them
    agrees(again, {**ones, "more": more})


@pytest.mark.parametrize("pooling", ["sum", "sqrtn", "max", "mean+max"])
@pytest.mark.parametrize("pairs", [False, True])
@pytest.mark.parametrize("widths", [(8, 8, 8), (37, 5, 21), (20, 4), (8, 9)], ids=str)
def test_other_poolings_and_pairs(widths, pairs, pooling):
    shape = {"pooling": pooling, "pairs": pairs, "depth": 2, "row_type": "float32"}
    ones = {name: Classifier(*parts_of(name, width=w, **shape)) for name, w in zip(TASKS, widths, strict=False)}
    texts = [(a, b) for a in TEXTS for b in OTHERS] if pairs else TEXTS
    several = pairs or pooling == "mean+max"
    agrees(Classifier.merge(ones), ones, texts, exact=not several or widths != (8, 9))


def test_a_bare_row_of_float16_keeps_its_bits():
    config, tensors = parts_of("topic", row_type="float16", depth=0)
    rows = tensors["rows"].copy()
    rows[:, 0] = np.array(0x7C05, np.uint16).view(np.float16)  # a number here, and none of numpy's
    ones = {"a": Classifier(config, {**tensors, "rows": rows}), "b": Classifier(config, tensors)}
    agrees(Classifier.merge(ones), ones)
    wide = Classifier(*parts_of("topic", row_type="float32", depth=0))
    agrees(Classifier.merge({**ones, "c": wide}), {**ones, "c": wide})


@pytest.mark.parametrize("row_type", ["int16", "slots"])
def test_other_tables_of_the_same_ngrams(row_type):
    ngrams = list(vocabulary_of(KNOWN))
    ones = {name: Classifier(*parts_of(name, row_type=row_type, depth=0)) for name in ("topic", "score")}
    ones["flags"] = Classifier(*parts_of("flags", row_type="int8", depth=0))
    config, tensors = parts_of("topic", row_type="int8", depth=0)
    slots, seed = _core.build_slots(*ref.packed(ngrams), 12345)
    ones["more"] = Classifier({**config, "text": {**config["text"], "seed": seed}}, {**tensors, "slots": slots})
    with pytest.raises(SettingsError, match="no lookup table in common, and none holds n-grams"):
        Classifier.merge(ones)
    agrees(Classifier.merge(ones, ngrams=ngrams), ones)
    agrees(Classifier.merge(ones, ngrams=[*ngrams[::-1], *ngrams, "no such n-gram"]), ones)
    with pytest.raises(SettingsError, match=rf"3 of the {len(ngrams)} n-grams of 'topic' are not among those given"):
        Classifier.merge(ones, ngrams=ngrams[:-3])


@pytest.mark.parametrize("depth", [0, 1])
@pytest.mark.parametrize("row_type", ["int8", "float32"])
def test_the_union_of_vocabularies(row_type, depth, tmp_path):
    def parts(pooling, **more):
        found = (KNOWN, OTHERS, KNOWN[2:] + OTHERS[:2])
        return {
            name: Classifier(*parts_of(name, texts=texts, pooling=pooling, row_type=row_type, depth=depth, **more))
            for name, texts in zip(TASKS, found, strict=True)
        }

    ones = parts("sum")
    ngrams = [*vocabulary_of(KNOWN), *vocabulary_of(OTHERS), *vocabulary_of(KNOWN[2:] + OTHERS[:2])]
    whole = Classifier.merge(ones, ngrams=ngrams)
    agrees(whole, ones)
    assert whole.config["rows"]["count"] == len(set(ngrams)) > max(one.config["rows"]["count"] for one in ones.values())
    vocabulary_of(KNOWN).save(tmp_path / "a")
    vocabulary_of(OTHERS).save(tmp_path / "b")
    two = {name: ones[name] for name in ("topic", "flags")}
    agrees(Classifier.merge(two, ngrams=[tmp_path / "a", tmp_path / "b"]), two)
    with pytest.raises(SettingsError, match="mean pooling of all of them would give other results"):
        Classifier.merge(parts("mean"), ngrams=ngrams)
    unknown = parts("sum", characters="unknown")
    more = [ngram for texts in (KNOWN, OTHERS) for ngram in vocabulary_of(texts, {"characters": "unknown"})]
    with pytest.raises(SettingsError, match="know different words"):
        Classifier.merge({name: unknown[name] for name in two}, ngrams=more)
    every = parts("sum", characters="all")
    agrees(Classifier.merge({name: every[name] for name in two}, ngrams=more), {name: every[name] for name in two})


def test_the_longest_ngrams_of_each_stay_its_own():
    shorter = {name: Classifier(*parts_of(name, texts=KNOWN, pooling="sum", row_type="int8", max_n=n))
               for name, n in (("topic", 1), ("flags", 3))}  # fmt: skip
    ngrams = list(vocabulary_of(KNOWN))
    whole = Classifier.merge(shorter, ngrams=ngrams)
    agrees(whole, shorter)
    assert whole.config["text"]["max_n"] == 3
    # One that knows longer ones and does not look for them.
    config, tensors = parts_of("topic", texts=KNOWN, pooling="sum", row_type="int8")
    ones = {"topic": Classifier({**config, "text": {**config["text"], "max_n": 1}}, tensors), "flags": shorter["flags"]}
    with pytest.raises(SettingsError, match="no lookup table in common"):
        Classifier.merge(ones)
    agrees(Classifier.merge(ones, ngrams=ngrams), ones)


def test_hashed_rows():
    def hashed(name, **text):
        config, tensors = parts_of(name, row_type="int8", depth=1)
        config["rows"]["hashed"] = True
        config["text"] |= {"seed": 7, **text}
        return Classifier(config, {key: array for key, array in tensors.items() if key != "slots"})

    ones = {name: hashed(name) for name in TASKS}
    agrees(Classifier.merge(ones), ones)
    with pytest.raises(SettingsError, match=r"where seed, rows\.count and max_n are the same"):
        Classifier.merge({"a": hashed("topic"), "b": hashed("topic", seed=8)}, ngrams=["film"])


def test_what_cannot_be_merged():
    def one(name="topic", **shape):
        return Classifier(*parts_of(name, **{"row_type": "int8", "depth": 1, **shape}))

    first = one()
    for other, what in (
        (one(pooling="max"), "pooling differ, mean and max"),
        (one(depth=2), "number of dense layers differ, 1 and 2"),
        (one(relu_first=False), "relu_first differ, True and False"),
        (one(row_type="float32"), r"kind of rows \(integers, or floats\) differ, True and False"),
        (one(pairs=True), "pairs differ, False and True"),
        (one(characters="all"), r"text rules \(max_n aside\) differ"),
    ):
        with pytest.raises(SettingsError, match=f"'a' and 'b' cannot be merged: their .*{what}"):
            Classifier.merge({"a": first, "b": other})
    for names, message in (
        (["a.b", "c"], "'a.b' is no name of a head"),
        (["", "c"], "'' is no name"),
        (["\ud800"], "no name"),
    ):
        with pytest.raises(SettingsError, match=message):
            Classifier.merge(dict.fromkeys(names, first))
    with pytest.raises(SettingsError, match="two heads are called 'a'"):
        Classifier.merge({"a": first, "b": Classifier.merge({"a": first})})
    with pytest.raises(SettingsError, match="no classifier to merge"):
        Classifier.merge({})
    with pytest.raises(TypeError, match="a dict of classifiers by name, not list"):
        Classifier.merge([first])
    flat = Classifier(*with_pooling("attentive", False, 0, make_parts("single", "float32", 0, 3)))
    with pytest.raises(SettingsError, match="attentive pooling has one weight a row"):
        Classifier.merge({"a": flat, "b": flat})
    for pooling, pairs, what in (("mean+max", False, r"mean\+max pooling"), ("mean", True, "pairs")):
        wide = Classifier(*with_pooling(pooling, pairs, 0, make_parts("single", "float32", 0, 3)))
        with pytest.raises(SettingsError, match=f"classifiers of {what} without a dense layer cannot be merged"):
            Classifier.merge({"a": wide, "b": wide})


def test_what_is_known_of_a_classifier_goes_with_its_head():
    config, tensors = parts_of("topic")
    figures = {"metrics": {"dev": {"accuracy": 0.5}}, "provenance": {"seed": 1}}
    whole = Classifier.merge({"a": Classifier(config | figures, tensors), "b": Classifier(config, tensors)})
    assert {name: whole.config["heads"][0][name] for name in figures} == figures
    assert "metrics" not in whole.config["heads"][1] and not figures.keys() & whole.config.keys()
