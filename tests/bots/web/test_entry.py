"""Signing in and out, and the choice of a language."""

from __future__ import annotations

import asyncio
import re
from html import unescape

import pytest

from bots.texts import web_words_of
from bots.web.request import Route, place_of
from bots.web.site import ROUTES, page_of
from tests.bots.conftest import House
from tests.bots.web.conftest import ADA, BOB, Browser, Page, Served
from tests.bots.web.test_pictures import drawn

EN, ZH = web_words_of("en"), web_words_of("zh")


async def link(served: Served, person: str = ADA, path: str = "/account") -> str:
    return f"/in/{await served.app.storage.web_access.make_link(person, path)}"


async def test_who_is_not_signed_in_is_told_how(served: Served) -> None:
    browser = served.browser()
    first = await browser.get("/")
    assert (first.status, EN.sign_in_how in first.words) == (200, True)
    account = await browser.get("/account")
    assert (account.status, EN.sign_in_how in account.words) == (401, True)


async def test_looking_at_a_link_spends_nothing_and_its_button_signs_in(served: Served) -> None:
    path, browser = await link(served), served.browser()
    for _ in range(3):  # the programs of a chat that make previews
        assert EN.enter_as.format(person=ADA) in (await browser.get(path)).words
    async with browser.client.head(served.origin + path) as answer:
        assert answer.status == 200
    assert not browser.cookies
    page = await browser.post(path)
    assert (page.status, page.path) == (200, "/account")
    assert EN.signed_in_as.format(person=ADA) in page.words


async def test_a_link_works_once(served: Served) -> None:
    path = await link(served)
    assert (await served.browser().post(path)).status == 200
    late = served.browser()
    for page in (await late.get(path), await late.post(path)):
        assert (page.status, EN.link_used in page.words) == (410, True)
    assert not late.cookies


async def test_of_two_who_use_a_link_at_once_one_gets_in(served: Served) -> None:
    path, browsers = await link(served), [served.browser() for _ in range(8)]
    pages = await asyncio.gather(*(browser.post(path) for browser in browsers))
    assert sorted(page.status for page in pages) == [200] + [410] * 7
    assert sum(bool(browser.cookies) for browser in browsers) == 1


async def test_signing_in_again_ends_the_session_before(served: Served, ada: Browser) -> None:
    [before] = ada.cookies.values()
    await ada.post(await link(served, BOB))
    page = await ada.get("/account")
    assert EN.signed_in_as.format(person=BOB) in page.words
    assert before not in ada.cookies.values()
    assert await served.app.storage.web_access.signed_in(before, place_of) is None


async def test_signing_out_ends_the_session_and_not_only_the_cookie(
    served: Served, ada: Browser
) -> None:
    [token] = ada.cookies.values()
    page = await ada.post("/out")
    assert (page.status, page.path, ada.cookies) == (200, "/", {})
    assert await served.app.storage.web_access.signed_in(token, place_of) is None


async def test_signing_out_everywhere_ends_the_sessions_of_one_person(
    served: Served, ada: Browser
) -> None:
    elsewhere, bob = await served.sign_in(ADA), await served.sign_in(BOB)
    await ada.post("/out", {"everywhere": "1"})
    assert (await elsewhere.get("/account")).status == 401
    assert (await bob.get("/account")).status == 200


@pytest.mark.parametrize(
    ("accepted", "words"),
    [
        ("", EN),
        ("zh-TW,zh;q=0.9,en;q=0.8", ZH),
        ("fr, en;q=0.5, zh;q=0.7", ZH),
        ("en-GB,zh;q=0.9", EN),
        ("q=;;,,zh;q=x,de", EN),
    ],
)
async def test_the_page_speaks_the_language_of_the_browser(
    served: Served, accepted: str, words: object
) -> None:
    page = await served.browser().get("/", headers={"Accept-Language": accepted})
    assert words.sign_in_how in page.words  # type: ignore[attr-defined]


async def test_a_chosen_language_is_kept(ada: Browser) -> None:
    page = await ada.post("/language", {"language": "zh", "back": "/account"})
    assert (page.path, ZH.signed_in_as.format(person=ADA) in page.words) == ("/account", True)
    await ada.post("/language", {"language": "nonsense", "back": "/account"})
    assert '<html lang="zh">' in (await ada.get("/account")).text


def back_of(page: Page) -> str:
    """Return where the choice of a language leads from a page."""
    found = re.search(r'name="back" value="([^"]+)"', page.text)
    assert found, page.words
    return unescape(found[1])


@pytest.mark.parametrize(
    "route", [each for each in ROUTES if each.method == "POST"], ids=lambda r: r.path
)
def test_from_every_address_of_a_form_the_way_back_is_a_page(route: Route) -> None:
    address = re.sub(r"\{(\w+)\}", "1", route.path)
    pages = {re.sub(r"\{(\w+)\}", "1", each.path) for each in ROUTES if each.method == "GET"}
    assert page_of(route.path, f"{address}?grant=x").partition("?")[0] in pages


async def test_a_language_that_is_chosen_shows_the_same_page_again(
    house: House, served: Served, ada: Browser
) -> None:
    await drawn(house, "a cat")
    for path in ("/pictures?q=cat&before=9", "/pictures?favourites=1", "/brush/1?grant=x", "/no"):
        assert back_of(await ada.get(path)) == path


@pytest.mark.parametrize(
    ("path", "data", "page"),
    [
        ("/pictures/1/edit", {"words": ""}, "/pictures/1"),
        ("/pictures/1.1/change", {"prompt": "a --steps 0"}, "/pictures/1.1"),
        ("/imagine/read", {}, "/imagine"),
        ("/imagine", {"prompt": "a --steps 0"}, "/imagine"),
        ("/brush/1?a=b", {}, "/brush/1?a=b"),
        ("/jobs/99/cancel", {}, "/"),
    ],
)
async def test_a_language_that_is_chosen_after_a_form_failed_leads_to_the_page_of_the_form(
    path: str, data: dict[str, str], page: str, house: House, served: Served, ada: Browser
) -> None:
    await drawn(house)
    failed = await ada.post(path, data)
    assert failed.status >= 400
    assert back_of(failed) == page
    answer = await ada.post("/language", {"language": "zh", "back": page})
    assert (answer.status, ZH.change_language in answer.words) == (200, True)
