"""Answers that Discord asks to put off, or that the network loses, are sent again."""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from itertools import count
from typing import Final, TypeVar

import discord

from bots.discord.errors import translate
from bots.worker.delivery import TryLater, back_off

TIMEOUT: Final = 840.0  # seconds: an interaction can be answered for 15 minutes

log = logging.getLogger(__name__)
T = TypeVar("T")


async def with_retries(send: Callable[[], Awaitable[T]], *, repeatable: bool) -> T:
    """Send an answer, again after errors that pass, for as long as it can be of use.

    repeatable: sending twice leaves one answer. Others are sent again only after an error that
    says that nothing arrived. Raises what the last try raised.
    """
    loop = asyncio.get_running_loop()
    end = loop.time() + TIMEOUT
    for tries in count():
        try:
            return await send()
        except Exception as error:
            wait = _wait(error, tries, repeatable=repeatable)
            if wait is None or loop.time() + wait > end:
                raise
            log.info("an answer is retried in %.0f s: %s", wait, error)
        await asyncio.sleep(wait)
    raise AssertionError("count() has no end")


def _wait(error: Exception, tries: int, *, repeatable: bool) -> float | None:
    """Return the seconds until an answer is sent again, or None where it is not."""
    found = translate(error)
    if isinstance(found, TryLater):
        return found.seconds
    not_arrived = isinstance(error, discord.HTTPException) and error.status < 500
    if isinstance(found, OSError) and (repeatable or not_arrived):
        return back_off(tries)
    return None
