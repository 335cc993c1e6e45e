"""Who may see which picture, and who may end it: one set of rules for every platform.

A platform tells the facts (`Visitor`); what follows from them is decided here. What cannot be known
counts as no: whoever may not see a picture hears the same as of one that is not there.

    who asks                                        may see a picture
    who asked for it, as a person                   wherever they are
    whoever reads the message that shows it, or is  there
      where it was asked for
    who may see the place where it was asked for,   there, or alone: not where others read who may
      its moderators, Marble's owners; of all but     not see it
      private chats Marble's moderators
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import Enum, auto
from typing import Final, Protocol

from bots.admission.gate import Gate
from bots.admission.roles import Role
from bots.requests.derive import of_picture
from engine.errors import UserError
from engine.sentences import Sentence
from storage import Job, parse_name
from storage.errors import UnknownJob, UnreadableRecipe
from storage.jobs.jobs import Jobs


class Relation(Enum):
    """Say what somebody has to do with the place where a picture was asked for."""

    PRIVATE = auto()  # nobody reads there but who asked: a private chat, another platform
    NONE = auto()  # they are not known to see it
    SEES = auto()
    MODERATES = auto()


class Sight(Enum):
    """Say where somebody may be shown a picture."""

    NONE = auto()
    ALONE = auto()  # where nobody else reads
    ALL = auto()  # where they ask, whoever reads there


class Deed(Enum):
    """Say what somebody wants with a picture."""

    DRAW = auto()  # another picture made from it, which is posted where they ask
    POST = auto()  # the picture again, with its buttons
    SEND = auto()  # its files
    TELL = auto()  # what it was made from; or a mark of their own
    END = auto()  # cancel what waits or runs, delete a message that shows it


# Whoever is banned may not do these: platforms ask the gate. It refuses itself what is to be drawn.
ADMITTED: Final = frozenset({Deed.POST, Deed.SEND})


class Unseen(UserError):
    """Say of a picture that it is not there, or not for who asks: the same either way."""

    def __init__(self, name: str) -> None:
        text = (
            f"There is no picture {name} that you may see here. If it was posted in another "
            "channel or group, ask for it there."
        )
        super().__init__(Sentence(text, "unseen_picture", name=name))


class PostedElsewhere(UserError):
    """Say to somebody who may see a picture why nothing of it is posted where they ask."""

    def __init__(self, name: str) -> None:
        text = (
            f"Picture {name} was posted elsewhere, and not everybody here may see it: ask for this "
            "there, or in a direct message to me."
        )
        super().__init__(Sentence(text, "posted_elsewhere", name=name))


class NotYours(UserError):
    """Say who may end what somebody else wanted to end."""

    def __init__(self) -> None:
        text = "Only who asked for it, or a moderator, can do that."
        super().__init__(Sentence(text, "not_yours"))


class NotInPrivate(UserError):
    """Say where somebody is told what is about them alone."""

    def __init__(self) -> None:
        text = "That is about one person alone: ask for it as yourself, in a private chat with me."
        super().__init__(Sentence(text, "ask_in_private"))


class Posted(Protocol):
    """Say who asked for a picture, and where."""

    @property
    def person(self) -> str: ...

    @property
    def place(self) -> str: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Viewer:
    """Say who asks, where, and who reads the answer."""

    person: str
    place: str
    is_person: bool = True  # and no group or channel in whose name several people write
    in_private: bool = False  # nobody else reads there
    answered_alone: bool = False  # an answer can be shown to them alone


@dataclass(frozen=True, slots=True, kw_only=True)
class Facts:
    """Hold what is known of a viewer and the place where a picture was asked for."""

    role: Role  # everywhere
    shown: bool = False  # the message that they act on shows the picture
    shared: bool = False  # whoever reads the answer may see that place
    relation: Relation | None = None  # None: not asked yet


class Visitor(Protocol):
    """Tell what a platform knows of somebody."""

    @property
    def viewer(self) -> Viewer: ...

    def shares(self, place: str) -> bool:
        """Say whether whoever reads where they ask is known to see another place."""
        ...

    async def relation(self, place: str) -> Relation:
        """Return what they have to do with a place; raises nothing."""
        ...


def sight_of(posted: Posted, viewer: Viewer, facts: Facts) -> Sight:
    """Return where somebody may be shown a picture."""
    own = viewer.is_person and posted.person == viewer.person
    if own or facts.shown or facts.shared:
        return Sight.ALL
    visible = (
        facts.role is Role.OWNER
        or facts.relation in (Relation.SEES, Relation.MODERATES)
        or (facts.role >= Role.MODERATOR and facts.relation is Relation.NONE)
    )
    if not visible:
        return Sight.NONE
    return Sight.ALL if viewer.in_private else Sight.ALONE


def may_end(posted: Posted, viewer: Viewer, facts: Facts) -> bool:
    """Say whether somebody may cancel a job, or delete a message that shows it."""
    own = posted.person == viewer.person and (viewer.is_person or facts.shared)
    return own or facts.role >= Role.MODERATOR or facts.relation is Relation.MODERATES


def check_personal(viewer: Viewer) -> None:
    """Raise `NotInPrivate` unless a person is answered whom nobody else hears.

    What is kept of somebody, their settings and history are told so only, and changed so only.
    """
    if not (viewer.is_person and (viewer.in_private or viewer.answered_alone)):
        raise NotInPrivate


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """Hold a picture that somebody named, or all of a job's, and how far they may see it."""

    job: Job
    picture: int | None  # an index; None: all
    deed: Deed
    sight: Sight
    shown: bool  # the message that they acted on shows it


@dataclass(frozen=True, slots=True)
class Sights:
    """Find the pictures that people name, for what they may do with them."""

    jobs: Jobs
    gate: Gate

    async def find(
        self, name: str, visitor: Visitor, deed: Deed, message: str | None = None
    ) -> Found:
        """Return what a name means; `message` is the one acted on, as storage knows it.

        Only reads. Raises `UnknownPicture` for what is no name, `Unseen`, `NotInJob`, `NotYours`,
        `PostedElsewhere` or `UnreadableRecipe`.
        """
        number, picture = parse_name(name)
        viewer = visitor.viewer
        shown = message is not None and await self.jobs.is_shown(number, message)
        try:
            job = await self.jobs.get(number)
        except UnknownJob:
            raise Unseen(name) from None
        except UnreadableRecipe as error:
            facts = await self._facts(error, visitor, deed, shown=shown)
            if sight_of(error, viewer, facts) is not Sight.ALL:
                raise Unseen(name) from None
            raise
        facts = await self._facts(job, visitor, deed, shown=shown)
        sight = sight_of(job, viewer, facts)
        found = Found(job=job, picture=picture, deed=deed, sight=sight, shown=shown)
        if deed is Deed.END and may_end(job, viewer, facts):
            return found
        if sight is Sight.NONE or (sight is Sight.ALONE and not viewer.answered_alone):
            raise Unseen(name)
        of_picture(job, picture)
        if deed is Deed.END:
            raise NotYours
        if deed is Deed.DRAW and sight is Sight.ALONE:
            raise PostedElsewhere(name)
        return found

    async def sight(self, posted: Posted, visitor: Visitor) -> Sight:
        """Return where somebody may be shown a picture that no message before them shows."""
        facts = await self._facts(posted, visitor, Deed.TELL, shown=False)
        return sight_of(posted, visitor.viewer, facts)

    async def _facts(self, posted: Posted, visitor: Visitor, deed: Deed, *, shown: bool) -> Facts:
        """Gather what decides; the platform is asked only where nothing else does."""
        viewer = visitor.viewer
        facts = Facts(
            role=self.gate.roles.of(viewer.person),
            shown=shown,
            shared=visitor.shares(posted.place),
        )
        decided = (
            may_end(posted, viewer, facts)
            if deed is Deed.END
            else sight_of(posted, viewer, facts) is not Sight.NONE
        )
        if decided:
            return facts
        return replace(facts, relation=await visitor.relation(posted.place))
