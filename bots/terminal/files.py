"""Files that are named on the command line or in `marble chat`."""

from __future__ import annotations

import os
from pathlib import Path

from bots.terminal.arguments import PICTURE_SUFFIXES
from engine.errors import LONGEST_PATH, UserError, shorten


def read_file(name: str, most: int, takes: str) -> bytes:
    """Return the first `most` bytes of a plain file, and one more if there are more.

    takes: what may be given instead, as the end of a sentence. Raises `UserError`.
    """
    if not name.strip():
        raise UserError(f"The file's name is empty; {takes}.")
    check_address(name, takes)
    short = shorten(name, LONGEST_PATH)
    try:
        path = Path(name).expanduser()
        if path.is_dir():
            raise UserError(f"{short} is a folder; {takes}.")
        if not path.is_file() and path.exists():
            raise UserError(f"{short} is no plain file; {takes}.")
        with path.open("rb") as file:
            return file.read(most + 1)
    except (FileNotFoundError, NotADirectoryError):
        raise UserError(f"There is no file {short}; {takes}.") from None
    except (OSError, ValueError, RuntimeError) as error:  # RuntimeError: an unknown home folder
        reason = getattr(error, "strerror", None) or str(error)
        raise UserError(f"The file {short} cannot be read ({reason}).") from None


def check_address(name: str, takes: str) -> None:
    """Raise `UserError` for an address of the web in the place of a file, as `read_file` does."""
    if name.lower().startswith(("http://", "https://")):
        raise UserError(f"Marble fetches no pictures from the web; {takes}.")


def picture_file(name: str, *others: str) -> Path | None:
    """Return the existing file that a name means; None for the name of a job or stored picture.

    others: suffixes of files beside those of pictures.
    """
    file = os.path.expanduser(name)  # raises nothing for an unknown home folder, unlike Path
    return Path(file) if looks_like_file(name, *others) and os.path.isfile(file) else None


def looks_like_file(name: str, *others: str) -> bool:
    """Return whether a name has a picture's suffix, or one of `others`."""
    return Path(name).suffix.lower() in (*PICTURE_SUFFIXES, *others)
