"""How a new set of texts differs from a reference, as a classifier sees both."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from . import two_sample
from .classifier import Classifier
from .coverage import ngram_counts
from .data.files import Form, no_text
from .data.records import count, reader_of
from .errors import SettingsError
from .heads import Head, asked_heads
from .options import Data
from .progress import Progress
from .student.vocabulary import Vocabulary
from .text import TextRules

NGRAMS = 300_000  # that are counted: the most frequent of both sets
LONGEST = 2  # tokens of these
LEAST_COUNT = 5  # of an n-gram, in both sets together
LEVEL = 0.05  # of significance
HISTOGRAM = 25  # ranges

Place = Callable[[int], str]


@dataclass
class Sample:
    """What is compared of a set of n texts.

    ``numbers``: float32 (n,) by name, without NaN; ``labels``: of each head, by name, how many texts have each of its
    labels, int64 (C,). ``tokens``: of all texts together. ``least_covered``: the texts of least coverage, the longest
    first among equals.
    """

    texts: int = 0
    tokens: int = 0
    numbers: dict[str, np.ndarray] = field(default_factory=dict)
    labels: dict[str, np.ndarray] = field(default_factory=dict)
    least_covered: list[dict[str, Any]] = field(default_factory=list)


def drift(
    classifier: Classifier,
    reference: Sequence[str],
    new: Sequence[str],
    data: Data | None = None,
    *,
    head: str | None = None,
    top: int = 20,
    threads: int = 0,
) -> dict[str, Any]:
    """What sets the texts of ``new`` apart from those of ``reference``, as values that JSON can hold.

    Both are files, globs, folders or ``hf:NAME``, which ``data`` says how to read (its column ``text``, ``pair``,
    formats) and which are read three times. ``head``: one of several; None: all.

    The result has the ``distributions``, a dict each: ``name`` (see :func:`sample_of`), ``distance`` (of numbers the
    Kolmogorov-Smirnov distance, of labels the total variation; 0 to 1), ``psi``
    (:func:`sparsedistill.two_sample.stability_index`), ``p`` and ``p_adjusted`` (Holm's, for all tests here), means
    ``reference`` and ``new``. ``labels`` by head: shares of the texts by label. ``ngrams``: the ``top`` of those that
    are more frequent in ``new`` and in ``reference`` (:func:`sparsedistill.two_sample.log_odds`), and ``unknown``, the
    words without a row that are most frequent in ``new``. ``least_covered``: the ``top`` texts of ``new`` of which the
    classifier knows least, with ``coverage``, ``tokens`` and ``place``. With many texts all is significant: go by the
    distances.

    Errors: :class:`DataError` and :class:`SettingsError` for what cannot be read or compared.
    """
    sets = [
        _Set(classifier, sources, data or Data(), what) for sources, what in ((reference, "reference"), (new, "new"))
    ]
    try:
        heads = asked_heads(classifier.heads, head)
    except ValueError as error:
        raise SettingsError(f"--head: {error}") from None
    old, now = (sample_of(classifier, one.placed(), heads, top, threads) for one in sets)
    for sample, sources in ((old, reference), (now, new)):
        if not sample.texts:
            raise no_text(sources)
    labels = {
        one.name: [
            {"label": label, "reference": a / old.texts, "new": b / now.texts}
            for label, a, b in zip(
                one.labels, old.labels[one.name].tolist(), now.labels[one.name].tolist(), strict=True
            )
        ]
        for one in heads
        if one.name in old.labels
    }
    return {
        "reference": {"sources": list(reference), "texts": old.texts, "tokens": old.tokens},
        "new": {"sources": list(new), "texts": now.texts, "tokens": now.tokens},
        "distributions": compared(old, now),
        "labels": labels,
        "ngrams": _ngrams(classifier, sets, old, now, top, threads),
        "least_covered": now.least_covered,
    }


def compared(old: Sample, now: Sample) -> list[dict[str, Any]]:
    """The ``distributions`` of :func:`drift`: a test of each number, and of the labels of each head that has one a
    text.
    """
    rows: list[dict[str, Any]] = []
    for name, a in old.numbers.items():
        b = now.numbers[name]
        if not len(a) or not len(b):
            continue
        distance = two_sample.ks_distance(a, b)
        row: dict[str, Any] = {"name": name, "test": "Kolmogorov-Smirnov", "distance": distance}
        row |= {"psi": two_sample.stability_index(*two_sample.binned(a, b))}
        row |= {"p": two_sample.ks_p_value(distance, len(a), len(b)), "histogram": _histogram(a, b)}
        rows.append(row | {"reference": float(a.mean(dtype=np.float64)), "new": float(b.mean(dtype=np.float64))})
    for name, counts in old.labels.items():
        if counts.sum() != old.texts:  # of any number of labels a text, each has a number of its own
            continue
        both = counts, now.labels[name]
        statistic, degrees = two_sample.homogeneity(*both)
        row = {"name": _named(name, "labels"), "test": "chi-squared", "distance": two_sample.total_variation(*both)}
        row |= {"psi": two_sample.stability_index(*both), "head": name}
        rows.append(row | {"p": two_sample.chi_squared_p_value(statistic, degrees), "reference": None, "new": None})
    for row, adjusted in zip(rows, two_sample.holm([row["p"] for row in rows]), strict=True):
        row["p_adjusted"] = adjusted
    return rows


def _histogram(a: np.ndarray, b: np.ndarray) -> dict[str, list[float]]:
    """Shares of the texts by equal ranges of what they have, the outermost with all that is beyond."""
    ends = [np.quantile(one, (0.005, 0.995)) for one in (a, b)]
    low, high = float(min(ends[0][0], ends[1][0])), float(max(ends[0][1], ends[1][1]))
    edges = np.linspace(low, high if high > low else low + 1, HISTOGRAM + 1)
    shares = [np.histogram(np.clip(one, edges[0], edges[-1]), edges)[0] / len(one) for one in (a, b)]
    return {"edges": edges.tolist(), "reference": shares[0].tolist(), "new": shares[1].tolist()}


def drifted(result: dict[str, Any], above: float) -> list[str]:
    """Names of the distributions that are further apart than ``above``, and significantly so at :data:`LEVEL`."""
    rows = result["distributions"]
    return [row["name"] for row in rows if row["distance"] > above and row["p_adjusted"] < LEVEL]


def sample_of(
    classifier: Classifier, batches: Iterable[tuple[Any, Place]], heads: Sequence[Head], top: int = 0, threads: int = 0
) -> Sample:
    """What is compared of the texts of ``batches``: ``tokens`` a text, ``coverage`` and ``coverage of 2-grams`` (the
    share of them that has a row), and of each head the ``confidence``, the probability of its most probable label, of
    several labels a text the probability of each, ``p(LABEL)``, of a regression the ``score``.

    ``batches``: of texts as a classifier takes them, each with what says where the i-th text stands.
    """
    result = Sample()
    parts: dict[str, list[np.ndarray]] = {}
    longest = min(LONGEST, int(classifier._config["text"]["max_n"]))
    for batch, place in batches:
        known, every = ngram_counts(classifier, batch, longest, threads)
        found = {"tokens": every[:, 0]}
        if not classifier._hashed:
            found["coverage"] = known[:, 0] / np.maximum(every[:, 0], 1)
            _keep_least(result, found, batch, place, top)
            for n in range(1, longest):
                found[f"coverage of {n + 1}-grams"] = known[:, n][every[:, n] > 0] / every[:, n][every[:, n] > 0]
        logits = classifier._logits(batch, threads, "error")
        for head in heads:
            found |= _of_head(result, head, logits[:, head.outputs])
        for name, numbers in found.items():
            parts.setdefault(name, []).append(numbers.astype(np.float32))
        result.texts += len(logits)
        result.tokens += int(every[:, 0].sum())
    result.numbers = {name: np.concatenate(some) for name, some in parts.items()}
    return result


def _keep_least(sample: Sample, found: dict[str, np.ndarray], batch: Any, place: Place, top: int) -> None:
    """Add texts of a batch to the ``top`` that are least covered."""
    rows = sample.least_covered
    for i in np.lexsort((-found["tokens"], found["coverage"]))[:top].tolist():
        row = {"coverage": float(found["coverage"][i]), "tokens": int(found["tokens"][i]), "place": place(i)}
        text = batch[i] if isinstance(batch, list) else batch[i].as_py()
        rows.append({**row, "text": text if isinstance(text, str) else " | ".join(text)})
    sample.least_covered = sorted(rows, key=lambda row: (row["coverage"], -row["tokens"]))[:top]


def _of_head(sample: Sample, head: Head, logits: np.ndarray) -> dict[str, np.ndarray]:
    """The numbers of a head; its labels are added to the sample's."""
    if head.task == "regression":
        return {_named(head.name, "score"): head.scores(logits)}
    shares = head.probabilities(logits)
    if head.task == "single":
        yes = np.bincount(head.ranked(logits)[:, 0], minlength=len(head.labels))
        found = {_named(head.name, "confidence"): shares.max(axis=1)}
    else:
        yes = (shares >= head.thresholds).sum(axis=0)
        found = {_named(head.name, f"p({label})"): shares[:, i] for i, label in enumerate(head.labels)}
    sample.labels[head.name] = sample.labels.get(head.name, 0) + yes
    return found


def _named(head: str, what: str) -> str:
    return f"{head}: {what}" if head else what


def refuse_pairs(classifier: Classifier, data: Data) -> None:
    """Errors: :class:`SettingsError` for pairs of texts where the classifier labels single ones, or the other way."""
    if classifier.pairs != bool(data.pair):
        raise SettingsError(
            "the classifier labels pairs of texts: name the second's column with --pair"
            if classifier.pairs
            else "the classifier labels single texts: leave out --pair"
        )


class _Set:
    """A set of texts, read anew each time that it is gone through."""

    def __init__(self, classifier: Classifier, sources: Sequence[str], data: Data, what: str):
        refuse_pairs(classifier, data)
        if "-" in sources:
            raise SettingsError("stdin (-) can be read only once, and texts are read three times here: name files")
        self._sources, self._data, self.what = sources, data, what

    def placed(self) -> Iterator[tuple[Any, Place]]:
        """Batches of texts as a classifier takes them, and what says where they stand."""
        data = self._data
        pair = data.pair
        reader = reader_of(self._sources, data, [pair] if pair else [], "--pair", in_arrow=not pair)
        with Progress(f"read {self.what}", count(reader.sources, Form.of(data))) as bar:
            for batch in reader:
                yield list(zip(batch.texts, batch.named(pair), strict=True)) if pair else batch.texts, batch.place
                bar.add(len(batch.rows))

    def __iter__(self) -> Iterator[Any]:
        """Batches of its texts; of pairs both."""
        for batch, _ in self.placed():
            yield [half for pair in batch for half in pair] if self._data.pair else batch


def _ngrams(
    classifier: Classifier, sets: Sequence[_Set], old: Sample, now: Sample, top: int, threads: int
) -> dict[str, list[dict[str, Any]]]:
    """The ``ngrams`` of :func:`drift`."""
    rules = TextRules.of(classifier._config["text"]).of_tokens()
    longest = min(LONGEST, int(classifier._config["text"]["max_n"]))
    # The smaller set would else have no place among the most frequent.
    weight = max(1, round(old.tokens / max(now.tokens, 1)))
    result: dict[str, list[dict[str, Any]]] = {"new": [], "reference": [], "unknown": []}
    if not old.tokens + now.tokens:
        return result
    least = LEAST_COUNT if old.tokens + now.tokens > NGRAMS else 1  # of little text, all
    vocabulary = Vocabulary.count(
        sets[0], sets[1], size=NGRAMS, min_count=least, train_weight=weight, memory="1GB",
        threads=threads, max_n=longest, **rules,
    )  # fmt: skip
    b = vocabulary.train_counts.astype(np.int64)
    a = vocabulary.counts.astype(np.int64) - b
    z = two_sample.log_odds(a, b, old.tokens, now.tokens)

    def row(i: int) -> dict[str, Any]:
        ngram = vocabulary[i]
        return {"ngram": ngram, "reference": int(a[i]), "new": int(b[i]), "z": float(z[i])}

    for name, sign in (("new", 1), ("reference", -1)):
        ranked = np.argsort(-sign * z, kind="stable")[: 20 * top]
        result[name] = [row(i) for i in _apart(vocabulary, ranked[sign * z[ranked] > 0].tolist(), top)]
    words = [i for i in np.argsort(-b, kind="stable").tolist() if b[i] and " " not in vocabulary[i]]
    unknown = classifier._lookup.known([vocabulary[i] for i in words], 1, 1)
    result["unknown"] = [row(i) for i, (tokens, known) in zip(words, unknown.tolist(), strict=True) if known < tokens][
        :top
    ]
    return result


def _apart(vocabulary: Vocabulary, ranked: Sequence[int], top: int) -> list[int]:
    """The first n-grams of these, without those that share a token with one before them."""
    seen: set[str] = set()
    kept: list[int] = []
    for i in ranked:
        tokens = set(vocabulary[i].split(" "))
        if len(kept) < top and not tokens & seen:
            kept.append(i)
            seen |= tokens
    return kept
