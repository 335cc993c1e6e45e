"""What lists of pictures show of each, as plain values that templates lay out."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass
from typing import Final

from bots.admission.visibility import View
from bots.presentation.fit import THUMBNAIL
from bots.presentation.lines import alt_text, name_of
from bots.presentation.text import cut, one_line
from bots.texts import Words, say
from bots.web.request import Request
from storage import Job, Picture
from storage.states import OVER

PROMPT: Final = 90  # characters of a prompt below a picture

Marked = Collection[tuple[int, int]]  # favourites: job and index of each


@dataclass(frozen=True, slots=True, kw_only=True)
class Card:
    """One picture of a list, or a job that has none.

    shown: whether there is a picture that may be seen; veiled: it is behind a spoiler. width,
    height: of its thumbnail, in pixels. instead: the text in its place.
    """

    job: int
    name: str
    prompt: str
    alt: str
    shown: bool = False
    veiled: bool = False
    width: int = THUMBNAIL
    height: int = THUMBNAIL
    favourite: bool = False
    unfinished: bool = False
    instead: str = ""


def cards_of(job: Job, view: View, words: Words, marked: Marked = ()) -> Iterator[Card]:
    """Yield a card for each picture of a job, or one that says why it has none."""
    for picture in job.pictures:
        yield card_of(job, picture, view, words, marked)
    if not job.pictures:
        status = words.statuses[job.status.value]
        yield Card(
            job=job.id,
            name=name_of(job),
            prompt=_prompt(job),
            alt=alt_text(job, words),
            unfinished=job.status not in OVER,
            instead=f"{status}: {say(job.error, words)}" if job.error else status,
        )


def card_of(job: Job, picture: Picture, view: View, words: Words, marked: Marked = ()) -> Card:
    """Return the card of one picture as a `View` lets it be shown."""
    scale = min(1.0, THUMBNAIL / max(picture.width, picture.height))
    shown = view.shows(picture)
    return Card(
        job=job.id,
        name=name_of(job, picture.index if job.recipe.count > 1 else None),
        prompt=_prompt(job),
        alt=alt_text(job, words),
        shown=shown,
        veiled=view.needs_spoiler([picture]),
        width=max(1, round(picture.width * scale)),
        height=max(1, round(picture.height * scale)),
        favourite=(job.id, picture.index) in marked,
        instead="" if shown else say(view.reason(picture), words),
    )


async def find_cards(request: Request, jobs: Iterable[Job]) -> list[Card]:
    """Return the cards of jobs that the reader may see."""
    jobs = list(jobs)
    marked = await request.app.storage.favourites.among(request.person, [job.id for job in jobs])
    return list_cards(request, jobs, marked)


def list_cards(request: Request, jobs: Iterable[Job], marked: Marked) -> list[Card]:
    """Do as `find_cards` with what was read of the reader's favourites."""
    view, words = request.view, request.words
    return [card for job in jobs for card in cards_of(job, view, words, marked)]


def _prompt(job: Job) -> str:
    return cut(one_line(job.recipe.prompt), PROMPT)
