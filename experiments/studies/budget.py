"""How to spend a budget of parameters: many n-grams with narrow rows, or few with wide ones."""

from __future__ import annotations

from typing import Any

from ..cells import TASKS as TITLES
from ..cells import Table, small
from ..cells import tuned as tuned_cells
from ..claims import Claim, difference, points
from ..records import Recorded
from ..study import forget, kd_run, tuned
from ..task import Task

TITLE = "A budget of parameters"
NOTE = (
    "The same number of parameters as many narrow rows or few wide ones, under the same dense layers; learning rates "
    "chosen on dev with seed 0; three seeds."
)
TASKS = ("trec6", "tweets")
# The paper's ratios at a thirtieth of its sizes: the corpora here are that much smaller.
BUDGETS = {
    "16M": [(62_500, 256), (125_000, 128), (250_000, 64), (1_000_000, 16)],
    "32M": [(62_500, 512), (125_000, 256), (250_000, 128), (500_000, 64), (2_000_000, 16)],
    "64M": [(62_500, 1024), (125_000, 512), (250_000, 256), (500_000, 128), (1_000_000, 64)],
}
RATES = (1e-3, 3e-3, 1e-2)  # peak learning rates; wide rows want lower ones
SEEDS = 3
THEIRS = {
    "500M": [("1M", 500, 93.0), ("2M", 250, 92.8), ("4M", 125, 92.7), ("10M", 50, 92.3)],
    "1B": [("1M", 1000, 93.2), ("2M", 500, 93.0), ("4M", 250, 92.9), ("10M", 100, 92.5), ("40M", 25, 92.0)],
    "2B": [("2M", 900, 93.1), ("4M", 500, 93.1), ("10M", 200, 92.9), ("40M", 50, 92.4)],
}
# N-grams enough for the longest table, and all tables initialised alike: at random.
_SHARED = {"count__max_n": 4, "count__min_count": 1, "distill__hidden": [64], "distill__init": "random"}


def measure(task: Task) -> dict[str, Any]:
    """By budget, a list of {rows, width, learning rate, and figures by seed}; the dense layers stay the same.

    Tables with more rows than the texts have n-grams are left out.
    """
    longest = max(rows for pairs in BUDGETS.values() for rows, _ in pairs)
    counted = kd_run(task, "budget", count__size=longest, **_SHARED)
    counted.execute(("count",))
    ngrams = counted.result_of("count.all")["ngrams"]
    forget(counted)
    return {
        budget: [_one(task, rows, width) for rows, width in pairs if rows <= ngrams]
        for budget, pairs in BUDGETS.items()
    }


def _one(task: Task, rows: int, width: int) -> dict[str, Any]:
    changes = {"count__size": rows, "distill__embedding": width, **_SHARED}
    return {"rows": rows, "width": width, **tuned(task, f"budget-{rows}-{width}", RATES, SEEDS, changes)}


def tables(study: dict[str, Any], results: dict[str, Recorded]) -> list[Table]:
    """A table's shape a row."""
    rows = [
        [f"{TITLES[key]}, {budget}", f"{pair['rows']:,} x {pair['width']}", *tuned_cells(pair)]
        for key, one in study.items() for budget, pairs in one.items() for pair in pairs
    ]  # fmt: skip
    rows += [
        small(f"the paper, IMDB, {budget}", f"{count} x {width}", figure, "", "")
        for budget, pairs in THEIRS.items() for count, width, figure in pairs
    ]  # fmt: skip
    return [[["parameters", "n-grams x width", "accuracy", "dev", "learning rate"], *rows]]


def claims(study: dict[str, Any]) -> list[Claim]:
    """Of the widest table against the longest, by budget."""
    found = []
    for key, one in study.items():
        for budget, pairs in one.items():
            wide, many = max(pairs, key=lambda pair: pair["width"]), max(pairs, key=lambda pair: pair["rows"])
            sizes = f" ({wide['rows']:,} x {wide['width']} over {many['rows']:,} x {many['width']})"
            what = f"{TITLES[key]}: wide rows beat many rows with {budget} parameters"
            found.append(points(what, *difference(wide, many), more=sizes))
    return found
