"""The owner's workflows in Telegram: `--workflow NAME` among the words."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.bots.presentation.test_presentation import png
from tests.bots.telegram.conftest import a_marble
from tests.bots.telegram.test_edits import recipe_of
from tests.bots.workflow_graphs import from_picture, marked, two_results, write
from tests.engine.formats import others
from tests.fakes.process import Marble
from tests.fakes.telegram.people import Person
from tests.fakes.telegram.server import TelegramServer


@pytest.fixture
async def marble(telegram: TelegramServer, tmp_path: Path) -> AsyncIterator[Marble]:
    """Yield Marble with workflows."""
    folder = write(tmp_path / "flows", portrait=marked(), redraw=from_picture(), torn=[])
    async with a_marble(telegram, tmp_path, MARBLE_WORKFLOWS_DIR=str(folder)) as marble:
        yield marble


async def test_words_and_options_are_set_in_a_workflow(
    telegram: TelegramServer, marble: Marble, ada: Person
) -> None:
    said = await ada.says("/imagine a cat --workflow portrait --steps 3 --seed 7")
    recipe = await recipe_of(ada, ada.chat, said)
    assert (recipe.prompt, recipe.steps, recipe.seed) == ("a cat", 3, 7)
    assert recipe.negative_prompt == "text, watermark"
    said = await ada.says("--workflow portrait\nbirds")
    recipe = await recipe_of(ada, ada.chat, said)
    assert (recipe.prompt, recipe.negative_prompt) == (
        "beautiful scenery nature glass bottle landscape",
        "birds",
    )
    said = await ada.says("/models")
    await ada.chat.words(said, "redraw: prompt, negative, image, seed, count, strength")


async def test_pictures_come_with_the_words_or_are_replied_to(
    telegram: TelegramServer, marble: Marble, ada: Person
) -> None:
    photo = await ada.sends_photo(png(128, 64), "--workflow redraw --strength 0.4")
    recipe = await recipe_of(ada, ada.chat, photo)
    assert (recipe.width, recipe.height, recipe.strength) == (128, 64, 0.4)
    picture = await ada.chat.picture(await ada.says("a dog --size 96x64"))
    said = await ada.says("a cat --workflow redraw", answering=picture)
    recipe = await recipe_of(ada, ada.chat, said)
    assert (recipe.prompt, recipe.width, bool(recipe.image)) == ("a cat", 96, True)


async def test_what_is_missing_or_not_marked_is_said_in_their_language(
    telegram: TelegramServer, marble: Marble, ada: Person
) -> None:
    said = await ada.says("a cat --workflow redraw")
    await ada.chat.words(said, "The workflow redraw starts from a picture of yours: give it as")
    said = await ada.says("a cat --workflow portrait --sampler lms")
    await ada.chat.words(said, "nothing is marked as sampler; what may be set: prompt, negative")
    said = await ada.says("a cat --workflow torn")
    await ada.chat.words(said, "There is no workflow 'torn'; available workflows: portrait, redraw")


async def test_one_of_a_graphs_results_is_chosen_by_an_option(
    telegram: TelegramServer, marble: Marble, ada: Person
) -> None:
    file = others.png({"prompt": json.dumps(two_results())})
    said = await ada.sends_file(file, "image/png")
    await ada.chat.words(
        said, "Small (SaveImage, node 9) is taken, not Other seed (SaveImage, node"
    )
    assert (await recipe_of(ada, ada.chat, said)).steps == 4
    said = await ada.sends_file(file, "image/png", "--result 61")
    assert (await recipe_of(ada, ada.chat, said)).seed == 7
    said = await ada.sends_file(file, "image/png", "--result 62")
    await ada.chat.words(said, "no result '62'; its results: Small (SaveImage, node 9), Other seed")
    ours = others.png({"parameters": f"an owl\n{others.LINE}"})
    said = await ada.sends_file(ours, "image/png", "--result 61")
    await ada.chat.words(said, "what A1111 wrote into this file is one picture's.")
    for text in ("--result 61", "a cat --result 61", "--workflow portrait --result 61"):
        await ada.chat.words(await ada.says(text), "chooses among the results of a ComfyUI graph")
