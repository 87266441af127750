"""The tables of the ledger."""

from __future__ import annotations

import sqlalchemy as sa

VERSION = 1

metadata = sa.MetaData()

version = sa.Table("anyrerank_ledger", metadata, sa.Column("version", sa.Integer, primary_key=True))

calls = sa.Table(
    "anyrerank_calls",
    metadata,
    sa.Column("call", sa.String(40), primary_key=True),  # key of the call
    sa.Column("part", sa.Integer, primary_key=True, autoincrement=False),  # index of the row in its call
    sa.Column("time", sa.Double, nullable=False),  # start of the call, seconds since 1970
    sa.Column("day", sa.String(10), nullable=False),  # the same as a day in UTC, YYYY-MM-DD
    sa.Column("end_user", sa.Text),
    sa.Column("model", sa.Text, nullable=False),  # requested: group of a router or provider/model
    sa.Column("deployment", sa.Text, nullable=False),  # asked: id in a router's list or provider/model
    sa.Column("provider", sa.Text, nullable=False),  # prefix of the deployment's provider
    sa.Column("requests", sa.Integer, nullable=False),  # attempts
    sa.Column("failures", sa.Integer, nullable=False),  # attempts that failed
    sa.Column("documents", sa.Integer, nullable=False),  # documents of the call
    sa.Column("search_units", sa.Double),  # reported by the provider; null unless the deployment answered
    sa.Column("tokens", sa.Double),  # likewise
    sa.Column("cost", sa.Double),  # US dollars of the billed attempts; null when one is unknown
    sa.Column("estimated", sa.Boolean, nullable=False),  # whether the cost rests on an estimate
    sa.Column("seconds", sa.Double, nullable=False),  # duration of the attempts
    sa.Column("error", sa.Text),  # class of the last error; null for the deployment that answered
    sa.Column("cached", sa.Integer, nullable=False),  # scores of the answer that came from the cache
    sa.Column("saved", sa.Double),  # US dollars that these cost originally; null when unknown
    sqlite_with_rowid=False,
)

tags = sa.Table(
    "anyrerank_tags",
    metadata,
    sa.Column("call", sa.String(40), primary_key=True),
    sa.Column("place", sa.Integer, primary_key=True, autoincrement=False),  # index of the tag in its call
    sa.Column("tag", sa.Text, nullable=False),
    sqlite_with_rowid=False,
)
