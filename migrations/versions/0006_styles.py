"""Styles that places keep, and the one that a job was asked for with.

Revision ID: 0006
Revises: 0005
"""

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None

KEY = sa.String(200)


def upgrade() -> None:
    """Apply."""
    op.create_table(
        "styles",
        sa.Column("place", KEY, nullable=False),
        sa.Column("name", sa.String(40), nullable=False),
        sa.Column("prompt", sa.Text(), nullable=False),
        sa.Column("negative", sa.Text(), nullable=False),
        sa.Column("made_by", KEY, nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(["place"], ["places.id"], name="fk_styles_place_places"),
        sa.PrimaryKeyConstraint("place", "name", name="pk_styles"),
    )
    op.create_index("ix_styles_made_by", "styles", ["made_by"])
    op.add_column("jobs", sa.Column("style", sa.String(40), nullable=True))


def downgrade() -> None:
    """Take back; the words of styles stay in the recipes that were made with them."""
    op.drop_column("jobs", "style")
    op.drop_table("styles")
