"""How a text's share of known n-grams goes with the student's loss against its teacher."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..cells import COLOURS, SYSTEMS, Table
from ..cells import TASKS as TITLES
from ..package import Vocabulary, probabilities
from ..records import Recorded
from ..study import first_seed
from ..task import Task, accuracy

TITLE = "Coverage"
NOTE = (
    "How much a student departs from its teacher where its n-grams are unknown: test texts in tenths by the share of "
    "their n-grams that are known; seed 0 of the student that dev chose."
)
TASKS = ("imdb", "sst2", "trec50", "agnews", "tweets")
AXES = "% of n-grams known, tenths of the texts", "KL(teacher || student)"
BINS = 10


def measure(task: Task) -> dict[str, Any]:
    """Tenths of the first test set by coverage: its mean, KL(teacher || student), student's and teacher's accuracy."""
    run, name = first_seed(task)
    vocabulary, student = run.trained(name)
    texts, gold, teacher = task.first_test()
    ids, offsets = run.bags(vocabulary, texts, 0)
    # A hashed vocabulary knows every n-gram there is: its bags say how many a text has.
    rules = {rule: getattr(vocabulary, rule) for rule in ("tokenizer", "lowercase", "normalize", "max_n")}
    _, all_offsets = run.bags(Vocabulary.hash(1, **rules), texts, 0)
    covered = np.diff(offsets).astype(float) / np.maximum(np.diff(all_offsets).astype(float), 1)
    logits = student.logits(ids, offsets, 2)
    p, q = probabilities(teacher, "single"), probabilities(logits, "single")
    loss = (p * (np.log(np.maximum(p, 1e-12)) - np.log(np.maximum(q, 1e-12)))).sum(axis=1)
    tenths = [
        {
            "coverage": float(covered[part].mean()),
            "loss": float(loss[part].mean()),
            "student": accuracy(logits[part], gold[part]),
            "teacher": accuracy(teacher[part], gold[part]),
        }
        for part in np.array_split(np.argsort(covered, kind="stable"), BINS)
    ]
    return {"student": name, "tenths": tenths, "correlation": float(np.corrcoef(covered, loss)[0, 1])}


def tables(study: dict[str, Any], results: dict[str, Recorded]) -> list[Table]:
    """A task a row, a tenth a column."""
    rows = [
        [f"{TITLES[key]}, {SYSTEMS[one['student']]}",
         *(f"{tenth['loss']:.3f} <small>{tenth['coverage']:.0%}</small>" for tenth in one["tenths"]),
         f"{one['correlation']:+.2f}"]
        for key, one in study.items()
    ]  # fmt: skip
    return [[["KL <small>known</small>", *map(str, range(1, BINS + 1)), "correlation"], *rows]]


def draw(axes: Any, figures: dict[str, Any], record: Recorded) -> None:
    """The tenths."""
    coverage, loss = ([tenth[name] for tenth in figures["tenths"]] for name in ("coverage", "loss"))
    axes.plot([100 * share for share in coverage], loss, "o-", ms=3, color=COLOURS[0])
