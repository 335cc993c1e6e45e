"""From a command to a picture, and what people see meanwhile."""

from __future__ import annotations

import io
from pathlib import Path

import pytest
from PIL import Image

from engine.formats.metadata import read_recipe
from tests.bots.discord.conftest import Marble
from tests.fakes.discord import FakeDiscord, Person


def size_of(data: bytes) -> tuple[int, int]:
    return Image.open(io.BytesIO(data)).size


async def test_words_become_a_picture(discord: FakeDiscord, marble: Marble, ann: Person) -> None:
    reply = await ann.imagine("a marble scholar", seed="7", steps=5, size="64x96", negative="cats")
    png = await reply.picture()
    assert size_of(png) == (64, 96)
    recipe = read_recipe(png).recipe  # the picture itself carries it, untouched
    assert (recipe.seed, recipe.steps, recipe.negative_prompt) == (7, 5, "cats")
    assert reply.text == "a marble scholar\n-# 1 · 64×96 · seed 7 · starter"
    [attachment] = reply.message.attachments
    assert attachment.filename == "marble-1.png"
    assert attachment.description == "Generated picture: a marble scholar"
    # One message in all: it edited itself.
    assert discord.shown() == [reply.message]


async def test_options_are_read_among_the_words_as_other_chats_read_them(
    discord: FakeDiscord, marble: Marble, ann: Person
) -> None:
    reply = await ann.imagine("art -- deco —seed 7 --no cats --ar 3:2", steps=5)
    recipe = read_recipe(await reply.picture()).recipe
    assert (recipe.prompt, recipe.seed, recipe.steps) == ("art -- deco", 7, 5)
    assert recipe.negative_prompt == "cats"
    assert recipe.width > recipe.height
    assert reply.text.startswith("art -- deco\n")


async def test_a_size_that_the_model_does_not_draw_is_rounded_and_said_to_one(
    discord: FakeDiscord, marble: Marble, ann: Person
) -> None:
    reply = await ann.imagine("a marble scholar", size="100x67")
    assert reply.interaction
    [note] = await discord.until(lambda: reply.interaction.followups, "the note")  # type: ignore[union-attr]
    assert note.ephemeral
    assert note.content == (
        "The model 'starter' draws 96×64 instead of 100×67 pixels: its sides are multiples of 8."
    )
    shown = reply.interaction.original
    assert shown
    await discord.until(lambda: "Same seed" in shown.buttons(), "the result")
    assert size_of(shown.attachments[0].data) == (96, 64)


async def test_several_pictures_come_as_a_numbered_grid(
    discord: FakeDiscord, marble: Marble, ann: Person
) -> None:
    four = await ann.imagine("a marble scholar", count=4, size="64")
    assert size_of(await four.picture()) == (132, 132)
    assert "Grid of 4" in str(four.message.attachments[0].description)
    sixteen = await ann.imagine("a marble scholar", count=16, size="64")
    assert size_of(await sixteen.picture()) == (268, 268)
    menus = [item for item in sixteen.message.buttons().values() if "options" in item]
    assert all(len(item["options"]) == 16 for item in menus)
    assert len(sixteen.message.components) <= 5


async def test_one_message_tells_place_progress_and_result(
    discord: FakeDiscord, marble: Marble, ann: Person
) -> None:
    reply = await ann.imagine("preview of a scholar", steps=8)
    assert await reply.said("Drawing ▰▱▱▱▱▱▱▱▱▱▱▱ 1/8")
    assert reply.message.attachments[0].filename == "preview.jpg"
    assert list(reply.message.buttons()) == ["Cancel"]
    marble.gate.touch()
    await reply.picture()
    assert [each.filename for each in reply.message.attachments] == ["marble-1.png"]
    assert "Cancel" not in reply.message.buttons()


async def test_the_first_of_several_pictures_is_shown_while_the_others_are_drawn(
    discord: FakeDiscord, marble: Marble, ann: Person
) -> None:
    reply = await ann.imagine("slowly a scholar", count=3, size="64")
    await discord.until(lambda: "preview.jpg" in reply.message.showed, "the first picture")
    assert "1/3" in reply.text
    [file] = reply.message.attachments
    assert size_of(file.data) == (64, 64)
    marble.gate.touch()
    await reply.picture()
    assert reply.message.showed == {"preview.jpg", "marble-1.jpg"}


@pytest.mark.slow
async def test_a_kill_while_the_first_of_several_is_shown_loses_and_doubles_nothing(
    discord: FakeDiscord, cold: Marble, ann: Person
) -> None:
    await cold.start()
    reply = await ann.imagine("slowly a scholar", count=2, size="64")
    await discord.until(lambda: "preview.jpg" in reply.message.showed, "the first picture")
    await cold.kill()
    cold.gate.touch()
    await cold.start()
    await reply.picture()
    await (await ann.imagine("the end")).picture()
    assert len(discord.shown()) == 2


async def test_what_cannot_be_drawn_is_said_in_a_sentence(
    discord: FakeDiscord, marble: Marble, ann: Person
) -> None:
    reply = await ann.imagine("please fail")
    assert await reply.said("could not be drawn") == (
        "This could not be drawn. The marble cracked."
    )
    reply = await ann.imagine("please break")
    text = await reply.said("could not be drawn")
    assert "unexpected error" in text
    assert "inner words" not in text
    assert list(reply.message.buttons()) == ["Rerun"]
    again = await ann.clicks("Rerun", reply)
    assert "unexpected error" in await again.said("could not be drawn")
    assert again.message.id != reply.message.id


async def test_people_are_answered_in_their_language(discord: FakeDiscord, marble: Marble) -> None:
    li = discord.person("li", locale="zh-CN")
    reply = await li.imagine("一位大理石学者", seed="7")
    await reply.picture()
    assert "种子 7" in reply.text
    assert "同一种子" in reply.message.buttons()
    assert reply.message.attachments[0].description == "生成的图片：一位大理石学者"
    # A reaction tells no language: it is remembered.
    await li.reacts("🌱", reply)
    again = await li.gets_reply_to(reply)
    await again.picture()
    assert "同一种子" in again.message.buttons()
    torn = await li.imagine("please tear")
    assert await torn.said("没能画出来") == "这张图没能画出来。无法载入模型 'starter'：it is torn."
    refused = await li.imagine("一只猫", seed="abc")
    assert (await refused.said("应为")).startswith("种子 应为 0 到")
    imagine = next(each for each in discord.commands if each["name"] == "imagine")
    assert imagine["name_localizations"]["zh-CN"] == "绘图"
    assert imagine["description_localizations"]["zh-TW"] == "画出你描述的内容"


@pytest.mark.parametrize("typed", ["**bold** @here @everyone", "# a\n- b `c`"])
async def test_what_people_write_pings_nobody_and_stays_as_written(
    discord: FakeDiscord, marble: Marble, ann: Person, typed: str
) -> None:
    reply = await ann.imagine(typed)
    await reply.picture()
    shown = reply.text.splitlines()[0]
    assert shown.replace("\\", "") == " ".join(typed.split())
    assert "**" not in shown
    assert " @" not in shown


async def test_options_offer_their_ranges_choices_and_completions(
    discord: FakeDiscord, marble: Marble, ann: Person
) -> None:
    imagine = next(each for each in discord.commands if each["name"] == "imagine")
    options = {option["name"]: option for option in imagine["options"]}
    assert not any(each.get("required") for each in imagine["options"])  # a form asks for words
    assert (options["steps"]["min_value"], options["steps"]["max_value"]) == (1, 150)
    assert (options["count"]["min_value"], options["count"]["max_value"]) == (1, 16)
    assert {"name": "karras", "value": "karras"}.items() <= options["schedule"]["choices"][
        1
    ].items()
    assert options["seed"]["name_localizations"]["zh-CN"] == "种子"
    assert await ann.completes("imagine", "model", "sta", prompt="a cat") == ["starter"]
    assert await ann.completes("imagine", "size", "3:2", prompt="a cat") == ["160x104"]
    seeds = await ann.completes("imagine", "sampler", "SEEDS", prompt="a cat")
    assert seeds == ["seeds_2", "seeds_3"]
    assert len(await ann.completes("imagine", "sampler", "", prompt="a cat")) == 25


async def test_parts_of_models_are_offered_while_they_are_typed(
    discord: FakeDiscord, cold: Marble, ann: Person, tmp_path: Path
) -> None:
    for folder, name in (("loras", "Ink_v2"), ("loras", "gold-leaf"), ("vae", "sharp")):
        (tmp_path / "models" / folder).mkdir(parents=True, exist_ok=True)
        (tmp_path / "models" / folder / f"{name}.safetensors").touch()
    cold.settings["MARBLE_MODELS_DIR"] = str(tmp_path / "models")
    await cold.start()
    assert await ann.completes("imagine", "lora", "ink", prompt="a cat") == ["Ink_v2"]
    several = await ann.completes("imagine", "lora", "Ink_v2:0.5, go", prompt="a cat")
    assert several == ["Ink_v2:0.5, gold-leaf"]
    assert await ann.completes("imagine", "vae", "", prompt="a cat") == ["own", "sharp"]
    long = f"{'a-very-long-name-' * 8}v2"
    (tmp_path / "models" / "loras" / f"{long}.safetensors").touch()
    [value] = await ann.completes("imagine", "lora", "name-v2", prompt="a cat")
    assert len(value) <= 100
    reply = await ann.imagine("a cat", lora=f"Ink_v2:0.5, {value}:0.8", size="64")
    loras = read_recipe(await reply.picture()).recipe.loras
    assert [(each.name, each.weight) for each in loras] == [("Ink_v2", 0.5), (long, 0.8)]


async def test_a_shape_is_a_size_wherever_one_is_taken(
    discord: FakeDiscord, marble: Marble, ann: Person
) -> None:
    reply = await ann.imagine("a marble scholar", size="3:2")
    assert size_of(await reply.picture()) == (160, 104)
    form = await ann.clicks("Change recipe", reply)
    edited = await ann.submits(form, size="1:1")
    assert size_of(await edited.picture()) == (128, 128)


async def test_commands_are_registered_only_when_they_changed(
    discord: FakeDiscord, marble: Marble
) -> None:
    assert discord.syncs == 1
    await marble.kill()
    await marble.start()
    assert discord.syncs == 1


async def test_each_choice_in_braces_becomes_a_message_of_its_own(
    discord: FakeDiscord, marble: Marble, ann: Person
) -> None:
    reply = await ann.imagine("a {red, blue, {old, new} green} cat --seed {7, 8}", steps=5)
    assert reply.interaction
    said = "That makes 8 jobs, one for each choice in braces."
    [note] = await discord.until(lambda: reply.interaction.followups, "the note")  # type: ignore[union-attr]
    assert (note.content, note.ephemeral) == (said, True)

    def finished() -> bool:
        shown = discord.shown()
        return len(shown) == 8 and all("Same seed" in each.buttons() for each in shown)

    await discord.until(finished, "all results")
    recipes = [read_recipe(each.attachments[0].data).recipe for each in discord.shown()]
    assert [(recipe.prompt, recipe.seed) for recipe in recipes] == [
        (f"a {colour} cat", seed)
        for colour in ("red", "blue", "old green", "new green")
        for seed in (7, 8)
    ]


async def test_a_killed_process_delivers_each_choice_once(
    discord: FakeDiscord, marble: Marble, ann: Person
) -> None:
    await ann.imagine("wait {for, with} a cat", steps=5)
    await discord.until(lambda: len(discord.shown()) == 2, "two placeholders")
    await marble.kill()
    marble.gate.touch()
    await marble.start()

    def prompts() -> list[str]:
        shown = [each for each in discord.shown() if "Same seed" in each.buttons()]
        return sorted(read_recipe(each.attachments[0].data).recipe.prompt for each in shown)

    await discord.until(lambda: len(prompts()) == 2, "both results")
    assert prompts() == ["wait for a cat", "wait with a cat"]
    assert len(discord.shown()) == 2


async def test_too_many_choices_and_a_workflow_are_refused(
    discord: FakeDiscord, marble: Marble, ann: Person
) -> None:
    many = await ann.imagine("{a, b, c, d}{1, 2, 3} cat")
    assert "make more than 10 jobs" in await many.said("braces")
    both = await ann.imagine("a {red, blue} cat --workflow portrait")
    assert "A workflow draws one job at a time" in await both.said("braces")


async def test_each_choice_is_answered_by_the_interaction_where_marble_is_no_member(
    discord: FakeDiscord, marble: Marble, ann: Person
) -> None:
    ann.installed_by_user = True
    many = await ann.imagine("{1, 2, 3, 4, 5, 6} cats", steps=5)
    assert "Discord lets me show at most 5 jobs of one request" in await many.said("only you")
    reply = await ann.imagine("{1, 2, 3, 4, 5} cats", steps=5)

    def finished() -> bool:
        assert reply.interaction
        shown = [reply.interaction.original, *reply.interaction.followups[1:]]
        return len(shown) == 5 and all(each and "Same seed" in each.buttons() for each in shown)

    await discord.until(finished, "all results")
    [first, *_] = discord.shown()
    assert first.attachments[0].filename == "marble-1.png", "nothing was committed before"
