"""Register the commands with Discord, only when they changed: it limits how often."""

import hashlib
import json
import logging
from typing import Any, Final

import discord
from discord import app_commands

from bots.discord.address import PLATFORM
from bots.service.app import App

SETTING: Final = "commands"

log = logging.getLogger(__name__)


async def sync(tree: app_commands.CommandTree[Any], app: App) -> bool:
    """Register the commands unless Discord has these already; return whether it was needed."""
    guild = app.settings.discord_test_guild
    target = discord.Object(guild) if guild else None
    if target:
        tree.copy_global_to(guild=target)
    place = f"{PLATFORM}:app/{tree.client.application_id}/{guild or ''}"
    wanted = await fingerprint(tree)
    known = await app.storage.people.places_with(SETTING)
    if known.get(place) == wanted:
        return False
    registered = await tree.sync(guild=target)
    log.info("%d commands registered", len(registered))
    await app.storage.people.change_place_settings(place, {SETTING: wanted})
    return True


async def fingerprint(tree: app_commands.CommandTree[Any]) -> str:
    """Return a hash of all that is registered."""
    translator = tree.translator
    assert translator
    payload = [await each.get_translated_payload(tree, translator) for each in tree.get_commands()]
    text = json.dumps(payload, sort_keys=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()
