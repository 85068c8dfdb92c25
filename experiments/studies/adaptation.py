"""From one set of reviews to another: a teacher of the source, its student on the target, then gold labels of it."""

from __future__ import annotations

import json
from dataclasses import asdict
from operator import itemgetter
from typing import Any

import numpy as np

from sparsedistill.errors import SettingsError
from sparsedistill.stages.train import new_student
from sparsedistill.student.dataset import Examples, InMemory
from sparsedistill.student.model import Student
from sparsedistill.student.schedule import Schedule
from sparsedistill.student.train import train
from sparsedistill.teacher.transformer import TransformerTeacher

from ..study import first, main
from ..task import Task, accuracy

TARGETS = {"imdb": "sst2", "sst2": "imdb"}
RATES = (1e-4, 1e-3, 3e-3)


def measure(task: Task) -> dict[str, Any]:
    """``task`` is the source: accuracies on the target's first test set."""
    if task.key not in TARGETS:
        raise SettingsError(f"there is nowhere to go from {task.key}: take {' or '.join(TARGETS)}")
    target = Task(TARGETS[task.key], task.place)
    run, theirs = first(task), target.run
    parts = {part: theirs.inputs.part(part) for part in ("train", "dev", "test")}
    which = next(iter(target.tests.values()))
    test, gold = parts["test"].texts[which], parts["test"].targets[which]
    teacher = TransformerTeacher(task.directory / "teacher", settings=theirs.settings.teach, labels=task.inputs.labels)
    found: dict[str, Any] = {"target": target.key, "teacher": accuracy(teacher.logits(test), gold)}
    vocabulary, student = run.trained("kd")
    bags = {part: vocabulary.bags(some.texts) for part, some in parts.items()}
    on_test = vocabulary.bags(test)
    found["kd"] = accuracy(student.logits(*on_test, 2), gold)
    learnt = InMemory(
        Examples(*bags["train"], np.eye(len(task.inputs.labels), dtype=np.float32)[parts["train"].targets])
    )

    def tuned(rate: float, new_head: bool) -> tuple[float, float]:
        """Accuracy on dev and on test after fine-tuning on the target's labels."""
        _, student = run.trained("kd")
        if new_head:
            _forget_head(student, new_student(run, 1))
        steps = round(5 * len(parts["train"].texts) / 32)
        schedule = Schedule(
            steps=steps, batch_size=32, learning_rate=rate, warmup=0.06, ngram_dropout=0.1,
            evaluate_every=max(1, steps // 10), checkpoint_seconds=60.0, threads=2, seed=0, keep_best=True,
        )  # fmt: skip
        where = task.directory / "adaptation" / f"{target.key}-{rate:g}-{new_head}"

        def on_dev(student: Student) -> float:
            return accuracy(student.logits(*bags["dev"], 2), parts["dev"].targets)

        key = [run.key("distill.kd"), theirs.data["train"], theirs.data["dev"], new_head, asdict(schedule)]
        train(student, learnt, schedule, "single", where, on_dev, f"adapt {rate:g}", json.dumps(key), True)
        result = on_dev(student), accuracy(student.logits(*on_test, 2), gold)
        (where / "student.safetensors").unlink()
        return result

    for name, new_head in (("kd_ft", False), ("kd_ft_new_head", True)):
        found[name] = max((tuned(rate, new_head) for rate in RATES), key=itemgetter(0))[1]
    return found


def _forget_head(student: Student, fresh: Student) -> None:
    """Give a student the dense layers of an untrained one."""
    for mine, new in zip(student.parameters(), fresh.parameters(), strict=True):
        mine.data.copy_(new.data)


if __name__ == "__main__":
    main(__doc__, ("imdb", "sst2"), measure)
