"""No page keeps people out: axe-core 4.10.3 (Deque Systems, MPL 2.0) finds nothing serious."""

from __future__ import annotations

import os
import shutil
import subprocess
import tarfile
import tempfile
from pathlib import Path
from typing import Literal

import pytest
from playwright.async_api import Browser as Chrome
from playwright.async_api import Page

from bots.web.engine_room.page import TABS
from engine.events import Verdict
from storage.records import EVERYWHERE
from tests.bots.conftest import House
from tests.bots.web.conftest import ADA, OWNER, Served, open_window
from tests.bots.web.test_engine_room import hold
from tests.bots.web.test_pictures import drawn

AXE = "axe-core@4.10.3"
KEPT = Path(__file__).parents[3] / "build" / f"{AXE}.min.js"
PATHS = (
    "/pictures",
    "/pictures?q=nothing",
    "/pictures/1",
    "/pictures/2",
    "/imagine",
    "/brush/1",
    "/account",
    "/no-such-page",
    *(path for path, _ in TABS.values()),
    "/engine/rules?place=discord:5",
)
FOUND = """async () => (await axe.run()).violations
  .filter(({ impact }) => ["serious", "critical"].includes(impact))
  .map(({ id, nodes }) => `${id}: ${nodes.map(({ target }) => target.join(" ")).join(", ")}`)
"""


@pytest.fixture(scope="session")
def axe() -> str:
    """Return axe-core's script, which npm fetches once; skip where it cannot."""
    if KEPT.exists():
        return KEPT.read_text()
    message = f"no {AXE}: npm is not there"
    if npm := shutil.which("npm"):
        try:
            return fetch(npm)
        except (OSError, subprocess.SubprocessError) as error:
            message = f"no {AXE}: {error}"
    if os.environ.get("MARBLE_REQUIRE_CHROMIUM"):
        pytest.fail(message)
    pytest.skip(message)


def fetch(npm: str) -> str:
    """Fetch and keep the script."""
    KEPT.parent.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory(dir=KEPT.parent) as folder:
        command = [npm, "pack", "--silent", AXE]
        subprocess.run(command, cwd=folder, check=True, timeout=120, capture_output=True)
        [packed] = Path(folder).glob("*.tgz")
        with tarfile.open(packed) as archive:
            archive.extract("package/axe.min.js", folder, filter="data")
        (Path(folder) / "package" / "axe.min.js").replace(KEPT)
    return KEPT.read_text()


async def faults(page: Page, axe: str, url: str) -> list[str]:
    """Return what is serious or critical on a page."""
    await page.goto(url)
    await page.evaluate(axe)
    return [f"{url}: {fault}" for fault in await page.evaluate(FOUND)]


@pytest.mark.slow
@pytest.mark.parametrize("width", [1280, 390])
@pytest.mark.parametrize("scheme", ["light", "dark"])
async def test_nothing_serious_is_in_the_way_on_any_page(
    scheme: Literal["light", "dark"],
    width: int,
    house: House,
    served: Served,
    chrome: Chrome,
    axe: str,
) -> None:
    await drawn(house, "a cat", person=OWNER)
    await drawn(house, "two cats", person=OWNER, count=2, verdict=Verdict.UNSAFE, parent=1)
    await served.app.gate.change(EVERYWHERE, {"safety": "spoiler"}, OWNER)
    await served.app.storage.moderation.ban(ADA, by=OWNER, reason="floods the queue")
    await hold(house)
    window = await open_window(served, chrome, OWNER, "/account", width, color_scheme=scheme)
    found = []
    for path in PATHS:
        found += await faults(window.page, axe, served.origin + path)
    stranger = await (
        await chrome.new_context(viewport={"width": width, "height": 900}, color_scheme=scheme)
    ).new_page()
    link = await served.app.storage.web_access.make_link(ADA, "/account")
    for path in ("/", f"/in/{link}"):
        found += await faults(stranger, axe, served.origin + path)
    assert found == []


async def test_what_is_in_the_way_is_found(chromium: str, chrome: Chrome, axe: str) -> None:
    page = await chrome.new_page()
    url = "data:text/html,<title>a</title><html lang=en><main><h1>a</h1><input></main>"
    assert await faults(page, axe, url) == [f"{url}: label: input"]
