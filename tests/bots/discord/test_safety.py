"""The safety check on Discord, by a real classifier in the real engine: on every way that a picture
leaves, in every kind of place.
"""

from __future__ import annotations

import io
import json
import zipfile
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from typing import Any, Final

from bots.discord.address import place_key
from storage import Storage
from tests.bots.discord.conftest import Marble
from tests.classifiers import make_classifier
from tests.fakes.discord import FakeDiscord, Person
from tests.fakes.discord.people import Reply
from tests.fakes.discord.world import DM, Attachment, Channel

DRAWN: Final[Mapping[str, Any]] = {"steps": 1, "seed": "7", "count": 2}
VEIL: Final = "SPOILER_"


async def again(ann: Person, grid: Reply) -> None:
    await (await ann.clicks("Same seed", grid)).said(" · from ")


async def by_reaction(ann: Person, grid: Reply) -> None:
    await ann.reacts("🌱", grid)
    await (await ann.gets_reply_to(grid)).said(" · from ")


async def picked_and_larger(ann: Person, grid: Reply) -> None:
    one = await ann.clicks("2⃣", grid)
    await one.said(".2")
    await (await ann.clicks("Upscale", one)).said(".2")


async def shown_again(ann: Person, grid: Reply) -> None:
    job = grid.text.split("-# ")[1].split(" ")[0]
    await (await ann.types("show", picture=job)).said("seed 7")


async def by_letter(ann: Person, grid: Reply) -> None:
    await ann.reacts("✉️", grid)
    await ann.gets_dm("Recipe of ")


async def in_history(ann: Person, grid: Reply) -> None:
    page = await ann.types("history")
    await page.said("Your pictures")
    await (await ann.clicks("Open one", page)).said("seed 7")


async def among_favourites(ann: Person, grid: Reply) -> None:
    await (await ann.clicks("Favourite", grid)).said("favourites")
    await (await ann.types("history", favourites=True)).said("Your favourites")


WAYS: Final[Mapping[str, Callable[[Person, Reply], Awaitable[None]]]] = {
    "again": again,
    "by reaction": by_reaction,
    "picked and larger": picked_and_larger,
    "shown again": shown_again,
    "by letter": by_letter,
    "in the history": in_history,
    "among favourites": among_favourites,
}


def is_silent(files: list[Attachment]) -> bool:
    return files == []


def is_veiled(files: list[Attachment]) -> bool:
    return bool(files) and all(each.filename.startswith(VEIL) for each in files)


def is_open(files: list[Attachment]) -> bool:
    return bool(files) and not any(each.filename.startswith(VEIL) for each in files)


# A kind of place: its channel, the rule that it has of its own, and what then leaves Marble.
Kind = tuple[dict[str, Any], str | None, Callable[[list[Attachment]], bool]]
KINDS: Final[Mapping[str, Kind]] = {
    "as everywhere": ({}, None, is_silent),
    "with spoilers": ({}, "spoiler", is_veiled),
    "with all of it": ({}, "off", is_open),
    "for adults": ({"nsfw": True}, None, is_open),
    "for adults, with a rule": ({"nsfw": True}, "refuse", is_silent),
}


async def exported(ann: Person) -> tuple[int, int]:
    """Return how many pictures an export holds, and how many it names as left out."""
    told = await ann.types("mydata export")
    await told.said("Everything")
    with zipfile.ZipFile(io.BytesIO(told.message.attachments[0].data)) as archive:
        held = [name for name in archive.namelist() if name.startswith("pictures/")]
        return len(held), len(json.loads(archive.read("person.json"))["left_out"])


async def test_what_is_unsafe_leaves_as_the_place_lets_it_whatever_the_way(
    discord: FakeDiscord, cold: Marble, tmp_path: Path, ann: Person
) -> None:
    rooms: dict[str, Channel] = {}
    cold.data.mkdir()
    async with Storage.open(cold.data) as storage:
        for kind, (facts, rule, _) in KINDS.items():
            rooms[kind] = room = discord.add_channel(discord.guild, **facts)
            if rule:
                place = place_key(discord.guild.id, room.id)
                await storage.people.change_place_settings(place, {"rules.safety": rule})
    cold.settings = {
        "MARBLE_EXECUTOR": "child",
        "MARBLE_SAFETY": "refuse",
        "MARBLE_SAFETY_MODEL": str(make_classifier(tmp_path / "judge", "nsfw")),
    }
    await cold.start()
    for kind, (_, _, is_right) in KINDS.items():
        there, before = ann.at(rooms[kind]), len(discord.sent())
        grid = await there.imagine("a marble scholar", **DRAWN)
        await grid.said("seed 7")
        assert is_right(discord.sent()[before:]), f"{kind}: {grid.text}"
        for way, go in WAYS.items():
            before = len(discord.sent())
            await go(there, grid)
            files = discord.sent()[before:]
            # Direct messages are no place for adults, whatever channel they were asked for in.
            right = is_silent if way == "by letter" else is_right
            assert right(files), f"{kind}, {way}: {[each.filename for each in files]}"
        held, left_out = await exported(there)
        assert (held > 0, left_out > 0) == (is_right is not is_silent, is_right is is_silent)
    sentence = "The safety check does not allow this picture here."
    assert sentence in (
        await (await ann.at(rooms["as everywhere"]).types("show", picture="1")).said("seed")
    )
    assert not [each for each in discord.messages.values() if each.channel.kind == DM and each.held]


async def test_a_thread_is_for_adults_as_its_channel_is_and_a_guest_is_told_nothing(
    discord: FakeDiscord, cold: Marble, tmp_path: Path, ann: Person
) -> None:
    channel = discord.add_channel(discord.guild, nsfw=True)
    thread = discord.add_thread(channel)
    elsewhere = discord.add_guild(name="Elsewhere", joined=False).channels[0]
    elsewhere.nsfw = True  # which nobody but Discord's payload says, and not for later
    cold.settings = {"MARBLE_SAFETY": "refuse"}
    await cold.start()
    assert await (await ann.at(thread).imagine("a marble scholar")).picture()
    guest = ann.at(elsewhere)
    guest.installed_by_user, guest.app_permissions = True, 1 << 15
    alone = ann.in_dm()
    for person in (guest, alone):
        told = await person.imagine("a marble scholar preview wait")
        cold.gate.touch()
        assert "the safety check could not read it" in await told.said("safety")
        assert (told.message.attachments, told.message.held) == ([], [])


async def test_no_preview_is_shown_where_pictures_are_checked(
    discord: FakeDiscord, cold: Marble, ann: Person
) -> None:
    veiled, free = discord.channel, discord.add_channel(discord.guild, nsfw=True)
    cold.settings = {"MARBLE_SAFETY": "spoiler"}
    await cold.start()
    asked = [await ann.at(room).imagine("a cat preview") for room in (veiled, free)]
    await discord.until(lambda: "preview.jpg" in asked[1].message.showed, "a preview")
    cold.gate.touch()
    for each in asked:
        await each.picture()
    names = [{name.partition("-")[0] for name in each.message.showed} for each in asked]
    assert names == [{"SPOILER_marble"}, {"preview.jpg", "marble"}]
