"""The privacy setting: what students give away of their training texts, and what keeping these from them costs.

Membership inference by loss (Yeom et al. 2018): an attacker guesses that a text was trained on where the student's loss
on its label is small. AUC 0.5 is a guess. The student of KD† was trained on the corpus alone; texts of train that are
in the corpus as well do not count.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from .. import corpora
from ..cells import Table, by_system
from ..package import probabilities
from ..records import Recorded
from ..study import first_seed
from ..task import Task, decided

TITLE = "What a student tells of its training texts"
NOTE = (
    "How well the loss on a text's label tells texts of train, those in the corpus left out, from texts of dev, as the "
    "area under the curve: 0.5 is a guess; ± is 95 % over the texts of dev, at most. KD† was trained on the corpus "
    "alone. Seed 0."
)
TASKS = ("sst2", "trec6", "trec50", "agnews", "tweets", "imdb")


def measure(task: Task) -> dict[str, Any]:
    """By system: AUC of telling train from dev by the loss, and accuracy on the test texts."""
    (run, _), found = first_seed(task), {}
    chosen = {part: np.arange(len(task.inputs.part(part).texts)) for part in ("train", "dev")}
    chosen["train"] = members(task)
    parts = {part: task.inputs.part(part) for part in chosen}
    texts = {part: [parts[part].texts[i] for i in rows] for part, rows in chosen.items()}
    gold = {part: parts[part].targets[rows] for part, rows in chosen.items()}
    logits = {"teacher": {part: task.run.teacher_logits(part)[rows] for part, rows in chosen.items()}}
    predictions = {"teacher": task.run.teacher_logits("test").argmax(1)}
    for name in run.students:
        score = run.classifier(name).decision_function
        logits[name] = {part: score(task.run.for_classifier(some)) for part, some in texts.items()}
        predictions[name] = decided(task, run, name)
    for name, of_part in logits.items():
        losses = {}
        for part, truth in gold.items():
            chance = probabilities(of_part[part], "single")[np.arange(len(truth)), truth]
            losses[part] = -np.log(np.maximum(chance, 1e-12))
        found[name] = {"auc": auc(losses["train"], losses["dev"]), "accuracy": task.accuracies(predictions[name])}
    return found


def members(task: Task) -> np.ndarray:
    """Rows of train that are like dev but for having been trained on: whole sentences, and not in the corpus."""
    texts = task.inputs.part("train").texts
    rows = corpora.whole(texts) if task.key == "sst2" else np.arange(len(texts))
    public = {_letters(text) for text in task.texts("corpus")}
    return np.array([i for i in rows if _letters(texts[i]) not in public])


def _letters(text: str) -> str:
    return "".join(filter(str.isalnum, text.lower()))


def auc(members: np.ndarray, others: np.ndarray) -> float:
    """The probability that a member's loss is below another's, ties counting half."""
    ranked = np.sort(others)
    below = len(others) - np.searchsorted(ranked, members, side="right")
    ties = np.searchsorted(ranked, members, side="right") - np.searchsorted(ranked, members, side="left")
    return float((below + ties / 2).mean() / len(others))


def tables(study: dict[str, Any], results: dict[str, Recorded]) -> list[Table]:
    """A system a row, a task a column."""

    def cell(name: str, key: str) -> str:
        if name not in study[key]:
            return ""
        auc, sizes = study[key][name]["auc"], results[key].studies.get("sizes")
        # Its variance is auc (1 - auc) / the smaller number of texts at most: dev's (Birnbaum and Klose 1957).
        half = f" ±{1.96 * math.sqrt(auc * (1 - auc) / sizes['figures']['texts']['dev']):.2f}" if sizes else ""
        return f"{auc:.2f}{half}"

    return [by_system(study, cell, "AUC")]
