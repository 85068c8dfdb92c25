"""``cut``: from which score on texts are kept."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from ..classifier import CONFIG, Classifier
from ..cuts import with_cut
from ..format import write_json
from ..measure import choose_cut
from ..progress import say
from ..settings import build
from .common import add_command, add_reading, given

_TEXT = (
    "Choose from which score on a text is kept, and store that in the classifier under a name, for predict --cut: by a "
    "level of the scores beside the texts (where the F1 is best), or by the share of the texts to keep, which need no "
    "scores then; with --slice also in each slice of 30 texts or more."
)

_EXAMPLES = """
  sparsedistill cut grader graded.parquet --label grade --name good --level 3
  sparsedistill cut grader crawl/a.parquet --name best --share 0.1
"""


def add(commands: Any) -> None:
    """Add the command."""
    command = add_command(commands, "cut", "choose from which score on texts are kept", _TEXT, _EXAMPLES)
    command.add_argument("classifier", metavar="CLASSIFIER", help="directory of the classifier, which gets the cut")
    command.add_argument("input", metavar="FILE", nargs="+", help="texts: files, globs, folders or hf:NAME")
    command.add_argument("--name", required=True, help="name of the cut; one that has it is replaced")
    command.add_argument("--level", type=float, metavar="X", help="keep what has this score or more")
    command.add_argument("--share", type=float, metavar="X", help="keep this share of the texts")
    command.add_argument(
        "--slice", metavar="COLUMN", default="", help="column of slices that have thresholds of their own"
    )
    command.add_argument("--head", metavar="NAME", help="whose scores, of a classifier of several heads")
    add_reading(command, "label")
    command.set_defaults(work=_cut, parser=command)


def _cut(arguments: argparse.Namespace) -> None:
    path, data = Path(arguments.classifier), build(given(arguments), "cut").data
    classifier = Classifier.load(path)
    head, cut = choose_cut(
        classifier, arguments.input, data, name=arguments.name, level=arguments.level, share=arguments.share,
        column=arguments.slice, head=arguments.head,
    )  # fmt: skip
    write_json(path / CONFIG, with_cut(classifier.config, head, cut))
    say(f"{path}: cut {cut['name']} keeps scores {kept_from(cut, ', and')}; predict --cut {cut['name']}")


def kept_from(cut: dict[str, Any], more: str) -> str:
    """From where on a cut keeps."""
    own = f"{more} {len(cut['slice']):,} slices by {cut['column']} have their own" if cut["column"] else ""
    return f"from {cut['threshold']:.4g} on{own}"
