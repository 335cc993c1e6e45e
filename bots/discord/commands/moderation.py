"""/moderate: bans, channels, and the pause of the queue, for moderators."""

from functools import partial
from typing import Final, Literal

import discord
from discord import app_commands

from bots.chat import moderation
from bots.chat.listings import act_lines
from bots.discord.address import PLATFORM, guild_key, person_key, place_key, read_place
from bots.discord.handler import Handler
from bots.discord.interaction import InteractionRequest
from bots.discord.messages import is_adult
from bots.discord.replies import CONTENT, SMALL_TEXT, local_times
from bots.discord.request import Request
from bots.presentation.text import escape_markdown, fit_list
from engine.errors import UserError

REASON: Final = 300  # characters

Reason = app_commands.Range[str, 1, REASON]
Rule = app_commands.Range[str, 1, REASON]
# Those that have no option of their own: Discord takes 25 of a command, and as many choices.
OtherRule = Literal[
    "default_count",
    "pixels",
    "strength",
    "rescale",
    "clip_skip",
    "shift",
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
    "workflows",
]
Hours = app_commands.Range[int, 1, moderation.HOURS]


async def ban(
    handler: Handler,
    request: InteractionRequest,
    person: discord.User,
    reason: Reason,
    hours: Hours | None = None,
) -> None:
    """Ban somebody from this server."""
    place, who, by = handler.moderated_place(request), person_key(person.id), request.person
    await moderation.ban(handler.app, who, by=by, place=place, reason=reason, hours=hours)
    text = request.words.ban_done
    await request.answer(text.format(who=person.mention, reason=escape_markdown(reason)))


async def unban(handler: Handler, request: InteractionRequest, person: discord.User) -> None:
    """Lift a ban."""
    place, who, by = handler.moderated_place(request), person_key(person.id), request.person
    lifted = await moderation.lift_ban(handler.app, who, by=by, place=place)
    text = request.words.ban_lifted if lifted else request.words.no_ban
    await request.answer(text.format(who=person.mention))


async def channel(
    handler: Handler,
    request: InteractionRequest,
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
    """Change the rules of this channel and its threads, or of the whole server, and list them."""
    typed = {"steps": steps, "guidance": guidance, "width": width, "height": height}
    typed |= {"count": count, "models": models, "blocked": blocked, "safety": safety}
    typed |= {"per_minute": per_minute, "place_per_minute": place_per_minute}
    place = handler.moderated_place(request, server=server)
    if (rule is None) is not (value is None):
        raise UserError(request.words.rule_and_value)
    typed |= {rule: value} if rule else {}
    await handler.add_place(request)
    given = {name: text for name, text in typed.items() if text}
    await moderation.change_rules(handler.app, place, given, open, by=request.person)
    await request.answer(await rules_text(handler, request, place))


async def log(handler: Handler, request: InteractionRequest) -> None:
    """List what moderators did in this server."""
    acts = await moderation.latest_acts(handler.app, handler.moderated_place(request))
    words = request.words
    title, *lines = act_lines(acts, words, person=_mention, escape=escape_markdown, joint=" ")
    lines = [f"**{title}**" if lines else title, *map(local_times, lines)]
    await request.answer(fit_list(lines, CONTENT, words.and_more))


async def pause(handler: Handler, request: InteractionRequest, reason: Reason) -> None:
    """Pause the queue, for Marble's own moderators."""
    await handler.app.pausing.pause(reason, request.person)
    await request.answer(request.words.queue_paused.format(reason=escape_markdown(reason)))


async def resume(handler: Handler, request: InteractionRequest) -> None:
    """Resume the queue, for Marble's own moderators."""
    found = await handler.app.pausing.resume(request.person)
    await request.answer(request.words.queue_resumed if found else request.words.queue_not_paused)


async def rules_text(handler: Handler, request: Request, place: str) -> str:
    """List the rules in force in a place: the request's own, or its server."""
    assert request.guild
    words = request.words
    called, here = {guild_key(request.guild): words.this_server}, words.this_channel
    if request.parent:
        here = words.this_thread
        called[place_key(request.guild, request.parent)] = words.channel_of_thread
    adult = partial(is_adult, handler.client)
    title, *rules = await moderation.list_rules(
        handler.app, place, words, here=here, called=called, adult=adult
    )
    lines = [f"**{title}**", *map(escape_markdown, rules)]
    below = f"\n{SMALL_TEXT}{words.rules_how}"
    return fit_list(lines, CONTENT - len(below), words.and_more) + below


def _mention(key: str) -> str:
    if place := read_place(key):
        return f"<#{place[1]}>"
    platform, _, rest = key.partition(":")
    known = platform == PLATFORM and rest.isdigit()
    return f"<@{rest}>" if known else escape_markdown(key)
