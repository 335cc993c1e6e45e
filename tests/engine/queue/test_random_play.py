"""Whatever happens to engines and jobs: nobody waits beside a free engine that can draw their job.

Plays of random events, on few engines of two kinds with different files, against the rules of
placement as `engine.queue.classes` and `engine.queue.placement` tell them.
"""

from __future__ import annotations

from dataclasses import replace
from random import Random

import pytest

from engine.queue.engines import Facts
from engine.queue.order import Order
from engine.queue.tasks import Limits, Priority, Task
from tests.engine.crowds import task

STEPS = 150
ALL = frozenset("xy")
FILES = (None, ALL, frozenset("x"), frozenset[str]())
EVENTS = (
    *["submit"] * 6,
    *["finish"] * 4,
    *["find_too_large"] * 2,
    *("fail", "lose", "cancel", "change", "add", "remove", "restart", "run_elsewhere"),
)


class Play:
    """An order, what its engines told, and random events; all jobs take as long as each other."""

    def __init__(self, seed: int) -> None:
        self.random = Random(seed)
        self.order = Order(Limits(running=self.random.choice((2, 9)), waiting=999, length=999))
        for model in "mn":
            self.order.speeds.learn(task(0, model=model).work, 1.0)
            self.order.speeds.learn_loading(model, self.random.choice((1e-9, 3.0)))
        self.slots = self.random.choice((1, 3))
        self.alone = self.random.choice((0.0, 0.1))
        self.told: dict[str, Facts] = {}
        self.running: dict[int, Task] = {}
        self.now = 0.0
        self.submitted = 0
        for _ in range(4):
            self.add()

    def go_on(self) -> None:
        """Let something happen, and start what may start."""
        self.now += self.random.random()
        getattr(self, self.random.choice(EVENTS))()
        self.start()

    def start(self) -> None:
        while started := self.order.choose(self.now, 0):
            self.running[started.job] = started

    def submit(self) -> None:
        choice, self.submitted = self.random.choice, self.submitted + 1
        made = task(self.submitted, choice("abcde"), 1, choice(list(Priority)), choice("mn"))
        self.order.submit(
            replace(
                made,
                needs=frozenset(choice(("", "", "x", "y", "xy"))),
                kind=choice(("", "", "A", "B")),
                caps=choice(((), (), (("g", 2),))),
                alone=self.random.random() < self.alone,
            )
        )

    def finish(self) -> None:
        if job := self.any_of(self.running):
            self.end(job)

    def find_too_large(self) -> None:
        if job := self.any_of(self.running):
            self.order.too_large(job)
            self.end(job, again=self.order.avoid(job, alike=True))

    def fail(self) -> None:
        if job := self.any_of(self.running):
            self.end(job, again=self.order.avoid(job))

    def lose(self) -> None:
        if job := self.any_of(self.running):
            self.order.lost(job)
            self.end(job, again=True)

    def end(self, job: int, *, again: bool = False) -> None:
        """End a job as the worker does; again: it waits once more."""
        if self.random.random() < 0.5:  # another task has its turn between
            self.start()
        self.order.done(job, self.now, measured=False)
        ended = self.running.pop(job)
        if again:
            self.order.submit(ended)
        else:
            self.order.forget(job)

    def cancel(self) -> None:
        if job := self.any_of(self.order.people.waiting):
            self.order.cancel(job)
            self.order.forget(job)

    def add(self) -> None:
        self.put(f"{self.random.randrange(5)}")

    def change(self) -> None:
        self.put(self.random.choice(sorted(self.told)))

    def put(self, name: str) -> None:
        before, choice = self.told.get(name, Facts(slots=self.slots)), self.random.choice
        alive = self.random.random() < 0.8
        kind = before.kind or (choice("AB") if alive else "")
        starting = not alive and choice((True, False))
        facts = replace(before, alive=alive, kind=kind, has=choice(FILES), starting=starting)
        self.told[name] = facts
        self.order.put(name, facts)

    def remove(self) -> None:
        if len(self.told) > 1:
            name = self.random.choice(sorted(self.told))
            del self.told[name]
            self.order.remove(name)

    def restart(self) -> None:
        self.order.engine_died(self.random.choice(sorted(self.told)))

    def run_elsewhere(self) -> None:
        self.order.count_elsewhere({name: self.random.randrange(3) for name in "ab"})

    def any_of(self, jobs: dict[int, Task]) -> int | None:
        return self.random.choice(sorted(jobs)) if jobs else None

    def wake_all(self) -> None:
        """Let all engines take jobs, and nothing hold anybody back."""
        for name, facts in self.told.items():
            self.told[name] = replace(facts, alive=True, kind=facts.kind or "A", starting=False)
            self.order.put(name, self.told[name])
        self.order.count_elsewhere({})

    def left_beside_free_engines(self) -> dict[int, set[str]]:
        """Return the jobs that nothing prevents from running, and the free engines that may.

        Each job that is to run alone keeps one free, and with little else in the queue a job may
        wait for an engine that has its model.
        """
        lines = [self.line(name, each) for name in "abcde" for each in Priority]
        nexts = [line[-1] for line in lines if line]
        for each in nexts:
            found = self.order.engines.find(each, self.order.speeds, self.now)
            if found and self.order.waiting - 1 < found.better:
                return {}
        free = {each.job: self.free_for(each) for each in nexts}
        engines = {name for names in free.values() for name in names}
        kept = sum(each.alone for each in nexts)
        return {job: names for job, names in free.items() if names and len(engines) > kept}

    def line(self, name: str, priority: Priority) -> list[Task]:
        """Return a person's jobs up to the one that is next.

        Those before it are held back by a cap, and it is left out if they could not run anyway.
        """
        task = self.order.people.next_task(name, priority)[0]
        if task is None:
            return []
        own = [t for t in self.order.tasks() if (t.person, t.priority) == (name, priority)]
        line = own[: own.index(task) + 1]
        return line if all(map(self.free_for, line[:-1])) else []

    def free_for(self, task: Task) -> set[str]:
        """Return the engines with room that may run a task."""
        alone = {self.order.placed(job) for job, each in self.running.items() if each.alone}
        found = self.able(task) - alone
        most = {name: 1 if task.alone else self.told[name].slots for name in found}
        return {name for name in found if self.order.engines.jobs(name) < most[name]}

    def able(self, task: Task) -> set[str]:
        """Return the engines that may run a task, with room or without."""
        takes = {name: facts for name, facts in self.told.items() if facts.alive}
        have = {
            name for name, facts in takes.items() if facts.has is None or task.needs <= facts.has
        }
        alike = {name for name, facts in takes.items() if facts.kind == task.kind}
        unfit = self.order.engines.unfit(task)
        wants = bool(task.kind) and task.job not in self.order.engines.avoided
        if wants and takes and not alike and any(facts.starting for facts in self.told.values()):
            return set()
        if not have:
            have = set() if len(takes) < len(self.told) else set(takes)
        elif wants and (have & alike - unfit):
            have &= alike
        return have - unfit or have


@pytest.mark.parametrize("seeds", [range(first, first + 50) for first in range(0, 200, 50)])
def test_no_job_waits_beside_a_free_engine_that_can_draw_it_and_all_are_drawn(
    seeds: range,
) -> None:
    for seed in seeds:
        play = Play(seed)
        for _ in range(STEPS):
            play.go_on()
            assert not play.left_beside_free_engines(), seed
        play.wake_all()
        play.start()
        while play.running:
            play.finish()
            play.start()
            assert not play.left_beside_free_engines(), seed
        assert not play.order.waiting, seed
