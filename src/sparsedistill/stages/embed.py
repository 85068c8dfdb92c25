"""The teacher's embedding of each n-gram, which the table may be initialised with."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

import numpy as np

from ..student.vocabulary import Vocabulary
from ..teacher.logits import Logits
from ..teacher.logits import label as write_shards
from .keys import digest
from .teach import teacher_inputs

if TYPE_CHECKING:
    from ..run import Run


def inputs(run: Run, name: str) -> dict[str, Any]:
    """What the embeddings of a vocabulary depend on."""
    return {"teacher": teacher_inputs(run), "vocabulary": run.key(f"count.{name}")}


def embed(run: Run, name: str, vocabulary: Vocabulary) -> Callable[[], Iterator[tuple[int, np.ndarray]]]:
    """The embeddings of a vocabulary's n-grams, made in shards: (first row, float32 (n, h)).

    Those of characters are embedded without the blanks that mark them and the borders of words.
    """
    directory = run.directory / "embeddings" / name

    def work() -> dict[str, Any]:
        size = run.settings.label.shard_size
        batches = ([vocabulary[i].strip(" ") for i in range(b, min(b + size, len(vocabulary)))]
                   for b in range(0, len(vocabulary), size))  # fmt: skip
        fingerprint = digest(run.inputs_of(f"embed.{name}"))
        write_shards(
            run.teacher.embed, batches, directory, teacher=f"{run.teacher.name} {fingerprint[:12]}",
            classes=run.teacher.width, shard_size=size, total=len(vocabulary), what=f"embed {name}",
        )  # fmt: skip
        return {"ngrams": len(vocabulary), "width": run.teacher.width}

    run.once(f"embed.{name}", [directory / "manifest.json"], work)
    return Logits.load(directory).shards
