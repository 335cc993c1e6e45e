"""A picture's page: large, its recipe, what it was made from and what from it, and all actions."""

from __future__ import annotations

import asyncio
from base64 import b64encode
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from hashlib import sha256
from typing import Any, Final

from aiohttp import web

from bots.admission.rules import Refusal
from bots.chat.access import Audience, Target, find_audience
from bots.chat.actions import ACTIONS
from bots.chat.making_of import read_making_of_job
from bots.presentation.lines import best_note, device_note, name_of, parent_of, recipe_lines
from bots.presentation.making_of import STYLE, page
from bots.requests.recipe_form import recipe_texts
from bots.texts import MAKING_OF, Words, tell
from bots.web.cards import list_cards
from bots.web.errors import NO_FAULT, Fault
from bots.web.option_fields import option_fields
from bots.web.request import Request, Route
from engine.errors import UserError
from engine.formats.comfy.limits import no_graph_reasons
from engine.models.catalogue import Catalogue, Checkpoint
from engine.recipe.recipe import Recipe
from storage import Job
from storage.errors import UnknownJob
from storage.states import OVER

# That page has a style and pictures within it, and nothing else.
_HASH: Final = b64encode(sha256(STYLE.encode()).digest()).decode()
PAGE_POLICY: Final = (
    f"default-src 'none'; style-src 'sha256-{_HASH}'; img-src data:; form-action 'none'; "
    "base-uri 'none'; frame-ancestors {ancestors}"
)
NEAREST: Final = 12  # jobs that it was made from, and that were made from it


@dataclass(frozen=True, slots=True, kw_only=True)
class Button:
    """An action that needs nothing more than a press."""

    word: str  # of its address
    label: str
    emoji: str


async def picture(request: Request) -> web.StreamResponse:
    """Show a picture, or a job with all that came of it."""
    target = await request.find("recipe", request.http.match_info["name"])
    return await show(request, target)


async def making_of(request: Request) -> web.Response:
    """Show how a picture came about: the page that `marble making-of` writes."""
    target = await request.find("recipe", request.http.match_info["name"])
    found = await read_making_of_job(request.app.storage.jobs, target.job, request.view)
    text = await asyncio.to_thread(page, found, request.words)
    headers = {"Content-Security-Policy": PAGE_POLICY}
    return web.Response(text=text, content_type="text/html", headers=headers)


async def show(
    request: Request,
    target: Target,
    *,
    fault: Fault = NO_FAULT,
    texts: dict[str, str] | None = None,
    suggestions: Sequence[str] = (),
) -> web.Response:
    """Return a picture's page.

    fault: what went wrong with a form of it; texts: that form's fields; suggestions: the picture
    in words.
    """
    app, words, job = request.app, request.words, target.job
    ancestors, descendants = await _relatives(request, job)
    shown = [each.id for each in (job, *ancestors, *descendants)]
    marked = await app.storage.favourites.among(request.person, shown)
    indices = {each.index for each in target.pictures}
    cards = [
        card
        for card, each in zip(
            list_cards(request, [job], marked), job.pictures or (None,), strict=True
        )
        if each is None or each.index in indices
    ]
    lacks = await asyncio.to_thread(app.studio.lacks, job.recipe)
    own = job.person == request.person
    matches = await app.storage.vectors.matches(job.id)
    return request.render(
        "picture.html",
        status=fault.status,
        headers=fault.headers,
        target=target,
        job=job,
        whole=name_of(job) if target.picture is not None and job.recipe.count > 1 else "",
        cards=cards,
        alone=len(cards) == 1,
        refusal=_refusal(request),
        recipe=list(recipe_lines(job, words, target.picture, matches)),
        notes=[
            *filter(
                None, ("" if len(cards) == 1 else best_note(job, words), device_note(job, words))
            )
        ],
        no_graph=bool(target.pictures)
        and not await asyncio.to_thread(_has_graph, app.studio.catalogue, job.recipe),
        buttons=_buttons(target, words),
        labels={name: action.label_in(words) for name, action in ACTIONS.items()},
        emoji={name: action.emoji for name, action in ACTIONS.items()},
        making_of=MAKING_OF[words.language].open_page if job.making_of and job.pictures else "",
        kept=bool(indices) and {(job.id, index) for index in indices} <= marked,
        over=job.status in OVER,
        own=own,
        parent=parent_of(job) if job.parent is not None else "",
        ancestors=list_cards(request, ancestors, marked),
        descendants=list_cards(request, descendants, marked),
        fields=await option_fields(request, texts or recipe_texts(job.recipe, lacks), lacks),
        texts={**recipe_texts(job.recipe, lacks), **(texts or {})},
        sentence=fault.sentence,
        suggestions=suggestions,
    )


def _buttons(target: Target, words: Words) -> list[Button]:
    """Return the actions on a picture that need nothing more; some need it to be one alone."""
    if not target.pictures:
        return []
    return [
        Button(word=action.web, label=action.label_in(words) or action.web, emoji=action.emoji)
        for action in ACTIONS.values()
        if action.web and action.draw and (target.alone or not action.one)
    ]


async def _relatives(request: Request, job: Job) -> tuple[list[Job], list[Job]]:
    """Return what a job was made from and what was made from it, of what the reader may see."""
    try:
        lineage = await request.app.storage.history.lineage(job.id, NEAREST)
    except UnknownJob:  # deleted in this moment
        return [], []
    return await _seen(request, lineage.ancestors), await _seen(request, lineage.descendants)


async def _seen(request: Request, jobs: Iterable[Job]) -> list[Job]:
    return [
        job for job in jobs if await find_audience(request.app, job, request) is not Audience.NONE
    ]


def _refusal(request: Request) -> str:
    """Return why the reader may not have files and new pictures, or an empty text."""
    try:
        request.admit()
    except Refusal as error:
        return tell(error, request.words)
    return ""


def _has_graph(catalogue: Catalogue, recipe: Recipe) -> bool:
    """Return whether the PNG of a recipe holds a graph for ComfyUI; opens model files."""

    def named(name: str) -> Checkpoint | None:
        with suppress(UserError):
            return catalogue.get(name)
        return None

    models: list[Any] = [named(name) for name in recipe.models]
    return not no_graph_reasons(recipe, *models)


ROUTES: Final = (
    Route("GET", "/pictures/{name}", picture),
    Route("GET", "/pictures/{name}/making-of", making_of),
)
