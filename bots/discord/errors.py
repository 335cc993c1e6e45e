"""What Discord's error codes mean; an answer with none of them is not Discord's own.

A page of Cloudflare or of a proxy, code 0 and unknown codes decide nothing. Codes are
those of https://docs.discord.com/developers/topics/opcodes-and-status-codes. Answers that Discord
asks to put off, or that the network loses, are sent again.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from itertools import count
from traceback import walk_tb
from typing import Final, TypeVar

import aiohttp
import discord

from bots.worker.delivery import AdapterStopped, TryLater, UnknownAnswer, WayClosed, back_off
from engine.errors import UserError

UNKNOWN_CHANNEL: Final = 10003
UNKNOWN_MESSAGE: Final = 10008
UNKNOWN_INTERACTION: Final = 10062
TOO_LARGE: Final = 40005
ALREADY_ACKNOWLEDGED: Final = 40060
INTERNAL: Final = 40333  # "internal network error": something between, not Discord itself
NO_DM: Final = 50007
NO_COMMON_SERVER: Final = 50278
BAD_FORM: Final = 50035
NO_READING_BACK: Final = 160002  # a reply to a message that may not be read

# This way will not work: the target is gone, or Marble may not write there.
CLOSED: Final = frozenset(
    {
        *(UNKNOWN_CHANNEL, 10004, UNKNOWN_MESSAGE, 10013, 10015, UNKNOWN_INTERACTION),
        20009,  # held to be explicit content
        30046,  # edited too often
        40007,  # banned from the server
        40058,  # a forum takes threads, no messages
        *(TOO_LARGE, 50045),
        40094,  # too many private answers
        *(50001, 50005, NO_DM, 50008, 50009, 50013, 50021, 50024, 50033, NO_COMMON_SERVER),
        50027,  # the interaction's token expired
        50083,  # the thread is archived
        *(NO_READING_BACK, 160005),  # … or locked
        *(200000, 200001, 240000),  # a server's own filters
    }
)
# What was sent is invalid: a bug of Marble's.
MISTAKES: Final = frozenset({50006, BAD_FORM, 50046, 50068, 50109})
# Too much for now, though not always said by a 429.
LATER: Final = frozenset({20016, 20022, 20028, 20029, 40003, 40004, 40006, 130000})
TOO_MANY: Final = 429
# Errors of the network, after which nobody knows whether a request arrived.
NETWORK: Final = (aiohttp.ClientError, OSError)
WAIT: Final = 60.0  # seconds, where Discord does not say how long
TIMEOUT: Final = 840.0  # seconds: an interaction can be answered for 15 minutes
JSON: Final = "application/json"
NO_TOKEN: Final = "Discord does not know its token; put the bot's own into MARBLE_DISCORD_TOKEN"
# Codes with which the gateway closes: it does not know the token; there are too many servers for
# so few shards.
BAD_TOKEN: Final = 4004
TOO_FEW_SHARDS: Final = 4011

log = logging.getLogger(__name__)
T = TypeVar("T")


def translate(error: Exception) -> Exception:
    """Return the error that the delivery distinguishes; others are returned unchanged."""
    if isinstance(error, discord.RateLimited):
        return TryLater(error.retry_after)
    if isinstance(error, discord.LoginFailure):
        cause = error.__cause__
        return translate(cause) if isinstance(cause, discord.HTTPException) else error
    if isinstance(error, discord.ConnectionClosed):
        if error.code == BAD_TOKEN:
            return AdapterStopped(NO_TOKEN)
        if error.code == TOO_FEW_SHARDS:
            return ConnectionError("Discord asks for more connections")
        return AdapterStopped(f"the gateway closes with code {error.code}")
    if isinstance(error, discord.PrivilegedIntentsRequired):
        return AdapterStopped(str(error))
    if isinstance(error, discord.HTTPException):
        return _translate_answer(error)
    if isinstance(error, discord.GatewayNotFound | aiohttp.ClientError):
        return ConnectionError(str(error) or type(error).__name__)
    if isinstance(error, TypeError | KeyError | ValueError) and _raised_in_discord_py(error):
        return UnknownAnswer(f"discord.py cannot read an answer: {type(error).__name__}: {error}")
    return error


def is_discords(error: discord.HTTPException) -> bool:
    """Return whether an answer is Discord's own: its JSON, with a sentence in it."""
    headers = getattr(error.response, "headers", {})
    return headers.get("Content-Type") == JSON and bool(error.text)


def refused_by(error: discord.HTTPException, *codes: int) -> bool:
    """Return whether Discord itself refuses a request with one of these codes."""
    return is_discords(error) and error.code in codes


def is_gone(error: Exception) -> bool:
    """Return whether an interaction was answered before, or is too old to be answered."""
    gone = (ALREADY_ACKNOWLEDGED, UNKNOWN_INTERACTION)
    return isinstance(error, discord.HTTPException) and refused_by(error, *gone)


def no_reference(error: discord.HTTPException) -> bool:
    """Return whether a message was refused because of the one it replies to."""
    about_it = error.code == BAD_FORM and "message_reference" in error.text
    return is_discords(error) and (about_it or error.code in (UNKNOWN_MESSAGE, NO_READING_BACK))


@contextmanager
def already_deleted() -> Iterator[None]:
    """Ignore that Discord no longer knows what is deleted inside the block."""
    try:
        yield
    except discord.HTTPException as error:
        if not refused_by(error, UNKNOWN_MESSAGE, UNKNOWN_CHANNEL):
            raise


def takes_no_dm(error: discord.HTTPException) -> bool:
    """Return whether somebody takes no direct messages from Marble."""
    return refused_by(error, NO_DM, NO_COMMON_SERVER)


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


def log_error(error: Exception, what: str, which: object) -> None:
    """Log an error, without a traceback if it came from Discord or on the way there."""
    outside = isinstance(error, (UserError, discord.DiscordException, *NETWORK))
    level, trace = (logging.WARNING, None) if outside else (logging.ERROR, error)
    log.log(level, f"{what}: %s", which, error, exc_info=trace)


def _wait(error: Exception, tries: int, *, repeatable: bool) -> float | None:
    """Return the seconds until an answer is sent again, or None where it is not."""
    found = translate(error)
    if isinstance(found, TryLater):
        return found.seconds
    not_arrived = isinstance(error, discord.HTTPException) and error.status < 500
    if isinstance(found, OSError) and (repeatable or not_arrived):
        return back_off(tries)
    return None


def _translate_answer(error: discord.HTTPException) -> Exception:
    if error.status == TOO_MANY or refused_by(error, *LATER):
        return TryLater(_seconds_of(error))
    if error.status >= 500:
        return ConnectionError(f"Discord answers {error.status}")
    if refused_by(error, *CLOSED):
        return WayClosed(str(error))
    if refused_by(error, *MISTAKES):
        return error
    if is_discords(error) and error.status == 401:
        return AdapterStopped(NO_TOKEN)
    if is_discords(error) and error.code not in (0, INTERNAL):
        return UnknownAnswer(str(error))
    return ConnectionError(f"what answers {error.status} is not Discord")


def _seconds_of(error: discord.HTTPException) -> float:
    """Return how long an answer asks to wait."""
    asked = getattr(error.response, "headers", {}).get("Retry-After", "")
    try:
        return min(max(float(asked), 1.0), 3600.0)
    except ValueError:
        return WAIT


def _raised_in_discord_py(error: Exception) -> bool:
    modules = (frame.f_globals.get("__name__") for frame, _ in walk_tb(error.__traceback__))
    return any(str(name).startswith("discord.") for name in modules)
