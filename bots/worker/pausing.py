"""Pausing the queues of all processes, through the database."""

from __future__ import annotations

import asyncio
import logging
from typing import Final

from bots.admission.roles import Role, Roles
from engine.errors import OptionError
from engine.queue.queue import Queue
from engine.sentences import Sentence
from storage import DatabaseFault
from storage.people.moderation import Moderation

log = logging.getLogger(__name__)

LOOK: Final = 0.5  # seconds between two looks: others' pauses are obeyed within a second
LONGEST: Final = 300  # characters of a reason
PEOPLE: Final = "people"  # the cause of a pause, beside those of Marble itself


class Pausing:
    """Pauses and resumes this process's queue as the database says, where it outlives restarts."""

    def __init__(self, moderation: Moderation, queue: Queue, roles: Roles) -> None:
        self._moderation = moderation
        self._queue = queue
        self._roles = roles

    async def pause(self, reason: str, by: str) -> None:
        """Start nothing more, anywhere, until somebody resumes; `reason` is shown to people.

        Raises `UserError` for who is no moderator, or a reason that cannot be shown.
        """
        self._roles.require(Role.MODERATOR, by)
        reason = check_reason(reason)
        await self._moderation.pause(reason, by=by)
        self._queue.pause(reason, PEOPLE)

    async def resume(self, by: str) -> bool:
        """Resume the queues; return False if they were not paused. Raises `UserError`."""
        self._roles.require(Role.MODERATOR, by)
        found = await self._moderation.resume(by=by)
        self._queue.resume(PEOPLE)
        return found

    async def look(self) -> None:
        """Pause or resume this process's queue as the database says."""
        pause = await self._moderation.paused()
        if pause is None:
            self._queue.resume(PEOPLE)
        else:
            self._queue.pause(pause.reason, PEOPLE)

    async def run(self) -> None:
        """Look now and then, until cancelled."""
        while True:
            await asyncio.sleep(LOOK)
            try:
                await self.look()
            except DatabaseFault as fault:
                log.warning("the queue's pause could not be read: %s", fault)


def check_reason(text: str) -> str:
    """Return a reason as people will see it, or raise `OptionError`."""
    reason = " ".join(text.split())
    if not reason or len(reason) > LONGEST or not reason.isprintable():
        raise OptionError("The reason", text, Sentence("a_reason", most=LONGEST))
    return reason
