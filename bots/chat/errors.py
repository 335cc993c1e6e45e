"""Errors that both chats explain alike: the database's."""

from __future__ import annotations

from bots.texts import Words
from storage import DatabaseFault
from storage.errors import DatabaseBusy, DiskFull


def excuse(fault: DatabaseFault, words: Words) -> str:
    """Return the sentence that says why nothing can be stored now."""
    if isinstance(fault, DatabaseBusy):
        return words.busy
    return words.disk_full if isinstance(fault, DiskFull) else words.database_out
