"""Pooling, depth, W1, the table's first numbers, their type and optimiser: what the paper tried on IMDB, and more."""

from __future__ import annotations

from typing import Any

from ..study import main, tuned
from ..task import Task

VARIANTS: dict[str, dict[str, Any]] = {
    "mean": {},
    "sum": {"distill__pooling": "sum"},
    "max": {"distill__pooling": "max"},
    "mean+max": {"distill__pooling": "mean+max", "distill__embedding": 64},
    "attentive": {"distill__pooling": "attentive"},
    "factored": {"distill__embedding": 128},
    "no hidden layer": {"distill__hidden": []},
    "hidden 64, 64": {"distill__hidden": [64, 64]},
    "hidden 256": {"distill__hidden": [256]},
    "hidden 256, 64": {"distill__hidden": [256, 64]},
    "from the teacher": {"distill__init": "teacher"},
    "bfloat16": {"distill__table": "bfloat16"},
    "row-wise Adagrad": {"distill__optimizer": "adagrad"},
}
RATES = (1e-3, 3e-3, 1e-2, 3e-2)  # peak learning rates; one suits not all
SEEDS = 3


def measure(task: Task) -> dict[str, Any]:
    """By variant: the learning rate that dev chooses, and figures by seed."""
    found, plain = {}, {"distill__hidden": [64], "distill__init": "random"}
    for number, (name, changes) in enumerate(VARIANTS.items()):
        rates = [10 * rate for rate in RATES] if changes.get("distill__hidden") == [] else RATES
        found[name] = tuned(task, f"architecture-{number}", rates, SEEDS, {**plain, **changes})
    return found


if __name__ == "__main__":
    main(__doc__, ("tweets", "trec6"), measure)
