"""Which pictures share the next call of the network: plain synchronous policy.

    batcher = Batcher(Batching.EXACT)
    batch = batcher.choose(members)      # a leader, and those that join it

A leader is chosen first. Two thirds of the time go to the job with the least remaining cost, so
that small jobs do not wait behind large ones and equal jobs end one after another rather than all
at the end; one third goes to the job that used least, so that none starves. Others of its kind
join while that saves time.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from itertools import repeat
from typing import Final, Generic, TypeVar

from engine.device.call_costs import CHEAP, Buckets
from engine.recipe.context_length import UNET, ContextRule, Joining

SHORT: Final = 4  # a job is short beside one of this many times its cost

T = TypeVar("T")


class Batching(StrEnum):
    """The mode: equal bytes whatever shares a call (exact), or more pictures a second."""

    EXACT = "exact"
    THROUGHPUT = "throughput"


@dataclass(slots=True, eq=False)
class Account:
    """A job's device time in seconds: in total, still remaining, and used so far."""

    total: float
    remaining: float = field(init=False)
    used: float = 0.0

    def __post_init__(self) -> None:
        self.remaining = self.total


@dataclass(slots=True, eq=False)
class Member(Generic[T]):
    """A picture that waits for its next call.

    Pictures of one `kind` (model, dtype, latent shape, LoRAs) may share calls. left: predictions
    it still needs; tokens: the length of its context in each call of a prediction; context_rule:
    what these lengths mean, the same for all of a kind; lengths: of each row's own context, before
    rows were brought to one length; alone: it shares calls with pictures of its own job only;
    shares: of the latents that each call sees (empty: all); times: how often each call is made.
    """

    picture: T
    account: Account
    kind: Hashable
    buckets: Buckets
    rows: int
    tokens: tuple[int, ...]
    left: int
    context_rule: ContextRule = UNET
    lengths: tuple[int, ...] = ()
    alone: bool = False
    shares: tuple[float, ...] = ()
    times: int = 1

    @property
    def cost(self) -> float:
        """Return the seconds of its next prediction for this picture alone."""
        return self.buckets.cost(self.rows) * self.work(self.tokens)

    def work(self, tokens: Iterable[int]) -> float:
        """Return the work of a row in all its calls, with contexts of these lengths."""
        weights = map(self.context_rule.weight, tokens)
        shares = self.shares or repeat(1.0)
        once = sum(weight * share for weight, share in zip(weights, shares, strict=False))
        return once * self.times


@dataclass(frozen=True, slots=True)
class Batch(Generic[T]):
    """The pictures that share a call, and the rows it is padded to."""

    members: tuple[Member[T], ...]
    rows: int

    @property
    def cost(self) -> float:
        """Return the seconds of its calls."""
        leader = self.members[0]
        lengths = map(leader.context_rule.common, _by_call(self.members))
        return leader.buckets.cost(self.rows) * leader.work(lengths)


class Batcher(Generic[T]):
    """Choose the next batch.

    static: pad every call to a power of two, for compiled models.
    """

    def __init__(self, mode: Batching, *, static: bool = False) -> None:
        self.mode = mode
        self._static = static
        self._credit = 0.0  # seconds owed to the jobs that used least

    def open(self, total: float, others: Sequence[Account]) -> Account:
        """Open a job's account, with the least time used by others as its start."""
        account = Account(total)
        account.used = min((other.used for other in others), default=0.0)
        return account

    def choose(self, members: Sequence[Member[T]]) -> Batch[T]:
        """Return the next batch, of at least one picture, and charge its cost."""
        neediest = min(members, key=lambda member: (member.account.used, -member.left))
        soonest = min(members, key=lambda member: (member.account.remaining, -member.left))
        batch = self._gather(soonest, members)
        if neediest in batch.members:
            self._credit = 0.0
        else:
            batch = self._settle(batch, self._gather(neediest, members))
        _book(batch)
        return batch

    def _settle(self, soonest: Batch[T], neediest: Batch[T]) -> Batch[T]:
        """Return the neediest's batch once half of the others' time has paid for it."""
        if self._credit >= neediest.cost:
            self._credit -= neediest.cost
            return neediest
        # Unspent credit must not pile up for later jobs.
        self._credit = min(self._credit + soonest.cost / 2, neediest.cost)
        return soonest

    def _gather(self, leader: Member[T], members: Sequence[Member[T]]) -> Batch[T]:
        chosen = [leader]
        if self._room(leader) > leader.rows:
            for other in sorted(members, key=lambda member: _rank(member, leader)):
                if other is not leader and self._fits(other, chosen):
                    chosen.append(other)
        rows = sum(member.rows for member in chosen)
        if self.mode is Batching.EXACT:
            rows = self._room(leader)
        elif self._static:
            rows = 1 << (rows - 1).bit_length()
        return Batch(tuple(chosen), rows)

    def _room(self, member: Member[T]) -> int:
        """Return the most rows of a call with this picture."""
        if self.mode is Batching.EXACT:
            return member.buckets.canonical(member.rows)
        return max(member.rows, member.buckets.widest())

    def _fits(self, other: Member[T], chosen: Sequence[Member[T]]) -> bool:
        leader = chosen[0]
        rows = sum(member.rows for member in chosen) + other.rows
        if other.kind != leader.kind:
            return False
        # Within one kind only long prompts can lack memory beside others.
        if rows > min(map(self._room, (*chosen, other))):
            return False
        if (leader.alone or other.alone) and other.account is not leader.account:
            return False
        if self.mode is Batching.EXACT:
            # Padding is left out of parts of a network, whose sizes then follow from all rows.
            padded = leader.context_rule.joining is Joining.PAD
            alike = other.tokens == leader.tokens and (
                not padded or other.lengths == leader.lengths
            )
            return alike and self._room(other) == self._room(leader)
        # Much longer jobs join a short one only where that hardly slows it.
        hurry = leader.account.total * SHORT <= other.account.total
        if hurry and leader.buckets.cost(rows) > CHEAP * leader.buckets.cost(leader.rows):
            return False
        return all(map(leader.context_rule.share_a_call, _by_call((*chosen, other))))


def _by_call(members: Sequence[Member[T]]) -> list[tuple[int, ...]]:
    """Return the lengths of the contexts, grouped by call."""
    return list(zip(*(member.tokens for member in members), strict=True))


def _rank(member: Member[T], leader: Member[T]) -> tuple[bool, float, int]:
    """Order candidates: the leader's own job first, then jobs that used least."""
    return member.account is not leader.account, member.account.used, -member.left


def _book(batch: Batch[T]) -> None:
    used = sum(member.rows for member in batch.members)
    for member in batch.members:
        member.left -= 1
        member.account.used += batch.cost * member.rows / used
        member.account.remaining -= member.cost
