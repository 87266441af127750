"""Keys and customers."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "1"
down_revision = None


def upgrade() -> None:
    """Make the first tables. SQLite cannot undo half of it, so that each step may have been made before."""
    op.create_table(
        "anyrerank_keys",
        sa.Column("token", sa.String(64), primary_key=True),
        sa.Column("key_name", sa.Text, nullable=False),
        sa.Column("key_alias", sa.String(255), unique=True),
        sa.Column("models", sa.JSON, nullable=False),
        sa.Column("max_budget", sa.Double),
        sa.Column("budget_duration", sa.Text),
        sa.Column("rpm_limit", sa.BigInteger),
        sa.Column("tpm_limit", sa.BigInteger),
        sa.Column("max_parallel_requests", sa.BigInteger),
        sa.Column("expires", sa.Double),
        sa.Column("blocked", sa.Boolean, nullable=False),
        sa.Column("metadata", sa.JSON, nullable=False),
        sa.Column("created_at", sa.Double, nullable=False),
        sa.Column("updated_at", sa.Double, nullable=False),
        if_not_exists=True,
    )
    op.create_table(
        "anyrerank_customers",
        sa.Column("user_id", sa.String(256), primary_key=True),
        sa.Column("max_budget", sa.Double),
        sa.Column("budget_duration", sa.Text),
        sa.Column("blocked", sa.Boolean, nullable=False),
        if_not_exists=True,
    )
    op.create_table(
        "anyrerank_changes",
        sa.Column("id", sa.Integer, primary_key=True, autoincrement=False),
        sa.Column("number", sa.BigInteger, nullable=False),
        if_not_exists=True,
    )
    op.execute(sa.text("DELETE FROM anyrerank_changes"))
    op.execute(sa.text("INSERT INTO anyrerank_changes (id, number) VALUES (1, 0)"))
