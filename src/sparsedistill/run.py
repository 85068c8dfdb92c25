"""The stages, their order, and the run directory they share.

Every stage reads and writes files of the run directory, can be run alone, and knows from a fingerprint of its inputs
and settings whether what is there is still good::

    settings.json  data.json  stages/*.json     what was asked, read and done: a person can read them
    held_out.json                               the part of the corpus to choose on, where no text is labelled
    teacher/                                    the fine-tuned teacher
    logits/{corpus,train,dev,test}/             what the teacher said
    vocabulary/{all,corpus,train}/              n-grams of corpus and train, of either alone
    representations/{all,corpus,train}/         what the teacher makes of each n-gram, where the table begins with it
    examples/{corpus,train}.parquet             texts with the teacher's word on them, as a student learns from them
    students/NAME/  classifiers/NAME/           NAME: scratch, kd_private, kd, kd_ft
    classifier/  metrics.json  report.md  report.png
"""

from __future__ import annotations

import contextlib
import dataclasses
import fcntl
import hashlib
import json
import os
import platform
import shutil
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from . import __version__, _core, evaluate, report
from .classifier import Classifier, probabilities
from .data import pairs, weights
from .data.corpus import Places
from .data.inputs import Inputs
from .errors import FormatError, SettingsError, require
from .format import read_json, replacing, replacing_directory, write_json
from .machine import default_threads, device_named, free_memory
from .progress import Progress, clock, say
from .settings import Distill, Finetune, Settings, parse_time
from .standard import Standard
from .student import dataset as examples
from .student.dataset import Blocks, Examples, InMemory, OnDisk
from .student.parallel import ALONE, Group, joined
from .student.schedule import Schedule
from .student.vocabulary import Vocabulary
from .teacher.logits import Logits
from .teacher.logits import label as label_shards

STAGES = ("teach", "label", "count", "distill", "finetune", "compress", "evaluate")
# Parts that the teacher speaks of to each student: kd_private is to know nothing of train, and no piece of it.
_SPOKEN = {"kd": ("corpus", "train", "pieces"), "kd_private": ("corpus",), "scratch": ()}
# Settings that change what a stage takes, not its result.
KEYED_AWAY = ("threads", "device", "checkpoint_seconds", "memory", "resume", "tensorboard")
UNKNOWN = 0.25  # of dev's texts: where so many have no known n-gram, something is wrong
_TEACHER_SECONDS = 3  # of one turn of the speed measurement


class Run:
    """One run directory and its settings.

    A stage is made of units, ``label.corpus`` or ``distill.kd``, say. What a unit depends on is a function of the
    settings and the data alone (:meth:`inputs_of`), so that it is known which finished unit is still good, and a stage
    run alone never builds on one that is not.
    """

    def __init__(self, directory: str | os.PathLike, settings: Settings):
        self.directory, self.settings = Path(directory), settings
        self.inputs = Inputs(settings, self.directory / "held_out.json")
        self.data: dict[str, Any] = {}
        self._teacher: Any = None
        self._group = ALONE

    def execute(self, stages: Iterable[str] = STAGES) -> None:
        """Run the named stages in their order; what is finished and still good is not done again.

        Under ``torchrun --nproc-per-node K`` the table's columns are split over K processes in training; one of them
        does all else.

        Errors: :class:`DataError` and :class:`SettingsError` before anything long begins.
        """
        wanted = set(stages)
        if unknown := wanted - set(STAGES):
            raise SettingsError(f"no stage {', '.join(sorted(unknown))}: {', '.join(STAGES)}")
        with joined() as self._group:
            if not self._group.leads:
                self._follow()
                return
            with self._alone():
                with Progress("read"):
                    self.check(wanted)
                write_json(self.directory / "settings.json", dataclasses.asdict(self.settings))
                for stage in STAGES:
                    if stage in wanted:
                        getattr(self, stage)()
            self._group.announce("")  # after an error torchrun ends them all

    def _follow(self) -> None:
        """Train what the leading process says, together with it, until it has no more."""
        while unit := self._group.announce(""):
            self.data = read_json(self.directory / "data.json")
            self._learn(unit)

    @contextlib.contextmanager
    def _alone(self) -> Iterator[None]:
        """Keep a second process out of the run directory; the lock goes with the process."""
        self.directory.mkdir(parents=True, exist_ok=True)
        with open(self.directory / ".lock", "w") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise SettingsError(
                    f"another process works in {self.directory}: wait for it, or give --run DIR"
                ) from None
            yield

    def check(self, stages: Iterable[str] = STAGES) -> None:
        """Look at the settings and all input that these stages need, read every text once, and write ``data.json``."""
        settings, data = self.settings, self.settings.data
        modes = settings.distill.modes
        if not data.train and not data.corpus:
            raise SettingsError(
                "nothing to learn from: give --corpus (unlabelled texts), --train (labelled ones), or both"
            )
        if not data.train and "scratch" in modes:
            raise SettingsError("mode scratch learns from gold labels: give --train")
        if not data.corpus and "kd_private" in modes:
            raise SettingsError("mode kd_private learns from the corpus alone: give --corpus")
        if settings.label.pieces:
            if not data.train or "kd" not in modes:
                raise SettingsError("pieces are of train, for mode kd: give both, or no --pieces")
            if self.inputs.column:
                raise SettingsError("pieces are new texts, of which a column of scores knows nothing: no --pieces")
            if data.pair:
                raise SettingsError("pieces of a pair are no pair: no --pieces")
        if not modes:
            raise SettingsError(f"no student is asked for: modes are {', '.join(_SPOKEN)}")
        if settings.distill.pooling == "mean+max" and not settings.distill.embedding:
            raise SettingsError("mean+max pools to twice the table's width, which W1 brings together: give --embedding")
        if data.pair and not settings.distill.embedding:
            raise SettingsError(
                "pairs are compared in four times the table's width, which W1 brings together: give --embedding"
            )
        if settings.distill.init == "teacher":
            if not (self.inputs.needs_teacher and self.inputs.teacher_is_model):
                raise SettingsError("init teacher asks a transformer for its representation of each n-gram: give one")
            if settings.count.hashed:
                raise SettingsError("init teacher needs n-grams that have a row each: not with --hashed")
            if not settings.distill.hidden and not settings.distill.embedding:
                raise SettingsError("init teacher needs rows wider than the logits: give --hidden or --embedding")
        if settings.distill.pooling == "attentive" and settings.compress.rows.startswith("int"):
            raise SettingsError("attentive pooling has weights that integer rows are too coarse for: --rows float32")
        if self.inputs.needs_teacher and not settings.teach.teacher and {"teach", "label", "evaluate"} & set(stages):
            raise SettingsError(
                "no teacher: give `sparsedistill teach` or [teach] teacher = a Hugging Face model, module:function, "
                "or column:NAME"
            )
        if set(stages) - {"count"}:
            require("torch", "train")
            self._device()
            if settings.distill.tensorboard:
                require("tensorboard", "tensorboard")
            if self.inputs.needs_teacher and self.inputs.teacher_is_model:
                require("transformers", "teacher")
        _ = self.primary  # a figure of the task, or refused now
        self.inputs.check()
        if weights.class_weights(data.class_weights, self.inputs.labels, data.task) and not self._gold_is_learnt:
            raise SettingsError(
                "--class-weights weigh gold labels, and none are learnt here: students learn the teacher's "
                "distribution; fine-tune the teacher, or a student, or leave them out"
            )
        if data.weight and not data.train:
            raise SettingsError("--weight is a column of train: give --train, or leave it out")
        _ = self.inputs.labels, self.inputs.needs_teacher and self.inputs.teacher_identity  # found, or refused, now
        known = self.directory / "data.json"
        found = read_json(known) if known.is_file() else {}
        asked: dict[str, Any] = {"files": self.inputs.files(found.get("asked", {}).get("files", {}))}
        asked |= {"data": dataclasses.asdict(data), "column": self.inputs.column}
        asked["fingerprints"] = _core.fingerprints(["Is A\u0301 B++, too?"], 1).tolist()  # of this version
        asked = json.loads(json.dumps(asked))  # as it will be read back
        if found.get("asked") == asked:
            self.data = found
        else:
            for stale in (known, self.directory / "held_out.json"):  # of other texts, or another split
                stale.unlink(missing_ok=True)
            self.data = {"asked": asked, **self.inputs.describe()}
            write_json(known, self.data)

    # ---- units: what they depend on, and whether they are done -------------------------------------------------------

    @property
    def primary(self) -> str:
        """The figure that choices on dev are made by."""
        data = self.settings.data
        return evaluate.chosen_by(data.metric, data.task, bool(data.class_weights))

    @property
    def _gold_is_learnt(self) -> bool:
        """Whether anything learns the gold labels of train."""
        return "kd_ft" in self.students or "scratch" in self.students or self.inputs.fine_tunes_teacher

    def _weighed(self, gold: bool) -> dict[str, Any]:
        """What the weights of train hang on, where there are any: of ``gold`` labels, or of the texts alone."""
        found: dict[str, Any] = {"weights": self._facts("train").get("weights")} if self.settings.data.weight else {}
        if gold and self.settings.data.class_weights:
            found["class_weights"] = self.settings.data.class_weights
        return found

    @property
    def _measured(self) -> dict[str, Any]:
        """The figure that choices are made by, where it is another than is usual."""
        return {} if self.primary == evaluate.PRIMARY[self.settings.data.task] else {"metric": self.primary}

    def inputs_of(self, unit: str) -> dict[str, Any]:
        """All that the result of a unit depends on, as values that JSON can hold."""
        stage, _, name = unit.partition(".")
        settings = self.settings
        common = {"labels": self.inputs.labels, "task": settings.data.task, "seed": settings.data.seed}
        if settings.data.task == "regression":
            common["standardised"] = True  # what was trained before is of another unit
        if stage == "teach":
            return {
                "teach": _keyed(settings.teach, "teacher"),
                "model": self.inputs.teacher_identity,
                "train": self._texts("train"),
                "dev": self._texts("dev"),
                **self._weighed(gold=True),
                **self._measured,
                **common,
            }
        if stage == "label":
            return {
                "teacher": self._teacher_inputs(),
                "texts": self._texts(name),
                "scores": self._facts(name).get("scores"),
            }
        if stage == "count":
            parts = ("corpus", "train") if name == "all" else (name,)
            texts = {part: self._texts(part) for part in parts}
            return {"count": _keyed(settings.count), "unicode": _core.unicode_version, **texts}
        if stage == "represent":
            return {"teacher": self._teacher_inputs(), "vocabulary": self.key(f"count.{name}")}
        if stage == "examples":
            weighed = self._weighed(gold=False) if name != "corpus" else {}
            return {"logits": self.key(f"label.{name}"), "task": settings.data.task, **weighed}
        if stage == "distill":
            spoken = {part: self.key(f"label.{part}") for part in self._spoken_of(name)}
            return {
                "distill": _keyed(settings.distill, "modes"),
                "vocabulary": self.key(f"count.{self._vocabulary_of(name)}"),
                "logits": spoken or None,
                "represented": self.key(f"represent.{self._vocabulary_of(name)}") if self._represented(name) else None,
                "train": self._texts("train") if name == "scratch" else None,
                "dev": self._texts("dev"),
                **(self._weighed(gold=name == "scratch") if name != "kd_private" else {}),
                **self._measured,
                **common,
            }
        if stage == "finetune":
            finetune = dataclasses.asdict(settings.finetune)
            weighed = self._weighed(gold=True)
            return {
                "finetune": finetune, "student": self.key("distill.kd"), "train": self._texts("train"), **weighed,
            }  # fmt: skip
        if stage == "compress":
            return {
                "compress": dataclasses.asdict(settings.compress),
                "student": self.key(_training_of(name)),
                **self._measured,
                **common,
            }
        part = self._reported
        return {
            "evaluate": dataclasses.asdict(settings.evaluate),
            "classifiers": {student: self.key(f"compress.{student}") for student in self.students},
            "texts": self._texts(part),
            "logits": self.key(f"label.{part}") if self._teacher_answers else None,
        }

    def key(self, unit: str) -> str:
        """Fingerprint of :meth:`inputs_of`."""
        return _digest(self.inputs_of(unit))

    def once(self, unit: str, outputs: list[Path], work: Callable[[], dict[str, Any]]) -> dict[str, Any]:
        """Do ``work`` unless ``stages/UNIT.json`` says it was done with the same inputs; return its result."""
        key = self.key(unit)
        record = self.directory / "stages" / f"{unit}.json"
        if record.is_file() and all(path.exists() for path in outputs):
            found = read_json(record)
            if found["key"] == key:
                say(f"{unit}: done already ({clock(found['seconds'])}, {found['finished']})")
                return found["result"]
        record.unlink(missing_ok=True)
        start = time.monotonic()
        with Progress(unit.replace(".", " ")):
            result = work()
        seconds = round(time.monotonic() - start, 2)
        write_json(
            record,
            {
                "stage": unit,
                "key": key,
                "inputs": self.inputs_of(unit),
                "result": result,
                "seconds": seconds,
                "finished": time.strftime("%Y-%m-%d %H:%M:%S"),
                "versions": versions(),
            },
        )
        say(f"{unit}: {clock(seconds)}")
        return result

    def result_of(self, unit: str) -> dict[str, Any]:
        """The result of a finished unit. Errors: :class:`SettingsError` when it has not run, or with other inputs."""
        record, stage = self.directory / "stages" / f"{unit}.json", unit.partition(".")[0]
        found = read_json(record) if record.is_file() else None
        if found is None or found["key"] != self.key(unit):
            state = "has not run yet" if found is None else "is stale: its settings or texts have changed since"
            raise SettingsError(
                f"{self.directory}: the stage {stage!r} {state}: sparsedistill {stage} --run {self.directory}"
            )
        return found["result"]

    def _facts(self, part: str) -> dict[str, Any]:
        """Size and fingerprint of a part; those of pieces follow from train's."""
        if part != "pieces":
            return self.data.get(part, {})
        train, pieces = self.data["train"], self.settings.label.pieces
        made = [train["fingerprint"], pieces, self.settings.data.seed]
        return {"texts": pieces * train["texts"], "fingerprint": _digest(made)}

    def _texts(self, part: str) -> str | None:
        return self._facts(part).get("fingerprint")

    def _spoken_of(self, mode: str) -> list[str]:
        """Parts whose texts a student learns with the teacher's word."""
        there = {**vars(self.settings.data), "pieces": self.settings.label.pieces}
        return [part for part in _SPOKEN[mode] if there[part]]

    def _vocabulary_of(self, mode: str) -> str:
        """Which texts were counted: exactly those the student learns from, so kd_private knows no n-gram of train."""
        parts = [part for part in self._spoken_of(mode) if part != "pieces"] or ["train"]
        return "all" if len(parts) == 2 else parts[0]

    @property
    def students(self) -> list[str]:
        """Names of the students this run trains."""
        names: list[str] = [mode for mode in ("scratch", "kd_private", "kd") if mode in self.settings.distill.modes]
        if self.settings.finetune.enabled and "kd" in names and self.settings.data.train:
            names.append("kd_ft")
        return names

    @property
    def _reported(self) -> str:
        """The part that figures are reported on."""
        return "test" if self.settings.data.test else "dev"

    @property
    def _teacher_answers(self) -> bool:
        """Whether the teacher can be asked about any text: a column only knows its own."""
        return self.inputs.needs_teacher and not self.inputs.column

    # ---- stages ----------------------------------------------------------------------------------------------------

    def teach(self) -> None:
        """Fine-tune the teacher on train, where it is a model that wants it."""
        if not self.inputs.needs_teacher or not self.inputs.fine_tunes_teacher:
            say("teach: nothing to fine-tune")
            return
        from .teacher import transformer as teacher

        directory, train, dev = self.directory / "teacher", self.inputs.part("train"), self.inputs.part("dev")
        settings = self.settings.teach
        self.once(
            "teach", [directory / "config.json"],
            lambda: teacher.finetune(
                settings, directory, train.texts, train.targets, dev.texts, dev.targets,
                labels=self.inputs.labels, task=self.settings.data.task, seed=self.settings.data.seed,
                are_pairs=self.are_pairs, weights=self.inputs.gold_weights, metric=self._measured.get("metric", "auto"),
            ),
        )  # fmt: skip

    def _teacher_inputs(self) -> dict[str, Any]:
        teach = self.settings.teach
        return {
            "teacher": self.key("teach") if self.inputs.fine_tunes_teacher else self.inputs.teacher_identity,
            "max_length": teach.max_length,
            "precision": teach.precision,
            "scores": self.settings.label.scores,
            "labels": self.inputs.labels,
            "task": self.settings.data.task,
        }

    def open_teacher(self) -> Any:
        """The teacher, at the precision that this run has settled on."""
        from .teacher import transformer as teacher

        if self._teacher is None:
            fitted = None
            if self.inputs.fine_tunes_teacher:
                self.result_of("teach")
                fitted = self.directory / "teacher"
            # Half a corpus must not be labelled at one precision and half at another.
            chosen = self.directory / "logits" / "precision.json"
            settings, whose = self.settings.teach, _digest([self._teacher_inputs(), self.settings.teach.device])
            if settings.precision == "auto" and chosen.is_file() and (found := read_json(chosen))["teacher"] == whose:
                settings = dataclasses.replace(settings, precision=found["precision"])
            self._teacher = teacher.open_teacher(
                settings,
                labels=self.inputs.labels,
                task=self.settings.data.task,
                label=self.settings.label,
                directory=fitted,
                are_pairs=self.are_pairs,
            )
            write_json(chosen, {"teacher": whose, "precision": self._teacher.precision})
        return self._teacher

    def label(self) -> None:
        """Ask the teacher about corpus, train and dev."""
        if not self.inputs.needs_teacher:
            return
        parts = {part for mode in self.settings.distill.modes for part in self._spoken_of(mode)}
        if self._teacher_answers or not self.inputs.has_dev:
            parts.add("dev")
        for part in sorted(parts):
            self.label_part(part)

    def label_part(self, part: str) -> None:
        """Ask the teacher about ``corpus``, ``train``, ``pieces``, ``dev`` or ``test``."""
        directory = self.directory / "logits" / part
        settings, total = self.settings.label, self._facts(part)["texts"]

        def work() -> dict[str, Any]:
            trail = _Trail(settings.shard_size)
            if self.inputs.column:
                shutil.rmtree(directory, ignore_errors=True)  # its scores come in order: no shard may be skipped
                score, batches = self._column_scores(part, trail)
                name, precision = f"column:{self.inputs.column}", "given"
            else:
                teacher = self.open_teacher()
                score, precision = teacher.logits, teacher.precision
                batches = (texts for texts, _ in trail.along(self.inputs.placed(part)))
                name = f"{teacher.name} {precision}"
            # A shard is good for the teacher, labels and task it was made with, and no other.
            made = _digest(self._teacher_inputs())
            found = label_shards(
                score, batches, directory, teacher=f"{name} {made[:12]}", classes=len(self.inputs.labels),
                shard_size=settings.shard_size, total=total, what=f"label {part}", place=trail.place,
                dtype=self._score_type,
            )  # fmt: skip
            if len(found) != total:
                raise FormatError(f"{part} had {total:,} texts when the run began and {len(found):,} now: run it again")
            return {"texts": len(found), "teacher": name, "precision": precision}

        self.once(f"label.{part}", [directory / "manifest.json"], work)

    def _column_scores(self, part: str, trail: _Trail) -> tuple[Callable[[list[str]], np.ndarray], Iterator[list[str]]]:
        """(score, batches) of the scores that stand beside the texts: ``score`` answers for the batches in order."""
        from .teacher.transformer import to_logits

        waiting: list[np.ndarray] = []

        def batches() -> Iterator[list[str]]:
            for texts, scores in trail.along(self.inputs.placed(part)):
                waiting.extend(() if scores is None else scores)
                yield texts

        def score(texts: list[str]) -> np.ndarray:
            values = np.stack(waiting[: len(texts)])
            del waiting[: len(texts)]
            where = f"column {self.inputs.column!r} of {part}"
            return to_logits(values, self.settings.label.scores, self.settings.data.task, where)

        return score, batches()

    def teacher_says(self, part: str) -> np.ndarray:
        """The teacher's logits (n, C) on ``corpus``, ``train``, ``pieces``, ``dev`` or ``test``."""
        self.result_of(f"label.{part}")
        return np.asarray(Logits.load(self.directory / "logits" / part).array())

    def count(self) -> None:
        """Count n-grams, of exactly the texts a student learns from."""
        for name in sorted({self._vocabulary_of(mode) for mode in self.settings.distill.modes}):
            self._count(name)

    def _count(self, name: str) -> None:
        directory = self.directory / "vocabulary" / name
        parts = ("corpus", "train") if name == "all" else (name,)

        def work() -> dict[str, Any]:
            settings = self.settings.count
            if settings.hashed:
                Vocabulary.hash(
                    settings.size, tokenizer=settings.tokenizer, lowercase=settings.lowercase,
                    normalize=settings.normalize, max_n=settings.max_n,
                ).save(directory)  # fmt: skip
                return {"rows": settings.size}
            # Each text is read twice: to count, and to spell what was chosen.
            with Progress(f"count {name}", 2 * sum(self.data[part]["texts"] for part in parts)) as bar:

                def batches(part: str) -> Iterator[Sequence[str]]:
                    for texts, _ in self.inputs.batches(part):
                        yield pairs.halves(texts) if self.are_pairs else texts
                        bar.add(len(texts))

                corpus, train = (_Anew(partial(batches, part)) if part in parts else () for part in ("corpus", "train"))
                asked = dataclasses.asdict(settings)
                del asked["hashed"]
                vocabulary = Vocabulary.count(
                    corpus, train, **asked,
                    directory=self.directory, threads=self.settings.distill.threads,
                )  # fmt: skip
            vocabulary.save(directory)
            return {"ngrams": len(vocabulary), "least_count": int(vocabulary.counts.min())}

        self.once(f"count.{name}", [directory / "vocabulary.json"], work)

    def vocabulary_of(self, student: str) -> Vocabulary:
        """The vocabulary of a student, counted."""
        name = self._vocabulary_of("kd" if student == "kd_ft" else student)
        self.result_of(f"count.{name}")
        return Vocabulary.load(self.directory / "vocabulary" / name)

    def distill(self) -> None:
        """Train a student for each mode."""
        for mode in self.settings.distill.modes:
            self._once_learnt(f"distill.{mode}")

    def finetune(self) -> None:
        """Stage 3: the kd student on train's gold labels."""
        if "kd_ft" in self.students:
            self._once_learnt("finetune")

    def _once_learnt(self, unit: str) -> None:
        self.once(unit, [self._student_of(unit) / "student.safetensors"], partial(self._learn, unit))

    def _student_of(self, unit: str) -> Path:
        return self.directory / "students" / ("kd_ft" if unit == "finetune" else unit.partition(".")[2])

    def _learn(self, unit: str) -> dict[str, Any]:
        """Train the student of a unit, together with all processes of the group."""
        threads = self._torch_threads(self.settings.distill.threads)
        settings: Distill | Finetune
        if unit == "finetune":
            vocabulary, student = self.trained("kd", self._group, on_device=True)
            blocks, settings = self._gold_examples(vocabulary, threads), self.settings.finetune
        else:
            mode = unit.partition(".")[2]
            vocabulary = self.vocabulary_of(mode)
            device = self._device(len(vocabulary))
            self._refuse_too_large(len(vocabulary), self._student_of(unit), device)
            blocks, settings = self._examples(mode, vocabulary, threads), self.settings.distill
            shards = self._represent(mode, vocabulary) if self._represented(mode) else None
        if self._group.leads:
            self._group.announce(unit)
        if unit != "finetune":
            student = self.new_student(len(vocabulary), self._group, device)
            if shards is not None:
                student.begin_with(shards, self._seed)
        return self._train(student, blocks, settings, vocabulary, unit, threads)

    def _represented(self, mode: str) -> bool:
        """Whether a student begins with the teacher's representations: from scratch is without a teacher."""
        return self.settings.distill.init == "teacher" and mode != "scratch"

    def _represent(self, mode: str, vocabulary: Vocabulary) -> Callable[[], Iterator[tuple[int, np.ndarray]]]:
        """The teacher's representations of the n-grams, made in shards: (first row, float32 (n, h))."""
        name = self._vocabulary_of(mode)
        directory = self.directory / "representations" / name

        def work() -> dict[str, Any]:
            teacher = self.open_teacher()
            size = self.settings.label.shard_size
            batches = ([vocabulary[i] for i in range(b, min(b + size, len(vocabulary)))]
                       for b in range(0, len(vocabulary), size))  # fmt: skip
            made = _digest(self.inputs_of(f"represent.{name}"))
            label_shards(
                teacher.represent, batches, directory, teacher=f"{teacher.name} {made[:12]}", classes=teacher.width,
                shard_size=size, total=len(vocabulary), what=f"represent {name}",
            )  # fmt: skip
            return {"ngrams": len(vocabulary), "width": teacher.width}

        self.once(f"represent.{name}", [directory / "manifest.json"], work)
        return Logits.load(directory).shards

    def _device(self, rows: int = 0) -> Any:
        """The GPU that trains a table of so many rows; None: the CPU does.

        Errors: :class:`SettingsError` when one is asked for that is not there, or for what only the CPU trains.
        """
        settings = self.settings.distill
        device = device_named(require("torch", "train"), settings.device)
        if device.type == "cpu":
            return None
        from .student import cuda

        if device.type != "cuda":
            raise SettingsError(f"device is {device}, where no student is trained: --device auto, cpu or cuda")
        if settings.device != "auto":
            cuda.refuse(settings.pooling, self._group.size)
        elif settings.pooling not in cuda.POOLINGS or self._group.size > 1:
            return None
        elif rows and sum(self._training_bytes(rows)) > cuda.free_memory(device):
            say(f"a table of {rows:,} rows is too large for {device}: the CPU trains it")
            return None
        return device

    def _training_bytes(self, rows: int) -> tuple[int, int]:
        """Of a table of so many rows, and of its optimiser's state."""
        from .student.table import OPTIMIZERS, TYPES

        settings, width = self.settings.distill, self._table_width
        return TYPES[settings.table].itemsize * rows * width, OPTIMIZERS[settings.optimizer].bytes(rows, width)

    @property
    def _table_width(self) -> int:
        settings = self.settings.distill
        return settings.embedding or (*settings.hidden, len(self.inputs.labels))[0]

    @property
    def _score_type(self) -> str:
        """Of what the teacher gives: scores in float64, for float32 may lose what they differ by."""
        return "float64" if self.settings.data.task == "regression" else "float32"

    @property
    def _seed(self) -> int:
        """Of the student; data are split and the teacher is trained with that of the run."""
        seed = self.settings.distill.student_seed
        return self.settings.data.seed if seed < 0 else seed

    def _refuse_too_large(self, rows: int, directory: Path, device: Any) -> None:
        """Errors: :class:`SettingsError` when memory or disk cannot hold the student's training."""
        settings, width = self.settings.distill, self._table_width
        table, state = self._training_bytes(rows)
        directory.mkdir(parents=True, exist_ok=True)
        memory, free_there = "memory", free_memory()
        if device is not None:
            from .student import cuda

            memory, free_there = f"{device}'s memory", cuda.free_memory(device)
        for what, needed, free in (
            (memory, (table + state) // self._group.size, free_there),
            # The checkpoint, and its successor until that is whole; at the end, the student.
            ("disk", 2 * (table + state) + table, shutil.disk_usage(directory).free),
        ):
            if free is not None and needed > free:
                raise SettingsError(
                    f"training {rows:,} n-grams x {width:,} ({settings.table}, {settings.optimizer}) takes "
                    f"{needed / 1e9:.1f} GB of {what} ({table / 1e9:.1f} GB a table, {state / 1e9:.1f} GB its "
                    f"optimiser's state), {free / 1e9:.1f} GB are free: fewer n-grams (--size at count), narrower rows "
                    "(--hidden, --embedding), --optimizer adagrad or --table bfloat16 take less"
                )

    def new_student(self, rows: int, group: Group = ALONE, device: Any = None) -> Any:
        """An untrained student of this run's settings with a table of ``rows`` rows, on a device or the host (None)."""
        from .student.model import Student

        settings, classes = self.settings.distill, len(self.inputs.labels)
        seed = self._seed
        shape = settings.hidden, settings.embedding, settings.dropout
        return Student(
            rows, classes, *shape, seed, settings.table, settings.pooling, group, device, self.are_pairs,
            standardised=self.settings.data.task == "regression",
        )  # fmt: skip

    def trained(self, name: str, group: Group = ALONE, on_device: bool = False) -> tuple[Vocabulary, Any]:
        """A trained student and its vocabulary; ``on_device``: where students are trained, else on the host."""
        self.result_of(_training_of(name))
        vocabulary = self.vocabulary_of(name)
        path = self.directory / "students" / name / "student.safetensors"
        device = self._device(len(vocabulary)) if on_device else None
        return vocabulary, self.new_student(len(vocabulary), group, device).load(path)

    def classifier(self, name: str) -> Classifier:
        """The finished classifier of a student, as it stands in ``classifiers/NAME``."""
        return Classifier.load(self.directory / "classifiers" / name)

    def _train(
        self,
        student: Any,
        blocks: Blocks,
        settings: Any,
        vocabulary: Vocabulary,
        unit: str,
        threads: int,
    ) -> dict[str, Any]:
        from .student import train

        distill, task, texts = self.settings.distill, self.settings.data.task, sum(blocks.sizes)
        batch_size = min(settings.batch_size, max(1, texts // 64))
        steps = (distill.steps if settings is distill else 0) or max(1, round(settings.epochs * texts / batch_size))
        # Little gold data is soon learnt by heart; a corpus is not, and the schedule ends where it should.
        best = unit in ("distill.scratch", "finetune") or distill.patience > 0
        schedule = Schedule(
            steps=steps,
            batch_size=batch_size,
            # Without a hidden layer a row has to become a logit, not a part of one.
            learning_rate=settings.learning_rate or (0.01 if distill.hidden else 0.1),
            warmup=distill.warmup,
            ngram_dropout=distill.ngram_dropout,
            evaluate_every=distill.evaluate_every or max(1, -(-steps // 10)),
            checkpoint_seconds=distill.checkpoint_seconds,
            threads=threads,
            seed=self._seed,
            optimizer=distill.optimizer,
            schedule=distill.schedule,
            power=distill.power,
            keep_best=distill.keep == "best" or (distill.keep == "auto" and best),
            patience=distill.patience,
            max_seconds=parse_time(distill.max_time),
        )
        dev_texts, truth = self._judges()
        ids, offsets = self.bags(vocabulary, dev_texts, threads)
        if self._group.leads and unit != "finetune":  # which has the vocabulary of kd
            halves = pairs.halves(dev_texts) if self.are_pairs else dev_texts
            if warning := unknown_warning(vocabulary, halves, offsets, self.settings.count.min_count):
                say(warning)

        chosen_by, fallback = self.primary, None
        if task == "regression":
            chosen_by, fallback = self._standardise(student, blocks, truth, unit, threads)

        def score(student: Any) -> float:
            return evaluate.metrics(student.logits(ids, offsets, threads), truth, task)[chosen_by]

        result = train.train(
            student, blocks, schedule, task, self._student_of(unit), score, unit.replace(".", " "), self.key(unit),
            distill.resume, distill.tensorboard, self._group, fallback if distill.keep != "last" else None,
        )  # fmt: skip
        return {**result, "texts": texts, "parameters": sum(array.size for array in student.arrays().values())}

    def _standardise(
        self, student: Any, blocks: Blocks, truth: np.ndarray, unit: str, threads: int
    ) -> tuple[str, tuple[float, float] | None]:
        """Give a student of regression the mean and scale of what it learns from, or keep those it was trained with.

        Returns the figure to choose on dev by, and what training falls back on (:func:`train.train`): the mean. Scores
        of a teacher may be of another unit than dev's: then they are compared by their correlation, without the mean.
        """
        of_gold = unit in ("distill.scratch", "finetune")
        learnt, gold = Standard.of(blocks.targets()), Standard.of([truth])
        learnt.check("train" if of_gold else "the teacher")
        if unit != "finetune":
            student.standard[:] = learnt.mean, learnt.scale
        elif not Standard(*student.standard).comparable(learnt):
            self._refit(student, blocks, learnt, threads)
        if not of_gold and not learnt.comparable(gold):
            say(
                f"{unit.replace('.', ' ')}: the teacher's scores have mean {learnt.mean:.6g} and deviation "
                f"{learnt.deviation:.3g}, dev's {gold.mean:.6g} and {gold.deviation:.3g}: their units differ, so dev's "
                "figure is the correlation here"
            )
            return "pearson", None
        constant = np.full((len(truth), 1), learnt.mean, np.float32)
        return "r2", (learnt.mean, evaluate.metrics(constant, truth, "regression")["r2"])

    def _refit(self, student: Any, blocks: Blocks, learnt: Standard, threads: int) -> None:
        """Begin fine-tuning a student of scores of another unit in that of the gold ones: by least squares."""
        batch = blocks.load(0)  # gold examples are one block
        given = student.logits(batch.ids, batch.offsets, threads)[:, 0].astype(np.float64)
        apart = given - given.mean()
        slope = float(apart @ batch.targets[:, 0].astype(np.float64)) / max(float(apart @ apart), 1e-300)
        mean, scale = student.standard
        # Scores that tell little of the gold ones would leave a scale in which these are far apart; and the largest of
        # several rows is not that of their opposites.
        largest_rows = "max" in student.pooling and student.factor is None and not len(student.dense)
        if abs(slope * scale) < 0.1 * learnt.scale or not learnt.deviation or (slope < 0 and largest_rows):
            student.forget()
            mean, scale = learnt.mean, learnt.scale
        else:
            mean, scale = slope * (mean - float(given.mean())) + learnt.mean, slope * scale
        student.standard[:] = self._group.tell(mean, scale)

    def _examples(self, mode: str, vocabulary: Vocabulary, threads: int) -> Blocks:
        """What a student learns from in stage 2."""
        spoken = self._spoken_of(mode)
        if not spoken:
            return self._gold_examples(vocabulary, threads)
        files = []
        for part in spoken:
            files += [self._joined(part)] * (self.settings.distill.train_weight if part == "train" else 1)
        return OnDisk(files, vocabulary, threads, self.are_pairs)

    def _joined(self, part: str) -> Path:
        """Texts of a part with the teacher's word on them, in a file that can be read from anywhere."""
        path, task = self.directory / "examples" / f"{part}.parquet", self.settings.data.task

        def work() -> dict[str, Any]:
            self.result_of(f"label.{part}")
            logits = Logits.load(self.directory / "logits" / part)
            with Progress(f"join {part}", len(logits)) as bar:

                def batches() -> Iterator[tuple[list[str], np.ndarray]]:
                    for texts, said in logits.joined(texts for texts, _ in self.inputs.batches(part)):
                        yield texts, _soft(said, task)
                        bar.add(len(texts))

                weights, kind = self._weights_of(part), self._score_type
                return {"texts": examples.write(path, batches(), len(self.inputs.labels), weights, kind)}

        self.once(f"examples.{part}", [path], work)
        return path

    def _weights_of(self, part: str) -> np.ndarray | None:
        """Weights of the texts of a part in distillation, float32 (n, 1): those of train's, and of its pieces.

        Class weights are not among them: what is learnt there is the teacher's distribution, on which they have had
        their effect where it was fine-tuned.
        """
        found = self.inputs.sample_weights if part != "corpus" else None
        return np.tile(found, (self.settings.label.pieces, 1)) if found is not None and part == "pieces" else found

    def _gold_examples(self, vocabulary: Vocabulary, threads: int) -> Blocks:
        train = self.inputs.part("train")
        targets = _gold(train.targets, len(self.inputs.labels), self.settings.data.task)
        return InMemory(Examples(*self.bags(vocabulary, train.texts, threads), targets, self.inputs.gold_weights))

    @property
    def are_pairs(self) -> bool:
        """Whether pairs of texts are labelled."""
        return bool(self.settings.data.pair)

    def bags(self, vocabulary: Vocabulary, texts: Sequence[str], threads: int) -> tuple[np.ndarray, np.ndarray]:
        """Bags (:meth:`Vocabulary.bags`) of texts, or of pairs: two each."""
        return vocabulary.bags(pairs.halves(texts) if self.are_pairs else texts, threads)

    def asked(self, texts: Sequence[str]) -> Sequence[Any]:
        """Texts, or pairs of them, as a classifier wants them."""
        return pairs.parted(texts) if self.are_pairs else texts

    def _judges(self) -> tuple[list[str], np.ndarray]:
        """Texts and truth to choose on: dev's gold, or the teacher's word on a held-out part of the corpus."""
        if self.inputs.has_dev:
            dev = self.inputs.part("dev")
            return dev.texts, dev.targets
        task = self.settings.data.task
        decided = evaluate.decisions(self.teacher_says("dev"), task)
        texts = [text for batch, _ in self.inputs.batches("dev") for text in batch]
        return texts, decided.astype(np.float32) if task == "multi" else decided

    def compress(self) -> None:
        """Turn each student into a classifier; refuse one that loses more than ``max_loss`` on dev."""
        threads = self._torch_threads(self.settings.distill.threads)
        for name in self.students:
            self._compress(name, threads)

    def _compress(self, name: str, threads: int) -> None:
        from .student.compress import compress

        settings, task = self.settings.compress, self.settings.data.task
        directory, primary = self.directory / "classifiers" / name, self.primary

        def work() -> dict[str, Any]:
            vocabulary, student = self.trained(name)
            texts, truth = self._judges()
            exact = student.logits(*self.bags(vocabulary, texts, threads), threads)
            thresholds = evaluate.fit_thresholds(exact, truth) if task == "multi" else None
            cut = np.array(thresholds) if thresholds else None
            before = evaluate.metrics(exact, truth, task, cut)[primary]
            # Scores are finer than decisions: where bytes are too coarse for them, auto takes more.
            finer = ("int16", "float32") if task == "regression" and settings.rows == "auto" else ()
            for rows in (settings.rows, *finer):
                classifier = compress(
                    student, vocabulary, self.inputs.labels, task, rows, thresholds,
                    {"provenance": self.provenance(name)},
                )  # fmt: skip
                compressed = classifier.decision_function(self.asked(texts), threads)
                after = evaluate.metrics(compressed, truth, task, cut)[primary]
                same, lost = evaluate.agreement(compressed, exact, task, cut, cut), before - after
                if task == "regression":  # of what the student itself varies by, where dev has another unit
                    lost = min(lost, 1 - evaluate.r2(compressed[:, 0], exact[:, 0]))
                # On few texts a single flipped decision is more than the bound.
                few = 0.0 if task == "regression" else 1.5 * evaluate.one_decision(truth, task, primary)
                most = max(settings.max_loss, few)
                if lost <= most:
                    break
            kept = f"correlation {same:.4f}" if task == "regression" else f"{same:.2%} of the decisions kept"
            say(f"compress {name}: {classifier!r}; dev {primary} {before:.4f} -> {after:.4f}, {kept}")
            if lost > most:
                raise SettingsError(
                    f"{name}: {classifier.config['rows']['type']} rows cost {lost:.4f} {primary} on dev, "
                    f"more than {settings.max_loss}: take --rows float32, or allow it with --max-loss"
                )
            self._say_never_predicted(name, evaluate.never_predicted(compressed, truth, task, cut))
            classifier.save(directory)
            return {"before": before, "after": after, "agreement": same, "bytes": classifier.nbytes}

        self.once(f"compress.{name}", [directory / "config.json"], work)

    def _say_never_predicted(self, name: str, missed: list[tuple[int, int]]) -> None:
        """Warn of classes of dev that a classifier never predicts there: (class, texts of dev)."""
        if not missed:
            return
        train = self._facts("train").get("labels", {})
        shown = [
            f"{label!r} ({f'{train[label]:,} texts of train, ' if label in train else ''}{count:,} of dev)"
            for label, count in ((self.inputs.labels[i], count) for i, count in missed)
        ]
        more = f" and {len(shown) - 8} more" if len(shown) > 8 else ""
        weighable = name in ("scratch", "kd_ft") or self.inputs.fine_tunes_teacher
        remedy = ", or --class-weights balanced," if weighable and not self.settings.data.class_weights else ""
        say(
            f"warning: {report.NAMES[name]} never predicts {', '.join(shown[:8])}{more} on dev: more such "
            f"texts{remedy} may help"
        )

    def evaluate(self) -> None:
        """Measure every classifier as loaded from disk, choose one on dev, and write the report."""
        if self._teacher_answers:
            self.label_part(self._reported)
        outputs = [self.directory / "metrics.json", self.directory / "classifier" / "config.json"]
        result = self.once("evaluate", outputs, self._measure)
        say("\n" + report.table(result) + "\n")

    def _measure(self) -> dict[str, Any]:
        settings, task, part = self.settings.evaluate, self.settings.data.task, self._reported
        compressed = {name: self.result_of(f"compress.{name}") for name in self.students}
        teacher = self.open_teacher() if self._teacher_answers else None
        threads = self._torch_threads(settings.threads)  # after the teacher, which has threads of its own
        if part == "test":
            texts, truth = self.inputs.part("test").texts, self.inputs.part("test").targets
        else:
            texts, truth = self._judges()
        systems: dict[str, Any] = {}
        if teacher is not None:
            spoken = self.teacher_says(part)
            systems["teacher"] = {**evaluate.metrics(spoken, truth, task), "agreement": 1.0}
            systems["teacher"] |= {"precision": teacher.precision, "megabytes": _weights(self.directory / "teacher")}
        sample = np.random.default_rng(self.settings.data.seed).permutation(len(texts))[: settings.speed_texts]
        speed_texts = [texts[i] for i in sample]
        workers: dict[str, tuple[Callable[[], object], int]] = {}
        if teacher is not None:
            few = speed_texts[:32]
            rate = evaluate.alternate([(partial(teacher.logits, few), len(few))], 1)[0]
            few = speed_texts[: max(32, int(rate * _TEACHER_SECONDS))]
            workers["teacher"] = (partial(teacher.logits, few), len(few))
        for name, shrunk in compressed.items():
            classifier = self.classifier(name)
            thresholds = classifier.config.get("thresholds")
            cut = np.array(thresholds) if thresholds else None
            logits = classifier.decision_function(self.asked(texts), threads)
            figures: dict[str, Any] = evaluate.metrics(logits, truth, task, cut)
            vocabulary, student = self.trained(name)
            exact = student.logits(*self.bags(vocabulary, texts, threads), threads)
            figures["uncompressed"] = evaluate.metrics(exact, truth, task, cut)[self.primary]
            if teacher is not None:
                figures["agreement"] = evaluate.agreement(logits, spoken, task, cut)
            figures["dev"] = shrunk["after"]
            figures["megabytes"] = _size(self.directory / "classifiers" / name) / 1e6
            systems[name] = figures
            workers[name] = (partial(classifier.predict, self.asked(speed_texts), threads), len(speed_texts))
        for name, rate in zip(workers, evaluate.alternate(list(workers.values()), settings.repeats), strict=True):
            systems[name]["texts_per_second"] = rate
        # kd_private and scratch are there to compare with, unless there is nothing else.
        candidates: list[str] = [name for name in ("kd", "kd_ft") if name in compressed] or list(compressed)
        chosen = max(candidates, key=lambda name: systems[name]["dev"])
        result: dict[str, Any] = {
            "task": task,
            "part": part,
            "texts": len(texts),
            "labels": list(self.inputs.labels),
            "threads": threads,
            "selected": chosen,
            "primary": self.primary,
            "systems": systems,
        }
        if teacher is not None:
            result["teacher_device"] = getattr(teacher, "device", "cpu")
            result["speedup"] = systems[chosen]["texts_per_second"] / systems["teacher"]["texts_per_second"]
        write_json(self.directory / "metrics.json", result)
        self._ship(chosen, result)
        with replacing(self.directory / "report.md") as temporary:
            temporary.write_text(report.table(result) + "\n", encoding="utf-8")
        report.plot(result, self.directory / "report.png")
        return result

    def _ship(self, name: str, result: dict[str, Any]) -> None:
        """The chosen classifier with its figures and model card, as ``classifier/``."""
        source = self.directory / "classifiers" / name
        config = {**read_json(source / "config.json"), "metrics": {result["part"]: result["systems"][name]}}
        with replacing_directory(self.directory / "classifier") as temporary:
            write_json(temporary / "config.json", config)
            shutil.copyfile(source / "model.safetensors", temporary / "model.safetensors")
            (temporary / "README.md").write_text(report.card(name, result, config), encoding="utf-8")

    def provenance(self, student: str) -> dict[str, Any]:
        """Where a classifier comes from, for its config."""
        parts = {
            n: {k: self.data[n][k] for k in ("texts", "fingerprint")}
            for n in ("train", "dev", "corpus")
            if n in self.data
        }
        return {
            "student": student,
            "teacher": self.settings.teach.teacher,
            "data": parts,
            "seed": self.settings.data.seed,
            "versions": versions(),
            "settings": {
                n: dataclasses.asdict(getattr(self.settings, n))
                for n in ("teach", "count", "distill", "finetune", "compress")
            },
        }

    def _torch_threads(self, asked: int) -> int:
        threads = asked or max(1, default_threads() // self._group.size)
        require("torch", "train").set_num_threads(threads)
        return threads


def versions() -> dict[str, str]:
    """Of this package, Python, and the libraries that results depend on, as far as they are installed."""
    from importlib.metadata import PackageNotFoundError, version

    found = {"sparsedistill": __version__, "python": platform.python_version()}
    for name in ("numpy", "torch", "transformers", "pyarrow"):
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found


@dataclasses.dataclass(frozen=True)
class _Anew:
    """What ``begin`` gives, from its start each time it is gone through."""

    begin: Callable[[], Iterator[Sequence[str]]]

    def __iter__(self) -> Iterator[Sequence[str]]:
        return self.begin()


class _Trail:
    """Where the texts that went by last stand: at least ``most`` of them before the last batch, and that."""

    def __init__(self, most: int):
        self._most, self._seen = most, 0
        self._parts: list[tuple[int, Places]] = []  # number of the first text, places

    def along(self, placed: Iterable[tuple[list[str], Any, Places]]) -> Iterator[tuple[list[str], Any]]:
        """What goes by, less the places."""
        for texts, scores, places in placed:
            while self._parts and self._parts[0][0] + len(self._parts[0][1]) <= self._seen - self._most:
                self._parts.pop(0)
            self._parts.append((self._seen, places))
            self._seen += len(texts)
            yield texts, scores

    def place(self, i: int) -> str:
        """File and row of text ``i``, counted from 0."""
        return next(places[i - first] for first, places in reversed(self._parts) if i >= first)


def unknown_warning(vocabulary: Vocabulary, texts: Sequence[str], offsets: np.ndarray, min_count: int = 1) -> str:
    """What to say where a quarter of dev's texts have no known n-gram; ``offsets`` (n + 1,) are of their bags."""
    unknown = np.flatnonzero(np.diff(offsets) == 0)
    if not len(unknown) or len(unknown) < UNKNOWN * len(texts):
        return ""
    rules = vocabulary.tokenizer, vocabulary.lowercase, vocabulary.normalize
    blank = sum(not tokens for tokens in _core.tokenize([texts[i] for i in unknown.tolist()], *rules))
    if 2 * blank >= len(unknown):
        why = (
            f"{blank:,} of them have no token: are they empty, is --text the right column, or should --tokenizer be "
            f"another than {vocabulary.tokenizer}?"
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


def _soft(logits: np.ndarray, task: str) -> np.ndarray:
    return logits if task == "regression" else probabilities(logits, task).astype(np.float32)


def _gold(targets: np.ndarray, classes: int, task: str) -> np.ndarray:
    if task == "single":
        return np.eye(classes, dtype=np.float32)[targets]
    return targets.reshape(len(targets), -1).astype(np.float64 if task == "regression" else np.float32)


def _keyed(settings: Any, *elsewhere: str) -> dict[str, Any]:
    """A stage's settings that its result depends on, less those that stand ``elsewhere`` among its inputs."""
    away = (*KEYED_AWAY, *elsewhere)
    return {name: value for name, value in dataclasses.asdict(settings).items() if name not in away}


def _digest(value: Any) -> str:
    text = json.dumps(value, sort_keys=True, ensure_ascii=True)
    return hashlib.blake2b(text.encode(), digest_size=16).hexdigest()


def _training_of(student: str) -> str:
    """The unit that trains a student."""
    return "finetune" if student == "kd_ft" else f"distill.{student}"


def _size(directory: Path) -> int:
    return sum(path.stat().st_size for path in directory.iterdir() if path.is_file())


def _weights(directory: Path) -> float | None:
    """Megabytes of a fine-tuned teacher's weights."""
    return sum(path.stat().st_size for path in directory.glob("*.safetensors")) / 1e6 or None
