"""Long documents made of short texts with known labels, and accuracy by what of them is read.

A document is right where its score, the probability of one label, is on the right side of a cut; the cut of each rule,
and how parts are cut and pooled, are chosen on documents made of dev.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from labelled import Task

from sparsedistill import Classifier

READ = 4096  # bytes that the rules which read a part of the document have
DOCUMENTS = {"dev": 500, "test": 1000}
PARTS = ("paragraph", "sentence", "window:200/100")
POOLS: dict[str, Callable[[np.ndarray], float]] = {
    "mean": lambda p: float(p.mean()),
    "max": lambda p: float(p.max()),
    "top3": lambda p: float(np.sort(p)[-3:].mean()),
    "share:0.5": lambda p: float((p >= 0.5).mean()),
}


@dataclass(frozen=True)
class Kind:
    """Documents of ``texts`` texts, of which some have the ``label``.

    A document is positive where most of them have it, or, if ``one``, where one has it, else none.
    """

    title: str
    task: str
    label: str
    texts: int
    one: bool


KINDS = {
    "sentiment": Kind("31 film reviews, most of them good or bad", "imdb", "pos", 31, one=False),
    "toxic": Kind("30 comments, one of them toxic or none", "wikitoxic", "toxic", 30, one=True),
    "sports": Kind("100 news, one of them of sports or none", "agnews", "Sports", 100, one=True),
}


def documents(kind: Kind, texts: list[str], has: np.ndarray, count: int, seed: int) -> tuple[list[str], np.ndarray]:
    """``count`` documents and whether they are positive, half of them; ``has``: which texts have the label."""
    random = np.random.default_rng(seed)
    with_it, without = np.flatnonzero(has), np.flatnonzero(~has)
    made, truth = [], np.arange(count) % 2 == 0
    for positive in truth:
        least, most = (kind.texts // 2 + 1, kind.texts) if positive else (0, kind.texts // 2)
        hits = int(positive) if kind.one else int(random.integers(least, most + 1))
        drawn = [random.choice(with_it, hits, False), random.choice(without, kind.texts - hits, False)]
        made.append("\n\n".join(texts[i] for i in random.permutation(np.concatenate(drawn))))
    return made, truth


# ---- what is read ----------------------------------------------------------------------------------------------------


def whole(text: str) -> str:
    return text


def head(text: str) -> str:
    return _slices(text, [0.0], READ)


def head_tail(text: str) -> str:
    return _slices(text, [0.0, 1.0], READ // 2)


def spread(text: str) -> str:
    return _slices(text, np.linspace(0, 1, 8).tolist(), READ // 8)


def _slices(text: str, places: list[float], size: int) -> str:
    """Runs of ``size`` bytes from the start (0) to the end (1) of a text, cut at spaces where they are inside it."""
    raw = text.encode()
    if len(raw) <= READ:
        return text
    starts = [round(place * (len(raw) - size)) for place in places]
    return "\n\n".join(raw[start : start + size].decode(errors="ignore") for start in starts)


RULES: dict[str, Callable[[str], str]] = {"whole": whole, "head": head, "head+tail": head_tail, "spread": spread}


# ---- scores ----------------------------------------------------------------------------------------------------------


def of_parts(classifier: Classifier, texts: list[str], label: str, parts: str, threads: int) -> list[np.ndarray]:
    """Probabilities of the label for the parts of each text; the texts have at least one."""
    cut = [
        [text[start:end] for start, end, _ in found]
        for text, found in zip(texts, classifier.predict(texts, threads=threads, parts=parts), strict=True)
    ]
    each = _probabilities(classifier, [part for found in cut for part in found], label, threads)
    return np.split(each, np.cumsum([len(found) for found in cut])[:-1])


def _probabilities(classifier: Classifier, texts: list[str], label: str, threads: int) -> np.ndarray:
    result: np.ndarray = classifier.predict_proba(texts, threads=threads)[:, classifier.labels.index(label)]
    return result


def best_cut(scores: np.ndarray, truth: np.ndarray) -> tuple[float, float]:
    """(Cut, accuracy): the score from which on documents are positive that is right most often."""
    order = np.argsort(scores, kind="stable")
    ranked, yes = scores[order], truth[order]
    right = np.concatenate([[0], np.cumsum(~yes)]) + yes.sum() - np.concatenate([[0], np.cumsum(yes)])
    right[1:-1][ranked[1:] == ranked[:-1]] = -1  # equal scores are on one side
    at = int(right.argmax())
    cut = np.inf if at == len(ranked) else ranked[at] if at == 0 else (ranked[at - 1] + ranked[at]) / 2
    return float(cut), float(right[at] / len(truth))


def measured(kind: Kind, task: Task, classifier: Classifier, threads: int) -> dict[str, Any]:
    """Accuracy on dev and test of each rule, and of "parts", for which dev chooses ``how``; mean bytes a document."""
    made = {}
    for seed, (part, count) in enumerate(DOCUMENTS.items()):
        texts, gold = task.read(part)
        made[part] = documents(kind, texts, gold == task.labels.index(kind.label), count, seed)
    result: dict[str, Any] = {
        "documents": DOCUMENTS,
        "bytes": float(np.mean([len(text.encode()) for text in made["test"][0]])),
    }

    def judged(scores: dict[str, np.ndarray]) -> dict[str, float]:
        cut, right = best_cut(scores["dev"], made["dev"][1])
        return {"dev": right, "test": float(((scores["test"] >= cut) == made["test"][1]).mean()), "cut": cut}

    for name, rule in RULES.items():
        result[name] = judged({
            part: _probabilities(classifier, [rule(text) for text in texts], kind.label, threads)
            for part, (texts, _) in made.items()
        })  # fmt: skip
    ways = {}
    for parts in PARTS:
        each = {part: of_parts(classifier, texts, kind.label, parts, threads) for part, (texts, _) in made.items()}
        for pool, of in POOLS.items():
            ways[f"{parts} {pool}"] = judged({part: np.array([*map(of, some)]) for part, some in each.items()})
    how = max(ways, key=lambda way: ways[way]["dev"])
    return result | {"parts": ways[how] | {"how": how}, "ways": ways}
