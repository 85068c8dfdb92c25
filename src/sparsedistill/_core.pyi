"""Text to n-grams to rows to logits; counting; training's kernels."""

from collections.abc import Sequence
from typing import Annotated, Any

import numpy
from numpy.typing import NDArray


class Damaged(IndexError):
    pass

unicode_version: str = '15.1.0'

def tokenize(texts: object, tokenizer: str, lowercase: bool, normalize: bool = True, window: int = 16384, deobfuscate: bool = False) -> list[Any]:
    """
    Tokens of each text, as lists of str; `window`, which changes nothing: bytes read at a time.
    """

def deobfuscate(texts: object) -> list[Any]:
    """
    Each text, a str, as the rule of text of this name makes it, before it is cut into tokens.
    """

def fingerprints(texts: object, threads: int) -> Annotated[NDArray[numpy.uint64], dict(shape=(None,))]:
    """
    uint64 (n,): equal for texts that differ in case, white space and punctuation that carries nothing (core/comparable.h).
    """

def ngram_hash(ngram: bytes, seed: int) -> int:
    """The frozen hash of an n-gram, tokens joined by one space."""

def build_slots(ngrams: Annotated[NDArray[numpy.uint8], dict(shape=(None,), order='C', device='cpu', writable=False)], offsets: Annotated[NDArray[numpy.uint64], dict(shape=(None,), order='C', device='cpu', writable=False)], seed: int, values: Annotated[NDArray[numpy.int16], dict(shape=(None, None), order='C', device='cpu', writable=False)] | None = None) -> tuple[Annotated[NDArray[numpy.uint32], dict(shape=(None, None))], int]:
    """
    (slots uint32 (L, 16), the seed that worked): the lookup table of n-grams given as bytes and offsets. Values int16 (V, 1 to 4) stand in the slots themselves.
    """

def probabilities(logits: Annotated[NDArray[numpy.float32], dict(shape=(None, None), order='C', device='cpu', writable=False)], independent: bool) -> Annotated[NDArray[numpy.float64], dict(shape=(None, None))]:
    """
    float64 (n, C): softmax of each row, or the sigmoid of each logit. The same bits on any machine.
    """

def large_bytes(size: int) -> Annotated[NDArray[numpy.uint8], dict(shape=(None,))]:
    """
    uint8 (size,), not set to anything, in huge pages where the system gives them.
    """

def kernels() -> list[Any]:
    """
    Instruction sets that this processor has kernels for, the plainest first.
    """

def use_kernels(name: str) -> None:
    """Use the kernels of one instruction set, for tests."""

class Counter:
    """
    Counts n-grams exactly over two readings of the texts: add, choose, spell, top.
    """

    def __init__(self, tokenizer: str, lowercase: bool, max_n: int, memory: int, directory: str, normalize: bool = True, seed: int | None = None, deobfuscate: bool = False, characters: str = 'none', characters_min: int = 3, characters_max: int = 6, of_characters: bool = False) -> None:
        """
        seed: of the hashes, on which no result depends; drawn at random unless given, for tests. of_characters: count the character n-grams of all tokens, and no others.
        """

    @property
    def seed(self) -> int:
        """The seed of the hashes."""

    def add(self, texts: object, weight: int, threads: int) -> None:
        """First reading: count every n-gram of the texts, `weight` times."""

    def choose(self, size: int, min_count: int, threads: int) -> int:
        """
        End the first reading and choose the most frequent. Returns the number of different n-grams.
        """

    def spell(self, texts: object, tally: bool, threads: int) -> None:
        """
        Second reading, of the same texts; `tally`: count the chosen n-grams in these.
        """

    def top(self, threads: int) -> tuple[Annotated[NDArray[numpy.uint8], dict(shape=(None,))], Annotated[NDArray[numpy.uint64], dict(shape=(None,))], Annotated[NDArray[numpy.uint64], dict(shape=(None,))], Annotated[NDArray[numpy.uint64], dict(shape=(None,))]]:
        """
        (bytes, offsets (V + 1,), counts (V,), tallies (V,)): count descending, then bytes ascending.
        """

    @property
    def spilled(self) -> int:
        """Bytes that went to disk."""

class Lookup:
    """n-grams of texts -> row ids."""

    def __init__(self, slots: Annotated[NDArray[numpy.uint32], dict(shape=(None, 16), order='C', device='cpu', writable=False)], rows: int, columns: int, seed: int, tokenizer: str, lowercase: bool, max_n: int, normalize: bool = True, block: int = 8192, deobfuscate: bool = False, characters: str = 'none', characters_min: int = 3, characters_max: int = 6) -> None:
        """
        block: tokens whose n-grams come before those of the next; another only for tests.
        """

    def bags(self, texts: object, threads: int, forget: float = 0.0, seed: int = 0, mistype: bool = False) -> tuple[Annotated[NDArray[numpy.uint32], dict(shape=(None,))], Annotated[NDArray[numpy.uint64], dict(shape=(None,))]]:
        """
        (ids uint32, offsets uint64 (n + 1,)): the rows of each text's known n-grams. Each token is taken for unknown with the chance `forget`, with `mistype` with one edit in it: a function of (seed, number of the text, number of the token).
        """

    def known(self, texts: object, longest: int, threads: int, nulls_are_empty: bool = False) -> Annotated[NDArray[numpy.uint32], dict(shape=(None, None))]:
        """
        uint32 (n, 1 + longest): the tokens of each text, and its n-grams of one token, of two ... that have a row.
        """

    def ngrams(self, text: object) -> list[Any]:
        """
        [(n-gram, row)] of one text; a character n-gram is written behind a space.
        """

    def spans(self, text: object) -> Annotated[NDArray[numpy.int64], dict(shape=(None, None))]:
        """
        int64 (n, 2): the bytes of the UTF-8 of one text that each of its ngrams() comes from.
        """

def segment(texts: object, kind: str, size: int = 0, step: int = 0, characters: bool = False, threads: int = 1) -> tuple[Annotated[NDArray[numpy.int64], dict(shape=(None, None))], Annotated[NDArray[numpy.int64], dict(shape=(None,))]]:
    """
    (offsets int64 (P, 2), number of parts of each text int64 (n,)): sentences, paragraphs or windows (core/segment.h), in bytes of the UTF-8 or, with `characters`, as indices of the str.
    """

def excerpts(texts: object, of: str, bytes: int) -> list[list[bytes]]:
    """The slices of each text that an excerpt has (core/excerpt.h)."""

def pool_parts(values: Annotated[NDArray[numpy.float64], dict(shape=(None, None), order='C', device='cpu', writable=False)], counts: Annotated[NDArray[numpy.int64], dict(shape=(None,), order='C', device='cpu', writable=False)], pooling: str, number: float = 0.0) -> Annotated[NDArray[numpy.float64], dict(shape=(None, None))]:
    """
    float64 (n, C) of float64 (P, C), a row a part, and the number of parts of each text int64 (n,): their mean, max, mean of the `number` largest (top) or share of those of `number` or more; zeros for a text without parts.
    """

def sentence_ends(texts: object) -> list[list[int]]:
    """
    Where the sentences of each text end, in bytes, by Unicode Standard Annex 29 alone, for tests.
    """

class Model:
    """A finished classifier's arrays."""

    def __init__(self, lookup: Lookup, rows: Annotated[NDArray[Any], dict(shape=(None, None), order='C', device='cpu', writable=False)] | None, scale: Annotated[NDArray[numpy.float32], dict(shape=(None,), order='C', device='cpu', writable=False)] | None, bias: Annotated[NDArray[numpy.float32], dict(shape=(None,), order='C', device='cpu', writable=False)], relu_first: bool, layers: Sequence[tuple[Annotated[NDArray[numpy.float32], dict(shape=(None, None), order='C', device='cpu', writable=False)], Annotated[NDArray[numpy.float32], dict(shape=(None,), order='C', device='cpu', writable=False)]]], pooling: str = 'mean', pairs: bool = False) -> None: ...

    def score(self, texts: object, threads: int, nulls_are_empty: bool = False, excerpt: str = 'head', bytes: int = 0) -> Annotated[NDArray[numpy.float32], dict(shape=(None, None))]:
        """
        Logits float32 (n, outputs); with `bytes` of an excerpt of each text: head, head+tail or spread (core/excerpt.h).
        """

    def score_parts(self, texts: object, kind: str, size: int = 0, step: int = 0, characters: bool = False, threads: int = 1, nulls_are_empty: bool = False) -> tuple[Annotated[NDArray[numpy.float32], dict(shape=(None, None))], Annotated[NDArray[numpy.int64], dict(shape=(None, None))], Annotated[NDArray[numpy.int64], dict(shape=(None,))]]:
        """
        (logits float32 (P, outputs), offsets, counts): each part that segment() cuts, scored as a text of its own.
        """

    def choose(self, names: tuple[Any, ...], texts: object, threads: int, nulls_are_empty: bool = False) -> list[Any]:
        """The name of each text's highest logit."""

    def choose_one(self, text: object, names: tuple[Any, ...]) -> object:
        """The name of one text's highest logit."""

def take_bags(ids: Annotated[NDArray[numpy.uint32], dict(shape=(None,), order='C', device='cpu', writable=False)], offsets: Annotated[NDArray[numpy.uint64], dict(shape=(None,), order='C', device='cpu', writable=False)], which: Annotated[NDArray[numpy.int64], dict(shape=(None,), order='C', device='cpu', writable=False)], drop: float, seed: int, step: int, place: int) -> tuple[Annotated[NDArray[numpy.uint32], dict(shape=(None,))], Annotated[NDArray[numpy.uint64], dict(shape=(None,))]]:
    """
    (ids, offsets) of the bags at `which`, each id left out with the chance `drop`: a function of (seed, step, place in the batch).
    """

def bag_mean(table: Annotated[NDArray[Any], dict(shape=(None, None), order='C', device='cpu', writable=False)], ids: Annotated[NDArray[numpy.uint32], dict(shape=(None,), order='C', device='cpu', writable=False)], offsets: Annotated[NDArray[numpy.uint64], dict(shape=(None,), order='C', device='cpu', writable=False)], out: Annotated[NDArray[numpy.float32], dict(shape=(None, None), order='C', device='cpu')], threads: int) -> None:
    """out[b] = mean of the rows of bag b; zero for an empty bag."""

class Pool:
    """
    How rows are pooled, and what one batch's pooling found that its step needs.
    """

    def __init__(self, pooling: str, query: Annotated[NDArray[numpy.float32], dict(shape=(None,), order='C', device='cpu', writable=False)] | None = None) -> None:
        """
        pooling: mean, sum, sqrtn, max, mean+max or attentive, which has a query (d,).
        """

def bag_pool(table: Annotated[NDArray[Any], dict(shape=(None, None), order='C', device='cpu', writable=False)], ids: Annotated[NDArray[numpy.uint32], dict(shape=(None,), order='C', device='cpu', writable=False)], offsets: Annotated[NDArray[numpy.uint64], dict(shape=(None,), order='C', device='cpu', writable=False)], pool: Pool, out: Annotated[NDArray[numpy.float32], dict(shape=(None, None), order='C', device='cpu')], threads: int) -> None:
    """
    out[b] = the rows of bag b, pooled: (bags, d), or (bags, 2 d) for mean+max; zero for an empty bag.
    """

def bag_attend(table: Annotated[NDArray[Any], dict(shape=(None, None), order='C', device='cpu', writable=False)], ids: Annotated[NDArray[numpy.uint32], dict(shape=(None,), order='C', device='cpu', writable=False)], offsets: Annotated[NDArray[numpy.uint64], dict(shape=(None,), order='C', device='cpu', writable=False)], pool: Pool, out: Annotated[NDArray[numpy.float32], dict(shape=(None, None), order='C', device='cpu', writable=False)], grad: Annotated[NDArray[numpy.float32], dict(shape=(None, None), order='C', device='cpu', writable=False)], threads: int) -> Annotated[NDArray[numpy.float32], dict(shape=(None,))]:
    """
    Attentive, between pooling and step: the query's gradient (d,) from that of `out`.
    """

def bag_adam(table: Annotated[NDArray[Any], dict(shape=(None, None), order='C', device='cpu')], moment1: Annotated[NDArray[numpy.float32], dict(shape=(None, None), order='C', device='cpu')], moment2: Annotated[NDArray[numpy.float32], dict(shape=(None, None), order='C', device='cpu')], ids: Annotated[NDArray[numpy.uint32], dict(shape=(None,), order='C', device='cpu', writable=False)], offsets: Annotated[NDArray[numpy.uint64], dict(shape=(None,), order='C', device='cpu', writable=False)], grad: Annotated[NDArray[numpy.float32], dict(shape=(None, None), order='C', device='cpu', writable=False)], learning_rate: float, beta1: float, beta2: float, epsilon: float, step: int, threads: int, seed: int = 0, pool: Pool | None = None, first: int = 0) -> None:
    """
    One step of lazy Adam on the rows of the bags, in place, from the gradient of what was pooled (None: means). A uint16 table stands for bfloat16 and is rounded at random, as a function of (seed, step, row, column).
    """

def bag_adagrad(table: Annotated[NDArray[Any], dict(shape=(None, None), order='C', device='cpu')], state: Annotated[NDArray[numpy.float32], dict(shape=(None,), order='C', device='cpu')], ids: Annotated[NDArray[numpy.uint32], dict(shape=(None,), order='C', device='cpu', writable=False)], offsets: Annotated[NDArray[numpy.uint64], dict(shape=(None,), order='C', device='cpu', writable=False)], grad: Annotated[NDArray[numpy.float32], dict(shape=(None, None), order='C', device='cpu', writable=False)], learning_rate: float, epsilon: float, step: int, threads: int, seed: int = 0, pool: Pool | None = None, first: int = 0) -> None:
    """The same of row-wise Adagrad; state float32 (V,)."""

def bag_sgd(table: Annotated[NDArray[Any], dict(shape=(None, None), order='C', device='cpu')], rates: Annotated[NDArray[numpy.float32], dict(shape=(None, None), order='C', device='cpu', writable=False)], ends: Annotated[NDArray[numpy.uint32], dict(shape=(None,), order='C', device='cpu', writable=False)], ids: Annotated[NDArray[numpy.uint32], dict(shape=(None,), order='C', device='cpu', writable=False)], offsets: Annotated[NDArray[numpy.uint64], dict(shape=(None,), order='C', device='cpu', writable=False)], grad: Annotated[NDArray[numpy.float32], dict(shape=(None, None), order='C', device='cpu', writable=False)], learning_rate: float, step: int, threads: int, seed: int = 0, pool: Pool | None = None, first: int = 0) -> None:
    """
    The same of plain gradient descent; rates float32 (V, k): factors of the learning rate, of the columns up to each of the ends, uint32 (k,).
    """
