"""Tell Telegram which commands there are, for whom and in which languages."""

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
from bots.telegram.troubles import explain
from bots.texts import DEFAULT, LANGUAGES

# Scopes, and whether moderators' commands are listed there.
SCOPES: Final[tuple[tuple[BotCommandScope, bool], ...]] = (
    (BotCommandScopeAllPrivateChats(), False),
    (BotCommandScopeAllGroupChats(), False),
    (BotCommandScopeAllChatAdministrators(), True),
)

log = logging.getLogger(__name__)


async def publish(bot: ExtBot[str]) -> None:
    """Send the lists; without them people can type commands all the same."""
    try:
        for language in LANGUAGES:
            for scope, moderators in SCOPES:
                listed = [
                    BotCommand(name, command.described(language))
                    for name, command in COMMANDS.items()
                    if name not in HIDDEN and (moderators or not command.moderators)
                ]
                # What is listed without a language is for everybody who has no list of their own.
                code = None if language == DEFAULT else language
                await bot.set_my_commands(listed, scope=scope, language_code=code)
    except TelegramError as error:
        log.warning("the commands could not be listed: %s", explain(error))
