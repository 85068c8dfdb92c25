"""The texts where student and teacher disagree, the most confident first, with the n-grams that decided."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..cells import SYSTEMS, Table, escape
from ..cells import TASKS as TITLES
from ..package import probabilities
from ..records import Recorded
from ..study import first_seed
from ..task import Task

TITLE = "Where student and teacher disagree"
NOTE = (
    "Shares of the test texts; seed 0 of the student that dev chose. Below them the disagreements in which both are "
    "most confident, with the n-grams that decided; `experiments/results/` has twenty a task."
)
TASKS = ("sst2", "imdb", "trec50", "agnews", "tweets")
TEXTS = 20
SHOWN = 2  # of them on the page
LONGEST = 400  # characters of a text that are kept


def measure(task: Task) -> dict[str, Any]:
    """Shares of the first test set by who is right, and the most confident disagreements."""
    run, name = first_seed(task)
    classifier = run.classifier(name)
    texts, gold, teacher = task.first_test()
    p, q = probabilities(teacher, "single"), classifier.predict_proba(task.run.for_classifier(texts))
    theirs, ours = p.argmax(1), q.argmax(1)
    apart = np.flatnonzero(theirs != ours)
    first = apart[np.argsort(-np.minimum(p.max(1), q.max(1))[apart], kind="stable")][:TEXTS]
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
            for i in first.tolist()
        ],
    }


def tables(study: dict[str, Any], results: dict[str, Recorded]) -> list[Table]:
    """A task a row, and a text a row."""
    shares = ("agree", "both_right", "teacher_alone_right", "student_alone_right")
    rows = [["", "agree", "both right", "teacher alone right", "student alone right"]]
    texts = [["", "gold", "teacher", "student", "text", "n-grams that decided"]]
    for key, one in study.items():
        rows.append([f"{TITLES[key]}, {SYSTEMS[one['student']]}", *(f"{one[share]:.1%}" for share in shares)])
        for text in one["texts"][:SHOWN]:
            ngrams = ", ".join(f"{escape(ngram)} {weight:+.2f}" for ngram, weight in text["ngrams"])
            decisions = [f"{escape(label)} {chance:.2f}" for label, chance in (text["teacher"], text["student"])]
            words = escape(" ".join(text["text"].split()))
            texts.append([TITLES[key], escape(text["gold"]), *decisions, words, f"<small>{ngrams}</small>"])
    return [rows, texts]
