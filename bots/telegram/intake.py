"""Ask Telegram for what is new, and move the offset only when it is kept.

Asking with a higher offset is how Telegram is told that it may forget. PTB's own updater does so
as soon as an update is queued in memory, so that a crash loses it; here the offset moves after the
inbox has committed, by asking through the same bot.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Final
from warnings import catch_warnings, simplefilter

from telegram import Update
from telegram.error import BadRequest, NetworkError, RetryAfter, TelegramError
from telegram.ext import ExtBot
from telegram.warnings import PTBUserWarning

from bots.telegram.addresses import NAME
from bots.telegram.troubles import explain, seconds_of
from bots.worker.delivery import back_off
from storage import DatabaseFault, Letter
from storage.people.inbox import Inbox

ALLOWED: Final = [Update.MESSAGE, Update.CALLBACK_QUERY, Update.MESSAGE_REACTION]
POLL: Final = 30  # seconds that Telegram may hold an empty answer
RETRY: Final = 1.0  # seconds between tries to keep what has arrived

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Intake:
    """Keep updates and hand them on, once each."""

    bot: ExtBot[str] = field(repr=False)  # it shows its token
    inbox: Inbox
    sender: Callable[[Update], str | None]  # who is to be listened to; None: not for us
    hand_on: Callable[[Letter], None]
    put_off: Callable[[Update, DatabaseFault], None]  # say why something is not kept yet

    async def poll(self) -> None:
        """Take updates in until cancelled; raises as `troubles.explain` says."""
        offset: int | None = None
        failures = 0
        while True:
            try:
                updates, offset = await self._ask(offset)
            except TelegramError as error:
                await self._rest(error, failures)
                failures += 1
                continue
            failures = 0
            await self.take(updates)

    async def _ask(self, offset: int | None) -> tuple[Sequence[Update], int | None]:
        """Return what is new, and the offset that tells Telegram to forget it."""
        try:
            updates = await self.bot.get_updates(
                offset=offset, timeout=POLL, allowed_updates=ALLOWED
            )
        except TelegramError:
            raise
        except Exception:  # PTB reads all or nothing: one that it cannot read must not stop all
            log.exception("updates cannot be read together")
            return await self._ask_one_by_one(offset)
        return updates, updates[-1].update_id + 1 if updates else offset

    async def _ask_one_by_one(self, offset: int | None) -> tuple[Sequence[Update], int | None]:
        wanted = {"offset": offset, "allowed_updates": ALLOWED}
        with catch_warnings():
            simplefilter("ignore", PTBUserWarning)  # that there is a method for it
            raw = await self.bot.do_api_request("getUpdates", api_kwargs=wanted)
        updates = []
        for each in raw:
            offset = each["update_id"] + 1
            try:
                updates.append(Update.de_json(each, self.bot))
            except Exception:
                log.exception("update %d is left out", each["update_id"])
        return updates, offset

    async def take(self, updates: Sequence[Update]) -> None:
        """Commit what is meant for us, waiting out a locked database, and hand on what is new."""
        arrived = [(letter, each) for each in updates if (letter := self._letter(each))]
        letters = [letter for letter, _ in arrived]
        told = False
        while letters:
            try:
                for letter in await self.inbox.add(letters):
                    self.hand_on(letter)
                return
            except DatabaseFault as fault:
                if not fault.passing:
                    raise
                log.warning("%d updates wait: %s", len(letters), fault)
                for _, update in () if told else arrived:
                    self.put_off(update, fault)
                told = True
                await asyncio.sleep(RETRY)

    def _letter(self, update: Update) -> Letter | None:
        person = self.sender(update)
        if person is None:
            return None
        # A bot's updates are numbered for that bot alone.
        name = f"{NAME}:{self.bot.id}/{update.update_id}"
        return Letter(id=name, adapter=NAME, person=person, body=update.to_dict())

    async def _rest(self, error: TelegramError, failures: int) -> None:
        """Wait where waiting helps, and raise where it does not."""
        if isinstance(error, RetryAfter):
            await asyncio.sleep(seconds_of(error))
        elif isinstance(error, NetworkError) and not isinstance(error, BadRequest):
            wait = back_off(failures)
            log.warning("Telegram cannot be reached (%s); again in %.0f s", explain(error), wait)
            await asyncio.sleep(wait)
        else:
            raise explain(error) from None
