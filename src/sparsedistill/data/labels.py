"""Labels as they stand in files: what one of them says, and what a whole column means."""

from __future__ import annotations

import ast
import json
import math
import re
from collections.abc import Callable
from typing import Any

import numpy as np

from ..errors import DataError
from .files import several
from .records import Places


def _name(value: Any) -> str:
    """The name of one label; raises ValueError with the end of a sentence."""
    value = value.strip() if isinstance(value, str) else value
    if isinstance(value, float) and value.is_integer():
        value = int(value)  # pandas turns integers into floats beside a missing value
    if value is None or value == "" or (isinstance(value, float) and math.isnan(value)):
        raise ValueError("is missing; add it, drop the row, or leave such rows out with --skip-missing")
    if not isinstance(value, (str, int, float)):
        raise ValueError(f"is of type {type(value).__name__}, not a name or a number; convert it")
    return str(value)


def one_name(value: Any) -> str:
    """The name of the one label of a text; raises ValueError with the end of a sentence."""
    if isinstance(value, str) and re.match(r"""\s*\[\s*["']""", value):
        value = _bracketed(value)
    if isinstance(value, list):
        if len(value) > 1:
            raise ValueError(f"has {len(value)} names ({several(value)}), not one; use --task multi")
        value = value[0] if value else None
    return _name(value)


def names_of(value: Any, separator: str) -> tuple[str, ...]:
    """The names of a label of the task multi; raises ValueError."""
    items = value if isinstance(value, list | tuple) else [value]
    if isinstance(value, str):
        listed = _bracketed(value)
        items = [part for part in value.split(separator) if part.strip()] if listed is None else listed
    for one in items:
        if isinstance(one, float) and math.isfinite(one) and not one.is_integer():
            raise ValueError(f"holds {one}, which is neither a name nor 0 or 1; write 1 where the label applies")
    return tuple(map(_name, items))


def zero_or_one(value: Any) -> float:
    """What one of several columns of labels holds; raises ValueError."""
    if value is None or value == "" or value != value:
        raise ValueError("is missing; give 0 or 1, drop the row, or leave such rows out with --skip-missing")
    plain = {"true": 1, "false": 0}.get(value.strip().lower(), value) if isinstance(value, str) else value
    try:
        number = float(plain)
    except (TypeError, ValueError):
        number = math.nan
    if number not in (0, 1):
        raise ValueError(f"is {value!r:.60}, not 0 or 1: each of several columns says whether its label applies")
    return number


_REMEDY = "write names, or give a column to each label (--label NAME NAME ...)"
_ITEM = re.compile(r"""("(?:[^"\\]|\\.)*"|'(?:[^'\\]|\\.)*'|[^\s,'"\[\](){}:]+)(\s*,\s*|\s+|$)""", re.DOTALL)


def _bracketed(text: str) -> list[Any] | None:
    """The items of a list that was written into a cell: by Python, JSON or numpy; None where it is no such list.

    Also a set and a tuple of Python, if its items are in quotes or numbers. Raises ValueError for brackets that hold no
    such list.
    """
    text = text.strip()
    if text in ("set()", "{}", "()"):
        return []
    ends = text[:1] + text[-1:]
    if not text.startswith("[") and (ends not in ("()", "{}") or not re.match(r"""["'\d]""", text[1:].lstrip())):
        return None
    inside, items, marks, at = text[1:-1].strip(), [], set(), 0
    while ends in ("[]", "()", "{}") and (item := _ITEM.match(inside, at)):
        word, mark = item[1], item[2].strip()
        at = item.end()
        if at < len(inside):
            marks.add(mark)
        items.append(_literal(word))
    if ends not in ("[]", "()", "{}") or at < len(inside) or len(marks) > 1 or "..." in items:
        raise ValueError(
            f"is {text!r:.60}, no list as Python, JSON or numpy writes it; write ['name', 'other'], or names "
            "separated by --label-separator"
        )
    return items


def _literal(word: str) -> Any:
    """The value of an item of a list in a cell."""
    if word[0] in "'\"":
        for read in (json.loads, ast.literal_eval):  # JSON first: its \\u escapes come in pairs
            try:
                return read(word)
            except (ValueError, SyntaxError):
                pass
        raise ValueError(f"holds {word!r:.60}, which no string of Python or JSON is; correct it")
    if word.lower() in ("true", "false"):
        return word.lower() == "true"
    if word.lower() in ("none", "null", "nan"):
        return None
    for number in (int, float):
        try:
            return number(word)
        except ValueError:
            pass
    return word


def _refuse_numbers_among_names(
    sets: list[tuple[str, ...]], places: Places, multi_hot: tuple[str, ...] | None, digits: set[str], column: str
) -> None:
    """Errors: :class:`DataError` where names stand among numbers that seem to be 0 and 1 for each label.

    ``multi_hot``: the classes, where the labels of train are so.
    """
    if multi_hot and not digits <= set(multi_hot):
        place = places[next((i for i, names in enumerate(sets) if not digits.isdisjoint(names)), 0)]
        raise DataError(
            f"the labels (column {column}) are a 0 or 1 for each label in train, but not at {place}; {_REMEDY}"
        )
    for i, names in enumerate(sets):
        if len(given := [name for name in names if name in digits]) > len(set(given)):
            raise DataError(
                f"the label (column {column}) at {places[i]} has a number twice, as lists of 0 and 1 do, but "
                f"others are no 0 and 1; {_REMEDY}"
            )


def are_multi_hot(
    sets: list[tuple[str, ...]],
    places: Places,
    classes: tuple[str, ...] | None,
    before: bool | None,
    column: str,
) -> bool | None:
    """Whether all labels are a 0 or 1 for each of ``classes``; None where they hold no number.

    ``before`` is what those of train are. Names and indices come without repetition and in lists of any length, so that
    a 0 or 1 that stands twice in a list, or true and false, tell multi-hot.

    Errors: :class:`DataError` where it cannot be told, and where the labels are not as those of train.
    """
    digits = {name for names in sets for name in names if is_integer(name) or name in ("True", "False")}
    if not digits:
        return None

    def where(fits: Callable[[tuple[str, ...]], bool]) -> str:
        return places[next((i for i, names in enumerate(sets) if fits(names)), 0)]

    def tells(names: tuple[str, ...]) -> bool:
        return len(set(names)) < len(names) or "True" in names or "False" in names

    numbers = all(name in ("0", "1", "True", "False") for names in sets for name in names)
    sure = numbers and any(map(tells, sets))
    lengths = {len(names) for names in sets}
    if not numbers:
        _refuse_numbers_among_names(sets, places, classes if before else None, digits, column)
        return False
    if classes is None:
        if sure or (lengths == {2}):
            raise DataError(
                f"the lists of 0 and 1 at {where(tells)} (column {column}) seem to say of each label whether it "
                "applies: name the labels in their order with --labels"
            )
        return False
    if lengths != {len(classes)}:
        if sure or before:
            place = where(lambda names: len(names) != len(classes))
            names = next(names for names in sets if len(names) != len(classes))
            raise DataError(
                f"the labels (column {column}) seem to be a 0 or 1 for each of {len(classes)} labels "
                f"({several(classes)}), but at {place} there are {len(names)}; correct it, or {_REMEDY}"
            )
        return False
    are_multi = _told(sure, classes, digits, before)
    if are_multi is None:
        raise DataError(
            f"the lists of 0 and 1 at {where(bool)} (column {column}) may name labels, or say of each whether it "
            f"applies (labels: {several(classes)}); {_REMEDY}"
        )
    if before is False and are_multi:
        raise DataError(
            f"the lists at {where(tells)} (column {column}) are a 0 or 1 for each label, but those of train name "
            f"labels; {_REMEDY}"
        )
    return are_multi


def _told(sure: bool, classes: tuple[str, ...], digits: set[str], before: bool | None) -> bool | None:
    """Whether lists of 0 and 1, one for each class, are multi-hot; None where nothing tells."""
    if len(classes) < 3 and not digits.isdisjoint(classes):
        return before  # the classes themselves are called so
    no_label_1 = len(classes) == 1 and digits == {"0", "1"}
    all_would_have_both = len(classes) == 2 and before is None  # as indices
    return True if sure or no_label_1 or all_would_have_both else before


def is_number(name: str) -> bool:
    """Whether a name is a finite number."""
    try:
        return math.isfinite(float(name))
    except ValueError:
        return False


def score(value: Any) -> float:
    """The score of a text of a regression; raises ValueError with the end of a sentence."""
    if isinstance(value, list) and len(value) == 1:
        value = value[0]
    if value is None or value == "":
        raise ValueError("is missing; add it, drop the row, or leave such rows out with --skip-missing")
    try:
        score = float(value)
    except (TypeError, ValueError, OverflowError):
        raise ValueError(f"is {value!r}, but --task regression wants a number") from None
    if not abs(score) <= float(np.finfo(np.float32).max):
        raise ValueError(f"is {value}, but --task regression wants a finite number (in 32 bits); drop the row")
    return score


def is_integer(name: str) -> bool:
    """Whether a name is an integer."""
    return re.fullmatch(r"[+-]?[0-9]+", name) is not None


def sorted_names(names: set[str]) -> tuple[str, ...]:
    """Names in order: integers as numbers."""
    if all(is_integer(name) for name in names):
        return tuple(sorted(names, key=lambda name: (int(name), name)))
    return tuple(sorted(names))
