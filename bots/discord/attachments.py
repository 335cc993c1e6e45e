"""Pictures that people give: Discord's own attachments only, and never more than may be."""

from __future__ import annotations

import discord

from engine.images import check_bytes


def is_picture(attachment: discord.Attachment) -> bool:
    """Say whether an attachment may be a picture; what it is, its bytes tell."""
    return (attachment.content_type or "image/").startswith("image/")


async def read_attachment(attachment: discord.Attachment) -> bytes:
    """Return an attachment's bytes; raises `ImageError` before too many are fetched."""
    check_bytes(attachment.size)
    return await attachment.read()
