"""Small runs of every kind of job, and what they gave: the digests that refactoring must not change.

Run in a process of its own (``python tests/golden.py FOLDER``), in which torch and MKL are told to compute alike on
every processor, it prints the digests of each run's logits, students, classifiers and predictions as JSON.
``tests/golden.json`` holds those that are right; a change that means to alter weights writes them again with
``python tests/golden.py FOLDER > tests/golden.json``, and says why.
"""

from __future__ import annotations

import contextlib
import csv
import hashlib
import json
import os
import signal
import sys
import time
import zlib
from collections.abc import Sequence
from pathlib import Path

import numpy as np

# Before torch is loaded: the same instructions, the same sums.
SAME_EVERYWHERE = {
    "ATEN_CPU_CAPABILITY": "default",
    "MKL_CBWR": "COMPATIBLE",
    "ONEDNN_MAX_CPU_ISA": "SSE41",
    "OMP_NUM_THREADS": "1",
    "CUDA_VISIBLE_DEVICES": "",
}
TEXT = "the a film was not very good bad awful lovely plot actor scene of and with music slow quick it is 2 we I never"
WORDS = [*TEXT.split(), "always", "laughed", "cried", "café", "naïve", "don't", "U.S.", "映画", "хорошо"]
LABELS = ("bad", "fair", "good")
COMMON = {
    "data": {"dev_fraction": 0.2},
    "distill": {
        "modes": ["scratch", "kd_private", "kd"], "epochs": 4, "batch_size": 32, "learning_rate": 0.02, "threads": 1,
        "device": "cpu", "evaluate_every": 5,
    },
    "finetune": {"epochs": 2},
    "compress": {"max_loss": 0.2},
    "evaluate": {"repeats": 1, "threads": 1, "speed_texts": 50},
    "teach": {"teacher": "golden:single", "threads": 1, "precision": "fp32"},
    "label": {"shard_size": 100},
    "count": {"max_n": 4, "characters": "none"},
}  # fmt: skip
RUNS = {
    "single": {"label": {"random_crops": 1}, "distill": {"hidden": [16], "train_weight": 2}},
    "multi": {
        "data": {"train": ["multi.csv"], "corpus": [], "test": [], "task": "multi", "weight": "weight"},
        "teach": {"teacher": "golden:multi"},
        "label": {"scores": "probabilities"},
        "distill": {"modes": ["scratch", "kd"], "hidden": []},
    },
    "regression": {
        "data": {"train": ["scores.csv"], "corpus": ["corpus.jsonl"], "test": [], "task": "regression"},
        "teach": {"teacher": "golden:regression"},
        "distill": {"hidden": [8], "embedding": 12, "optimizer": "adagrad", "table": "bfloat16"},
    },
    "transformer": {
        "data": {"corpus": ["short.txt"]},
        "teach": {"teacher": "model", "epochs": 4, "learning_rate": 3e-3, "batch_size": 16, "dropout": 0.1},
        "distill": {"modes": ["kd"], "hidden": [8], "embedding": 12, "pooling": "attentive", "init": "teacher"},
        "compress": {"rows": "float32"},
    },
    "pairs": {
        "data": {"train": ["pairs.csv"], "corpus": ["pairs.csv"], "test": [], "pair": "second"},
        "teach": {"teacher": "golden:of_pairs"},
        "distill": {"modes": ["kd"], "hidden": [8], "embedding": 6, "pooling": "mean+max"},
        "compress": {"rows": "float16"},
    },
    "column": {
        "data": {"train": [], "corpus": ["corpus.jsonl"], "test": [], "labels": list(LABELS)},
        "teach": {"teacher": "column:scores"},
        "distill": {"modes": ["kd"], "hidden": [16]},
        "count": {"hashed": True, "size": 500, "max_n": 2},
    },
}


def _number(text: str, about: str) -> float:
    """A number of -1 to 1 that hangs on the words of a text, so that students can learn it."""
    each = [zlib.crc32(f"{about} {word}".encode()) / 2**31 - 1 for word in text.lower().split()]
    return float(np.mean(each)) if each else 0.0


def single(texts: list[str]) -> np.ndarray:
    """Logits of three classes."""
    return np.array([[4 * _number(text, label) for label in LABELS] for text in texts])


def multi(texts: list[str]) -> np.ndarray:
    """Probabilities of three labels."""
    return np.array([[0.5 + 0.45 * _number(text, label) for label in LABELS] for text in texts])


def regression(texts: list[str]) -> list[float]:
    """Scores about 2000."""
    return [2000 + 50 * _number(text, "score") for text in texts]


def of_pairs(texts: list[tuple[str, str]]) -> np.ndarray:
    """Logits of two classes: whether the texts are alike."""
    same = [len({*a.split()} & {*b.split()}) / max(1, len({*a.split()} | {*b.split()})) for a, b in texts]
    return np.array([[1 - 4 * share, 4 * share - 1] for share in same])


def write_inputs(folder: Path) -> None:
    """The texts of all runs, and a small transformer."""
    random = np.random.default_rng(0)
    texts = [
        " ".join(WORDS[i] for i in random.integers(0, len(WORDS), n)) + random.choice(["", ".", "!", " \U0001f600"])
        for n in random.integers(2, 25, 1400)
    ]

    def write(name: str, header: list[str], rows: list) -> None:
        with open(folder / name, "w", encoding="utf-8", newline="") as file:
            csv.writer(file).writerows([header, *rows])

    labels = [LABELS[i] for i in single(texts).argmax(1)]
    write("train.csv", ["text", "label"], list(zip(texts[:300], labels[:300], strict=True)))
    write("test.csv", ["text", "label"], list(zip(texts[300:400], labels[300:400], strict=True)))
    several = [",".join(np.array(LABELS)[row > 0.5]) for row in multi(texts[:300])]
    write("multi.csv", ["text", "label", "weight"],
          [(text, names, 1 + i % 3) for i, (text, names) in enumerate(zip(texts, several, strict=False))])  # fmt: skip
    write("scores.csv", ["text", "label"], list(zip(texts[:300], regression(texts[:300]), strict=True)))
    alike = [f"{text} {text[:9]}" if i % 2 else texts[i + 300] for i, text in enumerate(texts[:300])]
    write("pairs.csv", ["text", "second", "label"],
          [(a, b, int(of_pairs([(a, b)])[0].argmax())) for a, b in zip(texts[:300], alike, strict=True)])  # fmt: skip
    with open(folder / "corpus.jsonl", "w", encoding="utf-8") as file:
        # Some of train, dev and test stand in the corpus, too, written otherwise.
        for text in [*texts[400:], *(text.upper() for text in texts[:400:4])]:
            file.write(json.dumps({"text": text, "scores": single([text])[0].tolist()}) + "\n")
    (folder / "short.txt").write_text("\n".join(texts[400:600]) + "\n", encoding="utf-8")
    write_model(folder / "model")


def write_model(folder: Path) -> None:
    """A transformer of two layers with chance weights that knows the words."""
    import torch
    import transformers

    folder.mkdir()
    pieces = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *(w.lower() for w in WORDS), *".!'"]
    (folder / "vocab.txt").write_text("\n".join(dict.fromkeys(pieces)) + "\n", encoding="utf-8")
    tokenizer = transformers.BertTokenizerFast(str(folder / "vocab.txt"))
    torch.manual_seed(0)
    config = transformers.BertConfig(
        vocab_size=len(dict.fromkeys(pieces)), hidden_size=16, num_hidden_layers=2, num_attention_heads=2,
        intermediate_size=32, max_position_embeddings=64, num_labels=3,
    )  # fmt: skip
    transformers.BertForSequenceClassification(config).save_pretrained(folder)
    tokenizer.save_pretrained(folder)


def write_settings(folder: Path, name: str) -> Path:
    """The TOML file of a run."""
    values = {section: dict(fields) for section, fields in COMMON.items()}
    values["data"] |= {"train": ["train.csv"], "test": ["test.csv"], "corpus": ["corpus.jsonl"]}
    for section, fields in RUNS[name].items():
        values.setdefault(section, {}).update(fields)
    lines = [f'run = "{name}"']
    for section, fields in values.items():
        lines += [f"[{section}]", *(f"{key} = {json.dumps(value)}" for key, value in fields.items())]
    (folder / f"{name}.toml").write_text("\n".join(lines) + "\n", encoding="utf-8")
    return folder / f"{name}.toml"


def interrupted(folder: Path, run: str) -> None:
    """A run that is interrupted in the midst of its training and goes on: twice, each in a process of its own.

    A fork of this one, which need not load torch; as long as nothing has started threads.
    """
    for _ in range(2):
        settings = write_settings(folder, run)
        before = _checkpoint(folder / run)
        if not (process := os.fork()):
            os.dup2(os.open(os.devnull, os.O_WRONLY), 2)
            os.chdir(folder)
            os._exit(_main(("run", str(settings), "--set", "distill.checkpoint_seconds=0")))
        while (done := os.waitpid(process, os.WNOHANG)) == (0, 0) and _checkpoint(folder / run) == before:
            time.sleep(0.001)
        assert done == (0, 0), "it ended before it could be interrupted"
        os.kill(process, signal.SIGINT)
        assert os.waitstatus_to_exitcode(os.waitpid(process, 0)[1]) == 130, "it was finished before it was interrupted"


def _checkpoint(run: Path) -> list[int]:
    return [path.stat().st_mtime_ns for path in run.glob("students/*/checkpoint*")]


def digests(folder: Path, run: str) -> dict[str, str]:
    """Of all weights and predictions of a finished run."""
    found = {}
    for pattern in ("logits/*/*.npy", "teacher/model.safetensors", "students/*/student.safetensors",
                    "classifiers/*/model.safetensors", "classifier/model.safetensors"):  # fmt: skip
        for path in sorted((folder / run).glob(pattern)):
            found[str(path.relative_to(folder / run))] = _digest(path.read_bytes())
    pair = ["--pair", "second"] if run == "pairs" else []
    texts = folder / ("pairs.csv" if pair else "test.csv")
    said = folder / f"{run}.jsonl"
    _call("predict", str(folder / run / "classifier"), str(texts), *pair, "--threads", "1", "-o", str(said))
    return {**found, "predictions": _digest(said.read_bytes())}


def _main(words: Sequence[str]) -> int:
    """The command line in this process, without its pictures, which take as long as the trainings.

    Our own stdout is for the digests.
    """
    from sparsedistill import report
    from sparsedistill.cli import main
    from sparsedistill.student import curve

    report.save_figure = curve.save_figure = lambda figure, path: None
    with contextlib.redirect_stdout(sys.stderr):
        return main(words)


def _call(*words: str) -> None:
    if status := _main(words):
        sys.exit(status)


def _digest(data: bytes) -> str:
    return hashlib.blake2b(data, digest_size=8).hexdigest()


def main(folder: Path) -> int:
    """All runs and their digests, as JSON on stdout."""
    folder.mkdir(parents=True, exist_ok=True)
    write_inputs(folder)
    found = {}
    os.chdir(folder)
    sys.modules["golden"] = sys.modules[__name__]
    interrupted(folder, "single")
    for name in RUNS:
        _call("run", str(write_settings(folder, name)))
        found[name] = digests(folder, name)
    json.dump(found, sys.stdout, indent=1)
    sys.stdout.write("\n")
    return 0


if __name__ == "__main__":
    if any(os.environ.get(name) != value for name, value in SAME_EVERYWHERE.items()):
        os.execve(sys.executable, [sys.executable, *sys.argv], {**os.environ, **SAME_EVERYWHERE})
    sys.exit(main(Path(sys.argv[1]).resolve()))
