"""Names and descriptions of commands in all languages of `bots.texts.commands`."""

from typing import Any, Final

from discord import Locale
from discord.app_commands import TranslationContext, Translator, locale_str

from bots.texts.commands import COMMANDS

LOCALES: Final = {Locale.chinese: "zh", Locale.taiwan_chinese: "zh"}


def name_text(key: str, name: str | None = None) -> locale_str:
    """Return a command's or option's name, with the key of its translations."""
    return locale_str(name or key.rpartition(" ")[2], key=key, kind="name")


def description_text(key: str) -> locale_str:
    """Return a command's or option's description in English, with the key of its translations."""
    return locale_str(COMMANDS[key].description["en"], key=key, kind="description")


class Tables(Translator):
    """Finds translations in `bots.texts.commands`."""

    async def translate(
        self, string: locale_str, locale: Locale, context: TranslationContext[Any, Any]
    ) -> str | None:
        """Return a text in a locale's language, or None where it is shown in English."""
        language = LOCALES.get(locale)
        text = COMMANDS.get(string.extras.get("key", ""))
        if language is None or text is None:
            return None
        found = text.name if string.extras["kind"] == "name" else text.description
        return found.get(language)
