"""The web page as a browser meets it: the real server in this process, and a scripted engine."""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from html import unescape
from typing import Any

import pytest
from aiohttp import ClientResponse, ClientSession, CookieJar
from playwright.async_api import Browser as Chrome
from playwright.async_api import Page as ChromePage
from playwright.async_api import async_playwright

from bots.admission.gate import Gate
from bots.operations.settings import load_settings
from bots.requests.descriptions import Descriptions
from bots.requests.likeness import Likeness
from bots.requests.studio import Studio
from bots.requests.styles import Stylebook
from bots.requests.workflow_folder import WorkflowFolder
from bots.requests.workflows import Workflows
from bots.service.app import App, roles_of, rules_of
from bots.service.commands import Commands
from bots.service.front_door import listening
from bots.web.site import Site
from bots.worker.pausing import Pausing
from tests.bots.conftest import House
from tests.bots.fakes import FakeEmbedding
from tests.ports import free_port

ADA, BOB, OWNER = "discord:1", "telegram:2", "discord:9"
HOST = "127.0.0.1"


@dataclass
class Page:
    """An answer, read."""

    status: int
    text: str
    headers: Any
    path: str  # after redirects

    @property
    def words(self) -> str:
        """Return the text that a person reads, its markup removed."""
        body = re.sub(r"<(script|style|title)\b.*?</\1>", " ", self.text, flags=re.S)
        return " ".join(unescape(re.sub(r"<[^>]*>", " ", body)).split())

    @property
    def csrf(self) -> str:
        """Return the token of the page's forms; empty where there is none."""
        found = re.search(r'name="csrf" content="([^"]+)"', self.text)
        return found[1] if found else ""


@dataclass
class Browser:
    """A browser with cookies of its own; a change carries what the page seen last gave it."""

    origin: str
    client: ClientSession = field(repr=False)
    page: Page | None = None

    @property
    def cookies(self) -> dict[str, str]:
        """Return the cookies by their names."""
        return {cookie.key: cookie.value for cookie in self.client.cookie_jar}

    async def get(self, path: str, **more: Any) -> Page:
        """Open a page, and follow where it leads."""
        async with self.client.get(self.origin + path, **more) as answer:
            self.page = await read(answer)
        return self.page

    async def post(
        self, path: str, data: Any = None, headers: dict[str, str] | None = None, **more: Any
    ) -> Page:
        """Send a form as the page seen last does; `headers` replaces what the browser adds."""
        fields = {"csrf": self.page.csrf if self.page else "", **(data or {})}
        added = {"Origin": self.origin, "Sec-Fetch-Site": "same-origin"}
        sent = added if headers is None else headers
        url = self.origin + path
        async with self.client.post(url, data=fields, headers=sent, **more) as answer:
            return await read(answer)


async def read(answer: ClientResponse) -> Page:
    return Page(answer.status, await answer.text(), answer.headers, answer.url.path)


@dataclass
class Served:
    """A served site, and what people need to reach it."""

    app: App
    origin: str
    clients: list[ClientSession] = field(default_factory=list)

    def browser(self) -> Browser:
        """Return a browser that nobody is signed in with."""
        client = ClientSession(cookie_jar=CookieJar(unsafe=True))
        self.clients.append(client)
        return Browser(self.origin, client)

    async def sign_in(self, person: str, path: str = "/account") -> Browser:
        """Return a browser that somebody is signed in with by a link."""
        token = await self.app.storage.web_access.make_link(person, path)
        browser = self.browser()
        await browser.get(f"/in/{token}")
        page = await browser.post(f"/in/{token}")
        assert page.status == 200, page.words
        await browser.get("/account")
        return browser


@pytest.fixture
def app(house: House) -> App:
    """Return the parts of a process that serves the page; 9 of Discord owns it."""
    port = free_port()
    settings = load_settings(
        {"MARBLE_WEB_PORT": str(port), "MARBLE_OWNERS": OWNER, "MARBLE_MODERATORS": "discord:8"},
        env_file="",
    )
    gate = Gate(house.storage, roles_of(settings), rules_of(settings))
    catalogue = house.studio.catalogue
    studio = Studio(catalogue, house.storage, house.worker, gate=gate)
    return App(
        settings=replace(settings, data_dir=house.storage.pictures.folder.parent),
        storage=house.storage,
        worker=house.worker,
        pausing=Pausing(house.storage.moderation, house.worker.queue, roles_of(settings)),
        gate=gate,
        studio=studio,
        styles=Stylebook(house.storage, gate),
        descriptions=Descriptions(None),
        likeness=Likeness(house.storage, FakeEmbedding()),
        workflows=Workflows(WorkflowFolder(None), studio, house.storage.pictures, gate),
        health=house.executor.health,
        commands=Commands(gate.roles),
    )


@asynccontextmanager
async def serving(app: App) -> AsyncIterator[Served]:
    """Serve the page of an app."""
    origin = app.settings.web_address
    assert origin is not None
    site = Site(app, origin).application()
    async with listening(site, HOST, app.settings.web_port, "MARBLE_WEB_PORT"):
        served = Served(app, origin)
        yield served
        for client in served.clients:
            await client.close()


@pytest.fixture
async def served(app: App) -> AsyncIterator[Served]:
    """Yield the served page."""
    async with serving(app) as served:
        yield served


@pytest.fixture
async def ada(served: Served) -> Browser:
    """Return Ada's browser, who is signed in."""
    return await served.sign_in(ADA)


@pytest.fixture(scope="session")
def chromium() -> str:
    """Return the path of this machine's Chromium, or skip where there is none."""
    if found := os.environ.get("MARBLE_TEST_CHROMIUM") or shutil.which("chromium"):
        return found
    message = "no Chromium: install it or set MARBLE_TEST_CHROMIUM"
    if os.environ.get("MARBLE_REQUIRE_CHROMIUM"):
        pytest.fail(message)
    pytest.skip(message)


@pytest.fixture
async def chrome(chromium: str) -> AsyncIterator[Chrome]:
    """Yield a real browser."""
    async with async_playwright() as playwright:
        # Chromium's own sandbox needs a user who is not root, which containers rarely have.
        browser = await playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        yield browser
        await browser.close()


@dataclass
class Window:
    """A page of a real browser, and what it complained of."""

    page: ChromePage
    faults: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.page.on("pageerror", lambda error: self.faults.append(str(error)))
        self.page.on("console", lambda said: self._note(said.type, said.text))

    def _note(self, kind: str, text: str) -> None:
        if kind == "error":
            self.faults.append(text)


async def open_window(
    served: Served, chrome: Chrome, person: str, path: str, width: int = 1280, **more: Any
) -> Window:
    """Return a window in which somebody has signed in by a link that leads to a path."""
    context = await chrome.new_context(viewport={"width": width, "height": 900}, **more)
    window = Window(await context.new_page())
    token = await served.app.storage.web_access.make_link(person, path)
    await window.page.goto(f"{served.origin}/in/{token}")
    await window.page.locator("main button").click()
    await window.page.wait_for_url(f"{served.origin}{path}")
    return window
