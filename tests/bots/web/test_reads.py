"""How often a request asks the database: a table, so that no page grows unnoticed."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable
from typing import Any, Final

import pytest

from bots.web.request import GRANT
from bots.web.site import ROUTES
from storage.database.database import Database
from storage.records import Grant
from tests.bots.conftest import House
from tests.bots.web.conftest import ADA, OWNER, Browser, Served
from tests.bots.web.test_pictures import drawn

# Of each request: its status, and its reads at most. The first of a request's finds the session
# with all that applies to its person.
LOOKS: Final = {
    "/": (303, 1),
    "/account": (200, 1),
    "/in/none": (410, 2),
    "/mini": (404, 1),
    "/pictures": (200, 3),
    "/pictures?q=cat": (200, 3),
    "/pictures?like=2.1": (200, 5),
    "/pictures?favourites=1": (200, 2),
    "/jobs/2/cards": (200, 3),
    "/pictures/2.1": (200, 6),
    "/pictures/2": (200, 6),
    "/pictures/2.1/making-of": (400, 2),
    "/thumbnails/2.1.webp": (200, 2),
    "/originals/2.1.png": (200, 2),
    "/jobs/2/preview": (204, 2),
    "/imagine": (200, 3),
    "/imagine?from=2.1": (200, 4),
    "/brush/2.1": (200, 2),
    "/brush/2.1?grant=": (200, 4),
    "/events?once&jobs=1-2": (200, 2),
}
OWNERS: Final = {
    "/engine": (200, 8),
    "/engine/figures": (200, 3),
    "/engine/devices": (200, 1),
    "/engine/models": (200, 1),
    "/engine/rules": (200, 3),
    "/engine/rules?place=discord:7": (200, 4),
    "/engine/bans": (200, 2),
    "/engine/log": (200, 2),
    "/engine/upkeep": (200, 1),
    "/metrics": (404, 1),
}
CHANGES: Final = {
    "rerun": (303, 4),
    "vary": (303, 4),
    "upscale": (303, 4),
    "change": (303, 4),
    "edit": (200, 6),
    "favourite": (303, 2),
    "delete": (200, 2),
}
HANDLER: Final = "RequestHandler."  # aiohttp's coroutines begin with it; other tasks read, too

Reads = Callable[[], int]


@pytest.fixture
def reads(monkeypatch: pytest.MonkeyPatch) -> Reads:
    """Return what counts the reads of requests since it was last asked."""
    count, read = 0, Database.read

    async def counted(self: Database, *arguments: Any) -> Any:
        nonlocal count
        task = asyncio.current_task()
        assert task
        count += task.get_coro().__qualname__.startswith(HANDLER)  # type: ignore[union-attr]
        return await read(self, *arguments)

    def since() -> int:
        nonlocal count
        found, count = count, 0
        return found

    monkeypatch.setattr(Database, "read", counted)
    return since


async def look(browser: Browser, path: str, **headers: str) -> int:
    """Ask for an address, and return the answer's status."""
    url = browser.origin + path
    async with browser.client.get(url, headers=headers, allow_redirects=False) as answer:
        await answer.read()
        return answer.status


def over(most: dict[str, tuple[int, int]], found: dict[str, tuple[int, int]]) -> dict[str, Any]:
    """Return what was answered otherwise than the table says, or needed more reads, or none."""
    return {
        path: (status, count)
        for path, (status, count) in found.items()
        if status != most[path][0] or not 0 < count <= most[path][1]
    }


def test_every_page_is_counted() -> None:
    for route in ROUTES:
        shape = re.compile(re.sub(r"{.*?}", "[^/]+", route.path))
        asked = [path.partition("?")[0] for path in (*LOOKS, *OWNERS)]
        assert route.method != "GET" or any(map(shape.fullmatch, asked)), route.path


async def test_a_request_asks_the_database_few_times(
    house: House, served: Served, ada: Browser, reads: Reads
) -> None:
    for number in range(3):
        await drawn(house, f"a cat {number}", parent=number or None, count=1 + number % 2)
    grant = Grant(person=ADA, job=2, picture=0, message="", place=f"web:{ADA}", reply={})
    token = await house.storage.web_access.grant(grant)
    await served.app.likeness.index([*(await house.storage.jobs.get(2)).pictures])
    owner = await served.sign_in(OWNER)
    found = {}
    for table, browser in ((LOOKS, ada), (OWNERS, owner)):
        for path in table:
            reads()
            status = await look(browser, path.replace(f"{GRANT}=", f"{GRANT}={token}"))
            found[path] = (status, reads())
    assert over(LOOKS | OWNERS, found) == {}


async def test_a_change_asks_the_database_few_times(
    house: House, ada: Browser, reads: Reads
) -> None:
    await drawn(house, count=2)
    await ada.get("/account")
    found = {}
    for word in CHANGES:
        reads()
        page = await ada.post(f"/pictures/1.1/{word}", {"words": "a dog"}, allow_redirects=False)
        found[word] = (page.status, reads())
    assert over(CHANGES, found) == {}


@pytest.mark.parametrize("path", ["/thumbnails/1.webp", "/originals/1.png"])
async def test_a_file_that_the_browser_has_is_looked_up_like_another(
    house: House, ada: Browser, reads: Reads, path: str
) -> None:
    await drawn(house)
    async with ada.client.get(ada.origin + path) as answer:
        tag = answer.headers["ETag"]
    reads()
    assert (await look(ada, path, **{"If-None-Match": tag}), reads()) == (304, 2)
