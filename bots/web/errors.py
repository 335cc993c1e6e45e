"""What went wrong, as a status and one sentence in the reader's language."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import Final

from aiohttp import ClientPayloadError, web

from bots.chat.errors import excuse
from bots.texts import WebWords, Words, tell
from engine.errors import MarbleError, UserError
from storage import DatabaseFault
from storage.errors import LostPicture

SOON: Final = 5  # seconds after which a database that is away is asked again
CODES: Final = {  # of sentences; any other is a bad request
    "unseen_picture": 404,
    "unknown_picture": 404,
    "unknown_job": 404,
    "not_in_job": 404,
    "owners_only": 403,
    "moderators_only": 403,
    "not_yours": 403,
    "grant_ended": 403,
    "banned": 403,
    "banned_until": 403,
    "closed": 403,
    "too_often": 429,
    "all_too_often": 429,
}
MESSAGES: Final = {404: "no_page", 405: "no_page"}
CLOSED: Final = (ConnectionError, ClientPayloadError, web.PayloadAccessError)

log = logging.getLogger(__name__)


class Refused(MarbleError):
    """A request is refused: with a status, and a message of `WebWords` that says why.

    wait: seconds after which it is worth trying again; 0: it is not. facts: what the message names.
    """

    def __init__(self, status: int, message: str, wait: float = 0.0, **facts: str) -> None:
        super().__init__(message)
        self.status = status
        self.message = message
        self.wait = wait
        self.facts = facts


def too_large(limit: int) -> Refused:
    """Return the error of what is larger than so many bytes."""
    kib = limit // 2**10
    return Refused(413, "too_large", limit=f"{kib} KiB" if kib < 2**10 else f"{kib // 2**10} MiB")


@dataclass(frozen=True, slots=True)
class Fault:
    """The answer to a request that failed; wait: as of `Refused`. allowed: the methods of a 405."""

    status: int
    sentence: str
    wait: float = 0.0
    allowed: str = ""

    @property
    def headers(self) -> dict[str, str]:
        """Return what the answer's headers say of it."""
        found = {"Retry-After": str(max(1, round(self.wait)))} if self.wait else {}
        return found | ({"Allow": self.allowed} if self.allowed else {})


NO_FAULT: Final = Fault(200, "")


def fault_of(error: Exception, words: Words, web_words: WebWords) -> Fault:
    """Return what is answered to an error; one that nobody expected is logged."""
    if isinstance(error, Refused):
        sentence = getattr(web_words, error.message).format(**error.facts)
        return Fault(error.status, sentence, error.wait)
    if isinstance(error, LostPicture):
        return Fault(410, excuse(error, words))
    if isinstance(error, DatabaseFault):
        return Fault(503, excuse(error, words), SOON)
    if isinstance(error, UserError):
        return Fault(CODES.get(getattr(error.said, "code", ""), 400), tell(error, words))
    if isinstance(error, web.HTTPException):
        message = MESSAGES.get(error.status, "bad_request")
        allowed = error.headers.get("Allow", "")
        return Fault(error.status, getattr(web_words, message), allowed=allowed)
    if isinstance(error, CLOSED):  # in the middle of an upload: nobody reads the answer
        return Fault(400, web_words.bad_request)
    log.error("a page failed", exc_info=error)
    return Fault(500, web_words.broken)
