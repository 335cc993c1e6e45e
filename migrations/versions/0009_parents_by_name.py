"""What places lie in by their names, where that was never told.

Revision ID: 0009
Revises: 0008
"""

import re
from datetime import UTC, datetime

import sqlalchemy as sa
from alembic import op

revision = "0009"
down_revision = "0008"
branch_labels = None
depends_on = None

PLACES = sa.table(
    "places",
    sa.column("id", sa.String(200)),
    sa.column("parent", sa.String(200)),
    sa.column("created_at", sa.DateTime(timezone=True)),
)
NAMED = re.compile(r"(\w+:-?\d+)/\d+", re.ASCII)


def upgrade() -> None:
    """Apply: `discord:1/2` lies in `discord:1`, whose rules applied there only once it was told."""
    connection = op.get_bind()
    rows = connection.execute(sa.select(PLACES.c.id, PLACES.c.parent)).all()
    known = {row.id for row in rows}
    alone = [
        (row.id, found[1]) for row in rows if not row.parent and (found := NAMED.fullmatch(row.id))
    ]
    now = datetime.now(UTC)
    if connection.dialect.name == "sqlite":
        now = now.replace(tzinfo=None)
    for parent in sorted({parent for _, parent in alone} - known):
        connection.execute(sa.insert(PLACES).values(id=parent, created_at=now))
    for place, parent in alone:
        connection.execute(sa.update(PLACES).where(PLACES.c.id == place).values(parent=parent))


def downgrade() -> None:
    """Take nothing back: the older program reads it as if it had been told."""
