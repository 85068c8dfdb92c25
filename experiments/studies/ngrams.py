"""Longer n-grams switched off at inference, in a student that was trained with one to four words."""

from __future__ import annotations

from typing import Any

from ..cells import TASKS as TITLES
from ..cells import Table, over_seeds, theirs
from ..records import Recorded
from ..study import forget, kd_run, lengths, student, without
from ..systems import SEEDS
from ..task import Task

TITLE = "Longer n-grams switched off"
NOTE = "In the KD student, trained with one to four words; in small print how many n-grams are left."
TASKS = ("imdb", "agnews", "sst2", "trec6", "trec50", "tweets")
THEIRS = {"IMDB (KD+FT)": (74.9, 92.1, 93.3, 93.5), "AG News (KD+FT)": (91.3, 92.9, 93.0, 93.0)}


def measure(task: Task) -> dict[str, Any]:
    """By the longest n-gram left: how many n-grams those are, and by seed the accuracy by test set."""
    found: dict[str, Any] = {}
    for seed in SEEDS:
        name, changes = f"ngrams-{seed}", {"count__max_n": 4, "distill__student_seed": seed}
        student(task, name, keep=True, **changes)
        run = kd_run(task, name, **changes)
        vocabulary, trained = run.trained("kd")
        ids, offsets = run.bags(vocabulary, task.inputs.part("test").texts, 0)
        tokens = lengths(vocabulary)
        for n in (1, 2, 3, 4):
            logits = trained.logits(*without(tokens <= n, ids, offsets), 2)
            entry = found.setdefault(str(n), {"ngrams": int((tokens <= n).sum()), "seeds": {}})
            entry["seeds"][str(seed)] = {"accuracy": task.accuracies(logits.argmax(axis=1))}
        forget(run)
    return found


def tables(study: dict[str, Any], results: dict[str, Recorded]) -> list[Table]:
    """A task a row, the longest n-gram a column."""
    rows = [
        [TITLES[key], *(f"{over_seeds(left)} <small>{left['ngrams']:,}</small>" for left in one.values())]
        for key, one in study.items()
    ]
    return [[["", "n = 1", "n ≤ 2", "n ≤ 3", "n ≤ 4"], *rows, *theirs(THEIRS)]]
