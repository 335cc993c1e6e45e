"""What Discord is told of commands: their texts in its languages, and only when they changed.

It limits how often commands are registered.
"""

import hashlib
import json
import logging
from typing import Any, Final

import discord
from discord import Locale, app_commands
from discord.app_commands import TranslationContext, Translator, locale_str

from bots.discord.address import PLATFORM
from bots.service.app import App
from bots.texts import EN, LANGUAGES

LOCALES: Final = {Locale.chinese: "zh", Locale.taiwan_chinese: "zh"}
SETTING: Final = "commands"

log = logging.getLogger(__name__)


def name_text(key: str, name: str | None = None) -> locale_str:
    """Return a command's or option's name, with the key of its translations."""
    return locale_str(name or key.rpartition(" ")[2], key=key, kind="name")


def description_text(key: str) -> locale_str:
    """Return a command's or option's description in English, with the key of its translations."""
    return locale_str(EN.commands[key].description, key=key, kind="description")


class Tables(Translator):
    """Finds translations in the tables of `bots.texts`."""

    async def translate(
        self, string: locale_str, locale: Locale, context: TranslationContext[Any, Any]
    ) -> str | None:
        """Return a text in a locale's language, or None where it is shown in English."""
        if locale not in LOCALES or "key" not in string.extras:
            return None
        text = LANGUAGES[LOCALES[locale]].commands[string.extras["key"]]
        return text.name if string.extras["kind"] == "name" else text.description


async def register(tree: app_commands.CommandTree[Any], app: App) -> None:
    """Register the commands, with their translations, unless Discord has these already."""
    tables = Tables()
    await tree.set_translator(tables)
    guild = app.settings.discord_test_guild
    target = discord.Object(guild) if guild else None
    if target:
        tree.copy_global_to(guild=target)
    place = f"{PLATFORM}:app/{tree.client.application_id}/{guild or ''}"
    payload = [await each.get_translated_payload(tree, tables) for each in tree.get_commands()]
    text = json.dumps(payload, sort_keys=True, default=str)
    wanted = hashlib.sha256(text.encode()).hexdigest()
    known = await app.storage.people.places_with(SETTING)
    if known.get(place) != wanted:
        registered = await tree.sync(guild=target)
        log.info("%d commands registered", len(registered))
        await app.storage.people.change_place_settings(place, {SETTING: wanted})
