"""Start-time fair queueing: who is to be served next, so that all get the same.

P. Goyal, H. Vin, H. Cheng: Start-time Fair Queueing (SIGCOMM 1996; IEEE/ACM ToN 5(5), 1997); for
several servers W. Jin, J. Chase, J. Kaur: Interposed Proportional Sharing for a Storage Service
Utility (SIGMETRICS 2004), SFQ(D). The counters that Y. Sheng et al. lift for who comes back
(Fairness in Serving Large Language Models, OSDI 2024) are the same idea.

A job's start tag is where its owner's last one ended in virtual time, but never before the virtual
time itself, which is the start tag served last. So who was away is served next, and gets nothing
for having been away; and of those who always have something waiting, any two have been served
the same but for the cost of one job each.
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
        twin._heap, twin._room = list(self._heap), self._room
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
        while self._heap:
            start, turn, owner = self._heap[0]
            if self._in.get(owner) == (start, turn):
                return owner
            heappop(self._heap)
        return None

    def charge(self, owner: K, cost: float) -> None:
        """Serve an owner who is in; they are out until they enter again."""
        start, _ = self._in.pop(owner)
        self._time = start
        self._end[owner] = start + cost
        self._forget()

    def correct(self, owner: K, cost: float) -> None:
        """Add to what an owner was charged (or take from it): it came out otherwise."""
        self._end[owner] = self._end.get(owner, self._time) + cost
        if owner in self._in:
            self._place(owner, self._in[owner][1])

    def _place(self, owner: K, turn: int) -> None:
        start = max(self._time, self._end.get(owner, 0.0))
        self._in[owner] = (start, turn)
        heappush(self._heap, (start, turn, owner))
        self._tidy()

    def _tidy(self) -> None:
        if len(self._heap) > 2 * len(self._in) + SLACK:
            self._heap = [(start, turn, owner) for owner, (start, turn) in self._in.items()]
            heapify(self._heap)

    def _forget(self) -> None:
        """Drop who is out and whose end has passed: they would enter at the virtual time anyway."""
        if len(self._end) > self._room:
            kept = {k: end for k, end in self._end.items() if end > self._time or k in self._in}
            self._end, self._room = kept, 2 * len(kept) + SLACK
