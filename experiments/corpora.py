"""Files that a task wants and that are made of others: whole sentences for dev, corpora of phrases and of pairs."""

import hashlib
import re
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from benchmarks import splits
from benchmarks.splits import whole_sentences

from .package import Progress, Reader, Teach, TransformerTeacher, read_json, replacing, run_of_words, say, write_json

SENTENCES = 400_000  # of reviews, and a phrase of each
PAIRED = (60_000, 20_000)  # texts of news and questions that become pairs
NEIGHBOURS = (1, 2, 4, 8)  # the ranks that a text's partner is drawn from


def mine(texts: Sequence[str], encoder: str, path: Path) -> None:
    """Write a Parquet file of pairs, ``text_a`` and ``text_b``, one for each of the (distinct) ``texts``.

    Random pairs are never paraphrases, so each text is paired with one of its nearest neighbours in the space of an
    encoder (mean of the last layer's tokens, cosine), near ones and less near ones alike. Most of these are not
    either, so that some of the neighbour's words give way to the text's own (:func:`spliced`).
    """
    from .neural import with_head

    with_head(encoder, path.parent / "encoder")  # the head does not matter: it is asked for embeddings alone
    model = TransformerTeacher(path.parent / "encoder", settings=Teach(max_length=64))
    with Progress("embed"):
        vectors = np.concatenate([model.embed(texts[begin : begin + 4096]) for begin in range(0, len(texts), 4096)])
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    partners = np.empty(len(texts), np.int64)
    ranks = np.random.default_rng(0).choice(NEIGHBOURS, len(texts))
    with Progress("pair", len(texts)) as bar:
        for begin in range(0, len(texts), 1024):
            near = vectors[begin : begin + 1024] @ vectors.T
            rows = np.arange(len(near))
            near[rows, begin + rows] = -np.inf  # not with itself
            first = np.argpartition(-near, max(NEIGHBOURS), axis=1)[:, : max(NEIGHBOURS)]
            ranked = np.take_along_axis(first, np.argsort(-np.take_along_axis(near, first, 1), axis=1), 1)
            partners[begin : begin + len(near)] = ranked[rows, ranks[begin : begin + len(near)] - 1]
            bar.add(len(near))
    random = np.random.default_rng(0)
    second = [spliced(text, texts[i], random) for text, i in zip(texts, partners, strict=True)]
    with replacing(path) as temporary:
        pq.write_table(pa.table({"text_a": list(texts), "text_b": second}), temporary)
    say(f"{path}: {len(texts):,} pairs")


def spliced(text: str, other: str, random: np.random.Generator) -> str:
    """``other`` with a run of ``text``'s words where a run of its own was: any share of both, from the same place."""
    share = random.random()
    begin = random.random() * (1 - share)
    ours, theirs = text.split(), other.split()
    (a, b), (c, d) = ([round(place * len(words)) for place in (begin, begin + share)] for words in (ours, theirs))
    return " ".join([*theirs[:c], *ours[a:b], *theirs[d:]])


def pairs(files: Sequence[Path], encoder: str, folder: Path) -> None:
    """For MRPC ``pairs.parquet``: like first sentences of the news, and questions, written as its own are."""
    texts: list[str] = []
    for file, most in zip(files, PAIRED, strict=True):
        found = list(_texts([file]))
        chosen = np.random.default_rng(0).permutation(len(found))[: 2 * most]
        first = (next(sentences(found[i], 6, 40), "") for i in chosen)
        texts += list(dict.fromkeys(re.sub("``|''", '"', treebank(text)) for text in first if text))[:most]
    mine(texts, encoder, folder / "pairs.parquet")


def reviews(files: Sequence[Path], encoder: str, folder: Path) -> None:
    """For SST-2 ``train.parquet``, ``dev.parquet`` and ``corpus.parquet``.

    The corpus are sentences and phrases of reviews, written as the treebank writes its own. Half of the treebank's
    train set are phrases of a few words: a teacher that labels phrases says which words it was that made a
    sentence good or bad.
    """
    table = pq.read_table(files[0], columns=["text", "label_name"])
    for name, rows in zip(("train", "dev"), whole_sentences(table["text"].to_pylist(), 0.1), strict=True):
        with replacing(folder / f"{name}.parquet") as temporary:
            pq.write_table(table.take(rows), temporary)
        say(f"{name}: {len(rows):,} of {len(table):,} texts")
    found = list(dict.fromkeys(treebank(s) for text in _texts(files[1:]) for s in sentences(text, 4, 40)))
    random = np.random.default_rng(0)
    chosen = [found[i] for i in random.permutation(len(found))[:SENTENCES]]
    phrases = [phrase(text, random) for text in chosen]
    with replacing(folder / "corpus.parquet") as temporary:
        pq.write_table(pa.table({"text": list(dict.fromkeys(chosen + phrases))}), temporary)
    say(f"corpus: {len(chosen):,} sentences of {len(found):,}, {len(phrases):,} phrases")


def sentences(text: str, least: int, most: int) -> Iterator[str]:
    """Those of a text that have ``least`` to ``most`` words between spaces."""
    for sentence in re.split(r"(?<=[.!?])\s+", re.sub(r"<br\s*/?>", " ", text).strip()):
        if least <= len(sentence.split()) <= most:
            yield sentence


def treebank(text: str) -> str:
    """Lower-cased, contractions and punctuation apart, as the Penn Treebank has them: ``ca n't``, ``it 's``."""
    text = re.sub("[‘’]", "'", text.lower())
    text = re.sub(r"\bcannot\b", "can not", text)
    text = re.sub(r"(\w)(n't|'(?:s|re|ve|ll|d|m))\b", r"\1 \2", text)
    text = re.sub(r'(^|[\s(])"', r"\1`` ", text).replace('"', " ''")
    text = re.sub(r"(\.{2,}|--+|[,;:?!()]|\.(?=\W*$))", r" \1 ", text)
    return " ".join(text.split())


def phrase(text: str, random: np.random.Generator) -> str:
    """One to ten neighbouring words of a text."""
    words = text.split()
    return run_of_words(words, min(len(words), int(random.integers(1, 11))), random)


def _texts(files: Sequence[Path]) -> Iterator[str]:
    for batch in Reader([str(file) for file in files]):
        yield from batch.texts


MADE = {
    "mrpc": (pairs, ("news/unlabeled", "questions/unlabeled")),
    "sst2": (reviews, ("sst2/train", "imdb/unsup", "product_reviews/unlabeled")),
}


def make(task: str, data: Path, encoder: str, folder: Path) -> None:
    """Make a task's files in ``folder``, unless these very lines have made them of the same files already."""
    work, sources = MADE[task]
    files = [data / f"{source}.parquet" for source in sources]
    lines = Path(__file__).read_bytes() + Path(splits.__file__).read_bytes()
    code = hashlib.blake2b(lines, digest_size=8).hexdigest()
    key = {"code": code, "encoder": encoder, "bytes": [path.stat().st_size for path in files]}
    known = folder / "made.json"
    if known.exists() and read_json(known) == key:
        return
    work(files, encoder, folder)
    write_json(known, key)
