"""Replies: how one that stands is told from one that does not."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace
from typing import Any

import pytest

from bots.telegram import replies
from bots.telegram.replies import MESSAGE, Replies
from storage import Status
from tests.conftest import PATIENCE


class Bot:
    """Send messages, and never come to delete one, as where Telegram asks to wait for long."""

    async def send_message(self, chat: int, *content: Any, **more: Any) -> Any:
        return SimpleNamespace(chat=SimpleNamespace(id=chat), message_id=7)

    async def delete_message(self, chat: int, message: int) -> None:
        await asyncio.Event().wait()


async def test_a_reply_stands_though_its_placeholder_is_not_removed_for_long(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(replies, "REMOVAL", 0.01)
    job = SimpleNamespace(id=1, message="telegram:5/6", reply={"chat": 5})
    pending: Any = SimpleNamespace(job=job, outcome=Status.CANCELLED)
    nobody: Any = None
    bot: Any = Bot()
    async with asyncio.timeout(PATIENCE):
        shown = await Replies(bot, nobody, nobody, nobody).deliver(pending, MESSAGE)
    assert shown == {"telegram:5/7": None}
