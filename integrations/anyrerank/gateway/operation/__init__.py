"""Routes other than reranking: health, metrics, models, OpenAPI and the playground; and the access log."""

from anyrerank.gateway.operation.access_log import AccessLog
from anyrerank.gateway.operation.health import LIVENESS, READINESS
from anyrerank.gateway.operation.host import Dependency
from anyrerank.gateway.operation.ledger_metrics import LedgerCollector
from anyrerank.gateway.operation.metrics import Metrics
from anyrerank.gateway.operation.model_info import KeyCheck, ModelInfo
from anyrerank.gateway.operation.routes import operation_routes
from anyrerank.gateway.operation.worker_metrics import WorkerMetrics

__all__ = [
    "LIVENESS",
    "READINESS",
    "AccessLog",
    "Dependency",
    "KeyCheck",
    "LedgerCollector",
    "Metrics",
    "ModelInfo",
    "WorkerMetrics",
    "operation_routes",
]
