"""What is answered where something cannot be done."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import discord
import pytest

from bots.discord.handler import Handler
from bots.discord.permissions import missing_at
from bots.texts import LANGUAGES, words_of
from storage.errors import DatabaseBusy, DatabaseFault, DiskFull, DiskTrouble


@pytest.mark.parametrize("language", LANGUAGES)
@pytest.mark.parametrize(
    ("fault", "field"),
    [(DatabaseBusy, "busy"), (DiskFull, "disk_full"), (DiskTrouble, "database_out")],
)
async def test_people_hear_why_nothing_can_be_kept(
    fault: type[DatabaseFault], field: str, language: str
) -> None:
    told: list[str] = []

    async def answer(sentence: str) -> None:
        told.append(sentence)

    handler: Any = object.__new__(Handler)
    handler._unanswered = SimpleNamespace(answered=lambda event: None)
    request: Any = SimpleNamespace(words=words_of(language), label="/imagine", event="discord:1")
    request.answer = answer
    async with handler.receive(request):
        raise fault("marble.db")
    assert told == [getattr(words_of(language), field)]


def test_what_marble_may_is_not_known_before_its_server_is_known_in_full() -> None:
    def permissions_for(who: discord.Member) -> discord.Permissions:
        assert who.id, "nobody has no permissions"
        return discord.Permissions(view_channel=True)

    me: Any = SimpleNamespace(id=1)
    guild = SimpleNamespace(me=None)
    channel = SimpleNamespace(guild=guild, permissions_for=permissions_for)
    guild.get_channel_or_thread = lambda id: channel
    client: Any = SimpleNamespace(get_guild=lambda id: guild)
    assert missing_at(client, "discord:1/2") is None
    guild.me = me
    assert missing_at(client, "discord:1/2") == "send_messages"
