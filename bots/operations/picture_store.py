"""`marble doctor` looks at the object store that keeps the pictures."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import suppress

from bots.operations.doctor import Finding, State
from bots.operations.settings import Settings
from engine.errors import UserError
from storage.care.diagnosis import look
from storage.care.ownership import NAME
from storage.errors import OthersPictures
from storage.jobs.bucket_pictures import BucketPictures, open_pictures
from storage.records import EVERYWHERE


async def check_pictures(settings: Settings) -> AsyncIterator[Finding]:
    """Try to write, read, list and delete, and look at whose pictures are there."""
    folder = settings.data_dir / "pictures"
    pictures = open_pictures(folder, settings.pictures_url)
    if not isinstance(pictures, BucketPictures):
        return
    try:
        await asyncio.to_thread(pictures.probe)
        owner = await asyncio.to_thread(pictures.owner)
    finally:
        await asyncio.to_thread(pictures.close)
    own = None
    with suppress(UserError):  # the check of the database reports it
        found = await look(settings.data_dir, settings.database_url)
        own = found.places.get(EVERYWHERE, {}).get(NAME)
    if owner not in (None, own):
        yield Finding("pictures", State.BAD, str(OthersPictures(pictures.where)).rstrip("."))
        return
    text = f"{pictures.where} can be written, read, listed and deleted"
    yield Finding("pictures", State.GOOD, text)
    if await asyncio.to_thread(lambda: next(folder.glob("??/*.png"), None)):
        cure = "`marble pictures move` with the URL of MARBLE_PICTURES_URL"
        yield Finding("pictures", State.POOR, f"some are still in {folder}", cure)
