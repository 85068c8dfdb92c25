"""The command line: fit, stages over a run directory, prediction."""

from __future__ import annotations

import argparse
import dataclasses
import difflib
import logging
import os
import shlex
import shutil
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from .arguments import parser
from .classifier import CONFIG, Classifier, is_replaced
from .cuts import with_cut
from .errors import SettingsError, SparsedistillError
from .format import read_json, replacing_directory, write_json
from .heads import Head, asked_heads
from .measure import choose_cut, measure
from .measured import plot_reliability, tables
from .predict import predict
from .progress import clock, say
from .report import NAMES, table, written
from .scorer import Spans
from .settings import SECTIONS, Settings, build, default_of, parse_value, read_toml, sections_with
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
    if rest and (arguments.work not in ("predict", "evaluate") or any(word.startswith("-") for word in rest)):
        unknown = next((word for word in rest if word.startswith("-")), "")
        arguments.parser.error(f"unrecognized arguments: {' '.join(rest)}{_meant(arguments.parser, unknown)}")
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


def _meant(command: argparse.ArgumentParser, unknown: str) -> str:
    """What an unknown option of a command may mean: one that ends like it (``--distill-epochs``), or is spelt alike."""
    name = unknown.partition("=")[0].replace("_", "-")
    if not name.startswith("--"):
        return ""
    known = [option for option in command._option_string_actions if option.startswith("--")]
    close = [option for option in known if option.endswith(name[1:])] or difflib.get_close_matches(name, known, 2, 0.7)
    return f" (do you mean {' or '.join(close)}?)" if close else ""


def _settings(arguments: argparse.Namespace) -> tuple[Settings, Path]:
    """Settings and run directory of a stage command or of ``run``."""
    values: dict[str, Any] = {}
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
            if section == "heads" and isinstance(fields, list):
                values[section] = fields  # of names alone
                continue
            if not isinstance(fields, dict):
                raise SettingsError(
                    f"{arguments.config or directory}: {section} stands outside the tables {', '.join(SECTIONS)}"
                )
            values.setdefault(section, {}).update(fields)
    given = _given(arguments)
    if "heads" in given:
        values["heads"] = given.pop("heads")
    for section, fields in given.items():
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
        if name == "heads":
            values["heads"] = value
        elif section == "*":
            for owner in sections_with(field):
                values.setdefault(owner, {}).setdefault(field, value)
        elif dot:
            kind = default_of(section, field)
            values.setdefault(section, {})[field] = parse_value(value, kind) if isinstance(kind, tuple) else value
    return values


def _run(arguments: argparse.Namespace) -> None:
    from .run import Run

    settings, directory = _settings(arguments)
    _execute(Run(directory, settings))


def _execute(run: Any, stages: Sequence[str] = tuple(STAGES)) -> None:
    """Execute the stages, and show what they have measured."""
    run.execute(stages)
    if "evaluate" in stages and run.group.leads:
        sys.stdout.write(f"\n{table(read_json(run.directory / 'metrics.json'), markdown=False)}\n\n")
        sys.stdout.flush()


def _fit(arguments: argparse.Namespace) -> None:
    from .run import Run

    output = Path(arguments.output)
    directory = Path(arguments.run or f"{output}.run")
    replaces = is_replaced(output, " to --output")
    if output.resolve() == directory.resolve():
        raise SettingsError(f"--output and --run are both {output}: give another name to one of them")
    values = _given(arguments)
    if arguments.train:
        values.setdefault("data", {})["train"] = tuple(arguments.train)
    if not values.get("teach", {}).get("teacher"):
        values.setdefault("distill", {}).setdefault("modes", ("scratch",))
    run = Run(directory, build(values, "fit"))
    _execute(run)
    if not run.group.leads:
        return
    with replacing_directory(output) as temporary:
        for file in (directory / "classifier").iterdir():
            shutil.copyfile(file, temporary / file.name)
    say(f"{output}: the classifier{', in place of the one that was there' if replaces else ''}")
    say(f"{directory}: the run that made it; unless you delete it, the next such command skips what is unchanged")
    columns = "".join(
        f" --{name} {shlex.quote(value)}"
        for name, value, default in (("text", run.settings.data.text, "text"), ("pair", run.settings.data.pair, ""))
        if value != default
    )
    place = shlex.quote(str(output))
    if run.are_pairs:
        say(f"to label pairs of texts: sparsedistill predict {place} FILE{columns}")
    else:
        say(f'try it: echo "some text" | sparsedistill predict {place}')


def _stage(arguments: argparse.Namespace) -> None:
    from .run import Run

    settings, directory = _settings(arguments)
    _execute(Run(directory, settings), [arguments.stage])


def _evaluate(arguments: argparse.Namespace) -> None:
    """The stage; with files of texts, a classifier is measured on them."""
    options = {name: getattr(arguments, name) for name in ("head", "slice", "cuts", "json", "plot")}
    if not arguments.input:
        if given := [name for name, value in options.items() if value]:
            raise SettingsError(
                f"--{given[0]} is for a classifier and files: sparsedistill evaluate CLASSIFIER FILE ..."
            )
        if arguments.config and Path(arguments.config).is_dir():
            raise SettingsError(f"{arguments.config} is a folder: name files of labelled texts to measure it on, too")
        _stage(arguments)
        return
    values = _given(arguments)
    settings = build({name: values.pop(name, {}) for name in ("data", "evaluate")}, "evaluate")
    data = settings.data
    of_stage = [name for name in ("train", "dev", "test", "corpus") if getattr(data, name)]
    of_stage += ["run"] * bool(arguments.run) + [name for fields in values.values() for name in fields]
    if of_stage:
        raise SettingsError(
            f"--{of_stage[0].replace('_', '-')} is of the stage, which takes no CLASSIFIER and FILE: leave it out"
        )
    if not 0 < arguments.top < 1:
        raise SettingsError(f"--top is {arguments.top:g}: give a share between 0 and 1")
    result = measure(
        Classifier.load(arguments.config), arguments.input, data, head=arguments.head, slices=arguments.slice,
        cuts=arguments.cuts, top=arguments.top, resamples=settings.evaluate.resamples, seed=data.seed,
        threads=settings.evaluate.threads,
    )  # fmt: skip
    sys.stdout.write(f"\n{tables(result)}\n\n")
    sys.stdout.flush()
    if arguments.json:
        write_json(Path(arguments.json), {"classifier": arguments.config, **result})
    if arguments.plot:
        plot_reliability(result, Path(arguments.plot))


def _predict(arguments: argparse.Namespace) -> None:
    options = ("format", "text", "pair", "keep", "proba", "top_k", "prefix", "nulls", "encoding_errors", "threads",
               "input_format", "delimiter", "quoting", "header", "cut")  # fmt: skip
    predict(
        Classifier.load(arguments.classifier),
        arguments.input or ["-"],
        arguments.output,
        spans=Spans(**{field.name: getattr(arguments, field.name) for field in dataclasses.fields(Spans)}),
        **{name: getattr(arguments, name) for name in options},
    )


def _cut(arguments: argparse.Namespace) -> None:
    path, data = Path(arguments.classifier), build(_given(arguments), "cut").data
    classifier = Classifier.load(path)
    head, cut = choose_cut(
        classifier, arguments.input, data, name=arguments.name, level=arguments.level, share=arguments.share,
        column=arguments.slice, head=arguments.head,
    )  # fmt: skip
    write_json(path / CONFIG, with_cut(classifier.config, head, cut))
    say(f"{path}: cut {cut['name']} keeps scores {_from(cut, ', and')}; predict --cut {cut['name']}")


def _inspect(arguments: argparse.Namespace) -> None:
    path, run = Path(arguments.path), None
    if (path / "stages").is_dir():
        run, path = path, path / "classifier"
    if arguments.text is not None:
        classifier = Classifier.load(path)
        if classifier.pairs:
            raise SettingsError("the classifier labels pairs of texts: use Classifier.explain from Python")
        heads = [head for head in classifier.heads if arguments.head in (None, head.name)]
        if not heads or (arguments.head is not None and not arguments.head):
            known = ", ".join(head.name for head in classifier.heads) or "its only one has no name"
            raise SettingsError(f"--head {arguments.head}: the classifier has no such head: {known}")
        if arguments.label is not None and len(heads) > 1:
            raise SettingsError(f"--label is of one head: add --head ({', '.join(head.name for head in heads)})")
        if arguments.label is not None and arguments.label not in heads[0].labels:
            raise SettingsError(f"no label {arguments.label!r}: {', '.join(heads[0].labels)}")
        sys.stdout.write(explanation(classifier, arguments.text, arguments.label, head=arguments.head))
        return
    if run:
        _show_stages(run)
        if not path.is_dir():
            return
    sys.stdout.write(_described(path))


def _described(path: Path) -> str:
    """A classifier: what it answers, what it is made of and from, how good it is."""
    classifier = Classifier.load(path)
    config = classifier.config
    text, rows = config["text"], config["rows"]
    ways = ["lower-cased" if text["lowercase"] else "case kept", *["composed to NFC"] * bool(text.get("normalize"))]
    ways += ["disguises undone"] * bool(text.get("deobfuscate"))
    lines = [
        *(("answers", _answers(head) + ", for a pair of texts" * classifier.pairs) for head in classifier.heads),
        ("tokens", f"by the tokeniser {text['tokenizer']}, {', '.join(ways)}"),
        ("n-grams", f"{rows['count']:,} of up to {text['max_n']} tokens{_characters(text)}"),
        (
            "rows",
            f"{rows['width']} x {rows['type']}, {config['pooling']} pooling; dense layers above: {config['layers']}",
        ),
        ("size", f"{classifier.nbytes / 1e6:,.1f} MB"),
    ]
    for head, described in zip(classifier.heads, config.get("heads", [config]), strict=True):
        lines += _of_head(head, described)
    if source := config.get("provenance"):
        by = f" of {source['teacher']}" if source["student"] != "scratch" else ""
        sizes = ", ".join(f"{part} {facts['texts']:,}" for part, facts in source["data"].items())
        lines += [
            (
                "provenance",
                f"{NAMES.get(source['student'], source['student'])}{by}; texts: {sizes}; seed {source['seed']}",
            ),
            ("made with", ", ".join(f"{name} {version}" for name, version in source["versions"].items())),
        ]
    return f"{path}\n" + "".join(f"  {name:<11} {value}\n" for name, value in lines)


def _answers(head: Head) -> str:
    labels = f"{', '.join(head.labels[:20])}{' ...' if len(head.labels) > 20 else ''}"
    kinds = {"single": f"one of {labels}", "multi": f"any number of {labels}", "regression": "a score"}
    return f"{head.name}: " * bool(head.name) + kinds[head.task]


def _of_head(head: Head, described: dict[str, Any]) -> list[tuple[str, str]]:
    """What ``inspect`` says of how a head decides and of how good it is; ``described``: its object in config.json."""
    lines = []
    if head.thresholds is not None:
        given = zip(head.labels, head.thresholds.tolist(), strict=True)
        lines.append(("thresholds", ", ".join(f"{label} {one:.2f}" for label, one in given)))
    if head.calibration:
        degrees = f" {head.calibration.temperature:.3g}" * (head.task == "single")
        lines.append(("calibration", head.calibration.kind + degrees))
    for cut in described.get("cuts", []):
        lines.append(("cut", f"{cut['name']}: scores {_from(cut, ',')}"))
    for part, figures in described.get("metrics", {}).items():
        lines.append((f"on {part}", ", ".join(f"{name} {value}" for name, value in written(figures))))
    return [(name, f"{head.name}: " * bool(head.name) + value) for name, value in lines]


def _from(cut: dict[str, Any], more: str) -> str:
    """From where on a cut keeps."""
    own = f"{more} {len(cut['slice']):,} slices by {cut['column']} have their own" if cut["column"] else ""
    return f"from {cut['threshold']:.4g} on{own}"


def _characters(text: dict[str, Any]) -> str:
    """What ``inspect`` says of the character n-grams, "" where there are none."""
    if text.get("characters", "none") == "none":
        return ""
    lengths = f"{text['characters_min']} to {text['characters_max']} characters"
    return f", or {lengths} of {'all' if text['characters'] == 'all' else 'unknown'} words"


_FACTS = {"before": "dev before", "after": "dev after", "fidelity": "decisions kept", "least_count": "least count"}


def _show_stages(run: Path) -> None:
    """What is done, in the order of the stages, and the table."""
    order = {name: place for place, name in enumerate(STAGES)}
    records = [read_json(path) for path in (run / "stages").glob("*.json")]

    def place(record: dict[str, Any]) -> tuple[float, str]:  # what a stage has others make comes before the training
        return order.get(record["stage"].partition(".")[0], order["distill"] - 0.5), record["finished"]

    for record in sorted(records, key=place):
        facts = ", ".join(
            f"{_FACTS.get(name, name)} {f'{value:,.4g}' if isinstance(value, float) else f'{value:,}'}"
            for name, value in record["result"].items()
            if isinstance(value, int | float) and not isinstance(value, bool) and name not in ("seconds", "waited")
        )
        took = f"{record['seconds']:.1f} s" if record["seconds"] < 60 else clock(record["seconds"])
        sys.stdout.write(f"{record['finished']}  {record['stage']:<18} {took:>8}  {facts}\n")
    if (run / "metrics.json").is_file():
        sys.stdout.write(f"\n{table(read_json(run / 'metrics.json'), markdown=False)}\n\n")


def explanation(
    classifier: Classifier, text: str, label: str | None = None, top: int = 6, head: str | None = None
) -> str:
    """A text, its label and its most telling n-grams, for a terminal; of each head, or of the one of this name."""
    shown = [_explained(classifier, one, text, label, top) for one in asked_heads(classifier.heads, head)]
    return "\n".join([f"{text!r}", *shown]) + "\n"


def _explained(classifier: Classifier, head: Head, text: str, label: str | None, top: int) -> str:
    name = head.name or None
    why, decided = classifier.explain(text, label, None, name), classifier.predict(text, head=name)
    if head.task == "regression":
        shown, what = f"{decided:.4g}", "the score" + " before its calibration" * bool(head.calibration)
    else:
        probability = classifier.predict_proba(text, head=name)[head.labels.index(why.label)]
        shown = ", ".join(decided) or "no label" if head.task == "multi" else decided
        shown += f" ({probability:.0%})" if shown == why.label else f"; {why.label} has {probability:.0%}"
        what = f"the logit of {why.label}" + " (less the mean of all logits)" * (head.task == "single")
    terms = [(number, ngram) for ngram, number in why.contributions[:top]]
    if rest := why.contributions[top:]:
        terms.append((sum(number for _, number in rest), f"({len(rest):,} more)"))
    terms += [(why.bias, "(bias, the same for any text)"), (why.logit, "in all")]
    begin = f"what its n-grams add to {what}:" if terms[2:] else f"no n-gram of it is known, which leaves of {what}:"
    lines = [f"  -> {f'{name}: ' * bool(name)}{shown}", f"  {begin}", *(f"     {n:+.3f}  {term}" for n, term in terms)]
    return "\n".join(lines)


_WORK = {
    "fit": _fit,
    "run": _run,
    "stage": _stage,
    "evaluate": _evaluate,
    "predict": _predict,
    "cut": _cut,
    "inspect": _inspect,
}

if __name__ == "__main__":
    sys.exit(main())
