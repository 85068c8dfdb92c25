"""Measure the classifiers as loaded from disk, choose one on dev, and write the report."""

from __future__ import annotations

import dataclasses
import shutil
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from .. import evaluate, report
from ..calibrate import expected_calibration_error, heads_as_logits
from ..classifier import Classifier, probabilities
from ..format import directory_size, read_json, replacing, replacing_directory, write_json
from ..heads import Head
from ..measure import answers_of, figures_of
from ..tasks import Single
from . import alone, size
from .label import label_part

if TYPE_CHECKING:
    from ..run import Run

HELP = "measure the classifiers, choose one, write the report"
_TEACHER_SECONDS = 3  # of one turn of the speed measurement


def inputs(run: Run, name: str) -> dict[str, Any]:
    """What the figures depend on."""
    part = _part(run)
    return {
        "evaluate": dataclasses.asdict(run.settings.evaluate),
        "classifiers": {student: run.key(f"compress.{student}") for student in run.students},
        "texts": run.texts_of(part),
        "logits": run.key(f"label.{part}") if run.teacher_answers else None,
        **({"sized": run.key("size")} if size.was_made(run) else {}),
    }


def execute(run: Run) -> None:
    """Measure every classifier, choose one on dev, and write the report."""
    if run.teacher_answers:
        label_part(run, _part(run))
    outputs = [run.directory / "metrics.json", run.directory / "classifier" / "config.json"]
    run.once("evaluate", outputs, partial(_evaluate, run))


def _part(run: Run) -> str:
    """The part that figures are reported on."""
    return "test" if run.settings.data.test else "dev"


def _evaluate(run: Run) -> dict[str, Any]:
    part = _part(run)
    teacher = run.teacher if run.teacher_answers else None
    threads = run.threads(run.settings.evaluate.threads)  # after the teacher, which has threads of its own
    if part == "test":
        texts, targets = run.inputs.part("test").texts, run.inputs.part("test").targets
    else:
        texts, targets = run.selection_set()
    sized = [size.SIZED] if size.has_sized(run) else []
    classifiers = {name: run.classifier(name) for name in [*run.students, *sized]}
    systems = _figures(run, classifiers, part, texts, targets, threads)
    for name, rate in _rates(run, classifiers, texts, threads).items():
        systems[name]["texts_per_second"] = rate
    chosen = size.SIZED if sized else max(size.candidates(run), key=lambda name: systems[name]["dev"])
    result: dict[str, Any] = {
        "task": run.task.name,
        "part": part,
        "texts": len(texts),
        "labels": list(run.inputs.labels),
        "threads": threads,
        "selected": chosen,
        "primary": run.primary,
        "systems": systems,
    }
    if run.settings.evaluate.resamples:
        result["selected_figures"] = _selected(run, classifiers[chosen], texts, targets, threads)
    if teacher is not None:
        result["teacher_device"] = getattr(teacher, "device", "cpu")
        result["speedup"] = systems[chosen]["texts_per_second"] / systems["teacher"]["texts_per_second"]
    if run.several and run.settings.evaluate.compare_heads:
        result["alone"] = alone.figures(run)
    write_json(run.directory / "metrics.json", result)
    _ship(run, chosen, result)
    with replacing(run.directory / "report.md") as temporary:
        temporary.write_text(report.table(result) + "\n", encoding="utf-8")
    report.plot(result, run.directory / "report.png")
    return result


def _selected(run: Run, classifier: Classifier, texts: Sequence[str], targets: np.ndarray, threads: int) -> Any:
    """All figures of the classifier that was chosen, with their intervals; of each head, where they have names."""
    logits = classifier._logits(run.for_classifier(texts), threads, "error")
    results = {}
    for (part, own, wanted, _), head in _with_heads(run, classifier, logits, targets):
        answers = answers_of(head, own, wanted)
        results[part.name] = figures_of(answers, {}, (), run.settings.evaluate.resamples, run.settings.data.seed)
    return results[""] if run.several is None else {"heads": results}


def _with_heads(
    run: Run, classifier: Classifier, logits: np.ndarray, targets: np.ndarray
) -> Iterator[tuple[Any, Head]]:
    """What the task gives of each head that has targets, with the classifier's head."""
    heads = {head.name: head for head in classifier.heads}
    return ((one, heads[one[0].name]) for one in run.task.each(logits, targets))


def _figures(
    run: Run,
    classifiers: dict[str, Classifier],
    part: str,
    texts: Sequence[str],
    targets: np.ndarray,
    threads: int,
) -> dict[str, dict[str, Any]]:
    """Of the teacher and of every classifier: metrics, fidelity to the teacher, size."""
    task, asked = run.task, run.for_classifier(texts)
    systems: dict[str, dict[str, Any]] = {}
    expected = None
    if run.teacher_answers:
        expected = run.teacher_logits(part)
        systems["teacher"] = {"fidelity": 1.0}
        if run.several:
            known = np.where(np.isnan(expected), np.nan, targets)  # a head may have no teacher
            systems["teacher"]["heads"] = run.several.of_heads(expected, known)
        if not np.isnan(expected).any():  # of all heads the mean is one that can be compared
            systems["teacher"] |= task.metrics(expected, targets)
        systems["teacher"] |= {"precision": run.teacher.precision, "megabytes": _weights(run.directory / "teacher")}
    for name, classifier in classifiers.items():
        cut = _thresholds(classifier)
        raw = classifier._logits(asked, threads, "error")
        logits = _calibrated(classifier, raw)
        figures: dict[str, Any] = task.metrics(logits, targets, cut)
        figures |= _of_heads(run, classifier, raw, logits, targets, cut)
        if name == size.SIZED:
            figures["dev"] = run.result_of("size")["dev"]
        else:
            vocabulary, student = run.trained(name)
            exact = _calibrated(classifier, student.logits(*run.bags(vocabulary, texts, threads), threads))
            figures["uncompressed"] = task.metrics(exact, targets, cut)[run.primary]
            figures["dev"] = run.result_of(f"compress.{name}")["after"]
        if expected is not None:
            figures["fidelity"] = task.fidelity(logits, expected, cut)
        figures["megabytes"] = directory_size(run.directory / "classifiers" / name) / 1e6
        systems[name] = figures
    return systems


def _of_heads(
    run: Run,
    classifier: Classifier,
    raw: np.ndarray,
    logits: np.ndarray,
    targets: np.ndarray,
    cut: np.ndarray | None,
) -> dict[str, Any]:
    """The calibration errors, and under ``heads`` the metrics of each head, where they have names."""
    heads: dict[str, dict[str, Any]] = run.several.of_heads(logits, targets, cut) if run.several else {}
    result: dict[str, Any] = {"heads": heads} if run.several else {}
    each = zip(_with_heads(run, classifier, logits, targets), run.task.each(raw, targets), strict=True)
    for ((part, own, wanted, _), head), (_, before, *_) in each:
        if head.calibration:
            errors = {"ece": _error(part.task, own, wanted), "ece_before": _error(part.task, before, wanted)}
            (heads[part.name] if run.several else result).update(errors)
    return result


def _thresholds(classifier: Classifier) -> np.ndarray | None:
    """A number for each output, one half where a head has no thresholds; None where none has."""
    if all(head.thresholds is None for head in classifier.heads):
        return None
    each = [np.full(len(head.labels), 0.5) if head.thresholds is None else head.thresholds for head in classifier.heads]
    return np.concatenate(each)


def _calibrated(classifier: Classifier, logits: np.ndarray) -> np.ndarray:
    """Logits that need no calibration any more: see :func:`sparsedistill.calibrate.as_logits`."""
    described = zip(classifier.heads, classifier.config.get("heads", [classifier.config]), strict=True)
    return heads_as_logits(((head.outputs, own.get("calibration")) for head, own in described), logits)


def _error(task: Single, logits: np.ndarray, targets: np.ndarray) -> float:
    """The calibration error."""
    if task.name == "regression":
        return expected_calibration_error(logits[:, 0], targets)
    return expected_calibration_error(probabilities(logits, task.name), targets)


def _rates(run: Run, classifiers: dict[str, Classifier], texts: Sequence[str], threads: int) -> dict[str, float]:
    """Texts a second of the teacher and of every classifier, from raw text to label, in turns."""
    settings = run.settings.evaluate
    sample = np.random.default_rng(run.settings.data.seed).permutation(len(texts))[: settings.speed_texts]
    some = [texts[i] for i in sample]
    workers: dict[str, tuple[Callable[[], object], int]] = {}
    if run.teacher_answers:
        few = some[:32]
        rate = evaluate.alternate([(partial(run.teacher.logits, few), len(few))], 1)[0]
        few = some[: max(32, int(rate * _TEACHER_SECONDS))]
        workers["teacher"] = (partial(run.teacher.logits, few), len(few))
    for name, classifier in classifiers.items():
        workers[name] = (partial(classifier.predict, run.for_classifier(some), threads), len(some))
    return dict(zip(workers, evaluate.alternate(list(workers.values()), settings.repeats), strict=True))


def _ship(run: Run, name: str, result: dict[str, Any]) -> None:
    """The chosen classifier with its figures and model card, as ``classifier/``."""
    source = run.directory / "classifiers" / name
    config, figures = read_json(source / "config.json"), result["systems"][name]
    config["metrics"] = {result["part"]: {key: value for key, value in figures.items() if key != "heads"}}
    for head in config.get("heads", []):
        if head["name"] in figures["heads"]:
            head["metrics"] = {result["part"]: figures["heads"][head["name"]]}
    with replacing_directory(run.directory / "classifier") as temporary:
        write_json(temporary / "config.json", config)
        shutil.copyfile(source / "model.safetensors", temporary / "model.safetensors")
        (temporary / "README.md").write_text(report.card(name, result, config), encoding="utf-8")


def _weights(directory: Path) -> float | None:
    """Megabytes of a fine-tuned teacher's weights."""
    return sum(path.stat().st_size for path in directory.glob("*.safetensors")) / 1e6 or None
