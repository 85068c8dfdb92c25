"""What texts may be: every container gives the logits of the list; what is no text is refused by its position."""

from __future__ import annotations

import ctypes
import subprocess
import sys

import numpy as np
import pytest
import reference as ref
from hypothesis import given, settings
from hypothesis import strategies as st

pa = pytest.importorskip("pyarrow")
pd = pytest.importorskip("pandas")
pl = pytest.importorskip("polars")

TEXTS = [
    "not bad at all", "", "the film", "x" * 11, "good " * 3, "y" * 13, "Das war nicht schlecht 😀 映画", "bad " * 30,
    "a\x00b film\x00", "  ", "schlecht", "was good good",
]  # fmt: skip


def misaligned(array: pa.Array) -> pa.Array:
    """The same array with buffers that begin at odd addresses, as in the middle of a file."""
    moved = [buffer and pa.py_buffer(b"\0" + buffer.to_pybytes()).slice(1) for buffer in array.buffers()]
    return pa.Array.from_buffers(array.type, len(array), moved)


# Each makes a container of str, as its users have it.
CONTAINERS = {
    "list": list,
    "tuple": tuple,
    "generator": lambda texts: (text for text in texts),
    "iterator": iter,
    "dict keys": lambda texts: dict.fromkeys(texts).keys(),
    "bytes": lambda texts: [text.encode() for text in texts],
    "str and bytes": lambda texts: [text.encode() if i % 2 else text for i, text in enumerate(texts)],
    "subclass of str": lambda texts: [type("Text", (str,), {})(text) for text in texts],
    "numpy str": lambda texts: [np.str_(text) for text in texts],
    "object array": lambda texts: np.array(texts, object),
    "reversed view": lambda texts: np.array(texts[::-1], object)[::-1],
    "pandas": lambda texts: pd.Series(texts, dtype="str"),
    "pandas object": lambda texts: pd.Series(texts, dtype=object),
    "pandas string": lambda texts: pd.Series(texts, dtype="string"),
    "pandas arrow": lambda texts: pd.Series(texts, dtype=pd.ArrowDtype(pa.string())),
    "pandas odd index": lambda texts: pd.Series(texts, index=range(len(texts), 0, -1), dtype="str"),
    "pandas column": lambda texts: pd.DataFrame({"text": pd.Series(texts, dtype="str"), "n": range(len(texts))})[
        "text"
    ],
    "pandas index": lambda texts: pd.Index(texts, dtype="str"),
    "arrow string": lambda texts: pa.array(texts, pa.string()),
    "arrow large_string": lambda texts: pa.array(texts, pa.large_string()),
    "arrow string_view": lambda texts: pa.array(texts, pa.string_view()),
    "arrow binary": lambda texts: pa.array([text.encode() for text in texts], pa.binary()),
    "arrow large_binary": lambda texts: pa.array([text.encode() for text in texts], pa.large_binary()),
    "arrow binary_view": lambda texts: pa.array([text.encode() for text in texts], pa.binary_view()),
    "arrow misaligned string": lambda texts: misaligned(pa.array(texts, pa.string())),
    "arrow misaligned large_string": lambda texts: misaligned(pa.array(texts, pa.large_string())),
    "arrow misaligned string_view": lambda texts: misaligned(pa.array(texts, pa.string_view())),
    "arrow table column": lambda texts: pa.table({"text": pa.array(texts, pa.string())})["text"],
    "polars": lambda texts: pl.Series(texts, dtype=pl.String),
    "polars column": lambda texts: pl.DataFrame({"text": pl.Series(texts, dtype=pl.String)})["text"],
}
ARROW_TYPES = (pa.string(), pa.large_string(), pa.string_view())


def same(classifier, texts, expected: list[str]) -> None:
    got = classifier.decision_function(texts, threads=2)
    assert got.dtype == np.float32
    assert got.shape == (len(expected), len(classifier.labels))
    assert np.array_equal(got, classifier.decision_function(expected))


def test_the_texts_differ(classifier):
    # Otherwise nothing below could fail.
    assert len({tuple(logits) for logits in classifier.decision_function(TEXTS).tolist()}) >= 6


@pytest.mark.parametrize("kind", CONTAINERS)
def test_containers(kind, classifier):
    same(classifier, CONTAINERS[kind](TEXTS), TEXTS)
    same(classifier, CONTAINERS[kind](TEXTS[:1]), TEXTS[:1])


@pytest.mark.parametrize("kind", CONTAINERS)
def test_empty_containers(kind, classifier):
    same(classifier, CONTAINERS[kind]([]), [])


def test_numpy_str_arrays(classifier):
    # numpy itself drops trailing NULs from fixed-width text.
    expected = [text.rstrip("\0") for text in TEXTS]
    same(classifier, np.array(TEXTS), expected)
    same(classifier, np.array(TEXTS)[::2], expected[::2])
    same(classifier, np.array([text.encode() for text in TEXTS]), expected)
    same(classifier, np.array([], dtype="U5"), [])
    if hasattr(np.dtypes, "StringDType"):
        same(classifier, np.array(TEXTS, np.dtypes.StringDType()), TEXTS)


@settings(max_examples=60)
@given(st.lists(ref.texts(), max_size=8))
def test_any_bytes_in_any_layout(batch):
    from conftest import make_parts

    from sparsedistill import Classifier

    classifier = Classifier(*make_parts())
    raw = [ref.raw(text) for text in batch]
    expected = classifier.decision_function(batch)
    for kind in (pa.binary(), pa.large_binary(), pa.binary_view()):
        assert np.array_equal(classifier.decision_function(pa.array(raw, kind)), expected)
    assert np.array_equal(classifier.decision_function(raw), expected)


@pytest.mark.parametrize("kind", ARROW_TYPES, ids=str)
def test_slices_and_chunks(kind, classifier):
    array = pa.array(TEXTS, kind)
    for begin in range(len(TEXTS) + 1):
        for end in (begin, begin + 1, len(TEXTS) - 1, len(TEXTS)):
            same(classifier, array.slice(begin, max(end - begin, 0)), TEXTS[begin:end] if end > begin else [])
    chunks = [array[:0], array[:3], array[3:3], array[3:4], array[4:]]
    same(classifier, pa.chunked_array(chunks), TEXTS)
    same(classifier, pa.chunked_array(chunks).slice(2, 5), TEXTS[2:7])
    same(classifier, pa.chunked_array([], type=kind), [])
    same(classifier, pa.chunked_array([array, array], type=kind), TEXTS * 2)
    nulls = pa.array([None, *TEXTS, None], kind)
    same(classifier, nulls.slice(1, len(TEXTS)), TEXTS)  # the nulls are outside


def test_polars_chunks_and_slices(classifier):
    series = pl.Series(TEXTS)
    same(classifier, series.slice(3, 5), TEXTS[3:8])
    grown = pl.concat([pl.Series(TEXTS), pl.Series(TEXTS[:2])], rechunk=False)
    assert grown.n_chunks() == 2
    same(classifier, grown, TEXTS + TEXTS[:2])


def test_many_views_of_long_texts(classifier):
    # Several data buffers behind one array of views.
    texts = [f"{i} not bad " * (i % 50) for i in range(3000)]
    view = pa.concat_arrays([pa.array(texts[a : a + 500], pa.string_view()) for a in range(0, 3000, 500)])
    same(classifier, view, texts)
    same(classifier, view.slice(1234, 1000), texts[1234:2234])


def test_an_object_with_either_arrow_method_is_enough(classifier):
    class Array:
        def __arrow_c_array__(self, requested_schema=None):
            return pa.array(TEXTS).__arrow_c_array__()

    class Stream:
        def __arrow_c_stream__(self, requested_schema=None):
            return pa.chunked_array([TEXTS]).__arrow_c_stream__()

    same(classifier, Array(), TEXTS)
    same(classifier, Stream(), TEXTS)


def test_arrow_memory_is_given_back(classifier):
    before = pa.total_allocated_bytes()
    for _ in range(20):
        classifier.decision_function(pa.array(["not bad " * 1000] * 100))
        with pytest.raises(ValueError, match="null"):
            classifier.decision_function(pa.array(["not bad " * 1000] * 100 + [None]))
        with pytest.raises(TypeError):
            classifier.decision_function(pa.array([1] * 100000))
    assert pa.total_allocated_bytes() == before


def test_one_text_is_one_result(classifier):
    many = classifier.decision_function(TEXTS)
    for text, logits in zip(TEXTS, many, strict=True):
        assert np.array_equal(classifier.decision_function(text), logits)
        assert np.array_equal(classifier.decision_function(text.encode()), logits)


def test_lone_surrogates(classifier):
    texts = ["not \ud800 bad", "\udcff", "😀\ude00 film"]
    expected = [ref.decode(text) for text in texts]
    same(classifier, texts, expected)
    same(classifier, np.array(texts, object), expected)
    for text, clean in zip(texts, expected, strict=True):
        assert np.array_equal(classifier.decision_function(text), classifier.decision_function(clean))


def test_lone_surrogates_in_a_pandas_column(classifier):
    texts = ["not \ud800 bad", "film"]
    same(classifier, pd.Series(texts, dtype=object), [ref.decode(text) for text in texts])


@pytest.mark.parametrize("dtype", ["object", "str"])
def test_pandas_without_pyarrow(dtype, classifier, tmp_path):
    classifier.save(tmp_path / "c")
    code = (
        "import sys; sys.modules['pyarrow'] = None\n"
        "import pandas, sparsedistill\n"
        f"c = sparsedistill.Classifier.load({str(tmp_path / 'c')!r})\n"
        f"print(c.predict(pandas.Series(['not bad', 'film'], dtype={dtype!r})))"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False, cwd=tmp_path)
    assert run.stdout.strip() == repr(classifier.predict(["not bad", "film"])), run.stderr


# Nulls as empty texts

LAYOUTS = (*ARROW_TYPES, pa.binary(), pa.large_binary(), pa.binary_view())


@pytest.fixture(scope="module")
def shared(parts):
    """For hypothesis, which must not be given a fixture that is made anew for every test."""
    from sparsedistill import Classifier

    return Classifier(*parts())


@settings(max_examples=150)
@given(
    st.lists(st.none() | st.sampled_from(TEXTS) | st.text(max_size=20), max_size=40),
    st.sampled_from(LAYOUTS),
    st.lists(st.integers(0, 40), max_size=3),
    st.integers(0, 20),
    st.integers(0, 40),
)
def test_nulls_are_empty_texts_on_request(shared, texts, kind, cuts, begin, length):
    array = pa.array([text if text is None or kind in ARROW_TYPES else text.encode() for text in texts], kind)
    filled = [text or "" for text in texts]
    series = pl.Series(texts, dtype=pl.String)
    for container in (texts, tuple(texts), iter(texts), np.array(texts, object), series, array):
        got = shared.decision_function(container, nulls="empty", threads=2)
        assert np.array_equal(got, shared.decision_function(filled))
    ends = sorted(cuts)
    chunks = [array[a:b] for a, b in zip([0, *ends], [*ends, len(array)])]
    for column, expected in (
        (array.slice(begin, length), filled[begin : begin + length]),
        (pa.chunked_array(chunks, type=kind), filled),
        (pa.chunked_array(chunks, type=kind).slice(begin, length), filled[begin : begin + length]),
    ):
        assert np.array_equal(shared.decision_function(column, nulls="empty"), shared.decision_function(expected))


class Tampered:
    """An Arrow array whose null_count is unknown: a producer may leave it at -1."""

    def __init__(self, array):
        self.array = array

    def __arrow_c_array__(self, requested_schema=None):
        schema, array = self.array.__arrow_c_array__()
        pointer = ctypes.pythonapi.PyCapsule_GetPointer
        pointer.restype, pointer.argtypes = ctypes.c_void_p, (ctypes.py_object, ctypes.c_char_p)
        ctypes.cast(pointer(array, b"arrow_array"), ctypes.POINTER(ctypes.c_int64))[1] = -1
        return schema, array


@pytest.mark.parametrize("kind", LAYOUTS, ids=str)
def test_nulls_that_are_not_counted(kind, classifier):
    texts = ["not bad", None, "the film was good good good", None, "bad"]
    array = pa.array([text and text.encode() for text in texts], pa.binary()).cast(kind)
    for begin in range(len(texts)):
        expected = [text or "" for text in texts[begin:]]
        got = classifier.decision_function(Tampered(array[begin:]), nulls="empty")
        assert np.array_equal(got, classifier.decision_function(expected))
    with pytest.raises(ValueError, match=r"^text 0 is null: "):
        classifier.predict(Tampered(array[3:]))
    whole = pa.array([b"not bad", b"film"], pa.binary()).cast(kind)
    assert whole.buffers()[0] is None
    same(classifier, Tampered(whole), ["not bad", "film"])


@pytest.mark.parametrize("kind", LAYOUTS, ids=str)
def test_what_lies_under_a_null_is_not_read(kind, classifier):
    def view(text: bytes) -> bytes:
        return len(text).to_bytes(4, "little") + text.ljust(12, b"\0")

    if kind in (pa.string_view(), pa.binary_view()):  # 2 GB far into a buffer that is not there
        data = [view(b"not bad") + b"\xff\xff\xff\x7f" + b"good" + b"\xff\xff\xff\x6f" * 2 + view(b"film")]
    else:
        wide = "i8" if kind in (pa.large_string(), pa.large_binary()) else "i4"
        data = [np.array([0, 7, 11, 15], wide), b"not badgoodfilm"]
    buffers = [pa.py_buffer(part) for part in (b"\x05", *data)]
    array = pa.Array.from_buffers(kind, 3, buffers)
    for column in (array, Tampered(array)):
        got = classifier.decision_function(column, nulls="empty")
        assert np.array_equal(got, classifier.decision_function(["not bad", "", "film"]))
        with pytest.raises(ValueError, match=r"^text 1 is null: "):
            classifier.predict(column)


def test_nothing_but_nulls(classifier):
    for column in (pa.nulls(3), pa.chunked_array([pa.nulls(1), pa.nulls(2)]), pl.Series([None] * 3), pa.nulls(5)[1:4]):
        got = classifier.decision_function(column, nulls="empty")
        assert np.array_equal(got, classifier.decision_function([""] * 3))
        with pytest.raises(ValueError, match=r"^text 0 is null: .*nulls=.empty"):
            classifier.predict(column)
    same(classifier, pa.array([]), [])


@pytest.mark.parametrize("dtype", ["str", "object", "string", "string[python]"])
@pytest.mark.parametrize("null", [None, np.nan, pd.NA], ids=repr)
def test_nulls_of_pandas(dtype, null, classifier):
    column, filled = pd.Series(["not bad", null, "film"], dtype=dtype), ["not bad", "", "film"]
    assert classifier.predict(column, nulls="empty") == classifier.predict(filled)
    assert np.array_equal(classifier.predict_proba(column, nulls="empty"), classifier.predict_proba(filled))
    with pytest.raises((TypeError, ValueError), match=r"^text 1 is "):
        classifier.predict_proba(column)


def test_what_else_is_no_text_stays_refused(classifier):
    with pytest.raises(TypeError, match=r"^text 1 is int, not str$"):
        classifier.predict([None, 3], nulls="empty")
    with pytest.raises(TypeError, match=r"^text 1 is float, not str$"):
        classifier.predict([None, 0.5], nulls="empty")
    with pytest.raises(TypeError, match=r"^text 0 is numpy.ndarray, not str$"):
        classifier.predict([np.array([np.nan, np.nan])], nulls="empty")
    with pytest.raises(TypeError, match="must be a str or many of them, not NoneType"):
        classifier.predict(None, nulls="empty")
    with pytest.raises(ValueError, match="nulls is 'skip': give 'error' or 'empty'"):
        classifier.predict(["a"], nulls="skip")
    with pytest.raises(TypeError, match=r"^text 1 is NoneType, not str: .*nulls=.empty"):
        classifier.predict(["a", None])


NOTHING = [None, float("nan"), np.float32("nan"), pd.NA, pd.NaT, np.datetime64("NaT")]


@pytest.mark.parametrize("nothing", NOTHING, ids=repr)
def test_what_stands_for_nothing_is_a_null(nothing, classifier):
    texts = ["a", nothing, "not bad"]
    array = np.empty(3, object)
    array[:] = texts
    for container in (texts, tuple(texts), iter(texts), array, pd.Series(texts, dtype=object)):
        assert classifier.predict(container, nulls="empty") == classifier.predict(["a", "", "not bad"])
    for container in (texts, tuple(texts), array, pd.Series(texts, dtype=object)):
        with pytest.raises(TypeError, match=r"^text 1 is .*, not str: fill or drop the nulls .*nulls=.empty"):
            classifier.predict(container)


@pytest.mark.parametrize(
    "column",
    [pd.Series([np.nan, np.nan]), pd.Series([pd.NaT, pd.NaT]), pd.Series([None, None], dtype="string"), pa.nulls(2),
     np.array([np.nan, np.nan]), pd.Series([None, None], dtype=object)],
    ids=lambda column: f"{type(column).__name__} {getattr(column, 'dtype', '')}",
)  # fmt: skip
def test_a_column_of_nothing(column, classifier):
    assert classifier.predict(column, nulls="empty") == classifier.predict(["", ""])
    with pytest.raises((TypeError, ValueError), match=r"^text 0 is .*nulls=.empty"):
        classifier.predict(column)


# What is refused

BAD = [None, 3, 2.5, float("nan"), ["a"], ("a",), bytearray(b"a"), object(), np.int64(1), {"text": "a"}, pd.NA]


@pytest.mark.parametrize("bad", BAD, ids=lambda bad: type(bad).__name__)
@pytest.mark.parametrize("at", [0, 3, 5])
def test_what_is_no_text_is_named_by_its_position(bad, at, classifier):
    texts = ["a"] * 5
    texts.insert(at, bad)
    array = np.empty(6, object)
    array[:] = texts
    for container in (texts, tuple(texts), iter(texts), array):
        with pytest.raises(TypeError, match=rf"^text {at} is \S*{type(bad).__name__}, not str"):
            classifier.predict(container)


@pytest.mark.parametrize("at", [0, 3, 8, 9])
def test_nulls_are_named_by_their_position(at, classifier):
    texts = ["a"] * 9
    texts.insert(at, None)
    columns = [pa.array(texts, kind) for kind in ARROW_TYPES]
    columns += [pa.array(["x", "x", *texts], kind).slice(2) for kind in ARROW_TYPES]
    columns += [pa.chunked_array([texts[:2], texts[2:4], texts[4:]], type=kind) for kind in ARROW_TYPES]
    columns += [pl.Series(texts), pd.Series(texts, dtype="str")]
    for column in columns:
        with pytest.raises(ValueError, match=rf"^text {at} is null: "):
            classifier.predict(column)
    with pytest.raises(TypeError, match=rf"^text {at} is NoneType"):
        classifier.predict(pd.Series(texts, dtype=object))


@pytest.mark.parametrize(
    ("texts", "message"),
    [
        (pa.array([1, 2]), "holds 'l', not strings"),
        (pa.array([1.5]), "holds 'g', not strings"),
        (pa.array([["a"], ["b"]]), "not strings"),
        (pa.array([{"text": "a"}]), "table"),
        (pa.array([b"ab"], pa.binary(2)), "holds 'w:2', not strings"),
        (pa.array(["a", "b"]).dictionary_encode(), "dictionary-encoded"),
        (pa.chunked_array([["a", "b"]]).dictionary_encode(), "dictionary-encoded"),
        (pa.table({"text": ["a"]}), "is an Arrow table: pass its column"),
        (pa.record_batch({"text": ["a"]}), "is an Arrow table: pass its column"),
        (pd.DataFrame({"text": ["a"]}), "is an Arrow table: pass its column"),
        (pl.DataFrame({"text": ["a"]}), "is an Arrow table: pass its column"),
        (pd.Series([1, 2]), "not strings"),
        (pd.Series([["a"]]), "text 0 is list, not str"),
        (pd.Series(["a", "b"], dtype="category"), "dictionary-encoded"),
        (pl.Series([1, 2]), "not strings"),
        (pl.Series([["a"]]), "not strings"),
        (pl.Series(["a"], dtype=pl.Categorical), "dictionary-encoded"),
        (None, "texts must be a str or many of them, not NoneType"),
        (3, "texts must be a str or many of them, not int"),
        ({"text": "a"}, "texts must be a str or many of them, not dict"),
        (np.array([1, 2]), "text 0 is int, not str"),
        (bytearray(b"ab"), "text 0 is int, not str"),
    ],
    ids=lambda value: type(value).__name__ if not isinstance(value, str) else "",
)
def test_columns_of_anything_else(texts, message, classifier):
    with pytest.raises(TypeError, match=message):
        classifier.predict(texts)


def test_numbers_in_a_pandas_column(classifier):
    with pytest.raises(TypeError, match="text 1 is int"):
        classifier.predict(pd.Series(["a", 3], dtype=object))


@pytest.mark.parametrize("shape", [(), (2, 1), (1, 2), (0, 2)])
def test_arrays_have_one_dimension(shape, classifier):
    with pytest.raises(ValueError, match="one-dimensional"):
        classifier.predict(np.full(shape, "a"))


def test_a_failing_stream_or_iterator_raises(classifier):
    def failing():
        yield "a"
        raise OSError("the disk is gone")

    with pytest.raises(OSError, match="the disk is gone"):
        classifier.predict(failing())
    reader = pa.RecordBatchReader.from_batches(pa.schema([("text", pa.string())]), iter([]))
    with pytest.raises(TypeError, match="table"):
        classifier.predict(reader)

    class Fails:
        def __arrow_c_stream__(self, requested_schema=None):
            raise KeyError("no such column")

    class Lies:
        def __arrow_c_stream__(self, requested_schema=None):
            return pa.array(["a"]).__arrow_c_array__()[0]

    class Used:
        def __init__(self):
            self.capsules = pa.array(["a"]).__arrow_c_array__()

        def __arrow_c_array__(self, requested_schema=None):
            return self.capsules

    with pytest.raises(KeyError, match="no such column"):
        classifier.predict(Fails())
    with pytest.raises(ValueError, match="PyCapsule"):
        classifier.predict(Lies())
    used = Used()
    classifier.predict(used)
    with pytest.raises(ValueError, match="used already"):
        classifier.predict(used)


def test_the_list_may_change_while_it_is_read(classifier):
    # The core keeps its own references: texts that only the list held stay alive.
    texts = [f"not bad {i}" for i in range(5000)]
    expected = classifier.decision_function(list(texts))

    class Vanishing:
        def __iter__(self):
            while texts:
                yield texts.pop(0)

    assert np.array_equal(classifier.decision_function(Vanishing()), expected)
    assert not texts
