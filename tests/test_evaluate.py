"""Figures against scikit-learn's and NumPy's."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn import metrics as reference

from sparsedistill import evaluate
from sparsedistill.classifier import probabilities
from sparsedistill.tasks import TASKS


def drawn(seed: int, n: int, classes: int) -> tuple[np.ndarray, np.random.Generator]:
    rng = np.random.default_rng(seed)
    return rng.standard_normal((n, classes)).astype(np.float32), rng


@given(st.integers(0, 10_000), st.integers(1, 60), st.integers(2, 6))
def test_single_label_figures_are_those_of_scikit_learn(seed, n, classes):
    logits, rng = drawn(seed, n, classes)
    gold = rng.integers(0, classes, n)
    found = TASKS["single"].metrics(logits, gold)
    guess = logits.argmax(axis=1)
    assert found["accuracy"] == pytest.approx(reference.accuracy_score(gold, guess))
    assert found["macro_f1"] == pytest.approx(reference.f1_score(gold, guess, average="macro", zero_division=0))


@given(st.integers(0, 10_000), st.integers(1, 60), st.integers(2, 5))
def test_multi_label_figures_are_those_of_scikit_learn(seed, n, classes):
    logits, rng = drawn(seed, n, classes)
    gold = (rng.random((n, classes)) < 0.4).astype(np.float32)
    cut = rng.uniform(0.2, 0.8, classes)
    found = TASKS["multi"].metrics(logits, gold, cut)
    guess = 1 / (1 + np.exp(-logits.astype(np.float64))) >= cut
    average = {"average": "micro", "zero_division": 0}
    assert found["micro_f1"] == pytest.approx(reference.f1_score(gold, guess, **average))
    occurs = (gold.sum(axis=0) + guess.sum(axis=0)) > 0
    each = reference.f1_score(gold, guess, average=None, zero_division=0)
    assert found["macro_f1"] == pytest.approx(each[occurs].mean() if occurs.any() else 0.0)
    assert found["exact_match"] == pytest.approx(np.mean((gold > 0.5) == guess, axis=1).astype(int).mean())


@given(st.integers(0, 10_000), st.integers(2, 60))
def test_regression_figures(seed, n):
    logits, rng = drawn(seed, n, 1)
    gold = rng.standard_normal(n).astype(np.float32)
    found = TASKS["regression"].metrics(logits, gold)
    assert found["pearson"] == pytest.approx(np.corrcoef(logits[:, 0], gold)[0, 1], abs=1e-6)
    assert found["mae"] == pytest.approx(np.abs(logits[:, 0] - gold).mean(), rel=1e-5)
    assert found["rmse"] == pytest.approx(reference.root_mean_squared_error(gold, logits[:, 0]), rel=1e-5)
    assert evaluate.pearson(gold, np.ones(n)) == 0.0


@given(st.integers(0, 10_000), st.integers(1, 40))
def test_fitted_thresholds_are_the_best_there_are(seed, n):
    logits, rng = drawn(seed, n, 2)
    logits = np.round(logits, 1)  # ties, which no threshold can part
    gold = (rng.random((n, 2)) < 0.5).astype(np.float32)
    chances = 1 / (1 + np.exp(-logits.astype(np.float64)))
    for label, threshold in enumerate(evaluate.fit_thresholds(probabilities(logits, "multi"), gold)):
        assert 0 <= threshold <= 1
        p, y = chances[:, label], gold[:, label]
        if not y.any():
            assert threshold == 0.5
            continue
        tried = [reference.f1_score(y, p >= t, zero_division=0) for t in np.unique(p)]
        assert reference.f1_score(y, p >= threshold, zero_division=0) == pytest.approx(max(tried))


def test_fidelity_counts_equal_decisions():
    a = np.array([[2.0, 1.0], [0.0, 1.0], [3.0, 0.0]], np.float32)
    b = np.array([[9.0, 1.0], [1.0, 0.0], [1.0, 0.0]], np.float32)
    assert TASKS["single"].fidelity(a, b) == pytest.approx(2 / 3)
    assert TASKS["multi"].fidelity(a, -a) == pytest.approx(2 / 6)  # only the zeros, at exactly one half
    assert TASKS["multi"].fidelity(a, a, np.full(2, 0.9), np.full(2, 0.9)) == 1
    assert TASKS["multi"].fidelity(a, a, np.full(2, 0.9)) == pytest.approx(1 / 6)  # of the 3
    assert TASKS["regression"].fidelity(a[:, :1], 2 * a[:, :1]) == pytest.approx(1)


def test_turns_are_taken():
    calls: list[str] = []
    rates = evaluate.alternate([(lambda: calls.append("a"), 10), (lambda: calls.append("b"), 20)], 3)
    assert calls == ["a", "b"] * 4
    assert all(rate > 0 for rate in rates)
