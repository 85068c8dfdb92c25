"""The texts of a run: each source is read once, what is written comes back, and nothing that was there is lost."""

from __future__ import annotations

import ctypes
import gzip
import itertools
import json
import os
import signal
import struct
import subprocess
import sys
import time
from collections import Counter
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as parquet
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sparsedistill import DataError, Run, Settings, SettingsError
from sparsedistill.data import prepare
from sparsedistill.data.prepare import Sources
from sparsedistill.data.records import Places
from sparsedistill.data.texts import BLOCK, FACTS, Texts, Writer, batches, numbers_of, places_of, texts_of

LABELS = ("bad", "good")


def judge(texts: list[str]) -> np.ndarray:
    return np.array([[len(text) % 5, len(text) % 3] for text in texts], float)


@pytest.fixture(autouse=True)
def importable(monkeypatch):
    monkeypatch.syspath_prepend(str(Path(__file__).parent))


def rows(number: int, name: str) -> list[dict]:
    return [{"text": f"{name} text {i} is {'good' if i % 3 else 'bad'}", "label": LABELS[i % 3 > 0],
             "scores": [i % 2, 1 - i % 2]} for i in range(number)]  # fmt: skip


def jsonl(path: Path, found: list[dict]) -> str:
    path.write_text("".join(json.dumps(row) + "\n" for row in found), encoding="utf-8")
    return str(path)


# -- every source is read once --------------------------------------------------------------------------------------

_OPENED, _READ, _CLOSED = 0x20, 0x01, 0x10  # events of inotify


@contextmanager
def opens_counted(paths):
    """How often each file was opened, by whom- and whatever in this process or another: the kernel counts."""
    libc = ctypes.CDLL(None, use_errno=True)
    watch = libc.inotify_init1(os.O_NONBLOCK)
    names = {libc.inotify_add_watch(watch, os.fsencode(path), _OPENED | _READ | _CLOSED): path for path in paths}
    found: Counter = Counter(dict.fromkeys(paths, 0))
    try:
        yield found
        events = b""
        while True:
            try:
                events += os.read(watch, 1 << 16)
            except BlockingIOError:
                break
        at = 0
        while at < len(events):
            which, mask, _, size = struct.unpack_from("iIII", events, at)
            found[names[which]] += bool(mask & _OPENED)
            at += 16 + size
    finally:
        os.close(watch)


def sources_of_all_formats(folder: Path) -> dict[str, list[str]]:
    """Files of every format there is, several a part."""
    corpus = pa.table({"text": [row["text"] for row in rows(300, "corpus")]})
    parquet.write_table(corpus, folder / "a.parquet", row_group_size=100)
    for name, new in (("b.arrow", pa.ipc.new_file), ("c.feather", pa.ipc.new_stream)):
        with new(folder / name, corpus.schema) as out:
            out.write_table(pa.table({"text": [f"{text} of {name}" for text in corpus["text"].to_pylist()]}))
    (folder / "d.csv").write_text("text\n" + "\n".join(f"csv {i}" for i in range(9)), encoding="utf-8")
    (folder / "e.txt.gz").write_bytes(gzip.compress(b"a line\nand a line\n", mtime=0))
    (folder / "f.json").write_text(json.dumps([{"text": f"element {i}"} for i in range(9)]), encoding="utf-8")
    (folder / "g.tsv").write_text("text\n" + "\n".join(f"tsv {i}" for i in range(9)), encoding="utf-8")
    return {
        "train": [jsonl(folder / "train.jsonl", rows(200, "train")), jsonl(folder / "more.jsonl", rows(50, "more"))],
        "dev": [jsonl(folder / "dev.jsonl", rows(60, "dev"))],
        "test": [jsonl(folder / "test.jsonl", rows(60, "test"))],
        "corpus": [str(path) for path in sorted(folder.glob("[a-g].*"))],
    }


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="who opens a file is asked of Linux's inotify")
def test_every_source_is_opened_once(tmp_path):
    given = sources_of_all_formats(tmp_path)
    small = {"hidden": [4], "modes": ["kd", "scratch"], "max_n": 2, "repeats": 1, "max_loss": 0.5}
    asked = Settings.of(**given, **small, teacher="test_prepare:judge")
    paths = list(itertools.chain(*given.values()))
    with opens_counted(paths) as opened:
        Run(tmp_path / "run", asked).execute()
    assert opened == dict.fromkeys(paths, 1)
    with opens_counted(paths) as opened:
        again = Run(tmp_path / "run", asked)
        again.execute()
        assert len(again.inputs.part("train").texts) == 250
    assert opened == dict.fromkeys(paths, 0)
    # And where a part is held out of the corpus.
    data = {"corpus": given["corpus"], "labels": list(LABELS), "teacher": "test_prepare:judge"}
    with opens_counted(given["corpus"]) as opened:
        Run(tmp_path / "other", Settings.of(**data)).check()
    assert opened == dict.fromkeys(given["corpus"], 1)


def test_the_formats_of_a_corpus_give_the_same_texts(tmp_path):
    texts = [row["text"] for row in rows(5000, "corpus")] + [
        "",
        "naïve \U0001f600",
        'with "quotes", and\ttab',
        "x" * 9999,
    ]
    arrays = {"string": pa.string(), "large": pa.large_string(), "binary": pa.binary()}
    files = [jsonl(tmp_path / "a.jsonl", [{"text": text} for text in texts])]
    for name, held in arrays.items():
        files.append(str(tmp_path / f"{name}.parquet"))
        parquet.write_table(pa.table({"text": pa.array(texts).cast(held)}), files[-1])
    files.append(str(tmp_path / "dictionary.parquet"))
    parquet.write_table(pa.table({"text": pa.array(texts).dictionary_encode()}), files[-1])
    dev = jsonl(tmp_path / "dev.jsonl", rows(60, "corpus"))
    found = set()
    for file in files:
        data = Settings.of(corpus=[file], dev=[dev], labels=list(LABELS))
        facts = Sources(data).prepare(tmp_path / "texts")
        read = [text for some in Texts(tmp_path / "texts", data).texts("corpus") for text in some]
        assert read == texts[60:] and facts["corpus"]["dropped"] == 60
        found.add(facts["corpus"]["fingerprint"])
    assert len(found) == 1


def test_invalid_texts_of_columnar_files(tmp_path):
    file, dev = str(tmp_path / "a.parquet"), jsonl(tmp_path / "dev.jsonl", rows(9, "dev"))
    parquet.write_table(pa.table({"text": pa.array([b"fine", b"caf\xe9", b"last"])}), file)
    asked = {"corpus": [file], "dev": [dev], "labels": list(LABELS)}
    with pytest.raises(DataError, match=r"a\.parquet row 2 is not valid UTF-8"):
        Sources(Settings.of(**asked)).prepare(tmp_path / "texts")
    data = Settings.of(**asked, encoding_errors="replace")
    Sources(data).prepare(tmp_path / "texts")
    assert [*Texts(tmp_path / "texts", data).texts("corpus")] == [["fine", "caf\ufffd", "last"]]


def test_wrong_files_are_known_before_any_is_read(tmp_path, monkeypatch):
    good = jsonl(tmp_path / "good.jsonl", rows(30, "good"))
    wrong = {
        "wrong.jsonl": '{"body": "a"}\n', "wrong.csv": "body\na\n", "wrong.parquet": None, "none.jsonl": None,
    }  # fmt: skip
    for name, content in wrong.items():
        if content is not None:
            (tmp_path / name).write_text(content, encoding="utf-8")
    parquet.write_table(pa.table({"body": ["a"]}), tmp_path / "wrong.parquet")
    monkeypatch.setattr(prepare.Sources, "_corpus", lambda self: pytest.fail("the corpus is read"))
    for name in wrong:
        data = Settings.of(train=[good], corpus=[good, str(tmp_path / name)])
        with pytest.raises(DataError, match=rf"{name}.* (no column 'text'|no such file)|no such file.*{name}"):
            Sources(data).prepare(tmp_path / "texts")
    for part in ("train", "dev", "test", "corpus"):
        with pytest.raises(DataError, match=rf"{part} is stdin, which can be read only once"):
            Sources(Settings.of(**{"train": [good], part: ["-"]})).prepare(tmp_path / "texts")
    with pytest.raises(SettingsError, match="no texts yet"):
        _ = Run(tmp_path / "run", Settings.of(train=[good])).inputs


# -- what is written comes back -------------------------------------------------------------------------------------


@settings(max_examples=60, deadline=None)
@given(
    texts=st.lists(st.text(st.characters(exclude_categories=["Cs"]), max_size=6), max_size=30),
    cuts=st.lists(st.integers(0, 30), max_size=4),
    width=st.integers(0, 3),
    are_pairs=st.booleans(),
    in_arrow=st.booleans(),
)
def test_any_batches_give_the_same_file(tmp_path_factory, texts, cuts, width, are_pairs, in_arrow):
    path = tmp_path_factory.mktemp("w") / "part.parquet"
    if are_pairs:
        texts = [
            f"{text}\x1f{text[::-1]}".replace("\x1f\x1f", "\x1f") for text in (t.replace("\x1f", " ") for t in texts)
        ]
    numbers = np.random.default_rng(0).random((len(texts), width or 1))
    numbers = numbers if width else numbers[:, 0]
    named = [(f"file {i % 3}", [i + 1]) for i in range(len(texts))]

    def written(edges) -> dict:
        with Writer(path, {"scores": (np.float64, width)}, are_pairs) as writer:
            for a, b in itertools.pairwise(edges):
                some = texts[a:b]
                if in_arrow and not are_pairs:
                    some = pa.array(["before", *some], pa.large_string())[1:]  # its offsets do not begin at 0
                writer.add(some, Places(named[a:b]), scores=numbers[a:b])
        return writer.facts()

    edges = [0, *sorted(min(cut, len(texts)) for cut in cuts), len(texts)]
    facts = written(edges)
    assert facts == written([0, len(texts)])
    assert facts["texts"] == len(texts)
    found = [*batches(path, "text", "second", "scores", "source", "row")]
    assert [text for batch in found for text in texts_of(batch)] == texts
    assert list(places_of(found)) == list(Places(named))
    for batch in found:
        assert np.array_equal(numbers_of(batch, "scores"), numbers)
        assert numbers_of(batch, "weight") is None


@pytest.mark.parametrize("number", [0, 1, BLOCK - 1, BLOCK, BLOCK + 1, 9 * BLOCK + 5])
def test_row_groups_are_blocks(tmp_path, number):
    path = tmp_path / "part.parquet"
    with Writer(path, {}) as writer:
        for begin in range(0, number, 777):
            some = [f"text {i}" for i in range(begin, min(begin + 777, number))]
            writer.add(some, Places([("a.txt", range(begin, begin + len(some)))]))
    metadata = parquet.read_metadata(path)
    sizes = [metadata.row_group(i).num_rows for i in range(metadata.num_row_groups)]
    assert sizes == [BLOCK] * (number // BLOCK) + [number % BLOCK] * (number % BLOCK > 0)
    assert [t for batch in batches(path, "text") for t in texts_of(batch)] == [f"text {i}" for i in range(number)]


def test_fingerprints_are_of_texts_targets_scores_and_weights(tmp_path):
    def facts(texts, targets, scores) -> dict:
        with Writer(tmp_path / "a.parquet", {"target": (np.int64, 0), "scores": (np.float64, 2)}) as writer:
            writer.add(texts, Places([("a", range(len(texts)))]), target=np.array(targets), scores=np.array(scores))
        return writer.facts()

    scores = [[1, 2], [3, 4]]
    first = facts(["ab", "c"], [0, 1], scores)
    assert first == facts(["ab", "c"], [0, 1], scores)
    moved, relabelled = facts(["a", "bc"], [0, 1], scores), facts(["ab", "c"], [1, 1], scores)
    assert len({first["fingerprint"], moved["fingerprint"], relabelled["fingerprint"]}) == 3
    assert first["scores"] == moved["scores"] == relabelled["scores"]
    rescored = facts(["ab", "c"], [0, 1], [[1, 2], [3, 5]])
    assert rescored["fingerprint"] == first["fingerprint"] and rescored["scores"] != first["scores"]


# -- nothing is lost ------------------------------------------------------------------------------------------------

_PREPARE = """
import sys
from pathlib import Path
from sparsedistill import Settings
from sparsedistill.data import prepare
from sparsedistill.data.texts import Writer

add = Writer.add
def slowly(self, *values, **more):
    add(self, *values, **more)
    if self.texts > 20_000:
        print("half way", flush=True)
        sys.stdin.read()
Writer.add = slowly
prepare.Sources(Settings.of(train=[sys.argv[1]], corpus=[sys.argv[2]])).prepare(Path(sys.argv[3]))
"""


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="a process is killed as POSIX does it")
def test_killed_half_way_the_old_texts_stay(tmp_path):
    train, corpus = jsonl(tmp_path / "train.jsonl", rows(50, "train")), jsonl(tmp_path / "a.jsonl", rows(99, "a"))
    asked = Settings.of(train=[train], corpus=[corpus])
    Sources(asked).prepare(tmp_path / "texts")
    before = contents(tmp_path / "texts")
    other = jsonl(tmp_path / "b.jsonl", rows(40_000, "b"))
    words = [sys.executable, "-c", _PREPARE, train, other, str(tmp_path / "texts")]
    process = subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, cwd=tmp_path)
    assert process.stdout.readline() == b"half way\n"
    process.send_signal(signal.SIGKILL)
    process.communicate()
    assert contents(tmp_path / "texts") == before
    assert len(list(tmp_path.glob(".texts.*"))) == 1
    assert len(Texts(tmp_path / "texts", asked).part("train").texts) == 45
    changed = Settings.of(train=[train], corpus=[other])
    facts = Sources(changed).prepare(tmp_path / "texts")
    assert facts["corpus"]["texts"] == 40_000 and not list(tmp_path.glob(".texts.*"))


def test_after_an_error_the_old_texts_stay(tmp_path):
    train, corpus = jsonl(tmp_path / "train.jsonl", rows(50, "train")), jsonl(tmp_path / "a.jsonl", rows(99, "a"))
    Sources(Settings.of(train=[train], corpus=[corpus])).prepare(tmp_path / "texts")
    before = contents(tmp_path / "texts")
    broken = jsonl(tmp_path / "b.jsonl", [*rows(9000, "b"), {"text": None}])
    with pytest.raises(DataError, match=r"b\.jsonl:9001 is null"):
        Sources(Settings.of(train=[train], corpus=[broken])).prepare(tmp_path / "texts")
    assert contents(tmp_path / "texts") == before
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.jsonl", "b.jsonl", "texts", "train.jsonl"]


def test_texts_are_prepared_anew_when_something_changed(tmp_path):
    file = tmp_path / "train.jsonl"
    train, corpus = jsonl(file, rows(50, "train")), jsonl(tmp_path / "a.jsonl", rows(99, "a"))

    def prepared(**values) -> int:
        """When the texts were, after a check of these settings."""
        run = Run(
            tmp_path / "run",
            Settings.of(**{"train": [train], "corpus": [corpus], "teacher": "test_prepare:judge"} | values),
        )
        run.check()
        assert run.inputs.labels == LABELS
        return (tmp_path / "run" / "texts" / FACTS).stat().st_mtime_ns

    first = prepared()
    assert prepared() == prepared(hidden=[3]) == first
    second = prepared(dev_fraction=0.2)
    assert second > first
    file.write_text(file.read_text("utf-8") + json.dumps(rows(51, "train")[-1]) + "\n", encoding="utf-8")
    third = prepared(dev_fraction=0.2)
    assert third > second and prepared(dev_fraction=0.2) == third
    time.sleep(0.01)
    os.utime(file)  # who says that it changed is believed: it is read, and nothing else comes of it
    assert prepared(dev_fraction=0.2) > third
