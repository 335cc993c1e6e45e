"""The brush: a page to paint a region on or to make the canvas larger, and what is drawn there.

A chat's button opens it by a grant, which lets its holder use the picture as the message shows it;
the result then goes to that chat, too.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, replace
from typing import Any, Final

from aiohttp import web

from bots.chat.access import Target
from bots.presentation.lines import alt_text
from bots.requests.options import parse_values
from bots.requests.studio import Asker
from bots.requests.typed_options import read_request
from bots.web.errors import NO_FAULT, Fault, fault_of
from bots.web.option_fields import UPLOADS, texts_of, uploads_of
from bots.web.picture_actions import answer_jobs
from bots.web.picture_files import find_shown
from bots.web.request import Request, Route
from engine.errors import OptionError, UserError
from engine.recipe.limits import RANGES, Range, check, read_whole
from engine.recipe.parts import Margins
from storage import Job, Picture

EDGES: Final = ("left", "right", "top", "bottom")
FEATHERS: Final = Range(0, 64)  # pixels
EXTEND: Final = "extend"  # of the field `tool`: margins are sent; with any other value a mask is
TOOLS: Final = ("brush", "lasso", "erase", EXTEND)
# What the form's fields say as it opens, beside the words.
FIELDS: Final = {"tool": TOOLS[0], "feather": "0", "strength": "1", **dict.fromkeys(EDGES, "0")}


@dataclass(frozen=True, slots=True)
class Opened:
    """A picture on the brush's page, and who asks for what is drawn there, and where."""

    target: Target
    picture: Picture
    asker: Asker


async def page(request: Request) -> web.StreamResponse:
    """Show a picture to paint on."""
    return await _show(request, await _open(request))


async def draw(request: Request) -> web.StreamResponse:
    """Draw what was painted over anew, or what is around the picture."""
    opened = await _open(request)
    texts = await texts_of(request)
    try:
        job = await _draw(request, opened, texts)
    except UserError as error:
        if request.wants_json:
            raise
        fault = fault_of(error, request.words, request.web_words)
        return await _show(request, opened, fault=fault, texts=texts)
    notes = [request.web_words.without_chat] if request.grant_ended else []
    return await answer_jobs(request, [job], opened.asker, *notes)


async def _open(request: Request) -> Opened:
    """Return the picture of an address; raises `UserError` for who may not draw from it."""
    target, picture, _ = await find_shown(request, "region")
    asker = request.asker
    if grant := request.grant:
        asker = replace(asker, place=grant.place, reply=grant.reply)
    return Opened(target, picture, asker)


async def _draw(request: Request, opened: Opened, texts: dict[str, str]) -> Job:
    words, options = read_request(texts.get("words", ""))
    values: dict[str, Any] = {"prompt": words} if words else {}
    if strength := texts.get("strength"):
        values |= parse_values([("strength", strength)])
    values |= parse_values(options)
    studio, name, asker = request.app.studio, opened.target.name, opened.asker
    edges = {edge: _margin(texts.get(edge, "")) for edge in EDGES}
    masks = await uploads_of(request, "mask")
    # Without JavaScript no tool is chosen: what is filled in says what is wanted.
    if texts.get("tool") == EXTEND or (any(edges.values()) and not masks):
        return await studio.extend(name, Margins(**edges), values, asker)
    if not masks:
        raise UserError(request.web_words.nothing_painted)
    if any(edges.values()):
        raise UserError(request.web_words.mask_or_margins)
    feather = _feather(texts.get("feather", ""))
    mask = await studio.keep_mask(opened.picture.sha256, masks[0], feather)
    return await studio.repaint(name, mask, values, asker)


def _margin(text: str) -> int:
    """Read how far an edge is pulled, in pixels; nothing is 0."""
    allowed = RANGES["margin"]
    number = read_whole(text or "0", allowed.low, allowed.high)
    check("margin", text if number is None else number)
    return number or 0


def _feather(text: str) -> float:
    """Read over how many pixels an edge fades; nothing is 0."""
    try:
        number = float(text or 0)
    except ValueError:
        number = float("nan")
    if number not in FEATHERS:
        raise OptionError("feather", text, FEATHERS.said())
    return number


async def _show(
    request: Request,
    opened: Opened,
    *,
    fault: Fault = NO_FAULT,
    texts: dict[str, str] | None = None,
) -> web.StreamResponse:
    job, catalogue = opened.target.job, request.app.studio.catalogue
    model = await asyncio.to_thread(catalogue.get, job.recipe.checkpoint)
    return request.render(
        "brush.html",
        status=fault.status,
        headers=fault.headers,
        sentence=fault.sentence,
        target=opened.target,
        picture=opened.picture,
        alt=alt_text(job, request.words),
        query=request.grant_query,
        texts={"words": job.recipe.prompt, **FIELDS, **(texts or {})},
        tools=TOOLS,
        edges=EDGES,
        softest=int(FEATHERS.high),
        longest=int(RANGES["margin"].high),
        multiple=model.multiple,
    )


ROUTES: Final = (
    Route("GET", "/brush/{name}", page, granted=True),
    Route("POST", "/brush/{name}", draw, granted=True, largest=UPLOADS),
)
