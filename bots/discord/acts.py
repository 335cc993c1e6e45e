"""What can be done with a picture: the one table behind buttons, reactions and context menus.

An act is given the desk, the visit, and the name of a job (`12`) or of one picture (`12.3`).
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Final

from bots.admission.visibility import View
from bots.chat.access import Audience, Found, Purpose
from bots.discord.address import LIMIT, message_key
from bots.discord.forms import EditForm
from bots.discord.pages import favourites_page, history_page
from bots.discord.patience import patiently
from bots.discord.replies import CONTENT, Attached, Reply, pictures_reply
from bots.discord.visits import Click, Refusal, Visit, open_dms
from bots.presentation import Limit, alt_text, escape_markdown, fit, fit_lines, recipe_lines
from bots.presentation.lines import name_of
from bots.requests.derive import DIRECTIONS
from bots.requests.options import parse_values
from bots.texts import Words, say
from storage import Job, Picture, Status, TooLate, parse_name

if TYPE_CHECKING:
    from bots.discord.desk import Desk

Act = Callable[["Desk", Visit, str], Awaitable[None]]
UPLOADS: Final = 10  # files in one message


async def again(desk: Desk, visit: Visit, name: str) -> None:
    """Draw it again from its seed."""
    await desk.draw(visit, lambda asker: desk.studio.rerun(name, {}, asker), name)


async def dice(desk: Desk, visit: Visit, name: str) -> None:
    """Draw it again with a new seed."""
    seed = parse_values([("seed", "new")])
    await desk.draw(visit, lambda asker: desk.studio.rerun(name, seed, asker), name)


async def subtle(desk: Desk, visit: Visit, name: str) -> None:
    """Draw it with small changes."""
    await desk.draw(visit, lambda asker: desk.studio.vary(name, asker, strong=False), name)


async def strong(desk: Desk, visit: Visit, name: str) -> None:
    """Draw it with large changes."""
    await desk.draw(visit, lambda asker: desk.studio.vary(name, asker, strong=True), name)


async def upscale(desk: Desk, visit: Visit, name: str) -> None:
    """Draw it larger."""
    await desk.draw(visit, lambda asker: desk.studio.upscale(name, asker), name)


async def zoom(desk: Desk, visit: Visit, name: str) -> None:
    """Draw it from farther away."""
    await desk.draw(visit, lambda asker: desk.studio.zoom(name, asker), name)


def _pan(direction: str) -> Act:
    async def pan(desk: Desk, visit: Visit, name: str) -> None:
        await desk.draw(visit, lambda asker: desk.studio.pan(name, asker, direction), name)

    return pan


async def pick(desk: Desk, visit: Visit, name: str) -> None:
    """Show a picture of a grid by itself, or all of a job, with buttons of its own.

    Where others read who may not see it, they are shown it alone.
    """
    found = await desk.find(visit, name, Purpose.POST)
    if found.audience is not Audience.ALL:
        await visit.open(private=True)
        await _show_alone(desk, visit, found)
        return
    pictures = _drawn(found, visit.words)
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
    job, pictures = found.job, _drawn(found, visit.words)
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
    favourites, meant = desk.storage.favourites, [e.index for e in _drawn(found, visit.words)]
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
    job = found.job
    if job.status in (Status.QUEUED, Status.RUNNING):
        with suppress(TooLate):
            await desk.studio.cancel(job.id, by=visit.person)
            await visit.nod(visit.words.cancel_asked.format(job=job.id))
            return
    if not (found.shown or visit.about_alone):
        raise Refusal(visit.words.unknown_message)
    await visit.remove_message()
    await desk.storage.moderation.record_removal(job, by=visit.person)
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


async def _show_alone(desk: Desk, visit: Visit, found: Found) -> None:
    pictures = _drawn(found, visit.words)
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
    "again": again,
    "dice": dice,
    "subtle": subtle,
    "strong": strong,
    "upscale": upscale,
    "zoom": zoom,
    **{direction: _pan(direction) for direction in DIRECTIONS},
    "pick": pick,
    "recipe": recipe,
    "mail": mail,
    "star": star,
    "unstar": unstar,
    "drop": drop,
    "edit": edit,
}


def _pictures(found: Found) -> list[Picture]:
    return [each for each in found.job.pictures if found.picture in (None, each.index)]


def _drawn(found: Found, words: Words) -> list[Picture]:
    """Return the pictures that are meant; raises `Refusal` where none is drawn yet."""
    if not (pictures := _pictures(found)):
        raise Refusal(words.not_drawn)
    return pictures


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
