"""What `marble doctor` says about Telegram."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from bots.operations.doctor import Finding, State, checks_of, examine
from bots.operations.settings import Settings, load_settings
from tests.bots.telegram.conftest import a_server
from tests.fakes.telegram.server import TOKEN, TelegramServer


@pytest.fixture
async def telegram() -> AsyncIterator[TelegramServer]:
    async with a_server() as server:
        yield server


async def findings(server: TelegramServer, **more: str) -> list[Finding]:
    settings: Settings = load_settings({**server.environment, **more}, env_file="")
    checks = [check for check in checks_of(settings) if "telegram" in check]
    return [finding async for finding in examine(settings, checks)]


async def ailing(server: TelegramServer, **more: str) -> str:
    """Return the one thing that is not good."""
    [finding] = [each for each in await findings(server, **more) if each.state is not State.GOOD]
    assert finding.cure
    return str(finding)


async def test_a_bot_that_is_well_set_up(telegram: TelegramServer) -> None:
    texts = [finding.text for finding in await findings(telegram)]
    assert texts[0].startswith("@marble_test_bot at http://127.0.0.1:")
    assert any("privacy mode is on" in text for text in texts)


async def test_without_a_token_nothing_is_asked() -> None:
    settings = load_settings({}, env_file="")
    assert not any("telegram" in check or "discord" in check for check in checks_of(settings))


async def test_a_token_that_telegram_does_not_know(telegram: TelegramServer) -> None:
    telegram.token = "123456789:another-another-another-another"
    line = await ailing(telegram, MARBLE_TELEGRAM_TOKEN=TOKEN)
    assert "Telegram does not know its token" in line
    assert TOKEN not in line


async def test_a_bot_that_reads_everything(telegram: TelegramServer) -> None:
    telegram.reads_all = True
    assert "privacy mode is off" in await ailing(telegram)


async def test_a_webhook_that_somebody_else_set(telegram: TelegramServer) -> None:
    telegram.webhook = {"url": "https://elsewhere.example/hook"}
    assert "a webhook is set (https://elsewhere.example/hook)" in await ailing(telegram)


WEBHOOK = {
    "MARBLE_TELEGRAM_WEBHOOK_URL": "https://marble.example/hook",
    "MARBLE_TELEGRAM_WEBHOOK_LISTEN": "127.0.0.1:8443",
}


async def test_a_webhook_of_ones_own_that_telegram_cannot_call(telegram: TelegramServer) -> None:
    telegram.webhook = {"url": WEBHOOK["MARBLE_TELEGRAM_WEBHOOK_URL"]}
    assert any(
        "updates come by webhook" in str(each) for each in await findings(telegram, **WEBHOOK)
    )
    telegram.webhook["last_error_message"] = "Connection refused"
    line = await ailing(telegram, **WEBHOOK)
    assert "the last webhook call failed: Connection refused" in line
    assert "MARBLE_TELEGRAM_WEBHOOK_LISTEN" in line


async def test_another_programs_webhook_in_place_of_ones_own(telegram: TelegramServer) -> None:
    telegram.webhook = {"url": "https://elsewhere.example/hook"}
    line = await ailing(telegram, **WEBHOOK)
    assert "another webhook is set (https://elsewhere.example/hook)" in line


async def test_a_telegram_that_cannot_be_reached(telegram: TelegramServer) -> None:
    settings = telegram.environment
    settings["MARBLE_TELEGRAM_API_BASE"] = "http://127.0.0.1:1"
    assert "MARBLE_TELEGRAM_API_BASE" in await ailing(telegram, **settings)


async def test_inline_mode_that_is_off(telegram: TelegramServer) -> None:
    telegram.inline_mode = False
    line = await ailing(telegram)
    assert "inline mode is off" in line
    assert "/setinlinefeedback" in line
