"""Keys that got a new secret, and the names of keys that were deleted."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "3"
down_revision = "2"


def upgrade() -> None:
    """Add a column and a table. SQLite cannot undo half of it, so that each step may have been made before."""
    columns = {each["name"] for each in sa.inspect(op.get_bind()).get_columns("anyrerank_keys")}
    if "first_token" not in columns:
        op.add_column("anyrerank_keys", sa.Column("first_token", sa.String(64)))
    op.create_table(
        "anyrerank_deleted_keys",
        sa.Column("first_token", sa.String(64), primary_key=True),
        sa.Column("key_name", sa.Text, nullable=False),
        sa.Column("key_alias", sa.String(255)),
        sa.Column("deleted_at", sa.Double, nullable=False),
        if_not_exists=True,
    )
