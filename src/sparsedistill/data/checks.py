"""What is said of train and dev before anything is learnt: classes without texts, and heads without targets."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from ..errors import DataError
from ..progress import say
from ..settings import Settings
from .decontaminate import examples, label_counts
from .files import several
from .heads import own_parts, without_targets
from .labelled import Labelled


def warn_of_one_class(dev: Labelled, settings: Settings) -> None:
    """Warn where all texts of dev are of one class, or of a head none has a target."""
    for head, part in own_parts(dev):
        if head and not part.texts and not settings.heads[head].teacher:
            say(
                f"warning: dev has no text with a target of head {head!r}: no figure tells how good it is, give --dev "
                "texts that have one"
            )
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
        if head and not part.texts and not settings.heads[head].teacher:
            raise without_targets(head, settings.heads[head], "train")
        if part.texts and len(counts) and np.count_nonzero(counts) < 2:
            before = zip(part.labels, label_counts(all_of[head]), strict=True)
            raise DataError(
                f"train has texts of one class only{of}, {part.labels[counts.argmax()]!r} ({counts.max():,}), and "
                "nothing can be learnt from it: add texts of another class that are not in dev or test (with "
                f"these: {', '.join(f'{label!r} {count:,}' for label, count in before):.300})"
            )


def refuse_untaught(settings: Settings, facts: Mapping[str, Any]) -> None:
    """Errors: :class:`DataError` for a head that a student of one of the modes would learn nothing of.

    ``facts``: of the prepared texts (:mod:`sparsedistill.data.texts`).
    """
    for name, head in settings.heads.items():
        gold = facts.get("train", {}).get("targets", {}).get(name, 0) > 0
        scored = bool(head.teacher) and (not head.column or name in facts["scored"])
        for mode in settings.distill.modes:
            if {"scratch": gold, "kd_private": scored}.get(mode, gold or scored):
                continue
            lacks = f"its teacher is column {head.column!r}, but no text of corpus or train has a score there"
            if not head.teacher:
                lacks = "it has no teacher" + (" and no text of train a target" if mode == "kd" else "")
            elif mode == "scratch":
                lacks = "no text of train has a target of it"
            raise DataError(
                f"head {name!r} would learn nothing in mode {mode}: {lacks}; name the right column or a teacher in "
                f"[heads.{name}], leave the head out, or take other --modes"
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
