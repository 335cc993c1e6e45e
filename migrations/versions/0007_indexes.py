"""Find what lies in a place, and what was done in one, without reading all there is.

Revision ID: 0007
Revises: 0006
"""

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Apply."""
    inner = sa.text("parent IS NOT NULL")
    op.create_index(
        "ix_places_parent", "places", ["parent"], sqlite_where=inner, postgresql_where=inner
    )
    op.create_index("ix_audit_place", "audit", ["place"])


def downgrade() -> None:
    """Take back."""
    op.drop_index("ix_audit_place", "audit")
    op.drop_index("ix_places_parent", "places")
