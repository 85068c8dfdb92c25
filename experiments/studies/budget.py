"""How to spend a budget of parameters: many n-grams with narrow rows, or few with wide ones."""

from __future__ import annotations

from typing import Any

from ..study import main, tuned
from ..task import Task

# The paper's ratios at a thirtieth of its sizes: the corpora here are that much smaller.
BUDGETS = {
    "16M": [(62_500, 256), (125_000, 128), (250_000, 64), (1_000_000, 16)],
    "32M": [(62_500, 512), (125_000, 256), (250_000, 128), (500_000, 64), (2_000_000, 16)],
    "64M": [(62_500, 1024), (125_000, 512), (250_000, 256), (500_000, 128), (1_000_000, 64)],
}
RATES = (1e-3, 3e-3, 1e-2)  # peak learning rates; wide rows want lower ones
SEEDS = 3


def measure(task: Task) -> dict[str, Any]:
    """By budget, a list of {rows, width, learning rate, and figures by seed}; the dense layers stay the same."""
    return {budget: [_one(task, rows, width) for rows, width in pairs] for budget, pairs in BUDGETS.items()}


def _one(task: Task, rows: int, width: int) -> dict[str, Any]:
    changes = {"count__size": rows, "count__max_n": 4, "distill__embedding": width, "distill__hidden": [64]}
    return {"rows": rows, "width": width, **tuned(task, f"budget-{rows}-{width}", RATES, SEEDS, changes)}


if __name__ == "__main__":
    main(__doc__, ("trec6", "tweets"), measure)
