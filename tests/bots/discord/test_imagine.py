"""From a command to a picture."""

from __future__ import annotations

import io

from PIL import Image

from tests.bots.discord.conftest import Marble
from tests.fakes.discord import FakeDiscord, Person


async def test_words_become_a_picture(discord: FakeDiscord, marble: Marble, ann: Person) -> None:
    reply = await ann.imagine("a marble scholar")
    png = await reply.picture()
    assert reply.acknowledged < 1
    assert Image.open(io.BytesIO(png)).size == (128, 128)
    assert reply.text.startswith("a marble scholar\n-# 1 · 128×128 · seed ")
    [attachment] = reply.message.attachments
    assert attachment.filename == "marble-1.png"
    assert attachment.description == "Generated picture: a marble scholar"
    assert discord.shown() == [reply.message]
