"""Scoring against its twin, to the bit: row types, widths, layers, threads, batches, long bags, forks."""

from __future__ import annotations

import itertools
import os
import random
import sys
import threading
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import reference as ref
from conftest import padded
from hypothesis import given, settings
from hypothesis import strategies as st

from sparsedistill import _core

ROW_TYPES = ("int4", "int8", "int16", "float16", "float32")
VOCABULARY = [f"t{i}" for i in range(60)]
SLOTS, SEED = ref.build_slots(VOCABULARY)


def lowest_and_highest(row_type: str) -> tuple[int, int]:
    return (-8, 7) if row_type == "int4" else (np.iinfo(row_type).min, np.iinfo(row_type).max)


def made(rows: np.ndarray, row_type: str) -> np.ndarray:
    """Numbers as rows of a classifier, int4 from int8."""
    return ref.int4_rows(rows) if row_type == "int4" else padded(rows)


def text_of(rows) -> str:
    """The text whose bag is ``rows``, with a word that has none between them."""
    return " unknown ".join(f"t{row}" for row in rows)


def lookup_of(v: int) -> _core.Lookup:
    slots, seed = _core.build_slots(*ref.packed(VOCABULARY[:v]), 0)
    return _core.Lookup(slots, v, 0, seed, "whitespace", False, 2)


def numbers(rng: np.random.Generator, shape, spread: float) -> np.ndarray:
    """float32 of many magnitudes, so that the order and the rounding of every step show."""
    return (rng.standard_normal(shape) * np.exp(rng.normal(0, spread, shape))).astype(np.float32)


class Net:
    """A random model with its twin: ``core`` takes texts, ``twin`` the rows of one bag."""

    def __init__(self, seed, row_type, v, width, depth=0, relu_first=False, spread=2.0, lookup=None, pooling="mean"):
        self.pooling = pooling
        rng = np.random.default_rng(seed)
        if row_type == "float32":
            self.rows, self.scale = numbers(rng, (v, width), spread), None
        elif row_type == "float16":
            # With what is below the least normal number, to the last bit.
            self.rows = np.clip(numbers(rng, (v, width), 4.0), -60000, 60000).astype(np.float16)
            self.scale = None
        else:
            held = "int8" if row_type == "int4" else row_type
            self.rows = rng.integers(*lowest_and_highest(row_type), (v, width), held, endpoint=True)
            self.scale = numbers(rng, width, spread)
        if pooling == "attentive":  # the weights
            self.rows[:, -1] = np.clip(np.abs(self.rows[:, -1]), 1e-3, 1e3)
        if pooling in ("max", "mean+max") and self.scale is not None:
            self.scale = np.abs(self.scale)
        width = {"mean+max": 2 * width, "attentive": width - 1}.get(pooling, width)
        self.bias = numbers(rng, width, spread)
        self.relu_first = relu_first
        widths = [width, *rng.integers(1, 70, depth).tolist()]
        self.layers = [
            (numbers(rng, (n_in, n_out), spread), numbers(rng, n_out, spread))
            for n_in, n_out in zip(widths[:-1], widths[1:], strict=True)
        ]
        lookup = lookup or lookup_of(v)
        self.core = _core.Model(
            lookup, made(self.rows, row_type), self.scale, self.bias, relu_first, self.layers, pooling
        )

    def twin(self, rows) -> np.ndarray:
        pooled = ref.pool(rows, self.rows, self.scale, self.pooling)
        return ref.score(pooled, self.bias, [(weight.T, bias) for weight, bias in self.layers], self.relu_first)

    def check(self, bags, threads=1) -> None:
        got = self.core.score([text_of(bag) for bag in bags], threads)
        assert got.dtype == np.float32
        assert same_bits(got, [self.twin(bag) for bag in bags])


def same_bits(got: np.ndarray, expected) -> bool:
    expected = np.array(expected, np.float32).reshape(got.shape)
    return np.array_equal(got.view(np.uint32), expected.view(np.uint32))


def random_bags(rng: np.random.Generator, n: int, v: int, longest: int) -> list[list[int]]:
    return [rng.integers(0, v, rng.integers(0, longest + 1)).tolist() for _ in range(n)]


# Bits


@settings(max_examples=500)
@given(
    seed=st.integers(0, 1 << 32),
    row_type=st.sampled_from(ROW_TYPES),
    v=st.integers(1, 60),
    width=st.integers(1, 200),
    depth=st.integers(0, 3),
    relu_first=st.booleans(),
    bags=st.lists(st.lists(st.integers(0, 59), max_size=30), min_size=1, max_size=4),
)
def test_score(seed, row_type, v, width, depth, relu_first, bags):
    bags = [[row % v for row in bag] for bag in bags]
    Net(seed, row_type, v, width, depth, relu_first).check(bags)


@settings(max_examples=400)
@given(
    seed=st.integers(0, 1 << 32),
    kind=st.sampled_from(
        [
            *itertools.product(("sum", "sqrtn", "max", "mean+max"), ROW_TYPES),
            *itertools.product(("attentive",), ("float16", "float32")),
        ]
    ),
    v=st.integers(1, 60),
    width=st.integers(2, 150),
    depth=st.integers(0, 2),
    relu_first=st.booleans(),
    bags=st.lists(st.lists(st.integers(0, 59), max_size=30), min_size=1, max_size=4),
)
def test_every_pooling(seed, kind, v, width, depth, relu_first, bags):
    pooling, row_type = kind
    bags = [[row % v for row in bag] for bag in bags]
    Net(seed, row_type, v, width, depth, relu_first, pooling=pooling).check(bags)


@pytest.mark.parametrize("pooling", ["sum", "sqrtn", "max", "mean+max"])
@pytest.mark.parametrize("row_type", ["int4", "int8", "int16"])
def test_every_pooling_of_bags_whose_sums_need_more_bits(pooling, row_type):
    rng = np.random.default_rng(5)
    net = Net(1, row_type, 7, 9, 1, pooling=pooling)
    net.check([rng.integers(0, 7, 40_000).tolist(), [], rng.integers(0, 7, 5).tolist()], threads=2)


def test_attentive_pooling_needs_float_rows():
    with pytest.raises(ValueError, match="attentive pooling needs float rows"):
        Net(1, "int8", 3, 5, pooling="attentive")


@pytest.mark.parametrize("row_type", ROW_TYPES)
def test_every_width(row_type):
    # Tiles of columns and what is left of them: each width up to three tiles and beyond.
    rng = np.random.default_rng(0)
    for width in range(1, 201):
        Net(width, row_type, 20, width).check(random_bags(rng, 2, 20, 6))


@pytest.mark.parametrize("depth", [1, 2, 3])
def test_every_inner_width(depth):
    rng = np.random.default_rng(1)
    for seed in range(60):
        Net(seed, "int8", 10, 1 + seed % 9, depth, seed % 2 == 0).check(random_bags(rng, 3, 10, 5))


@pytest.mark.parametrize("row_type", ROW_TYPES)
def test_long_bags(row_type):
    # Longer than any distance of prefetching, and than one group of texts.
    rng = np.random.default_rng(2)
    Net(3, row_type, 60, 67).check([rng.integers(0, 60, n).tolist() for n in (0, 11, 12, 13, 25, 300, 0, 1000)])


def test_ngrams_of_several_tokens_are_pooled_in_bag_order():
    texts = ["not bad at all", "at all bad not", "bad", "", "not not bad bad at all at all"]
    vocabulary = [ngram for ngram, _ in ref.count(texts, tokenizer="words", max_n=3)]
    slots, seed = ref.build_slots(vocabulary)
    lookup = _core.Lookup(slots, len(vocabulary), 0, seed, "words", True, 3)
    for row_type in ROW_TYPES:
        net = Net(4, row_type, len(vocabulary), 33, 1, True, lookup=lookup)
        bags = [ref.bag(text, slots, seed, max_n=3) for text in texts]
        assert same_bits(net.core.score(texts, 1), [net.twin(bag) for bag in bags])


PIECES = ("ab", "abc", "cab", "bca", "é", "漢", "x" * 70, "abcabc", "t1", "unknown")
spelled = st.lists(
    st.one_of(st.lists(st.sampled_from(PIECES), min_size=1, max_size=3).map("".join), st.just("ab")), max_size=40
).map(" ".join)
characters = st.fixed_dictionaries(
    {
        "characters": st.sampled_from(("unknown", "all")),
        "characters_min": st.integers(1, 4),
        "characters_max": st.integers(4, 7),
    }
)


def of_both(texts, rules, random):
    """Any part of the n-grams of words and of all character n-grams."""
    words = [ngram for ngram, _ in ref.count(texts, tokenizer="whitespace", max_n=2)]
    runs = [ngram for ngram, _ in ref.count(texts, tokenizer="whitespace", of_characters=True, **rules)]
    return random.sample(words, random.randint(0, len(words))) + runs


@settings(max_examples=200)
@given(
    st.lists(spelled, min_size=1, max_size=40),
    characters,
    st.sampled_from(ROW_TYPES),
    st.sampled_from(("mean", "sum", "max", "mean+max")),
    st.randoms(use_true_random=False),
)
def test_characters_are_pooled_in_bag_order(texts, rules, row_type, pooling, random):
    vocabulary = of_both(texts, rules, random) or ["a"]
    slots, seed = ref.build_slots(vocabulary)
    rules = {"tokenizer": "whitespace", "max_n": 2, **rules}
    net = Net(23, row_type, len(vocabulary), 18, lookup=_core.Lookup(
        slots, len(vocabulary), 0, seed, lowercase=True, **rules
    ), pooling=pooling)  # fmt: skip
    bags = [ref.bag(text, slots, seed, **rules) for text in texts]
    assert same_bits(net.core.score(texts, 1), [net.twin(bag) for bag in bags])


@settings(max_examples=100)
@given(st.lists(spelled, min_size=1, max_size=20), characters, st.integers(1, 4), st.randoms(use_true_random=False))
def test_characters_of_a_table_that_holds_values(texts, rules, columns, random):
    vocabulary = of_both(texts, rules, random)
    values = np.random.default_rng(len(vocabulary)).integers(-32768, 32767, (len(vocabulary), columns), np.int16)
    slots, seed = ref.build_slots(vocabulary, 0, values)
    scale, bias = np.linspace(0.5, 2, columns, dtype=np.float32), np.zeros(columns, np.float32)
    rules = {"tokenizer": "whitespace", "max_n": 2, **rules}
    lookup = _core.Lookup(slots, 0, columns, seed, lowercase=True, **rules)
    got = _core.Model(lookup, None, scale, bias, False, []).score(texts, 1)
    bags = [ref.bag_of_strings(text, vocabulary, **rules) for text in texts]
    assert same_bits(got, [ref.score(ref.pool(bag, values, scale), bias) for bag in bags])


@pytest.mark.parametrize("characters", ["unknown", "all"])
@pytest.mark.parametrize("size", [1500, 2500, 5000, 8192, 8193, 60_000])
@pytest.mark.parametrize("row_type", ["int4", "int8", "int16", "slots"])
def test_many_characters_do_not_overflow(row_type, size, characters):
    # Sixteen runs a byte and more.
    word = "a" * 30
    found = ref.character_ngrams(word, 1, 16)
    runs = list(dict.fromkeys(found))
    text = " ".join([word] * (size // 31))
    count = (size // 31) * len(found)
    low, _ = lowest_and_highest("int16" if row_type == "slots" else row_type)
    values = np.full((len(runs), 2), low, {"slots": "int16", "int4": "int8"}.get(row_type, row_type))
    rules = {"characters": characters, "characters_min": 1, "characters_max": 16}
    one, zero = np.ones(2, np.float32), np.zeros(2, np.float32)
    in_slots = row_type == "slots"
    slots, seed = ref.build_slots(runs, 0, values if in_slots else None)
    lookup = _core.Lookup(slots, 0 if in_slots else len(runs), 2 * in_slots, seed, "whitespace", True, 1, **rules)
    model = _core.Model(lookup, None if in_slots else made(values, row_type), one, zero, False, [])
    assert same_bits(model.score([text, "a", text], 1)[::2], [[exact(low * count, np.float32(1), count)] * 2] * 2)


@pytest.mark.parametrize("row_type", ROW_TYPES)
@pytest.mark.parametrize("depth", [0, 2])
def test_an_empty_bag_gives_the_biases(row_type, depth):
    net = Net(5, row_type, 3, 9, depth, True)
    net.check([[], [1], []])
    if not depth:
        assert same_bits(net.core.score(["", "nothing known"], 1), [net.bias, net.bias])


def test_relu():
    lookup = lookup_of(2)
    rows = padded(np.array([[1, -1], [-3, 2]], np.float32))
    eye, zero = np.eye(2, dtype=np.float32), np.zeros(2, np.float32)
    texts = ["t0", "t1"]
    for relu_first, layers, expected in (
        (False, [], [[1, -1], [-3, 2]]),
        (True, [], [[1, -1], [-3, 2]]),  # a ReLU stands before a layer, never at the end
        (False, [(eye, zero)], [[1, -1], [-3, 2]]),
        (True, [(eye, zero)], [[1, 0], [0, 2]]),
        (False, [(eye, zero), (-eye, zero)], [[-1, 0], [0, -2]]),
    ):
        assert _core.Model(lookup, rows, None, zero, relu_first, layers).score(texts, 1).tolist() == expected


def exact(total: int, scale: np.float32, k: int) -> np.float32:
    return np.float32(total) * (scale / np.float32(k))


@pytest.mark.parametrize("k", [32767, 32768, 32769, 65536, 65537, 131073, 200001])
@pytest.mark.parametrize("row_type", ["int4", "int8", "int16"])
def test_the_longest_bags_do_not_overflow(row_type, k):
    low, high = lowest_and_highest(row_type)
    width = 70  # a tile and a rest
    rows = np.array([[low] * width, [high] * width, [1] * width], "int8" if row_type == "int4" else row_type)
    scale = np.linspace(0.1, 3, width, dtype=np.float32)
    model = _core.Model(lookup_of(3), made(rows, row_type), scale, np.zeros(width, np.float32), False, [])
    texts = [" ".join(["t0"] * k), " ".join(["t1"] * k), " ".join(["t2"] + ["t0"] * k), "t1"]
    totals = [(low * k, k), (high * k, k), (low * k + 1, k + 1), (high, 1)]
    expected = [[exact(total, s, n) for s in scale] for total, n in totals]
    for threads in (1, 2):
        assert same_bits(model.score(texts, threads), expected)


# Values in the slots


@settings(max_examples=200)
@given(
    seed=st.integers(0, 1 << 32), columns=st.integers(1, 4), bags=st.lists(st.lists(st.integers(0, 59), max_size=40))
)
def test_values_in_the_slots_score_as_rows_do(seed, columns, bags):
    rng = np.random.default_rng(seed)
    values = rng.integers(-32768, 32767, (60, columns), np.int16, endpoint=True)
    scale, bias = numbers(rng, columns, 2.0), numbers(rng, columns, 2.0)
    slots, used = _core.build_slots(*ref.packed(VOCABULARY), 0, values)
    model = _core.Model(_core.Lookup(slots, 0, columns, used, "whitespace", False, 2), None, scale, bias, False, [])
    got = model.score([text_of(bag) for bag in bags], 1)
    assert same_bits(got, [ref.score(ref.pool(bag, values, scale), bias) for bag in bags])


@pytest.mark.parametrize("k", [32767, 32769, 70000, 200001])
@pytest.mark.parametrize("columns", [1, 4])
def test_the_longest_bags_of_values_do_not_overflow(k, columns):
    values = np.array([[-32768] * columns, [32767] * columns, [1] * columns], np.int16)
    slots, used = _core.build_slots(*ref.packed(VOCABULARY[:3]), 0, values)
    one, zero = np.ones(columns, np.float32), np.zeros(columns, np.float32)
    model = _core.Model(_core.Lookup(slots, 0, columns, used, "whitespace", False, 2), None, one, zero, False, [])
    got = model.score([" ".join(["t0"] * k), "t1", "t2 " + " ".join(["t1"] * k)], 1)
    totals = [(-32768 * k, k), (32767, 1), (32767 * k + 1, k + 1)]
    assert same_bits(got, [[exact(total, np.float32(1), n)] * columns for total, n in totals])


# Instruction sets


@pytest.mark.parametrize("name", _core.kernels())
def test_every_instruction_set_gives_the_same_bits(name, batch):
    # The last is the one in use everywhere else; what the others say is held against the twins as well.
    nets = [Net(20, row_type, 60, width, 2, True) for row_type in ROW_TYPES for width in (1, 16, 67, 130, 300)]
    pooled = [
        *itertools.product(("sum", "sqrtn", "max", "mean+max"), ROW_TYPES),
        ("attentive", "float16"),
        ("attentive", "float32"),
    ]
    nets += [Net(21, row_type, 60, width, 1, pooling=pooling) for pooling, row_type in pooled for width in (5, 40, 201)]
    rng = np.random.default_rng(21)
    bags = [*random_bags(rng, 6, 60, 30), rng.integers(0, 60, 700).tolist()]
    values = rng.integers(-32768, 32767, (60, 3), np.int16)
    slots, used = _core.build_slots(*ref.packed(VOCABULARY), 0, values)
    lookup = _core.Lookup(slots, 0, 3, used, "whitespace", False, 2)
    nets.append(Net(22, "int16", 60, 3))
    nets[-1].core = _core.Model(lookup, None, nets[-1].scale, nets[-1].bias, False, [])
    whole = [net.core.score(batch, 2) for net in nets]
    texts = ["Don't SHOUT, it's l\xe9gal\n_x_ \x1c" * 9, "x" * 200, "a b\x7fc" + " " * 70 + "'tis 'n' O'Neill's''"]
    ways = list(itertools.product(("words", "sklearn", "whitespace"), (False, True)))
    cut = [_core.tokenize(texts, *way) for way in ways]
    try:
        _core.use_kernels(name)
        for net, expected in zip(nets, whole, strict=True):
            assert same_bits(net.core.score(batch, 1), expected)
        for net in nets[:-1]:
            net.check(bags)
        assert [_core.tokenize(texts, *way) for way in ways] == cut
    finally:
        _core.use_kernels(_core.kernels()[-1])


def test_an_unknown_instruction_set_is_refused():
    with pytest.raises(ValueError, match="no kernels 'vax'"):
        _core.use_kernels("vax")


# Probabilities


@settings(max_examples=300)
@given(st.lists(st.lists(st.floats(-900, 900, width=32), min_size=3, max_size=3), max_size=4), st.booleans())
def test_probabilities(logits, independent):
    given_logits = np.array(logits, np.float32).reshape(-1, 3)
    got = _core.probabilities(given_logits, independent)
    assert got.dtype == np.float64
    assert got.tolist() == [ref.probabilities(row, independent) for row in given_logits.tolist()]
    x = given_logits.astype(np.float64)
    with np.errstate(over="ignore", under="ignore"):
        powers = np.exp(x - x.max(axis=1, keepdims=True))
        plain = 1 / (1 + np.exp(-x)) if independent else powers / powers.sum(axis=1, keepdims=True)
    np.testing.assert_allclose(got, plain, rtol=2e-15, atol=1e-300)


# Threads, batches, order


@pytest.fixture(scope="module")
def batch():
    rng = np.random.default_rng(6)
    bags = random_bags(rng, 2000, 60, 40)
    bags[5] = rng.integers(0, 60, 3000).tolist()
    bags[1000] = bags[1999] = []
    return [text_of(bag) for bag in bags]


@pytest.mark.parametrize("row_type", ROW_TYPES)
def test_short_texts(row_type):
    # Many to a group of texts that are looked up together.
    net = Net(14, row_type, 60, 65)
    bags = random_bags(np.random.default_rng(15), 1000, 60, 3)
    for threads in (1, 2):
        net.check(bags, threads)


@pytest.mark.parametrize("row_type", ROW_TYPES)
def test_threads_batches_and_order_change_no_bit(row_type, batch):
    model = Net(7, row_type, 60, 100, 2, True).core
    whole = model.score(batch, 1)
    for threads in (2, 7, 100):
        assert same_bits(model.score(batch, threads), whole)
    rng = random.Random(8)
    for pieces in (1, 2, 9, 100):
        cuts = [0, *sorted(rng.randint(0, len(batch)) for _ in range(pieces)), len(batch)]
        parts = [model.score(batch[a:b], 1 + a % 3) for a, b in zip(cuts[:-1], cuts[1:], strict=True)]
        assert same_bits(np.concatenate(parts), whole)
    assert same_bits(np.concatenate([model.score([text], 1) for text in batch[:300]]), whole[:300])
    order = rng.sample(range(len(batch)), len(batch))
    assert same_bits(model.score([batch[i] for i in order], 2), whole[order])


def test_no_texts():
    for depth in (0, 2):
        net = Net(9, "int8", 5, 6, depth)
        for threads in (0, 1, 4):
            assert net.core.score([], threads).shape == (0, len(net.twin([])))


def test_calls_from_many_threads_agree(batch):
    model = Net(10, "int8", 60, 64, 1).core
    whole = model.score(batch, 1)
    with ThreadPoolExecutor(8) as pool:
        results = list(pool.map(lambda i: model.score(batch, 1 + i % 3), range(40)))
    assert all(same_bits(result, whole) for result in results)


def test_the_gil_is_released(batch):
    model = Net(11, "int8", 60, 200).core
    ran = []
    begin = threading.Event()
    other = threading.Thread(target=lambda: (begin.wait(), ran.append(True)))
    interval = sys.getswitchinterval()
    # Nobody is made to give way, so the other thread runs only where the GIL is given up.
    sys.setswitchinterval(1000)
    try:
        other.start()
        begin.set()
        for _ in range(500):
            model.score(batch, 1)
            if ran:
                break
        seen = bool(ran)
    finally:
        sys.setswitchinterval(interval)
    other.join()
    assert seen


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
def test_after_a_fork(batch):
    model = Net(12, "int16", 60, 50, 1).core
    whole = model.score(batch, 3)
    read, write = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            os.write(write, b"y" if same_bits(model.score(batch, 3), whole) else b"n")
        finally:
            os._exit(0)
    os.close(write)
    with os.fdopen(read, "rb") as pipe:
        answer = pipe.read()
    os.waitpid(child, 0)
    assert answer == b"y"
    assert same_bits(model.score(batch, 3), whole)


# What is refused


def test_a_damaged_table_raises():
    lookup = _core.Lookup(SLOTS, 60, 0, SEED, "whitespace", False, 2)
    full = _core.Lookup(np.where(SLOTS == 0, 7, SLOTS), 60, 0, SEED, "whitespace", False, 2)
    rows, bias = np.zeros((60, 4), np.float32), np.zeros(3, np.float32)
    assert _core.Model(lookup, rows, None, bias, False, []).score(["t1 unknown"], 1).shape == (1, 3)
    for threads in (1, 3):
        with pytest.raises(IndexError, match="no empty slot"):
            _core.Model(full, rows, None, bias, False, []).score(["t1", "unknown"] * 2000, threads)
    short = _core.Lookup(SLOTS, 7, 0, SEED, "whitespace", False, 2)
    model = _core.Model(short, rows[:7], None, bias, False, [])
    with pytest.raises(IndexError, match="names a row that does not exist"):
        model.score(["t6", "t7"], 1)
    assert model.score(["t6"], 1).shape == (1, 3)
    values = _core.Lookup(np.full((2, 16), 7, np.uint32), 0, 3, 0, "whitespace", False, 2)
    with pytest.raises(IndexError, match="no empty slot"):
        _core.Model(values, None, bias, bias, False, []).score(["t1"], 1)


def test_shapes_are_checked():
    lookup = lookup_of(4)
    rows, scale, bias = np.zeros((4, 16), np.int8), np.ones(5, np.float32), np.zeros(5, np.float32)
    _core.Model(lookup, rows, scale, bias, False, [])
    f32 = np.float32
    for wrong in (
        (rows[:3], scale, bias, []),
        (rows[:, :15], scale, bias, []),
        (None, scale, bias, []),
        (rows, scale[:4], bias, []),
        (rows, scale, bias[:4], []),
        (rows, np.ones(17, f32), np.zeros(17, f32), []),
        (rows.astype(np.uint8), np.ones(33, f32), np.zeros(33, f32), []),  # int4: 32 numbers a row
        (rows[:, :8].astype(np.uint8), scale, bias, []),
        (rows, None, bias, []),
        (rows.astype(f32), scale, bias, []),
        (rows, scale[:0], bias[:0], []),
        (rows, scale, bias, [(np.zeros((4, 2), f32), np.zeros(2, f32))]),
        (rows, scale, bias, [(np.zeros((5, 2), f32), np.zeros(3, f32))]),
        (rows, scale, bias, [(np.zeros((5, 0), f32), np.zeros(0, f32))]),
        (rows, scale, bias, [(np.zeros((5, 2), f32), np.zeros(2, f32)), (np.zeros((5, 2), f32), np.zeros(2, f32))]),
    ):
        with pytest.raises(ValueError, match=r"width|shape|scale|number of rows|16 bytes|slots hold"):
            _core.Model(lookup, *wrong[:3], False, wrong[3])
    for dtype in (np.int32, np.float64, np.bool_, np.uint16):
        with pytest.raises(TypeError):
            _core.Model(lookup, rows.astype(dtype), scale, bias, False, [])
    values = _core.Lookup(np.zeros((2, 16), np.uint32), 0, 2, 0, "whitespace", False, 2)
    for rows, width in ((None, 3), (np.zeros((4, 8), np.int16), 2)):
        with pytest.raises(ValueError, match=r"width|slots hold"):
            _core.Model(values, rows, np.ones(width, f32), np.zeros(width, f32), False, [])


def test_a_model_keeps_its_arrays_alive():
    rng = np.random.default_rng(13)
    rows = rng.integers(-9, 9, (4, 5), np.int8)
    expected = rows[2].astype(np.float32)
    model = _core.Model(lookup_of(4), padded(rows), np.ones(5, np.float32), np.zeros(5, np.float32), False, [])
    junk = [np.full((4, 5), 7, np.int8) for _ in range(100)]
    assert same_bits(model.score(["t2"], 1), [expected])
    assert len(junk) == 100


# Blocks of long texts


def blocked(row_type: str, pooling: str, block: int):
    """A model of words and pairs of them, and what its twin makes of a text."""
    words = [f"w{i}" for i in range(9)]
    vocabulary = words + [f"{a} {b}" for a in words for b in words][::2]
    slots, seed = _core.build_slots(*ref.packed(vocabulary), 0)
    lookup = _core.Lookup(slots, len(vocabulary), 0, seed, "whitespace", False, 2, block=block)
    net = Net(3, row_type, len(vocabulary), 20, 1, True, lookup=lookup, pooling=pooling)

    def expected(text: str) -> np.ndarray:
        return net.twin(ref.bag_of_strings(text, vocabulary, tokenizer="whitespace", max_n=2, block=block))

    return net.core, expected


KINDS_OF_BLOCKS = [*itertools.product(ROW_TYPES, ("mean", "sum", "sqrtn", "max", "mean+max")), ("float32", "attentive")]


@settings(max_examples=200)
@given(
    st.sampled_from(KINDS_OF_BLOCKS),
    st.integers(1, 7),
    st.lists(st.lists(st.integers(0, 11), max_size=30), min_size=1, max_size=5),
)
def test_score_of_texts_of_many_small_blocks(kind, block, batch):
    model, expected = blocked(*kind, block)
    texts = [" ".join(f"w{i}" for i in tokens) for tokens in batch]
    assert same_bits(model.score(texts, 1), [expected(text) for text in texts])


@pytest.mark.parametrize("kind", KINDS_OF_BLOCKS, ids="-".join)
@pytest.mark.parametrize("tokens", [8192, 8193, 20000])
def test_score_across_the_border_of_a_block(kind, tokens):
    model, expected = blocked(*kind, 8192)
    text = " ".join(f"w{i}" for i in np.random.default_rng(tokens).integers(0, 12, tokens))
    short = "w1 w2 w3"
    got = model.score([short, text, short, text], 2)
    assert same_bits(got, [expected(short), expected(text)] * 2)


def test_values_in_slots_across_the_border_of_a_block():
    rng = np.random.default_rng(5)
    words = [f"w{i}" for i in range(9)]
    vocabulary = words + [f"{a} {b}" for a in words for b in words][::2]
    values = rng.integers(-32768, 32767, (len(vocabulary), 3), np.int16)
    slots, seed = _core.build_slots(*ref.packed(vocabulary), 0, values)
    scale, bias = np.ones(3, np.float32), np.zeros(3, np.float32)
    for block, tokens in ((3, 20), (8192, 8192), (8192, 50_000)):
        lookup = _core.Lookup(slots, 0, 3, seed, "whitespace", False, 2, block=block)
        text = " ".join(f"w{i}" for i in rng.integers(0, 12, tokens))
        bag = ref.bag_of_strings(text, vocabulary, tokenizer="whitespace", max_n=2)
        expected = ref.pool(bag, values, scale)
        assert same_bits(_core.Model(lookup, None, scale, bias, False, []).score([text], 1)[0], expected)
