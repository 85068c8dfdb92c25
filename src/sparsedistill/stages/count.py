"""Count n-grams: the vocabulary of each student."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator
from functools import partial
from typing import TYPE_CHECKING, Any

from .. import _core
from ..data import pairs
from ..options import Count
from ..presets import TextFacts, count_settings, is_open
from ..progress import Progress, say
from ..settings import mode_of
from ..student.vocabulary import Vocabulary
from ..text import TextRules
from .keys import keyed

if TYPE_CHECKING:
    from ..run import Run

HELP = "count n-grams: the vocabulary"
SAMPLE = 20_000  # texts that what is left open is chosen by


def inputs(run: Run, name: str) -> dict[str, Any]:
    """What the vocabulary of ``corpus``, ``train`` or both (``all``) depends on."""
    texts = {part: run.texts_of(part) for part in _parts(name)}
    return {"count": keyed(run.counting(name)[0]), "unicode": _core.unicode_version, **texts}


def execute(run: Run) -> None:
    """Count n-grams, of exactly the texts a student learns from."""
    for name in sorted({run.settings.vocabulary_of(mode) for mode in run.settings.distill.modes}):
        _count(run, name)


def vocabulary_of(run: Run, student: str) -> Vocabulary:
    """The vocabulary of a student, counted."""
    name = run.settings.vocabulary_of(mode_of(student))
    run.result_of(f"count.{name}")
    return Vocabulary.load(run.directory / "vocabulary" / name)


def settings_of(run: Run, name: str) -> tuple[Count, str]:
    """The settings of counting with nothing left open in them, and why: what is open is chosen by a sample."""
    settings = run.settings.count
    facts = TextFacts.of(_sample(run, name) if is_open(settings) else ())
    alone = run.are_pairs and set(run.settings.distill.modes) == {"scratch"}
    return count_settings(settings, facts, alone)


def _sample(run: Run, name: str) -> Iterator[list[str]]:
    """The tokens of the first texts, at most :data:`SAMPLE`; those of a pair are two texts."""
    settings, left = run.settings.count, SAMPLE
    rules = TextRules(settings.tokenizer, settings.lowercase, settings.normalize, deobfuscate=settings.deobfuscate)
    for part in _parts(name):
        for texts in run.inputs.texts(part):
            some = (pairs.halves(texts) if run.are_pairs else texts)[:left]
            yield from _core.tokenize(some, **rules.of_tokens())
            left -= len(some)
            if not left:
                return


def _parts(name: str) -> tuple[str, ...]:
    return ("corpus", "train") if name == "all" else (name,)


def _count(run: Run, name: str) -> None:
    directory, (settings, why) = run.directory / "vocabulary" / name, run.counting(name)

    def work() -> dict[str, Any]:
        if why:
            say(f"count {name}: {why}")
        if settings.hashed:
            rules = {field.name: getattr(settings, field.name) for field in dataclasses.fields(TextRules)}
            Vocabulary.hash(settings.size, **rules).save(directory)
            return {"rows": settings.size, "chosen": why}
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
        return {"ngrams": len(vocabulary), "least_count": int(vocabulary.counts.min()), "chosen": why}

    run.once(f"count.{name}", [directory / "vocabulary.json"], work)


@dataclasses.dataclass(frozen=True)
class _Restarting:
    """What ``begin`` gives, from its start each time it is gone through."""

    begin: Callable[[], Iterator[Any]]

    def __iter__(self) -> Iterator[Any]:
        return self.begin()
