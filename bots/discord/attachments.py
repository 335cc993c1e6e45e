"""Pictures that people give: Discord's own attachments only, and never more than may be."""

from __future__ import annotations

import discord

from engine.errors import UserError
from engine.images import BYTES


class TooManyBytes(UserError):
    """Say how large a picture may be."""

    def __init__(self, size: int) -> None:
        super().__init__(
            f"The file has {size / 2**20:.0f} MiB; a picture may have {BYTES >> 20} at most."
        )


def is_picture(attachment: discord.Attachment) -> bool:
    """Say whether an attachment may be a picture; what it is, its bytes tell."""
    return (attachment.content_type or "image/").startswith("image/")


async def read_attachment(attachment: discord.Attachment) -> bytes:
    """Return an attachment's bytes; raises `TooManyBytes` before any is fetched."""
    if attachment.size > BYTES:
        raise TooManyBytes(attachment.size)
    return await attachment.read()
