"""What other languages need to say why a job failed, beside its English sentence.

Revision ID: 0004
Revises: 0003
"""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import JSONB

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None

JSON = sa.JSON().with_variant(JSONB(), "postgresql")


def upgrade() -> None:
    """Apply."""
    op.add_column("jobs", sa.Column("told", JSON, nullable=True))


def downgrade() -> None:
    """Take back; the English sentences stay."""
    op.drop_column("jobs", "told")
