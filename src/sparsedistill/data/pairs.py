"""Pairs of texts as one string each, so that they go the same way as texts do.

The two halves stand around a control character that no tokeniser makes a token of; where a text has it, it reads as the
blank that it means to them.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

SEPARATOR = "\x1f"


def joined(first: Sequence[str], second: Sequence[str]) -> list[str]:
    """Each pair as one string."""
    return [
        a.replace(SEPARATOR, " ") + SEPARATOR + b.replace(SEPARATOR, " ") for a, b in zip(first, second, strict=True)
    ]


def split(pairs: Iterable[str]) -> list[tuple[str, str]]:
    """The halves of each."""
    halves = [pair.partition(SEPARATOR) for pair in pairs]
    return [(a, b) for a, _, b in halves]


def halves(pairs: Iterable[str]) -> list[str]:
    """First, second, first, second ...: twice as many texts."""
    return [half for pair in split(pairs) for half in pair]
