"""Measure many engines: python -m tests.bench.cluster

Three tables, the first two in the processor's time and by simulation of the queue alone: how long
choosing a job and its engine takes with a thousand engines, a hundred thousand waiting jobs and a
million people; and for how long finding everybody's place and time holds up the process. And what a
worker with its database gets out of 1 to 16 engines that only take time: seconds of steps, batches
and loads, as a GPU takes them (`--engines 1,2,4,8,16`; `--engines 0` leaves it out).

A fourth table is of real work (`--pictures 96`; 0 leaves it out): the starter model drawn by two
engines that divide the processors behind the queue and the database, and by two processes with such
an engine each and nothing before it, in turn.
"""

from __future__ import annotations

import argparse
import asyncio
import hashlib
import multiprocessing
import os
import resource
import sys
import tempfile
import time
from collections.abc import AsyncGenerator, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from random import Random
from statistics import median, quantiles
from typing import Final

from bots.operations.settings import load_settings
from bots.worker.queue_view import task_of
from bots.worker.worker import Worker
from engine.errors import Cancelled
from engine.events import Event, Picture, Progress, Stage
from engine.executors import Executor, Health
from engine.executors.choose import make_executor, threads_each
from engine.executors.config import SEPARATOR, EngineConfig
from engine.executors.inprocess import InProcessExecutor
from engine.executors.pool import Pool
from engine.queue.engines import Facts
from engine.queue.estimates import Work
from engine.queue.forecast import forecast
from engine.queue.order import Order
from engine.queue.queue import Queue
from engine.queue.tasks import Caps, Limits, Task
from engine.recipe.recipe import Recipe
from engine.spec import Spec
from storage import NewJob, Storage
from tests.factories import make_recipe

WIDE: Final = Limits(running=8, waiting=10**9, length=10**9)
MODELS: Final = [f"model {n}" for n in range(20)]
POPULAR: Final = [1 / (n + 1) for n in range(20)]  # Zipf's law
STEP: Final = 0.04  # seconds of a step for one picture, as a GPU of today takes for SD1.5 at 512²
GAIN: Final = 2.1  # times as many pictures a second at four in a call
BATCH: Final = 4
LOAD: Final = 3.0  # seconds
STEPS: Final = 20
JOBS: Final = 40  # an engine
PNG: Final = 300_000  # bytes
DEVICES: Final = ("cpu:0", "cpu:1")  # they divide the processors
ROUNDS: Final = 3  # of real work, each way in turn


def work_of(random: Random) -> Work:
    model = random.choices(MODELS, POPULAR)[0]
    return Work(model=model, width=random.choice((0.5, 1.0, 2.0)), calls=random.randint(4, 50))


@dataclass(frozen=True)
class Size:
    """How many there are; own: each engine has half of the models, and a file of its own."""

    engines: int
    waiting: int
    people: int
    own: bool = False

    def __str__(self) -> str:
        files = "its own" if self.own else "all"
        return f"| {self.engines:,} | {files} | {self.waiting:,} | {self.people:,} |"


def simulate(size: Size, rounds: int) -> tuple[str, str]:
    """Return a line on choosing, and one on forecasts; engines hold two models each."""
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    random, order = Random(1), Order(WIDE)
    for model in MODELS:
        order.speeds.learn(Work(model=model, width=1.0, calls=20), 2.0)
        order.speeds.learn_loading(model, 10.0)
    for n in range(size.engines):
        has = frozenset([*random.sample(MODELS, len(MODELS) // 2), f"own {n}"])
        held = dict.fromkeys(random.choices(MODELS, POPULAR, k=2))
        kind = random.choice(("kind A", "kind B"))
        if size.own:
            held = dict.fromkeys(model for model in held if model in has)
        facts = Facts(slots=8, kind=kind, held=tuple(held), has=has if size.own else None)
        order.put(f"node {n}", facts)
    asked = 0

    def come() -> None:
        nonlocal asked
        asked += 1
        person, work = f"person {random.randrange(size.people)}", work_of(random)
        order.submit(Task(job=asked, person=person, work=work, needs=frozenset([work.model])))

    for _ in range(size.waiting):
        come()
    now, running, times = 0.0, list[int](), list[float]()
    while task := order.choose(now, 0):  # until every engine is full
        running.append(task.job)
        come()
    for _ in range(rounds):
        now += 0.01
        place = random.randrange(len(running))
        running[place], running[-1] = running[-1], running[place]
        order.done(running.pop(), now)
        begun = time.thread_time()
        while task := order.choose(now, 0):
            times.append((time.thread_time() - begun) * 1e6)
            running.append(task.job)
            come()
            begun = time.thread_time()
    memory = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024
    chosen = f"{size} {len(times):,} | {spread(times, 0)} | {memory:.0f} |"
    slices, places = forecast_slices(order, now)
    return chosen, f"{size} {places:,} | {sum(slices) / 1e3:.2f} | {spread(slices, 1)} |"


def forecast_slices(order: Order, now: float) -> tuple[list[float], int]:
    """Return the milliseconds for which a forecast holds up the process each time, and its length.

    The first is the copy of the order, with what is done up to the first pause.
    """
    slices, places = list[float](), 0
    begun = time.thread_time()
    for found in forecast(order, now, 0):
        places += len(found)
        slices.append((time.thread_time() - begun) * 1e3)
        begun = time.thread_time()
    return slices, places


def spread(values: Sequence[float], digits: int) -> str:
    """Return the median, the 99th percentile and the worst as cells."""
    three = median(values), quantiles(values, n=100)[98], max(values)
    return " | ".join(f"{value:.{digits}f}" for value in three)


class TimedEngine(Executor):
    """Takes a GPU's time for loads, steps and batches, and sleeps in it."""

    slots = 8

    def __init__(self, name: str) -> None:
        self._name = name
        self._left: dict[tuple[int, int], int] = {}  # job → steps
        self._ticked = asyncio.Condition()
        self._loaded = False
        self._ticking: asyncio.Task[None] | None = None

    async def __aexit__(self, *error: object) -> None:
        if self._ticking:
            self._ticking.cancel()

    async def ready(self) -> None:
        self._ticking = self._ticking or asyncio.create_task(self._tick())

    def health(self) -> Health:
        held = (make_recipe().checkpoint,) if self._loaded else ()
        return Health(alive=self._ticking is not None, device=self._name, kind="timed", held=held)

    def cancel(self, job: int, epoch: int) -> None:
        self._left.pop((job, epoch), None)

    async def _tick(self) -> None:
        while True:
            batch = list(self._left)[:BATCH]
            if batch and not self._loaded:
                await asyncio.sleep(LOAD)
                self._loaded = True
            cost = STEP * (1 + (len(batch) - 1) * (BATCH / GAIN - 1) / (BATCH - 1))
            await asyncio.sleep(cost if batch else 0.001)
            for key in batch:
                if key in self._left:
                    self._left[key] -= 1
            async with self._ticked:
                self._ticked.notify_all()

    async def run(self, spec: Spec) -> AsyncGenerator[Event]:
        key, recipe, seen = (spec.job, spec.epoch), spec.recipe, STEPS
        yield Progress(stage=Stage.DENOISE, step=0, total=STEPS)
        self._left[key] = STEPS
        try:
            while self._left.get(key):
                async with self._ticked:
                    await self._ticked.wait()
                if key not in self._left:
                    raise Cancelled
                if self._left[key] < seen:
                    seen = self._left[key]
                    yield Progress(stage=Stage.DENOISE, step=STEPS - seen, total=STEPS)
        finally:
            self._left.pop(key, None)
        png = b"\x89PNG" + os.urandom(16) + bytes(PNG)
        for index in recipe.pictures:
            yield Picture(index=index, width=512, height=512, png=png)


async def no_caps(person: str, place: str) -> Caps:
    return ()


async def serve(count: int, folder: Path) -> tuple[float, float, list[float]]:
    """Draw `JOBS` jobs an engine.

    Return jobs a second, the processor's seconds for 1,000 jobs, and by how much the loop was late.
    """
    settings, lags = load_settings({}, env_file=""), list[float]()
    names = [f"timed:{n}" for n in range(count)]
    pool = Pool({name: (lambda n=name: TimedEngine(n)) for name in names})  # type: ignore[misc]
    async with Storage.open(folder) as storage, pool:
        queue = Queue(lambda: pool.slots, WIDE)
        worker = Worker(
            storage, pool, queue, lambda job, caps: task_of(settings, job, caps), no_caps
        )
        jobs = []
        for n in range(JOBS * count):
            new = NewJob(recipe=make_recipe(seed=n), person=f"terminal:{n % 50}", place="terminal")
            jobs.append(await storage.jobs.add(new))
        pool.ask(count)
        await asyncio.sleep(1.5)  # a look at each engine
        running = asyncio.create_task(worker.run())
        watching = asyncio.create_task(watch(lags))
        begun, used = time.perf_counter(), time.process_time()
        for job in jobs:
            worker.submit(job)
        await asyncio.gather(*(follow(worker, job.id) for job in jobs))
        seconds, used = time.perf_counter() - begun - LOAD, time.process_time() - used
        for each in (running, watching):
            each.cancel()
            with suppress(asyncio.CancelledError):
                await each
    return len(jobs) / seconds, used / len(jobs) * 1000, lags


async def follow(worker: Worker, job: int) -> None:
    async for _ in worker.follow(job):
        pass


async def watch(lags: list[float]) -> None:
    while True:
        begun = time.perf_counter()
        await asyncio.sleep(0.01)
        lags.append((time.perf_counter() - begun - 0.01) * 1e3)


def real_recipe(seed: int) -> Recipe:
    return make_recipe(checkpoint="starter", width=128, height=128, steps=12, seed=seed)


async def draw_alone(notes: Path, seeds: Sequence[int]) -> tuple[float, dict[int, str]]:
    """Draw pictures in an engine of half of the processors, with nothing before it.

    Return the seconds, without those of the first picture, and each picture's sha256.
    """
    drawn = dict[int, str]()

    async def draw(seed: int) -> None:
        async for event in executor.run(Spec(job=seed, epoch=1, recipe=real_recipe(seed))):
            if isinstance(event, Picture):
                drawn[seed] = hashlib.sha256(event.png).hexdigest()

    waiting = list(seeds)

    async def draw_on() -> None:
        while waiting:
            await draw(waiting.pop(0))

    config = EngineConfig(device="cpu", threads=threads_each(DEVICES), notes=notes)
    async with InProcessExecutor(config) as executor:
        await draw(0)
        begun = time.perf_counter()
        await asyncio.gather(*(draw_on() for _ in range(executor.slots)))
        return time.perf_counter() - begun, drawn


def run_alone(notes: Path, seeds: Sequence[int]) -> tuple[float, dict[int, str]]:
    return asyncio.run(draw_alone(notes, seeds))


def two_processes(notes: Path, count: int) -> tuple[float, dict[int, str]]:
    """Return pictures a second of two processes that share the seeds, and each picture's sha256."""
    halves = [range(1 + first, count + 1, 2) for first in range(2)]
    spawn = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(2, mp_context=spawn) as pool:
        both = list(pool.map(run_alone, [notes, notes], halves))
    return count / max(seconds for seconds, _ in both), both[0][1] | both[1][1]


async def two_engines(notes: Path, count: int, folder: Path) -> tuple[float, dict[int, str]]:
    """Return the same of two engines behind the queue and the database."""
    settings = load_settings({}, env_file="")
    config = EngineConfig(device=SEPARATOR.join(DEVICES), notes=notes)
    async with Storage.open(folder) as storage, make_executor("child", config) as pool:
        queue = Queue(lambda: pool.slots, WIDE)
        worker = Worker(
            storage, pool, queue, lambda job, caps: task_of(settings, job, caps), no_caps
        )
        running = asyncio.create_task(worker.run())

        async def draw(seeds: Sequence[int]) -> list[int]:
            new = [
                NewJob(recipe=real_recipe(n), person=f"terminal:{n}", place="terminal")
                for n in seeds
            ]
            jobs = [await storage.jobs.add(each) for each in new]
            for job in jobs:
                worker.submit(job)
            await asyncio.gather(*(follow(worker, job.id) for job in jobs))
            return [job.id for job in jobs]

        await draw([0] * pool.slots)  # both have the model
        begun = time.perf_counter()
        numbers = await draw(range(1, count + 1))
        seconds = time.perf_counter() - begun
        jobs = [await storage.jobs.get(number) for number in numbers]
        running.cancel()
        with suppress(asyncio.CancelledError):
            await running
    return count / seconds, {job.recipe.seed: job.pictures[0].sha256 for job in jobs}


def show_real(count: int) -> None:
    """Print what both ways draw in a second, in turn, and whether they draw the same bytes."""
    say("| real pictures | two engines, /s | two processes, /s | of these | same bytes |")
    say("|---|---|---|---|---|")
    ratios = []
    with tempfile.TemporaryDirectory() as notes:
        two_processes(Path(notes), 4)  # measures the calls' costs for all that follow
        for _ in range(ROUNDS):
            alone, theirs = two_processes(Path(notes), count)
            with tempfile.TemporaryDirectory() as folder:
                queued, ours = asyncio.run(two_engines(Path(notes), count, Path(folder)))
            same = sum(theirs[seed] == sha256 for seed, sha256 in ours.items())
            ratios.append(queued / alone)
            say(f"| {count} | {queued:.2f} | {alone:.2f} | {ratios[-1]:.2f} | {same} |")
    say(f"median of these: {median(ratios):.2f}")


def say(line: str) -> None:
    """Print a line."""
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


def show_simulated(sizes: Sequence[Size], rounds: int) -> None:
    say("| engines | files | jobs wait | people | choices | µs p50 | p99 | worst | MB |")
    say("|---|---|---|---|---|---|---|---|---|")
    forecasts = []
    for size in sizes:
        chosen, foreseen = simulate(size, rounds)
        say(chosen)
        forecasts.append(foreseen)
    say("| engines | files | jobs wait | people | places | s | held up, ms p50 | p99 | worst |")
    say("|---|---|---|---|---|---|---|---|---|")
    for line in forecasts:
        say(line)


def show_timed(counts: Sequence[int]) -> None:
    say("| engines | jobs/s | of N × one | processor, s for 1,000 | loop late, ms p50 | p99 |")
    say("|---|---|---|---|---|---|")
    one = 0.0
    for count in counts:
        with tempfile.TemporaryDirectory() as folder:
            rate, used, lags = asyncio.run(serve(count, Path(folder)))
        one = one or rate / count
        late = f"{median(lags):.1f} | {quantiles(lags, n=100)[98]:.1f}"
        say(f"| {count} | {rate:.2f} | {rate / count / one:.2f} | {used:.2f} | {late} |")


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5000, help="ends of jobs (5000)")
    parser.add_argument("--engines", default="1,2,4,8,16", help="that only take time")
    parser.add_argument("--pictures", type=int, default=96, help="of real work (96)")
    arguments = parser.parse_args()
    say(f"load {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores")
    sizes = [
        Size(1, 10_000, 10_000),
        Size(16, 10_000, 10_000),
        Size(1000, 100_000, 1_000_000),
        Size(1000, 100_000, 1_000_000, own=True),
    ]
    show_simulated(sizes, arguments.rounds)
    if counts := [int(n) for n in arguments.engines.split(",") if int(n)]:
        show_timed(counts)
    if arguments.pictures:
        show_real(arguments.pictures)


if __name__ == "__main__":
    main()
