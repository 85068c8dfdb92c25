"""Write core/lookalikes_table.h, what the rule ``deobfuscate`` replaces code points by, and FORMAT.md's look-alikes.

Run it with the Python of tools/make_unicode.py, and with what ``pip install confusable-homoglyphs==3.3.1`` unpacks: the
package has Unicode's security/confusables.txt of version 15.1.0 (UTS #39), without right-to-left scripts.

    python3.13 tools/make_lookalikes.py
"""

from __future__ import annotations

import json
import re
import sys
import unicodedata
from importlib.metadata import version
from importlib.resources import files
from pathlib import Path

from make_unicode import POINTS, VERSION, WORD, array, nfc, words_class

SOURCE = "3.3.1"
ROOT = Path(__file__).parent.parent


def compatible() -> dict[int, str]:
    """Code points that stand for others wherever they are: small capitals; white letters on black; and those that NFKC
    replaces and NFC does not, but what has a space inside (such as spacing marks), the signs of trade marks, and what
    would be longer: a text never has more tokens than bytes, which the core counts on."""
    table = {}
    for code in POINTS:
        char, name = chr(code), unicodedata.name(chr(code), "")
        normal = unicodedata.normalize("NFKC", char)
        if re.fullmatch("LATIN LETTER SMALL CAPITAL [A-Z]", name):
            table[code] = name[-1].lower()
        elif re.fullmatch("NEGATIVE (CIRCLED|SQUARED) LATIN CAPITAL LETTER [A-Z]", name):
            table[code] = name[-1]
        elif (
            normal not in (nfc(char), "SM", "TM")
            and (len(normal) == 1 or " " not in normal)
            and len(normal.encode()) <= len(char.encode())
        ):
            table[code] = normal
    return table


def without_marks(text: str) -> str:
    return "".join(c for c in unicodedata.normalize("NFD", text) if not unicodedata.combining(c))


def look_alikes() -> dict[int, str]:
    """Letters and digits that look like one Latin letter, from U+0180 on: below are those that languages are written
    with. Marks count for nothing in letters that are not Latin; capitals and small letters go together."""
    pairs = json.loads(files("confusable_homoglyphs").joinpath("confusables.json").read_text(encoding="utf-8"))
    table: dict[int, str] = {}

    def may(char: str) -> bool:
        return (
            len(char) == 1
            and ord(char) >= 0x180
            and words_class(ord(char)) == WORD
            and (unicodedata.category(char)[0] == "L" or unicodedata.category(char) == "Nd")
            and unicodedata.bidirectional(char) not in ("R", "AL", "AN")
            and ord(char) not in COMPATIBLE
        )

    for char in filter(may, sorted(pairs)):
        latin = "LATIN" in unicodedata.name(char)
        like = ["m" if pair["c"] == "rn" else pair["c"] if latin else without_marks(pair["c"]) for pair in pairs[char]]
        letters = [one for one in like if len(one) == 1 and one.isascii() and one.isalpha()]
        if letters:  # the table has l for every stroke
            table[ord(char)] = "I" if letters[0] == "l" and unicodedata.category(char) == "Lu" else letters[0]
    for code, letter in list(table.items()):
        small = chr(code).lower()
        if may(small) and small != "\u03bc":  # of micrometres
            table.setdefault(ord(small), letter.lower())
    table[0x493] = "f"  # the small capital that is missing above, to those who write with small capitals
    return dict(sorted(table.items()))


COMPATIBLE = compatible()


def listed(table: dict[int, str]) -> str:
    """The look-alikes for FORMAT.md: a line a letter, code points and ranges of them in hexadecimal."""
    lines = []
    for letter in sorted(set(table.values())):
        ranges: list[list[int]] = []
        for code in (code for code, like in table.items() if like == letter):
            if ranges and ranges[-1][1] == code - 1:
                ranges[-1][1] = code
            else:
                ranges.append([code, code])
        lines.append(f"| `{letter}` | {' '.join('-'.join(f'{c:04X}' for c in sorted({*r})) for r in ranges)} |")
    return "\n".join(lines) + "\n"


def main() -> None:
    if unicodedata.unidata_version != VERSION or version("confusable-homoglyphs") != SOURCE:
        sys.exit(f"this needs a Python with Unicode {VERSION}, and confusable-homoglyphs {SOURCE}")
    alike = look_alikes()
    codes, parts = list(COMPATIBLE), [ord(c) for text in COMPATIBLE.values() for c in text]
    sizes = [len(text) for text in COMPATIBLE.values()]
    assert max(sizes) < 8
    steps = [8 * (code - before) + size for code, before, size in zip(codes, [0, *codes], sizes, strict=False)]
    moves = [part - before for part, before in zip(parts, [0, *parts], strict=False)]
    letters = "".join(alike.values())
    text = f"""// Written by tools/make_lookalikes.py from Unicode {VERSION}. Do not edit.
#pragma once
#include <cstddef>
#include <cstdint>

namespace sparsedistill::unicode {{

// Code points that stand for others wherever they are, ascending: 8 times the distance from the one before, and how
// many it becomes; and what they become, one after the other: the distance from the one before.
inline constexpr std::size_t compatible_count = {len(codes)}, compatible_parts_count = {len(parts)};
{array("compatible_steps", "std::uint32_t", steps)}
{array("compatible_moves", "std::int32_t", moves)}
// Those that look like a Latin letter, ascending, and the letters.
{array("lookalikes", "std::uint32_t", list(alike))}
inline constexpr char lookalike_letters[] =
{chr(10).join(f'    "{letters[i : i + 100]}"' for i in range(0, len(letters), 100))};

}}  // namespace sparsedistill::unicode
"""
    ROOT.joinpath("core", "lookalikes_table.h").write_text(text, encoding="ascii")
    page = ROOT / "docs" / "FORMAT.md"
    before, rest = page.read_text(encoding="utf-8").split("| looks like | code points |\n| --- | --- |\n")
    after = rest[rest.index("\n\n") + 1 :]
    table = "| looks like | code points |\n| --- | --- |\n" + listed(alike)
    page.write_text(before + table + after, encoding="utf-8")


if __name__ == "__main__":
    main()
