"""The page within Telegram (a Mini App): Telegram says who opens it, signed by the bot's token.

https://core.telegram.org/bots/webapps#validating-data-received-via-the-mini-app
"""

from __future__ import annotations

import hashlib
import hmac
import json
import time
from typing import Final
from urllib.parse import parse_qsl

from aiohttp import web

from bots.web.errors import Refused
from bots.web.guard import local_path
from bots.web.request import Request, Route

OLDEST: Final = 24 * 3600  # seconds since Telegram signed it
AHEAD: Final = 120  # seconds that Telegram's clock may be ahead


def read_init_data(data: str, token: str, now: float) -> tuple[str, str]:
    """Return who opened the page, and the hash of what Telegram signed.

    data: Telegram's `initData`. token: the bot's. Raises `Refused` unless it is Telegram's, of this
    bot and of today.
    """
    try:
        pairs = parse_qsl(data, keep_blank_values=True, strict_parsing=True)
        fields = dict(pairs)
        digest = fields.pop("hash")
        lines = "\n".join(f"{name}={fields[name]}" for name in sorted(fields))
        secret = hmac.digest(b"WebAppData", token.encode(), hashlib.sha256)
        expected = hmac.new(secret, lines.encode(), hashlib.sha256).hexdigest()
        signed = hmac.compare_digest(digest.encode(), expected.encode())
        if not signed or len(pairs) != len(fields) + 1:
            raise Refused(403, "not_telegram")
        age, user = now - int(fields["auth_date"]), int(json.loads(fields["user"])["id"])
    except (ValueError, KeyError, TypeError, RecursionError):
        raise Refused(403, "not_telegram") from None
    if not -AHEAD <= age <= OLDEST:
        raise Refused(403, "open_again")
    return f"telegram:{user}", digest


async def show(request: Request) -> web.StreamResponse:
    """Answer with the page whose script hands on what Telegram says; it may be in a frame there."""
    _token(request)
    request.embedded = True
    return request.render("mini.html")


async def enter(request: Request) -> web.StreamResponse:
    """Open a session for who comes from Telegram, once for each opening of the page."""
    form, app = await request.form(), request.app
    person, digest = read_init_data(str(form.get("init_data", "")), _token(request), time.time())
    response = web.json_response({"to": local_path(form.get("to"))})
    if request.session and request.session.person == person:  # the page was reloaded
        return response
    session = await app.storage.web_access.open_once(f"mini-app:{digest}", person)
    if session is None:
        raise Refused(403, "open_again")
    if request.session:
        await app.storage.web_access.end(request.token)
    request.cookies.set(response, session, embedded=True)
    return response


def _token(request: Request) -> str:
    """Return the bot's token; raises `HTTPNotFound` where there is no bot."""
    if not (token := request.app.settings.telegram_token):
        raise web.HTTPNotFound
    return token


ROUTES: Final = (
    Route("GET", "/mini", show, public=True),
    Route("POST", "/mini", enter, public=True),
)
