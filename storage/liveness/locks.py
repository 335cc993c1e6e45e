"""A file lock that the system releases when its process ends, however it ends."""

from __future__ import annotations

import os
import socket
import sys
from pathlib import Path

if sys.platform == "win32":
    import msvcrt

    def _lock(handle: int) -> None:
        msvcrt.locking(handle, msvcrt.LK_NBLCK, 1)

else:
    import fcntl

    def _lock(handle: int) -> None:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)


def boot() -> str:
    """Return an id of this machine's current boot, the same in all its containers."""
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    except OSError:
        return socket.gethostname()


class FileLock:
    """A file's lock until `release` or the end of the process."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._handle: int | None = None

    def take(self) -> bool:
        """Take the lock, in a folder that may be new; False when another process holds it."""
        self.path.parent.mkdir(exist_ok=True)
        while True:
            handle = os.open(self.path, os.O_RDWR | os.O_CREAT, 0o644)
            try:
                _lock(handle)
            except OSError:
                os.close(handle)
                return False
            if self._is_current(handle):
                self._handle = handle
                return True
            os.close(handle)

    def _is_current(self, handle: int) -> bool:
        """Whether the file was not removed, by who held its lock before, while it was opened."""
        try:
            return os.path.samestat(os.fstat(handle), self.path.stat())
        except FileNotFoundError:
            return False

    def release(self) -> None:
        """Release the lock and remove its file."""
        if self._handle is not None:
            handle, self._handle = self._handle, None
            self.path.unlink(missing_ok=True)
            os.close(handle)
