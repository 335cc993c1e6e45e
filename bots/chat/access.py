"""Who may see which picture, and who may end it: one set of rules for every platform.

Each platform supplies the facts (`Requester`); the decision is made here. What cannot be found out
counts as no. A picture that somebody may not see is answered like one that does not exist.

    who asks                                      where the picture may be shown to them
    the person who asked for it                   everywhere
    readers of a message that shows it            there
    readers of the place where it was asked for   there
    members and moderators of that place          in private, or where all readers may see it
    Marble's owners                               in private, or where all readers may see it
    Marble's moderators, except of private chats  in private, or where all readers may see it
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import Enum, auto
from typing import Final, Protocol

from bots.admission.gate import Origin
from bots.admission.roles import Role
from bots.presentation.lines import name_of
from bots.requests.derive import of_picture
from bots.service.app import App
from bots.texts import Words
from engine.errors import UserError
from engine.sentences import Sentence
from storage import Job, Picture, parse_name
from storage.errors import UnknownJob, UnreadableRecipe


class Relation(Enum):
    """How somebody is related to the place where a picture was asked for."""

    PRIVATE = auto()  # nobody reads there but who asked: a private chat, another platform
    NONE = auto()  # they are not known to see it
    SEES = auto()
    MODERATES = auto()


class Audience(Enum):
    """Where a picture may be shown: nowhere, to the asker alone, or to all readers."""

    NONE = auto()
    ALONE = auto()  # where nobody else reads
    ALL = auto()  # where they ask, to all who read there


class Purpose(Enum):
    """The purpose for which a picture is wanted."""

    DRAW = auto()  # another picture made from it, which is posted where they ask
    POST = auto()  # the picture again, with its buttons
    SEND = auto()  # its files
    TELL = auto()  # what it was made from; or a mark of their own
    END = auto()  # cancel what waits or runs, delete a message that shows it


# Refused to banned people: adapters ask `Gate.admit`. For DRAW the studio asks the gate.
ADMITTED: Final = frozenset({Purpose.POST, Purpose.SEND})


@dataclass(frozen=True, slots=True, kw_only=True)
class Viewer:
    """Who asks, where, and who reads the answer."""

    person: str
    place: str
    is_person: bool = True  # and no group or channel in whose name several people write
    in_private: bool = False  # nobody else reads there
    answered_alone: bool = False  # an answer can be shown to them alone

    @property
    def reads_alone(self) -> bool:
        """Return whether nobody else reads the answer."""
        return self.in_private or self.answered_alone


@dataclass(frozen=True, slots=True, kw_only=True)
class Facts:
    """The known facts about a viewer and the place where a picture was asked for."""

    role: Role  # everywhere
    shown: bool = False  # the message that they act on shows the picture
    shared: bool = False  # all who read the answer may see that place
    relation: Relation | None = None  # None: not asked yet


class Requester(Protocol):
    """The facts about an asker that a platform supplies."""

    @property
    def viewer(self) -> Viewer: ...

    def shares(self, place: str) -> bool:
        """Return whether all who read where they ask are known to see another place."""
        ...

    async def relation(self, place: str) -> Relation:
        """Return how they are related to a place; raises nothing."""
        ...


def audience_of(origin: Origin, viewer: Viewer, facts: Facts) -> Audience:
    """Return where somebody may be shown a picture."""
    own = viewer.is_person and origin.person == viewer.person
    if own or facts.shown or facts.shared:
        return Audience.ALL
    visible = (
        facts.role is Role.OWNER
        or facts.relation in (Relation.SEES, Relation.MODERATES)
        or (facts.role >= Role.MODERATOR and facts.relation is Relation.NONE)
    )
    if not visible:
        return Audience.NONE
    return Audience.ALL if viewer.in_private else Audience.ALONE


def may_end(origin: Origin, viewer: Viewer, facts: Facts) -> bool:
    """Return whether somebody may cancel a job, or delete a message that shows it."""
    own = origin.person == viewer.person and (viewer.is_person or facts.shared)
    return own or facts.role >= Role.MODERATOR or facts.relation is Relation.MODERATES


def check_personal(viewer: Viewer) -> None:
    """Raise `UserError` unless the viewer is one person who reads the answer alone.

    For what is kept of somebody, their settings and history: to show it and to change it.
    """
    if not (viewer.is_person and viewer.reads_alone):
        raise UserError(Sentence("ask_in_private"))


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """A picture that somebody named, or all of a job's, and before whom they may be shown it."""

    job: Job
    picture: int | None  # an index; None: all
    purpose: Purpose
    audience: Audience
    shown: bool  # the message that they acted on shows it

    @property
    def name(self) -> str:
        """Return the name that people use: that of the job where it has no other picture."""
        return name_of(self.job, self.picture if self.job.recipe.count > 1 else None)

    @property
    def alone(self) -> bool:
        """Return whether it is one picture."""
        return self.picture is not None or len(self.job.recipe.pictures) == 1

    @property
    def pictures(self) -> tuple[Picture, ...]:
        """Return the stored pictures; none before the job is rendered."""
        return tuple(each for each in self.job.pictures if self.picture in (None, each.index))

    def drawn(self, words: Words) -> tuple[Picture, ...]:
        """Return the stored pictures; raises `UserError` where there are none yet."""
        if not self.pictures:
            raise UserError(words.not_yet)
        return self.pictures


async def find_picture(
    app: App, name: str, requester: Requester, purpose: Purpose, message: str | None = None
) -> Target:
    """Return the picture of a name; `message`: the key of the message acted on.

    Only reads. Raises `UnknownPicture` for what is no name, `NotInJob`, `UnreadableRecipe`, or
    `UserError` for what may not be seen or done.
    """
    number, picture = parse_name(name)
    viewer, unseen = requester.viewer, UserError(Sentence("unseen_picture", name=name))
    shown = message is not None and await app.storage.jobs.is_shown(number, message)
    try:
        job = await app.storage.jobs.get(number)
    except UnknownJob:
        raise unseen from None
    except UnreadableRecipe as error:
        facts = await _facts(app, error, requester, purpose, shown=shown)
        if audience_of(error, viewer, facts) is not Audience.ALL:
            raise unseen from None
        raise
    facts = await _facts(app, job, requester, purpose, shown=shown)
    audience = audience_of(job, viewer, facts)
    target = Target(job=job, picture=picture, purpose=purpose, audience=audience, shown=shown)
    if purpose is Purpose.END and may_end(job, viewer, facts):
        return target
    if audience is Audience.NONE or (audience is Audience.ALONE and not viewer.answered_alone):
        raise unseen
    of_picture(job, picture)
    if purpose is Purpose.END:
        raise UserError(Sentence("not_yours"))
    if purpose is Purpose.DRAW and audience is Audience.ALONE:
        raise UserError(Sentence("posted_elsewhere", name=name))
    return target


async def find_audience(app: App, origin: Origin, requester: Requester) -> Audience:
    """Return where somebody may be shown a picture that no message here shows."""
    facts = await _facts(app, origin, requester, Purpose.TELL, shown=False)
    return audience_of(origin, requester.viewer, facts)


async def _facts(
    app: App, origin: Origin, requester: Requester, purpose: Purpose, *, shown: bool
) -> Facts:
    """Gather what decides; the platform is asked only where nothing else does."""
    viewer, shared = requester.viewer, requester.shares(origin.place)
    facts = Facts(role=app.gate.roles.of(viewer.person), shown=shown, shared=shared)
    decided = (
        may_end(origin, viewer, facts)
        if purpose is Purpose.END
        else audience_of(origin, viewer, facts) is not Audience.NONE
    )
    if decided:
        return facts
    return replace(facts, relation=await requester.relation(origin.place))
