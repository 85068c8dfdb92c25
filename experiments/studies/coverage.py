"""How a text's share of known n-grams goes with the student's loss against its teacher."""

from __future__ import annotations

from typing import Any

import numpy as np

from sparsedistill.classifier import probabilities
from sparsedistill.student.vocabulary import Vocabulary

from ..study import first, main, selected
from ..task import Task

BINS = 10


def measure(task: Task) -> dict[str, Any]:
    """Tenths of the first test set by coverage: its mean, KL(teacher || student), student's and teacher's accuracy."""
    run = first(task)
    name = selected(task, run)
    vocabulary, student = run.trained(name)
    test, first_test = task.inputs.part("test"), next(iter(task.tests.values()))
    texts, targets, says = test.texts[first_test], test.targets[first_test], task.run.teacher_logits("test")[first_test]
    ids, offsets = run.bags(vocabulary, texts, 0)
    # A hashed vocabulary knows every n-gram there is: its bags say how many a text has.
    rules = {name: getattr(vocabulary, name) for name in ("tokenizer", "lowercase", "normalize", "max_n")}
    _, all_offsets = run.bags(Vocabulary.hash(1, **rules), texts, 0)
    covered = np.diff(offsets).astype(float) / np.maximum(np.diff(all_offsets).astype(float), 1)
    logits = student.logits(ids, offsets, 2)
    p, q = probabilities(says, "single"), probabilities(logits, "single")
    loss = (p * (np.log(np.maximum(p, 1e-12)) - np.log(np.maximum(q, 1e-12)))).sum(axis=1)
    rows = []
    for part in np.array_split(np.argsort(covered, kind="stable"), BINS):
        gold = targets[part]
        rows.append(
            {
                "coverage": float(covered[part].mean()),
                "loss": float(loss[part].mean()),
                "student": float((logits[part].argmax(1) == gold).mean()),
                "teacher": float((says[part].argmax(1) == gold).mean()),
            }
        )
    return {"student": name, "tenths": rows, "correlation": float(np.corrcoef(covered, loss)[0, 1])}


if __name__ == "__main__":
    main(__doc__, ("imdb", "sst2", "trec50", "agnews", "tweets"), measure)
