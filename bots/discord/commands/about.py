"""Commands about Marble and its jobs: help, privacy, models, statistics, the queue, cancelling."""

from typing import Any, Final

import discord

from bots.chat import commands
from bots.chat.privacy import privacy_text
from bots.discord.handler import Handler
from bots.discord.interaction import InteractionRequest
from bots.discord.parameters import Answer, Offers
from bots.discord.replies import CONTENT, listed
from bots.presentation.text import cut

CHOICE: Final = 100  # characters


async def help_(handler: Handler, request: InteractionRequest) -> None:
    """Explain what Marble can do, and how."""
    await request.answer(request.words.help)


async def privacy(handler: Handler, request: InteractionRequest) -> None:
    """Show the privacy text."""
    text = await privacy_text(handler.app.settings, request.words)
    await request.answer(cut(text, CONTENT))


def listing(name: str) -> Answer:
    """Return what answers with one of `bots.chat.commands.LIST_COMMANDS`."""

    async def answer(handler: Handler, request: InteractionRequest) -> None:
        words = request.words
        lines = await commands.LIST_COMMANDS[name](handler.app, request.viewer, words)
        await request.answer(listed(lines, words))

    return answer


async def cancel(handler: Handler, request: InteractionRequest, job: str | None = None) -> None:
    """Cancel a job, or the latest of the person's own that is unfinished."""
    await request.answer(await commands.cancel(handler.app, request, request.words, job or ""))


async def unfinished(handler: Handler, interaction: discord.Interaction[Any], text: str) -> Offers:
    """Offer the person's own jobs that wait or run."""
    viewer = InteractionRequest(interaction).viewer
    jobs = await commands.unfinished_jobs(handler.app, viewer)
    names = {str(job.id): f"{job.id} {job.recipe.prompt}" for job in jobs}
    return [(cut(name, CHOICE), job) for job, name in names.items() if text in name]
