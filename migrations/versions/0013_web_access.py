"""Signing in to the web page: links, sessions, and pictures that a chat's button opened there.

Revision ID: 0013
Revises: 0012
"""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import JSONB

revision = "0013"
down_revision = "0012"
branch_labels = None
depends_on = None

KEY = sa.String(200)
HASH = sa.String(64)
TIME = sa.DateTime(timezone=True)
NUMBER = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
JSON = sa.JSON().with_variant(JSONB(), "postgresql")


def upgrade() -> None:
    """Apply."""
    op.create_table(
        "web_links",
        sa.Column("id", HASH, nullable=False),
        sa.Column("person", KEY, nullable=False),
        sa.Column("path", sa.Text(), nullable=False),
        sa.Column("created_at", TIME, nullable=False),
        sa.ForeignKeyConstraint(["person"], ["people.id"], name="fk_web_links_person_people"),
        sa.PrimaryKeyConstraint("id", name="pk_web_links"),
    )
    op.create_index("ix_web_links_person", "web_links", ["person"])
    op.create_table(
        "web_sessions",
        sa.Column("id", HASH, nullable=False),
        sa.Column("person", KEY, nullable=False),
        sa.Column("created_at", TIME, nullable=False),
        sa.Column("seen_at", TIME, nullable=False),
        sa.ForeignKeyConstraint(["person"], ["people.id"], name="fk_web_sessions_person_people"),
        sa.PrimaryKeyConstraint("id", name="pk_web_sessions"),
    )
    op.create_index("ix_web_sessions_person", "web_sessions", ["person"])
    op.create_table(
        "web_grants",
        sa.Column("id", HASH, nullable=False),
        sa.Column("person", KEY, nullable=False),
        sa.Column("job", NUMBER, nullable=False),
        sa.Column("picture", sa.Integer(), nullable=False),
        sa.Column("message", sa.Text(), nullable=False),
        sa.Column("place", KEY, nullable=False),
        sa.Column("reply", JSON, nullable=False),
        sa.Column("created_at", TIME, nullable=False),
        sa.ForeignKeyConstraint(["person"], ["people.id"], name="fk_web_grants_person_people"),
        sa.ForeignKeyConstraint(
            ["job"], ["jobs.id"], name="fk_web_grants_job_jobs", ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("id", name="pk_web_grants"),
    )
    op.create_index("ix_web_grants_person", "web_grants", ["person"])
    op.create_index("ix_web_grants_job", "web_grants", ["job"])
    op.create_index("ix_web_grants_place", "web_grants", ["place"])


def downgrade() -> None:
    """Take back; who was signed in signs in anew."""
    for table in ("web_grants", "web_sessions", "web_links"):
        op.drop_table(table)
