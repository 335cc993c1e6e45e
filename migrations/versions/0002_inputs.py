"""Stored pictures that jobs start from; recipes of version 2, which name them.

Revision ID: 0002
Revises: 0001
"""

from collections.abc import Mapping
from typing import Any

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import JSONB

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

NUMBER = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
JSON = sa.JSON().with_variant(JSONB(), "postgresql")
CHUNK = 500  # jobs that are read at once
JOBS = sa.table("jobs", sa.column("id", NUMBER), sa.column("recipe", JSON))
INPUTS = sa.table("inputs", sa.column("job", NUMBER), sa.column("sha256", sa.String(64)))


def upgrade() -> None:
    """Apply. Recipes of version 1 stay as they are: they are read as version 2.

    Those of version 2 are from before a downgrade; the pictures that they name are listed again.
    """
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
    _fill()


def downgrade() -> None:
    """Take back; the older program leaves out jobs whose recipes it cannot read.

    Its sweep removes start images, masks and maps, since no row that it knows names them: copy the
    pictures first, or give those files again after the next upgrade.
    """
    op.drop_table("inputs")


def _fill() -> None:
    """List the pictures that the recipes of jobs name."""
    connection = op.get_bind()
    query = sa.select(JOBS).order_by(JOBS.c.id).limit(CHUNK)
    last = 0
    while rows := connection.execute(query.where(JOBS.c.id > last)).all():
        last = rows[-1].id
        named = [{"job": row.id, "sha256": name} for row in rows for name in _named(row.recipe)]
        if named:
            connection.execute(sa.insert(INPUTS), named)


def _named(recipe: Mapping[str, Any]) -> list[str]:
    controls = recipe.get("controls") or ()
    names = (
        recipe.get("image"),
        recipe.get("mask"),
        *(control.get("image") for control in controls),
    )
    return list(dict.fromkeys(name for name in names if name))
