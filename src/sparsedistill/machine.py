"""What this process may use: threads and memory."""

from __future__ import annotations

import math
import os
import re
import sys
from functools import lru_cache
from pathlib import Path
from typing import Any

from .errors import SettingsError


def asked_threads(threads: int) -> int:
    """``threads``, or what this process is granted for 0. Errors: ValueError below 0."""
    if threads < 0:
        raise ValueError(f"threads is {threads}: give 0 for all, or a number")
    return threads or default_threads()


@lru_cache(maxsize=1)
def default_threads() -> int:
    """Processors this process may run on, less where a container's quota (cgroup v2) grants fewer; at least 1."""
    if sys.platform == "linux":
        processors = len(os.sched_getaffinity(0))
    else:
        processors = os.cpu_count() or 1
    try:
        quota, period = Path("/sys/fs/cgroup/cpu.max").read_text().split()
        processors = min(processors, math.ceil(int(quota) / int(period)))
    except (OSError, ValueError):  # no cgroup, or its quota is "max"
        pass
    return max(processors, 1)


def device_named(torch: Any, name: str) -> Any:
    """A torch device; auto is a GPU when there is one.

    Errors: :class:`SettingsError` for a name that is none, or a GPU that is not there.
    """
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
    except RuntimeError:
        raise SettingsError(f"device is {name!r}, it should be auto, cpu, cuda or cuda:1") from None
    if device.type == "cuda" and (device.index or 0) >= torch.cuda.device_count():
        raise SettingsError(f"device is {name} but this machine has {torch.cuda.device_count()} GPUs, use auto or cpu")
    return device


@lru_cache(maxsize=1)
def multiplies_bf16(torch: Any) -> bool:
    """Whether this processor multiplies bfloat16 matrices by instructions of its own, and torch uses them.

    Without them a step in bf16 takes many times as long as one in fp32, so that it is not even worth timing. True where
    nobody can tell.
    """
    supported = getattr(torch.ops.mkldnn, "_is_mkldnn_bf16_supported", None)  # not in every version of torch
    if supported is not None and not supported():
        return False
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:  # not on Linux
        return True
    flags = {flag for line in lines if line.lower().startswith(("flags", "features")) for flag in line.split()}
    return not flags or bool(flags & {"avx512_bf16", "amx_bf16", "bf16"})  # x86 twice, Arm


def free_memory() -> int | None:
    """Bytes that this process can still take without swapping, also under a container's limit; None if not known."""
    free = []
    try:
        lines = Path("/proc/meminfo").read_text().splitlines()
        free.append(next(int(line.split()[1]) * 1024 for line in lines if line.startswith("MemAvailable:")))
    except (OSError, StopIteration):
        pass
    try:
        most, used = (int(Path(f"/sys/fs/cgroup/memory.{name}").read_text()) for name in ("max", "current"))
        # What is cached of files counts as used, but is given up when it is wanted.
        cached = re.search(r"^file (\d+)", Path("/sys/fs/cgroup/memory.stat").read_text(), re.M)
        free.append(most - used + (int(cached[1]) if cached else 0))
    except (OSError, ValueError):  # no cgroup, or its limit is "max"
        pass
    return min(free, default=None)
