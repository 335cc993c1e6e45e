"""What can be done with a picture: the one table behind buttons, reactions and context menus.

An act is given the desk, the visit, and the name of a job (`12`) or of one picture (`12.3`).
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Final

from bots.admission.visibility import View
from bots.chat import actions
from bots.chat.access import Audience, Purpose, Target
from bots.discord.address import LIMIT, message_key
from bots.discord.forms import EditForm
from bots.discord.pages import favourites_page, history_page
from bots.discord.patience import patiently
from bots.discord.replies import CONTENT, Attached, Reply, pictures_reply
from bots.discord.sight import Onlooker
from bots.discord.visits import Click, Refusal, Visit, open_dms
from bots.presentation import Limit, alt_text, escape_markdown, fit, fit_lines, recipe_lines
from bots.presentation.lines import name_of
from bots.requests.derive import DIRECTIONS
from bots.texts import Words, say
from storage import Job, Picture, parse_name

if TYPE_CHECKING:
    from bots.discord.desk import Desk

Act = Callable[["Desk", Visit, str], Awaitable[None]]
UPLOADS: Final = 10  # files in one message


def _draw(action: str) -> Act:
    """Return the act that makes another picture, by its name in `bots.chat.actions`."""

    async def act(desk: Desk, visit: Visit, name: str) -> None:
        who, message = Onlooker(visit), visit.message
        await desk.draw(
            visit, lambda asker: actions.draw(desk.app, action, name, who, asker, message)
        )

    return act


async def pick(desk: Desk, visit: Visit, name: str) -> None:
    """Show a picture of a grid by itself, or all of a job, with buttons of its own.

    Where others read who may not see it, they are shown it alone.
    """
    found = await desk.find(visit, name, Purpose.POST)
    if found.audience is not Audience.ALL:
        await visit.open(private=True)
        await _show_alone(desk, visit, found)
        return
    pictures = found.drawn(visit.words)
    visit.check_permissions()
    await visit.open()
    await desk.admit_to(visit, found)
    seen, limit = await desk.seen(visit), visit.address.limit
    reply = await pictures_reply(found.job, pictures, seen, limit, visit.words)
    index = pictures[0].index if len(pictures) == 1 else None
    message = await visit.show(reply)
    await desk.storage.jobs.shown(found.job.id, {message_key(message): index})


async def recipe(desk: Desk, visit: Visit, name: str) -> None:
    """Tell what it was made from."""
    await visit.open(private=True)
    found = await desk.find(visit, name, Purpose.TELL)
    await visit.tell(recipe_text(found.job, found.picture, visit.words))


async def mail(desk: Desk, visit: Visit, name: str) -> None:
    """Send the recipe and the pictures in full size by direct message."""
    await visit.open(private=True)
    found = await desk.find(visit, name, Purpose.SEND)
    job, pictures = found.job, found.drawn(visit.words)
    await desk.admit_to(visit, found)
    person = visit.address.person
    with open_dms(visit.words):
        place = await patiently(partial(desk.client.dm_place, person), repeatable=True)
    seen = await desk.app.screen.of(place)
    shown = [each for each in pictures if seen.shows(each)]
    fitted = await asyncio.gather(*(_file(seen, each, job, visit.words) for each in shown))
    files, whole = [file for file, _ in fitted], all(whole for _, whole in fitted)
    notes = ("" if whole else visit.words.shrunk_everywhere, say(seen.note(pictures), visit.words))
    below = "".join(f"\n{note}" for note in notes if note)
    text = recipe_text(job, found.picture, visit.words, CONTENT - len(below)) + below
    replies = [Reply(content="", files=tuple(batch)) for batch in _batches(files)]
    replies[0] = replace(replies[0], content=text)
    with open_dms(visit.words):
        for reply in replies:
            await patiently(partial(desk.client.send_dm, person, reply), repeatable=False)
    await visit.nod(visit.words.sent_by_dm)


async def star(desk: Desk, visit: Visit, name: str) -> None:
    """Keep it among one's favourites; pressed again, no longer."""
    await visit.open(private=True)
    found = await desk.find(visit, name, Purpose.TELL)
    favourites, meant = desk.storage.favourites, [e.index for e in found.drawn(visit.words)]
    pressed = isinstance(visit, Click)
    keep = favourites.toggle if pressed else favourites.add
    if await keep(visit.person, found.job.id, *meant) or not pressed:
        await visit.nod(visit.words.favourite_added.format(name=name))
    else:
        await visit.nod(visit.words.favourite_removed.format(name=name))


async def unstar(desk: Desk, visit: Visit, name: str) -> None:
    """Take it out of one's favourites, whether or not it may still be seen."""
    job, picture = parse_name(name)
    meant = () if picture is None else (picture,)
    await desk.storage.favourites.remove(visit.person, job, *meant)


async def drop(desk: Desk, visit: Visit, name: str) -> None:
    """Cancel what is on its way, or delete the message that shows it."""
    await visit.begin()
    found = await desk.find(visit, name, Purpose.END)
    if await actions.cancel_unfinished(desk.app, found, by=visit.person):
        await visit.nod(visit.words.cancel_asked.format(job=found.job.id))
        return
    if not (found.shown or visit.about_alone):
        raise Refusal(visit.words.unknown_message)
    await visit.remove_message()
    await desk.storage.moderation.record_removal(found.job, by=visit.person)
    await visit.nod(visit.words.deleted)


async def edit(desk: Desk, visit: Visit, name: str) -> None:
    """Open a form with the recipe."""
    found = await desk.find(visit, name, Purpose.DRAW)
    assert isinstance(visit, Click)
    form = EditForm(name_of(found.job, found.picture), found.job.recipe, visit.words)
    await visit.interaction.response.send_modal(form)


async def history(desk: Desk, visit: Visit, name: str) -> None:
    """Turn to another page of one's history; `name` is the job that it goes before."""
    await visit.open(private=True)
    page = await history_page(desk, visit, name)
    await visit.tell(page.content, page.files, page.view)


async def favourites(desk: Desk, visit: Visit, name: str) -> None:
    """Turn to another page of one's favourites; `name` is the picture that it goes before."""
    await visit.open(private=True)
    page = await favourites_page(desk, visit, name)
    await visit.tell(page.content, page.files, page.view)


async def show(desk: Desk, visit: Visit, name: str) -> None:
    """Show pictures to oneself alone, with their buttons."""
    await visit.open(private=True)
    await _show_alone(desk, visit, await desk.find(visit, name, Purpose.TELL))


async def _show_alone(desk: Desk, visit: Visit, found: Target) -> None:
    pictures = found.drawn(visit.words)
    await desk.admit_to(visit, found)
    seen, limit = await desk.seen(visit), visit.address.limit
    reply = await pictures_reply(found.job, pictures, seen, limit, visit.words)
    await visit.tell(reply.content, reply.files, reply.view)


async def forget(desk: Desk, visit: Visit, name: str) -> None:
    """Remove all that is kept of who asks."""
    await visit.open(private=True)
    gone = await desk.storage.privacy.forget(visit.person)
    words = visit.words
    if gone.known:
        await visit.tell(words.forgotten.format(jobs=gone.jobs, files=gone.files))
    else:
        await visit.tell(words.forget_nothing)


ACTS: Final[Mapping[str, Act]] = {
    "history": history,
    "favourites": favourites,
    "show": show,
    "forget": forget,
    "again": _draw("rerun"),
    "dice": _draw("reroll"),
    "subtle": _draw("vary_subtle"),
    "strong": _draw("vary_strong"),
    "upscale": _draw("upscale"),
    "zoom": _draw("zoom"),
    **{direction: _draw(f"pan_{direction}") for direction in DIRECTIONS},
    "pick": pick,
    "recipe": recipe,
    "mail": mail,
    "star": star,
    "unstar": unstar,
    "drop": drop,
    "edit": edit,
}


def recipe_text(job: Job, picture: int | None, words: Words, limit: int = CONTENT) -> str:
    """Return a recipe as lines of text, of so many characters at most."""
    title = words.recipe_title.format(name=name_of(job, picture))
    lines = [
        f"{escape_markdown(label)}: {escape_markdown(value)}"
        for label, value in recipe_lines(job, words, picture)
    ]
    return fit_lines([f"**{title}**", *lines], limit)


async def _file(seen: View, picture: Picture, job: Job, words: Words) -> tuple[Attached, bool]:
    """Return a picture as it is, or as a direct message can carry it, and whether it is whole."""
    data = await asyncio.to_thread(seen.read, picture)
    fitted = await asyncio.to_thread(fit, data, Limit(size=LIMIT))
    alt = alt_text(job, words)
    name = f"marble-{picture.name}.{fitted.suffix}"
    veiled = seen.veils([picture])
    file = Attached(name=name, data=fitted.data, description=alt, spoiler=veiled)
    return file, fitted.whole


def _batches(files: Sequence[Attached]) -> list[list[Attached]]:
    """Share files among messages, so that each takes its files."""
    batches: list[list[Attached]] = [[]]
    for each in files:
        size = sum(len(other.data) for other in batches[-1]) + len(each.data)
        if batches[-1] and (len(batches[-1]) == UPLOADS or size > LIMIT):
            batches.append([])
        batches[-1].append(each)
    return batches
