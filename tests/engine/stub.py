"""A pipeline without a model, for what is about executors: it does what the prompt says.

die in STAGE   the process kills itself in that stage of the job's first attempt
poison in STAGE  … of every attempt
go on          the job never ends
wait for N     the job ends once N jobs have been at work together
hang           the tick never ends
break          the tick raises
wreck          the job's first attempt leaves the device useless to this process
break and wreck  … and the tick raises
refuse         the job ends with a sentence for people
"""

import os
import signal
import threading
from collections.abc import Iterator

from engine.errors import Cancelled, EngineError, UserError
from engine.events import About, Ended, Event, Key, Picture, Progress, Report, Stage
from engine.executors.config import EngineConfig
from engine.spec import Spec


class StubPipeline:
    """Bring every job a step further each tick; a picture's bytes tell with whom it was drawn."""

    def __init__(self) -> None:
        self.jobs: dict[Key, Iterator[Event | Ended]] = {}
        self.company: dict[Key, set[int]] = {}
        self.cancels: list[Key] = []
        self.ticks = 0
        self.about = About(device="stub:0", kind="a stub", room={"budget": 7})

    @property
    def busy(self) -> bool:
        return bool(self.jobs)

    @property
    def held(self) -> list[str]:
        return ["stub"] if self.ticks else []

    @property
    def counts(self) -> dict[str, int]:
        return {"ticks": self.ticks}

    def admit(self, spec: Spec) -> None:
        key = Key(spec.job, spec.epoch)
        self.jobs[key] = self.work(key, spec)
        self.company[key] = set()
        for seen in self.company.values():
            seen |= {other.job for other in self.jobs}

    def cancel(self, key: Key) -> None:
        self.cancels.append(key)

    def close(self) -> None:
        self.jobs.clear()

    def tick(self) -> Iterator[Report]:
        self.ticks += 1
        while self.cancels:
            if (key := self.cancels.pop()) in self.jobs:
                yield Report(key, Ended(Cancelled()))
                del self.jobs[key]
        for key, job in list(self.jobs.items()):
            news = next(job)
            yield Report(key, news)
            if isinstance(news, Ended):
                del self.jobs[key], self.company[key]

    def work(self, key: Key, spec: Spec) -> Iterator[Event | Ended]:
        recipe, word = spec.recipe, spec.recipe.prompt
        totals = {**dict.fromkeys(Stage, 1), Stage.DENOISE: recipe.steps}
        for stage, total in totals.items():
            yield Progress(stage=stage, step=0, total=total, preview=b"jpeg")
            if word == f"poison in {stage}" or (word == f"die in {stage}" and spec.epoch == 1):
                os.kill(os.getpid(), signal.SIGKILL)
            for step in range(1, total + 1):
                yield Progress(stage=stage, step=step, total=total)
        yield from self.wait(key, word, Progress(stage=Stage.DECODE, step=1, total=1))
        if word == "hang":
            threading.Event().wait()
        if word == "break":
            raise ValueError("inner words")
        if word == "break and wreck" and spec.epoch == 1:
            raise RuntimeError("CUDA error: an illegal memory access was encountered")
        if word == "wreck" and spec.epoch == 1:
            yield Ended(EngineError("AcceleratorError: CUDA error: device-side assert triggered"))
        if word == "refuse":
            yield Ended(UserError("No."))
        png = repr(sorted(self.company[key])).encode() * (100_000 if word == "large" else 1)
        for index in recipe.pictures:
            yield Picture(index=index, width=8, height=8, png=png)
        yield Ended()

    def wait(self, key: Key, word: str, news: Progress) -> Iterator[Progress]:
        needed = int(word.removeprefix("wait for ")) if word.startswith("wait for") else 0
        while word == "go on" or len(self.company[key]) < needed:
            yield news


def open_stub(config: EngineConfig) -> StubPipeline:
    return StubPipeline()


def open_beside(config: EngineConfig) -> StubPipeline:
    """Make an engine on its device; told `auto`, on the first."""
    stub = StubPipeline()
    stub.about = About(device=config.device.replace("auto", "stub:0"), kind="a stub")
    return stub


def open_beside_a_broken_one(config: EngineConfig) -> StubPipeline:
    """Make an engine on any device but the first, over which a process dies."""
    if config.device == "auto":
        os.kill(os.getpid(), signal.SIGKILL)
    return open_beside(config)


def open_beside_a_useless_one(config: EngineConfig) -> StubPipeline:
    """Make an engine on any device but the first."""
    return open_nothing(config) if config.device == "auto" else open_beside(config)


def no_devices() -> tuple[str, ...]:
    """Name the devices beside the first of a machine that has only one."""
    return ()


def a_second_device() -> tuple[str, ...]:
    """Name those of a machine that has two."""
    return ("stub:1",)


def open_on_the_second(config: EngineConfig) -> StubPipeline:
    """Make an engine on the second device alone."""
    if config.device == "cpu:0":
        raise OSError("no such device")
    return StubPipeline()


def open_nothing(config: EngineConfig) -> StubPipeline:
    raise OSError("no such device")


def open_and_die(config: EngineConfig) -> StubPipeline:
    os.kill(os.getpid(), signal.SIGKILL)
    return StubPipeline()


def open_second(config: EngineConfig) -> StubPipeline:
    """Let the first process that makes an engine die over it."""
    assert config.notes
    if not (mark := config.notes / "died").exists():
        mark.touch()
        os.kill(os.getpid(), signal.SIGKILL)
    return StubPipeline()


def open_wreck(config: EngineConfig) -> StubPipeline:
    raise RuntimeError("CUDA error: no kernel image is available for execution on the device")


def open_or_hang(config: EngineConfig) -> StubPipeline:
    """Hang while the engine is made, until somebody says that it may be."""
    assert config.notes
    if not (config.notes / "may").exists():
        threading.Event().wait()
    return StubPipeline()
