"""Names of tasks and systems, and cells of the tables on the page of results: HTML of the kind that Markdown takes."""

import statistics
from collections.abc import Callable, Iterable, Sequence
from typing import Any

TASKS = {
    "imdb": "IMDB", "sst2": "SST-2", "trec6": "TREC-6", "trec50": "TREC-50", "agnews": "AG News", "tweets": "tweets",
    "wikitoxic": "Wiki Toxic", "mrpc": "MRPC", "civil": "Civil Comments", "qqp": "QQP",
}  # fmt: skip
SYSTEMS = {
    "teacher": "teacher",
    "scratch": "DAN from scratch",
    "kd_private": "DAN KD†",
    "kd": "DAN KD",
    "kd_ft": "DAN KD+FT",
    "transformer_student": "half the teacher's layers, distilled",
    "transformer_finetuned": "half the encoder's layers, fine-tuned",
    "bilstm": "BiLSTM 2 x 512, distilled",
    "bilstm_256": "BiLSTM 2 x 256, distilled",
    "bilstm_64": "BiLSTM 2 x 64, distilled",
    "bilstm_4": "BiLSTM 2 x 4, distilled",
    "cnn": "CNN of width 7, distilled",
    "fasttext": "fastText",
    "tfidf": "TF-IDF + logistic regression",
    "model2vec": "model2vec",
}
COLOURS = ("#2a6f97", "#c44e00", "#3a7d44")
Table = list[list[str]]  # the head first


def percent(accuracy: dict[str, float]) -> float:
    """Accuracy on the first test set, the one that counts."""
    return 100 * next(iter(accuracy.values()))


def mean(values: Sequence[float], digits: int = 1) -> str:
    """The mean, and the standard deviation where there are several values."""
    deviation = f" ±{statistics.stdev(values):.{digits}f}" if len(values) > 1 else ""
    return f"{statistics.fmean(values):.{digits}f}{deviation}"


def over_seeds(figures: dict[str, Any]) -> str:
    """Accuracy of a student that was trained with several seeds."""
    return mean([percent(seed["accuracy"]) for seed in figures["seeds"].values()])


def tuned(figures: dict[str, Any]) -> list[str]:
    """Accuracy, accuracy on dev and learning rate of such a student."""
    dev = mean([100 * seed["dev"] for seed in figures["seeds"].values()], 2)
    return [over_seeds(figures), dev, f"{figures['learning_rate']:.2g}"]


def rate(figures: dict[str, Any]) -> str:
    """Texts a second as precisely as they were measured."""
    spread = f" ±{figures['spread']:.0%}" if figures.get("spread", 0) > 0.1 else ""
    return digits(figures["texts_per_second"], 3) + spread


def digits(value: float, count: int) -> str:
    """A number to that many significant digits."""
    return f"{float(f'{value:.{count}g}'):,{'g' if value < 1e5 else '.0f'}}"


def small(*cells: object) -> list[str]:
    """Cells in small print, as the paper's figures are."""
    return [f"<small>{cell}</small>" if cell != "" else "" for cell in cells]


def by_system(columns: Iterable[str], cell: Callable[[str, str], str], corner: str = "") -> Table:
    """Systems below each other, ``columns`` (tasks) beside each other; systems without a figure left out."""
    rows = [[title, *(cell(name, column) for column in columns)] for name, title in SYSTEMS.items()]
    return [[corner, *(TASKS.get(column, column) for column in columns)], *(row for row in rows if any(row[1:]))]


def escape(text: str) -> str:
    """``text`` with all that HTML or Markdown would take for markup as character references."""
    return "".join(f"&#{ord(sign)};" if sign in "\\`*_{}[]<>|&~$#" else sign for sign in text)
