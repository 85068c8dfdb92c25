"""Write core/unicode_table.h: what the tokenisers know of each code point, for one Unicode version.

Run it with a Python whose ``unicodedata.unidata_version`` is the version named below (3.13), and with a release of the
package regex that knows the Sentence_Break of that version (2024.7.24):

    python3.13 -m pip install regex==2024.7.24
    python3.13 tools/make_unicode.py

The table is committed because Python versions differ and the format must not.
"""

from __future__ import annotations

import sys
import unicodedata
from pathlib import Path

import regex

VERSION = "15.1.0"
SHIFT = 7  # code points a block: 128

CJK = [(0x3005, 0x3007), (0x3021, 0x3029), (0x3031, 0x3035), (0x3038, 0x303C), (0x3040, 0x30FF), (0x3100, 0x312F),
       (0x31A0, 0x31BF), (0x31F0, 0x31FF), (0x3400, 0x4DBF), (0x4E00, 0x9FFF), (0xF900, 0xFAFF), (0xFF66, 0xFF9F),
       (0xA000, 0xA48F), (0x17000, 0x18DFF), (0x1AFF0, 0x1B2FF), (0x20000, 0x3FFFF)]  # fmt: skip
# Blocks of scripts that put no space between words: Thai, Lao, Myanmar, Khmer, Tai Le and New Tai Lue, Buginese and Tai
# Tham, Balinese, Batak, Javanese and Myanmar Extended-B, Cham to Tai Viet, Ahom.
UNSPACED = [(0x0E00, 0x0EFF), (0x1000, 0x109F), (0x1780, 0x17FF), (0x1950, 0x19DF), (0x1A00, 0x1AAF), (0x1B00, 0x1B7F),
            (0x1BC0, 0x1BFF), (0xA980, 0xAADF), (0x11700, 0x1174F)]  # fmt: skip
EMOJI = [(0x231A, 0x231B), (0x23E9, 0x23FA), (0x25FD, 0x25FE), (0x2600, 0x27BF), (0x2B50, 0x2B50), (0x2B55, 0x2B55),
         (0x1F000, 0x1FAFF)]  # fmt: skip
# Invisible, no border of a word: soft hyphen, word joiner, byte order mark, marks of direction, selectors of a glyph.
IGNORED = [(0x00AD, 0x00AD), (0x061C, 0x061C), (0x180E, 0x180E), (0x200E, 0x200F), (0x202A, 0x202E), (0x2060, 0x2064),
           (0x2066, 0x206F), (0xFE00, 0xFE0D), (0xFEFF, 0xFEFF), (0xE0100, 0xE01EF)]  # fmt: skip
JOINERS = [(0x200C, 0x200D)]
# Fingerprints: punctuation that carries meaning, # % & * / @ \ _ and its like; and what carries none elsewhere:
# ` and other apostrophes, the minus (a hyphen), tatweel, invisible letters and marks, selectors of a glyph.
MEANT = {ord(c) for c in "#%&*/@\\_§¶†‡‰‱※؉؊٪"
         "﹟﹠﹡﹨﹪﹫＃％＆＊／＠＼＿"} | {*range(0xE0020, 0xE0080)}  # fmt: skip
UNMEANT = {ord(c) for c in "`´ʻʼ−ـ͏ᅟᅠ឴឵ㅤﾠ"}
UNMEANT |= {*range(0x180B, 0x1810), *range(0xFE00, 0xFE10), *range(0xE0100, 0xE01F0)}
# Of the property Sentence_Break, in the order of core/unicode.h.
SENTENCE_BREAK = ("Other", "CR", "LF", "Sep", "Extend", "Format", "Sp", "Lower", "Upper", "OLetter", "Numeric", "ATerm",
                  "SContinue", "STerm", "Close")  # fmt: skip
SENTENCE_BREAKS = [regex.compile(rf"\p{{Sentence_Break={name}}}") for name in SENTENCE_BREAK]
SEPARATOR, CHARACTER, EMOJI_CLASS, WORD, PUNCT, MARK, JOINER, IGNORED_CLASS = range(8)
# Hangul is composed by arithmetic: its vowels and final consonants, which follow what they compose with.
HANGUL_LATER = [(0x1161, 0x1175), (0x11A8, 0x11C2)]
HANGUL_SYLLABLES = [(0xAC00, 0xD7A3)]


def within(code: int, ranges: list[tuple[int, int]]) -> bool:
    return any(low <= code <= high for low, high in ranges)


def words_class(code: int) -> int:
    char = chr(code)
    category = unicodedata.category(char)
    if within(code, JOINERS):
        return JOINER
    if within(code, IGNORED):
        return IGNORED_CLASS
    if char.isspace() or category in ("Cc", "Cf", "Cs", "Cn", "Co"):
        return SEPARATOR
    if category in ("Mn", "Mc", "Me"):
        return MARK
    if within(code, CJK) or (category[0] == "L" and within(code, UNSPACED)):
        return CHARACTER
    if within(code, EMOJI):
        return EMOJI_CLASS
    if char.isalnum() or char == "_":
        return WORD
    return PUNCT


def canonical(code: int) -> list[int]:
    """The canonical decomposition, one step of it; none: []."""
    parts = unicodedata.decomposition(chr(code))
    return [] if not parts or parts[0] == "<" else [int(part, 16) for part in parts.split()]


def nfc(char: str) -> str:
    return unicodedata.normalize("NFC", char)


POINTS = [code for code in range(0x110000) if not 0xD800 <= code < 0xE000]
# Pairs that compose: those of the composites that composition does not exclude.
PAIRS = {tuple(canonical(c)): c for c in POINTS if len(canonical(c)) == 2 and nfc(chr(c)) == chr(c)}
LATER = {second for _, second in PAIRS}


def folded(char: str) -> str:
    """Full case folding, but in lower case (Cherokee folds to capitals), and U+0345 stays a mark."""
    return char.lower() if "\u0345" in unicodedata.normalize("NFD", char) else char.casefold().lower()


def counts(code: int) -> bool:
    """Whether texts that differ in this code point are different texts."""
    category = unicodedata.category(chr(code))
    return code in MEANT or (code not in UNMEANT and (category[0] in "LMNS" or category in ("Cn", "Co")))


def needs_attention(code: int) -> bool:
    """Whether a text with it may not be in NFC: its combining class is not 0, or NFC_Quick_Check is not Yes."""
    if 0xD800 <= code < 0xE000:
        return False
    char = chr(code)
    return unicodedata.combining(char) > 0 or nfc(char) != char or code in LATER or within(code, HANGUL_LATER)


def sentence_break(char: str) -> int:
    """Number of its Sentence_Break; Other for a surrogate."""
    return next((i for i, pattern in enumerate(SENTENCE_BREAKS) if pattern.match(char)), 0)


def case_context(char: str) -> tuple[bool, bool]:
    """(cased, case-ignorable), read off the final-sigma rule of ``str.lower``, the only place they matter."""
    followed = ("A\u03a3" + char).lower()[1] == "\u03c2"  # False: a cased letter follows the sigma
    skipped = followed and ("A\u03a3" + char + "a").lower()[1] == "\u03c3"  # the rule looked past it
    return not followed, skipped


def record(code: int) -> tuple[int, int, int]:
    """(flags, distance to the lower-case code point, canonical combining class)."""
    char = chr(code)
    lower = char.lower()
    # U+0130 is the one code point whose lower case is two; the tokeniser handles it by name.
    delta = ord(lower) - code if len(lower) == 1 else 0
    assert len(lower) == 1 or code == 0x130, hex(code)
    cased, ignorable = case_context(char)
    kind = words_class(code)
    assert words_class(ord(lower[0])) == kind, hex(code)  # the tokeniser classifies before lower-casing
    attention = needs_attention(code)
    if 0xD800 <= code < 0xE000:
        assert kind == SEPARATOR
    else:
        assert words_class(ord(nfc(char)[0])) == kind, hex(code)  # and looks ahead before composing
        # What is lower-cased as it is written needs no other attention than before.
        assert needs_attention(ord(lower[0])) == attention or attention, hex(code)
    flags = kind
    flags |= 8 * (char.isalnum() or char == "_")
    flags |= 16 * char.isspace()
    flags |= 32 * cased
    flags |= 64 * ignorable
    flags |= 128 * attention
    flags |= 256 * counts(code)
    flags |= 2048 * (attention and (nfc(char) != char or code in LATER or within(code, HANGUL_LATER)))
    flags |= 512 * (unicodedata.category(char) == "Nd")
    flags |= 1024 * (folded(char) != lower or len(lower) > 1)
    flags |= 4096 * sentence_break(char)
    return flags, delta, unicodedata.combining(char)


def array(name: str, ctype: str, values: list[int]) -> str:
    lines, line = [], "   "
    for value in values:
        item = f" {value},"
        if len(line) + len(item) > 120:
            lines.append(line)
            line = "   "
        line += item
    return f"inline constexpr {ctype} {name}[{len(values)}] = {{\n" + "\n".join([*lines, line]) + "\n};\n"


def main() -> None:
    if unicodedata.unidata_version != VERSION:
        sys.exit(f"this Python has Unicode {unicodedata.unidata_version}; the table is of {VERSION}")
    if not regex.match(r"\p{Sentence_Break=OLetter}\P{Sentence_Break=Lower}", "\U0002ebf0\ua7dc"):
        sys.exit(f"regex {regex.__version__} has another Unicode; the table is of {VERSION}")  # first in 15.1, in 16.0
    records: dict[tuple[int, int, int], int] = {}
    blocks: dict[tuple[int, ...], int] = {}
    stage1 = []
    for start in range(0, 0x110000, 1 << SHIFT):
        block = tuple(records.setdefault(record(c), len(records)) for c in range(start, start + (1 << SHIFT)))
        stage1.append(blocks.setdefault(block, len(blocks)))
    assert len(records) < 256
    assert len(blocks) < 65536
    whole = [c for c in POINTS if canonical(c) and not within(c, HANGUL_SYLLABLES)]
    parts = [[ord(p) for p in unicodedata.normalize("NFD", chr(c))] for c in whole]
    assert max(map(len, parts)) == 4
    begins = [sum(map(len, parts[:i])) for i in range(len(parts) + 1)]
    folds = [c for c in POINTS if record(c)[0] & 1024]
    for c in POINTS:  # texts that are canonically equal are so when folded, and what is folded stays so
        decomposed = unicodedata.normalize("NFD", chr(c))
        assert nfc("".join(map(folded, decomposed))) == nfc(folded(chr(c))), hex(c)
        assert nfc(folded(chr(c))).lower() == nfc(folded(chr(c))), hex(c)
        assert len(nfc(folded(chr(c))).encode()) <= 3 * len(chr(c).encode()), hex(c)
    assert max(len(folded(chr(c))) for c in folds) == 3
    assert not any(needs_attention(ord(folded(chr(c))[0])) for c in folds)  # the reader counts on it
    pairs = sorted((pair, c) for pair, c in PAIRS.items())
    text = f"""// Written by tools/make_unicode.py from Unicode {VERSION}. Do not edit.
#pragma once
#include <cstdint>

namespace sparsedistill::unicode {{

inline constexpr char version[] = "{VERSION}";
inline constexpr unsigned block_shift = {SHIFT};

{array("block_of", "std::uint16_t", stage1)}
{array("record_of", "std::uint8_t", [r for block in blocks for r in block])}
{array("flags_of", "std::uint16_t", [flags for flags, _, _ in records])}
{array("lower_delta_of", "std::int32_t", [delta for _, delta, _ in records])}
{array("combining_class_of", "std::uint8_t", [combining for _, _, combining in records])}
// Code points with a canonical decomposition, ascending; where the whole of it begins in `parts`. Without Hangul.
{array("whole", "std::uint32_t", whole)}
{array("parts_begin", "std::uint16_t", begins)}
{array("parts", "std::uint32_t", [p for each in parts for p in each])}
// Code points whose case folding is not one code point, their lower case; three each, 0 where fewer.
{array("folds", "std::uint32_t", folds)}
{array("folded", "std::uint32_t", [p for c in folds for p in [*map(ord, folded(chr(c))), 0, 0][:3]])}
// Pairs that compose, first << 32 | second, ascending; and to what.
{array("pairs", "std::uint64_t", [first << 32 | second for (first, second), _ in pairs])}
{array("composites", "std::uint32_t", [c for _, c in pairs])}
}}  // namespace sparsedistill::unicode
"""
    Path(__file__).parent.parent.joinpath("core", "unicode_table.h").write_text(text, encoding="ascii")


if __name__ == "__main__":
    main()
