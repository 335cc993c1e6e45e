"""Edits by words in Telegram: by command, and as an answer to a picture."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from engine.formats.metadata import read_recipe
from engine.recipe.recipe import Recipe
from storage import Storage
from tests.bots.fakes import editing_settings
from tests.bots.presentation.test_presentation import png
from tests.bots.telegram.conftest import a_marble
from tests.describers import make_describer
from tests.fakes.process import Marble
from tests.fakes.telegram.people import Chat, Person, group, person
from tests.fakes.telegram.server import TelegramServer

Json = dict[str, Any]


@pytest.fixture
async def marble(telegram: TelegramServer, tmp_path: Path) -> AsyncIterator[Marble]:
    """Yield Marble with a model `kontext` that edits by words."""
    async with a_marble(telegram, tmp_path, **editing_settings(tmp_path)) as marble:
        yield marble


async def recipe_of(ada: Person, chat: Chat, said: Json) -> Recipe:
    """Return the recipe of the picture that answers a message, from its original file."""
    picture = await chat.picture(said)
    await ada.presses(picture, "Original")
    file = await chat.picture_file(picture)
    return read_recipe(ada.server.files[file["document"]["file_id"]]).recipe


async def test_words_as_an_answer_edit_a_picture_whose_model_can(
    telegram: TelegramServer, marble: Marble, ada: Person
) -> None:
    said = await ada.says("a marble scholar --model kontext --size 64x96 --seed 7")
    first = await ada.chat.picture(said)
    said = await ada.says("make it bronze", answering=first)
    recipe = await recipe_of(ada, ada.chat, said)
    assert (recipe.prompt, len(recipe.references), recipe.image) == ("make it bronze", 1, None)
    assert (recipe.width, recipe.height) == (64, 96)
    said = await ada.says("--steps 3", answering=first)
    assert (await recipe_of(ada, ada.chat, said)).references == ()


async def test_words_as_an_answer_to_another_models_picture_draw_it_again(
    telegram: TelegramServer, marble: Marble, ada: Person
) -> None:
    first = await ada.chat.picture(await ada.says("a marble scholar --seed 7"))
    recipe = await recipe_of(ada, ada.chat, await ada.says("a bronze cat", answering=first))
    assert (recipe.prompt, recipe.seed, recipe.image) == ("a bronze cat", 7, None)
    said = await ada.says("/edit make it bronze", answering=first)
    await ada.chat.words(said, "The model 'starter' does not edit by words, so it draws anew")
    recipe = await recipe_of(ada, ada.chat, said)
    assert (recipe.prompt, recipe.strength) == ("make it bronze", 0.7)
    said = await ada.says("/edit 1 make it bronze --model kontext")
    assert len((await recipe_of(ada, ada.chat, said)).references) == 1


async def test_the_owners_model_edits_photos_that_words_answer(
    telegram: TelegramServer, tmp_path: Path, ada: Person
) -> None:
    settings = editing_settings(tmp_path)
    async with a_marble(telegram, tmp_path, **settings, MARBLE_EDIT_MODEL="kontext"):
        photo = await ada.sends_photo(png(128, 96))
        await ada.chat.answer(photo)  # asks what to draw
        said = await ada.says("make it bronze", answering=photo)
        recipe = await recipe_of(ada, ada.chat, said)
        assert (recipe.checkpoint, len(recipe.references)) == ("kontext", 1)
        said = await ada.says("make it bronze --strength 0.5", answering=photo)
        recipe = await recipe_of(ada, ada.chat, said)
        assert (recipe.checkpoint, recipe.strength) == ("starter", 0.5)
        statues = group(telegram)
        photo = await ada.sends_photo(png(64, 64), to=statues)
        said = await ada.says("/edit make it bronze", to=statues, answering=photo)
        assert (await recipe_of(ada, statues, said)).references


async def test_a_photo_with_the_words_is_a_further_reference_of_the_picture_that_is_replied_to(
    telegram: TelegramServer, marble: Marble, ada: Person
) -> None:
    first = await ada.chat.picture(await ada.says("a cat --model kontext --size 64x96"))
    hat = await ada.sends_photo(png(80, 80), "/edit put the hat on", answering=first)
    recipe = await recipe_of(ada, ada.chat, hat)
    assert (len(recipe.references), recipe.width, recipe.height) == (2, 64, 96)
    statues = group(telegram)
    photo = await ada.sends_photo(png(128, 96), to=statues)
    caption = "/edit put the hat on --model kontext"
    hat = await ada.sends_photo(png(80, 80), caption, to=statues, answering=photo)
    recipe = await recipe_of(ada, statues, hat)
    assert (len(recipe.references), recipe.width, recipe.height) == (2, 128, 96)
    hat = await ada.sends_photo(
        png(80, 80), "/edit put it on --model starter", to=statues, answering=photo
    )
    await statues.words(
        hat, "The model 'starter' does not edit by words, so it starts from one picture"
    )
    said = await ada.says("/edit 1\nmake it bronze")
    assert len((await recipe_of(ada, ada.chat, said)).references) == 1


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("/edit", "Say what to change in which picture"),
        ("/edit make it bronze", "Say what to change in which picture"),
        ("/edit 99 make it bronze", "There is no picture 99 that you may see here"),
    ],
)
async def test_an_edit_of_nothing_says_how(
    telegram: TelegramServer, marble: Marble, ada: Person, text: str, sentence: str
) -> None:
    await ada.chat.words(await ada.says(text), sentence)


async def test_weights_are_said_to_be_text_by_a_model_that_knows_none(
    marble: Marble, ada: Person
) -> None:
    said = await ada.says("a (gold:1.3) cat BREAK --model kontext --size 64")
    await ada.chat.words(said, "The model 'kontext' reads '(gold:1.3)', 'BREAK' as plain text")


async def test_an_album_a_reply_and_names_are_blended(
    telegram: TelegramServer, marble: Marble, ada: Person
) -> None:
    worded = await ada.sends_photo(png(64, 96), "/blend a hat --model kontext", album="9")
    await ada.sends_photo(png(80, 80), album="9")
    recipe = await recipe_of(ada, ada.chat, worded)
    assert (recipe.prompt, len(recipe.references)) == ("a hat", 2)
    assert (recipe.width, recipe.height) == (64, 96)
    first = await ada.chat.picture(await ada.says("a cat --model kontext --size 64x96"))
    hat = await ada.sends_photo(png(80, 80), "/blend", answering=first)
    recipe = await recipe_of(ada, ada.chat, hat)
    assert (recipe.prompt, len(recipe.references)) == ("Blend these pictures into one.", 2)
    await ada.chat.picture(await ada.says("a dog --size 64"))
    said = await ada.says('/blend 4 2 a "red  hat"\nfog --model starter')
    recipe = await recipe_of(ada, ada.chat, said)
    assert (recipe.prompt, recipe.negative_prompt) == ('a "red  hat"', "fog")
    said = await ada.says("/blend 4 2 --steps 3 --model starter")
    await ada.chat.words(said, "starts from all of them laid over each other, at strength 0.7")
    recipe = await recipe_of(ada, ada.chat, said)
    assert (recipe.prompt, recipe.steps, recipe.references) == ("a dog, a cat", 3, ())


async def test_choices_as_an_answer_to_a_picture_are_refused(
    telegram: TelegramServer, marble: Marble, ada: Person
) -> None:
    photo = await ada.sends_photo(png(64, 96), "/blend")
    said = await ada.says("make it {bronze, gold}", answering=photo)
    await ada.chat.words(said, "Choices in braces can only stand in a new prompt")
    both = await ada.sends_photo(png(64, 96), "a {bronze, gold} hat --steps 3")
    await ada.chat.words(both, "That makes 2 jobs")


async def test_a_blend_of_too_few_or_of_others_pictures_is_refused(
    telegram: TelegramServer, marble: Marble, ada: Person
) -> None:
    for text in ("/blend", "/blend 1", "/blend a cat and a dog", "/blend 1 1 1 1 1 1"):
        await ada.chat.words(await ada.says(text), "Say which two to five pictures to blend")
    await ada.chat.picture(await ada.says("a cat --size 64"))
    bob = person(telegram, 2)
    await bob.chat.words(await bob.says("/blend 1 1"), "no picture 1")


async def test_a_photo_a_reply_and_a_name_are_described(
    telegram: TelegramServer, tmp_path: Path, ada: Person
) -> None:
    model = str(make_describer(tmp_path / "blip"))
    async with a_marble(telegram, tmp_path, MARBLE_DESCRIBE_MODEL=model):
        photo = await ada.sends_photo(png(80, 80), "/describe")
        said = await ada.chat.words(photo, "In words; a number draws them:")
        lines = said["text"].splitlines()[1:]
        await ada.presses(said, "🖼️ 2")
        recipe = await recipe_of(ada, ada.chat, said)
        assert lines[1] == f"2. {recipe.prompt}"
        named = await ada.chat.words(await ada.says("/describe 1"), "In words")
        result = await ada.chat.picture(said)
        replied = await ada.chat.words(await ada.says("/describe", answering=result), "In words")
        assert replied["text"] == named["text"]
        await ada.chat.words(await ada.says("/describe"), "Say which picture to describe")
        bob = person(telegram, 2)
        await bob.chat.words(await bob.says("/describe 1"), "There is no picture 1")


async def test_a_picture_that_may_not_be_shown_in_a_place_is_not_told_there_either(
    telegram: TelegramServer, tmp_path: Path, ada: Person
) -> None:
    model, statues = str(make_describer(tmp_path / "blip")), group(telegram, 5)
    async with a_marble(telegram, tmp_path, MARBLE_DESCRIBE_MODEL=model) as marble:
        await ada.chat.picture(await ada.says("a jade owl --size 64"))
        await marble.kill()
        async with Storage.open(tmp_path / "data") as storage:
            place = f"telegram:{statues.id}"
            await storage.people.change_place_settings(place, {"rules.safety": "refuse"})
        await marble.start()
        said = await ada.says("/describe 1", to=statues)
        await statues.words(said, "the safety check could not read it")
        await ada.chat.words(await ada.says("/describe 1"), "In words")


async def test_what_is_behind_a_spoiler_in_a_group_is_described_behind_one(
    telegram: TelegramServer, tmp_path: Path, ada: Person
) -> None:
    model, statues = str(make_describer(tmp_path / "blip")), group(telegram, 5)
    async with a_marble(telegram, tmp_path, MARBLE_DESCRIBE_MODEL=model) as marble:
        await ada.chat.picture(await ada.says("a jade owl --size 64"))
        shown = await statues.words(await ada.says("/describe 1", to=statues), "In words")
        assert "entities" not in shown
        await marble.kill()
        async with Storage.open(tmp_path / "data") as storage:
            place = f"telegram:{statues.id}"
            await storage.people.change_place_settings(place, {"rules.safety": "spoiler"})
        await marble.start()
        hidden = await statues.words(await ada.says("/describe 1", to=statues), "In words")
        assert hidden["text"] == shown["text"]
        begin = hidden["text"].index("\n") + 1
        [mark] = hidden["entities"]
        assert (mark["type"], mark["offset"]) == ("spoiler", begin)
        assert mark["length"] == len(hidden["text"]) - begin
        await ada.presses(hidden, "🖼️ 1")
        prompt = hidden["text"].splitlines()[1].removeprefix("1. ")
        assert (await statues.picture(hidden))["caption"].startswith(prompt)


async def test_without_a_model_nothing_is_described(
    telegram: TelegramServer, ada: Person, tmp_path: Path
) -> None:
    async with a_marble(telegram, tmp_path, MARBLE_CLIP_MODEL="off"):
        photo = await ada.sends_photo(png(80, 80), "/describe")
        await ada.chat.words(photo, "has to name a model in MARBLE_DESCRIBE_MODEL")
