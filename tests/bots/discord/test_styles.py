"""Styles: what a server's moderators keep, and everybody there draws with."""

from __future__ import annotations

from engine.formats.metadata import read_recipe
from tests.bots.discord.conftest import Marble
from tests.fakes.discord import FakeDiscord, Person
from tests.fakes.discord.world import MANAGE_MESSAGES


async def test_moderators_keep_styles_and_everybody_draws_with_them(
    discord: FakeDiscord, marble: Marble, ann: Person
) -> None:
    judge = discord.person("judge", MANAGE_MESSAGES)
    refused = await ann.types("style add", name="noir", prompt="film noir")
    assert await refused.said("Only moderators")
    assert refused.ephemeral
    assert await (await ann.types("style list")).said("There are no styles here yet")
    words = "a statue of {prompt}, *hard* shadows"
    kept = await judge.types("style add", name="Noir", prompt=words, negative="colour")
    assert await kept.said("Style noir is saved")
    assert await ann.completes("imagine", "style", "no", prompt="a cat") == ["noir"]
    listed = await (await ann.types("style list")).said("Styles here")
    assert r"noir: a statue of {prompt}, \*hard\* shadows (not: colour)" in listed
    reply = await ann.imagine("a cat", style="noir", seed="7")
    png = await reply.picture()
    assert "style noir" in reply.text
    recipe = read_recipe(png).recipe
    assert recipe.prompt == "a statue of a cat, *hard* shadows"
    assert recipe.negative_prompt == "colour"
    thread = discord.add_thread(discord.channel)
    assert await ann.at(thread).completes("imagine", "style", "", prompt="a cat") == ["noir"]
    # What was drawn with it is drawn again without it.
    assert await judge.completes("style remove", "name", "") == ["noir"]
    assert await (await judge.types("style remove", name="noir")).said("is removed")
    again = await ann.clicks("Same seed", reply)
    assert await again.picture() == png
    assert "style noir" in again.text
    assert "style: noir" in await (await ann.clicks("Recipe", again)).said("Recipe")
    refused = await ann.imagine("a cat", style="noir")
    assert "no style 'noir' here" in await refused.said("no style")
    assert refused.ephemeral
    log = await (await judge.types("moderate log")).said("moderators did")
    assert "remove a style name: noir" in log


async def test_a_style_stays_in_its_server_and_a_saved_one_holds_nobody_up_elsewhere(
    discord: FakeDiscord, marble: Marble, ann: Person
) -> None:
    judge = discord.person("judge", MANAGE_MESSAGES)
    await (await judge.types("style add", name="noir", prompt="film noir")).said("noir")
    await (await ann.types("settings set", style="noir")).said("Saved")
    first = await ann.imagine("a cat")
    assert read_recipe(await first.picture()).recipe.prompt == "a cat, film noir"
    alone = ann.in_dm()
    plain = await alone.imagine("a cat")
    assert read_recipe(await plain.picture()).recipe.prompt == "a cat"
    assert await (await alone.imagine("a cat", style="noir")).said("no style")
    form = await ann.clicks("Change recipe", first)
    edited = await ann.submits(form, prompt="a dog", style="noir")
    assert read_recipe(await edited.picture()).recipe.prompt == "a dog, film noir"
    assert await (await alone.types("style add", name="x", prompt="x")).said("Only moderators")


async def test_marbles_own_moderators_keep_styles_for_everywhere(
    discord: FakeDiscord, cold: Marble, ann: Person
) -> None:
    mo = discord.person("mo")
    cold.settings["MARBLE_MODERATORS"] = f"discord:{mo.id}"
    await cold.start()
    assert await (await mo.in_dm().types("style add", name="gold", prompt="gilded")).said(
        "is saved"
    )
    assert await ann.completes("imagine", "style", "", prompt="a cat") == ["gold"]
