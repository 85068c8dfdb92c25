"""Files: tensors in the safetensors layout, JSON, and writing either so that no half file looks whole."""

from __future__ import annotations

import contextlib
import hashlib
import json
import math
import os
import shutil
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from . import _core
from .errors import FormatError

ALIGNMENT = 64  # bytes: a cache line
_MAX_HEADER, _MAX_JSON = 16 << 20, 64 << 20  # bytes
_DTYPES = {
    "U8": np.uint8,
    "I8": np.int8,
    "I16": np.int16,
    "U32": np.uint32,
    "I64": np.int64,
    "U64": np.uint64,
    "F16": np.float16,
    "BF16": np.uint16,  # numpy has none: its bits
    "F32": np.float32,
}
_NAMES = {np.dtype(dtype): name for name, dtype in _DTYPES.items()}


@contextlib.contextmanager
def replacing(path: str | os.PathLike[str]) -> Iterator[Path]:
    """Yield a temporary name beside ``path``; on success it becomes ``path``, on any error it is removed.

    The file is on the disk before it gets its name, so that it is whole under that name also when the power goes.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        yield temporary
        with open(temporary, "rb+") as file:
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


@contextlib.contextmanager
def replacing_directory(path: str | os.PathLike[str]) -> Iterator[Path]:
    """The same for a directory: yield an empty one that takes the place of ``path`` when all is written."""
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    shutil.rmtree(temporary, ignore_errors=True)
    temporary.mkdir()
    try:
        yield temporary
        if path.exists():
            old = path.with_name(f".{path.name}.{os.getpid()}.old")
            shutil.rmtree(old, ignore_errors=True)
            os.rename(path, old)  # a directory cannot be replaced in one step
            try:
                os.rename(temporary, path)
            except OSError:
                os.rename(old, path)
                raise
            shutil.rmtree(old)
        else:
            os.rename(temporary, path)
    except BaseException:
        shutil.rmtree(temporary, ignore_errors=True)
        raise


def copy_directory(source: Path, target: str | os.PathLike[str]) -> None:
    """Put the files of a directory in another place, whole or not at all."""
    with replacing_directory(target) as temporary:
        for file in source.iterdir():
            shutil.copyfile(file, temporary / file.name)


def directory_size(directory: Path) -> int:
    """Bytes of the files of a directory."""
    return sum(path.stat().st_size for path in directory.iterdir() if path.is_file())


def write_json(path: str | os.PathLike[str], value: Any) -> None:
    """Write ``value`` as indented JSON, whole or not at all."""
    with replacing(path) as temporary:
        temporary.write_text(json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False) + "\n", encoding="utf-8")


def read_json(path: str | os.PathLike[str]) -> dict[str, Any]:
    """Read a JSON object of 64 MiB at most.

    Errors: :class:`FormatError` when it is none; OSError when there is no file.
    """
    content = read_start(path, _MAX_JSON + 1)
    if len(content) > _MAX_JSON:
        raise FormatError(f"{path} is longer than {_MAX_JSON >> 20} MiB: it is not one of ours")
    return _json_object(content, str(path))


def read_start(path: str | os.PathLike[str], size: int) -> bytes:
    """The first ``size`` bytes of a file, however long it is. Errors: OSError when there is none."""
    with open(path, "rb") as file:
        return file.read(size)


def _json_object(content: bytes, what: str) -> dict[str, Any]:
    """A JSON object: UTF-8, each name once, no NaN (RFC 8259). Errors: :class:`FormatError` beginning with ``what``."""

    def once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        values = dict(pairs)
        if len(values) < len(pairs):
            names = [name for name, _ in pairs]
            raise ValueError(f"{next(n for n in names if names.count(n) > 1)!r} is there twice")
        return values

    def refuse(name: str) -> None:
        raise ValueError(f"{name} is no number")

    try:
        value = json.loads(content.decode("utf-8"), object_pairs_hook=once, parse_constant=refuse)
    except (ValueError, RecursionError) as error:
        raise FormatError(f"{what} is not JSON: {error}") from None
    if not isinstance(value, dict):
        raise FormatError(f"{what} does not hold a JSON object")
    return value


class Pieces:
    """An array that is whole in a file alone: it is written and read some rows at a time."""

    @property
    def dtype(self) -> np.dtype:
        """Type of a number."""
        raise NotImplementedError

    @property
    def shape(self) -> tuple[int, ...]:
        """Of the whole array, which has at least one dimension."""
        raise NotImplementedError

    def get(self, rows: slice) -> np.ndarray:
        """Some of its rows."""
        raise NotImplementedError

    def put(self, rows: slice, values: np.ndarray) -> None:
        """Set some of its rows."""
        raise NotImplementedError

    @property
    def size(self) -> int:
        """How many numbers it has."""
        return math.prod(self.shape)

    @property
    def nbytes(self) -> int:
        """Its bytes."""
        return self.size * self.dtype.itemsize

    def slices(self) -> Iterator[slice]:
        """All rows, by some megabytes at a time."""
        rows, row = self.shape[0], math.prod(self.shape[1:]) * self.dtype.itemsize
        at_once = max(1, (1 << 24) // max(row, 1))
        return (slice(begin, min(begin + at_once, rows)) for begin in range(0, rows, at_once))

    def pieces(self) -> Iterator[np.ndarray]:
        """The whole array, some rows at a time."""
        return (self.get(rows) for rows in self.slices())


@dataclass(frozen=True)
class Columns(Pieces):
    """Columns ``first`` on of a table (V, ``width``) that is in memory by parts and in a file as a whole.

    ``whole`` makes all columns of some rows from these.
    """

    array: np.ndarray
    first: int
    width: int
    whole: Callable[[np.ndarray], np.ndarray]

    @property
    def dtype(self) -> np.dtype:
        """Type of a number."""
        return self.array.dtype

    @property
    def shape(self) -> tuple[int, ...]:
        """Of the whole table."""
        return len(self.array), self.width

    def get(self, rows: slice) -> np.ndarray:
        """All columns of some rows."""
        return self.whole(self.array[rows])

    def put(self, rows: slice, values: np.ndarray) -> None:
        """Set some rows, given with all their columns."""
        self.array[rows] = values[:, self.first : self.first + self.array.shape[1]]


def write_tensors(
    path: str | os.PathLike[str], tensors: Mapping[str, np.ndarray | Pieces], metadata: Mapping[str, str] | None = None
) -> None:
    """Write arrays in the safetensors layout, each at a multiple of 64 bytes, in the order given.

    Errors: ValueError for a name or type that the layout does not have.
    """
    header: dict[str, Any] = {"__metadata__": dict(metadata)} if metadata else {}
    pieces: list[np.ndarray | Pieces] = []
    position = 0

    def add(name: str, array: np.ndarray | Pieces) -> None:
        nonlocal position
        header[name] = {
            "dtype": _NAMES[array.dtype],
            "shape": list(array.shape),
            "data_offsets": [position, position + array.nbytes],
        }
        pieces.append(array)
        position += array.nbytes

    for name, array in tensors.items():
        if name.startswith("padding.") or name == "__metadata__" or array.dtype not in _NAMES:
            raise ValueError(f"no tensor can have the name {name!r} and the type {array.dtype}")
        # The layout allows no holes, so a gap is a tensor of its own.
        if gap := -position % ALIGNMENT:
            add(f"padding.{len(pieces)}", np.zeros(gap, np.uint8))
        add(name, array if isinstance(array, Pieces) else np.ascontiguousarray(array))
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-(8 + len(text)) % ALIGNMENT)
    with replacing(path) as temporary, open(temporary, "wb") as file:
        file.write(len(text).to_bytes(8, "little") + text)
        for piece in pieces:
            for part in piece.pieces() if isinstance(piece, Pieces) else (piece,):
                file.write(part.data if part.nbytes else b"")


def read_tensors(path: str | os.PathLike[str], copy: bool = False) -> dict[str, np.ndarray]:
    """Map a file in the safetensors layout; nothing is copied, the arrays are read-only views of the file.

    With ``copy`` they are views of one copy in memory, in huge pages where the system gives them.

    Errors: :class:`FormatError` naming what is wrong with the file; OSError when there is none.
    """
    path = Path(path)
    layout = _read_layout(path)
    data: np.ndarray | None = None
    if any(math.prod(shape) for _, _, shape in layout.values()):
        data = _copied(path) if copy else np.memmap(path, np.uint8, "r")
    tensors = {}
    for name, (begin, dtype, shape) in layout.items():
        end = begin + math.prod(shape) * dtype.itemsize
        piece = data[begin:end] if data is not None and end > begin else np.zeros(0, np.uint8)
        # Another writer may not align; numpy and the core need it, so such a tensor alone is copied.
        if begin % dtype.itemsize:
            piece = piece.copy()
        try:
            tensors[name] = np.asarray(piece).view(dtype).reshape(shape)
        except ValueError as error:  # empty, yet of a length that no array can have
            raise FormatError(f"{path}: tensor {name!r} has an impossible shape: {error}") from None
    return tensors


def read_into(path: str | os.PathLike[str], arrays: Mapping[str, np.ndarray | Pieces]) -> None:
    """Read tensors of a file into contiguous arrays of their types and shapes, or piece by piece.

    Not through a map: its pages would count as memory of this process, the size of a table once more.
    Errors: as :func:`read_tensors`, and for a tensor that is missing or of another type or shape.
    """
    path = Path(path)
    layout = _read_layout(path)
    with open(path, "rb", buffering=0) as file:
        for name, array in arrays.items():
            if name not in layout:
                raise FormatError(f"{path}: tensor {name!r} is missing")
            begin, dtype, shape = layout[name]
            if (dtype, shape) != (array.dtype, array.shape):
                raise FormatError(
                    f"{path}: tensor {name!r} is {dtype} {shape}, where {array.dtype} {array.shape} is wanted"
                )
            file.seek(begin)
            if isinstance(array, np.ndarray):
                _fill(file, array, path)
                continue
            for rows in array.slices():
                values = np.empty((rows.stop - rows.start, *shape[1:]), dtype)
                _fill(file, values, path)
                array.put(rows, values)


def _copied(path: Path) -> np.ndarray:
    with open(path, "rb", buffering=0) as file:
        data = _core.large_bytes(os.fstat(file.fileno()).st_size)
        _fill(file, data, path)
    data.flags.writeable = False
    return data


def _fill(file: Any, array: np.ndarray, path: Path) -> None:
    into = array.reshape(-1).view(np.uint8).data
    while into:
        count = file.readinto(into[: 1 << 30])
        if not count:
            raise FormatError(f"{path} was cut short while it was read")
        into = into[count:]


def _read_layout(path: Path) -> dict[str, tuple[int, np.dtype, tuple[int, ...]]]:
    """{name: (where it begins in the file, type, shape)}, in the order of the file, all checked."""
    size = path.stat().st_size
    header, start = _read_header(path, size)
    header.pop("__metadata__", None)
    layout = {}
    covered = 0
    for name, begin, end, dtype, shape in sorted((_entry(path, n, e) for n, e in header.items()), key=lambda e: e[1:3]):
        if begin != covered or start + end > size:
            raise FormatError(f"{path}: tensor {name!r} lies outside the file, or is not next to the one before it")
        covered = end
        if end - begin != math.prod(shape) * dtype.itemsize:
            raise FormatError(f"{path}: tensor {name!r} has {end - begin} bytes, not those of {dtype} {shape}")
        if not name.startswith("padding."):
            layout[name] = start + begin, dtype, shape
    if start + covered != size:
        raise FormatError(f"{path} is {size} bytes long, its tensors end at {start + covered}")
    return layout


def read_metadata(path: str | os.PathLike[str]) -> dict[str, str]:
    """The metadata that :func:`write_tensors` put into a file. Errors: as :func:`read_tensors`."""
    header, _ = _read_header(Path(path), Path(path).stat().st_size)
    metadata = header.get("__metadata__", {})
    if not isinstance(metadata, dict):
        raise FormatError(f"{path}: __metadata__ is not a JSON object")
    return metadata


def _read_header(path: Path, size: int) -> tuple[dict[str, Any], int]:
    """The header, and where the data begins."""
    if size < 8:
        raise FormatError(f"{path} is cut short: {size} bytes")
    with open(path, "rb") as file:
        header_size = int.from_bytes(file.read(8), "little")
        if not 2 <= header_size <= min(_MAX_HEADER, size - 8):
            raise FormatError(f"{path} is not a safetensors file: its header would be {header_size} bytes long")
        return _json_object(file.read(header_size), f"{path}: the header"), 8 + header_size


def _entry(path: Path, name: str, entry: Any) -> tuple[str, int, int, np.dtype, tuple[int, ...]]:
    def whole(value: Any) -> bool:
        return isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 1 << 62

    if not isinstance(entry, dict) or set(entry) != {"dtype", "shape", "data_offsets"}:
        raise FormatError(f"{path}: tensor {name!r} is not described by dtype, shape and data_offsets")
    dtype, shape, offsets = entry["dtype"], entry["shape"], entry["data_offsets"]
    if not isinstance(dtype, str) or dtype not in _DTYPES:
        raise FormatError(f"{path}: tensor {name!r} is of type {dtype!r}, not one of {', '.join(_DTYPES)}")
    if not isinstance(shape, list) or len(shape) > 8 or not all(whole(n) for n in shape):
        raise FormatError(f"{path}: tensor {name!r} has no valid shape")
    if not isinstance(offsets, list) or len(offsets) != 2 or not all(map(whole, offsets)) or offsets[0] > offsets[1]:
        raise FormatError(f"{path}: tensor {name!r} has no valid data_offsets")
    return name, offsets[0], offsets[1], np.dtype(_DTYPES[dtype]), tuple(shape)


def tensor(
    tensors: Mapping[str, np.ndarray], name: str, dtypes: tuple[type, ...], shape: tuple[int | None, ...], path: Any
) -> np.ndarray:
    """The named array, checked: one of ``dtypes``, and ``shape`` where that is not None.

    Errors: :class:`FormatError` naming file and tensor.
    """
    if name not in tensors:
        raise FormatError(f"{path}: tensor {name!r} is missing")
    array = tensors[name]
    if array.dtype not in dtypes:
        raise FormatError(f"{path}: tensor {name!r} is {array.dtype}, not {' or '.join(d.__name__ for d in dtypes)}")
    if len(shape) != array.ndim or any(want not in (None, have) for want, have in zip(shape, array.shape, strict=True)):
        raise FormatError(f"{path}: tensor {name!r} has the shape {array.shape}, not {shape}")
    return array


def file_fingerprint(path: str | os.PathLike[str]) -> str:
    """16 bytes of BLAKE2b of a file's content, in hex."""
    state = hashlib.blake2b(digest_size=16)
    with open(path, "rb") as file:
        while block := file.read(1 << 22):
            state.update(block)
    return state.hexdigest()


def digest(*arrays: np.ndarray) -> int:
    """A number below 2^64 of the arrays' contents."""
    state = hashlib.blake2b(digest_size=8)
    for array in arrays:
        state.update(np.ascontiguousarray(array).data)
    return int.from_bytes(state.digest(), "little")
