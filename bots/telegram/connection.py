"""HTTP requests to Telegram, telling its own answers from those of a proxy between."""

from __future__ import annotations

import json
from typing import Any

from telegram.request import HTTPXRequest

from bots.telegram.errors import ForeignAnswer


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
