"""Parts of texts: how the core cuts them, against its twins and Unicode's conformance test."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as parquet
import pytest
import reference as ref
from conftest import make_parts
from hypothesis import given, settings
from hypothesis import strategies as st
from test_predict import read, write

from sparsedistill import Classifier, _core
from sparsedistill.errors import DataError, SettingsError
from sparsedistill.explain import stored
from sparsedistill.parts import pooling_of
from sparsedistill.predict import FILES, predict
from sparsedistill.results import parts_array, parts_table
from sparsedistill.scorer import Spans

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


runs = st.builds(
    lambda some, times: some * times,
    st.sampled_from(("x", "É ", "漢", "a\u0308b", "\u00a0", ". a", "!")),
    st.integers(1, 150),
)


@settings(max_examples=100)
@given(st.lists(st.one_of(runs, frequent, blank), max_size=8).map("".join))
def test_long_texts(text):
    assert cut(text, "sentence") == ref.sentences(text)
    assert cut(text, "paragraph") == ref.paragraphs(text)


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
POOLS = ("mean", "max", "top2", "share:0.4")


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


def pooled_by_hand(classifier: Classifier, text: str, pool: str) -> dict:
    """Probabilities or score of each head of one text that has sentences, from its parts as texts of their own."""
    slices = shown(text, "sentence")
    values = classifier.predict_proba(slices) | {"score": np.array(classifier.predict(slices, head="score"))[:, None]}
    return {name: ref.pool_parts(of_parts, [len(slices)], *pooling_of(pool))[0] for name, of_parts in values.items()}


@pytest.mark.parametrize("pool", POOLS)
def test_pooled_parts(several, pool):
    found = several.predict(DOCUMENTS, parts="sentence", pool=pool)
    assert list(found) == list(HEADS)
    for i, text in enumerate(DOCUMENTS):
        if not text.strip():
            assert {name: values[i] for name, values in found.items()} == several.predict("")
            continue
        values, means = pooled_by_hand(several, text, pool), pooled_by_hand(several, text, "mean")
        best = max(range(3), key=lambda label: (values["topic"][label], means["topic"][label]))
        assert found["topic"][i] == several.heads[0].labels[best]
        flags = several.heads[1]
        assert found["flags"][i] == [
            label for label, p, least in zip(flags.labels, values["flags"], flags.thresholds, strict=True) if p >= least
        ]
        assert found["score"][i] == pytest.approx(values["score"][0], rel=1e-6)


def test_labels_of_equal_shares_are_told_apart_by_their_means(several):
    decisions = several.predict(DOCUMENTS[:1], parts="sentence", pool="share:0.999", head="topic")
    means = pooled_by_hand(several, DOCUMENTS[0], "mean")["topic"]
    assert not pooled_by_hand(several, DOCUMENTS[0], "share:0.999")["topic"].any() and means.argmax() != 0
    assert decisions == [several.heads[0].labels[means.argmax()]]


@settings(max_examples=100)
@given(
    st.lists(st.integers(0, 4), max_size=5), st.integers(0, 2**32 - 1), st.sampled_from((*POOLS, "share:0.5", "top1"))
)
def test_poolings(counts, seed, pool):
    values = np.random.default_rng(seed).integers(0, 9, (sum(counts), 3)) / 8  # some are the share's number
    found = _core.pool_parts(values, np.array(counts, np.int64), *pooling_of(pool))
    assert found.shape == (len(counts), 3)
    assert found == pytest.approx(ref.pool_parts(values, counts, *pooling_of(pool)), rel=1e-12)


def test_a_share_is_of_the_parts_that_have_the_number_or_more():
    values = np.array([[0.5, 0.25], [np.nextafter(0.5, 0), 0.75], [0.625, 0.0]])
    found = _core.pool_parts(values, np.array([3, 0]), *pooling_of("share:0.5"))
    assert found.tolist() == [[2 / 3, 1 / 3], [0, 0]]


def test_poolings_that_cannot_be():
    values, counts = np.zeros((2, 3)), np.array([2])
    for arguments, message in (
        ((values, counts, "median"), "no pooling 'median' of parts: mean, max, top or share"),
        ((values, counts, "top", 0.0), "top is of one part or more"),
        ((values, np.array([1]), "mean"), "the counts are of another number of parts"),
        ((values, np.array([3, -1]), "mean"), "a text has no fewer than no parts"),
    ):
        with pytest.raises(ValueError, match=message):
            _core.pool_parts(*arguments)


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
    with pytest.raises(TypeError, match="pairs of texts, which are read whole"):
        pairs.predict(("a", "b"), max_bytes=99)


# -- some of a text -----------------------------------------------------------------------------------------------

EXCERPTS = ("head", "head+tail", "spread")
some_words = st.lists(st.sampled_from((*KNOWN, "x" * 40, "é" * 30, "漢字" * 9)), max_size=30).map(" ".join)


def slices_of(text: str, of: str, most: int) -> list[str]:
    return [one.decode() for one in _core.excerpts([text], of, most)[0]]


@settings(max_examples=500)
@given(st.one_of(texts, documents, some_words), st.sampled_from(EXCERPTS), st.integers(8, 400))
def test_excerpts(text, of, most):
    found = slices_of(text, of, most)
    assert found == ref.excerpt(text, of, most)
    assert sum(len(one.encode()) for one in found) <= most or found[0] == text


@settings(max_examples=200)
@given(st.binary(max_size=80), st.sampled_from(EXCERPTS), st.integers(8, 40))
def test_excerpts_of_any_bytes(raw, of, most):
    found, at = _core.excerpts([raw], of, most)[0], 0
    assert sum(map(len, found)) <= most
    for one in found:
        at = raw.index(one, at) + len(one)


@pytest.mark.parametrize(
    ("of", "most", "expected"),
    [
        ("head", 19, ["The first words of"]),
        ("head", 23, ["The first words of a"]),
        ("head+tail", 24, ["The first", " the last."]),
        ("head", 60, ["The first words of a text, and the last."]),
    ],
)
def test_excerpts_of_people(of, most, expected):
    assert [one.rstrip() for one in slices_of("The first words of a text, and the last.", of, most) if one] == expected


def test_excerpts_without_a_space():
    assert slices_of("x" * 99, "head+tail", 20) == ["x" * 10] * 2
    assert slices_of("é" * 99, "head", 21) == ["é" * 10]
    assert slices_of("漢字" * 99, "head", 20) == ["漢字" * 3]
    assert slices_of("word " + "x" * 999, "head", 600) == ["word " + "x" * 595]  # a space is too far


@pytest.fixture(scope="module", params=["int8", "float16", "slots", "max"])
def reader(request) -> Classifier:
    """Classifiers whose ways to add up rows differ."""
    kind = "int8" if request.param == "max" else request.param
    config, tensors = make_parts(row_type=kind, depth=0 if kind == "slots" else 1)
    if request.param == "max":
        config["pooling"] = "max"
    return Classifier(config, tensors)


def by_hand(classifier: Classifier, slices: list[str]) -> np.ndarray:
    """Logits of a text of which these slices are read: their n-grams, pooled together."""
    ids = np.array([row for one in slices for _, row in classifier._lookup.ngrams(one)], np.int64)
    rows = stored(classifier, ids) if len(ids) else np.zeros((1, classifier._width))
    pooled = ref.pool(range(len(ids)), rows, classifier._scale, classifier._pooling)
    layers = [(weight.T, bias) for weight, bias in classifier._layers]
    return ref.score(pooled, classifier._bias, layers, classifier._relu_first)


@settings(max_examples=60)
@given(st.lists(st.one_of(documents, some_words), max_size=5), st.sampled_from(EXCERPTS), st.integers(8, 300))
def test_texts_of_which_some_is_read(reader, many, of, most):
    found = reader.decision_function(many, max_bytes=f"{of}:{most}", threads=2)
    for text, logits in zip(many, found, strict=True):
        assert logits == pytest.approx(by_hand(reader, slices_of(text, of, most)), rel=1e-4, abs=1e-5)
        assert reader.decision_function(text, max_bytes=f"{of}:{most}").tobytes() == logits.tobytes()
    if of == "head":
        cut_by_hand = [slices_of(text, of, most)[0] for text in many]
        assert found.tobytes() == reader.decision_function(cut_by_hand).tobytes()
        assert reader.predict(many, max_bytes=most) == reader.predict(cut_by_hand)
        assert reader.predict_proba(many, max_bytes=most).tobytes() == reader.predict_proba(cut_by_hand).tobytes()


@pytest.mark.parametrize("of", EXCERPTS)
def test_long_texts_of_which_much_is_read(reader, of):
    long = ["The film was good. " * 9000, "not bad at all é 映画 " * 5000, "bad"]  # with sums that go on in 64 bits
    found = reader.decision_function(long, max_bytes=f"{of}:100000")
    for text, logits in zip(long, found, strict=True):
        alone = reader.decision_function(text, max_bytes=f"{of}:100000")
        assert alone.tobytes() == logits.tobytes()
        assert logits == pytest.approx(by_hand(reader, slices_of(text, of, 100_000)), rel=1e-3, abs=1e-3)


def test_no_ngram_goes_from_slice_to_slice(reader):
    text = "film was " + "x" * 400 + " not bad"
    halves = ["film was ", " not bad"]
    assert slices_of(text, "head+tail", 18) == halves
    found, joined = reader.decision_function(text, max_bytes="head+tail:18"), reader.decision_function("".join(halves))
    assert found == pytest.approx(by_hand(reader, halves), rel=1e-5)
    assert len(reader._lookup.ngrams("was not")) > 2 and found != pytest.approx(joined, rel=1e-3)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (
            {"max_bytes": 7},
            "max_bytes is 7: give 4096, 'head:4096', .* of 8 bytes or more",
        ),
        ({"max_bytes": "tail:100"}, "max_bytes is 'tail:100': give 4096"),
        ({"max_bytes": "100", "parts": "sentence"}, "max_bytes is of whole texts, and parts are all of a text"),
    ],
)
def test_excerpts_that_cannot_be(several, options, message):
    with pytest.raises(ValueError, match=message):
        several.predict(DOCUMENTS, **options)


def test_excerpts_in_files(several, tmp_path, capsys):
    many = [*DOCUMENTS, "x " * 30 + "The film was good. " * 9]
    source = write(tmp_path / "in.parquet", [{"text": text} for text in many])
    predict(several, [source], str(tmp_path / "out.jsonl"), spans=Spans(max_bytes="head+tail:20"), keep=[])
    expected = several.predict(many, max_bytes="head+tail:20")
    assert expected != several.predict(many)
    for name in HEADS:
        found = [record[f"{name}.predicted"] for record in read(tmp_path / "out.jsonl")]
        assert found == (pytest.approx(expected[name], rel=1e-5) if name == "score" else expected[name])
    assert "2 of 6 texts had no known n-gram" in capsys.readouterr().err
    predict(several, [source], str(tmp_path / "out.jsonl"), spans=Spans(max_bytes="20"), keep=[])
    assert "3 of 6 texts had no known n-gram" in capsys.readouterr().err  # whose start has none
    for spans, message in (
        (Spans(max_bytes="much"), "--max-bytes is 'much': give 4096"),
        (Spans("sentence", max_bytes="20"), "parts are all of a text: leave out --max-bytes or --parts"),
    ):
        with pytest.raises(SettingsError, match=message):
            predict(several, [source], str(tmp_path / "out.jsonl"), spans=spans)


# -- as columns and in files --------------------------------------------------------------------------------------


def test_arrow_arrays_and_flat_tables(several):
    many = several.predict(DOCUMENTS, parts="sentence")
    array, table = parts_array(several, DOCUMENTS, "sentence"), parts_table(several, DOCUMENTS, "sentence")
    fields = {"start": pa.int64(), "end": pa.int64(), "topic.predicted": pa.string(), "topic.probability": pa.float64(),
              "flags.predicted": pa.list_(pa.string()), "score.predicted": pa.float32()}  # fmt: skip
    assert array.type == pa.list_(pa.struct(fields.items()))
    assert table.schema == pa.schema({"document": pa.int64(), **fields}.items())
    flat = [{"document": i, **one} for i, some in enumerate(array.to_pylist()) for one in some]
    assert table.to_pylist() == flat and len(flat) > 5
    for name in ("topic", "flags"):
        key = f"{name}.predicted"
        assert [[(one["start"], one["end"], one[key]) for one in some] for some in array.to_pylist()] == many[name]
    in_bytes = parts_array(several, pa.array([*DOCUMENTS, None]), "sentence", offsets="bytes", nulls="empty")
    assert [[(one["start"], one["end"]) for one in some] for some in in_bytes.to_pylist()] == [
        *(cut(text, "sentence", characters=False) for text in DOCUMENTS), []
    ]  # fmt: skip


TSV = {"quoting": "double"}  # some texts have line ends


def expected_of(classifier: Classifier, text: str, offsets: str = "characters") -> list[dict]:
    """What a file has of the sentences of a text: each predicted as a text of its own."""
    spans = cut(text, "sentence", characters=offsets == "characters")
    slices = shown(text, "sentence")
    if not slices:
        return []
    found, chances = classifier.predict(slices), classifier.predict_proba(slices)["topic"]
    return [
        {"start": start, "end": end, "topic.predicted": found["topic"][i], "topic.probability": chances[i].max(),
         "flags.predicted": found["flags"][i], "score.predicted": found["score"][i]}
        for i, (start, end) in enumerate(spans)
    ]  # fmt: skip


def assert_alike(found: list[dict], expected: list[dict]) -> None:
    """Equal but for digits that are not written; in CSV all are strings, and names have commas between."""
    assert [list(one) for one in found] == [list(one) for one in expected]
    for one, other in zip(found, expected, strict=True):
        for name, value in other.items():
            if isinstance(value, float):
                assert float(one[name]) == pytest.approx(value, rel=1e-5)
            elif isinstance(one[name], str) and not isinstance(value, str):
                assert one[name] == (",".join(value) if isinstance(value, list) else str(value))
            else:
                assert one[name] == value


@pytest.mark.parametrize("suffix", [".parquet", ".jsonl", ".csv"])
@pytest.mark.parametrize("out", [".parquet", ".arrow", ".jsonl"])
@pytest.mark.parametrize("offsets", ["characters", "bytes"])
def test_parts_in_files(several, tmp_path, suffix, out, offsets):
    records = [{"id": f"d{i}", "text": text} for i, text in enumerate(DOCUMENTS)]
    source, path = write(tmp_path / f"in{suffix}", records), tmp_path / f"out{out}"
    predict(several, [source], str(path), spans=Spans("sentence", offsets=offsets))
    found = read(path)
    assert [list(record) for record in found] == [["id", "text", "parts"]] * len(DOCUMENTS)
    assert [record["text"] for record in found] == DOCUMENTS
    for text, record in zip(DOCUMENTS, found, strict=True):
        assert_alike(record["parts"], expected_of(several, text, offsets))


@pytest.mark.parametrize("suffix", [".parquet", ".jsonl", ".csv"])
@pytest.mark.parametrize("out", FILES)
def test_a_row_a_part(several, tmp_path, suffix, out):
    records = [{"id": f"d{i}", "text": text} for i, text in enumerate(DOCUMENTS)]
    sources = [write(tmp_path / f"in{suffix}", records), write(tmp_path / f"more{suffix}", records)]
    spans, path = Spans("sentence", flat=out not in (".csv", ".tsv")), tmp_path / f"out{out}"
    parts = [(i, one) for i, text in enumerate(2 * DOCUMENTS) for one in expected_of(several, text)]
    predict(several, sources, str(path), spans=spans, **TSV)
    assert_alike(read(path, quoted=True), [{"document": i, **one} for i, one in parts])
    predict(several, sources, str(path), spans=spans, keep=["id"], prefix="new ", **TSV)
    assert_alike(
        read(path, quoted=True),
        [{"id": f"d{i % 5}"} | {f"new {name}": v for name, v in {"document": i, **one}.items()} for i, one in parts],
    )


def test_columns_of_parts(several, tmp_path):
    source, topic = write(tmp_path / "in.jsonl", [{"text": text} for text in DOCUMENTS]), several.heads[0]
    predict(several, [source], str(tmp_path / "out.parquet"), spans=Spans("window:3/2"), proba=True, top_k=1, keep=[])
    for text, record in zip(DOCUMENTS, read(tmp_path / "out.parquet"), strict=True):
        slices = shown(text, "window", 3, 2)
        assert len(record["parts"]) == len(slices)
        for one, chances in zip(record["parts"], several.predict_proba(slices)["topic"] if slices else [], strict=True):
            assert [one[f"topic.p({label})"] for label in topic.labels] == chances.tolist()
            assert one["topic.top_labels"] == [one["topic.predicted"]] == [topic.labels[chances.argmax()]]


@pytest.mark.parametrize("out", FILES)
@pytest.mark.parametrize("pool", POOLS)
def test_pooled_parts_in_files(several, tmp_path, out, pool):
    source, path = write(tmp_path / "in.jsonl", [{"text": text} for text in DOCUMENTS]), tmp_path / f"out{out}"
    predict(several, [source], str(path), spans=Spans("sentence", pool), keep=[], proba=True, top_k=2)
    expected, empty = several.predict(DOCUMENTS, parts="sentence", pool=pool), several.predict_proba("")
    for i, (text, record) in enumerate(zip(DOCUMENTS, read(path), strict=True)):
        given = {name: record[f"{name}.predicted"] for name in HEADS}
        if out in (".csv", ".tsv"):
            given["flags"] = given["flags"].split(",") if given["flags"] else []
            record["topic.top_labels"] = record["topic.top_labels"].split(",")
        assert [given["topic"], given["flags"]] == [expected["topic"][i], expected["flags"][i]]
        assert float(given["score"]) == pytest.approx(expected["score"][i], rel=1e-5)
        values = pooled_by_hand(several, text, pool)["topic"] if text.strip() else empty["topic"]
        chances = [float(record[f"topic.p({label})"]) for label in several.heads[0].labels]
        assert chances == pytest.approx(values, rel=1e-5, abs=1e-9)
        assert float(record["topic.probability"]) == pytest.approx(max(values), rel=1e-5)
        assert record["topic.top_labels"][0] == expected["topic"][i]


def test_parts_on_stdout(several, tmp_path, capfdbinary):
    source = write(tmp_path / "in.jsonl", [{"text": text} for text in DOCUMENTS])
    predict(several, [source], spans=Spans("sentence"))
    rows = [line.split("\t") for line in capfdbinary.readouterr().out.decode().splitlines()]
    assert [[int(cell) for cell in row[:3]] for row in rows] == [
        [i, *span] for i, text in enumerate(DOCUMENTS) for span in cut(text, "sentence")
    ]
    labels = several.predict(DOCUMENTS, parts="sentence", head="topic")
    assert [row[3] for row in rows] == [one.prediction for some in labels for one in some]


def test_cuts_of_parts(tmp_path):
    config, tensors = make_parts("regression", labels=1)
    by_part = Classifier(config, tensors).predict(DOCUMENTS, parts="sentence")
    least = float(np.median([one.prediction for some in by_part for one in some]))
    config["cuts"] = [{"name": "good", "threshold": least, "column": "site", "slice": {"b": -9e9}}]
    config["format_version"] = 6
    grader = Classifier(config, tensors)
    records = [{"text": text, "site": "ab"[i % 2]} for i, text in enumerate(2 * DOCUMENTS)]
    source = write(tmp_path / "in.jsonl", records)
    predict(grader, [source], str(tmp_path / "out.jsonl"), spans=Spans("sentence"), cut="good")
    seen = set()
    for record in read(tmp_path / "out.jsonl"):
        scores = [p.prediction for p in grader.predict(record["text"], parts="sentence")]
        keep = ["keep" if record["site"] == "b" or score >= least else "drop" for score in scores]
        assert [one["cut"] for one in record["parts"]] == keep
        seen.update(keep)
    assert seen == {"keep", "drop"}
    predict(grader, [source], str(tmp_path / "out.jsonl"), spans=Spans("sentence", "mean"), cut="good")
    pooled = grader.predict([record["text"] for record in records], parts="sentence", pool="mean")
    for record, score in zip(read(tmp_path / "out.jsonl"), pooled, strict=True):
        assert record["cut"] == ("keep" if record["site"] == "b" or score >= least else "drop")
    with pytest.raises(SettingsError, match=r"--pool share:0\.5 gives shares of parts: pool by mean"):
        predict(grader, [source], str(tmp_path / "out.jsonl"), spans=Spans("sentence", "share:0.5"), cut="good")


def test_nulls_among_documents(several, tmp_path, capsys):
    source = write(tmp_path / "in.parquet", [{"text": text} for text in (*DOCUMENTS, None)])
    with pytest.raises(DataError, match=r"the text \(column 'text'\) at .*in\.parquet row 6 is null; .*--nulls empty"):
        predict(several, [source], str(tmp_path / "out.jsonl"), spans=Spans("sentence"))
    predict(several, [source], str(tmp_path / "out.jsonl"), spans=Spans("sentence"), nulls="empty")
    found = read(tmp_path / "out.jsonl")
    assert len(found) == 6 and found[5]["parts"] == []
    said = capsys.readouterr().err
    assert "3 of 6 texts had no known n-gram" in said and "their parts got the result of an empty text" in said


@pytest.mark.parametrize("format", ["", "dolma"])
def test_offsets_in_what_is_not_utf8(classifier, tmp_path, format):
    raw = [b"\x80\xed\xa0\x80 film. \xe2\x82The good", b"bad"]
    text = pa.Array.from_buffers(pa.string(), 2, pa.array(raw, pa.binary()).buffers())
    parquet.write_table(pa.table({"text": text, "id": ["a", "b"]}), tmp_path / "in.parquet")
    options = {"encoding_errors": "replace", "format": format, "keep": ["id"], "spans": Spans("sentence")}
    predict(classifier, [str(tmp_path / "in.parquet")], str(tmp_path / "out.jsonl"), **options)
    for bytes, record in zip(raw, read(tmp_path / "out.jsonl"), strict=True):
        expected = cut(bytes.decode("utf-8", "replace"), "sentence")
        spans = next(iter(record["attributes"].values())) if format else record["parts"]
        assert [tuple(one if format else one.values())[:2] for one in spans] == expected
    options |= {"format": "", "spans": Spans("sentence", offsets="bytes")}
    predict(classifier, [str(tmp_path / "in.parquet")], str(tmp_path / "out.jsonl"), **options)
    for bytes, record in zip(raw, read(tmp_path / "out.jsonl"), strict=True):
        assert [tuple(one.values())[:2] for one in record["parts"]] == cut(bytes, "sentence", characters=False)


@pytest.mark.parametrize("pool", ["", "max"])
def test_attributes_of_dolma(several, tmp_path, pool):
    several.save(tmp_path / "several")
    named = Classifier.load(tmp_path / "several")
    source = write(tmp_path / "in.parquet", [{"id": f"d{i}", "text": text} for i, text in enumerate(DOCUMENTS)])
    predict(named, [source], str(tmp_path / "out.jsonl"), format="dolma", spans=Spans("sentence", pool))
    names = [f"several__{h.name}__{label}" for h in named.heads for label in h.labels]
    found = read(tmp_path / "out.jsonl")
    assert [list(record) for record in found] == [["id", "attributes"]] * len(DOCUMENTS)
    assert [record["id"] for record in found] == [f"d{i}" for i in range(len(DOCUMENTS))]
    for text, record in zip(DOCUMENTS, found, strict=True):
        assert list(record["attributes"]) == names
        slices, spans = shown(text, "sentence"), cut(text, "sentence")
        if pool:
            values = pooled_by_hand(named, text, pool) if slices else named.predict_proba("")
            values, spans = {name: value[None] for name, value in values.items()}, [(0, len(text))]
        else:
            values = named.predict_proba(slices) if slices else {"topic": np.zeros((0, 3)), "flags": np.zeros((0, 3))}
        for head in named.heads[:2]:
            for i, label in enumerate(head.labels):
                given = record["attributes"][f"several__{head.name}__{label}"]
                assert [tuple(span[:2]) for span in given] == spans
                assert [span[2] for span in given] == pytest.approx(values[head.name][:, i], rel=1e-5)


def test_attributes_of_whole_documents_and_their_ids(classifier, tmp_path, capfdbinary):
    records = [{"url": i, "text": text, "source": "web"} for i, text in enumerate(DOCUMENTS)]
    source = write(tmp_path / "in.jsonl", records)
    options = {"format": "dolma", "top_k": 1, "prefix": "reviews", "keep": ["source"]}
    predict(classifier, [source], spans=Spans(id="url"), **options)
    found = [json.loads(line) for line in capfdbinary.readouterr().out.splitlines()]
    predicted, chances = classifier.predict(DOCUMENTS), classifier.predict_proba(DOCUMENTS)
    for i, record in enumerate(found):
        assert (record["id"], record["source"]) == (i, "web")
        shown = {name: spans for name, spans in record["attributes"].items() if spans}
        score = pytest.approx(chances[i].max(), rel=1e-5)
        assert shown == {f"reviews__predicted__{predicted[i]}": [[0, len(DOCUMENTS[i]), score]]}
    for some, message in (
        ([{"text": "film"}], r"has no column 'id' in its first records: name the right one with --id"),
        ([{"text": "film", "id": "a"}, {"text": "bad", "id": None}], r"the id .*in\.jsonl:2 is null: .*--id"),
        ([{"text": "film", "id": "a", "attributes": 1}], "no error"),
    ):
        source = write(tmp_path / "in.jsonl", some)
        if message == "no error":  # of the input only the id is read
            predict(classifier, [source], str(tmp_path / "out.jsonl"), format="dolma")
            continue
        with pytest.raises(DataError, match=message):
            predict(classifier, [source], str(tmp_path / "new.jsonl"), format="dolma")
    assert not (tmp_path / "new.jsonl").exists()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"spans": Spans(pool="mean")}, "--pool is of parts: add --parts"),
        ({"spans": Spans(flat=True)}, "--flat is of parts: add --parts"),
        ({"spans": Spans(offsets="bytes")}, "--offsets is of parts: add --parts"),
        ({"spans": Spans("sentence", "mean", flat=True)}, "--flat is of the parts themselves"),
        ({"spans": Spans("sentence", "mean", offsets="bytes")}, "--offsets is of the parts themselves"),
        ({"spans": Spans("sentence", offsets="words")}, "--offsets is 'words': give characters or bytes"),
        ({"spans": Spans("line")}, "--parts is 'line': give 'sentence'"),
        ({"spans": Spans("sentence", "median")}, "--pool is 'median': give 'mean'"),
        ({"spans": Spans(id="url")}, "--id is of --format dolma"),
        ({"format": "dolma", "output": "out.csv"}, r"--output out\.csv with --format dolma: .* end in \.jsonl"),
        ({"format": "jsonl"}, "--format is of stdout; that of --output is told by its name"),
        ({"format": "dolma", "proba": True}, "--proba is not of --format dolma"),
        ({"format": "dolma", "spans": Spans("sentence", flat=True)}, "--flat is not of --format dolma"),
        ({"format": "dolma", "spans": Spans("sentence", offsets="bytes")}, "--offsets is not of --format dolma"),
        ({"format": "dolma", "prefix": "a__b"}, "--prefix a__b: .*two underscores"),
    ],
)
def test_options_of_parts_that_cannot_be(classifier, tmp_path, monkeypatch, options, message):
    monkeypatch.chdir(tmp_path)
    write(tmp_path / "in.jsonl", [{"text": None, "id": 1}])  # which would be refused later
    options = {"output": "out.jsonl"} | options
    with pytest.raises(SettingsError, match=message):
        predict(classifier, ["in.jsonl"], options.pop("output"), **options)


def test_pairs_have_no_parts_in_files(tmp_path):
    config, tensors = make_parts(depth=1)
    tensors["bias"], tensors["layers.0.weight"] = np.zeros(32, np.float32), np.ones((32, 3), np.float32)
    pairs = Classifier(config | {"pairs": True, "format_version": 6}, tensors)
    source = write(tmp_path / "in.jsonl", [{"text": None, "b": "film"}])
    for options, message in (
        ({"spans": Spans("sentence")}, "pairs of texts, which have no parts: leave out --parts"),
        ({"format": "dolma"}, "pairs of texts: Dolma's attributes are of one"),
        ({"spans": Spans(max_bytes="99")}, "pairs of texts, which are read whole: leave out --max-bytes"),
    ):
        with pytest.raises(SettingsError, match=message):
            predict(pairs, [source], str(tmp_path / "out.jsonl"), pair="b", **options)
