"""The command line: stages over a run directory, and prediction."""

from __future__ import annotations

import argparse
import dataclasses
import json
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from . import __version__
from .classifier import Classifier
from .data.corpus import encoding_of
from .errors import SettingsError, SparsedistillError
from .format import read_json
from .predict import FILES, STREAMS, predict
from .settings import INPUT_FORMATS, QUOTING, SECTIONS, Settings, build, default_of, parse_value, toml_module
from .stages import STAGES


def main(argv: Sequence[str] | None = None) -> int:
    """Entry point of ``sparsedistill``; returns the exit status (2: settings or data, 130: interrupted)."""
    status = _main(argv)
    if int(os.environ.get("WORLD_SIZE", "1")) > 1:
        # Threads of torch.distributed may still let go of Python's objects when the interpreter ends, which now and
        # then aborts a process that has done its work, and torchrun then kills the others.
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(status)
    return status


def _main(argv: Sequence[str] | None) -> int:
    arguments, rest = parser().parse_known_args(argv)
    # argparse takes a `nargs="*"` positional for finished at the first option; people write inputs behind options.
    if rest and (arguments.work is not _predict or any(word.startswith("-") for word in rest)):
        arguments.parser.error(f"unrecognized arguments: {' '.join(rest)}")
    if rest:
        arguments.input += rest
    try:
        arguments.work(arguments)
    except SparsedistillError as error:
        sys.stderr.write(f"sparsedistill: {error}\n")
        return 2
    except FileNotFoundError as error:
        sys.stderr.write(f"sparsedistill: {error if error.strerror is None else f'{error.filename} is not there'}\n")
        return 2
    except KeyboardInterrupt:
        goes_on = "" if arguments.work in (_predict, _inspect) else "; the same command goes on from where it stopped"
        sys.stderr.write(f"\nsparsedistill: interrupted{goes_on}\n")
        return 130
    except OSError as error:
        try:
            sys.stdout.flush()
        except OSError:  # keep the interpreter from writing once more what cannot be written
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        if isinstance(error, BrokenPipeError):  # the reader of our output has seen enough
            return 0
        sys.stderr.write(f"sparsedistill: {f'{error.filename}: ' if error.filename else ''}{error.strerror or error}\n")
        return 2
    return 0


def parser() -> argparse.ArgumentParser:
    """The whole command line."""
    top = argparse.ArgumentParser(
        prog="sparsedistill",
        description="Distil a slow text classifier into a sparse n-gram student that labels raw text on a plain CPU.",
        epilog="`sparsedistill COMMAND --help` lists a command's options.",
    )
    top.add_argument("--version", action="version", version=f"sparsedistill {__version__}")
    commands = top.add_subparsers(metavar="COMMAND", required=True)

    run = commands.add_parser("run", help="all stages, from a TOML file", description=_STAGE_TEXT)
    run.add_argument("config", metavar="CONFIG", help="TOML file with a table a stage: [data], [teach], [label] ...")
    run.add_argument(
        "--run", metavar="DIR", help="run directory; default: `run` in the file, else runs/NAME_OF_THE_FILE"
    )
    run.add_argument("--set", metavar="STAGE.FIELD=VALUE", action="append", default=[], help="override one setting")
    run.set_defaults(work=_run, parser=run)

    for stage, module in STAGES.items():
        text = module.HELP
        command = commands.add_parser(
            stage, help=text, description=f"{text[0].upper()}{text[1:]}. {_STAGE_TEXT}",
        )  # fmt: skip
        command.add_argument("config", metavar="CONFIG", nargs="?", help="TOML file with the settings")
        command.add_argument(
            "--run", metavar="DIR", help="run directory, which remembers the settings of earlier stages"
        )
        _add_options(command, "data")
        _add_options(command, stage)
        # What a stage alone may have to be told, because no earlier one was.
        trains = stage in ("distill", "finetune")  # a student: --device is where
        if stage != "teach":
            device = () if trains else ("device",)
            _add_options(command, "teach", ("teacher", "finetune", "max_length", *device, "precision"))
        if stage != "distill":
            _add_options(command, "distill", ("modes", "resume", "max_time", "device") if trains else ("modes",))
        command.set_defaults(work=_stage, stage=stage, parser=command)

    command = commands.add_parser("predict", help="label texts with a classifier", description=_PREDICT_TEXT)
    command.add_argument("classifier", metavar="CLASSIFIER", help="directory of the classifier")
    command.add_argument("input", metavar="INPUT", nargs="*", help="files, globs or folders; default: stdin")
    command.add_argument("--text", default="text", metavar="COLUMN", help="column of the text (default: text)")
    command.add_argument("--pair", default="", metavar="COLUMN", help="column of the second text, to label pairs")
    command.add_argument("--output", "-o", metavar="FILE", help=f"ends in {', '.join(FILES)}; default: stdout")
    command.add_argument("--format", choices=STREAMS, help="of stdout (default: lines; arrow is a stream)")
    command.add_argument(
        "--keep", nargs="*", metavar="COLUMN", help="input columns to write (default: all; with nothing after it: none)"
    )
    command.add_argument("--proba", action="store_true", help="add every label's probability, as p(LABEL)")
    command.add_argument("--top-k", type=int, metavar="K", help="add top_labels and top_probabilities, the K likeliest")
    command.add_argument("--prefix", default="", help="what the names of result columns begin with (default: nothing)")
    command.add_argument(
        "--nulls", choices=("error", "empty"), default="error", help="null texts: refused (default), or empty texts"
    )
    command.add_argument(
        "--input-format", choices=INPUT_FORMATS, default="auto",
        help="of all input; default: by the files' suffixes, and of stdin lines of text or JSON, told by the first",
    )  # fmt: skip
    command.add_argument("--delimiter", default="", help="of CSV and TSV input; default: comma in CSV, tab in TSV")
    command.add_argument(
        "--quoting", choices=QUOTING, default="auto",
        help='fields of CSV and TSV in "...": default in CSV, not in TSV; double also writes TSV so',
    )  # fmt: skip
    command.add_argument(
        "--no-header", dest="header", action="store_false",
        help="CSV and TSV input has no names of columns: they are called 1, 2, 3 ...",
    )  # fmt: skip
    command.add_argument(
        "--encoding-errors", choices=("strict", "replace"), default="strict",
        help="invalid UTF-8: refused (default), or read as U+FFFD",
    )  # fmt: skip
    command.add_argument("--threads", type=int, default=0, metavar="N", help="default: all processors granted")
    command.set_defaults(work=_predict, parser=command)

    inspect = commands.add_parser("inspect", help="look into a classifier or a run directory")
    inspect.add_argument("path", metavar="PATH", help="directory of a classifier or of a run")
    inspect.add_argument("--text", metavar="TEXT", help="explain the classifier's label for this text")
    inspect.add_argument("--label", metavar="LABEL", help="explain this label instead of the likeliest")
    inspect.set_defaults(work=_inspect, parser=inspect)
    return top


_STAGE_TEXT = (
    "What is finished is not done again; an interrupted stage goes on where it stopped. "
    "Settings come from the file, or without one from the run directory; those on the command line go over both, and "
    "the run directory remembers them."
)
_PREDICT_TEXT = (
    "One record a text, in order. On stdout a line: label, tab, probability (multi-label: labels joined by commas; "
    "regression: the score). Files and the other formats have the columns of the input, then `predicted` (label, "
    "labels or score), single-label also `probability`, and what --proba and --top-k add. stdin is read as lines of "
    "text, or as JSON with the text column, told by its first line; --input-format says what it is."
)


def _add_options(command: argparse.ArgumentParser, section: str, only: Sequence[str] = ()) -> None:
    group = command.add_argument_group(f"options of [{section}]")
    for field in dataclasses.fields(SECTIONS[section]):
        if only and field.name not in only:
            continue
        default = field.default
        shown = ",".join(map(str, default)) if isinstance(default, tuple) else default
        name = "--" + field.name.replace("_", "-")
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
            metavar=None if choices else field.name.upper(),
            help=(field.metadata["help"] + (f" (default: {shown})" if shown != "" else "")).replace("%", "%%"),
        )  # fmt: skip


def _settings(arguments: argparse.Namespace) -> tuple[Settings, Path]:
    """Settings and run directory of a stage command or of ``run``."""
    values: dict[str, dict[str, Any]] = {}
    directory = Path(arguments.run) if arguments.run else None
    file: dict[str, Any] = {}
    if arguments.config:
        file = read_toml(Path(arguments.config))
        if directory is None:
            directory = Path(file.pop("run", f"runs/{Path(arguments.config).stem}"))
        file.pop("run", None)
    if directory is None:
        raise SettingsError("no run directory: give --run DIR or a TOML file")
    layers = [file]
    # A complete TOML file stands for itself; without one, the run directory remembers.
    if not arguments.config and (directory / "settings.json").is_file():
        layers.insert(0, read_json(directory / "settings.json"))
    for layer in layers:
        for section, fields in layer.items():
            if not isinstance(fields, dict):
                raise SettingsError(
                    f"{arguments.config or directory}: {section} stands outside the tables {', '.join(SECTIONS)}"
                )
            values.setdefault(section, {}).update(fields)
    for name, value in vars(arguments).items():
        section, dot, field = name.partition(".")
        if dot:
            kind = default_of(section, field)
            values.setdefault(section, {})[field] = parse_value(value, kind) if isinstance(kind, tuple) else value
    for assignment in getattr(arguments, "set", []):
        name, equals, text = assignment.partition("=")
        section, dot, field = name.partition(".")
        if not equals or not dot:
            raise SettingsError(f"--set {assignment}: not of the form STAGE.FIELD=VALUE")
        if section not in SECTIONS or field not in {f.name for f in dataclasses.fields(SECTIONS[section])}:
            raise SettingsError(f"--set {assignment}: there is no setting {name}")
        values.setdefault(section, {})[field] = parse_value(text, default_of(section, field))
    return build(values, str(arguments.config or directory)), directory


def read_toml(path: Path) -> dict[str, Any]:
    """Parse a TOML file. Errors: :class:`SettingsError` when it is absent or not TOML."""
    toml = toml_module()
    if not path.is_file():
        raise SettingsError(f"{path} is not there")
    data = path.read_bytes()
    try:  # editors on Windows save with a byte order mark, or in UTF-16
        text = data.decode(encoding_of(data) or "utf-8-sig").removeprefix("\ufeff")
    except UnicodeDecodeError as error:
        raise SettingsError(f"{path} is not TOML: {error}; save it as UTF-8") from None
    try:
        return toml.loads(text.replace("\r\n", "\n").replace("\r", "\n"))
    except toml.TOMLDecodeError as error:
        raise SettingsError(f"{path} is not TOML: {error}") from None


def _run(arguments: argparse.Namespace) -> None:
    from .run import Run

    settings, directory = _settings(arguments)
    Run(directory, settings).execute()


def _stage(arguments: argparse.Namespace) -> None:
    from .run import Run

    settings, directory = _settings(arguments)
    Run(directory, settings).execute([arguments.stage])


def _predict(arguments: argparse.Namespace) -> None:
    if arguments.output and arguments.format:
        raise SettingsError("--format is of stdout; that of --output is told by its name: leave out one of them")
    options = ("text", "pair", "keep", "proba", "top_k", "prefix", "nulls", "encoding_errors", "threads",
               "input_format", "delimiter", "quoting", "header")  # fmt: skip
    predict(
        Classifier.load(arguments.classifier),
        arguments.input or ["-"],
        arguments.output,
        format=arguments.format or "lines",
        **{name: getattr(arguments, name) for name in options},
    )


def _inspect(arguments: argparse.Namespace) -> None:
    path, run = Path(arguments.path), None
    if (path / "stages").is_dir():
        run, path = path, path / "classifier"
    if arguments.text is not None:
        classifier = Classifier.load(path)
        if classifier.pairs:
            raise SettingsError("the classifier labels pairs of texts: use Classifier.explain from Python")
        if arguments.label is not None and arguments.label not in classifier.labels:
            raise SettingsError(f"no label {arguments.label!r}: {', '.join(classifier.labels)}")
        sys.stdout.write(explanation(classifier, arguments.text, arguments.label))
        return
    if run:
        _show_stages(run)
        if not path.is_dir():
            return
    classifier = Classifier.load(path)
    config = classifier.config
    sys.stdout.write(f"{path}\n  {classifier!r}\n")
    for name in ("text", "rows", "thresholds", "metrics", "provenance"):
        if name in config:
            shown = {k: v for k, v in config[name].items() if k != "settings"} if name == "provenance" else config[name]
            sys.stdout.write(f"  {name}: {json.dumps(_rounded(shown), ensure_ascii=False)}\n")


def _show_stages(run: Path) -> None:
    records = sorted((read_json(p) for p in (run / "stages").glob("*.json")), key=lambda r: r["finished"])
    for record in records:
        small = {k: v for k, v in record["result"].items() if isinstance(v, str | int | float)}
        facts = ", ".join(
            f"{k} {v:,}" if isinstance(v, int | float) else f"{k} {v}" for k, v in _rounded(small).items()
        )
        sys.stdout.write(f"{record['finished']}  {record['stage']:<20} {record['seconds']:>9,.1f} s  {facts}\n")
    if (run / "report.md").is_file():
        sys.stdout.write("\n" + (run / "report.md").read_text(encoding="utf-8") + "\n")


def _rounded(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _rounded(inner) for name, inner in value.items()}
    if isinstance(value, list):
        return [_rounded(inner) for inner in value]
    return float(f"{value:.6g}") if isinstance(value, float) else value


def explanation(classifier: Classifier, text: str, label: str | None = None, top: int = 6) -> str:
    """A text, its label and its most telling n-grams, for a terminal."""
    why, decided = classifier.explain(text, label, top), classifier.predict(text)
    if classifier.task == "regression":
        said = f"{decided:.4g}"
    else:
        chance = classifier.predict_proba(text)[classifier.labels.index(why.label)]
        said = ", ".join(decided) or "no label" if classifier.task == "multi" else decided
        said += f" ({chance:.0%})" if said == why.label else f"; for {why.label} ({chance:.0%}) speaks:"
    lines = [f"{text!r}", f"  -> {said}"]
    lines += [f"     {contribution:+.3f}  {ngram}" for ngram, contribution in why.contributions]
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    sys.exit(main())
