"""What settings that are left to the program become, once it is known what is learnt from."""

from __future__ import annotations

import dataclasses
import math
from collections import Counter
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from .options import OPEN_HIDDEN, Count, Distill

HIDDEN, PAIRS_EMBEDDING = 64, 128
_DEFAULT = Distill()


def epochs_of(distill: Distill, characters: str) -> float:
    """Passes over the texts; ``characters``: the vocabulary's.

    A linear student learns rows of characters more slowly: of unknown words only where words are taken for such, and
    of all words with many rows that say the same.
    """
    return distill.epochs or (20.0 if characters != "none" and distill.student == "linear" else 10.0)


def linear_rate(steps: float) -> float:
    """Peak learning rate of a linear student that is trained for so many steps.

    The more steps, the lower: what they do together is what a linear model's regularisation decides. On the dev sets of
    four to ninety thousand texts, 0.02 to 0.002 were best.
    """
    return min(0.02, 0.0125 * math.pow(1000 / steps, 0.7))


def student_settings(distill: Distill, mode: str, tasks: Collection[str], are_pairs: bool) -> Distill:
    """The settings of the student of a mode, whose heads have these tasks, nothing in them left to the program.

    From labels alone a linear student is more accurate than one with a hidden layer, and it is smaller; of scores, and
    with a teacher, it is the other way round or depends on the texts. Who asks for a layer, W1 or a pooling asks for a
    student with one.
    """
    untouched = distill.hidden == OPEN_HIDDEN and not distill.embedding and distill.pooling == "auto"
    linear = distill.student == "linear"
    if distill.student == "auto":
        linear = mode == "scratch" and untouched and not are_pairs and "regression" not in tasks
    if linear and distill.student == "auto" and set(distill.modes) != {"scratch"}:
        # Beside students of a teacher, these are set for them.
        own = {name: getattr(_DEFAULT, name) for name in ("batch_size", "learning_rate", "ngram_dropout", "epochs")}
        distill = dataclasses.replace(distill, **own)
    if linear:
        shape: dict[str, Any] = {"hidden": (), "embedding": 0, "pooling": "sqrtn", "optimizer": "sgd", "init": "random"}
    else:  # pairs are compared in four times the table's width, which W1 brings together
        best = "sqrtn" if are_pairs and mode == "scratch" and distill.student == "auto" and untouched else "mean"
        shape = {
            "hidden": (HIDDEN,) if distill.hidden == OPEN_HIDDEN else distill.hidden,
            "embedding": distill.embedding or PAIRS_EMBEDDING * are_pairs,
            "pooling": best if distill.pooling == "auto" else distill.pooling,  # of such pairs a point more
        }
    return dataclasses.replace(
        distill,
        **shape,
        student="linear" if linear else "network",
        batch_size=distill.batch_size or (64 if linear else 512),
        # Without a hidden layer a row has to become a logit, not a part of one; linear: see below.
        learning_rate=distill.learning_rate or (0.0 if linear else 0.01 if distill.hidden else 0.1),
        ngram_dropout=distill.ngram_dropout if distill.ngram_dropout >= 0 else (0.0 if linear else 0.1),
    )


@dataclass(frozen=True)
class TextFacts:
    """What a sample of texts says of how to count n-grams.

    ``words``: how many there are in it. Shares: ``single``, of tokens that are one character of a script without spaces
    between words; ``unseen``, of the words of further texts that these lack, by how many occur once (Good 1953);
    ``syllables``, of letters that stand for a syllable or a word (Hangul, Kana, Han ...).
    """

    words: int
    single: float
    unseen: float
    syllables: float

    @classmethod
    def of(cls, tokens: Iterable[Sequence[str]]) -> TextFacts:
        """Those of texts, given as their tokens."""
        counts: Counter[str] = Counter()
        for text in tokens:
            counts.update(text)
        words = {word: count for word, count in counts.items() if any(map(str.isalpha, word))}
        every = max(sum(words.values()), 1)
        single = sum(count for word, count in words.items() if len(word) == 1 and word >= "\u0e00")
        once = sum(count == 1 for count in words.values())
        letters = sum(len(word) * count for word, count in words.items())
        high = sum(sum(c >= "\u1100" for c in word) * count for word, count in words.items())
        return cls(every, single / every, once / every, high / max(letters, 1))


UNSEEN, SINGLE = 0.2, 0.5  # shares from which on characters, and longer n-grams, are worth their price
ENOUGH = 50_000  # words: of fewer, in any language many occur once


def is_open(count: Count) -> bool:
    """Whether anything of counting is left to the data."""
    lengths = count.characters != "none" and not (count.characters_min and count.characters_max)
    return not count.max_n or count.characters == "auto" or lengths


def count_settings(count: Count, facts: TextFacts, pairs_of_labels: bool) -> tuple[Count, str]:
    """The settings of counting with nothing in them left to the program, and why it chose what it did ("": nothing).

    ``pairs_of_labels``: whether pairs of texts are learnt from labels alone.
    """
    chosen: dict[str, Any] = {}
    reasons = []
    if not count.max_n:
        if facts.single >= SINGLE and count.tokenizer == "words":
            chosen["max_n"], why = 4, f"{facts.single:.0%} of the tokens are single characters"
        elif pairs_of_labels:
            chosen["max_n"], why = 1, "pairs from labels alone"
        else:
            chosen["max_n"], why = 2, "of words, longer ones gain nothing"
        reasons.append(f"n-grams of up to {chosen['max_n']} tokens ({why})")
    characters = count.characters
    if characters == "auto":
        characters = "none"
        if facts.unseen >= UNSEEN and facts.words >= ENOUGH and not count.hashed:
            characters = "all"
            reasons.append(f"character n-grams of all words ({facts.unseen:.0%} of the words of a new text are unseen)")
    syllables = facts.syllables >= 0.5
    chosen |= {
        "characters": characters,
        "characters_min": count.characters_min or min(1 if syllables else 3, count.characters_max or 16),
        "characters_max": count.characters_max or max(5, count.characters_min),
        "characters_size": count.characters_size or (count.size if characters == "all" else 200_000),
    }
    return dataclasses.replace(count, **chosen), "; ".join(reasons)
