"""The poolings, a row each: how the rows of a text's n-grams become one vector, and what follows from that.

sqrtn is their sum over the root of their number: of texts of any length the sums of independent rows spread alike.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Pooling:
    """One pooling.

    ``parts``: vectors, each as wide as a row, that stand side by side. ``linear``: the vector is a weighted sum of the
    rows, so that a dense layer after it can be multiplied into them (W1 is folded). ``weighted``: the weights are
    learnt, with a query; a classifier keeps one a row, as its last number. ``on_gpu``: whether a GPU can train it.
    """

    parts: tuple[str, ...]
    linear: bool
    weighted: bool = False
    on_gpu: bool = False

    def width(self, table: int) -> int:
        """Numbers of a pooled vector, of a table that is ``table`` numbers wide."""
        return len(self.parts) * table

    def pooled(self, stored: int) -> int:
        """Numbers of a pooled vector, of a classifier's rows of ``stored`` numbers."""
        return self.width(stored - self.weighted)

    @property
    def needs_embedding(self) -> bool:
        """Whether W1 is needed, to bring the parts to one width."""
        return len(self.parts) > 1

    @property
    def needs_floats(self) -> bool:
        """Whether a classifier's rows have to be floats: weights differ by magnitudes."""
        return self.weighted

    @property
    def takes_largest(self) -> bool:
        """Whether the largest number of a column matters, which a scale that is not positive would make another."""
        return "max" in self.parts

    @property
    def fits_slots(self) -> bool:
        """Whether rows can stand in the lookup table's slots: the core then adds what it finds there."""
        return self.linear and not self.weighted


POOLINGS = {
    "mean": Pooling(("mean",), linear=True, on_gpu=True),
    "sum": Pooling(("sum",), linear=True, on_gpu=True),
    "sqrtn": Pooling(("sqrtn",), linear=True, on_gpu=True),
    "max": Pooling(("max",), linear=False),
    "mean+max": Pooling(("mean", "max"), linear=False),
    "attentive": Pooling(("attentive",), linear=True, weighted=True),
}
