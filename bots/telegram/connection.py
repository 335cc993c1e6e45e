"""HTTP requests to Telegram, telling its own answers from those of a proxy between."""

from __future__ import annotations

import json
from typing import Any, Final

from telegram.ext import ExtBot
from telegram.request import HTTPXRequest

from bots.operations.proxy import proxy_for
from bots.operations.settings import Settings
from bots.telegram.errors import ForeignAnswer
from bots.telegram.rate_limits import RateLimiter

CONNECTIONS: Final = 64
ANSWER: Final = 30.0  # seconds to wait for an answer to a call
UPLOAD: Final = 120.0
CONNECT: Final = 10.0


class Connection(HTTPXRequest):
    """Makes requests; raises `ForeignAnswer` for pages of proxies and the like.

    PTB takes any 401 or 404 for a wrong token, and any 403 for a person who blocked the bot.
    """

    async def do_request(self, url: str, method: str, *args: Any, **more: Any) -> tuple[int, bytes]:
        """See `BaseRequest.do_request`."""
        status, payload = await super().do_request(url, method, *args, **more)
        is_file = method == "GET" and status == 200  # calls are made by POST
        if not is_file and not is_telegrams(status, payload):
            raise ForeignAnswer(status)
        return status, payload


def is_telegrams(status: int, payload: bytes) -> bool:
    """Return whether a payload is an answer of the Bot API (core.telegram.org/bots/api)."""
    try:
        answer = json.loads(payload)
    except ValueError:
        return False
    if not isinstance(answer, dict):
        return False
    if 200 <= status < 300:
        return answer.get("ok") is True and "result" in answer
    told = isinstance(answer.get("description"), str)
    return answer.get("ok") is False and isinstance(answer.get("error_code"), int) and told


def make_bot(settings: Settings, limiter: RateLimiter | None = None) -> ExtBot[str]:
    """Return a client for the bot that the settings name."""
    assert settings.telegram_token is not None
    # The environment is read by `proxy_for` alone, for both chats alike.
    out: dict[str, Any] = {
        "proxy": proxy_for(settings, settings.telegram_api_base),
        "httpx_kwargs": {"trust_env": False},
    }
    return ExtBot(
        settings.telegram_token,
        base_url=f"{settings.telegram_api_base}/bot",
        base_file_url=f"{settings.telegram_file_base}/bot",
        request=Connection(
            connection_pool_size=CONNECTIONS,
            connect_timeout=CONNECT,
            read_timeout=ANSWER,
            write_timeout=ANSWER,
            pool_timeout=ANSWER,
            media_write_timeout=UPLOAD,
            **out,
        ),
        get_updates_request=Connection(
            connection_pool_size=2, connect_timeout=CONNECT, read_timeout=CONNECT, **out
        ),
        rate_limiter=limiter,
    )
