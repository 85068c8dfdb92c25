"""How large a task is: its texts, its teacher, and the first seed's student that dev chooses."""

from __future__ import annotations

from typing import Any

from ..cells import TASKS as TITLES
from ..cells import Table, small
from ..records import Recorded
from ..study import first_seed
from ..task import Task

TITLE = "Tasks"
NOTE = (
    "Distinct texts of each part, the tokens of a text that the teacher reads at most, and the student that was "
    "chosen: its n-grams and their words, its layers, its size; <small>the paper's, whose test texts are its dev "
    "sets</small>. The paper's student has 1 million n-grams of 1 to 4 words, 1000 wide, 1001 million parameters."
)
TASKS = ("imdb", "sst2", "trec6", "trec50", "agnews", "tweets", "wikitoxic", "mrpc")
# The paper's texts: train, dev and corpus.
THEIRS = {
    "imdb": ("25,000", "25,000", "75M"), "sst2": ("67,349", "872", "75M"), "trec50": ("5,452", "500", "65M"),
    "agnews": ("120,000", "7,600", "418M"), "civil": ("1,804,874", "97,320", "60M"),
    "qqp": ("363,846", "40,430", "10M"),
}  # fmt: skip


def measure(task: Task) -> dict[str, Any]:
    """Texts by part and by test set, classes, tokens that the teacher reads, and numbers of the student."""
    run, name = first_seed(task)
    data, settings = run.data, run.settings
    return {
        "classes": len(data["labels"]),
        "texts": {part: data[part]["texts"] for part in ("train", "dev", "corpus")},
        "tests": {test: len(range(*part.indices(data["test"]["texts"]))) for test, part in task.tests.items()},
        "tokens": settings.teach.max_length,
        "student": name,
        "max_n": settings.count.max_n,
        "ngrams": run.result_of("count.all")["ngrams"],
        "width": settings.distill.hidden,
        "parameters": run.result_of("distill.kd")["parameters"],
        "megabytes": run.result_of(f"compress.{name}")["bytes"] / 1e6,
    }


def tables(study: dict[str, Any], results: dict[str, Recorded]) -> list[Table]:
    """A task a row."""
    rows = [["", "classes", "train", "dev", "test", "corpus", "tokens", "n-grams", "words", "hidden", "parameters",
             "served"]]  # fmt: skip
    for key, one in study.items():
        train, dev, corpus = (f"{one['texts'][part]:,}" for part in ("train", "dev", "corpus"))
        test = ", ".join(f"{size:,}" for size in one["tests"].values())
        theirs = small(*THEIRS.get(key, ("", "", "")))
        train, test, corpus = (
            f"{ours} {cell}".strip() for ours, cell in zip((train, test, corpus), theirs, strict=True)
        )
        rows.append(
            [TITLES[key], f"{one['classes']}", train, dev, test, corpus, f"{one['tokens']}", f"{one['ngrams']:,}",
             f"1 to {one['max_n']}", ", ".join(map(str, one["width"])) or "none",
             f"{one['parameters'] / 1e6:.0f}M", f"{one['megabytes']:.0f} MB"]
        )  # fmt: skip
    return [rows]
