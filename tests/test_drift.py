"""Two-sample tests against scipy, under no drift and under drift; the command on files."""

from __future__ import annotations

import json
import math
from pathlib import Path

import numpy as np
import pytest
from conftest import make_parts
from scipy import stats

from sparsedistill import Classifier, DataError, SettingsError, two_sample
from sparsedistill import drift as drift_module
from sparsedistill.cli import main
from sparsedistill.drift import Sample, compared, drift, drifted, sample_of
from sparsedistill.options import Data
from sparsedistill.student.compress import compress
from sparsedistill.student.model import Student
from sparsedistill.student.vocabulary import Vocabulary

WORDS = ["film", "good", "bad", "not", "the", "was", "a", "at", "all", "zzz", "schlecht", "other"]


def texts_of(n: int, seed: int, weights=None) -> list[str]:
    rng = np.random.default_rng(seed)
    p = None if weights is None else np.array(weights) / sum(weights)
    return [" ".join(rng.choice(WORDS, rng.integers(3, 15), p=p)) for _ in range(n)]


@pytest.fixture
def files(tmp_path):
    """Texts of a reference, of the same distribution, and of another, one a line."""
    paths = {}
    for name, seed, weights in (("old", 1, None), ("same", 2, None), ("other", 3, [1] * 9 + [1, 12, 12])):
        paths[name] = tmp_path / f"{name}.txt"
        paths[name].write_text("\n".join(texts_of(800, seed, weights)), encoding="utf-8")
    return {name: str(path) for name, path in paths.items()}


@pytest.fixture
def saved(tmp_path) -> str:
    Classifier(*make_parts(labels=3)).save(tmp_path / "model")
    return str(tmp_path / "model")


# ---- the statistics --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("sizes, tolerance", [((5, 7), 0.05), ((30, 45), 0.02), ((20, 1000), 0.02), ((300, 500), 0.01)])
def test_kolmogorov_smirnov_against_scipy(sizes, tolerance):
    rng = np.random.default_rng(sum(sizes))
    for shift in (0, 0, 0.1, 0.5, 1, 3):
        a, b = rng.normal(size=sizes[0]), rng.normal(size=sizes[1]) + shift
        expected = stats.ks_2samp(a, b, method="exact")
        distance = two_sample.ks_distance(a, b)
        assert distance == pytest.approx(expected.statistic, abs=1e-12)
        assert two_sample.ks_p_value(distance, *sizes) == pytest.approx(expected.pvalue, abs=tolerance)


def test_kolmogorov_s_distribution_on_both_sides_of_the_change_of_series():
    n = 2 * 10**16
    for x in (0.21, 0.5, 1.17999, 1.18001, 2.0, 5.0, 20.0):
        assert two_sample.ks_p_value(x / math.sqrt(n / 2), n, n) == pytest.approx(stats.kstwobign.sf(x), rel=1e-4)
    assert two_sample.ks_p_value(0.0, 10, 10) == 1.0


def test_kolmogorov_smirnov_with_values_that_repeat():
    a, b = np.array([0, 0, 1, 1, 1]), np.array([0, 1, 1, 2])
    assert two_sample.ks_distance(a, b) == pytest.approx(stats.ks_2samp(a, b).statistic)
    assert two_sample.ks_distance(np.zeros(3), np.ones(4)) == 1.0
    assert two_sample.ks_distance(np.zeros(3), np.zeros(4)) == 0.0


def test_chi_squared_against_scipy():
    for degrees in (1, 2, 3, 10, 77, 500):
        for x in (1e-3, 0.5, degrees / 2, degrees, degrees + 1.9, degrees + 2.1, 3 * degrees, 1000.0):
            expected = stats.chi2.sf(x, degrees)
            assert two_sample.chi_squared_p_value(x, degrees) == pytest.approx(expected, rel=1e-10, abs=1e-300)
    assert two_sample.chi_squared_p_value(0.0, 3) == 1.0 == two_sample.chi_squared_p_value(5.0, 0)


def test_homogeneity_against_scipy():
    a, b = np.array([40, 30, 50]), np.array([90, 20, 60])
    expected = stats.chi2_contingency(np.stack([a, b]), correction=False)
    statistic, degrees = two_sample.homogeneity(a, b)
    assert (statistic, degrees) == (pytest.approx(expected.statistic), expected.dof)
    rare = two_sample.homogeneity(np.append(a, [1, 2, 0]), np.append(b, [2, 1, 0]))
    merged = two_sample.homogeneity(np.append(a, 3), np.append(b, 3))
    assert rare == merged and merged[1] == 3
    assert two_sample.homogeneity(np.array([9, 0]), np.array([5, 0]))[1] == 0


def test_holm():
    assert two_sample.holm([0.01, 0.04, 0.03]) == pytest.approx([0.03, 0.06, 0.06])
    assert two_sample.holm([0.9, 0.8]) == [1.0, 1.0] and two_sample.holm([]) == []


def test_effect_sizes():
    a, b = np.array([50, 50]), np.array([20, 80])
    assert two_sample.total_variation(a, b) == pytest.approx(0.3)
    p, q = np.array([50.5, 50.5]) / 101, np.array([20.5, 80.5]) / 101
    assert two_sample.stability_index(a, b) == pytest.approx(((q - p) * np.log(q / p)).sum())
    assert two_sample.stability_index(a, a) == 0
    first, second = two_sample.binned(np.arange(1000), np.arange(500, 1000))
    assert first.tolist() == [100] * 10 and second.tolist() == [0] * 5 + [100] * 5


def test_log_odds_are_standard_normal_without_drift_and_shrink_what_is_rare():
    rng = np.random.default_rng(0)
    shares = rng.dirichlet(np.full(400, 0.5))
    a, b = rng.multinomial(40_000, shares), rng.multinomial(20_000, shares)
    often = a + b > 50
    z = two_sample.log_odds(a, b, a.sum(), b.sum())
    # The prior of what is found in both makes z smaller than a normal variable, never larger.
    assert abs(z[often].mean()) < 0.1 and 0.4 < z[often].std() < 1.05
    once, often = two_sample.log_odds(np.array([0, 0, 100]), np.array([1, 50, 100]), 40_000, 40_000)[:2]
    assert 0 < once < 1.5 < 4 < often


# ---- samples ---------------------------------------------------------------------------------------------------------


def test_p_values_are_uniform_without_drift():
    """One set of texts, parted at random many times: as many p-values below any level as the level says."""
    classifier = Classifier(*make_parts(labels=3))
    whole = sample_of(classifier, [(texts_of(3000, 0), str)], classifier.heads)
    logits = classifier.decision_function(texts_of(3000, 0))
    rng = np.random.default_rng(0)
    found: dict[str, list[float]] = {}
    for _ in range(300):
        halves = np.split(rng.permutation(3000), [1200])
        some = [
            Sample(
                len(rows), 0, {name: numbers[rows] for name, numbers in whole.numbers.items()},
                {"": np.bincount(logits[rows].argmax(axis=1), minlength=3)},
            )
            for rows in halves
        ]  # fmt: skip
        for row in compared(*some):
            found.setdefault(row["name"], []).append(row["p"])
    assert {"confidence", "labels", "coverage", "tokens"} <= set(found)
    for name, p in found.items():
        levels = np.array([np.mean(np.array(p) <= level) for level in (0.05, 0.1, 0.25, 0.5)])
        assert (levels <= np.array([0.05, 0.1, 0.25, 0.5]) + 0.075).all(), name  # where values repeat, fewer
        if name in ("confidence", "labels"):
            assert stats.kstest(p, "uniform").pvalue > 1e-3, name
    # A test that rejected no drift at all would pass the above.
    shifted = Sample(1200, 0, {"confidence": whole.numbers["confidence"][:1200] ** 2})
    (row,) = compared(Sample(1800, 0, {"confidence": whole.numbers["confidence"][1200:]}), shifted)
    assert row["p"] < 1e-9


def test_what_a_sample_has():
    texts = ["not bad at all", "", "zzz film", "good"]
    classifier = Classifier(*make_parts(labels=3))
    found = sample_of(classifier, [(texts[:1], str), (texts[1:], lambda i: f"later {i}")], classifier.heads, 2)
    assert (found.texts, found.tokens) == (4, 7)
    assert found.numbers["tokens"].tolist() == [4, 0, 2, 1]
    assert found.numbers["coverage"].tolist() == [1, 0, 0.5, 1]
    assert found.numbers["coverage of 2-grams"].tolist() == [1, 0]  # two texts have any
    assert [(row["text"], row["place"]) for row in found.least_covered] == [("", "later 0"), ("zzz film", "later 1")]
    probabilities = classifier.predict_proba(texts)
    np.testing.assert_allclose(found.numbers["confidence"], probabilities.max(axis=1), rtol=1e-6)
    assert found.labels[""].tolist() == np.bincount(probabilities.argmax(axis=1), minlength=3).tolist()


def test_heads():
    heads = {"a": ("single", 2), "b": ("multi", 2), "c": ("regression", 1)}
    classifier = Classifier(*make_parts(heads=heads))
    texts = texts_of(50, 0)
    found = sample_of(classifier, [(texts, str)], classifier.heads)
    assert {"a: confidence", "c: score", *(f"b: p({label})" for label in classifier.heads[1].labels)} <= set(
        found.numbers
    )
    np.testing.assert_allclose(found.numbers["c: score"], classifier.predict(texts, head="c"), rtol=1e-6)
    given = [
        sum(label in labels for labels in classifier.predict(texts, head="b")) for label in classifier.heads[1].labels
    ]
    assert found.labels["b"].tolist() == given
    names = [row["name"] for row in compared(found, found)]
    assert "a: labels" in names and "b: labels" not in names
    only = sample_of(classifier, [(texts, str)], classifier.heads[:1])
    assert set(only.labels) == {"a"}


# ---- the whole -------------------------------------------------------------------------------------------------------


def test_drift_is_found_and_no_drift_is_not(saved, files):
    classifier = Classifier.load(saved)
    same = drift(classifier, [files["old"]], [files["same"]])
    assert not drifted(same, 0.0)
    other = drift(classifier, [files["old"]], [files["other"]], top=3)
    assert {"coverage", "labels"} & set(drifted(other, 0.1))
    assert {row["ngram"] for row in other["ngrams"]["new"]} == {"schlecht", "other"}
    assert other["ngrams"]["unknown"][0]["ngram"] == "other"  # "schlecht" has a row
    assert not {"schlecht", "other"} & {row["ngram"] for row in other["ngrams"]["reference"]}
    lines = Path(files["other"]).read_text(encoding="utf-8").split()
    assert other["ngrams"]["unknown"][0]["new"] == lines.count("other")
    assert other["new"] == {"sources": [files["other"]], "texts": 800, "tokens": len(lines)}
    shares = other["labels"][""]
    assert sum(one["new"] for one in shares) == pytest.approx(1) == sum(one["reference"] for one in shares)


def test_the_command(saved, files, tmp_path, capsys, drawn):
    report = tmp_path / "drift.json"
    picture = tmp_path / "drift.png"
    asked = ["drift", saved, files["old"], files["other"], "--fail-above", "0.1", "--json", str(report)]
    assert main([*asked, "--plot", str(picture)]) == 1
    out, err = capsys.readouterr()
    assert "drift above 0.1: " in err and "schlecht" in out and "p adjusted" in out
    written = json.loads(report.read_text(encoding="utf-8"))
    assert written["classifier"] == saved
    assert drifted(written, 0.1)
    assert picture.read_bytes().startswith(b"\x89PNG")
    assert main(["drift", saved, files["old"], files["same"], "--fail-above", "0.1"]) == 0
    assert main(["drift", saved, files["old"], files["other"]]) == 0  # nobody asked
    assert main(["drift", saved, files["old"], files["same"], "--fail-above", "2"]) == 2
    assert main(["drift", saved, "-", files["same"]]) == 2


def test_a_small_set_has_its_place_among_the_n_grams(saved, tmp_path, monkeypatch):
    monkeypatch.setattr(drift_module, "NGRAMS", 20)
    (tmp_path / "large.txt").write_text("\n".join(texts_of(2000, 0)), encoding="utf-8")
    (tmp_path / "small.txt").write_text("\n".join(["novel novel word"] * 20), encoding="utf-8")
    found = drift(Classifier.load(saved), [str(tmp_path / "large.txt")], [str(tmp_path / "small.txt")])
    assert {row["ngram"] for row in found["ngrams"]["unknown"]} == {"novel", "word"}


def test_few_texts_and_none(saved, tmp_path):
    classifier = Classifier.load(saved)
    for name, text in (("one", "zzz zzz"), ("blank", ""), ("empty", "")):
        (tmp_path / f"{name}.txt").write_text(text + "\n" * (name != "empty"), encoding="utf-8")
    one, blank, empty = (str(tmp_path / f"{name}.txt") for name in ("one", "blank", "empty"))
    found = drift(classifier, [blank], [one])
    assert [row["ngram"] for row in found["ngrams"]["unknown"]] == ["zzz"]
    assert not drifted(found, 0.0)
    assert drift(classifier, [blank], [blank])["ngrams"] == {"new": [], "reference": [], "unknown": []}
    with pytest.raises(DataError, match="no text"):
        drift(classifier, [one], [empty])


def test_hashed_rows_have_no_coverage_to_compare():
    vocabulary = Vocabulary.hash(64, tokenizer="words", max_n=2)
    classifier = compress(Student(64, 3, (6,), 7, 0.0, 1), vocabulary, ("a", "b", "c"), "single")
    found = sample_of(classifier, [(texts_of(9, 0), str)], classifier.heads, 3)
    assert set(found.numbers) == {"tokens", "confidence"} and not found.least_covered


def test_pairs_want_a_second_column(saved, files):
    with pytest.raises(SettingsError, match="--pair"):
        drift(Classifier.load(saved), [files["old"]], [files["same"]], Data(pair="second"))
