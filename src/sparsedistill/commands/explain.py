"""``explain``: why texts get their labels, and which n-grams argue for each label."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from .. import explained
from ..classifier import Classifier
from ..data.records import reader_of
from ..drift import refuse_pairs
from ..errors import SettingsError
from ..format import replacing, write_json
from ..options import Data
from ..report import aligned
from ..settings import build
from ..top_ngrams import top_ngrams, top_of_vocabulary
from .common import add_command, add_reading, given
from .inspect import decision

_TEXT = (
    "Show why texts get their labels: what each n-gram adds to the logit, over the text as it was given. With --texts "
    "or --ngrams, which n-grams argue most for each label: over texts by the sum of what they add there, of a "
    "vocabulary by how each alone changes the logit, times its count."
)

_EXAMPLES = """
  sparsedistill explain model "two hours late again" --grouped
  sparsedistill explain model "two hours late again" "what a lovely day" --html why.html
  sparsedistill explain model --texts train.csv --json ngrams.json
  sparsedistill explain taught --ngrams taught.run
"""


def add(commands: Any) -> None:
    """Add the command."""
    command = add_command(commands, "explain", "show why texts get their labels", _TEXT, _EXAMPLES)
    command.add_argument("classifier", metavar="CLASSIFIER", help="directory of the classifier")
    command.add_argument("input", metavar="TEXT", nargs="*", help="texts; default: a text a line of stdin")
    command.add_argument("--head", metavar="NAME", help="explain this head alone, of a classifier of several")
    command.add_argument("--label", metavar="LABEL", help="explain this label instead of the most probable one")
    command.add_argument("--top", type=int, default=10, metavar="N", help="n-grams of each (default: 10)")
    command.add_argument("--grouped", action="store_true", help="put n-grams that overlap into one, with their sum")
    command.add_argument("--html", metavar="FILE", help="write a page there, instead of text to stdout")
    command.add_argument("--texts", metavar="FILE", nargs="+", help="n-grams over these texts: files, globs, folders")
    command.add_argument("--ngrams", metavar="RUN", help="n-grams of a run directory, or of a vocabulary in one")
    command.add_argument(
        "--min-count", type=int, default=2, metavar="N", help="leave out n-grams that are rarer (default: 2)"
    )
    command.add_argument("--json", metavar="FILE", help="write the n-grams over texts or of a vocabulary there, too")
    add_reading(command)
    command.set_defaults(work=_explain, parser=command, resumes=False)


def _explain(arguments: argparse.Namespace) -> None:
    classifier = Classifier.load(arguments.classifier)
    of_all = [name for name in ("texts", "ngrams") if getattr(arguments, name)]
    if arguments.top < 0:
        raise SettingsError(f"--top is {arguments.top}: give 0 or more")
    if len(of_all) > 1 or (of_all and arguments.input):
        raise SettingsError("give one of TEXT, --texts and --ngrams")
    if of_all and (arguments.html or arguments.grouped):
        option = "--html" if arguments.html else "--grouped"
        raise SettingsError(f"{option} is of texts, not of n-grams over many: leave it out")
    if arguments.json and not of_all:
        raise SettingsError("--json is of --texts and --ngrams: leave it out")
    heads = [one for one in classifier.heads if arguments.head in (None, one.name)]
    if not heads or arguments.head == "":
        known = ", ".join(one.name for one in classifier.heads) or "its only one has no name"
        raise SettingsError(f"--head {arguments.head}: the classifier has no such head: {known}")
    if arguments.label is not None and (len(heads) > 1 or arguments.label not in heads[0].labels):
        names = ", ".join(one.name for one in heads)
        raise SettingsError(
            f"--label is of one head: add --head ({names})"
            if len(heads) > 1
            else f"no label {arguments.label!r}: {', '.join(heads[0].labels)}"
        )
    if of_all:
        _show_ngrams(classifier, arguments)
    else:
        _show_texts(classifier, arguments, [one.name or None for one in heads])


def _show_texts(classifier: Classifier, arguments: argparse.Namespace, heads: Sequence[str | None]) -> None:
    if classifier.pairs:
        raise SettingsError("the classifier labels pairs of texts: use Classifier.explain from Python")
    if not arguments.input and sys.stdin.isatty():
        raise SettingsError("give texts, or pipe them in, one a line")
    lines = (line.decode("utf-8", "replace").rstrip("\r\n") for line in sys.stdin.buffer)
    whys, titles = [], []
    for text in arguments.input or lines:
        for name in heads:
            why = classifier.explain(text, arguments.label, arguments.top, name, arguments.grouped)
            title = decision(classifier, name, text, why.label)
            if arguments.html:
                whys.append(why)
                titles.append(title)
            else:
                sys.stdout.write(f"{title}\n{why.ansi()}\n")
    if arguments.html:
        with replacing(Path(arguments.html)) as temporary:
            temporary.write_text(explained.page(whys, titles), encoding="utf-8")


def _show_ngrams(classifier: Classifier, arguments: argparse.Namespace) -> None:
    options = {"head": arguments.head, "top": arguments.top, "min_count": arguments.min_count}
    if arguments.texts:
        texts = read_texts(classifier, arguments.texts, build(given(arguments), "explain").data)
        result = top_ngrams(classifier, texts, **options)
        sums = "total: the sum of what it adds to the logit in all texts; mean: at an occurrence"
    else:
        ngrams, counts = _vocabulary(Path(arguments.ngrams))
        result = top_of_vocabulary(classifier, ngrams, counts, **options)
        sums = "mean: how it alone changes the logit of an empty text; total: times its count"
    tasks = {one.name: one.task for one in classifier.heads}
    for head, labels in result.items():
        for label, sides in labels.items():
            # Of single labels, what argues against one argues for another.
            shown = {"for": sides["for"]} if tasks[head] == "single" else sides
            if arguments.label in (None, label):
                sys.stdout.write(_table(f"{head}: {label}" if head else label, shown))
    sys.stdout.write(f"\n{sums}\n")
    sys.stdout.flush()
    if arguments.json:
        write_json(Path(arguments.json), {"classifier": arguments.classifier, "heads": result})


def read_texts(classifier: Classifier, sources: Sequence[str], data: Data) -> Iterator[Any]:
    """The texts of files, as the classifier takes them."""
    refuse_pairs(classifier, data)
    pair = [data.pair] if data.pair else []
    for batch in reader_of(sources, data, pair, "--pair"):
        yield from zip(batch.texts, batch.named(data.pair), strict=True) if pair else batch.texts


def _vocabulary(path: Path) -> tuple[list[str], list[int]]:
    """The n-grams of a run or a vocabulary directory, with their counts in corpus and train."""
    from ..student.vocabulary import Vocabulary

    for place in (path, path / "vocabulary" / "all", path / "vocabulary"):
        if (place / "vocabulary.safetensors").is_file():
            vocabulary = Vocabulary.load(place)
            return [vocabulary[i] for i in range(len(vocabulary))], vocabulary.counts.tolist()
    raise SettingsError(f"{path} is neither a run directory with a vocabulary nor a vocabulary")


def _table(title: str, sides: dict[str, Any]) -> str:
    lines = []
    for side, rows in sides.items():
        if rows:
            cells = [["n-gram", "count", "mean", "total", "with"]]
            for row in rows:
                more = ", ".join(ngram for ngram, _ in row["members"][:4])
                cells.append([row["ngram"], f"{row['count']:,}", f"{row['mean']:+.4f}", f"{row['total']:+.2f}", more])
            lines += [f"\n{side} {title}", *aligned(cells)]
    return "".join(f"{line.rstrip()}\n" for line in lines)
