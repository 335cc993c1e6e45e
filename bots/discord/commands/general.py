"""Commands for everybody: about Marble, its jobs, and what a person has."""

from collections.abc import Mapping
from typing import Any, Final

import discord
from discord import ButtonStyle

from bots.chat import commands
from bots.chat.mydata import export_data
from bots.chat.privacy import privacy_text
from bots.discord.buttons import button
from bots.discord.commands.define import Offers
from bots.discord.handler import Answer, Handler
from bots.discord.interaction import InteractionRequest
from bots.discord.pages import FIRST, alike_page, favourites_page, history_page
from bots.discord.replies import CONTENT, FileData, Reply, listed
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


async def history(
    handler: Handler,
    request: InteractionRequest,
    search: str | None = None,
    like: str | None = None,
    favourites: bool = False,
) -> None:
    """Show the person's latest pictures, or those that are searched for."""
    if favourites:
        page = await favourites_page(handler, request, FIRST)
    elif like:
        page = await alike_page(handler, request, like)
    else:
        page = await history_page(handler, request, FIRST, search or "")
    await request.answer(page)


async def show_settings(handler: Handler, request: InteractionRequest) -> None:
    """Show the options that the person saved."""
    await request.answer(await _settings(handler, request))


async def change_settings(handler: Handler, request: InteractionRequest, **typed: Any) -> None:
    """Save options, if there are any, and show all that are saved."""
    if not typed:
        return await show_settings(handler, request)
    text = await _settings(handler, request, {name: str(v) for name, v in typed.items()})
    await request.answer(f"{request.words.settings_saved}\n{text}")


async def _settings(
    handler: Handler, request: InteractionRequest, typed: Mapping[str, str] | None = None
) -> str:
    viewer, words = request.viewer, request.words
    lines = await commands.settings(handler.app, viewer, words, typed, "{name}: {text}")
    return listed(lines, words)


async def reset_settings(handler: Handler, request: InteractionRequest) -> None:
    """Remove the options that the person saved."""
    await request.answer(await commands.reset_settings(handler.app, request.viewer, request.words))


async def export(handler: Handler, request: InteractionRequest) -> None:
    """Send everything that is kept of the person."""
    view, most = await handler.view(request), request.address.limit

    async def send(text: str, name: str, data: bytes) -> None:
        await request.send_file(Reply(content=text, files=(FileData(name=name, data=data),)))

    await export_data(handler.app, request.viewer, request.words, view=view, most=most, send=send)


async def web(handler: Handler, request: InteractionRequest, logout: bool = False) -> None:
    """Give the person a link to the web page, or end their sessions there."""
    app, viewer, words = handler.app, request.viewer, request.words
    if logout:
        await request.answer(await commands.web_logout(app, viewer, words))
        return
    url = await commands.web_link(app, viewer, words)
    await request.answer(words.web_link.format(url=f"<{url}>"))  # as it is: with no preview


async def ask_to_forget(handler: Handler, request: InteractionRequest) -> None:
    """Ask whether everything is to be removed; the button does it."""
    words = request.words
    sure = button("forget", "0", words.forget_confirm, "🗑️", style=ButtonStyle.danger)
    await request.answer(Reply(content=words.forget_question, buttons=(sure,)))
