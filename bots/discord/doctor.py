"""Ask Discord whether the token works, and whether anything keeps the bot from answering."""

from collections.abc import AsyncIterator
from typing import Final

import discord

from bots.discord.connection import Connection, point_at
from bots.discord.errors import translate
from bots.discord.invitation import invite_link, lacking
from bots.operations.doctor import Finding, State
from bots.operations.settings import Settings
from bots.worker.delivery import AdapterStopped

WHAT: Final = "discord"
SERVERS: Final = 200  # that are looked at


async def check_discord(settings: Settings) -> AsyncIterator[Finding]:
    """Look at the token, at the application, and at what the bot may do in each server."""
    assert settings.discord_token
    point_at(settings)
    async with Connection(settings) as client:
        try:
            await client.login(settings.discord_token)
        except Exception as error:
            found = translate(error)
            if isinstance(found, AdapterStopped):
                cure = "copy it again from discord.com/developers (Bot, Reset Token) into .env"
                yield Finding(WHAT, State.BAD, "the token is refused", cure)
                return
            cure = "check the network, then discordstatus.com"
            yield Finding(WHAT, State.BAD, f"Discord cannot be reached ({found})", cure)
            return
        for finding in await _look(client):
            yield finding


async def _look(client: discord.Client) -> list[Finding]:
    application, user = client.application, client.user
    assert application
    assert user
    link = invite_link(application.id)
    found = [
        Finding(WHAT, State.GOOD, f"the token belongs to {user}; no privileged intent is needed"),
        Finding(WHAT, State.GOOD, f"invite it with {link}"),
    ]
    if application.interactions_endpoint_url:
        cure = "clear “Interactions Endpoint URL” at discord.com/developers"
        text = "commands and buttons are sent to a web address instead of to Marble"
        found.append(Finding(WHAT, State.BAD, text, cure))
    servers = await client.http.get_guilds(SERVERS)
    if not servers:
        found.append(Finding(WHAT, State.POOR, "it is in no server yet", "invite it"))
    for server in servers:
        permissions = discord.Permissions(int(server.get("permissions", 0)))
        if missing := lacking(permissions):
            text = f"in {server['name']!r} it lacks permissions: {', '.join(missing)}"
            cure = f"give it those, or invite it again: {link}"
            found.append(Finding(WHAT, State.POOR, text, cure))
    return found
