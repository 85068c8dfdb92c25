"""Where stderr is no terminal, long work prints a line every half minute; time is a fake clock's."""

from __future__ import annotations

import io
import sys
import time
from types import SimpleNamespace

import pytest

from sparsedistill import progress
from sparsedistill.progress import Progress
from sparsedistill.run import Run
from sparsedistill.settings import Settings


@pytest.fixture
def clock(monkeypatch):
    """Moves time on, as the thread sees it every second."""
    now = [1000.0]
    monkeypatch.setattr(progress, "time", SimpleNamespace(monotonic=lambda: now[0]))
    monkeypatch.setattr(progress, "silent", False)

    def pass_by(seconds: int) -> None:
        for _ in range(seconds):
            now[0] += 1
            progress._ticker.tick(now[0])

    return pass_by


class Terminal(io.StringIO):
    def isatty(self):
        return True


def test_a_line_every_half_minute_with_share_rate_and_time_left(clock, capsys):
    with Progress("label corpus", 10_000, done=1000) as bar:
        for _ in range(75):
            bar.add(20, note="loss 0.5")
            clock(1)
    shown = capsys.readouterr()
    assert shown.out == ""
    # 1,000 of an earlier run count towards the share, not towards the rate
    assert shown.err.splitlines() == [
        "label corpus: 16% (1,600 of 10,000 texts), 20/s, 7:00 left, loss 0.5",
        "label corpus: 22% (2,200 of 10,000 texts), 20/s, 6:30 left, loss 0.5",
    ]


def test_no_line_for_short_work(clock, capsys):
    for _ in range(5):
        with Progress("count", 100) as bar:
            clock(29)
            bar.add(100)
    clock(100)
    assert capsys.readouterr().err == ""


def test_one_long_unit_and_work_without_units_show_life(clock, capsys):
    with Progress("teach", 10) as bar:
        clock(65)
        bar.add(1)
        clock(30)
    with Progress("compress kd"):
        clock(30)
    with Progress("read train") as bar:
        bar.add(600)
        clock(60)
    assert capsys.readouterr().err.splitlines() == [
        "teach: 0% (0 of 10 texts), 0.00/s, ? left",
        "teach: 0% (0 of 10 texts), 0.00/s, ? left",
        "teach: 10% (1 of 10 texts), 0.01/s, 13:30 left",
        "compress kd: 0:30 so far",
        "read train: 600 texts, 20/s, 0:30",
        "read train: 600 texts, 10/s, 1:00",
    ]


def test_of_works_inside_one_another_the_innermost_is_shown(clock, capsys):
    with Progress("evaluate"):
        for part in ("dev", "test", "corpus"):
            with Progress(f"label {part}", 100) as bar:
                bar.add(10)
                clock(20)  # each is shorter than half a minute, all are not
        clock(10)
        clock(20)
    assert capsys.readouterr().err.splitlines() == [
        "label test: 10% (10 of 100 texts), 1.00/s, 1:30 left",
        "label corpus: 10% (10 of 100 texts), 0.50/s, 3:00 left",
        "evaluate: 1:30 so far",
    ]


def test_a_silent_process_prints_nothing(clock, capsys, monkeypatch):
    monkeypatch.setattr(progress, "silent", True)
    with Progress("distill kd", 100) as bar:
        bar.add(10)
        clock(100)
    assert capsys.readouterr().err == ""


def test_a_terminal_has_a_bar_and_no_thread(clock, monkeypatch):
    monkeypatch.setattr(sys, "stderr", Terminal())
    with Progress("outer", 10) as outer:
        clock(10)
        with Progress("inner", 4, "steps") as inner:
            clock(3)
            outer.add(5)  # would draw over the inner one
            inner.add(1)
    drawn = sys.stderr.getvalue()
    assert "inner [#####...............]  25% 1/4 steps, 0.33/s, 0:09 left" in drawn
    assert "outer" not in drawn


def test_the_thread_prints_while_the_work_is_busy(capsys, monkeypatch):
    monkeypatch.setattr(progress, "_LINE_SECONDS", 0.01)
    until = time.monotonic() + 30
    shown = ""
    with Progress("count all", 10):
        while "count all: 0% (0 of 10 texts)" not in shown and time.monotonic() < until:
            time.sleep(0.01)  # one unit that takes long
            shown += capsys.readouterr().err
    assert "count all: 0% (0 of 10 texts)" in shown
    assert progress._ticker._works == []


def test_every_unit_of_a_run_shows_life(tmp_path, monkeypatch, clock, capsys):
    run = Run(tmp_path, Settings())
    monkeypatch.setattr(run, "inputs_of", lambda unit: {})
    run.once("compress.kd", [], lambda: clock(31) or {})
    assert "compress kd: 0:30 so far\n" in capsys.readouterr().err
