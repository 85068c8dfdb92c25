"""Label errors put into real train sets, and found again; and the shift between sets of real texts."""

from __future__ import annotations

import argparse
import logging
import tempfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from labelled import Task
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import average_precision_score
from sklearn.model_selection import cross_val_predict
from sklearn.multiclass import OneVsRestClassifier

from sparsedistill import Classifier, Run, Settings
from sparsedistill.drift import drift
from sparsedistill.format import write_json
from sparsedistill.label_errors import confident_errors, odds
from sparsedistill.progress import say
from sparsedistill.quality import label_errors
from sparsedistill.stages.folds import out_of_fold

TASKS = {"trec6": None, "agnews": 10_000, "sst2": 10_000}  # texts of train that are taken
RATES = (0.03, 0.1)
PAIRS = (
    ("imdb/train", "imdb/test"), ("agnews/train", "agnews/test"), ("fdu_mtl_reviews/train", "fdu_mtl_reviews/test"),
    ("imdb/train", "product_reviews/unlabeled"), ("news/unlabeled", "agnews/test"),
)  # fmt: skip


def texts_of(name: str, data: Path, folder: Path, size: int | None) -> tuple[list[str], np.ndarray, tuple[str, ...]]:
    """The first ``size`` texts of a task's train in a seeded order, their labels and names."""
    task = Task(name, data, folder)
    texts, gold = task.train
    some = np.random.default_rng(0).permutation(len(texts))[:size]
    return [texts[i] for i in some], gold[some], task.labels


def by_tfidf(texts: list[str], gold: np.ndarray) -> np.ndarray:
    """Probabilities (n, C) of TF-IDF and logistic regression, five-fold cross-validated."""
    features = TfidfVectorizer(ngram_range=(1, 2), sublinear_tf=True).fit_transform(texts)
    model = OneVsRestClassifier(LogisticRegression(C=10, solver="liblinear"))
    return cross_val_predict(model, features, gold, cv=5, method="predict_proba")


def flipped(gold: np.ndarray, shares: np.ndarray, kind: str, rate: float, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """(labels, which are wrong) after a share was changed: to any other label, or to ones that ``shares`` confuse."""
    rng = np.random.default_rng(seed)
    chosen = rng.choice(len(gold), round(rate * len(gold)), replace=False)
    weights = np.ones_like(shares) if kind == "random" else shares.copy()
    weights[np.arange(len(gold)), gold] = 0
    if kind == "confusion":  # of texts, too, those that are confused
        doubt = weights.sum(axis=1)
        chosen = rng.choice(len(gold), len(chosen), replace=False, p=doubt / doubt.sum())
    labels = gold.copy()
    for i in chosen:
        labels[i] = rng.choice(shares.shape[1], p=weights[i] / weights[i].sum())
    return labels, labels != gold


def run_of(texts: list[str], labels: list[str], folder: Path) -> Run:
    """A run of labels alone, whose texts are prepared; row i + 1 is text i."""
    pq.write_table(pa.table({"text": texts, "label": labels}), folder / "train.parquet")
    run = Run(folder / "run", Settings.of(train=str(folder / "train.parquet"), modes=["scratch"], dev_fraction=0.02))
    run.check()
    return run


def figures(wrong: np.ndarray, score: np.ndarray) -> dict[str, float]:
    """Precision at the number of errors, and average precision."""
    first = np.argsort(-score, kind="stable")[: wrong.sum()]
    return {"precision": float(wrong[first].mean()), "average": float(average_precision_score(wrong, score))}


def found_again(name: str, data: Path, folder: Path) -> Iterator[dict]:
    """For each kind and rate, how well errors are found."""
    texts, gold, names = texts_of(name, data, folder, TASKS[name])
    clean = by_tfidf(texts, gold)
    for kind in ("random", "confusion"):
        for rate in RATES:
            labels, wrong = flipped(gold, clean, kind, rate, 1)
            with tempfile.TemporaryDirectory() as place:
                run = run_of(texts, [names[i] for i in labels], Path(place))
                part, logits = run.inputs.part("train"), out_of_fold(run)
            rows = np.array([part.places.where(i)[1] - 1 for i in range(len(part.texts))])
            of_part, wrong = part.targets, wrong[rows]
            shares, every = by_tfidf(part.texts, of_part), np.arange(len(rows))
            own, others = shares[every, of_part], shares.copy()
            others[every, of_part] = -1
            yield {
                "task": name, "kind": kind, "rate": rate, "texts": len(rows), "wrong": int(wrong.sum()),
                "estimated": confident_errors(of_part, logits),
                "ours": figures(wrong, odds(logits, of_part)),
                "tfidf_self_confidence": figures(wrong, -own),
                "tfidf_margin": figures(wrong, others.max(axis=1) - own),
                "random": figures(wrong, np.random.default_rng(2).random(len(rows))),
            }  # fmt: skip


def as_they_are(name: str, data: Path, folder: Path, top: int) -> dict:
    """The likeliest errors of a train set as it is, for a person to judge."""
    texts, gold, names = texts_of(name, data, folder, TASKS[name])
    with tempfile.TemporaryDirectory() as place:
        result = label_errors(run_of(texts, [names[i] for i in gold], Path(place)))
    return {
        "task": name,
        "texts": result["texts"],
        "estimated": result["estimated"][""],
        "first": result["errors"][:top],
    }


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--data", type=Path, required=True, help="folder of data sets")
    arguments.add_argument("--out", type=Path, default=Path("~/.cache/sparsedistill-benchmarks").expanduser())
    arguments.add_argument("--json", type=Path)
    arguments.add_argument("--tasks", nargs="*", default=list(TASKS), choices=list(TASKS))
    arguments.add_argument("--classifier", type=Path, help="by which drift is measured; default: none is")
    asked = arguments.parse_args()
    logging.getLogger("sparsedistill").setLevel(logging.WARNING)
    folder = asked.out / "labelled"
    result: dict = {"errors": [], "as_they_are": [], "drift": []}
    for name in asked.tasks:
        for row in found_again(name, asked.data, folder):
            result["errors"].append(row)
            each = ", ".join(
                f"{what} {row[what]['precision']:.3f} / {row[what]['average']:.3f}"
                for what in ("ours", "tfidf_self_confidence", "tfidf_margin", "random")
            )
            print(f"{name} {row['kind']} {row['rate']:.0%}: {row['wrong']} of {row['texts']:,}, {each}", flush=True)
        found = as_they_are(name, asked.data, folder, 20)
        result["as_they_are"].append(found)
        print(f"\n{name} as it is: {found['estimated']:,} of {found['texts']:,} by confident learning", flush=True)
        for row in found["first"]:
            print(f"  {row['gold']} -> {row['suggested']} ({row['score']:.1f}): {row['text'][:150]!r}", flush=True)
    for reference, new in PAIRS if asked.classifier else ():
        files = [str(asked.data / f"{one}.parquet") for one in (reference, new)]
        rows = drift(Classifier.load(asked.classifier), files[:1], files[1:], top=0)["distributions"]
        distances = {row["name"]: row["distance"] for row in rows}
        result["drift"].append({"reference": reference, "new": new, **distances})
        print(f"{reference}, {new}: " + ", ".join(f"{k} {v:.3f}" for k, v in distances.items()), flush=True)
    if result["errors"]:  # the least of what is gained on either baseline
        gains = [
            row["ours"]["average"] - max(row["tfidf_self_confidence"]["average"], row["tfidf_margin"]["average"])
            for row in result["errors"]
        ]
        result["label_errors_gain"] = min(gains)
        result["label_errors_average"] = float(np.mean([row["ours"]["average"] for row in result["errors"]]))
    if asked.json:
        write_json(asked.json, result)
        say(f"{asked.json}: written")


if __name__ == "__main__":
    main()
