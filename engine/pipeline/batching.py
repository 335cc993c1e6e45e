"""Who shares the next call of the U-Net: plain synchronous policy over the pictures at work.

    wheel = Wheel(Batching.EXACT)
    batch = wheel.choose(turns)      # a leader, and who may join it

A leader is picked first. Two thirds of the time go to the job that can end soonest, so that a
sketch does not wait behind posters and equal jobs end one after another rather than all at the
last; one third goes to the job that had least, so that nobody starves. Then others of its kind
join it for as long as that pays.
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from math import lcm
from typing import Final, Generic, TypeVar

from engine.device.call_costs import CHEAP, Buckets
from engine.recipe.context_length import share_a_call, weight

SHORT: Final = 4  # a job is short beside one that asks for this many times as much

T = TypeVar("T")


class Batching(StrEnum):
    """Say whether a picture's bytes (exact) or pictures a second (throughput) matter more."""

    EXACT = "exact"
    THROUGHPUT = "throughput"


@dataclass(slots=True, eq=False)
class Account:
    """Keep what a job asks of the device, what it still needs and what it had, in seconds."""

    asks: float
    needs: float = field(init=False)
    had: float = 0.0

    def __post_init__(self) -> None:
        self.needs = self.asks


@dataclass(slots=True, eq=False)
class Turn(Generic[T]):
    """Hold a picture that waits for its next call, and what decides about its company.

    Pictures of one `kind` (model, dtype, latent shape, LoRAs) may share calls; `left` counts the
    answers that the picture still takes, `tokens` holds how long its context is in each of the
    calls that make one. One that is `alone` shares with nobody but its job's others.
    """

    picture: T
    account: Account
    kind: Hashable
    buckets: Buckets
    rows: int
    tokens: tuple[int, ...]
    left: int
    alone: bool = False

    @property
    def cost(self) -> float:
        """Return the seconds of an answer for this picture alone."""
        return self.buckets.cost(self.rows) * sum(map(weight, self.tokens))


@dataclass(frozen=True, slots=True)
class Batch(Generic[T]):
    """Hold who shares a call, and to how many rows it is padded."""

    turns: tuple[Turn[T], ...]
    rows: int

    @property
    def cost(self) -> float:
        """Return the seconds of its calls."""
        lengths = (lcm(*tokens) for tokens in _by_call(self.turns))
        return self.turns[0].buckets.cost(self.rows) * sum(map(weight, lengths))


class Wheel(Generic[T]):
    """Choose who comes next; remember only whose time it is.

    `static` pads every call to a power of two, of which a compiled model knows each.
    """

    def __init__(self, mode: Batching, *, static: bool = False) -> None:
        self.mode = mode
        self._static = static
        self._credit = 0.0  # seconds that are due to those who had least

    def open(self, asks: float, others: Sequence[Account]) -> Account:
        """Open a job's account; who comes last has no claim on the time before."""
        account = Account(asks)
        account.had = min((other.had for other in others), default=0.0)
        return account

    def choose(self, turns: Sequence[Turn[T]]) -> Batch[T]:
        """Return the next batch of at least one turn, and book its cost."""
        neediest = min(turns, key=lambda turn: (turn.account.had, -turn.left))
        soonest = min(turns, key=lambda turn: (turn.account.needs, -turn.left))
        batch = self._gather(soonest, turns)
        if neediest in batch.turns:
            self._credit = 0.0
        else:
            batch = self._settle(batch, self._gather(neediest, turns))
        _book(batch)
        return batch

    def _settle(self, soonest: Batch[T], neediest: Batch[T]) -> Batch[T]:
        """Take the batch of those who had least once half of others' time has paid for it."""
        if self._credit >= neediest.cost:
            self._credit -= neediest.cost
            return neediest
        # Unspent, credit must not pile up for those who come later.
        self._credit = min(self._credit + soonest.cost / 2, neediest.cost)
        return soonest

    def _gather(self, leader: Turn[T], turns: Sequence[Turn[T]]) -> Batch[T]:
        chosen = [leader]
        if self._room(leader) > leader.rows:
            for other in sorted(turns, key=lambda turn: _rank(turn, leader)):
                if other is not leader and self._fits(other, chosen):
                    chosen.append(other)
        rows = sum(turn.rows for turn in chosen)
        if self.mode is Batching.EXACT:
            rows = self._room(leader)
        elif self._static:
            rows = 1 << (rows - 1).bit_length()
        return Batch(tuple(chosen), rows)

    def _room(self, turn: Turn[T]) -> int:
        """Return how many rows a call with this picture may have."""
        if self.mode is Batching.EXACT:
            return turn.buckets.canonical(turn.rows)
        return max(turn.rows, turn.buckets.widest())

    def _fits(self, other: Turn[T], chosen: Sequence[Turn[T]]) -> bool:
        leader = chosen[0]
        rows = sum(turn.rows for turn in chosen) + other.rows
        if other.kind != leader.kind:
            return False
        # Of one kind, only those with long prompts may be known to have no room beside others.
        if rows > min(map(self._room, (*chosen, other))):
            return False
        if (leader.alone or other.alone) and other.account is not leader.account:
            return False
        if self.mode is Batching.EXACT:
            return other.tokens == leader.tokens and self._room(other) == self._room(leader)
        # A short job is in haste: those much longer join only where that costs it next to nothing.
        hurry = leader.account.asks * SHORT <= other.account.asks
        if hurry and leader.buckets.cost(rows) > CHEAP * leader.buckets.cost(leader.rows):
            return False
        return all(map(share_a_call, _by_call((*chosen, other))))


def _by_call(turns: Sequence[Turn[T]]) -> list[tuple[int, ...]]:
    """Return the lengths of the turns' contexts, together for each call."""
    return list(zip(*(turn.tokens for turn in turns), strict=True))


def _rank(turn: Turn[T], leader: Turn[T]) -> tuple[bool, float, int]:
    """Order a leader's company: its own job's pictures, then jobs that had least."""
    return turn.account is not leader.account, turn.account.had, -turn.left


def _book(batch: Batch[T]) -> None:
    used = sum(turn.rows for turn in batch.turns)
    for turn in batch.turns:
        turn.left -= 1
        turn.account.had += batch.cost * turn.rows / used
        turn.account.needs -= turn.cost
