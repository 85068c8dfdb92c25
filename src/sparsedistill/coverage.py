"""How much of a text a classifier knows: the share of its tokens and n-grams that have a row."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from . import _core
from .errors import SettingsError
from .inputs import asked_of_core, is_one

if TYPE_CHECKING:
    from .classifier import Classifier


def coverage(classifier: Classifier, texts: Any, threads: int = 0, nulls: str = "error") -> np.ndarray:
    """Share of the tokens of each text that have a row of their own as unigrams, float64 (n,), from 0 to 1.

    ``texts``, ``threads`` and ``nulls`` are those of :meth:`sparsedistill.Classifier.decision_function`; one str is one
    text, n = 1. The tokens of a pair are those of both its texts. A text without a token has 0: there is nothing in it
    that the classifier knows. A word of which it knows character n-grams alone counts as unknown.

    Errors: those of :meth:`~sparsedistill.Classifier.decision_function`; :class:`SettingsError` for a classifier with
    hashed rows, where any n-gram has a row.
    """
    _refuse_hashed(classifier)
    known, all_of_them = ngram_counts(classifier, texts, 1, threads, nulls)
    shares: np.ndarray = known[:, 0] / np.maximum(all_of_them[:, 0], 1)
    return shares


def ngram_coverage(classifier: Classifier, texts: Any, threads: int = 0, nulls: str = "error") -> np.ndarray:
    """Share of the n-grams of each text that have a row, float64 (n, max_n): those of one token, of two, and so on.

    NaN where a text has no n-gram of that length; else as :func:`coverage`, which gives the first column.
    """
    _refuse_hashed(classifier)
    known, all_of_them = ngram_counts(classifier, texts, int(classifier._config["text"]["max_n"]), threads, nulls)
    shares: np.ndarray = known / np.where(all_of_them > 0, all_of_them, np.nan)
    return shares


def known_shares(classifier: Classifier, texts: Any, threads: int = 0, nulls: str = "error") -> np.ndarray:
    """Share of the n-grams of each text that have a row, float64 (n,): of 1 to max_n tokens, all in one number.

    Arguments, errors and the rest are those of :func:`coverage`.
    """
    _refuse_hashed(classifier)
    known, all_of_them = ngram_counts(classifier, texts, int(classifier._config["text"]["max_n"]), threads, nulls)
    shares: np.ndarray = known.sum(axis=1) / np.maximum(all_of_them.sum(axis=1), 1)
    return shares


def _refuse_hashed(classifier: Classifier) -> None:
    if classifier._hashed:
        raise SettingsError(
            "this classifier has hashed rows, where any n-gram has one: coverage needs one with a vocabulary"
        )


def ngram_counts(
    classifier: Classifier, texts: Any, longest: int, threads: int = 0, nulls: str = "error"
) -> tuple[np.ndarray, np.ndarray]:
    """n-grams of 1 to ``longest`` tokens in each text, float64 (n, longest): those that have a row, and all of them."""
    pairs = classifier.pairs
    asked = asked_of_core((texts,) if is_one(texts, pairs) else texts, pairs, threads, nulls)
    try:
        counts = classifier._lookup.known(asked[0], longest, *asked[1:])
    except _core.Damaged as error:
        raise classifier._damaged(error) from None
    tokens, known = counts[:, :1].astype(np.float64), counts[:, 1:].astype(np.float64)
    all_of_them = np.maximum(tokens - np.arange(longest), 0)
    if pairs:
        known, all_of_them = (each.reshape(-1, 2, longest).sum(axis=1) for each in (known, all_of_them))
    return known, all_of_them
