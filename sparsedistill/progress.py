"""A progress bar: rate and time left on a terminal, silence anywhere else."""

from __future__ import annotations

import contextlib
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator

_REDRAW_SECONDS = 0.1
_QUIET_SECONDS = 2.0  # shorter work shows nothing
silent = False  # in a process that another speaks for


class Progress:
    """Counts finished units of long work and draws one line on stderr.

    ``total`` is the number of units, or None when it is not known. ``done`` is what an earlier,
    interrupted run has already finished: it counts towards the total but not towards the rate.
    """

    def __init__(self, what: str, total: int | None = None, unit: str = "texts", done: int = 0):
        self.what, self.total, self.unit = what, total, unit
        self.done, self._before = done, done
        self._start = self._drawn = time.monotonic()
        self._note = ""
        self._visible = sys.stderr.isatty() and not silent
        self._width = 0

    def __enter__(self) -> Progress:
        return self

    def __exit__(self, *_) -> None:
        if self._width:
            self._draw(time.monotonic())
            sys.stderr.write("\n")

    def add(self, units: int = 1, note: str = "") -> None:
        """Count ``units`` more as finished; ``note`` (a loss, say) stands at the end of the line."""
        self.done += units
        self._note = note or self._note
        now = time.monotonic()
        if self._visible and now - self._drawn >= _REDRAW_SECONDS and now - self._start >= _QUIET_SECONDS:
            self._draw(now)

    @property
    def seconds(self) -> float:
        """Seconds since the start."""
        return time.monotonic() - self._start

    def _draw(self, now: float) -> None:
        rate = (self.done - self._before) / max(now - self._start, 1e-9)
        if self.total:
            share = min(self.done / self.total, 1.0)
            bar = ("#" * round(20 * share)).ljust(20, ".")
            left = clock((self.total - self.done) / rate) if rate > 0 else "?"
            line = f"{self.what} [{bar}] {share:4.0%} {self.done:,}/{self.total:,} {self.unit}"
            line += f", {_per_second(rate)}, {left} left"
        else:
            line = f"{self.what} {self.done:,} {self.unit}, {_per_second(rate)}, {clock(now - self._start)}"
        if self._note:
            line += f", {self._note}"
        sys.stderr.write("\r" + line.ljust(self._width))
        sys.stderr.flush()
        self._width, self._drawn = len(line), now


def clock(seconds: float) -> str:
    """``75`` -> ``"1:15"``, ``4000`` -> ``"1:06:40"``."""
    minutes, rest = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"


def say(message: str) -> None:
    """One line for the person at the terminal, on stderr."""
    if not silent:
        sys.stderr.write(message + "\n")
        sys.stderr.flush()


@contextlib.contextmanager
def deferred_interrupt() -> Iterator[Callable[[], bool]]:
    """Hold Ctrl-C back until the work asks for it: yields a function that says whether it came.

    So a step of training or a shard is never cut in half. A second Ctrl-C interrupts at once; if the block ends before
    the work has asked, the interrupt is raised then. Does nothing outside the main thread, where no signal arrives.
    """
    if threading.current_thread() is not threading.main_thread():
        yield lambda: False
        return
    came = False

    def remember(*_) -> None:
        nonlocal came
        if came:
            raise KeyboardInterrupt
        came = True

    before = signal.signal(signal.SIGINT, remember)
    try:
        yield lambda: came
    finally:
        signal.signal(signal.SIGINT, before)
    if came:
        raise KeyboardInterrupt


def _per_second(rate: float) -> str:
    return f"{rate:,.0f}/s" if rate >= 10 else f"{rate:.2f}/s"
