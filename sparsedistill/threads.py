"""How many threads this process may keep busy."""

from __future__ import annotations

import math
import os
from functools import lru_cache
from pathlib import Path


def asked_threads(threads: int) -> int:
    """``threads``, or what this process is granted for 0. Errors: ValueError below 0."""
    if threads < 0:
        raise ValueError(f"threads is {threads}: give 0 for all, or a number")
    return threads or default_threads()


@lru_cache(maxsize=1)
def default_threads() -> int:
    """Processors this process may run on, less where a container's quota (cgroup v2) grants fewer; at least 1."""
    try:
        processors = len(os.sched_getaffinity(0))
    except AttributeError:  # not on Linux
        processors = os.cpu_count() or 1
    try:
        quota, period = Path("/sys/fs/cgroup/cpu.max").read_text().split()
        processors = min(processors, math.ceil(int(quota) / int(period)))
    except (OSError, ValueError):  # no cgroup, or its quota is "max"
        pass
    return max(processors, 1)
