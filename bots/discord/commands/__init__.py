"""Slash commands and context menus: which there are, and what answers them."""

from collections.abc import Mapping, Sequence
from typing import Any, Final

import discord
from discord import app_commands

from bots.discord.commands import about, menus, moderation, personal, styles
from bots.discord.commands.define import answering, define, group
from bots.discord.commands.imagine import imagine
from bots.discord.handler import Handler
from bots.discord.parameters import Answer, Offer
from bots.requests.default_options import SAVABLE
from bots.requests.options import OPTIONS, Option

# Discord is told again of all commands when their order changes.
ANSWERS: Final[Mapping[str, Answer]] = {
    "imagine": imagine,
    "history": personal.history,
    "show": personal.show,
    "style list": styles.list_,
    "style add": styles.keep,
    "style remove": styles.remove,
    "settings show": personal.show_settings,
    "settings set": personal.change_settings,
    "settings reset": personal.reset_settings,
    "help": about.help_,
    "privacy": about.privacy,
    **{name: about.listing(name) for name in ("models", "stats", "queue")},
    "cancel": about.cancel,
    "mydata export": personal.export,
    "mydata delete": personal.ask_to_forget,
    "moderate ban": moderation.ban,
    "moderate unban": moderation.unban,
    "moderate channel": moderation.channel,
    "moderate log": moderation.log,
    "moderate pause": moderation.pause,
    "moderate resume": moderation.resume,
}
# These acknowledge by themselves, or are answered without the database.
NOT_DEFERRED: Final = frozenset(
    {"imagine", "show", "settings set", "help", "privacy", "mydata delete"}
)
OPTIONS_OF: Final[Mapping[str, Sequence[Option]]] = {
    "imagine": OPTIONS,
    "settings set": SAVABLE,
}
OFFERS: Final[Mapping[str, Mapping[str, Offer]]] = {
    "cancel": {"job": about.unfinished},
    "style remove": {"name": styles.own},
}
# Discord shows these to who manages messages; each one checks all the same.
MODERATE: Final[Mapping[str, Any]] = {
    "default_permissions": discord.Permissions(manage_messages=True),
    "allowed_contexts": app_commands.AppCommandContext(guild=True),
    "allowed_installs": app_commands.AppInstallationType(guild=True),
}


def add_commands(tree: app_commands.CommandTree[Any], handler: Handler) -> None:
    """Add all commands to the tree."""
    groups: dict[str, app_commands.Group] = {}
    for key, answer in ANSWERS.items():
        callback = answering(
            handler,
            answer,
            defer=key not in NOT_DEFERRED,
            options=OPTIONS_OF.get(key, ()),
            offers=OFFERS.get(key, {}),
        )
        command, (name, _, within) = define(key, callback), key.partition(" ")
        if not within:
            tree.add_command(command)
            continue
        if name not in groups:
            groups[name] = group(name, **(MODERATE if name == "moderate" else {}))
            tree.add_command(groups[name])
        groups[name].add_command(command)
    menus.add(tree, handler)
