"""A rate limiter in which no chat waits for the flood wait of another.

PTB's `AIORateLimiter` halts every chat when one has to wait, and lets a burst through twice at the
edge of a minute; this one has the same interface.
"""

from __future__ import annotations

import asyncio
import re
from collections import deque
from collections.abc import Awaitable, Callable
from functools import partial
from itertools import count
from typing import Any, Final

from telegram.error import ChatMigrated, RetryAfter, TelegramError
from telegram.ext import BaseRateLimiter

from bots.telegram.errors import never_sent, seconds_of
from bots.telegram.supergroups import Supergroups
from bots.worker.delivery import TryLater, back_off
from engine.errors import MarbleError

# Telegram's are thirty a second over all chats and twenty a minute in a group; these leave some
# slack for messages that travel at different speeds. Sent one by one, no thirty arrive at once.
ALL: Final = (1, 1 / 26)  # messages in any so many seconds
GROUP: Final = (20, 61.0)
PRIVATE: Final = (10, 10.0)
RESERVED: Final = 10  # of a group's messages: progress leaves these to answers and pictures
DROPPABLE: Final = "droppable"  # sent at once or not at all
BRIEFLY: Final = "briefly"  # waits for `BRIEF` at most, then raises `TryLater`
BRIEF: Final = 0.5  # seconds
PATIENCE: Final = 900.0  # seconds that an ordinary answer is tried for
CHATS: Final = 1_000  # whose limits are kept
# What counts as a message; to answer a button or delete a message does not.
COUNTED: Final = re.compile(r"(send|edit|copy|forward)(?!ChatAction)")
# What somebody's answer is made of; all else is tried again by whoever calls it, if at all.
ANSWERS: Final = re.compile(rf"{COUNTED.pattern}|deleteMessage|getFile|getChatMember")

Call = Callable[..., Awaitable[Any]]  # given an endpoint and its data


class Dropped(MarbleError):
    """A droppable message was not sent, for lack of room."""


class Window:
    """Allows so many events in any stretch of so many seconds; the caller gives the time."""

    def __init__(self, most: int, seconds: float) -> None:
        self._most = most
        self._seconds = seconds
        self.lock = asyncio.Lock()  # whose turn it is
        self._times: deque[float] = deque()

    def room(self, now: float) -> int:
        """Return how many events may happen now."""
        while self._times and self._times[0] <= now - self._seconds:
            self._times.popleft()
        return self._most - len(self._times)

    def wait(self, now: float) -> float:
        """Return the seconds until one more may happen."""
        return 0.0 if self.room(now) > 0 else self._times[0] + self._seconds - now

    def take(self, now: float) -> None:
        """Note that one happens."""
        self._times.append(now)


class ChatLimit(Window):
    """One chat's limit: its window and its flood wait; first come, first served."""

    def __init__(self, chat: int | str) -> None:
        group = not isinstance(chat, int) or chat < 0
        super().__init__(*(GROUP if group else PRIVATE))
        self._reserved = RESERVED if group else 0
        self._until = 0.0

    def wait(self, now: float) -> float:
        """Return the seconds until one more message may be sent."""
        return max(self._until - now, super().wait(now))

    def has_spare(self, now: float) -> bool:
        """Return whether a droppable message may be sent now."""
        free = self.room(now) > self._reserved
        return free and now >= self._until and not self.lock.locked()

    def pause(self, now: float, seconds: float) -> None:
        """Send nothing for some seconds."""
        self._until = max(self._until, now + seconds)

    def idle(self, now: float) -> bool:
        """Return whether its state is that of a new one."""
        unused = self.room(now) == self._most and now >= self._until
        return unused and not self.lock.locked()


class RateLimiter(BaseRateLimiter[str]):
    """Lets each message wait for its chat's limit and then for that of all chats."""

    def __init__(self, supergroups: Supergroups) -> None:
        self._supergroups = supergroups
        self._all = Window(*ALL)
        self._chats: dict[int | str, ChatLimit] = {}

    async def initialize(self) -> None:
        """Do nothing."""

    async def shutdown(self) -> None:
        """Do nothing."""

    async def process_request(
        self,
        callback: Call,
        args: Any,
        kwargs: dict[str, Any],
        endpoint: str,
        data: dict[str, Any],
        rate_limit_args: str | None,
    ) -> Any:
        """Make a request; to a group that became a supergroup, under the id that it has now.

        Raises `ChatMigrated` where it names a message of the old group, and as `_make` does.
        """
        call = partial(callback, **kwargs)
        data = self._supergroups.redirected(endpoint, data)
        try:
            return await self._make(call, endpoint, data, rate_limit_args)
        except ChatMigrated as error:
            new = error.new_chat_id
            moved = await self._supergroups.after_migration(endpoint, data, new)
            if moved is None:
                raise
            return await self._make(call, endpoint, moved, rate_limit_args)

    async def _make(
        self, call: Call, endpoint: str, data: dict[str, Any], urgency: str | None
    ) -> Any:
        """Make a request when its limits allow it; a flood wait holds up its own chat only.

        Raises `Dropped` for what is `DROPPABLE` and would have to wait, `TryLater` for what waits
        `BRIEFLY` and would have to wait longer. An ordinary answer waits out flood waits, and is
        sent again while it cannot have arrived, for `PATIENCE` seconds.
        """
        chat = data.get("chat_id", data.get("inline_message_id"))
        limit = self._limit(chat) if chat is not None and COUNTED.match(endpoint) else None
        patient = urgency is None and ANSWERS.match(endpoint)
        end = _now() + (PATIENCE if patient else 0)
        for tries in count():
            if limit and urgency == DROPPABLE:
                self._take_at_once(limit)
            elif limit:
                await self._wait(limit, urgency == BRIEFLY)
            try:
                return await call(endpoint, data)
            except RetryAfter as error:
                wait = seconds_of(error)
                if limit:
                    limit.pause(_now(), wait)
                if _now() + wait > end:
                    raise
            except TelegramError as error:
                wait = back_off(tries)
                if not never_sent(error) or _now() + wait > end:
                    raise
            await asyncio.sleep(wait)

    async def _wait(self, limit: ChatLimit, briefly: bool) -> None:
        seconds = limit.wait(_now())
        if briefly and (seconds > BRIEF or limit.lock.locked()):
            raise TryLater(max(seconds, BRIEF))
        async with limit.lock:
            await _sleep(limit.wait)
            async with self._all.lock:
                await _sleep(self._all.wait)
                self._all.take(_now())
            limit.take(_now())

    def _take_at_once(self, limit: ChatLimit) -> None:
        now = _now()
        if self._all.lock.locked() or self._all.wait(now) > 0 or not limit.has_spare(now):
            raise Dropped
        self._all.take(now)
        limit.take(now)

    def _limit(self, chat: int | str) -> ChatLimit:
        if len(self._chats) >= CHATS:
            now = _now()
            self._chats = {key: limit for key, limit in self._chats.items() if not limit.idle(now)}
        return self._chats.setdefault(chat, ChatLimit(chat))


async def _sleep(wait: Callable[[float], float]) -> None:
    """Sleep until there is nothing to wait for; what is waited for may grow meanwhile."""
    seconds = wait(_now())
    while seconds > 0:
        await asyncio.sleep(seconds)
        seconds = wait(_now())


def _now() -> float:
    return asyncio.get_running_loop().time()
