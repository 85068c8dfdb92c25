"""Texts as people mistype them, and as people disguise them. Seeded: the same text always becomes the same."""

from __future__ import annotations

import random
import re
import string
from collections.abc import Callable, Sequence

LEAST = 3  # letters of a word that is changed
EVERY = 3  # of these words
_WORD = re.compile(rf"[^\W\d_]{{{LEAST},}}")  # a run of letters

# Letters that look like another one.
_CYRILLIC = dict(zip("aceijopsxyABCEHIJKMOPSTXY", "асеіјорѕхуАВСЕНІЈКМОРЅТХУ", strict=True))
_GREEK = dict(zip("aikoptuvxABEHIKMNOPTXYZ", "αικορτυνχΑΒΕΗΙΚΜΝΟΡΤΧΥΖ", strict=True))
_FULL_WIDTH = {letter: chr(ord(letter) + 0xFEE0) for letter in string.ascii_letters}
_ALPHABETS = (_CYRILLIC, _GREEK, _FULL_WIDTH)
_DIGITS = {letter: digit for pair, digit in zip(("oO", "iI", "lL", "eE", "aA", "sS", "tT"), "0113457", strict=True)
           for letter in pair}  # fmt: skip


def typos(texts: Sequence[str], seed: int) -> list[str]:
    """One edit in each third word: neighbours swapped, or a letter gone, new, or another one (new ones lower-case)."""
    return _changed(texts, seed, _mistyped)


def obfuscated(texts: Sequence[str], seed: int) -> list[str]:
    """Each third word disguised: look-alikes for one or two letters, letters set apart, or digits for letters."""
    return _changed(texts, seed, _disguised)


def _changed(texts: Sequence[str], seed: int, change: Callable[[str, random.Random], str]) -> list[str]:
    """The texts with each third word changed, the third of each text first; what is between words stays."""
    return [_of_text(text, random.Random(f"{seed} {text}"), change) for text in texts]


def _of_text(text: str, draw: random.Random, change: Callable[[str, random.Random], str]) -> str:
    seen = 0

    def word(match: re.Match[str]) -> str:
        nonlocal seen
        seen += 1
        return match[0] if seen % EVERY else change(match[0], draw)

    return _WORD.sub(word, text)


def _mistyped(word: str, draw: random.Random) -> str:
    edit = draw.choice((_swap, _delete, _insert, _substitute))
    while (found := edit(word, draw)) == word:  # a letter put in its own place, or equal ones swapped
        edit = _substitute if edit is _swap and len(set(word)) == 1 else edit
    return found


def _swap(word: str, draw: random.Random) -> str:
    i = draw.randrange(len(word) - 1)
    return word[:i] + word[i + 1] + word[i] + word[i + 2 :]


def _delete(word: str, draw: random.Random) -> str:
    i = draw.randrange(len(word))
    return word[:i] + word[i + 1 :]


def _insert(word: str, draw: random.Random) -> str:
    i = draw.randrange(len(word) + 1)
    return word[:i] + draw.choice(string.ascii_lowercase) + word[i:]


def _substitute(word: str, draw: random.Random) -> str:
    i = draw.randrange(len(word))
    return word[:i] + draw.choice(string.ascii_lowercase) + word[i + 1 :]


def _disguised(word: str, draw: random.Random) -> str:
    """By one of three ways, drawn evenly, one of the others where a word has no letter that it can replace."""
    ways = [_look_alikes, _apart, _digits]
    draw.shuffle(ways)
    return next(found for way in ways if (found := way(word, draw)) != word)


def _look_alikes(word: str, draw: random.Random) -> str:
    alphabet = draw.choice([some for some in _ALPHABETS if set(word) & set(some)] or [{}])
    return _replaced(word, alphabet, draw.randint(1, 2), draw)


def _apart(word: str, draw: random.Random) -> str:
    return draw.choice(" .").join(word)


def _digits(word: str, draw: random.Random) -> str:
    return _replaced(word, _DIGITS, draw.randint(1, len(word)), draw)


def _replaced(word: str, letters: dict[str, str], most: int, draw: random.Random) -> str:
    """At most so many of the word's letters replaced, where there are any to replace at least one."""
    places = [i for i, letter in enumerate(word) if letter in letters]
    chosen = set(draw.sample(places, min(most, len(places))))
    return "".join(letters[letter] if i in chosen else letter for i, letter in enumerate(word))
