"""The account: what went in, what came out, and what became of the difference. Pure.

A job counts from the moment anybody could know of it: a row in the database, or a message that
carries its number. It must end, and people must see one end of it.

    lost         known, and not ended; or ended, and its end was never shown
    doubled      its end was shown by two messages, and Marble did not say that this may happen
    ambiguous    … and Marble did: an unrepeatable send had an unknown outcome (rule P3)
    stuck        a message still says "in line" though its job has ended
    orphaned     … because the answer to sending it was lost with the process or the network, so
                 that nobody can know of it; the job's end was shown by another message
    ignored      somebody was heard, and was told nothing
    unheard      … whose answer was lost with a process or the network: nobody had been told
                 "queued"
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable
from dataclasses import dataclass, field
from typing import Final

OVER: Final = frozenset({"delivered", "failed", "cancelled"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Kept:
    """Hold a job as the database has it at the end; `closed`, `delivered`: its reply."""

    job: int
    status: str
    closed: bool = True
    delivered: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    """Hold a message as people saw it; `ended`: it told at some time how its job ended.

    In `doubt` is what was sent while its answer could be lost.
    """

    key: str
    job: int | None
    ended: bool = False
    waits: bool = False  # it stands, and says that its job waits or runs
    doubt: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """Hold a deed: whether Marble had it in hand, and whether they were told anything."""

    name: str
    heard: bool
    answered: bool
    job: int | None = None
    doubt: bool = False


@dataclass(frozen=True, slots=True)
class Account:
    """Hold what was found, by job, message or deed."""

    jobs: int = 0
    ends: Counter[str] = field(default_factory=Counter)
    lost: tuple[str, ...] = ()
    doubled: tuple[str, ...] = ()
    ambiguous: tuple[str, ...] = ()
    stuck: tuple[str, ...] = ()
    orphaned: tuple[str, ...] = ()
    ignored: tuple[str, ...] = ()
    unheard: tuple[str, ...] = ()

    @property
    def wrong(self) -> tuple[str, ...]:
        """Return everything that no rule excuses."""
        return (*self.lost, *self.doubled, *self.stuck, *self.ignored)


def judge(
    kept: Iterable[Kept], seen: Iterable[Seen], asked: Iterable[Asked], admitted: Collection[int]
) -> Account:
    """Return the account; `admitted` are the jobs whose replies Marble said may come twice."""
    jobs, seen, asked = {each.job: each for each in kept}, list(seen), list(asked)
    known = jobs.keys() | {each.job for each in seen if each.job is not None}
    shown = Counter(each.job for each in seen if each.ended)
    doubled = [job for job in sorted(known) if shown[job] > 1]
    waiting = [each for each in seen if each.waits and _is_over(jobs, each.job)]
    orphaned = [each for each in waiting if each.doubt and (each.job is None or shown[each.job])]
    silent = [each for each in asked if each.heard and not each.answered and each.job is None]
    return Account(
        jobs=len(known),
        ends=Counter(each.status for each in jobs.values()),
        lost=tuple(
            f"job {job}: {why}" for job in sorted(known) if (why := _loss(jobs, shown, job))
        ),
        doubled=tuple(
            f"job {job}: its end was shown {shown[job]} times"
            for job in doubled
            if job not in admitted
        ),
        ambiguous=tuple(f"job {job}" for job in doubled if job in admitted),
        stuck=tuple(f"{_name(each)} still waits" for each in waiting if each not in orphaned),
        orphaned=tuple(map(_name, orphaned)),
        ignored=tuple(f"{each.name} was told nothing" for each in silent if not each.doubt),
        unheard=tuple(each.name for each in silent if each.doubt),
    )


def _loss(jobs: dict[int, Kept], shown: Counter[int | None], job: int) -> str | None:
    """Say why a job counts as lost, if it does."""
    if (kept := jobs.get(job)) is None:
        return "it was told of and is not in the database"
    if kept.status not in OVER and kept.status != "rendered":
        return f"it is still {kept.status}"
    if not kept.closed:
        return "its reply still waits"
    if not kept.delivered:
        return "its reply was given up"
    return None if shown[job] else f"it is {kept.status}, which nobody was shown"


def _is_over(jobs: dict[int, Kept], job: int | None) -> bool:
    return job is None or job not in jobs or jobs[job].closed


def _name(message: Seen) -> str:
    return f"{message.key} (job {message.job})"
