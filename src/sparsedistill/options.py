"""Every option of every stage: the fields of these dataclasses are the command line's options.

A field's ``help`` metadata is what ``--help`` prints.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from .pooling import POOLINGS
from .text import CHARACTERS, MOST_CHARACTERS

INPUT_FORMATS = ("auto", "lines", "csv", "tsv", "jsonl", "json", "fasttext", "parquet", "arrow")
QUOTING = ("auto", "double", "none")
TASKS = ("single", "multi", "regression")
TOKENIZERS = ("sklearn", "words", "whitespace")
SCORES = ("logits", "probabilities")
MODES = ("scratch", "kd_private", "kd")
OPEN_HIDDEN = (0,)  # widths of hidden layers that are left to the program


def option(default: Any, help: str, choices: tuple[str, ...] = (), least: float = 0, most: float = float("inf")) -> Any:
    """A field of a settings class: what ``--help`` says of it, and what a number (each of several) may be."""
    return field(default=default, metadata={"help": help, "choices": choices, "least": least, "most": most})


@dataclass(frozen=True)
class Data:
    """Where the texts are and how to read them."""

    train: tuple[str, ...] = option((), "labelled texts: files, globs, folders or hf:name[/config][:split]")
    dev: tuple[str, ...] = option(
        (), "labelled texts to choose the best student by; default: a part of train, held out"
    )
    test: tuple[str, ...] = option((), "labelled texts to measure the finished classifier on; default: those of dev")
    corpus: tuple[str, ...] = option((), "unlabelled texts for the teacher to label, the more the better")
    text: str = option("text", "column of the text")
    pair: str = option("", "column of the second text, to label pairs of texts")
    label: tuple[str, ...] = option(
        ("label",),
        "column of the label; for multi a list of names, names separated by --label-separator, or as many 0s and 1s as "
        "there are --labels; or several columns, a 0 or 1 each",
    )
    label_separator: str = option(",", "what separates the labels of a text in a cell, for multi")
    labels: tuple[str, ...] = option(
        (), "names of the labels, in the order of the teacher's classes; default: those of train, sorted"
    )
    task: str = option("single", "single: one label a text; multi: any number; regression: a score", TASKS)
    input_format: str = option("auto", "format of all files; auto: told by their suffixes", INPUT_FORMATS)
    delimiter: str = option("", "what separates the fields of CSV and TSV files; default: a comma in CSV, a tab in TSV")
    quoting: str = option(
        "auto",
        'whether fields of CSV and TSV files may stand in "..." (quotes inside doubled); auto: in CSV, not in TSV',
        QUOTING,
    )
    header: bool = option(
        True, "whether the first line of CSV and TSV files names the columns; if not, they are called 1, 2 ..."
    )
    encoding_errors: str = option(
        "strict",
        "bytes that are not UTF-8: refuse the file (strict), or read them as U+FFFD (replace)",
        ("strict", "replace"),
    )
    skip_missing: bool = option(
        False, "leave out rows without a text or a label (null or blank; for multi a blank label is none at all)"
    )
    dev_fraction: float = option(0.1, "share of train that is held out as dev where no dev set is given", most=0.9)
    class_weights: tuple[str, ...] = option(
        (), "weights of the classes in learning from the labels: balanced, or NAME=NUMBER for some"
    )
    weight: str = option("", "column of train with the weight of each text in learning from it")
    metric: str = option(
        "auto",
        "metric to choose the best student by, on dev; auto: accuracy, for multi micro_f1, with class weights macro_f1",
        ("auto", "accuracy", "micro_f1", "macro_f1"),
    )
    seed: int = option(0, "seed of everything random in the run")


@dataclass(frozen=True)
class Head:
    """One of several heads: what it answers, from which targets."""

    task: str = option("single", "as of [data]", TASKS)
    label: tuple[str, ...] = option((), "column of its label, as of [data]; default: one of the head's name")
    labels: tuple[str, ...] = option((), "names of its labels, as of [data]; default: those of train, sorted")
    label_separator: str = option(",", "what separates the labels of a text in a cell, for multi")
    teacher: str = option("", "module:function, or column:NAME for scores beside the texts; none: its labels alone")
    scores: str = option("auto", "what its teacher gives; auto: as of [label]", ("auto", *SCORES))
    weight: float = option(
        1.0, "weight of its loss, beside those of the other heads, whose gradients are made equally large"
    )

    @property
    def column(self) -> str:
        """The column of scores that is its teacher, or ""."""
        return self.teacher.removeprefix("column:") if self.teacher.startswith("column:") else ""


@dataclass(frozen=True)
class Teach:
    """The teacher, and its fine-tuning."""

    teacher: str = option(
        "",
        "a Hugging Face model (folder or hub id), module:function, or column:NAME for scores that stand beside the "
        "texts; none: learn from the labels alone",
    )
    finetune_teacher: bool = option(True, "whether to fine-tune the teacher on train, or to use it as it is")
    max_length: int = option(256, "most tokens of a text that the teacher reads", least=1)
    device: str = option("auto", "where the teacher runs: cpu, cuda, cuda:1 ...; auto: on a GPU, if there is one")
    precision: str = option(
        "auto",
        "numbers of the teacher; auto: those that are faster on one batch, fp32 where the processor has no bf16",
        ("auto", "fp32", "bf16"),
    )
    threads: int = option(0, "CPU threads; 0: all")
    epochs: int = option(3, "passes over train", least=1)
    batch_size: int = option(32, "texts a step of fine-tuning", least=1)
    learning_rate: float = option(5e-5, "peak learning rate of AdamW")
    warmup: float = option(0.06, "share of the steps spent warming up", most=1)
    weight_decay: float = option(0.01, "AdamW's weight decay")
    dropout: float = option(-1.0, "dropout in fine-tuning; -1: the model's own", least=-1, most=0.9)
    checkpoint_seconds: float = option(60.0, "seconds between checkpoints")


@dataclass(frozen=True)
class Label:
    """The teacher's scores of every text of the corpus."""

    scores: str = option("logits", "what a callable or a column gives", SCORES)
    batch_size: int = option(64, "texts a forward pass of the teacher", least=1)
    shard_size: int = option(1024, "texts a shard, which is what an interruption can lose", least=1)
    random_crops: int = option(
        0, "random crops of each text of train (runs of words) that the teacher labels too, for mode kd", most=1000
    )


def scores_of(head: Head, label: Label) -> str:
    """What a head's teacher gives: logits or probabilities."""
    return label.scores if head.scores == "auto" else head.scores


@dataclass(frozen=True)
class Count:
    """The vocabulary: the most frequent n-grams."""

    tokenizer: str = option("words", "how text becomes tokens", TOKENIZERS)
    lowercase: bool = option(True, "whether to lower-case the text")
    normalize: bool = option(True, "whether to compose the text to Unicode's NFC; sklearn never does")
    deobfuscate: bool = option(
        False,
        "whether to undo disguises of words (look-alikes, l e t t e r s apart, d1g1t5 for letters) before all else",
    )
    max_n: int = option(
        0,
        "longest n-gram, in tokens (1 to 8); 0: 2, or 4 where most tokens are single characters (Chinese, Thai ...)",
        most=8,
    )
    size: int = option(1_000_000, "how many n-grams to keep, at most", least=1)
    min_count: int = option(1, "how often an n-gram must be seen to be kept", least=1)
    characters: str = option(
        "auto",
        "tokens whose character n-grams have rows, too: unknown ones (typos, names, inflected forms), all, or none; "
        "auto: all where a fifth of the words of a new text are unseen, else none",
        ("auto", *CHARACTERS),
    )  # fmt: skip
    characters_min: int = option(
        0, "shortest character n-gram, in code points; 0: 3, or 1 where letters are syllables", most=MOST_CHARACTERS
    )
    characters_max: int = option(0, "longest character n-gram, in code points; 0: 5", most=MOST_CHARACTERS)
    characters_size: int = option(
        0, "how many character n-grams to keep, at most, beside those of words; 0: 200,000, of all words --size"
    )
    hashed: bool = option(False, "do not count: every n-gram has the one of --size rows that its hash names")
    train_weight: int = option(1, "how many times an occurrence in train counts", least=1, most=1_000_000)
    memory: str = option("4GB", "memory to count in; what does not fit goes to disk, in the run directory")


@dataclass(frozen=True)
class Distill:
    """The student and its training on the teacher's distribution."""

    modes: tuple[str, ...] = option(
        ("kd",),
        "students to train: kd learns the teacher's predictions on corpus and train, kd_private those on the corpus "
        "alone, scratch the labels of train alone",
        MODES,
    )
    student: str = option(
        "auto",
        "network: a table and hidden layers; linear: a number an n-gram and class, as of a linear model; auto: linear "
        "for scratch, network with a teacher, for pairs and scores, and where a layer, W1 or a pooling is asked for",
        ("auto", "network", "linear"),
    )  # fmt: skip
    hidden: tuple[int, ...] = option(
        OPEN_HIDDEN,
        "width of each hidden layer; 0: 64, of a linear student none; none at all: a row is one number a class",
    )
    embedding: int = option(
        0,
        "width of the table before the factor W1 (the paper's d_e); 0: no W1, the table has the first hidden width",
    )
    pooling: str = option(
        "auto",
        "how the rows of a text become one vector; mean+max, both side by side, needs --embedding; auto: mean, of a "
        "linear student and of pairs from labels alone sqrtn",
        ("auto", *POOLINGS),
    )
    init: str = option(
        "random",
        "what the table begins with: random numbers, or the teacher's embedding of each n-gram (not from scratch)",
        ("random", "teacher"),
    )  # fmt: skip
    table: str = option(
        "float32", "type of the table's numbers in training; bfloat16 halves it", ("float32", "bfloat16")
    )
    optimizer: str = option(
        "adam",
        "optimizer of the table: lazy adam as in the paper (8 bytes a number), or row-wise adagrad (4 bytes a row); a "
        "linear student has one of its own",
        ("adam", "adagrad"),
    )
    steps: int = option(0, "training steps; 0: as many as the epochs take")
    epochs: float = option(
        0.0,
        "passes over the texts, unless there is a number of steps; 0: 10, of a linear student with characters 20",
    )
    batch_size: int = option(
        0, "texts a step; 0: 512, of a linear student 64; fewer where an epoch would have less than 64 steps"
    )
    learning_rate: float = option(
        0.0,
        "peak learning rate; 0: 0.01, 0.1 of a network without a hidden layer, of a linear student by its steps",
        most=1,
    )
    train_weight: int = option(1, "how many times an epoch a text of train comes", least=1, most=1000)
    warmup: float = option(0.06, "share of the steps spent warming up", most=1)
    schedule: str = option(
        "polynomial", "how the learning rate falls after the warm-up", ("polynomial", "cosine", "constant")
    )
    power: float = option(1.0, "power of the polynomial schedule; 1: a straight line to zero")
    unknown_words: float = option(
        0.15, "share of words taken for unknown in training, each with a typo, so that their character n-grams learn; "
        "with characters unknown", most=1,
    )  # fmt: skip
    ngram_dropout: float = option(
        -1.0, "share of n-grams left out of each bag; -1: 0.1, of a linear student none", least=-1, most=0.9
    )
    dropout: float = option(0.1, "dropout before each dense layer", most=0.9)
    evaluate_every: int = option(0, "steps between evaluations on dev; 0: ten evaluations in all")
    keep: str = option(
        "auto",
        "which weights to keep: the best on dev, or the last; auto: best, but without --patience the last of a linear "
        "student and with a teacher",
        ("auto", "best", "last"),
    )  # fmt: skip
    patience: int = option(0, "stop after so many evaluations on dev without a better figure; 0: never")
    max_time: str = option("", "end each training after this time (45m, 8h); the learning rate has fallen by then")
    resume: bool = option(True, "whether to go on from the checkpoint of an interrupted training")
    tensorboard: bool = option(False, "whether to write the curves for TensorBoard, too, to students/NAME/tensorboard")
    checkpoint_seconds: float = option(60.0, "seconds between checkpoints")
    student_seed: int = option(-1, "seed of the student's weights, batches and dropout; -1: that of the run", least=-1)
    device: str = option(
        "auto",
        "where students are trained: cpu, cuda, cuda:1 ...; auto: on a GPU, if there is one that has the memory",
    )
    threads: int = option(0, "CPU threads; 0: all")


@dataclass(frozen=True)
class Finetune:
    """Stage 3: the distilled student on the gold labels of train (KD+FT)."""

    finetune_student: bool = option(
        True,
        "whether to fine-tune the kd student on the labels, too; the better of the two on dev becomes the classifier",
    )
    epochs: float = option(5.0, "passes over train")
    batch_size: int = option(32, "texts a step", least=1)
    learning_rate: float = option(1e-3, "peak learning rate", most=1)


@dataclass(frozen=True)
class Compress:
    """From the student to the classifier that ships."""

    rows: str = option(
        "auto",
        "type of the numbers in a row; auto: int8, or int16 without a hidden layer",
        ("auto", "int4", "int8", "int16", "float16", "float32"),
    )
    max_loss: float = option(
        0.005, "how much accuracy on dev (regression: R2) compression may cost, as a share; more is refused"
    )
    calibrate: bool = option(
        False,
        "whether to fit a calibration on dev (single: a temperature or two; multi: Platt's; regression: isotonic); the "
        "classifier is then of format version 6",
    )


@dataclass(frozen=True)
class Size:
    """The smallest classifier that is as good: fewer n-grams, narrower rows."""

    sizing: bool = option(
        True, "whether to end with the smallest classifier within --sizing-loss of the best; the report shows both"
    )
    sizing_loss: float = option(
        0.002, "how much of the figure of dev that students are chosen by may be lost, as a share (0.002: 0.2 points)"
    )
    sizing_above: float = option(1.0, "megabytes: a classifier of no more is left as it is")
    sizing_texts: int = option(100_000, "texts of corpus and train to train smaller students on, at most", least=1)


@dataclass(frozen=True)
class Evaluate:
    """Figures of the classifiers as loaded from disk."""

    speed_texts: int = option(5000, "texts to measure speed on, taken from test or dev", least=1)
    threads: int = option(0, "CPU threads to measure speed with, of teacher and student alike; 0: all")
    repeats: int = option(5, "how often to measure speed; the median counts", least=1)
    compare_heads: bool = option(
        False, "whether to train a classifier of its own for each of several heads, too, to report what each loses"
    )
    resamples: int = option(1000, "bootstrap resamples for the intervals of the figures; 0: no intervals")
