"""The command line: fit, stages over a run directory, prediction."""

from __future__ import annotations

import argparse
import dataclasses
import json
import logging
import os
import shutil
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from .arguments import parser
from .classifier import Classifier
from .errors import SettingsError, SparsedistillError
from .format import read_json, replacing_directory
from .predict import predict
from .progress import say
from .settings import SECTIONS, Settings, build, default_of, parse_value, read_toml, sections_with


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
    if rest and (arguments.work != "predict" or any(word.startswith("-") for word in rest)):
        arguments.parser.error(f"unrecognized arguments: {' '.join(rest)}")
    if rest:
        arguments.input += rest
    logging.getLogger("sparsedistill").propagate = False  # only our own handler prints: bare, to stderr
    try:
        _WORK[arguments.work](arguments)
    except SparsedistillError as error:
        sys.stderr.write(f"sparsedistill: {error}\n")
        return 2
    except FileNotFoundError as error:
        sys.stderr.write(f"sparsedistill: {error if error.strerror is None else f'{error.filename} is not there'}\n")
        return 2
    except KeyboardInterrupt:
        goes_on = "" if arguments.work in ("predict", "inspect") else "; the same command goes on from where it stopped"
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
    for section, fields in _given(arguments).items():
        values.setdefault(section, {}).update(fields)
    for assignment in getattr(arguments, "set", []):
        name, equals, text = assignment.partition("=")
        section, dot, field = name.partition(".")
        if not equals or not dot:
            raise SettingsError(f"--set {assignment}: not of the form STAGE.FIELD=VALUE")
        if section not in SECTIONS or field not in {f.name for f in dataclasses.fields(SECTIONS[section])}:
            raise SettingsError(f"--set {assignment}: there is no setting {name}")
        values.setdefault(section, {})[field] = parse_value(text, default_of(section, field))
    return build(values, str(arguments.config or directory)), directory


def _given(arguments: argparse.Namespace) -> dict[str, dict[str, Any]]:
    """The settings among the arguments: values by section and field."""
    values: dict[str, dict[str, Any]] = {}
    for name, value in vars(arguments).items():
        section, dot, field = name.partition(".")
        if section == "*":
            for owner in sections_with(field):
                values.setdefault(owner, {}).setdefault(field, value)
        elif dot:
            kind = default_of(section, field)
            values.setdefault(section, {})[field] = parse_value(value, kind) if isinstance(kind, tuple) else value
    return values


def _run(arguments: argparse.Namespace) -> None:
    from .run import Run

    settings, directory = _settings(arguments)
    Run(directory, settings).execute()


def _fit(arguments: argparse.Namespace) -> None:
    from .run import Run

    output = Path(arguments.output)
    if output.exists() and not (output / "config.json").is_file() and (not output.is_dir() or any(output.iterdir())):
        raise SettingsError(f"{output} is there, and no classifier: give another name to --output")
    directory = Path(arguments.run or f"{output}.run")
    values = _given(arguments)
    if arguments.train:
        values.setdefault("data", {})["train"] = tuple(arguments.train)
    if not values.get("teach", {}).get("teacher"):
        values.setdefault("distill", {}).setdefault("modes", ("scratch",))
    Run(directory, build(values, "fit")).execute()
    with replacing_directory(output) as temporary:
        for file in (directory / "classifier").iterdir():
            shutil.copyfile(file, temporary / file.name)
    say(
        f"the classifier is in {output}; {directory} holds what it was made from, so that the same command with other "
        "settings does no more than these ask for, and may be deleted"
    )


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
        shown = f"{decided:.4g}"
    else:
        probability = classifier.predict_proba(text)[classifier.labels.index(why.label)]
        shown = ", ".join(decided) or "no label" if classifier.task == "multi" else decided
        shown += f" ({probability:.0%})" if shown == why.label else f"; for {why.label} ({probability:.0%}):"
    lines = [f"{text!r}", f"  -> {shown}"]
    lines += [f"     {contribution:+.3f}  {ngram}" for ngram, contribution in why.contributions]
    return "\n".join(lines) + "\n"


_WORK = {"fit": _fit, "run": _run, "stage": _stage, "predict": _predict, "inspect": _inspect}

if __name__ == "__main__":
    sys.exit(main())
