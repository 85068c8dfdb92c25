"""Smaller classifiers: pruning, narrowing and training against plain twins, the search, the front, the stage."""

from __future__ import annotations

import itertools
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from sparsedistill import Classifier, Run, Settings, SettingsError, cli, distill
from sparsedistill.format import read_json
from sparsedistill.heads import probabilities
from sparsedistill.sizes import front, is_as_good, picked, smallest, table
from sparsedistill.student import prune
from sparsedistill.student.compress import compress
from sparsedistill.student.model import Student
from sparsedistill.student.shrink import Shrinker
from sparsedistill.student.sizes import _ladder, _round, search
from sparsedistill.student.vocabulary import Vocabulary
from sparsedistill.tasks import TASKS

WORDS = ("good", "bad", "film", "plot", "not", "a", "very", "the", "fine", "dull")
TEXTS = [" ".join(words) for words in itertools.permutations(WORDS, 3)]


def made(pooling="mean", hidden=(8,), embedding=0, classes=3, **rules) -> tuple[Student, Vocabulary]:
    vocabulary = Vocabulary.count([TEXTS], max_n=3, **rules)
    student = Student(len(vocabulary), classes, list(hidden), embedding, 0.1, 5, pooling=pooling)
    with torch.no_grad():
        for parameter in student.parameters():
            parameter.add_(torch.randn(parameter.shape, generator=torch.Generator().manual_seed(1)) * 0.3)
    student.table[:] = np.random.default_rng(2).standard_normal(student.table.shape).astype(np.float32)
    return student, vocabulary


def logits(student: Student, vocabulary: Vocabulary, texts=TEXTS) -> np.ndarray:
    return student.logits(*vocabulary.bags(texts, 1), 1)


@settings(max_examples=60)
@given(st.data())
def test_every_cut_of_the_order_has_its_prefixes(data):
    rows = data.draw(st.integers(1, 30))
    prefixes = np.array([data.draw(st.integers(-1, i - 1)) for i in range(rows)])
    scores = np.array(data.draw(st.lists(st.integers(0, 9), min_size=rows, max_size=rows)), float)
    order = prune.closed(scores, prefixes).tolist()
    assert sorted(order) == list(range(rows))

    def best(row: int) -> float:
        return max([scores[row], *(best(other) for other in range(rows) if prefixes[other] == row)])

    place = {row: i for i, row in enumerate(order)}
    for row in range(rows):
        assert prefixes[row] < 0 or place[int(prefixes[row])] < place[row]
    values = [best(row) for row in order]
    assert values == sorted(values, reverse=True)


@pytest.mark.parametrize("rules", [{}, {"characters": "all", "characters_min": 2, "characters_max": 4}])
def test_prefixes_are_one_token_or_code_point_shorter(rules):
    vocabulary = Vocabulary.count([[*TEXTS, "naïve 日本 été"]], max_n=3, **rules)
    ngrams = vocabulary.ngrams()
    for ngram, row in zip(ngrams, prune.parents(vocabulary).tolist(), strict=True):
        shorter = ngram[:-1] if ngram.startswith(" ") else " ".join(ngram.split(" ")[:-1])
        is_first = len(ngram) == 1 + 2 if ngram.startswith(" ") else " " not in ngram
        assert (row == -1) == is_first
        assert is_first or ngrams[row] == shorter


@pytest.mark.parametrize("pooling", ["mean", "sum", "sqrtn"])
@pytest.mark.parametrize("embedding", [0, 12])
def test_folding_changes_no_logit(pooling, embedding):
    student, vocabulary = made(pooling, embedding=embedding)
    folded = prune.folded(student)
    assert folded.table.shape[1] == 8
    np.testing.assert_allclose(logits(folded, vocabulary), logits(student, vocabulary), atol=1e-4)


def test_what_is_kept_is_what_it_was():
    student, vocabulary = made()
    rows = prune.closed(np.random.default_rng(0).random(len(vocabulary)), prune.parents(vocabulary))[:60]
    smaller, fewer = prune.kept(student, vocabulary, rows)
    known, own = vocabulary.ngrams(), fewer.ngrams()
    assert own == [known[row] for row in sorted(rows.tolist())]
    assert fewer.counts.tolist() == vocabulary.counts[np.sort(rows)].tolist()
    ids, offsets = vocabulary.bags(TEXTS, 1)
    left = [[known[i] for i in ids[a:b] if i in set(rows.tolist())] for a, b in itertools.pairwise(offsets.tolist())]
    ids, offsets = fewer.bags(TEXTS, 1)
    assert [[own[i] for i in ids[a:b]] for a, b in itertools.pairwise(offsets.tolist())] == left
    np.testing.assert_array_equal(smaller.table, student.table[np.sort(rows)])
    assert fewer.words == len(fewer)


def test_effects_are_those_of_their_twin():
    student, vocabulary = made(classes=3)
    folded = prune.folded(student)
    pooled = folded.pool(vocabulary.bags(TEXTS[:20], 1), 1)
    found = prune.effects(folded, vocabulary, pooled)
    counts = vocabulary.counts.astype(float)
    mean = (folded.table * counts[:, None]).sum(axis=0) / counts.sum()
    for row in range(0, len(vocabulary), 37):
        squares = []
        for text in pooled:
            jacobian = torch.autograd.functional.jacobian(lambda x: folded(x[None])[0], text)
            change = jacobian.numpy() @ (folded.table[row] - mean)
            squares.append(((change - change.mean()) ** 2).sum())
        assert abs(found[row] - counts[row] * np.mean(squares)) <= 1e-3 * found[row]


@pytest.mark.parametrize("embedding", [0, 6])
def test_narrow_rows_hold_what_the_components_hold(embedding):
    student, vocabulary = made(embedding=embedding)
    folded = prune.folded(student)
    pooled = folded.pool(vocabulary.bags(TEXTS, 1), 1).numpy()
    whole = prune.narrowed(folded, pooled, folded.table.shape[1])
    np.testing.assert_allclose(logits(whole, vocabulary), logits(student, vocabulary), atol=1e-4)
    few = prune.narrowed(folded, pooled, 4)
    assert few.table.shape[1] == 4
    # What is pooled is the nearest to what it was that four numbers can tell: the principal components' own rest.
    apart = pooled - pooled.mean(axis=0)
    rest = np.linalg.svd(apart, compute_uv=False)[4:]
    own = few.pool(vocabulary.bags(TEXTS, 1), 1)
    with torch.no_grad():
        back = few.factor(own).numpy() - (folded.bias if embedding == 0 else torch.zeros(8)).detach().numpy()
    if embedding == 0:
        assert abs(np.linalg.norm(back - pooled) - np.linalg.norm(rest)) < 1e-2


def test_rows_in_slots_may_have_a_layer_above():
    student, vocabulary = made()
    folded = prune.folded(student)
    pooled = folded.pool(vocabulary.bags(TEXTS, 1), 1).numpy()
    few = prune.narrowed(folded, pooled, 4)
    classifier = compress(few, vocabulary, ("a", "b", "c"), "single", "int16")
    assert classifier.config["rows"]["in_slots"] and classifier.config["layers"] == 2
    np.testing.assert_allclose(classifier.decision_function(TEXTS), logits(few, vocabulary), atol=1e-3)


def test_training_wins_back_what_pruning_loses():
    student, vocabulary = made()
    of_words = dict(zip(WORDS, np.random.default_rng(0).standard_normal((len(WORDS), 8)), strict=True))
    for row, ngram in enumerate(vocabulary.ngrams()):  # what longer ones say their words can say, too
        student.table[row] = sum(of_words[word] for word in ngram.split(" "))
    shrinker = Shrinker(student, vocabulary, TEXTS * 4, TASKS["single"], lambda *_: 0.0, 1)
    full = logits(student, vocabulary)

    def apart(recover: bool) -> float:
        smaller, fewer = shrinker.smaller(100, 8, recover)
        assert (len(fewer), smaller.table.shape[1]) == (100, 8)
        return float(np.mean(np.abs(probabilities(logits(smaller, fewer), "single") - probabilities(full, "single"))))

    assert apart(True) < 0.7 * apart(False)
    np.testing.assert_array_equal(logits(student, vocabulary), full)  # the full one is left alone


@pytest.mark.parametrize("pooling", ["max", "mean+max", "attentive"])
def test_other_poolings_are_pruned_and_not_narrowed(pooling):
    student, vocabulary = made(pooling, embedding=12 if pooling != "attentive" else 8)
    shrinker = Shrinker(student, vocabulary, TEXTS, TASKS["single"], lambda *_: 0.0, 1)
    assert not shrinker.narrows
    smaller, fewer = shrinker.smaller(50, shrinker.width)
    assert smaller.table.shape == (50, shrinker.width)
    assert np.isfinite(logits(smaller, fewer)).all()


# ---- the search and the front ----------------------------------------------------------------------------------------


def size(name: str, dev: float, megabytes: float, rate: float, lost: float = 0.0, log_loss: float = 1.0) -> dict:
    return {
        "name": name, "dev": dev, "megabytes": megabytes, "texts_per_second": rate, "lost": lost, "rows": 5, "width": 4,
        "type": "int8", "log_loss": log_loss, "fidelity": dev,
    }  # fmt: skip


@settings(max_examples=60)
@given(st.lists(st.tuples(*[st.integers(0, 4)] * 3), min_size=1, max_size=12))
def test_the_front_is_that_of_its_twin(points):
    sizes = [size(str(i), *map(float, point)) for i, point in enumerate(points)]
    found = {one["name"] for one in front(sizes)}
    for i, (a, b, c) in enumerate(points):
        beaten = any(x >= a and y <= b and z >= c and (x, y, z) != (a, b, c) for x, y, z in points)
        assert (str(i) in found) == (not beaten)


def test_what_is_picked_keeps_to_the_limits():
    sizes = [size("small", 0.80, 1, 900), size("middle", 0.88, 5, 500), size("large", 0.90, 50, 100)]
    assert picked(sizes)["name"] == "large"
    assert picked(sizes, max_mb=5)["name"] == "middle"
    assert picked(sizes, min_accuracy=0.85)["name"] == "middle"
    assert picked(sizes, min_speed=600)["name"] == "small"
    with pytest.raises(SettingsError, match=r"no size of 0\.5 MB or less: the nearest is small, 1"):
        picked(sizes, max_mb=0.5)
    with pytest.raises(
        SettingsError, match=r"has 0\.89 or more on dev, within the other limits: the nearest is middle, 0\.88"
    ):
        picked(sizes, max_mb=10, min_accuracy=0.89)


def test_the_smallest_is_as_right_and_as_certain():
    full = size("full", 0.9, 50, 100)
    unsure = size("unsure", 0.9, 1, 900, 0.0, 1.2)
    worse, good = size("worse", 0.89, 2, 900, 0.01), size("good", 0.899, 3, 900, 0.001)
    assert not is_as_good(unsure, full, 0.002)
    assert smallest([unsure, worse, good], full, 0.002)["name"] == "good"
    assert smallest([unsure, worse], full, 0.002) is full
    lines = table([good, full], "accuracy", full, good).split("\n")
    assert lines[2].startswith("good *") and lines[3].startswith("full (full)")


def test_the_search_goes_from_narrow_to_wide_and_looks_closely_at_the_edge(tmp_path):
    asked: list[tuple[int, int]] = []

    def smaller(rows: int, width: int) -> tuple[SimpleNamespace, list[int]]:
        asked.append((rows, width))
        return SimpleNamespace(table=np.zeros((rows, width))), [0] * rows

    def make(vocabulary: list[int], student: SimpleNamespace, kind: str) -> tuple[SimpleNamespace, dict]:
        rows, width = student.table.shape
        dev = 0.9 if rows >= 20_000 and width >= 16 else 0.88 if rows >= 2000 else 0.5
        saved = SimpleNamespace(save=lambda path: path.mkdir(exist_ok=True))
        return saved, {"dev": dev, "log_loss": 1.0, "fidelity": dev}

    shrinker = SimpleNamespace(vocabulary=[0] * 500_000, width=256, narrows=True, smaller=smaller)
    full = size("full", 0.9, 50, 100)
    arguments = shrinker, make, lambda width: ("int8",), full, 0.002, tmp_path / "sizes"
    found = search(*arguments, "key")
    large = [(rows, width) for rows in (500_000, 300_000, 100_000, 30_000) for width in (4, 16)]
    fewer = [(rows, width) for rows in (10_000, 3000, 1000) for width in (4, 16, 256)]
    edge = [(rows, width) for rows in (17_000,) for width in (4, 16, 256)] + [(23_000, 4), (23_000, 16)]
    assert asked == [*large, *fewer, *edge]
    assert min(one["rows"] for one in found if is_as_good(one, full, 0.002)) == 23_000
    asked.clear()
    assert search(*arguments, "key") == found and not asked  # what is measured is not measured again
    search(*arguments, "other")
    assert asked


def test_ladders_go_down_by_thirds():
    assert _ladder(123_456) == [123_456, 100_000, 30_000, 10_000, 3000, 1000, 300]
    assert _ladder(200) == [200]
    assert [_round(n) for n in (17_320, 5, 99, 1049)] == [17_000, 5, 99, 1000]


# ---- the stage -------------------------------------------------------------------------------------------------------


def labelled(count: int) -> tuple[list[str], list[str]]:
    random = np.random.default_rng(3)
    texts = [" ".join([*random.choice(WORDS, 6).tolist(), f"w{random.integers(400)}"]) for _ in range(count)]
    return texts, ["yes" if text.count("good") >= text.count("bad") else "no" for text in texts]


def test_a_run_ships_the_smallest_that_is_as_good(tmp_path, capsys):
    train, dev = labelled(900), labelled(500)
    asked = {"train": train, "dev": dev, "directory": tmp_path / "run", "hidden": [16], "max_n": 2, "threads": 1}
    classifier = distill(**asked, sizing_above=0.0, sizing_loss=0.01)
    report = classifier.report
    assert report.selected == "sized" and {"scratch", "sized"} <= set(report.figures)
    full, sized = report.figures["scratch"], report.figures["sized"]
    assert sized["megabytes"] < full["megabytes"] and sized["dev"] >= full["dev"] - 0.01
    result = read_json(tmp_path / "run" / "stages" / "size.json")["result"]
    assert classifier.config["rows"]["count"] == result["rows"] < 1000
    assert classifier.config["provenance"]["sized"]["of"] == "scratch"
    assert "were trained on its logits" in (tmp_path / "run" / "classifier" / "README.md").read_text()
    assert (tmp_path / "run" / "sizes" / "sizes.png").stat().st_size > 5000
    assert Classifier.load(tmp_path / "run" / "classifiers" / "sized").predict(dev[0]) == classifier.predict(dev[0])
    capsys.readouterr()
    distill(**asked, sizing_above=0.0, sizing_loss=0.01)
    assert "size: done already" in capsys.readouterr().err
    small, facts = tmp_path / "small", tmp_path / "all.json"
    command = ["budget", str(tmp_path / "run"), "--output", str(small), "--json", str(facts)]
    assert cli.main([*command, "--max-mb", "0.015", "--plot", str(tmp_path / "plot.png")]) == 0
    shown = capsys.readouterr()
    assert " *" in shown.out and "(full)" in shown.out and "size:" in shown.err and "recover" not in shown.err
    found = read_json(facts)
    chosen = next(one for one in found["sizes"] if one["name"] == found["chosen"])
    assert chosen["dev"] == max(one["dev"] for one in found["sizes"] if one["megabytes"] <= 0.015)
    assert Classifier.load(small).config["rows"]["count"] == chosen["rows"]
    assert cli.main([*command, "--min-accuracy", "1.01"]) == 2
    assert cli.main([*command, "--max-mb", "1", "--loss", "0.1"]) == 2
    again = distill(**asked, sizing=False)
    assert again.report.selected == "scratch" and "sized" not in again.report.figures


def test_a_small_classifier_stays_as_it_is(tmp_path, capsys):
    classifier = distill(train=labelled(300), directory=tmp_path, hidden=[8], max_n=1, threads=1)
    assert classifier.report.selected == "scratch"
    assert "size: the classifier stays as it is" in capsys.readouterr().err


def test_sizes_of_other_settings_are_not_shipped(tmp_path):
    run = Run(tmp_path / "run", Settings.of(modes="scratch", **files(tmp_path), hidden=[8], max_n=1, threads=1))
    run.execute()
    changed = Run(tmp_path / "run", Settings.of(modes="scratch", **files(tmp_path), hidden=[4], max_n=1, threads=1))
    with pytest.raises(SettingsError, match="'size' is stale"):
        changed.execute(["count", "distill", "compress", "evaluate"])


def files(tmp_path) -> dict[str, str]:
    path = tmp_path / "train.csv"
    if not path.exists():
        rows = [f"{text},{label}" for text, label in zip(*labelled(200), strict=True)]
        path.write_text("\n".join(["text,label", *rows]) + "\n")
    return {"train": str(path)}
