"""Progress of long work on stderr: a bar on a terminal, a line every half minute anywhere else."""

from __future__ import annotations

import contextlib
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator

_REDRAW_SECONDS = 0.1
_QUIET_SECONDS = 2.0  # shorter work draws no bar
_LINE_SECONDS = 30.0  # between lines, where stderr is no terminal; shorter work prints none
silent = False  # in a process that another speaks for


class Progress:
    """Counts finished units of long work and shows them on stderr: on a terminal as a bar, else as a line every 30
    seconds, which a thread prints so that one long unit shows life too.

    ``total`` is the number of units, or None when it is not known. ``done`` is what an earlier, interrupted run has
    already finished: it counts towards the total but not towards the rate. Of works inside one another the innermost is
    shown.
    """

    def __init__(self, what: str, total: int | None = None, unit: str = "texts", done: int = 0):
        self.what, self.total, self.unit = what, total, unit
        self.done, self._before = done, done
        self._start = self._drawn = time.monotonic()
        self._note = ""
        self._terminal = sys.stderr.isatty()
        self._width = 0

    def __enter__(self) -> Progress:
        _ticker.enter(self)
        return self

    def __exit__(self, *_) -> None:
        _ticker.leave(self)
        if self._width:
            self._draw(time.monotonic())
            sys.stderr.write("\n")

    def add(self, units: int = 1, note: str = "") -> None:
        """Count ``units`` more as finished; ``note`` (a loss, say) stands at the end of the line."""
        self.done += units
        self._note = note or self._note
        if not self._terminal or silent or not _ticker.shows(self):
            return
        now = time.monotonic()
        if now - self._drawn >= _REDRAW_SECONDS and now - self._start >= _QUIET_SECONDS:
            self._draw(now)

    @property
    def seconds(self) -> float:
        """Seconds since the start."""
        return time.monotonic() - self._start

    def line(self, now: float) -> str:
        """Share, rate and time left, for a log."""
        if not self.done and not self.total:
            return f"{self.what}: {clock(now - self._start)} so far"
        line = f"{self.what}: {self.done:,} {self.unit}, {self._pace(now)}"
        if self.total:
            line = f"{self.what}: {min(self.done / self.total, 1.0):.0%} ({self.done:,} of {self.total:,} {self.unit})"
            line += f", {self._pace(now)}"
        return line + f", {self._note}" * bool(self._note)

    def _pace(self, now: float) -> str:
        """Rate, and time left or taken."""
        rate = (self.done - self._before) / max(now - self._start, 1e-9)
        if not self.total:
            return f"{_per_second(rate)}, {clock(now - self._start)}"
        return f"{_per_second(rate)}, {clock((self.total - self.done) / rate) if rate > 0 else '?'} left"

    def _draw(self, now: float) -> None:
        if self.total:
            share = min(self.done / self.total, 1.0)
            bar = ("#" * round(20 * share)).ljust(20, ".")
            line = f"{self.what} [{bar}] {share:4.0%} {self.done:,}/{self.total:,} {self.unit}, {self._pace(now)}"
        else:
            line = f"{self.what} {self.done:,} {self.unit}, {self._pace(now)}"
        if self._note:
            line += f", {self._note}"
        sys.stderr.write("\r" + line.ljust(self._width))
        sys.stderr.flush()
        self._width, self._drawn = len(line), now


class _Ticker:
    """The works that go on, innermost last, and the thread that prints a line of them now and then."""

    def __init__(self) -> None:
        self._works: list[Progress] = []
        self._stop = threading.Event()
        self._due = 0.0

    def enter(self, work: Progress) -> None:
        self._works.append(work)
        if len(self._works) == 1:
            self._due, self._stop = time.monotonic() + _LINE_SECONDS, threading.Event()
            if not work._terminal:
                threading.Thread(target=self._run, args=(self._stop,), daemon=True).start()

    def leave(self, work: Progress) -> None:
        self._works.remove(work)
        if not self._works:
            self._stop.set()

    def shows(self, work: Progress) -> bool:
        return self._works[-1:] == [work]

    def tick(self, now: float) -> None:
        """Print a line, where one is due."""
        innermost = self._works[-1:]
        if innermost and now >= self._due:
            self._due = now + _LINE_SECONDS
            say(innermost[0].line(now))

    def _run(self, stop: threading.Event) -> None:
        while not stop.wait(max(0.1, self._due - time.monotonic())):
            with contextlib.suppress(OSError, ValueError):  # stderr was closed
                self.tick(time.monotonic())


_ticker = _Ticker()


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
