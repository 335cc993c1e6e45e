"""The permissions that Marble needs in a server, and the link that asks for exactly those."""

from typing import Final

import discord

# Answers need them: to see the channel, to write there and in its threads, to attach pictures, and
# to reply to a message that was there before.
PERMISSIONS: Final = discord.Permissions(
    view_channel=True,
    send_messages=True,
    send_messages_in_threads=True,
    attach_files=True,
    read_message_history=True,
)
SCOPES: Final = ("bot", "applications.commands")


def invite_link(application: int) -> str:
    """Return the link by which a server's owner invites Marble."""
    return discord.utils.oauth_url(application, permissions=PERMISSIONS, scopes=SCOPES)


def lacking(permissions: discord.Permissions) -> list[str]:
    """Return the names, as Discord shows them, of permissions that Marble lacks."""
    if permissions.administrator:
        return []
    wanted = (name for name, asked_for in PERMISSIONS if asked_for)
    return [shown_name(name) for name in wanted if not getattr(permissions, name)]


def shown_name(permission: str) -> str:
    """Return a permission's name as Discord shows it."""
    return permission.replace("_", " ").title()
