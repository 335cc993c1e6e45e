"""Commands that tell: help, privacy, models, statistics, the queue; and the one that cancels."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final

import discord
from discord import app_commands

from bots.chat.access import Purpose
from bots.chat.listings import model_lines, queue_lines, stats_lines
from bots.chat.privacy import privacy_text
from bots.discord.commands.define import Answer, answering, define
from bots.discord.replies import CONTENT, listed
from bots.discord.visits import Click, Refusal, Visit
from bots.presentation import cut
from bots.worker.queue_view import load_queue
from storage import Job, Status

if TYPE_CHECKING:
    from bots.discord.desk import Desk

AT_ONCE: Final = ("help", "privacy")  # what is known without the database
ON_ITS_WAY: Final = (Status.QUEUED, Status.RUNNING)
CHOICE: Final = 100  # characters


def add(tree: app_commands.CommandTree[Any], desk: Desk) -> None:
    """Add the commands."""

    async def complete(
        interaction: discord.Interaction[Any], text: str
    ) -> list[app_commands.Choice[str]]:
        jobs = await _on_their_way(desk, Click(interaction))
        names = [f"{job.id} {job.recipe.prompt}" for job in jobs]
        return [
            app_commands.Choice(name=cut(name, CHOICE), value=name.partition(" ")[0])
            for name in names
            if text in name
        ]

    for name, answer in ANSWERS.items():
        callback = answering(desk, answer, defer=name not in AT_ONCE)
        if name == "cancel":
            callback = app_commands.autocomplete(job=complete)(callback)
        tree.add_command(define(name, callback))


async def help_(desk: Desk, visit: Click) -> None:
    """Say what Marble can do, and how."""
    await visit.tell(visit.words.help)


async def privacy(desk: Desk, visit: Click) -> None:
    """Say what is kept."""
    text = await privacy_text(desk.app.settings, visit.words)
    await visit.tell(cut(text, CONTENT))


async def models(desk: Desk, visit: Click) -> None:
    """List the models."""
    await visit.tell(listed(model_lines(desk.studio, visit.words), visit.words))


async def stats(desk: Desk, visit: Click) -> None:
    """Count what was drawn."""
    history = desk.storage.history
    own, here = await history.stats(person=visit.person), await history.stats(place=visit.place)
    await visit.tell("\n".join(stats_lines(own, here, visit.words)))


async def queue(desk: Desk, visit: Click) -> None:
    """Say what runs and what waits."""
    entries = await load_queue(desk.storage, desk.app.settings)
    await visit.tell(listed(queue_lines(entries, visit.person, visit.words), visit.words))


async def cancel(desk: Desk, visit: Click, job: str | None = None) -> None:
    """Stop a job."""
    found = await _to_cancel(desk, visit, job)
    await desk.studio.cancel(found.id, by=visit.person)
    await visit.tell(visit.words.cancel_asked.format(job=found.id))


ANSWERS: Final[Mapping[str, Answer]] = {
    "help": help_,
    "privacy": privacy,
    "models": models,
    "stats": stats,
    "queue": queue,
    "cancel": cancel,
}


async def _on_their_way(desk: Desk, visit: Visit) -> list[Job]:
    latest = await desk.storage.history.page(person=visit.person, limit=25)
    return [job for job in latest if job.status in ON_ITS_WAY]


async def _to_cancel(desk: Desk, visit: Visit, name: str | None) -> Job:
    """Return the job that is meant, or somebody's latest; it must be theirs to cancel."""
    if name is None:
        jobs = await _on_their_way(desk, visit)
        if not jobs:
            raise Refusal(visit.words.nothing_to_cancel)
        return jobs[0]
    return (await desk.find(visit, name, Purpose.END)).job
