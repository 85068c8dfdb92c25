from __future__ import annotations

import itertools
import json
import signal
import subprocess
import sys
import textwrap
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sparsedistill.errors import DataError
from sparsedistill.teacher import logits as module
from sparsedistill.teacher.logits import Logits, fingerprint, label


class Scorer:
    """Two numbers that only the text decides, and a record of every shard asked for."""

    def __init__(self):
        self.calls: list[list[str]] = []

    def __call__(self, texts):
        self.calls.append(list(texts))
        return truth(texts)


def truth(texts):
    return np.array([[len(t), sum(map(ord, t)) % 97] for t in texts], np.float32).reshape(len(texts), 2)


def texts_of(n):
    return [f"text {i} " + "x" * (i % 7) for i in range(n)]


def run(texts, directory, score=None, *, step=5, size=8, teacher="t", classes=2):
    score = score or Scorer()
    batches = [texts[i : i + step] for i in range(0, len(texts), step)]
    return score, label(score, batches, directory, teacher=teacher, classes=classes, shard_size=size, total=len(texts))


@settings(max_examples=40, deadline=None)
@given(sizes=st.lists(st.integers(0, 20), max_size=12), size=st.integers(1, 9), data=st.data())
def test_any_batches_give_the_same_shards(tmp_path_factory, sizes, size, data):
    texts = texts_of(sum(sizes))
    cuts = np.cumsum([0, *sizes])
    batches = [texts[a:b] for a, b in itertools.pairwise(cuts)]
    score = Scorer()
    out = label(score, batches, tmp_path_factory.mktemp("l"), teacher="t", classes=2, shard_size=size)
    assert len(out) == len(texts)
    assert out.manifest.complete
    assert np.array_equal(out.array(), truth(texts))
    assert out.array().dtype == np.float32
    assert [len(c) for c in score.calls] == [size] * (len(texts) // size) + [len(texts) % size] * (
        len(texts) % size > 0
    )
    assert [(start, len(v)) for start, v in out.shards()] == [(k * size, len(c)) for k, c in enumerate(score.calls)]
    for _ in range(5):
        begin, end = sorted(data.draw(st.integers(0, len(texts))) for _ in range(2))
        assert np.array_equal(out.rows(begin, end), truth(texts)[begin:end])


def test_no_texts(tmp_path):
    _, out = run([], tmp_path, classes=3)
    assert len(out) == 0
    assert out.array().shape == (0, 3)
    assert list(out.shards()) == []


@settings(max_examples=100, deadline=None)
@given(
    st.lists(st.text(st.characters(), max_size=6), max_size=5),
    st.lists(st.text(st.characters(), max_size=6), max_size=5),
)
def test_fingerprint_tells_texts_apart(a, b):
    assert (fingerprint(a) == fingerprint(b)) == (a == b)


def test_fingerprint_knows_boundaries_and_surrogates():
    assert fingerprint(["ab", "c"]) != fingerprint(["a", "bc"]) != fingerprint(["abc"])
    assert fingerprint(["\ud800"]) != fingerprint(["\ud801"])
    assert len(fingerprint([])) == 32


def test_a_finished_run_is_not_scored_again(tmp_path):
    texts = texts_of(30)
    run(texts, tmp_path)
    score, out = run(texts, tmp_path, step=3)
    assert score.calls == []
    assert np.array_equal(out.array(), truth(texts))


def test_only_changed_new_and_damaged_shards_are_scored(tmp_path):
    texts = texts_of(30)
    run(texts, tmp_path)
    texts[9] = "changed"
    with open(tmp_path / "00002.npy", "r+b") as file:
        file.truncate(100)
    texts += texts_of(5)
    score, out = run(texts, tmp_path)
    assert score.calls == [texts[8:16], texts[16:24], texts[24:32], texts[32:]]
    assert np.array_equal(out.array(), truth(texts))


def test_a_shorter_corpus_leaves_no_stale_shards(tmp_path):
    run(texts_of(30), tmp_path)
    score, out = run(texts_of(16), tmp_path)
    assert score.calls == []
    assert len(out) == 16
    assert sorted(p.name for p in tmp_path.iterdir()) == ["00000.npy", "00001.npy", "manifest.json"]


@pytest.mark.parametrize("change", [{"teacher": "other"}, {"size": 4}, {"classes": 3}])
def test_another_teacher_or_cut_starts_over(tmp_path, capsys, change):
    texts = texts_of(16)
    run(texts, tmp_path)
    classes = change.get("classes", 2)
    calls = []
    score = lambda t: calls.append(t) or np.ones((len(t), classes))  # noqa: E731
    run(texts, tmp_path, score, **change)
    assert sum(map(len, calls)) == 16
    assert "starts over" in capsys.readouterr().err


def test_a_damaged_manifest_starts_over(tmp_path, capsys):
    texts = texts_of(16)
    run(texts, tmp_path)
    (tmp_path / "manifest.json").write_text('{"teacher": ')
    score, _ = run(texts, tmp_path)
    assert len(score.calls) == 2
    assert "damaged" in capsys.readouterr().err


@pytest.mark.parametrize("bad", [np.nan, np.inf, 1e300])
def test_a_score_that_is_not_finite_names_the_text(tmp_path, bad):
    texts = texts_of(20)

    def score(part):
        values = truth(part).astype(np.float64)
        values[[t.startswith("text 13 ") for t in part], 1] = bad
        return values

    with pytest.raises(DataError, match=r"text 14 of the corpus \('text 13 "):
        run(texts, tmp_path, score)
    with pytest.raises(DataError, match="unfinished"):
        Logits.load(tmp_path)
    again, _ = run(texts, tmp_path)
    assert again.calls == [texts[8:16], texts[16:]]  # the finished shard was kept


@pytest.mark.parametrize("values", [np.zeros((8, 3)), np.zeros(8), np.zeros((7, 2)), np.full((8, 2), "x")])
def test_scores_of_the_wrong_shape_are_refused(tmp_path, values):
    with pytest.raises(DataError, match="shape"):
        run(texts_of(8), tmp_path, lambda texts: values)


def test_load_refuses_what_is_missing_or_damaged(tmp_path):
    with pytest.raises(DataError, match="missing"):
        Logits.load(tmp_path)
    run(texts_of(20), tmp_path)
    whole = (tmp_path / "00001.npy").read_bytes()
    (tmp_path / "00001.npy").write_bytes(whole[:-1])
    with pytest.raises(DataError, match=r"00001\.npy"):
        Logits.load(tmp_path)
    (tmp_path / "00001.npy").write_bytes(whole)
    manifest = json.loads((tmp_path / "manifest.json").read_text())
    manifest["shards"][1]["file"] = "../00001.npy"
    (tmp_path / "manifest.json").write_text(json.dumps(manifest))
    with pytest.raises(DataError, match=r"00001\.npy"):
        Logits.load(tmp_path)


def test_old_scores_never_stand_under_new_texts(tmp_path, monkeypatch):
    """Killed between the file and the manifest, then run on the first texts again."""
    old, new = texts_of(8), [t + "!" for t in texts_of(8)]
    run(old, tmp_path)
    real = module._write_manifest

    def dies(directory, manifest):
        if manifest.shards and manifest.shards[0]["fingerprint"] == fingerprint(new):
            raise MemoryError
        real(directory, manifest)

    monkeypatch.setattr(module, "_write_manifest", dies)
    with pytest.raises(MemoryError):
        run(new, tmp_path)
    monkeypatch.undo()
    _, out = run(old, tmp_path)
    assert np.array_equal(out.array(), truth(old))


def test_killed_half_way_only_missing_shards_are_scored(tmp_path):
    texts = texts_of(64)
    program = textwrap.dedent(
        f"""
        import os, signal, sys
        sys.path[:0] = [{str(Path(__file__).parent)!r}, {str(Path(module.__file__).parent.parent)!r}]
        from test_logits import run, texts_of, truth
        count = 0
        def score(texts):
            global count
            count += 1
            if count == 6:
                os.kill(os.getpid(), signal.SIGKILL)
            return truth(texts)
        run(texts_of(64), {str(tmp_path)!r}, score)
        """
    )
    killed = subprocess.run([sys.executable, "-c", program], cwd=tmp_path)
    assert killed.returncode == -signal.SIGKILL
    with pytest.raises(DataError, match="unfinished"):
        Logits.load(tmp_path)
    score, out = run(texts, tmp_path)
    assert score.calls == [texts[40:48], texts[48:56], texts[56:]]
    assert np.array_equal(out.array(), truth(texts))


def test_progress_counts_what_was_resumed(tmp_path, monkeypatch):
    bars = []

    class Bar(module.Progress):
        def __init__(self, *args, **options):
            super().__init__(*args, **options)
            bars.append((self, self.done))

    monkeypatch.setattr(module, "Progress", Bar)
    texts = texts_of(24)
    run(texts, tmp_path)
    texts[0] = "changed"
    run(texts, tmp_path)
    assert [before for _, before in bars] == [0, 24]
    assert [bar.done for bar, _ in bars] == [24, 24]
