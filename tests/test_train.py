"""Training against plain torch, and from the student to the classifier."""

from __future__ import annotations

import csv
import itertools
import signal
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from reference import torch_pool
from torch.optim import lr_scheduler

from sparsedistill import Classifier
from sparsedistill.errors import DataError, SettingsError
from sparsedistill.format import read_tensors
from sparsedistill.rows import stride_of
from sparsedistill.student.compress import compress
from sparsedistill.student.curve import COLUMNS
from sparsedistill.student.dataset import Batch, InMemory
from sparsedistill.student.model import Student
from sparsedistill.student.schedule import Schedule
from sparsedistill.student.table import BETAS, EPSILON, initial_rows, narrowed, random_table, widened
from sparsedistill.student.train import train
from sparsedistill.student.vocabulary import Vocabulary
from sparsedistill.tasks import TASKS

TEXTS = [
    " ".join(words) for words in itertools.product(("not", "so", "very"), ("good", "bad", "odd"), ("film", "plot"))
]
SHAPES = [((), 0), ((), 5), ((6,), 0), ((6, 4), 0), ((6,), 8), ((6, 4), 8), ((6,), 3)]  # (hidden, embedding)


def examples(task: str = "single", classes: int = 3) -> tuple[Vocabulary, Batch]:
    vocabulary = Vocabulary.count([TEXTS], max_n=3)
    ids, offsets = vocabulary.bags(TEXTS)
    targets = np.random.default_rng(0).random((len(TEXTS), classes)).astype(np.float32)
    if task == "single":
        targets /= targets.sum(axis=1, keepdims=True)
    return vocabulary, Batch(ids, offsets, targets)


def schedule(**over) -> Schedule:
    values = {
        "steps": 12, "batch_size": 7, "learning_rate": 0.02, "warmup": 0.2, "ngram_dropout": 0.0,
        "evaluate_every": 5, "checkpoint_seconds": 1e9, "threads": 2, "seed": 3,
    }  # fmt: skip
    return Schedule(**{**values, **over})


@pytest.mark.parametrize(("hidden", "embedding"), SHAPES)
@pytest.mark.parametrize("task", ["single", "multi", "regression"])
def test_steps_are_those_of_plain_torch(tmp_path, hidden, embedding, task):
    vocabulary, data = examples(task)
    plan = schedule()
    ours = Student(len(vocabulary), 3, hidden, embedding, 0.0, 1)
    twin = Student(len(vocabulary), 3, hidden, embedding, 0.0, 1)
    train(ours, InMemory(data), plan, TASKS[task], tmp_path, lambda s: 0.0, "test", "key")

    bag = torch.nn.EmbeddingBag.from_pretrained(
        torch.from_numpy(twin.table.copy()), freeze=False, mode="mean", sparse=True
    )
    lazy = torch.optim.SparseAdam(bag.parameters(), betas=BETAS, eps=EPSILON)
    dense = torch.optim.Adam(twin.parameters(), betas=BETAS, eps=EPSILON)
    for step in range(1, plan.steps + 1):
        places = [divmod(p, len(data)) for p in range((step - 1) * plan.batch_size, step * plan.batch_size)]
        chosen = np.array([np.random.default_rng([3, 2, epoch, 0]).permutation(len(data))[i] for epoch, i in places])
        texts = [
            torch.from_numpy(data.ids[int(data.offsets[i]) : int(data.offsets[i + 1])].astype(np.int64)) for i in chosen
        ]
        starts = torch.tensor([0, *itertools.accumulate(len(t) for t in texts)][:-1])
        for optimizer in (lazy, dense):
            optimizer.param_groups[0]["lr"] = plan.rate(step)
            optimizer.zero_grad()
        TASKS[task].loss(twin(bag(torch.cat(texts), starts)), torch.from_numpy(data.targets[chosen])).backward()
        lazy.step()
        dense.step()
    np.testing.assert_allclose(ours.table, bag.weight.detach().numpy(), atol=2e-5)
    for (name, a), (_, b) in zip(ours.named_parameters(), twin.named_parameters(), strict=True):
        np.testing.assert_allclose(a.detach().numpy(), b.detach().numpy(), atol=2e-5, err_msg=name)


POOLED = [
    ("sum", (6,), 8),
    ("sqrtn", (6,), 8),
    ("max", (6,), 0),
    ("max", (6, 4), 8),
    ("mean+max", (6,), 8),
    ("mean+max", (), 5),
]
POOLED += [
    ("attentive", (6,), 8),
    ("attentive", (6, 4), 0),
    ("attentive", (), 0),
    ("sum", (), 0),
    ("sqrtn", (), 0),
    ("attentive", (6,), 3),
]


@pytest.mark.parametrize(("pooling", "hidden", "embedding"), POOLED)
def test_steps_of_every_pooling_are_those_of_plain_torch(tmp_path, pooling, hidden, embedding):
    vocabulary, data = examples()
    plan = schedule(learning_rate=0.005)
    ours, twin = (Student(len(vocabulary), 3, hidden, embedding, 0.0, 1, "float32", pooling) for _ in range(2))
    train(ours, InMemory(data), plan, TASKS["single"], tmp_path, lambda s: 0.0, "test", "key")
    table = torch.nn.Parameter(torch.tensor(twin.table))
    lazy = torch.optim.SparseAdam([table], betas=BETAS, eps=EPSILON)
    dense = torch.optim.Adam(twin.parameters(), betas=BETAS, eps=EPSILON)
    for step in range(1, plan.steps + 1):
        places = [divmod(p, len(data)) for p in range((step - 1) * plan.batch_size, step * plan.batch_size)]
        chosen = [int(np.random.default_rng([3, 2, epoch, 0]).permutation(len(data))[i]) for epoch, i in places]
        bags = [
            torch.from_numpy(data.ids[int(data.offsets[i]) : int(data.offsets[i + 1])].astype(np.int64)) for i in chosen
        ]
        for optimizer in (lazy, dense):
            optimizer.param_groups[0]["lr"] = plan.rate(step)
            optimizer.zero_grad()
        whole = table.detach().clone().requires_grad_()
        pooled = torch.stack([torch_pool(pooling, whole[bag], twin.query) for bag in bags])
        TASKS["single"].loss(twin(pooled), torch.from_numpy(data.targets[chosen])).backward()
        touched = torch.cat(bags).unique()
        table.grad = torch.sparse_coo_tensor(touched[None], whole.grad[touched], whole.shape)
        lazy.step()
        dense.step()
    # Where a gradient is nothing but rounding Adam makes a step of it: few numbers may differ, by as much.
    assert np.isclose(ours.table, table.detach().numpy(), atol=2e-4).mean() > 0.99
    texts = [*TEXTS, "", "nothing known"]
    theirs = torch.stack(
        [
            torch_pool(pooling, table[torch.from_numpy(ids.astype(np.int64))], twin.query)
            for ids in (vocabulary.bags([text])[0] for text in texts)
        ]
    )
    np.testing.assert_allclose(
        ours.logits(*vocabulary.bags(texts), 1), twin(theirs).detach().numpy(), rtol=0.01, atol=2e-3
    )


@pytest.mark.parametrize(("pooling", "hidden", "embedding"), POOLED)
@pytest.mark.parametrize("rows", ["auto", "int4", "int8", "int16", "float16", "float32"])
def test_classifiers_of_every_pooling_say_what_the_student_says(tmp_path, pooling, hidden, embedding, rows):
    vocabulary, _ = examples()
    student = Student(len(vocabulary), 3, hidden, embedding, 0.1, 1, "float32", pooling)
    rng = np.random.default_rng(2)
    for array in student.arrays().values():
        array[...] = rng.standard_normal(array.shape) * 0.5
    texts = [*TEXTS, "", "nothing known", "good good good bad film"]
    expected = student.logits(*vocabulary.bags(texts), 1)
    if pooling == "attentive" and rows.startswith("int"):
        with pytest.raises(SettingsError, match="too coarse"):
            compress(student, vocabulary, ("a", "b", "c"), "single", rows)
        return
    compress(student, vocabulary, ("a", "b", "c"), "single", rows).save(tmp_path / "classifier")
    classifier = Classifier.load(tmp_path / "classifier")
    found = classifier.decision_function(texts)
    bounds = {"int4": 3, "int8": 0.15, "int16": 3e-3, "float16": 3e-2, "float32": 1e-4}
    bound = bounds[classifier.config["rows"]["type"]]
    assert np.abs(found - expected).max() < bound
    assert classifier.config["format_version"] == (7 if rows == "int4" else 5 if pooling == "sqrtn" else 4)
    for text, logits in zip(texts, found, strict=True):
        why = classifier.explain(text, "b", top=None)
        assert why.logit == pytest.approx(logits[1] - logits.mean(), abs=1e-3)
        assert why.bias + sum(n for _, n in why.contributions) == pytest.approx(why.logit, abs=1e-9)
    np.testing.assert_allclose(student.scorer("cpu")(*vocabulary.bags(texts)), expected, atol=1e-4)


@pytest.mark.parametrize(("h", "width"), [(12, 12), (12, 40), (50, 8)])
@pytest.mark.parametrize("kind", ["float32", "bfloat16"])
def test_a_table_from_embeddings(h, width, kind):
    rng = np.random.default_rng(0)
    wanted = (rng.standard_normal((500, h)) * rng.random(h) * 3 + 5).astype(np.float32)
    shards = [(begin, wanted[begin : begin + 70]) for begin in range(0, 500, 70)]
    parts = list(initial_rows(lambda: iter(shards), width, 0.3, 7, kind))
    assert [place.start for place, _ in parts] == [begin for begin, _ in shards]
    table = np.concatenate([numbers for _, numbers in parts])
    assert table.shape == (500, width)
    found = widened(table) if kind == "bfloat16" else table
    assert abs(found.mean()) < 0.02
    assert found.std() == pytest.approx(0.3, rel=0.25)
    # Whose embeddings are near have rows that are near.
    near = [np.linalg.norm(x[:100, None] - x[None, :100], axis=2).ravel() for x in (wanted, found)]
    assert np.corrcoef(*near)[0, 1] > (0.999 if h == width else 0.5)


def test_equal_embeddings_make_a_table_of_zeros():
    same = np.full((5, 4), 2.5, np.float32)
    ((place, table),) = initial_rows(lambda: iter([(0, same)]), 3, 0.3, 7)
    assert (place, table.shape) == (slice(0, 5), (5, 3))
    assert not table.any()


@pytest.mark.parametrize(("hidden", "rows"), [((6,), "int8"), ((), "auto"), ((6,), "float32")])
def test_students_of_hashed_vocabularies(tmp_path, hidden, rows):
    vocabulary = Vocabulary.hash(300, max_n=3)
    ids, offsets = vocabulary.bags(TEXTS)
    assert len(np.unique(ids)) > 30
    targets = np.eye(3, dtype=np.float32)[np.arange(len(TEXTS)) % 3]
    student = Student(len(vocabulary), 3, hidden, 0, 0.0, 1)
    plan = schedule(steps=300, learning_rate=0.1)
    train(
        student, InMemory(Batch(ids, offsets, targets)), plan, TASKS["single"], tmp_path, lambda s: 0.0, "test", "key"
    )
    compress(student, vocabulary, ("a", "b", "c"), "single", rows).save(tmp_path / "classifier")
    classifier = Classifier.load(tmp_path / "classifier")
    assert classifier.predict(TEXTS) == [("a", "b", "c")[i % 3] for i in range(len(TEXTS))]
    assert "300 hashed 1- to 3-grams" in repr(classifier)
    texts = [*TEXTS, "", "never seen before"]
    expected = student.logits(*vocabulary.bags(texts), 1)
    assert np.abs(classifier.decision_function(texts) - expected).max() < 0.03 * np.abs(expected).max()
    assert [ngram for ngram, _ in classifier.explain("good film", top=None).contributions if " " in ngram] == [
        "good film"
    ]
    tensors = set(read_tensors(tmp_path / "classifier" / "model.safetensors"))
    assert "rows" in tensors
    assert "slots" not in tensors


def test_both_poolings_need_the_factor():
    with pytest.raises(ValueError, match=r"mean\+max pools to twice"):
        Student(10, 3, (6,), 0, 0.1, 1, "float32", "mean+max")


def test_loss_is_kl_up_to_the_targets_entropy():
    logits = torch.tensor([[1.0, -2.0, 0.5], [0.0, 0.0, 3.0]])
    targets = torch.tensor([[0.2, 0.3, 0.5], [0.9, 0.05, 0.05]])
    kl = torch.nn.functional.kl_div(torch.log_softmax(logits, 1), targets, reduction="batchmean")
    entropy = -(targets * targets.log()).sum(1).mean()
    assert TASKS["single"].loss(logits, targets).item() == pytest.approx((kl + entropy).item(), rel=1e-5)


@pytest.mark.parametrize("dropout", [0.0, 0.4])
def test_same_seed_same_bits_and_dropout_changes_them(tmp_path, dropout):
    vocabulary, data = examples()

    def trained(seed: int, threads: int, where: str) -> np.ndarray:
        student = Student(len(vocabulary), 3, (6,), 0, dropout, 1)
        plan = schedule(ngram_dropout=dropout, seed=seed, threads=threads)
        train(student, InMemory(data), plan, TASKS["single"], tmp_path / where, lambda s: 0.0, "test", "key")
        return student.table

    first = trained(1, 1, "a")
    assert np.array_equal(first, trained(1, 3, "b"))
    assert not np.array_equal(first, trained(2, 1, "c"))


@pytest.mark.parametrize("table", ["float32", "bfloat16"])
@pytest.mark.parametrize("optimizer", ["adam", "adagrad"])
def test_every_optimiser_and_table_learns(tmp_path, optimizer, table):
    vocabulary, data = examples()
    student = Student(len(vocabulary), 3, (16,), 0, 0.0, 1, table)
    plan = schedule(steps=400, learning_rate=0.05, optimizer=optimizer)
    start = student.table.copy()
    train(student, InMemory(data), plan, TASKS["single"], tmp_path, lambda s: 0.0, "test", "key")
    found = torch.softmax(torch.from_numpy(student.logits(data.ids, data.offsets, 1)), 1).numpy()
    assert np.abs(found - data.targets).mean() < 0.05
    assert student.table.dtype == start.dtype
    assert not np.array_equal(student.table, start)
    again = Student(len(vocabulary), 3, (16,), 0, 0.0, 9, table).load(tmp_path / "student.safetensors")
    assert np.array_equal(again.logits(data.ids, data.offsets, 1), student.logits(data.ids, data.offsets, 1))
    classifier = compress(student, vocabulary, ("a", "b", "c"), "single", "float32")
    np.testing.assert_allclose(
        classifier.decision_function(TEXTS), student.logits(data.ids, data.offsets, 1), atol=1e-4
    )
    np.testing.assert_allclose(
        student.scorer("cpu")(data.ids, data.offsets), student.logits(data.ids, data.offsets, 1), atol=1e-4
    )


def test_bfloat16_is_torchs():
    numbers = np.random.default_rng(0).standard_normal(10_000).astype(np.float32)
    numbers[:4] = 1.00390625, 1.01171875, 0, -0.0  # two halves between neighbours: to the even one
    theirs = torch.from_numpy(numbers).bfloat16()
    assert np.array_equal(narrowed(numbers), theirs.view(torch.int16).numpy().view(np.uint16))
    assert np.array_equal(widened(narrowed(numbers)), theirs.float().numpy())
    assert random_table(5, 3, 0.3, 1, "bfloat16").tolist() == narrowed(random_table(5, 3, 0.3, 1)).tolist()


def test_best_weights_are_kept(tmp_path):
    vocabulary, data = examples()
    student = Student(len(vocabulary), 3, (6,), 0, 0.0, 1)
    seen: list[np.ndarray] = []

    def score(s: Student) -> float:
        seen.append(s.table.copy())
        return [0.1, 0.9, 0.3, 0.2][len(seen) - 1]

    plan = schedule(keep_best=True)
    result = train(student, InMemory(data), plan, TASKS["single"], tmp_path, score, "test", "key")
    assert np.array_equal(student.table, seen[1])
    assert result["dev"] == 0.9
    looks = [row for row in result["curve"] if row[-1] is not None]
    assert [row[0] for row in looks] == [0, 5, 10, 12]
    assert [row[-1] for row in looks] == [0.1, 0.9, 0.3, 0.2]
    assert {path.name for path in tmp_path.iterdir()} == {"student.safetensors", "curve.csv", "curve.png"}
    again = Student(len(vocabulary), 3, (6,), 0, 0.0, 9).load(tmp_path / "student.safetensors")
    assert np.array_equal(again.table, student.table)


def test_the_curve_has_every_loss_once(tmp_path, drawn):
    vocabulary, data = examples()
    plan = schedule(steps=900, evaluate_every=100)
    student = Student(len(vocabulary), 3, (6,), 0, 0.0, 1)
    result = train(student, InMemory(data), plan, TASKS["single"], tmp_path, lambda s: 0.5, "test", "key")
    with open(tmp_path / "curve.csv", encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    assert tuple(rows[0]) == COLUMNS
    assert [int(row["step"]) for row in rows] == [0, *range(4, 901, 4)]
    assert all((row["dev"] == "0.5") == (int(row["step"]) % 100 == 0) for row in rows)
    assert float(rows[-1]["loss"]) < float(rows[1]["loss"])
    assert [float(row["rate"]) for row in rows[1:]] == [plan.rate(int(row["step"])) for row in rows[1:]]
    assert result["curve"][-1][0] == result["steps"] == 900
    assert result["stopped"] == ""
    assert (tmp_path / "curve.png").read_bytes().startswith(b"\x89PNG")


def test_tensorboard_gets_the_curve(tmp_path):
    pytest.importorskip("tensorboard")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    vocabulary, data = examples()
    student = Student(len(vocabulary), 3, (6,), 0, 0.0, 1)
    result = train(
        student, InMemory(data), schedule(), TASKS["single"], tmp_path, lambda s: 0.5, "test", "key", tensorboard=True
    )
    events = EventAccumulator(str(tmp_path / "tensorboard"))
    events.Reload()
    for name in ("loss", "rate", "dev"):
        at = COLUMNS.index(name)
        expected = [(row[0], pytest.approx(row[at])) for row in result["curve"] if row[at] is not None]
        assert [(event.step, event.value) for event in events.Scalars(name)] == expected


def test_training_stops_when_dev_gets_no_better(tmp_path):
    vocabulary, data = examples()
    figures = iter([0.1, 0.5, 0.4, 0.6, 0.6, 0.5, 0.9])
    tables: list[np.ndarray] = []

    def score(s: Student) -> float:
        tables.append(s.table.copy())
        return next(figures)

    plan = schedule(steps=100, patience=2, keep_best=True)
    student = Student(len(vocabulary), 3, (6,), 0, 0.0, 1)
    result = train(student, InMemory(data), plan, TASKS["single"], tmp_path, score, "test", "key")
    assert (result["steps"], result["stopped"], result["dev"]) == (25, "early", 0.6)
    assert np.array_equal(student.table, tables[3])


def test_training_ends_with_its_time_and_the_rate_with_it(tmp_path):
    vocabulary, data = examples()
    plan = schedule(steps=10_000_000, evaluate_every=1_000_000, max_seconds=1.0)
    student = Student(len(vocabulary), 3, (6,), 0, 0.0, 1)
    result = train(student, InMemory(data), plan, TASKS["single"], tmp_path, lambda s: 0.5, "test", "key")
    assert result["stopped"] == "time"
    assert 20 < result["steps"] < 1_000_000
    assert 1.0 <= result["seconds"] < 10
    assert result["curve"][-1][COLUMNS.index("rate")] < 0.01 * plan.learning_rate
    assert result["curve"][-1][-1] == 0.5


def test_without_resume_training_begins_anew(tmp_path):
    vocabulary, data = examples()

    def student() -> Student:
        return Student(len(vocabulary), 3, (6,), 0, 0.0, 1)

    def trained(where: Path, resume: bool, stop: bool = False) -> Student:
        def score(s: Student) -> float:
            looks.append(1)
            if stop and len(looks) == 3:
                signal.raise_signal(signal.SIGINT)
            return 0.5

        looks: list[int] = []
        made = student()
        train(made, InMemory(data), schedule(), TASKS["single"], where, score, "test", "key", resume)
        steps.append(len(looks))
        return made

    steps: list[int] = []
    whole = trained(tmp_path / "whole", True)
    for resume, looks in ((True, 1), (False, 4)):
        with pytest.raises(KeyboardInterrupt):
            trained(tmp_path / "cut", True, stop=True)
        assert (tmp_path / "cut" / "checkpoint.safetensors").is_file()
        again = trained(tmp_path / "cut", resume)
        assert np.array_equal(again.table, whole.table)
        assert steps[-1] == looks


@settings(max_examples=30)
@given(st.integers(1, 300), st.floats(0, 1), st.sampled_from(["polynomial", "cosine"]), st.floats(0.5, 3))
def test_rate_rises_then_falls(steps, warmup, kind, power):
    plan = schedule(steps=steps, warmup=warmup, learning_rate=1.0, schedule=kind, power=power)
    rates = [plan.rate(step) for step in range(1, steps + 1)]
    peak = int(np.argmax(rates))
    assert max(rates) <= 1 + 1e-9
    assert all(a < b for a, b in itertools.pairwise(rates[: peak + 1]))
    assert all(a > b > 0 for a, b in itertools.pairwise(rates[peak:]))


@pytest.mark.parametrize(
    ("kind", "theirs"),
    [
        ("polynomial", lambda o: lr_scheduler.PolynomialLR(o, 100, 2.0)),
        ("cosine", lambda o: lr_scheduler.CosineAnnealingLR(o, 100)),
        ("constant", lambda o: lr_scheduler.ConstantLR(o, 1.0)),
    ],
)
def test_rate_is_torchs(kind, theirs):
    plan = schedule(steps=100, warmup=0.0, learning_rate=0.3, schedule=kind, power=2.0)
    optimizer = torch.optim.SGD([torch.zeros(1)], lr=0.3)
    falling = theirs(optimizer)
    for step in range(1, 101):
        assert plan.rate(step) == pytest.approx(falling.get_last_lr()[0], rel=1e-6)
        optimizer.step()
        falling.step()


@pytest.mark.parametrize(("hidden", "embedding"), SHAPES)
@pytest.mark.parametrize("rows", ["auto", "int4", "int8", "int16", "float16", "float32"])
def test_classifier_says_what_the_student_says(hidden, embedding, rows):
    vocabulary, _ = examples()
    student = Student(len(vocabulary), 3, hidden, embedding, 0.1, 1)
    rng = np.random.default_rng(2)
    for array in student.arrays().values():
        array[...] = rng.standard_normal(array.shape) * 0.5
    texts = [*TEXTS, "", "nothing known", "good good good bad film"]
    expected = student.logits(*vocabulary.bags(texts), 1)
    classifier = compress(student, vocabulary, ("a", "b", "c"), "single", rows)
    found = classifier.decision_function(texts)
    bound = {"int4": 2, "int8": 0.1, "int16": 1e-3, "float16": 1e-2, "float32": 1e-5}[classifier.config["rows"]["type"]]
    assert np.abs(found - expected).max() < bound
    folded = embedding == 0 or (hidden or (3,))[0] <= embedding
    assert classifier.config["rows"]["width"] == ((hidden or (3,))[0] if folded else embedding)
    assert classifier.config["layers"] == len(hidden) + (0 if folded else 1)
    narrow = classifier.config["rows"]["width"] <= 4
    chosen = rows == "int16" or (rows == "auto" and not classifier.config["layers"])
    assert classifier.config["rows"]["in_slots"] == (narrow and chosen)


@pytest.mark.parametrize(("hidden", "embedding"), SHAPES)
@pytest.mark.parametrize("device", ["cpu", "cuda"])
def test_scorer_on_a_device(hidden, embedding, device):
    if device == "cuda" and not torch.cuda.is_available():
        pytest.skip("no GPU here")
    vocabulary, _ = examples()
    student = Student(len(vocabulary), 3, hidden, embedding, 0.5, 1)
    ids, offsets = vocabulary.bags([*TEXTS, "", "nothing known", *TEXTS], 1)
    expected, score = student.logits(ids, offsets, 1), student.scorer(device)
    for batch in (8192, 3):
        np.testing.assert_allclose(score(ids, offsets, batch), expected, atol=1e-5)
    assert score(ids[:0], offsets[:1]).shape == (0, 3)
    student.table[:] = 0  # what was copied over stays
    if device == "cuda":
        np.testing.assert_allclose(score(ids, offsets), expected, atol=1e-5)


def test_numbers_too_large_for_float16_are_refused():
    vocabulary, _ = examples()
    student = Student(len(vocabulary), 3, (8,), 0, 0.1, 1)
    student.table[5, 2] = 70000
    with pytest.raises(DataError, match="float16 cannot hold"):
        compress(student, vocabulary, ("a", "b", "c"), "single", "float16")


@pytest.mark.parametrize(
    ("width", "rows", "stride"),
    [
        *((1, "int8", 16), (16, "int8", 16), (17, "int8", 32), (33, "int8", 64), (65, "int8", 128)),
        *((1000, "int8", 1024), (5, "int16", 8), (77, "int16", 96), (20, "float16", 32), (3, "float32", 4)),
    ],
)
def test_rows_touch_no_more_cache_lines_than_they_must(width, rows, stride):
    assert stride_of(width, rows) == stride


def test_the_table_is_never_larger_than_the_vocabulary(tmp_path):
    vocabulary = Vocabulary.count([TEXTS], size=1_000_000)
    assert len(vocabulary) < 200
    assert len(Student(len(vocabulary), 3, (6,), 0, 0.0, 1).table) == len(vocabulary)
    assert len(Vocabulary.count([TEXTS], size=5)) == 5
