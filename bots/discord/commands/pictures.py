"""/history and /show: what somebody drew before."""

from __future__ import annotations

from typing import Any

from discord import app_commands

from bots.discord import actions
from bots.discord.commands.define import answering, define
from bots.discord.handler import Handler
from bots.discord.interaction import InteractionRequest
from bots.discord.pages import FIRST, favourites_page, history_page


def add(tree: app_commands.CommandTree[Any], handler: Handler) -> None:
    """Add the commands."""
    tree.add_command(define("history", answering(handler, history)))
    tree.add_command(define("show", answering(handler, show, defer=False)))


async def history(
    handler: Handler,
    request: InteractionRequest,
    search: str | None = None,
    favourites: bool = False,
) -> None:
    """Show the person's latest pictures to them alone."""
    if favourites:
        page = await favourites_page(handler, request, FIRST)
    else:
        page = await history_page(handler, request, FIRST, search or "")
    await request.answer(page)


async def show(handler: Handler, request: InteractionRequest, picture: str) -> None:
    """Show a picture again: to all where all may see it, else to the person alone."""
    await actions.show(handler, request, picture)
