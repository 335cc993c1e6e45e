"""What a small Discord knows: people, servers, channels, messages, interactions; and its JSON."""

from __future__ import annotations

import mimetypes
import time
from dataclasses import dataclass, field
from itertools import count
from typing import Any, Final

EPOCH: Final = 1_420_070_400_000  # ms; Discord's ids begin on 2015-01-01
LOADING, EPHEMERAL = 1 << 7, 1 << 6
TEXT, DM, VOICE, GROUP_DM, ANNOUNCEMENT, STAGE, FORUM = 0, 1, 2, 3, 5, 13, 15
ANNOUNCEMENT_THREAD, THREAD, PRIVATE_THREAD = 10, 11, 12
THREADS: Final = (ANNOUNCEMENT_THREAD, THREAD, PRIVATE_THREAD)
MEGABYTE: Final = 2**20
# What a bot that was invited with these permissions may do; see `docs/discord-setup.md`.
VIEW_CHANNEL, SEND, ATTACH, HISTORY, IN_THREADS = 1 << 10, 1 << 11, 1 << 15, 1 << 16, 1 << 38
INVITED: Final = VIEW_CHANNEL | SEND | ATTACH | HISTORY | IN_THREADS
MANAGE_MESSAGES, MANAGE_GUILD = 1 << 13, 1 << 5
Json = dict[str, Any]

_numbers = count(1)


def snowflake() -> int:
    """Return a fresh id that holds the present time, as real ones do."""
    return (int(time.time() * 1000) - EPOCH << 22) + next(_numbers) % 2**22


@dataclass(eq=False)
class User:
    name: str
    bot: bool = False
    locale: str = "en-US"
    takes_dms: bool = True
    id: int = field(default_factory=snowflake)

    @property
    def json(self) -> Json:
        return {
            "id": str(self.id),
            "username": self.name,
            "global_name": self.name.title(),
            "discriminator": "0",
            "avatar": None,
            "bot": self.bot,
        }


@dataclass(eq=False)
class Guild:
    name: str = "Atelier"
    joined: bool = True  # the bot is in it
    owner: int = 1
    filesize_limit: int = 10 * MEGABYTE
    permissions: int = INVITED  # the bot's
    members: dict[int, int] = field(default_factory=dict)  # person → permissions
    channels: list[Channel] = field(default_factory=list)
    id: int = field(default_factory=snowflake)

    def json(self, bot: User) -> Json:
        return {
            "id": str(self.id),
            "name": self.name,
            "owner_id": str(self.owner),
            "roles": [self.everyone, *self._roles()],
            "emojis": [],
            "features": [],
            "member_count": 1 + len(self.members),
            "channels": [each.json for each in self.channels if each.kind not in THREADS],
            "threads": [each.json for each in self.channels if each.kind in THREADS],
            "members": [{**member(bot), "user": bot.json}],
            "preferred_locale": "en-US",
            "premium_tier": {10: 0, 50: 2, 100: 3}.get(self.filesize_limit // MEGABYTE, 0),
        }

    @property
    def everyone(self) -> Json:
        """Return the role of all, which holds what the bot may do."""
        return {
            "id": str(self.id),
            "name": "@everyone",
            "color": 0,
            "colors": {"primary_color": 0, "secondary_color": None, "tertiary_color": None},
            "hoist": False,
            "position": 0,
            "permissions": str(self.permissions),
            "managed": False,
            "mentionable": False,
            "flags": 0,
        }

    def _roles(self) -> list[Json]:
        """Return one role a person, so that permissions can be told from a reaction alone."""
        return [self.role(person) for person in self.members]

    def role(self, person: int) -> Json:
        """Return the role that holds what somebody may do in all of the server."""
        return {
            "id": str(person),
            "name": str(person),
            "color": 0,
            "colors": {"primary_color": 0, "secondary_color": None, "tertiary_color": None},
            "hoist": False,
            "position": 1,
            "permissions": str(self.members[person]),
            "managed": False,
            "mentionable": False,
            "flags": 0,
        }


def member(user: User, permissions: int | None = None) -> Json:
    """Return a user as a member of a server."""
    found: Json = {
        "user": user.json,
        "roles": [] if user.bot else [str(user.id)],
        "joined_at": "2026-01-01T00:00:00+00:00",
        "deaf": False,
        "mute": False,
        "flags": 0,
    }
    return found if permissions is None else {**found, "permissions": str(permissions)}


@dataclass(eq=False)
class Channel:
    kind: int = TEXT
    guild: Guild | None = None
    parent: Channel | None = None
    recipient: User | None = None
    visible: bool = True  # to the bot
    nsfw: bool = False
    members: dict[int, int] = field(default_factory=dict)  # person → permissions here, too
    denied: int = 0  # to everybody else
    id: int = field(default_factory=snowflake)

    @property
    def json(self) -> Json:
        found: Json = {"id": str(self.id), "type": self.kind, "flags": 0}
        if self.kind in (DM, GROUP_DM):
            recipients = [self.recipient.json] if self.recipient else []
            return {**found, "recipients": recipients, "last_message_id": None}
        found |= {
            "name": f"channel-{self.id}",
            "position": 0,
            "permission_overwrites": self._overwrites(),
            "nsfw": self.nsfw,
            "guild_id": str(self.guild.id) if self.guild else None,
            "parent_id": str(self.parent.id) if self.parent else None,
        }
        if self.kind in (VOICE, STAGE):
            found |= {"bitrate": 64_000, "user_limit": 0, "rtc_region": None}
        if self.kind == FORUM:
            found |= {"available_tags": [], "default_sort_order": None, "default_forum_layout": 0}
        if self.kind in THREADS:
            found |= {
                "owner_id": "1",
                "message_count": 0,
                "member_count": 1,
                "thread_metadata": {
                    "archived": False,
                    "auto_archive_duration": 1440,
                    "archive_timestamp": "2026-01-01T00:00:00+00:00",
                    "locked": False,
                },
            }
        return found

    def _overwrites(self) -> list[Json]:
        for_all = {"id": str(self.guild.id if self.guild else 0), "type": 0, "allow": "0"}
        return [
            *([{**for_all, "deny": str(self.denied)}] if self.denied else []),
            *(
                {"id": str(person), "type": 1, "allow": str(allowed), "deny": "0"}
                for person, allowed in self.members.items()
            ),
        ]


@dataclass(eq=False)
class Attachment:
    filename: str
    data: bytes
    description: str | None = None
    id: int = field(default_factory=snowflake)


@dataclass(eq=False)
class Message:
    """Hold a message as people see it, and when it changed."""

    channel: Channel
    author: User
    content: str = ""
    attachments: list[Attachment] = field(default_factory=list)
    components: list[Json] = field(default_factory=list)
    flags: int = 0
    reference: Message | None = None
    nonce: str | None = None
    seen_by: User | None = None  # the one who sees it, if it is ephemeral
    by_interaction: Interaction | None = None
    deleted: bool = False
    edits: list[float] = field(default_factory=list)  # times
    showed: set[str] = field(default_factory=set)  # names of files that it held at any time
    held: list[Attachment] = field(default_factory=list)  # at any time
    reactions: set[tuple[int, str]] = field(default_factory=set)
    id: int = field(default_factory=snowflake)

    @property
    def loading(self) -> bool:
        return bool(self.flags & LOADING)

    @property
    def ephemeral(self) -> bool:
        return bool(self.flags & EPHEMERAL)

    def buttons(self) -> dict[str, Json]:
        """Return the buttons and menus by their label (or emoji, or placeholder)."""
        found: dict[str, Json] = {}
        for row in self.components:
            for item in row.get("components", []):
                emoji = (item.get("emoji") or {}).get("name", "")
                label = item.get("label") or emoji or item.get("placeholder") or ""
                found[label] = item
        return found

    def json(self, host: str) -> Json:
        found: Json = {
            "id": str(self.id),
            "channel_id": str(self.channel.id),
            "author": self.author.json,
            "content": self.content,
            "timestamp": "2026-01-01T00:00:00+00:00",
            "edited_timestamp": None,
            "tts": False,
            "mention_everyone": False,
            "mentions": [],
            "mention_roles": [],
            "attachments": [attachment(each, self.channel.id, host) for each in self.attachments],
            "embeds": [],
            "pinned": False,
            "type": 19 if self.reference else 0,
            "flags": self.flags,
            "components": [
                {**row, "id": at + 1, "components": [{"id": 1, **c} for c in row["components"]]}
                for at, row in enumerate(self.components)
            ],
        }
        if self.nonce is not None:
            found["nonce"] = self.nonce
        if self.reference:
            found["message_reference"] = {
                "message_id": str(self.reference.id),
                "channel_id": str(self.channel.id),
            }
        return found


def attachment(each: Attachment, channel: int, host: str) -> Json:
    url = f"{host}/attachments/{channel}/{each.id}/{each.filename}"
    return {
        "id": str(each.id),
        "filename": each.filename,
        "size": len(each.data),
        "url": url,
        "proxy_url": url,
        "description": each.description,
        "content_type": mimetypes.guess_type(each.filename)[0],
    }


@dataclass(eq=False)
class Interaction:
    """Hold something that a person did and that the bot has to answer within 3 s."""

    user: User
    channel: Channel
    kind: int
    data: Json
    message: Message | None = None  # the one whose button it was
    installed_by_user: bool = False
    app_permissions: int | None = None
    id: int = field(default_factory=snowflake)
    began: float = field(default_factory=time.monotonic)
    acknowledged: float | None = None  # seconds after it began
    first: int | None = None  # the kind of the acknowledgement
    answer: Json | None = None  # choices of an autocompletion, or a modal
    original: Message | None = None
    followups: list[Message] = field(default_factory=list)
    refusals: int = 0  # answers that came twice
    expired: bool = False
    deaf: bool = False  # it is not known here yet, or any more

    @property
    def token(self) -> str:
        return f"token-{self.id}"

    def json(self, application: int, host: str) -> Json:
        guild = self.channel.guild
        permissions = self.app_permissions
        if permissions is None:
            permissions = guild.permissions if guild else INVITED
        found: Json = {
            "id": str(self.id),
            "application_id": str(application),
            "type": self.kind,
            "token": self.token,
            "version": 1,
            "data": self.data,
            "channel_id": str(self.channel.id),
            "channel": self.channel.json,
            "locale": self.user.locale,
            "app_permissions": str(permissions),
            "entitlements": [],
            "attachment_size_limit": guild.filesize_limit if guild else 10 * MEGABYTE,
            "authorizing_integration_owners": self._owners(),
            "context": 0 if guild else 1 if self.channel.recipient else 2,
        }
        if guild:
            found |= {
                "guild_id": str(guild.id),
                "guild": {"id": str(guild.id), "locale": "en-US", "features": []},
                "guild_locale": "en-US",
                "member": member(
                    self.user,
                    guild.members.get(self.user.id, 0) | self.channel.members.get(self.user.id, 0),
                ),
            }
        else:
            found["user"] = self.user.json
        if self.message:
            found["message"] = self.message.json(host)
        return found

    def _owners(self) -> Json:
        if self.installed_by_user:
            return {"1": str(self.user.id)}
        return {"0": str(self.channel.guild.id if self.channel.guild else 0)}
