"""Which jobs a worker died with, and what a job costs of a person's day.

Revision ID: 0008
Revises: 0007
"""

from datetime import UTC, datetime, timedelta

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import JSONB

from storage.jobs.quota import cost_of

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None

NUMBER = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
JSON = sa.JSON().with_variant(JSONB(), "postgresql")
CHUNK = 500  # jobs that are read at once
YOUNG = timedelta(days=2)  # a budget looks back for one; clocks and their zones may differ
JOBS = sa.table(
    "jobs",
    sa.column("id", NUMBER),
    sa.column("recipe", JSON),
    sa.column("status", sa.String(40)),
    sa.column("attempts", sa.Integer()),
    sa.column("created_at", sa.DateTime(timezone=True)),
    sa.column("suspect", sa.Boolean()),
    sa.column("cost", NUMBER),
)


def upgrade() -> None:
    """Apply. Jobs older than `YOUNG` keep no cost: no budget asks for it any more."""
    op.add_column(
        "jobs", sa.Column("suspect", sa.Boolean(), server_default=sa.false(), nullable=False)
    )
    op.add_column("jobs", sa.Column("cost", NUMBER, nullable=True))
    op.create_index("ix_jobs_asked", "jobs", ["person", "created_at"])
    _suspect()
    _fill()


def downgrade() -> None:
    """Take back; the older program knows suspects by their attempts alone, so that all have one."""
    waits = (JOBS.c.status == "queued") & (JOBS.c.attempts < 1)
    runs = (JOBS.c.status == "running") & (JOBS.c.attempts < 2)
    known = sa.update(JOBS).where(JOBS.c.suspect, waits | runs)
    op.get_bind().execute(known.values(attempts=JOBS.c.attempts + 1))
    op.drop_index("ix_jobs_asked", "jobs")
    op.drop_column("jobs", "cost")
    op.drop_column("jobs", "suspect")


def _suspect() -> None:
    """Mark the jobs that a worker died with; the claim of one that runs is an attempt, too."""
    waits = (JOBS.c.status == "queued") & (JOBS.c.attempts > 0)
    runs = (JOBS.c.status == "running") & (JOBS.c.attempts > 1)
    op.get_bind().execute(sa.update(JOBS).where(waits | runs).values(suspect=True))


def _fill() -> None:
    """Work out what the latest jobs cost."""
    connection = op.get_bind()
    since = datetime.now(UTC) - YOUNG
    if connection.dialect.name == "sqlite":
        since = since.replace(tzinfo=None)
    query = sa.select(JOBS.c.id, JOBS.c.recipe).where(JOBS.c.created_at >= since)
    query = query.order_by(JOBS.c.id).limit(CHUNK)
    kept = sa.update(JOBS).where(JOBS.c.id == sa.bindparam("number"))
    kept = kept.values(cost=sa.bindparam("worth"))
    last = 0
    while rows := connection.execute(query.where(JOBS.c.id > last)).all():
        last = rows[-1].id
        costs = [{"number": row.id, "worth": cost_of(row.recipe)} for row in rows]
        connection.execute(kept, costs)
