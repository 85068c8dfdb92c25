"""The studies, a module each, in the order of the page of results.

A module owns its ``TITLE``, the ``NOTE`` below it, the ``TASKS`` that it is run on where none are named, and

- ``measure(task)``: the figures of a task, as JSON can hold them;
- ``tables(study, results)``: those of all tasks as tables; ``results`` are the records of all tasks.

Some have ``claims(study)``, of the paper; ``AXES``, the names of the axes of a plot a task, and ``draw(axes, figures,
record)``; and ``teacher(task)``, another way to find out of which teacher they are.
"""

from importlib import import_module
from typing import Any

NAMES = (
    "sizes", "teachers", "speed", "architecture", "budget", "width", "pruning", "ngrams", "corpus_size", "coverage",
    "adaptation", "privacy", "columns", "cases",
)  # fmt: skip


def module_of(name: str) -> Any:
    """The module of a study."""
    return import_module(f"{__name__}.{name}")
