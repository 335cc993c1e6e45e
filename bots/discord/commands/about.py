"""Commands that tell: help, privacy, models, statistics, the queue; and the one that cancels."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final

import discord
from discord import app_commands

from bots.discord.commands.define import Answer, answering, define
from bots.discord.replies import CONTENT
from bots.discord.visits import Click, Refusal, Visit
from bots.line import Standing, look
from bots.presentation import cut, duration, escape_markdown
from bots.texts import Words
from engine.errors import UserError
from storage import Job, Status, parse_name

if TYPE_CHECKING:
    from bots.discord.desk import Desk

LINES: Final = 15  # of the queue
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
        callback = answering(desk, answer)
        if name == "cancel":
            callback = app_commands.autocomplete(job=complete)(callback)
        tree.add_command(define(name, callback))


async def help_(desk: Desk, visit: Click) -> None:
    """Say what Marble can do, and how."""
    await visit.tell(visit.words.help)


async def privacy(desk: Desk, visit: Click) -> None:
    """Say what is kept."""
    await visit.tell(visit.words.privacy)


async def models(desk: Desk, visit: Click) -> None:
    """List the models."""
    await visit.open(private=True)
    await visit.tell(models_text(desk, visit.words))


async def stats(desk: Desk, visit: Click) -> None:
    """Count what was drawn."""
    await visit.open(private=True)
    await visit.tell(await stats_text(desk, visit))


async def queue(desk: Desk, visit: Click) -> None:
    """Say what runs and what waits."""
    await visit.open(private=True)
    standings = await look(desk.storage, desk.app.settings)
    await visit.tell(queue_text(standings, visit))


async def cancel(desk: Desk, visit: Click, job: str | None = None) -> None:
    """Stop a job."""
    await visit.open(private=True)
    found = await _to_cancel(desk, visit, job)
    await desk.studio.cancel(found.id)
    await visit.tell(visit.words.cancel_asked.format(job=found.id))


ANSWERS: Final[Mapping[str, Answer]] = {
    "help": help_,
    "privacy": privacy,
    "models": models,
    "stats": stats,
    "queue": queue,
    "cancel": cancel,
}


def models_text(desk: Desk, words: Words) -> str:
    """List the models, what each is, and what it draws well with."""
    lines = []
    for name in desk.studio.models():
        try:
            model = desk.studio.model(name)
        except UserError as error:
            lines.append(escape_markdown(f"{name}: {error}"))
            continue
        defaults = model.defaults
        line = words.model_line.format(
            name=name,
            family=model.family.title,
            width=defaults.width,
            height=defaults.height,
            steps=defaults.steps,
        )
        lines.append(escape_markdown(line))
    return cut("\n".join([f"**{words.models_title}**", *lines]), CONTENT)


async def stats_text(desk: Desk, visit: Visit) -> str:
    """Count what somebody drew, and what was drawn where they are."""
    own = await desk.storage.history.stats(person=visit.person)
    here = await desk.storage.history.stats(place=visit.place)
    yours = visit.words.stats_yours.format(
        jobs=sum(own.jobs.values()), pictures=own.pictures, favourites=own.favourites
    )
    theirs = visit.words.stats_here.format(
        jobs=sum(here.jobs.values()), pictures=here.pictures, people=here.people
    )
    return f"{yours}\n{theirs}"


def queue_text(standings: Sequence[Standing], visit: Visit) -> str:
    """List what runs and what waits; of others no more than how much it is."""
    words = visit.words
    if not standings:
        return words.queue_empty
    lines = [_queue_line(standing, visit) for standing in standings[:LINES]]
    if hidden := len(standings[LINES:]):
        lines.append(words.queue_more.format(count=hidden))
    return cut("\n".join([f"**{words.queue_title}**", *lines]), CONTENT)


def _queue_line(standing: Standing, visit: Visit) -> str:
    words, job, recipe = visit.words, standing.job, standing.job.recipe
    own = job.person == visit.person
    what = f"{len(recipe.pictures)} × {recipe.width}×{recipe.height}, {recipe.checkpoint}"
    if own:
        what += f": {cut(recipe.prompt, 60)}"
    template = words.queue_waiting if standing.position else words.queue_running
    line = template.format(
        place=standing.position,
        job=job.id,
        who=words.you if own else words.somebody,
        what=escape_markdown(what),
    )
    if standing.eta is None:
        return line
    return words.with_eta.format(line=line, time=duration(standing.eta, words))


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
    job = await desk.storage.jobs.get(parse_name(name)[0])
    desk.require_owner(visit, job)
    return job
