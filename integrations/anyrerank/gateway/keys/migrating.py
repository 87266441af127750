"""Brings the tables of a database to the newest version. Only databases that need it load alembic, which is large."""

from __future__ import annotations

from pathlib import Path

import sqlalchemy as sa
from alembic.config import Config
from alembic.runtime.environment import EnvironmentContext
from alembic.script import ScriptDirectory

from anyrerank.gateway.keys.tables import VERSION_TABLE


def known_versions() -> list[str]:
    """The versions that this release knows, the newest first."""
    return [each.revision for each in ScriptDirectory.from_config(_config()).walk_revisions()]


def migrate(connection: sa.Connection) -> None:
    """Bring the tables to the newest version, in the transaction of the connection."""
    config = _config()
    script = ScriptDirectory.from_config(config)
    steps = EnvironmentContext(config, script, fn=lambda revision, _: script._upgrade_revs("head", revision))
    with steps:
        steps.configure(connection=connection, version_table=VERSION_TABLE)
        steps.run_migrations()


def _config() -> Config:
    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent / "migrations").replace("%", "%%"))
    config.set_main_option("path_separator", "os")
    return config
