"""Errors that both chats explain alike: the database's, and pictures that cannot be fetched."""

from __future__ import annotations

from bots.texts import Words
from engine.errors import UserError
from engine.sentences import Sentence
from storage import DatabaseFault
from storage.errors import DatabaseBusy, DiskFull


class Unfetched(UserError):
    """A picture that somebody sent could not be downloaded from the platform."""

    def __init__(self) -> None:
        super().__init__(Sentence("unfetched"))


def excuse(fault: DatabaseFault, words: Words) -> str:
    """Return the sentence that says why nothing can be stored now."""
    if isinstance(fault, DatabaseBusy):
        return words.busy
    return words.disk_full if isinstance(fault, DiskFull) else words.database_out
