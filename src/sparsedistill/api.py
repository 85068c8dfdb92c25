"""The whole job from Python: :func:`distill`."""

from __future__ import annotations

import dataclasses
import os
import shutil
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from .classifier import Classifier
from .data import given
from .errors import SettingsError
from .format import read_json
from .progress import say
from .report import Report
from .run import Run
from .settings import UNUSED_CORPUS, Settings
from .teacher.function import name_of

_SCORES = "scores"  # the column that holds the scores given for a teacher


# long: what it takes needs as many words
def distill(
    teacher: str | os.PathLike[str] | Callable[[list[Any]], Any] | Any = None,
    corpus: Any = None,
    train: Any = None,
    dev: Any = None,
    test: Any = None,
    *,
    directory: str | os.PathLike[str] | None = None,
    **settings: Any,
) -> Classifier:
    """Distil a slow text classifier into a sparse n-gram student, and return it as a finished classifier.

    The method is Sparse Distillation (Ye et al. 2022): the teacher scores ``corpus`` and ``train``, a student that is a
    table of n-gram embeddings and a small head learns its distribution, is fine-tuned on the gold labels of ``train``,
    folded, quantised, and measured.

    Args:
        teacher: What is distilled. The id or path of a Hugging Face sequence classifier or encoder (fine-tuned on
            ``train`` first, unless ``finetune_teacher=False`` says otherwise); a function from a list of str to scores
            (n, C), itself or as "module:function"; scores (n, C), or (n,) for regression, of the texts of ``corpus``,
            or a dict with those of ``corpus`` and of ``train``; "column:NAME", a column that stands beside the texts.
            Whether scores are logits or probabilities says ``scores="probabilities"``. None: no teacher; the student
            learns gold labels alone.
        corpus: Unlabelled texts, the more the better: a list, an array, a Series, an Arrow array, a generator of str
            (of pairs of str with ``pair``); a table (DataFrame, Arrow table, Hugging Face dataset, dict of columns,
            list of dicts) with the column ``text``; or files: a path, a glob or a folder as str, or a list of
            :class:`pathlib.Path`. Not without a teacher.
        train: Labelled texts: ``(texts, labels)``, a list or generator of ``(text, label)``, a table with the columns
            ``text`` and ``label``, or files. Labels are names or numbers, one a text; lists of names with
            ``task="multi"``; floats with ``task="regression"``.
        dev: Labelled texts to choose the best student by; None: a seeded tenth of ``train`` is held out.
        test: Labelled texts to measure the finished classifier on, used once; None: those of ``dev``.
        directory: The run directory, in which an interrupted call resumes and nothing is done twice. None: a temporary
            one, removed when the classifier is ready, and kept when anything goes wrong.
        settings: Every setting of every stage by its name, as in a TOML file: ``hidden=[256]``, ``size=100_000``,
            ``labels=["ham", "spam"]``. What several stages have is given by stage: ``teach={"epochs": 2}``.
            ``heads`` are for a classifier that answers several questions at once: a dict of heads by name, each a dict
            of ``task``, ``label`` (its column; by default the name), ``labels``, ``label_separator``, ``teacher`` (a
            function, "module:function" or "column:NAME") and ``weight``; or a list of "NAME" and "NAME=TASK". Then
            ``train``, ``dev`` and ``test`` are tables or files with the heads' columns, in which cells may be empty,
            and there is no other ``teacher``.

    Returns:
        The classifier that was chosen on dev. Its ``report`` is a :class:`~sparsedistill.report.Report`.

    Raises:
        DataError: texts, labels or scores that cannot be used; file and row are named.
        SettingsError: settings that are unknown or do not go together.
        MissingExtraError: a library that this job needs is not installed.

    Examples:
        >>> from sparsedistill import distill
        >>> texts = [f"{word} number {i}" for i in range(40) for word in ("good", "bad")]
        >>> labels = ["pos", "neg"] * 40
        >>> classifier = distill(train=(texts, labels), hidden=[8], max_n=2)
        >>> classifier.predict("a good one")
        'pos'
        >>> classifier.report.figures["scratch"]["accuracy"]
        1.0
    """
    temporary = directory is None
    place = Path(tempfile.mkdtemp(prefix="sparsedistill-")) if directory is None else Path(directory)
    try:
        run = _run(place, teacher, {"corpus": corpus, "train": train, "dev": dev, "test": test}, settings)
        run.execute()
        # The files of a temporary run go: the classifier must not be mapped from them.
        classifier = Classifier.load(place / "classifier", copy=temporary)
        classifier.report = Report(read_json(place / "metrics.json"))
    except BaseException:
        if temporary and (place / "stages").is_dir():
            say(f"what is done is kept: distill(..., directory={str(place)!r}) goes on from there")
        elif temporary:
            shutil.rmtree(place, ignore_errors=True)
        raise
    if temporary:
        shutil.rmtree(place, ignore_errors=True)
    return classifier


def _run(directory: Path, teacher: Any, parts: dict[str, Any], given_settings: dict[str, Any]) -> Run:
    """A run of the settings and of the texts given, which are written to ``directory/given`` unless they are files."""
    directory.mkdir(parents=True, exist_ok=True)
    named: dict[str, Any] = {"teacher": ""}
    function: Any = None
    scores: dict[str, Any] = {}
    heads, taught = given_settings.get("heads"), teacher is not None
    if heads and teacher is not None:
        raise SettingsError("each head has its own teacher: give heads={'NAME': {'teacher': ...}}, and no other")
    if isinstance(heads, Mapping):
        tables = {name: head for name, head in heads.items() if isinstance(head, Mapping)}
        taught = taught or any(head.get("teacher") for head in tables.values())
        function = {name: head["teacher"] for name, head in tables.items() if callable(head.get("teacher"))}
        named_heads = {
            name: {**head, "teacher": name_of(function[name])} if name in function else head
            for name, head in heads.items()
        }
        given_settings = {**given_settings, "heads": named_heads}
    if isinstance(teacher, str | os.PathLike):
        named["teacher"] = os.fspath(teacher)
    elif callable(teacher):
        function = teacher
    elif teacher is not None:
        scores = dict(teacher) if isinstance(teacher, Mapping) else {"corpus": teacher}
        named["teacher"] = f"column:{_SCORES}"
        if unknown := set(scores) - {"corpus", "train"}:
            raise SettingsError(f"scores of {', '.join(sorted(unknown))}: give those of corpus, of train, or of both")
    if not taught:
        named["modes"] = ["scratch"]
    settings = Settings.of(**{**named, **given_settings})
    if teacher is None and parts["corpus"] is not None and not settings.needs_teacher:
        raise SettingsError(UNUSED_CORPUS)  # before it is written
    if pairs := [name for name, value in parts.items() if settings.heads and isinstance(value, tuple)]:
        raise SettingsError(
            f"{pairs[0]} is (texts, labels), which are of one head: give a table with the heads' columns"
        )
    optional = [name for head in settings.heads.values() for name in (*head.label, head.column) if name]
    data = settings.data
    columns = given.Columns(data.text, data.label, data.pair, data.weight, tuple(dict.fromkeys(optional)))
    sources: dict[str, Any] = {}
    for name, value in parts.items():
        if value is None and name in scores:
            raise SettingsError(f"there are scores of {name}, but no texts: give {name}")
        if value is not None:
            beside = {_SCORES: scores[name]} if name in scores else {}
            path = directory / "given" / f"{name}.parquet"
            sources[name] = tuple(given.sources(value, path, columns, name, beside))
    settings = dataclasses.replace(settings, data=dataclasses.replace(settings.data, **sources))
    return Run(directory, settings, function)
