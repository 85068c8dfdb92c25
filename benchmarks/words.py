"""Words never seen, and labels alone: students of gold labels, beside baselines and on spoilt texts; see README.md.

    python benchmarks/words.py --data ../shared/data --json words.json

What is made is kept in --out, so that an interrupted call goes on.
"""

from __future__ import annotations

import argparse
import shutil
import statistics
from collections.abc import Callable, Sequence
from functools import cache, partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import bench
import numpy as np
import perturb
from baselines import Baseline, FastText, TfIdf
from bench import spread
from labelled import SOURCES, Task
from timing import Others, alternate, load_average, options, paired, rates
from workers import Worker

from sparsedistill import Classifier, distill
from sparsedistill.data import pairs
from sparsedistill.format import read_json, write_json
from sparsedistill.machine import default_threads
from sparsedistill.progress import say

SEEDS = (0, 1, 2)
GOLD = ("trec6", "trec50", "wikitoxic", "tweets", "sst2", "agnews", "imdb", "mrpc")
ASIAN = ("chnsenticorp", "nsmc")  # where hardly a word is seen twice
MISTYPED = ("sst2", "trec6", "agnews", "tweets", "imdb")
DISGUISED = ("wikitoxic", "sms_spam")
Settings = dict[str, Any]  # of a student, beyond the defaults
DEFAULTS: Settings = {}
WITHOUT: Settings = {"characters": "none"}
UNKNOWN: Settings = {"characters": "unknown"}
ALL: Settings = {"characters": "all"}
SHORT: Settings = {**ALL, "characters_min": 1, "characters_max": 4}  # a length of the baselines
PLAIN: Settings = {**UNKNOWN, "deobfuscate": True}
# The defaults before those that are chosen by the data.
OLD: Settings = {"student": "network", "hidden": [64], "pooling": "mean", "max_n": 4, "min_count": 1, **WITHOUT}
FASTTEXT_SEEDS = (1, 2, 3)  # its seeds 0 and 1 are the same
NARROW = ("imdb", "nsmc")  # tasks that are too large for all of fastText's grid
SUBWORDS = ((1, 3), (2, 5), (3, 6))
CHARACTERS = ((1, 4), (2, 5))


class Students:
    """Classifiers trained from gold labels, below ``folder``: what another state of the package made is made again."""

    def __init__(self, folder: Path, threads: int):
        self._folder, self._threads = folder / bench.package(), threads

    def path(self, task: Task, settings: Settings, seed: int) -> Path:
        """The directory of the classifier."""
        name = "-".join(f"{name}={value}" for name, value in settings.items()) or "defaults"
        path = self._folder / task.key / f"{name}-{seed}"
        if not path.exists():
            say(f"{task.source.title}: {path.name}")
            run = path.with_name(f"{path.name}.run")
            columns = {"text": "text", "label": "label"} | ({"pair": "second"} if task.source.are_pairs else {})
            distill(
                train=[task.parts["train"]], dev=[task.parts["dev"]], directory=run, student_seed=seed,
                threads=self._threads, **columns, **settings,
            )  # fmt: skip
            (run / "classifier").rename(path)
            shutil.rmtree(run)
        return path

    def right(self, task: Task, settings: Settings, seed: int, texts: Sequence[str], gold: np.ndarray) -> float:
        """Share of the texts that the student is right about."""
        classifier = Classifier.load(self.path(task, settings, seed))
        given = pairs.split(texts) if task.source.are_pairs else texts
        found = classifier.predict(given, threads=self._threads)
        return float(np.mean([task.labels[i] == label for i, label in zip(gold, found, strict=True)]))


class Bench(bench.Bench):
    """Figures are in percent."""

    PARTS = ("baselines", "gold", "asian", "typos", "obfuscated", "speed")

    def __init__(self, args: argparse.Namespace):
        super().__init__(args)
        self.part = args.on
        self.figures["part"] = args.on
        self.students = Students(args.out / "students", args.threads)
        self.task = cache(lambda name: Task(name, args.data, args.out / "tasks"))
        self._texts = cache(self._read)

    def tasks(self, names: Sequence[str]) -> list[str]:
        """Those that ``--tasks`` has not left out."""
        return [name for name in names if not self.args.tasks or name in self.args.tasks]

    def accuracy(
        self, name: str, settings: Settings, part: str = "", change: Callable[..., list[str]] | None = None
    ) -> list[float]:
        """Percent of a part's texts, by seed of the student (and of what ``change`` does to the texts)."""
        task = self.task(name)
        return [
            100 * self.students.right(task, settings, seed, *self._texts(name, part or self.part, change, seed))
            for seed in SEEDS
        ]

    def _read(self, name: str, part: str, change: Callable[..., list[str]] | None, seed: int) -> Any:
        texts, gold = self.task(name).read(part)
        return (change(texts, seed) if change else texts), gold

    # ---- gold labels alone -------------------------------------------------------------------------------------------

    def baselines(self) -> None:
        for name in self.tasks((*GOLD, *ASIAN)):
            self.baseline(name)

    def baseline(self, name: str) -> dict[str, float]:
        """Percent of each baseline, its mean over seeds; all figures are kept in ``baselines.json``."""
        task, path = self.task(name), self.out / "baselines.json"
        for system, seeds in _baselines(task, self.out).items():
            known = read_json(path) if path.exists() else {}
            if known.get(name, {}).get(system, {}).get("key") == task.key:
                continue
            found: dict[str, Any] = {"key": task.key, "dev": {}, "test": {}}
            for seed, make in seeds.items():
                baseline = make()
                found["settings"] = baseline.load()
                for part in ("dev", "test"):
                    texts, gold = task.read(part)
                    predictions = baseline.ids(baseline.label(baseline.prepare(texts)))
                    found[part][seed] = float((predictions == gold).mean())
            say(f"{task.source.title}: {system} {found}")
            known.setdefault(name, {})[system] = found
            write_json(path, known)
            for model in (*self.out.glob(f"fasttext/{task.key}-*.bin"), *self.out.glob(f"tfidf/{task.key}-*.joblib")):
                model.unlink()  # of fastText's up to a gigabyte each
        found = read_json(path)[name]
        self.figures.setdefault("baselines", {})[name] = found
        return {system: 100 * statistics.fmean(found[system][self.part].values()) for system in found}

    def gold(self) -> None:
        """Defaults against the better baseline: the least margin over the tasks."""
        self.measures["gold_margin"] = None
        rows = [_row(self, name, [DEFAULTS]) for name in self.tasks(GOLD)]
        self.tables.append(
            [["gold labels alone", "ours", "TF-IDF + LR", "fastText", "margin"], *(row for row, _ in rows)]
        )
        self.measures["gold_margin"] = min(margin for _, margin in rows)

    def asian(self) -> None:
        """Korean and Chinese: ours, with or without characters as dev chooses, against baselines of characters."""
        self.tables.append(table := [["gold labels alone", "ours", "TF-IDF + LR", "fastText", "margin"]])
        for name in self.tasks(ASIAN):
            self.measures[f"{name}_margin"] = None
            row, self.measures[f"{name}_margin"] = _row(self, name, [DEFAULTS, UNKNOWN, ALL, SHORT])
            table.append(row)

    # ---- spoilt texts ------------------------------------------------------------------------------------------------

    def typos(self) -> None:
        self.measures |= {"typo_won_back": None, "typo_clean_loss": None}
        won, loss = self._won_back("typos", MISTYPED, perturb.typos, WITHOUT, UNKNOWN)
        self.measures |= {"typo_won_back": won, "typo_clean_loss": loss}

    def obfuscated(self) -> None:
        self.measures["obfuscated_won_back"] = None
        self.measures["obfuscated_won_back"], _ = self._won_back(
            "obfuscated", DISGUISED, perturb.obfuscated, DEFAULTS, PLAIN
        )

    def _won_back(
        self, title: str, names: Sequence[str], change: Callable[..., list[str]], without: Settings, with_: Settings
    ) -> tuple[float, float]:
        """Share of the lost accuracy that is won back, all tasks summed; points of clean accuracy lost on average."""
        known = self.figures.setdefault(title, {})
        table = [[title, "clean", title, "clean, robust", f"{title}, robust", "won back"]]
        for name in self.tasks(names):
            known[name] = found = {
                system: {"clean": self.accuracy(name, settings), "changed": self.accuracy(name, settings, "", change)}
                for system, settings in (("without", without), ("with", with_))
            }
            four = [found[system][kind] for system in found for kind in found[system]]
            table.append([SOURCES[name].title, *(spread(one, 2) for one in four), f"{_won_back([found])[0]:.2f}"])
        self.tables.append(table)
        return _won_back(list(known.values()))

    # ---- speed -------------------------------------------------------------------------------------------------------

    def speed(self) -> None:
        """Documents a second on IMDB's test texts, one thread each, in turns."""
        self.measures |= {"characters_speed": None, "defaults_speed": None}
        path = partial(self.students.path, self.task("imdb"), seed=0)
        self.measures["characters_speed"] = self._ratio("characters", path(UNKNOWN), path(WITHOUT))
        new = path(DEFAULTS)
        size = Classifier.load(new).config["rows"]["count"]
        self.measures["defaults_speed"] = self._ratio("defaults", new, path({**OLD, "size": size}))

    def _ratio(self, title: str, one: Path, other: Path) -> float:
        task = self.task("imdb")
        texts, gold = task.read("test")
        with (
            Worker("Ours", task=SimpleNamespace(labels=task.labels), path=one) as first,
            Worker("Ours", task=SimpleNamespace(labels=task.labels), path=other) as second,
        ):
            for worker in (first, second):
                worker.give(texts, gold)
                worker.run()
            with Others() as others:
                taken = alternate([first.run, second.run], self.args.repeats)
        found = [rates(len(texts), seconds) for seconds in taken]
        ratio = paired(*found)
        self.figures.setdefault("speed", {})[title] = {
            "documents_per_second": found, "classifiers": [first.note, second.note], "others": others.cores
        }  # fmt: skip
        self.note(
            f"{title}: {ratio:.3f}x (median of {self.args.repeats} pairs), {statistics.median(found[0]):,.0f} against "
            f"{statistics.median(found[1]):,.0f} documents/s; load {load_average()}, others keep {others.cores:.1f} "
            f"cores busy; {first.note}; {second.note}"
        )
        return ratio


def _row(bench: Bench, name: str, candidates: Sequence[Settings]) -> tuple[list[str], float]:
    """A row of the table, and points above the better baseline; of several candidates dev chooses."""
    theirs = bench.baseline(name)
    dev = [bench.accuracy(name, settings, "dev") for settings in candidates]
    best = int(np.argmax([statistics.fmean(found) for found in dev]))
    ours = bench.accuracy(name, candidates[best])
    margin = statistics.fmean(ours) - max(theirs.values())
    bench.figures.setdefault("gold", {})[name] = {
        "candidates": [*candidates], "dev": dev, "chosen": best, bench.part: ours, "margin": margin
    }  # fmt: skip
    row = [
        SOURCES[name].title,
        spread(ours, 2),
        f"{theirs['tfidf']:.2f}",
        f"{theirs['fasttext']:.2f}",
        f"{margin:+.2f}",
    ]
    bench.note("  ".join(row) + (f"  {candidates[best]}" if len(candidates) > 1 else ""))
    return row, margin


def _won_back(tasks: Sequence[dict[str, dict[str, list[float]]]]) -> tuple[float, float]:
    """(Share of the accuracy lost on changed texts that is won back, points of clean accuracy lost on average)."""
    clean, changed, robust_clean, robust = (
        sum(statistics.fmean(found[system][kind]) for found in tasks)
        for system, kind in (("without", "clean"), ("without", "changed"), ("with", "clean"), ("with", "changed"))
    )
    return (robust - changed) / (clean - changed), (clean - robust_clean) / len(tasks)


def _baselines(task: Task, cache: Path) -> dict[str, dict[str, Callable[[], Baseline]]]:
    """By name and seed: both learn the task's train, settings chosen on its dev."""
    subwords, characters = (SUBWORDS, CHARACTERS) if task.name in ASIAN else ((), ())
    fasttext = partial(FastText, task, cache, None, 1, subwords=subwords, narrow=task.name in NARROW)
    return {
        "tfidf": {"": partial(TfIdf, task, cache, "LogisticRegression", 1, characters)},
        "fasttext": {str(seed): partial(fasttext, seed=seed) for seed in FASTTEXT_SEEDS},
    }


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options(parser, 7, default_threads())
    parser.add_argument("--only", nargs="+", choices=Bench.PARTS, help="parts to run")
    parser.add_argument("--tasks", nargs="+", choices=SOURCES, help="tasks to run them on; the measures are of all")
    parser.add_argument("--on", choices=("dev", "test"), default="test", help="texts that accuracy is measured on")
    return parser.parse_args()


if __name__ == "__main__":
    asked = arguments()
    Bench(asked).run("words", f"on {asked.on}")
