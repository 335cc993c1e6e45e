"""The proxy: one setting for every chat and for downloads from the hub.

`MARBLE_PROXY` names one, or is `off`. Where it is empty the environment decides, as it does for
other programs (`HTTPS_PROXY`, `HTTP_PROXY`, `ALL_PROXY`). What `NO_PROXY` names is asked directly.
"""

from __future__ import annotations

import os
import urllib.request
from collections.abc import Iterator
from typing import Final
from urllib.parse import unquote, urlsplit
from urllib.request import getproxies_environment

from bots.operations.readers import NO_PROXY, PROXY_FORM
from bots.operations.settings import Settings
from engine.errors import SettingError

HUB: Final = "https://huggingface.co"  # where models are fetched from
PLAIN: Final = {"wss": "https", "ws": "http"}  # by which a gateway is reached
VARIABLES: Final = ("https_proxy", "http_proxy", "all_proxy")


def proxy_for(settings: Settings, address: str) -> str | None:
    """Return the URL of the proxy for an address, or None for none.

    Raises `SettingError` for one in the environment of an unsupported kind.
    """
    target = urlsplit(address)
    known = getproxies_environment()
    # Typeshed leaves this function out.
    passed_by = urllib.request.proxy_bypass_environment  # type: ignore[attr-defined]
    if settings.proxy == NO_PROXY or passed_by(target.netloc, known):
        return None
    if settings.proxy:
        return settings.proxy
    scheme = PLAIN.get(target.scheme, target.scheme)
    found = known.get(scheme) or known.get("all")
    if not found:
        return None
    found = found if "://" in found else f"http://{found}"
    if urlsplit(found).scheme not in ("http", "https"):
        raise SettingError(f"{scheme.upper()}_PROXY", show(found), PROXY_FORM)
    return found


def export(settings: Settings) -> None:
    """Set the environment for libraries that read only that, in this and child processes.

    The hub's client is one of them.
    """
    if settings.proxy is None:
        return
    for name in VARIABLES:
        for each in (name, name.upper()):
            os.environ.pop(each, None)
    if settings.proxy != NO_PROXY:
        for name in VARIABLES[:2]:
            os.environ[name] = os.environ[name.upper()] = settings.proxy


def secrets_of(settings: Settings) -> Iterator[str]:
    """Yield the passwords of proxies, as they are written and decoded."""
    known = getproxies_environment()
    for proxy in filter(None, (settings.proxy, *(known.get(n[:-6]) for n in VARIABLES))):
        if password := urlsplit(proxy if "://" in proxy else f"//{proxy}").password:
            yield from dict.fromkeys((password, unquote(password)))


def show(proxy: str) -> str:
    """Return a proxy's URL without its user and password."""
    parts = urlsplit(proxy)
    hidden = "…@" if "@" in parts.netloc else ""
    return f"{parts.scheme}://{hidden}{parts.netloc.rpartition('@')[2]}"
