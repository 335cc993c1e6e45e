"""`/web` in Discord: a link for who asks alone, which signs in to the page of the same process."""

from __future__ import annotations

import re

from aiohttp import ClientSession, CookieJar

from bots.texts import EN, web_words_of
from tests.bots.discord.conftest import Marble
from tests.bots.web.conftest import Browser
from tests.fakes.discord import Person
from tests.ports import free_port

PAGE = web_words_of("en")


async def test_a_link_signs_in_who_asked_and_can_be_revoked(cold: Marble, ann: Person) -> None:
    origin = f"http://127.0.0.1:{(port := free_port())}"
    cold.settings["MARBLE_WEB_PORT"] = str(port)
    await cold.start()
    answer = await ann.types("web")
    said = await answer.said("works once")
    assert answer.ephemeral
    [path] = re.findall(rf"<{re.escape(origin)}(/in/[\w-]+)>", said)
    async with ClientSession(cookie_jar=CookieJar(unsafe=True)) as client:
        browser = Browser(origin, client)
        await browser.get(path)
        page = await browser.post(path)
        assert page.status == 200
        account = await browser.get("/account")
        assert PAGE.signed_in_as.format(person=f"discord:{ann.id}") in account.words
        out = await ann.types("web", logout=True)
        assert await out.said("1 session ended")
        assert out.ephemeral
        assert (await browser.get("/account")).status == 401


async def test_without_a_page_it_says_so(marble: Marble, ann: Person) -> None:
    assert await (await ann.types("web")).said(EN.no_web)
