"""A lock on a file, which the system lets go when the process ends, on POSIX and on Windows."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import IO

from .errors import SettingsError

if sys.platform == "win32":
    import msvcrt

    def lock(file: IO[str]) -> None:
        """Lock an open file for this process alone; BlockingIOError where another process holds it.

        The lock goes when the file is closed or the process ends, however it ends.
        """
        file.seek(0)
        try:
            msvcrt.locking(file.fileno(), msvcrt.LK_NBLCK, 1)  # the first byte, which need not be there
        except OSError as error:
            raise BlockingIOError(*error.args) from None
else:
    import fcntl

    def lock(file: IO[str]) -> None:
        """Lock an open file for this process alone; BlockingIOError where another process holds it.

        The lock goes when the file is closed or the process ends, however it ends.
        """
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)


@contextlib.contextmanager
def locked(directory: Path) -> Iterator[None]:
    """Keep a second process out of a run directory; the lock goes with the process."""
    directory.mkdir(parents=True, exist_ok=True)
    with open(directory / ".lock", "w") as file:
        try:
            lock(file)
        except BlockingIOError:
            raise SettingsError(f"another process works in {directory}: wait for it, or give --run DIR") from None
        yield
