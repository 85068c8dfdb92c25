"""Longer n-grams switched off at inference, in a student that was trained with one to four words."""

from __future__ import annotations

import shutil
from typing import Any

from ..study import kept, lengths, main, student, without
from ..systems import SEEDS
from ..task import Task


def measure(task: Task) -> dict[str, Any]:
    """By the longest n-gram left: how many n-grams those are, and by seed the accuracy by test set."""
    found: dict[str, Any] = {}
    for seed in SEEDS:
        name, changes = f"ngrams-{seed}", {"count__max_n": 4, "distill__student_seed": seed}
        student(task, name, keep=True, **changes)
        run = kept(task, name, **changes)
        vocabulary, trained = run.trained("kd")
        ids, offsets = run.bags(vocabulary, task.inputs.part("test").texts, 0)
        tokens = lengths(vocabulary)
        for n in (1, 2, 3, 4):
            logits = trained.logits(*without(tokens <= n, ids, offsets), 2)
            entry = found.setdefault(str(n), {"ngrams": int((tokens <= n).sum()), "seeds": {}})
            entry["seeds"][str(seed)] = {"accuracy": task.accuracies(logits.argmax(axis=1))}
        shutil.rmtree(run.directory)
    return found


if __name__ == "__main__":
    main(__doc__, ("imdb", "agnews", "sst2", "trec6", "trec50", "tweets"), measure)
