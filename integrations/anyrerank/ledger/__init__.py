"""The ledger: what was spent, by end user, model, deployment, tag and day (`pip install 'anyrerank[ledger]'`).

    ledger = Ledger("spend.db")
    reranker = Reranker("cohere/rerank-v3.5", hooks=[ledger])
    ledger.spend(by=("user", "model"), since=date(2026, 11, 1))

No query and no document is ever stored. `anyrerank spend` shows the same on the command line.
"""

from anyrerank.errors import MissingExtraError

try:
    import sqlalchemy  # noqa: F401
except ImportError as error:
    raise MissingExtraError(f"SQLAlchemy cannot be imported ({error}): pip install 'anyrerank[ledger]'") from error

from anyrerank.ledger.engine import server_engine
from anyrerank.ledger.hook import Ledger, state_folder
from anyrerank.ledger.spending import Filter, checked
from anyrerank.ledger.store import By, LedgerError, Spend, Store

__all__ = ["By", "Filter", "Ledger", "LedgerError", "Spend", "Store", "checked", "server_engine", "state_folder"]
