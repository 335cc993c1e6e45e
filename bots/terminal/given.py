"""Pictures that somebody types: a start image, its mask, maps for ControlNets.

Each is a file, or one of our own pictures by its name.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Self

from bots.requests.derive import DIRECTIONS, the_picture
from bots.requests.options import Flag
from bots.requests.studio import ALPHA, Studio
from bots.terminal.controls import NO_CONTROL, TypedControl
from engine.errors import OptionError, UserError
from engine.pictures.images import BYTES
from engine.recipe.limits import one_of
from storage import Picture
from storage.jobs.picture_files import Pictures

PICTURE_NAME: Final = r"#?\d{1,18}(\.\d+)?"
A_PICTURE: Final = "a picture file, or a picture's name like 12.3"
# Only a terminal has files at hand; the chats take pictures as attachments.
PICTURES: Final = (
    Flag(name="image", example="FILE"),
    Flag(name="mask", example="FILE"),
    Flag(name="control", example="MODEL:FILE", many=True),
)
A_MASK: Final = f"{A_PICTURE}, {ALPHA!r}, or a colour like red"


@dataclass(frozen=True, slots=True)
class Given:
    """Hold what was typed for a start image, its mask and ControlNets; None is nothing."""

    image: str | None = None
    mask: str | None = None
    controls: tuple[TypedControl, ...] | None = None  # empty takes those of a job drawn again

    @classmethod
    def take(cls, typed: Iterable[tuple[str, str]]) -> tuple[Self, list[tuple[str, str]]]:
        """Take pictures out of what was typed, the last of each, and return the other options.

        Reads what can be read before any file; raises `UserError`.
        """
        pictures: dict[str, list[str]] = {flag.name: [] for flag in PICTURES}
        options = []
        for name, text in typed:
            if name in pictures:
                pictures[name].append(text)
            else:
                options.append((name, text))
        image, mask = (next(reversed(pictures[name]), None) for name in ("image", "mask"))
        return cls._read(image, mask, pictures["control"] or None), options

    @classmethod
    def _read(cls, image: str | None, mask: str | None, controls: Iterable[str] | None) -> Self:
        if image is None and mask is not None:
            raise OptionError("--mask", mask, "used together with --image")
        if controls is None:
            return cls(image, mask)
        typed = (TypedControl.read(text) for text in controls if text != NO_CONTROL)
        return cls(image, mask, tuple(typed))

    async def values(self, studio: Studio, store: Pictures) -> Mapping[str, Any]:
        """Keep the pictures and return the recipe's values; raises `UserError`."""
        values: dict[str, Any] = {}
        if self.controls is not None:
            values["controls"] = tuple(
                [
                    each.control(await _keep(studio, "--control", each.file))
                    for each in self.controls
                ]
            )
        if self.image is not None:
            values["image"] = await _keep(studio, "--image", self.image)
        if self.mask is not None:
            how = await _mask(studio, store, self.mask)
            values["mask"] = await studio.keep_mask(values["image"], how)
        return values


async def _keep(studio: Studio, option: str, name: str) -> str:
    """Keep a picture and return its sha256; one of ours is in the store already."""
    if _is_ours(name):
        return (await _ours(studio, name)).sha256
    return await studio.keep_image(file_bytes(option, name, A_PICTURE))


async def _mask(studio: Studio, store: Pictures, text: str) -> bytes | str:
    """Return a mask's picture, or the word for how it is found in the start image."""
    if _is_ours(text):
        return await asyncio.to_thread(store.read, await _ours(studio, text))
    return file_bytes("--mask", text, A_MASK) if _is_path(text) else text


def _is_ours(name: str) -> bool:
    """Tell whether a name means one of our pictures; a file that is there by that name wins."""
    return re.fullmatch(PICTURE_NAME, name) is not None and not Path(name).is_file()


def _is_path(text: str) -> bool:
    """Tell whether a mask's text means a file, and not a colour."""
    return re.search(r"[./\\]|^$", text) is not None or Path(text).exists()


async def _ours(studio: Studio, name: str) -> Picture:
    return the_picture(*await studio.get(name))


def where_to(words: Sequence[str]) -> tuple[list[str], str]:
    """Read `left`, `12.3 left` or `left 12.3`: names of pictures, and where one is continued to.

    Raises `UserError` where no direction is among them, or two are.
    """
    found = [word.lower() for word in words if word.lower() in DIRECTIONS]
    names = [word for word in words if word.lower() not in DIRECTIONS]
    if len(found) == 1:
        return names, found[0]
    if found or all(re.fullmatch(PICTURE_NAME, name) for name in names):
        name = next(iter(names), "12.3")
        raise UserError(
            f"Say one direction: {', '.join(DIRECTIONS[:-1])} or {DIRECTIONS[-1]}, "
            f"like `pan {name} left`."
        )
    raise OptionError("direction", names[-1], one_of(DIRECTIONS))


def file_bytes(option: str, name: str, taken: str) -> bytes:
    """Return a file's bytes, one more than any picture may have at most.

    taken: what the option takes, in words. Raises `UserError` with what is in the way.
    """
    try:
        path = Path(name).expanduser()
        if path.is_dir():
            raise UserError(f"{name!r} is a folder; {option} takes {taken}.")
        if not path.is_file() and path.exists():
            raise UserError(f"{name!r} is no plain file; {option} takes {taken}.")
        with path.open("rb") as file:
            return file.read(BYTES + 1)
    except (FileNotFoundError, NotADirectoryError):
        raise UserError(f"There is no file {name!r}; {option} takes {taken}.") from None
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise UserError(f"The file {name!r} cannot be read ({reason}).") from None
