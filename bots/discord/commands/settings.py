"""/settings: somebody's default options."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from discord import app_commands

from bots.chat import commands
from bots.discord.commands.define import answering, define, group
from bots.discord.handler import Handler
from bots.discord.interaction import InteractionRequest
from bots.discord.parameters import with_options
from bots.discord.replies import listed
from bots.requests.preferences import PREFERABLE


def add(tree: app_commands.CommandTree[Any], handler: Handler) -> None:
    """Add the commands."""
    settings = group("settings")
    settings.add_command(define("settings show", answering(handler, show)))
    settings.add_command(define("settings set", with_options(change, handler, PREFERABLE)))
    settings.add_command(define("settings reset", answering(handler, reset)))
    tree.add_command(settings)


async def show(handler: Handler, request: InteractionRequest) -> None:
    """Show what the person saved."""
    await request.answer(await _settings(handler, request))


async def change(handler: Handler, request: InteractionRequest, **typed: Any) -> None:
    """Save options, and show all that are saved."""
    await handler.acknowledge(request, private=True)
    texts = {name: str(value) for name, value in typed.items()}
    text = await _settings(handler, request, texts)
    await request.answer(f"{request.words.settings_saved}\n{text}")


async def reset(handler: Handler, request: InteractionRequest) -> None:
    """Remove what the person saved."""
    await request.answer(await commands.reset_settings(handler.app, request.viewer, request.words))


async def _settings(
    handler: Handler, request: InteractionRequest, typed: Mapping[str, str] | None = None
) -> str:
    viewer, words = request.viewer, request.words
    lines = await commands.settings(handler.app, viewer, words, typed, "{name}: {text}")
    return listed(lines, words)
