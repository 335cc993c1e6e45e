"""Forms: what they offer, what comes back of them, and that they outlive their process."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from bots.discord.forms import TEXT, shown_of
from bots.requests.recipe_form import form_values
from bots.requests.typed_options import split_message, write_options
from engine.formats.metadata import read_recipe
from engine.recipe.recipe import Recipe
from storage import Storage
from storage.records import EVERYWHERE
from tests.bots.discord.conftest import Marble
from tests.bots.fakes import editing_settings
from tests.bots.presentation.test_presentation import png
from tests.factories import make_recipe
from tests.fakes.discord import FakeDiscord, Person, Reply
from tests.fakes.discord.world import MANAGE_MESSAGES


async def recipe_of(reply: Reply) -> Recipe:
    return read_recipe(await reply.picture()).recipe


def form_of(reply: Reply) -> dict[str, Any]:
    """Return the fields of a form, by their custom id."""
    assert reply.interaction
    assert reply.interaction.answer
    rows = reply.interaction.answer["components"]
    return {row["component"]["custom_id"]: row["component"] for row in rows}


async def test_imagine_without_words_asks_for_them_in_a_form(
    discord: FakeDiscord, marble: Marble, ann: Person
) -> None:
    judge = discord.person("judge", MANAGE_MESSAGES)
    await (await judge.types("style add", name="noir", prompt="film noir")).said("noir")
    for nothing in ("  ", "\u2800\u200b"):
        assert "prompt" in form_of(await ann.imagine(nothing))
    form = await ann.types("imagine")
    assert list(form_of(form)) == ["prompt", "style", "size", "image"]
    drawn = await recipe_of(
        await ann.submits(form, prompt="a cat --steps 3 --seed 7", style="noir", size="3:2")
    )
    assert (drawn.prompt, drawn.steps, drawn.seed) == ("a cat, film noir", 3, 7)
    assert (drawn.width, drawn.height) == (160, 104)
    begun = ann.uploads("start.png", png(96, 64))
    started = await recipe_of(await ann.submits(form, prompt="a cat --strength 0.4", image=begun))
    assert (started.image is not None, started.strength) == (True, 0.4)


async def test_what_was_typed_without_words_stands_in_the_form(
    discord: FakeDiscord, marble: Marble, ann: Person
) -> None:
    typed = {"steps": 3, "seed": "7", "negative": "fog, thick rain", "size": "64x96"}
    form = await ann.types("imagine", **typed)
    text = form_of(form)["prompt"]["value"]
    drawn = await recipe_of(await ann.submits(form, prompt=f"a cat {text}"))
    assert (drawn.steps, drawn.seed, drawn.negative_prompt) == (3, 7, "fog, thick rain")
    assert (drawn.prompt, drawn.width, drawn.height) == ("a cat", 64, 96)
    image = ann.uploads("start.png", png(96, 64))
    form = await ann.types("imagine", prompt="--steps 4", image=image, strength=0.4)
    assert form_of(form)["prompt"]["value"] == "--steps 4"
    drawn = await recipe_of(await ann.submits(form, prompt="a cat --steps 4"))
    assert (drawn.strength, drawn.steps, drawn.image is not None) == (0.4, 4, True)
    await (await ann.types("settings set", steps=5, size="96x64")).said("Saved")
    form = await ann.types("imagine", image=image)
    drawn = await recipe_of(await ann.submits(form, prompt="a cat"))
    assert (drawn.steps, drawn.width, drawn.height) == (5, 96, 64), "what was saved"
    refused = await ann.submits(form, prompt=" ")
    assert await refused.said("prompt")
    assert refused.ephemeral
    for wrong in ({"size": "wide"}, {"mask": image}, {"image": image, "mask": image}):
        refused = await ann.types("imagine", **wrong)
        assert await refused.said("."), wrong
        assert refused.ephemeral


async def test_no_form_opens_for_who_may_not_ask(
    discord: FakeDiscord, marble: Marble, ann: Person
) -> None:
    judge = discord.person("judge", MANAGE_MESSAGES)
    await (await judge.types("moderate ban", person=ann, reason="cats")).said("may no longer")
    assert await (await ann.types("imagine")).said("may not request")


async def test_a_recipe_is_changed_by_choosing(
    discord: FakeDiscord, marble: Marble, ann: Person
) -> None:
    first = await ann.imagine("a cat", seed="7", negative="fog", size="64x96")
    await first.picture()
    form = await ann.clicks("Change recipe", first)
    assert form_of(form)["prompt"]["value"] == "a cat --seed 7 --negative fog"
    same = await recipe_of(await ann.submits(form))
    assert same == await recipe_of(first)
    shaped = await recipe_of(await ann.submits(form, size="1:1"))
    assert (shaped.width, shaped.height, shaped.negative_prompt) == (80, 80, "fog")
    clear = await recipe_of(await ann.submits(form, prompt="a cat --seed 7"))
    assert (clear.negative_prompt, clear.seed, clear.height) == ("", 7, 96)
    begun = ann.uploads("start.png", png(96, 64))
    text = f"{form_of(form)['prompt']['value']} --strength 0.4"
    started = await ann.submits(form, prompt=text, image=begun)
    recipe = await recipe_of(started)
    assert (recipe.image is not None, recipe.strength, recipe.seed) == (True, 0.4, 7)
    form = await ann.clicks("Change recipe", started)
    assert "--strength 0.4" in form_of(form)["prompt"]["value"]
    refused = await ann.submits(form, image=ann.uploads("a.png", b"no picture"))
    assert await refused.said("The file is not a picture")


async def test_an_edit_offers_a_strength_where_the_picture_is_drawn_anew(
    discord: FakeDiscord, marble: Marble, ann: Person
) -> None:
    first = await ann.imagine("a cat", size="64")
    await first.picture()
    form = await ann.clicks("Edit", first)
    assert list(form_of(form)) == ["prompt", "size", "strength"]
    edited = await ann.submits(form, prompt="bronze", strength="0.3", size="3:2")
    assert edited.interaction
    shown = edited.interaction.original  # beside a note that the model draws anew
    assert shown
    await discord.until(lambda: shown.attachments, "the picture")
    recipe = read_recipe(shown.attachments[0].data).recipe
    assert (recipe.strength, recipe.width > recipe.height) == (0.3, True)


async def test_models_are_chosen_and_further_pictures_given_where_one_edits(
    discord: FakeDiscord, cold: Marble, ann: Person, tmp_path: Path
) -> None:
    cold.settings |= editing_settings(tmp_path)
    await cold.start()
    form = await ann.types("imagine")
    models = {each["value"] for each in form_of(form)["model"]["options"]}
    assert {"starter", "kontext"} <= models
    first = await ann.submits(form, prompt="a cat --size 64", model="kontext")
    assert (await recipe_of(first)).checkpoint == "kontext"
    form = await ann.clicks("Change recipe", first)
    assert "negative" not in form_of(form)["prompt"]["value"]
    assert (await recipe_of(await ann.submits(form, model="starter"))).checkpoint == "starter"
    form = await ann.clicks("Edit", first)
    assert "strength" not in form_of(form)
    hat = ann.uploads("hat.png", png(64, 64))
    edited = await recipe_of(await ann.submits(form, prompt="add the hat", image=hat))
    assert (len(edited.references), edited.checkpoint) == (2, "kontext")


async def test_a_menu_that_is_too_short_says_how_the_others_are_named(
    discord: FakeDiscord, marble: Marble, ann: Person
) -> None:
    async with Storage.open(marble.data) as storage:
        for number in range(30):
            name = f"s{number:02}"
            await storage.styles.add(EVERYWHERE, name, f"words of {name}", "", by="terminal")
    form = await ann.types("imagine", style="s29")
    assert form.interaction
    menu = form_of(form)["style"]
    names = [each["value"] for each in menu["options"]]
    assert names == ["s29", *(f"s{number:02}" for number in range(24))]
    [row] = [
        each
        for each in form.interaction.answer["components"]  # type: ignore[index]
        if each["component"] is menu
    ]
    assert row["description"] == "5 more exist: write --style NAME among the words"
    drawn = await recipe_of(await ann.submits(form, prompt="a cat"))
    assert drawn.prompt == "a cat, words of s29"


async def test_a_form_outlives_the_process_that_opened_it(
    discord: FakeDiscord, cold: Marble, ann: Person
) -> None:
    cold.settings["MARBLE_EXECUTOR"] = "tests.fakes.deadly:committed"
    await cold.start()
    form = await ann.types("imagine", seed="7")
    deed = ann.submitted(form, prompt="a cat --seed 7", image=ann.uploads("a.png", png(64, 64)))
    await ann.sends(deed)
    assert cold.process
    await cold.process.wait()
    await discord.gateway.drop()
    cold.settings["MARBLE_EXECUTOR"] = "tests.fakes.instant:make"
    await cold.start()
    assert (await recipe_of(Reply(ann, deed))).seed == 7
    again = await ann.submits(form, prompt="a cat --seed 8")
    assert (await recipe_of(again)).seed == 8
    assert len(discord.shown()) == 2


async def test_a_form_that_is_killed_before_its_job_is_stored_hears_to_try_again(
    discord: FakeDiscord, cold: Marble, ann: Person
) -> None:
    cold.settings["MARBLE_EXECUTOR"] = "tests.fakes.deadly:held"
    await cold.start()
    form = await ann.types("imagine")
    reply = await ann.submits(form, prompt="a cat", image=ann.uploads("a.png", png(64, 64)))
    await cold.kill()
    cold.settings["MARBLE_EXECUTOR"] = "tests.fakes.instant:make"
    await cold.start()
    assert await reply.said("Please try again")
    await (await ann.submits(form, prompt="a cat")).picture()
    assert len([each for each in discord.shown() if each.attachments]) == 1


async def test_a_form_of_an_earlier_version_is_still_read(
    discord: FakeDiscord, marble: Marble, ann: Person
) -> None:
    first = await ann.imagine("a cat", seed="7", negative="fog")
    await first.picture()
    form = await ann.clicks("Change recipe", first)
    assert form.interaction
    text = {"type": 4, "max_length": 2000}
    fields = {"prompt": "a cat", "negative": "fog", "seed": "7", "changes": ""}
    form.interaction.answer = {
        "type": 9,
        "custom_id": "marble-form:edit:1",
        "components": [
            {"type": 18, "component": {**text, "custom_id": name, "value": value}}
            for name, value in fields.items()
        ],
    }
    same = await recipe_of(await ann.submits(form))
    assert same == await recipe_of(first)
    changed = await recipe_of(await ann.submits(form, negative="", seed="8", changes="--steps 3"))
    assert (changed.negative_prompt, changed.seed, changed.steps) == ("", 8, 3)


@pytest.mark.parametrize(
    ("prompt", "negative", "written"),
    [
        ("a cat", "", "a cat --seed 7"),
        ("a cat", "thick fog", 'a cat --seed 7 --negative "thick fog"'),
        ("a cat", 'a "b"', 'a cat --seed 7 --negative “a "b"”'),
        ("a cat", "fog --exit now", "a cat --seed 7"),  # which would be read as an option
        ("a --exit sign", "fog", "a --exit sign"),
        (" ", "", " "),
        ("a cat\nin fog", "rain\nor snow", 'a cat\nin fog --seed 7 --negative "rain\nor snow"'),
        ("c" * 2000, "d" * 2000, f"{'c' * 2000} --seed 7"),
    ],
)
def test_a_recipe_is_written_as_it_is_read(prompt: str, negative: str, written: str) -> None:
    recipe = make_recipe(prompt=prompt, negative_prompt=negative, seed=7)
    shown, options = shown_of(recipe, ())
    assert shown["prompt"] == written
    assert len(written) <= TEXT
    assert form_values(shown, shown, options) == {}
    if prompt == "a cat":
        values = form_values({**shown, "prompt": f"{written} --steps 3"}, shown, options)
        if "negative" in dict(options):
            assert values == {"prompt": prompt, "steps": 3}


async def test_braces_that_were_text_stay_text_when_a_recipe_is_changed(
    discord: FakeDiscord, marble: Marble, ann: Person
) -> None:
    first = await ann.imagine(r"\{red, blue\} \{a\|b\} cat", negative=r"\{fog, rain\}")
    assert (await recipe_of(first)).prompt == r"{red, blue} {a\|b} cat"
    form = await ann.clicks("Change recipe", first)
    text = form_of(form)["prompt"]["value"]
    assert text.startswith(r"\{red, blue\} ")
    changed = await recipe_of(await ann.submits(form, prompt=text.replace("cat", "dog")))
    assert changed.prompt == r"{red, blue} {a\|b} dog"
    assert changed.negative_prompt == "{fog, rain}"


@pytest.mark.parametrize(
    "text", ["fog", "fog,", "thick fog", '"a" b', "”x y", "a“ b", "'", "«a b»"]
)
def test_options_are_written_as_they_are_read(text: str) -> None:
    options = [("negative", text), ("steps", "3")]
    assert split_message(f"a cat {write_options(options)}", lines=False) == ("a cat", options)


async def test_a_refused_form_gives_its_words_back(
    discord: FakeDiscord, marble: Marble, ann: Person
) -> None:
    first = await ann.imagine("a cat")
    await first.picture()
    forms = {
        "imagine": await ann.types("imagine"),
        "change": await ann.clicks("Change recipe", first),
        "edit": await ann.clicks("Edit", first),
        "start": await ann.chooses("Use as start image", first),
    }
    for kind, form in forms.items():
        refused = await ann.submits(form, prompt="a *marble* cat --stepps 5")
        assert "a *marble* cat --stepps 5\n```" in await refused.said("no option"), kind
        assert refused.ephemeral
    for command in ("imagine", "edit", "blend"):
        refused = await ann.types(command, prompt="a *marble* cat --stepps 5")
        assert "a *marble* cat --stepps 5\n```" in await refused.said("no option"), command
