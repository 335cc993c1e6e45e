"""Recipes of version 4, with a second model, patches, a syntax of their prompts or areas.

Revision ID: 0012
Revises: 0011
"""

revision = "0012"
down_revision = "0011"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Apply nothing: recipes of earlier versions stay as they are."""


def downgrade() -> None:
    """Take nothing back; the older program leaves out jobs whose recipes it cannot read."""
