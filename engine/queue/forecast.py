"""Forecasts: each job's queue position and expected end, by playing the queue to its end.

A copy of the order plays with the same code. Of a long queue only the first jobs are played; those
behind them are ordered by the start tags of their owners, and expected to go as fast as the first.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from heapq import heappop, heappush
from typing import Final

from engine.queue.order import Order
from engine.queue.placement import Placement
from engine.queue.tasks import Forecast, Priority

PLAYED: Final = 1000  # waiting jobs
SLICE: Final = 25  # starts or ends of jobs between two lists
LOOKS: Final = 500  # jobs that are only ordered between two lists


def forecast(
    order: Order, now: float, slots: int, played: int = PLAYED
) -> Iterator[list[Forecast]]:
    """Yield every job's forecast, by end, in lists between which little is done: each may be empty.

    Everything is as of now: later changes of the order do not show. It assumes no further jobs, no
    pause and at least one slot.
    """
    return _Play(order, now, max(1, slots), played).run()


class _Play:
    def __init__(self, order: Order, now: float, slots: int, played: int) -> None:
        self._order, self._twin = order, order.copy(played)
        self._waiting = order.tasks()
        self._running = list(order.runs())
        self._now, self._slots, self._played = now, slots, played

    def run(self) -> Iterator[list[Forecast]]:
        twin, speeds, now, begun = self._twin, self._order.speeds, self._now, self._now
        ends, found, placed = Ends(twin.engines), list[Forecast](), set[int]()
        sure = all(speeds.has_measured(task.work.measured_as) for task, _ in self._running)
        for task, seconds in self._running:
            ends.add(task.job, seconds, 0, sure)
            if len(ends) % SLICE == 0:
                yield []
        twin.revive()
        work = last = 0.0
        steps = 0
        while True:
            if len(placed) < self._played and (next_task := twin.choose(now, self._slots)):
                placed.add(next_task.job)
                sure = sure and speeds.has_measured(next_task.work.measured_as)
                ends.add(next_task.job, twin.seconds_of(next_task.job), len(placed), sure)
                work, last = work + speeds.seconds(next_task.work), now
            elif ends:
                end, job, place, known = ends.pop()
                now = max(now, end)
                twin.done(job, now, measured=False)
                found.append(Forecast(job, place, now if known else None))
            else:
                break
            steps += 1
            if steps % SLICE == 0:
                yield found
                found = []
        yield found
        stuck = len(placed) < self._played  # no engine has what is left needs
        rate = 0.0 if stuck or last <= begun or not sure else work / (last - begun)
        yield from self._rest(placed, last, rate)

    def _rest(self, placed: set[int], last: float, rate: float) -> Iterator[list[Forecast]]:
        """Forecast the other jobs, which begin after a time and go on at a rate, if known."""
        order, speeds = self._order, self._order.speeds
        tags: dict[Priority, dict[str, float]] = {priority: {} for priority in Priority}
        # Plain tuples of numbers, which the garbage collector does not go through.
        line: list[tuple[int, float, int, int]] = []
        for number, task in enumerate(self._waiting):
            own, person = tags[task.priority], task.person
            tag = own[person] if person in own else order.start_of(task.priority, person)
            own[person] = tag + speeds.seconds(task.work)
            if task.job not in placed:
                heappush(line, (task.priority.value, tag, task.job, number))
            if number % LOOKS == 0:
                yield []
        sure, found = rate > 0, list[Forecast]()
        for place in range(len(placed) + 1, len(placed) + len(line) + 1):
            task = self._waiting[heappop(line)[-1]]
            sure = sure and speeds.has_measured(task.work.measured_as)
            last += speeds.seconds(task.work) / rate if sure else 0.0
            found.append(Forecast(task.job, place, last if sure else None))
            if len(found) == LOOKS:
                yield found
                found = []
        yield found


class Ends:
    """The ends of running jobs, in the order in which they are expected on all engines."""

    def __init__(self, engines: Placement) -> None:
        self._engines = engines
        # By engine: the virtual time at which a job ends, the job, its position, whether it is sure
        self._by_engine: dict[str, list[tuple[float, int, int, bool]]] = {}
        # Second of an engine's next end, its job, the engine, its changes by then.
        self._next: list[tuple[float, int, str, int]] = []
        self._changes: Counter[str] = Counter()  # of an engine's jobs
        self._changed: set[str] = set()
        self._count = 0

    def __len__(self) -> int:
        return self._count

    def add(self, job: int, seconds: float, position: int, sure: bool) -> None:
        """Add a running job that will have used so many seconds of its engine."""
        name = self._engines.engine_of(job)
        end = self._engines.meter_of(job).end(job, seconds)
        heappush(self._by_engine.setdefault(name, []), (end, job, position, sure))
        self._changed.add(name)
        self._count += 1

    def pop(self) -> tuple[float, int, int, bool]:
        """Remove the first end; return its second, the job, its position, whether it is sure."""
        for name in self._changed:
            self._changes[name] += 1
            if ends := self._by_engine[name]:
                end, job, *_ = ends[0]
                second = self._engines.meter_of(job).time(end)
                heappush(self._next, (second, job, name, self._changes[name]))
        self._changed.clear()
        while True:
            second, job, name, change = heappop(self._next)
            if change == self._changes[name]:
                _, _, position, sure = heappop(self._by_engine[name])
                self._changed.add(name)
                self._count -= 1
                return second, job, position, sure
