"""The core's tokenisers, fingerprints and hash against their twins, and against scikit-learn on real texts."""

from __future__ import annotations

import sys
import unicodedata
from pathlib import Path

import numpy as np
import pytest
import reference as ref
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.feature_extraction.text import CountVectorizer

from sparsedistill import _core

TOKENIZERS = ("sklearn", "words", "whitespace")
DATA = Path(__file__).parents[2] / "shared" / "data"

tokenizers = st.sampled_from(TOKENIZERS)
# Around the hash's blocks of 8 and 16 bytes, in characters of 1 to 4 bytes, and once far past every buffer.
long_tokens = st.builds(
    lambda c, n: c * n,
    st.sampled_from((*"aZ9éΣİक漢\U00010400😀.ก\u200d\u0301\u1161", "İ\u0323", "e\u0301", "Å\u0307")),
    st.sampled_from((1, 2, 7, 8, 9, 15, 16, 17, 31, 32, 33, 48, 49, 64, 65, 255, 256, 257, 5000)),
)
mixed = st.lists(st.one_of(long_tokens, ref.texts().filter(lambda t: isinstance(t, str))), max_size=6).map(" ".join)
texts = st.one_of(ref.texts(), mixed, st.binary(max_size=40).filter(ref.known))


def core_tokens(text: str | bytes, tokenizer: str, lowercase: bool, normalize: bool = True) -> list[str]:
    (tokens,) = _core.tokenize([text], tokenizer, lowercase, normalize)
    return tokens


# Tokens


@settings(max_examples=600)
@given(texts, tokenizers, st.booleans(), st.booleans())
def test_tokens(text, tokenizer, lowercase, normalize):
    expected = ref.tokenize(text, tokenizer, lowercase, normalize)
    assert core_tokens(text, tokenizer, lowercase, normalize) == expected


@settings(max_examples=500)
@given(texts, tokenizers, st.booleans(), st.booleans(), st.integers(1, 80))
def test_tokens_of_a_text_that_is_read_in_parts(text, tokenizer, lowercase, normalize, window):
    expected = core_tokens(text, tokenizer, lowercase, normalize)
    assert _core.tokenize([text], tokenizer, lowercase, normalize, window) == [expected]


@pytest.mark.parametrize("tokenizer", TOKENIZERS)
@pytest.mark.parametrize("piece", ["a.", "aΣ'", "漢", "😀\u200d", "don't", "İ\u0323"])
def test_tokens_of_a_text_far_longer_than_a_part(tokenizer, piece):
    for text in (piece * 17_000, "x" * 16_383 + piece * 300 + " " + piece * 300, ("y" * 16_384 + " ") * 3 + piece):
        assert core_tokens(text, tokenizer, True) == ref.tokenize(text, tokenizer, True)


@settings(max_examples=120)
@given(st.lists(texts, max_size=6), tokenizers, st.booleans())
def test_tokens_of_many_texts_are_those_of_each(batch, tokenizer, lowercase):
    each = [core_tokens(text, tokenizer, lowercase) for text in batch]
    assert _core.tokenize(batch, tokenizer, lowercase) == each
    assert _core.tokenize(tuple(batch), tokenizer, lowercase) == each


@settings(max_examples=500)
@given(st.binary(max_size=12), tokenizers, st.booleans())
def test_any_bytes_read_as_python_reads_them(text, tokenizer, lowercase):
    # Decoding alone: core against core, so that no code point is out of bounds.
    assert core_tokens(text, tokenizer, lowercase) == core_tokens(text.decode("utf-8", "replace"), tokenizer, lowercase)


@pytest.mark.parametrize("lead", range(0x80, 0x100))
def test_every_lead_byte_and_second_byte(lead):
    tails = (b"", b"\x80", b"\x80\x80", b"\xbf\xbf", b"a")
    pieces = [bytes((lead, second)) + tail + b"z" for second in range(256) for tail in tails]
    pieces = [piece for piece in pieces if b" " not in piece]
    expected = [piece.decode("utf-8", "replace").split() for piece in pieces]
    assert _core.tokenize(pieces, "whitespace", False, False) == expected


def core_unicode_points() -> str:
    """All code points that running Python and core agree are assigned, surrogates too; of private ones one in 32."""
    every = (chr(i) for i in range(sys.maxunicode + 1))
    assigned = (c for c in every if unicodedata.category(c) != "Cn" and ref.known(c))
    return "".join(c for c in assigned if unicodedata.category(c) != "Co" or ord(c) % 64 in (0, 63))


POINTS = core_unicode_points()
# For what takes the reference long: of the ideographs, many and alike, one in eight, with the first and last of blocks.
FEWER = "".join(c for c in POINTS if not unicodedata.name(c, "").startswith("CJK UNIFIED") or ord(c) % 16 in (0, 15))


@pytest.mark.parametrize("lowercase", [False, True])
@pytest.mark.parametrize("tokenizer", TOKENIZERS)
def test_every_code_point_in_a_word(tokenizer, lowercase):
    batch = [f"a{c}b" for c in POINTS]
    expected = [ref.tokenize(text, tokenizer, lowercase) for text in batch]
    got = _core.tokenize(batch, tokenizer, lowercase)
    assert [(hex(ord(c)), g, e) for c, g, e in zip(POINTS, got, expected, strict=True) if g != e] == []


def test_every_code_point_beside_a_sigma():
    # Whether a letter is cased, or looked past, shows in the sigma beside it only.
    batch = [f"{c}Σ AΣ{c} AΣ{c}A A{c}Σ" for c in POINTS]
    got = _core.tokenize(batch, "whitespace", True)
    expected = [unicodedata.normalize("NFC", ref.decode(text).lower()).split() for text in batch]
    wrong = [(hex(ord(c)), g) for c, g, e in zip(POINTS, got, expected, strict=True) if g != e]
    assert wrong == []


def test_every_code_point_after_an_apostrophe_and_an_emoji():
    batch = [f"a'{c} {c}'a ☀{c}" for c in FEWER]
    got = _core.tokenize(batch, "words", False)
    wrong = [
        (hex(ord(c)), g) for c, t, g in zip(FEWER, batch, got, strict=True) if g != ref.tokenize(t, "words", False)
    ]
    assert wrong == []


@pytest.mark.parametrize("lowercase", [False, True])
def test_every_code_point_in_nfc(lowercase):
    """Alone, decomposed, and with marks before and behind that compose with it or change places with it."""
    decomposed = [unicodedata.normalize("NFD", ref.decode(c)) for c in POINTS]
    for batch in (
        list(POINTS), decomposed, [f"{c}\u0323\u0301x" for c in POINTS],
        [f"a\u0323{c}\u0301\u0327" for c in decomposed], [f"ก{c}\u1161\u11a8" for c in POINTS],
    ):  # fmt: skip
        got = _core.tokenize(batch, "whitespace", lowercase)
        lowered = (ref.decode(text).lower() if lowercase else ref.decode(text) for text in batch)
        expected = [unicodedata.normalize("NFC", text).split() for text in lowered]
        assert [(hex(ord(c)), g, e) for c, g, e in zip(POINTS, got, expected, strict=True) if g != e] == []


def test_every_code_point_among_marks_of_a_word():
    # Marks that compose with nothing, in and out of order: combining classes 10, 33, 30, 220 and 230.
    batch = [f"a\u05b0{c}\u0651 \u0651{c}\u064e {c}\u0651\u064e! !{c}\u0316\u05b0" for c in FEWER]
    got = _core.tokenize(batch, "words", True)
    expected = [ref.tokenize(text, "words", True) for text in batch]
    assert [(hex(ord(c)), g, e) for c, g, e in zip(FEWER, got, expected, strict=True) if g != e] == []


@settings(max_examples=500)
@given(
    st.text(
        st.sampled_from("".join(ref.SPICE) + "aAeEoOuU\u0301\u0323\u0307\u0302\u031b가각\u0651\u064e\u05b0\u0316!"),
        max_size=30,
    )
)
def test_canonically_equal_texts_have_equal_tokens(text):
    text = ref.decode(text)
    forms = [unicodedata.normalize(form, text) for form in ("NFC", "NFD")]
    for tokenizer in ("words", "whitespace"):
        for lowercase in (False, True):
            first, second = _core.tokenize(forms, tokenizer, lowercase)
            assert first == second


@pytest.mark.parametrize(
    ("text", "tokens"),
    [
        # a base and its marks: Thai (vowels before and behind are bases), Lao, Khmer, Burmese, Tai Tham, Javanese
        ("น้ำดีมาก เก่ง ๑๒ ฿๕", "น้ ำ ดี ม า ก เ ก่ ง ๑๒ ฿ ๕"),
        ("ພາສາລາວ ໑໒", "ພ າ ສ າ ລ າ ວ ໑໒"),
        ("ភាសាខ្មែរ។", "ភា សា ខ្ មែ រ ។"),
        ("မြန်မာစာ၊ ၁၂", "မြ န် မာ စာ ၊ ၁၂"),
        ("ᨲᩫ᩠ᩅᨾᩮᩬᩥᨦ", "ᨲᩫ᩠ ᩅ ᨾᩮᩬᩥ ᨦ"),
        ("ꦗꦮꦏꦿꦩ", "ꦗ ꦮ ꦏꦿ ꦩ"),
        ("ดีok9", "ดี ok9"),
        # Tibetan parts syllables itself, Hangul writes spaces; Yi does neither
        ("བོད་ཡིག", "བོད ་ ཡིག"),
        ("한국어 문장", "한국어 문장"),
        ("ꆈꌠ", "ꆈ ꌠ"),
        # joiners inside words, and at their edges
        ("می\u200cخواهم خانه\u200c", "می\u200cخواهم خانه"),
        ("क्\u200dष \u200dक", "क्\u200dष क"),
        ("ശ്രീ\u200d ക്\u200cഷ", "ശ്രീ ക്\u200cഷ"),
        ("ක්\u200dරිකට්", "ක්\u200dරිකට්"),
        ("a\u200d\u200c\u200db a\u200d! a\u200d'b", "a\u200d\u200c\u200db a ! a ' b"),
        ("ក\u200cិ\u200cក", "ក\u200cិ ក"),
        # invisible characters that part nothing, and one that parts
        ("co\u00adop\u2060er\ufeffate don\u00ad't", "cooperate don't"),
        ("ab\u200bcd", "ab cd"),
        ("\u200fשלום\u200f, \u202aabc\u202c", "שלום , abc"),
        ("\U0001f468\u200d\U0001f469 \u200d \U0001f3f4\U000e0067\U000e0062\U000e007f!",
         "\U0001f468\u200d\U0001f469 \U0001f3f4\U000e0067\U000e0062\U000e007f !"),
        # composed: Vietnamese, Hangul in jamo, Cyrillic, Japanese, Devanagari (not into what is excluded), singletons
        ("Tie\u0302\u0301ng Vie\u0323\u0302t", "tiếng việt"),
        ("\u1112\u1161\u11ab", "한"),
        ("Йод и\u0306од", "йод йод"),
        ("か\u3099 か\u309a", "が か\u309a"),
        ("葛\U000e0100城 切\ufe00", "葛 城 切"),
        ("\u0958\u092e", "\u0915\u093c\u092e"),
        ("\u212bngstrom \u2126", "ångstrom ω"),
        # put in order: shadda and fatha, points of Hebrew
        ("مد\u0651\u064eرس", "مد\u064e\u0651رس"),
        ("\u05e9\u05c1\u05b8", "\u05e9\u05b8\u05c1"),
        # lower-cased, then composed
        ("J\u030c İ I\u0307 I\u0323\u0307", "ǰ i\u0307 i\u0307 ị\u0307"),
        ("ΟΔΟ\u0301Σ ΟΔΟΣ\u0301", "οδός οδος\u0301"),
    ],
)  # fmt: skip
def test_words_of_many_scripts(text, tokens):
    assert core_tokens(text, "words", True) == tokens.split(" ")
    assert ref.tokenize(text) == tokens.split(" ")


def test_normalization_is_a_choice_and_not_for_sklearn():
    text = "cafe\u0301 e\u0301te\u0301"
    assert core_tokens(text, "words", True) == core_tokens(text, "whitespace", True) == ["café", "été"]
    assert core_tokens(text, "words", True, False) == text.split(" ")
    assert core_tokens(text, "sklearn", True) == ["cafe", "te"]


def test_marks_without_end():
    """A segment has 256 code points at most: what a million marks take grows no faster than they do."""
    text = "a" + "\u0301\u0323" * 300
    (token,) = core_tokens(text, "words", True)
    assert token == ref.nfc(text)
    assert token != unicodedata.normalize("NFC", text)
    for text in (
        "a" + "\u0301" * 254 + "\u0323", "a" + "\u0301" * 255 + "\u0323", "a" + "\u0301" * 600 + "\u0323",
        "\u0301" * 255 + "\u0323", "\u0301" * 256 + "\u0323",
        "ab" + "\u0323" * 100 + "c" + "\u0323" * 200 + "\u0301\u0323", "!" + "\u0301\u0323" * 200,
    ):  # fmt: skip
        assert core_tokens(text, "words", True) == ref.tokenize(text)
    short = "a" + "\u0301\u0323" * 127
    assert core_tokens(short, "words", True) == [unicodedata.normalize("NFC", short)]
    (token,) = core_tokens("a" + "\u0301\u0323" * 500_000, "words", True)
    assert len(token) == 1_000_000  # the letter and one mark compose


def test_tokenizer_is_checked():
    with pytest.raises(ValueError, match="no tokenizer 'nltk'"):
        _core.tokenize(["a"], "nltk", True)


def test_unicode_version_is_the_twins():
    assert tuple(map(int, _core.unicode_version.split("."))) == ref.CORE_UNICODE


def test_empty():
    assert _core.tokenize([], "words", True) == []
    assert _core.tokenize(["", b"", " "], "words", True) == [[], [], []]


# Hash


@pytest.mark.parametrize(("ngram", "seed"), ref.GOLDEN)
def test_golden_hashes(ngram, seed):
    assert _core.ngram_hash(ngram.encode(), seed) == ref.GOLDEN[ngram, seed]


words = st.one_of(long_tokens, st.text(st.characters(exclude_categories=("Cs",)), max_size=40)).map(
    lambda token: token.replace(" ", "")
)


@settings(max_examples=800)
@given(st.lists(words, min_size=1, max_size=5).map(" ".join), st.integers(0, ref.MASK))
def test_ngram_hash(ngram, seed):
    assert _core.ngram_hash(ngram.encode(), seed) == ref.ngram_hash(ngram, seed)


def test_token_hash_of_every_length():
    for n in range(100):
        token = bytes(range(128, 128 + n))
        assert _core.ngram_hash(token, n) == ref.token_hash(token, n)


# Fingerprints


@settings(max_examples=200)
@given(st.lists(texts, max_size=4))
def test_fingerprints(batch):
    expected = np.array([ref.fingerprint(text) for text in batch], np.uint64)
    for threads in (1, 2):
        got = _core.fingerprints(batch, threads)
        assert got.dtype == np.uint64
        assert got.tolist() == expected.tolist()


def test_fingerprint_of_every_code_point():
    # Letters, digits and eyes around it tell "kept" from "dropped" by every rule.
    batch = [f"A{c}Σ 1{c}2 .{c} :{c}-{c}9 😀{c}😀 i{c}" for c in FEWER]
    expected = [ref.fingerprint(text) for text in batch]
    for threads in (1, 3):
        got = _core.fingerprints(batch, threads).tolist()
        wrong = [hex(ord(c)) for c, g, e in zip(FEWER, got, expected, strict=True) if g != e]
        assert wrong == []


def test_fingerprints_of_texts_of_punctuation():
    batch = ["", "!", "?", "!!", ":)", ":(", b"\xff", b"\xff\xff", "\ud800", "😀", "." * 5000]
    got = _core.fingerprints(batch, 1).tolist()
    assert got == [ref.fingerprint(text) for text in batch]
    assert len(set(got)) == len(batch)
    assert len(set(_core.fingerprints(["! ?", "!?", " !\t?\n", "!\u200b?", "\ufeff!?"], 1).tolist())) == 1


SAME = [
    (
        "Good film!",
        "good film",
        '"Good" film?',
        "GOOD FILM...",
        "good-film",
        "(good) film",
        "“good”\u00a0film",
        "good\tfilm。",
    ),
    ("don't", "don’t", "dont", "DON`T", "don´t", "donʼt"),
    ("straße", "STRASSE", "Strasse", "STRAẞE", "strasse."),
    ("ΟΔΟΣ", "οδος", "οδοσ"),
    ("İzmir", "izmir", "I\u0307zmir", "i\u0307zmir"),
    ("Tiếng Việt", unicodedata.normalize("NFD", "Tiếng Việt"), "TIẾNG VIỆT"),
    ("한국어", unicodedata.normalize("NFD", "한국어")),
    ("क़लम", "क\u093cलम"),
    ("ﬁne", "fine", "\u017fine".replace("\u017f", "f")),
    ("K\u00e5r", "\u212aa\u030ar", "K\u212br"),
    ("soft", "so\u00adft", "\ufeffsoft", "so\u200bft", "so\u2060ft"),
    ("محمد", "محمـــد"),
    ("می\u200cخواهم", "می خواهم", "میخواهم"),
    ("I ❤️ it", "i ❤ it!", "I ❤\ufe0e it"),
    ("covid-19", "COVID 19", "covid–19", "covid19"),
    ("10-20", "10–20", "10−20"),
    ("a -5 b", "a −5 b", "A –5, b"),
    ("nice :-)", "Nice :)", "nice:)", "nice :')"),
    ("one, two. three; four: five", "one two three four five"),
    ("नमस्ते।", "नमस्ते"),
    ("¿Qué?", "qué"),
]
DIFFERENT = [
    ("राम", "रमा", "रम", "रामि"),
    ("C", "C++", "C#", "C+", "C*", "C@", "C&", "C%", "C/", "C\\", "C_"),
    ("NET", ".NET"),
    ("x", "x 😍", "x 😡", "x ❤"),
    ("ok 👍", "ok 👍🏽", "ok 👍🏿"),
    ("👨\u200d👩", "👨👩", "👨", "👨\u200d👩\u200d👧"),
    (
        "🇩🇪",
        "🇪🇩",
        "🇫🇷",
        "🏴\U000e0067\U000e0062\U000e0065\U000e007f",
        "🏴\U000e0067\U000e0062\U000e0073\U000e007f",
        "🏴",
    ),
    ("1️⃣", "2️⃣", "1", "#️⃣", "*️⃣"),
    ("5", "€5", "£5", "$5", "5%", "-5", "+5", ".5", "5°", "#5", "<5", "~5"),
    ("1.5", "15", "1,5", "1:5", "1/5", "1-5", "1+5", "1×5"),
    ("nice :)", "nice :(", "nice", "nice :/", "nice <3", "nice :D"),
    ("كتب", "كَتَبَ", "كُتُب", "كُتِبَ"),
    ("שלום", "שָׁלוֹם", "שלם"),
    ("año", "ano", "âno"),
    ("kız", "kiz"),
    ("เก่ง", "เกง", "เก้ง"),
    ("Việt", "Viêt", "Viet"),
    ("x²", "x2", "x^2"),
    ("©", "®", "™"),
    ("\U0001fae9", "\U0001faea"),  # of a later Unicode version than the table's
    ("a\x1fbc", "ab\x1fc", "abc", "abc\x1f", "\x1fabc"),
    ("good\x1f?", "good\x1f!", "good\x1f", "?\x1fgood"),
    ("!\x1f?", "?\x1f!", "!?"),
]


@pytest.mark.parametrize("texts", SAME, ids=lambda texts: ascii(texts[0]))
def test_copies_have_one_fingerprint(texts):
    got = _core.fingerprints(list(texts), 1).tolist()
    assert [text for text, one in zip(texts, got, strict=True) if one != got[0]] == []


@pytest.mark.parametrize("texts", DIFFERENT, ids=lambda texts: ascii(texts[0]))
def test_different_texts_have_different_fingerprints(texts):
    got = _core.fingerprints(list(texts), 1).tolist()
    assert len(set(got)) == len(got), [texts[i] for i, one in enumerate(got) if got.index(one) != i]


ALPHABET = "".join(ref.SPICE) + "iIßẞſςﬁŉ0123456789.,:;=-−–()[]'/#%👍🏽\u0301\u0323\u0307\u1fd3\u0345\u1fb3"


@settings(max_examples=800)
@given(st.text(st.sampled_from(ALPHABET), max_size=14))
def test_fingerprints_of_anything(text):
    one = ref.fingerprint(text)
    variants = [text, ref.raw(text), ref.decode(text)]
    if not unicodedata.normalize("NFD", ref.decode(text)).startswith("\u0345"):
        variants += [
            unicodedata.normalize("NFC", ref.decode(text)),
            unicodedata.normalize("NFD", ref.decode(text)),
        ]
    assert set(_core.fingerprints(variants, 1).tolist()) == {one}


@settings(max_examples=200)
@given(
    st.lists(st.sampled_from(("Ein", "schöner", "FILM", "हिन्दी", "😀", "50%", "C++")), min_size=1, max_size=6),
    st.data(),
)
def test_fingerprints_leave_aside_what_stands_between_words(words, data):
    between = st.sampled_from((" ", ", ", "  ", "\n", " «", "» ", "! ", " — ", "... ", "\u200b"))
    texts = ["".join(word + data.draw(between) for word in words) for _ in range(3)]
    assert len(set(_core.fingerprints([" ".join(words).upper(), *texts], 1).tolist())) == 1


def test_case_folding_without_end():
    for text in ("\u1fd3" * 3000, "ß\u0323" * 3000, "ŉ\u0301" * 700, "İ" * 2000, "ﬃ" * 999, "a" + "\u0301\u0323" * 600):
        assert _core.fingerprints([text], 1).tolist() == [ref.fingerprint(text)]


# Real texts


@pytest.mark.skipif(not DATA.is_dir(), reason="the data sets are not beside this repository")
@pytest.mark.parametrize("path", sorted(DATA.glob("*/*.parquet")), ids=lambda path: f"{path.parent.name}/{path.stem}")
def test_sklearn_tokens_of_real_texts(path):
    """Every text of every file, token for token: 1.46 million texts, 370 MB, most of a minute in all."""
    parquet = pytest.importorskip("pyarrow.parquet")
    analyze = CountVectorizer().build_analyzer()
    file = parquet.ParquetFile(path)
    columns = [name for name in ("text", "text_a", "text_b") if name in file.schema_arrow.names]
    assert columns
    seen = 0
    for batch in file.iter_batches(1000, columns=columns):
        for column in batch.columns:
            texts = column.to_pylist()
            got = _core.tokenize(column, "sklearn", True)
            assert len(got) == len(texts)
            # Not assert got == expected: the report on a thousand texts would take minutes.
            wrong = [(text, tokens) for text, tokens in zip(texts, got, strict=True) if analyze(text) != tokens]
            assert wrong[:1] == []
        seen += len(batch)
    assert seen == file.metadata.num_rows
