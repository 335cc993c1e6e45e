"""What Discord's refusals mean for a delivery."""

from __future__ import annotations

from typing import Final

import aiohttp
import discord

from bots.delivery import AdapterStopped, TryLater, WayClosed

UNKNOWN_MESSAGE: Final = 10008
NO_WEBHOOK_TOKEN: Final = 50027
TOO_LARGE: Final = 413
TOO_MANY: Final = 429
# What the network raises where nobody knows whether a request arrived.
UNKNOWN: Final = (aiohttp.ClientError, OSError)
WAIT: Final = 60.0  # seconds, where Discord does not say how long


def translate(error: Exception) -> Exception:
    """Return what `bots.delivery` is told of an error; one that it does not know stays itself."""
    if isinstance(error, discord.RateLimited):
        return TryLater(error.retry_after)
    if isinstance(error, discord.LoginFailure | discord.PrivilegedIntentsRequired):
        return AdapterStopped(str(error))
    if isinstance(error, discord.ConnectionClosed):
        return AdapterStopped(f"the gateway refuses the token or intents (code {error.code})")
    if isinstance(error, discord.HTTPException):
        return _translate_answer(error)
    if isinstance(error, aiohttp.ClientError):
        return ConnectionError(str(error) or type(error).__name__)
    return error


def too_large(error: discord.HTTPException) -> bool:
    """Say whether an upload was refused for its size."""
    return error.status == TOO_LARGE


def _translate_answer(error: discord.HTTPException) -> Exception:
    if error.status >= 500:
        return ConnectionError(f"Discord answers {error.status}")
    if error.status == TOO_MANY:
        return TryLater(WAIT)
    if error.status == 401 and error.code != NO_WEBHOOK_TOKEN:
        return AdapterStopped("the token was revoked")
    # The token expired, the message or channel is gone, or we may no longer see or write there.
    return WayClosed(str(error)) if error.status in (401, 403, 404) else error
