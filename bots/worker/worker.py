"""Runs jobs in the order of the queue: claims, draws and records them, and publishes progress."""

import asyncio
import logging
import time
from collections import Counter, defaultdict
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import aclosing, suppress
from dataclasses import replace
from typing import Final

from bots.operations.logs import about
from bots.worker.progress import EVERY, JobNews, Observer, Place, PositionPublisher
from engine.errors import Cancelled, EngineError, Lost, OutOfMemory, UserError
from engine.events import News, Picture, Progress, Stage
from engine.executors import Executor, Health
from engine.executors.pool import Pool
from engine.queue.engines import Facts
from engine.queue.queue import Queue
from engine.queue.tasks import Caps, Task
from engine.sentences import Sentence
from engine.spec import Spec
from storage import DatabaseFault, IllegalStep, Job, StaleEpoch, Status, Storage, UnknownJob
from storage.errors import TooManyRun
from storage.jobs.workers import Running
from storage.states import OVER

log = logging.getLogger(__name__)

# Raised by a step on a job that another process has ended or claimed.
OVERTAKEN = (StaleEpoch, IllegalStep)
UNEXPECTED = Sentence("unexpected")
OVER_ALREADY: Final = JobNews()
OVER_ALREADY.close()
MATCHING: Final = 60.0  # seconds that a reply waits to learn which picture is the best
WATCH: Final = 1.0  # seconds between two looks at a job that another process runs


Match = Callable[[str, Sequence[bytes]], Awaitable[list[float]]]  # of a prompt and picture files


async def no_match(prompt: str, files: Sequence[bytes]) -> list[float]:
    """Compare nothing, where there is nothing to compare with."""
    raise UserError(Sentence("clip_fails"))


class _Elsewhere(Exception):
    """An engine cannot draw a job that another one may."""


class Worker:
    """Runs jobs in the order of the queue, as many at once as the executor has slots.

    caps: of a person's jobs in a place, by group. publish_every: seconds between queue positions.
    most: of a person's jobs that all processes may run at once, if that is limited. match: returns
    how well pictures match a prompt, for jobs that show the best first.
    """

    def __init__(
        self,
        storage: Storage,
        executor: Executor,
        queue: Queue,
        task_of: Callable[[Job, Caps], Task],
        caps: Callable[[str, str], Awaitable[Caps]],
        publish_every: float = EVERY,
        most: int | None = None,
        match: Match = no_match,
    ) -> None:
        self.queue = queue
        self._match = match
        self.most = most
        self._jobs = storage.jobs
        self._process = storage.worker
        self._executor = executor
        self._task_of = task_of
        self.caps = caps
        self.rendered = asyncio.Event()  # set when pictures were recorded
        self._news: dict[int, JobNews] = {}
        self._by_person: defaultdict[str, set[int]] = defaultdict(set)  # their jobs with news
        self._epochs: dict[int, int] = {}  # of our claims on the jobs that run
        self._in_hand: set[int] = set()  # what the queue started here, claimed or about to be
        self._stopped: set[int] = set()  # cancelled here while a task of ours has them in hand
        self.observer = Observer()
        self._positions = PositionPublisher(queue, self._news, publish_every)
        self._pool = executor if isinstance(executor, Pool) else None
        if self._pool:
            self._pool.listen(self._note_engine)

    @property
    def places(self) -> list[Place]:
        """Return the positions and times that were published last."""
        return self._positions.places

    def submit(self, job: Job, caps: Caps = ()) -> None:
        """Put a job into the queue, unless it is there already or over."""
        if job.status is Status.QUEUED and job.id not in self._news:
            self._news[job.id] = JobNews(job.person)
            self._by_person[job.person].add(job.id)
            self._enqueue(job, caps)

    async def take_in(self, after: int = 0) -> int:
        """Submit the jobs that wait in the database, as a process that serves does.

        Only jobs with a number above `after` are looked at; returns the last one's.
        """
        known: dict[tuple[str, str], Caps] = {}
        while jobs := await self._jobs.list_queued(after):
            for job in jobs:
                if job.id not in self._news:
                    who = job.person, job.place
                    if who not in known:
                        known[who] = await self.caps(*who)
                    self.submit(job, known[who])
            after = jobs[-1].id
        return after

    def follow(self, job: int) -> AsyncIterator[News]:
        """Return the latest news of a submitted job, until it is over; see `JobNews.follow`."""
        return self._news.get(job, OVER_ALREADY).follow()

    def unfinished(self, person: str) -> list[tuple[int, News | None]]:
        """Return somebody's jobs that wait or run, the first first, each with its latest news."""
        return [(job, self._news[job].latest) for job in sorted(self._by_person.get(person, ()))]

    async def cancel(self, job: int, *, by: str | None = None) -> Job:
        """End a job; one that runs stops within a step. Raises `TooLate` once it is rendered.

        by: who ends it, for the moderators' log.
        """
        cancelled = await self._jobs.cancel(job, by=by)
        if self.queue.cancel(job):
            self._end_news(job)
        elif job in self._news:
            self._stopped.add(job)
            self._executor.cancel(job, cancelled.epoch)
        return cancelled

    async def put_ahead(self, job: int, *, by: str) -> None:
        """Let a waiting job be next, in every process; raises `NotWaiting`.

        by: who wants it, for the moderators' log.
        """
        await self._jobs.put_ahead(job, by=by)
        self.queue.put_ahead(job)

    async def look_ahead(self) -> None:
        """Let what other processes put before others be next in this one, too."""
        for job in await self._jobs.list_ahead():
            self.queue.put_ahead(job)

    async def stop_ended(self) -> None:
        """Stop jobs that another process has ended: cancelled, or removed with their person.

        Tells of jobs that wait here while another process draws them. Gives back jobs that are ours
        in the database alone: their claim was not answered, or their end could not be recorded.
        """
        ours = dict(self._epochs)
        running, beside = await self._running()
        epochs = {each.job: each.epoch for each in running if each.mine}
        for number, epoch in ours.items():
            if epochs.get(number) != epoch and self._epochs.get(number) == epoch:
                self._stopped.add(number)
                self._executor.cancel(number, epoch)
        for each in beside:
            if each.mine:
                log.warning("job %d is given back: it ran in the database alone", each.job)
                await self._give_back(each.job, each.epoch)
        await self._show_elsewhere(frozenset(each.job for each in beside if not each.mine))

    async def _show_elsewhere(self, running: frozenset[int]) -> None:
        """Tell which of our jobs other processes draw, and of those that wait here the end."""
        ours = running & self._news.keys()
        if ended := self._positions.show_elsewhere(ours):
            found = await self._jobs.several(ended)
            for number in ended:
                job = found.get(number)
                if (job is None or job.status in OVER) and self.queue.cancel(number):
                    self._end_news(number)

    async def look_elsewhere(self) -> None:
        """Tell the queue what runs that it did not start here, where a limit counts that."""
        if self.most is not None:
            _, beside = await self._running()
            self.queue.count_elsewhere(Counter(each.person for each in beside))

    async def run(self) -> None:
        """Run jobs until cancelled; those that run are then given back to the database."""
        try:
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(self._positions.run(), name="marble-positions")
                while True:
                    task = None
                    if self._pool and self.queue.is_asking:
                        self._pool.ask(self.queue.order.demand)
                    if self.queue.wants():
                        await self._executor.ready()
                        task = self.queue.start()
                    if task:
                        tasks.create_task(self._serve(task), name=f"marble-job-{task.job}")
                    else:
                        self.queue.retry.clear()
                        await self.queue.retry.wait()
        finally:
            for news in self._news.values():
                news.close()

    async def _running(self) -> tuple[list[Running], list[Running]]:
        """Return what runs by the database, and what of it we did not have in hand meanwhile."""
        before = set(self._in_hand)
        running = list(await self._process.running())
        in_hand = before | self._in_hand
        return running, [each for each in running if each.job not in in_hand]

    def _enqueue(self, job: Job, caps: Caps) -> None:
        self.queue.submit(self._task_of(job, caps))

    async def _serve(self, task: Task) -> None:
        """Wait for the end of a job, whichever process draws it, and close its news."""
        error: Exception | None = None
        number = task.job
        try:
            try:
                is_over = await self._claim_and_work(task)
            except TooManyRun:
                is_over = False
                await self._wait_for_room()
            if not is_over and await self._is_back(number):
                return
        except UnknownJob:
            log.info("job %d was deleted while it ran", number)
        except DatabaseFault as fault:
            # In the database it is still ours, until `stop_ended` gives it back.
            log.warning("job %d: %s", number, fault)
            error = fault
        except Exception as unexpected:
            log.exception("job %d: its outcome is unknown", number)
            error = unexpected
        self._stopped.discard(number)
        self.queue.order.forget(number)
        self._end_news(number, error)

    def _end_news(self, job: int, error: Exception | None = None) -> None:
        """Forget the news of a job that is over here, and let its followers know."""
        if news := self._news.pop(job, None):
            news.close(error)
            self._by_person[news.person].discard(job)
            if not self._by_person[news.person]:
                del self._by_person[news.person]

    async def _claim_and_work(self, task: Task) -> bool:
        """Claim and draw a job; return False where it waits again or another process has it."""
        finished = False
        self._in_hand.add(task.job)
        try:
            job = await self._claim(task.job)
            if job and job.suspect and not task.alone:
                # Another process died with it since it was queued here: it waits to run alone.
                await asyncio.shield(self._give_back(job.id, job.epoch))
                return False
            if job:
                with about(job.id, job.epoch):
                    finished = await self._work(job)
            return job is not None
        except Lost as error:
            log.warning("job %d: %s", task.job, error)
            self.queue.order.lost(task.job)
            return False
        except _Elsewhere as error:
            log.warning("job %d is drawn by another engine: %s", task.job, error)
            return False
        finally:
            self._in_hand.discard(task.job)
            self.queue.done(task.job, finished=finished)

    async def _claim(self, number: int) -> Job | None:
        claiming = asyncio.create_task(
            self._process.claim(number, self.most), name=f"marble-claim-{number}"
        )
        try:
            return await asyncio.shield(claiming)
        except asyncio.CancelledError:
            # It may be committed all the same: then it is ours to give back.
            with suppress(TooManyRun):
                if job := await claiming:
                    await self._give_back(job.id, job.epoch)
            raise

    async def _wait_for_room(self) -> None:
        """Count what runs elsewhere, and leave the database alone for a while in any case."""
        try:
            await self.look_elsewhere()
        except DatabaseFault as fault:
            log.warning("what other processes run could not be counted: %s", fault)
        await asyncio.sleep(WATCH)

    async def _is_back(self, number: int) -> bool:
        """Wait for a job that another process has; return whether it is queued again."""
        while (job := await self._jobs.get(number)).status not in OVER:
            if job.status is Status.QUEUED:
                self._enqueue(job, await self.caps(job.person, job.place))
                return True
            await asyncio.sleep(WATCH)
        return False

    async def _work(self, job: Job) -> bool:
        """Draw a claimed job and record what came of it; return whether all its work was done."""
        outcome = "failed"
        self._epochs[job.id] = job.epoch
        try:
            pictures = await self._draw(job)
            kind = self._kind_of(job)
            matches = await self._matches(job, pictures) if job.best else None
            await self._jobs.rendered(job.id, job.epoch, pictures, kind, matches)
            outcome = "rendered"
            self.rendered.set()
            for picture in pictures:
                self.observer.judged(picture.verdict)
        except Lost as error:
            outcome = "lost"
            if error.outside:
                await asyncio.shield(self._give_back(job.id, job.epoch))
                raise
            with suppress(*OVERTAKEN):
                await self._jobs.lost(job.id, job.epoch, alone=error.alone)
            raise
        except (Cancelled, *OVERTAKEN):
            outcome = "cancelled"
        except DatabaseFault:
            outcome = "unrecorded"
            raise
        except (OutOfMemory, EngineError) as error:
            if self.queue.order.avoid(job.id, alike=isinstance(error, OutOfMemory)):
                outcome = "given back"
                await asyncio.shield(self._give_back(job.id, job.epoch))
                raise _Elsewhere(str(error)) from error
            await self._fail_by(job, error)
        except UserError as error:
            await self._fail(job, error.said)
        except asyncio.CancelledError:
            outcome = "given back"
            await asyncio.shield(self._give_back(job.id, job.epoch))
            raise
        except Exception as error:
            await self._fail_by(job, error)
        finally:
            del self._epochs[job.id]
            log.info("job %d: %s", job.id, outcome)
            self.observer.ended(outcome)
        return outcome == "rendered"

    async def _draw(self, job: Job) -> list[Picture]:
        if missing := self.queue.order.lacks(job.id):
            raise UserError(Sentence("on_no_engine", names=", ".join(sorted(missing))))
        pictures = []
        stage, since = None, time.monotonic()
        spec = Spec(
            job=job.id,
            epoch=job.epoch,
            recipe=job.recipe,
            alone=job.suspect,
            engine=self.queue.order.placed(job.id),
            making_of=job.making_of,
        )
        try:
            async with aclosing(self._executor.run(spec)) as events:
                async for event in events:
                    if job.id in self._stopped:  # the executor may not have known it when asked
                        raise Cancelled
                    if isinstance(event, Picture):
                        pictures.append(event)
                        if len(pictures) < (total := len(job.recipe.pictures)):
                            step, done = len(pictures), tuple(pictures)
                            self._news[job.id].publish(
                                Progress(stage=Stage.DECODE, step=step, total=total, finished=done)
                            )
                        continue
                    self._news[job.id].publish(replace(event, finished=tuple(pictures)))
                    if event.stage is not stage:
                        self._note_stage(job.id, stage, since, event.stage)
                        stage, since = event.stage, time.monotonic()
        except OutOfMemory:
            if stage is Stage.LOAD:
                self.queue.order.too_large(job.id)
            raise
        self._note_stage(job.id, stage, since, None)
        return pictures

    async def _matches(self, job: Job, pictures: Sequence[Picture]) -> list[float] | None:
        """Return how well a job's pictures match its prompt, None where that cannot be known.

        No other job waits for it: this one has left its engine.
        """
        self.queue.done(job.id)
        try:
            async with asyncio.timeout(MATCHING):
                files = [each.png for each in pictures]
                return await self._match(job.recipe.prompt, files)
        except (UserError, TimeoutError) as error:
            why = str(error) or "it took too long"
            log.warning("job %d: which picture matches best is not known: %s", job.id, why)
            return None

    def _note_stage(self, job: int, before: Stage | None, since: float, now: Stage | None) -> None:
        """Report a change of stage to metrics, and loading, drawing and decoding to the queue."""
        if before:
            self.observer.stage(before, time.monotonic() - since)
        if before in (None, Stage.LOAD) and now not in (None, Stage.LOAD):
            self.queue.drawing_began(job, loaded=before is Stage.LOAD)
        elif now is Stage.LOAD and before is not None:
            self.queue.loading_began(job)
        elif now is Stage.DECODE:
            self.queue.decoding_began(job)

    def _kind_of(self, job: Job) -> str | None:
        """Return the kind of device that drew a job; note where it is not the one wanted."""
        kind = self.queue.order.engines.kind_of(job.id) or self._executor.health().kind or None
        if kind and job.device and kind != job.device:
            text = "job %d: %s drew it, since %s is not there: the last bits may differ"
            log.warning(text, job.id, kind, job.device)
        return kind

    def _note_engine(self, name: str, health: Health | None) -> None:
        """Tell the queue what an engine of the pool says of itself, or that it is gone."""
        if health is None:
            self.queue.remove(name)
            return
        facts = Facts(
            slots=health.slots,
            alive=health.alive,
            kind=health.kind,
            held=health.held,
            has=health.has,
            # Not asked to start, or on its way.
            starting=not (health.alive or health.kind or health.fault or health.waits)
            and not health.failing,
        )
        self.queue.put(name, facts)

    async def _fail_by(self, job: Job, error: Exception) -> None:
        """End a job with what an error says to people; log one that nobody expected."""
        if isinstance(error, UserError):
            await self._fail(job, error.said)
        else:
            log.error("job %d failed", job.id, exc_info=error)
            await self._fail(job, UNEXPECTED)

    async def _fail(self, job: Job, reason: str) -> None:
        with suppress(*OVERTAKEN):  # cancelled in the meantime: that answer stands
            await self._jobs.failed(job.id, job.epoch, reason)

    async def _give_back(self, job: int, epoch: int) -> None:
        with suppress(*OVERTAKEN):  # its pictures were being recorded: they are kept
            await self._jobs.release(job, epoch)
