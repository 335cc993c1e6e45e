"""The tables, as `migrations/` creates them; a test holds the two together.

People and places are known by the platform's own id ("discord:123/456"), so that a row says
whom it is about without a join. Ids of jobs are never used twice.
"""

from __future__ import annotations

from typing import Any, ClassVar

from sqlalchemy import CheckConstraint, ForeignKeyConstraint, Index, MetaData, text
from sqlalchemy.orm import DeclarativeBase, Mapped

from storage.database import columns as col
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
    id: Mapped[col.KeyId]
    created_at: Mapped[col.Time]


class PlaceRow(Base):
    """A server, chat, topic or terminal; a topic's `parent` is its chat."""

    __tablename__ = "places"
    id: Mapped[col.KeyId]
    parent: Mapped[col.OfPlace | None]
    created_at: Mapped[col.Time]
    __table_args__ = (Index("ix_places_parent", "parent", **_where("parent IS NOT NULL")),)


class WorkerRow(Base):
    """A process that runs jobs; `beat` rises while it lives."""

    __tablename__ = "workers"
    id: Mapped[col.KeyId]
    host: Mapped[col.Line]
    process: Mapped[col.Count]
    beat: Mapped[col.Count]
    started_at: Mapped[col.Time]


class JobRow(Base):
    """A recipe that somebody asked for, and how far it has come.

    `cost` is the recipe's in pixels × steps; None for jobs of long before it was kept. `device` is
    the kind that drew it; until then the one that is to. `making_of`: it records how its parent's
    picture comes about. `best`: the picture that matches the prompt best is shown first.
    """

    __tablename__ = "jobs"
    id: Mapped[col.Id]
    recipe: Mapped[col.Document]
    status: Mapped[col.Name]
    person: Mapped[col.OfPerson]
    place: Mapped[col.OfPlace]
    reply: Mapped[col.Document]
    message: Mapped[col.Line | None]
    parent: Mapped[col.OfParent | None]
    parent_picture: Mapped[col.Count | None]
    epoch: Mapped[col.Count]
    attempts: Mapped[col.Count]
    worker: Mapped[col.OfWorker | None]
    error: Mapped[col.Line | None]
    told: Mapped[col.Document | None]
    words: Mapped[col.Found]
    created_at: Mapped[col.Time]
    started_at: Mapped[col.Time | None]
    finished_at: Mapped[col.Time | None]
    style: Mapped[col.Name | None]
    suspect: Mapped[col.Off]
    cost: Mapped[col.Amount | None]
    device: Mapped[col.Line | None]
    ahead: Mapped[col.Off]
    making_of: Mapped[col.Off]
    best: Mapped[col.Off]
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
    """A finished picture; its file is named by its sha256. `verdict` is the safety check's.

    `match`: its cosine with its prompt, by which a job's pictures are ordered; None where they stay
    as they were drawn.
    """

    __tablename__ = "pictures"
    job: Mapped[col.OfJobId]
    index: Mapped[col.CountId]
    sha256: Mapped[col.Sha256]
    seed: Mapped[col.Seed64]
    width: Mapped[col.Count]
    height: Mapped[col.Count]
    size: Mapped[col.Count]
    verdict: Mapped[col.Judged]
    match: Mapped[col.Real | None]
    __table_args__ = (Index("ix_pictures_sha256", "sha256"),)


class InputRow(Base):
    """A stored picture that a job starts from: a start image, a mask, a ControlNet image.

    `owner` gave it, whoever asked for the job; nobody gave what Marble drew.
    """

    __tablename__ = "inputs"
    job: Mapped[col.OfJobId]
    sha256: Mapped[col.Sha256Id]
    owner: Mapped[col.Key | None]
    __table_args__ = (Index("ix_inputs_sha256", "sha256"), Index("ix_inputs_owner", "owner"))


class OutboxRow(Base):
    """The one reply that a job gets; `closed_at` says that nothing is left to do."""

    __tablename__ = "outbox"
    job: Mapped[col.OfJobId]
    adapter: Mapped[col.Name]
    outcome: Mapped[col.Name]
    way: Mapped[col.Count]
    tries: Mapped[col.Count]
    sending: Mapped[col.Flag]
    sender: Mapped[col.OfWorker | None]
    due_at: Mapped[col.Time]
    error: Mapped[col.Line | None]
    created_at: Mapped[col.Time]
    closed_at: Mapped[col.Time | None]
    delivered: Mapped[col.Flag]
    __table_args__ = (
        Index("ix_outbox_due", "adapter", "due_at", **_where("closed_at IS NULL")),
        Index("ix_outbox_sender", "sender", **_where("sender IS NOT NULL")),
    )


class MessageRow(Base):
    """A message that shows a job, so that a button or reaction on it finds the job."""

    __tablename__ = "messages"
    id: Mapped[col.KeyId]
    job: Mapped[col.OfJob]
    picture: Mapped[col.Count | None]
    created_at: Mapped[col.Time]
    __table_args__ = (Index("ix_messages_job", "job"),)


class FavouriteRow(Base):
    """A picture that a person marked as favourite."""

    __tablename__ = "favourites"
    person: Mapped[col.OfPersonId]
    job: Mapped[col.NumberId]
    picture: Mapped[col.CountId]
    created_at: Mapped[col.Time]
    __table_args__ = (
        ForeignKeyConstraint(
            ["job", "picture"], ["pictures.job", "pictures.index"], ondelete="CASCADE"
        ),
        Index("ix_favourites_picture", "job", "picture"),
    )


class VectorRow(Base):
    """A picture's vector (fp16, little-endian) by one model; `match` is its cosine with its prompt.

    Vectors of different models cannot be compared. Ids are never used twice.
    """

    __tablename__ = "vectors"
    id: Mapped[col.Id]
    job: Mapped[col.Amount]
    picture: Mapped[col.Count]
    model: Mapped[col.Line]
    width: Mapped[col.Count]
    vector: Mapped[col.Bytes]
    match: Mapped[col.Real | None]
    __table_args__ = (
        ForeignKeyConstraint(
            ["job", "picture"], ["pictures.job", "pictures.index"], ondelete="CASCADE"
        ),
        Index("ix_vectors_picture", "job", "picture", "model", "width", unique=True),
        Index("ix_vectors_model", "model", "width", "id"),
        {"sqlite_autoincrement": True},
    )


class PersonSettingsRow(Base):
    """A person's settings, as plain values by name."""

    __tablename__ = "person_settings"
    person: Mapped[col.OfPersonId]
    values: Mapped[col.Document]


class PlaceSettingsRow(Base):
    """A place's settings, as plain values by name."""

    __tablename__ = "place_settings"
    place: Mapped[col.OfPlaceId]
    values: Mapped[col.Document]


class StyleRow(Base):
    """A named style of a place.

    `made_by` points at no person: the style is the place's, and outlives whoever made it.
    """

    __tablename__ = "styles"
    place: Mapped[col.OfPlaceId]
    name: Mapped[col.NameId]
    prompt: Mapped[col.Line]
    negative: Mapped[col.Line]
    made_by: Mapped[col.Key]
    created_at: Mapped[col.Time]
    __table_args__ = (Index("ix_styles_made_by", "made_by"),)


class BanRow(Base):
    """A person banned from a place ("*": everywhere).

    It points at no person on purpose: whoever asks to be forgotten stays banned.
    """

    __tablename__ = "bans"
    person: Mapped[col.KeyId]
    place: Mapped[col.KeyId]
    reason: Mapped[col.Line]
    by: Mapped[col.Key]
    until: Mapped[col.Time | None]
    created_at: Mapped[col.Time]


class EventRow(Base):
    """A handled update or interaction: the job it made, or else its person."""

    __tablename__ = "seen_events"
    id: Mapped[col.KeyId]
    job: Mapped[col.OfJob | None]
    person: Mapped[col.Key | None]
    created_at: Mapped[col.Time]
    __table_args__ = (
        Index("ix_seen_events_created_at", "created_at"),
        Index("ix_seen_events_job", "job"),
        Index("ix_seen_events_person", "person"),
    )


class LetterRow(Base):
    """An update of a platform that is not handled yet."""

    __tablename__ = "letters"
    id: Mapped[col.KeyId]
    adapter: Mapped[col.Name]
    person: Mapped[col.Key]
    body: Mapped[col.Document]
    created_at: Mapped[col.Time]
    __table_args__ = (
        Index("ix_letters_adapter", "adapter", "created_at"),
        Index("ix_letters_person", "person"),
    )


class WebLinkRow(Base):
    """A link that signs a person in to the web page once; `id` is the sha256 of its token."""

    __tablename__ = "web_links"
    id: Mapped[col.Sha256Id]
    person: Mapped[col.OfPerson]
    path: Mapped[col.Line]
    created_at: Mapped[col.Time]
    __table_args__ = (Index("ix_web_links_person", "person"),)


class WebSessionRow(Base):
    """A browser that is signed in; `id` is the sha256 of its token."""

    __tablename__ = "web_sessions"
    id: Mapped[col.Sha256Id]
    person: Mapped[col.OfPerson]
    created_at: Mapped[col.Time]
    seen_at: Mapped[col.Time]
    __table_args__ = (Index("ix_web_sessions_person", "person"),)


class WebGrantRow(Base):
    """A picture that a message of a chat shows, opened on the web page by one who sees it there.

    `place` and `reply` are where the result goes; `id` is its name, random and no secret.
    """

    __tablename__ = "web_grants"
    id: Mapped[col.RandomId]
    person: Mapped[col.OfPerson]
    job: Mapped[col.OfJob]
    picture: Mapped[col.Count]
    message: Mapped[col.Line]
    place: Mapped[col.Key]
    reply: Mapped[col.Document]
    created_at: Mapped[col.Time]
    __table_args__ = (
        Index("ix_web_grants_person", "person"),
        Index("ix_web_grants_job", "job"),
        Index("ix_web_grants_place", "place"),
    )


class AuditRow(Base):
    """An act of a moderator or owner."""

    __tablename__ = "audit"
    id: Mapped[col.Id]
    at: Mapped[col.Time]
    by: Mapped[col.Key]
    act: Mapped[col.Name]
    target: Mapped[col.Key | None]
    place: Mapped[col.Key | None]
    detail: Mapped[col.Document]
    __table_args__ = (
        Index("ix_audit_by", "by"),
        Index("ix_audit_target", "target"),
        Index("ix_audit_place", "place"),
    )


_all = Base.metadata.tables
people, places, workers = _all["people"], _all["places"], _all["workers"]
jobs, pictures, outbox = _all["jobs"], _all["pictures"], _all["outbox"]
messages, favourites, inputs = _all["messages"], _all["favourites"], _all["inputs"]
person_settings, place_settings = _all["person_settings"], _all["place_settings"]
bans, seen_events, audit = _all["bans"], _all["seen_events"], _all["audit"]
letters, styles, vectors = _all["letters"], _all["styles"], _all["vectors"]
web_links, web_sessions, web_grants = (
    _all[name] for name in ("web_links", "web_sessions", "web_grants")
)
