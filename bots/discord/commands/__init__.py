"""Slash commands and context menus: which there are, and what answers them."""

from collections.abc import Mapping, Sequence
from typing import Any, Final

import discord
from discord import app_commands

from bots.discord import actions
from bots.discord.commands import general, menus, moderation, styles
from bots.discord.commands.blend import blend
from bots.discord.commands.define import Offer, define, workflows
from bots.discord.commands.describe import describe
from bots.discord.commands.edit import edit
from bots.discord.commands.imagine import imagine
from bots.discord.handler import Answer, Handler
from bots.discord.registration import description_text, name_text
from bots.requests.default_options import SAVABLE
from bots.requests.options import BEST, OPTIONS, Option

# Discord is told again of all commands when their order changes.
ANSWERS: Final[Mapping[str, Answer]] = {
    "imagine": imagine,
    "edit": edit,
    "blend": blend,
    "describe": describe,
    "making_of": actions.making_of,
    "history": general.history,
    "show": actions.show,
    "style list": styles.list_,
    "style add": styles.keep,
    "style remove": styles.remove,
    "settings show": general.show_settings,
    "settings set": general.change_settings,
    "settings reset": general.reset_settings,
    "help": general.help_,
    "privacy": general.privacy,
    **{name: general.listing(name) for name in ("models", "stats", "queue")},
    "cancel": general.cancel,
    "mydata export": general.export,
    "mydata delete": general.ask_to_forget,
    "web": general.web,
    "moderate ban": moderation.ban,
    "moderate unban": moderation.unban,
    "moderate channel": moderation.channel,
    "moderate log": moderation.log,
    "moderate pause": moderation.pause,
    "moderate resume": moderation.resume,
}
# These acknowledge by themselves, or are answered without the database.
NOT_DEFERRED: Final = frozenset(
    {"imagine", "edit", "blend", "making_of", "show", "help", "privacy", "mydata delete"}
)
# Discord takes 25 options of a command: this one is typed among the words, as `--best`.
DRAWING: Final = tuple(option for option in OPTIONS if option.name != BEST)
OPTIONS_OF: Final[Mapping[str, Sequence[Option]]] = {
    "imagine": DRAWING,
    "edit": DRAWING,
    "settings set": SAVABLE,
}
OFFERS: Final[Mapping[str, Mapping[str, Offer]]] = {
    "imagine": {"workflow": workflows},
    "cancel": {"job": general.unfinished},
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
        command = define(
            handler,
            key,
            answer,
            defer=key not in NOT_DEFERRED,
            options=OPTIONS_OF.get(key, ()),
            offers=OFFERS.get(key, {}),
        )
        name, _, within = key.partition(" ")
        if not within:
            tree.add_command(command)
            continue
        if name not in groups:
            more = MODERATE if name == "moderate" else {}
            groups[name] = app_commands.Group(
                name=name_text(name), description=description_text(name), **more
            )
            tree.add_command(groups[name])
        groups[name].add_command(command)
    menus.add(tree, handler)
