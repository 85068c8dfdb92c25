"""Texts, or pairs of texts, as they are given to a classifier, and as the core takes them."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any

import numpy as np

from .machine import asked_threads


def is_one(texts: Any, pairs: bool) -> bool:
    """Whether this is one text, or with ``pairs`` one pair."""
    if pairs:
        return isinstance(texts, tuple) and len(texts) == 2 and all(isinstance(t, str | bytes) for t in texts)
    return isinstance(texts, str | bytes)


def asked_of_core(texts: Any, pairs: bool, threads: int, nulls: str) -> tuple[Any, int, bool]:
    """What the core takes of many texts: the texts, how many threads, whether nulls are empty texts."""
    if nulls not in ("error", "empty"):
        raise ValueError(f"nulls is {nulls!r}: give 'error' or 'empty'")
    return _halves(texts) if pairs else _as_texts(texts), asked_threads(threads), nulls == "empty"


def excerpt_of(max_bytes: int | str | None) -> tuple[str, int]:
    """(kind, bytes) of N, "head:N", "head+tail:N" or "spread:N"; of None, with no bytes, all of a text is read.

    Errors: ValueError for anything else, and for fewer than 8 bytes.
    """
    if max_bytes is None:
        return "head", 0
    found = re.fullmatch(r"(?:(head|head\+tail|spread):)?([0-9]{1,18})", str(max_bytes))
    if not found or int(found[2]) < 8:
        raise ValueError(
            f"max_bytes is {max_bytes!r}: give 4096, 'head:4096', 'head+tail:4096' or 'spread:4096', of 8 bytes or more"
        )
    return found[1] or "head", int(found[2])


def _halves(pairs: Any) -> list[Any]:
    """The texts of pairs, one after the other."""
    if isinstance(pairs, str | bytes | dict) or not isinstance(pairs, Iterable):
        raise TypeError(
            f"this classifier labels pairs of texts: give (first, second), or many, not {type(pairs).__name__}"
        )
    if getattr(pairs, "ndim", 1) == 2:  # of numpy, or a frame of pandas, which would give the names of its columns
        pairs = np.asarray(pairs, object)
    halves: list[Any] = []
    for i, pair in enumerate(pairs):
        if not isinstance(pair, tuple | list | np.ndarray) or len(pair) != 2:
            raise TypeError(f"pairs[{i}] is {pair!r:.60}, not two texts")
        halves.extend(pair)
    return halves


def _as_texts(texts: Any) -> Any:
    dtype = getattr(texts, "dtype", None)
    if type(texts).__module__.split(".")[0] == "pandas" and (
        str(dtype) == "object"
        or getattr(dtype, "storage", "") == "python"
        or getattr(dtype, "kind", "") in ("f", "M", "m")  # a column of nothing but nulls is one of NaN or NaT
    ):
        # Over the Arrow protocol pandas would have to convert, which needs pyarrow.
        return texts.tolist()
    if isinstance(texts, list | tuple) or hasattr(texts, "__arrow_c_stream__") or hasattr(texts, "__arrow_c_array__"):
        return texts
    if isinstance(texts, np.ndarray):
        if texts.ndim != 1:
            raise ValueError(f"texts must be one-dimensional, not of shape {texts.shape}")
        return texts.tolist()
    if isinstance(texts, dict) or not isinstance(texts, Iterable):
        raise TypeError(f"texts must be a str or many of them, not {type(texts).__name__}")
    return list(texts)
