"""Keep within Telegram's limits, and let nobody wait for somebody else's flood wait.

`AIORateLimiter` halts every chat when one has to wait, and lets a burst through twice at the edge
of a minute; so this is a rate limiter of our own, behind the same interface.
"""

from __future__ import annotations

import asyncio
import re
from collections import deque
from collections.abc import Callable, Coroutine
from itertools import count
from typing import Any, Final

from telegram.error import RetryAfter, TelegramError
from telegram.ext import BaseRateLimiter

from bots.telegram.troubles import never_sent, seconds_of
from bots.worker.delivery import TryLater, back_off
from engine.errors import MarbleError

# Telegram's are thirty a second over all chats and twenty a minute in a group; these leave some
# slack for messages that travel at different speeds. Sent one by one, no thirty arrive at once.
ALL: Final = (1, 1 / 26)  # messages in any so many seconds
GROUP: Final = (20, 61.0)
PRIVATE: Final = (10, 10.0)
RESERVED: Final = 10  # of a group's messages: progress leaves these to answers and pictures
SPARE: Final = "spare"  # what may as well be left unsaid: sent at once or not at all
BRIEFLY: Final = "briefly"  # what is to be tried again rather than waited for: see `TryLater`
BRIEF: Final = 0.5  # seconds that it waits all the same
PATIENCE: Final = 900.0  # seconds that an ordinary answer is tried for
LANES: Final = 1_000  # chats that are remembered
# What counts as a message; to answer a button or delete a message does not.
COUNTED: Final = re.compile(r"(send|edit|copy|forward)(?!ChatAction)")
# What somebody's answer is made of; all else is tried again by whoever calls it, if at all.
ANSWERS: Final = re.compile(rf"{COUNTED.pattern}|deleteMessage|getFile|getChatMember")


class Crowded(MarbleError):
    """Say that there is no room now for what could be left unsaid."""


class Window:
    """Allow so many events in any stretch of so many seconds; plain code, told the time."""

    def __init__(self, most: int, seconds: float) -> None:
        self._most = most
        self._seconds = seconds
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


class Lane:
    """One chat's share: its own window, and its own flood wait; first come, first served."""

    def __init__(self, chat: int | str) -> None:
        group = not isinstance(chat, int) or chat < 0
        self.turn = asyncio.Lock()
        self._window = Window(*(GROUP if group else PRIVATE))
        self._reserved = RESERVED if group else 0
        self._until = 0.0

    def wait(self, now: float) -> float:
        """Return the seconds until one more message may be sent."""
        return max(self._until - now, self._window.wait(now))

    def has_spare(self, now: float) -> bool:
        """Say whether something may be sent now that could be left unsaid."""
        free = self._window.room(now) > self._reserved
        return free and now >= self._until and not self.turn.locked()

    def take(self, now: float) -> None:
        """Note that a message is sent."""
        self._window.take(now)

    def pause(self, now: float, seconds: float) -> None:
        """Send nothing for so long."""
        self._until = max(self._until, now + seconds)

    def idle(self, now: float) -> bool:
        """Say whether nothing is left to remember."""
        return self.wait(now) <= 0 and not self.turn.locked()


class Pace(BaseRateLimiter[str]):
    """Let each message wait for its chat's turn and then for everybody's."""

    def __init__(self) -> None:
        self.waits = 0  # flood waits that Telegram asked for all the same
        self._all = Window(*ALL)
        self._turn = asyncio.Lock()
        self._lanes: dict[int | str, Lane] = {}

    async def initialize(self) -> None:
        """Do nothing."""

    async def shutdown(self) -> None:
        """Do nothing."""

    async def process_request(
        self,
        callback: Callable[..., Coroutine[Any, Any, Any]],
        args: Any,
        kwargs: dict[str, Any],
        endpoint: str,
        data: dict[str, Any],
        rate_limit_args: str | None,
    ) -> Any:
        """Make a request when its turn has come; a flood wait holds up its own chat only.

        Raises `Crowded` for what is to spare and would have to wait, `TryLater` for what waits
        `BRIEFLY` and would have to wait longer. An ordinary answer waits out flood waits, and is
        sent again while it cannot have arrived, for as long as somebody may still wait for it.
        """
        chat = data.get("chat_id")
        lane = self._lane(chat) if chat is not None and COUNTED.match(endpoint) else None
        patient = rate_limit_args is None and ANSWERS.match(endpoint)
        end = _now() + (PATIENCE if patient else 0)
        for tries in count():
            if lane and rate_limit_args == SPARE:
                self._spare(lane)
            elif lane:
                await self._wait(lane, rate_limit_args == BRIEFLY)
            try:
                return await callback(*args, **kwargs)
            except RetryAfter as error:
                self.waits += 1
                wait = seconds_of(error)
                if lane:
                    lane.pause(_now(), wait)
                if _now() + wait > end:
                    raise
            except TelegramError as error:
                wait = back_off(tries)
                if not never_sent(error) or _now() + wait > end:
                    raise
            await asyncio.sleep(wait)

    async def _wait(self, lane: Lane, briefly: bool) -> None:
        seconds = lane.wait(_now())
        if briefly and (seconds > BRIEF or lane.turn.locked()):
            raise TryLater(max(seconds, BRIEF))
        async with lane.turn:
            await _sleep(lane.wait)
            async with self._turn:
                await _sleep(self._all.wait)
                self._all.take(_now())
            lane.take(_now())

    def _spare(self, lane: Lane) -> None:
        now = _now()
        if self._turn.locked() or self._all.wait(now) > 0 or not lane.has_spare(now):
            raise Crowded
        self._all.take(now)
        lane.take(now)

    def _lane(self, chat: int | str) -> Lane:
        if len(self._lanes) >= LANES:
            now = _now()
            self._lanes = {key: lane for key, lane in self._lanes.items() if not lane.idle(now)}
        return self._lanes.setdefault(chat, Lane(chat))


async def _sleep(wait: Callable[[float], float]) -> None:
    """Sleep until there is nothing to wait for; what is waited for may grow meanwhile."""
    seconds = wait(_now())
    while seconds > 0:
        await asyncio.sleep(seconds)
        seconds = wait(_now())


def _now() -> float:
    return asyncio.get_running_loop().time()
