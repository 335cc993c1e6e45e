"""The form with every option, start images, and recipes in files."""

from __future__ import annotations

import io
import re
from typing import Any

import pytest
from aiohttp import FormData
from PIL import Image

from bots.requests.options import OPTIONS
from bots.texts import EN, web_words_of, words_of
from bots.web.option_fields import UPLOADS
from engine.formats.metadata import write_png
from tests.bots.conftest import House
from tests.bots.web.conftest import ADA, BOB, OWNER, Browser, Served
from tests.bots.web.test_pictures import drawn, fields_of, newest
from tests.factories import make_recipe, pixels


def a_png(**recipe: Any) -> bytes:
    return write_png(pixels(3, 64, 64), make_recipe(**{"checkpoint": "tiny", **recipe}), 0)


def plain_png() -> bytes:
    out = io.BytesIO()
    Image.new("RGB", (64, 96), "teal").save(out, "PNG")
    return out.getvalue()


async def send(
    browser: Browser, path: str, file: bytes, headers: dict[str, str] | None = None, **fields: str
) -> tuple[int, Any]:
    """Send a form with a file, and return the answer as JSON."""
    form = FormData({"csrf": browser.page.csrf if browser.page else "", **fields})
    form.add_field("image", io.BytesIO(file), filename="start.png", content_type="image/png")
    sent = {"Origin": browser.origin, "Accept": "application/json", **(headers or {})}
    async with browser.client.post(browser.origin + path, data=form, headers=sent) as answer:
        return answer.status, await answer.json()


@pytest.mark.parametrize("language", ["en", "zh"])
async def test_the_form_has_every_option_with_its_label_choices_and_range(
    language: str, served: Served
) -> None:
    browser = await served.sign_in(ADA)
    page = await browser.get("/imagine", headers={"Accept-Language": language})
    for option in OPTIONS:
        text = words_of(language).commands[f":{option.name}"]
        assert f'<label for="o-{option.name}">{text.name}</label>' in page.text
        field = re.search(rf'<(input|select) id="o-{option.name}".*?>', page.text)
        assert field, option.name
        if option.range:
            assert f'min="{option.range.low:g}" max="{option.range.high:g}"' in field[0]
        for choice in option.choices:
            assert f"<option>{choice}</option>" in page.text


async def test_words_and_fields_are_read_as_everywhere(served: Served, ada: Browser) -> None:
    await ada.get("/imagine")
    sent = {"prompt": "a cat --no fog", "steps": "7", "size": "64x96", "model": ""}
    page = await ada.post("/imagine", sent)
    assert page.path == "/pictures/1"
    recipe = (await newest(served)).recipe
    assert (recipe.prompt, recipe.negative_prompt, recipe.steps) == ("a cat", "fog", 7)
    assert (recipe.width, recipe.height) == (64, 96)


async def test_choices_in_braces_are_a_job_each(served: Served, ada: Browser) -> None:
    await ada.get("/imagine")
    page = await ada.post("/imagine", {"prompt": "a {cat, dog}"})
    assert "2" in page.words
    jobs = await served.app.storage.history.page(person=ADA)
    assert {job.recipe.prompt for job in jobs} == {"a cat", "a dog"}


async def test_what_is_wrong_is_said_above_the_form_which_keeps_what_was_typed(
    served: Served, ada: Browser
) -> None:
    await ada.get("/imagine")
    page = await ada.post("/imagine", {"prompt": "a cat --steps 9999", "seed": "5"})
    assert (page.status, "steps must be a whole number" in page.words) == (400, True)
    fields = fields_of(page, "/imagine")
    assert (fields["prompt"], fields["seed"]) == ("a cat --steps 9999", "5")
    page = await ada.post("/imagine", {"prompt": " "})
    assert page.status == 400
    assert await served.app.storage.history.page() == ()


async def test_a_file_with_words_is_the_start_image(served: Served, ada: Browser) -> None:
    await ada.get("/imagine")
    status, told = await send(ada, "/imagine", plain_png(), prompt="a cat", strength="0.4")
    assert (status, told["jobs"]) == (200, [1])
    recipe = (await newest(served)).recipe
    assert recipe.image is not None
    assert (recipe.prompt, recipe.strength) == ("a cat", 0.4)


async def test_a_file_without_words_is_drawn_by_its_own_recipe(
    served: Served, ada: Browser
) -> None:
    await ada.get("/imagine")
    status, _ = await send(ada, "/imagine", a_png(prompt="an owl", seed=77), steps="3")
    recipe = (await newest(served)).recipe
    assert (status, recipe.prompt, recipe.seed, recipe.steps, recipe.image) == (
        200, "an owl", 77, 3, None
    )  # fmt: skip
    status, told = await send(ada, "/imagine", a_png(image="a" * 64, strength=0.5))
    assert (status, told["error"]) == (400, EN.starts_from_others)
    status, told = await send(ada, "/imagine", plain_png())
    assert status == 400


async def test_a_files_recipe_fills_the_form(served: Served, ada: Browser) -> None:
    await ada.get("/imagine")
    status, told = await send(ada, "/imagine/read", a_png(prompt="an owl", seed=77, steps=9))
    assert (status, told["source"]) == (200, "Marble")
    assert told["texts"].items() >= {
        "prompt": "an owl", "seed": "77", "steps": "9", "size": "64x64", "model": "tiny"
    }.items()  # fmt: skip
    assert [EN.fields["prompt"], "an owl"] in told["lines"]
    page = await ada.get("/imagine")
    form = FormData({"csrf": page.csrf, "prompt": "", "steps": ""})
    form.add_field("image", a_png(prompt="an owl", seed=77), filename="x.png")
    url = ada.origin + "/imagine/read"
    async with ada.client.post(url, data=form, headers={"Origin": ada.origin}) as answer:
        text = await answer.text()
    assert (">an owl</textarea>" in text, 'value="77"' in text) == (True, True)


async def test_a_picture_of_ones_own_is_the_start_image_and_no_others(
    house: House, served: Served, ada: Browser
) -> None:
    await drawn(house)
    await drawn(house, person=BOB)
    page = await ada.get("/imagine?from=1")
    assert fields_of(page, "/imagine")["from"] == "1"
    await ada.post("/imagine", {"prompt": "a dog", "from": "1"})
    job = await newest(served)
    assert job.recipe.image == (await house.storage.jobs.get(1)).pictures[0].sha256
    unseen = await ada.get("/imagine?from=2")
    nothing = await ada.get("/imagine?from=9999")
    assert unseen.status == nothing.status == 404
    assert unseen.words.replace("2", "9999") == nothing.words
    page = await ada.post("/imagine", {"prompt": "a dog", "from": "2"})
    assert page.status == 404
    assert len(await served.app.storage.history.page(person=ADA)) == 2


async def test_what_is_too_large_or_no_picture_is_refused_in_one_sentence(
    served: Served, ada: Browser
) -> None:
    await ada.get("/imagine")
    status, told = await send(ada, "/imagine", b"x" * (UPLOADS + 1), prompt="a cat")
    sentence = web_words_of("en").too_large.format(limit="21 MiB")
    assert (status, told) == (413, {"error": sentence})
    status, told = await send(ada, "/imagine", b"x" * (UPLOADS - 2**19), prompt="a cat")
    assert (status, "20 MB" in told["error"] or "MiB" in told["error"]) == (400, True)
    status, _ = await send(ada, "/imagine", b"no picture", prompt="a cat")
    assert status == 400
    assert await served.app.storage.history.page() == ()


async def test_nothing_is_kept_of_a_file_of_who_may_not_ask(
    house: House, served: Served, ada: Browser
) -> None:
    await ban(served)
    await ada.get("/imagine")
    status, told = await send(ada, "/imagine", plain_png(), prompt="a cat")
    assert (status, "rude" in told["error"]) == (403, True)
    assert list(house.storage.pictures.all()) == []


async def ban(served: Served, person: str = ADA) -> None:
    """Ban somebody everywhere."""
    await served.app.storage.moderation.ban(person, by=OWNER, reason="rude")


async def test_a_form_that_is_sent_twice_draws_once_and_one_that_was_changed_again(
    served: Served, ada: Browser
) -> None:
    page = await ada.get("/imagine")
    [nonce] = re.findall(r'name="nonce" value="([^"]+)"', page.text)
    form = {"prompt": "a cat", "nonce": nonce}
    first, second = await ada.post("/imagine", form), await ada.post("/imagine", form)
    assert (first.status, second.status, first.path) == (200, 200, second.path)
    assert len(await served.app.storage.history.page()) == 1
    await ada.post("/imagine", {**form, "prompt": "a dog"})  # after "back"
    await ada.post("/imagine", {"prompt": "a cat", "nonce": nonce[:-1]})  # opened anew
    bob = await served.sign_in(BOB)
    await bob.post("/imagine", form)
    assert len(await served.app.storage.history.page()) == 4
