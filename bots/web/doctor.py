"""What `marble doctor` looks at: where the page is reached, and what listens beside it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from typing import Final
from urllib.parse import urlsplit

from bots.operations.doctor import Finding, State
from bots.operations.settings import Settings
from bots.web.site import ROUTES

WHAT: Final = "web"
NEAR: Final = ("127.0.0.1", "localhost", "::1")  # hosts that no wire leads to


async def check_web(settings: Settings) -> AsyncIterator[Finding]:
    """Look at the settings of the page; `marble serve` finds out whether the port is free."""
    port = settings.web_port
    if port:
        text = f"{settings.web_address} (at {settings.web_host}:{port})"
        yield Finding(WHAT, State.GOOD, text)
    else:
        cure = "set MARBLE_WEB_PORT, unless another process of this database serves it"
        text = "MARBLE_WEB_URL is set, but no page is served here"
        yield Finding(WHAT, State.POOR, text, cure)
    for finding in (*_in_the_clear(settings), *_beside(settings), *_webhook(settings)):
        yield finding


def _in_the_clear(settings: Settings) -> Iterator[Finding]:
    """Yield whether sessions and pictures pass a network without TLS."""
    address = urlsplit(settings.web_address or "")
    if address.scheme == "https":
        return
    cure = "put a web server with TLS before it, and set MARBLE_WEB_URL (docs/web.md)"
    if address.hostname not in NEAR:
        text = f"{settings.web_address} is not https: others on the way can read sessions"
        yield Finding(WHAT, State.POOR, text, cure)
    elif settings.web_host not in NEAR:
        text = f"it listens at {settings.web_host} and is not reached by https"
        yield Finding(WHAT, State.POOR, text, cure)


def _beside(settings: Settings) -> Iterator[Finding]:
    """Yield other addresses that have the page's port."""
    webhook = (settings.telegram_webhook_listen or "").rpartition(":")[2]
    ports = {
        "MARBLE_METRICS_PORT": str(settings.metrics_port),
        "MARBLE_TELEGRAM_WEBHOOK_LISTEN": webhook if settings.telegram_webhook_url else "",
    }
    for name, port in ports.items():
        if settings.web_port and port == str(settings.web_port):
            cure = "leave it out: the page's port answers for it, or choose another"
            yield Finding(WHAT, State.BAD, f"{name} has the page's port", cure)


def _webhook(settings: Settings) -> Iterator[Finding]:
    """Yield whether Telegram's calls and the page want the same addresses."""
    url = settings.telegram_webhook_url or ""
    if not settings.web_url or not f"{url}/".startswith(f"{settings.web_url}/"):
        return
    path = urlsplit(url).path or "/"
    first = path.split("/")[1]
    if first in {route.path.split("/")[1] for route in ROUTES} | {"static", "livez", "readyz"}:
        cure = f"choose another, like {settings.web_url}/telegram"
        yield Finding(WHAT, State.BAD, f"MARBLE_TELEGRAM_WEBHOOK_URL is a page ({path})", cure)
    elif settings.telegram_webhook_listen:
        cure = f"let it pass {path} to {settings.telegram_webhook_listen}, or leave that empty"
        text = "your web server would pass Telegram's calls to the page"
        yield Finding(WHAT, State.POOR, text, cure)
