"""What Discord's buttons, reactions and context menus do; `bots.chat.actions` decides who may.

Each function takes the handler, the request, and the name of a job (`12`) or of one of its pictures
(`12.3`).
"""

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Any, Final

from discord import ui

from bots.admission.visibility import View
from bots.chat import actions, commands
from bots.chat.access import ADMITTED, Audience, Target
from bots.chat.mydata import forget_data
from bots.discord.address import LIMIT, message_key
from bots.discord.errors import with_retries
from bots.discord.forms import change_form, edit_form, offered_in
from bots.discord.handler import Handler
from bots.discord.interaction import InteractionRequest
from bots.discord.messages import dm_errors, dm_place, send_dm
from bots.discord.pages import favourites_page, history_page
from bots.discord.replies import CONTENT, FileData, Reply, pictures_reply, recipe_text
from bots.discord.request import Request
from bots.presentation.fit import Limit, fit
from bots.presentation.lines import alt_text, recipe_lines
from bots.requests.derive import the_picture
from bots.texts import Words, say
from engine.errors import UserError
from storage import Job, Picture

Action = Callable[[Handler, Request, str], Awaitable[None]]
Page = Callable[[Handler, Request, str], Awaitable[Reply]]
UPLOADS: Final = 10  # files in one message


async def draw(handler: Handler, request: Request, name: str, *, action: str) -> None:
    """Draw another picture from it, as the table of actions says."""
    async with handler.drawing(request):
        job = await actions.draw(handler.app, action, name, request, request.asker, request.message)
    await handler.placeholders.announce(request, job)


async def making_of(handler: Handler, request: Request, picture: str) -> None:
    """Draw a picture again, and show how it comes about."""
    await draw(handler, request, picture, action="making_of")


async def show(handler: Handler, request: Request, picture: str) -> None:
    """Show it again, with its buttons: to the person alone where others may not see it."""
    target = await handler.find(request, "show", picture)
    if target.audience is not Audience.ALL:
        await handler.acknowledge(request, private=True)
        await request.answer(await _pictures_reply(handler, request, target))
        return
    pictures = target.drawn(request.words)
    request.check_permissions()
    await handler.acknowledge(request)
    message = await request.post(await _pictures_reply(handler, request, target))
    index = pictures[0].index if len(pictures) == 1 else None
    await handler.storage.jobs.shown(target.job.id, {message_key(message): index})


async def show_alone(handler: Handler, request: Request, name: str) -> None:
    """Show it to the person alone, with its buttons."""
    await handler.acknowledge(request, private=True)
    target = await handler.find(request, "open", name)
    await request.answer(await _pictures_reply(handler, request, target))


async def _pictures_reply(handler: Handler, request: Request, target: Target) -> Reply:
    """Return a reply with pictures; raises `UserError` for who is banned, and for none drawn."""
    pictures = target.drawn(request.words)
    if target.purpose in ADMITTED:
        await handler.admit(request)
    view, limit = await handler.view(request), request.address.limit
    found = (target.job, pictures, view, limit, request.words)
    page = handler.app.settings.web_address is not None
    return await asyncio.to_thread(pictures_reply, *found, page=page)


async def show_recipe(handler: Handler, request: Request, name: str) -> None:
    """Show what it was made from."""
    await handler.acknowledge(request, private=True)
    target = await handler.find(request, "recipe", name)
    await request.answer(await _recipe_of(handler, target, request.words))


async def send_original(handler: Handler, request: Request, name: str) -> None:
    """Send the recipe and the pictures in full size by direct message."""
    await handler.acknowledge(request, private=True)
    target = await handler.find(request, "original", name)
    pictures, words = target.drawn(request.words), request.words
    await handler.admit(request)
    client, person = handler.client, request.address.person
    with dm_errors(words):
        place = await with_retries(partial(dm_place, client, person), repeatable=True)
    view = await handler.app.gate.view(place)
    fitted = [await _file(view, each, target.job, words) for each in pictures if view.shows(each)]
    notes = (
        "" if all(whole for _, whole in fitted) else words.shrunk_everywhere,
        say(view.note(pictures), words),
    )
    below = "".join(f"\n{note}" for note in notes if note)
    text = await _recipe_of(handler, target, words, CONTENT - len(below)) + below
    replies = [Reply(content="", files=tuple(batch)) for batch in _batches([f for f, _ in fitted])]
    replies[0] = replace(replies[0], content=text)
    with dm_errors(words):
        for reply in replies:
            await with_retries(partial(send_dm, client, person, reply), repeatable=False)
    await request.confirm(words.sent_by_dm)


async def favourite(handler: Handler, request: Request, name: str) -> None:
    """Add it to the person's favourites; a button pressed again removes it."""
    await handler.acknowledge(request, private=True)
    target = await handler.find(request, "favourite", name)
    by_button = isinstance(request, InteractionRequest)
    mark = actions.mark_favourite
    text = await mark(handler.app, target, request.asker, request.words, toggle=by_button)
    await request.confirm(text)


async def cancel(handler: Handler, request: Request, name: str) -> None:
    """Cancel a job that waits or runs."""
    await handler.acknowledge(request, silent=True)
    answer = commands.cancel(handler.app, request, request.words, name, request.message)
    await request.confirm(await answer)


async def delete(handler: Handler, request: Request, name: str) -> None:
    """Cancel a job that waits or runs, or delete the message that shows it."""
    await handler.acknowledge(request, silent=True)
    target = await handler.find(request, "delete", name)
    job, words = target.job, request.words
    if await actions.cancel_unfinished(handler.app, target, by=request.person):
        await request.confirm(words.cancel_asked.format(job=job.id))
        return
    if not (target.shown or request.about_private):
        raise UserError(words.unknown_message)
    await request.delete_message()
    await handler.storage.moderation.record_removal(job, by=request.person)
    await request.confirm(words.deleted)


async def edit(handler: Handler, request: Request, name: str) -> None:
    """Open a form that asks what to change in the picture."""
    target = await handler.find(request, "edit", name)
    the_picture(target.job, target.picture)
    assert isinstance(request, InteractionRequest)
    studio, recipe = handler.studio, target.job.recipe
    edits = await studio.can_edit({}, request.asker, request.person, recipe)
    offered = await offered_in(handler, request)
    form = edit_form(target.name, offered, request.words, edits=edits)
    await request.interaction.response.send_modal(form)


async def region(handler: Handler, request: Request, name: str) -> None:
    """Give the person alone a link to the page on which a part of it is painted over."""
    await handler.acknowledge(request, private=True)
    target = await handler.find(request, "region", name)
    app, words = handler.app, request.words
    grant = await actions.grant_region(app, target, request.asker, request.message, words)
    url = await actions.region_link(app, grant, request.person)
    link = ui.Button[Any](label=words.region_open, url=url)
    await request.answer(Reply(content=words.region_how, buttons=(link,)))


async def change(handler: Handler, request: Request, name: str) -> None:
    """Open a form with the recipe."""
    target = await handler.find(request, "change", name)
    assert isinstance(request, InteractionRequest)
    recipe, offered = target.job.recipe, await offered_in(handler, request)
    form = change_form(target.name, recipe, handler.studio.lacks(recipe), offered, request.words)
    await request.interaction.response.send_modal(form)


async def turn_page(handler: Handler, request: Request, name: str, *, page: Page) -> None:
    """Show the page of the person's history or favourites that comes before a name."""
    await handler.acknowledge(request, private=True)
    await request.answer(await page(handler, request, name))


async def forget(handler: Handler, request: Request, name: str) -> None:
    """Remove everything that is kept of the person."""
    await handler.acknowledge(request, private=True)
    _, text = await forget_data(handler.app, request.viewer, request.words)
    await request.answer(text)


ACTIONS: Final[Mapping[str, Action]] = {
    **{name: partial(draw, action=name) for name, action in actions.ACTIONS.items() if action.draw},
    "edit": edit,
    "region": region,
    "change": change,
    "show": show,
    "open": show_alone,
    "recipe": show_recipe,
    "original": send_original,
    "favourite": favourite,
    "cancel": cancel,
    "delete": delete,
    "history": partial(turn_page, page=history_page),
    "favourites": partial(turn_page, page=favourites_page),
    "forget": forget,
}


async def _recipe_of(handler: Handler, target: Target, words: Words, limit: int = CONTENT) -> str:
    matches = await handler.app.storage.vectors.matches(target.job.id)
    values = recipe_lines(target.job, words, target.picture, matches)
    return recipe_text(target.name, values, words, limit)


async def _file(view: View, picture: Picture, job: Job, words: Words) -> tuple[FileData, bool]:
    """Return a picture as a direct message can carry it, and whether nothing of it is lost."""
    data = await asyncio.to_thread(view.read, picture)
    fitted = await asyncio.to_thread(fit, data, Limit(size=LIMIT))
    name, alt = f"marble-{picture.name}.{fitted.suffix}", alt_text(job, words)
    spoiler = view.needs_spoiler([picture])
    return FileData(name=name, data=fitted.data, description=alt, spoiler=spoiler), fitted.whole


def _batches(files: Sequence[FileData]) -> list[list[FileData]]:
    """Distribute files over messages, within the limits of each in number and bytes."""
    batches: list[list[FileData]] = [[]]
    for each in files:
        size = sum(len(other.data) for other in batches[-1]) + len(each.data)
        if batches[-1] and (len(batches[-1]) == UPLOADS or size > LIMIT):
            batches.append([])
        batches[-1].append(each)
    return batches
