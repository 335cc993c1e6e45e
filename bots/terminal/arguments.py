"""Values of command-line arguments, read and checked; and the exit codes of `marble`."""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final, Literal

from bots.requests.options import OPTIONS, SPELLINGS
from bots.requests.typed_options import COMMAS
from engine.errors import OptionError, UserError
from engine.recipe.limits import check

OK: Final = 0
FAILED: Final = 1
BAD_INPUT: Final = 2
INTERRUPTED: Final = 130

# Formats by a file's suffix, beside PNG; all of them carry recipes.
FORMATS: Final[Mapping[str, Literal["JPEG", "WEBP"]]] = {
    ".jpg": "JPEG",
    ".jpeg": "JPEG",
    ".webp": "WEBP",
}
PICTURE_SUFFIXES: Final = (".png", *FORMATS)


def options_of(arguments: argparse.Namespace) -> list[tuple[str, str]]:
    """Return the options of pictures that were typed, by their names."""
    options = (*OPTIONS, *SPELLINGS)
    given = {option.name: getattr(arguments, f"option_{option.name}") for option in options}
    names = ("image", "mask", "control", "with", "workflow")
    given |= {name: getattr(arguments, name, None) for name in names}
    typed = [
        (name, each)
        for name, text in given.items()
        for each in (text if isinstance(text, list) else [text])
    ]
    spoken = [option.name for option in options if option.spoken]
    return [
        (name, text if name in spoken else text.rstrip(COMMAS) or text)
        for name, text in typed
        if text is not None
    ]


def upscale_of(arguments: argparse.Namespace) -> dict[str, Any]:
    """Return the keyword arguments of `Studio.upscale`."""
    factor = number("--factor", arguments.factor)
    strength: Any = None if arguments.plain else "usual"
    if arguments.strength is not None:
        if arguments.plain:
            raise UserError("--plain draws nothing anew, so it takes no --strength.")
        strength = number("--strength", arguments.strength)
        check("strength", strength)
    return {"factor": factor, "by": arguments.by, "strength": strength}


def out_of(arguments: argparse.Namespace) -> Path | None:
    """Return the path for a copy, None for no copy; raises `UserError` for a bad path."""
    if getattr(arguments, "out", None) is None:
        return None
    if getattr(arguments, "later", False):
        raise UserError("--out needs a picture, and with --later there is none yet: `marble show`.")
    return new_file("--out", arguments.out, PICTURE_SUFFIXES)


def new_file(option: str, text: str, suffixes: Sequence[str]) -> Path:
    """Return the path of a file that is to be written; raises `OptionError` for a bad one."""
    path = Path(text)
    if path.suffix.lower() not in suffixes:
        raise OptionError(option, text, f"a name that ends in {', '.join(suffixes)}")
    try:
        is_possible = path.parent.is_dir() and not path.is_dir()
    except OSError:  # its name is too long
        is_possible = False
    if not is_possible:
        raise OptionError(option, text, "a file in a folder that exists")
    return path


def number(name: str, text: str) -> float:
    """Read a number, or raise `OptionError`."""
    try:
        return float(text)
    except ValueError:
        raise OptionError(name, text, "a number") from None
