"""``python -m experiments.report``: all that was found, as ``docs/results.json``, ``docs/results.md`` and a page.

``--check --data DIR`` computes every accuracy anew from the predictions that are kept, and the labels.
"""

from __future__ import annotations

import argparse
import statistics
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from sparsedistill.errors import SparsedistillError
from sparsedistill.format import read_json, replacing, write_json
from sparsedistill.progress import say

from .__main__ import place_arguments, place_of
from .names import TITLES
from .page import page
from .records import STUDIES, kept_voice, predictions_of, selected, systems_of
from .sections import COMMANDS, Table, sections
from .task import HERE, PAIRS, TASKS, Task

DOCS = HERE.parent / "docs"
_INTRO = (
    "The systems and the studies of <a href='https://arxiv.org/abs/2110.08536'>Sparse Distillation</a> (Ye et al., "
    "NAACL 2022), made anew with smaller teachers and smaller corpora (the paper's: RoBERTa-Large, 10 to 418 million "
    "texts): what carries over are shares, gaps and ratios, not the figures themselves. A study without a row for a "
    "task was not run on it; an empty cell is a system that was not."
)


def studies() -> dict[str, dict[str, Any]]:
    """What each study found, by task in their usual order."""
    read = {path.stem: read_json(path) for path in sorted(STUDIES.glob("*.json"))}
    return {name: {key: found[key] for key in [*TITLES, *found] if key in found} for name, found in read.items()}


def mean(record: dict[str, Any], test: str) -> float:
    """Accuracy on a test set, over the seeds."""
    return statistics.fmean(one["accuracy"][test] for one in record.values())


def spread(record: dict[str, Any], test: str) -> float | None:
    """Standard deviation over the seeds; None of a single one."""
    values = [one["accuracy"][test] for one in record.values()]
    return statistics.stdev(values) if len(values) > 1 else None


def apart(key: str, some: Sequence[str], systems: Sequence[str], texts: int) -> dict[str, dict[str, float]]:
    """By each of ``some`` and system: the share of a test set's ``texts`` decided otherwise, over pairs of seeds."""
    kept = {name: [ids[:texts] for ids in predictions_of(key, name).values()] for name in systems}
    return {
        name: {
            other: round(float(np.mean([one != another for one in kept[name] for another in kept[other]])), 6)
            for other in systems if other != name
        }
        for name in some if texts and name in kept
    }  # fmt: skip


def results() -> dict[str, Any]:
    """What ``docs/results.json`` holds."""
    found: dict[str, Any] = {"tasks": {}, "more": {}, "studies": studies()}
    for key in TASKS:
        if not (systems := systems_of(key)):
            continue
        tests = list(next(iter(next(iter(systems.values())).values()))["accuracy"])
        entry: dict[str, Any] = {"kind": "pair" if key in PAIRS else "single"}
        if chosen := selected(systems):
            entry["selected"] = chosen
        entry |= {name: mean(record, tests[0]) for name, record in systems.items()}
        found["tasks"][key] = entry
        texts = found["studies"].get("sizes", {}).get(key, {}).get("found", {}).get("tests", {}).get(tests[0], 0)
        found["more"][key] = {
            "test_set": tests[0],
            "test_texts": texts,
            "apart": apart(key, ("teacher", chosen), list(systems), texts),
            "spread": {name: spread(record, tests[0]) for name, record in systems.items()},
            "other_test_sets": {
                test: {name: mean(record, test) for name, record in systems.items()} for test in tests[1:]
            },
            "runs": systems,
        }
    return found


def markdown(found: dict[str, Any]) -> str:
    """``docs/results.md``: the tables, less what is folded on the page."""
    lines = ["# Results", "", _INTRO, "", "[results.html](results.html) has pictures and every run besides.", ""]
    for section in sections(found):
        every = [block for block in section.blocks if isinstance(block, Table)]
        tables = [table for table in every if not table.folded]
        if not tables:
            continue
        lines += [f"## {section.title}", ""]
        if section.text:
            lines += [section.text, ""]
        for table in tables:
            lines += [_row(table.head), "|---" + "|---:" * (len(table.head) - 1) + "|"]
            lines += [*map(_row, table.rows), ""]
        for table in every:
            if table.folded == COMMANDS:
                by_command: dict[str, list[str]] = {}
                for row in table.rows:
                    by_command.setdefault(f"{row[-1]} at {row[-2]}", []).append(row[0])
                made = (f"{', '.join(titles)}: {command}" for command, titles in by_command.items())
                lines += [f"<small>{'; '.join(made)}</small>", ""]
    return "\n".join(lines)


def _row(cells: Sequence[str]) -> str:
    return "| " + " | ".join(cell.replace("|", "&#124;") for cell in cells) + " |"


def _texts(systems: dict[str, dict[str, Any]]) -> dict[str, dict[str, list[str]]]:
    """By part and fingerprint, the systems made of it; the corpus counts where a teacher was asked about it."""
    made: dict[str, dict[str, list[str]]] = {}
    for name, record in systems.items():
        for part, found in {item for one in record.values() for item in one["data"].items()}:
            if part != "corpus" or any("taught_by" in one for one in record.values()):
                made.setdefault(part, {}).setdefault(found, []).append(name)
    return made


def check(place: Any) -> int:
    """Recompute every accuracy from the predictions; returns how many are not what the records say."""
    wrong = total = 0
    for key in TASKS:
        if not (systems := systems_of(key)):
            continue
        task, said = Task(key, place), kept_voice(key)
        try:
            task.inputs.part("test")
        except SparsedistillError as error:
            wrong += 1
            say(f"{key}: {error}")
            continue
        for part, made in _texts(systems).items():
            if len(made) > 1:
                wrong += 1
                apart = " - ".join(", ".join(names) for names in made.values())
                say(f"{key}: not of the same texts of {part}: {apart}: run some of them again")
        for name, record in systems.items():
            kept = predictions_of(key, name)
            for seed, one in record.items():
                total, right = total + 1, task.accuracies(kept[seed])
                if said not in (None, one.get("taught_by", said)):
                    wrong += 1
                    say(f"{key} {name} seed {seed}: learnt from another teacher than the one kept: run it again")
                if right != one["accuracy"]:
                    wrong += 1
                    say(f"{key} {name} seed {seed}: the predictions give {right}, the record {one['accuracy']}")
        for name, study in studies().items():
            if said and key in study and study[key].get("taught_by") != said:
                say(f"{key} {name}: a study of an earlier teacher than the one kept, trained by the same recipe")
    recorded, shown, found = DOCS / "results.json", DOCS / "results.md", results()
    if recorded.exists() and (read_json(recorded), shown.read_text(encoding="utf-8")) != (found, markdown(found)):
        wrong += 1
        say(f"{recorded} and {shown.name} are not what the records give: run python -m experiments.report")
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
        Path(temporary).write_text(page(_INTRO, sections(found)), encoding="utf-8")
    sys.stdout.write(markdown(found))
    return 0


if __name__ == "__main__":
    sys.exit(main())
