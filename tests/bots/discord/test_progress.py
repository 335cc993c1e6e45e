"""A message that shows how far a job is."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from types import SimpleNamespace
from typing import Any

import pytest

from bots.discord import placeholders
from bots.discord.placeholders import Placeholders
from bots.discord.replies import Reply
from engine.events import News, Waiting
from tests.factories import make_recipe

JOB: Any = SimpleNamespace(
    id=1,
    message="discord:1/2",
    place="discord:1/2",
    reply={"channel": 2, "person": 3},
    recipe=make_recipe(),
    pictures=(),
    parent=None,
    style=None,
)
# 3 and 2.6 minutes read alike.
NEWS = [Waiting(position=3, eta=180.0), Waiting(position=3, eta=156.0), Waiting(position=2)]


async def follow(job: int) -> AsyncIterator[News]:
    """Yield news, each once the one before could be shown."""
    for each in NEWS:
        yield each
        for _ in range(20):
            await asyncio.sleep(0)


async def test_a_message_that_says_it_already_is_not_edited(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    edits = []

    async def edit(client: object, job: object, address: object, reply: Reply) -> Any:
        edits.append(reply.content.splitlines()[-1])
        return SimpleNamespace(attachments=[])

    monkeypatch.setattr(placeholders, "EVERY", 0.0)
    monkeypatch.setattr(placeholders, "_by_edit", edit)
    app: Any = SimpleNamespace(worker=SimpleNamespace(follow=follow))
    client: Any = None
    losses: Any = None
    following = Placeholders(app, client, losses)
    following.follow(JOB)
    await asyncio.gather(*following._followers.values())
    assert edits == ["Number 3 in line, about 3 min", "Number 2 in line"]
