"""What :mod:`sparsedistill.measure` gives, for a person: tables for a terminal, and the reliability diagram."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from . import report
from .report import FIGURES, aligned

# name -> (heading, how to write it); those with a "%" are shares
_FIGURES = {
    **FIGURES,
    "macro_auc": ("macro-AUC", "{:.4f}"),
    "kendall": ("Kendall tau-b", "{:.4f}"),
    "recall_at_top": ("recall of the top", "{:.2%}"),
    "kappa": ("quadratic kappa", "{:.4f}"),
    "ece_before": ("calibration error before calibration", "{:.4f}"),
    "pearson_centred": ("Pearson, each score less its slice's mean", "{:.4f}"),
    "kendall_within": ("Kendall tau-b, pairs of the same slice", "{:.4f}"),
    "macro_auc_within": ("macro-AUC, pairs of the same slice", "{:.4f}"),
    "slice_r2": ("R2 of the slice alone", "{:.4f}"),
    "slice_accuracy": ("accuracy of the slice alone", "{:.2%}"),
}
_OF_SLICES = {
    "single": ("accuracy", "macro_f1", "macro_auc"),
    "multi": ("micro_f1", "macro_f1", "macro_auc"),
    "regression": ("spearman", "kendall", "rmse"),
}
_MOST_ROWS = 40  # labels in a table


def tables(result: dict[str, Any]) -> str:
    """The figures with their intervals, those of each cut, level or label, and of each slice, for a terminal."""
    if "heads" in result:
        return "\n\n".join(f"== {name}\n\n{tables(one)}" for name, one in result["heads"].items())
    found = result["figures"]
    rows = [["", "value", *_interval_head(result)]]
    for name, figure in found.items():
        if name in _FIGURES and (name != "macro_auc" or len(result["labels"]) > 2):
            heading, form = _FIGURES[name]
            heading += _top(result) if name == "recall_at_top" else ""
            rows.append([heading, _written(figure, form), *_interval(figure, form, result)])
    parts = [aligned(rows), *_each(result), _reasons(found)]
    for column, slices in result["slices"].items():
        parts += [[f"by {column}"], *_slices(slices, result)]
    return "\n\n".join("\n".join(part) for part in [*parts, [_note(result)]] if part)


def _top(result: dict[str, Any]) -> str:
    """Which texts are the top."""
    top = result["top"]
    share = top["texts"] / result["texts"]
    exact = abs(share - top["share"]) * result["texts"] < 1
    return f" {100 * top['share']:g}%" + ("" if exact else f" ({share:.1%}: scores from {top['from']:g} on)")


def _interval_head(result: dict[str, Any]) -> list[str]:
    return [f"{result['level']:.0%} interval"] if result["resamples"] else []


def _interval(figure: dict[str, Any], form: str, result: dict[str, Any]) -> list[str]:
    if not result["resamples"]:
        return []
    return ["-" if figure["low"] is None else f"{form.format(figure['low'])} to {form.format(figure['high'])}"]


def _written(figure: dict[str, Any], form: str) -> str:
    return "-" if figure["value"] is None else form.format(figure["value"])


def _both(figure: dict[str, Any] | None, form: str) -> str:
    """Value and interval in a cell."""
    if figure is None:
        return "-"
    interval = "" if figure["low"] is None else f" ({form.format(figure['low'])} to {form.format(figure['high'])})"
    return _written(figure, form) + interval


def _each(result: dict[str, Any]) -> list[list[str]]:
    """The tables of cuts and levels, or of labels."""
    found = result["figures"]

    def rows(head: list[str], names: Sequence[str], keys: Sequence[str]) -> list[str]:
        if not names:
            return []
        cells = [[name, *(_both(found.get(key.format(name)), "{:.3f}") for key in keys)] for name in names]
        more = [f"... and {len(cells) - _MOST_ROWS} more"] if len(cells) > _MOST_ROWS else []
        return [*aligned([head, *cells[:_MOST_ROWS]]), *more]

    if result["task"] != "regression":
        return [rows(["label", "F1", "AUC"], result["labels"], ("f1:{}", "auc:{}"))]
    cuts = [f"{cut:g}" for cut in result["cuts"]]
    levels = [name.removeprefix("f1_of_") for name in found if name.startswith("f1_of_")]
    return [
        rows(["cut: scores from it on", "AUC", "F1"], cuts, ("auc_at_{}", "f1_at_{}")),
        rows(["level: rounded scores", "F1"], levels, ("f1_of_{}",)),
    ]


def _reasons(found: dict[str, Any]) -> list[str]:
    """Why figures are missing: one line a reason."""
    why: dict[str, list[str]] = {}
    for name, figure in found.items():
        if figure["value"] is None:
            why.setdefault(figure["reason"], []).append(_FIGURES.get(name, (name, ""))[0])
    return [f"no {', '.join(names[:8])}{' ...' * (len(names) > 8)}: {reason}" for reason, names in why.items()]


def _slices(slices: dict[str, Any], result: dict[str, Any]) -> list[list[str]]:
    shown = [name for name in _OF_SLICES[result["task"]] if name != "macro_auc" or len(result["labels"]) > 1]
    middle = result["cuts"][len(result["cuts"]) // 2] if result.get("cuts") else None
    names = [*shown, *([] if middle is None else [f"auc_at_{middle:g}"])]
    heads = [_FIGURES[name][0] if name in _FIGURES else f"AUC at {middle:g}" for name in names]

    def short(name: str) -> str:
        form = _FIGURES.get(name, ("", "{:.4f}"))[1]
        return {"{:.2%}": "{:.1%}", "{:.4f}": "{:.3f}", "{:.4g}": "{:.3g}"}[form]

    rows = [["slice", "texts", *heads]]
    for slice_name, one in slices["slices"].items():
        cells = [_both(one["figures"].get(name), short(name)) for name in names]
        rows.append([slice_name[:40], f"{one['texts']:,}", *cells])
    rows.append(["(all)", f"{result['texts']:,}", *(_both(result["figures"].get(n), short(n)) for n in names)])
    lines = []
    if slices["rare"]:
        lines.append(f"(others): {slices['rare']:,} rare slice{'s' * (slices['rare'] != 1)}, together")
    if slices["hardly_vary"]:
        gold = "scores" if result["task"] == "regression" else "labels"
        lines.append(f"gold {gold} hardly vary, so figures say little, in: {', '.join(slices['hardly_vary'])}")
    pooled = [["pooled within slices", "value", *_interval_head(result)]]
    for name, figure in slices["within"].items():
        heading, form = _FIGURES.get(name, ("", "{:.4f}"))
        if name.startswith("auc_within_at_"):
            heading = f"AUC at {name.removeprefix('auc_within_at_')}, pairs of the same slice"
        if heading:
            pooled.append([heading, _written(figure, form), *_interval(figure, form, result)])
    return [aligned(rows), lines, [*aligned(pooled), *_reasons(slices["within"])]]


def _note(result: dict[str, Any]) -> str:
    sources = ", ".join(result["sources"][:3]) + (" ..." if len(result["sources"]) > 3 else "")
    how = f"; intervals: percentile bootstrap, {result['resamples']:,} resamples of the texts"
    return f"{result['texts']:,} text{'s' * (result['texts'] != 1)} of {sources}" + (how if result["resamples"] else "")


def plot_reliability(result: dict[str, Any], path: Path) -> None:
    """The reliability diagram of each head as a PNG; without matplotlib, one line that says so.

    Up to ten labels are drawn; with a calibration also, dotted, what was before it.
    """
    figure = report.new_figure()
    if figure is None:
        return
    heads = result.get("heads", {"": result})
    figure.set_size_inches(7.2, 4.4 * len(heads))
    for i, (name, one) in enumerate(heads.items()):
        axes = figure.add_subplot(len(heads), 1, i + 1)
        _draw(axes, one["reliability"], one["task"], one.get("reliability_before", {}))
        axes.set_title(name, loc="left")
    report.save_figure(figure, path)


def _draw(axes: Any, data: dict[str, dict[str, Any]], task: str, before: dict[str, Any]) -> None:
    colours = (
        "#c44e00",
        "#2a6f97",
        "#5b8c3a",
        "#7d4f9e",
        "#b08900",
        "#3aa6a0",
        "#a63a5c",
        "#555555",
        "#8a6d5a",
        "#6b7fd7",
    )
    drawn = [*data.values(), *before.values()]
    ends = [value for one in drawn for name in ("predicted", "observed") for value in one[name]]
    low, high = (min(ends), max(ends)) if task == "regression" else (0.0, 1.0)
    axes.plot([low, high], [low, high], color="#999999", lw=1, ls="--", zorder=1)
    for colour, (name, one) in zip(colours, data.items(), strict=False):
        if old := before.get(name):
            label = f"{name} before (error {old['ece']:.3f})"
            axes.plot(old["predicted"], old["observed"], ":", marker="o", ms=3, color=colour, lw=1, label=label)
        axes.plot(one["predicted"], one["observed"], marker="o", ms=4, color=colour, lw=1.5, zorder=3,
                  label=f"{name} (error {one['ece']:.3f})")  # fmt: skip
    labels = {"regression": ("mean predicted score", "mean gold score")}
    across, up = labels.get(task, ("mean predicted probability", "share that is right"))
    axes.set_xlabel(f"{across}, bins of as many texts each")
    axes.set_ylabel(up)
    axes.grid(True, color="#e5e5e5", zorder=0)
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(frameon=False, loc="upper left", fontsize=8)
