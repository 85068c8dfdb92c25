"""Texts as batches of token ids, of like length."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from ..data import pairs
from ..errors import SettingsError

_CPU_TOKENS = 2_048  # padded tokens a forward pass: more falls out of the cache
_GPU_TOKENS = 65_536
PROBE = (32, 32)  # texts x tokens of the batch that precisions are timed on


def token_limit(tokenizer: Any, model: Any, asked: int) -> int:
    """Tokens of a text: no more than the model has positions for."""
    if asked < 1:
        raise SettingsError(f"max_length is {asked}, it should be at least 1")
    most = tokenizer.model_max_length
    if most > 1_000_000:  # "not known"; two positions are what RoBERTa's kind keeps for itself
        most = getattr(model.config, "max_position_embeddings", asked + 2) - 2
    result: int = max(min(asked, most), tokenizer.num_special_tokens_to_add() + 1)
    return result


@dataclasses.dataclass(frozen=True)
class Padding:
    """How rows of token ids become what a model takes: filled up with ``pad``.

    ``separator``: the token between the halves of a pair, where the model is told which half a token belongs to.
    """

    pad: int
    separator: int | None = None

    @classmethod
    def of(cls, tokenizer: Any, model: Any, are_pairs: bool) -> Padding:
        """Errors: :class:`SettingsError` for a tokenizer that cannot pad."""
        pad = tokenizer.pad_token_id if tokenizer.pad_token_id is not None else tokenizer.eos_token_id
        if pad is None:
            raise SettingsError("the teacher's tokenizer has no padding token, set its pad_token and save it again")
        if getattr(model.config, "pad_token_id", None) is None:
            model.config.pad_token_id = pad  # decoders look for it to find a text's end
        by_half = are_pairs and "token_type_ids" in tokenizer.model_input_names
        return cls(pad, tokenizer.sep_token_id if by_half else None)

    def __call__(self, torch: Any, rows: list[list[int]], device: Any) -> dict[str, Any]:
        """Tensors int64 (n, longest) by the names of the model's arguments."""
        lengths = np.array([len(row) for row in rows])
        ids = np.full((len(rows), lengths.max()), self.pad, np.int64)
        for i, row in enumerate(rows):
            ids[i, : len(row)] = row
        mask = (np.arange(ids.shape[1]) < lengths[:, None]).astype(np.int64)
        inputs = {"input_ids": ids, "attention_mask": mask}
        if self.separator is not None:
            ends = ids == self.separator
            inputs["token_type_ids"] = (ends.cumsum(axis=1) > ends).astype(np.int64)
        return {name: torch.from_numpy(array).to(device) for name, array in inputs.items()}


def clean(text: str) -> str:
    """A text without lone surrogates, which no tokenizer takes."""
    try:
        text.encode()
    except UnicodeEncodeError:  # a lone surrogate, which the tokenizer would refuse
        return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    return text


def tokenise(tokenizer: Any, texts: Sequence[str], limit: int, are_pairs: bool = False) -> list[list[int]]:
    """Token ids of each text (or pair of texts), special tokens included, at most ``limit`` of them."""
    if not len(texts):
        return []
    sides = zip(*pairs.split(texts), strict=True) if are_pairs else (texts,)
    encoded = tokenizer(
        *([clean(text) for text in side] for side in sides),
        truncation=True,
        max_length=limit,
        padding=False,
        return_attention_mask=False,
        return_token_type_ids=False,
    )
    # A tokenizer without special tokens makes nothing of an empty text, and a model needs something.
    return [row or [tokenizer.pad_token_id or tokenizer.eos_token_id or 0] for row in encoded["input_ids"]]


def by_length(ids: list[list[int]], most: int, tokens: int) -> Iterator[np.ndarray]:
    """Indices in batches of like length, the longest first, so that memory runs out at once or never."""
    lengths = np.array([len(row) for row in ids], np.int64)
    order = np.argsort(-lengths, kind="stable")
    start = 0
    while start < len(order):
        size = min(most, max(1, tokens // int(lengths[order[start]])))
        yield order[start : start + size]
        start += size


def shuffled(lengths: np.ndarray, size: int, seed: int, epoch: int) -> list[np.ndarray]:
    """The batches of an epoch: random, yet of like length inside. A function of its arguments alone."""
    random = np.random.default_rng([seed, epoch])
    order = random.permutation(len(lengths))
    batches = []
    for start in range(0, len(order), size * 50):
        part = order[start : start + size * 50]
        part = part[np.argsort(lengths[part], kind="stable")]
        batches += [part[i : i + size] for i in range(0, len(part), size)]
    return [batches[i] for i in random.permutation(len(batches))]


def probe(torch: Any, model: Any, device: Any, rows: int = PROBE[0], tokens: int = PROBE[1]) -> dict[str, Any]:
    """A batch as large as real ones, of made-up ids: time does not depend on what they say."""
    ids = np.random.default_rng(0).integers(0, model.config.vocab_size, (rows, tokens))
    return Padding(0)(torch, ids.tolist(), device)
