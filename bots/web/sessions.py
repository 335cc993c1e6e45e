"""The cookies by which a browser is known again."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from aiohttp import web

from storage.people.web_access import SESSION

LANGUAGE: Final = "lang"  # the cookie of the chosen language
# Browsers keep the cookie of a page in a frame of another site only if it is secure.
EMBEDDED: Final = "; SameSite=None; Partitioned"
YEAR: Final = 365 * 24 * 3600


@dataclass(frozen=True, slots=True)
class Cookies:
    """Sets and reads a session's cookie; secure: the page is reached by https alone.

    A page that Telegram shows within its own is of another site there, so its cookie has a name and
    attributes of its own (CHIPS: it is kept for each site that embeds it).
    """

    secure: bool

    def name(self, *, embedded: bool = False) -> str:
        """Return the cookie's name."""
        return ("__Host-" if self.secure else "") + ("marble-app" if embedded else "marble")

    def read(self, http: web.Request) -> tuple[str, bool]:
        """Return a request's session token, empty if it has none, and whether it is embedded."""
        for embedded in (False, True):
            if token := http.cookies.get(self.name(embedded=embedded)):
                return token, embedded
        return "", False

    def set(self, response: web.StreamResponse, token: str, *, embedded: bool = False) -> None:
        """Let the browser keep a session's token, and forget the other cookie."""
        self._put(response, token, int(SESSION.total_seconds()), embedded=embedded)
        self._put(response, "", 0, embedded=not embedded)

    def clear(self, response: web.StreamResponse) -> None:
        """Let the browser forget both."""
        for embedded in (False, True):
            self._put(response, "", 0, embedded=embedded)

    def _put(
        self, response: web.StreamResponse, token: str, seconds: int, *, embedded: bool
    ) -> None:
        """Add a `Set-Cookie`; Python's own cookies know no `Partitioned` before 3.14."""
        name = self.name(embedded=embedded)
        kept = f"{name}={token}; Path=/; Max-Age={seconds}; HttpOnly"
        bounds = EMBEDDED if embedded and self.secure else "; SameSite=Lax"
        secure = "; Secure" if self.secure else ""
        response.headers.add("Set-Cookie", kept + secure + bounds)
