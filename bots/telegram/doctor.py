"""What `marble doctor` looks at: the token, the webhook, what the bot may read in groups."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Final

from telegram.error import TelegramError

from bots.operations.doctor import Finding, State
from bots.operations.settings import Settings
from bots.telegram.actions import read_reactions
from bots.telegram.connection import make_bot
from bots.telegram.errors import translate
from engine.sentences import fill

WHAT: Final = "telegram"
PENDING: Final = 1000  # updates that wait: more means that nobody has asked for long


async def check_telegram(settings: Settings) -> AsyncIterator[Finding]:
    """Ask Telegram who the bot is and how it gets its updates."""
    read_reactions(settings.telegram_reactions)
    try:
        async with make_bot(settings) as bot:
            me = bot.bot
            yield Finding(WHAT, State.GOOD, f"@{me.username} at {settings.telegram_api_base}")
            yield _groups(bool(me.can_join_groups), bool(me.can_read_all_group_messages))
            yield _inline(bool(me.supports_inline_queries), bool(me.supports_guest_queries))
            info = await bot.get_webhook_info()
            yield _webhook(settings.telegram_webhook_url, info.url, info.last_error_message)
            if info.pending_update_count > PENDING:
                text = fill("{n} {n:update is|updates are} waiting", n=info.pending_update_count)
                yield Finding(WHAT, State.POOR, text, "start `marble serve`, and check its log")
    except TelegramError as error:
        cure = "check MARBLE_TELEGRAM_TOKEN, MARBLE_TELEGRAM_API_BASE and the network"
        yield Finding(WHAT, State.BAD, str(translate(error)), cure)


def _groups(may_join: bool, reads_all: bool) -> Finding:
    if not may_join:
        cure = "allow it with /setjoingroups at @BotFather, if that is wanted"
        return Finding(WHAT, State.POOR, "the bot cannot join groups", cure)
    if reads_all:
        cure = "turn it on with /setprivacy at @BotFather: Marble needs only commands and replies"
        return Finding(WHAT, State.POOR, "privacy mode is off: Marble gets all messages", cure)
    return Finding(WHAT, State.GOOD, "privacy mode is on: groups send commands and replies")


def _inline(inline: bool, guest: bool) -> Finding:
    if not inline:
        cure = "send /setinline and /setinlinefeedback to @BotFather, if that is wanted"
        return Finding(WHAT, State.POOR, "inline mode is off: no pictures in other chats", cure)
    more = ", and guest mode" if guest else ""
    return Finding(WHAT, State.GOOD, f"inline mode is on{more}; it needs /setinlinefeedback, too")


def _webhook(wanted: str | None, there: str, error: str | None) -> Finding:
    if there and not wanted:
        cure = "`marble serve` removes it when it starts; stop the program that set it"
        return Finding(WHAT, State.POOR, f"a webhook is set ({there})", cure)
    if wanted and there and there != wanted:
        cure = "`marble serve` sets its own when it starts; stop the program that set this one"
        return Finding(WHAT, State.POOR, f"another webhook is set ({there})", cure)
    if wanted and error:
        cure = (
            "check that your web server passes it on to MARBLE_TELEGRAM_WEBHOOK_LISTEN, or, where "
            "that is empty, to MARBLE_WEB_PORT (docs/web.md)"
        )
        return Finding(WHAT, State.BAD, f"the last webhook call failed: {error}", cure)
    return Finding(WHAT, State.GOOD, f"updates come by {'webhook' if wanted else 'polling'}")
