"""The tables of the gateway. The ledger makes its own."""

from __future__ import annotations

import sqlalchemy as sa

VERSION = "3"
"""Version of the tables that this release uses: the newest of `migrations`."""
VERSION_TABLE = "anyrerank_version"

metadata = sa.MetaData()

keys = sa.Table(
    "anyrerank_keys",
    metadata,
    sa.Column("token", sa.String(64), primary_key=True),  # SHA-256 of the key, in hexadecimal
    sa.Column("key_name", sa.Text, nullable=False),  # the key without all but its last characters
    sa.Column("key_alias", sa.String(255), unique=True),
    sa.Column("models", sa.JSON, nullable=False),  # names that it may use; an empty list for all
    sa.Column("max_budget", sa.Double),  # US dollars
    sa.Column("budget_duration", sa.Text),
    sa.Column("rpm_limit", sa.BigInteger),
    sa.Column("tpm_limit", sa.BigInteger),
    sa.Column("max_parallel_requests", sa.BigInteger),
    sa.Column("expires", sa.Double),  # seconds since 1970
    sa.Column("blocked", sa.Boolean, nullable=False),
    sa.Column("metadata", sa.JSON, nullable=False),
    sa.Column("created_at", sa.Double, nullable=False),
    sa.Column("updated_at", sa.Double, nullable=False),
    sa.Column("first_token", sa.String(64)),  # the token that it had first, if it has got another one
)

deleted_keys = sa.Table(
    "anyrerank_deleted_keys",
    metadata,
    sa.Column("first_token", sa.String(64), primary_key=True),
    sa.Column("key_name", sa.Text, nullable=False),
    sa.Column("key_alias", sa.String(255)),
    sa.Column("deleted_at", sa.Double, nullable=False),  # seconds since 1970
)

customers = sa.Table(
    "anyrerank_customers",
    metadata,
    sa.Column("user_id", sa.String(256), primary_key=True),
    sa.Column("max_budget", sa.Double),
    sa.Column("budget_duration", sa.Text),
    sa.Column("blocked", sa.Boolean, nullable=False),
)

changes = sa.Table(
    "anyrerank_changes",
    metadata,
    sa.Column("id", sa.Integer, primary_key=True, autoincrement=False),
    sa.Column("number", sa.BigInteger, nullable=False),  # goes up with each change, so that gateways read it again
)

budgets = sa.Table(
    "anyrerank_budgets",
    metadata,
    sa.Column("name", sa.Text, primary_key=True),
    sa.Column("window_number", sa.BigInteger, nullable=False),  # of the current window, counted from 1970
    sa.Column("spent", sa.BigInteger, nullable=False),  # billionths of a US dollar
    sa.Column("reserved", sa.BigInteger, nullable=False),
)

reservations = sa.Table(
    "anyrerank_reservations",
    metadata,
    sa.Column("id", sa.String(32), primary_key=True),
    sa.Column("name", sa.Text, primary_key=True),  # of the budget
    sa.Column("amount", sa.BigInteger, nullable=False),  # billionths of a US dollar
    sa.Column("expires", sa.Double, nullable=False),  # seconds since 1970
    sa.Index("anyrerank_reservations_of", "name", "expires"),
)
