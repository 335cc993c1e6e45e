"""Stored pictures that jobs start from; recipes of version 2, which name them.

Revision ID: 0002
Revises: 0001
"""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

NUMBER = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    """Apply. Recipes of version 1 stay as they are: they are read as version 2."""
    op.create_table(
        "inputs",
        sa.Column("job", NUMBER, autoincrement=False, nullable=False),
        sa.Column("sha256", sa.String(64), nullable=False),
        sa.ForeignKeyConstraint(
            ["job"], ["jobs.id"], name="fk_inputs_job_jobs", ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("job", "sha256", name="pk_inputs"),
    )
    op.create_index("ix_inputs_sha256", "inputs", ["sha256"])


def downgrade() -> None:
    """Take back; the older program leaves out jobs whose recipes it cannot read."""
    op.drop_table("inputs")
