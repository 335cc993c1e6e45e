"""Which proxy leads where, and how all that speaks outward goes through it."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from discord.gateway import DiscordWebSocket
from discord.http import Route
from huggingface_hub.utils._http import close_session, get_session

from bots.operations import proxy
from bots.operations.doctor import checks_of, examine
from bots.operations.proxy import proxy_for
from bots.operations.settings import Settings, load_settings
from engine.errors import SettingError, UserError
from tests.bots.discord.conftest import Marble as DiscordMarble
from tests.bots.presentation.test_presentation import png
from tests.bots.telegram.conftest import a_marble, a_server
from tests.conftest import DISCORD_SPEC
from tests.fakes.discord import FakeDiscord
from tests.fakes.process import Marble
from tests.fakes.proxy import PASSWORD, a_proxy
from tests.fakes.telegram.people import person

API, HUB = "https://discord.com/api/v10", "https://huggingface.co"
OURS, THEIRS = "http://ours:3128", "http://theirs:3128"


@pytest.fixture(autouse=True)
def environment(monkeypatch: pytest.MonkeyPatch) -> Iterator[pytest.MonkeyPatch]:
    """Begin with no proxy, and let none stay."""
    for name in (*proxy.VARIABLES, "no_proxy"):
        for each in (name, name.upper()):
            monkeypatch.setenv(each, "")
            monkeypatch.delenv(each)
    monkeypatch.setattr(Route, "BASE", Route.BASE)
    monkeypatch.setattr(DiscordWebSocket, "DEFAULT_GATEWAY", DiscordWebSocket.DEFAULT_GATEWAY)
    yield monkeypatch
    close_session()


def settings(**given: str) -> Settings:
    return load_settings(given, env_file="")


def test_none_is_used_where_none_is_named() -> None:
    assert proxy_for(settings(), API) is None


@pytest.mark.parametrize("name", ["HTTPS_PROXY", "https_proxy", "ALL_PROXY"])
@pytest.mark.parametrize("address", [API, "wss://gateway.discord.gg"])
def test_the_environment_decides_where_nothing_is_set(
    environment: pytest.MonkeyPatch, name: str, address: str
) -> None:
    environment.setenv(name, THEIRS)
    assert proxy_for(settings(), address) == THEIRS
    assert proxy_for(settings(MARBLE_PROXY=OURS), address) == OURS
    assert proxy_for(settings(MARBLE_PROXY="off"), address) is None


def test_what_no_proxy_names_is_reached_directly(environment: pytest.MonkeyPatch) -> None:
    environment.setenv("HTTPS_PROXY", THEIRS)
    environment.setenv("NO_PROXY", "localhost,discord.com")
    for chosen in (settings(), settings(MARBLE_PROXY=OURS)):
        assert proxy_for(chosen, API) is None
        assert proxy_for(chosen, "http://localhost:8081") is None
        assert proxy_for(chosen, HUB)


def test_one_that_marble_does_not_speak_with_is_refused_without_its_password(
    environment: pytest.MonkeyPatch,
) -> None:
    environment.setenv("HTTPS_PROXY", "socks5://me:secret@theirs:1080")
    with pytest.raises(SettingError, match=r"HTTPS_PROXY.*a proxy like http") as caught:
        proxy_for(settings(), API)
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize(
    "value", ["socks5://x:y@host:1", "proxy:1080", "http://a b", "http://u:p@"]
)
def test_a_setting_that_is_no_proxy_is_refused_without_being_shown(value: str) -> None:
    with pytest.raises(SettingError, match=r"MARBLE_PROXY.*or off") as caught:
        settings(MARBLE_PROXY=value)
    assert value not in str(caught.value)


def test_a_password_is_neither_shown_nor_kept_where_others_read_it(tmp_path: Path) -> None:
    chosen = settings(MARBLE_PROXY="http://me:se%20cret@ours:3128")
    assert "cret" not in repr(chosen)
    assert {*proxy.secrets_of(chosen)} == {"se%20cret", "se cret"}
    file = tmp_path / ".env"
    file.write_text("MARBLE_PROXY=http://me:secret@ours:3128\n")
    file.chmod(0o644)
    with pytest.raises(UserError, match="chmod 600"):
        load_settings({}, env_file=str(file))


def test_the_hub_s_client_follows_the_setting(environment: pytest.MonkeyPatch) -> None:
    environment.setenv("HTTPS_PROXY", THEIRS)
    proxy.export(settings())
    assert os.environ["HTTPS_PROXY"] == THEIRS
    proxy.export(settings(MARBLE_PROXY=OURS))
    close_session()
    mounts = {pattern.pattern: way for pattern, way in get_session()._mounts.items()}
    assert {"https://", "http://"} <= mounts.keys()
    assert b"ours" in mounts["https://"]._pool._proxy_url.host  # type: ignore[union-attr]
    proxy.export(settings(MARBLE_PROXY="off"))
    assert not any(name.upper() in os.environ for name in proxy.VARIABLES)


async def test_doctor_says_which_is_used_and_hides_its_password(
    environment: pytest.MonkeyPatch,
) -> None:
    token = "aaa.bbb.ccc"
    environment.setenv("NO_PROXY", "huggingface.co")
    chosen = settings(MARBLE_PROXY="http://me:secret@ours:3128", MARBLE_DISCORD_TOKEN=token)
    [check] = [check for check in checks_of(chosen) if check.endswith("check_proxy")]
    texts = [finding.text async for finding in examine(chosen, [check])]
    assert texts == [
        "http://…@ours:3128 is used to reach Discord (from MARBLE_PROXY)",
        "no proxy is used to reach the hub",
    ]
    [alone] = [finding async for finding in examine(replace(chosen, proxy="off"), [check])]
    assert alone.text == "no proxy is used to reach Discord, the hub"


async def test_discord_s_requests_gateway_and_attachments_go_through_it(tmp_path: Path) -> None:
    async with FakeDiscord.start(DISCORD_SPEC) as discord:
        port = int(discord.url.rpartition(":")[2])
        # A name that nobody but the proxy knows; what is given to people stays as it is.
        there = "discord.invalid"
        async with a_proxy(port) as way:
            named = {
                "MARBLE_PROXY": way.url,
                "MARBLE_DISCORD_API_BASE": f"http://{there}/api/v10",
                "MARBLE_DISCORD_GATEWAY": f"ws://{there}/gateway",
                "MARBLE_DEBUG": "1",
            }
            marble = DiscordMarble(discord, tmp_path / "data", named)
            await marble.start()
            try:
                ann = discord.person("ann")
                image = ann.uploads("cat.png", png())
                await (await ann.imagine("a cat", image=image)).picture()
            finally:
                await marble.kill()
    assert PASSWORD not in marble.log
    for what in ("/users/@me", "/gateway?", "/interactions/", "/webhooks/", "/attachments/"):
        assert any(what in line for line in way.asked), what


async def test_telegram_s_calls_and_files_go_through_it(tmp_path: Path) -> None:
    async with a_server() as server, a_proxy(server.port) as way:
        named = {
            "MARBLE_PROXY": way.url,
            "MARBLE_TELEGRAM_API_BASE": "http://telegram.invalid",
            "MARBLE_TELEGRAM_FILE_BASE": "http://telegram.invalid/file",
        }
        async with a_marble(server, tmp_path, **named) as marble:
            ada = person(server)
            await ada.chat.picture(await ada.sends_photo(png(), "a cat"))
    assert PASSWORD not in marble.log
    for what in ("getMe", "getUpdates", "editMessageMedia", "/file/"):
        assert any(what in line for line in way.asked), what


async def test_a_proxy_that_refuses_is_no_verdict_on_a_token(tmp_path: Path) -> None:
    async with a_server() as server, a_proxy(server.port) as way:
        named = {
            "MARBLE_PROXY": way.url.replace(PASSWORD, "another-pass-word"),
            "MARBLE_TELEGRAM_API_BASE": "http://telegram.invalid",
        }
        marble = Marble(tmp_path, {**server.environment, **named})
        await marble.start()
        try:
            await marble.says("what answered 407 is not Telegram")
        finally:
            await marble.kill()
    assert "refuses Marble" not in marble.log
    assert "another-pass-word" not in marble.log
