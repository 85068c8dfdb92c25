"""How to spend a budget of parameters: many n-grams with narrow rows, or few with wide ones."""

from __future__ import annotations

import shutil
from typing import Any

from ..study import kept, main, tuned
from ..task import Task

# The paper's ratios at a thirtieth of its sizes: the corpora here are that much smaller.
BUDGETS = {
    "16M": [(62_500, 256), (125_000, 128), (250_000, 64), (1_000_000, 16)],
    "32M": [(62_500, 512), (125_000, 256), (250_000, 128), (500_000, 64), (2_000_000, 16)],
    "64M": [(62_500, 1024), (125_000, 512), (250_000, 256), (500_000, 128), (1_000_000, 64)],
}
RATES = (1e-3, 3e-3, 1e-2)  # peak learning rates; wide rows want lower ones
SEEDS = 3
# N-grams enough for the longest table, in which all begin alike: at random.
_SHARED = {"count__max_n": 4, "count__min_count": 1, "distill__hidden": [64], "distill__init": "random"}


def measure(task: Task) -> dict[str, Any]:
    """By budget, a list of {rows, width, learning rate, and figures by seed}; the dense layers stay the same.

    Tables with more rows than the texts have n-grams are left out.
    """
    longest = max(rows for pairs in BUDGETS.values() for rows, _ in pairs)
    counted = kept(task, "budget", count__size=longest, **_SHARED)
    counted.execute(("count",))
    ngrams = counted.result_of("count.all")["ngrams"]
    shutil.rmtree(counted.directory)
    return {
        budget: [_one(task, rows, width) for rows, width in pairs if rows <= ngrams]
        for budget, pairs in BUDGETS.items()
    }


def _one(task: Task, rows: int, width: int) -> dict[str, Any]:
    changes = {"count__size": rows, "distill__embedding": width, **_SHARED}
    return {"rows": rows, "width": width, **tuned(task, f"budget-{rows}-{width}", RATES, SEEDS, changes)}


if __name__ == "__main__":
    main(__doc__, ("trec6", "tweets"), measure)
