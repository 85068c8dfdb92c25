"""Find the smallest classifier that is as good as the best student's."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ..artefact import SLOT_COLUMNS
from ..data import pairs, texts
from ..format import copy_directory, directory_size, write_json
from ..progress import say
from ..settings import mode_of
from ..sizes import Size, plot, smallest, table
from .compress import Maker
from .keys import digest

if TYPE_CHECKING:
    from ..classifier import Classifier
    from ..run import Run
    from ..student.model import Student
    from ..student.vocabulary import Vocabulary

HELP = "find the smallest classifier that is as good as the best student's"
SIZED = "sized"
_FILES = "sizes"  # where the classifiers of all sizes are, in the run directory
_MANY = 32  # numbers a row: fewer of four bits take as many bytes as those of eight


def inputs(run: Run, name: str) -> dict[str, Any]:
    """What the sizes depend on."""
    return {
        "size": dataclasses.asdict(run.settings.size),
        "classifiers": {student: run.key(f"compress.{student}") for student in candidates(run)},
    }


def execute(run: Run) -> None:
    """Search for sizes, and put the smallest that is as good where students' classifiers are."""
    if run.settings.size.sizing:
        run.once("size", [run.directory / _FILES], lambda: _size(run))


def candidates(run: Run) -> list[str]:
    """The students that one is chosen of: kd_private and scratch are there to compare with, unless they are all."""
    return [name for name in ("kd", "kd_ft") if name in run.students] or run.students


def best(run: Run) -> str:
    """The student whose classifier is the best on dev."""
    return max(candidates(run), key=lambda name: run.result_of(f"compress.{name}")["after"])


def was_made(run: Run) -> bool:
    """Whether the stage has run: without it the students' classifiers are all there is."""
    return run.settings.size.sizing and (run.directory / "stages" / "size.json").is_file()


def has_sized(run: Run) -> bool:
    """Whether a smaller classifier than the best student's was found.

    Errors: :class:`SettingsError` where that was with other inputs.
    """
    return was_made(run) and bool(run.result_of("size").get("chosen"))


def _size(run: Run) -> dict[str, Any]:
    name, settings, directory = best(run), run.settings.size, run.directory / _FILES
    directory.mkdir(exist_ok=True)
    full_bytes = run.result_of(f"compress.{name}")["bytes"]
    hashed = run.settings.count.hashed
    if full_bytes <= settings.sizing_above * 1e6 or hashed:
        why = "n-grams of hashed rows are not known" if hashed else f"{full_bytes / 1e6:.2f} MB are small"
        say(f"size: the classifier stays as it is: {why}")
        return {"chosen": ""}
    sizes, full = searched(run, name, settings.sizing_loss)
    chosen = smallest(sizes, full, settings.sizing_loss)
    write_json(directory / "report.json", {"student": name, "primary": run.primary, "full": full, "sizes": sizes})
    lines = table([*sizes, full], run.primary, full, chosen)
    say(f"size: of {name}, with what each loses of the figure on dev:\n{lines}")
    plot([*sizes, full], run.primary, full, chosen, directory / "sizes.png")
    if chosen is full:
        say(f"size: none smaller is within {settings.sizing_loss:g} on dev, so the classifier stays as it is")
        return {"chosen": ""}
    copy_directory(Path(chosen["directory"]), run.directory / "classifiers" / SIZED)
    facts = ("rows", "width", "megabytes", "texts_per_second", "dev", "lost", "fidelity")
    return {"chosen": chosen["name"], "of": name, **{fact: chosen[fact] for fact in facts}}


def searched(run: Run, name: str, loss: float) -> tuple[list[Size], Size]:
    """Sizes of a student of a run, and the full one, all measured; what was searched before is not searched again."""
    import torch

    from ..student.shrink import Shrinker
    from ..student.sizes import add_rates, search

    threads = run.threads(run.settings.distill.threads)
    maker, task = Maker(run, name, threads), run.task
    vocabulary, student = run.trained(name)

    def logits_of(student: Student, vocabulary: Vocabulary) -> np.ndarray:
        return student.logits(*run.bags(vocabulary, maker.texts, threads), threads)

    exact = logits_of(student, vocabulary)
    gold = torch.from_numpy(np.asarray(task.gold_targets(maker.targets, exact.shape[1])))

    def measured(logits: np.ndarray) -> dict[str, float]:
        return {
            "log_loss": float(task.loss(torch.from_numpy(logits).to(gold.dtype), gold)),
            "fidelity": task.fidelity(logits, exact),
        }

    def make(vocabulary: Vocabulary, smaller: Student, rows: str) -> tuple[Classifier, dict[str, float]]:
        more = {"sized": {"of": name, "ngrams": len(vocabulary), "width": int(smaller.table.shape[1])}}
        classifier, found = maker.classifier(vocabulary, smaller, logits_of(smaller, vocabulary), rows, more)
        return classifier, {"dev": found.after, **measured(found.logits)}

    own = run.directory / "classifiers" / name
    classifier = run.classifier(name)
    config = classifier.config["rows"]
    full: Size = {
        "name": "full", "directory": str(own), "rows": config["count"], "width": config["width"],
        "type": config["type"], "megabytes": directory_size(own) / 1e6, "lost": 0.0,
        "dev": run.result_of(f"compress.{name}")["after"],
        **measured(classifier._logits(run.for_classifier(maker.texts), threads, "error")),
    }  # fmt: skip

    def score(smaller: Student, vocabulary: Vocabulary) -> float:
        return task.metrics(logits_of(smaller, vocabulary), maker.targets)[run.primary]

    sample = learnt(run, name, run.settings.size.sizing_texts)
    shrinker = Shrinker(student, vocabulary, sample, task, score, threads)
    sizes = search(shrinker, make, _types(run, shrinker), full, loss, run.directory / _FILES, _searched_of(run, name))
    add_rates([*sizes, full], run.for_classifier(maker.texts))
    return sizes, full


def _searched_of(run: Run, name: str) -> str:
    """Fingerprint of what the sizes are made of; what may be lost only tells which are looked at."""
    return digest({"classifier": run.key(f"compress.{name}"), "texts": run.settings.size.sizing_texts})


def _types(run: Run, shrinker: Any) -> Callable[[int], Sequence[str]]:
    """Types of numbers to try in rows of a width."""
    asked, kind = run.settings.compress.rows, shrinker.student.kind
    if asked != "auto":
        return lambda width: (asked,)
    if kind.needs_floats:
        return lambda width: ("float16",)
    if not shrinker.narrows:
        return lambda width: ("int8",)
    return lambda width: ("int16",) if width <= SLOT_COLUMNS else ("int8",) if width < _MANY else ("int8", "int4")


def learnt(run: Run, name: str, most: int) -> list[str]:
    """Texts that a student has learnt from, at most so many, at random; of train as many as of the corpus where there
    are enough. Of pairs the halves, one after the other.
    """
    random = np.random.default_rng(run.settings.data.seed)
    parts = [part for part in run.settings.labelled_parts(mode_of(name)) if part != "crops"] or ["train"]
    found: list[str] = []
    for i, part in enumerate(sorted(parts, key=lambda part: part == "corpus")):
        room = (most - len(found)) if i == len(parts) - 1 else most // 2
        found += _drawn(run.inputs.path(part), room, random)
    found = [found[i] for i in random.permutation(len(found))]
    return pairs.halves(found) if run.are_pairs else found


def _drawn(path: Path, most: int, random: np.random.Generator) -> list[str]:
    """At most so many texts of a part; of a large one those of some row groups, so that it is not read as a whole."""
    file = texts.opened(path)
    found: list[str] = []
    for group in random.permutation(file.num_row_groups).tolist():
        if len(found) >= 4 * most:
            break
        columns = [name for name in ("text", "second") if name in file.schema_arrow.names]
        found += texts.texts_of(file.read_row_group(group, columns))
    return [found[i] for i in random.permutation(len(found))[:most]]
