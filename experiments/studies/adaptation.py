"""From one set of reviews to another: a teacher of the source, its student on the target, then gold labels of it."""

from __future__ import annotations

import json
from dataclasses import asdict
from operator import itemgetter
from typing import Any

import numpy as np

from ..cells import TASKS as TITLES
from ..cells import Table, theirs
from ..package import SettingsError, TransformerTeacher
from ..records import Recorded
from ..study import first_seed
from ..task import Task, accuracy

TITLE = "Domain adaptation"
NOTE = (
    "A teacher of the source labels the source's corpus; its student goes to the target as it is, or is fine-tuned on "
    "the target's labels. One seed."
)
TASKS = ("imdb", "sst2")
TARGETS = {"imdb": "sst2", "sst2": "imdb"}
RATES = (1e-4, 1e-3, 3e-3)
THEIRS = {"IMDB → SST-2": (90.0, 81.9, 88.4, 86.7), "SST-2 → IMDB": (94.1, 92.0, 93.0, 92.8)}


def measure(task: Task) -> dict[str, Any]:
    """``task`` is the source: accuracies on the target's first test set."""
    from sparsedistill.stages.train import new_student
    from sparsedistill.student.dataset import Examples, InMemory
    from sparsedistill.student.schedule import Schedule
    from sparsedistill.student.train import train

    if task.key not in TARGETS:
        raise SettingsError(f"there is nowhere to go from {task.key}: take {' or '.join(TARGETS)}")
    target = Task(TARGETS[task.key], task.place)
    (run, _), data = first_seed(task), target.run
    parts = {part: data.inputs.part(part) for part in ("train", "dev", "test")}
    which = next(iter(target.tests.values()))
    test, gold = parts["test"].texts[which], parts["test"].targets[which]
    teacher = TransformerTeacher(task.directory / "teacher", settings=data.settings.teach, labels=task.inputs.labels)
    vocabulary, student = run.trained("kd")
    bags = {part: vocabulary.bags(some.texts) for part, some in parts.items()}
    on_test = vocabulary.bags(test)
    found: dict[str, Any] = {"target": target.key, "teacher": accuracy(teacher.logits(test), gold)}
    found["kd"] = accuracy(student.logits(*on_test, 2), gold)
    one_hot = np.eye(len(task.inputs.labels), dtype=np.float32)[parts["train"].targets]

    def tuned(rate: float, new_head: bool) -> tuple[float, float]:
        """Accuracy on dev and on test after fine-tuning on the target's labels."""
        _, student = run.trained("kd")
        if new_head:  # the dense layers of an untrained one
            for mine, fresh in zip(student.parameters(), new_student(run, 1).parameters(), strict=True):
                mine.data.copy_(fresh.data)
        steps = round(5 * len(parts["train"].texts) / 32)
        schedule = Schedule(
            steps=steps, batch_size=32, learning_rate=rate, warmup=0.06, ngram_dropout=0.1,
            evaluate_every=max(1, steps // 10), checkpoint_seconds=60.0, threads=2, seed=0, keep_best=True,
        )  # fmt: skip
        where = task.directory / "adaptation" / f"{target.key}-{rate:g}-{new_head}"

        def on_dev(student: Any) -> float:
            return accuracy(student.logits(*bags["dev"], 2), parts["dev"].targets)

        key = json.dumps([run.key("distill.kd"), data.data["train"], data.data["dev"], new_head, asdict(schedule)])
        learnt = InMemory(Examples(*bags["train"], one_hot))
        train(student, learnt, schedule, "single", where, on_dev, f"adapt {rate:g}", key, True)
        result = on_dev(student), accuracy(student.logits(*on_test, 2), gold)
        (where / "student.safetensors").unlink()
        return result

    for name, new_head in (("kd_ft", False), ("kd_ft_new_head", True)):
        found[name] = max((tuned(rate, new_head) for rate in RATES), key=itemgetter(0))[1]
    return found


def tables(study: dict[str, Any], results: dict[str, Recorded]) -> list[Table]:
    """A source a row."""
    names = ("teacher", "kd", "kd_ft", "kd_ft_new_head")
    rows = [
        [f"{TITLES[key]} → {TITLES[one['target']]}", *(f"{100 * one[name]:.1f}" for name in names)]
        for key, one in study.items()
    ]
    return [[["", "teacher of the source", "KD", "KD+FT", "KD+FT, new head"], *rows, *theirs(THEIRS)]]
