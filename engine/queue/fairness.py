"""Start-time fair queueing: who is to be served next, so that all get the same.

P. Goyal, H. Vin, H. Cheng: Start-time Fair Queueing (SIGCOMM 1996; IEEE/ACM ToN 5(5), 1997); for
several servers W. Jin, J. Chase, J. Kaur: Interposed Proportional Sharing for a Storage Service
Utility (SIGMETRICS 2004), SFQ(D). The counters that Y. Sheng et al. lift for who comes back
(Fairness in Serving Large Language Models, OSDI 2024) are the same idea.

A job's start tag is where its owner's last one ended in virtual time, but never before the virtual
time itself, which is the start tag served last. So who was away is served next, and gets nothing
for having been away; and of those who always have something waiting, any two have been served
the same but for the cost of one job each (and of one more for when they came).

With that alone, ever new owners of one job each would keep everybody's second job waiting, since
virtual time stands still while they are served. So it also moves on by the work that was done
divided by the owners, as it does in J. Bennett, H. Zhang: Hierarchical Packet Fair Queueing
Algorithms (SIGCOMM 1996), WF²Q+; but never past who stays, so that nobody new comes after them.
"""

from __future__ import annotations

from collections.abc import Hashable
from heapq import heapify, heappop, heappush
from typing import Final, Generic, TypeVar

K = TypeVar("K", bound=Hashable)

SLACK: Final = 64  # stale entries that a heap may hold beside as many as there are live ones


class Share(Generic[K]):
    """Order owners by start tag, then by `turn` (the number of their next job).

    An owner is *in* while something of theirs may be served. Costs are in any one unit. Every
    operation takes O(log n) on average; entries that are no longer true stay in the heap until
    they come up or are too many.
    """

    def __init__(self) -> None:
        self._time = 0.0
        self._end: dict[K, float] = {}  # where an owner's last job ends in virtual time
        self._in: dict[K, tuple[float, int]] = {}  # owner → start tag, turn
        self._heap: list[tuple[float, int, K]] = []
        self._stay: list[tuple[float, int, K]] = []  # those who were served and have more to come
        self._room = SLACK  # how many ends are kept before those that no longer matter are dropped

    def __len__(self) -> int:
        return len(self._in)

    def __contains__(self, owner: K) -> bool:
        return owner in self._in

    def copy(self) -> Share[K]:
        """Return another that goes on from here by itself."""
        twin: Share[K] = Share()
        twin._time = self._time
        twin._end, twin._in = dict(self._end), dict(self._in)
        twin._heap, twin._stay, twin._room = list(self._heap), list(self._stay), self._room
        return twin

    def enter(self, owner: K, turn: int) -> None:
        """Let an owner be served; one that is in already keeps its place."""
        if owner not in self._in:
            self._place(owner, turn)

    def leave(self, owner: K) -> None:
        """Serve an owner no more; what they were charged is remembered while it matters."""
        if self._in.pop(owner, None) is not None:
            self._tidy()

    def first(self) -> K | None:
        """Return who is to be served next, or None if nobody is in."""
        top = self._top(self._heap)
        return None if top is None else top[2]

    def charge(self, owner: K, cost: float) -> None:
        """Serve an owner who is in; they are out until they enter again."""
        start, _ = self._in.pop(owner)
        self._time = max(self._time, start)
        self._end[owner] = start + cost
        self._forget()

    def correct(self, owner: K, cost: float) -> None:
        """Add to what an owner was charged (or take from it): it came out otherwise."""
        self._end[owner] = self._end.get(owner, self._time) + cost
        if owner in self._in:
            self._place(owner, self._in[owner][1])

    def done(self, cost: float) -> None:
        """Let virtual time pass for work that was done, up to those who have stayed since."""
        if self._in:
            stays = self._top(self._stay)
            time = self._time + max(0.0, cost) / (len(self._in) + 1)
            self._time = time if stays is None else max(self._time, min(time, stays[0]))

    def _place(self, owner: K, turn: int) -> None:
        end = self._end.get(owner)
        start = self._time if end is None else max(self._time, end)
        entry = (start, turn, owner)
        self._in[owner] = entry[:2]
        heappush(self._heap, entry)
        if end == start:
            heappush(self._stay, entry)
        self._tidy()

    def _top(self, heap: list[tuple[float, int, K]]) -> tuple[float, int, K] | None:
        """Return a heap's first entry that is still true."""
        while heap:
            start, turn, owner = heap[0]
            if self._in.get(owner) == (start, turn):
                return heap[0]
            heappop(heap)
        return None

    def _tidy(self) -> None:
        for heap in (self._heap, self._stay):
            if len(heap) > 2 * len(self._in) + SLACK:
                heap[:] = {entry for entry in heap if self._in.get(entry[2]) == entry[:2]}
                heapify(heap)

    def _forget(self) -> None:
        """Drop who is out and whose end has passed: they would enter at the virtual time anyway."""
        if len(self._end) > self._room:
            kept = {k: end for k, end in self._end.items() if end > self._time or k in self._in}
            self._end, self._room = kept, 2 * len(kept) + SLACK
