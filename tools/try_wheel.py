"""Use the installed package where numpy is all there is beside it: what every wheel must pass once it is built."""

from __future__ import annotations

import tempfile
from pathlib import Path

import numpy as np

from sparsedistill import Classifier, _core
from sparsedistill.student.vocabulary import Vocabulary

TEXTS = ["a good film", "a bad film", "", "caf\u00e9 \u4e2d\u6587 \U0001f600"]


def main() -> None:
    vocabulary = Vocabulary.count([TEXTS])
    rng = np.random.default_rng(0)
    config = {
        "format": "sparsedistill",
        "format_version": 4,
        "task": "single",
        "labels": ["neg", "pos"],
        "text": {
            "tokenizer": vocabulary.tokenizer,
            "lowercase": vocabulary.lowercase,
            "normalize": vocabulary.normalize,
            "max_n": vocabulary.max_n,
            "seed": vocabulary.seed,
            "unicode": _core.unicode_version,
        },
        "pooling": "mean",
        "rows": {"count": len(vocabulary), "width": 4, "type": "float32", "in_slots": False},
        "relu_first": True,
        "layers": 1,
    }
    tensors = {
        "slots": vocabulary.slots,
        "rows": rng.standard_normal((len(vocabulary), 4)).astype(np.float32),
        "bias": np.zeros(4, np.float32),
        "layers.0.weight": rng.standard_normal((4, 2)).astype(np.float32),
        "layers.0.bias": np.zeros(2, np.float32),
    }
    before = Classifier(config, tensors)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "classifier"
        before.save(path)
        after = Classifier.load(path)
        assert after.predict(TEXTS) == before.predict(TEXTS)
        assert np.array_equal(after.decision_function(TEXTS), before.decision_function(TEXTS))
        del after  # Windows deletes no file that is mapped


main()
