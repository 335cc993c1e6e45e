"""Who has jobs: what waits, in each person's order, and the limits on what may run at once."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field, replace
from itertools import takewhile
from typing import Final

from engine.errors import UserError
from engine.queue.tasks import Cap, Limits, Priority, Task
from engine.sentences import Sentence

NOBODY: Final[Mapping[str, int]] = {}


@dataclass(slots=True)
class _Person:
    tasks: dict[Priority, dict[int, Task]] = field(default_factory=dict)  # waiting, in order
    waiting: int = 0
    running: int = 0
    reserved: int = 0  # jobs that are being committed, to be submitted then
    shared: bool = False  # a copy has the same `tasks`

    def own(self) -> dict[Priority, dict[int, Task]]:
        """Return the jobs that wait, to be changed: what is shared is copied before."""
        if self.shared:
            self.tasks = {priority: dict(each) for priority, each in self.tasks.items()}
            self.shared = False
        return self.tasks


class People:
    """The people of a queue.

    waiting: the jobs that wait, and `count` how many: of them a copy knows only that. elsewhere:
    how many jobs of each other processes run.
    """

    def __init__(self, limits: Limits) -> None:
        self.limits = limits
        self.waiting: dict[int, Task] = {}
        self.count = 0
        self.kinds: Counter[str] = Counter()  # of device, wanted by what waits
        self.elsewhere = NOBODY
        self._people: dict[str, _Person] = {}
        self._grouped: Counter[str] = Counter()  # running jobs by the groups of their caps
        self._reserved = 0

    def __len__(self) -> int:
        return len(self._people)

    def __contains__(self, name: str) -> bool:
        return name in self._people

    def copy(self, names: Collection[str]) -> People:
        """Return an independent copy, of those of these people whose jobs wait.

        Each one's jobs are shared until either changes them: a person may have many.
        """
        twin = People(self.limits)
        for name in names:
            if self.waits(name):
                person = self._people[name]
                person.shared = True
                twin._people[name] = replace(person)
                twin.count += person.waiting
        twin.kinds, twin.elsewhere = Counter(self.kinds), self.elsewhere
        twin._grouped = Counter(self._grouped)
        return twin

    def waits(self, name: str) -> bool:
        """Whether any job of a person waits."""
        person = self._people.get(name)
        return bool(person and person.waiting)

    def reserve(self, name: str) -> None:
        """Reserve room for a job that will be added; raises `UserError` where too many wait."""
        if self.count + self._reserved >= self.limits.length:
            raise UserError(Sentence("queue_full", length=self.limits.length))
        person = self._people.get(name) or _Person()
        if person.waiting + person.reserved >= self.limits.waiting:
            raise UserError(Sentence("too_many_waiting", most=self.limits.waiting))
        person.reserved += 1
        self._people[name] = person
        self._reserved += 1

    def release(self, name: str) -> None:
        """End a reservation of `reserve`."""
        self._people[name].reserved -= 1
        self._reserved -= 1
        self._forget_idle(name)

    def add(self, task: Task) -> None:
        """Add a job that waits; one that is given back keeps its place among those that wait."""
        person = self._people.setdefault(task.person, _Person())
        _insert(task, person.own().setdefault(task.priority, {}))
        person.waiting += 1
        _insert(task, self.waiting)
        self.count += 1
        self.kinds[task.kind] += 1

    def put_ahead(self, task: Task) -> None:
        """Let a job that waits go before others, of its person as well."""
        tasks, moved = self._people[task.person].own(), replace(task, priority=Priority.AHEAD)
        del tasks[task.priority][task.job]
        tasks.setdefault(moved.priority, {})[task.job] = moved
        self.waiting[task.job] = moved

    def cancel(self, task: Task) -> None:
        """Remove a job that waits."""
        self._take(task)
        self._forget_idle(task.person)

    def start(self, task: Task) -> None:
        """Let a job that waits run."""
        self._take(task).running += 1
        self._grouped.update(group for group, _ in task.caps)

    def end(self, task: Task) -> None:
        """End a running job."""
        for group, _ in task.caps:
            self._grouped[group] -= 1
            if not self._grouped[group]:
                del self._grouped[group]
        if person := self._people.get(task.person):  # a copy has only those who wait
            person.running -= 1
            self._forget_idle(task.person)

    def is_full(self, cap: Cap) -> bool:
        """Whether as many jobs of a group run as may."""
        group, most = cap
        return self._grouped[group] >= most

    def next_task(self, name: str, priority: Priority) -> tuple[Task | None, dict[Cap, int]]:
        """Return a person's first job that no limit holds up, and the full groups of those before.

        Each of these with the first job that waits for it.
        """
        blocked: dict[Cap, int] = {}
        if (person := self._people.get(name)) is None:
            return None, blocked
        if person.running + self.elsewhere.get(name, 0) >= self.limits.running:
            return None, blocked
        for task in person.tasks.get(priority, {}).values():
            full = [cap for cap in task.caps if self.is_full(cap)]
            if not full:
                return task, blocked
            for cap in full:
                blocked.setdefault(cap, task.job)
        return None, blocked

    def _take(self, task: Task) -> _Person:
        person = self._people[task.person]
        del person.own()[task.priority][task.job]
        self.waiting.pop(task.job, None)
        person.waiting -= 1
        self.count -= 1
        self.kinds[task.kind] -= 1
        if not self.kinds[task.kind]:
            del self.kinds[task.kind]
        return person

    def _forget_idle(self, name: str) -> None:
        person = self._people[name]
        if not (person.waiting or person.running or person.reserved):
            del self._people[name]


def _insert(task: Task, tasks: dict[int, Task]) -> None:
    """Add a task before those that were requested later."""
    later = [*takewhile(lambda number: number > task.job, reversed(tasks))]
    tasks[task.job] = task
    for number in reversed(later):
        tasks[number] = tasks.pop(number)
