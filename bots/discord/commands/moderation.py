"""/moderate: bans, channels, and the pause of the queue, for moderators."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, Final, Literal

import discord
from discord import app_commands

from bots.chat.listings import act_detail, rule_lines
from bots.chat.moderation import change_rules
from bots.discord.address import guild_key, person_key, place_key
from bots.discord.commands.define import Answer, answering, define, group
from bots.discord.replies import CONTENT, SMALL_TEXT
from bots.discord.visits import Click, Refusal, Visit
from bots.presentation import escape_markdown, fit_list
from bots.texts import Words
from storage.records import Act

if TYPE_CHECKING:
    from bots.discord.desk import Desk

REASON: Final = 300  # characters
HOURS: Final = 24 * 365
ACTS: Final = 15

Reason = app_commands.Range[str, 1, REASON]
Rule = app_commands.Range[str, 1, REASON]
# Those that have no option of their own: Discord takes 25 of a command, and as many choices.
OtherRule = Literal[
    "pixels",
    "strength",
    "rescale",
    "clip_skip",
    "upscale",
    "images",
    "loras",
    "lora",
    "lora_weight",
    "controls",
    "control",
    "control_strength",
    "sampler",
    "schedule",
    "fit",
    "vae",
    "upscaler",
]
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
    server = desk.moderated(visit)
    until = datetime.now(UTC) + timedelta(hours=hours) if hours else None
    who, moderation = person_key(person.id), desk.storage.moderation
    await moderation.ban(who, by=visit.person, reason=reason, place=server, until=until)
    text = visit.words.ban_done
    await visit.tell(text.format(who=person.mention, reason=escape_markdown(reason)))


async def unban(desk: Desk, visit: Click, person: discord.User) -> None:
    """Lift a ban."""
    server, who = desk.moderated(visit), person_key(person.id)
    lifted = await desk.storage.moderation.lift_ban(who, by=visit.person, place=server)
    text = visit.words.ban_lifted if lifted else visit.words.no_ban
    await visit.tell(text.format(who=person.mention))


async def channel(
    desk: Desk,
    visit: Click,
    open: bool | None = None,
    steps: Rule | None = None,
    guidance: Rule | None = None,
    width: Rule | None = None,
    height: Rule | None = None,
    count: Rule | None = None,
    models: Rule | None = None,
    per_minute: Rule | None = None,
    place_per_minute: Rule | None = None,
    blocked: Rule | None = None,
    safety: Rule | None = None,
    rule: OtherRule | None = None,
    value: Rule | None = None,
    server: bool = False,
) -> None:
    """Change what holds in this channel and its threads, or in the whole server, and show it."""
    typed = {"steps": steps, "guidance": guidance, "width": width, "height": height}
    typed |= {"count": count, "models": models, "blocked": blocked, "safety": safety}
    typed |= {"per_minute": per_minute, "place_per_minute": place_per_minute}
    place = desk.moderated(visit, server=server)
    if (rule is None) is not (value is None):
        raise Refusal(visit.words.rule_and_value)
    typed |= {rule: value} if rule else {}
    await desk.know_place(visit)
    given = {name: text for name, text in typed.items() if text}
    await change_rules(desk.app, place, given, open, by=visit.person)
    await visit.tell(await rules_text(desk, visit, place))


async def log(desk: Desk, visit: Click) -> None:
    """List what moderators did in this server."""
    server = desk.moderated(visit)
    acts = await desk.storage.moderation.acts(within=server, limit=ACTS)
    await visit.tell(acts_text(acts, visit.words))


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


async def rules_text(desk: Desk, visit: Visit, place: str) -> str:
    """List what is in force in a place: the visit's own, or its server."""
    assert visit.guild
    words = visit.words
    called = {guild_key(visit.guild): words.this_server}
    if visit.parent:
        called[place_key(visit.guild, visit.parent)] = words.channel_of_thread
    title = words.rules_title.format(where=called.get(place, words.this_channel))
    held = await desk.app.gate.in_force(place, desk.client.is_adult)
    lines = map(escape_markdown, rule_lines(held, words, called))
    below = f"\n{SMALL_TEXT}{words.rules_how}"
    return fit_list([f"**{title}**", *lines], CONTENT - len(below), words.and_more) + below


def acts_text(acts: Sequence[Act], words: Words) -> str:
    """List what moderators did, newest first."""
    if not acts:
        return words.acts_empty
    lines = []
    for act in acts:
        by, target = (_mention(key) if key else "" for key in (act.by, act.target))
        name, detail = words.acts.get(act.act, act.act), act_detail(act, words)
        when = f"<t:{int(act.at.timestamp())}:f>"
        lines.append(" ".join(filter(None, (when, by, name, target, escape_markdown(detail)))))
    return fit_list([f"**{words.acts_title}**", *lines], CONTENT, words.and_more)


def _mention(key: str) -> str:
    platform, _, rest = key.partition(":")
    known = platform == "discord" and rest.isdigit()
    return f"<@{rest}>" if known else escape_markdown(key)
