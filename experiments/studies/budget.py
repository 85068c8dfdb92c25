"""How to spend a budget of parameters: many n-grams with narrow rows, or few with wide ones."""

from __future__ import annotations

from typing import Any

from ..study import main, student
from ..task import Task

# The paper's ratios at a hundredth of its sizes or so: the corpora here are that much smaller.
BUDGETS = {
    "16M": [(62_500, 256), (125_000, 128), (250_000, 64), (1_000_000, 16)],
    "32M": [(62_500, 512), (125_000, 256), (250_000, 128), (500_000, 64), (2_000_000, 16)],
    "64M": [(62_500, 1024), (125_000, 512), (250_000, 256), (500_000, 128), (1_000_000, 64)],
}


def measure(task: Task) -> dict[str, Any]:
    """By budget, a list of {rows, width, and the figures}."""
    return {
        budget: [
            {
                "rows": rows,
                "width": width,
                **student(task, f"budget-{rows}-{width}", count__size=rows, count__max_n=4, distill__hidden=[width]),
            }
            for rows, width in pairs
        ]
        for budget, pairs in BUDGETS.items()
    }


if __name__ == "__main__":
    main(__doc__, ("sst2",), measure)
