"""Messages, bars in a terminal, and a line every half minute elsewhere; time is a fake clock's."""

from __future__ import annotations

import io
import logging
import re
import sys
import threading
import time
from types import SimpleNamespace

import pytest

from sparsedistill import progress
from sparsedistill.progress import Progress, say
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
    threads = threading.active_count()
    with Progress("outer", 10) as outer:
        clock(10)
        with Progress("inner", 4, "steps") as inner:
            clock(3)
            outer.add(5)  # would draw over the inner one
            inner.add(1, note="loss 0.5")
            assert threading.active_count() <= threads  # one of another test may end
            clock(1)
            inner.add(1)
    first, second, *_ = re.findall(r"\r(inner.*?)\s*(?=[\r\n])", sys.stderr.getvalue())
    assert re.fullmatch(r"inner  25%\|##[^|]*\| 1/4 steps, 0\.33/s, 0:09 left, loss 0\.5", first)
    assert "50%" in second and "2/4 steps, 0.50/s, 0:04 left, loss 0.5" in second
    assert "outer" not in sys.stderr.getvalue()
    assert sys.stderr.getvalue().endswith("\n")


def test_a_message_stands_above_the_bar(clock, monkeypatch):
    monkeypatch.setattr(sys, "stderr", Terminal())
    with Progress("train", 4, "steps") as bar:
        clock(3)
        bar.add(1)
        say("dev 0.9")
    shown = sys.stderr.getvalue()
    before, after = shown.split("dev 0.9\n")
    assert before.endswith("\r")  # the line was wiped
    assert "train  25%" in before and "train  25%" in after


def test_without_tqdm_a_terminal_has_lines(clock, monkeypatch):
    monkeypatch.setattr(sys, "stderr", Terminal())
    monkeypatch.setattr(progress, "_bars", lambda: None)
    with Progress("predict", 100) as bar:
        bar.add(10)
        clock(30)
    assert sys.stderr.getvalue() == "predict: 10% (10 of 100 texts), 0.33/s, 4:30 left\n"


def test_a_notebook_has_a_bar(clock, monkeypatch, capsys):
    shell = SimpleNamespace(kernel=object())
    monkeypatch.setitem(sys.modules, "IPython", SimpleNamespace(get_ipython=lambda: shell))
    with Progress("train", 4, "steps") as bar:
        clock(3)
        bar.add(1)
    assert "train  25%|" in capsys.readouterr().err


def test_warnings_have_a_level_and_a_word(capsys):
    say("warning: dev is small")
    say("dev: 3 texts")
    assert capsys.readouterr().err == "warning: dev is small\ndev: 3 texts\n"


@pytest.fixture
def level():
    before = progress.logger.level
    yield progress.logger.setLevel
    progress.logger.setLevel(before)


def test_a_level_silences_messages_and_bars(clock, level, capsys, monkeypatch):
    level(logging.WARNING)
    say("dev: 3 texts")
    say("warning: dev is small")
    with Progress("train", 100):
        clock(31)
    assert capsys.readouterr().err == "warning: dev is small\n"
    monkeypatch.setattr(sys, "stderr", Terminal())
    with Progress("train", 100) as bar:
        clock(3)
        bar.add(1)
    assert sys.stderr.getvalue() == ""


def test_an_application_with_handlers_of_its_own_prints_messages_itself(capsys, monkeypatch):
    lines = io.StringIO()
    handler = logging.StreamHandler(lines)
    handler.setFormatter(logging.Formatter("%(name)s %(levelname)s %(message)s"))
    monkeypatch.setattr(progress.logger, "propagate", True)  # the command line turns it off
    logging.getLogger().addHandler(handler)
    try:
        say("warning: dev is small")
    finally:
        logging.getLogger().removeHandler(handler)
    assert capsys.readouterr().err == ""
    assert lines.getvalue() == "sparsedistill WARNING dev is small\n"


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
