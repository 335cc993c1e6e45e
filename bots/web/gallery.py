"""My pictures: a grid of them, searches, favourites, page by page."""

from __future__ import annotations

from itertools import accumulate
from typing import Final
from urllib.parse import urlencode

from aiohttp import web

from bots.chat.access import Audience, find_audience
from bots.chat.alike import find_alike
from bots.web.cards import Card, card_of, find_cards
from bots.web.request import SLOW, Request, Route
from storage import parse_name

PAGE: Final = 60  # pictures
SOUGHT: Final = 300  # characters of each search: an address holds 8,190 bytes, of which one takes 9

Page = tuple[list[Card], str]  # its cards, and the name before which the next page begins


async def pictures(request: Request) -> web.StreamResponse:
    """Show a page of one's pictures: all, those that a search finds, or favourites."""
    query = request.http.query
    sought, before = query.get("q", "").strip(), query.get("before", "")
    favourites, like = "favourites" in query, query.get("like", "").strip()
    if like:
        cards, last = await _alike(request, like), ""
    elif favourites:
        cards, last = await _favourites(request, before)
    else:
        cards, last = await _history(request, sought, before)
    kind = {"favourites": "1"} if favourites else {"q": sought} if sought else {}
    return request.render(
        "pictures.html",
        cards=cards,
        older=f"/pictures?{urlencode({**kind, 'before': last})}" if last else "",
        sought=sought,
        like=like,
        longest=SOUGHT,
        compares=request.app.settings.clip_model is not None,
        favourites=favourites,
        is_first=not before,
    )


async def cards(request: Request) -> web.StreamResponse:
    """Answer with the cards of one job alone, which take the place of its progress."""
    target = await request.find("recipe", request.http.match_info["job"])
    return request.render("cards.html", cards=await find_cards(request, [target.job]))


async def _history(request: Request, sought: str, before: str) -> Page:
    """Return a page of all that somebody asked for, or of what a search finds of it."""
    history, number = request.app.storage.history, parse_name(before)[0] if before else None
    if sought:
        async with request.http.app[SLOW]:
            jobs = await history.search(sought, person=request.person, before=number, limit=PAGE)
    else:
        jobs = await history.page(person=request.person, before=number, limit=PAGE)
    counts = accumulate((max(1, len(job.pictures)) for job in jobs), initial=0)
    kept = [job for job, count in zip(jobs, counts, strict=False) if count < PAGE]
    more = len(kept) < len(jobs) or len(jobs) == PAGE
    return await find_cards(request, kept), str(kept[-1].id) if more else ""


async def _alike(request: Request, like: str) -> list[Card]:
    """Return the cards of one's pictures that are most like words or a picture."""
    found = await find_alike(request.app, request, like, PAGE)
    jobs = [each.job.id for each in found]
    marked = await request.app.storage.favourites.among(request.person, jobs)
    view = request.view
    return [card_of(each.job, each.picture, view, request.words, marked) for each in found]


async def _favourites(request: Request, before: str) -> Page:
    """Return a page of favourites; those that the reader may see no more are left out."""
    app, view, words = request.app, request.view, request.words
    number, index = parse_name(before) if before else (0, None)
    last = (number, index or 0) if before else None
    kept = await app.storage.favourites.page(request.person, before=last, limit=PAGE)
    cards = [
        card_of(each.job, each.picture, view, words, {(each.job.id, each.picture.index)})
        for each in kept
        if await find_audience(app, each.job, request) is not Audience.NONE
    ]
    return cards, kept[-1].picture.name if len(kept) == PAGE else ""


ROUTES: Final = (
    Route("GET", "/pictures", pictures),
    Route("GET", "/jobs/{job}/cards", cards),
)
