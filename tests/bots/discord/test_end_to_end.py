"""The whole of it on the bundled model: from a command to pixels and back, across a crash."""

from __future__ import annotations

import io

from PIL import Image

from engine.formats.metadata import read_recipe
from tests.bots.discord.conftest import Marble
from tests.fakes.discord import FakeDiscord, Person, Reply

LONG = 300.0  # seconds; the machine may be busy


def pixels_of(png: bytes) -> bytes:
    return Image.open(io.BytesIO(png)).convert("RGB").tobytes()


async def test_scholars_in_marble(
    discord: FakeDiscord, cold: Marble, ann: Person, bob: Person
) -> None:
    cold.settings["MARBLE_EXECUTOR"] = "child"
    await cold.start()
    # So much work that it is shown on its way on fast machines, too: news come every 3 s.
    slow = await ann.imagine("a marble scholar", steps=150, size="192")
    await slow.said("Drawing")
    await slow.picture(LONG)
    assert slow.message.showed == {"preview.jpg", "marble-1.png"}
    first = await ann.imagine("a marble scholar", seed="4")
    png = await first.picture(LONG)
    grid = await ann.imagine("a marble scholar", seed="4", count=4)
    await grid.picture(LONG)
    await _everything(discord, ann, bob, first, grid, png)
    await cold.kill()
    await cold.start()
    # The same again, by the buttons and reactions of messages from before the crash.
    cy, di = discord.person("cy"), discord.person("di")
    await _everything(discord, cy, di, first, grid, png)
    message = first.message
    await ann.reacts("❌", first)
    await discord.until(lambda: message.deleted, "deleting")
    waits = (f"{reply.acknowledged * 1000:.0f} ms" for reply in (slow, first, grid))
    print(f"\nacknowledged after {', '.join(waits)}")  # noqa: T201  # shown with -s


async def _everything(
    discord: FakeDiscord, one: Person, other: Person, first: Reply, grid: Reply, png: bytes
) -> None:
    """Do everything that can be done with two messages."""
    await one.reacts("🌱", first)
    again = await one.gets_reply_to(first)
    assert pixels_of(await again.picture(LONG)) == pixels_of(png)
    await one.reacts("🎲", first)
    other_seed = await one.gets_reply_to(first)
    assert pixels_of(await other_seed.picture(LONG)) != pixels_of(png)
    varied = await one.clicks("V2", grid)
    assert pixels_of(await varied.picture(LONG)) != pixels_of(png)
    assert varied.message.reference is grid.message
    enlarged = await one.clicks("U3", grid)
    assert Image.open(io.BytesIO(await enlarged.picture(LONG))).size == (256, 256)
    await one.reacts("✉️", first)
    letter = await one.gets_dm("Recipe of")
    assert read_recipe(letter.message.attachments[0].data).recipe.seed == 4
    await other.reacts("❌", first)
    assert "Only the person who requested it" in (await other.gets_dm("Only")).text
    assert not first.message.deleted
