"""The run directory: settings, what was read, what is finished, and the stages in their order.

Every stage reads and writes files of the run directory, can be run alone, and knows from a fingerprint of its inputs
and settings whether what is there is still good::

    settings.json  stages/*.json                what was asked and done: a person can read them
    texts/{train,dev,test,corpus}.parquet       the texts, read once; data.json beside them has sizes and fingerprints
    texts/crops.parquet                         random crops of train
    teacher/                                    the fine-tuned teacher
    logits/{corpus,train,dev,test}/             the teacher's logits
    vocabulary/{all,corpus,train}/              n-grams of corpus and train, of either alone
    embeddings/{all,corpus,train}/              the teacher's embedding of each n-gram, where the table begins with it
    students/NAME/  classifiers/NAME/           NAME: scratch, kd_private, kd, kd_ft
    classifier/  metrics.json  report.md  report.png
"""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Iterable, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from .classifier import Classifier
from .data import pairs
from .data.checks import refuse_untaught
from .data.prepare import Sources
from .data.texts import Texts
from .errors import SettingsError, require
from .format import read_json, write_json
from .locks import locked
from .machine import default_threads
from .options import Count, Distill
from .presets import student_settings
from .progress import Progress
from .settings import Settings, build
from .several import Several
from .stages import INPUTS, STAGES, count, label, teach, train
from .stages.units import Units
from .student.parallel import ALONE, joined
from .student.vocabulary import Vocabulary
from .tasks import TASKS, Single
from .teacher.kinds import Score, kind_of


class Run(Units):
    """One run directory and its settings.

    A stage is made of units, ``label.corpus`` or ``distill.kd``, say. What a unit depends on is a function of the
    settings and the data alone (:meth:`inputs_of`), so that it is known which finished unit is still good, and a stage
    run alone never builds on one that is not.

    Attributes: ``directory`` (Path), ``settings`` (:class:`~sparsedistill.settings.Settings`), ``group`` (the processes
    that train together), ``functions`` (of heads, those given as teachers).
    """

    def __init__(
        self,
        directory: str | os.PathLike[str],
        settings: Settings,
        teacher: Score | Mapping[str, Score] | None = None,
    ):
        """``teacher``: a function to be asked instead of what the settings name; of heads, functions by their names."""
        self.kind = kind_of(teacher or settings.teach.teacher, settings.heads)
        if teacher and self.kind is not None:
            named = dataclasses.replace(settings.teach, teacher=self.kind.name)
            settings = dataclasses.replace(settings, teach=named)
        self.directory, self.settings = Path(directory), settings
        self.functions = teacher if isinstance(teacher, Mapping) else {}
        self.group = ALONE
        self._counting: dict[str, tuple[Count, str]] = {}

    def execute(self, stages: Iterable[str] = tuple(STAGES)) -> None:
        """Run the named stages in their order; what is finished and still good is not done again.

        Under ``torchrun --nproc-per-node K`` the table's columns are split over K processes in training; one of them
        does all else.

        Errors: :class:`DataError` and :class:`SettingsError` before anything long begins.
        """
        wanted = set(stages)
        if unknown := wanted - set(STAGES):
            raise SettingsError(f"no stage {', '.join(sorted(unknown))}: {', '.join(STAGES)}")
        with joined() as self.group:
            if not self.group.leads:
                self._follow()
                return
            with locked(self.directory):
                with Progress("read"):
                    self.check(wanted)
                write_json(self.directory / "settings.json", dataclasses.asdict(self.settings))
                for name, stage in STAGES.items():
                    if name in wanted:
                        stage.execute(self)
            self.group.announce("")  # after an error torchrun ends them all

    def _follow(self) -> None:
        """Train what the leading process announces, together with it, until it has no more."""
        while unit := self.group.announce(""):
            train.learn(self, unit)

    def check(self, stages: Iterable[str] = tuple(STAGES)) -> None:
        """Look at the settings and all input that these stages need, and prepare the texts."""
        settings, data = self.settings, self.settings.data
        settings.check()
        trainable = settings.needs_teacher and self.kind is not None and self.kind.trainable
        if settings.distill.init == "teacher" and not trainable:
            raise SettingsError("init teacher asks a transformer for its embedding of each n-gram: give one")
        if self.settings.needs_teacher and self.kind is None and {"teach", "label", "evaluate"} & set(stages):
            if settings.heads:
                raise SettingsError('no head has a teacher: give it in [heads.NAME], or take modes = ["scratch"]')
            raise SettingsError(
                "no teacher: give `sparsedistill teach` or [teach] teacher = a Hugging Face model, module:function, "
                "or column:NAME"
            )
        if set(stages) - {"count"}:
            require("torch", "train")
            for mode in settings.distill.modes:
                train.device(self, mode)
            if settings.distill.tensorboard:
                require("tensorboard", "tensorboard")
            if trainable:
                require("transformers", "teacher")
        _ = self.primary  # a figure of the task, or refused now
        gold = "kd_ft" in settings.students or "scratch" in settings.students or self.fine_tunes_teacher
        if data.class_weights and not gold:
            raise SettingsError(
                "--class-weights weigh gold labels, and none are learnt here: students learn the teacher's "
                "distribution; fine-tune the teacher, or a student, or leave them out"
            )
        _ = self.settings.needs_teacher and self.teacher_identity  # found, or refused, now
        self._prepare()
        refuse_untaught(settings, self.data)

    def _prepare(self) -> None:
        """Read every text, unless those that are there are of the same files and settings."""
        sources, directory = Sources(self.settings, self.kind), self.directory / "texts"
        if sources.are_prepared(directory):
            return
        self.__dict__.pop("inputs", None)
        self._counting.clear()
        sources.prepare(directory)

    @cached_property
    def inputs(self) -> Texts:
        """The texts, once :meth:`check` has prepared them. Errors: :class:`SettingsError` when it has not."""
        try:
            return Texts(self.directory / "texts", self.settings)
        except FileNotFoundError:
            raise SettingsError(f"{self.directory} has no texts yet: sparsedistill run prepares them") from None

    @property
    def data(self) -> dict[str, Any]:
        """Sizes, fingerprints and label counts of the texts."""
        return self.inputs.facts

    def inputs_of(self, unit: str) -> dict[str, Any]:
        """All that the result of a unit depends on, as values that JSON can hold."""
        stage, _, name = unit.partition(".")
        return INPUTS[stage](self, name)

    # ---- what inputs are made of ------------------------------------------------------------------------------------

    def facts(self, part: str) -> dict[str, Any]:
        """Size and fingerprint of a part; those of random crops follow from train's."""
        if part != "crops":
            result: dict[str, Any] = self.data.get(part, {})
            return result
        texts = self.settings.label.random_crops * self.data["train"]["texts"]
        return {"texts": texts, "fingerprint": self.key("crops")}

    def texts_of(self, part: str) -> str | None:
        """Fingerprint of the texts of a part."""
        return self.facts(part).get("fingerprint")

    @property
    def common(self) -> dict[str, Any]:
        """What every unit depends on that learns or decides."""
        data = self.settings.data
        common = {"labels": self.inputs.labels, "task": self.task.name, "seed": data.seed}
        if self.settings.heads:
            common["heads"] = {name: [head.task, head.weight] for name, head in self.settings.heads.items()}
        if self.task.name == "regression":
            common["standardised"] = True  # what was trained before is of another unit
        if self.primary != self.task.metric:
            common["metric"] = self.primary
        return common

    def weighted(self, gold: bool) -> dict[str, Any]:
        """What the weights of train depend on, where there are any: of ``gold`` labels, or of the texts alone."""
        weights: dict[str, Any] = {"weights": self.facts("train").get("weight")} if self.settings.data.weight else {}
        if gold and self.settings.data.class_weights:
            weights["class_weights"] = self.settings.data.class_weights
        return weights

    @property
    def task(self) -> Single:
        """The task: its targets, loss, decisions and metrics."""
        return self.several or TASKS[self.settings.data.task]

    @property
    def several(self) -> Several | None:
        """The heads as one task, where there are several."""
        return self.inputs.several if self.settings.heads else None

    @property
    def primary(self) -> str:
        """The figure that choices on dev are made by."""
        data = self.settings.data
        if self.settings.heads:  # whose task is known when the texts are
            return Several.metric
        return self.task.chosen_by(data.metric, bool(data.class_weights))

    def student(self, mode: str) -> Distill:
        """Settings of the student of a mode, nothing left open in them."""
        tasks = {head.task for head in self.settings.heads.values()} or {self.settings.data.task}
        return student_settings(self.settings.distill, mode, tasks, self.are_pairs)

    def counting(self, name: str) -> tuple[Count, str]:
        """Settings of the vocabulary of ``corpus``, ``train`` or ``all``, nothing left open in them, and why so."""
        if name not in self._counting:
            self._counting[name] = count.settings_of(self, name)
        return self._counting[name]

    # ---- what stages share, and what a run has to give ---------------------------------------------------------------

    @property
    def students(self) -> list[str]:
        """Names of the students this run trains."""
        return self.settings.students

    @property
    def fine_tunes_teacher(self) -> bool:
        """Whether the teacher is fine-tuned here."""
        trainable = self.kind is not None and self.kind.trainable
        return trainable and self.settings.teach.finetune_teacher and bool(self.settings.data.train)

    @property
    def teacher_answers(self) -> bool:
        """Whether the teacher can score any text: a column only knows its own."""
        return self.settings.needs_teacher and self.kind is not None and self.kind.answers

    @cached_property
    def teacher_identity(self) -> Any:
        """What the teacher is; see :meth:`sparsedistill.teacher.Kind.identity`."""
        return self.kind.identity() if self.kind else None

    @cached_property
    def teacher(self) -> Any:
        """The teacher, at the precision that this run has settled on: its ``logits`` score any texts."""
        return teach.open_teacher(self)

    def teacher_logits(self, part: str) -> np.ndarray:
        """The teacher's logits (n, C) of a part, as stored. Errors: :class:`SettingsError` when it is not labelled."""
        return label.stored(self, part)

    def trained(self, name: str) -> tuple[Vocabulary, Any]:
        """A trained student and its vocabulary. Errors: :class:`SettingsError` when it has not been trained."""
        return train.trained(self, name)

    def classifier(self, name: str) -> Classifier:
        """The finished classifier of a student, as it stands in ``classifiers/NAME``."""
        return Classifier.load(self.directory / "classifiers" / name)

    @property
    def are_pairs(self) -> bool:
        """Whether pairs of texts are labelled."""
        return bool(self.settings.data.pair)

    def bags(self, vocabulary: Vocabulary, texts: Sequence[str], threads: int) -> tuple[np.ndarray, np.ndarray]:
        """Bags (:meth:`Vocabulary.bags`) of texts, or of pairs: two each."""
        return vocabulary.bags(pairs.halves(texts) if self.are_pairs else texts, threads)

    def for_classifier(self, texts: Sequence[str]) -> Sequence[Any]:
        """Texts, or pairs of them, as a classifier wants them."""
        return pairs.split(texts) if self.are_pairs else texts

    def selection_set(self) -> tuple[list[str], np.ndarray]:
        """Texts and targets to choose on: dev's gold labels, or the teacher's on a held-out part of the corpus."""
        if self.inputs.has_dev:
            dev = self.inputs.part("dev")
            if self.several and self.settings.needs_teacher:
                return dev.texts, self.several.filled(dev.targets, self.several.decisions(self.teacher_logits("dev")))
            return dev.texts, dev.targets
        texts = [text for batch in self.inputs.texts("dev") for text in batch]
        return texts, self.task.selection_targets(self.teacher_logits("dev"))

    def threads(self, asked: int) -> int:
        """CPU threads of this process where ``asked`` (0: all) are; torch is told."""
        threads = asked or max(1, default_threads() // self.group.size)
        require("torch", "train").set_num_threads(threads)
        return threads


def opened(directory: str | os.PathLike[str]) -> Run:
    """The run in a directory, with its settings. Errors: :class:`SettingsError` where there is none."""
    file = Path(directory) / "settings.json"
    if not file.is_file():
        raise SettingsError(f"{directory} is no run directory: it has no settings.json")
    return Run(directory, build(read_json(file), str(directory)))
