"""The privacy setting: what students give away of their training texts, and what keeping these from them costs.

Membership inference by loss (Yeom et al. 2018): an attacker guesses that a text was trained on where the student's loss
on its label is small. AUC 0.5 is a guess; the student of KD† has never seen the texts, nor their n-grams.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from sparsedistill.classifier import probabilities

from ..study import first, main
from ..task import Task, decided


def measure(task: Task) -> dict[str, Any]:
    """By system: AUC of telling train from dev by the loss, and accuracy on the test texts."""
    run, found = first(task), {}
    parts = {part: task.inputs.part(part) for part in ("train", "dev")}
    says = {"teacher": {part: task.run.teacher_says(part) for part in parts}}
    for name in run.students:
        classifier = run.classifier(name)
        says[name] = {part: classifier.decision_function(task.run.asked(some.texts)) for part, some in parts.items()}
    for name, logits in says.items():
        losses = {}
        for part, some in parts.items():
            chance = probabilities(logits[part], "single")[np.arange(len(some.targets)), some.targets]
            losses[part] = -np.log(np.maximum(chance, 1e-12))
        predictions = task.run.teacher_says("test").argmax(1) if name == "teacher" else decided(task, run, name)
        found[name] = {"auc": auc(losses["train"], losses["dev"]), "accuracy": task.accuracies(predictions)}
    return found


def auc(members: np.ndarray, others: np.ndarray) -> float:
    """The chance that a member's loss is below another's, ties counting half."""
    ranked = np.sort(others)
    below = len(others) - np.searchsorted(ranked, members, side="right")
    ties = np.searchsorted(ranked, members, side="right") - np.searchsorted(ranked, members, side="left")
    return float((below + ties / 2).mean() / len(others))


if __name__ == "__main__":
    main(__doc__, ("sst2", "trec6", "trec50", "agnews", "tweets", "imdb"), measure)
