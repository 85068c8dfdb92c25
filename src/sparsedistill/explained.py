"""Explanations to look at: as a page of HTML, and for a terminal."""

from __future__ import annotations

import html
import os
import sys
import unicodedata
from collections.abc import Iterator, Sequence
from itertools import groupby
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from .explain import Explanation

_LEVELS = (0.1, 0.35, 0.7)  # of the largest magnitude of a character, from which on it is shaded, shaded more ...
_MOST = 50  # n-grams of a page's table

_STYLE = """
:root { color-scheme: light dark; --for: 37, 99, 235; --against: 217, 119, 6 }
body { font: 16px/1.6 system-ui, sans-serif; max-width: 46rem; margin: 2rem auto; padding: 0 1rem }
h1 { font-size: 1.3rem } h2 { font-size: 1.05rem; margin-top: 2.5rem }
.text { white-space: pre-wrap; overflow-wrap: anywhere; line-height: 2 }
.for, .against { border-radius: 2px; text-decoration-thickness: 2px; text-underline-offset: 4px }
.for { background: rgba(var(--for), var(--a)); text-decoration: underline }
.against { background: rgba(var(--against), var(--a)); text-decoration: underline dotted }
.l1 { --a: .12 } .l2 { --a: .26 } .l3 { --a: .42 }
table { border-collapse: collapse } th { text-align: left; font-weight: 600 }
td, th { padding: .15rem 1.2rem .15rem 0 } td.n { text-align: right; font-variant-numeric: tabular-nums }
tr.sum td { border-top: 1px solid currentColor } details { color: GrayText }
"""


def shades(why: Explanation) -> list[np.ndarray]:
    """Float64 (characters) of each text: the sum of the contributions of the n-grams that cover each character."""
    result = [np.zeros(len(text) + 1) for text in why.texts]
    for one in why.evidence:
        for place in one.spans:
            result[place.second][place.start] += place.contribution
            result[place.second][place.end] -= place.contribution
    return [np.cumsum(steps)[:-1] for steps in result]


def _runs(why: Explanation) -> list[list[tuple[str, int, float]]]:
    """Of each text its runs of characters shaded alike: (characters, level from -3 to 3, mean of their sums)."""
    sums = shades(why)
    largest = max((float(np.abs(one).max()) for one in sums if len(one)), default=0.0)
    result = []
    for text, one in zip(why.texts, sums, strict=True):
        levels = np.searchsorted(
            np.array(_LEVELS) * (largest if largest > 1e-9 else 1.0), np.abs(one), "right"
        ) * np.sign(one)
        runs, at = [], 0
        for level, run in groupby(levels.astype(int).tolist()):
            end = at + len(list(run))
            runs.append((text[at:end], level, float(one[at:end].mean())))
            at = end
        result.append(runs)
    return result


_TURNS = "\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069"  # marks of direction, which reach beyond the text


def _clean(text: str, keep: str = "\n\t") -> str:
    """Without what no page and no terminal should get: other control characters, marks of direction, surrogates."""
    bad = (c not in keep and (c in _TURNS or unicodedata.category(c) in ("Cc", "Cs")) for c in text)
    return "".join("\ufffd" * (c != "\r") if wrong else c for c, wrong in zip(text, bad, strict=True))


def _terms(why: Explanation, most: int | None = None) -> Iterator[tuple[float, str]]:
    """Contributions that were asked for, the sum of the others, the bias and the logit."""
    shown = why.contributions[:most]
    yield from ((number, ngram) for ngram, number in shown)
    if more := len(why.evidence) - len(shown):
        yield sum(one.contribution for one in why.evidence[len(shown) :]), f"({more:,} more)"
    yield why.bias, "(bias)"
    yield why.logit, "in all"


def page(whys: Sequence[Explanation], titles: Sequence[str] | None = None) -> str:
    """A page of HTML that needs nothing else; see :meth:`sparsedistill.Explanation.html`."""
    titles = titles or [why.label for why in whys]
    sections = "".join(_section(why, title) for why, title in zip(whys, titles, strict=True))
    return (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>Why: {_escaped(', '.join(dict.fromkeys(titles))[:200])}</title>\n"
        f"<style>{_STYLE}</style>\n</head>\n<body>\n"
        "<h1>Why these labels</h1>\n"
        '<p><span class="for l2">Underlined</span>: argues for the label. <span class="against l2">Dotted</span>: '
        "argues against it. The stronger, the more.</p>\n"
        f"{sections}</body>\n</html>\n"
    )


def _escaped(text: str) -> str:
    return html.escape(_clean(text))


def _section(why: Explanation, title: str) -> str:
    lines = [f"<section>\n<h2>{_escaped(title)}</h2>\n"]
    for runs in _runs(why):
        spans = "".join(_span(*run) for run in runs)
        lines.append(f'<p class="text" dir="auto">{spans}</p>\n')
    members = {one.ngram: one.members for one in why.evidence}
    lines.append(f'<table>\n<tr><th scope="col">adds to {_escaped(why.label)}</th><th scope="col">n-gram</th></tr>\n')
    for number, term in _terms(why, _MOST):
        others = ", ".join(f"{ngram} {part:+.3f}" for ngram, part in members.get(term, ()))
        more = (
            f"<details><summary>group</summary>{_escaped(others)}</details>" if len(members.get(term, ())) > 1 else ""
        )
        kind = ' class="sum"' if term == "in all" else ""
        lines.append(f'<tr{kind}><td class="n">{number:+.3f}</td><td><bdi>{_escaped(term)}</bdi>{more}</td></tr>\n')
    return "".join([*lines, "</table>\n</section>\n"])


def _span(text: str, level: int, mean: float) -> str:
    if not level:
        return _escaped(text)
    kind = "for" if level > 0 else "against"
    return f'<span class="{kind} l{abs(level)}" title="{mean:+.3f}">{_escaped(text)}</span>'


# Backgrounds of 256 colours under black, light to strong: blue for, orange against; what argues for is underlined, too.
_COLOURS = {1: "4;38;5;16;48;5;189", 2: "4;38;5;16;48;5;153", 3: "4;38;5;16;48;5;111",
            -1: "38;5;16;48;5;230", -2: "38;5;16;48;5;222", -3: "38;5;16;48;5;214"}  # fmt: skip


def has_colour() -> bool:
    """Whether stdout is a terminal that takes colour, and ``NO_COLOR`` is not set (no-color.org)."""
    return sys.stdout.isatty() and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"


def terminal(why: Explanation, colour: bool | None = None) -> str:
    """The texts, shaded, and the terms below; see :meth:`sparsedistill.Explanation.ansi`."""
    colour = has_colour() if colour is None else colour
    lines = ["".join(_coloured(_clean(text), level, colour) for text, level, _ in runs) for runs in _runs(why)]
    lines += [f"  {number:+8.3f}  {_clean(term, '')}" for number, term in _terms(why)]
    return "\n".join(lines) + "\n"


def _coloured(text: str, level: int, colour: bool) -> str:
    if not level:
        return text
    if colour:  # line by line, so that no background reaches to the end of one
        return "\n".join(f"\x1b[{_COLOURS[level]}m{line}\x1b[0m" if line else "" for line in text.split("\n"))
    sign = "+" if level > 0 else "-"
    return f"[{sign}{text}{sign}]"
