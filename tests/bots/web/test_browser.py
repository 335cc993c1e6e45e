"""Pictures, progress and the form in a real browser, at two widths and in two languages."""

from __future__ import annotations

import io
from pathlib import Path

import pytest
from PIL import Image
from playwright.async_api import Browser as Chrome
from playwright.async_api import Page, Route, expect

from bots.requests.studio import Asker
from bots.texts import EN, Words, words_of
from engine.events import Progress, Stage
from engine.formats.metadata import write_png
from tests.bots.conftest import House
from tests.bots.web.conftest import ADA, Served, open_window
from tests.bots.web.test_pictures import drawn
from tests.factories import make_recipe, pixels

SIZES = [(1280, "en"), (390, "zh")]


def jpeg() -> bytes:
    out = io.BytesIO()
    Image.fromarray(pixels(5, 64, 64)).save(out, "JPEG")
    return out.getvalue()


def tile(page: Page, job: int) -> str:
    return f"[data-job='{job}']"


async def fits(page: Page) -> bool:
    """Return whether nothing sticks out at the side."""
    root = page.locator("html")
    return bool(await root.evaluate("root => root.scrollWidth <= root.clientWidth"))


@pytest.mark.parametrize(("width", "language"), SIZES)
async def test_words_become_a_picture_that_is_seen_on_its_way(
    width: int, language: str, house: House, served: Served, chrome: Chrome
) -> None:
    words: Words = words_of(language)
    house.executor.gate.clear()
    window = await open_window(served, chrome, ADA, "/imagine", width, locale=language)
    page = window.page
    await page.fill("#prompt", "a cat in the rain --seed 7")
    await page.locator("button.primary").first.click()
    await page.wait_for_url("**/pictures/1")
    await house.executor.begun.wait()
    await expect(page.locator("[data-line]")).to_contain_text(words.stages[Stage.DENOISE])
    news = house.worker._news[1]
    news.publish(Progress(stage=Stage.DENOISE, step=2, total=4, preview=jpeg()))
    await expect(page.locator("progress")).to_have_attribute("value", "2")
    await page.locator(".preview").wait_for()
    house.executor.gate.set()
    await page.locator("img.large").wait_for()
    assert await page.locator("img.large").evaluate("image => image.decode().then(() => 1)") == 1
    assert await fits(page)
    assert window.faults == []


async def test_a_grid_shows_what_is_asked_for_elsewhere_and_what_is_cancelled(
    house: House, served: Served, chrome: Chrome
) -> None:
    house.executor.gate.clear()
    window = await open_window(served, chrome, ADA, "/pictures")
    page = window.page
    await drawn(house)
    async with page.expect_request("**/events**"):
        await page.reload()
    job = await house.studio.imagine({"prompt": "in a chat"}, Asker(person=ADA, place="terminal"))
    await page.locator(f"{tile(page, job.id)} progress").wait_for()
    await page.locator(f"{tile(page, job.id)} button").click()
    waiting = page.locator(f"{tile(page, job.id)}[data-unfinished]")
    await expect(waiting).to_have_count(0)
    await expect(page.locator(tile(page, job.id))).to_contain_text(EN.statuses["cancelled"])
    assert window.faults == []


async def test_the_page_asks_where_a_stream_is_kept_back(
    house: House, served: Served, chrome: Chrome
) -> None:
    house.executor.gate.clear()
    job = await house.studio.imagine({"prompt": "a cat"}, Asker(person=ADA, place="terminal"))
    window = await open_window(served, chrome, ADA, "/account")
    page = window.page

    async def refuse(route: Route) -> None:
        if "once" in route.request.url:
            await route.continue_()
        else:
            await route.fulfill(status=502, body="no streams here")

    await page.route("**/events?*", refuse)
    await page.goto(f"{served.origin}/pictures")
    await expect(page.locator(f"{tile(page, job.id)} progress")).to_be_visible()
    house.executor.gate.set()
    await page.locator(f"{tile(page, job.id)} img[src^='/thumbnails/']").wait_for()


async def test_a_grid_goes_on_by_itself_and_without_scripts_by_a_link(
    house: House, served: Served, chrome: Chrome
) -> None:
    for number in range(70):
        await drawn(house, f"cat {number}")
    window = await open_window(served, chrome, ADA, "/pictures")
    await expect(window.page.locator(".tile")).to_have_count(60)
    await window.page.locator("[data-older]").scroll_into_view_if_needed()
    await expect(window.page.locator(".tile")).to_have_count(70)
    await expect(window.page.locator("[data-older]")).to_have_count(0)
    assert await fits(window.page)
    assert window.faults == []
    plain = await open_window(served, chrome, ADA, "/pictures", java_script_enabled=False)
    await plain.page.locator("[data-older]").click()
    await expect(plain.page.locator(".tile")).to_have_count(10)


@pytest.mark.parametrize(("width", "language"), SIZES)
async def test_a_files_recipe_fills_the_form_and_its_picture_is_the_start_image(
    width: int,
    language: str,
    house: House,
    served: Served,
    chrome: Chrome,
    tmp_path: Path,
) -> None:
    recipe = make_recipe(checkpoint="tiny", prompt="an owl", seed=77, steps=9)
    (tmp_path / "owl.png").write_bytes(write_png(pixels(3, 64, 64), recipe, 0))
    window = await open_window(served, chrome, ADA, "/imagine", width, locale=language)
    page = window.page
    await page.set_input_files("#image", tmp_path / "owl.png")
    await page.locator("[data-chosen] img").wait_for()
    await page.locator("button[formaction='/imagine/read']").click()
    await page.locator("[data-read] dl").wait_for()
    for field, text in {"#prompt": "an owl", "#o-seed": "77", "#o-model": "tiny"}.items():
        await expect(page.locator(field)).to_have_value(text)
    assert await fits(page)
    await page.locator("button.primary").first.click()
    await page.wait_for_url("**/pictures/1")
    made = (await house.storage.jobs.get(1)).recipe
    assert (made.prompt, made.seed, made.steps) == ("an owl", 77, 9)
    assert made.image is not None
    assert window.faults == []


async def test_all_of_it_by_keyboard_alone(house: House, served: Served, chrome: Chrome) -> None:
    await drawn(house, "a cat")
    window = await open_window(served, chrome, ADA, "/pictures")
    page = window.page
    await page.keyboard.press("Tab")
    await expect(page.locator(":focus")).to_have_class("skip")
    await page.keyboard.press("Enter")
    for _ in range(10):
        await page.keyboard.press("Tab")
        if await page.locator(".tile a:focus").count():
            break
    await page.keyboard.press("Enter")
    await page.wait_for_url("**/pictures/1")
    await page.locator("button[formaction$='/favourite']").focus()
    await page.keyboard.press("Enter")
    await expect(page.locator("button[aria-pressed='true']")).to_have_count(1)
