"""Where n-grams stand in a text: the text between start and end gives the n-gram."""

import numpy as np
import pytest
from hypothesis import example, given, settings
from reference import prepared, raw, texts

from sparsedistill import _core
from sparsedistill.text import TextRules

WAYS = [
    TextRules(),
    TextRules(lowercase=False),
    TextRules(normalize=False),
    TextRules(tokenizer="whitespace"),
    TextRules(tokenizer="sklearn"),
    TextRules(characters="all", characters_min=1, characters_max=5),
    TextRules(deobfuscate=True),
    TextRules(deobfuscate=True, characters="all", characters_min=2),
]
NASTY = (
    "NOT\u00ad good, C\u200dAFE\u0301 na\u00efve \ufeffend",
    "I\u0307stanbul \u0130STANBUL \u039f\u03a3 \u03a3\u0391\u03a3. it\u2019s o'clock",
    "\u1112\u1161\u11ab\u1100\u1173\u11af \ud55c\uae00 \u6f22\u5b57\u3042\u3099 \U0001f469\u200d\U0001f4bb\U0001f3fd!",
    "b u y v1agr\u0430 n0w, fr33 c@sh!!! soooooo c*o*o*l",
    "\uff26\uff35\uff2c\uff2c \ufb01ne z\u0336a\u0336l\u0336g\u0336o\u0336",
    "a\u0301\u0302\u0303\u0304 \u2460 \u33a1 x\u2060y",
)


def every_ngram(rules: TextRules) -> _core.Lookup:
    """A lookup that finds every n-gram: of hashed rows, which have no table."""
    return _core.Lookup(np.empty((0, 16), np.uint32), 1 << 20, 0, 7, **rules.config())


def spelt(lookup: _core.Lookup, text: str | bytes) -> list[str]:
    return [ngram for ngram, _ in lookup.ngrams(text)]


def plain(written: str) -> str:
    return written.replace("ς", "σ").replace("’", "'")


def made_of(rules: TextRules, part: bytes, ngram: str) -> bool:
    """Whether the bytes of a text, taken alone, give an n-gram of tokens, or a word that begins, has or ends so."""
    lookup = every_ngram(rules)
    if not ngram.startswith(" "):
        # What stands around a sigma decides which it is.
        return ngram.replace("ς", "σ") in [one.replace("ς", "σ") for one in spelt(lookup, part)]
    if rules.deobfuscate:  # where what a sign stands for depends on the rest of the word
        return True
    # What stands around a sigma and an apostrophe decides how they are written.
    written = prepared(part, rules.tokenizer, rules.lowercase, rules.normalize)
    return plain(ngram[1:].strip(" ")) in plain(written)


@pytest.mark.parametrize("rules", WAYS, ids=str)
@settings(max_examples=60, deadline=None)
@given(text=texts())
@example(NASTY[0])
@example(NASTY[1])
@example(NASTY[2])
@example(NASTY[3])
@example(NASTY[4])
@example(NASTY[5])
@example("aΣ.a")
def test_the_text_between_start_and_end_gives_the_ngram(rules, text):
    lookup = every_ngram(rules)
    ngrams, spans, data = spelt(lookup, text), lookup.spans(text), raw(text)
    assert spans.shape == (len(ngrams), 2)
    for ngram, (start, end) in zip(ngrams, spans.tolist(), strict=True):
        assert 0 <= start < end <= len(data)
        whole = data[data.rfind(b" ", 0, start) + 1 : (data.find(b" ", end) + 1 or len(data) + 1) - 1]
        # Which letters are a disguise depends on the others of the word.
        parts = [data[start:end], *[whole] * rules.deobfuscate]
        assert any(made_of(rules, part, ngram) for part in parts), (data[start:end], ngram)


@pytest.mark.parametrize(
    ("rules", "text", "ngram", "spans"),
    [
        (TextRules(), "Not good. NOT\u00ad  GOOD!", "not good", ["Not good", "NOT\u00ad  GOOD"]),
        (TextRules(), "caf\u0065\u0301s", "cafés", ["caf\u0065\u0301s"]),
        (TextRules(), "\ufeffthe\u00ad\u00ad end", "the", ["the"]),
        (TextRules(), "it\u2019s 漢字", "it's", ["it\u2019s"]),
        (TextRules(), "it\u2019s 漢字", "漢 字", ["漢字"]),
        (TextRules(tokenizer="sklearn"), "a b\u0130c not_b", "not_b", ["not_b"]),
        (TextRules(deobfuscate=True), "b u y, fr\u03bf\u0435 v1agr4 n0ooow", "viagra", ["v1agr4"]),
        (TextRules(deobfuscate=True), "c l e a n fr\u043e\u0435 n0ooow", "clean", ["c l e a n"]),
        (TextRules(deobfuscate=True), "n0ooow, gooood", "now", ["n0ooow"]),
        (TextRules(deobfuscate=True), "sooooo", "so", ["sooooo"]),
        (TextRules(deobfuscate=True), "f\u0336r\u0336e\u0336e\u0336 \uff26", "free", ["f\u0336r\u0336e\u0336e\u0336"]),
        (TextRules(characters="all"), "A c\u0061\u0301t", "  cá", ["c\u0061\u0301"]),
        (TextRules(characters="all"), "A cat", " at ", ["at"]),
    ],
)
def test_spans_are_as_narrow_as_the_ngram(rules, text, ngram, spans):
    lookup, data = every_ngram(rules), text.encode()
    places = zip(spelt(lookup, text), lookup.spans(text).tolist(), strict=True)
    assert [data[start:end].decode() for name, (start, end) in places if name == ngram] == spans


def test_spans_do_not_depend_on_blocks():
    text = "Not bad at all, " * 3000 + "caf\u0065\u0301 wonderfull " * 20
    for rules in (TextRules(), TextRules(characters="all", characters_max=4), TextRules(deobfuscate=True)):
        found = []
        for block in (8192, 7):
            lookup = _core.Lookup(np.empty((0, 16), np.uint32), 1 << 20, 0, 7, **rules.config(), block=block)
            places = zip(spelt(lookup, text), lookup.spans(text).tolist(), strict=True)
            found.append(sorted((ngram, *place) for ngram, place in places))
        assert found[0] == found[1]
        assert len(found[0]) > 40_000


@pytest.mark.parametrize("text", ["", " ", "\u00ad", "?"])
def test_texts_of_no_or_one_ngram(text):
    assert every_ngram(TextRules()).spans(text).tolist() == [[0, 1]] * (text == "?")
