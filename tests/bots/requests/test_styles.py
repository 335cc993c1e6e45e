"""Styles and shapes: what people ask for that no recipe holds."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime

import pytest

from bots.admission.gate import Gate
from bots.admission.roles import Roles
from bots.admission.rules import Refusal
from bots.requests.default_options import save_options
from bots.requests.options import parse_values
from bots.requests.styles import LONGEST, Stylebook, UnknownStyle, add_words, styled
from engine.errors import OptionError, PromptError
from storage.records import Style
from tests.bots.conftest import ADA, House
from tests.bots.messages import read_typed

HERE = "terminal"


@pytest.fixture
def book(house: House) -> Stylebook:
    return Stylebook(house.storage, Gate(house.storage, Roles(), {"blocked": ["bad"]}))


@pytest.mark.parametrize(
    ("text", "more", "whole"),
    [
        ("a cat", "film noir", "a cat, film noir"),
        ("a cat", "a statue of {prompt}, marble", "a statue of a cat, marble"),
        ("", "blur", "blur"),
        ("a cat", "", "a cat"),
        ("a cat, film noir", "film noir", "a cat, film noir"),  # it is there already
        ("a statue of a cat", "a statue of {prompt}", "a statue of a cat"),
    ],
)
def test_words_are_added_once(text: str, more: str, whole: str) -> None:
    assert add_words(text, more) == whole
    assert add_words(whole, more) == whole


def test_a_style_makes_no_prompt_longer_than_any_may_be() -> None:
    style = Style(
        place=HERE,
        name="noir",
        prompt="x" * LONGEST,
        negative="",
        made_by="x:mod",
        created_at=datetime.now(UTC),
    )
    with pytest.raises(OptionError, match="2,101 characters with the style noir"):
        styled({"prompt": "y" * 1_099, "negative_prompt": ""}, style)


async def test_the_recipe_holds_the_words_and_the_job_the_name(
    house: House, book: Stylebook
) -> None:
    await book.add(HERE, "Noir", "film noir", "colour", by=ADA.person)
    job = await house.studio.imagine(read_typed("a cat --no dogs --style NOIR"), ADA)
    assert job.style == "noir"
    assert job.recipe.prompt == "a cat, film noir"
    assert job.recipe.negative_prompt == "dogs, colour"
    assert (await house.storage.jobs.get(job.id)).style == "noir"


async def test_a_rerun_needs_no_style_and_tells_of_it_while_its_words_are_the_same(
    house: House, book: Stylebook
) -> None:
    await book.add(HERE, "noir", "film noir", "", by=ADA.person)
    first = await house.studio.imagine({"prompt": "a cat", "style": "noir"}, ADA)
    await book.remove(HERE, "noir", by=ADA.person)
    again = await house.studio.rerun(str(first.id), {"seed": 7}, ADA)
    assert (again.recipe.prompt, again.style) == ("a cat, film noir", "noir")
    other = await house.studio.rerun(str(first.id), {"prompt": "a dog"}, ADA)
    assert (other.recipe.prompt, other.style) == ("a dog", None)
    await book.add(HERE, "gold", "gilded", "", by=ADA.person)
    changed = await house.studio.rerun(str(first.id), {"style": "gold"}, ADA)
    assert (changed.recipe.prompt, changed.style) == ("a cat, film noir, gilded", "gold")


async def test_a_files_recipe_wears_the_style_whose_words_it_holds_here(
    house: House, book: Stylebook
) -> None:
    await book.add(HERE, "room", "{prompt}", "", by=ADA.person)
    await book.add(HERE, "film", "film noir", "", by=ADA.person)
    await book.add(HERE, "noir", "film noir", "colour", by=ADA.person)
    first = await house.studio.imagine({"prompt": "a cat", "style": "noir"}, ADA)
    again = await house.studio.remake(first.recipe, {"seed": 7}, ADA)
    assert (again.recipe.prompt, again.style) == ("a cat, film noir", "noir")
    other = await house.studio.remake(first.recipe, {"negative_prompt": "dogs"}, ADA)
    assert other.style == "film"
    for values in ({"prompt": "a dog"}, {"style": None}):
        assert (await house.studio.remake(first.recipe, values, ADA)).style is None
    elsewhere = replace(ADA, place="x:elsewhere")
    assert (await house.studio.remake(first.recipe, {}, elsewhere)).style is None


async def test_an_unknown_style_is_answered_with_the_nearest(house: House, book: Stylebook) -> None:
    with pytest.raises(UnknownStyle, match="no styles have been added"):
        await house.studio.imagine({"prompt": "a cat", "style": "noir"}, ADA)
    await book.add(HERE, "noir", "film noir", "", by=ADA.person)
    with pytest.raises(UnknownStyle, match="did you mean 'noir'"):
        await house.studio.imagine({"prompt": "a cat", "style": "noire"}, ADA)
    with pytest.raises(UnknownStyle, match="no style 'raw' here; --style none adds nothing to"):
        await house.studio.imagine({"prompt": "a cat", **parse_values([("style", "RAW")])}, ADA)
    assert not await house.storage.history.page(person=ADA.person)


@pytest.mark.parametrize(
    ("name", "prompt", "negative", "error"),
    [
        ("two words", "x", "", OptionError),
        ("None", "x", "", OptionError),  # it stands for no style
        ("noir", "x\0", "", OptionError),
        ("x" * 33, "x", "", OptionError),
        ("noir", " ", "", OptionError),
        ("noir", "{prompt} before {prompt}", "", OptionError),
        ("noir", "x" * (LONGEST + 1), "", OptionError),
        ("noir", "x <lora:a:b>", "", PromptError),
        ("noir", "a bad day", "", Refusal),
    ],
)
async def test_a_style_is_held_to_what_prompts_are(
    book: Stylebook, name: str, prompt: str, negative: str, error: type[Exception]
) -> None:
    with pytest.raises(error):
        await book.add(HERE, name, prompt, negative, by=ADA.person)
    assert await book.storage.styles.list(HERE) == ()


async def test_only_what_a_place_keeps_itself_is_removed_there(book: Stylebook) -> None:
    await book.add("*", "noir", "film noir", "", by=ADA.person)
    with pytest.raises(UnknownStyle):
        await book.remove(HERE, "noir", by=ADA.person)
    await book.remove("*", "noir", by=ADA.person)
    acts = await book.storage.moderation.acts()
    assert [(act.act, act.detail["name"]) for act in acts] == [
        ("remove style", "noir"),
        ("style", "noir"),
    ]


async def test_a_saved_style_holds_where_it_is_known(house: House, book: Stylebook) -> None:
    await book.add(HERE, "noir", "film noir", "", by=ADA.person)
    await save_options(house.storage.people, ADA.person, {"style": "noir", "steps": "9"})

    async def held(place: str, **typed: str) -> tuple[str | None, int]:
        values = {"prompt": "a cat", **parse_values(typed.items())}
        job = await house.studio.imagine(values, replace(ADA, place=place), ADA.person)
        return job.style, job.recipe.steps

    assert await held(HERE) == ("noir", 9)
    assert await held("x:elsewhere") == (None, 9)
    with pytest.raises(UnknownStyle):  # typed: it is told
        await held("x:elsewhere", style="noir")
    assert await held(HERE, style="none") == (None, 9)


async def test_a_shape_becomes_a_size_that_the_model_draws_well(house: House) -> None:
    job = await house.studio.imagine(read_typed("a cat --ar 4:1"), ADA)
    assert (job.recipe.width, job.recipe.height) == (256, 64)  # no side may be shorter
    square = {**read_typed("a cat --size 1:1")}
    again = await house.studio.rerun(str(job.id), square, ADA)
    assert (again.recipe.width, again.recipe.height) == (128, 128)  # as many pixels as there were
    typed = {**read_typed("a cat --size 3:2"), "width": 64, "height": 96}
    sized = await house.studio.imagine(typed, ADA)
    assert (sized.recipe.width, sized.recipe.height) == (64, 96)
