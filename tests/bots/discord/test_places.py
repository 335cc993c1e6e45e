"""Threads, direct messages, and servers that only a person brought Marble to."""

from __future__ import annotations

from tests.bots.discord.conftest import Marble
from tests.fakes.discord import FakeDiscord, Person
from tests.fakes.discord.world import ATTACH


async def test_in_direct_messages(discord: FakeDiscord, marble: Marble, ann: Person) -> None:
    alone = ann.in_dm()
    first = await alone.imagine("a marble scholar")
    png = await first.picture()
    await alone.reacts("🌱", first)
    assert await (await alone.gets_reply_to(first)).picture() == png
    assert await (await alone.clicks("Delete", first)).said("Deleted")


async def test_in_a_thread(discord: FakeDiscord, marble: Marble, ann: Person) -> None:
    thread = discord.add_thread(discord.channel)
    await discord.gateway.emit("GUILD_CREATE", discord.guild.json(discord.bot))
    there = ann.at(thread)
    first = await there.imagine("a marble scholar")
    png = await first.picture()
    await there.reacts("🌱", first)
    assert await (await there.gets_reply_to(first)).picture() == png


async def test_in_a_server_to_which_only_a_person_brought_it(
    discord: FakeDiscord, marble: Marble, ann: Person
) -> None:
    elsewhere = discord.add_guild(name="Elsewhere", joined=False)
    there = ann.at(elsewhere.channels[0])
    there.installed_by_user = True
    there.app_permissions = ATTACH
    first = await there.imagine("a marble scholar")
    png = await first.picture()
    assert await (await there.clicks("Same seed", first)).picture() == png
    assert await (await there.chooses("Rerun", first)).picture() == png
    message = first.message
    assert await (await there.clicks("Delete", first)).said("Deleted")
    assert message.deleted
    there.app_permissions = 0
    refused = await there.imagine("a marble scholar")
    assert "Attach Files" in await refused.said("permission")
