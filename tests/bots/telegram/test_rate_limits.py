"""Limits: exact in any stretch of time, and nobody waits for somebody else."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from telegram.error import RetryAfter

from bots.telegram.rate_limits import (
    BRIEFLY,
    DROPPABLE,
    GROUP,
    PRIVATE,
    RESERVED,
    ChatLimit,
    Dropped,
    RateLimiter,
    Window,
)
from bots.telegram.supergroups import Supergroups
from bots.worker.delivery import TryLater


@given(st.lists(st.floats(0, 30), max_size=60))
def test_no_stretch_of_time_holds_more_than_it_may(pauses: list[float]) -> None:
    window, now = Window(3, 10.0), 0.0
    taken: list[float] = []
    for pause in pauses:
        now += pause
        while (wait := window.wait(now)) > 0:
            now += wait + 1e-9  # clocks do not stop at the edge either
        window.take(now)
        taken.append(now)
    for first, fourth in zip(taken, taken[3:], strict=False):
        assert fourth - first >= 10.0 - 1e-6


def test_progress_leaves_a_group_room_for_pictures() -> None:
    limit = ChatLimit(-5)
    for _ in range(GROUP[0] - RESERVED):
        assert limit.has_spare(0.0)
        limit.take(0.0)
    assert not limit.has_spare(0.0)
    assert limit.wait(0.0) == 0


def test_a_flood_wait_holds_up_the_chat_whatever_its_window_says() -> None:
    limit = ChatLimit(5)
    limit.pause(100.0, 7.0)
    assert limit.wait(101.0) == pytest.approx(6.0)
    assert not limit.has_spare(101.0)
    assert limit.wait(107.0) <= 0


def test_a_chat_is_forgotten_only_once_its_window_is_empty() -> None:
    limit = ChatLimit(-5)
    limit.take(0.0)
    assert not limit.idle(GROUP[1] / 2)
    assert limit.idle(GROUP[1] + 1)
    limit.pause(GROUP[1], 7.0)
    assert not limit.idle(GROUP[1] + 6)


class Calls:
    """Reply calls, some by asking to wait."""

    def __init__(self) -> None:
        self.made: list[tuple[str, Any]] = []
        self.refuse: set[Any] = set()

    async def __call__(self, endpoint: str, data: dict[str, Any]) -> bool:
        self.made.append((endpoint, data.get("chat_id")))
        if data.get("chat_id") in self.refuse:
            raise RetryAfter(3600)
        return True

    def make(
        self, limiter: RateLimiter, endpoint: str, chat: int | None, urgency: str | None = None
    ) -> Coroutine[Any, Any, Any]:
        data = {} if chat is None else {"chat_id": chat}
        return limiter.process_request(self, (endpoint, data), {}, endpoint, data, urgency)


def a_limiter() -> RateLimiter:
    nobody: Any = None
    return RateLimiter(Supergroups(nobody))


async def test_one_chats_flood_wait_lets_the_others_go_on() -> None:
    limiter, calls = a_limiter(), Calls()
    calls.refuse = {1}
    with pytest.raises(RetryAfter):
        await calls.make(limiter, "sendMessage", 1)
    waiting = asyncio.create_task(calls.make(limiter, "sendMessage", 1))
    await calls.make(limiter, "sendMessage", 2)
    await calls.make(limiter, "answerCallbackQuery", None)
    assert not waiting.done()
    waiting.cancel()
    assert [chat for _, chat in calls.made] == [1, 2, None]


async def test_messages_in_chats_that_are_not_known_have_a_limit_each() -> None:
    limiter, calls = a_limiter(), Calls()

    async def edit(inline: str) -> None:
        data = {"inline_message_id": inline}
        await limiter.process_request(calls, (), {}, "editMessageText", data, BRIEFLY)

    for _ in range(GROUP[0]):
        await edit("one")
    with pytest.raises(TryLater):
        await edit("one")
    await edit("another")


async def test_what_is_to_spare_is_left_unsaid_rather_than_waited_for() -> None:
    limiter, calls = a_limiter(), Calls()
    for _ in range(PRIVATE[0]):
        await calls.make(limiter, "editMessageText", 1)
    with pytest.raises(Dropped):
        await calls.make(limiter, "editMessageText", 1, DROPPABLE)
    await calls.make(limiter, "editMessageText", 2)
    await calls.make(limiter, "deleteMessage", 1)


async def test_chats_of_long_ago_are_forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("bots.telegram.rate_limits.CHATS", 2)
    monkeypatch.setattr("bots.telegram.rate_limits.PRIVATE", (1, 0.0))
    limiter, calls = a_limiter(), Calls()
    for chat in range(1, 10):
        await calls.make(limiter, "sendMessage", chat)
    assert len(limiter._chats) <= 2
