"""Every option of every stage: the fields of these dataclasses are the command line's options.

A field's ``help`` metadata is what ``--help`` prints. Settings come, the later over the earlier,
from the defaults here, the run directory's ``settings.json``, a TOML file, and the command line.
"""

from __future__ import annotations

import dataclasses
import re
from dataclasses import dataclass, field
from typing import Any

from .errors import SettingsError, require

INPUT_FORMATS = ("auto", "lines", "csv", "tsv", "jsonl", "json", "fasttext", "parquet", "arrow")
QUOTING = ("auto", "double", "none")
TASKS = ("single", "multi", "regression")
TOKENIZERS = ("sklearn", "words", "whitespace")
MODES = ("scratch", "kd_private", "kd")


def option(default: Any, help: str, choices: tuple[str, ...] = (), least: float = 0, most: float = float("inf")) -> Any:
    """A field of a settings class: what ``--help`` says of it, and what a number (each of several) may be."""
    return field(default=default, metadata={"help": help, "choices": choices, "least": least, "most": most})


@dataclass(frozen=True)
class Data:
    """Where the texts are and how to read them."""

    train: tuple[str, ...] = option((), "labelled texts: files, globs, folders or hf:name[/config][:split]")
    dev: tuple[str, ...] = option((), "labelled texts to choose on; without it a seeded part of train is held out")
    test: tuple[str, ...] = option((), "labelled texts to report on, used once")
    corpus: tuple[str, ...] = option((), "unlabelled texts for the teacher to label")
    text: str = option("text", "column of the text")
    pair: str = option("", "column of the second text, where pairs of texts are to be labelled")
    label: tuple[str, ...] = option(
        ("label",),
        "column of the gold label; for multi a list of names, names parted by --label-separator, or as many 0s and 1s "
        "as there are --labels; or several columns, a 0 or 1 each",
    )
    label_separator: str = option(",", "what parts the labels of a text in a cell, for multi")
    labels: tuple[str, ...] = option(
        (), "label names in the order of the teacher's classes; default: those of train, sorted"
    )
    task: str = option("single", "single: one label a text; multi: any number; regression: a score", TASKS)
    input_format: str = option("auto", "of all files and folders; auto goes by their suffixes", INPUT_FORMATS)
    delimiter: str = option("", "what parts the fields of CSV and TSV files; default: a comma in CSV, a tab in TSV")
    quoting: str = option(
        "auto", 'fields of CSV and TSV files in "...", with quotes inside doubled; auto: in CSV, not in TSV', QUOTING
    )
    header: bool = option(True, "the first line of CSV and TSV files names the columns; off: they are called 1, 2 ...")
    encoding_errors: str = option(
        "strict", "invalid UTF-8: refuse the file, or replace the bytes by U+FFFD", ("strict", "replace")
    )
    skip_missing: bool = option(
        False, "leave out rows without a text or a label (null or blank; for multi a blank label is none at all)"
    )
    dev_fraction: float = option(0.1, "share of train held out when no dev set is given", most=0.9)
    class_weights: tuple[str, ...] = option(
        (), "weights of the classes in learning from gold labels: balanced, or NAME=NUMBER for some"
    )
    weight: str = option("", "column of train with the weight of each text in learning from it")
    metric: str = option(
        "auto",
        "figure that choices on dev are made by; auto: accuracy, for multi micro_f1, with class weights macro_f1",
        ("auto", "accuracy", "micro_f1", "macro_f1"),
    )
    seed: int = option(0, "seed of everything random in the run")


@dataclass(frozen=True)
class Teach:
    """The teacher, and its fine-tuning."""

    teacher: str = option(
        "", "a Hugging Face model (path or hub id), module:function, or column:NAME for scores in the data"
    )
    finetune: bool = option(True, "fine-tune the model on train; off: use it as it is")
    max_length: int = option(256, "tokens of a text that the teacher reads", least=1)
    device: str = option("auto", "cpu, cuda, cuda:1 ...; auto takes a GPU when there is one")
    precision: str = option(
        "auto",
        "auto takes the faster of the two on one batch, fp32 where the processor has no bf16",
        ("auto", "fp32", "bf16"),
    )
    threads: int = option(0, "CPU threads of the teacher and of training; 0: all")
    epochs: int = option(3, "passes over train", least=1)
    batch_size: int = option(32, "texts a step of fine-tuning", least=1)
    learning_rate: float = option(5e-5, "peak learning rate of AdamW")
    warmup: float = option(0.06, "share of the steps spent warming up", most=1)
    weight_decay: float = option(0.01, "AdamW's weight decay")
    dropout: float = option(-1.0, "dropout in fine-tuning; -1: the model's own", least=-1, most=0.9)
    checkpoint_seconds: float = option(60.0, "seconds between checkpoints")


@dataclass(frozen=True)
class Label:
    """The teacher's word on every text of the corpus."""

    scores: str = option("logits", "what a callable or a column gives", ("logits", "probabilities"))
    batch_size: int = option(64, "texts a forward pass of the teacher", least=1)
    shard_size: int = option(1024, "texts a shard: what an interruption can lose", least=1)
    pieces: int = option(
        0, "runs of words from each text of train that the teacher is asked about too, for mode kd", most=1000
    )


@dataclass(frozen=True)
class Count:
    """The vocabulary: the most frequent n-grams."""

    tokenizer: str = option("words", "how text becomes tokens", TOKENIZERS)
    lowercase: bool = option(True, "lower-case the text first")
    normalize: bool = option(True, "compose the text to Unicode's NFC first; sklearn never does")
    max_n: int = option(4, "longest n-gram, in tokens (1 to 8)", least=1, most=8)
    size: int = option(1_000_000, "most n-grams kept (V)", least=1)
    min_count: int = option(1, "n-grams seen less often are dropped", least=1)
    hashed: bool = option(False, "count nothing: every n-gram has the one of --size rows that its hash names")
    train_weight: int = option(1, "how many times an occurrence in train counts", least=1, most=1_000_000)
    memory: str = option("4GB", "memory of counting; what does not fit goes to disk, in the run directory")


@dataclass(frozen=True)
class Distill:
    """The student and its training on the teacher's distribution."""

    modes: tuple[str, ...] = option(
        ("kd",),
        "students to train: kd (corpus and train), kd_private (the corpus alone), scratch (train's gold labels alone)",
        MODES,
    )
    hidden: tuple[int, ...] = option((64,), "widths of the hidden layers; none: a row is one number a class", least=1)
    embedding: int = option(
        0,
        "width of the table before the factor W1 (the paper's d_e); 0: no W1, the table has the first hidden width",
    )
    pooling: str = option(
        "mean", "how a text's rows become one vector; mean+max, both side by side, needs --embedding",
        ("mean", "sum", "max", "mean+max", "attentive"),
    )  # fmt: skip
    init: str = option(
        "random",
        "what the table begins with: chance, or the teacher's representation of each n-gram (not from scratch)",
        ("random", "teacher"),
    )  # fmt: skip
    table: str = option("float32", "numbers of the table in training; bfloat16 halves it", ("float32", "bfloat16"))
    optimizer: str = option(
        "adam",
        "of the table: lazy adam as in the paper (8 bytes a number), or row-wise adagrad (4 bytes a row)",
        ("adam", "adagrad"),
    )
    steps: int = option(0, "training steps; 0: as many as --epochs takes")
    epochs: float = option(10.0, "passes over the texts when steps is 0")
    batch_size: int = option(512, "texts a step; fewer where an epoch would have less than 64 steps", least=1)
    learning_rate: float = option(0.0, "peak learning rate; 0: 0.01, or 0.1 without a hidden layer", most=1)
    train_weight: int = option(1, "how many times an epoch a text of train comes", least=1, most=1000)
    warmup: float = option(0.06, "share of the steps spent warming up", most=1)
    schedule: str = option(
        "polynomial", "how the learning rate falls after the warm-up", ("polynomial", "cosine", "constant")
    )
    power: float = option(1.0, "of the polynomial: 1 is a straight line to zero")
    ngram_dropout: float = option(0.1, "share of n-grams left out of each bag", most=0.9)
    dropout: float = option(0.1, "dropout before each dense layer", most=0.9)
    evaluate_every: int = option(0, "steps between looks at dev; 0: ten looks in all")
    keep: str = option(
        "auto",
        "weights to keep; auto: the last of those that learn from a teacher without --patience, else the best on dev",
        ("auto", "best", "last"),
    )  # fmt: skip
    patience: int = option(0, "looks at dev without a better figure after which training stops; 0: it never does")
    max_time: str = option("", "time after which each training stops, 45m or 8h; by then the rate has fallen")
    resume: bool = option(True, "go on from the checkpoint of an interrupted training")
    tensorboard: bool = option(False, "also write the curves for TensorBoard, to students/NAME/tensorboard")
    checkpoint_seconds: float = option(60.0, "seconds between checkpoints")
    student_seed: int = option(-1, "seed of the student's numbers, batches and dropout; -1: that of the run", least=-1)
    device: str = option(
        "auto", "that trains: cpu, cuda, cuda:1 ...; auto takes a GPU when there is one that can, and has the memory"
    )
    threads: int = option(0, "CPU threads; 0: all")


@dataclass(frozen=True)
class Finetune:
    """Stage 3: the distilled student on the gold labels of train (KD+FT)."""

    enabled: bool = option(
        True, "also fine-tune the kd student; the better of the two on dev is kept as the classifier"
    )
    epochs: float = option(5.0, "passes over train")
    batch_size: int = option(32, "texts a step", least=1)
    learning_rate: float = option(1e-3, "peak learning rate", most=1)


@dataclass(frozen=True)
class Compress:
    """From the student to the classifier that ships."""

    rows: str = option(
        "auto",
        "type of a row's numbers; auto: int8, or int16 without a hidden layer",
        ("auto", "int8", "int16", "float16", "float32"),
    )
    max_loss: float = option(0.005, "refuse when dev accuracy (regression: R2) falls by more than this share")


@dataclass(frozen=True)
class Evaluate:
    """Figures of the classifiers as loaded from disk."""

    speed_texts: int = option(5000, "texts of the speed measurement, taken from test or dev", least=1)
    threads: int = option(0, "CPU threads of the speed measurement, for teacher and student alike; 0: all")
    repeats: int = option(5, "alternating timings; the median counts", least=1)


@dataclass(frozen=True)
class Settings:
    """All of them, a part a stage."""

    data: Data = Data()
    teach: Teach = Teach()
    label: Label = Label()
    count: Count = Count()
    distill: Distill = Distill()
    finetune: Finetune = Finetune()
    compress: Compress = Compress()
    evaluate: Evaluate = Evaluate()

    @property
    def students(self) -> list[str]:
        """Names of the students that a run trains."""
        names: list[str] = [mode for mode in MODES if mode in self.distill.modes]
        if self.finetune.enabled and "kd" in names and self.data.train:
            names.append("kd_ft")
        return names

    @property
    def student_seed(self) -> int:
        """Seed of the student; data are split and the teacher is trained with that of the run."""
        return self.data.seed if self.distill.student_seed < 0 else self.distill.student_seed

    def labelled_parts(self, mode: str) -> list[str]:
        """Parts that a student learns the teacher's distribution on: kd_private knows nothing of train."""
        there = {"corpus": self.data.corpus, "train": self.data.train, "pieces": self.label.pieces}
        return [part for part in _LABELLED[mode] if there[part]]

    def vocabulary_of(self, mode: str) -> str:
        """Which texts are counted: exactly those the student learns from, so kd_private knows no n-gram of train."""
        parts = [part for part in self.labelled_parts(mode) if part != "pieces"] or ["train"]
        return "all" if len(parts) == 2 else parts[0]

    def check(self) -> None:
        """Errors: :class:`SettingsError` for settings that do not go together."""
        data, distill, modes = self.data, self.distill, self.distill.modes
        for wrong, message in (
            (
                not data.train and not data.corpus,
                "nothing to learn from: give --corpus (unlabelled texts), --train (labelled ones), or both",
            ),
            (not data.train and "scratch" in modes, "mode scratch learns from gold labels: give --train"),
            (
                not data.corpus and "kd_private" in modes,
                "mode kd_private learns from the corpus alone: give --corpus",
            ),
            (not modes, f"no student is asked for: modes are {', '.join(_LABELLED)}"),
            (
                distill.pooling == "mean+max" and not distill.embedding,
                "mean+max pools to twice the table's width, which W1 brings together: give --embedding",
            ),
            (
                bool(data.pair) and not distill.embedding,
                "pairs are compared in four times the table's width, which W1 brings together: give --embedding",
            ),
            (
                distill.pooling == "attentive" and self.compress.rows.startswith("int"),
                "attentive pooling has weights that integer rows are too coarse for: --rows float32",
            ),
            (bool(data.weight) and not data.train, "--weight is a column of train: give --train, or leave it out"),
        ):
            if wrong:
                raise SettingsError(message)
        if self.label.pieces:
            self._check_crops()
        if distill.init == "teacher":
            if self.count.hashed:
                raise SettingsError("init teacher needs n-grams that have a row each: not with --hashed")
            if not distill.hidden and not distill.embedding:
                raise SettingsError("init teacher needs rows wider than the logits: give --hidden or --embedding")

    def _check_crops(self) -> None:
        if not self.data.train or "kd" not in self.distill.modes:
            raise SettingsError("pieces are of train, for mode kd: give both, or no --pieces")
        if self.teach.teacher.startswith("column:"):
            raise SettingsError("pieces are new texts, of which a column of scores knows nothing: no --pieces")
        if self.data.pair:
            raise SettingsError("pieces of a pair are no pair: no --pieces")


# Parts that a student of each mode learns the teacher's distribution on.
_LABELLED = {"kd": ("corpus", "train", "pieces"), "kd_private": ("corpus",), "scratch": ()}

SECTIONS: dict[str, type] = {f.name: type(f.default) for f in dataclasses.fields(Settings)}


def default_of(section: str, name: str) -> Any:
    """Default value of a field, which also tells its type."""
    return next(f.default for f in dataclasses.fields(SECTIONS[section]) if f.name == name)


def build(values: dict[str, dict[str, Any]], where: str) -> Settings:
    """Settings from nested dictionaries (TOML, JSON), with defaults for what is not there.

    Errors: :class:`SettingsError` naming ``where`` and the field that is unknown, of a wrong type or not a choice.
    """
    if unknown := [name for name in values if name not in SECTIONS]:
        raise SettingsError(f"{where}: there is no table [{unknown[0]}]: {', '.join(SECTIONS)}")
    parts = {}
    for section, kind in SECTIONS.items():
        fields = {f.name: f for f in dataclasses.fields(kind)}
        given = {}
        for name, value in values.get(section, {}).items():
            if name not in fields:
                raise SettingsError(f"{where}: [{section}] has no field {name}: {', '.join(fields)}")
            given[name] = _checked(value, fields[name], f"{where}: [{section}] {name}")
        parts[section] = kind(**given)
    parse_bytes(parts["count"].memory)
    parse_time(parts["distill"].max_time)
    return Settings(**parts)


def _checked(value: Any, known: dataclasses.Field, where: str) -> Any:
    default, choices = known.default, known.metadata["choices"]
    if isinstance(default, tuple):
        if isinstance(value, str | int) and not isinstance(value, bool):
            value = (value,)
        if not isinstance(value, list | tuple):
            raise SettingsError(f"{where} is {value!r}, not a list")
        item = type(default[0]) if default else str
        if not all(isinstance(v, item) and not isinstance(v, bool) for v in value):
            raise SettingsError(f"{where} is {value!r}, not a list of {'whole numbers' if item is int else 'strings'}")
        value = tuple(value)
    elif isinstance(default, float) and isinstance(value, int) and not isinstance(value, bool):
        value = float(value)
    elif type(value) is not type(default):
        raise SettingsError(f"{where} is {value!r}, not {_kind(default)}")
    if choices and (wrong := [v for v in (value if isinstance(value, tuple) else (value,)) if v not in choices]):
        raise SettingsError(f"{where} is {wrong[0]!r}, not one of {', '.join(choices)}")
    least, most = known.metadata["least"], known.metadata["most"]
    for number in value if isinstance(value, tuple) else (value,):
        if isinstance(number, int | float) and not isinstance(number, bool) and not least <= number <= most:
            bound = f"at least {least}" if number < least else f"at most {most}"
            raise SettingsError(f"{where} is {number}: give {bound}")
    return value


def _kind(default: Any) -> str:
    return {bool: "true or false", int: "a whole number", float: "a number", str: "a string"}[type(default)]


def parse_bytes(text: str) -> int:
    """Bytes of a size such as "500MB" or "4GB" (powers of ten). Errors: :class:`SettingsError`."""
    found = re.fullmatch(r"(\d+(?:\.\d+)?)\s*([KMGT]?)B?", text.strip().upper())
    if not found:
        raise SettingsError(f"{text!r} is not a size of memory: write it like 500MB or 4GB")
    return int(float(found[1]) * 1000 ** " KMGT".index(found[2] or " "))


def parse_time(text: str) -> float:
    """Seconds of a time such as "90s", "45m", "1.5h" or "2d"; no text is no limit. Errors: :class:`SettingsError`."""
    if not text.strip():
        return float("inf")
    found = re.fullmatch(r"(\d+(?:\.\d+)?)\s*([smhd])", text.strip().lower())
    if not found or not float(found[1]):
        raise SettingsError(f"{text!r} is not a time: write it like 45m or 8h")
    return float(found[1]) * {"s": 1, "m": 60, "h": 3600, "d": 86400}[found[2]]


def parse_value(text: Any, default: Any) -> Any:
    """A setting's value from the command line, of the type of its default; left as it is where it does not parse.

    A list of words, which a shell has parted, stays as it is. Text is a value of TOML, else a bare string; of a setting
    that is a list, a bare string is its items, parted by commas (numbers also by spaces).

    Errors: :class:`SettingsError` for quotes or brackets that are no TOML.
    """
    if isinstance(default, tuple):
        numbers = bool(default) and isinstance(default[0], int)
        items = text if not isinstance(text, str) else _items(text, numbers)
        return [int(item) if numbers and str(item).isdecimal() else item for item in items]
    if isinstance(default, bool):
        return {"true": True, "on": True, "false": False, "off": False}.get(text.lower(), text)
    if isinstance(default, str):
        if text[:1] in ('"', "'") and text[-1:] == text[0]:
            value = _toml_value(text)
            return value if isinstance(value, str) else text
        return text
    try:
        return type(default)(text)
    except ValueError:
        return text


def _items(text: str, numbers: bool) -> list[Any]:
    """The items of a list, written as TOML or without quotes."""
    text = text.strip()
    inside = text[1:-1] if text[:1] + text[-1:] == "[]" else text
    value = _toml_value(text)
    if not isinstance(value, list):
        value = _toml_value(f"[{text}]") if text[:1] in ('"', "'") else value
    if isinstance(value, list):  # an integer may be the name of a label
        return [str(item) if type(item) is int and not numbers else item for item in value]
    if text[:1] in ('"', "'") or (text[:1] == "[" and ('"' in text or "'" in text)):
        raise SettingsError(f'{text} is no list of TOML: write it like ["a", "b"], in single quotes for the shell')
    parts = inside.replace(",", " ").split() if numbers else map(str.strip, inside.split(","))
    return [part for part in parts if part]


def _toml_value(text: str) -> Any:
    """The value that ``text`` is in TOML, None where it is none."""
    toml = toml_module()
    try:
        found = toml.loads(f"value = {text}")
    except toml.TOMLDecodeError:
        return None
    return found["value"] if len(found) == 1 else None


def toml_module() -> Any:
    """The parser of TOML."""
    try:
        import tomllib
    except ModuleNotFoundError:  # Python 3.10
        return require("tomli", "train")
    return tomllib
