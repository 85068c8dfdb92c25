"""Training a student on targets: the teacher's distribution, or gold labels as a distribution of one."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch.nn import functional

from .errors import SettingsError
from .format import read_into, read_metadata, write_tensors
from .progress import Progress, deferred_interrupt, say
from .student import Student
from .table import BETAS, EPSILON, OPTIMIZERS


@dataclass(frozen=True)
class Examples:
    """Bags and what the student is to say of them: ``ids``, ``offsets`` as in :meth:`Vocabulary.bags`.

    ``targets`` float32 (n, C): probabilities (single: rows sum to one; multi: each its own) or scores (regression).
    """

    ids: np.ndarray
    offsets: np.ndarray
    targets: np.ndarray

    def __len__(self) -> int:
        return len(self.offsets) - 1

    def batch(
        self, which: np.ndarray, keep: Callable[[int], np.ndarray] | None = None
    ) -> tuple[np.ndarray, np.ndarray]:
        """Bags of the texts ``which``; ``keep(n)`` gives a boolean mask over their n row ids."""
        starts, lengths = self.offsets[which], np.diff(self.offsets)[which].astype(np.int64)
        offsets = np.zeros(len(which) + 1, np.uint64)
        np.cumsum(lengths, out=offsets[1:])
        within = np.arange(int(offsets[-1])) - np.repeat(offsets[:-1].astype(np.int64), lengths)
        ids = self.ids[np.repeat(starts.astype(np.int64), lengths) + within]
        if keep is not None:
            mask = keep(len(ids))
            offsets = np.concatenate([[0], np.cumsum(mask)]).astype(np.uint64)[offsets.astype(np.int64)]
            ids = ids[mask]
        return ids, offsets


@dataclass(frozen=True)
class Schedule:
    """How long and how fast: see :class:`sparsedistill.settings.Distill` for the fields."""

    steps: int
    batch_size: int
    learning_rate: float
    warmup: float
    ngram_dropout: float
    evaluate_every: int
    checkpoint_seconds: float
    threads: int
    seed: int
    optimizer: str = "adam"  # of the table; the dense layers' is Adam

    def rate(self, step: int) -> float:
        """Learning rate of step 1..steps: linear warm-up, then linear decay to zero."""
        warm = max(1, math.ceil(self.warmup * self.steps))
        if step <= warm:
            return self.learning_rate * step / warm
        return self.learning_rate * (self.steps - step + 1) / max(1, self.steps - warm + 1)


def loss_of(logits: torch.Tensor, targets: torch.Tensor, task: str) -> torch.Tensor:
    """Mean over the batch of KL(target || student) (single), of the labels' binary KL (multi), or squared error.

    KL is given up to the target's own entropy, which has no gradient.
    """
    if task == "single":
        return functional.cross_entropy(logits, targets)
    if task == "multi":
        return functional.binary_cross_entropy_with_logits(logits, targets)
    return functional.mse_loss(logits, targets)


def train(
    student: Student,
    examples: Examples,
    schedule: Schedule,
    task: str,
    directory: Path,
    score: Callable[[Student], float],
    what: str,
    key: str,
    keep_best: bool,
) -> dict[str, Any]:
    """Train ``student`` and save it as ``directory/student.safetensors``: its last weights, or with
    ``keep_best`` those that scored best on dev.

    ``score(student)`` is looked at before the first step, every ``evaluate_every`` steps and after the last; higher is
    better. What a step does is a function of (seed, step) alone, so a run that was stopped goes on from
    ``directory/checkpoint.safetensors`` to the same weights. ``key`` names the inputs: a checkpoint of other
    inputs is not used. Returns ``steps``, ``seconds`` of training, ``dev`` of the weights left, and the ``curve`` of
    (step, loss, dev).
    """
    checkpoint, best_path = directory / "checkpoint.safetensors", directory / "best.safetensors"
    directory.mkdir(parents=True, exist_ok=True)
    lazy = OPTIMIZERS[schedule.optimizer](student.table)
    parameters = list(student.parameters())
    optimizer = torch.optim.Adam(parameters, betas=BETAS, eps=EPSILON)
    state: dict[str, Any] = {"key": key, "step": 0, "best": None, "curve": [], "seconds": 0.0}

    def arrays() -> dict[str, np.ndarray]:
        dense: dict[str, np.ndarray] = {}
        for i, parameter in enumerate(parameters):
            slot = optimizer.state[parameter]
            dense |= {f"dense.{i}.{name}": slot[name].numpy() for name in ("exp_avg", "exp_avg_sq")}
        return {**student.arrays(), **lazy.arrays, **dense}

    def save() -> None:
        # State and weights in one file: one rename replaces both.
        write_tensors(checkpoint, arrays(), {"state": json.dumps(state)})

    if checkpoint.is_file() and (found := json.loads(read_metadata(checkpoint)["state"]))["key"] == key:
        state = found
        for parameter in parameters:  # Adam makes its state at the first step: make it here
            optimizer.state[parameter] = {
                "step": torch.tensor(float(state["step"])),
                "exp_avg": torch.zeros_like(parameter),
                "exp_avg_sq": torch.zeros_like(parameter),
            }
        read_into(checkpoint, arrays())
        say(f"{what}: going on from step {state['step']:,} of {schedule.steps:,}")

    def look(loss: float | None) -> None:
        dev = score(student)
        state["curve"].append([state["step"], loss, dev])
        if state["best"] is None or dev > state["best"]:
            state["best"] = dev
            if keep_best:
                student.save(best_path)

    texts, seed = len(examples), schedule.seed
    epoch, order = -1, np.arange(0)
    student.train()
    with Progress(what, schedule.steps, "steps", state["step"]) as bar:
        before, saved_at = state["seconds"], 0.0
        if state["step"] == 0:
            look(None)
        losses: list[float] = []
        with deferred_interrupt() as interrupted:
            while state["step"] < schedule.steps:
                step = state["step"] + 1
                which = []
                # A batch may span two epochs; each epoch is a permutation of its own.
                for position in _pieces((step - 1) * schedule.batch_size, schedule.batch_size, texts):
                    if position[0] != epoch:
                        epoch = position[0]
                        order = np.random.default_rng([seed, 1, epoch]).permutation(texts)
                    which.append(order[position[1] : position[2]])
                chosen = np.concatenate(which)
                random = np.random.default_rng([seed, 2, step])
                drop = schedule.ngram_dropout
                ids, offsets = examples.batch(chosen, (lambda n: random.random(n) >= drop) if drop else None)  # noqa: B023
                torch.manual_seed(int(random.integers(1 << 62)))  # dropout of the dense layers
                rate = schedule.rate(step)
                for group in optimizer.param_groups:
                    group["lr"] = rate
                pooled = torch.from_numpy(student.pool(ids, offsets, schedule.threads)).requires_grad_()
                loss = loss_of(student(pooled), torch.from_numpy(examples.targets[chosen]), task)
                if not math.isfinite(loss.item()):
                    raise SettingsError(f"{what}: the loss is {loss.item()} at step {step}: lower the learning rate")
                optimizer.zero_grad()
                loss.backward()
                assert pooled.grad is not None
                gradient = pooled.grad.contiguous().numpy()
                lazy.step((ids, offsets), gradient, rate, step, schedule.threads, seed)
                optimizer.step()
                state["step"], state["seconds"] = step, before + bar.seconds
                losses.append(loss.item())
                if step % schedule.evaluate_every == 0 or step == schedule.steps:
                    look(float(np.mean(losses)))
                    losses.clear()
                    bar.add(0, f"loss {state['curve'][-1][1]:.4f}, dev {state['curve'][-1][2]:.4f}")
                bar.add(1)
                stop = interrupted() and step < schedule.steps
                if stop or (bar.seconds - saved_at >= schedule.checkpoint_seconds and step < schedule.steps):
                    save()
                    saved_at = bar.seconds
                if stop:
                    say(f"\n{what}: stopped at step {step:,}; the same command goes on from there")
                    raise KeyboardInterrupt
    if keep_best:
        student.load(best_path)
    student.save(directory / "student.safetensors")
    checkpoint.unlink(missing_ok=True)
    best_path.unlink(missing_ok=True)
    return {
        "steps": schedule.steps,
        "seconds": state["seconds"],
        "dev": state["best"] if keep_best else state["curve"][-1][2],
        "curve": state["curve"],
    }


def _pieces(position: int, count: int, length: int) -> list[tuple[int, int, int]]:
    """(epoch, begin, end) of ``count`` places from ``position`` on, in epochs of ``length``."""
    pieces = []
    while count:
        epoch, begin = divmod(position, length)
        end = min(length, begin + count)
        pieces.append((epoch, begin, end))
        position, count = position + end - begin, count - (end - begin)
    return pieces
