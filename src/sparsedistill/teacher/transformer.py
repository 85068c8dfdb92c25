"""Teachers: the slow, accurate classifiers whose word the student learns, and their fine-tuning on gold labels."""

from __future__ import annotations

import contextlib
import copy
import ctypes
import dataclasses
import hashlib
import importlib
import inspect
import json
import math
import os
import shutil
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from functools import lru_cache, partial
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from ..data import pairs
from ..errors import DataError, RowError, SettingsError, require
from ..evaluate import PRIMARY, chosen_by, metrics, r2
from ..format import replacing, write_json
from ..machine import device_named, multiplies_bf16
from ..options import Label, Teach
from ..progress import Progress, say
from ..standard import Standard
from . import name_of
from .logits import fingerprint

_WINDOW = 16_384  # texts tokenised and sorted by length at a time: bounds the memory of ids
_CPU_TOKENS = 2_048  # padded tokens a forward pass: more falls out of the cache
_GPU_TOKENS = 65_536
_FEW = 256  # texts that tell whether a model gives scores in the unit of train's
_TRIM_EVERY = 32  # steps of fine-tuning
_FLOOR = 1e-6  # of a probability, so that its logarithm stays finite
_PROBE = (32, 32)  # texts x tokens of the batch that precisions are timed on
_STANDARD = "sparsedistill_standard"  # in a model's config: mean and scale of its scores, where no layer can hold them


class Teacher(Protocol):
    """What the label stage needs of a teacher."""

    name: str
    precision: str

    def logits(self, texts: Sequence[str]) -> np.ndarray:
        """float32 ``(len(texts), classes)``, in the order of the texts; scores of regression may be float64."""
        ...


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
        torch = _torch(settings)
        self._torch, self._settings, self._path = torch, settings, str(path)
        self._device = device_named(torch, settings.device)
        self._tokenizer, model, info = _load(self._path)
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
        self._limit = _limit(self._tokenizer, model, settings.max_length)
        self._are_pairs = are_pairs
        self._padding = _Padding.of(self._tokenizer, model, are_pairs)
        self.device = str(self._device)
        self.name = f"{_short(self._path)}@{_digest(self._tokenizer, model, self._limit)}"
        self._standard = None
        if task == "regression":
            mean, scale = getattr(model.config, _STANDARD, None) or (0.0, 1.0)
            if (head := _head(torch, model)) is not None:
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
                return ((states * mask).sum(1) / mask.sum(1)).cpu().numpy()

        return self._in_batches(texts, self.width, forward)

    def _in_batches(
        self, texts: Sequence[str], columns: int, forward: Callable[..., np.ndarray], are_pairs: bool = False
    ) -> np.ndarray:
        out = np.empty((len(texts), columns), np.float32)
        for start in range(0, len(texts), _WINDOW):
            ids = _tokenise(self._tokenizer, texts[start : start + _WINDOW], self._limit, are_pairs)
            for batch in _by_length(ids, self._batch_size, _CPU_TOKENS if self._device.type == "cpu" else _GPU_TOKENS):
                inputs = self._padding(self._torch, [ids[i] for i in batch], self._device)
                out[start + batch] = forward(self._model, inputs, self.precision)
        return out

    def save(self, directory: str | os.PathLike[str]) -> None:
        """Write model (in its own precision) and tokenizer, so that a reader finds all of it or nothing."""
        # The running copy may have been cast; what is on disk has not.
        tokenizer, model, _ = _load(self._path)
        _save(tokenizer, model, Path(directory))

    def _choose(self, model: Any) -> None:
        model = model.to(self._device).eval()
        wanted = _possible(self._torch, self._device, self._settings.precision, "label")
        candidates = {"fp32": model} if wanted != "bf16" else {}
        if wanted != "fp32":
            # A GPU autocasts; a CPU casts its weights once, in a copy, for fp32 may yet win.
            if self._device.type != "cpu":
                candidates["bf16"] = model
            else:
                candidates["bf16"] = (copy.deepcopy(model) if wanted == "auto" else model).to(self._torch.bfloat16)
        self.precision = next(iter(candidates))
        if len(candidates) > 1:
            inputs = _probe(self._torch, model, self._device)
            took = _time({name: partial(self._forward, m, inputs, name) for name, m in candidates.items()})
            self.precision = min(took, key=lambda name: took[name])
            say(_verdict("label", took, self.precision, "forward"))
        self._model = candidates[self.precision]

    def _forward(self, model: Any, inputs: dict[str, Any], precision: str) -> np.ndarray:
        with self._computing(precision):
            return model(**inputs).logits.float().cpu().numpy()

    @contextlib.contextmanager
    def _computing(self, precision: str) -> Iterator[None]:
        with self._torch.inference_mode(), _autocast(self._torch, self._device, precision, self._device.type != "cpu"):
            yield


class CallableTeacher:
    """Any function from a list of texts to scores, given itself or as "module:function".

    The function gets a list of str, or of pairs of str, and gives ``(n, classes)`` numbers (``(n,)`` will do for
    regression): an array, nested lists, a torch tensor or a pandas table. ``scores`` says what they are: "logits" or
    "probabilities". ``labels`` names the classes: a table's columns may stand in another order.

    Errors: :class:`SettingsError` when it cannot be imported; :class:`DataError` from :meth:`logits` when what it
    gives is not what it should.
    """

    precision = "given"

    def __init__(
        self,
        spec_or_function: str | Callable[[list], Any],
        *,
        classes: int,
        task: str,
        scores: str = "logits",
        are_pairs: bool = False,
        labels: Sequence[str] = (),
    ):
        if isinstance(spec_or_function, str):
            self.name, self._function = spec_or_function, _import(spec_or_function)
        else:
            self.name, self._function = name_of(spec_or_function), spec_or_function
        self._classes, self._task, self._scores, self._are_pairs = classes, task, scores, are_pairs
        self._labels = list(labels)

    def logits(self, texts: Sequence[str]) -> np.ndarray:
        """``(len(texts), classes)``, as of :func:`to_logits`."""
        if not len(texts):
            return np.empty((0, self._classes), np.float32)
        given = self._function(pairs.parted(texts) if self._are_pairs else list(texts))
        who = f"the teacher {self.name}"
        if hasattr(given, "detach"):  # a torch tensor, perhaps on a GPU, perhaps bfloat16, which numpy has not
            given = given.detach().cpu().float().numpy()
        elif hasattr(given, "__next__"):
            given = list(given)
        elif hasattr(given, "columns") and sorted(map(str, given.columns)) == sorted(self._labels):
            given = given[self._labels]
        if self._task == "regression":
            wanted = f"one number a text: ({len(texts)},)"
        else:
            some = ", ".join([*map(str, self._labels[:6]), *["..."] * (len(self._labels) > 6)])
            names = f" ({some})" if some else ""
            wanted = f"a row a text and in it a number a label{names}: ({len(texts)}, {self._classes})"
        if strange := _strange(given, self._classes, self._task):
            raise DataError(f"{who} gave {strange}; it should return {wanted}")
        try:
            values = _as_numbers(given)
        except (TypeError, ValueError):
            right = [(self._classes,), *[()] * (self._task == "regression")]
            for i, row in enumerate(given if isinstance(given, list | tuple) else ()):
                if _shape_of(row) not in right:
                    many = "a number" if self._classes == 1 else f"{self._classes} numbers"
                    raise RowError(who, i, f"{row!r:.60} for it, not {many}") from None
            raise DataError(f"{who} gave what are not numbers ({given!r:.60}); it should return {wanted}") from None
        if values.shape not in ((len(texts), self._classes), (len(texts),) if self._task == "regression" else ()):
            what = f"an array of shape {values.shape} for {len(texts)} texts"
            raise DataError(f"{who} gave {what}; it should return {wanted}")
        return to_logits(values, self._scores, self._task, who)


def _strange(given: Any, classes: int, task: str) -> str:
    """What a function gave, in words, where it is of a kind that people return for scores; else nothing."""
    if given is None or isinstance(given, str | bytes | dict | int | float | set):
        return "None" if given is None else f"a {type(given).__name__}"
    if not isinstance(given, list | tuple | np.ndarray) or not len(given):
        return ""
    first = given[0]
    inner = first[0] if isinstance(first, list | tuple) and len(first) else first
    if isinstance(inner, dict):
        return f"dictionaries as a Hugging Face pipeline does ({inner!r:.60}), not the scores alone"
    if isinstance(inner, str):
        return f"names ({str(inner)!r:.40}), not scores; a row of 0 and 1 will do as scores"
    if task != "regression" and np.ndim(first) == 0:
        if isinstance(first, int | np.integer) and not isinstance(first, bool):
            return "one whole number a text, as class indices; numpy.eye(classes)[indices] makes rows of them"
        return "one number a text; of two classes each has one, [1 - p, p]"
    if task == "single" and classes > 1 and np.shape(first) == (1,):
        return "one number a text; of two classes each has one, [1 - p, p]"
    return ""


def _shape_of(row: Any) -> tuple[int, ...] | None:
    """Of an array of numbers; None where it is none."""
    try:
        return _as_numbers(row).shape
    except (TypeError, ValueError):
        return None


def _as_numbers(values: Any) -> np.ndarray:
    """An array of numbers. Errors: TypeError, ValueError."""
    array = np.asarray(values)
    if array.dtype.kind not in "fiu":
        array = array.astype(np.float64)  # numbers in an object array; ragged rows and words fail here
    return array


def to_logits(values: Any, scores: str, task: str, where: str) -> np.ndarray:
    """Logits of a teacher's ``scores``: float32 ``(n, C)``; for regression float64, finite in float32 too.

    ``values``: ``(n, C)`` numbers, or ``(n,)`` for regression, which is left as it is whatever ``scores`` says.
    Probabilities become their logarithms for ``task`` "single" (a row must sum to 1 within 0.01) and their log-odds
    for "multi", kept finite by a floor of 1e-6.

    Errors: :class:`DataError` naming ``where``, :class:`RowError` where a row is at fault; :class:`SettingsError` for
    an unknown ``scores``.
    """
    if scores not in ("logits", "probabilities"):
        raise SettingsError(f"scores is {scores!r}, it should be logits or probabilities")
    try:
        values = _as_numbers(values)
    except (TypeError, ValueError):
        raise DataError(f"{where} holds scores that are not numbers in equal rows, give (n, classes) numbers") from None
    if task == "regression" and values.ndim == 1:
        values = values[:, None]
    if values.ndim != 2 or (task == "regression" and values.shape[1] != 1):
        raise DataError(f"{where} holds scores of shape {values.shape}, {task} needs {_wanted(task)}")
    values = values.astype(np.float64)
    _refuse(~np.isfinite(values).all(1), where, "a score that is not finite, leave the text out or mend the teacher")
    if scores == "probabilities" and task != "regression":
        outside = ((values < -_FLOOR) | (values > 1 + 1e-2)).any(1)
        _refuse(outside, where, 'a probability outside 0 to 1, set scores to "logits" if these are logits')
        if task == "single":
            total = values.sum(1)
            wrong = np.abs(total - 1) > 1e-2
            row = int(wrong.argmax())
            _refuse(
                wrong,
                where,
                f"probabilities that do not sum to 1 but to {total[row] if len(total) else 0:.4g}, normalise them, "
                'or set scores to "logits" or task to "multi"',
            )
            values = np.log(np.maximum(values, _FLOOR))
        else:
            values = np.clip(values, _FLOOR, 1 - _FLOOR)
            values = np.log(values) - np.log1p(-values)
    elif task == "single" and len(values) >= 8 and (values >= 0).all() and np.allclose(values.sum(1), 1, atol=1e-3):
        raise DataError(f"{where} holds rows that sum to 1, as probabilities do, set scores to probabilities")
    with np.errstate(over="ignore"):
        narrow = values.astype(np.float32)
    _refuse(~np.isfinite(narrow).all(1), where, "a score too large for float32, scale the scores down")
    return values if task == "regression" else narrow


def finetune(
    settings: Teach,
    directory: str | os.PathLike[str],
    texts: Sequence[str],
    targets: Any,
    dev_texts: Sequence[str],
    dev_targets: Any,
    *,
    labels: Sequence[str],
    task: str,
    seed: int,
    are_pairs: bool = False,
    weights: np.ndarray | None = None,
    metric: str = "auto",
) -> dict[str, Any]:
    """Fine-tune ``settings.teacher`` on gold labels and keep its best epoch in ``directory``.

    ``targets``: class indices ``(n,)`` for "single", 0/1 ``(n, C)`` for "multi", numbers ``(n,)`` for "regression".
    For "single" another teacher's probabilities ``(n, C)`` will do too: a smaller model is then distilled from it.
    ``weights`` float32 ``(n, 1)``, or ``(n, C)`` for "multi": of the texts' losses, averaging to 1
    (:func:`sparsedistill.data.weights.gold_weights`).
    The best epoch is that of the highest accuracy, micro-F1 or R2 on the dev texts, or of the highest ``metric`` where
    that is not "auto"; without any it is the last. Regression learns standardised targets; mean and scale are folded
    into the last layer, so that the model gives scores in their unit. Where it does worse on dev than train's mean
    does, it gives that. Interrupted, it goes on from its last checkpoint, exactly, when called again with the same
    arguments.

    Returns what ``training.json`` holds: epochs, metric, dev (the metric of each epoch), best_epoch, precision,
    steps, seconds, texts_per_second. That file is written last: a directory that has it is whole.

    Errors: :class:`SettingsError`, :class:`DataError`.
    """
    torch = _torch(settings)
    directory = Path(directory)
    classes = 1 if task == "regression" else len(labels)
    chosen_by(metric, task)
    gold = _targets(targets, texts, classes, task, "train")
    dev_gold = _targets(dev_targets, dev_texts, classes, task, "dev")
    standard = Standard()
    if task == "regression":
        standard = Standard.of([gold])
        standard.check("train")
    if not len(texts):
        raise DataError(
            "there are no labelled texts to fine-tune the teacher on: name some in train, or set finetune_teacher = "
            "false"
        )
    if settings.epochs < 1 or settings.batch_size < 1:
        raise SettingsError("epochs and batch_size of the teacher must be at least 1")
    device = device_named(torch, settings.device)
    with _seeded(torch, device):
        torch.manual_seed(seed)  # the new head's weights
        tokenizer, model, info = _load(settings.teacher, num_labels=classes)
        if info["mismatched_keys"]:
            say(f"the head of {settings.teacher} has other classes than the data's {classes}: a new one is trained")
        names = [str(label) for label in labels] if task != "regression" else ["score"]
        model.config.id2label = dict(enumerate(names))
        model.config.label2id = {name: i for i, name in enumerate(names)}
        model.config.problem_type = {
            "single": "single_label_classification",
            "multi": "multi_label_classification",
            "regression": "regression",
        }[task]
        if settings.dropout >= 0:
            _set_dropout(torch, model, settings.dropout)
        limit, padding = _limit(tokenizer, model, settings.max_length), _Padding.of(tokenizer, model, are_pairs)
        head = _head(torch, model) if task == "regression" else None
        key = json.dumps(
            [
                _digest(tokenizer, model, limit),
                fingerprint(texts),
                fingerprint(dev_texts),
                _bytes(gold),
                _bytes(dev_gold),
                names,
                task,
                seed,
                settings.epochs,
                settings.batch_size,
                settings.learning_rate,
                settings.warmup,
                settings.weight_decay,
                settings.dropout,
                settings.precision,
                *([] if weights is None else [_bytes(weights)]),
                *([] if metric == "auto" else [metric]),
                *(["standardised"] if task == "regression" else []),
            ]
        )
        directory.mkdir(parents=True, exist_ok=True)
        (directory / "training.json").unlink(missing_ok=True)
        path = directory / "checkpoint.pt"
        run = _Run(torch, settings, model.to(device), device, padding, task, seed, path, key)
        run.weights, run.metric = weights, metric
        ids, dev_ids = (_tokenise(tokenizer, some, limit, are_pairs) for some in (texts, dev_texts))
        if head is not None and run.evaluate(ids[:_FEW], gold[:_FEW]) > 0:  # it knows these scores and their unit
            _rescale(head, 1 / standard.scale, -standard.mean / standard.scale)
        run.standard = standard
        result = run.train(ids, standard.apply(gold) if task == "regression" else gold, dev_ids, dev_gold)
        if task == "regression":
            _fold(model, head, standard, result["dev"], dev_gold)
    _save(tokenizer, model, directory)
    write_json(directory / "training.json", result)
    (directory / "checkpoint.pt").unlink(missing_ok=True)
    return result


def open_teacher(
    settings: Teach,
    *,
    labels: Sequence[str],
    task: str,
    label: Label,
    directory: str | os.PathLike[str] | None = None,
    are_pairs: bool = False,
    function: Callable[[list], Any] | None = None,
) -> Teacher:
    """The teacher that the settings name, or its fine-tuned self when ``directory`` holds one; or a ``function``.

    Errors: :class:`SettingsError`.
    """
    classes = 1 if task == "regression" else len(labels)
    path = settings.teacher
    if function is not None:
        return CallableTeacher(
            function, classes=classes, task=task, scores=label.scores, are_pairs=are_pairs, labels=labels
        )
    if directory is not None and (Path(directory) / "training.json").exists():
        path = str(directory)
    elif not path:
        raise SettingsError(
            "no teacher is named, set teacher to a model's path or hub id, module:function or column:NAME"
        )
    elif path.startswith("column:"):
        raise SettingsError(
            f"{path} is a column of scores, which needs no labelling: set finetune_teacher = false and keep it in the "
            "corpus"
        )
    elif ":" in path and not Path(path).exists():
        return CallableTeacher(
            path, classes=classes, task=task, scores=label.scores, are_pairs=are_pairs, labels=labels
        )
    return TransformerTeacher(
        path, classes=classes, task=task, settings=settings, batch_size=label.batch_size, labels=labels,
        are_pairs=are_pairs,
    )  # fmt: skip


def model_labels(path: str) -> tuple[str, ...]:
    """Label names of a Hugging Face sequence classifier, in the order of its classes.

    Errors: :class:`SettingsError` when its configuration cannot be read.
    """
    transformers = require("transformers", "teacher")
    try:
        config = transformers.AutoConfig.from_pretrained(path, local_files_only=Path(path).is_dir())
    except (OSError, ValueError) as error:
        raise SettingsError(
            f"the teacher {path} has no configuration to read its labels from ({_clean(str(error))}), give labels"
        ) from None
    return tuple(str(config.id2label[i]) for i in range(config.num_labels))


class _Run:
    """One fine-tuning: everything in a checkpoint, and the loop that changes it."""

    def __init__(
        self,
        torch: Any,
        settings: Teach,
        model: Any,
        device: Any,
        padding: _Padding,
        task: str,
        seed: int,
        path: Path,
        key: str,
    ):
        self.standard = Standard(0.0, 1.0)  # of what the model gives
        self.torch, self.settings, self.model, self.device, self.padding = torch, settings, model, device, padding
        self.task, self.seed, self.path, self.key = task, seed, path, key
        # Biases and norms are not decayed: they have one dimension.
        groups = [
            {"params": [p for p in model.parameters() if p.ndim > 1], "weight_decay": settings.weight_decay},
            {"params": [p for p in model.parameters() if p.ndim <= 1], "weight_decay": 0.0},
        ]
        fused = device.type in ("cpu", "cuda")
        self.optimiser = torch.optim.AdamW(groups, lr=settings.learning_rate, fused=fused)
        self.step, self.seconds, self.precision = 0, 0.0, ""
        self.dev: list[float] = []
        self.best: dict[str, Any] | None = None
        self.best_epoch = 0
        self.weights: np.ndarray | None = None
        self.metric = "auto"

    def train(
        self, ids: list[list[int]], gold: np.ndarray, dev_ids: list[list[int]], dev_gold: np.ndarray
    ) -> dict[str, Any]:
        torch, settings = self.torch, self.settings
        self.resume()
        if not self.precision:
            self.precision = self.choose()
        size = settings.batch_size
        per_epoch = math.ceil(len(ids) / size)
        total = per_epoch * settings.epochs
        lengths = np.array([len(row) for row in ids])
        batches: list[np.ndarray] = []
        before, started = self.seconds, time.monotonic()
        next_save = started + settings.checkpoint_seconds
        done = self.step // per_epoch * len(ids) + min(self.step % per_epoch * size, len(ids))
        loss_mean = None
        whole = True  # is what is in memory the state after self.step steps?
        self.model.train()
        try:
            with Progress("teach", len(ids) * settings.epochs, done=done) as progress:
                while self.step < total:
                    epoch, place = divmod(self.step, per_epoch)
                    if not batches or place == 0:
                        batches = _shuffled(lengths, size, self.seed, epoch)
                    batch = batches[place]
                    # Dropout's randomness is a function of the step, so that a resumed run draws the same.
                    torch.manual_seed(_mix(self.seed, self.step + 1))
                    weights = None if self.weights is None else self.weights[batch]
                    loss = self.loss([ids[i] for i in batch], gold[batch], weights=weights)
                    loss.backward()
                    value = loss.item()
                    if not math.isfinite(value):
                        raise SettingsError(
                            f"the teacher's loss is {value} at step {self.step + 1}, lower its learning_rate"
                        )
                    torch.nn.utils.clip_grad_norm_(self.model.parameters(), 1.0)
                    for group in self.optimiser.param_groups:
                        group["lr"] = settings.learning_rate * _schedule(self.step, total, settings.warmup)
                    whole = False
                    self.optimiser.step()
                    self.optimiser.zero_grad(set_to_none=True)
                    if place == per_epoch - 1:
                        self.end_epoch(epoch, dev_ids, dev_gold)
                    self.step += 1
                    if self.step % _TRIM_EVERY == 0:
                        _give_memory_back()
                    self.seconds = before + time.monotonic() - started
                    whole = True
                    loss_mean = value if loss_mean is None else 0.95 * loss_mean + 0.05 * value
                    if time.monotonic() >= next_save and self.step < total:
                        began = time.monotonic()
                        self.checkpoint()
                        # A big model's checkpoint takes long: never more than a tenth of the time.
                        next_save = time.monotonic() + max(settings.checkpoint_seconds, 10 * (time.monotonic() - began))
                        if not settings.checkpoint_seconds:
                            next_save = 0.0
                    progress.add(len(batch), note=f"loss {loss_mean:.3f}")
        except KeyboardInterrupt:
            if whole:
                self.checkpoint()
                say(f"interrupted: the teacher's training goes on from step {self.step:,} of {total:,} when run again")
            raise
        if self.best is not None:
            self.model.load_state_dict(self.best)
        _give_memory_back()
        return {
            "epochs": settings.epochs,
            "metric": PRIMARY[self.task] if self.metric == "auto" else self.metric,
            "dev": self.dev,
            "best_epoch": self.best_epoch + 1,
            "precision": self.precision,
            "steps": total,
            "seconds": round(self.seconds, 3),
            "texts_per_second": round(len(ids) * settings.epochs / max(self.seconds, 1e-9), 3),
        }

    def loss(
        self,
        ids: list[list[int]],
        gold: np.ndarray,
        precision: str | None = None,
        weights: np.ndarray | None = None,
    ) -> Any:
        functional = self.torch.nn.functional
        inputs = self.padding(self.torch, ids, self.device)
        precision = precision or self.precision
        with _autocast(self.torch, self.device, precision), _attention(self.device, precision):
            out = self.model(**inputs).logits
        out = out.float()  # the loss in full precision, whatever the model runs in
        gold = self.torch.from_numpy(gold).to(self.device)
        if weights is not None:
            from ..student.train import loss_of

            return loss_of(out, gold, self.task, self.torch.from_numpy(weights).to(self.device))  # type: ignore[arg-type]
        if self.task == "single":
            return functional.cross_entropy(out, gold)
        if self.task == "multi":
            return functional.binary_cross_entropy_with_logits(out, gold)
        return functional.mse_loss(out, gold)

    def end_epoch(self, epoch: int, dev_ids: list[list[int]], dev_gold: np.ndarray) -> None:
        """Measure the dev texts; keep the weights when they are the best yet."""
        if dev_ids:
            value = self.evaluate(dev_ids, dev_gold)
            better = not self.dev or value > max(self.dev)
            self.dev.append(value)
        else:
            better = True
        if better:
            self.best_epoch = epoch
            # The last epoch's weights need no copy: they are the model's.
            last = epoch == self.settings.epochs - 1
            self.best = None if last else {k: v.detach().cpu().clone() for k, v in self.model.state_dict().items()}

    def evaluate(self, ids: list[list[int]], gold: np.ndarray) -> float:
        torch = self.torch
        self.model.eval()
        out = np.empty((len(ids), self.model.config.num_labels), np.float32)
        with torch.inference_mode(), _autocast(torch, self.device, self.precision):
            for batch in _by_length(ids, 64, _CPU_TOKENS if self.device.type == "cpu" else _GPU_TOKENS):
                inputs = self.padding(torch, [ids[i] for i in batch], self.device)
                out[batch] = self.model(**inputs).logits.float().cpu().numpy()
        self.model.train()
        if self.metric != "auto":
            return metrics(out, gold, self.task)[self.metric]
        if self.task == "single":
            return float((out.argmax(1) == gold).mean())
        if self.task == "regression":
            return r2(self.standard.undo(out)[:, 0], gold[:, 0])
        said, true = out > 0, gold > 0.5
        both = int(said.sum() + true.sum())
        return 2 * int((said & true).sum()) / both if both else 1.0

    def choose(self) -> str:
        """The precision to train in; "auto" times a forward and backward pass of each."""
        wanted = _possible(self.torch, self.device, self.settings.precision, "teach")
        if wanted != "auto":
            return wanted
        rows, tokens = self.settings.batch_size, _PROBE[1]
        ids = _probe(self.torch, self.model, self.device, rows, tokens)["input_ids"].tolist()
        gold = {
            "single": np.zeros(rows, np.int64),
            "multi": np.zeros((rows, self.model.config.num_labels), np.float32),
            "regression": np.zeros((rows, 1), np.float32),
        }[self.task]
        self.model.train()

        def once(name: str) -> None:
            self.loss(ids, gold, name).backward()
            self.model.zero_grad(set_to_none=True)

        took = _time({name: partial(once, name) for name in ("fp32", "bf16")})
        best = min(took, key=lambda name: took[name])
        say(_verdict("teach", took, best, "forward and backward"))
        return best

    def checkpoint(self) -> None:
        state = {
            "key": self.key,
            "model": self.model.state_dict(),
            "optimiser": self.optimiser.state_dict(),
            "step": self.step,
            "seconds": self.seconds,
            "precision": self.precision,
            "dev": self.dev,
            "best": self.best,
            "best_epoch": self.best_epoch,
        }
        with replacing(self.path) as temporary:
            self.torch.save(state, temporary)

    def resume(self) -> None:
        if not self.path.exists():
            return
        try:
            state = self.torch.load(self.path, map_location="cpu", weights_only=True)
        except Exception:  # a damaged file fails in many ways, all of which mean the same
            say(f"{self.path} is damaged: the teacher's training starts over")
            return
        if not isinstance(state, dict) or state.get("key") != self.key:
            say(f"{self.path} is of other data or settings: the teacher's training starts over")
            return
        self.model.load_state_dict(state["model"])
        self.optimiser.load_state_dict(state["optimiser"])
        self.step, self.seconds, self.precision = state["step"], state["seconds"], state["precision"]
        self.dev, self.best, self.best_epoch = state["dev"], state["best"], state["best_epoch"]


def _torch(settings: Teach) -> Any:
    torch = require("torch", "teacher")
    _keep_memory()
    if settings.threads > 0:
        torch.set_num_threads(settings.threads)
    return torch


@lru_cache(maxsize=1)
def _keep_memory() -> None:
    """Let the C library keep what a step has freed for the next one.

    It would give large blocks back to the system, which then clears every page anew: a quarter of a step's time.
    """
    with contextlib.suppress(OSError, AttributeError):  # another C library than glibc
        mallopt = ctypes.CDLL(None).mallopt
        mallopt(-3, 1 << 30)  # M_MMAP_THRESHOLD
        mallopt(-1, 1 << 30)  # M_TRIM_THRESHOLD
        mallopt(-2, 1 << 26)  # M_TOP_PAD


def _give_memory_back() -> None:
    """Undo that now and then: batches of other lengths leave gaps, and over hours what is kept would grow on."""
    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL(None).malloc_trim(0)


def _head(torch: Any, model: Any) -> Any:
    """The linear layer with a bias that makes a model's only output; None where there is no such layer."""
    found = [
        m for m in model.modules() if isinstance(m, torch.nn.Linear) and m.out_features == 1 and m.bias is not None
    ]
    if not found:
        return None
    training, head = model.training, found[-1]
    bias, inputs = head.bias.detach().clone(), _probe(torch, model, "cpu", 1, 8)
    model.eval()
    with torch.no_grad():
        head.bias.zero_()
        before = model(**inputs).logits.float()
        head.bias.fill_(16.0)
        moved = model(**inputs).logits.float() - before
        head.bias.copy_(bias)
    model.train(training)
    return head if torch.allclose(moved, torch.full_like(moved, 16.0), atol=1e-3) else None


def _rescale(head: Any, scale: float, offset: float) -> None:
    """Make a linear layer give ``scale`` times what it gave, and ``offset`` more."""
    head.weight.data = (head.weight.data.double() * scale).to(head.weight.dtype)
    head.bias.data = (head.bias.data.double() * scale + offset).to(head.bias.dtype)


def _fold(model: Any, head: Any, standard: Standard, dev: list[float], gold: np.ndarray) -> None:
    """Put mean and scale of the scores into the last layer of a model, or its config; or the mean alone, where it does
    better on dev than the model's best epoch did.
    """
    mean, scale = standard.mean, standard.scale
    if dev:
        least = r2(np.full(len(gold), mean, np.float32), gold[:, 0])
        if max(dev) < least:
            say(f"teach: R2 on dev is {max(dev):.4g}, that of the mean of train {least:.4g}: the mean is kept")
            scale = 0.0
    if head is not None:
        _rescale(head, scale, mean)
    else:
        say(
            f"teach: the model has no last layer with a bias, so its outputs are standardised: {_STANDARD} in its "
            "config.json has their mean and scale"
        )
        setattr(model.config, _STANDARD, [mean, scale])


def _set_dropout(torch: Any, model: Any, share: float) -> None:
    """Set every dropout of the model. Without any, steps on a CPU are up to 1.5 times as fast."""
    for module in model.modules():
        if isinstance(module, torch.nn.Dropout):
            module.p = share
        elif isinstance(getattr(module, "attention_dropout", None), float):
            module.attention_dropout = share


def _load(path: str, **options: Any) -> tuple[Any, Any, dict[str, Any]]:
    """Tokenizer, fp32 model on the CPU, and what its loading had to make up."""
    torch, transformers = require("torch", "teacher"), require("transformers", "teacher")
    local = Path(path).is_dir()
    if not local and (Path(path).is_absolute() or path.startswith(".") or path.count("/") > 1):
        raise SettingsError(f"the teacher {path} is not a folder, check the path")
    try:
        with _quiet():
            tokenizer = transformers.AutoTokenizer.from_pretrained(path, local_files_only=local)
            model, info = transformers.AutoModelForSequenceClassification.from_pretrained(
                path,
                local_files_only=local,
                dtype=torch.float32,
                output_loading_info=True,
                ignore_mismatched_sizes=True,
                **options,
            )
    except Exception as error:  # a missing, foreign or damaged file fails in many ways, all of which mean the same
        reason = " ".join(str(error).split("\n")[0].split())
        remedy = (
            "it should hold config.json, weights and a tokenizer, as save_pretrained writes them"
            if local
            else "give the path of a folder with its model, or check its hub id and the network"
        )
        raise SettingsError(f"the teacher {path} cannot be loaded ({reason}), {remedy}") from error
    # Without its files the library makes a tokenizer that knows nothing but special tokens.
    if not set(tokenizer.get_vocab()) - set(tokenizer.all_special_tokens):
        raise SettingsError(f"the teacher {path} has no tokenizer, save its tokenizer beside the model")
    return tokenizer, model, info


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Silence the library's reports and bars, and leave its settings as they were."""
    logging = require("transformers", "teacher").utils.logging
    verbosity, bars = logging.get_verbosity(), logging.is_progress_bar_enabled()
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        logging.set_verbosity(verbosity)
        if bars:
            logging.enable_progress_bar()


def _save(tokenizer: Any, model: Any, directory: Path) -> None:
    directory.parent.mkdir(parents=True, exist_ok=True)
    temporary = Path(tempfile.mkdtemp(prefix=f".{directory.name}.", suffix=".tmp", dir=directory.parent))
    try:
        with _quiet():
            model.save_pretrained(temporary)
            tokenizer.save_pretrained(temporary)
        if directory.exists():
            # Not one rename, for the folder holds other files; the caller's last file marks it whole.
            for file in temporary.iterdir():
                os.replace(file, directory / file.name)
        else:
            temporary.chmod(0o755)  # mkdtemp's is private
            os.rename(temporary, directory)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def source_of(spec: str) -> str | None:
    """The file that defines the function named as "module:function", where it is a file.

    Errors: :class:`SettingsError` when there is no such function.
    """
    try:
        return inspect.getsourcefile(inspect.unwrap(_import(spec)))
    except TypeError:  # built in, or an object that can be called
        return None


def fingerprint_of(function: Callable[[list], Any]) -> str:
    """Fingerprint of a function by its source.

    What a function is cannot be told where it has no source, or has values bound to it: its fingerprint is then of this
    process alone, so that nothing is taken for its work that may not be.
    """
    function = inspect.unwrap(function)
    try:
        source = inspect.getsource(function)
    except (OSError, TypeError):  # built in, an object that can be called, or typed in where no source is kept
        source = ""
    if not source or getattr(function, "__closure__", None) or getattr(function, "__self__", None) is not None:
        source = f"{os.getpid()} {id(function)} {time.time()}"
    return hashlib.blake2b(source.encode(), digest_size=16).hexdigest()


def _import(spec: str) -> Callable[[list], Any]:
    module_name, _, function_name = spec.partition(":")
    # A script started by its installed name does not have the working directory on its path.
    here = os.getcwd()
    sys.path.insert(0, here)
    try:
        found: Any = importlib.import_module(module_name)
        for part in function_name.split("."):
            found = getattr(found, part)
    except ModuleNotFoundError as error:
        if error.name is None or error.name.split(".")[0] != module_name.split(".")[0]:
            raise  # the module is there, something it needs is not: its own message says what
        raise SettingsError(
            f"the teacher {spec} names no module that can be imported from {here}, check its name"
        ) from None
    except (AttributeError, ValueError):
        raise SettingsError(f"the teacher {spec} names no function of {module_name}, write module:function") from None
    finally:
        sys.path.remove(here)
    if not callable(found):
        raise SettingsError(f"the teacher {spec} is not a function, write module:function")
    return found


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


def _limit(tokenizer: Any, model: Any, asked: int) -> int:
    """Tokens of a text: no more than the model has positions for."""
    if asked < 1:
        raise SettingsError(f"max_length is {asked}, it should be at least 1")
    most = tokenizer.model_max_length
    if most > 1_000_000:  # "not known"; two positions are what RoBERTa's kind keeps for itself
        most = getattr(model.config, "max_position_embeddings", asked + 2) - 2
    return max(min(asked, most), tokenizer.num_special_tokens_to_add() + 1)


@dataclasses.dataclass(frozen=True)
class _Padding:
    """How rows of token ids become what a model takes: filled up with ``pad``.

    ``separator``: the token between the halves of a pair, where the model is told which half a token belongs to.
    """

    pad: int
    separator: int | None = None

    @classmethod
    def of(cls, tokenizer: Any, model: Any, are_pairs: bool) -> _Padding:
        """Errors: :class:`SettingsError` for a tokenizer that cannot pad."""
        pad = tokenizer.pad_token_id if tokenizer.pad_token_id is not None else tokenizer.eos_token_id
        if pad is None:
            raise SettingsError("the teacher's tokenizer has no padding token, set its pad_token and save it again")
        if getattr(model.config, "pad_token_id", None) is None:
            model.config.pad_token_id = pad  # decoders look for it to find a text's end
        told = are_pairs and "token_type_ids" in tokenizer.model_input_names
        return cls(pad, tokenizer.sep_token_id if told else None)

    def __call__(self, torch: Any, rows: list[list[int]], device: Any) -> dict[str, Any]:
        lengths = np.array([len(row) for row in rows])
        ids = np.full((len(rows), lengths.max()), self.pad, np.int64)
        for i, row in enumerate(rows):
            ids[i, : len(row)] = row
        mask = (np.arange(ids.shape[1]) < lengths[:, None]).astype(np.int64)
        made = {"input_ids": ids, "attention_mask": mask}
        if self.separator is not None:
            ends = ids == self.separator
            made["token_type_ids"] = (ends.cumsum(axis=1) > ends).astype(np.int64)
        return {name: torch.from_numpy(array).to(device) for name, array in made.items()}


def _short(path: str) -> str:
    # The fingerprint tells models apart; where the folder stands today would only spoil a resume.
    return Path(path).resolve().name if Path(path).is_dir() else path


def _digest(tokenizer: Any, model: Any, limit: int) -> str:
    """Of all that decides the logits: configuration, weights, tokenizer, and the length texts are cut to."""
    state = hashlib.blake2b(digest_size=8)
    config = model.config.to_dict()
    for name in ("_name_or_path", "transformers_version", "dtype", "torch_dtype"):
        config.pop(name, None)
    words = (
        tokenizer.backend_tokenizer.to_str() if tokenizer.is_fast else json.dumps(sorted(tokenizer.get_vocab().items()))
    )
    state.update(json.dumps([config, words, limit], sort_keys=True, default=str).encode("utf-8", "surrogatepass"))
    for name, tensor in sorted(model.state_dict().items()):
        state.update(name.encode())
        state.update(tensor.detach().cpu().contiguous().numpy())
    return state.hexdigest()


def _bytes(values: np.ndarray) -> str:
    return hashlib.blake2b(values.tobytes(), digest_size=16).hexdigest()


def _clean(text: str) -> str:
    try:
        text.encode()
    except UnicodeEncodeError:  # a lone surrogate, which the tokenizer would refuse
        return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    return text


def _tokenise(tokenizer: Any, texts: Sequence[str], limit: int, are_pairs: bool = False) -> list[list[int]]:
    if not len(texts):
        return []
    sides = zip(*pairs.parted(texts), strict=True) if are_pairs else (texts,)
    encoded = tokenizer(
        *([_clean(text) for text in side] for side in sides),
        truncation=True,
        max_length=limit,
        padding=False,
        return_attention_mask=False,
        return_token_type_ids=False,
    )
    # A tokenizer without special tokens makes nothing of an empty text, and a model needs something.
    return [row or [tokenizer.pad_token_id or tokenizer.eos_token_id or 0] for row in encoded["input_ids"]]


def _by_length(ids: list[list[int]], most: int, tokens: int) -> Iterator[np.ndarray]:
    """Indices in batches of like length, the longest first, so that memory runs out at once or never."""
    lengths = np.array([len(row) for row in ids], np.int64)
    order = np.argsort(-lengths, kind="stable")
    start = 0
    while start < len(order):
        size = min(most, max(1, tokens // int(lengths[order[start]])))
        yield order[start : start + size]
        start += size


def _shuffled(lengths: np.ndarray, size: int, seed: int, epoch: int) -> list[np.ndarray]:
    """The batches of an epoch: random, yet of like length inside. A function of its arguments alone."""
    random = np.random.default_rng([seed, epoch])
    order = random.permutation(len(lengths))
    batches = []
    for start in range(0, len(order), size * 50):
        part = order[start : start + size * 50]
        part = part[np.argsort(lengths[part], kind="stable")]
        batches += [part[i : i + size] for i in range(0, len(part), size)]
    return [batches[i] for i in random.permutation(len(batches))]


def _probe(torch: Any, model: Any, device: Any, rows: int = _PROBE[0], tokens: int = _PROBE[1]) -> dict[str, Any]:
    """A batch as large as real ones, of made-up ids: time does not depend on what they say."""
    ids = np.random.default_rng(0).integers(0, model.config.vocab_size, (rows, tokens))
    return _Padding(0)(torch, ids.tolist(), device)


def _time(candidates: dict[str, Callable[[], Any]]) -> dict[str, float]:
    """Seconds each takes: the least of three, in turns, after one to warm up; a slow machine gets fewer turns."""
    took = dict.fromkeys(candidates, math.inf)
    for turn in range(4):
        if turn > 1 and sum(took.values()) > 1:
            break
        for name, once in candidates.items():
            started = time.perf_counter()
            once()
            if turn:
                took[name] = min(took[name], time.perf_counter() - started)
    return took


def _possible(torch: Any, device: Any, precision: str, what: str) -> str:
    """``precision``, with "auto" settled where the processor leaves no choice."""
    if precision == "fp32" or device.type != "cpu" or multiplies_bf16(torch):
        return precision
    if precision == "auto":
        say(f"{what}: the teacher runs in fp32 (this processor has no instructions for bf16)")
        return "fp32"
    say(f"{what}: this processor has no instructions for bf16, fp32 would be many times faster: --precision fp32")
    return precision


def _verdict(what: str, took: dict[str, float], best: str, of: str) -> str:
    times = ", ".join(f"{name} {1000 * seconds:.0f} ms" for name, seconds in took.items())
    return f"{what}: the teacher runs in {best} ({of} of one batch: {times})"


def _autocast(torch: Any, device: Any, precision: str, wanted: bool = True) -> Any:
    if precision == "bf16" and wanted:
        return torch.autocast(device.type, torch.bfloat16)
    return contextlib.nullcontext()


def _attention(device: Any, precision: str) -> Any:
    if device.type != "cpu" or precision != "bf16":
        return contextlib.nullcontext()
    from .attention import PlainAttention

    return PlainAttention()


def _schedule(step: int, total: int, warmup: float) -> float:
    """Share of the peak rate: up linearly, then down to nothing."""
    rise = max(1, round(total * warmup))
    return (step + 1) / rise if step < rise else (total - step) / max(1, total - rise)


def _mix(seed: int, step: int) -> int:
    return int(np.random.SeedSequence([seed, step]).generate_state(1, np.uint64)[0] >> 1)


@contextlib.contextmanager
def _seeded(torch: Any, device: Any) -> Iterator[None]:
    """Leave the caller's random state as it was."""
    with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
        yield


def _targets(targets: Any, texts: Sequence[str], classes: int, task: str, where: str) -> np.ndarray:
    """Targets: int64 ``(n,)`` for labels of single, float64 ``(n, 1)`` for regression, float32 ``(n, C)`` otherwise."""
    try:
        soft = where == "train" and task == "single" and np.ndim(targets) == 2
        kind = {"single": np.float32 if soft else np.int64, "regression": np.float64}.get(task, np.float32)
        values: np.ndarray = np.asarray(targets, kind)
    except (TypeError, ValueError):
        raise DataError(f"the targets of {where} are not numbers, give class indices or numbers") from None
    if task == "regression":
        values = values.reshape(-1, 1)
    if not len(texts):
        return values.reshape((0,) if task == "single" else (0, classes))
    if len(values) != len(texts) or values.shape[1:] != (() if values.dtype == np.int64 else (classes,)):
        raise DataError(
            f"the targets of {where} have shape {values.shape} for {len(texts)} texts, "
            + ("one class index a text is needed" if task == "single" else f"{task} needs {_wanted(task)}")
        )
    if soft:
        wrong = ~(np.isfinite(values) & (values >= 0)).all(1) | ~(np.abs(values.sum(1) - 1) <= 1e-2)
        _refuse(wrong, f"the targets of {where}", "probabilities that do not sum to 1")
    elif task == "single":
        _refuse(
            np.less(values, 0) | np.greater_equal(values, classes),
            f"the targets of {where}",
            f"a class outside 0 to {classes - 1}, check labels",
        )
    else:
        _refuse(
            ~np.isfinite(values).all(1), f"the targets of {where}", "a number that is not finite, leave the text out"
        )
    return values


def _wanted(task: str) -> str:
    return {"regression": "one number a text", "multi": "(n, classes)"}.get(task, "one row of classes a text")


def _refuse(bad: np.ndarray, where: str, what: str) -> None:
    if bad.any():
        raise RowError(where, int(np.flatnonzero(bad)[0]), what)
