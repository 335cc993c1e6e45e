"""Vectors of pictures, of each model that made some.

Revision ID: 0016
Revises: 0015
"""

import sqlalchemy as sa
from alembic import op

revision = "0016"
down_revision = "0015"
branch_labels = None
depends_on = None

NUMBER = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    """Apply."""
    op.create_table(
        "vectors",
        sa.Column("id", NUMBER, nullable=False, autoincrement=True),
        sa.Column("job", NUMBER, nullable=False),
        sa.Column("picture", sa.Integer(), nullable=False),
        sa.Column("model", sa.Text(), nullable=False),
        sa.Column("width", sa.Integer(), nullable=False),
        sa.Column("vector", sa.LargeBinary(), nullable=False),
        sa.Column("match", sa.Float(), nullable=True),
        sa.ForeignKeyConstraint(
            ["job", "picture"],
            ["pictures.job", "pictures.index"],
            name="fk_vectors_job_picture_pictures",
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("id", name="pk_vectors"),
        sqlite_autoincrement=True,
    )
    op.create_index(
        "ix_vectors_picture", "vectors", ["job", "picture", "model", "width"], unique=True
    )
    op.create_index("ix_vectors_model", "vectors", ["model", "width", "id"])


def downgrade() -> None:
    """Take back; `marble clip index` makes them anew."""
    op.drop_table("vectors")
