"""The command line."""

from anyrerank.cli.commands import app, documents_in

__all__ = ["app", "documents_in"]
