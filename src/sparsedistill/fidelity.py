"""Where student and teacher part: the classifier's fidelity to the teacher within slices of a run's texts."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from .classifier import Classifier
from .coverage import ngram_counts
from .data.records import reader_of
from .errors import SettingsError
from .heads import Head
from .intervals import wilson
from .progress import Progress
from .slices import OTHERS, slices_of
from .tasks import TASKS
from .teacher.logits import Logits

if TYPE_CHECKING:
    from .run import Run

PARTS = ("test", "dev", "corpus", "train")  # the first that the teacher has labelled is the default
_COVERAGE = (0.5, 0.7, 0.8, 0.9, 0.95)  # where slices end
_LENGTHS = 5  # slices of about as many texts each
_Z = 1.959964  # of a 95 % interval


def fidelity(run: Run, part: str = "", columns: Sequence[str] = (), threads: int = 0) -> dict[str, Any]:
    """How often the run's classifier decides as its teacher, overall and within slices of a part.

    ``part``: "test", "dev", "corpus" or "train", as far as the teacher's logits of it are in the run directory; "" is
    the first of these. The student was trained on corpus and train: there it is more faithful than on new texts.
    Slices are by ``length`` in tokens, by ``coverage`` (:func:`sparsedistill.coverage.coverage`), by ``file`` where
    there are several files, by ``columns`` of these, and by the ``predicted`` label; those of fewer than 30 texts are
    "(others)".

    The result has ``part``, and by head (one without a name: "") ``texts``, ``fidelity`` and ``slices``: by what they
    are by, a list of ``slice``, ``texts``, ``fidelity`` with the ends of its 95 % interval ``low`` and ``high``
    (Wilson 1927), and ``share``: of all disagreements. Of several labels a text fidelity is the share of texts with all
    of them the same; of scores it is ``distance``, the mean absolute difference, without an interval.

    Errors: :class:`SettingsError` for a part without the teacher's logits; :class:`DataError` for a column that is not
    there.
    """
    there = [name for name in PARTS if (run.directory / "logits" / name / "manifest.json").is_file()]
    if not there or (part and part not in there):
        raise SettingsError(
            f"{run.directory} has no teacher's logits of {part or 'any part'}"
            + f": take {', '.join(there)}" * bool(there)
        )
    part = part or there[0]
    classifier = Classifier.load(run.directory / "classifier")
    found = _Compared(run, classifier, part, columns, threads)
    shared = {
        "length": _bands(np.array(found.tokens), None),
        "coverage": [] if classifier._hashed else _bands(np.array(found.coverage), _COVERAGE),
        "file": found.files if len(set(found.files)) > 1 else [],
        **{f"column {name}": values for name, values in found.columns.items()},
    }
    heads = {
        name: _of_head(np.concatenate(one), {**shared, "predicted": found.predicted[name]}, bool(found.predicted[name]))
        for name, one in found.apart.items()
        if not all(np.isnan(some).all() for some in one)  # a head may have no teacher
    }
    return {"part": part, "heads": heads}


class _Compared:
    """Of each text of a part what it is sliced by; and by head how far student and teacher part, and what the student
    predicts (of scores nothing).
    """

    def __init__(self, run: Run, classifier: Classifier, part: str, columns: Sequence[str], threads: int):
        self.tokens: list[float] = []
        self.coverage: list[float] = []
        self.files: list[str] = []
        self.columns: dict[str, list[Any]] = {name: [] for name in columns}
        self.apart: dict[str, list[np.ndarray]] = {head.name: [] for head in classifier.heads}
        self.predicted: dict[str, list[Any]] = {head.name: [] for head in classifier.heads}
        logits, values, begin = Logits.load(run.directory / "logits" / part), _columns(run, part, columns), 0
        with Progress(f"compare on {part}", len(logits)) as bar:
            for texts, _, places in run.inputs.placed(part):
                asked, end = run.for_classifier(texts), begin + len(texts)
                own, of_teacher = classifier._logits(asked, threads, "error"), logits.rows(begin, end)
                known, every = ngram_counts(classifier, asked, 1, threads)
                self.tokens += every[:, 0].tolist()
                self.coverage += (known[:, 0] / np.maximum(every[:, 0], 1)).tolist()
                for place in map(places.where, range(len(texts))):
                    self.files.append(place[0])
                    for name, column in self.columns.items():
                        column.append(values[name].get(place))
                for head in classifier.heads:
                    mine, theirs = own[:, head.outputs], of_teacher[:, head.outputs]
                    self.apart[head.name].append(_apart(head, mine, theirs))
                    if head.task != "regression":
                        self.predicted[head.name] += head.decide(mine)
                begin = end
                bar.add(len(texts))


def _apart(head: Head, own: np.ndarray, of_teacher: np.ndarray) -> np.ndarray:
    """How far student and teacher part, float64 (n,): 0 or 1, of scores their difference; NaN without a teacher."""
    task = TASKS[head.task]
    if head.task == "regression":
        found = np.abs(head.scores(own) - of_teacher[:, 0])
    else:
        mine = task.decisions(own) if head.task == "single" else head.probabilities(own) >= head.thresholds
        same = mine == task.decisions(of_teacher)
        found = 1.0 - (same if same.ndim == 1 else same.all(axis=1))
    result: np.ndarray = np.where(np.isnan(of_teacher).any(axis=1), np.nan, found)
    return result


def _bands(numbers: np.ndarray, ends: Sequence[float] | None) -> list[str]:
    """The slice of each number: those up to each of the ends, by default quantiles."""
    if ends is None:
        ends = np.unique(np.quantile(numbers, np.arange(1, _LENGTHS) / _LENGTHS, method="lower")).tolist()
    place = np.searchsorted(ends, numbers)
    names = [f"to {ends[0]:g}", *(f"to {b:g}" for b in ends[1:]), f"over {ends[-1]:g}"]
    return [names[i] for i in place.tolist()]


def _of_head(apart: np.ndarray, by: dict[str, list[Any]], of_labels: bool) -> dict[str, Any]:
    there = ~np.isnan(apart)
    name, total = ("fidelity" if of_labels else "distance"), float(apart[there].sum())
    result: dict[str, Any] = {"texts": int(there.sum()), name: _figure(apart[there], of_labels), "slices": {}}
    for what, values in by.items():
        if not values:
            continue
        slices = slices_of([", ".join(v) or "(no label)" if isinstance(v, list) else v for v in values])
        rows = []
        for i, one in enumerate(slices.names):
            inside = apart[there & (slices.place == i)]
            if not len(inside):
                continue
            figure = _figure(inside, of_labels)
            row: dict[str, Any] = {"slice": one, "texts": len(inside), name: figure}
            if of_labels:
                row["low"], row["high"] = map(float, wilson(figure, len(inside), _Z))
            rows.append({**row, "share": float(inside.sum()) / total if total else 0.0})
        if what in ("length", "coverage"):
            rows.sort(key=lambda row: _order(row["slice"]))
        result["slices"][what] = rows
    return result


def _order(band: str) -> tuple[int, float]:
    """Where a slice of :func:`_bands` stands among the others."""
    if band == OTHERS:
        return 2, 0.0
    return int(band.startswith("over")), float(band.split()[-1])


def _figure(apart: np.ndarray, of_labels: bool) -> float:
    mean = float(apart.mean()) if len(apart) else 0.0
    return 1 - mean if of_labels else mean


def _columns(run: Run, part: str, columns: Sequence[str]) -> dict[str, dict[tuple[str, int], Any]]:
    """Values of columns of the files of a part, by file and row."""
    found: dict[str, dict[tuple[str, int], Any]] = {name: {} for name in columns}
    data = run.settings.data
    if not columns:
        return found
    # Dev is a part of train where no files are named, of the corpus where there is no train.
    sources = getattr(data, part) or (data.train or data.corpus if part == "dev" else ())
    for batch in reader_of(sources, data, columns, "--slice"):
        for name in columns:
            found[name].update(zip(((batch.source, row) for row in batch.rows), batch.named(name), strict=True))
    return found
