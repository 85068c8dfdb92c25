"""Messages, through the logger ``sparsedistill``, and progress of long work.

Progress is a bar of tqdm in a terminal or a notebook, a line every half minute anywhere else. Messages go to stderr,
bare, unless the application has given the root logger handlers of its own: then those print them.
``logging.getLogger("sparsedistill").setLevel(logging.WARNING)`` silences all but warnings, bars too.
"""

from __future__ import annotations

import contextlib
import functools
import logging
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

_REDRAW_SECONDS = 0.1
_QUIET_SECONDS = 2.0  # shorter work draws no bar
_LINE_SECONDS = 30.0  # between lines, where there is no bar; shorter work prints none
_BAR = "{desc} {percentage:3.0f}%|{bar}| {n_fmt}/{total_fmt}{unit}{postfix}"
_COUNT = "{desc}: {n_fmt}{unit}{postfix}"  # of what has no known end
silent = False  # in a process that another speaks for
logger = logging.getLogger("sparsedistill")


class _Stderr(logging.Handler):
    """Prints the bare message above the bar that is drawn, if one is; warnings begin with the word."""

    def emit(self, record: logging.LogRecord) -> None:
        if logger.propagate and logging.getLogger().handlers:
            return
        prefix = "" if record.levelno < logging.WARNING else f"{record.levelname.lower()}: "
        try:
            with _ticker.aside():
                sys.stderr.write(f"{prefix}{record.getMessage()}\n")
                sys.stderr.flush()
        except (OSError, ValueError):  # closed, or nobody reads it
            self.handleError(record)


class Progress:
    """Counts finished units of long work and shows them: in a terminal or a notebook as a bar, where tqdm is installed,
    else as a line every 30 seconds, which a thread logs so that one long unit shows life too.

    ``total`` is the number of units, or None when it is not known. ``done`` is what an earlier, interrupted run has
    already finished: it counts towards the total but not towards the rate. Of works inside one another the innermost is
    shown.
    """

    def __init__(self, what: str, total: int | None = None, unit: str = "texts", done: int = 0):
        self.what, self.total, self.unit = what, total, unit
        self.done, self._before = done, done
        self._start = self._drawn = time.monotonic()
        self._note = ""
        self._draws = (sys.stderr.isatty() or _in_notebook()) and _bars() is not None
        self._bar: Any = None

    def __enter__(self) -> Progress:
        _ticker.enter(self)
        return self

    def __exit__(self, *_: object) -> None:
        _ticker.leave(self)
        if self._bar is not None:
            self._draw(time.monotonic())
            self._bar.close()

    def add(self, units: int = 1, note: str = "") -> None:
        """Count ``units`` more as finished; ``note`` (a loss, say) stands at the end of the line."""
        self.done += units
        self._note = note or self._note
        if not self._draws or silent or not _ticker.shows(self):
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
        bars = _bars()
        if not logger.isEnabledFor(logging.INFO) or bars is None:
            return
        if self._bar is None:
            self._bar = bars(
                desc=self.what,
                total=self.total,
                unit=f" {self.unit}",
                unit_scale=not self.total or self.total >= 100_000,
                initial=self._before,
                bar_format=_BAR if self.total else _COUNT,
                ncols=80 if _no_width() else None,
                dynamic_ncols=not _no_width(),
                delay=1e-6,  # the first picture is ours
            )
            self._bar.start_t -= _QUIET_SECONDS  # the delay is over
        self._bar.n, self._bar.postfix = self.done, self._pace(now) + f", {self._note}" * bool(self._note)
        self._bar.refresh()
        self._drawn = now

    def clear(self) -> None:
        """Take the bar off the screen until it is drawn again."""
        if self._bar is not None:
            self._bar.clear()


@functools.cache
def _bars() -> Any:
    """The class of tqdm for bars here, or None where it is not installed."""
    try:
        from tqdm.auto import tqdm
    except ModuleNotFoundError:
        return None
    return type("Bar", (tqdm,), {"monitor_interval": 0})  # no thread that redraws: we do


def _no_width() -> bool:
    """Whether the terminal says that it has no columns, as those without a window do: tqdm would draw nothing."""
    try:
        return os.get_terminal_size(sys.stderr.fileno()).columns == 0
    except (OSError, ValueError):  # no terminal
        return False


def _in_notebook() -> bool:
    """Whether this is the kernel of a notebook."""
    ipython = sys.modules.get("IPython")
    return ipython is not None and hasattr(ipython.get_ipython(), "kernel")


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
            if not work._draws:
                threading.Thread(target=self._run, args=(self._stop,), daemon=True).start()

    def leave(self, work: Progress) -> None:
        self._works.remove(work)
        if not self._works:
            self._stop.set()

    def shows(self, work: Progress) -> bool:
        return self._works[-1:] == [work]

    @contextlib.contextmanager
    def aside(self) -> Iterator[None]:
        """Room for a message: bars are taken off the screen before it, the innermost is back after it."""
        drawn = [work for work in self._works if work._bar is not None]
        for work in drawn:
            work.clear()
        yield
        for work in drawn[-1:]:
            work._bar.refresh()

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
logger.addHandler(_Stderr())
if logger.level == logging.NOTSET:
    logger.setLevel(logging.INFO)


def clock(seconds: float) -> str:
    """``75`` -> ``"1:15"``, ``4000`` -> ``"1:06:40"``."""
    minutes, rest = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"


def say(message: str) -> None:
    """Log a message for the person at the terminal; one that begins with ``warning:`` is a warning."""
    if not silent:
        text = message.removeprefix("warning: ")
        logger.log(logging.INFO if text == message else logging.WARNING, "%s", text)


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

    def remember(*_: object) -> None:
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
