"""What the safety check said of pictures; who gave a start image; whose events were seen.

Revision ID: 0005
Revises: 0004
"""

from collections.abc import Iterator

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None

NUMBER = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
KEY = sa.String(200)
CHUNK = 500  # rows that are read at once
JOBS = sa.table("jobs", sa.column("id", NUMBER), sa.column("person", KEY))
PICTURES = sa.table("pictures", sa.column("sha256", sa.String(64)))
INPUTS = sa.table(
    "inputs", sa.column("job", NUMBER), sa.column("sha256", sa.String(64)), sa.column("owner", KEY)
)
EVENTS = sa.table("seen_events", sa.column("id", KEY), sa.column("person", KEY))


def upgrade() -> None:
    """Apply. Pictures from before count as never checked.

    A start image belongs to whoever asked for the oldest job that names it; one that Marble drew,
    to nobody.
    """
    verdict = sa.Column("verdict", sa.String(40), nullable=False, server_default="unchecked")
    op.add_column("pictures", verdict)
    op.add_column("inputs", sa.Column("owner", KEY, nullable=True))
    op.create_index("ix_inputs_owner", "inputs", ["owner"])
    op.add_column("seen_events", sa.Column("person", KEY, nullable=True))
    op.create_index("ix_seen_events_person", "seen_events", ["person"])
    _fill_owners()
    _fill_people()


def downgrade() -> None:
    """Take back."""
    op.drop_index("ix_seen_events_person", "seen_events")
    op.drop_column("seen_events", "person")
    op.drop_index("ix_inputs_owner", "inputs")
    op.drop_column("inputs", "owner")
    op.drop_column("pictures", "verdict")


def _fill_owners() -> None:
    older = INPUTS.alias()
    oldest = sa.select(sa.func.min(older.c.job)).where(older.c.sha256 == INPUTS.c.sha256)
    giver = sa.select(JOBS.c.person).where(JOBS.c.id == oldest.scalar_subquery())
    drawn = sa.exists().where(PICTURES.c.sha256 == INPUTS.c.sha256)
    op.execute(sa.update(INPUTS).where(~drawn).values(owner=giver.scalar_subquery()))


def _fill_people() -> None:
    """Say whose reactions were seen, by their names: discord:MESSAGE:USER:EMOJI."""
    connection = op.get_bind()
    for name in _events(connection):
        parts = name.split(":")
        if len(parts) == 4 and parts[2].isdigit():
            owned = sa.update(EVENTS).where(EVENTS.c.id == name)
            connection.execute(owned.values(person=f"{parts[0]}:{parts[2]}"))


def _events(connection: sa.Connection) -> Iterator[str]:
    last = ""
    query = sa.select(EVENTS.c.id).order_by(EVENTS.c.id).limit(CHUNK)
    while names := connection.execute(query.where(EVENTS.c.id > last)).scalars().all():
        yield from names
        last = names[-1]
