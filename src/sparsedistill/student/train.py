"""Training a student on targets: the teacher's distribution, or gold labels as a distribution of one."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch

from .. import _core
from ..errors import SettingsError
from ..format import Pieces, read_into, read_metadata
from ..progress import Progress, deferred_interrupt, say
from ..standard import Standard
from ..tasks import TASKS
from .curve import Curve
from .dataset import Batches, Blocks, Examples, Order
from .model import Student
from .parallel import ALONE, Group
from .schedule import Schedule
from .table import BETAS, EPSILON, OPTIMIZERS


class _Pooled(torch.autograd.Function):
    """The pooled rows that are given; going backward, what ``update`` does with their gradient.

    Autograd goes backward only to what wants a gradient, and the table is none of its tensors: hence ``anchor``, the
    query of attentive pooling or a number. ``update`` returns its gradient, or None.
    """

    @staticmethod
    def forward(
        ctx: Any, anchor: torch.Tensor, pooled: torch.Tensor, update: Callable[[torch.Tensor], torch.Tensor | None]
    ) -> Any:
        ctx.update = update
        return pooled.detach()

    @staticmethod
    def backward(ctx: Any, gradient: torch.Tensor) -> Any:  # type: ignore[override]
        return ctx.update(gradient.contiguous()), None, None


def learn(
    student: Student,
    lazy: Any,
    optimizer: torch.optim.Optimizer,
    batch: Examples,
    task: str,
    rate: float,
    step: int,
    threads: int,
    seed: int,
    group: Group = ALONE,
) -> float:
    """One step on a batch, in place: ``lazy`` on the table, ``optimizer`` on the dense layers. Returns the loss.

    ``lazy``: an optimiser of :mod:`sparsedistill.student.table`, or for a student on a device of
    :mod:`sparsedistill.student.cuda`.
    """
    torch.manual_seed(int(np.random.default_rng([seed, 3, step]).integers(1 << 62)))  # dropout of the dense layers
    for parameters in optimizer.param_groups:
        parameters["lr"] = rate
    bags = student.bags(batch.ids, batch.offsets)
    pool = student.new_pool()
    found = student.pool(bags, threads, pool)

    def update(gradient: torch.Tensor) -> torch.Tensor | None:
        by_query = None
        if student.query is not None:
            given = batch.ids, batch.offsets, pool, found.numpy(), gradient.numpy()
            by_query = torch.from_numpy(_core.bag_attend(student.table, *given, threads))
        lazy.step(bags, student.own(gradient), rate, step, threads, seed, pool, group.columns(student.width).start)
        return by_query

    anchor = torch.zeros((), requires_grad=True) if student.query is None else student.query
    pooled = _Pooled.apply(anchor, found, update)
    weights = None if batch.weights is None else torch.from_numpy(batch.weights).to(found.device)
    targets = batch.targets if student.standard is None else Standard(*student.standard).apply(batch.targets)
    loss = TASKS[task].loss(student(pooled), torch.from_numpy(targets).to(found.device), weights)
    optimizer.zero_grad()
    loss.backward()
    # The same everywhere, but for the last bits of other processors: these must not add up.
    group.share([parameter.grad for parameter in student.parameters() if parameter.grad is not None])
    optimizer.step()
    return loss.item()


def train(
    student: Student,
    blocks: Blocks,
    schedule: Schedule,
    task: str,
    directory: Path,
    score: Callable[[Student], float],
    what: str,
    key: str,
    resume: bool = True,
    tensorboard: bool = False,
    group: Group = ALONE,
    fallback: tuple[float, float] | None = None,
) -> dict[str, Any]:
    """Train ``student`` and save it as ``directory/student.safetensors``: its last weights, or with
    ``schedule.keep_best`` those that scored best on dev. ``fallback`` (regression): a number, and what it scores on dev
    as the output for every text; of weights that score less, those that scored best are left instead, or the number.

    ``score(student)`` is looked at before the first step, every ``evaluate_every`` steps and after the last; higher is
    better. What a step does is a function of (seed, step) alone (and of time, where ``max_seconds`` is given), so a run
    that was stopped goes on from ``directory/checkpoint.safetensors`` to the same weights. ``key`` names the inputs: a
    checkpoint of other inputs is not used, nor any without ``resume``. Beside the student are left ``curve.csv`` and
    ``curve.png``. In a ``group`` every process has to call this with the same arguments; the result is that of one,
    to rounding.

    Returns ``steps`` taken, ``stopped`` ("" at the end of the schedule, "early" or "time"), ``seconds`` of training,
    ``waited``: the share of them spent waiting for batches, ``dev`` of the weights left, and the ``curve``: rows of
    :data:`sparsedistill.student.curve.COLUMNS`.
    """
    checkpoint, best_path = directory / "checkpoint.safetensors", directory / "best.safetensors"
    directory.mkdir(parents=True, exist_ok=True)
    if group.size > 1 and (schedule.optimizer == "adagrad" or student.query is not None):
        what_needs = "row-wise adagrad" if student.query is None else "attentive pooling"
        raise SettingsError(f"{what_needs} needs whole rows: train in one process, or with adam and another pooling")
    lazy = _optimizers_of(student)[schedule.optimizer](student.table)
    parameters = list(student.parameters())
    optimizer = torch.optim.Adam(parameters, betas=BETAS, eps=EPSILON)
    # looks: how many since the best; losses: their sum and number since the curve's last row
    state: dict[str, Any] = {"key": key, "step": 0, "best": None, "looks": 0, "losses": [0.0, 0], "curve": []}
    state |= {"seconds": 0.0, "waited": 0.0}

    def arrays() -> dict[str, np.ndarray | Pieces]:
        dense: dict[str, np.ndarray | Pieces] = {}
        for i, parameter in enumerate(parameters):
            slot = optimizer.state[parameter]
            dense |= {f"dense.{i}.{name}": student.whole(slot[name]) for name in ("exp_avg", "exp_avg_sq")}
        return {**student.arrays(), **{name: student.whole(a) for name, a in lazy.arrays.items()}, **dense}

    def save() -> None:
        # State and weights in one file: one rename replaces both.
        group.write(checkpoint, arrays(), {"state": json.dumps(state)})

    if resume and checkpoint.is_file() and (found := json.loads(read_metadata(checkpoint)["state"]))["key"] == key:
        state = found
        for parameter in parameters:  # Adam makes its state at the first step: make it here
            optimizer.state[parameter] = {
                "step": torch.tensor(float(state["step"])),
                "exp_avg": torch.zeros_like(parameter),
                "exp_avg_sq": torch.zeros_like(parameter),
            }
        read_into(checkpoint, arrays())
        say(f"{what}: going on from step {state['step']:,} of {schedule.steps:,}")

    seed, steps = schedule.seed, schedule.steps
    curve = Curve(directory if group.leads else None, state["curve"], tensorboard)
    row_every = max(1, min(schedule.evaluate_every, steps // 200))

    def look(rate: float) -> None:
        """A row of the curve, with dev's figure."""
        (dev,) = group.tell(score(student))
        add_row(rate, dev)
        state["looks"] += 1
        if state["best"] is None or dev > state["best"]:
            state.update(best=dev, looks=0)
            if schedule.keep_best or fallback:
                student.save(best_path)
        curve.save()

    def add_row(rate: float, dev: float | None = None) -> None:
        total, number = state["losses"]
        curve.add(state["step"], state["seconds"], rate, total / number if number else None, dev)
        state["losses"] = [0.0, 0]

    stopped, order = "", Order(blocks.sizes, seed)
    student.train()
    with (
        Progress(what, steps, "steps", state["step"]) as bar,
        Batches(blocks, order, schedule.batch_size, schedule.ngram_dropout, state["step"] + 1, steps) as batches,
        deferred_interrupt() as interrupted,
    ):
        before, waited, saved_at, note = state["seconds"], state["waited"], 0.0, ""
        if state["step"] == 0:
            look(0.0)
        for step, batch in enumerate(batches, state["step"] + 1):
            # What hangs on time is for one to say.
            late = bar.seconds - saved_at >= schedule.checkpoint_seconds
            at, stop, due = map(int, group.tell(schedule.at(step, before + bar.seconds), interrupted(), late))
            rate = schedule.rate(at)
            loss = learn(student, lazy, optimizer, batch, task, rate, step, schedule.threads, seed, group)
            if not math.isfinite(loss):
                raise SettingsError(f"{what}: the loss is {loss} at step {step}: lower the learning rate")
            state |= {"step": step, "seconds": before + bar.seconds, "waited": waited + batches.waited}
            state["losses"] = [state["losses"][0] + loss, state["losses"][1] + 1]
            stopped = "time" if at == steps > step else ""
            if step % schedule.evaluate_every == 0 or step == steps or stopped:
                look(rate)
                note = f"loss {loss:.4f}, dev {curve.rows[-1][-1]:.4f}"
                if schedule.patience and state["looks"] >= schedule.patience and step < steps:
                    stopped = "early"
            elif step % row_every == 0:
                add_row(rate)
            bar.add(1, note)
            if stopped:
                say(f"\n{what}: stopped at step {step:,} of {steps:,}: " + _REASONS[stopped])
                break
            if (stop or due) and step < steps:
                save()
                saved_at = bar.seconds
                if stop:
                    say(f"\n{what}: stopped at step {step:,}; the same command goes on from there")
                    raise KeyboardInterrupt
    dev = state["best"] if schedule.keep_best else curve.rows[-1][-1]
    if schedule.keep_best:
        student.load(best_path)
    if fallback and dev < fallback[1]:
        assert student.standard is not None
        say(f"{what}: dev {dev:.4g} is less than the mean of the targets has: what scored best is kept")
        dev = state["best"]
        student.load(best_path)
        if dev < fallback[1]:
            student.forget()
            student.standard[:] = fallback[0], 1.0
            dev = fallback[1]
    student.save(directory / "student.safetensors")
    curve.close(what)
    if group.leads:
        checkpoint.unlink(missing_ok=True)
        best_path.unlink(missing_ok=True)
    return {
        "steps": state["step"],
        "stopped": stopped,
        "seconds": state["seconds"],
        "waited": state["waited"] / max(state["seconds"], 1e-9),
        "dev": dev,
        "curve": curve.rows,
    }


def _optimizers_of(student: Student) -> dict[str, Any]:
    if student.device is None:
        return OPTIMIZERS
    from . import cuda

    return cuda.OPTIMIZERS


_REASONS = {"time": "its time is over", "early": "dev has not got better for as many looks as its patience"}
