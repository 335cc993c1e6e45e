"""The engine room in a real browser, at the sizes of a desk and of a telephone."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
from playwright.async_api import Browser as Chrome
from playwright.async_api import Page, expect

from bots.texts import engine_room_of
from bots.web.engine_room.page import TABS
from storage import Status
from tests.bots.conftest import House
from tests.bots.web.conftest import ADA, OWNER, Served, open_window
from tests.bots.web.test_engine_room import hold, imagine

ROOM = engine_room_of("en")
WIDTHS = (1280, 390)


@pytest.fixture(params=WIDTHS)
async def page(
    request: pytest.FixtureRequest, served: Served, chrome: Chrome
) -> AsyncIterator[Page]:
    """Yield the page of an owner; nothing may fail but a connection that is cut or signed out."""
    window = await open_window(served, chrome, OWNER, "/engine", request.param)
    yield window.page
    cut = ("net::ERR_FAILED", "401 (Unauthorized)")
    assert [fault for fault in window.faults if not any(each in fault for each in cut)] == []


async def overflow(page: Page) -> int:
    """Return by how many pixels a page is wider than the window."""
    return int(await page.evaluate("document.documentElement.scrollWidth - window.innerWidth"))


async def test_no_page_is_wider_than_the_window(page: Page, served: Served, house: House) -> None:
    await hold(house)
    for path, _ in TABS.values():
        await page.goto(f"{served.origin}{path}")
        assert await overflow(page) == 0, path


async def test_the_queue_is_live_and_keeps_the_keyboards_place(
    page: Page, served: Served, house: House
) -> None:
    [running, waiting, _] = await hold(house)
    button = page.get_by_role("button", name=ROOM.cancel_job.format(job=waiting.id))
    await expect(button).to_be_visible()  # without a reload
    await button.focus()
    later = await imagine(house, ADA)
    await expect(page.locator(f"#cancel-{later.id}")).to_be_visible()
    await expect(button).to_be_focused()
    await page.keyboard.press("Enter")
    await expect(button).to_have_count(0)
    assert (await house.storage.jobs.get(waiting.id)).status is Status.CANCELLED
    await page.get_by_role("button", name=ROOM.next_job.format(job=later.id)).click()
    await expect(page.get_by_text(ROOM.ahead)).to_be_visible()
    await page.get_by_label(ROOM.pause_reason).fill("a new card")
    await page.get_by_role("button", name=ROOM.pause, exact=True).click()
    await expect(page.get_by_text(f"by {OWNER}: a new card")).to_be_visible()
    await page.get_by_role("button", name=ROOM.resume).click()
    await expect(page.get_by_role("button", name=ROOM.resume)).to_have_count(0)
    assert house.worker.queue.order.reason is None
    assert (await house.storage.jobs.get(running.id)).status is Status.RUNNING


async def test_rules_and_bans_are_changed_by_forms(page: Page, served: Served) -> None:
    await page.get_by_role("link", name=ROOM.tabs["rules"]).click()
    await page.get_by_label(ROOM.rules_choose).fill("discord:5")
    await page.get_by_role("button", name=ROOM.show).click()
    await page.get_by_label("steps", exact=True).fill("1-30")
    await page.get_by_role("button", name=ROOM.rules_save).click()
    await expect(page.get_by_text(ROOM.rules_saved.format(place="discord:5"))).to_be_visible()
    assert (await served.app.gate.in_force("discord:5")).rules["steps"] == [1, 30]
    await page.get_by_role("link", name=ROOM.tabs["bans"]).click()
    await page.get_by_label(ROOM.person, exact=True).fill(ADA)
    await page.get_by_label(ROOM.reason).fill("floods the queue")
    await page.get_by_role("button", name=ROOM.ban, exact=True).click()
    lift = page.get_by_role("button", name="Lift the ban of")
    await expect(lift).to_be_visible()
    assert [ban.person for ban in await served.app.storage.moderation.bans()] == [ADA]
    await lift.click()
    await expect(page.get_by_text(ROOM.no_bans)).to_be_visible()


async def test_a_tab_whose_session_ended_asks_no_more_and_says_so(
    page: Page, served: Served
) -> None:
    await page.clock.install()
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    await page.reload()
    await served.app.storage.web_access.end_all(OWNER)
    async with page.expect_response(lambda answer: answer.status == 401):
        await page.clock.run_for(2000)
    await expect(page.locator("[data-signed-out]")).to_be_visible()
    await expect(page.get_by_text(ROOM.stale)).to_be_hidden()
    asked.clear()
    await page.clock.run_for(60_000)
    assert await page.evaluate("1 + 1") == 2  # what the clock started has been told by now
    assert asked == []


async def test_what_cannot_be_read_any_more_is_said_and_mends_itself(
    page: Page, house: House
) -> None:
    await page.route("**/engine?part=1", lambda route: route.abort())
    await expect(page.get_by_text(ROOM.stale)).to_be_visible()
    await page.unroute("**/engine?part=1")
    await expect(page.get_by_text(ROOM.stale)).to_be_hidden()
