"""What was asked of the figures, and what the paper found, held against them."""

from __future__ import annotations

import math
import statistics
from typing import Any, NamedTuple

from . import paper
from .names import SYSTEMS, TITLES

RIVALS = ("fasttext", "tfidf")
_T = 2.776  # Student's t at 97.5 percent with the four degrees of freedom of three seeds each
KEPT_AT_3_PERCENT = 0.963  # of the unpruned accuracy: the paper's student of IMDB, above 90 of 93.5


class Verdict(NamedTuple):
    """``what`` was asked, the ``figure`` that answers, whether it ``holds``, and whether chance could turn that."""

    what: str
    figure: str
    holds: bool
    is_open: bool = False


def first_test(accuracy: dict[str, float]) -> float:
    """Accuracy on the test set that counts: the first."""
    return next(iter(accuracy.values()))


def mean_of(tuned: dict[str, Any]) -> float:
    """Accuracy over the seeds of a student whose learning rate was chosen on dev."""
    return statistics.fmean(first_test(seed["accuracy"]) for seed in tuned["seeds"].values())


def error(found: dict[str, Any], key: str, name: str, other: str) -> float:
    """At most the standard error of how much righter ``name`` is than ``other`` on the texts of the test set.

    Of a paired difference d between systems that decide otherwise on a share D of n texts it is sqrt((D - d^2) / n), if
    on each of these one of both is right (else smaller); D is the mean over the seeds.
    """
    more, entry = found["more"][key], found["tasks"][key]
    return math.sqrt(max(0.0, more["apart"][name][other] - (entry[name] - entry[other]) ** 2) / more["test_texts"])


def targets(found: dict[str, Any]) -> list[Verdict]:
    """What the students are to reach, by task; intervals of 95 percent over the texts of the test set."""
    rows: list[Verdict] = []
    shares, errors = [], []

    def add(what: str, figure: float, bound: float, error: float, unit: str) -> None:
        half = 1.96 * error
        shown = f"{100 * figure:+.2f} ±{100 * half:.2f} points" if unit == "points" else f"{figure:.1%} ±{half:.1%}"
        rows.append(Verdict(what, shown, figure > bound, abs(figure - bound) < half))

    for key, share in paper.SHARES.items():
        entry, title = found["tasks"].get(key, {}), TITLES[key]
        if "selected" not in entry or "teacher" not in entry or not found["more"][key]["test_texts"]:
            continue
        name = entry["selected"]
        ours, teacher = entry[name], entry["teacher"]
        texts = found["more"][key]["test_texts"]
        apart = error(found, key, name, "teacher")
        shares.append(ours / teacher)
        # ours - share * teacher = share * (ours - teacher) + (1 - share) * ours: no more error than both have.
        alone = math.sqrt(ours * (1 - ours) / texts)
        what = f"{title}: share of the teacher's accuracy kept, above {share:.1%}"
        errors.append((share * apart + (1 - share) * alone) / teacher)
        add(what, ours / teacher, share, errors[-1], "share")
        if key in ("imdb", "agnews"):
            add(f"{title}: within 1 point of the teacher", ours - teacher, -0.01, apart, "points")
        if "scratch" in entry and (gap := teacher - entry["scratch"]) > 0.02:
            both = (apart + error(found, key, name, "scratch")) / 2  # of ours less the middle of the gap
            add(f"{title}: of the gap from scratch to teacher closed, above half",
                (ours - entry["scratch"]) / gap, 0.5, both / gap, "share")  # fmt: skip
        for rival in RIVALS:
            if rival in entry:
                for who, system in (("student", name), ("teacher", "teacher")):
                    above = entry[system] - entry[rival]
                    what = f"{title}: {who} above {SYSTEMS[rival]}"
                    add(what, above, 0.0, error(found, key, system, rival), "points")
    if shares:
        error_of_all = math.hypot(*errors) / len(errors)
        for what, bound in (("at least", paper.SHARE), ("the goal:", paper.GOAL)):
            what = f"share kept on average over {len(shares)} tasks, {what} {bound:.1%}"
            add(what, statistics.fmean(shares), bound, error_of_all, "share")
        what, least = f"share kept on each of the tasks, the goal: {paper.GOAL_OF_EACH:.1%}", min(shares)
        of_least = 1.96 * errors[shares.index(least)]
        is_open = abs(least - paper.GOAL_OF_EACH) < of_least
        rows.append(Verdict(what, f"{least:.1%} ±{of_least:.1%}, the least", least >= paper.GOAL_OF_EACH, is_open))
    return rows


def orderings(found: dict[str, Any]) -> list[Verdict]:
    """What the paper found to be better than what, in our studies; intervals of seeds or of the test set's texts."""
    studies = {name: found["studies"].get(name, {}) for name in ("architecture", "budget", "pruning")}
    rows = []
    for key, study in studies["architecture"].items():
        poolings = {name: one for name, one in study["found"].items() if name in ("mean", "sum", "max", "attentive")}
        shown = ", ".join(f"{name} {100 * mean_of(one):.2f}" for name, one in poolings.items())
        other = max((name for name in poolings if name != "mean"), key=lambda name: mean_of(poolings[name]))
        better, half = _apart(poolings["mean"], poolings[other])
        what = f"{TITLES[key]}: mean pooling is best"
        rows.append(Verdict(what, f"{shown} (±{100 * half:.2f} apart)", better >= 0, abs(better) < half))
    for key, study in studies["architecture"].items():
        if "from the teacher" in study["found"]:
            better, half = _apart(study["found"]["from the teacher"], study["found"]["mean"])
            what = f"{TITLES[key]}: a table that begins with the teacher's vectors is no better"
            rows.append(Verdict(what, f"{100 * better:+.2f} ±{100 * half:.2f} points", better <= 0, abs(better) < half))
    for key, study in studies["budget"].items():
        for budget, pairs in study["found"].items():
            wide, many = max(pairs, key=lambda pair: pair["width"]), max(pairs, key=lambda pair: pair["rows"])
            better, half = _apart(wide, many)
            sizes = f"{wide['rows']:,} x {wide['width']} over {many['rows']:,} x {many['width']}"
            what = f"{TITLES[key]}: wide rows beat many rows with {budget} parameters"
            shown = f"{100 * better:+.2f} ±{100 * half:.2f} points ({sizes})"
            rows.append(Verdict(what, shown, better > 0, abs(better) < half))
    for key, study in studies["pruning"].items():
        better, half = study["found"]["better"]["points"], 1.96 * study["found"]["better"]["error"]
        what = f"{TITLES[key]}: pruning by counts of train is better, on average over the shares"
        rows.append(Verdict(what, f"{100 * better:+.2f} ±{100 * half:.2f} points", better > 0, abs(better) < half))
        kept, half = study["found"]["kept"]["share"], 1.96 * study["found"]["kept"]["error"]
        what = f"{TITLES[key]}: 3 % of the n-grams keep {KEPT_AT_3_PERCENT:.1%} of the accuracy"
        is_open = abs(kept - KEPT_AT_3_PERCENT) < half
        rows.append(Verdict(what, f"{kept:.1%} ±{half:.1%}", kept >= KEPT_AT_3_PERCENT, is_open))
    return rows


def _apart(one: dict[str, Any], other: dict[str, Any]) -> tuple[float, float]:
    """How much righter one is than the other on average over the seeds, and 95 percent of that by Student's t."""
    values = [[first_test(seed["accuracy"]) for seed in made["seeds"].values()] for made in (one, other)]
    spread = sum(statistics.variance(some) / len(some) for some in values if len(some) > 1)
    return mean_of(one) - mean_of(other), _T * math.sqrt(spread)
