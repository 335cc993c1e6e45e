"""What is answered where something cannot be done."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import discord
import pytest

from bots.discord.handler import Handler
from bots.discord.permissions import missing_at
from bots.discord.replies import CONTENT, refusal
from bots.texts import EN, LANGUAGES, words_of
from storage.errors import (
    ChangedPicture,
    DatabaseBusy,
    DatabaseFault,
    DiskFull,
    DiskTrouble,
    LostPicture,
    PicturesFault,
)


@pytest.mark.parametrize("language", LANGUAGES)
@pytest.mark.parametrize(
    ("fault", "field"),
    [
        (DatabaseBusy("marble.db"), "busy"),
        (DiskFull("marble.db"), "disk_full"),
        (DiskTrouble("marble.db"), "database_out"),
        (PicturesFault("s3://pictures", "cannot be reached"), "pictures_out"),
        (ChangedPicture("s3://pictures", "gives other bytes"), "pictures_out"),
        (LostPicture("s3://pictures", "1.1"), "lost_picture"),
    ],
    ids=lambda each: each if isinstance(each, str) else type(each).__name__,
)
async def test_people_hear_why_nothing_can_be_kept_or_shown(
    fault: DatabaseFault, field: str, language: str
) -> None:
    told: list[str] = []

    async def answer(sentence: str) -> None:
        told.append(sentence)

    handler: Any = object.__new__(Handler)
    handler._unanswered = SimpleNamespace(answered=lambda event: None)
    request: Any = SimpleNamespace(words=words_of(language), label="/imagine", event="discord:1")
    request.answer, request.typed = answer, ""
    async with handler.receive(request):
        raise fault
    assert told == [getattr(words_of(language), field)]


@pytest.mark.parametrize("typed", ["a cat --v 6", "```js\nx\n```", "é" * 5000, "\n" * 3000 + "x"])
def test_refused_words_are_given_back_as_they_are_within_a_message(typed: str) -> None:
    text = refusal("There is no option '--v'.", typed, EN)
    sentence, title, *block = text.split("\n")
    assert (sentence, title) == ("There is no option '--v'.", f"-# {EN.your_words}")
    assert (block[0], block[-1], len(text) <= CONTENT) == ("```", "```", True)
    inside = "\n".join(block[1:-1])
    assert "```" not in inside
    assert inside == typed.replace("```", '"""') or inside.endswith("…")


def test_nothing_is_given_back_where_nothing_was_typed() -> None:
    assert refusal("Why.", " \n", EN) == "Why."


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
