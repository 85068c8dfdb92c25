"""Any function from texts to scores as teacher."""

from __future__ import annotations

import hashlib
import importlib
import inspect
import os
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ..data import pairs
from ..errors import DataError, RowError, SettingsError
from ..format import file_fingerprint
from . import Job, Teacher
from .scores import as_numbers, to_logits


class Function:
    """``module:function``, or a function itself."""

    answers, trainable = True, False

    def __init__(self, function: str | Callable[[list[Any]], Any]):
        self.name = function if isinstance(function, str) else name_of(function)
        self.columns: Mapping[str, str] = {}
        self._function = function

    @classmethod
    def named(cls, name: str) -> Function | None:
        """The kind, where it has this name."""
        return cls(name) if ":" in name and not Path(name).exists() else None

    def identity(self) -> Any:
        """Its name, and a fingerprint of the file that defines it, or of its own source."""
        if not isinstance(self._function, str):
            return [self.name, fingerprint_of(self._function)]
        source = source_of(self._function)
        return [self.name, file_fingerprint(source) if source else None]

    def labels(self) -> tuple[str, ...] | None:
        """None: a function has no names."""
        return None

    def open(self, job: Job) -> Teacher:
        """The function, with its answers checked. Errors: :class:`SettingsError` when it cannot be imported."""
        return FunctionTeacher(
            self._function, classes=job.classes, task=job.task, scores=job.label.scores, are_pairs=job.are_pairs,
            labels=job.labels,
        )  # fmt: skip


def name_of(function: Callable[[list[Any]], Any]) -> str:
    """``module:function`` of a function, or of the type of an object that can be called."""
    named = function if hasattr(function, "__qualname__") else type(function)
    return f"{getattr(named, '__module__', '') or ''}:{named.__qualname__}"


class FunctionTeacher:
    """Any function from a list of texts to scores, given itself or as "module:function".

    The function gets a list of str, or of pairs of str, and gives ``(n, classes)`` numbers (``(n,)`` will do for
    regression): an array, nested lists, a torch tensor or a pandas table. ``scores`` says what they are: "logits" or
    "probabilities". ``labels`` names the classes: a table's columns may stand in another order.

    Errors: :class:`SettingsError` when it cannot be imported; :class:`DataError` from :meth:`logits` when what it
    gives is not what it should.
    """

    precision = "given"

    def __init__(
        self,
        spec_or_function: str | Callable[[list[Any]], Any],
        *,
        classes: int,
        task: str,
        scores: str = "logits",
        are_pairs: bool = False,
        labels: Sequence[str] = (),
    ):
        if isinstance(spec_or_function, str):
            self.name, self._function = spec_or_function, _import(spec_or_function)
        else:
            self.name, self._function = name_of(spec_or_function), spec_or_function
        self._classes, self._task, self._scores, self._are_pairs = classes, task, scores, are_pairs
        self._labels = list(labels)

    def logits(self, texts: Sequence[str]) -> np.ndarray:
        """``(len(texts), classes)``, as of :func:`to_logits`."""
        if not len(texts):
            return np.empty((0, self._classes), np.float32)
        given = self._function(pairs.split(texts) if self._are_pairs else list(texts))
        who = f"the teacher {self.name}"
        if hasattr(given, "detach"):  # a torch tensor, perhaps on a GPU, perhaps bfloat16, which numpy has not
            given = given.detach().cpu().float().numpy()
        elif hasattr(given, "__next__"):
            given = list(given)
        elif hasattr(given, "columns") and sorted(map(str, given.columns)) == sorted(self._labels):
            given = given[self._labels]
        if self._task == "regression":
            wanted = f"one number a text: ({len(texts)},)"
        else:
            some = ", ".join([*map(str, self._labels[:6]), *["..."] * (len(self._labels) > 6)])
            names = f" ({some})" if some else ""
            wanted = f"a row a text and in it a number a label{names}: ({len(texts)}, {self._classes})"
        if strange := _strange(given, self._classes, self._task):
            raise DataError(f"{who} gave {strange}; it should return {wanted}")
        try:
            values = as_numbers(given)
        except (TypeError, ValueError):
            right = [(self._classes,), *[()] * (self._task == "regression")]
            for i, row in enumerate(given if isinstance(given, list | tuple) else ()):
                if _shape_of(row) not in right:
                    many = "a number" if self._classes == 1 else f"{self._classes} numbers"
                    raise RowError(who, i, f"{row!r:.60} for it, not {many}") from None
            raise DataError(f"{who} gave what are not numbers ({given!r:.60}); it should return {wanted}") from None
        if values.shape not in ((len(texts), self._classes), (len(texts),) if self._task == "regression" else ()):
            what = f"an array of shape {values.shape} for {len(texts)} texts"
            raise DataError(f"{who} gave {what}; it should return {wanted}")
        return to_logits(values, self._scores, self._task, who)


def _strange(given: Any, classes: int, task: str) -> str:
    """What a function gave, in words, where it is of a kind that people return for scores; else nothing."""
    if given is None or isinstance(given, str | bytes | dict | int | float | set):
        return "None" if given is None else f"a {type(given).__name__}"
    if not isinstance(given, list | tuple | np.ndarray) or not len(given):
        return ""
    first = given[0]
    inner = first[0] if isinstance(first, list | tuple) and len(first) else first
    if isinstance(inner, dict):
        return f"dictionaries as a Hugging Face pipeline does ({inner!r:.60}), not the scores alone"
    if isinstance(inner, str):
        return f"names ({str(inner)!r:.40}), not scores; a row of 0 and 1 will do as scores"
    if task != "regression" and np.ndim(first) == 0:
        if isinstance(first, int | np.integer) and not isinstance(first, bool):
            return "one whole number a text, as class indices; numpy.eye(classes)[indices] makes rows of them"
        return "one number a text; of two classes each has one, [1 - p, p]"
    if task == "single" and classes > 1 and np.shape(first) == (1,):
        return "one number a text; of two classes each has one, [1 - p, p]"
    return ""


def _shape_of(row: Any) -> tuple[int, ...] | None:
    """Of an array of numbers; None where it is none."""
    try:
        return as_numbers(row).shape
    except (TypeError, ValueError):
        return None


def source_of(spec: str) -> str | None:
    """The file that defines the function named as "module:function", where it is a file.

    Errors: :class:`SettingsError` when there is no such function.
    """
    try:
        return inspect.getsourcefile(inspect.unwrap(_import(spec)))
    except TypeError:  # built in, or an object that can be called
        return None


def fingerprint_of(function: Callable[[list[Any]], Any]) -> str:
    """Fingerprint of a function by its source.

    What a function is cannot be told where it has no source, or has values bound to it: its fingerprint is then of this
    process alone, so that nothing is taken for its work that may not be.
    """
    function = inspect.unwrap(function)
    try:
        source = inspect.getsource(function)
    except (OSError, TypeError):  # built in, an object that can be called, or typed in where no source is kept
        source = ""
    if not source or getattr(function, "__closure__", None) or getattr(function, "__self__", None) is not None:
        source = f"{os.getpid()} {id(function)} {time.time()}"
    return hashlib.blake2b(source.encode(), digest_size=16).hexdigest()


def _import(spec: str) -> Callable[[list[Any]], Any]:
    module_name, _, function_name = spec.partition(":")
    # A script started by its installed name does not have the working directory on its path.
    here = os.getcwd()
    sys.path.insert(0, here)
    try:
        named: Any = importlib.import_module(module_name)
        for part in function_name.split("."):
            named = getattr(named, part)
    except ModuleNotFoundError as error:
        if error.name is None or error.name.split(".")[0] != module_name.split(".")[0]:
            raise  # the module is there, something it needs is not: its own message says what
        raise SettingsError(
            f"the teacher {spec} names no module that can be imported from {here}, check its name"
        ) from None
    except (AttributeError, ValueError):
        raise SettingsError(f"the teacher {spec} names no function of {module_name}, write module:function") from None
    finally:
        sys.path.remove(here)
    if not callable(named):
        raise SettingsError(f"the teacher {spec} is not a function, write module:function")
    function: Callable[[list[Any]], Any] = named
    return function
