"""Where pictures are asked for: every kind of channel, and where Marble may not reply."""

from __future__ import annotations

import asyncio

import pytest

from storage import Storage
from tests.bots.discord.conftest import Marble
from tests.conftest import PATIENCE
from tests.fakes.discord import FakeDiscord, Person
from tests.fakes.discord.world import (
    ANNOUNCEMENT,
    ANNOUNCEMENT_THREAD,
    ATTACH,
    FORUM,
    GROUP_DM,
    IN_THREADS,
    INVITED,
    MANAGE_MESSAGES,
    SEND,
    STAGE,
    THREAD,
    VOICE,
    Channel,
)

PLACES = {
    "voice chat": (VOICE, None),
    "stage": (STAGE, None),
    "announcements": (ANNOUNCEMENT, None),
    "thread of announcements": (ANNOUNCEMENT, ANNOUNCEMENT_THREAD),
    "forum post": (FORUM, THREAD),
}


async def place_in(discord: FakeDiscord, name: str) -> Channel:
    """Make a channel, or a thread in one, of which the client is told."""
    kind, thread = PLACES[name]
    channel = discord.add_channel(discord.guild, kind=kind)
    place = channel if thread is None else discord.add_thread(channel, thread)
    await discord.gateway.emit("GUILD_CREATE", discord.guild.json(discord.bot))
    return place


@pytest.mark.parametrize("name", PLACES)
async def test_in_every_kind_of_channel(
    discord: FakeDiscord, marble: Marble, ann: Person, name: str
) -> None:
    judge = discord.person("judge", MANAGE_MESSAGES)
    there = ann.at(await place_in(discord, name))
    first = await there.imagine("a marble scholar")
    png = await first.picture()
    assert await (await there.clicks("Same seed", first)).picture() == png
    await there.reacts("🌱", first)
    assert await (await there.gets_reply_to(first)).picture() == png
    form = await there.clicks("Change recipe", first)
    assert await (await there.submits(form)).picture() == png
    # The rules of the channel hold in its threads, too.
    parent = there.channel.parent or there.channel
    told = await judge.at(parent).types("moderate channel", open=False)
    assert await told.said("Rules for")
    assert await (await there.imagine("a marble scholar")).said("turned off")


@pytest.mark.parametrize("name", PLACES)
async def test_a_result_outlasts_the_token_in_every_kind_of_channel(
    discord: FakeDiscord, marble: Marble, ann: Person, name: str
) -> None:
    there = ann.at(await place_in(discord, name))
    reply = await there.imagine("wait for a scholar")
    await reply.said("Drawing")
    assert reply.interaction
    reply.interaction.expired = True
    marble.gate.touch()
    await reply.picture()
    assert discord.shown(there.channel) == [reply.message]


async def test_in_direct_messages_of_several_people(
    discord: FakeDiscord, marble: Marble, ann: Person
) -> None:
    there = ann.at(discord.add_channel(None, kind=GROUP_DM, visible=False))
    there.installed_by_user = True
    first = await there.imagine("a marble scholar")
    png = await first.picture()
    assert await (await there.clicks("Same seed", first)).picture() == png
    reply = await there.imagine("wait for a scholar")
    await reply.said("Drawing")
    assert reply.interaction
    reply.interaction.expired = True
    marble.gate.touch()
    letter = await there.gets_dm("wait for a scholar")
    assert letter.message.attachments
    assert "requested in" not in letter.text


@pytest.mark.parametrize(
    ("name", "lost", "called"),
    [
        ("voice chat", SEND, "Send Messages"),
        ("forum post", IN_THREADS, "Send Messages in Threads"),
        ("announcements", ATTACH, "Attach Files"),
    ],
)
async def test_a_permission_that_is_lost_is_told_to_the_person_and_once_to_moderators(
    discord: FakeDiscord, marble: Marble, ann: Person, name: str, lost: int, called: str
) -> None:
    judge = discord.person("judge", MANAGE_MESSAGES)
    there = ann.at(await place_in(discord, name))
    replies = [await there.imagine(f"wait for scholar {number}") for number in range(2)]
    for reply in replies:
        await reply.said("wait for")
        assert reply.interaction
        reply.interaction.expired = True
    await discord.permit(discord.guild, INVITED & ~lost)
    for _ in range(4):
        discord.faults.add("PATCH /channels/.*", 403, 50013)
    marble.gate.touch()
    for number in range(2):
        letter = await ann.gets_dm(f"wait for scholar {number}")
        assert letter.message.attachments
        said = f"requested in <#{there.channel.id}>, where I need the permission “{called}”"
        assert said in letter.text
    refused = await there.imagine("a cat")
    assert called in await refused.said("permission")
    assert refused.ephemeral
    log = await (await judge.types("moderate log")).said("moderators did")
    assert log.count("cannot show pictures in") == 1
    assert f"<#{there.channel.id}> missing permission: {called}" in log
    await marble.stop()
    async with Storage.open(marble.data) as storage:
        assert (await storage.history.stats()).pictures == 2  # nothing is drawn in vain


async def test_a_permission_that_is_lost_again_is_told_again(
    discord: FakeDiscord, marble: Marble, ann: Person
) -> None:
    judge = discord.person("judge", MANAGE_MESSAGES)

    async def are_told(losses: int) -> bool:
        for _ in range(2):
            refused = await ann.imagine("a cat")
            assert "Attach Files" in await refused.said("permission")
        told = -1
        async with asyncio.timeout(PATIENCE):  # the log is written after the answer
            while told < losses:
                log = await (await judge.types("moderate log")).said("moderators did")
                told = log.count("missing permission: Attach Files")
        return told == losses

    await discord.permit(discord.guild, INVITED & ~ATTACH)
    assert await are_told(1)
    await discord.permit(discord.guild, INVITED)
    await (await ann.imagine("a cat", size="64")).picture()
    await discord.permit(discord.guild, INVITED & ~ATTACH)
    assert await are_told(2)
    await marble.kill()
    await marble.start()
    assert await are_told(2), "it was missing all the time"
    await marble.kill()
    discord.guild.permissions = INVITED
    await marble.start()
    await (await ann.imagine("a cat", size="64")).picture()
    await discord.permit(discord.guild, INVITED & ~ATTACH)
    assert await are_told(3)


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


async def test_a_kill_while_it_is_told_tells_nothing_twice(
    discord: FakeDiscord, cold: Marble, ann: Person
) -> None:
    cold.settings["MARBLE_EXECUTOR"] = "tests.fakes.deadly:sent"
    await cold.start()
    judge = discord.person("judge", MANAGE_MESSAGES)
    reply = await ann.imagine("wait for a scholar")
    await reply.said("Drawing")
    assert reply.interaction
    reply.interaction.expired = True
    await discord.permit(discord.guild, INVITED & ~ATTACH)
    cold.gate.touch()
    assert cold.process
    await cold.process.wait()
    await discord.gateway.drop()
    letter = await ann.gets_dm("wait for a scholar")
    await cold.start()
    await discord.until(lambda: "by DM" in reply.text, "the placeholder's end")
    log = await (await judge.types("moderate log")).said("moderators did")
    assert log.count("cannot show pictures in") == 1
    assert discord.shown(letter.message.channel) == [letter.message]
