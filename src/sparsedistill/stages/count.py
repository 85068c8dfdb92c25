"""Count n-grams: the vocabulary of each student."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator
from functools import partial
from typing import TYPE_CHECKING, Any

from .. import _core
from ..progress import Progress
from ..student.vocabulary import Vocabulary
from ..text import TextRules
from .keys import keyed

if TYPE_CHECKING:
    from ..run import Run

HELP = "count n-grams: the vocabulary"


def inputs(run: Run, name: str) -> dict[str, Any]:
    """What the vocabulary of ``corpus``, ``train`` or both (``all``) depends on."""
    texts = {part: run.texts_of(part) for part in _parts(name)}
    return {"count": keyed(run.settings.count), "unicode": _core.unicode_version, **texts}


def execute(run: Run) -> None:
    """Count n-grams, of exactly the texts a student learns from."""
    for name in sorted({run.settings.vocabulary_of(mode) for mode in run.settings.distill.modes}):
        _count(run, name)


def vocabulary_of(run: Run, student: str) -> Vocabulary:
    """The vocabulary of a student, counted."""
    name = run.settings.vocabulary_of("kd" if student == "kd_ft" else student)
    run.result_of(f"count.{name}")
    return Vocabulary.load(run.directory / "vocabulary" / name)


def _parts(name: str) -> tuple[str, ...]:
    return ("corpus", "train") if name == "all" else (name,)


def _count(run: Run, name: str) -> None:
    directory, settings = run.directory / "vocabulary" / name, run.settings.count

    def work() -> dict[str, Any]:
        if settings.hashed:
            rules = {field.name: getattr(settings, field.name) for field in dataclasses.fields(TextRules)}
            Vocabulary.hash(settings.size, **rules).save(directory)
            return {"rows": settings.size}
        # Each text is read twice: to count, and to spell what was chosen.
        total = 2 * sum(run.data[part]["texts"] for part in _parts(name)) << run.are_pairs
        with Progress(f"count {name}", total) as bar:

            def batches(part: str) -> Iterator[Any]:
                for texts in run.inputs.arrays(part):
                    yield texts
                    bar.add(len(texts))

            corpus, train = (
                _Restarting(partial(batches, part)) if part in _parts(name) else () for part in ("corpus", "train")
            )
            asked = dataclasses.asdict(settings)
            del asked["hashed"]
            vocabulary = Vocabulary.count(
                corpus, train, **asked, directory=run.directory, threads=run.settings.distill.threads
            )
        vocabulary.save(directory)
        return {"ngrams": len(vocabulary), "least_count": int(vocabulary.counts.min())}

    run.once(f"count.{name}", [directory / "vocabulary.json"], work)


@dataclasses.dataclass(frozen=True)
class _Restarting:
    """What ``begin`` gives, from its start each time it is gone through."""

    begin: Callable[[], Iterator[Any]]

    def __iter__(self) -> Iterator[Any]:
        return self.begin()
