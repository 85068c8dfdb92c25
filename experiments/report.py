"""``python -m experiments.report``: all that was found, as ``docs/results.json``, ``docs/results.md`` and a page.

``--check --data DIR`` computes every accuracy anew from the predictions that are kept, and the labels.
"""

from __future__ import annotations

import argparse
import statistics
import sys
from pathlib import Path
from typing import Any

from sparsedistill.format import read_json, replacing, write_json
from sparsedistill.progress import say

from . import paper
from .__main__ import place_arguments, place_of
from .names import SYSTEMS as NAMES
from .names import TITLES
from .page import page
from .records import PREDICTIONS, STUDIES, predictions_of
from .task import HERE, TASKS, Task

DOCS = HERE.parent / "docs"


def systems_of(task: str) -> dict[str, dict[str, Any]]:
    """The records of a task's systems, by seed."""
    folder = PREDICTIONS / task
    return {name: read_json(folder / f"{name}.json") for name in NAMES if (folder / f"{name}.json").exists()}


def mean(record: dict[str, Any], test: str, figure: str = "accuracy") -> float:
    """Over the seeds."""
    values = [one["dev"] if figure == "dev" else one["accuracy"][test] for one in record.values()]
    return statistics.fmean(values)


def spread(record: dict[str, Any], test: str) -> float | None:
    """Standard deviation over the seeds; None of a single one."""
    values = [one["accuracy"][test] for one in record.values()]
    return statistics.stdev(values) if len(values) > 1 else None


def results() -> dict[str, Any]:
    """What ``docs/results.json`` holds."""
    found: dict[str, Any] = {"tasks": {}, "more": {}, "studies": {}}
    for key in TASKS:
        if not (systems := systems_of(key)):
            continue
        tests = list(next(iter(next(iter(systems.values())).values()))["accuracy"])
        candidates = [name for name in ("kd", "kd_ft") if name in systems]
        entry: dict[str, Any] = {"kind": "pair" if key in ("mrpc", "qqp") else "single"}
        if candidates:
            entry["selected"] = max(candidates, key=lambda name: mean(systems[name], tests[0], "dev"))
        entry |= {name: mean(record, tests[0]) for name, record in systems.items()}
        found["tasks"][key] = entry
        found["more"][key] = {
            "test_set": tests[0],
            "spread": {name: spread(record, tests[0]) for name, record in systems.items()},
            "other_test_sets": {
                test: {name: mean(record, test) for name, record in systems.items()} for test in tests[1:]
            },
            "runs": systems,
        }
    for path in sorted(STUDIES.glob("*.json")):
        found["studies"][path.stem] = read_json(path)
    return found


def verdicts(found: dict[str, Any]) -> list[tuple[str, str, bool]]:
    """What was asked of the figures: (what, the figure, whether it holds)."""
    rows, shares = [], {}
    for key, share in paper.SHARES.items():
        entry = found["tasks"].get(key, {})
        if "selected" not in entry or "teacher" not in entry:
            continue
        ours, teacher = entry[entry["selected"]], entry["teacher"]
        shares[key] = ours / teacher
        title = TITLES[key]
        rows.append(
            (
                f"{title}: share of the teacher's accuracy kept, above {share:.1%}",
                f"{shares[key]:.1%}",
                shares[key] > share,
            )
        )
        if key in ("imdb", "agnews"):
            rows.append(
                (f"{title}: within 1 point of the teacher", f"{100 * (ours - teacher):+.2f}", ours > teacher - 0.01)
            )
        if "scratch" in entry and teacher - entry["scratch"] > 0.02:
            closed = (ours - entry["scratch"]) / (teacher - entry["scratch"])
            rows.append(
                (f"{title}: of the gap from scratch to teacher closed, above half", f"{closed:.0%}", closed > 0.5)
            )
        for rival in ("fasttext", "tfidf"):
            if rival in entry:
                rows.append(
                    (f"{title}: above {NAMES[rival]}", f"{100 * (ours - entry[rival]):+.2f}", ours > entry[rival])
                )
                rows.append(
                    (
                        f"{title}: teacher above {NAMES[rival]}",
                        f"{100 * (teacher - entry[rival]):+.2f}",
                        teacher > entry[rival],
                    )
                )
    if shares:
        average = statistics.fmean(shares.values())
        rows.append(
            (
                f"share kept on average over {len(shares)} tasks, at least {paper.SHARE:.1%}",
                f"{average:.2%}",
                average >= paper.SHARE,
            )
        )
    return rows


def markdown(found: dict[str, Any]) -> str:
    """``docs/results.md``."""
    lines = [
        "# Results",
        "",
        "Accuracy on test texts in percent, over the seeds' mean; in brackets the paper's figure.",
        "",
    ]
    there = [key for key in TASKS if key in found["tasks"]]
    lines.append("| | " + " | ".join(TITLES[key] for key in there) + " |")
    lines.append("|---|" + "---:|" * len(there))
    for name, title in NAMES.items():
        cells = []
        for key in there:
            entry, more = found["tasks"][key], found["more"][key]
            if name not in entry:
                cells.append("")
                continue
            deviation = more["spread"][name]
            theirs = paper.SYSTEMS.get(key, {}).get(name)
            cells.append(
                f"{100 * entry[name]:.1f}" + (f" ±{100 * deviation:.1f}" if deviation else "")
                + (" *" if name == entry.get("selected") else "") + (f" ({100 * theirs:.1f})" if theirs else "")
            )  # fmt: skip
        if any(cells):
            lines.append(f"| {title} | " + " | ".join(cells) + " |")
    lines += ["", "± standard deviation over seeds; * chosen on dev.", "", "## What was asked of them", ""]
    lines += ["| | | |", "|---|---:|---|"]
    lines += [f"| {what} | {figure} | {'yes' if holds else '**no**'} |" for what, figure, holds in verdicts(found)]
    return "\n".join(lines) + "\n"


def check(place: Any) -> int:
    """Recompute every accuracy from the predictions; returns how many are not what the records say."""
    wrong = total = 0
    for key in TASKS:
        if not (systems := systems_of(key)):
            continue
        task = Task(key, place)
        for name, record in systems.items():
            kept = predictions_of(key, name)
            for seed, one in record.items():
                total, right = total + 1, task.accuracies(kept[seed])
                if right != one["accuracy"]:
                    wrong += 1
                    say(f"{key} {name} seed {seed}: the predictions give {right}, the record {one['accuracy']}")
    recorded = DOCS / "results.json"
    if recorded.exists() and read_json(recorded) != results():
        wrong += 1
        say(f"{recorded} is not what the records give: run python -m experiments.report")
    say(f"{total} accuracies computed from predictions; {wrong} differences")
    return wrong


def main() -> int:
    """Write the report, or check it."""
    parser = argparse.ArgumentParser(prog="python -m experiments.report", description=__doc__)
    place_arguments(parser)
    parser.add_argument("--check", action="store_true", help="compute every accuracy anew from the predictions")
    arguments = parser.parse_args()
    if arguments.check:
        return 1 if check(place_of(arguments)) else 0
    found = results()
    write_json(DOCS / "results.json", found)
    with replacing(DOCS / "results.md") as temporary:
        Path(temporary).write_text(markdown(found), encoding="utf-8")
    with replacing(DOCS / "results.html") as temporary:
        Path(temporary).write_text(page(found, verdicts(found)), encoding="utf-8")
    sys.stdout.write(markdown(found))
    return 0


if __name__ == "__main__":
    sys.exit(main())
