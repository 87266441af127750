"""The versions of the database, for alembic. A new one is a file in `versions`."""
