"""Files: tensors and JSON there and back, agreement with the safetensors package, damaged and hostile directories."""

from __future__ import annotations

import json
import os
import signal
import tempfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from sparsedistill import Classifier, FormatError
from sparsedistill import format as files
from sparsedistill.student.vocabulary import Vocabulary

DTYPES = (np.uint8, np.int8, np.int16, np.uint32, np.int64, np.uint64, np.float32)
TEXTS = ["not bad at all", "", "the film was good"]

names = st.text(st.characters(exclude_categories=("Cs",)), max_size=8).filter(
    lambda name: name != "__metadata__" and not name.startswith("padding.")  # these names have a meaning
)
arrays = st.sampled_from(DTYPES).flatmap(
    lambda dtype: hnp.arrays(dtype, hnp.array_shapes(min_dims=1, max_dims=4, min_side=0, max_side=5))
)
tensor_sets = st.dictionaries(names, arrays, max_size=6)


@pytest.fixture
def scratch(tmp_path_factory):
    return tmp_path_factory.mktemp("format")


def same(a: dict[str, np.ndarray], b: dict[str, np.ndarray]) -> bool:
    return set(a) == set(b) and all(
        a[k].dtype == b[k].dtype and a[k].shape == b[k].shape and a[k].tobytes() == b[k].tobytes() for k in a
    )


# There and back


@settings(max_examples=150)
@given(tensor_sets)
def test_tensors_there_and_back(tensors):
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "t.safetensors"
        files.write_tensors(path, tensors)
        got = files.read_tensors(path)
        assert os.listdir(folder) == [path.name]
        assert same(got, tensors)
        assert list(got) == list(tensors) or any(array.size == 0 for array in tensors.values())
        for array in got.values():
            assert array.ctypes.data % files.ALIGNMENT == 0 or array.size == 0
            assert not array.flags.writeable or array.size == 0


def test_strided_arrays_are_written_as_they_look(scratch):
    array = np.arange(60, dtype=np.int16).reshape(6, 10)
    tensors = {"t": array.T, "half": array[::2, 1::3], "f": np.asfortranarray(array)}
    files.write_tensors(scratch / "t", tensors)
    assert all(np.array_equal(got, tensors[key]) for key, got in files.read_tensors(scratch / "t").items())


@settings(max_examples=100)
@given(tensor_sets)
def test_the_safetensors_package_reads_ours(tensors):
    load_file = pytest.importorskip("safetensors.numpy").load_file
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "t.safetensors"
        files.write_tensors(path, tensors)
        theirs = load_file(path)
    assert same({key: array for key, array in theirs.items() if not key.startswith("padding.")}, tensors)


@settings(max_examples=100)
@given(tensor_sets, st.none() | st.dictionaries(st.text("abc"), st.text("abc"), min_size=1, max_size=2))
def test_we_read_the_safetensors_packages(tensors, metadata):
    # Theirs is not aligned to more than 8 bytes. (No tensors with empty metadata it writes as no JSON, in 0.8.)
    save_file = pytest.importorskip("safetensors.numpy").save_file
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "t.safetensors"
        save_file(tensors, path, metadata)
        got = {key: array.copy() for key, array in files.read_tensors(path).items()}
    assert same(got, tensors)


@pytest.mark.parametrize("dtype", [np.float64, np.bool_, np.uint16, np.int32])
def test_other_types_of_the_safetensors_package_are_format_errors(dtype, scratch):
    pytest.importorskip("safetensors.numpy").save_file({"a": np.ones(3, dtype)}, scratch / "t")
    with pytest.raises(FormatError, match="tensor 'a' is of type"):
        files.read_tensors(scratch / "t")


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | names,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(names, inner, max_size=3),
    max_leaves=8,
)


@settings(max_examples=100)
@given(st.dictionaries(names, json_values, max_size=4))
def test_json_there_and_back(value):
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "x.json"
        files.write_json(path, value)
        assert files.read_json(path) == value
        assert os.listdir(folder) == ["x.json"]


@pytest.mark.parametrize(
    "text", [b"", b"{", b"[]", b"1", b"null", b'"a"', b"{} {}", b"\xff", b'{"a": 1', b"[" * 200_000, b'{"a":' * 200_000,
             b'{"a": ' + b"9" * 10_000 + b"}"],
    ids=lambda text: repr(text[:10]),
)  # fmt: skip
def test_bad_json_is_a_format_error(text, scratch):
    (scratch / "x.json").write_bytes(text)
    with pytest.raises(FormatError, match=r"x\.json"):
        files.read_json(scratch / "x.json")


def test_absent_files_are_os_errors(scratch):
    with pytest.raises(FileNotFoundError):
        files.read_json(scratch / "x")
    with pytest.raises(FileNotFoundError):
        files.read_tensors(scratch / "x")
    with pytest.raises(OSError, match="directory"):
        files.read_tensors(scratch)


# Tensor files by hand


def tensor_file(header, data=b"", size=None) -> bytes:
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return (len(text) if size is None else size).to_bytes(8, "little") + text + data


def entry(dtype="F32", shape=(1,), offsets=(0, 4)) -> dict:
    return {"dtype": dtype, "shape": list(shape), "data_offsets": list(offsets)}


def read(content: bytes):
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "t.safetensors"
        path.write_bytes(content)
        return {key: array.copy() for key, array in files.read_tensors(path).items()}


def test_a_tensor_file_by_hand():
    got = read(
        tensor_file({"__metadata__": {"a": "b"}, "x": entry(), "y": entry("U8", (2,), (4, 6))}, b"\0\0\x80?\1\2")
    )
    assert got["x"].tolist() == [1.0]
    assert got["y"].tolist() == [1, 2]
    assert read(tensor_file({})) == {}
    assert read(tensor_file({"x": entry(shape=())}, b"\0\0\x80?"))["x"].shape == ()


def test_unaligned_tensors_are_copied(scratch):
    header = json.dumps({"x": entry("U64", (2,), (0, 16))}).encode()
    for odd in range(8):
        content = tensor_file(header + b" " * odd, np.array([3, 1 << 60], np.uint64).tobytes())
        (scratch / "t").write_bytes(content)
        (array,) = files.read_tensors(scratch / "t").values()
        assert array.flags.aligned
        assert array.tolist() == [3, 1 << 60]


DEEP = b'{"a":' + b"[" * 100_000 + b"]" * 100_000 + b"}"
BAD_FILES = {
    "empty": b"",
    "seven bytes": b"\2\0\0\0\0\0\0",
    "no header": (0).to_bytes(8, "little"),
    "header past the end": tensor_file(b"{}", size=3),
    "huge header": tensor_file(b"{}", size=(1 << 64) - 1),
    "header past the limit": tensor_file(b"{}" + b" " * (17 << 20)),
    "no json": tensor_file(b"{x}"),
    "list": tensor_file(b"[]"),
    "number": tensor_file(b"12"),
    "not utf-8": tensor_file(b'{"\xff": 1}'),
    "deep": tensor_file(DEEP),
    "trailing bytes": tensor_file({"x": entry()}, b"12345"),
    "missing bytes": tensor_file({"x": entry()}, b"123"),
    "trailing bytes without tensors": tensor_file({}, b"1"),
    "null entry": tensor_file({"x": None}),
    "extra key": tensor_file({"x": {**entry(), "more": 1}}, b"1234"),
    "missing key": tensor_file({"x": {"dtype": "F32", "shape": [1]}}, b"1234"),
    "dtype list": tensor_file({"x": entry(["F32"])}, b"1234"),
    "dtype unknown": tensor_file({"x": entry("F128")}, b"1234"),
    "dtype lower case": tensor_file({"x": entry("f32")}, b"1234"),
    "shape null": tensor_file({"x": {**entry(), "shape": None}}, b"1234"),
    "shape negative": tensor_file({"x": entry(shape=(-1,))}, b"1234"),
    "shape twice negative": tensor_file({"x": entry(shape=(-1, -1))}, b"1234"),
    "shape float": tensor_file({"x": entry(shape=(1.0,))}, b"1234"),
    "shape bool": tensor_file({"x": entry(shape=(True,))}, b"1234"),
    "shape huge": tensor_file({"x": entry(shape=(1 << 61,))}, b"1234"),
    "shape wraps": tensor_file({"x": entry(shape=(1 << 33, 1 << 31))}, b""),
    "shape of many": tensor_file({"x": entry(shape=(1,) * 100)}, b"1234"),
    "offsets null": tensor_file({"x": {**entry(), "data_offsets": None}}, b"1234"),
    "offsets one": tensor_file({"x": entry(offsets=(0,))}, b"1234"),
    "offsets fall": tensor_file({"x": entry(offsets=(4, 0))}, b"1234"),
    "offsets negative": tensor_file({"x": entry(offsets=(-4, 0))}, b"1234"),
    "offsets huge": tensor_file({"x": entry(offsets=(1 << 63, (1 << 63) + 4))}, b"1234"),
    "offsets beyond integers": tensor_file({"x": entry(offsets=(0, 10**400))}, b"1234"),
    "offsets float": tensor_file({"x": entry(offsets=(0, 4.0))}, b"1234"),
    "offsets infinite": tensor_file(b'{"x":{"dtype":"F32","shape":[1],"data_offsets":[0,1e999]}}', b"1234"),
    "overlap": tensor_file({"x": entry(), "y": entry()}, b"1234"),
    "hole": tensor_file({"x": entry(), "y": entry(offsets=(5, 9))}, b"123456789"),
    "begins late": tensor_file({"x": entry(offsets=(1, 5))}, b"12345"),
    "padding of no size": tensor_file({"padding.0": entry(shape=(9,))}, b"1234"),
    "into the header": tensor_file({"x": entry(offsets=(0, 1 << 40))}, b"1234"),
}


@pytest.mark.parametrize("content", [pytest.param(content, id=key) for key, content in BAD_FILES.items()])
def test_bad_tensor_files_are_format_errors(content):
    with pytest.raises(FormatError, match=r"t\.safetensors"):
        read(content)


@pytest.mark.parametrize("shape", [(0, (1 << 62) - 1), (1 << 61, 1 << 61, 0)])
def test_an_empty_tensor_of_impossible_shape_is_a_format_error(shape):
    try:
        read(tensor_file({"x": entry(shape=shape, offsets=(0, 0))}))
    except FormatError:
        return
    raise AssertionError("it was read")


# Attacks on a classifier


@pytest.fixture(scope="module")
def saved(parts, tmp_path_factory):
    folder = tmp_path_factory.mktemp("attacked")
    for i, (task, row_type, depth) in enumerate(
        (("single", "int8", 1), ("multi", "int16", 0), ("regression", "float32", 2))
    ):
        labels = 1 if task == "regression" else 3
        Classifier(*parts(task, row_type, depth, labels), card="# a card").save(folder / str(i))
    return folder


def contents(folder: Path) -> dict[str, bytes]:
    return {name: (folder / name).read_bytes() for name in ("config.json", "model.safetensors")}


def attacked(pieces: dict[str, bytes]) -> bool:
    """Whether the classifier in these files can be used; anything but a FormatError on the way is let through."""
    with tempfile.TemporaryDirectory() as folder:
        for name, piece in pieces.items():
            (Path(folder) / name).write_bytes(piece)
        try:
            classifier = Classifier.load(folder)
            assert len(classifier.predict(TEXTS)) == len(TEXTS)
        except FormatError as error:
            assert str(error)
            return False
        return True


which = st.integers(0, 2).map(str)
targets = st.sampled_from(("config.json", "model.safetensors"))


def test_what_is_attacked_is_sound(saved):
    for i in range(3):
        assert attacked(contents(saved / str(i)))


@settings(max_examples=150)
@given(which=which, target=targets, at=st.floats(0, 1, exclude_max=True))
def test_cut_files_are_format_errors(saved, which, target, at):
    pieces = contents(saved / which)
    pieces[target] = pieces[target][: int(at * len(pieces[target].rstrip()))]
    assert not attacked(pieces)


@settings(max_examples=60)
@given(which=which, target=targets, more=st.binary(min_size=1, max_size=100).filter(lambda b: b.strip()))
def test_longer_files_are_format_errors(saved, which, target, more):
    pieces = contents(saved / which)
    pieces[target] += more
    assert not attacked(pieces)


@settings(max_examples=400)
@given(
    which=which,
    target=targets,
    flips=st.lists(st.tuples(st.floats(0, 1, exclude_max=True), st.integers(1, 255)), min_size=1, max_size=4),
    header=st.booleans(),
)
def test_flipped_bytes_never_crash(saved, which, target, flips, header):
    pieces = contents(saved / which)
    piece = bytearray(pieces[target])
    end = 8 + int.from_bytes(piece[:8], "little") if header and target.endswith("safetensors") else len(piece)
    for at, bits in flips:
        piece[int(at * end)] ^= bits
    attacked(pieces | {target: bytes(piece)})


@settings(max_examples=150)
@given(which=which, target=targets, content=st.binary(max_size=200))
def test_any_bytes_are_format_errors(saved, which, target, content):
    assert not attacked(contents(saved / which) | {target: content})


ODD = (
    *(None, True, False, 0, 1, -1, 2, 17, 0.5, 1e308, float("nan"), float("inf"), 10**30),
    *(1 << 31, 1 << 32, (1 << 32) - 1, 1 << 62, (1 << 62) - 1, 1 << 63, (1 << 64) - 1, 1 << 64, -(1 << 63)),
    *("", "a", "int8", "F32", "U64", "\x00", "\ud800", "sklearn"),
    *([], [0], [[]], [None], {}, {"a": {}}, [0, 0], [0, 1 << 62], [1 << 32, 1 << 32]),
)
deep = st.integers(1, 500).map(lambda depth: json.loads("[" * depth + "]" * depth))
weird = st.one_of(st.sampled_from(ODD), st.integers(-(1 << 70), 1 << 70), json_values, deep)


def places(value, above=()):
    """Paths of everything in a JSON value."""
    if above:
        yield above
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, inner in items:
        yield from places(inner, (*above, key))


def changed(value, path, new):
    if not path:
        return new
    copied = dict(value) if isinstance(value, dict) else list(value)
    copied[path[0]] = changed(copied[path[0]], path[1:], new)
    return copied


@settings(max_examples=500)
@given(which=which, target=targets, data=st.data(), times=st.integers(1, 2))
def test_wrong_values_never_crash(saved, which, target, data, times):
    pieces = contents(saved / which)
    tensors = target.endswith("safetensors")
    size = int.from_bytes(pieces[target][:8], "little")
    value = json.loads(pieces[target][8 : 8 + size] if tensors else pieces[target])
    for _ in range(times):
        value = changed(value, data.draw(st.sampled_from(list(places(value)))), data.draw(weird))
    piece = json.dumps(value).encode()
    if tensors:
        piece = tensor_file(piece, pieces[target][8 + size :])
    attacked(pieces | {target: piece})


def test_messages_are_one_line(parts):
    config, tensors = parts()
    config["text"]["max_n"] = 1 << 32
    with pytest.raises(FormatError, match="max_n") as caught:
        Classifier(config, tensors)
    assert "\n" not in str(caught.value)


def test_missing_files(saved, tmp_path):
    for name, piece in contents(saved / "0").items():
        folder = tmp_path / name
        folder.mkdir()
        (folder / name).write_bytes(piece)
        with pytest.raises(FileNotFoundError, match="is not a classifier"):
            Classifier.load(folder)
    # A folder where a file should be is no file either.
    (folder / "config.json").mkdir()
    with pytest.raises(FileNotFoundError):
        Classifier.load(folder)


def test_a_damaged_card_is_a_format_error_or_nothing(saved, tmp_path):
    pieces = contents(saved / "0")
    assert attacked(pieces | {"README.md": b"# a card"})
    attacked(pieces | {"README.md": b"\xff\xfe"})


def test_full_slots_are_a_format_error(saved, parts):
    config, tensors = parts()
    for value in (1, 5, 0xFFFFFFFE):
        slots = np.full_like(tensors["slots"], value)
        with pytest.raises(FormatError, match="lookup table"):
            Classifier(config, {**tensors, "slots": slots}).predict(["film"])


# Attacks on a vocabulary


@pytest.fixture(scope="module")
def vocabulary(tmp_path_factory):
    folder = tmp_path_factory.mktemp("vocabulary") / "v"
    Vocabulary.count([["not bad at all", "a film 漢"]], max_n=3).save(folder)
    return folder


def test_a_vocabulary_there_and_back(vocabulary):
    made = Vocabulary.count([["not bad at all", "a film 漢"]], max_n=3)
    loaded = Vocabulary.load(vocabulary)
    assert [loaded[i] for i in range(len(loaded))] == [made[i] for i in range(len(made))]
    assert loaded.counts.tolist() == made.counts.tolist()
    assert loaded.slots.tolist() == made.slots.tolist()
    assert [a.tolist() for a in loaded.bags(TEXTS)] == [a.tolist() for a in made.bags(TEXTS)]


@settings(max_examples=250)
@given(
    target=st.sampled_from(("vocabulary.json", "vocabulary.safetensors")),
    flips=st.lists(st.tuples(st.floats(0, 1, exclude_max=True), st.integers(1, 255)), min_size=1, max_size=3),
    cut=st.floats(0, 2),
)
def test_a_damaged_vocabulary_is_a_format_error_or_none(vocabulary, target, flips, cut):
    with tempfile.TemporaryDirectory() as folder:
        for file in os.listdir(vocabulary):
            piece = bytearray((vocabulary / file).read_bytes())
            if file == target:
                for at, bits in flips:
                    piece[int(at * len(piece))] ^= bits
                piece = piece[: int(cut * len(piece))]
            (Path(folder) / file).write_bytes(piece)
        try:
            Vocabulary.load(folder)
        except FormatError:
            pass


@pytest.mark.parametrize(
    "wrong", [{"unicode": "3.0"}, {"tokenizer": "nltk"}, {"max_n": 0}, {"max_n": 99}, {"seed": -1}, {"lowercase": "x"}]
)
def test_wrong_vocabulary_settings(wrong, vocabulary, tmp_path):
    for file in os.listdir(vocabulary):
        (tmp_path / file).write_bytes((vocabulary / file).read_bytes())
    files.write_json(tmp_path / "vocabulary.json", {**files.read_json(vocabulary / "vocabulary.json"), **wrong})
    with pytest.raises(FormatError):
        Vocabulary.load(tmp_path)


# Whole or not at all


def test_an_error_while_writing_leaves_what_was_there(classifier, parts, tmp_path):
    classifier.save(tmp_path / "c")
    before = contents(tmp_path / "c")
    broken = Classifier(*parts(seed=1))
    broken._tensors["odd"] = np.zeros(2, np.complex64)
    with pytest.raises(ValueError, match="odd"):
        broken.save(tmp_path / "c")
    with pytest.raises(ValueError, match="JSON"):
        files.write_json(tmp_path / "c" / "config.json", {"a": float("nan")})
    assert contents(tmp_path / "c") == before
    assert os.listdir(tmp_path) == ["c"]
    assert sorted(os.listdir(tmp_path / "c")) == ["config.json", "model.safetensors"]


def killed_at(function: str, call: int, work) -> None:
    """Do ``work`` in a child that is killed as it calls ``os.<function>`` for the ``call``-th time."""
    child = os.fork()
    if child == 0:
        try:
            real, calls = getattr(os, function), iter(range(1, 100))

            def dying(*args, **kwargs):
                if next(calls) == call:
                    os.kill(os.getpid(), signal.SIGKILL)
                return real(*args, **kwargs)

            setattr(os, function, dying)
            work()
        finally:
            os._exit(3)
    _, status = os.waitpid(child, 0)
    assert os.WIFSIGNALED(status)


fork_only = pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")


@fork_only
@pytest.mark.parametrize(("function", "call"), [("replace", 1), ("replace", 2), ("fsync", 1), ("rename", 1)])
def test_a_kill_before_the_renames_leaves_the_old_directory(function, call, parts, tmp_path):
    old, new = Classifier(*parts(seed=1)), Classifier(*parts(seed=2))
    old.save(tmp_path / "c")
    before = contents(tmp_path / "c")
    killed_at(function, call, lambda: new.save(tmp_path / "c"))
    assert contents(tmp_path / "c") == before
    assert np.array_equal(Classifier.load(tmp_path / "c").decision_function(TEXTS), old.decision_function(TEXTS))
    # What the dead one left is in nobody's way.
    new.save(tmp_path / "c")
    assert np.array_equal(Classifier.load(tmp_path / "c").decision_function(TEXTS), new.decision_function(TEXTS))


@fork_only
def test_a_kill_between_the_renames_leaves_both_beside(parts, tmp_path):
    # A directory cannot be replaced in one step: for one moment its name is free, but nothing is lost.
    old, new = Classifier(*parts(seed=1)), Classifier(*parts(seed=2))
    old.save(tmp_path / "c")
    killed_at("rename", 2, lambda: new.save(tmp_path / "c"))
    left = {path.suffix: Classifier.load(path).decision_function(TEXTS) for path in tmp_path.iterdir()}
    assert set(left) == {".old", ".tmp"}
    assert np.array_equal(left[".old"], old.decision_function(TEXTS))
    assert np.array_equal(left[".tmp"], new.decision_function(TEXTS))


def test_a_failing_last_rename_puts_the_old_directory_back(classifier, parts, tmp_path, monkeypatch):
    classifier.save(tmp_path / "c")
    before = contents(tmp_path / "c")
    real = os.rename

    def failing(source, target):
        if Path(target) == tmp_path / "c" and ".tmp" in str(source):
            raise OSError("no")
        real(source, target)

    monkeypatch.setattr(os, "rename", failing)
    with pytest.raises(OSError, match="no"):
        Classifier(*parts(seed=2)).save(tmp_path / "c")
    assert contents(tmp_path / "c") == before


@fork_only
def test_a_killed_file_write_leaves_the_old_file(tmp_path):
    files.write_json(tmp_path / "x.json", {"a": 1})
    files.write_tensors(tmp_path / "x.safetensors", {"a": np.arange(3)})
    killed_at("replace", 1, lambda: files.write_json(tmp_path / "x.json", {"a": 2}))
    killed_at("fsync", 1, lambda: files.write_tensors(tmp_path / "x.safetensors", {"a": np.arange(4)}))
    assert files.read_json(tmp_path / "x.json") == {"a": 1}
    assert files.read_tensors(tmp_path / "x.safetensors")["a"].tolist() == [0, 1, 2]


def test_reading_into_arrays(scratch):
    arrays = {"a": np.arange(12, dtype=np.float32).reshape(3, 4), "b": np.zeros((0, 2), np.uint16)}
    files.write_tensors(scratch / "t", arrays)
    into = {name: np.ones_like(array) for name, array in arrays.items()}
    files.read_into(scratch / "t", into)
    assert all(np.array_equal(into[name], array) for name, array in arrays.items())
    with pytest.raises(FormatError, match="tensor 'c' is missing"):
        files.read_into(scratch / "t", {"c": np.zeros(1)})
    for wrong in (np.zeros((4, 3), np.float32), np.zeros((3, 4), np.uint32)):
        with pytest.raises(FormatError, match=r"tensor 'a' is float32 \(3, 4\), where"):
            files.read_into(scratch / "t", {"a": wrong})
