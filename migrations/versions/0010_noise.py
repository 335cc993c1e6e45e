"""Recipes of version 3, which say whose numbers their noise is.

Revision ID: 0010
Revises: 0009
"""

revision = "0010"
down_revision = "0009"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Apply nothing: recipes of versions 1 and 2 stay as they are, and keep their noise."""


def downgrade() -> None:
    """Take nothing back; the older program leaves out jobs whose recipes it cannot read."""
