"""The button that opens a picture on the web page, from a channel."""

from __future__ import annotations

import io

from PIL import Image

from bots.texts import EN
from tests.bots.discord.conftest import Marble
from tests.bots.web.test_brush import a_page, entered, painted, sent
from tests.fakes.discord import FakeDiscord, Person


async def test_the_link_is_for_who_pressed_and_the_result_comes_to_the_channel(
    discord: FakeDiscord, cold: Marble, ann: Person, bob: Person
) -> None:
    _, settings = a_page()
    cold.settings.update(settings)
    await cold.start()
    first = await ann.imagine("a marble scholar", size="64")
    await first.picture()
    told = await bob.clicks(EN.region, first)
    await told.said(EN.region_how)
    assert told.ephemeral
    [button] = told.message.buttons().values()
    async with entered(button["url"]) as (browser, path):
        page = await sent(browser, path, painted(), {"words": "a marble scholar with a sword"})
        assert page.status == 200, page.words
        await discord.until(
            lambda: any("with a sword" in each.content for each in discord.shown()), "the result"
        )
        result = next(each for each in discord.shown() if "with a sword" in each.content)
    assert result.channel is first.message.channel
    assert Image.open(io.BytesIO(result.attachments[0].data)).size == (64, 64)
    assert f"from {first.text.split('-# ')[1].split(' ')[0]}" in result.content
