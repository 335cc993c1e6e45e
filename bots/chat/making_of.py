"""What a job recorded of how a picture came about, where it may be shown."""

from __future__ import annotations

import asyncio
from contextlib import suppress

from bots.admission.visibility import View, Withheld
from bots.presentation.making_of import MakingOf, read_making_of
from bots.requests.derive import the_picture
from engine.errors import UserError
from engine.sentences import Sentence
from storage import Job, Jobs


async def read_making_of_job(jobs: Jobs, made: Job, view: View) -> MakingOf:
    """Return what a job recorded of how a picture comes about.

    Raises `UserError` for a job that recorded nothing, and where the picture that it drew again or
    its own file is gone, and `Withheld`.
    """
    picture = the_picture(made, None)
    if not made.making_of or made.parent is None:
        raise UserError(Sentence("no_making_of"))
    if not view.shows(picture):
        raise Withheld(view.reason(picture))
    first = await jobs.get(made.parent)
    meant = the_picture(first, made.parent_picture)
    return await asyncio.to_thread(read_making_of, first, meant, made, view.files)


async def making_of_reply(jobs: Jobs, made: Job, view: View) -> MakingOf | None:
    """Return what a reply shows beside a picture: None where it shows the picture alone."""
    if made.making_of and made.pictures:
        with suppress(UserError):
            return await read_making_of_job(jobs, made, view)
    return None


def page_address(site: str | None, made: Job) -> str | None:
    """Return the address of the page of a job's making-of, None where no web page is served."""
    return site and f"{site}/pictures/{made.id}/making-of"
