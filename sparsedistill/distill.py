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
from functools import cached_property, partial
from pathlib import Path
from typing import Any

import numpy as np

from . import __version__, _core, evaluate, report
from .classifier import Classifier, probabilities
from .errors import DataError, FormatError, SettingsError, require
from .format import read_json, replacing, replacing_directory, write_json
from .inputs import Inputs
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


class Run:
    """One run directory and its settings."""

    def __init__(self, directory: str | os.PathLike, settings: Settings):
        self.directory, self.settings = Path(directory), settings
        self.inputs = Inputs(settings)
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
        if self.inputs.needs_teacher and not teacher:
            raise SettingsError("no teacher: give --teacher a Hugging Face model, module:function, or column:NAME")
        require("torch", "train")
        if self.inputs.needs_teacher and self.inputs.teacher_is_model:
            require("transformers", "teacher")
        self.inputs.check()
        known = self.directory / "data.json"
        asked = {"files": self.inputs.files(), "data": dataclasses.asdict(data), "column": self.inputs.column}
        asked = json.loads(json.dumps(asked))  # as it will be read back
        if known.is_file() and (found := read_json(known)).get("asked") == asked:
            self.data = found
        else:
            self.data = {"asked": asked, **self.inputs.describe()}
            write_json(known, self.data)
        self._checked = True

    # ---- stages ----------------------------------------------------------------------------------------------------

    def once(
        self, name: str, inputs: dict[str, Any], outputs: list[Path], work: Callable[[str], dict[str, Any] | None]
    ) -> dict[str, Any]:
        """Do ``work(key)`` unless ``stages/NAME.json`` says it was done with the same inputs; return its result."""
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
        if not self.inputs.needs_teacher or not self.inputs.fine_tunes_teacher:
            return
        from . import teacher

        directory, train, dev = self.directory / "teacher", self.inputs.part("train"), self.inputs.part("dev")
        settings = self.settings.teach
        inputs = {
            "teach": _keyed(settings),
            "train": self.data["train"]["fingerprint"],
            "dev": self.data["dev"]["fingerprint"],
            "labels": self.inputs.labels,
            "task": self.settings.data.task,
        }
        self.once(
            "teach", inputs, [directory / "config.json"],
            lambda key: teacher.finetune(
                settings, directory, train.texts, train.targets, dev.texts, dev.targets,
                labels=self.inputs.labels, task=self.settings.data.task, seed=self.settings.data.seed,
            ),
        )  # fmt: skip

    def open_teacher(self):
        """The teacher, at the precision that this run has settled on."""
        from . import teacher

        if not hasattr(self, "_teacher"):
            fitted = self.directory / "teacher" if self.inputs.fine_tunes_teacher else None
            if fitted:
                self.result_of("teach")
            chosen = self.directory / "logits" / "precision.json"
            settings = self.settings.teach
            if settings.precision == "auto" and chosen.is_file():
                settings = dataclasses.replace(settings, precision=read_json(chosen)["precision"])
            self._teacher = teacher.open_teacher(
                settings,
                labels=self.inputs.labels,
                task=self.settings.data.task,
                label=self.settings.label,
                directory=fitted,
            )
            # Half a corpus must not be labelled at one precision and half at another.
            write_json(chosen, {"precision": self._teacher.precision})
        return self._teacher

    @cached_property
    def _teacher_inputs(self) -> dict[str, Any]:
        teach = self.settings.teach
        if self.inputs.fine_tunes_teacher:
            known: Any = self.result_of("teach")["key"]
        elif self.inputs.column:
            known = self.data["asked"]["files"]
        else:
            known = teach.teacher
        return {
            "teacher": known,
            "max_length": teach.max_length,
            "precision": teach.precision,
            "scores": self.settings.label.scores,
            "labels": self.inputs.labels,
        }

    def label(self) -> None:
        """Ask the teacher about corpus, train and dev."""
        if not self.inputs.needs_teacher:
            return
        if self.settings.data.corpus:
            self._label(
                "corpus", self.data["corpus"]["fingerprint"], self.data["corpus"]["texts"], self.inputs.corpus_texts
            )
        if self.inputs.uses_train_logits:
            self._label_part("train")
        if self.inputs.dev is not None and not self.inputs.column:
            self._label_part("dev")

    def _label_part(self, name: str) -> None:
        texts = self.inputs.part(name).texts
        self._label(
            name, self.data[name]["fingerprint"], len(texts),
            lambda: (texts[i : i + 8192] for i in range(0, len(texts), 8192)),
        )  # fmt: skip

    def _label(self, name: str, fingerprint: str, total: int, batches: Callable[[], Iterable[list[str]]]) -> None:
        directory = self.directory / "logits" / name
        settings = self.settings.label

        def work(_key: str) -> dict[str, Any]:
            if self.inputs.column:
                shutil.rmtree(directory, ignore_errors=True)  # its scores come in order: no shard may be skipped
                score, source = self._column_scores(name)
                teacher_name, precision = f"column:{self.inputs.column}", "given"
            else:
                teacher = self.open_teacher()
                score, source, precision = teacher.logits, batches(), teacher.precision
                teacher_name = f"{teacher.name} {precision if precision != 'given' else settings.scores}"
            start = time.monotonic()
            found = label_shards(
                score, source, directory, teacher=teacher_name, classes=len(self.inputs.labels),
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
        task, kind, where = (
            self.settings.data.task,
            self.settings.label.scores,
            f"column {self.inputs.column!r} of {name}",
        )

        def batches() -> Iterator[list[str]]:
            if name == "corpus":
                for texts, values in self.inputs.corpus():
                    waiting.extend(values)
                    yield texts
            else:
                part = self.inputs.part(name)
                waiting.extend(part.extra[str(self.inputs.column)])
                yield part.texts

        def score(texts: list[str]) -> np.ndarray:
            values = waiting[: len(texts)]
            del waiting[: len(texts)]
            try:
                array = np.array(values, dtype=np.float64)
            except (TypeError, ValueError):
                raise DataError(f"{where} does not hold {len(self.inputs.labels)} numbers in each row") from None
            if array.ndim == 1 and task == "regression":
                array = array[:, None]
            if array.ndim != 2 or array.shape[1] != len(self.inputs.labels):
                raise DataError(
                    f"{where} holds {array.shape[1] if array.ndim == 2 else 'single'} numbers a row, the data has "
                    f"{len(self.inputs.labels)} labels ({', '.join(self.inputs.labels)})"
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
                        yield from self.inputs.corpus_texts()
                    if name != "corpus":
                        yield self.inputs.part("train").texts

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
                    self._dev_score(vocabulary, threads), f"distill {mode}", key, keep_best=mode == "scratch",
                )  # fmt: skip
                return {**result, "vocabulary": name, "texts": len(examples), "parameters": _parameters(student)}

            self.once(f"distill.{mode}", inputs, [directory / "student.safetensors"], work)

    def new_student(self, rows: int):
        """An untrained student of this run's settings, with a table of ``rows`` rows."""
        from .student import Student

        settings = self.settings.distill
        return Student(
            rows,
            len(self.inputs.labels),
            settings.hidden,
            settings.embedding,
            settings.dropout,
            self.settings.data.seed,
        )

    def _examples(self, mode: str, vocabulary: Vocabulary, threads: int):
        from .train import Examples

        task = self.settings.data.task
        _, on_corpus, on_train = _SOURCES[mode]
        bags, targets = [], []
        if on_corpus and self.settings.data.corpus:
            bags += [vocabulary.bags(texts, threads) for texts in self.inputs.corpus_texts()]
            targets.append(_soft(self._teacher_says("corpus"), task))
        if on_train and self.settings.data.train:
            bags.append(vocabulary.bags(self.inputs.part("train").texts, threads))
            targets.append(_soft(self._teacher_says("train"), task))
        if mode == "scratch":
            train = self.inputs.part("train")
            bags.append(vocabulary.bags(train.texts, threads))
            targets.append(_gold(train.targets, len(self.inputs.labels), task))
        lengths = np.concatenate([np.diff(offsets) for _, offsets in bags])
        offsets = np.concatenate([np.zeros(1, np.uint64), np.cumsum(lengths, dtype=np.uint64)])
        examples = Examples(np.concatenate([ids for ids, _ in bags]), offsets, np.concatenate(targets))
        if len(examples) != len(examples.targets):
            raise FormatError(
                f"{self.directory}/logits has {len(examples.targets):,} rows for {len(examples):,} texts: label again"
            )
        return examples

    def _schedule(self, settings: Any, texts: int, threads: int):
        from .train import Schedule

        distill = self.settings.distill
        batch_size = min(settings.batch_size, max(1, texts // 64))
        steps = (distill.steps if settings is distill else 0) or max(1, round(settings.epochs * texts / batch_size))
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
        """Texts and truth to choose on: dev's gold, or the teacher's word on a held-out part of the corpus."""
        if self.inputs.dev is not None:
            return self.inputs.dev.texts, self.inputs.dev.targets
        if not hasattr(self, "_held_out_corpus"):
            texts, values = self.inputs.held_out()
            logits = self._score_now(texts, values)
            task = self.settings.data.task
            decided = evaluate.decisions(logits, task)
            self._held_out_corpus = texts, decided.astype(np.float32) if task == "multi" else decided
        return self._held_out_corpus

    def _score_now(self, texts: list[str], values: list[Any]) -> np.ndarray:
        from .teacher import to_logits

        if not self.inputs.column:
            return self.open_teacher().logits(texts)
        array = np.array(values, dtype=np.float64).reshape(len(texts), -1)
        return to_logits(array, self.settings.label.scores, self.settings.data.task, f"column {self.inputs.column!r}")

    def finetune(self) -> None:
        """Stage 3: the kd student on train's gold labels."""
        from . import train

        settings, task = self.settings.finetune, self.settings.data.task
        if not settings.enabled or "kd" not in self.settings.distill.modes or not self.settings.data.train:
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
            labelled = self.inputs.part("train")
            ids, offsets = vocabulary.bags(labelled.texts, threads)
            examples = train.Examples(ids, offsets, _gold(labelled.targets, len(self.inputs.labels), task))
            student = self.new_student(len(vocabulary)).load(self.directory / "students" / "kd" / "student.safetensors")
            result = train.train(
                student, examples, self._schedule(settings, len(examples), threads), task, directory,
                self._dev_score(vocabulary, threads), "finetune", key, keep_best=True,
            )  # fmt: skip
            return {**result, "vocabulary": name, "texts": len(examples), "parameters": _parameters(student)}

        self.once("finetune", inputs, [directory / "student.safetensors"], work)

    @property
    def students(self) -> list[str]:
        """Names of the students this run trains."""
        names: list[str] = [mode for mode in ("scratch", "kd_private", "kd") if mode in self.settings.distill.modes]
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
                    student, vocabulary, self.inputs.labels, task, settings.rows, thresholds,
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
                        f"{name}: {classifier.config['rows']['type']} rows cost {before - after:.4f} {primary} on dev, "
                        f"more than {settings.max_loss}: take --rows float32, or allow it with --max-loss"
                    )
                classifier.save(directory)
                return {"before": before, "after": after, "agreement": same, "bytes": classifier.nbytes}

            inputs = {"compress": dataclasses.asdict(settings), "student": trained["key"]}
            self.once(f"compress.{name}", inputs, [directory / "config.json"], work)

    def evaluate(self) -> None:
        """Measure every classifier as loaded from disk, choose one on dev, and write the report."""
        task, settings = self.settings.data.task, self.settings.evaluate
        compressed = {name: self.result_of(f"compress.{name}") for name in self.students}
        part = "test" if self.inputs.test is not None else "dev"
        if part == "test" and self.inputs.needs_teacher and not self.inputs.column:
            self._label_part("test")
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
        if self.inputs.dev is None and part == "dev":
            texts, truth = self._judges()
        else:
            judged = self.inputs.part(part)
            texts, truth = judged.texts, judged.targets
        teacher_logits = None
        if self.inputs.needs_teacher and not self.inputs.column and self.inputs.dev is not None:
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
            workers[name] = (partial(classifier.predict, speed_texts, threads), len(speed_texts))
        if self.inputs.needs_teacher and not self.inputs.column:
            teacher = self.open_teacher()
            # As many texts as take the teacher seconds, so that turns can be taken.
            few = speed_texts[: max(32, min(len(speed_texts), 512))]
            workers = {"teacher": (partial(teacher.logits, few), len(few)), **workers}
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
            "labels": list(self.inputs.labels),
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
            shutil.copyfile(
                self.directory / "classifiers" / name / "model.safetensors", temporary / "model.safetensors"
            )
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


def _soft(logits: np.ndarray, task: str) -> np.ndarray:
    return logits if task == "regression" else probabilities(logits, task).astype(np.float32)


def _gold(targets: np.ndarray, classes: int, task: str) -> np.ndarray:
    if task == "single":
        return np.eye(classes, dtype=np.float32)[targets]
    return targets.reshape(len(targets), -1).astype(np.float32)


def _keyed(settings: Any) -> dict[str, Any]:
    return {name: value for name, value in dataclasses.asdict(settings).items() if name not in KEYED_AWAY}


def _digest(value: Any) -> str:
    text = json.dumps(value, sort_keys=True, ensure_ascii=True)
    return hashlib.blake2b(text.encode(), digest_size=16).hexdigest()


def _parameters(student: Any) -> int:
    return sum(array.size for array in student.arrays().values())


def _size(directory: Path) -> int:
    return sum(path.stat().st_size for path in directory.iterdir() if path.is_file())


def _weights_size(teacher: Any, directory: Path) -> float | None:
    folder = directory / "teacher"
    if not folder.is_dir():
        return None
    return sum(p.stat().st_size for p in folder.glob("*.safetensors")) / 1e6
