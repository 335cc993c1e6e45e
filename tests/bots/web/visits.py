"""Somebody on the page of the real `marble serve`, in a real browser: by pointer or by keyboard."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from playwright.async_api import Browser as Chrome
from playwright.async_api import Locator, Page

from bots.texts import EngineRoom, WebWords, Words, engine_room_of, web_words_of, words_of
from tests.bots.telegram.conftest import a_marble, a_server
from tests.bots.web.conftest import Window
from tests.fakes.process import Marble
from tests.fakes.telegram.people import Person, person, text_of
from tests.ports import free_port

SLOWLY = 120_000  # milliseconds that a picture may take on a slow machine
STOPS = 120  # of the Tab key, after which something counts as out of reach
LINK = re.compile(r"http://\S+/in/\S+")


@dataclass(frozen=True)
class Way:
    """A way to use the page: the window's width, the language, and the keyboard alone or not."""

    width: int
    language: str
    keyboard: bool = False


# Whoever comes in one of these ways can do everything.
in_every_way = pytest.mark.parametrize(
    "way",
    [Way(1280, "en"), Way(390, "zh"), Way(1280, "zh", keyboard=True)],
    ids=["wide", "narrow", "keyboard"],
)


@asynccontextmanager
async def serve(folder: Path) -> AsyncIterator[tuple[Marble, Person]]:
    """Serve the page with the engine and the model that users have; yield a member, too."""
    settings = {"MARBLE_WEB_PORT": str(free_port()), "MARBLE_EXECUTOR": "child"}
    async with a_server() as telegram, a_marble(telegram, folder, **settings) as marble:
        yield marble, person(telegram)


@dataclass
class Hands:
    """How somebody uses a page: by pointer, or by the keyboard alone."""

    page: Page
    keyboard: bool

    async def press(self, what: Locator) -> None:
        """Press a button, follow a link."""
        if self.keyboard:
            await self.reach(what)
            await self.page.keyboard.press("Enter")
        else:
            await what.click()

    async def write(self, what: Locator, text: str) -> None:
        """Replace a field's text."""
        if self.keyboard:
            await self.reach(what)
            await self.page.keyboard.press("Control+A")
            await self.page.keyboard.type(text)
        else:
            await what.fill(text)

    async def reach(self, what: Locator) -> None:
        """Go to something by the Tab key."""
        for _ in range(STOPS):
            if await what.evaluate("each => each === document.activeElement"):
                return
            await self.page.keyboard.press("Tab")
        raise AssertionError(f"no way to {what} by the Tab key")


@dataclass
class Visit:
    """Somebody on the page; origin: where it is served."""

    window: Window
    hands: Hands
    origin: str
    language: str
    words: Words = field(init=False)
    web_words: WebWords = field(init=False)
    room: EngineRoom = field(init=False)

    def __post_init__(self) -> None:
        self.words, self.web_words = words_of(self.language), web_words_of(self.language)
        self.room = engine_room_of(self.language)

    @property
    def page(self) -> Page:
        return self.window.page

    async def open(self, path: str) -> None:
        """Go to an address."""
        await self.page.goto(self.origin + path)

    async def ask(self, words: str) -> None:
        """Write words and options into the form of *Draw*, and send it."""
        await self.open("/imagine")
        await self.hands.write(self.page.locator("#prompt"), words)
        await self.hands.press(self.page.locator("button.primary").first)

    async def asked(self) -> int:
        """Wait for the page of the job that was asked for, and return its number."""
        await self.page.wait_for_url(re.compile(r"/pictures/\d+$"))
        return int(self.page.url.rpartition("/")[2])

    async def drawn(self) -> str:
        """Wait for the picture whose page is open, and return its name."""
        await self.page.locator("img.large").wait_for(timeout=SLOWLY)
        return self.page.url.rpartition("/")[2]


async def sign_in(chrome: Chrome, link: str, way: Way) -> Visit:
    """Sign in by a link, in a browser of its own."""
    context = await chrome.new_context(
        viewport={"width": way.width, "height": 800},
        locale=way.language,
        has_touch=way.width < 500,
    )
    window = Window(await context.new_page())
    hands = Hands(window.page, way.keyboard)
    await window.page.goto(link)
    await hands.press(window.page.locator("main button"))
    await window.page.wait_for_url(re.compile(r"/pictures"))
    return Visit(window, hands, link.partition("/in/")[0], way.language)


def link_in(text: str) -> str:
    """Return the link that a message holds."""
    found = LINK.search(text)
    assert found, text
    return found[0]


async def ask_for_link(person: Person) -> str:
    """Ask a chat for a link that signs one in."""
    return link_in(text_of(await person.chat.answer(await person.says("/web"))))
