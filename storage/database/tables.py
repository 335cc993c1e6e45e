"""The tables, as `migrations/` creates them; a test holds the two together.

People and places are known by the platform's own id ("discord:123/456"), so that a row says
whom it is about without a join. Ids of jobs are never used twice.
"""

from __future__ import annotations

from typing import Any, ClassVar, cast

from sqlalchemy import CheckConstraint, ForeignKeyConstraint, Index, MetaData, Table, text
from sqlalchemy.orm import DeclarativeBase, Mapped

from storage.database.columns import (
    Amount,
    Count,
    CountId,
    Document,
    Flag,
    Found,
    Id,
    Judged,
    Key,
    KeyId,
    Line,
    Name,
    NameId,
    NumberId,
    OfJob,
    OfJobId,
    OfJobOrNone,
    OfParent,
    OfPerson,
    OfPersonId,
    OfPlace,
    OfPlaceAbove,
    OfPlaceId,
    OfWorker,
    Seed64,
    Sha256,
    Sha256Id,
    Suspected,
    Time,
)
from storage.states import Status

STATUSES = ", ".join(f"'{status}'" for status in Status)


def _where(condition: str) -> dict[str, Any]:
    """Return what makes an index partial, on either database."""
    return {"sqlite_where": text(condition), "postgresql_where": text(condition)}


class Base(DeclarativeBase):
    """Give every constraint a name, which migrations need to change it."""

    metadata: ClassVar[MetaData] = MetaData(
        naming_convention={
            "ix": "ix_%(table_name)s_%(column_0_N_name)s",
            "uq": "uq_%(table_name)s_%(column_0_N_name)s",
            "fk": "fk_%(table_name)s_%(column_0_N_name)s_%(referred_table_name)s",
            "pk": "pk_%(table_name)s",
            "ck": "ck_%(table_name)s_%(constraint_name)s",
        }
    )


class PersonRow(Base):
    """A person who asked for something."""

    __tablename__ = "people"
    id: Mapped[KeyId]
    created_at: Mapped[Time]


class PlaceRow(Base):
    """A server, chat, topic or terminal; a topic's `parent` is its chat."""

    __tablename__ = "places"
    id: Mapped[KeyId]
    parent: Mapped[OfPlaceAbove | None]
    created_at: Mapped[Time]
    __table_args__ = (Index("ix_places_parent", "parent", **_where("parent IS NOT NULL")),)


class WorkerRow(Base):
    """A process that runs jobs; `beat` rises while it lives."""

    __tablename__ = "workers"
    id: Mapped[KeyId]
    host: Mapped[Line]
    process: Mapped[Count]
    beat: Mapped[Count]
    started_at: Mapped[Time]


class JobRow(Base):
    """A recipe that somebody asked for, and how far it has come.

    `cost` is the recipe's in pixels × steps; None for jobs of long before it was kept.
    """

    __tablename__ = "jobs"
    id: Mapped[Id]
    recipe: Mapped[Document]
    status: Mapped[Name]
    person: Mapped[OfPerson]
    place: Mapped[OfPlace]
    reply: Mapped[Document]
    message: Mapped[Line | None]
    parent: Mapped[OfParent | None]
    parent_picture: Mapped[Count | None]
    epoch: Mapped[Count]
    attempts: Mapped[Count]
    worker: Mapped[OfWorker | None]
    error: Mapped[Line | None]
    told: Mapped[Document | None]
    words: Mapped[Found]
    created_at: Mapped[Time]
    started_at: Mapped[Time | None]
    finished_at: Mapped[Time | None]
    style: Mapped[Name | None]
    suspect: Mapped[Suspected]
    cost: Mapped[Amount | None]
    __table_args__ = (
        CheckConstraint(f"status IN ({STATUSES})", name="status"),
        Index("ix_jobs_queued", "id", **_where("status = 'queued'")),
        Index("ix_jobs_worker", "worker", **_where("worker IS NOT NULL")),
        Index("ix_jobs_person", "person", "id"),
        Index("ix_jobs_asked", "person", "created_at"),
        Index("ix_jobs_place", "place", "id"),
        Index("ix_jobs_parent", "parent", **_where("parent IS NOT NULL")),
        Index("ix_jobs_words", "words", postgresql_using="gin").ddl_if(dialect="postgresql"),
        {"sqlite_autoincrement": True},
    )


class PictureRow(Base):
    """A finished picture; its file is named by its sha256. `verdict` is the safety check's."""

    __tablename__ = "pictures"
    job: Mapped[OfJobId]
    index: Mapped[CountId]
    sha256: Mapped[Sha256]
    seed: Mapped[Seed64]
    width: Mapped[Count]
    height: Mapped[Count]
    size: Mapped[Count]
    verdict: Mapped[Judged]
    __table_args__ = (Index("ix_pictures_sha256", "sha256"),)


class InputRow(Base):
    """A stored picture that a job starts from: a start image, a mask, a ControlNet image.

    `owner` gave it, whoever asked for the job; nobody gave what Marble drew.
    """

    __tablename__ = "inputs"
    job: Mapped[OfJobId]
    sha256: Mapped[Sha256Id]
    owner: Mapped[Key | None]
    __table_args__ = (Index("ix_inputs_sha256", "sha256"), Index("ix_inputs_owner", "owner"))


class OutboxRow(Base):
    """The one reply that a job gets; `closed_at` says that nothing is left to do."""

    __tablename__ = "outbox"
    job: Mapped[OfJobId]
    adapter: Mapped[Name]
    outcome: Mapped[Name]
    way: Mapped[Count]
    tries: Mapped[Count]
    sending: Mapped[Flag]
    sender: Mapped[OfWorker | None]
    due_at: Mapped[Time]
    error: Mapped[Line | None]
    created_at: Mapped[Time]
    closed_at: Mapped[Time | None]
    delivered: Mapped[Flag]
    __table_args__ = (
        Index("ix_outbox_due", "adapter", "due_at", **_where("closed_at IS NULL")),
        Index("ix_outbox_sender", "sender", **_where("sender IS NOT NULL")),
    )


class MessageRow(Base):
    """A message that shows a job, so that a button or reaction on it finds the job."""

    __tablename__ = "messages"
    id: Mapped[KeyId]
    job: Mapped[OfJob]
    picture: Mapped[Count | None]
    created_at: Mapped[Time]
    __table_args__ = (Index("ix_messages_job", "job"),)


class FavouriteRow(Base):
    """A picture that a person marked as favourite."""

    __tablename__ = "favourites"
    person: Mapped[OfPersonId]
    job: Mapped[NumberId]
    picture: Mapped[CountId]
    created_at: Mapped[Time]
    __table_args__ = (
        ForeignKeyConstraint(
            ["job", "picture"], ["pictures.job", "pictures.index"], ondelete="CASCADE"
        ),
        Index("ix_favourites_picture", "job", "picture"),
    )


class PersonSettingsRow(Base):
    """A person's settings, as plain values by name."""

    __tablename__ = "person_settings"
    person: Mapped[OfPersonId]
    values: Mapped[Document]


class PlaceSettingsRow(Base):
    """A place's settings, as plain values by name."""

    __tablename__ = "place_settings"
    place: Mapped[OfPlaceId]
    values: Mapped[Document]


class StyleRow(Base):
    """A named style of a place.

    `made_by` points at no person: the style is the place's, and outlives whoever made it.
    """

    __tablename__ = "styles"
    place: Mapped[OfPlaceId]
    name: Mapped[NameId]
    prompt: Mapped[Line]
    negative: Mapped[Line]
    made_by: Mapped[Key]
    created_at: Mapped[Time]
    __table_args__ = (Index("ix_styles_made_by", "made_by"),)


class BanRow(Base):
    """A person banned from a place ("*": everywhere).

    It points at no person on purpose: whoever asks to be forgotten stays banned.
    """

    __tablename__ = "bans"
    person: Mapped[KeyId]
    place: Mapped[KeyId]
    reason: Mapped[Line]
    by: Mapped[Key]
    until: Mapped[Time | None]
    created_at: Mapped[Time]


class EventRow(Base):
    """A handled update or interaction: the job it made, or else its person."""

    __tablename__ = "seen_events"
    id: Mapped[KeyId]
    job: Mapped[OfJobOrNone]
    person: Mapped[Key | None]
    created_at: Mapped[Time]
    __table_args__ = (
        Index("ix_seen_events_created_at", "created_at"),
        Index("ix_seen_events_job", "job"),
        Index("ix_seen_events_person", "person"),
    )


class LetterRow(Base):
    """An update of a platform that is not handled yet."""

    __tablename__ = "letters"
    id: Mapped[KeyId]
    adapter: Mapped[Name]
    person: Mapped[Key]
    body: Mapped[Document]
    created_at: Mapped[Time]
    __table_args__ = (
        Index("ix_letters_adapter", "adapter", "created_at"),
        Index("ix_letters_person", "person"),
    )


class AuditRow(Base):
    """An act of a moderator or owner."""

    __tablename__ = "audit"
    id: Mapped[Id]
    at: Mapped[Time]
    by: Mapped[Key]
    act: Mapped[Name]
    target: Mapped[Key | None]
    place: Mapped[Key | None]
    detail: Mapped[Document]
    __table_args__ = (
        Index("ix_audit_by", "by"),
        Index("ix_audit_target", "target"),
        Index("ix_audit_place", "place"),
    )


def _table(row: type[Base]) -> Table:
    return cast(Table, row.__table__)


people, places, workers = _table(PersonRow), _table(PlaceRow), _table(WorkerRow)
jobs, pictures, outbox = _table(JobRow), _table(PictureRow), _table(OutboxRow)
messages, favourites = _table(MessageRow), _table(FavouriteRow)
inputs = _table(InputRow)
person_settings, place_settings = _table(PersonSettingsRow), _table(PlaceSettingsRow)
bans, seen_events, audit = _table(BanRow), _table(EventRow), _table(AuditRow)
letters, styles = _table(LetterRow), _table(StyleRow)
