"""The command line's commands and options; those of the stages are the fields of :mod:`sparsedistill.options`."""

from __future__ import annotations

import argparse
import dataclasses
from collections.abc import Sequence
from typing import Any

from . import __version__
from .figures import TOP
from .options import INPUT_FORMATS, QUOTING
from .parts import OFFSETS
from .predict import FILES, STREAMS
from .settings import SECTIONS, SHARED, sections_with
from .stages import STAGES

_STAGE_TEXT = (
    "What is finished is not done again, and an interrupted stage goes on where it stopped. Settings come from the "
    "TOML file, or without one from the run directory, which remembers those of earlier calls; options go over both."
)
_FIT_TEXT = (
    "Make a classifier from a file of labelled texts. With a teacher, the student also learns its predictions on your "
    "unlabelled texts; without one, it learns your labels alone. What is finished is not done again, and the same "
    "command goes on where it was interrupted. Options whose names several stages share begin with the stage: "
    "--distill-epochs, --teach-epochs."
)
_PREDICT_TEXT = (
    "Label texts, in their order. To the terminal goes a line for each: label, tab, probability (multi-label: labels "
    "with commas between; regression: the score). To a file, and in other formats, go the columns of the input as they "
    "were, then `predicted`, `probability` (where a text has one label), and what --proba and --top-k add; of "
    "a classifier of several heads these of each, as `NAME.predicted` and so on, and so in a line. Piped input "
    "is a text a line, or JSON with a text column, as its first line tells; --input-format says what else it is."
)
_CUT_TEXT = (
    "Choose from which score on a text is kept, and store that in the classifier under a name, for predict --cut: by a "
    "level of the scores beside the texts (where the F1 is best), or by the share of the texts to keep, which need no "
    "scores then; with --slice also in each slice of 30 texts or more."
)
_INSPECT_TEXT = (
    "Show what a classifier is made of and how good it is, or what a run directory has done so far. With --text, show "
    "how it labels this text and what each n-gram adds."
)
_MEASURE_TEXT = (
    " With a CLASSIFIER and FILEs instead, measure that classifier on these labelled texts: all figures of its task "
    "with bootstrap intervals, and with --slice also within slices. Of the options only those of [data] that say how "
    "to read, those of measuring, --threads and --resamples are then used."
)
# Each runs in a test.
_EXAMPLES = {
    "": """
  sparsedistill fit train.csv -o model
  echo "what a lovely day" | sparsedistill predict model
""",
    "fit": """
  sparsedistill fit train.csv -o model
  sparsedistill fit requests.csv --label team --class-weights balanced --max-n 2 -o router
  sparsedistill fit train.csv --teacher FacebookAI/roberta-large --corpus 'crawl/*.parquet' -o taught
""",
    "predict": """
  echo "what a lovely day" | sparsedistill predict model
  sparsedistill predict model reviews.csv --text body -o labelled.csv
  sparsedistill predict model 'crawl/*.parquet' --keep id url --proba -o labelled.parquet
  sparsedistill predict model 'crawl/*.parquet' --keep id --parts sentence -o sentences.parquet
""",
    "cut": """
  sparsedistill cut grader graded.parquet --label grade --name good --level 3
  sparsedistill cut grader crawl/a.parquet --name best --share 0.1
""",
    "inspect": """
  sparsedistill inspect model
  sparsedistill inspect model --text "two hours late again"
""",
    "run": """
  sparsedistill run reviews.toml
  sparsedistill run reviews.toml --set distill.hidden=128
""",
}
_STAGE_EXAMPLE = """
  sparsedistill {stage} reviews.toml
  sparsedistill {stage} --run runs/reviews
"""
_EVALUATE_EXAMPLE = """  sparsedistill evaluate model test.csv
  sparsedistill evaluate model pages.csv --slice site --json figures.json --plot reliability.png
"""
_METAVARS = {
    **dict.fromkeys(("train", "dev", "test", "corpus"), "FILE"),
    **dict.fromkeys(("text", "pair", "label", "weight"), "COLUMN"),
    "labels": "NAME", "class_weights": "WEIGHT", "label_separator": "SIGN", "delimiter": "SIGN", "memory": "SIZE",
    "max_time": "TIME",
}  # fmt: skip
_SHARED_HELP = {  # of the options that are those of every stage
    "device": "cpu, cuda, cuda:1 ...; auto: a GPU, if there is one that will do",
    "threads": "CPU threads; 0: all",
    "checkpoint_seconds": "seconds between checkpoints",
}
# The options of `fit` that most people need, in this order.
_COMMON = {
    "data": ("dev", "test", "corpus", "text", "label", "task", "labels"),
    "teach": ("teacher",),
    "distill": ("modes", "hidden"),
    "count": ("size", "max_n"),
}


def parser() -> argparse.ArgumentParser:
    """The whole command line."""
    top = argparse.ArgumentParser(
        prog="sparsedistill",
        description="Distil a slow text classifier into a sparse n-gram student that labels raw text on a plain CPU.",
        epilog=f"examples:{_EXAMPLES['']}\n`sparsedistill COMMAND --help` has more, and all options.",
        formatter_class=_Help,
    )
    top.add_argument("--version", action="version", version=f"sparsedistill {__version__}")
    commands = top.add_subparsers(metavar="COMMAND", title="commands", required=True)

    def add(name: str, help: str, description: str, examples: str, usage: str | None = None) -> Any:
        return commands.add_parser(
            name, help=help, description=description, usage=usage, epilog=f"examples:{examples}", formatter_class=_Help
        )

    usage = "sparsedistill fit [TRAIN ...] -o DIR [--teacher TEACHER] [--corpus FILE ...] [options]"
    _add_fit(add("fit", "make a classifier of your texts", _FIT_TEXT, _EXAMPLES["fit"], usage))
    _add_predict(add("predict", "label texts with a classifier", _PREDICT_TEXT, _EXAMPLES["predict"]))
    cut = "choose from which score on texts are kept"
    _add_cut(add("cut", cut, _CUT_TEXT, _EXAMPLES["cut"]))
    inspect = "look into a classifier or a run directory"
    _add_inspect(add("inspect", inspect, _INSPECT_TEXT, _EXAMPLES["inspect"]))
    run = "all stages, with the settings of a TOML file"
    _add_run(add("run", run, f"Run {run}. {_STAGE_TEXT}", _EXAMPLES["run"]))
    for stage, module in STAGES.items():
        text = module.HELP
        description = f"{text[0].upper()}{text[1:]}. {_STAGE_TEXT}"
        usage = f"sparsedistill {stage} [CONFIG] [--run DIR] [options]"
        examples = _STAGE_EXAMPLE.format(stage=stage)
        if stage == "evaluate":
            usage += "\n       sparsedistill evaluate CLASSIFIER FILE ... [options]"
            description, examples = description + _MEASURE_TEXT, examples + _EVALUATE_EXAMPLE
        command = add(stage, f"stage: {text}", description, examples, usage)
        _add_stage(command, stage)
        if stage == "evaluate":
            _add_measure(command)
    return top


class _Help(argparse.HelpFormatter):
    """Leaves the lines of examples as they are."""

    def _fill_text(self, text: str, width: int, indent: str) -> str:
        return text if text.startswith("examples:") else super()._fill_text(text, width, indent)


def _add_fit(command: argparse.ArgumentParser) -> None:
    command.add_argument("train", metavar="TRAIN", nargs="*", help="labelled texts: files, globs, folders or hf:NAME")
    command.add_argument("--output", "-o", metavar="DIR", required=True, help="where to put the classifier")
    command.add_argument("--run", metavar="DIR", help="run directory: what is done is kept there (default: DIR.run)")
    common = command.add_argument_group("common options")
    for section, names in _COMMON.items():
        _add_options(common, section, names)
    _add_heads(common)
    for name in SHARED:
        section = sections_with(name)[0]
        (field,) = (field for field in dataclasses.fields(SECTIONS[section]) if field.name == name)
        common.add_argument(
            f"--{name.replace('_', '-')}", dest=f"*.{name}", default=argparse.SUPPRESS, type=type(field.default),
            metavar=_metavar(field), help=f"{_SHARED_HELP[name]} (all stages; default: {field.default})",
        )  # fmt: skip
    for section, kind in SECTIONS.items():
        names = tuple(f.name for f in dataclasses.fields(kind) if f.name not in _COMMON.get(section, ()))
        group = _group(command, section)
        _add_options(group, section, [name for name in names if (section, name) != ("data", "train")], prefixed=True)
    command.set_defaults(work="fit", parser=command)


def _add_run(command: argparse.ArgumentParser) -> None:
    command.add_argument(
        "config", metavar="CONFIG", help="TOML file with a table for each stage: [data], [teach], [label] ..."
    )
    command.add_argument(
        "--run", metavar="DIR", help="run directory (default: `run` in the file, else runs/NAME_OF_THE_FILE)"
    )
    command.add_argument(
        "--set",
        metavar="STAGE.FIELD=VALUE",
        action="append",
        default=[],
        help="override one setting of the file; may be repeated",
    )
    command.set_defaults(work="run", parser=command)


def _add_stage(command: argparse.ArgumentParser, stage: str) -> None:
    command.add_argument("config", metavar="CONFIG", nargs="?", help="TOML file with the settings")
    command.add_argument("--run", metavar="DIR", help="run directory, which remembers the settings of earlier stages")

    def add(section: str, only: Sequence[str] = ()) -> None:
        _add_options(_group(command, section), section, only)

    add("data")
    _add_heads(command)
    if stage in SECTIONS:
        add(stage)
    # What a stage alone may have to be told, because no earlier one was.
    trains = stage in ("distill", "finetune")  # a student: --device is where
    if stage != "teach":
        add("teach", ("teacher", "finetune_teacher", "max_length", *(() if trains else ("device",)), "precision"))
    if stage != "distill":
        add("distill", ("modes", "resume", "max_time", "device") if trains else ("modes",))
    command.set_defaults(work="stage", stage=stage, parser=command)


def _add_measure(command: argparse.ArgumentParser) -> None:
    """What `evaluate` takes beside a stage's options, to measure a classifier on a file."""
    command.add_argument("input", metavar="FILE", nargs="*", help="labelled texts, where CONFIG is a CLASSIFIER")
    group = command.add_argument_group("measuring a CLASSIFIER on FILEs")
    group.add_argument(
        "--head", metavar="NAME",
        help="measure this head alone, of a classifier of several; else all, by columns of their names",
    )  # fmt: skip
    group.add_argument(
        "--slice", metavar="COLUMN", action="append", default=[],
        help="figures within each slice of the texts by this column, too, and pooled within slices; may be repeated",
    )  # fmt: skip
    group.add_argument(
        "--cuts", metavar="X", nargs="+", type=float,
        help="of scores: cuts for AUC and F1 (default: the levels of graded scores, from the second on)",
    )  # fmt: skip
    group.add_argument(
        "--top", metavar="X", type=float, default=TOP, help=f"of scores: the share that is the top (default: {TOP})"
    )
    group.add_argument("--json", metavar="FILE", help="write all figures there, and the reliability diagram's data")
    group.add_argument("--plot", metavar="FILE", help="draw the reliability diagram there, as a PNG")
    command.set_defaults(work="evaluate")


def _add_predict(command: argparse.ArgumentParser) -> None:
    command.add_argument("classifier", metavar="CLASSIFIER", help="directory of the classifier")
    command.add_argument("input", metavar="INPUT", nargs="*", help="files, globs, folders or hf:NAME; default: stdin")
    command.add_argument("--text", default="text", metavar="COLUMN", help="column of the text (default: text)")
    command.add_argument(
        "--pair", default="", metavar="COLUMN", help="column of the second text, for a classifier of pairs"
    )
    command.add_argument("--output", "-o", metavar="FILE", help=f"file to write: {', '.join(FILES)}; default: stdout")
    command.add_argument(
        "--format", choices=STREAMS, default="",
        help="format of stdout (default: lines; arrow is a stream), or dolma, also of a .jsonl: attributes of Dolma",
    )  # fmt: skip
    command.add_argument(
        "--keep",
        nargs="*",
        metavar="COLUMN",
        help="columns of the input to write, too (default: all; none with nothing after it)",
    )
    command.add_argument("--proba", action="store_true", help="add the probability of every label, as p(LABEL)")
    command.add_argument(
        "--top-k", type=int, metavar="K", help="add top_labels and top_probabilities: the K most probable labels"
    )
    command.add_argument(
        "--cut", metavar="NAME", default="", help="add cut: keep or drop, by this cut of the classifier"
    )
    command.add_argument("--prefix", default="", help="put this before the names of the columns that are added")
    command.add_argument(
        "--nulls",
        choices=("error", "empty"),
        default="error",
        help="null texts: refuse them (default), or take them for empty ones",
    )
    command.add_argument(
        "--input-format", choices=INPUT_FORMATS, default="auto",
        help="format of all input (default: told by the suffixes of files, and by the first line of stdin)",
    )  # fmt: skip
    command.add_argument(
        "--delimiter",
        metavar="SIGN",
        default="",
        help="what separates the fields of CSV and TSV input (default: comma in CSV, tab in TSV)",
    )
    command.add_argument(
        "--quoting", choices=QUOTING, default="auto",
        help='whether fields of CSV and TSV may stand in "..." (default: those of CSV); double also writes TSV so',
    )  # fmt: skip
    command.add_argument(
        "--no-header", dest="header", action="store_false",
        help="the first line of CSV and TSV input is no line of names: columns are called 1, 2, 3 ...",
    )  # fmt: skip
    command.add_argument(
        "--encoding-errors", choices=("strict", "replace"), default="strict",
        help="bytes that are not UTF-8: refuse them (default), or read them as U+FFFD",
    )  # fmt: skip
    command.add_argument("--threads", type=int, default=0, metavar="N", help="CPU threads (default: all)")
    _add_spans(command)
    command.set_defaults(work="predict", parser=command)


def _add_spans(command: argparse.ArgumentParser) -> None:
    """What of a text `predict` scores: the fields of Spans."""
    command.add_argument(
        "--max-bytes", default="", metavar="N",
        help="read only so much of a text's UTF-8: 4096 (its first bytes), head+tail:4096 (as many from either end), "
        "spread:4096 (eight slices from start to end); default: all",
    )  # fmt: skip
    group = command.add_argument_group("parts of texts")
    group.add_argument(
        "--parts", default="", metavar="PARTS",
        help="predict each sentence, paragraph or window:200/100 (words, step) by itself: the column parts has "
        "a list of start, end and results for each text; in lines, CSV and TSV a row is a part",
    )  # fmt: skip
    group.add_argument(
        "--pool", default="", metavar="POOL",
        help="one result a text, of its parts' probabilities or scores: mean, max, top3 (the mean of the three "
        "largest), share:0.5 (of parts that have 0.5 or more)",
    )  # fmt: skip
    group.add_argument(
        "--offsets", choices=OFFSETS, default=OFFSETS[0],
        help="what start and end count, bytes being those of the UTF-8 (default: characters)",
    )  # fmt: skip
    group.add_argument(
        "--flat", action="store_true",
        help="a row is a part in Parquet, Arrow and JSONL, too: the number of its text (document, from 0 on), start, "
        "end, results, and of the input what --keep names (default: nothing)",
    )  # fmt: skip
    group.add_argument(
        "--id", default="id", metavar="COLUMN", help="column of a document's id, for --format dolma (default: id)"
    )


def _add_cut(command: argparse.ArgumentParser) -> None:
    command.add_argument("classifier", metavar="CLASSIFIER", help="directory of the classifier, which gets the cut")
    command.add_argument("input", metavar="FILE", nargs="+", help="texts: files, globs, folders or hf:NAME")
    command.add_argument("--name", required=True, help="name of the cut; one that has it is replaced")
    command.add_argument("--level", type=float, metavar="X", help="keep what has this score or more")
    command.add_argument("--share", type=float, metavar="X", help="keep this share of the texts")
    command.add_argument(
        "--slice", metavar="COLUMN", default="", help="column of slices that have thresholds of their own"
    )
    command.add_argument("--head", metavar="NAME", help="whose scores, of a classifier of several heads")
    names = (
        "text",
        "pair",
        "label",
        "input_format",
        "delimiter",
        "quoting",
        "header",
        "encoding_errors",
        "skip_missing",
    )
    _add_options(_group(command, "data"), "data", names)
    command.set_defaults(work="cut", parser=command)


def _add_inspect(command: argparse.ArgumentParser) -> None:
    command.add_argument("path", metavar="PATH", help="directory of a classifier or of a run")
    command.add_argument("--text", metavar="TEXT", help="explain how the classifier labels this text")
    command.add_argument("--label", metavar="LABEL", help="explain this label instead of the most probable one")
    command.add_argument("--head", metavar="NAME", help="explain this head alone, of a classifier of several")
    command.set_defaults(work="inspect", parser=command)


def _group(command: argparse.ArgumentParser, section: str) -> Any:
    return command.add_argument_group(f"[{section}]", SECTIONS[section].__doc__)


def _add_heads(group: Any) -> None:
    group.add_argument(
        "--heads", nargs="+", metavar="NAME[=TASK]", default=argparse.SUPPRESS,
        help="train several heads on columns of these names, whose cells may be empty (default task: single; what "
        "else a head may have goes into a TOML file, as [heads.NAME])",
    )  # fmt: skip


def _metavar(field: dataclasses.Field[Any]) -> str:
    """What stands for the value of an option in the help."""
    if field.name in _METAVARS:
        return _METAVARS[field.name]
    value = field.default
    if isinstance(value, tuple):
        value = value[0] if value else ""
    return {int: "N", float: "X"}.get(type(value), field.name.removesuffix("s").upper())


def _add_options(group: Any, section: str, only: Sequence[str] = (), prefixed: bool = False) -> None:
    """Options of a section's fields (or of ``only`` some); ``prefixed``: those of several sections by the section."""
    known = {field.name: field for field in dataclasses.fields(SECTIONS[section])}
    for field in (known[name] for name in only or known):
        default = field.default
        shown = ",".join(map(str, default)) if isinstance(default, tuple) else default
        prefix = f"{section}-" if prefixed and len(sections_with(field.name)) > 1 else ""
        name = f"--{prefix}{field.name.replace('_', '-')}"
        many = isinstance(default, tuple)
        choices = field.metadata["choices"]
        if isinstance(default, bool):
            group.add_argument(
                name, dest=f"{section}.{field.name}", action=argparse.BooleanOptionalAction, default=argparse.SUPPRESS,
                help=f"{field.metadata['help']} (default: {'on' if default else 'off'})",
            )  # fmt: skip
            continue
        group.add_argument(
            name, dest=f"{section}.{field.name}", default=argparse.SUPPRESS,
            type=str if many else type(default),
            nargs="*" if many else None,
            choices=choices or None,
            metavar=None if choices else _metavar(field),
            help=(field.metadata["help"] + (f" (default: {shown})" if shown != "" else "")).replace("%", "%%"),
        )  # fmt: skip
