"""The most frequent n-grams alone, by their counts on corpus and train together or on train: from 100 to 1 percent."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..study import first, main, selected, without
from ..task import Task

SHARES = (1.0, 0.5, 0.3, 0.2, 0.1, 0.05, 0.03, 0.02, 0.01)
KEPT = 0.03  # the paper's share that keeps most of the accuracy


def measure(task: Task) -> dict[str, Any]:
    """By what was counted, [share kept, accuracy by test set] of the selected student, float32 as trained.

    And on the first test set: by how many ``points`` counts of train are ``better``, on average over the shares, and
    which share of the accuracy is ``kept`` by 3 percent of the n-grams, with their standard errors over the texts.
    """
    run = first(task)
    name = selected(task, run)
    vocabulary, student = run.trained(name)
    ids, offsets = run.bags(vocabulary, task.inputs.part("test").texts, 0)
    orders = {
        "corpus and train": np.arange(len(vocabulary)),  # what they stand in
        "train": np.argsort(-vocabulary.train_counts.astype(np.int64), kind="stable"),
    }
    found: dict[str, Any] = {"student": name, "ngrams": len(vocabulary)}
    first_test = next(iter(task.tests.values()))
    gold = task.inputs.part("test").targets[first_test]
    right: dict[tuple[str, float], np.ndarray] = {}
    for counted, order in orders.items():
        found[counted] = []
        for share in SHARES:
            keep = np.zeros(len(vocabulary), bool)
            keep[order[: max(1, round(share * len(order)))]] = True
            said = student.logits(*without(keep, ids, offsets), 2).argmax(axis=1)
            right[counted, share] = (said[first_test] == gold).astype(float)
            found[counted].append([share, task.accuracies(said)])
    pruned = SHARES[1:]
    better = np.mean([right["train", share] - right["corpus and train", share] for share in pruned], axis=0)
    found["better"] = {"points": float(better.mean()), "error": _error(better)}
    some, all_of_it = right["train", KEPT], right["train", 1.0]
    share = some.mean() / all_of_it.mean()
    found["kept"] = {"share": float(share), "error": _error(some - share * all_of_it) / float(all_of_it.mean())}
    return found


def _error(values: np.ndarray) -> float:
    """Standard error of the mean of ``values``, one a text."""
    return float(values.std() / np.sqrt(len(values)))


if __name__ == "__main__":
    main(__doc__, ("imdb", "sst2", "trec6", "trec50", "agnews", "tweets"), measure)
