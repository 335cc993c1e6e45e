"""A form's fields for every option, from the one table `OPTIONS`, and what comes back of them."""

from __future__ import annotations

import asyncio
from collections.abc import Container, Mapping
from dataclasses import dataclass
from typing import Any, Final

from aiohttp import web

from bots.requests.aspect import ASPECTS
from bots.requests.options import OPTIONS, Option
from bots.web.request import Request
from engine.pictures.images import BYTES, check_file_size

UPLOADS: Final = BYTES + 2**20  # bytes of a form with a picture
SPOKEN: Final = "negative"  # it has a place of its own beside the prompt
SHAPES: Final = tuple(f"{across}:{down}" for across, down in ASPECTS)


@dataclass(frozen=True, slots=True, kw_only=True)
class Field:
    """One option of a form; value: its text as the form opens.

    choices: the only texts that it takes; offers: some of those that it takes.
    """

    name: str
    label: str
    help: str
    value: str = ""
    choices: tuple[str, ...] = ()
    offers: tuple[str, ...] = ()
    least: str = ""  # of a number; "" where it takes other texts, too
    most: str = ""
    step: str = ""


async def option_fields(
    request: Request, values: Mapping[str, str], lacks: Container[str] = ()
) -> list[Field]:
    """Return the field of each option; values: their texts; lacks: fields of recipes left out."""
    studio = request.app.studio
    offers = {
        "model": tuple(await asyncio.to_thread(studio.catalogue.names)),
        "style": tuple(await studio.styles(request.place)),
        "size": SHAPES,
    }
    return [
        _field(option, request, values.get(option.name, ""), offers.get(option.name, ()))
        for option in OPTIONS
        if (option.field or option.name) not in lacks
    ]


def _field(option: Option, request: Request, value: str, offers: tuple[str, ...]) -> Field:
    text, number = request.words.commands[f":{option.name}"], option.range
    only = option.choices or (offers if option.name == "model" else ())
    return Field(
        name=option.name,
        label=text.name,
        help=text.description,
        value=value,
        choices=(*only, *([value] if value and only and value not in only else [])),
        offers=() if only else offers,
        least=f"{number.low:g}" if number else "",
        most=f"{number.high:g}" if number else "",
        step=("1" if option.read is int else "any") if number else "",
    )


async def texts_of(request: Request) -> dict[str, str]:
    """Return the texts of a form that was sent, with lines that end as everywhere."""
    form = await request.form()
    return {
        name: value.replace("\r\n", "\n") for name, value in form.items() if isinstance(value, str)
    }


async def uploads_of(request: Request, name: str = "image") -> list[bytes]:
    """Return the files that were sent with a form; raises `ImageError` for one that is too large.

    Raises `Refusal` for who may not ask: nothing of theirs is read.
    """
    files = [each for each in (await request.form()).getall(name, []) if _is_file(each)]
    if files:
        await request.app.gate.admit(request.asker)
    return [await asyncio.to_thread(_read, each) for each in files]


def _is_file(value: Any) -> bool:
    """Return whether a file was chosen; without one, browsers send an empty one without a name."""
    return isinstance(value, web.FileField) and bool(value.filename)


def _read(file: web.FileField) -> bytes:
    data = file.file.read(BYTES + 1)
    check_file_size(len(data))
    return data
