"""Edits by words, and what models lack, in Discord."""

from __future__ import annotations

from pathlib import Path

import pytest

from engine.formats.metadata import read_recipe
from engine.recipe.recipe import Recipe
from tests.bots.discord.conftest import Marble
from tests.bots.fakes import editing_settings
from tests.bots.presentation.test_presentation import png
from tests.fakes.discord import FakeDiscord, Person, Reply


@pytest.fixture
async def marble(cold: Marble, tmp_path: Path) -> Marble:
    """Return a Marble that serves, with a model `kontext` that edits by words."""
    cold.settings |= editing_settings(tmp_path)
    await cold.start()
    return cold


async def recipe_of(reply: Reply) -> Recipe:
    return read_recipe(await reply.picture()).recipe


async def note_of(discord: FakeDiscord, reply: Reply) -> str:
    assert reply.interaction
    [note] = await discord.until(lambda: reply.interaction.followups, "a note")  # type: ignore[union-attr]
    assert note.ephemeral
    return str(note.content)


async def test_a_picture_is_edited_by_its_button_its_name_and_as_an_attachment(
    discord: FakeDiscord, marble: Marble, ann: Person
) -> None:
    first = await ann.imagine("a marble scholar", model="kontext", size="64x96", steps=5)
    await first.picture()
    form = await ann.clicks("Edit", first)
    edited = await ann.submits(form, prompt="make it bronze --steps 4")
    recipe = await recipe_of(edited)
    assert (recipe.prompt, recipe.steps) == ("make it bronze", 4)
    assert (len(recipe.references), recipe.image) == (1, None)
    assert (recipe.checkpoint, recipe.width, recipe.height) == ("kontext", 64, 96)
    named = await ann.types(
        "edit", prompt="add a hat", picture="2.1", image=ann.uploads("hat.png", png(64, 64))
    )
    assert len((await recipe_of(named)).references) == 2
    photo = ann.uploads("photo.png", png(128, 96))
    given = await ann.types("edit", prompt="add a hat", image=photo, model="kontext")
    recipe = await recipe_of(given)
    assert (len(recipe.references), recipe.width, recipe.height) == (1, 128, 96)
    assert "from 1" in edited.text


async def test_without_a_model_that_edits_the_picture_is_where_another_starts_and_one_is_told(
    discord: FakeDiscord, marble: Marble, ann: Person
) -> None:
    first = await ann.imagine("a marble scholar", size="64")
    await first.picture()
    form = await ann.clicks("Edit", first)
    edited = await ann.submits(form, prompt="make it bronze")
    assert await note_of(discord, edited) == (
        "The model 'starter' does not edit by words, so it draws anew from the picture, at "
        "strength 0.7."
    )


async def test_what_cannot_be_edited_is_answered_in_one_sentence(
    discord: FakeDiscord, marble: Marble, ann: Person
) -> None:
    grid = await ann.imagine("a marble scholar", size="64", count=2)
    await grid.picture()
    for options, sentence in (
        ({}, "Say which picture: give `picture`"),
        ({"picture": "1"}, "Job 1 has 2 pictures; choose one, for example 1.1"),
        ({"picture": "99"}, "There is no picture 99 that you may see here"),
        ({"image": ann.uploads("a.png", b"no picture")}, "The file is not a picture"),
        ({"picture": "1.1", "model": "kontext", "negative": "fog"}, "has no option --negative"),
        ({"picture": "1.1", "model": "kontext", "fit": "pad"}, "leave out --fit"),
    ):
        refused = await ann.types("edit", prompt="make it bronze", **options)
        assert await refused.said(sentence), options
        assert refused.ephemeral


async def test_options_that_the_chosen_model_lacks_are_not_offered(
    discord: FakeDiscord, marble: Marble, ann: Person
) -> None:
    assert await ann.completes("imagine", "vae", "") == ["own"]
    assert await ann.completes("imagine", "vae", "", model="kontext") == []
    assert "176x96" in await ann.completes("imagine", "size", "", model="kontext")
    refused = await ann.imagine("a marble scholar --no fog", model="kontext")
    assert await refused.said("The model 'kontext' has no option")
    assert refused.ephemeral


async def test_weights_are_said_to_be_text_by_a_model_that_knows_none(
    discord: FakeDiscord, marble: Marble, ann: Person
) -> None:
    drawn = await ann.imagine("a (gold:1.3) cat", model="kontext", size="64")
    assert await note_of(discord, drawn) == (
        "The model 'kontext' reads '(gold:1.3)' as plain text: it knows no weights of words, no "
        "BREAK and no embeddings."
    )


async def test_pictures_are_blended_by_name_and_as_attachments(
    discord: FakeDiscord, marble: Marble, ann: Person
) -> None:
    first = await ann.imagine("a cat", model="kontext", size="64x96", steps=5)
    await first.picture()
    photo = ann.uploads("hat.png", png(80, 80))
    blended = await ann.types("blend", pictures="1", image=photo, prompt="a hat --steps 4")
    recipe = await recipe_of(blended)
    assert (recipe.prompt, recipe.steps, len(recipe.references)) == ("a hat", 4, 2)
    assert (recipe.width, recipe.height) == (64, 96)
    for typed in ({"pictures": "1"}, {}, {"pictures": "1, 1, 1, 1, 1, 1"}):
        refused = await ann.types("blend", **typed)
        assert "Give two to five pictures" in await refused.said("pictures")
    await (await ann.in_dm().imagine("a secret", size="64")).picture()
    unseen = await discord.person("bob").types("blend", pictures="1 3")
    assert "There is no picture 3 that you may see here" in await unseen.said("picture")


async def test_a_model_that_sees_no_pictures_says_how_it_blends(
    discord: FakeDiscord, marble: Marble, ann: Person
) -> None:
    for words in ("a cat", "a dog"):
        await (await ann.imagine(words, size="64", steps=5)).picture()
    blended = await ann.types("blend", pictures="1 2")
    assert "starts from all of them laid over each other" in await note_of(discord, blended)
    assert blended.interaction
    shown = blended.interaction.original
    assert shown
    await discord.until(lambda: "Same seed" in shown.buttons(), "the result")
    recipe = read_recipe(shown.attachments[0].data).recipe
    assert (recipe.prompt, recipe.strength, recipe.references) == ("a cat, a dog", 0.7, ())
