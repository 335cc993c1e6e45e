"""Names and descriptions of commands in the languages that Discord has."""

from typing import Any, Final

from discord import Locale
from discord.app_commands import TranslationContext, Translator, locale_str

from bots.texts import EN, LANGUAGES

LOCALES: Final = {Locale.chinese: "zh", Locale.taiwan_chinese: "zh"}


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
        language = LOCALES.get(locale)
        key = string.extras.get("key")
        if language is None or key is None:
            return None
        text = LANGUAGES[language].commands[key]
        return text.name if string.extras["kind"] == "name" else text.description
