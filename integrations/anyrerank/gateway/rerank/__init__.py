"""One request for a reranking: its caller, admission, model and answer."""

from anyrerank.gateway.rerank.admission import Admission
from anyrerank.gateway.rerank.caller import (
    ANONYMOUS,
    MASTER,
    Access,
    Caller,
    Grant,
    MasterKey,
    Open,
    digest,
    key_of,
    wrong_key,
)
from anyrerank.gateway.rerank.end_user import checked_end_user
from anyrerank.gateway.rerank.exchange import Exchange, Host, Listener, RerankEndpoint, request_id_of
from anyrerank.gateway.rerank.isolation import Isolation, isolation_of
from anyrerank.gateway.rerank.service import Absent, Service

__all__ = [
    "ANONYMOUS",
    "MASTER",
    "Absent",
    "Access",
    "Admission",
    "Caller",
    "Exchange",
    "Grant",
    "Host",
    "Isolation",
    "Listener",
    "MasterKey",
    "Open",
    "RerankEndpoint",
    "Service",
    "checked_end_user",
    "digest",
    "isolation_of",
    "key_of",
    "request_id_of",
    "wrong_key",
]
