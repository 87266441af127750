"""Sending requests: the only room that knows an HTTP library."""

from anyrerank._core.http.tls import Tls
from anyrerank._core.http.transport import Transport

__all__ = ["Tls", "Transport"]
