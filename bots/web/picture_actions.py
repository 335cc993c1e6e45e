"""What the forms of a picture's page do: the actions of the one table, each by its own word."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from functools import partial
from typing import Final

from aiohttp import web

from bots.chat import actions
from bots.chat.access import Target
from bots.chat.actions import ACTIONS, cancel_unfinished, mark_favourite
from bots.chat.suggestions import describe as describe_picture
from bots.chat.suggestions import read_target
from bots.requests.options import parse_values
from bots.requests.recipe_form import form_values, recipe_texts
from bots.requests.studio import Asker, check_blended
from bots.requests.typed_options import read_request
from bots.texts import say
from bots.web.cards import find_cards
from bots.web.errors import fault_of
from bots.web.option_fields import UPLOADS, texts_of, uploads_of
from bots.web.picture import show
from bots.web.request import Request, Route, see_other
from engine.errors import UserError
from engine.recipe.limits import check_words
from engine.sentences import Sentence
from storage import Job

# The actions by the words of their addresses.
WORDS: Final[Mapping[str, str]] = {
    action.web: name for name, action in ACTIONS.items() if action.web
}

Answer = Callable[[Request, Target], Awaitable[web.StreamResponse]]


async def act(request: Request) -> web.StreamResponse:
    """Do what a form asks for; what is wrong with it is said on the page that has the form."""
    name, word = request.http.match_info["name"], request.http.match_info["action"]
    action = WORDS.get(word, "")
    does = DOES.get(action)
    if does is None:
        raise web.HTTPNotFound
    target = await request.find(action, name)
    try:
        return await does(request, target)
    except UserError as error:
        if request.wants_json or not ACTIONS[action].asks:
            raise
        fault = fault_of(error, request.words, request.web_words)
        return await show(request, target, fault=fault, texts=await texts_of(request))


async def answer_jobs(
    request: Request, jobs: list[Job], asker: Asker, *more: str
) -> web.StreamResponse:
    """Answer with the jobs that were asked for, and what is said beside them."""
    notes = [*(say(note, request.words) for note in asker.notes), *more]
    if request.wants_json:
        return web.json_response({"jobs": [job.id for job in jobs], "notes": notes})
    if notes:
        cards = await find_cards(request, jobs)
        return request.render("asked.html", cards=cards, notes=notes)
    return see_other(f"/pictures/{jobs[0].id}" if len(jobs) == 1 else "/pictures")


async def _draw(request: Request, target: Target, *, action: str) -> web.StreamResponse:
    asker = request.asker
    job = await actions.draw_from(request.app, action, target, asker)
    return await answer_jobs(request, [job], asker)


async def _change(request: Request, target: Target) -> web.StreamResponse:
    """Draw a recipe again with what was changed in its form."""
    studio, recipe, asker = request.app.studio, target.job.recipe, request.asker
    lacks = await asyncio.to_thread(studio.lacks, recipe)
    values = form_values(await texts_of(request), recipe_texts(recipe, lacks))
    for data in await uploads_of(request):
        values["image"] = await studio.keep_image(data)
    return await answer_jobs(request, [await studio.rerun(target.name, values, asker)], asker)


async def _edit(request: Request, target: Target) -> web.StreamResponse:
    """Change a picture by words; a file is a further picture that they are about."""
    studio, asker = request.app.studio, request.asker
    words, options = read_request((await texts_of(request)).get("words", ""))
    check_words(words)
    values = {"prompt": words, **parse_values(options)}
    others = [await studio.keep_image(data) for data in await uploads_of(request)]
    job = await studio.edit(target.name, values, asker, request.person, others)
    return await answer_jobs(request, [job], asker)


async def _blend(request: Request, target: Target) -> web.StreamResponse:
    """Make one picture of this and others, named or given as files."""
    texts, asker = await texts_of(request), request.asker
    words, options = read_request(texts.get("words", ""))
    values = parse_values(options) | ({"prompt": words} if words else {})
    names = texts.get("others", "").replace(",", " ").split()
    files = await uploads_of(request)
    check_blended(1 + len(names) + len(files))
    targets = [target, *[await request.find("blend", name) for name in names]]
    job = await actions.blend(request.app, targets, files, values, asker, request.person)
    return await answer_jobs(request, [job], asker)


async def _describe(request: Request, target: Target) -> web.StreamResponse:
    """Say in words what a picture shows; each of them can be drawn."""
    request.admit()
    data, _ = await read_target(target, request.view)
    found = await describe_picture(request.app, request.asker, data, request.words)
    return await show(request, target, suggestions=found)


async def _favourite(request: Request, target: Target) -> web.StreamResponse:
    """Add a picture to one's favourites, or remove it."""
    text = await mark_favourite(request.app, target, request.asker, request.words, toggle=True)
    if request.wants_json:
        return web.json_response({"said": text})
    return see_other(f"/pictures/{target.name}")


async def _delete(request: Request, target: Target) -> web.StreamResponse:
    """Cancel a job that is unfinished, else remove one's own for good once that is confirmed.

    What chats show of it stays there.
    """
    app, job = request.app, target.job
    if job.person != request.person:
        raise UserError(Sentence("not_yours"))
    if not (await texts_of(request)).get("sure"):
        return request.render("delete.html", target=target)
    if await cancel_unfinished(app, target, by=request.person):
        return see_other(f"/pictures/{job.id}")
    if not await app.storage.privacy.forget_job(job.id):
        raise UserError(request.web_words.reply_on_its_way)
    return see_other("/pictures")


DOES: Final[Mapping[str, Answer]] = {
    **{name: partial(_draw, action=name) for name, action in ACTIONS.items() if action.draw},
    "change": _change,
    "edit": _edit,
    "blend": _blend,
    "describe": _describe,
    "favourite": _favourite,
    "delete": _delete,
}
ROUTES: Final = (Route("POST", "/pictures/{name}/{action}", act, largest=UPLOADS),)
