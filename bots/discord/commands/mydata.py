"""/mydata: get what is kept of oneself, or have it removed."""

from __future__ import annotations

from typing import Any

from discord import ButtonStyle, app_commands

from bots.chat.mydata import export_data
from bots.discord.buttons import button, view_of
from bots.discord.commands.define import answering, define, group
from bots.discord.handler import Handler
from bots.discord.interaction import InteractionRequest
from bots.discord.replies import FileData, Reply


def add(tree: app_commands.CommandTree[Any], handler: Handler) -> None:
    """Add the commands."""
    mydata = group("mydata")
    mydata.add_command(define("mydata export", answering(handler, export)))
    mydata.add_command(define("mydata delete", answering(handler, delete, defer=False)))
    tree.add_command(mydata)


async def export(handler: Handler, request: InteractionRequest) -> None:
    """Send everything that is kept of the person to them alone."""
    view, most = await handler.view(request), request.address.limit

    async def send(text: str, name: str, data: bytes) -> None:
        await request.send_file(Reply(content=text, files=(FileData(name=name, data=data),)))

    await export_data(handler.app, request.viewer, request.words, view=view, most=most, send=send)


async def delete(handler: Handler, request: InteractionRequest) -> None:
    """Ask whether everything is to be removed; the button does it."""
    words = request.words
    sure = button("forget", "0", words.forget_confirm, "🗑️", style=ButtonStyle.danger)
    await request.answer(Reply(content=words.forget_question, view=view_of(sure)))
