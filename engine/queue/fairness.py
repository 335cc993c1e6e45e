"""Start-time fair queueing: equal shares of the engine for everybody who waits.

P. Goyal, H. Vin, H. Cheng: Start-time Fair Queueing (SIGCOMM 1996; IEEE/ACM ToN 5(5), 1997); for
several servers W. Jin, J. Chase, J. Kaur: Interposed Proportional Sharing for a Storage Service
Utility (SIGMETRICS 2004), SFQ(D). The counters that Y. Sheng et al. lift for returning clients
(Fairness in Serving Large Language Models, OSDI 2024) are the same idea.

A job's start tag is the finish tag of its owner's previous job, but at least the virtual time,
which is the start tag served last. So a returning owner is served next and gains nothing by having
been away; and any two owners that always have jobs waiting differ by at most the cost of one job
each (and of one more for when they came).

With that alone, a stream of new owners with one job each would block everybody's second job, since
virtual time stands still while they are served. So virtual time also advances by the work done
divided by the number of owners, as in J. Bennett, H. Zhang: Hierarchical Packet Fair Queueing
Algorithms (SIGCOMM 1996), WF²Q+; but never past the owners that stay backlogged, so that no new
owner is served after them.
"""

from __future__ import annotations

import copy
from collections.abc import Collection, Hashable, Iterable, Iterator
from heapq import heapify, heappop, heappush
from itertools import islice
from typing import Final, Generic, TypeVar

K = TypeVar("K", bound=Hashable)

SLACK: Final = 64  # stale entries of a heap, beyond as many as there are valid ones


class Share(Generic[K]):
    """Orders active owners by start tag, then by the number of their next job.

    An owner is active while a job of theirs may be served. Costs are in any one unit. Every
    operation takes O(log n) on average; stale entries stay in a heap until they reach its top or
    are too many.
    """

    def __init__(self) -> None:
        self.time = 0.0  # virtual
        self._finish: dict[K, float] = {}  # owner → finish tag of their last job
        self._active: dict[K, tuple[float, int]] = {}  # owner → start tag, next job
        self._heap: list[tuple[float, int, K]] = []
        self._backlogged: list[tuple[float, int, K]] = []  # served before, and still active
        self._capacity = SLACK  # finish tags kept before irrelevant ones are dropped

    def __len__(self) -> int:
        return len(self._active)

    def copy(self, owners: Collection[K] | None = None) -> Share[K]:
        """Return an independent copy; owners: of these alone."""
        twin = copy.copy(self)
        owners = self._finish.keys() | self._active.keys() if owners is None else owners
        twin._finish = {each: self._finish[each] for each in owners if each in self._finish}
        twin._active = {each: self._active[each] for each in owners if each in self._active}
        twin._heap = [(*entry, owner) for owner, entry in twin._active.items()]
        backlogged = [entry for entry in twin._heap if twin._finish.get(entry[2]) == entry[0]]
        twin._backlogged = backlogged
        heapify(twin._heap)
        heapify(twin._backlogged)
        return twin

    def activate(self, owner: K, job: int) -> None:
        """Make an owner active; one that is active keeps its start tag."""
        if owner not in self._active:
            self._insert(owner, job)

    def deactivate(self, owner: K) -> None:
        """Make an owner inactive; their finish tag is kept while it matters."""
        if self._active.pop(owner, None) is not None:
            self._compact()

    def start_of(self, owner: K) -> float:
        """Return an owner's start tag: where they are inactive, that of a job that came now."""
        if owner in self._active:
            return self._active[owner][0]
        return max(self.time, self._finish.get(owner, self.time))

    def start_since(self, owner: K, since: float) -> float:
        """Return the start tag of a job that an owner has had since a virtual time."""
        return max(since, self._finish.get(owner, since))

    def firsts(self, most: int) -> list[K]:
        """Return the first active owners, in order."""
        valid = (
            owner
            for start, job, owner in in_order([self._heap])
            if self._active.get(owner) == (start, job)
        )
        return list(islice(valid, most))

    def pass_over(self, owner: K) -> tuple[float, int]:
        """Make an active owner inactive for now; return what `restore` takes."""
        entry = self._active.pop(owner)
        self._compact()
        return entry

    def restore(self, owner: K, entry: tuple[float, int]) -> None:
        """Make an owner who was passed over active again, with the start tag that they had."""
        if owner not in self._active:
            start, job = self._active[owner] = entry
            heappush(self._heap, (start, job, owner))
            if self._finish.get(owner) == start:
                heappush(self._backlogged, (start, job, owner))

    def first(self) -> K | None:
        """Return the owner to be served next, or None if none is active."""
        top = self._top(self._heap)
        return None if top is None else top[2]

    def charge(self, owner: K, cost: float) -> None:
        """Serve an active owner, who is inactive until activated again."""
        start, _ = self._active.pop(owner)
        self.time = max(self.time, start)
        self._finish[owner] = start + cost
        self._drop_finished()

    def correct(self, owner: K, cost: float) -> None:
        """Add the difference between a job's real and charged cost to its owner's finish tag."""
        self._finish[owner] = self._finish.get(owner, self.time) + cost
        if owner in self._active:
            self._insert(owner, self._active[owner][1])

    def advance(self, cost: float) -> None:
        """Advance virtual time for work done, at most to the first backlogged owner's tag."""
        if self._active:
            first = self._top(self._backlogged)
            time = self.time + max(0.0, cost) / (len(self._active) + 1)
            self.time = time if first is None else max(self.time, min(time, first[0]))

    def _insert(self, owner: K, job: int) -> None:
        finish = self._finish.get(owner)
        start = self.time if finish is None else max(self.time, finish)
        entry = (start, job, owner)
        self._active[owner] = entry[:2]
        heappush(self._heap, entry)
        if finish == start:
            heappush(self._backlogged, entry)
        self._compact()

    def _top(self, heap: list[tuple[float, int, K]]) -> tuple[float, int, K] | None:
        """Remove stale entries from a heap's top; return its first valid one."""
        while heap:
            start, job, owner = heap[0]
            if self._active.get(owner) == (start, job):
                return heap[0]
            heappop(heap)
        return None

    def _compact(self) -> None:
        for heap in (self._heap, self._backlogged):
            if len(heap) > 2 * len(self._active) + SLACK:
                heap[:] = {entry for entry in heap if self._active.get(entry[2]) == entry[:2]}
                heapify(heap)

    def _drop_finished(self) -> None:
        """Drop finish tags of inactive owners that virtual time has passed."""
        if len(self._finish) > self._capacity:
            kept = {
                k: tag for k, tag in self._finish.items() if tag > self.time or k in self._active
            }
            self._finish, self._capacity = kept, 2 * len(kept) + SLACK


def in_order(heaps: Iterable[list[tuple[float, int, K]]]) -> Iterator[tuple[float, int, K]]:
    """Yield the entries of all heaps from the least on, each once; the heaps stay as they are."""
    found = [heap for heap in heaps if heap]
    places = [(heap[0], number, 0) for number, heap in enumerate(found)]  # parents were yielded
    heapify(places)
    before = None
    while places:
        entry, number, place = heappop(places)
        if entry != before:  # who is passed over and restored has several
            yield entry
        before = entry
        for child in (2 * place + 1, 2 * place + 2):
            if child < len(found[number]):
                heappush(places, (found[number][child], number, child))
