"""The table on a device against the core: Triton's kernels, on a GPU or in its interpreter, and their twin in torch."""

from __future__ import annotations

import itertools
import json
import os
import signal
import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

torch = pytest.importorskip("torch")
if not torch.cuda.is_available() and "triton" not in sys.modules:
    os.environ["TRITON_INTERPRET"] = "1"  # read when kernels are defined

from sparsedistill import _core  # noqa: E402
from sparsedistill.errors import SettingsError  # noqa: E402
from sparsedistill.format import read_tensors  # noqa: E402
from sparsedistill.pooling import POOLINGS  # noqa: E402
from sparsedistill.run import Run  # noqa: E402
from sparsedistill.settings import build  # noqa: E402
from sparsedistill.stages import train as stage  # noqa: E402
from sparsedistill.student import cuda  # noqa: E402
from sparsedistill.student.dataset import Batch, InMemory  # noqa: E402
from sparsedistill.student.model import Student  # noqa: E402
from sparsedistill.student.parallel import Group  # noqa: E402
from sparsedistill.student.schedule import Schedule  # noqa: E402
from sparsedistill.student.table import OPTIMIZERS, narrowed, random_table, widened  # noqa: E402
from sparsedistill.student.train import train  # noqa: E402
from sparsedistill.student.vocabulary import Vocabulary  # noqa: E402
from sparsedistill.tasks import TASKS  # noqa: E402

DEVICE = torch.device("cuda" if torch.cuda.is_available() else "cpu")
TRITON = cuda.kernels(DEVICE) is cuda.Triton
RATE = 0.05

with_triton = pytest.mark.skipif(not TRITON, reason="Triton is not installed, or was loaded before this file")
by_both = pytest.mark.parametrize("by", [pytest.param(cuda.Triton, marks=with_triton), cuda.Torch])
seeds = st.integers(0, (1 << 64) - 1)
# Few rows, so that ids repeat within a bag and over bags; empty bags anywhere; more than a block of columns.
shapes = st.tuples(st.integers(1, 9), st.one_of(st.integers(1, 40), st.sampled_from((64, 100, 1024, 1030))))
bag_sizes = st.lists(st.integers(0, 9), max_size=7)
kinds, poolings = (
    st.sampled_from(("float32", "bfloat16")),
    st.sampled_from([name for name, kind in POOLINGS.items() if kind.on_gpu]),
)
optimizers = st.sampled_from(("adam", "adagrad"))


def made(seed: int, shape: tuple[int, int], sizes: list[int], kind: str):
    """A table, bags for it and gradients of what is pooled of them."""
    rng = np.random.default_rng(seed)
    table = rng.standard_normal(shape).astype(np.float32)
    offsets = np.cumsum([0, *sizes], dtype=np.uint64)
    ids = rng.integers(0, shape[0], int(offsets[-1])).astype(np.uint32)
    grad = rng.standard_normal((len(sizes), shape[1])).astype(np.float32)
    return table if kind == "float32" else narrowed(table), ids, offsets, grad


def sent(table: np.ndarray):
    return torch.tensor(table.view(np.int16) if table.dtype == np.uint16 else table, device=DEVICE)


def back(tensor) -> np.ndarray:
    return np.concatenate([np.zeros((0, *tensor.shape[1:]), np.float32), *map(widened, cuda.OnDevice(tensor).pieces())])


def core_pool(table, ids, offsets, pooling):
    pool, out = _core.Pool(pooling, None), np.empty((len(offsets) - 1, table.shape[1]), np.float32)
    _core.bag_pool(table, ids, offsets, pool, out, 1)
    return out, pool


@by_both
@settings(max_examples=25)
@given(seeds, shapes, bag_sizes, kinds, poolings)
def test_pooling_is_the_cores(by, seed, shape, sizes, kind, pooling):
    table, ids, offsets, _ = made(seed, shape, sizes, kind)
    bags = cuda.Bags.on(DEVICE, ids, offsets, pooling, len(table))
    found = by.pool(sent(table), bags).cpu().numpy()
    expected, _ = core_pool(table, ids, offsets, pooling)
    if by is cuda.Triton:
        assert found.tobytes() == expected.tobytes()
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-6)


@by_both
@settings(max_examples=25)
@given(seeds, shapes, bag_sizes, kinds, poolings, optimizers, st.integers(1, 1 << 40))
def test_steps_are_the_cores(by, seed, shape, sizes, kind, pooling, optimizer, first_step):
    table, ids, offsets, grad = made(seed % 1000, shape, sizes, kind)
    there, bags = sent(table), cuda.Bags.on(DEVICE, ids, offsets, pooling, len(table))
    _, pool = core_pool(table, ids, offsets, pooling)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(cuda, "kernels", lambda _: by)
        ours, theirs = cuda.OPTIMIZERS[optimizer](there), OPTIMIZERS[optimizer](table)
        for step in (first_step, first_step + 1):
            ours.step(bags, torch.from_numpy(grad).to(DEVICE), RATE, step, 1, seed, pool, 0)
            theirs.step((ids, offsets), grad, RATE, step, 1, seed, pool, 0)
    for name, state in theirs.arrays.items():
        np.testing.assert_allclose(ours.arrays[name].cpu().numpy(), state, rtol=1e-5, atol=1e-6)
    if by is cuda.Triton and optimizer == "adam":
        assert back(there).tobytes() == widened(table).tobytes()
        for name, state in theirs.arrays.items():
            assert ours.arrays[name].cpu().numpy().tobytes() == state.tobytes()
    elif kind == "float32":
        np.testing.assert_allclose(back(there), table, rtol=1e-4, atol=1e-4 * RATE)
    else:
        # The last bit of a float decides where a bfloat16 is rounded to, but seldom.
        differ = back(there) != widened(table)
        assert differ.mean() <= 0.001 or differ.sum() <= 1
        np.testing.assert_allclose(back(there), widened(table), rtol=0.01, atol=0.01)


@by_both
def test_rounding_is_the_cores_for_any_seed_step_row_and_column(by):
    # A gradient of powers of two has a mean square without rounding, whose root is one too: all bits are the same.
    rng = np.random.default_rng(0)
    ids, offsets = np.array([0, 5, 6], np.uint32), np.arange(4, dtype=np.uint64)
    grad = np.where(rng.random((3, 512)) < 0.5, np.float32(1), np.float32(-1))
    start = narrowed(rng.standard_normal((7, 512)))
    for seed, step in itertools.product((0, 1, (1 << 32) + 5, (1 << 64) - 1), (1, 2, (1 << 63) + 9)):
        table, there = start.copy(), sent(start)
        squares = np.zeros(7, np.float32)
        _core.bag_adagrad(table, squares, ids, offsets, grad, 0.001, 0.0, step, 1, seed)
        bags = cuda.Bags.on(DEVICE, ids, offsets, "mean", 7)
        grads, rates = torch.from_numpy(grad).to(DEVICE), (float(np.float32(0.001)), 0.0)
        by.adagrad(there, torch.zeros(7, device=DEVICE), bags, grads, rates, cuda._start(seed, step))
        assert back(there).tobytes() == widened(table).tobytes()
        assert (back(there) != widened(start)).any(axis=1).tolist() == [i in ids for i in range(7)]


def test_rows_are_numbered_without_a_sign():
    low = 1 << 31
    rows = torch.tensor([0, low, 2 * low - 1])
    start = cuda._start(3, 4)
    for row, found in zip(rows.tolist(), cuda._noise(start, rows).tolist(), strict=True):
        product = start * (row ^ cuda._K[3])
        assert found == (product ^ product >> 64) & 0xFFFFFFFF
    assert cuda._unsigned(torch.tensor([-1], dtype=torch.int32)).tolist() == [2 * low - 1]
    assert [half & 0xFFFFFFFF for half in cuda._halves(0x8000000180000002)] == [0x80000002, 0x80000001]


@by_both
def test_what_is_not_finite_stays_so(by):
    for value in (np.inf, -np.inf, np.nan):
        there = sent((np.full((1, 40), value, np.float32).view(np.uint32) >> 16).astype(np.uint16))
        bags = cuda.Bags.on(DEVICE, np.zeros(1, np.uint32), np.array([0, 1], np.uint64), "mean", 1)
        ones = torch.ones((1, 40), device=DEVICE)
        by.adagrad(there, torch.zeros(1, device=DEVICE), bags, ones, (1.0, 0.0), cuda._start(1, 1))
        np.testing.assert_array_equal(back(there), np.full((1, 40), value, np.float32))


def test_bags_are_checked():
    ids = np.array([0, 1, 2], np.uint32)
    with pytest.raises(IndexError, match="past the end of the table, which has 2 rows"):
        cuda.Bags.on(DEVICE, ids, np.array([0, 3], np.uint64), "mean", 2)
    for offsets in ([], [1, 3], [0, 2], [0, 4], [0, 2, 1, 3], [0, 1 << 63, 3]):
        with pytest.raises(ValueError, match="offsets must begin at 0"):
            cuda.Bags.on(DEVICE, ids, np.array(offsets, np.uint64), "mean", 3)


@pytest.mark.parametrize("kind", ["float32", "bfloat16"])
def test_a_new_table_is_the_hosts(kind):
    # More than a piece.
    there, here = cuda.random_table(3000, 400, 0.3, 5, kind, DEVICE), random_table(3000, 400, 0.3, 5, kind)
    assert back(there).tobytes() == widened(here).tobytes()
    assert cuda.OnDevice(there).dtype == here.dtype


@with_triton
def test_kernels_compile_for_a_gpu():
    # The interpreter takes what the compiler does not; it compiles on any machine, for an H100 here.
    script = """
from triton import compile
from triton.backends.compiler import GPUTarget
from triton.compiler import ASTSource
from sparsedistill.student import kernels
types = {"ids": "*i32", "of": "*i32", "offsets": "*i64", "starts": "*i64", "low": "i32", "high": "i32"}
types |= dict.fromkeys(("size", "rest1", "rest2", "epsilon", "rate"), "fp32")
for kernel in (kernels.pool, kernels.adam, kernels.adagrad):
    for half in (False, True):
        known = {"WIDTH": 100, "HALF": half, "BLOCK": 128, "AHEAD": 4}
        types["table"] = "*i16" if half else "*fp32"
        signature = {n: "constexpr" if n in known else types.get(n, "*fp32") for n in kernel.arg_names}
        constants = {(kernel.arg_names.index(n),): value for n, value in known.items()}
        made = compile(ASTSource(kernel, signature, constants), target=GPUTarget("cuda", 90, 32),
                       options={"enable_fp_fusion": False})
        code = made.asm["ptx"]
        assert "fma." not in code and ".ftz" not in code and ".approx" not in code, code
        print(kernel.__name__, half)
"""
    environment = {k: v for k, v in os.environ.items() if k != "TRITON_INTERPRET"}
    found = subprocess.run([sys.executable, "-P", "-c", script], env=environment, capture_output=True, text=True)
    assert found.returncode == 0, found.stderr
    assert len(found.stdout.splitlines()) == 6


# The whole training


TEXTS = [
    " ".join(words) for words in itertools.product(("not", "so", "very"), ("good", "bad", "odd"), ("film", "plot"))
]


def examples() -> tuple[Vocabulary, Batch]:
    vocabulary = Vocabulary.count([TEXTS], max_n=2)
    targets = np.random.default_rng(0).random((len(TEXTS), 3)).astype(np.float32)
    return vocabulary, Batch(*vocabulary.bags(TEXTS), targets / targets.sum(axis=1, keepdims=True))


def plan(**over) -> Schedule:
    values = {"steps": 8, "batch_size": 7, "learning_rate": 0.02, "warmup": 0.2, "ngram_dropout": 0.1}
    values |= {"evaluate_every": 4, "checkpoint_seconds": 1e9, "threads": 1, "seed": 3}
    return Schedule(**{**values, **over})


def student(device, table: str = "float32", pooling: str = "mean", seed: int = 1, embedding: int = 8) -> Student:
    return Student(len(examples()[0]), 3, (6,), embedding, 0.0, seed, table, pooling, device=device)


def weights(directory) -> dict[str, np.ndarray]:
    found = read_tensors(directory / "student.safetensors")
    return {name: widened(array) for name, array in found.items()}


def alike(some: dict[str, np.ndarray], others: dict[str, np.ndarray], within: float) -> bool:
    # Where a gradient is nothing but rounding Adam makes a step of it: few numbers may differ, by as much.
    a, b = (np.concatenate([array.ravel() for array in arrays.values()]) for arrays in (some, others))
    return bool(np.isclose(a, b, rtol=0.01, atol=within).mean() > 0.99)


@pytest.mark.parametrize(
    ("table", "optimizer", "pooling", "embedding"),
    [
        ("float32", "adam", "mean", 8),
        ("bfloat16", "adagrad", "sum", 0),
        ("bfloat16", "adam", "mean", 0),
        ("float32", "adam", "sqrtn", 0),
    ],
)
def test_training_is_that_of_the_cpu(tmp_path, table, optimizer, pooling, embedding):
    _, data = examples()
    results, students = {}, {}
    for name, device in (("here", None), ("there", DEVICE)):
        students[name] = student(device, table, pooling, embedding=embedding)
        schedule = plan(optimizer=optimizer, keep_best=True)
        seen: list[float] = []

        def score(s: Student, seen: list[float] = seen) -> float:
            seen.append(float(np.abs(s.logits(data.ids, data.offsets, 1)).mean()))
            return [0.1, 0.9, 0.3][len(seen) - 1]

        train(students[name], InMemory(data), schedule, TASKS["single"], tmp_path / name, score, "test", "key")
        results[name] = seen
    np.testing.assert_allclose(results["there"], results["here"], rtol=1e-2 if table == "bfloat16" else 1e-4)
    here, there = weights(tmp_path / "here"), weights(tmp_path / "there")
    assert {n: a.shape for n, a in here.items()} == {n: a.shape for n, a in there.items()}
    assert {p.name for p in (tmp_path / "there").iterdir()} == {"student.safetensors", "curve.csv", "curve.png"}
    assert alike(here, there, 1e-2 if table == "bfloat16" else 1e-4)
    moved = student(DEVICE, table, pooling, 9, embedding).load(tmp_path / "here" / "student.safetensors")
    bags = data.ids, data.offsets
    expected = students["here"].logits(*bags, 1)
    np.testing.assert_allclose(moved.logits(*bags, 1), expected, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(moved.scorer("cpu")(*bags), expected, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(("first", "second"), [(None, DEVICE), (DEVICE, None), (DEVICE, DEVICE)])
@pytest.mark.parametrize("optimizer", ["adam", "adagrad"])
def test_a_checkpoint_goes_on_anywhere(tmp_path, first, second, optimizer):
    _, data = examples()

    def trained(device, where: str, stop: bool = False) -> int:
        def score(_: Student) -> float:
            looks.append(1)
            if stop and len(looks) == 2:
                signal.raise_signal(signal.SIGINT)
            return 0.5

        looks: list[int] = []
        made = student(device)
        train(made, InMemory(data), plan(optimizer=optimizer), TASKS["single"], tmp_path / where, score, "test", "key")
        return len(looks)

    assert trained(None, "whole") == 3
    with pytest.raises(KeyboardInterrupt):
        trained(first, "cut", stop=True)
    assert (tmp_path / "cut" / "checkpoint.safetensors").is_file()
    assert trained(second, "cut") == 1
    assert alike(weights(tmp_path / "whole"), weights(tmp_path / "cut"), 1e-4)


def test_a_run_on_a_device(tmp_path, monkeypatch):
    words = (("not", "so", "very"), ("good", "bad", "odd"), ("film", "plot"), ("then", "now"), ("here", "there"))
    rows = [
        {"text": " ".join(w), "label": w[1], "scores": [3.0 * (w[1] == label) for label in sorted(words[1])]}
        for w in itertools.product(*words)
    ]
    np.random.default_rng(0).shuffle(rows)
    files = {}
    for name, part in (("train", rows[:20]), ("dev", rows[20:30]), ("test", rows[30:40]), ("corpus", rows[40:])):
        files[name] = str(tmp_path / f"{name}.jsonl")
        dropped = "label" if name == "corpus" else ""
        lines = [json.dumps({k: v for k, v in row.items() if k != dropped}) for row in part]
        (tmp_path / f"{name}.jsonl").write_text("\n".join(lines), encoding="utf-8")
    distill = {"hidden": [8], "steps": 12, "batch_size": 8, "dropout": 0.0, "threads": 1, "device": "cpu"}
    asked = {"data": files, "teach": {"teacher": "column:scores"}, "count": {"max_n": 2}, "distill": distill}
    asked |= {"finetune": {"epochs": 1.0}, "compress": {"max_loss": 1.0}, "evaluate": {"repeats": 1, "threads": 1}}
    monkeypatch.setattr(cuda, "free_memory", lambda _: 10**9)
    for name in ("here", "there"):
        if name == "there":
            monkeypatch.setattr("sparsedistill.stages.train.device", lambda *_: DEVICE)
        Run(tmp_path / name, build(asked, "test")).execute()
        assert (tmp_path / name / "classifier" / "config.json").is_file()
    for student in ("kd", "kd_ft"):
        assert alike(*(weights(tmp_path / name / "students" / student) for name in ("here", "there")), 1e-3)


# What is refused


def test_what_the_cpu_alone_trains_is_refused():
    for pooling in ("max", "attentive"):
        with pytest.raises(SettingsError, match=f"{pooling} pooling is trained on the CPU alone: --device cpu"):
            student(DEVICE, pooling=pooling)
    with pytest.raises(SettingsError, match="several processes train on the CPU alone"):
        Student(10, 3, (6,), 0, 0.0, 1, group=Group(0, 2), device=DEVICE)


def device_of(tmp_path, monkeypatch, gpus: int, rows: int = 0, **distill) -> object:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: gpus > 0)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: gpus)
    monkeypatch.setattr(cuda, "free_memory", lambda _: 10**9)
    run = Run(tmp_path, build({"data": {"labels": ["a", "b"]}, "distill": {"hidden": [64], **distill}}, "test"))
    return stage.device(run, "kd", rows)


def test_which_device_trains(tmp_path, monkeypatch, capsys):
    def of(*arguments, **distill) -> str:
        return str(device_of(tmp_path, monkeypatch, *arguments, **distill))

    assert of(0) == of(2, device="cpu") == of(2, pooling="max") == "None"
    assert of(1) == "cuda"
    assert of(2, device="cuda:1") == "cuda:1"
    assert of(1, 2_000_000) == "None"
    assert "a table of 2,000,000 rows is too large for cuda" in capsys.readouterr().err
    assert of(1, 2_000_000, optimizer="adagrad") == "cuda"
    assert of(1, 2_000_000, device="cuda") == "cuda"  # refused as too large where memory is looked at
    for gpus, name, message in (
        (0, "cuda", "this machine has 0 GPUs"),
        (1, "cuda:1", "this machine has 1 GPUs"),
        (0, "gpu", "should be auto, cpu, cuda or cuda:1"),
        (0, "meta", "no student is trained"),
    ):
        with pytest.raises(SettingsError, match=message):
            of(gpus, device=name)
    with pytest.raises(SettingsError, match="max pooling is trained on the CPU alone"):
        of(1, device="cuda", pooling="max")


def test_triton_is_not_needed():
    assert cuda.kernels(DEVICE) in (cuda.Triton, cuda.Torch)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(cuda.compiled, "AVAILABLE", False)
        assert cuda.kernels(torch.device("cuda")) is cuda.Torch
