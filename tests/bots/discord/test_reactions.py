"""Reactions of one person to one message, which come faster than they are done."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import discord
import pytest

from bots.discord.adapter import MarbleClient
from bots.discord.unanswered import Unanswered
from bots.operations.settings import load_settings
from bots.service.app import App, open_app
from tests.factories import add_claimed
from tests.storage.conftest import a_job, drawn

ANN, CHANNEL, MESSAGE = 5, 6, 7


@pytest.fixture
async def app(tmp_path: Path) -> AsyncIterator[App]:
    """Yield an app with a picture that Ann's message shows."""
    values = {"MARBLE_DATA_DIR": str(tmp_path / "data"), "MARBLE_EXECUTOR": "inprocess"}
    async with open_app(load_settings(values, env_file="")) as app:
        place = f"discord:@me/{CHANNEL}"
        job = await add_claimed(app.storage, a_job(person=f"discord:{ANN}", place=place))
        await app.storage.jobs.rendered(job.id, job.epoch, drawn())
        await app.storage.jobs.delivered(job.id, {f"discord:{MESSAGE}": None})
        yield app


def client_of(app: App, folder: Path) -> MarbleClient:
    client = MarbleClient(app, Unanswered(folder))
    client._connection.user = cast(Any, SimpleNamespace(id=1))
    return client


def reaction(emoji: str, event: Any) -> discord.RawReactionActionEvent:
    data: Any = {
        "user_id": ANN,
        "channel_id": CHANNEL,
        "message_id": MESSAGE,
        "emoji": {"id": None, "name": emoji},
        "burst": False,
        "type": 0,
    }
    return discord.RawReactionActionEvent(data, discord.PartialEmoji(name=emoji), event)


@pytest.mark.parametrize(("then", "kept"), [("", 0), ("⭐", 1), ("❤️", 1)])
async def test_a_favourite_put_and_taken_back_at_once_is_what_came_last(
    app: App, tmp_path: Path, then: str, kept: int
) -> None:
    client = client_of(app, tmp_path)
    put = client.on_raw_reaction_add(reaction("⭐", "REACTION_ADD"))
    taken = client.on_raw_reaction_remove(reaction("⭐", "REACTION_REMOVE"))
    last = [client.on_raw_reaction_add(reaction(then, "REACTION_ADD"))] if then else []
    await asyncio.gather(put, taken, *last)
    assert len(await app.storage.favourites.page(f"discord:{ANN}")) == kept
