"""/history and /show: what somebody drew before."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from discord import app_commands

from bots.discord.acts import pick
from bots.discord.commands.define import answering, define
from bots.discord.pages import FIRST, favourites_page, history_page
from bots.discord.visits import Click

if TYPE_CHECKING:
    from bots.discord.desk import Desk


def add(tree: app_commands.CommandTree[Any], desk: Desk) -> None:
    """Add the commands."""
    tree.add_command(define("history", answering(desk, history)))
    tree.add_command(define("show", answering(desk, show, defer=False)))


async def history(
    desk: Desk, visit: Click, search: str | None = None, favourites: bool = False
) -> None:
    """Show somebody's latest pictures to them alone."""
    if favourites:
        page = await favourites_page(desk, visit, FIRST)
    else:
        page = await history_page(desk, visit, FIRST, search or "")
    await visit.tell(page.content, page.files, page.view)


async def show(desk: Desk, visit: Click, picture: str) -> None:
    """Show a picture again: to all where all may see it, else to who asks alone."""
    await pick(desk, visit, picture)
