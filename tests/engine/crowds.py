"""People at a simulated engine: jobs that arrive, run for as long as they run, and end."""

from collections.abc import Iterable
from dataclasses import dataclass
from heapq import heappop, heappush
from itertools import chain

from engine.queue.estimates import Work
from engine.queue.forecast import PLAYED, forecast
from engine.queue.order import Order
from engine.queue.tasks import Forecast, Priority, Task


def task(
    job: int,
    person: str = "ada",
    seconds: float = 1,
    priority: Priority = Priority.PERSON,
    model: str = "m",
) -> Task:
    """Make a task that is taken to last so many seconds before anything was measured."""
    work = Work(model=model, width=seconds, calls=1)
    return Task(job=job, person=person, work=work, priority=priority)


@dataclass(frozen=True)
class Arrival:
    """Somebody asks for a job, which will run for so many seconds whatever else runs."""

    at: float
    task: Task
    seconds: float


@dataclass(frozen=True)
class Served:
    """A job that was chosen, with what else ran and waited just then."""

    task: Task
    came: float
    started: float


def foresee(order: Order, now: float, slots: int, played: int = PLAYED) -> list[Forecast]:
    """Return all forecasts, by end."""
    return [*chain.from_iterable(forecast(order, now, slots, played))]


def simulate(order: Order, arrivals: Iterable[Arrival], slots: int) -> list[Served]:
    """Let jobs arrive and run until all are done, and return them in the order they started."""
    todo = sorted(arrivals, key=lambda a: a.at)
    about = {a.task.job: a for a in todo}
    running: list[tuple[float, int]] = []
    served: list[Served] = []
    now = 0.0
    while todo or running or order.waiting:
        while todo and todo[0].at <= now:
            order.submit(todo.pop(0).task)
        while running and running[0][0] <= now:
            order.done(heappop(running)[1], now)
        while chosen := order.choose(now, slots):
            arrival = about[chosen.job]
            served.append(Served(chosen, arrival.at, now))
            heappush(running, (now + arrival.seconds, chosen.job))
        upcoming = [a.at for a in todo[:1]] + [end for end, _ in running[:1]]
        assert upcoming or not order.waiting, "jobs wait and nothing runs"
        now = min(upcoming, default=now)
    return served


class Engine:
    """Share one engine among jobs by width, imitated without any cleverness."""

    def __init__(self) -> None:
        self.left: dict[int, tuple[float, float]] = {}  # job → width, seconds that it still needs

    def start(self, chosen: Task, seconds: float) -> None:
        self.left[chosen.job] = (chosen.work.width, seconds)

    def finish_one(self) -> tuple[float, int]:
        """Run until the first job ends; return how long that took, and the job."""
        widths = sum(width for width, _ in self.left.values())
        span, job = min((need * widths / width, job) for job, (width, need) in self.left.items())
        del self.left[job]
        self.left = {
            other: (width, need - span * width / widths)
            for other, (width, need) in self.left.items()
        }
        return span, job


def play(order: Order, now: float, slots: int) -> tuple[list[Task], dict[int, float]]:
    """Run all that waits as long as was estimated; return what started in turn, and the ends."""
    engine = Engine()
    started: list[Task] = []
    ends: dict[int, float] = {}
    while True:
        while chosen := order.choose(now, slots):
            started.append(chosen)
            engine.start(chosen, order.speeds.seconds(chosen.work))
        if not engine.left:
            return started, ends
        span, job = engine.finish_one()
        now += span
        order.done(job, now, finished=False)
        ends[job] = now
