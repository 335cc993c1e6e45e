"""What the Bot API server can do that is newer than python-telegram-bot 22.8 (Bot API 10.0).

A server ignores names that it does not know, of updates as of parameters, and says afterwards which
updates it took. One that took those of 10.3 knows the parameters of 10.3 as well.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final

from telegram import Update
from telegram.error import BadRequest, EndPointNotFound, Forbidden, InvalidToken, TelegramError
from telegram.ext import ExtBot

from bots.telegram.errors import says, translate

STOPPED: Final = "stopped_message_generation"  # an update of 10.3
EPHEMERAL: Final = "ephemeral_message_id"  # of a message that one person sees, whose other id is 0
OLD: Final = (
    *(Update.MESSAGE, Update.CALLBACK_QUERY, Update.MESSAGE_REACTION),
    *(Update.INLINE_QUERY, Update.CHOSEN_INLINE_RESULT),
)
# What a refusal of a draft names, in lower case, where it is about drafts and not about a chat.
NO_DRAFTS: Final = ("sendmessagedraft", "can_stop")

log = logging.getLogger(__name__)


@dataclass(slots=True)
class Features:
    """What the server can do: nothing new until it has said so.

    drafts: a preview in a private chat that its reader can stop. ephemeral: a message in a group
    that one person sees, and commands that only Marble sees. known: whether the server has said so.
    """

    updates: Sequence[str] = (*OLD, Update.GUEST_MESSAGE, STOPPED)  # that it is asked for
    drafts: bool = False
    ephemeral: bool = False
    known: asyncio.Event = field(default_factory=asyncio.Event)

    def refuses_new(self, error: BadRequest) -> bool:
        """Ask for no new updates any more, as the server refused some; False: it has none left."""
        refused = self.updates != OLD
        if refused:
            log.warning("the Bot API server takes no names of new updates: %s", translate(error))
            self.updates = OLD
        return refused

    async def learn(self, bot: ExtBot[str]) -> None:
        """Find out once, after updates were asked for, which of them the server took.

        `known` is not set where it did not say.
        """
        if self.known.is_set():
            return
        try:
            taken = (await bot.get_webhook_info()).allowed_updates or ()
        except TelegramError as error:  # asked again later
            log.info("what the Bot API server can do is not known yet: %s", translate(error))
            return
        self.drafts = self.ephemeral = STOPPED in taken
        self.known.set()

    def refuses_draft(self, error: TelegramError) -> bool:
        """Return whether a draft was refused and not merely lost: a message has to do then.

        Where the server knows no drafts at all, none are sent any more; all else that it refuses
        is about one chat.
        """
        unknown = isinstance(error, (InvalidToken, EndPointNotFound))  # 404: there is no such call
        if unknown or (isinstance(error, BadRequest) and says(error, NO_DRAFTS)):
            if self.drafts:
                log.warning("the Bot API server takes no drafts: %s", error.message)
            self.drafts = False
        return unknown or isinstance(error, (BadRequest, Forbidden))
