"""Files and folders that hold people's words and pictures: closed to others, and made durable."""

import os
from pathlib import Path
from typing import Final

FILE: Final = 0o600
FOLDER: Final = 0o700

MIN_FREE: Final = 64 * 2**20  # bytes of a disk under which no job is taken


def create(path: Path) -> None:
    """Make an empty file that its owner alone may read and write.

    What is written to it later keeps that. Raises `FileExistsError`, or another `OSError`.
    """
    os.close(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, FILE))


def make_folder(path: Path) -> None:
    """Make a folder that its owner alone may enter; one that is there stays as it is."""
    path.mkdir(mode=FOLDER, parents=True, exist_ok=True)


def sync_folder(folder: Path) -> None:
    """Make a folder's names durable; some systems cannot open one, and need not."""
    if os.name == "nt":
        return
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
