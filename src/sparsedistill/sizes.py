"""Sizes of a classifier: which are worth having, and which one to take."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from .errors import SettingsError
from .report import FIGURES, aligned, new_figure, save_figure

Size = dict[str, Any]
"""What is measured of a size: ``name``, ``directory``, ``rows`` (n-grams), ``width`` (numbers a row), ``type`` of
these, ``megabytes``, ``texts_per_second`` on one thread, ``dev`` (the figure that choices are made by), ``lost`` (what
the full classifier has more of it), ``log_loss`` on dev, ``fidelity`` (share of the full one's decisions on dev)."""

WORSE = 1.01  # times the full classifier's loss on dev that a smaller one may have


def front(sizes: Sequence[Size], by: str = "dev") -> list[Size]:
    """The sizes than which none is as good, as small and as fast, the smallest first; ``by``: dev or fidelity."""

    def beats(a: Size, b: Size) -> bool:
        pairs = [(a[by], b[by]), (-a["megabytes"], -b["megabytes"]), (a["texts_per_second"], b["texts_per_second"])]
        return all(x >= y for x, y in pairs) and any(x > y for x, y in pairs)

    found = [one for one in sizes if not any(beats(other, one) for other in sizes)]
    return sorted(found, key=lambda one: (one["megabytes"], -one[by]))


def is_as_good(size: Size, full: Size, loss: float) -> bool:
    """Whether it loses no more than ``loss`` of dev's figure, and is not less certain of what is right.

    Few texts of dev tell little of a few decisions, and of twenty sizes one is good by chance; the loss in training's
    sense moves with each text.
    """
    return bool(size["lost"] <= loss + 1e-9 and size["log_loss"] <= WORSE * full["log_loss"] + 1e-9)


def smallest(sizes: Sequence[Size], full: Size, loss: float) -> Size:
    """The smallest that :func:`is_as_good`; of as small ones the fastest."""
    good = [one for one in sizes if is_as_good(one, full, loss)]
    return min([*good, full], key=lambda one: (one["megabytes"], -one["texts_per_second"]))


def picked(
    sizes: Sequence[Size],
    by: str = "dev",
    min_accuracy: float | None = None,
    max_mb: float | None = None,
    min_speed: float | None = None,
) -> Size:
    """The best that keeps to the limits: by figure where size or speed are limited, else the smallest.

    Errors: :class:`SettingsError` where none does, naming what comes nearest.
    """
    left = list(sizes)
    for name, limit, sign in (("megabytes", max_mb, -1), ("texts_per_second", min_speed, 1), (by, min_accuracy, 1)):
        if limit is None:
            continue
        kept = [one for one in left if sign * one[name] >= sign * limit]
        if not kept:
            nearest = max(left, key=lambda one: sign * one[name])
            also = ", within the other limits" if len(left) < len(sizes) else ""
            raise SettingsError(
                f"no size {_LIMITS[name].format(limit)}{also}: the nearest is {nearest['name']}, {nearest[name]:.4g}"
            )
        left = kept
    if min_accuracy is not None:
        return min(left, key=lambda one: (one["megabytes"], -one[by]))
    return max(left, key=lambda one: (one[by], -one["megabytes"]))


_LIMITS = {
    "megabytes": "of {:g} MB or less",
    "texts_per_second": "labels {:,.0f} texts/s or more",
    "dev": "has {:g} or more on dev",
    "fidelity": "has a fidelity of {:g} or more",
}


def table(sizes: Sequence[Size], primary: str, full: Size, chosen: Size | None = None, markdown: bool = False) -> str:
    """The sizes as a table, for a terminal or in Markdown; * marks the one that was chosen."""
    name, form = FIGURES[primary]
    rows = [["", "n-grams", "row", "MB", "texts/s", f"{name} on dev", "lost", "fidelity"]]
    for one in sizes:
        mark = (" *" if chosen and one["name"] == chosen["name"] else "") + " (full)" * (one["name"] == full["name"])
        rows.append(
            [
                one["name"] + mark, f"{one['rows']:,}", f"{one['width']} x {one['type']}", f"{one['megabytes']:,.2f}",
                f"{one['texts_per_second']:,.0f}", form.format(one["dev"]), f"{one['lost']:+.4f}",
                f"{one['fidelity']:.4f}",
            ]
        )  # fmt: skip
    return "\n".join(aligned(rows, markdown))


def plot(sizes: Sequence[Size], primary: str, full: Size, chosen: Size | None, path: Path, by: str = "dev") -> None:
    """The figure of dev against megabytes and against speed, as a PNG; without matplotlib, one line that says so."""
    figure = new_figure()
    if figure is None:
        return
    from matplotlib.ticker import FuncFormatter, NullFormatter

    percent = by == "fidelity" or primary == "accuracy"
    best = {one["name"] for one in front(sizes, by)}
    both = figure.subplots(1, 2, sharey=True)
    for axes, name, label in zip(both, ("megabytes", "texts_per_second"), ("MB", "texts/s, one thread"), strict=True):
        for one in sizes:
            is_chosen = chosen is not None and one["name"] == chosen["name"]
            colour = "#c44e00" if is_chosen else "#2a6f97" if one["name"] in best else "#b8c4cc"
            y = one[by] * (100 if percent else 1)
            marker = "s" if one["name"] == full["name"] else "o"
            axes.scatter(one[name], y, s=60 if is_chosen else 30, color=colour, marker=marker, zorder=3)
            if is_chosen or one["name"] == full["name"]:
                said = "full" if one["name"] == full["name"] else one["name"]
                axes.annotate(
                    said, (one[name], y), xytext=(0, -14), textcoords="offset points", ha="center", fontsize=8
                )
        axes.set_xscale("log")
        axes.xaxis.set_minor_formatter(NullFormatter())
        axes.xaxis.set_major_formatter(FuncFormatter(lambda x, _: f"{x:,.0f}" if x >= 1 else f"{x:g}"))
        axes.set_xlabel(label + " (log scale)")
        axes.grid(True, which="major", color="#e5e5e5", zorder=0)
        axes.spines[["top", "right"]].set_visible(False)
    what = "fidelity to the full classifier" if by == "fidelity" else FIGURES[primary][0]
    both[0].set_ylabel(f"{what} on dev" + (" (%)" if percent else ""))
    save_figure(figure, path)
