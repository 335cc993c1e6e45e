"""What stands beside a picture that was made smaller, and what the log says of a request."""

import io
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import pytest
from PIL import Image

from bots.admission.visibility import View
from bots.discord import replies
from bots.discord.reaction import ReactionRequest
from bots.texts import words_of
from storage import Storage
from tests.factories import add_claimed
from tests.storage.conftest import a_job, drawn

EN = words_of("en")


def noise() -> bytes:
    """Return a PNG that no lossless format makes smaller."""
    pixels = np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "png")
    return file.getvalue()


@pytest.mark.parametrize(("dm", "told"), [(2**20, EN.shrunk), (100, EN.shrunk_everywhere)])
async def test_the_full_size_is_promised_only_where_a_direct_message_carries_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, dm: int, told: str
) -> None:
    monkeypatch.setattr(replies, "LIMIT", dm)
    async with Storage.open(tmp_path) as storage:
        job = await add_claimed(storage, a_job())
        job = await storage.jobs.rendered(job.id, job.epoch, drawn(noise()))
        reply = replies.pictures_reply(job, job.pictures, View(storage.pictures), 5_000, EN)
        assert reply.content.endswith(told)
        whole = replies.pictures_reply(job, job.pictures, View(storage.pictures), 2**20, EN)
        assert not whole.content.endswith((EN.shrunk, EN.shrunk_everywhere))


def test_the_log_names_nobody_by_the_reaction_that_they_put() -> None:
    client = SimpleNamespace(get_guild=lambda number: None)
    payload = SimpleNamespace(
        guild_id=None, channel_id=1, message_id=2, user_id=424242, member=None
    )
    request = ReactionRequest(cast(Any, client), cast(Any, payload), "⭐", "en")
    assert "424242" in request.event
    assert request.label == "discord:2:⭐"
