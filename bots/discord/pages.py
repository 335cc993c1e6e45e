"""Pages of pictures: somebody's history and favourites, a few at a time, with a contact sheet."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from discord.utils import format_dt

from bots.admission.visibility import View, Withheld
from bots.chat.access import Audience, find_audience
from bots.chat.actions import ACTIONS
from bots.chat.alike import find_alike
from bots.discord.buttons import ActionItem, button, menu
from bots.discord.handler import Handler
from bots.discord.replies import CONTENT, SMALL_TEXT, FileData, Reply
from bots.discord.request import Request
from bots.presentation.fit import Limit, fit_composed
from bots.presentation.grid import compose
from bots.presentation.lines import ALT_LIMIT, shown_prompt
from bots.presentation.text import cut, escape_markdown, fit_list
from bots.texts import Words
from storage import DatabaseFault, Job, Picture, parse_name

PAGE: Final = 6  # entries
FOUND: Final = 100  # more that are counted, where something is searched
FIRST: Final = "0"  # the name of the first page, which goes before no job
LINE: Final = 120  # characters of a prompt
STAR: Final = ACTIONS["favourite"].emoji
SHEET: Final = 1024  # pixels of a contact sheet's longer side


@dataclass(frozen=True, slots=True)
class PageLine:
    """One line of a page: a name, its job, and the picture that is shown, if any."""

    name: str
    job: Job
    picture: Picture | None


async def history_page(handler: Handler, request: Request, before: str, search: str = "") -> Reply:
    """Return somebody's jobs before the named one, newest first."""
    number = parse_name(before)[0] or None
    history, person, words = handler.storage.history, request.person, request.words
    more = ""
    if search:
        found = await history.search(search, person=person, before=number, limit=PAGE + FOUND)
        jobs = found[:PAGE]
        if left := len(found) - len(jobs):
            more = words.and_more.format(count=f"{left}+" if left == FOUND else left)
    else:
        jobs = await history.page(person=person, before=number, limit=PAGE + 1)
    entries = [PageLine(str(job.id), job, next(iter(job.pictures), None)) for job in jobs]
    buttons = [] if search else _page_buttons("history", entries, before, words)
    if not entries:
        return Reply(content=words.nothing_found if search else words.nothing_yet, buttons=buttons)
    entries = entries[:PAGE]
    return await _page(handler, request, words.history_title, entries, buttons, more)


async def alike_page(handler: Handler, request: Request, like: str) -> Reply:
    """Return somebody's pictures that are most like words or a picture."""
    found = await find_alike(handler.app, request, like, PAGE)
    entries = [PageLine(each.picture.name, each.job, each.picture) for each in found]
    return await _page(handler, request, request.words.alike_title, entries, ())


async def favourites_page(handler: Handler, request: Request, before: str) -> Reply:
    """Return somebody's favourites before the named one, newest first."""
    number, index = parse_name(before)
    last = (number, index or 0) if number else None
    kept = await handler.storage.favourites.page(request.person, before=last, limit=PAGE + 1)
    entries = [PageLine(each.picture.name, each.job, each.picture) for each in kept]
    buttons = _page_buttons("favourites", entries, before, request.words)
    entries = [
        entry
        for entry in entries[:PAGE]
        if await find_audience(handler.app, entry.job, request) != Audience.NONE
    ]
    if not entries:
        return Reply(content=request.words.no_favourites, buttons=buttons)
    return await _page(handler, request, request.words.favourites_title, entries, buttons)


async def _page(
    handler: Handler,
    request: Request,
    title: str,
    entries: Sequence[PageLine],
    buttons: Sequence[ActionItem],
    more: str = "",
) -> Reply:
    """Return a page; more: the line below it about what it leaves out."""
    words = request.words
    # What has a picture comes first, so that the lines have the numbers of the contact sheet.
    entries = sorted(entries, key=lambda entry: entry.picture is None)
    lines = [_line(number, entry, words) for number, entry in enumerate(entries, 1)]
    lines += [more] if more else []
    content = fit_list([f"**{title}**", *lines], CONTENT, words.and_more)
    shown = [entry for entry in entries if entry.picture]
    if not shown:
        return Reply(content=content, buttons=buttons)
    view, limit = await handler.view(request), Limit(size=request.address.limit)
    sheet = await asyncio.to_thread(_sheet, view, shown, limit, words)
    names = [(entry.name, entry.name) for entry in shown]
    choice = menu("open", "page", ACTIONS["open"].label_in(words) or "", names, row=0)
    files = (sheet,) if sheet else ()
    return Reply(content=content, files=files, buttons=(*buttons, choice))


def _line(number: int, entry: PageLine, words: Words) -> str:
    status = words.statuses[entry.job.status.value]
    when = format_dt(entry.job.created_at, "R")
    prompt = cut(escape_markdown(shown_prompt(entry.job)), LINE)
    mark = f"{number}. " if entry.picture else f"({status}) "
    return f"{mark}**{entry.name}** {prompt}\n{SMALL_TEXT}{when} · {entry.job.recipe.seed}"


def _page_buttons(
    kind: str, entries: Sequence[PageLine], before: str, words: Words
) -> list[ActionItem]:
    """Return the buttons to the newest and the next page, and to the other kind of page.

    entries: those of the page, and one more where more follow.
    """
    buttons = [button(kind, FIRST, words.newest, "⏮️", row=1)] if before != FIRST else []
    if len(entries) > PAGE:
        buttons.append(button(kind, entries[PAGE - 1].name, words.older, "▶️", row=1))
    if kind == "history":
        buttons.append(button("favourites", FIRST, words.only_favourites, STAR, row=1))
    else:
        buttons.append(button("history", FIRST, words.everything, row=1))
    return buttons


def _sheet(view: View, entries: Sequence[PageLine], limit: Limit, words: Words) -> FileData | None:
    """Return the entries' pictures as one, numbered as the lines are; blocks."""
    pictures = [entry.picture for entry in entries if entry.picture]
    try:
        pngs = view.read_all(pictures)
    except (DatabaseFault, Withheld):  # a file is gone, or none may be seen; the lines say enough
        return None
    small = fit_composed(compose(pngs, SHEET), limit)
    prompts = [entry.job.recipe.prompt for entry in entries]
    if len(prompts) == 1:
        alt = words.alt_text.format(prompt=prompts[0])
    else:
        listed = " ".join(f"{number}: {prompt}" for number, prompt in enumerate(prompts, 1))
        alt = words.alt_text_grid.format(count=len(prompts), prompt=listed)
    return FileData(
        name=f"pictures.{small.suffix}",
        data=small.data,
        description=cut(alt, ALT_LIMIT),
        spoiler=view.needs_spoiler(pictures),
    )
