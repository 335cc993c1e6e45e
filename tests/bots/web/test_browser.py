"""Pictures, progress and the form in a real browser, at two widths and in two languages."""

from __future__ import annotations

import asyncio
import io
from dataclasses import dataclass
from pathlib import Path

import pytest
from PIL import Image
from playwright.async_api import Browser as Chrome
from playwright.async_api import Page, Route, expect

from bots.requests.studio import Asker
from bots.texts import EN, Words, web_words_of, words_of
from engine.events import Progress, Stage
from engine.formats.metadata import write_png
from storage import Job
from tests.bots.conftest import House
from tests.bots.web.conftest import ADA, Served, open_window
from tests.bots.web.test_pictures import drawn
from tests.factories import make_recipe, pixels

SIZES = [(1280, "en"), (390, "zh")]
# Calls `heard` once an event "end" of a stream has been handled.
HEAR_ENDS = """
const Plain = window.EventSource;
window.EventSource = class extends Plain {
  addEventListener(name, handle) {
    super.addEventListener(name, (event) => { handle(event); if (name === "end") heard(); });
  }
};
"""


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


async def test_a_grid_that_is_empty_shows_what_is_asked_for_in_a_chat(
    house: House, served: Served, chrome: Chrome
) -> None:
    house.executor.gate.clear()
    window = await open_window(served, chrome, ADA, "/pictures")
    await expect(window.page.get_by_text(EN.nothing_yet)).to_be_visible()
    await asked(house)
    await window.page.locator(f"{tile(window.page, 1)} progress").wait_for()
    await expect(window.page.get_by_text(EN.nothing_yet)).to_be_hidden()


async def asked(house: House, prompt: str = "in a chat") -> Job:
    return await house.studio.imagine({"prompt": prompt}, Asker(person=ADA, place="terminal"))


@pytest.mark.parametrize("status", [503, 429])
async def test_a_job_that_ended_stays_until_its_picture_can_be_fetched(
    status: int, house: House, served: Served, chrome: Chrome
) -> None:
    house.executor.gate.clear()
    job = await asked(house)
    page = (await open_window(served, chrome, ADA, "/pictures")).page
    await page.clock.install()
    failed = 0

    async def fail(route: Route) -> None:
        nonlocal failed
        failed += 1
        if failed > 2:
            return await route.continue_()
        await route.fulfill(status=status, body="later")

    await page.route("**/jobs/*/cards", fail)
    await page.locator(f"{tile(page, job.id)} progress").wait_for()
    async with page.expect_request("**/jobs/*/cards"):
        house.executor.gate.set()
    await expect(page.locator(f"{tile(page, job.id)}[data-unfinished]")).to_have_count(1)
    for _ in range(2):
        async with page.expect_request("**/jobs/*/cards"):
            await page.clock.run_for(5000)
    await page.locator(f"{tile(page, job.id)} img[src^='/thumbnails/']").wait_for()
    assert failed == 3


async def test_a_job_that_ends_while_its_tile_is_fetched_shows_its_end(
    house: House, served: Served, chrome: Chrome
) -> None:
    house.executor.gate.clear()
    page = (await open_window(served, chrome, ADA, "/pictures")).page
    first = asyncio.Event()

    async def slow(route: Route) -> None:
        if first.is_set():
            return await route.continue_()
        answer = await route.fetch()
        first.set()
        house.executor.gate.set()
        async for _ in house.worker.follow(1):
            pass
        await told.wait()
        await route.fulfill(response=answer)

    told = asyncio.Event()
    await page.expose_function("heard", told.set)
    await page.route("**/jobs/*/cards", slow)
    await page.add_init_script(HEAR_ENDS)
    await page.reload()
    job = await asked(house)
    await page.locator(f"{tile(page, job.id)} img[src^='/thumbnails/']").wait_for()


async def test_where_marble_is_away_a_cancel_can_be_pressed_again(
    house: House, served: Served, chrome: Chrome
) -> None:
    house.executor.gate.clear()
    job = await asked(house)
    page = (await open_window(served, chrome, ADA, "/pictures")).page
    for answer in ("abort", "html"):
        fail = Fail(answer)
        await page.route("**/cancel", fail)
        await page.locator(f"{tile(page, job.id)} button").click()
        unreachable = web_words_of("en").unreachable
        await expect(page.locator("[data-said]")).to_have_text(unreachable)
        await expect(page.locator(f"{tile(page, job.id)} button")).to_be_enabled()
        await page.unroute("**/cancel")
    await page.locator(f"{tile(page, job.id)} button").click()
    await expect(page.locator(f"{tile(page, job.id)}[data-unfinished]")).to_have_count(0)


async def test_where_marble_is_away_a_file_that_is_read_says_so(
    served: Served, chrome: Chrome, tmp_path: Path
) -> None:
    (tmp_path / "a.jpg").write_bytes(jpeg())
    page = (await open_window(served, chrome, ADA, "/imagine")).page
    await page.set_input_files("#image", tmp_path / "a.jpg")
    for answer in ("abort", "html"):
        await page.locator("[data-read]").evaluate("told => told.replaceChildren()")
        await page.route("**/imagine/read", Fail(answer))
        await page.locator("button[formaction='/imagine/read']").click()
        await expect(page.locator("[data-read]")).to_have_text(web_words_of("en").unreachable)
        await page.unroute("**/imagine/read")


@dataclass
class Fail:
    """A proxy that answers nothing, or a page of its own."""

    answer: str

    async def __call__(self, route: Route) -> None:
        if self.answer == "abort":
            await route.abort()
        else:
            await route.fulfill(status=502, body="<h1>Bad gateway</h1>")


async def test_the_brush_lists_what_was_asked_for_on_its_page_alone(
    house: House, served: Served, chrome: Chrome
) -> None:
    job = await drawn(house)
    house.executor.gate.clear()
    page = (await open_window(served, chrome, ADA, f"/brush/{job.id}")).page
    elsewhere = await asked(house)
    await page.locator("input[value=extend]").check()
    await page.fill("input[name=left]", "64")
    await page.locator("button[name=draw]").click()
    mine = elsewhere.id + 1
    await page.locator(f"{tile(page, mine)}[data-unfinished]").wait_for()
    house.executor.gate.set()
    await page.locator(f"{tile(page, mine)} img[src^='/thumbnails/']").wait_for()
    await expect(page.locator(".tile")).to_have_count(1)


async def test_a_picture_made_from_this_one_appears_without_a_reload(
    house: House, served: Served, chrome: Chrome
) -> None:
    parent = await drawn(house, count=2)
    house.executor.gate.clear()
    child = await house.studio.rerun(str(parent.id), {}, Asker(person=ADA, place="terminal"))
    page = (await open_window(served, chrome, ADA, f"/pictures/{parent.id}")).page
    await page.evaluate("window.kept = true")
    await page.locator(f"{tile(page, child.id)} progress").wait_for()
    house.executor.gate.set()
    await page.locator(f"{tile(page, child.id)} img[src^='/thumbnails/']").first.wait_for()
    assert await page.evaluate("window.kept")
    assert await page.locator(".small .tile").count() == 2
