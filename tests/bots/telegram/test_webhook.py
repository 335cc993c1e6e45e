"""Updates that Telegram brings by itself."""

from __future__ import annotations

import asyncio
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from telegram import BotCommand

from bots.telegram.commands import publish
from bots.telegram.features import Features
from tests.bots.telegram.conftest import TOKEN_SECRET
from tests.fakes.process import Marble
from tests.fakes.telegram.faults import refuse
from tests.fakes.telegram.people import Person
from tests.fakes.telegram.server import TelegramServer
from tests.ports import free_port

URL = "https://marble.example/telegram"


async def test_a_webhook_brings_updates_once_and_only_with_its_secret(
    telegram: TelegramServer, tmp_path: Path, ada: Person
) -> None:
    listen = f"127.0.0.1:{free_port()}"
    telegram.reached = f"http://{listen}/telegram"
    settings = {
        "MARBLE_TELEGRAM_WEBHOOK_URL": URL,
        "MARBLE_TELEGRAM_WEBHOOK_LISTEN": listen,
        "MARBLE_DEBUG": "1",
    }
    marble = Marble(tmp_path, {**telegram.environment, **settings})
    await marble.start()
    try:
        await telegram.until(lambda: telegram.webhook)
        assert telegram.webhook
        assert telegram.webhook["url"] == URL
        said = await ada.says("a cat")
        await ada.chat.picture(said)
        again = {"update_id": telegram.latest, "message": said}
        assert await telegram.call_webhook(again) == 200
        forged = {"update_id": 999_999, "message": {**said, "text": "a forged dog"}}
        assert await telegram.call_webhook(forged, secret="guessed") == 403
        assert await telegram.call_webhook(forged, secret="gu\u00e9ssed") == 403
        assert b" 403 " in await post_bytes(listen, b"gu\xe9ssed")
        unreadable = {"update_id": 999_998, "message": {"message_id": "no message at all"}}
        assert await telegram.call_webhook(unreadable) == 200
        await ada.chat.picture(await ada.says("a second cat"))
        assert len(ada.chat.shown) == 2
    finally:
        await marble.stop()
    assert telegram.polls == 0
    assert TOKEN_SECRET not in marble.log
    assert "Traceback" not in marble.log.partition("an update is skipped")[0]
    assert telegram.webhook["secret_token"] not in marble.log


async def test_with_a_webhook_it_is_asked_again_what_the_server_can_do(
    telegram: TelegramServer, tmp_path: Path, ada: Person
) -> None:
    listen = f"127.0.0.1:{free_port()}"
    telegram.faults.append(refuse("Internal Server Error", "getWebhookInfo", status=500))
    settings = {
        "MARBLE_TELEGRAM_WEBHOOK_URL": URL,
        "MARBLE_TELEGRAM_WEBHOOK_LISTEN": listen,
    }
    marble = Marble(tmp_path, {**telegram.environment, **settings})
    await marble.start()
    try:
        await telegram.until(lambda: telegram.calls_of("setMyCommands"))
    finally:
        await marble.kill()
    asked = [call.status for call in telegram.calls if call.method == "getWebhookInfo"]
    assert asked == [500, 200]


async def test_commands_are_listed_though_nothing_is_known_of_the_server(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("bots.telegram.commands.PATIENCE", 0)
    listed = asyncio.Queue[list[BotCommand]]()

    async def set_my_commands(commands: list[BotCommand], **more: Any) -> None:
        listed.put_nowait(commands)

    def personal() -> bool:
        each = listed.get_nowait()
        return any("is_ephemeral" in command.api_kwargs for command in each)

    bot: Any = SimpleNamespace(set_my_commands=set_my_commands)
    features = Features()
    publishing = asyncio.create_task(publish(bot, features))
    async with asyncio.timeout(5):
        listed.put_nowait(await listed.get())
    for _ in range(10):
        await asyncio.sleep(0)
    assert not any([personal() for _ in range(listed.qsize())])
    features.ephemeral = True
    features.known.set()
    await publishing
    assert any([personal() for _ in range(listed.qsize())])


async def post_bytes(listen: str, secret: bytes) -> bytes:
    """Bring an update whose secret is no text at all; return the first line of the answer."""
    host, _, port = listen.partition(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    writer.write(
        b"POST /telegram HTTP/1.1\r\nHost: marble.example\r\nContent-Length: 2\r\n"
        b"X-Telegram-Bot-Api-Secret-Token: " + secret + b"\r\n\r\n{}"
    )
    line = await reader.readline()
    writer.close()
    await writer.wait_closed()
    return line
