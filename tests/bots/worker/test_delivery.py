"""Delivery: one reply a job, whatever the platform does."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from pathlib import Path

import pytest

from bots.worker.delivery import (
    AT_ONCE,
    LONGEST,
    TRIES,
    UNKNOWN,
    AdapterStopped,
    Delivery,
    TryLater,
    Undeliverable,
    UnknownAnswer,
    Way,
    WayClosed,
)
from storage import PendingReply, Status, Storage
from storage.errors import PicturesFault
from tests.bots.fake_chat import EDIT, MESSAGE, Chat
from tests.conftest import PATIENCE
from tests.factories import add_claimed
from tests.storage.conftest import a_job, drawn


class Clock:
    """Tell a time that moves only when told to."""

    def __init__(self) -> None:
        self.time = datetime(2026, 1, 1, tzinfo=UTC)

    def __call__(self) -> datetime:
        return self.time

    def move(self, **by: float) -> None:
        self.time += timedelta(**by)


@dataclass
class Scene:
    storage: Storage
    clock: Clock
    chat: Chat
    delivery: Delivery

    async def rendered(self, place: str = "terminal") -> int:
        job = await add_claimed(self.storage, a_job(place=place))
        await self.storage.jobs.rendered(job.id, job.epoch, drawn())
        return job.id

    async def round(self) -> int:
        """Deliver what is due, and wait for it."""
        started = await self.delivery.deliver_due()
        await self.delivery.drain()
        return started

    async def status(self, job: int) -> Status:
        return (await self.storage.jobs.get(job)).status


@pytest.fixture
async def scene(tmp_path: Path) -> AsyncIterator[Scene]:
    clock, chat = Clock(), Chat()
    async with Storage.open(tmp_path, now=clock) as storage:
        delivery = Delivery(storage.jobs, storage.outbox, storage.worker, {"terminal": chat})
        yield Scene(storage, clock, chat, delivery)


def once(error: Exception, *, way: Way | None = None) -> Callable[[PendingReply, Way], None]:
    """Raise an error the first time only."""
    left = [error]

    def trouble(pending: PendingReply, used: Way) -> None:
        if left and way in (None, used):
            raise left.pop()

    return trouble


def always(error: Exception, *, way: Way | None = None) -> Callable[[PendingReply, Way], None]:
    def trouble(pending: PendingReply, used: Way) -> None:
        if way in (None, used):
            raise error

    return trouble


async def test_a_reply_arrives_once_and_finds_its_job(scene: Scene) -> None:
    job = await scene.rendered()
    assert await scene.round() == 1
    assert await scene.round() == 0
    assert scene.chat.replies(job) == 1
    found = await scene.storage.jobs.by_message(f"terminal:edit/{job}")
    assert found is not None
    assert (found[0].id, found[0].status) == (job, Status.DELIVERED)


async def test_failed_and_cancelled_jobs_are_answered_too(scene: Scene) -> None:
    failed = await add_claimed(scene.storage, a_job())
    await scene.storage.jobs.failed(failed.id, failed.epoch, "why")
    cancelled = await scene.storage.jobs.add(a_job())
    await scene.storage.jobs.cancel(cancelled.id)
    await scene.round()
    assert scene.chat.edits == {failed.id: "failed", cancelled.id: "cancelled"}
    assert await scene.status(failed.id) is Status.FAILED


async def test_an_adapter_gets_only_its_own_replies(scene: Scene) -> None:
    job = await scene.rendered(place="discord:1/2")
    assert await scene.round() == 0
    assert scene.chat.replies(job) == 0


async def test_waits_that_the_platform_asks_for_are_kept_and_cost_no_try(scene: Scene) -> None:
    job = await scene.rendered()
    scene.chat.trouble = once(TryLater(30))
    await scene.round()
    scene.clock.move(seconds=29)
    assert await scene.round() == 0
    scene.clock.move(seconds=1)
    [pending] = await scene.storage.outbox.list_due(["terminal"])
    assert pending.tries == 0
    await scene.round()
    assert scene.chat.replies(job) == 1


async def test_one_chat_that_waits_stalls_no_other(scene: Scene) -> None:
    slow, quick = await scene.rendered(), await scene.rendered()
    scene.chat.trouble = lambda pending, _: (
        always(TryLater(60))(pending, EDIT) if pending.job.id == slow else None
    )
    await scene.round()
    assert (scene.chat.replies(slow), scene.chat.replies(quick)) == (0, 1)


async def test_a_network_that_is_gone_for_hours_loses_nothing(scene: Scene) -> None:
    job = await scene.rendered()
    scene.chat.trouble = always(ConnectionRefusedError())
    for _ in range(4 * TRIES):
        assert await scene.round() == 1
        scene.clock.move(minutes=2)
    scene.chat.trouble = lambda pending, way: None
    await scene.round()
    assert (scene.chat.replies(job), await scene.status(job)) == (1, Status.DELIVERED)


async def test_a_picture_store_that_is_away_for_hours_loses_nothing(scene: Scene) -> None:
    job = await scene.rendered()
    scene.chat.trouble = always(PicturesFault("s3://pictures", "cannot be reached"))
    for _ in range(4 * TRIES):
        assert await scene.round() == 1
        scene.clock.move(minutes=2)
    scene.chat.trouble = always(Undeliverable(), way=MESSAGE)  # which must not be tried
    await scene.round()
    assert (scene.chat.edits, scene.chat.replies(job)) == ({job: "rendered"}, 1)
    assert scene.delivery.possible_duplicates == 0


async def test_once_the_network_is_back_no_reply_waits_for_its_next_try(scene: Scene) -> None:
    jobs = [await scene.rendered() for _ in range(3)]
    scene.chat.trouble = always(ConnectionRefusedError())
    for _ in range(6):
        await scene.round()
        scene.clock.move(minutes=2)
    await scene.round()  # the next tries of all are 15 to 25 s away
    scene.chat.trouble = lambda pending, way: None
    jobs.append(await scene.rendered())
    await scene.round()
    await scene.round()
    assert [scene.chat.replies(job) for job in jobs] == [1, 1, 1, 1]


async def test_a_reply_that_fails_among_others_that_arrive_goes_on_backing_off(
    scene: Scene,
) -> None:
    stuck = await scene.rendered()
    tries = 0

    def trouble(pending: PendingReply, way: Way) -> None:
        nonlocal tries
        if pending.job.id == stuck:
            tries += 1
            raise ConnectionResetError

    scene.chat.trouble = trouble
    for _ in range(10):
        await scene.rendered()
        await scene.round()
    assert tries == 2  # its first, and the one that the first success made due


async def test_tries_back_off(scene: Scene) -> None:
    await scene.rendered()
    scene.chat.trouble = always(ConnectionRefusedError())
    waits = []
    for _ in range(8):
        await scene.round()
        before = scene.clock()
        scene.clock.move(minutes=4)
        [pending] = await scene.storage.outbox.list_due(["terminal"])
        waits.append((pending.due_at - before).total_seconds())
    assert 0.75 <= waits[0] <= 1.25
    assert 0.75 * LONGEST <= waits[-1] <= 1.25 * LONGEST
    assert all(later > earlier for earlier, later in pairwise(waits[:5]))


async def test_a_closed_way_leads_to_the_next_at_once(scene: Scene) -> None:
    job = await scene.rendered()
    scene.chat.trouble = always(WayClosed("the token expired"), way=EDIT)
    await scene.round()
    await scene.round()
    assert scene.chat.messages[job] == ["rendered"]


async def test_a_mistake_in_an_adapter_falls_back_and_then_gives_up(
    scene: Scene, caplog: pytest.LogCaptureFixture
) -> None:
    job = await scene.rendered()
    scene.chat.trouble = always(ValueError("a bug"))
    for _ in range(2 * TRIES):
        assert await scene.round() == 1
        scene.clock.move(minutes=2)
    assert await scene.round() == 1  # closes it
    assert await scene.round() == 0
    assert scene.delivery.abandoned == 1
    assert await scene.status(job) is Status.RENDERED
    assert "no way is left" in caplog.text


async def test_a_chat_that_is_gone_closes_the_reply(scene: Scene) -> None:
    job = await scene.rendered()
    scene.chat.trouble = always(Undeliverable("the chat was deleted"))
    await scene.round()
    assert await scene.round() == 0
    assert (scene.delivery.abandoned, await scene.status(job)) == (1, Status.RENDERED)


async def test_a_revoked_token_stops_its_adapter_alone(
    scene: Scene, caplog: pytest.LogCaptureFixture
) -> None:
    other = Chat("discord")
    jobs, outbox, process = scene.storage.jobs, scene.storage.outbox, scene.storage.worker
    delivery = Delivery(jobs, outbox, process, {"terminal": scene.chat, "discord": other})
    scene.chat.trouble = always(AdapterStopped("401"))
    scene.chat.verdicts = [AdapterStopped("401")]
    mine, theirs = await scene.rendered(), await scene.rendered("discord:1")
    for _ in range(3):
        await delivery.deliver_due()
        await delivery.drain()
    assert delivery.stopped.keys() == {"terminal"}
    assert (scene.chat.replies(mine), other.replies(theirs)) == (0, 1)
    assert caplog.text.count("refuses Marble") == 1
    assert scene.chat.checks == 1
    scene.chat.trouble = lambda pending, way: None
    delivery.resume("terminal")
    await delivery.deliver_due()
    await delivery.drain()
    assert scene.chat.replies(mine) == 1


@pytest.mark.parametrize("verdict", [None, OSError("a page of a proxy")])
async def test_one_refusal_stops_no_adapter_whose_token_is_known(
    scene: Scene, verdict: Exception | None
) -> None:
    job = await scene.rendered()
    scene.chat.trouble = once(AdapterStopped("401"))
    scene.chat.verdicts = [verdict] if verdict else []
    await scene.round()
    assert (scene.chat.checks, scene.delivery.stopped) == (1, {})
    scene.clock.move(minutes=2)
    await scene.round()
    assert scene.chat.replies(job) == 1


async def test_an_answer_that_means_nothing_known_is_outlasted(scene: Scene) -> None:
    job = await scene.rendered()
    scene.chat.trouble = always(UnknownAnswer("code 123456"))
    for _ in range(4 * TRIES):
        assert await scene.round() == 1
        scene.clock.move(minutes=2)
    scene.chat.trouble = lambda pending, way: None
    await scene.round()
    assert scene.chat.edits == {job: Status.RENDERED}


@pytest.mark.parametrize("error", [UnknownAnswer("code 123456"), AdapterStopped("401")])
async def test_a_way_whose_answers_mean_nothing_for_long_is_left_for_the_next(
    scene: Scene, error: Exception
) -> None:
    job = await scene.rendered()
    scene.chat.trouble = always(error, way=EDIT)
    for _ in range(UNKNOWN):
        assert await scene.round() == 1
        scene.clock.move(minutes=2)
    await scene.round()
    assert scene.chat.messages[job] == ["rendered"]


async def test_an_answer_lost_on_a_repeatable_way_leaves_one_reply(scene: Scene) -> None:
    job = await scene.rendered()
    scene.chat.loss = once(TimeoutError())
    await scene.round()
    scene.clock.move(minutes=1)
    await scene.round()
    assert (scene.chat.replies(job), scene.delivery.possible_duplicates) == (1, 0)


async def test_an_answer_lost_on_an_unrepeatable_way_is_counted(scene: Scene) -> None:
    scene.chat.ways = (MESSAGE,)
    job = await scene.rendered()
    scene.chat.loss = once(TimeoutError())
    await scene.round()
    scene.clock.move(minutes=1)
    await scene.round()
    assert (scene.chat.replies(job), scene.delivery.possible_duplicates) == (2, 1)


async def test_a_job_has_one_reply_in_flight(scene: Scene, tmp_path: Path) -> None:
    job = await scene.rendered()
    scene.chat.gate = asyncio.Event()
    assert await scene.delivery.deliver_due() == 1
    await scene.chat.begun.wait()
    assert await scene.delivery.deliver_due() == 0
    async with Storage.open(tmp_path, now=scene.clock) as other:  # another process
        assert await other.outbox.list_due(["terminal"]) == ()
        assert not await other.worker.claim_reply(job, 0)
    scene.chat.gate.set()
    await scene.delivery.drain()
    assert scene.chat.replies(job) == 1


async def test_slow_replies_leave_room_for_others(scene: Scene) -> None:
    slow = {await scene.rendered() for _ in range(AT_ONCE - 1)}
    scene.chat.gate, scene.chat.gated = asyncio.Event(), slow
    assert await scene.delivery.deliver_due() == len(slow)
    quick = {await scene.rendered() for _ in range(3)}
    running = asyncio.create_task(scene.delivery.run())
    async with asyncio.timeout(PATIENCE):
        while not quick <= scene.chat.edits.keys():
            await scene.chat.arrived.wait()
            scene.chat.arrived.clear()
    assert not slow & scene.chat.edits.keys()
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running


async def test_a_reply_whose_sender_died_is_sent_by_another(scene: Scene, tmp_path: Path) -> None:
    job = await scene.rendered()
    async with Storage.open(tmp_path, now=scene.clock) as dying:
        assert await dying.worker.claim_reply(job, 0)
    assert await scene.round() == 0
    await scene.storage.worker.requeue_lost()
    [pending] = await scene.storage.outbox.list_due(["terminal"])
    assert pending.sending  # it may have arrived
    await scene.round()
    assert scene.chat.replies(job) == 1


@pytest.mark.parametrize("hours", [-1, 1])
async def test_a_clock_jump_delays_no_reply(scene: Scene, hours: int) -> None:
    job = await scene.rendered()
    scene.clock.move(hours=hours)
    await scene.round()
    assert scene.chat.replies(job) == 1


async def test_run_delivers_as_soon_as_a_reply_is_there(scene: Scene) -> None:
    running = asyncio.create_task(scene.delivery.run())
    async with asyncio.timeout(PATIENCE):
        await scene.rendered()
        await scene.chat.begun.wait()
        await scene.delivery.drain()
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    assert scene.delivery.delivered == 1


async def test_the_backlog_is_counted_for_each_adapter(scene: Scene) -> None:
    await scene.rendered()
    scene.clock.move(minutes=1)
    await scene.rendered()
    assert await scene.storage.outbox.backlog() == {"terminal": 2}
