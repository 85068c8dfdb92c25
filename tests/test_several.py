"""Several heads in one training: the loss against plain torch, heads that learn as if alone, data with gaps, errors."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from sparsedistill import Classifier, DataError, Settings, SettingsError, cli, distill
from sparsedistill.format import read_json
from sparsedistill.options import Head
from sparsedistill.several import Several
from sparsedistill.student.dataset import Batch, InMemory
from sparsedistill.student.linear import rates_of_heads, row_rates

TASKS = {"mood": "single", "topics": "multi", "grade": "regression"}
LABELS = {"mood": ("bad", "good", "so"), "topics": ("film", "plot"), "grade": ("score",)}


def task_of(weights=(1.0, 1.0, 1.0)) -> Several:
    return Several.of({n: Head(task=TASKS[n], weight=w) for n, w in zip(TASKS, weights, strict=True)}, LABELS)


def drawn(rng: np.random.Generator, n: int, gaps: float = 0.4) -> np.ndarray:
    """Targets of all heads, with gaps."""
    parts = [np.eye(3)[rng.integers(0, 3, n)], rng.integers(0, 2, (n, 2)), rng.normal(size=(n, 1))]
    parts = [part.astype(np.float64) for part in parts]
    for part in parts:
        part[rng.random(n) < gaps] = np.nan
    return np.hstack(parts)


@settings(max_examples=50, deadline=None)
@given(st.integers(0, 10_000), st.integers(1, 9), st.booleans(), st.booleans())
def test_the_loss_is_the_sum_of_the_heads_own(seed, n, apart, weighted):
    rng = np.random.default_rng(seed)
    task, targets = task_of((1.0, 2.0, 0.5)), torch.from_numpy(drawn(rng, n).astype(np.float32))
    logits = torch.from_numpy(rng.normal(size=(n, 6)).astype(np.float32)).requires_grad_()
    weights = torch.from_numpy(rng.uniform(0, 2, (n, 1)).astype(np.float32)) if weighted else None
    loss = (task.apart() if apart else task).loss(logits, targets, weights)
    loss.backward()
    expected, gradient = 0.0, np.zeros((n, 6))
    for columns, factor in ((slice(0, 3), 1.0), (slice(3, 5), 2.0), (slice(5, 6), 0.5)):
        rows = [i for i in range(n) if not torch.isnan(targets[i, columns]).any()]
        for i in rows:  # one text at a time
            z, y = logits[i, columns].detach().double().numpy(), targets[i, columns].double().numpy()
            if columns.start == 0:
                p = np.exp(z) / np.exp(z).sum()
                one, slope = -(y * np.log(p)).sum(), p - y
            elif columns.start == 3:
                p = 1 / (1 + np.exp(-z))
                one, slope = -(y * np.log(p) + (1 - y) * np.log(1 - p)).mean(), (p - y) / 2
            else:
                one, slope = ((z - y) ** 2).sum(), 2 * (z - y)
            share = (1 / n if apart else factor / len(rows)) * (1.0 if weights is None else float(weights[i, 0]))
            expected += share * one
            gradient[i, columns] = share * slope
    np.testing.assert_allclose(loss.item(), expected, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(logits.grad.numpy(), gradient, rtol=1e-4, atol=1e-5)


def test_gradients_are_balanced_at_the_best_constant_output():
    rng = np.random.default_rng(1)
    targets = drawn(rng, 4000)
    task = task_of().balanced([targets[:1000], targets[1000:]])
    grades = targets[:, 5]
    targets[:, 5] = (grades - np.nanmean(grades)) / np.nanstd(grades)
    for head in task.heads:
        share = np.nanmean(targets[:, head.outputs], axis=0)
        best = {"single": np.log(share), "multi": np.log(share / (1 - share))}.get(head.task.name, np.zeros(1))
        logits = torch.zeros((4000, 6))
        logits[:, head.outputs] = torch.from_numpy(best.astype(np.float32))
        logits.requires_grad_()
        alone = np.full_like(targets, np.nan)
        alone[:, head.outputs] = targets[:, head.outputs]
        task.loss(logits, torch.from_numpy(alone.astype(np.float32))).backward()
        there = int((~np.isnan(alone[:, head.outputs.start])).sum())
        squares = (logits.grad * there).square().sum(dim=1).sum() / there  # of a text alone
        assert squares.sqrt().item() == pytest.approx(1.0, abs=0.01)


def test_figures_are_of_the_texts_that_have_a_target():
    rng = np.random.default_rng(2)
    task, targets = task_of(), drawn(rng, 300)
    logits = rng.normal(size=(300, 6)).astype(np.float32)
    found = task.of_heads(logits, targets)
    there = ~np.isnan(targets[:, 0])
    right = logits[there, :3].argmax(axis=1) == targets[there, :3].argmax(axis=1)
    assert found["mood"]["accuracy"] == pytest.approx(right.mean())
    assert found["grade"]["r2"] < 0  # which counts as 0
    mean = (found["mood"]["accuracy"] + found["topics"]["micro_f1"]) / 3
    assert task.metrics(logits, targets)["mean"] == pytest.approx(mean)
    targets[:, :3] = np.nan
    assert set(task.of_heads(logits, targets)) == {"topics", "grade"}
    decided = task.decisions(logits)
    assert np.array_equal(task.filled(targets, decided)[:, :3], decided[:, :3])
    assert np.array_equal(task.filled(targets, decided)[:, 3:], targets[:, 3:], equal_nan=True)


def test_rates_of_a_head_are_those_of_its_own_texts():
    rng = np.random.default_rng(3)
    task = Several.of({"a": Head(), "b": Head(task="multi")}, {"a": ("x", "y"), "b": ("u", "v", "w")})
    bags = [rng.integers(0, 20, rng.integers(1, 9)) for _ in range(60)]
    targets = np.hstack([np.eye(2)[rng.integers(0, 2, 60)], rng.integers(0, 2, (60, 3))]).astype(np.float32)
    targets[::3, :2] = np.nan

    def batch(rows, columns):
        ids = np.concatenate([bags[i] for i in rows]).astype(np.uint32)
        offsets = np.cumsum([0, *(len(bags[i]) for i in rows)]).astype(np.uint64)
        return InMemory(Batch(ids, offsets, np.ascontiguousarray(targets[rows][:, columns])))

    every = list(range(60))
    found = rates_of_heads(batch(every, slice(0, 5)), 20, task, 8, 0)
    own = row_rates(batch([i for i in every if i % 3], slice(0, 2)), 20, 2, False, 8)
    assert np.array_equal(found[:, 0], own)
    assert np.array_equal(found[:, 1], row_rates(batch(every, slice(2, 5)), 20, 3, True, 8))
    assert rates_of_heads(batch(every, slice(0, 5)), 20, task, 8, 100_000)[:, 0] == pytest.approx(own * 1.5**0.7)


WORDS = {"mood": ("awful", "lovely"), "topic": ("film", "meal", "trip"), "grade": ("one", "two", "three", "four")}


def table(n: int, seed: int = 0, gaps: bool = True) -> dict[str, list]:
    """Texts of a word for each head, and what that word says; with ``gaps`` a third of the cells are empty."""
    rng = np.random.default_rng(seed)
    picked = {name: rng.integers(0, len(words), n) for name, words in WORDS.items()}
    texts = [" ".join([*(WORDS[name][picked[name][i]] for name in WORDS), f"t{seed}x{i}"]) for i in range(n)]
    columns = {name: [WORDS[name][k] for k in picked[name]] for name in ("mood", "topic")}
    columns["grade"] = [float(k) for k in picked["grade"]]
    if gaps:
        columns = {k: [None if rng.random() < 1 / 3 else v for v in values] for k, values in columns.items()}
    return {"text": texts, **columns}


HEADS = {"mood": {}, "topic": {"label": "topic"}, "grade": {"task": "regression"}}


def test_heads_of_a_table_with_empty_cells(tmp_path):
    classifier = distill(
        train=table(600), test=table(90, 1), heads=HEADS, directory=tmp_path / "run", compare_heads=True
    )
    assert [(head.name, head.task) for head in classifier.heads] == [
        ("mood", "single"), ("topic", "single"), ("grade", "regression"),
    ]  # fmt: skip
    found = classifier.predict(["lovely trip three", "awful meal one"])
    assert (found["mood"], found["topic"]) == (["lovely", "awful"], ["trip", "meal"])
    assert found["grade"] == [pytest.approx(2, abs=0.3), pytest.approx(0, abs=0.3)]
    figures = classifier.report.figures["scratch"]
    assert figures["heads"]["mood"]["accuracy"] == figures["heads"]["topic"]["accuracy"] == 1.0
    assert figures["heads"]["grade"]["r2"] > 0.95
    assert figures["mean"] > 0.95
    assert classifier.report.result["alone"]["mood"]["accuracy"] == 1.0
    shown = str(classifier.report)
    assert "head mood" in shown and "a classifier of its own" in shown
    selected = classifier.report.result["selected_figures"]["heads"]
    assert selected["mood"]["figures"]["accuracy"]["low"] <= 1.0
    kept = Classifier.load(tmp_path / "run" / "classifier")
    assert kept.config["heads"][0]["metrics"]["test"]["accuracy"] == 1.0
    assert kept.predict("lovely trip three", head="topic") == "trip"


def test_a_linear_head_learns_what_it_would_alone(tmp_path):
    train, dev = table(400, gaps=False), table(80, 1, gaps=False)
    both = distill(train=train, dev=dev, heads=["mood", "topic"])
    assert both.config["pooling"] == "sqrtn"
    texts = dev["text"]
    for name in ("mood", "topic"):
        of = {"text": train["text"], "label": train[name]}, {"text": texts, "label": dev[name]}
        alone = distill(train=of[0], dev=of[1])
        np.testing.assert_allclose(both.decision_function(texts, head=name), alone.decision_function(texts), atol=1e-6)


ASKED: list[int] = []


def judge(texts):
    ASKED.append(len(texts))
    return np.array([[4.0 * ((word in text) - 0.5) for word in WORDS["topic"]] for text in texts])


def test_teachers_of_heads_a_function_a_column_and_none(tmp_path):
    corpus, train = table(500, 2), table(200, 3)
    ASKED.clear()
    del corpus["mood"], corpus["topic"]
    corpus["grade_score"] = corpus.pop("grade")
    heads = {
        "mood": {},
        "topic": {"teacher": judge, "labels": list(WORDS["topic"])},
        "grade": {"task": "regression", "teacher": "column:grade_score"},
    }
    given = {"train": train, "test": table(60, 4), "corpus": corpus, "heads": heads, "hidden": [16], "max_n": 1}
    classifier = distill(**given, directory=tmp_path / "run")
    found = classifier.predict(["lovely trip three", "awful meal one"])
    assert (found["mood"], found["topic"]) == (["lovely", "awful"], ["trip", "meal"])
    assert found["grade"] == [pytest.approx(2, abs=0.4), pytest.approx(0, abs=0.4)]
    assert set(classifier.report.figures) == {"kd", "kd_ft"}
    logits = np.load(tmp_path / "run" / "logits" / "corpus" / "00000.npy")
    assert np.isnan(logits[:, :2]).all() and not np.isnan(logits[:, 2:5]).any()
    assert np.isnan(logits[:, 5]).mean() == pytest.approx(1 / 3, abs=0.1)
    before = len(ASKED)
    again = distill(**given, directory=tmp_path / "run")
    assert len(ASKED) == before and again.predict("lovely trip three")["topic"] == "trip"


def test_scores_of_a_teacher_in_another_unit_are_not_mixed_with_gold(tmp_path):
    train, corpus = table(300, 3, gaps=False), table(400, 2, gaps=False)
    train["hundreds"] = [100.0 * grade for grade in train["grade"]]
    train["grade"] = [grade if i % 3 == 0 else None for i, grade in enumerate(train["grade"])]
    corpus = {"text": corpus["text"], "hundreds": [100.0 * grade for grade in corpus["grade"]]}
    heads = {"mood": {}, "grade": {"task": "regression", "teacher": "column:hundreds"}}
    given = {"train": train, "test": table(90, 9, gaps=False), "corpus": corpus, "heads": heads}
    found = distill(**given, hidden=[8], max_n=1, directory=tmp_path).report
    assert found.selected == "kd_ft"
    assert found.figures["kd_ft"]["heads"]["grade"]["r2"] > 0.8


def test_a_blank_cell_is_no_target_and_an_empty_list_no_label(tmp_path, capsys):
    train = table(300, gaps=False)
    rows = list(zip(train["text"], train["topic"], strict=True))
    cells = [topic if i % 3 else "" for i, (_, topic) in enumerate(rows)]
    cells[1] = ","
    (tmp_path / "x.csv").write_text(
        "text,topics\n" + "".join(f'{text},"{cell}"\n' for (text, _), cell in zip(rows, cells, strict=True))
    )
    assert cli.main(["fit", str(tmp_path / "x.csv"), "--heads", "topics=multi", "-o", str(tmp_path / "out")]) == 0
    assert "train: 300 texts, with a target of topics 200" in capsys.readouterr().err
    classifier = Classifier.load(tmp_path / "out")
    assert classifier.predict("lovely trip")["topics"] == ["trip"]
    records = [{"text": text, "topics": cell.split(",") if cell.strip(",") else None} for (text, _), cell in
               zip(rows, cells, strict=True)]  # fmt: skip
    records[1]["topics"] = []
    del records[0]["topics"]
    other = distill(train=records, heads=["topics=multi"])
    assert other.predict("lovely trip")["topics"] == ["trip"]


def test_soft_targets_are_balanced_by_their_own_spread():
    rng = np.random.default_rng(5)
    task = Several.of({"a": Head(), "b": Head()}, {"a": ("x", "y"), "b": ("x", "y")})
    hard, soft = rng.integers(0, 2, 5000).astype(float), rng.beta(5, 5, 5000)
    targets = np.stack([hard, 1 - hard, soft, 1 - soft], axis=1)
    weights = [head.weight for head in task.balanced([targets]).heads]
    assert weights == [pytest.approx(2**0.5, rel=0.02), pytest.approx((2 * soft.var()) ** -0.5, rel=1e-3)]


def test_a_fault_in_a_column_of_scores_is_named_by_its_row():
    corpus = {"text": GOOD["text"], "s": [[0.2, 0.8]] * 60}
    corpus["s"][3], corpus["s"][41] = None, [0.7, 0.9]
    heads = {"mood": {"teacher": "column:s", "labels": ["a", "b"], "scores": "probabilities"}}
    with pytest.raises(DataError, match=r"corpus.parquet row 42 .* do not sum to 1"):
        distill(corpus=corpus, heads=heads, hidden=[4])


def test_heads_are_compared_with_classifiers_of_their_own_texts_and_scores(tmp_path):
    ASKED.clear()
    heads = {"mood": {}, "topic": {"teacher": judge, "labels": list(WORDS["topic"])}, "grade": "regression"}
    classifier = distill(
        train=table(240, 3),
        corpus=table(200, 2)["text"],
        heads=heads,
        hidden=[8],
        directory=tmp_path,
        compare_heads=True,
    )
    assert sum(ASKED) <= 2 * (200 + 240)  # labelling, and what is timed: not once more for a classifier of its own
    result = classifier.report.result
    assert result["alone"]["mood"]["accuracy"] == result["alone"]["topic"]["accuracy"] == 1.0
    assert result["alone"]["grade"]["r2"] > 0.9
    dev = [read_json(tmp_path / "alone" / str(i) / "metrics.json")["texts"] for i in range(3)]
    assert dev == [result["texts"]] * 3


@pytest.mark.parametrize("heads", [None, ["mood", "topic"]])
def test_processes_share_a_linear_student(tmp_path, heads):
    import pyarrow as pa
    import pyarrow.parquet as pq
    from processes import Forked

    train = table(200, gaps=False)
    pq.write_table(pa.table({**train, "label": train["mood"]}), tmp_path / "t.parquet")
    one = distill(train=str(tmp_path / "t.parquet"), directory=tmp_path / "one", **({"heads": heads} if heads else {}))
    lines = ["[data]", f'train = "{tmp_path / "t.parquet"}"', "[distill]", 'modes = ["scratch"]', "threads = 1"]
    lines += [f"[heads.{name}]" for name in heads or ()]
    (tmp_path / "run.toml").write_text("\n".join(lines) + "\n")
    command = ["run", str(tmp_path / "run.toml"), "--run", str(tmp_path / "two")]
    assert Forked(tmp_path, cli._main, command, processes=2).wait() == 0
    two = Classifier.load(tmp_path / "two" / "classifier")
    text = train["text"][:20]
    assert two.predict(text) == one.predict(text)


def test_heads_from_toml_and_from_the_command_line(tmp_path, capsys):
    import pyarrow as pa
    import pyarrow.parquet as pq

    train = table(300)
    # Files that have columns of their own.
    rows = zip(train["text"], train["mood"], strict=True)
    (tmp_path / "a.csv").write_text("text,mood\n" + "".join(f"{text},{mood or ''}\n" for text, mood in rows))
    pq.write_table(pa.table({"text": train["text"], "subject": train["topic"]}), tmp_path / "b.parquet")
    (tmp_path / "run.toml").write_text(
        f"[data]\ntrain = {json.dumps([str(tmp_path / 'a.csv'), str(tmp_path / 'b.parquet')])}\n"
        '[distill]\nmodes = ["scratch"]\n[heads.mood]\n[heads.topic]\nlabel = "subject"\n'
    )
    assert cli.main(["run", str(tmp_path / "run.toml"), "--run", str(tmp_path / "run")]) == 0
    out = capsys.readouterr()
    assert "head topic" in out.out and "train: 600 texts, with a target of mood" in out.err
    assert list(read_json(tmp_path / "run" / "settings.json")["heads"]) == ["mood", "topic"]
    assert cli.main(["evaluate", "--run", str(tmp_path / "run")]) == 0  # the run directory remembers them
    command = ["fit", str(tmp_path / "a.csv"), "-o", str(tmp_path / "out"), "--heads", "mood"]
    assert cli.main(command) == 0
    assert [head.name for head in Classifier.load(tmp_path / "out").heads] == ["mood"]


GOOD = table(60)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"heads": ["mood", "colour"]},
            r"no text of train has .* of head 'colour' \(column colour\), .*|head 'colour'",
        ),
        ({"heads": ["mood", "mood=multi"]}, "two heads are called 'mood'"),
        ({"heads": {"a.b": {}}}, "'a.b' is no name of a head"),
        ({"heads": {"": {}}}, "'' is no name of a head"),
        ({"heads": {"mood": {"tusk": "single"}}}, r"\[heads.mood\] has no field tusk"),
        ({"heads": {"mood": {"task": "singel"}}}, "singel"),
        ({"heads": 3}, r"heads is 3, not tables"),
        ({"heads": ["mood"], "label": "topic"}, "label of .data. is of a single head"),
        ({"heads": ["mood"], "task": "multi"}, "task of .data. is of a single head"),
        ({"heads": ["mood"], "class_weights": ["balanced"]}, "--class-weights are of a single head"),
        ({"heads": ["mood"], "metric": "macro_f1"}, "no --metric"),
        ({"heads": ["mood"], "teacher": "column:x"}, "each head has its own teacher"),
        ({"heads": {"mood": {"teacher": "roberta-base"}}}, "head 'mood': the teacher roberta-base is neither"),
        ({"heads": {"mood": {"labels": ["awful", "so"]}}}, r"head 'mood': label 'lovely' at .* is not among --labels"),
        ({"heads": {"grade": {"task": "regression"}, "mood": {"task": "regression"}}}, "head 'mood': the label"),
        ({"heads": ["grade=regression"], "student": "linear"}, "a linear student learns labels"),
    ],
)
def test_what_cannot_be_learnt_is_refused(changes, message):
    with pytest.raises((SettingsError, DataError), match=message):
        distill(**{"train": GOOD, **changes})


def test_scores_that_disagree_with_the_labels_are_refused(tmp_path):
    corpus = {"text": GOOD["text"], "s": [[0.1, 0.2]] * 60}
    heads = {"topic": {"teacher": "column:s", "labels": list(WORDS["topic"])}}
    with pytest.raises(DataError, match=r"corpus.parquet row 1: column 's' holds \[0.1, 0.2\], not 3 finite numbers"):
        distill(corpus=corpus, heads=heads)
    heads["topic"]["teacher"] = "column:missing"
    with pytest.raises(DataError, match="head 'topic' would learn nothing in mode kd: its teacher is column 'missing'"):
        distill(corpus=corpus, heads=heads)
    del heads["topic"]["labels"]
    with pytest.raises(SettingsError, match="head 'topic': the label names are not known"):
        distill(corpus=corpus, heads=heads)


def test_dev_must_have_labels_of_train():
    dev = {"text": ["a", "b"], "mood": ["lovely", "grim"]}
    with pytest.raises(
        DataError, match=r"head 'mood': label 'grim' at .*dev.parquet row 2 is not among those of train"
    ):
        distill(train=GOOD, dev=dev, heads=["mood", "topic"])


def test_settings_of_heads_are_read_back():
    found = Settings.of(heads={"a": {"task": "multi", "label": ["x", "y"]}, "b": {}})
    assert found.heads["a"].label == ("x", "y") and found.heads["b"].label == ("b",)
    assert found.task == "heads" and Settings.of().task == "single"
    assert Settings.of(heads=["a", "b=regression"]).heads["b"].task == "regression"
