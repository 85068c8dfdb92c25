"""A lock on a file, which the system lets go when the process ends, on POSIX and on Windows."""

from __future__ import annotations

import sys
from typing import IO

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
