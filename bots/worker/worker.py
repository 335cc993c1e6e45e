"""Feed the GPU queue and do what it says: claim a job, draw it, record it, tell how far it is."""

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractContextManager, aclosing, suppress
from typing import Final

from bots.operations.logs import about
from bots.worker.feeds import Feed
from bots.worker.queue_view import task_of
from bots.worker.teller import EVERY, Teller
from bots.worker.watching import Unwatched, Watch
from engine.errors import Cancelled, Lost, UserError
from engine.events import News, Picture, Stage
from engine.executors import Executor
from engine.queue.order import Caps, Priority, Task
from engine.queue.queue import Queue
from engine.sentences import Sentence
from engine.spec import Spec
from storage import DatabaseFault, IllegalStep, Job, StaleEpoch, Status, UnknownJob
from storage.jobs.jobs import Jobs
from storage.states import OVER

log = logging.getLogger(__name__)

# A job that somebody else has ended or taken answers our own step with one of these.
OVERTAKEN = (StaleEpoch, IllegalStep)
UNEXPECTED = Sentence(
    "Marble met an error that it did not expect; its owner finds more in the log.", "unexpected"
)
WATCH: Final = 1.0  # seconds between two looks at a job that another process runs


async def no_caps(person: str, place: str) -> Caps:
    """Let as many jobs run as there are slots."""
    return ()


def everybody_alike(job: Job) -> Priority:
    """Give nobody's jobs priority."""
    return Priority.PERSON


class Worker:
    """Run jobs in the order of the queue, as many at once as the executor has slots."""

    def __init__(
        self,
        jobs: Jobs,
        executor: Executor,
        queue: Queue | None = None,
        priority: Callable[[Job], Priority] = everybody_alike,
        tell_every: float = EVERY,
        caps: Callable[[str, str], Awaitable[Caps]] = no_caps,
    ) -> None:
        self.queue = queue or Queue(lambda: executor.slots)
        self._jobs = jobs
        self._executor = executor
        self._priority = priority
        self.caps = caps  # of a person in a place
        self._feeds: dict[int, Feed] = {}
        self._at_work: dict[int, int] = {}  # with the epoch of our claim
        self._adrift: dict[int, Job] = {}  # claims of ours whose end could not be recorded
        self._stopped: set[int] = set()  # cancelled here while a task of ours has them in hand
        self.watch: Watch = Unwatched()
        self._teller = Teller(self.queue, self._feeds, tell_every)

    def admit(self, person: str) -> AbstractContextManager[None]:
        """Keep a place in line while a job is committed; raises `UserError` if there is none."""
        return self.queue.admit(person)

    def submit(self, job: Job, caps: Caps = ()) -> None:
        """Take note of a job, to be drawn when its turn comes; one that is known or over is not."""
        if job.status is Status.QUEUED and job.id not in self._feeds:
            self._feeds[job.id] = Feed()
            self._enqueue(job, caps)

    async def take_in(self, after: int = 0) -> int:
        """Submit what waits in the database, as a process does that works for everybody.

        Only jobs with a number above `after` are looked at; returns the last one's.
        """
        known: dict[tuple[str, str], Caps] = {}
        while jobs := await self._jobs.list_queued(after):
            for job in jobs:
                if job.id not in self._feeds:
                    who = job.person, job.place
                    if who not in known:
                        known[who] = await self.caps(*who)
                    self.submit(job, known[who])
            after = jobs[-1].id
        return after

    async def follow(self, job: int) -> AsyncIterator[News]:
        """Yield the latest news of a submitted job until it is over."""
        if feed := self._feeds.get(job):
            async for news in feed.follow():
                yield news

    async def cancel(self, job: int, *, by: str | None = None) -> Job:
        """End a job; one that runs stops within a step. Raises `TooLate` once it is rendered.

        by: who ends it, for the moderators' log.
        """
        cancelled = await self._jobs.cancel(job, by=by)
        if self.queue.cancel(job):
            self._feeds.pop(job).close()
        elif job in self._feeds:
            self._stopped.add(job)
            self._executor.cancel(job, cancelled.epoch)
        return cancelled

    async def heed(self) -> None:
        """Stop what another process has ended: cancelled, or forgotten with its person.

        What the database could not take the end of is given back: it still counts as ours there.
        """
        ours = dict(self._at_work)
        standing = await self._jobs.standing(ours) if ours else {}
        for number, epoch in ours.items():
            ended = standing.get(number) != (Status.RUNNING, epoch)
            if ended and self._at_work.get(number) == epoch:
                self._stopped.add(number)
                self._executor.cancel(number, epoch)
        for job in list(self._adrift.values()):
            await self._give_back(job)
            del self._adrift[job.id]

    async def run(self) -> None:
        """Work until cancelled; the jobs at hand are then given back to the database."""
        try:
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(self._teller.run(), name="marble-teller")
                while True:
                    task = await self.queue.next()
                    tasks.create_task(self._serve(task), name=f"marble-job-{task.job}")
        finally:
            for feed in self._feeds.values():
                feed.close()

    def _enqueue(self, job: Job, caps: Caps) -> None:
        self.queue.submit(task_of(job, self._priority(job), caps))

    async def _serve(self, task: Task) -> None:
        """See a job to its end, whoever draws it, and let those know who follow it."""
        error: Exception | None = None
        number = task.job
        try:
            if not await self._claim_and_work(task) and await self._is_back(number):
                return
        except UnknownJob:
            log.info("job %d was forgotten", number)
        except DatabaseFault as fault:
            # The job stays as the database last knew it, until `heed`; the next may fare better.
            log.warning("job %d: %s", number, fault)
            error = fault
        except Exception as unexpected:
            log.exception("job %d was lost sight of", number)
            error = unexpected
        self._forget(number, error)

    def _forget(self, number: int, error: Exception | None) -> None:
        self._stopped.discard(number)
        if feed := self._feeds.pop(number, None):
            feed.close(error)

    async def _claim_and_work(self, task: Task) -> bool:
        """Draw a job in the slot that it was given; return False where it is not ours any more."""
        finished, job = False, None
        try:
            job = await self._claim(task.job)
            if job and job.suspect and not task.alone:
                # Another process died with it since it came into line here: it waits to run alone.
                await asyncio.shield(self._give_back(job))
                return False
            if job:
                with about(job.id, job.epoch):
                    finished = await self._work(job)
            return job is not None
        except Lost as error:
            log.warning("job %d: %s", task.job, error)
            self.queue.cooled()
            return False
        except DatabaseFault:
            if job:
                self._adrift[job.id] = job
            raise
        finally:
            self.queue.done(task.job, finished=finished)

    async def _claim(self, number: int) -> Job | None:
        claiming = asyncio.create_task(self._jobs.claim(number), name=f"marble-claim-{number}")
        try:
            return await asyncio.shield(claiming)
        except asyncio.CancelledError:
            # It may be committed all the same: then it is ours to give back.
            if job := await claiming:
                await self._give_back(job)
            raise

    async def _is_back(self, number: int) -> bool:
        """Wait for a job that is not ours; return whether it waits again, for anybody to take."""
        while (job := await self._jobs.get(number)).status not in OVER:
            if job.status is Status.QUEUED:
                self._enqueue(job, await self.caps(job.person, job.place))
                return True
            await asyncio.sleep(WATCH)
        return False

    async def _work(self, job: Job) -> bool:
        """Draw a claimed job and record what came of it; return whether all its work was done."""
        outcome = "failed"
        self._at_work[job.id] = job.epoch
        try:
            pictures = await self._draw(job)
            await self._jobs.rendered(job.id, job.epoch, pictures)
            outcome = "rendered"
            for picture in pictures:
                self.watch.judged(picture.verdict)
        except Lost as error:
            outcome = "lost"
            with suppress(*OVERTAKEN):
                await self._jobs.lost(job.id, job.epoch, alone=error.alone)
            raise
        except (Cancelled, *OVERTAKEN):
            outcome = "cancelled"
        except DatabaseFault:
            outcome = "unrecorded"
            raise
        except UserError as error:
            await self._fail(job, error.said)
        except asyncio.CancelledError:
            outcome = "given back"
            await asyncio.shield(self._give_back(job))
            raise
        except Exception:
            log.exception("job %d failed", job.id)
            await self._fail(job, UNEXPECTED)
        finally:
            del self._at_work[job.id]
            log.info("job %d: %s", job.id, outcome)
            self.watch.ended(outcome)
        return outcome == "rendered"

    async def _draw(self, job: Job) -> list[Picture]:
        pictures = []
        stage, since = None, time.monotonic()
        spec = Spec(job=job.id, epoch=job.epoch, recipe=job.recipe, alone=job.suspect)
        async with aclosing(self._executor.run(spec)) as events:
            async for event in events:
                if job.id in self._stopped:  # the executor may not have known it yet when asked
                    raise Cancelled
                if isinstance(event, Picture):
                    pictures.append(event)
                    continue
                self._feeds[job.id].publish(event)
                if event.stage is not stage:
                    self._note_stage(job.id, stage, since, event.stage)
                    stage, since = event.stage, time.monotonic()
        self._note_stage(job.id, stage, since, None)
        return pictures

    def _note_stage(
        self, number: int, before: Stage | None, since: float, now: Stage | None
    ) -> None:
        """Tell the queue what it measures apart (loading, drawing, decoding), and who watches."""
        if before:
            self.watch.stage(before, time.monotonic() - since)
        if before in (None, Stage.LOAD) and now not in (None, Stage.LOAD):
            self.queue.begun(number, loaded=before is Stage.LOAD)
        elif now is Stage.DECODE:
            self.queue.drawn(number)

    async def _fail(self, job: Job, reason: str) -> None:
        with suppress(*OVERTAKEN):  # cancelled in the meantime: that answer stands
            await self._jobs.failed(job.id, job.epoch, reason)

    async def _give_back(self, job: Job) -> None:
        with suppress(*OVERTAKEN):  # its pictures were being recorded: they are kept
            await self._jobs.release(job.id, job.epoch)
