"""The command line: `anyrerank demo`, `rerank`, `compare`, `providers` and `spend` (`pip install 'anyrerank[cli]'`).

Each command imports what it needs when it runs, so that the others start quickly.
"""

from anyrerank.cli.app import app

__all__ = ["app"]
