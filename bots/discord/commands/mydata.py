"""/mydata: get what is kept of oneself, or have it removed."""

from __future__ import annotations

import asyncio
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any, Final

from discord import ButtonStyle, app_commands

from bots.discord.buttons import button, view_of
from bots.discord.commands.define import answering, define, group
from bots.discord.replies import Attached
from bots.discord.visits import Click, Refusal

if TYPE_CHECKING:
    from bots.discord.desk import Desk

FILE: Final = "marble.zip"


def add(tree: app_commands.CommandTree[Any], desk: Desk) -> None:
    """Add the commands."""
    mydata = group("mydata")
    mydata.add_command(define("mydata export", answering(desk, export)))
    mydata.add_command(define("mydata delete", answering(desk, delete)))
    tree.add_command(mydata)


async def export(desk: Desk, visit: Click) -> None:
    """Hand over everything that is kept of who asks."""
    await visit.open(private=True)
    with TemporaryDirectory(dir=desk.app.settings.data_dir) as folder:
        file = Path(folder) / FILE
        seen = await desk.seen(visit)
        found = await desk.storage.privacy.export(visit.person, file, may=seen.shows)
        size = file.stat().st_size
        if size > visit.address.limit:
            megabytes = round(size / 2**20)
            raise Refusal(visit.words.too_large_export.format(size=megabytes))
        data = await asyncio.to_thread(file.read_bytes)
    text = visit.words.export_ready.format(pictures=found.pictures)
    if found.left_out:
        text += " " + visit.words.export_without.format(count=found.left_out)
    await visit.tell(text, [Attached(name=FILE, data=data)])


async def delete(desk: Desk, visit: Click) -> None:
    """Ask whether everything is to be removed; the button does it."""
    words = visit.words
    sure = button("forget", "0", words.forget_confirm, "🗑️", style=ButtonStyle.danger)
    await visit.tell(words.forget_question, view=view_of(sure))
