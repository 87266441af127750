"""The command line (`pip install 'anyrerank[cli]'`): demo, rerank, check, compare, providers and spend.

Each command imports what it needs when it runs, so that the others start quickly.
"""

from anyrerank.cli.app import app

__all__ = ["app"]
