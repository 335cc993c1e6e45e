"""What people are told when the database fails them, by why it does."""

from __future__ import annotations

from bots.texts import Words
from storage import DatabaseFault
from storage.errors import DatabaseBusy, DiskFull


def excuse(fault: DatabaseFault, words: Words) -> str:
    """Return in somebody's language why nothing can be kept."""
    if isinstance(fault, DatabaseBusy):
        return words.busy
    return words.disk_full if isinstance(fault, DiskFull) else words.database_out
