"""Exports in Telegram: as many files as it takes, and nothing left where one is refused."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
from telegram import InputFile
from telegram.error import Forbidden

from bots.admission.gate import Gate
from bots.admission.roles import Roles
from bots.operations.settings import load_settings
from bots.requests.studio import Asker
from bots.telegram import commands
from bots.telegram.address import Address
from bots.telegram.features import Features
from bots.telegram.request import Request
from engine.errors import UserError
from storage import Storage
from tests.storage.care.test_care import delivered
from tests.storage.conftest import a_job

MOST = 20_000


@dataclass
class Chat:
    """Take documents as Telegram does, or none."""

    closed: bool = False
    sent: list[tuple[int, str, int, str]] = field(default_factory=list)

    async def send_document(self, chat: int, document: InputFile, *, caption: str) -> None:
        if self.closed:
            raise Forbidden("bot was blocked by the user")
        content = document.input_file_content
        assert isinstance(content, bytes)
        self.sent.append((chat, document.filename, len(content), caption))


async def export(storage: Storage, chat: Chat, folder: Path) -> None:
    settings = replace(load_settings({}, env_file=""), data_dir=folder)
    gate = Gate(storage, Roles(), {})
    app = SimpleNamespace(storage=storage, settings=settings, gate=gate)
    request = Request(
        app=cast(Any, app),
        bot=cast(Any, chat),
        placeholders=cast(Any, None),
        replies=cast(Any, None),
        asker=Asker(person="telegram:7", place="telegram:7"),
        address=Address(chat=7),
        features=Features(),
    )
    await commands.export(request)


async def test_an_export_that_one_file_cannot_hold_comes_in_several(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(commands, "DOCUMENT", MOST)
    chat = Chat()
    async with Storage.open(tmp_path) as storage:
        pictures = [bytes([number]) * 9_000 for number in range(5)]
        await delivered(storage, a_job(person="telegram:7"), *pictures)
        await export(storage, chat, tmp_path)
    names = [f"marble-{number}-of-3.zip" for number in (1, 2, 3)]
    assert [(who, name) for who, name, _, _ in chat.sent] == [(7, name) for name in names]
    assert all(size <= MOST for _, _, size, _ in chat.sent)
    captions = [caption for *_, caption in chat.sent]
    assert captions[0].startswith("Part 1 of 3. Everything stored about you: 5 pictures")
    assert captions[1:] == ["Part 2 of 3.", "Part 3 of 3."]
    assert not list((tmp_path / "exports").iterdir())


async def test_whoever_takes_no_messages_hears_so_and_nothing_is_left(tmp_path: Path) -> None:
    async with Storage.open(tmp_path) as storage:
        await delivered(storage, a_job(person="telegram:7"), b"drawn")
        with pytest.raises(UserError, match="cannot send you a DM"):
            await export(storage, Chat(closed=True), tmp_path)
    assert not list((tmp_path / "exports").iterdir())
