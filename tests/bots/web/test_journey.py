"""The whole way in a real browser: `marble serve`, the bundled model, a link from a chat."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
from PIL import Image
from playwright.async_api import Browser as Chrome
from playwright.async_api import expect

from storage import Storage
from tests.bots.web.visits import (
    SLOWLY,
    Visit,
    Way,
    ask_for_link,
    in_every_way,
    serve,
    sign_in,
)
from tests.starter.judge import judge, load_judge

Pixels = npt.NDArray[np.uint8]


async def original(visit: Visit, name: str) -> Pixels:
    """Return the pixels of a picture as the page sends it."""
    answer = await visit.page.request.get(f"{visit.origin}/originals/{name}.png")
    assert answer.ok, name
    return np.asarray(Image.open(io.BytesIO(await answer.body())).convert("RGB"))


async def imagine(visit: Visit) -> str:
    """Ask for a picture, see that it is on its way, and wait for it."""
    await visit.ask("a marble scholar holding a book --seed 1")
    await visit.asked()
    await visit.page.locator("[data-line], img.large").first.wait_for()
    return await visit.drawn()


async def rerun(visit: Visit, name: str) -> str:
    """Draw it again from its seed."""
    await visit.open(f"/pictures/{name}")
    await visit.hands.press(visit.page.get_by_role("button", name=visit.words.same_seed))
    await visit.page.wait_for_url(lambda url: not url.endswith(f"/{name}"))
    return await visit.drawn()


async def keep_and_find(visit: Visit, name: str) -> None:
    """Mark it as a favourite, and find it so and by its words."""
    page, hands = visit.page, visit.hands
    await visit.open(f"/pictures/{name}")
    star = page.get_by_role("button", name=visit.words.favourite)
    await hands.press(star)
    await expect(star).to_have_attribute("aria-pressed", "true")
    await visit.open("/pictures")
    await hands.press(page.get_by_role("link", name=visit.words.only_favourites))
    await expect(page.locator("[data-grid] .tile")).to_have_count(1)
    await hands.write(page.locator("#q"), "scholar")
    await page.keyboard.press("Enter")
    await page.wait_for_url("**q=scholar**")
    await expect(page.locator(f"[data-grid] a[href='/pictures/{name}']")).to_have_count(1)
    await hands.write(page.locator("#q"), "dragon")
    await page.keyboard.press("Enter")
    await expect(page.locator("main")).to_contain_text(visit.words.nothing_found)


async def paint(visit: Visit) -> None:
    """Paint over the book, and beside the head, where a sword is held up."""
    page, stage = visit.page, visit.page.locator("[data-stage]")
    await page.locator("#size").evaluate("each => { each.value = 40; }")
    await page.locator("#size").dispatch_event("input")
    if visit.hands.keyboard:
        await visit.hands.reach(stage)
        right, left, up = "Shift+ArrowRight", "Shift+ArrowLeft", "Shift+ArrowUp"
        for key in ("ArrowDown", right, left, left, left, up, up, up, up):
            await page.keyboard.press(key)
        return
    box = await page.locator("[data-frame]").bounding_box()
    assert box
    y = box["y"] + 0.62 * box["height"]
    await page.mouse.move(box["x"] + 0.6 * box["width"], y)
    await page.mouse.down()
    await page.mouse.move(box["x"] + 0.2 * box["width"], y, steps=10)
    await page.mouse.move(box["x"] + 0.2 * box["width"], box["y"], steps=10)
    await page.mouse.up()


async def region(visit: Visit, name: str) -> int:
    """Draw a sword where the book was, compare, and return the job."""
    page = visit.page
    await visit.open(f"/pictures/{name}")
    await visit.hands.press(page.get_by_role("link", name=visit.words.region))
    await page.locator("[data-with-script]").wait_for()  # its script runs
    await paint(visit)
    await visit.hands.write(
        page.locator("#words"), "a marble scholar holding a sword --seed 3 --count 4"
    )
    await visit.hands.press(page.locator("button[name=draw]"))
    await page.locator("[data-compare]").wait_for(timeout=SLOWLY)
    tile = page.locator("[data-live] .tile").first
    return int(await tile.get_attribute("data-job") or 0)


async def extend(visit: Visit, name: str) -> str:
    """Make the canvas larger to the right, by the edge itself."""
    page = visit.page
    await visit.open(f"/brush/{name}")
    await page.locator("[data-with-script]").wait_for()
    tool = page.locator("input[value=extend]")
    edge = page.locator("[data-edge=right]")
    if visit.hands.keyboard:
        await visit.hands.reach(page.locator("input[value=brush]"))
        for _ in range(3):
            await page.keyboard.press("ArrowRight")
        await visit.hands.reach(edge)
        for _ in range(2):
            await page.keyboard.press("ArrowRight")
    else:
        await tool.check()
        box = await edge.bounding_box()
        assert box
        await page.mouse.move(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
        await page.mouse.down()
        await page.mouse.move(box["x"] + box["width"] / 2 + 80, box["y"] + 9, steps=8)
        await page.mouse.up()
    await expect(tool).to_be_checked()
    assert int(await page.locator("input[name=right]").input_value()) >= 8
    await visit.hands.press(page.locator("button[name=draw]"))
    await page.locator("[data-compare]").wait_for(timeout=SLOWLY)
    return await page.locator("[data-live] .tile").first.get_attribute("data-job") or ""


@pytest.mark.slow
@in_every_way
async def test_from_a_chats_link_to_signing_out(way: Way, chrome: Chrome, tmp_path: Path) -> None:
    async with serve(tmp_path) as (_, ada):
        visit = await sign_in(chrome, await ask_for_link(ada), way)
        hands, window = visit.hands, visit.window

        first = await imagine(visit)
        again = await rerun(visit, first)
        before = await original(visit, first)
        assert np.array_equal(await original(visit, again), before)
        await keep_and_find(visit, first)

        painted = await region(visit, first)
        async with Storage.open(tmp_path / "data") as storage:
            recipe = (await storage.jobs.get(painted)).recipe
            assert recipe.mask
            mask = np.asarray(Image.open(io.BytesIO(storage.pictures.fetch(recipe.mask))))
        results = np.stack([await original(visit, f"{painted}.{number}") for number in range(1, 5)])
        assert (results[:, mask == 0] == before[mask == 0]).all()
        seen = judge(load_judge(), np.stack([before, *results]))
        held, *held_then = [each.names["object"] for each in seen]
        assert held == "book"
        assert "sword" in held_then

        wider = await original(visit, await extend(visit, first))
        height, width_before, _ = before.shape
        assert wider.shape[0] == height
        assert wider.shape[1] > width_before

        await visit.open("/account")
        await hands.press(window.page.get_by_role("button", name=visit.web_words.sign_out).first)
        signed_out = expect(window.page.locator("main"))
        await signed_out.to_contain_text(visit.web_words.sign_in_how)
        await visit.open("/pictures")
        await signed_out.to_contain_text(visit.web_words.sign_in_how)
        assert [each for each in window.faults if "401" not in each] == []
