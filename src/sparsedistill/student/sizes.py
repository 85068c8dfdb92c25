"""The search for sizes of a classifier: fewer n-grams, narrower rows, smaller numbers."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from ..classifier import Classifier
from ..evaluate import alternate
from ..format import directory_size, read_json, write_json
from ..progress import say
from ..sizes import Size, is_as_good
from .model import Student
from .shrink import Shrinker
from .vocabulary import Vocabulary

# A row in its slot, with int16 numbers, and a quarter of a cache line, with int8. Wider ones save fewer bytes, and the
# layer that puts them together again takes longer than reading all numbers of a row.
WIDTHS = (4, 16)
_FEWEST = 300  # n-grams
_GIVE_UP = 0.03  # of the figure: where all lose more, no fewer n-grams are tried
_REFINED = 2  # steps between the last size that is as good and the first that is not
_REPEATS = 5

Make = Callable[[Vocabulary, Student, str], tuple[Classifier, dict[str, float]]]


def search(
    shrinker: Shrinker,
    make: Make,
    types: Callable[[int], Sequence[str]],
    full: Size,
    loss: float,
    directory: Path,
    key: str,
) -> list[Size]:
    """Sizes below ``full``, each saved as a classifier in ``directory`` and measured but for its speed.

    Of ever fewer n-grams the narrowest rows come first, and wider ones only where these are not as good (within
    ``loss``); then the place between good and bad is looked at more closely. ``make(vocabulary, student, type)``: the
    classifier with numbers of a type, and its figures; ``types(width)``: those to try. What is measured stands in
    ``sizes.json``, and a search of the same ``key`` goes on from there.
    """
    known = _Known(directory, key)
    widths = [width for width in WIDTHS if shrinker.narrows and width < shrinker.width]
    widths.append(shrinker.width)

    def lost(rows: int) -> tuple[float, bool]:
        """The least that is lost with so many n-grams, and whether that is as good."""
        least = float("inf")
        for width in widths:
            if rows == len(shrinker.vocabulary) and width == shrinker.width:
                continue
            if not known.has(rows, width):
                student, vocabulary = shrinker.smaller(rows, width)
                made = [_size(directory, make, vocabulary, student, one, full) for one in types(width)]
                known.add(rows, width, made)
            for one in known.of(rows, width):
                least = min(least, one["lost"])
                say(
                    f"size: {rows:,} x {width} {one['type']}: {one['megabytes']:,.2f} MB, dev {one['dev']:.4f}, "
                    f"{one['lost']:+.4f} lost, fidelity {one['fidelity']:.4f}"
                )
            if any(is_as_good(one, full, loss) for one in known.of(rows, width)):
                return least, True
        return least, False

    good, bad = len(shrinker.vocabulary), 0
    for rows in _ladder(good):
        least, as_good = lost(rows)
        good, bad = (rows, 0) if as_good else (good, bad or rows)
        if math.inf > least > _GIVE_UP:
            break
    for _ in range(_REFINED if bad else 0):
        rows = _round(int((good * bad) ** 0.5))
        if rows in (good, bad):
            break
        good, bad = (rows, bad) if lost(rows)[1] else (good, rows)
    return known.sizes


def _size(directory: Path, make: Make, vocabulary: Vocabulary, student: Student, row_type: str, full: Size) -> Size:
    classifier, figures = make(vocabulary, student, row_type)
    width = int(student.table.shape[1])
    name = f"{len(vocabulary)}x{width}-{row_type}"
    classifier.save(directory / name)
    megabytes = directory_size(directory / name) / 1e6
    return {
        "name": name, "directory": str(directory / name), "rows": len(vocabulary), "width": width, "type": row_type,
        "megabytes": megabytes, **figures, "lost": full["dev"] - figures["dev"],
    }  # fmt: skip


class _Known:
    """What has been measured, kept in ``sizes.json``."""

    def __init__(self, directory: Path, key: str):
        self._path, self._key = directory / "sizes.json", key
        directory.mkdir(parents=True, exist_ok=True)
        found = read_json(self._path) if self._path.is_file() else {}
        self.sizes: list[Size] = found.get("sizes", []) if found.get("key") == key else []
        for one in self.sizes:  # the run directory may have been moved
            one["directory"] = str(directory / one["name"])

    def of(self, rows: int, width: int) -> list[Size]:
        return [one for one in self.sizes if (one["rows"], one["width"]) == (rows, width)]

    def has(self, rows: int, width: int) -> bool:
        found = self.of(rows, width)
        return bool(found) and all(Path(one["directory"]).is_dir() for one in found)

    def add(self, rows: int, width: int, found: list[Size]) -> None:
        self.sizes = [one for one in self.sizes if (one["rows"], one["width"]) != (rows, width)] + found
        write_json(self._path, {"key": self._key, "sizes": self.sizes})


def _ladder(rows: int) -> list[int]:
    """Numbers of n-grams from all of them down, each about a third of the one before."""
    found = [rows]
    for exponent in range(9, 1, -1):
        found += [count for count in (3 * 10**exponent, 10**exponent) if _FEWEST <= count < rows]
    return found


def _round(rows: int) -> int:
    """To two digits."""
    unit: int = 10 ** max(0, len(str(rows)) - 2)
    return max(1, round(rows / unit) * unit)


def add_rates(sizes: Sequence[Size], texts: Sequence[Any]) -> None:
    """Measure ``texts_per_second`` of each, from raw text to label on one thread, in turns."""
    workers: list[Any] = []
    for one in sizes:
        classifier = Classifier.load(one["directory"], copy=True)
        workers.append((lambda classifier=classifier: classifier.predict(texts, threads=1), len(texts)))
    for one, rate in zip(sizes, alternate(workers, _REPEATS), strict=True):
        one["texts_per_second"] = rate
