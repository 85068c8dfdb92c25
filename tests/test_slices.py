"""A classifier measured on a file: figures within slices and pooled within them, cut points, and the command line."""

from __future__ import annotations

import csv
import json

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn import metrics as sk

from sparsedistill import Classifier, cli, cuts, slices
from sparsedistill.calibrate import expected_calibration_error
from sparsedistill.classifier import probabilities
from sparsedistill.errors import DataError, FormatError, SettingsError
from sparsedistill.intervals import measured
from sparsedistill.measure import choose_cut, measure
from sparsedistill.measured import tables
from sparsedistill.options import Data

WORDS = ("the", "film", "was", "not", "bad", "at all", "good", "a", "das", "war", "nicht", "schlecht", "lovely", "day")


def texts_of(n: int, seed: int = 0) -> list[str]:
    rng = np.random.default_rng(seed)
    return [" ".join(rng.choice(WORDS, rng.integers(2, 9))) for _ in range(n)]


def write(path, **columns) -> str:
    with open(path, "w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows([list(columns), *zip(*columns.values(), strict=True)])
    return str(path)


@pytest.fixture(scope="module")
def made(tmp_path_factory, parts):
    """Folder, and classifiers of each task in it."""
    home = tmp_path_factory.mktemp("measured")
    found = {}
    for task, labels in (("single", 3), ("multi", 3), ("regression", 1)):
        found[task] = Classifier(*parts(task, labels=labels))
        found[task].save(home / task)
    return home, found


@pytest.fixture
def scored(made, tmp_path):
    """(classifier of scores, file of graded texts with their site)."""
    classifier, texts = made[1]["regression"], texts_of(150)
    scores = np.array(classifier.predict(texts))
    rng = np.random.default_rng(0)
    grades = np.clip(np.round(2.5 + 2 * (scores - scores.mean()) / scores.std() + rng.standard_normal(150)), 0, 5)
    sites = ["a"] * 60 + ["b"] * 60 + ["c"] * 20 + [""] * 10
    return classifier, write(tmp_path / "pages.csv", text=texts, grade=grades.astype(int), site=sites)


def test_slices_and_rare_ones():
    found = slices.slices_of(["b"] * 40 + ["a"] * 50 + [None, "", float("nan")] * 12 + ["x"] * 3 + ["y"])
    assert found.names == ("a", "b", "(none)", "(others)") and found.rare == 2
    assert np.bincount(found.place).tolist() == [50, 40, 36, 4]
    assert len(set(found.own[-4:].tolist())) == 2  # x and y are apart, as they are
    few = slices.slices_of([2020.0] * 40 + [2021] * 31 + [["a", "b"]] * 35, most=2)
    assert few.names == ("2020", "a, b", "(others)") and few.rare == 1
    assert slices.slices_of(["a"] * 30).names == ("a",) and slices.slices_of(["a"] * 30).rare == 0
    assert slices.slices_of(["a"] * 29).names == ("(others)",)


def test_a_score_that_knows_the_slice_alone_has_nothing_left():
    rng = np.random.default_rng(1)
    site = rng.integers(0, 4, 400)
    gold = site + rng.standard_normal(400)
    known = slices.slices_of(site.tolist())
    alone = measured(slices.of_scores_within(site.astype(float), gold, [2.0], known), 400, 0)
    assert alone["pearson_centred"]["value"] is None and "no two texts" in alone["pearson_centred"]["reason"]
    assert alone["kendall_within"]["value"] is None and alone["auc_within_at_2"]["value"] == 0.5
    noisy = measured(slices.of_scores_within(10.0 * site + rng.standard_normal(400), gold, [2.0], known), 400, 300)
    for name, nothing in (("pearson_centred", 0), ("kendall_within", 0), ("auc_within_at_2", 0.5)):
        assert noisy[name]["low"] < nothing < noisy[name]["high"] and abs(noisy[name]["value"] - nothing) < 0.1
    better = measured(slices.of_scores_within(gold - site, gold, [2.0], known), 400, 0)
    assert better["pearson_centred"]["value"] > 0.99 and better["auc_within_at_2"]["value"] == 1
    means = np.array([gold[site == one].mean() for one in range(4)])[site]
    assert alone["slice_r2"]["value"] == pytest.approx(sk.r2_score(gold, means))
    assert noisy["slice_r2"]["low"] < noisy["slice_r2"]["value"] < noisy["slice_r2"]["high"]


def test_rare_slices_count_as_they_are():
    site = np.arange(200) // 10  # too small each to be shown, and together "(others)"
    known, gold = slices.slices_of(site.tolist()), site + np.tile([0.0, 1.0], 100)
    alone = measured(slices.of_scores_within(1.0 * site, gold, [10.0], known), 200, 0)
    assert known.names == ("(others)",)
    assert alone["pearson_centred"]["value"] is None and alone["auc_within_at_10"]["value"] == 0.5
    wanted, share = gold >= 10, site / 20
    labels = measured(slices.of_labels_within(
        np.stack([1 - share, share], axis=1), np.stack([~wanted, wanted], axis=1), ["no", "yes"], True, known
    ), 200, 0)  # fmt: skip
    assert labels["auc_within:yes"]["value"] == 0.5


@given(st.integers(0, 10_000), st.integers(30, 90))
def test_labels_within_slices(seed, n):
    rng = np.random.default_rng(seed)
    shares, site = rng.dirichlet(np.ones(3), n), rng.integers(0, 3, n)
    gold = np.eye(3, dtype=bool)[rng.integers(0, 3, n)]
    known = slices.slices_of(site.tolist(), least=1)
    found = measured(slices.of_labels_within(shares, gold, ["a", "b", "c"], True, known), n, 0)
    each = []
    for c, label in enumerate("abc"):
        right = pairs = 0
        for one in range(3):
            yes, no = shares[gold[:, c] & (site == one), c], shares[~gold[:, c] & (site == one), c]
            right, pairs = right + (yes[:, None] > no).sum(), pairs + len(yes) * len(no)
        if pairs:
            each.append(right / pairs)
            assert found[f"auc_within:{label}"]["value"] == pytest.approx(each[-1])
    assert found["macro_auc_within"]["value"] == pytest.approx(np.mean(each))
    most = sum(gold[site == one].sum(axis=0).max() for one in range(3))
    assert found["slice_accuracy"]["value"] == pytest.approx(most / n)


def test_slices_that_hardly_vary():
    rng = np.random.default_rng(0)
    site = ["varies"] * 100 + ["flat"] * 100
    gold = np.concatenate([rng.integers(0, 6, 100), [0.0] * 99, [1.0]])
    assert slices.hardly_vary(gold, slices.slices_of(site)) == ["flat"]
    labels = np.stack([gold > 0, gold == 0], axis=1)
    assert slices.hardly_vary(labels, slices.slices_of(site)) == ["flat"]
    assert slices.hardly_vary(gold[:100], slices.slices_of(site[:100])) == []


def test_each_slice_has_the_figures_of_a_file_of_its_own(scored, tmp_path):
    classifier, file = scored
    asked = {"data": Data(label=("grade",)), "resamples": 50, "cuts": [2, 3]}
    found = measure(classifier, [file], slices=["site"], **asked)
    assert list(found["slices"]["site"]["slices"]) == ["a", "b", "(others)"] and found["slices"]["site"]["rare"] == 2
    with open(file, encoding="utf-8", newline="") as stream:
        rows = list(csv.reader(stream))
    own = tmp_path / "own.csv"
    with open(own, "w", encoding="utf-8", newline="") as stream:
        csv.writer(stream).writerows([rows[0], *(row for row in rows[1:] if row[2] == "b")])
    alone = measure(classifier, [str(own)], **asked)
    assert found["slices"]["site"]["slices"]["b"] == {"texts": 60, "figures": alone["figures"]}
    assert found["texts"] == 150 and found["cuts"] == [2, 3] and "auc_at_3" in found["figures"]
    graded = measure(classifier, [file], Data(label=("grade",)), resamples=0)
    assert graded["cuts"] == [1, 2, 3, 4, 5]
    top = graded["top"]
    assert top["texts"] == sum(float(row[1]) >= top["from"] for row in rows[1:]) >= 15
    json.dumps(found, allow_nan=False)


def test_figures_of_labels_in_a_file(made, tmp_path):
    """Names, indices, several columns in another order, and lists of 0 and 1 are the same labels."""
    texts = texts_of(80)
    single, multi = made[1]["single"], made[1]["multi"]
    gold = np.random.default_rng(0).integers(0, 3, 80)
    names = write(tmp_path / "a.csv", text=texts, label=[f"label {i}" for i in gold])
    found = measure(single, [names], resamples=0)
    right = np.array(single.predict(texts)) == [f"label {i}" for i in gold]
    assert found["figures"]["accuracy"]["value"] == pytest.approx(right.mean())
    shares = single.predict_proba(texts)
    expected = sk.roc_auc_score(gold == 1, shares[:, 1])
    assert found["figures"]["auc:label 1"]["value"] == pytest.approx(expected)
    assert list(found["reliability"]) == ["most probable label"]
    assert found["figures"]["ece"]["value"] == pytest.approx(found["reliability"]["most probable label"]["ece"])
    assert (
        measure(single, [write(tmp_path / "b.csv", text=texts, label=gold)], resamples=0)["figures"] == found["figures"]
    )

    hot = np.random.default_rng(1).integers(0, 2, (80, 3))
    columns = {f"label {i}": hot[:, i] for i in (2, 0, 1)}
    several = measure(
        multi, [write(tmp_path / "c.csv", text=texts, **columns)], Data(label=tuple(columns)), resamples=0
    )
    lists = pa.table({"text": texts, "label": hot.tolist()})
    pq.write_table(lists, tmp_path / "d.parquet")
    one = measure(multi, [str(tmp_path / "d.parquet")], resamples=0)
    assert one["figures"] == several["figures"] and list(one["reliability"]) == ["label 0", "label 1", "label 2"]
    decided = np.array([[f"label {i}" in row for i in range(3)] for row in multi.predict(texts)])
    assert one["figures"]["micro_f1"]["value"] == pytest.approx(sk.f1_score(hot, decided, average="micro"))


def test_heads_and_their_calibrations(parts, tmp_path):
    """Each head has the figures of a classifier of its own, after its calibration and before it."""
    heads = {"topic": ("single", 3), "flags": ("multi", 2), "grade": ("regression", 1)}
    classifier = Classifier(*parts(heads=heads, calibrated=True))
    rng, texts = np.random.default_rng(0), texts_of(60)
    topic, grade = rng.integers(0, 3, 60), [*rng.integers(0, 6, 59), ""]
    flags = [",".join(f"label {i}" for i in range(2) if row[i]) or "," for row in rng.random((60, 2)) < 0.5]
    file = write(tmp_path / "heads.csv", text=texts, topic=topic, flags=flags, grade=grade)
    data = Data()  # an empty cell is no target
    found = measure(classifier, [file], data, resamples=20)["heads"]
    assert list(found) == list(heads) and [one["texts"] for one in found.values()] == [60, 60, 59]
    grades = np.array(grade[:59], float)
    mean = np.abs(np.array(classifier.predict(texts[:59])["grade"]) - grades).mean()
    assert found["grade"]["figures"]["mae"]["value"] == pytest.approx(mean)
    shares = classifier.predict_proba(texts)["flags"]
    hot = np.array([[f"label {i}" in row for i in range(2)] for row in flags])
    area = sk.roc_auc_score(hot[:, 0], shares[:, 0])
    assert found["flags"]["figures"]["auc:label 0"]["value"] == pytest.approx(area)
    decided = np.array([[f"label {i}" in row for i in range(2)] for row in classifier.predict(texts)["flags"]])
    assert found["flags"]["figures"]["exact_match"]["value"] == pytest.approx((decided == hot).all(axis=1).mean())
    raw = probabilities(classifier.decision_function(texts)["topic"], "single")
    for name, one in (("ece", classifier.predict_proba(texts)["topic"]), ("ece_before", raw)):
        assert found["topic"]["figures"][name]["value"] == pytest.approx(expected_calibration_error(one, topic))
    assert found["topic"]["reliability"] != found["topic"]["reliability_before"]
    alone = measure(classifier, [file], Data(label=("topic",)), head="topic", resamples=20)
    assert alone == {"heads": {"topic": found["topic"]}}
    shown = tables(measure(classifier, [file], data, resamples=0))
    assert "== flags" in shown and "calibration error before calibration" in shown
    with pytest.raises(SettingsError, match="no head 'style': topic, flags, grade"):
        measure(classifier, [file], head="style")
    with pytest.raises(SettingsError, match="name it with --head"):
        measure(classifier, [file], Data(label=("topic",)))


def test_what_cannot_be_measured_is_refused_before_a_text_is_scored(made, scored, monkeypatch):
    classifier, file = scored
    monkeypatch.setattr(Classifier, "decision_function", lambda *_: pytest.fail("scored"))
    with pytest.raises(DataError, match=r"pages.csv has no column 'domain'; it has 'text', 'grade', 'site'.*--slice"):
        measure(classifier, [file], Data(label=("grade",)), slices=["site", "domain"])
    with pytest.raises(DataError, match=r"no column 'label'.*--label"):
        measure(classifier, [file], slices=["site"])
    with pytest.raises(DataError, match=r"label 'x' at .*y.csv:2 is not among"):
        measure(made[1]["single"], [write(made[0] / "y.csv", text=["a film"], label=["x"])])
    with pytest.raises(SettingsError, match="leave out --pair"):
        measure(classifier, [file], Data(label=("grade",), pair="site"))
    texts = write(made[0] / "x.csv", text=["a film"], label=["label 1"])
    with pytest.raises(SettingsError, match="--cuts"):
        measure(made[1]["single"], [texts], cuts=[1.0])


def test_one_text_and_one_class_give_tables_with_reasons(made, tmp_path):
    for task, label in (("single", "label 1"), ("multi", "label 1"), ("regression", 3)):
        for n in (1, 3):
            file = write(tmp_path / "few.csv", text=texts_of(n), label=[label] * n, site=["a"] * n)
            found = measure(made[1][task], [file], slices=["site"], resamples=20)
            shown = tables(found)
            assert f"{n} text{'s' * (n > 1)} of" in shown and "no " in shown and "(others)" in shown
            json.dumps(found, allow_nan=False)


def test_command_line(made, scored, tmp_path, capsys, drawn):
    _, file = scored
    out, picture = tmp_path / "figures.json", tmp_path / "diagram.png"
    model = str(made[0] / "regression")
    asked = ["evaluate", model, "--label", "grade", "--slice", "site", file, "--resamples", "50"]
    assert cli.main([*asked, "--json", str(out), "--plot", str(picture)]) == 0
    shown = capsys.readouterr().out
    for words in ("Kendall tau-b", "95% interval", "by site", "pooled within slices", "2 rare slices, together",
                  "cut: scores from it on", "150 texts of"):  # fmt: skip
        assert words in shown
    found = json.loads(out.read_text())
    value = found["figures"]["spearman"]
    (line,) = (line for line in shown.splitlines() if line.startswith("Spearman"))
    assert line.split() == ["Spearman", f"{value['value']:.4f}", f"{value['low']:.4f}", "to", f"{value['high']:.4f}"]
    assert found["classifier"] == model and set(found["slices"]) == {"site"}
    assert picture.read_bytes().startswith(b"\x89PNG") and len(picture.read_bytes()) > 5000
    for wrong, said in (
        (["evaluate", model, file, "--label", "grade", "--slice", "domain"], "no column 'domain'"),
        (["evaluate", model, file, "--train", "x.csv"], "--train is of the stage"),
        (["evaluate", model, file, "--max-length", "3"], "--max-length is of the stage"),
        (["evaluate", model, file, "--run", "x"], "--run is of the stage"),
        (["evaluate", model, file, "--top", "2"], "--top is 2: give a share"),
        (["evaluate", model], "name files of labelled texts"),
        (["evaluate", "--run", "x", "--slice", "site"], "--slice is for a classifier and files"),
        (["evaluate", str(tmp_path / "nothing"), file], "is not a classifier"),
    ):
        assert cli.main(wrong) == 2
        assert said in capsys.readouterr().err


# ---- cut points ------------------------------------------------------------------------------------------------------


@given(st.integers(0, 10_000), st.integers(2, 60), st.booleans())
def test_a_cut_at_a_level_has_the_best_f1(seed, n, ties):
    rng = np.random.default_rng(seed)
    gold = rng.integers(0, 4, n).astype(float)
    predicted = gold + rng.standard_normal(n)
    predicted = np.round(predicted) if ties else predicted
    wanted = gold >= 2
    if wanted.all() or not wanted.any():
        with pytest.raises(ValueError, match="cut good: gold scores are all"):
            cuts.cut_at_level(predicted, gold, 2, name="good")
        return
    cut = cuts.cut_at_level(predicted, gold, 2, name="good")
    assert (cut["name"], cut["column"], cut["slice"]) == ("good", "", {})
    best = max(sk.f1_score(wanted, predicted >= t) for t in np.unique(predicted))
    assert sk.f1_score(wanted, cuts.keeps(cut, predicted)) == pytest.approx(best)


@given(st.integers(0, 10_000), st.integers(1, 60), st.floats(0.01, 0.99), st.booleans())
def test_a_cut_keeps_the_share_as_nearly_as_ties_allow(seed, n, share, ties):
    predicted = np.random.default_rng(seed).standard_normal(n).astype(np.float32)
    predicted = np.round(predicted) if ties else predicted
    kept = cuts.keeps(cuts.cut_at_share(predicted, share, name="x"), predicted).sum()
    possible = [(predicted >= t).sum() for t in np.unique(predicted)]
    assert abs(kept - share * n) == pytest.approx(min(abs(k - share * n) for k in possible))


def test_cuts_of_slices():
    rng = np.random.default_rng(0)
    site = ["a"] * 200 + ["b"] * 200 + ["rare"] * 5
    predicted = np.concatenate([rng.standard_normal(200), 10 + rng.standard_normal(200), np.zeros(5)])
    cut = cuts.cut_at_share(predicted, 0.25, site, name="quarter")
    json.dumps(cut)
    assert set(cut["slice"]) == {"a", "b"}  # the rare one has the threshold of all
    kept = cuts.keeps(cut, predicted, site)
    assert kept[:200].sum() == kept[200:400].sum() == 50 and kept[400:].sum() == 0
    assert cuts.keeps(cut, predicted).sum() == 101 and cuts.keeps(cut, np.array([11.0]), ["new"]).all()
    gold = np.where(np.arange(405) < 200, predicted > 0, predicted > 30)  # b never reaches it
    assert set(cuts.cut_at_level(predicted, gold, 1, site, name="level")["slice"]) == {"a"}
    with pytest.raises(ValueError, match="between 0 and 1"):
        cuts.cut_at_share(predicted, 1.0, name="all")
    with pytest.raises(ValueError, match="2 values of slices for 405 scores"):
        cuts.cut_at_share(predicted, 0.5, ["a", "b"], name="x")


def test_thresholds_part_neighbouring_numbers():
    a = np.float64(1)
    b = np.nextafter(a, 2)
    cut = cuts.cut_at_share(np.array([a, b]), 0.5, name="x")
    assert cuts.keeps(cut, np.array([a, b])).tolist() == [False, True]


def test_scores_are_compared_in_64_bits():
    score = np.array([0.1], np.float32)
    cut = {"name": "x", "threshold": float(score[0]) + 1e-12, "column": "", "slice": {}}
    assert not cuts.keeps(cut, score).any()


def test_cuts_are_stored_and_predicted(made, scored, tmp_path, capsys):
    classifier, file = scored
    classifier.save(tmp_path / "grader")
    model, out = str(tmp_path / "grader"), tmp_path / "kept.csv"
    with open(file, encoding="utf-8", newline="") as stream:
        rows = list(csv.DictReader(stream))
    predicted = np.array(classifier.predict([row["text"] for row in rows]))
    grades, sites = np.array([float(row["grade"]) for row in rows]), [row["site"] for row in rows]
    assert cli.main(["cut", model, file, "--name", "good", "--level", "3", "--label", "grade"]) == 0
    assert cli.main(["cut", model, file, "--name", "best", "--share", "0.2", "--slice", "site"]) == 0
    assert "cut best keeps scores from" in capsys.readouterr().err
    loaded = Classifier.load(model)
    assert loaded.config["format_version"] == 6 and [cut["name"] for cut in loaded.config["cuts"]] == ["good", "best"]
    assert (loaded.decision_function("a film") == classifier.decision_function("a film")).all()
    for name, cut in (
        ("good", cuts.cut_at_level(predicted, grades, 3, name="x")),
        ("best", cuts.cut_at_share(predicted, 0.2, sites, name="x")),
    ):
        assert cli.main(["predict", model, file, "--cut", name, "--keep", "grade", "-o", str(out)]) == 0
        with open(out, encoding="utf-8", newline="") as stream:
            found = [row["cut"] == "keep" for row in csv.DictReader(stream)]
        assert found == cuts.keeps(cut, predicted, sites if name == "best" else None).tolist() and 0 < sum(found) < 150
    assert sum(found[:60]) == sum(found[60:120]) == 12
    capsys.readouterr()
    assert cli.main(["predict", model, file, "--cut", "good", "--format", "jsonl"]) == 0
    assert json.loads(capsys.readouterr().out.splitlines()[0])["cut"] in ("keep", "drop")
    assert cli.main(["inspect", model]) == 0
    assert "best: scores from" in capsys.readouterr().out
    assert cli.main(["cut", model, file, "--name", "good", "--share", "0.5"]) == 0  # in place of the one of this name
    assert [cut["name"] for cut in Classifier.load(model).config["cuts"]] == ["best", "good"]
    bare = write(tmp_path / "bare.csv", text=["a film"])
    for wrong, said in (
        (["predict", model, file, "--cut", "worst"], "no cut 'worst': it has best, good"),
        (["predict", model, bare, "--cut", "best"], "the cut best has slices by column 'site'"),
        (["cut", model, file, "--name", "x"], "give one of --level and --share"),
        (["cut", model, file, "--name", "x", "--share", "2"], "between 0 and 1"),
        (["cut", model, file, "--name", "x", "--level", "9", "--label", "grade"], "gold scores are all below 9"),
        (["cut", model, file, "--name", "x", "--share", "0.1", "--slice", "domain"], "right one with --slice"),
        (["cut", str(made[0] / "single"), file, "--name", "x", "--share", "0.1"], "a cut is of scores"),
        (["predict", str(made[0] / "regression"), file, "--cut", "good"], "it has none"),
    ):
        assert cli.main(wrong) == 2, wrong
        assert said in capsys.readouterr().err


def test_cuts_of_heads(parts, tmp_path):
    heads = {"topic": ("single", 2), "grade": ("regression", 1), "other": ("regression", 1)}
    classifier = Classifier(*parts(heads=heads, calibrated=True))
    texts = texts_of(50)
    file = write(tmp_path / "a.csv", text=texts, grade=range(50))
    with pytest.raises(SettingsError, match="name one head"):
        choose_cut(classifier, [file], name="x", share=0.5)
    head, cut = choose_cut(classifier, [file], name="x", level=20, head="grade")
    new = Classifier(cuts.with_cut(classifier.config, head, cut), classifier._tensors)
    assert cuts.cut_of(new, "x")[1] == cut and cuts.cut_of(new, "x")[0].name == "grade"
    assert "cuts" not in new.config and [one.get("cuts") for one in new.config["heads"]] == [None, [cut], None]
    kept = cuts.keeps(cut, np.array(new.predict(texts)["grade"]))
    wanted = np.arange(50) >= 20
    best = max(sk.f1_score(wanted, new.predict(texts)["grade"] >= t) for t in np.unique(new.predict(texts)["grade"]))
    assert sk.f1_score(wanted, kept) == pytest.approx(best)
    new._config["heads"][1]["cuts"] = [{**cut, "threshold": "2"}]
    with pytest.raises(FormatError, match="cuts has"):
        cuts.cut_of(new, "x")
