"""Pictures that a request starts from: a start image, its mask, pictures for ControlNets.

Each is a file, or the name of one of our own pictures.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Self

from bots.requests.derive import DIRECTIONS, the_picture
from bots.requests.options import Flag
from bots.requests.studio import ALPHA, Studio
from bots.terminal.arguments import number
from bots.terminal.files import read_file
from engine.errors import OptionError, UnknownOption, UserError
from engine.pictures.images import BYTES
from engine.recipe.limits import one_of
from engine.recipe.parts import Control
from storage.jobs.picture_files import Pictures

PICTURE_NAME: Final = r"#?\d{1,18}(\.\d+)?"
A_PICTURE: Final = "a picture file, or a picture's name like 12.3"
# Only a terminal has files at hand; the chats take pictures as attachments.
INPUTS: Final = (
    Flag(name="image", example="FILE"),
    Flag(name="mask", example="FILE"),
    Flag(name="control", example="MODEL:FILE", many=True),
)
A_MASK: Final = f"{A_PICTURE}, {ALPHA!r}, or a colour like red"
NO_CONTROL: Final = "none"  # removes those of a job that is drawn again
# What may follow a control's picture → a field of `Control`, and how it is read.
CONTROL_KEYS: Final[Mapping[str, tuple[str, Callable[[str, str], Any]]]] = {
    "strength": ("strength", number),
    "start": ("start", number),
    "end": ("end", number),
    "find": ("preprocessor", lambda name, text: text),
}


@dataclass(frozen=True, slots=True)
class TypedControl:
    """A control like `canny:house.png,find=canny,strength=0.8`, its picture not yet read."""

    model: str
    file: str
    fields: Mapping[str, Any]

    @classmethod
    def read(cls, text: str) -> TypedControl:
        """Read MODEL:FILE[,KEY=VALUE…], or raise `OptionError` or `UnknownOption`."""
        model, _, rest = text.partition(":")
        file, *typed = rest.split(",")
        if not model or not file:
            allowed = "a control model and a picture, like canny:house.png"
            raise OptionError("--control", text, allowed)
        fields = {}
        for each in typed:
            name, _, value = each.partition("=")
            if name not in CONTROL_KEYS:
                raise UnknownOption(name, CONTROL_KEYS)
            field, read = CONTROL_KEYS[name]
            fields[field] = read(f"--control's {name}", value)
        # Checks the fields before any picture is read.
        Control(model=model, image="0" * 64, **fields)
        return cls(model, file, fields)

    def control(self, image: str) -> Control:
        """Return the control for a recipe; image: its picture's sha256."""
        return Control(model=self.model, image=image, **self.fields)


@dataclass(frozen=True, slots=True)
class TypedInputs:
    """What was typed for a start image, its mask and ControlNets; None is nothing."""

    image: str | None = None
    mask: str | None = None
    controls: tuple[TypedControl, ...] | None = None  # (): without those of a job drawn again

    @classmethod
    def take(cls, typed: Iterable[tuple[str, str]]) -> tuple[Self, list[tuple[str, str]]]:
        """Split options into inputs (the last of each counts) and the other options.

        Reads what can be read without any file; raises `UserError`.
        """
        found: dict[str, list[str]] = {flag.name: [] for flag in INPUTS}
        options = []
        for name, text in typed:
            if name in found:
                found[name].append(text)
            else:
                options.append((name, text))
        image, mask = (next(reversed(found[name]), None) for name in ("image", "mask"))
        if image is None and mask is not None:
            raise OptionError("--mask", mask, "used together with --image")
        read = tuple(TypedControl.read(text) for text in found["control"] if text != NO_CONTROL)
        return cls(image, mask, read if found["control"] else None), options

    async def keep(self, studio: Studio, store: Pictures) -> dict[str, Any]:
        """Store the pictures and return the recipe's values; raises `UserError`."""
        values: dict[str, Any] = {}
        if self.controls is not None:
            images = [await _keep(studio, "--control", each.file) for each in self.controls]
            pairs = zip(self.controls, images, strict=True)
            values["controls"] = tuple(each.control(image) for each, image in pairs)
        if self.image is not None:
            values["image"] = await _keep(studio, "--image", self.image)
        if self.mask is not None:
            mask = await _mask(studio, store, self.mask)
            values["mask"] = await studio.keep_mask(values["image"], mask)
        return values


async def _keep(studio: Studio, option: str, name: str) -> str:
    """Store a picture and return its sha256; one of ours is in the store already."""
    if _is_ours(name):
        return the_picture(*await studio.get(name)).sha256
    return await studio.keep_image(read_file(name, BYTES, f"{option} takes {A_PICTURE}"))


async def _mask(studio: Studio, store: Pictures, text: str) -> bytes | str:
    """Return a mask's picture, or the word for how it is found in the start image."""
    if _is_ours(text):
        return await asyncio.to_thread(store.read, the_picture(*await studio.get(text)))
    return read_file(text, BYTES, f"--mask takes {A_MASK}") if _is_path(text) else text


def _is_ours(name: str) -> bool:
    """Return whether a name means one of our pictures; an existing file of that name wins."""
    return re.fullmatch(PICTURE_NAME, name) is not None and not Path(name).is_file()


def _is_path(text: str) -> bool:
    """Return whether a mask's text means a file; else it is `alpha` or a colour."""
    return re.search(r"[./\\]|^$", text) is not None or Path(text).exists()


def read_direction(words: Sequence[str]) -> tuple[list[str], str]:
    """Read `left`, `12.3 left` or `left 12.3`: pictures' names, and the direction to pan to.

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
