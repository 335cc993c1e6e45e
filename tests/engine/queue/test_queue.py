import asyncio
from dataclasses import replace
from itertools import chain

import pytest

from engine.errors import UserError
from engine.queue.engines import Facts
from engine.queue.estimates import Work
from engine.queue.order import PARKED
from engine.queue.queue import Queue
from engine.queue.tasks import Limits, Task


class Slots:
    """Say how many jobs may run, as an executor does."""

    def __init__(self, free: int) -> None:
        self.free = free

    def __call__(self) -> int:
        return self.free


def task(job: int, person: str = "ada") -> Task:
    return Task(job=job, person=person, work=Work(model="m", width=1.0, calls=1))


async def test_a_job_that_comes_may_start() -> None:
    queue = Queue(Slots(1))
    assert (queue.start(), queue.wants(), queue.retry.is_set()) == (None, False, False)
    queue.submit(task(1))
    assert (queue.wants(), queue.retry.is_set()) == (True, True)
    assert queue.start() == task(1)


async def test_the_next_job_starts_when_a_slot_is_freed() -> None:
    queue = Queue(Slots(1))
    queue.submit(task(1))
    queue.submit(task(2))
    assert queue.start() == task(1)
    queue.retry.clear()
    assert (queue.start(), queue.wants(), queue.idle.is_set()) == (None, False, False)
    queue.done(1)
    assert (queue.retry.is_set(), queue.idle.is_set()) == (True, True)
    assert queue.start() == task(2)


async def test_a_paused_queue_goes_on_when_resumed() -> None:
    queue = Queue(Slots(1))
    queue.pause("Back at noon.")
    queue.submit(task(1))
    queue.retry.clear()
    assert (queue.start(), queue.wants(), queue.order.reason) == (None, False, "Back at noon.")
    queue.resume()
    assert queue.retry.is_set()
    assert queue.start() == task(1)


async def test_a_place_is_kept_while_a_job_is_committed_and_not_longer() -> None:
    queue = Queue(Slots(1), Limits(waiting=1))
    with (
        queue.reserve("ada"),
        pytest.raises(UserError, match="waiting, the most allowed"),
        queue.reserve("ada"),
    ):
        pass
    with pytest.raises(RuntimeError), queue.reserve("ada"):
        raise RuntimeError("the commit failed")
    with queue.reserve("ada"):
        queue.submit(task(1))
    with pytest.raises(UserError, match="waiting, the most allowed"), queue.reserve("ada"):
        pass


async def test_times_are_told_from_now_and_not_while_paused() -> None:
    now = 0.0
    queue = Queue(Slots(1), clock=lambda: now)
    queue.order.speeds.learn(task(0).work, 5.0)
    queue.submit(task(1))
    [place] = chain.from_iterable(queue.forecast())
    now = 2.0
    assert queue.seconds_until(place) == pytest.approx(3.0)
    queue.pause("Back at noon.")
    assert queue.seconds_until(place) is None


async def test_a_long_look_at_those_who_must_wait_is_continued_after_a_pause() -> None:
    queue = Queue(lambda: 0, Limits(running=1, waiting=1, length=10_000))
    queue.put("a", Facts(slots=1, has=frozenset("m")))
    queue.put("b", Facts(slots=0, has=frozenset("mx")))
    for job in range(PARKED + 1):
        queue.submit(replace(task(job, f"{job}"), needs=frozenset("x")))
    queue.submit(task(PARKED + 1, "ada"))
    assert queue.start() is None
    queue.retry.clear()
    await queue.retry.wait()
    assert queue.start() == task(PARKED + 1, "ada")
    queue.retry.clear()
    assert queue.start() is None
    await asyncio.sleep(0)
    assert not queue.retry.is_set()
