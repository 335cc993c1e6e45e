"""Ask Discord whether the token works, and whether anything keeps the bot from answering."""

from collections.abc import AsyncIterator
from typing import Final

import discord

from bots.discord.connection import Connection, point_at
from bots.discord.errors import translate
from bots.operations.doctor import Finding, State
from bots.operations.settings import Settings
from bots.worker.delivery import AdapterStopped

WHAT: Final = "discord"
SERVERS: Final = 200  # that are looked at
# Answers need them: to see the channel, to write there and in its threads, to attach pictures, and
# to reply to a message that was there before.
PERMISSIONS: Final = discord.Permissions(
    view_channel=True,
    send_messages=True,
    send_messages_in_threads=True,
    attach_files=True,
    read_message_history=True,
)
SCOPES: Final = ("bot", "applications.commands")


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
        async for finding in _look(client):
            yield finding


async def _look(client: discord.Client) -> AsyncIterator[Finding]:
    application = client.application
    assert application
    link = discord.utils.oauth_url(application.id, permissions=PERMISSIONS, scopes=SCOPES)
    text = f"the token belongs to {client.user}; no privileged intent is needed"
    yield Finding(WHAT, State.GOOD, text)
    yield Finding(WHAT, State.GOOD, f"invite it with {link}")
    if application.interactions_endpoint_url:
        cure = "clear “Interactions Endpoint URL” at discord.com/developers"
        text = "commands and buttons are sent to a web address instead of to Marble"
        yield Finding(WHAT, State.BAD, text, cure)
    yield await _shards(client)
    servers = await client.http.get_guilds(SERVERS)
    if not servers:
        yield Finding(WHAT, State.POOR, "it is in no server yet", "invite it")
    for server in servers:
        permissions = discord.Permissions(int(server.get("permissions", 0)))
        if missing := _lacking(permissions):
            text = f"in {server['name']!r} it lacks permissions: {', '.join(missing)}"
            cure = f"give it those, or invite it again: {link}"
            yield Finding(WHAT, State.POOR, text, cure)


async def _shards(client: discord.Client) -> Finding:
    """Say how many connections Discord asks for, and whether it allows them now."""
    count, _, limits = await client.http.get_bot_gateway()
    left, total = limits["remaining"], limits["total"]
    text = f"connections (shards) that Discord asks for: {count}; starts left: {left} of {total}"
    if left >= count:
        return Finding(WHAT, State.GOOD, text)
    hours = limits["reset_after"] / 3_600_000
    cure = f"wait (hours: {hours:.1f}), and find out what starts the bot so often"
    return Finding(WHAT, State.BAD, text, cure)


def _lacking(permissions: discord.Permissions) -> list[str]:
    """Return the names, as Discord shows them, of permissions that Marble lacks."""
    if permissions.administrator:
        return []
    wanted = (name for name, asked_for in PERMISSIONS if asked_for)
    return [name.replace("_", " ").title() for name in wanted if not getattr(permissions, name)]
