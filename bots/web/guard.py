"""Decides which requests are let in: tokens against forged forms, origins, addresses, rates."""

from __future__ import annotations

import hashlib
import hmac
import time
from collections.abc import Hashable, Mapping
from dataclasses import dataclass, field
from ipaddress import ip_address
from typing import Final

from bots.admission.gate import TokenBuckets
from bots.web.errors import Refused

CSRF_FIELD: Final = "csrf"
CSRF_HEADER: Final = "X-CSRF-Token"
GUESSES: Final = 30  # links and unknown sessions that a client's address may show in a minute
CHANGES: Final = 60  # in a minute, by a session
READS: Final = 1200  # in a minute, by a session; a page of pictures has 60 files


def csrf_of(token: str) -> str:
    """Return what a session's forms carry, which no other page can know."""
    return hmac.new(token.encode("utf-8", "surrogateescape"), b"csrf", hashlib.sha256).hexdigest()


def check_origin(headers: Mapping[str, str], own: str, *, needed: bool) -> None:
    """Raise `Refused` for a change that a page of another origin asks for.

    own: Marble's own origin. needed: whether the browser must say where it comes from, since
    nothing else shows that a page of Marble's asks. Browsers send `Origin` with every POST, and
    `Sec-Fetch-Site` where a page came by TLS or from this machine (Fetch Metadata, W3C 2021).
    """
    site, origin = headers.get("Sec-Fetch-Site"), headers.get("Origin")
    others = site not in (None, "same-origin") or origin not in (None, own)
    if others or (needed and site is None and origin is None):
        raise Refused(403, "forged", address=own)


def check_csrf(given: object, token: str) -> None:
    """Raise `Refused` unless what was given is the session's token against forged forms."""
    text = given if isinstance(given, str) else ""
    if not hmac.compare_digest(text.encode("utf-8", "surrogateescape"), csrf_of(token).encode()):
        raise Refused(403, "form_ended")


def local_path(text: object) -> str:
    """Return a path of this site, to go on to; any other address becomes `/`."""
    path = text if isinstance(text, str) else ""
    plain = path.isascii() and path.isprintable() and not {"\\", " "} & set(path)
    return path if plain and path.startswith("/") and not path.startswith("//") else "/"


def client_of(remote: str | None, forwarded: str | None) -> str:
    """Return the address of who asks.

    remote: the connection's other end; forwarded: the header `X-Forwarded-For`, whose last entry
    is believed where the connection comes from the owner's own network, as from their web server.
    """
    try:
        near = ip_address(remote or "").is_private
        return (
            str(ip_address((forwarded or "").rpartition(",")[2].strip())) if near else remote or ""
        )
    except ValueError:
        return remote or ""


@dataclass(slots=True)
class Rates:
    """Limits on what clients may do in a minute."""

    _buckets: TokenBuckets = field(default_factory=TokenBuckets)

    def count(self, key: Hashable, per_minute: int) -> None:
        """Count one, or raise `Refused` where there were too many."""
        now = time.monotonic()
        if wait := self._buckets.wait(key, per_minute, now):
            raise Refused(429, "too_many", wait)
        self._buckets.take(key, per_minute, now)

    def count_once(self, what: Hashable, key: Hashable, per_minute: int) -> None:
        """Do as `count`, but for what was counted within the last minute."""
        now = time.monotonic()
        if not self._buckets.wait(what, 1, now):
            self.count(key, per_minute)
            self._buckets.take(what, 1, now)
