"""A Hugging Face sequence classifier as teacher."""

from __future__ import annotations

import contextlib
import copy
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import SettingsError
from ..format import file_fingerprint
from ..machine import device_named
from ..options import Teach
from ..progress import say
from . import Job, Teacher
from .batching import _CPU_TOKENS, _GPU_TOKENS, Padding, by_length, probe, token_limit, tokenise
from .machine import autocast, possible_precision, time_each, timing_message, torch_of
from .pretrained import STANDARD, class_names, digest, load, output_layer, save

_WINDOW = 16_384  # texts tokenised and sorted by length at a time: bounds the memory of ids


class Transformer:
    """A Hugging Face model: a folder, or an id of the hub."""

    answers, trainable = True, True

    def __init__(self, path: str):
        self.name = path
        self.columns: Mapping[str, str] = {}

    @classmethod
    def named(cls, name: str) -> Transformer:
        """The kind: a model may have any name."""
        return cls(name)

    def identity(self) -> Any:
        """Of a folder its files' contents, so that it may move; else the name."""
        folder = Path(self.name)
        if not folder.is_dir():
            return [self.name]
        return [file_fingerprint(path) for path in sorted(folder.rglob("*")) if path.is_file()]

    def labels(self) -> tuple[str, ...] | None:
        """Those of its configuration. Errors: :class:`SettingsError` when that cannot be read."""
        return class_names(self.name)

    def open(self, job: Job) -> Teacher:
        """The model, or its fine-tuned self. Errors: :class:`SettingsError`."""
        tuned = job.directory is not None and (Path(job.directory) / "training.json").exists()
        return TransformerTeacher(
            str(job.directory) if tuned else self.name, classes=job.classes, task=job.task, settings=job.settings,
            batch_size=job.label.batch_size, labels=job.labels, are_pairs=job.are_pairs,
        )  # fmt: skip


class TransformerTeacher:
    """A Hugging Face sequence classifier, from a folder or the hub.

    ``classes``: how many the data has (None: whatever the model has). ``labels``: the data's names; when the model
    has the same names in another order, the columns of the logits follow the data's. ``batch_size``: most texts a
    forward pass (long texts go in smaller batches).

    ``are_pairs``: texts are pairs, as :mod:`sparsedistill.data.pairs` has them, which the model reads as such.

    ``precision`` is what it runs in. "bf16" on a CPU means weights cast to bfloat16, faster than autocasting each
    step; on a GPU it means autocast.

    Errors: :class:`SettingsError` when it cannot be loaded, has no trained head or another number of classes.
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        *,
        classes: int | None = None,
        task: str = "single",
        settings: Teach,
        batch_size: int = 64,
        labels: Sequence[str] | None = None,
        are_pairs: bool = False,
    ):
        torch = torch_of(settings)
        self._torch, self._settings, self._path = torch, settings, str(path)
        self._device = device_named(torch, settings.device)
        self._tokenizer, model, info = load(self._path)
        self._batch_size = batch_size
        names = tuple(str(model.config.id2label[i]) for i in range(model.config.num_labels))
        if info["missing_keys"]:
            raise SettingsError(
                f"the teacher {self._path} has no trained classification head, fine-tune it (finetune_teacher = true) "
                "or name a model that was trained to classify"
            )
        if classes is not None and classes != len(names):
            raise SettingsError(
                f"the teacher {self._path} has {len(names)} classes ({', '.join(names)}), the data {classes}, "
                "fine-tune it (finetune_teacher = true) or name the teacher's classes in labels"
            )
        self._columns = _columns(names, labels, self._path) if labels is not None and task != "regression" else None
        self.labels = names if self._columns is None else tuple(names[i] for i in self._columns)
        self._limit = token_limit(self._tokenizer, model, settings.max_length)
        self._are_pairs = are_pairs
        self._padding = Padding.of(self._tokenizer, model, are_pairs)
        self.device = str(self._device)
        self.name = f"{_short(self._path)}@{digest(self._tokenizer, model, self._limit)}"
        self._standard = None
        if task == "regression":
            mean, scale = getattr(model.config, STANDARD, None) or (0.0, 1.0)
            if (head := output_layer(torch, model)) is not None:
                # A large offset would take all digits of the scores in bf16: it is added afterwards.
                mean += scale * head.bias.item()
                head.bias.data.zero_()
            self._standard = mean, scale
        self._choose(model)

    def logits(self, texts: Sequence[str]) -> np.ndarray:
        """Float32 ``(len(texts), classes)``, in the order of the texts, whatever batches they went in; scores of
        regression float64.
        """
        out = self._in_batches(texts, len(self.labels), self._forward, self._are_pairs)
        if self._standard is not None:
            mean, scale = self._standard
            return out.astype(np.float64) * scale + mean
        return out if self._columns is None else out[:, self._columns]

    @property
    def width(self) -> int:
        """Numbers of an embedding."""
        return int(self._model.config.hidden_size)

    def embed(self, texts: Sequence[str]) -> np.ndarray:
        """Embeddings float32 (n, ``width``): of each text the mean of the last layer's states over its tokens."""

        def forward(model: Any, inputs: dict[str, Any], precision: str) -> np.ndarray:
            with self._computing(precision):
                states = model.base_model(**inputs).last_hidden_state.float()
                mask = inputs["attention_mask"][:, :, None]
                result: np.ndarray = ((states * mask).sum(1) / mask.sum(1)).cpu().numpy()
                return result

        return self._in_batches(texts, self.width, forward)

    def _in_batches(
        self, texts: Sequence[str], columns: int, forward: Callable[..., np.ndarray], are_pairs: bool = False
    ) -> np.ndarray:
        out = np.empty((len(texts), columns), np.float32)
        for start in range(0, len(texts), _WINDOW):
            ids = tokenise(self._tokenizer, texts[start : start + _WINDOW], self._limit, are_pairs)
            for batch in by_length(ids, self._batch_size, _CPU_TOKENS if self._device.type == "cpu" else _GPU_TOKENS):
                inputs = self._padding(self._torch, [ids[i] for i in batch], self._device)
                out[start + batch] = forward(self._model, inputs, self.precision)
        return out

    def save(self, directory: str | os.PathLike[str]) -> None:
        """Write model (in its own precision) and tokenizer, so that a reader finds all of it or nothing."""
        # The running copy may have been cast; what is on disk has not.
        tokenizer, model, _ = load(self._path)
        save(tokenizer, model, Path(directory))

    def _choose(self, model: Any) -> None:
        model = model.to(self._device).eval()
        wanted = possible_precision(self._torch, self._device, self._settings.precision, "label")
        candidates = {"fp32": model} if wanted != "bf16" else {}
        if wanted != "fp32":
            # A GPU autocasts; a CPU casts its weights once, in a copy, for fp32 may yet win.
            if self._device.type != "cpu":
                candidates["bf16"] = model
            else:
                candidates["bf16"] = (copy.deepcopy(model) if wanted == "auto" else model).to(self._torch.bfloat16)
        self.precision = next(iter(candidates))
        if len(candidates) > 1:
            inputs = probe(self._torch, model, self._device)
            took = time_each({name: partial(self._forward, m, inputs, name) for name, m in candidates.items()})
            self.precision = min(took, key=lambda name: took[name])
            say(timing_message("label", took, self.precision, "forward"))
        self._model = candidates[self.precision]

    def _forward(self, model: Any, inputs: dict[str, Any], precision: str) -> np.ndarray:
        with self._computing(precision):
            result: np.ndarray = model(**inputs).logits.float().cpu().numpy()
            return result

    @contextlib.contextmanager
    def _computing(self, precision: str) -> Iterator[None]:
        with self._torch.inference_mode(), autocast(self._torch, self._device, precision, self._device.type != "cpu"):
            yield


def _columns(names: tuple[str, ...], labels: Sequence[str], path: str) -> list[int] | None:
    """The model's column of each of the data's labels; None when they stand in the same order."""
    theirs, ours = [n.casefold() for n in names], [str(n).casefold() for n in labels]
    if theirs == ours:
        return None
    if sorted(theirs) == sorted(ours) and len(set(ours)) == len(ours):
        return [theirs.index(name) for name in ours]
    pairs = ", ".join(f"{a} = {b}" for a, b in zip(names, labels, strict=False))
    say(f"the classes of the teacher {path} are taken in their order: {pairs}")
    return None


def _short(path: str) -> str:
    # The fingerprint tells models apart; where the folder stands today would only spoil a resume.
    return Path(path).resolve().name if Path(path).is_dir() else path
