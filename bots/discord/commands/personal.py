"""Commands about what a person has: /history, /show, /settings, /mydata."""

from collections.abc import Mapping
from typing import Any

from discord import ButtonStyle

from bots.chat import commands
from bots.chat.mydata import export_data
from bots.discord import actions
from bots.discord.buttons import button
from bots.discord.handler import Handler
from bots.discord.interaction import InteractionRequest
from bots.discord.pages import FIRST, favourites_page, history_page
from bots.discord.replies import FileData, Reply, listed


async def history(
    handler: Handler,
    request: InteractionRequest,
    search: str | None = None,
    favourites: bool = False,
) -> None:
    """Show the person's latest pictures."""
    if favourites:
        page = await favourites_page(handler, request, FIRST)
    else:
        page = await history_page(handler, request, FIRST, search or "")
    await request.answer(page)


async def show(handler: Handler, request: InteractionRequest, picture: str) -> None:
    """Show a picture again: to all where all may see it."""
    await actions.show(handler, request, picture)


async def show_settings(handler: Handler, request: InteractionRequest) -> None:
    """Show the options that the person saved."""
    await request.answer(await _settings(handler, request))


async def change_settings(handler: Handler, request: InteractionRequest, **typed: Any) -> None:
    """Save options, and show all that are saved."""
    await handler.acknowledge(request, private=True)
    text = await _settings(handler, request, {name: str(v) for name, v in typed.items()})
    await request.answer(f"{request.words.settings_saved}\n{text}")


async def reset_settings(handler: Handler, request: InteractionRequest) -> None:
    """Remove the options that the person saved."""
    await request.answer(await commands.reset_settings(handler.app, request.viewer, request.words))


async def _settings(
    handler: Handler, request: InteractionRequest, typed: Mapping[str, str] | None = None
) -> str:
    viewer, words = request.viewer, request.words
    lines = await commands.settings(handler.app, viewer, words, typed, "{name}: {text}")
    return listed(lines, words)


async def export(handler: Handler, request: InteractionRequest) -> None:
    """Send everything that is kept of the person."""
    view, most = await handler.view(request), request.address.limit

    async def send(text: str, name: str, data: bytes) -> None:
        await request.send_file(Reply(content=text, files=(FileData(name=name, data=data),)))

    await export_data(handler.app, request.viewer, request.words, view=view, most=most, send=send)


async def ask_to_forget(handler: Handler, request: InteractionRequest) -> None:
    """Ask whether everything is to be removed; the button does it."""
    words = request.words
    sure = button("forget", "0", words.forget_confirm, "🗑️", style=ButtonStyle.danger)
    await request.answer(Reply(content=words.forget_question, buttons=(sure,)))
