"""Serving: adapters under supervision, and an end in good order."""

from __future__ import annotations

import asyncio
import logging
import signal
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from unittest.mock import AsyncMock

import pytest

from bots.admission.gate import Gate
from bots.operations.settings import load_settings
from bots.requests.descriptions import Descriptions
from bots.requests.likeness import Likeness
from bots.requests.studio import Asker
from bots.requests.styles import Stylebook
from bots.requests.workflow_folder import WorkflowFolder
from bots.requests.workflows import Workflows
from bots.service.adapters import ConnectionState, Service
from bots.service.app import App, roles_of, rules_of
from bots.service.commands import Commands
from bots.service.serve import ADAPTERS, make_adapters, serving
from bots.worker.delivery import AdapterStopped, Shown, TryLater, Way
from bots.worker.pausing import Pausing
from engine.errors import MarbleError
from engine.executors.embedding import Embedding
from storage import Job, PendingReply, Status
from storage.errors import Unreachable
from storage.liveness.leadership import FileLeadership
from tests.bots.conftest import House
from tests.bots.fake_chat import Chat
from tests.conftest import PATIENCE


@dataclass
class Home(Chat):
    """Be an adapter whose connection ends as the script says; with no more lines, it holds."""

    script: list[Exception] = field(default_factory=list)
    runs: int = 0
    connected: asyncio.Event = field(default_factory=asyncio.Event)
    told: asyncio.Event = field(default_factory=asyncio.Event)
    left: asyncio.Event = field(default_factory=asyncio.Event)
    states: Sequence[ConnectionState] = ()
    exclusive: bool = True

    async def run(self) -> None:
        self.runs += 1
        if self.script:
            raise self.script.pop(0)
        self.connected.set()
        try:
            await asyncio.Event().wait()
        finally:
            self.left.set()

    def stop_intake(self) -> None:
        self.told.set()

    def connections(self) -> Sequence[ConnectionState]:
        return self.states


@dataclass
class Scene:
    house: House
    app: App

    async def ask(self, home: str) -> Job:
        values = {"prompt": "a cat", "steps": 1}
        return await self.app.studio.imagine(values, Asker(person=f"{home}:ada", place=home))

    async def status(self, job: Job) -> Status:
        return (await self.app.storage.jobs.get(job.id)).status


@pytest.fixture
def scene(house: House) -> Scene:
    settings = load_settings({}, env_file="")
    gate = Gate(house.storage, roles_of(settings), rules_of(settings))
    app = App(
        settings=settings,
        storage=house.storage,
        worker=house.worker,
        pausing=Pausing(house.storage.moderation, house.worker.queue, roles_of(settings)),
        gate=gate,
        studio=house.studio,
        styles=Stylebook(house.storage, gate),
        descriptions=Descriptions(None),
        likeness=Likeness(house.storage, Embedding(None)),
        workflows=Workflows(WorkflowFolder(None), house.studio, house.storage.pictures, gate),
        health=house.executor.health,
        commands=Commands(gate.roles),
    )
    return Scene(house, app)


@pytest.fixture
async def start(scene: Scene) -> AsyncIterator[Callable[..., tuple[Service, asyncio.Task[None]]]]:
    """Yield a function that serves with some adapters until the end of the test."""
    tasks = []

    def begin(*homes: Home, grace: int = 25) -> tuple[Service, asyncio.Task[None]]:
        app = replace(scene.app, settings=replace(scene.app.settings, grace_seconds=grace))
        service = Service(app, homes)
        tasks.append(asyncio.create_task(service.run(), name="serve"))
        return service, tasks[-1]

    yield begin
    for task in tasks:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task


Start = Callable[..., tuple[Service, asyncio.Task[None]]]


def note_waits(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Let nothing wait before it is started again; return which waits were asked for."""
    waits: list[int] = []

    def note(tries: int, longest: float = 0.0) -> float:
        waits.append(tries)
        return 0.0

    monkeypatch.setattr("bots.service.adapters.back_off", note)
    return waits


async def test_every_home_gets_its_own_replies(scene: Scene, start: Start) -> None:
    red, blue = Home("red"), Home("blue")
    start(red, blue)
    jobs = [await scene.ask("red"), await scene.ask("blue")]
    await red.arrived.wait()
    await blue.arrived.wait()
    assert (list(red.edits), list(blue.edits)) == ([jobs[0].id], [jobs[1].id])


async def test_one_that_fails_is_started_again(
    start: Start, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    waits = note_waits(monkeypatch)
    red, blue = Home("red", script=[OSError("no route"), KeyError("odd")]), Home("blue")
    service, _ = start(red, blue)
    await red.connected.wait()
    assert (red.runs, blue.runs, waits) == (3, 1, [0, 1])
    assert service.troubles == {}
    assert "red failed and restarts" in caplog.text


async def test_one_that_is_asked_to_wait_waits_as_long(
    start: Start, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    note_waits(monkeypatch)
    red = Home("red", script=[TryLater(0.6)])
    start(red)
    await red.connected.wait()
    assert "red failed and restarts in 1 s" in caplog.text


async def test_one_that_is_refused_rests_with_its_reason_while_the_others_go_on(
    scene: Scene, start: Start, caplog: pytest.LogCaptureFixture
) -> None:
    refusal = AdapterStopped("its token was revoked")
    red, blue = Home("red", script=[refusal], verdicts=[refusal] * 9), Home("blue")
    service, _ = start(red, blue)
    await blue.connected.wait()
    waiting, job = await scene.ask("red"), await scene.ask("blue")
    await blue.arrived.wait()
    assert blue.edits == {job.id: Status.RENDERED}
    assert (red.runs, red.edits) == (1, {})
    assert service.troubles == {"red": "its token was revoked"}
    assert "red refuses Marble: its token was revoked" in caplog.text
    assert await scene.status(waiting) is not Status.DELIVERED


async def test_one_that_was_refused_goes_on_by_itself_when_its_token_works(
    scene: Scene, start: Start, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    waits = note_waits(monkeypatch)
    refusal = AdapterStopped("its token was revoked")
    red = Home("red", script=[refusal], verdicts=[refusal, refusal, OSError("no route"), refusal])
    service, _ = start(red)
    await red.connected.wait()
    job = await scene.ask("red")
    await red.arrived.wait()
    assert red.edits == {job.id: Status.RENDERED}
    assert (red.runs, waits, service.ailing()) == (2, [0, 1, 2, 3], {})
    assert caplog.text.count("red refuses Marble") == 1


async def test_one_that_is_refused_once_only_is_started_again(
    start: Start, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    waits = note_waits(monkeypatch)
    red = Home("red", script=[AdapterStopped("a page said 401"), AdapterStopped("code 4004")])
    service, _ = start(red)
    await red.connected.wait()
    assert (red.runs, red.checks, waits, service.ailing()) == (3, 2, [0, 1], {})
    assert "refuses Marble" not in caplog.text


async def test_one_whose_delivery_is_refused_rests_and_goes_on(
    scene: Scene, start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    refusal, troubles = AdapterStopped("401"), [AdapterStopped("401")]

    def refuse(pending: PendingReply, way: Way) -> None:
        if troubles:
            raise troubles.pop()

    red = Home("red", trouble=refuse, verdicts=[refusal, refusal])
    note_waits(monkeypatch)
    start(red)
    await red.connected.wait()
    job = await scene.ask("red")
    await red.arrived.wait()
    assert (red.edits, red.runs, red.checks) == ({job.id: Status.RENDERED}, 2, 3)


async def test_a_connection_that_does_not_come_back_is_a_fault(start: Start) -> None:
    near, far = ConnectionState("shard 0", 59.0, 0.1), ConnectionState("shard 1", 61.0, 0.1)
    red, blue = Home("red", states=[near]), Home("blue", states=[near, *[far] * 6])
    service, _ = start(red, blue)
    named = ", ".join(["shard 1"] * 5)
    assert service.ailing() == {"blue": f"6 not connected ({named} …)"}


async def test_told_to_stop_it_finishes_what_is_at_work_and_begins_nothing(
    scene: Scene, start: Start
) -> None:
    home, executor = Home("red"), scene.house.executor
    executor.gate.clear()
    service, running = start(home)
    await home.connected.wait()
    at_work, waiting = await scene.ask("red"), await scene.ask("red")
    await executor.begun.wait()
    service.stop()
    await home.told.wait()
    assert not home.left.is_set()  # replies are still sent
    executor.gate.set()
    await running
    assert home.edits == {at_work.id: Status.RENDERED}
    assert home.left.is_set()
    assert await scene.status(waiting) is Status.QUEUED


async def test_what_outlasts_the_grace_time_goes_back_to_the_queue(
    scene: Scene, start: Start
) -> None:
    scene.house.executor.gate.clear()
    service, running = start(Home("red"), grace=0)
    job = await scene.ask("red")
    await scene.house.executor.begun.wait()
    service.stop()
    await running
    scene.house.working.cancel()
    with suppress(asyncio.CancelledError):
        await scene.house.working
    after = await scene.app.storage.jobs.get(job.id)
    assert (after.status, after.attempts) == (Status.QUEUED, 0)


async def test_the_second_signal_ends_at_once(scene: Scene) -> None:
    scene.house.executor.gate.clear()
    home = Home("red")
    running = asyncio.create_task(serving(scene.app, [home]), name="serve")
    await home.connected.wait()
    await scene.ask("red")
    await scene.house.executor.begun.wait()
    signal.raise_signal(signal.SIGTERM)
    await home.told.wait()
    assert not running.done()
    signal.raise_signal(signal.SIGTERM)
    with pytest.raises(asyncio.CancelledError):
        await running
    assert home.left.is_set()


async def test_a_signal_while_it_closes_does_not_end_it_half_closed(scene: Scene) -> None:
    home = Home("red")
    running = asyncio.create_task(serving(scene.app, [home]), name="serve")
    await home.connected.wait()
    signal.raise_signal(signal.SIGTERM)
    await running
    # The system's own way with these would be to end the process here and now.
    for each in (signal.SIGTERM, signal.SIGINT):
        assert signal.getsignal(each) not in (signal.SIG_DFL, signal.default_int_handler)


def test_only_what_is_wanted_is_imported(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(ADAPTERS, "discord_token", "bots.nowhere:Home")
    assert [adapter.name for adapter in make_adapters(scene.app)] == ["terminal", "web"]
    wanted = replace(scene.app, settings=replace(scene.app.settings, discord_token="token"))
    with pytest.raises(ModuleNotFoundError):
        make_adapters(wanted)


async def test_failures_long_ago_are_forgotten(
    start: Start, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    waits = note_waits(monkeypatch)
    monkeypatch.setattr("bots.service.adapters.STEADY", -1.0)
    caplog.set_level(logging.CRITICAL)
    red = Home("red", script=[OSError(), OSError(), OSError()])
    start(red)
    await red.connected.wait()
    assert waits == [0, 0, 0]


async def test_one_that_another_process_runs_stands_by_and_takes_over(
    scene: Scene,
    start: Start,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.setattr("bots.service.adapters.LOOK", 0.01)
    first, second = Home("red"), Home("red")
    _, running = start(first)
    await first.connected.wait()
    standing_by, _ = start(second)
    async with asyncio.timeout(PATIENCE):
        while "stands by" not in caplog.text:  # noqa: ASYNC110  # a log line has no event
            await asyncio.sleep(0.01)
    job = await scene.ask("red")
    await first.arrived.wait()
    assert (first.edits, second.edits) == ({job.id: Status.RENDERED}, {})
    assert (second.runs, standing_by.ailing()) == (0, {})
    async with asyncio.timeout(PATIENCE):  # it is recorded after it has arrived
        while await scene.status(job) is not Status.DELIVERED:  # noqa: ASYNC110
            await asyncio.sleep(0.01)
    running.cancel()
    await second.connected.wait()
    job = await scene.ask("red")
    await second.arrived.wait()
    assert (second.runs, second.edits) == (1, {job.id: Status.RENDERED})
    assert caplog.text.count("another process of this database serves red") == 1


async def test_one_whose_place_another_process_took_stands_by_again(
    scene: Scene, start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("bots.service.adapters.KEEP", 0.0)
    there = iter([True, False])

    async def keep(leadership: FileLeadership) -> bool:
        return next(there, True)

    monkeypatch.setattr(FileLeadership, "keep", keep)
    monkeypatch.setattr(FileLeadership, "take", answers := AsyncMock(side_effect=[True, True]))
    red = Home("red")
    start(red)
    await red.left.wait()
    async with asyncio.timeout(PATIENCE):
        while red.runs < 2:  # noqa: ASYNC110  # nothing tells of a second start
            await asyncio.sleep(0.01)
    assert answers.await_count == 2


async def keep_failing(leadership: FileLeadership) -> bool:
    raise Unreachable("db")


async def keep_hanging(leadership: FileLeadership) -> bool:
    await asyncio.Event().wait()
    return True


@pytest.mark.parametrize("keep", [keep_failing, keep_hanging])
async def test_one_that_cannot_reach_the_database_for_long_leaves_the_chat_to_others(
    keep: Callable[[FileLeadership], Awaitable[bool]],
    start: Start,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    for name in ("KEEP", "LOOK"):
        monkeypatch.setattr(f"bots.service.adapters.{name}", 0.01)
    monkeypatch.setattr("bots.service.adapters.HELD", 0.1)
    monkeypatch.setattr(FileLeadership, "keep", keep)
    red = Home("red")
    service, _ = start(red)
    await red.connected.wait()
    back = asyncio.Event()

    async def take(leadership: FileLeadership) -> bool:
        if not back.is_set():
            raise Unreachable("db")
        return True

    monkeypatch.setattr(FileLeadership, "take", take)
    await red.left.wait()
    assert service.delivery.elsewhere == {"red"}
    red.connected.clear()
    monkeypatch.undo()
    back.set()
    await red.connected.wait()
    assert red.runs == 2
    assert caplog.text.count("this process stops serving red") == 1
    assert caplog.text.count("The database cannot be reached") <= 2  # once for each that asks


async def test_a_reply_in_flight_ends_before_another_process_may_serve_its_chat(
    scene: Scene, start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    in_flight: list[int] = []

    async def release(leadership: FileLeadership) -> None:
        in_flight.append(len(service.delivery.in_flight))

    monkeypatch.setattr(FileLeadership, "release", release)

    @dataclass
    class Slow(Home):
        """Take some turns of the loop to end a send that is cut off."""

        async def deliver(self, pending: PendingReply, way: Way) -> Shown:
            self.begun.set()
            try:
                await asyncio.Event().wait()
            finally:
                for _ in range(20):
                    await asyncio.sleep(0)
            return {}

    red = Slow("red")
    service, running = start(red, grace=0)
    await red.connected.wait()
    await scene.ask("red")
    await red.begun.wait()
    service.stop()
    await running
    assert in_flight == [0]


async def test_no_reply_is_begun_while_a_chat_that_another_process_serves_is_left(
    start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("bots.service.adapters.KEEP", 0.0)
    monkeypatch.setattr(FileLeadership, "keep", AsyncMock(return_value=False))
    leaving: list[set[str]] = []

    @dataclass
    class Leaving(Home):
        """Note whose replies wait when it is told to end."""

        async def run(self) -> None:
            try:
                await asyncio.Event().wait()
            finally:
                leaving.append(set(service.delivery.elsewhere))
                self.left.set()

    red = Leaving("red")
    service, _ = start(red)
    await red.left.wait()
    assert leaving[0] == {"red"}


async def test_a_sentence_is_logged_without_a_traceback(
    start: Start, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    note_waits(monkeypatch)
    red = Home("red", script=[MarbleError("another program asks for its updates")])
    start(red)
    await red.connected.wait()
    [record] = [each for each in caplog.records if "failed and restarts" in each.message]
    assert record.message == (
        "red failed and restarts in 0 s: another program asks for its updates"
    )
    assert not record.exc_info
