"""The command line (`pip install 'anyrerank[cli]'`): `anyrerank demo`, `rerank`, `check`, `compare`, `providers`, `spend`.

Each command imports what it needs when it runs, so that the others start quickly.
"""

from anyrerank.cli.app import app

__all__ = ["app"]
