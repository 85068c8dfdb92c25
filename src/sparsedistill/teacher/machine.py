"""How a transformer computes: precision, attention, memory."""

from __future__ import annotations

import contextlib
import ctypes
import math
import time
from collections.abc import Callable
from functools import lru_cache
from typing import Any

from ..errors import require
from ..machine import multiplies_bf16
from ..options import Teach
from ..progress import say


def torch_of(settings: Teach) -> Any:
    """torch, with the threads of the settings. Errors: :class:`MissingExtraError`."""
    torch = require("torch", "teacher")
    _keep_memory()
    if settings.threads > 0:
        torch.set_num_threads(settings.threads)
    return torch


@lru_cache(maxsize=1)
def _keep_memory() -> None:
    """Let the C library keep what a step has freed for the next one.

    It would give large blocks back to the system, which then clears every page anew: a quarter of a step's time.
    """
    with contextlib.suppress(OSError, AttributeError):  # another C library than glibc
        mallopt = ctypes.CDLL(None).mallopt
        mallopt(-3, 1 << 30)  # M_MMAP_THRESHOLD
        mallopt(-1, 1 << 30)  # M_TRIM_THRESHOLD
        mallopt(-2, 1 << 26)  # M_TOP_PAD


def give_memory_back() -> None:
    """Undo that now and then: batches of other lengths leave gaps, and over hours what is kept would grow on."""
    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL(None).malloc_trim(0)


def time_each(candidates: dict[str, Callable[[], Any]]) -> dict[str, float]:
    """Seconds each takes: the least of three, in turns, after one to warm up; a slow machine gets fewer turns."""
    took = dict.fromkeys(candidates, math.inf)
    for turn in range(4):
        if turn > 1 and sum(took.values()) > 1:
            break
        for name, once in candidates.items():
            started = time.perf_counter()
            once()
            if turn:
                took[name] = min(took[name], time.perf_counter() - started)
    return took


def possible_precision(torch: Any, device: Any, precision: str, what: str) -> str:
    """``precision``, with "auto" settled where the processor leaves no choice."""
    if precision == "fp32" or device.type != "cpu" or multiplies_bf16(torch):
        return precision
    if precision == "auto":
        say(f"{what}: the teacher runs in fp32 (this processor has no instructions for bf16)")
        return "fp32"
    say(f"{what}: this processor has no instructions for bf16, fp32 would be many times faster: --precision fp32")
    return precision


def timing_message(what: str, took: dict[str, float], best: str, of: str) -> str:
    """What is logged of the precision that was chosen by time."""
    times = ", ".join(f"{name} {1000 * seconds:.0f} ms" for name, seconds in took.items())
    return f"{what}: the teacher runs in {best} ({of} of one batch: {times})"


def autocast(torch: Any, device: Any, precision: str, wanted: bool = True) -> Any:
    """A context that computes in bf16 where that is the precision (and ``wanted``)."""
    if precision == "bf16" and wanted:
        return torch.autocast(device.type, torch.bfloat16)
    return contextlib.nullcontext()


def attention_of(device: Any, precision: str) -> Any:
    """A context with the attention that is fastest there: our own on a CPU in bf16."""
    if device.type != "cpu" or precision != "bf16":
        return contextlib.nullcontext()
    from .attention import PlainAttention

    return PlainAttention()
