"""Teacher logits of each text: shards, beside a manifest that knows the texts they belong to."""

from __future__ import annotations

import dataclasses
import json
import os
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from ..data import pairs
from ..data.records import fingerprint
from ..errors import DataError, RowError
from ..format import replacing, write_json
from ..progress import Progress, say

_MANIFEST = "manifest.json"


@dataclass(frozen=True)
class Manifest:
    """What ``manifest.json`` holds; ``shards`` are ``{"file", "texts", "fingerprint"}`` in the order of the texts."""

    teacher: str
    classes: int
    shard_size: int
    texts: int = 0
    dtype: str = "float32"  # or float64, for scores whose differences float32 might lose
    shards: list[dict[str, Any]] = field(default_factory=list)
    complete: bool = False


def label(
    score: Callable[[list[str]], np.ndarray],
    batches: Iterable[list[str]],
    directory: str | os.PathLike[str],
    *,
    teacher: str,
    classes: int,
    shard_size: int,
    total: int | None = None,
    what: str = "label",
    place: Callable[[int], str] | None = None,
    dtype: str = "float32",
    partial: bool = False,
    skipped: Callable[[int], object] = lambda texts: None,
) -> Logits:
    """Score a stream of texts into ``directory``, shard by shard, going on where an earlier run stopped.

    ``score`` gets one shard of at most ``shard_size`` texts and gives ``(n, classes)`` numbers, kept as ``dtype``.
    ``batches`` may have any sizes; ``total`` (texts) is for the progress bar alone; ``place`` gives, of a text of the
    shard being scored, where it stands, by its number among all (from 0). ``partial``: scores may be missing (NaN).
    ``skipped`` is told of how many texts a shard has that is not scored again. A shard is not scored again
    when its texts have the recorded fingerprint and its file is whole; another ``teacher``, ``classes`` or
    ``shard_size`` starts over.

    Errors: :class:`DataError` when the scores have the wrong shape or are not finite; finished shards stay.
    """
    place = place or (lambda i: f"text {i + 1:,} of the corpus")
    fresh = Manifest(teacher=teacher, classes=classes, shard_size=shard_size, dtype=dtype)
    shards = _Shards(Path(directory), fresh)
    position = 0
    index = -1
    with Progress(what, total, done=shards.finished) as progress:
        for index, texts in enumerate(_cut(batches, shard_size)):
            entry = {"file": _file(index), "texts": len(texts), "fingerprint": fingerprint(texts)}
            if not shards.has(entry):
                progress.done -= shards.forget(entry)
                try:
                    values = _checked(score(texts), texts, classes, teacher, dtype, partial)
                except RowError as error:
                    text = texts[error.row].replace(pairs.SEPARATOR, " | ")
                    raise DataError(
                        f"{place(position + error.row)} ({text[:60]!r}): {error.where} gives {error.what}; "
                        "finished shards are kept"
                    ) from None
                except DataError:
                    raise
                except Exception:  # of the teacher itself: its own traceback says most
                    say(
                        f"{what}: {teacher} failed on the shard that begins at {place(position)}; finished shards are "
                        "kept"
                    )
                    raise
                shards.write(entry, values)
                progress.add(len(texts))
            else:
                skipped(len(texts))
            position += len(texts)
    shards.complete(index + 1, position)
    return Logits.load(directory)


class _Shards:
    """The shards of a directory while they are written; ``finished``: texts of those that are whole."""

    def __init__(self, directory: Path, fresh: Manifest):
        directory.mkdir(parents=True, exist_ok=True)
        self._directory, self._fresh = directory, fresh
        self._entries = _resumable(directory, fresh)
        self._whole = {
            entry["file"]
            for entry in self._entries
            if _whole(directory / entry["file"], entry["texts"], fresh.classes, fresh.dtype)
        }
        self.finished = sum(entry["texts"] for entry in self._entries if entry["file"] in self._whole)
        self._write_manifest()

    def has(self, entry: dict[str, Any]) -> bool:
        """Whether a shard of these texts is whole."""
        return entry["file"] in self._whole and self._entries[_number(entry)] == entry

    def forget(self, entry: dict[str, Any]) -> int:
        """Make room for a shard. Returns the texts of the whole one that stood there.

        The manifest must forget the old texts before their file is overwritten, or a run killed in between would leave
        the new scores under the old fingerprint.
        """
        index = _number(entry)
        if index >= len(self._entries):
            return 0
        old = self._entries[index]
        if old != entry:
            self._entries[index] = dict(entry, fingerprint="")
            self._write_manifest()
        return int(old["texts"]) if entry["file"] in self._whole else 0

    def write(self, entry: dict[str, Any], values: np.ndarray) -> None:
        """Write a shard: the next one, or in the place of an old one."""
        with replacing(self._directory / entry["file"]) as temporary, open(temporary, "wb") as file:
            np.save(file, values)
        index = _number(entry)
        self._entries[index : index + 1] = [entry]
        self._write_manifest()

    def complete(self, count: int, texts: int) -> None:
        """Record that ``count`` shards with ``texts`` texts are all there are, and remove other files."""
        del self._entries[count:]
        self._write_manifest(texts=texts, complete=True)
        keep = {entry["file"] for entry in self._entries}
        for path in [*self._directory.glob("[0-9]*.npy"), *self._directory.glob(".*.tmp")]:
            if path.name not in keep:
                path.unlink(missing_ok=True)

    def _write_manifest(self, **changes: Any) -> None:
        _write_manifest(self._directory, dataclasses.replace(self._fresh, shards=self._entries, **changes))


class Logits:
    """The finished logits of a corpus, read from disk when asked for."""

    def __init__(self, directory: Path, manifest: Manifest):
        self.directory, self.manifest = directory, manifest

    @classmethod
    def load(cls, directory: str | os.PathLike[str]) -> Logits:
        """Open ``directory``. Errors: :class:`DataError` when it is missing, incomplete or damaged."""
        directory = Path(directory)
        manifest = _read_manifest(directory)
        if manifest is None:
            raise DataError(f"{directory / _MANIFEST} is missing or damaged, run the label stage")
        if not manifest.complete:
            raise DataError(f"{directory} holds unfinished labelling, run the label stage again to finish it")
        for index, entry in enumerate(manifest.shards):
            # Only our own names: a foreign manifest must not point elsewhere.
            given = directory / entry["file"], entry["texts"], manifest.classes, manifest.dtype
            if entry["file"] != _file(index) or not _whole(*given):
                raise DataError(
                    f"{directory / _file(index)} is missing or damaged, run the label stage to score it again"
                )
        if sum(entry["texts"] for entry in manifest.shards) != manifest.texts:
            raise DataError(
                f"{directory / _MANIFEST} counts other texts than its shards hold, delete it and label again"
            )
        return cls(directory, manifest)

    def __len__(self) -> int:
        return self.manifest.texts

    def shards(self) -> Iterator[tuple[int, np.ndarray]]:
        """Index of a shard's first text and its memory-mapped ``(n, classes)``, shard by shard."""
        start = 0
        for entry in self.manifest.shards:
            yield start, np.load(self.directory / entry["file"], mmap_mode="r", allow_pickle=False)
            start += entry["texts"]

    def array(self) -> np.ndarray:
        """All logits in memory: ``(texts, classes)``, of the type they were kept as."""
        out = np.empty((len(self), self.manifest.classes), self.manifest.dtype)
        for start, values in self.shards():
            out[start : start + len(values)] = values
        return out

    def rows(self, begin: int, end: int) -> np.ndarray:
        """The logits of texts ``begin`` to ``end``, read from disk: ``(end - begin, classes)``."""
        size, parts = self.manifest.shard_size, []
        for index in range(begin // size, -(-end // size)):
            shard = np.load(self.directory / _file(index), mmap_mode="r", allow_pickle=False)
            parts.append(shard[max(0, begin - index * size) : end - index * size])
        return np.concatenate(parts) if parts else np.empty((0, self.manifest.classes), self.manifest.dtype)


def _file(index: int) -> str:
    return f"{index:05}.npy"


def _number(entry: dict[str, Any]) -> int:
    """The number of a shard among all, from 0."""
    return int(Path(entry["file"]).stem)


def _cut(batches: Iterable[list[str]], size: int) -> Iterator[list[str]]:
    held: list[str] = []
    for batch in batches:
        held.extend(batch)
        start = 0
        while len(held) - start >= size:
            yield held[start : start + size]
            start += size
        if start:
            held = held[start:]
    if held:
        yield held


def _checked(values: Any, texts: list[str], classes: int, teacher: str, dtype: str, partial: bool) -> np.ndarray:
    values = np.asarray(values)
    if values.shape != (len(texts), classes) or values.dtype.kind not in "fiu":
        raise DataError(
            f"the teacher {teacher} gave {values.dtype} scores of shape {values.shape} for {len(texts):,} texts, "
            f"it should give numbers of shape ({len(texts)}, {classes})"
        )
    with np.errstate(over="ignore"):
        narrow = values.astype(np.float32)
        bad = np.flatnonzero(~(np.isfinite(narrow) | (partial & np.isnan(narrow))).all(1))
    if len(bad):
        what = "a score that is not finite, leave the text out or mend the teacher"
        raise RowError(f"the teacher {teacher}", int(bad[0]), what)
    return np.ascontiguousarray(values, dtype)


def _whole(path: Path, texts: int, classes: int, dtype: str) -> bool:
    try:
        values = np.load(path, mmap_mode="r", allow_pickle=False)  # refuses a file shorter than its header says
    except (OSError, ValueError, EOFError):
        return False
    result: bool = values.shape == (texts, classes) and values.dtype == dtype
    return result


def _resumable(directory: Path, fresh: Manifest) -> list[dict[str, Any]]:
    """Entries of an earlier run that this one may use."""
    if not (directory / _MANIFEST).exists():
        return []
    old = _read_manifest(directory)
    if old is None:
        say(f"{directory / _MANIFEST} is damaged: labelling starts over")
        return []
    for name in ("teacher", "classes", "shard_size", "dtype"):
        if getattr(old, name) != getattr(fresh, name):
            say(f"{name} was {getattr(old, name)} and is {getattr(fresh, name)}: labelling starts over")
            return []
    # A foreign name would be read here and deleted at the end.
    return [entry for index, entry in enumerate(old.shards) if entry["file"] == _file(index)]


def _read_manifest(directory: Path) -> Manifest | None:
    try:
        manifest = Manifest(**json.loads((directory / _MANIFEST).read_text("utf-8")))
        for entry in manifest.shards:
            if not (isinstance(entry["file"], str) and isinstance(entry["fingerprint"], str) and entry["texts"] > 0):
                return None
        known = manifest.dtype in ("float32", "float64") and manifest.classes > 0 and manifest.shard_size > 0
        return manifest if known else None
    except (OSError, ValueError, TypeError, KeyError):
        return None


def _write_manifest(directory: Path, manifest: Manifest) -> None:
    write_json(directory / _MANIFEST, dataclasses.asdict(manifest))
