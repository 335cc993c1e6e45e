"""Pictures that a request starts from: a start image, its mask, pictures for ControlNets.

Each is a file, or the name of one of our own pictures.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from bots.requests.derive import DIRECTIONS
from bots.requests.options import Flag, Values, parse_values
from bots.requests.studio import ALPHA
from bots.requests.typed_options import Typed
from bots.requests.workflows import WORKFLOW
from bots.terminal.arguments import number
from bots.terminal.files import looks_like_file, read_file
from engine.errors import OptionError, UnknownOption, UserError
from engine.pictures.images import BYTES
from engine.recipe.limits import one_of
from engine.recipe.parts import Control

PICTURE_NAME: Final = r"#?\d{1,18}(\.\d+)?"
A_PICTURE: Final = "a picture file, or a picture's name like 12.3"
# Only a terminal has files at hand; the chats take pictures as attachments.
INPUTS: Final = (
    Flag(name="image", example="FILE"),
    Flag(name="mask", example="FILE"),
    Flag(name="control", example="MODEL:FILE", many=True),
)
PICTURES: Final = ("image", "mask", "controls")  # the values that they are read as
IMAGINED: Final = (*INPUTS, WORKFLOW)  # what `imagine` takes
OTHERS: Final = Flag(name="with", example="FILE", many=True)  # pictures, beside the edited one
A_MASK: Final = f"{A_PICTURE}, {ALPHA!r}, or a colour like red"
NO_CONTROL: Final = "none"  # removes those of a job that is drawn again
UNREAD: Final = "0" * 64  # in the place of a picture's sha256
# What may follow a control's picture → a field of `Control`, and how it is read.
CONTROL_KEYS: Final[Mapping[str, tuple[str, Callable[[str, str], Any]]]] = {
    "strength": ("strength", number),
    "start": ("start", number),
    "end": ("end", number),
    "find": ("preprocessor", lambda name, text: text),
}


def read_values(typed: Typed) -> Values:
    """Read options as values of recipe fields, or raise `UserError`.

    Reads no file: `image` and `mask` are texts as they were typed (the last of each counts), and
    `controls` are pairs of a picture's text and a `Control` that lacks its picture.
    """
    texts = {flag.name: [text for name, text in typed if name == flag.name] for flag in INPUTS}
    values: Values = {name: texts[name][-1] for name in ("image", "mask") if texts[name]}
    if "mask" in values and "image" not in values:
        raise OptionError("--mask", values["mask"], "used together with --image")
    if controls := texts["control"]:
        values["controls"] = tuple(read_control(each) for each in controls if each != NO_CONTROL)
    return values | parse_values((name, text) for name, text in typed if name not in texts)


def read_control(text: str) -> tuple[str, Control]:
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
    return file, Control(model=model, image=UNREAD, **fields)


def read_mask(text: str) -> bytes | str:
    """Return the bytes of a mask's file, or `alpha` or a colour as it was typed."""
    is_file = re.search(r"[./\\]|^$", text) is not None or os.path.exists(text)
    return read_file(text, BYTES, f"--mask takes {A_MASK}") if is_file else text


def is_ours(name: str) -> bool:
    """Return whether a name means one of our pictures; an existing file of that name wins."""
    return re.fullmatch(PICTURE_NAME, name) is not None and not Path(name).is_file()


def read_source(words: Sequence[str]) -> tuple[str | None, str]:
    """Read `12.3 make it bronze` or `cat.png make it bronze`: a picture if any, and other words.

    A file that is there counts whatever its ending: that it is no picture is said when it is read.
    """
    first = words[0] if words else ""
    is_there = Path(first).suffix and os.path.isfile(os.path.expanduser(first))
    if is_ours(first) or looks_like_file(first) or is_there:
        return first, " ".join(words[1:])
    return None, " ".join(words)


def read_sources(words: Sequence[str]) -> tuple[list[str], str]:
    """Read `12.3 cat.png at night`: the pictures that are named first, and other words."""
    names, rest = [], list(words)
    while rest:
        name, _ = read_source(rest)
        if name is None:
            break
        names.append(name)
        del rest[0]
    return names, " ".join(rest)


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
