"""Words in disguise: the core's reading of them against its twin's, and what a reader expects of it."""

from __future__ import annotations

import pytest
import reference as ref
from disguises import deobfuscate, look_alikes
from hypothesis import given, settings
from hypothesis import strategies as st
from test_core_text import FEWER, texts

from sparsedistill import _core

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
