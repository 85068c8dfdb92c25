"""Cascades and selective prediction: only doubtful texts go on; curves and thresholds against plain definitions."""

from __future__ import annotations

import numpy as np
import pytest
from conftest import TEXTS, make_parts
from hypothesis import given
from hypothesis import strategies as st

from sparsedistill import Cascade, Classifier, DataError, SettingsError, selective
from sparsedistill.abstain import Abstention, with_abstention
from sparsedistill.selective import ALL, Outcomes

MORE = [*TEXTS, "", "nothing known here", "a film was good", "good nothing", "not bad at all then"]


class Teacher:
    """Scores by the length of a text; remembers what it was asked."""

    def __init__(self, labels: int = 3):
        self.labels, self.batches = labels, []

    def __call__(self, texts):
        self.batches.append(list(texts))
        return [[float((len(str(text)) + 1) % (i + 2)) for i in range(self.labels)] for text in texts]

    @property
    def asked(self):
        return [text for batch in self.batches for text in batch]


def classifier_of(task: str = "single", **arguments) -> Classifier:
    return Classifier(*make_parts(task, seed=2, **arguments))


# ---- the class -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("task", ["single", "multi"])
@given(st.lists(st.sampled_from(MORE), max_size=12), st.floats(0, 1.1), st.integers(1, 5))
def test_confident_texts_are_the_classifiers_and_others_the_teachers(task, texts, threshold, batch_size):
    classifier, teacher = CLASSIFIERS[task], Teacher()
    cascade = Cascade(classifier, teacher, threshold, batch_size=batch_size)
    predicted, probabilities = cascade.predict(texts), cascade.predict_proba(texts)
    own = classifier.predict(texts, min_confidence=threshold)
    doubtful = [text for text, one in zip(texts, own, strict=True) if one is None]
    assert len(predicted) == len(probabilities) == len(texts)
    assert teacher.asked == [*doubtful, *doubtful] and all(len(batch) <= batch_size for batch in teacher.batches)
    assert (cascade.texts, cascade.sent) == (2 * len(texts), 2 * len(doubtful))
    assert cascade.share == (len(doubtful) / len(texts) if texts else 0)
    shares = classifier.predict_proba(texts)
    for i, (text, one) in enumerate(zip(texts, own, strict=True)):
        if one is not None:
            assert predicted[i] == one and np.array_equal(probabilities[i], shares[i])
            continue
        scores = np.array(Teacher()([text])[0])
        if task == "single":
            assert predicted[i] == classifier.labels[scores.argmax()]
            assert probabilities[i] == pytest.approx(np.exp(scores) / np.exp(scores).sum(), rel=1e-6)
        else:
            assert predicted[i] == [classifier.labels[j] for j in np.flatnonzero(scores >= 0)]
            assert probabilities[i] == pytest.approx(1 / (1 + np.exp(-scores)), rel=1e-6)


CLASSIFIERS = {task: classifier_of(task) for task in ("single", "multi")}


@given(st.lists(st.sampled_from(MORE), max_size=12))
def test_thresholds_at_the_ends(texts):
    classifier, teacher = CLASSIFIERS["single"], Teacher()
    assert Cascade(classifier, teacher, 0).predict(texts) == classifier.predict(texts)
    assert teacher.batches == []
    cascade = Cascade(classifier, teacher, ALL)
    cascade.predict(texts)
    assert teacher.asked == texts and cascade.sent == len(texts)


def test_one_text_and_every_kind_of_column():
    import pandas as pd
    import pyarrow as pa

    cascade = Cascade(CLASSIFIERS["single"], Teacher(), 0.7)
    expected = cascade.predict(MORE)
    assert [cascade.predict(text) for text in MORE] == expected
    assert np.array_equal(np.stack([cascade.predict_proba(text) for text in MORE]), cascade.predict_proba(MORE))
    columns = (np.array(MORE, object), pd.Series(MORE), pa.array(MORE), iter(MORE), [text.encode() for text in MORE])
    for column in columns:
        assert cascade.predict(column) == expected
    assert cascade.predict([None, "good"], nulls="empty") == cascade.predict(["", "good"])
    with pytest.raises((TypeError, ValueError)):
        cascade.predict([None, "good"])


def test_pairs_go_on_as_pairs():
    config, tensors = make_parts(depth=0)
    rng = np.random.default_rng(0)
    tensors["bias"] = np.zeros(4 * 3, np.float32)
    tensors |= {"layers.0.weight": rng.standard_normal((12, 3)).astype(np.float32)}
    tensors["layers.0.bias"] = np.zeros(3, np.float32)
    classifier, teacher = Classifier({**config, "pairs": True, "layers": 1}, tensors), Teacher()
    asked = [("good", "bad"), ("nothing", "known"), ("a film", "good")]
    cascade = Cascade(classifier, teacher, ALL)
    predicted = cascade.predict(asked)
    assert teacher.asked == asked
    assert cascade.predict(asked[0]) == predicted[0]
    assert cascade.predict(np.array(asked, object)) == predicted


def test_a_head_by_its_name_and_a_stored_threshold():
    heads = {"one": ("single", 3), "many": ("multi", 2), "score": ("regression", 1)}
    config, tensors = make_parts(heads=heads, seed=2)
    plain = Classifier(config, tensors)
    classifier = Classifier(with_abstention(config, plain.heads[0], "cascade", Abstention(0.7)), tensors)
    cascade = Cascade(classifier, Teacher(), head="one")
    own = classifier.predict(MORE, head="one", min_confidence=0.7)
    predicted = cascade.predict(MORE)
    assert [a for a, b in zip(predicted, own, strict=True) if b] == [one for one in own if one]
    assert 0 < cascade.sent == own.count(None) < len(MORE)
    with pytest.raises(SettingsError, match=r"a cascade is of one: give head \(one, many, score\)"):
        Cascade(classifier, Teacher())
    with pytest.raises(SettingsError, match="no head 'two'"):
        Cascade(classifier, Teacher(), head="two")
    with pytest.raises(SettingsError, match="a regression has no confidence"):
        Cascade(classifier, Teacher(1), head="score")
    with pytest.raises(SettingsError, match="no threshold 'cascade' of confidence: it has none; sparsedistill cascade"):
        Cascade(classifier, Teacher(2), head="many")


def test_known_ngrams_may_decide_what_goes_on():
    config, tensors = make_parts(seed=2)
    head = CLASSIFIERS["single"].heads[0]
    classifier = Classifier(with_abstention(config, head, "none", Abstention(0.5, known=True)), tensors)
    teacher = Teacher()
    Cascade(classifier, teacher, "none").predict(MORE)
    kept = classifier.predict(MORE, min_confidence="none")
    assert teacher.asked == [text for text, one in zip(MORE, kept, strict=True) if one is None]
    assert "nothing known here" in teacher.asked and len(teacher.asked) < len(MORE)


@pytest.mark.parametrize(
    ("teacher", "message"),
    [
        ("column:scores", "cannot be asked about a text: give a function or a model"),
        ("no_module_here:function", "names no module that can be imported"),
        ("", "cannot be asked about a text"),
    ],
)
def test_teachers_that_cannot_be_asked(teacher, message):
    with pytest.raises(SettingsError, match=message):
        Cascade(CLASSIFIERS["single"], teacher, 0.5)


def test_what_the_teacher_gives_is_checked():
    with pytest.raises(DataError, match=r"it should return a row a text and in it a number a label"):
        Cascade(CLASSIFIERS["single"], lambda texts: [1.0] * len(texts), ALL).predict(MORE)
    with pytest.raises(DataError):
        Cascade(CLASSIFIERS["single"], Teacher(2), ALL).predict(MORE)
    with pytest.raises(SettingsError, match="batch_size is 0: give 1 or more"):
        Cascade(CLASSIFIERS["single"], Teacher(), 0.5, batch_size=0)


def test_probabilities_of_a_function():
    shares = np.array([0.2, 0.5, 0.3])
    cascade = Cascade(CLASSIFIERS["single"], lambda texts: [shares] * len(texts), ALL, scores="probabilities")
    assert cascade.predict_proba(MORE) == pytest.approx(np.tile(shares, (len(MORE), 1)), rel=1e-6)


# ---- thresholds and curves -------------------------------------------------------------------------------------------


def drawn(seed: int, n: int, with_teacher: bool = True, coarse: bool = False) -> Outcomes:
    """Confidences that say how often a classifier is right, and a teacher that is right more often."""
    rng = np.random.default_rng(seed)
    confidence = rng.uniform(0.3, 1, n)
    confidence = np.round(confidence, 1) if coarse else confidence
    right = rng.random(n) < confidence
    return Outcomes(confidence, right, (rng.random(n) < 0.92) if with_teacher else None)


@given(st.integers(0, 1000), st.integers(1, 60), st.booleans())
def test_candidates_tell_all_apart(seed, n, coarse):
    outcomes = drawn(seed, n, coarse=coarse)
    thresholds, sent = outcomes.candidates()
    assert np.all(np.diff(thresholds) > 0) and thresholds[0] == 0 and thresholds[-1] == ALL
    assert [outcomes.sent(at).sum() for at in thresholds] == sent.tolist()
    assert len(sent) == len(set(outcomes.confidence)) + 1


@given(st.integers(0, 1000), st.integers(1, 60), st.booleans(), st.floats(0, 1))
def test_share(seed, n, coarse, share):
    outcomes = drawn(seed, n, coarse=coarse)
    at = selective.threshold_at_share(outcomes, share)
    sent = outcomes.sent(at).mean()
    assert sent <= share + 1e-9
    assert all(outcomes.sent(more).mean() in (sent, *(s for s in [outcomes.sent(more).mean()] if s > share - 1e-9))
               for more in outcomes.candidates()[0] if more > at)  # fmt: skip


def losses(outcomes: Outcomes, at: float) -> tuple[float, float]:
    """Mean and standard error of what a cascade is worse by than its teacher."""
    loss = np.where(outcomes.sent(at), 0.0, outcomes.teacher.astype(float) - outcomes.right)
    return float(loss.mean()), float(loss.std() / np.sqrt(len(loss)))


@given(st.integers(0, 1000), st.integers(1, 80), st.booleans(), st.floats(0, 0.2), st.sampled_from([0.0, 1.0]))
def test_within_holds_at_the_threshold_and_above_and_not_just_below(seed, n, coarse, points, errors):
    outcomes = drawn(seed, n, coarse=coarse)
    at = selective.threshold_within(outcomes, points, errors)
    thresholds = outcomes.candidates()[0].tolist()
    holds = [mean + errors * error <= points + 1e-9 for mean, error in (losses(outcomes, t) for t in thresholds)]
    place = thresholds.index(at)
    assert all(holds[place:]) and (place == 0 or not holds[place - 1])


@given(st.integers(0, 1000), st.integers(2, 80), st.booleans(), st.floats(0.3, 1), st.booleans())
def test_accuracy(seed, n, coarse, accuracy, with_teacher):
    outcomes = drawn(seed, n, with_teacher, coarse)

    def holds(at):
        right = (
            np.where(outcomes.sent(at), outcomes.teacher, outcomes.right)
            if with_teacher
            else outcomes.right[~outcomes.sent(at)]
        )
        return (
            len(right) > 0
            and right.mean() - np.sqrt(right.mean() * (1 - right.mean()) / len(right)) >= accuracy - 1e-12
        )

    thresholds = outcomes.candidates()[0].tolist()
    try:
        at = selective.threshold_at_accuracy(outcomes, accuracy)
    except SettingsError as error:
        assert "no threshold has an accuracy of" in str(error) and not holds(thresholds[-1])
        assert with_teacher or not any(holds(t) for t in thresholds)
        return
    place = thresholds.index(at)
    if with_teacher:
        assert all(holds(t) for t in thresholds[place:]) and (place == 0 or not holds(thresholds[place - 1]))
    else:
        assert holds(at) and not any(holds(t) for t in thresholds[:place])


@given(st.integers(0, 1000), st.integers(2, 80), st.booleans())
def test_none_of_these(seed, n, coarse):
    outcomes = drawn(seed, n, False, coarse)
    none = np.arange(n) < max(1, n // 4)
    right = outcomes.right & ~none

    def balance(at):
        sent = outcomes.sent(at)
        return (right & ~sent).sum() / (~none).sum() + (none & sent).sum() / none.sum()

    found = Outcomes(outcomes.confidence, right)
    at = selective.threshold_of_none(found, none)
    assert balance(at) == pytest.approx(max(map(balance, outcomes.candidates()[0])))


@given(st.integers(0, 1000), st.integers(1, 60), st.booleans())
def test_area_below_risk(seed, n, coarse):
    outcomes = drawn(seed, n, coarse=coarse)
    area = selective.area_below_risk(outcomes)(np.ones((n, 1)))[0]
    expected = np.mean([(~outcomes.right[outcomes.confidence >= c]).mean() for c in outcomes.confidence])
    assert area == pytest.approx(expected)
    rng = np.random.default_rng(seed)
    drawn_again = rng.integers(0, n, n)
    again = Outcomes(outcomes.confidence[drawn_again], outcomes.right[drawn_again])
    weights = np.bincount(drawn_again, minlength=n).astype(float)[:, None]
    assert selective.area_below_risk(outcomes)(weights)[0] == pytest.approx(
        selective.area_below_risk(again)(np.ones((n, 1)))[0]
    )


def test_within_flatters_less_than_the_smallest_share():
    """On texts that no threshold was chosen on, the rule holds more often than the smallest share does."""
    held, smallest = [], []
    for seed in range(150):
        dev, test = drawn(seed, 500), drawn(10_000 + seed, 20_000)
        held.append(losses(test, selective.threshold_within(dev, 0.003))[0] <= 0.003)
        smallest.append(losses(test, selective.threshold_within(dev, 0.003, errors=0))[0] <= 0.003)
    assert np.mean(held) > 0.75 > np.mean(smallest)


@pytest.mark.parametrize("with_teacher", [True, False])
def test_curves_have_intervals_and_ends(with_teacher):
    outcomes = drawn(1, 400, with_teacher)
    found = selective.curves(outcomes, (0.001, 0.5), resamples=50)
    assert found["classifier"]["value"] == pytest.approx(outcomes.right.mean())
    assert found["risk"][0]["coverage"] == 1 and found["risk"][0]["risk"]["value"] == pytest.approx(
        1 - outcomes.right.mean()
    )
    assert all(one["risk"]["low"] <= one["risk"]["value"] <= one["risk"]["high"] for one in found["risk"])
    assert 0 < found["area"]["low"] < found["area"]["value"] < found["area"]["high"] < 1
    assert ("cascade" in found) == ("teacher" in found) == with_teacher
    if with_teacher:
        first, last = found["cascade"][0], found["cascade"][-1]
        assert (first["share"], first["cost"], last["share"]) == (0, 0.001, 1)
        assert first["accuracy"]["value"] == pytest.approx(outcomes.right.mean())
        assert last["accuracy"]["value"] == pytest.approx(outcomes.teacher.mean()) and last["cost"] == 0.501
        at = selective.at_threshold(outcomes, 0.7, (0.001, 0.5), resamples=50)
        sent = outcomes.sent(0.7)
        assert at["share"] == sent.mean() and at["cost"] == pytest.approx(0.001 + 0.5 * sent.mean())
        assert at["difference"]["value"] == pytest.approx(
            np.where(sent, outcomes.teacher, outcomes.right).mean() - outcomes.teacher.mean()
        )


@pytest.mark.parametrize(
    ("rule", "message"),
    [
        (lambda o: selective.threshold_at_share(o, 1.5), "the share is 1.5: give a number from 0 to 1"),
        (lambda o: selective.threshold_at_accuracy(o, 0), "the accuracy is 0: give a number above 0"),
        (lambda o: selective.threshold_within(o, 0.003), "none is given: name a run, or a teacher"),
        (lambda o: selective.threshold_of_none(o, np.zeros(9, bool)), "no texts have none of the labels"),
        (lambda o: selective.threshold_of_none(o, np.ones(9, bool)), "all texts have none of the labels"),
    ],
)
def test_rules_that_cannot_be(rule, message):
    with pytest.raises(SettingsError, match=message):
        rule(drawn(0, 9, with_teacher=False))
