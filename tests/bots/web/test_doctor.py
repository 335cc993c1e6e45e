"""What `marble doctor` says about the web page."""

from __future__ import annotations

import pytest

from bots.operations.doctor import Finding, State, checks_of, examine
from bots.operations.settings import load_settings
from bots.telegram.adapter import LISTEN, webhook_listen

PAGE = {"MARBLE_WEB_PORT": "8080"}
PUBLIC = {**PAGE, "MARBLE_WEB_URL": "https://marble.example"}
CALLED = {**PUBLIC, "MARBLE_TELEGRAM_WEBHOOK_URL": "https://marble.example/telegram"}


async def findings(**environ: str) -> list[Finding]:
    settings = load_settings(environ, env_file="")
    checks = [check for check in checks_of(settings) if "web" in check]
    return [finding async for finding in examine(settings, checks)]


@pytest.mark.parametrize("environ", [PAGE, PUBLIC, CALLED])
async def test_good_settings_are_said_to_be_good(environ: dict[str, str]) -> None:
    [finding] = await findings(**environ)
    assert finding.state is State.GOOD
    assert environ.get("MARBLE_WEB_URL", "http://127.0.0.1:8080") in finding.text


async def test_without_a_page_nothing_is_looked_at() -> None:
    assert await findings() == []


@pytest.mark.parametrize(
    ("environ", "state", "text"),
    [
        ({"MARBLE_WEB_URL": "https://marble.example"}, State.POOR, "no page is served here"),
        ({**PAGE, "MARBLE_WEB_URL": "http://marble.example"}, State.POOR, "is not https"),
        ({**PAGE, "MARBLE_WEB_HOST": "0.0.0.0"}, State.POOR, "listens at 0.0.0.0"),
        ({**PAGE, "MARBLE_METRICS_PORT": "8080"}, State.BAD, "MARBLE_METRICS_PORT has the page's"),
        (
            {**CALLED, "MARBLE_TELEGRAM_WEBHOOK_LISTEN": "127.0.0.1:8443"},
            State.POOR,
            "would pass Telegram's calls to the page",
        ),
        (
            {**PUBLIC, "MARBLE_TELEGRAM_WEBHOOK_URL": "https://marble.example/pictures/1"},
            State.BAD,
            "is a page (/pictures/1)",
        ),
        (
            {**PUBLIC, "MARBLE_TELEGRAM_WEBHOOK_URL": "https://marble.example"},
            State.BAD,
            "is a page (/)",
        ),
    ],
)
async def test_what_is_wrong_is_said_with_a_cure(
    environ: dict[str, str], state: State, text: str
) -> None:
    [finding] = [each for each in await findings(**environ) if each.state is not State.GOOD]
    assert (finding.state, text in finding.text, bool(finding.cure)) == (state, True, True)


@pytest.mark.parametrize(
    ("environ", "where"),
    [
        (CALLED, None),
        ({**CALLED, "MARBLE_TELEGRAM_WEBHOOK_LISTEN": "127.0.0.1:9"}, "127.0.0.1:9"),
        ({**CALLED, "MARBLE_WEB_PORT": "0"}, LISTEN),
        ({**PAGE, "MARBLE_TELEGRAM_WEBHOOK_URL": "https://marble.example/telegram"}, LISTEN),
        ({**CALLED, "MARBLE_WEB_URL": "https://marble.example.org"}, LISTEN),
        ({**PUBLIC, "MARBLE_TELEGRAM_WEBHOOK_URL": "https://marble.example"}, LISTEN),
    ],
)
def test_telegrams_calls_come_in_at_the_page_or_at_an_address_of_their_own(
    environ: dict[str, str], where: str | None
) -> None:
    assert webhook_listen(load_settings(environ, env_file="")) == where
