"""Train/test decontamination: what is learnt from has no text that figures are measured on.

Texts are compared by the fingerprints of their letters and digits, so that neither case nor punctuation hides one.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from .. import _core
from ..errors import DataError
from ..machine import default_threads
from ..progress import say
from . import files, pairs
from .labelled import Labelled

MANY = 0.1  # of a part or the corpus: more than that is not left out without a warning
ASIDE = "case and punctuation aside"  # what the fingerprints of texts leave out


def fingerprints_of(part: Labelled | None) -> np.ndarray:
    """Sorted, of the letters and digits of a part's texts."""
    if part is None:
        return np.zeros(0, np.uint64)
    return np.unique(_core.fingerprints(part.texts, default_threads()))


def among(fingerprints: np.ndarray, blocked: np.ndarray) -> np.ndarray:
    """Which fingerprints are among the sorted ``blocked``: bool (n,)."""
    if not len(blocked):
        return np.zeros(len(fingerprints), bool)
    result: np.ndarray = blocked[np.minimum(np.searchsorted(blocked, fingerprints), len(blocked) - 1)] == fingerprints
    return result


def without(part: Labelled, other: Labelled | None, name: str, others: str) -> Labelled:
    """``part`` without the texts of ``other``; says how many those are.

    Errors: :class:`DataError` where no text is left, or none of a class that had some.
    """
    fingerprints = _core.fingerprints(part.texts, default_threads())
    out = among(fingerprints, fingerprints_of(other))
    if not out.any():
        return part
    keep = select(part, ~out)
    gone = [part.texts[i] for i in np.flatnonzero(out)]
    remedy = f"take them out of {others}" + (f", or give {name} others of {{}}" if name == "train" else "")
    if out.all():
        raise DataError(
            f"no text of {name} is left: all of them ({len(gone):,}) are texts of {others} ({ASIDE}), such as "
            f"{examples(gone, fingerprints[out])}; {remedy.format('its own')}"
        )
    if name == "train" and (part.targets.ndim == 2 or part.targets.dtype.kind == "i"):
        before, after = label_counts(part), label_counts(keep)
        if len(lost := np.flatnonzero((before > 0) & (after == 0))):
            of = part.targets == lost[0] if part.targets.ndim == 1 else part.targets[:, lost[0]] > 0.5
            names = [f"{part.labels[i]!r} ({before[i]:,})" for i in lost]
            raise DataError(
                f"no text of {files.several(names)} is left in {name}: all of them are texts of {others} ({ASIDE}), "
                f"such as {examples([part.texts[i] for i in np.flatnonzero(of)], fingerprints[of])}; "
                f"{remedy.format('the class')}"
            )
    say_dropped(name, len(gone), len(part.texts), others, examples(gone, fingerprints[out]))
    return keep


def say_dropped(name: str, dropped: int, total: int, others: str, shown: str) -> None:
    """Say how many texts of a part were left out, such as those ``shown``; warn where they are many."""
    message = f"{name}: {dropped:,} texts are in {others} ({ASIDE}) and were left out"
    if dropped > MANY * total:
        message = (
            f"warning: {name}: {dropped:,} of {total:,} texts ({dropped / total:.1%}) are in {others} ({ASIDE}) and "
            f"were left out, such as {shown}: nothing is learnt from them, take what is to be learnt out of {others}"
        )
    say(message)


def examples(texts: Sequence[str], fingerprints: np.ndarray | None = None) -> str:
    """The three most frequent texts, cut short, with how often each is there (by fingerprint, where that is known)."""
    fingerprints = _core.fingerprints(texts, default_threads()) if fingerprints is None else fingerprints
    _, first, counts = np.unique(fingerprints, return_index=True, return_counts=True)
    return ", ".join(example(texts[first[i]], int(counts[i])) for i in np.argsort(-counts, kind="stable")[:3])


def example(text: str, count: int) -> str:
    """A text, cut short, with how often it is there."""
    text = text.replace(pairs.SEPARATOR, " | ")
    text = text if len(text) <= 40 else text[:39] + "\u2026"
    return f"{text!r}" + (f" ({count:,} times)" if count > 1 else "")


def label_counts(part: Labelled) -> np.ndarray:
    """Texts of each class, or that have each label; 0 of an output that is a score."""
    if part.several is not None:
        counts: np.ndarray = (part.targets > 0.5).sum(axis=0)
        counts[list(part.several.scores)] = 0
        return counts
    if part.targets.ndim == 2:
        result: np.ndarray = (part.targets > 0.5).sum(axis=0)
        return result
    return np.bincount(part.targets, minlength=len(part.labels))


def select(part: Labelled, keep: np.ndarray) -> Labelled:
    """The texts of a part where ``keep``, bool (n,), is true."""
    where = np.flatnonzero(keep)
    return Labelled(
        [part.texts[i] for i in where],
        part.targets[keep],
        part.labels,
        {name: [values[i] for i in where] for name, values in part.extra.items()},
        part.places.take(where),
        several=part.several,
    )
