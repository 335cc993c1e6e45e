"""/mydata: get what is kept of oneself, or have it removed."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from discord import ButtonStyle, app_commands

from bots.chat.mydata import export_data
from bots.discord.buttons import button, view_of
from bots.discord.commands.define import answering, define, group
from bots.discord.replies import Attached
from bots.discord.sight import Onlooker
from bots.discord.visits import Click

if TYPE_CHECKING:
    from bots.discord.desk import Desk


def add(tree: app_commands.CommandTree[Any], desk: Desk) -> None:
    """Add the commands."""
    mydata = group("mydata")
    mydata.add_command(define("mydata export", answering(desk, export)))
    mydata.add_command(define("mydata delete", answering(desk, delete, defer=False)))
    tree.add_command(mydata)


async def export(desk: Desk, visit: Click) -> None:
    """Hand over everything that is kept of who asks."""
    seen, most, viewer = await desk.seen(visit), visit.address.limit, Onlooker(visit).viewer

    async def send(text: str, name: str, data: bytes) -> None:
        await visit.hand_over(text, Attached(name=name, data=data))

    await export_data(desk.app, viewer, visit.words, view=seen, most=most, send=send)


async def delete(desk: Desk, visit: Click) -> None:
    """Ask whether everything is to be removed; the button does it."""
    words = visit.words
    sure = button("forget", "0", words.forget_confirm, "🗑️", style=ButtonStyle.danger)
    await visit.tell(words.forget_question, view=view_of(sure))
