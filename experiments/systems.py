"""Every system of a task, trained, measured once on the test texts, and recorded.

The students are those of the task's run; the paper's other students learn the same teacher's soft labels; fastText,
TF-IDF and model2vec are the baselines, and learn the same labels with settings chosen on the same dev texts.
"""

import shutil
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from benchmarks import baselines
from sparsedistill import SettingsError

from . import records
from .package import finetune, read_json
from .task import Task, accuracy, decided, dev_figure, share

SEEDS = (0, 1, 2)


def teacher(task: Task, seed: int) -> None:
    """The fine-tuned transformer: the same one for all seeds."""
    which, run = records.teacher_of(task), task.run
    recipe = [run.key("label.test"), run.key("label.dev"), which]
    if not records.have(task, "teacher", 0, recipe):
        figures = read_json(run.directory / "teacher" / "training.json")
        records.keep(
            task, "teacher", 0, recipe, run.teacher_logits("test").argmax(axis=1),
            accuracy(run.teacher_logits("dev"), task.inputs.part("dev").targets),
            seconds=figures["seconds"], dev_by_epoch=figures["dev"],
        )  # fmt: skip


def students(task: Task, seed: int) -> None:
    """The sparse students: from scratch, without train, with it, and fine-tuned."""
    which = records.teacher_of(task)
    first, run = (task.variant(f"seed{s}", distill__student_seed=s) for s in (0, seed))
    teachers: dict[str, dict[str, str]] = {name: {} if name == "scratch" else which for name in run.students}
    recipes = {name: [first.key(f"compress.{name}"), teachers[name]] for name in run.students}
    if all(records.have(task, name, seed, recipe) for name, recipe in recipes.items()):
        return
    run.execute(("count", "distill", "finetune", "compress"))
    share(run, task.run)
    for name, recipe in recipes.items():
        trained = run.result_of("finetune" if name == "kd_ft" else f"distill.{name}")
        records.keep(
            task, name, seed, recipe, decided(task, run, name), dev_figure(run, name), seconds=trained["seconds"],
            **teachers[name],
        )  # fmt: skip
    if seed:
        shutil.rmtree(run.directory)  # a gigabyte or more; the first seed's students are looked into by the studies


# ---- the paper's other students --------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Network:
    """How one is made and trained: ``start`` writes it untrained, ``soft``: on soft labels, else on gold labels."""

    start: partial[None]  # of (task, directory, seed)
    learning_rate: float
    epochs: int
    soft: bool = True
    batch_size: int = 64


def _half(task: Task, directory: Path, seed: int, trained: bool) -> None:
    from .neural import half_of

    half_of(task.directory / "teacher" if trained else task.run.settings.teach.teacher, directory, seed)


def _new(task: Task, directory: Path, seed: int, **shape: Any) -> None:
    from .neural import new_network

    new_network(task.run.settings.teach.teacher, directory, seed, num_labels=len(task.inputs.labels), **shape)


NETWORKS = {
    "transformer_student": Network(partial(_half, trained=True), 1e-4, 2),
    "transformer_finetuned": Network(partial(_half, trained=False), 1e-4, 0, soft=False, batch_size=32),
    "bilstm": Network(partial(_new, kind="lstm", width=512), 1e-3, 3),
    "bilstm_256": Network(partial(_new, kind="lstm", width=256), 1e-3, 3),
    "bilstm_64": Network(partial(_new, kind="lstm", width=64), 2e-3, 3),
    "bilstm_4": Network(partial(_new, kind="lstm", width=4), 5e-3, 3),
    "cnn": Network(partial(_new, kind="cnn", width=256), 1e-3, 3),
}
# Of corpus and train that networks learn from, a pair being two texts: what two cores have time for.
SOFT_TEXTS, SOFT_WORDS = 50_000, 2_000_000


def network(task: Task, seed: int, name: str) -> None:
    """One of :data:`NETWORKS`, trained on soft labels of some texts, or on gold labels of train."""
    made, teach = NETWORKS[name], task.run.settings.teach
    which = records.teacher_of(task) if made.soft else {}
    most = SOFT_TEXTS // 2 if task.run.are_pairs else SOFT_TEXTS
    directory = task.directory / "networks" / f"{name}-{seed}"
    train, dev, test = (task.inputs.part(part) for part in ("train", "dev", "test"))
    settings = replace(
        teach, teacher=str(directory / "start"), learning_rate=made.learning_rate, batch_size=made.batch_size,
        epochs=made.epochs or teach.epochs, dropout=-1.0,
    )  # fmt: skip
    learnt = [task.run.key(f"label.{part}") for part in ("corpus", "train")] if made.soft else task.run.data["train"]
    asked = {field: value for field, value in asdict(settings).items() if not field.startswith(("teacher", "check"))}
    recipe = [
        learnt, which, task.run.data["dev"], asked, [most, SOFT_WORDS] if made.soft else None, made.start.keywords,
        task.run.teacher_identity,
    ]  # fmt: skip
    if records.have(task, name, seed, recipe):
        return
    from . import neural  # noqa: F401 (makes its networks known)

    shutil.rmtree(directory / "start", ignore_errors=True)
    made.start(task, directory / "start", seed)
    texts, targets = task.soft(most, SOFT_WORDS) if made.soft else (train.texts, train.targets)
    figures = finetune(
        settings, directory / "trained", texts, targets, dev.texts, dev.targets, labels=task.inputs.labels,
        task="single", seed=seed, are_pairs=task.run.are_pairs,
    )  # fmt: skip
    logits = task.opened(directory / "trained", settings).logits(test.texts)
    records.keep(
        task, name, seed, recipe, logits.argmax(axis=1), max(figures["dev"]),
        seconds=figures["seconds"], texts=len(texts), **which,
    )  # fmt: skip


# ---- baselines -------------------------------------------------------------------------------------------------------


def labelled(task: Task) -> SimpleNamespace:
    """A task as the baselines want it: the run's train and dev, class indices for labels."""
    texts, data = {part: task.inputs.part(part) for part in ("train", "dev")}, task.run.data
    train, dev = ((part.texts, part.targets) for part in texts.values())
    key = f"{task.key}-{data['train']['fingerprint'][:6]}{data['dev']['fingerprint'][:6]}"
    return SimpleNamespace(name=task.key, labels=task.inputs.labels, key=key, train=train, split=(train, dev))


BASELINES = ("fasttext", "tfidf", "model2vec")


def baseline_of(task: Task, name: str, seed: int) -> baselines.Baseline:
    """A baseline, not yet loaded: it trains itself then, unless it was trained before."""
    labels, cache = labelled(task), task.place.runs / "baselines"
    if name == "fasttext":
        return baselines.FastText(labels, cache, None, 1, seed + 1)  # whose seeds 0 and 1 are the same
    if name == "tfidf":
        return baselines.TfIdf(labels, cache, "LogisticRegression", 1)
    return baselines.Model2Vec(labels, cache, task.run.settings.teach.teacher, 1, seed)


def baseline(task: Task, seed: int, name: str) -> None:
    """A baseline, its settings chosen on dev."""
    encoder = task.run.teacher_identity if name == "model2vec" else None  # it learns labels: no teacher taught it
    made = baseline_of(task, name, seed)
    recipe = [labelled(task).key, made.VERSION, encoder]
    if records.have(task, name, seed, recipe):
        return
    start = time.monotonic()
    try:
        chosen = made.load()
    except ImportError as error:
        raise SettingsError(f"{error}: pip install -r benchmarks/requirements.txt, which has the baselines") from None
    seconds = round(time.monotonic() - start, 1)
    dev, test = (task.inputs.part(part) for part in ("dev", "test"))
    on_dev, on_test = (made.ids(made.label(made.prepare(part.texts))) for part in (dev, test))
    right = float((on_dev == dev.targets).mean())
    records.keep(task, name, seed, recipe, on_test, right, seconds=seconds, settings=chosen)


SYSTEMS: dict[str, Callable[[Task, int], None]] = {
    "teacher": teacher,
    "students": students,
    **{name: partial(network, name=name) for name in NETWORKS},
    **{name: partial(baseline, name=name) for name in BASELINES},
}
ONCE = ("teacher", "tfidf")  # the same for all seeds
