import asyncio

import pytest

from engine.errors import UserError
from engine.queue.estimates import Work
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


async def settle() -> None:
    """Let every task of the loop go as far as it can."""
    for _ in range(10):
        await asyncio.sleep(0)


async def test_who_waits_for_work_gets_it_when_it_comes() -> None:
    queue = Queue(Slots(1))
    waiting = asyncio.create_task(queue.next(), name="next")
    await settle()
    queue.submit(task(1))
    assert await waiting == task(1)


async def test_the_next_job_starts_when_a_slot_is_freed() -> None:
    queue = Queue(Slots(1))
    queue.submit(task(1))
    queue.submit(task(2))
    await queue.next()
    waiting = asyncio.create_task(queue.next(), name="next")
    await settle()
    assert not waiting.done()
    queue.done(1)
    assert await waiting == task(2)


async def test_a_paused_queue_goes_on_when_resumed() -> None:
    queue = Queue(Slots(1))
    queue.pause("Back at noon.")
    queue.submit(task(1))
    waiting = asyncio.create_task(queue.next(), name="next")
    await settle()
    assert (waiting.done(), queue.reason) == (False, "Back at noon.")
    queue.resume()
    assert await waiting == task(1)


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


async def test_a_long_forecast_lets_others_have_the_loop() -> None:
    queue = Queue(Slots(1))
    for n in range(1000):
        queue.submit(task(n, f"person {n % 7}"))
    turns = 0

    async def others() -> None:
        nonlocal turns
        while True:
            turns += 1
            await asyncio.sleep(0)

    busy = asyncio.create_task(others(), name="others")
    places = [place async for place in queue.forecast()]
    busy.cancel()
    assert (len(places), queue.waiting) == (1000, 1000)
    assert turns >= 10


async def test_times_are_told_from_now_and_not_while_paused() -> None:
    now = 0.0
    queue = Queue(Slots(1), clock=lambda: now)
    queue.speeds.learn(task(0).work, 5.0)
    queue.submit(task(1))
    [place] = [place async for place in queue.forecast()]
    now = 2.0
    assert queue.seconds_until(place) == pytest.approx(3.0)
    queue.pause("Back at noon.")
    assert queue.seconds_until(place) is None


async def test_a_job_waits_in_line_until_the_engine_is_ready() -> None:
    wanted, made = asyncio.Event(), asyncio.Event()

    async def ready() -> None:
        wanted.set()
        await made.wait()

    queue = Queue(Slots(2), ready=ready)
    following = asyncio.create_task(queue.next(), name="next")
    await settle()
    assert not wanted.is_set(), "an engine was started for nobody"
    queue.submit(task(1))
    queue.submit(task(2))
    async with asyncio.timeout(30):
        await wanted.wait()
    assert queue.cancel(1)
    assert (queue.waiting, queue.running) == (1, 0)
    made.set()
    assert await following == task(2)


async def test_who_is_cancelled_while_the_engine_is_made_leaves_the_queue_waiting() -> None:
    made = asyncio.Event()
    queue = Queue(Slots(1), ready=made.wait)  # type: ignore[arg-type]
    queue.submit(task(1))
    following = asyncio.create_task(queue.next(), name="next")
    await settle()
    queue.cancel(1)
    made.set()
    await settle()
    assert not following.done()
    queue.submit(task(2))
    assert await following == task(2)
