"""What `marble doctor` says of a Discord that is set up well, or is not."""

from __future__ import annotations

import pytest
from discord.gateway import DiscordWebSocket
from discord.http import Route

from bots.operations.doctor import Finding, State, checks_of, examine
from bots.operations.settings import load_settings
from tests.fakes.discord import FakeDiscord
from tests.fakes.discord.world import ATTACH, INVITED


@pytest.fixture(autouse=True)
def nothing_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    """Point discord.py back at where it pointed before."""
    monkeypatch.setattr(Route, "BASE", Route.BASE)
    monkeypatch.setattr(DiscordWebSocket, "DEFAULT_GATEWAY", DiscordWebSocket.DEFAULT_GATEWAY)


async def found(discord: FakeDiscord, **changes: str) -> list[Finding]:
    settings = load_settings({**discord.environment, **changes}, env_file="")
    checks = [check for check in checks_of(settings) if "discord" in check]
    return [finding async for finding in examine(settings, checks)]


async def test_all_is_well_and_the_link_asks_for_what_is_needed(discord: FakeDiscord) -> None:
    findings = await found(discord)
    assert {finding.state for finding in findings} == {State.GOOD}
    [link] = [word for each in findings for word in each.text.split() if "https" in word]
    assert f"client_id={discord.bot.id}" in link
    assert f"permissions={INVITED}" in link
    assert "scope=bot+applications.commands" in link


async def test_a_refused_token_is_said_without_it(discord: FakeDiscord) -> None:
    [finding] = await found(discord, MARBLE_DISCORD_TOKEN="some.other.token")
    assert finding.state is State.BAD
    assert "refused" in finding.text
    assert "some.other" not in str(finding)


async def test_missing_permissions_are_named_with_their_server(discord: FakeDiscord) -> None:
    discord.guild.permissions = INVITED & ~ATTACH
    [finding] = [each for each in await found(discord) if each.state is not State.GOOD]
    assert finding.text == "in 'Atelier' it lacks permissions: Attach Files"


async def test_a_bot_in_no_server_is_to_be_invited(discord: FakeDiscord) -> None:
    discord.guild.joined = False
    [finding] = [each for each in await found(discord) if each.state is not State.GOOD]
    assert "no server" in finding.text


async def test_a_discord_that_cannot_be_reached_is_said(discord: FakeDiscord) -> None:
    [finding] = await found(discord, MARBLE_DISCORD_API_BASE="http://127.0.0.1:9/api/v10")
    assert finding.state is State.BAD
    assert "cannot be reached" in finding.text
