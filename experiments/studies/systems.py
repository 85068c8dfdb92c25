"""Studies of teachers, of all systems against each other, and of training in two processes."""

import os
import shutil
import subprocess
import sys
from functools import partial
from typing import Any

import numpy as np

from sparsedistill import SettingsError

from ..cells import COLOURS, SYSTEMS, TASKS, Table, by_system, digits, percent, rate, small
from ..package import read_json
from ..records import Recorded, recorded_teacher
from ..study import Study, System, first_seed, forget, kd_run, timed
from ..systems import BASELINES, NETWORKS, baseline_of
from ..task import Task, decided, dev_figure


class Teachers(Study):
    """A teacher fine-tuned for an epoch more, its learning rate falling as much later: accuracy on dev by epoch.

    It stands beside the teacher that is recorded, so that this one need not be here.
    """

    title = "Teachers"
    note = (
        "Accuracy on dev after each epoch, the best kept; the learning rate falls to nothing at the end of the last. "
        "Beside it a teacher that was given an epoch more, where the last was the best and there was time. SST-2's is "
        "right on 3 more of 689 texts; it was not put in the place of the one that was used."
    )
    tasks = ("tweets", "sst2", "agnews", "imdb")
    teacher = staticmethod(recorded_teacher)

    def measure(self, task: Task) -> dict[str, Any]:
        run = task.variant("longer", teach__epochs=task.run.settings.teach.epochs + 1)
        run.execute(("teach",))
        longer = read_json(run.directory / "teacher" / "training.json")
        shutil.rmtree(run.directory)
        return {"longer": longer["dev"], "seconds": longer["seconds"]}

    def tables(self, study: dict[str, Any], results: dict[str, Recorded]) -> list[Table]:
        def shown(dev: list[float]) -> str:
            return ", ".join(f"<b>{100 * one:.1f}</b>" if one == max(dev) else f"{100 * one:.1f}" for one in dev)

        rows = [["accuracy on dev", "after each epoch", "of one more"]]
        for key, task in results.items():  # also of tasks whose teacher was given no epoch more
            if usual := task.systems.get("teacher", {}).get("0", {}).get("dev_by_epoch"):
                rows.append([TASKS[key], shown(usual), shown(study[key]["longer"]) if key in study else ""])
        return [rows]


class Speed(Study):
    """Accuracy against speed, the paper's first figure: all systems, tokenisation included, one CPU thread."""

    title = "Accuracy against speed"
    note = (
        "From raw text to label, tokenisation included, for all systems (fastText's texts are lower-cased beforehand, "
        "in its favour); one CPU thread, in turns of some seconds over the test texts and texts of the corpus with the "
        "lengths of these; ± half of what lies between slowest and fastest turn, where that is above 10 %; in small "
        "print the multiple of the teacher's speed. The paper's: on 56 cores, without tokenisation, where the student "
        "is 663 times as fast as its teacher on IMDB, 741 times on SST-2."
    )
    tasks = ("imdb", "sst2", "trec6", "trec50", "agnews", "tweets", "mrpc")
    axes = ("texts a second, one CPU thread", "accuracy, %")
    baselines = BASELINES
    # The paper's texts a second on 56 cores, batches of 32, tokenisation left out.
    theirs = {
        "the paper, IMDB": {
            "teacher": 1.4, "kd_ft": 923, "transformer_student": 7.8, "transformer_finetuned": 10.7, "bilstm": 31,
            "bilstm_256": 52, "bilstm_64": 101, "bilstm_4": 146, "cnn": 251,
        },
        "the paper, SST-2": {
            "teacher": 22, "kd_ft": 16479, "transformer_student": 186, "transformer_finetuned": 61, "bilstm": 394,
            "bilstm_256": 679, "bilstm_64": 1379, "bilstm_4": 2015, "cnn": 3820,
        },
    }  # fmt: skip

    def measure(self, task: Task) -> dict[str, Any]:
        import torch

        os.environ["TOKENIZERS_PARALLELISM"] = "false"  # no threads of theirs
        systems = self._systems(task)
        torch.set_num_threads(1)  # last: loading the others sets it too
        return timed(task, systems)

    def _systems(self, task: Task) -> dict[str, System]:
        """Every system that is trained. fastText's texts are made ready beforehand; the others take them raw."""
        from .. import neural  # noqa: F401 (makes its networks known)

        run, chosen = first_seed(task)
        found: dict[str, System] = {"teacher": (list, task.opened(task.directory / "teacher").logits)}
        for name in dict.fromkeys(("scratch", chosen)):
            found[name] = run.for_classifier, partial(run.classifier(name).predict, threads=1)
        for name in NETWORKS:
            trained = task.directory / "networks" / f"{name}-0" / "trained"
            if (trained / "training.json").exists():
                found[name] = list, task.opened(trained).logits
        test = task.inputs.part("test")
        truth = dict(zip(test.texts, test.targets, strict=True))
        for name in self.baselines:
            baseline = baseline_of(task, name, 0)
            baseline.load()

            def prepare(texts: list[str], baseline: Any = baseline) -> list[str]:
                baseline.warm(texts, np.array([truth.get(text, 0) for text in texts]))  # fastText's fastest way
                return baseline.prepare(texts)

            found[name] = prepare, baseline.label
        return found

    def tables(self, study: dict[str, Any], results: dict[str, Recorded]) -> list[Table]:
        def cell(name: str, key: str) -> str:
            if key in self.theirs:
                return small(self.theirs[key].get(name, ""))[0]
            figures = study[key]
            if name not in figures or name not in results[key].systems:  # speed says nothing without accuracy
                return ""
            times = figures[name]["texts_per_second"] / figures["teacher"]["texts_per_second"]
            return rate(figures[name]) + (f" <small>{digits(times, 2)} x</small>" if name != "teacher" else "")

        return [by_system([*study, *self.theirs], cell, "texts a second")]

    def draw(self, axes: Any, figures: dict[str, Any], record: Recorded) -> None:
        """A mark a system: the sparse students orange, other students blue, baselines green."""
        axes.set_xscale("log")
        blue, orange, green = COLOURS
        colours = dict.fromkeys(NETWORKS, blue) | dict.fromkeys(BASELINES, green) | {"teacher": "#444444"}
        for mark, name in zip("*vosoDo^v<>Ps^X", SYSTEMS, strict=True):
            if name in figures and name in record.systems:
                x, y, colour = figures[name]["texts_per_second"], 100 * record.mean(name), colours.get(name, orange)
                axes.scatter(x, y, s=26, marker=mark, color=colour, label=SYSTEMS[name])


class Columns(Study):
    """The table's columns split over two processes: by their number, accuracy and seconds; and how far both agree."""

    title = "The table split over two processes"
    note = (
        "The same settings and seed, the table's columns over two processes. (The paper's student of 2 billion "
        "parameters on two GPUs has 93.1 on IMDB, that of 1 billion on one 93.2.)"
    )
    tasks = ("trec6",)
    head = ("", "one process", "two processes", "decisions in common")

    def measure(self, task: Task) -> dict[str, Any]:
        found: dict[str, Any] = {}
        decisions = {}
        for processes in (1, 2):
            run = kd_run(task, f"columns-{processes}")
            run.execute(("count", "distill") if processes == 1 else ("count",))
            if processes == 2:
                words = ["--standalone", "--nproc-per-node", "2", "-m", "--", "sparsedistill", "distill", "--run"]
                command = [sys.executable, "-m", "torch.distributed.run", *words, str(run.directory)]
                if subprocess.run(command, cwd=run.directory, check=False).returncode:
                    raise SettingsError("torchrun failed: its own message stands above")
            run.execute(("compress",))
            decisions[processes] = decided(task, run, "kd")
            found[str(processes)] = {
                "accuracy": task.accuracies(decisions[processes]),
                "dev": dev_figure(run, "kd"),
                "seconds": run.result_of("distill.kd")["seconds"],
            }
            forget(run)
        return {**found, "agreement": float(np.mean(decisions[1] == decisions[2]))}

    def rows(self, title: str, figures: dict[str, Any], record: Recorded) -> Table:
        one, two = (figures[number] for number in ("1", "2"))
        cells = [f"{percent(run['accuracy']):.2f} <small>{run['seconds']:.0f} s</small>" for run in (one, two)]
        return [[title, *cells, f"{figures['agreement']:.2%}"]]
