"""Cascades and selective prediction: only doubtful texts go on; curves and thresholds against plain definitions."""

from __future__ import annotations

import json
import shutil

import numpy as np
import pytest
from conftest import TEXTS, make_parts
from hypothesis import given
from hypothesis import strategies as st
from test_predict import write

from sparsedistill import Cascade, Classifier, DataError, Run, SettingsError, cli, distill, selective
from sparsedistill.abstain import Abstention, with_abstention
from sparsedistill.cascade import run_of
from sparsedistill.options import Data
from sparsedistill.outcomes import of_files, of_run
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
        n = len(right)
        if not n:
            return False
        share = right.mean()
        spread = np.sqrt(share * (1 - share) / n + 1 / (4 * n * n))  # Wilson's interval of one standard error
        return (share + 1 / (2 * n) - spread) / (1 + 1 / n) >= accuracy - 1e-12

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


# ---- runs and the command line ---------------------------------------------------------------------------------------

WORDS = ("good", "bad", "fine", "poor", "slow", "lovely", "train", "song", "day", "the", "a", "of")
LABELS = ("bad", "good", "so so")


def judge(texts: list[str]) -> np.ndarray:
    """Logits (n, 3): a function of some words."""
    good = np.array([sum(text.count(word) for word in ("good", "fine", "lovely")) for text in texts], float)
    bad = np.array([sum(text.count(word) for word in ("bad", "poor", "slow")) for text in texts], float)
    return np.stack([bad - good, good - bad, 0.5 - np.abs(good - bad)], axis=1)


def texts_of(number: int, seed: int) -> list[str]:
    random = np.random.default_rng(seed)
    return [" ".join(random.choice(WORDS, size)) + f" {i}" for i, size in enumerate(random.integers(3, 12, number))]


def gold_of(texts: list[str]) -> list[str]:
    """Labels that the teacher gets wrong now and then."""
    wrong = np.random.default_rng(1).random(len(texts)) < 0.1
    return [LABELS[(i + no) % 3] for i, no in zip(judge(texts).argmax(axis=1), wrong, strict=True)]


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A run directory; its teacher is ``judge``, by its name."""
    home = tmp_path_factory.mktemp("cascade")
    parts = {part: texts_of(n, seed) for seed, (part, n) in enumerate({"train": 200, "dev": 150, "test": 100}.items())}
    distill(
        "test_cascade:judge", texts_of(400, 9), **{part: (texts, gold_of(texts)) for part, texts in parts.items()},
        directory=home / "run", hidden=[8], size=2000, max_loss=0.5, repeats=1, distill={"epochs": 2},
    )  # fmt: skip
    rows = [*zip(parts["dev"], gold_of(parts["dev"]), strict=True)]
    write(home / "dev.jsonl", [{"text": text, "label": label} for text, label in rows])
    strange = [{"text": f"{word} {i} never seen", "label": "other"} for i in range(20) for word in ("moon", "craters")]
    write(home / "inbox.jsonl", [*({"text": text, "label": label} for text, label in rows), *strange])
    return home


@pytest.fixture
def place(made, tmp_path):
    """The same with a classifier that may be written to."""
    shutil.copytree(made / "run" / "classifier", tmp_path / "model")
    return tmp_path


def test_a_run_is_a_teacher_itself_or_by_its_directory(made):
    classifier = Classifier.load(made / "run" / "classifier")
    run = run_of(str(made / "run"))
    assert isinstance(run, Run)
    texts = texts_of(50, 20)
    expected = None
    for teacher in (made / "run", str(made / "run"), run, "test_cascade:judge", judge):
        cascade = Cascade(classifier, teacher, 0.45)
        predicted = cascade.predict(texts)
        own = classifier.predict(texts, min_confidence=0.45)
        theirs = [LABELS[i] for i in judge(texts).argmax(axis=1)]
        assert predicted == [a or b for a, b in zip(own, theirs, strict=True)]
        assert 0 < cascade.sent < 50 and (expected is None or predicted == expected)
        expected = predicted


def test_a_run_whose_teacher_is_a_column_cannot_be_asked(tmp_path):
    texts = texts_of(60, 0)
    ask = {"hidden": [4], "size": 500, "max_loss": 1.0, "repeats": 1, "distill": {"epochs": 1}}
    classifier = distill(
        {"corpus": judge(texts), "train": judge(texts)},
        texts,
        (texts, gold_of(texts)),
        directory=tmp_path / "run",
        **ask,
    )
    with pytest.raises(SettingsError, match="is a column of scores, which can score no other text"):
        Cascade(classifier, tmp_path / "run", 0.5)


def test_labels_of_a_run_must_be_those_of_the_classifier(made):
    with pytest.raises(SettingsError, match=r"labels of the run .* are not those of the classifier"):
        Cascade(CLASSIFIERS["single"], made / "run", 0.5)


def test_command_on_a_run_stores_what_the_rule_gives(made, place, capsys):
    command = ["cascade", str(place / "model"), "--run", str(made / "run"), "--resamples", "50"]
    assert cli.main([*command, "--json", str(place / "c.json"), "--plot", str(place / "c.png")]) == 0
    shown = capsys.readouterr()
    assert "* against the teacher:" in shown.out and "predict --min-confidence cascade" in shown.err
    result = json.loads((place / "c.json").read_text())
    classifier = Classifier.load(place / "model")
    outcomes = of_run(run_of(made / "run"), classifier, classifier.heads[0]).outcomes
    dev = texts_of(150, 1)
    gold = gold_of(dev)
    assert sorted(outcomes.right) == sorted(a == b for a, b in zip(classifier.predict(dev), gold, strict=True))
    assert outcomes.teacher.mean() == pytest.approx(
        np.mean([LABELS[i] == b for i, b in zip(judge(dev).argmax(axis=1), gold, strict=True)])
    )
    threshold = selective.threshold_within(outcomes, 0.003)
    assert classifier.config["abstentions"] == [{"name": "cascade", "threshold": threshold, "known": False}]
    assert result["at"]["threshold"] == threshold and result["at"]["share"] == outcomes.sent(threshold).mean()
    assert result["at"]["cost"] > 0 and (place / "c.png").stat().st_size > 100
    cascade = Cascade(classifier, made / "run")
    cascade.predict(dev)
    assert cascade.share == pytest.approx(outcomes.sent(threshold).mean())
    assert cli.main(["inspect", str(place / "model")]) == 0
    assert f"cascade: below a confidence of {threshold:.4g}" in capsys.readouterr().out


def test_command_on_a_run_directory_alone(made, tmp_path):
    shutil.copytree(made / "run", tmp_path / "run")
    assert (
        cli.main(
            [
                "cascade",
                str(tmp_path / "run"),
                "--share",
                "0.2",
                "--teacher-cost",
                "3",
                "--json",
                str(tmp_path / "c.json"),
            ]
        )
        == 0
    )
    result = json.loads((tmp_path / "c.json").read_text())
    assert 0.1 < result["at"]["share"] <= 0.2 and result["at"]["cost"] == pytest.approx(
        3 * result["at"]["share"], abs=0.01
    )
    assert Classifier.load(tmp_path / "run" / "classifier").config["abstentions"][0]["name"] == "cascade"


@pytest.mark.parametrize("teacher", [None, "test_cascade:judge"])
def test_command_on_files(made, place, capsys, teacher):
    more = ["--teacher", teacher] if teacher else []
    arguments = ["cascade", str(place / "model"), str(made / "dev.jsonl"), "--accuracy", "0.8", "--name", "sure", *more]
    assert cli.main([*arguments, "--json", str(place / "c.json"), "--resamples", "0"]) == 0
    classifier = Classifier.load(place / "model")
    found = of_files(classifier, classifier.heads[0], [str(made / "dev.jsonl")], Data(), teacher=teacher)
    at = selective.threshold_at_accuracy(found.outcomes, 0.8)
    assert classifier.config["abstentions"] == [{"name": "sure", "threshold": at, "known": False}]
    result = json.loads((place / "c.json").read_text())
    assert ("teacher" in result) == (found.costs is not None) == bool(teacher)
    assert result["at"]["accuracy"]["value"] >= 0.8 and result["at"]["accuracy"]["low"] is None


def test_command_for_none_of_these(made, place, capsys):
    model, inbox = str(place / "model"), str(made / "inbox.jsonl")
    assert cli.main(["cascade", model, inbox, "--none", "other", "--plot", str(place / "n.png")]) == 0
    assert "* texts of none of the labels: 100.0% undecided (AUC " in capsys.readouterr().out
    assert (
        cli.main(["predict", model, inbox, "--min-confidence", "none", "--none", "other", "-o", str(place / "o.jsonl")])
        == 0
    )
    rows = [json.loads(line) for line in (place / "o.jsonl").read_text().splitlines()]
    assert [row["predicted"] for row in rows[150:]] == ["other"] * 40
    assert all(row["abstained"] == (row["predicted"] == "other") for row in rows)
    kept = [row for row in rows[:150] if not row["abstained"]]
    assert len(kept) > 75 and all(row["known"] > 0.3 for row in kept)
    # Without texts of none: a share of those in scope.
    assert cli.main(["cascade", model, str(made / "dev.jsonl"), "--share", "0.05", "--known", "--name", "none"]) == 0
    (stored,) = Classifier.load(model).config["abstentions"]
    assert stored["known"] and stored["name"] == "none"


@pytest.mark.parametrize("task", ["single", "multi"])
def test_pictures(made, place, drawn, task):
    rng = np.random.default_rng(0)
    model = Classifier(*make_parts(task, labels=2, depth=0))
    model.save(place / "other")
    rows = [{"text": " ".join(rng.choice(WORDS, 4)), "label": "label 1"} for _ in range(60)]
    write(place / "gold.jsonl", rows)
    arguments = [str(place / "other"), str(place / "gold.jsonl"), "--share", "0.3", "--plot", str(place / "p.png")]
    assert cli.main(["cascade", *arguments]) == 0
    assert (place / "p.png").read_bytes()[:4] == b"\x89PNG" and (place / "p.png").stat().st_size > 10_000


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["model"], "a threshold is chosen on labelled texts: name files, or a run directory"),
        (["model", "dev.jsonl"], "say what is wanted: --accuracy, --share or --none"),
        (["model", "dev.jsonl", "--within", "0.003"], "none is given: name a run, or a teacher"),
        (["model", "dev.jsonl", "--none", "good"], "--none good is one of its labels"),
        (["model", "dev.jsonl", "--none", "other"], "no texts have none of the labels: give both kinds"),
        (["model", "dev.jsonl", "--accuracy", "1.0"], "no threshold has an accuracy of 100.00% with 1 standard error"),
        (["model", "dev.jsonl", "--share", "2"], "the share is 2: give a number from 0 to 1"),
        (["model", "--run", "nowhere"], "--run nowhere is no run directory: give one, or leave it out"),
        (["model", "--teacher", "test_cascade:judge"], "--teacher is asked about FILEs, and not with --none: leave it"),
        (["model", "dev.jsonl", "--share", "0.1", "--name", "0.5"], "--name 0.5 is a number, which --min-confidence"),
        (["score", "dev.jsonl", "--share", "0.5"], "a regression has no confidence: sparsedistill cut"),
    ],
)
def test_mistakes_are_named(made, place, capsys, monkeypatch, arguments, message):
    Classifier(*make_parts("regression", labels=1)).save(place / "score")
    shutil.copyfile(made / "dev.jsonl", place / "dev.jsonl")
    monkeypatch.chdir(place)
    assert cli.main(["cascade", *arguments]) == 2
    assert message in capsys.readouterr().err
    assert "abstentions" not in json.loads((place / "model" / "config.json").read_text())


def is_long(texts: list[str]) -> np.ndarray:
    """Logits (n, 2) of a head: whether a text has more than six words."""
    long = np.array([len(text.split()) > 6 for text in texts], float)
    return np.stack([1 - 4 * long, 4 * long - 1], axis=1)


def test_a_head_of_a_run_of_several(tmp_path):
    rows = [
        {"text": text, "mood": label} for text, label in zip(texts_of(150, 0), gold_of(texts_of(150, 0)), strict=True)
    ]
    for row in rows[::2]:
        row["size"] = "long" if len(row["text"].split()) > 6 else "brief"
        row["mood"] = None if row["size"] == "long" else row["mood"]
    heads = {"mood": {"teacher": "test_cascade:judge"}, "size": {"teacher": "test_cascade:is_long"}}
    made = {
        part: {name: [row.get(name) for row in some] for name in ("text", "mood", "size")}
        for part, some in (("train", rows[:100]), ("dev", rows[100:]))
    }
    classifier = distill(
        corpus=texts_of(200, 5), heads=heads, directory=tmp_path / "run", hidden=[8], size=2000, max_loss=1.0,
        repeats=1,
        distill={"epochs": 2}, **made,
    )  # fmt: skip
    for name, function in (("mood", judge), ("size", is_long)):
        head = next(one for one in classifier.heads if one.name == name)
        scored = of_run(run_of(tmp_path / "run"), classifier, head)
        dev = [row for row in rows[100:] if row.get(name)]
        assert len(scored.outcomes.right) == len(dev) < 50
        labels = [head.labels[i] for i in function([row["text"] for row in dev]).argmax(axis=1)]
        assert scored.outcomes.teacher.sum() == sum(a == row[name] for a, row in zip(labels, dev, strict=True))
        cascade = Cascade(classifier, tmp_path / "run", ALL, head=name)
        texts = texts_of(20, 7)
        assert cascade.predict(texts) == [head.labels[i] for i in function(texts).argmax(axis=1)]
    command = ["cascade", str(tmp_path / "run"), "--head", "size", "--share", "0.3", "--resamples", "0"]
    assert cli.main(command) == 0
    mood, size = Classifier.load(tmp_path / "run" / "classifier").config["heads"]
    assert "abstentions" not in mood and size["abstentions"][0]["name"] == "cascade"


def fits(pairs: list[tuple[str, str]]) -> np.ndarray:
    """Logits (n, 2): whether two texts begin alike."""
    same = np.array([a.split()[0] == b.split()[0] for a, b in pairs], float)
    return np.stack([1 - 2 * same, 2 * same - 1], axis=1)


def test_pairs_of_a_run_and_of_files(tmp_path):
    rng = np.random.default_rng(0)
    rows = [(f"{a} {c}", f"{b} {c}") for a, b, c in rng.choice(WORDS, (160, 3))]
    labels = ["yes" if a.split()[0] == b.split()[0] else "no" for a, b in rows]
    labels[::9] = ["no" if label == "yes" else "yes" for label in labels[::9]]
    records = [{"text": a, "second": b, "label": label} for (a, b), label in zip(rows, labels, strict=True)]
    for part, some in {"train": records[:100], "dev": records[100:]}.items():
        write(tmp_path / f"{part}.jsonl", some)
    write(tmp_path / "corpus.jsonl", records[:100])
    classifier = distill(
        "test_cascade:fits", corpus=str(tmp_path / "corpus.jsonl"), train=str(tmp_path / "train.jsonl"),
        dev=str(tmp_path / "dev.jsonl"), pair="second", directory=tmp_path / "run", hidden=[8], size=2000,
        max_loss=1.0, repeats=1, distill={"epochs": 2},
    )  # fmt: skip
    head = classifier.heads[0]
    ours = of_run(run_of(tmp_path / "run"), classifier, head).outcomes
    theirs = of_files(
        classifier, head, [str(tmp_path / "dev.jsonl")], Data(pair="second"), teacher="test_cascade:fits"
    ).outcomes
    assert len(ours.right) <= len(theirs.right) == 60 and theirs.teacher.mean() == pytest.approx(1 - 7 / 60, abs=0.02)
    cascade = Cascade(classifier, tmp_path / "run", ALL)
    assert cascade.predict(rows) == [head.labels[i] for i in fits(rows).argmax(axis=1)]
