"""What was measured: predictions and figures of every system and study, in files small enough to be kept for good.

``results/TASK.npz`` holds the class indices given to the texts of all test sets, an array a system and seed;
``results/TASK.json`` the figures of each and of the studies, and where they come from, a record a line. One process at
a time works on a task.
"""

import hashlib
import json
import statistics
import subprocess
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from sparsedistill import SettingsError

from .cells import SYSTEMS, TASKS
from .package import read_json, replacing, say, versions
from .task import HERE, Task

RESULTS = HERE / "results"


class Recorded:
    """The records of a task.

    Attributes: ``systems``, by name and seed, each with ``accuracy`` by test set, ``dev`` and where it comes from;
    ``studies``, by name, each with ``figures``; ``predictions``, by "system/seed", uint8 (n,). Accuracies are in 0..1.
    """

    def __init__(self, key: str):
        self.key = key
        path = RESULTS / f"{key}.json"
        found = read_json(path) if path.exists() else {"systems": {}, "studies": {}}
        self.systems: dict[str, dict[str, Any]] = found["systems"]
        self.studies: dict[str, dict[str, Any]] = found["studies"]

    @cached_property
    def predictions(self) -> dict[str, np.ndarray]:
        """Read when first asked for."""
        path = RESULTS / f"{self.key}.npz"
        if not path.exists():
            return {}
        with np.load(path, allow_pickle=False) as arrays:
            return dict(arrays)

    def save(self) -> None:
        """Write all of it, systems and studies in their usual order."""
        RESULTS.mkdir(exist_ok=True)
        arrays = {name: self.predictions[name] for name in sorted(self.predictions)}
        with replacing(RESULTS / f"{self.key}.npz") as temporary, open(temporary, "wb") as file:
            np.savez_compressed(file, **arrays)
        systems = {name: dict(sorted(self.systems[name].items())) for name in SYSTEMS if name in self.systems}
        with replacing(RESULTS / f"{self.key}.json") as temporary:
            text = _lines({"systems": systems, "studies": dict(sorted(self.studies.items()))}, 3)
            Path(temporary).write_text(text + "\n", encoding="utf-8")

    @property
    def tests(self) -> list[str]:
        """Names of the test sets, the one that counts first."""
        return list(next(iter(next(iter(self.systems.values())).values()))["accuracy"]) if self.systems else []

    @property
    def test_texts(self) -> int:
        """Texts of the first test set; 0 where they were not counted."""
        sizes = self.studies.get("sizes", {}).get("figures", {}).get("tests", {})
        return int(sizes.get(self.tests[0], 0)) if self.tests else 0

    def accuracies(self, system: str, test: str = "") -> list[float]:
        """Of each seed of a system, on the first test set or another."""
        return [one["accuracy"][test or self.tests[0]] for one in self.systems.get(system, {}).values()]

    def mean(self, system: str, test: str = "") -> float:
        """Mean accuracy over the seeds of a system."""
        return statistics.fmean(self.accuracies(system, test))

    @property
    def selected(self) -> str:
        """Which of KD and KD+FT, where both were trained, is better on dev over the seeds; else nothing."""
        dev = {
            name: statistics.fmean(one["dev"] for one in self.systems[name].values())
            for name in ("kd", "kd_ft")
            if name in self.systems
        }
        return max(dev, key=lambda name: dev[name]) if len(dev) == 2 else ""

    @property
    def teacher(self) -> str | None:
        """Fingerprint of the teacher that is recorded."""
        return fingerprint(self.predictions["teacher/0"]) if "teacher/0" in self.predictions else None

    def as_json(self) -> dict[str, Any]:
        """The records, and the means over the seeds by test set and system."""
        means = {test: {name: self.mean(name, test) for name in self.systems} for test in self.tests}
        return {"selected": self.selected, "accuracy": means, "systems": self.systems, "studies": self.studies}

    def disagreement(self, one: str, other: str) -> float:
        """The share of the first test set's texts that two systems decide otherwise, over pairs of seeds."""
        first, second = (
            [ids[: self.test_texts] for name, ids in self.predictions.items() if name.startswith(f"{system}/")]
            for system in (one, other)
        )
        return float(np.mean([a != b for a in first for b in second]))


def every_task() -> dict[str, Recorded]:
    """The records of all tasks that have some."""
    return {key: found for key in TASKS if (found := Recorded(key)).systems or found.studies}


def have(task: Task, system: str, seed: int, recipe: Any) -> bool:
    """Whether this was measured already, by the same ``recipe``: all that it depends on but the seed."""
    return Recorded(task.key).systems.get(system, {}).get(str(seed), {}).get("recipe") == recipe_of(task, recipe)


def recipe_of(task: Task, recipe: Any) -> str:
    """A fingerprint of a recipe, of values that JSON can hold, together with the texts that it is measured on."""
    return _hash([recipe, task.run.data["test"]["fingerprint"]])


def fingerprint(predictions: np.ndarray) -> str:
    """Of a teacher, by its predictions on the test texts: trained again by the same recipe, it may give others."""
    return _hash(predictions.tolist())


def teacher_of(task: Task) -> dict[str, str]:
    """Fingerprint of the teacher that systems learn from, as it is recorded; it is trained if need be."""
    return {"teacher": fingerprint(task.taught().teacher_logits("test").argmax(axis=1))}


def recorded_teacher(task: Task) -> dict[str, str]:
    """The same of the teacher whose figures are recorded. Errors: :class:`SettingsError` where there is none."""
    if found := Recorded(task.key).teacher:
        return {"teacher": found}
    raise SettingsError(f"no teacher is recorded: python -m experiments {task.key} --systems teacher")


def keep(task: Task, system: str, seed: int, recipe: Any, predictions: np.ndarray, dev: float, **facts: Any) -> None:
    """Record a system's predictions on the test texts and their accuracy; seeds of other recipes go.

    ``facts``: what else is to be known of it.
    """
    known, made, accuracy = Recorded(task.key), recipe_of(task, recipe), task.accuracies(predictions)
    seeds = known.systems.setdefault(system, {})
    for stale in [name for name, one in seeds.items() if one["recipe"] != made]:
        del seeds[stale], known.predictions[f"{system}/{stale}"]
    asked = "students" if system in ("scratch", "kd_private", "kd", "kd_ft") else system
    source = provenance(task, f"--systems {asked} --seeds {seed}")
    seeds[str(seed)] = {"accuracy": accuracy, "dev": dev, **facts, "recipe": made, **source}
    known.predictions[f"{system}/{seed}"] = predictions.astype(np.uint8)
    known.save()
    shown = ", ".join(f"{name} {value:.2%}" for name, value in accuracy.items())
    say(f"{task.key} {system} (seed {seed}): {shown}; dev {dev:.2%}")


def keep_study(name: str, task: Task, figures: Any, teacher: dict[str, str]) -> None:
    """Record what a study measured, in place of what it measured before."""
    known = Recorded(task.key)
    known.studies[name] = {"figures": figures, **teacher, **provenance(task, f"--studies {name}")}
    known.save()


def provenance(task: Task, what: str) -> dict[str, Any]:
    """Command, commit, encoder of the teacher, data and versions behind a figure."""
    given = (" --data DIR" if task.place.data else "") + (" --teacher MODEL" if task.place.teacher else "")
    data, encoder = task.run.data, Path(task.run.settings.teach.teacher)
    # The folder that a package ships its weights in is named after nothing.
    name = encoder.parent.name if encoder.name == "model" else encoder.name
    return {
        "command": f"python -m experiments {task.key} {what}{given}",
        "commit": _COMMIT,
        "encoder": f"{name} {_hash(task.run.teacher_identity)}",
        "data": {part: data[part]["fingerprint"] for part in ("train", "dev", "test", "corpus") if part in data},
        "versions": versions(),
    }


def _commit() -> str:
    """The commit that is checked out; "+" where files of the project differ from it."""

    def git(*words: str) -> str:
        return subprocess.run(["git", *words], cwd=HERE, capture_output=True, text=True, check=False).stdout.strip()

    changed = git("status", "--porcelain", "--", "../core", "../src", ".", ":!results", "../benchmarks")
    return git("rev-parse", "--short=12", "HEAD") + ("+" if changed else "")


_COMMIT = _commit()  # of the code that runs, whatever is checked out by the time that it is done


def _hash(value: Any) -> str:
    return hashlib.blake2b(json.dumps(value, sort_keys=True).encode(), digest_size=8).hexdigest()


def _lines(value: Any, depth: int) -> str:
    """JSON with a line an entry of dicts as deep as this, so that git shows which records changed."""
    if not depth or not isinstance(value, dict) or not value:
        return json.dumps(value, ensure_ascii=False, allow_nan=False)
    return "{\n" + ",\n".join(f"{json.dumps(key)}: {_lines(one, depth - 1)}" for key, one in value.items()) + "\n}"
