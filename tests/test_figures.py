"""Figures with their intervals: against SciPy and scikit-learn, on all texts and on every resample."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats
from sklearn import metrics as sk

from sparsedistill import figures, intervals
from sparsedistill.intervals import Figure, measured


def drawn(seed: int, n: int, ties: bool) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Predicted and gold scores (n,), with ties or without, and how often each of the n counts in 4 samples."""
    rng = np.random.default_rng(seed)
    gold = rng.integers(0, 6, n).astype(float) if ties else rng.standard_normal(n)
    predicted = gold * rng.choice([-1, 1]) + 2 * rng.standard_normal(n)
    return (np.round(predicted) if ties else predicted), gold, rng.multinomial(n, np.ones(n) / n, 4).T.astype(float)


def value(of, weights):
    with np.errstate(divide="ignore", invalid="ignore"):
        return of(weights)


def samples(weights: np.ndarray):
    """All once, then each sample as the texts that were drawn."""
    yield slice(None), np.arange(len(weights))
    for column in range(weights.shape[1]):
        yield column, np.repeat(np.arange(len(weights)), weights[:, column].astype(int))


def check(of, reference, weights, *arrays):
    """That a figure is the reference's, of all texts and of each sample, NaN for NaN."""
    once = value(of, np.ones((len(weights), 1)))
    every = value(of, weights)
    for column, rows in samples(weights):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            expected = reference(*(array[rows] for array in arrays))
        found = once[0] if isinstance(column, slice) else every[column]
        assert found == pytest.approx(expected, abs=1e-9, nan_ok=True), column


@given(st.integers(0, 10_000), st.integers(2, 60), st.booleans())
def test_correlations_are_those_of_scipy(seed, n, ties):
    predicted, gold, weights = drawn(seed, n, ties)
    check(figures.spearman(predicted, gold), lambda a, b: stats.spearmanr(a, b).statistic, weights, predicted, gold)
    check(figures.kendall(predicted, gold), lambda a, b: stats.kendalltau(a, b).statistic, weights, predicted, gold)
    check(figures.pearson(predicted, gold), lambda a, b: stats.pearsonr(a, b).statistic, weights, predicted, gold)


@settings(max_examples=25)
@given(st.integers(0, 10_000), st.integers(2, 60), st.booleans())
def test_errors_of_scores_are_those_of_scikit_learn(seed, n, ties):
    predicted, gold, weights = drawn(seed, n, ties)
    found = figures.of_scores(predicted, gold, [0.0])

    def r2(a, b):
        return sk.r2_score(b, a) if np.ptp(b) else np.nan

    def area(a, b):
        return sk.roc_auc_score(b >= 0, a) if 0 < (b >= 0).sum() < len(b) else np.nan

    def cut_f1(a, b):
        return sk.f1_score(b >= 0, a >= 0) if (b >= 0).any() or (a >= 0).any() else np.nan

    for name, reference in (
        ("r2", r2), ("auc_at_0", area), ("f1_at_0", cut_f1),
        ("mae", lambda a, b: sk.mean_absolute_error(b, a)), ("rmse", lambda a, b: sk.root_mean_squared_error(b, a)),
    ):  # fmt: skip
        check(found[name].of, reference, weights, predicted, gold)


@settings(max_examples=25)
@given(st.integers(0, 10_000), st.integers(12, 80))
def test_graded_scores_are_rounded_to_their_levels(seed, n):
    _, gold, weights = drawn(seed, n, True)
    predicted = gold + np.random.default_rng(seed).standard_normal(n)
    found = figures.of_scores(predicted, gold)
    levels = np.unique(gold)
    assert [name for name in found if name.startswith("f1_at")] == [f"f1_at_{level:g}" for level in levels[1:]]

    def rounded(a):
        return np.clip(np.floor(a + 0.5), levels[0], levels[-1]).astype(int)

    def kappa(a, b):
        a = rounded(a)
        # scikit-learn measures in places of its list of levels.
        known = list(range(int(levels[0]), int(levels[-1]) + 1))
        return np.nan if len({*a, *b}) == 1 else sk.cohen_kappa_score(a, b, labels=known, weights="quadratic")

    check(found["kappa"].of, kappa, weights, predicted, gold)
    for level in levels.astype(int):

        def one(a, b, level=level):
            there = (b == level).any() or (rounded(a) == level).any()
            return sk.f1_score(b == level, rounded(a) == level) if there else np.nan

        check(found[f"f1_of_{level}"].of, one, weights, predicted, gold)


def test_which_scores_are_graded():
    assert figures.levels_of(np.array([0.0, 3, 5, 5])) == [0, 3, 5]
    assert figures.levels_of(np.array([0.0] * 18 + [1, 2.6])) == [0, 1, 3]
    assert figures.levels_of(np.array([0.0] * 8 + [1, 2.6])) == [0, 1, 3]
    assert figures.levels_of(np.array([0.0] * 7 + [1, 1.5, 2.6])) == []
    assert figures.levels_of(np.ones(5)) == figures.levels_of(np.arange(12.0)) == figures.levels_of(np.zeros(0)) == []


def slow_recall(predicted, gold, least):
    """Every order of the equal predictions is as likely: the mean over all of them."""
    top = gold >= least
    if not top.any():
        return np.nan
    if top.all():
        return np.nan
    last = np.sort(predicted)[::-1][top.sum() - 1]
    sure, maybe = predicted > last, predicted == last
    return (top[sure].sum() + top[maybe].mean() * (top.sum() - sure.sum())) / top.sum()


@given(st.integers(0, 10_000), st.integers(2, 60), st.booleans(), st.sampled_from((0.01, 0.1, 0.5)))
def test_recall_of_the_top(seed, n, ties, share):
    predicted, gold, weights = drawn(seed, n, ties)
    of = figures.top_recall(predicted, gold, share)
    least = np.sort(gold)[::-1][max(1, int(np.floor(share * n + 0.5))) - 1]
    check(of, lambda a, b: slow_recall(a, b, least), weights, predicted, gold)
    same = value(figures.top_recall(gold, gold, share), np.ones((n, 1)))[0]
    assert same == pytest.approx(1) or np.isnan(same)


@settings(max_examples=25)
@given(st.integers(0, 10_000), st.integers(2, 60), st.integers(2, 4), st.booleans())
def test_figures_of_labels_are_those_of_scikit_learn(seed, n, classes, single):
    rng = np.random.default_rng(seed)
    weights = rng.multinomial(n, np.ones(n) / n, 4).T.astype(float)
    shares = rng.dirichlet(np.ones(classes), n).round(1)
    if single:
        gold = np.eye(classes, dtype=bool)[rng.integers(0, classes, n)]
        decided = np.eye(classes, dtype=bool)[shares.argmax(axis=1)]
    else:
        gold, decided = rng.random((n, classes)) < 0.4, shares >= 0.4
    labels = [f"l{i}" for i in range(classes)]
    found = figures.of_labels(shares, decided, gold, labels, single)

    def macro(s, d, g):
        occurs = d.any(axis=0) | g.any(axis=0)
        each = sk.f1_score(g, d, average=None, zero_division=0)
        return each[occurs].mean() if occurs.any() else np.nan

    def micro(s, d, g):
        return sk.f1_score(g, d, average="micro") if d.any() or g.any() else np.nan

    def area(s, g):
        return sk.roc_auc_score(g, s) if 0 < g.sum() < len(g) else np.nan

    def macro_area(s, d, g):
        each = [area(s[:, c], g[:, c]) for c in range(classes)]
        return np.nanmean(each) if np.isfinite(each).any() else np.nan

    parts = (weights, shares, decided, gold)
    check(found["macro_f1"].of, macro, *parts)
    check(found["macro_auc"].of, macro_area, *parts)
    check(found["accuracy" if single else "exact_match"].of, lambda s, d, g: sk.accuracy_score(g, d), *parts)
    assert ("micro_f1" in found) != single
    if not single:
        check(found["micro_f1"].of, micro, *parts)
    for c, label in enumerate(labels):
        check(found[f"auc:{label}"].of, lambda s, d, g, c=c: area(s[:, c], g[:, c]), *parts)


@given(st.integers(0, 10_000), st.integers(2, 40), st.integers(1, 4), st.booleans())
def test_pairs_within_groups_alone(seed, n, groups, ties):
    predicted, gold, weights = drawn(seed, n, ties)
    group = np.random.default_rng(seed).integers(0, groups, n)

    def pairs(p, g, s):
        """Of all pairs of a group: signs of the differences of predicted and of gold scores."""
        i, j = np.triu_indices(len(p), 1)
        same = s[i] == s[j]
        return np.sign(p[i] - p[j])[same], np.sign(g[i] - g[j])[same]

    def tau(p, g, s):
        a, b = pairs(p, g, s)
        return (a * b).sum() / np.sqrt((a**2).sum() * (b**2).sum()) if a.any() and b.any() else np.nan

    def area(p, g, s):
        a, b = pairs(p, 1.0 * g, s)
        apart = b != 0
        return ((a * b)[apart].mean() + 1) / 2 if apart.any() else np.nan

    def centred(p, g, s):
        for one in np.unique(s):
            p = np.where(s == one, p - p[s == one].mean(), p)
            g = np.where(s == one, g - g[s == one].mean(), g)
        spread = np.sqrt((p**2).sum() * (g**2).sum())
        return (p * g).sum() / spread if spread > 1e-9 else np.nan

    check(figures.kendall(predicted, gold, group), tau, weights, predicted, gold, group)
    positive = gold >= 1
    check(figures.auc(predicted, positive, group), area, weights, predicted, positive,
          group)  # fmt: skip
    check(figures.pearson(predicted, gold, group), centred, weights, predicted, gold, group)


def test_intervals_cover_as_often_as_they_say():
    """Of 200 samples of a normal distribution, 95 % intervals of the mean have the true one about 190 times."""
    rng = np.random.default_rng(1)
    covered = 0
    for seed in range(200):
        values = rng.standard_normal(60)
        one = measured({"mean": Figure(lambda w, v=values: v @ w / w.sum(axis=0))}, 60, 300, seed)["mean"]
        assert one["low"] < one["value"] < one["high"]
        covered += one["low"] <= 0 <= one["high"]
    assert 178 <= covered <= 198
    assert one["high"] - one["low"] == pytest.approx(2 * 1.96 * values.std() / np.sqrt(60), rel=0.2)


def test_resamples_of_what_they_enlarge_are_moved():
    distance = Figure(lambda w: np.abs(np.where(np.arange(100) % 2, 1, -1) @ w) / w.sum(axis=0), biased=True)
    one = measured({"x": distance}, 100, 500)["x"]
    assert one["value"] == 0 == one["low"] and 0.05 < one["high"] < 0.15  # 0.2 as they are
    half = measured({"x": Figure(lambda w: distance.of(w) + 0.5, biased=True)}, 100, 500)["x"]
    assert half["low"] < 0.5 < half["high"]


def test_intervals_are_seeded():
    predicted, gold, _ = drawn(3, 50, True)
    found = figures.of_scores(predicted, gold)
    assert measured(found, 50, 100) == measured(found, 50, 100)
    assert measured(found, 50, 100) != measured(found, 50, 100, seed=1)
    assert all(one["low"] is None and one["value"] is not None for one in measured(found, 50, 0).values())
    wide, narrow = measured(found, 50, 500, level=0.99)["mae"], measured(found, 50, 500, level=0.5)["mae"]
    assert wide["low"] < narrow["low"] < narrow["value"] < narrow["high"] < wide["high"]


@pytest.mark.parametrize("n", [1, 2, 7])
def test_what_says_nothing_says_why(n):
    constant, other = np.full(n, 3.0), np.arange(float(n))
    found = measured(figures.of_scores(other, constant, [3.0]), n, 20)
    for name in ("spearman", "kendall", "pearson", "r2", "recall_at_top"):
        assert found[name]["value"] is None and found[name]["reason"] == "all gold scores are equal"
    assert found["auc_at_3"]["reason"] == "gold scores are all at least 3"
    assert found["f1_at_3"]["value"] == pytest.approx(2 * max(n - 3, 0) / (max(n - 3, 0) + n))
    assert found["mae"]["value"] == pytest.approx(np.abs(other - 3).mean())
    if n > 1:
        found = measured(figures.of_scores(constant, other, [n + 5.0]), n, 20)
        assert found["kendall"]["reason"] == "all predicted scores are equal"
        assert found["auc_at_%g" % (n + 5)]["reason"] == f"gold scores are all below {n + 5}"
        assert found["f1_at_%g" % (n + 5)]["reason"] == f"no score, gold or predicted, is {n + 5} or more"
    labels = np.zeros((n, 2), bool)
    found = measured(figures.of_labels(np.zeros((n, 2)), labels, labels, ["a", "b"], False), n, 20)
    assert found["exact_match"]["value"] == 1 and found["macro_f1"]["value"] is None
    assert found["auc:a"] == {"value": None, "low": None, "high": None, "reason": "no text has this label"}


def test_a_figure_that_few_resamples_have_gets_no_interval():
    gold = np.array([1.0] + [0.0] * 9)
    positive = measured({"auc": Figure(figures.auc(np.arange(10.0), gold > 0))}, 10, 200)["auc"]
    assert positive["low"] == 0  # two of three have the one text
    seldom = Figure(lambda w: np.where((w.max(axis=0) >= 5) | (w.max(axis=0) == 1), 1.0, np.nan))
    assert measured({"x": seldom}, 10, 200)["x"] == {"value": 1.0, "low": None, "high": None}


def test_many_texts_at_once():
    """The weights of a large set come in several parts: their number must not matter."""
    rng = np.random.default_rng(0)
    gold = rng.integers(0, 6, 30_000).astype(float)
    predicted = gold + rng.standard_normal(len(gold))
    found = measured({"tau": Figure(figures.kendall(predicted, gold))}, len(gold), 100)["tau"]
    assert found["value"] == pytest.approx(stats.kendalltau(predicted, gold).statistic, abs=1e-12)
    assert found["value"] - 0.01 < found["low"] < found["value"] < found["high"] < found["value"] + 0.01
    counted = [part.sum(axis=0) for part in intervals._resampled(30_000, 100, 0)]
    assert len(counted) > 1 and sum(map(len, counted)) == 100 and all((one == 30_000).all() for one in counted)
