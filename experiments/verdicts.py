"""What was asked of the figures, and what the paper found, held against them."""

from __future__ import annotations

import statistics
from typing import Any, NamedTuple

from . import paper
from .names import SYSTEMS, TITLES

RIVALS = ("fasttext", "tfidf")
KEPT_AT_3_PERCENT = 0.963  # of the unpruned accuracy: the paper's student of IMDB, above 90 of 93.5


class Verdict(NamedTuple):
    """``what`` was asked, the ``figure`` that answers, whether it ``holds``."""

    what: str
    figure: str
    holds: bool


def first_test(accuracy: dict[str, float]) -> float:
    """Accuracy on the test set that counts: the first."""
    return next(iter(accuracy.values()))


def mean_of(tuned: dict[str, Any]) -> float:
    """Accuracy over the seeds of a student whose learning rate was chosen on dev."""
    return statistics.fmean(first_test(seed["accuracy"]) for seed in tuned["seeds"].values())


def targets(found: dict[str, Any]) -> list[Verdict]:
    """What the students are to reach, by task."""
    rows, shares = [], {}
    for key, share in paper.SHARES.items():
        entry, title = found["tasks"].get(key, {}), TITLES[key]
        if "selected" not in entry or "teacher" not in entry:
            continue
        ours, teacher = entry[entry["selected"]], entry["teacher"]
        shares[key] = kept = ours / teacher
        rows.append(
            Verdict(f"{title}: share of the teacher's accuracy kept, above {share:.1%}", f"{kept:.1%}", kept > share)
        )
        if key in ("imdb", "agnews"):
            apart = ours - teacher
            rows.append(Verdict(f"{title}: within 1 point of the teacher", f"{100 * apart:+.2f}", apart > -0.01))
        if "scratch" in entry and teacher - entry["scratch"] > 0.02:
            closed = (ours - entry["scratch"]) / (teacher - entry["scratch"])
            what = f"{title}: of the gap from scratch to teacher closed, above half"
            rows.append(Verdict(what, f"{closed:.0%}", closed > 0.5))
        for rival in RIVALS:
            if rival in entry:
                for who, figure in (("above", ours), ("teacher above", teacher)):
                    above = figure - entry[rival]
                    rows.append(Verdict(f"{title}: {who} {SYSTEMS[rival]}", f"{100 * above:+.2f}", above > 0))
    if shares:
        average = statistics.fmean(shares.values())
        what = f"share kept on average over {len(shares)} tasks, at least {paper.SHARE:.1%}"
        rows.append(Verdict(what, f"{average:.2%}", average >= paper.SHARE))
    return rows


def orderings(found: dict[str, Any]) -> list[Verdict]:
    """What the paper found to be better than what, in our studies."""
    studies = {name: found["studies"].get(name, {}) for name in ("architecture", "budget", "pruning")}
    rows = []
    for key, study in studies["architecture"].items():
        poolings = {
            name: mean_of(variant)
            for name, variant in study["found"].items()
            if name in ("mean", "sum", "max", "attentive")  # those of the paper
        }
        shown = ", ".join(f"{name} {100 * value:.2f}" for name, value in poolings.items())
        rows.append(Verdict(f"{TITLES[key]}: mean pooling is best", shown, poolings["mean"] == max(poolings.values())))
    for key, study in studies["budget"].items():
        for budget, pairs in study["found"].items():
            wide, many = max(pairs, key=lambda pair: pair["width"]), max(pairs, key=lambda pair: pair["rows"])
            better = mean_of(wide) - mean_of(many)
            shown = f"{100 * better:+.2f} ({wide['rows']:,} x {wide['width']} over {many['rows']:,} x {many['width']})"
            rows.append(Verdict(f"{TITLES[key]}: wide rows beat many rows with {budget} parameters", shown, better > 0))
    for key, study in studies["pruning"].items():
        curves = {
            counted: {share: first_test(accuracy) for share, accuracy in study["found"][counted]}
            for counted in ("train", "corpus and train")
        }
        pruned = [share for share in curves["train"] if share < 1]
        better = statistics.fmean(curves["train"][share] - curves["corpus and train"][share] for share in pruned)
        what = f"{TITLES[key]}: pruning by counts of train is better, on average over {len(pruned)} shares"
        rows.append(Verdict(what, f"{100 * better:+.2f}", better > 0))
        kept = curves["train"][0.03] / curves["train"][1.0]
        what = f"{TITLES[key]}: 3 % of the n-grams keep {KEPT_AT_3_PERCENT:.1%} of the accuracy"
        rows.append(Verdict(what, f"{kept:.1%}", kept >= KEPT_AT_3_PERCENT))
    return rows
