"""The brush in a real browser: pointers, steps back, and what is sent."""

from __future__ import annotations

import pytest
from playwright.async_api import Browser as Chrome
from playwright.async_api import Page, expect

from bots.texts import web_words_of
from tests.bots.conftest import House
from tests.bots.web.conftest import ADA, Served, open_window
from tests.bots.web.test_pictures import drawn

WORDS = web_words_of("en")
# Acts of pointers: kind of event, pointer's kind and number, and where, in parts of the picture.
POINT = """([kind, type, id, x, y]) => {
  const stage = document.querySelector("[data-stage]");
  stage.setPointerCapture = () => {}; // which takes no pointer that is not there
  const box = document.querySelector("[data-frame]").getBoundingClientRect();
  stage.dispatchEvent(new PointerEvent(kind, {
    pointerType: type, pointerId: id, isPrimary: true, bubbles: true,
    clientX: box.left + x * box.width, clientY: box.top + y * box.height,
  }));
}"""
ALPHA = """([x, y]) => {
  const canvas = document.querySelector("canvas");
  return canvas.getContext("2d").getImageData(x * canvas.width, y * canvas.height, 1, 1).data[3];
}"""


@pytest.fixture
async def page(house: House, served: Served, chrome: Chrome) -> Page:
    """Return the brush's page of a picture."""
    await drawn(house)
    return (await open_window(served, chrome, ADA, "/brush/1")).page


async def point(page: Page, kind: str, type_: str, number: int, x: float, y: float) -> None:
    await page.evaluate(POINT, [f"pointer{kind}", type_, number, x, y])


async def stroke(page: Page, x: float) -> None:
    """Paint from the top to the bottom."""
    await point(page, "down", "mouse", 1, x, 0.1)
    await point(page, "move", "mouse", 1, x, 0.9)
    await point(page, "up", "mouse", 1, x, 0.9)


async def is_painted(page: Page, x: float, y: float) -> bool:
    return bool(await page.evaluate(ALPHA, [x, y]))


@pytest.mark.parametrize(("first", "second"), [("pen", "touch"), ("touch", "pen")])
async def test_only_the_pointer_that_began_a_stroke_goes_on_with_it_and_ends_it(
    page: Page, first: str, second: str
) -> None:
    await point(page, "down", first, 1, 0.2, 0.2)
    for kind in ("down", "move", "up", "cancel"):
        await point(page, kind, second, 2, 0.8, 0.8)
    await point(page, "move", first, 1, 0.2, 0.8)
    await point(page, "up", first, 1, 0.2, 0.8)
    await point(page, "move", first, 1, 0.8, 0.2)
    assert await is_painted(page, 0.2, 0.5)
    assert not await is_painted(page, 0.5, 0.5)
    assert not await is_painted(page, 0.8, 0.8)
    assert not await is_painted(page, 0.5, 0.2)


async def test_clear_is_taken_back_like_a_stroke(page: Page) -> None:
    await stroke(page, 0.5)
    await page.get_by_role("button", name=WORDS.clear).click()
    assert not await is_painted(page, 0.5, 0.5)
    await page.get_by_role("button", name=WORDS.undo).click()
    assert await is_painted(page, 0.5, 0.5)
    await page.get_by_role("button", name=WORDS.redo).click()
    assert not await is_painted(page, 0.5, 0.5)
    await expect(page.get_by_role("button", name=WORDS.clear)).to_be_disabled()


async def test_what_was_painted_and_erased_again_is_not_sent(page: Page, served: Served) -> None:
    await stroke(page, 0.5)
    await page.get_by_label(WORDS.tools["erase"]).check()
    await page.locator("[name=size]").fill("40")
    await stroke(page, 0.5)
    await page.locator("[name=draw]").click()
    await expect(page.locator("[data-told]")).to_have_text(WORDS.nothing_painted)
    assert len(await served.app.storage.history.page()) == 1


async def test_drawing_is_asked_for_once_however_often_it_is_pressed(
    page: Page, served: Served
) -> None:
    sent: list[str] = []
    page.on("request", lambda request: sent.append(request.method))
    await stroke(page, 0.5)
    async with page.expect_response(lambda answer: answer.request.method == "POST"):
        await page.locator("[name=draw]").evaluate(
            "button => { for (let at = 0; at < 3; at++) button.click(); }"
        )
    await page.locator("[data-job='2']").wait_for()
    assert sent.count("POST") == 1
    assert len(await served.app.storage.history.page()) == 2


@pytest.mark.parametrize(
    ("path", "action"),
    [("/imagine", "/imagine")]
    + [("/pictures/1", f"/pictures/1/{word}") for word in ("change", "edit", "blend", "delete")],
)
async def test_a_form_that_was_sent_is_not_sent_again(
    page: Page, served: Served, path: str, action: str
) -> None:
    await page.goto(served.origin + path)
    await page.route(f"**{action}", lambda route: route.fulfill(status=204))  # the page stays
    button = page.locator(f"form[action='{action}'] button:not([formaction])").first
    await button.evaluate("button => button.click()")
    await expect(button).to_be_disabled()


async def test_margins_out_of_bounds_do_not_shrink_the_picture(page: Page) -> None:
    await page.get_by_label(WORDS.tools["extend"]).check()
    shown = page.locator("[data-becomes]")
    for typed, becomes in (("99999", "2112 \u00d7 64"), ("-50", "64 \u00d7 64")):
        await page.locator("[name=left]").fill(typed)
        await expect(shown).to_have_text(becomes)
