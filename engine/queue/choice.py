"""One choice: whose job starts next, and on which engine.

People are looked at in turn until a job of one starts. Others are put aside, for one cause each:

    passed over, for this choice alone: their job had better wait for a full engine that holds its
        model, or would have to load one while somebody waits so; or it is to run alone, and no
        engine is without jobs
    parked (`engine.queue.turns`): every engine that may run their job is full or reserved

A person passed over keeps their turn, and is next as soon as one of these engines has room. One
whose job had better wait for a full engine may be passed by those whose turn comes within this one
job of theirs; where there is nobody, it starts on an engine that has room, unless all that waits
would be done sooner by waiting. So nobody falls behind by more than one job of their own for it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, NamedTuple

from engine.queue.estimates import Speeds
from engine.queue.placement import Found, Placement
from engine.queue.tasks import Priority, Task
from engine.queue.turns import Passed, Turns

LOOK: Final = 8  # people who may be passed over in one choice, for the engines' sake
SUSPECTS: Final = 64  # of them whose jobs are to run alone
PARKED: Final = 1000  # people who may be parked in one choice, some 10 ms


class Turn(NamedTuple):
    """Whose turn it is, and their next job."""

    priority: Priority
    name: str
    task: Task


@dataclass(frozen=True, slots=True)
class _Waiting:
    """Whose job had better wait for a full engine, and which other engine has room for it."""

    turn: Turn
    found: Found
    until: float  # start tag of those who may pass


class Choice:
    """Looks once for the job that starts; what was found out stays to be read.

    following: returns whose turn it is. reserved: engines kept for jobs that are to run alone.
    cut_short: the choice ended before all were looked at, so that it does not take too long.
    """

    def __init__(
        self,
        turns: Turns,
        engines: Placement,
        speeds: Speeds,
        now: float,
        following: Callable[[], Turn | None],
    ) -> None:
        self._turns, self._engines, self._speeds, self._now = turns, engines, speeds, now
        self._following = following
        self._passed: list[Passed] = []
        self._looked = 0  # people passed over whose jobs need no engine to themselves
        self._parked = 0
        self._waiting: _Waiting | None = None  # the first who waits for a full engine
        self._over = False
        self.reserved: set[str] = set()
        self.cut_short = False

    def find(self) -> tuple[Turn, str] | None:
        """Return whose job starts and on which engine, where no full engine would cost it less."""
        try:
            # It is asked at the end, too, which drops the outdated entries of who was put aside.
            while (turn := self._following()) and not self._over:
                if (engine := self._look_at(turn)) is not None:
                    return turn, engine
        finally:
            for each in reversed(self._passed):
                self._turns.restore(each)
        return None

    def find_beside(self, waiting: int) -> tuple[Turn, str] | None:
        """Return the same for who waits for a full engine, where nobody else was found.

        waiting: how many jobs wait in all.
        """
        waits = self._waiting
        if waits is None or waits.found.engine in self.reserved:
            return None
        if (waiting - 1) * self._speeds.seconds(waits.turn.task.work) < waits.found.better:
            return None  # all that waits is done sooner there
        return waits.turn, waits.found.engine

    def _look_at(self, turn: Turn) -> str | None:
        """Return the engine where a job starts; else put the person aside, or end the choice."""
        task = turn.task
        if self._parked == PARKED:
            self.cut_short = self._over = True
        elif not self._may_pass(turn):
            self._over = True
        elif self._waiting and not task.alone and not self._engines.holds_with_room(task):
            self._pass_over(turn)
        elif found := self._engines.find(task, self._speeds, self._now, self.reserved):
            if not found.better:
                return found.engine
            self._let_wait(turn, found)
        elif task.alone:
            self._reserve(turn)
        else:
            self._park(turn)
        return None

    def _may_pass(self, turn: Turn) -> bool:
        """Whether a person's turn comes soon enough after who waits for a full engine."""
        if not (waits := self._waiting):
            return True
        start = self._turns.start_of(turn.priority, turn.name)
        return turn.priority == waits.turn.priority and start <= waits.until

    def _pass_over(self, turn: Turn) -> None:
        self._passed.append(self._turns.pass_over(turn.priority, turn.name))
        self._looked += not turn.task.alone
        self._over = self._looked == LOOK or len(self._passed) == SUSPECTS

    def _let_wait(self, turn: Turn, found: Found) -> None:
        """Let a job wait for a full engine that costs it less than one with room."""
        if self._waiting is None:
            start = self._turns.start_of(turn.priority, turn.name)
            until = start + self._speeds.seconds(turn.task.work)
            self._waiting = _Waiting(turn, found, until)
        self._pass_over(turn)

    def _reserve(self, turn: Turn) -> None:
        """Keep the engine that is empty first for a job that is to run alone.

        More of them than `LOOK` wait for the engines of those before them.
        """
        if len(self.reserved) < LOOK:
            held = self._engines.reserve(turn.task, self.reserved)
            self.reserved |= set() if held is None else {held}
        if self._engines.has_room_beside(self.reserved):
            self._pass_over(turn)
        else:
            self._over = True

    def _park(self, turn: Turn) -> None:
        if (where := self._engines.restriction(turn.task)) is None:
            self._over = True  # nobody else finds room either
        else:
            self._turns.park(turn.priority, turn.name, turn.task.job, where)
            self._parked += 1
