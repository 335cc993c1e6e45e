"""The owner's workflows in Discord: chosen, filled in, refused, replaced while Marble runs."""

from __future__ import annotations

from pathlib import Path

import pytest

from engine.formats.metadata import read_recipe
from engine.recipe.recipe import Recipe
from tests.bots.discord.conftest import Marble
from tests.bots.presentation.test_presentation import png
from tests.bots.workflow_graphs import from_picture, marked, with_mask, write
from tests.fakes.discord import FakeDiscord, Person, Reply
from tests.fakes.discord.world import MANAGE_MESSAGES


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return write(
        tmp_path / "flows", portrait=marked(), redraw=from_picture(), paint=with_mask(), torn=[]
    )


@pytest.fixture
async def marble(cold: Marble, folder: Path) -> Marble:
    """Return a Marble that serves with workflows."""
    cold.settings["MARBLE_WORKFLOWS_DIR"] = str(folder)
    await cold.start()
    return cold


async def recipe_of(reply: Reply) -> Recipe:
    return read_recipe(await reply.picture()).recipe


async def test_workflows_are_offered_and_drawn_with_what_is_set(
    discord: FakeDiscord, marble: Marble, ann: Person
) -> None:
    imagine = next(each for each in discord.commands if each["name"] == "imagine")
    option = next(each for each in imagine["options"] if each["name"] == "workflow")
    assert option["name_localizations"]["zh-CN"] == "工作流"
    assert len(imagine["options"]) <= 25
    offered = await ann.completes("imagine", "workflow", "", prompt="a cat")
    assert offered == ["paint", "portrait", "redraw"]
    assert await ann.completes("imagine", "workflow", "PORT", prompt="a cat") == ["portrait"]
    recipe = await recipe_of(await ann.imagine("a cat", workflow="portrait", steps=3, seed="7"))
    assert (recipe.prompt, recipe.steps, recipe.seed) == ("a cat", 3, 7)
    assert (recipe.negative_prompt, recipe.guidance_scale) == ("text, watermark", 8)
    reply = await ann.types("imagine", workflow="portrait")
    assert (await recipe_of(reply)).prompt == "beautiful scenery nature glass bottle landscape"
    again = await recipe_of(await ann.clicks("New seed", reply))
    assert (again.steps, again.negative_prompt) == (4, "text, watermark")
    listed = await (await ann.types("models")).said("portrait")
    assert "portrait: prompt, negative, seed, size, count, steps, guidance" in listed


async def test_pictures_and_masks_go_where_the_workflow_takes_them(
    discord: FakeDiscord, marble: Marble, ann: Person
) -> None:
    image = ann.uploads("cat.png", png(128, 64))
    mask = ann.uploads("mask.png", png(128, 64, colour="white"))
    recipe = await recipe_of(await ann.imagine("a cat", workflow="redraw", image=image))
    assert (recipe.width, recipe.height, recipe.strength) == (128, 64, 0.5)
    reply = await ann.imagine("a cat", workflow="paint", image=image, mask=mask)
    assert (await recipe_of(reply)).mask


async def test_what_is_missing_or_not_marked_is_said_in_a_sentence(
    discord: FakeDiscord, marble: Marble, ann: Person
) -> None:
    reply = await ann.imagine("a cat", workflow="redraw")
    await reply.said("The workflow redraw starts from a picture of yours: give it as image.")
    reply = await ann.imagine("a cat", workflow="redraw", steps=3)
    await reply.said("In the workflow redraw nothing is marked as steps; what may be set: prompt")
    reply = await ann.imagine("a cat", workflow="torn")
    await reply.said("There is no workflow 'torn'; available workflows: paint, portrait, redraw.")


async def test_files_that_come_and_go_need_no_restart(
    discord: FakeDiscord, marble: Marble, ann: Person, folder: Path
) -> None:
    assert "torn" not in await ann.completes("imagine", "workflow", "", prompt="a cat")
    write(folder, torn=marked({}), **{f"w{number}": marked() for number in range(30)})
    (folder / "paint.json").unlink()
    offered = await ann.completes("imagine", "workflow", "", prompt="a cat")
    assert (offered[:3], len(offered)) == (["portrait", "redraw", "torn"], 25)
    reply = await ann.imagine("a cat", workflow="torn", steps=3)
    await reply.said("nothing is marked as steps; what may be set: prompt, seed, count")
    assert (await recipe_of(await ann.imagine("a cat", workflow="torn"))).prompt == "a cat"


async def test_moderators_say_which_workflows_a_channel_has(
    discord: FakeDiscord, marble: Marble, ann: Person
) -> None:
    judge = discord.person("judge", MANAGE_MESSAGES)
    reply = await judge.types("moderate channel", rule="workflows", value="portrait")
    await reply.said("workflows: portrait")
    assert await ann.completes("imagine", "workflow", "", prompt="a cat") == ["portrait"]
    reply = await ann.imagine("a cat", workflow="redraw")
    await reply.said("Here workflows must be one of portrait, not 'redraw'.")
