"""Errors that both chats explain alike: those of the database and of the picture store."""

from __future__ import annotations

from typing import Final

from bots.texts import Words
from storage import DatabaseFault
from storage.errors import DatabaseBusy, DiskFull, LostPicture, PicturesFault

EXCUSES: Final[tuple[tuple[type[DatabaseFault], str], ...]] = (  # the first that fits
    (LostPicture, "lost_picture"),
    (PicturesFault, "pictures_out"),
    (DatabaseBusy, "busy"),
    (DiskFull, "disk_full"),
    (DatabaseFault, "database_out"),
)


def excuse(fault: DatabaseFault, words: Words) -> str:
    """Return the sentence that says why something cannot be stored or shown now."""
    name = next(name for kind, name in EXCUSES if isinstance(fault, kind))
    return str(getattr(words, name))
