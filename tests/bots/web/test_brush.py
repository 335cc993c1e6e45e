"""A region that is painted, a canvas that is made larger, and what a chat's button opens."""

from __future__ import annotations

import io
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from aiohttp import ClientSession, CookieJar
from PIL import Image

from bots.texts import web_words_of
from engine.recipe.parts import Margins
from storage import Job
from storage.database.tables import web_grants
from storage.people.web_access import LIMITS
from storage.records import Grant
from tests.bots.conftest import House
from tests.bots.web.conftest import ADA, BOB, Browser, Page, Served
from tests.bots.web.test_pictures import drawn, newest
from tests.ports import free_port

WORDS = web_words_of("en")
PLACE = "discord:5/6"


def painted(width: int = 64, height: int = 64, white: int = 20) -> bytes:
    """Return a mask, black but for a white square in a corner."""
    mask = Image.new("L", (width, height))
    mask.paste(255, (0, 0, white, white))
    mask.save(file := io.BytesIO(), "PNG")
    return file.getvalue()


async def sent(browser: Browser, path: str, mask: bytes | None, texts: dict[str, str]) -> Page:
    """Send the form of a page that was opened."""
    await browser.get(path)
    data: dict[str, Any] = dict(texts)
    if mask is not None:
        data["mask"] = file = io.BytesIO(mask)
        file.name = "mask.png"
    return await browser.post(path, data)


def a_page() -> tuple[str, dict[str, str]]:
    """Return the address of a page, and the settings that serve it."""
    port = free_port()
    return f"http://127.0.0.1:{port}", {"MARBLE_WEB_PORT": str(port)}


@asynccontextmanager
async def entered(url: str) -> AsyncIterator[tuple[Browser, str]]:
    """Yield a browser that came by a link from a chat, and the path that it led to."""
    origin, _, path = url.partition("/in/")
    async with ClientSession(cookie_jar=CookieJar(unsafe=True)) as client:
        browser = Browser(origin, client)
        await browser.get(f"/in/{path}")
        page = await browser.post(f"/in/{path}")
        assert page.status == 200, page.words
        found = re.search(r'action="(/brush/[^"]+)"', page.text)
        assert found, page.words
        yield browser, found[1]


async def opened(served: Served, job: Job, person: str = BOB, message: str = "discord:77") -> str:
    """Return the address that the button of a message opens for somebody."""
    await served.app.storage.jobs.shown(job.id, {message: None})
    grant = Grant(
        person=person,
        job=job.id,
        picture=0,
        message=message,
        place=PLACE,
        reply={"channel": 6, "person": 2},
    )
    token = await served.app.storage.web_access.grant(grant)
    return f"/brush/{job.id}?grant={token}"


async def test_what_is_painted_over_is_drawn_anew_with_other_words(
    house: House, served: Served, ada: Browser
) -> None:
    job = await drawn(house, count=2)
    words = "a dog --seed 7"
    page = await sent(ada, f"/brush/{job.id}.2", painted(), {"words": words, "tool": "brush"})
    assert page.status == 200, page.words
    made = await newest(served)
    recipe, picture = made.recipe, job.pictures[1]
    assert (made.parent, made.parent_picture, made.person) == (job.id, 1, ADA)
    assert (recipe.prompt, recipe.seed, recipe.image) == ("a dog", 7, picture.sha256)
    assert recipe.mask
    mask = Image.open(io.BytesIO(house.storage.pictures.fetch(recipe.mask)))
    assert mask.getbbox() == (0, 0, 20, 20)


async def test_soft_edges_and_strength_are_those_of_the_form(
    house: House, served: Served, ada: Browser
) -> None:
    job = await drawn(house)
    texts = {"strength": "0.5", "feather": "8", "words": "a dog"}
    await sent(ada, f"/brush/{job.id}", painted(), texts)
    recipe = (await newest(served)).recipe
    assert recipe.strength == 0.5
    assert recipe.mask
    mask = Image.open(io.BytesIO(house.storage.pictures.fetch(recipe.mask)))
    assert mask.getpixel((20, 5)) not in (0, 255)


async def test_a_canvas_is_made_larger(house: House, served: Served, ada: Browser) -> None:
    job = await drawn(house)
    texts = {"tool": "extend", "words": "a cat by the sea"}
    texts |= {"left": "0", "right": "64", "top": "", "bottom": "8"}
    page = await sent(ada, f"/brush/{job.id}", None, texts)
    assert page.status == 200, page.words
    recipe = (await newest(served)).recipe
    assert recipe.margins == Margins(right=64, bottom=8)
    assert (recipe.width, recipe.height, recipe.prompt) == (128, 72, "a cat by the sea")


@pytest.mark.parametrize(
    ("mask", "texts", "said"),
    [
        (None, {}, WORDS.nothing_painted),
        (painted(white=0), {}, "black"),
        (painted(64, 32), {}, "64 × 32"),
        (b"no picture", {}, "picture"),
        (painted(), {"feather": "-1"}, "feather must be between 0 and 64, not '-1'."),
        (painted(), {"feather": "nan"}, "feather must be"),
        (painted(), {"strength": "7"}, "strength must be"),
        (painted(), {"words": "a cat --seed red"}, "seed must be"),
        (None, {"tool": "extend"}, "margins must be above 0 on one side at least"),
        (None, {"tool": "extend", "left": "-8"}, "margin must be"),
        (None, {"tool": "extend", "left": "1e3"}, "margin must be"),
        (None, {"tool": "extend", "left": "9" * 5000}, "margin must be"),
        (None, {"tool": "extend", "left": "2048", "right": "2048"}, "width must be"),
    ],
    ids=lambda value: "mask" if isinstance(value, bytes) else repr(value)[:40],
)
async def test_what_cannot_be_drawn_gets_a_sentence_and_keeps_what_was_filled_in(
    house: House,
    served: Served,
    ada: Browser,
    mask: bytes | None,
    texts: dict[str, str],
    said: str,
) -> None:
    job = await drawn(house)
    words = texts.get("words", "a dog with wings")
    page = await sent(ada, f"/brush/{job.id}", mask, {**texts, "words": words})
    assert page.status == 400
    assert said in page.words
    assert words in page.words
    for name, text in texts.items():
        shown = re.findall(rf'name="{name}"[^>]* value="([^"]*)"( checked)?', page.text)
        assert name == "words" or (text, " checked" if name == "tool" else "") in shown
    assert [each.id for each in await served.app.storage.history.page()] == [job.id]


async def test_anothers_picture_is_as_if_it_were_not_there(
    house: House, served: Served, ada: Browser
) -> None:
    job = await drawn(house, person=BOB)
    for path in (f"/brush/{job.id}", f"/originals/{job.id}.png", "/brush/99"):
        assert (await ada.get(path)).status == 404
    assert (await ada.post(f"/brush/{job.id}", {"words": "a dog"})).status == 404


async def test_a_chats_button_opens_a_picture_for_whom_it_was_pressed_alone(
    house: House, served: Served, ada: Browser
) -> None:
    job = await drawn(house, person=ADA, place=PLACE)
    path = await opened(served, job)
    query = path.partition("?")[2]
    bob = await served.sign_in(BOB)
    assert (await bob.get(path)).status == 200
    async with bob.client.get(f"{bob.origin}/originals/{job.id}.png?{query}") as answer:
        assert (answer.status, answer.content_type) == (200, "image/png")
    page = await sent(bob, path, painted(), {"words": "a dog"})
    assert page.status == 200, page.words
    made = await newest(served)
    assert (made.person, made.place, made.parent) == (BOB, PLACE, job.id)
    assert dict(made.reply) == {"channel": 6, "person": 2}
    for other in (f"/originals/{job.id}.png", f"/pictures/{job.id}"):
        assert (await bob.get(other)).status == 404
    eve = await served.sign_in("discord:666")
    refused = await eve.get(path)
    assert (refused.status, "Press the message's button again." in refused.words) == (403, True)


async def test_what_a_message_shows_no_longer_cannot_be_used(house: House, served: Served) -> None:
    job, other = await drawn(house, place=PLACE), await drawn(house, place=PLACE)
    path = await opened(served, job)
    bob = await served.sign_in(BOB)
    assert (await bob.get(path.replace(f"/brush/{job.id}", f"/brush/{other.id}"))).status == 404
    token = path.partition("=")[2]
    grant = await served.app.storage.web_access.granted(token, BOB)
    assert grant
    forged = await served.app.storage.web_access.grant(replace(grant, message="discord:78"))
    assert (await bob.get(f"/brush/{job.id}?grant={forged}")).status == 404


async def test_a_page_that_is_signed_out_or_forged_draws_nothing(
    house: House, served: Served, ada: Browser
) -> None:
    job = await drawn(house)
    stranger = served.browser()
    assert (await stranger.get(f"/brush/{job.id}")).status == 401
    await ada.get(f"/brush/{job.id}")
    data = {"csrf": "0" * 64, "words": "a dog", "tool": "extend", "left": "8"}
    assert (await ada.post(f"/brush/{job.id}", data)).status == 403
    assert len(await served.app.storage.history.page()) == 1


async def test_without_a_script_margins_alone_make_the_canvas_larger(
    house: House, served: Served, ada: Browser
) -> None:
    job = await drawn(house)
    texts = {"tool": "brush", "words": "a cat", "left": "64", "right": "0", "top": "", "bottom": ""}
    page = await sent(ada, f"/brush/{job.id}", None, texts)
    assert page.status == 200, page.words
    assert (await newest(served)).recipe.margins == Margins(left=64)
    both = await sent(ada, f"/brush/{job.id}", painted(), texts)
    assert (both.status, WORDS.mask_or_margins in both.words) == (400, True)


async def test_a_grant_opens_no_other_picture_and_posts_none(
    house: House, served: Served, ada: Browser
) -> None:
    """Of one's own nothing comes to the chat of the grant, and that is said."""
    job = await drawn(house, place=PLACE, count=2)
    own = await drawn(house, person=BOB)
    path = await opened(served, job)
    query, bob = path.partition("?")[2], await served.sign_in(BOB)
    for page in (
        await bob.get(f"/brush/{job.id}.2?{query}"),
        await bob.get(f"/originals/{job.id}.2.png?{query}"),
        await sent(bob, f"/brush/{job.id}.2?{query}", painted(), {"words": "a dog"}),
    ):
        assert page.status == 403
    assert (await bob.get(f"/brush/{job.id}.1?{query}")).status == 200
    assert len(await served.app.storage.history.page()) == 2
    await opens_without_chat(served, bob, own, query)


async def opens_without_chat(served: Served, browser: Browser, own: Job, query: str) -> None:
    page = await browser.get(f"/brush/{own.id}?{query}")
    assert (page.status, WORDS.without_chat in page.words) == (200, True)
    assert f'action="/brush/{own.id}"' in page.text
    made = await sent(browser, f"/brush/{own.id}?{query}", painted(), {"words": "a dog"})
    assert (made.status, WORDS.without_chat in made.words) == (200, True)
    job = await newest(served)
    assert (job.parent, job.place, dict(job.reply)) == (own.id, f"web:{own.person}", {})


async def test_a_grant_that_ended_or_is_anothers_opens_ones_own_picture_without_the_chat(
    house: House, served: Served, ada: Browser, monkeypatch: pytest.MonkeyPatch
) -> None:
    own = await drawn(house, person=BOB, place=PLACE)
    bob = await served.sign_in(BOB)
    for query in ("grant=nothing", (await opened(served, own, person=ADA)).partition("?")[2]):
        await opens_without_chat(served, bob, own, query)
    path = await opened(served, own)
    page = await bob.get(path)
    assert (page.status, WORDS.without_chat in page.words) == (200, False)
    monkeypatch.setitem(LIMITS, web_grants, (1, timedelta(0), web_grants.c.created_at))
    await opens_without_chat(served, bob, own, path.partition("?")[2])
    assert (await ada.get(path)).status == 403
