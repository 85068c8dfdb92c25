"""What is said of train and dev before anything is learnt: classes without texts, and heads without targets."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from ..errors import DataError
from ..progress import say
from ..settings import Settings
from ..several import Several
from .decontaminate import examples, label_counts
from .files import several
from .heads import own_parts
from .labelled import Labelled


def warn_of_one_class(dev: Labelled, settings: Settings) -> None:
    """Warn where all texts of dev are of one class."""
    for head, part in own_parts(dev):
        if settings.task_of(head) == "single" and np.count_nonzero(counts := label_counts(part)) == 1:
            say(
                f"warning: dev has texts of one class only{f' of head {head!r}' * bool(head)}, "
                f"{part.labels[counts.argmax()]!r} ({counts.max():,}): it tells nothing of the others, give --dev "
                "texts of every class"
            )


def refuse_one_class(train: Labelled, whole: Labelled, settings: Settings) -> None:
    """Errors: :class:`DataError` where all texts of train are of one class, or a head has neither targets nor teacher.

    ``whole``: train as it was read.
    """
    all_of = dict(own_parts(whole))
    for head, part in own_parts(train):
        of = f" of head {head!r}" * bool(head)
        counts = label_counts(part) if settings.task_of(head) == "single" else np.zeros(0)
        if head and not part.texts and not (settings.needs_teacher and settings.heads[head].teacher):
            raise DataError(
                f"no text of train has a target{of} (column {', '.join(settings.heads[head].label)}), and it "
                "has no teacher to learn from: name the right column with label, give files that have it, or leave "
                "the head out"
            )
        if part.texts and len(counts) and np.count_nonzero(counts) < 2:
            before = zip(part.labels, label_counts(all_of[head]), strict=True)
            raise DataError(
                f"train has texts of one class only{of}, {part.labels[counts.argmax()]!r} ({counts.max():,}), and "
                "nothing can be learnt from it: add texts of another class that are not in dev or test (with "
                f"these: {', '.join(f'{label!r} {count:,}' for label, count in before):.300})"
            )


def refuse_unscored(task: Several, columns: Mapping[str, str], scored: set[str], train: Labelled | None) -> None:
    """Errors: :class:`DataError` for a head that no text has a score or a target of, though a column is its teacher."""
    for head in task.heads:
        gold = train is not None and head.there(train.targets).any()
        if head.name in columns and head.name not in scored and not gold:
            raise DataError(
                f"head {head.name!r}: its teacher is column {columns[head.name]!r}, but no text of corpus or train has "
                f"a score there: name the right column in [heads.{head.name}], or leave the head out"
            )


def say_what_dev_lacks(train: Labelled, dev: Labelled, copied: list[str], settings: Settings) -> None:
    """Warn of texts of dev that are in train, too, and of classes that an automatic dev set has no text of."""
    if copied:
        say(
            f"warning: dev: {len(copied):,} of the {len(dev.texts):,} texts held out stay in train, too, for "
            f"nothing else could be held out of their class ({examples(copied)}): figures on "
            "them are those of texts that were learnt, give --dev"
        )
    if settings.task != "regression":
        counts, there = label_counts(train), label_counts(dev)
        lacks = [f"{train.labels[i]!r} ({counts[i]:,})" for i in np.flatnonzero((counts > 0) & (there == 0))]
        if lacks:
            say(
                f"warning: dev: no text could be held out of {several(lacks)}, which "
                f"{'have' if len(lacks) > 1 else 'has'} too few different texts for a share of "
                f"{settings.data.dev_fraction:g}: figures on dev tell nothing of "
                f"{'them' if len(lacks) > 1 else 'it'}, give --dev or a larger --dev-fraction"
            )
