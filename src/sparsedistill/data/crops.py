"""Random crops of texts: more texts of the same kind, where few are labelled."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np


def crop(text: str, random: np.random.Generator) -> str:
    """A run of a text's words (what white space parts), of any length with equal chance, from any place."""
    words = text.split()
    if len(words) < 2:
        return text
    return run_of_words(words, int(random.integers(1, len(words) + 1)), random)


def run_of_words(words: Sequence[str], size: int, random: np.random.Generator) -> str:
    """``size`` neighbouring words from any place."""
    begin = int(random.integers(0, len(words) - size + 1))
    return " ".join(words[begin : begin + size])
