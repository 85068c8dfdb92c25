"""The stages, their order, and the run directory they share.

Every stage reads and writes files of the run directory, can be run alone, and knows from a fingerprint of its inputs
and settings whether what is there is still good::

    settings.json  data.json  stages/*.json     what was asked, read and done: a person can read them
    teacher/                                    the fine-tuned teacher
    logits/{corpus,train,dev,test}/             what the teacher said
    vocabulary/{all,corpus,train}/              n-grams of corpus and train, of either alone
    students/NAME/  classifiers/NAME/           NAME: scratch, kd_private, kd, kd_ft
    classifier/  metrics.json  report.md  report.png
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import os
import platform
import shutil
import time
from collections.abc import Callable, Iterable, Iterator
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from . import __version__, _core, corpus, evaluate, report
from .classifier import Classifier, probabilities
from .corpus import Labelled
from .errors import DataError, FormatError, SettingsError, require
from .format import read_json, replacing, replacing_directory, write_json
from .logits import Logits
from .logits import label as label_shards
from .progress import clock, say
from .settings import Settings
from .threads import default_threads
from .vocabulary import Vocabulary

STAGES = ("teach", "label", "count", "distill", "finetune", "compress", "evaluate")
# What each student learns from: (the teacher's word on the corpus, and on train, gold labels of train; vocabulary).
_SOURCES = {"kd": ("all", True, True), "kd_private": ("corpus", True, False), "scratch": ("train", False, False)}
KEYED_AWAY = ("threads", "device", "checkpoint_seconds")  # settings that change the time a stage takes, not its result
HELD_OUT_SHARE, HELD_OUT_MOST = 0.05, 2000  # of the corpus, where there is no labelled text to choose on


class Run:
    """One run directory and its settings."""

    def __init__(self, directory: str | os.PathLike, settings: Settings):
        self.directory, self.settings = Path(directory), settings
        self.directory.mkdir(parents=True, exist_ok=True)
        self._checked = False

    def execute(self, stages: Iterable[str] = STAGES) -> None:
        """Run the named stages in their order; what is finished and still good is not done again.

        Errors: :class:`DataError` and :class:`SettingsError` before anything long begins.
        """
        wanted = set(stages)
        if unknown := wanted - set(STAGES):
            raise SettingsError(f"no stage {', '.join(sorted(unknown))}: {', '.join(STAGES)}")
        self.check()
        write_json(self.directory / "settings.json", dataclasses.asdict(self.settings))
        for stage in STAGES:
            if stage in wanted:
                getattr(self, stage)()

    # ---- what the run is about -------------------------------------------------------------------------------------

    def check(self) -> None:
        """Look at settings and all input, read every text once, and write ``data.json``."""
        if self._checked:
            return
        settings, data = self.settings, self.settings.data
        modes = settings.distill.modes
        if not data.train and not data.corpus:
            raise SettingsError(
                "nothing to learn from: give --corpus (unlabelled texts), --train (labelled ones), or both"
            )
        if not data.train and (need := {"scratch"} & set(modes)):
            raise SettingsError(f"mode {need.pop()} learns from gold labels: give --train")
        if not data.corpus and "kd_private" in modes:
            raise SettingsError("mode kd_private learns from the corpus alone: give --corpus")
        if not modes or set(modes) - set(_SOURCES):
            raise SettingsError(f"modes are {', '.join(_SOURCES)}, not {', '.join(modes) or 'none'}")
        if not 1 <= settings.count.max_n <= 8 or settings.count.size < 1:
            raise SettingsError("count: max_n must be 1 to 8, and size at least 1")
        if any(width < 1 for width in settings.distill.hidden) or settings.distill.embedding < 0:
            raise SettingsError("distill: hidden widths must be at least 1, and embedding at least 0")
        teacher = settings.teach.teacher
        if self.needs_teacher and not teacher:
            raise SettingsError("no teacher: give --teacher a Hugging Face model, module:function, or column:NAME")
        require("torch", "train")
        if self.needs_teacher and not self.column and not _is_callable(teacher):
            require("transformers", "teacher")
        for name in ("train", "dev", "test", "corpus"):
            if sources := getattr(data, name):
                columns = [] if name == "corpus" else [data.label]
                if self.column and (name == "corpus" or (name == "train" and self.uses_train_logits)):
                    columns.append(self.column)
                corpus.check(sources, data.text, columns, encoding_errors=data.encoding_errors, label=data.label)
        if data.task == "single" and len(self.labels) < 2:
            raise DataError(f"only one label, {self.labels[0]!r}: a classifier needs two")
        known = self.directory / "data.json"
        files = {name: _describe(getattr(data, name)) for name in ("train", "dev", "test", "corpus")}
        asked = json.loads(json.dumps({"files": files, "data": dataclasses.asdict(data), "column": self.column}))
        if known.is_file() and (found := read_json(known)).get("asked") == asked:
            self.data = found
        else:
            self.data = {"asked": asked, **self._read_all()}
            write_json(known, self.data)
        self._checked = True

    def _read_all(self) -> dict[str, Any]:
        result: dict[str, Any] = {"task": self.settings.data.task, "labels": list(self.labels)}
        for name, part in (("train", self.train), ("dev", self.dev), ("test", self.test)):
            if part is not None:
                result[name] = {"texts": len(part.texts), "fingerprint": _digest_part(part)}
                if self.settings.data.task == "single":
                    counts = np.bincount(part.targets, minlength=len(self.labels))
                    result[name]["labels"] = dict(zip(self.labels, counts.tolist(), strict=True))
        self._dropped = 0
        texts, state = 0, hashlib.blake2b(digest_size=16)
        for batch in self.corpus_batches():
            texts += len(batch)
            state.update(_core.fingerprints(batch, default_threads()).tobytes())
        if self.settings.data.corpus:
            if not texts:
                raise DataError("no text of the corpus is left: all of them are texts of dev or test")
            result["corpus"] = {"texts": texts, "dropped": self._dropped, "fingerprint": state.hexdigest()}
            if self._dropped:
                say(
                    f"corpus: {self._dropped:,} texts are in dev or test (case and punctuation aside) and were left out"
                )
        return result

    @property
    def column(self) -> str | None:
        """The column that holds the teacher's scores, where that is the teacher."""
        kind, _, name = self.settings.teach.teacher.partition(":")
        return name if kind == "column" else None

    @property
    def needs_teacher(self) -> bool:
        return bool(set(self.settings.distill.modes) - {"scratch"})

    @property
    def uses_train_logits(self) -> bool:
        return bool(self.settings.data.train) and "kd" in self.settings.distill.modes

    @property
    def fine_tunes_teacher(self) -> bool:
        teach = self.settings.teach
        is_model = bool(teach.teacher) and not self.column and not _is_callable(teach.teacher)
        return is_model and teach.finetune and bool(self.settings.data.train)

    @cached_property
    def labels(self) -> tuple[str, ...]:
        data, teach = self.settings.data, self.settings.teach
        if data.task == "regression":
            return ("score",)
        if data.labels:
            return data.labels
        if data.train:
            return self._train_all.labels
        if teach.teacher and not self.column and not _is_callable(teach.teacher):
            from .teacher import model_labels

            if named := model_labels(teach.teacher):
                return named
        raise SettingsError("the label names are not known: give --labels in the order of the teacher's classes")

    @cached_property
    def _train_all(self) -> Labelled:
        data = self.settings.data
        labels = self.__dict__.get("labels")  # not while they are being found here
        return corpus.labelled(data.train, data, labels, self._extra)

    @property
    def _extra(self) -> tuple[str, ...]:
        return (self.column,) if self.column and self.uses_train_logits else ()

    @cached_property
    def _held_out(self) -> np.ndarray:
        data, every = self.settings.data, self._train_all
        if data.dev:
            return np.zeros(len(every.texts), bool)
        targets = every.targets if data.task == "single" else None
        held = np.zeros(len(every.texts), bool)
        held[corpus.hold_out(len(every.texts), data.dev_fraction, data.seed, targets)] = True
        return held

    @cached_property
    def train(self) -> Labelled | None:
        """Labelled training texts, without held-out ones and without texts of dev or test."""
        if not self.settings.data.train:
            return None
        every = self._train_all
        keep = ~self._held_out & ~self._is_blocked(every.texts)
        if dropped := int((~keep & ~self._held_out).sum()):
            say(f"train: {dropped:,} texts are in dev or test (case and punctuation aside) and were left out")
        if not keep.any():
            raise DataError("no text of train is left: all of them are texts of dev or test")
        return _select(every, keep)

    @cached_property
    def dev(self) -> Labelled | None:
        data = self.settings.data
        if data.dev:
            return corpus.labelled(data.dev, data, self.labels)
        return _select(self._train_all, self._held_out) if data.train else None

    @cached_property
    def test(self) -> Labelled | None:
        data = self.settings.data
        return corpus.labelled(data.test, data, self.labels) if data.test else None

    @cached_property
    def _blocked(self) -> np.ndarray:
        """Sorted fingerprints of all texts that nothing may be learnt from."""
        parts = [p.texts for p in (self.dev, self.test) if p is not None]
        if not parts:
            return np.zeros(0, np.uint64)
        return np.unique(np.concatenate([_core.fingerprints(texts, default_threads()) for texts in parts]))

    def _is_blocked(self, texts: list[str]) -> np.ndarray:
        if not len(self._blocked):
            return np.zeros(len(texts), bool)
        found = _core.fingerprints(texts, default_threads())
        at = np.minimum(np.searchsorted(self._blocked, found), len(self._blocked) - 1)
        return self._blocked[at] == found

    def _corpus(self) -> Iterator[tuple[list[str], list[Any], bool]]:
        """(texts, the teacher's column, whether they are held out for dev) batch by batch, in the order of the files."""
        data = self.settings.data
        columns = (self.column,) if self.column else ()
        batches = corpus.read(data.corpus, data.text, columns, encoding_errors=data.encoding_errors)
        held_out_left = HELD_OUT_MOST if self.dev is None else 0
        for batch in batches:
            values = batch.columns[self.column] if self.column else [None] * len(batch.texts)
            blocked = self._is_blocked(batch.texts)
            self._dropped = getattr(self, "_dropped", 0) + int(blocked.sum())
            held = np.zeros(len(blocked), bool)
            if held_out_left:
                # By fingerprint, so that equal texts fall on the same side wherever they stand.
                some = _core.fingerprints(batch.texts, default_threads()) % np.uint64(1000)
                held = some < np.uint64(1000 * HELD_OUT_SHARE)
            for want in (False, True):
                which = np.flatnonzero(~blocked & (held == want))
                if len(which):
                    yield [batch.texts[i] for i in which], [values[i] for i in which], want

    def corpus_batches(self) -> Iterator[list[str]]:
        """The corpus: its texts without those of dev and test, in the order of the files."""
        if self.settings.data.corpus:
            for texts, _, held in self._corpus():
                if not held:
                    yield texts

    # ---- stages ----------------------------------------------------------------------------------------------------

    def once(
        self, name: str, inputs: dict[str, Any], outputs: list[Path], work: Callable[[str], dict[str, Any] | None]
    ) -> dict[str, Any]:
        """Do ``work(key)`` unless ``stages/NAME.json`` says that it was done with the same inputs; return its result."""
        key = _digest(inputs)
        record = self.directory / "stages" / f"{name}.json"
        if record.is_file() and all(path.exists() for path in outputs):
            found = read_json(record)
            if found["key"] == key:
                say(f"{name}: done already ({clock(found['seconds'])}, {found['finished']})")
                return found["result"]
        record.unlink(missing_ok=True)
        start = time.monotonic()
        result = work(key) or {}
        seconds = round(time.monotonic() - start, 2)
        write_json(
            record,
            {
                "stage": name,
                "key": key,
                "inputs": inputs,
                "result": result,
                "seconds": seconds,
                "finished": time.strftime("%Y-%m-%d %H:%M:%S"),
                "versions": versions(),
            },
        )
        say(f"{name}: {clock(seconds)}")
        return result

    def result_of(self, name: str) -> dict[str, Any]:
        """The record of a finished stage. Errors: :class:`SettingsError` when it has not run."""
        record = self.directory / "stages" / f"{name}.json"
        if not record.is_file():
            stage = name.partition(".")[0]
            raise SettingsError(
                f"{self.directory}: the stage {stage!r} has not run yet: sparsedistill {stage} --run {self.directory}"
            )
        return read_json(record)

    def teach(self) -> None:
        """Fine-tune the teacher on train, where it is a model that wants it."""
        if not self.needs_teacher or not self.fine_tunes_teacher:
            return
        from . import teacher

        directory, train, dev = self.directory / "teacher", self.train, self.dev
        settings = self.settings.teach
        inputs = {
            "teach": _keyed(settings),
            "train": self.data["train"]["fingerprint"],
            "dev": self.data["dev"]["fingerprint"],
            "labels": self.labels,
            "task": self.settings.data.task,
        }
        self.once(
            "teach", inputs, [directory / "config.json"],
            lambda key: teacher.finetune(
                settings, directory, train.texts, train.targets, dev.texts, dev.targets,
                labels=self.labels, task=self.settings.data.task, seed=self.settings.data.seed,
            ),
        )  # fmt: skip

    def open_teacher(self):
        """The teacher, at the precision that this run has settled on."""
        from . import teacher

        if not hasattr(self, "_teacher"):
            fitted = self.directory / "teacher" if self.fine_tunes_teacher else None
            if fitted:
                self.result_of("teach")
            chosen = self.directory / "logits" / "precision.json"
            settings = self.settings.teach
            if settings.precision == "auto" and chosen.is_file():
                settings = dataclasses.replace(settings, precision=read_json(chosen)["precision"])
            self._teacher = teacher.open_teacher(
                settings, labels=self.labels, task=self.settings.data.task, label=self.settings.label, directory=fitted
            )
            # Half a corpus must not be labelled at one precision and half at another.
            write_json(chosen, {"precision": self._teacher.precision})
        return self._teacher

    @cached_property
    def _teacher_inputs(self) -> dict[str, Any]:
        teach = self.settings.teach
        if self.fine_tunes_teacher:
            known: Any = self.result_of("teach")["key"]
        elif self.column:
            known = self.data["asked"]["files"]
        else:
            known = teach.teacher
        return {
            "teacher": known,
            "max_length": teach.max_length,
            "precision": teach.precision,
            "scores": self.settings.label.scores,
            "labels": self.labels,
        }

    def label(self) -> None:
        """Ask the teacher about corpus, train and dev."""
        if not self.needs_teacher:
            return
        if self.settings.data.corpus:
            self._label("corpus", self.data["corpus"]["fingerprint"], self.data["corpus"]["texts"], self.corpus_batches)
        if self.train is not None and self.uses_train_logits:
            self._label_part("train", self.train)
        if self.dev is not None and not self.column:
            self._label_part("dev", self.dev)

    def _label_part(self, name: str, part: Labelled) -> None:
        texts = part.texts
        self._label(
            name, self.data[name]["fingerprint"], len(texts),
            lambda: (texts[i : i + 8192] for i in range(0, len(texts), 8192)),
        )  # fmt: skip

    def _label(self, name: str, fingerprint: str, total: int, batches: Callable[[], Iterable[list[str]]]) -> None:
        directory = self.directory / "logits" / name
        settings = self.settings.label

        def work(_key: str) -> dict[str, Any]:
            if self.column:
                shutil.rmtree(directory, ignore_errors=True)  # its scores come in order: no shard may be skipped
                score, source = self._column_scores(name)
                teacher_name, precision = f"column:{self.column}", "given"
            else:
                teacher = self.open_teacher()
                score, source, teacher_name, precision = teacher.logits, batches(), teacher.name, teacher.precision
            start = time.monotonic()
            found = label_shards(
                score, source, directory, teacher=teacher_name, classes=len(self.labels),
                shard_size=settings.shard_size, total=total, what=f"label {name}",
            )  # fmt: skip
            return {
                "texts": len(found),
                "teacher": teacher_name,
                "precision": precision,
                "seconds": round(time.monotonic() - start, 2),
            }

        inputs = {**self._teacher_inputs, "texts": fingerprint}
        self.once(f"label.{name}", inputs, [directory / "manifest.json"], work)

    def _column_scores(self, name: str):
        """(score, batches) of the scores that stand beside the texts: ``score`` answers for the batches in order."""
        from .teacher import to_logits

        waiting: list[Any] = []
        task, kind, where = self.settings.data.task, self.settings.label.scores, f"column {self.column!r} of {name}"

        def batches() -> Iterator[list[str]]:
            if name == "corpus":
                for texts, values, held in self._corpus():
                    if not held:
                        waiting.extend(values)
                        yield texts
            else:
                part = getattr(self, name)
                waiting.extend(part.extra[self.column])
                yield part.texts

        def score(texts: list[str]) -> np.ndarray:
            values = waiting[: len(texts)]
            del waiting[: len(texts)]
            try:
                array = np.array(values, dtype=np.float64)
            except (TypeError, ValueError):
                raise DataError(f"{where} does not hold {len(self.labels)} numbers in each row") from None
            if array.ndim == 1 and task == "regression":
                array = array[:, None]
            if array.ndim != 2 or array.shape[1] != len(self.labels):
                raise DataError(
                    f"{where} holds {array.shape[1] if array.ndim == 2 else 'single'} numbers a row, the data has "
                    f"{len(self.labels)} labels ({', '.join(self.labels)})"
                )
            return to_logits(array, kind, task, where)

        return score, batches()

    def _teacher_says(self, name: str) -> np.ndarray:
        """The teacher's logits (n, C) on a part."""
        return np.asarray(Logits.load(self.directory / "logits" / name).array())

    @property
    def _vocabularies(self) -> list[str]:
        return sorted({self._vocabulary_of(mode) for mode in self.settings.distill.modes})

    def _vocabulary_of(self, mode: str) -> str:
        name = _SOURCES[mode][0]
        if name == "all":  # with one of them missing, the union is the other
            name = "all" if self.settings.data.corpus and self.settings.data.train else (
                "corpus" if self.settings.data.corpus else "train"
            )  # fmt: skip
        return name

    def count(self) -> None:
        """Count n-grams, of exactly the texts a student learns from: kd_private must not know train's."""
        settings = self.settings.count
        for name in self._vocabularies:
            directory = self.directory / "vocabulary" / name

            def work(_key: str, name: str = name, directory: Path = directory) -> dict[str, Any]:
                def batches() -> Iterator[list[str]]:
                    if name != "train":
                        yield from self.corpus_batches()
                    if name != "corpus":
                        yield self.train.texts

                vocabulary = Vocabulary.count(batches(), **dataclasses.asdict(settings))
                vocabulary.save(directory)
                return {"ngrams": len(vocabulary), "least_count": int(vocabulary.counts[-1])}

            self.once(f"count.{name}", self._count_inputs(name), [directory / "vocabulary.json"], work)

    def _count_inputs(self, name: str) -> dict[str, Any]:
        parts = {"all": ("corpus", "train")}.get(name, (name,))
        return {
            "count": dataclasses.asdict(self.settings.count),
            "unicode": _core.unicode_version,
            **{part: self.data[part]["fingerprint"] for part in parts},
        }

    def distill(self) -> None:
        """Train a student for each mode."""
        from . import train

        settings, task = self.settings.distill, self.settings.data.task
        threads = self._torch_threads(settings.threads)
        for mode in settings.modes:
            name, on_corpus, on_train = _SOURCES[mode]
            name = self._vocabulary_of(mode)
            directory = self.directory / "students" / mode
            inputs: dict[str, Any] = {
                "distill": {k: v for k, v in _keyed(settings).items() if k != "modes"},
                "mode": mode,
                "seed": self.settings.data.seed,
                "task": task,
                "vocabulary": self.result_of(f"count.{name}")["key"],
                "dev": self.data.get("dev", {}).get("fingerprint"),
            }
            if mode == "scratch":
                inputs["train"] = self.data["train"]["fingerprint"]
            for part, used in (("corpus", on_corpus), ("train", on_train)):
                if used and getattr(self.settings.data, part):
                    inputs[f"logits.{part}"] = self.result_of(f"label.{part}")["key"]

            def work(key: str, mode: str = mode, name: str = name, directory: Path = directory) -> dict[str, Any]:
                vocabulary = Vocabulary.load(self.directory / "vocabulary" / name)
                examples = self._examples(mode, vocabulary, threads)
                student = self.new_student(len(vocabulary))
                result = train.train(
                    student, examples, self._schedule(settings, len(examples), threads), task, directory,
                    self._dev_score(vocabulary, threads), f"distill {mode}", key,
                )  # fmt: skip
                student.save(directory / "student.safetensors")
                shutil.rmtree(directory / "checkpoint", ignore_errors=True)
                (directory / "best.safetensors").unlink(missing_ok=True)
                return {**result, "vocabulary": name, "texts": len(examples), "parameters": _parameters(student)}

            self.once(f"distill.{mode}", inputs, [directory / "student.safetensors"], work)

    def new_student(self, rows: int):
        """An untrained student of this run's settings, with a table of ``rows`` rows."""
        from .student import Student

        settings = self.settings.distill
        return Student(
            rows, len(self.labels), settings.hidden, settings.embedding, settings.dropout, self.settings.data.seed
        )

    def _examples(self, mode: str, vocabulary: Vocabulary, threads: int):
        from .train import Examples

        task = self.settings.data.task
        _, on_corpus, on_train = _SOURCES[mode]
        bags, targets = [], []
        if on_corpus and self.settings.data.corpus:
            bags += [vocabulary.bags(texts, threads) for texts in self.corpus_batches()]
            targets.append(_soft(self._teacher_says("corpus"), task))
        if on_train and self.train is not None:
            bags.append(vocabulary.bags(self.train.texts, threads))
            targets.append(_soft(self._teacher_says("train"), task))
        if mode == "scratch":
            bags.append(vocabulary.bags(self.train.texts, threads))
            targets.append(_gold(self.train.targets, len(self.labels), task))
        lengths = np.concatenate([np.diff(offsets) for _, offsets in bags])
        offsets = np.concatenate([np.zeros(1, np.uint64), np.cumsum(lengths, dtype=np.uint64)])
        examples = Examples(np.concatenate([ids for ids, _ in bags]), offsets, np.concatenate(targets))
        if len(examples) != len(examples.targets):
            raise FormatError(
                f"{self.directory}/logits has {len(examples.targets):,} rows for {len(examples):,} texts: label again"
            )
        return examples

    def _schedule(self, settings: Any, texts: int, threads: int, **over: Any):
        from .train import Schedule

        distill = self.settings.distill
        batch_size = min(over.get("batch_size", settings.batch_size), texts)
        steps = over.get("steps", distill.steps) or max(1, round(settings.epochs * texts / batch_size))
        return Schedule(
            steps=steps,
            batch_size=batch_size,
            learning_rate=settings.learning_rate,
            warmup=distill.warmup,
            ngram_dropout=distill.ngram_dropout,
            evaluate_every=distill.evaluate_every or max(1, -(-steps // 10)),
            checkpoint_seconds=distill.checkpoint_seconds,
            threads=threads,
            seed=self.settings.data.seed,
        )

    def _dev_score(self, vocabulary: Vocabulary, threads: int) -> Callable[[Any], float]:
        task = self.settings.data.task
        texts, truth = self._judges()
        ids, offsets = vocabulary.bags(texts, threads)

        def score(student: Any) -> float:
            logits = student.logits(ids, offsets, threads)
            return evaluate.metrics(logits, truth, task)[evaluate.PRIMARY[task]]

        return score

    def _judges(self) -> tuple[list[str], np.ndarray]:
        """Texts and truth that choices are made on: dev's gold, or the teacher's word on a held-out part of the corpus."""
        if self.dev is not None:
            return self.dev.texts, self.dev.targets
        if not hasattr(self, "_held_out_corpus"):
            texts: list[str] = []
            values: list[Any] = []
            for some, scores, held in self._corpus():
                if held:
                    texts += some
                    values += scores
                if len(texts) >= HELD_OUT_MOST:
                    break
            if not texts:
                raise DataError("the corpus is too small to hold out a part to choose on: give --dev")
            logits = self._score_now(texts[:HELD_OUT_MOST], values[:HELD_OUT_MOST])
            task = self.settings.data.task
            decided = evaluate.decisions(logits, task)
            self._held_out_corpus = texts[:HELD_OUT_MOST], decided.astype(np.float32) if task == "multi" else decided
        return self._held_out_corpus

    def _score_now(self, texts: list[str], values: list[Any]) -> np.ndarray:
        from .teacher import to_logits

        if not self.column:
            return self.open_teacher().logits(texts)
        array = np.array(values, dtype=np.float64).reshape(len(texts), -1)
        return to_logits(array, self.settings.label.scores, self.settings.data.task, f"column {self.column!r}")

    def finetune(self) -> None:
        """Stage 3: the kd student on train's gold labels."""
        from . import train

        settings, task = self.settings.finetune, self.settings.data.task
        if not settings.enabled or "kd" not in self.settings.distill.modes or self.train is None:
            return
        threads = self._torch_threads(self.settings.distill.threads)
        directory = self.directory / "students" / "kd_ft"
        before = self.result_of("distill.kd")
        inputs = {
            "finetune": dataclasses.asdict(settings),
            "kd": before["key"],
            "train": self.data["train"]["fingerprint"],
        }

        def work(key: str) -> dict[str, Any]:
            name = before["result"]["vocabulary"]
            vocabulary = Vocabulary.load(self.directory / "vocabulary" / name)
            ids, offsets = vocabulary.bags(self.train.texts, threads)
            examples = train.Examples(ids, offsets, _gold(self.train.targets, len(self.labels), task))
            student = self.new_student(len(vocabulary)).load(self.directory / "students" / "kd" / "student.safetensors")
            result = train.train(
                student, examples, self._schedule(settings, len(examples), threads, steps=0), task, directory,
                self._dev_score(vocabulary, threads), "finetune", key,
            )  # fmt: skip
            student.save(directory / "student.safetensors")
            shutil.rmtree(directory / "checkpoint", ignore_errors=True)
            (directory / "best.safetensors").unlink(missing_ok=True)
            return {**result, "vocabulary": name, "texts": len(examples), "parameters": _parameters(student)}

        self.once("finetune", inputs, [directory / "student.safetensors"], work)

    @property
    def students(self) -> list[str]:
        """Names of the students this run trains."""
        names = [mode for mode in ("scratch", "kd_private", "kd") if mode in self.settings.distill.modes]
        if self.settings.finetune.enabled and "kd" in names and self.settings.data.train:
            names.append("kd_ft")
        return names

    def _stage_of(self, student: str) -> str:
        return "finetune" if student == "kd_ft" else f"distill.{student}"

    def compress(self) -> None:
        """Turn each student into a classifier; refuse one that loses more than ``max_loss`` on dev."""
        from .compress import compress

        settings, task = self.settings.compress, self.settings.data.task
        threads = self._torch_threads(self.settings.distill.threads)
        for name in self.students:
            trained = self.result_of(self._stage_of(name))
            directory = self.directory / "classifiers" / name

            def work(
                _key: str, name: str = name, trained: Any = trained, directory: Path = directory
            ) -> dict[str, Any]:
                vocabulary = Vocabulary.load(self.directory / "vocabulary" / trained["result"]["vocabulary"])
                path = self.directory / "students" / name / "student.safetensors"
                student = self.new_student(len(vocabulary)).load(path)
                texts, truth = self._judges()
                exact = student.logits(*vocabulary.bags(texts, threads), threads)
                thresholds = evaluate.fit_thresholds(exact, truth) if task == "multi" else None
                classifier = compress(
                    student, vocabulary, self.labels, task, settings.rows, thresholds,
                    {"provenance": self.provenance(name)},
                )  # fmt: skip
                compressed = classifier.decision_function(texts, threads)
                primary, cut = evaluate.PRIMARY[task], np.array(thresholds) if thresholds else None
                before, after = (evaluate.metrics(x, truth, task, cut)[primary] for x in (exact, compressed))
                same = evaluate.agreement(compressed, exact, task)
                say(
                    f"compress {name}: {classifier!r}; dev {primary} {before:.4f} -> {after:.4f}, "
                    f"{same:.2%} of the decisions kept"
                )
                if before - after > settings.max_loss:
                    raise SettingsError(
                        f"{name}: {classifier.config['rows']['type']} rows cost {before - after:.4f} of {primary} on dev, more "
                        f"than {settings.max_loss}: take --rows float32, or allow it with --max-loss"
                    )
                classifier.save(directory)
                return {"before": before, "after": after, "agreement": same, "bytes": classifier.nbytes}

            inputs = {"compress": dataclasses.asdict(settings), "student": trained["key"]}
            self.once(f"compress.{name}", inputs, [directory / "config.json"], work)

    def evaluate(self) -> None:
        """Measure every classifier as loaded from disk, choose one on dev, and write the report."""
        task, settings = self.settings.data.task, self.settings.evaluate
        compressed = {name: self.result_of(f"compress.{name}") for name in self.students}
        part = "test" if self.test is not None else "dev"
        if part == "test" and self.needs_teacher and not self.column:
            self._label_part("test", self.test)
        inputs = {
            "evaluate": _keyed(settings),
            "compress": {name: record["key"] for name, record in compressed.items()},
            "on": self.data.get(part, {}).get("fingerprint"),
        }
        outputs = [self.directory / "metrics.json", self.directory / "classifier" / "config.json"]
        result = self.once("evaluate", inputs, outputs, lambda _: self._measure(part, compressed, task))
        say("\n" + report.table(result) + "\n")

    def _measure(self, part: str, compressed: dict[str, Any], task: str) -> dict[str, Any]:
        settings = self.settings.evaluate
        threads = self._torch_threads(settings.threads)
        if self.dev is None and part == "dev":
            texts, truth = self._judges()
        else:
            judged = getattr(self, part)
            texts, truth = judged.texts, judged.targets
        teacher_logits = None
        if self.needs_teacher and not self.column and self.dev is not None:
            teacher_logits = self._teacher_says(part)
        systems: dict[str, Any] = {}
        if teacher_logits is not None:
            systems["teacher"] = {**evaluate.metrics(teacher_logits, truth, task), "agreement": 1.0}
        sample = np.random.default_rng(self.settings.data.seed).permutation(len(texts))[: settings.speed_texts]
        speed_texts = [texts[i] for i in sample]
        workers: dict[str, tuple[Callable[[], object], int]] = {}
        for name in compressed:
            classifier = Classifier.load(self.directory / "classifiers" / name)
            thresholds = classifier.config.get("thresholds")
            cut = np.array(thresholds) if thresholds else None
            logits = classifier.decision_function(texts, threads)
            figures: dict[str, Any] = evaluate.metrics(logits, truth, task, cut)
            trained = self.result_of(self._stage_of(name))["result"]
            vocabulary = Vocabulary.load(self.directory / "vocabulary" / trained["vocabulary"])
            path = self.directory / "students" / name / "student.safetensors"
            student = self.new_student(len(vocabulary)).load(path)
            exact = student.logits(*vocabulary.bags(texts, threads), threads)
            figures["uncompressed"] = evaluate.metrics(exact, truth, task, cut)[evaluate.PRIMARY[task]]
            if teacher_logits is not None:
                figures["agreement"] = evaluate.agreement(logits, teacher_logits, task)
            figures["dev"] = compressed[name]["result"]["after"]
            figures["megabytes"] = _size(self.directory / "classifiers" / name) / 1e6
            systems[name] = figures
            workers[name] = (lambda c=classifier: c.predict(speed_texts, threads=threads), len(speed_texts))
        if self.needs_teacher and not self.column:
            teacher = self.open_teacher()
            # As many texts as take the teacher seconds, so that turns can be taken.
            few = speed_texts[: max(32, min(len(speed_texts), 512))]
            workers = {"teacher": (lambda: teacher.logits(few), len(few)), **workers}
            systems.setdefault("teacher", {})["megabytes"] = _weights_size(teacher, self.directory)
            systems["teacher"]["precision"] = teacher.precision
        for name, rate in zip(workers, evaluate.alternate(list(workers.values()), settings.repeats), strict=True):
            systems[name]["texts_per_second"] = rate
        chosen = max((n for n in ("kd_ft", "kd", "kd_private", "scratch") if n in compressed),
                     key=lambda n: (n.startswith("kd") and n != "kd_private", systems[n]["dev"]))  # fmt: skip
        result: dict[str, Any] = {
            "task": task,
            "part": part,
            "texts": len(texts),
            "labels": list(self.labels),
            "threads": threads,
            "selected": chosen,
            "primary": evaluate.PRIMARY[task],
            "systems": systems,
        }
        if "teacher" in systems:
            result["speedup"] = systems[chosen]["texts_per_second"] / systems["teacher"]["texts_per_second"]
        write_json(self.directory / "metrics.json", result)
        self._ship(chosen, result)
        with replacing(self.directory / "report.md") as temporary:
            temporary.write_text(report.table(result) + "\n", encoding="utf-8")
        report.plot(result, self.directory / "report.png")
        return result

    def _ship(self, name: str, result: dict[str, Any]) -> None:
        """The chosen classifier with its figures and model card, as ``classifier/``."""
        classifier = Classifier.load(self.directory / "classifiers" / name)
        config = {**classifier.config, "metrics": {result["part"]: result["systems"][name]}}
        with replacing_directory(self.directory / "classifier") as temporary:
            write_json(temporary / "config.json", config)
            shutil.copyfile(classifier.path / "model.safetensors", temporary / "model.safetensors")
            card = report.card(name, result, config)
            (temporary / "README.md").write_text(card, encoding="utf-8")

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
        threads = asked or default_threads()
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


def _is_callable(teacher: str) -> bool:
    """Whether the teacher is named as module:function."""
    return ":" in teacher and not Path(teacher).exists()


def _soft(logits: np.ndarray, task: str) -> np.ndarray:
    return logits if task == "regression" else probabilities(logits, task).astype(np.float32)


def _gold(targets: np.ndarray, classes: int, task: str) -> np.ndarray:
    if task == "single":
        return np.eye(classes, dtype=np.float32)[targets]
    return targets.reshape(len(targets), -1).astype(np.float32)


def _select(part: Labelled, keep: np.ndarray) -> Labelled:
    where = np.flatnonzero(keep)
    return Labelled(
        [part.texts[i] for i in where],
        part.targets[keep],
        part.labels,
        {name: [values[i] for i in where] for name, values in part.extra.items()},
    )


def _keyed(settings: Any) -> dict[str, Any]:
    return {name: value for name, value in dataclasses.asdict(settings).items() if name not in KEYED_AWAY}


def _digest(value: Any) -> str:
    text = json.dumps(value, sort_keys=True, ensure_ascii=True)
    return hashlib.blake2b(text.encode(), digest_size=16).hexdigest()


def _digest_part(part: Labelled) -> str:
    state = hashlib.blake2b(digest_size=16)
    for text in part.texts:
        data = text.encode("utf-8", "surrogatepass")
        state.update(len(data).to_bytes(8, "little") + data)
    state.update(part.targets.tobytes())
    return state.hexdigest()


def _describe(sources: tuple[str, ...]) -> list[dict[str, Any]]:
    """Name, size and content hash of every input file."""
    result: list[dict[str, Any]] = []
    for source in corpus.expand(sources) if sources else []:
        entry: dict[str, Any] = {"source": source}
        if os.path.isfile(source):
            state = hashlib.blake2b(digest_size=16)
            with open(source, "rb") as file:
                while block := file.read(1 << 22):
                    state.update(block)
            entry |= {"bytes": os.path.getsize(source), "fingerprint": state.hexdigest()}
        result.append(entry)
    return result


def _parameters(student: Any) -> int:
    return sum(array.size for array in student.arrays().values())


def _size(directory: Path) -> int:
    return sum(path.stat().st_size for path in directory.iterdir() if path.is_file())


def _weights_size(teacher: Any, directory: Path) -> float | None:
    folder = directory / "teacher"
    if not folder.is_dir():
        return None
    return sum(p.stat().st_size for p in folder.glob("*.safetensors")) / 1e6
