"""The right size: the smallest classifier that is as good, beside fastText at its best setting; see README.md.

    python benchmarks/sizes.py --runs runs --data ../shared/data --json sizes.json

``--runs`` has run directories of the experiments' tasks (`python -m experiments TASK`), a folder a task.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path
from typing import Any

import bench
import cascade
import explain
import numpy as np
from labelled import SOURCES, RunTask
from timing import Others, alternate, load_average, options, paired, rates
from workers import Worker

from sparsedistill import Classifier, Run, Settings
from sparsedistill.format import directory_size, read_json
from sparsedistill.options import Size
from sparsedistill.progress import say
from sparsedistill.settings import build
from sparsedistill.sizes import Size as Measured
from sparsedistill.sizes import picked
from sparsedistill.stages import size

KEYS = ("trec6", "trec50", "sst2", "tweets", "agnews", "imdb")
RACED = 20_000  # texts: of few, the same over and over would find all they need in the processor's cache


class Bench(bench.Bench):
    """Accuracies are in percent, losses in points."""

    PARTS = ("sized", "five_mb", "cascade", "budget", "explain")

    def __init__(self, args: argparse.Namespace):
        super().__init__(args)
        self.keys = [key for key in KEYS if (args.runs / key / "metrics.json").is_file()]
        if missing := [key for key in KEYS if key not in self.keys]:
            self.note(f"no finished run of {', '.join(missing)} in {args.runs}")

    def run_of(self, key: str) -> Run:
        """The run, with the default sizing, its stage size done."""
        directory = self.args.runs / key
        values = read_json(directory / "settings.json")
        settings: Settings = build({**values, "size": {}}, str(directory))
        assert settings.size == Size()
        run = Run(directory, settings)
        run.execute(["size"])
        return run

    def right(self, key: str, path: Path) -> float:
        """Percent of the test texts that a classifier is right about."""
        task = RunTask(key, self.args.runs / key)
        texts, gold = task.read("test")
        found = Classifier.load(path).predict(texts, threads=self.args.threads)
        return 100 * float(np.mean([task.labels[i] == name for i, name in zip(gold, found, strict=True)]))

    # ---- the sized classifier beside fastText ------------------------------------------------------------------------

    def sized(self) -> None:
        table = [["task", "", "n-grams x width", "MB", "accuracy", "fastText", "texts/s", "fastText's", "times"]]
        times, losses = {}, {}
        for key in self.keys:
            run = self.run_of(key)
            full = run.directory / "classifiers" / size.best(run)
            small = run.directory / "classifiers" / size.SIZED if size.has_sized(run) else full
            found = self.race(key, {"full": full, "sized": small})
            self.figures[key] = found
            times[key], losses[key] = found["sized"]["times"], found["full"]["accuracy"] - found["sized"]["accuracy"]
            self.measures[f"sized_vs_fasttext_{key}"] = times[key]
            for name in ("full", "sized"):
                own = found[name]
                table.append([SOURCES[key].title, name, own["rows"], f"{own['megabytes']:.2f}",
                              f"{own['accuracy']:.2f}", f"{found['fasttext']['accuracy']:.2f}", f"{own['rate']:,.0f}",
                              f"{found['fasttext']['rate']:,.0f}", f"{own['times']:.2f}"])  # fmt: skip
            margin = found["sized"]["accuracy"] - found["fasttext"]["accuracy"]
            if margin < 1:
                self.note(f"{key}: the sized classifier is only {margin:+.2f} points above fastText")
        self.tables.append(table)
        if len(times) == len(KEYS):
            self.measures["sized_vs_fasttext"] = min(times.values())
            self.measures["sized_vs_fasttext_mean"] = float(np.mean(list(times.values())))
            self.measures["sizing_loss"] = max(losses.values())
        self.figures["sizing_losses"] = losses

    def race(self, key: str, ours: dict[str, Path]) -> dict[str, dict[str, Any]]:
        """Classifiers and fastText's best on one thread, in turns, and their accuracies on the test texts."""
        task = RunTask(key, self.args.runs / key)
        texts, gold = task.raced(RACED), task.read("test")[1]
        given = np.zeros(len(texts), np.int64)
        given[: len(gold)] = gold[: len(texts)]
        names = [*ours, "fasttext"]
        workers = [Worker("Ours", task=task, path=path) for path in ours.values()]
        workers.append(Worker("FastText", task=task, cache=self.out, settings=None))
        for worker in workers:
            worker.give(texts, given)
            worker.run()
        with Others() as others:
            found = [rates(len(texts), taken) for taken in alternate([one.run for one in workers], self.args.repeats)]
        accuracies = [100 * float((one.predictions[: len(gold)] == gold[: len(texts)]).mean()) for one in workers]
        say(f"{key}: load {load_average()}, others keep {others.cores:.1f} cores busy")
        result: dict[str, dict[str, Any]] = {}
        for name, own, accuracy in zip(names, found, accuracies, strict=True):
            result[name] = {"rate": float(np.median(own)), "accuracy": accuracy, "times": paired(own, found[-1])}
        for name, path in ours.items():
            rows = read_json(path / "config.json")["rows"]
            shape = f"{rows['count']:,} x {rows['width']} {rows['type']}"
            result[name] |= {"rows": shape, "megabytes": directory_size(path) / 1e6}
        result["fasttext"]["settings"] = workers[-1].note
        result["others"] = {"cores": others.cores}
        for worker in workers:
            worker.close()
        return result

    # ---- limits ------------------------------------------------------------------------------------------------------

    def five_mb(self) -> None:
        lost = {}
        for key in ("imdb", "agnews"):
            if key not in self.keys:
                return
            run = self.run_of(key)
            sizes: list[Measured] = read_json(run.directory / "sizes" / "report.json")["sizes"]
            chosen = picked(sizes, max_mb=5)
            full = run.directory / "classifiers" / size.best(run)
            lost[key] = self.right(key, full) - self.right(key, Path(chosen["directory"]))
            self.note(f"{key} in {chosen['megabytes']:.2f} MB ({chosen['name']}): {lost[key]:+.2f} points lost on test")
        self.measures["five_mb_loss"] = max(lost.values())

    def budget(self) -> None:
        if "imdb" not in self.keys:
            return
        run = self.run_of("imdb")
        known = run.directory / "sizes" / "sizes.json"
        known.rename(known.with_suffix(".before"))
        start = time.monotonic()
        size.searched(run, size.best(run), run.settings.size.sizing_loss)
        self.measures["budget_minutes"] = (time.monotonic() - start) / 60

    def cascade(self) -> None:
        found = cascade.cascades(self.args.runs)
        self.figures["cascades"] = found
        self.measures["cascade_share"] = cascade.worst_share(found)

    def explain(self) -> None:
        found = explain.explain_error(self.args.runs)
        self.figures["explain_errors"] = found
        self.measures["explain_error"] = found["explain_error"]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options(parser, repeats=15, threads=2)
    parser.add_argument("--runs", type=Path, required=True, help="run directories, a folder a task")
    parser.add_argument("--only", nargs="*", choices=Bench.PARTS, help="these parts alone")
    Bench(parser.parse_args()).run("sizes", "seen")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
