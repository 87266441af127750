"""Sending requests: the only room that knows an HTTP library."""

from anyrerank._core.http.forbidden import NetworkForbiddenError, forbid_network
from anyrerank._core.http.tls import USUAL, Tls
from anyrerank._core.http.transport import Transport

__all__ = ["USUAL", "NetworkForbiddenError", "Tls", "Transport", "forbid_network"]
