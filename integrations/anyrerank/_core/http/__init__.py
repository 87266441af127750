"""Sending requests: the only package that knows an HTTP library."""

from anyrerank._core.http.environment import network_environment
from anyrerank._core.http.forbidden import NetworkForbiddenError, forbid_network
from anyrerank._core.http.proxies import Proxies
from anyrerank._core.http.tls import DEFAULT_TLS, Tls
from anyrerank._core.http.transport import Transport

__all__ = [
    "DEFAULT_TLS",
    "NetworkForbiddenError",
    "Proxies",
    "Tls",
    "Transport",
    "forbid_network",
    "network_environment",
]
