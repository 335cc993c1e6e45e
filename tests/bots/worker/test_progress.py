import asyncio
from itertools import chain

import pytest

from bots.worker.progress import JobNews, PositionPublisher, steady
from engine.events import Waiting
from engine.queue.estimates import Work
from engine.queue.queue import Queue
from engine.queue.tasks import Forecast, Task


@pytest.fixture
def queue() -> Queue:
    """Return a queue whose clock stands at 100 s and whose jobs take 10 s."""
    queue = Queue(lambda: 1, clock=lambda: 100.0)
    queue.order.speeds.learn(task(0).work, 10.0)
    return queue


def task(job: int, person: str = "ada") -> Task:
    return Task(job=job, person=person, work=Work(model="m", width=1.0, calls=1))


@pytest.mark.parametrize(
    ("promised", "found", "told"),
    [
        (150, 140, 140),  # sooner is told at once
        (150, 150, 150),
        (150, 155, 150),  # later by little is not
        (150, 170, 170),
        (104, 105.5, 104),
        (104, 108, 108),
        (None, 150, 150),
        (150, None, None),
    ],
)
def test_a_time_is_held_to_unless_it_is_much_too_early(
    queue: Queue, promised: float | None, found: float | None, told: float | None
) -> None:
    place = steady(Forecast(1, 3, promised), Forecast(1, 2, found), queue)
    assert (place.position, place.ends_at) == (2, told)


async def test_who_waits_is_told_place_and_time_and_what_changes(queue: Queue) -> None:
    feeds = {job: JobNews() for job in (1, 2)}
    queue.submit(task(1))
    queue.submit(task(2, "bob"))
    telling = asyncio.create_task(PositionPublisher(queue, feeds, every=0).run(), name="teller")
    news = feeds[2].follow()
    assert await anext(news) == Waiting(position=2, eta=20.0)
    queue.pause("Back at noon.")
    assert await anext(news) == Waiting(position=2, eta=None, reason="Back at noon.")
    queue.cancel(1)
    assert await anext(news) == Waiting(position=1, eta=None, reason="Back at noon.")
    telling.cancel()


async def test_who_runs_is_not_told_to_wait(queue: Queue) -> None:
    feeds = {job: JobNews() for job in (1, 2)}
    queue.submit(task(1))
    queue.submit(task(2))
    assert queue.start() == task(1)
    telling = asyncio.create_task(PositionPublisher(queue, feeds, every=0).run(), name="teller")
    assert await anext(feeds[2].follow()) == Waiting(position=1, eta=20.0)
    feeds[1].close()
    assert [news async for news in feeds[1].follow()] == []
    telling.cancel()


async def test_a_long_queue_lets_others_have_the_loop(queue: Queue) -> None:
    feeds = {job: JobNews() for job in range(1000)}
    for job in feeds:
        queue.submit(task(job, f"person {job % 7}"))
    turns = 0

    async def others() -> None:
        nonlocal turns
        while True:
            turns += 1
            await asyncio.sleep(0)

    busy = asyncio.create_task(others(), name="others")
    telling = asyncio.create_task(PositionPublisher(queue, feeds, every=0).run(), name="teller")
    last = max(chain.from_iterable(queue.forecast()), key=lambda place: place.position)
    assert await anext(feeds[last.job].follow()) == Waiting(position=1000, eta=10_000.0)
    busy.cancel()
    telling.cancel()
    assert turns >= 10


async def test_a_mistake_in_telling_is_logged_and_does_not_end_it(
    queue: Queue, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    feeds = {1: JobNews()}
    said = asyncio.Event()

    def broken(place: Forecast) -> float:
        said.set()
        raise ZeroDivisionError

    queue.submit(task(1))
    with monkeypatch.context() as patch:
        patch.setattr(queue, "seconds_until", broken)
        telling = asyncio.create_task(PositionPublisher(queue, feeds, every=0).run(), name="teller")
        await said.wait()
    queue.pause("Back at noon.")
    news = await anext(feeds[1].follow())
    assert isinstance(news, Waiting)
    assert news.reason == "Back at noon."
    assert "ZeroDivisionError" in caplog.text
    telling.cancel()


@pytest.mark.parametrize(
    ("found", "reason", "told"),
    [
        (Forecast(1, 49_900, 50_100.0), "", False),
        (Forecast(1, 49_000, 50_100.0), "", True),
        (Forecast(1, 49_900, None), "", True),
        (Forecast(1, 49_900, 50_100.0), "Back at noon.", True),
        (Forecast(1, 50_000, 59_000.0), "", False),
        (Forecast(1, 50_000, 65_000.0), "", True),
        (Forecast(1, 50_000, 40_000.0), "", True),
        (Forecast(1, 1000, 50_100.0), "", True),
    ],
)
async def test_who_is_far_from_their_turn_is_told_what_matters(
    queue: Queue, monkeypatch: pytest.MonkeyPatch, found: Forecast, reason: str, told: bool
) -> None:
    feeds = {1: JobNews()}
    publisher, latest = PositionPublisher(queue, feeds), list[object]()
    queue.submit(task(1))
    for place in (Forecast(1, 50_000, 50_100.0), found):
        monkeypatch.setattr(queue, "forecast", lambda place=place: iter([[place]]))
        await publisher.publish()
        latest.append(feeds[1].latest)
        if reason:
            queue.pause(reason)
    assert latest[0] == Waiting(position=50_000, eta=50_000.0)
    assert (latest[1] is not latest[0]) is told


async def test_a_time_that_moves_by_little_each_round_is_told_once_it_has_moved_far(
    queue: Queue, monkeypatch: pytest.MonkeyPatch
) -> None:
    feeds, etas = {1: JobNews()}, list[float | None]()
    publisher = PositionPublisher(queue, feeds)
    queue.submit(task(1))
    for end in (700.0, 790.0, 880.0):
        place = Forecast(1, 5000, end)
        monkeypatch.setattr(queue, "forecast", lambda place=place: iter([[place]]))
        await publisher.publish()
        news = feeds[1].latest
        assert isinstance(news, Waiting)
        etas.append(news.eta)
    assert etas == [600.0, 600.0, 780.0]
