"""Training's kernels against torch: EmbeddingBag's mean and SparseAdam."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from reference import torch_pool

from sparsedistill import _core

torch = pytest.importorskip("torch")
torch.set_num_threads(1)

BETAS, EPSILON = (0.9, 0.98), 1e-6
RATE = 0.05

seeds = st.integers(0, 1 << 32)
# Few rows, so that ids repeat within a bag and over bags; empty bags anywhere; widths around the vectors' lengths.
shapes = st.tuples(st.integers(1, 12), st.one_of(st.integers(1, 70), st.sampled_from((128, 200))))
bag_sizes = st.lists(st.integers(0, 9), max_size=12)


def packed(bags) -> tuple[np.ndarray, np.ndarray]:
    offsets = np.cumsum([0, *map(len, bags)], dtype=np.uint64)
    return np.concatenate([np.zeros(0, np.uint32), *[np.asarray(bag, np.uint32) for bag in bags]]), offsets


def mean(table, ids, offsets, threads=1) -> np.ndarray:
    out = np.full((len(offsets) - 1, table.shape[1]), np.nan, np.float32)
    _core.bag_mean(table, ids, offsets, out, threads)
    return out


class Torch:
    """The same table under torch."""

    def __init__(self, table: np.ndarray):
        self.bag = torch.nn.EmbeddingBag.from_pretrained(
            torch.tensor(table), freeze=False, mode="mean", sparse=True, include_last_offset=True
        )
        self.optimizer = torch.optim.SparseAdam(self.bag.parameters(), lr=RATE, betas=BETAS, eps=EPSILON)

    def mean(self, ids, offsets):
        return self.bag(torch.tensor(ids.astype(np.int64)), torch.tensor(offsets.astype(np.int64)))

    def step(self, ids, offsets, grad) -> None:
        self.optimizer.zero_grad()
        self.mean(ids, offsets).backward(torch.tensor(grad))
        self.optimizer.step()

    def arrays(self) -> list[np.ndarray]:
        state = self.optimizer.state[self.bag.weight]
        return [self.bag.weight.detach().numpy(), state["exp_avg"].numpy(), state["exp_avg_sq"].numpy()]


def zeros_like(table):
    return np.zeros_like(table), np.zeros_like(table)


def batches(rng, v, width, steps, sizes):
    for _ in range(steps):
        bags = [rng.integers(0, v, size) for size in rng.permutation(sizes).astype(int)]
        ids, offsets = packed(bags)
        yield ids, offsets, rng.standard_normal((len(bags), width)).astype(np.float32)


@settings(max_examples=150)
@given(seeds, shapes, bag_sizes)
def test_mean_is_embedding_bags(seed, shape, sizes):
    rng = np.random.default_rng(seed)
    table = rng.standard_normal(shape).astype(np.float32)
    ids, offsets = packed([rng.integers(0, shape[0], size) for size in sizes])
    got = mean(table, ids, offsets)
    expected = Torch(table).mean(ids, offsets).detach().numpy() if sizes else np.zeros((0, shape[1]), np.float32)
    np.testing.assert_allclose(got, expected, rtol=1e-5, atol=1e-6)
    for threads in (0, 2, 3):
        assert np.array_equal(mean(table, ids, offsets, threads), got)


def test_mean_by_hand():
    table = np.array([[1, 10], [3, 50], [-1, 0]], np.float32)
    ids, offsets = packed([[0, 1], [], [2], [1, 1, 1, 0], []])
    assert mean(table, ids, offsets).tolist() == [[2, 30], [0, 0], [-1, 0], [2.5, 40], [0, 0]]
    assert mean(table, *packed([])).shape == (0, 2)


@settings(max_examples=60)
@given(seeds, shapes, bag_sizes.filter(any), st.integers(1, 6))
def test_adam_is_sparse_adam(seed, shape, sizes, steps):
    rng = np.random.default_rng(seed)
    table = rng.standard_normal(shape).astype(np.float32)
    twin = Torch(table)
    moments = zeros_like(table)
    for step, (ids, offsets, grad) in enumerate(batches(rng, *shape, steps, sizes), 1):
        before = [array.copy() for array in (table, *moments)]
        _core.bag_adam(table, *moments, ids, offsets, grad, RATE, *BETAS, EPSILON, step, 1)
        twin.step(ids, offsets, grad)
        untouched = np.setdiff1d(np.arange(shape[0]), ids)
        expected = twin.arrays()
        for array, theirs in zip(moments, expected[1:], strict=True):
            np.testing.assert_allclose(array, theirs, rtol=2e-5, atol=1e-6)
        # Adam divides a gradient by its size: of one that all but cancels out, the rounding shows.
        clear = np.abs(expected[1]) > 1e-3
        np.testing.assert_allclose(table[clear], expected[0][clear], rtol=2e-5, atol=1e-5)
        np.testing.assert_allclose(table, expected[0], atol=0.01 * RATE)
        for array, old in zip((table, *moments), before, strict=True):
            assert np.array_equal(array[untouched], old[untouched])
        table[:] = expected[0]


POOLINGS = ["mean", "sum", "sqrtn", "max", "mean+max", "attentive"]


@settings(max_examples=150)
@given(seeds, shapes, bag_sizes.filter(any), st.sampled_from(POOLINGS), st.integers(1, 3))
def test_every_pooling_and_its_step_are_torchs(seed, shape, sizes, pooling, threads):
    rng = np.random.default_rng(seed)
    table = rng.standard_normal(shape).astype(np.float32)
    query = rng.standard_normal(shape[1]).astype(np.float32) if pooling == "attentive" else None
    parameter = torch.nn.Parameter(torch.tensor(table))
    wanted = None if query is None else torch.tensor(query, requires_grad=True)
    optimizer = torch.optim.SparseAdam([parameter], lr=RATE, betas=BETAS, eps=EPSILON)
    moments = zeros_like(table)
    for step in (1, 2):
        bags = [rng.integers(0, shape[0], size) for size in rng.permutation(sizes).astype(int)]
        ids, offsets = packed(bags)
        columns = shape[1] * (2 if pooling == "mean+max" else 1)
        grad = rng.standard_normal((len(bags), columns)).astype(np.float32)

        pool, out = _core.Pool(pooling, query), np.full((len(bags), columns), np.nan, np.float32)
        _core.bag_pool(table, ids, offsets, pool, out, threads)
        dense = torch.tensor(parameter.detach().numpy(), requires_grad=True)
        theirs = torch.stack([torch_pool(pooling, dense[torch.tensor(bag)], wanted) for bag in bags])
        np.testing.assert_allclose(out, theirs.detach().numpy(), rtol=1e-4, atol=1e-5)

        theirs.backward(torch.tensor(grad))
        if query is not None:
            found = _core.bag_attend(table, ids, offsets, pool, out, grad, threads)
            np.testing.assert_allclose(found, wanted.grad.numpy(), rtol=1e-3, atol=1e-4)
            wanted.grad = None
        _core.bag_adam(table, *moments, ids, offsets, grad, RATE, *BETAS, EPSILON, step, threads, 0, pool)
        touched = torch.tensor(np.unique(ids).astype(np.int64))
        parameter.grad = torch.sparse_coo_tensor(touched[None], dense.grad[touched], shape)
        optimizer.step()
        state = optimizer.state[parameter]
        for array, expected in zip(moments, (state["exp_avg"], state["exp_avg_sq"]), strict=True):
            np.testing.assert_allclose(array, expected.numpy(), rtol=1e-3, atol=1e-5)
        # Adam divides by the gradient's size: where that is nothing but rounding, so is the step.
        table[:] = parameter.detach().numpy()


@pytest.mark.parametrize("pooling", POOLINGS)
@pytest.mark.parametrize("kind", ["float32", "bfloat16"])
def test_every_pooling_has_the_same_bits_for_any_threads(pooling, kind):
    rng = np.random.default_rng(4)
    start = rng.standard_normal((50, 37)).astype(np.float32)
    query = rng.standard_normal(37).astype(np.float32) if pooling == "attentive" else None
    if kind == "bfloat16":
        start = (start.view(np.uint32) >> 16).astype(np.uint16)
    bags = [rng.integers(0, 50, size) for size in rng.integers(0, 30, 300)]
    ids, offsets = packed(bags)
    grad = rng.standard_normal((300, 74 if pooling == "mean+max" else 37)).astype(np.float32)
    results = []
    for threads in (1, 2, 5):
        table, pool, out = start.copy(), _core.Pool(pooling, query), np.empty_like(grad)
        _core.bag_pool(table, ids, offsets, pool, out, threads)
        by_query = np.zeros(0) if query is None else _core.bag_attend(table, ids, offsets, pool, out, grad, threads)
        _core.bag_adagrad(table, np.zeros(50, np.float32), ids, offsets, grad, RATE, EPSILON, 1, threads, 3, pool)
        results.append((out, by_query, table))
    for other in results[1:]:
        assert all(np.array_equal(a, b) for a, b in zip(results[0], other, strict=True))
    assert not np.array_equal(results[0][2], start)


def test_what_was_not_pooled_is_refused():
    table, (ids, offsets) = np.zeros((3, 2), np.float32), packed([[0, 1], [2]])
    grad, moments = np.zeros((2, 2), np.float32), zeros_like(table)
    step = (table, *moments, ids, offsets, grad, RATE, *BETAS, EPSILON, 1, 1, 0)
    query = np.zeros(2, np.float32)
    for pool in (_core.Pool("max"), _core.Pool("attentive", query)):
        with pytest.raises(ValueError, match="not pooled before"):
            _core.bag_adam(*step, pool)
    with pytest.raises(ValueError, match="not pooled attentively"):
        _core.bag_attend(table, ids, offsets, _core.Pool("attentive", query), grad, grad, 1)
    with pytest.raises(ValueError, match="width of what is pooled"):
        _core.bag_adam(*step, _core.Pool("mean+max"))
    with pytest.raises(ValueError, match="as wide as the table"):
        _core.bag_pool(table, ids, offsets, _core.Pool("attentive", np.zeros(3, np.float32)), grad, 1)
    for wrong in (("median",), ("attentive",), ("mean", query)):
        with pytest.raises(ValueError, match=r"pooling|query"):
            _core.Pool(*wrong)


def test_adam_by_hand():
    # One id twice in one bag of two, once in a bag of one, and an empty bag whose gradient goes nowhere.
    table = np.zeros((3, 1), np.float32)
    m, v = zeros_like(table)
    ids, offsets = packed([[1, 1], [], [1], [2, 0]])
    grad = np.array([[1], [100], [3], [-8]], np.float32)
    _core.bag_adam(table, m, v, ids, offsets, grad, 0.5, 0.75, 0.5, 0, 1, 1)
    # gradients: row 1: 1/2 + 1/2 + 3 = 4, rows 0 and 2: -8/2 = -4
    assert m.tolist() == [[-1], [1], [-1]]
    assert v.tolist() == [[8], [8], [8]]
    # both bias corrections undone: the step is lr * g / |g|
    np.testing.assert_allclose(table, [[0.5], [-0.5], [0.5]], rtol=1e-6)


@settings(max_examples=30)
@given(seeds, st.integers(1, 3000), st.integers(1, 40), st.integers(1, 80))
def test_threads_change_no_bit(seed, v, width, n):
    rng = np.random.default_rng(seed)
    start = rng.standard_normal((v, width)).astype(np.float32)
    steps = list(batches(rng, v, width, 3, rng.integers(0, 60, n)))
    results = []
    for threads in (1, 2, 3, 16):
        table = start.copy()
        moments = zeros_like(table)
        for step, (ids, offsets, grad) in enumerate(steps, 1):
            _core.bag_adam(table, *moments, ids, offsets, grad, RATE, *BETAS, EPSILON, step, threads)
        results.append([table, *moments, mean(table, *steps[0][:2], threads)])
    for other in results[1:]:
        assert all(np.array_equal(a, b) for a, b in zip(other, results[0], strict=True))


def test_gradients_are_summed_in_the_order_of_the_bags():
    # Without momentum the first moment is the gradient itself: the same bits as one float32 addition after the other.
    rng = np.random.default_rng(0)
    bags = [rng.integers(0, 4, rng.integers(0, 30)) for _ in range(100)]
    grad = (rng.standard_normal((100, 19)) * np.exp(rng.normal(0, 3, (100, 19)))).astype(np.float32)
    expected = np.zeros((4, 19), np.float32)
    for bag, row in zip(bags, grad, strict=True):
        for i in bag:
            expected[i] += row * (np.float32(1) / np.float32(len(bag)))
    table = np.zeros((4, 19), np.float32)
    m, v = zeros_like(table)
    _core.bag_adam(table, m, v, *packed(bags), grad, RATE, 0.0, 0.5, EPSILON, 1, 2)
    assert np.array_equal(m, expected)


def adagrad_twin(table, state, ids, offsets, grad, rate, epsilon):
    """Row-wise Adagrad, a row at a time, in float64."""
    sums = {}
    for bag, row in zip(np.split(ids, offsets[1:-1].astype(int)), grad, strict=True):
        for i in bag:
            sums[i] = sums.get(i, 0) + row.astype(np.float64) / len(bag)
    for i, g in sums.items():
        state[i] += (g**2).mean()
        table[i] -= rate * g / (np.sqrt(state[i]) + epsilon)


@settings(max_examples=60)
@given(seeds, shapes, bag_sizes.filter(any), st.integers(1, 6))
def test_adagrad_is_its_twin(seed, shape, sizes, steps):
    rng = np.random.default_rng(seed)
    table = rng.standard_normal(shape).astype(np.float32)
    state = np.zeros(shape[0], np.float32)
    twin, twin_state = table.astype(np.float64), np.zeros(shape[0])
    for step, (ids, offsets, grad) in enumerate(batches(rng, *shape, steps, sizes), 1):
        before, untouched = table.copy(), np.setdiff1d(np.arange(shape[0]), ids)
        _core.bag_adagrad(table, state, ids, offsets, grad, RATE, EPSILON, step, 1)
        adagrad_twin(twin, twin_state, ids, offsets, grad, RATE, EPSILON)
        np.testing.assert_allclose(table, twin, rtol=2e-5, atol=1e-5)
        np.testing.assert_allclose(state, twin_state, rtol=2e-5, atol=1e-6)
        assert np.array_equal(table[untouched], before[untouched])


@settings(max_examples=60)
@given(seeds, shapes, bag_sizes.filter(any), st.integers(1, 4), st.sampled_from(("mean", "sum", "sqrtn")))
def test_gradient_descent_is_its_twin(seed, shape, sizes, steps, pooling):
    rng = np.random.default_rng(seed)
    table, rates = rng.standard_normal(shape).astype(np.float32), rng.uniform(0, 3, (shape[0], 2)).astype(np.float32)
    ends = np.array([rng.integers(0, shape[1] + 1), shape[1]], np.uint32)
    each = np.repeat(rates.astype(np.float64), np.diff([0, *ends.astype(int)]), axis=1)
    twin, pool = table.astype(np.float64), _core.Pool(pooling)
    for step, (ids, offsets, grad) in enumerate(batches(rng, *shape, steps, sizes), 1):
        before, untouched = table.copy(), np.setdiff1d(np.arange(shape[0]), ids)
        _core.bag_sgd(table, rates, ends, ids, offsets, grad, RATE, step, 2, 0, pool)
        for bag, row in zip(np.split(ids, offsets[1:-1].astype(int)), grad, strict=True):
            for i in bag:
                share = {"mean": len(bag), "sum": 1, "sqrtn": len(bag) ** 0.5}[pooling]
                twin[i] -= RATE * each[i] * row.astype(np.float64) / share
        np.testing.assert_allclose(table, twin, rtol=2e-5, atol=1e-5)
        assert np.array_equal(table[untouched], before[untouched])


def test_gradient_descent_needs_a_rate_a_row():
    table, grad = np.zeros((3, 2), np.float32), np.ones((1, 2), np.float32)
    for rates, ends, message in (
        (np.ones((2, 1)), [2], "a rate for each row"),
        (np.ones((3, 1)), [1, 2], "a rate for each row"),
        (np.ones((3, 1)), [1], "ascend to the width"),
        (np.ones((3, 2)), [3, 2], "ascend to the width"),
    ):
        with pytest.raises(ValueError, match=message):
            given = rates.astype(np.float32), np.array(ends, np.uint32)
            _core.bag_sgd(table, *given, *packed([[0]]), grad, RATE, 1, 1)


def bfloat16(x: np.ndarray) -> np.ndarray:
    """Rounded towards zero, as the bits of bfloat16."""
    return (np.ascontiguousarray(x, np.float32).view(np.uint32) >> 16).astype(np.uint16)


def widened(x: np.ndarray) -> np.ndarray:
    return (x.astype(np.uint32) << 16).view(np.float32)


@settings(max_examples=60)
@given(seeds, shapes, bag_sizes.filter(any))
def test_a_bfloat16_table_moves_to_a_neighbour_of_where_a_float_goes(seed, shape, sizes):
    rng = np.random.default_rng(seed)
    half = bfloat16(rng.standard_normal(shape))
    full = widened(half)
    ids, offsets, grad = next(batches(rng, *shape, 1, sizes))
    assert np.array_equal(mean(half, ids, offsets), mean(full, ids, offsets))
    for optimizer in ("adam", "adagrad", "sgd"):
        a, b = half.copy(), full.copy()
        states = [zeros_like(full) if optimizer == "adam" else (np.ones(shape[0], np.float32),) for _ in range(2)]
        if optimizer == "sgd":
            states = [(np.ones((shape[0], 1), np.float32), np.array([shape[1]], np.uint32))] * 2
        rates = {"adam": (RATE, *BETAS, EPSILON, 3), "adagrad": (RATE, EPSILON, 3), "sgd": (RATE, 3)}[optimizer]
        step = getattr(_core, f"bag_{optimizer}")
        step(a, *states[0], ids, offsets, grad, *rates, 1, seed)
        step(b, *states[1], ids, offsets, grad, *rates, 1, seed)
        assert all(np.array_equal(x, y) for x, y in zip(*states, strict=True))
        below = bfloat16(b)
        assert ((a == below) | (a == below + 1)).all()
        exact = (b.view(np.uint32) & 0xFFFF) == 0
        assert np.array_equal(a[exact], below[exact])


def test_rounding_is_right_on_average_and_a_function_of_seed_step_row_and_column():
    table = np.full((400, 250), bfloat16(np.float32(1.0)), np.uint16)
    ids, offsets = packed([[i] for i in range(400)])
    grad = np.full((400, 250), -1, np.float32)

    def stepped(seed, step, threads=1):
        result, state = table.copy(), np.zeros(400, np.float32)
        _core.bag_adagrad(result, state, ids, offsets, grad, 0.001, 0, step, threads, seed)
        return result

    first = stepped(1, 1)
    # 1.001 lies at 0.128 of the way to the next bfloat16: 100,000 draws are within four standard errors of that.
    share = (first != table).mean()
    assert abs(share - 0.128) < 4 * (0.128 * 0.872 / 100_000) ** 0.5
    assert (first != table).any(axis=0).all() and (first != table).any(axis=1).all()
    assert np.array_equal(first, stepped(1, 1, 3))
    for other in (stepped(2, 1), stepped(1, 2)):
        both = ((first != table) & (other != table)).mean()
        assert abs(both - 0.128**2) < 4 * (0.0164 * 0.984 / 100_000) ** 0.5
    rows = (first[:-1] != table[:-1]) & (first[1:] != table[1:])
    assert abs(rows.mean() - 0.128**2) < 5 * (0.0164 * 0.984 / 100_000) ** 0.5


def test_what_is_not_finite_stays_so():
    for value in (np.inf, -np.inf, np.nan):
        table = bfloat16(np.full((1, 40), value))
        _core.bag_adagrad(table, np.zeros(1, np.float32), *packed([[0]]), np.ones((1, 40), np.float32), 1, 0, 1, 1)
        np.testing.assert_array_equal(widened(table), np.full((1, 40), value, np.float32))


@pytest.mark.parametrize("width", [1, 7, 16, 19, 250, 1000])
def test_every_instruction_set_gives_the_same_bits(width):
    rng = np.random.default_rng(width)
    start = rng.standard_normal((50, width)).astype(np.float32)
    ids, offsets, grad = next(batches(rng, 50, width, 1, rng.integers(0, 60, 40)))
    results = []
    try:
        for name in _core.kernels():
            _core.use_kernels(name)
            for first in (start.copy(), bfloat16(start)):
                m, v, state, second = *zeros_like(start), np.zeros(50, np.float32), first.copy()
                _core.bag_adam(first, m, v, ids, offsets, grad, RATE, *BETAS, EPSILON, 1, 1, 5)
                _core.bag_adagrad(second, state, ids, offsets, grad, RATE, EPSILON, 1, 1, 5)
                results.append([first, m, v, second, state, mean(first, ids, offsets)])
    finally:
        _core.use_kernels(_core.kernels()[-1])
    for i, found in enumerate(results):
        assert all(a.tobytes() == b.tobytes() for a, b in zip(found, results[i % 2], strict=True))


def test_no_bags_change_nothing():
    table = np.ones((2, 3), np.float32)
    m, v = zeros_like(table)
    for bags in ([], [[], []]):
        ids, offsets = packed(bags)
        _core.bag_adam(table, m, v, ids, offsets, np.ones((len(bags), 3), np.float32), RATE, *BETAS, EPSILON, 1, 2)
    assert (table == 1).all()
    assert not m.any()
    assert not v.any()


# What is refused, and that nothing was changed by then


def arguments(**changes):
    table = np.ones((3, 4), np.float32)
    ids, offsets = packed([[0, 1], [2]])
    fine = {
        "table": table,
        "moment1": np.zeros_like(table),
        "moment2": np.zeros_like(table),
        "ids": ids,
        "offsets": offsets,
        "grad": np.ones((2, 4), np.float32),
        "out": np.zeros((2, 4), np.float32),
    }
    return fine | changes


def call_adam(a, step=1):
    names = ("table", "moment1", "moment2", "ids", "offsets", "grad")
    _core.bag_adam(*(a[name] for name in names), RATE, *BETAS, EPSILON, step, 1)


def call_adagrad(a, step=1):
    state = np.zeros(len(a["table"]), np.float32)
    _core.bag_adagrad(a["table"], state, a["ids"], a["offsets"], a["grad"], RATE, EPSILON, step, 1)


def call_mean(a):
    _core.bag_mean(a["table"], a["ids"], a["offsets"], a["out"], 1)


u32, u64 = np.uint32, np.uint64


@pytest.mark.parametrize("call", [call_adam, call_adagrad, call_mean])
@pytest.mark.parametrize(
    ("changes", "error", "message"),
    [
        ({"ids": np.array([0, 1, 3], u32)}, IndexError, "past the end of the table"),
        ({"ids": np.array([0, 1, 0xFFFFFFFF], u32)}, IndexError, "past the end of the table"),
        ({"ids": np.array([0, 1], u32)}, ValueError, "offsets must begin at 0 and end"),
        ({"offsets": np.array([], u64)}, ValueError, "offsets must begin at 0 and end"),
        ({"offsets": np.array([1, 2, 3], u64)}, ValueError, "offsets must begin at 0 and end"),
        ({"offsets": np.array([0, 2, 4], u64)}, ValueError, "offsets must begin at 0 and end"),
        ({"offsets": np.array([0, 1 << 63, 3], u64)}, ValueError, "offsets must not fall"),
        ({"table": np.ones((0, 4), np.float32)}, IndexError, "past the end of the table"),
    ],
)
def test_bags_are_checked(call, changes, error, message):
    with pytest.raises(error, match=message):
        call(arguments(**changes))


@pytest.mark.parametrize("shape", [(1, 4), (3, 4), (2, 3), (2, 5), (0, 0)])
def test_shapes_are_checked(shape):
    wrong = np.zeros(shape, np.float32)
    with pytest.raises(ValueError, match="out must be"):
        call_mean(arguments(out=wrong))
    with pytest.raises(ValueError, match="grad must be"):
        call_adam(arguments(grad=wrong))
    with pytest.raises(ValueError, match="grad must be"):
        call_adagrad(arguments(grad=wrong))
    if shape != (3, 4):
        for name in ("moment1", "moment2"):
            with pytest.raises(ValueError, match="the moments must have"):
                call_adam(arguments(**{name: wrong}))
    with pytest.raises(TypeError):
        call_mean(arguments(out=np.zeros(8, np.float32)))


def test_steps_begin_at_one():
    with pytest.raises(ValueError, match="the first step is 1"):
        call_adam(arguments(), step=0)
    with pytest.raises(ValueError, match="the first step is 1"):
        call_adagrad(arguments(), step=0)


def test_what_is_written_in_place_is_never_a_copy():
    # A converted argument would take the result and lose it.
    for wrong in (
        np.zeros((2, 4)),
        np.zeros((2, 4), np.float16),
        np.zeros((2, 8), np.float32)[:, ::2],
        np.zeros((4, 2), np.float32).T,
        np.zeros((2, 4), np.int32),
    ):
        with pytest.raises(TypeError):
            call_mean(arguments(out=wrong))
    for name in ("table", "moment1", "moment2"):
        for wrong in (np.ones((3, 4)), np.ones((4, 3), np.float32).T, np.ones((6, 4), np.float32)[::2]):
            with pytest.raises(TypeError):
                call_adam(arguments(**{name: wrong}))
    for wrong in (np.ones((3, 4)), np.ones((3, 4), np.int32), np.ones((3, 4), np.float16)):
        with pytest.raises(TypeError, match="a table is float32, or uint16"):
            call_mean(arguments(table=wrong))
    frozen = np.ones((3, 4), np.float32)
    frozen.flags.writeable = False
    with pytest.raises(TypeError):
        call_adam(arguments(table=frozen))
    frozen = np.zeros((2, 4), np.float32)
    frozen.flags.writeable = False
    with pytest.raises(TypeError):
        call_mean(arguments(out=frozen))
