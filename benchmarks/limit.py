"""How near `predict` comes to what memory alone allows (limit.cpp), on one thread."""

from __future__ import annotations

import ctypes
import platform
import subprocess
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from sparsedistill import Classifier

HERE = Path(__file__).parent
TOKENIZERS = ("sklearn", "words", "whitespace")


class Limit:
    """The reader's plan for one classifier and its texts. Calling it reads everything once."""

    def __init__(self, classifier: Classifier, texts: Sequence[str], out: Path):
        self._library = _compiled(out)
        encoded = [text.encode("utf-8", "surrogatepass") for text in texts]
        self._text = b"".join(encoded) + bytes(64)
        self._offsets = np.cumsum([0, *map(len, encoded)], dtype=np.uint64)
        config, tensors = classifier.config, classifier._tensors
        rule = config["text"]
        self._rows = tensors.get("rows")
        slots = tensors["slots"]
        self._keep = (slots, classifier)
        stride = self._rows.shape[1] * self._rows.itemsize if self._rows is not None else 0
        pointer = ctypes.c_void_p
        self._plan = pointer(
            self._library.limit_plan(
                self._text, pointer(self._offsets.ctypes.data), ctypes.c_size_t(len(texts)), pointer(slots.ctypes.data),
                ctypes.c_uint64(len(slots)), ctypes.c_uint32(0 if stride else config["rows"]["width"]),
                ctypes.c_uint32(config["rows"]["count"]), ctypes.c_uint64(rule["seed"]),
                TOKENIZERS.index(rule["tokenizer"]), int(rule["lowercase"]), int(rule["normalize"]),
                ctypes.c_uint(rule["max_n"]),
                pointer(self._rows.ctypes.data if self._rows is not None else None), ctypes.c_size_t(stride),
            )
        )  # fmt: skip
        self.rows_touched: int = self._library.limit_rows(self._plan)
        self.stride = stride

    def __call__(self, text: bool = True, table: bool = True, rows: bool = True) -> None:
        self._library.limit_read(self._plan, text, table, rows and self.stride > 0)

    def scattered(self) -> tuple[Callable[[], None], Callable[[], None]]:
        """(the reader, over random rows; a bare loop over as many): they should take about the same time.

        The plan is spoilt by this: make another for more.
        """
        assert self._rows is not None
        count = len(self._rows)
        self._library.limit_scatter(self._plan, ctypes.c_uint32(count))
        ids = np.random.default_rng(0).integers(0, count, self.rows_touched, dtype=np.uint32)
        address = ctypes.c_void_p(self._rows.ctypes.data)

        def bare() -> None:
            self._library.limit_gather(
                address, ctypes.c_size_t(self.stride), ctypes.c_void_p(ids.ctypes.data), ctypes.c_size_t(len(ids))
            )

        return lambda: self(text=False, table=False), bare

    def close(self) -> None:
        self._library.limit_close(self._plan)


def _compiled(out: Path) -> ctypes.CDLL:
    """The library, compiled for this processor with the core's sources. Errors: OSError where there is no compiler."""
    if platform.machine() != "x86_64":
        raise OSError("limit.cpp is written for x86-64 with AVX-512")
    out.mkdir(parents=True, exist_ok=True)
    core = HERE.parent / "core"
    flags = ["g++", "-std=c++20", "-O3", "-fPIC", "-ffp-contract=off", "-w"]
    objects = []
    avx2 = ["-mavx2", "-mbmi", "-mbmi2", "-mpopcnt"]
    avx512 = [*avx2, "-mavx512f", "-mavx512bw", "-mavx512dq", "-mavx512vl", "-mprefer-vector-width=512"]
    for name, sets in (("x86_64", []), ("avx2", avx2), ("avx512", avx512)):
        objects.append(out / f"{name}.o")
        define = f"-DSPARSEDISTILL_KERNELS={name}"
        subprocess.run([*flags, *sets, define, "-c", core / "kernels.cpp", "-o", objects[-1]], check=True)
    needed = "lookup", "tokenize", "reader", "unicode", "platform", "dispatch"
    sources = [HERE / "limit.cpp", *(core / f"{name}.cpp" for name in needed)]
    library = out / "limit.so"
    subprocess.run([*flags, "-march=native", "-shared", *sources, *objects, "-o", library], check=True)
    loaded = ctypes.CDLL(str(library))
    loaded.limit_plan.restype = ctypes.c_void_p
    loaded.limit_rows.restype = ctypes.c_size_t
    loaded.limit_read.restype = loaded.limit_gather.restype = ctypes.c_uint64
    return loaded
