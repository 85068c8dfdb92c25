"""Abstention: confidence, known n-grams, and how what is left undecided shows in results and files."""

from __future__ import annotations

import copy
import json

import numpy as np
import pyarrow as pa
import pyarrow.parquet as parquet
import pytest
import reference as ref
from conftest import TEXTS, make_parts
from hypothesis import given
from hypothesis import strategies as st
from test_predict import read, write

from sparsedistill import Classifier, FormatError, Head, SettingsError
from sparsedistill.abstain import Abstention, stored_abstentions, with_abstention
from sparsedistill.coverage import known_shares
from sparsedistill.predict import FILES, predict
from sparsedistill.scorer import Spans

HEADS = {"one": ("single", 3), "many": ("multi", 2), "score": ("regression", 1)}
MORE = [*TEXTS, "", "nothing known here", "a film was good", "good nothing", "not bad at all then"]


def stored(head: int = 0, known: bool = True, threshold: float = 0.4, **arguments) -> Classifier:
    """A classifier with a threshold called "none" in one of its heads."""
    config, tensors = make_parts(**arguments)
    classifier = Classifier(config, tensors)
    return Classifier(
        with_abstention(classifier.config, classifier.heads[head], "none", Abstention(threshold, known)), tensors
    )


# ---- confidence ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("calibrated", [False, True])
def test_confidence_is_the_probability_of_what_is_decided(calibrated):
    classifier = Classifier(*make_parts(heads=HEADS, calibrated=calibrated))
    one, many, score = classifier.heads
    probabilities, predicted = classifier.predict_proba(MORE), classifier.predict(MORE)
    confidence = one.confidence(probabilities["one"])
    assert confidence.tolist() == [
        p[one.labels.index(label)] for p, label in zip(probabilities["one"].tolist(), predicted["one"], strict=True)
    ]
    expected = [
        min(p if label in given else 1 - p for label, p in zip(many.labels, row, strict=True))
        for row, given in zip(probabilities["many"].tolist(), predicted["many"], strict=True)
    ]
    assert many.confidence(probabilities["many"]).tolist() == pytest.approx(expected)
    with pytest.raises(ValueError, match="'score' is a regression and has no probabilities"):
        score.confidence(np.zeros((1, 1)))


def test_confidence_goes_by_the_thresholds_and_what_has_just_enough_is_decided():
    head = Head("", "multi", ("a", "b"), np.array([0.2, 0.8]), None, slice(0, 2))
    assert head.confidence(np.array([[0.3, 0.7], [0.1, 0.9], [0.2, 0.0]])) == pytest.approx([0.3, 0.9, 0.2])
    confidence = np.array([0.5, 0.5 - 1e-9])
    assert Abstention(0.5).doubtful(confidence, None).tolist() == [False, True]
    assert Abstention(0.5, known=True).doubtful(np.array([1.0, 1.0]), confidence).tolist() == [False, True]


@given(st.lists(st.sampled_from([*"abcdef", "good", "not", "bad", "was", "film", ",", "漢"]), max_size=9))
def test_known_shares_are_those_of_the_ngrams(words):
    text = " ".join(words)
    config, tensors = make_parts(characters="unknown")
    every = ref.ngrams(ref.tokenize(text), 3)
    known = {ngram for one in TEXTS for ngram in ref.ngrams(ref.tokenize(one), 3)}
    share = sum(ngram in known for ngram in every) / max(len(every), 1)
    assert known_shares(Classifier(config, tensors), [text, ""]).tolist() == [pytest.approx(share), 0]


@pytest.mark.parametrize("row_type", ["int8", "slots", "float16"])
def test_known_shares_of_every_table_and_kind_of_texts(row_type):
    classifier = Classifier(*make_parts(row_type=row_type, depth=0))
    shares = known_shares(classifier, MORE)
    assert shares[:4].tolist() == [1, 1, 1, 1] and shares[4] == shares[5] == 0 and 0 < shares[7] < 1
    for same in (np.array(MORE, object), pa.array(MORE), tuple(MORE), pa.chunked_array([MORE[:3], MORE[3:]])):
        assert np.array_equal(known_shares(classifier, same, threads=2), shares)
    assert known_shares(classifier, pa.array([None, "good"]), nulls="empty").tolist() == [0, 1]
    with pytest.raises(ValueError, match="null"):
        known_shares(classifier, pa.array([None, "good"]))


def test_known_shares_of_pairs_count_both_texts():
    config, tensors = make_parts(depth=0)
    single = known_shares(Classifier(config, tensors), ["good", "nothing known"])
    tensors["bias"] = np.zeros(4 * 3, np.float32)
    tensors |= {"layers.0.weight": np.zeros((12, 3), np.float32), "layers.0.bias": np.zeros(3, np.float32)}
    pairs = Classifier({**config, "pairs": True, "layers": 1}, tensors)
    assert single.tolist() == [1, 0]  # one n-gram, and three
    assert known_shares(pairs, [("good", "nothing known"), ("good", "good")]).tolist() == [0.25, 1]


def test_hashed_rows_have_no_known_shares():
    config, tensors = make_parts(depth=0)
    del tensors["slots"]
    hashed = Classifier({**config, "rows": {**config["rows"], "hashed": True}}, tensors)
    with pytest.raises(SettingsError, match="hashed rows, where any n-gram has one"):
        known_shares(hashed, ["good"])


# ---- predictions -----------------------------------------------------------------------------------------------------


@given(st.lists(st.sampled_from(MORE), max_size=8), st.floats(-0.1, 1.1), st.sampled_from(["one", "many", None]))
def test_predictions_below_are_none_and_others_stay(texts, least, head):
    classifier = CLASSIFIER
    answers, without = classifier.predict(texts, head=head, min_confidence=least), classifier.predict(texts, head=head)
    answers, without = ({head: one} if head else one for one in (answers, without))
    for name, predicted in answers.items():
        plain = without[name]
        if name != "score":
            (own,) = (one for one in classifier.heads if one.name == name)
            sure = own.confidence(classifier.predict_proba(texts, head=name)) >= least
            plain = [one if yes else None for one, yes in zip(plain, sure.tolist(), strict=True)]
        assert predicted == plain


CLASSIFIER = Classifier(*make_parts(heads=HEADS, calibrated=True))


def test_predictions_of_one_text():
    classifier = Classifier(*make_parts())
    assert classifier.predict("a film", min_confidence=0) == classifier.predict("a film")
    assert classifier.predict("a film", min_confidence=1.01) is None
    assert classifier.predict(iter(["a film", "good"]), min_confidence=0) == classifier.predict(["a film", "good"])
    assert classifier.predict([], min_confidence=0.5) == []


def test_stored_threshold_goes_by_known_ngrams():
    classifier = stored(known=True)
    confidence = classifier.heads[0].confidence(classifier.predict_proba(MORE)) * known_shares(classifier, MORE)
    expected = [
        label if sure else None for label, sure in zip(classifier.predict(MORE), confidence >= 0.4, strict=True)
    ]
    assert classifier.predict(MORE, min_confidence="none") == expected
    assert expected[5] is None and any(expected)
    assert classifier.predict(iter(MORE), min_confidence="none") == expected
    assert stored_abstentions(classifier) == [(classifier.heads[0], ("none", Abstention(0.4, True)))]


def test_stored_threshold_of_one_head_is_of_that_alone():
    classifier = stored(1, known=False, threshold=2.0, heads=HEADS)
    with_it, without = classifier.predict(MORE, min_confidence="none"), classifier.predict(MORE)
    assert with_it == {**without, "many": [None] * len(MORE)}
    with pytest.raises(SettingsError, match="no threshold 'none' of confidence: it has none; sparsedistill cascade"):
        classifier.predict(MORE, head="one", min_confidence="none")


def test_storing_replaces_what_has_the_name_and_changes_nothing_else():
    config, tensors = make_parts()
    classifier = Classifier(config, tensors)
    once = with_abstention(config, classifier.heads[0], "a", Abstention(0.3))
    assert once["format_version"] == config["format_version"] and "abstentions" not in config
    twice = with_abstention(once, classifier.heads[0], "b", Abstention(0.5))
    last = with_abstention(twice, classifier.heads[0], "a", Abstention(0.7, True))
    assert last["abstentions"] == [
        {"name": "b", "threshold": 0.5, "known": False}, {"name": "a", "threshold": 0.7, "known": True}
    ]  # fmt: skip
    assert np.array_equal(Classifier(last, tensors).decision_function(TEXTS), classifier.decision_function(TEXTS))


@pytest.mark.parametrize(
    "wrong", [{}, {"name": "none"}, {"name": "none", "threshold": "x", "known": True}, 7,
              {"name": "none", "threshold": float("inf"), "known": True}, {"name": "none", "threshold": 0.5}]
)  # fmt: skip
def test_damaged_thresholds_are_refused(wrong):
    config, tensors = make_parts()
    with pytest.raises(FormatError, match=r"abstentions has .* no threshold with a name"):
        Classifier({**config, "abstentions": [wrong]}, tensors).predict(TEXTS, min_confidence="none")


@pytest.mark.parametrize("least", [True, None, float("nan"), [0.5], "cascade"])
def test_wrong_min_confidence(least):
    classifier = Classifier(*make_parts())
    if least is None:
        assert None not in classifier.predict(TEXTS, min_confidence=least)
        return
    with pytest.raises(SettingsError, match=r"min_confidence is|no threshold 'cascade'"):
        classifier.predict(TEXTS, min_confidence=least)


def test_regressions_have_no_confidence():
    regression = Classifier(*make_parts(task="regression", labels=1))
    with pytest.raises(SettingsError, match="a regression has no confidence"):
        regression.predict(TEXTS, min_confidence=0.5)


@pytest.mark.parametrize("pool", [None, "mean", "max", "share:0.5"])
def test_parts_abstain_each_or_pooled(pool):
    classifier = Classifier(*make_parts())
    texts = [f"{a}. {b}." for a in TEXTS for b in TEXTS]
    plain = classifier.predict(texts, parts="sentence", pool=pool)
    sure = classifier.predict(texts, parts="sentence", pool=pool, min_confidence=0.6)
    if pool is None:
        flat = [one for parts in sure for one in parts]
        of = [(text[p.start : p.end], p.prediction) for text, parts in zip(texts, sure, strict=True) for p in parts]
        assert [prediction for _, prediction in of] == classifier.predict([text for text, _ in of], min_confidence=0.6)
        assert [(p.start, p.end) for parts in plain for p in parts] == [(p.start, p.end) for p in flat]
        found = [p.prediction for p in flat]
    else:
        assert all(one in (None, other) for one, other in zip(sure, plain, strict=True))
        found = sure
    assert None in found and any(found)
    with pytest.raises(SettingsError, match="goes by the n-grams of whole texts: leave out parts"):
        stored().predict(texts, parts="sentence", min_confidence="none")
    with pytest.raises(SettingsError, match="leave out max_bytes"):
        stored().predict(texts, max_bytes=8, min_confidence="none")


# ---- files -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("suffix", FILES)
@pytest.mark.parametrize("none", [None, "none of these"])
def test_files_say_what_is_abstained(tmp_path, suffix, none):
    classifier = Classifier(*make_parts(heads=HEADS, seed=2))
    source, output = tmp_path / "in.jsonl", tmp_path / f"out{suffix}"
    write(source, [{"text": text} for text in MORE])
    predict(classifier, [str(source)], str(output), min_confidence=0.7, none=none, proba=True, top_k=2)
    rows, expected = read(output), classifier.predict(MORE, min_confidence=0.7)
    in_text = suffix in (".csv", ".tsv")
    assert list(rows[0])[:3] == ["text", "one.predicted", "one.probability"]
    assert "score.abstained" not in rows[0] and "one.top_labels" in rows[0] and "one.confidence" not in rows[0]
    seen = set()
    for i, row in enumerate(rows):
        for name in ("one", "many"):
            wanted, shown = expected[name][i], row[f"{name}.predicted"]
            abstained = row[f"{name}.abstained"]
            seen.add((name, abstained))
            assert abstained == (str(wanted is None).lower() if in_text else wanted is None)
            if wanted is None and name == "one" and none:
                assert shown == none
            elif in_text:
                assert shown == ("" if wanted is None else wanted if name == "one" else ",".join(wanted))
            else:
                assert shown == wanted
        sure = float(row["many.confidence"]) >= 0.7
        assert sure == (expected["many"][i] is not None)
    assert len(seen) == 4


def test_files_of_a_stored_threshold_have_the_known_share(tmp_path):
    classifier = stored()
    source = tmp_path / "in.jsonl"
    write(source, [{"text": text} for text in MORE])
    predict(classifier, [str(source)], str(tmp_path / "out.parquet"), min_confidence="none", none="other")
    table = parquet.read_table(tmp_path / "out.parquet")
    assert table.column("known").to_pylist() == known_shares(classifier, MORE).tolist()
    assert table.schema.field("abstained").type == pa.bool_()
    wanted = [one or "other" for one in classifier.predict(MORE, min_confidence="none")]
    assert table.column("predicted").to_pylist() == wanted and "other" in wanted


@pytest.mark.parametrize("suffix", [".parquet", ".jsonl", ".csv"])
@pytest.mark.parametrize("pool", ["", "max"])
def test_files_of_parts(tmp_path, suffix, pool):
    classifier = Classifier(*make_parts())
    texts = [f"{a}. {b}." for a in TEXTS for b in TEXTS]
    source, output = tmp_path / "in.jsonl", tmp_path / f"out{suffix}"
    write(source, [{"text": text} for text in texts])
    predict(classifier, [str(source)], str(output), min_confidence=0.6, spans=Spans("sentence", pool))
    rows = read(output)
    expected = classifier.predict(texts, parts="sentence", pool=pool or None, min_confidence=0.6)
    if not pool:
        expected = [part.prediction for parts in expected for part in parts]
        rows = rows if suffix == ".csv" else [part for row in rows for part in row["parts"]]
    assert [row["predicted"] or None for row in rows] == expected and None in expected
    assert [row["abstained"] in (True, "true") for row in rows] == [one is None for one in expected]


def test_lines(tmp_path, capfdbinary):
    classifier = Classifier(*make_parts())
    source = tmp_path / "in.jsonl"
    write(source, [{"text": text} for text in MORE])
    predict(classifier, [str(source)], min_confidence=0.6)
    lines = capfdbinary.readouterr().out.decode().splitlines()
    for line, label in zip(lines, classifier.predict(MORE, min_confidence=0.6), strict=True):
        shown, probability, abstained = line.split("\t")
        assert shown == (label or "") and (float(probability) < 0.6) == (abstained == "true") == (label is None)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"none": "x"}, "--none is of texts below --min-confidence: give that, too"),
        ({"min_confidence": 0.5, "none": "label 1"}, "--none label 1 is a label of the classifier: give another name"),
        ({"min_confidence": 0.5, "none": "a\tb"}, "--none 'a.tb' has a sign that parts the results in lines"),
        ({"min_confidence": 0.5, "format": "dolma"}, "--min-confidence is not of --format dolma"),
        ({"min_confidence": "x"}, "no threshold 'x' of confidence: it has none"),
        ({"min_confidence": "none", "spans": Spans(max_bytes="80")}, "leave out --max-bytes"),
        ({"min_confidence": "none", "spans": Spans("sentence")}, "leave out parts"),
    ],
)
def test_options_that_cannot_be(tmp_path, options, message):
    source = tmp_path / "in.jsonl"
    write(source, [{"text": text, "id": str(i)} for i, text in enumerate(MORE)])
    with pytest.raises(SettingsError, match=message):
        predict(
            stored() if options.get("min_confidence") == "none" else Classifier(*make_parts()), [str(source)], **options
        )


def test_none_is_of_heads_with_one_label(tmp_path):
    source = tmp_path / "in.jsonl"
    write(source, [{"text": text} for text in MORE])
    with pytest.raises(SettingsError, match="--none is of heads with one label a text, of which none abstains"):
        predict(Classifier(*make_parts(task="multi")), [str(source)], min_confidence=0.5, none="x")


def test_saved_and_loaded(tmp_path):
    classifier = stored()
    classifier.save(tmp_path / "model")
    config = json.loads((tmp_path / "model" / "config.json").read_text())
    assert config["abstentions"] == [{"name": "none", "threshold": 0.4, "known": True}]
    loaded = Classifier.load(tmp_path / "model")
    assert loaded.predict(MORE, min_confidence="none") == classifier.predict(MORE, min_confidence="none")
    assert copy.deepcopy(loaded.config) == config
