"""/history and /show: what somebody drew before."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import discord
from discord import app_commands

from bots.discord.acts import pick
from bots.discord.commands.define import define
from bots.discord.pages import FIRST, favourites_page, history_page
from bots.discord.visits import Click

if TYPE_CHECKING:
    from bots.discord.desk import Desk


def add(tree: app_commands.CommandTree[Any], desk: Desk) -> None:
    """Add the commands."""

    async def history(
        interaction: discord.Interaction[Any],
        search: str | None = None,
        favourites: bool = False,
    ) -> None:
        visit = Click(interaction)
        async with desk.receive(visit):
            await visit.open(private=True)
            if favourites:
                page = await favourites_page(desk, visit, FIRST)
            else:
                page = await history_page(desk, visit, FIRST, search or "")
            await visit.tell(page.content, page.files, page.view)

    async def show(interaction: discord.Interaction[Any], picture: str) -> None:
        visit = Click(interaction)
        async with desk.receive(visit):
            job, _ = await desk.pictures(picture)
            desk.require_sight(visit, job)
            await pick(desk, visit, picture)

    tree.add_command(define("history", history))
    tree.add_command(define("show", show))
