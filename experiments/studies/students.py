"""Studies that look into the first seed's students, and take them elsewhere."""

import json
import math
from dataclasses import asdict
from operator import itemgetter
from typing import Any

import numpy as np

from benchmarks.splits import whole
from sparsedistill import Run, SettingsError

from ..cells import COLOURS, SYSTEMS, TASKS, Table, by_system, escape, percent, small
from ..claims import Claim, points, share
from ..package import Vocabulary, probabilities
from ..records import Recorded
from ..study import Study, first_seed, without
from ..task import Task, accuracy, decided


class Sizes(Study):
    """How large a task is: its texts, its teacher, and the student that dev chooses."""

    title = "Tasks"
    note = (
        "Distinct texts of each part, the tokens of a text that the teacher reads at most, and the student that was "
        "chosen: its n-grams and their words, its layers, its size; <small>the paper's, whose test texts are its dev "
        "sets</small>. The paper's student has 1 million n-grams of 1 to 4 words, 1000 wide, 1001 million parameters."
    )
    tasks = ("imdb", "sst2", "trec6", "trec50", "agnews", "tweets", "wikitoxic", "mrpc")
    head = ("", "classes", "train", "dev", "test", "corpus", "tokens", "n-grams", "words", "hidden", "parameters",
            "served")  # fmt: skip
    # The paper's texts: train, dev and corpus.
    theirs = {
        "imdb": ("25,000", "25,000", "75M"), "sst2": ("67,349", "872", "75M"), "trec50": ("5,452", "500", "65M"),
        "agnews": ("120,000", "7,600", "418M"), "civil": ("1,804,874", "97,320", "60M"),
        "qqp": ("363,846", "40,430", "10M"),
    }  # fmt: skip

    def measure(self, task: Task) -> dict[str, Any]:
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

    def rows(self, title: str, figures: dict[str, Any], record: Recorded) -> Table:
        train, dev, corpus = (f"{figures['texts'][part]:,}" for part in ("train", "dev", "corpus"))
        ours = (train, ", ".join(f"{size:,}" for size in figures["tests"].values()), corpus)
        theirs = small(*self.theirs.get(record.key, ("", "", "")))
        train, test, corpus = (f"{mine} {cell}".strip() for mine, cell in zip(ours, theirs, strict=True))
        return [
            [title, f"{figures['classes']}", train, dev, test, corpus, f"{figures['tokens']}",
             f"{figures['ngrams']:,}", f"1 to {figures['max_n']}", ", ".join(map(str, figures["width"])) or "none",
             f"{figures['parameters'] / 1e6:.0f}M", f"{figures['megabytes']:.0f} MB"]
        ]  # fmt: skip


class Pruning(Study):
    """The most frequent n-grams alone: by what was counted, [share kept, accuracy] of the student, float32 as trained.

    And on the first test set: by how many ``points`` counts of train are ``better``, on average over the shares, and
    which share of the accuracy is ``kept`` by 3 percent of the n-grams, with their standard errors over the texts.
    """

    title = "Pruning"
    note = (
        "The most frequent n-grams alone, by their counts on corpus and train or on train alone; seed 0 of the student "
        "that dev chose; in small print the share of the whole's accuracy."
    )
    tasks = ("imdb", "sst2", "trec6", "trec50", "agnews", "tweets")
    axes = ("% of the n-grams kept", "accuracy, %")
    shares = (1.0, 0.5, 0.3, 0.2, 0.1, 0.05, 0.03, 0.02, 0.01)
    head = ("", *(f"{100 * kept:g} %" for kept in shares))
    paper = [small("the paper, IMDB", *("above 90, 96.3%" if kept == 0.03 else "" for kept in shares))]
    counted = ("corpus and train", "train")
    keeps = 0.963  # of its accuracy at 3 percent: the paper's student of IMDB, above 90 of 93.5

    def measure(self, task: Task) -> dict[str, Any]:
        run, name = first_seed(task)
        vocabulary, student = run.trained(name)
        ids, offsets = run.bags(vocabulary, task.inputs.part("test").texts, 0)
        by_train = np.argsort(-vocabulary.train_counts.astype(np.int64), kind="stable")
        orders = (np.arange(len(vocabulary)), by_train)  # the first is what they stand in
        found: dict[str, Any] = {"student": name, "ngrams": len(vocabulary)}
        gold = task.first_test()[1]
        right: dict[tuple[str, float], np.ndarray] = {}
        for counted, order in zip(self.counted, orders, strict=True):
            found[counted] = []
            for kept in self.shares:
                keep = np.zeros(len(vocabulary), bool)
                keep[order[: max(1, round(kept * len(order)))]] = True
                decisions = student.logits(*without(keep, ids, offsets), 2).argmax(axis=1)
                right[counted, kept] = (decisions[: len(gold)] == gold).astype(float)
                found[counted].append([kept, task.accuracies(decisions)])
        better = np.mean([right["train", kept] - right["corpus and train", kept] for kept in self.shares[1:]], axis=0)
        found["better"] = {"points": float(better.mean()), "error": self._error(better)}
        some, whole = right["train", 0.03], right["train", 1.0]
        ratio = some.mean() / whole.mean()
        found["kept"] = {"share": float(ratio), "error": self._error(some - ratio * whole) / float(whole.mean())}
        return found

    def _error(self, values: np.ndarray) -> float:
        """Standard error of the mean of ``values``, one a text."""
        return float(values.std() / np.sqrt(len(values)))

    def rows(self, title: str, figures: dict[str, Any], record: Recorded) -> Table:
        rows = []
        for counted in self.counted:
            values = [percent(accuracy) for _, accuracy in figures[counted]]
            cells = [f"{value:.1f} <small>{value / values[0]:.1%}</small>" for value in values]
            rows.append([f"{title}, {SYSTEMS[figures['student']]}, counts of {counted}", *cells])
        return rows

    def claims(self, title: str, figures: dict[str, Any]) -> list[Claim]:
        better, kept = figures["better"], figures["kept"]
        what = f"{title}: pruning by counts of train is better, on average over the shares"
        more = f"{title}: 3 % of the n-grams keep {self.keeps:.1%} of the accuracy"
        return [points(what, better["points"], 1.96 * better["error"]),
                share(more, kept["share"], 1.96 * kept["error"], self.keeps)]  # fmt: skip

    def draw(self, axes: Any, figures: dict[str, Any], record: Recorded) -> None:
        axes.set_xscale("log")
        for colour, counted in zip(COLOURS, self.counted, strict=False):
            shares, values = zip(*((100 * kept, percent(accuracy)) for kept, accuracy in figures[counted]), strict=True)
            axes.plot(shares, values, "o-", ms=3, color=colour, label=f"counts of {counted}")


class Coverage(Study):
    """How a text's share of known n-grams goes with the student's loss against its teacher.

    Tenths of the first test set by coverage: its mean, KL(teacher || student), student's and teacher's accuracy.
    """

    title = "Coverage"
    note = (
        "How much a student departs from its teacher where its n-grams are unknown: test texts in tenths by the share "
        "of their n-grams that are known; seed 0 of the student that dev chose."
    )
    tasks = ("imdb", "sst2", "trec50", "agnews", "tweets")
    axes = ("% of n-grams known, tenths of the texts", "KL(teacher || student)")
    head = ("KL <small>known</small>", *map(str, range(1, 11)), "correlation")

    def measure(self, task: Task) -> dict[str, Any]:
        run, name = first_seed(task)
        vocabulary, student = run.trained(name)
        texts, gold = task.first_test()
        teacher = task.run.teacher_logits("test")[: len(texts)]
        ids, offsets = run.bags(vocabulary, texts, 0)
        # A hashed vocabulary knows every n-gram there is: its bags say how many a text has.
        _, all_offsets = run.bags(Vocabulary.hash(1, **asdict(vocabulary.rules)), texts, 0)
        covered = np.diff(offsets).astype(float) / np.maximum(np.diff(all_offsets).astype(float), 1)
        logits = student.logits(ids, offsets, 2)
        p, q = probabilities(teacher, "single"), probabilities(logits, "single")
        loss = (p * (np.log(np.maximum(p, 1e-12)) - np.log(np.maximum(q, 1e-12)))).sum(axis=1)
        tenths = [
            {
                "coverage": float(covered[part].mean()),
                "loss": float(loss[part].mean()),
                "student": accuracy(logits[part], gold[part]),
                "teacher": accuracy(teacher[part], gold[part]),
            }
            for part in np.array_split(np.argsort(covered, kind="stable"), 10)
        ]
        return {"student": name, "tenths": tenths, "correlation": float(np.corrcoef(covered, loss)[0, 1])}

    def rows(self, title: str, figures: dict[str, Any], record: Recorded) -> Table:
        cells = [f"{tenth['loss']:.3f} <small>{tenth['coverage']:.0%}</small>" for tenth in figures["tenths"]]
        return [[f"{title}, {SYSTEMS[figures['student']]}", *cells, f"{figures['correlation']:+.2f}"]]

    def draw(self, axes: Any, figures: dict[str, Any], record: Recorded) -> None:
        coverage, loss = ([tenth[name] for tenth in figures["tenths"]] for name in ("coverage", "loss"))
        axes.plot([100 * share for share in coverage], loss, "o-", ms=3, color=COLOURS[0])


class Adaptation(Study):
    """From one set of reviews, the task, to another: accuracies on the first test set of the target.

    A teacher of the source, its student on the target, then gold labels of it.
    """

    title = "Domain adaptation"
    note = (
        "A teacher of the source labels the source's corpus; its student goes to the target as it is, or is fine-tuned "
        "on the target's labels. One seed."
    )
    tasks = ("imdb", "sst2")
    head = ("", "teacher of the source", "KD", "KD+FT", "KD+FT, new head")
    paper = [
        small("the paper, IMDB → SST-2", 90.0, 81.9, 88.4, 86.7),
        small("the paper, SST-2 → IMDB", 94.1, 92.0, 93.0, 92.8),
    ]
    targets = {"imdb": "sst2", "sst2": "imdb"}
    rates = (1e-4, 1e-3, 3e-3)

    def measure(self, task: Task) -> dict[str, Any]:
        if task.key not in self.targets:
            raise SettingsError(f"there is nowhere to go from {task.key}: take {' or '.join(self.targets)}")
        target, (run, _) = task.other(self.targets[task.key]), first_seed(task)
        test, gold = target.first_test()
        teacher = task.opened(task.directory / "teacher", target.run.settings.teach)
        vocabulary, student = run.trained("kd")
        on_test = vocabulary.bags(test)
        found: dict[str, Any] = {"target": target.key, "teacher": accuracy(teacher.logits(test), gold)}
        found["kd"] = accuracy(student.logits(*on_test, 2), gold)
        for name, new_head in (("kd_ft", False), ("kd_ft_new_head", True)):
            tried = (self._tuned(task, run, target, rate, new_head) for rate in self.rates)
            student = max(tried, key=itemgetter(0))[1]
            found[name] = accuracy(student.logits(*on_test, 2), gold)
        return found

    def _tuned(self, task: Task, run: Run, target: Task, rate: float, new_head: bool) -> tuple[float, Any]:
        """Accuracy on the target's dev of the student fine-tuned on its labels, and the student."""
        from sparsedistill.stages.train import new_student
        from sparsedistill.student.dataset import Batch, InMemory
        from sparsedistill.student.schedule import Schedule
        from sparsedistill.student.train import train
        from sparsedistill.tasks import Single

        data = target.run.data
        vocabulary, student = run.trained("kd")
        labelled, dev = (target.inputs.part(part) for part in ("train", "dev"))
        if new_head:  # the dense layers of an untrained one
            for mine, fresh in zip(student.parameters(), new_student(run, "kd", 1).parameters(), strict=True):
                mine.data.copy_(fresh.data)
        steps = round(5 * len(labelled.texts) / 32)
        schedule = Schedule(
            steps=steps, batch_size=32, learning_rate=rate, warmup=0.06, ngram_dropout=0.1,
            evaluate_every=max(1, steps // 10), checkpoint_seconds=60.0, threads=2, seed=0, keep_best=True,
        )  # fmt: skip
        on_dev = vocabulary.bags(dev.texts)

        def score(student: Any) -> float:
            return accuracy(student.logits(*on_dev, 2), dev.targets)

        where = task.directory / "adaptation" / f"{target.key}-{rate:g}-{new_head}"
        key = json.dumps([run.key("distill.kd"), data["train"], data["dev"], new_head, asdict(schedule)])
        one_hot = np.eye(len(task.inputs.labels), dtype=np.float32)[labelled.targets]
        learnt = InMemory(Batch(*vocabulary.bags(labelled.texts), one_hot))
        train(student, learnt, schedule, Single(), where, score, f"adapt {rate:g}", key, True)
        (where / "student.safetensors").unlink()
        return score(student), student

    def rows(self, title: str, figures: dict[str, Any], record: Recorded) -> Table:
        cells = [f"{100 * figures[name]:.1f}" for name in ("teacher", "kd", "kd_ft", "kd_ft_new_head")]
        return [[f"{title} → {TASKS[figures['target']]}", *cells]]


class Privacy(Study):
    """The privacy setting: what students give away of their training texts, and what keeping these from them costs.

    Membership inference by loss (Yeom et al. 2018): an attacker guesses that a text was trained on where the student's
    loss on its label is small. AUC 0.5 is a guess. By system, AUC of telling train from dev, and accuracy.
    """

    title = "What a student tells of its training texts"
    note = (
        "How well the loss on a text's label tells texts of train, those in the corpus left out, from texts of dev, as "
        "the area under the curve: 0.5 is a guess; ± is 95 % over the texts of dev, at most. KD† was trained on the "
        "corpus alone. Seed 0."
    )
    tasks = ("sst2", "trec6", "trec50", "agnews", "tweets", "imdb")

    def measure(self, task: Task) -> dict[str, Any]:
        (run, _), found = first_seed(task), {}
        train, dev = task.inputs.part("train"), task.inputs.part("dev")
        rows = {"train": members(task), "dev": np.arange(len(dev.texts))}
        texts = {name: [part.texts[i] for i in rows[name]] for name, part in (("train", train), ("dev", dev))}
        gold = {"train": train.targets[rows["train"]], "dev": dev.targets}
        for name in ("teacher", *run.students):
            if name == "teacher":
                logits = {part: task.run.teacher_logits(part)[chosen] for part, chosen in rows.items()}
                predictions = task.run.teacher_logits("test").argmax(1)
            else:
                score = run.classifier(name).decision_function
                logits = {part: score(task.run.for_classifier(some)) for part, some in texts.items()}
                predictions = decided(task, run, name)
            losses = {}
            for part, truth in gold.items():
                chance = probabilities(logits[part], "single")[np.arange(len(truth)), truth]
                losses[part] = -np.log(np.maximum(chance, 1e-12))
            found[name] = {"auc": auc(losses["train"], losses["dev"]), "accuracy": task.accuracies(predictions)}
        return found

    def tables(self, study: dict[str, Any], results: dict[str, Recorded]) -> list[Table]:
        def cell(name: str, key: str) -> str:
            if name not in study[key]:
                return ""
            auc, sizes = study[key][name]["auc"], results[key].studies.get("sizes")
            # Its variance is auc (1 - auc) / the smaller number of texts at most: dev's (Birnbaum and Klose 1957).
            half = f" ±{1.96 * math.sqrt(auc * (1 - auc) / sizes['figures']['texts']['dev']):.2f}" if sizes else ""
            return f"{auc:.2f}{half}"

        return [by_system(study, cell, "AUC")]


def members(task: Task) -> np.ndarray:
    """Rows of train that are like dev but for having been trained on: whole sentences, and not in the corpus."""

    def letters(text: str) -> str:
        return "".join(filter(str.isalnum, text.lower()))

    texts = task.inputs.part("train").texts
    rows = whole(texts) if task.key == "sst2" else np.arange(len(texts))
    public = {letters(text) for text in task.texts("corpus")}
    return np.array([i for i in rows if letters(texts[i]) not in public])


def auc(members: np.ndarray, others: np.ndarray) -> float:
    """The probability that a member's loss is below another's, ties counting half."""
    ranked = np.sort(others)
    right, left = (np.searchsorted(ranked, members, side=side) for side in ("right", "left"))
    return float((len(others) - right + (right - left) / 2).mean() / len(others))


class Cases(Study):
    """Shares of the first test set by who is right, and the disagreements in which both are most confident."""

    title = "Where student and teacher disagree"
    note = (
        "Shares of the test texts; seed 0 of the student that dev chose. Below them the disagreements in which both "
        "are most confident, with the n-grams that decided; `experiments/results/` has twenty a task."
    )
    tasks = ("sst2", "imdb", "trec50", "agnews", "tweets")
    head = ("", "agree", "both right", "teacher alone right", "student alone right")
    texts, shown = 20, 2  # a task that are kept, and of them on the page
    longest = 400  # characters of a text that are kept

    def measure(self, task: Task) -> dict[str, Any]:
        run, name = first_seed(task)
        classifier = run.classifier(name)
        texts, gold = task.first_test()
        teacher = task.run.teacher_logits("test")[: len(texts)]
        p, q = probabilities(teacher, "single"), classifier.predict_proba(task.run.for_classifier(texts))
        theirs, ours, labels = p.argmax(1), q.argmax(1), classifier.labels
        apart = np.flatnonzero(theirs != ours)
        first = apart[np.argsort(-np.minimum(p.max(1), q.max(1))[apart], kind="stable")][: self.texts]
        return {
            "student": name,
            "agree": float((theirs == ours).mean()),
            "both_right": float(((theirs == gold) & (ours == gold)).mean()),
            "student_alone_right": float(((theirs != gold) & (ours == gold)).mean()),
            "teacher_alone_right": float(((theirs == gold) & (ours != gold)).mean()),
            "texts": [
                {
                    "text": texts[i][: self.longest],
                    "gold": labels[gold[i]],
                    "teacher": [labels[theirs[i]], round(float(p[i].max()), 3)],
                    "student": [labels[ours[i]], round(float(q[i].max()), 3)],
                    "ngrams": [[g, round(c, 3)] for g, c in classifier.explain(texts[i], top=6).contributions],
                }
                for i in first.tolist()
            ],
        }

    def rows(self, title: str, figures: dict[str, Any], record: Recorded) -> Table:
        shares = ("agree", "both_right", "teacher_alone_right", "student_alone_right")
        return [[f"{title}, {SYSTEMS[figures['student']]}", *(f"{figures[share]:.1%}" for share in shares)]]

    def tables(self, study: dict[str, Any], results: dict[str, Recorded]) -> list[Table]:
        texts = [["", "gold", "teacher", "student", "text", "n-grams that decided"]]
        for key, figures in study.items():
            for text in figures["texts"][: self.shown]:
                ngrams = ", ".join(f"{escape(ngram)} {weight:+.2f}" for ngram, weight in text["ngrams"])
                decisions = [f"{escape(label)} {chance:.2f}" for label, chance in (text["teacher"], text["student"])]
                words = escape(" ".join(text["text"].split()))
                texts.append([TASKS[key], escape(text["gold"]), *decisions, words, f"<small>{ngrams}</small>"])
        return [*super().tables(study, results), texts]
