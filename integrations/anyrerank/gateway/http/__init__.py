"""HTTP between the gateway and its clients: connections, browsers, traces, paths, and answers other than rerankings."""

from anyrerank.gateway.http.audit import Action, audited
from anyrerank.gateway.http.browsers import Browsers, is_loopback
from anyrerank.gateway.http.connection import Connection
from anyrerank.gateway.http.host import Host
from anyrerank.gateway.http.paths import instead_of, without_repeats, without_secrets, without_slashes
from anyrerank.gateway.http.plain import Handler, Plain, json_answer, master
from anyrerank.gateway.http.tracing import Traced

__all__ = [
    "Action",
    "Browsers",
    "Connection",
    "Handler",
    "Host",
    "Plain",
    "Traced",
    "audited",
    "instead_of",
    "is_loopback",
    "json_answer",
    "master",
    "without_repeats",
    "without_secrets",
    "without_slashes",
]
