"""What goes wrong on the way: a database that is away, an upload that breaks off, a port in use."""

from __future__ import annotations

import asyncio
import json
import logging

import pytest
from aiohttp import web

from bots.service.app import App
from bots.service.front_door import listening
from bots.service.kept import KeptAdapter
from bots.service.serve import make_adapters
from bots.texts import web_words_of, words_of
from bots.web.adapter import Web
from engine.errors import UserError
from storage.errors import DatabaseBusy
from tests.bots.web.conftest import Browser, Served
from tests.conftest import PATIENCE

EN, ZH = web_words_of("en"), words_of("zh")


async def test_a_database_that_is_away_is_one_sentence_and_worth_another_try(
    served: Served, ada: Browser, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def busy(*_: object, **__: object) -> None:
        raise DatabaseBusy("marble.db")

    with monkeypatch.context() as away:
        away.setattr(type(served.app.storage.database), "read", busy)
        page = await ada.get("/account")
        assert (page.status, page.headers["Retry-After"]) == (503, "5")
        assert words_of("en").busy in page.words
        script = await ada.get(
            "/account", headers={"Accept": "application/json", "Accept-Language": "zh"}
        )
        assert (script.status, json.loads(script.text)) == (503, {"error": ZH.busy})
    assert (await ada.get("/account")).status == 200


async def test_a_fault_that_nobody_expected_is_one_sentence_and_stands_in_the_log(
    served: Served, ada: Browser, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    async def broken(*_: object) -> None:
        raise RuntimeError("inner words")

    monkeypatch.setattr(type(served.app.storage.web_access), "end", broken)
    with caplog.at_level(logging.ERROR, "bots.web"):
        page = await ada.post("/out")
    assert (page.status, EN.broken in page.words) == (500, True)
    assert "inner words" not in page.text
    assert "inner words" in caplog.text


async def test_a_tab_that_is_closed_in_mid_upload_leaves_nothing(
    served: Served, ada: Browser, caplog: pytest.LogCaptureFixture
) -> None:
    assert ada.page
    [(name, token)] = ada.cookies.items()
    with caplog.at_level(logging.INFO):
        _, writer = await asyncio.open_connection("127.0.0.1", served.app.settings.web_port)
        writer.write(
            f"POST /out HTTP/1.1\r\nHost: x\r\nCookie: {name}={token}\r\n"
            f"Origin: {served.origin}\r\nContent-Type: application/x-www-form-urlencoded\r\n"
            f"Content-Length: 1000\r\n\r\ncsrf={ada.page.csrf}&".encode()
        )
        await writer.drain()
        writer.close()
        await writer.wait_closed()
        assert (await ada.get("/account")).status == 200  # nobody was signed out
    assert not [record for record in caplog.records if record.levelno >= logging.ERROR]


async def test_more_than_was_announced_is_refused(served: Served, ada: Browser) -> None:
    """Sent in chunks, whose length no header tells."""

    async def chunks() -> object:
        yield b"csrf="
        for _ in range(200):
            yield b"x" * 1000

    headers = {"Origin": ada.origin, "Content-Type": "application/x-www-form-urlencoded"}
    async with ada.client.post(ada.origin + "/out", data=chunks(), headers=headers) as answer:
        assert answer.status == 413
    assert (await ada.get("/account")).status == 200


async def reached(port: int) -> bool:
    """Return whether something listens at a port."""
    try:
        _, writer = await asyncio.open_connection("127.0.0.1", port)
    except OSError:
        return False
    writer.close()
    await writer.wait_closed()
    return True


async def test_the_adapter_serves_until_it_is_told_to_stop(app: App) -> None:
    adapters = {adapter.name: adapter for adapter in make_adapters(app)}
    adapter, port = adapters["web"], app.settings.web_port
    assert isinstance(adapter, Web)
    assert isinstance(adapters["terminal"], KeptAdapter)
    running = asyncio.create_task(adapter.run())
    async with asyncio.timeout(PATIENCE):
        while not await reached(port):  # which takes a turn of the loop
            assert not running.done()
        assert not running.done()
        adapter.stop_intake()
        await running
    assert not await reached(port)


async def test_a_port_in_use_is_named_with_its_setting(app: App) -> None:
    port = app.settings.web_port
    async with listening(web.Application(), "127.0.0.1", port, "MARBLE_METRICS_PORT"):
        with pytest.raises(UserError, match="choose another MARBLE_WEB_PORT"):
            await Web(app).run()
