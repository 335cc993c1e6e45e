"""Which jobs show the best match first, and how well their pictures match their prompt.

Revision ID: 0017
Revises: 0016
"""

import sqlalchemy as sa
from alembic import op

revision = "0017"
down_revision = "0016"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Apply; no earlier job did."""
    op.add_column(
        "jobs", sa.Column("best", sa.Boolean(), server_default=sa.false(), nullable=False)
    )
    op.add_column("pictures", sa.Column("match", sa.Float(), nullable=True))


def downgrade() -> None:
    """Take back."""
    op.drop_column("pictures", "match")
    op.drop_column("jobs", "best")
