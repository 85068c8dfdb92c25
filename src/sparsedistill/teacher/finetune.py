"""Fine-tuning of a transformer on gold labels."""

from __future__ import annotations

import contextlib
import hashlib
import json
import math
import os
import time
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from ..data.records import fingerprint
from ..errors import DataError, SettingsError
from ..evaluate import r2
from ..format import replacing, write_json
from ..machine import device_named
from ..options import Teach
from ..progress import Progress, deferred_interrupt, say
from ..standard import Standard
from ..tasks import TASKS
from .batching import _CPU_TOKENS, _GPU_TOKENS, PROBE, Padding, by_length, probe, shuffled, token_limit, tokenise
from .machine import attention_of, autocast, give_memory_back, possible_precision, time_each, timing_message, torch_of
from .pretrained import STANDARD, digest, load, output_layer, rescale, save
from .scores import refuse, wanted_shape

_FEW = 256  # texts that tell whether a model gives scores in the unit of train's
_TRIM_EVERY = 32  # steps of fine-tuning


# long: what it takes needs as many words
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
    torch = torch_of(settings)
    directory, kind = Path(directory), TASKS[task]
    classes, metric = kind.outputs(tuple(labels)), kind.chosen_by(metric)
    gold = _targets(targets, texts, classes, task, "train")
    dev_gold = _targets(dev_targets, dev_texts, classes, task, "dev")
    standard = _checked(settings, texts, gold, task)
    device = device_named(torch, settings.device)
    with _seeded(torch, device):
        torch.manual_seed(seed)  # the new head's weights
        tokenizer, model = _new_model(torch, settings, classes, labels, task)
        limit, padding = token_limit(tokenizer, model, settings.max_length), Padding.of(tokenizer, model, are_pairs)
        head = output_layer(torch, model) if task == "regression" else None
        facts = [digest(tokenizer, model, limit), fingerprint(texts), fingerprint(dev_texts), _bytes(gold)]
        names = list(model.config.id2label.values())
        key = _key(settings, [*facts, _bytes(dev_gold), names, task, seed], weights, metric, task)
        directory.mkdir(parents=True, exist_ok=True)
        (directory / "training.json").unlink(missing_ok=True)
        path = directory / "checkpoint.pt"
        run = _Run(torch, settings, model.to(device), device, padding, task, seed, path, key)
        run.weights, run.metric = weights, metric
        ids, dev_ids = (tokenise(tokenizer, some, limit, are_pairs) for some in (texts, dev_texts))
        if head is not None and run.evaluate(ids[:_FEW], gold[:_FEW]) > 0:  # it knows these scores and their unit
            rescale(head, 1 / standard.scale, -standard.mean / standard.scale)
        run.standard = standard
        result = run.train(ids, standard.apply(gold) if task == "regression" else gold, dev_ids, dev_gold)
        if task == "regression":
            _fold(model, head, standard, result["dev"], dev_gold)
    save(tokenizer, model, directory)
    write_json(directory / "training.json", result)
    (directory / "checkpoint.pt").unlink(missing_ok=True)
    return result


def _checked(settings: Teach, texts: Sequence[str], gold: np.ndarray, task: str) -> Standard:
    """Mean and scale of the targets of a regression. Errors: those of :func:`finetune`."""
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
    return standard


def _new_model(torch: Any, settings: Teach, classes: int, labels: Sequence[str], task: str) -> tuple[Any, Any]:
    """Tokenizer and model that the settings name, the latter with a head for these labels."""
    tokenizer, model, info = load(settings.teacher, num_labels=classes)
    if info["mismatched_keys"]:
        say(f"the head of {settings.teacher} has other classes than the data's {classes}: a new one is trained")
    names = [str(label) for label in labels] if task != "regression" else ["score"]
    model.config.id2label = dict(enumerate(names))
    model.config.label2id = {name: i for i, name in enumerate(names)}
    model.config.problem_type = TASKS[task].problem_type
    if settings.dropout >= 0:
        _set_dropout(torch, model, settings.dropout)
    return tokenizer, model


def _key(settings: Teach, facts: list[Any], weights: np.ndarray | None, metric: str, task: str) -> str:
    """What a checkpoint is of: ``facts`` of model and data, and the settings that decide what is learnt."""
    return json.dumps(
        [
            *facts,
            settings.epochs,
            settings.batch_size,
            settings.learning_rate,
            settings.warmup,
            settings.weight_decay,
            settings.dropout,
            settings.precision,
            *([] if weights is None else [_bytes(weights)]),
            *([] if metric == TASKS[task].metric else [metric]),
            *(["standardised"] if task == "regression" else []),
        ]
    )


class _Run:
    """One fine-tuning: everything in a checkpoint, and the loop that changes it."""

    def __init__(
        self,
        torch: Any,
        settings: Teach,
        model: Any,
        device: Any,
        padding: Padding,
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
        self.metric = TASKS[task].metric

    def train(
        self, ids: list[list[int]], gold: np.ndarray, dev_ids: list[list[int]], dev_gold: np.ndarray
    ) -> dict[str, Any]:
        settings = self.settings
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
        self.model.train()
        with Progress("teach", len(ids) * settings.epochs, done=done) as bar, deferred_interrupt() as interrupted:
            while self.step < total:
                epoch, place = divmod(self.step, per_epoch)
                if not batches or place == 0:
                    batches = shuffled(lengths, size, self.seed, epoch)
                value = self.learn(batches[place], ids, gold, total)
                if place == per_epoch - 1:
                    self.end_epoch(epoch, dev_ids, dev_gold)
                self.step += 1
                if self.step % _TRIM_EVERY == 0:
                    give_memory_back()
                self.seconds = before + time.monotonic() - started
                loss_mean = value if loss_mean is None else 0.95 * loss_mean + 0.05 * value
                if time.monotonic() >= next_save and self.step < total:
                    began = time.monotonic()
                    self.checkpoint()
                    # A big model's checkpoint takes long: never more than a tenth of the time.
                    pause = max(settings.checkpoint_seconds, 10 * (time.monotonic() - began))
                    next_save = time.monotonic() + pause if settings.checkpoint_seconds else 0.0
                bar.add(len(batches[place]), note=f"loss {loss_mean:.3f}")
                if interrupted():
                    self.checkpoint()
                    say(f"teach: interrupted at step {self.step:,} of {total:,}; the same command goes on from there")
                    raise KeyboardInterrupt
        if self.best is not None:
            self.model.load_state_dict(self.best)
        give_memory_back()
        return {
            "epochs": settings.epochs,
            "metric": self.metric,
            "dev": self.dev,
            "best_epoch": self.best_epoch + 1,
            "precision": self.precision,
            "steps": total,
            "seconds": round(self.seconds, 3),
            "texts_per_second": round(len(ids) * settings.epochs / max(self.seconds, 1e-9), 3),
        }

    def learn(self, batch: np.ndarray, ids: list[list[int]], gold: np.ndarray, total: int) -> float:
        """One step on the texts at ``batch``; returns the loss."""
        torch, step = self.torch, self.step
        # Dropout's randomness is a function of the step, so that a resumed run draws the same.
        torch.manual_seed(_mix(self.seed, step + 1))
        weights = None if self.weights is None else self.weights[batch]
        loss = self.loss([ids[i] for i in batch], gold[batch], weights=weights)
        loss.backward()
        value: float = loss.item()
        if not math.isfinite(value):
            raise SettingsError(f"the teacher's loss is {value} at step {step + 1}: lower its learning_rate")
        torch.nn.utils.clip_grad_norm_(self.model.parameters(), 1.0)
        for group in self.optimiser.param_groups:
            group["lr"] = self.settings.learning_rate * _schedule(step, total, self.settings.warmup)
        self.optimiser.step()
        self.optimiser.zero_grad(set_to_none=True)
        return value

    def loss(
        self,
        ids: list[list[int]],
        gold: np.ndarray,
        precision: str | None = None,
        weights: np.ndarray | None = None,
    ) -> Any:
        inputs = self.padding(self.torch, ids, self.device)
        precision = precision or self.precision
        with autocast(self.torch, self.device, precision), attention_of(self.device, precision):
            out = self.model(**inputs).logits
        targets = self.torch.from_numpy(gold).to(self.device)
        weighted = None if weights is None else self.torch.from_numpy(weights).to(self.device)
        # The loss in full precision, whatever the model runs in.
        return TASKS[self.task].loss(out.float(), targets, weighted)

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
        with torch.inference_mode(), autocast(torch, self.device, self.precision):
            for batch in by_length(ids, 64, _CPU_TOKENS if self.device.type == "cpu" else _GPU_TOKENS):
                inputs = self.padding(torch, [ids[i] for i in batch], self.device)
                out[batch] = self.model(**inputs).logits.float().cpu().numpy()
        self.model.train()
        if self.task == "regression":
            out, gold = self.standard.undo(out), gold[:, 0]
        return TASKS[self.task].metrics(out, gold)[self.metric]

    def choose(self) -> str:
        """The precision to train in; "auto" times a forward and backward pass of each."""
        wanted = possible_precision(self.torch, self.device, self.settings.precision, "teach")
        if wanted != "auto":
            return wanted
        rows, tokens = self.settings.batch_size, PROBE[1]
        ids = probe(self.torch, self.model, self.device, rows, tokens)["input_ids"].tolist()
        gold = {
            "single": np.zeros(rows, np.int64),
            "multi": np.zeros((rows, self.model.config.num_labels), np.float32),
            "regression": np.zeros((rows, 1), np.float32),
        }[self.task]
        self.model.train()

        def once(name: str) -> None:
            self.loss(ids, gold, name).backward()
            self.model.zero_grad(set_to_none=True)

        took = time_each({name: partial(once, name) for name in ("fp32", "bf16")})
        best = min(took, key=lambda name: took[name])
        say(timing_message("teach", took, best, "forward and backward"))
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
        rescale(head, scale, mean)
    else:
        say(
            f"teach: the model has no last layer with a bias, so its outputs are standardised: {STANDARD} in its "
            "config.json has their mean and scale"
        )
        setattr(model.config, STANDARD, [mean, scale])


def _set_dropout(torch: Any, model: Any, share: float) -> None:
    """Set every dropout of the model. Without any, steps on a CPU are up to 1.5 times as fast."""
    for module in model.modules():
        if isinstance(module, torch.nn.Dropout):
            module.p = share
        elif isinstance(getattr(module, "attention_dropout", None), float):
            module.attention_dropout = share


def _bytes(values: np.ndarray) -> str:
    return hashlib.blake2b(values.tobytes(), digest_size=16).hexdigest()


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
            + ("one class index a text is needed" if task == "single" else f"{task} needs {wanted_shape(task)}")
        )
    if soft:
        wrong = ~(np.isfinite(values) & (values >= 0)).all(1) | ~(np.abs(values.sum(1) - 1) <= 1e-2)
        refuse(wrong, f"the targets of {where}", "probabilities that do not sum to 1")
    elif task == "single":
        refuse(
            np.less(values, 0) | np.greater_equal(values, classes),
            f"the targets of {where}",
            f"a class outside 0 to {classes - 1}, check labels",
        )
    else:
        refuse(
            ~np.isfinite(values).all(1), f"the targets of {where}", "a number that is not finite, leave the text out"
        )
    return values
