"""The tests of the core that need no Python: programs of tests/core, built by CMake and run.

And the core's own reader of model directories against Python's: the same logits, the same directories refused.
"""

from __future__ import annotations

import copy
import json
import os
import random
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from conftest import ROOT, padded
from test_format import BAD_FILES, ODD, changed, contents, places, tensor_file
from test_format_rules import BROKEN, NAMED

from sparsedistill import Classifier, FormatError
from sparsedistill import format as files
from sparsedistill.locks import lock
from sparsedistill.pooling import POOLINGS

PROGRAMS = sorted(path.stem for path in (ROOT / "tests" / "core").glob("*.cpp"))


@pytest.fixture(scope="module")
def programs() -> Path:
    """The folder of the programs; those of a build that is there already where SPARSEDISTILL_CORE_TESTS names it."""
    if given := os.environ.get("SPARSEDISTILL_CORE_TESTS"):
        return Path(given)
    cmake = shutil.which("cmake", path=os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]]))
    if not cmake or not shutil.which(os.environ.get("CXX", "c++")):
        pytest.skip("there is no CMake, or no C++ compiler")
    build = ROOT / "build" / "core-tests"
    build.mkdir(parents=True, exist_ok=True)
    options = "-DSPARSEDISTILL_PYTHON=OFF", "-DSPARSEDISTILL_TESTS=ON"
    with open(build / "lock", "w") as file:
        while True:  # other processes of pytest build the same
            try:
                lock(file)
                break
            except BlockingIOError:
                time.sleep(0.1)
        for command in ([cmake, "-S", ROOT, "-B", build, *options], [cmake, "--build", build, "--parallel", "2"]):
            done = subprocess.run(command, capture_output=True, text=True)
            assert done.returncode == 0, (done.stdout + done.stderr)[-4000:]
    return build / "tests" / "core"


@pytest.mark.timeout(1200)  # seconds; with sanitizers, on a machine that is busy
@pytest.mark.parametrize("program", PROGRAMS)
def test_a_program_finds_all_right(program, programs):
    done = subprocess.run([programs / f"test_{program}"], capture_output=True, text=True)
    assert (done.returncode, done.stdout.splitlines()[-1:]) == (0, ["all right"]), (
        done.stdout[-4000:] + done.stderr[-4000:]
    )


# The reader of models

TEXTS = [
    "The film was not bad at all",
    "",
    "not good, not bad: a film",
    "映画 was good good \U0001f600",
    "film " * 9000,
    "ÉTÉ",
    "The f i l m wаs g00d, n\u200bo\u200bt ＢＡＤ",
    "½ " * 5000 + "f1lm",
    "filmed goodness",
    "schlechter " * 5000,
]


def asked(programs: Path, argument: object, paths: list[Path]) -> list[str]:
    """The answers of the program of ``tests/core/model.cpp``, a line a path."""
    done = subprocess.run(
        [programs / "test_model", argument], input="".join(f"{path}\n" for path in paths).encode(), capture_output=True
    )
    assert done.returncode == 0, done.stderr.decode()[-4000:]
    lines = done.stdout.decode().splitlines()  # and so all is UTF-8, and each error one line
    assert len(lines) == len(paths)
    return lines


def in_the_core(programs: Path, folder: Path, directories: list[Path]) -> list[np.ndarray | str]:
    """What the core says of each directory: the logits of ``TEXTS``, flat, or its error."""
    (folder / "texts").write_bytes(b"".join(text.encode() + b"\0" for text in TEXTS))

    def read(line: str) -> np.ndarray | str:
        bits = [int(number, 16) for number in line.split()[1:]] if line.startswith("ok") else None
        return line if bits is None else np.array(bits, np.uint32).view(np.float32)

    return [read(line) for line in asked(programs, folder / "texts", directories)]


def in_python(directory: Path) -> np.ndarray | str:
    """The same in Python."""
    try:
        classifier = Classifier.load(directory)
        texts = list(zip(TEXTS[::2], TEXTS[1::2], strict=True)) if classifier.pairs else TEXTS
        return classifier._logits(texts, 1, "error").ravel()  # of all heads
    except FormatError as error:
        return str(error)


def agree(ours: np.ndarray | str, theirs: np.ndarray | str) -> bool:
    if isinstance(ours, str) or isinstance(theirs, str):
        return isinstance(ours, str) and isinstance(theirs, str)
    return ours.tobytes() == theirs.tobytes()


def compare(programs: Path, folder: Path, models: Iterator[tuple[object, bytes, bytes]]) -> list[bool]:
    """For each (name, config.json, model.safetensors): whether it is accepted, by the core as by Python."""
    names, directories = [], []
    for i, (name, config, tensors) in enumerate(models):
        directory = folder / str(i)
        directory.mkdir()
        (directory / "config.json").write_bytes(config)
        (directory / "model.safetensors").write_bytes(tensors)
        names.append(name)
        directories.append(directory)
    accepted = []
    for name, directory, ours in zip(names, directories, in_the_core(programs, folder, directories), strict=True):
        theirs = in_python(directory)
        assert agree(ours, theirs), f"{name}: the core: {ours!r:.300}, Python: {theirs!r:.300}"
        assert not isinstance(ours, str) or ours.startswith("refused "), ours
        accepted.append(not isinstance(ours, str))
    return accepted


def with_pooling(pooling: str, pairs: bool, depth: int, parts: tuple) -> tuple:
    """The parts of a float classifier, made those of another pooling, or of pairs."""
    config, tensors = copy.deepcopy(parts[0]), dict(parts[1])
    rng = np.random.default_rng(5)
    width = config["rows"]["width"]
    config |= {"pooling": pooling, "pairs": pairs}
    pooled = POOLINGS[pooling].pooled(width) * (4 if pairs else 1)
    tensors["bias"] = rng.standard_normal(pooled).astype(np.float32)
    if depth:
        out = tensors["layers.0.bias"].shape[0]
        tensors["layers.0.weight"] = rng.standard_normal((pooled, out)).astype(np.float32)
    else:
        config["labels"] = [f"label {i}" for i in range(pooled)]
    return config, tensors


def test_the_core_gives_pythons_logits(programs, parts, tmp_path):
    directories = []

    def save(*made):
        directories.append(tmp_path / f"m{len(directories)}")
        Classifier(*made).save(directories[-1])

    for row_type in ("int4", "int8", "int16", "float16", "float32"):
        for depth in (0, 1, 2):
            save(*parts("single", row_type, depth, 3))
    for labels in (1, 2, 3, 4):
        save(*parts("single", "slots", 0, labels))
    for task, labels in (("multi", 4), ("regression", 1)):
        save(*parts(task, "int8", 1, labels))
        save(*parts(task, "int8", 1, labels, calibrated=True, seed=1))
    save(*parts(**NAMED))
    save(*parts(**NAMED, row_type="float16", depth=0))
    for pooling in POOLINGS:
        for pairs in (False, True):
            for depth in (0, 2):
                save(*with_pooling(pooling, pairs, depth, parts("single", "float32", depth, 3)))
    for tokenizer, lowercase in (("sklearn", True), ("whitespace", False)):
        config, tensors = parts()
        config["text"] |= {"tokenizer": tokenizer, "lowercase": lowercase, "normalize": False}
        save(config, tensors)
    config, tensors = parts()
    config["rows"]["hashed"] = True
    unhashed = {name: array for name, array in tensors.items() if name != "slots"}
    save(config, unhashed)
    save({**config, "text": config["text"] | {"characters": "all", "characters_min": 2, "characters_max": 3}}, unhashed)
    for row_type, depth in (("int8", 1), ("slots", 0)):
        for of in ("unknown", "all"):
            save(*parts(row_type=row_type, depth=depth, characters=of, characters_min=2, characters_max=5))
    save(*parts(deobfuscate=True))
    odd = np.random.default_rng(1).choice(
        np.float32([0, np.nan, np.inf, -np.inf, 3e38, 1e-45]), (len(tensors["rows"]), 3)
    )
    config, tensors = parts(row_type="float32", depth=0)
    save(config, {**tensors, "rows": padded(odd)})
    for directory, ours in zip(directories, in_the_core(programs, tmp_path, directories), strict=True):
        theirs = in_python(directory)
        assert not isinstance(ours, str), ours
        assert agree(ours, theirs), directory
    assert len({ours.tobytes() for ours in in_the_core(programs, tmp_path, directories)}) > len(directories) - 3


def written(config: dict, tensors: dict, folder: Path) -> tuple[bytes, bytes]:
    files.write_tensors(folder / "t", tensors)
    return json.dumps(config).encode(), (folder / "t").read_bytes()


def test_the_core_refuses_each_broken_rule(programs, parts, tmp_path):
    def models():
        for name, shape, change, _ in BROKEN:
            config, tensors = parts(**shape)
            config, tensors = copy.deepcopy(config), dict(tensors)
            yield name + " before", *written(config, tensors, tmp_path)
            change(config, tensors)
            if all(np.dtype(array.dtype) in files._NAMES for array in tensors.values()):  # or no file can say it
                yield name, *written(config, tensors, tmp_path)

    accepted = compare(programs, tmp_path, models())
    assert 60 < accepted.count(False) < accepted.count(True) <= len(BROKEN)


def test_the_core_reads_files_of_arrays_as_python_does(programs, tmp_path):
    entry = '"x":{"dtype":"F32","shape":[%s],"data_offsets":[0,%d]}'
    contents = {
        **BAD_FILES,
        "none": tensor_file({}),
        "scalar": tensor_file(f"{{{entry % ('', 4)}}}".encode(), b"1234"),
        "dimensions": tensor_file(f"{{{entry % ('1,1,1,1,1,1,1,1', 4)}}}".encode(), b"1234"),
        "a dimension more": tensor_file(f"{{{entry % ('1,1,1,1,1,1,1,1,1', 4)}}}".encode(), b"1234"),
        "a product that wraps": tensor_file(f"{{{entry % (f'{(1 << 60) + 1},4', 16)}}}".encode(), b"1234" * 4),
        "impossible": tensor_file(f"{{{entry % (f'0,{(1 << 62) - 1}', 0)}}}".encode()),
        "impossible by parts": tensor_file(f"{{{entry % (f'{1 << 40},0,{1 << 40}', 0)}}}".encode()),
        "empty, and possible": tensor_file(f"{{{entry % (f'0,{1 << 40}', 0)}}}".encode()),
        "impossible padding": tensor_file(f"{{{entry % (f'0,{1 << 61}', 0)}}}".replace("x", "padding.x").encode()),
        "metadata of any kind": tensor_file(b'{"__metadata__":7}'),
    }
    for dtype, name in files._NAMES.items():
        contents[name] = tensor_file(
            {"x": {"dtype": name, "shape": [2], "data_offsets": [0, 2 * dtype.itemsize]}}, bytes(2 * dtype.itemsize)
        )
    paths = []
    for i, content in enumerate(contents.values()):
        paths.append(tmp_path / f"{i}.safetensors")
        paths[-1].write_bytes(content)
    accepted = 0
    for name, path, ours in zip(contents, paths, asked(programs, "--tensors", paths), strict=True):
        try:
            tensors = files.read_tensors(path)
        except FormatError:
            assert ours.startswith("refused "), f"{name}: {ours}"
            continue
        shapes = ["".join(f"{n}," for n in array.shape) for array in tensors.values()]
        types = [files._NAMES[array.dtype] for array in tensors.values()]
        assert ours == "ok" + "".join(f" {dtype}({shape})" for dtype, shape in zip(types, shapes, strict=True)), name
        accepted += 1
    assert accepted == 6 + len(files._NAMES)


def test_the_core_refuses_bad_files(programs, parts, tmp_path):
    good = written(*parts(), tmp_path)
    header = good[1][8 : 8 + int.from_bytes(good[1][:8], "little")]

    def models():
        for encoding in ("utf-16", "utf-8-sig"):
            yield encoding, good[0].decode().encode(encoding), good[1]
        for text in (b"", b"[]", b"null", b"{}", b"{", good[0] + b" ", good[0] + b"{}", b"[" * 200_000):
            yield text[:10], text, good[1]
        for layers in (
            b"01",
            b"1.0",
            b"-0",
            b"1e0",
            b"1" + b"0" * 5000,
            b"Infinity",
            b'1, "layers": 1',
            b'1, "\\u006cayers": 1',
        ):
            yield layers[:20], good[0].replace(b'"layers": 1', b'"layers": ' + layers), good[1]
        for more in (
            b"[NaN]",
            b'"\\ud800"',
            b'"\x01"',
            b'"\xff"',
            b"[" * 400 + b"]" * 400,
            b"9" * 4300,
            b"9" * 4301,
            b"1e999",
        ):
            yield more[:20], good[0].replace(b'"layers": 1', b'"layers": 1, "more": ' + more), good[1]
        config, tensors = parts(row_type="float32", depth=1)
        config |= {"pooling": "attentive", "rows": config["rows"] | {"width": 1}}
        tensors |= {"bias": np.zeros(0, np.float32), "layers.0.weight": np.zeros((0, 3), np.float32)}
        yield "attentive without a column", *written(config, tensors, tmp_path)
        for blanks in range(9):  # after the header, so that arrays begin anywhere
            yield blanks, good[0], tensor_file(header.rstrip() + b" " * blanks, good[1][8 + len(header) :])

    accepted = compare(programs, tmp_path, models())
    assert accepted.count(False) > 20
    assert accepted[-9:] == [True] * 9


@pytest.mark.parametrize("target", [0, 1], ids=["config", "header"])
def test_the_core_and_python_agree_on_odd_values(target, programs, parts, tmp_path):
    def models():
        for shape in (
            {},
            {"task": "multi", "row_type": "float32", "depth": 0},
            {"row_type": "slots", "depth": 0},
            NAMED,
            {"calibrated": True},
        ):
            pieces = written(*parts(**shape), tmp_path)
            size = int.from_bytes(pieces[1][:8], "little")
            value = json.loads(pieces[1][8 : 8 + size] if target else pieces[0])
            for path in places(value):
                for odd in ODD:
                    piece = json.dumps(changed(value, path, odd)).encode()
                    piece = tensor_file(piece, pieces[1][8 + size :]) if target else piece
                    yield (path, odd), *((pieces[0], piece) if target else (piece, pieces[1]))

    accepted = compare(programs, tmp_path, models())
    assert len(accepted) > 1000
    assert 0 < accepted.count(True) < accepted.count(False)


def test_the_core_and_python_agree_on_flipped_bytes(programs, parts, tmp_path):
    generator = random.Random(0)

    def models():
        for task, row_type, depth in (("single", "int8", 1), ("multi", "slots", 0), ("regression", "float32", 2)):
            saved = tmp_path / f"{task} saved"
            Classifier(*parts(task, row_type, depth, 1 if task == "regression" else 3)).save(saved)
            for i in range(400):
                pieces = [bytearray(piece) for piece in contents(saved).values()]
                piece = pieces[i % 2]
                end = 8 + int.from_bytes(piece[:8], "little") if i % 4 == 1 else len(piece)
                for _ in range(generator.randint(1, 3)):
                    piece[generator.randrange(end)] ^= generator.randint(1, 255)
                yield i, *map(bytes, pieces)

    accepted = compare(programs, tmp_path, models())
    assert accepted.count(True) > 100 < accepted.count(False)
