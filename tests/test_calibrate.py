"""Calibration: the fits against scikit-learn's and SciPy's, and what they do to the calibration error."""

from __future__ import annotations

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.optimize import minimize, minimize_scalar
from scipy.special import expit, log_softmax, softmax
from sklearn.isotonic import IsotonicRegression

from sparsedistill import Classifier, calibrate, distill, evaluate
from sparsedistill.classifier import probabilities


def overconfident(seed: int, n: int, classes: int, times: float = 3.0) -> tuple[np.ndarray, np.ndarray]:
    """Logits float32 (n, C) that are ``times`` too large, and labels drawn from what they should be."""
    rng = np.random.default_rng(seed)
    true = 1.5 * rng.standard_normal((n, classes))
    labels = (softmax(true, axis=1).cumsum(axis=1) < rng.random((n, 1))).sum(axis=1).clip(0, classes - 1)
    return (times * true).astype(np.float32), labels


@given(st.integers(0, 10_000), st.integers(5, 200), st.integers(2, 5), st.floats(0.2, 5))
def test_temperature_is_the_best_there_is(seed, n, classes, times):
    logits, labels = overconfident(seed, n, classes, times)

    def loss(log_temperature):
        return -log_softmax(logits.astype(float) / np.exp(log_temperature), axis=1)[np.arange(n), labels].mean()

    found = calibrate.fit_temperature(logits, labels)
    assert set(found) == {"kind", "temperature"} and found["kind"] == "temperature"
    best = minimize_scalar(loss, bounds=(np.log(0.01), np.log(100)), method="bounded", options={"xatol": 1e-9})
    assert loss(np.log(found["temperature"])) <= best.fun + 1e-9


def test_temperature_is_found_again_and_lowers_the_error():
    logits, labels = overconfident(0, 20_000, 4)
    temperature = calibrate.fit_temperature(logits, labels)["temperature"]
    assert temperature == pytest.approx(3, rel=0.05)
    before, after = (softmax(logits.astype(float) / t, axis=1) for t in (1, temperature))
    assert calibrate.expected_calibration_error(before, labels) > 0.15
    assert calibrate.expected_calibration_error(after, labels) < 0.02


def test_temperature_where_there_is_no_optimum():
    right = np.eye(3, dtype=np.float32)[[0, 1, 2, 0]]
    assert calibrate.fit_temperature(right, np.array([0, 1, 2, 0]))["temperature"] == pytest.approx(0.01, rel=0.01)
    assert calibrate.fit_temperature(right, np.array([1, 2, 0, 1]))["temperature"] == pytest.approx(100, rel=0.01)
    assert np.isfinite(calibrate.fit_temperature(np.zeros((4, 3), np.float32), np.array([1, 2, 0, 1]))["temperature"])
    assert 0.01 <= calibrate.fit_temperature(1e30 * right, np.array([0, 1, 2, 1]))["temperature"] <= 100


def heavy_tailed(seed: int, n: int, classes: int) -> tuple[np.ndarray, np.ndarray]:
    """Logits float32 (n, C), and labels of which a quarter are drawn from what a third of them would be."""
    rng = np.random.default_rng(seed)
    logits = 3 * rng.standard_normal((n, classes))
    shares = 0.75 * softmax(1.5 * logits, axis=1) + 0.25 * softmax(logits / 2, axis=1)
    labels = (shares.cumsum(axis=1) < rng.random((n, 1))).sum(axis=1).clip(0, classes - 1)
    return logits.astype(np.float32), labels


def cross_entropy(shares, labels):
    return -np.log(shares[np.arange(len(labels)), labels]).mean()


@given(st.integers(0, 10_000), st.integers(5, 300), st.integers(2, 5), st.floats(0.2, 5), st.booleans())
def test_two_temperatures_are_the_best_there_are(seed, n, classes, times, heavy):
    logits, labels = heavy_tailed(seed, n, classes) if heavy else overconfident(seed, n, classes, times)
    z = logits.astype(float)

    def mean_of_two(temperature, share):
        return (1 - share) * softmax(z / temperature, axis=1) + share * softmax(z / (3 * temperature), axis=1)

    found = calibrate.fit_temperatures(logits, labels)
    json.dumps(found)
    assert found["kind"] == "temperatures" and 0 <= found["share"] <= 1
    assert found["second"] == pytest.approx(3 * found["temperature"]) and 0.01 <= found["temperature"] <= 34
    here = cross_entropy(mean_of_two(found["temperature"], found["share"]), labels)
    one = calibrate.fit_temperature(logits, labels)["temperature"]
    assert here <= cross_entropy(softmax(z / one, axis=1), labels) + 1e-6
    for temperature in one * np.geomspace(0.17, 1.5, 9):
        if 0.01 <= temperature <= 33:
            for share in np.linspace(0, 1, 9):
                assert here <= cross_entropy(mean_of_two(temperature, share), labels) + 1e-4


def test_two_temperatures_where_one_does_not_do():
    (logits, labels), (more, gold) = (heavy_tailed(seed, 20_000, 4) for seed in (0, 1))
    assert calibrate.fit(logits, labels, "single")["kind"] == "temperatures"
    errors = [
        calibrate.expected_calibration_error(softmax(calibrate.as_logits(found, more).astype(float), axis=1), gold)
        for found in (calibrate.fit_temperature(logits, labels), calibrate.fit(logits, labels, "single"))
    ]
    assert errors[1] < 0.01 < 0.02 < errors[0]
    # Of texts that one does for, two learn the noise as often as not; of a few there are no folds to tell.
    kinds = [calibrate.fit(*overconfident(seed, 300, 3), "single")["kind"] for seed in range(20)]
    assert kinds.count("temperature") > 10
    assert calibrate.fit(logits[:9], labels[:9], "single")["kind"] == "temperature"
    assert calibrate.fit(np.eye(3, dtype=np.float32)[[0, 1, 2] * 9], np.array([0, 1, 2] * 9), "single")["kind"]


@given(st.integers(0, 10_000), st.integers(6, 200), st.floats(0.3, 4), st.floats(-2, 2))
def test_platt_is_the_best_there_is(seed, n, slope, intercept):
    rng = np.random.default_rng(seed)
    logits = 2 * rng.standard_normal((n, 2)).astype(np.float32)
    targets = (rng.random((n, 2)) < expit(slope * logits + intercept)).astype(np.float32)
    found = calibrate.fit_platt(logits, targets)
    json.dumps(found)
    for c in range(2):
        z, y = logits[:, c].astype(float), targets[:, c] > 0.5
        aims = np.where(y, (y.sum() + 1) / (y.sum() + 2), 1 / ((~y).sum() + 2))

        def loss(weights, z=z, aims=aims):
            x = weights[0] * z + weights[1]
            return (np.logaddexp(0, x) - aims * x).mean()

        here = found["slope"][c], found["intercept"][c]
        if y.all() or not y.any():
            assert here[0] == 1
            best = minimize_scalar(lambda b: loss((1, b)))
        elif here[0] == 1e-3:
            assert minimize(loss, (1.0, 0.0), method="BFGS").x[0] <= 1.1e-3
            best = minimize_scalar(lambda b: loss((1e-3, b)))
        else:
            best = minimize(loss, (1.0, 0.0), method="BFGS", options={"gtol": 1e-9})
        assert loss(here) <= best.fun + 1e-8


def test_platt_never_turns_a_label_round():
    z = np.linspace(-1, 1, 40, dtype=np.float32)[:, None]
    found = calibrate.fit_platt(np.hstack([z, 0 * z, z]), np.hstack([z < 0, z < 0.5, z > 0]).astype(np.float32))
    assert found["slope"][0] == 1e-3
    assert found["slope"][1] == 1 and found["intercept"][1] == pytest.approx(np.log(0.75 / 0.25), abs=0.1)
    assert found["slope"][2] > 5  # apart, and yet finite


@given(st.integers(0, 10_000), st.integers(1, 80), st.booleans())
def test_isotonic_is_that_of_scikit_learn(seed, n, ties):
    rng = np.random.default_rng(seed)
    scores = rng.standard_normal(n).round(1 if ties else 9)
    targets = scores + 2 * rng.standard_normal(n)
    found = calibrate.fit_isotonic(scores, targets)
    x, y = np.array(found["x"]), np.array(found["y"])
    assert (np.diff(x) > 0).all() and (np.diff(y) >= 0).all()
    asked = np.concatenate([scores, rng.uniform(-4, 4, 50)])
    expected = IsotonicRegression(out_of_bounds="clip").fit(scores, targets).predict(asked)
    assert np.interp(asked, x, y) == pytest.approx(expected, abs=1e-9)
    both = calibrate.fit_isotonic(np.stack([scores, -scores], axis=1), np.stack([targets, targets], axis=1))
    assert both["x"][0] == found["x"] and both["y"][0] == found["y"] and len(both["x"]) == 2
    json.dumps(both)


def test_the_fit_of_each_task():
    logits, labels = overconfident(1, 50, 3)
    assert calibrate.fit(logits, labels, "single")["kind"] in ("temperature", "temperatures")
    assert calibrate.fit(logits, np.eye(3)[labels], "multi")["kind"] == "platt"
    bent = np.linspace(-3, 3, 50)
    scores = calibrate.fit(bent.astype(np.float32)[:, None], bent**3, "regression")
    assert scores["kind"] == "isotonic" and isinstance(scores["x"][0], float)
    noise = np.random.default_rng(0).standard_normal((20, 50))  # which it would learn
    assert sum(calibrate.fit(bent[:, None], bent + one, "regression") is None for one in noise) > 12
    assert calibrate.fit(bent[:4, None], bent[:4] ** 3, "regression") is None


@pytest.mark.parametrize("task,labels", [("single", 3), ("multi", 2), ("regression", 1)])
def test_logits_that_need_no_calibration(parts, task, labels):
    config, tensors = parts(task, labels=labels)
    logits = 2 * np.random.default_rng(0).standard_normal((20, labels)).astype(np.float32)
    targets = {"single": np.arange(20) % 3, "multi": logits > 1}.get(task, logits[:, 0] ** 3)
    calibration = calibrate.fit(logits, targets, task)
    head = Classifier(config | {"calibration": calibration, "format_version": 6}, tensors).heads[0]
    found = calibrate.as_logits(calibration, logits)
    assert found.dtype == np.float32 and found.shape == logits.shape
    if task == "regression":
        assert found[:, 0] == pytest.approx(head.scores(logits), rel=1e-6)
    else:
        assert probabilities(found, task) == pytest.approx(head.probabilities(logits), abs=1e-7)
    if task == "single":
        two = {"kind": "temperatures", "temperature": 0.5, "second": 3.0, "share": 0.2}
        head = Classifier(config | {"calibration": two, "format_version": 6}, tensors).heads[0]
        found = calibrate.as_logits(two, logits)
        assert probabilities(found, task) == pytest.approx(head.probabilities(logits), abs=1e-7)
        far = calibrate.as_logits(two, 1e30 * logits)
        assert np.isfinite(far).all() and (far.argmax(axis=1) == logits.argmax(axis=1)).all()
    assert calibrate.as_logits(None, logits) is logits


def run_of(tmp_path, task):
    """A small run with --calibrate, and its test texts and targets."""
    rng = np.random.default_rng(0)
    words = [f"w{i}" for i in range(30)]
    weights = rng.standard_normal((30, 3))
    texts, targets = [], []
    for _ in range(500):
        chosen = rng.integers(0, 30, 6)
        scores = weights[chosen].sum(axis=0) + (0.5 if task == "regression" else 1.5) * rng.standard_normal(3)
        texts.append(" ".join(words[i] for i in chosen))
        labels = {"single": "abc"[scores.argmax()], "multi": [n for n, s in zip("abc", scores) if s > 0]}
        targets.append(labels.get(task, 5.0 * (scores[0] > 0)))
    classifier = distill(
        train=(texts[:300], targets[:300]), dev=(texts[300:400], targets[300:400]), test=(texts[400:], targets[400:]),
        directory=tmp_path / "run", task=task, hidden=[], student="network", calibrate=True, rows="float32",
        repeats=1, max_n=1, resamples=50,
    )  # fmt: skip
    return classifier, texts[300:], targets[300:]


@pytest.mark.slow
@pytest.mark.parametrize("task,kind", [("single", "temperature"), ("multi", "platt"), ("regression", "isotonic")])
def test_a_run_with_calibration(tmp_path, task, kind):
    classifier, texts, targets = run_of(tmp_path, task)
    config = classifier.config
    assert config["format_version"] == 6 and config["calibration"]["kind"].startswith(kind)
    result = json.loads((tmp_path / "run" / "metrics.json").read_text())
    (figures,) = (result["systems"][name] for name in [result["selected"]])
    dev, test = texts[:100], texts[100:]
    if task == "regression":
        error = np.array(classifier.predict(test)) - targets[100:]
        assert figures["rmse"] == pytest.approx(np.sqrt((error**2).mean()), rel=1e-5)
        after, before = classifier.predict(dev), classifier.decision_function(dev)[:, 0]
        squares = [((np.array(one) - targets[:100]) ** 2).mean() for one in (after, before)]
        assert squares[0] < squares[1]
    else:
        right = np.mean([a == b for a, b in zip(classifier.predict(test), targets[100:])])
        assert figures["accuracy" if task == "single" else "exact_match"] == pytest.approx(right)
        shares = classifier.predict_proba(test)
        gold = np.array([[name in one for name in "abc"] for one in targets[100:]])
        if task == "multi":  # thresholds are of calibrated probabilities
            on_dev = np.array([[name in one for name in "abc"] for one in targets[:100]])
            best = evaluate.fit_thresholds(classifier.predict_proba(dev), on_dev)
            assert config["thresholds"] == pytest.approx(best, abs=1e-3)
        gold = gold.argmax(axis=1) if task == "single" else gold
        assert figures["ece"] == pytest.approx(calibrate.expected_calibration_error(shares, gold), abs=1e-6)
        assert figures["ece"] != figures["ece_before"]
    chosen = result["selected_figures"]["figures"]
    assert chosen["ece"]["value"] == pytest.approx(figures["ece"], abs=1e-6)
    assert chosen["ece_before"]["value"] == pytest.approx(figures["ece_before"], abs=1e-6)
    report = (tmp_path / "run" / "report.md").read_text()
    assert "before calibration" in report and "has the 95% interval" in report


@given(st.integers(0, 10_000), st.integers(1, 100), st.sampled_from((1, 5, 15)), st.sampled_from(("mass", "width")))
def test_calibration_error_text_by_text(seed, n, bins, equal):
    rng = np.random.default_rng(seed)
    p = rng.random(n).round(rng.integers(1, 9))
    y = rng.random(n) < p
    place = calibrate.bins_of(p, bins, equal)
    assert ((place >= 0) & (place < bins)).all()
    order = np.argsort(p)
    assert (np.diff(place[order]) >= 0).all() and all(len(set(place[p == one])) == 1 for one in p)
    expected = sum((place == b).mean() * abs(p[place == b].mean() - y[place == b].mean()) for b in set(place.tolist()))
    assert calibrate.expected_calibration_error(p, y, bins, equal) == pytest.approx(expected)


def test_bins():
    p = np.linspace(0, 1, 300)
    assert np.bincount(calibrate.bins_of(p, 15, "mass")).tolist() == [20] * 15
    skewed = p**4
    assert np.bincount(calibrate.bins_of(skewed, 3, "mass")).tolist() == [100] * 3
    assert np.bincount(calibrate.bins_of(skewed, 2, "width")).tolist() == [
        int((skewed < 0.5).sum()),
        (skewed >= 0.5).sum(),
    ]
    data = calibrate.reliability(np.array([0.1, 0.1, 0.9, 0.9]), np.array([0, 1, 1, 1]), 2, "width")
    assert data == {"count": [2, 2], "predicted": [0.1, 0.9], "observed": [0.5, 1.0]}
    assert calibrate.reliability(np.array([-2.0, 4.0]), np.array([0.0, 5.0]), 15, "width")["count"] == [1, 1]
    assert calibrate.reliability(np.array([3.0, 3.0]), np.array([0.0, 5.0]), 15, "width")["count"] == [2]
    with pytest.raises(ValueError, match="mass"):
        calibrate.bins_of(p, 15, "weight")


def test_what_the_error_of_each_task_is():
    shares = np.array([[0.8, 0.2], [0.6, 0.4], [0.3, 0.7]])
    assert calibrate.expected_calibration_error(shares, np.array([0, 1, 1]), 1) == pytest.approx(abs(0.7 - 2 / 3))
    multi = np.array([[1, 0], [1, 0], [0, 0]])
    each = [abs(1.7 / 3 - 2 / 3), abs(1.3 / 3 - 0)]
    assert calibrate.expected_calibration_error(shares, multi, 1) == pytest.approx(np.mean(each))
