"""/describe: what a picture shows in words, and buttons that draw them."""

from __future__ import annotations

from pathlib import Path

import pytest
from PIL import Image

from bots.chat.suggestions import LONGEST
from bots.presentation.text import cut
from engine.finish.describe import load_describer
from engine.formats.metadata import read_recipe
from tests.bots.discord.conftest import Marble
from tests.bots.presentation.test_presentation import png
from tests.describers import make_describer
from tests.fakes.discord import FakeDiscord, Person
from tests.fakes.discord.world import MANAGE_MESSAGES

NOT_SHOWN = "This picture is not shown here: the safety check could not read it."


@pytest.fixture
async def marble(cold: Marble, tmp_path: Path) -> Marble:
    """Return a Marble that serves, with a model that describes pictures."""
    cold.settings |= {"MARBLE_DESCRIBE_MODEL": str(make_describer(tmp_path / "blip"))}
    await cold.start()
    return cold


async def test_an_image_is_described_and_each_description_can_be_drawn(
    discord: FakeDiscord, marble: Marble, ann: Person
) -> None:
    reply = await ann.types("describe", image=ann.uploads("hat.png", png(80, 80)))
    title, *lines = (await reply.said("In words")).splitlines()
    assert reply.ephemeral
    assert title == "In words; a number draws them:"
    assert [line[:3] for line in lines] == [f"{number}. " for number in range(1, len(lines) + 1)]
    model = load_describer(marble.settings["MARBLE_DESCRIBE_MODEL"])
    shown = model.suggest(Image.new("RGB", (80, 80), "red"))
    assert [line[3:] for line in lines] == [cut(words, LONGEST) for words in shown]
    await marble.kill()
    await marble.start()  # the button outlives its process
    drawn = await ann.clicks("2", reply)
    assert read_recipe(await drawn.picture()).recipe.prompt == lines[1][3:]


async def test_only_pictures_that_may_be_seen_are_described(
    discord: FakeDiscord, marble: Marble, ann: Person
) -> None:
    await (await ann.in_dm().imagine("a secret", size="64")).picture()
    own = await ann.types("describe", picture="1")
    assert "1. " in await own.said("In words")
    bob = discord.person("bob")
    unseen = await bob.types("describe", picture="1")
    assert "There is no picture 1 that you may see here" in await unseen.said("picture")
    neither = await ann.types("describe")
    assert "Give one picture" in await neither.said("picture")


async def test_of_a_picture_that_is_withheld_or_gone_nothing_is_described(
    discord: FakeDiscord, marble: Marble, ann: Person
) -> None:
    await (await ann.imagine("a secret", size="64")).picture()
    judge = discord.person("judge", MANAGE_MESSAGES)
    await (await judge.types("moderate channel", safety="refuse")).said("Rules for")
    withheld = await ann.types("describe", picture="1")
    assert await withheld.said("not shown here") == NOT_SHOWN
    assert withheld.ephemeral
    assert not withheld.message.components
    alone = ann.in_dm()
    for file in (marble.data / "pictures").rglob("*.png"):
        file.unlink()
    gone = await alone.types("describe", picture="1")
    assert await gone.said() == "The picture's file is missing; a rerun draws it again."
    assert not gone.message.components
    question = await alone.types("mydata delete")
    await (await alone.clicks("Delete everything", question)).said("Deleted:")
    refused = await alone.types("describe", picture="1")
    assert "There is no picture 1 that you may see here" in await refused.said("picture")


async def test_what_is_behind_a_spoiler_is_described_behind_one_and_drawn_as_it_reads(
    discord: FakeDiscord, marble: Marble, ann: Person
) -> None:
    await (await ann.imagine("a secret", size="64")).picture()
    open_words = (await (await ann.types("describe", picture="1")).said("In words")).splitlines()
    judge = discord.person("judge", MANAGE_MESSAGES)
    await (await judge.types("moderate channel", safety="spoiler")).said("Rules for")
    reply = await ann.types("describe", picture="1")
    title, *lines = (await reply.said("In words")).splitlines()
    assert [title, *(line.replace("||", "") for line in lines)] == open_words
    assert all(line[3:5] == line[-2:] == "||" for line in lines)
    drawn = await ann.clicks("1", reply)
    assert read_recipe(await drawn.picture()).recipe.prompt == open_words[1][3:]


async def test_what_cannot_be_described_counts_towards_no_rate(
    discord: FakeDiscord, cold: Marble, tmp_path: Path, ann: Person
) -> None:
    model = str(make_describer(tmp_path / "blip"))
    cold.settings |= {"MARBLE_DESCRIBE_MODEL": model, "MARBLE_PER_MINUTE": "1"}
    await cold.start()
    for _ in range(2):
        broken = await ann.types("describe", image=ann.uploads("hat.png", b"no picture"))
        assert "not a picture" in await broken.said("picture")
    hat = ann.uploads("hat.png", png(80, 80))
    assert "1. " in await (await ann.types("describe", image=hat)).said("In words")
    assert "try again in" in await (await ann.types("describe", image=hat)).said("try again")


async def test_without_a_model_the_setting_is_named(
    discord: FakeDiscord, cold: Marble, ann: Person
) -> None:
    cold.settings |= {"MARBLE_CLIP_MODEL": "off"}
    await cold.start()
    refused = await ann.types("describe", image=ann.uploads("hat.png", png(80, 80)))
    assert "has to name a model in MARBLE" in await refused.said("describe pictures")
