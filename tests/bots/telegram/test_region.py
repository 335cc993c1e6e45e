"""The button that opens a picture on the web page, from a group and from a private chat."""

from __future__ import annotations

import re
from pathlib import Path

from bots.texts import EN
from tests.bots.telegram.conftest import a_marble
from tests.bots.web.test_brush import a_page, entered, painted, sent
from tests.fakes.telegram.people import Person, group, labels, person, text_of
from tests.fakes.telegram.server import NAME, TelegramServer


async def test_a_groups_button_leads_to_the_private_chat_and_back(
    telegram: TelegramServer, tmp_path: Path, ada: Person
) -> None:
    _, settings = a_page()
    statues, bob, eve = group(telegram, 5), person(telegram, 2), person(telegram, 3)
    async with a_marble(telegram, tmp_path, **settings):
        picture = await statues.picture(await ada.says("/imagine an owl --size 64", to=statues))
        await bob.presses(picture, EN.region)
        invited = await statues.words(picture, EN.region_private)
        [[button]] = invited["reply_markup"]["inline_keyboard"]
        before, _, token = button["url"].partition("?start=")
        assert before == f"https://t.me/{NAME}"
        refused = await eve.says(f"/start {token}")
        await eve.chat.words(refused, "by somebody else")
        told = await bob.chat.words(await bob.says(f"/start {token}"), EN.region_how)
        async with entered(text_of(told).splitlines()[-1]) as (browser, path):
            page = await sent(browser, path, painted(), {"words": "an owl with a crown"})
            assert page.status == 200, page.words
            result = await statues.picture(picture)
        assert text_of(result).startswith("an owl with a crown\n")


async def test_in_a_private_chat_the_button_gives_the_link_itself(
    telegram: TelegramServer, tmp_path: Path, ada: Person
) -> None:
    origin, settings = a_page()
    async with a_marble(telegram, tmp_path, **settings):
        picture = await ada.chat.picture(await ada.says("two owls --count 2 --size 64"))
        await ada.presses(picture, "2")
        await telegram.until(lambda: EN.region in labels(picture))
        await ada.presses(picture, EN.region)
        told = await ada.chat.words(picture, EN.region_how)
        async with entered(text_of(told).splitlines()[-1]) as (browser, path):
            assert browser.origin == origin
            assert re.match(r"/brush/\d+\.2\?grant=", path)


async def test_without_a_page_there_is_no_button(telegram: TelegramServer, tmp_path: Path) -> None:
    ada = person(telegram)
    async with a_marble(telegram, tmp_path):
        picture = await ada.chat.picture(await ada.says("an owl --size 64"))
        assert EN.region not in labels(picture)
        name = text_of(picture).splitlines()[1].split()[0]
        pressed = await ada.sends_data(picture, f"region:{name}")  # below an old message
        assert await telegram.answer_to(pressed) == EN.no_web
