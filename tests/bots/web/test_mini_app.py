"""The page within Telegram: what Telegram signs is believed, once and for a day."""

from __future__ import annotations

import hashlib
import hmac
import json
import time
from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Any
from urllib.parse import urlencode

import pytest

from bots.service.app import App
from bots.texts import web_words_of
from bots.web.errors import Refused
from bots.web.mini_app import AHEAD, OLDEST, read_init_data
from bots.web.request import place_of
from storage.errors import DatabaseBusy
from storage.people.web_access import WebAccess
from tests.bots.web.conftest import Browser, Page, Served, serving

TOKEN = "123456:AAbbCCddEEffGGhhIIjjKKllMMnnOOppQQr"
NOW = 1_790_000_000.0
EN = web_words_of("en")


def init_data(now: float = NOW, token: str = TOKEN, **more: Any) -> str:
    """Return what Telegram's apps hand to a page, signed as its documentation says."""
    fields = {
        "query_id": "AAHdF6IQAAAAAN0XohDhrOrc",
        "user": json.dumps({"id": 2, "first_name": "Bö & Co=", "language_code": "en"}),
        "auth_date": str(int(now)),
        "signature": "abc_def",
        **more,
    }
    lines = "\n".join(f"{name}={value}" for name, value in sorted(fields.items()))
    secret = hmac.new(b"WebAppData", token.encode(), hashlib.sha256).digest()
    return urlencode({**fields, "hash": hmac.new(secret, lines.encode(), "sha256").hexdigest()})


def test_what_telegram_signed_says_who_it_is() -> None:
    person, given = read_init_data(init_data(), TOKEN, NOW)
    assert (person, len(given)) == ("telegram:2", 64)


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ("", "not_telegram"),
        ("nonsense", "not_telegram"),
        ("hash=", "not_telegram"),
        ("hash=%ff&a=%00", "not_telegram"),
        (init_data().replace("%22id%22%3A+2", "%22id%22%3A+3"), "not_telegram"),
        (init_data()[:-1] + "g", "not_telegram"),
        (init_data() + "&user=%7B%22id%22%3A3%7D", "not_telegram"),  # a second one
        (init_data() + "&more=1", "not_telegram"),
        (init_data(token="654321:AAbbCCddEEffGGhhIIjjKKllMMnnOOppQQr"), "not_telegram"),
        (init_data(user="[" * 100_000), "not_telegram"),
        (init_data(user="{}"), "not_telegram"),
        (init_data(auth_date="soon"), "not_telegram"),
        (init_data(NOW - OLDEST - 1), "open_again"),
        (init_data(NOW + AHEAD + 1), "open_again"),
    ],
)
def test_what_is_forged_or_old_is_refused(data: str, message: str) -> None:
    with pytest.raises(Refused) as refused:
        read_init_data(data, TOKEN, NOW)
    assert refused.value.message == message


@pytest.fixture
async def telegram_page(app: App) -> AsyncIterator[Served]:
    """Yield the page of a Marble that has a bot, reached by TLS."""
    settings = replace(app.settings, telegram_token=TOKEN)
    async with serving(replace(app, settings=settings)) as served:
        yield served


async def open_it(browser: Browser, data: str, **more: str) -> Page:
    fields = {"init_data": data, **more}
    headers = {
        "Origin": browser.origin,
        "Sec-Fetch-Site": "same-origin",
        "Accept": "application/json",
    }
    return await browser.post("/mini", fields, headers=headers)


async def test_who_comes_from_telegram_is_signed_in_once(telegram_page: Served) -> None:
    browser, data = telegram_page.browser(), init_data(time.time())
    await browser.get("/mini")
    answer = await open_it(browser, data, to="/account")
    assert (answer.status, json.loads(answer.text)) == (200, {"to": "/account"})
    account = await browser.get("/account")
    assert EN.signed_in_as.format(person="telegram:2") in account.words
    again = await open_it(browser, data, to="https://evil.example/")  # reloaded by the same person
    assert (again.status, json.loads(again.text)) == (200, {"to": "/"})
    other = telegram_page.browser()
    replayed = await open_it(other, data)
    assert (replayed.status, json.loads(replayed.text)) == (403, {"error": EN.open_again})
    assert not other.cookies


async def test_another_account_of_the_same_app_gets_its_own_session(
    telegram_page: Served,
) -> None:
    browser = telegram_page.browser()
    await open_it(browser, init_data(time.time()))
    [before] = browser.cookies.values()
    await browser.get("/mini")
    user = json.dumps({"id": 3})
    assert (await open_it(browser, init_data(time.time(), user=user))).status == 200
    account = await browser.get("/account")
    assert EN.signed_in_as.format(person="telegram:3") in account.words
    assert await telegram_page.app.storage.web_access.signed_in(before, place_of) is None


async def test_only_pages_for_telegram_may_be_framed_and_only_there(
    telegram_page: Served,
) -> None:
    browser = telegram_page.browser()

    async def ancestors(path: str) -> str:
        policy = (await browser.get(path)).headers["Content-Security-Policy"]
        return str(policy.partition("frame-ancestors ")[2])

    assert await ancestors("/") == "'none'"
    telegrams = "https://web.telegram.org https://*.telegram.org"
    assert await ancestors("/mini") == telegrams
    await open_it(browser, init_data(time.time()))
    assert await ancestors("/account") == telegrams
    linked = await telegram_page.sign_in("discord:1")
    assert (await linked.get("/account")).headers["Content-Security-Policy"].endswith("'none'")


async def test_without_a_bot_there_is_no_such_page(served: Served) -> None:
    assert (await served.browser().get("/mini")).status == 404


async def test_what_telegram_signed_opens_no_second_session_after_all_was_deleted(
    telegram_page: Served,
) -> None:
    data, storage = init_data(time.time()), telegram_page.app.storage
    assert (await open_it(telegram_page.browser(), data)).status == 200
    await storage.privacy.forget("telegram:2")
    again = telegram_page.browser()
    assert (await open_it(again, data)).status == 403
    assert not again.cookies


async def test_who_could_not_be_signed_in_may_come_again(
    telegram_page: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The session and that it was opened are written together, or neither."""

    def away(*_: object) -> str:
        raise DatabaseBusy("marble.db")

    data, browser = init_data(time.time()), telegram_page.browser()
    with monkeypatch.context() as broken:
        broken.setattr(WebAccess, "_open", away)
        assert (await open_it(browser, data)).status == 503
    assert (await open_it(browser, data)).status == 200
