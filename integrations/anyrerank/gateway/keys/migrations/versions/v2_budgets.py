"""Budgets that replicas share through the database."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "2"
down_revision = "1"


def upgrade() -> None:
    """Make the tables. SQLite cannot undo half of it, so that each step may have been made before."""
    op.create_table(
        "anyrerank_budgets",
        sa.Column("name", sa.Text, primary_key=True),
        sa.Column("window_number", sa.BigInteger, nullable=False),
        sa.Column("spent", sa.BigInteger, nullable=False),
        sa.Column("reserved", sa.BigInteger, nullable=False),
        if_not_exists=True,
    )
    op.create_table(
        "anyrerank_reservations",
        sa.Column("id", sa.String(32), primary_key=True),
        sa.Column("name", sa.Text, primary_key=True),
        sa.Column("amount", sa.BigInteger, nullable=False),
        sa.Column("expires", sa.Double, nullable=False),
        if_not_exists=True,
    )
    op.create_index("anyrerank_reservations_of", "anyrerank_reservations", ["name", "expires"], if_not_exists=True)
