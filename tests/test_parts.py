"""Parts of texts: how the core cuts them, against its twins and Unicode's conformance test."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
import reference as ref
from conftest import make_parts
from hypothesis import given, settings
from hypothesis import strategies as st

from sparsedistill import Classifier, _core
from sparsedistill.parts import pooling_of

CONFORMANCE = Path(__file__).with_name("SentenceBreakTest.txt")

characters = st.sampled_from(sorted(ref.BREAK_OF))
frequent = st.sampled_from(("a", "B", "I", ".", "!", " ", "\n", "\r", "1", ")", ",", "。", "\u0308", "漢"))
abbreviations = st.sampled_from(
    (*ref.TITLES, *ref.INNER, *ref.BEFORE_NUMBERS, "the", "U.S", "I", "x.I", "Mr", "E.g", "approxi")
)
written = st.builds(
    lambda word, change, behind: change(word) + behind,
    abbreviations,
    st.sampled_from((str, str.upper, str.title)),
    st.sampled_from((". A", ". 1", ". a", ".) A", ".\u0308 A", ".\nA", ". \u0308A", ".\u00a0É", ". ", "!", ".")),
)
blank = st.sampled_from(("\n\n", " \n \n", "\r\n\r\n"))
texts = st.lists(st.one_of(characters, frequent, written, blank), max_size=14).map("".join)


def cut(text: str | bytes, kind: str, size: int = 0, step: int = 0, characters: bool = True) -> list[tuple[int, int]]:
    offsets, counts = _core.segment([text], kind, size, step, characters)
    assert counts.tolist() == [len(offsets)]
    return [tuple(pair) for pair in offsets.tolist()]


def shown(text: str, kind: str, size: int = 0, step: int = 0) -> list[str]:
    return [text[begin:end] for begin, end in cut(text, kind, size, step)]


def conformance() -> list[tuple[str, list[int]]]:
    cases = []
    for line in CONFORMANCE.read_text(encoding="utf-8").splitlines():
        if line.startswith("#"):
            continue
        text, ends = "", []
        for sign in line.split()[1:]:
            if sign == "÷":
                ends.append(len(text.encode()))
            elif sign != "×":
                text += chr(int(sign, 16))
        cases.append((text, ends))
    return cases


def test_the_conformance_test_of_unicode():
    cases = conformance()
    assert len(cases) == 502
    assert _core.sentence_ends([text for text, _ in cases]) == [ends for _, ends in cases]


@settings(max_examples=600)
@given(texts)
def test_ends_of_sentences(text):
    expected = [len(text[:end].encode()) for end in ref.sentence_ends(text)]
    assert _core.sentence_ends([text]) == [expected]


@settings(max_examples=600)
@given(texts)
def test_sentences(text):
    assert cut(text, "sentence") == ref.sentences(text)


@settings(max_examples=400)
@given(st.one_of(texts, ref.texts().filter(lambda t: isinstance(t, str))))
def test_paragraphs(text):
    assert cut(text, "paragraph") == ref.paragraphs(text)


@settings(max_examples=400)
@given(
    st.one_of(texts, ref.texts().filter(lambda t: isinstance(t, str))),
    st.integers(1, 5).flatmap(lambda size: st.tuples(st.just(size), st.integers(1, size))),
)
def test_windows(text, window):
    text = ref.decode(text)
    assert cut(text, "window", *window) == ref.windows(text, *window)


@settings(max_examples=300)
@given(st.one_of(ref.texts(), st.binary(max_size=40)), st.sampled_from(("sentence", "paragraph", "window")))
def test_between_parts_is_nothing_but_white_space(text, kind):
    raw = ref.raw(text)
    at = 0
    for begin, end in [*cut(text, kind, 2, 2, characters=False), (len(raw), len(raw))]:
        assert at <= begin <= end
        assert not raw[at:begin].decode("utf-8", "replace").strip()
        part = raw[begin:end].decode("utf-8", "replace")
        assert part == part.strip()
        assert part or begin == len(raw)
        at = end


@settings(max_examples=200)
@given(st.lists(st.one_of(texts, ref.texts().filter(lambda t: isinstance(t, str))), max_size=5), st.integers(1, 3))
def test_many_texts_and_offsets(many, threads):
    for kind in ("sentence", "paragraph", "window"):
        offsets, counts = _core.segment(many, kind, 3, 2, True, threads)
        assert [list(map(tuple, part)) for part in _split(offsets, counts)] == [cut(text, kind, 3, 2) for text in many]
        in_bytes, _ = _core.segment(many, kind, 3, 2, False, threads)
        for text, some, other in zip(many, _split(offsets, counts), _split(in_bytes, counts), strict=True):
            assert [[len(ref.raw(text[:at])) for at in pair] for pair in some] == other


def _split(offsets, counts):
    begin, result = 0, []
    for count in counts.tolist():
        result.append(offsets[begin : begin + count].tolist())
        begin += count
    return result


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Dr. No met Mr. J. Smith. He left.", ["Dr. No met Mr. J. Smith.", "He left."]),
        ("The U.S. Army came (e.g. Tom). Why? No. 5 ran!", ["The U.S. Army came (e.g. Tom).", "Why?", "No. 5 ran!"]),
        ("So do I. Then go.", ["So do I.", "Then go."]),
        ("He said no. Then we met in Jan. 2020. No. We did not.",
         ["He said no.", "Then we met in Jan. 2020.", "No.", "We did not."]),
        ("Costs 3.14 at an.org... and more. “Yes.” He ran", ["Costs 3.14 at an.org... and more.", "“Yes.”", "He ran"]),
        ("This is the gen. But the st. Louis", ["This is the gen.", "But the st.", "Louis"]),
        ("你好。今天天气很好！走吧", ["你好。", "今天天气很好！", "走吧"]),
        ("यह एक वाक्य है। यह दूसरा है।", ["यह एक वाक्य है।", "यह दूसरा है।"]),
        ("Mr.\nSmith\fthe end", ["Mr.", "Smith", "the end"]),
    ],
)  # fmt: skip
def test_sentences_of_people(text, expected):
    assert shown(text, "sentence") == expected


def test_paragraphs_and_windows_of_people():
    assert shown(" one\r\ntwo\r\n \r\nthree\n\f\nfour\u2029\u2029five ", "paragraph") == [
        "one\r\ntwo",
        "three",
        "four",
        "five",
    ]
    assert shown("a b  c d\ne", "window", 3, 2) == ["a b  c", "c d\ne"]
    assert shown("a b c", "window", 3, 1) == ["a b c"]
    assert shown("漢字が two", "window", 2, 2) == ["漢字", "が two"]


@pytest.mark.parametrize("kind", ["sentence", "paragraph", "window"])
def test_a_text_without_a_part(kind):
    for text in ("", " \n\n\u3000 ", "\r\n"):
        assert cut(text, kind, 2, 1) == []


@pytest.mark.parametrize("window", [(0, 0), (2, 0), (2, 3)])
def test_windows_that_cannot_be(window):
    with pytest.raises(ValueError, match="a window has a word or more"):
        cut("a", "window", *window)
    with pytest.raises(ValueError, match="no parts 'line': sentence, paragraph or window"):
        cut("a", "line")


HEADS = {"topic": ("single", 3), "flags": ("multi", 3), "score": ("regression", 1)}
CUTS = {"sentence": ("sentence",), "paragraph": ("paragraph",), "window:3/2": ("window", 3, 2)}
KNOWN = ("not bad at all", "The film was good.", "映画 film 😀", "bad", "\u0308é", "да.", "漢字。", " ", "\n\n", ". ")
documents = st.lists(st.one_of(st.sampled_from(KNOWN), characters), max_size=12).map("".join)
DOCUMENTS = ["The film was good. not bad at all! 映画 film 😀。bad.", "", " \n\n ", "é schlecht!\n\nThe film", "bad"]
POOLS = {
    "mean": lambda p: p.sum(axis=0) / len(p),
    "max": lambda p: np.array([max(column) for column in p.T]),
    "top2": lambda p: np.array([sum(sorted(column)[-2:]) / min(2, len(column)) for column in p.T]),
    "share:0.4": lambda p: np.array([sum(x >= 0.4 for x in column) / len(column) for column in p.T]),
}


@pytest.fixture(scope="module", params=[("int8", 1), ("float16", 0)], ids=["int8", "float16"])
def several(request) -> Classifier:
    row_type, depth = request.param
    return Classifier(*make_parts(heads=HEADS, row_type=row_type, depth=depth, calibrated=True))


@settings(max_examples=60)
@given(many=st.lists(documents, max_size=5), threads=st.integers(1, 3), parts=st.sampled_from(sorted(CUTS)))
def test_a_part_gets_what_its_slice_gets(several, many, threads, parts):
    logits, _, counts = several._model.score_parts(many, *CUTS[parts], characters=True, threads=threads)
    slices = [[text[a:b] for a, b in cut(text, *CUTS[parts])] for text in many]
    flat = [one for some in slices for one in some]
    assert counts.tolist() == [len(some) for some in slices]
    assert logits.tobytes() == several._model.score(flat, 1).tobytes()
    found = several.predict(many, parts=parts, threads=threads)
    in_bytes = several.predict(many, parts=parts, threads=threads, offsets="bytes")
    for name, alone in several.predict(flat).items():
        assert [[text[p.start : p.end] for p in some] for text, some in zip(many, found[name], strict=True)] == slices
        assert [p.prediction for some in found[name] for p in some] == alone
        read = [[ref.raw(text)[p.start : p.end] for p in some] for text, some in zip(many, in_bytes[name], strict=True)]
        assert read == [[ref.raw(one) for one in some] for some in slices]
        assert several.predict(many, parts=parts, head=name) == found[name]


@pytest.mark.parametrize("pool", POOLS)
def test_pooled_parts(several, pool):
    found = several.predict(DOCUMENTS, parts="sentence", pool=pool)
    assert list(found) == list(HEADS)
    for i, text in enumerate(DOCUMENTS):
        slices = shown(text, "sentence")
        if not slices:
            assert {name: values[i] for name, values in found.items()} == several.predict("")
            continue
        shares = {name: POOLS[pool](values) for name, values in several.predict_proba(slices).items()}
        assert found["topic"][i] == several.heads[0].labels[int(np.argmax(shares["topic"]))]
        flags = several.heads[1]
        assert found["flags"][i] == [
            label for label, p, least in zip(flags.labels, shares["flags"], flags.thresholds, strict=True) if p >= least
        ]
        scores = np.array(several.predict(slices, head="score"))[:, None]
        assert found["score"][i] == pytest.approx(float(POOLS[pool](scores)[0]), rel=1e-6)


@settings(max_examples=60)
@given(st.integers(1, 6), st.integers(0, 2**32 - 1), st.sampled_from(sorted(POOLS)))
def test_poolings(count, seed, pool):
    values = np.random.default_rng(seed).random((count, 3))
    assert pooling_of(pool)(values) == pytest.approx(POOLS[pool](values), rel=1e-12)


def test_one_text_arrow_and_nulls(several):
    text = DOCUMENTS[0]
    many = several.predict(DOCUMENTS, parts="sentence")
    assert len(many["topic"][0]) > 2 and many["topic"][1] == many["topic"][2] == []
    assert several.predict(text, parts="sentence") == {name: of[0] for name, of in many.items()}
    assert several.predict(text, parts="sentence", head="topic", pool="max") in several.heads[0].labels
    assert several.predict(pa.array(DOCUMENTS), parts="sentence", threads=2) == many
    assert several.predict([None], parts="sentence", nulls="empty") == {name: [[]] for name in HEADS}
    assert several.predict([], parts="sentence", pool="mean") == {name: [] for name in HEADS}
    with pytest.raises((TypeError, ValueError), match="text 0 is NoneType"):
        several.predict([None], parts="sentence")


def test_a_classifier_of_one_head_gives_lists(classifier):
    [parts] = classifier.predict(["The film. é bad"], parts="window:1/1")
    assert [(p.start, p.end) for p in parts] == [(0, 3), (4, 9), (10, 11), (12, 15)]
    assert [p.prediction for p in parts] == classifier.predict(["The", "film.", "é", "bad"])


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"pool": "mean"}, "give parts too"),
        ({"parts": "line"}, "parts is 'line': give 'sentence'"),
        ({"parts": "window:2"}, "give 'sentence', 'paragraph' or 'window:200/100'"),
        ({"parts": "window:2/3"}, "a step is of 1 word"),
        ({"parts": "window:2/0"}, "a step is of 1 word"),
        ({"parts": "sentence", "pool": "top0"}, "pool is 'top0': give 'mean'"),
        ({"parts": "sentence", "pool": "median"}, "pool is 'median': give 'mean'"),
        ({"parts": "sentence", "offsets": "words"}, "offsets is 'words': give 'characters'"),
        ({"parts": "sentence", "head": "none"}, "no head 'none'"),
    ],
)
def test_parts_that_cannot_be(several, options, message):
    with pytest.raises(ValueError, match=message):
        several.predict(DOCUMENTS, **options)


def test_pairs_have_no_parts():
    config, tensors = make_parts(depth=1)
    tensors["bias"], tensors["layers.0.weight"] = np.zeros(32, np.float32), np.ones((32, 3), np.float32)
    pairs = Classifier(config | {"pairs": True, "format_version": 6}, tensors)
    with pytest.raises(TypeError, match="pairs of texts, which have no parts"):
        pairs.predict(("a", "b"), parts="sentence")
