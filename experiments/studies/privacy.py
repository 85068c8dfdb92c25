"""The privacy setting: what students give away of their training texts, and what keeping these from them costs.

Membership inference by loss (Yeom et al. 2018): an attacker guesses that a text was trained on where the student's loss
on its label is small. AUC 0.5 is a guess. The student of KD† was trained on the corpus alone; texts of train that are
in the corpus as well do not count.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from sparsedistill.classifier import probabilities

from .. import corpora
from ..study import first, main
from ..task import Task, decided


def measure(task: Task) -> dict[str, Any]:
    """By system: AUC of telling train from dev by the loss, and accuracy on the test texts."""
    run, found = first(task), {}
    chosen = {part: np.arange(len(task.inputs.part(part).texts)) for part in ("train", "dev")}
    chosen["train"] = members(task)
    parts = {part: task.inputs.part(part) for part in chosen}
    texts = {part: [parts[part].texts[i] for i in rows] for part, rows in chosen.items()}
    gold = {part: parts[part].targets[rows] for part, rows in chosen.items()}
    says = {"teacher": {part: task.run.teacher_logits(part)[rows] for part, rows in chosen.items()}}
    for name in run.students:
        classifier = run.classifier(name)
        says[name] = {part: classifier.decision_function(task.run.for_classifier(some)) for part, some in texts.items()}
    for name, logits in says.items():
        losses = {}
        for part, truth in gold.items():
            chance = probabilities(logits[part], "single")[np.arange(len(truth)), truth]
            losses[part] = -np.log(np.maximum(chance, 1e-12))
        predictions = task.run.teacher_logits("test").argmax(1) if name == "teacher" else decided(task, run, name)
        found[name] = {"auc": auc(losses["train"], losses["dev"]), "accuracy": task.accuracies(predictions)}
    return found


def members(task: Task) -> np.ndarray:
    """Rows of train that are like dev but for having been trained on: whole sentences, and not in the corpus."""
    texts = task.inputs.part("train").texts
    rows = corpora.whole(texts) if task.key == "sst2" else np.arange(len(texts))
    public = {_letters(text) for batch, _ in task.inputs.batches("corpus") for text in batch}
    return np.array([i for i in rows if _letters(texts[i]) not in public])


def _letters(text: str) -> str:
    return "".join(filter(str.isalnum, text.lower()))


def auc(members: np.ndarray, others: np.ndarray) -> float:
    """The chance that a member's loss is below another's, ties counting half."""
    ranked = np.sort(others)
    below = len(others) - np.searchsorted(ranked, members, side="right")
    ties = np.searchsorted(ranked, members, side="right") - np.searchsorted(ranked, members, side="left")
    return float((below + ties / 2).mean() / len(others))


if __name__ == "__main__":
    main(__doc__, ("sst2", "trec6", "trec50", "agnews", "tweets", "imdb"), measure)
