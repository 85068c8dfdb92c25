"""Students that are each asked about texts they were not trained on: what labels alone say of train, out of fold."""

from __future__ import annotations

import dataclasses
import shutil
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from .. import _core
from ..data import pairs
from ..options import Distill
from ..progress import Progress
from ..student.dataset import Batch, InMemory
from ..student.vocabulary import Vocabulary
from . import train

if TYPE_CHECKING:
    from ..run import Run

FOLDS, REPEATS = 5, 3
_UNIT = "distill.scratch"


def out_of_fold(run: Run, folds: int = FOLDS, repeats: int = REPEATS, threads: int = 0) -> np.ndarray:
    """Logits (n, outputs) of the texts of train, float32, by students of the gold labels of the other folds.

    Each student has the default settings of one without a teacher. Equal texts are in one fold, and a label has about
    as many texts in each. With other folds and another seed all is done ``repeats`` times, and the mean is taken: what
    a single student says of a text depends on the others by chance. Nothing is written to the run directory.
    """
    labelled = run.inputs.part("train")
    result = np.zeros((len(labelled.texts), run.task.outputs(labelled.labels)), np.float64)
    with tempfile.TemporaryDirectory() as directory, Progress("out of fold", folds * repeats, "students") as bar:
        first = _of_gold(run, directory, run.settings.student_seed)
        threads = first.threads(threads)
        vocabulary = _vocabulary(first, labelled.texts, threads)
        targets = first.task.gold_targets(labelled.targets, len(labelled.labels))
        whole = Batch(*first.bags(vocabulary, labelled.texts, threads), targets, run.inputs.gold_weights)
        for seed in range(run.settings.student_seed, run.settings.student_seed + repeats):
            fold = fold_of(labelled.texts, labelled.targets, folds, seed)
            for i in range(folds):
                own = _of_gold(run, Path(directory) / f"{seed}.{i}", seed)
                student = train.new_student(own, "scratch", len(vocabulary))
                blocks = InMemory(whole.take(np.flatnonzero(fold != i)))
                train.fit(own, student, blocks, own.student("scratch"), vocabulary, _UNIT, threads)
                asked = np.flatnonzero(fold == i)
                held_out = whole.take(asked)
                result[asked] += student.logits(held_out.ids, held_out.offsets, threads)
                shutil.rmtree(own.directory)
                bar.add()
    mean: np.ndarray = (result / repeats).astype(np.float32)
    return mean


def _of_gold(run: Run, directory: str | Path, seed: int) -> Run:
    """A run on the same texts, of a student from gold labels alone."""
    settings = dataclasses.replace(
        run.settings,
        teach=dataclasses.replace(run.settings.teach, teacher=""),
        distill=Distill(modes=("scratch",), unknown_words=0.0, student_seed=seed),
        heads={name: dataclasses.replace(head, teacher="") for name, head in run.settings.heads.items()},
    )
    own = type(run)(directory, settings)
    own.__dict__["inputs"] = run.inputs  # the texts are prepared
    return own


def fold_of(texts: list[str], targets: np.ndarray, folds: int, seed: int) -> np.ndarray:
    """The fold of each text, int64 (n,): at random, equal texts in the same one, and of single labels a label's texts
    dealt out evenly.
    """
    _, first, group = np.unique(_core.fingerprints(texts, 1), return_index=True, return_inverse=True)
    strata = targets[first] if targets.ndim == 1 and targets.dtype.kind == "i" else np.zeros(len(first))
    order = np.lexsort((np.random.default_rng(seed).random(len(first)), strata))
    dealt = np.empty(len(first), np.int64)
    dealt[order] = np.arange(len(first)) % folds
    return dealt[group]


def _vocabulary(run: Run, texts: list[str], threads: int) -> Vocabulary:
    """The n-grams of train."""
    settings: dict[str, Any] = dataclasses.asdict(run.counting("train")[0])
    del settings["hashed"]
    given = pairs.halves(texts) if run.are_pairs else texts
    return Vocabulary.count((), [given], **settings, directory=run.directory, threads=threads)
