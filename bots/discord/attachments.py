"""Pictures that people give: Discord's own attachments only, and never more than may be."""

from __future__ import annotations

import logging

import discord

from bots.chat.errors import Unfetched
from bots.discord.faults import UNKNOWN
from engine.pictures.images import check_bytes

log = logging.getLogger(__name__)


def is_picture(attachment: discord.Attachment) -> bool:
    """Say whether an attachment may be a picture; what it is, its bytes tell."""
    return (attachment.content_type or "image/").startswith("image/")


async def read_attachment(attachment: discord.Attachment) -> bytes:
    """Return an attachment's bytes; raises `ImageError` before too many are fetched.

    Raises `Unfetched` where Discord does not hand them over.
    """
    check_bytes(attachment.size)
    try:
        return await attachment.read()
    except (discord.HTTPException, *UNKNOWN) as error:
        log.warning("an attachment could not be fetched: %s", error)
        raise Unfetched from None
