"""Letters: what a platform handed over and nobody has dealt with yet.

Revision ID: 0003
Revises: 0002
"""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import JSONB

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None

JSON = sa.JSON().with_variant(JSONB(), "postgresql")
KEY = sa.String(200)


def upgrade() -> None:
    """Apply."""
    op.create_table(
        "letters",
        sa.Column("id", KEY, nullable=False),
        sa.Column("adapter", sa.String(40), nullable=False),
        sa.Column("person", KEY, nullable=False),
        sa.Column("body", JSON, nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_letters"),
    )
    op.create_index("ix_letters_adapter", "letters", ["adapter", "created_at"])
    op.create_index("ix_letters_person", "letters", ["person"])


def downgrade() -> None:
    """Take back."""
    op.drop_table("letters")
