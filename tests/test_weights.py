"""Class weights, sample weights, the figure that chooses, and rows that are left out."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import f1_score
from sklearn.utils.class_weight import compute_class_weight
from test_split import labelled, singles
from torch.nn import functional

from sparsedistill import DataError, SettingsError
from sparsedistill.data.records import Places
from sparsedistill.data.texts import Writer
from sparsedistill.data.weights import class_weights, gold_weights, sample_weights
from sparsedistill.run import Run
from sparsedistill.settings import build
from sparsedistill.stages import train as stage
from sparsedistill.student.dataset import Batch, OnDisk, Part
from sparsedistill.student.vocabulary import Vocabulary
from sparsedistill.tasks import TASKS

LABELS = ("a", "b", "c", "d")

# -- the weights ----------------------------------------------------------------------------------------------------


@given(st.lists(st.integers(0, 3), min_size=1, max_size=60))
def test_balanced_is_scikit_learns(classes):
    targets = np.array(classes)
    there = np.unique(targets)
    theirs = dict(zip(there, compute_class_weight("balanced", classes=there, y=targets), strict=True))
    found = gold_weights(targets, LABELS, "balanced", None)
    assert found.dtype == np.float32 and found.shape == (len(classes), 1)
    np.testing.assert_allclose(found[:, 0], [theirs[c] for c in classes], rtol=1e-6)
    assert found.mean() == pytest.approx(1)


@given(st.integers(0, 1000), st.integers(1, 50))
def test_each_label_of_a_multi_label_task_is_balanced_against_its_absence(seed, n):
    targets = (np.random.default_rng(seed).random((n, 4)) < [0.5, 0.1, 0.9, 0.0]).astype(np.float32)
    found = gold_weights(targets, LABELS, "balanced", None)
    assert found.shape == (n, 4) and np.isfinite(found).all()
    np.testing.assert_allclose(found.mean(axis=0), 1, rtol=1e-5)
    for label in range(4):
        yes = targets[:, label] > 0.5
        if 0 < yes.sum() < n:
            theirs = compute_class_weight("balanced", classes=np.array([0, 1]), y=yes.astype(int))
            np.testing.assert_allclose(found[:, label], theirs[yes.astype(int)], rtol=1e-5)
        else:
            np.testing.assert_allclose(found[:, label], 1, rtol=1e-5)


def test_named_and_sample_weights_multiply_and_average_to_one():
    targets = np.array([0, 1, 1, 2])
    found = gold_weights(targets, LABELS, {"b": 3.0}, None)
    np.testing.assert_allclose(found[:, 0], np.array([1, 3, 3, 1]) / 2)
    samples = sample_weights([4, 0, 2, 2], "w")
    np.testing.assert_allclose(samples[:, 0], [2, 0, 1, 1])
    assert gold_weights(targets, LABELS, None, samples) is samples and gold_weights(targets, LABELS, None, None) is None
    found = gold_weights(targets, LABELS, {"b": 3.0}, samples)
    np.testing.assert_allclose(found[:, 0], np.array([2, 0, 3, 1]) / 1.5)
    multi = np.float32([[1, 0], [0, 0]])
    found = gold_weights(multi, ("a", "b"), {"a": 3.0}, sample_weights([1, 3], "w"))
    np.testing.assert_allclose(found, [[1, 0.5], [1, 1.5]])


def test_class_weights_are_read_or_refused():
    assert class_weights((), LABELS, "single") is None
    assert class_weights(("balanced",), LABELS, "multi") == "balanced"
    assert class_weights(("a=2", "b=.5"), LABELS, "single") == {"a": 2, "b": 0.5}
    assert class_weights(("a=b=2",), ("a=b", "c"), "single") == {"a=b": 2}
    for given_weights, match in [
        (("a",), "'a': give balanced, or NAME=NUMBER"),
        (("a=much",), "give balanced"),
        (("a=0",), "above 0"),
        (("a=-1",), "above 0"),
        (("a=inf",), "above 0"),
        (("balanced", "a=2"), "give balanced"),
        (("z=2",), "no class 'z': a, b"),
        (("a=2", "a=3"), "twice"),
    ]:
        with pytest.raises(SettingsError, match=match):
            class_weights(given_weights, LABELS, "single")
    with pytest.raises(SettingsError, match="regression has none of: give --weight"):
        class_weights(("balanced",), ("score",), "regression")
    with pytest.raises(DataError, match="every weight in column 'w' is 0"):
        sample_weights([0, 0.0], "w")


# -- the loss -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("task", ["single", "multi", "regression"])
def test_the_weighted_loss_is_torchs(task):
    rng = torch.Generator().manual_seed(0)
    logits = torch.randn(12, 4, generator=rng)
    if task == "single":
        gold = torch.randint(0, 4, (12,), generator=rng)
        per_class = torch.rand(4, generator=rng)
        theirs = functional.cross_entropy(logits, gold, per_class, reduction="sum") / 12
        targets, given_weights = functional.one_hot(gold, 4).float(), per_class[gold][:, None]
        assert TASKS[task].loss(logits, gold, given_weights).item() == pytest.approx(theirs.item(), rel=1e-6)
    elif task == "multi":
        targets = (torch.rand(12, 4, generator=rng) < 0.3).float()
        positive = 5 * torch.rand(4, generator=rng)
        theirs = functional.binary_cross_entropy_with_logits(logits, targets, pos_weight=positive)
        given_weights = torch.where(targets > 0.5, positive, torch.ones(4))
    else:
        logits, targets, given_weights = logits[:, :1], torch.randn(12, 1), torch.rand(12, 1, generator=rng)
        theirs = (given_weights * (logits - targets) ** 2).mean()
    assert TASKS[task].loss(logits, targets, given_weights).item() == pytest.approx(theirs.item(), rel=1e-6)
    unweighted = TASKS[task].loss(logits, targets)
    assert TASKS[task].loss(logits, targets, torch.ones(12, 1)).item() == pytest.approx(unweighted.item(), rel=1e-6)


def test_weights_stay_with_their_texts_on_disk_and_in_batches(tmp_path):
    texts = [f"word{i} word{i % 7}" for i in range(9000)]
    vocabulary = Vocabulary.count([texts])
    targets = np.arange(9000, dtype=np.float32)[:, None]
    given_weights = np.float32(targets + 0.5)
    with Writer(tmp_path / "texts.parquet", {}) as writer:
        writer.add(texts, Places([("a.txt", range(1, 9001))]))
    parts = [Part(writer.path, lambda begin, end: targets[begin:end], some) for some in (given_weights, None)]
    blocks = OnDisk(parts, vocabulary, 1)
    half = len(blocks.sizes) // 2
    for i in range(half):
        part = blocks.load(i)
        assert part.weights.shape == (len(part), 1)
        np.testing.assert_array_equal(part.weights, part.targets + 0.5)
    assert blocks.load(half).weights is None
    both = Batch.joined([blocks.load(0), blocks.load(half)])
    size = blocks.sizes[0]
    np.testing.assert_array_equal(both.weights[:size], both.targets[:size] + 0.5)
    assert (both.weights[size:] == 1).all() and len(both.weights) == len(both)
    some = both.take(np.array([5, 3, size + 1]))
    assert some.weights[:, 0].tolist() == [5.5, 3.5, 1]
    assert Batch.joined([blocks.load(half), blocks.load(half)]).weights is None


# -- a run ----------------------------------------------------------------------------------------------------------


def teacher(texts: list[str]) -> np.ndarray:
    return np.array([[0.0, 3.0] if "rare" in text else [3.0, 0.0] for text in texts])


def rare_rows() -> list[dict]:
    """Texts of which none is certain: three in ten that say "often" are rare."""
    rows = [{"text": f"often seen {i}", "label": "rare" if i % 10 < 3 else "usual", "w": 1} for i in range(400)]
    return rows + [{"text": f"never seen {i}", "label": "usual", "w": 1} for i in range(400)]


def asked(tmp_path: Path, rows: list[dict], data: dict | None = None, corpus: list[str] | None = None, **over):
    path = tmp_path / "train.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    values = {
        "data": {"train": [str(path)], **(data or {})},
        "count": {"max_n": 1, "min_count": 3},
        "distill": {"modes": ["scratch"], "hidden": [16], "steps": 400, "threads": 1, "device": "cpu"},
        "evaluate": {"repeats": 1, "threads": 1, "speed_texts": 10},
        "compress": {"max_loss": 0.5},
    }
    if corpus:
        (tmp_path / "corpus.txt").write_text("\n".join(corpus) + "\n", encoding="utf-8")
        values["data"]["corpus"] = [str(tmp_path / "corpus.txt")]
    for section, fields in over.items():
        values.setdefault(section, {}).update(fields)
    return build(values, "test")


def dev_decisions(run: Run) -> list[str]:
    return run.classifier("scratch").predict(run.inputs.dev.texts)


def test_class_weights_make_a_rare_class_predicted_which_is_said_where_it_is_not(tmp_path, capsys):
    plain = Run(tmp_path / "plain", asked(tmp_path, rare_rows()))
    plain.execute()
    assert set(dev_decisions(plain)) == {"usual"}
    said = capsys.readouterr().err
    assert (
        "warning: student from scratch never predicts 'rare' (108 texts of train, 12 of dev) on dev: more such" in said
    )
    assert "or --class-weights balanced, may help" in said
    balanced = Run(tmp_path / "balanced", asked(tmp_path, rare_rows(), {"class_weights": ["balanced"]}))
    balanced.execute()
    often = [("rare" if "often" in text else "usual") for text in balanced.inputs.dev.texts]
    assert dev_decisions(balanced) == often
    assert "never predicts" not in capsys.readouterr().err
    # A column that says the same does the same.
    rows = rare_rows()
    for row in rows:
        row["w"] = 800 / 2 / 120 if row["label"] == "rare" else 800 / 2 / 680
    weighed = Run(tmp_path / "weighed", asked(tmp_path, rows, {"weight": "w", "metric": "macro_f1"}))
    weighed.execute()
    assert dev_decisions(weighed) == often


def test_texts_of_weight_zero_teach_nothing(tmp_path):
    kinds = [("yes", "pos", 1), ("no", "neg", 1), ("yes", "neg", 0), ("no", "pos", 0)] * 100
    rows = [{"text": f"say {word} {i}", "label": label, "w": weight} for i, (word, label, weight) in enumerate(kinds)]
    # On dev, where half the labels are wrong, nothing can be chosen.
    run = Run(tmp_path / "run", asked(tmp_path, rows, {"weight": "w"}, distill={"keep": "last"}))
    run.execute(["count", "distill", "compress"])
    assert run.classifier("scratch").predict(["say yes", "say no"]) == ["pos", "neg"]


def test_weights_of_train_are_learnt_with_in_distillation_and_class_weights_are_not(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(str(Path(__file__).parent))
    rows = [*rare_rows(), *({"text": f"rare {i}", "label": "rare", "w": 5} for i in range(40))]
    told = {"teach": {"teacher": "test_weights:teacher"}, "label": {"random_crops": 2}}
    kd = {"modes": ["kd_private", "kd", "scratch"]}

    def run(name: str, **data) -> Run:
        return Run(
            tmp_path / name,
            asked(tmp_path, rows, data, [f"often seen {i} rare" for i in range(900)], distill=kd, **told),
        )

    plain, classes, samples = run("a"), run("b", class_weights=["rare=9"]), run("c", weight="w")
    for one in (plain, classes, samples):
        one.check()
    units = ("label.train", "crops", "distill.kd_private", "distill.kd", "distill.scratch", "finetune", "count.all")
    changed = {one: {unit for unit in units if one.key(unit) != plain.key(unit)} for one in (classes, samples)}
    # With class weights macro-F1 chooses, so that a student is another if its training keeps what is best on dev.
    assert changed[classes] == {"distill.kd_private", "distill.kd", "distill.scratch", "finetune"}
    assert "class_weights" not in classes.inputs_of("distill.kd")
    assert changed[samples] == {"distill.kd", "distill.scratch", "finetune"}
    samples.execute(["label", "count", "distill"])
    vocabulary, _ = samples.trained("kd")
    learnt = stage._dataset(samples, "kd", vocabulary, 1)
    found = [learnt.load(i) for i in range(len(learnt.sizes))]
    train = len(samples.inputs.train.texts)
    by_size = {sum(part.weights is not None for part in found): sum(len(p) for p in found if p.weights is not None)}
    assert by_size == {2: 3 * train}  # train, and the crops of it
    for part in found:
        if part.weights is not None:
            assert part.weights.mean() == pytest.approx(1, rel=1e-5)
            assert np.unique(np.round(part.weights / part.weights.min(), 4)).tolist() == [1, 5]


def test_the_figure_that_chooses(tmp_path):
    plain, other = (Run(tmp_path / name, asked(tmp_path, rare_rows(), {"metric": metric}))
                    for name, metric in (("a", "auto"), ("b", "macro_f1")))  # fmt: skip
    other.execute()
    plain.check()
    for unit in ("distill.scratch", "compress.scratch", "evaluate"):
        assert plain.key(unit) != other.key(unit)
    assert plain.key("count.train") == other.key("count.train")
    same = Run(tmp_path / "c", asked(tmp_path, rare_rows(), {"metric": "accuracy"}))
    same.check()
    assert same.key("distill.scratch") == plain.key("distill.scratch")
    metrics = json.loads((tmp_path / "b" / "metrics.json").read_text())
    assert metrics["primary"] == "macro_f1"
    dev = other.inputs.dev
    by_hand = f1_score(dev.targets, other.classifier("scratch").decision_function(dev.texts).argmax(1), average="macro")
    assert other.result_of("compress.scratch")["after"] == pytest.approx(by_hand)
    curve = other.result_of("distill.scratch")
    assert curve["dev"] == max(row[-1] for row in curve["curve"] if row[-1] is not None) <= 0.6
    for task, metric in (("single", "micro_f1"), ("multi", "accuracy"), ("regression", "macro_f1")):
        with pytest.raises(SettingsError, match=f"metric {metric} is none of task {task}: --metric auto"):
            TASKS[task].chosen_by(metric)


def test_a_decision_on_a_rare_class_is_more_of_macro_f1():
    targets = np.array([0] * 98 + [1] * 2)
    assert TASKS["single"].one_decision(targets, "accuracy") == pytest.approx(0.01)
    assert TASKS["single"].one_decision(targets, "macro_f1") == pytest.approx(1 / 4)
    assert TASKS["multi"].one_decision(np.float32([[1, 0], [1, 0], [0, 1]]), "macro_f1") == pytest.approx(1 / 2)


def test_classes_that_are_never_predicted():
    logits = np.float32([[3, 0, 0], [0, 3, 0], [3, 0, 0]])
    assert TASKS["single"].never_predicted(logits, np.array([0, 0, 2])) == [(2, 1)]
    multi = np.float32([[1, 1, 0], [0, 1, 0], [0, 0, 1]])
    assert TASKS["multi"].never_predicted(logits - 1, multi) == [(2, 1)]
    assert TASKS["multi"].never_predicted(logits - 1, multi, np.array([0.5, 0.99, 0.1])) == [(1, 2)]
    assert TASKS["regression"].never_predicted(logits[:, :1], np.zeros(3)) == []


def test_weights_that_cannot_be_are_refused_with_their_place(tmp_path):
    for value in ("much", -1, None, float("nan"), float("inf"), [1]):
        rows = rare_rows()
        rows[6]["w"] = value
        with pytest.raises(
            DataError, match=r"the weight \(column 'w'\) at .*train\.jsonl:7 is .*not a number of at le"
        ):
            Run(tmp_path / "run", asked(tmp_path, rows, {"weight": "w"})).check()
    with pytest.raises(DataError, match="no column 'v'"):
        Run(tmp_path / "run", asked(tmp_path, rare_rows(), {"weight": "v"})).check()
    told = {"teach": {"teacher": "test_weights:teacher"}, "finetune": {"finetune_student": False}}
    with pytest.raises(SettingsError, match="weigh gold labels, and none are learnt here"):
        over = asked(tmp_path, rare_rows(), {"class_weights": ["balanced"]}, distill={"modes": ["kd"]}, **told)
        Run(tmp_path / "run", over).check()


# -- rows that are left out ------------------------------------------------------------------------------------------

GOOD_ROWS = labelled(singles("hello", 30), "greet") + labelled(singles("never", 30), "no")


def with_missing(tmp_path: Path, kind: str) -> str:
    """GOOD_ROWS with rows in between that lack a text or a label: at rows 3, 5, 7, 9 of the data."""
    odd: list[tuple] = [("lost", ""), ("", "no"), ("lost", None), (None, "no")]
    rows: list[tuple] = list(GOOD_ROWS)
    for place, row in zip((2, 4, 6, 8), odd, strict=True):
        rows.insert(place, row)
    path = tmp_path / f"missing.{kind}"
    if kind == "csv":
        lines = ["text,label", *(f"{text or ''},{label or ''}" for text, label in rows)]
        path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    elif kind == "jsonl":
        records = [{k: v for k, v in zip(("text", "label"), row, strict=True) if v is not None} for row in rows]
        path.write_text("".join(json.dumps(record) + "\n" for record in records), encoding="utf-8")
    else:
        pa, parquet = pytest.importorskip("pyarrow"), pytest.importorskip("pyarrow.parquet")
        columns = dict(zip(("text", "label"), zip(*rows, strict=True), strict=True))
        parquet.write_table(pa.table(columns), path)
    return str(path)


@pytest.mark.parametrize(("kind", "place"), [("csv", "csv:4"), ("jsonl", "jsonl:3"), ("parquet", "parquet row 3")])
def test_rows_without_a_text_or_a_label_are_left_out_on_request(tmp_path, capsys, kind, place):
    from test_split import Sources

    path = with_missing(tmp_path, kind)

    def sources(skip: bool) -> Sources:
        return Sources(build({"data": {"train": [path], "skip_missing": skip}}, "test"))

    found = sources(True)
    found.prepare(tmp_path / "texts")
    assert sorted(found.train.texts + found.dev.texts) == sorted(text for text, _ in GOOD_ROWS)
    assert found.labels == ("greet", "no")
    assert (
        f"4 rows of {path} have no text or no label (the first: {tmp_path}/missing.{place})" in capsys.readouterr().err
    )
    assert found.train.places[0].startswith(path)
    with pytest.raises(DataError, match=rf"missing\.{kind}.* (--skip-missing|has no column)"):
        sources(False).prepare(tmp_path / "texts")


def test_blank_texts_that_are_kept_are_named(tmp_path, capsys):
    from test_split import Sources

    path = tmp_path / "blank.csv"
    path.write_text("text,label\n" + "".join(f"t {i},{'ab'[i % 2]}\n" for i in range(20)) + ',a\n" ",b\n')
    kept, gone = "2 of 22 texts of {} are blank (the first: {}:22)", "2 rows of {} have no text"
    for skip, said in ((False, kept), (True, gone)):
        found = Sources(build({"data": {"train": [str(path)], "skip_missing": skip}}, "test"))
        assert len(found.train.texts) + len(found.dev.texts) == (20 if skip else 22)
        assert said.format(path, path) in capsys.readouterr().err


def test_what_is_missing(tmp_path, capsys):
    from test_split import Sources, Texts

    def sources(rows: list[dict], **data) -> Sources:
        path = tmp_path / "rows.jsonl"
        path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
        return Sources(build({"data": {"train": [str(path)], "skip_missing": True, **data}}, "test"))

    # Several labels: a null is none that is known, an empty list or cell is a text without a label.
    rows = [{"text": f"t {i}", "label": label} for i in range(8) for label in (["a"], ["a", "b"], [], "", None)]
    rows = [{**row, "text": f"{row['text']} {i}"} for i, row in enumerate(rows)]
    found = sources(rows, task="multi")
    assert len(found.train.texts) + len(found.dev.texts) == 32
    rows = [{"text": f"t {i}", "label": value} for i, value in enumerate([1.5, 2, None, float("nan"), "", 3] * 5)]
    found = sources(rows, task="regression")
    assert sorted({*found.train.targets.tolist(), *found.dev.targets.tolist()}) == [1.5, 2, 3]
    # The second text of a pair is a text, and a blank one is none.
    rows = [
        {"text": f"t {i}", "other": other, "label": "ab"[i % 2]} for i, other in enumerate(["x", "y", " ", None] * 9)
    ]
    found = sources(rows, pair="other")
    assert len(found.train.texts) + len(found.dev.texts) == 18
    with pytest.raises(DataError, match=r"all 36 rows of .*rows\.jsonl have no text or no label .*--text and --label"):
        sources(rows, label=["gold"]).prepare(tmp_path / "texts")
    # Of a corpus, too, where it is said once.
    (tmp_path / "corpus.jsonl").write_text(
        '{"text": "a"}\n{"text": null}\n{"other": 1}\n{"text": "b"}\n', encoding="utf-8"
    )
    capsys.readouterr()
    found = sources([{"text": t, "label": label} for t, label in GOOD_ROWS], corpus=[str(tmp_path / "corpus.jsonl")])
    assert found.prepare(tmp_path / "texts")["corpus"]["texts"] == 2
    assert "2 rows of the corpus have no text (the first: " in capsys.readouterr().err
    assert [text for texts in Texts(tmp_path / "texts", found.settings).texts("corpus") for text in texts] == ["a", "b"]
