"""``inspect``: what a classifier is made of, what a run has done, why a text got its label."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any

from ..abstain import FIELD
from ..classifier import Classifier
from ..errors import SettingsError
from ..format import read_json
from ..heads import Head, asked_heads
from ..progress import clock
from ..report import NAMES, table, written
from ..stages import STAGES
from .common import add_command
from .cut import kept_from

_TEXT = (
    "Show what a classifier is made of and how good it is, or what a run directory has done so far. With --text, show "
    "how it labels this text and what each n-gram adds."
)

_EXAMPLES = """
  sparsedistill inspect model
  sparsedistill inspect model --text "two hours late again"
"""


def add(commands: Any) -> None:
    """Add the command."""
    command = add_command(commands, "inspect", "look into a classifier or a run directory", _TEXT, _EXAMPLES)
    command.add_argument("path", metavar="PATH", help="directory of a classifier or of a run")
    command.add_argument("--text", metavar="TEXT", help="explain how the classifier labels this text")
    command.add_argument("--label", metavar="LABEL", help="explain this label instead of the most probable one")
    command.add_argument("--head", metavar="NAME", help="explain this head alone, of a classifier of several")
    command.set_defaults(work=_inspect, parser=command, resumes=False)


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
        lines.append(("cut", f"{cut['name']}: scores {kept_from(cut, ',')}"))
    for one in described.get(FIELD, []):
        what = "confidence x known n-grams" if one["known"] else "confidence"
        lines.append(("abstains", f"{one['name']}: below a {what} of {one['threshold']:.4g}"))
    for part, figures in described.get("metrics", {}).items():
        lines.append((f"on {part}", ", ".join(f"{name} {value}" for name, value in written(figures))))
    return [(name, f"{head.name}: " * bool(head.name) + value) for name, value in lines]


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


def decision(classifier: Classifier, name: str | None, text: str, label: str) -> str:
    """What a head of this name, or the only one, says of a text, and how probable ``label`` is."""
    head, decided = asked_heads(classifier.heads, name)[0], classifier.predict(text, head=name)
    begin = f"{name}: " if name else ""
    if head.task == "regression":
        return f"{begin}{decided:.4g}"
    probability = classifier.predict_proba(text, head=name)[head.labels.index(label)]
    shown = ", ".join(decided) or "no label" if head.task == "multi" else decided
    return f"{begin}{shown}" + (f" ({probability:.0%})" if shown == label else f"; {label} has {probability:.0%}")


def _explained(classifier: Classifier, head: Head, text: str, label: str | None, top: int) -> str:
    name = head.name or None
    why = classifier.explain(text, label, None, name)
    if head.task == "regression":
        what = "the score" + " before its calibration" * bool(head.calibration)
    else:
        what = f"the logit of {why.label}" + " (less the mean of all logits)" * (head.task == "single")
    terms = [(number, ngram) for ngram, number in why.contributions[:top]]
    if rest := why.contributions[top:]:
        terms.append((sum(number for _, number in rest), f"({len(rest):,} more)"))
    terms += [(why.bias, "(bias, the same for any text)"), (why.logit, "in all")]
    begin = f"what its n-grams add to {what}:" if terms[2:] else f"no n-gram of it is known, which leaves of {what}:"
    said = decision(classifier, name, text, why.label)
    lines = [f"  -> {said}", f"  {begin}", *(f"     {n:+.3f}  {term}" for n, term in terms)]
    return "\n".join(lines)
