"""Small files that are replaced whole, so that nobody ever reads half of one; and JSON in files."""

import json
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

if sys.platform != "win32":
    import fcntl


@contextmanager
def alone_in(folder: Path) -> Iterator[None]:
    """Keep other processes that ask for the same folder waiting until the end of the block.

    Raises `OSError` where it cannot be made. On Windows nobody waits.
    """
    folder.mkdir(parents=True, exist_ok=True)
    if sys.platform == "win32":
        yield
        return
    handle = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield
    finally:
        os.close(handle)


def read_object(file: Path) -> dict[str, Any]:
    """Return a file's JSON object, {} if it holds none."""
    try:
        data = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return {}
    return data if isinstance(data, dict) else {}


def replace_text(file: Path, text: str) -> None:
    """Write a file by way of a draft beside it, or raise `OSError` and leave it as it was."""
    file.parent.mkdir(parents=True, exist_ok=True)
    draft = file.with_suffix(f".{os.getpid()}")
    draft.write_text(text, encoding="utf-8")
    draft.replace(file)


def sweep_drafts(folder: Path) -> None:
    """Remove the drafts of processes that were killed before they could rename them."""
    for draft in folder.glob("*.*"):
        process = draft.suffix[1:]
        if process.isdecimal() and not _is_alive(int(process)):
            draft.unlink(missing_ok=True)


def _is_alive(process: int) -> bool:
    if process == os.getpid():  # what it wrote it has renamed: the number was another's before
        return False
    try:
        os.kill(process, 0)
    except (ProcessLookupError, OverflowError):
        return False
    except PermissionError:  # somebody else's
        pass
    return True
