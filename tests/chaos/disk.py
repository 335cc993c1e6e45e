"""A disk that can be filled: a small file system of its own, or a limit on the sizes of files."""

from __future__ import annotations

import os
import resource
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

SIZE: Final = 256 * 2**20  # bytes; twice Marble's reserve must be free on an empty one
BALLAST: Final = "ballast"


@dataclass(frozen=True, slots=True)
class Disk:
    """Hold the folder on it; `mounted` says that it is a file system of its own."""

    folder: Path
    mounted: bool

    @property
    def kind(self) -> str:
        return "tmpfs" if self.mounted else "RLIMIT_FSIZE"

    def fill(self, process: int, leave: int) -> None:
        """Leave so many bytes free; without a file system, let a process's files grow no more."""
        if not self.mounted:
            _limit(process, 0)
            return
        with (self.folder / BALLAST).open("wb") as ballast:
            while (size := self._free() - leave) > 0:
                with suppress(OSError):  # Marble was faster, and took some of it
                    os.posix_fallocate(
                        ballast.fileno(), 0, os.fstat(ballast.fileno()).st_size + size
                    )

    def empty(self, *processes: int) -> None:
        """Make room again, also for what a limited process has started: it inherits the limit."""
        if not self.mounted:
            for process in processes:
                _limit(process, resource.RLIM_INFINITY)
        (self.folder / BALLAST).unlink(missing_ok=True)

    def _free(self) -> int:
        free = os.statvfs(self.folder)
        return free.f_bavail * free.f_frsize


def _limit(process: int, size: int) -> None:
    """Bound the files of a process and of nobody else; it may have ended."""
    try:
        _, hard = resource.prlimit(process, resource.RLIMIT_FSIZE)
        resource.prlimit(process, resource.RLIMIT_FSIZE, (size, hard))
    except ProcessLookupError:
        return


@contextmanager
def a_disk(folder: Path, *, mount: bool) -> Iterator[Disk]:
    """Put a folder on a small file system until the block ends, where root asks for it."""
    folder.mkdir(exist_ok=True)
    mounted = mount and os.geteuid() == 0 and _mount(folder)
    try:
        yield Disk(folder, mounted)
    finally:
        if mounted:
            subprocess.run(["umount", "--lazy", folder], check=True)


def _mount(folder: Path) -> bool:
    command = ["mount", "-t", "tmpfs", "-o", f"size={SIZE}", "marble-chaos", str(folder)]
    return subprocess.run(command, capture_output=True, check=False).returncode == 0
