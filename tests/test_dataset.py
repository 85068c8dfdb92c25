"""What students learn from: batches against a plain twin, the order as a function of a number, files there and back."""

from __future__ import annotations

import itertools
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sparsedistill.data.records import Places
from sparsedistill.data.texts import BLOCK, Writer
from sparsedistill.errors import FormatError
from sparsedistill.student.dataset import Batch, Featuriser, InMemory, Loader, OnDisk, Order, Part, TextsInMemory
from sparsedistill.student.vocabulary import Vocabulary

bags = st.lists(st.lists(st.integers(0, 9), max_size=5), min_size=1, max_size=8)


def examples_of(bags, first: int = 0) -> Batch:
    """Their targets number them."""
    offsets = np.array([0, *itertools.accumulate(map(len, bags))], np.uint64)
    ids = np.array([i for bag in bags for i in bag], np.uint32)
    return Batch(ids, offsets, np.arange(first, first + len(bags), dtype=np.float32)[:, None])


def split(examples: Batch) -> list[list[int]]:
    return [examples.ids[int(a) : int(b)].tolist() for a, b in itertools.pairwise(examples.offsets)]


class Numbered:
    """Blocks of these sizes; every text has one n-gram, its number."""

    forget = 0.0

    def __init__(self, sizes):
        self.sizes, self.starts = sizes, [0, *itertools.accumulate(sizes)]
        self.loaded: list[int] = []

    def load(self, index: int, epoch: int = 0) -> Batch:
        self.loaded.append(index)
        return examples_of([[i] for i in range(self.starts[index], self.starts[index + 1])], self.starts[index])


@given(bags, st.data())
def test_take_gives_the_texts_asked_for(bags, data):
    which = data.draw(st.lists(st.integers(0, len(bags) - 1), max_size=6))
    taken = examples_of(bags).take(np.array(which, np.int64))
    assert split(taken) == [bags[i] for i in which]
    assert taken.targets[:, 0].tolist() == which


@settings(max_examples=60)
@given(bags, st.data(), st.floats(0.01, 0.99), st.integers(0, 1 << 40), st.integers(1, 1 << 40))
def test_what_is_left_out_is_a_function_of_seed_step_and_place(bags, data, drop, seed, step):
    which = np.array(data.draw(st.lists(st.integers(0, len(bags) - 1), min_size=1, max_size=20)), np.int64)
    examples = examples_of(bags)
    whole = split(examples.take(which, drop, seed, step))
    assert whole == split(examples.take(which, drop, seed, step))
    for cut in range(len(which)):  # in two pieces: the same
        place = sum(len(bags[i]) for i in which[:cut])
        pieces = examples.take(which[:cut], drop, seed, step), examples.take(which[cut:], drop, seed, step, place)
        assert split(Batch.joined(pieces)) == whole
    for bag, i in zip(whole, which, strict=True):
        rest = iter(bags[i])
        assert all(one in rest for one in bag)  # what is left is in order


def test_the_right_share_is_left_out():
    examples = examples_of([list(range(500))] * 200)
    left = [examples.take(np.arange(200), 0.3, seed, step) for seed, step in ((0, 1), (0, 2), (1, 1))]
    kept = np.zeros((3, 200, 500), bool)
    for k, one in enumerate(left):
        for b, bag in enumerate(split(one)):
            kept[k, b, bag] = True
    assert abs(kept.mean(axis=(1, 2)) - 0.7).max() < 4 * (0.21 / 100_000) ** 0.5
    for a, b in itertools.combinations(kept.reshape(3, -1), 2):  # steps and seeds know nothing of each other
        assert abs((a & b).mean() - 0.49) < 4 * (0.25 / 100_000) ** 0.5
    assert abs((kept[:, :, 1:] & kept[:, :, :-1]).mean() - 0.49) < 0.005


@pytest.mark.parametrize(
    ("changes", "error", "message"),
    [
        ({"which": [3]}, IndexError, "no such bag"),
        ({"which": [-1]}, IndexError, "no such bag"),
        ({"offsets": [0, 2, 1, 3]}, ValueError, "must not fall"),
        ({"offsets": [0, 1, 2, 9]}, ValueError, "end within the ids"),
        ({"drop": 1.0}, ValueError, "at least 0 and below 1"),
        ({"drop": float("nan")}, ValueError, "at least 0 and below 1"),
    ],
)
def test_take_checks(changes, error, message):
    given = {"offsets": [0, 1, 2, 3], "which": [0, 1, 2], "drop": 0.0} | changes
    examples = Batch(np.arange(3, dtype=np.uint32), np.array(given["offsets"], np.uint64), np.zeros((3, 1), np.float32))
    with pytest.raises(error, match=message):
        examples.take(np.array(given["which"]), given["drop"])


sizes = st.lists(st.integers(0, 9), min_size=1, max_size=9).filter(any)


@given(sizes, st.integers(0, 9), st.integers(0, 9), st.integers(1, 30))
def test_an_epoch_has_every_text_once(sizes, seed, epoch, window):
    order = Order(sizes, seed, window)
    windows = order.windows(epoch)
    assert sorted(itertools.chain(*map(list, windows))) == list(range(len(sizes)))
    fewest = -(-sum(sizes) // window)
    assert epoch == 0 or len(windows) <= fewest
    for number, blocks in enumerate(windows):  # no more than its share, and the block that it ends in
        inside = [sizes[i] for i in blocks]
        share = sum(sizes) / fewest if epoch else min(window, max(sizes) << number) if fewest > 1 else window
        assert sum(inside) - max(inside) < share <= window
        assert list(blocks) == sorted(blocks)
    assert [list(w) for w in windows] == [list(w) for w in Order(sizes, seed, window).windows(epoch)]


def twin(sizes, seed, window, count):
    """The numbers of the first ``count`` texts."""
    order, starts, found = Order(sizes, seed, window), np.cumsum([0, *sizes]), []
    for epoch in itertools.count():
        for number, blocks in enumerate(order.windows(epoch)):
            texts = np.concatenate([np.arange(starts[i], starts[i + 1]) for i in blocks])
            found += texts[order.within(epoch, number, len(texts))].tolist()
        if len(found) >= count:
            return found[:count]


@settings(max_examples=60, deadline=None)
@given(sizes, st.integers(0, 9), st.integers(1, 30), st.integers(1, 25), st.integers(1, 6), st.integers(0, 5))
def test_batches_from_any_step_on(sizes, seed, window, batch_size, steps, first):
    expected = twin(sizes, seed, window, batch_size * (first + steps))
    with Loader(Numbered(sizes), Order(sizes, seed, window), batch_size, 0.0, first + 1, first + steps) as batches:
        got = list(batches)
    assert len(got) == steps
    for step, batch in enumerate(got, first):
        numbers = expected[step * batch_size : (step + 1) * batch_size]
        assert split(batch) == [[n] for n in numbers]
        assert batch.targets[:, 0].tolist() == numbers


def test_memory_holds_two_windows():
    blocks = Numbered([10] * 100)
    with Loader(blocks, Order(blocks.sizes, 0, 50), 10, 0.0, 101, 200, ahead=1) as batches:  # the second epoch
        steps = iter(batches)
        next(steps)
        time.sleep(0.3)
        assert len(blocks.loaded) == 10
        for _ in range(7):
            next(steps)
        time.sleep(0.3)
        assert len(blocks.loaded) == 15


def test_an_error_in_a_block_comes_where_batches_are_read():
    class Broken(Numbered):
        def load(self, index: int, epoch: int = 0) -> Batch:
            if len(self.loaded) == 3:
                raise FormatError("block 3 is damaged")
            return super().load(index)

    before = threading.active_count()
    blocks = Broken([10] * 10)
    with Loader(blocks, Order(blocks.sizes, 0, 10), 10, 0.0, 1, 10) as batches:
        steps = iter(batches)
        assert all(len(next(steps)) == 10 for _ in range(3))
        with pytest.raises(FormatError, match="block 3 is damaged"):
            next(steps)
    assert threading.active_count() == before


def test_nothing_goes_on_once_batches_are_left():
    before = threading.active_count()
    blocks = Numbered([10] * 10)
    with Loader(blocks, Order(blocks.sizes, 0, 10), 10, 0.0, 1, 1 << 40) as batches:
        next(iter(batches))
    assert threading.active_count() == before
    assert batches.waited > 0


def write(path: Path, batches) -> Path:
    """Texts as a run prepares them."""
    row = 1
    with Writer(path, {}) as writer:
        for texts in batches:
            writer.add(texts, Places([("texts.txt", range(row, row + len(texts)))]))
            row += len(texts)
    return path


def test_files_there_and_back(tmp_path):
    texts = [f"text {i} of {'many ' * (i % 4)}" for i in range(2 * BLOCK + 100)]
    targets = np.random.default_rng(0).random((len(texts), 3)).astype(np.float32)
    vocabulary = Vocabulary.count([texts], size=500)
    path = write(tmp_path / "some.parquet", (texts[begin : begin + 1000] for begin in range(0, len(texts), 1000)))
    part = Part(path, lambda begin, end: targets[begin:end], targets[:, :1])
    blocks = OnDisk([part], vocabulary, 2)
    assert blocks.sizes == [BLOCK, BLOCK, 100]
    whole = Batch.joined([blocks.load(i) for i in range(3)])
    ids, offsets = vocabulary.bags(texts)
    assert np.array_equal(whole.ids, ids)
    assert np.array_equal(whole.offsets, offsets)
    assert np.array_equal(whole.targets, targets)
    assert np.array_equal(whole.weights, targets[:, :1])
    assert np.array_equal(np.concatenate(list(blocks.targets())), targets)
    thrice = OnDisk([part] * 3, vocabulary, 1)
    assert thrice.sizes == [BLOCK, BLOCK, 100] * 3
    assert np.array_equal(thrice.load(7).targets, targets[BLOCK : 2 * BLOCK])
    assert OnDisk([Part(write(tmp_path / "none.parquet", []), part.targets)], vocabulary, 1).sizes == []
    assert sorted(path.name for path in tmp_path.iterdir()) == ["none.parquet", "some.parquet"]


def test_the_order_does_not_depend_on_where_examples_are(tmp_path):
    texts = [f"word{i}" for i in range(300)]
    vocabulary = Vocabulary.count([texts])
    targets = np.arange(300, dtype=np.float32)[:, None]
    path = write(tmp_path / "all.parquet", [texts])
    got = []
    for blocks in (
        OnDisk([Part(path, lambda begin, end: targets[begin:end])], vocabulary, 1),
        InMemory(Batch(*vocabulary.bags(texts), targets)),
    ):
        with Loader(blocks, Order(blocks.sizes, 5), 70, 0.2, 1, 9) as batches:
            got.append([(split(batch), batch.targets.tolist()) for batch in batches])
    assert got[0] == got[1]


def forgetting(tmp_path, characters="unknown"):
    """The same texts on disk and in memory, featurised anew each epoch, and their vocabulary."""
    texts = [f"word{i} word{i + 1} other{i % 7}" for i in range(300)]
    vocabulary = Vocabulary.count([texts], characters=characters)
    targets = np.arange(300, dtype=np.float32)[:, None]
    path = write(tmp_path / "all.parquet", [texts])
    disk = OnDisk([Part(path, lambda begin, end: targets[begin:end])], vocabulary, 1, forget=0.3, seed=8)
    return texts, vocabulary, disk, TextsInMemory(texts, targets, None, Featuriser(vocabulary, 2, 0.3, 8))


def test_words_are_forgotten_anew_in_each_epoch(tmp_path):
    texts, vocabulary, *both = forgetting(tmp_path)
    whole = split(Batch(*vocabulary.bags(texts), np.zeros((300, 1), np.float32)))
    for blocks in both:
        epochs = [split(blocks.load(0, epoch)) for epoch in (0, 1, 2)]
        assert all(one != whole for one in epochs)
        assert len({str(one) for one in epochs}) == 3
        assert [split(blocks.load(0, epoch)) for epoch in (0, 1, 2)] == epochs
        words = [sum(row < vocabulary.words for bag in bags for row in bag) for bags in (whole, *epochs)]
        assert all(0.3 < some / words[0] < 0.8 for some in words[1:])
        assert any(row >= vocabulary.words for bag in epochs[0] for row in bag)
    assert split(both[0].load(0, 1)) == split(both[1].load(0, 1))
    # Twice the same part is not twice the same bags.
    part = Part(tmp_path / "all.parquet", lambda begin, end: np.zeros((end - begin, 1), np.float32))
    twice = OnDisk([part] * 2, vocabulary, 1, forget=0.3, seed=8)
    assert split(twice.load(0, 5)) == split(both[0].load(0, 5)) != split(twice.load(1, 5))


def test_what_is_forgotten_goes_on_where_it_was(tmp_path):
    *_, blocks, _ = forgetting(tmp_path)
    order = Order(blocks.sizes, 5)
    with Loader(blocks, order, 70, 0.2, 1, 14) as batches:
        whole = [split(batch) for batch in batches]
    for first in (3, 6, 11):  # in the first epoch, in the second, in the third
        with Loader(blocks, order, 70, 0.2, first, 14) as batches:
            assert [split(batch) for batch in batches] == whole[first - 1 :]
    assert len({str(sorted(map(sorted, whole[i]))) for i in range(14)}) == 14


_TRAIN = """
import sys
import numpy as np
from pathlib import Path
import sparsedistill.student.dataset as examples
from sparsedistill.student.schedule import Schedule
from sparsedistill.student.model import Student
from sparsedistill.student.train import train
from sparsedistill.tasks import TASKS
from sparsedistill.student.vocabulary import Vocabulary

folder, window = Path(sys.argv[1]), int(sys.argv[2])
vocabulary = Vocabulary.hash(1000)
schedule = Schedule(steps=400, batch_size=512, learning_rate=0.01, warmup=0.1, ngram_dropout=0.0, evaluate_every=1000,
                    checkpoint_seconds=1e9, threads=1, seed=0)
order = examples.Order
import sparsedistill.student.train as training
training.Order = lambda sizes, seed: order(sizes, seed, window)
half = lambda begin, end: np.full((end - begin, 2), 0.5, np.float32)
blocks = examples.OnDisk([examples.Part(folder / "texts.parquet", half)], vocabulary, 1)
train(Student(1000, 2, (4,), 0, 0.0, 1), blocks, schedule, TASKS["single"],
      folder / "student", lambda _: 0.0, "test", "key")
# Not ru_maxrss, which begins with that of the process this one was forked from.
print(next(int(line.split()[1]) for line in Path("/proc/self/status").open() if line.startswith("VmHWM")) / 1e3)
"""


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="peak memory is read from Linux's /proc")
def test_memory_does_not_grow_with_the_corpus(tmp_path):
    rng = np.random.default_rng(0)
    words = [f"word{i}" for i in range(5000)]

    def batches():
        for _ in range(50):
            drawn = rng.integers(0, 5000, (4096, 40))
            yield [" ".join([words[i] for i in row]) for row in drawn]

    write(tmp_path / "texts.parquet", batches())  # 205,000 texts, whose ids take 126 MB

    def megabytes(window: int) -> float:
        command = [sys.executable, "-c", _TRAIN, str(tmp_path), str(window)]
        return float(subprocess.run(command, check=True, stdout=subprocess.PIPE, cwd=tmp_path).stdout)

    few, some, whole = megabytes(4096), megabytes(16384), megabytes(1 << 30)
    assert some - few < 60
    assert whole - few > 120  # the measure sees what there is to see
