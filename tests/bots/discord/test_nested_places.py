"""What is in force in a server, a channel or a thread: shown as it is enforced, on every way."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from random import Random
from typing import Final

import pytest

from bots.discord.address import guild_key, place_key
from bots.texts import EN
from storage import Storage
from tests.bots.discord.conftest import Marble
from tests.bots.discord.test_safety import WAYS, exported, is_open, is_silent, is_veiled
from tests.factories import line_in
from tests.fakes.discord import FakeDiscord, Person
from tests.fakes.discord.people import Reply
from tests.fakes.discord.world import INVITED, MANAGE_GUILD, MANAGE_MESSAGES, Attachment, Channel

DRAWN: Final = {"steps": 1, "seed": "7", "count": 2}
RIGHT: Final[Mapping[str, Callable[[list[Attachment]], bool]]] = {
    "off": is_open,
    "spoiler": is_veiled,
    "refuse": is_silent,
}
UNSAFE: Final = "unsafe pictures"


async def rerun(ann: Person, grid: Reply) -> None:
    """Choose a menu on the message that shows it."""
    await (await ann.chooses("Rerun", grid)).said(" · from ")


PATHS: Final = {**WAYS, "by menu": rerun}


@dataclass
class Spot:
    """A channel or thread, and what becomes of unsafe pictures there."""

    channel: Channel
    rule: str


def place_of(channel: Channel) -> str:
    assert channel.guild
    return place_key(channel.guild.id, channel.id)


async def set_rules(marble: Marble, rules: Mapping[str, Mapping[str, object]]) -> None:
    marble.data.mkdir(exist_ok=True)
    async with Storage.open(marble.data) as storage:
        for place, values in rules.items():
            await storage.people.change_place_settings(place, values)


@pytest.fixture
async def spots(discord: FakeDiscord, cold: Marble, ann: Person) -> dict[str, Spot]:
    """Return channels and threads of two servers, the first of which has a rule of its owner's."""
    ruled, free = discord.guild, discord.add_guild(name="Free")
    free.members[ann.user.id] = INVITED
    plain, adult, own = (discord.add_channel(ruled, nsfw=nsfw) for nsfw in (False, True, True))
    judged = discord.add_channel(free, nsfw=True)
    opened = discord.add_channel(free, nsfw=True)
    stricter = discord.add_thread(plain)
    spots = {
        "a channel, by its server": Spot(plain, "spoiler"),
        "a thread, by its own moderators": Spot(stricter, "refuse"),
        "for adults, by its server": Spot(adult, "spoiler"),
        "a thread for adults, by its server": Spot(discord.add_thread(adult), "spoiler"),
        "for adults, by its owner": Spot(own, "off"),
        "for adults, by its moderators": Spot(judged, "refuse"),
        "a thread of that": Spot(discord.add_thread(judged), "refuse"),
        "for adults": Spot(opened, "off"),
        "a thread for adults": Spot(discord.add_thread(opened), "off"),
        "neither, by the setting": Spot(free.channels[0], "refuse"),
    }
    for name in ("a thread of that", "a thread for adults"):  # Discord does not tell of them
        free.channels.remove(spots[name].channel)
    await set_rules(
        cold,
        {
            guild_key(ruled.id): {"rules.safety": "spoiler"},
            place_of(stricter): {"policy.safety": "refuse"},
            place_of(own): {"rules.safety": "off"},
            place_of(judged): {"policy.safety": "refuse"},
        },
    )
    cold.settings = {"MARBLE_SAFETY": "refuse"}  # no classifier: all count as unsafe
    await cold.start()
    return spots


async def check_every_way(
    discord: FakeDiscord, there: Person, is_right: Callable[[list[Attachment]], bool], name: str
) -> None:
    """Hold all that leaves for a channel to a rule."""
    before = len(discord.sent())
    grid = await there.imagine("a marble scholar", **DRAWN)
    await grid.said("seed 7")
    assert is_right(discord.sent()[before:]), f"{name}: {grid.text}"
    for way, go in PATHS.items():
        before = len(discord.sent())
        await go(there, grid)
        files = discord.sent()[before:]
        right = is_silent if way == "by letter" else is_right
        assert right(files), f"{name}, {way}: {[each.filename for each in files]}"


async def test_what_is_shown_as_in_force_is_what_leaves_on_every_way(
    discord: FakeDiscord, spots: dict[str, Spot], ann: Person
) -> None:
    for name, spot in spots.items():
        is_right, there = RIGHT[spot.rule], ann.at(spot.channel)
        await check_every_way(discord, there, is_right, name)
        held, left_out = await exported(there)
        assert (held > 0) is (is_right is not is_silent), name
        assert (left_out > 0) is (is_right is is_silent), name


async def test_whatever_rules_are_drawn_what_is_shown_as_in_force_leaves_on_every_way(
    discord: FakeDiscord, cold: Marble, ann: Person
) -> None:
    chance, kinds, seen = Random(9), ("", "off", "spoiler", "refuse"), set()
    spots: list[Channel] = []
    rules: dict[str, dict[str, object]] = {}
    for number in range(3):
        guild = discord.add_guild(name=f"Guild {number}")
        guild.members[ann.user.id] = INVITED | MANAGE_GUILD | MANAGE_MESSAGES
        channel = discord.add_channel(guild, nsfw=chance.random() < 0.5)
        thread = discord.add_thread(channel)
        spots += channel, thread
        for place in (guild_key(guild.id), place_of(channel), place_of(thread)):
            drawn = {name: chance.choice(kinds) for name in ("rules.safety", "policy.safety")}
            rules[place] = {name: kind for name, kind in drawn.items() if kind}
    await set_rules(cold, rules)
    cold.settings = {"MARBLE_SAFETY": "refuse"}
    await cold.start()
    for spot in spots:
        there = ann.at(spot)
        told = await (await there.types("moderate channel")).said("Rules for")
        [shown] = [line for line in told.splitlines() if line.startswith(UNSAFE)]
        rule = shown.removeprefix(f"{UNSAFE}: ").split()[0]
        seen.add(rule)
        await check_every_way(discord, there, RIGHT[rule], f"{shown}, by {rules}")
    assert seen == {"off", "spoiler", "refuse"}


async def test_lists_of_rules_say_what_is_enforced_and_where_it_was_set(
    discord: FakeDiscord, spots: dict[str, Spot], ann: Person
) -> None:
    for guild in discord.guilds:
        guild.members[ann.user.id] = INVITED | MANAGE_GUILD | MANAGE_MESSAGES
    said = {}
    for name, spot in spots.items():
        told = await (await ann.at(spot.channel).types("moderate channel")).said("Rules for")
        assert f"{UNSAFE}: {spot.rule}" in told, f"{name}: {told}"
        title = told.splitlines()[0].strip("*")
        threaded = spot.channel.parent is not None
        assert title == f"Rules for {EN.this_thread if threaded else EN.this_channel}"
        [said[name]] = [line for line in told.splitlines() if line.startswith(UNSAFE)]
    assert "(set for this server)" in said["for adults, by its server"]
    assert "(set for the channel of this thread)" in said["a thread of that"]
    assert "(" not in said["a thread, by its own moderators"]


async def test_a_reaction_in_a_thread_that_is_not_known_meets_the_rules_of_its_channel(
    discord: FakeDiscord, cold: Marble, ann: Person
) -> None:
    channel = discord.add_channel(discord.guild)
    await cold.start()
    thread = discord.add_thread(channel)
    there = ann.at(thread)
    first = await there.imagine("a marble scholar", steps=5)
    await first.picture()
    await cold.kill()
    async with Storage.open(cold.data) as storage:  # as one that was told nothing of the channel
        await storage.people.add_place(place_of(thread), guild_key(discord.guild.id))
    await set_rules(cold, {place_of(channel): {"policy.steps": [1, 4]}})
    discord.guild.channels.remove(thread)  # archived meanwhile
    await cold.start()
    await there.reacts("🌱", first)
    await there.gets_dm("between 1 and 4, not 5")
    async with Storage.open(cold.data) as storage:
        line = [level.place for level in await line_in(storage, place_of(thread))]
    assert line[1:3] == [place_of(channel), guild_key(discord.guild.id)]


async def test_a_servers_rate_counts_all_its_channels_and_threads_together(
    discord: FakeDiscord, cold: Marble, ann: Person, bob: Person
) -> None:
    await set_rules(cold, {guild_key(discord.guild.id): {"policy.per_minute": 2}})
    await cold.start()
    channels = [discord.add_channel(discord.guild) for _ in range(2)]
    for channel in channels:
        assert await (await ann.at(channel).imagine("a marble scholar")).picture()
    refused = await ann.at(discord.add_thread(channels[0])).imagine("a marble scholar")
    assert "You may request 2 jobs a minute here" in await refused.said("minute")
    assert await (await bob.at(channels[0]).imagine("a marble scholar")).picture()


async def test_what_is_sent_by_direct_message_follows_the_rule_of_that_chat(
    discord: FakeDiscord, cold: Marble, ann: Person
) -> None:
    alone = ann.in_dm()
    await set_rules(cold, {place_key(None, alone.channel.id): {"rules.safety": "spoiler"}})
    cold.settings = {"MARBLE_SAFETY": "refuse"}
    await cold.start()
    before = len(discord.sent())
    asked = await ann.imagine("a marble scholar", **DRAWN)
    await asked.said("seed 7")
    assert is_silent(discord.sent()[before:])
    await ann.reacts("✉️", asked)
    letter = await ann.gets_dm("Recipe of ")
    assert is_veiled(letter.message.attachments)
    told = await alone.imagine("a marble scholar", **DRAWN)
    await told.said("seed 7")
    assert is_veiled(told.message.attachments)
