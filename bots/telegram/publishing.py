"""Publish the lists of commands that Telegram shows, a scope and a language each."""

from __future__ import annotations

import logging
from typing import Final

from telegram import (
    BotCommand,
    BotCommandScope,
    BotCommandScopeAllChatAdministrators,
    BotCommandScopeAllGroupChats,
    BotCommandScopeAllPrivateChats,
)
from telegram.error import TelegramError
from telegram.ext import ExtBot

from bots.telegram.commands import COMMANDS, HIDDEN
from bots.telegram.errors import translate
from bots.texts import DEFAULT, LANGUAGES

# Scopes, and whether moderators' commands are listed there.
SCOPES: Final[tuple[tuple[BotCommandScope, bool], ...]] = (
    (BotCommandScopeAllPrivateChats(), False),
    (BotCommandScopeAllGroupChats(), False),
    (BotCommandScopeAllChatAdministrators(), True),
)

log = logging.getLogger(__name__)


async def publish(bot: ExtBot[str]) -> None:
    """Send the lists; where that fails, commands can be typed all the same."""
    try:
        for language, words in LANGUAGES.items():
            for scope, moderators in SCOPES:
                listed = [
                    BotCommand(name, words.commands[command.text].description)
                    for name, command in COMMANDS.items()
                    if name not in HIDDEN and (moderators or not command.moderators)
                ]
                # What is listed without a language is for everybody who has no list of their own.
                code = None if language == DEFAULT else language
                await bot.set_my_commands(listed, scope=scope, language_code=code)
    except TelegramError as error:
        log.warning("the commands could not be listed: %s", translate(error))
