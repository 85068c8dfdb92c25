"""The most frequent n-grams alone, by their counts on corpus and train together or on train: from 100 to 1 percent."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..study import first, main, selected, without
from ..task import Task

SHARES = (1.0, 0.5, 0.3, 0.2, 0.1, 0.05, 0.03, 0.02, 0.01)


def measure(task: Task) -> dict[str, Any]:
    """By what was counted, [share kept, accuracy by test set] of the selected student, float32 as trained."""
    run = first(task)
    name = selected(run)
    vocabulary, student = run.trained(name)
    ids, offsets = run.bags(vocabulary, task.inputs.part("test").texts, 0)
    orders = {
        "corpus and train": np.arange(len(vocabulary)),  # what they stand in
        "train": np.argsort(-vocabulary.train_counts.astype(np.int64), kind="stable"),
    }
    found: dict[str, Any] = {"student": name, "ngrams": len(vocabulary)}
    for counted, order in orders.items():
        found[counted] = []
        for share in SHARES:
            keep = np.zeros(len(vocabulary), bool)
            keep[order[: max(1, round(share * len(order)))]] = True
            logits = student.logits(*without(keep, ids, offsets), 2)
            found[counted].append([share, task.accuracies(logits.argmax(axis=1))])
    return found


if __name__ == "__main__":
    main(__doc__, ("imdb", "sst2", "trec6", "trec50", "agnews", "tweets"), measure)
