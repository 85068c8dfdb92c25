"""Write core/unicode_table.h: what the tokenisers know of each code point, for one Unicode version.

Run it with a Python whose ``unicodedata.unidata_version`` is the version named below (3.13):

    python3.13 tools/make_unicode.py

The table is committed because Python versions differ and the format must not.
"""

from __future__ import annotations

import sys
import unicodedata
from pathlib import Path

VERSION = "15.1.0"
SHIFT = 7  # code points a block: 128

CJK = [(0x3005, 0x3007), (0x3021, 0x3029), (0x3031, 0x3035), (0x3038, 0x303C), (0x3040, 0x30FF), (0x3100, 0x312F),
       (0x31A0, 0x31BF), (0x31F0, 0x31FF), (0x3400, 0x4DBF), (0x4E00, 0x9FFF), (0xF900, 0xFAFF), (0xFF66, 0xFF9F),
       (0x1AFF0, 0x1B16F), (0x20000, 0x3FFFF)]  # fmt: skip
EMOJI = [(0x231A, 0x231B), (0x23E9, 0x23FA), (0x25FD, 0x25FE), (0x2600, 0x27BF), (0x2B50, 0x2B50), (0x2B55, 0x2B55),
         (0x1F000, 0x1FAFF)]  # fmt: skip
SEPARATOR, CJK_CLASS, EMOJI_CLASS, WORD_CLASS, PUNCT_CLASS = range(5)
ZWJ = 0x200D


def within(code: int, ranges: list[tuple[int, int]]) -> bool:
    return any(low <= code <= high for low, high in ranges)


def words_class(code: int) -> int:
    char = chr(code)
    category = unicodedata.category(char)
    if char.isspace() or category in ("Cc", "Cs", "Cn", "Co") or (category == "Cf" and code != ZWJ):
        return SEPARATOR
    if within(code, CJK):
        return CJK_CLASS
    if within(code, EMOJI):
        return EMOJI_CLASS
    if char.isalnum() or char == "_" or category in ("Mn", "Mc", "Me"):
        return WORD_CLASS
    return PUNCT_CLASS


def case_context(char: str) -> tuple[bool, bool]:
    """(cased, case-ignorable), read off the final-sigma rule of ``str.lower``, the only place they matter."""
    followed = ("A\u03a3" + char).lower()[1] == "\u03c2"  # False: a cased letter follows the sigma
    skipped = followed and ("A\u03a3" + char + "a").lower()[1] == "\u03c3"  # the rule looked past it
    return not followed, skipped


def record(code: int) -> tuple[int, int]:
    """(flags, distance to the lower-case code point)."""
    char = chr(code)
    lower = char.lower()
    # U+0130 is the one code point whose lower case is two; the tokeniser handles it by name.
    delta = ord(lower) - code if len(lower) == 1 else 0
    assert len(lower) == 1 or code == 0x130, hex(code)
    cased, ignorable = case_context(char)
    kind = words_class(code)
    assert words_class(ord(lower[0])) == kind, hex(code)  # the tokeniser classifies before lower-casing
    flags = kind
    flags |= 8 * (char.isalnum() or char == "_")
    flags |= 16 * char.isalnum()
    flags |= 32 * char.isspace()
    flags |= 64 * cased
    flags |= 128 * ignorable
    return flags, delta


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
    records: dict[tuple[int, int], int] = {}
    blocks: dict[tuple[int, ...], int] = {}
    stage1 = []
    for start in range(0, 0x110000, 1 << SHIFT):
        block = tuple(records.setdefault(record(c), len(records)) for c in range(start, start + (1 << SHIFT)))
        stage1.append(blocks.setdefault(block, len(blocks)))
    assert len(records) < 256
    assert len(blocks) < 65536
    text = f"""// Written by tools/make_unicode.py from Unicode {VERSION}. Do not edit.
#pragma once
#include <cstdint>

namespace sparsedistill::unicode {{

inline constexpr char version[] = "{VERSION}";
inline constexpr unsigned block_shift = {SHIFT};

{array("block_of", "std::uint16_t", stage1)}
{array("record_of", "std::uint8_t", [r for block in blocks for r in block])}
{array("flags_of", "std::uint8_t", [flags for flags, _ in records])}
{array("lower_delta_of", "std::int32_t", [delta for _, delta in records])}
}}  // namespace sparsedistill::unicode
"""
    Path(__file__).parent.parent.joinpath("core", "unicode_table.h").write_text(text, encoding="ascii")


if __name__ == "__main__":
    main()
