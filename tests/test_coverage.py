"""Coverage of texts against tokens and vocabulary as sets."""

from __future__ import annotations

import numpy as np
import pytest
import reference as ref
from hypothesis import given, settings
from hypothesis import strategies as st

from sparsedistill import Classifier, SettingsError, _core
from sparsedistill.coverage import coverage, ngram_coverage
from sparsedistill.student.compress import compress
from sparsedistill.student.model import Student
from sparsedistill.student.vocabulary import Vocabulary

WORDS = ("the", "not", "Bad", "at", "all", "a", "漢", "don't", "😀", "!")
plain = st.lists(st.sampled_from(WORDS), max_size=14).map(" ".join)
texts = st.one_of(plain, ref.texts().filter(lambda text: isinstance(text, str)))


def vocabulary_of(some, max_n, **rules):
    """All n-grams of the texts, each after its prefix."""
    found = {g: None for text in some for g in ref.ngrams(ref.tokenize(text, **rules), max_n)}
    return sorted(found, key=lambda g: (g.count(" "), g))


@given(st.lists(texts, max_size=4), st.lists(texts, max_size=5), st.integers(1, 3), st.booleans(), st.integers(1, 9))
@settings(max_examples=150, deadline=None)
def test_known_ngrams_are_counted_as_sets_do(seen, new, max_n, characters, block):
    ngrams = vocabulary_of([*seen, "the"], max_n)
    slots, seed = _core.build_slots(*ref.packed(ngrams), 0)
    more = {"characters": "all", "characters_min": 1, "characters_max": 2} if characters else {}
    lookup = _core.Lookup(slots, len(ngrams), 0, seed, "words", True, max_n, block=block, **more)
    counts = lookup.known(new, max_n, 2)
    assert counts.shape == (len(new), 1 + max_n)
    for row, text in zip(counts.tolist(), new, strict=True):
        tokens = ref.tokenize(text)
        assert row[0] == len(tokens)
        for n in range(1, max_n + 1):
            own = [" ".join(tokens[i : i + n]) for i in range(len(tokens) - n + 1)]
            # An n-gram is found through its prefixes, which are in the vocabulary.
            assert row[n] == sum(one in set(ngrams) for one in own)
        assert lookup.known([text], 1, 1).tolist() == [row[:2]]


def test_shares(parts):
    config, tensors = parts(task="single", row_type="int8")
    classifier = Classifier(config, tensors)
    assert coverage(classifier, ["not good zzz", "zzz", "", "bad"]).tolist() == [2 / 3, 0, 0, 1]
    assert coverage(classifier, "not good zzz").tolist() == [2 / 3]
    assert coverage(classifier, ["bad", None], nulls="empty").tolist() == [1, 0]
    assert coverage(classifier, []).shape == (0,)
    with pytest.raises(TypeError, match="1"):
        coverage(classifier, ["bad", None])
    by_length = ngram_coverage(classifier, ["not bad zzz", "bad", ""])
    assert by_length.shape == (3, config["text"]["max_n"])
    assert by_length[0, 0] == 2 / 3 and by_length[1, 0] == 1
    assert np.isnan(by_length[1, 1:]).all() and np.isnan(by_length[2]).all()
    assert by_length[0, 1] == classifier._lookup.known(["not bad zzz"], 2, 1)[0, 2] / 2


def test_a_pair_is_both_its_texts():
    vocabulary = Vocabulary.count([["a good film", "a bad film"]], tokenizer="words", max_n=2)
    student = Student(len(vocabulary), 3, (6,), 7, 0.0, 1, "float32", "mean", pairs=True)
    classifier = compress(student, vocabulary, ("a", "b", "c"), "single")
    assert coverage(classifier, [("a good day", "film"), ("", "")]).tolist() == [3 / 4, 0]
    assert coverage(classifier, ("bad", "zzz")).tolist() == [1 / 2]
    found = ngram_coverage(classifier, [("a good day", "bad film"), ("a", "film")])
    assert found[0].tolist() == [4 / 5, 2 / 3]  # no n-gram spans both
    assert found[1, 0] == 1 and np.isnan(found[1, 1])


def test_hashed_rows_have_no_coverage():
    vocabulary = Vocabulary.hash(64, tokenizer="words", max_n=2)
    student = Student(64, 3, (6,), 7, 0.0, 1, "float32", "mean")
    with pytest.raises(SettingsError, match="hashed"):
        coverage(compress(student, vocabulary, ("a", "b", "c"), "single"), ["a"])
