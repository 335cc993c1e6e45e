"""A worker process for the kill test: commands in, pictures drawn, replies out, until killed."""

from __future__ import annotations

import asyncio
import json
import logging
import os
import signal
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bots.worker.delivery import Delivery, Shown, Way
from engine.events import Picture as Drawn
from engine.recipe.recipe import Recipe
from storage import Job, Jobs, NewJob, PendingReply, Status, Storage
from storage.database import schema
from tests.storage.kill_chat import POISON

POINTS = (
    "fetched",  # a command was read, nothing is committed
    "added",  # committed, nobody told
    "placeholder",  # told, its message not recorded
    "acknowledged",
    "claimed",
    "files",  # the picture is on disk, no row names it
    "rendered",
    "sending",  # the reply is in hand, not sent
    "sent",  # sent, not recorded
    "delivered",
)
AT_ONCE = 2  # jobs that run at the same time
schema.head(), schema.known()  # read once, before the fork


@dataclass(frozen=True)
class Plan:
    """Say where this life ends: at the n-th passing of a point, or from outside."""

    point: str | None = None
    passing: int = 1


@dataclass
class Life:
    """Run everything that a real process would, against the chat server."""

    plan: Plan
    storage: Storage
    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter
    lock: asyncio.Lock
    passed: Counter[str]
    added: asyncio.Event

    name: str = "chat"
    ways = (Way("edit", repeatable=True),)

    def point(self, name: str) -> None:
        self.passed[name] += 1
        if self.plan.point == name and self.passed[name] == self.plan.passing:
            os.kill(os.getpid(), signal.SIGKILL)

    async def ask(self, do: str, **values: Any) -> Any:
        async with self.lock:
            self.writer.write(json.dumps({"do": do, **values}).encode() + b"\n")
            return json.loads(await self.reader.readline())

    async def take_commands(self) -> None:
        """Commit first, then acknowledge, then let the server forget."""
        offset = 0
        while commands := await self.ask("updates", offset=offset, limit=10):
            for command in commands:
                self.point("fetched")
                job = await self.storage.jobs.add(_request(command))
                self.point("added")
                self.added.set()
                if job.message is None:
                    await self.placeholder(job)
            offset = commands[-1]["id"] + 1

    async def placeholder(self, job: Job) -> str:
        message = str(await self.ask("placeholder", command=job.reply["command"]))
        self.point("placeholder")
        await self.storage.jobs.acknowledged(job.id, message)
        self.point("acknowledged")
        return message

    async def work(self) -> None:
        """Draw what waits, two at a time; a poison takes its neighbour with it."""
        while True:
            waiting = await self.storage.jobs.list_queued(limit=AT_ONCE)
            await asyncio.gather(*(self.draw(job) for job in waiting))
            if not waiting:
                await self.added.wait()
                self.added.clear()

    async def draw(self, waiting: Job) -> None:
        job = await self.storage.worker.claim(waiting.id)
        assert job is not None
        self.point("claimed")
        if POISON in job.recipe.prompt:
            os.kill(os.getpid(), signal.SIGKILL)
        png = f"a picture of {job.recipe.prompt}".encode()
        drawn = [Drawn(index=0, width=64, height=64, png=png)]
        await self.storage.jobs.rendered(job.id, job.epoch, drawn)
        self.point("rendered")

    async def deliver(self, pending: PendingReply, way: Way) -> Shown:
        """Edit the placeholder into the reply."""
        message = pending.job.message or await self.placeholder(pending.job)
        self.point("sending")
        text = str(pending.outcome)
        if pending.outcome is Status.RENDERED:
            text = self.storage.pictures.read(pending.job.pictures[0]).decode()
        await self.ask("edit", message=int(message), text=text)
        self.point("sent")
        return {message: None}

    async def run(self) -> None:
        # Suspects come first and alone: a job that is innocent is not killed a second time.
        await self.storage.worker.requeue_lost()
        for job in await self.storage.jobs.list_queued(limit=1000):
            if job.suspect:
                await self.draw(job)
        jobs, outbox, process = Recording(self), self.storage.outbox, self.storage.worker
        delivery = Delivery(jobs, outbox, process, {"chat": self})  # type: ignore[arg-type,dict-item]
        await asyncio.gather(self.take_commands(), self.work(), delivery.run())


class Recording:
    """Pass a point after a delivery was recorded."""

    def __init__(self, life: Life) -> None:
        self.life = life

    async def delivered(self, job: int, shown: Shown) -> None:
        await self.life.storage.jobs.delivered(job, shown)
        self.life.point("delivered")


def _request(command: dict[str, Any]) -> NewJob:
    recipe = Recipe(
        prompt=command["prompt"],
        seed=command["id"],
        steps=1,
        guidance_scale=1,
        width=64,
        height=64,
        sampler="euler",
        schedule="normal",
        checkpoint="starter",
    )
    return NewJob(
        recipe=recipe,
        person="chat:ada",
        place="chat:1",
        reply={"command": command["id"]},
        event=f"chat:{command['id']}",
    )


async def _live(port: int, folder: Path, url: str | None, plan: Plan) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    async with Storage.open(folder, url) as storage:
        life = Life(plan, storage, reader, writer, asyncio.Lock(), Counter(), asyncio.Event())
        keep = Jobs._keep

        async def keep_and_pass(jobs: Jobs, drawn: Sequence[Drawn]) -> Any:
            kept = await keep(jobs, drawn)
            life.point("files")
            return kept

        Jobs._keep = keep_and_pass  # type: ignore[method-assign,assignment]
        await life.run()


def main(port: int, folder: Path, url: str | None, plan: Plan) -> None:
    """Live until killed."""
    logging.disable(logging.CRITICAL)
    asyncio.run(_live(port, folder, url, plan))
