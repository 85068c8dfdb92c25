"""The same bits whatever the process has set for its arithmetic, and without the C library's exponential and power."""

from __future__ import annotations

import contextlib
import ctypes
import functools
import math
import platform

import numpy as np
import pytest
import reference as ref
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from sparsedistill import _core

VOCABULARY = [f"t{i}" for i in range(40)]
TEXTS = [" ".join(f"t{(i * k) % 40}" for k in range(i % 23)) for i in range(600)]
TINY = np.float32(1e-39)  # subnormal
BETAS, SMALL = (float(np.float32(0.9)), float(np.float32(0.98))), float(np.float32(1e-30))


@contextlib.contextmanager
def flushed():
    """Subnormal numbers are zero, in this thread and those that it starts."""
    if not torch.set_flush_denormal(True):
        pytest.skip("this processor cannot flush subnormal numbers")
    try:
        yield
        assert (torch.tensor([1e-39]) * 1).item() == 0  # as it was, after all calls
    finally:
        torch.set_flush_denormal(False)


@contextlib.contextmanager
def rounded_up():
    """Every operation rounds upwards: fesetround(FE_UPWARD)."""
    libm = ctypes.CDLL("libm.so.6")
    before = libm.fegetround()
    if libm.fesetround({"x86_64": 0x800, "aarch64": 0x400000}.get(platform.machine(), -1)):
        pytest.skip("the rounding cannot be set")
    try:
        yield
        assert libm.fegetround() != before
    finally:
        libm.fesetround(before)


SETTINGS = pytest.mark.parametrize("environment", [flushed, rounded_up])


def bits(arrays) -> list[bytes]:
    return [np.ascontiguousarray(array).tobytes() for array in arrays]


@functools.cache
def models() -> list[_core.Model]:
    """Their numbers are made before anything is set, for numpy obeys it."""
    rng = np.random.default_rng(1)
    slots, seed = _core.build_slots(*ref.packed(VOCABULARY), 0)
    lookup = _core.Lookup(slots, 40, 0, seed, "whitespace", False, 2)
    found = []
    for kind, small in ((np.float16, 1e-6), (np.float32, 1e-39)):
        for pooling, width in (
            ("mean", 16),
            ("sum", 16),
            ("sqrtn", 16),
            ("max", 16),
            ("mean+max", 32),
            ("attentive", 15),
        ):
            rows = (rng.standard_normal((40, 16)) * small).astype(kind)
            rows[:, -1] = np.abs(rows[:, -1])
            model = _core.Model(lookup, rows, None, np.zeros(width, np.float32), False, [], pooling)
            found.append(model)
    rows = rng.integers(-100, 100, (40, 16), np.int8)
    scale = np.full(16, 1e-41, np.float32)
    layer = (rng.standard_normal((16, 3)).astype(np.float32), np.zeros(3, np.float32))
    return [*found, _core.Model(lookup, rows, scale, np.zeros(16, np.float32), False, [layer])]


@SETTINGS
@pytest.mark.parametrize("threads", [1, 3])
def test_scores(environment, threads):
    expected = [model.score(TEXTS, 1) for model in models()]
    assert all(len(np.unique(logits)) > 40 for logits in expected)
    with environment():
        found = [model.score(TEXTS, threads) for model in models()]
    assert bits(found) == bits(expected)


@SETTINGS
def test_probabilities(environment):
    logits = np.random.default_rng(2).standard_normal((300, 5)).astype(np.float32) * 300
    logits[0] = TINY
    expected = bits(_core.probabilities(logits, independent) for independent in (False, True))
    with environment():
        found = bits(_core.probabilities(logits, independent) for independent in (False, True))
    assert found == expected


@functools.cache
def batch(kind: str, pooling: str) -> tuple[np.ndarray | None, ...]:
    """Table, query, ids, offsets and gradient."""
    rng = np.random.default_rng(3)
    columns = 74 if pooling == "mean+max" else 37
    table = (rng.standard_normal((50, 37)) * (1e-38 if pooling != "attentive" else 1)).astype(np.float32)
    query = rng.standard_normal(37).astype(np.float32) * 20 if pooling == "attentive" else None
    if kind == "bfloat16":
        table = (table.view(np.uint32) >> 16).astype(np.uint16)
    bags = [rng.integers(0, 50, size) for size in rng.integers(0, 30, 200)]
    ids, offsets = np.concatenate(bags).astype(np.uint32), np.cumsum([0, *map(len, bags)], dtype=np.uint64)
    grad = (rng.standard_normal((200, columns)) * np.float32(1e-20)).astype(np.float32)  # its square is subnormal
    return table, query, ids, offsets, grad


def steps(kind: str, pooling: str, threads: int) -> list[np.ndarray]:
    table, query, ids, offsets, grad = batch(kind, pooling)
    table = table.copy()
    out, pool, found = np.empty_like(grad), _core.Pool(pooling, query), []
    _core.bag_pool(table, ids, offsets, pool, out, threads)
    found.append(out)
    if query is not None:
        found.append(_core.bag_attend(table, ids, offsets, pool, out, grad, threads))
    moments = np.zeros((50, 37), np.float32), np.zeros((50, 37), np.float32)
    for step in (1, 2, 1000):
        _core.bag_adam(table, *moments, ids, offsets, grad, SMALL, *BETAS, SMALL, step, threads, 7, pool)
    state = np.zeros(50, np.float32)
    _core.bag_adagrad(table, state, ids, offsets, grad, SMALL, SMALL, 4, threads, 7, pool)
    return [*found, table, *moments, state]


@SETTINGS
@pytest.mark.parametrize("pooling", ["mean", "sum", "sqrtn", "max", "mean+max", "attentive"])
@pytest.mark.parametrize("kind", ["float32", "bfloat16"])
def test_training(environment, pooling, kind):
    expected = bits(steps(kind, pooling, 1))
    with environment():
        found = bits(steps(kind, pooling, 3))
    assert found == expected


@settings(max_examples=150)
@given(st.integers(0, 1 << 32), st.integers(1, 40), st.integers(1, 40), st.sampled_from((0.1, 1.0, 10.0, 100.0)))
def test_attentive_pooling_is_its_twin_to_the_bit(seed, size, width, spread):
    rng = np.random.default_rng(seed)
    table = (rng.standard_normal((20, width)) * spread).astype(np.float32)
    query = rng.standard_normal(width).astype(np.float32)
    bag = rng.integers(0, 20, size).astype(np.uint32)
    out = np.empty((1, width), np.float32)
    _core.bag_pool(table, bag, np.array([0, size], np.uint64), _core.Pool("attentive", query), out, 1)
    assert bits([out[0]]) == bits([ref.attend(table[bag], query)[0]])


def test_the_exponential_is_within_a_unit_in_the_last_place():
    xs = np.concatenate([-np.linspace(0, 104, 20001), -np.logspace(-40, 2, 3001)]).astype(np.float32)
    got = np.array([ref.exponential32(x) for x in xs], np.float64)
    exact = np.exp(xs.astype(np.float64))
    assert (np.abs(got - exact) <= np.maximum(np.spacing(exact.astype(np.float32)) * 0.51, 1e-45)).all()


@pytest.mark.parametrize("step", [1, 2, 3, 10, 999, 123_456, 1 << 40])
def test_adams_step_is_corrected_by_powers_of_the_moments_factors(step):
    table, moments = np.zeros((1, 1), np.float32), (np.zeros((1, 1), np.float32), np.zeros((1, 1), np.float32))
    beta1, beta2 = float(np.float32(0.9)), float(np.float32(0.98))
    _core.bag_adam(
        table, *moments, np.zeros(1, np.uint32), np.array([0, 1], np.uint64), np.ones((1, 1), np.float32),
        0.5, beta1, beta2, 1e-6, step, 1,
    )  # fmt: skip
    size = 0.5 * math.sqrt(1 - beta2**step) / (1 - beta1**step)
    assert table[0, 0] == pytest.approx(-size * (1 - beta1) / (math.sqrt(1 - beta2) + 1e-6), rel=1e-5)
