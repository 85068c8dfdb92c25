"""What :mod:`sparsedistill.drift` gives, for a person: tables for a terminal, and a picture."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from . import report
from .report import aligned

_MOST_ROWS = 20  # distributions, and labels of a head
_MOST_DRAWN = 9
_MOST_TEXTS, _WIDTH = 10, 60
_COLOURS = {"reference": "#2a6f97", "new": "#c44e00"}
_HEADINGS = {
    "new": "more frequent in the new texts",
    "reference": "more frequent in the reference",
    "unknown": "words without a row, most frequent in the new texts",
}


def tables(result: dict[str, Any]) -> str:
    """Tests and distances, shares of labels, and n-grams, for a terminal."""
    rows = [["", "reference", "new", "distance", "PSI", "p", "p adjusted"]]
    distributions = _furthest(result["distributions"])
    for row in distributions:
        cells = [_number(row["reference"]), _number(row["new"]), f"{row['distance']:.3f}", f"{row['psi']:.3f}"]
        rows.append([row["name"][:40], *cells, _p(row["p"]), _p(row["p_adjusted"])])
    left = len(result["distributions"]) - len(distributions)
    parts = [[*aligned(rows), *([f"... and {left} that are less far apart"] if left else [])]]
    for name, labels in result["labels"].items():
        parts.append(_labels(name, labels))
    for name, heading in _HEADINGS.items():
        if found := result["ngrams"][name]:
            parts.append(_ngrams(heading, found, result))
    if covered := [row for row in result["least_covered"] if row["coverage"] < 1]:
        parts.append(_least_covered(covered))
    texts = " and ".join(
        f"{result[name]['texts']:,} {what}" for name, what in (("reference", "texts of the reference"), ("new", "new"))
    )
    note = (
        f"{texts}; distances (0 to 1): Kolmogorov-Smirnov, of labels the share of texts that moved; "
        "p adjusted for the number of tests (Holm)"
    )
    return "\n\n".join("\n".join(part) for part in [*parts, [note]])


def _furthest(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Those of the greatest distance, in their order."""
    least = sorted((row["distance"] for row in rows), reverse=True)[:_MOST_ROWS][-1]
    return [row for row in rows if row["distance"] >= least][:_MOST_ROWS]


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.4g}"


def _p(value: float) -> str:
    return "<1e-99" if value < 1e-99 else f"{value:.2g}"


def _labels(name: str, labels: list[dict[str, Any]]) -> list[str]:
    ranked = sorted(labels, key=lambda one: -abs(one["new"] - one["reference"]))[:_MOST_ROWS]
    rows = [[f"{name}: label" if name else "label", "reference", "new", "points"]]
    for one in ranked:
        change = f"{100 * (one['new'] - one['reference']):+.1f}"
        rows.append([one["label"][:40], f"{one['reference']:.1%}", f"{one['new']:.1%}", change])
    left = len(labels) - len(ranked)
    return [*aligned(rows), *([f"... and {left} more, which changed less"] if left else [])]


def _ngrams(heading: str, found: list[dict[str, Any]], result: dict[str, Any]) -> list[str]:
    """n-grams with what they are of a million tokens."""
    rows = [[heading, "reference", "new", "z"]]
    for one in found:
        rates = [f"{1e6 * one[name] / max(result[name]['tokens'], 1):,.0f}" for name in ("reference", "new")]
        rows.append([one["ngram"][:40], *rates, f"{one['z']:+.1f}"])
    return [*aligned(rows), "of a million tokens"]


def _least_covered(found: list[dict[str, Any]]) -> list[str]:
    rows = [["new texts of least coverage", "coverage", "tokens", "place"]]
    for one in found[:_MOST_TEXTS]:
        text = " ".join(one["text"].split())
        shown = text if len(text) <= _WIDTH else text[: _WIDTH - 3] + "..."
        rows.append([shown, f"{one['coverage']:.2f}", f"{one['tokens']:,}", one["place"][-40:]])
    return aligned(rows)


def plot_drift(result: dict[str, Any], path: Path) -> None:
    """Distributions of both sets as a PNG, those furthest apart; without matplotlib, one line that says so."""
    figure = report.new_figure()
    if figure is None:
        return
    drawn = sorted(result["distributions"], key=lambda row: -row["distance"])[:_MOST_DRAWN]
    columns = min(3, len(drawn))
    lines = -(-len(drawn) // columns)
    figure.set_size_inches(3.6 * columns, 2.7 * lines + 0.4)
    for i, row in enumerate(drawn):
        axes = figure.add_subplot(lines, columns, i + 1)
        _draw(axes, row, result)
        axes.set_title(f"{row['name'][:30]}: distance {row['distance']:.3f}", loc="left", fontsize=9)
        axes.tick_params(labelsize=8)
        axes.grid(True, axis="y", color="#e5e5e5", zorder=0)
        axes.spines[["top", "right"]].set_visible(False)
    figure.axes[0].set_ylabel("share of the texts", fontsize=8)
    figure.axes[0].legend(frameon=False, fontsize=8)
    report.save_figure(figure, path)


def _draw(axes: Any, row: dict[str, Any], result: dict[str, Any]) -> None:
    """A histogram, or bars of labels: those that changed most."""
    if "histogram" in row:
        edges = row["histogram"]["edges"]
        for name, colour in _COLOURS.items():
            axes.stairs(row["histogram"][name], edges, color=colour, fill=True, alpha=0.25, zorder=2)
            axes.stairs(row["histogram"][name], edges, color=colour, lw=1.2, label=name, zorder=3)
        return
    labels = sorted(result["labels"][row["head"]], key=lambda one: -abs(one["new"] - one["reference"]))[:8]
    for k, (name, colour) in enumerate(_COLOURS.items()):
        places = [i + 0.4 * k - 0.2 for i in range(len(labels))]
        axes.bar(places, [one[name] for one in labels], 0.38, color=colour, label=name, zorder=3)
    axes.set_xticks(range(len(labels)), [one["label"][:12] for one in labels], rotation=30, ha="right")
