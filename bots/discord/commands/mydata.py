"""/mydata: get what is kept of oneself, or have it removed."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from discord import ButtonStyle, app_commands

from bots.chat.exports import PARTS, export_text
from bots.discord.buttons import button, view_of
from bots.discord.commands.define import answering, define, group
from bots.discord.replies import Attached
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
    seen, most = await desk.seen(visit), visit.address.limit
    exports = desk.storage.exports
    async with exports.begin(visit.person, most=most, parts=PARTS, may=seen.shows) as export:
        for number in export.numbers:
            async with export.part(number) as part:
                text = export_text(export.plan.exported, part, visit.words)
                data = await asyncio.to_thread(part.file.read_bytes)
                await visit.hand_over(text, Attached(name=part.file.name, data=data))


async def delete(desk: Desk, visit: Click) -> None:
    """Ask whether everything is to be removed; the button does it."""
    words = visit.words
    sure = button("forget", "0", words.forget_confirm, "🗑️", style=ButtonStyle.danger)
    await visit.tell(words.forget_question, view=view_of(sure))
