"""Students that are each asked about texts they were not trained on: what labels alone say of train, out of fold."""

from __future__ import annotations

import dataclasses
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

FOLDS = 5
_UNIT = "distill.scratch"


def out_of_fold(run: Run, folds: int = FOLDS, threads: int = 0) -> np.ndarray:
    """Logits (n, outputs) of the texts of train, float32, by students of the gold labels of the other folds.

    Each of ``folds`` students has the default settings of one without a teacher, and the seed of the run. Equal texts
    are in one fold, and a label has about as many texts in each. Nothing is written to the run directory.
    """
    of_gold = dataclasses.replace(
        run.settings,
        teach=dataclasses.replace(run.settings.teach, teacher=""),
        distill=Distill(modes=("scratch",), unknown_words=0.0, student_seed=run.settings.distill.student_seed),
        heads={name: dataclasses.replace(head, teacher="") for name, head in run.settings.heads.items()},
    )
    labelled = run.inputs.part("train")
    with tempfile.TemporaryDirectory() as directory, Progress("out of fold", folds, "folds") as bar:
        own = type(run)(directory, of_gold)
        own.__dict__["inputs"] = run.inputs  # the texts are prepared
        threads = own.threads(threads)
        vocabulary = _vocabulary(own, labelled.texts, threads)
        targets = own.task.gold_targets(labelled.targets, len(labelled.labels))
        whole = Batch(*own.bags(vocabulary, labelled.texts, threads), targets, own.inputs.gold_weights)
        fold = fold_of(labelled.texts, labelled.targets, folds, own.settings.student_seed)
        result = np.zeros((len(whole), own.task.outputs(labelled.labels)), np.float32)
        for i in range(folds):
            asked = np.flatnonzero(fold == i)
            own.directory = Path(directory) / str(i)
            student = train.new_student(own, "scratch", len(vocabulary))
            blocks = InMemory(whole.take(np.flatnonzero(fold != i)))
            train.fit(own, student, blocks, own.student("scratch"), vocabulary, _UNIT, threads)
            held_out = whole.take(asked)
            result[asked] = student.logits(held_out.ids, held_out.offsets, threads)
            bar.add()
    return result


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
