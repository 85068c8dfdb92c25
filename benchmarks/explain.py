"""How exactly contributions of n-grams and the bias sum to the logit: of every kind of head, pooling and input."""

from __future__ import annotations

import argparse
import itertools
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from sparsedistill import Classifier, _core
from sparsedistill.artefact import FORMAT_VERSION
from sparsedistill.pooling import POOLINGS
from sparsedistill.student.vocabulary import Vocabulary

KINDS: dict[str, dict[str, tuple[str, int]]] = {
    "single": {"": ("single", 4)},
    "multi": {"": ("multi", 3)},
    "regression": {"": ("regression", 1)},
    "several": {"topic": ("single", 5), "flags": ("multi", 2), "score": ("regression", 1)},
}
WIDTH, HIDDEN = 16, 12
WORDS = 2_000


def random_texts(count: int, seed: int = 0) -> list[str]:
    """Texts of 0 to 80 words, frequent and rare ones, some that no vocabulary of the others has, with accents."""
    rng = np.random.default_rng(seed)
    letters = np.array(list("abcdefghijklmnopqrstuvwxyzéßñ漢"))
    words = ["".join(rng.choice(letters, rng.integers(1, 9))) for _ in range(WORDS)]
    drawn = (rng.pareto(0.7, (count, 80)) * 3).astype(np.int64) % WORDS
    lengths = rng.integers(0, 81, count)
    return [" ".join(words[i] for i in row[:n]).capitalize() for row, n in zip(drawn, lengths.tolist(), strict=True)]


def random_classifier(
    vocabulary: Vocabulary, kind: str, pooling: str, pairs: bool = False, depth: int = 2, seed: int = 0
) -> Classifier:
    """A classifier of random weights, with ``depth`` (1 or more) dense layers; rows are int8 or floats."""
    rng = np.random.default_rng(seed)
    heads, how = KINDS[kind], POOLINGS[pooling]
    outputs = sum(labels for _, labels in heads.values())
    pooled = how.pooled(WIDTH) * (4 if pairs else 1)
    widths = [pooled, *[HIDDEN] * (depth - 1), outputs]
    tensors: dict[str, np.ndarray] = {"slots": vocabulary.slots}
    if how.weighted:
        rows = rng.standard_normal((len(vocabulary), WIDTH)).astype(np.float32)
        rows[:, -1] = np.exp(rows[:, -1])
        rows[:, :-1] *= rows[:, -1:]
        tensors["rows"] = rows
    else:
        tensors["rows"] = rng.integers(-127, 127, (len(vocabulary), WIDTH), np.int8, endpoint=True)
        tensors["scale"] = (rng.uniform(0.5, 2, WIDTH) / 127).astype(np.float32)
    tensors["bias"] = rng.standard_normal(pooled).astype(np.float32)
    for i, (n_in, n_out) in enumerate(itertools.pairwise(widths)):
        tensors[f"layers.{i}.weight"] = (rng.standard_normal((n_in, n_out)) / np.sqrt(n_in)).astype(np.float32)
        tensors[f"layers.{i}.bias"] = rng.standard_normal(n_out).astype(np.float32)
    described = [
        {"task": task, "labels": [f"label {i}" for i in range(labels)]}
        | ({"thresholds": [0.5] * labels} if task == "multi" else {})
        | ({"name": name} if name else {})
        for name, (task, labels) in heads.items()
    ]
    rows_type = "float32" if how.weighted else "int8"
    config = {
        "format": "sparsedistill",
        "format_version": FORMAT_VERSION,
        "text": {**vocabulary.rules.config(), "seed": vocabulary.seed, "unicode": _core.unicode_version},
        "pooling": pooling,
        "pairs": pairs,
        "rows": {"count": len(vocabulary), "width": WIDTH, "type": rows_type, "in_slots": False},
        "relu_first": depth > 1,
        "layers": depth,
        **({"heads": described} if kind == "several" else described[0]),
    }
    return Classifier(config, tensors)


def error_of(classifier: Classifier, texts: Sequence[Any]) -> float:
    """The largest difference between bias + contributions and the logit, of any text and head, over max(1, |logit|).

    Logits are those of ``decision_function``; of a head that gives one label of many, less their mean over the labels.
    """
    worst = 0.0
    for head in classifier.heads:
        logits = classifier.decision_function(list(texts), head=head.name or None).astype(np.float64)
        if head.task == "single":
            logits -= logits.mean(axis=1, keepdims=True)
        for i, text in enumerate(texts):
            which = i % len(head.labels)
            why = classifier.explain(text, head.labels[which], None, head.name or None, grouped=i % 2 == 1)
            total = why.bias + sum(number for _, number in why.contributions)
            worst = max(worst, abs(float(total - logits[i, which])) / max(1.0, abs(float(logits[i, which]))))
    return worst


def explain_error(
    runs: Path | None = None,
    count: int = 1_000,
    kinds: Sequence[str] = tuple(KINDS),
    poolings: Sequence[str] = tuple(POOLINGS),
) -> dict[str, float]:
    """:func:`error_of` on ``count`` random texts of every kind of head and pooling, of texts and of pairs.

    ``runs``: a folder with run directories, or classifiers, at any depth, whose classifiers are measured, too. The key
    ``explain_error`` has the worst.
    """
    texts = random_texts(count)
    vocabulary = Vocabulary.count([texts[::2]], tokenizer="words", max_n=3)
    paired = list(zip(texts, reversed(texts), strict=True))
    errors = {}
    for kind, pooling, pairs in itertools.product(kinds, poolings, (False, True)):
        classifier = random_classifier(vocabulary, kind, pooling, pairs)
        errors[f"{kind}, {pooling}{', pairs' * pairs}"] = error_of(classifier, paired if pairs else texts)
    for path in sorted(runs.glob("**/classifier/config.json")) if runs else []:
        classifier = Classifier.load(path.parent)
        errors[str(path.parent)] = error_of(classifier, paired if classifier.pairs else texts)
    return {"explain_error": max(errors.values()), **errors}


def main() -> None:
    """Print the error of each, and the worst."""
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--runs", type=Path, help="folder of runs, whose classifiers are measured, too")
    options.add_argument("--texts", type=int, default=1_000, help="random texts of each (default: 1,000)")
    options.add_argument("--json", type=Path, help="write the figures there")
    arguments = options.parse_args()
    errors = explain_error(arguments.runs, arguments.texts)
    for name, error in errors.items():
        print(f"{error:9.2e}  {name}")
    if arguments.json:
        arguments.json.write_text(json.dumps(errors, indent=1) + "\n")


if __name__ == "__main__":
    main()
