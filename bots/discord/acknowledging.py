"""Acknowledgements: Discord waits three seconds for each, and minutes for the answers.

In a burst they come before all other work, over connections that are used again: opening one takes
more time than the request.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from typing import Any, Final

import discord

from bots.discord.errors import ALREADY_ACKNOWLEDGED, refused_by, translate
from bots.discord.interaction import InteractionRequest
from bots.discord.unanswered import PendingInteraction, Unanswered

AT_ONCE: Final = 64  # requests under way, and so connections
LONGEST: Final = 2.5  # seconds of a burst after which other work goes on all the same

Defer = Callable[[], Awaitable[discord.InteractionCallbackResponse[Any] | None]]

log = logging.getLogger(__name__)


class Acknowledgements:
    """Acknowledges interactions, and lets other work wait meanwhile."""

    def __init__(self, unanswered: Unanswered) -> None:
        self._unanswered = unanswered
        self._connections = asyncio.Semaphore(AT_ONCE)
        self._under_way = 0
        self._over = asyncio.Event()  # nobody waits to be acknowledged, or the burst is long
        self._over.set()
        self._timer: asyncio.TimerHandle | None = None

    async def over(self) -> None:
        """Wait until nobody waits to be acknowledged, for `LONGEST` at most."""
        await self._over.wait()

    async def acknowledge(
        self, request: InteractionRequest, *, private: bool, silent: bool
    ) -> int | None:
        """Acknowledge an interaction, and return the message that shows it.

        Unless silent, what an answer takes is stored before: if this process dies, the next one
        answers.
        """
        self._begin()
        try:
            if not silent:
                await self._unanswered.keep(
                    PendingInteraction(
                        event=request.event,
                        application=request.address.application,
                        token=request.interaction.token,
                        language=request.address.language,
                        until=request.address.until,
                    )
                )
            response = request.interaction.response
            async with self._connections:
                return await _defer(
                    lambda: response.defer(ephemeral=private, thinking=not silent), request.label
                )
        finally:
            self._end()

    def _begin(self) -> None:
        if not self._under_way:
            self._over.clear()
            self._timer = asyncio.get_running_loop().call_later(LONGEST, self._over.set)
        self._under_way += 1

    def _end(self) -> None:
        self._under_way -= 1
        if not self._under_way and self._timer:
            self._timer.cancel()
            self._over.set()


async def _defer(defer: Defer, label: str) -> int | None:
    """Acknowledge, once more where the call or its answer may be lost; return the message."""
    try:
        callback = await defer()
    except Exception as error:
        if not isinstance(translate(error), OSError):
            raise
        log.info("an acknowledgement may be lost (%s): %s", label, error)
        try:
            callback = await defer()
        except discord.HTTPException as repeated:
            if not refused_by(repeated, ALREADY_ACKNOWLEDGED):
                raise
            return None  # the first one arrived
    return callback.message_id if callback else None
