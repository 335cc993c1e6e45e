"""Take this process's jobs one after another: claim, draw, record; and tell how far each is.

A job that another process added to the same database is not touched: it is that one's to draw.
"""

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import aclosing, suppress

from engine.errors import Cancelled, UserError
from engine.events import Picture, Progress
from engine.executors import Executor, Spec
from storage import DatabaseFault, IllegalStep, Job, StaleEpoch
from storage.jobs import Jobs

log = logging.getLogger(__name__)

# A job that somebody else has ended or taken answers our own step with one of these.
OVERTAKEN = (StaleEpoch, IllegalStep)
UNEXPECTED = "Marble met an error that it did not expect; its owner finds more in the log."


class Feed:
    """Hold the latest news of one job; who follows it slowly misses steps, never the end."""

    def __init__(self) -> None:
        self._latest: Progress | None = None
        self._error: Exception | None = None
        self._over = False
        self._changed = asyncio.Event()

    def publish(self, progress: Progress) -> None:
        """Replace the latest news."""
        self._latest = progress
        self._changed.set()

    def close(self, error: Exception | None = None) -> None:
        """Say that nothing more will come, or why the end cannot be told."""
        self._over, self._error = True, error
        self._changed.set()

    async def follow(self) -> AsyncIterator[Progress]:
        """Yield the latest news whenever there are some, until the job is over.

        Raises what kept the job's end from being recorded.
        """
        seen = None
        while True:
            if self._latest is not None and self._latest is not seen:
                seen = self._latest
                yield seen
            elif self._over:
                if self._error:
                    raise self._error
                return
            else:
                self._changed.clear()
                await self._changed.wait()


class Worker:
    """Run queued jobs of this process in the order in which they were submitted."""

    def __init__(self, jobs: Jobs, executor: Executor) -> None:
        self._jobs = jobs
        self._executor = executor
        self._waiting: asyncio.Queue[int] = asyncio.Queue()
        self._feeds: dict[int, Feed] = {}

    def submit(self, job: Job) -> None:
        """Take note of a queued job, to be drawn when its turn comes."""
        self._feeds[job.id] = Feed()
        self._waiting.put_nowait(job.id)

    async def follow(self, job: int) -> AsyncIterator[Progress]:
        """Yield the latest progress of a submitted job until it is over."""
        if feed := self._feeds.get(job):
            async for progress in feed.follow():
                yield progress

    async def cancel(self, job: int) -> Job:
        """End a job; one that runs stops within a step. Raises `TooLate` once it is rendered."""
        cancelled = await self._jobs.cancel(job)
        self._executor.cancel(job, cancelled.epoch)
        return cancelled

    async def run(self) -> None:
        """Work until cancelled; the job at hand is then given back to the queue."""
        while True:
            number = await self._waiting.get()
            error: Exception | None = None
            try:
                if job := await self._jobs.claim(number):
                    await self._work(job)
            except DatabaseFault as fault:
                # The job stays as the database last knew it; the next job may fare better.
                log.warning("job %d: %s", number, fault)
                error = fault
            finally:
                self._feeds.pop(number).close(error)

    async def _work(self, job: Job) -> None:
        try:
            pictures = await self._draw(job)
            await self._jobs.rendered(job.id, job.epoch, pictures)
        except (Cancelled, *OVERTAKEN):
            log.info("job %d was ended by somebody else", job.id)
        except DatabaseFault:
            raise
        except UserError as error:
            await self._fail(job, str(error))
        except asyncio.CancelledError:
            await asyncio.shield(self._give_back(job))
            raise
        except Exception:
            log.exception("job %d failed", job.id)
            await self._fail(job, UNEXPECTED)

    async def _draw(self, job: Job) -> list[Picture]:
        pictures = []
        spec = Spec(job=job.id, epoch=job.epoch, recipe=job.recipe, alone=job.alone)
        async with aclosing(self._executor.run(spec)) as events:
            async for event in events:
                if isinstance(event, Picture):
                    pictures.append(event)
                else:
                    self._feeds[job.id].publish(event)
        return pictures

    async def _fail(self, job: Job, reason: str) -> None:
        with suppress(*OVERTAKEN):  # cancelled in the meantime: that answer stands
            await self._jobs.failed(job.id, job.epoch, reason)

    async def _give_back(self, job: Job) -> None:
        with suppress(*OVERTAKEN):  # its pictures were being recorded: they are kept
            await self._jobs.release(job.id, job.epoch)
