"""How large a task is: its texts, its teacher, and the first seed's student that dev chooses."""

from __future__ import annotations

from typing import Any

from ..study import first, main, selected
from ..task import Task


def measure(task: Task) -> dict[str, Any]:
    """Texts by part and by test set, classes, tokens that the teacher reads, and numbers of the student."""
    run = first(task)
    name, data, settings = selected(task, run), run.data, run.settings
    tests = {test: len(range(*part.indices(data["test"]["texts"]))) for test, part in task.tests.items()}
    return {
        "classes": len(data["labels"]),
        "texts": {part: data[part]["texts"] for part in ("train", "dev", "corpus")},
        "tests": tests,
        "tokens": settings.teach.max_length,
        "student": name,
        "max_n": settings.count.max_n,
        "ngrams": run.result_of("count.all")["ngrams"],
        "width": settings.distill.hidden,
        "parameters": run.result_of("distill.kd")["parameters"],
        "megabytes": run.result_of(f"compress.{name}")["bytes"] / 1e6,
    }


if __name__ == "__main__":
    main(__doc__, ("imdb", "sst2", "trec6", "trec50", "agnews", "tweets", "wikitoxic", "mrpc"), measure)
