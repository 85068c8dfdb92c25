"""Counting, the lookup table and bags against their twins and CountVectorizer; damaged tables."""

from __future__ import annotations

import functools
import itertools
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import reference as ref
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.feature_extraction.text import CountVectorizer

from sparsedistill import _core
from sparsedistill.student.vocabulary import Vocabulary

TOKENIZERS = ("sklearn", "words", "whitespace")

tokenizers = st.sampled_from(TOKENIZERS)
seeds = st.one_of(st.sampled_from((0, 1, ref.MASK)), st.integers(0, ref.MASK))
# Few words, so that n-grams repeat; and whatever else texts may be.
plain = st.lists(st.sampled_from(("the", "not", "Bad", "at", "all", "a", "漢", "don't", "😀", "!")), max_size=14).map(
    " ".join
)
texts = st.one_of(plain, plain, ref.texts())
rules = st.fixed_dictionaries({"tokenizer": tokenizers, "lowercase": st.booleans(), "max_n": st.integers(1, 5)})
lengths = st.one_of(
    st.just({}),
    st.tuples(st.integers(1, 16), st.integers(1, 16)).map(
        lambda two: dict(zip(("characters_min", "characters_max"), sorted(two)))
    ),
)
# Words that share characters, of every length about the 64 code points that a marked word has.
long_words = st.builds(
    lambda word, times: (word * times)[: 60 + times % 10],
    st.sampled_from(("ab", "é", "漢a", "e\u0301", "x")),
    st.integers(60, 70),
)
spelled = st.lists(
    st.one_of(long_words, st.text("abé漢😀\u0301'", max_size=9), st.sampled_from(("the", "then", "Other"))), max_size=8
).map(" ".join)
character_rules = st.builds(
    lambda rules, lengths, of: {**rules, **lengths, "characters": of},
    rules,
    lengths,
    st.sampled_from(("unknown", "all")),
)


def counted(
    batches,
    size=1 << 40,
    min_count=1,
    *,
    tokenizer,
    lowercase,
    max_n,
    memory=1 << 30,
    threads=1,
    directory="/nowhere",
    **more,
):
    counter = _core.Counter(tokenizer, lowercase, max_n, memory, str(directory), **more)
    for batch in batches:
        counter.add(batch, 1, threads)
    distinct = counter.choose(size, min_count, threads)
    for batch in batches:
        counter.spell(batch, True, threads)
    ngrams, offsets, counts, tallies = counter.top(2)
    assert (ngrams.dtype, offsets.dtype, counts.dtype) == (np.uint8, np.uint64, np.uint64)
    assert len(offsets) == len(counts) + 1
    assert tallies.tolist() == counts.tolist()
    strings = [bytes(ngrams[a:b]).decode() for a, b in zip(offsets[:-1], offsets[1:], strict=True)]
    return list(zip(strings, counts.tolist(), strict=True)), distinct


def zipf_texts(n: int, words: int, seed: int) -> list[str]:
    rng = np.random.default_rng(seed)
    return [" ".join(f"w{i}" for i in (rng.zipf(1.2, rng.integers(0, 60)) % words)) for _ in range(n)]


def make_lookup(vocabulary, seed=0, *, tokenizer="whitespace", lowercase=False, max_n=4, **more):
    slots, used = _core.build_slots(*ref.packed(vocabulary), seed)
    return _core.Lookup(slots, len(vocabulary), 0, used, tokenizer, lowercase, max_n, **more)


def split(ids: np.ndarray, offsets: np.ndarray) -> list[list[int]]:
    assert (ids.dtype, offsets.dtype) == (np.uint32, np.uint64)
    assert offsets[0] == 0
    assert offsets[-1] == len(ids)
    return [ids[a:b].tolist() for a, b in zip(offsets[:-1], offsets[1:], strict=True)]


# Counting


@settings(max_examples=300)
@given(st.lists(texts, max_size=8), rules, st.integers(0, 40), st.integers(0, 4))
def test_counts(batch, rules, size, min_count):
    everything = ref.count(batch, **rules)
    assert counted([batch[:2], [], batch[2:]], **rules) == (everything, len(everything))
    cut = ref.count(batch, **rules, size=size, min_count=min_count)
    assert counted([batch], size, min_count, **rules)[0] == cut


@settings(max_examples=300)
@given(st.lists(st.one_of(texts, spelled), max_size=6), character_rules, st.integers(0, 90), st.integers(0, 4))
def test_counts_of_characters(batch, rules, size, min_count):
    rules = {**rules, "of_characters": True}
    everything = ref.count(batch, **rules)
    assert counted([batch[:2], [], batch[2:]], **rules) == (everything, len(everything))
    cut = ref.count(batch, **rules, size=size, min_count=min_count)
    assert counted([batch], size, min_count, **rules)[0] == cut


@pytest.mark.parametrize("max_n", [1, 3])
def test_counts_past_every_growth_of_the_index(max_n):
    batch = zipf_texts(600, 20000, 1)
    expected = ref.count(batch, tokenizer="whitespace", max_n=max_n)
    assert len(expected) > 3000
    got, distinct = counted([batch], tokenizer="whitespace", lowercase=True, max_n=max_n)
    assert distinct == len(expected)
    assert got == expected
    for size in (0, 1, 10, 1000, len(expected) - 1, len(expected), len(expected) + 1):
        assert counted([batch], size, tokenizer="whitespace", lowercase=True, max_n=max_n)[0] == expected[:size]


@functools.cache
def much_text(of_characters):
    batch = zipf_texts(6000, 200_000, 4)
    return batch, ref.count(batch, tokenizer="whitespace", max_n=4, of_characters=of_characters)


@pytest.mark.parametrize("of_characters", [False, True])
@pytest.mark.parametrize("threads", [1, 3])
@pytest.mark.parametrize("memory", [0, 1 << 16, 1 << 20, 1 << 26])
def test_counts_through_the_disk(tmp_path, memory, threads, of_characters):
    batch, expected = much_text(of_characters)
    rules = {"tokenizer": "whitespace", "lowercase": True, "max_n": 4, "of_characters": of_characters}
    for size in (0, 5000, 1 << 40):
        got, distinct = counted(
            [batch[:4000], batch[4000:]], size, **rules, memory=memory, threads=threads, directory=tmp_path
        )
        assert got == expected[:size]
        assert distinct == len(expected)
    counter = _core.Counter(**rules, memory=memory, directory=str(tmp_path))
    counter.add(batch, 1, threads)
    assert (counter.spilled > 0) == (memory < 1 << 26)
    assert not list(tmp_path.iterdir())  # an unnamed file: nothing is left, whatever happens


def test_a_disk_that_cannot_be_written(tmp_path):
    counter = _core.Counter("words", True, 4, 0, str(tmp_path / "absent"))
    with pytest.raises(OSError, match=r"cannot make a temporary file in .*absent: No such file"):
        counter.add(zipf_texts(3000, 5000, 1), 1, 1)


@given(st.lists(texts, max_size=6), st.lists(texts, max_size=6), rules, st.integers(1, 5), st.integers(0, 60))
def test_weights_and_tallies(corpus, train, rules, weight, size):
    counter = _core.Counter(**rules, memory=1 << 20, directory="")
    counter.add(corpus, 1, 1)
    counter.add(train, weight, 1)
    counter.choose(size, 1, 1)
    counter.spell(train, True, 1)
    counter.spell(corpus, False, 1)
    ngrams, offsets, counts, tallies = counter.top(2)
    strings = [bytes(ngrams[a:b]).decode() for a, b in zip(offsets[:-1], offsets[1:], strict=True)]
    assert list(zip(strings, counts.tolist(), strict=True)) == ref.count([*corpus, *train * weight], **rules, size=size)
    alone = dict(ref.count(train, **rules))
    assert tallies.tolist() == [alone.get(ngram, 0) for ngram in strings]


def test_readings_come_in_order():
    counter = _core.Counter("words", True, 2, 1 << 20, "")
    counter.add(["a b"], 1, 1)
    with pytest.raises(RuntimeError, match="once they are chosen"):
        counter.spell(["a b"], False, 1)
    assert counter.choose(10, 1, 1) == 3
    with pytest.raises(RuntimeError, match="counting has ended"):
        counter.add(["a b"], 1, 1)
    counter.spell(["a"], False, 1)
    with pytest.raises(RuntimeError, match="did the texts change"):
        counter.top(2)


@pytest.mark.parametrize("size", [1, 7, 100, 1000, 5000])
def test_top_is_countvectorizers_but_for_ties(size):
    # CountVectorizer's ties at the boundary are those of an unstable sort: they may differ, their count may not.
    batch = zipf_texts(400, 3000, 2)
    vectorizer = CountVectorizer(ngram_range=(1, 3), max_features=size)
    totals = np.asarray(vectorizer.fit_transform(batch).sum(axis=0)).ravel()
    theirs = {ngram: int(totals[column]) for ngram, column in vectorizer.vocabulary_.items()}
    ours = dict(counted([batch], size, tokenizer="sklearn", lowercase=True, max_n=3)[0])
    assert len(ours) == len(theirs) == size
    boundary = min(ours.values())
    assert boundary == min(theirs.values())
    above = {ngram: n for ngram, n in ours.items() if n > boundary}
    assert above == {ngram: n for ngram, n in theirs.items() if n > boundary}


@given(st.lists(plain, max_size=6), st.integers(0, 60))
def test_top_is_prefix_closed(batch, size):
    seen = set()
    for ngram, _ in counted([batch], size, tokenizer="words", lowercase=True, max_n=4)[0]:
        prefix = ngram.rpartition(" ")[0]
        assert not prefix or prefix in seen
        seen.add(ngram)


def test_one_counter_for_many_threads():
    batch = zipf_texts(1000, 5000, 7)
    counter = _core.Counter("whitespace", True, 2, 1 << 22, "")
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda i: counter.add(batch[i : i + 20], 1, 2), range(0, len(batch), 20)))
        expected = ref.count(batch, tokenizer="whitespace", max_n=2)
        assert counter.choose(1 << 40, 1, 2) == len(expected)
        list(pool.map(lambda i: counter.spell(batch[i : i + 20], False, 2), range(0, len(batch), 20)))
    assert counter.top(2)[2].tolist() == [n for _, n in expected]


def test_counter_checks_its_rules():
    with pytest.raises(ValueError, match="tokenizer"):
        _core.Counter("", True, 1, 0, "")
    for max_n in (0, 9, 1 << 31):
        with pytest.raises(ValueError, match="max_n must be 1 to 8"):
            _core.Counter("words", True, max_n, 0, "")


# Slots


ngram_lists = st.lists(
    st.lists(st.text("abcé漢", min_size=1, max_size=20), min_size=1, max_size=4).map(" ".join), unique=True, max_size=40
)


@settings(max_examples=300)
@given(ngram_lists, seeds, st.integers(0, 4), st.integers(0, 99))
def test_slots(ngrams, seed, columns, random_seed):
    values = None
    if columns:
        values = np.random.default_rng(random_seed).integers(-32768, 32767, (len(ngrams), columns), np.int16)
    slots, used = _core.build_slots(*ref.packed(ngrams), seed, values)
    expected, expected_seed = ref.build_slots(ngrams, seed, values)
    assert slots.dtype == np.uint32
    assert (slots.tolist(), used) == (expected.tolist(), expected_seed)


def test_slots_of_many():
    ngrams = [ngram for ngram, _ in ref.count(zipf_texts(200, 4000, 3), tokenizer="whitespace", max_n=3)]
    for v in (1, 7, 8, 9, 4096, 4097, len(ngrams)):
        slots, used = _core.build_slots(*ref.packed(ngrams[:v]), 5)
        expected, expected_seed = ref.build_slots(ngrams[:v], 5)
        assert len(slots) == max(2, -(-v // 4))  # eight slots a line, half of them used
        assert (slots.tolist(), used) == (expected.tolist(), expected_seed)


# Found by search: these have the same tag and the same home of two lines under seed 0.
COLLIDING = (("t22451", "t39994"), ("t52088", "t149332"), ("t136401", "t170821"))


@pytest.mark.parametrize("pair", COLLIDING)
def test_a_collision_takes_the_next_seed(pair):
    a, b = (ref.ngram_hash(token, 0) for token in pair)
    assert (a >> 32, a >> 31 & 1) == (b >> 32, b >> 31 & 1)
    slots, used = _core.build_slots(*ref.packed(pair), 0)
    assert used == 1
    assert slots.tolist() == ref.build_slots(pair, 0)[0].tolist()
    assert split(*make_lookup(pair).bags([" ".join(pair)], 1)) == [[0, 1]]


def test_the_seed_wraps():
    pair = ("t45987", "t131587")  # these collide under the largest seed
    slots, used = _core.build_slots(*ref.packed(pair), ref.MASK)
    assert used == 0
    assert slots.tolist() == ref.build_slots(pair, ref.MASK)[0].tolist()


@pytest.mark.parametrize("ngrams", [["a", "a"], ["a", "b c", "d", "b c"], ["", ""]])
def test_an_ngram_given_twice_is_refused(ngrams):
    with pytest.raises(ValueError, match="is one there twice"):
        _core.build_slots(*ref.packed(ngrams), 0)


@pytest.mark.parametrize(
    ("ngrams", "offsets"),
    [(b"ab", []), (b"ab", [1, 2]), (b"ab", [0, 1]), (b"ab", [0, 3]), (b"ab", [0, 2, 1, 2]), (b"", [0, 9, 0])],
)
def test_offsets_are_checked(ngrams, offsets):
    with pytest.raises(ValueError, match="offsets must"):
        _core.build_slots(np.frombuffer(ngrams, np.uint8), np.array(offsets, np.uint64), 0)


# Bags


def check_bags(batch, vocabulary, rules, seed, block):
    """The bags of a batch, and the n-grams they name, are those of both twins."""
    slots, used = ref.build_slots(vocabulary, seed)
    expected = [ref.bag(text, slots, used, **rules, block=block) for text in batch]
    lookup = _core.Lookup(slots, len(vocabulary), 0, used, **rules, block=block)
    assert split(*lookup.bags(batch, 1)) == expected
    assert expected == [ref.bag_of_strings(text, vocabulary, **rules, block=block) for text in batch]
    for text, rows in zip(batch, expected, strict=True):
        assert lookup.ngrams(text) == [(vocabulary[row], row) for row in rows]


@settings(max_examples=400)
@given(
    st.lists(texts, min_size=1, max_size=6),
    rules,
    seeds,
    st.randoms(use_true_random=False),
    st.sampled_from((1, 2, 3, 5, 8192)),
)
def test_bags(batch, rules, seed, random, block):
    # Any part of the n-grams, so that chains end at a missing prefix though the longer n-gram has a row.
    ngrams = [ngram for ngram, _ in ref.count(batch, **rules)]
    vocabulary = random.sample(ngrams, random.randint(0, len(ngrams)))
    check_bags(batch, vocabulary, rules, seed, block)


def some_of(batch, rules, random):
    """Any part of the n-grams of a batch, those of words first."""
    chosen = []
    for of_characters in (False, True):
        ngrams = [ngram for ngram, _ in ref.count(batch, **rules, of_characters=of_characters)]
        chosen += random.sample(ngrams, random.randint(0, len(ngrams)))
    return chosen


@settings(max_examples=500)
@given(
    st.lists(st.one_of(texts, spelled, spelled), min_size=1, max_size=6),
    character_rules,
    seeds,
    st.randoms(use_true_random=False),
    st.sampled_from((1, 2, 3, 5, 8192)),
)
def test_bags_with_characters(batch, rules, seed, random, block):
    vocabulary = some_of(batch, rules, random)
    check_bags(batch, vocabulary, rules, seed, block)


def test_bags_with_characters_by_hand():
    vocabulary = ["a", "cat", "a cat", "  ca", "  cat", "  cat ", " cat", " at ", " cat ", " ats", " ts ", "  c"]
    unknown, everything = (make_lookup(vocabulary, characters=of) for of in ("unknown", "all"))
    names = [[ngram for ngram, _ in lookup.ngrams("a cat cats")] for lookup in (unknown, everything)]
    assert names[0] == ["a", "cat", "a cat", "  ca", " cat", " ats", " ts ", "  cat"]
    assert names[1] == [
        "a",
        "cat",
        "a cat",
        "  ca",
        " cat",
        " at ",
        "  ca",
        " cat",
        " ats",
        " ts ",
        "  cat",
        " cat ",
        "  cat",
    ]


@settings(max_examples=300)
@given(
    st.lists(st.one_of(texts, spelled), min_size=1, max_size=6),
    character_rules,
    st.randoms(use_true_random=False),
    st.sampled_from((1, 2, 5, 8192)),
    st.floats(0, 1),
    seeds,
    st.booleans(),
)
def test_what_is_forgotten_is_a_function_of_the_seed(batch, rules, random, block, share, seed, mistype):
    rules = {**rules, "characters": "unknown"}
    vocabulary = some_of(batch, rules, random)
    slots, used = ref.build_slots(vocabulary, 0)
    lookup = _core.Lookup(slots, len(vocabulary), 0, used, **rules, block=block)
    got = split(*lookup.bags(batch, 1, share, seed, mistype))
    for text, rows, number in zip(batch, got, range(len(batch)), strict=True):
        tokens = ref.tokenize(text, rules["tokenizer"], rules["lowercase"])
        draws = {i: draw for i in range(len(tokens)) if (draw := ref.forgets(number, i, share, seed))}
        forgotten = {i: ref.mistyped(tokens[i], draw) if mistype else tokens[i] for i, draw in draws.items()}
        assert rows == ref.bag_of_strings(text, vocabulary, **rules, block=block, forgotten=forgotten)
    for threads in (2, 5):
        assert split(*lookup.bags(batch, threads, share, seed, mistype)) == got


def test_the_right_share_is_forgotten():
    lookup = make_lookup(["a", "a a"], characters="unknown")
    text = " ".join(["a"] * 20_000)
    whole = split(*lookup.bags([text] * 5, 2))
    assert whole == split(*lookup.bags([text] * 5, 2, 0.0, 7))
    bags = [split(*lookup.bags([text] * 5, 2, 0.1, seed)) for seed in (0, 1)]
    for bag in itertools.chain(*bags):
        unigrams, bigrams = bag.count(0), bag.count(1)
        assert abs(unigrams / 20_000 - 0.9) < 4 * (0.09 / 20_000) ** 0.5
        assert abs(bigrams / 20_000 - 0.81) < 0.015
    assert len({tuple(bag) for bag in itertools.chain(*bags)}) == 10
    assert split(*lookup.bags([text], 1, 1.0, 3)) == [[]]


def test_forgetting_is_for_characters_of_unknown_words():
    for of in ("none", "all"):
        with pytest.raises(ValueError, match="must be those of unknown words"):
            make_lookup(["a"], characters=of).bags(["a"], 1, 0.1)
    for share in (-0.1, 1.1, float("nan")):
        with pytest.raises(ValueError, match="must be 0 to 1"):
            make_lookup(["a"], characters="unknown").bags(["a"], 1, share)


@pytest.mark.parametrize("max_n", [1, 2, 5])
@pytest.mark.parametrize("tokens", [8191, 8192, 8193, 8196, 16384, 16385, 30000])
def test_bags_and_counts_across_the_borders_of_blocks(tokens, max_n):
    text = (
        zipf_texts(1, 50, 3)[0] + " " + " ".join(f"w{i}" for i in np.random.default_rng(tokens).zipf(1.3, tokens) % 60)
    )
    text = " ".join(text.split()[:tokens])
    rules = {"tokenizer": "whitespace", "lowercase": True, "max_n": max_n}
    vocabulary = [ngram for ngram, _ in ref.count([text], **rules, size=3000)]
    lookup = make_lookup(vocabulary, **rules)
    expected = ref.bag_of_strings(text, vocabulary, **rules)
    assert split(*lookup.bags([text, "w1", text], 2)) == [expected, lookup.bags(["w1"], 1)[0].tolist(), expected]
    assert [row for _, row in lookup.ngrams(text)] == expected
    assert counted([[text]], **rules) == (
        ref.count([text], **rules),
        len(set(ref.ngrams(text.split(), max_n))),
    )


def test_bags_by_hand():
    lookup = make_lookup(["a", "b", "a b", "a b c", "c a b"])
    assert split(*lookup.bags(["a b c a b", "b c", "c", "", "  ", b"a\x00 a"], 1)) == [
        [0, 1, 0, 1, 2, 2, 3],  # "c a b" is never reached: "c" has no row
        [1],
        [],
        [],
        [],
        [0],
    ]
    assert lookup.ngrams("b a b") == [("b", 1), ("a", 0), ("b", 1), ("a b", 2)]
    assert lookup.ngrams("zzz") == []
    assert make_lookup([]).ngrams("a") == []


def test_an_alias_is_found_as_its_twin():
    # Where only the hash is kept, a foreign n-gram with the same tag and home is taken for the known one.
    known, alias = COLLIDING[0]
    assert split(*make_lookup([known]).bags([alias], 1)) == [[0]]


def test_no_texts():
    for threads in (1, 5):
        assert split(*make_lookup(["a"]).bags([], threads)) == []


def test_many_texts_are_one_by_one_and_threads_do_not_matter():
    batch = zipf_texts(1500, 800, 4)
    batch[3] = batch[700] = ""
    batch[10] = " ".join(batch[:200])  # far longer than the others
    vocabulary = [ngram for ngram, _ in ref.count(batch[:500], tokenizer="whitespace", max_n=4, min_count=2)]
    lookup = make_lookup(vocabulary)
    single = [split(*lookup.bags([text], 1))[0] for text in batch]
    for threads in (1, 2, 5, 64):
        assert split(*lookup.bags(batch, threads)) == single
    slots, used = ref.build_slots(vocabulary)
    some = range(0, 1500, 50)
    expected = [ref.bag(batch[i], slots, used, tokenizer="whitespace", lowercase=False) for i in some]
    assert [single[i] for i in some] == expected


# Damage


@pytest.mark.parametrize(("rows", "columns"), [(0, 0), (5, 1), (0, 2)])
def test_no_table_at_all_is_for_hashed_rows(rows, columns):
    with pytest.raises(ValueError, match=r"lookup table|slot has no room"):
        _core.Lookup(np.zeros((0, 16), np.uint32), rows, columns, 0, "words", True, 4)


@pytest.mark.parametrize("shape", [(32,), (2, 15), (2, 17), (16, 2)])
def test_a_table_that_is_not_lines_of_sixteen(shape):
    with pytest.raises((ValueError, TypeError)):
        _core.Lookup(np.zeros(shape, np.uint32), 1, 0, 0, "words", True, 4)


def test_a_row_past_the_end():
    slots, seed = _core.build_slots(*ref.packed(["a", "b"]), 0)
    for rows in (0, 1):
        lookup = _core.Lookup(slots, rows, 0, seed, "words", True, 1)
        for threads in (1, 2):
            with pytest.raises(IndexError, match="names a row that does not exist"):
                lookup.bags(["", "b"] * 1000, threads)
        with pytest.raises(IndexError, match="names a row that does not exist"):
            lookup.ngrams("b")
    # The first row is still good, and so is the object.
    assert split(*lookup.bags(["a", ""], 2)) == [[0], []]


def test_no_empty_slot():
    slots = np.full((3, 16), 7, np.uint32)
    lookup = _core.Lookup(slots, 1, 0, 0, "words", True, 1)
    with pytest.raises(IndexError, match="no empty slot"):
        lookup.bags(["a"], 1)
    with pytest.raises(IndexError, match="no empty slot"):
        lookup.ngrams("a")


@settings(max_examples=300)
@given(
    st.lists(st.one_of(st.integers(0, (1 << 32) - 1), st.integers(0, 9)), min_size=64, max_size=64),
    st.integers(0, 64),
    st.integers(0, 7),
    st.booleans(),
    st.integers(0, 4),
)
def test_no_slots_can_crash(values, keep, rows, known_tags, columns):
    given = ["a", "b", "c", "a b", "b c", "a b c"]
    slots, seed = ref.build_slots(given, 0, np.zeros((6, columns), np.int16) if columns else None)
    flat = slots.reshape(-1)
    for i in range(keep, len(flat)):
        # A wrong row under a right tag is what gets furthest.
        if not (known_tags and i % 16 >= 16 - ref.slots_of(columns)):
            flat[i] = values[i % 64]
    lookup = _core.Lookup(slots, rows, columns, seed, "whitespace", False, 3)
    try:
        bags = split(*lookup.bags(["a b c d e f g", "c b a"], 2))
    except IndexError:
        return
    most = len(slots) * ref.slots_of(columns) if columns else rows
    assert all(row < most for bag in bags for row in bag)


@settings(max_examples=200)
@given(
    st.lists(st.one_of(texts, spelled), min_size=1, max_size=6), st.one_of(rules, character_rules), st.integers(1, 4)
)
def test_bags_of_a_table_that_holds_values(batch, rules, columns):
    vocabulary = [ngram for of in (False, True) for ngram, _ in ref.count(batch, **rules, of_characters=of)]
    values = np.arange(len(vocabulary) * columns, dtype=np.int16).reshape(-1, columns)
    slots, used = ref.build_slots(vocabulary, 0, values)
    lookup = _core.Lookup(slots, 0, columns, used, **rules)
    expected = [ref.bag(text, slots, used, **rules, columns=columns) for text in batch]
    assert split(*lookup.bags(batch, 1)) == expected
    for text, numbers in zip(batch, expected, strict=True):
        by_strings = ref.bag_of_strings(text, vocabulary, **rules)
        assert [ref.slot_values(slots, n, columns) for n in numbers] == values[by_strings].tolist()


def test_lookup_checks_its_rules():
    slots = np.zeros((2, 16), np.uint32)
    with pytest.raises(ValueError, match="tokenizer"):
        _core.Lookup(slots, 1, 0, 0, "Words", True, 4)
    with pytest.raises(ValueError, match="more than four values"):
        _core.Lookup(slots, 1, 5, 0, "words", True, 4)
    for max_n in (0, 9):
        with pytest.raises(ValueError, match="max_n"):
            _core.Lookup(slots, 1, 0, 0, "words", True, max_n)
    with pytest.raises(ValueError, match="no characters 'some'"):
        _core.Lookup(slots, 1, 0, 0, "words", True, 4, characters="some")
    for least, most in ((0, 6), (3, 2), (3, 17)):
        with pytest.raises(ValueError, match="1 to 16"):
            _core.Lookup(slots, 1, 0, 0, "words", True, 4, characters="all", characters_min=least, characters_max=most)
    with pytest.raises(ValueError, match="no word is unknown"):
        _core.Lookup(slots[:0], 1, 0, 0, "words", True, 4, characters="unknown")
    for wrong in (-1, 1 << 64, "0", None):
        with pytest.raises(TypeError):
            _core.Lookup(slots, 1, 0, wrong, "words", True, 4)


def test_lookup_keeps_its_slots_alive():
    slots, seed = _core.build_slots(*ref.packed(["a"]), 0)
    lookup = _core.Lookup(slots.copy(), 1, 0, seed, "words", True, 1)
    del slots
    junk = [np.full((2, 16), 7, np.uint32) for _ in range(100)]
    assert split(*lookup.bags(["a"], 1)) == [[0]]
    assert len(junk) == 100


# Hashed vocabularies


@settings(max_examples=150)
@given(
    st.lists(ref.texts(), max_size=6),
    st.integers(1, 1 << 32).map(lambda n: min(n, 2**32 - 2)),
    st.sampled_from(("words", "sklearn", "whitespace")),
    st.booleans(),
    st.integers(1, 5),
    st.integers(1, 3),
)
def test_a_hashed_vocabulary_has_a_row_for_every_ngram(texts, size, tokenizer, lowercase, max_n, threads):
    vocabulary = Vocabulary.hash(size, tokenizer=tokenizer, lowercase=lowercase, max_n=max_n)
    ids, offsets = vocabulary.bags(texts, threads)
    for text, begin, end in zip(texts, offsets[:-1], offsets[1:], strict=True):
        found = ref.ngrams(ref.tokenize(text, tokenizer, lowercase), max_n)
        assert ids[int(begin) : int(end)].tolist() == [(ref.ngram_hash(ngram) >> 32) * size >> 32 for ngram in found]


def test_a_hashed_vocabulary_on_disk(tmp_path):
    vocabulary = Vocabulary.hash(1000, tokenizer="sklearn", max_n=2)
    vocabulary.save(tmp_path / "v")
    again = Vocabulary.load(tmp_path / "v")
    assert (len(again), again.hashed, again.rules.tokenizer, again.rules.max_n) == (1000, True, "sklearn", 2)
    for a, b in zip(again.bags(["a text of words"]), vocabulary.bags(["a text of words"]), strict=True):
        assert np.array_equal(a, b)
    with pytest.raises(TypeError, match="no n-gram of their own"):
        vocabulary[3]
