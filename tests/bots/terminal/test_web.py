"""`marble web`: a link for this machine's owner, opened where there is a browser."""

from __future__ import annotations

import asyncio
import re
import socket
import webbrowser
from pathlib import Path

import pytest

from bots.terminal.places import person
from storage import Storage
from tests.bots.terminal.conftest import Marble
from tests.ports import free_port


@pytest.fixture
def opened(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Return the addresses that a browser was told to open."""
    urls: list[str] = []
    monkeypatch.setattr(webbrowser, "open", urls.append)
    monkeypatch.setenv("DISPLAY", ":0")
    return urls


@pytest.fixture
def port(monkeypatch: pytest.MonkeyPatch) -> int:
    monkeypatch.setenv("MARBLE_WEB_PORT", str(port := free_port()))
    return port


def test_it_opens_a_link_that_signs_in_the_owner(
    marble: Marble, data: Path, opened: list[str], port: int
) -> None:
    async def spend(token: str) -> str:
        async with Storage.open(data) as storage:
            spent = await storage.web_access.spend(token)
            return spent[1].person if spent else "nobody"

    with socket.create_server(("127.0.0.1", port)):  # as `marble serve` does
        answer = marble("web")
    assert answer.code == 0
    [url] = re.findall(rf"http://127.0.0.1:{port}/in/[\w-]+", answer.out)
    assert opened == [url]
    assert asyncio.run(spend(url.rpartition("/")[2])) == person()
    assert marble("web", "--logout").out == "1 session ended.\n"


def test_without_a_screen_the_link_is_printed_alone(
    marble: Marble, opened: list[str], port: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("DISPLAY")
    monkeypatch.delenv("WAYLAND_DISPLAY", raising=False)
    with socket.create_server(("127.0.0.1", port)):
        assert "/in/" in marble("web").out
    assert opened == []


def test_where_nothing_serves_it_says_so(marble: Marble, opened: list[str], port: int) -> None:
    answer = marble("web")
    assert (answer.code, answer.out, opened) == (2, "", [])
    assert f"Nothing answers at 127.0.0.1:{port}: start `marble serve` first." in answer.err


def test_without_a_page_it_says_how_to_get_one(marble: Marble) -> None:
    answer = marble("web")
    assert (answer.code, "set MARBLE_WEB_PORT" in answer.err) == (2, True)
