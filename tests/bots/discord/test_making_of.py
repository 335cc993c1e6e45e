"""Making-ofs in Discord: a strip, an animation, and the brief above them."""

from __future__ import annotations

from bots.texts import MAKING_OF
from tests.bots.discord.conftest import Marble
from tests.fakes.discord import FakeDiscord, Person
from tests.ports import free_port


async def test_a_making_of_shows_a_strip_and_an_animation_with_the_brief(
    discord: FakeDiscord, marble: Marble, ann: Person
) -> None:
    first = await ann.imagine("a marble cat", size="64")
    await first.picture()
    for reply in (
        await ann.types("making_of", picture="1"),
        await ann.clicks("How it was made", first),
    ):
        await reply.picture()
        names = [each.filename for each in reply.message.attachments]
        assert names == ["making-of-1.1.png", "making-of-1.1.webp"]
        for part in (MAKING_OF["en"].title.format(name="1.1"), MAKING_OF["en"].same, "1.25 s"):
            assert part in reply.text


async def test_the_whole_page_of_a_making_of_is_a_link(
    discord: FakeDiscord, cold: Marble, ann: Person
) -> None:
    cold.settings |= {"MARBLE_WEB_URL": "https://marble.example"}
    cold.settings["MARBLE_WEB_PORT"] = str(free_port())
    await cold.start()
    await (await ann.imagine("a marble cat", size="64")).picture()
    reply = await ann.types("making_of", picture="1")
    await reply.picture()
    page = "<https://marble.example/pictures/2/making-of>"
    assert reply.text.splitlines()[-1] == MAKING_OF["en"].whole_page.format(address=page)


async def test_of_a_picture_that_is_not_there_no_making_of_is_drawn(
    discord: FakeDiscord, marble: Marble, ann: Person
) -> None:
    refused = await ann.types("making_of", picture="99")
    assert await refused.said("There is no picture 99 that you may see here")
