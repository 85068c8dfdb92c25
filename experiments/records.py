"""What was found: predictions and figures of every system of every task, in files small enough to be kept for good.

``docs/predictions/TASK/SYSTEM.npz`` holds the class indices given to the texts of all test sets, an array a seed;
``SYSTEM.json`` beside it the figures of each seed and where they come from.
"""

from __future__ import annotations

import hashlib
import json
import shlex
import statistics
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np

from sparsedistill.errors import SettingsError
from sparsedistill.format import read_json, replacing, write_json
from sparsedistill.progress import say
from sparsedistill.stages.keys import versions

from .names import SYSTEMS
from .task import HERE, Task

PREDICTIONS = HERE.parent / "docs" / "predictions"
STUDIES = HERE.parent / "docs" / "studies"


def have(task: Task, system: str, seed: int, recipe: Any) -> bool:
    """Whether this was measured already, by the same ``recipe``: all that it depends on but the seed."""
    path = PREDICTIONS / task.key / f"{system}.json"
    return path.exists() and read_json(path).get(str(seed), {}).get("recipe") == measured(task, recipe)


def measured(task: Task, recipe: Any) -> str:
    """A fingerprint of a recipe, of values that JSON can hold, together with the texts that it is measured on."""
    return _hash([recipe, task.run.data["test"]["fingerprint"]])


def voice(predictions: np.ndarray) -> str:
    """A fingerprint of what a teacher says of the test texts: trained anew by the same recipe, it may say others."""
    return _hash(predictions.tolist())


def taught_by(task: Task) -> dict[str, str]:
    """The teacher that systems learn from, as it is written down; it is trained, and asked, if need be."""
    return {"taught_by": voice(task.taught().teacher_logits("test").argmax(axis=1))}


def kept_voice(key: str) -> str | None:
    """The :func:`voice` of the task's teacher that is written down; None where there is none."""
    kept = predictions_of(key, "teacher")
    return voice(kept["0"]) if kept else None


def known_teacher(task: Task) -> dict[str, str]:
    """The teacher whose figures are written down. Errors: :class:`SettingsError` where there is none."""
    if said := kept_voice(task.key):
        return {"taught_by": said}
    raise SettingsError(f"no teacher is written down: python -m experiments {task.key} --systems teacher")


def _hash(value: Any) -> str:
    return hashlib.blake2b(json.dumps(value, sort_keys=True).encode(), digest_size=8).hexdigest()


def keep(task: Task, system: str, seed: int, recipe: Any, predictions: np.ndarray, dev: float, **facts: Any) -> None:
    """Write what a system said of the test texts, and how right that is; seeds of other recipes go.

    ``facts``: what else is to be known of it.
    """
    folder, made = PREDICTIONS / task.key, measured(task, recipe)
    path, found = folder / f"{system}.json", task.accuracies(predictions)
    known = {s: one for s, one in (read_json(path) if path.exists() else {}).items() if one["recipe"] == made}
    arrays = {s: array for s, array in predictions_of(task.key, system).items() if s in known}
    arrays[str(seed)] = predictions.astype(np.uint8)
    with replacing(folder / f"{system}.npz") as temporary, open(temporary, "wb") as file:
        np.savez_compressed(file, **{name: arrays[name] for name in sorted(arrays)})
    known[str(seed)] = {"accuracy": found, "dev": dev, **facts, "recipe": made, **provenance(task)}
    write_json(path, {name: known[name] for name in sorted(known)})
    shown = ", ".join(f"{name} {value:.2%}" for name, value in found.items())
    say(f"{task.key} {system} (seed {seed}): {shown}; dev {dev:.2%}")


def keep_study(name: str, task: Task, found: Any, said: dict[str, str]) -> None:
    """Write what a study found on a task, and which teacher ``said`` it, to ``docs/studies/NAME.json``."""
    path = STUDIES / f"{name}.json"
    known = read_json(path) if path.exists() else {}
    known[task.key] = {"found": found, **said, **provenance(task)}
    write_json(path, known)


def predictions_of(task: str, system: str) -> dict[str, np.ndarray]:
    """Class indices uint8 (n,) by seed; nothing where the system was not run."""
    path = PREDICTIONS / task / f"{system}.npz"
    if not path.exists():
        return {}
    with np.load(path, allow_pickle=False) as arrays:
        return dict(arrays)


def systems_of(task: str) -> dict[str, dict[str, Any]]:
    """The records of a task's systems, by seed."""
    folder = PREDICTIONS / task
    return {name: read_json(folder / f"{name}.json") for name in SYSTEMS if (folder / f"{name}.json").exists()}


def selected(systems: dict[str, dict[str, Any]]) -> str:
    """Which of KD and KD+FT, where both are among the records, is better on dev over the seeds; else nothing."""
    figures = {
        name: statistics.fmean(one["dev"] for one in systems[name].values())
        for name in ("kd", "kd_ft")
        if name in systems
    }
    return max(figures, key=lambda name: figures[name]) if len(figures) == 2 else ""


def provenance(task: Task) -> dict[str, Any]:
    """Command, commit, data, encoder of the teacher and versions behind a figure."""
    data, encoder = task.run.data, Path(task.run.settings.teach.teacher)
    # The folder that a package ships its weights in is named after nothing.
    name = encoder.parent.name if encoder.name == "model" else encoder.name
    return {
        "command": command(),
        "commit": _COMMIT,
        "encoder": f"{name} {_hash(task.run.inputs.teacher_identity)}",
        "data": {part: data[part]["fingerprint"] for part in ("train", "dev", "test", "corpus") if part in data},
        "versions": versions(),
    }


def command() -> str:
    """What was typed, places of things in capitals or, where they say nothing, left out."""
    program = Path(sys.argv[0]).resolve()
    if not program.is_relative_to(HERE):
        return shlex.join([program.name, *sys.argv[1:]])
    name = ".".join(program.relative_to(HERE.parent).with_suffix("").parts).removesuffix(".__main__")
    words, given = [], iter(sys.argv[1:])
    for word in given:
        option, equals, _ = word.partition("=")
        if option not in _PLACES:
            words.append(shlex.quote(word))
            continue
        if not equals:
            next(given, None)
        words += _PLACES[option]
    return f"python -m {name} {' '.join(words)}".strip()


_PLACES = {"--data": ("--data", "DIR"), "--teacher": ("--teacher", "MODEL"), "--runs": ()}


def _commit() -> str:
    """The commit that is checked out; "+" where files of the project differ from it."""

    def git(*words: str) -> str:
        return subprocess.run(["git", *words], cwd=HERE, capture_output=True, text=True, check=False).stdout.strip()

    changed = git("status", "--porcelain", "--", "../core", "../sparsedistill", ".", "../benchmarks")
    return git("rev-parse", "--short=12", "HEAD") + ("+" if changed else "")


_COMMIT = _commit()  # of the code that runs, whatever is checked out by the time that it is done
