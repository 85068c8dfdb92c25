"""The texts where student and teacher part, the surest first, with the n-grams that decided."""

from __future__ import annotations

from typing import Any

import numpy as np

from sparsedistill.classifier import probabilities

from ..study import first, main, selected
from ..task import Task

TEXTS = 20
LONGEST = 400  # characters of a text that are shown


def measure(task: Task) -> dict[str, Any]:
    """How the texts of the first test set fall out by who is right, and the surest disagreements."""
    run = first(task)
    name = selected(task, run)
    classifier = run.classifier(name)
    test, part = task.inputs.part("test"), next(iter(task.tests.values()))
    texts, gold, says = test.texts[part], test.targets[part], task.run.teacher_logits("test")[part]
    p, q = probabilities(says, "single"), classifier.predict_proba(task.run.for_classifier(texts))
    theirs, ours = p.argmax(1), q.argmax(1)
    apart = np.flatnonzero(theirs != ours)
    surest = apart[np.argsort(-np.minimum(p.max(1), q.max(1))[apart], kind="stable")][:TEXTS]
    labels = classifier.labels
    return {
        "student": name,
        "agree": float((theirs == ours).mean()),
        "both_right": float(((theirs == gold) & (ours == gold)).mean()),
        "student_alone_right": float(((theirs != gold) & (ours == gold)).mean()),
        "teacher_alone_right": float(((theirs == gold) & (ours != gold)).mean()),
        "texts": [
            {
                "text": texts[i][:LONGEST],
                "gold": labels[gold[i]],
                "teacher": [labels[theirs[i]], round(float(p[i].max()), 3)],
                "student": [labels[ours[i]], round(float(q[i].max()), 3)],
                "ngrams": [[g, round(c, 3)] for g, c in classifier.explain(texts[i], top=6).contributions],
            }
            for i in surest.tolist()
        ],
    }


if __name__ == "__main__":
    main(__doc__, ("sst2", "imdb", "trec50", "agnews", "tweets"), measure)
