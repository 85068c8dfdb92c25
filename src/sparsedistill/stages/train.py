"""What the stages that train a student share: its data, its memory, its schedule, and the figure it is chosen by."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from .. import _core
from ..data import pairs
from ..errors import SettingsError, require
from ..machine import device_named, free_memory
from ..options import Distill, Finetune
from ..pooling import POOLINGS
from ..presets import epochs_of, linear_rate
from ..progress import say
from ..settings import mode_of, parse_time
from ..standard import Standard
from ..student.dataset import Batch, Blocks, Featuriser, InMemory, OnDisk, Part, TextsInMemory
from ..student.linear import rates_of_heads, row_rates
from ..student.parallel import ALONE, Group
from ..student.schedule import Schedule
from ..student.vocabulary import Vocabulary
from ..tasks import Single
from ..teacher.logits import Logits
from . import crops
from .count import vocabulary_of
from .embed import embed

if TYPE_CHECKING:
    from ..run import Run

UNKNOWN = 0.25  # of dev's texts: where so many have no known n-gram, something is wrong


def unit_of(student: str) -> str:
    """The unit that trains a student."""
    return "finetune" if student == "kd_ft" else f"distill.{student}"


def _student_of(unit: str) -> str:
    return "kd_ft" if unit == "finetune" else unit.partition(".")[2]


def once(run: Run, unit: str) -> None:
    """Train the student of a unit, unless it is trained."""
    run.once(unit, [_directory(run, unit) / "student.safetensors"], partial(learn, run, unit))


def _directory(run: Run, unit: str) -> Path:
    return run.directory / "students" / _student_of(unit)


def learn(run: Run, unit: str) -> dict[str, Any]:
    """Train the student of a unit, together with all processes of the group."""
    threads = run.threads(run.settings.distill.threads)
    settings: Distill | Finetune
    if unit == "finetune":
        vocabulary, student = trained(run, "kd", run.group, on_device=True)
        blocks, settings = _gold_dataset(run, vocabulary, threads, unit), run.settings.finetune
    else:
        mode = _student_of(unit)
        vocabulary = vocabulary_of(run, mode)
        where = device(run, mode, len(vocabulary))
        _refuse_too_large(run, mode, len(vocabulary), _directory(run, unit), where)
        blocks, settings = _dataset(run, mode, vocabulary, threads), run.student(mode)
        shards = embed(run, run.settings.vocabulary_of(mode), vocabulary) if is_initialised(run, mode) else None
    if run.group.leads:
        run.group.announce(unit)
    if unit != "finetune":
        student = new_student(run, mode, len(vocabulary), run.group, where)
        if shards is not None:
            student.initialise(shards, run.settings.student_seed)
    return fit(run, student, blocks, settings, vocabulary, unit, threads)


def is_initialised(run: Run, mode: str) -> bool:
    """Whether a student's table is initialised with the teacher's embeddings: from scratch is without a teacher."""
    return run.student(mode).init == "teacher" and mode != "scratch"


# ---- where, and whether there is room ------------------------------------------------------------------------------


def device(run: Run, mode: str, rows: int = 0) -> Any:
    """The GPU that trains the student of a mode with so many rows; None: the CPU does.

    Errors: :class:`SettingsError` when one is asked for that is not there, or for what only the CPU trains.
    """
    settings = run.student(mode)
    chosen = device_named(require("torch", "train"), settings.device)
    if chosen.type == "cpu" or settings.student == "linear":  # whose step is too small for a GPU to be of use
        return None
    from ..student import cuda

    if chosen.type != "cuda":
        raise SettingsError(f"device is {chosen}, where no student is trained: --device auto, cpu or cuda")
    if settings.device != "auto":
        cuda.refuse(settings.pooling, run.group.size)
    elif not POOLINGS[settings.pooling].on_gpu or run.group.size > 1:
        return None
    elif rows and sum(_training_bytes(run, mode, rows)) > cuda.free_memory(chosen):
        say(f"a table of {rows:,} rows is too large for {chosen}: the CPU trains it")
        return None
    return chosen


def _table_width(run: Run, mode: str) -> int:
    settings = run.student(mode)
    return settings.embedding or (settings.hidden[0] if settings.hidden else len(run.inputs.labels))


def _training_bytes(run: Run, mode: str, rows: int) -> tuple[int, int]:
    """Of a table of so many rows, and of its optimizer's state."""
    from ..student.table import OPTIMIZERS, TYPES

    settings, width = run.student(mode), _table_width(run, mode)
    return TYPES[settings.table].itemsize * rows * width, OPTIMIZERS[settings.optimizer].bytes(rows, width)


def _refuse_too_large(run: Run, mode: str, rows: int, directory: Path, where: Any) -> None:
    """Errors: :class:`SettingsError` when memory or disk cannot hold the student's training."""
    settings, width = run.student(mode), _table_width(run, mode)
    table, state = _training_bytes(run, mode, rows)
    directory.mkdir(parents=True, exist_ok=True)
    memory, free_there = "memory", free_memory()
    if where is not None:
        from ..student import cuda

        memory, free_there = f"{where}'s memory", cuda.free_memory(where)
    for what, needed, free in (
        (memory, (table + state) // run.group.size, free_there),
        # The checkpoint, and its successor until that is whole; at the end, the student.
        ("disk", 2 * (table + state) + table, shutil.disk_usage(directory).free),
    ):
        if free is not None and needed > free:
            raise SettingsError(
                f"training {rows:,} n-grams x {width:,} ({settings.table}, {settings.optimizer}) takes "
                f"{needed / 1e9:.1f} GB of {what} ({table / 1e9:.1f} GB a table, {state / 1e9:.1f} GB its "
                f"optimizer's state), {free / 1e9:.1f} GB are free: fewer n-grams (--size at count), narrower rows "
                "(--hidden, --embedding), --optimizer adagrad or --table bfloat16 take less"
            )


# ---- students ------------------------------------------------------------------------------------------------------


def new_student(run: Run, mode: str, rows: int, group: Group = ALONE, where: Any = None) -> Any:
    """An untrained student of a mode with a table of ``rows`` rows, on a device or the host (None)."""
    from ..student.model import Student

    settings, classes = run.student(mode), len(run.inputs.labels)
    shape = settings.hidden, settings.embedding, settings.dropout
    return Student(
        rows, classes, *shape, run.settings.student_seed, settings.table, settings.pooling, group, where,
        run.are_pairs, scores=run.several.scores if run.several else (0,) * (run.settings.task == "regression"),
    )  # fmt: skip


def trained(run: Run, name: str, group: Group = ALONE, on_device: bool = False) -> tuple[Vocabulary, Any]:
    """A trained student and its vocabulary; ``on_device``: where students are trained, else on the host."""
    run.result_of(unit_of(name))
    vocabulary = vocabulary_of(run, name)
    path = run.directory / "students" / name / "student.safetensors"
    mode = mode_of(name)
    where = device(run, mode, len(vocabulary)) if on_device else None
    return vocabulary, new_student(run, mode, len(vocabulary), group, where).load(path)


# ---- what is learnt from -------------------------------------------------------------------------------------------


def _dataset(run: Run, mode: str, vocabulary: Vocabulary, threads: int) -> Blocks:
    """What a student is trained on in stage 2."""
    parts = run.settings.labelled_parts(mode)
    if not parts:
        return _gold_dataset(run, vocabulary, threads)
    dataset = []
    for part in parts:
        run.result_of(f"label.{part}")
        weights = run.inputs.sample_weights if part != "corpus" else None
        if weights is not None and part == "crops":
            weights = np.tile(weights, (run.settings.label.random_crops, 1))
        logits = Logits.load(run.directory / "logits" / part)
        # Class weights are not among them: what is learnt here is the teacher's distribution, on which they have had
        # their effect where it was fine-tuned.
        path = crops.write(run) if part == "crops" else run.inputs.path(part)
        one = Part(path, partial(_soft_targets, run.task, logits, _gold_of_untaught(run, part)), weights)
        dataset += [one] * (run.settings.distill.train_weight if part == "train" else 1)
    return OnDisk(dataset, vocabulary, threads, run.are_pairs, _forgotten(run, vocabulary), run.settings.student_seed)


def _soft_targets(task: Single, logits: Logits, gold: np.ndarray | None, begin: int, end: int) -> np.ndarray:
    soft = task.soft_targets(logits.rows(begin, end))
    return soft if gold is None else np.where(np.isnan(soft), gold[begin:end], soft)


def _gold_of_untaught(run: Run, part: str) -> np.ndarray | None:
    """Of several heads, the gold targets of train of those that have no teacher, which learn them; others NaN."""
    if run.several is None or part != "train":
        return None
    gold: np.ndarray = run.inputs.part("train").targets.copy()
    for head in run.several.heads:
        if bool(run.settings.heads[head.name].teacher):
            gold[:, head.outputs] = np.nan
    return gold


def _gold_dataset(run: Run, vocabulary: Vocabulary, threads: int, unit: str = "") -> Blocks:
    train = run.inputs.part("train")
    targets = run.task.gold_targets(train.targets, len(run.inputs.labels))
    if run.several and unit == "finetune":  # a head without gold labels must not forget what it has learnt
        targets = run.several.filled(targets, run.several.soft_targets(run.teacher_logits("train")))
    if forget := _forgotten(run, vocabulary):
        given = pairs.halves(train.texts) if run.are_pairs else train.texts
        featurise = Featuriser(vocabulary, threads, forget, run.settings.student_seed)
        return TextsInMemory(given, targets, run.inputs.gold_weights, featurise)
    return InMemory(Batch(*run.bags(vocabulary, train.texts, threads), targets, run.inputs.gold_weights))


def _forgotten(run: Run, vocabulary: Vocabulary) -> float:
    """Share of the words that training takes for unknown."""
    return run.settings.distill.unknown_words if vocabulary.rules.characters == "unknown" else 0.0


# ---- training ------------------------------------------------------------------------------------------------------


def fit(
    run: Run,
    student: Any,
    blocks: Blocks,
    settings: Distill | Finetune,
    vocabulary: Vocabulary,
    unit: str,
    threads: int,
) -> dict[str, Any]:
    """Train a new student on these texts, as the settings of its unit say; see :func:`student.train.train`."""
    from ..student import train

    task, distill = run.task, run.settings.distill
    texts, targets = run.selection_set()
    ids, offsets = run.bags(vocabulary, texts, threads)
    if run.group.leads and unit != "finetune":  # which has the vocabulary of kd
        halves = pairs.halves(texts) if run.are_pairs else texts
        if warning := unknown_warning(vocabulary, halves, offsets, run.settings.count.min_count):
            say(warning)

    chosen_by, fallback = run.primary, None
    if run.several:
        _standardise_heads(run, student, blocks, targets, unit, threads)
    elif task.name == "regression":
        chosen_by, fallback = _standardise(run, student, blocks, targets, unit, threads)

    def score(student: Any) -> float:
        return task.metrics(student.logits(ids, offsets, threads), targets)[chosen_by]

    schedule = _schedule(run, settings, blocks, vocabulary, unit, threads)
    rates, learnt = None, task
    if schedule.optimizer == "sgd":
        rates = _rates(run, blocks, student, schedule)
        learnt = run.several.apart() if run.several else task
    elif run.several:
        learnt = run.several.balanced(blocks.targets())
    result = train.train(
        student, blocks, schedule, learnt, _directory(run, unit), score, unit.replace(".", " "), run.key(unit),
        distill.resume, distill.tensorboard, run.group, fallback if distill.keep != "last" else None, rates,
    )  # fmt: skip
    parameters = sum(array.size for array in student.arrays().values())
    return {**result, "texts": sum(blocks.sizes), "parameters": parameters}


def _rates(run: Run, blocks: Blocks, student: Any, schedule: Schedule) -> tuple[np.ndarray, np.ndarray]:
    """Of a linear student: see :class:`sparsedistill.student.table.Sgd`."""
    rows, outputs = len(student.table), student.classes
    if run.several is None:
        rates = row_rates(blocks, rows, outputs, run.task.name == "multi", schedule.batch_size)
        return rates[:, None], _own_ends(run.group, outputs, [outputs])
    steps = 0 if run.settings.distill.learning_rate else schedule.steps
    ends = [head.outputs.stop for head in run.several.heads]
    return rates_of_heads(blocks, rows, run.several, schedule.batch_size, steps), _own_ends(run.group, outputs, ends)


def _own_ends(group: Group, width: int, ends: Sequence[int]) -> np.ndarray:
    """Where columns end that end at ``ends`` in the whole table, in that of this process."""
    columns = range(width)[group.columns(width)]
    own: np.ndarray = np.clip(np.array(ends) - columns.start, 0, len(columns)).astype(np.uint32)
    return own


def _schedule(
    run: Run, settings: Distill | Finetune, blocks: Blocks, vocabulary: Vocabulary, unit: str, threads: int
) -> Schedule:
    """Steps, batches and learning rate of a unit that is trained on these texts."""
    texts = sum(blocks.sizes)
    distill = run.student(mode_of(_student_of(unit)))
    batch_size = min(settings.batch_size, max(1, texts // 64))
    asked, epochs = 0, settings.epochs
    if isinstance(settings, Distill):
        asked, epochs = settings.steps, epochs_of(settings, vocabulary.rules.characters)
    steps = asked or max(1, round(epochs * texts / batch_size))
    # Little gold data is soon learnt by heart; a corpus is not, and the schedule ends where it should. So it does for a
    # linear student: what is best on a few hundred texts of dev is mostly chance, and worth a quarter of a point less.
    by_heart = unit == "finetune" or (unit == "distill.scratch" and distill.student == "network")
    best = by_heart or distill.patience > 0
    return Schedule(
        steps=steps,
        batch_size=batch_size,
        learning_rate=settings.learning_rate or linear_rate(steps),
        warmup=distill.warmup,
        ngram_dropout=distill.ngram_dropout,
        evaluate_every=distill.evaluate_every or max(1, -(-steps // 10)),
        checkpoint_seconds=distill.checkpoint_seconds,
        threads=threads,
        seed=run.settings.student_seed,
        optimizer=distill.optimizer,
        schedule=distill.schedule,
        power=distill.power,
        keep_best=distill.keep == "best" or (distill.keep == "auto" and best),
        patience=distill.patience,
        max_seconds=parse_time(distill.max_time),
    )


def _standardise(
    run: Run, student: Any, blocks: Blocks, targets: np.ndarray, unit: str, threads: int
) -> tuple[str, tuple[float, float] | None]:
    """Give a student of regression the mean and scale of what it learns from, or keep those it was trained with.

    Returns the figure to choose on dev by, and what training falls back on (:func:`train.train`): the mean. Scores of a
    teacher may be of another unit than dev's: then they are compared by their correlation, without the mean.
    """
    of_gold = unit in ("distill.scratch", "finetune")
    learnt, gold = Standard.of(blocks.targets()), Standard.of([targets])
    learnt.check("train" if of_gold else "the teacher")
    if unit != "finetune":
        student.standard[:] = learnt.mean, learnt.scale
    elif not Standard(*student.standard).comparable(learnt):
        _refit(run, student, blocks, learnt, threads)
    if not of_gold and not learnt.comparable(gold):
        say(
            f"{unit.replace('.', ' ')}: the teacher's scores have mean {learnt.mean:.6g} and deviation "
            f"{learnt.deviation:.3g}, dev's {gold.mean:.6g} and {gold.deviation:.3g}: their units differ, so dev's "
            "figure is the correlation here"
        )
        return "pearson", None
    constant = np.full((len(targets), 1), learnt.mean, np.float32)
    return "r2", (learnt.mean, run.task.metrics(constant, targets)["r2"])


def _standardise_heads(run: Run, student: Any, blocks: Blocks, targets: np.ndarray, unit: str, threads: int) -> None:
    """The same of each head that is a regression; those of another unit than dev's stay, with a warning."""
    assert run.several is not None
    of_dev = run.several.standards([targets])
    for output, learnt in run.several.standards(blocks.targets()).items():
        name = next(head.name for head in run.several.heads if head.outputs.start == output)
        learnt.check(f"head {name!r}")
        gold, standard = of_dev[output], student.standard.reshape(2, -1)[:, output]  # a view
        if not np.isnan(targets[:, output]).all() and not learnt.comparable(gold):
            say(
                f"warning: {unit.replace('.', ' ')}, head {name!r}: what is learnt has mean {learnt.mean:.6g} and "
                f"deviation {learnt.deviation:.3g}, dev {gold.mean:.6g} and {gold.deviation:.3g}: if their units "
                "differ, R2 on dev says nothing of it"
            )
        if unit != "finetune":
            standard[:] = learnt.mean, learnt.scale
        elif not Standard(*standard.tolist()).comparable(learnt):
            _refit(run, student, blocks, learnt, threads, output)


def _refit(run: Run, student: Any, blocks: Blocks, learnt: Standard, threads: int, output: int = 0) -> None:
    """Begin fine-tuning a student of scores of another unit in that of the gold ones: by least squares."""
    batch = blocks.load(0)  # gold labels are one block
    there = ~np.isnan(batch.targets[:, output])
    given = student.logits(batch.ids, batch.offsets, threads)[there, output].astype(np.float64)
    apart = given - given.mean()
    slope = float(apart @ batch.targets[there, output].astype(np.float64)) / max(float(apart @ apart), 1e-300)
    standard = student.standard.reshape(2, -1)[:, output]  # a view
    mean, scale = standard
    # Scores that tell little of the gold ones would leave a scale in which these are far apart; and the largest of
    # several rows is not that of their opposites.
    largest_rows = student.kind.takes_largest and student.factor is None and not len(student.dense)
    if abs(slope * scale) < 0.1 * learnt.scale or not learnt.deviation or (slope < 0 and largest_rows):
        student.forget((output,))
        mean, scale = learnt.mean, learnt.scale
    else:
        mean, scale = slope * (mean - float(given.mean())) + learnt.mean, slope * scale
    standard[:] = run.group.tell(mean, scale)


def unknown_warning(vocabulary: Vocabulary, texts: Sequence[str], offsets: np.ndarray, min_count: int = 1) -> str:
    """A warning where a quarter of dev's texts have no known n-gram; ``offsets`` (n + 1,) are of their bags."""
    unknown = np.flatnonzero(np.diff(offsets) == 0)
    if not len(unknown) or len(unknown) < UNKNOWN * len(texts):
        return ""
    rules = vocabulary.rules
    blank = sum(not tokens for tokens in _core.tokenize([texts[i] for i in unknown.tolist()], **rules.of_tokens()))
    if 2 * blank >= len(unknown):
        why = (
            f"{blank:,} of them have no token: are they empty, is --text the right column, or should --tokenizer be "
            f"another than {rules.tokenizer}?"
        )
    else:
        seen = f"--min-count {min_count} may be too high, or they" if min_count > 1 else "they"
        why = (
            f"{seen} may be in another language or script than the texts learnt from, of the wrong column (--text), or "
            "of words that those few texts lack (more of them, or a --corpus, would help)"
        )
    return (
        f"warning: dev: {len(unknown):,} of {len(texts):,} texts ({len(unknown) / len(texts):.1%}) have no known "
        f"n-gram, and all get the same scores ({texts[int(unknown[0])]!r:.60}): {why}"
    )
