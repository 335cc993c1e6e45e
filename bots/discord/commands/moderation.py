"""/moderate: bans, channels, and the pause of the queue, for moderators."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, Final

import discord
from discord import app_commands

from bots.discord.address import guild_key, person_key
from bots.discord.commands.define import Answer, answering, define, group
from bots.discord.replies import CONTENT
from bots.discord.visits import Click, Refusal
from bots.presentation import cut, escape_markdown
from bots.texts import Words
from storage.records import Act

if TYPE_CHECKING:
    from bots.discord.desk import Desk

OPEN: Final = "open"  # a place's setting: whether pictures may be asked for there
REASON: Final = 300  # characters
HOURS: Final = 24 * 365
ACTS: Final = 15

Reason = app_commands.Range[str, 1, REASON]
Hours = app_commands.Range[int, 1, HOURS]


def add(tree: app_commands.CommandTree[Any], desk: Desk) -> None:
    """Add the commands; Discord shows them to who manages messages, and each one checks."""
    moderate = group(
        "moderate",
        default_permissions=discord.Permissions(manage_messages=True),
        allowed_contexts=app_commands.AppCommandContext(guild=True),
        allowed_installs=app_commands.AppInstallationType(guild=True),
    )
    for name, answer in ANSWERS.items():
        moderate.add_command(define(f"moderate {name}", answering(desk, answer)))
    tree.add_command(moderate)


async def ban(
    desk: Desk, visit: Click, person: discord.User, reason: Reason, hours: Hours | None = None
) -> None:
    """Let somebody ask for nothing in this server."""
    server = _server(desk, visit)
    until = datetime.now(UTC) + timedelta(hours=hours) if hours else None
    who, moderation = person_key(person.id), desk.storage.moderation
    await moderation.ban(who, by=visit.person, reason=reason, place=server, until=until)
    text = visit.words.ban_done
    await visit.tell(text.format(who=person.mention, reason=escape_markdown(reason)))


async def unban(desk: Desk, visit: Click, person: discord.User) -> None:
    """Lift a ban."""
    server, who = _server(desk, visit), person_key(person.id)
    lifted = await desk.storage.moderation.lift_ban(who, by=visit.person, place=server)
    text = visit.words.ban_lifted if lifted else visit.words.no_ban
    await visit.tell(text.format(who=person.mention))


async def channel(desk: Desk, visit: Click, open: bool) -> None:
    """Say whether pictures may be asked for in this channel and its threads."""
    _server(desk, visit)
    await desk.know_place(visit)
    # None lets what holds in the server hold here again.
    rule = {OPEN: None if open else False}
    await desk.storage.people.change_place_settings(visit.place, rule)
    detail = {OPEN: open}
    await desk.storage.moderation.record(visit.person, "channel", place=visit.place, detail=detail)
    words = visit.words
    await visit.tell(words.channel_rules.format(open=words.yes if open else words.no))


async def log(desk: Desk, visit: Click) -> None:
    """List what moderators did in this server."""
    server = _server(desk, visit)
    await visit.open(private=True)
    acts = [each for each in await desk.storage.moderation.acts() if _within(each, server)]
    await visit.tell(acts_text(acts[:ACTS], visit.words))


async def pause(desk: Desk, visit: Click, reason: Reason) -> None:
    """Let nothing more start, for Marble's own moderators."""
    await desk.app.pausing.pause(reason, visit.person)
    await visit.tell(visit.words.queue_paused.format(reason=escape_markdown(reason)))


async def resume(desk: Desk, visit: Click) -> None:
    """Let jobs start again, for Marble's own moderators."""
    found = await desk.app.pausing.resume(visit.person)
    await visit.tell(visit.words.queue_resumed if found else visit.words.queue_not_paused)


ANSWERS: Final[Mapping[str, Answer]] = {
    "ban": ban,
    "unban": unban,
    "channel": channel,
    "log": log,
    "pause": pause,
    "resume": resume,
}


def acts_text(acts: list[Act], words: Words) -> str:
    """List what moderators did, newest first."""
    if not acts:
        return words.acts_empty
    lines = []
    for act in acts:
        by, target = (_mention(key) if key else "" for key in (act.by, act.target))
        detail = ", ".join(f"{name}: {value}" for name, value in act.detail.items() if value)
        when = f"<t:{int(act.at.timestamp())}:f>"
        lines.append(f"{when} {by} {act.act} {target} {escape_markdown(detail)}".rstrip())
    return cut("\n".join([f"**{words.acts_title}**", *lines]), CONTENT)


def _mention(key: str) -> str:
    platform, _, rest = key.partition(":")
    known = platform == "discord" and rest.isdigit()
    return f"<@{rest}>" if known else escape_markdown(key)


def _within(act: Act, server: str) -> bool:
    return act.place is not None and (act.place == server or act.place.startswith(f"{server}/"))


def _server(desk: Desk, visit: Click) -> str:
    """Return the server that a moderator speaks for, or raise `Refusal`."""
    if visit.guild is None or not desk.may_moderate(visit):
        raise Refusal(visit.words.moderators_only)
    return guild_key(visit.guild)
