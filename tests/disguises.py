"""The slow twin of the core's rule ``deobfuscate``, written from docs/FORMAT.md, "Disguised words"."""

from __future__ import annotations

import re
import unicodedata
from functools import cache
from itertools import groupby
from pathlib import Path

from reference import decode, kind, within

UNSEEN = frozenset(
    map(chr, (0x034F, 0x115F, 0x1160, 0x17B4, 0x17B5, 0x180B, 0x180C, 0x180D, 0x180F, 0x200B, 0x3164, 0xFFA0))
)
CLUTTER = ((0x0334, 0x0338), (0x200C, 0x200D), (0x20D0, 0x20F0), (0xFE0E, 0xFE0F), (0xE0020, 0xE007F))
SUBSTITUTES = dict(zip("0134578@$!", "oieastbasi", strict=True))


@cache
def look_alikes() -> dict[str, str]:
    """Code point -> the Latin letter it looks like: the table of docs/FORMAT.md."""
    page = (Path(__file__).parents[1] / "docs" / "FORMAT.md").read_text(encoding="utf-8")
    table = {}
    for line in page.split("| looks like | code points |\n| --- | --- |\n")[1].split("\n\n")[0].splitlines():
        _, letter, codes, _ = line.split("|")
        for one in codes.split():
            first, last = (one.split("-") * 2)[:2]
            table |= dict.fromkeys(map(chr, range(int(first, 16), int(last, 16) + 1)), letter.strip(" `"))
    return table


def compatible(c: str) -> str:
    """What a code point stands for wherever it is."""
    name, normal = unicodedata.name(c, ""), unicodedata.normalize("NFKC", c)
    shaped = re.fullmatch("(LATIN LETTER SMALL|NEGATIVE (?:CIRCLED|SQUARED) LATIN) CAPITAL (?:LETTER )?([A-Z])", name)
    if shaped:
        return shaped[2].lower() if shaped[1] == "LATIN LETTER SMALL" else shaped[2]
    if c in "\u2120\u2122" or normal == unicodedata.normalize("NFC", c) or (" " in normal and len(normal) > 1):
        return c
    return normal if len(normal.encode()) <= len(c.encode()) else c


def is_letter(c: str) -> bool:
    return kind(c) == "word" and c != "_" and unicodedata.category(c) != "Nd"


def is_latin(c: str) -> bool:
    return is_letter(c) and (ord(c) < 0x250 or 0x1E00 <= ord(c) <= 0x1EFF)


def of_word(c: str) -> bool:
    return kind(c) in ("word", "mark") and c != "_"


def ascii_letter(c: str) -> bool:
    return c.isascii() and c.isalpha()


def ascii_word(c: str) -> bool:
    return c.isascii() and c.isalnum()


def latinized(s: str) -> str:
    """Look-alikes in words of Latin letters and look-alikes, one of which is an ASCII letter, are those letters."""
    out = ""
    for _, group in groupby(s, lambda c: kind(c) in ("word", "mark", "joiner") or within(c, CLUTTER)):
        word = "".join(group)
        letters = [c for c in word if is_letter(c)]
        if any(map(ascii_letter, letters)) and all(is_latin(c) or c in look_alikes() for c in letters):
            word = "".join(look_alikes().get(c, c) for c in word)
        out += word
    return out


def uncluttered(s: str) -> str:
    out, base = "", " "
    for c in s:
        if not (ascii_letter(base) and within(c, CLUTTER)):
            out += c
            base = base if kind(c) == "mark" else c
    clusters: list[str] = []
    for c in out:
        if clusters and kind(c) == "mark":
            clusters[-1] += c
        else:
            clusters.append(c)
    out = ""
    for cluster in clusters:
        whole = unicodedata.normalize("NFD", cluster[0]) + cluster[1:]
        piled = len(cluster) > 1 and is_latin(cluster[0]) and len(whole) > 3
        out += whole[0] if piled else cluster
    return out


def joined(s: str) -> str:
    """Single letters apart, three or more, are a word."""

    def alone(i: int) -> bool:
        around = s[max(i - 1, 0) : i] + s[i + 1 : i + 2]
        return s[i : i + 1] != "" and ascii_letter(s[i]) and not any(of_word(c) or c in "'\u2019" for c in around)

    out, i = "", 0
    while i < len(s):
        letters = [i]
        apart = s[i + 1 : i + 2]
        while alone(letters[-1]) and apart in (" ", ".", "-", "_"):
            one, two = letters[-1], letters[-1] + 2
            if s[one + 1 : two] != apart or not alone(two):
                break
            if apart == " " and ((s[one] == "I" and s[two].islower()) or (s[one].islower() and s[two].isupper())):
                break
            letters.append(two)
        if len(letters) < 3:
            letters = letters[:1]
        out += "".join(s[k] for k in letters)
        i = letters[-1] + 1
    return out


def word_end(s: str, begin: int) -> int:
    """Where the word ends that begins there, with the signs in it that may stand for letters; none: where it begins."""
    i = begin
    if re.match(r"\$[A-Za-z]{3}", s[i:]):
        i += 1
    elif not of_word(s[i]):
        return begin
    while i < len(s):
        before, rest = s[i - 1], s[i:]
        if of_word(s[i]):
            i += 1
        elif i == begin:
            break
        elif rest[0] == "*" and ascii_word(before) and ascii_word(rest[1:2] or " "):
            i += 1
        elif rest[0] == "@" and i - begin <= 2 and ascii_word(before) and re.match("@[A-Za-z0-9]", rest):
            if re.match(r"@[A-Za-z0-9-]*\.[A-Za-z0-9]", rest):
                break
            i += 1
        elif rest[0] == "!" and i - begin <= 2 and ascii_letter(before) and re.match("![A-Za-z]", rest):
            i += 1
        elif ascii_letter(before) and re.match(r"\$\$?[A-Za-z]", rest):
            i = s.index("$", i) + 1 + (rest[1] == "$")
        elif ascii_letter(before) and re.match(r"\$\$(?!\$)", rest) and not of_word(rest[2:3] or " "):
            i += 2
        else:
            break
    return i


def reads(word: str) -> bool:
    """Whether digits and signs in it stand for letters."""
    shape = ""
    for c in word:
        if is_latin(c):
            shape += "l"
        elif c in SUBSTITUTES:
            shape += "d" if c.isdigit() else "s"
        elif c != "*" and kind(c) != "mark":
            return False
    turns = len(list(groupby(c == "l" for c in shape))) - 1
    return "l" in shape and (turns >= 2 or shape.count("l") >= shape.count("d"))


def spelt(word: str) -> str:
    word = word.replace("*", "")
    out = ""
    for i, c in enumerate(word):
        if c == "1":
            after = word[i + 1 : i + 2]
            vowel = SUBSTITUTES.get(after, after).lower() in tuple("aeiou") and after != "1"
            if out == "":
                is_l = vowel or after == "1"
            elif out[-1] in "lL":
                is_l = vowel or after == ""
            else:
                is_l = out[-1].lower() in "aeiou"
            c = "l" if is_l else "i"
        out += SUBSTITUTES.get(c, c)
    return out


def shortened(word: str) -> str:
    out = ""
    for _, group in groupby(word, lambda c: (c.lower(), is_letter(c))):
        run = "".join(group)
        if len(run) >= 3 and is_letter(run[0]):
            run = run[:3] if len(run) == len(word) else run[0]
        out += run
    return out


def deobfuscate(text: str | bytes) -> str:
    """A text without the disguises of docs/FORMAT.md, "Disguised words"."""
    s = "".join(compatible(c) for c in decode(text) if kind(c) != "ignored" and c not in UNSEEN)
    s = joined(uncluttered(latinized(s)))
    out, i = "", 0
    while i < len(s):
        end = i if s[i] == "$" and i and of_word(s[i - 1]) else word_end(s, i)
        word = s[i:end] or s[i]
        out += shortened(spelt(word) if reads(word) else word) if end > i else word
        i += len(word)
    return out
