"""Routes other than reranking: health, metrics, models, OpenAPI and the playground; and the access log."""

from anyrerank.gateway.operation.access_log import AccessLog
from anyrerank.gateway.operation.facts import Facts, KeyCheck
from anyrerank.gateway.operation.health import LIVENESS, READINESS
from anyrerank.gateway.operation.host import Dependency
from anyrerank.gateway.operation.ledger_metrics import LedgerCollector
from anyrerank.gateway.operation.metrics import Metrics
from anyrerank.gateway.operation.routes import operation_routes
from anyrerank.gateway.operation.together import Together

__all__ = [
    "LIVENESS",
    "READINESS",
    "AccessLog",
    "Dependency",
    "Facts",
    "KeyCheck",
    "LedgerCollector",
    "Metrics",
    "Together",
    "operation_routes",
]
