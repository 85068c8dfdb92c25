"""Web pages by the legal value that an LLM sees in them, scored 0 to 5: our students of scores, and baselines.

All learn the same pages. Settings, and the cut above which a page is kept, are chosen by five folds of these; the test
pages are a seeded fifth, used once.
"""

from __future__ import annotations

import hashlib
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from functools import cached_property, lru_cache
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
from baselines import clean, fasttext_probabilities
from bench import UNMEASURED, package

from sparsedistill import distill
from sparsedistill.figures import auc, f1, spearman
from sparsedistill.format import read_json, write_json
from sparsedistill.progress import say

LEAST = 3.0  # score of a page that is kept
LEVELS = 6  # 0 to 5
FOLDS = 5
FIGURES = ("rho", "f1", "auc")
Settings = dict[str, Any]
Fitted = Callable[[list[str]], np.ndarray]  # texts -> predicted scores
Fit = Callable[[list[str], np.ndarray, Settings, int], Fitted]  # of texts, scores, settings, seed


class Pages:
    """``learnt``: texts and scores of four fifths of the pages, ``test``: of the others; seeded."""

    def __init__(self, data: Path):
        self._path = data / "fineweb_legal" / "scored.parquet"

    @cached_property
    def _all(self) -> tuple[list[str], np.ndarray]:
        table = pq.read_table(self._path)
        return table["text"].to_pylist(), table["score"].to_numpy()

    @cached_property
    def _order(self) -> np.ndarray:
        return np.random.default_rng(0).permutation(len(self._all[0]))

    def _take(self, rows: np.ndarray) -> tuple[list[str], np.ndarray]:
        texts, scores = self._all
        return [texts[i] for i in rows], scores[rows]

    @cached_property
    def test(self) -> tuple[list[str], np.ndarray]:
        return self._take(self._order[: len(self._order) // 5])

    @cached_property
    def learnt(self) -> tuple[list[str], np.ndarray]:
        return self._take(self._order[len(self._order) // 5 :])

    def folds(self) -> Iterator[tuple[tuple[list[str], np.ndarray], tuple[list[str], np.ndarray]]]:
        """Each fold of ``learnt``: what is left of it, and the fold."""
        rows = self._order[len(self._order) // 5 :]
        for i in range(FOLDS):
            here = np.arange(len(rows)) % FOLDS == i
            yield self._take(rows[~here]), self._take(rows[here])

    @cached_property
    def key(self) -> str:
        """Fingerprint of the texts and scores that are learnt."""
        texts, scores = self.learnt
        return hashlib.blake2b(repr((texts, scores.tolist())).encode(), digest_size=6).hexdigest()


def figures(predicted: np.ndarray, gold: np.ndarray, cut: float) -> dict[str, float]:
    """Spearman's correlation; F1, kept from ``cut`` on, and area under the ROC curve of pages of :data:`LEAST`."""
    keep, one = gold >= LEAST, np.ones((len(gold), 1))
    return {
        "rho": float(spearman(predicted, gold)(one)[0]),
        "f1": float(f1(predicted >= cut, keep)(one)[0]),
        "auc": float(auc(predicted, keep)(one)[0]),
    }


def best_cut(predicted: np.ndarray, gold: np.ndarray) -> float:
    """The predicted score above which most F1 lies."""
    order = np.argsort(-predicted, kind="stable")
    ranked, hits = predicted[order], np.cumsum(gold[order] >= LEAST)
    gained = 2 * hits / (np.arange(1, len(gold) + 1) + hits[-1])
    gained[:-1][ranked[1:] == ranked[:-1]] = -1  # equal scores are on one side
    at = int(gained.argmax())
    return float((ranked[at] + ranked[min(at + 1, len(gold) - 1)]) / 2)


# ---- systems ---------------------------------------------------------------------------------------------------------


def ridge(texts: list[str], scores: np.ndarray, settings: Settings, seed: int) -> Fitted:
    """TF-IDF of words and bigrams under scikit-learn's ridge regression."""
    from sklearn.linear_model import Ridge

    vectors, matrix = _tfidf(tuple(texts), settings["sublinear"], settings["min_df"])
    model = Ridge(alpha=settings["alpha"]).fit(matrix, scores)
    return lambda some: model.predict(vectors.transform(some))


@lru_cache(maxsize=16)  # each is asked for with several penalties
def _tfidf(texts: tuple[str, ...], sublinear: bool, least: int) -> tuple[Any, Any]:
    from sklearn.feature_extraction.text import TfidfVectorizer

    vectors = TfidfVectorizer(ngram_range=(1, 2), sublinear_tf=sublinear, min_df=least, dtype=np.float32)
    return vectors, vectors.fit_transform(texts)


RIDGE = [
    {"alpha": alpha, "sublinear": sublinear, "min_df": least}
    for sublinear, least, alpha in product((True, False), (1, 2, 3), (0.03, 0.1, 0.3, 1.0))
]


def fasttext(texts: list[str], scores: np.ndarray, settings: Settings, seed: int) -> Fitted:
    """fastText's classifier of the levels, and the score expected by its probabilities."""
    import fasttext

    fasttext.FastText.eprint = lambda *_: None
    spaced = settings["spaced"]
    with tempfile.NamedTemporaryFile("w", suffix=".txt") as file:
        for text, level in zip(texts, _rounded(scores), strict=True):
            file.write(f"__label__{level} {clean(text, spaced)}\n")
        file.flush()
        options = {name: value for name, value in settings.items() if name != "spaced"}
        model = fasttext.train_supervised(file.name, thread=1, verbose=0, seed=seed + 1, **options)

    def predict(texts: list[str]) -> np.ndarray:
        return fasttext_probabilities(model, [clean(text, spaced) for text in texts], LEVELS) @ np.arange(LEVELS)

    return predict


FASTTEXT = [
    {"wordNgrams": n, "lr": rate, "epoch": epochs, "dim": 16, "spaced": spaced, "bucket": 500_000}
    for spaced, n, rate, epochs in product((True,), (1, 2), (0.5, 1.0), (10, 25))
]


def ours(texts: list[str], scores: np.ndarray, settings: Settings, seed: int) -> Fitted:
    """A student of the labels alone.

    ``way``: it learns the "scores" or the "levels", whose expectation is the score, or both with a head each:
    "both" is the mean of what these say, "head" the expectation of the levels.
    """
    settings = {"evaluate": UNMEASURED, "seed": seed, **settings}
    way = settings.pop("way")
    table = {"text": texts, "score": scores.tolist(), "level": [str(level) for level in _rounded(scores)]}
    if way == "scores":
        classifier = distill(train=(texts, table["score"]), task="regression", **settings)
        return lambda some: np.array(classifier.predict(some))
    heads = {"level": {"task": "single"}} | ({} if way == "levels" else {"score": {"task": "regression"}})
    classifier = distill(train=table, heads=heads, **settings)
    levels = np.array(classifier.heads[0].labels, float)

    def predict(some: list[str]) -> np.ndarray:
        found: np.ndarray = classifier.predict_proba(some, head="level") @ levels
        return (found + np.array(classifier.predict(some, head="score"))) / 2 if way == "both" else found

    return predict


_LEVELS: Settings = {"keep": "last", "student": "network", "max_n": 1, "distill": {"epochs": 20}}
OURS: list[Settings] = [
    {"way": "scores"},
    {"way": "scores", "keep": "last"},
    {"way": "scores", "keep": "last", "max_n": 1},
    *({"way": way, **_LEVELS} for way in ("levels", "head", "both")),
]


def _rounded(scores: np.ndarray) -> list[int]:
    return np.floor(scores + 0.5).astype(int).tolist()


# ---- choosing, and the test pages ------------------------------------------------------------------------------------

SYSTEMS: dict[str, tuple[Fit, list[Settings]]] = {
    "ours": (ours, OURS),
    "TF-IDF + ridge": (ridge, RIDGE),
    "fastText": (fasttext, FASTTEXT),
}


def out_of_fold(pages: Pages, name: str, settings: Settings, folder: Path) -> np.ndarray:
    """Predicted scores of the pages of all folds, one after the other, each by what has learnt the other folds."""
    path = folder / f"{pages.key}-folds" / f"{_digest([name, settings])}.json"
    if not path.exists():
        predicted: list[float] = []
        start = time.monotonic()
        for (texts, scores), (held_out, _) in pages.folds():
            predicted += SYSTEMS[name][0](texts, scores, settings, 0)(held_out).tolist()
        path.parent.mkdir(parents=True, exist_ok=True)
        write_json(path, {"system": name, "settings": settings, "predicted": predicted})
        say(f"{name} {shown(settings)}: five folds in {time.monotonic() - start:.0f} s")
    return np.array(read_json(path)["predicted"])


def chosen(pages: Pages, name: str, folder: Path) -> dict[str, Any]:
    """Of the system's settings those with the best Spearman correlation in folds, with the cut that is best there."""
    gold = np.concatenate([scores for _, (_, scores) in pages.folds()])
    best: dict[str, Any] = {}
    for settings in SYSTEMS[name][1]:
        predicted = out_of_fold(pages, name, settings, folder)
        cut = best_cut(predicted, gold)
        found = {"settings": settings, "cut": cut, "folds": figures(predicted, gold, cut)}
        if not best or found["folds"]["rho"] > best["folds"]["rho"]:
            best = found
    return best


def best_on_test(pages: Pages, name: str, seeds: Sequence[int], folder: Path) -> dict[str, Any]:
    """What :func:`chosen` gives, and the figures on the test pages, by seed of what has learnt all other pages."""
    best = chosen(pages, name, folder)
    (texts, gold), found = pages.test, []
    for seed in seeds if name != "TF-IDF + ridge" else seeds[:1]:  # which has nothing random
        made = package() if name == "ours" else ""
        path = folder / f"{pages.key}-test" / f"{_digest([name, best['settings'], seed, made])}.json"
        if not path.exists():
            path.parent.mkdir(parents=True, exist_ok=True)
            predicted = SYSTEMS[name][0](*pages.learnt, best["settings"], seed)(texts).tolist()
            write_json(path, {"system": name, "settings": best["settings"], "seed": seed, "predicted": predicted})
        found.append(figures(np.array(read_json(path)["predicted"]), gold, best["cut"]))
    return best | {"test": found}


def student(pages: Pages, folder: Path) -> Path:
    """The directory of a student of the scores, by default."""
    path = folder / f"{pages.key}-students" / package()
    if not path.exists():
        texts, scores = pages.learnt
        distill(train=(texts, scores.tolist()), task="regression", evaluate=UNMEASURED).save(path)
    return path


def shown(settings: Settings) -> str:
    return ", ".join(f"{name}={value}" for name, value in settings.items()) or "defaults"


def _digest(what: Any) -> str:
    return hashlib.blake2b(repr(what).encode(), digest_size=6).hexdigest()
