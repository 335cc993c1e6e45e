"""The records that storage returns: frozen, without a database."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final

from engine.events import Verdict
from engine.recipe.recipe import Recipe
from storage.errors import UnknownPicture
from storage.states import Status

Json = Mapping[str, Any]
EVERYWHERE: Final = "*"  # the place that all places lie in


@dataclass(frozen=True, slots=True, kw_only=True)
class NewJob:
    """A request for a job: the recipe, by whom, and where the reply goes.

    `person` and `place` are "platform:rest" ("terminal:ada", "discord:123/456") or a platform
    alone ("terminal"); the place's platform names the adapter that delivers the reply. `reply`
    is whatever that adapter needs to answer. `event` is the platform's id of the update or
    interaction: asked twice with the same event, `add` returns the first job.
    """

    recipe: Recipe
    person: str
    place: str
    reply: Json = field(default_factory=dict, repr=False)  # may hold a platform's token
    parent: int | None = None
    parent_picture: int | None = None  # index from 0
    event: str | None = None
    style: str | None = None  # the name of one whose words the recipe holds
    making_of: bool = False  # it records how its parent's picture comes about
    best: bool = False  # the picture that matches the prompt best is shown first


@dataclass(frozen=True, slots=True, kw_only=True)
class Picture:
    """Describe one stored picture: which, what it shows in pixels, its file's sha256, what the
    safety check said of it, and how well it matches its prompt (a cosine), where its job shows the
    best first and that is known."""

    job: int
    index: int  # from 0
    seed: int
    width: int
    height: int
    size: int  # bytes of the file
    sha256: str
    verdict: Verdict = Verdict.UNCHECKED
    match: float | None = None

    @property
    def name(self) -> str:
        """Return the name that people use, counted from 1: `12.3`."""
        return f"{self.job}.{self.index + 1}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """A job as it was when read; `id` is the number that people see."""

    id: int
    recipe: Recipe
    status: Status
    person: str
    place: str
    reply: Json = field(repr=False)
    message: str | None = None  # the placeholder, as the adapter addresses it
    parent: int | None
    parent_picture: int | None
    epoch: int  # rises with every claim; fences off workers of the past
    attempts: int  # claims, but for those given back in good order or lost in others' company
    error: str | None = None
    created_at: datetime
    started_at: datetime | None = None
    finished_at: datetime | None = None
    style: str | None = None  # the name of one whose words the recipe holds
    device: str | None = None  # the kind that drew it; until then the one that is to, if any
    device_wanted: str | None = None  # where another kind drew it: the one that drew its parent
    making_of: bool = False  # it records how its parent's picture comes about
    best: bool = False  # the picture that matches the prompt best is shown first
    suspect: bool = False  # a worker died with it: it must not share an engine again
    ahead: bool = False  # an owner put it before all others
    pictures: tuple[Picture, ...] = ()  # in the order in which they are shown

    @property
    def adapter(self) -> str:
        """Return the platform that delivers the reply."""
        return platform(self.place)


@dataclass(frozen=True, slots=True, kw_only=True)
class PendingReply:
    """One reply that waits in the outbox."""

    job: Job
    adapter: str
    outcome: Status  # rendered, failed or cancelled
    way: int  # which of the adapter's ways is tried next
    tries: int  # failed tries by this way
    sending: bool  # a try was begun and its end never recorded
    due_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class InboxEntry:
    """What a platform handed over: `id` names the update, `body` is as it came."""

    id: str
    adapter: str
    person: str
    body: Json


@dataclass(frozen=True, slots=True, kw_only=True)
class Lineage:
    """The jobs that a job was made from, oldest first, and those made from it."""

    ancestors: tuple[Job, ...]
    job: Job
    descendants: tuple[Job, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Stats:
    """Counts of what there is."""

    jobs: Mapping[Status, int]
    pictures: int
    bytes: int
    people: int
    favourites: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Hour:
    """Count what ended within an hour: jobs that were drawn, their pictures, and others.

    half_within, most_within: seconds from asking to the picture, in which half of those jobs were
    drawn, and 19 of 20; None where none was.
    """

    at: datetime
    pictures: int
    jobs: int
    failed: int
    cancelled: int
    half_within: float | None
    most_within: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Spender:
    """Who spent how much of a day's budget: the jobs, and their pixels × steps.

    hours: what of it was spent until the end of each hour of `Day`.
    """

    person: str
    jobs: int
    spent: int
    hours: tuple[int, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Day:
    """The figures of the last 24 hours, the earliest hour first.

    errors: the most frequent ones, and how often each occurred. cut: there were too many jobs to
    look at all of them, so that the earliest are left out.
    """

    hours: tuple[Hour, ...]
    errors: tuple[tuple[str, int], ...]
    spenders: tuple[Spender, ...]
    cut: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Favourite:
    """A favourite picture and its job."""

    job: Job
    picture: Picture


@dataclass(frozen=True, slots=True, kw_only=True)
class Style:
    """A named style of a place: words added to prompts there."""

    place: str
    name: str
    prompt: str
    negative: str
    made_by: str
    created_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Level:
    """A place and its own settings."""

    place: str
    settings: Json


Line = tuple[Level, ...]  # a place, what it lies in, what that lies in …; `EVERYWHERE` is last


@dataclass(frozen=True, slots=True, kw_only=True)
class Ban:
    """A ban: of whom, where ("*": everywhere), why, and until when."""

    person: str
    place: str
    reason: str
    by: str
    until: datetime | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Link:
    """A link that signs a person in to the web page, and the path that it leads to."""

    person: str
    path: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Session:
    """A browser that is signed in to the web page: as whom, and since when."""

    person: str
    created_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class SignedIn:
    """A session, and what decides what its person may do: a ban that keeps them from it, or None,
    and the settings that apply to them on the web page.
    """

    session: Session
    ban: Ban | None
    line: Line


@dataclass(frozen=True, slots=True, kw_only=True)
class Grant:
    """What somebody may use on the web page as a message shows it, and where the result goes."""

    person: str
    job: int
    picture: int  # index from 0
    message: str
    place: str
    reply: Json = field(repr=False)  # may hold a platform's token


@dataclass(frozen=True, slots=True, kw_only=True)
class Pause:
    """A pause of the queue: why, by whom, and since when."""

    reason: str
    by: str
    at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Act:
    """An act of a moderator or owner."""

    id: int
    at: datetime
    by: str
    act: str
    target: str | None
    place: str | None
    detail: Json


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """The result of a check; orphans: files that no row names, which is no damage."""

    problems: tuple[str, ...]
    files: int
    orphans: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Pruned:
    """Count the jobs and files that were removed because of their age."""

    jobs: int
    files: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Exported:
    """Count the pictures of a person that an export holds, those that may not be shown where it
    is sent, and those that are larger than what can be sent there."""

    pictures: int
    left_out: int
    too_large: int


@dataclass(frozen=True, slots=True)
class Tower:
    """Name the model that makes vectors, and how many numbers each has."""

    name: str
    width: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Alike:
    """A picture that a search by meaning found, and its cosine with what was asked for."""

    job: Job
    picture: Picture
    cosine: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Forgotten:
    """Count the jobs and files of a person that were removed; `known` if there was anything."""

    known: bool
    jobs: int
    files: int


def platform(key: str) -> str:
    """Return the part before the colon: `discord` of `discord:123/456`."""
    return key.partition(":")[0]


def parse_name(text: str) -> tuple[int, int | None]:
    """Read `12` as (12, None) and `12.3` as (12, 2), or raise `UnknownPicture`."""
    job, dot, number = text.strip().lstrip("#").partition(".")
    parts = [job, number] if dot else [job]
    if not all(part.isascii() and part.isdigit() and len(part) < 19 for part in parts):
        raise UnknownPicture(text)
    if dot and int(number) == 0:
        raise UnknownPicture(text)
    return int(job), int(number) - 1 if dot else None
