"""`/web` in Telegram: a link in private, buttons where the page has https, and the webhook."""

from __future__ import annotations

import re
from pathlib import Path

from aiohttp import ClientSession, CookieJar

from bots.texts import EN, web_words_of
from tests.bots.telegram.conftest import a_marble
from tests.bots.web.conftest import Browser
from tests.fakes.process import Marble
from tests.fakes.telegram.people import Person, group, text_of
from tests.fakes.telegram.server import TelegramServer
from tests.ports import free_port

PAGE = web_words_of("en")
URL = "https://marble.example"


async def test_a_link_signs_in_who_asked_and_can_be_revoked(
    telegram: TelegramServer, tmp_path: Path, ada: Person
) -> None:
    port = free_port()
    async with (
        a_marble(telegram, tmp_path, MARBLE_WEB_PORT=str(port)),
        ClientSession(cookie_jar=CookieJar(unsafe=True)) as client,
    ):
        browser = Browser(f"http://127.0.0.1:{port}", client)
        answer = await ada.chat.answer(await ada.says("/web"))
        [path] = re.findall(rf"{browser.origin}(/in/[\w-]+)", text_of(answer))
        assert "reply_markup" not in answer  # Telegram takes https alone
        await browser.get(path)
        assert (await browser.post(path)).status == 200
        account = await browser.get("/account")
        assert PAGE.signed_in_as.format(person=f"telegram:{ada.id}") in account.words
        await ada.chat.words(await ada.says("/web logout"), "1 session ended")
        assert (await browser.get("/account")).status == 401
        await ada.chat.words(await ada.says("/web logot"), "did you mean 'logout'?")
        statues = group(telegram)
        await statues.words(await ada.says("/web", to=statues), "This concerns personal data")


async def test_by_https_it_opens_within_telegram_and_telegram_calls_at_the_same_port(
    telegram: TelegramServer, tmp_path: Path, ada: Person
) -> None:
    port = free_port()
    telegram.reached = f"http://127.0.0.1:{port}/telegram"
    settings = {
        "MARBLE_WEB_PORT": str(port),
        "MARBLE_WEB_URL": URL,
        "MARBLE_TELEGRAM_WEBHOOK_URL": f"{URL}/telegram",
    }
    marble = Marble(tmp_path, {**telegram.environment, **settings})
    await marble.start()
    try:
        await telegram.until(lambda: telegram.webhook)
        answer = await ada.chat.answer(await ada.says("/web"))
        [[inside, outside]] = answer["reply_markup"]["inline_keyboard"]
        assert inside["web_app"] == {"url": f"{URL}/mini"}
        assert outside["url"] in text_of(answer)
        assert outside["url"].startswith(f"{URL}/in/")
        forged = {"update_id": 999_999, "message": {}}
        assert await telegram.call_webhook(forged, secret="guessed") == 403
    finally:
        await marble.stop()
    assert telegram.polls == 0


async def test_without_a_page_it_says_so(
    telegram: TelegramServer, marble: Marble, ada: Person
) -> None:
    await ada.chat.words(await ada.says("/web"), EN.no_web)
