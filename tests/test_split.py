"""What is held out of labelled texts and of a corpus: groups of equal texts, and nothing that train needs."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sparsedistill import DataError, SettingsError, _core
from sparsedistill.data import split
from sparsedistill.data.prepare import Sources
from sparsedistill.data.texts import Texts
from sparsedistill.settings import build


def prints(names) -> np.ndarray:
    """Fingerprints of texts that numbers or strings stand for."""
    return _core.fingerprints([f"text {name}" for name in names], 1)


def rows_of(*classes: dict[str, int]) -> tuple[list[str], np.ndarray]:
    """Texts and class indices: each class given as {text: how many times}."""
    texts = [text for copies in classes for text, n in copies.items() for _ in range(n)]
    return texts, np.array([i for i, copies in enumerate(classes) for n in copies.values() for _ in range(n)])


def singles(name: str, n: int) -> dict[str, int]:
    return {f"{name} {i}": 1 for i in range(n)}


@given(st.integers(2, 300), st.floats(0.001, 0.999), st.integers(0, 5), st.integers(1, 9))
def test_without_copies_the_share_is_that_of_the_texts(n, fraction, seed, classes):
    targets = np.random.default_rng(n).integers(0, classes, n)
    for theirs in (None, targets, np.eye(classes, dtype=np.float32)[targets], targets.astype(np.float32)):
        held, both = split.hold_out(prints(range(n)), fraction, seed, theirs)
        assert (held | both).any() and not held.all()
        if theirs is None:
            assert held.sum() == min(max(round(n * fraction), 1), n - 1) and not both.any()
        again = split.hold_out(prints(range(n)), fraction, seed, theirs)
        assert (again[0] == held).all() and (again[1] == both).all()
    # Each class has its share, to rounding and to the one text that a small class gets of a large one's.
    held, _ = split.hold_out(prints(range(n)), fraction, seed, targets)
    members, share = Counter(targets.tolist()), Counter(targets[held].tolist())
    assert held.sum() <= max(2, round(n * fraction))
    for name, count in members.items():
        assert share[name] <= max(1, fraction * count + 1)
        assert count - share[name] >= 1


copies = st.dictionaries(st.integers(0, 40), st.integers(1, 60), min_size=1, max_size=12)


@given(st.lists(copies, min_size=2, max_size=5), st.floats(0.02, 0.6), st.integers(0, 3), st.randoms())
def test_groups_of_equal_texts(classes, fraction, seed, random):
    """Some texts are in several classes: they are one group, too."""
    texts, targets = rows_of(*[{str(t): n for t, n in c.items()} for c in classes])
    if len(texts) < 2:
        return
    found = prints(texts)
    held, both = split.hold_out(found, fraction, seed, targets)
    # A text is in train or in dev, but for those that are said to be in both, of which none has left train.
    assert not set(found[held]) & set(found[~held]) and not (held & both).any()
    assert (held | both).any()
    for name in set(targets.tolist()):
        mine = targets == name
        assert (mine & ~held).any(), "a class has left train"
        share = max(1, fraction * mine.sum())
        for text, n in Counter(found[mine].tolist()).items():
            if n >= share + 1 and n > 3:
                assert not held[mine & (found == text)].any(), "a frequent text has left train"
        assert (mine & held).sum() <= share + 3  # of a text that is there three times, at most
    if both.any():  # only where dev would be of one class, or none
        assert len(set(targets[held].tolist())) < 2
        assert len(set(targets[held | both].tolist())) >= 2
    # The order of the file does not matter.
    order = list(range(len(texts)))
    random.shuffle(order)
    moved, moved_both = split.hold_out(found[order], fraction, seed, targets[order])
    assert (moved == held[order]).all()
    assert Counter(found[order][moved_both].tolist()) == Counter(found[both].tolist())


def test_frequent_texts_stay_and_their_class_is_in_dev_by_its_others():
    texts, targets = rows_of(
        {"hi": 120, "hello": 60, **singles("hi friend", 20)}, {"yes": 100, "ok": 70, **singles("yes please", 20)}
    )
    held, both = split.hold_out(prints(texts), 0.1, 0, targets)
    gone = {text for text, out in zip(texts, held, strict=True) if out}
    assert not gone & {"hi", "hello", "yes", "ok"} and not both.any()
    # No more than half of what is not frequent, and of both.
    assert len(gone) == 2 * 11 and Counter(targets[held].tolist()) == {0: 11, 1: 11}


def test_every_class_of_two_texts_is_on_both_sides_while_the_share_allows():
    texts, targets = rows_of(singles("large", 960), *[singles(f"small {i}", 4) for i in range(10)])
    held, _ = split.hold_out(prints(texts), 0.1, 3, targets)
    assert Counter(targets[held].tolist()) == {0: 90, **dict.fromkeys(range(1, 11), 1)}
    # Fifty classes of two texts: a tenth of the texts are ten classes' other text.
    texts, targets = rows_of(*[singles(f"small {i}", 2) for i in range(50)])
    held, both = split.hold_out(prints(texts), 0.1, 3, targets)
    assert held.sum() == 10 == len(set(targets[held])) and not both.any()
    other, _ = split.hold_out(prints(texts), 0.1, 4, targets)
    assert (held != other).any()
    # Of very few texts two leave, so that dev has two classes.
    texts, targets = rows_of(singles("c", 2), singles("cpp", 3), singles("csharp", 2))
    held, both = split.hold_out(prints(texts), 0.1, 0, targets)
    assert held.sum() == 2 == len(set(targets[held])) and not both.any()


def test_a_file_that_was_written_twice_is_split_as_it_was_written_once():
    texts, targets = rows_of(*[singles(f"class {i}", 3) for i in range(8)])
    once, _ = split.hold_out(prints(texts), 0.2, 0, targets)
    twice, both = split.hold_out(prints(texts * 2), 0.2, 0, np.concatenate([targets] * 2))
    assert once.any() and twice[: len(texts)].any() and not both.any()
    assert len(set(targets[twice[: len(texts)]])) >= 2


def test_copies_stand_in_where_nothing_else_is_there():
    texts, targets = rows_of({"good": 50}, {"bad": 50})
    held, both = split.hold_out(prints(texts), 0.1, 0, targets)
    assert not held.any() and Counter(targets[both].tolist()) == {0: 5, 1: 5}
    # Only the class that dev has nothing of needs copies, and it has them by their frequency.
    texts, targets = rows_of(singles("fine", 100), {"bad": 60, "awful": 40})
    held, both = split.hold_out(prints(texts), 0.1, 0, targets)
    assert held.sum() == 10 and not targets[held].any()
    assert Counter(text for text, is_copy in zip(texts, both, strict=True) if is_copy) == {"bad": 6, "awful": 4}
    # With two classes in dev a third may be missing: nothing of it is learnt and measured.
    texts, targets = rows_of(singles("a", 100), singles("b", 100), {"out of office": 100})
    held, both = split.hold_out(prints(texts), 0.1, 0, targets)
    assert Counter(targets[held].tolist()) == {0: 10, 1: 10} and not both.any()


def test_one_text_with_several_labels_goes_to_one_side():
    texts, targets = rows_of({**singles("a", 30), "odd": 1}, {**singles("b", 30), "odd": 2}, {"odd": 1})
    sides = set()
    for seed in range(40):
        held, _ = split.hold_out(prints(texts), 0.2, seed, targets)
        side = {bool(out) for text, out in zip(texts, held, strict=True) if text == "odd"}
        assert len(side) == 1
        sides |= side
        assert set(targets[~held]) == {0, 1, 2}  # the third class has no other text: it stays
    assert sides == {False}


def test_labels_of_a_multi_label_task_are_on_both_sides():
    random = np.random.default_rng(0)
    targets = (random.random((1000, 12)) < np.geomspace(0.4, 0.005, 12)).astype(np.float32)
    targets[:, -1] = 0
    targets[[3, 400], -1] = 1  # two texts
    held, both = split.hold_out(prints(range(1000)), 0.1, 0, targets)
    assert 70 <= held.sum() <= 130 and not both.any()
    counts, there = targets.sum(axis=0), targets[held].sum(axis=0)
    assert (there >= 1).all() and (there < counts).all()
    large = counts > 100
    assert (abs(there / counts - 0.1) < 0.05)[large].all()
    none = ~targets.any(axis=1)
    assert 0.03 < held[none].mean() < 0.2


def test_scores_of_a_regression_are_held_out_along_their_range():
    scores = np.float32(np.random.default_rng(0).exponential(size=500))
    held, both = split.hold_out(prints(range(500)), 0.1, 0, scores)
    assert held.sum() == 50 and not both.any()
    edges = np.quantile(scores, np.linspace(0, 1, 11))
    assert np.histogram(scores[held], edges)[0].tolist() == [5] * 10
    # One text alone: it stays.
    held, both = split.hold_out(prints([1] * 20), 0.1, 0, scores[:20])
    assert not held.any() and both.sum() == 2


def test_refusals():
    for fraction in (0, 1, -0.5, float("nan")):
        with pytest.raises(SettingsError, match="between 0 and 1"):
            split.hold_out(prints(range(10)), fraction, 0)
    with pytest.raises(DataError, match="1 labelled text cannot be split"):
        split.hold_out(prints([1]), 0.1, 0)


# -- of a corpus ---------------------------------------------------------------------------------------------------


def sampled(texts: list[str], seed: int = 0, batch: int = 700) -> split.HeldOut:
    sample = split.CorpusSample(seed)
    for i in range(0, len(texts), batch):
        part = texts[i : i + batch]
        sample.add(part, _core.fingerprints(part, 1), None, lambda i: ("a", i))
    assert sample.lines == len(texts)
    return sample.choose()


def corpus_without(held: split.HeldOut, texts: list[str], seed: int = 0) -> list[str]:
    out = np.isin(split.mixed(_core.fingerprints(texts, 1), seed), held.keys)
    return [text for text, gone in zip(texts, out, strict=True) if not gone]


@given(st.dictionaries(st.integers(0, 500), st.integers(1, 30), min_size=2, max_size=80), st.randoms())
def test_a_twentieth_of_a_corpus_at_most(groups, random):
    texts = [f"line {t}" for t, n in groups.items() for _ in range(n)]
    random.shuffle(texts)
    held = sampled(texts, batch=97)
    left = corpus_without(held, texts)
    unit = min(*groups.values(), 3)
    assert held.texts
    if held.shared:
        assert len(left) == len(texts) and set(held.texts) <= set(texts)
    else:
        assert set(left) | set(held.texts) == set(texts) and not set(left) & set(held.texts)
        assert len(texts) - len(left) <= max(unit, len(texts) / 20)
    random.shuffle(texts)
    assert sorted(sampled(texts).texts) == sorted(held.texts)


def test_a_corpus_of_different_texts_loses_a_twentieth():
    texts = [f"line {i}" for i in range(6000)]
    held = sampled(texts)
    assert len(held.texts) == 300 == 6000 - len(corpus_without(held, texts)) and not held.shared
    assert held.texts == [text for text in texts if text in set(held.texts)]  # in the corpus's order
    assert set(sampled(texts, seed=1).texts) != set(held.texts)


def test_a_large_corpus_loses_what_dev_needs_and_memory_is_bounded():
    sample, texts = split.CorpusSample(0), [f"line {i}" for i in range(100_000)]
    for i in range(0, len(texts), 5000):
        part = texts[i : i + 5000]
        sample.add(part, _core.fingerprints(part, 1), None, lambda i: ("a", i))
        assert len(sample.keys) <= 4096 and len(sample.copies) <= 3 * 4096
    held = sample.choose()
    assert len(held.texts) == 2000 == len(texts) - len(corpus_without(held, texts))


def test_frequent_lines_stay_in_the_corpus():
    texts = ["hi"] * 490 + ["thanks"] * 446 + ["yes"] * 376 + ["no"] * 298 + [f"where is {i}" for i in range(500)]
    held = sampled(texts)
    assert len(held.texts) in (len(texts) // 20, len(texts) // 20 + 1) and not held.shared
    assert not {"hi", "thanks", "yes", "no"} & set(held.texts)
    # Of lines that all come often, a few leave with all their copies, of which dev has some.
    texts = [f"line {i}" for i in range(1000)] * 40
    held = sampled(texts)
    assert not held.shared and 30_000 < len(corpus_without(held, texts)) < 40_000
    assert max(Counter(held.texts).values()) <= 20 and len(set(held.texts)) >= 40
    # And where there are but few lines, they are on both sides.
    held = sampled(["good"] * 500 + ["bad"] * 300)
    assert held.shared and not len(held.keys) and set(held.texts) == {"good", "bad"}


def test_held_out_lines_keep_their_scores(tmp_path):
    texts = [f"line {i % 600}" for i in range(900)]
    sample = split.CorpusSample(0)
    for i in range(0, 900, 100):
        numbers = np.arange(i, i + 100, dtype=np.float64)[:, None] * [1, 2]
        part = texts[i : i + 100]
        sample.add(part, _core.fingerprints(part, 1), numbers, lambda j, i=i: ("file", i + int(j)))
    held = sample.choose()
    assert len(held.texts) == len(held.scores) > 0
    for text, (one, two) in zip(held.texts, held.scores, strict=True):
        assert texts[int(one)] == text and two == 2 * one
    assert held.places == [("file", int(one)) for one, _ in held.scores]


# -- what is said and refused ---------------------------------------------------------------------------------------


def sources(tmp_path, **files) -> Sources:
    """Sources of files that hold the given (text, label) rows, or texts."""
    data: dict = {"labels": files.pop("labels", [])}
    for key in ("task", "dev_fraction"):
        if key in files:
            data[key] = files.pop(key)
    for name, rows in files.items():
        path = tmp_path / f"{name}.{'txt' if name == 'corpus' else 'csv'}"
        lines = rows if name == "corpus" else ["text,label", *(f"{text},{label}" for text, label in rows)]
        path.write_text("\n".join(lines) + "\n", encoding="utf-8")
        data[name] = [str(path)]
    return Sources(build({"data": data}, "test"))


def prepared(tmp_path, **files) -> dict:
    """Facts of the texts of such files, once they are prepared."""
    return sources(tmp_path, **files).prepare(tmp_path / "texts")


def labelled(texts: dict[str, int], label: str) -> list[tuple[str, str]]:
    return [(text, label) for text, n in texts.items() for _ in range(n)]


POLITE = labelled({"hi": 30, **singles("hello", 20)}, "greet") + labelled({"no": 30, **singles("never", 20)}, "no")


def test_texts_on_both_sides_stay_in_train_and_corpus_and_are_said(tmp_path, capsys):
    rows = labelled({"good": 50}, "pos") + labelled({"bad": 50}, "neg")
    found = sources(tmp_path, train=rows, corpus=["good", "bad", "Bad!", "so so"] * 5)
    facts = found.prepare(tmp_path / "texts")
    assert facts["train"]["texts"] == 100 and facts["dev"]["texts"] == 10
    assert facts["corpus"] == {**facts["corpus"], "texts": 20, "dropped": 0}
    said = capsys.readouterr().err
    assert "warning: dev: 10 of the 10 texts held out stay in train, too" in said and "'good' (5 times)" in said


def test_held_out_texts_are_in_neither_train_nor_corpus(tmp_path, capsys):
    found = sources(tmp_path, train=POLITE, corpus=[text.upper() + "!" for text, _ in POLITE])
    facts = found.prepare(tmp_path / "texts")
    assert facts["train"]["texts"] + facts["dev"]["texts"] == 100 == facts["corpus"]["texts"] + facts["dev"]["texts"]
    dev, texts = set(found.dev.texts), Texts(tmp_path / "texts", found.settings)
    assert dev and not dev & set(found.train.texts) and not dev & {"hi", "no"}
    assert not dev & {text.lower().rstrip("!") for some in texts.texts("corpus") for text in some}
    assert "warning" not in capsys.readouterr().err


def test_a_class_that_dev_lacks_is_named(tmp_path, capsys):
    prepared(tmp_path, train=[*POLITE, *labelled({"out of office": 40}, "auto")])
    assert "no text could be held out of 'auto' (40), which has too few different texts" in capsys.readouterr().err


def test_much_that_is_left_out_is_a_warning_with_figures_and_examples(tmp_path, capsys):
    dev = [("hi", "greet"), ("No.", "no"), ("never 3", "no")]
    facts = sources(tmp_path, train=POLITE, dev=dev, corpus=["hi"] * 500 + ["no"] * 100 + ["other"] * 400).prepare(
        tmp_path / "texts"
    )
    said = capsys.readouterr().err
    assert facts["train"]["texts"] == 39 and facts["corpus"]["dropped"] == 600
    assert "warning: train: 61 of 100 texts (61.0%) are in dev" in said
    assert "(30 times), 'never 3': nothing is learnt from them" in said
    assert "warning: corpus: 600 of 1,000 texts (60.0%) are in dev or test" in said
    assert "such as 'hi' (500 times), 'No.' (100 times): nothing is learnt" in said
    # Little is no warning, but said.
    sources(tmp_path, train=POLITE, dev=[("hello 3", "greet"), ("never 3", "no")], corpus=["a", "b"]).prepare(
        tmp_path / "texts"
    )
    said = capsys.readouterr().err
    assert "train: 2 texts are in dev" in said and "warning" not in said


def test_long_examples_are_cut(tmp_path, capsys):
    long = "so very " * 30 + "long"
    sources(tmp_path, train=[*POLITE, *[(long, "no")] * 30], dev=[(long, "no"), ("ah", "greet")]).prepare(
        tmp_path / "texts"
    )
    assert "'" + long[:39] + "\u2026' (30 times)" in capsys.readouterr().err


def test_a_class_that_would_be_gone_is_refused(tmp_path):
    rows = [*POLITE, *labelled(singles("bye", 3), "part")]
    with pytest.raises(
        DataError, match=r"no text of 'part' \(3\) is left in train: .* texts of dev .*'bye .*take them"
    ):
        sources(tmp_path, train=rows, dev=[("Bye 0", "part"), ("bye 1!", "part"), ("bye 2", "part")]).prepare(
            tmp_path / "texts"
        )
    with pytest.raises(DataError, match=r"no text of 'part' \(3\) is left in train: .* texts of test"):
        prepared(tmp_path, train=rows, test=labelled(singles("bye", 3), "part"))
    with pytest.raises(DataError, match=r"no text of train is left: all of them \(100\) are texts of test"):
        prepared(tmp_path, train=POLITE, test=POLITE)
    with pytest.raises(DataError, match=r"no text of corpus is left: all of them \(2\) .*'hi'.*take these out"):
        sources(tmp_path, train=POLITE, test=[("hi", "greet"), ("no", "no")], corpus=["Hi", "NO!"]).prepare(
            tmp_path / "texts"
        )


def test_a_label_that_would_be_gone_is_refused(tmp_path):
    rows = [(f"text {i}", '"a,b"' if i < 3 else "a") for i in range(30)]
    with pytest.raises(DataError, match=r"no text of 'b' \(3\) is left in train"):
        prepared(tmp_path, task="multi", train=rows, dev=rows[:4])


def test_fewer_than_two_classes_are_refused_and_in_dev_said(tmp_path, capsys):
    rows = labelled(singles("hello", 20), "greet")
    with pytest.raises(DataError, match=r"train has texts of one class only, 'greet' \(20\).*'greet' 20, 'no' 0"):
        prepared(tmp_path, train=rows, labels=["greet", "no"])
    prepared(tmp_path, train=POLITE, dev=[("new", "greet"), ("newer", "greet")])
    assert "warning: dev has texts of one class only, 'greet' (2)" in capsys.readouterr().err


def test_a_corpus_alone(tmp_path, capsys):
    lines = ["hi"] * 300 + [f"where is {i}" for i in range(300)]
    found = sources(tmp_path, corpus=lines, labels=["a", "b"])
    facts = found.prepare(tmp_path / "texts")
    assert (facts["dev"]["texts"], facts["corpus"]["texts"]) == (30, 570)
    (tmp_path / "corpus.txt").rename(tmp_path / "elsewhere.txt")  # which nobody reads again
    texts = Texts(tmp_path / "texts", found.settings)
    dev, rest = ([text for some in texts.texts(part) for text in some] for part in ("dev", "corpus"))
    assert "hi" not in dev and not set(dev) & set(rest) and sorted(dev + rest) == sorted(lines)
    assert rest == [line for line in lines if line not in dev]
    for part, names in (("dev", dev), ("corpus", rest)):
        places = [place for _, _, some in texts.placed(part) for place in some]
        assert names == [lines[int(place.rpartition(":")[2]) - 1] for place in places]
    assert "warning" not in capsys.readouterr().err
    prepared(tmp_path, corpus=["good"] * 40 + ["bad"] * 20, labels=["a", "b"])
    assert "stay in the corpus, too, which has hardly any other ('good'" in capsys.readouterr().err
    with pytest.raises(DataError, match="the corpus has 1 text, too few"):
        prepared(tmp_path, corpus=["good"], labels=["a", "b"])
