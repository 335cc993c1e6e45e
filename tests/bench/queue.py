"""Measure the queue: python -m tests.bench.queue

With 10,000 jobs waiting all the time, jobs come, start, end and are cancelled; the microseconds of
each operation are printed, and the milliseconds of finding all places in line.
"""

import argparse
import os
import sys
from collections.abc import Callable, Sequence
from random import Random
from statistics import median, quantiles
from time import perf_counter
from typing import Final, TypeVar

from engine.queue.estimates import Work
from engine.queue.forecast import forecast
from engine.queue.order import Order
from engine.queue.tasks import Limits, Task

T = TypeVar("T")

SLOTS: Final = 8
ROUNDS: Final = 5_000
PEOPLE: Final = (1, 100, 1_000, 10_000)
NO_LIMITS: Final = Limits(running=SLOTS, waiting=10**9, length=10**9)


class Crowd:
    """Keep a queue at its length while people come and go, and time what is done to it."""

    def __init__(self, length: int, people: int) -> None:
        self.order = Order(NO_LIMITS)
        self.times: dict[str, list[float]] = {
            name: [] for name in ("submit", "choose", "done", "cancel")
        }
        self._random = Random(people)
        self._people = people
        self._asked = 0
        self._running: list[int] = []
        self._now = 0.0
        for _ in range(length):
            self.come()
        for times in self.times.values():
            times.clear()

    def come(self) -> None:
        person = f"person {self._random.randrange(self._people)}"
        work = Work(
            model=self._random.choice(("starter", "sd15", "sdxl")),
            width=self._random.choice((0.01, 0.5, 2.0)),
            calls=self._random.randint(1, 50),
        )
        self._asked += 1
        task = Task(job=self._asked, person=person, work=work)
        self._time("submit", lambda: self.order.submit(task))

    def start(self) -> None:
        chosen = self._time("choose", lambda: self.order.choose(self._now, SLOTS))
        if chosen:
            self._running.append(chosen.job)

    def end(self) -> None:
        if len(self._running) >= SLOTS:
            self._now += self._random.random()
            job = self._running.pop(self._random.randrange(SLOTS))
            self._time("done", lambda: self.order.done(job, self._now))

    def leave(self) -> None:
        job = self._random.randint(max(1, self._asked - self.order.waiting), self._asked)
        if self.order.is_waiting(job):
            self._time("cancel", lambda: self.order.cancel(job))
            self.come()

    def _time(self, name: str, act: Callable[[], T]) -> T:
        begun = perf_counter()
        result = act()
        self.times[name].append((perf_counter() - begun) * 1e6)
        return result


def measure(length: int, people: int) -> None:
    """Print the times of one crowd."""
    crowd = Crowd(length, people)
    for _ in range(ROUNDS):
        crowd.come()
        crowd.end()
        crowd.start()
        crowd.leave()
        while crowd.order.waiting < length:
            crowd.come()
    begun = perf_counter()
    places = sum(map(len, forecast(crowd.order, 0.0, SLOTS)))
    seconds = perf_counter() - begun
    cells = "".join(f"{_cell(times):>22}" for times in crowd.times.values())
    say(f"{people:>7,}{cells}{seconds * 1e3:>10.0f} ms for {places:,}")


def _cell(times: Sequence[float]) -> str:
    return f"{median(times):.1f} / {quantiles(times, n=100)[98]:.1f} / {max(times):,.0f}"


def say(line: str) -> None:
    """Print a line."""
    sys.stdout.write(f"{line}\n")


def main() -> None:
    """Measure queues of several kinds."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--length", type=int, default=10_000, help="jobs that wait (10000)")
    length = parser.parse_args().length
    say(f"{length:,} jobs waiting; load {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores")
    say("µs of each: median / 99th percentile / worst")
    heads = "".join(f"{name:>22}" for name in ("submit", "choose", "done", "cancel"))
    say(f"{'people':>7}{heads}{'all places':>13}")
    for people in PEOPLE:
        measure(length, people)


if __name__ == "__main__":
    main()
