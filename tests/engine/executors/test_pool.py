"""Several engines as one: growing to all devices, deaths, and what is left out."""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from contextlib import aclosing
from dataclasses import replace
from functools import partial

import pytest

from engine.errors import EngineError, Lost, OutOfMemory, SettingError
from engine.events import Event, Picture, Progress, Stage
from engine.executors import Executor, Health
from engine.executors.child import ChildExecutor
from engine.executors.choose import make_executor, threads_each
from engine.executors.config import EngineConfig
from engine.executors.pool import STRIKES, Pool, left_out_for
from engine.spec import Spec
from tests.conftest import PATIENCE
from tests.engine.executors.test_executors import STUB, collect, make_spec

TWO = replace(STUB, device="cpu:0,cpu:1")


class News:
    """Hear what a pool tells of its engines."""

    def __init__(self, pool: Pool) -> None:
        self.told: dict[str, Health | None] = {}
        self.changed = asyncio.Event()
        pool.listen(self)

    def __call__(self, name: str, health: Health | None) -> None:
        self.told[name] = health
        self.changed.set()

    def alive(self) -> set[str]:
        return {name for name, health in self.told.items() if health and health.alive}

    def restarts(self, name: str) -> int:
        health = self.told[name]
        return health.restarts if health else 0

    async def until(self, *names: str) -> None:
        """Wait until exactly these engines take jobs."""
        await self.when(lambda: self.alive() == {*names})

    async def when(self, true: Callable[[], bool]) -> None:
        """Wait until something is true after what was told."""
        async with asyncio.timeout(PATIENCE):
            while not true():
                self.changed.clear()
                await self.changed.wait()


def open_pool(config: EngineConfig) -> Pool:
    pool = make_executor("child", config)
    assert isinstance(pool, Pool)
    return pool


@pytest.fixture
async def pool() -> AsyncIterator[Pool]:
    """Yield two children that restart at once."""

    def make(name: str) -> ChildExecutor:
        return ChildExecutor(replace(STUB, device=name), backoff=lambda failures: 0)

    async with Pool({name: partial(make, name) for name in ("a", "b")}) as pool:
        yield pool


async def test_as_many_engines_start_as_there_are_jobs(pool: Pool) -> None:
    news = News(pool)
    assert news.alive() == set()
    pool.ask(1)
    await news.until("a")
    pool.ask(5)
    await news.until("a", "b")
    assert [health.slots for health in pool.health().engines.values()] == [8, 8]


def two_devices(factory: str) -> EngineConfig:
    devices = "tests.engine.stub:a_second_device"
    return EngineConfig(factory=f"tests.engine.stub:{factory}", devices=devices)


@pytest.mark.parametrize("first", ["broken", "useless"])
async def test_told_auto_it_takes_the_others_where_the_first_device_does_not_work(
    first: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    async with (
        open_pool(two_devices(f"open_beside_a_{first}_one")) as pool,
        asyncio.timeout(PATIENCE),
    ):
        news = News(pool)
        await pool.ready()
        await news.until("stub:1")
        assert isinstance((await collect(pool, make_spec()))[-1], Picture)
        assert pool.health().engines["stub:1"].device == "stub:1"
    assert "the engine's process on stub:1 is ready" in caplog.text


async def test_told_auto_it_takes_every_device_of_the_machine() -> None:
    async with open_pool(two_devices("open_beside")) as pool:
        news = News(pool)
        await pool.ready()
        pool.ask(2)
        await news.until("auto", "stub:1")
        devices = [health.device for health in pool.health().engines.values()]
        assert devices == ["stub:0", "stub:1"]


async def test_a_death_concerns_that_engines_jobs_alone(pool: Pool) -> None:
    pool.ask(2)
    await News(pool).until("a", "b")
    doomed = replace(make_spec("die in denoise"), engine="a")
    async with aclosing(pool.run(replace(make_spec("go on", 2), engine="b"))) as other:
        await anext(other)
        with pytest.raises(Lost) as lost:
            await collect(pool, doomed)
        assert lost.value.alone
        await anext(other)
    assert [health.restarts for health in pool.health().engines.values()] == [1, 0]


async def test_one_that_cannot_be_made_is_left_out_and_the_other_draws() -> None:
    config = replace(TWO, factory="tests.engine.stub:open_on_the_second")
    async with open_pool(config) as pool:
        news = News(pool)
        pool.ask(2)
        await news.until("cpu:1")
        drawn = await collect(pool, replace(make_spec(), engine="cpu:1"))
        assert isinstance(drawn[-1], Picture)


async def test_where_none_can_be_made_jobs_end_with_the_reason() -> None:
    config = replace(TWO, factory="tests.engine.stub:open_nothing")
    async with open_pool(config) as pool, asyncio.timeout(PATIENCE):
        await pool.ready()
        with pytest.raises(EngineError, match="no such device"):
            await collect(pool, make_spec())


class NoMemory(Executor):
    """Has no memory for any job."""

    slots = 8

    async def ready(self) -> None:
        pass

    def health(self) -> Health:
        return Health(alive=True)

    def cancel(self, job: int, epoch: int) -> None:
        pass

    async def run(self, spec: Spec) -> AsyncGenerator[Event]:
        if spec.job:
            raise OutOfMemory("no memory")
        yield Progress(stage=Stage.LOAD, step=0, total=1)


async def test_of_jobs_without_memory_those_that_had_none_last_are_remembered(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("engine.executors.pool.SHORT", 3)
    async with Pool({"a": NoMemory}) as pool:
        for job in (6, 7, 8, 6, 1):
            with pytest.raises(OutOfMemory):
                await collect(pool, replace(make_spec(), job=job, engine="a"))
        assert list(pool._short) == [8, 6, 1]


async def test_one_that_keeps_dying_is_made_anew_after_a_wait() -> None:
    made: list[str] = []

    def make(name: str) -> ChildExecutor:
        made.append(name)
        return ChildExecutor(replace(STUB, device=name), backoff=lambda failures: 0)

    waits: list[int] = []

    def back(job: int) -> bool:
        return news.restarts("a") > job and (job == 2 or "a" in news.alive())

    def wait(times: int) -> float:
        waits.append(times)
        return 0

    engines = {name: partial(make, name) for name in ("a", "b")}
    async with Pool(engines, wait=wait) as pool:
        news = News(pool)
        pool.ask(2)
        await news.until("a", "b")
        for job in range(3):
            with pytest.raises(Lost):
                await collect(pool, replace(make_spec("die in load", job), engine="a"))
            await news.when(partial(back, job))
        await news.when(lambda: made.count("a") == 2 and news.alive() == {"a", "b"})
        assert (made, waits) == (["a", "b", "a"], [1])
        assert pool.health().engines["a"].restarts == 3


async def test_a_job_for_an_engine_that_is_left_out_does_not_start_it() -> None:
    made: list[ChildExecutor] = []

    def make(name: str) -> ChildExecutor:
        made.append(ChildExecutor(replace(STUB, device=name), backoff=lambda failures: 0))
        return made[-1]

    engines = {name: partial(make, name) for name in ("a", "b")}
    async with Pool(engines, wait=lambda times: 3600) as pool:
        news = News(pool)
        pool.ask(2)
        await news.until("a", "b")
        for job in range(3):
            with pytest.raises(Lost):
                await collect(pool, replace(make_spec("die in load", job), engine="a"))
            await news.when(lambda job=job: news.restarts("a") > job)  # type: ignore[misc]
            await news.when(lambda job=job: job == 2 or "a" in news.alive())  # type: ignore[misc]
        await news.until("b")
        with pytest.raises(Lost) as lost:
            await collect(pool, replace(make_spec(job=9), engine="a"))
        assert lost.value.outside
        await pool.remove("b")
        with pytest.raises(Lost):
            await collect(pool, make_spec(job=10))
        assert [executor.health().pid for executor in made] == [None, None]


class Failing(ChildExecutor):
    """Fail to start whenever it is asked to."""

    asked = 0

    async def ready(self) -> None:
        """Count that it was asked."""
        self.asked += 1

    def health(self) -> Health:
        """Tell that it does not start, once it was asked."""
        return Health(alive=False, failing=self.asked > 0, has=frozenset())


class Told(NoMemory):
    """Start at once, and say what the test told it."""

    def __init__(self) -> None:
        self.told = Health(alive=False)

    async def ready(self) -> None:
        """Take jobs."""
        self.told = replace(self.told, alive=True)

    def health(self) -> Health:
        """Return what it was told."""
        return self.told

    async def __aexit__(self, *error: object) -> None:
        """Take no more jobs."""
        self.told = replace(self.told, alive=False)


async def test_an_idle_one_starts_where_one_is_left_out_and_the_other_fails(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("engine.executors.pool.LOOK", 0)
    made = {name: Told() for name in ("a", "b", "c")}
    engines = {name: partial(made.__getitem__, name) for name in made}
    async with Pool(engines, wait=lambda times: 3600) as pool:
        news = News(pool)
        pool.ask(2)
        await news.until("a", "b")
        made["a"].told = Health(alive=True, restarts=STRIKES)
        await news.until("b")
        made["b"].told = Health(alive=False, failing=True)
        await news.until("c")


async def test_the_only_one_is_not_started_again_and_again_without_a_job(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("engine.executors.pool.LOOK", 0)
    failing = Failing(STUB)
    async with Pool({"a": lambda: failing}) as pool:
        news = News(pool)
        await pool.ready()
        for _ in range(50):
            await asyncio.sleep(0)
        assert failing.asked == 1
        # It is told of as one that may have any file: jobs end with its error, not for a file.
        assert news.told == {"a": Health(alive=True, failing=True, device="a", slots=8)}


async def test_closing_one_with_several_waiting_jobs_starts_no_other() -> None:
    child = ChildExecutor(replace(STUB, factory="tests.engine.stub:open_hanging"))
    jobs = [asyncio.create_task(collect(child, make_spec(job=n)), name=f"{n}") for n in range(3)]
    await asyncio.sleep(0)
    before = asyncio.all_tasks()
    await child.close()
    ended = await asyncio.gather(*jobs, return_exceptions=True)
    assert all(isinstance(error, Lost) and error.outside for error in ended)
    assert not asyncio.all_tasks() - before
    async with asyncio.timeout(PATIENCE):
        await child.ready()


async def test_an_engine_can_be_added_and_removed(pool: Pool) -> None:
    news = News(pool)
    pool.add("c", lambda: ChildExecutor(replace(STUB, device="c")))
    pool.ask(3)
    await news.until("a", "b", "c")
    await pool.remove("c")
    assert (news.told["c"], [*pool.health().engines]) == (None, ["a", "b"])


def test_waits_grow_to_an_hour() -> None:
    assert [left_out_for(times) for times in (1, 2, 3, 7, 20)] == [60, 120, 240, 3600, 3600]


def test_engines_on_the_cpu_divide_its_threads(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("os.cpu_count", lambda: 8)
    assert threads_each(["cpu:0", "cpu:1", "cpu:2"]) == 2
    assert threads_each(["cpu:0", "cuda:0"]) == 0


async def test_one_process_has_one_engine() -> None:
    with pytest.raises(SettingError, match="one device where MARBLE_EXECUTOR is inprocess"):
        make_executor("inprocess", TWO)
