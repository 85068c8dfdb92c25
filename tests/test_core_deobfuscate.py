"""Words in disguise: the core's reading of them against its twin's, and what a reader expects of it."""

from __future__ import annotations

import time
import unicodedata
from collections import Counter
from itertools import chain

import pyarrow.parquet as pq
import pytest
import reference as ref
from disguises import deobfuscate, look_alikes
from hypothesis import given, settings
from hypothesis import strategies as st
from test_core_text import DATA, FEWER, texts

from sparsedistill import Classifier, Settings, SettingsError, _core
from sparsedistill.cli import main
from sparsedistill.student.vocabulary import Vocabulary

ALIKE = "".join(look_alikes())
# What the rules turn on, thick enough that they meet.
THICK = (
    *"aAbeiIlLoOstTuxzé", *"0123456789", *"@$!*._-' ", "  ", "$$", "\u2019", "аbс", "і", "я", "ё", "ο", "ν", "ｆ", "Ａ",
    "𝐱", "ⓢ", "ᴋ", "ʙ", "🅰", "ﬁ", "²", "½", "™", "´", "\u200b", "\u200c", "\u200d", "\u2060", "\xad", "\u0336",
    "\u0301", "\u0323", "\u20dd", "ế", "ﷺ", "ㅋ", "ﾊ\uff9e", "漢", "ก็", "😀", "\ufe0f", "\U000e0061", "aaa", "ooo",
    "Σς", "f r e e", "h3ll0", "a@b.c", "!!",
)  # fmt: skip
thick = st.lists(st.one_of(st.sampled_from(THICK), st.sampled_from(ALIKE).filter(ref.known)), max_size=24).map("".join)


def deobfuscated(text: str | bytes) -> str:
    (found,) = _core.deobfuscate([text])
    return found


@settings(max_examples=3000)
@given(thick)
def test_thick_texts(text):
    assert deobfuscated(text) == deobfuscate(text)


@settings(max_examples=1500)
@given(st.text(st.sampled_from("aIeloT013578269@$!*.-_ '"), max_size=24))
def test_ascii_texts(text):
    expected = deobfuscate(text)
    assert deobfuscated(text) == expected
    assert deobfuscated(text + " 漢") == expected + " 漢"  # the same code point by code point


@settings(max_examples=600)
@given(texts)
def test_any_texts(text):
    assert deobfuscated(text) == deobfuscate(text)


@settings(max_examples=600)
@given(st.binary(max_size=16))
def test_any_bytes_read_as_python_reads_them(text):
    assert deobfuscated(text) == deobfuscated(text.decode("utf-8", "replace"))


@pytest.mark.parametrize("frame", ["{}", "a{}b", "{}{}{} x{}", "a\u0301{}\u0323\u0301", "s {} x y", "fu{}а", "漢{}9!"])
def test_every_code_point(frame):
    batch = [frame.replace("{}", c) for c in FEWER]
    expected = [deobfuscate(text) for text in batch]
    got = _core.deobfuscate(batch)
    assert [(hex(ord(c)), g, e) for c, g, e in zip(FEWER, got, expected, strict=True) if g != e] == []


@settings(max_examples=500)
@given(st.one_of(thick, texts), st.sampled_from(("words", "whitespace")), st.booleans())
def test_tokens_are_of_what_comes_out(text, tokenizer, lowercase):
    expected = ref.tokenize(deobfuscate(text), tokenizer, lowercase)
    assert _core.tokenize([text], tokenizer, lowercase, deobfuscate=True) == [expected]


@settings(max_examples=500)
@given(st.one_of(thick, texts))
def test_no_more_code_points_than_bytes(text):
    assert len(deobfuscated(text)) <= len(ref.raw(text))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        # look-alikes
        ("рlеаse ѕtор", "please stop"),
        ("уоu аrе Frее", "you are Free"),
        ("ｆｒｅｅ 𝓯𝓻𝓮𝓮 ⓕⓡⓔⓔ 🅵🆁🅴🅴 ꜰʀᴇᴇ ᶠʳᵉᵉ", "free free free FREE free free"),
        ("bіtсоіn ΒΙΤcoin Ⅳ ﬁne", "bitcoin BITcoin IV fine"),
        # letters apart
        ("for f r e e now", "for free now"),
        ("f.r.e.e, i-d-i-o-t! F_R_E_E", "free, idiot! FREE"),
        ("U.S.A. and a.k.a. and e.g. and p.m.", "USA. and aka. and e.g. and p.m."),
        ("I l o v e", "I love"),
        ("w i n F r e e C a s h", "win Free Cash"),
        ("don't a b", "don't a b"),
        ("f r.e e", "f r.e e"),
        # digits and signs for letters
        ("h3ll0 w0rld, 1d10t! 5h17 l33t", "hello world, idiot! shit leet"),
        ("he1p 1ove ki11 a1l al1 1nto", "help love kill all all into"),
        ("11ke b111a he11o b1ll l11x", "like billa hello bill lilx"),
        ("sh!t b@stard a$$ $hit bull$hit", "shit bastard ass shit bullshit"),
        ("f*ck m*a*s*h f**k 2*3", "fck mash f**k 2*3"),
        # invisible, struck through, piled
        ("f\u200br\u200ce\u2060e c\xadas\u200dh", "free cash"),
        ("f\u0336r\u0336e\u0336e\u0336 a\ufe0fb", "free ab"),
        ("z\u0301\u0302\u0303a\u0301\u0323\u0307lgo \u1ebf\u0323", "zalgo e"),
        # stretched
        ("sooooo goooood, noOOo", "so god, no"),
        ("zzzzzz www III VIII xxx", "zzz www III VI xxx"),
        ("1000000 !!!!! hmm", "1000000 !!!!! hmm"),
        # what is written so
        ("$500 £50k 1990s 192.168.0.1 3.14 #100 100% 20:30", None),
        ("mail joe@mail.com or j@x.co.uk, @user, http://www.example.com/a?b=2", None),
        ("2nd 6th h2o b2b mp9 covid19 catch22 r2d2 9am 1024px 2x4", None),
        ("wow! great!nice US$ 50, A$ 5, it's 5 o'clock - I'm a DJ", None),
        ("x_y user_name a/b C++ C# .NET R&B e-mail T-shirt", None),
        ("naïve café Tiếng Việt straße Übergröße być ısı það smørrebrød", None),
        # and what is not, though it should be
        ("mp3 1st 10am 4m", "mpe ist loam am"),
    ],
)
def test_examples(text, expected):
    expected = text if expected is None else expected
    assert deobfuscated(text) == expected
    assert deobfuscate(text) == expected
    assert deobfuscated(expected) == expected


LANGUAGES = {
    "Russian": "Привет, как дела? А я и ты: с ним, о ней, у вас. Рост цен, хор, сор, ВАЗ-2101, 5 км, м³",
    "Ukrainian": "Їжак і ґава; об'єкт, сьогодні вже 2024 рік",
    "Bulgarian": "Не е вярно, че всичко е наред.",
    "Serbian": "Љубав и мир, ђак, њива, џеп",
    "Greek": "Καλημέρα κόσμε, ο Ιησούς; η ώρα είναι 10, ΑΒΓ ΧΟΡΟΣ ΤΟ ΒΗΜΑ",
    "Armenian": "Բարեւ ձեզ, ինչպես եք",
    "Georgian": "გამარჯობა, როგორ ხართ",
    "Hindi": "नमस्ते, आप कैसे हैं? क्‍षमा १२३",
    "Bengali": "আপনি কেমন আছেন? ০১২",
    "Tamil": "வணக்கம், எப்படி இருக்கிறீர்கள்",
    "Arabic": "مرحبا، كيف حالك؟ ١٢٣ مدرسة",
    "Persian": "می‌خواهم به خانه بروم، ۱۲۳",
    "Hebrew": "שלום, מה שלומך?",
    "Chinese": "今天天气很好,我们去公园玩。一二三",
    "Japanese": "今日はいい天気ですね、ガラス、ｶﾞﾗｽ",
    "Korean": "오늘 날씨가 정말 좋네요 ㅋㅋ",
    "Thai": "วันนี้อากาศดีมาก น้ำ ๑๒๓",
    "Khmer": "សួស្តី អ្នកសុខសប្បាយទេ",
    "Burmese": "မင်္ဂလာပါ နေကောင်းလား",
    "Amharic": "ሰላም እንዴት ነህ",
    "Cherokee": "ᎣᏏᏲ ᏙᎯᏧ",
    "Turkish": "ılık ışık, İstanbul'da yağmur",
    "Vietnamese": "Tiếng Việt rất đẹp, Nguyễn Ái Quốc",
    "Polish": "Zażółć gęślą jaźń i w domu",
    "Emoji": "👨‍👩‍👧 ❤️ 🏴󠁧󠁢󠁥󠁮󠁧󠁿 1️⃣ 👍🏽",
}


@pytest.mark.parametrize("language", LANGUAGES)
def test_languages_are_normalised_and_no_more(language):
    text = LANGUAGES[language]
    (got,) = _core.tokenize([text], "words", False, deobfuscate=True)
    assert got in [ref.tokenize(unicodedata.normalize(form, text), "words", False) for form in ("NFC", "NFKC")]


def test_time_grows_as_the_text_does():
    """A second is a hundred times what these take; what is quadratic takes hours."""
    for piece in ("a.", "a ", "@", "a@", "$", "a$", "a*", "!a", "a1", "e\u0301", "\u0301", "аa", "a\u200d", "\u0336"):
        text = piece * 500_000
        before = time.perf_counter()
        assert len(deobfuscated(text)) <= len(text)
        assert time.perf_counter() - before < 10


@pytest.mark.skipif(not DATA.is_dir(), reason="the data sets are not beside this repository")
@pytest.mark.parametrize(("name", "most"), [("imdb", 0.002), ("agnews", 0.005), ("wikitoxic_balanced", 0.01)])
def test_real_texts_hardly_change(name, most):
    batch = pq.read_table(DATA / name / "train.parquet", columns=["text"])["text"][:2000].to_pylist()
    before, after = (Counter(chain(*_core.tokenize(batch, "words", True, deobfuscate=on))) for on in (False, True))
    assert (before - after).total() < most * before.total()
    assert [deobfuscated(text) for text in batch[:20]] == [deobfuscate(text) for text in batch[:20]]


PLAIN = "The film was not bad at all"
DISGUISED = "Tһе f i l m was n0t b.a.d at аll"


def test_a_classifier_reads_through_disguises(parts, tmp_path, capsys):
    config, tensors = parts(deobfuscate=True)
    assert (config["format_version"], config["text"]["deobfuscate"]) == (5, True)
    Classifier(config, tensors).save(tmp_path / "c")
    main(["inspect", str(tmp_path / "c")])
    assert "by the tokeniser words, lower-cased, composed to NFC, disguises undone\n" in capsys.readouterr().out
    for classifier in (Classifier(config, tensors), Classifier.load(tmp_path / "c")):
        plain, disguised = classifier.decision_function([PLAIN, DISGUISED])
        assert plain.tolist() == disguised.tolist()
        long = classifier.decision_function([" ".join([text] * 900) for text in (PLAIN, DISGUISED)])
        assert long[0].tolist() == long[1].tolist()
    config, tensors = parts()
    assert (config["format_version"], "deobfuscate" in config["text"]) == (4, False)
    plain, disguised = Classifier(config, tensors).decision_function([PLAIN, DISGUISED])
    assert plain.tolist() != disguised.tolist()


def test_a_vocabulary_counts_through_disguises(tmp_path):
    vocabulary = Vocabulary.count([[PLAIN, DISGUISED]], max_n=2, deobfuscate=True)
    assert vocabulary.counts.tolist() == [2] * len(vocabulary)
    vocabulary.save(tmp_path)
    again = Vocabulary.load(tmp_path)
    assert again.rules == vocabulary.rules
    assert again.rules.deobfuscate
    assert [bag.tolist() for bag in again.bags([DISGUISED])] == [bag.tolist() for bag in vocabulary.bags([PLAIN])]
    assert not Vocabulary.count([[PLAIN]]).rules.deobfuscate


@pytest.mark.parametrize("more", [{"tokenizer": "sklearn"}, {"normalize": False}])
def test_it_goes_with_nfc(more):
    with pytest.raises(SettingsError, match="--deobfuscate goes with texts in NFC"):
        Settings.of(train="train.csv", modes="scratch", deobfuscate=True, **more).check()
    with pytest.raises(ValueError, match="deobfuscate needs normalize"):
        _core.tokenize(["a"], **{"tokenizer": "words", "lowercase": True, "deobfuscate": True, **more})
