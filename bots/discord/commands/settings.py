"""/settings: what holds when somebody types nothing else."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import discord
from discord import app_commands

from bots.chat.listings import settings_lines
from bots.discord.commands.define import answering, define, group
from bots.discord.parameters import with_options
from bots.discord.replies import listed
from bots.discord.visits import Click
from bots.requests.preferences import PREFERABLE, forget_preferences, prefer, preferred
from bots.texts import Words

if TYPE_CHECKING:
    from bots.discord.desk import Desk


def add(tree: app_commands.CommandTree[Any], desk: Desk) -> None:
    """Add the commands."""

    async def change(interaction: discord.Interaction[Any], **typed: Any) -> None:
        visit = Click(interaction)
        async with desk.receive(visit):
            await visit.open(private=True)
            texts = {name: str(value) for name, value in typed.items()}
            saved = await prefer(desk.storage.people, visit.person, texts)
            text = settings_text(saved, visit.words)
            await visit.tell(f"{visit.words.settings_saved}\n{text}")

    settings = group("settings")
    settings.add_command(define("settings show", answering(desk, show)))
    settings.add_command(define("settings set", with_options(change, desk, PREFERABLE)))
    settings.add_command(define("settings reset", answering(desk, reset)))
    tree.add_command(settings)


async def show(desk: Desk, visit: Click) -> None:
    """Show what somebody saved."""
    saved = await preferred(desk.storage.people, visit.person)
    await visit.tell(settings_text(saved, visit.words))


async def reset(desk: Desk, visit: Click) -> None:
    """Forget what somebody saved."""
    await forget_preferences(desk.storage.people, visit.person)
    await visit.tell(visit.words.settings_reset)


def settings_text(saved: Mapping[str, str], words: Words) -> str:
    """List what somebody saved."""
    return listed(settings_lines(saved, words, "{name}: {text}"), words)
