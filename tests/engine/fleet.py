"""Engines of a simulation: each divides its time among its jobs, and loads models that it lacks."""

from collections.abc import Iterator, Mapping

from engine.queue.engines import Facts
from engine.queue.order import Order
from engine.queue.placement import Found
from engine.queue.tasks import Task


class Engine:
    """Divide time among jobs by their width, beside loading; hold so many models."""

    def __init__(self, room: int) -> None:
        self.room = room
        self.held: list[str] = []
        self.loading: dict[int, float] = {}  # job → seconds until its model is there
        self.left: dict[int, float] = {}  # job → seconds of this engine
        self.widths: dict[int, float] = {}

    @property
    def jobs(self) -> int:
        return len(self.loading) + len(self.left)

    def next(self) -> tuple[float, int]:
        """Return after which time a job is loaded or ends if nothing else comes, and which."""
        total = sum(self.widths[job] for job in self.left)
        ends = [(left * total / self.widths[job], job) for job, left in self.left.items()]
        return min([*ends, *((left, job) for job, left in self.loading.items())])

    def work(self, span: float) -> None:
        total = sum(self.widths[job] for job in self.left)
        for job in self.left:
            self.left[job] -= span * self.widths[job] / total
        for job in self.loading:
            self.loading[job] -= span


class Fleet:
    """Play an order's queue to its end on engines by name, each with room for so many models.

    load: seconds; first_free: place each job on the first engine with a free slot.
    """

    def __init__(
        self, order: Order, rooms: Mapping[str, int], load: float, *, first_free: bool = False
    ) -> None:
        self.order = order
        self.engines = {name: Engine(room) for name, room in rooms.items()}
        self.load = load
        self.loads = 0
        self.todo: dict[int, float] = {}  # job that waits for its model → seconds of the engine
        self.now = 0.0
        if first_free:
            order.engines.find = self._first_free  # type: ignore[method-assign, assignment]

    def _first_free(self, task: Task, *_: object) -> Found | None:
        for name, engine in self.engines.items():
            if engine.jobs < self.order.engines.facts(name).slots:
                return Found(name)
        return None

    def play(self) -> Iterator[Task]:
        """Yield tasks as they start, until all have ended."""
        while self.order.waiting or any(each.jobs for each in self.engines.values()):
            while task := self.order.choose(self.now, 0):
                self._start(task)
                yield task
            self._step()

    def _start(self, task: Task) -> None:
        name, model = self.order.placed(task.job), task.work.model
        engine = self.engines[name]
        engine.widths[task.job] = task.work.width
        if model in engine.held:
            engine.held.remove(model)
            engine.left[task.job] = task.work.units
        else:
            self.loads += 1
            engine.loading[task.job] = self.load
            self.todo[task.job] = task.work.units
        engine.held = [*engine.held, model][-engine.room :]

    def _step(self) -> None:
        """Go on until a model is loaded or a job ends."""
        nexts = [(*each.next(), name) for name, each in self.engines.items() if each.jobs]
        span, job, name = min(nexts)
        for engine in self.engines.values():
            engine.work(span)
        self.now += span
        engine = self.engines[name]
        if job in engine.loading:
            del engine.loading[job]
            engine.left[job] = self.todo.pop(job)
            self.order.drawing_began(job, self.now, loaded=True)
            return
        del engine.left[job], engine.widths[job]
        self.order.done(job, self.now)
        facts = self.order.engines.facts(name)
        self.order.put(name, Facts(slots=facts.slots, kind=facts.kind, held=tuple(engine.held)))
