"""On which kind of device a job was drawn, or is to be drawn again.

Revision ID: 0011
Revises: 0010
"""

import sqlalchemy as sa
from alembic import op

revision = "0011"
down_revision = "0010"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Apply; of jobs that were drawn before it is not known."""
    op.add_column("jobs", sa.Column("device", sa.Text(), nullable=True))


def downgrade() -> None:
    """Take back."""
    op.drop_column("jobs", "device")
