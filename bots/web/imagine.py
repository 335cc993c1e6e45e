"""A form with words and every option; its pictures are drawn."""

from __future__ import annotations

import asyncio
from functools import partial
from typing import Any, Final

from aiohttp import web

from bots.presentation.lines import ignored_text, reading_lines, reading_notes
from bots.requests.derive import the_picture
from bots.requests.options import OPTIONS, parse_values
from bots.requests.recipe_form import value_texts
from bots.requests.typed_options import read_request
from bots.requests.workflow_file import read_content
from bots.requests.workflows import WORKFLOW, read_choices, values_of
from bots.web.errors import NO_FAULT, Fault, fault_of
from bots.web.option_fields import UPLOADS, option_fields, texts_of, uploads_of
from bots.web.picture_actions import answer_jobs
from bots.web.request import Request, Route
from engine.errors import UserError

START: Final = "from"  # the field that names a picture of Marble's as the start image


async def form(request: Request) -> web.StreamResponse:
    """Show the form; its words may come with the address."""
    texts = {"prompt": request.http.query.get("prompt", "")}
    if name := request.http.query.get(START):
        await _start_of(request, name)
        texts[START] = name
    return await _show(request, texts)


async def imagine(request: Request) -> web.StreamResponse:
    """Draw what the form says; what is wrong with it is said above it."""
    try:
        return await _imagine(request)
    except UserError as error:
        if request.wants_json:
            raise
        fault = fault_of(error, request.words, request.web_words)
        return await _show(request, await texts_of(request), fault=fault)


async def read(request: Request) -> web.StreamResponse:
    """Say what a file says of how its picture was made, and fill the form with it."""
    files = await uploads_of(request)
    if not files:
        raise UserError(request.words.no_picture)
    reading, words = await asyncio.to_thread(read_content, files[0]), request.words
    texts = value_texts(reading.values)
    found = {
        "texts": texts,
        "lines": list(reading_lines(reading, words)),
        "notes": list(reading_notes(reading, words)),
        "source": reading.source,
    }
    if request.wants_json:
        return web.json_response(found)
    return await _show(request, {**await texts_of(request), **texts}, found=found)


async def _imagine(request: Request) -> web.StreamResponse:
    studio, asker, texts = request.app.studio, request.asker, await texts_of(request)
    names = (*(option.name for option in OPTIONS), WORKFLOW.name)
    given = [(name, text) for name in names if (text := texts.get(name, "").strip())]
    choices, workflow = read_choices(
        texts.get("prompt", ""), partial(read_request, given=given, more=[WORKFLOW])
    )
    files = await uploads_of(request)
    words, options = choices[0]
    if files and not words and workflow is None:
        return await _again(request, files[0], parse_values(options))
    wanted = [values_of(choice, workflow) for choice in choices]
    start = {}
    if files:
        start["image"] = await studio.keep_image(files[0])
    elif name := texts.get(START):
        start["image"] = await _start_of(request, name)
    wanted = [values | start for values in wanted]
    if workflow is None:
        jobs = await studio.imagine_each(wanted, asker, request.person)
    else:
        jobs = [await request.app.workflows.draw(workflow, wanted[0], asker)]
    return await answer_jobs(request, jobs, asker)


async def _again(request: Request, file: bytes, values: dict[str, Any]) -> web.StreamResponse:
    """Draw what a file without words says of how it was made.

    A recipe that starts from stored pictures is refused: they may be another person's.
    """
    reading, asker = await asyncio.to_thread(read_content, file), request.asker
    if reading.inputs and reading.refused is None:
        raise UserError(request.words.starts_from_others)
    job = await request.app.studio.draw_reading(reading, values, asker)
    what = ignored_text(reading.ignored, request.words)
    notes = [request.words.ignored.format(what=what)] if what else []
    return await answer_jobs(request, [job], asker, *notes)


async def _start_of(request: Request, name: str) -> str:
    """Return the file of one of Marble's pictures to start from, by sha256."""
    target = await request.find("edit", name)
    return the_picture(target.job, target.picture).sha256


async def _show(
    request: Request,
    texts: dict[str, str],
    *,
    fault: Fault = NO_FAULT,
    found: dict[str, Any] | None = None,
) -> web.Response:
    workflows = await request.app.workflows.offered(request.place)
    return request.render(
        "imagine.html",
        status=fault.status,
        headers=fault.headers,
        texts={"prompt": "", START: "", WORKFLOW.name: "", **texts},
        fields=await option_fields(request, texts),
        workflows=[each.name for each in workflows],
        sentence=fault.sentence,
        found=found,
    )


ROUTES: Final = (
    Route("GET", "/imagine", form),
    Route("POST", "/imagine", imagine, largest=UPLOADS),
    Route("POST", "/imagine/read", read, largest=UPLOADS),
)
