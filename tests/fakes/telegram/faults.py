"""What can go wrong between a bot and Telegram, as a test scripts it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

Json = dict[str, Any]


@dataclass
class Fault:
    """Spoil the next `times` calls of some methods, or those of one chat.

    Without a `status` the call is taken (`takes`) or not, and the connection is cut (`cut`) or
    answered after `before` and `after` have been waited for.
    """

    methods: tuple[str, ...]
    times: int = 1
    chat: int | None = None
    status: int = 0
    says: str = ""
    seconds: int = 0
    cut: bool = False
    takes: bool = True
    page: bool = False  # what answers is not Telegram, but something before it
    before: Callable[[], Awaitable[Any]] | None = None
    after: Callable[[], Awaitable[Any]] | None = None
    hits: int = 0

    def matches(self, method: str, values: Json) -> bool:
        """Say whether a call is to be spoilt, and count it."""
        if method not in self.methods or self.hits >= self.times:
            return False
        if self.chat is not None and values.get("chat_id") != self.chat:
            return False
        self.hits += 1
        return True


def flood(chat: int, seconds: int, *methods: str) -> Fault:
    """Ask one chat's messages to wait."""
    says = f"Too Many Requests: retry after {seconds}"
    return Fault(methods, chat=chat, status=429, says=says, seconds=seconds)


def refuse(says: str, *methods: str, status: int = 400, times: int = 1) -> Fault:
    """Refuse a call in Telegram's words."""
    return Fault(methods, times=times, status=status, says=says)


def page(*methods: str, status: int = 403, times: int = 1) -> Fault:
    """Answer in Telegram's stead, as proxies do."""
    return Fault(methods, times=times, status=status, page=True)


def lose_answer(*methods: str, times: int = 1) -> Fault:
    """Take a call, and cut the connection before it is answered."""
    return Fault(methods, times=times, cut=True)
