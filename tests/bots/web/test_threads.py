"""What takes a while is done in threads, and leaves the chats' threads free."""

from __future__ import annotations

import asyncio
import sys
import threading
from collections.abc import Callable, Iterator
from typing import Any, Final

import pytest

from bots.web.request import Request
from bots.web.site import SLOW_READS
from storage.database.engines import READERS
from storage.jobs.figures import Figures
from storage.jobs.history import History
from tests.bots.conftest import House
from tests.bots.web.conftest import ADA, OWNER, Served
from tests.bots.web.test_pictures import drawn
from tests.bots.web.test_reads import LOOKS, OWNERS, look
from tests.conftest import PATIENCE

TOUCHES: Final = frozenset({"open", "os.listdir", "os.scandir", "subprocess.Popen"})


@pytest.mark.parametrize(
    ("person", "path", "part", "name"),
    [
        (ADA, "/pictures?q=cat", History, "search"),
        (OWNER, "/engine/figures", Figures, "day"),
    ],
    ids=["search", "figures"],
)
async def test_what_looks_through_many_rows_leaves_readers_to_the_chats(
    person: str,
    path: str,
    part: type[Any],
    name: str,
    served: Served,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    assert SLOW_READS < READERS
    browser = await served.sign_in(person)
    go, begun = threading.Event(), list[None]()
    known: asyncio.Queue[None] = asyncio.Queue()
    recognise, real = Request.recognise, getattr(part, name)

    def held(*_: object) -> None:
        begun.append(None)
        go.wait()

    async def slow(self: Any, *arguments: Any, **more: Any) -> Any:
        await self.database.read(held)
        return await real(self, *arguments, **more)

    async def noted(request: Request) -> None:
        await recognise(request)
        known.put_nowait(None)

    monkeypatch.setattr(part, name, slow)
    monkeypatch.setattr(Request, "recognise", noted)
    asked = [asyncio.create_task(look(browser, path)) for _ in range(READERS + 1)]
    try:
        for _ in asked:
            await known.get()
        async with asyncio.timeout(PATIENCE):
            await served.app.storage.people.settings(ADA)  # as a chat reads
        assert await look(browser, "/account") == 200
        assert len(begun) <= SLOW_READS
    finally:
        go.set()
    assert await asyncio.gather(*asked) == [200] * len(asked)


@pytest.fixture
def touched() -> Iterator[Callable[[], list[str]]]:
    """Return what tells which files and programs the loop's own thread touched since it was asked.

    Python calls an audit hook for each (PEP 578); a hook stays for ever, so this one can be off.
    """
    found, own, on = list[str](), threading.get_ident(), True

    def hook(event: str, arguments: tuple[Any, ...]) -> None:
        if on and event in TOUCHES and threading.get_ident() == own:
            found.append(f"{event} {arguments[0]}")

    def since() -> list[str]:
        touched = found.copy()
        found.clear()
        return touched

    sys.addaudithook(hook)
    yield since
    on = False


async def test_no_page_opens_a_file_in_the_loops_thread(
    house: House, served: Served, touched: Callable[[], list[str]]
) -> None:
    for number in range(3):
        await drawn(house, parent=number or None, count=1 + number % 2)
    ada, owner = await served.sign_in(ADA), await served.sign_in(OWNER)
    with open("/dev/null"):  # noqa: ASYNC230
        assert touched() != []
    found = {}
    for table, browser in ((LOOKS, ada), (OWNERS, owner)):
        for path in table:
            await look(browser, path)
            touched()  # modules are imported at the first look
            await look(browser, path)
            found[path] = touched()
    assert {path: files for path, files in found.items() if files} == {}
