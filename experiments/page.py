"""``docs/results.html``: all results as one page, its pictures inside, so that it opens without a network."""

from __future__ import annotations

import io
import re
from collections.abc import Sequence

from .names import TITLES
from .sections import Picture, Section, Table

_STYLE = """
body { font: 15px/1.5 system-ui, sans-serif; max-width: 82rem; margin: 2rem auto; padding: 0 1rem; color: #222 }
h1, h2, h3 { line-height: 1.2 } h2 { margin-top: 2.5rem; border-top: 1px solid #ddd; padding-top: 1.5rem }
table { border-collapse: collapse; margin: 1rem 0; font-variant-numeric: tabular-nums }
table { display: block; overflow-x: auto }
th, td { padding: .2rem .6rem; border-bottom: 1px solid #e5e5e5; text-align: right; white-space: nowrap }
th:first-child, td:first-child { text-align: left } td:nth-child(2):nth-last-child(2) { white-space: normal }
td p { white-space: normal; text-align: left; margin: 0 }
small { color: #777 } svg { max-width: 100%; height: auto } details { margin: .5rem 0 } code { font-size: 90% }
"""


def page(intro: str, sections: Sequence[Section]) -> str:
    """The whole page, HTML."""
    parts = [
        "<!doctype html><html lang=en><meta charset=utf-8><meta name=viewport content='width=device-width'>",
        f"<title>sparsedistill: results</title><style>{_STYLE}</style>",
        f"<h1>Results</h1><p>{intro}</p>",
    ]
    for section in sections:
        parts += [f"<h2>{section.title}</h2>", f"<p>{section.text}</p>" if section.text else ""]
        parts += [_table(block) if isinstance(block, Table) else _picture(block) for block in section.blocks]
    return "\n".join(parts) + "\n"


def _table(table: Table) -> str:
    top = "".join(f"<th>{cell}</th>" for cell in table.head)
    body = "".join("<tr>" + "".join(f"<td>{cell}</td>" for cell in row) + "</tr>" for row in table.rows)
    shown = f"<table><tr>{top}</tr>{body}</table>"
    return f"<details><summary>{table.folded}</summary>{shown}</details>" if table.folded else shown


def _picture(picture: Picture) -> str:
    """As SVG."""
    from matplotlib import rc_context
    from matplotlib.backends.backend_svg import FigureCanvasSVG
    from matplotlib.figure import Figure

    columns = min(3, len(picture.tasks))
    rows = -(-len(picture.tasks) // columns)
    figure = Figure(figsize=(4.0 * columns, 3.1 * rows), layout="constrained")
    FigureCanvasSVG(figure)
    for place, key in enumerate(picture.tasks):
        axes = figure.add_subplot(rows, columns, place + 1)
        picture.draw(axes, key)
        axes.set_title(TITLES[key], loc="left", fontsize=10)
        axes.set_xlabel(picture.below, fontsize=8)
        axes.set_ylabel(picture.beside, fontsize=8)
        axes.tick_params(labelsize=7)
        axes.grid(True, color="#e8e8e8")
        axes.spines[["top", "right"]].set_visible(False)
        if axes.get_legend_handles_labels()[0]:
            axes.legend(fontsize=7, frameon=False)
    out = io.StringIO()
    with rc_context({"svg.hashsalt": "sparsedistill"}):  # the same picture, the same file
        figure.savefig(out, format="svg", metadata={"Date": None})
    return re.sub(r"^.*?(?=<svg)", "", out.getvalue(), flags=re.DOTALL)
