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
from ..standard import applied
from ..tasks import Single
from .curve import Curve
from .dataset import Batch, Blocks, Loader, Order
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
    def backward(ctx: Any, gradient: torch.Tensor) -> Any:
        return ctx.update(gradient.contiguous()), None, None


def learn(
    student: Student,
    table_optimizer: Any,
    optimizer: torch.optim.Optimizer,
    batch: Batch,
    task: Single,
    learning_rate: float,
    step: int,
    threads: int,
    seed: int,
    group: Group = ALONE,
) -> float:
    """One step on a batch, in place: ``table_optimizer`` on the table, ``optimizer`` on the dense layers.

    Returns the loss.

    ``table_optimizer``: of :mod:`sparsedistill.student.table`, or for a student on a device of
    :mod:`sparsedistill.student.cuda`.
    """
    # For dropout of the dense layers. Without a GPU in use torch would note down a stack of calls at each step, to
    # seed one later, which takes a third of the step of a small student.
    on_gpu = torch.cuda.is_initialized()  # type: ignore[no-untyped-call]
    seed_torch = torch.manual_seed if on_gpu else torch.default_generator.manual_seed
    seed_torch(int(np.random.default_rng([seed, 3, step]).integers(1 << 62)))
    for parameters in optimizer.param_groups:
        parameters["lr"] = learning_rate
    bags = student.bags(batch.ids, batch.offsets)
    pool = student.new_pool()
    values = student.pool(bags, threads, pool)

    def update(gradient: torch.Tensor) -> torch.Tensor | None:
        by_query = None
        if student.query is not None:
            given = batch.ids, batch.offsets, pool, values.numpy(), gradient.numpy()
            by_query = torch.from_numpy(_core.bag_attend(student.table, *given, threads))
        columns = group.columns(student.width)
        table_optimizer.step(bags, student.own(gradient), learning_rate, step, threads, seed, pool, columns.start)
        return by_query

    anchor = torch.zeros((), requires_grad=True) if student.query is None else student.query
    apply: Any = _Pooled.apply
    pooled = apply(anchor, values, update)
    weights = None if batch.weights is None else torch.from_numpy(batch.weights).to(values.device)
    targets = batch.targets if student.standard is None else applied(batch.targets, *student.standard)
    loss = task.loss(student(pooled), torch.from_numpy(targets).to(values.device), weights)
    optimizer.zero_grad()
    loss.backward()
    # The same everywhere, but for the last bits of other processors: these must not add up.
    group.share([parameter.grad for parameter in student.parameters() if parameter.grad is not None])
    optimizer.step()
    result: float = loss.item()
    return result


def train(
    student: Student,
    blocks: Blocks,
    schedule: Schedule,
    task: Single,
    directory: Path,
    score: Callable[[Student], float],
    what: str,
    key: str,
    resume: bool = True,
    tensorboard: bool = False,
    group: Group = ALONE,
    fallback: tuple[float, float] | None = None,
    rates: tuple[np.ndarray, np.ndarray] | None = None,
) -> dict[str, Any]:
    """Train ``student`` and save it as ``directory/student.safetensors``: its last weights, or with
    ``schedule.keep_best`` those that scored best on dev. ``fallback`` (regression): a number, and what it scores on dev
    as the output for every text; of weights that score less, those that scored best are left instead, or the number.
    ``rates``: of a linear student's rows, and their ends (:class:`sparsedistill.student.table.Sgd`).

    ``score(student)`` is evaluated before the first step, every ``evaluate_every`` steps and after the last; higher is
    better. What a step does is a function of (seed, step) alone (and of time, where ``max_seconds`` is given), so a run
    that was stopped goes on from ``directory/checkpoint.safetensors`` to the same weights. ``key`` names the inputs: a
    checkpoint of other inputs is not used, nor any without ``resume``. Beside the student are left ``curve.csv`` and
    ``curve.png``. In a ``group`` every process has to call this with the same arguments; the result is that of one,
    to rounding.

    Returns ``steps`` taken, ``stopped`` ("" at the end of the schedule, "early" or "time"), ``seconds`` of training,
    ``waited``: the share of them spent waiting for batches, ``dev`` of the weights left, and the ``curve``: rows of
    :data:`sparsedistill.student.curve.COLUMNS`.
    """
    directory.mkdir(parents=True, exist_ok=True)
    if group.size > 1 and (schedule.optimizer == "adagrad" or student.query is not None):
        what_needs = "row-wise adagrad" if student.query is None else f"{student.pooling} pooling"
        raise SettingsError(f"{what_needs} needs whole rows: train in one process, or with adam and another pooling")
    training = _Training(student, schedule, task, directory, score, what, key, group, fallback, rates)
    if resume:
        training.resume()
    training.curve = Curve(directory if group.leads else None, training.state["curve"], tensorboard)
    stopped = training.run(blocks)
    dev = training.finish()
    state = training.state
    return {
        "steps": state["step"],
        "stopped": stopped,
        "seconds": state["seconds"],
        "waited": state["waited"] / max(state["seconds"], 1e-9),
        "dev": dev,
        "curve": training.curve.rows,
    }


class _Training:
    """A student in training, with all that a checkpoint holds.

    ``state``: of a checkpoint, as JSON can hold it: ``step``, ``best`` figure on dev, ``since_best``: evaluations since
    then, ``losses``: their sum and number since the curve's last row, the ``curve``, and ``seconds`` of training and of
    waiting for batches.
    """

    curve: Curve

    def __init__(
        self,
        student: Student,
        schedule: Schedule,
        task: Single,
        directory: Path,
        score: Callable[[Student], float],
        what: str,
        key: str,
        group: Group,
        fallback: tuple[float, float] | None,
        rates: tuple[np.ndarray, np.ndarray] | None,
    ):
        self.student, self.schedule, self.task, self.score = student, schedule, task, score
        self.directory, self.what, self.group, self.fallback = directory, what, group, fallback
        self.checkpoint, self.best = directory / "checkpoint.safetensors", directory / "best.safetensors"
        made_of = (student.table,) if rates is None else (student.table, *rates)
        self.table_optimizer = _optimizers_of(student)[schedule.optimizer](*made_of)
        self.parameters = list(student.parameters())
        self.optimizer = torch.optim.Adam(self.parameters, betas=BETAS, eps=EPSILON)
        self.state: dict[str, Any] = {"key": key, "step": 0, "best": None, "since_best": 0, "losses": [0.0, 0]}
        self.state |= {"curve": [], "seconds": 0.0, "waited": 0.0}

    def arrays(self) -> dict[str, np.ndarray | Pieces]:
        """Weights and optimizer state by name."""
        student, dense = self.student, dict[str, np.ndarray | Pieces]()
        for i, parameter in enumerate(self.parameters):
            slot = self.optimizer.state[parameter]
            dense |= {f"dense.{i}.{name}": student.whole(slot[name]) for name in ("exp_avg", "exp_avg_sq")}
        of_table = {name: student.whole(array) for name, array in self.table_optimizer.arrays.items()}
        return {**student.arrays(), **of_table, **dense}

    def save(self) -> None:
        """Write the checkpoint: state and weights in one file, which one rename replaces."""
        self.group.write(self.checkpoint, self.arrays(), {"state": json.dumps(self.state)})

    def resume(self) -> None:
        """Go on from the checkpoint, where there is one of these inputs."""
        if not self.checkpoint.is_file():
            return
        state = json.loads(read_metadata(self.checkpoint)["state"])
        if state["key"] != self.state["key"]:
            return
        self.state |= state
        for parameter in self.parameters:  # Adam makes its state at the first step: make it here
            self.optimizer.state[parameter] = {
                "step": torch.tensor(float(state["step"])),
                "exp_avg": torch.zeros_like(parameter),
                "exp_avg_sq": torch.zeros_like(parameter),
            }
        read_into(self.checkpoint, self.arrays())
        say(f"{self.what}: going on from step {state['step']:,} of {self.schedule.steps:,}")

    def run(self, blocks: Blocks) -> str:
        """Take the steps that are left. Returns why training ended before the last: "early" or "time", else ""."""
        state, schedule, group = self.state, self.schedule, self.group
        order, first, steps = Order(blocks.sizes, schedule.seed), state["step"] + 1, schedule.steps
        self.student.train()
        with (
            Progress(self.what, steps, "steps", state["step"]) as bar,
            Loader(blocks, order, schedule.batch_size, schedule.ngram_dropout, first, steps) as batches,
            deferred_interrupt() as interrupted,
        ):
            before, waited, saved_at = state["seconds"], state["waited"], 0.0
            if state["step"] == 0:
                self.evaluate(0.0)
            for step, batch in enumerate(batches, first):
                # What hangs on time is for one to say.
                late = bar.seconds - saved_at >= schedule.checkpoint_seconds
                at, stop, due = map(int, group.tell(schedule.at(step, before + bar.seconds), interrupted(), late))
                loss = self.learn(batch, step, schedule.rate(at))
                state |= {"seconds": before + bar.seconds, "waited": waited + batches.waited}
                ended, note = self.record(step, schedule.rate(at), loss, "time" if at == steps > step else "")
                bar.add(1, note)
                if ended:
                    say(f"\n{self.what}: stopped at step {step:,} of {steps:,}: " + _REASONS[ended])
                    return ended
                if (stop or due) and step < steps:
                    self.save()
                    saved_at = bar.seconds
                    if stop:
                        say(f"\n{self.what}: stopped at step {step:,}; the same command goes on from there")
                        raise KeyboardInterrupt
        return ""

    def learn(self, batch: Batch, step: int, rate: float) -> float:
        """One step. Returns the loss. Errors: :class:`SettingsError` where that is not finite."""
        schedule = self.schedule
        loss = learn(
            self.student, self.table_optimizer, self.optimizer, batch, self.task, rate, step, schedule.threads,
            schedule.seed, self.group,
        )  # fmt: skip
        if not math.isfinite(loss):
            raise SettingsError(f"{self.what}: the loss is {loss} at step {step}: lower the learning rate")
        return loss

    def record(self, step: int, rate: float, loss: float, ended: str) -> tuple[str, str]:
        """Count a step; evaluate, or add to the curve, when it is time to.

        ``ended``: why training ends with this step, if it does before its last. Returns the same, after ``patience``
        too, and a note for the progress bar, "" for the one before.
        """
        state, schedule = self.state, self.schedule
        state |= {"step": step, "losses": [state["losses"][0] + loss, state["losses"][1] + 1]}
        if step % schedule.evaluate_every == 0 or step == schedule.steps or ended:
            dev = self.evaluate(rate)
            if schedule.patience and state["since_best"] >= schedule.patience and step < schedule.steps:
                ended = "early"
            return ended, f"loss {loss:.4f}, dev {dev:.4f}"
        if step % max(1, min(schedule.evaluate_every, schedule.steps // 200)) == 0:
            self.add_row(rate)
        return ended, ""

    def evaluate(self, rate: float) -> float:
        """Add a row with dev's figure to the curve, and keep the weights where they are the best yet."""
        state = self.state
        (dev,) = self.group.tell(self.score(self.student))
        self.add_row(rate, dev)
        state["since_best"] += 1
        if state["best"] is None or dev > state["best"]:
            state.update(best=dev, since_best=0)
            if self.schedule.keep_best or self.fallback:
                self.student.save(self.best)
        self.curve.save()
        return dev

    def add_row(self, rate: float, dev: float | None = None) -> None:
        """Add the mean loss since the row before to the curve."""
        total, number = self.state["losses"]
        self.curve.add(self.state["step"], self.state["seconds"], rate, total / number if number else None, dev)
        self.state["losses"] = [0.0, 0]

    def finish(self) -> float:
        """Choose the weights that stay, write them, and remove what training needed. Returns their figure on dev."""
        student, fallback = self.student, self.fallback
        dev: float = self.state["best"] if self.schedule.keep_best else self.curve.rows[-1][-1]
        if self.schedule.keep_best:
            student.load(self.best)
        if fallback and dev < fallback[1]:
            assert student.standard is not None
            say(f"{self.what}: dev {dev:.4g} is less than the mean of the targets has: what scored best is kept")
            dev = self.state["best"]
            student.load(self.best)
            if dev < fallback[1]:
                student.forget()
                student.standard[:] = fallback[0], 1.0
                dev = fallback[1]
        student.save(self.directory / "student.safetensors")
        self.curve.close(self.what)
        if self.group.leads:
            self.checkpoint.unlink(missing_ok=True)
            self.best.unlink(missing_ok=True)
        return dev


def _optimizers_of(student: Student) -> dict[str, Any]:
    if student.device is None:
        return OPTIMIZERS
    from . import cuda

    return cuda.OPTIMIZERS


_REASONS = {"time": "its time is over", "early": "dev has not got better for as many evaluations as its patience"}
