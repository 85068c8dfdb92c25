"""Slow, obvious reference implementations of the C++ core in Python: what every kernel must agree with.

Written from the definitions, not from the core, so that the two check each other. Nothing here is meant to be fast.

Unicode: the core has the properties of Unicode 15.1.0 (Python 3.13) built in, the twins use those of the running
Python. They can only be compared on code points both know: see ``known`` and the strategy ``texts`` at the end.
"""

from __future__ import annotations

import math
import re
import sys
import unicodedata
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from functools import cache
from types import MappingProxyType

import numpy as np
from hypothesis import strategies as st

MASK = (1 << 64) - 1
K0 = 0x9E3779B97F4A7C15
K1 = 0xD1B54A32D192ED03
K2 = 0x8CB92BA72F3D8DD7
K3 = 0xABC98388FB8FAC03

ZWJ, ZWNJ = 0x200D, 0x200C
APOSTROPHES = (0x0027, 0x2019)
# fmt: off
CJK = (
    (0x3005, 0x3007), (0x3021, 0x3029), (0x3031, 0x3035), (0x3038, 0x303C), (0x3040, 0x30FF), (0x3100, 0x312F),
    (0x31A0, 0x31BF), (0x31F0, 0x31FF), (0x3400, 0x4DBF), (0x4E00, 0x9FFF), (0xF900, 0xFAFF), (0xFF66, 0xFF9F),
    (0xA000, 0xA48F), (0x17000, 0x18DFF), (0x1AFF0, 0x1B2FF), (0x20000, 0x3FFFF),
)
# Blocks of scripts without spaces between words, whose letters are tokens.
UNSPACED = (
    (0x0E00, 0x0EFF), (0x1000, 0x109F), (0x1780, 0x17FF), (0x1950, 0x19DF), (0x1A00, 0x1AAF), (0x1B00, 0x1B7F),
    (0x1BC0, 0x1BFF), (0xA980, 0xAADF), (0x11700, 0x1174F),
)
IGNORED = (
    (0x00AD, 0x00AD), (0x061C, 0x061C), (0x180E, 0x180E), (0x200E, 0x200F), (0x202A, 0x202E), (0x2060, 0x2064),
    (0x2066, 0x206F), (0xFE00, 0xFE0D), (0xFEFF, 0xFEFF), (0xE0100, 0xE01EF),
)
EMOJI = (
    (0x231A, 0x231B), (0x23E9, 0x23FA), (0x25FD, 0x25FE), (0x2600, 0x27BF), (0x2B50, 0x2B50), (0x2B55, 0x2B55),
    (0x1F000, 0x1FAFF),
)
# fmt: on
MODIFIERS = (0xFE0F, 0xFE0E, 0x20E3, 0x1F3FB, 0x1F3FC, 0x1F3FD, 0x1F3FE, 0x1F3FF, *range(0xE0020, 0xE0080))


# Text


def raw(text: str | bytes) -> bytes:
    """The bytes the core sees."""
    return text.encode("utf-8", "surrogatepass") if isinstance(text, str) else text


def decode(text: str | bytes) -> str:
    """The code points the core sees: every invalid piece of UTF-8, lone surrogates too, becomes U+FFFD."""
    return raw(text).decode("utf-8", "replace")


def is_word(c: str) -> bool:
    return c.isalnum() or c == "_"


def within(c: str, ranges: Sequence[tuple[int, int]]) -> bool:
    return any(low <= ord(c) <= high for low, high in ranges)


def kind(c: str) -> str:
    """What a code point is to the ``words`` tokeniser; the first that fits."""
    category = unicodedata.category(c)
    if within(c, IGNORED):
        return "ignored"
    if ord(c) in (ZWJ, ZWNJ):
        return "joiner"
    if c.isspace() or category in ("Cc", "Cf", "Cs", "Cn", "Co"):
        return "space"
    if category in ("Mn", "Mc", "Me"):
        return "mark"
    if within(c, CJK) or (category.startswith("L") and within(c, UNSPACED)):
        return "char"
    if within(c, EMOJI):
        return "emoji"
    if is_word(c):
        return "word"
    return "punct"


@cache
def composing() -> frozenset[str]:
    """The code points that compose with one before them: the last of a decomposition that composes again."""
    wholes = (c for c in map(chr, range(sys.maxunicode + 1)) if unicodedata.normalize("NFD", c) != c)
    return frozenset(unicodedata.normalize("NFD", c)[-1] for c in wholes if unicodedata.normalize("NFC", c) == c)


def needs_attention(c: str) -> bool:
    """Whether the code point may not be in NFC, or may compose with one before it."""
    return unicodedata.combining(c) != 0 or unicodedata.normalize("NFC", c) != c or c in composing()


def nfc(s: str, most: int = 256) -> str:
    """Canonical composition by segments: a code point (no ASCII white space) and what needs attention after it."""
    segments: list[str] = []
    for c in s:
        space = bool(segments) and segments[-1].isascii() and segments[-1].isspace()
        if segments and needs_attention(c) and len(segments[-1]) < most and not space:
            segments[-1] += c
        else:
            segments.append(c)
    return "".join(unicodedata.normalize("NFC", segment) for segment in segments)


def prepared(text: str | bytes, tokenizer: str = "words", lowercase: bool = True, normalize: bool = True) -> str:
    """The text that is cut into tokens."""
    s = decode(text)
    if tokenizer == "words":
        s = "".join(c for c in s if kind(c) != "ignored")
    if lowercase:
        s = s.lower()
    return nfc(s) if normalize and tokenizer != "sklearn" else s


def tokenize(text: str | bytes, tokenizer: str = "words", lowercase: bool = True, normalize: bool = True) -> list[str]:
    """Tokens of a text, in order."""
    s = prepared(text, tokenizer, lowercase, normalize)
    return {"sklearn": sklearn_tokens, "whitespace": str.split, "words": words_tokens}[tokenizer](s)


def sklearn_tokens(s: str) -> list[str]:
    """What ``re.findall(r"(?u)\\b\\w\\w+\\b", s)`` finds, spelled out: runs of two or more word characters."""
    runs = "".join(c if is_word(c) else " " for c in s).split(" ")
    return [run for run in runs if len(run) >= 2]


def words_tokens(s: str) -> list[str]:
    tokens = []
    i = 0
    while i < len(s):
        k = kind(s[i])
        if k == "space":
            i += 1
            continue
        if k == "joiner":  # one inside a word never gets here: word_end has taken it
            i += 1
            continue
        if k == "char":
            end = marks_end(s, i + 1)
            token = s[i:end]
        elif k == "emoji":
            end = emoji_end(s, i)
            token = s[i:end]
        elif k in ("word", "mark"):
            end = word_end(s, i)
            # Marks and letters stay as they are: only a typographic apostrophe is rewritten inside a word.
            token = s[i:end].replace("\u2019", "'")
        else:
            # An apostrophe inside a word never gets here: word_end has taken it.
            end = i + 1
            while end < len(s) and kind(s[end]) == "punct":
                end += 1
            token = s[i:end]
        tokens.append(token)
        i = end
    return tokens


def emoji_end(s: str, start: int) -> int:
    """End of the emoji at ``start`` with its modifiers and whatever is joined to it."""
    end = start + 1
    while end < len(s):
        if ord(s[end]) in MODIFIERS:
            end += 1
        elif ord(s[end]) == ZWJ and end + 1 < len(s) and kind(s[end + 1]) == "emoji":
            end += 2
        else:
            break
    return end


def joined(s: str, at: int, kinds: Sequence[str]) -> int:
    """Where the code point of one of ``kinds`` stands that is next at ``at``, past any joiners; -1: another is."""
    while at < len(s) and kind(s[at]) == "joiner":
        at += 1
    return at if at < len(s) and kind(s[at]) in kinds else -1


def marks_end(s: str, end: int) -> int:
    """End of the marks at ``end``."""
    while (at := joined(s, end, ("mark",))) >= 0:
        end = at + 1
    return end


def word_end(s: str, start: int) -> int:
    """End of the word at ``start``; an apostrophe between two of its characters is part of it, and so are joiners."""
    end = start + 1
    while end < len(s):
        if (at := joined(s, end, ("word", "mark"))) >= 0:
            end = at + 1
        elif ord(s[end]) in APOSTROPHES and end + 1 < len(s) and kind(s[end + 1]) in ("word", "mark"):
            end += 2
        else:
            break
    return end


BLOCK = 8192  # tokens of a text whose n-grams come before those of the next


def ngrams(tokens: Sequence[str], max_n: int, block: int = BLOCK) -> list[str]:
    """All n-grams in bag order: of each block of tokens the unigrams from left to right, then the bigrams, ..."""
    return [
        " ".join(tokens[i : i + n])
        for begin in range(0, len(tokens), block)
        for n in range(1, max_n + 1)
        for i in range(begin, min(begin + block, len(tokens) - n + 1))
    ]


MARKED = 64  # code points of a marked word


def character_ngrams(token: str, least: int = 3, most: int = 6) -> list[str]:
    """Those of a token, the shorter ones first: runs of its code points and a blank on each side, behind one more."""
    whole = f" {token} "
    marked = whole[:MARKED]
    runs = [marked[i : i + n] for n in range(least, most + 1) for i in range(len(marked) - n + 1)]
    return [f" {run}" for run in runs if run != whole]


# Hash


def mum(a: int, b: int) -> int:
    product = a * b
    return (product & MASK) ^ (product >> 64)


def rotl(x: int, bits: int) -> int:
    return ((x << bits) | (x >> (64 - bits))) & MASK


def little(b: bytes) -> int:
    """Little-endian integer of up to 8 bytes; missing ones count as zero."""
    return int.from_bytes(b, "little")


def token_hash(t: bytes, seed: int = 0) -> int:
    s = mum(seed ^ K0, K1)
    r = mum(s ^ K2, K3)
    rest = t
    while len(rest) > 16:
        s = mum(little(rest[:8]) ^ s, little(rest[8:16]) ^ r)
        rest = rest[16:]
    h = mum(little(rest[:8]) ^ s, little(rest[8:16]) ^ r)
    return mum(h ^ K0, K3 ^ len(t))


def extend(prefix: int, token: int) -> int:
    """Hash of an n-gram from those of its first n-1 tokens and of its last token."""
    return mum(prefix ^ K1, rotl(token, 32) ^ K2)


def ngram_hash(ngram: str, seed: int = 0) -> int:
    """Hash of an n-gram written with single spaces (no tokeniser leaves a space inside a token).

    One of characters, which begins with a space, is the n-gram of no token and a token a code point.
    """
    tokens = ["", *ngram[1:]] if ngram.startswith(" ") else ngram.split(" ")
    first, *others = [token_hash(token.encode("utf-8"), seed) for token in tokens]
    h = first
    for other in others:
        h = extend(h, other)
    return h


HYPHENS = "-\u2010\u2011\u2012\u2013\u2014\u2015\u2212\ufe58\ufe63\uff0d"
# Punctuation that carries meaning, and what carries none though it is no punctuation.
MEANT = (
    "#%&*/@\\_\u00a7\u00b6\u2020\u2021\u2030\u2031\u203b\u0609\u060a\u066a\ufe5f\ufe60\ufe61\ufe68\ufe6a\ufe6b"
    "\uff03\uff05\uff06\uff0a\uff0f\uff20\uff3c\uff3f"
)
UNMEANT = "`\u00b4\u02bb\u02bc\u2212\u0640\u034f\u115f\u1160\u17b4\u17b5\u3164\uffa0\u180b\u180c\u180d\u180f"


def fold(c: str) -> str:
    """Full case folding of a code point, in lower case; U+0345 stays a mark."""
    return c.lower() if "\u0345" in unicodedata.normalize("NFD", c) else c.casefold().lower()


def counts(c: str) -> bool:
    """Whether a code point tells texts apart wherever it stands."""
    if c in MEANT or 0xE0020 <= ord(c) <= 0xE007F:
        return True
    category = unicodedata.category(c)
    if c in UNMEANT or c in "\ufe0e\ufe0f":
        return False
    return category[0] in "LMNS" or category in ("Cn", "Co")


def comparable(text: str, everything: bool = False) -> str:
    """What tells a text (or a half of a pair) from others; ``everything``: all but white space."""
    s = nfc("".join(fold(c) for c in text if kind(c) != "ignored"))
    kept = ""
    for i in range(len(s)):
        c = s[i]
        before, behind = s[:i][-1:], s[i + 1 :][:1]
        digits = (unicodedata.category(before or " ") == "Nd", unicodedata.category(behind or " ") == "Nd")
        counted = bool(before) and counts(before)
        eyes = s[i - 2 : i - 1] if before and before in "-'" else before
        if counts(c):
            keep = (before, c) != ("i", "\u0307")
        elif kind(c) == "joiner":
            keep = ord(c) == ZWJ and behind != "" and kind(behind) == "emoji"
        elif c in HYPHENS:
            keep = everything or (digits[1] and (digits[0] or not (counted or (before and before in HYPHENS))))
        elif kind(c) == "punct":
            keep = (
                everything
                or all(digits)
                or (c == "." and behind != "" and is_word(behind) and not counted and before != ".")
                or (c in "()[]{}" and eyes != "" and eyes in ":;=")
            )
        else:
            keep = everything and kind(c) not in ("space", "ignored")
        if keep:
            kept += "-" if c in HYPHENS else c
    return kept


def fingerprint(text: str | bytes) -> int:
    """The same for texts that differ in case, white space and punctuation that carries nothing only."""
    parts = [comparable(part) or comparable(part, everything=True) for part in decode(text).split("\x1f")]
    return siphash("\x1f".join(parts).encode("utf-8"), K0, K1)


def siphash(message: bytes, key0: int, key1: int) -> int:
    """SipHash-2-4 as its authors write it down (Aumasson, Bernstein 2012)."""
    v = [key0 ^ 0x736F6D6570736575, key1 ^ 0x646F72616E646F6D, key0 ^ 0x6C7967656E657261, key1 ^ 0x7465646279746573]

    def rounds(count: int) -> None:
        for _ in range(count):
            for a, b, left, turned in ((0, 1, 13, True), (2, 3, 16, False), (0, 3, 21, False), (2, 1, 17, True)):
                v[a] = (v[a] + v[b]) & MASK
                v[b] = rotl(v[b], left) ^ v[a]
                if turned:
                    v[a] = rotl(v[a], 32)

    padded = message + bytes(-(len(message) + 1) % 8) + bytes([len(message) & 255])
    for i in range(0, len(padded), 8):
        v[3] ^= little(padded[i : i + 8])
        rounds(2)
        v[0] ^= little(padded[i : i + 8])
    v[2] ^= 0xFF
    rounds(4)
    return v[0] ^ v[1] ^ v[2] ^ v[3]


# Frozen with the format: a change here is a new format version.
GOLDEN = {
    ("a", 0): 0xEAF5E651F7B0B1A1,
    ("a", 1): 0x9BC0326F05B3D883,
    ("the", 0): 0x880AA98CB4F34E8E,
    ("not bad", 0): 0xEEDDE87819A4B4A6,
    ("not bad at all", 0): 0xE98619D7093DB3ED,
    ("not bad at all", 0x0123456789ABCDEF): 0xB73C0B26B3210FAB,
    ("don't", 0): 0x13F0AF93B5A824DA,
    ("caf\xe9", 0): 0x2902392D40626D7E,
    ("\u6f22", 0): 0x4ECCE3B09DA28777,
    ("\U0001f600", 0): 0xE84F1FB8F916CAC0,
    ("0123456789abcdef", 0): 0xE59B171D480A0176,
    ("0123456789abcdefg", 0): 0x0DA34058E105B02B,
    ("0123456789abcdef0123456789abcdef", 0): 0x7A436E5D92EA9F27,
    ("0123456789abcdef0123456789abcdef0", 0): 0x11B2D3AF3B6E76C9,
    ("a b c d e f g h", 0xFFFFFFFFFFFFFFFF): 0xEA353AB22271AB88,
    ("  ca", 0): 0x019B32988E6DB288,
    (" f\xe9 ", 0x0123456789ABCDEF): 0x869A758C5383AB6D,
}


# Lookup


MOST_VISITED = 64  # lines of the table, by one lookup


def slots_of(columns: int) -> int:
    """Slots in a line of 64 bytes: a tag of four each, and a row id of four or ``columns`` values of two."""
    return 64 // (4 + (2 * columns or 4))


def tag_and_home(h: int, lines: int) -> tuple[int, int]:
    return h >> 32 or 1, (h & 0xFFFFFFFF) * lines >> 32


def place(slots: np.ndarray, h: int, columns: int = 0) -> tuple[int, int] | None:
    """Line and slot of the n-gram with hash ``h``, or None. ``slots``: uint32 (lines, 16)."""
    n = slots_of(columns)
    tag, line = tag_and_home(h, len(slots))
    for _ in range(min(len(slots), MOST_VISITED)):
        tags = slots[line, 16 - n :].tolist()
        if tag in tags:
            return line, tags.index(tag)
        if 0 in tags:
            return None
        line = (line + 1) % len(slots)
    raise IndexError("no empty slot")


def lookup(slots: np.ndarray, h: int, columns: int = 0) -> int | None:
    """Row of the n-gram with hash ``h``, or None. With values in the slots: the number of its slot."""
    found = place(slots, h, columns)
    if found is None:
        return None
    line, slot = found
    return line * slots_of(columns) + slot if columns else int(slots[line, slot])


def slot_values(slots: np.ndarray, number: int, columns: int) -> list[int]:
    """The values in a slot, by its number."""
    line, slot = divmod(number, slots_of(columns))
    return np.frombuffer(slots[line].tobytes(), np.int16)[slot * columns : (slot + 1) * columns].tolist()


def build_slots(ngrams: Sequence[str], seed: int = 0, values: np.ndarray | None = None) -> tuple[np.ndarray, int]:
    """Lookup table of a vocabulary, uint32 (lines, 16), and the seed used: the first without a collision
    or an n-gram too far from its home.

    Errors: ValueError for an n-gram given twice, which would collide under every seed.
    """
    if len(set(ngrams)) != len(ngrams):
        raise ValueError("an n-gram is in the vocabulary twice")
    columns = 0 if values is None else values.shape[1]
    n = slots_of(columns)
    lines = max(2, -(-2 * len(ngrams) // n))
    while True:
        slots = np.zeros((lines, 16), np.uint32)
        for row, ngram in enumerate(ngrams):
            h = ngram_hash(ngram, seed)
            try:
                if place(slots, h, columns) is not None:
                    break
            except IndexError:  # too far from its home
                break
            tag, line = tag_and_home(h, lines)
            while slots[line, 16 - n :].all():
                line = (line + 1) % lines
            slot = slots[line, 16 - n :].tolist().index(0)
            slots[line, 16 - n + slot] = tag
            if values is None:
                slots[line, slot] = row
            else:
                content = bytearray(slots[line].tobytes())
                content[2 * columns * slot : 2 * columns * (slot + 1)] = values[row].astype("<i2").tobytes()
                slots[line] = np.frombuffer(content, np.uint32)
        else:
            return slots, seed
        seed = (seed + 1) & MASK


def bag(
    text: str | bytes,
    slots: np.ndarray,
    seed: int = 0,
    *,
    tokenizer: str = "words",
    lowercase: bool = True,
    normalize: bool = True,
    max_n: int = 4,
    columns: int = 0,
    block: int = BLOCK,
    characters: str = "none",
    characters_min: int = 3,
    characters_max: int = 6,
) -> list[int]:
    """Rows of a text in bag order, found through the slots; at each token a miss ends the chain."""
    tokens = tokenize(text, tokenizer, lowercase, normalize)
    hashes = [token_hash(token.encode("utf-8"), seed) for token in tokens]
    each = max_n + characters_max
    levels: list[list[int]] = [[] for _ in range(each * (len(hashes) // block + 1))]
    for i in range(len(hashes)):
        h = hashes[i]
        known = True
        for n in range(1, min(max_n, len(hashes) - i) + 1):
            if n > 1:
                h = extend(h, hashes[i + n - 1])
            row = lookup(slots, h, columns)
            if row is None:
                known = n > 1
                break
            levels[i // block * each + n - 1].append(row)
        if characters == "all" or (characters == "unknown" and not known):
            marked = f" {tokens[i]} "[:MARKED]
            for begin in range(len(marked)):
                h = token_hash(b"", seed)
                for n, c in enumerate(marked[begin : begin + characters_max], 1):
                    h = extend(h, token_hash(c.encode("utf-8"), seed))
                    if n < characters_min:
                        continue
                    row = lookup(slots, h, columns)
                    if row is None or marked[begin : begin + n] == f" {tokens[i]} ":
                        break
                    levels[i // block * each + max_n + n - 1].append(row)
    return [row for level in levels for row in level]


def bag_of_strings(
    text: str | bytes,
    vocabulary: Sequence[str],
    *,
    tokenizer: str = "words",
    lowercase: bool = True,
    normalize: bool = True,
    max_n: int = 4,
    block: int = BLOCK,
    characters: str = "none",
    characters_min: int = 3,
    characters_max: int = 6,
    forgotten: Mapping[int, str] = MappingProxyType({}),
) -> list[int]:
    """The same without any hash: an n-gram is found if it and all its prefixes are in the vocabulary.

    ``forgotten``: numbers of the tokens that are taken for unknown, and the words whose characters are looked up.
    """
    row = {ngram: r for r, ngram in enumerate(vocabulary)}
    tokens = tokenize(text, tokenizer, lowercase, normalize)
    known = [token in row and i not in forgotten for i, token in enumerate(tokens)]
    found = []
    for begin in range(0, len(tokens), block):
        for n in range(1, max_n + 1):
            for i in range(begin, min(begin + block, len(tokens) - n + 1)):
                prefixes = [" ".join(tokens[i : i + k]) for k in range(1, n + 1)]
                if all(p in row for p in prefixes) and not any(j in forgotten for j in range(i, i + n)):
                    found.append(row[prefixes[-1]])
        for n in range(characters_min, characters_max + 1):
            for i in range(begin, min(begin + block, len(tokens))):
                if characters == "all" or (characters == "unknown" and not known[i]):
                    for ngram in character_ngrams(forgotten.get(i, tokens[i]), n, n):
                        if all(ngram[: 1 + k] in row for k in range(characters_min, n + 1)):
                            found.append(row[ngram])
    return found


def forgets(text: int, token: int, share: float, seed: int) -> int:
    """0, or the random bits of a token, by its number in a text, that is taken for unknown in training."""
    once = mum(mum(seed ^ K0, text ^ K1) ^ K2, token ^ K3)
    return (mum(once ^ K2, K3) | 1) if mum(once ^ K0, K1) >> 32 < int(share * 2**32) else 0


def mistyped(token: str, random: int) -> str:
    """One edit in a token's first 64 code points: 16 random bits each are for what it is, a letter and the place."""
    word = list(token[:64])
    if len(word) < 3:
        return token
    edit, letter, place = (random >> 48, random >> 32 & 0xFFFF, random >> 16 & 0xFFFF)
    edit, letter = edit * 4 >> 16, word[letter * len(word) >> 16]
    if edit == 0:
        i = place * (len(word) - 1) >> 16
        word[i : i + 2] = word[i + 1], word[i]
    elif edit == 1:
        del word[place * len(word) >> 16]
    elif edit == 2:
        word.insert(place * (len(word) + 1) >> 16, letter)
    else:
        word[place * len(word) >> 16] = letter
    return "".join(word)


# Counting


def count(
    texts: Iterable[str | bytes],
    *,
    tokenizer: str = "words",
    lowercase: bool = True,
    normalize: bool = True,
    max_n: int = 4,
    size: int | None = None,
    min_count: int = 1,
    of_characters: bool = False,
    characters: str = "all",
    characters_min: int = 3,
    characters_max: int = 6,
) -> list[tuple[str, int]]:
    """The vocabulary: n-grams and their counts, by count descending, then UTF-8 bytes ascending.

    ``of_characters``: the character n-grams of all tokens, whatever ``characters`` is, and no others.
    """
    counts: Counter[str] = Counter()
    for text in texts:
        tokens = tokenize(text, tokenizer, lowercase, normalize)
        for token in tokens if of_characters else ():
            counts.update(character_ngrams(token, characters_min, characters_max))
        counts.update(() if of_characters else ngrams(tokens, max_n))
    kept = [(ngram, n) for ngram, n in counts.items() if n >= min_count]
    return sorted(kept, key=lambda item: (-item[1], item[0].encode("utf-8")))[:size]


# Pooling and score


def pool(rows: Sequence[int], table: np.ndarray, scale: np.ndarray | None = None, pooling: str = "mean") -> np.ndarray:
    """A bag pooled, float32. ``table`` (V, W): int8 or int16 with ``scale`` float32 (W,), or floats without.

    (W,) numbers; (2 W,) for mean+max; (W - 1,) for attentive, where a row's last number is its weight.
    """
    if pooling == "mean+max":
        return np.concatenate([pool(rows, table, scale, "mean"), pool(rows, table, scale, "max")])
    width = table.shape[1]
    one = np.float32(1)
    if pooling == "max":
        if not rows:
            return np.zeros(width, np.float32)
        best = [-math.inf] * width
        for row in rows:
            best = [value if top < value else top for top, value in zip(best, widened(table[row]), strict=True)]
        numbers = [np.float32(top) for top in best]
        return np.array(numbers if scale is None else [n * (s / one) for n, s in zip(numbers, scale, strict=True)])
    many = np.float32(max(len(rows), 1))
    k = {"mean": many, "sqrtn": np.sqrt(many)}.get(pooling, one)
    pooled = np.zeros(width, np.float32)
    if scale is None:
        for row in rows:
            pooled = pooled + widened(table[row])
        if pooling == "attentive":
            return pooled[:-1] / pooled[-1] if pooled[-1] else np.zeros(width - 1, np.float32)
        return pooled / k
    for j in range(width):
        total = sum(int(table[row, j]) for row in rows)
        pooled[j] = np.float32(total) * (scale[j] / k)
    return pooled


def int4_rows(table: np.ndarray, filler: int = 13) -> np.ndarray:
    """Integers (V, W) of -8 to 7 as int4 stores them, uint8 (V, stride); what fills a row up must not matter."""
    blocks = (table.shape[1] + 31) // 32
    result = np.zeros((len(table), 16 * blocks), np.uint8)
    for i, row in enumerate(table.tolist()):
        bits = [number + 8 for number in row] + [filler] * (32 * blocks - len(row))
        for j, four in enumerate(bits):
            block, place = divmod(j, 32)
            result[i, 16 * block + place % 16] |= four << (4 if place >= 16 else 0)
    return result


def widened(row: np.ndarray) -> np.ndarray:
    """A row as float32. The largest exponent of float16 is one like the others here, not infinity and NaN."""
    if row.dtype != np.float16:
        return row
    values = [int(bits) for bits in row.view(np.uint16)]
    exact = [
        (1 + (v & 1023) / 1024) * 2.0 ** ((v >> 10 & 31) - 15) if v >> 10 & 31 else (v & 1023) * 2.0**-24
        for v in values
    ]
    return np.array([-x if v >> 15 else x for v, x in zip(values, exact, strict=True)], np.float32)


def finite(x: np.ndarray) -> np.ndarray:
    """What a pooled vector or a layer gives: NaN counts as 0, an infinite number as the largest of its sign."""
    largest = np.finfo(np.float32).max
    return np.where(np.isnan(x), np.float32(0), np.clip(x, -largest, largest))


def torch_pool(pooling: str, rows, query=None):
    """One bag's rows, a tensor (k, d), pooled so that autograd follows; ``query`` (d,) is for attentive."""
    import torch

    if not len(rows):
        return torch.zeros((2 if pooling == "mean+max" else 1) * rows.shape[1])
    made = {
        "mean": lambda: rows.mean(0),
        "sum": lambda: rows.sum(0),
        "sqrtn": lambda: rows.sum(0) / len(rows) ** 0.5,
        "max": lambda: rows.max(0).values,
        "attentive": lambda: torch.softmax(rows @ query, 0) @ rows,
    }
    return torch.cat([made[part]() for part in pooling.split("+")])


def score(
    pooled: np.ndarray,
    bias: np.ndarray,
    layers: Sequence[tuple[np.ndarray, np.ndarray]] = (),
    relu_first: bool = True,
) -> np.ndarray:
    """Logits, float32, of a pooled bag. ``layers``: float32 weight (out, in) and bias (out,) of each further layer.

    Every product and every sum is rounded to float32: sixteen partial sums over the inputs modulo 16, then the second
    half of them added to the first until one is left, which is added to the bias.
    """
    x = finite(pooled + bias)
    for i, (weight, layer_bias) in enumerate(layers):
        if i or relu_first:
            x = np.where(x > 0, x, np.float32(0))
        padding = -len(x) % 16
        x = np.concatenate([x, np.zeros(padding, np.float32)])
        weight = np.concatenate([weight, np.zeros((len(weight), padding), np.float32)], axis=1)
        partial = np.zeros((len(weight), 16), np.float32)
        for begin in range(0, len(x), 16):
            partial = partial + weight[:, begin : begin + 16] * x[begin : begin + 16]
        while partial.shape[1] > 1:
            half = partial.shape[1] // 2
            partial = partial[:, :half] + partial[:, half:]
        x = finite(layer_bias + partial[:, 0])
    return x


def exponential(x: float) -> float:
    """e^x for x <= 0 by the Taylor series around the nearest multiple of ln 2 (which is cut in two parts)."""
    if x < -700:
        return 0.0
    k = math.floor(x * float.fromhex("0x1.71547652b82fep0") + 0.5)
    r = (x - k * float.fromhex("0x1.62e42fefa3800p-1")) - k * float.fromhex("0x1.ef35793c76730p-45")
    total = 1.0
    for i in range(13, 0, -1):
        total = 1.0 + r * total / i
    return math.ldexp(total, k)


def exponential32(x: np.float32) -> np.float32:
    """The same for a float, in ten terms, of which the last is x^9 / 9!."""
    if x < -104:
        return np.float32(0)
    k = math.floor(float(x) * float.fromhex("0x1.71547652b82fep0") + 0.5)
    r = (float(x) - k * float.fromhex("0x1.62e42fefa3800p-1")) - k * float.fromhex("0x1.ef35793c76730p-45")
    total = 0.0
    for i in range(9, -1, -1):
        total = total * r + 1.0 / math.factorial(i)
    return np.float32(math.ldexp(total, k))


def attend(rows: np.ndarray, query: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """A bag's rows (k, d) pooled attentively, and their weights: products in sixteen parts, sums from left to right."""
    part = np.zeros((len(rows), 16), np.float32)
    for j in range(rows.shape[1]):
        part[:, j % 16] = part[:, j % 16] + rows[:, j] * query[j]
    while part.shape[1] > 1:
        part = part[:, : part.shape[1] // 2] + part[:, part.shape[1] // 2 :]
    weights = [exponential32(x) for x in part[:, 0] - part[:, 0].max()]
    total = np.float32(0)
    for weight in weights:
        total = total + weight
    pooled = np.zeros(rows.shape[1], np.float32)
    for row, weight in zip(rows, weights, strict=True):
        pooled = pooled + weight / total * row
    return pooled, np.array([weight / total for weight in weights])


def probabilities(logits: Sequence[float], independent: bool) -> list[float]:
    """Softmax of one row of logits, or the sigmoid of each."""
    if independent:
        return [(exponential(-abs(x)) if x < 0 else 1.0) / (1.0 + exponential(-abs(x))) for x in logits]
    powers = [exponential(x - max(logits)) for x in logits]
    total = 0.0
    for power in powers:
        total += power
    return [power / total for power in powers]


# What tests feed to twin and core


def packed(ngrams: Sequence[str]) -> tuple[np.ndarray, np.ndarray]:
    """n-grams as the core takes them: their UTF-8 end to end, uint8, and where each begins, uint64 (V + 1,)."""
    encoded = [ngram.encode("utf-8") for ngram in ngrams]
    offsets = np.cumsum([0, *map(len, encoded)], dtype=np.uint64)
    return np.frombuffer(b"".join(encoded), np.uint8), offsets


CORE_UNICODE = (15, 1, 0)
RUNNING_UNICODE = tuple(int(part) for part in unicodedata.unidata_version.split("."))

# One or more of each case of the tokenisers and of lower-casing; all older than Unicode 14.
# fmt: off
SPICE = (
    "a", "B", "z", "_", "0", "7", "it", "Not", "don't", "don\u2019t", "rock'n'roll", "'", "\u2019", "\u02bc", "''",
    "-", ".", "!", "?!", "...", "@", "#", "$", "\\", "\u2014", "\u20ac", "\u00ab", "\ufffd",
    " ", "  ", "\n", "\t", "\r", "\x0b", "\x0c", "\x1c", "\x1f", "\x85", "\xa0", "\u1680", "\u2028", "\u202f", "\u3000",
    "\x00", "\x07", "\x7f", "\xad", "\u061c", "\u200b", "\u200c", "\u200d", "\u2060", "\u180e", "\ufeff", "\ue000",
    "\U000e0067", "\U0010fffd",
    "\u0300", "\u0345", "\u0483", "\u0488", "\u0903", "\u093f", "\u094d", "\u0e31", "\u20e3", "\ufe00", "\ufe0e",
    "\ufe0f", "\u20dd", "\U000e0100",
    "\u00e9", "\u00c9", "\u00df", "\u1e9e", "\u0130", "I", "\u0131", "\u01c5", "\u212a", "\u2126", "\u00aa", "\u00b2",
    "\u00bd", "\u2167", "\u2460", "\u24b6", "\u0660", "\u0966", "\uff21", "\u0915", "\u0e01", "\uac00", "\u1100",
    "\u05d0", "\u0410", "\u0416", "\u13a0", "\uab70", "\u10a0", "\u1c90", "\U00010400", "\U0001d400", "\U0001e900",
    "\u0391", "\u03a3", "\u03c3", "\u03c2", "A\u03a3", "\u03a3'", "\u03a3.", "\u03a3\xad", "\u03a3\u0301",
    "\u3005", "\u3007", "\u3021", "\u3041", "\u30a2", "\u30fb", "\u30fc", "\u3099", "\u309b", "\u4e00", "\u9fef",
    "\uf900", "\uff66", "\uff9e", "\U0001b000", "\U00020000", "\u3001", "\u300c", "\u302a", "\u303d", "\u31c0",
    "\u231a", "\u23e9", "\u25fd", "\u2600", "\u2705", "\u2764", "\u2780", "\u2b50", "\u2b55", "\u2b51", "\u00a9",
    "\u2122", "\U0001f100", "\U0001f1e9", "\U0001f1ea", "\U0001f3fb", "\U0001f3ff", "\U0001f44d", "\U0001f468",
    "\U0001f469", "\U0001f600", "\U0001f680", "\U0001fa70", "\u2764\ufe0f\u200d\U0001f525", "1\ufe0f\u20e3",
    "\U0001f469\U0001f3fd\u200d\U0001f680",
    "e\u0301", "\u0301", "\u0323", "\u0327", "\u0307", "\u030c", "J", "\u00e2", "\u1ea5", "\u1e9b", "\u212b", "\u0344",
    "\u0958", "\u0928\u093c", "\u0cc6\u0cc2", "\u0cd5", "\u0dd9", "\u0dcf", "\u0dca", "\u1161", "\u11a8", "\uac01",
    "\u0f71\u0f72", "\u2adc", "\u2000", "\u037e", "\u1fef", "\u0374", "\u0387", "\u304b\u3099", "\U0001d15e",
    "\U0002f800", "\u0e40", "\u0e33", "\u0e48", "\u0e51", "\u0e3f", "\u0e81", "\u0ec8", "\u1000", "\u1039", "\u103a",
    "\u1041", "\u1780", "\u17d2", "\u1b05", "\u1b35", "\ua984", "\ua9c0", "\u0f40", "\u0f0b", "\ua000", "\U00017000",
    "\u06cc", "\u0631", "\U000e007f", "\U0001f3f4", "\ud83d", "\ude00", "\udc80",
)
# fmt: on

SPICE_CHARACTERS = frozenset("".join(SPICE))

# Every way for UTF-8 to be invalid: stray and missing continuations, overlong forms, surrogates, past U+10FFFF.
BROKEN = (
    *(b"\x80", b"\xbf", b"\xc0\x80", b"\xc1\xbf", b"\xc3", b"\xe2\x82", b"\xe0\x80\xaf", b"\xed\xa0\x80", b"\xed\x9f"),
    *(b"\xf0\x9f", b"\xf0\x9f\x98", b"\xf0\x80\x80\x80", b"\xf4\x90\x80\x80", b"\xf5", b"\xfe", b"\xff", b"\xe1\x80a"),
)


def known(text: str | bytes) -> bool:
    """Whether running Python and core know all code points of a text, so that twin and core can be compared on it.

    A code point assigned in Unicode 15.1 but not in an older Python's is a letter to the one and nothing to the
    other, and the reverse. A newer Python cannot tell what 15.1 had, so there only what 3.2 had is trusted.
    """
    old = unicodedata if RUNNING_UNICODE <= CORE_UNICODE else unicodedata.ucd_3_2_0
    return all(old.category(c) != "Cn" or c in SPICE_CHARACTERS for c in decode(text))


def texts() -> st.SearchStrategy[str | bytes]:
    """Texts, str and bytes, with what tokenisers, lower-casing and decoding stumble over; all ``known``."""
    anything = st.text(st.characters(exclude_categories=("Cn",)).filter(known), max_size=6)
    words = st.sampled_from(("the", "The", "cat", "sat", "on", "a", "mat", "x", "isn't", "A" * 15, "b" * 16, "c" * 33))
    spaced = st.builds(lambda piece, space: piece + space, words, st.sampled_from((" ", "  ", ", ", "")))
    pieces = st.lists(st.one_of(st.sampled_from(SPICE), spaced, anything), max_size=12)
    strings = pieces.map("".join)
    broken = st.one_of(st.sampled_from(BROKEN), st.binary(max_size=4), st.sampled_from(SPICE).map(raw))
    dirty = st.lists(st.one_of(broken, spaced.map(raw)), max_size=12).map(b"".join)
    return st.one_of(strings, strings, dirty).filter(known)


# Parts of texts

# One letter for each value of Sentence_Break, and code points that have it.
SENTENCE_BREAK = {
    "R": "\r",
    "N": "\n",
    "P": "\x85\u2028\u2029",
    "X": "\u0308\u200d\U000e0100",  # Extend
    "F": "\u00ad\u200b\ufeff",
    "S": " \t\v\f\u00a0\u2003\u3000",
    "l": "abcdefghijklmnopqrstuvwxyzéжª",
    "U": "ABCDEFGHIJKLMNOPQRSTUVWXYZÉЖǅ",
    "o": "漢あאก",
    "n": "0123456789٣५",
    "A": ".\u2024．",
    "c": ",-:、–",
    "T": "!?。؟।\U00011047",
    "C": "()[]\"'”«」",
    "-": "$%_€😀*",
}
BREAK_OF = {char: name for name, chars in SENTENCE_BREAK.items() for char in chars}
TITLES = (
    "mr",
    "mrs",
    "ms",
    "mx",
    "dr",
    "prof",
    "st",
    "sr",
    "rev",
    "hon",
    "gen",
    "col",
    "maj",
    "sgt",
    "capt",
    "cmdr",
    "lt",
    "cpl",
    "gov",
    "sen",
    "rep",
    "pres",
    "supt",
    "messrs",
    "mme",
    "mlle",
    "hr",
    "fr",
    "sra",
    "srta",
    "dra",
    "ing",
)
INNER = ("vs", "cf", "viz", "e.g", "i.e", "approx", "ca", "z.b", "d.h", "u.a", "bzw", "vgl", "sog", "inkl", "p.ex")
BEFORE_NUMBERS = (
    "no",
    "nos",
    "nr",
    "fig",
    "figs",
    "eq",
    "p",
    "pp",
    "vol",
    "vols",
    "ch",
    "sec",
    "art",
    "jan",
    "feb",
    "mar",
    "apr",
    "jun",
    "jul",
    "aug",
    "sep",
    "sept",
    "oct",
    "nov",
    "dec",
)
LINE_END = re.compile("\r\n|[\n\v\f\r\x85\u2028\u2029]")


def sentence_ends(text: str, classes: str = "") -> list[int]:
    """Where sentences end, by the rules of Unicode Standard Annex 29, in code points; of code points in BREAK_OF."""
    classes = classes or "".join(BREAK_OF[char] for char in text)
    starts, kept = [], ""  # SB5: what is invisible is a part of what it follows
    for i, name in enumerate(classes):
        if name not in "XF" or i == 0 or classes[:i].rstrip("XF")[-1:] in ("", *"RNP"):
            starts.append(i)
            kept += name
    ends = [starts[i] for i in range(1, len(starts)) if _sentence_ends_between(kept[:i], kept[i:])]
    return [*ends, len(text)] if text else []


def _sentence_ends_between(left: str, right: str) -> bool:
    def is_left(pattern: str) -> bool:
        return re.search(f"(?:{pattern})$", left) is not None

    def is_right(pattern: str) -> bool:
        return re.match(pattern, right) is not None

    rules = (
        (is_left("R") and is_right("N"), False),  # SB3
        (is_left("[RNP]"), True),  # SB4
        (is_left("A") and is_right("n"), False),  # SB6
        (is_left("[lU]A") and is_right("U"), False),  # SB7
        (is_left("AC*S*") and is_right("[^olURNPAT]*l"), False),  # SB8
        (is_left("[AT]C*S*") and is_right("[cAT]"), False),  # SB8a
        (is_left("[AT]C*") and is_right("[CSRNP]"), False),  # SB9
        (is_left("[AT]C*S*") and is_right("[SRNP]"), False),  # SB10
        (is_left("[AT]C*S*[RNP]?"), True),  # SB11
    )
    return next((breaks for applies, breaks in rules if applies), False)


def _abbreviates(left: str, following: str) -> bool:
    """Whether the sentence ``left`` goes on with the character ``following``."""
    sp = "".join(SENTENCE_BREAK["S"]).replace("\v", "").replace("\f", "")
    invisible = "".join(SENTENCE_BREAK["X"] + SENTENCE_BREAK["F"])
    found = re.search(rf"\.[{sp}][{sp}{invisible}]*$", left)
    if not found:
        return False
    left = left[: found.start()]

    def starts_a_word(at: int) -> bool:
        return at == 0 or BREAK_OF[left[at - 1]] not in "loUnXF"

    initial = left and BREAK_OF[left[-1]] == "U" and starts_a_word(len(left) - 1)
    if initial and (left[-1] != "I" or (len(left) > 1 and BREAK_OF[left[-2]] == "A")):
        return True
    word = re.search(r"[A-Za-z](?:\.?[A-Za-z])*$", left)
    if not word or not starts_a_word(word.start()):
        return False
    lower = word[0].lower()
    return (
        lower in INNER
        or (lower in TITLES and word[0][0].isupper())
        or (lower in BEFORE_NUMBERS and BREAK_OF[following] == "n")
    )


def _trimmed(text: str, begin: int, end: int) -> list[tuple[int, int]]:
    part = text[begin:end]
    return [(begin + len(part) - len(part.lstrip()), begin + len(part.rstrip()))] if part.strip() else []


def sentences(text: str) -> list[tuple[int, int]]:
    """The sentences, tailored as core/segment.h says, of code points in BREAK_OF."""
    classes = "".join("P" if char in "\v\f" else BREAK_OF[char] for char in text)
    parts, begin = [], 0
    for end in sentence_ends(text, classes):
        if end < len(text) and classes[end - 1] not in "RNP" and _abbreviates(text[:end], text[end]):
            continue
        parts += _trimmed(text, begin, end)
        begin = end
    return parts


def paragraphs(text: str) -> list[tuple[int, int]]:
    """Runs of lines that are not blank."""
    parts, begin, at = [], 0, 0
    for end, behind in [*((m.start(), m.end()) for m in LINE_END.finditer(text)), (len(text), len(text))]:
        if not text[at:end].strip():
            parts += _trimmed(text, begin, at)
            begin = behind
        at = behind
    return parts + _trimmed(text, begin, len(text))


def windows(text: str, size: int, step: int) -> list[tuple[int, int]]:
    words: list[list[int]] = []
    open_kind = ""  # of the word that may go on
    for i, char in enumerate(text):
        if char.isspace():
            open_kind = ""
            continue
        now = kind(char)
        alone = open_kind == "char"
        if open_kind and (now in ("mark", "joiner", "ignored") if alone else now != "char"):
            words[-1][1] = i + 1
        else:
            words.append([i, i + 1])
            open_kind = now
    parts = []
    for first in range(0, len(words), step):
        parts.append((words[first][0], words[min(first + size, len(words)) - 1][1]))
        if first + size >= len(words):
            break
    return parts


def pool_parts(values: np.ndarray, counts: Sequence[int], pooling: str, number: float = 0.0) -> np.ndarray:
    """(n, C) of (P, C), a row a part, and the number of parts of each text; zeros for a text without parts."""
    pooled, begin = [], 0
    for count in counts:
        columns = [sorted(column.tolist(), reverse=True) for column in values[begin : begin + count].T]
        begin += count
        if pooling == "top":
            columns = [column[: int(number)] for column in columns]
        if pooling == "max":
            columns = [column[:1] for column in columns]
        if pooling == "share":
            columns = [[float(value >= number) for value in column] for column in columns]
        pooled.append([sum(column) / len(column) if column else 0.0 for column in columns])
    return np.array(pooled).reshape(len(counts), values.shape[1])


def excerpt(text: str, of: str, most: int) -> list[str]:
    """The slices of a text that are read where ``most`` bytes of it are to be: core/excerpt.h."""
    count = {"head": 1, "head+tail": 2, "spread": 8}[of]
    at = [0]  # where code points begin, in bytes
    for c in text:
        at.append(at[-1] + len(c.encode()))
    if at[-1] <= most:
        return [text] + [""] * (count - 1)
    size = most // count
    reach = min(256, size // 2)

    def between_words(i: int) -> bool:
        if i in (0, len(text)) or text[i - 1].isspace() or text[i].isspace():
            return True
        kinds = kind(text[i - 1]), kind(text[i])
        return "char" in kinds and kinds[1] not in ("mark", "joiner", "ignored")

    slices = []
    for k in range(count):
        start = (at[-1] - size) * k // (count - 1) if count > 1 else 0
        first = next(i for i in range(len(at)) if at[i] >= start)
        last = next(i for i in reversed(range(len(at))) if at[i] <= start + size)
        near = [i for i in range(first, len(at)) if at[i] - at[first] <= reach and between_words(i)]
        first = near[0] if near else first
        near = [i for i in range(last + 1) if at[last] - at[i] <= reach and between_words(i)]
        last = near[-1] if near else last
        slices.append(text[first:last] if first < last else "")
    return slices
