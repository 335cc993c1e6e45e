"""A job's life, by a machine that takes any step at any time and crashes in between."""

from __future__ import annotations

import asyncio
import shutil
import tempfile
from collections import Counter
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from storage import IllegalStep, Job, StaleEpoch, Status, Storage, TooLate
from storage.states import MAX_ATTEMPTS, OVER, TRANSITIONS, Step, after
from tests.storage import postgres
from tests.storage.conftest import a_job, drawn


@pytest.mark.parametrize("status", Status)
@pytest.mark.parametrize("step", Step)
def test_every_step_leads_somewhere_or_raises(status: Status, step: Step) -> None:
    if status in TRANSITIONS[step]:
        assert after(1, status, step) is TRANSITIONS[step][status]
        return
    with pytest.raises(IllegalStep) as caught:
        after(1, status, step)
    assert isinstance(caught.value, TooLate) == (step is Step.CANCEL and status in OVER)


def test_nothing_leads_back_from_the_end() -> None:
    for step, moves in TRANSITIONS.items():
        for before, then in moves.items():
            assert before not in OVER or step is Step.DELIVERED
            assert before not in OVER or then in OVER


@dataclass
class Expected:
    """Say what the machine believes of a job."""

    status: Status = Status.QUEUED
    epoch: int = 0
    attempts: int = 0
    worker: int | None = None
    answered: bool = False
    suspect: bool = False
    convicting: int = 0  # deaths that nothing else can have caused


class Life(RuleBasedStateMachine):
    """Two processes share a database; either may die at any moment."""

    place: Callable[[], tuple[Path, str | None]]

    def __init__(self) -> None:
        super().__init__()
        self.runner = asyncio.Runner()
        self.folder, self.url = self.place()
        self.stacks: list[AsyncExitStack] = []
        self.processes: list[Storage] = []
        self.jobs: dict[int, Expected] = {}
        self.events: dict[str, int] = {}
        self.replies: Counter[int] = Counter()  # edits leave one reply, however often repeated
        self.sent: set[int] = set()  # replies that arrived, and were not recorded yet

    def run(self, work: Awaitable[Any]) -> Any:
        async def call() -> Any:
            return await work

        return self.runner.run(call())

    @initialize()
    def start(self) -> None:
        for _ in range(2):
            self.stacks.append(AsyncExitStack())
            self.processes.append(self._open(self.stacks[-1]))

    def teardown(self) -> None:
        for stack in self.stacks:
            self.run(stack.aclose())
        self.runner.close()
        shutil.rmtree(self.folder)

    def _open(self, stack: AsyncExitStack) -> Storage:
        opened: Storage = self.run(stack.enter_async_context(Storage.open(self.folder, self.url)))
        opened.worker.steady = lambda: 0.0  # however slow this machine is, nobody counts as hung
        return opened

    def _pick(self, data: st.DataObject) -> tuple[int, Expected]:
        job = data.draw(st.sampled_from(sorted(self.jobs)), "job")
        return job, self.jobs[job]

    @rule(who=st.integers(0, 1), event=st.integers(0, 5))
    def add(self, who: int, event: int) -> None:
        key = f"x:{event}"
        job = self.run(self.processes[who].jobs.add(a_job(event=key)))
        assert self.events.setdefault(key, job.id) == job.id
        self.jobs.setdefault(job.id, Expected())

    @precondition(lambda self: self.jobs)
    @rule(data=st.data(), who=st.integers(0, 1))
    def claim(self, data: st.DataObject, who: int) -> None:
        number, _ = self._pick(data)
        self._claim(number, who)

    @rule(who=st.integers(0, 1))
    def claim_all(self, who: int) -> None:
        """Take all that waits, so that a death has several to answer for."""
        for number in self.jobs:
            self._claim(number, who)

    def _claim(self, number: int, who: int) -> None:
        expected = self.jobs[number]
        job = self.run(self.processes[who].worker.claim(number))
        assert (job is not None) == (expected.status is Status.QUEUED)
        if job:
            expected.status, expected.worker = Status.RUNNING, who
            expected.epoch, expected.attempts = expected.epoch + 1, expected.attempts + 1
            assert (job.epoch, job.attempts) == (expected.epoch, expected.attempts)
            assert job.suspect == expected.suspect

    @precondition(lambda self: self.jobs)
    @rule(
        data=st.data(),
        step=st.sampled_from([Step.RELEASE, Step.RENDERED, Step.FAILED]),
        behind=st.sampled_from([0, 0, 0, 1]),
    )
    def report(self, data: st.DataObject, step: Step, behind: int) -> None:
        """Report as the worker that claimed last, or as one of the past."""
        number, expected = self._pick(data)
        jobs, epoch = self.processes[expected.worker or 0].jobs, expected.epoch - behind
        calls: dict[Step, Callable[[], Awaitable[Any]]] = {
            Step.RELEASE: lambda: jobs.release(number, epoch),
            Step.RENDERED: lambda: jobs.rendered(number, epoch, drawn(b"%d" % number)),
            Step.FAILED: lambda: jobs.failed(number, epoch, "why"),
        }
        self._take(number, step, calls[step], stale=behind > 0)

    @precondition(lambda self: self.jobs)
    @rule(data=st.data(), who=st.integers(0, 1))
    def cancel(self, data: st.DataObject, who: int) -> None:
        number, _ = self._pick(data)
        self._take(number, Step.CANCEL, lambda: self.processes[who].jobs.cancel(number))

    def _take(
        self, number: int, step: Step, call: Callable[[], Awaitable[Any]], stale: bool = False
    ) -> None:
        """Take a step and hold it against the table."""
        expected = self.jobs[number]
        repeated = {
            Step.RELEASE: (Status.QUEUED,),
            Step.RENDERED: (Status.RENDERED, Status.DELIVERED),
            Step.FAILED: (Status.FAILED,),
            Step.CANCEL: (Status.CANCELLED,),
        }[step]
        raised: Exception | None = None
        try:
            self.run(call())
        except (StaleEpoch, IllegalStep) as error:
            raised = error
        assert stale == isinstance(raised, StaleEpoch)
        if isinstance(raised, IllegalStep):
            late = step is Step.CANCEL and expected.status in OVER
            assert expected.status not in TRANSITIONS[step]
            assert isinstance(raised, TooLate) == late
        elif not stale and expected.status not in repeated:
            expected.status = TRANSITIONS[step][expected.status]
            expected.attempts -= step is Step.RELEASE

    @rule(who=st.integers(0, 1))
    def send(self, who: int) -> None:
        """Send one due reply; the process may die before it records that."""
        process = self.processes[who]
        due = self.run(process.outbox.list_due(["terminal"]))
        assert {pending.job.id for pending in due} <= self._waiting()
        if due and self.run(process.worker.claim_reply(due[0].job.id, due[0].way)):
            self.replies[due[0].job.id] = 1
            self.sent.add(due[0].job.id)

    @precondition(lambda self: self.sent)
    @rule(data=st.data(), who=st.integers(0, 1))
    def record(self, data: st.DataObject, who: int) -> None:
        number = data.draw(st.sampled_from(sorted(self.sent)), "sent")
        job = self.run(self.processes[who].jobs.delivered(number))
        expected = self.jobs[number]
        expected.status = TRANSITIONS[Step.DELIVERED].get(expected.status, expected.status)
        expected.answered = True
        assert job.status is expected.status
        self.sent.discard(number)

    @rule(who=st.integers(0, 1), closes=st.booleans())
    def die(self, who: int, closes: bool) -> None:
        """End a process, begin another; the survivor takes back what the dead one ran."""
        stack, dead = self.stacks[who], self.processes[who]
        if not closes:  # kill -9: its lock falls, and it says nothing
            self.run(dead.worker.alive.release())
        self.run(stack.aclose())
        self.processes[who] = self._open(stack)
        changed = self.run(self.processes[1 - who].worker.requeue_lost())
        self._lose(who, {job.id: job for job in changed})

    @rule(who=st.integers(0, 1))
    def lose_engine(self, who: int) -> None:
        """End the engine of a process, which itself takes back what it ran."""
        jobs, at_work = self.processes[who].jobs, self._at_work(who)
        calls = {
            number: jobs.lost(number, expected.epoch, alone=len(at_work) == 1)
            for number, expected in at_work.items()
        }
        self._lose(who, {number: self.run(call) for number, call in calls.items()})

    def _at_work(self, who: int) -> dict[int, Expected]:
        return {
            number: expected
            for number, expected in self.jobs.items()
            if expected.status is Status.RUNNING and expected.worker == who
        }

    def _lose(self, who: int, changed: dict[int, Job]) -> None:
        """Hold what became of the jobs of a death against what can be known of its cause."""
        lost = self._at_work(who)
        assert changed.keys() == lost.keys()
        for number, expected in lost.items():
            known = expected.suspect or len(lost) == 1
            expected.convicting += known
            expected.attempts -= not known
            poison = expected.convicting == MAX_ATTEMPTS
            expected.status = Status.FAILED if poison else Status.QUEUED
            expected.suspect = expected.suspect or not poison
            assert changed[number].suspect == expected.suspect

    @rule(who=st.integers(0, 1))
    def look(self, who: int) -> None:
        """Look for dead processes while all live: nobody's job is touched."""
        assert self.run(self.processes[who].worker.requeue_lost()) == ()

    @invariant()
    def the_database_agrees(self) -> None:
        if not self.processes:
            return
        found = self.run(self.processes[0].history.page(limit=1000))
        assert {job.id: (job.status, job.epoch, job.attempts) for job in found} == {
            number: (each.status, each.epoch, each.attempts) for number, each in self.jobs.items()
        }
        assert all(bool(job.pictures) == self._drawn(job.status) for job in found)

    @invariant()
    def what_ended_is_answered_or_waits(self) -> None:
        if self.processes:
            waiting = self.run(self.processes[0].outbox.backlog())
            assert sum(waiting.values()) == len(self._waiting())
            assert max(self.replies.values(), default=1) == 1

    def _waiting(self) -> set[int]:
        return {n for n, each in self.jobs.items() if each.status in OVER and not each.answered}

    def _drawn(self, status: Status) -> bool:
        return status in (Status.RENDERED, Status.DELIVERED)


def lives(place: Callable[[], tuple[Path, str | None]], examples: int) -> None:
    machine = type("Life", (Life,), {"place": staticmethod(place)})
    slow = (HealthCheck.too_slow, HealthCheck.data_too_large)
    run_state_machine_as_test(
        machine,
        settings=settings(
            max_examples=examples,
            stateful_step_count=35,
            deadline=None,
            suppress_health_check=slow,
            print_blob=True,
        ),
    )


def test_any_life_on_sqlite(sqlite_template: Path) -> None:
    def place() -> tuple[Path, None]:
        folder = Path(tempfile.mkdtemp(prefix="marble-life-"))
        shutil.copy(sqlite_template, folder)
        return folder, None

    lives(place, examples=12)


def test_any_life_on_postgresql(postgres_url: str) -> None:
    def place() -> tuple[Path, str]:
        postgres.empty(postgres_url)
        return Path(tempfile.mkdtemp(prefix="marble-life-")), postgres_url

    lives(place, examples=3)
