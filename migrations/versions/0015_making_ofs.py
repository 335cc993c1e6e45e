"""Which jobs record how their parent's picture comes about.

Revision ID: 0015
Revises: 0014
"""

import sqlalchemy as sa
from alembic import op

revision = "0015"
down_revision = "0014"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Apply; no earlier job did."""
    op.add_column(
        "jobs", sa.Column("making_of", sa.Boolean(), server_default=sa.false(), nullable=False)
    )


def downgrade() -> None:
    """Take back."""
    op.drop_column("jobs", "making_of")
