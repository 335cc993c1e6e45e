"""Pages of pictures: somebody's history and favourites, a few at a time, with a contact sheet."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from bots.admission.visibility import View, Withheld
from bots.chat.access import Audience
from bots.discord.buttons import button, menu, view_of
from bots.discord.replies import CONTENT, SMALL_TEXT, Attached, Reply
from bots.discord.sight import Onlooker
from bots.presentation import Limit, compose, cut, escape_markdown, fit, fit_list
from bots.presentation.lines import ALT_LIMIT
from bots.texts import Words
from storage import DatabaseFault, Job, Picture, parse_name

if TYPE_CHECKING:
    from discord import ui

    from bots.discord.desk import Desk
    from bots.discord.visits import Visit

PAGE: Final = 6  # entries
FOUND: Final = 100  # more that are counted, where something is searched
FIRST: Final = "0"  # the name of the first page, which goes before no job
LINE: Final = 120  # characters of a prompt
SHEET: Final = 1024  # pixels of a contact sheet's longer side


@dataclass(frozen=True, slots=True)
class Entry:
    """Hold one line of a page: a name, its job, and the picture that is shown, if any."""

    name: str
    job: Job
    picture: Picture | None


async def history_page(desk: Desk, visit: Visit, before: str, search: str = "") -> Reply:
    """Return somebody's jobs before the named one, newest first."""
    number = parse_name(before)[0] or None
    history, person = desk.storage.history, visit.person
    more = ""
    if search:
        found = await history.search(search, person=person, before=number, limit=PAGE + FOUND)
        jobs = found[:PAGE]
        if left := len(found) - len(jobs):
            count = f"{left}+" if left == FOUND else str(left)
            more = visit.words.and_more.format(count=count)
    else:
        jobs = await history.page(person=person, before=number, limit=PAGE)
    entries = [Entry(str(job.id), job, job.pictures[0] if job.pictures else None) for job in jobs]
    words = visit.words
    if not entries:
        return Reply(content=words.nothing_yet, view=view_of(*_turns("history", [], before, words)))
    turns = () if search else _turns("history", entries, before, words)
    return await _page(desk, visit, words.history_title, entries, turns, more)


async def favourites_page(desk: Desk, visit: Visit, before: str) -> Reply:
    """Return somebody's favourites before the named one, newest first."""
    number, index = parse_name(before)
    last = (number, index or 0) if number else None
    kept = await desk.storage.favourites.page(visit.person, before=last, limit=PAGE)
    entries = [Entry(each.picture.name, each.job, each.picture) for each in kept]
    words = visit.words
    turns = list(_turns("favourites", entries, before, words))
    access, onlooker = desk.access, Onlooker(visit)
    entries = [
        entry
        for entry in entries
        if await access.audience(entry.job, onlooker) is not Audience.NONE
    ]
    if not entries:
        return Reply(content=words.no_favourites, view=view_of(*turns))
    return await _page(desk, visit, words.favourites_title, entries, turns)


async def _page(
    desk: Desk,
    visit: Visit,
    title: str,
    entries: Sequence[Entry],
    turns: Iterator[ui.Item[Any]] | Sequence[ui.Item[Any]],
    more: str = "",
) -> Reply:
    """Return a page; more: what is said below it of what it leaves out."""
    lines = [_line(number, entry, visit.words) for number, entry in enumerate(_sorted(entries), 1)]
    lines += [more] if more else []
    shown = [entry for entry in _sorted(entries) if entry.picture]
    files: tuple[Attached, ...] = ()
    items = list(turns)
    if shown:
        limit = Limit(size=visit.address.limit)
        seen = await desk.seen(visit)
        sheet = await asyncio.to_thread(_sheet, seen, shown, limit, visit.words)
        files = (sheet,) if sheet else ()
        items.append(
            menu("show", "page", visit.words.open_one, [(e.name, e.name) for e in shown], row=0)
        )
    content = fit_list([f"**{title}**", *lines], CONTENT, visit.words.and_more)
    return Reply(content=content, files=files, view=view_of(*items))


def _sorted(entries: Sequence[Entry]) -> list[Entry]:
    """Put what has a picture first, so that numbers of lines are those of the sheet."""
    return sorted(entries, key=lambda entry: entry.picture is None)


def _line(number: int, entry: Entry, words: Words) -> str:
    status = words.statuses[entry.job.status.value]
    when = f"<t:{int(entry.job.created_at.timestamp())}:R>"
    prompt = cut(escape_markdown(" ".join(entry.job.recipe.prompt.split())), LINE)
    mark = f"{number}. " if entry.picture else f"({status}) "
    return f"{mark}**{entry.name}** {prompt}\n{SMALL_TEXT}{when} · {entry.job.recipe.seed}"


def _turns(act: str, entries: Sequence[Entry], before: str, words: Words) -> Iterator[ui.Item[Any]]:
    """Yield what turns pages, and what leads to the other kind."""
    if before != FIRST:
        yield button(act, FIRST, words.newest, "⏮️", row=1)
    if len(entries) == PAGE:
        yield button(act, entries[-1].name, words.older, "▶️", row=1)
    if act == "history":
        yield button("favourites", FIRST, words.only_favourites, "⭐", row=1)
    else:
        yield button("history", FIRST, words.everything, row=1)


def _sheet(seen: View, entries: Sequence[Entry], limit: Limit, words: Words) -> Attached | None:
    """Return the entries' pictures as one, numbered as the lines are; blocks."""
    pictures = [entry.picture for entry in entries if entry.picture]
    try:
        pngs = seen.read_all(pictures)
    except (DatabaseFault, Withheld):  # a file is gone, or none may be seen; the lines say enough
        return None
    small = fit(compose(pngs, SHEET), limit)
    prompts = (f"{n}: {entry.job.recipe.prompt}" for n, entry in enumerate(entries, 1))
    alt = words.alt_text_grid.format(count=len(entries), prompt=" ".join(prompts))
    return Attached(
        name=f"pictures.{small.suffix}",
        data=small.data,
        description=cut(alt, ALT_LIMIT),
        spoiler=seen.veils(pictures),
    )
