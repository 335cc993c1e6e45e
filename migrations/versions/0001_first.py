"""Every table of the first version, and full-text search over the words of jobs.

Revision ID: 0001
Revises: nothing
"""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import JSONB, TSVECTOR

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

NUMBER = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
JSON = sa.JSON().with_variant(JSONB(), "postgresql")
WORDS = sa.Text().with_variant(TSVECTOR(), "postgresql")
TIME = sa.DateTime(timezone=True)
KEY = sa.String(200)
NAME = sa.String(40)

# The index reads the words from `jobs` (external content) and follows it by triggers. Its words
# come ready cut: only spaces separate them, so every kind of character is part of a token.
SEARCH = (
    """CREATE VIRTUAL TABLE search USING fts5(
        words, content='jobs', content_rowid='id', detail='full',
        tokenize="unicode61 remove_diacritics 0 categories 'L* M* N* P* S* Co Cn'")""",
    """CREATE TRIGGER search_added AFTER INSERT ON jobs BEGIN
        INSERT INTO search(rowid, words) VALUES (new.id, new.words); END""",
    """CREATE TRIGGER search_removed AFTER DELETE ON jobs BEGIN
        INSERT INTO search(search, rowid, words) VALUES ('delete', old.id, old.words); END""",
    """CREATE TRIGGER search_changed AFTER UPDATE OF words ON jobs BEGIN
        INSERT INTO search(search, rowid, words) VALUES ('delete', old.id, old.words);
        INSERT INTO search(rowid, words) VALUES (new.id, new.words); END""",
)


def upgrade() -> None:
    """Apply."""
    _people_and_places()
    _jobs()
    _about_jobs()
    _about_people()
    if op.get_bind().dialect.name == "sqlite":
        for statement in SEARCH:
            op.execute(statement)


def downgrade() -> None:
    """Take back."""
    if op.get_bind().dialect.name == "sqlite":
        for trigger in ("search_added", "search_removed", "search_changed"):
            op.execute(f"DROP TRIGGER {trigger}")
        op.execute("DROP TABLE search")
    for table in (
        *("audit", "bans", "seen_events", "place_settings", "person_settings", "favourites"),
        *("messages", "outbox", "pictures", "jobs", "workers", "places", "people"),
    ):
        op.drop_table(table)


def _people_and_places() -> None:
    op.create_table(
        "people",
        sa.Column("id", KEY, nullable=False),
        sa.Column("created_at", TIME, nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_people"),
    )
    op.create_table(
        "places",
        sa.Column("id", KEY, nullable=False),
        sa.Column("parent", KEY, nullable=True),
        sa.Column("created_at", TIME, nullable=False),
        sa.ForeignKeyConstraint(["parent"], ["places.id"], name="fk_places_parent_places"),
        sa.PrimaryKeyConstraint("id", name="pk_places"),
    )
    op.create_table(
        "workers",
        sa.Column("id", KEY, nullable=False),
        sa.Column("host", sa.Text(), nullable=False),
        sa.Column("process", sa.Integer(), nullable=False),
        sa.Column("beat", sa.Integer(), nullable=False),
        sa.Column("started_at", TIME, nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_workers"),
    )


def _jobs() -> None:
    op.create_table(
        "jobs",
        sa.Column("id", NUMBER, autoincrement=True, nullable=False),
        sa.Column("recipe", JSON, nullable=False),
        sa.Column("status", NAME, nullable=False),
        sa.Column("person", KEY, nullable=False),
        sa.Column("place", KEY, nullable=False),
        sa.Column("reply", JSON, nullable=False),
        sa.Column("message", sa.Text(), nullable=True),
        sa.Column("parent", NUMBER, nullable=True),
        sa.Column("parent_picture", sa.Integer(), nullable=True),
        sa.Column("epoch", sa.Integer(), nullable=False),
        sa.Column("attempts", sa.Integer(), nullable=False),
        sa.Column("worker", KEY, nullable=True),
        sa.Column("error", sa.Text(), nullable=True),
        sa.Column("words", WORDS, nullable=False),
        sa.Column("created_at", TIME, nullable=False),
        sa.Column("started_at", TIME, nullable=True),
        sa.Column("finished_at", TIME, nullable=True),
        sa.CheckConstraint(
            "status IN ('queued', 'running', 'rendered', 'delivered', 'failed', 'cancelled')",
            name=op.f("ck_jobs_status"),
        ),
        sa.ForeignKeyConstraint(
            ["parent"], ["jobs.id"], name="fk_jobs_parent_jobs", ondelete="SET NULL"
        ),
        sa.ForeignKeyConstraint(["person"], ["people.id"], name="fk_jobs_person_people"),
        sa.ForeignKeyConstraint(["place"], ["places.id"], name="fk_jobs_place_places"),
        sa.ForeignKeyConstraint(
            ["worker"], ["workers.id"], name="fk_jobs_worker_workers", ondelete="SET NULL"
        ),
        sa.PrimaryKeyConstraint("id", name="pk_jobs"),
        sqlite_autoincrement=True,
    )
    op.create_index("ix_jobs_person", "jobs", ["person", "id"])
    op.create_index("ix_jobs_place", "jobs", ["place", "id"])
    _partial_index("ix_jobs_queued", "jobs", ["id"], "status = 'queued'")
    _partial_index("ix_jobs_worker", "jobs", ["worker"], "worker IS NOT NULL")
    _partial_index("ix_jobs_parent", "jobs", ["parent"], "parent IS NOT NULL")
    if op.get_bind().dialect.name == "postgresql":
        op.create_index("ix_jobs_words", "jobs", ["words"], postgresql_using="gin")


def _about_jobs() -> None:
    op.create_table(
        "pictures",
        sa.Column("job", NUMBER, autoincrement=False, nullable=False),
        sa.Column("index", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("sha256", sa.String(64), nullable=False),
        sa.Column("seed", sa.String(20), nullable=False),
        sa.Column("width", sa.Integer(), nullable=False),
        sa.Column("height", sa.Integer(), nullable=False),
        sa.Column("size", sa.Integer(), nullable=False),
        _of_job("pictures"),
        sa.PrimaryKeyConstraint("job", "index", name="pk_pictures"),
    )
    op.create_index("ix_pictures_sha256", "pictures", ["sha256"])
    op.create_table(
        "outbox",
        sa.Column("job", NUMBER, autoincrement=False, nullable=False),
        sa.Column("adapter", NAME, nullable=False),
        sa.Column("outcome", NAME, nullable=False),
        sa.Column("way", sa.Integer(), nullable=False),
        sa.Column("tries", sa.Integer(), nullable=False),
        sa.Column("sending", sa.Boolean(), nullable=False),
        sa.Column("sender", KEY, nullable=True),
        sa.Column("due_at", TIME, nullable=False),
        sa.Column("error", sa.Text(), nullable=True),
        sa.Column("created_at", TIME, nullable=False),
        sa.Column("closed_at", TIME, nullable=True),
        sa.Column("delivered", sa.Boolean(), nullable=False),
        _of_job("outbox"),
        sa.ForeignKeyConstraint(
            ["sender"], ["workers.id"], name="fk_outbox_sender_workers", ondelete="SET NULL"
        ),
        sa.PrimaryKeyConstraint("job", name="pk_outbox"),
    )
    _partial_index("ix_outbox_due", "outbox", ["adapter", "due_at"], "closed_at IS NULL")
    _partial_index("ix_outbox_sender", "outbox", ["sender"], "sender IS NOT NULL")
    op.create_table(
        "messages",
        sa.Column("id", KEY, nullable=False),
        sa.Column("job", NUMBER, nullable=False),
        sa.Column("picture", sa.Integer(), nullable=True),
        sa.Column("created_at", TIME, nullable=False),
        _of_job("messages"),
        sa.PrimaryKeyConstraint("id", name="pk_messages"),
    )
    op.create_index("ix_messages_job", "messages", ["job"])
    op.create_table(
        "seen_events",
        sa.Column("id", KEY, nullable=False),
        sa.Column("job", NUMBER, nullable=True),
        sa.Column("created_at", TIME, nullable=False),
        _of_job("seen_events"),
        sa.PrimaryKeyConstraint("id", name="pk_seen_events"),
    )
    op.create_index("ix_seen_events_created_at", "seen_events", ["created_at"])
    op.create_index("ix_seen_events_job", "seen_events", ["job"])


def _about_people() -> None:
    op.create_table(
        "favourites",
        sa.Column("person", KEY, nullable=False),
        sa.Column("job", NUMBER, autoincrement=False, nullable=False),
        sa.Column("picture", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("created_at", TIME, nullable=False),
        sa.ForeignKeyConstraint(
            ["job", "picture"],
            ["pictures.job", "pictures.index"],
            name="fk_favourites_job_picture_pictures",
            ondelete="CASCADE",
        ),
        sa.ForeignKeyConstraint(["person"], ["people.id"], name="fk_favourites_person_people"),
        sa.PrimaryKeyConstraint("person", "job", "picture", name="pk_favourites"),
    )
    op.create_index("ix_favourites_picture", "favourites", ["job", "picture"])
    for table, owner, owners in (
        ("person_settings", "person", "people"),
        ("place_settings", "place", "places"),
    ):
        op.create_table(
            table,
            sa.Column(owner, KEY, nullable=False),
            sa.Column("values", JSON, nullable=False),
            sa.ForeignKeyConstraint([owner], [f"{owners}.id"], name=f"fk_{table}_{owner}_{owners}"),
            sa.PrimaryKeyConstraint(owner, name=f"pk_{table}"),
        )
    op.create_table(
        "bans",
        sa.Column("person", KEY, nullable=False),
        sa.Column("place", KEY, nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("by", KEY, nullable=False),
        sa.Column("until", TIME, nullable=True),
        sa.Column("created_at", TIME, nullable=False),
        sa.PrimaryKeyConstraint("person", "place", name="pk_bans"),
    )
    op.create_table(
        "audit",
        sa.Column("id", NUMBER, autoincrement=True, nullable=False),
        sa.Column("at", TIME, nullable=False),
        sa.Column("by", KEY, nullable=False),
        sa.Column("act", NAME, nullable=False),
        sa.Column("target", KEY, nullable=True),
        sa.Column("place", KEY, nullable=True),
        sa.Column("detail", JSON, nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_audit"),
    )
    op.create_index("ix_audit_by", "audit", ["by"])
    op.create_index("ix_audit_target", "audit", ["target"])


def _of_job(table: str) -> sa.ForeignKeyConstraint:
    return sa.ForeignKeyConstraint(
        ["job"], ["jobs.id"], name=f"fk_{table}_job_jobs", ondelete="CASCADE"
    )


def _partial_index(name: str, table: str, columns: list[str], condition: str) -> None:
    where = sa.text(condition)
    op.create_index(name, table, columns, sqlite_where=where, postgresql_where=where)
