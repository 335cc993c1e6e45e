"""Commands about Marble and its jobs: help, privacy, models, statistics, the queue, cancelling."""

from __future__ import annotations

from typing import Any, Final

import discord
from discord import app_commands

from bots.chat import commands
from bots.chat.privacy import privacy_text
from bots.discord.commands.define import answering, define
from bots.discord.handler import Handler
from bots.discord.interaction import InteractionRequest
from bots.discord.parameters import Answer
from bots.discord.replies import CONTENT, listed
from bots.presentation.text import cut

LISTINGS: Final = ("models", "stats", "queue")
CHOICE: Final = 100  # characters


def add(tree: app_commands.CommandTree[Any], handler: Handler) -> None:
    """Add the commands."""

    async def complete(
        interaction: discord.Interaction[Any], text: str
    ) -> list[app_commands.Choice[str]]:
        viewer = InteractionRequest(interaction).viewer
        jobs = await commands.unfinished_jobs(handler.app, viewer)
        names = [f"{job.id} {job.recipe.prompt}" for job in jobs]
        return [
            app_commands.Choice(name=cut(name, CHOICE), value=name.partition(" ")[0])
            for name in names
            if text in name
        ]

    # The first two need no database, and are answered at once.
    tree.add_command(define("help", answering(handler, help_, defer=False)))
    tree.add_command(define("privacy", answering(handler, privacy, defer=False)))
    for name in LISTINGS:
        tree.add_command(define(name, answering(handler, listing(name))))
    callback = app_commands.autocomplete(job=complete)(answering(handler, cancel))
    tree.add_command(define("cancel", callback))


async def help_(handler: Handler, request: InteractionRequest) -> None:
    """Say what Marble can do, and how."""
    await request.answer(request.words.help)


async def privacy(handler: Handler, request: InteractionRequest) -> None:
    """Say what is kept."""
    text = await privacy_text(handler.app.settings, request.words)
    await request.answer(cut(text, CONTENT))


def listing(name: str) -> Answer:
    """Return what answers with one of `bots.chat.commands.LISTINGS`."""

    async def answer(handler: Handler, request: InteractionRequest) -> None:
        words = request.words
        lines = await commands.LISTINGS[name](handler.app, request.viewer, words)
        await request.answer(listed(lines, words))

    return answer


async def cancel(handler: Handler, request: InteractionRequest, job: str | None = None) -> None:
    """Cancel a job, or the latest of the person's own that is unfinished."""
    await request.answer(await commands.cancel(handler.app, request, request.words, job or ""))
