"""Studies of students that are trained with other settings."""

import statistics
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from sparsedistill import Run, Settings

from ..cells import COLOURS, SYSTEMS, Table, mean, over_seeds, percent, rate, small
from ..cells import tuned as tuned_cells
from ..claims import Claim, difference, points
from ..package import replacing
from ..records import Recorded
from ..study import Study, forget, kd_run, lengths, measured, student, timed, tuned, without
from ..systems import SEEDS
from ..task import Task


class Architecture(Study):
    """Pooling, depth, W1, the table's first numbers, their type and optimiser: what the paper tried on IMDB, and more.

    By variant, the learning rate that dev chooses and the figures by seed.
    """

    title = "Pooling, depth, factorisation, initialisation"
    note = (
        "The KD student at the width of 64, its table random at first, unless stated otherwise; learning rates chosen "
        "on dev with seed 0; three seeds."
    )
    tasks = ("tweets", "trec6")
    head = ("", "accuracy", "dev", "learning rate", "<small>the paper, IMDB</small>")
    variants: dict[str, dict[str, Any]] = {
        "mean": {},
        "sum": {"distill__pooling": "sum"},
        "max": {"distill__pooling": "max"},
        "mean+max": {"distill__pooling": "mean+max", "distill__embedding": 64},
        "attentive": {"distill__pooling": "attentive"},
        "factored": {"distill__embedding": 128},
        "no hidden layer": {"distill__hidden": []},
        "hidden 64, 64": {"distill__hidden": [64, 64]},
        "hidden 256": {"distill__hidden": [256]},
        "hidden 256, 64": {"distill__hidden": [256, 64]},
        "teacher embeddings": {"distill__init": "teacher"},
        "bfloat16": {"distill__table": "bfloat16"},
        "row-wise Adagrad": {"distill__optimizer": "adagrad"},
    }
    rates = (1e-3, 3e-3, 1e-2, 3e-2)  # peak learning rates; one suits not all
    seeds = 3
    theirs = {"mean": 93.2, "sum": 92.9, "max": 91.8, "attentive": 93.0, "hidden 256": 93.1, "hidden 256, 64": 93.0,
              "teacher embeddings": 93.2}  # fmt: skip

    def measure(self, task: Task) -> dict[str, Any]:
        found, plain = {}, {"distill__hidden": [64], "distill__init": "random"}
        for number, (name, changes) in enumerate(self.variants.items()):
            rates = [10 * rate for rate in self.rates] if changes.get("distill__hidden") == [] else self.rates
            found[name] = tuned(task, f"architecture-{number}", rates, self.seeds, {**plain, **changes})
        return found

    def rows(self, title: str, figures: dict[str, Any], record: Recorded) -> Table:
        return [
            [f"{title}: {name}", *tuned_cells(one), *small(self.theirs.get(name, ""))] for name, one in figures.items()
        ]

    def claims(self, title: str, figures: dict[str, Any]) -> list[Claim]:
        means = {
            name: statistics.fmean(percent(seed["accuracy"]) for seed in figures[name]["seeds"].values())
            for name in ("mean", "sum", "max", "attentive") if name in figures
        }  # fmt: skip
        other = max((name for name in means if name != "mean"), key=lambda name: means[name])
        better, half = difference(figures["mean"], figures[other])
        shown = ", ".join(f"{name} {figure:.2f}" for name, figure in means.items()) + f" (±{100 * half:.2f} apart)"
        found = [Claim(f"{title}: mean pooling is best", shown, better >= 0, abs(better) < half)]
        if "teacher embeddings" in figures:
            what = f"{title}: a table initialised with the teacher's embeddings is no better"
            claim = points(what, *difference(figures["teacher embeddings"], figures["mean"]))
            found.append(claim._replace(holds=not claim.holds))
        return found


class Budget(Study):
    """How to spend a budget of parameters: many n-grams with narrow rows, or few with wide ones.

    By budget, a list of {rows, width, learning rate, and figures by seed}; the dense layers stay the same. Tables with
    more rows than the texts have n-grams are left out.
    """

    title = "A budget of parameters"
    note = (
        "The same number of parameters as many narrow rows or few wide ones, under the same dense layers; learning "
        "rates chosen on dev with seed 0; three seeds."
    )
    tasks = ("trec6", "tweets")
    head = ("parameters", "n-grams x width", "accuracy", "dev", "learning rate")
    # The paper's ratios at a thirtieth of its sizes: the corpora here are that much smaller.
    budgets = {
        "16M": [(62_500, 256), (125_000, 128), (250_000, 64), (1_000_000, 16)],
        "32M": [(62_500, 512), (125_000, 256), (250_000, 128), (500_000, 64), (2_000_000, 16)],
        "64M": [(62_500, 1024), (125_000, 512), (250_000, 256), (500_000, 128), (1_000_000, 64)],
    }
    rates = (1e-3, 3e-3, 1e-2)  # peak learning rates; wide rows want lower ones
    seeds = 3
    theirs = {
        "500M": [("1M", 500, 93.0), ("2M", 250, 92.8), ("4M", 125, 92.7), ("10M", 50, 92.3)],
        "1B": [("1M", 1000, 93.2), ("2M", 500, 93.0), ("4M", 250, 92.9), ("10M", 100, 92.5), ("40M", 25, 92.0)],
        "2B": [("2M", 900, 93.1), ("4M", 500, 93.1), ("10M", 200, 92.9), ("40M", 50, 92.4)],
    }
    paper = [
        small(f"the paper, IMDB, {budget}", f"{count} x {width}", figure, "", "")
        for budget, pairs in theirs.items() for count, width, figure in pairs
    ]  # fmt: skip
    # N-grams enough for the longest table, and all tables initialised alike: at random.
    shared = {"count__max_n": 4, "count__min_count": 1, "distill__hidden": [64], "distill__init": "random"}

    def measure(self, task: Task) -> dict[str, Any]:
        longest = max(rows for pairs in self.budgets.values() for rows, _ in pairs)
        counted = kd_run(task, "budget", count__size=longest, **self.shared)
        counted.execute(("count",))
        ngrams = counted.result_of("count.all")["ngrams"]
        forget(counted)
        return {
            budget: [self._one(task, rows, width) for rows, width in pairs if rows <= ngrams]
            for budget, pairs in self.budgets.items()
        }

    def _one(self, task: Task, rows: int, width: int) -> dict[str, Any]:
        changes = {"count__size": rows, "distill__embedding": width, **self.shared}
        found = tuned(task, f"budget-{rows}-{width}", self.rates, self.seeds, changes)
        return {"rows": rows, "width": width, **found}

    def rows(self, title: str, figures: dict[str, Any], record: Recorded) -> Table:
        return [
            [f"{title}, {budget}", f"{pair['rows']:,} x {pair['width']}", *tuned_cells(pair)]
            for budget, pairs in figures.items() for pair in pairs
        ]  # fmt: skip

    def claims(self, title: str, figures: dict[str, Any]) -> list[Claim]:
        found = []
        for budget, pairs in figures.items():
            wide, many = max(pairs, key=lambda pair: pair["width"]), max(pairs, key=lambda pair: pair["rows"])
            sizes = f" ({wide['rows']:,} x {wide['width']} over {many['rows']:,} x {many['width']})"
            what = f"{title}: wide rows beat many rows with {budget} parameters"
            found.append(points(what, *difference(wide, many), more=sizes))
        return found


class Width(Study):
    """The served width, from no hidden layer to 1000: figures by seed, and what :func:`timed` finds of the first."""

    title = "Served width"
    note = (
        "The KD student. 0 is no hidden layer: a row is one number a class, is initialised at random and takes the "
        "learning rate of its kind; the others take the task's settings. Of pairs it is the width of the table, in "
        "which they are compared, before a hidden layer of 64. Accuracy, and texts a second on one thread; where the "
        "accuracy is without ±, it is of seed 0, and the rate of the test texts alone, over and over: up to a fifth "
        "too high. Wiki Toxic's and MRPC's were timed in turns, but beside other work: too low."
    )
    tasks = ("trec6", "trec50", "sst2", "agnews", "tweets", "imdb", "wikitoxic", "mrpc")
    widths = (0, 16, 64, 256, 1000)
    head = ("", *map(str, widths))
    seeds = SEEDS

    def measure(self, task: Task) -> dict[str, Any]:
        found: dict[str, Any] = {}
        runs: dict[str, Run] = {}
        for width, changes in self._settings(task).items():
            found[str(width)] = {"seeds": {}}
            for seed in self.seeds:
                run = kd_run(task, f"width-{width}-{seed}", **changes, distill__student_seed=seed)
                found[str(width)]["seeds"][str(seed)] = student(task, run, keep=seed == self.seeds[0])
                runs.setdefault(str(width), run)
        systems = {
            name: (task.run.for_classifier, partial(run.classifier("kd").predict, threads=1))
            for name, run in runs.items()
        }
        for name, rates in timed(task, systems).items():
            found[name] |= rates
            forget(runs[name])
        return found

    def _settings(self, task: Task) -> dict[int, dict[str, Any]]:
        if task.run.are_pairs:  # the table serves as it was trained, and W1 has to bring both halves together
            return {width: {"distill__embedding": width} for width in self.widths if width}
        settings: dict[int, dict[str, Any]] = {width: {"distill__hidden": [width]} for width in self.widths}
        # Rows no wider than the logits cannot be initialised with the teacher's embeddings, and want their own rate.
        settings[0] = {"distill__hidden": [], "distill__init": "random", "distill__learning_rate": 0.0}
        return settings

    def rows(self, title: str, figures: dict[str, Any], record: Recorded) -> Table:
        found = (figures.get(width) for width in self.head[1:])
        return [[title, *(f"{over_seeds(one)} <small>{rate(one)}</small>" if one else "" for one in found)]]


class Ngrams(Study):
    """Longer n-grams switched off in a student trained with one to four words: n-grams left, and figures by seed."""

    title = "Longer n-grams switched off"
    note = "In the KD student, trained with one to four words; in small print how many n-grams are left."
    tasks = ("imdb", "agnews", "sst2", "trec6", "trec50", "tweets")
    head = ("", "n = 1", "n ≤ 2", "n ≤ 3", "n ≤ 4")
    paper = [
        small("the paper, IMDB (KD+FT)", 74.9, 92.1, 93.3, 93.5),
        small("the paper, AG News (KD+FT)", 91.3, 92.9, 93.0, 93.0),
    ]
    seeds = SEEDS

    def measure(self, task: Task) -> dict[str, Any]:
        found: dict[str, Any] = {}
        for seed in self.seeds:
            run = kd_run(task, f"ngrams-{seed}", count__max_n=4, distill__student_seed=seed)
            student(task, run, keep=True)
            vocabulary, trained = run.trained("kd")
            ids, offsets = run.bags(vocabulary, task.inputs.part("test").texts, 0)
            tokens = lengths(vocabulary)
            for n in (1, 2, 3, 4):
                logits = trained.logits(*without(tokens <= n, ids, offsets), 2)
                entry = found.setdefault(str(n), {"ngrams": int((tokens <= n).sum()), "seeds": {}})
                entry["seeds"][str(seed)] = {"accuracy": task.accuracies(logits.argmax(axis=1))}
            forget(run)
        return found

    def rows(self, title: str, figures: dict[str, Any], record: Recorded) -> Table:
        return [[title, *(f"{over_seeds(left)} <small>{left['ngrams']:,}</small>" for left in figures.values())]]


class CorpusSize(Study):
    """Accuracy against the size of the corpus, drawn at random: its texts and the students' figures."""

    title = "Size of the corpus"
    note = "Three draws of each size; all tables are initialised at random, and there are no random crops of train."
    tasks = ("sst2", "trec50", "agnews")
    axes = ("texts of the corpus", "accuracy, %")
    shares = (0.01, 0.03, 0.1, 0.3, 1.0)
    head = ("of the corpus", *(f"{100 * share:g} %" for share in shares))
    seeds = (0, 1, 2)
    students = ("kd_private", "kd", "kd_ft")

    def measure(self, task: Task) -> dict[str, Any]:
        return {f"{share:g}": {str(seed): self._one(task, share, seed) for seed in self.seeds} for share in self.shares}

    def _one(self, task: Task, share: float, seed: int) -> dict[str, Any]:
        directory = task.directory / "corpus_size" / f"{share:g}-{seed}"
        run = Run(directory, self._settings(task, share, seed, directory / "given"))
        run.check()
        texts = run.data["corpus"]["texts"]
        return {"texts": texts, **measured(task, run, ("label", "count", "distill", "finetune", "compress"))}

    def _settings(self, task: Task, share: float, seed: int, folder: Path) -> Settings:
        # The teacher's logits are all that there is of it here: of neither n-grams nor random crops.
        settings = task.settings(
            distill__modes=["kd_private", "kd"], distill__student_seed=seed, distill__init="random",
            label__random_crops=0, compress__max_loss=1.0,
        )  # fmt: skip
        files = {}
        for part in ("corpus", "train", "dev"):
            texts, scores = task.texts(part), task.run.teacher_logits(part)
            chosen = np.arange(len(texts))
            if part == "corpus":
                draw = np.random.default_rng([seed, 7]).permutation(len(texts))
                chosen = np.sort(draw[: max(1, round(share * len(texts)))])
            table = {"text": [texts[i] for i in chosen], "scores": list(scores[chosen])}
            if part != "corpus":
                labels = task.inputs.labels
                table[settings.data.label[0]] = [labels[i] for i in task.inputs.part(part).targets]
            files[part] = (str(folder / f"{part}.parquet"),)
            with replacing(folder / f"{part}.parquet") as temporary:
                pq.write_table(pa.table(table), temporary)
        data = replace(settings.data, text="text", labels=task.inputs.labels, **files)
        return replace(settings, data=data, teach=replace(settings.teach, teacher="column:scores"))

    def rows(self, title: str, figures: dict[str, Any], record: Recorded) -> Table:
        return [
            [f"{title}, {SYSTEMS[name]}", *(mean(self._accuracies(seeds, name)) for seeds in figures.values())]
            for name in self.students
        ]

    def _accuracies(self, seeds: dict[str, Any], name: str) -> list[float]:
        return [percent(one[name]["accuracy"]) for one in seeds.values()]

    def draw(self, axes: Any, figures: dict[str, Any], record: Recorded) -> None:
        axes.set_xscale("log")
        sizes = [next(iter(seeds.values()))["texts"] for seeds in figures.values()]
        for colour, name in zip(COLOURS, self.students, strict=True):
            means = [statistics.fmean(self._accuracies(seeds, name)) for seeds in figures.values()]
            axes.plot(sizes, means, "o-", ms=3, color=colour, label=SYSTEMS[name])
