"""n-grams made to collide: under a seed that is known they do, under the seeds that are used they do not."""

from __future__ import annotations

import random
import string
from collections import Counter

import numpy as np
import pytest
import reference as ref
from hypothesis import given, settings
from hypothesis import strategies as st

from sparsedistill import _core
from sparsedistill.student.vocabulary import Vocabulary

RULES = {"tokenizer": "whitespace", "lowercase": False, "max_n": 1}
PRINTABLE = bytes(range(0x21, 0x7F))
SEEDS = 64  # that a table tries before it gives up
kernels = pytest.mark.parametrize("kernels", _core.kernels())


def prefix_of(seed: int) -> str:
    """24 characters after which eight more do not matter: the third eight make a factor of the product zero."""
    draw = random.Random(seed)
    first = ref.mum(seed ^ ref.K0, ref.K1)
    second = ref.mum(first ^ ref.K2, ref.K3)
    while True:
        block = bytes(draw.choices(PRINTABLE, k=16))
        state = ref.mum(ref.little(block[:8]) ^ first, ref.little(block[8:]) ^ second).to_bytes(8, "little")
        if all(byte in PRINTABLE for byte in state):
            return (block + state).decode()


def crafted(seed: int, n: int) -> list[str]:
    """Tokens that all have one hash under ``seed``."""
    prefix, letters = prefix_of(seed), string.ascii_lowercase
    return [prefix + "".join(letters[i // 26**k % 26] for k in range(8)) + "a" for i in range(n)]


def hashes(tokens: list[str], seed: int) -> np.ndarray:
    return np.array([_core.ngram_hash(token.encode(), seed) for token in tokens], np.uint64)


def count(texts, seed=None, **changed):
    """{n-gram: count} by the core's counter."""
    rules = RULES | changed
    counter = _core.Counter(**rules, memory=1 << 30, directory="/nowhere", **({} if seed is None else {"seed": seed}))
    counter.add(texts, 1, 2)
    counter.choose(1 << 40, 1, 2)
    counter.spell(texts, False, 2)
    ngrams, offsets, counts, _ = counter.top(1)
    return [
        (bytes(ngrams[a:b]).decode(), int(n))
        for a, b, n in zip(offsets[:-1], offsets[1:], counts.tolist(), strict=True)
    ]


def visited(keys: np.ndarray) -> int:
    """Places that linear probing visits to put keys into a table twice their number, as counting does."""
    size = 1 << int(2 * len(keys)).bit_length()
    taken, visits = set(), 0
    for key in keys.tolist():
        at = key & (size - 1)
        visits += 1
        while at in taken:
            at = (at + 1) & (size - 1)
            visits += 1
        taken.add(at)
    return visits


def test_crafted_tokens_collide_under_the_seed_they_were_made_for_and_no_other():
    for seed in (0, 1, 12345, ref.MASK):
        tokens = crafted(seed, 50)
        assert len(set(tokens)) == 50
        assert len(set(hashes(tokens, seed).tolist())) == 1
        assert len(set(hashes(tokens, seed ^ 1).tolist())) == 50


# Counting


def test_counting_draws_its_seed_at_random():
    seeds = {_core.Counter(**RULES, memory=1 << 20, directory="").seed for _ in range(8)}
    assert len(seeds) == 8
    assert max(seeds) > 1 << 32
    assert _core.Counter(**RULES, memory=1 << 20, directory="", seed=7).seed == 7


@settings(max_examples=60)
@given(st.lists(ref.texts(), max_size=5), st.integers(0, ref.MASK), st.integers(1, 4))
def test_counts_do_not_depend_on_the_seed(texts, seed, max_n):
    rules = {"tokenizer": "words", "lowercase": True, "max_n": max_n}
    assert count(texts, seed, **rules) == count(texts, **rules) == ref.count(texts, **rules)


def test_crafted_tokens_count_right_under_any_seed():
    tokens = crafted(5, 300)
    text = " ".join(tokens + tokens[:100] + [f"{a} {b}" for a, b in zip(tokens, tokens[1:], strict=False)])
    expected = ref.count([text], **RULES)
    assert count([text], 5) == count([text], 6) == count([text]) == expected
    assert dict(expected) == Counter(text.split(" "))


def test_crafted_tokens_cost_no_more_than_random_ones():
    draw = random.Random(0)
    n = 40_000
    plain = ["".join(draw.choices(string.ascii_lowercase, k=33)) for _ in range(n)]
    evil = [token for known in (0, 1) for token in crafted(known, n // 2)]  # the seeds that were once used
    some = evil[:1000]
    assert visited(hashes(some, 0)) > 100 * len(some)
    for seed in (_core.Counter(**RULES, memory=1 << 20, directory="").seed for _ in range(3)):
        for other in (seed, ref.MASK - seed):  # both families of hashes
            assert visited(hashes(evil, other)) < 1.1 * visited(hashes(plain, other)) < 2 * n


# Tables


def test_a_poisoned_corpus_is_counted():
    # Two tokens of one hash for each seed that a table would try from 0 on: 4 KB.
    poison = [token for seed in range(SEEDS) for token in crafted(seed, 2)]
    assert len(" ".join(poison)) < 4500
    with pytest.raises(ValueError, match="cannot be told apart"):
        _core.build_slots(*ref.packed(poison), 0)
    texts = [" ".join(poison), "a normal corpus", "with some words"]
    vocabulary = Vocabulary.count([texts], **RULES)
    rows = {vocabulary[i]: i for i in range(len(vocabulary))}
    assert set(rows) == set(" ".join(texts).split(" "))
    ids, offsets = vocabulary.bags(texts)
    assert [ids[a:b].tolist() for a, b in zip(offsets[:-1], offsets[1:], strict=True)] == [
        [rows[token] for token in text.split(" ")] for text in texts
    ]


def test_the_seed_of_a_table_follows_from_its_vocabulary():
    texts = ["not bad at all", "a film, and not a bad one"]
    first, again = Vocabulary.count([texts]), Vocabulary.count([texts[::-1]])
    assert first.seed == again.seed > SEEDS
    assert first.slots.tobytes() == again.slots.tobytes()
    seeds = {first.seed}
    for more in ("one", "film", "zebra"):  # other n-grams, or others in their order
        seeds.add(Vocabulary.count([[*texts, more]]).seed)
    assert len(seeds) == 4


def undoing_the_length(n: int) -> tuple[bytes, bytes]:
    """Tokens of n (9 to 15) and 16 bytes that collide under every seed if length * K3 goes into the last word."""
    last = bytes(range(1, n - 7))
    undone = (n * ref.K3 ^ 16 * ref.K3) & ref.MASK
    return b"12345678" + last, b"12345678" + (ref.little(last) ^ undone).to_bytes(8, "little")


def test_tokens_of_two_lengths_cannot_collide_under_every_seed():
    for n in range(9, 16):
        a, b = undoing_the_length(n)
        assert b" " not in b
        assert all(_core.ngram_hash(a, seed) != _core.ngram_hash(b, seed) for seed in range(64))


@pytest.mark.parametrize("columns", [0, 2])
@pytest.mark.parametrize("full", [1, 62, 63, 64, 100])
@kernels
def test_a_lookup_visits_64_lines_at_most(kernels, full, columns):
    # A table of 200 lines whose first ``full`` from the home of "a" on have no empty slot.
    n = ref.slots_of(columns)
    slots = np.zeros((200, 16), np.uint32)
    tag, home = ref.tag_and_home(ref.ngram_hash("a", 9), len(slots))
    for i in range(full):
        slots[(home + i) % len(slots), 16 - n :] = tag ^ 1
    lookup = _core.Lookup(slots, 1, columns, 9, **RULES)
    _core.use_kernels(kernels)
    try:
        if full < ref.MOST_VISITED:
            assert lookup.ngrams("a") == []
            # The last line that is visited may still hold it.
            slots[(home + full) % len(slots), 16 - n] = tag
            number = (home + full) % len(slots) * n
            assert lookup.ngrams("a") == [("a", number if columns else 0)]
            assert ref.lookup(slots, ref.ngram_hash("a", 9), columns) == lookup.ngrams("a")[0][1]
        else:
            with pytest.raises(_core.Damaged, match="no empty slot within 64 lines"):
                lookup.ngrams("a")
            with pytest.raises(_core.Damaged, match="no empty slot within 64 lines"):
                lookup.bags(["", "a"] * 300, 2)
            with pytest.raises(IndexError):
                ref.lookup(slots, ref.ngram_hash("a", 9), columns)
    finally:
        _core.use_kernels(_core.kernels()[-1])


def crowd(seed: int, n: int, lines: int) -> list[str]:
    """``n`` tokens whose home under ``seed`` is the first of ``lines`` lines."""
    found, i = [], 0
    while len(found) < n:
        token = f"t{i}"
        if (_core.ngram_hash(token.encode(), seed) & 0xFFFFFFFF) * lines >> 32 == 0:
            found.append(token)
        i += 1
    return found


def test_a_table_with_ngrams_too_far_from_home_takes_another_seed():
    # 520 tokens want one line of eight slots, which with the 63 after it holds 512.
    most = ref.MOST_VISITED * ref.slots_of(0)
    lines = -(-2 * (most + 8) // ref.slots_of(0))
    tokens = crowd(3, most + 8, lines)
    slots, used = _core.build_slots(*ref.packed(tokens), 3)
    assert used == 4
    expected, same = ref.build_slots(tokens, 3)
    assert (slots.tolist(), used) == (expected.tolist(), same)
    # One fewer than fit stay where they are.
    assert _core.build_slots(*ref.packed(tokens[:most]), 3)[1] == 3
    lookup = _core.Lookup(slots, len(tokens), 0, used, **RULES)
    assert lookup.bags(tokens, 1)[0].tolist() == list(range(len(tokens)))


# Fingerprints


def test_crafted_texts_have_fingerprints_of_their_own():
    # Letters and digits alone, since a fingerprint is of those: the old hash under seed 0 took these for one text.
    prefix = "jawakaqaleq1i10xawxe9aoy"
    texts = [prefix + end for end in ("goodgooda", "badbadbaa", "xxxxxxxxa")]
    assert len(set(_core.fingerprints(texts, 1).tolist())) == 3
    for seed in (0, ref.K0, ref.K1):
        made = crafted(seed, 20)
        assert len(set(_core.fingerprints(made, 1).tolist())) == 20
