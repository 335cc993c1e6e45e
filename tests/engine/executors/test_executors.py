"""One contract for every executor; and what a process of its own promises beyond it."""

import asyncio
import os
import select
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import aclosing
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from engine.errors import Cancelled, EngineError, Lost, SettingError, UserError
from engine.events import Event, Picture, Progress, Stage
from engine.executors import Executor, wire
from engine.executors.child import ChildExecutor
from engine.executors.choose import EXECUTORS, make_executor
from engine.executors.config import EngineConfig
from engine.executors.loop import Loop
from engine.executors.restarting import wait_before
from engine.spec import Spec
from tests.conftest import PATIENCE, ROOT
from tests.factories import make_recipe

STUB = EngineConfig(factory="tests.engine.stub:open_stub", devices="tests.engine.stub:no_devices")


def make_spec(prompt: str = "a cat", job: int = 1, *, epoch: int = 1, alone: bool = False) -> Spec:
    return Spec(job=job, epoch=epoch, recipe=make_recipe(prompt=prompt, steps=9), alone=alone)


async def collect(executor: Executor, spec: Spec) -> list[Event]:
    return [event async for event in executor.run(spec)]


def company(events: list[Event]) -> bytes:
    """Return with whom a stub's picture was drawn."""
    return next(event.png for event in events if isinstance(event, Picture))


# With `MARBLE_DEVICE`: a child is alone where that is a name, and in a pool where it is `auto`.
KINDS = (
    *(("inprocess", "auto"), ("child", "cpu")),
    *(("child", "auto"), ("child", "cpu:0,cpu:1,cpu:2")),
)


@pytest.fixture(params=KINDS, ids="-".join)
async def executor(request: pytest.FixtureRequest) -> AsyncIterator[Executor]:
    """Yield each kind of executor, with engines that have no model."""
    kind, device = request.param
    async with make_executor(kind, replace(STUB, device=device)) as executor:
        yield executor


@pytest.fixture
async def child() -> AsyncIterator[ChildExecutor]:
    """Yield a child process, with an engine that has no model, that restarts at once."""
    async with ChildExecutor(STUB, backoff=lambda failures: 0) as executor:
        yield executor


async def test_a_job_gives_its_events_in_order(executor: Executor) -> None:
    spec = replace(make_spec(), recipe=make_recipe(count=3, steps=2))
    events = await collect(executor, spec)
    stages = [event.stage for event in events if isinstance(event, Progress)]
    assert stages == sorted(stages, key=list(Stage).index)
    assert [event.index for event in events if isinstance(event, Picture)] == [0, 1, 2]
    assert events[0] == Progress(stage=Stage.LOAD, step=0, total=1, preview=b"jpeg")
    assert executor.health().counts["ticks"] >= 9


async def test_who_is_cancelled_while_a_child_is_closed_ends_as_cancelled(
    child: ChildExecutor,
) -> None:
    await child.ready()
    closing = asyncio.create_task(child.close())
    await asyncio.sleep(0)
    closing.cancel()
    await asyncio.wait([closing])
    assert closing.cancelled()
    await child.close()
    assert not child.health().alive


async def test_jobs_run_together(executor: Executor) -> None:
    engines = [*executor.health().engines] or [""]
    slots = executor.slots // len(engines)
    jobs = [
        (engine, make_spec(f"wait for {slots}", slots * number + n))
        for number, engine in enumerate(engines)
        for n in range(slots)
    ]
    drawn = await asyncio.gather(
        *(collect(executor, replace(spec, engine=engine)) for engine, spec in jobs)
    )
    for (engine, _), events in zip(jobs, drawn, strict=True):
        beside = [spec.job for other, spec in jobs if other == engine]
        assert company(events) == repr(beside).encode()


async def test_a_suspect_runs_with_nobody_beside_it(executor: Executor) -> None:
    specs = [make_spec(job=n, alone=n == 2) for n in range(4)]
    drawn = await asyncio.gather(*(collect(executor, spec) for spec in specs))
    assert company(drawn[2]) == b"[2]"


async def test_an_engine_that_is_ready_begins_at_once(executor: Executor) -> None:
    async with asyncio.timeout(PATIENCE):
        await executor.ready()
        await executor.ready()
    assert executor.health().alive
    assert isinstance((await collect(executor, make_spec()))[-1], Picture)


async def test_an_engine_tells_its_device_its_models_and_the_devices_beside_it(
    executor: Executor,
) -> None:
    await collect(executor, make_spec())
    told = executor.health()
    told = next((each for each in told.engines.values() if each.held), told)
    assert (told.device, told.kind, told.held) == ("stub:0", "a stub", ("stub",))
    assert (told.beside, told.fault, told.has, told.room) == ((), "", None, {"budget": 7})


async def test_an_engine_that_cannot_be_made_tells_why() -> None:
    config = replace(STUB, factory="tests.engine.stub:open_nothing", device="cpu")
    for kind in EXECUTORS:
        async with make_executor(kind, config) as executor:
            await executor.ready()
            assert executor.health().fault == "no such device"


async def test_who_is_at_work_when_it_is_closed_is_lost_and_nobody_blamed(
    executor: Executor,
) -> None:
    events = executor.run(make_spec("go on"))
    await anext(events)
    await executor.__aexit__(None, None, None)
    with pytest.raises(Lost) as lost:
        async for _ in events:
            pass
    assert not lost.value.alone


async def test_cancelling_ends_a_job_and_leaves_the_others(executor: Executor) -> None:
    other = asyncio.create_task(collect(executor, make_spec(job=2)))
    events = executor.run(make_spec("go on"))
    await anext(events)
    executor.cancel(1, 1)
    with pytest.raises(Cancelled):
        await collect_rest(events)
    assert isinstance((await other)[-1], Picture)


async def test_a_job_that_is_held_back_can_be_cancelled(executor: Executor) -> None:
    first = executor.run(make_spec("go on", job=1, alone=True))
    await anext(first)
    held = asyncio.create_task(collect(executor, make_spec(job=2)))
    await asyncio.sleep(0)
    executor.cancel(2, 1)
    with pytest.raises(Cancelled):
        await held
    executor.cancel(1, 1)
    with pytest.raises(Cancelled):
        await collect_rest(first)


async def collect_rest(events: AsyncIterator[Event]) -> None:
    async for _ in events:
        pass


async def test_what_is_unknown_or_over_can_be_cancelled_in_vain(executor: Executor) -> None:
    executor.cancel(77, 1)
    await collect(executor, make_spec())
    executor.cancel(1, 1)
    assert len(await collect(executor, make_spec(epoch=2))) > 0


async def test_closing_the_events_early_stops_the_work(executor: Executor) -> None:
    async with aclosing(executor.run(make_spec("go on"))) as job:
        await anext(job)
    async with asyncio.timeout(PATIENCE):  # it waits until nothing else is at work
        drawn = await collect(executor, make_spec(job=2, alone=True))
    assert company(drawn) == b"[2]"


async def test_a_refusal_reaches_people_as_it_is(executor: Executor) -> None:
    with pytest.raises(UserError, match=r"^No\.$"):
        await collect(executor, make_spec("refuse"))


async def test_an_unexpected_error_ends_what_is_at_work_and_not_the_engine(
    executor: Executor, caplog: pytest.LogCaptureFixture
) -> None:
    with pytest.raises(EngineError, match="inner words"):
        await collect(executor, make_spec("break"))
    assert "Traceback" in caplog.text
    assert len(await collect(executor, make_spec(job=2))) > 0


async def test_a_log_line_of_a_child_is_as_it_was_written_with_its_device(
    child: ChildExecutor, caplog: pytest.LogCaptureFixture
) -> None:
    with pytest.raises(EngineError):
        await collect(child, make_spec("break"))
    [record] = [each for each in caplog.records if "Traceback" in each.message]
    assert record.message.startswith("stub:0: the engine failed\nTraceback")
    assert (record.name, record.levelname) == ("engine.executors.loop", "ERROR")


async def test_closing_the_executor_loses_what_is_at_work() -> None:
    executor = ChildExecutor(STUB)
    events = executor.run(make_spec("hang"))
    await anext(events)
    await executor.close()
    with pytest.raises(Lost, match="closed"):
        await collect_rest(events)


def test_a_device_that_is_not_there_is_one_sentence_in_the_log(
    caplog: pytest.LogCaptureFixture,
) -> None:
    factory = "engine.executors.opening:open_pipeline"
    loop = Loop(EngineConfig(factory=factory, device="cuda:99"), print, lambda: None)
    loop.close()
    loop.run()
    (record,) = caplog.records
    assert record.message == "the engine could not be started: " + loop.fault
    assert record.exc_info is None


async def test_an_engine_that_cannot_be_made_fails_its_jobs() -> None:
    config = replace(STUB, factory="tests.engine.stub:open_nothing")
    for kind in EXECUTORS:
        async with make_executor(kind, config) as executor:
            with pytest.raises(EngineError, match="no such device"):
                await collect(executor, make_spec())


@pytest.mark.parametrize("stage", Stage)
async def test_a_child_killed_in_any_stage_loses_its_jobs_and_goes_on(
    child: ChildExecutor, stage: Stage
) -> None:
    await child.ready()
    before = child.health().pid
    doomed, beside = await asyncio.gather(
        collect(child, make_spec(f"die in {stage}")),
        collect(child, make_spec("hang", job=2)),
        return_exceptions=True,
    )
    assert isinstance(doomed, Lost)
    assert isinstance(beside, Lost)
    assert "SIGKILL" in str(doomed)
    again = await collect(child, make_spec(f"die in {stage}", epoch=2))
    assert isinstance(again[-1], Picture)
    assert child.health().restarts == 1
    assert child.health().pid not in (None, before)


async def test_a_job_that_the_child_died_with_alone_is_told_from_one_of_several(
    child: ChildExecutor,
) -> None:
    with pytest.raises(Lost) as alone:
        await collect(child, make_spec("die in load"))
    several = await asyncio.gather(
        collect(child, make_spec("die in load", job=2)),
        collect(child, make_spec("hang", job=3)),
        return_exceptions=True,
    )
    assert alone.value.alone
    assert [isinstance(each, Lost) and each.alone for each in several] == [False, False]


async def test_a_child_that_dies_is_ready_again_when_there_is_another(child: ChildExecutor) -> None:
    await child.ready()
    with pytest.raises(Lost):
        await collect(child, make_spec("die in load"))
    async with asyncio.timeout(PATIENCE):
        await child.ready()
    assert child.health().alive


async def test_who_waits_for_a_child_that_dies_while_it_is_made_waits_for_the_next(
    tmp_path: Path,
) -> None:
    config = replace(STUB, factory="tests.engine.stub:open_second", notes=tmp_path)
    async with (
        ChildExecutor(config, backoff=lambda failures: 0) as child,
        asyncio.timeout(PATIENCE),
    ):
        await child.ready()
        assert (child.health().alive, child.health().failing) == (True, False)
        assert child.health().restarts == 1


async def test_who_waits_for_a_child_that_hangs_while_it_is_made_waits_for_the_next(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def let_the_next(failures: int) -> float:
        (tmp_path / "may").touch()
        monkeypatch.setattr("engine.executors.restarting.SILENCE", PATIENCE)
        return 0

    monkeypatch.setattr("engine.executors.restarting.SILENCE", 0.1)
    config = replace(STUB, factory="tests.engine.stub:open_or_hang", notes=tmp_path)
    async with (
        ChildExecutor(config, backoff=let_the_next, silence=0.1) as child,
        asyncio.timeout(PATIENCE),
    ):
        await child.ready()
        assert (child.health().alive, child.health().restarts) == (True, 1)


async def test_who_waits_for_a_child_is_let_go_when_it_is_closed(tmp_path: Path) -> None:
    config = replace(STUB, factory="tests.engine.stub:open_or_hang", notes=tmp_path)
    async with ChildExecutor(config) as child:
        waiting = asyncio.create_task(child.ready(), name="ready")
        await asyncio.sleep(0)
    async with asyncio.timeout(PATIENCE):
        await waiting
    assert not child.health().alive


@pytest.mark.parametrize("factory", ["open_and_die", "open_wreck"])
async def test_who_waits_for_a_child_that_is_never_made_is_told_by_the_job(factory: str) -> None:
    config = replace(STUB, factory=f"tests.engine.stub:{factory}")
    async with (
        ChildExecutor(config, backoff=lambda failures: 0) as child,
        asyncio.timeout(PATIENCE),
    ):
        await child.ready()
        assert (child.health().alive, child.health().failing) == (False, True)
        with pytest.raises(EngineError, match="does not start"):
            await collect(child, make_spec())


@pytest.mark.parametrize("word", ["wreck", "break and wreck"])
async def test_a_child_that_lost_its_device_makes_room_for_a_new_one(
    child: ChildExecutor, word: str
) -> None:
    with pytest.raises(Lost, match="exit code 70"):
        await collect(child, make_spec(word))
    assert isinstance((await collect(child, make_spec(word, epoch=2)))[-1], Picture)


async def test_a_child_that_hangs_is_killed_and_its_job_lost() -> None:
    async with ChildExecutor(STUB, backoff=lambda failures: 0, silence=0.5) as child:
        await child.ready()
        with pytest.raises(Lost, match="SIGKILL"):
            await collect(child, make_spec("hang"))
        child._silence = PATIENCE  # the next one does not hang, however slow this machine may be
        assert isinstance((await collect(child, make_spec(job=2)))[-1], Picture)


async def test_a_child_that_has_no_work_may_be_silent() -> None:
    async with ChildExecutor(STUB, backoff=lambda failures: 0, silence=0.001) as child:
        await child.ready()
        await asyncio.sleep(0.01)
        assert child.health().alive
        assert child.health().restarts == 0


@pytest.mark.parametrize(
    ("name", "error"),
    [
        ("subprocess.Popen", OSError(12, "Cannot allocate memory")),
        ("socket.socketpair", OSError(24, "Too many open files")),
    ],
)
async def test_a_child_that_cannot_be_forked_is_tried_again(
    child: ChildExecutor, monkeypatch: pytest.MonkeyPatch, name: str, error: OSError
) -> None:
    module, _, call = name.partition(".")
    really, refusals = getattr(sys.modules[module], call), [error]

    def short(*args: Any, **kwargs: Any) -> Any:
        if refusals:
            raise refusals.pop()
        return really(*args, **kwargs)

    monkeypatch.setattr(f"engine.executors.child.{name}", short)
    async with asyncio.timeout(PATIENCE):
        assert isinstance((await collect(child, make_spec()))[-1], Picture)


async def test_a_child_that_talks_nonsense_is_replaced(
    child: ChildExecutor, monkeypatch: pytest.MonkeyPatch
) -> None:
    nonsense = [wire.Frame({"ended": "of no known kind", "job": 1, "epoch": 1, "text": ""})]
    receive = wire.receive

    async def misheard(stream: asyncio.StreamReader) -> wire.Frame:
        frame = await receive(stream)
        return nonsense.pop() if "progress" in frame.header and nonsense else frame

    monkeypatch.setattr(wire, "receive", misheard)
    async with asyncio.timeout(PATIENCE):
        with pytest.raises(Lost):
            await collect(child, make_spec())
        assert isinstance((await collect(child, make_spec(epoch=2)))[-1], Picture)


async def test_large_pictures_cross_whole(child: ChildExecutor) -> None:
    assert company(await collect(child, make_spec("large"))) == b"[1]" * 100_000


async def test_a_child_that_does_not_start_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "executable", "/bin/false")
    async with ChildExecutor(STUB, backoff=lambda failures: 0) as executor:
        with pytest.raises(EngineError, match="does not start"):
            await collect(executor, make_spec())
        await executor.ready()
        assert (executor.health().alive, executor.health().failing) == (False, True)


async def test_closing_leaves_no_process(child: ChildExecutor) -> None:
    await child.ready()
    pid = child.health().pid
    assert pid
    await child.close()
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)


@pytest.mark.skipif(not hasattr(os, "pidfd_open"), reason="waits for a process by its pidfd")
@pytest.mark.parametrize("prompt", ["a cat", "hang"])
def test_a_parent_killed_leaves_no_process(prompt: str) -> None:
    code = (
        "import asyncio; from tests.engine.executors.test_executors import *\n"
        "async def main():\n"
        "    executor = ChildExecutor(STUB)\n"
        "    await executor.ready()\n"
        f"    async for event in executor.run(make_spec({prompt!r})):\n"
        "        if event == Progress(stage=Stage.DECODE, step=1, total=1): break\n"
        "    print(executor.health().pid, flush=True)\n"
        "    await asyncio.Event().wait()\n"
        "asyncio.run(main())"
    )
    with subprocess.Popen(
        [sys.executable, "-c", code], cwd=ROOT, stdout=subprocess.PIPE, text=True
    ) as parent:
        assert parent.stdout
        child = os.pidfd_open(int(parent.stdout.readline()))
        parent.kill()
        gone, _, _ = select.select([child], [], [], 60)
        os.close(child)
    assert gone


def test_waits_between_starts_grow_to_a_limit() -> None:
    waits = [wait_before(failures) for failures in range(1, 8)]
    assert waits == sorted(waits)
    assert (waits[0], waits[-1]) == (0.4, 30.0)


@pytest.mark.parametrize(
    ("word", "failures"), [("die in encode", [1, 2, 3]), ("die in decode", [1, 1, 1])]
)
async def test_the_wait_before_a_start_grows_only_while_no_child_draws_anything(
    word: str, failures: list[int]
) -> None:
    counted: list[int] = []

    def backoff(deaths: int) -> float:
        counted.append(deaths)
        return 0

    async with ChildExecutor(STUB, backoff=backoff) as child:
        for job in range(1, 4):
            with pytest.raises(Lost):
                await collect(child, make_spec(word, job=job))
        await child.ready()
    assert counted == failures


def test_an_executor_of_ones_own_is_found_by_its_place(tmp_path: Path) -> None:
    config = EngineConfig(models_dir=tmp_path)
    executor = make_executor("engine.executors.child:ChildExecutor", config)
    assert isinstance(executor, ChildExecutor)
    for place in ("no.such:thing", "engine.executors:nothing", "nothing"):
        with pytest.raises(SettingError, match="module:factory"):
            make_executor(place, config)


def test_a_configuration_crosses_to_another_process() -> None:
    config = EngineConfig(models_dir=Path("/models"), batching="throughput")
    assert EngineConfig.from_dict(config.to_dict()) == config
